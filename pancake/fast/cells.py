"""Kernels of the cells: all time steps of a batch of sequences at once where that can be, and loops over the rest.

The products with all inputs are one product, and so is each gradient of a weight, once the backward loop is through; only what
depends on the step before is left in the loops. Work arrays are kept for all sequences of one shape. Gates come first in them, so
that each lies in one piece. The equations are those of `pancake/recurrent/cells.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pancake.fast.methods import OF_CELLS, as_made
from pancake.fast.program import DTYPES, Owner, bound, guard, scalar
from pancake.functions.activations import largest_exponent
from pancake.memory import Array
from pancake.recurrent.cells import Cell, GRUCell, LSTMCell, RNNCell

STRETCH = 1 << 20  # bytes of gates that a cell goes back through at once; about as much, and what is made of it, stays in cache


class Rows:
    """The inputs of all steps as the rows of a table.

    Attributes
    ----------
    table : ndarray (N, I)
    """

    def __init__(self, table: Array) -> None:
        self.table = table

    def rows(self) -> Array:
        """The inputs (N, I)."""
        return self.table

    def write_linear(self, weight: Array, bias: Array, out: Array) -> None:
        """Write x W + b for each input x into `out` (..., N, H), with a weight (..., I, H) and a bias (..., 1, H)."""
        np.matmul(self.table, weight, out=out)
        out += bias

    def by_row(self, dObj_dZ: Array) -> Array:
        """The gradient (..., N, H) for each row of the table."""
        return dObj_dZ


class CellKernel:
    """The steps of a library cell for sequences of one shape, (T, B, I).

    Attributes
    ----------
    inputs : Rows, or others like it
    h_before, h_after : ndarray (T, B, H)
        The hidden states: step t reads `h_before[t]` and writes to `h_after[t]`.
    hidden : list of (ndarray, ndarray)
        Both of each step.
    times : list of int
        The steps in the order in which they run.
    stretches : list of lists of int
        The same steps back, cut into pieces.
    model : Cell
        A copy, on which the plain backward of steps that have run can be made, whatever becomes of the cell.
    intact : callable
        Whether all of the cell that the kernel was made from is still the same.
    """

    def __init__(self, cell: Any, shape: tuple[int, int, int], reverse: bool, inputs: Any) -> None:
        self.cell, self.shape, self.dtype, self.reverse, self.inputs = cell, shape, cell.weight_hh.dtype, reverse, inputs
        self.n, self.N = cell.n_hidden, shape[0] * shape[1]
        self.ones = np.ones(self.N, self.dtype)  # ones @ d is d.sum(axis=0) in half of the time
        self.model, self.intact = cell.shared_copy(), guard(*parts(cell))
        self.times = list(range(shape[0]))[:: -1 if reverse else 1]
        at_once = max(1, STRETCH // (cell.gates * shape[1] * self.n * self.dtype.itemsize))
        self.stretches = [self.times[::-1][start : start + at_once] for start in range(0, shape[0], at_once)]
        self.h_before, self.h_after, self.hidden = self.states()

    def states(self) -> tuple[Array, Array, list[tuple[Array, Array]]]:
        """Arrays for the states before and after each time, and both of each step."""
        length, batch, _ = self.shape
        states = np.empty((length + 1, batch, self.n), self.dtype)
        each = list(states)  # so that what one step leaves is the very object that the next one reads
        before, after = (slice(1, None), slice(-1)) if self.reverse else (slice(-1), slice(1, None))
        return states[before], states[after], list(zip(each[before], each[after], strict=True))

    def begin(self) -> None:
        """Take up new inputs: compute what needs no state."""
        raise NotImplementedError

    def forward(self, times: Iterable[int], state: Any) -> Any:
        """Some steps one after the other; the state that they leave, whose first or only array is the last out_t."""
        raise NotImplementedError

    def all_back(self, dObj_dOut: Array, dObj_dState: Any) -> Any:
        """All steps back; the gradient of the initial state."""
        for times in self.stretches:
            self.before_backward(slice(min(times), max(times) + 1))
            dObj_dState = self.backward(times, dObj_dOut, dObj_dState)
        return dObj_dState

    def before_backward(self, steps: slice) -> None:
        """Compute the factors of these steps."""
        raise NotImplementedError

    def backward(self, times: Iterable[int], dObj_dOut: Array, dObj_dState: Any) -> Any:
        """Some steps back; the gradient of the state that the last of them was given."""
        raise NotImplementedError

    def after_backward(self, dObj_dIn: Array | None) -> None:
        """Add to the gradients of the parameters, and write that of the table of inputs, if it is wanted."""
        raise NotImplementedError

    def kept(self, t: int) -> tuple[Any, ...]:
        """What the plain cell would remember of a step, beside its input."""
        raise NotImplementedError


def parts(cell: Any) -> tuple[list[Owner], list[tuple[type, str]]]:
    """What a kernel depends on, as `Notes.unchanged` takes it."""
    methods = [(type(cell), name) for name in OF_CELLS]
    return [(cell, [name for name in vars(cell) if name != "training"])], [*methods, (Cell, "init_state")]


def by_gate(array: Array, n: int) -> Array:
    """A view (G, I, H) of a weight (G H, I), or of its gradient."""
    return array.reshape(-1, n, array.shape[1]).transpose(0, 2, 1)


class RNNKernel(CellKernel):
    def __init__(self, cell: RNNCell, shape: tuple[int, int, int], reverse: bool, inputs: Any) -> None:
        super().__init__(cell, shape, reverse, inputs)
        (length, batch, _), dtype = shape, self.dtype
        self.z = np.empty((length, batch, self.n), dtype)  # in turn: W_ih x + b; z; f'(z); dObj_dZ
        self.work, self.dObj_dH = np.empty((2, batch, self.n), dtype)
        self.weight_forward = cell.weight_hh.T
        self.weight_back = np.empty(cell.weight_hh.shape, dtype)  # in C order, which makes dObj_dZ W_hh faster
        self.f, self.slope = ACTIVATIONS[cell.activation]
        self.steps = [(self.z[t], *self.hidden[t]) for t in range(length)]

    def begin(self) -> None:
        cell = self.cell
        self.inputs.write_linear(cell.weight_ih.T, cell.bias_ih + cell.bias_hh, self.z.reshape(self.N, -1))

    def forward(self, times: Iterable[int], state: Any) -> Any:
        f, work, weight = self.f, self.work, self.weight_forward
        for t in times:
            z, h, out = self.steps[t]
            if state is not h:  # the initial state, or one with the rows of sequences that are over put back
                h[...] = state
            h.dot(weight, work)
            np.add(z, work, z)
            f(z, out)
            state = out
        return state

    def before_backward(self, steps: slice) -> None:
        self.slope(self.h_after[steps], self.z[steps])
        self.weight_back[...] = self.cell.weight_hh

    def backward(self, times: Iterable[int], dObj_dOut: Array, dObj_dState: Any) -> Any:
        dObj_dH, work, weight = self.dObj_dH, self.work, self.weight_back
        for t in times:
            z = self.steps[t][0]
            np.add(dObj_dOut[t], dObj_dState, work)
            np.multiply(z, work, z)
            z.dot(weight, dObj_dH)
            dObj_dState = dObj_dH
        return dObj_dState

    def after_backward(self, dObj_dIn: Array | None) -> None:
        cell, dObj_dZ = self.cell, self.z.reshape(self.N, -1)
        grad_ih, grad_hh = cell.grad_weight_ih.T, cell.grad_weight_hh.T
        grad_hh += self.h_before.reshape(self.N, -1).T.dot(dObj_dZ)
        dObj_dZ = self.inputs.by_row(dObj_dZ)
        grad_ih += self.inputs.table.T.dot(dObj_dZ)
        sums = self.ones[: len(dObj_dZ)].dot(dObj_dZ)
        cell.grad_bias_ih += sums
        cell.grad_bias_hh += sums
        if dObj_dIn is not None:
            dObj_dZ.dot(cell.weight_ih, dObj_dIn)

    def kept(self, t: int) -> tuple[Any, ...]:
        return self.h_before[t], self.h_after[t]


# f(z, out), and the slope from y = f(z), slope(y, out)


def _tanh_slope(y: Array, out: Array) -> None:
    np.multiply(y, y, out)
    np.subtract(1, out, out)


def _sigmoid(z: Array, out: Array) -> None:
    np.minimum(z, largest_exponent(z.dtype), out=out)
    np.exp(out, out)
    np.divide(out, np.add(out, 1), out)


def _sigmoid_slope(y: Array, out: Array) -> None:
    np.subtract(1, y, out)  # y - y^2 would lose all digits of a gate that is nearly shut or open
    np.multiply(y, out, out)


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (np.tanh, _tanh_slope),
    "relu": (lambda z, out: np.maximum(z, 0, out=out), lambda y, out: np.greater(y, 0, out=out)),
    "sigmoid": (_sigmoid, _sigmoid_slope),
}


class GatedKernel(CellKernel):
    """The gates (G, T, B, H) of a cell, each in one piece, and its weights likewise: copies, (G, I, H) and (G, H, H)."""

    def __init__(self, cell: Any, shape: tuple[int, int, int], reverse: bool, inputs: Any) -> None:
        super().__init__(cell, shape, reverse, inputs)
        (length, batch, n_in), n, dtype = shape, self.n, self.dtype
        self.one = scalar(1, dtype)
        self.largest = bound(largest_exponent(dtype), np.empty((cell.gates - 1, batch, n), dtype))  # of all gates but the tanh
        self.weight_ih = np.empty((cell.gates, n_in, n), dtype)
        self.weight_forward, self.weight_back = np.empty((2, cell.gates, n, n), dtype)
        self.a = np.empty((cell.gates, length, batch, n), dtype)  # W_ih x + b, then the gates


class LSTMKernel(GatedKernel):
    """Gates in the order i, f, o, g: the three sigmoids in one piece."""

    ORDER = (0, 1, 3, 2)  # of the gates here among those of the cell, and the other way round

    def __init__(self, cell: LSTMCell, shape: tuple[int, int, int], reverse: bool, inputs: Any) -> None:
        super().__init__(cell, shape, reverse, inputs)
        (length, batch, _), n, dtype = shape, self.n, self.dtype
        self.c_before, _, memories = self.states()
        self.tanh_c, self.o_slope = np.empty((2, length, batch, n), dtype)  # o_slope: dH_t / dC_t
        self.q = np.empty_like(self.a)  # what is to be multiplied by dObj_dC or dObj_dH, then dObj_dZ
        self.work4 = np.empty((4, batch, n), dtype)
        self.work, self.dObj_dC, *dObj_dState = np.empty((4, batch, n), dtype)
        self.dObj_dState = tuple(dObj_dState)
        self.steps = [
            (*self.hidden[t], *memories[t], self.tanh_c[t], self.a[:, t], self.a[:3, t], *self.a[:, t]) for t in range(length)
        ]
        self.back = [
            (self.q[:, t], self.q[:2, t], self.q[2, t], self.q[3, t], self.o_slope[t], self.a[1, t]) for t in range(length)
        ]

    def begin(self) -> None:
        cell, order = self.cell, list(self.ORDER)
        self.weight_ih[...] = by_gate(cell.weight_ih, self.n)[order]
        self.weight_forward[...] = by_gate(cell.weight_hh, self.n)[order]
        bias = (cell.bias_ih + cell.bias_hh).reshape(4, 1, self.n)[order]
        self.inputs.write_linear(self.weight_ih, bias, self.a.reshape(4, self.N, self.n))

    def forward(self, times: Iterable[int], state: Any) -> Any:
        work, work4, weight, one, largest = self.work, self.work4, self.weight_forward, self.one, self.largest
        work3 = work4[:3]
        h_state, c_state = state
        for t in times:
            h, out, c, c_out, tanh_c, a, ifo, i, f, o, g = self.steps[t]
            if h_state is not h:  # the initial state, or one with the rows of sequences that are over put back
                h[...] = h_state
            if c_state is not c:
                c[...] = c_state
            np.matmul(h, weight, out=work4)
            np.add(a, work4, a)
            np.minimum(ifo, largest, out=ifo)
            np.exp(ifo, ifo)
            np.add(ifo, one, work3)
            np.divide(ifo, work3, ifo)
            np.tanh(g, g)
            np.multiply(i, g, work)
            np.multiply(f, c, c_out)
            np.add(c_out, work, c_out)
            np.tanh(c_out, tanh_c)
            np.multiply(o, tanh_c, out)
            h_state, c_state = out, c_out
        return h_state, c_state

    def before_backward(self, steps: slice) -> None:
        a, q, tanh_c, slope = self.a[:, steps], self.q[:, steps], self.tanh_c[steps], self.o_slope[steps]
        i, _, o, g = a
        np.subtract(self.one, a[:3], q[:3])  # a - a^2 would lose all digits of a gate that is nearly open
        np.multiply(q[:3], a[:3], q[:3])
        np.multiply(g, g, q[3])
        np.subtract(self.one, q[3], q[3])
        for gate, factor in zip(q, (g, self.c_before[steps], tanh_c, i), strict=True):
            gate *= factor
        np.multiply(tanh_c, tanh_c, slope)
        np.subtract(self.one, slope, slope)
        slope *= o
        self.weight_back[...] = self.cell.weight_hh.reshape(4, -1, self.n)[list(self.ORDER)]

    def backward(self, times: Iterable[int], dObj_dOut: Array, dObj_dState: Any) -> Any:
        work, work4, dObj_dC, weight = self.work, self.work4, self.dObj_dC, self.weight_back
        h, c = dObj_dState
        for t in times:
            q, q_if, q_o, q_g, o_slope, f = self.back[t]
            np.add(dObj_dOut[t], h, work)
            np.multiply(work, o_slope, dObj_dC)
            np.add(dObj_dC, c, dObj_dC)
            np.multiply(q_if, dObj_dC, q_if)
            np.multiply(q_g, dObj_dC, q_g)
            np.multiply(q_o, work, q_o)
            h, c = self.dObj_dState
            np.multiply(dObj_dC, f, c)
            np.matmul(q, weight, out=work4)
            np.add.reduce(work4, axis=0, out=h)
        return h, c

    def after_backward(self, dObj_dIn: Array | None) -> None:
        cell, n, order = self.cell, self.n, list(self.ORDER)
        dObj_dZ = self.q.reshape(4, self.N, n)
        grad_ih, grad_hh = by_gate(cell.grad_weight_ih, n), by_gate(cell.grad_weight_hh, n)
        grad_hh += np.matmul(self.h_before.reshape(-1, n).T, dObj_dZ)[order]
        dObj_dZ = self.inputs.by_row(dObj_dZ)
        grad_ih += np.matmul(self.inputs.table.T, dObj_dZ)[order]
        sums = np.matmul(self.ones[: dObj_dZ.shape[1]], dObj_dZ)[order].reshape(-1)
        cell.grad_bias_ih += sums
        cell.grad_bias_hh += sums
        if dObj_dIn is not None:
            write_products(dObj_dZ, cell.weight_ih, order, dObj_dIn)

    def kept(self, t: int) -> tuple[Any, ...]:
        i, f, o, g = self.a[:, t]
        return self.h_before[t], self.c_before[t], i, f, g, o, self.tanh_c[t]


class GRUKernel(GatedKernel):
    """Gates in the order r, z, n."""

    def __init__(self, cell: GRUCell, shape: tuple[int, int, int], reverse: bool, inputs: Any) -> None:
        super().__init__(cell, shape, reverse, inputs)
        (length, batch, _), n, dtype = shape, self.n, self.dtype
        self.bias_n = np.empty(n, dtype)
        self.u = np.empty((length, batch, n), dtype)
        # What is to be multiplied by dObj_dH or dObj_dS_n, then dObj_dU_n, dObj_dS_r, dObj_dS_z, dObj_dS_n: of these the first
        # three go back to the state, the last three to the input.
        self.q = np.empty((4, length, batch, n), dtype)
        self.work3 = np.empty((3, batch, n), dtype)
        self.work, self.dObj_dH = np.empty((2, batch, n), dtype)
        self.steps = [(*self.hidden[t], self.u[t], self.a[:2, t], *self.a[:, t]) for t in range(length)]
        self.back = [(self.q[:3, t], *self.q[:, t], self.a[1, t]) for t in range(length)]

    def begin(self) -> None:
        cell, n = self.cell, self.n
        self.weight_ih[...] = by_gate(cell.weight_ih, n)
        self.weight_forward[...] = by_gate(cell.weight_hh, n)
        bias = cell.bias_ih.reshape(3, 1, n).copy()
        bias[:2] += cell.bias_hh[: 2 * n].reshape(2, 1, n)
        self.bias_n[...] = cell.bias_hh[2 * n :]
        self.inputs.write_linear(self.weight_ih, bias, self.a.reshape(3, self.N, n))

    def forward(self, times: Iterable[int], state: Any) -> Any:
        work, work3, weight, bias = self.work, self.work3, self.weight_forward, self.bias_n
        work2, one, largest = work3[:2], self.one, self.largest
        for t in times:
            h, out, u, rz, r, z, n = self.steps[t]
            if state is not h:  # the initial state, or one with the rows of sequences that are over put back
                h[...] = state
            np.matmul(h, weight, out=work3)
            np.add(rz, work2, rz)
            np.minimum(rz, largest, out=rz)
            np.exp(rz, rz)
            np.add(rz, one, work2)
            np.divide(rz, work2, rz)
            np.add(work3[2], bias, u)
            np.multiply(r, u, work)
            np.add(n, work, n)
            np.tanh(n, n)
            np.subtract(h, n, work)
            np.multiply(work, z, work)
            np.add(n, work, out)
            state = out
        return state

    def before_backward(self, steps: slice) -> None:
        r, z, n = self.a[:, steps]
        q_u, q_r, q_z, q_n = self.q[:, steps]
        np.subtract(self.one, r, q_r)
        q_r *= self.u[steps]  # times dObj_dU_n = r dObj_dS_n, which brings the missing r
        np.subtract(self.one, z, q_u)
        np.multiply(q_u, z, q_z)
        np.multiply(n, n, q_n)
        np.subtract(self.one, q_n, q_n)
        q_n *= q_u
        np.subtract(self.h_before[steps], n, q_u)
        q_z *= q_u
        q_u[...] = r
        self.weight_back[...] = self.cell.weight_hh.reshape(3, -1, self.n)[[2, 0, 1]]

    def backward(self, times: Iterable[int], dObj_dOut: Array, dObj_dState: Any) -> Any:
        work, work3, weight, dObj_dH = self.work, self.work3, self.weight_back, self.dObj_dH
        for t in times:
            q, q_u, q_r, q_z, q_n, z = self.back[t]
            np.add(dObj_dOut[t], dObj_dState, work)
            np.multiply(q_n, work, q_n)
            np.multiply(q_z, work, q_z)
            np.multiply(q_u, q_n, q_u)
            np.multiply(q_r, q_u, q_r)
            np.matmul(q, weight, out=work3)
            np.add.reduce(work3, axis=0, out=dObj_dH)
            np.multiply(work, z, work)
            np.add(dObj_dH, work, dObj_dH)
            dObj_dState = dObj_dH
        return dObj_dState

    def after_backward(self, dObj_dIn: Array | None) -> None:
        cell, n = self.cell, self.n
        d = self.q.reshape(4, self.N, n)
        grad_ih, grad_hh = by_gate(cell.grad_weight_ih, n), by_gate(cell.grad_weight_hh, n)
        grad_hh += np.matmul(self.h_before.reshape(-1, n).T, d[:3])[[1, 2, 0]]
        sums = np.matmul(self.ones, d)
        cell.grad_bias_ih += sums[1:].reshape(-1)
        cell.grad_bias_hh += sums[[1, 2, 0]].reshape(-1)
        dObj_dS = self.inputs.by_row(d[1:])
        grad_ih += np.matmul(self.inputs.table.T, dObj_dS)
        if dObj_dIn is not None:
            write_products(dObj_dS, cell.weight_ih, [0, 1, 2], dObj_dIn)

    def kept(self, t: int) -> tuple[Any, ...]:
        r, z, n = self.a[:, t]
        return self.h_before[t], r, z, n, self.u[t]


def write_products(dObj_dZ: Array, weight: Array, order: list[int], out: Array) -> None:
    """Write dObj_dZ W of all gates together, (N, I), from dObj_dZ (G, N, H), its gates in that order, and a weight (G H, I)."""
    weights = weight.reshape(len(dObj_dZ), -1, weight.shape[1])
    dObj_dZ[0].dot(weights[order[0]], out)
    for d, gate in zip(dObj_dZ[1:], order[1:], strict=True):
        out += d.dot(weights[gate])


KERNELS: dict[type[Cell], type[CellKernel]] = {RNNCell: RNNKernel, LSTMCell: LSTMKernel, GRUCell: GRUKernel}


def can_run(cell: Any) -> bool:
    """Whether there is a kernel for this cell, with nobody else's methods on it."""
    cls = type(cell)
    if cls not in KERNELS or cell.weight_hh.dtype not in DTYPES or not vars(cell).keys().isdisjoint(OF_CELLS):
        return False
    if not (as_made(cls, OF_CELLS) and as_made(Cell, ["init_state"])):
        return False
    arrays = [array for pair in zip(*cell.get_params_and_grads(), strict=True) for array in pair]
    return len(arrays) == 8 and all(array.dtype == arrays[0].dtype and array.T.flags.c_contiguous for array in arrays)
