"""The points of a training: one of the toy sets or the user's table, parted into train and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pancake as pk
from pancake import datasets
from pancake.memory import Array
from pancake.playground.settings import FILE, LABELS, Settings
from pancake.playground.table import Table

TOY_SETS: dict[str, Callable[..., tuple[Array, NDArray[np.int64]]]] = {
    "xor": datasets.xor,
    "moons": datasets.moons,
    "circles": datasets.circles,
    "spirals": datasets.spirals,
    "blobs": datasets.blobs,
    "checkerboard": datasets.checkerboard,
}


@dataclass(frozen=True)
class Points:
    """What is learnt from, and what it is tested on.

    Attributes
    ----------
    X, X_test : ndarray (N, F)
    y, y_test : ndarray (N,)
        Classes, or the numbers of a regression.
    features : list of str
        The names of the F columns.
    label : str
        What is to be told.
    classes : list of str, or None
        None for a regression.
    mean, scale : float
        Of the numbers of a regression, to train with (y - mean) / scale; else 0 and 1.
    """

    X: Array
    y: NDArray[Any]
    X_test: Array
    y_test: NDArray[Any]
    features: list[str]
    label: str
    classes: list[str] | None
    mean: float = 0.0
    scale: float = 1.0

    @property
    def outputs(self) -> int:
        """How many numbers the net puts out: one for each class, or one."""
        return 1 if self.classes is None else len(self.classes)

    def targets(self, y: NDArray[Any], loss: str) -> NDArray[Any]:
        """What a loss compares the outputs with."""
        if self.classes is None:
            targets: NDArray[Any] = ((y - self.mean) / self.scale)[:, np.newaxis]
            return targets
        if loss == "CrossEntropy":
            return y
        one_hot = np.eye(len(self.classes))[y]
        return 2 * one_hot - 1 if loss == "Hinge" else one_hot


def points_of(settings: Settings, table: Table | None) -> Points:
    """The points for these settings: always the same for the same seed."""
    if settings.data == FILE:
        if table is None:
            raise ValueError(f"{LABELS['data']}: there is no {FILE}")
        rows = np.random.default_rng(settings.seed).permutation(len(table.X))
        X, y = table.X[rows], table.y[rows]
        features, label, classes = table.features, table.label, table.classes
    else:
        X, y = TOY_SETS[settings.data](settings.points, noise=settings.noise, rng=settings.seed)
        features, label, classes = ["x", "y"], "class", [str(c) for c in range(y.max() + 1)]
    count = len(X) - len(X) * settings.test // 100
    mean, scale = 0.0, 1.0
    if classes is None:
        of = pk.Standardize.of(y[:count, np.newaxis])
        mean, scale = float(of.mean[0]), float(of.scale[0])
    return Points(X[:count], y[:count], X[count:], y[count:], features, label, classes, mean, scale)
