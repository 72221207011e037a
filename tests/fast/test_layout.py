"""Sequences that lie in memory with time first give what those in the usual order give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake import CrossEntropy, Embedding, Linear
from pancake.fast.layout import merged, time_first, unmerged

shapes = st.tuples(*[st.integers(1, 4)] * 3)


def swapped(x: Any) -> Any:
    """The same array, with time first in memory."""
    return x.swapaxes(0, 1).copy().swapaxes(0, 1)


@given(shapes, st.booleans())
def test_merging_and_unmerging(shape: Any, swap: bool) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    x = swapped(x) if swap else x
    rows = merged(x, swap, shape[2])
    assert rows.shape == (shape[0] * shape[1], shape[2])
    assert np.shares_memory(rows, x)
    np.testing.assert_array_equal(unmerged(rows, swap, shape), x)


def test_which_lie_with_time_first() -> None:
    x = np.zeros((3, 5, 4))
    assert time_first(swapped(x))
    assert not time_first(x)
    assert time_first(np.asfortranarray(x))  # class-major: (F, T, B) in memory
    assert not time_first(np.asfortranarray(x)[::2])
    assert not time_first(swapped(x)[:, ::2])
    assert not time_first(np.zeros((1, 5, 4)))  # which lies both ways
    assert not time_first(x[0])


@given(shapes, st.integers(0, 2**32 - 1))
def test_linear(shape: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, layers = rng.normal(size=shape), [Linear(shape[2], 2, rng=0), Linear(shape[2], 2, rng=0)]
    y, z = layers[0](x), layers[1](swapped(x))
    np.testing.assert_allclose(z, y, rtol=1e-12, atol=1e-14)
    d = rng.normal(size=y.shape)
    expected = layers[0].compute_backward(d)
    np.testing.assert_allclose(layers[1].compute_backward(d), expected, rtol=1e-12, atol=1e-14)
    for g, h in zip(*(layer.get_params_and_grads()[1] for layer in layers), strict=True):
        np.testing.assert_allclose(h, g, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(layers[1].compute_backward(swapped(d)), expected, rtol=1e-12, atol=1e-14)


def test_linear_stays_with_time_first() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    assert time_first(Linear(4, 2, rng=0)(swapped(x)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weight": [1.0, 2.0, 3.0, 0.5]}])
def test_cross_entropy(reduction: str, options: Any) -> None:
    rng = np.random.default_rng(0)
    pred, loss = rng.normal(size=(3, 5, 4)), CrossEntropy(reduction=reduction, **options)
    for target in (rng.integers(0, 4, size=(3, 5)), rng.dirichlet(np.ones(4), size=(3, 5))):
        for weight in (None, rng.uniform(size=3), rng.uniform(size=(3, 5))):
            expected, slope = loss(pred, target, weight), loss.compute_backward()
            np.testing.assert_allclose(loss(swapped(pred), target, weight), expected, rtol=1e-12)
            np.testing.assert_allclose(loss.compute_backward(), slope, rtol=1e-12, atol=1e-15)


def test_embedding_puts_time_first() -> None:
    rng = np.random.default_rng(0)
    indices, layer = rng.integers(0, 6, size=(3, 5)), Embedding(6, 4, rng=0)
    y = layer(indices)
    assert time_first(y)
    np.testing.assert_array_equal(y, layer.weight[indices])
    d, expected = rng.normal(size=y.shape), np.zeros((6, 4))
    np.add.at(expected, indices, d)
    for upstream in (d, swapped(d)):
        layer.grad_weight.fill(0)
        layer.accumulate_grads(upstream)
        np.testing.assert_allclose(layer.grad_weight, expected, rtol=1e-12, atol=1e-15)
