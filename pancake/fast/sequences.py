"""`Unrolled` on the fast path: a kernel for each cell of the library, which computes for all time steps what needs no loop.

The products with all inputs are one product, and so is each gradient of a weight, once the backward loop is through; only what
depends on the step before is left in the loop. Work arrays are kept for all sequences of one shape. Gates come first in them, so
that each lies in one piece. The equations are those of `pancake/recurrent/cells.py`.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.fast import switch
from pancake.fast.program import guard, scalar
from pancake.function import Kept
from pancake.memory import Array
from pancake.recurrent.cells import Cell, GRUCell, LSTMCell, RNNCell
from pancake.recurrent.lengths import Lengths, only, where
from pancake.recurrent.states import each, like
from pancake.recurrent.step_copies import StepCopies
from pancake.recurrent.unrolled import Unrolled

METHODS = ("compute_forward", "compute_backward", "accumulate_grads", "init_state")
DTYPES = frozenset(map(np.dtype, (np.float32, np.float64)))


class Rows:
    """The inputs of all steps as the rows of a table (N, I).

    Attributes
    ----------
    table : ndarray (N, I)
    """

    def __init__(self, x: Array) -> None:
        self.table = np.array(x, order="C").reshape(-1, x.shape[-1])

    def as_rows(self) -> Rows:
        """The inputs as rows of a table of their own."""
        return self

    def product(self, weight: Array, out: Array) -> None:
        """Write the product of each input with a weight (..., I, H) into `out` (..., N, H)."""
        np.matmul(self.table, weight, out=out)

    def by_row(self, dObj_dZ: Array) -> Array:
        """The gradient (..., N, H) for each row of the table."""
        return dObj_dZ


class SequenceKernel:
    """The steps of a library cell for sequences of one shape, (T, B, I).

    Attributes
    ----------
    h_before, h_after : ndarray (T, B, H)
        The hidden states: step t reads `h_before[t]` and writes to `h_after[t]`.
    steps : dict
        A function object for each time step, in the order in which they run.
    """

    inputs: Any  # of the latest forward: Rows, or others like it

    def __init__(self, cell: Any, shape: tuple[int, int, int], reverse: bool) -> None:
        self.cell, self.shape, self.dtype, self.reverse = cell, shape, cell.weight_hh.dtype, reverse
        self.n, self.N = cell.n_hidden, shape[0] * shape[1]
        self.ones = np.ones(self.N, self.dtype)  # ones @ d is d.sum(axis=0) in half of the time
        names = [name for name in vars(cell) if name != "training"]
        self.intact = guard([(cell, names)], [(type(cell), name) for name in METHODS])
        self.times = list(range(shape[0]))[:: -1 if reverse else 1]
        self.h_before, self.h_after, self.slots = self.states()

    def fits(self, cell: Any, shape: tuple[int, ...], reverse: bool) -> bool:
        """Whether the work arrays are those for this cell and sequences of this shape."""
        return self.cell is cell and self.shape == shape and self.reverse == reverse and self.intact()

    def states(self) -> tuple[Array, Array, list[tuple[Array, Array]]]:
        """Arrays for the states before and after each time, and both of each step by its time."""
        length, batch, _ = self.shape
        states = np.empty((length + 1, batch, self.n), self.dtype)
        before, after = (states[1:], states[:-1]) if self.reverse else (states[:-1], states[1:])
        return before, after, list(zip(before, after, strict=True))

    def begin(self, inputs: Any) -> None:
        """Take up a new sequence: compute what needs no state."""
        self.inputs = inputs

    def forward(self, t: int, state: Any) -> Any:
        """One step; the state that it leaves, whose first or only array is out_t."""
        raise NotImplementedError

    def before_backward(self) -> None:
        """Compute the factors of all steps."""
        raise NotImplementedError

    def backward(self, t: int, dObj_dOut: Array, dObj_dState: Any) -> Any:
        """One step back; the gradient of the state that it was given."""
        raise NotImplementedError

    def after_backward(self, input_too: bool) -> Array | None:
        """Add to the gradients of the parameters; the gradient of the table of inputs, if it is wanted."""
        raise NotImplementedError

    def kept(self, t: int) -> tuple[Any, ...]:
        """What the plain cell would remember of a step, from inputs that are rows."""
        raise NotImplementedError


def by_gate(array: Array, n: int) -> Array:
    """A view (G, I, H) of a weight (G H, I), or of its gradient."""
    return array.reshape(-1, n, array.shape[1]).transpose(0, 2, 1)


class RNNKernel(SequenceKernel):
    def __init__(self, cell: RNNCell, shape: tuple[int, int, int], reverse: bool) -> None:
        super().__init__(cell, shape, reverse)
        (length, batch, _), dtype = shape, self.dtype
        self.z = np.empty((length, batch, self.n), dtype)  # in turn: W_ih x + b; z; f'(z); dObj_dZ
        self.work, self.dObj_dH = np.empty((2, batch, self.n), dtype)
        self.weight_forward = cell.weight_hh.T
        self.weight_back = np.empty(cell.weight_hh.shape, dtype)  # in C order, which makes dObj_dZ W_hh faster
        self.f, self.slope = ACTIVATIONS[cell.activation]
        self.zero, self.one = scalar(0, dtype), scalar(1, dtype)
        self.step = [(z, *slot) for z, slot in zip(self.z, self.slots, strict=True)]

    def begin(self, inputs: Any) -> None:
        super().begin(inputs)
        z = self.z.reshape(self.N, -1)
        inputs.product(self.cell.weight_ih.T, z)
        z += self.cell.bias_ih + self.cell.bias_hh

    def forward(self, t: int, state: Any) -> Any:
        z, h, out = self.step[t]
        if state is not h:  # the initial state, or one with the rows of sequences that are over put back
            h[...] = state
        h.dot(self.weight_forward, self.work)
        np.add(z, self.work, z)
        self.f(self, z, out)
        return out

    def before_backward(self) -> None:
        self.slope(self, self.h_after, self.z)
        self.weight_back[...] = self.cell.weight_hh

    def backward(self, t: int, dObj_dOut: Array, dObj_dState: Any) -> Any:
        z = self.step[t][0]
        np.add(dObj_dOut, dObj_dState, self.work)
        np.multiply(z, self.work, z)
        z.dot(self.weight_back, self.dObj_dH)
        return self.dObj_dH

    def after_backward(self, input_too: bool) -> Array | None:
        cell, dObj_dZ = self.cell, self.z.reshape(self.N, -1)
        grad_ih, grad_hh = cell.grad_weight_ih.T, cell.grad_weight_hh.T
        grad_hh += self.h_before.reshape(self.N, -1).T.dot(dObj_dZ)
        dObj_dZ = self.inputs.by_row(dObj_dZ)
        grad_ih += self.inputs.table.T.dot(dObj_dZ)
        sums = self.ones[: len(dObj_dZ)].dot(dObj_dZ)
        cell.grad_bias_ih += sums
        cell.grad_bias_hh += sums
        return dObj_dZ.dot(cell.weight_ih) if input_too else None

    def kept(self, t: int) -> tuple[Any, ...]:
        return self.inputs.table.reshape(self.shape)[t], self.h_before[t], self.h_after[t]


# f(kernel, z, out), and the slope from y = f(z), slope(kernel, y, out)


def _tanh_slope(kernel: RNNKernel, y: Array, out: Array) -> None:
    np.multiply(y, y, out)
    np.subtract(kernel.one, out, out)


def _sigmoid(kernel: RNNKernel, z: Array, out: Array) -> None:
    np.negative(z, out)
    np.exp(out, out)
    np.add(out, kernel.one, out)
    np.divide(kernel.one, out, out)


def _sigmoid_slope(kernel: RNNKernel, y: Array, out: Array) -> None:
    np.multiply(y, y, out)
    np.subtract(y, out, out)


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (lambda kernel, z, out: np.tanh(z, out), _tanh_slope),
    "relu": (
        lambda kernel, z, out: np.maximum(z, kernel.zero, out=out),
        lambda kernel, y, out: np.greater(y, kernel.zero, out=out),
    ),
    "sigmoid": (_sigmoid, _sigmoid_slope),
}


class LSTMKernel(SequenceKernel):
    """Gates in the order i, f, o, g. The weights of the first three are negated: sigmoid(z) = 1 / (1 + exp(-z))."""

    ORDER = (0, 1, 3, 2)  # of the gates here among those of the cell, and the other way round

    def __init__(self, cell: LSTMCell, shape: tuple[int, int, int], reverse: bool) -> None:
        super().__init__(cell, shape, reverse)
        length, batch, n_in = shape
        n, dtype = self.n, self.dtype
        self.sign = np.array([-1, -1, -1, 1], dtype).reshape(4, 1, 1)
        self.one = scalar(1, dtype)
        self.weight_ih = np.empty((4, n_in, n), dtype)
        self.weight_forward, self.weight_back = np.empty((2, 4, n, n), dtype)
        self.a = np.empty((4, length, batch, n), dtype)  # W_ih x + b, then the gates
        self.c_before, self.c_after, self.memories = self.states()
        self.tanh_c, self.o_slope = np.empty((2, length, batch, n), dtype)  # o_slope: dH_t / dC_t
        self.q = np.empty_like(self.a)  # what is to be multiplied by dObj_dC or dObj_dH, then dObj_dZ
        self.work4 = np.empty((4, batch, n), dtype)
        self.work, self.dObj_dC, *dObj_dState = np.empty((4, batch, n), dtype)
        self.dObj_dState = tuple(dObj_dState)
        self.gates = [(self.a[:, t], self.a[:3, t], *self.a[:, t]) for t in range(length)]
        self.factors = [(self.q[:, t], self.q[:2, t], self.q[2, t], self.q[3, t]) for t in range(length)]

    def begin(self, inputs: Any) -> None:
        super().begin(inputs)
        cell, order = self.cell, list(self.ORDER)
        np.multiply(by_gate(cell.weight_ih, self.n)[order], self.sign, self.weight_ih)
        np.multiply(by_gate(cell.weight_hh, self.n)[order], self.sign, self.weight_forward)
        a = self.a.reshape(4, self.N, self.n)
        inputs.product(self.weight_ih, a)
        a += self.sign * (cell.bias_ih + cell.bias_hh).reshape(4, 1, self.n)[order]

    def forward(self, t: int, state: Any) -> Any:
        (h, out), (c, c_out), tanh_c = self.slots[t], self.memories[t], self.tanh_c[t]
        if state[0] is not h:  # the initial state, or one with the rows of sequences that are over put back
            h[...] = state[0]
        if state[1] is not c:
            c[...] = state[1]
        a, ifo, i, f, o, g = self.gates[t]
        np.matmul(h, self.weight_forward, out=self.work4)
        np.add(a, self.work4, a)
        np.exp(ifo, ifo)
        np.add(ifo, self.one, ifo)
        np.divide(self.one, ifo, ifo)
        np.tanh(g, g)
        np.multiply(i, g, self.work)
        np.multiply(f, c, c_out)
        np.add(c_out, self.work, c_out)
        np.tanh(c_out, tanh_c)
        np.multiply(o, tanh_c, out)
        return out, c_out

    def before_backward(self) -> None:
        i, _, o, g = self.a
        q, slope = self.q, self.o_slope
        np.multiply(self.a, self.a, q)
        np.subtract(self.a[:3], q[:3], q[:3])
        np.subtract(self.one, q[3], q[3])
        for gate, factor in zip(q, (g, self.c_before, self.tanh_c, i), strict=True):
            gate *= factor
        np.multiply(self.tanh_c, self.tanh_c, slope)
        np.subtract(self.one, slope, slope)
        slope *= o
        self.weight_back[...] = self.cell.weight_hh.reshape(4, -1, self.n)[list(self.ORDER)]

    def backward(self, t: int, dObj_dOut: Array, dObj_dState: Any) -> Any:
        q, q_if, q_o, q_g = self.factors[t]
        dObj_dH, dObj_dC = self.work, self.dObj_dC
        np.add(dObj_dOut, dObj_dState[0], dObj_dH)
        np.multiply(dObj_dH, self.o_slope[t], dObj_dC)
        np.add(dObj_dC, dObj_dState[1], dObj_dC)
        np.multiply(q_if, dObj_dC, q_if)
        np.multiply(q_g, dObj_dC, q_g)
        np.multiply(q_o, dObj_dH, q_o)
        dObj_dH, c = self.dObj_dState
        np.multiply(dObj_dC, self.a[1, t], c)
        np.matmul(q, self.weight_back, out=self.work4)
        np.add.reduce(self.work4, axis=0, out=dObj_dH)
        return self.dObj_dState

    def after_backward(self, input_too: bool) -> Array | None:
        cell, n, order = self.cell, self.n, list(self.ORDER)
        dObj_dZ = self.q.reshape(4, self.N, n)
        grad_ih, grad_hh = by_gate(cell.grad_weight_ih, n), by_gate(cell.grad_weight_hh, n)
        grad_hh += np.matmul(self.h_before.reshape(-1, n).T, dObj_dZ)[order]
        dObj_dZ = self.inputs.by_row(dObj_dZ)
        grad_ih += np.matmul(self.inputs.table.T, dObj_dZ)[order]
        sums = np.matmul(self.ones[: dObj_dZ.shape[1]], dObj_dZ)[order].reshape(-1)
        cell.grad_bias_ih += sums
        cell.grad_bias_hh += sums
        return products(dObj_dZ, cell.weight_ih, order) if input_too else None

    def kept(self, t: int) -> tuple[Any, ...]:
        i, f, o, g = self.a[:, t]
        return self.inputs.table.reshape(self.shape)[t], self.h_before[t], self.c_before[t], i, f, g, o, self.tanh_c[t]


class GRUKernel(SequenceKernel):
    """Gates in the order r, z, n. The weights of the first two are negated: sigmoid(s) = 1 / (1 + exp(-s))."""

    def __init__(self, cell: GRUCell, shape: tuple[int, int, int], reverse: bool) -> None:
        super().__init__(cell, shape, reverse)
        length, batch, n_in = shape
        n, dtype = self.n, self.dtype
        self.sign = np.array([-1, -1, 1], dtype).reshape(3, 1, 1)
        self.one = scalar(1, dtype)
        self.weight_ih = np.empty((3, n_in, n), dtype)
        self.weight_forward, self.weight_back = np.empty((2, 3, n, n), dtype)
        self.bias_n = np.empty(n, dtype)
        self.a = np.empty((3, length, batch, n), dtype)  # W_ih x + b, then the gates
        self.u = np.empty((length, batch, n), dtype)
        # What is to be multiplied by dObj_dH or dObj_dS_n, then dObj_dU_n, dObj_dS_r, dObj_dS_z, dObj_dS_n: of these the first
        # three go back to the state, the last three to the input.
        self.q = np.empty((4, length, batch, n), dtype)
        self.work3 = np.empty((3, batch, n), dtype)
        self.work, self.dObj_dH = np.empty((2, batch, n), dtype)

    def begin(self, inputs: Any) -> None:
        super().begin(inputs)
        cell, n = self.cell, self.n
        np.multiply(by_gate(cell.weight_ih, n), self.sign, self.weight_ih)
        np.multiply(by_gate(cell.weight_hh, n), self.sign, self.weight_forward)
        bias = cell.bias_ih.reshape(3, 1, n).copy()
        bias[:2] += cell.bias_hh[: 2 * n].reshape(2, 1, n)
        self.bias_n[...] = cell.bias_hh[2 * n :]
        a = self.a.reshape(3, self.N, n)
        inputs.product(self.weight_ih, a)
        a += self.sign * bias

    def forward(self, t: int, state: Any) -> Any:
        h, out = self.slots[t]
        if state is not h:  # the initial state, or one with the rows of sequences that are over put back
            h[...] = state
        rz, (r, z, n), u, work = self.a[:2, t], self.a[:, t], self.u[t], self.work3
        np.matmul(h, self.weight_forward, out=work)
        np.add(rz, work[:2], rz)
        np.exp(rz, rz)
        np.add(rz, self.one, rz)
        np.divide(self.one, rz, rz)
        np.add(work[2], self.bias_n, u)
        np.multiply(r, u, self.work)
        np.add(n, self.work, n)
        np.tanh(n, n)
        np.subtract(h, n, self.work)
        np.multiply(self.work, z, self.work)
        np.add(n, self.work, out)
        return out

    def before_backward(self) -> None:
        r, z, n = self.a
        q_u, q_r, q_z, q_n = self.q
        np.subtract(self.one, r, q_r)
        q_r *= self.u  # times dObj_dU_n = r dObj_dS_n, which brings the missing r
        np.subtract(self.one, z, q_u)
        np.multiply(q_u, z, q_z)
        np.multiply(n, n, q_n)
        np.subtract(self.one, q_n, q_n)
        q_n *= q_u
        np.subtract(self.h_before, n, q_u)
        q_z *= q_u
        q_u[...] = r
        self.weight_back[...] = self.cell.weight_hh.reshape(3, -1, self.n)[[2, 0, 1]]

    def backward(self, t: int, dObj_dOut: Array, dObj_dState: Any) -> Any:
        q_u, q_r, q_z, q_n = self.q[:, t]
        np.add(dObj_dOut, dObj_dState, self.work)
        np.multiply(q_n, self.work, q_n)
        np.multiply(q_z, self.work, q_z)
        np.multiply(q_u, q_n, q_u)
        np.multiply(q_r, q_u, q_r)
        np.matmul(self.q[:3, t], self.weight_back, out=self.work3)
        np.add.reduce(self.work3, axis=0, out=self.dObj_dH)
        np.multiply(self.work, self.a[1, t], self.work)
        np.add(self.dObj_dH, self.work, self.dObj_dH)
        return self.dObj_dH

    def after_backward(self, input_too: bool) -> Array | None:
        cell, n = self.cell, self.n
        d = self.q.reshape(4, self.N, n)
        grad_ih, grad_hh = by_gate(cell.grad_weight_ih, n), by_gate(cell.grad_weight_hh, n)
        grad_hh += np.matmul(self.h_before.reshape(-1, n).T, d[:3])[[1, 2, 0]]
        sums = np.matmul(self.ones, d)
        cell.grad_bias_ih += sums[1:].reshape(-1)
        cell.grad_bias_hh += sums[[1, 2, 0]].reshape(-1)
        dObj_dS = self.inputs.by_row(d[1:])
        grad_ih += np.matmul(self.inputs.table.T, dObj_dS)
        return products(dObj_dS, cell.weight_ih, [0, 1, 2]) if input_too else None

    def kept(self, t: int) -> tuple[Any, ...]:
        r, z, n = self.a[:, t]
        return self.inputs.table.reshape(self.shape)[t], self.h_before[t], r, z, n, self.u[t]


def products(dObj_dZ: Array, weight: Array, order: list[int]) -> Array:
    """dObj_dZ W of all gates together, (N, I), from dObj_dZ (G, N, H), its gates in that order, and a weight (G H, I)."""
    weights = weight.reshape(len(dObj_dZ), -1, weight.shape[1])
    result: Array = dObj_dZ[0].dot(weights[order[0]])
    for d, gate in itertools.islice(zip(dObj_dZ, order, strict=True), 1, None):
        result += d.dot(weights[gate])
    return result


KERNELS: dict[type[Cell], type[SequenceKernel]] = {RNNCell: RNNKernel, LSTMCell: LSTMKernel, GRUCell: GRUKernel}
PLAIN = {(cls, name): getattr(cls, name) for cls in KERNELS for name in METHODS}


class SequenceKept(Kept):
    """What a forward on the fast path has left in `Unrolled`: what the plain one would, when it is asked for."""

    __slots__ = ("ends", "kernel", "state")

    def __init__(self, kernel: SequenceKernel, ends: Lengths, state: Any, older: bool) -> None:
        self.kernel, self.ends, self.state = kernel, ends, state
        self.used, self.older = False, older

    @property
    def what(self) -> tuple[Any, ...]:  # type: ignore[override]
        kernel = self.kernel
        kernel.inputs = kernel.inputs.as_rows()
        copies = StepCopies(f"Unrolled({kernel.cell!r})", kernel.cell)
        steps = dict(zip(kernel.times, copies.of(kernel.inputs.table.reshape(kernel.shape), self.state), strict=True))
        for t, step in steps.items():
            step.cell._cache = kept = Kept(kernel.kept(t), False)
            kept.used = self.used
            step.shape = kernel.shape[1:]
        return steps, self.ends, kernel.h_after, self.state, copies


KERNELS_OF: dict[int, tuple[weakref.ref[Any], SequenceKernel]] = {}


def kernel_of(unrolled: Unrolled, shape: tuple[int, int, int]) -> SequenceKernel | None:
    """The kernel of an `Unrolled` for sequences (T, B, I), if there can be one; kept until they have another shape."""
    cell: Any = unrolled.cell
    known = KERNELS_OF.get(id(unrolled))
    if known is not None and known[1].fits(cell, shape, unrolled.reverse):
        return known[1]
    cls = type(cell)
    if cls not in KERNELS or cell.weight_hh.dtype not in DTYPES or not vars(cell).keys().isdisjoint(METHODS):
        return None
    if any(getattr(cls, name) is not PLAIN[cls, name] for name in METHODS):
        return None
    arrays = [array for pair in zip(*cell.get_params_and_grads(), strict=True) for array in pair]
    if len(arrays) != 8 or any(array.dtype != arrays[0].dtype or not array.T.flags.c_contiguous for array in arrays):
        return None
    key = id(unrolled)
    kernel = KERNELS[cls](cell, shape, unrolled.reverse)
    KERNELS_OF[key] = weakref.ref(unrolled, functools.partial(KERNELS_OF.pop, key)), kernel
    return kernel


def backwards(kernel: SequenceKernel, ends: Lengths, dObj_dOut: Array, dObj_dState: Any) -> Any:
    """The backward loop; the gradient of the initial state."""
    kernel.before_backward()
    for t in reversed(kernel.times):
        valid = ends.valid[t]
        if valid is None:
            dObj_dState = kernel.backward(t, dObj_dOut[t], dObj_dState)
        else:  # a sequence that is over has handed its state on as it was, and so it does with the gradient
            handed_on = each(only(~valid), dObj_dState)
            dObj_dState = kernel.backward(t, dObj_dOut[t], each(only(valid), dObj_dState))
            dObj_dState = each(np.add, dObj_dState, handed_on)
    return each(np.copy, dObj_dState)


def latest(owner: Unrolled) -> SequenceKernel | None:
    """The kernel that the latest forward of an `Unrolled` has used, if its backward may use it too."""
    kept = owner._cache
    if kept.__class__ is not SequenceKept or switch.reasons or (kept.used and kept.older):
        return None
    kernel: SequenceKernel = kept.kernel
    return kernel if kernel.cell is owner.cell and kernel.intact() else None


def run_forward(owner: Unrolled, kernel: SequenceKernel, inputs: Any, ends: Lengths, state: Any) -> Array:
    """The forward of an `Unrolled` by its kernel."""
    valid = ends.valid
    before, owner._cache = owner._cache, None  # until the run is through
    with np.errstate(over="ignore"):  # where exp(-z) is inf, and the sigmoid 0
        kernel.begin(inputs)
        for t in kernel.times:
            new = kernel.forward(t, state)
            state = new if valid[t] is None else each(where(valid[t]), new, state)
    owner.state = each(np.copy, state)
    owner._cache = SequenceKept(kernel, ends, owner.state, before is not None and not before.used)
    if owner.return_sequences:
        return ends.padded(kernel.h_after.copy()).swapaxes(0, 1)
    return kernel.h_after[owner._last(ends)]


def run_backward(owner: Unrolled, kernel: SequenceKernel, dObj_dOut: Any, dObj_dState: Any, input_too: bool) -> Any:
    """Its backward; the gradient of the table of its inputs if it is wanted."""
    kept = owner._cache
    ends, state = kept.ends, kept.state
    d = owner._upstream_in_time(dObj_dOut, ends, kernel.h_after)
    d_state = each(np.zeros_like, state) if dObj_dState is None else like(owner, "dObj_dState", dObj_dState, state)
    owner.dObj_dState = backwards(kernel, ends, d, d_state)
    gradient = kernel.after_backward(input_too)
    kept.used = True
    return gradient


def install() -> None:
    """Put the fast path before the methods of `Unrolled`."""
    plain_forward, plain_backward, plain_accumulate = (getattr(Unrolled, name) for name in METHODS[:3])

    @functools.wraps(plain_forward)
    def compute_forward(self: Unrolled, x: Any, state: Any = None, lengths: Any = None) -> Array:
        if switch.reasons or type(self) is not Unrolled or type(self.cell) not in KERNELS:
            return plain_forward(self, x, state, lengths)
        inputs = self._in_time(x)
        now = self._initial(state, inputs)
        ends = Lengths(None if lengths is None else self._lengths(lengths, inputs), *inputs.shape[:2])
        inputs = ends.masked(inputs)
        kernel = kernel_of(self, inputs.shape)
        if kernel is None:
            return plain_forward(self, x, state, lengths)
        return run_forward(self, kernel, Rows(inputs), ends, now)

    @functools.wraps(plain_backward)
    def compute_backward(self: Unrolled, dObj_dOut: Any, dObj_dState: Any = None) -> Array:
        kernel = latest(self)
        if kernel is None:
            return plain_backward(self, dObj_dOut, dObj_dState)
        kernel.inputs = kernel.inputs.as_rows()
        dObj_dX = run_backward(self, kernel, dObj_dOut, dObj_dState, True).reshape(kernel.shape)
        ends: Lengths = self._cache.ends
        return ends.padded(dObj_dX).swapaxes(0, 1)

    @functools.wraps(plain_accumulate)
    def accumulate_grads(self: Unrolled, dObj_dOut: Any, dObj_dState: Any = None) -> None:
        kernel = None if "compute_backward" in vars(self) else latest(self)
        if kernel is None:
            return plain_accumulate(self, dObj_dOut, dObj_dState)
        run_backward(self, kernel, dObj_dOut, dObj_dState, False)

    for method in (compute_forward, compute_backward, accumulate_grads):
        setattr(Unrolled, method.__name__, method)
