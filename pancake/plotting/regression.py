"""What a regression has learnt: its curve, or its predictions beside what is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.memory import Array
from pancake.plotting.colors import class_colors
from pancake.plotting.colors import legend as draw_legend
from pancake.plotting.drawing import Drawing, current_axes, existing_axes, figure_of, need_matplotlib
from pancake.plotting.names import Feature
from pancake.plotting.section import Section
from pancake.training.metrics import r2_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_regression(
    model: Callable[[Any], Any],
    X: ArrayLike,
    y: ArrayLike,
    *,
    ax: Axes | None = None,
    resolution: int = 400,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    features: Feature | None = None,
    fixed: Mapping[Feature, float] | None = None,
    feature_names: Sequence[Any] | None = None,
    target_names: Sequence[Any] | str | None = None,
    margin: float = 0.05,
    legend: bool = True,
) -> Drawing:
    """Draw what a model of numbers has learnt: over one feature its curve and the points, over several predicted against true.

    With several features each point stands at its true value (right) and the predicted one (up): a perfect prediction lies on
    the diagonal, which is drawn. `features` draws the curve over one of them instead, the others being fixed. The title tells
    R^2, the share of the variance that is predicted. It draws on pyplot's current axes, or on those that are given.

    Parameters
    ----------
    model : Function or callable
        (N, D) -> (N,) or (N, K), numbers. A Function is called through `predict`: mode and caches stay as they are.
    X : array_like (N, D) or (N,)
        The points. The columns of a data frame name the features.
    y : array_like (N,) or (N, K)
        The true values.
    ax : matplotlib Axes, optional
        Where to draw, instead of on pyplot's current axes. An axis that is logarithmic stays so.
    resolution : int
        How many points the curve has, at least 2.
    X_test, y_test : array_like, optional
        Points that the model did not learn from, drawn as diamonds with a dark edge.
    features : int or str, optional
        With several features: over which to draw the curve.
    fixed : mapping of int or str to float, optional
        The values of the others along the curve; the mean over X for those that are not given.
    feature_names, target_names : sequence of str, optional
        D names of the features and K of the values, in place of those of data frames; one name may be a str.
    margin : float
        The space around the points, as a share of their range.
    legend : bool
        Whether to explain what is what, where there is more than one thing.

    Returns
    -------
    Drawing
        With the artists "train", "test" (None without test points) and "curve", or "diagonal" where there is none; "train",
        "test" and "curve" are lists with one for each of the K values.

    Raises
    ------
    ValueError, TypeError
        If arrays do not fit together, or hold what is not a finite number.
    ImportError
        If matplotlib is missing.
    """
    need_matplotlib()
    if (X_test is None) != (y_test is None):
        raise ValueError("plot_regression: expected X_test and y_test together, got only one of them")
    if fixed and features is None:
        raise ValueError("plot_regression: expected fixed together with features, as without it no feature is fixed")
    along = features is not None or np.ndim(X) == 1 or np.shape(X)[1:] == (1,)
    there = existing_axes(plot_regression, ax) if along else None
    section = Section(plot_regression, X, X_test, features if along else 0, fixed, margin, resolution, feature_names, there)
    if len(section.features) != 1:
        raise ValueError(f"plot_regression: expected one feature, by index or name, got {features!r}")
    train = _values(y, section.X, "y")
    test = train[:0] if y_test is None else _values(y_test, section.X_test, "y_test")
    count = train.shape[1]
    if test.shape[1] != count:
        raise ValueError(f"plot_regression: expected y_test (N, {count}), like y, got {test.shape}")
    names = _names(y, target_names, count)
    z = section.outputs(model, np.concatenate([section.X, section.X_test, section.grid]))
    z = z.reshape(len(z), -1).astype(np.float64)
    if z.shape[1] != count:
        raise ValueError(f"plot_regression: expected {count} outputs, one for each column of y, got {z.shape[1]}")
    said, curve = np.split(z, [len(train) + len(test)])

    ax = current_axes(plot_regression, ax)
    colors = class_colors(max(count, 2))
    artists: dict[str, Any] = {"train": [], "test": [] if len(test) else None}
    for i in range(count):
        kinds: Any = (
            ("train", section.X, train, said[: len(train)], {"edgecolors": "white", "linewidths": 0.6, "zorder": 2}),
            (
                "test",
                section.X_test,
                test,
                said[len(train) :],
                {"marker": "D", "edgecolors": "0.3", "linewidths": 0.8, "zorder": 3},
            ),
        )
        for kind, X_kind, true, pred, style in kinds:
            if len(true):
                x, height = (X_kind[:, section.features[0]], true[:, i]) if along else (true[:, i], pred[:, i])
                size = float(np.clip(6000 / len(true), 9, 36))
                label = kind if count == 1 else f"{names[i]}, {kind}"
                artists[kind].append(ax.scatter(x, height, size, [colors[i]], alpha=0.75, label=label, **style))
    if along:
        line = colors[1:2] if count == 1 else colors  # a curve among its own points, or in their colours
        artists["curve"] = [
            ax.plot(section.centres[0], curve[:, i], color=line[i], linewidth=2, zorder=4, label=_curve_label(names, i))[0]
            for i in range(count)
        ]
        labels = section.names[section.features[0]], names[0] if count == 1 else "value"
        ax.set(xlim=section.limits[0])
    else:
        everything = np.concatenate([train, test, said]).ravel()
        ends = np.unique([*everything, *np.linspace(everything.min(), everything.max(), 200)])  # bent, if one axis is logarithmic
        artists["diagonal"] = ax.plot(ends, ends, color="0.5", linewidth=1, linestyle="--", zorder=1, label="predicted = true")[0]
        what = f": {names[0]}" if names[0] != "y" and count == 1 else ""
        labels = f"true{what}", f"predicted{what}"
    ax.set(xlabel=labels[0], ylabel=labels[1], title=_title(train, test, said))
    if legend:
        handles, _ = ax.get_legend_handles_labels()
        draw_legend(ax, handles)
    return Drawing(figure_of(ax), [ax], artists)


def _curve_label(names: Sequence[str], i: int) -> str:
    return "model" if len(names) == 1 else f"{names[i]}, model"


def _title(train: Array, test: Array, said: Array) -> str:
    """R^2 in words, where it is defined: for two points or more that are not all the same."""

    def score(pred: Array, true: Array) -> str:
        if len(true) < 2 or not np.ptp(true, axis=0).any():
            return "undefined"
        return f"{r2_score(pred, true):.3f}"

    if not len(test):
        return f"R² {score(said, train)}"
    return f"R²: train {score(said[: len(train)], train)}, test {score(said[len(train) :], test)}"


def _values(y: Any, X: Array, name: str) -> NDArray[np.float64]:
    values = np.asarray(y)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"plot_regression: expected {name} to be real numbers, got an array of dtype {values.dtype}")
    if values.ndim not in (1, 2) or len(values) != len(X) or not values.size:
        raise ValueError(f"plot_regression: expected {name} ({len(X)},) or ({len(X)}, K), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"plot_regression: {name} holds nan or inf; leave those points out")
    return values.reshape(len(values), -1).astype(np.float64)


def _names(y: Any, target_names: Any, count: int) -> list[str]:
    """The names given, or those of a series or of the columns of a data frame, or "y"."""
    if isinstance(target_names, str):
        target_names = [target_names]
    if target_names is None:
        columns = list(getattr(y, "columns", ())) or [getattr(y, "name", None)]
        known = len(columns) == count and all(isinstance(name, str) for name in columns)
        return columns if known else ["y"] if count == 1 else [f"y {i}" for i in range(count)]
    names = list(target_names)
    if len(names) != count:
        raise ValueError(f"plot_regression: expected {count} target_names, one for each column of y, got {len(names)}: {names!r}")
    return list(map(str, names))
