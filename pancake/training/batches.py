"""Examples by the batch: arrays cut into pieces, or whatever the user iterates over."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pancake.arguments import each_part, is_sparse, parts_of
from pancake.memory import Array
from pancake.training.arrays import real_array
from pancake.training.stored import Sparse, Stored, stored, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Input (a tuple, if it has several parts), target, weights of the examples or None, lengths of the sequences or None.
Batch: TypeAlias = tuple[Any, Any, Any, Any]

NAMES = ("x", "y", "sample_weight", "lengths")

# Numbers that are shuffled in one go. Rows are gathered many batches at a time, and batches are views of that: gathering
# each batch by itself costs up to a tenth of a step, and a shuffled copy of all examples needs their memory twice.
BLOCK = 1 << 17

# Of what is stored in chunks so many numbers are shuffled in one go: to read a chunk for a single row takes as long as for all.
WINDOW = 1 << 20

SMALL = 1 << 24  # bytes of targets, weights and lengths up to which they are read as a whole


class Rows:
    """Some rows of an array, which may be `Stored`: taken when they are needed."""

    def __init__(self, array: Array | Stored, rows: NDArray[np.intp]) -> None:
        self.array, self.rows = array, rows
        self.shape, self.dtype, self.ndim = (len(rows), *array.shape[1:]), array.dtype, array.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice) -> Array:
        return self.take(which)

    def take(self, which: Any, axis: int = 0) -> Array:
        """The rows of those places among the rows, as an array."""
        rows: Array = self.array.take(self.rows[which], axis=axis)
        return rows


def lies_apart(part: Any) -> bool:
    """Whether the rows of a part of a data set are taken when they are needed."""
    return isinstance(part, (Rows, Stored))


def numbers_of(part: Any, rows: int) -> int:
    """How many numbers so many rows have."""
    return rows * math.prod(part.shape[1:])


def each_array(change: Callable[[Any], Any], data: Batch) -> Batch:
    """`change(array)` in the place of each array of a data set."""
    x, y, weight, lengths = (None if part is None else each_part(change, part) for part in data)
    return x, y, weight, lengths


def rows_of(data: Batch, rows: NDArray[np.intp]) -> Batch:
    """Some rows of a data set: as arrays if they are small, else as `Rows`."""

    def some(part: Any) -> Any:
        small = numbers_of(part, len(rows)) <= BLOCK and not isinstance(part, Sparse)
        return part.take(rows, axis=0) if small else Rows(part, rows)

    return each_array(some, data)


def taken(data: Batch, rows: Any) -> Batch:
    """Some rows of a data set, as arrays."""
    return each_array(lambda part: part[rows] if is_sparse(part) else part.take(rows, axis=0), data)


def without_absent(data: Batch) -> Batch:
    """A data set with 0 for what is not finite in the inputs of examples without weight.

    They are as if absent; but 0 times nan, in the gradient of a layer's weights, is nan.
    """
    x, y, weight, lengths = data
    if weight is None or any(map(lies_apart, parts_of(x))):  # of those that lie apart the rows that are taken are looked at
        return data
    absent = np.flatnonzero(~weight.reshape(len(weight), -1).any(axis=1))

    def mended(x: Array) -> Array:
        if is_sparse(x):
            return x
        rows = x[absent]
        if x.dtype.kind != "f" or (finite := np.isfinite(rows)).all():
            return x
        x = x.copy()
        x[absent] = np.where(finite, rows, 0)
        return x

    return each_part(mended, x), y, weight, lengths


def examples(owner: str, *parts: Any) -> Batch:
    """The parts of a data set (see `Batch`) as arrays with a row for each example; of a tuple of inputs each one.

    Raises
    ------
    TypeError, ValueError
        If a part is not an array, is empty, or has another number of rows than x; `owner` begins the message.
    """
    first: Array | None = None

    def rows(name: str, part: Any) -> Any:
        nonlocal first
        if isinstance(part, tuple):
            if not part:
                raise ValueError(f"{owner}: expected x to be an array, or a tuple of several, got an empty tuple")
            return tuple(rows(f"{name}[{i}]", inner) for i, inner in enumerate(part))
        array: Any = stored(owner, name, part)
        if array is None:
            array = real_array(owner, name, part)
        elif name != "x" and not name.startswith("x[") and array.size * array.dtype.itemsize <= SMALL:
            array = array[:]
        if array.ndim == 0 or not len(array):
            raise ValueError(
                f"{owner}: expected {name} to have a row for each example, and one at least, got shape {array.shape}"
                + ("; if a mask has chosen the rows, print mask.sum()" if array.ndim else "")
            )
        if first is None:
            first = array
        if len(array) != len(first):
            hint = "; a tuple is an input of several parts, a list of rows is an array" if "[" in name or several else ""
            raise ValueError(
                f"{owner}: expected as many rows in {name} as in x, got {array.shape} for x of shape {first.shape}{hint}"
            )
        return array

    several = isinstance(parts[0], tuple)
    arrays: list[Any] = [rows(NAMES[0], parts[0])]
    for name, part in zip(NAMES[1:], (*parts[1:], None, None), strict=False):
        absent = part is None and len(arrays) >= 2
        arrays.append(None if absent else rows(name, list(part) if isinstance(part, tuple) else part))
    return arrays[0], arrays[1], arrays[2], arrays[3]


def in_memory(data: Batch) -> Batch:
    """A data set all of which is read."""
    return each_array(whole, data)


def arrays_of(data: Batch) -> list[Any]:
    """All arrays of a data set."""
    return [array for part in data if part is not None for array in parts_of(part)]


class Cut:
    """Arrays cut into batches, in the order of the examples, or if it has an `rng` in random order, anew each time.

    The last batch may be smaller. A single batch is not shuffled: its examples count all at once. With `joined`, a last batch
    of a single example becomes part of the one before.
    """

    rng: np.random.Generator | None = None
    rank: int | None = None  # of several processes that share the generator, and have an order each
    joined = False

    def __init__(self, data: Batch, batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size
        width = sum(numbers_of(part, 1) for part in arrays_of(data))
        self.block = max(1, BLOCK // (batch_size * max(1, width))) * batch_size  # rows that are gathered in one go
        self.chunk = max((_chunk(part) for part in arrays_of(data)), default=1)
        if self.chunk > 1:
            self.block = max(self.block, math.ceil(max(self.chunk, WINDOW // max(1, width)) / batch_size) * batch_size)

    @property
    def count(self) -> int:
        """How many batches make an epoch."""
        return len(self._bounds(len(self.data[1]), self.batch_size)) - 1

    @property
    def rest(self) -> int:
        """How many examples are left for the last batch."""
        return len(self.data[1]) % self.batch_size or self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        return itertools.chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[Iterator[Batch]]:
        total = len(self.data[1])
        rng = self.rng
        if rng is not None and self.rank is not None:  # whatever the numbers of rows, the generators stay the same on all ranks
            rng = np.random.default_rng([int(rng.integers(1 << 63)), self.rank])
        alone = total <= self.batch_size
        if (rng is None or alone) and not any(map(lies_apart, arrays_of(self.data))):
            yield self._batches(self.data)
            return
        order = np.arange(total) if rng is None or alone else self._shuffled(total, rng)
        for start, stop in itertools.pairwise(self._bounds(total, self.block)):
            yield self._batches(without_absent(taken(self.data, order[start:stop])))

    def _shuffled(self, total: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Random order; of what is stored in chunks the chunks in random order, and the rows of those that are read together."""
        if self.chunk <= 1 or total <= self.block:
            return rng.permutation(total)
        starts = rng.permutation(np.arange(0, total, self.chunk))
        order = np.concatenate([np.arange(start, min(start + self.chunk, total)) for start in starts])
        for start in range(0, total, self.block):
            rng.shuffle(order[start : start + self.block])
        return order

    def _batches(self, rows: Batch) -> Iterator[Batch]:
        # iterators written in C: a loop in Python with the slices in it costs some per cent of a step of a small net
        bounds = self._bounds(len(rows[1]), self.batch_size)
        return zip(*(_slices(part, bounds) for part in rows), strict=False)

    def _bounds(self, total: int, size: int) -> list[int]:
        """Where pieces of `size` begin and end."""
        bounds = [*range(0, total, size), total]
        if self.joined and size > 1 and len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
            del bounds[-2]
        return bounds


def _chunk(part: Any) -> int:
    """Rows of a part of a data set that are read in one go."""
    source = part.array if isinstance(part, Rows) else part
    return source.chunk if isinstance(source, Stored) else 1


def _slices(part: Any, bounds: list[int]) -> Iterator[Any]:
    """Views of the rows between neighbouring bounds, without end if there is no array."""
    if part is None:
        return itertools.repeat(None)
    if isinstance(part, tuple):
        return zip(*(_slices(inner, bounds) for inner in part), strict=False)
    return map(part.__getitem__, map(slice, bounds, bounds[1:]))


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

    def known(self) -> list[Batch]:
        """The batches, if there is a list of them."""
        return [*self] if isinstance(self.source, Sequence) else []

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
            parts = examples(f"fit: batch {number}", *batch)
            if parts[0].__class__ is not np.ndarray or parts[1].__class__ is not np.ndarray:
                parts = in_memory(parts)
            yield without_absent(parts)
        if not number:
            raise ValueError("fit: there are no batches in this epoch")

    @property
    def count(self) -> int | None:
        """How many batches make an epoch, if that is known beforehand."""
        return len(self.source) if isinstance(self.source, Sized) else None
