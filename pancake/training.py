"""What surrounds the training loop: predictions, how good they are, and whose parameters an optimizer trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.containers import check_lengths, forward
from pancake.function import Function, size
from pancake.optimizers import Optimizer

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
        Where a score is nan, no class is predicted.
    target : array_like
        Class indices of shape (...), or (..., 1); or rows of probabilities (..., C) like the scores: the largest wins.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, the shapes do not fit together, or there are no examples.
    """
    p, t, _ = classes("accuracy", pred, target)
    return float((p == t).mean())


def classes(owner: str, pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], int]:
    """The predicted and the right classes, in one shape, and how many classes the scores are for, if there are scores."""
    p, t = real(owner, "pred", pred), real(owner, "target", target)
    count = 1
    if p.ndim and p.shape[-1] > 1 and t.shape in (p.shape[:-1], (*p.shape[:-1], 1)):
        p, count = _largest(p), p.shape[-1]
    elif p.ndim > 1 and p.shape == t.shape and p.shape[-1] > 1 and p.dtype.kind == t.dtype.kind == "f":
        p, t, count = _largest(p), _largest(t), p.shape[-1]
    elif p.dtype.kind == "f":
        p = np.where(np.isnan(p), np.nan, p >= 0.5)
    p, t = without_last_axis(p, t)
    if p.shape != t.shape or not p.size:
        raise ValueError(
            f"{owner}: expected scores (..., C) or classes (...) for targets (...), got {np.shape(pred)} and {np.shape(target)}"
        )
    return p, t, count


def _largest(scores: NDArray[Any]) -> NDArray[Any]:
    """The class of the largest score, nan where a score is nan."""
    bad = np.isnan(scores).any(axis=-1)
    largest: NDArray[Any] = scores.argmax(axis=-1)
    return np.where(bad, np.nan, largest) if bad.any() else largest


def real(owner: str, name: str, value: ArrayLike) -> NDArray[Any]:
    """`value` as an array of real numbers, else refused with a message that begins with `owner`."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{owner}: expected {name} to be an array, got rows of different lengths") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{owner}: expected {name} to be real numbers, got dtype {array.dtype}")
    return array


def without_last_axis(p: Any, t: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Arrays (N, 1) and (N,) both as (N,)."""
    if p.ndim == t.ndim + 1 and p.shape[-1] == 1:
        p = p[..., 0]
    elif t.ndim == p.ndim + 1 and t.shape[-1] == 1:
        t = t[..., 0]
    return p, t


def check_trains(owner: str, optimizer: Optimizer, model: Function) -> None:
    """Refuse an optimizer that was made for another model."""
    functions = [optimizer.model] if isinstance(optimizer.model, Function) else optimizer.model
    trained = {id(array) for function in functions for array in function.get_params_and_grads()[0]}
    if not any(id(array) in trained for array in model.get_params_and_grads()[0]):
        raise ValueError(f"{owner}: {optimizer!r} trains no parameter of {model!r}; make the optimizer from this model")
