"""`to_page`: a net and its data as one page that anybody can open."""

from __future__ import annotations

import importlib.resources
import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake import fast
from pancake.arguments import as_array, path_of
from pancake.export.javascript import Script, Value, runtime
from pancake.files.replacing import replacing
from pancake.function import Function, need_function
from pancake.functions.containers import Sequential
from pancake.functions.softmax import Softmax
from pancake.memory import Array
from pancake.plotting.colors import class_colors

POINTS = 2000  # that are drawn at most
WORK = 3e7  # multiplications for one picture of the plane: a fraction of a second


def to_page(model: Function, X: Any, y: Any, path: str | os.PathLike[str]) -> None:
    """Write one HTML file on which one sees what a net has learnt: it opens without a server and without a network.

    The page has the net in it. It shows the plane of two features, coloured by what the net says, and the points. Hovering over a
    point shows its way through the net, layer by layer. With more features than two there are sliders for the others, and any two
    may be on the axes. Of more than 2,000 points so many are drawn, evenly chosen.

    Parameters
    ----------
    model : Function
        Takes (B, F). Left as it is.
    X : array_like or data frame (N, F)
        At least two features; the names of columns are used.
    y : array_like (N,)
        Labels: whole numbers, booleans or words; or floats, for a net that puts out one number. A net with C outputs has the
        classes 0 to C - 1, or as many words, sorted; one output stands for two classes.
    path : str or path-like

    Raises
    ------
    TypeError
        If there is a Function in the model that cannot be exported; the message names it.
    ValueError
        If data and model do not fit, or their numbers are not finite. Nothing has been written then.
    """
    need_function("to_page", model)
    path = path_of("to_page", path, "'page.html'")
    names = [str(name) for name in getattr(X, "columns", ())]
    table = as_array(to_page, X, "X")
    if table.dtype.kind not in "biuf":
        raise TypeError(
            f"to_page: expected X to be real numbers, got an array of dtype {table.dtype}; leave out columns of words"
        )
    table = table.astype(np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not len(table):
        raise ValueError(f"to_page: expected X of shape (N, F) with at least two features, got {table.shape}")
    labels = as_array(to_page, y, "y")
    if labels.shape == (len(table), 1):
        labels = labels[:, 0]
    if labels.shape != (len(table),):
        raise ValueError(f"to_page: expected one label for each of the {len(table)} rows of X, got y of shape {labels.shape}")
    if not np.isfinite(table).all() or (labels.dtype.kind == "f" and not np.isfinite(labels).all()):
        raise ValueError("to_page: expected finite numbers in X and y; leave out rows that have gaps")
    with fast.off(), np.errstate(all="ignore"):
        double = model._double().eval()
        outputs = np.asarray(double.compute_forward(table))
    if outputs.ndim != 2 or len(outputs) != len(table):
        raise ValueError(f"to_page: expected the model to put out a row for each row of X, got {outputs.shape} for {table.shape}")
    data, targets = _kind_of(labels, outputs)
    script = Script(to_page, double)
    layers = _layers(double, script)
    chosen = np.unique(np.linspace(0, len(table) - 1, min(len(table), POINTS)).astype(int))
    last = layers[-1][0] if layers else None
    data |= {
        "names": names or [f"feature {i}" for i in range(table.shape[1])],
        "X": table[chosen].tolist(),
        "y": targets[chosen].tolist(),
        "layers": [_shortened(repr(layer)) for layer, _ in layers] or ["output"],
        "probabilities": isinstance(last, Softmax),
        "grid": int(np.clip(np.sqrt(WORK / (model.num_parameters + 1)), 24, 140)),
        "about": _about(model, len(table), len(chosen)),
    }
    page = importlib.resources.files("pancake.export").joinpath("page.html").read_text(encoding="utf-8")
    text = page.replace("/* data */", _in_script(data)).replace("/* net */", _net(script, layers))
    with replacing(os.path.realpath(path), "to_page") as file:
        file.write(text.encode())


def _kind_of(labels: NDArray[Any], outputs: Array) -> tuple[dict[str, Any], Array]:
    """What the page is told of classes, and the targets as numbers."""
    width = outputs.shape[1]
    if labels.dtype.kind == "f":
        if width != 1:
            raise ValueError(
                f"to_page: expected whole numbers or words as y for a model with {width} outputs, got floats; "
                "labels are whole numbers, as of y.astype(int)"
            )
        return {"classes": None, "colours": [], "low": float(labels.min()), "high": float(labels.max())}, labels
    count = 2 if width == 1 else width
    if labels.dtype.kind in "biu":
        targets = labels.astype(int)
        names = [str(k) for k in range(count)]
    elif labels.dtype.kind in "USTO":
        words, targets = np.unique(labels.astype(str), return_inverse=True)
        names = words.tolist()
        if len(names) != count:
            raise ValueError(f"to_page: expected {count} different words in y, one for each class of the model, got {len(names)}")
    else:
        raise TypeError(f"to_page: expected labels or numbers as y, got an array of dtype {labels.dtype}")
    if targets.min() < 0 or targets.max() >= count:
        raise ValueError(f"to_page: expected labels from 0 to {count - 1}, got {targets.min()} to {targets.max()}")
    between = bool(((outputs >= 0) & (outputs <= 1)).all())  # probabilities of class 1, or else logits
    colours = [f"#{''.join(f'{round(255 * part):02x}' for part in color)}" for color in class_colors(count)]
    return {"classes": names, "colours": colours, "threshold": 0.5 if between else 0}, targets


def _layers(model: Function, script: Script) -> list[tuple[Function, Value]]:
    """The layers of a stack, also of nested ones, and the names of their outputs."""
    found: list[tuple[Function, Value]] = []

    def run(function: Function, x: Value) -> Value:
        if type(function) is Sequential:
            for part in function:
                x = run(part, x)
            return x
        y = script.convert(function, x)
        found.append((function, y))
        return y

    run(model, Value("x"))
    return found


def _net(script: Script, layers: list[tuple[Function, Value]]) -> str:
    """The function `layers(x)`, which returns what each layer puts out, with all that it needs."""
    lines = "\n".join(f"  {line}" for line in script.lines)
    outputs = ", ".join(value for _, value in layers) or "x"
    function = f"function layers(x) {{\n{lines}\n  return [{outputs}];\n}}"
    parameters = ",\n".join(f"  {json.dumps(name)}: {text}" for name, text in script.parameters.items())
    return f"{runtime(function)}\nconst parameters = {{\n{parameters}\n}};\n\n{function}".replace("</", "<\\/")


def _shortened(text: str) -> str:
    return text if len(text) <= 90 else text[:87] + "..."


def _in_script(data: dict[str, Any]) -> str:
    """JSON that may stand in a script: nothing in it ends the script."""
    return json.dumps(data).replace("<", "\\u003c")


def _about(model: Function, rows: int, drawn: int) -> str:
    some = "" if drawn == rows else f", of which {drawn:,} are drawn"
    return (
        f"{model.num_parameters:,} parameters, {rows:,} points{some}. "
        "The net itself is in this page, and computes all that you see."
    )
