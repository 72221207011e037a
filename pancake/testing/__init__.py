"""Checks of hand-written derivatives: gradient checks for Functions, losses, cells and stacks of them.

`gradient_property` and `strategies` need hypothesis, the rest only NumPy.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from pancake.testing.adapt import adapt
from pancake.testing.contract import check_function
from pancake.testing.gradients import check_gradients, numerical_gradients
from pancake.testing.mutation import MutationReport, mutate
from pancake.testing.report import ArrayReport, GradientReport
from pancake.testing.subject import GradientError
from pancake.testing.vjp import check_vjp

if TYPE_CHECKING:
    from pancake.testing import strategies
    from pancake.testing.properties import gradient_property

__all__ = [
    "ArrayReport",
    "GradientError",
    "GradientReport",
    "MutationReport",
    "adapt",
    "check_function",
    "check_gradients",
    "check_vjp",
    "mutate",
    "numerical_gradients",
]
if importlib.util.find_spec("hypothesis"):  # so that `from pancake.testing import *` works without
    __all__ += ["gradient_property", "strategies"]


def __getattr__(name: str) -> Any:
    if name not in ("gradient_property", "strategies"):
        raise AttributeError(f"module 'pancake.testing' has no attribute {name!r}")
    try:
        importlib.import_module("hypothesis")
    except ImportError:
        raise ImportError(f"pancake.testing.{name} needs hypothesis: pip install hypothesis") from None
    if name == "strategies":
        return importlib.import_module("pancake.testing.strategies")
    return importlib.import_module("pancake.testing.properties").gradient_property


def __dir__() -> list[str]:
    return sorted({*__all__, "gradient_property", "strategies"})
