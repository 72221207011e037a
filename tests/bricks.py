"""What the tests of all bricks share: making one from an expression, drawing inputs, and the properties that all have."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import pancake as pk
from pancake.function import Function
from pancake.testing import check_function, check_gradients

NAMES: dict[str, Any] = {"np": np} | {name: getattr(pk, name) for name in pk.__all__}

# Around the points where derivatives jump, and far away from them.
EDGES = np.array([0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 20.0, -20.0, 88.0, -88.0, 104.0, -104.0, 710.0, -710.0, 1e4, -1e4])


def make(expression: str) -> Any:
    """The Function or loss that an expression makes."""
    return eval(expression, NAMES)


def inputs(*last: int, positive: bool = False, leading: int = 2) -> st.SearchStrategy[Any]:
    """Arrays of up to `leading` axes before the given ones, with entries of a few different sizes."""

    def array(lengths: list[int], seed: int) -> Any:
        rng = np.random.default_rng(seed)
        x = rng.normal(scale=rng.choice([0.1, 1.0, 5.0]), size=(*lengths, *last))
        return np.abs(x) + 0.1 if positive else x

    return st.builds(array, st.lists(st.integers(1, 4), max_size=leading), st.integers(0, 2**32 - 1))


def check_derivatives(function: Function, x: Any) -> None:
    """Gradients against numbers; a kink or two may be hit, but most entries must have been judged."""
    report = check_gradients(function, x)
    assert report.ok
    assert any(array.checked for array in report.arrays)


def check_manners(expression: str, x: Any) -> None:
    """The whole contract, and what the library asks of its own Functions beyond it."""
    function = make(expression)
    with pytest.raises(RuntimeError, match="compute_forward before"):
        function.compute_backward(np.zeros(1))
    with pytest.raises(RuntimeError, match="compute_forward before"):
        function.accumulate_grads(np.zeros(1))
    check_function(function, x)
    assert repr(make(repr(function))) == repr(function)
    y = function.compute_forward(x)
    assert y.dtype == np.float64
    assert not np.shares_memory(y, x)
    assert function._cache is not None or isinstance(function, pk.Sequential)
    copied = pickle.loads(pickle.dumps(function))
    with pytest.raises(RuntimeError, match="compute_forward before"):
        copied.compute_backward(np.ones_like(y))
    with pytest.raises(ValueError, match="empty"):
        function.compute_forward(x[:0])
    with pytest.raises(ValueError, match="dObj_dOut"):
        function.compute_backward(np.zeros((7, 7, 7, 7)))


def check_stability(expression: str, dtype: Any, shape: tuple[int, ...] = (4, 4), edges: Any = EDGES) -> tuple[Any, Any, Any]:
    """Forward and backward at the edges without a warning, nan or infinity, in the dtype of the input."""
    function = make(expression)
    function.astype(dtype)
    x = np.resize(edges, shape).astype(dtype)
    with np.errstate(all="raise", under="ignore"):
        y = function.compute_forward(x)
        dObj_dIn = function.compute_backward(np.random.default_rng(0).normal(size=np.shape(y)).astype(dtype))
        function.accumulate_grads(np.ones(np.shape(y), dtype))
    for array in (y, dObj_dIn, *function.get_params_and_grads()[1]):
        assert array.dtype == dtype
        assert np.isfinite(array).all()
    return x, y, dObj_dIn


def check_casts(expression: str, x: Any) -> None:
    """Integers become float64, or what the parameters are; float32 models stay in float32 whatever comes in."""
    whole = np.rint(np.abs(x)).astype(np.int64) + 1
    function = make(expression)
    assert_same(function, whole, whole.astype(np.float64))
    assert function.compute_forward(whole.tolist()).dtype == np.float64
    assert function.compute_forward(whole > 0).dtype == np.float64
    narrow = make(expression).astype(np.float32)
    if narrow._has_parameters():
        for dtype in (np.float16, np.float32, np.float64, np.int64):
            y = narrow.compute_forward(whole.astype(dtype))
            assert y.dtype == narrow.compute_backward(np.ones(y.shape)).dtype == np.float32
    else:
        y = narrow.compute_forward(whole.astype(np.float32))
        assert y.dtype == narrow.compute_backward(np.ones(y.shape)).dtype == np.float32
    with pytest.raises(TypeError, match="expected input to be real numbers"):
        function.compute_forward(x + 1j)


def assert_same(function: Function, x: Any, other: Any) -> None:
    """Two inputs give the same output and input gradient."""
    y = function.compute_forward(x)
    d = np.random.default_rng(0).normal(size=np.shape(y))
    dObj_dIn = function.compute_backward(d)
    np.testing.assert_array_equal(function.compute_forward(other), y)
    np.testing.assert_array_equal(function.compute_backward(d), dObj_dIn)
    assert dObj_dIn.shape == np.shape(x)
