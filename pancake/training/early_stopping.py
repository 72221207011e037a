"""When to stop, and which weights to keep."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from pancake.arguments import number, refuse_foreign_arguments, size
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

    "val_" quantities are measured at the end of an epoch, with the weights that are kept. What is measured in training, as
    "loss", is an average over the epoch, in which the weights change from batch to batch: kept are those from its end. If the
    epoch is a single batch, its loss is that of the weights from before the step, and those are kept. The optimizer stays
    where it is, some steps ahead of the best weights; make a new one to go on from them.

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

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        refuse_foreign_arguments(cls, args, kwargs)
        return super().__new__(cls)

    def __init__(self, monitor: str = "val_loss", patience: int = 10, min_delta: float = 0.0, *, mode: str | None = None) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"EarlyStopping: expected monitor to be the name of a quantity, such as 'val_loss', got {monitor!r}")
        self.monitor = monitor
        self.patience = size(self, patience=patience)
        self.min_delta = number(self, "min_delta", min_delta)
        if mode is None:
            mode = "min" if monitor.endswith(LESS_IS_BETTER) else "max" if monitor.endswith(MORE_IS_BETTER) else None
        if mode not in ("min", "max"):
            raise ValueError(
                f"EarlyStopping: expected mode to be 'min' or 'max', got {mode!r}; it says whether {monitor!r} is the better the "
                "smaller or the larger it is"
            )
        self.mode = mode
        self.best, self.best_epoch = math.nan, 0

    def begin(self, model: Function, quantities: Iterable[str]) -> None:
        """Forget earlier trainings; `quantities` are the names that the history will have."""
        if self.monitor not in quantities:
            raise ValueError(
                f"EarlyStopping: nothing is called {self.monitor!r} in this training, only {', '.join(quantities)}"
                + ("; pass validation=" if self.monitor.startswith("val_") else "")
            )
        self._model = model
        self._forget()

    def _forget(self) -> None:
        self.best, self.best_epoch = math.nan, 0
        self._least = self._reference = math.inf
        self._waited = 0
        self._weights: dict[str, Array] = {}

    def follow(self, epoch: int, stacklevel: int) -> None:
        """Begin anew, with a warning, if parts of the model have been exchanged for others since its best epoch."""
        if not self.best_epoch:
            return
        shapes = {name: array.shape for name, array in self._model._named_arrays()}
        if shapes != {name: array.shape for name, array in self._weights.items()}:
            warnings.warn(
                f"fit: the model has other parts after epoch {epoch} than when its weights were the best so far, in epoch "
                f"{self.best_epoch}, which do not fit it any more; EarlyStopping has forgotten that one and goes on with "
                "the parts that there are now",
                UserWarning,
                stacklevel=stacklevel + 1,
            )
            self._forget()

    def is_over(self, epoch: int, history: Mapping[str, Sequence[float]], weights: Callable[[], dict[str, Array]]) -> bool:
        """Whether the training should end after this epoch. Keeps the weights if they are the best so far."""
        value = history[self.monitor][-1]
        cost = value if self.mode == "min" else -value
        if cost < self._least or (not self.best_epoch and not math.isnan(cost)):
            self._weights = weights()  # first, so that Ctrl-C never finds a best epoch without its weights
            self.best, self.best_epoch, self._least = value, epoch, cost
        if cost < self._reference - self.min_delta:
            self._reference, self._waited = cost, 0
        else:
            self._waited += 1
        return self._waited >= self.patience

    def give_back(self) -> None:
        """Put the best weights back into the model, if there are any."""
        if self.best_epoch:
            self._model.load_state_dict(self._weights)

    def __repr__(self) -> str:
        return f"EarlyStopping({self.monitor!r}, {self.patience}, {self.min_delta}, mode={self.mode!r})"
