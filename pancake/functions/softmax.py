"""The softmax and its logarithm: numbers as probabilities, along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.arguments import whole
from pancake.function import Function
from pancake.memory import Array


class Softmax(Function):
    """y_c = exp(x_c) / sum_j exp(x_j): numbers as probabilities, of which all along one axis sum to 1.

    dObj_dIn = y (dObj_dOut - sum_c y_c dObj_dOut_c). The largest x along the axis is subtracted first, so exp cannot
    overflow. Input and output have the same shape, (..., C) for the last axis. With `CrossEntropy` leave it out: that loss
    takes logits.

    Parameters
    ----------
    axis : int
        The axis of the classes, counted from the end where negative.

    Raises
    ------
    ValueError
        If the input does not have that axis.

    References
    ----------
    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs" (1990).
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = whole(self, "axis", axis)

    def compute_forward(self, x: Any) -> Array:
        e = np.exp(_shifted(self, x, self.axis))
        y = e / e.sum(axis=self.axis, keepdims=True)
        self._remember(y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        return y * (d - (y * d).sum(axis=self.axis, keepdims=True))


class LogSoftmax(Function):
    """y_c = x_c - log sum_j exp(x_j): the logarithm of `Softmax`, exact also where that is 0.

    dObj_dIn_c = dObj_dOut_c - exp(y_c) sum_j dObj_dOut_j. Input and output have the same shape, (..., C) for the last axis.
    `NegativeLogLikelihood` takes what comes out.

    Parameters
    ----------
    axis : int
        The axis of the classes, counted from the end where negative.

    Raises
    ------
    ValueError
        If the input does not have that axis.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = whole(self, "axis", axis)

    def compute_forward(self, x: Any) -> Array:
        x = _shifted(self, x, self.axis)
        y = x - np.log(np.exp(x).sum(axis=self.axis, keepdims=True))
        self._remember(y)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        y = self._remembered()
        d = self._upstream(dObj_dOut, y.shape, y.dtype)
        return d - np.exp(y) * d.sum(axis=self.axis, keepdims=True)


def _shifted(softmax: Softmax | LogSoftmax, x: Any, axis: int) -> Array:
    """The input minus its largest number along the axis, as a fresh array."""
    x = softmax._floats(x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{softmax!r}: expected an input that has axis {axis}, got shape {x.shape}")
    return x - x.max(axis=axis, keepdims=True)
