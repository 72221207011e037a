"""Pictures of what a net has learnt, through matplotlib: `pip install "pancake-nn[plot]"`.

Without `ax` each function draws on a `Figure` of its own that pyplot knows nothing of: nothing needs a display, nothing has
to be closed, and `plot_decision_boundary(model, X, y).figure.savefig("boundary.png")` is all it takes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.flat import Array
from pancake.function import Function, number, size
from pancake.metrics import accuracy
from pancake.training import predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet
    from matplotlib.figure import Figure

__all__ = ["Drawing", "plot_decision_boundary", "plot_history", "show_pred"]

# Colours that the colour-blind tell apart: Okabe, Ito, "Color Universal Design" (2008), with grey in place of black, which
# boundaries are drawn in.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")

# How much of its colour a region shows where the model is certain; the points on it show all of theirs.
STRENGTH = 0.55


@dataclass(frozen=True)
class Drawing:
    """What a function drew. A notebook shows it as a picture.

    Attributes
    ----------
    figure : matplotlib Figure
        What it is drawn on; `figure.savefig(path)` writes a file.
    axes : list of matplotlib Axes
    artists : dict
        The parts of the drawing, by the names that the function documents.
    """

    figure: Figure
    axes: list[Axes]
    artists: dict[str, Any]

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format="png")
        return file.getvalue()


def show_pred(
    model: Callable[[Any], Any], r: float = 5, show: bool = True, *, ax: Axes | None = None, resolution: int = 200
) -> Drawing:
    """Show what a model of two inputs puts out on the square [-r, r]^2, as a picture with a colour bar.

    Parameters
    ----------
    model : Function or callable
        (N, 2) -> (N,) or (N, 1). A Function is called through `predict`: mode and caches stay as they are.
    r : float
        More than 0.
    show : bool
        Whether to open a window, through pyplot; where there is no display none opens, and nothing else changes.
        With `ax` the window is the business of whoever made the axes.
    ax : matplotlib Axes, optional
        Where to draw.
    resolution : int
        The picture has resolution x resolution points, at least 2 x 2.

    Returns
    -------
    Drawing
        With the artists "image" and "colorbar".

    Raises
    ------
    ValueError, TypeError
        If the model does not put out one finite number for each point.
    ImportError
        If matplotlib is missing.
    """
    _need_matplotlib()
    if not number(show_pred, "r", r):
        raise ValueError("show_pred: expected r of more than 0, got 0")
    x0, x1, points = _grid(show_pred, (-r, r), (-r, r), resolution)
    z = _outputs(show_pred, model, points)
    if z.size != len(z):
        raise ValueError(
            f"show_pred: expected one output for each point, got {z.shape} for {points.shape}; "
            "choose a column, as in show_pred(lambda x: predict(model, x)[:, 0]), or use plot_decision_boundary"
        )
    # A probability keeps one scale, so that pictures compare.
    low, high = (0.0, 1.0) if z.min() >= 0 and z.max() <= 1 else (z.min(), z.max())
    window = show and ax is None
    ax = _axes(window) if ax is None else ax
    image = ax.imshow(
        z.reshape(len(x1), len(x0)).astype(float), cmap="viridis", vmin=low, vmax=high, extent=(-r, r, -r, r), origin="lower"
    )
    ax.set(xlabel="feature 0", ylabel="feature 1")
    colorbar = ax.figure.colorbar(image, ax=ax, label="output")
    figure = ax.figure.canvas.figure  # the whole of it, where axes stand in a SubFigure
    if window:
        _show(figure)
    return Drawing(figure, [ax, colorbar.ax], {"image": image, "colorbar": colorbar})


def plot_decision_boundary(
    model: Callable[[Any], Any],
    X: ArrayLike,
    y: ArrayLike,
    *,
    ax: Axes | None = None,
    resolution: int = 200,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    from_logits: bool = False,
    features: Sequence[int] = (0, 1),
    fixed: Mapping[int, float] | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    margin: float = 0.1,
    legend: bool = True,
) -> Drawing:
    """Draw which class a model gives to each point of a plane, how sure it is, and the points it learnt from.

    The title tells the accuracy, on all features of the points. Two classes shade from one colour through white, at
    probability 1/2, to the other; more have a colour each, paler where the largest probability is smaller. The boundary
    between the classes is a line of its own.

    Parameters
    ----------
    model : Function or callable
        (N, D) -> one of the following. A Function is called through `predict`: mode and caches stay as they are.

        - floats (N,) or (N, 1): the probability of class 1, which is the class from 1/2 on; or its logit, with `from_logits`
        - floats (N, C), C >= 2: scores, of which the largest wins. Rows that are not probabilities pass through softmax.
        - integers or booleans (N,): the classes themselves
    X : array_like (N, D)
        The points, with D >= 2 features.
    y : array_like (N,) or (N, 1)
        Their classes 0, 1, ..., C - 1.
    ax : matplotlib Axes, optional
        Where to draw.
    resolution : int
        The shading has resolution x resolution points, at least 2 x 2.
    X_test, y_test : array_like, optional
        Points that the model did not learn from, drawn as diamonds with a black edge.
    from_logits : bool
        Whether outputs are logits, as for the losses: pass them through sigmoid, or softmax, whatever they look like.
    features : (int, int)
        Which two features span the plane.
    fixed : mapping of int to float, optional
        The value of other features on the plane, by index; the mean over X for those that are not given.
    feature_names, class_names : sequence of str, optional
        D and C names, for the axes and the legend.
    margin : float
        The space around the points, as a share of their range.
    legend : bool
        Whether to name the classes. The legend stands beside the axes if the figure has a layout engine, such as
        "constrained", to make room for it; otherwise inside, where the fewest points are.

    Returns
    -------
    Drawing
        With the artists "shading", "boundary" (a list of contours, empty if one class has all of the plane), "train", "test"
        and "legend" (None without).

    Raises
    ------
    ValueError, TypeError
        If arrays do not fit together, labels are not 0, 1, ..., or outputs are not of one of the forms above.
    ImportError
        If matplotlib is missing.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.inspection.DecisionBoundaryDisplay.html
    """
    _need_matplotlib()
    owner = plot_decision_boundary
    X = _points(X, "X")
    y = _labels(y, X, "y")
    if X_test is None and y_test is None:
        X_test, y_test = X[:0], y[:0]
    elif X_test is None or y_test is None:
        raise ValueError("plot_decision_boundary: expected X_test and y_test together, got only one of them")
    else:
        X_test = _points(X_test, "X_test")
        y_test = _labels(y_test, X_test, "y_test")
    if X_test.shape[1] != X.shape[1]:
        raise ValueError(f"plot_decision_boundary: expected X_test (N, {X.shape[1]}), like X, got {X_test.shape}")
    test = len(y_test) > 0
    a, b = _two_features(features, X.shape[1])
    _check_count(feature_names, X.shape[1], "feature_names, one for each feature")
    everything, labels = np.concatenate([X, X_test]), np.concatenate([y, y_test])

    margin = number(owner, "margin", margin)
    x_limits, y_limits = _limits(everything[:, a], margin), _limits(everything[:, b], margin)
    x_grid, y_grid, plane = _grid(owner, x_limits, y_limits, resolution)
    grid = np.tile(_elsewhere(fixed, (a, b), X), (len(plane), 1))
    grid[:, [a, b]] = plane
    p, winners = _probabilities(_outputs(owner, model, np.concatenate([grid, everything])), int(labels.max()), from_logits)
    classes = p.shape[1]
    _check_count(class_names, classes, "class_names, one for each class")
    winners = winners[len(grid) :]
    # Classes first: NumPy reduces over a first axis several times as fast as over a short last one.
    p = np.ascontiguousarray(p[: len(grid)].T).reshape(classes, resolution, resolution)

    ax = _axes() if ax is None else ax
    colors = _class_colors(classes)
    shading = ax.imshow(
        _shades(p, colors), extent=(*x_limits, *y_limits), origin="lower", aspect="auto", interpolation="bilinear"
    )
    boundary = _boundary(ax, x_grid, y_grid, p)
    area = float(np.clip(6000 / len(labels), 9, 64))  # of a point, in points squared
    train = ax.scatter(X[:, a], X[:, b], area, colors[y], edgecolors="white", linewidths=0.6, zorder=3)
    artists: dict[str, Any] = {"shading": shading, "boundary": boundary, "train": train, "test": None, "legend": None}
    title = f"accuracy {accuracy(winners[: len(y)], y):.1%}"
    if test:
        artists["test"] = ax.scatter(
            X_test[:, a], X_test[:, b], area, colors[y_test], marker="D", edgecolors="black", linewidths=0.8, zorder=4
        )
        title = f"accuracy: train {accuracy(winners[: len(y)], y):.1%}, test {accuracy(winners[len(y) :], y_test):.1%}"
    if legend:
        names = [f"class {c}" for c in range(classes)] if class_names is None else class_names
        artists["legend"] = _legend(ax, names, colors, test)
    x_name, y_name = (f"feature {i}" if feature_names is None else feature_names[i] for i in (a, b))
    ax.set(xlim=x_limits, ylim=y_limits, xlabel=x_name, ylabel=y_name, title=title)
    return Drawing(ax.figure.canvas.figure, [ax], artists)


def plot_history(history: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Drawing:
    """Draw how losses, metrics and whatever else was noted went from epoch to epoch.

    Each quantity has a panel with a scale of its own, which it shares with its `val_`, `train_` and `test_` variants: so
    losses, accuracies and learning rates stay readable beside each other. A scale is logarithmic where its values are not
    negative and span two decades or more; shares, such as accuracies, stay linear. Epochs with nan or inf are gaps in the
    line, marked with a cross at the bottom.

    Parameters
    ----------
    history : mapping of str to sequence of float
        For each name the values after epochs 1, 2, ...; names without values are left out.
    ax : matplotlib Axes, optional
        Where to draw: the panels share its place, one below the other.

    Returns
    -------
    Drawing
        Its axes are the panels; the artists are the lines, under the names of the history.

    Raises
    ------
    ValueError, TypeError
        If there are no values at all, or something is not a sequence of numbers.
    ImportError
        If matplotlib is missing.
    """
    _need_matplotlib()
    from matplotlib.ticker import MaxNLocator

    quantities = _quantities(history)
    if ax is None:
        ax = _axes(figsize=(6.4, 1.2 + 2.4 * len(quantities)))
    panels = _stacked(ax, len(quantities))
    artists: dict[str, Any] = {}
    for panel, (quantity, curves) in zip(panels, quantities.items(), strict=True):
        for i, (name, values) in enumerate(curves.items()):
            epochs = np.arange(1, len(values) + 1)
            finite = np.isfinite(values)
            color = COLORS[i % len(COLORS)]
            marker = "o" if len(values) <= 20 else ""
            (artists[name],) = panel.plot(
                epochs, np.where(finite, values, np.nan), ("-", "--", ":")[i % 3], color=color, marker=marker, ms=4, label=name
            )
            if not finite.all():
                panel.plot(
                    epochs[~finite],
                    np.full((~finite).sum(), 0.04),
                    "x",
                    color=color,
                    label=f"{name}: nan or inf",
                    transform=panel.get_xaxis_transform(),
                )
        if _spans_decades(quantity, np.concatenate(list(curves.values()))):
            panel.set_yscale("log")
        panel.set_ylabel(quantity)
        panel.grid(alpha=0.3)
        panel.tick_params(labelbottom=panel is panels[-1])
        if len(panel.lines) > 1:
            panel.legend()
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    panels[-1].set_xlabel("epoch")
    return Drawing(ax.figure.canvas.figure, panels, artists)


# --- figures and windows ---


def _need_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError('pancake.plotting needs matplotlib: pip install "pancake-nn[plot]"') from error


def _axes(window: bool = False, **options: Any) -> Axes:
    """Axes on a new figure: one of pyplot's where a window is wanted and there can be one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    options = {"layout": "constrained", **options}
    if window:
        import matplotlib.pyplot as plt

        try:
            return plt.figure(**options).add_subplot()
        except ImportError:  # a backend for windows is chosen, but there is no display
            pass
    figure = Figure(**options)
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _show(figure: Figure) -> None:
    """Open the window of one of pyplot's figures; without a display let go of the figure."""
    import matplotlib.pyplot as plt
    from matplotlib.backend_bases import FigureManagerBase

    manager = figure.canvas.manager
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is non-interactive, and thus cannot be shown")
        plt.show()
    if type(manager) is FigureManagerBase:
        plt.close(figure)


# --- what the model says ---


def _grid(
    owner: object, x_limits: tuple[float, float], y_limits: tuple[float, float], resolution: int
) -> tuple[Array, Array, Array]:
    """The centres of resolution x resolution pixels: their x, their y, and all of them, (N, 2), row by row from below."""
    if size(owner, resolution=resolution) < 2:
        raise ValueError(f"{owner.__name__}: expected resolution of at least 2, got {resolution}")  # type: ignore[attr-defined]
    share = (np.arange(resolution) + 0.5) / resolution
    x, y = (low + share * (high - low) for low, high in (x_limits, y_limits))
    return x, y, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _outputs(owner: Any, model: Callable[[Any], Any], points: Array) -> Array:
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


def _probabilities(z: Array, last: int, from_logits: bool) -> tuple[Array, NDArray[np.intp]]:
    """Outputs as probabilities of each class (N, C), and the class that wins; `last` is the largest label."""
    if z.ndim == 1 and z.dtype.kind in "biu" and not from_logits:
        winners = z.astype(np.intp)
        if winners.min() < 0:
            raise ValueError(f"plot_decision_boundary: expected classes 0, 1, ... from the model, got {winners.min()}")
        return np.eye(max(winners.max(), last, 1) + 1)[winners], winners
    z = z.astype(np.float64)
    if z.ndim == 1:
        if from_logits:
            z = 0.5 * np.tanh(0.5 * z) + 0.5
        elif z.min() < 0 or z.max() > 1:
            raise ValueError(
                f"plot_decision_boundary: expected probabilities of class 1, got outputs from {z.min():.3g} to {z.max():.3g}; "
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
        raise ValueError(f"plot_decision_boundary: {outputs}, got the label {last}")
    return p, winners


# --- the parts of a picture ---


def _class_colors(classes: int) -> NDArray[np.float64]:
    """A colour for each class, (C, 3); beyond those of COLORS they come from viridis."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if classes <= len(COLORS):
        return np.array([to_rgb(color) for color in COLORS[:classes]])
    return np.asarray(colormaps["viridis"](np.linspace(0, 1, classes)))[:, :3]


def _shades(p: Array, colors: Array) -> Array:
    """The colour of the most probable class: white where all are equally probable, STRENGTH of it where it is certain."""
    classes = len(p)
    sure = (p.max(axis=0) - 1 / classes) / (1 - 1 / classes)
    shades: Array = 1 - STRENGTH * sure[..., None] * (1 - colors[p.argmax(axis=0)])
    return shades.clip(0, 1)


def _boundary(ax: Axes, x: Array, y: Array, p: Array) -> list[ContourSet]:
    """Lines where a class is as probable as the most probable other one."""
    lines: list[ContourSet] = []
    for c in range(len(p) - 1):  # the last class has its borders with these
        lead = p[c] - np.delete(p, c, axis=0).max(axis=0)
        if lead.min() < 0 < lead.max():
            lines.append(ax.contour(x, y, lead, levels=[0], colors="black", linewidths=1.2))
    return lines


def _legend(ax: Axes, names: Sequence[str], colors: Array, test: bool) -> Any:
    from matplotlib.lines import Line2D

    def entry(label: str, color: Any, marker: str, edge: str) -> Line2D:
        return Line2D([], [], linestyle="", label=label, marker=marker, color=color, markeredgecolor=edge)

    entries = [entry(str(name), color, "o", "white") for name, color in zip(names, colors, strict=True)]
    if test:
        entries += [entry("train", "0.5", "o", "white"), entry("test", "0.5", "D", "black")]
    if ax.figure.get_layout_engine() is not None:
        return ax.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return ax.legend(handles=entries, loc="best", framealpha=0.9)


def _stacked(ax: Axes, count: int) -> list[Axes]:
    """The place of the axes divided among `count` panels, one below the other, of which they are the first."""
    from matplotlib.gridspec import GridSpec

    if count == 1:
        return [ax]
    place = ax.get_subplotspec()
    if place is None:  # axes that stand by themselves, from `add_axes`
        box = ax.get_position()
        # a SubFigure does, though matplotlib's annotations do not say so
        figure: Any = ax.figure
        place = GridSpec(1, 1, figure, left=box.x0, bottom=box.y0, right=box.x1, top=box.y1)[0]
    rows = place.subgridspec(count, 1, hspace=0.1)
    ax.set_subplotspec(rows[0])
    return [ax] + [ax.figure.add_subplot(rows[row], sharex=ax) for row in range(1, count)]


def _limits(values: Array, margin: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    space = margin * (high - low)
    if low - space == high + space:  # one value only, or no margin
        space = 1.0
    return low - space, high + space


def _quantities(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Array]]:
    """The curves of a history, those of one quantity together."""
    if not isinstance(history, Mapping):
        raise TypeError(f"plot_history: expected a dict of lists, such as {{'loss': [1.0, 0.5]}}, got {type(history).__name__}")
    quantities: dict[str, dict[str, Array]] = {}
    for name, values in history.items():
        try:
            curve = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"plot_history: expected numbers under {name!r}, got {values!r}"[:200]) from None
        if curve.ndim != 1:
            raise ValueError(f"plot_history: expected one number an epoch under {name!r}, got an array of shape {curve.shape}")
        if curve.size:
            quantity = str(name)
            for prefix in ("val_", "train_", "test_"):
                quantity = quantity.removeprefix(prefix)
            quantities.setdefault(quantity, {})[str(name)] = curve
    if not quantities:
        raise ValueError("plot_history: expected at least one value, got an empty history; train for an epoch first")
    return quantities


def _spans_decades(quantity: str, values: Array) -> bool:
    """Whether a logarithmic scale shows more: from two decades on, unless the values are shares, such as accuracies."""
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if not positive.size or values.min() < 0 or positive.max() / positive.min() < 100:
        return False
    return positive.max() > 1 or "loss" in quantity or quantity == "lr"


# --- checks of what comes in ---


def _points(X: ArrayLike, name: str) -> NDArray[np.float64]:
    points = np.asarray(X)
    if points.dtype.kind not in "biuf":
        raise TypeError(f"plot_decision_boundary: expected {name} to be real numbers, got an array of dtype {points.dtype}")
    if points.ndim != 2 or not len(points) or points.shape[1] < 2:
        raise ValueError(f"plot_decision_boundary: expected {name} (N, D) with at least 2 features, got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"plot_decision_boundary: {name} holds nan or inf; leave those points out")
    return points.astype(np.float64)


def _labels(y: ArrayLike, X: Array, name: str) -> NDArray[np.intp]:
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf":
        raise TypeError(
            f"plot_decision_boundary: expected {name} to be classes 0, 1, ..., got an array of dtype {labels.dtype}; "
            f"names, {name} = np.unique({name}, return_inverse=True) makes them, with class_names=names"
        )
    if labels.shape not in ((len(X),), (len(X), 1)):
        hint = "; of one-hot rows take argmax(axis=1)" if labels.ndim == 2 and len(labels) == len(X) else ""
        raise ValueError(f"plot_decision_boundary: expected {name} ({len(X)},), a class for each point, got {labels.shape}{hint}")
    labels = labels.reshape(-1)
    whole = labels.astype(np.intp) if np.isfinite(labels).all() else np.full(len(X), -1)
    if (whole != labels).any() or whole.min() < 0:
        hint = "; for -1 and 1 pass y > 0" if set(np.unique(labels)) == {-1, 1} else ""
        raise ValueError(f"plot_decision_boundary: expected {name} to be classes 0, 1, ..., got {np.unique(labels)[:5]}{hint}")
    return whole


def _two_features(features: Sequence[int], count: int) -> tuple[int, int]:
    if np.shape(features) != (2,) or features[0] == features[1] or not set(features) <= set(range(count)):
        raise ValueError(f"plot_decision_boundary: expected two different features from 0 to {count - 1}, got {features!r}")
    return int(features[0]), int(features[1])


def _elsewhere(fixed: Mapping[int, float] | None, features: tuple[int, int], X: Array) -> Array:
    """A point of the plane: the given values of the features that are fixed, and means."""
    values: Array = X.mean(axis=0)
    for i, value in (fixed or {}).items():
        if i not in range(X.shape[1]) or i in features:
            raise ValueError(
                f"plot_decision_boundary: expected fixed values of features from 0 to {X.shape[1] - 1} other than {features}, "
                f"got one of feature {i!r}"
            )
        if np.ndim(value) or not np.isreal(value) or not np.isfinite(value):
            raise ValueError(f"plot_decision_boundary: expected a finite number as fixed[{i}], got {value!r}")
        values[i] = value
    return values


def _check_count(names: Sequence[str] | None, count: int, what: str) -> None:
    if names is not None and len(names) != count:
        raise ValueError(f"plot_decision_boundary: expected {count} {what}, got {len(names)}: {names!r}")
