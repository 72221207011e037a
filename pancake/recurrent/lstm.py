"""The cell with a memory that gates guard."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from pancake.function import constant
from pancake.memory import Array
from pancake.recurrent.cells import Cell, CellSteps, by_gate, products

ONE = constant(1)


class LSTMCell(Cell):
    """A memory c_t that gates keep, write to and read from; the state is (h_t, c_t), and out_t = h_t.

        i, f, o = sigmoid(W x_t + b + V h_(t-1) + d)    with W, b, V, d of each gate
        g       = tanh   (W x_t + b + V h_(t-1) + d)
        c_t = f c_(t-1) + i g
        h_t = o tanh(c_t)

    With x_t (B, I), h and c (B, H). W_ih (4 H, I) holds the four W in the order i, f, g, o, and so do W_hh (4 H, H) and
    the biases (4 H,). Backward, with dObj_dC_t = dObj_dH_t o (1 - tanh(c_t)^2) + what flows in from step t + 1, and z for
    the argument of a gate:

        dObj_dZ_i = dObj_dC_t g i (1 - i)            dObj_dZ_g = dObj_dC_t i (1 - g^2)
        dObj_dZ_f = dObj_dC_t c_(t-1) f (1 - f)      dObj_dZ_o = dObj_dH_t tanh(c_t) o (1 - o)
        dObj_dC_(t-1) = dObj_dC_t f                  dObj_dH_(t-1) = dObj_dZ W_hh

    and dObj_dX_t = dObj_dZ W_ih; the gradients of the parameters are those of `RNNCell`.

    Parameters
    ----------
    n_in, n_hidden : int
        I and H, the numbers of input and hidden features.
    rng : None, int or numpy.random.Generator
        All parameters are drawn from U(-1 / sqrt(H), 1 / sqrt(H)), as torch does.
    dtype : floating dtype

    Attributes
    ----------
    weight_ih, grad_weight_ih : ndarray (4 H, I)
    weight_hh, grad_weight_hh : ndarray (4 H, H)
    bias_ih, grad_bias_ih, bias_hh, grad_bias_hh : ndarray (4 H,)

    Raises
    ------
    ValueError
        If the input or the state has another shape.

    References
    ----------
    Hochreiter, Schmidhuber, "Long Short-Term Memory" (1997); Gers, Schmidhuber, Cummins, "Learning to Forget" (2000). The
    equations are those of https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    gates = 4

    def init_state(self, batch: int) -> tuple[Array, Array]:
        """The state before the first step: h and c, both zeros (B, H)."""
        return super().init_state(batch), super().init_state(batch)


class LSTMSteps(CellSteps):
    """The steps of an `LSTMCell`. Work arrays have the gate as first axis, so that each gate lies in one piece."""

    def __init__(self, cell: LSTMCell, x: Array, reverse: bool) -> None:
        super().__init__(cell, x, reverse)
        length, batch, n_in = x.shape
        n, dtype = cell.n_hidden, x.dtype
        # A sigmoid is a tanh: sigmoid(z) = tanh(z / 2) / 2 + 1 / 2. With the inner 1/2 in the weights, one tanh does all four.
        self.inner = self.shared.outer = np.array([0.5, 0.5, 1, 0.5], dtype).reshape(4, 1, 1)
        self.shared.shift = np.array([0.5, 0.5, 0, 0.5], dtype).reshape(4, 1, 1)
        self.weight_ih = np.empty((4, n_in, n), dtype)
        self.shared.weight_forward, self.shared.weight_back = np.empty((2, 4, n, n), dtype)
        self.a = np.empty((4, length, batch, n), dtype)  # W_ih x + b, then the gates
        self.c_before, _, memories = self.states()
        self.tanh_c = np.empty((length, batch, n), dtype)
        self.q = np.empty_like(self.a)  # what is to be multiplied by dObj_dC or dObj_dH, then dObj_dZ
        self.o_slope = np.empty_like(self.tanh_c)  # dH_t / dC_t
        self.shared.work4 = np.empty((4, batch, n), dtype)
        self.shared.work, self.shared.dObj_dC, *dObj_dState = np.empty((4, batch, n), dtype)
        self.shared.dObj_dState = tuple(dObj_dState)
        arrays = (self.in_order(array) for array in (self.a.swapaxes(0, 1), self.tanh_c, self.q.swapaxes(0, 1), self.o_slope))
        self.steps = [LSTMStep(self.shared, *step) for step in zip(*arrays, self.slots, memories, strict=True)]

    def begin(self, cell: LSTMCell, x: Array) -> None:
        super().begin(cell, x)
        n = cell.n_hidden
        np.multiply(by_gate(cell.weight_ih, n), self.inner, self.weight_ih)
        np.multiply(by_gate(cell.weight_hh, n), self.inner, self.shared.weight_forward)
        a = self.a.reshape(4, len(self.rows), n)
        np.matmul(self.rows, self.weight_ih, out=a)
        a += self.inner * (cell.bias_ih + cell.bias_hh).reshape(4, 1, n)

    def before_backward(self) -> None:
        i, _, g, o = self.a
        q, one = self.q, ONE[self.dtype]
        np.multiply(self.a, self.a, q)
        np.subtract(self.a[:2], q[:2], q[:2])
        np.subtract(one, q[2], q[2])
        np.subtract(o, q[3], q[3])
        for gate, factor in zip(q, (g, self.c_before, i, self.tanh_c), strict=True):
            gate *= factor
        slope = self.o_slope
        np.multiply(self.tanh_c, self.tanh_c, slope)
        np.subtract(one, slope, slope)
        slope *= o
        self.shared.weight_back[...] = self.cell.weight_hh.reshape(4, -1, self.cell.n_hidden)

    def after_backward(self, dObj_dX: Sequence[Array], input_too: bool) -> Array | None:
        cell, n = self.cell, self.cell.n_hidden
        dObj_dZ = self.q.reshape(4, len(self.rows), n)
        grad_ih, grad_hh = by_gate(cell.grad_weight_ih, n), by_gate(cell.grad_weight_hh, n)
        grad_ih += np.matmul(self.rows.T, dObj_dZ)
        grad_hh += np.matmul(self.h_before.reshape(-1, n).T, dObj_dZ)
        self.add_biases(np.matmul(self.ones, dObj_dZ).reshape(-1))
        return products(dObj_dZ, cell.weight_ih).reshape(self.shape) if input_too else None


class LSTMStep:
    """One time step of an `LSTMCell`."""

    def __init__(
        self,
        shared: SimpleNamespace,
        a: Array,
        tanh_c: Array,
        q: Array,
        o_slope: Array,
        slots: tuple[Array, Array],
        memories: tuple[Array, Array],
    ) -> None:
        self.shared, self.a, self.tanh_c, self.o_slope = shared, a, tanh_c, o_slope
        (self.h, self.out), (self.c, self.c_out) = slots, memories
        self.state = self.out, self.c_out
        self.i, self.f, self.g, self.o = a
        self.q, self.q_if, self.q_g, self.q_o = q, q[:2], q[2], q[3]

    def compute_forward(self, x_t: Array, state: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        h, c = state
        if h is not self.h:  # the initial state, or one with the rows of sequences that are over put back
            self.h[...] = h
        if c is not self.c:
            self.c[...] = c
        shared, a, c, out = self.shared, self.a, self.c_out, self.out
        np.matmul(self.h, shared.weight_forward, out=shared.work4)
        np.add(a, shared.work4, a)
        np.tanh(a, a)
        np.multiply(a, shared.outer, a)
        np.add(a, shared.shift, a)
        np.multiply(self.i, self.g, shared.work)
        np.multiply(self.f, self.c, c)
        np.add(c, shared.work, c)
        np.tanh(c, self.tanh_c)
        np.multiply(self.o, self.tanh_c, out)
        return out, self.state

    def compute_backward(self, dObj_dOut: Array, dObj_dState: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        shared, q = self.shared, self.q
        dObj_dH, dObj_dC = shared.work, shared.dObj_dC
        np.add(dObj_dOut, dObj_dState[0], dObj_dH)
        np.multiply(dObj_dH, self.o_slope, dObj_dC)
        np.add(dObj_dC, dObj_dState[1], dObj_dC)
        np.multiply(self.q_if, dObj_dC, self.q_if)
        np.multiply(self.q_g, dObj_dC, self.q_g)
        np.multiply(self.q_o, dObj_dH, self.q_o)
        dObj_dH, c = shared.dObj_dState
        np.multiply(dObj_dC, self.f, c)
        np.matmul(q, shared.weight_back, out=shared.work4)
        np.add.reduce(shared.work4, axis=0, out=dObj_dH)
        return q, shared.dObj_dState


LSTMCell.steps = LSTMSteps
