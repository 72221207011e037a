"""What a model says to each point of a line or of a plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from pancake.arguments import number, tells_how_to_call
from pancake.memory import Array
from pancake.plotting.colors import class_colors, class_legend
from pancake.plotting.drawing import Drawing, current_axes, existing_axes, figure_of, is_linear, need_matplotlib, show_pyplot
from pancake.plotting.names import ClassNames, Feature, names_of_classes
from pancake.plotting.plane import Plane, View
from pancake.plotting.section import check_model, mesh, outputs, shade, square

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# How much of its colour a region shows where the model is certain; the points on it show all of theirs.
STRENGTH = 0.55


@tells_how_to_call
def show_pred(
    model: Callable[[Any], Any], r: float = 5, show: bool = True, *, ax: Axes | None = None, resolution: int = 200
) -> Drawing:
    """Show what a model of two inputs puts out on the square [-r, r]^2, as a picture with a colour bar.

    It draws on pyplot's current axes, and what comes after it draws on top::

        show_pred(model, show=False)
        plt.scatter(X[:, 0], X[:, 1], c=y)
        plt.show()

    Parameters
    ----------
    model : Function or callable
        (N, 2) -> (N,) or (N, 1). A Function is called through `predict`: mode and caches stay as they are.
    r : float
        More than 0.
    show : bool
        Whether to call `plt.show()` in the end, which opens a window, or shows the picture in a notebook; where there is no
        display nothing happens. With `ax` the window is the business of whoever made the axes.
    ax : matplotlib Axes, optional
        Where to draw, instead of on pyplot's current axes. An axis that is logarithmic goes from r / 1000 to r.
    resolution : int
        The picture has resolution x resolution points, at least 2 x 2.

    Returns
    -------
    Drawing
        With the artists "image" and "colorbar". A colour bar of an earlier call on the same axes is replaced.

    Raises
    ------
    ValueError, TypeError
        If the model does not put out one finite number for each point.
    ImportError
        If matplotlib is missing.
    """
    need_matplotlib()
    check_model(show_pred, model)
    r = number(show_pred, "r", r)
    if not r:
        raise ValueError("show_pred: expected r of more than 0, got 0")
    limits, centres = square(show_pred, existing_axes(show_pred, ax), r, resolution)
    points = mesh(*centres)
    z = outputs(show_pred, model, points, points[:1], "two features; plot_decision_boundary draws models of any number")
    if z.size != len(z):
        raise ValueError(
            f"show_pred: expected one output for each point, got {z.shape} for {points.shape}; "
            "choose a column, as in show_pred(lambda x: predict(model, x)[:, 0]), or use plot_decision_boundary"
        )
    # A probability keeps one scale, so that pictures compare.
    low, high = (0.0, 1.0) if z.min() >= 0 and z.max() <= 1 else (z.min(), z.max())
    shows = show and ax is None
    ax = current_axes(show_pred, ax)
    for image in (*ax.images, *ax.collections):
        if image.get_gid() == "show_pred" and image.colorbar is not None:
            image.colorbar.remove()
    values = z.reshape(resolution, resolution).astype(float)
    image = shade(ax, centres, limits, values, cmap="viridis", vmin=low, vmax=high)
    image.set_gid("show_pred")
    if ax.get_xscale() == ax.get_yscale() == "linear":
        ax.set_aspect("equal")
    ax.set(xlim=limits[0], ylim=limits[1], xlabel="feature 0", ylabel="feature 1")
    colorbar = ax.figure.colorbar(image, ax=ax, label="output")
    drawn = Drawing(figure_of(ax), [ax, colorbar.ax], {"image": image, "colorbar": colorbar})
    if shows:
        show_pyplot()
    return drawn


@tells_how_to_call
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
    features: Feature | Sequence[Feature] | None = None,
    fixed: Mapping[Feature, float] | None = None,
    feature_names: Sequence[Any] | None = None,
    class_names: ClassNames = None,
    margin: float = 0.1,
    legend: bool = True,
) -> Drawing:
    """Draw which class a model gives to each point of a plane, how sure it is, and the points it learnt from.

    It draws on pyplot's current axes, so that `plt.title`, `plt.scatter`, `plt.savefig` and `plt.show` after it do what
    everybody expects; with `ax` pyplot is not touched.

    The title tells the accuracy, on all features of the points. Two classes shade from one colour through white, at
    probability 1/2, to the other; more have a colour each, paler where the largest probability is smaller. The boundary
    between the classes is a line of its own. Over a single feature the probability of each class is a curve, and the points
    stand in a row for each class, from the first at 0 to the last at 1.

    Parameters
    ----------
    model : Function or callable
        (N, D) -> one of the following. A Function is called through `predict`: mode and caches stay as they are.

        - floats (N,) or (N, 1): the probability of class 1, which is the class from 1/2 on; or its logit, with `from_logits`
        - floats (N, C), C >= 2: scores, of which the largest wins. Rows that are not probabilities pass through softmax.
        - integers or booleans (N,): the classes themselves
    X : array_like (N, D) or (N,)
        The points. The columns of a data frame name the features.
    y : array_like (N,) or (N, 1)
        Their classes 0, 1, ..., C - 1.
    ax : matplotlib Axes, optional
        Where to draw, instead of on pyplot's current axes. An axis that is logarithmic stays so, and is shaded in even steps.
    resolution : int
        The shading has resolution x resolution points, at least 2 x 2.
    X_test, y_test : array_like, optional
        Points that the model did not learn from, drawn as diamonds with a black edge.
    from_logits : bool
        Whether outputs are logits, as for the losses: pass them through sigmoid, or softmax, whatever they look like.
    features : two int or str, or one, optional
        Which two features span the plane, by index or by name; without it the first two. One alone spans a line.
    fixed : mapping of int or str to float, optional
        The value of other features on the plane, by index or name; the mean over X for those that are not given.
    feature_names : sequence of str, optional
        D names for the axes, in place of those of the data frame.
    class_names : sequence of str, or mapping of int to str, optional
        C names for the legend, in order or by class.
    margin : float
        The space around the points, as a share of their range.
    legend : bool
        Whether to name the classes. The legend stands beside the axes if the figure has a layout engine, such as
        "constrained", to make room for it, or the legend is long; otherwise inside, where the fewest points are.

    Returns
    -------
    Drawing
        With the artists "shading", "boundary" (a list of contours, or lines over a single feature; empty if one class has all
        of the plane), "train", "test" and "legend" (None without), and over a single feature "curves".

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
    check_model(plot_decision_boundary, model)
    there = existing_axes(plot_decision_boundary, ax)
    plane = Plane(plot_decision_boundary, X, y, X_test, y_test, features, fixed, margin, resolution, feature_names, there)
    return draw(plane, plane.look(model, from_logits), lambda: current_axes(plot_decision_boundary, ax), class_names, legend)


def draw(plane: Plane, view: View, axes: Callable[[], Axes], class_names: ClassNames, legend: bool) -> Drawing:
    """Draw a view of a plane, and its points, on the axes that are then made."""
    classes, line = len(view.p), len(plane.features) == 1
    names = names_of_classes(plane.owner, class_names, classes)
    ax, colors = axes(), class_colors(classes)
    centres, limits = plane.centres, plane.limits
    if line:
        centres, limits = [*centres, np.zeros(1)], [*limits, (-0.1 if is_linear(ax.yaxis) else 1e-3, 1.1)]
    rows = np.linspace(0, 1, classes)  # over a single feature: the height of the points of each class

    def points(X: Array, y: Any, **options: Any) -> Any:
        x = X[:, plane.features[0]]
        return ax.scatter(x, rows[y] if line else X[:, plane.features[1]], area, colors[y], **options)

    area = float(np.clip(6000 / (len(plane.y) + len(plane.y_test)), 9, 64))  # of a point, in points squared
    artists: dict[str, Any] = {
        "shading": shade(ax, centres, limits, shades(view.p), interpolation="bilinear"),
        "boundary": boundary_lines(ax, plane.centres, view.p),
        "train": points(plane.X, plane.y, edgecolors="white", linewidths=0.6, zorder=3),
        "test": None,
        "legend": None,
    }
    if line:
        artists["curves"] = [
            ax.plot(plane.centres[0], p, color=color, linewidth=2, zorder=2.5)[0]
            for p, color in zip(view.p[:, 0], colors, strict=True)
        ]
    if len(plane.y_test):
        artists["test"] = points(plane.X_test, plane.y_test, marker="D", edgecolors="black", linewidths=0.8, zorder=4)
    y_name = "probability" if line else plane.names[plane.features[1]]
    ax.set(xlim=limits[0], ylim=limits[1], xlabel=plane.names[plane.features[0]], ylabel=y_name, title=view.title)
    if legend:
        artists["legend"] = class_legend(ax, names, colors, len(plane.y_test) > 0)
    return Drawing(figure_of(ax), [ax], artists)


def shades(p: Array) -> Array:
    """The colour of the most probable class: white where all are equally probable, STRENGTH of it where it is certain."""
    classes = len(p)
    colors = class_colors(classes)
    sure = (p.max(axis=0) - 1 / classes) / (1 - 1 / classes)
    colored: Array = 1 - STRENGTH * sure[..., None] * (1 - colors[p.argmax(axis=0)])
    return colored.clip(0, 1)


def boundary_lines(ax: Axes, centres: Sequence[Array], p: Array) -> list[Any]:
    """Lines where a class is as probable as the most probable other one, each of them once."""
    lines: list[Any] = []
    for c in range(len(p) - 1):  # the last class has its borders with these
        others = np.delete(p, c, axis=0)
        lead = p[c] - others.max(axis=0)
        # The border with an earlier class is there already: twice it would be heavier. One pixel more, and lines still meet.
        later = np.pad(others.argmax(axis=0) >= c, 1)
        mine = sliding_window_view(later, (3, 3)).any(axis=(-2, -1))
        lead = np.ma.masked_array(lead, ~mine)
        if not lead.min() < 0 < lead.max():
            continue
        if len(centres) > 1:
            lines.append(ax.contour(*centres, lead, levels=[0], colors="black", linewidths=1.2))
        else:
            places = crossings(centres[0], lead[0])
            lines += [ax.axvline(x, color="black", linewidth=1.2, zorder=2) for x in sorted(places)]
    return lines


def crossings(x: Array, values: Array) -> Array:
    """Where the values, between neighbouring x taken as straight lines, change their sign."""
    (at,) = np.nonzero(np.signbit(values[:-1]) != np.signbit(values[1:]))
    share = values[at] / (values[at] - values[at + 1])
    places: Array = x[at] + share * (x[at + 1] - x[at])
    return places
