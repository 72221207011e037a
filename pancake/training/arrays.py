"""What users hand in as data: made into arrays of real numbers, or refused with the line that repairs it."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from pancake.arguments import TEXTS, aligned, is_sparse, plain_array, text_columns
from pancake.memory import Array

ROWS = 1 << 16  # numbers that are looked at in one go

NAMES = "names become numbers by `names, y = np.unique(y, return_inverse=True)`"
OBJECTS = "`.to_numpy(float)` or `.astype(float)` makes numbers of it, with nan where one is missing"
MASKED = "`x.filled(value)` fills in what is behind the mask, `x[~np.ma.getmaskarray(x).any(axis=1)].data` leaves those rows out"


def real_array(owner: str, name: str, value: Any) -> Array:
    """`value` as an array of real numbers.

    Raises
    ------
    TypeError, ValueError
        If it is a masked array, or no array of real numbers. `owner` begins the message, which ends with what to do.
    """
    if hasattr(value, "mask") and isinstance(value, np.ma.MaskedArray):  # to load numpy.ma takes as long as a short training
        raise TypeError(f"{owner}: expected {name} without a mask, got a masked array; {MASKED}")
    try:
        array = plain_array(value)
    except ValueError:
        raise ValueError(
            f"{owner}: expected {name} to be an array, got rows of different lengths; pad them to one length, and pass lengths="
        ) from None
    if array.dtype.kind in "biuf":
        return array
    got = f"an array of dtype {array.dtype}" if array.ndim else f"{value!r}"[:80]
    raise TypeError(f"{owner}: expected {name} to be an array of real numbers, got {got}{_remedy(name, value, array)}")


def _remedy(name: str, value: Any, array: Array) -> str:
    if hasattr(value, "toarray"):
        return "; `.toarray()` makes an array of a sparse matrix"
    if array.dtype.kind in "USTO" and array.size and all(isinstance(entry, str) for entry in array.flat):
        return f"; {NAMES if name == 'y' else TEXTS}"
    texts = text_columns(value)
    if texts:
        return f"; there is text in {', '.join(map(repr, texts))}: {TEXTS}"
    if array.dtype.kind == "O" and array.ndim:
        return f"; {OBJECTS}"
    return ""


def first_not_finite(array: Array, counted: Any = None) -> tuple[int, ...] | None:
    """The index of the first nan or infinite number, if there is one.

    Parameters
    ----------
    array : ndarray (N, ...)
    counted : ndarray of bool, optional
        Which entries count, of the leading axes of `array`.
    """
    if array.dtype.kind != "f":
        return None
    if is_sparse(array):
        return _first_in_sparse(array, counted)
    with np.errstate(all="ignore"):
        if isfinite(np.add.reduce(array, axis=None, dtype=np.promote_types(array.dtype, np.float32))):
            return None  # which takes half as long as to look at each number, and no memory
    rows = max(1, ROWS // max(1, array[0].size))
    for start in range(0, len(array), rows):
        bad = ~np.isfinite(array[start : start + rows])
        if counted is not None:
            bad &= aligned(counted[start : start + rows], bad.ndim)
        if bad.any():
            row, *rest = (int(i) for i in np.argwhere(bad)[0])
            return start + row, *rest
    return None


def _first_in_sparse(matrix: Any, counted: Any) -> tuple[int, int] | None:
    places = np.flatnonzero(~np.isfinite(matrix.data))
    rows = np.searchsorted(matrix.indptr, places, "right") - 1
    found = rows if counted is None else np.where(counted[rows], rows, -1)
    return next(((int(row), int(matrix.indices[k])) for row, k in zip(found, places, strict=True) if row >= 0), None)


def place(array: Array, index: tuple[int, ...]) -> str:
    """An entry and where it stands, in words: "nan in row 3, column 1"."""
    row, *rest = index
    where = f"row {row}" + (f", column {rest[0]}" if len(rest) == 1 else f", at {rest}" if rest else "")
    return f"{array[index]} in {where}"


def counting(weight: Array | None, lengths: Array | None, ndim: int, length: int) -> Any:
    """Which entries count, as a mask of the leading axes of an array (N, T, ...): those with weight, and before the end."""
    mask: Any = None if weight is None else np.not_equal(weight, 0)
    if mask is not None and mask.ndim > ndim:
        mask = mask.any(axis=tuple(range(ndim, mask.ndim)))
    if lengths is None or ndim < 2:
        return mask
    valid = np.arange(length) < lengths[:, np.newaxis]
    if mask is None:
        return valid
    return valid & (mask[:, np.newaxis] if mask.ndim == 1 else mask.any(axis=tuple(range(2, mask.ndim))))
