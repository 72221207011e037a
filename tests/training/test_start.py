"""Where an epoch begins: whatever its steps have changed, also what they seldom change, comes back."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pancake as pk

X = np.random.default_rng(0).normal(size=(32, 2))
Y = X.sum(axis=1, keepdims=True)


def freeze(optimizer: pk.Optimizer, mode: bool) -> None:
    optimizer.model[0].freeze(mode)


CHANGES = {
    "momentum comes": (lambda m: pk.SGD(m, 0.1), lambda o: setattr(o, "momentum", 0.9)),
    "momentum goes": (lambda m: pk.SGD(m, 0.1, momentum=0.9), lambda o: setattr(o, "momentum", 0)),
    "momentum of RMSprop comes": (pk.RMSprop, lambda o: setattr(o, "momentum", 0.9)),
    "nesterov comes": (lambda m: pk.SGD(m, 0.1), lambda o: (setattr(o, "momentum", 0.9), setattr(o, "nesterov", True))),
    "nesterov goes": (lambda m: pk.SGD(m, 0.1, 0.9, True), lambda o: (setattr(o, "nesterov", False), setattr(o, "momentum", 0))),
    "betas": (pk.Adam, lambda o: setattr(o, "betas", (0.5, 0.6))),
    "a part is frozen": (pk.Adam, lambda o: freeze(o, True)),
    "a part learns again": (pk.Adam, lambda o: freeze(o, False)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_schedule_changes_comes_back_after_a_loss_that_is_not_finite(what):
    make, change = CHANGES[what]
    model = pk.mlp([2, 4, 1], activation=pk.Tanh, rng=0)
    model[0].freeze(what == "a part learns again")
    optimizer = make(model)
    fit = {"batch_size": 4, "rng": 0}
    pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, **fit)
    model_before, before = copy.deepcopy((model, optimizer))

    def schedule(step):
        if step == before.steps + 4:
            change(optimizer)
        return 0.1 if step < before.steps + 6 else 1e200

    with pytest.raises(pk.NonFiniteError, match="Model and optimizer are as before that epoch"):
        pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, schedule=schedule, **fit)
    assert repr(optimizer) == repr(before)
    for name, value in before.state_dict().items():
        np.testing.assert_array_equal(optimizer.state_dict()[name], value)
    # and so does all that would have followed
    optimizer.history.rng = copy.deepcopy(before.history.rng)
    pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, **fit)
    pk.fit(model_before, pk.MeanSquaredError(), before, X, Y, **fit)
    for name, value in model_before.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value)
