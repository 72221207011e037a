"""Rows of a table in place of indices, and the two halves of a linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bricks import check_casts, check_derivatives, check_manners, check_stability, inputs, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk
from pancake.functions.containers import Sequential
from pancake.functions.embedding import Embedding
from pancake.functions.linear import AddBias, Linear, MatMul
from pancake.testing import check_function

indices = st.builds(
    lambda shape, seed: np.random.default_rng(seed).integers(0, 6, shape),
    st.lists(st.integers(1, 5), max_size=3),
    st.integers(0, 2**32 - 1),
)


class TestEmbedding:
    @settings(max_examples=20)
    @given(x=indices)
    def test_derivatives(self, x: Any) -> None:
        check_derivatives(Embedding(6, 3, rng=0), x)

    @given(x=indices, dim=st.integers(1, 4), dtype=st.sampled_from(["f2", "f4", "f8", "g"]), seed=st.integers(0, 100))
    def test_by_the_book(self, x: Any, dim: int, dtype: str, seed: int) -> None:
        layer = Embedding(6, dim, rng=seed, dtype=dtype)
        layer.grad_weight = 0.5
        assert_array_equal(layer.compute_forward(x), layer.weight[x])
        d = np.random.default_rng(seed).normal(size=(*x.shape, dim)).astype(dtype)
        for upstream in (d, np.asfortranarray(d)):
            dObj_dIn = layer.compute_backward(upstream)
            assert dObj_dIn.shape == x.shape
            assert not dObj_dIn.any()
        expected = np.full((6, dim), 0.5, "g")
        for i, row in zip(x.ravel(), d.reshape(-1, dim), strict=True):
            expected[i] += 2 * row
        assert_allclose(layer.grad_weight, expected, rtol=0, atol=200 * np.finfo(dtype).eps)

    def test_manners(self) -> None:
        check_function(Embedding(6, 3, rng=0), np.array([[1, 2, 2], [0, 5, 1]]))
        layer = Embedding(6, 3)
        with pytest.raises(RuntimeError, match=r"Embedding\(6, 3\): compute_backward needs a compute_forward"):
            layer.compute_backward(np.ones((1, 3)))
        with pytest.raises(RuntimeError, match="compute_forward before"):
            layer.accumulate_grads(np.ones((1, 3)))
        assert repr(make("Embedding(6, 3, dtype=np.float32)")) == "Embedding(6, 3, dtype=np.float32)"

    def test_sends_gradients_to_its_rows(self) -> None:
        layer = Embedding(5, 5)
        layer.weight = np.eye(5)
        layer.compute_forward([[1, 2, 3], [2, 3, 4]])
        layer.compute_backward(np.ones((2, 3, 5)))
        assert_array_equal(layer.grad_weight, np.outer([0, 1, 2, 2, 1], np.ones(5)))

    @pytest.mark.parametrize("rows", [100, 100_000])
    def test_many_indices(self, rows: int) -> None:
        """As np.bincount sums them, column by column."""
        rng = np.random.default_rng(0)
        layer = Embedding(rows, 4, rng=0)
        x, d = rng.integers(0, rows, 10_000), rng.normal(size=(10_000, 4))
        layer.compute_forward(x)
        layer.accumulate_grads(d)
        expected = np.stack([np.bincount(x, column, rows) for column in d.T], axis=1)
        assert_allclose(layer.grad_weight, expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, ">i4"])
    def test_any_integers(self, dtype: Any) -> None:
        layer = Embedding(300, 2, rng=0)
        x = np.array([[1, 2], [255, 0]])[:, ::-1].astype(np.uint8).astype(dtype)
        assert_array_equal(layer.compute_forward(x), layer.weight[x.astype(int)])
        assert layer.compute_forward(3).shape == (2,)

    def test_dtype_and_layout(self) -> None:
        layer = Embedding(4, 3, dtype=np.float32)
        assert layer.weight.flags.c_contiguous
        assert layer.compute_forward([1]).dtype == layer.compute_backward(np.ones((1, 3))).dtype == np.float32
        layer.astype(np.float64)
        layer.compute_forward([1, 1])
        layer.compute_backward(np.ones((2, 3)))
        assert_array_equal(layer.grad_weight[1], [3, 3, 3])

    def test_drawn_from_the_standard_normal(self) -> None:
        layer = Embedding(1000, 100, rng=0)
        assert_allclose([layer.weight.mean(), layer.weight.std()], [0, 1], atol=0.01)
        again = Embedding(1000, 100, rng=1)
        again.reset_parameters(0)
        assert_array_equal(again.weight, layer.weight)

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            ([0, 6], ValueError, r"Embedding\(6, 3\): expected indices from 0 to 5, got values from 0 to 6; .* make it 7$"),
            ([0, -1], ValueError, "got values from -1 to 0"),
            ([1.0], TypeError, r"Embedding\(6, 3\): expected whole numbers, got an input of dtype float64; use x.astype\(int\)"),
            ([True], TypeError, "dtype bool"),
            (["a"], TypeError, "expected whole numbers"),
            (np.zeros((0, 2), int), ValueError, r"empty input of shape \(0, 2\)"),
            ([[1, 2], [3]], ValueError, r"Embedding\(6, 3\): expected input to be an array, got rows of different"),
        ],
    )
    def test_refuses(self, x: Any, error: type[Exception], message: str) -> None:
        layer = Embedding(6, 3)
        with pytest.raises(error, match=message):
            layer.compute_forward(x)


class TestProducts:
    @pytest.mark.parametrize("expression", ["MatMul(4, 2)", "MatMul(4, 2, init='glorot_uniform')", "AddBias(4)"])
    @settings(max_examples=12)
    @given(x=inputs(4, leading=3))
    def test_derivatives(self, expression: str, x: Any) -> None:
        check_derivatives(make(expression), x)

    @pytest.mark.parametrize("expression", ["MatMul(4, 2)", "AddBias(4)"])
    def test_manners(self, expression: str) -> None:
        x = np.random.default_rng(0).normal(size=(3, 4))
        check_manners(expression, x)
        check_casts(expression, x)
        check_stability(expression, np.float32)

    @given(x=inputs(4, leading=3), seed=st.integers(0, 100))
    def test_together_they_are_linear(self, x: Any, seed: int) -> None:
        linear, pair = Linear(4, 2, rng=seed), Sequential([MatMul(4, 2, rng=seed), AddBias(2)])
        linear.bias = pair[1].bias = [0.5, -1.0]  # type: ignore[attr-defined]
        assert_array_equal(linear.weight, pair[0].weight)  # type: ignore[attr-defined]
        y = linear.compute_forward(x)
        assert_allclose(pair.compute_forward(x), y, rtol=1e-12, atol=1e-12)
        assert_allclose(pair.compute_backward(y), linear.compute_backward(y), rtol=1e-12, atol=1e-12)
        for ours, theirs in zip(pair.get_params_and_grads()[1], linear.get_params_and_grads()[1], strict=True):
            assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)

    def test_reset(self) -> None:
        product, bias = MatMul(4, 2, rng=0), AddBias(2)
        weight = product.weight.copy()
        product.reset_parameters(1)
        assert not np.array_equal(product.weight, weight)
        product.reset_parameters(0)
        assert_array_equal(product.weight, weight)
        bias.bias = 1.0
        bias.reset_parameters()
        assert_array_equal(bias.bias, [0, 0])

    @pytest.mark.parametrize("expression", ["MatMul(4, 2)", "AddBias(4)"])
    @pytest.mark.parametrize("shape", [(), (3,), (4, 3)])
    def test_refuses(self, expression: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"expected \(..., 4\), got"):
            make(expression).compute_forward(np.ones(shape))

    def test_refuses_unknown_schemes(self) -> None:
        with pytest.raises(ValueError, match="he_normal"):
            MatMul(4, 2, init="best")


class TestInitialisation:
    def test_what_is_drawn(self) -> None:
        assert_array_equal(Embedding(4, 3, rng=5).weight, np.random.default_rng(5).standard_normal((4, 3)))
        assert not Embedding(4, 3, init="zeros").weight.any()
        shapes = []

        def small(n_in: int, n_out: int, rng: np.random.Generator) -> Any:
            shapes.append((n_in, n_out))
            return rng.normal(0, 0.02, (n_out, n_in))

        layer = Embedding(1000, 8, init=small, rng=0)
        assert shapes == [(8, 1000)]
        assert layer.weight.std() == pytest.approx(0.02, rel=0.05)
        layer.reset_parameters(0)
        assert len(shapes) == 2

    def test_repr_and_files(self, tmp_path: Any) -> None:
        layer = make("Embedding(6, 3, init='glorot_uniform')")
        assert repr(layer) == "Embedding(6, 3, init='glorot_uniform')"
        pk.save(tmp_path / "e.npz", layer)
        loaded = pk.load(tmp_path / "e.npz")
        assert repr(loaded) == repr(layer)
        assert_array_equal(loaded.weight, layer.weight)

    def test_unknown_names_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^Embedding: unknown initializer 'uniform'"):
            Embedding(4, 3, init="uniform")
