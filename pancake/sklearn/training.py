"""The training of an estimator by batches: scikit-learn's epochs, its stopping rule, and what it notes and says."""

from __future__ import annotations

import copy
import itertools
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from pancake.function import Function
from pancake.memory import Array
from pancake.sklearn.building import outputs
from pancake.sklearn.objectives import Objective, Penalised
from pancake.sklearn.solvers import Rate
from pancake.training.errors import NonFiniteError
from pancake.training.interrupts import Interrupts
from pancake.training.loop import State
from pancake.training.modes import Modes

BLOCK = 1 << 17  # numbers that are gathered in one go; batches are views of them

SPOILT = "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."


class Examples(NamedTuple):
    """Features, dense or sparse; targets as the loss takes them; weights or None."""

    x: Any
    y: Array
    weight: Array | None

    def rows(self, which: Any) -> Examples:
        """Some of them."""
        return Examples(_rows(self.x, which), _rows(self.y, which), None if self.weight is None else _rows(self.weight, which))

    def dense(self) -> Examples:
        """The same, with features that are an array."""
        return self._replace(x=self.x.toarray()) if hasattr(self.x, "toarray") else self


def _rows(part: Any, which: Any) -> Any:
    # `take` is twice as fast as an index
    return part.take(which, axis=0) if isinstance(part, np.ndarray) and isinstance(which, np.ndarray) else part[which]


class Batches:
    """Examples in batches, shuffled for each epoch as scikit-learn does if there is a generator; sparse ones are made dense.

    With `joined`, a last batch of a single example becomes part of the one before.
    """

    def __init__(self, data: Examples, size: int, random_state: Any, joined: bool = False) -> None:
        self.data, self.size, self.random_state, self.joined = data, size, random_state, joined
        self.total, width = data.x.shape
        self.block = max(1, BLOCK // (size * width)) * size
        self.order = np.arange(self.total)

    def __iter__(self) -> Iterator[Examples]:
        shuffled = self.random_state is not None
        if shuffled:
            places = np.arange(self.total)
            self.random_state.shuffle(places)
            self.order = self.order[places]
        if self.size >= self.total:  # whose order makes no difference
            yield self.data.dense()
            return
        for start, stop in self._bounds(self.total, self.block):
            piece = slice(start, stop)
            rows = self.data.rows(self.order[piece] if shuffled else piece).dense()
            for first, last in self._bounds(len(rows.y), self.size):
                yield rows.rows(slice(first, last))

    def _bounds(self, total: int, size: int) -> Iterator[tuple[int, int]]:
        """Where pieces of `size` begin and end."""
        bounds = [*range(0, total, size), total]
        if self.joined and len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
            del bounds[-2]
        return itertools.pairwise(bounds)


class Step:
    """One step on a batch, and what it is a step down from: the loss and the penalty before it."""

    def __init__(self, model: Function, objective: Objective, optimizer: Penalised) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer

    def __call__(self, x: Array, y: Array, weight: Array | None) -> float:
        self.optimizer.zero_grad()
        value = self.objective(self.model(x), y, weight)
        self.model.accumulate_grads(self.objective.compute_backward())
        self.optimizer.step()
        return value + self.optimizer.value


class Training:
    """One call of `fit` or `partial_fit` with a solver that goes by batches.

    What scikit-learn's estimators tell of a training (`loss_curve_`, `n_iter_`, `t_` and the others) is written to the
    estimator as it goes on, so that it is right wherever the training ends.
    """

    def __init__(self, estimator: Any, step: Step, batches: Batches, held: Examples | None) -> None:
        self.estimator, self.step, self.batches, self.held = estimator, step, batches, held
        self.optimizer = step.optimizer.optimizer
        self.measuring = None if held is None else copy.deepcopy(step.objective)
        self.rate = Rate(
            "constant" if estimator.solver == "adam" else estimator.learning_rate,
            estimator.learning_rate_init,
            estimator.power_t,
        )
        self.interrupts = Interrupts()
        self.modes = Modes(step.model)

    def run(self, epochs: int, *, once: bool) -> None:
        """Train for at most so many epochs, or for one without a word of convergence."""
        estimator = self.estimator
        try:
            estimator.n_iter_ = 0
            self.modes.begin()
            self.interrupts.begin()
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a loss that is not finite is found out below
                for _ in range(epochs):
                    if self._epoch() or once:
                        break
                    if estimator.n_iter_ == epochs:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the optimization hasn't converged "
                            "yet.",
                            ConvergenceWarning,
                            stacklevel=2,
                        )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        finally:
            self.interrupts.put_back()
            self.modes.put_back()
            if estimator.early_stopping and estimator._best_state is not None:
                self.step.model.load_state_dict(estimator._best_state)

    def _epoch(self) -> bool:
        """Make a step for each batch, note how it went, and return whether the training is over."""
        estimator, start = self.estimator, time.perf_counter()
        loss = self._steps()
        estimator.n_iter_ += 1
        estimator.loss_ = loss
        estimator.t_ += self.batches.total
        estimator.loss_curve_.append(loss)
        if not np.isfinite(loss):
            raise NonFiniteError(f"{SPOILT} The loss is {loss} in epoch {estimator.n_iter_}")
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        measured = self._measured()
        self._count()
        used = self.optimizer.lr
        self.rate.after_epoch(self.optimizer, estimator.t_)
        over = estimator._no_improvement_count > estimator.n_iter_no_change and self._ends()
        estimator.history_.append({"loss": loss, **measured, "lr": used, "seconds": time.perf_counter() - start})
        return call_back(estimator, self.step.objective.loss, self.optimizer, self.modes) or over

    def _steps(self) -> float:
        total, step, interrupts = 0.0, self.step, self.interrupts
        for x, y, weight in self.batches:
            if weight is not None and not weight.any():  # nothing in the batch counts
                continue
            interrupts.busy = True
            total += step(x, y, weight) * len(y)
            interrupts.busy = False
            if interrupts.pressed:
                raise KeyboardInterrupt
        return total / self.batches.total

    def _measured(self) -> dict[str, float]:
        """The loss and the score of the examples that are held out, if there are any."""
        if self.held is None or self.measuring is None:
            return {}
        estimator = self.estimator
        measured = measure(estimator, self.measuring, self.held)
        if estimator.early_stopping:
            score = measured[f"val_{estimator._score_name}"]
            estimator.validation_scores_.append(score)
            if estimator.verbose:
                print(f"Validation score: {score:f}")
        return measured

    def _count(self) -> None:
        """Count the epochs in which nothing has got better by `tol`, and keep the best."""
        estimator = self.estimator
        if estimator.early_stopping:
            score = estimator.validation_scores_[-1]
            better = not score < estimator.best_validation_score_ + estimator.tol
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                estimator._best_state = self.step.model.state_dict()
        else:
            better = not estimator.loss_ > estimator.best_loss_ - estimator.tol
            estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
        estimator._no_improvement_count = 0 if better else estimator._no_improvement_count + 1

    def _ends(self) -> bool:
        """Whether the training is over now that nothing gets better; else it goes on with a smaller learning rate."""
        estimator = self.estimator
        over, what = self.rate.ends(self.optimizer)
        if estimator.verbose:
            told = "Validation score did not improve" if estimator.early_stopping else "Training loss did not improve"
            print(f"{told} more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive epochs. {what}")
        if not over:
            estimator._no_improvement_count = 0
        return over


def measure(estimator: Any, objective: Objective, held: Examples) -> dict[str, float]:
    """The loss, without the penalty, and the score of examples; nan if what is predicted for them is not finite.

    The objective is not the one that is trained with, which remembers its latest batch.
    """
    z = outputs(estimator.model_, held.x)
    names = "val_loss", f"val_{estimator._score_name}"
    if not np.isfinite(z).all():
        return dict.fromkeys(names, np.nan)
    return dict(zip(names, (objective(z, held.y, held.weight), estimator._score_of(z, held.y, held.weight)), strict=True))


def call_back(estimator: Any, loss: Any, optimizer: Any, modes: Modes) -> bool:
    """Call the callbacks of an estimator; return whether one of them ends the training."""
    callbacks = estimator.callbacks or ()
    if not callbacks:
        return False
    history = estimator.history_
    state = State(estimator.model_, loss, optimizer, history, history.epochs)
    answers = [callback(state) for callback in ([callbacks] if callable(callbacks) else callbacks)]
    modes.begin()  # a callback that draws the model, say, may have called eval()
    return any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers)
