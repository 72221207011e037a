"""Curves: what happens over time, and what a learning rate does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.memory import Array
from pancake.plotting.drawing import COLORS, Drawing, need_matplotlib, new_axes, stacked

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    need_matplotlib()
    quantities = _quantities(history)
    if ax is None:
        ax = new_axes(figsize=(6.4, 1.2 + 2.4 * len(quantities)))
    panels = stacked(ax, len(quantities))
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
    _whole_numbers(ax)
    panels[-1].set_xlabel("epoch")
    return Drawing(ax.figure.canvas.figure, panels, artists)


def plot_gradients(norms: Sequence[Mapping[str, float]], *, ax: Axes | None = None) -> Drawing:
    """Draw the gradient norm of each layer over time, from the first layer (dark) to the last (light).

    Lines that fan out by decades are gradients that vanish or explode on the way back. Norms of 0, nan or inf, which a
    logarithmic scale does not have, are gaps.

    Parameters
    ----------
    norms : sequence of mapping
        What `gradient_norms(model)` returned each time, the same layers in all.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    Drawing
        The artists are the lines, by the names of the layers.

    Raises
    ------
    ValueError, TypeError
        If there are no norms, or not the same layers each time.
    ImportError
        If matplotlib is missing.
    """
    need_matplotlib()
    from matplotlib import colormaps

    if isinstance(norms, Mapping) or not all(isinstance(entry, Mapping) for entry in norms):
        raise TypeError("plot_gradients: expected a list of what gradient_norms(model) returned each time")
    if not len(norms):
        raise ValueError("plot_gradients: expected at least one entry, got an empty list; append gradient_norms(model) to it")
    layers = list(norms[0])
    for time, entry in enumerate(norms):
        if list(entry) != layers:
            raise ValueError(f"plot_gradients: expected the layers {layers} in every entry, got {list(entry)} in norms[{time}]")
    ax = new_axes() if ax is None else ax
    artists: dict[str, Any] = {}
    times = np.arange(1, len(norms) + 1)
    for layer, color in zip(layers, colormaps["viridis"](np.linspace(0, 0.9, len(layers))), strict=True):
        values = np.array([entry[layer] for entry in norms], dtype=np.float64)
        drawable = np.isfinite(values) & (values > 0)
        marker = "o" if len(norms) <= 20 else ""
        (artists[layer],) = ax.plot(times, np.where(drawable, values, np.nan), color=color, marker=marker, ms=4, label=layer)
    ax.set(xlabel="time", ylabel="norm of the gradient", yscale="log")
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small", ncols=1 + len(layers) // 12)
    _whole_numbers(ax)
    return Drawing(ax.figure.canvas.figure, [ax], artists)


def plot_learning_rates(found: Any, *, ax: Axes | None = None) -> Drawing:
    """Draw the loss by learning rate, and the suggestion, of `find_learning_rate`.

    Parameters
    ----------
    found : LearningRates
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    Drawing
        With the artists "loss", "smoothed" and "suggestion" (None if the loss falls nowhere).

    Raises
    ------
    TypeError
        If it is something else than the result of `find_learning_rate`.
    ImportError
        If matplotlib is missing.
    """
    need_matplotlib()
    if not all(hasattr(found, name) for name in ("lr", "loss", "smoothed", "suggestion")):
        raise TypeError(f"plot_learning_rates: expected what find_learning_rate returned, got {type(found).__name__}")
    ax = new_axes() if ax is None else ax
    artists: dict[str, Any] = {"suggestion": None}
    (artists["loss"],) = ax.plot(found.lr, found.loss, color="0.75", linewidth=1, label="loss of each step")
    (artists["smoothed"],) = ax.plot(found.lr, found.smoothed, color=COLORS[0], linewidth=2, label="smoothed")
    if np.isfinite(found.suggestion):
        artists["suggestion"] = ax.axvline(
            found.suggestion, color=COLORS[5], linestyle="--", label=f"steepest: {found.suggestion:.2g}"
        )
    # The explosion at the end would press all that matters into one line.
    low, first = float(found.smoothed.min()), float(found.smoothed[0])
    room = max(first - low, 0.1 * abs(first), 1e-12)
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - 0.3 * room, first + 0.6 * room))
    ax.grid(alpha=0.3)
    ax.legend(loc="lower left")
    return Drawing(ax.figure.canvas.figure, [ax], artists)


def _whole_numbers(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


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
