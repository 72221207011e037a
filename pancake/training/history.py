"""What was noted while a model learnt."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pancake.arguments import path_of


class History(dict[str, list[float]]):
    """For each quantity, such as "loss", the list of its values after epochs 1, 2, ...

    `fit` keeps it in `optimizer.history`, where the next `fit` with that optimizer goes on with it.

    Attributes
    ----------
    rng : numpy.random.Generator or None
        What shuffles the examples in this training, once something has been shuffled.
    interrupted : bool
        Whether Ctrl-C ended the latest `fit`.
    """

    rng: np.random.Generator | None = None
    interrupted: bool = False

    @property
    def epochs(self) -> int:
        """How many epochs have been noted."""
        return max(map(len, self.values()), default=0)

    def append(self, values: Mapping[str, float]) -> None:
        """Note the values of one more epoch; a quantity that is missing in some epoch has nan there."""
        before = self.epochs
        for name in [*self, *(name for name in values if name not in self)]:
            column = self.setdefault(name, [])
            column += [math.nan] * (before - len(column))
            column.append(float(values.get(name, math.nan)))

    def cut(self, epochs: int) -> None:
        """Keep that many epochs, in every column."""
        for column in self.values():
            column += [math.nan] * (epochs - len(column))
            del column[epochs:]

    def plot(self, metrics: Any = None, **options: Any) -> Any:
        """Draw the curves, those of `metrics` or the usual: `plot_history(self, metrics, **options)`, which needs matplotlib."""
        from pancake.plotting import plot_history

        return plot_history(self, metrics, **options)

    def _repr_html_(self) -> str:
        """What a notebook shows: a table and curves, also of a `fit` at the end of a cell."""
        from pancake.shown import history_table

        return history_table(self, self.epochs)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with a column "epoch" and one for each quantity, all digits included."""
        import csv  # which hardly any program needs

        with open(path_of("History.to_csv", path, "'history.csv'"), "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self])
            rows = itertools.zip_longest(*self.values(), fillvalue=math.nan)
            writer.writerows([epoch, *row] for epoch, row in enumerate(rows, start=1))
