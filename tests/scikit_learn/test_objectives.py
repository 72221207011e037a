"""What the estimators minimise: each gradient against numbers, the penalty's too, and the rules of a step."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")

import pancake as pk
from pancake.sklearn.objectives import Objective, OwnObjective, Penalised, log_loss, poisson, squared_error
from pancake.sklearn.solvers import Rate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))
WEIGHT = np.array([1.0, 0.5, 2.0, 0.0, 1.5, 3.0])
CASES: dict[str, tuple[Objective, Any]] = {
    "classes": (log_loss(multiclass=True), np.array([0, 1, 1, 0, 1, 0])),
    "labels": (log_loss(multiclass=False), RNG.integers(0, 2, (6, 2)).astype(float)),
    "squares": (squared_error(2), RNG.normal(size=(6, 2))),
    "counts": (poisson(), RNG.integers(0, 4, (6, 2)).astype(float)),
    "own": (OwnObjective(pk.Huber()), RNG.normal(size=(6, 2))),
}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_loss_and_penalty(case: str, weight: Any) -> None:
    objective, y = CASES[case]
    model = pk.mlp([3, 4, 2], activation=pk.Tanh, rng=1)
    params, grads = model.get_params_and_grads()
    penalty = Penalised(pk.SGD(model, lr=0.0), model, 0.7, objective)

    def value() -> float:
        loss = objective(model(X), y, weight)
        penalty.add()
        return loss + penalty.value

    penalty.zero_grad()
    objective(model(X), y, weight)
    model.accumulate_grads(objective.compute_backward())
    penalty.add()
    found = [grad.copy() for grad in grads]
    outputs = 2 if case == "squares" else 1  # of several outputs scikit-learn reports the mean, and follows the sum
    for p, grad in zip(params, found, strict=True):
        for index in np.ndindex(p.shape):
            before, values = p[index], []
            for step in (1e-6, -1e-6):
                p[index] = before + step
                penalised = value()
                values.append(penalised + (outputs - 1) * (penalised - penalty.value))
            p[index] = before
            assert_allclose((values[0] - values[1]) / 2e-6, grad[index], atol=1e-8)


@pytest.mark.parametrize(
    ("case", "page"), [("classes", pk.CrossEntropy()), ("labels", pk.BinaryCrossEntropy(True, reduction="sum"))]
)
def test_the_weighted_losses_are_those_of_the_library(case: str, page: Any) -> None:
    objective, y = CASES[case]
    z = RNG.normal(size=(6, 2)) * 30
    share = 1.0 if case == "classes" else WEIGHT.sum()
    assert_allclose(objective(z, y, WEIGHT), page(z, y, WEIGHT) / share, rtol=1e-12)
    assert_allclose(objective.compute_backward(), page.compute_backward() / share, rtol=1e-12, atol=1e-14)


def test_the_penalty_is_on_matrices_alone_and_divided_by_the_weight_of_the_batch() -> None:
    model = pk.mlp([3, 4, 2], rng=1)
    objective = squared_error(2)
    objective(model(X), np.zeros((6, 2)), WEIGHT)
    for twin in (Penalised(pk.SGD(model), model, 3.0, objective),) * 2:
        twin.zero_grad()
        twin.add()
    for p, grad in zip(*model.get_params_and_grads(), strict=True):
        assert_allclose(grad, 3 * p / WEIGHT.sum() if p.ndim == 2 else 0)
    squares = sum((p**2).sum() for p in model.get_params_and_grads()[0] if p.ndim == 2)
    assert_allclose(twin.value, 1.5 * squares / WEIGHT.sum())


def test_the_penalty_follows_exchanged_arrays_and_pickles() -> None:
    model = pk.mlp([3, 2], rng=1)
    penalty = Penalised(pk.SGD(model), model, 1.0, squared_error(2))
    penalty.zero_grad()
    penalty.add()
    model.astype(np.float32)
    penalty.zero_grad()
    penalty.add()
    assert_array_equal(model[0].grad_weight, model[0].weight)  # type: ignore[attr-defined]
    twin = pickle.loads(pickle.dumps(penalty))
    twin.zero_grad()
    twin.add()
    assert_array_equal(twin.model[0].grad_weight, model[0].grad_weight)  # type: ignore[attr-defined]


def test_large_outputs_do_not_warn() -> None:
    for case in ("classes", "labels", "squares"):
        objective, y = CASES[case]
        assert np.isfinite(objective(np.full((6, 2), 1e4), y))
        assert np.isfinite(objective.compute_backward()).all()
    assert poisson()(np.full((6, 2), 1e4), CASES["counts"][1]) == np.inf


def test_learning_rates() -> None:
    optimizer = pk.SGD(pk.Linear(1, 1, rng=0), lr=0.5)
    Rate("invscaling", 0.5, 0.5).after_epoch(optimizer, 99)
    assert optimizer.lr == 0.05
    Rate("constant", 0.5, 0.5).after_epoch(optimizer, 99)
    assert optimizer.lr == 0.05
    assert Rate("constant", 0.5, 0.5).ends(optimizer) == (True, "Stopping.")
    assert Rate("adaptive", 0.5, 0.5).ends(optimizer) == (False, "Setting learning rate to 0.010000")
    optimizer.lr = 1e-6
    assert Rate("adaptive", 0.5, 0.5).ends(optimizer) == (True, "Learning rate too small. Stopping.")
