"""What every picture needs: axes to draw on, those of pyplot or the caller's own, and something to return."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

LAID_OUT = 30  # panels: the layout of more takes longer than their drawing
LARGEST = 100.0  # inches; a figure of 2^16 pixels, at 100 to the inch 655 inches, is refused by matplotlib


@dataclass(frozen=True)
class Drawing:
    """What a function drew.

    A notebook shows it as a picture, if it is on a figure that pyplot knows nothing of; one of pyplot's is shown by pyplot, once.

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

    def __post_init__(self) -> None:
        # Asked now, as pyplot lets go of a figure when it has shown it.
        object.__setattr__(self, "_is_pyplots", self.figure.canvas.manager is not None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {len(self.axes)} axes, artists: {', '.join(map(repr, self.artists))}>"

    def _repr_png_(self) -> bytes | None:
        if vars(self)["_is_pyplots"]:
            return None
        file = io.BytesIO()
        self.figure.savefig(file, format="png")
        return file.getvalue()


def need_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError("pancake.plotting needs matplotlib: pip install matplotlib") from error


def existing_axes(owner: Any, ax: Axes | None) -> Axes | None:
    """The axes on which `current_axes` would draw, if they are there already: their scales decide what is computed."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if ax is not None:
        return checked_axes(owner, ax)
    if pyplot is None or not pyplot.get_fignums() or not pyplot.gcf().axes:
        return None
    return checked_axes(owner, pyplot.gca())


def current_axes(owner: Any, ax: Axes | None) -> Axes:
    """The axes given, and pyplot is not touched; or pyplot's current ones, on a new figure if there is none."""
    if ax is not None:
        return checked_axes(owner, ax)
    import matplotlib.pyplot as plt

    if not plt.get_fignums():
        new_figure()
    return checked_axes(owner, plt.gca())


def checked_axes(owner: Any, ax: Any, name: str = "ax") -> Axes:
    """Axes with an x and a y; all else is refused, above all the array that `plt.subplots(1, 2)` returns."""
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"{owner.__name__}: expected {name} to be one matplotlib Axes, got {_other_than_axes(ax, name)}")
    if hasattr(ax, "zaxis"):
        raise ValueError(
            f"{owner.__name__}: expected axes with an x and a y, got 3d ones, in which a flat picture has no place; make axes "
            "without projection='3d'"
        )
    return ax


def given_axes(owner: Any, axes: Any) -> list[Axes]:
    """The axes of a sequence, or of an array of any shape."""
    return [checked_axes(owner, ax, f"axes[{i}]") for i, ax in enumerate(np.ravel(np.asarray(axes, dtype=object)))]


def _other_than_axes(thing: Any, name: str) -> str:
    """What came in the place of axes, and how to come to them from there."""
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    if isinstance(thing, FigureBase):
        return f"a {type(thing).__name__}; pass one of its axes, such as figure.add_subplot()"
    if isinstance(thing, np.ndarray) and thing.dtype == object:
        shape = len(thing) if thing.ndim == 1 else f"shape {thing.shape}"
        first = ", ".join("0" for _ in thing.shape)
        return f"an array of {shape}; pass {name}[{first}]"
    if isinstance(thing, (list, tuple)):
        first = next((f"; pass {name}[{i}]" for i, part in enumerate(thing) if isinstance(part, Axes)), "")
        return f"a {type(thing).__name__} of {len(thing)}{first}"
    return f"{brief(thing)}; plt.subplots() and figure.add_subplot() make axes"


def new_figure(**options: Any) -> Figure:
    """One more figure of pyplot's.

    It leaves room for what stands beside axes, by the layout that `plt.tight_layout()` and `plt.subplots_adjust()` after it get
    along with: "constrained" would warn of them, and refuse where there is a colour bar.
    """
    import matplotlib.pyplot as plt

    asked = plt.rcParams["figure.constrained_layout.use"] or plt.rcParams["figure.autolayout"]
    return plt.figure(layout=None if asked else "tight", **options)


def figure_for_panels(size: tuple[float, float]) -> Figure:
    """The current figure of pyplot's if nothing is on it, as after `plt.figure(figsize=(12, 4))`; else one more, of that size.

    One whose size nobody chose, as after `plt.figure()`, takes this size too: in the usual one panels would overlap.
    """
    import matplotlib.pyplot as plt

    if not plt.get_fignums() or plt.gcf().get_children() != [plt.gcf().patch]:
        return new_figure(figsize=size)
    figure = plt.gcf()
    if np.array_equal(figure.get_size_inches(), plt.rcParams["figure.figsize"]):
        figure.set_size_inches(size)
    if figure.get_layout_engine() is None:  # without one the labels of a panel stand in the next
        figure.set_layout_engine("tight")
    return figure


def panels_of(
    owner: Any,
    axes: Sequence[Axes] | None,
    figure: Figure | SubFigure | None,
    count: int,
    what: str,
    *,
    columns: int = 4,
    size: tuple[float, float] = (3.2, 3.2),
) -> list[Axes]:
    """As many axes as there are panels: those given, or on the figure given, or on one of pyplot's.

    `size` is that of one panel on a new figure, in inches.
    """
    if axes is not None:
        if figure is not None:
            raise ValueError(f"{owner.__name__}: expected axes or figure, got both")
        panels = given_axes(owner, axes)
        if len(panels) != count:
            raise ValueError(f"{owner.__name__}: expected {count} axes, {what}, got {len(panels)}")
        return panels
    columns = min(count, columns)
    rows = -(-count // columns)
    spaces: dict[str, Any] = {}
    if figure is None:
        figure = figure_for_panels((size[0] * columns, min(size[1] * rows, LARGEST)))
        if count > LAID_OUT:
            figure.set_layout_engine("none")
            spaces = {"gridspec_kw": {"hspace": 0.5, "wspace": 0.4, "top": 1 - 0.5 / rows, "bottom": 0.5 / rows}}
    grid = figure.subplots(rows, columns, squeeze=False, **spaces)
    for spare in grid.flat[count:]:
        spare.remove()
    figure.sca(grid.flat[0])
    return list(grid.flat[:count])


def figure_of(ax: Axes) -> Figure:
    """The whole figure, also where axes stand in a SubFigure."""
    figure: Any = ax.figure.canvas.figure
    return figure


def show_pyplot() -> None:
    """What `plt.show()` does, without its warning where there is no display."""
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is non-interactive, and thus cannot be shown")
        plt.show()


def stacked(ax: Axes, count: int) -> list[Axes]:
    """The place of the axes divided among `count` panels, one below the other, of which they are the first."""
    if count == 1:
        return [ax]
    rows = _place(ax).subgridspec(count, 1, hspace=0.1)
    ax.set_subplotspec(rows[0])
    return [ax] + [ax.figure.add_subplot(rows[row], sharex=ax) for row in range(1, count)]


def make_room(ax: Axes, share: float) -> None:
    """Leave that share of the place of the axes free, on their right, as a colour bar does."""
    ax.set_subplotspec(_place(ax).subgridspec(1, 2, wspace=0.05, width_ratios=(1 - share, share))[0])


def _place(ax: Axes) -> Any:
    from matplotlib.gridspec import GridSpec

    place = ax.get_subplotspec()
    if place is not None:
        return place
    box = ax.get_position()  # of axes that stand by themselves, from `add_axes`
    # a SubFigure does, though matplotlib's annotations do not say so
    figure: Any = ax.figure
    return GridSpec(1, 1, figure, left=box.x0, bottom=box.y0, right=box.x1, top=box.y1)[0]


def is_linear(axis: Any) -> bool:
    """Whether equal steps along an axis of matplotlib's are equal lengths."""
    return bool(axis.get_scale() == "linear")


def whole_ticks(axis: Any, count: Any = "auto") -> None:
    """Ticks at whole numbers only, as for epochs and units; an axis that is logarithmic keeps its own."""
    from matplotlib.ticker import MaxNLocator

    if is_linear(axis):
        axis.set_major_locator(MaxNLocator(count, integer=True, min_n_ticks=1))
