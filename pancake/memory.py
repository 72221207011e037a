"""Parameters side by side in memory, so that an optimizer sees few long vectors instead of many small arrays.

A block is two vectors of one dtype: values and, at the same offsets, their gradients. `allocate` hands out
neighbouring pieces of the current block as layers are made. Nothing in a block ever moves, and what is dropped gives its memory
back; `runs` finds out later which of the arrays of a model happen to be neighbours and returns each stretch of them as one long
view.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import mmap
import sys
import weakref
from _thread import allocate_lock  # threading would be a twentieth of the import of pancake
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Self, cast

import numpy as np

Array = np.ndarray[tuple[Any, ...], np.dtype[np.floating[Any]]]
Pair = tuple[Array, Array]  # a parameter and its gradient

# Elements of a block. Its pages are not in memory before they are written to, so a large block costs a small model nothing.
BLOCK_SIZE = 1 << 18
ROOMY = 1 << 26  # elements; for layers larger than that no room is kept
HUGE = 1 << 22  # bytes, from which on the system is asked for huge pages, as NumPy does for its arrays

# The C library of Linux gives the memory of a large array back to the system when it is freed, and each page of the next one
# costs a fault: a quarter of a `predict`, a tenth of a step of wide layers. Once it has seen an array of this size come and go
# (whose pages are never touched), it keeps what is smaller.
np.empty(30 << 20, np.uint8)


class _Pages(mmap.mmap):
    """So many bytes, all zero, which the system gives page by page as they are written to, and takes back page by page.

    Attributes
    ----------
    pieces : dict of int to weakref
        The arrays in it, by the byte where they begin.
    free : dict of int to int
        The two ends of each stretch that nobody needs any more, in bytes, by each other.
    huge : bool
        Whether the system may give huge pages.
    """

    pieces: dict[int, weakref.ref[Array]]
    free: dict[int, int]
    huge: bool

    def __new__(cls, size: int) -> Self:
        try:
            if sys.platform == "win32":
                pages = super().__new__(cls, -1, size)
            else:  # so that a forked process has pages of its own
                pages = super().__new__(cls, -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError):
            raise MemoryError(
                f"parameters that need {size / 2**30:.3g} GiB, and their gradients, find no room in memory"
            ) from None
        pages.pieces, pages.free, pages.huge = {}, {}, size >= HUGE
        if pages.huge:
            pages._advise("MADV_HUGEPAGE")
        return pages

    def piece(self, dtype: np.dtype[Any], start: int, size: int) -> Array:
        """An array in these pages. When it and all views of it are gone, its pages are given back.

        A view of a piece has the piece as its base, and so keeps it; a view of `_whole` does not.
        """
        start, stop = start * dtype.itemsize, (start + size) * dtype.itemsize
        array: Array = np.frombuffer(self, dtype, size, start)
        self.pieces[start] = weakref.ref(array, functools.partial(_given_back, weakref.ref(self), start, stop))
        return array

    def give_back(self, start: int, stop: int) -> None:
        """Free these bytes, and with them every page on which nothing else is needed any more."""
        self.pieces.pop(start, None)
        left, right = self.free.pop(start, start), self.free.pop(stop, stop)
        self.free[left], self.free[right] = right, left
        page = mmap.PAGESIZE
        first, last = max(-(-left // page), start // page), min(right // page, -(-stop // page))
        if first < last:
            self._advise("MADV_DONTNEED", first * page, (last - first) * page)
            # A huge page over the hole would bring it back, so there must be none: not in the unused end of a block, or else not
            # in the whole block, since forbidden hole by hole each would be a mapping of its own, and a process may have 65,530.
            rest = stop == len(self)
            if self.huge:
                self._advise("MADV_NOHUGEPAGE", *((first * page, (last - first) * page) if rest else ()))
                self.huge = rest

    def _advise(self, advice: str, *where: int) -> None:
        if hasattr(mmap, advice):  # a word that this system has
            with contextlib.suppress(OSError):  # of a kernel without huge pages
                self.madvise(getattr(mmap, advice), *where)


def _given_back(
    owner: weakref.ref[_Pages], start: int, stop: int, _: object, ending: Callable[[], bool] = sys.is_finalizing
) -> None:
    pages = owner()
    # Or all of them go just now, or everything: what a module holds to the end may go after the names of this one.
    if pages is not None and not ending():
        pages.give_back(start, stop)


class _Block:
    """A block that the next layers of a dtype lie in. What is left over of the one before is given back."""

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self.size, self.used = size, 0
        self.values, self.grads = _Pages(size * dtype.itemsize), _Pages(size * dtype.itemsize)
        before, _blocks[dtype] = _blocks.get(dtype), self  # first, so that nothing comes to lie in what is given back
        if before is not None:
            for pages in (before.values, before.grads):
                pages.give_back(before.used * dtype.itemsize, len(pages))


_blocks: dict[np.dtype[Any], _Block] = {}
_lock = allocate_lock()


def allocate(layouts: Iterable[tuple[tuple[int, ...], str]], dtype: np.dtype[Any]) -> list[Pair]:
    """Zeroed (parameter, gradient) pairs, one right after the other in memory.

    Parameters
    ----------
    layouts : iterable of (shape, order)
        The shape of each pair and its memory order, "C" or "F".
    dtype : numpy.dtype
    """
    layouts = [(tuple(map(int, shape)), order) for shape, order in layouts]  # NumPy's integers, such as uint8(20), wrap around
    dtype = np.dtype(dtype.type)  # an unpickled array has an equal one of its own, which would go on to every later layer
    total = sum(math.prod(shape) for shape, _ in layouts)
    with _lock:
        block = _blocks.get(dtype)
        if block is None or block.used + total > block.size:
            # room for the layers that follow a large one, so that they are one vector
            block = _Block(max(BLOCK_SIZE, 4 * total if total < ROOMY else total), dtype)
        start = block.used
        block.used += total
    pairs = []
    for shape, order in layouts:
        size, memory_order = math.prod(shape), cast(Literal["C", "F"], order)
        value, grad = (pages.piece(dtype, start, size) for pages in (block.values, block.grads))
        pairs.append((value.reshape(shape, order=memory_order), grad.reshape(shape, order=memory_order)))
        start += size
    return pairs


def make_room(total: int, dtype: np.dtype[Any]) -> None:
    """See to it that the layers made next lie side by side, as long as they have at most `total` parameters together."""
    with _lock:
        block = _blocks.get(dtype)
        if block is None or block.used + total > block.size:
            _Block(max(BLOCK_SIZE, total), dtype)


def copies(pairs: Sequence[Pair], dtype: np.dtype[Any] | None = None) -> list[Pair]:
    """Copies of the pairs, neighbours in memory where the dtypes agree; `dtype` converts.

    A pair whose gradient does not look like its parameter is copied as it is: to complain is not the business of a copy.
    """
    result: list[Pair] = []
    for alike, group in itertools.groupby(pairs, lambda pair: pair[0].dtype if _alike(*pair) else None):
        originals = list(group)
        if alike is None:
            result += [(value.astype(dtype or value.dtype), grad.astype(dtype or grad.dtype)) for value, grad in originals]
            continue
        homes = allocate([(value.shape, _order(value)) for value, _ in originals], dtype or alike)
        for (value, grad), (new_value, new_grad) in zip(originals, homes, strict=True):
            new_value[...] = value
            new_grad[...] = grad
        result += homes
    return result


def _alike(value: Array, grad: Array) -> bool:
    return value.shape == grad.shape and value.dtype == grad.dtype


def _order(array: Array) -> str:
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


# Arrays that have been exchanged for others (by `astype`, or after a pickle), and what took their place.
_successors: dict[int, tuple[weakref.ref[Array], Array]] = {}


def exchanged(old: Array, new: Array) -> None:
    """Remember, as long as anybody still holds `old`, that `new` has taken its place."""
    key = id(old)
    _successors[key] = (weakref.ref(old, functools.partial(_successors.pop, key)), new)


def current(array: Array) -> Array:
    """The array that has taken the place of this one, or the array itself."""
    while id(array) in _successors:
        array = _successors[id(array)][1]
    return array


def adopt(pairs: Sequence[Pair]) -> None:
    """Give pairs that a pickle has just made a place in a block, where `current` finds them; one however often it is seen."""
    strangers = [pair for pair in pairs if _place(*pair) is None and all(current(array) is array for array in pair)]
    for old_pair, new_pair in zip(strangers, copies(strangers), strict=True):
        for old, new in zip(old_pair, new_pair, strict=True):
            exchanged(old, new)


# Raised by one whenever the arrays of some model are exchanged for others; optimizers compare it at each step.
_generation = itertools.count(1)
generation = 0


def arrays_changed() -> None:
    """Tell every optimizer to look again where the parameters of its model are."""
    global generation
    generation = next(_generation)


class Run:
    """A stretch of neighbouring parameters as one vector, and which parameters they are.

    `values` and `grads` are vectors, or the arrays themselves where these have gaps. `members` tells for each parameter
    its index in the list given to `runs`, and where in the run it starts and ends.
    """

    def __init__(self, values: Array, grads: Array, members: list[tuple[int, int, int]]) -> None:
        self.values, self.grads, self.members = values, grads, members

    def split(self, vector: Array, params: Sequence[Array]) -> Iterator[tuple[int, Array]]:
        """The index of each parameter of the run, and its part of `vector` in the shape of the parameter."""
        for index, start, stop in self.members:
            shape = params[index].shape
            order: Any = _order(params[index])
            yield index, vector if vector.shape == shape else vector[start:stop].reshape(shape, order=order)


def runs(params: Sequence[Array], grads: Sequence[Array]) -> list[Run]:
    """The parameters as the fewest possible long views.

    Parameters that are the same memory twice (a transposed view, say) are taken once.
    """
    result: list[Run] = []
    seen: set[tuple[int, int]] = set()
    in_blocks: dict[tuple[int, int], list[tuple[int, int, int]]] = {}  # (start, stop, index), by the block they lie in
    blocks: dict[tuple[int, int], Pair] = {}
    for index, (value, grad) in enumerate(zip(params, grads, strict=True)):
        place = _place(value, grad)
        if place is None:
            memory = value.ctypes.data, value.size
            if memory in seen:
                continue
            seen.add(memory)
            if _same_layout(value, grad):
                value, grad = value.ravel(order="K"), grad.ravel(order="K")
            result.append(Run(value, grad, [(index, 0, value.size)]))
        else:
            start, *block = place
            key = block[0].ctypes.data, block[1].ctypes.data
            blocks[key] = block[0], block[1]
            in_blocks.setdefault(key, []).append((start, start + value.size, index))
    for key, places in in_blocks.items():
        stretches: list[list[tuple[int, int, int]]] = []
        for start, stop, index in sorted(places):
            if stretches and (start, stop) == stretches[-1][-1][:2]:
                continue
            if not stretches or start != stretches[-1][-1][1]:
                stretches.append([])
            stretches[-1].append((start, stop, index))
        for members in stretches:
            first, last = members[0][0], members[-1][1]
            values, gradients = (vector[first:last] for vector in blocks[key])
            result.append(Run(values, gradients, [(i, a - first, b - first) for a, b, i in members]))
    return result


def joined(params: Sequence[Array], grads: Sequence[Array]) -> Pair | None:
    """A weight (O, I) that lies as (I, O) and the bias (O,) after it as one array (I + 1, O), and their gradients likewise.

    None if they do not lie so, as in a copy that shares one of them with another Function.
    """
    if any(array is None for array in (*params, *grads)):
        return None
    weight, bias = params
    pairs = [_place(value, grad) for value, grad in zip(params, grads, strict=True)]
    if not weight.T.flags.c_contiguous or pairs[0] is None or pairs[1] is None:
        return None
    (start, values, gradients), (next_, *others) = pairs[0], pairs[1]
    same = [a.ctypes.data == b.ctypes.data for a, b in zip((values, gradients), others, strict=True)]
    if not all(same) or next_ != start + weight.size:
        return None
    part = slice(start, next_ + bias.size)
    return values[part].reshape(-1, bias.size), gradients[part].reshape(-1, bias.size)


def _same_layout(value: Array, grad: Array) -> bool:
    return (value.flags.c_contiguous or value.flags.f_contiguous) and value.strides == grad.strides and value.dtype == grad.dtype


def _place(value: Array, grad: Array) -> tuple[int, Array, Array] | None:
    """Where in which block a pair lies (offset, values, gradients), or None if in none."""
    owner, grad_owner = _whole(value), _whole(grad)
    if owner is None or grad_owner is None or not _same_layout(value, grad):
        return None
    offset = value.ctypes.data - owner.ctypes.data
    if offset != grad.ctypes.data - grad_owner.ctypes.data or owner.dtype != value.dtype or grad_owner.dtype != value.dtype:
        return None
    return offset // value.itemsize, owner, grad_owner


def _whole(array: Array) -> Array | None:
    """All numbers of the block that an array is a part of; None if it is in none."""
    piece: Any = array.base
    pages = getattr(getattr(piece, "base", None), "obj", None)
    return np.frombuffer(pages, piece.dtype) if isinstance(pages, _Pages) else None
