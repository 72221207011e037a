"""Losses that compare scores for classes with the right class."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.arguments import numeric, real
from pancake.fast.layout import merged, time_first, unmerged
from pancake.losses.loss import ONE, Loss, reciprocal
from pancake.memory import Array

Indices: TypeAlias = NDArray[np.intp]


INTP = np.dtype(np.intp)


class ClassLoss(Loss):
    """Base of the losses that compare numbers for C classes with the right class.

    A prediction p has shape (..., C). The target is integer labels of shape (...), or rows of probabilities q of shape
    (..., C); labels are rows with a single 1. With a_c for q_c times everything that weighs it, the loss of an example is
    -sum_c a_c log P_c. A subclass says in `log_probabilities` what log P is.

    Parameters
    ----------
    class_weight : array_like (C,), optional
        A factor of at least 0 for each class.
    reduction : {"mean", "sum", "none"}
    """

    label_smoothing = 0.0
    _columns: Indices = np.arange(0)  # the numbers of the examples of the largest batch so far

    def __init__(self, class_weight: ArrayLike | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.class_weight = None
        if class_weight is not None:
            self.class_weight = numeric(self, class_weight, "class_weight").copy()
            if self.class_weight.ndim != 1 or not (self.class_weight >= 0).all():
                raise ValueError(f"{self!r}: expected class_weight to be one number of at least 0 for each class")

    def log_probabilities(self, p: Array) -> tuple[Array, Array, Array, Array]:
        """For predictions (C, N): scores (C, N) and a shift (N,) with log P = scores - shift, and e (C, N) and its sum (N,).

        d shift / d p = e / sum.
        """
        raise NotImplementedError

    # Inside, classes come first, (C, N): NumPy reduces over a first axis twice as fast as over a short last one.

    def compute_forward(self, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> Any:
        if pred.__class__ is not np.ndarray or pred.dtype not in ONE or not pred.size:
            pred = self._pred(pred)
        if pred.ndim == 0:
            raise ValueError(f"{self!r}: expected predictions (..., C), got a single number")
        swapped = pred.ndim == 3 and time_first(pred)
        p = pred.T if pred.ndim == 2 else merged(pred, swapped, pred.shape[-1]).T
        right, a, count = self._coefficients(target, weight, pred.shape, pred.dtype, swapped)
        scores, shift, e, total = self.log_probabilities(p if p.flags.c_contiguous else p.copy())
        if right is None:
            assert a is not None
            values = shift * np.add.reduce(a, axis=0)
            values -= np.add.reduce(_product(a, scores), axis=0)
        else:
            values = scores.take(right)
            np.subtract(shift, values, values)
            if a is not None:
                values = _product(a, values)
        self._cache = e, total, right, a, pred.shape, count, swapped
        if self.reduction == "none":
            return unmerged(values, swapped, pred.shape[:-1])
        objective = float(np.add.reduce(values))
        return objective / count if self.reduction == "mean" else objective

    def compute_backward(self) -> Array:
        if self._cache is None:
            self._no_call()
        e, total, right, a, shape, count, swapped = self._cache
        factor = reciprocal(count if self.reduction == "mean" else 1, e.dtype)
        if a is not None:
            factor = a * factor
        if right is None:
            dObj_dPred = e * (np.add.reduce(factor, axis=0) / total) - factor
        else:
            dObj_dPred = e * (factor / total)
            flat = dObj_dPred.reshape(-1)
            flat[right] = flat.take(right) - factor
        rows: Array = dObj_dPred.T
        return rows if rows.shape == shape else unmerged(rows, swapped, shape)

    def _coefficients(
        self, target: ArrayLike, weight: ArrayLike | None, shape: tuple[int, ...], dtype: np.dtype[Any], swapped: bool
    ) -> tuple[Indices | None, Array | None, float]:
        """What weighs each log P_c, and what "mean" divides by.

        With plain labels, the places in (C, N) of the right classes, and their factors (N,), or None if all are 1. Else None
        and all a_c (C, N).
        """
        leading, classes = shape[:-1], shape[-1]
        if target.__class__ is np.ndarray and target.dtype is INTP and target.shape == leading:
            labels: Indices | None = target if target.ndim == 1 else merged(target, swapped)
        else:
            labels = self._labels(target, shape, swapped)
        if labels is not None:
            if self._columns.size < labels.size:
                self._columns = np.arange(labels.size)
            try:  # where the right classes lie in an array (C, N)
                right = np.ravel_multi_index((labels, self._columns[: labels.size]), (classes, labels.size))
            except ValueError:
                raise ValueError(
                    f"{self!r}: expected labels from 0 to {classes - 1}, got values from {labels.min()} to {labels.max()}"
                ) from None
            if weight is None and self.class_weight is None and not self.label_smoothing:
                return right, None, labels.size
        examples = math.prod(leading)
        w = np.ones(examples, dtype)
        if weight is not None:
            w = merged(np.broadcast_to(self._weight(weight, leading, dtype), leading), swapped)
        c = np.ones(classes, dtype) if self.class_weight is None else self.class_weight.astype(dtype)
        if c.shape != (classes,):
            raise ValueError(f"{self!r}: expected class_weight of shape ({classes},), got {c.shape}")
        factors = w if labels is None else w * c.take(labels)
        count = float(np.add.reduce(factors))
        if self.reduction == "mean" and not count > 0:
            raise ValueError(f"{self!r}: the weights of these examples sum to {count}; there is no mean")
        if labels is not None and not self.label_smoothing:
            return right, factors, count
        if labels is not None:
            q = np.zeros((classes, examples), dtype)
            q.reshape(-1)[right] = 1
        else:
            q = merged(numeric(self, target, "target").astype(dtype, copy=False), swapped, classes).T
            if not (q >= 0).all() or not np.allclose(q.sum(axis=0), 1, atol=1e-3):
                raise ValueError(f"{self!r}: expected rows of probabilities, each from 0 to 1 and together 1, as the target")
        e = self.label_smoothing
        return None, ((1 - e) * q + e / classes) * c[:, np.newaxis] * w, count

    def _labels(self, target: ArrayLike, shape: tuple[int, ...], swapped: bool) -> Indices | None:
        """The target as a vector of class indices, or None if it holds probabilities."""
        labels = np.asarray(target)
        if labels.dtype.kind not in "biu":
            if labels.shape == shape:
                return None
            hint = "; labels must be integers, as of y.astype(int)" if labels.shape == shape[:-1] else ""
        elif labels.shape == shape[:-1]:
            classes: Indices = merged(labels, swapped).astype(np.intp, copy=False)
            return classes
        elif labels.shape == shape:
            hint = "; probabilities must be floats, as of y.astype(float)"
        else:
            hint = "; pass y.ravel()" if labels.size == math.prod(shape[:-1]) else ""
        raise ValueError(
            f"{self!r}: expected integer labels {shape[:-1]} or probabilities {shape} for predictions {shape}, "
            f"got {labels.dtype} {labels.shape}{hint}"
        )


def _product(a: Array, b: Array) -> Array:
    """The product, but 0 where a is 0, also where b is infinite."""
    result: Array = np.multiply(a, b, out=np.zeros_like(b), where=a != 0)
    return result


class CrossEntropy(ClassLoss):
    """-log softmax(z)_t for each example: how surprising the right class t is to logits z of shape (..., C).

    The target is integer labels of shape (...), or rows of probabilities q of shape (..., C), for which the loss is
    -sum_c q_c log softmax(z)_c. Labels are rows with a single 1. With a_c for q_c times everything that weighs it,

        loss = sum_c a_c (log sum_j exp(z_j) - z_c),   dObj_dPred = (sum_c a_c) softmax(z) - a.

    "mean" divides by the sum of class_weight[t] weight for labels, by that of weight for probabilities.

    Parameters
    ----------
    label_smoothing : float
        In [0, 1]: this share of every target is spread evenly over all classes.
    class_weight : array_like (C,), optional
        A factor of at least 0 for each class.
    reduction : {"mean", "sum", "none"}

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    Smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weight: ArrayLike | None = None, *, reduction: str = "mean") -> None:
        super().__init__(class_weight, reduction=reduction)
        self.label_smoothing = real(self, "label_smoothing", label_smoothing)
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"CrossEntropy: expected label_smoothing in [0, 1], got {label_smoothing}")

    def log_probabilities(self, p: Array) -> tuple[Array, Array, Array, Array]:
        shifted = p - np.maximum.reduce(p, 0)  # so that exp cannot overflow
        e = np.exp(shifted)
        total = np.add.reduce(e, 0)
        return shifted, np.log(total), e, total


class NegativeLogLikelihood(ClassLoss):
    """-p_t for each example, p of shape (..., C) being logarithms of probabilities, as `LogSoftmax` puts them out.

    The target t is integer labels of shape (...), or rows of probabilities q of shape (..., C), for which the loss is
    -sum_c q_c p_c. With a_c for q_c times everything that weighs it, the loss is -sum_c a_c p_c, and dObj_dPred = -a.
    "mean" divides by the sum of class_weight[t] weight for labels, by that of weight for probabilities.

    The log of 0 counts in full: the loss is inf if the right class has p = -inf, and others may. For logits use
    `CrossEntropy`, which is this after a `LogSoftmax`.

    Parameters
    ----------
    class_weight : array_like (C,), optional
        A factor of at least 0 for each class.
    reduction : {"mean", "sum", "none"}

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html
    """

    def log_probabilities(self, p: Array) -> tuple[Array, Array, Array, Array]:
        return p, np.zeros(p.shape[1], p.dtype), np.zeros_like(p), np.ones(p.shape[1], p.dtype)
