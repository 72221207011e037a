"""The teaching bricks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bricks import check_casts, check_derivatives, check_manners, check_stability, inputs, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pancake.functions import elementwise
from pancake.functions.elementwise import Clip, Exp, Log, Mean, Mul, Power, Square, Subtract, Sum
from pancake.testing import check_function

POINTWISE = [
    "Square()",
    "Negate()",
    "Subtract(0.5)",
    "Exp()",
    "Abs()",
    "Power(2)",
    "Power(3)",
    "Power(1)",
    "Power(0)",
    "Clip(-0.5, 1.0)",
    "Clip(None, 0.5)",
    "Clip(0.5, None)",
    "Clip(None, None)",
]
POSITIVE = ["Log()", "Power(0.5)", "Power(-1)", "Power(-1.5)", "Power(2.5)"]
REDUCTIONS = [f"{name}({axis})" for name in ("Sum", "Mean") for axis in ("", "axis=0", "axis=-1", "axis=(0, -1)")]
OTHERS = ["Mul()", "Mul(k=-0.5)", "Subtract([1.0, -2.0, 0.5, 3.0])"]


@pytest.mark.parametrize("expression", [*POINTWISE, *OTHERS])
@settings(max_examples=12)
@given(x=inputs(4))
def test_derivatives(expression: str, x: Any) -> None:
    check_derivatives(make(expression), x)


@pytest.mark.parametrize("expression", POSITIVE)
@settings(max_examples=12)
@given(x=inputs(4, positive=True))
def test_derivatives_of_what_wants_positive_numbers(expression: str, x: Any) -> None:
    check_derivatives(make(expression), x)


@pytest.mark.parametrize("expression", REDUCTIONS)
@settings(max_examples=12)
@given(x=inputs(2, 3))
def test_derivatives_of_reductions(expression: str, x: Any) -> None:
    check_derivatives(make(expression), x)


@pytest.mark.parametrize("expression", [*POINTWISE, *POSITIVE, *REDUCTIONS, *OTHERS])
def test_manners(expression: str) -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(3, 4))) + 0.1
    check_manners(expression, x)
    check_casts(expression, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("expression", [*(e for e in POINTWISE if e != "Exp()"), *REDUCTIONS, "Mul()", "Subtract(1e4)"])
def test_extremes(expression: str, dtype: Any) -> None:
    check_stability(expression, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("expression", POSITIVE)
def test_extremes_of_what_wants_positive_numbers(expression: str, dtype: Any) -> None:
    check_stability(expression, dtype, edges=np.array([1e4, 1.0, 1e-4, 1e-10]))


@pytest.mark.parametrize("expression", [*POINTWISE, *REDUCTIONS[:1], *REDUCTIONS[4:5]])
def test_a_single_number(expression: str) -> None:
    function = make(expression)
    y = function.compute_forward(-1.5)
    assert np.shape(y) == ()
    assert y == np.squeeze(make(expression).compute_forward([-1.5]))
    dObj_dIn = function.compute_backward(3.0)
    function.compute_forward([-1.5])
    assert dObj_dIn == function.compute_backward(3.0)[0]


def test_every_brick_is_tested() -> None:
    public = {name for name, value in vars(elementwise).items() if getattr(value, "__module__", "") == elementwise.__name__}
    classes = {name for name in public if isinstance(vars(elementwise)[name], type)}
    tested = {expression.split("(")[0] for expression in [*POINTWISE, *POSITIVE, *REDUCTIONS, *OTHERS]}
    assert classes - {"ParameterFree"} == tested


class TestReductions:
    @pytest.mark.parametrize("name", ["Sum", "Mean"])
    @given(x=inputs(2, 3), data=st.data())
    def test_as_numpy(self, name: str, x: Any, data: st.DataObject) -> None:
        axes = st.integers(-x.ndim, x.ndim - 1)
        axis = data.draw(st.one_of(st.none(), axes, st.just((0, -1)), st.just(())))
        function = getattr(elementwise, name)(axis)
        expected = getattr(np, name.lower())(x, axis=axis)
        assert_allclose(function.compute_forward(x), expected, rtol=1e-12, atol=1e-12)

    def test_float32_sums_stay_float32(self) -> None:
        function = Mean(0)
        y = function.compute_forward(np.ones((3, 2), np.float32))
        assert y.dtype == function.compute_backward(np.ones(2)).dtype == np.float32

    @pytest.mark.parametrize(("axis", "shape"), [(2, (3, 4)), (-3, (3, 4)), ((0, 2), (3, 4)), ((0, -2), (3, 4)), (0, ())])
    def test_refuses_axes(self, axis: Any, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"Sum\(axis=.*\): expected different axes of an array of . axes, got"):
            Sum(axis).compute_forward(np.ones(shape))

    @pytest.mark.parametrize("axis", [1.0, "rows", (0, None)])
    def test_refuses_what_is_no_axis(self, axis: Any) -> None:
        with pytest.raises(TypeError, match="Mean: expected axis to be a whole number"):
            Mean(axis)


class TestSubtract:
    def test_broadcasts_the_target_only(self) -> None:
        assert_array_equal(Subtract([1.0, 2.0]).compute_forward([[1.0, 1.0], [3.0, 3.0]]), [[0, -1], [2, 1]])
        with pytest.raises(ValueError, match=r"the target \(3, 2\) broadcasts, got \(2,\)"):
            Subtract(np.ones((3, 2))).compute_forward([1.0, 2.0])
        with pytest.raises(ValueError, match=r"the target \(2,\) broadcasts, got \(2, 3\)"):
            Subtract([1.0, 2.0]).compute_forward(np.ones((2, 3)))

    def test_target_is_a_copy_and_no_parameter(self) -> None:
        target = np.array([1.0, 2.0])
        function = Subtract(target)
        target[:] = 7
        assert_array_equal(function.compute_forward([1.0, 2.0]), [0, 0])
        assert function.num_parameters == 0
        assert function.state_dict() == {}

    def test_target_can_be_exchanged(self) -> None:
        function = Subtract(0.0)
        function.target = [1, 2]  # type: ignore[assignment]
        assert_array_equal(function.compute_forward(np.ones((2, 2), np.float32)), [[0, -1], [0, -1]])
        with pytest.raises(TypeError, match="target"):
            Subtract("a")

    def test_repr_of_a_long_target_is_short(self) -> None:
        assert repr(Subtract(np.ones((100, 2)))) == "Subtract(<array of shape (100, 2)>)"


class TestOutsideOfTheDomain:
    def test_log_of_zero(self) -> None:
        function = Log()
        assert_array_equal(function.compute_forward([0.0, 1.0]), [-np.inf, 0])
        assert_array_equal(function.compute_backward([1.0, 1.0]), [np.inf, 1])

    def test_log_of_less(self) -> None:
        with pytest.raises(ValueError, match=r"Log\(\): expected numbers of at least 0, got -1.0"):
            Log().compute_forward([2.0, -1.0])

    def test_exp_of_much(self) -> None:
        for dtype in (np.float32, np.float64):
            function = Exp()
            assert_array_equal(function.compute_forward(np.array([1e4, -1e4, 0], dtype)), [np.inf, 0, 1])
            assert_array_equal(function.compute_backward(np.array([1, 1, 1], dtype)), [np.inf, 0, 1])

    def test_powers(self) -> None:
        function = Power(-1)
        assert_array_equal(function.compute_forward([0.0, -2.0]), [np.inf, -0.5])
        assert_array_equal(function.compute_backward([1.0, 1.0]), [-np.inf, -0.25])
        assert_array_equal(Power(100).compute_forward([1e4, -1.0]), [np.inf, 1])
        with pytest.raises(ValueError, match=r"exponent that is not whole, got -1\.0"):
            Power(0.5).compute_forward([1.0, -1.0])

    def test_derivatives_where_there_is_none(self) -> None:
        for function, x, slope in ((make("Abs()"), [0.0], [0.0]), (Clip(-1, 2), [-1.0, 2.0, 3.0], [1.0, 1.0, 0.0])):
            function.compute_forward(x)
            assert_array_equal(function.compute_backward(np.ones(len(x))), slope)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Power("2"), TypeError, "Power: expected p to be a number, got '2'"),  # type: ignore[arg-type]
        (lambda: Power(np.nan), ValueError, "Power: expected p to be finite, got nan"),
        (lambda: Clip(2, 1), ValueError, "Clip: expected low of at most high, got 2 and 1"),
        (lambda: Clip(0, np.inf), ValueError, "high to be finite, got inf; None means no bound"),
    ],
)
def test_refuses_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


class TestMul:
    def test_by_hand(self) -> None:
        function = Mul(3.0)
        assert_array_equal(function.compute_forward([1.0, 2.0]), [3, 6])
        assert_array_equal(function.compute_backward([1.0, 10.0]), [3, 30])
        assert_array_equal(function.grad_k, [21])

    def test_a_single_number(self) -> None:
        function = Mul(3.0)
        assert_array_equal(function.compute_forward(2), [6])
        assert_array_equal(function.compute_backward([1.0]), 3.0)
        check_function(function, np.array(2.0))

    def test_reset(self) -> None:
        function = Mul(3.0)
        function.k = 1.0
        function.reset_parameters()
        assert function.k == [3.0]


def test_square_by_hand() -> None:
    function = Square()
    assert function.compute_forward(3) == 9
    assert function.compute_backward(1) == 6
