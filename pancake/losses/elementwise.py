"""Losses that compare entry with entry."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from pancake.arguments import numeric, real
from pancake.functions.activations import softplus
from pancake.losses.loss import ONE, Loss, reciprocal
from pancake.memory import Array

EPSILON = float(np.float32(1e-12))  # as torch has it, in every dtype


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
