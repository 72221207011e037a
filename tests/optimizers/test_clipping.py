"""Clipping: one length of all gradients, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pancake as pk


@given(
    exponent=st.integers(-36, 36),
    dtype=st.sampled_from([np.float32, np.float64]),
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    seed=st.integers(0, 9),
)
def test_the_length_is_right_near_0_and_far_from_it(exponent, dtype, sizes, seed):
    rng = np.random.default_rng(seed)
    model = pk.mlp(sizes, rng=0, dtype=dtype)
    grads = model.get_params_and_grads()[1]
    for g in grads:
        g[...] = rng.normal(size=g.shape) * 10.0**exponent
    exact = np.sqrt(sum(np.square(g.astype(np.longdouble)).sum() for g in grads))
    largest = max(float(np.abs(g).max()) for g in grads)
    norm = pk.clip_grad_norm(model, 1.0)
    assert norm == pytest.approx(float(exact), rel=1e-5 if dtype is np.float32 else 1e-12)
    now = max(float(np.abs(g).max()) for g in grads)
    assert now == pytest.approx(largest / (norm + 1e-6) if norm > 1 else largest, rel=1e-5)


def test_large_numbers_in_float16_and_float64():
    for dtype, size in ((np.float16, 6e4), (np.float64, 1e300), (np.float64, 1e-300)):
        layer = pk.Linear(1, 1, rng=0, dtype=dtype)
        layer.grad_weight, layer.grad_bias = 0.75 * size, size
        assert pk.clip_grad_norm(layer, 1e301) == pytest.approx(1.25 * size, rel=1e-3)
    layer = pk.Linear(1, 1, rng=0, dtype=np.float16)
    layer.grad_weight, layer.grad_bias = 3e4, 4e4
    pk.clip_grad_norm(layer, 5.0)
    np.testing.assert_allclose([layer.grad_weight.item(), layer.grad_bias.item()], [3, 4], rtol=2e-3)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_is_told(value):
    layer = pk.Linear(2, 1, rng=0)
    layer.grad_weight[0, 1] = value
    np.testing.assert_equal(pk.clip_grad_norm(layer, 1.0), value)


@pytest.mark.parametrize("far", [np.inf, float("inf"), np.float64(np.inf)])
def test_no_length_is_too_long_for_infinity(far):
    layer = pk.Linear(1, 1, rng=0)
    layer.grad_weight, layer.grad_bias = 30.0, 40.0
    assert pk.clip_grad_norm(layer, far) == 50
    assert (layer.grad_weight.item(), layer.grad_bias.item()) == (30, 40)


def test_nothing_to_clip():
    assert pk.clip_grad_norm(pk.ReLU(), 1.0) == 0.0
    assert pk.clip_grad_norm([], 1.0) == 0.0
    assert pk.clip_grad_norm(pk.Linear(2, 1, rng=0), 0.0) == 0.0


def test_values_are_clipped_one_by_one():
    model = pk.Sequential([pk.Linear(2, 1, rng=0), pk.Linear(1, 1, rng=0)])
    model[0].grad_weight = [[-3.0, 0.5]]
    model[1].grad_bias = 2.0
    pk.clip_grad_value([model[0]], 1.0)
    assert model[0].grad_weight.tolist() == [[-1.0, 0.5]]
    assert model[1].grad_bias.tolist() == [2.0]
    pk.clip_grad_value(model, 1.0)
    assert model[1].grad_bias.tolist() == [1.0]


def test_a_shared_parameter_counts_once():
    layer = pk.Linear(2, 2, rng=0)
    layer.grad_weight = 1.0
    assert pk.clip_grad_norm([layer, layer.shared_copy()], 9.0) == 2.0


@pytest.mark.parametrize("clip", [pk.clip_grad_norm, pk.clip_grad_value])
@pytest.mark.parametrize("model", [3, [np.ones(2)], {pk.ReLU()}, pk.Linear])
def test_what_has_no_gradients(clip, model):
    with pytest.raises(TypeError, match=f"^{clip.__name__}: expected a Function or a list of Functions"):
        clip(model, 1.0)
    with pytest.raises(ValueError, match="at least 0"):
        clip(pk.Linear(1, 1, rng=0), -1.0)
