"""When to stop, and which weights to keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pancake import memory
from pancake.arguments import number, size
from pancake.function import Function
from pancake.memory import Array

LESS_IS_BETTER = ("loss", "error", "mse", "mae", "rmse")
MORE_IS_BETTER = ("accuracy", "acc", "score", "r2", "auc", "f1")


class EarlyStopping:
    """Ends a training that no longer gets better, and always gives back the weights with which it was best.

    `fit` looks at the monitored value after each epoch. When it has not been better than before by more than `min_delta` for
    `patience` epochs in a row, the training ends. However it ends, the model then has the parameters and buffers
    of the epoch with the very best value: also when all epochs are over, after Ctrl-C, a loss that is not finite, or an error
    in a callback. Each `fit` begins to compare anew.

    Parameters
    ----------
    monitor : str
        The name of a quantity in the history: "loss", "val_loss", or a metric, as "val_accuracy".
    patience : int
        How many epochs without progress are one too many, at least 1.
    min_delta : float
        What counts as progress, at least 0.
    mode : {"min", "max"}, optional
        Whether less or more is better. Names that end in loss, error, mse, mae or rmse are known to mean less; in
        accuracy, acc, score, r2, auc or f1 more. Other names need it.

    Attributes
    ----------
    best : float
        The best value of the latest `fit`; nan before.
    best_epoch : int
        The number of that epoch, from 1; 0 before.

    References
    ----------
    Prechelt, "Early Stopping - But When?" (1998), section 2, criterion UP.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 10, min_delta: float = 0.0, *, mode: str | None = None) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"EarlyStopping: expected monitor to be the name of a quantity, such as 'val_loss', got {monitor!r}")
        self.monitor = monitor
        self.patience = size(self, patience=patience)
        self.min_delta = number(self, "min_delta", min_delta)
        if mode is None:
            mode = "min" if monitor.endswith(LESS_IS_BETTER) else "max" if monitor.endswith(MORE_IS_BETTER) else None
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: pass mode='min' or mode='max': is less or more {monitor} better? Got {mode!r}")
        self.mode = mode
        self.best, self.best_epoch = math.nan, 0

    def begin(self, model: Function, quantities: Iterable[str]) -> None:
        """Forget earlier trainings; `quantities` are the names that the history will have."""
        if self.monitor not in quantities:
            raise ValueError(
                f"EarlyStopping: nothing is called {self.monitor!r} in this training, only {', '.join(quantities)}"
                + ("; pass validation=" if self.monitor.startswith("val_") else "")
            )
        self.best, self.best_epoch = math.nan, 0
        self._least = self._reference = math.inf
        self._waited = 0
        self._weights = Weights(model)

    def is_over(self, epoch: int, history: Mapping[str, Sequence[float]]) -> bool:
        """Whether the training should end after this epoch. Keeps the weights if they are the best so far."""
        value = history[self.monitor][-1]
        cost = value if self.mode == "min" else -value
        if cost < self._least or (not self.best_epoch and not math.isnan(cost)):
            self._weights.keep()  # first, so that Ctrl-C never finds a best epoch without its weights
            self.best, self.best_epoch, self._least = value, epoch, cost
        if cost < self._reference - self.min_delta:
            self._reference, self._waited = cost, 0
        else:
            self._waited += 1
        return self._waited >= self.patience

    def give_back(self) -> None:
        """Put the best weights back into the model, if there are any."""
        if self.best_epoch:
            self._weights.give_back()

    def __repr__(self) -> str:
        return f"EarlyStopping({self.monitor!r}, {self.patience}, {self.min_delta}, mode={self.mode!r})"


class Weights:
    """The parameters and buffers of a model, and a copy of them as they once were."""

    def __init__(self, model: Function) -> None:
        self.model = model
        self._generation, self._settled = -1, False
        self._arrays: dict[str, Array] = {}
        self._parameters: list[str] = []

    def keep(self) -> None:
        """Copy the arrays as they are now."""
        self._find()
        self._kept = {name: array.copy() for name, array in self._arrays.items()}  # all at once: Ctrl-C may come at any time

    def give_back(self) -> None:
        """Copy the arrays back into the model."""
        self.model.load_state_dict(self._kept)

    def not_finite(self) -> str | None:
        """The name of the first parameter with nan or an infinite number in it, if there is one."""
        self._find()
        if math.isfinite(sum(np.add.reduce(self._arrays[name], axis=None) for name in self._parameters)):
            return None  # which takes half as long as to look at each number
        return next((name for name in self._parameters if not np.isfinite(self._arrays[name]).all()), None)

    def _find(self) -> None:
        """Look for the arrays where they may have been exchanged; that takes as long as a step of a small net."""
        if self._generation == memory.generation and self._settled:
            return
        self._generation = memory.generation
        self._arrays = dict(self.model._named_arrays())
        parameters = {id(array) for array in self.model.get_params_and_grads()[0]}
        self._parameters = [name for name, array in self._arrays.items() if id(array) in parameters]
        # Arrays of pancake's own Functions stay where they are; a user's Function may exchange its own at any time.
        package = __name__.partition(".")[0]
        self._settled = all(type(function).__module__.partition(".")[0] == package for function in self.model.walk())
