"""Parameters side by side in memory, so that an optimizer sees few long vectors instead of many small arrays.

A block is two vectors of one dtype: values and, at the same offsets, their gradients. `allocate` hands out
neighbouring pieces of the current block as layers are made. Nothing in a block ever moves; `runs` finds out later
which of the arrays of a model happen to be neighbours and returns each stretch of them as one long view.
"""

from __future__ import annotations

import functools
import itertools
import math
import weakref
from _thread import allocate_lock  # threading would be a twentieth of the import of pancake
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np

Array = np.ndarray[tuple[Any, ...], np.dtype[np.floating[Any]]]
Pair = tuple[Array, Array]  # a parameter and its gradient

# Elements of a block. Its pages are not in memory before they are written to, so a large block costs a small model nothing.
BLOCK_SIZE = 1 << 18

# A layer keeps the block that it lies in alive. So neighbours are of similar size, or else a small layer that is kept would keep
# the memory of a large model that is dropped.
SIMILAR = 512
ROOMY = 1 << 26  # elements; for layers larger than that no room is kept


# The C library of Linux gives the memory of a large array back to the system when it is freed, and each page of the next one
# costs a fault: a quarter of a `predict`, a tenth of a step of wide layers. Once it has seen an array of this size come and go
# (whose pages are never touched), it keeps what is smaller.
np.empty(30 << 20, np.uint8)


class _Block:
    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self.values: Array = np.zeros(size, dtype)
        self.grads: Array = np.zeros(size, dtype)
        self.used = 0


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
    layouts = list(layouts)
    dtype = np.dtype(dtype.type)  # an unpickled array has an equal one of its own, which would go on to every later layer
    total = sum(math.prod(shape) for shape, _ in layouts)
    with _lock:
        block = _blocks.get(dtype)
        if block is None or block.used + total > block.values.size or not _similar(block.used, total):
            # room for the layers that follow a large one, so that they are one vector
            room = 4 * total if total < ROOMY else total
            apart = block is not None and total < block.used and not _similar(block.used, total)
            block = _blocks[dtype] = _Block(max(BLOCK_SIZE // 16 if apart else BLOCK_SIZE, room), dtype)
        start = block.used
        block.used += total
    pairs = []
    for shape, order in layouts:
        stop = start + math.prod(shape)
        memory_order: Any = order
        pairs.append(
            (
                block.values[start:stop].reshape(shape, order=memory_order),
                block.grads[start:stop].reshape(shape, order=memory_order),
            )
        )
        start = stop
    return pairs


def make_room(total: int, dtype: np.dtype[Any]) -> None:
    """Let the layers that are made next come to lie side by side, if they have no more than `total` parameters together."""
    with _lock:
        block = _blocks.get(dtype)
        if block is None or block.used + total > block.values.size:
            _blocks[dtype] = _Block(max(BLOCK_SIZE, total), dtype)


def _similar(used: int, total: int) -> bool:
    """Whether so many elements may come to lie in a block of which so many are used."""
    return not used or max(used, total) <= max(BLOCK_SIZE // 16, SIMILAR * min(used, total))


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
    _successors[key] = (weakref.ref(old, functools.partial(_forget, key)), new)


def current(array: Array) -> Array:
    """The array that has taken the place of this one, or the array itself."""
    while id(array) in _successors:
        array = _successors[id(array)][1]
    return array


def _forget(key: int, _: object) -> None:
    _successors.pop(key, None)


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
            key = id(block[0]), id(block[1])
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

    None if they do not lie so, which is nobody's fault: in a copy that shares one of them with another Function, say.
    """
    if any(array is None for array in (*params, *grads)):
        return None
    weight, bias = params
    pairs = [_place(value, grad) for value, grad in zip(params, grads, strict=True)]
    if not weight.T.flags.c_contiguous or pairs[0] is None or pairs[1] is None:
        return None
    (start, values, gradients), (next_, *others) = pairs[0], pairs[1]
    if values is not others[0] or gradients is not others[1] or next_ != start + weight.size:
        return None
    part = slice(start, next_ + bias.size)
    return values[part].reshape(-1, bias.size), gradients[part].reshape(-1, bias.size)


def _same_layout(value: Array, grad: Array) -> bool:
    return (value.flags.c_contiguous or value.flags.f_contiguous) and value.strides == grad.strides and value.dtype == grad.dtype


def _place(value: Array, grad: Array) -> tuple[int, Array, Array] | None:
    """Where in which block a pair lies (offset, values, gradients), or None if in none."""
    owner, grad_owner = value.base, grad.base
    if not (_is_vector(owner) and _is_vector(grad_owner) and _same_layout(value, grad)):
        return None
    offset = value.ctypes.data - owner.ctypes.data
    if offset != grad.ctypes.data - grad_owner.ctypes.data or owner.dtype != value.dtype or grad_owner.dtype != value.dtype:
        return None
    return offset // value.itemsize, owner, grad_owner


def _is_vector(array: Any) -> TypeGuard[Array]:
    return isinstance(array, np.ndarray) and array.ndim == 1 and array.flags.owndata and array.flags.c_contiguous
