"""What the page draws: the plane, what each unit says to it, the weights between them, losses and gradients."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pancake as pk
from pancake.function import Function
from pancake.memory import Array
from pancake.playground.settings import ACTIVATIONS, BOUNDS, FILE, OPTIMIZERS, SPEEDS
from pancake.playground.trainer import Trainer, loss_named
from pancake.plotting.colors import class_colors

PIXELS = 60  # of the plane, in each direction
EVERY = 3  # of these, in the pictures of units
LINE = 180  # pixels, where there is a single feature
MOST_UNITS = 16  # of a layer that are drawn
MOST_POINTS = 600  # that are drawn, of each kind
HIGHEST = 1e300  # that is drawn, in size: the largest finite number becomes infinite when it is rounded to four digits


# --- what stays until a setting is changed ---


def scene(trainer: Trainer) -> dict[str, Any]:
    """The points, their names and colours, the choices, and the settings as they are."""
    points, settings = trainer.points, trainer.settings
    single = points.X.shape[1] == 1
    axes = (0, 0) if single else (settings.across, settings.up)
    colors = None if points.classes is None else [_hex(color) for color in class_colors(len(points.classes))]
    return {
        "settings": {**vars(settings), "layers": ", ".join(map(str, settings.layers))},
        "choices": {
            "data": trainer.data,
            "activation": ACTIVATIONS,
            "loss": trainer.losses(settings.data),
            "optimizer": list(OPTIMIZERS),
            "speed": SPEEDS,
        },
        "bounds": {name: bounds for name, bounds in BOUNDS.items() if name not in ("across", "up")},
        "file": os.path.basename(trainer.table.path) if trainer.table else None,
        "is_file": settings.data == FILE,
        "own": trainer.name or None,
        "model": repr(trainer.model[1:] if isinstance(trainer.model, pk.Sequential) and settings.data == FILE else trainer.model),
        "parameters": trainer.model.num_parameters,
        "features": points.features,
        "label": points.label,
        "classes": points.classes,
        "colors": colors,
        "single": single,
        "axes": axes,
        "limits": limits(trainer),
        "means": [_short(mean) for mean in points.X.mean(axis=0)],
        "train": _drawn(points.X, points.y, axes),
        "test": _drawn(points.X_test, points.y_test, axes),
        "counts": [len(points.X), len(points.X_test)],
    }


def limits(trainer: Trainer) -> list[list[float]]:
    """From where to where the plane goes, across and up. Over a single feature of a regression the label goes up."""
    points, settings = trainer.points, trainer.settings
    X = np.concatenate([points.X, points.X_test])
    if X.shape[1] > 1:
        return [_with_margin(X[:, settings.across]), _with_margin(X[:, settings.up])]
    up = np.concatenate([points.y, points.y_test]) if points.classes is None else np.array([0.0, len(points.classes) - 1.0])
    return [_with_margin(X[:, 0]), _with_margin(up)]


def _with_margin(values: NDArray[Any]) -> list[float]:
    low, high = float(values.min()), float(values.max())
    space = 0.08 * (high - low) or 1.0
    return [low - space, high + space]


def _drawn(X: Array, y: NDArray[Any], axes: Sequence[int]) -> list[list[float]]:
    """Across, up and label of the points; of very many evenly chosen ones."""
    rows = np.unique(np.linspace(0, len(X) - 1, min(len(X), MOST_POINTS)).astype(int)) if len(X) else np.arange(0)
    return [[_short(X[i, axes[0]]), _short(X[i, axes[1]]), _short(y[i])] for i in rows]


# --- what changes with each step ---


def frame(trainer: Trainer, *, note: bool = True) -> dict[str, Any]:
    """What is seen of the training at this moment; it is noted in the history, if it is to be."""
    points, columns = trainer.points, _columns(trainer.model)
    grid = _grid(trainer)
    ends = np.cumsum([len(grid), len(points.X), len(points.X_test)])
    h = np.concatenate([grid, points.X, points.X_test])
    inputs = _inputs(trainer)
    seen = [{**_units(_centred(h[: ends[0], inputs]), grid, trainer), "count": len(points.features)}]
    dead = []
    with np.errstate(all="ignore"):
        for place, segment in enumerate(columns, start=1):
            h = pk.predict(pk.Sequential(segment), h)
            flat = h.reshape(len(h), -1)
            seen.append(_units(flat[: ends[0]], grid, trainer))
            if place < len(columns):
                train = flat[ends[0] : ends[1]]
                dead.append(np.flatnonzero(train.min(axis=0) == train.max(axis=0)).tolist())
        values = _measured(trainer, h[ends[0] : ends[1]], h[ends[1] :])
        plane = _plane(trainer, h[: ends[0]], grid)
    if note:
        trainer.note({name: value for name, value in values.items() if name in ("loss", "test_loss")})
    titles = ["input", *(f"layer {place}" for place in range(1, len(columns))), "output"]
    return {
        "steps": trainer.steps,
        "epochs": round(trainer.epochs, 2),
        "values": {name: _finite(value) for name, value in values.items()},
        "score": "accuracy" if points.classes else "R²",
        "curve": {name: [_finite(value) for value in column] for name, column in trainer.history.items()},
        "plane": plane,
        "titles": titles,
        "inputs": inputs,
        "units": seen,
        "dead": dead,
        "weights": _weights(columns, [unit["count"] for unit in seen], inputs),
        "gradients": _gradients(trainer.model, columns, titles[1:]),
    }


def _inputs(trainer: Trainer) -> list[int]:
    """The features whose squares are drawn: the first ones, and always those that span the plane."""
    count, settings = len(trainer.points.features), trainer.settings
    if count <= MOST_UNITS:
        return list(range(count))
    spanning = {settings.across, settings.up}
    others = [feature for feature in range(count) if feature not in spanning]
    return sorted([*spanning, *others[: MOST_UNITS - len(spanning)]])


def _columns(model: Function) -> list[list[Function]]:
    """The stack cut before each layer that mixes units, all but the first: what comes out of each piece is drawn."""
    parts = list(model) if isinstance(model, pk.Sequential) else [model]
    pieces: list[list[Function]] = [[]]
    begun = False
    for part in parts:
        mixes = any(parameter.ndim > 1 for parameter in part.get_params_and_grads()[0])
        if mixes and begun:
            pieces.append([])
        pieces[-1].append(part)
        begun = begun or mixes
    return pieces


def _grid(trainer: Trainer) -> Array:
    """The centres of the pixels (n, F), row by row from above; features that are not drawn are at their means."""
    points, settings = trainer.points, trainer.settings
    (left, right), (low, high) = limits(trainer)
    if points.X.shape[1] == 1:
        return _centres(left, right, LINE)[:, np.newaxis]
    grid = np.tile(points.X.mean(axis=0), (PIXELS * PIXELS, 1))
    grid[:, settings.across] = np.tile(_centres(left, right, PIXELS), PIXELS)
    grid[:, settings.up] = np.repeat(_centres(high, low, PIXELS), PIXELS)
    return grid


def _centres(start: float, end: float, count: int) -> Array:
    centres: Array = start + (np.arange(count) + 0.5) / count * (end - start)
    return centres


def _centred(grid: Array) -> Array:
    """The inputs themselves as pictures: from less to more, 0 in the middle."""
    low, high = grid.min(axis=0), grid.max(axis=0)
    centred: Array = (grid - (low + high) / 2) / np.where(high > low, (high - low) / 2, 1)
    return centred


def _units(values: Array, grid: Array, trainer: Trainer) -> dict[str, Any]:
    """A picture of each unit, from -127 to 127 of the largest that it says anywhere, which is given beside it."""
    drawn = values[:, :MOST_UNITS]
    if grid.shape[1] == 1:
        drawn = drawn[::EVERY]
    else:
        drawn = drawn.reshape(PIXELS, PIXELS, -1)[1::EVERY, 1::EVERY].reshape(-1, drawn.shape[1])
    drawn = np.nan_to_num(drawn).clip(-HIGHEST, HIGHEST)
    largest = np.abs(drawn).max(axis=0)
    pictures = np.round(127 * (drawn / np.where(largest > 0, largest, 1))).astype(np.int8)
    return {"count": values.shape[1], "pictures": [_base64(column) for column in pictures.T], "largest": [*map(_short, largest)]}


def _plane(trainer: Trainer, outputs: Array, grid: Array) -> dict[str, Any]:
    """For classes the class of each pixel and how sure the net is; else the number, between the least and largest label."""
    points = trainer.points
    if points.classes is None:
        told = np.nan_to_num(outputs[:, 0] * points.scale + points.mean).clip(-HIGHEST, HIGHEST)
        if grid.shape[1] == 1:
            return {"line": [_short(value) for value in told]}
        y = np.concatenate([points.y, points.y_test])
        share = (told - y.min()) / (y.max() - y.min())
        return {"share": _base64((255 * share.clip(0, 1)).astype(np.uint8)), "low": _short(y.min()), "high": _short(y.max())}
    outputs = np.nan_to_num(outputs)
    second, first = np.partition(_scores(outputs, trainer.settings.loss), -2, axis=1)[:, -2:].T
    sure = (255 * (first - second).clip(0, 1)).astype(np.uint8)
    return {"winner": _base64(outputs.argmax(axis=1).astype(np.uint8)), "sure": _base64(sure)}


def _scores(outputs: Array, loss: str) -> Array:
    """Outputs as numbers from 0 to 1: probabilities, where the loss takes them for logits."""
    if loss == "CrossEntropy":
        return pk.Softmax().compute_forward(outputs)
    if loss == "BinaryCrossEntropy":
        return pk.Sigmoid().compute_forward(outputs)
    scores: Array = ((outputs + 1) / 2 if loss == "Hinge" else outputs).clip(0, 1)
    return scores


def _measured(trainer: Trainer, train: Array, test: Array) -> dict[str, float]:
    """Loss and score of the training points, and of the test points, if there are any."""
    points, loss, values = trainer.points, loss_named(trainer.settings.loss), {}
    for prefix, outputs, y in (("", train, points.y), ("test_", test, points.y_test)):
        if not len(y):
            continue
        targets, finite = points.targets(y, trainer.settings.loss), bool(np.isfinite(outputs).all())
        values[prefix + "loss"] = float(loss(outputs, targets)) if finite else math.nan
        if points.classes is not None:
            values[prefix + "score"] = pk.accuracy(outputs, y) if finite else math.nan
        elif len(y) > 1:
            values[prefix + "score"] = pk.r2_score(outputs, targets) if finite else math.nan
    return values


def _weights(columns: list[list[Function]], counts: list[int], inputs: list[int]) -> list[list[list[float | None]] | None]:
    """Between neighbouring columns the weights (to, from) of the units that are drawn, if a single matrix joins them."""
    found: list[list[list[float | None]] | None] = []
    for piece, n_in, n_out in zip(columns, counts, counts[1:], strict=False):
        matrices = [part.weight for part in piece if isinstance(part, (pk.Linear, pk.MatMul))]
        if len(matrices) == 1 and matrices[0].shape == (n_out, n_in):
            drawn = matrices[0][:MOST_UNITS, :MOST_UNITS] if found else matrices[0][:MOST_UNITS, inputs]
            found.append([[_finite(value) for value in row] for row in drawn])
        else:
            found.append(None)
    return found


def _gradients(model: Function, columns: list[list[Function]], titles: list[str]) -> list[list[Any]]:
    """The norm of each layer's gradient, under the name of the column that the layer leads to."""
    of_part = {
        str(place): title
        for place, title in enumerate(title for piece, title in zip(columns, titles, strict=True) for _ in piece)
    }
    found: list[list[Any]] = []
    for name, norm in pk.gradient_norms(model).items():
        path, _, kind = name.rpartition(" ")
        place, _, inner = path.partition(".") if isinstance(model, pk.Sequential) else ("0", "", path)
        found.append([f"{of_part[place]}: {inner} {kind}".replace(":  ", ": "), _finite(norm)])
    return found


# --- numbers on their way ---


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _short(value: Any) -> float:
    """Four digits are enough to draw."""
    return float(f"{float(value):.4g}")


def _finite(value: float) -> float | None:
    """Four digits, and None for what JSON does not have."""
    return _short(value) if abs(value) <= HIGHEST else None


def _hex(color: Array) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in color.tolist())
