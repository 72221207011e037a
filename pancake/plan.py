"""How a stack of the library's own Functions runs: what fitted once is not checked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pancake import flat
from pancake.activations import Activation, PReLU
from pancake.flat import Array
from pancake.function import Function
from pancake.linear import Linear, Way
from pancake.normalization import BatchNorm, Dropout, LayerNorm
from pancake.shapes import Flatten

# Functions of which the shape and dtype of the output follow for good from those of the input.
SETTLED = (Linear, Activation, PReLU, BatchNorm, LayerNorm, Dropout, Flatten)

Step = Callable[[Any], Any]


class Plan:
    """The calls that a stack makes for inputs of one shape and dtype, noted in a first forward with such an input.

    As long as its inputs look the same, so does all that a `Linear` or an activation receives, and what these compute after
    their checks is called directly: a fifth of the step of a small net.

    Backward begins with a look whether the gradients of all `Linear` layers are zero, as they are after `zero_grad`. If so,
    products are written into them instead of added: 5 % of a step, and no second array of the size of a large weight.

    Parameters
    ----------
    stack : list of Function
        The library's own, all their parts included.
    x : ndarray
        The input of the first forward, which is made here, with all checks.

    Attributes
    ----------
    y
        Its output; whoever takes it sets this to None.
    """

    def __init__(self, stack: list[Function], x: Array) -> None:
        self.stack, self.shape, self.dtype, self.generation = stack.copy(), x.shape, x.dtype, flat.generation
        self.caches: list[tuple[Linear, Any]] = []  # what the noted calls do not set themselves
        calls: list[_Calls] = []
        direct, settled, fresh = False, True, False
        y: Any = x
        for function in stack:
            x, y = y, function.compute_forward(y)
            # `settled`: whether x looks as it does for good; `fresh`: whether nobody outside has it
            direct = settled and x.dtype == y.dtype
            if direct and isinstance(function, Linear) and x.ndim == 2:
                calls.append(_direct_linear(function))
                self.caches.append((function, function._cache))
            elif direct and isinstance(function, Activation):
                calls.append(_direct_activation(function, fresh))
            else:
                calls.append(_checked(function))
                direct = False
            settled, fresh = settled and isinstance(function, SETTLED), isinstance(function, Linear)
        self.y: Any = y
        # what dObj_dOut must look like, unless the last Function checks it
        self.output = (stack[-1], y.shape, y.dtype) if direct else None
        self.forwards = [call.forward for call in calls]
        # Backward runs in one of four ways: with the gradient of the input or, when it ends at the first Function with
        # parameters, without; and where the gradients of Linears are anything, or where they are zero.
        start = next((i for i, function in enumerate(stack) if function._has_parameters()), len(stack))
        whole, later, last = calls[::-1], calls[:start:-1], calls[start : start + 1]
        self.backwards = (
            [call.backward for call in whole],
            [call.backward_into_zeros for call in whole],
        )
        self.accumulates = (
            [call.backward for call in later] + [call.accumulate for call in last],
            [call.backward_into_zeros for call in later] + [call.accumulate_into_zeros for call in last],
        )
        self.bits = _bits(stack)

    def run_back(self, steps: tuple[list[Step], list[Step]], d: Any) -> Any:
        """Run `backwards` or `accumulates` for dObj_dOut."""
        if self.output is not None:
            function, shape, dtype = self.output
            if d.__class__ is not np.ndarray or d.shape != shape or d.dtype is not dtype:
                d = function._upstream(d, shape, dtype)
        into_zeros = bool(self.bits)
        for bits in self.bits:
            if bits.item(bits.argmax()):
                into_zeros = False
                break
        for compute in steps[into_zeros]:
            d = compute(d)
        return d


class _Calls(NamedTuple):
    """What a plan calls of a Function."""

    forward: Step
    backward: Step
    backward_into_zeros: Step
    accumulate: Step
    accumulate_into_zeros: Step


def _checked(function: Function) -> _Calls:
    forward, backward, accumulate = function.compute_forward, function.compute_backward, function.accumulate_grads
    if isinstance(function, Linear):
        return _Calls(forward, backward, function._backward_into_zeros, accumulate, function._accumulate_into_zeros)
    return _Calls(forward, backward, backward, accumulate, accumulate)


def _direct_linear(layer: Linear) -> _Calls:
    way: Way = layer._cache[0]
    return _Calls(way.forward, way.backward, way.backward_into_zeros, way.accumulate, way.accumulate_into_zeros)


def _direct_activation(activation: Activation, fresh: bool) -> _Calls:
    forward, backward = activation._overwrite if fresh else activation._forward, activation._backward
    return _Calls(forward, backward, backward, backward, backward)


def _bits(stack: list[Function]) -> list[Any]:
    """The gradients of all Linears in few vectors, as whole numbers that are 0 only where a gradient is.

    None where products cannot be written into them: where gradients have gaps, or where two Functions share one, since the
    second must add to what the first has written.
    """
    layers = [function for function in stack if isinstance(function, Linear)]
    params = [p for layer in layers for p in layer.get_params_and_grads()[0]]
    grads = [g for layer in layers for g in layer.get_params_and_grads()[1]]
    everybodys = [id(g) for function in stack for g in function.get_params_and_grads()[1]]
    runs = flat.runs(params, grads)
    if (
        len(set(everybodys)) < len(everybodys)
        or not all(g.T.flags.c_contiguous for g in grads)
        or sum(run.grads.size for run in runs) < sum(g.size for g in grads)
    ):
        return []
    return [run.grads.view(f"u{min(run.grads.itemsize, 8)}") for run in runs]
