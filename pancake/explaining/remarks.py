"""What is remarkable in a forward and a backward: what is large, dead or zero."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from pancake.explaining.trace import Step
from pancake.functions.dropout import Dropout
from pancake.memory import Array

LARGE = 1e3  # outputs and gradients beyond it are large, and by that factor a gradient grows or shrinks in one layer
STEEP = 10.0  # how many times as large as the parameter a gradient is large


def arrays_in(value: Any) -> list[Array]:
    """The arrays of a value that may be an array, or a tuple of values."""
    if value is None:
        return []
    if isinstance(value, tuple):
        return [array for part in value for array in arrays_in(part)]
    return [np.asarray(value)]


def norm(value: Any) -> float:
    """sqrt(sum of squares) over all arrays of a value, without overflow."""
    arrays = [array.astype(np.float64) for array in arrays_in(value) if array.size]
    largest = max((float(np.abs(array).max()) for array in arrays), default=0.0)
    if not largest or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(sum(float(np.square(array / largest).sum()) for array in arrays))


def gradient_of(step: Step) -> float:
    """The norm of the gradient of all parameters of a layer."""
    return norm(tuple(parameter.grad for parameter in step.parameters))


def remarks(step: Step) -> list[str]:
    """What somebody who looks for a fault would want to know of a layer, in sentences without a full stop."""
    found = [*_of_outputs(step), *_of_gradients(step), *_of_parameters(step)]
    if step.function.frozen and step.parameters:
        found.append("frozen: its parameters get no gradient")
    return found


def _of_outputs(step: Step) -> Iterator[str]:
    for y in arrays_in(step.y):
        if y.dtype.kind != "f" or not y.size:
            continue
        if not np.isfinite(y).all():
            yield f"{np.count_nonzero(~np.isfinite(y))} of {y.size} numbers put out are nan or infinite"
            continue
        if np.abs(y).max() > LARGE:
            yield f"large: puts out up to {np.abs(y).max():.3g}"
        units = y.reshape(-1, y.shape[-1]) if y.ndim > 1 else y.reshape(-1, 1)
        zero = int((units == 0).all(axis=0).sum())
        if zero == units.shape[1]:
            yield "dead: puts out 0 for every example"
        elif zero and len(units) > 1 and not isinstance(step.function, Dropout):  # whose zeros are of this forward alone
            yield f"dead: {zero} of {units.shape[1]} units put out 0 for every example, so that no gradient passes them"
        elif len(units) > 1:
            constant = int((np.ptp(units, axis=0) <= 1e-6 * np.abs(units).max()).sum())
            if constant:
                yield f"dead: {constant} of {units.shape[1]} units put out the same for every example"


def _of_gradients(step: Step) -> Iterator[str]:
    arrives, leaves = step.dObj_dOut, step.dObj_dIn
    if arrives is None:
        yield "no gradient arrives: no backward came by"
        return
    if any(not np.isfinite(d).all() for d in (*arrays_in(arrives), *arrays_in(leaves))):
        yield "the gradient is nan or infinite"
        return
    before, after = norm(arrives), norm(leaves)
    if not before:
        yield "the gradient that arrives is 0, so nothing before this layer learns from it"
    elif not after:
        if not any(x.dtype.kind in "biu" for x in arrays_in(step.x)):
            yield "the gradient that leaves is 0: nothing before this layer learns"
    elif after > LARGE * before:
        yield f"the gradient grows by a factor of {after / before:.3g} on its way back"
    elif after < before / LARGE:
        yield f"the gradient shrinks by a factor of {before / after:.3g} on its way back"
    if len(step.times) > 1:
        first, last = (norm(step.times[i].dObj_dBefore) for i in (0, -1))
        if last > 0 and first < last / LARGE:
            yield f"through time the gradient of the state shrinks from {last:.3g} to {first:.3g}"
        elif first > LARGE * last > 0:
            yield f"through time the gradient of the state grows from {last:.3g} to {first:.3g}"


def _of_parameters(step: Step) -> Iterator[str]:
    if step.function.frozen or step.dObj_dOut is None:
        return
    for name, value, grad in step.parameters:
        if not np.isfinite(grad).all():
            yield f"the gradient of {name} is nan or infinite"
        elif not grad.any():
            yield f"the gradient of {name} is 0"
        elif norm(value) and norm(grad) > STEEP * norm(value):
            yield f"the gradient of {name} is {norm(grad) / norm(value):.3g} times as large as {name} itself"
