"""Learning-rate schedules: plain functions of the step (or epoch), counted from 0.

Each function here returns one. Set the learning rate before the step that it is for::

    schedule = warmup(cosine(0.1, steps=1000), steps=50)
    for step in range(1050):
        optimizer.lr = schedule(step)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from pancake.arguments import number, real, size, tells_how_to_call

Schedule: TypeAlias = Callable[[int], float]


@tells_how_to_call
def step_decay(lr: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """Step by step down: lr gamma^floor(step / step_size): times gamma after every `step_size` steps.

    Parameters
    ----------
    lr : float
        The learning rate of step 0.
    step_size : int
    gamma : float
        At least 0.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html
    """
    lr, gamma = number(step_decay, "lr", lr), number(step_decay, "gamma", gamma)
    step_size = size(step_decay, step_size=step_size)
    return lambda step: lr * gamma ** (step // step_size)


@tells_how_to_call
def exponential_decay(lr: float, gamma: float) -> Schedule:
    """A little down each time: lr gamma^step, times gamma after every step.

    Parameters
    ----------
    lr : float
        The learning rate of step 0.
    gamma : float
        At least 0.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html
    """
    lr, gamma = number(exponential_decay, "lr", lr), number(exponential_decay, "gamma", gamma)
    return lambda step: lr * gamma**step


@tells_how_to_call
def cosine(lr: float, steps: int, lr_min: float = 0.0) -> Schedule:
    """lr_min + (lr - lr_min) (1 + cos(pi step / steps)) / 2: half a wave down from `lr`, and `lr_min` from `steps` on.

    Parameters
    ----------
    lr : float
        The learning rate of step 0.
    steps : int
        How many steps the way down takes.
    lr_min : float
        At least 0.

    References
    ----------
    Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), equation 5.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html, which climbs again after
    `steps`.
    """
    lr, lr_min, steps = number(cosine, "lr", lr), number(cosine, "lr_min", lr_min), size(cosine, steps=steps)
    return lambda step: _wave(lr, lr_min, step / steps)


def _wave(start: float, stop: float, share: float) -> float:
    """Half a cosine from `start`, where the share of the way is 0, to `stop`, where it is 1 or more."""
    return stop + (start - stop) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


@tells_how_to_call
def one_cycle(
    max_lr: float, steps: int, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> Schedule:
    """Half a cosine up from max_lr / div_factor to `max_lr`, and half a cosine down to almost nothing.

    The top is at step pct_start steps - 1. Step steps - 1 is the last one, with max_lr / (div_factor final_div_factor), at
    which the learning rate stays.

    Parameters
    ----------
    max_lr : float
        The learning rate at the top.
    steps : int
        The number of steps of the whole training, at least 2.
    pct_start : float
        The share of the steps on the way up, from 0 to 1. With pct_start steps = 1 the top is step 0.
    div_factor, final_div_factor : float
        More than 0.

    References
    ----------
    Smith, Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates" (2018), section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html
    """
    max_lr, steps = number(one_cycle, "max_lr", max_lr), size(one_cycle, steps=steps)
    top = number(one_cycle, "pct_start", pct_start) * steps - 1
    low = max_lr / _positive("div_factor", div_factor)
    last = low / _positive("final_div_factor", final_div_factor)
    if not 0 <= top < steps - 1:
        raise ValueError(f"one_cycle: expected pct_start of at least 1 / {steps}, one step, and less than 1, got {pct_start}")

    def schedule(step: int) -> float:
        if step <= top:
            return _wave(low, max_lr, step / top if top else 1.0)
        return _wave(max_lr, last, (step - top) / (steps - 1 - top))

    return schedule


def _positive(name: str, value: float) -> float:
    result = real(one_cycle, name, value)
    if result <= 0:
        raise ValueError(f"one_cycle: expected {name} of more than 0, got {value}")
    return result


@tells_how_to_call
def warmup(schedule: float | Schedule, steps: int, start_factor: float = 1 / 3) -> Schedule:
    """Another schedule, which starts `steps` later; on the way there the learning rate climbs in a straight line.

    In step t < steps it is lr (start_factor + (1 - start_factor) t / steps), with lr the learning rate of the other schedule
    in its step 0.

    Parameters
    ----------
    schedule : float or function of the step
        A number stands for a learning rate that stays the same.
    steps : int
    start_factor : float
        From 0 to 1: the share of the learning rate in step 0.

    References
    ----------
    Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour" (2017), section 2.2.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html, and SequentialLR for what follows.
    """
    after = schedule if callable(schedule) else _constant(number(warmup, "schedule", schedule))
    steps = size(warmup, steps=steps)
    if not number(warmup, "start_factor", start_factor) <= 1:
        raise ValueError(f"warmup: expected start_factor from 0 to 1, got {start_factor}")
    lr = after(0)

    def warm(step: int) -> float:
        if step < steps:
            return lr * (start_factor + (1 - start_factor) * step / steps)
        return after(step - steps)

    return warm


def _constant(lr: float) -> Schedule:
    return lambda step: lr
