"""Arrays in few words: shape, range, and the numbers themselves where they are few."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.explaining.remarks import arrays_in, norm
from pancake.memory import Array

FEW = 12  # numbers that are shown one by one
DIGITS = 4


def shape_of(value: Any) -> str:
    """(4, 3), or the shapes of several arrays."""
    if isinstance(value, tuple):
        return " and ".join(map(shape_of, value)) or "nothing"
    return "none" if value is None else str(np.shape(value))


def short(number: float) -> str:
    """A number to four digits."""
    return f"{number + 0.0:.{DIGITS}g}"  # of -0.0 too


def range_of(value: Any) -> str:
    """From where to where the numbers go, and how large they are."""
    arrays = [array for array in arrays_in(value) if array.size]
    if not arrays or any(array.dtype.kind not in "biuf" for array in arrays):
        return ""
    low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
    return f"from {short(low)} to {short(high)}, norm {short(norm(value))}"


def few(array: Array) -> str:
    """The numbers, or the first of them."""
    flat = np.asarray(array).reshape(-1)
    shown = flat if flat.size <= FEW else flat[: FEW // 2]
    rows = np.array2string(
        shown.reshape(array.shape) if flat.size <= FEW else shown,
        precision=3,
        suppress_small=False,
        separator=", ",
        max_line_width=100,
        floatmode="maxprec",
    )
    return rows if flat.size <= FEW else rows.removesuffix("]") + ", ...]"
