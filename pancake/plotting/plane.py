"""Points with classes, the line or plane in which they are drawn, and which class a model gives to each place of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.memory import Array
from pancake.plotting.names import Feature
from pancake.plotting.section import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class View:
    """What a model says at one moment of its training.

    Attributes
    ----------
    p : ndarray (C, resolution, resolution), or (C, 1, resolution) on a line
        The probability of each class at each pixel.
    train, test : float
        The accuracies; nan without test points.
    """

    p: Array
    train: float
    test: float

    @property
    def title(self) -> str:
        """The accuracy in words."""
        if np.isnan(self.test):
            return f"accuracy {self.train:.1%}"
        return f"accuracy: train {self.train:.1%}, test {self.test:.1%}"


class Plane(Section):
    """Points with classes, and the line or plane of one or two of their features in which they are drawn.

    Attributes
    ----------
    y, y_test : ndarray (N,)
        The classes.
    """

    def __init__(
        self,
        owner: Any,
        X: Any,
        y: ArrayLike,
        X_test: Any,
        y_test: ArrayLike | None,
        features: Feature | Sequence[Feature] | None,
        fixed: Mapping[Feature, float] | None,
        margin: float,
        resolution: int,
        feature_names: Sequence[Any] | None,
        ax: Axes | None,
    ) -> None:
        if (X_test is None) != (y_test is None):
            raise ValueError(f"{owner.__name__}: expected X_test and y_test together, got only one of them")
        super().__init__(owner, X, X_test, features, fixed, margin, resolution, feature_names, ax)
        self.y = labels_of(owner, y, self.X, "y")
        self.y_test = self.y[:0] if y_test is None else labels_of(owner, y_test, self.X_test, "y_test")
        self._points = np.concatenate([self.grid, self.X, self.X_test])

    def look(self, model: Callable[[Any], Any], from_logits: bool) -> View:
        """Ask the model about every pixel and every point."""
        labels = np.concatenate([self.y, self.y_test])
        z = self.outputs(model, self._points)
        p, winners = probabilities(self.owner, z, int(labels.max()), from_logits)
        count = len(self.grid)
        right = winners[count:] == labels
        # Classes first: NumPy reduces over a first axis several times as fast as over a short last one.
        p = np.ascontiguousarray(p[:count].T).reshape(-1, *(len(centres) for centres in self.centres))
        test = right[len(self.y) :]
        accuracy = float(right[: len(self.y)].mean())
        return View(p if p.ndim > 2 else p[:, np.newaxis], accuracy, float(test.mean()) if len(test) else float("nan"))


def probabilities(owner: Any, z: Array, last: int, from_logits: bool) -> tuple[Array, NDArray[np.intp]]:
    """Outputs as probabilities of each class (N, C), and the class that wins; `last` is the largest label."""
    if z.ndim == 1 and z.dtype.kind in "biu" and not from_logits:
        winners = z.astype(np.intp)
        if winners.min() < 0:
            raise ValueError(f"{owner.__name__}: expected classes 0, 1, ... from the model, got {winners.min()}")
        return np.eye(max(winners.max(), last, 1) + 1)[winners], winners
    z = z.astype(np.float64)
    if z.ndim == 1:
        if from_logits:
            z = 0.5 * np.tanh(0.5 * z) + 0.5
        elif z.min() < 0 or z.max() > 1:
            raise ValueError(
                f"{owner.__name__}: expected probabilities of class 1, got outputs from {z.min():.3g} to {z.max():.3g}; "
                "for logits pass from_logits=True, for a regression on 0 and 1 clip it: lambda x: predict(model, x).clip(0, 1), "
                "any other regression is what plot_regression draws"
            )
        p, winners = np.column_stack([1 - z, z]), (z >= 0.5).astype(np.intp)
    else:
        p, winners = z, z.argmax(axis=1)
        if from_logits or z.min() < 0 or not np.allclose(z.sum(axis=1), 1, rtol=0, atol=1e-3):
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
    if last >= p.shape[1]:
        outputs = (
            "one output tells classes 0 and 1 apart" if z.ndim == 1 else f"{p.shape[1]} outputs are classes 0 to {p.shape[1] - 1}"
        )
        raise ValueError(f"{owner.__name__}: {outputs}, got the label {last}")
    return p, winners


def labels_of(owner: Any, y: ArrayLike, X: Array, name: str) -> NDArray[np.intp]:
    """The classes of points, (N,), refused if they are not 0, 1, ..."""
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf":
        raise TypeError(
            f"{owner.__name__}: expected {name} to be classes 0, 1, ..., got an array of dtype {labels.dtype}; "
            f"names, {name} = np.unique({name}, return_inverse=True) makes them, with class_names=names"
        )
    if labels.shape not in ((len(X),), (len(X), 1)):
        hint = "; of one-hot rows take argmax(axis=1)" if labels.ndim == 2 and len(labels) == len(X) else ""
        raise ValueError(f"{owner.__name__}: expected {name} ({len(X)},), a class for each point, got {labels.shape}{hint}")
    labels = labels.reshape(-1)
    whole = labels.astype(np.intp) if np.isfinite(labels).all() else np.full(len(X), -1)
    if (whole != labels).any() or whole.min() < 0:
        values = np.unique(labels)
        hint = "; for -1 and 1 pass y > 0" if set(values) == {-1, 1} else ""
        hint = hint or ("; numbers that are no classes are what plot_regression draws" if np.isfinite(values).all() else "")
        raise ValueError(f"{owner.__name__}: expected {name} to be classes 0, 1, ..., got {values[:5]}{hint}")
    return whole
