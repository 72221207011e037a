"""Losses that compare entry with entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from pancake.arguments import flag, numeric, real
from pancake.attributes import checked, positive
from pancake.functions.activations import sigmoid
from pancake.losses.loss import Loss
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

EPSILON = float(np.float32(1e-12))  # as torch has it, in every dtype


class ElementwiseLoss(Loss):
    """Base of the losses that compare entry with entry; "mean" divides by the number of entries, whatever the weights."""

    # A prediction and a target that any such loss takes: they stand in for what has weight 0, which may be nan.
    absent = 0.0, 0.0

    def _entries(self, pred: Any, target: Any, weight: Any) -> tuple[Array, Array, Array]:
        """Prediction, target and weight as arrays of one dtype, the first two of one shape."""
        p = self._pred(pred)
        t = self._in_dtype(target, "target", p.dtype)
        if t.shape != p.shape:
            hint = f"; reshape the target: y.reshape({', '.join(map(str, (-1, *p.shape[1:])))})" if t.size == p.size else ""
            if p.ndim > 1 and p.shape[-1] > 1 and t.shape in (p.shape[:-1], (*p.shape[:-1], 1)):
                hint = "; a target of one number goes with a model of one output, labels of classes go with CrossEntropy()"
            raise ValueError(f"{self!r}: expected a target of the shape of the prediction, {p.shape}, got {t.shape}{hint}")
        w = self._weight(weight, t.shape, p.dtype)
        if weight is not None:
            p, t = (np.where(w == 0, instead, array) for array, instead in zip((p, t), self.absent, strict=True))
        return p, t, w


class MeanSquaredError(ElementwiseLoss):
    """(p - t)^2 for each entry.

    dObj_dPred = 2 (p - t), divided by the number of entries for "mean".

    Shape
    -----
    p, t : (...), any shape

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html
    """

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p, t, w = self._entries(pred, target, weight)
        self._remember(p - t, w)
        return self._reduced(w * (p - t) ** 2, p.size)

    def compute_backward(self) -> Array:
        difference, w = self._remembered()
        return self._gradient(2 * w * difference)


class MeanAbsoluteError(ElementwiseLoss):
    """|p - t| for each entry.

    dObj_dPred = sign(p - t), divided by the number of entries for "mean"; 0 where p = t, where there is no derivative.

    Shape
    -----
    p, t : (...), any shape

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html
    """

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p, t, w = self._entries(pred, target, weight)
        self._remember(p - t, w)
        return self._reduced(w * np.abs(p - t), p.size)

    def compute_backward(self) -> Array:
        difference, w = self._remembered()
        return self._gradient(w * np.sign(difference))


class Huber(ElementwiseLoss):
    """(p - t)^2 / 2 for each entry where |p - t| <= delta, else delta (|p - t| - delta / 2): a square that outliers cannot pull.

    dObj_dPred = p - t, but at least -delta and at most delta; divided by the number of entries for "mean".

    Shape
    -----
    p, t : (...), any shape

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

    delta: float = checked(positive)

    def __init__(self, delta: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p, t, w = self._entries(pred, target, weight)
        distance = np.abs(p - t)
        near = np.minimum(distance, self.delta)
        self._remember(p - t, w)
        return self._reduced(w * near * (distance - near / 2), p.size)

    def compute_backward(self) -> Array:
        difference, w = self._remembered()
        return self._gradient(w * np.clip(difference, -self.delta, self.delta))


def _level(owner: object, name: str, value: Any) -> float:
    level = real(owner, name, value)
    if not 0 < level < 1:
        raise ValueError(f"Quantile: expected {name} between 0 and 1, got {value}")
    return level


class Quantile(ElementwiseLoss):
    """q (t - p) where the target is above the prediction, (1 - q) (p - t) where it is below, for each entry.

    It is least at the q-quantile of the targets: a share of q of them lies below. dObj_dPred = (sign(p - t) + 1) / 2 - q, which
    is -q where p < t, 1 - q where p > t, and in the middle where p = t, where there is no derivative; divided by the number of
    entries for "mean". q = 1/2 is half the absolute error; 0.05 and 0.95, in two models, enclose nine of ten.

    Shape
    -----
    p, t : (...), any shape

    Parameters
    ----------
    q : float
        Between 0 and 1.
    reduction : {"mean", "sum", "none"}

    References
    ----------
    Koenker, Bassett, "Regression Quantiles", Econometrica 46 (1978), section 3.
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.mean_pinball_loss.html
    """

    q: float = checked(_level)

    def __init__(self, q: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.q = q

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p, t, w = self._entries(pred, target, weight)
        self._remember(p - t, w)
        return self._reduced(w * np.maximum(self.q * (t - p), (1 - self.q) * (p - t)), p.size)

    def compute_backward(self) -> Array:
        difference, w = self._remembered()
        return self._gradient(w * ((np.sign(difference) + 1) / 2 - self.q))


class Hinge(ElementwiseLoss):
    """max(0, 1 - t p) for each entry: what a prediction lacks to be on the right side of the margin.

    dObj_dPred = -t where t p < 1, else 0; divided by the number of entries for "mean". The targets are -1 and 1, the
    prediction is any number, whose sign is the class. scikit-learn's `hinge_loss` is the same for two classes, and takes the
    larger of any two labels as 1; torch's `HingeEmbeddingLoss` is another loss, of a distance.

    Shape
    -----
    p, t : (...), any shape;  t : -1 or 1

    References
    ----------
    Cortes, Vapnik, "Support-Vector Networks" (1995), section 3.
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.hinge_loss.html
    """

    absent = 0.0, 1.0

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p, t, w = self._entries(pred, target, weight)
        if not (np.abs(t) == 1).all():
            found = np.unique(t)
            hint = "; for labels 0 and 1 pass 2 * y - 1" if ((found == 0) | (found == 1)).all() else ""
            raise ValueError(f"{self!r}: expected every target to be -1 or 1, got values from {found[0]} to {found[-1]}{hint}")
        self._remember(t, w, t * p < 1)
        return self._reduced(w * np.maximum(0, 1 - t * p), p.size)

    def compute_backward(self) -> Array:
        t, w, lacking = self._remembered()
        return self._gradient(w * -t * lacking)


class BinaryCrossEntropy(ElementwiseLoss):
    """-(v t log p + (1 - t) log(1 - p)) for each entry, p the predicted probability of 1, and v = 1 without `pos_weight`.

    With c = 1 - t + v t, dObj_dPred = (c p - v t) / (p (1 - p)). Logarithms below -100 count as -100, and the denominator is
    at least 1e-12, as in torch. With `from_logits` the prediction is z, and p = sigmoid(z): the loss is c softplus(z) - v t z
    and its derivative c p - v t, which are exact for every z. "mean" divides by the number of entries, whatever v is.

    Shape
    -----
    p (or z), t : (...), any shape;  0 <= t <= 1;  v : any shape that broadcasts to that of t, such as (O,) for (..., O)

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits. Prefer it to a `Sigmoid` at the end: nothing is lost where p is close to 0 or 1.
    pos_weight : float or array_like, optional
        v, at least 0: by how much more a 1 counts than a 0. Zeros over ones among the targets make both count the same.
    reduction : {"mean", "sum", "none"}

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
    """

    from_logits: bool = checked(flag)

    def __init__(self, from_logits: bool = False, pos_weight: ArrayLike | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.from_logits = from_logits
        self.pos_weight = None if pos_weight is None else self._checked(pos_weight).copy()

    def _checked(self, pos_weight: Any) -> Array:
        """Numbers of at least 0, else refused."""
        v = numeric(self, pos_weight, "pos_weight")
        if not ((v >= 0) & (v < np.inf)).all():
            raise ValueError(f"BinaryCrossEntropy: expected pos_weight of at least 0 and finite, got {pos_weight}")
        return v

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p, t, w = self._entries(pred, target, weight)
        if not ((t >= 0) & (t <= 1)).all():
            self._refuse(t, "target", "; (y + 1) / 2 makes 0 and 1 of -1 and 1" if (np.abs(t) == 1).all() else "")
        vt, c = self._positive(t)
        self._remember(p, vt, c, w)
        if self.from_logits:
            z, wrong = p, np.where(p > 0, 1 - t, vt)  # what counts on the other side of 0, where |z| counts in full
            values = c * np.log1p(np.exp(-np.abs(z))) + product(wrong, np.abs(z))
        else:
            if not ((p >= 0) & (p <= 1)).all():
                self._refuse(p, "prediction", "; for logits use from_logits=True, for probabilities end with Sigmoid()")
            with np.errstate(divide="ignore"):
                log_p, log_q = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
            values = -(vt * log_p + (1 - t) * log_q)
        return self._reduced(product(w, values), p.size)

    def compute_backward(self) -> Array:
        p, vt, c, w = self._remembered()
        if self.from_logits:
            return self._gradient(w * (c * sigmoid(p) - vt))
        return self._gradient(w * (c * p - vt) / np.maximum(p * (1 - p), max(EPSILON, np.finfo(p.dtype).smallest_subnormal)))

    def _positive(self, t: Array) -> tuple[Array, Array]:
        """What a target weighs as a 1, v t, and in all, c = 1 - t + v t."""
        if self.pos_weight is None:
            return t, np.ones_like(t)
        v = self._checked(self.pos_weight).astype(t.dtype, copy=False)  # it may have been set to anything since
        try:
            v = np.broadcast_to(v, t.shape)
        except ValueError:
            raise ValueError(f"{self!r}: expected pos_weight to broadcast to targets {t.shape}, got {v.shape}") from None
        return v * t, 1 + (v - 1) * t

    def _refuse(self, array: Array, what: str, hint: str = "") -> NoReturn:
        raise ValueError(f"{self!r}: expected every {what} in [0, 1], got values from {array.min()} to {array.max()}{hint}")


def product(a: Array, b: Array) -> Array:
    """The product a b, but 0 where a is 0, also where b is infinite."""
    with np.errstate(invalid="ignore"):
        return np.where(a == 0, 0, a * b)
