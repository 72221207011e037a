"""Functions that move numbers about without changing them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from pancake.arguments import as_array, axes_argument, axes_of, length, several, whole
from pancake.function import Function, wide
from pancake.memory import Array


class Transpose(Function):
    """y is x with its axes in another order: axis k of y is axis `axes[k]` of x.

    dObj_dIn is dObj_dOut with its axes back in place. Source: the definition.

    Shape
    -----
    x : as many axes as `axes` names;  y : its axes in that order. (B, T, I) becomes (B, I, T) with axes (0, 2, 1)

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

    dObj_dIn is dObj_dOut in the shape of x. Source: the definition.

    Shape
    -----
    x : any shape with as many entries as the new one;  y : the new one

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
    """y has one axis for all entries of an example: the batch becomes a table.

    dObj_dIn is dObj_dOut in the shape of x. Source: the definition.

    Shape
    -----
    x : (B, ...);  y : (B, I), I the number of entries of an example

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


# What NumPy takes as one index: a number drops the axis, a slice and a list of numbers keep it.
Index: TypeAlias = "int | slice | Sequence[int]"


class Select(Function):
    """y = x[..., index]: some entries along an axis, one of them, or a slice.

    dObj_dIn is dObj_dOut in the places that were picked, added up where one was picked twice, and 0 elsewhere. Whole numbers
    stay whole, so that an `Embedding` can take them. Source: the definition.

    Shape
    -----
    x : (..., I), or I on another axis;  y : (...) for a number, which drops the axis as in NumPy; (..., O) for a slice or a list

    Parameters
    ----------
    index : int, slice or sequence of int
        Which entries, counted from the end where negative: 0, slice(1, None), [0, 3]. `Select(-1, axis=1)` is the last step of
        sequences (B, T, I).
    axis : int
        Along which axis, counted from the end where negative.

    Raises
    ------
    TypeError
        If the index is none of these.
    ValueError
        If the input does not have the axis, or not these entries.

    References
    ----------
    https://numpy.org/doc/stable/user/basics.indexing.html
    """

    def __init__(self, index: Index, axis: int = -1) -> None:
        if isinstance(index, slice):
            ends = (None if end is None else whole(self, "index", end) for end in (index.start, index.stop, index.step))
            self.index: Index = slice(*ends)
            if self.index.step == 0:
                raise ValueError(f"Select: expected a slice with a step other than 0, got {index!r}")
        elif isinstance(index, bool) or several(index):
            entries = [index] if isinstance(index, bool) else list(index)
            if not entries or any(isinstance(entry, (bool, np.bool_)) for entry in entries):
                raise TypeError(
                    f"Select: expected index to be a number, a slice or a list of numbers, got {index!r}; "
                    "np.flatnonzero(mask) makes numbers of a mask"
                )
            self.index = list(axes_argument(self, "index", entries))
        else:
            self.index = whole(self, "index", index)
        self.axis = whole(self, "axis", axis)

    def compute_forward(self, x: Any) -> Array:
        x = as_array(self, x, "input")
        x = x if x.dtype.kind in "iu" and x.size else self._floats(x)
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"{self!r}: expected an input that has axis {self.axis}, got shape {x.shape}")
        place = self._place(x.ndim)
        try:
            y = np.array(x[place])
        except IndexError:
            y = np.empty(0)
        if not y.size:
            raise ValueError(f"{self!r}: expected an input that has these entries on axis {self.axis}, got shape {x.shape}")
        self._remember(x.shape, place, y.shape, x.dtype if x.dtype.kind == "f" else np.dtype(np.float64))
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, place, *output = self._remembered()
        d = self._upstream(dObj_dOut, *output)
        dObj_dIn = np.zeros(shape, d.dtype)
        np.add.at(dObj_dIn, place, d)
        return dObj_dIn

    def _place(self, ndim: int) -> tuple[Any, ...]:
        """What picks the entries of an array of so many axes."""
        (axis,) = axes_of(self, self.axis, ndim)
        return *[slice(None)] * axis, self.index


class Expand(Function):
    """y repeats x along a new axis.

    dObj_dIn = sum of dObj_dOut over that axis, since every copy counts. `Sum(axis)` is the way back, as `Expand` is its
    derivative. Source: the sum rule.

    Shape
    -----
    x : (...), any shape;  y : that of x with one more axis. (B, I) becomes (B, copies, I) with axis=1

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
        self.axis, self.copies = whole(self, "axis", axis), length(self, copies=copies)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        (axis,) = axes_of(self, self.axis, x.ndim + 1)
        y = np.repeat(np.expand_dims(x, axis), self.copies, axis)
        self._remember(y.shape, y.dtype)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._upstream(dObj_dOut, *self._remembered())
        return d.sum(axis=self.axis, dtype=wide(d.dtype)).astype(d.dtype)
