"""Activations of straight pieces: what bends the plane in kinks, at which the derivative is that of one side, as in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import Rng, check_axes, real, size
from pancake.attributes import checked, parameter
from pancake.function import Function, total
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class ReLU(Function):
    """y = max(x, 0).

    dy/dx = 1 where x > 0, else 0; at x = 0, where there is no derivative, 0 as in torch.

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    Nair, Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines" (2010), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html
    """

    def compute_forward(self, x: Any) -> Array:
        y = np.maximum(self._floats(x), 0)
        self._remember(y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        return d * (y > 0)


class HardTanh(Function):
    """y = max(-1, min(x, 1)).

    dy/dx = 1 where -1 < x < 1, else 0; at -1 and 1, where there is no derivative, 0 as in torch.

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html
    """

    def compute_forward(self, x: Any) -> Array:
        y = np.maximum(-1, np.minimum(self._floats(x), 1))
        self._remember(y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        return d * (np.abs(y) < 1)


class LeakyReLU(Function):
    """y = x where x > 0, else s x: a ReLU that never stops learning.

    dy/dx = 1 where x > 0, else s, the negative slope; at x = 0, where there is no derivative, s as in torch.

    Shape
    -----
    x, y : (...), any shape

    Parameters
    ----------
    negative_slope : float
        s.

    References
    ----------
    Maas, Hannun, Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html
    """

    negative_slope: float = checked(real)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return np.where(x > 0, x, self.negative_slope * x)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        return np.where(x > 0, d, self.negative_slope * d)


class PReLU(Function):
    """y = x where x > 0, else s x, with slopes s that are trained.

    dy/dx = 1 where x > 0, else s; grad_weight is the sum of x dObj_dOut over all entries with x <= 0 that share a slope.

    Shape
    -----
    x, y : (..., C);  s : (C,);  or x, y : (...), any shape;  s : (1,)

    Parameters
    ----------
    num_parameters : int
        1 slope for all entries, or C: one for each feature, on the last axis. (torch has features on the second axis.)
    init : float
        The value that the slopes start from.
    rng : ignored
        Nothing is random here; `reset_parameters` goes back to `init`.
    dtype : floating dtype
    max_ndim : int, optional
        The most axes that an input may have; by default any number. `from_torch` sets 2 where it cannot tell where the features
        are: of two axes the last, where they are here, is the second, where torch has them.

    Attributes
    ----------
    weight, grad_weight : ndarray (C,)
        s.

    Raises
    ------
    ValueError
        If there are C > 1 slopes and the last axis of the input is not C, or it has more axes than `max_ndim`.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers" (2015), section 2.1.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        *,
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
        max_ndim: int | None = None,
    ) -> None:
        # the name `num_parameters` is taken: it counts the trainable numbers of any Function, which here is the same
        count = size(self, num_parameters=num_parameters)
        self.init = real(self, "init", init)
        self.max_ndim = None if max_ndim is None else size(self, max_ndim=max_ndim)
        self.make_parameters(dtype, weight=(count,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set all slopes back to the value they started from."""
        self.weight.fill(self.init)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "num_parameters": self.weight.size}

    def compute_forward(self, x: Any) -> Array:
        s = self.weight
        x = self._floats(x, s.dtype)
        if self.max_ndim is not None:
            check_axes(self, x.shape, self.max_ndim)
        if s.size > 1 and (x.ndim == 0 or x.shape[-1] != s.size):
            raise ValueError(f"{self!r}: expected (..., {s.size}), got {x.shape}")
        self._remember(x)
        return np.where(x > 0, x, s * x).reshape(x.shape)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        s, x = self.weight, self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        below = np.where(x > 0, 0, x * d)
        self.grad_weight += below.sum() if s.size == 1 else total(below)
        return np.where(x > 0, d, s * d).reshape(x.shape)
