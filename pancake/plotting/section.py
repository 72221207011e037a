"""A line or a plane through the space of the features, and what a model puts out on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.arguments import as_array, brief, number, size
from pancake.function import Function
from pancake.memory import Array
from pancake.plotting.drawing import is_linear
from pancake.plotting.names import Feature, names_of_features, position
from pancake.training.predict import predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Section:
    """Points, and the line or plane of one or two of their features on which they are drawn; `ax`, if there is one, has scales.

    Attributes
    ----------
    X, X_test : ndarray (N, D)
    features : tuple of one or two int
    names : list of str
        Of all features.
    limits : list of (float, float)
        For each of the features that span the section.
    centres : list of ndarray (resolution,)
        Of the pixels, even steps on the scale of the axis.
    grid : ndarray (resolution or resolution^2, D)
        All pixels, row by row from below; other features are fixed.
    """

    def __init__(
        self,
        owner: Any,
        X: Any,
        X_test: Any,
        features: Feature | Sequence[Feature] | None,
        fixed: Mapping[Feature, float] | None,
        margin: float,
        resolution: int,
        feature_names: Sequence[Any] | None,
        ax: Axes | None,
    ) -> None:
        self.owner = owner
        self.X = points_of(owner, X, "X")
        count = self.X.shape[1]
        self.names = names_of_features(owner, X, feature_names, count)
        self.X_test = self.X[:0] if X_test is None else points_of(owner, X_test, "X_test")
        if self.X_test.shape[1] != count:
            raise ValueError(f"{owner.__name__}: expected X_test (N, {count}), like X, got {self.X_test.shape}")
        _check_columns(owner, X, X_test)
        self.features = _spanning(owner, features, self.names)
        margin = number(owner, "margin", margin)
        resolution = size(owner, resolution=resolution)
        if resolution < 2:
            raise ValueError(f"{owner.__name__}: expected resolution of at least 2, got {resolution}")
        everything = np.concatenate([self.X, self.X_test])
        axes = (None, None) if ax is None else (ax.xaxis, ax.yaxis)
        self.limits, self.centres = [], []
        for i, axis in zip(self.features, axes, strict=False):
            self.limits.append(_limits_of(owner, axis, everything[:, i], margin, self.names[i]))
            self.centres.append(_pixels(axis, self.limits[-1], resolution))
        self.grid = np.tile(_elsewhere(owner, fixed, self.features, self.names, self.X), (resolution ** len(self.features), 1))
        self.grid[:, self.features] = mesh(*self.centres)

    def outputs(self, model: Callable[[Any], Any], points: Array) -> Array:
        """What the model puts out for points with all features; an error speaks of X."""
        hint = f"X {self.X.shape}; pass X with the features that it was trained on"
        return outputs(self.owner, model, points, self.X, hint)


def mesh(*centres: Array) -> Array:
    """All combinations, (n, 1) or (n m, 2), the first changing fastest."""
    return np.stack(np.meshgrid(*centres), axis=-1).reshape(-1, len(centres))


def square(owner: Any, ax: Axes | None, r: float, resolution: int) -> tuple[list[tuple[float, float]], list[Array]]:
    """The limits and the pixels of [-r, r]^2; of [r / 1000, r] along an axis that is logarithmic."""
    resolution = size(owner, resolution=resolution)
    if resolution < 2:
        raise ValueError(f"{owner.__name__}: expected resolution of at least 2, got {resolution}")
    limits, centres = [], []
    for axis in (None, None) if ax is None else (ax.xaxis, ax.yaxis):
        low = -r
        if axis is not None and not np.isfinite(_transformed(axis, [low])).all():
            low = r / 1000
        limits.append((low, r))
        centres.append(_pixels(axis, limits[-1], resolution))
    return limits, centres


def shade(ax: Axes, centres: Sequence[Array], limits: Sequence[tuple[float, float]], values: Array, **options: Any) -> Any:
    """A picture of `values`, whose first axes are y and x: where they belong on axes of any scale."""
    (x, y), ((x0, x1), (y0, y1)) = centres, limits
    if is_linear(ax.xaxis) and is_linear(ax.yaxis):
        return ax.imshow(values, extent=(x0, x1, y0, y1), origin="lower", aspect="auto", **options)
    options.pop("interpolation", None)
    edges = [
        axis.get_transform().inverted().transform(_between(_transformed(axis, limit), len(middles) + 1))
        for axis, limit, middles in ((ax.xaxis, (x0, x1), x), (ax.yaxis, (y0, y1), y))
    ]
    return ax.pcolormesh(*edges, values, shading="flat", **options)


def _between(ends: Array, count: int) -> Array:
    places: Array = np.linspace(float(ends[0]), float(ends[1]), count)
    return places


def check_model(owner: Any, model: object) -> None:
    """Refuse what cannot be called, such as the estimators of scikit-learn, or an array in the place of the model."""
    if not callable(model):
        hint = f"; pass its method, model={type(model).__name__.lower()}.predict_proba" if hasattr(model, "predict_proba") else ""
        raise TypeError(
            f"{owner.__name__}: expected a model that can be called with an array (N, D) as first argument, got {brief(model)}"
            f"{hint}"
        )


def outputs(owner: Any, model: Callable[[Any], Any], points: Array, X: Array, what: str) -> Array:
    """What the model puts out: (N,), or (N, C) with C >= 2, finite real numbers.

    Where it takes neither the points nor `X`, the message is about the latter, in the words `what`: the user knows no others.
    """
    name = owner.__name__
    check_model(owner, model)
    try:
        z = _asked(model, points)
    except (TypeError, ValueError):
        try:
            _asked(model, X)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: the model {brief(model)} does not take {what} ({error})") from error
        raise
    if z.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected the model to return real numbers, got an array of dtype {z.dtype}")
    if z.ndim not in (1, 2) or len(z) != len(points) or not z.size:
        raise ValueError(f"{name}: expected the model to return (N,) or (N, C) for N points, got {z.shape} for {points.shape}")
    if not np.isfinite(z).all():
        raise ValueError(f"{name}: the model returned nan or inf; its training has probably diverged")
    return z[:, 0] if z.shape[1:] == (1,) else z


def _asked(model: Callable[[Any], Any], points: Array) -> NDArray[Any]:
    return np.asarray(predict(model, points) if isinstance(model, Function) else model(points))


def points_of(owner: Any, X: ArrayLike, name: str) -> NDArray[np.float64]:
    """Points (N, D), finite; (N,) are points of one feature."""
    points = as_array(owner, X, name)
    if points.dtype == object:  # columns of a data frame that are integers with gaps, say
        with contextlib.suppress(TypeError, ValueError):
            points = points.astype(np.float64)
    if points.dtype.kind not in "biuf":
        hint = "; leave out the columns that are not numbers" if hasattr(X, "columns") else ""
        raise TypeError(f"{owner.__name__}: expected {name} to be real numbers, got an array of dtype {points.dtype}{hint}")
    if points.ndim == 1:
        points = points[:, np.newaxis]
    if points.ndim != 2 or not points.size:
        hint = f"; {name}.reshape(len({name}), -1) makes rows" if points.ndim > 2 else ""
        raise ValueError(f"{owner.__name__}: expected {name} (N, D), a row of features for each point, got {points.shape}{hint}")
    if not np.isfinite(points).all():
        raise ValueError(f"{owner.__name__}: {name} holds nan or inf; leave those points out")
    return points.astype(np.float64)


def _check_columns(owner: Any, X: Any, X_test: Any) -> None:
    """Data frames with the same columns in another order would be mixed up."""
    columns, others = (list(getattr(data, "columns", ())) for data in (X, X_test))
    if columns and others and columns != others:
        raise ValueError(f"{owner.__name__}: expected X_test with the columns of X, {columns}, got {others}")


def _spanning(owner: Any, features: Any, names: Sequence[str]) -> tuple[int, ...]:
    """The features that span the section, as indices: without any given the first two, or the one that there is."""
    if features is None:
        return tuple(range(min(2, len(names))))
    listed = [features] if isinstance(features, str) or np.ndim(features) == 0 else list(features)
    known = all(isinstance(feature, str) or feature in range(len(names)) for feature in listed)
    found = tuple(position(owner, feature, names) for feature in listed) if known else ()
    if len(found) not in (1, 2) or len(set(found)) != len(found):
        raise ValueError(
            f"{owner.__name__}: expected one feature or two different features from 0 to {len(names) - 1}, got {features!r}"
        )
    return found


def _elsewhere(owner: Any, fixed: Any, features: tuple[int, ...], names: Sequence[str], X: Array) -> Array:
    """A point of the section: the given values of the features that are fixed, and means."""
    values: Array = X.mean(axis=0)
    if not (fixed is None or isinstance(fixed, Mapping)):
        raise TypeError(f"{owner.__name__}: expected fixed to be a dict, such as {{0: 1.5}} or {{'age': 40}}, got {fixed!r}")
    for feature, value in (fixed or {}).items():
        i = position(owner, feature, names)
        if i in features:
            raise ValueError(
                f"{owner.__name__}: expected fixed values of features other than {features}, got one of feature {feature!r}"
            )
        if np.ndim(value) or not np.isreal(value) or not np.isfinite(value):
            raise ValueError(f"{owner.__name__}: expected a finite number as fixed[{feature!r}], got {value!r}")
        values[i] = value
    return values


# --- scales ---


def _transformed(axis: Any, values: Any) -> Array:
    """Places along an axis, in which equal steps are equal lengths; nan or inf for what it does not have."""
    values = np.asarray(values, dtype=np.float64)
    if axis is None:
        return values
    there = {"log": values > 0, "logit": (values > 0) & (values < 1)}.get(axis.get_scale(), np.isfinite(values))
    with np.errstate(all="ignore"):
        places: Array = np.asarray(axis.get_transform().transform(values))
    return np.where(there, places, np.nan)  # matplotlib puts what is not on the axis far outside instead of nowhere


def _limits_of(owner: Any, axis: Any, values: Array, margin: float, name: str) -> tuple[float, float]:
    places = _transformed(axis, values)
    places = places[np.isfinite(places)]
    if not len(places):
        raise ValueError(f"{owner.__name__}: no point has a {name} that its {axis.get_scale()} axis can show")
    low, high = float(places.min()), float(places.max())
    space = margin * (high - low)
    if low - space == high + space:  # one value only, or no margin
        space = 1.0
    ends = np.array([low - space, high + space])
    if axis is not None:
        ends = axis.get_transform().inverted().transform(ends)
    return float(ends[0]), float(ends[1])


def _pixels(axis: Any, limits: tuple[float, float], resolution: int) -> Array:
    """The centres of the pixels between the limits, in even steps along the axis."""
    low, high = _transformed(axis, limits)
    places: Array = low + (np.arange(resolution) + 0.5) / resolution * (high - low)
    return places if axis is None else np.asarray(axis.get_transform().inverted().transform(places))
