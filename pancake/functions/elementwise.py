"""The teaching bricks: functions so simple that their derivatives are known from school."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pancake.arguments import Rng, axes_argument, axes_of, literal, numeric, real, whole
from pancake.attributes import checked, parameter
from pancake.function import Function, divided, wide
from pancake.memory import Array


class Square(Function):
    """y = x^2, for each entry.

    dy/dx = 2 x, so dObj_dIn = 2 x dObj_dOut. Source: the power rule.

    Shape
    -----
    x, y : (...), any shape
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return x * x

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        return 2 * x * self._upstream(dObj_dOut, x.shape, x.dtype)


class Mul(Function):
    """y = k x, for each entry, with one trainable number k.

    dy/dx = k and dy/dk = x, so dObj_dIn = k dObj_dOut and grad_k = sum of x dObj_dOut over all entries. Source: the product
    rule.

    Shape
    -----
    x, y : (...), any shape;  k : (1,);  y : (1,) where x is a single number

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

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "k": self.start}

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x, self.k.dtype)
        self._remember(x)
        return self.k * x

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, x.shape or (1,), x.dtype)
        self.grad_k += (d * x).sum()
        return (self.k * d).reshape(x.shape)


class Negate(Function):
    """y = -x, for each entry.

    dy/dx = -1, so dObj_dIn = -dObj_dOut. Source: the definition.

    Shape
    -----
    x, y : (...), any shape
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return -x

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        return -self._upstream(dObj_dOut, x.shape, x.dtype)


class Subtract(Function):
    """y = x - t, with a constant target t.

    dy/dx = 1, so dObj_dIn = dObj_dOut. The target is not trained, and is no part of `state_dict`. Source: the sum rule.

    Shape
    -----
    x, y : (...), any shape to which that of t broadcasts

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
        axes = zip(target.shape[::-1], x.shape[::-1], strict=False)
        if target.ndim > x.ndim or not all(length in (1, of_input) for length, of_input in axes):
            raise ValueError(f"{self!r}: expected an input to whose shape the target {target.shape} broadcasts, got {x.shape}")
        self._remember(x)
        return x - target

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        return self._upstream(dObj_dOut, x.shape, x.dtype).copy()


class Sum(Function):
    """y = sum of x over the given axes.

    dy/dx = 1 for every entry that is summed, so each receives the dObj_dOut of its sum. Source: the sum rule.

    Shape
    -----
    x : (...), any shape;  y : that of x without the axes. (B, T, I) becomes (B, I) with axis=1, a single number with None

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
        self.axis = _axis_argument(self, axis)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        axes = _axes(self, x)
        y = x.sum(axis=axes, dtype=wide(x.dtype)).astype(x.dtype)
        self._remember(x, axes, y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, axes, y = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        return np.broadcast_to(np.expand_dims(d, axes), x.shape).copy()


class Mean(Function):
    """y = mean of x over the given axes.

    dy/dx = 1 / n for each of the n entries of a mean, so each receives the dObj_dOut of its mean, divided by n. Source: the
    sum rule.

    Shape
    -----
    x : (...), any shape;  y : that of x without the axes, as in `Sum`

    Parameters
    ----------
    axis : int, tuple of int, or None
        What to average over, counted from the end where negative; None stands for all axes.

    Raises
    ------
    ValueError
        If the input does not have such an axis.
    """

    def __init__(self, axis: int | tuple[int, ...] | None = None) -> None:
        self.axis = _axis_argument(self, axis)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        axes = _axes(self, x)
        y = x.mean(axis=axes)
        self._remember(x, axes, y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, axes, y = self._remembered()
        d = divided(self._upstream(dObj_dOut, y.shape, y.dtype), x.size // max(y.size, 1))
        return np.broadcast_to(np.expand_dims(d, axes), x.shape).copy()


def _axis_argument(owner: Function, axis: Any) -> int | tuple[int, ...] | None:
    if axis is None:
        return None
    return axes_argument(owner, "axis", axis) if isinstance(axis, (tuple, list)) else whole(owner, "axis", axis)


def _axes(owner: Sum | Mean, x: Array) -> tuple[int, ...]:
    """The axes of x to reduce, counted from the front."""
    return tuple(range(x.ndim)) if owner.axis is None else axes_of(owner, owner.axis, x.ndim)


class Exp(Function):
    """y = exp(x), for each entry; inf where that is more than the dtype holds, as in torch.

    dy/dx = y, so dObj_dIn = y dObj_dOut. Source: the definition of e.

    Shape
    -----
    x, y : (...), any shape
    """

    def compute_forward(self, x: Any) -> Array:
        with np.errstate(over="ignore"):
            y = np.exp(self._floats(x))
        self._remember(y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y = self._remembered()
        with np.errstate(over="ignore", invalid="ignore"):
            return y * self._upstream(dObj_dOut, y.shape, y.dtype)


class Log(Function):
    """y = log(x), the natural logarithm, for each entry; -inf at 0, as in torch.

    dy/dx = 1 / x, so dObj_dIn = dObj_dOut / x. Source: the inverse rule.

    Shape
    -----
    x, y : (...), any shape

    Raises
    ------
    ValueError
        If an entry of the input is negative; torch returns nan for it.
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        if (x < 0).any():
            raise ValueError(f"{self!r}: expected numbers of at least 0, got {np.nanmin(x)}")
        self._remember(x)
        with np.errstate(divide="ignore"):
            return np.log(x)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return self._upstream(dObj_dOut, x.shape, x.dtype) / x


class Abs(Function):
    """y = |x|, for each entry.

    dy/dx = sign(x); at x = 0, where there is no derivative, 0 as in torch. Source: the definition.

    Shape
    -----
    x, y : (...), any shape
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return np.abs(x)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        return np.sign(x) * self._upstream(dObj_dOut, x.shape, x.dtype)


class Power(Function):
    """y = x^p, for each entry, with a constant exponent p.

    dy/dx = p x^(p - 1). Where the one or the other is more than the dtype holds it is inf, as in torch: 0^-1, say.
    Source: the power rule.

    Shape
    -----
    x, y : (...), any shape

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

    p: float = checked(real)

    def __init__(self, p: float) -> None:
        self.p = p

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        if not self.p.is_integer() and (x < 0).any():
            raise ValueError(f"{self!r}: expected numbers of at least 0 for an exponent that is not whole, got {np.nanmin(x)}")
        self._remember(x)
        with np.errstate(divide="ignore", over="ignore"):
            return x**self.p

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        if self.p == 0:  # where 0 x^-1 would be nan at 0
            return np.zeros_like(d)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return self.p * x ** (self.p - 1) * d


def _bound(clip: Clip, name: str, value: Any) -> float | None:
    """`value` as a bound of `Clip`, or None; refused if it is on the wrong side of the other one."""
    bound = None if value is None else real(clip, name, value, "None means no bound")
    bounds = {"low": None, "high": None, **vars(clip), name: bound}
    low, high = bounds["low"], bounds["high"]
    if low is not None and high is not None and low > high:
        raise ValueError(f"Clip: expected low of at most high, got {low:g} and {high:g}")
    return bound


class Clip(Function):
    """y = x, for each entry, but at least `low` and at most `high`.

    dy/dx = 1 where low <= x <= high, else 0; at the bounds themselves, where there is no derivative, 1 as in torch.
    Source: the definition.

    Shape
    -----
    x, y : (...), any shape

    Parameters
    ----------
    low, high : float or None
        None stands for no bound.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.clamp.html
    """

    low: float | None = checked(_bound)
    high: float | None = checked(_bound)

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low, self.high = low, high

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return np.clip(x, self._low, self._high)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        return d * ((x >= self._low) & (x <= self._high))

    @property
    def _low(self) -> float:
        return -math.inf if self.low is None else self.low

    @property
    def _high(self) -> float:
        return math.inf if self.high is None else self.high
