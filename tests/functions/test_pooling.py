"""Pooling: where the gradient of a maximum goes, known results, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

from pancake import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
from pancake.testing.strategies import functions


def test_the_largest_of_each_window_takes_the_gradient() -> None:
    pool = MaxPool1d(2)
    assert_array_equal(pool.compute_forward([[[1.0, 3.0, 5.0, 2.0, 9.0]]]), [[[3, 5]]])  # the last one is in no window
    assert_array_equal(pool.compute_backward(np.array([[[10.0, 20.0]]])), [[[0, 10, 20, 0, 0]]])


def test_of_equal_numbers_the_first_takes_it_row_by_row() -> None:
    pool = MaxPool2d(2)
    pool.compute_forward(np.array([[[[1.0, 2.0], [2.0, 2.0]]]]))
    assert_array_equal(pool.compute_backward(np.ones((1, 1, 1, 1))), [[[[0, 1], [0, 0]]]])


def test_where_windows_overlap_gradients_add_up() -> None:
    pool = MaxPool1d(3, stride=1, padding=1)
    assert_array_equal(pool.compute_forward([[[1.0, 5.0, 2.0, 0.0]]]), [[[5, 5, 5, 2]]])
    assert_array_equal(pool.compute_backward(np.array([[[1.0, 10.0, 100.0, 1000.0]]])), [[[0, 111, 1000, 0]]])


def test_padding_is_never_the_largest() -> None:
    x = np.full((1, 1, 4, 4), -1e4)
    pool = MaxPool2d(3, stride=2, padding=1)
    assert_array_equal(pool.compute_forward(x), -1e4)
    assert pool.compute_backward(np.ones((1, 1, 2, 2))).sum() == 4


def test_nan_is_not_swept_under_a_maximum() -> None:
    x = np.array([[[1.0, np.nan, 2.0, 3.0]]])
    assert_array_equal(MaxPool1d(2).compute_forward(x), [[[np.nan, 3]]])


def test_means_count_the_padding() -> None:
    pool = AvgPool1d(2, stride=2, padding=1)
    assert_array_equal(pool.compute_forward([[[2.0, 4.0, 6.0]]]), [[[1, 5]]])
    assert_array_equal(pool.compute_backward(np.array([[[1.0, 10.0]]])), [[[0.5, 5, 5]]])


@given(functions(MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d))
def test_each_channel_of_each_example_is_pooled_by_itself(drawn: Any) -> None:
    function, x = drawn
    y = function.compute_forward(x)
    for b, c in np.ndindex(*x.shape[:2]):
        alone = function.compute_forward(x[b : b + 1, c : c + 1])[0, 0]
        assert_allclose(alone, y[b, c], rtol=1e-14)  # a mean of so many may be added up in another order


@given(functions(MaxPool1d, MaxPool2d))
def test_a_maximum_hands_on_all_of_the_gradient(drawn: Any) -> None:
    function, x = drawn
    function.train()
    y = function.compute_forward(x)
    assert_allclose(function.compute_backward(np.ones_like(y)).sum(), y.size, rtol=1e-12)


def test_results_are_fresh_whatever_the_window() -> None:
    for pool in (MaxPool2d(1), AvgPool2d(1), Upsample(1)):
        x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
        y = pool.compute_forward(x)
        assert_array_equal(y, x)
        assert not np.shares_memory(y, x)
        d = pool.compute_backward(y)
        assert_array_equal(d, y)
        assert not np.shares_memory(d, y)


def test_the_mean_of_an_image() -> None:
    pool, x = GlobalAvgPool2d(), np.arange(24.0).reshape(1, 2, 3, 4)
    assert_allclose(pool.compute_forward(x), [[5.5, 17.5]])
    assert_allclose(pool.compute_backward(np.array([[12.0, 24.0]]))[0, :, 1, 2], [1, 2])


def test_larger_images() -> None:
    up = Upsample((1, 2))
    assert_array_equal(up.compute_forward([[[[1.0, 2.0], [3.0, 4.0]]]]), [[[[1, 1, 2, 2], [3, 3, 4, 4]]]])
    assert_array_equal(up.compute_backward(np.arange(8.0).reshape(1, 1, 2, 4)), [[[[1, 5], [9, 13]]]])
    assert Upsample(3).compute_forward(np.ones((2, 1, 4))).shape == (2, 1, 12)
    assert Upsample((3,)).compute_forward(np.ones((2, 1, 4))).shape == (2, 1, 12)


def test_repr_says_what_was_said() -> None:
    pools = [MaxPool1d(2), MaxPool2d((3, 2), stride=1, padding=(1, 0)), AvgPool2d(2, 2), Upsample(2), Upsample((2, 3))]
    assert ", ".join(map(repr, pools)) == (
        "MaxPool1d(2), MaxPool2d((3, 2), stride=1, padding=(1, 0)), AvgPool2d(2, stride=2), Upsample(2), Upsample((2, 3))"
    )


@pytest.mark.parametrize("cls", [MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d])
def test_refuses_windows_of_nothing(cls: Any) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__}: expected padding of at most half of kernel_size 3, got 2"):
        cls(3, padding=2)
    with pytest.raises(ValueError, match=f"{cls.__name__}: expected kernel_size of at least 1, got 0"):
        cls(0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MaxPool2d(2, stride=0), ValueError, "MaxPool2d: expected stride of at least 1, got 0"),
        (lambda: MaxPool2d("two"), TypeError, "MaxPool2d: expected kernel_size to be a whole number, got 'two'"),  # type: ignore[arg-type]
        (
            lambda: MaxPool2d(2)(np.ones((2, 3, 4))),
            ValueError,
            r"MaxPool2d\(2\): expected \(B, C, H, W\), got \(2, 3, 4\); x\[:, np",
        ),
        (
            lambda: MaxPool1d(2)(np.ones((2, 3))),
            ValueError,
            r"MaxPool1d\(2\): expected \(B, C, L\), got \(2, 3\); Reshape\(\(-1, C, L",
        ),
        (
            lambda: AvgPool2d(5)(np.ones((2, 3, 4, 9))),
            ValueError,
            r"AvgPool2d\(5\): expected images of at least \(5, 5\), got \(4, 9",
        ),
        (lambda: GlobalAvgPool2d()(np.ones((2, 3))), ValueError, r"GlobalAvgPool2d\(\): expected \(B, C, H, W\), got \(2, 3\)"),
        (lambda: Upsample(0), ValueError, "Upsample: expected scale of at least 1, got 0"),
        (lambda: Upsample(1.5), TypeError, "Upsample: expected scale to be a whole number, got 1.5"),  # type: ignore[arg-type]
        (lambda: Upsample(2**62), ValueError, "Upsample: expected scale of at most 2147483648, got 4611686018427387904"),
        (lambda: Upsample((1, 2, 3)), ValueError, r"Upsample: expected scale to be a whole number or 2 of them, got \(1, 2, 3\)"),
        (
            lambda: Upsample((2, 2))(np.ones((2, 3, 4))),
            ValueError,
            r"Upsample\(\(2, 2\)\): expected \(B, C, H, W\), got \(2, 3, 4",
        ),
        (lambda: Upsample(2)(np.ones((2, 3))), ValueError, r"Upsample\(2\): expected \(B, C, H, W\), got \(2, 3\)"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
