"""The teaching bricks: functions so simple that their derivatives are known from school."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.flat import Array
from pancake.function import Function, Rng, numeric, parameter


class Square(Function):
    """y = x^2, for each entry.

    dy/dx = 2 x, so dObj_dIn = 2 x dObj_dOut. Input and output have the same shape, any. Source: the power rule.
    """

    def compute_forward(self, x: Any) -> Array:
        self._cache = x = self._floats(x)
        y: Array = x * x
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x: Array = self._remembered()
        return 2 * x * self._upstream(dObj_dOut, x.shape, x.dtype)

    def _has_parameters(self) -> bool:
        return False


class Mul(Function):
    """y = k x, for each entry, with one trainable number k.

    dy/dx = k and dy/dk = x, so dObj_dIn = k dObj_dOut and grad_k = sum of x dObj_dOut over all entries. x has any shape;
    y has the same, but (1,) where x is a single number, since k is an array of shape (1,). Source: the product rule.

    Parameters
    ----------
    k : float
        The value to start from.
    rng : ignored
        Nothing is random here; `reset_parameters` goes back to `k`.
    dtype : floating dtype

    Attributes
    ----------
    k, grad_k : ndarray (1,)
    """

    k: Array = parameter()
    grad_k: Array = parameter()

    def __init__(self, k: float = 1.0, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.start = float(numeric(self, k, "k"))
        self.make_parameters(dtype, k=(1,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set k back to the value it started from."""
        self.k[...] = self.start

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "k": self.start}

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x).astype(self.k.dtype, copy=False)
        y: Array = self.k * x
        self._cache = x, y.shape
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, shape = self._remembered()
        d = self._upstream(dObj_dOut, shape, x.dtype)
        grad = self.grad_k
        grad += (d * x).sum()
        dObj_dIn: Array = (self.k * d).reshape(x.shape)
        return dObj_dIn
