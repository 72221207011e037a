"""The time steps of any cell: copies of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pancake.arguments import numeric
from pancake.function import Function
from pancake.memory import Array
from pancake.recurrent.cells import Steps
from pancake.recurrent.states import alike, shapes


class Copies(Steps):
    """The steps of any cell: the cell itself and shared copies of it, made when they are needed and kept."""

    def __init__(self, owner: str, cell: Function) -> None:
        self.owner, self.cell = owner, cell
        self.copies: list[_Copy] = []

    def begin(self, length: int) -> None:
        # Whoever has changed the cell (its mode, its dtype, a setting) meant its copies too.
        if not self.copies or not _same(self.attributes, _attributes(self.cell)):
            self.copies = [_Copy(self.owner, self.cell)]
        del self.copies[length:]
        self.length = length

    def __iter__(self) -> Iterator[_Copy]:
        yield self.copies[0]  # the cell: one that makes its parameters in its first forward makes them for all
        for t in range(1, self.length):
            if t == len(self.copies):
                self.copies.append(_Copy(self.owner, self.cell.shared_copy()))
            yield self.copies[t]

    def outputs(self, outs: Sequence[Array]) -> Array:
        self.attributes = _attributes(self.cell)
        for out in outs:
            if out.shape != outs[0].shape:
                raise self.copies[0].refused("compute_forward", f"an out_t of one shape, {outs[0].shape} in all steps", out)
        return numeric(self.cell, super().outputs(outs), "out_t")

    def after_backward(self, dObj_dX: Sequence[Array], input_too: bool) -> Array | None:
        self.attributes = _attributes(self.cell)
        return super().after_backward(dObj_dX, input_too)


class _Copy:
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


def _attributes(cell: Function) -> list[tuple[Function, dict[str, Any]]]:
    return [(function, vars(function).copy()) for function in cell.walk()]


def _same(before: Any, now: Any) -> bool:
    """Whether the attributes of all Functions are the same objects."""
    return len(before) == len(now) and all(
        f is g and a.keys() == b.keys() and all(a[name] is b[name] for name in a)
        for (f, a), (g, b) in zip(before, now, strict=True)
    )
