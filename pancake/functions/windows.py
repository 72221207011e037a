"""Windows on images and sequences: gathered from an array, and summed back into one.

`Windows.of` only copies numbers, which is a linear map P. `Windows.sum` is its transpose P^T: what was copied from an entry goes
back to it, and is added up where windows overlap. Each is the derivative of the other, and together they are all that
convolutions and pooling need beside a product, a maximum or a mean.

In memory the batch comes last, (C, ..., B), under the public shapes (B, C, ...): windows then consist of long stretches, and side
by side they are the matrix of one product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from pancake.arguments import name_of, size
from pancake.function import Function
from pancake.memory import Array

PerAxis = int | tuple[int, ...]  # one number for all axes of an image, or one for each
LARGEST = 1 << 31  # of these numbers; NumPy does not see it where lengths are multiplied by more, and writes past the end


class Windows(NamedTuple):
    """Where windows lie: each has `kernel` entries that are `dilation` apart, and the next one begins `stride` further on.

    Attributes
    ----------
    kernel, stride, padding, dilation : tuple of int
        A number for each axis of an image: length, or height and width. `padding` is how many entries are imagined before
        the first and after the last one of an axis.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        """From the first to the last entry of a window, both included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def counts(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """How many windows there are along each axis of an image; less than 1 where none fits."""
        every = zip(self._padded(lengths), self.span, self.stride, strict=True)
        return tuple((length - span) // stride + 1 for length, span, stride in every)

    def lengths(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        """The lengths of the smallest image that has so many windows."""
        every = zip(counts, self.span, self.stride, self.padding, strict=True)
        return tuple((count - 1) * stride + span - 2 * p for count, span, stride, p in every)

    def of(self, x: Array, fill: float = 0.0) -> Array:
        """P x: all windows of images (B, C, *lengths), as (C, *kernel, *counts, B); `fill` is what stands in the padding."""
        x = np.moveaxis(x, 0, -1)
        if not any(self.padding):
            return self._view(np.ascontiguousarray(x))
        padded = np.full((len(x), *self._padded(x.shape[1:-1]), x.shape[-1]), fill, x.dtype)
        padded[self._inside()] = x
        return self._view(padded)

    def sum(self, windows: Array, lengths: tuple[int, ...]) -> Array:
        """P^T w: images (B, C, *lengths), each entry the sum of what windows (C, *kernel, *counts, B) have in its place."""
        padded = np.zeros((len(windows), *self._padded(lengths), windows.shape[-1]), windows.dtype)
        view = self._view(padded)
        for place in self.places():  # the same one in all windows, since it is another entry in each
            view[place] += windows[place]
        return batch_first(padded[self._inside()])

    def places(self) -> Iterator[tuple[Any, ...]]:
        """The places in a window, row by row, as indices of windows (C, *kernel, *counts, B)."""
        return ((slice(None), *place) for place in np.ndindex(*self.kernel))

    def _view(self, padded: Array) -> Array:
        """The windows of padded images (C, *padded lengths, B), in the memory of these."""
        of_channel, *of_entry, of_example = padded.strides
        counts = ((n - span) // stride + 1 for n, span, stride in zip(padded.shape[1:-1], self.span, self.stride, strict=True))
        return as_strided(
            padded,
            (len(padded), *self.kernel, *counts, padded.shape[-1]),
            (of_channel, *np.multiply(self.dilation, of_entry), *np.multiply(self.stride, of_entry), of_example),
        )

    def _padded(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(length + 2 * p for length, p in zip(lengths, self.padding, strict=True))

    def _inside(self) -> tuple[slice, ...]:
        """What padded images have between the padding."""
        return (slice(None), *(slice(p, -p or None) for p in self.padding))


def batch_first(y: Array) -> Array:
    """Images (B, C, ...) of an array that has the batch last, (C, ..., B), in the same memory."""
    return np.moveaxis(y, -1, 0)


def along_channels(a: Array, ndim: int = 4) -> Array:
    """A number for each channel, in a shape that broadcasts to (B, C, ...)."""
    return a.reshape(-1, *(1,) * (ndim - 2))


# --- what callers pass in ---


def per_axis(owner: object, name: str, value: Any, axes: int, least: int = 1) -> PerAxis:
    """`value` as a whole number of at least `least`, or as a tuple of one for each axis of an image, else refused."""
    if not isinstance(value, (tuple, list)):
        return _number(owner, name, value, least)
    if len(value) != axes:
        raise ValueError(f"{name_of(owner)}: expected {name} to be a whole number or {axes} of them, got {value!r}")
    return tuple(_number(owner, name, item, least) for item in value)


def _number(owner: object, name: str, value: Any, least: int) -> int:
    if isinstance(value, str) and value == "same":
        raise TypeError(
            f"{name_of(owner)}: expected {name} to be a whole number, got 'same'; with stride 1 and an odd kernel, "
            "dilation * (kernel_size - 1) // 2 keeps the size of images"
        )
    number = size(owner, least, **{name: value})
    if number > LARGEST:
        raise ValueError(f"{name_of(owner)}: expected {name} of at most {LARGEST}, got {value}")
    return number


def spread(value: PerAxis, axes: int) -> tuple[int, ...]:
    """One number for each axis of an image."""
    return value if isinstance(value, tuple) else (value,) * axes


def images(owner: Function, x: Array, axes: int, channels: int | None = None) -> Array:
    """`x`, refused if it is not (B, C, L) or (B, C, H, W), of that many channels where that matters."""
    if x.ndim == axes + 2 and channels in (None, x.shape[1]):
        return x
    letters = ["L"] if axes == 1 else ["H", "W"]
    hint = ""
    if x.ndim == 2:
        hint = f"; Reshape((-1, {channels or 'C'}, {', '.join(letters)})) with numbers for letters makes images of rows"
    elif x.ndim == axes + 1:
        hint = "; x[:, np.newaxis] gives images without channels one, x[np.newaxis] makes a batch of one image"
    elif x.ndim == axes + 2 and x.shape[-1] == channels:
        hint = f"; Transpose({(0, axes + 1, *range(1, axes + 1))}) moves channels from the last axis to the second"
    raise ValueError(f"{owner!r}: expected ({', '.join(['B', str(channels or 'C'), *letters])}), got {x.shape}{hint}")


def fitting(owner: Function, windows: Windows, x: Array) -> tuple[int, ...]:
    """How many windows images have along each axis, refused if there is none."""
    counts = windows.counts(x.shape[2:])
    if min(counts) < 1:
        padded = f" with padding {windows.padding}" if any(windows.padding) else ""
        raise ValueError(f"{owner!r}: expected images of at least {windows.span}, got {x.shape[2:]}{padded}, in {x.shape}")
    return counts
