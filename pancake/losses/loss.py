"""Losses: one number that says how wrong a prediction is, and its gradient, with which backward begins.

A loss is called with a prediction and a target; `compute_backward` then returns dObj_dPred. The number is always the
integral of the gradient: what `reduction`, `weight` and the options do to the one, they do to the other.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from pancake.arguments import literal, numeric
from pancake.function import constant
from pancake.memory import Array

ONE = constant(1)
REDUCTIONS = ("mean", "sum", "none")


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
