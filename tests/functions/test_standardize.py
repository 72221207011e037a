"""`Standardize`: scaling as a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bricks import check_casts, check_derivatives, check_manners, check_stability, inputs, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk
from pancake.functions.standardize import Standardize
from pancake.testing import check_function

X_DRAWN = np.random.default_rng(0).normal([3, -100, 0], [1, 20, 1e-3], (50, 3))


def test_of_data_is_what_scikit_learn_computes() -> None:
    X = np.column_stack([X_DRAWN, np.full(50, 0.1), np.full(50, 1e9)])
    layer = Standardize.of(X)
    assert_allclose(layer.mean, X.mean(axis=0), rtol=1e-12)
    assert_allclose(layer.scale, [*X_DRAWN.std(axis=0), 1, 1], rtol=1e-12)
    y = layer(X)
    assert_allclose(y[:, :3].mean(axis=0), 0, atol=1e-13)
    assert_allclose(y[:, :3].std(axis=0), 1, rtol=1e-12)
    assert_array_equal(y[:, 3:], 0)
    assert not layer.get_params_and_grads()[0]


@settings(max_examples=20)
@given(x=inputs(3), seed=st.integers(0, 100))
def test_derivatives(x: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    check_derivatives(Standardize(3, rng.normal(size=3), rng.uniform(0.3, 2, 3)), x)


def test_manners() -> None:
    expression = "Standardize(4, [1, 2, 3, 4], [1, 0.5, 2, 3])"
    x = np.random.default_rng(0).normal(size=(3, 4))
    check_manners(expression, x)
    check_casts(expression, x)
    check_stability(expression, np.float32)
    check_function(make(expression), x)


def test_is_a_part_of_the_model_and_of_its_file(tmp_path: Path) -> None:
    model = pk.Sequential([Standardize.of(X_DRAWN, dtype=np.float32), pk.Linear(3, 2, rng=0, dtype=np.float32)])
    before = model.state_dict()
    y = np.arange(50) % 2
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model), X_DRAWN, y, epochs=2, progress=False)
    assert_array_equal(model.state_dict()["0.scale"], before["0.scale"])
    pk.save(tmp_path / "model.npz", model, meta={"classes": ["no", "yes"]})
    again = pk.load(tmp_path / "model.npz")
    assert_array_equal(pk.predict(again, X_DRAWN), pk.predict(model, X_DRAWN))
    assert pk.predict(again, X_DRAWN).dtype == np.float32
    assert pk.load_meta(tmp_path / "model.npz") == {"classes": ["no", "yes"]}


def test_of_long_sequences_and_frames_of_numbers() -> None:
    assert_allclose(Standardize.of(X_DRAWN.reshape(5, 10, 3)).mean, X_DRAWN.mean(axis=0))
    assert_allclose(Standardize.of([[1, 2], [3, 4]]).mean, [2, 3])


def test_reads_as_it_was_made() -> None:
    assert repr(Standardize(2, [1, 2], [0.5, 1])) == "Standardize(2, mean=[1.0, 2.0], scale=[0.5, 1.0])"
    assert repr(Standardize.of(np.eye(30), dtype=np.float32)) == "Standardize(30, dtype=np.float32)"


def test_what_it_refuses() -> None:
    for make_it, message in (
        (
            lambda: Standardize(2, [1.0]),
            r"Standardize\(2\): expected mean to be 2 finite numbers, got an array of shape \(1,\)",
        ),
        (lambda: Standardize(1, [np.nan]), "nan or infinity"),
        (lambda: Standardize(2, scale=[1.0, 0.0]), "every scale to be more than 0, got 0.0 in float64; 1 leaves a constant"),
        (lambda: Standardize.of([1.0, 2.0]), r"reshape\(-1, 1\)"),
        (lambda: Standardize.of(np.empty((0, 2))), "at least one example"),
        (lambda: Standardize.of([[1.0, 2.0], [1.0, np.nan]]), "column 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make_it()
    with pytest.raises(TypeError, match="real numbers"):
        Standardize.of([["a"]])
    with pytest.raises(ValueError, match=r"expected \(..., 3\)"):
        Standardize.of(X_DRAWN)(X_DRAWN[:, :2])


def test_columns_of_any_size() -> None:
    X = np.array([[1e200, 1e-200, 3.0], [-1e200, -1e-200, 1.0]])
    assert_allclose(Standardize.of(X)(X), [[1, 1, 1], [-1, -1, -1]], rtol=1e-12)
    with pytest.raises(ValueError, match=r"^Standardize: expected n of at most 9223372036854775807, got 1000000000000"):
        Standardize(10**20)
    with pytest.raises(ValueError, match="finite numbers, got nan or infinity in float16"):
        Standardize.of([[1e6], [0.0]], dtype=np.float16)
    with pytest.raises(ValueError, match=r"more than 0, got 0\.0 in float32"):
        Standardize(1, scale=[1e-200], dtype=np.float32)
