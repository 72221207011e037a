"""Functions that move numbers about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bricks import check_casts, check_derivatives, check_manners, inputs, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pancake.functions.containers import Sequential
from pancake.functions.elementwise import Mean, Sum
from pancake.functions.shapes import Expand, Flatten, Reshape, Transpose

ALL = [
    "Transpose((1, 0, 2))",
    "Transpose([0, -1, 1])",
    "Transpose((2, 0, 1))",
    "Reshape((-1, 6))",
    "Reshape(-1)",
    "Reshape((2, 3, 4))",
    "Flatten()",
    "Expand(0, 2)",
    "Expand(1, 3)",
    "Expand(-1, 1)",
    "Expand(-2, 2)",
]


@pytest.mark.parametrize("expression", ALL)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_derivatives(expression: str, seed: int) -> None:
    check_derivatives(make(expression), np.random.default_rng(seed).normal(size=(4, 2, 3)))


@pytest.mark.parametrize("expression", ALL)
def test_manners(expression: str) -> None:
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    check_manners(expression, x)
    check_casts(expression, x)


@given(x=inputs(2, 3), data=st.data())
def test_transpose_and_back(x: Any, data: st.DataObject) -> None:
    axes = data.draw(st.permutations(range(x.ndim)))
    y = Transpose(axes).compute_forward(x)
    assert_array_equal(y, x.transpose(axes))
    assert_array_equal(Transpose(np.argsort(axes)).compute_forward(y), x)


@given(x=inputs(2, 3))
def test_reshape_and_back(x: Any) -> None:
    model = Sequential([Reshape((3, -1)), Reshape(x.shape)])
    assert_array_equal(model.compute_forward(x), x)
    assert_array_equal(model.compute_backward(2 * x), 2 * x)


@given(x=inputs(2, 3), data=st.data())
def test_sum_and_expand_are_derivatives_of_each_other(x: Any, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, x.ndim))
    copies = data.draw(st.integers(1, 4))
    expand, total = Expand(axis, copies), Sum(axis)
    y = expand.compute_forward(x)
    assert y.shape[axis] == copies
    assert_array_equal(total.compute_forward(y), expand.compute_backward(y))
    assert_array_equal(total.compute_backward(x), y)
    assert_array_equal(Mean(axis).compute_forward(Expand(axis, 4).compute_forward(x)), x)


@given(x=inputs(2, 3))
def test_flatten(x: Any) -> None:
    y = Flatten().compute_forward(x)
    assert_array_equal(y, x.reshape(len(x), -1))
    assert y.ndim == 2


def test_flatten_makes_features_of_single_numbers() -> None:
    assert Flatten().compute_forward([1.0, 2.0]).shape == (2, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Transpose((0, 0)), ValueError, "axes"),
        (lambda: Transpose((0, 2)), ValueError, "axes"),
        (lambda: Transpose((0, 1.0)), TypeError, "Transpose: expected axes to be a whole number, got 1.0"),  # type: ignore[arg-type]
        (lambda: Transpose(1), TypeError, "Transpose: expected axes to be a sequence of whole numbers, got 1"),  # type: ignore[arg-type]
        (lambda: Transpose((1, 0)).compute_forward(np.ones((2, 3, 4))), ValueError, r"an input of 2 axes, got \(2, 3, 4\)"),
        (lambda: Reshape((-1, -1)), ValueError, "-1 at most once"),
        (lambda: Reshape((0, 2)), ValueError, "at least 1"),
        (lambda: Reshape("ab"), TypeError, "Reshape: expected shape to be a sequence of whole numbers, got 'ab'"),  # type: ignore[arg-type]
        (lambda: Reshape((2, 2)).compute_forward(np.ones(5)), ValueError, r"an input with 4 entries, got \(5,\), which has 5"),
        (lambda: Reshape((-1, 2)).compute_forward(np.ones(5)), ValueError, "with a multiple of 2 entries"),
        (lambda: Flatten().compute_forward(1.0), ValueError, r"Flatten\(\): expected a batch"),
        (lambda: Expand(0, 0), ValueError, "Expand: expected copies of at least 1"),
        (lambda: Expand(None, 2), TypeError, "Expand: expected axis to be a whole number"),  # type: ignore[arg-type]
        (
            lambda: Expand(3, 2).compute_forward(np.ones(5)),
            ValueError,
            r"Expand\(3, 2\): expected different axes of an array of 2",
        ),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
