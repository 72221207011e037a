"""Pooling: the largest or the mean number of every window, and the way back to larger images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pancake.function import Function, divided, wide
from pancake.functions.windows import PerAxis, Windows, batch_first, fitting, images, per_axis, spread
from pancake.memory import Array


class Pooling(Function):
    """Base of the layers that make one number of every window, in each channel by itself.

    Attributes
    ----------
    axes : int
        How many axes an image has.
    """

    axes: int

    def __init__(self, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0) -> None:
        self.kernel_size = per_axis(self, "kernel_size", kernel_size, self.axes)
        self.stride = None if stride is None else per_axis(self, "stride", stride, self.axes)
        self.padding = per_axis(self, "padding", padding, self.axes, least=0)
        windows = self._windows()
        if any(2 * p > k for p, k in zip(windows.padding, windows.kernel, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: expected padding of at most half of kernel_size {kernel_size}, got {padding}: "
                "or else there would be windows with nothing in them"
            )

    def _windows(self) -> Windows:
        """Where the windows lie in an image: side by side, if there is no stride."""
        stride = self.kernel_size if self.stride is None else self.stride
        return Windows(*(spread(value, self.axes) for value in (self.kernel_size, stride, self.padding, 1)))

    def _inside(self) -> tuple[int, ...]:
        """The axes that are a window, in windows (C, *kernel, *counts, B)."""
        return tuple(range(1, self.axes + 1))


class MaxPooling(Pooling):
    """Base of `MaxPool1d` and `MaxPool2d`, which differ in the number of axes."""

    def compute_forward(self, x: Any) -> Array:
        x = images(self, self._floats(x), self.axes)
        windows = self._windows()
        counts = fitting(self, windows, x)
        candidates = windows.of(x, fill=-np.inf)
        y = np.full((x.shape[1], *counts, len(x)), -np.inf, x.dtype)
        for place in windows.places():
            np.maximum(y, candidates[place], out=y)
        self._remember(x, y)
        return batch_first(y)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, y = self._remembered()
        d = np.moveaxis(self._upstream(dObj_dOut, batch_first(y).shape, y.dtype), 0, -1)
        windows = self._windows()
        candidates = windows.of(x, fill=np.nan)  # which equals nothing, so that no padding is the largest
        share, free = np.empty(candidates.shape, y.dtype), np.ones(y.shape, bool)
        for place in windows.places():
            first = free & (candidates[place] == y)
            share[place] = d * first
            free &= ~first
        return windows.sum(share, x.shape[2:])


class MaxPool1d(MaxPooling):
    """y = max of x over every window of a sequence, in each channel.

    dy/dx = 1 for the largest entry of a window, and for the first of them where several are, as in torch; else 0. Where windows
    overlap, dObj_dIn is the sum over all windows in which an entry is the largest.

    Shape
    -----
    x : (B, C, L);  y : (B, C, L'), L' = (L + 2 padding - k) // stride + 1

    Parameters
    ----------
    kernel_size, stride, padding : int
        As in `MaxPool2d`, on one axis; k is the number of entries of a window.

    Raises
    ------
    ValueError
        If the input is not (B, C, L), or shorter than a window.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html
    """

    axes = 1


class MaxPool2d(MaxPooling):
    """y = max of x over every window of an image, in each channel.

    dy/dx = 1 for the largest entry of a window, and for the first of them, row by row, where several are, as in torch; else 0.
    Where windows overlap, dObj_dIn is the sum over all windows in which an entry is the largest.

    Shape
    -----
    x : (B, C, H, W);  y : (B, C, H', W'), H' = (H + 2 padding - k) // stride + 1, and W' likewise

    Parameters
    ----------
    kernel_size : int or (int, int)
        k, the numbers of rows and columns of a window.
    stride : int, (int, int) or None
        From the start of one window to that of the next; None stands for k, windows side by side.
    padding : int or (int, int)
        Entries added on each side of the image, which are never the largest. At most k / 2.

    Raises
    ------
    ValueError
        If the input is not (B, C, H, W), or smaller than a window.

    References
    ----------
    Ranzato, Huang, Boureau, LeCun, "Unsupervised Learning of Invariant Feature Hierarchies with Applications to Object
    Recognition" (2007), section 3.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html
    """

    axes = 2


class AvgPooling(Pooling):
    """Base of `AvgPool1d` and `AvgPool2d`, which differ in the number of axes."""

    def compute_forward(self, x: Any) -> Array:
        x = images(self, self._floats(x), self.axes)
        windows = self._windows()
        fitting(self, windows, x)
        y = windows.of(x).mean(axis=self._inside())
        self._remember(x.shape, batch_first(y).shape, y.dtype)
        return batch_first(y)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, *output = self._remembered()
        windows = self._windows()
        d = divided(np.moveaxis(self._upstream(dObj_dOut, *output), 0, -1), math.prod(windows.kernel))
        share = np.broadcast_to(np.expand_dims(d, self._inside()), (d.shape[0], *windows.kernel, *d.shape[1:]))
        return windows.sum(share, shape[2:])


class AvgPool1d(AvgPooling):
    """y = mean of x over every window of a sequence, in each channel; zeros of the padding count, as in torch.

    dy/dx = 1 / k for each entry of a window, so that dObj_dIn is the sum of dObj_dOut / k over all windows of an entry.

    Shape
    -----
    x : (B, C, L);  y : (B, C, L'), L' = (L + 2 padding - k) // stride + 1

    Parameters
    ----------
    kernel_size, stride, padding : int
        As in `AvgPool2d`, on one axis; k is the number of entries of a window.

    Raises
    ------
    ValueError
        If the input is not (B, C, L), or shorter than a window.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html
    """

    axes = 1


class AvgPool2d(AvgPooling):
    """y = mean of x over every window of an image, in each channel; zeros of the padding count, as in torch.

    dy/dx = 1 / k^2 for each entry of a window, so that dObj_dIn is the sum of dObj_dOut / k^2 over all windows of an entry.

    Shape
    -----
    x : (B, C, H, W);  y : (B, C, H', W'), H' = (H + 2 padding - k) // stride + 1, and W' likewise

    Parameters
    ----------
    kernel_size : int or (int, int)
        k, the numbers of rows and columns of a window.
    stride : int, (int, int) or None
        From the start of one window to that of the next; None stands for k, windows side by side.
    padding : int or (int, int)
        Zeros on each side of the image. At most k / 2.

    Raises
    ------
    ValueError
        If the input is not (B, C, H, W), or smaller than a window.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998), section II.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html
    """

    axes = 2


class GlobalAvgPool2d(Function):
    """y = mean of x over the whole image, in each channel.

    dy/dx = 1 / (H W), so every entry of an image receives dObj_dIn = dObj_dOut / (H W).

    Shape
    -----
    x : (B, C, H, W);  y : (B, C)

    Raises
    ------
    ValueError
        If the input is not (B, C, H, W).

    References
    ----------
    Lin, Chen, Yan, "Network In Network" (2014), section 3.2.
    """

    def compute_forward(self, x: Any) -> Array:
        x = images(self, self._floats(x), 2)
        self._remember(x.shape, x.dtype)
        return x.mean(axis=(2, 3))

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, dtype = self._remembered()
        d = divided(self._upstream(dObj_dOut, shape[:2], dtype), math.prod(shape[2:]))
        return np.broadcast_to(d[:, :, np.newaxis, np.newaxis], shape).copy()


class Upsample(Function):
    """y repeats every entry of an image `scale` times along each of its axes ("nearest").

    dObj_dIn is, for every entry, the sum of dObj_dOut over its copies. Source: the sum rule.

    Shape
    -----
    x : (B, C, L) or (B, C, H, W);  y : (B, C, scale L) or (B, C, scale H, scale W)

    Parameters
    ----------
    scale : int or tuple of int
        How often, along all axes of an image, or along each.

    Raises
    ------
    ValueError
        If the input is not (B, C, L) or (B, C, H, W), or has not as many axes as there are scales.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Upsample.html, with mode="nearest"
    """

    def __init__(self, scale: PerAxis) -> None:
        self.scale = per_axis(self, "scale", scale, 1 if isinstance(scale, (tuple, list)) and len(scale) == 1 else 2)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        x = images(self, x, len(self.scale) if isinstance(self.scale, tuple) else 1 if x.ndim == 3 else 2)
        y = x
        for axis, scale in enumerate(spread(self.scale, x.ndim - 2), start=2):
            y = np.repeat(y, scale, axis)
        self._remember(x.shape, y.shape, y.dtype)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, *output = self._remembered()
        d = self._upstream(dObj_dOut, *output)
        for axis, length in enumerate(shape[2:], start=2):
            copies = d.reshape(*d.shape[:axis], length, -1, *d.shape[axis + 1 :])
            d = copies.sum(axis=axis + 1, dtype=wide(d.dtype)).astype(d.dtype)
        return d
