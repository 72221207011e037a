"""The teaching bricks: functions so simple that their derivatives are known from school."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pancake.arguments import Rng, axes_argument, axes_of, literal, numeric, real, whole
from pancake.function import Function, parameter
from pancake.memory import Array


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
        self.start = real(self, "k", k)
        self.make_parameters(dtype, k=(1,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set k back to the value it started from."""
        self.k[...] = self.start

    def _has_parameters(self) -> bool:
        return True

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


class Negate(Function):
    """y = -x, for each entry.

    dy/dx = -1, so dObj_dIn = -dObj_dOut. Input and output have the same shape, any. Source: the definition.
    """

    def compute_forward(self, x: Any) -> Array:
        y: Array = -self._floats(x)
        self._cache = y.shape, y.dtype
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        return -self._upstream(dObj_dOut, *self._remembered())


class Subtract(Function):
    """y = x - t, with a constant target t.

    dy/dx = 1, so dObj_dIn = dObj_dOut. Input and output have the same shape, any to which t broadcasts. The target is
    not trained, and is no part of `state_dict`. Source: the sum rule.

    Parameters
    ----------
    target : array_like
        t; a copy is kept.

    Raises
    ------
    ValueError
        If the target does not broadcast to the shape of the input.
    """

    def __init__(self, target: ArrayLike) -> None:
        self.target = numeric(self, target, "target").copy()

    def __repr__(self) -> str:
        return f"Subtract({literal(np.asarray(vars(self).get('target', ())))})"

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        target = numeric(self, self.target, "target").astype(x.dtype, copy=False)
        if target.shape != x.shape:
            try:
                target = np.broadcast_to(target, x.shape)
            except ValueError:
                raise ValueError(
                    f"{self!r}: expected an input to whose shape the target {target.shape} broadcasts, got {x.shape}"
                ) from None
        y: Array = x - target
        self._cache = y.shape, y.dtype
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        return self._upstream(dObj_dOut, *self._remembered()).copy()


class Sum(Function):
    """y = sum of x over the given axes.

    dy/dx = 1 for every entry that is summed, so each receives the dObj_dOut of its sum. The axes vanish from the shape:
    x (B, T, I) gives y (B, I) for axis=1 and a single number for axis=None. Source: the sum rule.

    Parameters
    ----------
    axis : int, tuple of int, or None
        What to sum over, counted from the end where negative; None stands for all axes.

    Raises
    ------
    ValueError
        If the input does not have such an axis.
    """

    def __init__(self, axis: int | tuple[int, ...] | None = None) -> None:
        self.axis: int | tuple[int, ...] | None
        if axis is None or isinstance(axis, (tuple, list)):
            self.axis = None if axis is None else axes_argument(self, "axis", axis)
        else:
            self.axis = whole(self, "axis", axis)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        axes = tuple(range(x.ndim)) if self.axis is None else axes_of(self, self.axis, x.ndim)
        y: Array = np.add.reduce(x, axis=axes)
        self._cache = x.shape, axes, y.shape, x.dtype
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, axes, shape_out, dtype = self._remembered()
        d = self._upstream(dObj_dOut, shape_out, dtype)
        return np.broadcast_to(np.expand_dims(d, axes), shape).copy()


class Mean(Sum):
    """y = mean of x over the given axes.

    dy/dx = 1 / n for each of the n entries of a mean, so each receives the dObj_dOut of its mean, divided by n. Shapes are
    those of `Sum`. Source: the sum rule.

    Parameters
    ----------
    axis : int, tuple of int, or None
        What to average over, counted from the end where negative; None stands for all axes.

    Raises
    ------
    ValueError
        If the input does not have such an axis.
    """

    def compute_forward(self, x: Any) -> Array:
        y = super().compute_forward(x)
        mean: Array = y / self._count(y.dtype)
        return mean

    def compute_backward(self, dObj_dOut: Any) -> Array:
        dObj_dIn = super().compute_backward(dObj_dOut)
        dObj_dIn /= self._count(dObj_dIn.dtype)
        return dObj_dIn

    def _count(self, dtype: np.dtype[Any]) -> Any:
        """How many entries went into each mean."""
        shape, axes, _, _ = self._cache
        return dtype.type(math.prod(shape[axis] for axis in axes))


class Exp(Function):
    """y = exp(x), for each entry; inf where that is more than the dtype holds, as in torch.

    dy/dx = y, so dObj_dIn = y dObj_dOut. Input and output have the same shape, any. Source: the definition of e.
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        with np.errstate(over="ignore"):
            y: Array = np.exp(x)
        self._cache = y
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y: Array = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            dObj_dIn: Array = y * d
        return dObj_dIn


class Log(Function):
    """y = log(x), the natural logarithm, for each entry; -inf at 0, as in torch.

    dy/dx = 1 / x, so dObj_dIn = dObj_dOut / x. Input and output have the same shape, any. Source: the inverse rule.

    Raises
    ------
    ValueError
        If an entry of the input is negative; torch returns nan for it.
    """

    def compute_forward(self, x: Any) -> Array:
        self._cache = x = self._floats(x)
        lowest = np.minimum.reduce(x, axis=None)
        if lowest < 0:
            raise ValueError(f"{self!r}: expected numbers of at least 0, got {lowest}")
        with np.errstate(divide="ignore"):
            y: Array = np.log(x)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x: Array = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            dObj_dIn: Array = d / x
        return dObj_dIn


class Abs(Function):
    """y = |x|, for each entry.

    dy/dx = sign(x); at x = 0, where there is no derivative, 0 as in torch. Input and output have the same shape, any.
    Source: the definition.
    """

    def compute_forward(self, x: Any) -> Array:
        self._cache = x = self._floats(x)
        y: Array = np.abs(x)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x: Array = self._remembered()
        dObj_dIn: Array = np.sign(x) * self._upstream(dObj_dOut, x.shape, x.dtype)
        return dObj_dIn


class Power(Function):
    """y = x^p, for each entry, with a constant exponent p.

    dy/dx = p x^(p - 1). Where the one or the other is more than the dtype holds it is inf, as in torch: 0^-1, say. Input
    and output have the same shape, any. Source: the power rule.

    Parameters
    ----------
    p : float

    Raises
    ------
    ValueError
        If p is not whole and an entry of the input is negative; torch returns nan for it.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.pow.html
    """

    def __init__(self, p: float) -> None:
        self.p = real(self, "p", p)

    def compute_forward(self, x: Any) -> Array:
        self._cache = x = self._floats(x)
        if not self.p.is_integer() and np.minimum.reduce(x, axis=None) < 0:
            raise ValueError(f"{self!r}: expected numbers of at least 0 for an exponent that is not whole, got {x.min()}")
        with np.errstate(divide="ignore", over="ignore"):
            y: Array = np.power(x, x.dtype.type(self.p))
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x: Array = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        if self.p == 0:
            return np.zeros_like(d)
        p = x.dtype.type(self.p)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            dObj_dIn = np.power(x, p - 1)
            dObj_dIn *= p
            dObj_dIn *= d
        return dObj_dIn


class Clip(Function):
    """y = x, for each entry, but at least `low` and at most `high`.

    dy/dx = 1 where low <= x <= high, else 0; at the bounds themselves, where there is no derivative, 1 as in torch. Input
    and output have the same shape, any. Source: the definition.

    Parameters
    ----------
    low, high : float or None
        None stands for no bound.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.clamp.html
    """

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low = None if low is None else real(self, "low", low, "None means no bound")
        self.high = None if high is None else real(self, "high", high, "None means no bound")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"Clip: expected low of at most high, got {low} and {high}")

    def compute_forward(self, x: Any) -> Array:
        self._cache = x = self._floats(x)
        y: Array = x if self.low is None else np.maximum(x, self.low)
        y = y if self.high is None else np.minimum(y, self.high)
        return x.copy() if y is x else y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x: Array = self._remembered()
        dObj_dIn = self._upstream(dObj_dOut, x.shape, x.dtype).copy()
        if self.low is not None:
            dObj_dIn *= x >= self.low
        if self.high is not None:
            dObj_dIn *= x <= self.high
        return dObj_dIn
