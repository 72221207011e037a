"""Verdicts of the checker that were wrong once: faults that passed, and a right gradient that was accused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.testing import GradientError, check_function, check_gradients, check_vjp

X = np.random.default_rng(0).uniform(0.5, 2, size=(4, 3))


class Square(pk.Function):
    """y = x^2, rightly."""

    def compute_forward(self, x: Any) -> Any:
        self.x = x.copy()
        return x * x

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return 2 * self.x * dObj_dOut


class LocksItsInput(Square):
    def compute_forward(self, x: Any) -> Any:
        y = super().compute_forward(x)
        x.flags.writeable = False
        return y


class LocksDObjDOut(Square):
    def compute_backward(self, dObj_dOut: Any) -> Any:
        dObj_dOut.flags.writeable = False
        return super().compute_backward(dObj_dOut)


class ReturnsLists(Square):
    def compute_backward(self, dObj_dOut: Any) -> Any:
        return super().compute_backward(dObj_dOut).tolist()


class ForwardOffInSingle(Square):
    def compute_forward(self, x: Any) -> Any:
        y = super().compute_forward(x)
        return y * np.float32(1.01) if y.dtype == np.float32 else y


class BackwardOffInSingle(Square):
    def compute_backward(self, dObj_dOut: Any) -> Any:
        d = super().compute_backward(dObj_dOut)
        return d * np.float32(1.01) if d.dtype == np.float32 else d


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (LocksItsInput, "LocksItsInput makes its input read-only for everybody"),
        (LocksDObjDOut, "LocksDObjDOut makes dObj_dOut read-only for everybody"),
        (ReturnsLists, "compute_backward returned a list as the gradient of x; return an array"),
        (ForwardOffInSingle, "with float32 input the output"),
        (BackwardOffInSingle, "with float32 input dObj_dIn"),
    ],
)
def test_a_fault_that_passed_is_found(make: type[Square], words: str) -> None:
    with pytest.raises(GradientError, match=words):
        check_function(make(), X)


def test_the_right_one_passes() -> None:
    assert check_function(Square(), X).ok


def test_a_loss_may_not_lock_its_target() -> None:
    class Locks(pk.MeanSquaredError):
        def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
            value = super().compute_forward(pred, target, weight)
            target.flags.writeable = False
            return value

    with pytest.raises(GradientError, match="Locks makes its target read-only"):
        check_function(Locks(), X, target=2 * X)


@pytest.mark.parametrize("tiny", [1e-300, -1e-300, 1e-100])
@pytest.mark.parametrize("others", [True, False])
def test_a_slope_that_grows_below_all_steps_is_not_accused(tiny: float, others: bool) -> None:
    """That of x log|x|: at 1e-300 it is -690, and steps as small as 1e-70 see -160."""
    x = np.array([[tiny, 1.0], [2.0, -3.0]]) if others else np.full((2, 2), tiny)
    report = check_vjp(lambda x: x * np.log(np.abs(x)), lambda d, x: d * (np.log(np.abs(x)) + 1), x)
    assert sum(array.inconclusive for array in report.arrays) == (1 if others else 4)


@pytest.mark.parametrize("function", [lambda x: 3 * x, np.exp, np.tanh, np.abs])
def test_a_wrong_slope_at_such_numbers_is_found(function: Any) -> None:
    with pytest.raises(GradientError, match="4 of 4 entries of x wrong"):
        check_gradients(Wrong(function), np.full((2, 2), 1e-300), kinks="error")


class Wrong(pk.Function):
    """Any function, with the derivative 5."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def compute_forward(self, x: Any) -> Any:
        return self.function(x)

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return 5 * dObj_dOut
