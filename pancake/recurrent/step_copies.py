"""The time steps of a cell: copies of it that share its parameters and gradients, each with a memory of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.function import Function
from pancake.memory import Array
from pancake.recurrent.states import alike, shapes


class StepCopies:
    """Copies of a cell, one for each time step, made when they are needed and kept for the next sequence.

    They are made anew when anything of the cell has changed, be it in place: whoever changes a cell means all its steps.
    """

    def __init__(self, owner: str, cell: Function) -> None:
        self.owner, self.cell = owner, cell
        self.model: Function = cell
        self.copies: list[_Step] = []

    def of(self, x: Array, state: Any) -> list[_Step]:
        """The steps for a sequence x (T, B, I), in the order in which they run."""
        if not self.copies and not self.cell._pairs():
            self.cell.compute_forward(x[0], state)  # type: ignore[call-arg]  # some make their parameters in their first forward
        if self.copies and not _same(self.cell, self.model):
            self.copies.clear()
        if not self.copies:
            self.model = self.cell.shared_copy()  # which never runs, and tells what the cell was like
        del self.copies[len(x) :]
        while len(self.copies) < len(x):
            self.copies.append(_Step(self.owner, self.cell.shared_copy()))
        return self.copies


class _Step:
    """A copy of a cell for one time step, with an eye on what it returns."""

    def __init__(self, owner: str, cell: Any) -> None:
        self.owner, self.cell = owner, cell

    def compute_forward(self, x_t: Array, state: Any) -> tuple[Array, Any]:
        result = self.cell.compute_forward(x_t, state)
        if not isinstance(result, tuple) or len(result) != 2:
            raise self.refused("compute_forward", "(out_t, state)", result)
        out_t, new = result
        if not isinstance(out_t, np.ndarray) or out_t.shape[:1] != (len(x_t),):
            raise self.refused("compute_forward", f"an array out_t of {len(x_t)} rows", out_t)
        if not alike(new, state):
            raise self.refused("compute_forward", f"a state of shape {shapes(state)}, like the one it was given", new)
        self.shape = x_t.shape
        return out_t, new

    def compute_backward(self, dObj_dOut_t: Array, dObj_dState: Any) -> tuple[Array, Any]:
        result = self.cell.compute_backward(dObj_dOut_t, dObj_dState)
        if not isinstance(result, tuple) or len(result) != 2:
            raise self.refused("compute_backward", "(dObj_dX_t, dObj_dState)", result)
        dObj_dX_t, new = result
        if not isinstance(dObj_dX_t, np.ndarray) or dObj_dX_t.shape != self.shape:
            raise self.refused("compute_backward", f"a dObj_dX_t of shape {self.shape}, like x_t", dObj_dX_t)
        if not alike(new, dObj_dState):
            raise self.refused("compute_backward", f"a dObj_dState of shape {shapes(dObj_dState)}, like the state", new)
        return dObj_dX_t, new

    def refused(self, method: str, expected: str, got: Any) -> ValueError:
        what = f"{type(got).__name__} of shape {shapes(got)}" if got is not None else "None"
        return ValueError(f"{self.owner}: expected {type(self.cell).__name__}.{method} to return {expected}, got {what}")


def _same(value: Any, model: Any) -> bool:
    """Whether a value is what it was when it was copied; of what cannot be compared, whether it is the same object."""
    if value is model:
        return True
    if type(value) is not type(model):
        return False
    if isinstance(value, Function):
        return _same(vars(value), vars(model))
    if isinstance(value, np.ndarray):
        return value.dtype == model.dtype and value.shape == model.shape and value.tobytes() == model.tobytes()
    if isinstance(value, dict):
        return value.keys() == model.keys() and all(_same(value[key], model[key]) for key in value)
    if isinstance(value, (list, tuple)):
        return len(value) == len(model) and all(map(_same, value, model))
    return isinstance(value, (bool, int, float, complex, str, bytes)) and value == model
