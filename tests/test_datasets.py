"""The toy sets: shapes, balance and reproducibility for all of them, and the geometry of each without noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake import datasets
from pancake.datasets import blobs, checkerboard, circles, moons, spirals, xor

SETS = [getattr(datasets, name) for name in datasets.__all__]


@pytest.mark.parametrize("make", SETS)
@given(n=st.integers(1, 40), noise=st.sampled_from([0, 0.1, 2]), seed=st.integers(0, 2**32))
def test_shapes_types_and_balance(make: Any, n: int, noise: float, seed: int) -> None:
    X, y = make(n, noise=noise, rng=seed)
    assert X.shape == (n, 2)
    assert X.dtype == np.float64
    assert np.isfinite(X).all()
    assert y.shape == (n,)
    assert y.dtype == np.int64
    classes = 3 if make is blobs else 2
    for k in range(1, n + 1):  # any first part is a fair sample
        counts = np.bincount(y[:k], minlength=classes)
        assert len(counts) == classes
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("make", SETS)
def test_the_seed_decides(make: Any) -> None:
    X, y = make(50, noise=0.1, rng=3)
    for rng in (3, np.random.default_rng(3)):
        again_X, again_y = make(50, noise=0.1, rng=rng)
        np.testing.assert_array_equal(X, again_X)
        np.testing.assert_array_equal(y, again_y)
    rng = np.random.default_rng(3)
    make(50, noise=0.1, rng=rng)
    for other in (make(50, noise=0.1, rng=4), make(50, noise=0.1, rng=rng), make(50, noise=0.1), make(50, noise=0.1)):
        assert (other[0] != X).all(axis=1).any()
    assert (make(50, noise=0.1)[0] != make(50, noise=0.1)[0]).any()


@pytest.mark.parametrize("make", SETS)
def test_noise_is_the_standard_deviation_of_each_coordinate(make: Any) -> None:
    # The positions are drawn before the noise, so the same seed gives the same positions.
    error = make(4000, noise=0.25, rng=0)[0] - make(4000, noise=0, rng=0)[0]
    np.testing.assert_allclose(error.std(axis=0), 0.25, rtol=0.05)
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=0.02)
    assert abs(np.corrcoef(error.T)[0, 1]) < 0.06


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("n", [0, -3, 10**20])
def test_refuses_too_few_and_too_many_points(make: Any, n: int) -> None:
    with pytest.raises(ValueError, match=rf"{make.__name__}: expected n of at (least 1|most \d+), got {n}"):
        make(n)


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("n", [2.0, "10", None, True])
def test_refuses_what_is_no_number_of_points(make: Any, n: Any) -> None:
    with pytest.raises(TypeError, match=f"{make.__name__}: expected n to be a whole number"):
        make(n)


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize(("noise", "error"), [(-0.1, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("big", TypeError)])
def test_refuses_bad_noise(make: Any, noise: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{make.__name__}: expected noise"):
        make(10, noise=noise)


def test_xor_is_the_truth_table() -> None:
    X, y = xor(4, noise=0)
    np.testing.assert_array_equal(X, [[0, 0], [0, 1], [1, 0], [1, 1]])
    np.testing.assert_array_equal(y, [0, 1, 1, 0])
    X, y = xor(401, noise=0)
    np.testing.assert_array_equal(y, X.sum(axis=1) == 1)
    assert len(np.unique(X, axis=0)) == 4


def test_moons_lie_on_two_half_circles() -> None:
    X, y = moons(101, noise=0, rng=0)
    outer, inner = X[y == 0], X[y == 1]
    np.testing.assert_allclose(np.hypot(*outer.T), 1)
    np.testing.assert_allclose(np.hypot(*(inner - [1, 0.5]).T), 1)
    assert (outer[:, 1] >= 0).all()
    assert (inner[:, 1] <= 0.5).all()
    np.testing.assert_allclose(np.sort(np.diff(np.sort(np.arccos(outer[:, 0])))), np.pi / 50)  # evenly, ends included


@pytest.mark.parametrize("make", [moons, circles, spirals])
def test_points_come_in_no_order(make: Any) -> None:
    X, y = make(400, noise=0, rng=0)
    for c in range(2):  # the first quarter is spread over all of the curve
        everywhere, first = X[y == c], X[:100][y[:100] == c]
        np.testing.assert_allclose(first.min(axis=0), everywhere.min(axis=0), atol=0.1)
        np.testing.assert_allclose(first.max(axis=0), everywhere.max(axis=0), atol=0.1)


def test_circles_have_radius_one_and_a_half() -> None:
    X, y = circles(100, noise=0, rng=0)
    np.testing.assert_allclose(np.hypot(*X.T), np.where(y == 0, 1, 0.5))
    angles = np.sort(np.arctan2(*X[y == 0].T[::-1]) % (2 * np.pi))
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / 50, atol=1e-9)  # evenly, no point twice


@given(arms=st.integers(1, 6), turns=st.sampled_from([0, 0.5, 1.5, 3]))
def test_spirals_wind_outwards(arms: int, turns: float) -> None:
    X, y = spirals(50 * arms, noise=0, rng=0, arms=arms, turns=turns)
    assert set(y) == set(range(arms))
    radius = np.hypot(*X.T)
    assert radius.min() == pytest.approx(0.1)
    assert radius.max() == pytest.approx(1)
    angle = 2 * np.pi * (turns * (radius - 0.1) / 0.9 + y / arms)
    np.testing.assert_allclose(X, np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), atol=1e-12)


@given(centers=st.integers(2, 12))
def test_blobs_stand_on_a_circle_two_apart(centers: int) -> None:
    X, y = blobs(centers * 2, noise=0, centers=centers)
    middles = X[np.argsort(y, kind="stable")][::2]
    np.testing.assert_allclose(np.hypot(*(middles - np.roll(middles, 1, axis=0)).T), 2)
    np.testing.assert_allclose(np.hypot(*middles.T), np.hypot(*middles[0]))


def test_a_single_blob_stands_at_the_origin() -> None:
    X, y = blobs(2000, centers=1, noise=1, rng=0)
    assert not y.any()
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=0.1)


@given(squares=st.integers(2, 7))
def test_checkerboard_has_the_classes_of_its_squares(squares: int) -> None:
    X, y = checkerboard(600, rng=0, squares=squares)
    i, j = np.floor(X + squares / 2).astype(int).T
    np.testing.assert_array_equal(y, (i + j) % 2)
    assert set(zip(i, j, strict=True)) == {(a, b) for a in range(squares) for b in range(squares)}


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (spirals, {"arms": 0}, ValueError, "spirals: expected arms of at least 1, got 0"),
        (spirals, {"turns": -1}, ValueError, "spirals: expected turns at least 0"),
        (blobs, {"centers": 0}, ValueError, "blobs: expected centers of at least 1, got 0"),
        (blobs, {"centers": [[0, 0]]}, TypeError, "blobs: expected centers to be a whole number"),
        (checkerboard, {"squares": 1}, ValueError, "checkerboard: expected at least 2 squares along each side, got 1"),
    ],
)
def test_refuses_bad_options(make: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(10, **options)
