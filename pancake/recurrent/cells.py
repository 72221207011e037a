"""Recurrent cells: what a recurrent net computes in one time step, with the equations, names and layouts of torch.

A cell is a Function of two inputs, x_t and the state that the step before has left, and of two outputs. `Unrolled` makes a loop
over the time steps of a sequence out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import Rng, generator, size
from pancake.attributes import checked, one_of, parameter
from pancake.function import Function, total
from pancake.functions.activations import sigmoid
from pancake.memory import Array
from pancake.recurrent.states import like

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# f, and its derivative as a function of y = f(z)
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "relu": (lambda z: np.maximum(z, 0), lambda y: (y > 0).astype(y.dtype)),
    "sigmoid": (sigmoid, lambda y: y * (1 - y)),
}


class Cell(Function):
    """Base of the cells: parameters, the first state, and checks of what comes in.

    A subclass says in `gates` how many blocks of H rows its parameters have.
    """

    weight_ih: Array = parameter()
    grad_weight_ih: Array = parameter()
    weight_hh: Array = parameter()
    grad_weight_hh: Array = parameter()
    bias_ih: Array = parameter()
    grad_bias_ih: Array = parameter()
    bias_hh: Array = parameter()
    grad_bias_hh: Array = parameter()

    gates = 1

    def __init__(self, n_in: int, n_hidden: int, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n_in, self.n_hidden = size(self, n_in=n_in), size(self, n_hidden=n_hidden)
        rows = self.gates * self.n_hidden
        self.make_parameters(dtype, weight_ih=(rows, n_in), weight_hh=(rows, n_hidden), bias_ih=(rows,), bias_hh=(rows,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw all parameters anew from U(-1 / sqrt(H), 1 / sqrt(H))."""
        rng = generator(self, rng)
        bound = 1 / math.sqrt(self.n_hidden)
        for array in (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh):
            array[...] = rng.uniform(-bound, bound, array.shape)

    def init_state(self, batch: int) -> Any:
        """The state before the first step: zeros (B, H)."""
        return np.zeros((size(self, batch=batch), self.n_hidden), self.weight_hh.dtype)

    def _inputs(self, x_t: Any, state: Any) -> tuple[Array, Any]:
        """x_t (B, I) and the state as arrays of the dtype of the cell, else refused."""
        if state is None:
            raise TypeError(
                f"{self!r}: expected an input and a state, got no state: one step is out_t, state = cell(x_t, state), and the "
                "first state is cell.init_state(batch); Unrolled(cell) takes whole sequences (B, T, I)"
            )
        x = self._floats(x_t, self.weight_ih.dtype)
        if x.ndim != 2 or x.shape[1] != self.n_in:
            raise ValueError(f"{self!r}: expected (B, {self.n_in}), got {x.shape}; Unrolled takes whole sequences")
        return x, like(self, "the state", state, self.init_state(len(x)))

    def _gradients(self, batch: int, dObj_dOut_t: Any, dObj_dState: Any) -> tuple[Array, Any]:
        """The gradients of out_t (B, H) and of the state as arrays of the dtype of the cell, else refused."""
        d = self._upstream(dObj_dOut_t, (batch, self.n_hidden), self.weight_hh.dtype)
        return d, like(self, "dObj_dState", dObj_dState, self.init_state(batch))


class RNNCell(Cell):
    """h_t = f(z) with z = W_ih x_t + b_ih + W_hh h_(t-1) + b_hh, and out_t = h_t.

    With dObj_dZ = f'(z) dObj_dH_t, where dObj_dH_t = dObj_dOut_t + dObj_dState:

        dObj_dX_t     = dObj_dZ W_ih     grad_W_ih = dObj_dZ^T x_t        grad_b_ih = sum dObj_dZ
        dObj_dH_(t-1) = dObj_dZ W_hh     grad_W_hh = dObj_dZ^T h_(t-1)    grad_b_hh = sum dObj_dZ

    Shape
    -----
    x_t : (B, I);  h, out_t : (B, H);  W_ih : (H, I);  W_hh : (H, H);  b_ih, b_hh : (H,)

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
    weight_ih, weight_hh, bias_ih, bias_hh : ndarray
        W_ih, W_hh, b_ih, b_hh, each with its gradient: grad_weight_ih, ...

    Raises
    ------
    ValueError
        If the input or the state has another shape, or the activation is another.

    References
    ----------
    Elman, "Finding Structure in Time" (1990). The equation is that of
    https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    activation: str = checked(one_of(*ACTIVATIONS))

    def __init__(
        self, n_in: int, n_hidden: int, activation: str = "tanh", *, rng: Rng = None, dtype: DTypeLike = np.float64
    ) -> None:
        self.activation = activation
        super().__init__(n_in, n_hidden, rng=rng, dtype=dtype)

    def compute_forward(self, x_t: Any, state: Any = None) -> tuple[Array, Array]:
        x, h = self._inputs(x_t, state)
        f, _ = ACTIVATIONS[self.activation]
        y = f(x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh)
        self._remember(x, h, y)
        return y, y.copy()

    def compute_backward(self, dObj_dOut_t: Any, dObj_dState: Any) -> tuple[Array, Array]:  # type: ignore[override]
        x, h, y = self._remembered()
        dObj_dOut_t, dObj_dState = self._gradients(len(x), dObj_dOut_t, dObj_dState)
        _, slope = ACTIVATIONS[self.activation]
        dObj_dZ = slope(y) * (dObj_dOut_t + dObj_dState)
        self.grad_weight_ih += dObj_dZ.T @ x
        self.grad_weight_hh += dObj_dZ.T @ h
        self.grad_bias_ih += total(dObj_dZ)
        self.grad_bias_hh += total(dObj_dZ)
        return dObj_dZ @ self.weight_ih, dObj_dZ @ self.weight_hh


class LSTMCell(Cell):
    """A memory c_t that gates keep, write to and read from; the state is (h_t, c_t), and out_t = h_t.

        z = W_ih x_t + b_ih + W_hh h_(t-1) + b_hh, in four blocks of H rows: z_i, z_f, z_g, z_o
        i, f, o = sigmoid(z_i, z_f, z_o)        c_t = f c_(t-1) + i g
        g       = tanh(z_g)                     h_t = o tanh(c_t)

    With dObj_dH_t = dObj_dOut_t + what the state brings, and dObj_dC_t = dObj_dH_t o (1 - tanh(c_t)^2) + what the state brings:

        dObj_dZ_i = dObj_dC_t g i (1 - i)            dObj_dZ_g = dObj_dC_t i (1 - g^2)
        dObj_dZ_f = dObj_dC_t c_(t-1) f (1 - f)      dObj_dZ_o = dObj_dH_t tanh(c_t) o (1 - o)
        dObj_dC_(t-1) = dObj_dC_t f                  the rest as in `RNNCell`

    Shape
    -----
    x_t : (B, I);  h, c, out_t : (B, H);  W_ih : (4 H, I);  W_hh : (4 H, H);  b_ih, b_hh : (4 H,)

    Parameters
    ----------
    n_in, n_hidden : int
        I and H, the numbers of input and hidden features.
    rng : None, int or numpy.random.Generator
        All parameters are drawn from U(-1 / sqrt(H), 1 / sqrt(H)), as torch does.
    dtype : floating dtype

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : ndarray
        W_ih, W_hh, b_ih, b_hh, each with its gradient: grad_weight_ih, ...

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

    def compute_forward(self, x_t: Any, state: Any = None) -> tuple[Array, tuple[Array, Array]]:
        x, (h, c) = self._inputs(x_t, state)
        z = x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh
        z_i, z_f, z_g, z_o = np.split(z, 4, axis=1)
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
        c_new = f * c + i * g
        tanh_c = np.tanh(c_new)
        h_new = o * tanh_c
        self._remember(x, h, c, i, f, g, o, tanh_c)
        return h_new, (h_new.copy(), c_new)

    def compute_backward(  # type: ignore[override]
        self, dObj_dOut_t: Any, dObj_dState: Any
    ) -> tuple[Array, tuple[Array, Array]]:
        x, h, c, i, f, g, o, tanh_c = self._remembered()
        dObj_dOut_t, (dObj_dH, dObj_dC) = self._gradients(len(x), dObj_dOut_t, dObj_dState)
        dObj_dH = dObj_dOut_t + dObj_dH
        dObj_dC = dObj_dH * o * (1 - tanh_c * tanh_c) + dObj_dC
        dObj_dZ = np.concatenate(
            [
                dObj_dC * g * i * (1 - i),
                dObj_dC * c * f * (1 - f),
                dObj_dC * i * (1 - g * g),
                dObj_dH * tanh_c * o * (1 - o),
            ],
            axis=1,
        )
        self.grad_weight_ih += dObj_dZ.T @ x
        self.grad_weight_hh += dObj_dZ.T @ h
        self.grad_bias_ih += total(dObj_dZ)
        self.grad_bias_hh += total(dObj_dZ)
        return dObj_dZ @ self.weight_ih, (dObj_dZ @ self.weight_hh, dObj_dC * f)


class GRUCell(Cell):
    """A state that is a mixture of itself and of something new; out_t = h_t.

        a = W_ih x_t + b_ih  and  u = W_hh h_(t-1) + b_hh, each in three blocks of H rows: r, z, n
        r, z = sigmoid(a_r + u_r, a_z + u_z)
        n    = tanh(a_n + r u_n)
        h_t  = (1 - z) n + z h_(t-1)

    With s for the argument of a gate, and dObj_dH_t = dObj_dOut_t + dObj_dState:

        dObj_dS_n = dObj_dH_t (1 - z) (1 - n^2)           dObj_dS_r  = dObj_dS_n u_n r (1 - r)
        dObj_dS_z = dObj_dH_t (h_(t-1) - n) z (1 - z)     dObj_dU_n  = dObj_dS_n r
        dObj_dA = (dObj_dS_r, dObj_dS_z, dObj_dS_n)       dObj_dU = (dObj_dS_r, dObj_dS_z, dObj_dU_n)

        dObj_dX_t     = dObj_dA W_ih                      grad_W_ih = dObj_dA^T x_t        grad_b_ih = sum dObj_dA
        dObj_dH_(t-1) = dObj_dU W_hh + dObj_dH_t z        grad_W_hh = dObj_dU^T h_(t-1)    grad_b_hh = sum dObj_dU

    Shape
    -----
    x_t : (B, I);  h, out_t : (B, H);  W_ih : (3 H, I);  W_hh : (3 H, H);  b_ih, b_hh : (3 H,)

    Parameters
    ----------
    n_in, n_hidden : int
        I and H, the numbers of input and hidden features.
    rng : None, int or numpy.random.Generator
        All parameters are drawn from U(-1 / sqrt(H), 1 / sqrt(H)), as torch does.
    dtype : floating dtype

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : ndarray
        W_ih, W_hh, b_ih, b_hh, each with its gradient: grad_weight_ih, ...

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

    def compute_forward(self, x_t: Any, state: Any = None) -> tuple[Array, Array]:
        x, h = self._inputs(x_t, state)
        a_r, a_z, a_n = np.split(x @ self.weight_ih.T + self.bias_ih, 3, axis=1)
        u_r, u_z, u_n = np.split(h @ self.weight_hh.T + self.bias_hh, 3, axis=1)
        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        n = np.tanh(a_n + r * u_n)
        h_new = (1 - z) * n + z * h
        self._remember(x, h, r, z, n, u_n)
        return h_new, h_new.copy()

    def compute_backward(self, dObj_dOut_t: Any, dObj_dState: Any) -> tuple[Array, Array]:  # type: ignore[override]
        x, h, r, z, n, u_n = self._remembered()
        dObj_dOut_t, dObj_dState = self._gradients(len(x), dObj_dOut_t, dObj_dState)
        dObj_dH = dObj_dOut_t + dObj_dState
        dObj_dS_n = dObj_dH * (1 - z) * (1 - n * n)
        dObj_dS_r = dObj_dS_n * u_n * r * (1 - r)
        dObj_dS_z = dObj_dH * (h - n) * z * (1 - z)
        dObj_dA = np.concatenate([dObj_dS_r, dObj_dS_z, dObj_dS_n], axis=1)
        dObj_dU = np.concatenate([dObj_dS_r, dObj_dS_z, dObj_dS_n * r], axis=1)
        self.grad_weight_ih += dObj_dA.T @ x
        self.grad_weight_hh += dObj_dU.T @ h
        self.grad_bias_ih += total(dObj_dA)
        self.grad_bias_hh += total(dObj_dU)
        return dObj_dA @ self.weight_ih, dObj_dU @ self.weight_hh + dObj_dH * z
