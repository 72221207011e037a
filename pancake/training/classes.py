"""Which classes predictions and targets stand for: scores, probabilities, labels, or what cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pancake.arguments import aligned, flag, real
from pancake.memory import Array
from pancake.training.arrays import NAMES, real_array


class Classes(NamedTuple):
    """Predicted and right classes (M,) of the examples that count, their weights if there are any, and C, 0 without scores."""

    pred: Array
    target: Array
    weight: Array | None
    classes: int


def read_classes(
    function: Callable[..., Any],
    pred: ArrayLike,
    target: ArrayLike,
    threshold: float | None,
    multilabel: bool,
    weight: ArrayLike | None,
) -> Classes:
    owner = function.__name__
    multilabel = flag(function, "multilabel", multilabel)
    p, t = real_array(owner, "pred", pred), real_array(owner, "target", target)
    if threshold is not None:
        threshold = real(function, "threshold", threshold)
    count = 0
    column = p.ndim > 1 and t.shape == (*p.shape[:-1], 1)  # of one axis these would be predictions for a single target
    if not multilabel and p.ndim and p.shape[-1] > 1 and (column or t.shape == p.shape[:-1]):
        count = p.shape[-1]
    elif not multilabel and p.ndim > 1 and p.shape == t.shape and p.shape[-1] > 1:
        counted = ... if weight is None else (weight_of_entries(owner, weight, p.shape) != 0).any(axis=-1)
        count = _of_rows(owner, p[counted], t[counted], p.shape)
    if count and threshold is not None:
        raise ValueError(f"{owner}: a threshold is for one column, or with multilabel=True, got scores of {count} classes")
    if count:
        rows = t.shape == p.shape
        p, t = _largest(p), _largest(t) if rows else t
    p, t = without_last_axis(p, t)
    if p.shape != t.shape or not p.size:
        hint = "; predictions come first" if np.ndim(target) == np.ndim(pred) + 1 else ""
        raise ValueError(
            f"{owner}: expected scores (..., C) or classes (...) for targets (...), got {np.shape(pred)} and {np.shape(target)}"
            + hint
        )
    w = None
    if weight is not None:
        w = weight_of_entries(owner, weight, t.shape).ravel()
    p, t = p.ravel(), t.ravel()
    if w is not None:
        p, t, w = (array[w != 0] for array in (p, t, w))
    if not count:
        p = _cut(owner, p, threshold, multilabel)
    binary = multilabel or (not count and (threshold is not None or np.asarray(pred).dtype.kind == "f"))
    _check_labels(owner, "target", t, 2 if binary else count)
    if not count:
        _check_labels(owner, "pred", p[~np.isnan(p)], 0)
    return Classes(p, t, w, count)


def _of_rows(owner: str, p: Array, t: Array, shape: tuple[int, ...]) -> int:
    """How many classes there are in predictions and targets of the same shape (..., C); 0 if the entries are classes."""
    with np.errstate(invalid="ignore"):
        probabilities = bool((t >= 0).all()) and np.allclose(t.sum(axis=-1, dtype=float), 1, atol=1e-3)
    if p.dtype.kind == "f" and probabilities:
        return shape[-1]
    if p.dtype.kind != "f" and (max(p.max(initial=0), t.max(initial=0)) > 1 or not probabilities):
        return 0
    raise ValueError(
        f"{owner}: predictions and targets of one shape {shape} may be rows of several labels, or scores and classes; pass "
        "multilabel=True if each entry is a label of its own, else targets.argmax(-1)"
        + ("" if p.dtype.kind == "f" else " and pred.argmax(-1)")
    )


def _cut(owner: str, p: Array, threshold: float | None, multilabel: bool) -> Array:
    """The class of each number, 0 or 1, nan where there is none; integers and booleans are classes already."""
    if threshold is None:
        if p.dtype.kind != "f":
            return p.astype(np.int64)
        with np.errstate(invalid="ignore"):
            outside = (p < 0) | (p > 1)
        if outside.any():
            raise ValueError(
                f"{owner}: expected probabilities of class 1, from 0 to 1, got {p[outside][0]:.4g}; for logits pass "
                "threshold=0.0, for classes integers, as of pred.astype(int)"
            )
        threshold = 0.5
    cut: Array = np.where(np.isnan(p), np.nan, p >= threshold) if p.dtype.kind == "f" else (p >= threshold).astype(np.int64)
    return cut


def _check_labels(owner: str, name: str, labels: Array, count: int) -> None:
    """Refuse what is no class, from 0 to count - 1, or of any number for a count of 0."""
    if not labels.size:
        return
    with np.errstate(invalid="ignore"):
        whole = bool((labels == np.floor(labels)).all())
    low, high = labels.min(), labels.max()
    if whole and low >= 0 and (not count or high < count):
        return
    if not whole:
        hint = "; predictions come first, then targets" if name == "target" else ""
    elif low == 1 and high == count:
        hint = "; pass y - 1"
    else:
        hint = f"; {NAMES}" if count else ""
    expected = f"classes from 0 to {count - 1}" if count else "classes 0, 1, 2, ..."
    raise ValueError(f"{owner}: expected {name} to be {expected}, got {np.unique(labels)[:5]}{hint}")


def _largest(scores: Array) -> Array:
    """The class of the largest score, nan where a score is nan."""
    bad = np.isnan(scores).any(axis=-1)
    largest: Array = scores.argmax(axis=-1)
    return np.where(bad, np.nan, largest) if bad.any() else largest


def weight_of_entries(owner: str, weight: ArrayLike, shape: tuple[int, ...]) -> Array:
    """The weight of each entry of an array of that shape, whose leading axes the weights have."""
    w = real_array(owner, "weight", weight).astype(np.float64)
    if w.ndim > 1 and w.shape[-1] == 1 and w.shape != shape[: w.ndim]:
        w = w[..., 0]
    if w.ndim > len(shape) or w.shape != shape[: w.ndim] or (w.ndim == 0 and shape):
        raise ValueError(f"{owner}: expected a weight of the leading axes of the targets {shape}, got {w.shape}")
    if not (w >= 0).all():
        raise ValueError(f"{owner}: expected weights of at least 0, got {w.min()}")
    if not (w < np.inf).all():
        raise ValueError(f"{owner}: expected finite weights, got {w.max()}")
    return np.broadcast_to(aligned(w, len(shape)), shape)


def without_last_axis(p: Any, t: Any) -> tuple[Array, Array]:
    """Arrays (N, 1) and (N,) both as (N,)."""
    if p.ndim == t.ndim + 1 and p.shape[-1] == 1:
        p = p[..., 0]
    elif t.ndim == p.ndim + 1 and t.shape[-1] == 1:
        t = t[..., 0]
    return p, t
