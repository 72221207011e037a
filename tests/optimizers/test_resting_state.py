"""What an optimizer knows of parameters that are frozen, exchanged or gone, and what becomes of it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from participant import Scale
from test_optimizers import X, Y, assert_equal, assert_same_state, params, train

from pancake import SGD, Adam, Linear, MeanSquaredError, Sequential, TrainStep, load, mlp, save

rng = np.random.default_rng(0)


TWINS = {
    "copy": lambda model, optimizer, path: copy.deepcopy((model, optimizer)),
    "pickle": lambda model, optimizer, path: pickle.loads(pickle.dumps((model, optimizer))),
    "file": lambda model, optimizer, path: (save(path, model, optimizer), load(path))[1],
    "state": lambda model, optimizer, path: with_state_of(optimizer, copy.deepcopy(model)),
}


def with_state_of(optimizer, model):
    frozen = [part for part in model.walk() if part.frozen]
    model.freeze(False)
    new = type(optimizer)(model, optimizer.lr)
    if isinstance(new, SGD):
        new.momentum = optimizer.momentum
    for part in frozen:
        part.freeze()
    new.load_state_dict(optimizer.state_dict())
    return model, new


@pytest.mark.parametrize("way", TWINS)
@pytest.mark.parametrize("cls", [Adam, SGD])
@pytest.mark.parametrize("frozen", [(0,), (2,), (0, 2)], ids=str)
def test_what_is_frozen_goes_on_in_a_twin_as_it_would_have(cls, frozen, way, tmp_path):
    model = mlp([3, 4, 2], rng=0)
    optimizer = cls(model, 0.01)
    if cls is SGD:
        optimizer.momentum = 0.9
    train(model, optimizer, 2)
    for i in frozen:
        model[i].freeze()
    if len(frozen) == 1:
        train(model, optimizer, 2)
    twin, other = TWINS[way](model, optimizer, tmp_path / "model.npz")
    assert_same_state(other, optimizer)
    for net, its in ((model, optimizer), (twin, other)):
        if len(frozen) == 1:
            train(net, its, 1)
        net.freeze(False)
        train(net, its, 2)
    assert_equal(params(model), params(twin))
    assert_same_state(other, optimizer)


def test_a_state_counts_parameters_that_are_frozen():
    model = mlp([2, 2, 2], rng=0)
    optimizer = Adam(model)
    x = rng.normal(size=(8, 2))
    train(model, optimizer, 2, x=x)
    before = optimizer.state_dict()
    model[0].freeze()
    assert list(optimizer.state_dict()) == list(before)
    optimizer.load_state_dict(before)
    model[0].freeze(False)
    model[2].freeze()
    train(model, optimizer, 1, x=x)
    model[2].freeze(False)
    after = optimizer.state_dict()
    numbers = {name.rpartition(".")[2]: np.array_equal(after[name], before[name]) for name in before if "." in name}
    assert numbers == {"0": False, "1": False, "2": True, "3": True}


def test_a_state_has_nothing_of_what_was_never_trained(tmp_path):
    model = mlp([3, 4, 2], rng=0)
    model[0].freeze()
    optimizer = Adam(model)
    train(model, optimizer, 2)
    assert [name for name in optimizer.state_dict() if name.endswith((".0", ".1"))] == []
    save(tmp_path / "model.npz", model, optimizer)
    _, loaded = load(tmp_path / "model.npz")
    assert_same_state(loaded, optimizer)
    model[0].freeze(False)
    with pytest.raises(ValueError, match=r"missing scaled_exp_avg\.0"):
        optimizer.load_state_dict(loaded.state_dict())


def momenta(optimizer):
    return {int(name[-1]): array.any() for name, array in optimizer.state_dict().items() if name.startswith("momentum_buffer")}


def test_state_is_of_a_parameter_and_not_of_its_place():
    model = Sequential([Linear(3, 3, rng=0), Linear(3, 3, rng=1)])
    model[1].freeze()
    optimizer, x = SGD(model, momentum=0.9), rng.normal(size=(8, 3))
    train(model, optimizer, 2, x=x, y=x)
    before = optimizer.state_dict()
    model[0].freeze()
    model[1].freeze(False)
    assert momenta(optimizer) == {0: True, 1: True, 2: False, 3: False}
    np.testing.assert_array_equal(optimizer.state_dict()["momentum_buffer.0"], before["momentum_buffer.0"])
    model.freeze(False)
    train(model, optimizer, 2, x=x, y=x)
    model.functions[:] = [model[1], Linear(3, 3, rng=7)]
    assert momenta(optimizer) == {0: True, 1: True, 2: False, 3: False}
    model.functions[0] = Linear(3, 3, rng=8)
    assert momenta(optimizer) == {0: False, 1: False, 2: False, 3: False}


def test_what_has_left_the_model_is_not_kept():
    model = Sequential([Linear(3, 3, rng=0)])
    optimizer, x = Adam(model), rng.normal(size=(8, 3))
    for i in range(5):
        model.add(Linear(3, 3, rng=i))
        model[1].freeze(i % 2 == 0)
        train(model, optimizer, 1, x=x, y=x)
        model.functions.pop()
        train(model, optimizer, 1, x=x, y=x)
    assert not optimizer._resting


def test_a_frozen_function_that_exchanges_its_arrays_keeps_its_state():
    scale = Scale()
    model = Sequential([Linear(3, 4, rng=0), scale, Linear(4, 2, rng=1)])
    optimizer = SGD(model, momentum=0.9)
    train(model, optimizer, 2)
    before = optimizer.state_dict()
    scale.freeze()
    train(model, optimizer, 1)
    for _ in range(3):
        scale.k, scale.grad_k = scale.k.copy(), scale.grad_k.copy()
        train(model, optimizer, 1)
    scale.freeze(False)
    np.testing.assert_array_equal(optimizer.state_dict()["momentum_buffer.2"], before["momentum_buffer.2"])


def test_momentum_that_goes_goes_for_what_is_frozen_too():
    model = mlp([3, 4, 2], rng=0)
    optimizer = SGD(model, momentum=0.9)
    train(model, optimizer, 2)
    model[0].freeze()
    optimizer.momentum = 0
    train(model, optimizer, 1)
    twin, other = copy.deepcopy((model, optimizer))
    for net, its in ((model, optimizer), (twin, other)):
        its.momentum = 0.9
        net.freeze(False)
        train(net, its, 1)
    assert_equal(params(model), params(twin))


def test_a_state_with_a_half_of_what_is_frozen_is_refused():
    model = mlp([3, 4, 2], rng=0)
    optimizer = Adam(model)
    train(model, optimizer, 1)
    model[0].freeze()
    state = optimizer.state_dict()
    del state["scaled_exp_avg.0"]
    with pytest.raises(ValueError, match=r"changed nothing: missing scaled_exp_avg\.0$"):
        optimizer.load_state_dict(state)


def test_arrays_that_a_function_exchanges_leave_no_state_behind():
    class Rebinding(Scale):
        def compute_backward(self, dObj_dOut):
            self.k, self.grad_k = self.k.copy(), self.grad_k.copy()
            return super().compute_backward(dObj_dOut)

    model = Sequential([Linear(3, 4, rng=0), Rebinding(), Linear(4, 2, rng=1)])
    optimizer = Adam(model)
    train(model, optimizer, 5)
    assert not optimizer._resting


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda step: pickle.loads(pickle.dumps(step))], ids=["copy", "pickle"])
def test_a_step_in_which_all_is_frozen_is_copied(twin):
    model = mlp([3, 4, 2], rng=0)
    step = TrainStep(model, MeanSquaredError(), Adam(model))
    step(X, Y)
    model.freeze()
    other = twin(step)
    for each in (step, other):
        each.model.freeze(False)
    assert step(X, Y) == other(X, Y)
    assert_equal(params(model), params(other.model))
