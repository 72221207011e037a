"""Normalisation of images: what of it is another layer in other clothes, edges, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pancake import BatchNorm, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm, Sequential
from pancake.testing import check_function

X = np.random.default_rng(0).normal(2, 3, size=(3, 4, 5, 2))


def drawn(function: Any) -> Any:
    for i, p in enumerate(function.get_params_and_grads()[0]):
        p[...] = np.random.default_rng(i).normal(1, 0.5, p.shape)
    return function


@pytest.mark.parametrize("training", [True, False])
def test_pixels_are_the_examples_of_a_batch_normalisation(training: bool) -> None:
    images, table = drawn(BatchNorm2d(4, momentum=0.3)), drawn(BatchNorm(4, momentum=0.3))
    rows = np.moveaxis(X, 1, -1)
    for function, x in ((images, X), (table, rows)):
        function.compute_forward(2 * x)
        function.train(training)
    assert_allclose(np.moveaxis(images.compute_forward(X), 1, -1), table.compute_forward(rows), rtol=1e-12)
    d = np.random.default_rng(1).normal(size=X.shape)
    assert_allclose(
        np.moveaxis(images.compute_backward(d), 1, -1), table.compute_backward(np.moveaxis(d, 1, -1)), rtol=1e-10, atol=1e-12
    )
    for a, b in zip(images.get_params_and_grads()[1], table.get_params_and_grads()[1], strict=True):
        assert_allclose(a, b, rtol=1e-12)
    for key, array in images.state_dict().items():
        assert_allclose(array, table.state_dict()[key], rtol=1e-12)


def test_one_group_is_a_layer_normalisation_of_the_whole() -> None:
    group, layer = GroupNorm(1, 4), LayerNorm(40)
    assert_allclose(group.compute_forward(X).reshape(3, -1), layer.compute_forward(X.reshape(3, -1)), rtol=1e-12)
    d = np.random.default_rng(1).normal(size=X.shape)
    expected = layer.compute_backward(d.reshape(3, -1)).reshape(X.shape)
    assert_allclose(group.compute_backward(d), expected, rtol=1e-10, atol=1e-12)


def test_groups_do_not_see_one_another() -> None:
    group, changed = GroupNorm(2, 4), X.copy()
    changed[:, 2:] += 1e3 * np.random.default_rng(0).normal(size=(3, 2, 5, 2))
    assert_array_equal(group.compute_forward(X)[:, :2], group.compute_forward(changed)[:, :2])


def test_large_offset_in_float32() -> None:
    x = (1e4 + np.random.default_rng(0).normal(size=(4, 4, 20, 20))).astype(np.float32)
    for make in (lambda **options: BatchNorm2d(4, **options), lambda **options: GroupNorm(2, 4, **options)):
        assert_allclose(make(dtype=np.float32).compute_forward(x), make().compute_forward(x), atol=1e-5)


def test_root_mean_square() -> None:
    norm = RMSNorm(2, eps=0)
    assert_allclose(norm.compute_forward([[3.0, 4.0]]), np.array([[3.0, 4.0]]) / np.sqrt(12.5))
    norm.weight = [2.0, -1.0]
    assert_allclose(norm.compute_forward([[1e4, 1e4]]), [[2, -1]])


def test_without_eps_it_is_that_of_the_dtype() -> None:
    assert repr(RMSNorm(3)) == "RMSNorm(3)"
    for dtype in (np.float32, np.float64):
        y = RMSNorm(1, dtype=dtype).compute_forward(np.array([[1e-8]], dtype))
        assert y.dtype == dtype
        assert_allclose(y, 1e-8 / np.sqrt(1e-16 + np.finfo(dtype).eps), rtol=1e-6)
    assert_array_equal(RMSNorm(2).compute_forward([[0.0, 0.0]]), [[0, 0]])
    check_function(drawn(RMSNorm(3)), X.reshape(-1, 3))


def test_state_has_the_names_of_torch() -> None:
    model = Sequential([BatchNorm2d(2), GroupNorm(1, 2), RMSNorm(2)])
    assert list(model.state_dict()) == [
        *(f"0.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        *("1.weight", "1.bias", "2.weight"),
    ]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BatchNorm2d(4)(np.ones((2, 4))), ValueError, r"BatchNorm2d\(4\): expected \(B, 4, H, W\), got \(2, 4\)"),
        (lambda: BatchNorm2d(4)(np.ones((2, 3, 5, 4))), ValueError, r"expected \(B, 4, H, W\), got \(2, 3, 5, 4\); Transpose"),
        (
            lambda: BatchNorm2d(4)(np.ones((1, 4, 1, 1))),
            ValueError,
            r"BatchNorm2d\(4\): expected more than one example in training",
        ),
        (lambda: BatchNorm2d(0), ValueError, "BatchNorm2d: expected n of at least 1, got 0"),
        (lambda: GroupNorm(3, 4), ValueError, "GroupNorm: expected groups that divide 4 channels, got 3"),
        (lambda: GroupNorm(0, 4), ValueError, "GroupNorm: expected groups of at least 1, got 0"),
        (lambda: GroupNorm(2, 4, eps=-1), ValueError, "GroupNorm: expected eps at least 0"),
        (lambda: GroupNorm(2, 4)(np.ones(4)), ValueError, r"GroupNorm\(2, 4\): expected \(B, 4, ...\), got \(4,\)"),
        (lambda: GroupNorm(2, 4)(np.ones((2, 3, 4))), ValueError, r"GroupNorm\(2, 4\): expected \(B, 4, ...\), got \(2, 3, 4\)"),
        (lambda: RMSNorm(3)(np.ones((2, 4))), ValueError, r"RMSNorm\(3\): expected \(..., 3\), got \(2, 4\)"),
        (lambda: RMSNorm(3, eps=-1.0), ValueError, "RMSNorm: expected eps at least 0"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
