"""What keeps signals in range and nets from learning by heart: normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, check_axes, number, share, size
from pancake.attributes import checked, parameter
from pancake.function import Function, rows, total, wide
from pancake.memory import Array


class BatchNorm(Function):
    """y = w (x - m) / sqrt(v + eps) + b for each feature, with the mean m and the variance v of that feature.

    All leading axes together count as the N examples. In training m and v are those of the batch, v = sum_n (x_n - m)^2 / N.
    In evaluation they are the running ones, which every forward in training moves,

        running <- (1 - momentum) running + momentum batch,

    where the batch's variance is the unbiased one, v N / (N - 1). With the normalised input h = (x - m) / sqrt(v + eps), and
    d for dObj_dOut,

        dObj_dIn = w / sqrt(v + eps) (d - mean_n d - h mean_n (d h))  in training,
        dObj_dIn = w / sqrt(v + eps) d                                in evaluation,

    grad_weight = sum_n d h, grad_bias = sum_n d.

    Shape
    -----
    x, y : (..., C);  w, b, m, v : (C,)

    Parameters
    ----------
    n : int
        C, the number of features. (torch has features on the second axis, here they are on the last.)
    momentum : float
        From 0 to 1: how far a batch moves the running statistics.
    eps : float
        At least 0.
    rng : ignored
        Nothing is random here; `reset_parameters` sets the weight to 1, the bias to 0, and forgets all batches.
    dtype : floating dtype
    max_ndim : int, optional
        The most axes that an input may have; by default any number. `from_torch` sets 2 where it cannot tell where the features
        are: of two axes the last, where they are here, is the second, where torch has them.

    Attributes
    ----------
    weight, grad_weight, bias, grad_bias : ndarray (C,)
        w and b.
    running_mean, running_var : ndarray (C,)
        They start at 0 and 1.
    num_batches_tracked : ndarray ()
        How many batches they have seen.

    Raises
    ------
    ValueError
        If the last axis of the input is not C, or it has more axes than `max_ndim`; in training also if there is one example
        only, which has no variance.

    References
    ----------
    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift" (2015),
    algorithm 1 and section 3.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()
    bias: Array = parameter()
    grad_bias: Array = parameter()
    buffers = ("running_mean", "running_var", "num_batches_tracked")

    momentum: float = checked(share)
    eps: float = checked(number)

    def __init__(
        self,
        n: int,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *,
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
        max_ndim: int | None = None,
    ) -> None:
        self.n = size(self, n=n)
        self.momentum, self.eps = momentum, eps
        self.max_ndim = None if max_ndim is None else size(self, max_ndim=max_ndim)
        self.make_parameters(dtype, weight=(n,), bias=(n,))
        self.running_mean: Array = np.zeros(n, self.weight.dtype)
        self.running_var: Array = np.ones(n, self.weight.dtype)
        self.num_batches_tracked = np.zeros((), np.int64)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set the weight to 1 and the bias to 0, and go back to the running statistics of the start."""
        self.weight.fill(1)
        self.bias.fill(0)
        self.running_mean.fill(0)
        self.running_var.fill(1)
        self.num_batches_tracked.fill(0)

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.weight.dtype)
        if self.max_ndim is not None:
            check_axes(self, x.shape, self.max_ndim)
        if self.training:
            N = self._examples(x)
            m, c = centred(rows(x), axis=0)
            v = mean_square(c, axis=0)
            self._track(m[0], v[0] * (N / (N - 1)))
        else:
            c, v = rows(x) - self.running_mean, self.running_var
        s = np.sqrt(v + self.eps).astype(x.dtype, copy=False)
        h = c / s
        self._remember(h, s, x.shape, self.training)
        return (self.weight * h + self.bias).reshape(x.shape)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        h, s, shape, training = self._remembered()
        d = rows(self._upstream(dObj_dOut, shape, h.dtype))
        self.grad_weight += total(d * h)
        self.grad_bias += total(d)
        if training:
            d = d - d.mean(axis=0) - h * (d * h).mean(axis=0)
        return (self.weight / s * d).reshape(shape)

    def _examples(self, x: Array) -> int:
        """How many there are in training, refused if it is one."""
        N = x.size // self.n
        if N == 1:
            raise ValueError(
                f"{self!r}: expected more than one example in training, got {x.shape}, whose variance is 0; "
                "use larger batches, or eval() to normalise with the running statistics"
            )
        return N

    def _track(self, mean: Array, var: Array) -> None:
        for running, batch in ((self.running_mean, mean), (self.running_var, var)):
            running *= 1 - self.momentum
            running += self.momentum * batch
        self.num_batches_tracked += 1


class LayerNorm(Function):
    """y = w (x - m) / sqrt(v + eps) + b, with the mean m and the variance v of the features of each example.

    m and v are taken over the last axis, v = sum_c (x_c - m)^2 / C. With the normalised input h = (x - m) / sqrt(v + eps),
    and g = w dObj_dOut,

        dObj_dIn = (g - mean_c g - h mean_c (g h)) / sqrt(v + eps),

    grad_weight = sum over all leading axes of dObj_dOut h, grad_bias = sum of dObj_dOut.

    Shape
    -----
    x, y : (..., C);  w, b : (C,);  m, v : (..., 1)

    Parameters
    ----------
    n : int
        C, the number of features.
    eps : float
        At least 0.
    rng : ignored
        Nothing is random here; `reset_parameters` sets the weight to 1 and the bias to 0.
    dtype : floating dtype

    Attributes
    ----------
    weight, grad_weight, bias, grad_bias : ndarray (C,)
        w and b.

    Raises
    ------
    ValueError
        If the last axis of the input is not C.

    References
    ----------
    Ba, Kiros, Hinton, "Layer Normalization" (2016), equations 3 and 4.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()
    bias: Array = parameter()
    grad_bias: Array = parameter()
    eps: float = checked(number)

    def __init__(self, n: int, eps: float = 1e-5, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n = size(self, n=n)
        self.eps = eps
        self.make_parameters(dtype, weight=(n,), bias=(n,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set the weight to 1 and the bias to 0."""
        self.weight.fill(1)
        self.bias.fill(0)

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.weight.dtype)
        _, c = centred(x, axis=-1)
        s = np.sqrt(mean_square(c, axis=-1) + self.eps).astype(x.dtype, copy=False)
        h = c / s
        self._remember(h, s)
        return self.weight * h + self.bias

    def compute_backward(self, dObj_dOut: Any) -> Array:
        h, s = self._remembered()
        d = self._upstream(dObj_dOut, h.shape, h.dtype)
        self.grad_weight += total(d * h)
        self.grad_bias += total(d)
        g = self.weight * d
        return (g - mean(g, axis=-1) - h * mean(g * h, axis=-1)) / s


class RMSNorm(Function):
    """y = w x / sqrt(q + eps), with the mean square q of the features of each example.

    q = sum_c x_c^2 / C over the last axis: a `LayerNorm` that leaves the mean where it is. With h = x / sqrt(q + eps), and
    g = w dObj_dOut,

        dObj_dIn = (g - h mean_c (g h)) / sqrt(q + eps),

    grad_weight = sum over all leading axes of dObj_dOut h.

    Shape
    -----
    x, y : (..., C);  w : (C,);  q : (..., 1)

    Parameters
    ----------
    n : int
        C, the number of features.
    eps : float or None
        At least 0; None stands for the machine epsilon of the dtype, as in torch.
    rng : ignored
        Nothing is random here; `reset_parameters` sets the weight to 1.
    dtype : floating dtype

    Attributes
    ----------
    weight, grad_weight : ndarray (C,)
        w.

    Raises
    ------
    ValueError
        If the last axis of the input is not C.

    References
    ----------
    Zhang, Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()
    eps: float | None = checked(lambda owner, name, value: None if value is None else number(owner, name, value))

    def __init__(self, n: int, eps: float | None = None, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n = size(self, n=n)
        self.eps = eps
        self.make_parameters(dtype, weight=(n,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set the weight to 1."""
        self.weight.fill(1)

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.weight.dtype)
        eps = np.finfo(x.dtype).eps if self.eps is None else self.eps
        s = np.sqrt(mean_square(x, axis=-1) + eps).astype(x.dtype, copy=False)
        h = x / s
        self._remember(h, s)
        return self.weight * h

    def compute_backward(self, dObj_dOut: Any) -> Array:
        h, s = self._remembered()
        d = self._upstream(dObj_dOut, h.shape, h.dtype)
        self.grad_weight += total(d * h)
        g = self.weight * d
        return (g - h * mean(g * h, axis=-1)) / s


def mean(a: Array, axis: int | tuple[int, ...]) -> Array:
    """The mean over an axis, which stays with length 1."""
    return a.mean(axis=axis, keepdims=True)


def mean_square(a: Array, axis: int | tuple[int, ...]) -> Array:
    """The mean of the squares over an axis, which stays with length 1; in float32 for float16, in which 300^2 is inf."""
    return mean(np.square(a, dtype=wide(a.dtype)), axis)


def centred(x: Array, axis: int | tuple[int, ...]) -> tuple[Array, Array]:
    """The mean over an axis, and what is left of x without it.

    The second pass takes out what rounding has left of the mean: much, in float32, where x is far from 0.
    """
    m = mean(x, axis)
    c = x - m
    rest = mean(c, axis)
    return m + rest, c - rest
