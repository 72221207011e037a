"""How good predictions are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.arguments import name_of, size
from pancake.function import Function
from pancake.training.batches import examples
from pancake.training.predict import predict

Metric: TypeAlias = Callable[[Any, Any], float]


def evaluate(
    model: Function,
    loss: Any,
    x: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int | None = None,
) -> dict[str, float]:
    """The loss and the metrics of a model in evaluation mode; mode, caches and gradients stay as they were.

    Parameters
    ----------
    model : Function
    loss : Loss
        It is called once, with the predictions for all examples.
    x, y : array_like (N, ...)
    sample_weight : array_like (N,) or (N, T), optional
        How much each example counts in the loss.
    lengths : array_like (N,), optional
        The lengths of the sequences.
    metrics : dict of functions, optional
        As {"accuracy": accuracy}: each is called with predictions and targets.
    batch_size : int, optional
        As in `predict`.

    Returns
    -------
    dict
        "loss" (the sum for a loss with reduction "none"), and each metric by its name.

    Raises
    ------
    TypeError, ValueError
        If x, y, weights or lengths are not arrays with as many rows.
    """
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"evaluate: expected a loss, such as MeanSquaredError(), as second argument, got {loss!r}")
    metrics = check_metrics(evaluate, metrics)
    x, y, weight, lengths = examples("evaluate", x, y, sample_weight, lengths)
    passed = {} if lengths is None else {"lengths": lengths}
    pred = predict(model, x, batch_size, **passed)
    loss = copy.copy(loss)  # whose compute_backward still refers to the latest training batch
    objective = loss(pred, y) if weight is None else loss(pred, y, weight)
    return {"loss": float(np.sum(objective)), **measured(metrics, pred, y)}


def check_metrics(owner: object, metrics: Mapping[str, Metric] | None) -> dict[str, Metric]:
    """The metrics as a dict, refused if they are not functions with names of their own."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping) or not all(isinstance(k, str) and callable(f) for k, f in metrics.items()):
        raise TypeError(f"{name_of(owner)}: expected metrics as a dict of functions, {{'accuracy': accuracy}}, got {metrics!r}")
    for name in metrics:
        if name in ("epoch", "loss", "lr", "seconds") or name.startswith("val_"):
            raise ValueError(f"{name_of(owner)}: the name {name!r} is taken; give this metric another")
    return dict(metrics)


def measured(metrics: Mapping[str, Metric], pred: Any, target: Any) -> dict[str, float]:
    """The value of each metric."""
    values = {}
    for name, metric in metrics.items():
        value = np.asarray(metric(pred, target))
        if value.size != 1 or value.dtype.kind not in "biuf":
            raise TypeError(f"the metric {name!r}: expected it to return a number, got {value!r}"[:200])
        values[name] = float(value.item())
    return values


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
    p, t, _ = _classes("accuracy", pred, target)
    return float((p == t).mean())


def confusion_matrix(pred: ArrayLike, target: ArrayLike, num_classes: int | None = None) -> NDArray[np.int64]:
    """How often each class is taken for each: the entry (i, j) counts examples of class i that are predicted as j.

    Parameters
    ----------
    pred : array_like
        Scores (..., C) of C >= 2 classes, of which the largest wins; probabilities of class 1 of the shape of the targets,
        (...) or (..., 1), of which at least 0.5 wins; or class indices, integers or booleans, of that shape.
    target : array_like
        Class indices (...) or (..., 1), as integers, booleans, or floats without a fraction; or rows of probabilities
        (..., C) like the scores.
    num_classes : int, optional
        C. Without it the number of columns of scores, or else one more than the largest class.

    Returns
    -------
    ndarray (C, C) of int64
        Rows are the targets and columns the predictions, as in scikit-learn.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, the shapes do not fit together, there are no examples, or a class is not one of 0 to C - 1.
    """
    p, t, least = _classes("confusion_matrix", pred, target)
    p, t = (_indices(name, array) for name, array in (("pred", p), ("target", t)))
    largest = int(max(p.max(), t.max()))
    count = max(least, largest + 1) if num_classes is None else size(confusion_matrix, num_classes=num_classes)
    if largest >= count:
        raise ValueError(f"confusion_matrix: expected classes from 0 to {count - 1}, got {largest}")
    return np.bincount(t * count + p, minlength=count * count).reshape(count, count).astype(np.int64, copy=False)


def _indices(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):  # of nan, which the comparison finds
        indices: NDArray[np.int64] = array.ravel().astype(np.int64)
    if not np.array_equal(indices, array.ravel()) or indices.min() < 0:
        raise ValueError(f"confusion_matrix: expected {name} to be classes 0, 1, 2, ..., got {np.unique(array)[:5]}")
    return indices


def _classes(owner: str, pred: ArrayLike, target: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], int]:
    """The predicted and the right classes, in one shape, and how many classes the scores are for, if there are scores."""
    p, t = _real(owner, "pred", pred), _real(owner, "target", target)
    count = 1
    if p.ndim and p.shape[-1] > 1 and t.shape in (p.shape[:-1], (*p.shape[:-1], 1)):
        p, count = _largest(p), p.shape[-1]
    elif p.ndim > 1 and p.shape == t.shape and p.shape[-1] > 1 and p.dtype.kind == t.dtype.kind == "f":
        p, t, count = _largest(p), _largest(t), p.shape[-1]
    elif p.dtype.kind == "f":
        p = np.where(np.isnan(p), np.nan, p >= 0.5)
    p, t = _without_last_axis(p, t)
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


def r2_score(pred: ArrayLike, target: ArrayLike) -> float:
    """The share of the variance of the targets that the predictions explain: 1 - sum (t - p)^2 / sum (t - mean t)^2.

    1 is perfect, 0 as good as always saying the mean, and less is worse. Of targets with several outputs it is the mean
    over the outputs. An output whose targets are all the same counts 1 if it is predicted exactly, else 0. (scikit-learn's
    function of the same name takes the targets first.)

    Parameters
    ----------
    pred, target : array_like (N,) or (N, ...)
        Of one shape, but that one of them may be (N, 1) where the other is (N,).

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, the shapes differ, or there are fewer than two examples.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.r2_score.html
    """
    p, t = (_real("r2_score", name, array).astype(np.float64) for name, array in (("pred", pred), ("target", target)))
    p, t = _without_last_axis(p, t)
    if p.shape != t.shape or p.ndim == 0 or len(p) < 2 or not p.size:
        raise ValueError(
            "r2_score: expected predictions and targets of one shape for two or more examples, "
            f"got {np.shape(pred)} and {np.shape(target)}"
        )
    p, t = p.reshape(len(p), -1), t.reshape(len(t), -1)
    rest = np.square(t - p).sum(axis=0)
    total = np.square(t - t.mean(axis=0)).sum(axis=0)
    constant = total == 0
    scores = np.where(constant, rest == 0, 1 - rest / np.where(constant, 1, total))
    return float(scores.mean())


def _real(owner: str, name: str, value: ArrayLike) -> NDArray[Any]:
    """`value` as an array of real numbers, else refused with a message that begins with `owner`."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{owner}: expected {name} to be an array, got rows of different lengths") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{owner}: expected {name} to be real numbers, got dtype {array.dtype}")
    return array


def _without_last_axis(p: Any, t: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Arrays (N, 1) and (N,) both as (N,)."""
    if p.ndim == t.ndim + 1 and p.shape[-1] == 1:
        p = p[..., 0]
    elif t.ndim == p.ndim + 1 and t.shape[-1] == 1:
        t = t[..., 0]
    return p, t
