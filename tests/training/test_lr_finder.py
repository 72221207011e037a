"""The range test of learning rates."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.training.lr_finder import LearningRates

Task = tuple[Any, pk.CrossEntropy, Any, np.ndarray, np.ndarray]


@pytest.fixture
def task() -> Task:
    X, y = pk.datasets.moons(200, noise=0.1, rng=0)
    model = pk.Sequential([pk.Linear(2, 16, rng=0), pk.Tanh(), pk.BatchNorm(16), pk.Dropout(0.2, rng=0), pk.Linear(16, 2, rng=0)])
    return model, pk.CrossEntropy(), pk.Adam(model, lr=0.123), X, y


def test_the_suggestion_learns_and_a_thousandth_of_it_does_not(task: Task) -> None:
    model, loss, optimizer, X, y = task
    found = pk.find_learning_rate(*task, rng=0)
    assert isinstance(found, LearningRates)
    assert 1e-4 < found.suggestion < 1
    assert found.lr[0] == pytest.approx(1e-6)
    ratios = found.lr[1:] / found.lr[:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    assert found.lr.shape == found.loss.shape == found.smoothed.shape
    ends = {}
    for lr in (found.suggestion, found.suggestion / 1000):
        other = copy.deepcopy((model, optimizer))
        other[1].lr = lr
        ends[lr] = pk.fit(other[0], loss, other[1], X, y, epochs=5, rng=0, progress=False)["loss"][-1]
    assert ends[found.suggestion] < 0.7 * ends[found.suggestion / 1000]


def test_everything_stays_as_it_was(task: Task) -> None:
    model, loss, optimizer, X, y = task
    pk.fit(model, loss, optimizer, X, y, epochs=1, rng=0, progress=False)
    model.eval()
    loss(model(X), y)
    model.accumulate_grads(loss.compute_backward())
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), model.get_params_and_grads()[1], dict(optimizer.history)))
    X.flags.writeable = y.flags.writeable = False
    draws = copy.deepcopy(model[3].rng)
    pk.find_learning_rate(model, loss, optimizer, X, y, steps=20, rng=0)
    after = model.state_dict(), optimizer.state_dict(), model.get_params_and_grads()[1], dict(optimizer.history)
    np.testing.assert_equal(after, before)
    assert not any(function.training for function in model.walk())
    assert model[3].rng.random() == draws.random()
    model.compute_backward(loss.compute_backward())  # still that of all points


def test_the_same_rng_gives_the_same_curve(task: Task) -> None:
    first, second = (pk.find_learning_rate(*task, steps=30, rng=3) for _ in range(2))
    np.testing.assert_array_equal(first.loss, second.loss)
    assert first.suggestion == second.suggestion


def test_it_ends_when_the_loss_bursts() -> None:
    x = np.linspace(-1, 1, 50)[:, None]
    model = pk.Linear(1, 1, rng=0)
    found = pk.find_learning_rate(model, pk.MeanSquaredError(), pk.SGD(model), x, 3 * x, highest=1e6, rng=0)
    assert len(found.lr) < 100
    assert found.loss[0] < found.loss[-1] < 1e4 * found.loss[0]
    assert 1e-2 < found.suggestion < 10  # for which 1 / mean(x^2) = 3 is the best single step


def test_a_rate_with_which_nothing_was_learnt_is_left_out() -> None:
    model, y = pk.Linear(2, 3, rng=0), np.arange(40) % 2  # every other label is ignored
    found = pk.find_learning_rate(
        model, pk.CrossEntropy(ignore_index=0), pk.SGD(model), np.eye(40, 2), y, lowest=1e-3, highest=1e-2, batch_size=1, rng=0
    )
    rates = np.geomspace(1e-3, 1e-2, 100)
    assert len(found.lr) == len(found.loss) < 100
    assert np.isin(found.lr, rates).all()
    assert found.lr[-1] > rates[90]  # the last one, not the last of so many


def test_a_loss_that_falls_nowhere_suggests_nothing() -> None:
    model: Any = pk.Linear(1, 1, rng=0)
    model.weight, model.bias = 2.0, 0.0
    x = np.linspace(-1, 1, 40)[:, None]
    found = pk.find_learning_rate(model, pk.MeanSquaredError(), pk.SGD(model), x, 2 * x, rng=0)
    np.testing.assert_array_equal(found.loss, 0)
    assert np.isnan(found.suggestion)


def test_sequences_and_weights(task: Task) -> None:
    rng = np.random.default_rng(0)
    x, y, lengths = rng.normal(size=(40, 5, 2)), rng.integers(0, 3, 40), rng.integers(1, 6, 40)
    model = pk.Sequential([pk.Unrolled(pk.GRUCell(2, 8, rng=0), return_sequences=False), pk.Linear(8, 3, rng=0)])
    options: dict[str, Any] = {"lengths": lengths, "batch_size": 40, "steps": 10, "rng": 0}
    plain = pk.find_learning_rate(model, pk.CrossEntropy(), pk.Adam(model), x, y, **options)
    first = (y == y[0]).astype(float)
    weighted = pk.find_learning_rate(model, pk.CrossEntropy(), pk.Adam(model), x, y, sample_weight=first, **options)
    scores = pk.predict(model, x, lengths=lengths)
    assert plain.loss[0] == pytest.approx(pk.CrossEntropy()(scores, y))
    assert weighted.loss[0] == pytest.approx(pk.CrossEntropy()(scores, y, first))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": 3}, TypeError, "expected a model, a loss and an optimizer of that model, got 3"),
        ({"optimizer": "Adam"}, TypeError, "expected a model, a loss and an optimizer of that model, got 'Adam'"),
        ({"optimizer": pk.SGD(pk.Linear(2, 2, rng=0))}, ValueError, "SGD.* trains no parameter of Sequential"),
        ({"lowest": 0}, ValueError, "expected 0 < lowest < highest, got 0.0 and 10.0"),
        ({"lowest": 20}, ValueError, "expected 0 < lowest < highest"),
        ({"steps": 9}, ValueError, "expected steps of at least 10, got 9"),
        ({"batch_size": 0}, ValueError, "expected batch_size of at least 1"),
        ({"y": [0, 1]}, ValueError, "expected as many rows in y as in x"),
        (
            {"lowest": 1e300, "highest": 1e305},
            ValueError,
            r"burst after \d steps, at a learning rate of .*begin with a smaller one",
        ),
    ],
)
def test_refuses(task: Task, change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = dict(zip(("model", "loss", "optimizer", "x", "y"), task, strict=True)) | change
    with pytest.raises(error, match=f"find_learning_rate: .*{message}"):
        pk.find_learning_rate(**arguments)
