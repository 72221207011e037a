"""What a notebook shows of models, histories and reports: tables and curves as HTML, which needs no matplotlib.

The colours are those of the page, light or dark; curves have two of their own that are seen on both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pancake.tree import Tree, named_parts

STYLE = "border-collapse:collapse;font-size:small"
CELL = "text-align:left;vertical-align:top;padding:2px 8px;border-top:1px solid rgba(128,128,128,.4)"
COLORS = ("#1f86c7", "#e08a1e", "#2aa87a")  # of a quantity, and of its val_ and further variants
VARIANTS = ("val_", "train_", "test_")
WIDTH, HEIGHT = 260, 110  # of a curve, in pixels
ROWS = 60  # parts of a model that are listed
POINTS = 300  # of a curve: more are no more than pixels


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table of texts, which are escaped."""
    cells = "".join(f'<th style="{CELL}">{escape(str(text))}</th>' for text in head)
    lines = "".join("<tr>" + "".join(f'<td style="{CELL}">{escape(str(text))}</td>' for text in row) + "</tr>" for row in rows)
    title = f'<caption style="text-align:left">{escape(caption)}</caption>' if caption else ""
    return f'<table style="{STYLE}">{title}<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>'


def model_table(model: Any) -> str:
    """A model part by part: its place, how it is made, its parameters, and how many numbers they are."""
    parts = [(path, part) for path, part in named_parts(model) if part is not model or not model._parts()]
    rows = [_row(path, part) for path, part in parts[:ROWS]]
    if len(parts) > ROWS:
        rows.append(("...", f"{len(parts) - ROWS} more parts", "", ""))
    count = f"{model.num_parameters:,} parameters"
    mode = "in training mode" if model.training else "in evaluation mode"
    frozen = ", frozen" if model.frozen else ""
    rows.append(("", "all", "", f"{model.num_parameters:,}"))
    return table(("part", "Function", "parameters", "numbers"), rows, f"{type(model).__name__}, {count}, {mode}{frozen}")


def _row(path: str, part: Any) -> tuple[str, str, str, str]:
    own = part._own_parameters()
    shapes = ", ".join(f"{name} {'x'.join(map(str, value.shape)) or 'one number'}" for name, value, _ in own)
    made = type(part).__name__ if any(isinstance(member, Tree) for _, member in part._members()) else repr(part)
    numbers = sum(value.size for _, value, _ in own)
    return path, made + (" (frozen)" if part.frozen else ""), shapes, f"{numbers:,}" if own else ""


def history_table(history: Mapping[str, Sequence[float]], epochs: int) -> str:
    """A row for each quantity with its first, last, lowest and highest value, and a curve for each with its variants."""
    if not epochs:
        return table(("quantity",), [], "History of 0 epochs")
    rows = []
    quantities: dict[str, dict[str, Sequence[float]]] = {}
    for name, values in history.items():
        finite = [(value, epoch) for epoch, value in enumerate(values, start=1) if math.isfinite(value)]
        ends = (_short(values[0]), _short(values[-1])) if values else ("", "")
        extremes = [f"{_short(value)} (epoch {epoch})" for value, epoch in (min(finite), max(finite))] if finite else ["", ""]
        rows.append((name, *ends, *extremes))
        quantity = name
        for prefix in VARIANTS:
            quantity = quantity.removeprefix(prefix)
        quantities.setdefault(quantity, {})[name] = values
    curves = "".join(_curve(quantity, variants, epochs) for quantity, variants in quantities.items())
    caption = f"History of {epochs} epoch{'s' * (epochs != 1)}"
    return table(("quantity", "first", "last", "lowest", "highest"), rows, caption) + f"<div>{curves}</div>"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _curve(quantity: str, variants: Mapping[str, Sequence[float]], epochs: int) -> str:
    """A picture of a quantity over the epochs, in SVG; logarithmic where it spans two decades and is a loss or above 1."""
    finite = [value for values in variants.values() for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    log = low > 0 and high / low >= 100 and (high > 1 or "loss" in quantity or quantity == "lr")
    scale = math.log if log else float
    bottom, top = scale(low), scale(high)
    span = (top - bottom) or 1.0

    def place(epoch: int, value: float) -> str:
        x = 4 + (WIDTH - 8) * (epoch - 1) / max(epochs - 1, 1)
        return f"{x:.1f},{20 + (HEIGHT - 26) * (1 - (scale(value) - bottom) / span):.1f}"

    labels, drawn = "", ""
    for i, (name, values) in enumerate(variants.items()):
        color = COLORS[i % len(COLORS)]
        dashes = ' stroke-dasharray="5 3"' if i else ""
        step = -(-len(values) // POINTS)
        pieces: list[list[str]] = [[]]
        for epoch, value in enumerate(values, start=1):
            if not math.isfinite(value):
                pieces.append([])
            elif (epoch - 1) % step == 0 or epoch == len(values):
                pieces[-1].append(place(epoch, value))
        for piece in filter(None, pieces):
            if len(piece) == 1:
                x, y = piece[0].split(",")
                drawn += f'<circle cx="{x}" cy="{y}" r="2.5" fill="{color}"/>'
            else:
                drawn += f'<polyline points="{" ".join(piece)}" fill="none" stroke="{color}" stroke-width="1.6"{dashes}/>'
        labels += f'<tspan fill="{color}">{escape(name)}</tspan> '
    title = f'<text x="4" y="13" font-size="11">{labels}<tspan fill="currentColor">{"(log)" if log else ""}</tspan></text>'
    frame = f'<rect x="1" y="17" width="{WIDTH - 2}" height="{HEIGHT - 19}" fill="none" stroke="rgba(128,128,128,.4)"/>'
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg {size} role="img" aria-label="{escape(quantity)} over {epochs} epochs">{title}{frame}{drawn}</svg> '
