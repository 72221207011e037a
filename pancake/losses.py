"""Losses: one number that says how wrong a prediction is, and its gradient, with which backward begins.

A loss is called with a prediction and a target; `compute_backward` then returns dObj_dPred. The number is always the
integral of the gradient: what `reduction`, `weight` and the options do to the one, they do to the other.
"""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.activations import softplus
from pancake.arguments import literal, numeric, real
from pancake.flat import Array
from pancake.function import constant
from pancake.layout import merged, time_first, unmerged

ONE = constant(1)
EPSILON = float(np.float32(1e-12))  # as torch has it, in every dtype
REDUCTIONS = ("mean", "sum", "none")

Indices: TypeAlias = NDArray[np.intp]
INTP = np.dtype(np.intp)


@functools.lru_cache(maxsize=8)
def reciprocal(count: float, dtype: np.dtype[Any]) -> Array:
    """1 / count as a 0-d array: 4 % of the step of a small net cheaper to multiply by than a number of Python."""
    return np.array(1 / count, dtype)


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
        return {name: value for name, value in vars(self).items() if name not in ("_cache", "_columns")}

    def __repr__(self) -> str:
        shown = []
        for name, p in inspect.signature(type(self).__init__).parameters.items():
            value = vars(self).get(name, p.default)
            if isinstance(value, np.ndarray):
                shown.append(f"{name}={literal(value)}")
            elif value is not p.empty and value != p.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _pred(self, pred: ArrayLike) -> Array:
        if not (type(pred) is np.ndarray and pred.dtype in ONE and pred.size):
            pred = numeric(self, pred, "pred")
            if not pred.size:
                raise ValueError(f"{self!r}: expected at least one prediction, got an empty array of shape {pred.shape}")
        return pred

    def _no_call(self) -> NoReturn:
        raise RuntimeError(f"{self!r}: compute_backward needs a call with prediction and target before it")

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

    A subclass defines `values`, the loss of each entry together with what its derivative needs, and `slopes`, the
    derivative from that.
    """

    def compute_forward(self, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> Any:
        if (
            pred.__class__ is not np.ndarray
            or target.__class__ is not np.ndarray
            or target.dtype is not pred.dtype
            or target.shape != pred.shape
            or pred.dtype not in ONE
            or not pred.size
        ):
            pred, target = self._alike(pred, target)
        found = self.values(pred, target)
        if found.__class__ is not tuple:
            raise TypeError(f"{self!r}: expected values() to return (values, what slopes() needs), got {type(found).__name__}")
        values, kept = found
        w = None
        if weight is not None:
            w = self._weight(weight, target.shape, pred.dtype)
            values = values * w
        self._cache = kept, w, pred.size
        if self.reduction == "none":
            return values
        total = float(np.add.reduce(values, None))
        return total / pred.size if self.reduction == "mean" else total

    def compute_backward(self) -> Array:
        if self._cache is None:
            self._no_call()
        kept, w, count = self._cache
        dObj_dPred = self.slopes(kept)
        if w is not None:
            dObj_dPred *= w
        if self.reduction == "mean":
            dObj_dPred *= reciprocal(count, dObj_dPred.dtype)
        return dObj_dPred

    def _alike(self, pred: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
        """Prediction and target as arrays of one shape and dtype."""
        p = self._pred(pred)
        t = numeric(self, target, "target").astype(p.dtype, copy=False)
        if t.shape != p.shape:
            hint = "; reshape the target" if t.size == p.size else ""
            raise ValueError(f"{self!r}: expected a target of the shape of the prediction, {p.shape}, got {t.shape}{hint}")
        return p, t

    def values(self, pred: Array, target: Array) -> tuple[Array, Any]:
        """The loss of each entry, a fresh array, and what `slopes` needs."""
        raise NotImplementedError

    def slopes(self, kept: Any) -> Array:
        """The derivative of the loss of each entry by its prediction, a fresh array, from what `values` has kept."""
        raise NotImplementedError


class MeanSquaredError(ElementwiseLoss):
    """(p - t)^2 for each entry.

    dObj_dPred = 2 (p - t), divided by the number of entries for "mean". p and t have the same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html
    """

    def values(self, pred: Array, target: Array) -> tuple[Array, Any]:
        difference = pred - target
        return difference * difference, difference

    def slopes(self, kept: Any) -> Array:
        slopes: Array = 2 * kept
        return slopes


class MeanAbsoluteError(ElementwiseLoss):
    """|p - t| for each entry.

    dObj_dPred = sign(p - t), divided by the number of entries for "mean"; 0 where p = t, where there is no derivative. p and t
    have the same shape, any.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html
    """

    def values(self, pred: Array, target: Array) -> tuple[Array, Any]:
        difference = pred - target
        return np.abs(difference), difference

    def slopes(self, kept: Any) -> Array:
        slopes: Array = np.sign(kept)
        return slopes


class Huber(ElementwiseLoss):
    """(p - t)^2 / 2 for each entry where |p - t| <= delta, else delta (|p - t| - delta / 2): a square that outliers cannot pull.

    dObj_dPred = p - t, but at least -delta and at most delta; divided by the number of entries for "mean". p and t have the
    same shape, any.

    Parameters
    ----------
    delta : float
        Where the square becomes a line, more than 0.
    reduction : {"mean", "sum", "none"}

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter" (1964), section 1.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html
    """

    def __init__(self, delta: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = real(self, "delta", delta)
        if self.delta <= 0:
            raise ValueError(f"Huber: expected delta of more than 0, got {delta}")

    def values(self, pred: Array, target: Array) -> tuple[Array, Any]:
        difference = pred - target
        distance = np.abs(difference)
        near = np.minimum(distance, self.delta)
        return near * (distance - near / 2), difference

    def slopes(self, kept: Any) -> Array:
        slopes: Array = np.minimum(np.maximum(kept, -self.delta), self.delta)
        return slopes


class Hinge(ElementwiseLoss):
    """max(0, 1 - t p) for each entry: what a prediction lacks to be on the right side of the margin.

    dObj_dPred = -t where t p < 1, else 0; divided by the number of entries for "mean". The targets are -1 and 1, the
    prediction is any number, whose sign is the class. scikit-learn's `hinge_loss` is the same for two classes, and takes the
    larger of any two labels as 1; torch's `HingeEmbeddingLoss` is another loss, of a distance. p and t have the same shape, any.

    References
    ----------
    Cortes, Vapnik, "Support-Vector Networks" (1995), section 3.
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.hinge_loss.html
    """

    def values(self, pred: Array, target: Array) -> tuple[Array, Any]:
        if not (np.abs(target) == 1).all():
            found = np.unique(target)
            hint = "; for labels 0 and 1 pass 2 * y - 1" if ((found == 0) | (found == 1)).all() else ""
            raise ValueError(f"{self!r}: expected every target to be -1 or 1, got values from {found[0]} to {found[-1]}{hint}")
        lack = np.maximum(1 - target * pred, 0)
        return lack, (target, lack > 0)

    def slopes(self, kept: Any) -> Array:
        target, lacking = kept
        slopes: Array = -target * lacking
        return slopes


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

    def values(self, pred: Array, target: Array) -> tuple[Array, Any]:
        # argmax and argmin cost a third of max and min on small arrays; nan is both
        if not (target.item(target.argmin()) >= 0 and target.item(target.argmax()) <= 1):
            self._refuse(target, "target")
        if self.from_logits:
            rises = softplus(pred)
            return rises - target * pred, (pred, rises, target)
        if not (pred.item(pred.argmin()) >= 0 and pred.item(pred.argmax()) <= 1):
            self._refuse(pred, "prediction", "; for logits use from_logits=True, for probabilities end with Sigmoid()")
        with np.errstate(divide="ignore"):
            log_p, log_q = np.log(pred), np.log1p(-pred)
        return -(target * np.maximum(log_p, -100) + (1 - target) * np.maximum(log_q, -100)), (pred, target)

    def slopes(self, kept: Any) -> Array:
        slopes: Array
        if self.from_logits:
            z, rises, target = kept
            slopes = np.exp(z - rises)  # sigmoid(z)
            slopes -= target
        else:
            p, target = kept
            slopes = (p - target) / np.maximum(p * (1 - p), EPSILON)
        return slopes

    def _refuse(self, array: Array, what: str, hint: str = "") -> NoReturn:
        raise ValueError(f"{self!r}: expected every {what} in [0, 1], got values from {array.min()} to {array.max()}{hint}")


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
