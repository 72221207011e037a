"""The gradient norm of each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pancake as pk


def trained_once(model: pk.Function, x: np.ndarray, y: np.ndarray) -> Any:
    loss = pk.MeanSquaredError()
    loss(model(x), y)
    model.accumulate_grads(loss.compute_backward())
    return model


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4), scale=st.sampled_from([1e-200, 1.0, 1e150]), seed=st.integers(0, 9)
)
def test_it_is_the_euclidean_norm_of_all_that_a_layer_has(sizes: list[int], scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = pk.mlp(sizes, rng=rng)
    for grad in model.get_params_and_grads()[1]:
        grad[...] = scale * rng.normal(size=grad.shape)
    norms = pk.gradient_norms(model)
    layers = [(i, layer) for i, layer in enumerate(model) if isinstance(layer, pk.Linear)]
    assert list(norms) == [f"{i} Linear" for i, _ in layers]
    for norm, (_, layer) in zip(norms.values(), layers, strict=True):
        unscaled = np.concatenate([layer.grad_weight.ravel(), layer.grad_bias]) / scale
        assert norm == pytest.approx(scale * np.linalg.norm(unscaled), rel=1e-9)


def test_layers_inside_parts_have_their_places() -> None:
    model = pk.Sequential([pk.Embedding(5, 3, rng=0), pk.Unrolled(pk.LSTMCell(3, 4, rng=0)), pk.Residual(pk.Linear(4, 4, rng=0))])
    trained_once(model, np.array([[0, 1], [2, 3]]), np.zeros((2, 2, 4)))
    norms = pk.gradient_norms(model)
    assert [name.split()[1] for name in norms] == ["Embedding", "LSTMCell", "Linear"]
    assert [name.split()[0] for name in norms][:2] == ["0", "1.cell"]
    assert all(norm > 0 for norm in norms.values())
    total = np.sqrt(sum(np.square(grad).sum() for grad in model.get_params_and_grads()[1]))
    assert np.linalg.norm(list(norms.values())) == pytest.approx(total)


def test_a_single_layer_and_one_of_the_users_own() -> None:
    layer = trained_once(pk.Linear(2, 1, rng=0), np.ones((3, 2)), np.zeros((3, 1)))
    assert list(pk.gradient_norms(layer)) == ["Linear"]

    class Scale(pk.Function):
        def __init__(self) -> None:
            self.k, self.grad_k = np.ones(1), np.full(1, -3.0)

        def get_params_and_grads(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
            return [self.k], [self.grad_k]

    assert pk.gradient_norms(pk.Sequential([Scale()])) == {"0 Scale": 3.0}


def test_a_shared_parameter_counts_once() -> None:
    layer = pk.Linear(2, 2, rng=0)
    model = trained_once(pk.Sequential([layer, pk.Tanh(), layer.shared_copy()]), np.ones((3, 2)), np.zeros((3, 2)))
    assert list(pk.gradient_norms(model)) == ["0 Linear"]


def test_zero_and_not_finite() -> None:
    model: Any = pk.mlp([2, 2, 1], rng=0)
    assert list(pk.gradient_norms(model).values()) == [0, 0]
    model[0].grad_weight[0, 0] = np.nan
    model[2].grad_weight[0, 0] = -np.inf
    first, last = pk.gradient_norms(model).values()
    assert np.isnan(first)
    assert last == np.inf


@pytest.mark.parametrize(
    ("model", "error", "message"), [(3, TypeError, "expected a Function"), (pk.ReLU(), ValueError, "has no parameters")]
)
def test_refuses(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"gradient_norms: .*{message}"):
        pk.gradient_norms(model)


class Frozen(pk.Linear):
    """A layer that is there, and not trained."""

    def get_params_and_grads(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return [], []

    def compute_backward(self, dObj_dOut: np.ndarray) -> np.ndarray:
        return dObj_dOut @ self.weight


def test_what_is_not_trained_has_no_norm_and_no_part_in_clipping() -> None:
    model = pk.Sequential([Frozen(3, 2, rng=0), pk.Linear(2, 1, rng=0)])
    trained_once(model, np.ones((3, 3)), np.zeros((3, 1)))
    assert list(pk.gradient_norms(model)) == ["1 Linear"]
    assert pk.clip_grad_norm(model, 1e9) == pytest.approx(pk.gradient_norms(model)["1 Linear"])
    with pytest.raises(ValueError, match="has no parameters to train"):
        pk.gradient_norms(model[0])
    before = model[0].weight.copy()
    pk.fit(model, pk.MeanSquaredError(), pk.Adam(model), np.ones((3, 3)), np.zeros((3, 1)), clip_norm=1.0, progress=False)
    assert (model[0].weight == before).all()
