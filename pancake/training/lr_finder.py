"""A learning rate to begin with: the range test."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pancake.arguments import Rng, generator, number, size, tells_how_to_call
from pancake.function import Function
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer
from pancake.training.batches import Batch, Cut, examples, without_absent
from pancake.training.modes import Modes
from pancake.training.rehearsal import check_numbers
from pancake.training.trained import check_trains

MINIMUM = 10  # points of a curve: with fewer it has no shape


class LearningRates(NamedTuple):
    """What `find_learning_rate` has found. `plot_learning_rates` draws it.

    Attributes
    ----------
    lr : ndarray (S,)
        The learning rates of the S steps, evenly spaced on a logarithmic scale.
    loss : ndarray (S,)
        The loss of the batch before each step.
    smoothed : ndarray (S,)
        The same, each an average over its neighbourhood.
    suggestion : float
        The learning rate at which the smoothed loss falls most steeply; nan if it falls nowhere.
    """

    lr: Array
    loss: Array
    smoothed: Array
    suggestion: float

    def plot(self, **options: Any) -> Any:
        """Draw the curve: `pancake.plotting.plot_learning_rates(self, **options)`, which needs matplotlib."""
        from pancake.plotting import plot_learning_rates

        return plot_learning_rates(self, **options)


@tells_how_to_call
def find_learning_rate(
    model: Function,
    loss: Any,
    optimizer: Optimizer,
    x: Any,
    y: Any,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    rng: Rng = None,
    sample_weight: Any = None,
    lengths: Any = None,
) -> LearningRates:
    """Try learning rates from tiny to huge, one step with each, and see where the loss falls and where it bursts.

    Copies of model, loss and optimizer do the steps: the ones you pass stay exactly as they are, generators of dropout
    included. The test ends early once the loss is not finite, or has climbed above its lowest level by three times what
    it was at first. A training whose rate decays can begin at the suggestion or a few times above it, short of where
    the curve turns upward.

    Parameters
    ----------
    model, loss, optimizer
        As for `fit`.
    x, y : array_like (N, ...)
        Inputs and targets, a row for each example.
    lowest, highest : float
        The range of learning rates, 0 < lowest < highest.
    steps : int
        How many to try, at least 10.
    batch_size : int
        Examples of a step.
    rng : None, int or numpy.random.Generator
        Where the order of the examples comes from.
    sample_weight : array_like (N,) or (N, T), optional
        How much each example counts in the loss.
    lengths : array_like (N,), optional
        The lengths of the sequences, passed on as `model(x, lengths=...)`.

    Returns
    -------
    LearningRates

    Raises
    ------
    ValueError, TypeError
        If arguments do not fit together, or the loss is not finite within the first ten steps.

    References
    ----------
    Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3; where to read the curve: Smith, "A
    disciplined approach to neural network hyper-parameters: Part 1" (2018), section 4.1.
    """
    if not isinstance(model, Function) or not isinstance(optimizer, Optimizer):
        wrong = model if not isinstance(model, Function) else optimizer
        raise TypeError(f"find_learning_rate: expected a model, a loss and an optimizer of that model, got {wrong!r}")
    check_trains("find_learning_rate", optimizer, model)
    lowest, highest = number(find_learning_rate, "lowest", lowest), number(find_learning_rate, "highest", highest)
    if not 0 < lowest < highest:
        raise ValueError(f"find_learning_rate: expected 0 < lowest < highest, got {lowest} and {highest}")
    if size(find_learning_rate, steps=steps) < MINIMUM:
        raise ValueError(f"find_learning_rate: expected steps of at least {MINIMUM}, got {steps}")
    data = without_absent(examples("find_learning_rate", x, y, sample_weight, lengths))
    check_numbers("find_learning_rate", model, data)
    batches = Cut(data, size(find_learning_rate, batch_size=batch_size))
    batches.rng = generator(find_learning_rate, rng)
    batches.joined = True  # a last batch of one example, of which a BatchNorm can make nothing

    model, loss, optimizer = copy.deepcopy((model, loss, optimizer))
    Modes(model).begin()
    rates = np.geomspace(lowest, highest, steps)
    width = max(3, steps // 20)
    tried: list[float] = []
    losses: list[float] = []
    best: Any = math.inf
    with np.errstate(all="ignore"):  # the end of the test is an explosion
        for lr, (x, y, weight, lengths) in zip(rates, _endless(batches), strict=False):
            optimizer.lr = float(lr)
            optimizer.zero_grad()
            pred = model(x) if lengths is None else model(x, lengths=lengths)
            if not np.isfinite(pred).all():
                break
            objective = float(np.sum(loss(pred, y) if weight is None else loss(pred, y, weight)))
            if not math.isfinite(objective):
                break
            if getattr(loss, "divisor", None) == 0:
                continue  # nothing in the batch counts
            tried.append(lr)
            losses.append(objective)
            first, last = np.mean(losses[:width]), np.mean(losses[-width:])
            best = min(best, last)
            if last > best + 3 * abs(first):
                break
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()
    if len(losses) < MINIMUM:
        raise ValueError(
            f"find_learning_rate: the loss burst after {len(losses)} steps, at a learning rate of {lr:.3g}; "
            f"begin with a smaller one than lowest={lowest:g}, and check that x and y are finite and of moderate size"
        )
    return _read(np.array(tried), np.array(losses), width)


def _endless(batches: Cut) -> Iterator[Batch]:
    return itertools.chain.from_iterable(itertools.repeat(batches))


def _read(lr: Array, loss: Array, width: int) -> LearningRates:
    """Smooth the curve, without the lag of a running average, and find its steepest descent."""
    window = np.ones(2 * width + 1)
    smoothed = np.convolve(loss, window, mode="same") / np.convolve(np.ones_like(loss), window, mode="same")
    until = int(smoothed.argmin()) + 1
    slope = np.gradient(smoothed, np.log(lr))[:until]
    steepest = int(slope.argmin())
    return LearningRates(lr, loss, smoothed, float(lr[steepest]) if slope[steepest] < 0 else math.nan)
