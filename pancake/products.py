"""The two halves of a linear layer, one idea each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, size
from pancake.flat import Array
from pancake.function import Function, parameter
from pancake.initializers import Initializer, initializer


class MatMul(Function):
    """y = x W^T on the last axis.

    With x (..., I), W (O, I), y (..., O), and n running over all leading axes: dObj_dIn = dObj_dOut W and
    grad_weight = sum_n dObj_dOut_n^T x_n. `AddBias` after it makes a `Linear`.

    Parameters
    ----------
    n_in, n_out : int
        I and O, the numbers of input and output features.
    init, rng, dtype
        As in `Linear`.

    Attributes
    ----------
    weight, grad_weight : ndarray (O, I)

    Raises
    ------
    ValueError
        If the last axis of the input is not I.

    References
    ----------
    Giles, "Collected Matrix Derivative Results for Forward and Reverse Mode Algorithmic Differentiation" (2008), section 2.2.2.
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        init: str | Initializer = "he_normal",
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n_in, self.n_out = size(self, n_in=n_in), size(self, n_out=n_out)
        initializer(init)  # to refuse an unknown name now
        self.init = init
        self.make_parameters(dtype, weight=(n_out, n_in))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weight anew."""
        self.weight = initializer(self.init)(self.n_in, self.n_out, np.random.default_rng(rng))

    def _has_parameters(self) -> bool:
        return True

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x).astype(self.weight.dtype, copy=False)
        if x.ndim == 0 or x.shape[-1] != self.n_in:
            raise ValueError(f"{self!r}: expected (..., {self.n_in}), got {x.shape}")
        self._cache = x
        y: Array = x @ self.weight.T
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x: Array = self._remembered()
        d = self._upstream(dObj_dOut, (*x.shape[:-1], self.n_out), x.dtype)
        self.grad_weight += d.reshape(-1, self.n_out).T @ x.reshape(-1, self.n_in)
        dObj_dIn: Array = d @ self.weight
        return dObj_dIn


class AddBias(Function):
    """y = x + b on the last axis.

    With x and y (..., O) and b (O,): dObj_dIn = dObj_dOut, and grad_bias is the sum of dObj_dOut over all leading axes.
    Source: the sum rule.

    Parameters
    ----------
    n : int
        O, the number of features.
    rng : ignored
        Nothing is random here; b starts at 0.
    dtype : floating dtype

    Attributes
    ----------
    bias, grad_bias : ndarray (O,)

    Raises
    ------
    ValueError
        If the last axis of the input is not O.
    """

    bias: Array = parameter()
    grad_bias: Array = parameter()

    def __init__(self, n: int, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n = size(self, n=n)
        self.make_parameters(dtype, bias=(n,))

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set b back to 0."""
        self.bias.fill(0)

    def _has_parameters(self) -> bool:
        return True

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x).astype(self.bias.dtype, copy=False)
        if x.ndim == 0 or x.shape[-1] != self.n:
            raise ValueError(f"{self!r}: expected (..., {self.n}), got {x.shape}")
        y: Array = x + self.bias
        self._cache = y.shape, y.dtype
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._upstream(dObj_dOut, *self._remembered())
        self.grad_bias += d.reshape(-1, self.n).sum(axis=0)
        return d.copy()
