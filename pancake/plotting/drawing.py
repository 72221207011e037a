"""What every picture needs: a figure to draw on, colours, and something to return."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that the colour-blind tell apart: Okabe, Ito, "Color Universal Design" (2008), with grey in place of black, which
# boundaries are drawn in.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


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


def need_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError('pancake.plotting needs matplotlib: pip install "pancake-nn[plot]"') from error


def new_axes(window: bool = False, **options: Any) -> Axes:
    """Axes on a new figure: one of pyplot's where a window is wanted and there can be one."""
    if window:
        import matplotlib.pyplot as plt

        try:
            return plt.figure(layout="constrained", **options).add_subplot()
        except ImportError:  # a backend for windows is chosen, but there is no display
            pass
    return _new_figure(**options).add_subplot()


def _new_figure(**options: Any) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained", **options)
    FigureCanvasAgg(figure)
    return figure


def new_panels(owner: Any, axes: Sequence[Axes] | None, count: int, what: str) -> list[Axes]:
    """The axes given, of which there must be `count`, or as many on a new figure, four in a row."""
    if axes is not None:
        panels = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(panels) != count:
            raise ValueError(f"{owner.__name__}: expected {count} axes, {what}, got {len(panels)}")
        return panels
    columns = min(count, 4)
    rows = -(-count // columns)
    grid = _new_figure(figsize=(3.2 * columns, 3.2 * rows)).subplots(rows, columns, squeeze=False)
    for spare in grid.flat[count:]:
        spare.remove()
    return list(grid.flat[:count])


def open_window(figure: Figure) -> None:
    """Open the window of one of pyplot's figures; without a display let go of the figure."""
    import matplotlib.pyplot as plt
    from matplotlib.backend_bases import FigureManagerBase

    manager = figure.canvas.manager
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is non-interactive, and thus cannot be shown")
        plt.show()
    if type(manager) is FigureManagerBase:
        plt.close(figure)


def stacked(ax: Axes, count: int) -> list[Axes]:
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
