"""`check_vjp`: the derivative of a plain function, written as another plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.testing.gradients import DEFAULTS, complete, in_double, refuse_infinity
from pancake.testing.pair import Pair
from pancake.testing.promises import is_linear, writes_nothing
from pancake.testing.report import GradientReport
from pancake.testing.subject import GradientError
from pancake.testing.trials import Trials


def check_vjp(
    forward: Callable[..., Any], backward: Callable[..., Any], *inputs: Any, cache: bool = False, **options: Any
) -> GradientReport:
    """Compare the gradients that one function returns with the derivatives of another, taken numerically.

    This is for derivatives that are not methods of a layer, and serves `torch.autograd.Function`, JAX's `custom_vjp` and
    autograd's `defvjp` as well: see docs/checking_other_frameworks.md. Beside the gradients it is checked that nothing is written
    to what was passed in, and that backward is linear in dObj_dOut, also where that is 0.

    Parameters
    ----------
    forward : callable
        forward(*inputs) returns an array, or a tuple of arrays.
    backward : callable
        backward(dObj_dOut, *inputs) returns the gradient of each input, in a tuple if there are several; None for inputs of
        integers. dObj_dOut is shaped like the output, and a tuple where that is one.
    *inputs : array_like
        Where to check. Floating-point numbers are converted to float64.
    cache : bool
        Whether forward returns (out, cache) and backward takes (dObj_dOut, cache).
    **options
        As in `check_gradients`.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        If a gradient is wrong, is missing or has a wrong shape, or if one of the two raises an exception.
    ValueError, TypeError
        If the arguments make no sense; also if an input is infinite.
    """
    for role, function in (("forward", forward), ("backward", backward)):
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"check_vjp: expected {role} to be a function, got {function!r}")
    if not inputs:
        raise TypeError("check_vjp: expected at least one input after the two functions")
    if unknown := set(options) - set(DEFAULTS):
        raise TypeError(f"check_vjp: expected the options {', '.join(DEFAULTS)}, got {', '.join(sorted(unknown))}")
    subject, _ = in_double(Pair(forward, backward, len(inputs), cache), inputs, None)
    refuse_infinity(subject)
    trials = Trials(subject)
    report = complete(subject, {**DEFAULTS, **options})
    with np.errstate(all="ignore"):
        for check in (writes_nothing, is_linear):
            for problem in check(trials):
                raise GradientError(problem, report)
    return report
