"""What a model says to each point of a plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.arguments import number
from pancake.memory import Array
from pancake.plotting.drawing import COLORS, Drawing, need_matplotlib, new_axes, open_window
from pancake.plotting.plane import Plane, View, check_count, outputs, pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet

# How much of its colour a region shows where the model is certain; the points on it show all of theirs.
STRENGTH = 0.55


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
    need_matplotlib()
    if not number(show_pred, "r", r):
        raise ValueError("show_pred: expected r of more than 0, got 0")
    x0, x1, points = pixels(show_pred, (-r, r), (-r, r), resolution)
    z = outputs(show_pred, model, points)
    if z.size != len(z):
        raise ValueError(
            f"show_pred: expected one output for each point, got {z.shape} for {points.shape}; "
            "choose a column, as in show_pred(lambda x: predict(model, x)[:, 0]), or use plot_decision_boundary"
        )
    # A probability keeps one scale, so that pictures compare.
    low, high = (0.0, 1.0) if z.min() >= 0 and z.max() <= 1 else (z.min(), z.max())
    window = show and ax is None
    ax = new_axes(window) if ax is None else ax
    image = ax.imshow(
        z.reshape(len(x1), len(x0)).astype(float), cmap="viridis", vmin=low, vmax=high, extent=(-r, r, -r, r), origin="lower"
    )
    ax.set(xlabel="feature 0", ylabel="feature 1")
    colorbar = ax.figure.colorbar(image, ax=ax, label="output")
    figure = ax.figure.canvas.figure  # the whole of it, where axes stand in a SubFigure
    if window:
        open_window(figure)
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
    need_matplotlib()
    plane = Plane(plot_decision_boundary, X, y, X_test, y_test, features, fixed, margin, resolution)
    return draw(plane, plane.look(model, from_logits), ax, feature_names, class_names, legend)


def draw(
    plane: Plane,
    view: View,
    ax: Axes | None,
    feature_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
    legend: bool,
) -> Drawing:
    """Draw a view of a plane, and its points."""
    classes, (a, b) = len(view.p), plane.features
    check_count(plane.owner, feature_names, plane.X.shape[1], "feature_names, one for each feature")
    check_count(plane.owner, class_names, classes, "class_names, one for each class")
    ax = new_axes() if ax is None else ax
    colors = _class_colors(classes)
    shading = ax.imshow(
        shades(view.p), extent=(*plane.x_limits, *plane.y_limits), origin="lower", aspect="auto", interpolation="bilinear"
    )
    area = float(np.clip(6000 / (len(plane.y) + len(plane.y_test)), 9, 64))  # of a point, in points squared
    artists: dict[str, Any] = {
        "shading": shading,
        "boundary": boundary(ax, plane, view.p),
        "train": ax.scatter(plane.X[:, a], plane.X[:, b], area, colors[plane.y], edgecolors="white", linewidths=0.6, zorder=3),
        "test": None,
        "legend": None,
    }
    if len(plane.y_test):
        artists["test"] = ax.scatter(
            plane.X_test[:, a],
            plane.X_test[:, b],
            area,
            colors[plane.y_test],
            marker="D",
            edgecolors="black",
            linewidths=0.8,
            zorder=4,
        )
    if legend:
        names = [f"class {c}" for c in range(classes)] if class_names is None else class_names
        artists["legend"] = _legend(ax, names, colors, len(plane.y_test) > 0)
    x_name, y_name = (f"feature {i}" if feature_names is None else feature_names[i] for i in (a, b))
    ax.set(xlim=plane.x_limits, ylim=plane.y_limits, xlabel=x_name, ylabel=y_name, title=view.title)
    return Drawing(ax.figure.canvas.figure, [ax], artists)


def _class_colors(classes: int) -> NDArray[np.float64]:
    """A colour for each class, (C, 3); beyond those of COLORS they come from viridis."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if classes <= len(COLORS):
        return np.array([to_rgb(color) for color in COLORS[:classes]])
    return np.asarray(colormaps["viridis"](np.linspace(0, 1, classes)))[:, :3]


def shades(p: Array) -> Array:
    """The colour of the most probable class: white where all are equally probable, STRENGTH of it where it is certain."""
    classes = len(p)
    colors = _class_colors(classes)
    sure = (p.max(axis=0) - 1 / classes) / (1 - 1 / classes)
    colored: Array = 1 - STRENGTH * sure[..., None] * (1 - colors[p.argmax(axis=0)])
    return colored.clip(0, 1)


def boundary(ax: Axes, plane: Plane, p: Array) -> list[ContourSet]:
    """Lines where a class is as probable as the most probable other one."""
    lines: list[ContourSet] = []
    for c in range(len(p) - 1):  # the last class has its borders with these
        lead = p[c] - np.delete(p, c, axis=0).max(axis=0)
        if lead.min() < 0 < lead.max():
            lines.append(ax.contour(plane.x_centres, plane.y_centres, lead, levels=[0], colors="black", linewidths=1.2))
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
