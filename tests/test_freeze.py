"""What is frozen stays as it is: no gradient, no optimizer, no norm; and all of it is still there."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from participant import Scale

import pancake as pk

RNG = np.random.default_rng(0)
X, U = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))

on_both_paths = pytest.mark.parametrize("path", [nullcontext, pk.fast.off], ids=["fast", "plain"])


def net() -> pk.Sequential:
    return pk.Sequential([pk.Linear(3, 4, rng=0), pk.Tanh(), pk.Linear(4, 4, rng=1), pk.Tanh(), pk.Linear(4, 2, rng=2)])


def step(model: pk.Function, optimizer: pk.Optimizer) -> Any:
    loss = pk.MeanSquaredError()
    optimizer.zero_grad()
    objective = loss(model(X), U)
    model.accumulate_grads(loss.compute_backward())
    optimizer.step()
    return objective


@on_both_paths
def test_a_frozen_layer_is_left_as_it_is_and_all_others_learn_as_before(path: Any) -> None:
    with path():
        model, other = net(), net()
        optimizer, of_the_others = pk.Adam(model), pk.Adam([other[0], other[4]])
        assert model[2].freeze() is model[2]
        kept = model[2].state_dict()
        for _ in range(5):
            assert step(model, optimizer) == pytest.approx(step(other, of_the_others), rel=1e-12)
        for name, array in kept.items():
            np.testing.assert_array_equal(model[2].state_dict()[name], array)
        assert not model[2].grad_weight.any()
        np.testing.assert_allclose(model[0].weight, other[0].weight, rtol=1e-12)
        assert len(model.get_params_and_grads()[0]) == 4
        assert len(model.state_dict()) == 6
        assert model.num_parameters == model[0].num_parameters + model[4].num_parameters
        assert model[2].num_parameters == 0


@on_both_paths
def test_the_gradient_goes_through_what_is_frozen(path: Any) -> None:
    with path():
        model = net()
        model(X)
        want = model.compute_backward(U)
        model[2].freeze()
        model[4].freeze()
        model(X)
        np.testing.assert_allclose(model.compute_backward(U), want, rtol=1e-12)


LAYERS = {
    "Linear": (pk.Linear(3, 2, rng=0), X),
    "MatMul": (pk.MatMul(3, 2, rng=0), X),
    "AddBias": (pk.AddBias(3), X),
    "Mul": (pk.Mul(2.0), X),
    "PReLU": (pk.PReLU(3), X),
    "BatchNorm": (pk.BatchNorm(3), X),
    "LayerNorm": (pk.LayerNorm(3), X),
    "Embedding": (pk.Embedding(4, 2, rng=0), np.array([[0, 3, 1], [1, 1, 2]])),
    "a user's": (Scale(), X),
    "Unrolled": (pk.Unrolled(pk.LSTMCell(3, 2, rng=0)), RNG.normal(size=(2, 4, 3))),
    "Bidirectional": (pk.Bidirectional(pk.GRUCell(3, 2, rng=0), pk.RNNCell(3, 2, rng=1)), RNG.normal(size=(2, 4, 3))),
    "Residual": (pk.Residual(pk.Linear(3, 3, rng=0)), X),
}


@on_both_paths
@pytest.mark.parametrize("name", LAYERS)
def test_every_frozen_function_hands_the_gradient_on_and_keeps_none(name: str, path: Any) -> None:
    with path():
        layer, x = copy.deepcopy(LAYERS[name])
        d = RNG.normal(size=np.shape(layer(x)))
        want, pairs = layer.compute_backward(d), layer._pairs()
        assert any(grad.any() for _, grad in pairs)
        layer.freeze()
        for _, grad in pairs:
            grad[...] = 7
        for backward in (layer.compute_backward, layer.accumulate_grads):
            layer(x)
            result = backward(d)
            assert result is None or np.allclose(result, want, rtol=1e-10)
            assert all((grad == 7).all() for _, grad in pairs)
        assert layer.get_params_and_grads() == ([], [])
        layer.freeze(False)
        layer(x)
        layer.compute_backward(d)
        assert any((grad != 7).any() for _, grad in pairs)


def test_what_thaws_goes_on_where_its_optimizer_was() -> None:
    model, rested = net(), net()
    optimizers = [pk.Adam(m, lr=0.01) for m in (model, rested)]
    for m, optimizer in zip((model, rested), optimizers, strict=True):
        step(m, optimizer)
    rested.freeze()
    optimizers[1].step()
    rested.freeze(False)
    optimizers[1].steps -= 1
    for m, optimizer in zip((model, rested), optimizers, strict=True):
        step(m, optimizer)
    for a, b in zip(model.state_dict().values(), rested.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_clipping_and_norms_count_what_is_trained() -> None:
    model = net()
    for g in model.get_params_and_grads()[1]:
        g.fill(1)
    model[0].freeze()
    assert pk.clip_grad_norm(model, 1e9) == pytest.approx(np.sqrt(4 * 4 + 4 + 8 + 2))
    assert list(pk.gradient_norms(model)) == ["2 Linear", "4 Linear"]
    pk.clip_grad_value(model, 0.5)
    assert (model[0].grad_weight == 1).all()
    assert (model[2].grad_weight == 0.5).all()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.shared_copy()])
def test_copies_are_frozen_too(duplicate: Any) -> None:
    model = net()
    model[2].freeze()
    assert [f.frozen for f in duplicate(model)] == [False, False, True, False, False]


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_files_keep_what_is_frozen(suffix: str, tmp_path: Any) -> None:
    model = net()
    model[2].freeze()
    pk.save(tmp_path / f"m.{suffix}", model)
    loaded = pk.load(tmp_path / f"m.{suffix}")
    assert [f.frozen for f in loaded] == [False, False, True, False, False]
    np.testing.assert_array_equal(loaded[2].weight, model[2].weight)
    assert len(loaded.get_params_and_grads()[0]) == 4


def test_a_shared_parameter_learns_where_it_is_not_frozen() -> None:
    layer = pk.Linear(3, 3, rng=0)
    twin = layer.shared_copy().freeze()
    model = pk.Sequential([layer, pk.Tanh(), twin])
    model(X)
    model.compute_backward(X)
    alone = pk.Sequential([copy.deepcopy(layer), pk.Tanh(), copy.deepcopy(twin)])
    for g in alone[0].get_params_and_grads()[1]:
        g.fill(0)
    alone(X)
    alone.compute_backward(X)
    np.testing.assert_allclose(layer.grad_weight, alone[0].grad_weight, rtol=1e-12)
