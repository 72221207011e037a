"""What keeps signals in range and nets from learning by heart: normalisation and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, number, share, size
from pancake.function import Function, parameter
from pancake.memory import Array


class BatchNorm(Function):
    """y = w (x - m) / sqrt(v + eps) + b for each feature, with the mean m and the variance v of that feature.

    x and y have shape (..., C), and all leading axes together count as the N examples. In training m and v are those of the
    batch, v = sum_n (x_n - m)^2 / N. In evaluation they are the running ones, which every forward in training moves:
    running <- (1 - momentum) running + momentum batch, where the batch's variance is the unbiased one, v N / (N - 1).
    With the normalised input h = (x - m) / sqrt(v + eps), and d for dObj_dOut,

        dObj_dIn = w / sqrt(v + eps) (d - mean_n d - h mean_n (d h))  in training,
        dObj_dIn = w / sqrt(v + eps) d                                in evaluation,

    grad_weight = sum_n d h, grad_bias = sum_n d.

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
        If the last axis of the input is not C; in training also if there is one example only, which has no variance.

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

    def __init__(
        self, n: int, momentum: float = 0.1, eps: float = 1e-5, *, rng: Rng = None, dtype: DTypeLike = np.float64
    ) -> None:
        self.n = size(self, n=n)
        self.momentum = share(self, "momentum", momentum)
        self.eps = number(self, "eps", eps)
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

    def _has_parameters(self) -> bool:
        return True

    def compute_forward(self, x: Any) -> Array:
        x = _features(self, x, self.n, self.weight.dtype)
        rows = x.reshape(-1, self.n)
        if self.training:
            count = len(rows)
            if count == 1:
                raise ValueError(
                    f"{self!r}: expected more than one example in training, got {x.shape}, whose variance is 0; "
                    "use larger batches, or eval() to normalise with the running statistics"
                )
            mean = _sum(rows) / count
            h = rows - mean
            rest = _sum(h) / count  # what rounding has left of the mean: much, in float32, where the mean is large
            h -= rest
            mean += rest
            var: Array = _sum(h * h) / count
            self._track(mean, var * (count / (count - 1)))
        else:
            h = rows - self.running_mean
            var = self.running_var
        scale = 1 / np.sqrt(var + self.eps)
        h *= scale
        self._cache = h, scale, x.shape, self.training
        y: Array = h * self.weight
        y += self.bias
        return y.reshape(x.shape)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d, sum_d, sum_dh = self._accumulate(dObj_dOut)
        h, scale, shape, training = self._cache
        dObj_dIn: Array
        if training:
            dObj_dIn = h * (sum_dh * (-1 / len(h)))
            dObj_dIn -= sum_d / len(h)
            dObj_dIn += d
            dObj_dIn *= scale * self.weight
        else:
            dObj_dIn = d * (scale * self.weight)
        return dObj_dIn.reshape(shape)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Add to grad_weight and grad_bias only."""
        self._accumulate(dObj_dOut)

    def _accumulate(self, dObj_dOut: Any) -> tuple[Array, Array, Array]:
        """Add to the gradients; return dObj_dOut as rows (N, C), its sum, and the sum of its product with h."""
        h, _, shape, _ = self._remembered()
        d = self._upstream(dObj_dOut, shape, h.dtype).reshape(-1, self.n)
        sum_d, sum_dh = _sum(d), _sum(d * h)
        self.grad_weight += sum_dh
        self.grad_bias += sum_d
        return d, sum_d, sum_dh

    def _track(self, mean: Array, var: Array) -> None:
        for running, batch in ((self.running_mean, mean), (self.running_var, var)):
            running *= 1 - self.momentum
            running += self.momentum * batch
        self.num_batches_tracked += 1


class LayerNorm(Function):
    """y = w (x - m) / sqrt(v + eps) + b, with the mean m and the variance v of the features of each example.

    x and y have shape (..., C); m and v are taken over the last axis, v = sum_c (x_c - m)^2 / C. With the normalised input
    h = (x - m) / sqrt(v + eps), and g = w dObj_dOut,

        dObj_dIn = (g - mean_c g - h mean_c (g h)) / sqrt(v + eps),

    grad_weight = sum over all leading axes of dObj_dOut h, grad_bias = sum of dObj_dOut.

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

    def __init__(self, n: int, eps: float = 1e-5, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n = size(self, n=n)
        self.eps = number(self, "eps", eps)
        self.make_parameters(dtype, weight=(n,), bias=(n,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set the weight to 1 and the bias to 0."""
        self.weight.fill(1)
        self.bias.fill(0)

    def _has_parameters(self) -> bool:
        return True

    def compute_forward(self, x: Any) -> Array:
        x = _features(self, x, self.n, self.weight.dtype)
        rows = x.reshape(-1, self.n)
        h = rows - self._mean(rows)
        scale = 1 / np.sqrt(self._mean(h * h) + self.eps)
        h *= scale
        self._cache = h, scale, x.shape
        y: Array = h * self.weight
        y += self.bias
        return y.reshape(x.shape)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._accumulate(dObj_dOut)
        h, scale, shape = self._cache
        g = d * self.weight
        dObj_dIn: Array = h * -self._mean(g * h)
        dObj_dIn += g
        dObj_dIn -= self._mean(g)
        dObj_dIn *= scale
        return dObj_dIn.reshape(shape)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Add to grad_weight and grad_bias only."""
        self._accumulate(dObj_dOut)

    def _accumulate(self, dObj_dOut: Any) -> Array:
        """Add to the gradients and return dObj_dOut as rows (N, C)."""
        h, _, shape = self._remembered()
        d = self._upstream(dObj_dOut, shape, h.dtype).reshape(-1, self.n)
        self.grad_weight += _sum(d * h)
        self.grad_bias += _sum(d)
        return d

    def _mean(self, rows: Array) -> Array:
        """The mean of each row, as a column."""
        mean: Array = rows.dot(np.ones((self.n, 1), rows.dtype))
        mean /= self.n
        return mean


def _features(layer: Function, x: Any, n: int, dtype: np.dtype[Any]) -> Array:
    features: Array = layer._floats(x).astype(dtype, copy=False)
    if features.ndim == 0 or features.shape[-1] != n:
        raise ValueError(f"{layer!r}: expected (..., {n}), got {features.shape}")
    return features


def _sum(rows: Array) -> Array:
    """The sum of all rows. As a product it is rounded less often than row after row, and up to 128 rows it is faster."""
    total: Array = np.ones(len(rows), rows.dtype).dot(rows)
    return total
