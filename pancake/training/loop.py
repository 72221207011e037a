"""The training loop of `fit`: epochs of steps, and what must be whole however they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np

from pancake.fast.steps import Steps
from pancake.function import Function
from pancake.optimizers.clipping import scale_down
from pancake.optimizers.ranks import Ranks
from pancake.origin import is_own
from pancake.training.apart import apart
from pancake.training.batches import Batch, Cut, Given, arrays_of, lies_apart
from pancake.training.early_stopping import EarlyStopping
from pancake.training.errors import NonFiniteError
from pancake.training.evaluate import Measure, Outputs, measured, predictions, value_for, value_of
from pancake.training.history import History
from pancake.training.interrupts import Interrupts
from pancake.training.modes import Modes
from pancake.training.not_finite import is_finite, quiet, reason
from pancake.training.progress import Progress
from pancake.training.start import Start, can_go_back
from pancake.training.stored import whole
from pancake.training.trained import Trained
from pancake.training.weights import Weights


class State(NamedTuple):
    """What a callback is called with, after each epoch.

    Attributes
    ----------
    model, loss, optimizer
        As they were given to `fit`.
    history : History
        With the figures of this epoch at the end of each list.
    epoch : int
        How many epochs this training has had, those of earlier calls included.
    """

    model: Function
    loss: Any
    optimizer: Any
    history: History
    epoch: int


class Options(NamedTuple):
    """What is optional in a training, as `fit` describes it."""

    measures: Mapping[str, Measure]
    schedule: Callable[[int], float] | None
    early_stopping: EarlyStopping | None
    callbacks: Sequence[Callable[[State], object]]
    clip_norm: float | None
    save: Callable[[], None] | None
    held_is_finite: bool


class Training:
    """One call of `fit`, all of whose arguments have been checked.

    `run` it once and then `close` it, always. What `close` does it may do twice: a Ctrl-C in the middle of it leaves the rest
    for the second time.
    """

    def __init__(
        self,
        model: Function,
        loss: Any,
        optimizer: Any,
        batches: Cut | Given,
        held: Batch | None,
        options: Options,
        bar: Progress,
    ) -> None:
        self.model, self.loss, self.optimizer, self.batches, self.held = model, loss, optimizer, batches, held
        self.options, self.bar = options, bar
        self.history: History = optimizer.history
        self.modes, self.weights, self.trained = Modes(model), Weights(model), Trained(model, optimizer)
        self.interrupts, self.steps = Interrupts(), Steps(model, loss, optimizer)
        self.before: Start | None = None  # of the epoch
        self.ranks: Ranks | None = getattr(optimizer, "ranks", None)
        in_memory = isinstance(batches, Cut) and not any(map(lies_apart, arrays_of(batches.data)))
        # whether no code but the library's runs between the steps of an epoch, so that what fits the first fits them all
        self.undisturbed = in_memory and is_own(optimizer) and options.schedule is None
        self.weight_of: dict[str, float | None] = {}  # how much this rank's figures count beside those of the others
        self.spoilt = False  # whether it is to be gone back to
        self.noting: int | None = None  # while the history is written: how many epochs are whole in it
        self.epoch = self.batches_of_epoch = 0

    @property
    def averaged(self) -> bool:
        """Whether the loss is a mean, which a callback may change."""
        return getattr(self.loss, "reduction", "mean") == "mean"

    def run(self, epochs: range) -> None:
        """Train for the epochs of these numbers, or until it is over."""
        try:
            self.interrupts.begin()
            self.modes.begin()
            with quiet():
                for self.epoch in epochs:
                    if self._run_epoch():
                        self.bar.say(f"fit: stopped after epoch {self.epoch}")
                        break
        except KeyboardInterrupt as interrupt:
            if self.ranks is not None:
                self.ranks.end_all(interrupt)
                raise
            self.history.interrupted = True
            self.bar.say(f"fit: interrupted in epoch {self.epoch}")
        except NonFiniteError as error:
            self.spoilt = True
            stopping = self.options.early_stopping
            if stopping is not None and stopping.best_epoch:
                now = "The model has the weights of the best epoch"
            else:
                now = f"{'Model and optimizer are' if can_go_back(self.optimizer) else 'The model is'} as before that epoch"
            raise NonFiniteError(f"fit: {error}. {now}. A smaller lr or clip_norm= may help") from None
        except BaseException as error:
            if self.ranks is not None:
                self.ranks.end_all(error)
            raise

    def close(self) -> None:
        """Make whole what was interrupted half way, and put everything back."""
        try:
            if (self.spoilt or self.interrupts.busy) and self.before is not None:
                self.before.go_back()
            self.spoilt = self.interrupts.busy = False
            if self.noting is not None:
                self.history.cut(self.noting)
            if self.options.early_stopping is not None:
                self.options.early_stopping.follow(self.epoch, stacklevel=4)
                self.options.early_stopping.give_back()
        finally:
            self.modes.put_back()
            self.interrupts.put_back()
            self.bar.close()

    def _run_epoch(self) -> bool:
        """Train for an epoch, measure, note and tell; return whether the training is over."""
        start = time.perf_counter()
        self.before = Start(self.weights, self.optimizer)
        figures = self._steps()
        spoilt = self.weights.not_finite()
        if spoilt is not None:
            raise NonFiniteError(f"the parameter {spoilt} has nan or inf in it after epoch {self.epoch}")
        if self.held is not None:
            figures.update(("val_" + name, value) for name, value in self._validated(self.held).items())
        if self.ranks is not None:
            weighted = {name: (value, self.weight_of[name]) for name, value in figures.items()}
            figures = self.ranks.end_epoch(weighted, counted=isinstance(self.batches, Cut))
        figures.update(lr=float(getattr(self.optimizer, "lr", nan)), seconds=time.perf_counter() - start)
        self.noting = self.history.epochs
        self.history.append(figures)
        self.noting = None
        self.bar.epoch(self.epoch, figures)
        over = [self._is_over(), self._call_back()]
        self._save()
        return any(over) if self.ranks is None else self.ranks.any(any(over))

    def _steps(self) -> dict[str, float]:
        """A step for each batch; return the loss and the metrics of the epoch."""
        model, loss, optimizer, interrupts, tick = self.model, self.loss, self.optimizer, self.interrupts, self.bar.batch
        measures, schedule, clip_norm = self.options.measures, self.options.schedule, self.options.clip_norm
        trained, averaged, ranks, steps, undisturbed = self.trained, self.averaged, self.ranks, self.steps, self.undisturbed
        outputs = Outputs()
        count: Any
        total = seen = rows = 0.0
        batch, counted = 0, False
        for batch, (x, y, weight, lengths) in enumerate(self.batches, start=1):
            if schedule is not None:
                optimizer.lr = schedule(optimizer.steps)
            # count: by how much this batch counts in the average over all, by what the loss has divided; if that is 0, nothing in
            # it counts, as with labels that are all ignored, and there is no step
            nothing = weight is not None and not weight.any()
            objective: Any = None
            if lengths is None and not nothing:
                objective = steps.objective(x, y, weight, undisturbed and batch > 1)
            program = None if objective is None else steps.latest
            pred = None
            if program is not None:
                objective, count = float(objective), loss.divisor
            elif nothing:
                count = 0
                seen += self._count_of_nothing(x, y, weight, lengths)
                if ranks is not None:  # to whose step this rank adds nothing
                    optimizer.zero_grad()
            else:
                optimizer.zero_grad()
                if trained.leaves_out:
                    trained.keep_others()
                objective, pred = self._forward(batch, x, y, weight, lengths)
                count = getattr(loss, "divisor", None) if averaged else 1.0
                if count is None:
                    count = len(y)
                if count:
                    model.accumulate_grads(loss.compute_backward())
                    if trained.leaves_out:
                        trained.put_back_others()
            if count if ranks is None else ranks.join(float(count), averaged):
                if clip_norm is not None:
                    scale_down(trained.gradients(), clip_norm)
                interrupts.busy = True
                (optimizer.step if program is None else program.update)()
                interrupts.busy = False
                if interrupts.pressed:
                    raise KeyboardInterrupt
            if count:
                counted = True
                seen += count
                total += objective * count
                if ranks is not None:
                    rows += len(y) if weight is None else float(weight.sum())
                if measures:
                    outputs.add(pred if program is None else program.output(), y, weight)
            if tick is not None:
                tick()
        self.batches_of_epoch = batch
        mean = total / seen if self.averaged and seen else total
        if not counted and ranks is None:  # of several ranks the others may have had what counts
            mean = nan
        self.weight_of = {"loss": seen if self.averaged else None, **dict.fromkeys(measures, rows)}
        return {
            "loss": mean,
            **(measured(measures, loss, *outputs.joined()) if measures and counted else dict.fromkeys(measures, nan)),
        }

    def _forward(self, batch: int, x: Any, y: Any, weight: Any, lengths: Any) -> tuple[float, Any]:
        """The objective of a batch, and what the model has put out if a metric is to be told of it."""
        model, loss = self.model, self.loss
        pred = model.compute_forward(x) if lengths is None else model(x, lengths=lengths)
        try:
            objective = loss(pred, y) if weight is None else loss(pred, y, weight)
        except ValueError:
            if is_finite((pred, y, weight)):
                raise
            objective = nan  # what a loss says to nan is not what the user needs to know
        if not self.options.measures:
            pred = None  # its memory serves what comes next
        if objective.__class__ is not float:
            objective = float(np.sum(objective) if isinstance(objective, np.ndarray) else objective)
        if not isfinite(objective):
            if self.ranks is not None:
                with suppress(NonFiniteError):  # which the others raise, who do not know why
                    self.ranks.join(nan)
            self.modes.renew()
            why = reason(model, x, y, weight, lengths)
            raise NonFiniteError(f"the loss is {objective} in epoch {self.epoch}, batch {batch}: {why}")
        return objective, pred

    def _count_of_nothing(self, x: Any, y: Any, weight: Any, lengths: Any) -> float:
        """By how much a batch of which every weight is 0 counts in the average: a mean over entries counts them all the same."""
        try:
            pred = predictions(self.model, (x, y, weight, lengths))
            with apart(self.loss, pred) as loss:
                value = value_of(loss, pred, y, weight)
        except (ArithmeticError, ValueError):  # there is no mean of nothing
            return 0.0
        count = getattr(loss, "divisor", None)
        return 0.0 if count is None or not self.averaged or not isfinite(value) else float(count)

    def _validated(self, held: Batch) -> dict[str, float]:
        """The loss and the metrics of the examples that are held out."""
        pred = predictions(self.model, held)
        with apart(self.loss, pred) as loss:
            figures = {"loss": value_for(loss, pred, held) if self.options.held_is_finite else nan}
        rows = float(len(held[1]) if held[2] is None else whole(held[2]).sum())
        divisor = getattr(loss, "divisor", None)
        count = (rows if divisor is None else divisor) if self.averaged else None
        self.weight_of |= {"val_loss": count, **{"val_" + name: rows for name in self.options.measures}}
        try:
            return {**figures, **measured(self.options.measures, loss, pred, held[1], held[2])}
        except ValueError:
            if self.options.held_is_finite and is_finite(pred):
                raise
            return {**figures, **dict.fromkeys(self.options.measures, nan)}

    def _is_over(self) -> bool:
        """Let early stopping see the figures of this epoch."""
        stopping = self.options.early_stopping
        if stopping is None:
            return False
        # what is measured in training belongs to weights on the move; of a single batch, to those from before its step
        before = None if self.batches_of_epoch > 1 or stopping.monitor.startswith("val_") else self.before
        return stopping.is_over(self.epoch, self.history, self.weights.copy if before is None else lambda: before.weights)

    def _call_back(self) -> bool:
        """Call the callbacks; return whether one of them ends the training."""
        if not self.options.callbacks:
            return False
        state = State(self.model, self.loss, self.optimizer, self.history, self.epoch)
        answers = [callback(state) for callback in self.options.callbacks]
        self.modes.begin()  # a callback that draws the model, say, may have called eval()
        # or put another part into a container, whose arrays are to be found
        self.weights, self.trained = Weights(self.model), Trained(self.model, self.optimizer)
        if self.options.early_stopping is not None:
            self.options.early_stopping.follow(self.epoch, stacklevel=6)
        # only True ends it, not just anything that a lambda happens to return
        return any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers)

    def _save(self) -> None:
        """Save the training as it is now, or with early stopping its best epoch."""
        if self.options.save is None:
            return
        stopping = self.options.early_stopping
        if stopping is None:
            self.options.save()
        elif stopping.best_epoch == self.epoch:
            now = self.weights.copy()
            stopping.give_back()
            self.options.save()
            self.model.load_state_dict(now)
