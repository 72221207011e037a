"""Normalisation of images, whose channels are their second axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, number, size
from pancake.attributes import checked, parameter
from pancake.function import Function, total
from pancake.functions.normalization import BatchNorm, centred, mean, mean_square
from pancake.functions.windows import along_channels, images
from pancake.memory import Array


class BatchNorm2d(BatchNorm):
    """y = w (x - m) / sqrt(v + eps) + b for each channel, with the mean m and the variance v of that channel.

    All entries of all images are the N = B H W examples of a channel; in training m and v are those of the batch, in evaluation
    the running ones, as in `BatchNorm`. With h = (x - m) / sqrt(v + eps), and d for dObj_dOut,

        dObj_dIn = w / sqrt(v + eps) (d - mean_n d - h mean_n (d h))  in training,
        dObj_dIn = w / sqrt(v + eps) d                                in evaluation,

    grad_weight = sum_n d h, grad_bias = sum_n d.

    Shape
    -----
    x, y : (B, C, H, W);  w, b, m, v : (C,)

    Parameters
    ----------
    n : int
        C, the number of channels.
    momentum, eps, rng, dtype
        As in `BatchNorm`.

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
        If the input is not (B, C, H, W); in training also if there is one entry only, which has no variance.

    References
    ----------
    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift" (2015),
    section 3.2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
    """

    def __init__(
        self, n: int, momentum: float = 0.1, eps: float = 1e-5, *, rng: Rng = None, dtype: DTypeLike = np.float64
    ) -> None:
        super().__init__(n, momentum, eps, rng=rng, dtype=dtype)

    def compute_forward(self, x: Any) -> Array:
        x = images(self, self._floats(x, self.weight.dtype), 2, self.n)
        if self.training:
            N = self._examples(x)
            m, c = centred(x, axis=(0, 2, 3))
            v = mean_square(c, axis=(0, 2, 3))
            self._track(m.ravel(), v.ravel() * (N / (N - 1)))
        else:
            c, v = x - along_channels(self.running_mean), along_channels(self.running_var)
        s = np.sqrt(v + self.eps).astype(x.dtype, copy=False)
        h = c / s
        self._remember(h, s, self.training)
        return along_channels(self.weight) * h + along_channels(self.bias)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        h, s, training = self._remembered()
        d = self._upstream(dObj_dOut, h.shape, h.dtype)
        self.grad_weight += total(np.moveaxis(d * h, 1, -1))
        self.grad_bias += total(np.moveaxis(d, 1, -1))
        if training:
            d = d - mean(d, axis=(0, 2, 3)) - h * mean(d * h, axis=(0, 2, 3))
        return along_channels(self.weight) / s * d


class GroupNorm(Function):
    """y = w (x - m) / sqrt(v + eps) + b, with the mean m and the variance v of a group of channels of each example.

    The C channels are cut into G groups of neighbours; m and v are taken over all entries of a group. With the normalised input
    h = (x - m) / sqrt(v + eps), and g = w dObj_dOut,

        dObj_dIn = (g - mean g - h mean (g h)) / sqrt(v + eps),

    the means over a group; grad_weight = sum over all but the channels of dObj_dOut h, grad_bias = sum of dObj_dOut. One group
    is a layer normalisation of whole images, a group for each channel an "instance normalisation".

    Shape
    -----
    x, y : (B, C, ...), such as (B, C, L) or (B, C, H, W);  w, b : (C,);  m, v : (B, G)

    Parameters
    ----------
    groups, n : int
        G and C, the numbers of groups and of channels; G divides C.
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
        If the second axis of the input is not C.

    References
    ----------
    Wu, He, "Group Normalization" (2018), equations 1, 2 and 7.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()
    bias: Array = parameter()
    grad_bias: Array = parameter()
    eps: float = checked(number)

    def __init__(self, groups: int, n: int, eps: float = 1e-5, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.groups, self.n = size(self, groups=groups), size(self, n=n)
        if n % groups:
            raise ValueError(f"GroupNorm: expected groups that divide {n} channels, got {groups}")
        self.eps = eps
        self.make_parameters(dtype, weight=(n,), bias=(n,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set the weight to 1 and the bias to 0."""
        self.weight.fill(1)
        self.bias.fill(0)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x, self.weight.dtype)
        if x.ndim < 2 or x.shape[1] != self.n:
            raise ValueError(f"{self!r}: expected (B, {self.n}, ...), got {x.shape}")
        x_groups = self._in_groups(x)
        over = tuple(range(2, x_groups.ndim))
        _, c = centred(x_groups, over)
        s = np.sqrt(mean_square(c, over) + self.eps).astype(x.dtype, copy=False)
        h = (c / s).reshape(x.shape)
        self._remember(h, s)
        return along_channels(self.weight, x.ndim) * h + along_channels(self.bias, x.ndim)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        h, s = self._remembered()
        d = self._upstream(dObj_dOut, h.shape, h.dtype)
        self.grad_weight += total(np.moveaxis(d * h, 1, -1))
        self.grad_bias += total(np.moveaxis(d, 1, -1))
        g, h = self._in_groups(along_channels(self.weight, d.ndim) * d), self._in_groups(h)
        over = tuple(range(2, g.ndim))
        return ((g - mean(g, over) - h * mean(g * h, over)) / s).reshape(d.shape)

    def _in_groups(self, a: Array) -> Array:
        """(B, C, ...) as (B, G, C / G, ...)."""
        return a.reshape(len(a), self.groups, -1, *a.shape[2:])
