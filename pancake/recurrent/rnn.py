"""The plain recurrent cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng
from pancake.function import constant
from pancake.memory import Array
from pancake.recurrent.cells import Cell, CellSteps

ZERO, HALF, ONE = constant(0), constant(0.5), constant(1)


class RNNCell(Cell):
    """h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), and out_t = h_t.

    With x_t (B, I), h (B, H), W_ih (H, I), W_hh (H, H), biases (H,), and dObj_dZ = f'(z) dObj_dH_t for the argument z of f:
    dObj_dX_t = dObj_dZ W_ih, dObj_dH_(t-1) = dObj_dZ W_hh; over all steps, grad_W_ih = sum dObj_dZ^T x_t,
    grad_W_hh = sum dObj_dZ^T h_(t-1), and both biases have the gradient sum dObj_dZ.

    Parameters
    ----------
    n_in, n_hidden : int
        I and H, the numbers of input and hidden features.
    activation : {"tanh", "relu", "sigmoid"}
        f.
    rng : None, int or numpy.random.Generator
        All parameters are drawn from U(-1 / sqrt(H), 1 / sqrt(H)), as torch does.
    dtype : floating dtype

    Attributes
    ----------
    weight_ih, grad_weight_ih : ndarray (H, I)
    weight_hh, grad_weight_hh : ndarray (H, H)
    bias_ih, grad_bias_ih, bias_hh, grad_bias_hh : ndarray (H,)

    Raises
    ------
    ValueError
        If the input or the state has another shape, or the activation is another.

    References
    ----------
    Elman, "Finding Structure in Time" (1990). The equation is that of
    https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    def __init__(
        self, n_in: int, n_hidden: int, activation: str = "tanh", *, rng: Rng = None, dtype: DTypeLike = np.float64
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"RNNCell: expected activation to be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.activation = activation
        super().__init__(n_in, n_hidden, rng=rng, dtype=dtype)


class RNNSteps(CellSteps):
    """The steps of an `RNNCell`."""

    def __init__(self, cell: RNNCell, x: Array, reverse: bool) -> None:
        super().__init__(cell, x, reverse)
        length, batch, _ = x.shape
        # In turn: W_ih x + b; z; f'(z); dObj_dZ.
        self.z = np.empty((length, batch, cell.n_hidden), x.dtype)
        self.shared.work, self.shared.dObj_dH = np.empty((2, batch, cell.n_hidden), x.dtype)
        self.shared.weight_forward = cell.weight_hh.T
        self.shared.weight_back = np.empty(cell.weight_hh.shape, x.dtype)  # in C order, which makes dObj_dZ W_hh faster
        self.steps = [RNNStep(self.shared, *step) for step in zip(self.in_order(self.z), self.slots, strict=True)]

    def begin(self, cell: RNNCell, x: Array) -> None:
        super().begin(cell, x)
        self.shared.f, self.slope = ACTIVATIONS[cell.activation]
        z = self.z.reshape(len(self.rows), -1)
        np.dot(self.rows, cell.weight_ih.T, out=z)
        z += cell.bias_ih + cell.bias_hh

    def before_backward(self) -> None:
        self.slope(self.h_after, self.z)
        self.shared.weight_back[...] = self.cell.weight_hh

    def after_backward(self, dObj_dX: Sequence[Array], input_too: bool) -> Array | None:
        cell, dObj_dZ = self.cell, self.z.reshape(len(self.rows), -1)
        grad_ih, grad_hh = cell.grad_weight_ih.T, cell.grad_weight_hh.T
        grad_ih += self.rows.T.dot(dObj_dZ)
        grad_hh += self.h_before.reshape(dObj_dZ.shape).T.dot(dObj_dZ)
        self.add_biases(self.ones.dot(dObj_dZ))
        return dObj_dZ.dot(cell.weight_ih).reshape(self.shape) if input_too else None


class RNNStep:
    """One time step of an `RNNCell`."""

    def __init__(self, shared: SimpleNamespace, z: Array, slots: tuple[Array, Array]) -> None:
        self.shared, self.z = shared, z
        self.h, self.out = slots

    def compute_forward(self, x_t: Array, h: Array) -> tuple[Array, Array]:
        if h is not self.h:  # the initial state, or one with the rows of sequences that are over put back
            self.h[...] = h
        shared, z, out = self.shared, self.z, self.out
        self.h.dot(shared.weight_forward, shared.work)
        np.add(z, shared.work, z)
        shared.f(z, out)
        return out, out

    def compute_backward(self, dObj_dOut: Array, dObj_dH: Array) -> tuple[Array, Array]:
        shared, z = self.shared, self.z
        np.add(dObj_dOut, dObj_dH, shared.work)
        np.multiply(z, shared.work, z)
        z.dot(shared.weight_back, shared.dObj_dH)
        return z, shared.dObj_dH


RNNCell.steps = RNNSteps


# --- activations: f(z, out), and the slope from y = f(z), slope(y, out) ---


def _tanh_slope(y: Array, out: Array) -> None:
    np.multiply(y, y, out)
    np.subtract(ONE[y.dtype], out, out)


def _relu(z: Array, out: Array) -> None:
    np.maximum(z, ZERO[z.dtype], out=out)


def _relu_slope(y: Array, out: Array) -> None:
    np.greater(y, ZERO[y.dtype], out)


def _sigmoid(z: Array, out: Array) -> None:
    half = HALF[z.dtype]
    np.multiply(z, half, out)
    np.tanh(out, out)
    np.multiply(out, half, out)
    np.add(out, half, out)


def _sigmoid_slope(y: Array, out: Array) -> None:
    np.multiply(y, y, out)
    np.subtract(y, out, out)


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (np.tanh, _tanh_slope),
    "relu": (_relu, _relu_slope),
    "sigmoid": (_sigmoid, _sigmoid_slope),
}
