"""Hypothesis strategies of inputs and targets: arrays of numbers that are easy to read, and among them those that hide faults.

Half of the arrays are of odd tenths: 0.1, -0.1, 0.3, ... They are short, never 0, and keep away from the places where activations
and losses have kinks, which are whole numbers and even tenths. The other half has 0, 1, 5.3, 31 and 0.001, of both signs, among
them: where formulas divide, saturate, overflow, or are cut off. All shrink towards 0.1, arrays towards shape (1, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import SearchStrategy
from numpy.typing import DTypeLike

from pancake.memory import Array

Size: TypeAlias = int | SearchStrategy[int]
Shape: TypeAlias = tuple[int, ...]

BATCH = st.integers(1, 4) | st.integers(5, 12)
TIME = st.integers(1, 4)
TELLING = (0.1, -0.1, 0.0, 1.0, -1.0, 1e-3, -1e-3, 5.3, -5.3, 31.0, -31.0, *((2 * k + 1) / 10 for k in range(-9, 9)))


def arrays(
    shape: Shape | SearchStrategy[Shape], *, low: float | None = None, high: float | None = None, dtype: DTypeLike = np.float64
) -> SearchStrategy[Array]:
    """Arrays of odd tenths from -2 to 2; in half of them also 0, and 1, 5.3, 31 and 0.001 of both signs.

    Parameters
    ----------
    shape : tuple of int, or a strategy of them
    low, high : float, optional
        A range with an odd tenth in it: then all are odd tenths in this range, which begins or ends at -2 or 2 if only one is
        given. Numbers shrink towards the one nearest to 0, positive before negative.
    dtype : floating dtype

    Raises
    ------
    ValueError
        If there is no odd tenth from `low` to `high`.
    """
    if low is None and high is None:
        table = np.array(TELLING, dtype)
        tame = tenths(shape, -10, 9, lambda k: np.asarray((2 * k + 1) / 10, dtype))
        return tame | tenths(shape, 0, len(TELLING) - 1, lambda k: np.asarray(table[k]))
    low, high = -2.0 if low is None else low, 2.0 if high is None else high
    first, last = math.ceil((10 * low - 1) / 2 - 1e-9), math.floor((10 * high - 1) / 2 + 1e-9)
    if first > last:
        raise ValueError(f"arrays: expected an odd tenth, such as 0.1, from low={low} to high={high}; there is none")
    return tenths(shape, first, last, lambda k: np.asarray((2 * k + 1) / 10, dtype))


def tenths(shape: Shape | SearchStrategy[Shape], first: int, last: int, value: Callable[[Any], Array]) -> SearchStrategy[Array]:
    """Arrays of `value(k)` for whole numbers k, each entry drawn by itself: filled arrays are nearly constant."""
    return hnp.arrays(np.int64, shape, elements=st.integers(first, last), fill=st.nothing()).map(value)


def batches(
    features: Size,
    *,
    batch: Size = BATCH,
    low: float | None = None,
    high: float | None = None,
    dtype: DTypeLike = np.float64,
) -> SearchStrategy[Array]:
    """Batches of examples, arrays (B, I) of numbers as in `arrays`.

    Parameters
    ----------
    features, batch : int, or a strategy of ints
        I and B.
    low, high, dtype
        As in `arrays`.
    """
    return arrays(st.tuples(size(batch), size(features)), low=low, high=high, dtype=dtype)


def sequences(
    features: Size,
    *,
    batch: Size = BATCH,
    time: Size = TIME,
    low: float | None = None,
    high: float | None = None,
    dtype: DTypeLike = np.float64,
) -> SearchStrategy[Array]:
    """Batches of sequences, arrays (B, T, I) of numbers as in `arrays`.

    Parameters
    ----------
    features, batch, time : int, or a strategy of ints
        I, B and T.
    low, high, dtype
        As in `arrays`.
    """
    return arrays(st.tuples(size(batch), size(time), size(features)), low=low, high=high, dtype=dtype)


def labels(classes: Size, *, batch: Size = BATCH, time: Size | None = None) -> SearchStrategy[Array]:
    """Labels of examples, integer arrays (B,) of numbers from 0 to C - 1.

    Parameters
    ----------
    classes, batch : int, or a strategy of ints
        C and B.
    time : int, or a strategy of ints, optional
        T, for labels (B, T).
    """
    shape = st.tuples(*(size(n) for n in (batch, time) if n is not None))
    return st.tuples(shape, size(classes)).flatmap(lambda drawn: labels_of(*drawn))


def probabilities(classes: Size, *, batch: Size = BATCH, time: Size | None = None) -> SearchStrategy[Array]:
    """Rows of probabilities in tenths, arrays (B, C); each row sums to 1. They shrink towards certainty of the last class.

    Parameters
    ----------
    classes, batch : int, or a strategy of ints
        C and B.
    time : int, or a strategy of ints, optional
        T, for arrays (B, T, C).
    """
    shape = st.tuples(*(size(n) for n in (batch, time, classes) if n is not None))
    return shape.flatmap(rows_of)


def upstream_for(output: Any) -> SearchStrategy[Any]:
    """Upstream gradients dObj_dOut for an output: odd tenths from 0.5 to 1.5 of either sign, and so neither ones nor near 0.

    Parameters
    ----------
    output : array_like, or a tuple of them
        What `compute_forward` returned; what is drawn has its shape, its dtype (float64 for integers), and its structure.
    """
    if isinstance(output, tuple):
        return st.tuples(*(upstream_for(part) for part in output))
    array = np.asarray(output)
    dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    return tenths(array.shape, -6, 5, lambda k: ((2 * k + 1 + 4 * np.where(k < 0, -1, 1)) / 10).astype(dtype))


def size(size: Size) -> SearchStrategy[int]:
    return size if isinstance(size, SearchStrategy) else st.just(size)


def labels_of(shape: Shape, classes: int) -> SearchStrategy[Array]:
    return hnp.arrays(np.int64, shape, elements=st.integers(0, classes - 1), fill=st.nothing())


def rows_of(shape: Shape) -> SearchStrategy[Array]:
    """Probabilities along the last axis: the distances between sorted cuts of the interval from 0 to 1."""
    cuts = hnp.arrays(np.int64, (*shape[:-1], shape[-1] - 1), elements=st.integers(0, 10), fill=st.nothing())
    return cuts.map(lambda k: np.diff(np.sort(k, axis=-1), axis=-1, prepend=0, append=10) / 10)
