"""Activations: what bends the plane between two linear layers.

All but the two softmaxes (in softmax.py) work entry by entry, on input of any shape. Where the derivative can be had from the
output, the output is what is remembered. Those of straight pieces are in piecewise_linear.py, and found here, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pancake.arguments import real
from pancake.attributes import checked, one_of, positive
from pancake.function import Function
from pancake.functions.piecewise_linear import HardTanh as HardTanh
from pancake.functions.piecewise_linear import LeakyReLU as LeakyReLU
from pancake.functions.piecewise_linear import PReLU as PReLU
from pancake.functions.piecewise_linear import ReLU as ReLU
from pancake.memory import Array


def largest_exponent(dtype: np.dtype[Any]) -> int:
    """The largest whole number whose exp the dtype can hold: 88 for float32, 709 for float64."""
    return int(math.log(float(np.finfo(np.float64 if dtype.itemsize > 8 else dtype).max)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) for each entry, as e / (1 + e) with e = exp(x), which keeps all digits of a small one."""
    e = np.exp(np.minimum(x, largest_exponent(x.dtype)))  # beyond it exp overflows, and the sigmoid has long been 1
    y: Array = e / (1 + e)
    return y


class Sigmoid(Function):
    """y = 1 / (1 + exp(-x)), computed as e / (1 + e) with e = exp(x), which keeps all digits where y is small.

    dy/dx = y (1 - y) = y / (1 + e).

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        e = np.exp(np.minimum(x, largest_exponent(x.dtype)))  # beyond it exp overflows, and y has long been 1
        y = e / (1 + e)
        self._remember(y, e)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y, e = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        return d * y / (1 + e)


class Tanh(Function):
    """y = tanh(x).

    dy/dx = 1 - y^2.

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html
    """

    def compute_forward(self, x: Any) -> Array:
        y = np.tanh(self._floats(x))
        self._remember(y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        return d * (1 - y * y)


class ELU(Function):
    """y = x where x > 0, else a (exp(x) - 1).

    dy/dx = 1 where x > 0, else a exp(x).

    Shape
    -----
    x, y : (...), any shape

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

    alpha: float = checked(real)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        return d * np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0)))


class SELU(Function):
    """y = s x where x > 0, else s a (exp(x) - 1): the ELU that keeps mean 0 and variance 1 from layer to layer.

    dy/dx = s where x > 0, else s a exp(x), with s = 1.0507009873554805 and a = 1.6732632423543772. It belongs with
    `Linear(..., init="lecun_normal")`.

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks" (2017), equation 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.SELU.html
    """

    scale, alpha = 1.0507009873554805, 1.6732632423543772

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return self.scale * np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        return d * (self.scale * np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0))))


class GELU(Function):
    """y = x P(x), P(x) the probability that a standard normal number is less than x.

    dy/dx = P(x) + x p(x), with p(x) = exp(-x^2 / 2) / sqrt(2 pi). With approximate="tanh" instead, and c = sqrt(2 / pi),

        y = x P,  P = (1 + tanh u) / 2 = sigmoid(2 u),  u = c (x + 0.044715 x^3),
        dy/dx = P + x 2 P (1 - P) c (1 + 0.134145 x^2).

    Shape
    -----
    x, y : (...), any shape

    Parameters
    ----------
    approximate : {"none", "tanh"}
        The two differ by up to 5e-4.

    References
    ----------
    Hendrycks, Gimpel, "Gaussian Error Linear Units (GELUs)" (2016), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html
    """

    approximate: str = checked(one_of("none", "tanh"))

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        near = np.maximum(-40, np.minimum(x, 40))  # beyond it P is 0 or 1, and the square or the cube may overflow
        if self.approximate == "none":
            P = normal_cdf(near)
        else:
            P = sigmoid(2 * ROOT_2_PI * (near + 0.044715 * near * near * near))
        self._remember(near, P)
        return x * P

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, P = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        if self.approximate == "none":
            p = np.exp(-x * x / 2) * (ROOT_2_PI / 2)
        else:
            p = P * (1 - P) * (2 * ROOT_2_PI) * (1 + 3 * 0.044715 * x * x)
        return d * (P + x * p)


ROOT_2_PI = math.sqrt(2 / math.pi)

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


def normal_cdf(x: Array) -> Array:
    """The probability that a standard normal number is less than x, for each entry, to 2e-16."""
    if x.dtype == np.float16:  # which cannot hold the polynomials
        return normal_cdf(x.astype(np.float32)).astype(np.float16)
    a = np.minimum(np.abs(x), 40)  # beyond that it is 0 or 1
    tail = np.exp(-a * a / 2) * _horner(_NORMAL_P, a) / _horner(_NORMAL_Q, a)
    return np.where(x > 0, 1 - tail, tail)


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    """The polynomial with these coefficients, the highest power first."""
    result: Any = coefficients[0]
    for c in coefficients[1:]:
        result = result * x + c
    return result


class SiLU(Function):
    """y = x s(x) with the sigmoid s(x) = 1 / (1 + exp(-x)); also called swish.

    dy/dx = s(x) + y (1 - s(x)).

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    Elfwing, Uchibe, Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation" (2018), equations 3 and 7.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        s = sigmoid(x)
        self._remember(x, s)
        return x * s

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, s = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        return d * (s + x * s * (1 - s))


class Mish(Function):
    """y = x t, with t = tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) and e = exp(x).

    dy/dx = t + x (1 - t^2) e / (1 + e).

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    Misra, "Mish: A Self Regularized Non-Monotonic Activation Function" (2020), equations 1 and 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Mish.html
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        e = np.exp(np.minimum(x, largest_exponent(x.dtype) / 2))  # half, since e is squared; t has long been 1
        t = e * (e + 2) / (e * (e + 2) + 2)
        self._remember(x, e, t)
        return x * t

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, e, t = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        return d * (t + x * (1 - t * t) * e / (1 + e))


class Softplus(Function):
    """y = log(1 + exp(b x)) / b: a ReLU without a kink, computed as (max(b x, 0) + log(1 + exp(-|b x|))) / b.

    dy/dx = 1 / (1 + exp(-b x)) = 1 - exp(-b y). torch returns x itself for b x > 20, where the two differ by up to 2e-9.

    Shape
    -----
    x, y : (...), any shape

    Parameters
    ----------
    beta : float
        b, more than 0. The larger, the sharper the bend.

    References
    ----------
    Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing" (2001), equation 4.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html
    """

    beta: float = checked(positive)

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def compute_forward(self, x: Any) -> Array:
        rise = softplus(self.beta * self._floats(x))
        self._remember(rise)
        return rise / self.beta

    def compute_backward(self, dObj_dOut: Any) -> Array:
        rise = self._remembered()
        d = self._upstream(dObj_dOut, rise.shape, rise.dtype)
        return d * -np.expm1(-rise)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), for each entry."""
    y: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return y


class Softsign(Function):
    """y = x / (1 + |x|).

    dy/dx = 1 / (1 + |x|)^2.

    Shape
    -----
    x, y : (...), any shape

    References
    ----------
    Bergstra, Desjardins, Lamblin, Bengio, "Quadratic Polynomials Learn Better Image Features" (2009), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Softsign.html
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x)
        return x / (1 + np.abs(x))

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, x.shape, x.dtype)
        return d / (1 + np.abs(x)) / (1 + np.abs(x))
