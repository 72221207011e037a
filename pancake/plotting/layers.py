"""What is inside a net: its weights, and what its units put out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import as_array
from pancake.function import Function, need_function
from pancake.functions.containers import Sequential, has_parameters
from pancake.memory import Array
from pancake.plotting.drawing import Drawing, figure_of, need_matplotlib, panels_of, whole_ticks
from pancake.training.predict import predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

ROWS = 256  # examples in a picture of activations: more would not fit into its pixels
SHOWN = 2048  # rows and columns of a parameter, for the same reason
CONSTANT = 1e-6  # as a share of the largest output of the layer: what varies less than this is dead
DEAD = "#D55E00"  # vermilion, which neither colour map has


def plot_weights(model: Function, *, axes: Sequence[Axes] | None = None, figure: Figure | SubFigure | None = None) -> Drawing:
    """Draw every parameter as a table of colours: red where it is positive, blue where it is negative, white at 0.

    Rows are the first axis, which are the outputs of a layer; a vector, such as a bias, is one column. Each parameter has a
    scale of its own, up to its largest absolute value, which the title tells. Of more than 2,048 rows or columns some are
    left out.

    Parameters
    ----------
    model : Function
    axes : sequence of matplotlib Axes, optional
        Where to draw, one for each parameter; pyplot is then not touched.
    figure : matplotlib Figure, optional
        Where to make these axes; without both, on pyplot's current figure if it is empty, else on a new one.

    Returns
    -------
    Drawing
        The artists are the images, by the names of `state_dict`.

    Raises
    ------
    TypeError, ValueError
        If the model is not a Function, has no parameters, or has another number of them than there are axes.
    ImportError
        If matplotlib is missing.
    """
    need_matplotlib()
    need_function("plot_weights", model)
    trained = {id(array) for array in model.get_params_and_grads()[0]}
    named = {name: array for name, array in model._named_arrays() if id(array) in trained}
    if not named:
        raise ValueError(f"plot_weights: {model!r} has no parameters")
    scales = {name: float(np.abs(array).max(initial=0)) for name, array in named.items()}
    for name, largest in scales.items():
        if not math.isfinite(largest):
            raise ValueError(f"plot_weights: {name} has nan or inf in it; the training has probably diverged")
    panels = panels_of(plot_weights, axes, figure, len(named), "one for each parameter", columns=_columns(len(named)))
    artists: dict[str, Any] = {}
    for ax, (name, array) in zip(panels, named.items(), strict=True):
        table = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
        rows, columns = table.shape
        table = table[:: -(-rows // SHOWN), :: -(-columns // SHOWN)]  # more have no pixel of their own
        table = table.astype(np.float64, copy=False) if table.dtype.itemsize not in (4, 8) else table
        largest = scales[name]
        scale = largest or 1.0
        artists[name] = ax.imshow(
            table,
            cmap="RdBu_r",
            vmin=-scale,
            vmax=scale,
            aspect="auto",
            interpolation="nearest",
            extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
        )
        shape = " x ".join(map(str, array.shape))
        ax.set_title(f"{name} ({shape})\nup to {largest:.2g}", fontsize="medium")
        _name_axes(ax, array.ndim)
        if columns == 1:
            ax.set_xticks([])
    return Drawing(figure_of(panels[0]), panels, artists)


def _columns(count: int) -> int:
    """How many panels stand in a row: four, and more where the figure would be taller than anybody scrolls."""
    return max(4, math.ceil(math.sqrt(count / 3)))


def _name_axes(ax: Axes, ndim: int) -> None:
    """Which axes of the array run down and to the right."""
    ax.set_ylabel("axis 0" if ndim else "")
    ax.set_xlabel("axis 1" if ndim == 2 else f"axes 1 to {ndim - 1}, one after the other" if ndim > 2 else "")
    for axis in (ax.xaxis, ax.yaxis):
        whole_ticks(axis, 6)


def plot_activations(
    model: Sequential, x: Any, *, axes: Sequence[Axes] | None = None, figure: Figure | SubFigure | None = None
) -> Drawing:
    """Draw what each unit of each layer puts out for each example, and mark the units that are dead.

    A layer is a Function with parameters, and those without that follow it: Linear and ReLU, say. Its panel has a column for
    each unit and a row for each example, of which at most 256 are drawn. A dead unit puts out the same for all examples (it
    varies by less than a millionth of the layer's largest output): nothing that comes after it learns from it, and the
    gradient of a ReLU that is always 0 never brings it back. Its column has a mark above it, and the title counts them.

    Parameters
    ----------
    model : Sequential
        Run in evaluation mode; mode, caches and gradients stay as they were. Stacks in the stack are taken apart.
    x : array_like (N, ...)
        At least 2 examples; all of them count when a unit is called dead.
    axes : sequence of matplotlib Axes, optional
        Where to draw, one for each layer; pyplot is then not touched.
    figure : matplotlib Figure, optional
        Where to make these axes; without both, on pyplot's current figure if it is empty, else on a new one.

    Returns
    -------
    Drawing
        The artists: "images", a list with one for each layer, and "dead", a list of arrays with the numbers of the dead units.

    Raises
    ------
    TypeError, ValueError
        If the model is not a Sequential, there are too few examples, outputs are not finite, or there is another number of
        layers than of axes.
    ImportError
        If matplotlib is missing.

    References
    ----------
    Lu, Shin, Su, Karniadakis, "Dying ReLU and Initialization: Theory and Numerical Examples" (2020).
    """
    need_matplotlib()
    layers = layers_of(plot_activations, model)
    x = as_array(plot_activations, x, "x")
    if x.ndim == 0 or len(x) < 2:
        raise ValueError(f"plot_activations: expected x with a row for each of at least 2 examples, got shape {x.shape}")
    outputs = outputs_of(plot_activations, layers, x)
    panels = panels_of(plot_activations, axes, figure, len(layers), "one for each layer", columns=_columns(len(layers)))
    artists: dict[str, Any] = {"images": [], "dead": []}
    for ax, (name, _), output in zip(panels, layers, outputs, strict=True):
        dead = np.flatnonzero(np.ptp(output, axis=0) <= CONSTANT * np.abs(output).max())
        shown = output[np.linspace(0, len(output) - 1, min(ROWS, len(output))).astype(int)]
        low, high = float(output.min()), float(output.max())
        # Two colours that meet in white at 0 where there are both signs; one range of colours where there is one.
        bound = max(-low, high) or 1.0
        cmap, vmin = ("RdBu_r", -bound) if low < 0 else ("viridis", 0.0)
        image = ax.imshow(shown, cmap=cmap, vmin=vmin, vmax=bound, aspect="auto", interpolation="nearest")
        ax.figure.colorbar(image, ax=ax)
        if len(dead):
            above: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False, "scalex": False, "scaley": False}
            ax.plot(dead, np.full(len(dead), 1.02), "v", color=DEAD, ms=5, **above)
        title = ax.set_title(f"{name}\n{len(dead)} of {output.shape[1]} dead\n", fontsize="medium")
        if len(dead):
            title.set_color(DEAD)
        ax.set(xlabel="unit", ylabel="example")
        for axis in (ax.xaxis, ax.yaxis):
            whole_ticks(axis, 6)
        artists["images"].append(image)
        artists["dead"].append(dead)
    return Drawing(figure_of(panels[0]), panels, artists)


def layers_of(owner: Any, model: Any) -> list[tuple[str, list[Function]]]:
    """The layers of a stack, each with its Functions, and the place and class of the last of them as its name."""
    if not isinstance(model, Sequential):
        raise TypeError(f"{owner.__name__}: expected a Sequential, got {model!r}; write Sequential([...])")
    layers: list[tuple[str, list[Function]]] = []
    begun = False  # whether there has been a Function with parameters
    for path, function in _stack(model):
        trained = has_parameters(function)
        within = [] if not layers or (begun and trained) else layers.pop()[1]
        begun = begun or trained
        layers.append((f"{path} {type(function).__name__}", [*within, function]))
    if not layers:
        raise ValueError(f"{owner.__name__}: expected at least one Function in the stack, got none")
    return layers


def outputs_of(owner: Any, layers: list[tuple[str, list[Function]]], x: Any) -> list[Array]:
    """What each layer puts out, (N, units), in evaluation mode."""
    found: list[Array] = []
    for _, functions in layers:
        for function in functions:
            x = predict(function, x)
            if not np.isfinite(x).all():
                raise ValueError(f"{owner.__name__}: the output of {function!r} has nan or inf in it")
        found.append(x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x[:, np.newaxis])
    return found


def _stack(model: Sequential, path: str = "") -> list[tuple[str, Function]]:
    """The Functions of the stack and of the stacks in it, with their places: "0", "1.2"."""
    found: list[tuple[str, Function]] = []
    for i, function in enumerate(model):
        if isinstance(function, Sequential):
            found += _stack(function, f"{path}{i}.")
        else:
            found.append((f"{path}{i}", function))
    return found
