"""Activations: what bends the plane between two linear layers.

All work entry by entry on input of any shape, and compute the derivative from their own output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.flat import Array
from pancake.function import Function, constant

ZERO, HALF, ONE = constant(0), constant(0.5), constant(1)


class Activation(Function):
    """Base of the activations: Functions without parameters."""

    def _has_parameters(self) -> bool:
        return False


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), computed as (1 + tanh(x / 2)) / 2, which cannot overflow.

    dy/dx = y (1 - y). Input and output have the same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        half = HALF[x.dtype]
        y: Array = np.tanh(x * half)
        y *= half
        y += half
        self._cache = y
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y: Array = self._remembered()
        dObj_dIn = y - y * y
        dObj_dIn *= self._upstream(dObj_dOut, y.shape, y.dtype)
        return dObj_dIn


class Tanh(Activation):
    """y = tanh(x).

    dy/dx = 1 - y^2. Input and output have the same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html
    """

    def compute_forward(self, x: Any) -> Array:
        y: Array = np.tanh(self._floats(x))
        self._cache = y
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y: Array = self._remembered()
        dObj_dIn = ONE[y.dtype] - y * y
        dObj_dIn *= self._upstream(dObj_dOut, y.shape, y.dtype)
        return dObj_dIn


class ReLU(Activation):
    """y = max(x, 0).

    dy/dx = 1 where x > 0, else 0; at x = 0, where there is no derivative, 0 as in torch. Input and output have the same
    shape, any.

    References
    ----------
    Nair, Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines" (2010), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        y: Array = np.maximum(x, ZERO[x.dtype])
        self._cache = y
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y: Array = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        # The sign of y is that 1 or 0. It costs half of a comparison on small arrays, and twice as much on large ones.
        slope = np.sign(y) if y.size < 3000 else y > ZERO[y.dtype]
        dObj_dIn: Array = np.multiply(d, slope)
        return dObj_dIn
