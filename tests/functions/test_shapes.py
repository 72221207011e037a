"""Functions that move numbers about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bricks import check_casts, check_derivatives, check_manners, inputs, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import pancake as pk
from pancake.functions.branches import Concatenate
from pancake.functions.containers import Sequential
from pancake.functions.elementwise import Mean, Sum
from pancake.functions.embedding import Embedding
from pancake.functions.shapes import Expand, Flatten, Reshape, Select, Transpose

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
    "Select(0)",
    "Select(-1, axis=1)",
    "Select(slice(1, None))",
    "Select(slice(None, None, -2), axis=0)",
    "Select([2, 0, 2])",
    "Select([0], axis=-2)",
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
    if not expression.startswith("Select"):  # which keeps whole numbers
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
        (
            lambda: Transpose(np.array(1)),
            TypeError,
            r"Transpose: expected axes to be a sequence of whole numbers, got array\(1\)",
        ),
        (lambda: Reshape(np.array(3)), TypeError, r"Reshape: expected shape to be a sequence of whole numbers, got array\(3\)"),
        (lambda: Transpose(1), TypeError, "Transpose: expected axes to be a sequence of whole numbers, got 1"),  # type: ignore[arg-type]
        (lambda: Transpose((1, 0)).compute_forward(np.ones((2, 3, 4))), ValueError, r"an input of 2 axes, got \(2, 3, 4\)"),
        (lambda: Reshape((-1, -1)), ValueError, "-1 at most once"),
        (lambda: Reshape((0, 2)), ValueError, "at least 1"),
        (lambda: Reshape("ab"), TypeError, "Reshape: expected shape to be a sequence of whole numbers, got 'ab'"),  # type: ignore[arg-type]
        (lambda: Reshape((2, 2)).compute_forward(np.ones(5)), ValueError, r"an input with 4 entries, got \(5,\), which has 5"),
        (lambda: Reshape((-1, 2)).compute_forward(np.ones(5)), ValueError, "with a multiple of 2 entries"),
        (lambda: Flatten().compute_forward(1.0), ValueError, r"Flatten\(\): expected a batch"),
        (lambda: Expand(0, 0), ValueError, "Expand: expected copies of at least 1"),
        (lambda: Expand(0, 10**20), ValueError, "Expand: expected copies of at most 9223372036854775807, got 1000000"),
        (lambda: Expand(10**20, 1)(np.ones(3)), ValueError, "expected different axes of an array of 2 axes, got 1000000"),
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


class TestSelect:
    @given(x=inputs(3), data=st.data())
    def test_as_numpy_has_it(self, x: Any, data: st.DataObject) -> None:
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        ends = st.none() | st.integers(-4, 4)
        entry = st.integers(-x.shape[axis], x.shape[axis] - 1)
        index = data.draw(
            entry | st.lists(entry, min_size=1, max_size=4) | st.builds(slice, ends, ends, st.sampled_from([None, 2, -1]))
        )
        moved = np.moveaxis(x, axis, 0)[index]
        expected = moved if isinstance(index, int) else np.moveaxis(moved, 0, axis)
        select = Select(index, axis=axis)
        if not expected.size:
            with pytest.raises(ValueError, match="that has these entries"):
                select(x)
            return
        assert_array_equal(select(x), expected)
        d = np.random.default_rng(0).normal(size=expected.shape)
        assert np.vdot(select.compute_backward(d), x) == pytest.approx(
            np.vdot(d, expected), abs=1e-9
        )  # backward is the transpose

    def test_columns_of_whole_numbers_reach_an_embedding(self) -> None:
        words = Sequential([Select(0), Embedding(5, 2, rng=0)])
        model = Concatenate([words, Select(slice(1, None))])
        x = np.array([[4, 10, 20], [0, 30, 40]])
        assert_array_equal(model(x)[:, 2:], x[:, 1:])
        assert_array_equal(model(x)[:, :2], words[1].weight[[4, 0]])  # type: ignore[union-attr]
        assert_array_equal(model.compute_backward(np.ones((2, 4))), [[0, 1, 1], [0, 1, 1]])

    def test_a_gradient_of_float32_stays(self) -> None:
        select = Select(1)
        assert select(np.ones((2, 3), np.float32)).dtype == np.float32
        assert select.compute_backward(np.ones(2, np.float32)).dtype == np.float32

    def test_files(self, tmp_path: Any) -> None:
        for index in (1, -1, slice(1, None), slice(None, -1, 2), [0, 2, 2], np.array([1, 0])):
            select = Select(index, axis=1)
            pk.save(tmp_path / "s.npz", select)
            loaded = pk.load(tmp_path / "s.npz")
            assert repr(loaded) == repr(select)
            x = np.arange(12.0).reshape(3, 4)
            assert_array_equal(loaded(x), x[:, index])

    @pytest.mark.parametrize("index", [None, "0", 1.5, [0.5], True, [True, False], [], [[0]], slice(0.5, None), np.array([True])])
    def test_what_is_no_index(self, index: Any) -> None:
        with pytest.raises(TypeError, match="Select: expected index"):
            Select(index)

    def test_a_slice_that_never_moves(self) -> None:
        with pytest.raises(ValueError, match=r"^Select: expected a slice with a step other than 0, got slice\(None, None, 0\)"):
            Select(slice(None, None, 0))

    def test_a_number_as_an_array(self) -> None:
        assert repr(Select(np.array(1))) == "Select(1)"

    @pytest.mark.parametrize(
        ("select", "message"),
        [
            (Select(3), r"Select\(3\): expected an input that has these entries on axis -1, got shape \(2, 3\)"),
            (Select([0, -4]), "that has these entries"),
            (Select(slice(3, None)), "that has these entries"),
            (Select(0, axis=2), r"Select\(0, axis=2\): expected an input that has axis 2, got shape \(2, 3\)"),
        ],
    )
    def test_what_is_not_there(self, select: Select, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            select(np.ones((2, 3)))


@pytest.mark.parametrize("make", [pk.Reshape, pk.Transpose])
def test_a_dict_is_no_sequence(make: Any) -> None:
    with pytest.raises(TypeError, match=r"to be a sequence of whole numbers, got \{\}"):
        make({})
