"""Functions that move numbers about without changing them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pancake.arguments import axes_argument, axes_of, size, whole
from pancake.function import Function
from pancake.memory import Array


class Transpose(Function):
    """y is x with its axes in another order: axis k of y is axis `axes[k]` of x.

    dObj_dIn is dObj_dOut with its axes back in place. x has as many axes as `axes` names; (B, T, I) becomes (B, I, T) with
    axes (0, 2, 1). Source: the definition.

    Parameters
    ----------
    axes : sequence of int
        Each axis of the input once, counted from the end where negative.

    Raises
    ------
    ValueError
        If `axes` does not name every axis of the input.

    References
    ----------
    https://numpy.org/doc/stable/reference/generated/numpy.transpose.html
    """

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = axes_argument(self, "axes", axes)
        if sorted(axes_of(self, self.axes, len(self.axes))) != list(range(len(self.axes))):
            raise ValueError(f"Transpose: expected every axis once, got {axes}")

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        if x.ndim != len(self.axes):
            raise ValueError(f"{self!r}: expected an input of {len(self.axes)} axes, got {x.shape}")
        y = x.transpose(self.axes).copy()
        self._remember(y.shape, y.dtype)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._upstream(dObj_dOut, *self._remembered())
        return d.transpose(np.argsort(axes_of(self, self.axes, d.ndim))).copy()


class Reshape(Function):
    """y has the numbers of x, in the same order, in another shape.

    dObj_dIn is dObj_dOut in the shape of x. x has any shape with as many entries as the new one. Source: the definition.

    Parameters
    ----------
    shape : int or sequence of int
        The whole new shape, the batch's axis included. One length may be -1: as many as are left, so that
        `Reshape((-1, 8, 8))` takes a batch of any size.

    Raises
    ------
    ValueError
        If the input cannot have that shape.

    References
    ----------
    https://numpy.org/doc/stable/reference/generated/numpy.reshape.html
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = axes_argument(self, "shape", shape if isinstance(shape, Iterable) else [shape])
        if self.shape.count(-1) > 1 or any(length < 1 and length != -1 for length in self.shape):
            raise ValueError(f"Reshape: expected lengths of at least 1, and -1 at most once, got {shape}")

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        try:
            y = x.reshape(self.shape).copy()
        except ValueError:
            raise ValueError(
                f"{self!r}: expected an input with {_entries(self.shape)} entries, got {x.shape}, which has {x.size}"
            ) from None
        self._remember(x.shape, y.shape, y.dtype)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, *output = self._remembered()
        return self._upstream(dObj_dOut, *output).reshape(shape).copy()


def _entries(shape: tuple[int, ...]) -> str:
    known = math.prod(length for length in shape if length != -1)
    return f"a multiple of {known}" if -1 in shape else str(known)


class Flatten(Function):
    """y has one axis for each example: (B, ...) becomes (B, I), I the number of entries of an example.

    dObj_dIn is dObj_dOut in the shape of x. Source: the definition.

    Raises
    ------
    ValueError
        If the input is a single number, without an axis for the batch.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Flatten.html
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        if x.ndim == 0:
            raise ValueError(f"{self!r}: expected a batch (B, ...), got a single number")
        y = x.reshape(len(x), -1).copy()
        self._remember(x.shape, y.shape, y.dtype)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, *output = self._remembered()
        return self._upstream(dObj_dOut, *output).reshape(shape).copy()


class Expand(Function):
    """y repeats x along a new axis.

    dObj_dIn = sum of dObj_dOut over that axis, since every copy counts. With axis=1, (B, I) becomes (B, copies, I).
    `Sum(axis)` is the way back, as `Expand` is its derivative. Source: the sum rule.

    Parameters
    ----------
    axis : int
        Where the new axis stands in the output, counted from the end where negative.
    copies : int
        Its length.

    Raises
    ------
    ValueError
        If the output does not have such an axis.
    """

    def __init__(self, axis: int, copies: int) -> None:
        self.axis, self.copies = whole(self, "axis", axis), size(self, copies=copies)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        (axis,) = axes_of(self, self.axis, x.ndim + 1)
        y = np.repeat(np.expand_dims(x, axis), self.copies, axis)
        self._remember(y.shape, y.dtype)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        return self._upstream(dObj_dOut, *self._remembered()).sum(axis=self.axis)
