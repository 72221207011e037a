"""`Unrolled` on the fast path, by the kernel of its cell: in a program, or when it is called by itself."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from pancake.fast import cells, switch
from pancake.fast.cells import KERNELS, CellKernel, Rows
from pancake.fast.embeddings import EmbeddingKernel
from pancake.fast.kernels import Kernel, Lies
from pancake.fast.methods import METHODS
from pancake.fast.program import Notes, Owner, Text
from pancake.function import Kept
from pancake.memory import Array
from pancake.recurrent.lengths import Lengths, only, where
from pancake.recurrent.states import each, like
from pancake.recurrent.step_copies import StepCopies
from pancake.recurrent.unrolled import Unrolled

CHANGING = {"state", "dObj_dState", "training"}  # attributes of an Unrolled that its kernel does not depend on


class UnrolledKernel(Kernel):
    """All steps, from a state of zeros."""

    writes = False

    def __init__(self, layer: Unrolled, notes: Notes, lies: Lies, before: Any) -> None:
        """Note the forward, from what the kernel `before` puts out, or from the argument `x` of the program, if it is None."""
        cell: Any = layer.cell
        self.layer, (batch, time) = layer, lies.leading
        if before is not None:
            inputs = before.inputs if isinstance(before, EmbeddingKernel) else Rows(before.y.T)
        else:
            inputs = Rows(np.empty((lies.n, cell.n_in), lies.dtype))
            notes.put(lies.seen(inputs.table.T), Text("x"))
        self.inputs, self.ends, self.initial = inputs, Lengths(None, time, batch), cell.init_state(batch)
        self.kernel = KERNELS[type(cell)](cell, (time, batch, cell.n_in), layer.reverse, inputs)
        notes.call(self._forward)
        self.before = self.lies = lies
        self.y = self.kernel.h_after.reshape(lies.n, -1).T
        if not layer.return_sequences:
            last = self.kernel.times[-1]
            self.lies = Lies((batch,), lies.dtype)
            self.y = self.lies.new(self.kernel.n)
            self.d = np.zeros_like(self.kernel.h_after)
            self.d_last = self.d[last]
            notes.put(self.lies.seen(self.y), self.kernel.h_after[last])

    def _forward(self) -> None:
        self.kernel.begin()
        state = self.kernel.forward(self.kernel.times, self.initial)
        self.layer.state = self.state = each(np.copy, state)

    def _backward(self, d: Array, dObj_dIn: Array | None) -> None:
        state = self.kernel.all_back(d, self.initial)  # nothing flows into the last state: zeros too
        self.layer.dObj_dState = each(np.copy, state)
        self.kernel.after_backward(dObj_dIn)

    def accumulate(self, notes: Notes, d: Array, write: bool) -> None:
        self._note(notes, d, None)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        """As any kernel; if the inputs are in a table of words, the gradient of the table."""
        dObj_dIn = np.empty_like(self.inputs.table)
        self._note(notes, d, dObj_dIn)
        return dObj_dIn.T

    def _note(self, notes: Notes, d: Array, dObj_dIn: Array | None) -> None:
        if self.layer.return_sequences:
            in_time = d.T.reshape(*self.kernel.h_after.shape)
        else:
            in_time = self.d
            notes.put(self.d_last, self.lies.seen(d))
        notes.call(self._backward, in_time, dObj_dIn)

    def seen(self, dObj_dIn: Array) -> Array:
        return self.before.seen(dObj_dIn)

    def depends_on(self) -> tuple[list[Owner], list[tuple[type, str]]]:
        owners, methods = cells.parts(self.layer.cell)
        names = [name for name in vars(self.layer) if name not in CHANGING]
        return [(self.layer, names), *owners], [*((Unrolled, name) for name in METHODS), *methods]

    def numbers(self) -> int:
        arrays = [*vars(self.kernel).values(), *vars(self.inputs).values(), *vars(self).values()]
        return sum(array.size for array in arrays if isinstance(array, np.ndarray)) // 2  # which serve backward too

    def kept(self) -> tuple[Any, ...]:
        return _kept(self.kernel, self.ends, self.state)


def _kept(kernel: CellKernel, ends: Lengths, state: Any) -> tuple[Any, ...]:
    """What the plain layer would remember."""
    name, x = f"Unrolled({kernel.cell!r})", kernel.inputs.rows().reshape(kernel.shape)
    steps = dict(zip(kernel.times, StepCopies(name, kernel.model).of(x, state), strict=True))
    for t, step in steps.items():
        step.cell._cache, step.shape = Kept((x[t], *kernel.kept(t)), False), x.shape[1:]
    return steps, ends, kernel.h_after, state, StepCopies(name, kernel.cell)


# --- an `Unrolled` that is called by itself ---


class SequenceKept(Kept):
    """What a forward on the fast path has left in `Unrolled`: what the plain one would, when it is asked for."""

    __slots__ = ("ends", "kernel", "state")

    def __init__(self, kernel: CellKernel, ends: Lengths, state: Any, older: bool) -> None:
        self.kernel, self.ends, self.state = kernel, ends, state
        self.used, self.older = False, older

    @property
    def what(self) -> tuple[Any, ...]:  # type: ignore[override]
        return _kept(self.kernel, self.ends, self.state)


KERNELS_OF: weakref.WeakKeyDictionary[Unrolled, CellKernel] = weakref.WeakKeyDictionary()


def kernel_of(unrolled: Unrolled, shape: tuple[int, int, int]) -> CellKernel | None:
    """The kernel of an `Unrolled` for sequences (T, B, I), if there can be one; kept until they have another shape."""
    cell: Any = unrolled.cell
    kernel = KERNELS_OF.get(unrolled)
    if kernel and kernel.cell is cell and kernel.shape == shape and kernel.reverse == unrolled.reverse and kernel.intact():
        return kernel
    if not cells.can_run(cell):
        return None
    inputs = Rows(np.empty((shape[0] * shape[1], shape[2]), cell.weight_hh.dtype))
    kernel = KERNELS_OF[unrolled] = KERNELS[type(cell)](cell, shape, unrolled.reverse, inputs)
    return kernel


def latest(owner: Unrolled) -> CellKernel | None:
    """The kernel that the latest forward of an `Unrolled` has used, if its backward may use it too."""
    kept = owner._cache
    if kept.__class__ is not SequenceKept or switch.reasons or (kept.used and kept.older):
        return None
    kernel: CellKernel = kept.kernel
    return kernel if kernel.cell is owner.cell and kernel.intact() else None


def forward(owner: Unrolled, x: Any, state: Any, lengths: Any) -> Array | None:
    """The forward of an `Unrolled`, if there can be a kernel."""
    x = owner._in_time(x)  # (T, B, I)
    state = owner._initial(state, x)
    ends = owner._ends(lengths, x)
    x = ends.masked(x)
    kernel = kernel_of(owner, x.shape)
    if kernel is None:
        return None
    before, owner._cache = owner._cache, None  # until the run is through
    kernel.inputs.table.reshape(x.shape)[...] = x
    kernel.begin()
    if ends.mask is None:
        state = kernel.forward(kernel.times, state)
    else:
        for t in kernel.times:
            new, valid = kernel.forward([t], state), ends.valid[t]
            state = new if valid is None else each(where(valid), new, state)
    owner.state = each(np.copy, state)
    owner._cache = SequenceKept(kernel, ends, owner.state, before is not None and not before.used)
    if owner.return_sequences:
        return ends.padded(kernel.h_after.copy()).swapaxes(0, 1)
    return kernel.h_after[owner._last(ends)]


def backward(owner: Unrolled, kernel: CellKernel, dObj_dOut: Any, dObj_dState: Any) -> Array:
    """Its backward, and the gradient of the inputs (B, T, I)."""
    dObj_dX = np.empty(kernel.shape, kernel.dtype)
    run_backward(owner, kernel, dObj_dOut, dObj_dState, dObj_dX.reshape(kernel.N, -1))
    ends: Lengths = owner._cache.ends
    return ends.padded(dObj_dX).swapaxes(0, 1)


def run_backward(owner: Unrolled, kernel: CellKernel, dObj_dOut: Any, dObj_dState: Any, dObj_dIn: Array | None) -> None:
    """Its backward, which writes the gradient of the inputs (N, I) if it is wanted."""
    kept = owner._cache
    ends: Lengths = kept.ends
    d = owner._upstream_in_time(dObj_dOut, ends, kernel.h_after)
    state = each(np.zeros_like, kept.state) if dObj_dState is None else like(owner, "dObj_dState", dObj_dState, kept.state)
    if ends.mask is None:
        state = kernel.all_back(d, state)
    else:
        kernel.before_backward(slice(None))
        for t in kernel.times[::-1]:
            valid = ends.valid[t]
            if valid is None:
                state = kernel.backward([t], d, state)
            else:  # a sequence that is over has handed its state on as it was, and so it does with the gradient
                handed_on = each(only(~valid), state)
                state = each(np.add, kernel.backward([t], d, each(only(valid), state)), handed_on)
    owner.dObj_dState = each(np.copy, state)
    kernel.after_backward(dObj_dIn)
    kept.used = True
