"""How good predictions are, in one number or in a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.arguments import size
from pancake.memory import Array
from pancake.training.arrays import NAMES, real_array
from pancake.training.classes import read_classes, weight_of_entries, without_last_axis

Mask = NDArray[np.bool_]

MOST_CLASSES = 1 << 16  # of a table, whose counts then take 32 GiB

# --- classes ---


def accuracy(
    pred: ArrayLike,
    target: ArrayLike,
    threshold: float | None = None,
    multilabel: bool = False,
    weight: ArrayLike | None = None,
) -> float:
    """The share of examples whose class is predicted right, from 0 to 1.

    Parameters
    ----------
    pred : array_like
        Scores (..., C) of C >= 2 classes for targets (...): the largest wins. Or probabilities of class 1, from 0 to 1, of the
        shape of the targets, (...) or (..., 1): at least 0.5 wins. Integers or booleans of that shape are classes themselves.
        Where a score is nan, no class is predicted.
    target : array_like
        Class indices of shape (...), or (..., 1); or rows of probabilities (..., C), which sum to 1: the largest wins.
    threshold : float, optional
        Class 1 is predicted where `pred` is at least that: 0.0 for logits of class 1. Without it numbers outside [0, 1] are
        refused, since nothing tells whether they are logits.
    multilabel : bool
        Each entry is a question of its own, 0 or 1: rows of several labels. Without it such rows are refused, since they may
        also be meant as scores.
    weight : array_like, optional
        How much each example counts, of the leading axes of the targets. What has weight 0 may be anything. The result is nan
        if nothing counts.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, the shapes do not fit together, there are no examples, or it is ambiguous what is meant.
    """
    p, t, w, _ = read_classes(accuracy, pred, target, threshold, multilabel, weight)
    return _mean(p == t, w)


def confusion_matrix(
    pred: ArrayLike,
    target: ArrayLike,
    num_classes: int | None = None,
    *,
    threshold: float | None = None,
    multilabel: bool = False,
    weight: ArrayLike | None = None,
) -> NDArray[Any]:
    """How often each class is taken for each: the entry (i, j) counts examples of class i that are predicted as j.

    Parameters
    ----------
    pred, target, threshold, multilabel
        As in `accuracy`.
    num_classes : int, optional
        C. Without it the number of columns of scores, or else one more than the largest class.
    weight : array_like, optional
        How much each example counts, of the leading axes of the targets.

    Returns
    -------
    ndarray (C, C) of int64, or of float64 with weights
        Rows are the targets and columns the predictions, as in scikit-learn.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`, or if a class is not one of 0 to C - 1, or C is more than 65,536.
    """
    p, t, w, count = read_classes(confusion_matrix, pred, target, threshold, multilabel, weight)
    if np.isnan(p).any():
        raise ValueError("confusion_matrix: expected pred to be finite, got nan, which is no class; leave those examples out")
    largest = int(max(p.max(initial=0), t.max(initial=0)))
    if num_classes is not None:
        count = size(confusion_matrix, num_classes=num_classes)
    elif not count:
        count = largest + 1
    if largest >= count:
        raise ValueError(f"confusion_matrix: expected classes from 0 to {count - 1}, got {largest}")
    if count > MOST_CLASSES:
        raise ValueError(f"confusion_matrix: expected at most {MOST_CLASSES} classes, got {count}; {NAMES}")
    places = t.astype(np.intp) * count + p.astype(np.intp)  # of labels in uint8 the product would wrap around
    table = np.bincount(places, w, minlength=count * count).reshape(count, count)
    return table if w is not None else table.astype(np.int64, copy=False)


def f1_score(
    pred: ArrayLike,
    target: ArrayLike,
    threshold: float | None = None,
    multilabel: bool = False,
    weight: ArrayLike | None = None,
) -> float:
    """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN), from 0 to 1.

    Of two classes it is that of class 1; of more, the plain mean over the classes that occur (scikit-learn's "macro"). With
    `multilabel` it is the mean over the labels, which are the last axis. A class that nobody has and nobody predicts counts 0.
    The result is nan if nothing counts.

    Parameters
    ----------
    pred, target, threshold, multilabel, weight
        As in `accuracy`.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`.

    References
    ----------
    van Rijsbergen, "Information Retrieval" (1979), chapter 7.
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.f1_score.html, which takes the targets first.
    """
    p, t, w, count = read_classes(f1_score, pred, target, threshold, multilabel, weight)
    w = np.ones(len(p)) if w is None else w
    if not w.size:
        return math.nan
    if multilabel:
        labels = np.shape(target)[-1] if np.ndim(target) > 1 else 1
        kept = np.arange(np.size(target)) % labels
        if weight is not None:
            kept = kept[weight_of_entries("f1_score", weight, np.shape(target)).ravel() != 0]
        return float(np.mean([_f1((p == 1)[kept == i], (t == 1)[kept == i], w[kept == i]) for i in range(labels)]))
    occurring = [int(c) for c in np.unique(np.concatenate([p[~np.isnan(p)], t]))]
    if count <= 2 and max(occurring, default=0) <= 1:
        return _f1(p == 1, t == 1, w)
    return float(np.mean([_f1(p == c, t == c, w) for c in occurring]))


def _f1(p: Mask, t: Mask, w: Array) -> float:
    wrong = float(w[p != t].sum())
    right = float(w[p & t].sum())
    return 2 * right / (2 * right + wrong) if right else 0.0


def top_k_accuracy(pred: ArrayLike, target: ArrayLike, k: int = 5, weight: ArrayLike | None = None) -> float:
    """The share of examples whose class is among the `k` with the largest scores.

    Of equal scores those of the smaller classes come first. An example with a score of nan is wrong.

    Parameters
    ----------
    pred : array_like (..., C)
        Scores of C >= 2 classes.
    target : array_like
        Class indices of shape (...) or (..., 1), or rows of probabilities (..., C).
    k : int
        From 1 to C.
    weight : array_like, optional
        How much each example counts, of the leading axes of the targets.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`, or if there are less than `k` classes.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.top_k_accuracy_score.html, which takes the targets first.
    """
    scores = real_array("top_k_accuracy", "pred", pred)
    size(top_k_accuracy, k=k)
    _, t, w, count = read_classes(top_k_accuracy, scores, target, None, False, weight)
    if count < max(k, 2):
        raise ValueError(f"top_k_accuracy: expected scores (..., C) of at least {max(k, 2)} classes, got {scores.shape}")
    rows = scores.reshape(-1, count)
    if weight is not None:
        rows = rows[weight_of_entries("top_k_accuracy", weight, scores.shape[:-1]).ravel() != 0]
    labels = t.astype(np.intp)[:, np.newaxis]
    own = np.take_along_axis(rows, labels, axis=1)
    before = (rows > own) | ((rows == own) & (np.arange(count) < labels))
    return _mean((before.sum(axis=1) < k) & ~np.isnan(rows).any(axis=1), w)


# --- numbers ---


def r2_score(pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The share of the variance of the targets that the predictions explain: 1 - sum (t - p)^2 / sum (t - mean t)^2.

    1 is perfect, 0 as good as always saying the mean, and less is worse. Of targets with several outputs it is the mean
    over the outputs. An output whose targets are all the same counts 1 if it is predicted exactly, else 0. (scikit-learn's
    function of the same name takes the targets first.)

    Parameters
    ----------
    pred, target : array_like (N,) or (N, ...)
        Of one shape, but that one of them may be (N, 1) where the other is (N,).
    weight : array_like, optional
        How much each example counts, of the leading axes of the targets: a factor in both sums and in the mean.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, the shapes differ, or there are fewer than two examples.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.r2_score.html
    """
    p, t, w = _numbers("r2_score", pred, target, weight)
    if len(p) < 2:
        raise ValueError(f"r2_score: expected two or more examples, got {len(p)}")
    total_weight = w.sum(axis=0)
    with np.errstate(all="ignore"):
        rest = (w * np.square(t - p)).sum(axis=0)
        total = (w * np.square(t - (w * t).sum(axis=0) / total_weight)).sum(axis=0)
        constant = _constant(t, w)  # not total == 0: a mean of equal numbers may be rounded
        scores = np.where(constant & ~np.isnan(rest), rest == 0, 1 - rest / np.where(constant, 1, total))
    return float(np.where(total_weight > 0, scores, np.nan).mean())


def _constant(t: Array, w: Array) -> Array:
    """Whether all targets that count are the same, for each output."""
    low, high = (f(t, axis=0, where=w > 0, initial=i) for f, i in ((np.min, np.inf), (np.max, -np.inf)))
    constant: Array = low == high
    return constant


def mean_absolute_error(pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The mean of |p - t| over all entries: sum w |p - t| / sum w.

    Parameters
    ----------
    pred, target : array_like (N,) or (N, ...)
        Of one shape, but that one of them may be (N, 1) where the other is (N,).
    weight : array_like, optional
        How much each example counts, of the leading axes of the targets. (The loss `MeanAbsoluteError` divides by the number
        of entries, whatever the weights.)

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, the shapes differ, or there are no examples.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.mean_absolute_error.html
    """
    p, t, w = _numbers("mean_absolute_error", pred, target, weight)
    return _mean(np.abs(p - t).ravel(), w.ravel())


def _numbers(owner: str, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Predictions, targets and weights as (N, K); what has weight 0 is 0."""
    p, t = without_last_axis(
        *(real_array(owner, name, array).astype(np.float64) for name, array in (("pred", pred), ("target", target)))
    )
    if p.shape != t.shape or p.ndim == 0 or not p.size:
        raise ValueError(
            f"{owner}: expected predictions and targets of one shape for one or more examples, "
            f"got {np.shape(pred)} and {np.shape(target)}"
        )
    w = np.ones(t.shape) if weight is None else weight_of_entries(owner, weight, t.shape)
    p, t = np.where(w > 0, p, 0), np.where(w > 0, t, 0)
    return p.reshape(len(p), -1), t.reshape(len(p), -1), w.reshape(len(p), -1)


def _mean(values: Array, weight: Array | None) -> float:
    """The weighted mean; nan if nothing counts."""
    if weight is None:
        return float(values.mean())
    total = float(weight.sum())
    return float((values * weight).sum()) / total if total else math.nan
