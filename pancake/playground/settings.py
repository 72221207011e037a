"""What can be chosen on the page, and within which bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

DATA = ("xor", "moons", "circles", "spirals", "blobs", "checkerboard")
FILE = "your file"  # how the table is called among the data sets
ACTIVATIONS = (
    "Tanh",
    "ReLU",
    "Sigmoid",
    "LeakyReLU",
    "ELU",
    "SELU",
    "GELU",
    "SiLU",
    "Mish",
    "Softplus",
    "Softsign",
    "HardTanh",
    "PReLU",
)
LOSSES = ("CrossEntropy", "BinaryCrossEntropy", "MeanSquaredError", "Hinge")
REGRESSION_LOSSES = ("MeanSquaredError", "MeanAbsoluteError", "Huber")
OPTIMIZERS: dict[str, tuple[str, dict[str, float]]] = {  # the class, and arguments beside the learning rate
    "SGD": ("SGD", {}),
    "SGD with momentum": ("SGD", {"momentum": 0.9}),
    "Adam": ("Adam", {}),
    "AdamW": ("AdamW", {}),
    "RMSprop": ("RMSprop", {}),
    "Adagrad": ("Adagrad", {}),
}
SPEEDS = ("step by step", "epoch by epoch", "full speed")

MOST_LAYERS = 6
WIDEST = 128


@dataclass(frozen=True)
class Settings:
    """All that is chosen on the page."""

    data: str = "moons"
    points: int = 300
    noise: float = 0.1
    test: int = 30  # per cent of the points
    layers: tuple[int, ...] = (8, 8)
    activation: str = "Tanh"
    dropout: float = 0.0
    loss: str = "CrossEntropy"
    optimizer: str = "Adam"
    lr: float = 0.01
    batch: int = 16
    seed: int = 0
    speed: str = "epoch by epoch"
    across: int = 0  # the features that span the picture
    up: int = 1


# What the fields of the page are called, and messages call them.
LABELS = {
    "data": "Data set",
    "points": "Points",
    "noise": "Noise",
    "test": "Test data, %",
    "seed": "Seed",
    "across": "Across",
    "up": "Up",
    "layers": "Layers",
    "activation": "Activation",
    "dropout": "Dropout",
    "loss": "Loss",
    "optimizer": "Optimizer",
    "lr": "Learning rate",
    "batch": "Batch size",
    "speed": "Speed",
}

# What begins the training anew, from fresh weights.
ANEW = frozenset({"data", "layers", "activation", "seed"})

# What makes the points anew; the weights stay.
POINTS = frozenset({"points", "noise", "test"})

# What concerns the page alone.
VIEW = frozenset({"speed", "across", "up"})

# from, to, and whether it is a whole number
BOUNDS = {
    "points": (10, 5000, True),
    "noise": (0, 2, False),
    "test": (0, 90, True),
    "dropout": (0, 0.9, False),
    "lr": (1e-6, 1000, False),
    "batch": (1, 1000, True),
    "seed": (0, 2**32 - 1, True),
    "across": (0, 10_000, True),
    "up": (0, 10_000, True),
}


def changed(settings: Settings, changes: Mapping[str, Any], *, data: Iterable[str], losses: Iterable[str]) -> Settings:
    """The settings with some of them changed; numbers may come as text.

    Raises
    ------
    ValueError
        If there is no such setting, or its value is out of bounds; the message begins with the label of its field.
    """
    choices = {
        "data": tuple(data),
        "activation": ACTIVATIONS,
        "loss": tuple(losses),
        "optimizer": tuple(OPTIMIZERS),
        "speed": SPEEDS,
    }
    known = [field.name for field in fields(Settings)]
    new: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"there is no setting {name!r:.40}; there are {', '.join(known)}")
        if name == "layers":
            new[name] = _layers(value)
        elif name in choices:
            if value not in choices[name]:
                raise ValueError(f"{LABELS[name]}: expected one of {', '.join(choices[name])}, got {value!r:.40}")
            new[name] = value
        else:
            new[name] = _number(name, value, *BOUNDS[name])
    return replace(settings, **new)


def _layers(value: Any) -> tuple[int, ...]:
    """The widths of the hidden layers, from text such as "8, 8"."""
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError('Layers: expected the widths of the hidden layers as text, such as "8, 8"')
    words = value.replace(",", " ").split()
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise ValueError(f'Layers: expected whole numbers such as "8, 8", or nothing for no hidden layer, got {value!r:.40}')
    widths = tuple(map(int, words))
    if len(widths) > MOST_LAYERS:
        raise ValueError(f"Layers: expected at most {MOST_LAYERS} hidden layers, got {len(widths)}")
    if widths and not 1 <= min(widths) <= max(widths) <= WIDEST:
        raise ValueError(f"Layers: expected from 1 to {WIDEST} units in each, got {', '.join(words)}")
    return widths


def _number(name: str, value: Any, low: float, high: float, whole: bool) -> float:
    kind = "a whole number" if whole else "a number"
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or (isinstance(value, str) and len(value) > 40):
            raise ValueError
        number = float(value)
        if not low <= number <= high or (whole and not number.is_integer()) or not math.isfinite(number):
            raise ValueError
    except (ValueError, OverflowError):
        message = f"{LABELS[name]}: expected {kind} from {low:g} to {_plain(high)}, got {value!r:.40}"
        raise ValueError(message + _about_the_comma(value, whole)) from None
    return int(number) if whole else number


def _about_the_comma(value: Any, whole: bool) -> str:
    """What to do about a comma in the place of a point, or between thousands."""
    text = value.strip() if isinstance(value, str) else ""
    if not whole and re.fullmatch(r"-?[0-9]*,[0-9]+", text):
        return f"; write a point in the place of the comma, as in {text.replace(',', '.'):.40}"
    if whole and re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", text):
        return f"; leave the comma out, as in {text.replace(',', ''):.40}"
    return ""


def _plain(number: float) -> str:
    return f"{number:.0f}" if number >= 1 else f"{number:g}"
