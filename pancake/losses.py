"""Losses: one number that says how wrong a prediction is, and its gradient, with which backward begins.

A loss is called with a prediction and a target; `compute_backward` then returns dObj_dPred. The number is always the
integral of the gradient: what `reduction`, `weight` and the options do to the one, they do to the other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.flat import Array
from pancake.function import constant, numeric

ZERO, HALF, ONE = constant(0), constant(0.5), constant(1)
REDUCTIONS = ("mean", "sum", "none")


class Loss:
    """Base class of the losses.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What becomes of the values of the entries (of the examples, in a class loss). With "none" they are returned as
        they are, and the gradient is that of their sum.
    """

    _cache: Any = None

    def __init__(self, *, reduction: str = "mean") -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"{type(self).__name__}: expected reduction to be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        self.reduction = reduction

    def __call__(self, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> Any:
        return self.compute_forward(pred, target, weight)

    def compute_forward(self, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> Any:
        """Return the objective, a float, or an array for reduction "none".

        Parameters
        ----------
        pred, target : array_like
        weight : array_like, optional
            How much each example counts: of the shape of the leading axes of the target, (B,) or (B, T).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define compute_forward")

    def compute_backward(self) -> Array:
        """Return dObj_dPred for the latest call, shaped like the prediction."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute_backward")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_cache"}

    def __repr__(self) -> str:
        defaults = type(self)()
        shown = (f"{k}={v!r}" for k, v in vars(self).items() if k != "_cache" and v is not getattr(defaults, k))
        return f"{type(self).__name__}({', '.join(shown)})"

    def _pred(self, pred: ArrayLike) -> Array:
        if not (type(pred) is np.ndarray and pred.dtype in ONE and pred.size):
            pred = numeric(self, pred, "pred")
            if not pred.size:
                raise ValueError(f"{self!r}: expected at least one prediction, got an empty array of shape {pred.shape}")
        return pred

    def _remembered(self) -> Any:
        if self._cache is None:
            raise RuntimeError(f"{self!r}: compute_backward needs a call with prediction and target before it")
        return self._cache

    def _weight(self, weight: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The weight with axes of length 1 appended, so that it broadcasts against `shape`, whose leading axes it has."""
        w = numeric(self, weight, "weight").astype(dtype, copy=False)
        if w.ndim > len(shape) or w.shape != shape[: w.ndim] or (w.ndim == 0 and shape):
            raise ValueError(f"{self!r}: expected a weight of the leading axes of the target {shape}, got {w.shape}")
        if not (w >= 0).all():
            raise ValueError(f"{self!r}: expected weights of at least 0, got {w.min()}")
        return w.reshape(w.shape + (1,) * (len(shape) - w.ndim))


class ElementwiseLoss(Loss):
    """Base of the losses that compare entry with entry; "mean" divides by the number of entries, whatever the weights.

    A subclass defines `values` and `slopes`, the loss of each entry and its derivative.
    """

    def compute_forward(self, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> Any:
        pred = self._pred(pred)
        target = self._target(target, pred)
        w = None if weight is None else self._weight(weight, target.shape, pred.dtype)
        self._cache = pred, target, w
        values = self.values(pred, target)
        if w is not None:
            values = values * w
        if self.reduction == "none":
            return values
        total = float(np.add.reduce(values, axis=None))
        return total / pred.size if self.reduction == "mean" else total

    def compute_backward(self) -> Array:
        pred, target, w = self._remembered()
        dObj_dPred = self.slopes(pred, target)
        if w is not None:
            dObj_dPred *= w
        if self.reduction == "mean":
            dObj_dPred *= 1 / pred.size
        return dObj_dPred

    def values(self, pred: Array, target: Array) -> Array:
        """The loss of each entry, a fresh array."""
        raise NotImplementedError

    def slopes(self, pred: Array, target: Array) -> Array:
        """The derivative of the loss of each entry by its prediction, a fresh array."""
        raise NotImplementedError

    def _target(self, target: ArrayLike, pred: Array) -> Array:
        if not (type(target) is np.ndarray and target.dtype is pred.dtype):
            target = numeric(self, target, "target").astype(pred.dtype, copy=False)
        if target.shape != pred.shape:
            hint = "; reshape the target" if target.size == pred.size else ""
            raise ValueError(
                f"{self!r}: expected a target of the shape of the prediction, {pred.shape}, got {target.shape}{hint}"
            )
        return target


class MeanSquaredError(ElementwiseLoss):
    """(p - t)^2 for each entry.

    dObj_dPred = 2 (p - t), divided by the number of entries for "mean". p and t have the same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html
    """

    def values(self, pred: Array, target: Array) -> Array:
        difference = pred - target
        return difference * difference

    def slopes(self, pred: Array, target: Array) -> Array:
        return 2 * (pred - target)


class BinaryCrossEntropy(ElementwiseLoss):
    """-(t log p + (1 - t) log(1 - p)) for each entry, p the predicted probability of 1.

    dObj_dPred = (p - t) / (p (1 - p)). Logarithms below -100 count as -100, and the denominator is at least 1e-12, as in
    torch. With `from_logits` the prediction is z, and p = sigmoid(z): the loss is softplus(z) - t z and its derivative
    p - t, which are exact for every z. p (or z) and t have the same shape, any; 0 <= t <= 1.

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits. Prefer it to a `Sigmoid` at the end: nothing is lost where p is close to 0 or 1.
    reduction : {"mean", "sum", "none"}

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
    """

    def __init__(self, from_logits: bool = False, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.from_logits = bool(from_logits)

    def values(self, pred: Array, target: Array) -> Array:
        if self.from_logits:
            values = np.logaddexp(pred, ZERO[pred.dtype])
            values -= target * pred
            return values
        with np.errstate(divide="ignore"):
            log_p, log_q = np.log(pred), np.log1p(-pred)
        return -(target * np.maximum(log_p, -100) + (1 - target) * np.maximum(log_q, -100))

    def slopes(self, pred: Array, target: Array) -> Array:
        if self.from_logits:
            half = HALF[pred.dtype]
            slopes = np.tanh(pred * half)
            slopes *= half
            slopes += half
            slopes -= target
            return slopes
        return (pred - target) / np.maximum(pred * (1 - pred), 1e-12)

    def _pred(self, pred: ArrayLike) -> Array:
        pred = super()._pred(pred)
        if not self.from_logits:
            self._check_probabilities(
                pred, "prediction", "; for logits use from_logits=True, for probabilities end with Sigmoid()"
            )
        return pred

    def _target(self, target: ArrayLike, pred: Array) -> Array:
        target = super()._target(target, pred)
        self._check_probabilities(target, "target")
        return target

    def _check_probabilities(self, array: Array, what: str, hint: str = "") -> None:
        # argmax and argmin cost a third of max and min on small arrays; nan is both
        high, low = array.item(array.argmax()), array.item(array.argmin())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{self!r}: expected every {what} in [0, 1], got values from {low} to {high}{hint}")


class CrossEntropy(Loss):
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
        super().__init__(reduction=reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropy: expected label_smoothing in [0, 1], got {label_smoothing}")
        self.label_smoothing = float(label_smoothing)
        self.class_weight = None if class_weight is None else numeric(self, class_weight, "class_weight")

    # Inside, classes come first, (C, N): NumPy reduces over a first axis twice as fast as over a short last one.

    def compute_forward(self, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> Any:
        pred = self._pred(pred)
        if pred.ndim == 0:
            raise ValueError(f"{self!r}: expected logits (..., C), got a single number")
        z = np.ascontiguousarray(pred.reshape(-1, pred.shape[-1]).T)
        shifted = z - np.maximum.reduce(z, axis=0)  # so that exp cannot overflow
        labels = self._labels(target, pred.shape)
        plain = labels is not None and weight is None and self.class_weight is None and not self.label_smoothing
        if labels is not None and plain:
            index = labels * z.shape[1] + np.arange(z.shape[1])  # of each right class, in memory
            right = shifted.take(index)
            softmax = np.exp(shifted, out=shifted)
            total = np.add.reduce(softmax, axis=0)
            softmax /= total
            values = np.log(total, out=total)
            values -= right
            a, count = index, values.size
        else:
            a, count = self._coefficients(labels, target, weight, pred)
            softmax = np.exp(shifted)
            total = np.add.reduce(softmax, axis=0)
            softmax /= total
            values = np.add.reduce(a * (np.log(total) - shifted), axis=0)
        self._cache = softmax, a, pred.shape, count
        if self.reduction == "none":
            return values.reshape(pred.shape[:-1])
        objective = float(np.add.reduce(values))
        return objective / count if self.reduction == "mean" else objective

    def compute_backward(self) -> Array:
        softmax, a, shape, count = self._remembered()
        scale = 1 / count if self.reduction == "mean" else 1.0
        if a.ndim == 1:
            dObj_dPred = softmax * scale
            dObj_dPred.reshape(-1)[a] -= scale
        else:
            dObj_dPred = softmax * np.add.reduce(a, axis=0)
            dObj_dPred -= a
            dObj_dPred *= scale
        rows: Array = dObj_dPred.T
        return rows.reshape(shape)

    def _labels(self, target: ArrayLike, shape: tuple[int, ...]) -> Array | None:
        """The target as a vector of class indices, or None if it holds probabilities."""
        labels = np.asarray(target)
        if labels.dtype.kind not in "biu":
            if labels.shape == shape:
                return None
            hint = "; labels must be integers, as of y.astype(int)" if labels.shape == shape[:-1] else ""
        elif labels.shape == shape[:-1]:
            labels = labels.reshape(-1).astype(np.intp, copy=False)
            if labels.view(np.uintp).max() >= shape[-1]:  # a negative label is a huge unsigned one
                raise ValueError(
                    f"{self!r}: expected labels from 0 to {shape[-1] - 1}, got values from {labels.min()} to {labels.max()}"
                )
            return labels
        else:
            hint = "; pass y.ravel()" if labels.size == math.prod(shape[:-1]) else ""
        raise ValueError(
            f"{self!r}: expected integer labels {shape[:-1]} or probabilities {shape} for predictions {shape}, "
            f"got {labels.dtype} {labels.shape}{hint}"
        )

    def _coefficients(
        self, labels: Array | None, target: ArrayLike, weight: ArrayLike | None, pred: Array
    ) -> tuple[Array, float]:
        """Every a_c as an array (C, N), and what "mean" divides by."""
        classes = pred.shape[-1]
        if labels is not None:
            q = np.zeros((classes, labels.size), pred.dtype)
            q[labels, np.arange(labels.size)] = 1
        else:
            q = numeric(self, target, "target").astype(pred.dtype, copy=False).reshape(-1, classes).T
            if not (q >= 0).all() or not np.allclose(q.sum(axis=0), 1, atol=1e-3):
                raise ValueError(f"{self!r}: expected rows of probabilities, each from 0 to 1 and together 1, as the target")
        w = np.ones(q.shape[1], pred.dtype)
        if weight is not None:
            w = np.broadcast_to(self._weight(weight, pred.shape[:-1], pred.dtype), pred.shape[:-1]).reshape(-1)
        c = np.ones((classes, 1), pred.dtype)
        if self.class_weight is not None:
            if self.class_weight.shape != (classes,):
                raise ValueError(f"{self!r}: expected class_weight of shape ({classes},), got {self.class_weight.shape}")
            c = self.class_weight.astype(pred.dtype).reshape(-1, 1)
        count = float((w if labels is None else w * c[labels, 0]).sum())
        if self.reduction == "mean" and not count > 0:
            raise ValueError(f"{self!r}: the weights of these examples sum to {count}; there is no mean")
        e = self.label_smoothing
        return ((1 - e) * q + e / classes) * c * w, count
