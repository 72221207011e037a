"""A part of the examples, held out to validate with."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import brief
from pancake.memory import Array
from pancake.training.stored import Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    RowNumbers = NDArray[np.intp]

MOST_CLASSES = 1000


def held_out(total: int, fraction: Any, y: Array) -> tuple[RowNumbers, RowNumbers]:
    """The rows to train with and those to validate with, each in their order.

    Which ones is random and yet always the same for the same data. They are the first of
    `np.random.default_rng(0).permutation(total)`; if `y` holds classes, the first of each class, so that every class has
    its share in both parts.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real) or not 0 < float(fraction) < 1:
        raise ValueError(f"fit: expected validation to be a fraction between 0 and 1, or (x, y), got {brief(fraction)}")
    count = round(float(fraction) * total)
    if not 0 < count < total:
        raise ValueError(
            f"fit: validation={fraction} of {total} examples leaves {total - count} to train with and {count} to validate with"
        )
    order = np.random.default_rng(0).permutation(total)
    classes = _classes(y)
    if classes is None:
        return np.sort(order[count:]), np.sort(order[:count])
    in_order = classes[order]
    held = [order[in_order == c][:n].copy() for c, n in enumerate(_shares(np.bincount(classes), count))]
    chosen = np.zeros(total, bool)
    chosen[np.concatenate(held)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _classes(y: Array) -> NDArray[np.int16] | None:
    """The class of each example, from 0, if the targets are classes: labels (N,) or (N, 1), or rows (N, C) with a single 1.

    Targets that are too large to be read as a whole are none.
    """
    if isinstance(y, Stored):
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        one_hot = np.array_equal(np.count_nonzero(y, axis=1), np.ones(len(y))) and np.array_equal(y, y != 0)
        if not one_hot:
            return None
        y = y.argmax(axis=1)
    if y.ndim > 2 or (y.dtype.kind == "f" and not np.array_equal(y, np.round(y))):
        return None
    labels, classes = _numbered(y.ravel())
    # whole numbers that are hardly ever the same, such as years or prices, are no classes
    return classes.astype(np.int16) if len(labels) <= min(MOST_CLASSES, len(y) // 2) else None


def _numbered(y: Array) -> tuple[NDArray[Any], RowNumbers]:
    """The different labels, and for each example the number of its own."""
    low, high = int(y.min()), int(y.max())
    if y.dtype.kind not in "iu" or high - low >= len(y):
        return np.unique(y, return_inverse=True)
    places = np.subtract(y, low, dtype=np.intp, casting="unsafe")  # to sort a million of them takes five times their memory
    there = np.zeros(high - low + 1, bool)
    there[places] = True
    return np.flatnonzero(there) + low, (np.cumsum(there) - 1)[places]


def _shares(sizes: NDArray[np.intp], count: int) -> list[int]:
    """How many to hold out of classes of these sizes, `count` in all: as many as is fair, and where it can be one at least."""
    fair = sizes * (count / sizes.sum())
    shares = np.floor(fair).astype(int)
    shares[(sizes > 1) & (shares == 0)] = 1
    while shares.sum() > count:  # more classes than places: the largest give, then the smallest go without
        most = np.where(shares > 1, shares - fair, -np.inf)
        c = int(most.argmax()) if np.isfinite(most).any() else int(np.where(shares > 0, sizes, sizes.max() + 1).argmin())
        shares[c] -= 1
    while shares.sum() < count:
        room = shares < sizes - 1  # of each class something is left to train with, as long as that is possible
        room = room if room.any() else shares < sizes
        shares[np.where(room, fair - shares, -np.inf).argmax()] += 1
    result: list[int] = shares.tolist()
    return result
