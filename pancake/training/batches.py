"""Examples by the batch: arrays cut into pieces, or whatever the user iterates over."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, TypeAlias

import numpy as np

# Input, target, weights of the examples or None, lengths of the sequences or None.
Batch: TypeAlias = tuple[Any, Any, Any, Any]

NAMES = ("x", "y", "sample_weight", "lengths")

# Numbers that are shuffled in one go. Rows are gathered many batches at a time, and batches are views of that: gathering
# each batch by itself costs up to a tenth of a step, and a shuffled copy of all examples needs their memory twice.
BLOCK = 1 << 17


def examples(owner: str, *parts: Any) -> Batch:
    """The parts of a data set (see `Batch`) as arrays with a row for each example.

    Raises
    ------
    TypeError, ValueError
        If a part is not an array, is empty, or has another number of rows than x; `owner` begins the message.
    """
    arrays: list[Any] = []
    for name, part in zip(NAMES, (*parts, None, None), strict=False):
        if part is None and len(arrays) >= 2:
            arrays.append(None)
            continue
        try:
            array = np.asarray(part)
        except ValueError:
            raise ValueError(f"{owner}: expected {name} to be an array, got rows of different lengths") from None
        if array.dtype.kind not in "biuf":
            got = f"an array of dtype {array.dtype}" if array.ndim else f"{part!r}"[:80]
            raise TypeError(f"{owner}: expected {name} to be an array of real numbers, got {got}")
        if array.ndim == 0 or not len(array):
            raise ValueError(f"{owner}: expected {name} to have a row for each example, got shape {array.shape}")
        if arrays and len(array) != len(arrays[0]):
            raise ValueError(
                f"{owner}: expected as many rows in {name} as in x, got {array.shape} for x of shape {arrays[0].shape}"
            )
        arrays.append(array)
    return arrays[0], arrays[1], arrays[2], arrays[3]


def held_out(data: Batch, fraction: float) -> tuple[Batch, Batch]:
    """Examples to train with, in their order, and `fraction` of them to validate with.

    Which ones is random and yet always the same for the same number of examples: the first of
    `np.random.default_rng(0).permutation(N)`.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real) or not 0 < fraction < 1:
        raise ValueError(f"fit: expected validation to be a fraction between 0 and 1, or (x, y), got {fraction!r}")
    total = len(data[0])
    count = round(fraction * total)
    if not 0 < count < total:
        raise ValueError(
            f"fit: validation={fraction} of {total} examples leaves {total - count} to train with and {count} to validate with"
        )
    order = np.random.default_rng(0).permutation(total)
    return _rows(data, np.sort(order[count:])), _rows(data, np.sort(order[:count]))


def _rows(data: Sequence[Any], rows: Any) -> Batch:
    x, y, weight, lengths = (None if part is None else part.take(rows, axis=0) for part in data)
    return x, y, weight, lengths


class Cut:
    """Arrays cut into batches, in the order of the examples, or if it has an `rng` in random order, anew each time.

    The last batch may be smaller. A single batch is not shuffled: its examples count all at once.
    """

    rng: np.random.Generator | None = None

    def __init__(self, data: Batch, batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size
        width = sum(part[0].size for part in data if part is not None)
        self.block = max(1, BLOCK // (batch_size * max(1, width))) * batch_size  # rows that are gathered in one go

    @property
    def count(self) -> int:
        """How many batches make an epoch."""
        return -(-len(self.data[0]) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return itertools.chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[Iterator[Batch]]:
        total = len(self.data[0])
        if self.rng is None or total <= self.batch_size:
            yield self._batches(self.data)
            return
        order = self.rng.permutation(total)
        for start in range(0, total, self.block):
            yield self._batches(_rows(self.data, order[start : start + self.block]))

    def _batches(self, rows: Batch) -> Iterator[Batch]:
        # iterators written in C: a loop in Python with the slices in it costs some per cent of a step of a small net
        return zip(*(_slices(part, self.batch_size) for part in rows), strict=False)


def _slices(part: Any, size: int) -> Iterator[Any]:
    """Views of `size` rows each, without end if there is no array."""
    if part is None:
        return itertools.repeat(None)
    starts = range(0, len(part), size)
    return map(part.__getitem__, map(slice, starts, range(size, len(part) + size, size)))


class Given:
    """Batches that the user made: any iterable of them, or a function that returns one for each epoch."""

    def __init__(self, source: Iterable[Any] | Callable[[], Iterable[Any]], epochs: int) -> None:
        if isinstance(source, np.ndarray) or not (isinstance(source, Iterable) or callable(source)):
            raise TypeError(
                f"fit: expected x and y, or an iterable of batches (x, y), got {type(source).__name__} without y; "
                "a net that is to reproduce its input takes it twice, as x and as y"
            )
        if isinstance(source, Iterator) and epochs > 1:
            raise ValueError(
                f"fit: a {type(source).__name__} gives its batches once, which is not enough for {epochs} epochs; pass a list "
                "of batches, or a function that makes a new one for each epoch"
            )
        self.source = source

    def __iter__(self) -> Iterator[Batch]:
        source = self.source if isinstance(self.source, Iterable) else self.source()
        if not isinstance(source, Iterable):
            raise TypeError(f"fit: expected the function to return an iterable of batches, got {source!r}")
        number = 0
        for number, batch in enumerate(source, start=1):
            if not isinstance(batch, (tuple, list)) or not 2 <= len(batch) <= 4:
                got = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else type(batch).__name__
                raise TypeError(
                    f"fit: expected batch {number} to be (x, y), (x, y, weight) or (x, y, weight, lengths), got {got}"
                )
            yield examples(f"fit: batch {number}", *batch)
        if not number:
            raise ValueError("fit: there are no batches in this epoch")

    @property
    def count(self) -> int | None:
        """How many batches make an epoch, if that is known beforehand."""
        return len(self.source) if isinstance(self.source, Sized) else None
