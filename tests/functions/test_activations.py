"""Activations: derivatives, extremes, and the facts that define each of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from bricks import EDGES, check_casts, check_derivatives, check_manners, check_stability, inputs, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pancake import SGD, Linear, MeanAbsoluteError, Sequential, TrainStep
from pancake.functions import activations, piecewise_linear, softmax
from pancake.functions.activations import (
    ELU,
    GELU,
    SELU,
    HardTanh,
    LeakyReLU,
    Mish,
    PReLU,
    ReLU,
    SiLU,
    Softplus,
    Softsign,
    softplus,
)
from pancake.functions.softmax import LogSoftmax, Softmax

POINTWISE = [
    "Sigmoid()",
    "Tanh()",
    "HardTanh()",
    "ReLU()",
    "LeakyReLU()",
    "LeakyReLU(negative_slope=0.0)",
    "LeakyReLU(negative_slope=1.5)",
    "LeakyReLU(negative_slope=-0.5)",
    "PReLU()",
    "PReLU(init=-0.5)",
    "ELU()",
    "ELU(alpha=0.3)",
    "ELU(alpha=2.0)",
    "SELU()",
    "GELU()",
    "GELU(approximate='tanh')",
    "SiLU()",
    "Mish()",
    "Softplus()",
    "Softplus(beta=0.2)",
    "Softplus(beta=3.0)",
    "Softsign()",
]
ALONG_AXES = [f"{name}(axis={axis})" for name in ("Softmax", "LogSoftmax") for axis in (-1, 0)] + ["Softmax()", "LogSoftmax()"]
PER_FEATURE = ["PReLU(num_parameters=4)", "PReLU(num_parameters=4, init=0.0)"]
ALL = POINTWISE + ALONG_AXES + PER_FEATURE


@pytest.mark.parametrize("expression", ALL)
@settings(max_examples=12)
@given(x=inputs(4))
def test_derivatives(expression: str, x: Any) -> None:
    check_derivatives(make(expression), x)


@pytest.mark.parametrize("expression", ALL)
def test_manners(expression: str) -> None:
    x = np.random.default_rng(0).normal(scale=2, size=(3, 4))
    check_manners(expression, x)
    check_casts(expression, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 4), (100, 4)])
@pytest.mark.parametrize("expression", ALL)
def test_extremes(expression: str, shape: tuple[int, ...], dtype: Any) -> None:
    x, y, _ = check_stability(expression, dtype, shape)
    exact = make(expression).compute_forward(x.astype(np.float64))
    assert_allclose(y, exact, rtol=20 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("expression", POINTWISE)
def test_a_single_number(expression: str) -> None:
    function = make(expression)
    for number in (-1.5, 0, 2):
        y = function.compute_forward(number)
        assert np.shape(y) == ()
        assert y == make(expression).compute_forward([float(number)])[0]
        dObj_dIn = function.compute_backward(3.0)
        assert np.shape(dObj_dIn) == ()
        function.compute_forward([number])
        assert dObj_dIn == function.compute_backward([3.0])[0]


def test_every_activation_is_tested() -> None:
    functions = {
        name
        for module in (activations, piecewise_linear, softmax)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    assert functions - {"Activation"} == {expression.split("(")[0] for expression in ALL}


@pytest.mark.parametrize(
    ("function", "at"),
    [(ReLU(), {0: 0}), (LeakyReLU(0.2), {0: 0.2}), (HardTanh(), {-1: 0, 1: 0}), (ELU(0.3), {0: 0.3}), (PReLU(), {0: 0.25})],
)
def test_where_there_is_no_derivative(function: Any, at: dict[float, float]) -> None:
    function.compute_forward(list(at))
    assert_array_equal(function.compute_backward(np.ones(len(at))), list(at.values()))


class TestPReLU:
    def test_one_slope_for_each_feature(self) -> None:
        function = PReLU(3)
        function.weight = [0.0, 0.5, 1.0]
        x = np.array([[-1.0, -2.0, -3.0], [4.0, 5.0, -6.0]])
        assert_array_equal(function.compute_forward(x), [[0, -1, -3], [4, 5, -6]])
        assert_array_equal(function.compute_backward(np.ones((2, 3))), [[0, 0.5, 1], [1, 1, 1]])
        assert_array_equal(function.grad_weight, [-1, -2, -9])

    def test_reset(self) -> None:
        function = PReLU(2, 0.1)
        function.weight = 7.0
        function.reset_parameters()
        assert_array_equal(function.weight, [0.1, 0.1])
        assert function.num_parameters == 2

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match=r"PReLU\(num_parameters=3\): expected \(..., 3\), got \(2, 4\)"):
            PReLU(3).compute_forward(np.ones((2, 4)))
        with pytest.raises(ValueError, match="got \\(\\)"):
            PReLU(3).compute_forward(1.0)
        with pytest.raises(ValueError, match="at least 1"):
            PReLU(0)
        with pytest.raises(TypeError, match="init"):
            PReLU(1, "small")  # type: ignore[arg-type]


class TestGELU:
    def test_is_exact(self) -> None:
        """To the last digits of x times the distribution function, as the standard library knows it."""
        x = np.concatenate([np.linspace(-40, 40, 4001), np.linspace(-1, 1, 4001), EDGES])
        share = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x])
        assert_allclose(GELU().compute_forward(x), x * share, rtol=1e-15, atol=4e-16)

    def test_beyond_all_bounds(self) -> None:
        y = GELU().compute_forward(np.array([1e30, -1e30], np.float32))
        assert_array_equal(y, np.array([1e30, 0], np.float32))

    def test_half_precision(self) -> None:
        x = np.linspace(-20, 20, 101).astype(np.float16)
        y = GELU().compute_forward(x)
        assert y.dtype == np.float16
        assert_allclose(y, GELU().compute_forward(x.astype(np.float64)), rtol=2e-3, atol=1e-4)

    def test_approximation_is_close(self) -> None:
        x = np.linspace(-10, 10, 1001)
        difference = np.abs(GELU().compute_forward(x) - GELU("tanh").compute_forward(x)).max()
        assert 1e-4 < difference < 5e-4

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="approximate to be one of none, tanh, got 'erf'"):
            GELU("erf")


FAR = {  # y at -far and far, and the slopes there
    "Sigmoid()": (0, 1, 0, 0),
    "Tanh()": (-1, 1, 0, 0),
    "HardTanh()": (-1, 1, 0, 0),
    "ReLU()": (0, "x", 0, 1),
    "LeakyReLU(negative_slope=0.5)": ("x / 2", "x", 0.5, 1),
    "PReLU(init=0.5)": ("x / 2", "x", 0.5, 1),
    "ELU()": (-1, "x", 0, 1),
    "GELU()": (0, "x", 0, 1),
    "GELU(approximate='tanh')": (0, "x", 0, 1),
    "SiLU()": (0, "x", 0, 1),
    "Mish()": (0, "x", 0, 1),
    "Softplus()": (0, "x", 0, 1),
    "Softsign()": (-1, 1, 0, 0),
}


@pytest.mark.parametrize(("dtype", "far"), [(np.float16, 3e4), (np.float32, 1e38), (np.float64, 1e155), (np.float64, 1e200)])
@pytest.mark.parametrize("expression", FAR)
def test_very_far_from_zero_they_are_their_asymptotes(expression: str, dtype: Any, far: float) -> None:
    low, high, *slopes = FAR[expression]
    x = np.array([[-far], [far]], dtype)
    linear = Linear(1, 1, bias=False, dtype=dtype)
    linear.weight.fill(1)
    model = Sequential([linear, make(expression).astype(dtype)])
    expected = [eval(str(value), {"x": number}) for value, number in zip((low, high), x[:, 0], strict=True)]
    assert_allclose(model(x)[:, 0], expected, rtol=1e-3, atol=1e-30)
    assert_allclose(model.compute_backward(np.ones((2, 1), dtype))[:, 0], slopes, rtol=1e-3, atol=2e-5)
    TrainStep(model, MeanAbsoluteError(), SGD(model))(x, np.zeros((2, 1), dtype))  # by one program, where there is one
    low, high = np.sign(expected) * slopes  # of the error, which at 0 has none
    assert_allclose(linear.grad_weight, [[far * (high - low) / 2]], rtol=2e-3, atol=far * 2e-5)


class TestSmallNumbers:
    """Where the result is close to 0 its digits are not lost."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_far_left(self, dtype: Any) -> None:
        x = np.array([-5.0, -10.0, -20.0, -30.0, -80.0], dtype)
        e = np.exp(x.astype(np.float64))
        many = np.resize(x, 1000)
        rtol = 4 * np.finfo(dtype).eps
        assert_allclose(SiLU().compute_forward(x), x * e / (1 + e), rtol=rtol)
        assert_allclose(Mish().compute_forward(x), x * np.tanh(np.log1p(e)), rtol=rtol)
        assert_allclose(Softplus().compute_forward(x), np.log1p(e), rtol=rtol)
        assert_allclose(softplus(many), np.resize(np.log1p(e), 1000), rtol=rtol)
        elu = ELU()
        elu.compute_forward(x)
        assert_allclose(elu.compute_backward(np.ones(5, dtype)), e, rtol=rtol)
        plus = Softplus()
        plus.compute_forward(x)
        assert_allclose(plus.compute_backward(np.ones(5, dtype)), e / (1 + e), rtol=rtol)

    def test_near_zero(self) -> None:
        x = np.array([1e-20, -1e-20])
        assert_allclose(ELU().compute_forward(x), x, rtol=1e-15)
        assert_allclose(SELU().compute_forward(x), x * 1.0507009873554805 * np.array([1, 1.6732632423543772]), rtol=1e-15)
        assert_allclose(Softsign().compute_forward(x), x, rtol=1e-15)


def test_selu_keeps_mean_and_variance() -> None:
    y = SELU().compute_forward(np.random.default_rng(0).standard_normal(1_000_000))
    assert_allclose([y.mean(), y.var()], [0, 1], atol=5e-3)


def test_softplus_differs_from_torch_only_where_torch_cuts() -> None:
    assert Softplus().compute_forward(21.0) - 21.0 == pytest.approx(math.exp(-21), rel=1e-5)


class TestSoftmaxes:
    @given(x=inputs(5))
    def test_sum_to_one(self, x: Any) -> None:
        y = Softmax().compute_forward(x)
        assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)
        assert_allclose(LogSoftmax().compute_forward(x), np.log(y), rtol=1e-12, atol=1e-12)

    @given(x=inputs(5), shift=st.sampled_from([-1e4, -1.0, 1e4]))
    def test_only_differences_count(self, x: Any, shift: float) -> None:
        assert_allclose(Softmax().compute_forward(x + shift), Softmax().compute_forward(x), rtol=1e-9, atol=1e-300)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_differences_of_ten_thousand(self, dtype: Any) -> None:
        x = np.array([[1e4, 0, -1e4], [0, 0, -1e4]], dtype)
        assert_array_equal(Softmax().compute_forward(x), [[1, 0, 0], [0.5, 0.5, 0]])
        y = LogSoftmax().compute_forward(x)
        assert_allclose(y, [[0, -1e4, -2e4], [-math.log(2), -math.log(2), -1e4 - math.log(2)]], rtol=1e-6)

    @pytest.mark.parametrize("softmax", [Softmax, LogSoftmax])
    def test_refuses(self, softmax: Any) -> None:
        with pytest.raises(ValueError, match=r"expected an input that has axis 2, got shape \(3, 4\)"):
            softmax(2).compute_forward(np.ones((3, 4)))
        with pytest.raises(ValueError, match="has axis -1, got shape"):
            softmax().compute_forward(1.0)
        with pytest.raises(TypeError, match="axis to be a whole number, got None"):
            softmax(None)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LeakyReLU("a"), TypeError, "LeakyReLU: expected negative_slope to be a number, got 'a'"),  # type: ignore[arg-type]
        (lambda: LeakyReLU(np.inf), ValueError, "LeakyReLU: expected negative_slope to be finite, got inf"),
        (lambda: ELU(True), TypeError, "ELU: expected alpha to be a number, got True"),
        (lambda: Softplus(0), ValueError, "Softplus: expected beta of more than 0, got 0"),
    ],
)
def test_refuses_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
