"""Colours of classes that are told apart, however many, and a legend that fits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.memory import Array
from pancake.plotting.drawing import make_room

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that the colour-blind tell apart: Okabe, Ito, "Color Universal Design" (2008), with grey in place of black, which
# boundaries are drawn in.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")

INSIDE = 9  # entries: longer legends stand beside the axes
SMALLEST = 5.0  # points: what is smaller cannot be read
ENTRY = "pancake's legend"  # the gid of its entries
WIDEST = 0.45  # of the figure, for a legend


def lab(colors: ArrayLike) -> NDArray[np.float64]:
    """CIE L*a*b* of sRGB colours (..., 3), in which distances are roughly those that people see: 2 is hardly noticed.

    References
    ----------
    IEC 61966-2-1 (sRGB, white point D65); ISO/CIE 11664-4 (L*a*b*).
    """
    c = np.asarray(colors, dtype=np.float64)
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = c @ to_xyz.T / [0.9505, 1.0, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@functools.cache
def class_colors(classes: int) -> NDArray[np.float64]:
    """A colour for each class, (C, 3).

    Beyond those of COLORS each next one is the one that is farthest from those before it in L*a*b*, out of a grid of all that
    are neither nearly white, nearly black nor glaring.
    """
    chosen = [np.array(list(bytes.fromhex(color[1:]))) / 255 for color in COLORS[:classes]]
    steps = np.linspace(0, 1, max(9, round(2 * classes ** (1 / 3)) + 1))
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    places = lab(grid)
    usable = (places[:, 0] > 25) & (places[:, 0] < 87) & (np.hypot(*places.T[1:]) < 75)
    grid, places = grid[usable], places[usable]
    nearest = np.min([np.linalg.norm(places - lab(color), axis=1) for color in chosen], axis=0)
    while len(chosen) < classes:
        farthest = int(nearest.argmax())
        chosen.append(grid[farthest])
        nearest = np.minimum(nearest, np.linalg.norm(places - places[farthest], axis=1))
    colors = np.array(chosen)
    colors.flags.writeable = False  # it is kept
    return colors


def is_dark(ax: Axes) -> bool:
    """Whether what is behind the axes is dark, as in the style "dark_background"."""
    from matplotlib.colors import to_rgb

    return bool(lab(to_rgb(ax.get_facecolor()))[0] < 50)


def ramp(ax: Axes, count: int) -> Array:
    """Colours in an order, (count, 4), that are all seen on these axes: dark to light, or lighter ones on a dark background."""
    from matplotlib import colormaps

    low, high = (0.25, 1.0) if is_dark(ax) else (0.0, 0.88)
    return np.asarray(colormaps["viridis"](np.linspace(low, high, count)))


def class_legend(ax: Axes, names: Sequence[str], colors: Array, test: bool = False) -> Any:
    """A legend of classes, and of what training and test points look like.

    Its entries are lines without points on the axes, where a `plt.legend()` that comes later finds them beside its own.
    """
    from matplotlib.lines import Line2D

    def entry(label: str, color: Any, marker: str, edge: str) -> Line2D:
        return Line2D([], [], linestyle="", label=label, marker=marker, color=color, markeredgecolor=edge)

    entries = [entry(name, color, "o", "white") for name, color in zip(names, colors, strict=True)]
    if test:
        entries += [entry("train", "0.5", "o", "white"), entry("test", "0.5", "D", "black")]
    for old in [line for line in ax.lines if line.get_gid() == ENTRY]:
        old.remove()
    for line in entries:
        line.set_gid(ENTRY)
        ax.add_line(line)
    return legend(ax, entries)


def legend(ax: Axes, entries: Sequence[Any]) -> Any:
    """A legend that fits: beside the axes where there is or can be room, in columns, in smaller letters if need be.

    Beside them, if the figure has a layout engine to make room for it, or the legend is long; otherwise inside, where the
    fewest points are. What cannot be read in any size is left out, and the last entry counts it.
    """
    figure: Any = ax.figure
    has_engine = figure.get_layout_engine() is not None
    was_beside = getattr(ax.get_legend(), "_pancake_beside", False)
    if not has_engine and len(entries) <= INSIDE:
        return ax.legend(handles=list(entries), loc="best", framealpha=0.9)
    made = _fitting(ax, entries)
    made._pancake_beside = True
    if not has_engine and not was_beside:
        make_room(ax, min(made.get_window_extent().width / ax.get_window_extent().width + 0.03, 0.6))
    return made


def _fitting(ax: Axes, entries: Sequence[Any]) -> Any:
    """The largest legend beside the axes that is no taller than they are and not too wide."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.lines import Line2D

    figure: Any = ax.figure
    height, widest = 0.94 * ax.get_window_extent().height, WIDEST * min(figure.bbox.width, 1.6 * ax.get_window_extent().width)
    points = figure.get_dpi() / 72
    largest = FontProperties(size=_legend_size()).get_size_in_points()
    shown, sizes = list(entries), [size for size in (largest, 8.0, 7.0, 6.0, SMALLEST) if size <= largest]
    while True:
        for size in sizes:
            rows = max(int(height / (1.5 * size * points)) - 1, 1)
            columns = -(-len(shown) // rows)
            spacing = {"handletextpad": 0.2, "columnspacing": 0.6, "handlelength": 1.2} if columns > 1 else {}
            made = ax.legend(
                handles=shown,
                loc="upper left",
                bbox_to_anchor=(1.01, 1),
                borderaxespad=0,
                ncols=columns,
                fontsize=size,
                **spacing,
            )
            if made.get_window_extent().width <= widest or len(shown) <= 2:
                return made
        sizes = [SMALLEST]
        kept = max(len(shown) * 4 // 5 - 1, 1)
        shown = [*entries[:kept], Line2D([], [], linestyle="", label=f"... {len(entries) - kept} more")]


def _legend_size() -> Any:
    from matplotlib import rcParams

    return rcParams["legend.fontsize"]
