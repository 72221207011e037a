"""Losses that compare distributions: how unlikely a target is where the model has predicted the parameters of one."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.arguments import as_array
from pancake.losses.classes import row_probabilities
from pancake.losses.elementwise import ElementwiseLoss, product
from pancake.losses.loss import Loss
from pancake.memory import Array


class PoissonNLL(ElementwiseLoss):
    """exp(z) - t z for each entry: counts t, with z the logarithm of the rate at which they come.

    It is -log of the probability exp(-r) r^t / t! with the rate r = exp(z), without log t!, in which there is no z.
    dObj_dPred = exp(z) - t, divided by the number of entries for "mean". The exponential is in the loss: end the model with a
    `Linear`. Where exp(z) is more than the dtype holds, the loss is inf, as in torch.

    Shape
    -----
    z, t : (...), any shape;  t >= 0

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.PoissonNLLLoss.html (log_input=True, full=False)
    """

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        z, t, w = self._entries(pred, target, weight)
        if not (t >= 0).all():
            raise ValueError(f"{self!r}: expected counts of at least 0 as the target, got {t.min()}")
        with np.errstate(over="ignore"):
            rate = np.exp(z)
        self._remember(rate, t, w)
        return self._reduced(w * (rate - product(t, z)), z.size)

    def compute_backward(self) -> Array:
        rate, t, w = self._remembered()
        return self._gradient(w * (rate - t))


class GaussianNLL(Loss):
    """(s + (t - m)^2 exp(-s)) / 2 for each target t: a prediction m that says by its s = log variance how sure it is.

    It is -log of the density of the normal distribution of mean m and variance exp(s), without log(2 pi) / 2. With the first
    half of the prediction for m and the second for s, dObj_dPred is

        dObj_dM = (m - t) exp(-s)        dObj_dS = (1 - (t - m)^2 exp(-s)) / 2,

    divided by the number of targets for "mean". torch has the variance itself as an argument of its own; s may be any number.

    Shape
    -----
    pred : (..., 2 K), m and then s;  t : (..., K)

    References
    ----------
    Nix, Weigend, "Estimating the mean and variance of the target probability distribution" (1994), equation 5.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.GaussianNLLLoss.html
    """

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p = self._pred(pred)
        if p.ndim == 0 or p.shape[-1] % 2:
            raise ValueError(f"{self!r}: expected predictions (..., 2 K), K means and then K log variances, got {p.shape}")
        K = p.shape[-1] // 2
        t = self._in_dtype(target, "target", p.dtype)
        if t.shape != (*p.shape[:-1], K):
            hint = "; reshape the target" if t.size == p.size // 2 else ""
            raise ValueError(f"{self!r}: expected a target {(*p.shape[:-1], K)} for predictions {p.shape}, got {t.shape}{hint}")
        w = self._weight(weight, t.shape, p.dtype)
        m, s = p[..., :K], p[..., K:]
        if weight is not None:
            m, s, t = (np.where(w == 0, 0, array) for array in (m, s, t))
        with np.errstate(over="ignore"):  # the density at a point has no bound where the variance goes to 0
            precision = np.exp(-s)
            squares = product((m - t) ** 2, precision)
        self._remember(m - t, precision, squares, w)
        return self._reduced(w * (s + squares) / 2, t.size)

    def compute_backward(self) -> Array:
        difference, precision, squares, w = self._remembered()
        with np.errstate(over="ignore"):
            slopes = np.concatenate([w * product(difference, precision), w * (1 - squares) / 2], axis=-1)
        return self._gradient(slopes)


class KLDivergence(Loss):
    """sum_c t_c (log t_c - p_c) for each row: how far probabilities t are from those whose logarithms p are predicted.

    dObj_dPred = -t, divided by the number of rows for "mean" (torch calls that "batchmean"), whatever the weights. Of
    t_c = 0 nothing is left, whatever p_c is. It is `CrossEntropy` less the entropy of the targets, for p from a `LogSoftmax`.

    Shape
    -----
    p, t : (..., C);  each row of t sums to 1. "none" gives the values of the entries, (..., C)

    References
    ----------
    Kullback, Leibler, "On Information and Sufficiency" (1951), equation 2.4.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html
    """

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p, t = self._pred(pred), as_array(self, target, "target")
        if p.ndim == 0 or t.shape != p.shape:
            raise ValueError(
                f"{self!r}: expected probabilities of the shape of predictions (..., C), got {t.shape} for {p.shape}"
            )
        w = self._weight(weight, p.shape[:-1], p.dtype)
        every = np.broadcast_to(w, p.shape[:-1])
        t = row_probabilities(self, t, p.dtype, every.reshape(-1)).reshape(p.shape)
        a = product(every[..., np.newaxis], t)
        self._remember(a)
        with np.errstate(divide="ignore", invalid="ignore"):
            differences = np.log(t) - p
        return self._reduced(product(a, differences), every.size)

    def compute_backward(self) -> Array:
        return self._gradient(-self._remembered())
