"""A model that is dropped is gone at once, whatever has been done with it, and not only once garbage is collected.

That hardly notices arrays: large models would be there until thousands of other objects have been made.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pancake as pk

RNG = np.random.default_rng(0)


def mlp() -> Any:
    return pk.mlp([3, 5, 2], rng=0), RNG.normal(size=(8, 3)), RNG.integers(0, 2, 8)


def many_rows() -> Any:
    return pk.mlp([3, 5, 2], rng=0), RNG.normal(size=(8000, 3)), RNG.integers(0, 2, 8000)


def in_parts() -> Any:
    functions = [
        pk.Linear(3, 5, rng=0),
        pk.ReLU(),
        pk.Dropout(0.5, rng=0),
        pk.Residual(pk.Linear(5, 5, rng=1)),
        pk.Clip(-9, 9),
        pk.Add([pk.Linear(5, 5, rng=1), pk.Sequential([pk.ReLU()])]),
        pk.Linear(5, 2, rng=2),
    ]
    return pk.Sequential(functions), RNG.normal(size=(8, 3)), RNG.integers(0, 2, 8)


def sequences() -> Any:
    functions = [pk.Embedding(5, 3, rng=0), pk.Unrolled(pk.LSTMCell(3, 4, rng=1)), pk.Linear(4, 2, rng=2)]
    return pk.Sequential(functions), RNG.integers(0, 5, (4, 6)), RNG.integers(0, 2, (4, 6))


def four_lines(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> None:
    for _ in range(2):
        optimizer.zero_grad()
        loss(model(x), y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
        model.compute_backward(np.ones_like(model(x)))


def step(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> None:
    step = pk.TrainStep(model, loss, optimizer)
    for n in (2, 2, 3, len(x)):
        step(x[:n], y[:n])
    with contextlib.suppress(ValueError):
        step(x, y + 5)


def fit(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> None:
    options: Any = {"metrics": {"accuracy": pk.accuracy}, "progress": False}
    pk.fit(model, loss, optimizer, x, y, epochs=2, batch_size=3 + len(x) // 2, validation=(x, y), **options)


def predict(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> None:
    for n in (1, 1, len(x)):
        pk.predict(model, x[:n])


def everything(*args: Any) -> None:
    for do in (four_lines, step, four_lines, fit, predict, four_lines):
        do(*args)


@pytest.fixture
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collection")
@pytest.mark.parametrize("make", [mlp, many_rows, in_parts, sequences])
@pytest.mark.parametrize("do", [four_lines, step, fit, predict, everything])
def test_a_dropped_model_is_gone_at_once(make: Callable[[], Any], do: Callable[..., None]) -> None:
    model, x, y = make()
    optimizer = pk.Adam(model)
    do(model, pk.CrossEntropy(), optimizer, x, y)
    parts = [weakref.ref(part) for part in model.walk()]
    del model, optimizer
    assert [part() for part in parts] == [None] * len(parts)


@pytest.mark.usefixtures("without_collection")
@pytest.mark.parametrize("do", [four_lines, step, everything])
def test_a_layer_that_is_kept_of_it_holds_no_other_and_answers_still(do: Callable[..., None]) -> None:
    model, x, y = mlp()
    optimizer, layer, others = pk.Adam(model), model[2], [weakref.ref(part) for part in (model, *model[:2])]
    do(model, pk.CrossEntropy(), optimizer, x, y)
    h = model[:2](x)
    want = layer.weight.T @ np.ones(2)
    layer(h)
    del model, optimizer
    assert [part() for part in others] == [None] * len(others)
    np.testing.assert_allclose(layer.compute_backward(np.ones((len(x), 2))), np.tile(want, (len(x), 1)))
