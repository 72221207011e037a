"""Recurrence: a cell unrolled over time, and the chain rule back through it.

A recurrent net is a stack in time. Step t is a copy of the cell that hands its state to the copy for step t + 1; all copies
have the very same parameters and gradients, and each has a cache of its own. Forward runs the copies one after the other.
Backward runs them in reverse: what a copy returns as the gradient of its state goes on to the copy before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import flag, numeric, sequence_lengths
from pancake.attributes import checked
from pancake.function import Function, need_function
from pancake.memory import Array
from pancake.origin import is_own
from pancake.recurrent.cells import Cell
from pancake.recurrent.lengths import Lengths, only, where
from pancake.recurrent.states import each, like
from pancake.recurrent.step_copies import StepCopies

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Unrolled(Function):
    """A cell over time: out_t, state = cell(x_t, state), for t = 0, 1, ..., T - 1.

    Backward, for t = T - 1, ..., 0: dObj_dX_t, dObj_dState = cell.compute_backward(dObj_dOut_t, dObj_dState), each step on
    the cache that it has left, and all steps adding to the same gradients.

    The copies of the cell are kept for the next sequence, and made anew when the cell has been changed.

    Shape
    -----
    x : (B, T, I);  y : (B, T, H), or (B, H) if only the last output is wanted

    Parameters
    ----------
    cell : Function
        Any with `compute_forward(x_t, state) -> (out_t, state)`, `compute_backward(dObj_dOut_t, dObj_dState) ->
        (dObj_dX_t, dObj_dState)` and `init_state(batch)`. A state is an array of B rows, or a tuple of states. The gradients
        arrive as arrays of the shapes of out_t and of the state, zeros where nothing flows.
    return_sequences : bool
        Whether to return the outputs of all steps, or only that of the last valid one.
    reverse : bool
        Whether each sequence runs from its own last valid step down to step 0, which is then the last one.

    Attributes
    ----------
    state
        The state after the last step of the latest forward, to carry on from.
    dObj_dState
        After backward, the gradient of the initial state.

    Raises
    ------
    TypeError
        If the cell is not a Function, or `lengths` are not whole numbers.
    ValueError
        If input, state or lengths do not fit the cell or each other, or the cell returns what a cell must not.

    References
    ----------
    Werbos, "Backpropagation Through Time: What It Does and How to Do It" (1990).
    Lengths and directions are those of packed sequences in https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    return_sequences: bool = checked(flag)
    reverse: bool = checked(flag)

    def __init__(self, cell: Function, return_sequences: bool = True, reverse: bool = False) -> None:
        need_function(type(self).__name__, cell, " as the cell")
        if isinstance(return_sequences, Function):
            raise TypeError(
                f"{type(self).__name__}: expected one cell, got {cell!r} and {return_sequences!r}; "
                "the second layer of a stack is an Unrolled of its own"
            )
        self.cell = cell
        self.return_sequences, self.reverse = return_sequences, reverse
        self.state: Any = None
        self.dObj_dState: Any = None

    def compute_forward(self, x: Any, state: Any = None, lengths: ArrayLike | None = None) -> Array:
        """Run the cell over a batch of sequences.

        Parameters
        ----------
        x : array_like (B, T, I)
        state : array_like or tuple, optional
            The initial state; without it `cell.init_state(B)`.
        lengths : array_like of int (B,), optional
            How many steps of each sequence are valid, from 1 to T. Steps past the end keep the state, put out zeros and pass
            no gradient, and it does not matter what stands in x there.

        Returns
        -------
        ndarray (B, T, H), or (B, H) without `return_sequences`
        """
        x = self._in_time(x)  # (T, B, I), from here to the end of the method
        state = self._initial(state, x)
        ends = self._ends(lengths, x)
        x, valid = ends.masked(x), ends.valid
        copies, outs = self._copies(), {}
        steps = dict(zip(self._times(x), copies.of(x, state), strict=True))
        try:
            for t, step in steps.items():
                outs[t], new = step.compute_forward(x[t], state)
                state = new if valid[t] is None else each(where(valid[t]), new, state)
        except BaseException:
            self._cache = None  # some steps have remembered this sequence and some the one before it
            raise
        out = self._stacked([outs[t] for t in range(len(x))], steps[0])
        self.state = each(np.copy, state)
        self._remember(steps, ends, out, self.state, copies)
        if self.return_sequences:
            return ends.padded(out).swapaxes(0, 1)
        return out[self._last(ends)]

    def compute_backward(self, dObj_dOut: Any, dObj_dState: Any = None) -> Array:
        """Run the chain rule back through the latest forward.

        Parameters
        ----------
        dObj_dOut : array_like, shaped like the output
        dObj_dState : array_like or tuple, optional
            The gradient of the last state, `state`; without it zeros.

        Returns
        -------
        ndarray (B, T, I)
            dObj_dIn. The gradient of the initial state is in the attribute `dObj_dState`.
        """
        steps, ends, out, state, copies = self._remembered()
        if copies.cell is not self.cell:
            raise RuntimeError(f"{self!r}: its parts have been exchanged since its forward; call it again before backward")
        dObj_dOut = self._upstream_in_time(dObj_dOut, ends, out)
        dObj_dState = each(np.zeros_like, state) if dObj_dState is None else like(self, "dObj_dState", dObj_dState, state)
        dObj_dX: list[Any] = [None] * len(out)
        for t, step in reversed(steps.items()):
            valid = ends.valid[t]
            if valid is None:
                dObj_dX[t], dObj_dState = step.compute_backward(dObj_dOut[t], dObj_dState)
            else:  # a sequence that is over has handed its state on as it was, and so it does with the gradient
                handed_on = each(only(~valid), dObj_dState)
                dObj_dX[t], dObj_dState = step.compute_backward(dObj_dOut[t], each(only(valid), dObj_dState))
                dObj_dState = each(np.add, dObj_dState, handed_on)
        self.dObj_dState = each(np.copy, dObj_dState)
        return ends.padded(np.stack(dObj_dX)).swapaxes(0, 1)

    def _stacked(self, outs: list[Array], step: Any) -> Array:
        """The outputs of all steps as one array (T, B, ...)."""
        for out in outs:
            if out.shape != outs[0].shape:
                raise step.refused("compute_forward", f"an out_t of one shape, {outs[0].shape} in all steps", out)
        return numeric(self.cell, np.stack(outs), "out_t")

    def _copies(self) -> StepCopies:
        """The copies of the cell for its steps: those of the latest forward, if there are any."""
        kept = None if self._cache is None else self._cache.what[-1]
        return kept if isinstance(kept, StepCopies) and kept.cell is self.cell else StepCopies(repr(self), self.cell)

    def _times(self, x: Array) -> range:
        """The time steps in the order in which they run."""
        return range(len(x) - 1, -1, -1) if self.reverse else range(len(x))

    def _last(self, ends: Lengths) -> Any:
        """The index of the last valid output of each sequence, among outputs (T, B, ...)."""
        return (0 if self.reverse else ends.lengths - 1), np.arange(len(ends.lengths))

    # --- what comes in, checked and with time as first axis ---

    def _in_time(self, x: Any) -> Array:
        """The input (B, T, I) as an array (T, B, I) of the dtype of the cell."""
        x, cell = self._floats(x), self.cell
        features = cell.n_in if isinstance(cell, Cell) else "I"
        if x.ndim != 3 or features not in ("I", x.shape[2]):
            hint = "; x[np.newaxis] makes a batch of one sequence, x[..., np.newaxis] one feature" if x.ndim == 2 else ""
            raise ValueError(f"{self!r}: expected (B, T, {features}), got {x.shape}{hint}")
        params = [cell.weight_hh] if isinstance(cell, Cell) else [value for value, _ in cell._pairs()]  # be they frozen
        in_time: Array = x.swapaxes(0, 1)
        return in_time.astype(params[0].dtype, copy=False) if params else in_time

    def _initial(self, state: Any, x: Array) -> Any:
        """The state before the first step, in the dtype of x."""

        def rows(part: Any) -> Array:
            array = numeric(self, part, "the state").astype(x.dtype, copy=False)
            if array.shape[:1] != x.shape[1:2]:
                raise ValueError(f"{self!r}: expected a state of {x.shape[1]} rows, one for each sequence, got {array.shape}")
            return array

        init_state = getattr(self.cell, "init_state", None)
        if init_state is None and state is None:
            hint = ""
            if is_own(self.cell):
                hint = f"; {type(self.cell).__name__} is no cell, as GRUCell is, and stands in a stack without Unrolled"
            raise TypeError(f"{self!r}: expected the cell to have init_state(batch), or a state to start from{hint}")
        model = each(rows, state if init_state is None else init_state(x.shape[1]))
        return model if state is None else like(self, "the state", state, model)

    def _ends(self, lengths: ArrayLike | None, x: Array) -> Lengths:
        length, batch = x.shape[:2]
        return Lengths(None if lengths is None else sequence_lengths(self, lengths, batch, length), length, batch)

    def _upstream_in_time(self, dObj_dOut: Any, ends: Lengths, out: Array) -> Array:
        """dObj_dOut as (T, B, ...), zeros past the ends."""
        length, (batch, *rest) = ends.time, out.shape[1:]
        if self.return_sequences:
            return ends.masked(self._upstream(dObj_dOut, (batch, length, *rest), out.dtype).swapaxes(0, 1))
        d = np.zeros(out.shape, out.dtype)
        d[self._last(ends)] = self._upstream(dObj_dOut, (batch, *rest), out.dtype)
        return d
