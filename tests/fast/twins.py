"""Twins that are trained, one by a program and one by the four lines."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import pancake as pk
from pancake import TrainStep
from pancake.fast.steps import Step

RNG = np.random.default_rng(0)


def four_lines(model: Any, loss: Any, optimizer: Any, x: Any, y: Any, *weight: Any) -> Any:
    optimizer.zero_grad()
    objective = loss(model(x), y, *weight)
    model.accumulate_grads(loss.compute_backward())
    optimizer.step()
    return objective


def net(activation: Any = None, n_out: int = 2, dtype: Any = np.float64) -> Any:
    hidden = pk.Tanh() if activation is None else copy.copy(activation)
    return pk.Sequential([pk.Linear(3, 5, rng=0, dtype=dtype), hidden, pk.Linear(5, n_out, rng=1, dtype=dtype)])


def batches(y: Any, sizes: tuple[int, ...] = (4, 4, 4, 2, 4, 300, 4)) -> list[tuple[Any, Any]]:
    return [(RNG.normal(size=(n, 3)), y(n)) for n in sizes]


def numbers(n: int) -> Any:
    return RNG.uniform(0.1, 0.9, size=(n, 2))


def labels(n: int) -> Any:
    return RNG.integers(0, 2, n)


def programs(step: TrainStep) -> list[Step]:
    return [program for program in step._steps.programs.values() if isinstance(program, Step)]


def same_training(model: Any, loss: Any, optimizer: Any, data: Any, rtol: float = 0) -> TrainStep:
    """Train twins, one by each way, and compare all that comes of it: bit for bit where sums have one order."""
    twin, twin_loss, twin_optimizer = copy.deepcopy((model, loss, optimizer))
    step = TrainStep(model, loss, optimizer)
    for x, y in data:
        got, wanted = step(x, y), four_lines(twin, twin_loss, twin_optimizer, x, y)
        assert type(got) is type(wanted)
        arrays = zip(
            (got, loss.divisor, *model.state_dict().values(), *model.get_params_and_grads()[1]),
            (wanted, twin_loss.divisor, *twin.state_dict().values(), *twin.get_params_and_grads()[1]),
            strict=True,
        )
        for a, b in arrays:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 10)
    assert optimizer.steps == twin_optimizer.steps == len(data)
    return step
