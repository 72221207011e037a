"""The cell that mixes its state with something new."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from pancake.function import constant
from pancake.memory import Array
from pancake.recurrent.cells import Cell, CellSteps, by_gate, products

HALF, ONE = constant(0.5), constant(1)


class GRUCell(Cell):
    """A state that is a mixture of itself and of something new; out_t = h_t.

        r, z = sigmoid(W x_t + b + V h_(t-1) + d)       with W, b, V, d of each gate
        n    = tanh   (W x_t + b + r (V h_(t-1) + d))
        h_t  = (1 - z) n + z h_(t-1)

    With x_t (B, I) and h (B, H). W_ih (3 H, I) holds the three W in the order r, z, n, and so do W_hh (3 H, H) and the
    biases (3 H,). Backward, with u = V h_(t-1) + d of n, and s for the argument of a gate:

        dObj_dS_n = dObj_dH_t (1 - z) (1 - n^2)           dObj_dS_r = dObj_dS_n u r (1 - r)
        dObj_dS_z = dObj_dH_t (h_(t-1) - n) z (1 - z)     dObj_dU   = dObj_dS_n r
        dObj_dX_t = dObj_dS W_ih                          dObj_dH_(t-1) = dObj_dH_t z + (dObj_dS_r, dObj_dS_z, dObj_dU) W_hh

    and over all steps grad_W_ih = sum dObj_dS^T x_t, grad_b_ih = sum dObj_dS, and those of W_hh and b_hh likewise from
    (dObj_dS_r, dObj_dS_z, dObj_dU) and h_(t-1).

    Parameters
    ----------
    n_in, n_hidden : int
        I and H, the numbers of input and hidden features.
    rng : None, int or numpy.random.Generator
        All parameters are drawn from U(-1 / sqrt(H), 1 / sqrt(H)), as torch does.
    dtype : floating dtype

    Attributes
    ----------
    weight_ih, grad_weight_ih : ndarray (3 H, I)
    weight_hh, grad_weight_hh : ndarray (3 H, H)
    bias_ih, grad_bias_ih, bias_hh, grad_bias_hh : ndarray (3 H,)

    Raises
    ------
    ValueError
        If the input or the state has another shape.

    References
    ----------
    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014), which applies r before the product. The
    equations are those of https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
    """

    gates = 3


class GRUSteps(CellSteps):
    """The steps of a `GRUCell`. Work arrays have the gate as first axis, so that each gate lies in one piece."""

    def __init__(self, cell: GRUCell, x: Array, reverse: bool) -> None:
        super().__init__(cell, x, reverse)
        length, batch, n_in = x.shape
        n, dtype = cell.n_hidden, x.dtype
        # A sigmoid is a tanh: sigmoid(s) = tanh(s / 2) / 2 + 1 / 2. The inner 1/2 is in the weights.
        self.shared.half = HALF[dtype]
        self.inner = np.array([0.5, 0.5, 1], dtype).reshape(3, 1, 1)
        self.weight_ih = np.empty((3, n_in, n), dtype)
        self.shared.weight_forward, self.shared.weight_back = np.empty((2, 3, n, n), dtype)
        self.shared.bias_n = np.empty(n, dtype)
        self.a = np.empty((3, length, batch, n), dtype)  # W_ih x + b, then the gates
        self.u = np.empty((length, batch, n), dtype)
        # What is to be multiplied by dObj_dH or dObj_dS_n, then dObj_dU, dObj_dS_r, dObj_dS_z, dObj_dS_n: of these the first
        # three go back to the state, the last three to the input.
        self.q = np.empty((4, length, batch, n), dtype)
        self.shared.work3 = np.empty((3, batch, n), dtype)
        self.shared.work, self.shared.dObj_dH = np.empty((2, batch, n), dtype)
        arrays = (self.in_order(array) for array in (self.a.swapaxes(0, 1), self.u, self.q.swapaxes(0, 1)))
        self.steps = [GRUStep(self.shared, *step) for step in zip(*arrays, self.slots, strict=True)]

    def begin(self, cell: GRUCell, x: Array) -> None:
        super().begin(cell, x)
        n = cell.n_hidden
        np.multiply(by_gate(cell.weight_ih, n), self.inner, self.weight_ih)
        np.multiply(by_gate(cell.weight_hh, n), self.inner, self.shared.weight_forward)
        bias = cell.bias_ih.reshape(3, 1, n).copy()
        bias[:2] += cell.bias_hh[: 2 * n].reshape(2, 1, n)
        self.shared.bias_n[...] = cell.bias_hh[2 * n :]
        a = self.a.reshape(3, len(self.rows), n)
        np.matmul(self.rows, self.weight_ih, out=a)
        a += self.inner * bias

    def before_backward(self) -> None:
        r, z, n = self.a
        q_u, q_r, q_z, q_n = self.q
        one = ONE[self.dtype]
        np.subtract(one, r, q_r)
        q_r *= self.u  # times dObj_dU = r dObj_dS_n, which brings the missing r
        np.subtract(one, z, q_u)
        np.multiply(q_u, z, q_z)
        np.multiply(n, n, q_n)
        np.subtract(one, q_n, q_n)
        q_n *= q_u
        np.subtract(self.h_before, n, q_u)
        q_z *= q_u
        q_u[...] = r
        self.shared.weight_back[...] = self.cell.weight_hh.reshape(3, -1, self.cell.n_hidden)[[2, 0, 1]]

    def after_backward(self, dObj_dX: Sequence[Array], input_too: bool) -> Array | None:
        cell, n = self.cell, self.cell.n_hidden
        d = self.q.reshape(4, len(self.rows), n)
        grad_ih, grad_hh = by_gate(cell.grad_weight_ih, n), by_gate(cell.grad_weight_hh, n)
        grad_ih += np.matmul(self.rows.T, d[1:])
        grad_hh += np.matmul(self.h_before.reshape(-1, n).T, d[:3])[[1, 2, 0]]
        sums = np.matmul(self.ones, d)
        grad_bias_ih, grad_bias_hh = cell.grad_bias_ih, cell.grad_bias_hh
        grad_bias_ih += sums[1:].reshape(-1)
        grad_bias_hh += sums[[1, 2, 0]].reshape(-1)
        return products(d[1:], cell.weight_ih).reshape(self.shape) if input_too else None


class GRUStep:
    """One time step of a `GRUCell`."""

    def __init__(self, shared: SimpleNamespace, a: Array, u: Array, q: Array, slots: tuple[Array, Array]) -> None:
        self.shared, self.u = shared, u
        self.h, self.out = slots
        self.rz, self.r, self.z, self.n = a[:2], *a
        self.q_urz, self.q_u, self.q_r, self.q_z, self.q_n = q[:3], *q

    def compute_forward(self, x_t: Array, h: Array) -> tuple[Array, Array]:
        if h is not self.h:  # the initial state, or one with the rows of sequences that are over put back
            self.h[...] = h
        shared, rz, n, h, out = self.shared, self.rz, self.n, self.h, self.out
        work = shared.work3
        np.matmul(h, shared.weight_forward, out=work)
        np.add(rz, work[:2], rz)
        np.tanh(rz, rz)
        np.multiply(rz, shared.half, rz)
        np.add(rz, shared.half, rz)
        np.add(work[2], shared.bias_n, self.u)
        np.multiply(self.r, self.u, shared.work)
        np.add(n, shared.work, n)
        np.tanh(n, n)
        np.subtract(h, n, shared.work)
        np.multiply(shared.work, self.z, shared.work)
        np.add(n, shared.work, out)
        return out, out

    def compute_backward(self, dObj_dOut: Array, dObj_dH: Array) -> tuple[Array, Array]:
        shared = self.shared
        np.add(dObj_dOut, dObj_dH, shared.work)
        np.multiply(self.q_n, shared.work, self.q_n)
        np.multiply(self.q_z, shared.work, self.q_z)
        np.multiply(self.q_u, self.q_n, self.q_u)
        np.multiply(self.q_r, self.q_u, self.q_r)
        np.matmul(self.q_urz, shared.weight_back, out=shared.work3)
        np.add.reduce(shared.work3, axis=0, out=shared.dObj_dH)
        np.multiply(shared.work, self.z, shared.work)
        np.add(shared.dObj_dH, shared.work, shared.dObj_dH)
        return self.q_n, shared.dObj_dH


GRUCell.steps = GRUSteps
