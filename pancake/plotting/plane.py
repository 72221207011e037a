"""Points with classes, the plane in which they are drawn, and what a model says there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.arguments import number, size
from pancake.function import Function
from pancake.memory import Array
from pancake.training.predict import predict


@dataclass(frozen=True)
class View:
    """What a model says at one moment of its training.

    Attributes
    ----------
    p : ndarray (C, resolution, resolution)
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


class Plane:
    """Points with classes, and the plane of two of their features in which they are drawn.

    Attributes
    ----------
    X, y, X_test, y_test : ndarray
        The points and their classes.
    features : (int, int)
    x_limits, y_limits : (float, float)
    x_centres, y_centres : ndarray (resolution,)
        Of the pixels.
    """

    def __init__(
        self,
        owner: Any,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None,
        y_test: ArrayLike | None,
        features: Sequence[int],
        fixed: Mapping[int, float] | None,
        margin: float,
        resolution: int,
    ) -> None:
        self.owner = owner
        self.X = _points(owner, X, "X")
        self.y = _labels(owner, y, self.X, "y")
        if X_test is None and y_test is None:
            self.X_test, self.y_test = self.X[:0], self.y[:0]
        elif X_test is None or y_test is None:
            raise ValueError(f"{owner.__name__}: expected X_test and y_test together, got only one of them")
        else:
            self.X_test = _points(owner, X_test, "X_test")
            self.y_test = _labels(owner, y_test, self.X_test, "y_test")
        count = self.X.shape[1]
        if self.X_test.shape[1] != count:
            raise ValueError(f"{owner.__name__}: expected X_test (N, {count}), like X, got {self.X_test.shape}")
        self.features = a, b = _two_features(owner, features, count)
        everything = np.concatenate([self.X, self.X_test])
        margin = number(owner, "margin", margin)
        self.x_limits, self.y_limits = _limits(everything[:, a], margin), _limits(everything[:, b], margin)
        self.x_centres, self.y_centres, plane = pixels(owner, self.x_limits, self.y_limits, resolution)
        grid = np.tile(_elsewhere(owner, fixed, (a, b), self.X), (len(plane), 1))
        grid[:, [a, b]] = plane
        self._points = np.concatenate([grid, everything])

    def look(self, model: Callable[[Any], Any], from_logits: bool) -> View:
        """Ask the model about every pixel and every point."""
        labels = np.concatenate([self.y, self.y_test])
        z = outputs(self.owner, model, self._points)
        p, winners = _probabilities(self.owner, z, int(labels.max()), from_logits)
        count = len(self._points) - len(labels)
        right = winners[count:] == labels
        # Classes first: NumPy reduces over a first axis several times as fast as over a short last one.
        p = np.ascontiguousarray(p[:count].T).reshape(-1, len(self.y_centres), len(self.x_centres))
        test = right[len(self.y) :]
        return View(p, float(right[: len(self.y)].mean()), float(test.mean()) if len(test) else float("nan"))


def pixels(
    owner: Any, x_limits: tuple[float, float], y_limits: tuple[float, float], resolution: int
) -> tuple[Array, Array, Array]:
    """The centres of resolution x resolution pixels: their x, their y, and all of them, (N, 2), row by row from below."""
    if size(owner, resolution=resolution) < 2:
        raise ValueError(f"{owner.__name__}: expected resolution of at least 2, got {resolution}")
    share = (np.arange(resolution) + 0.5) / resolution
    x, y = (low + share * (high - low) for low, high in (x_limits, y_limits))
    return x, y, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def outputs(owner: Any, model: Callable[[Any], Any], points: Array) -> Array:
    """What the model puts out: (N,), or (N, C) with C >= 2, finite real numbers."""
    name = owner.__name__
    if not callable(model):
        hint = f"; pass its method, model={type(model).__name__.lower()}.predict_proba" if hasattr(model, "predict_proba") else ""
        raise TypeError(f"{name}: expected a model that can be called with an array {points.shape}, got {model!r}{hint}")
    z = np.asarray(predict(model, points) if isinstance(model, Function) else model(points))
    if z.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected the model to return real numbers, got an array of dtype {z.dtype}")
    if z.ndim not in (1, 2) or len(z) != len(points) or not z.size:
        raise ValueError(f"{name}: expected the model to return (N,) or (N, C) for N points, got {z.shape} for {points.shape}")
    if not np.isfinite(z).all():
        raise ValueError(f"{name}: the model returned nan or inf; its training has probably diverged")
    return z[:, 0] if z.shape[1:] == (1,) else z


def _probabilities(owner: Any, z: Array, last: int, from_logits: bool) -> tuple[Array, NDArray[np.intp]]:
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
                "for logits pass from_logits=True, for a regression on 0 and 1 clip it: lambda x: predict(model, x).clip(0, 1)"
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


def _limits(values: Array, margin: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    space = margin * (high - low)
    if low - space == high + space:  # one value only, or no margin
        space = 1.0
    return low - space, high + space


def _points(owner: Any, X: ArrayLike, name: str) -> NDArray[np.float64]:
    points = np.asarray(X)
    if points.dtype.kind not in "biuf":
        raise TypeError(f"{owner.__name__}: expected {name} to be real numbers, got an array of dtype {points.dtype}")
    if points.ndim != 2 or not len(points) or points.shape[1] < 2:
        raise ValueError(f"{owner.__name__}: expected {name} (N, D) with at least 2 features, got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{owner.__name__}: {name} holds nan or inf; leave those points out")
    return points.astype(np.float64)


def _labels(owner: Any, y: ArrayLike, X: Array, name: str) -> NDArray[np.intp]:
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
        hint = "; for -1 and 1 pass y > 0" if set(np.unique(labels)) == {-1, 1} else ""
        raise ValueError(f"{owner.__name__}: expected {name} to be classes 0, 1, ..., got {np.unique(labels)[:5]}{hint}")
    return whole


def _two_features(owner: Any, features: Sequence[int], count: int) -> tuple[int, int]:
    if np.shape(features) != (2,) or features[0] == features[1] or not set(features) <= set(range(count)):
        raise ValueError(f"{owner.__name__}: expected two different features from 0 to {count - 1}, got {features!r}")
    return int(features[0]), int(features[1])


def _elsewhere(owner: Any, fixed: Mapping[int, float] | None, features: tuple[int, int], X: Array) -> Array:
    """A point of the plane: the given values of the features that are fixed, and means."""
    values: Array = X.mean(axis=0)
    for i, value in (fixed or {}).items():
        if i not in range(X.shape[1]) or i in features:
            raise ValueError(
                f"{owner.__name__}: expected fixed values of features from 0 to {X.shape[1] - 1} other than {features}, "
                f"got one of feature {i!r}"
            )
        if np.ndim(value) or not np.isreal(value) or not np.isfinite(value):
            raise ValueError(f"{owner.__name__}: expected a finite number as fixed[{i}], got {value!r}")
        values[i] = value
    return values


def check_count(owner: Any, names: Sequence[str] | None, count: int, what: str) -> None:
    if names is not None and len(names) != count:
        raise ValueError(f"{owner.__name__}: expected {count} {what}, got {len(names)}: {names!r}")
