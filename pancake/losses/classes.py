"""Losses that compare numbers for C classes with the right class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import as_array, brief, numeric, share, whole
from pancake.attributes import checked
from pancake.function import rows, wide
from pancake.losses.elementwise import product
from pancake.losses.loss import Loss
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class ClassLoss(Loss):
    """Base of the losses that compare numbers for C classes with the right class.

    A prediction has shape (..., C). The target is integer labels of shape (...), or rows of probabilities q of shape (..., C);
    labels are rows with a single 1.

    Parameters
    ----------
    class_weight : array_like (C,), optional
        A factor of at least 0 for each class, finite.
    reduction : {"mean", "sum", "none"}
    """

    label_smoothing = 0.0
    ignore_index: int | None = None

    def __init__(self, class_weight: ArrayLike | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.class_weight = None if class_weight is None else self._checked(class_weight).copy()

    def _checked(self, class_weight: Any) -> Array:
        """A number of at least 0 for each class, else refused."""
        v = numeric(self, class_weight, "class_weight")
        if v.ndim != 1 or not v.size or not ((v >= 0) & (v < np.inf)).all():
            raise ValueError(
                f"{type(self).__name__}: expected class_weight to be one number of at least 0 for each class, all finite, "
                f"got {brief(class_weight)}; a class of which there are no examples may have 0"
            )
        return v

    def _class_weight(self, C: int, dtype: np.dtype[Any]) -> Array:
        """The factor of each class in the dtype of the predictions, 1 if none is given."""
        if self.class_weight is None:
            return np.ones(C, dtype)
        v = self._checked(self.class_weight)  # which may have been set to anything since
        if v.shape != (C,):
            raise ValueError(f"{self!r}: expected class_weight of shape ({C},), got {v.shape}")
        v = self._in_dtype(v, "class_weight", dtype)
        if v.max() == np.inf:
            raise ValueError(f"{self!r}: expected class_weight that {dtype}, the dtype of the predictions, can hold")
        return v

    def _examples(self, pred: Any, target: Any, weight: Any) -> tuple[Array, Array, float]:
        """For N examples the predictions z (N, C), what weighs each log probability, a (N, C), and what "mean" divides by.

        a_c = w v_c ((1 - e) q_c + e / C) for the weight w of the example, the weights v of the classes, and label smoothing e.
        """
        z = self._pred(pred)
        if z.ndim == 0:
            raise ValueError(f"{self!r}: expected predictions (..., C), got a single number")
        C = z.shape[-1]
        w = np.broadcast_to(self._weight(weight, z.shape[:-1], z.dtype), z.shape[:-1]).reshape(-1)
        v = self._class_weight(C, z.dtype)
        target = as_array(self, target, "target")
        w = self._without_ignored(target, z.shape, w)
        labels = self._labels(target, z.shape, w)
        if labels is not None:
            q = (labels[:, np.newaxis] == np.arange(C)).astype(z.dtype)
            divisor = (w * v[labels]).sum(dtype=np.float64)
        else:
            q = row_probabilities(self, target, z.dtype, w)
            divisor = w.sum(dtype=np.float64)
        e = self.label_smoothing
        a = w[:, np.newaxis] * v * ((1 - e) * q + e / C)
        z = np.where(a.any(axis=1, keepdims=True), rows(z), 0)  # whatever stands in an example that does not count
        return z, a, float(divisor)

    def _without_ignored(self, target: NDArray[Any], shape: tuple[int, ...], w: Array) -> Array:
        """The weights of the examples, with 0 for those whose label is the one to ignore."""
        if self.ignore_index is None:
            return w
        if target.dtype.kind == "f" and target.shape == shape and self.ignore_index >= 0:
            raise ValueError(
                f"{self!r}: expected integer labels {shape[:-1]}, got probabilities {shape}, none of which is the label "
                f"{self.ignore_index}; give the rows that do not count weight 0"
            )
        if target.dtype.kind not in "biu" or target.shape != shape[:-1]:
            return w
        return np.where(target.reshape(-1) == self.ignore_index, 0, w)

    def _labels(self, labels: NDArray[Any], shape: tuple[int, ...], w: Array) -> NDArray[np.intp] | None:
        """The target as a vector of class indices, or None if it holds probabilities."""
        if labels.dtype.kind not in "biu":
            if labels.shape == shape:
                return None
            numbers = labels.dtype.kind == "f"
            way = "y.astype(int)" if numbers else "names, y = np.unique(y, return_inverse=True)"
            hint = f"; labels must be integers, as of {way}" if labels.shape == shape[:-1] else ""
            if labels.ndim > len(shape):
                hint = "; the prediction comes first, then the target"
        elif labels.shape == shape[:-1]:
            counted = np.where(w == 0, 0, labels.reshape(-1)).astype(np.intp)
            if counted.min() < 0 or counted.max() >= shape[-1]:
                found = labels.reshape(-1)[w > 0]
                low, high = found.min(), found.max()
                hint = "; labels count from 0: pass y - 1" if low == 1 and high == shape[-1] else ""
                if (np.abs(found) == 1).all() and low < 0:
                    hint = "; labels count from 0: pass (y + 1) // 2"
                if shape[-1] == 1:
                    hint = "; a model of one output goes with BinaryCrossEntropy(from_logits=True) and targets (..., 1)"
                raise ValueError(f"{self!r}: expected labels from 0 to {shape[-1] - 1}, got values from {low} to {high}{hint}")
            return counted
        elif labels.shape == shape:
            hint = "; probabilities must be floats, as of y.astype(float)"
        else:
            hint = "; pass y.ravel()" if labels.size == math.prod(shape[:-1]) else ""
            if len(shape) == 3 and labels.shape == shape[:1]:
                hint = "; one label for each sequence goes with the output of its last step: return_sequences=False"
        raise ValueError(
            f"{self!r}: expected integer labels {shape[:-1]} or probabilities {shape} for predictions {shape}, "
            f"got {labels.dtype} {labels.shape}{hint}"
        )


def row_probabilities(loss: Loss, target: Any, dtype: np.dtype[Any], w: Array) -> Array:
    """The target as rows (N, C) that each sum to 1; of weight 0 are those in which anything may stand."""
    q = rows(loss._in_dtype(target, "target", dtype))
    q = np.where(w[:, np.newaxis] == 0, 1 / q.shape[-1], q)
    if not (q >= 0).all() or not np.allclose(q.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{loss!r}: expected rows of probabilities, each from 0 to 1 and together 1, as the target")
    return q


class CrossEntropy(ClassLoss):
    """-log softmax(z)_t for each example: how surprising the right class t is to logits z.

    The target is integer labels t, or rows of probabilities q, for which the loss is -sum_c q_c log softmax(z)_c. Labels are
    rows with a single 1. With a_c for q_c times everything that weighs it,

        loss = sum_c a_c (log sum_j exp(z_j) - z_c),   dObj_dPred = (sum_c a_c) softmax(z) - a.

    "mean" divides by the sum of class_weight[t] weight for labels, by that of weight for probabilities. An example with the
    label `ignore_index` is as if its weight were 0: absent, in the sum and in the divisor.

    Shape
    -----
    z : (..., C);  t : (...), integers from 0 to C - 1, or q : (..., C)

    Parameters
    ----------
    label_smoothing : float
        In [0, 1]: this share of every target is spread evenly over all classes.
    class_weight : array_like (C,), optional
        A factor of at least 0 for each class, finite.
    ignore_index : int, optional
        A label that does not count, as of padding: -100, say, or that of a class. (torch's default is -100. Where every
        label is ignored, its mean is nan, and here 0.)
    reduction : {"mean", "sum", "none"}

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    Smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.
    """

    label_smoothing: float = checked(share)

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        ignore_index: int | None = None,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(class_weight, reduction=reduction)
        self.ignore_index = None if ignore_index is None else whole(self, "ignore_index", ignore_index)
        self.label_smoothing = label_smoothing

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        z, a, divisor = self._examples(pred, target, weight)
        shifted = z - z.max(axis=1, keepdims=True)  # exp cannot overflow, and the softmax is the same
        total = np.exp(shifted).sum(axis=1, keepdims=True, dtype=wide(z.dtype))  # of many classes more than float16 holds
        log_softmax = shifted - np.log(total).astype(z.dtype, copy=False)
        shape = np.shape(pred)
        self._remember(np.exp(log_softmax), a, shape)
        return self._reduced(-product(a, log_softmax).sum(axis=1).reshape(shape[:-1]), divisor)

    def compute_backward(self) -> Array:
        softmax, a, shape = self._remembered()
        return self._gradient(a.sum(axis=1, keepdims=True) * softmax - a).reshape(shape)


class NegativeLogLikelihood(ClassLoss):
    """-p_t for each example, p being logarithms of probabilities, as `LogSoftmax` puts them out.

    The target is integer labels t, or rows of probabilities q, for which the loss is -sum_c q_c p_c. With a_c for q_c times
    everything that weighs it, the loss is -sum_c a_c p_c, and dObj_dPred = -a. "mean" divides by the sum of class_weight[t]
    weight for labels, by that of weight for probabilities.

    The log of 0 counts in full: the loss is inf if the right class has p = -inf, and others may. For logits use
    `CrossEntropy`, which is this after a `LogSoftmax`.

    Shape
    -----
    p : (..., C);  t : (...), integers from 0 to C - 1, or q : (..., C)

    Parameters
    ----------
    class_weight : array_like (C,), optional
        A factor of at least 0 for each class, finite.
    reduction : {"mean", "sum", "none"}

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html
    """

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        log_p, a, divisor = self._examples(pred, target, weight)
        shape = np.shape(pred)
        self._remember(a, shape)
        return self._reduced(-product(a, log_p).sum(axis=1).reshape(shape[:-1]), divisor)

    def compute_backward(self) -> Array:
        a, shape = self._remembered()
        return self._gradient(-a).reshape(shape)
