"""What keeps signals in range and nets from learning by heart: normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pancake.arguments import Rng, floating_dtype, number, numeric, share, size
from pancake.function import Function, rows, total
from pancake.memory import Array
from pancake.tree import parameter


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

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.weight.dtype)
        N = x.size // self.n
        if self.training and N == 1:
            raise ValueError(
                f"{self!r}: expected more than one example in training, got {x.shape}, whose variance is 0; "
                "use larger batches, or eval() to normalise with the running statistics"
            )
        if self.training:
            mean, centred = _centred(rows(x), axis=0)
            var = _mean(centred * centred, axis=0)
            self._track(mean[0], var[0] * (N / (N - 1)))
        else:
            centred, var = rows(x) - self.running_mean, self.running_var
        s = np.sqrt(var + self.eps)
        h = centred / s
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

    def __init__(self, n: int, eps: float = 1e-5, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n = size(self, n=n)
        self.eps = number(self, "eps", eps)
        self.make_parameters(dtype, weight=(n,), bias=(n,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set the weight to 1 and the bias to 0."""
        self.weight.fill(1)
        self.bias.fill(0)

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.weight.dtype)
        _, centred = _centred(x, axis=-1)
        s = np.sqrt(_mean(centred * centred, axis=-1) + self.eps)
        h = centred / s
        self._remember(h, s)
        return self.weight * h + self.bias

    def compute_backward(self, dObj_dOut: Any) -> Array:
        h, s = self._remembered()
        d = self._upstream(dObj_dOut, h.shape, h.dtype)
        self.grad_weight += total(d * h)
        self.grad_bias += total(d)
        g = self.weight * d
        return (g - _mean(g, axis=-1) - h * _mean(g * h, axis=-1)) / s


class Standardize(Function):
    """y = (x - m) / s for each feature, with a mean m and a scale s that are given: nothing here is trained.

    dObj_dIn = dObj_dOut / s. As the first layer it makes scaling a part of the model, and of its file: `Standardize.of(X)`
    takes m and s from data, those of a column of X and its standard deviation, with 1 for the scale of a constant column.

    Shape
    -----
    x, y : (..., C);  m, s : (C,)

    Parameters
    ----------
    n : int
        C, the number of features.
    mean : array_like (C,), optional
        m, 0 if not given.
    scale : array_like (C,), optional
        s, each more than 0; 1 if not given.
    rng : ignored
        Nothing is random here.
    dtype : floating dtype
        Of m and s, and of all that comes out.

    Attributes
    ----------
    mean, scale : ndarray (C,)
        m and s, which are saved with the model.

    Raises
    ------
    ValueError
        If the last axis of the input is not C.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.StandardScaler.html
    """

    buffers = ("mean", "scale")

    def __init__(
        self,
        n: int,
        mean: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        *,
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n = size(self, n=n)
        self.mean: Array = np.zeros(n, floating_dtype(self, dtype))
        self.scale: Array = np.ones_like(self.mean)
        for name, value in (("mean", mean), ("scale", scale)):
            if value is not None:
                vars(self)[name][...] = self._given(name, value)
        if not (self.scale > 0).all():
            raise ValueError(
                f"Standardize({n}): expected every scale to be more than 0, got {self.scale.min()}; 1 leaves a constant column "
                "as it is, which is what Standardize.of(X) does"
            )

    @classmethod
    def of(cls, X: ArrayLike, *, dtype: DTypeLike = np.float64) -> Standardize:
        """The layer with the mean and the standard deviation of each column of X, all leading axes being the examples.

        Parameters
        ----------
        X : array_like (..., C)
        dtype : floating dtype
            Of the layer; the statistics are computed in float64.

        Raises
        ------
        TypeError, ValueError
            If X is no array of finite real numbers with at least one example.
        """
        data = numeric(cls, X, "X").astype(np.float64)
        if data.ndim < 2 or not data.size:
            hint = "; reshape(-1, 1) makes one feature of it" if data.ndim == 1 and data.size else ""
            raise ValueError(f"Standardize.of: expected X of shape (..., C) with at least one example, got {data.shape}{hint}")
        data = data.reshape(-1, data.shape[-1])
        finite = np.isfinite(data).all(axis=0)
        if not finite.all():
            raise ValueError(
                f"Standardize.of: expected finite numbers, got nan or infinity in column {int(np.argmin(finite))} of X; fill in "
                "what is missing first, or leave those rows out"
            )
        constant = data.min(axis=0) == data.max(axis=0)
        mean, centred = _centred(data, axis=0)
        scale = np.sqrt(_mean(centred * centred, axis=0))[0]
        return cls(data.shape[1], np.where(constant, data[0], mean[0]), np.where(constant, 1, scale), dtype=dtype)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Leave mean and scale as they are: they come from the data."""

    def _given(self, name: str, value: ArrayLike) -> Array:
        array = numeric(self, value, name)
        if array.shape != (self.n,) or not np.isfinite(array).all():
            got = f"an array of shape {array.shape}" if array.shape != (self.n,) else "nan or infinity in it"
            raise ValueError(f"Standardize({self.n}): expected {name} to be {self.n} finite numbers, got {got}")
        return array

    def _arguments(self) -> dict[str, Any]:
        short = self.n <= 20  # what a repr has room for; files keep both as buffers
        given = {"mean": self.mean.tolist(), "scale": self.scale.tolist()} if short else {}
        return {"n": self.n, **given, "dtype": self.mean.dtype}

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.mean.dtype)
        self._remember(x.shape, self.scale)
        return (x - self.mean) / self.scale

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, s = self._remembered()
        return self._upstream(dObj_dOut, shape, s.dtype) / s


def _mean(a: Array, axis: int) -> Array:
    """The mean over an axis, which stays with length 1."""
    return a.mean(axis=axis, keepdims=True)


def _centred(x: Array, axis: int) -> tuple[Array, Array]:
    """The mean over an axis, and what is left of x without it.

    The second pass takes out what rounding has left of the mean: much, in float32, where x is far from 0.
    """
    mean = _mean(x, axis)
    centred = x - mean
    rest = _mean(centred, axis)
    return mean + rest, centred - rest
