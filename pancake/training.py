"""What surrounds the training loop: predictions and how good they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.containers import check_lengths, forward
from pancake.function import Function, size

# Rows of a block in `predict`. The activations of so many rows of a small net stay in cache from layer to layer.
ROWS = 512


def predict(model: Function, x: Any, batch_size: int | None = None, lengths: ArrayLike | None = None) -> Any:
    """The output of a model in evaluation mode, computed block by block; mode, caches and gradients stay as they were.

    Parameters
    ----------
    model : Function
        Whose output has a row for each row of its input.
    x : array_like (N, ...)
    batch_size : int, optional
        Rows of a block. Without it 512: a million rows need no more memory than their output.
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
    before = [(vars(function), vars(function).copy()) for function in model.walk()]
    for attributes, _ in before:
        attributes["training"] = False
        attributes["_views"] = None  # what the cache refers to must not be written to
    try:
        if x.ndim == 0 or len(x) <= rows:
            return forward(model, x, lengths)
        result = None
        for start in range(0, len(x), rows):
            block = x[start : start + rows]
            y = forward(model, block, None if lengths is None else lengths[start : start + rows])
            if np.shape(y)[:1] != (len(block),):
                raise ValueError(
                    f"predict: expected the model to return a row for each of the {len(block)} rows of a block, "
                    f"got {np.shape(y)}; pass batch_size={len(x)} if it must see all at once"
                )
            if result is None:
                result = np.empty((len(x), *y.shape[1:]), y.dtype)
            result[start : start + rows] = y
        return result
    finally:
        for attributes, saved in before:
            attributes.update(saved)
            for name in attributes.keys() - saved.keys():
                del attributes[name]


def accuracy(pred: ArrayLike, target: ArrayLike) -> float:
    """The share of examples whose class is predicted right, from 0 to 1.

    Parameters
    ----------
    pred : array_like
        Scores (..., C) of C >= 2 classes for targets of shape (...): the largest wins. Or probabilities of class 1 of the
        shape of the targets, (...) or (..., 1): at least 0.5 wins. Integers or booleans of that shape are classes themselves.
    target : array_like
        Class indices of shape (...), or (..., 1); or rows of probabilities (..., C) like the scores: the largest wins.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or there are no examples.
    """
    p, t = np.asarray(pred), np.asarray(target)
    if p.shape == t.shape and p.ndim and p.shape[-1] > 1 and p.dtype.kind == "f" and t.dtype.kind == "f" and p.ndim > 1:
        p, t = p.argmax(axis=-1), t.argmax(axis=-1)
    elif p.ndim and p.shape[-1] > 1 and t.shape in (p.shape[:-1], (*p.shape[:-1], 1)):
        p = p.argmax(axis=-1)
    elif p.dtype.kind == "f":
        p = p >= 0.5
    if p.ndim == t.ndim + 1 and p.shape[-1] == 1:
        p = p[..., 0]
    elif t.ndim == p.ndim + 1 and t.shape[-1] == 1:
        t = t[..., 0]
    if p.shape != t.shape or not p.size:
        raise ValueError(
            f"accuracy: expected scores (..., C) or classes (...) for targets (...), got {np.shape(pred)} and {np.shape(target)}"
        )
    return float((p == t).mean())
