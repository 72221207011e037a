"""What the layers do to the plane: a grid and the points, carried through each hidden layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.arguments import size
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.memory import Array
from pancake.plotting.boundary import boundary_lines, shades
from pancake.plotting.colors import class_colors, class_legend
from pancake.plotting.drawing import Drawing, figure_of, need_matplotlib, panels_of
from pancake.plotting.film import Film
from pancake.plotting.layers import layers_of, outputs_of
from pancake.plotting.names import ClassNames, Feature, names_of_classes
from pancake.plotting.plane import Plane, probabilities
from pancake.plotting.section import mesh, outputs, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

SAMPLES = 60  # points of each line of the grid
PIXELS = 160
MOVING, STANDING = 14, 6  # pictures of a film, from one layer to the next and at each


@dataclass(frozen=True)
class Stage:
    """The grid and the points as one layer puts them out.

    Attributes
    ----------
    name : str
    lines : ndarray (L, SAMPLES, 2)
    points : ndarray (N, 2)
    labels : (str, str)
        Of the axes.
    """

    name: str
    lines: Array
    points: Array
    labels: tuple[str, str]


@dataclass(frozen=True)
class Regions:
    """The classes on the plane of the last hidden layer: pixels (x, y), their limits, and the probabilities there."""

    centres: Sequence[Array]
    limits: list[tuple[float, float]]
    p: Array


@dataclass(frozen=True, repr=False)
class HiddenPlane(Drawing):
    """What `plot_hidden_plane` drew; `animate` makes a film of it."""

    stages: list[Stage]
    regions: Regions
    y: NDArray[np.intp]
    names: list[str]

    def animate(self, *, figure: Figure | None = None) -> HiddenPlaneFilm:
        """The way from the input to the last hidden layer as a film, which ends with the line that separates the classes.

        A notebook plays it; `animate().save("plane.gif")` writes a file.

        Parameters
        ----------
        figure : matplotlib Figure, optional
            Where to draw; without it a figure of its own, which pyplot knows nothing of.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.2, 5.2), layout="tight") if figure is None else figure
        return HiddenPlaneFilm.on(figure.add_subplot(), self)


@dataclass(frozen=True, repr=False)
class HiddenPlaneFilm(Film):
    """The grid and the points on their way through the layers."""

    drawn: HiddenPlane

    @classmethod
    def on(cls, ax: Axes, drawn: HiddenPlane) -> HiddenPlaneFilm:
        colors = class_colors(len(drawn.regions.p))
        first = drawn.stages[0]
        artists: dict[str, Any] = {
            "grid": _grid(ax, first.lines),
            "train": _points(ax, first.points, 24, colors[drawn.y]),
            "shading": None,
            "boundary": [],
        }
        artists["legend"] = class_legend(ax, drawn.names, colors)
        ax.set(xticks=[], yticks=[], xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
        film = cls(figure_of(ax), [ax], artists, drawn)
        film.show_frame(0)
        return film

    @property
    def length(self) -> int:
        """The number of pictures."""
        stages = len(self.drawn.stages)
        return stages * STANDING + (stages - 1) * MOVING

    def show_frame(self, index: int) -> None:
        """Draw the picture of that number; -1 is the last."""
        stages, (ax,) = self.drawn.stages, self.axes
        stage, step = divmod(range(self.length)[index], STANDING + MOVING)
        share = max(step - STANDING + 1, 0) / (MOVING + 1)
        share = share * share * (3 - 2 * share)  # it starts and stops gently
        here, there = stages[stage], stages[min(stage + 1, len(stages) - 1)]
        lines, points = ((1 - share) * a + share * b for a, b in zip(_in_square(here), _in_square(there), strict=True))
        self.artists["grid"].set_segments(lines)
        self.artists["train"].set_offsets(points)
        ax.set_title(here.name if not share else f"{here.name} \N{RIGHTWARDS ARROW} {there.name}")
        for artist in (self.artists["shading"], *self.artists["boundary"]):
            if artist is not None:
                artist.remove()
        self.artists.update(shading=None, boundary=[])
        if stage == len(stages) - 1:
            self.artists.update(_regions(ax, self.drawn.regions, *_square_of(here)))
            ax.set_aspect("equal")


def plot_hidden_plane(
    model: Sequential,
    X: ArrayLike,
    y: ArrayLike,
    *,
    axes: Sequence[Axes] | None = None,
    figure: Figure | SubFigure | None = None,
    lines: int = 15,
    from_logits: bool = False,
    features: Sequence[Feature] | None = None,
    fixed: Mapping[Feature, float] | None = None,
    feature_names: Sequence[Any] | None = None,
    class_names: ClassNames = None,
    margin: float = 0.1,
) -> HiddenPlane:
    """Draw what the layers do to the plane: a grid and the points, carried through each hidden layer.

    The first panel is the input; each further one is a hidden layer, where the grid is bent as the layer bends the plane. What
    the last layer, which is linear, can do in the end is to lay straight lines: the last panel shows them, and the region of
    each class. A layer of two units is shown as it is. Of one with more, the plane on which the points and the grid spread
    most; of the last hidden one the plane on which the last layer decides, so that its borders are lines there as well. With
    up to three classes they are the model's own, with more those on this plane through the mean.

    Parameters
    ----------
    model : Sequential
        (N, D) -> what `plot_decision_boundary` takes. Run in evaluation mode; mode, caches and gradients stay as they were.
    X : array_like (N, D)
        The points, of at least 2 features. The columns of a data frame name them.
    y : array_like (N,)
        Their classes 0, 1, ...
    axes : sequence of matplotlib Axes, optional
        Where to draw, one for the input and for each hidden layer; pyplot is then not touched.
    figure : matplotlib Figure, optional
        Where to make these axes; without both, on pyplot's current figure if it is empty, else on a new one.
    lines : int
        How many lines the grid has in each direction.
    from_logits, features, fixed, feature_names, class_names, margin
        As for `plot_decision_boundary`; the grid lies in the plane of the two features.

    Returns
    -------
    HiddenPlane
        With the artists "grids" and "points", lists with one for each panel, "shading", "boundary" and "legend". Its method
        `animate()` makes a film, with `save(path)`, which a notebook plays.

    Raises
    ------
    TypeError, ValueError
        As `plot_decision_boundary` does, or if the model is not a Sequential or there is another number of layers than of axes.
    ImportError
        If matplotlib is missing.

    References
    ----------
    Olah, "Neural Networks, Manifolds, and Topology" (2014), https://colah.github.io/posts/2014-03-NN-Manifolds-Topology/
    """
    need_matplotlib()
    owner = plot_hidden_plane
    count = size(owner, lines=lines)
    layers = layers_of(owner, model)
    plane = Plane(owner, X, y, None, None, features, fixed, margin, 2, feature_names, None)
    if len(plane.features) != 2:
        raise ValueError(f"plot_hidden_plane: expected X with at least 2 features, got {plane.X.shape}")
    accuracy = plane.look(model, from_logits).title
    stages, regions = _carried(owner, plane, layers, count, from_logits)
    names = names_of_classes(owner, class_names, len(regions.p))

    panels = panels_of(owner, axes, figure, len(stages), "one for the input and each hidden layer", size=(3.6, 3.8))
    colors = class_colors(len(regions.p))
    artists: dict[str, Any] = {"grids": [], "points": []}
    for ax, stage in zip(panels, stages, strict=True):
        last = stage is stages[-1]
        if last:
            artists.update(_regions(ax, regions, np.zeros(2), 1.0))
        area = float(np.clip(3000 / len(stage.points), 6, 36))
        artists["grids"].append(_grid(ax, stage.lines))
        artists["points"].append(_points(ax, stage.points, area, colors[plane.y]))
        ax.set(xlabel=stage.labels[0], ylabel=stage.labels[1], title=f"{stage.name}\n{accuracy}" if last else stage.name)
        low, high = _extent(stage)
        space = 0.04 * np.maximum(high - low, 1e-9)
        ax.set(xlim=(low[0] - space[0], high[0] + space[0]), ylim=(low[1] - space[1], high[1] + space[1]))
    artists["legend"] = class_legend(panels[-1], names, colors)
    return HiddenPlane(figure_of(panels[0]), panels, artists, stages, regions, plane.y, names)


# --- carrying ---


def _carried(
    owner: Any, plane: Plane, layers: list[tuple[str, list[Function]]], count: int, from_logits: bool
) -> tuple[list[Stage], Regions]:
    """The input and each hidden layer as stages, and the regions of the last of them."""
    a, b = plane.features
    grid = np.tile(plane.grid[0], (2 * count * SAMPLES, 1))
    grid[:, [a, b]] = _lines(plane.limits, count)
    both = np.concatenate([grid, plane.X])
    hidden, last = layers[:-1], layers[-1][1]
    values = [both, *outputs_of(owner, hidden, both)]
    if any(len(value) != len(both) for value in values):
        raise ValueError("plot_hidden_plane: expected layers that put out one row for each example; sequences have more")
    names = ["input", *(f"hidden layer {i}, units: {value.shape[1]}" for i, value in enumerate(values[1:], start=1))]
    stages: list[Stage] = []
    flat: Array = both[:, [a, b]]
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        basis: Array = np.eye(value.shape[1])[:, :2]
        middle: Array = np.zeros(value.shape[1])
        labels = ("unit 0", "unit 1")
        if i == 0:
            basis, labels = np.eye(value.shape[1])[:, [a, b]], (plane.names[a], plane.names[b])
        elif value.shape[1] > 2:
            middle = value.mean(axis=0)
            basis = _spread(value - middle, _decisive(last, value.shape[1]) if value is values[-1] else None)
            basis = basis @ _turn((value - middle) @ basis, flat)
            labels = (f"a plane through the {value.shape[1]} units", "")
        elif value.shape[1] == 1:
            basis, labels = np.array([[1.0, 0.0]]), ("unit 0", "")
        flat = (value - middle) @ basis
        split = len(grid)
        stages.append(Stage(name, flat[:split].reshape(2 * count, SAMPLES, 2), flat[split:], labels))
    elsewhere = plane.grid[0] * (1 - np.isin(np.arange(both.shape[1]), [a, b])) if len(values) == 1 else middle

    def head(pixels: Array) -> Any:
        return outputs_of(owner, [("", last)], pixels @ basis.T + elsewhere)[0]

    low, high = _extent(stages[-1])
    limits = [(float(a - s), float(b + s)) for a, b, s in zip(low, high, 0.1 * np.maximum(high - low, 1e-6), strict=True)]
    centres = [np.linspace(*limit, PIXELS) for limit in limits]
    pixels = mesh(*centres)
    p, _ = probabilities(
        owner, outputs(owner, head, pixels, pixels, "what the hidden layers put out"), int(plane.y.max()), from_logits
    )
    return stages, Regions(centres, limits, np.ascontiguousarray(p.T).reshape(-1, PIXELS, PIXELS))


def _lines(limits: Sequence[tuple[float, float]], count: int) -> Array:
    """Lines upright and level, (2 count SAMPLES, 2)."""
    (x0, x1), (y0, y1) = limits
    across, along = np.linspace(0, 1, count), np.linspace(0, 1, SAMPLES)
    upright = np.stack(np.broadcast_arrays(across[:, None], along), axis=-1)
    both = np.concatenate([upright, upright[..., ::-1]]).reshape(-1, 2)
    lines: Array = np.array([x0, y0]) + both * [x1 - x0, y1 - y0]
    return lines


def _decisive(last: list[Function], units: int) -> Array | None:
    """The directions in which the last layer tells classes apart, (units, k); None if it has no matrix of weights."""
    weight = next((f.weight for f in last if isinstance(getattr(f, "weight", None), np.ndarray)), None)
    if weight is None or weight.ndim != 2 or weight.shape[1] != units:
        return None
    w = weight.astype(np.float64)
    w = w if len(w) == 1 else w - w.mean(axis=0)
    _, strength, directions = np.linalg.svd(w, full_matrices=False)
    return directions[strength > 1e-9 * max(float(strength.max(initial=0)), 1e-300)].T


def _spread(centred: Array, first: Array | None) -> Array:
    """An orthonormal basis (units, 2): the given directions first, then those in which what is left spreads most."""
    basis = np.zeros((centred.shape[1], 0)) if first is None else first[:, :2]
    rest = centred - centred @ basis @ basis.T
    _, _, directions = np.linalg.svd(rest, full_matrices=False)
    chosen: Array = np.column_stack([basis, directions.T])[:, :2]
    return chosen


def _turn(flat: Array, before: Array) -> Array:
    """The turn of a plane (2, 2), with or without a reflection, that brings its points nearest to where they were before."""
    u, _, v = np.linalg.svd(flat.T @ (before - before.mean(axis=0)))
    turn: Array = u @ v
    return turn


# --- drawing ---


def _grid(ax: Axes, lines: Array) -> Any:
    from matplotlib.collections import LineCollection

    grid = LineCollection(list(lines), colors="0.5", linewidths=0.7, alpha=0.6, zorder=2)
    ax.add_collection(grid, autolim=False)
    return grid


def _points(ax: Axes, points: Array, area: float, colors: Array) -> Any:
    return ax.scatter(points[:, 0], points[:, 1], area, colors, edgecolors="white", linewidths=0.6, zorder=3)


def _regions(ax: Axes, regions: Regions, middle: Array, scale: float) -> dict[str, Any]:
    """The regions and the borders between them, moved and scaled."""
    centres = [(c - m) / scale for c, m in zip(regions.centres, middle, strict=True)]
    limits = [((low - m) / scale, (high - m) / scale) for (low, high), m in zip(regions.limits, middle, strict=True)]
    shading = shade(ax, centres, limits, shades(regions.p), interpolation="bilinear")
    return {"shading": shading, "boundary": boundary_lines(ax, centres, regions.p)}


def _extent(stage: Stage) -> tuple[Array, Array]:
    everything = np.concatenate([stage.lines.reshape(-1, 2), stage.points])
    return everything.min(axis=0), everything.max(axis=0)


def _square_of(stage: Stage) -> tuple[Array, float]:
    """The middle of a stage, and half of its longer side: a film shows it in the square from -1 to 1."""
    low, high = _extent(stage)
    return (low + high) / 2, float((high - low).max() / 2) or 1.0


def _in_square(stage: Stage) -> tuple[Array, Array]:
    middle, scale = _square_of(stage)
    return (stage.lines - middle) / scale, (stage.points - middle) / scale
