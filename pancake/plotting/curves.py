"""Curves: what happens over time, and what a learning rate does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import brief, tells_how_to_call
from pancake.memory import Array
from pancake.plotting.colors import COLORS, legend, ramp
from pancake.plotting.drawing import (
    Drawing,
    current_axes,
    figure_for_panels,
    figure_of,
    is_linear,
    need_matplotlib,
    stacked,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VARIANTS = ("val_", "train_", "test_")
STYLES = ("-", "--", ":")


@tells_how_to_call
def plot_history(
    history: Mapping[str, Sequence[float]], metrics: str | Sequence[str] | None = None, *, ax: Axes | None = None
) -> Drawing:
    """Draw how losses, metrics and whatever else was noted went from epoch to epoch.

    Each quantity has a panel with a scale of its own, which it shares with its `val_`, `train_` and `test_` variants: so
    losses, accuracies and learning rates stay readable beside each other. A scale is logarithmic where its values are not
    negative and span two decades or more; shares, such as accuracies, stay linear. Epochs with nan or inf are gaps in the
    line, marked with a cross at the bottom. One panel stands on pyplot's current axes, several on its current
    figure if that is empty, else on a new one.

    Parameters
    ----------
    history : mapping of str to sequence of float
        For each name the values after epochs 1, 2, ...; names without values are left out.
    metrics : str or sequence of str, optional
        Which to draw: "loss" is the loss with its `val_`, `train_` and `test_` variants, "val_loss" that one alone. Without it
        all, save "seconds" and an "lr" that never changes.
    ax : matplotlib Axes, optional
        Where to draw: the panels share its place, one below the other.

    Returns
    -------
    Drawing
        Its axes are the panels; the artists are the lines, under the names of the history.

    Raises
    ------
    ValueError, TypeError
        If there are no values at all, a name is not there, or something is not a sequence of numbers.
    ImportError
        If matplotlib is missing.
    """
    need_matplotlib()
    quantities = _quantities(history, metrics)
    if ax is None and len(quantities) > 1:
        ax = figure_for_panels((6.4, min(1.2 + 2.4 * len(quantities), 60.0))).add_subplot()
    else:
        ax = current_axes(plot_history, ax)
    panels = stacked(ax, len(quantities))
    artists: dict[str, Any] = {}
    for panel, (quantity, curves) in zip(panels, quantities.items(), strict=True):
        for i, (name, values) in enumerate(curves.items()):
            epochs = np.arange(1, len(values) + 1)
            finite = np.isfinite(values)
            color = COLORS[i % len(COLORS)]
            marker = "o" if len(values) <= 20 else ""
            (artists[name],) = panel.plot(
                epochs, np.where(finite, values, np.nan), STYLES[i % 3], color=color, marker=marker, ms=4, label=name
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
        if is_linear(panel.yaxis) and _spans_decades(quantity, np.concatenate(list(curves.values()))):
            panel.set_yscale("log")
        panel.set_ylabel(quantity)
        panel.grid(alpha=0.3)
        if len(panels) > 1:
            panel.tick_params(labelbottom=panel is panels[-1])
        if len(panel.lines) > 1:
            panel.legend()
    whole_ticks(ax.xaxis)
    panels[-1].set_xlabel("epoch")
    ax.figure.sca(ax)
    return Drawing(figure_of(ax), panels, artists)


def plot_gradients(norms: Sequence[Mapping[str, float]], *, ax: Axes | None = None) -> Drawing:
    """Draw the gradient norm of each layer over time, from the first layer (dark) to the last (light).

    Lines that fan out by decades are gradients that vanish or explode on the way back. Norms of 0, nan or inf, which a
    logarithmic scale does not have, are gaps, marked with a cross at the bottom.

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
    if isinstance(norms, Mapping) or not all(isinstance(entry, Mapping) for entry in norms):
        got = brief(norms)
        raise TypeError(f"plot_gradients: expected a list of what gradient_norms(model) returned each time, got {got}")
    if not len(norms):
        raise ValueError("plot_gradients: expected at least one entry, got an empty list; append gradient_norms(model) to it")
    layers = list(norms[0])
    for time, entry in enumerate(norms):
        if list(entry) != layers:
            raise ValueError(f"plot_gradients: expected the layers {layers} in every entry, got {list(entry)} in norms[{time}]")
    ax = current_axes(plot_gradients, ax)
    artists: dict[str, Any] = {}
    crosses: list[Any] = []
    times = np.arange(1, len(norms) + 1)
    for i, (layer, color) in enumerate(zip(layers, ramp(ax, len(layers)), strict=True)):
        values = np.array([entry[layer] for entry in norms], dtype=np.float64)
        drawable = np.isfinite(values) & (values > 0)
        marker = "o" if len(norms) <= 20 else ""
        style = STYLES[i % 3] if len(layers) > 8 else "-"  # of many layers, neighbours have nearly the same colour
        (artists[layer],) = ax.plot(
            times, np.where(drawable, values, np.nan), style, color=color, marker=marker, ms=4, label=layer
        )
        if not drawable.all():
            height = np.full((~drawable).sum(), 0.015)
            options = {"color": color, "transform": ax.get_xaxis_transform(), "label": "0, nan or inf"}
            crosses += ax.plot(times[~drawable], height, "x", **options)
    ax.set(xlabel="call of gradient_norms", ylabel="norm of the gradient")
    if is_linear(ax.yaxis):
        ax.set_yscale("log")
    ax.grid(alpha=0.3)
    legend(ax, [*(artists[layer] for layer in layers), *crosses[:1]])
    whole_ticks(ax.xaxis)
    return Drawing(figure_of(ax), [ax], artists)


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
    ax = current_axes(plot_learning_rates, ax)
    artists: dict[str, Any] = {"suggestion": None}
    (artists["loss"],) = ax.plot(found.lr, found.loss, color="0.6", linewidth=1, label="loss of each step")
    (artists["smoothed"],) = ax.plot(found.lr, found.smoothed, color=COLORS[0], linewidth=2, label="smoothed")
    if np.isfinite(found.suggestion):
        artists["suggestion"] = ax.axvline(
            found.suggestion, color=COLORS[5], linestyle="--", label=f"steepest: {found.suggestion:.2g}"
        )
    # The explosion at the end would press all that matters into one line.
    low, first = float(found.smoothed.min()), float(found.smoothed[0])
    room = max(first - low, 0.1 * abs(first), 1e-12)
    bottom = low - 0.3 * room if is_linear(ax.yaxis) or low <= 0 else low / 1.5
    ax.set(xlabel="learning rate", ylabel="loss")
    if is_linear(ax.xaxis):
        ax.set_xscale("log")
    if is_linear(ax.yaxis) or bottom > 0:
        ax.set_ylim(bottom, first + 0.6 * room)
    ax.grid(alpha=0.3)
    ax.legend(loc="lower left")
    return Drawing(figure_of(ax), [ax], artists)


def _quantities(history: Mapping[str, Sequence[float]], metrics: str | Sequence[str] | None) -> dict[str, dict[str, Array]]:
    """The curves of a history, those of one quantity together."""
    if not isinstance(history, Mapping):
        hint = "; fit returns it, and keeps it as optimizer.history" if hasattr(history, "zero_grad") or callable(history) else ""
        raise TypeError(
            f"plot_history: expected a dict of lists, such as {{'loss': [1.0, 0.5]}}, got {type(history).__name__}{hint}"
        )
    quantities: dict[str, dict[str, Array]] = {}
    for name, values in _chosen(history, metrics).items():
        try:
            curve = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"plot_history: expected numbers under {name!r}, got {values!r}"[:200]) from None
        if curve.ndim != 1:
            raise ValueError(f"plot_history: expected one number an epoch under {name!r}, got an array of shape {curve.shape}")
        if curve.size:
            quantities.setdefault(_quantity(name), {})[str(name)] = curve
    if not quantities:
        raise ValueError("plot_history: expected at least one value, got an empty history; train for an epoch first")
    telling = {quantity: curves for quantity, curves in quantities.items() if not _tells_nothing(quantity, curves)}
    return telling if telling and metrics is None else quantities


def _tells_nothing(quantity: str, curves: Mapping[str, Array]) -> bool:
    """Whether nobody would look at it who has not asked for it: how long an epoch took, or a learning rate that stays."""
    return quantity == "seconds" or (quantity == "lr" and all(np.ptp(curve) == 0 for curve in curves.values()))


def _quantity(name: Any) -> str:
    """What a curve is one of: "val_loss" is a loss."""
    quantity = str(name)
    for prefix in VARIANTS:
        quantity = quantity.removeprefix(prefix)
    return quantity


def _chosen(history: Mapping[str, Sequence[float]], metrics: str | Sequence[str] | None) -> dict[str, Sequence[float]]:
    """The entries that `metrics` names, in its order."""
    if metrics is None:
        return dict(history)
    chosen: dict[str, Sequence[float]] = {}
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        names = [name for name in history if name == metric or _quantity(name) == metric]
        if not names:
            raise ValueError(f"plot_history: expected metrics out of {', '.join(map(repr, history))}, got {metric!r}")
        chosen.update((name, history[name]) for name in names)
    return chosen


def _spans_decades(quantity: str, values: Array) -> bool:
    """Whether a logarithmic scale shows more: from two decades on, unless the values are shares, such as accuracies."""
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if not positive.size or values.min() < 0 or positive.max() / positive.min() < 100:
        return False
    return positive.max() > 1 or "loss" in quantity or quantity == "lr"
