"""Proof that hand-written derivatives are right: gradient checks for Functions, losses, cells and stacks of them."""

from pancake.testing.contract import check_function
from pancake.testing.gradients import check_gradients, numerical_gradients
from pancake.testing.report import ArrayReport, GradientReport
from pancake.testing.subject import GradientError

__all__ = ["ArrayReport", "GradientError", "GradientReport", "check_function", "check_gradients", "numerical_gradients"]
