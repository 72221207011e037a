"""Activations: what bends the plane between two linear layers.

All but the two softmaxes work entry by entry on input of any shape. Where the derivative can be had from the output, it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, real, size
from pancake.function import Function, constant, parameter
from pancake.memory import Array

ZERO, HALF, ONE = constant(0), constant(0.5), constant(1)
ROOT_2_PI, CUBIC = constant(math.sqrt(2 / math.pi)), constant(0.044715)  # of GELU

# The sigmoid of such an x is 1 in each dtype, while exp(x) is far from too large. Up to it, exp(x) / (1 + exp(x)) keeps all
# digits of a small sigmoid, which (1 + tanh(x / 2)) / 2 does not.
SURE = {dtype: np.array(math.log(16 / np.finfo(dtype).eps), dtype) for dtype in ONE}


class Activation(Function):
    """Base of the activations that work entry by entry.

    A subclass says in `_forward` what becomes of a float array, and in `_backward` of a gradient shaped like the output. It
    keeps in `_cache` an array of that shape and dtype, alone or as the first of a tuple.
    """

    def compute_forward(self, x: Any) -> Array:
        return self._forward(self._floats(x))

    def compute_backward(self, dObj_dOut: Any) -> Array:
        kept = self._remembered()
        like = kept[0] if type(kept) is tuple else kept
        return self._backward(self._upstream(dObj_dOut, like.shape, like.dtype))

    def _forward(self, x: Array) -> Array:
        raise NotImplementedError

    def _backward(self, d: Array) -> Array:
        raise NotImplementedError

    def _evaluate(self, x: Any, fresh: bool) -> Array:
        before = self._cache
        try:
            return self._overwrite(x) if fresh else self._forward(self._floats(x))
        finally:
            self._cache = before

    def _overwrite(self, x: Array) -> Array:
        """Like `_forward`, for an x that nobody else needs: the output may take its place."""
        return self._forward(x)


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), computed as (1 + tanh(x / 2)) / 2, which cannot overflow.

    dy/dx = y (1 - y). Input and output have the same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html
    """

    def _forward(self, x: Array) -> Array:
        return self._overwrite(x.copy("K"))

    def _overwrite(self, x: Array) -> Array:
        half, y = HALF[x.dtype], x
        y *= half
        np.tanh(y, y)
        y *= half
        y += half
        self._cache = y
        return y

    def _backward(self, d: Array) -> Array:
        y: Array = self._cache
        dObj_dIn = y - y * y
        dObj_dIn *= d
        return dObj_dIn


class Tanh(Activation):
    """y = tanh(x).

    dy/dx = 1 - y^2. Input and output have the same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html
    """

    def _forward(self, x: Array) -> Array:
        self._cache = y = np.tanh(x)
        return y

    def _overwrite(self, x: Array) -> Array:
        self._cache = y = np.tanh(x, x)
        return y

    def _backward(self, d: Array) -> Array:
        y: Array = self._cache
        dObj_dIn = ONE[y.dtype] - y * y
        dObj_dIn *= d
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

    def _forward(self, x: Array) -> Array:
        self._cache = y = np.maximum(x, ZERO[x.dtype])
        return y

    def _overwrite(self, x: Array) -> Array:
        self._cache = y = np.maximum(x, ZERO[x.dtype], out=x)
        return y

    def _backward(self, d: Array) -> Array:
        y: Array = self._cache
        # The sign of y is that 1 or 0. It costs half of a comparison on small arrays, and twice as much on large ones.
        dObj_dIn: Array = np.sign(y) if y.size < 3000 else np.greater(y, ZERO[y.dtype], out=np.empty(y.shape, y.dtype))
        dObj_dIn *= d
        return dObj_dIn


class HardTanh(Activation):
    """y = max(-1, min(x, 1)).

    dy/dx = 1 where -1 < x < 1, else 0; at -1 and 1, where there is no derivative, 0 as in torch. Input and output have the
    same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html
    """

    def _forward(self, x: Array) -> Array:
        y: Array = np.maximum(x, -ONE[x.dtype])
        y = np.minimum(y, ONE[x.dtype])
        self._cache = y
        return y

    def _backward(self, d: Array) -> Array:
        y: Array = self._cache
        dObj_dIn: Array = d * (np.abs(y) < ONE[y.dtype])
        return dObj_dIn


class LeakyReLU(Activation):
    """y = x where x > 0, else s x: a ReLU that never stops learning.

    dy/dx = 1 where x > 0, else s, the negative slope; at x = 0, where there is no derivative, s as in torch. Input and output
    have the same shape, any.

    Parameters
    ----------
    negative_slope : float
        s.

    References
    ----------
    Maas, Hannun, Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = real(self, "negative_slope", negative_slope)

    def _forward(self, x: Array) -> Array:
        slopes = _slopes(x, x.dtype.type(self.negative_slope))
        self._cache = slopes
        y: Array = x * slopes
        return y

    def _backward(self, d: Array) -> Array:
        slopes: Array = self._cache
        dObj_dIn: Array = slopes * d
        return dObj_dIn


def _slopes(x: Array, negative_slope: Any) -> Array:
    """1 where x > 0, else the negative slope. Two comparisons cost a third of `np.where` on large arrays."""
    slopes: Array = np.multiply(x <= ZERO[x.dtype], negative_slope)
    slopes += x > ZERO[x.dtype]
    return slopes


class PReLU(Function):
    """y = x where x > 0, else s x, with slopes s that are trained.

    dy/dx = 1 where x > 0, else s; grad_weight is the sum of x dObj_dOut over all entries with x <= 0 that share a slope.
    Input and output have the same shape, (..., C) for C slopes and any for one.

    Parameters
    ----------
    num_parameters : int
        1 slope for all entries, or C: one for each feature, on the last axis. (torch has features on the second axis.)
    init : float
        The value that the slopes start from.
    rng : ignored
        Nothing is random here; `reset_parameters` goes back to `init`.
    dtype : floating dtype

    Attributes
    ----------
    weight, grad_weight : ndarray (C,)
        s.

    Raises
    ------
    ValueError
        If there are C > 1 slopes and the last axis of the input is not C.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers" (2015), section 2.1.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        # the name `num_parameters` is taken: it counts the trainable numbers of any Function, which here is the same
        count = size(self, num_parameters=num_parameters)
        self.init = real(self, "init", init)
        self.make_parameters(dtype, weight=(count,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set all slopes back to the value they started from."""
        self.weight.fill(self.init)

    def _has_parameters(self) -> bool:
        return True

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "num_parameters": self.weight.size}

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x).astype(self.weight.dtype, copy=False)
        count = self.weight.size
        if count > 1 and (x.ndim == 0 or x.shape[-1] != count):
            raise ValueError(f"{self!r}: expected (..., {count}), got {x.shape}")
        slopes = _slopes(x, self.weight if count > 1 else self.weight[0])
        self._cache = x, slopes
        y: Array = x * slopes
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, slopes = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        negative = np.minimum(x, ZERO[x.dtype]) * d
        grad_weight = self.grad_weight
        grad_weight += negative.sum() if grad_weight.size == 1 else negative.reshape(-1, grad_weight.size).sum(axis=0)
        dObj_dIn: Array = slopes * d
        return dObj_dIn


class ELU(Activation):
    """y = x where x > 0, else a (exp(x) - 1).

    dy/dx = 1 where x > 0, else a exp(x). Input and output have the same shape, any.

    Parameters
    ----------
    alpha : float
        a; -a is what large negative inputs tend to.

    References
    ----------
    Clevert, Unterthiner, Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units (ELUs)" (2016),
    equation 15.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.ELU.html
    """

    _scale = 1.0

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = real(self, "alpha", alpha)

    def _forward(self, x: Array) -> Array:
        self._cache = x
        y: Array = np.expm1(np.minimum(x, ZERO[x.dtype]))
        y *= x.dtype.type(self._scale * self.alpha)
        positive = np.maximum(x, ZERO[x.dtype])
        if self._scale != 1:
            positive *= x.dtype.type(self._scale)
        y += positive
        return y

    def _backward(self, d: Array) -> Array:
        x: Array = self._cache
        # exp anew, since y + a has lost the digits of a small slope
        dObj_dIn: Array = np.exp(np.minimum(x, ZERO[x.dtype]))
        if self.alpha != 1:
            dObj_dIn *= _slopes(x, x.dtype.type(self.alpha))
        if self._scale != 1:
            dObj_dIn *= x.dtype.type(self._scale)
        dObj_dIn *= d
        return dObj_dIn


class SELU(ELU):
    """y = s x where x > 0, else s a (exp(x) - 1): the ELU that keeps mean 0 and variance 1 from layer to layer.

    dy/dx = s where x > 0, else s a exp(x), with s = 1.0507009873554805 and a = 1.6732632423543772. Input and output have the
    same shape, any. It belongs with `Linear(..., init="lecun_normal")`.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks" (2017), equation 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.SELU.html
    """

    _scale = 1.0507009873554805

    def __init__(self) -> None:
        super().__init__(1.6732632423543772)


class GELU(Activation):
    """y = x P(x), P(x) the probability that a standard normal number is less than x.

    dy/dx = P(x) + x p(x), with p(x) = exp(-x^2 / 2) / sqrt(2 pi). With approximate="tanh" instead, and c = sqrt(2 / pi),

        y = x (1 + t) / 2,  t = tanh(c (x + 0.044715 x^3)),  dy/dx = (1 + t) / 2 + x (1 - t^2) c (1 + 0.134145 x^2) / 2.

    Input and output have the same shape, any.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        The two differ by up to 5e-4.

    References
    ----------
    Hendrycks, Gimpel, "Gaussian Error Linear Units (GELUs)" (2016), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: expected approximate to be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def _forward(self, x: Array) -> Array:
        if self.approximate == "none":
            share = _normal_cdf(x)
        else:
            one, half = ONE[x.dtype], HALF[x.dtype]
            share = x * x
            share *= CUBIC[x.dtype]
            share += one
            share *= x
            share *= ROOT_2_PI[x.dtype]
            share = np.tanh(share)
            share *= half
            share += half
        self._cache = x, share
        y: Array = x * share
        return y

    def _backward(self, d: Array) -> Array:
        x, share = self._cache
        slopes: Array = x * x
        if self.approximate == "none":
            slopes *= -HALF[x.dtype]
            slopes = np.exp(slopes)
            slopes *= HALF[x.dtype] * ROOT_2_PI[x.dtype]
        else:
            slopes *= 3 * CUBIC[x.dtype]
            slopes += ONE[x.dtype]
            slopes *= 2 * ROOT_2_PI[x.dtype]
            slopes *= share - share * share  # (1 - t^2) / 4
        slopes *= x
        slopes += share
        slopes *= d
        return slopes


# P(-x) = exp(-x^2 / 2) p(x) / q(x) for x >= 0, to 2e-16: Hart et al., "Computer Approximations" (1968), approximation 5666,
# as given in West, "Better approximations to cumulative normal functions", Wilmott Magazine (May 2005).
_NORMAL_P = (
    3.52624965998911e-2,
    0.700383064443688,
    6.37396220353165,
    33.912866078383,
    112.079291497871,
    221.213596169931,
    220.206867912376,
)
_NORMAL_Q = (
    8.83883476483184e-2,
    1.75566716318264,
    16.064177579207,
    86.7807322029461,
    296.564248779674,
    637.333633378831,
    793.826512519948,
    440.413735824752,
)


def _normal_cdf(x: Array) -> Array:
    """The probability that a standard normal number is less than x, for each entry, to 2e-16."""
    if x.dtype == np.float16:  # which cannot hold the polynomials
        return np.asarray(_normal_cdf(x.astype(np.float32)).astype(np.float16))
    a = np.minimum(np.abs(x), 40)  # beyond that it is 0 or 1
    tail: Array = a * a
    tail *= -HALF[x.dtype]
    tail = np.exp(tail)
    tail *= _horner(_NORMAL_P, a)
    tail /= _horner(_NORMAL_Q, a)
    # tail where x < 0, else 1 - tail
    positive = x > ZERO[x.dtype]
    tail *= ONE[x.dtype] - 2 * positive.astype(x.dtype)
    tail += positive
    return tail


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    result: Array = x * x.dtype.type(coefficients[0])
    for c in coefficients[1:-1]:
        result += x.dtype.type(c)
        result *= x
    result += x.dtype.type(coefficients[-1])
    return result


class SiLU(Activation):
    """y = x s(x) with the sigmoid s(x) = 1 / (1 + exp(-x)); also called swish.

    dy/dx = s(x) + y (1 - s(x)). Input and output have the same shape, any.

    References
    ----------
    Elfwing, Uchibe, Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation" (2018), equations 3 and 7.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html
    """

    def _forward(self, x: Array) -> Array:
        s = np.exp(np.minimum(x, SURE[x.dtype]))
        s /= s + ONE[x.dtype]
        y: Array = x * s
        self._cache = s, y
        return y

    def _backward(self, d: Array) -> Array:
        s, y = self._cache
        dObj_dIn: Array = ONE[y.dtype] - s
        dObj_dIn *= y
        dObj_dIn += s
        dObj_dIn *= d
        return dObj_dIn


class Mish(Activation):
    """y = x t, with t = tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) and e = exp(x).

    dy/dx = t + x (1 - t^2) e / (1 + e). Input and output have the same shape, any.

    References
    ----------
    Misra, "Mish: A Self Regularized Non-Monotonic Activation Function" (2020), equations 1 and 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Mish.html
    """

    def _forward(self, x: Array) -> Array:
        e = np.exp(np.minimum(x, HALF[x.dtype] * SURE[x.dtype]))  # half, since e is squared
        t = e * (e + 2)
        t /= t + 2
        self._cache = x, e, t
        y: Array = x * t
        return y

    def _backward(self, d: Array) -> Array:
        x, e, t = self._cache
        one = ONE[x.dtype]
        dObj_dIn: Array = one - t * t
        dObj_dIn *= e / (e + one)
        dObj_dIn *= x
        dObj_dIn += t
        dObj_dIn *= d
        return dObj_dIn


class Softplus(Activation):
    """y = log(1 + exp(b x)) / b: a ReLU without a kink, computed as (max(b x, 0) + log(1 + exp(-|b x|))) / b.

    dy/dx = 1 / (1 + exp(-b x)) = 1 - exp(-b y). Input and output have the same shape, any. torch returns x itself for
    b x > 20, where the two differ by up to 2e-9.

    Parameters
    ----------
    beta : float
        b, more than 0. The larger, the sharper the bend.

    References
    ----------
    Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing" (2001), equation 4.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = real(self, "beta", beta)
        if self.beta <= 0:
            raise ValueError(f"Softplus: expected beta of more than 0, got {beta}")

    def _forward(self, x: Array) -> Array:
        if self.beta != 1:
            y: Array = softplus(x * x.dtype.type(self.beta))
            self._cache = y
            y = y / x.dtype.type(self.beta)
            return y
        self._cache = y = softplus(x)
        return y

    def _backward(self, d: Array) -> Array:
        y: Array = self._cache  # times beta
        dObj_dIn: Array = -np.expm1(-y)
        dObj_dIn *= d
        return dObj_dIn


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), for each entry, as a fresh array."""
    if x.size < 256:  # one call against six; but each entry takes ten times as long
        fresh: Array = np.logaddexp(x, ZERO[x.dtype])
        return fresh
    y: Array = np.abs(x)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    y += np.maximum(x, ZERO[x.dtype])
    return y


class Softsign(Activation):
    """y = x / (1 + |x|).

    dy/dx = 1 / (1 + |x|)^2. Input and output have the same shape, any.

    References
    ----------
    Bergstra, Desjardins, Lamblin, Bengio, "Quadratic Polynomials Learn Better Image Features" (2009), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Softsign.html
    """

    def _forward(self, x: Array) -> Array:
        divisor = np.abs(x)
        divisor += ONE[x.dtype]
        self._cache = divisor
        y: Array = x / divisor
        return y

    def _backward(self, d: Array) -> Array:
        divisor: Array = self._cache
        dObj_dIn: Array = d / divisor
        dObj_dIn /= divisor
        return dObj_dIn
