"""Normalisation and dropout."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from bricks import check_casts, check_derivatives, check_manners, check_stability, inputs, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.dropout import Dropout
from pancake.functions.normalization import BatchNorm, LayerNorm
from pancake.testing import check_function

NORMS = ["BatchNorm(4)", "BatchNorm(4, momentum=0.3, eps=0.1)", "LayerNorm(4)", "LayerNorm(4, eps=0.1)"]
DROPOUTS = ["Dropout()", "Dropout(p=0.2)", "Dropout(p=0.0)", "Dropout(p=1.0)"]


def drawn(function: Function, seed: int = 0) -> Function:
    """The Function with parameters and buffers that are nothing special."""
    rng = np.random.default_rng(seed)
    for p in function.get_params_and_grads()[0]:
        p[...] = rng.normal(size=p.shape)
    if isinstance(function, BatchNorm):
        function.running_mean[...] = rng.normal(size=4)
        function.running_var[...] = rng.uniform(0.5, 2, 4)
    return function


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("expression", NORMS + DROPOUTS)
@settings(max_examples=12)
@given(x=inputs(3, 4), seed=st.integers(0, 100))
def test_derivatives(expression: str, training: bool, x: Any, seed: int) -> None:
    check_derivatives(drawn(make(expression), seed).train(training), x)


@pytest.mark.parametrize("expression", NORMS + DROPOUTS)
def test_manners(expression: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    check_manners(expression, x)
    check_function(drawn(make(expression)).eval(), x)
    if "Dropout" not in expression:
        check_casts(expression, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("expression", NORMS + DROPOUTS)
def test_extremes(expression: str, dtype: Any) -> None:
    check_stability(expression, dtype)
    check_stability(expression, dtype, edges=np.array([1e4]))  # a variance of 0
    check_stability(expression, dtype, edges=np.array([1e4, -1e4, -1e4]))


class TestBatchNorm:
    @given(x=inputs(3, 4))
    def test_normalises(self, x: Any) -> None:
        y = BatchNorm(4, eps=0).compute_forward(x).reshape(-1, 4)
        assert_allclose(y.mean(axis=0), 0, atol=1e-9)
        assert_allclose(y.var(axis=0), 1, rtol=1e-9)

    @given(x=inputs(3, 4))
    def test_leading_axes_are_examples(self, x: Any) -> None:
        a, b = drawn(BatchNorm(4)), drawn(BatchNorm(4))
        y = a.compute_forward(x)
        rows = b.compute_forward(x.reshape(-1, 4))
        assert_array_equal(y, rows.reshape(x.shape))
        assert_array_equal(a.compute_backward(x), b.compute_backward(x.reshape(-1, 4)).reshape(x.shape))
        assert all(np.array_equal(v, w) for v, w in zip(a.state_dict().values(), b.state_dict().values(), strict=True))

    def test_running_statistics(self) -> None:
        norm = BatchNorm(1, momentum=0.25)
        norm.compute_forward([[1.0], [3.0]])
        assert_array_equal(norm.running_mean, [0.5])
        assert_array_equal(norm.running_var, [0.75 * 1 + 0.25 * 2])  # the unbiased variance
        assert norm.num_batches_tracked == 1
        assert norm.num_batches_tracked.dtype == np.int64

    def test_evaluation_uses_them_and_leaves_them(self) -> None:
        norm = drawn(BatchNorm(4)).eval()
        before = norm.state_dict()
        x = np.random.default_rng(1).normal(size=(1, 4))
        expected = (x - before["running_mean"]) / np.sqrt(before["running_var"] + 1e-5) * before["weight"] + before["bias"]
        assert_allclose(norm.compute_forward(x), expected, rtol=1e-13)
        assert all(np.array_equal(before[key], array) for key, array in norm.state_dict().items())

    def test_backward_is_that_of_the_mode_of_the_forward(self) -> None:
        norm = drawn(BatchNorm(4))
        x = np.random.default_rng(1).normal(size=(3, 4))
        norm.compute_forward(x)
        expected = norm.compute_backward(x)
        norm.eval()
        assert_array_equal(norm.compute_backward(x), expected)

    def test_state_travels(self) -> None:
        model, other = Sequential([drawn(BatchNorm(4))]), Sequential([BatchNorm(4)])
        model.compute_forward(np.random.default_rng(0).normal(size=(3, 4)))
        state = model.state_dict()
        names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
        assert list(state) == [f"0.{name}" for name in names]
        running_mean = other[0].running_mean  # type: ignore[attr-defined]
        other.load_state_dict(state)
        assert all(np.array_equal(array, other.state_dict()[key]) for key, array in state.items())
        assert other[0].running_mean is running_mean  # type: ignore[attr-defined]
        x = np.random.default_rng(1).normal(size=(3, 4))
        assert_array_equal(model.eval().compute_forward(x), other.eval().compute_forward(x))

    def test_copies(self) -> None:
        norm = drawn(BatchNorm(4))
        x = np.random.default_rng(0).normal(size=(3, 4))
        twin, shared = copy.deepcopy(norm), norm.shared_copy()
        norm.compute_forward(x)
        assert twin.num_batches_tracked == 0  # type: ignore[attr-defined]
        assert shared.num_batches_tracked == 1  # type: ignore[attr-defined]
        assert shared.running_mean is norm.running_mean  # type: ignore[attr-defined]

    def test_astype(self) -> None:
        norm = drawn(BatchNorm(4)).astype(np.float32)
        assert norm.running_mean.dtype == norm.running_var.dtype == np.float32  # type: ignore[attr-defined]
        assert norm.num_batches_tracked.dtype == np.int64  # type: ignore[attr-defined]
        assert norm.compute_forward(np.random.default_rng(0).normal(size=(3, 4))).dtype == np.float32
        assert norm.running_var.dtype == np.float32  # type: ignore[attr-defined]

    def test_reset(self) -> None:
        norm = drawn(BatchNorm(4))
        norm.compute_forward(np.random.default_rng(0).normal(size=(3, 4)))
        norm.reset_parameters()
        assert all(
            np.array_equal(a, b) for a, b in zip(norm.state_dict().values(), BatchNorm(4).state_dict().values(), strict=True)
        )

    @pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1, 4)])
    def test_refuses_one_example(self, shape: tuple[int, ...]) -> None:
        norm = BatchNorm(4)
        with pytest.raises(ValueError, match=r"BatchNorm\(4\): expected more than one example in training.*eval\(\)"):
            norm.compute_forward(np.ones(shape))
        assert norm.num_batches_tracked == 0
        assert norm.eval().compute_forward(np.ones(shape)).shape == shape

    def test_large_offset_in_float32(self) -> None:
        x = (1e4 + np.random.default_rng(0).normal(size=(20_000, 2))).astype(np.float32)
        exact, narrow = BatchNorm(2, momentum=1), BatchNorm(2, momentum=1, dtype=np.float32)
        assert_allclose(narrow.compute_forward(x), exact.compute_forward(x), atol=1e-5)
        assert_allclose(narrow.running_mean, exact.running_mean, atol=1e-3)  # the last digit of float32


class TestLayerNorm:
    @given(x=inputs(4))
    def test_normalises(self, x: Any) -> None:
        y = LayerNorm(4, eps=0).compute_forward(x)
        assert_allclose(y.mean(axis=-1), 0, atol=1e-9)
        assert_allclose(y.var(axis=-1), 1, rtol=1e-9)

    def test_same_in_evaluation(self) -> None:
        norm = drawn(LayerNorm(4))
        x = np.random.default_rng(1).normal(size=(3, 4))
        assert_array_equal(norm.compute_forward(x), copy.deepcopy(norm).eval().compute_forward(x))

    def test_equal_features_give_the_bias(self) -> None:
        norm = LayerNorm(3, dtype=np.float32)
        norm.bias = [1.0, 2.0, 3.0]
        assert_array_equal(norm.compute_forward(np.full((2, 3), 1e4)), [[1, 2, 3]] * 2)


class TestDropout:
    def test_drops_a_share_and_keeps_the_mean(self) -> None:
        y = Dropout(0.3, rng=0).compute_forward(np.ones(100_000))
        assert set(np.unique(y)) == {0.0, 1 / 0.7}
        assert_allclose([(y == 0).mean(), y.mean()], [0.3, 1], atol=0.01)

    @given(x=inputs(3, 4), seed=st.integers(0, 2**32 - 1))
    def test_backward_uses_the_mask_of_forward(self, x: Any, seed: int) -> None:
        dropout = Dropout(rng=seed)
        for _ in range(2):
            y = dropout.compute_forward(np.ones_like(x))
            assert_array_equal(dropout.compute_backward(x), y * x)
            assert_array_equal(dropout.compute_backward(x), y * x)

    def test_fresh_mask_each_time(self) -> None:
        dropout, x = Dropout(rng=0), np.ones(100)
        assert not np.array_equal(dropout.compute_forward(x), dropout.compute_forward(x))

    def test_reproducible(self) -> None:
        x = np.ones(100)
        expected = Dropout(rng=5).compute_forward(x)
        assert_array_equal(Dropout(rng=np.random.default_rng(5)).compute_forward(x), expected)
        assert not np.array_equal(Dropout(rng=6).compute_forward(x), expected)
        assert not np.array_equal(Dropout().compute_forward(x), Dropout().compute_forward(x))

    def test_evaluation_is_the_identity_and_draws_nothing(self) -> None:
        dropout, x = Dropout(rng=5), np.random.default_rng(0).normal(size=100)
        dropout.eval()
        assert_array_equal(dropout.compute_forward(x), x)
        assert_array_equal(dropout.compute_backward(2 * x), 2 * x)
        dropout.train()
        assert_array_equal(dropout.compute_forward(x), Dropout(rng=5).compute_forward(x))

    def test_nothing_and_everything(self) -> None:
        x = np.random.default_rng(0).normal(size=100)
        for p, factor in ((0, 1), (1, 0)):
            dropout = Dropout(p)
            assert_array_equal(dropout.compute_forward(x), factor * x)
            assert_array_equal(dropout.compute_backward(x), factor * x)

    def test_shared_copies_share_the_generator(self) -> None:
        dropout = Dropout(rng=5)
        x = np.ones(100)
        assert not np.array_equal(dropout.shared_copy().compute_forward(x), dropout.compute_forward(x))
        assert_array_equal(copy.deepcopy(dropout).compute_forward(x), dropout.compute_forward(x))

    def test_single_number_and_dtype(self) -> None:
        assert Dropout(0.5, rng=0).compute_forward(3) in (0.0, 6.0)
        for training in (True, False):
            dropout = Dropout(0.3).train(training)
            y = dropout.compute_forward(np.ones((2, 3), np.float32))
            assert y.dtype == dropout.compute_backward(np.ones((2, 3))).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Dropout(1.5), ValueError, "Dropout: expected p from 0 to 1, got 1.5"),
        (lambda: Dropout(-0.1), ValueError, "Dropout: expected p .*, got -0.1"),
        (lambda: Dropout("half"), TypeError, "Dropout: expected p to be a number"),  # type: ignore[arg-type]
        (lambda: BatchNorm(0), ValueError, "BatchNorm: expected n of at least 1"),
        (lambda: BatchNorm(3, momentum=2), ValueError, "BatchNorm: expected momentum from 0 to 1, got 2"),
        (lambda: BatchNorm(3, eps=-1), ValueError, "BatchNorm: expected eps at least 0"),
        (lambda: BatchNorm(3, dtype=int), TypeError, "BatchNorm: expected a floating dtype"),
        (lambda: BatchNorm(3).compute_forward(np.ones((2, 4))), ValueError, r"BatchNorm\(3\): expected \(..., 3\), got \(2, 4\)"),
        (lambda: LayerNorm(3).compute_forward(1.0), ValueError, r"LayerNorm\(3\): expected \(..., 3\), got \(\)"),
        (lambda: LayerNorm(1.5), TypeError, "LayerNorm: expected n to be a whole number"),  # type: ignore[arg-type]
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("expression", ["BatchNorm(4)", "LayerNorm(4)", "RMSNorm(4)", "GroupNorm(1, 4)"])
def test_float16_far_from_0(expression: str) -> None:
    x = np.random.default_rng(0).normal(scale=300, size=(6, 4))
    wide, narrow = make(expression), make(expression).astype(np.float16)
    d = np.random.default_rng(1).normal(size=x.shape)
    with np.errstate(over="ignore"):  # of the running variance, which float16 cannot hold
        y = narrow(x)
    assert_allclose(y, wide(x), rtol=4e-3, atol=4e-3)
    scale = np.abs(wide.compute_backward(d)).max()
    assert_allclose(narrow.compute_backward(d), wide.compute_backward(d), rtol=0, atol=0.02 * scale)
