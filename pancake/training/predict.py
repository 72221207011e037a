"""Predictions, computed without a trace in the model."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake import fast
from pancake.arguments import as_array, each_part, parts_of, size
from pancake.fast import prediction
from pancake.function import Function, need_function
from pancake.functions.containers import forward
from pancake.origin import is_own
from pancake.training.arrays import real_array
from pancake.training.stored import Stored, stored, whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Rows of a block. The activations of so many rows of a small net stay in cache from layer to layer.
ROWS = 1024
NUMBERS = 1 << 20  # the most that are read at once of what is not in memory


def predict(model: Function, x: Any, batch_size: int | None = None, lengths: ArrayLike | None = None) -> Any:
    """The output of a model in evaluation mode, computed block by block.

    The model is left as it is, its mode, caches and gradients included, so several threads may ask one model at once. (Not so
    where a method has been replaced on one of its parts, as `model[1].compute_forward = spy`: that part itself is then called.)

    Parameters
    ----------
    model : Function
        Whose output has a row for each row of its input.
    x : array_like (N, ...), or a tuple of them for a model of several inputs
        Of no rows, the output has none either. What lies on a disk or is not yet computed is read block by block, as in `fit`.
    batch_size : int, optional
        Rows of a block. Without it 1,024: a million rows need no more memory than their output.
    lengths : array_like of int (N,), optional
        How many steps of each sequence are valid, for the parts of the model that take it.

    Returns
    -------
    ndarray (N, ...)

    Raises
    ------
    ValueError
        If the output of the model does not have one row for each row of the input.
    """
    if batch_size is lengths is None:
        y = prediction.answer(model, x)
        if y is not None:
            return y
    need_function("predict", model)
    block_size = None if batch_size is None else size(predict, batch_size=batch_size)
    if x.__class__ is np.ndarray and x.dtype.kind in "fiu" and lengths is None:
        return _predicted(model, x, block_size, None)
    x = each_part(functools.partial(_input, model), x)
    rows = _rows(x)
    if lengths is not None:
        model._check_lengths(lengths)
        lengths = as_array(predict, lengths, "lengths")
        if rows is None or lengths.shape != (rows,):
            shape = () if rows is None else (rows,)
            raise ValueError(f"predict: expected lengths of shape {shape}, one for each row of x, got {lengths.shape}")
    if rows and any(isinstance(part, Stored) for part in parts_of(x)):
        at_once = block_size or rows_at_once(parts_of(x))
        return in_blocks(lambda x, lengths: _predicted(model, x, block_size, lengths), x, rows, at_once, lengths)
    return _predicted(model, each_part(whole, x), block_size, lengths)


def _predicted(model: Function, x: Any, block_size: int | None, lengths: Any) -> Any:
    """The output for an input that is in memory."""
    rows = _rows(x)
    if lengths is None and isinstance(x, np.ndarray) and x.ndim > 1 and len(x):
        y = prediction.predicted(model, x, block_size)
        if y is not None:
            return y
    block_size = block_size or ROWS
    # an interrupt may leave an errstate of a layer as it was inside; this one puts back what there was
    with np.errstate(), evaluated(model) as compute:
        if rows == 0:
            return compute(each_part(lambda part: np.zeros((1, *part.shape[1:]), part.dtype), x), None)[:0]
        if rows is None or rows <= block_size:
            return compute(x, lengths)
        return in_blocks(compute, x, rows, block_size, lengths)


def _input(model: Function, x: Any) -> Any:
    """An input as an array, or as something whose rows are read block by block. A user's Function may take anything."""
    found = stored("predict", "x", x)
    if found is not None:
        return found
    array = as_array(predict, x, "x")
    return array if array.dtype.kind in "biuf" or not all(map(is_own, model.walk())) else real_array("predict", "x", x)


def rows_at_once(parts: list[Any]) -> int:
    """How many rows to read of inputs that are not in memory: whole blocks, of programs too, and whole chunks of what has any."""
    most = max(1, NUMBERS // max(1, *(math.prod(part.shape[1:]) for part in parts)))
    chunk = max(getattr(part, "chunk", 1) for part in parts)
    return min(most, max(math.lcm(ROWS, prediction.ROWS), chunk))


def _rows(x: Any) -> int | None:
    """How many rows an input has; None for a single number, which has none."""
    shapes = [np.shape(part)[:1] for part in parts_of(x)]
    if not shapes or any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"predict: expected as many rows in each part of x, got {each_part(np.shape, x)}")
    return shapes[0][0] if shapes[0] else None


@contextmanager
def evaluated(model: Function) -> Iterator[Callable[[Any, Any], Any]]:
    """The forward of a model in evaluation mode, a function of x and lengths."""
    parts = list(model.walk())
    if not any("compute_forward" in vars(part) for part in parts):
        double = model._double().eval()
        yield lambda x, lengths: forward(double, x, lengths)
        return
    # A method that was put on an object may run that very object, so no double can stand in for it. What programs have left in
    # the caches must not be written over.
    before = [(part, vars(part).copy(), part._cache) for part in parts]
    try:
        try:
            model.eval()
            for part in parts:
                part._cache = None  # or else Unrolled would run this in the copies of its cell that the latest forward has left
            with fast.off():
                yield lambda x, lengths: forward(model, x, lengths)
        finally:
            _put_back(before)
    finally:
        _put_back(before)  # once more, for a Ctrl-C in the middle of the first


def _put_back(before: list[tuple[Any, dict[str, Any], Any]]) -> None:
    """Give Functions back the attributes and caches that they had; none is ever without one in between."""
    for part, attributes, cache in before:
        part._cache = cache
        for name in vars(part).keys() - attributes.keys():
            del vars(part)[name]
        vars(part).update(attributes)


def in_blocks(compute: Callable[[Any, Any], Any], x: Any, total: int, size: int, lengths: Any) -> Any:
    """compute(block, lengths of the block) for each block of rows, joined."""
    result = None
    for start in range(0, total, size):
        rows = slice(start, min(start + size, total))
        y = compute(each_part(operator.itemgetter(rows), x), None if lengths is None else lengths[rows])
        if total <= size:  # the model sees all at once, and may make of it what it likes
            return y
        if np.shape(y)[:1] != (rows.stop - start,):
            raise ValueError(
                f"predict: expected the model to return a row for each of the {rows.stop - start} rows of a block, "
                f"got {np.shape(y)}; pass batch_size={total} if it must see all at once"
            )
        if result is None:
            result = np.empty((total, *y.shape[1:]), y.dtype)
        result[rows] = y
    return result
