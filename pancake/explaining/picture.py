"""An explanation as a picture: what each layer puts out, and the gradient that arrives there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.explaining.numbers import shape_of, short
from pancake.explaining.remarks import arrays_in, norm
from pancake.explaining.trace import TimeStep
from pancake.memory import Array
from pancake.plotting.drawing import Drawing, figure_for_panels, figure_of, need_matplotlib, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from pancake.explaining.explanation import Explanation

COLUMNS = 6
ROWS = 64  # examples that are shown


def draw(explanation: Explanation, figure: Figure | SubFigure | None) -> Drawing:
    """A column for the input and for each layer; above what comes out forward, below what arrives backward."""
    need_matplotlib()
    seen = explanation.trace
    columns = [("input", seen.x, seen.dObj_dX)]
    for step in explanation.steps:
        if step.dObj_dOut is not None:
            name = f"{step.path} {type(step.function).__name__}".strip()
            if step.times:
                columns.append((f"{name}, in time", *_in_time(step.times)))
            columns.append((name, step.y, step.dObj_dOut))
    count = min(len(columns), COLUMNS)
    bands = -(-len(columns) // count)
    if figure is None:
        figure = figure_for_panels((2.1 * count + 0.6, min(4.6 * bands, 100.0)))
    grid = figure.subplots(2 * bands, count, squeeze=False)
    panels: list[Axes] = []
    artists: dict[str, Any] = {"outputs": [], "gradients": []}
    for i, (name, y, d) in enumerate(columns):
        above, below = grid[2 * (i // count), i % count], grid[2 * (i // count) + 1, i % count]
        rows, what = table_of(y)
        artists["outputs"].append(_image(above, rows))
        above.set_title(f"{name}\n{shape_of(y)}", fontsize="small")
        artists["gradients"].append(_image(below, table_of(d)[0]))
        what_d = "gradient of the state" if name.endswith("in time") else f"gradient, norm {short(norm(d))}"
        below.set_title(what_d, fontsize="small")
        below.set_xlabel("unit")
        for ax in (above, below):
            ax.set_ylabel(what)
        panels += [above, below]
    for spare in grid[-2:, len(columns) - count * (bands - 1) :].flat:
        spare.remove()
    title = f"{type(seen.loss).__name__} {short(explanation.objective)}: forward above, to the right; backward below, to the left"
    if any(np.ma.is_masked(image.get_array()) for image in (*artists["outputs"], *artists["gradients"])):
        title += "; black is nan or infinite"
    figure.suptitle(title, fontsize="medium", wrap=True)  # a single layer makes a narrow figure
    figure.sca(panels[0])
    return Drawing(figure_of(panels[0]), panels, artists)


def table_of(value: Any) -> tuple[Array, str]:
    """The numbers as rows of units, and what the rows are: examples, or the time steps of the first example."""
    (array, *_) = arrays_in(value) or [np.zeros((1, 1))]
    array = array.astype(np.float64)
    if array.ndim == 3:
        return array[0][:ROWS], "time, example 0"
    if array.ndim < 2:
        return array.reshape(-1, 1)[:ROWS], "example"
    return array.reshape(len(array), -1)[:ROWS], "example"


def _in_time(times: list[TimeStep]) -> tuple[Array, Array]:
    """The outputs of all steps (B, T, H), and the gradients of the state that they hand back to the step before them."""
    in_order = sorted(times, key=lambda step: step.time)
    outs = [step.out for step in in_order]
    grads = [arrays_in(step.dObj_dBefore)[0] for step in in_order]  # of an LSTM those of h
    return np.stack(outs, axis=1), np.stack(grads, axis=1)


def _image(ax: Axes, rows: Array) -> Any:
    from matplotlib import colormaps

    finite = np.isfinite(rows)
    bound = float(np.abs(rows[finite]).max(initial=0)) or 1.0
    cmap = colormaps["RdBu_r"].with_extremes(bad="black")  # which no number has
    rows = np.where(finite, rows, np.nan)
    image = ax.imshow(rows, cmap=cmap, vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest")
    for axis in (ax.xaxis, ax.yaxis):
        whole_ticks(axis, 4)
    return image
