"""What surrounds the training loop: predictions, and whose parameters an optimizer trains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.arguments import size
from pancake.function import Function
from pancake.functions.containers import check_lengths, forward
from pancake.optimizers.optimizer import Optimizer

# Rows of a block in `predict`. The activations of so many rows of a small net stay in cache from layer to layer.
ROWS = 1024


def predict(model: Function, x: Any, batch_size: int | None = None, lengths: ArrayLike | None = None) -> Any:
    """The output of a model in evaluation mode, computed block by block; mode, caches and gradients stay as they were.

    Parameters
    ----------
    model : Function
        Whose output has a row for each row of its input.
    x : array_like (N, ...)
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
    if not isinstance(model, Function):
        raise TypeError(f"predict: expected a Function, got {model!r}")
    rows = ROWS if batch_size is None else size(predict, batch_size=batch_size)
    try:
        x = np.asarray(x)
    except ValueError:
        raise ValueError("predict: expected x to be an array, got rows of different lengths") from None
    if lengths is not None:
        check_lengths(model)
        lengths = np.asarray(lengths)
        if x.ndim == 0 or lengths.shape != x.shape[:1]:
            raise ValueError(f"predict: expected lengths of shape {x.shape[:1]}, one for each row of x, got {lengths.shape}")
    few = x.ndim == 0 or len(x) <= rows
    if lengths is None and "compute_forward" not in vars(model):  # half of the time for one row
        y = model._evaluate(x if few else x[:1], False)
        if y is not None:
            return y if few else _in_blocks(lambda block, _: model._evaluate(block, False), x, rows)
    before = []
    for function in model.walk():
        before.append((function, vars(function).copy(), function._cache, function._views))
        vars(function)["training"] = False
        function._views = None  # what the cache refers to must not be written to
    try:
        if few:
            return forward(model, x, lengths)
        return _in_blocks(functools.partial(forward, model), x, rows, lengths)
    finally:
        for function, attributes, cache, views in before:
            vars(function).clear()
            vars(function).update(attributes)
            function._cache, function._views = cache, views


def _in_blocks(compute: Callable[[Any, Any], Any], x: Any, rows: int, lengths: Any = None) -> Any:
    """compute(block, lengths of the block) for each block of rows, joined."""
    result = None
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        y = compute(block, None if lengths is None else lengths[start : start + rows])
        if np.shape(y)[:1] != (len(block),):
            raise ValueError(
                f"predict: expected the model to return a row for each of the {len(block)} rows of a block, "
                f"got {np.shape(y)}; pass batch_size={len(x)} if it must see all at once"
            )
        if result is None:
            result = np.empty((len(x), *y.shape[1:]), y.dtype)
        result[start : start + rows] = y
    return result


def check_trains(owner: str, optimizer: Optimizer, model: Function) -> None:
    """Refuse an optimizer that was made for another model."""
    functions = [optimizer.model] if isinstance(optimizer.model, Function) else optimizer.model
    trained = {id(array) for function in functions for array in function.get_params_and_grads()[0]}
    if not any(id(array) in trained for array in model.get_params_and_grads()[0]):
        raise ValueError(f"{owner}: {optimizer!r} trains no parameter of {model!r}; make the optimizer from this model")
