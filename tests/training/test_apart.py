"""A loss to measure with: it leaves the one that trains alone, and writes its programs once."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.training.apart import apart

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(30, 4)), RNG.uniform(size=(30, 1))


def net() -> Any:
    return pk.mlp([4, 3, 1], output=pk.Sigmoid, rng=0)


def test_the_loss_remembers_its_own_call() -> None:
    loss = pk.BinaryCrossEntropy()
    loss(np.full((2, 1), 0.3), np.ones((2, 1)))
    d = loss.compute_backward()
    for _ in range(2):
        pk.evaluate(net(), loss, X[:2], T[:2])
        np.testing.assert_array_equal(loss.compute_backward(), d)
    assert loss.divisor == 2


def test_it_begins_without_a_divisor() -> None:
    loss = pk.MeanSquaredError()
    for _ in range(2):
        with apart(loss, X) as twin:
            assert twin.divisor is None
            twin(X, X)


def test_settings_that_change_count() -> None:
    loss = pk.CrossEntropy()
    pred, labels = RNG.normal(size=(9, 3)), RNG.integers(0, 3, 9)

    def measured() -> Any:
        with apart(loss, X) as twin:
            return twin(pred, labels)

    for change in (
        lambda: None,
        lambda: setattr(loss, "label_smoothing", 0.2),
        lambda: setattr(loss, "class_weight", np.array([1.0, 2.0, 3.0])),
        lambda: loss.class_weight.__setitem__(0, 9.0),  # type: ignore[union-attr]
        lambda: setattr(loss, "reduction", "sum"),
    ):
        change()
        assert measured() == pytest.approx(loss(pred, labels), rel=1e-14)


def test_each_thread_and_each_call_within_another_has_its_own() -> None:
    loss, twins = pk.MeanSquaredError(), []

    def look() -> None:
        with apart(loss, X) as twin:
            twins.append(twin)

    with apart(loss, X) as outer:
        look()
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert len({id(twin) for twin in (loss, outer, *twins)}) == 4
    look()
    assert twins[-1] is outer


def test_a_loss_of_a_user_is_copied_each_time() -> None:
    class Mine(pk.Loss):
        def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
            return self._reduced(np.abs(pred - target), pred.size)

        def compute_backward(self) -> Any:
            return 1.0

    loss = Mine()
    with apart(loss, X) as first, apart(loss, X) as second:
        assert len({id(loss), id(first), id(second)}) == 3
    with apart(loss, X) as third:
        assert third not in (first, second)


def test_the_copy_goes_with_the_loss() -> None:
    loss = pk.MeanSquaredError()
    with apart(loss, X) as twin:
        twin(X, X)
    dropped = weakref.ref(twin)
    del twin, loss
    gc.collect()
    assert dropped() is None


def test_nothing_is_kept_of_many_predictions() -> None:
    loss, pred, gone = pk.MeanSquaredError(), np.zeros((1 << 18, 2)), []
    for _ in range(2):
        with apart(loss, pred) as twin:
            twin(pred, pred)
        gone.append(weakref.ref(twin))
    del twin
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
