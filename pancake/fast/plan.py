"""How a stack of the library's own Functions runs: what fitted once is not checked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pancake import memory
from pancake.function import Function
from pancake.functions.activations import Activation, PReLU
from pancake.functions.dropout import Dropout
from pancake.functions.linear import Linear, Way
from pancake.functions.normalization import BatchNorm, LayerNorm
from pancake.functions.shapes import Flatten
from pancake.memory import Array

# Functions of which the shape and dtype of the output follow for good from those of the input.
SETTLED = (Linear, Activation, PReLU, BatchNorm, LayerNorm, Dropout, Flatten)

PLANS = 8  # so many are kept, for the batches at the end of an epoch, say

ADDING, INTO_ZEROS, CHECKED = range(3)  # ways of backward

Step = Callable[[Any], Any]


class Plans:
    """How a stack runs, for each shape and dtype of its inputs, as long as its Functions and their parameters are the same.

    As long as inputs look the same, so does all that a `Linear` or an activation receives, and what these compute after
    their checks can be called directly: a tenth of the step of a small net.

    Attributes
    ----------
    stack : list of Function
    own : bool
        Whether all its parts are the library's, with the library's methods; there are plans only then.
    latest : Plan
        The one of the latest input.
    start : int
        Where the first Function with parameters stands.
    bits : list of ndarray
        See `_bits`.
    """

    def __init__(self, stack: list[Function]) -> None:
        self.stack, self.generation = stack.copy(), memory.generation
        parts = {id(part): part for function in stack for part in function.walk()}
        self.own = bool(stack) and all(
            type(part).__module__.startswith("pancake.") and vars(part).keys().isdisjoint(("compute_forward", "compute_backward"))
            for part in parts.values()
        )
        self.known: dict[tuple[Any, ...], Plan] = {}
        self.latest: Plan | None = None
        if self.own:
            self.start = next((i for i, function in enumerate(stack) if function._has_parameters()), len(stack))
            self.bits = _bits(stack)

    def choose(self, x: Array) -> tuple[Plan, Any]:
        """The plan for x, from now on the latest; if it is new, also the output of the forward that made it."""
        if self.latest is not None:
            for _, (way, *_) in self.latest.caches:
                way.forget()
        plan, y = self.known.get((x.shape, x.dtype)), None
        if plan is None:
            plan, y = first_forward(self, x)
            if len(self.known) == PLANS:
                del self.known[next(iter(self.known))]
            self.known[x.shape, x.dtype] = plan
        self.latest = plan
        return plan, y


class Plan(NamedTuple):
    """The calls that a stack makes for inputs of one shape and dtype.

    Backward runs with the gradient of the input or, when it ends at the first Function with parameters, without. Either is
    noted in three ways: where the gradients of Linears are anything; where they are zero, and products are written into them
    instead of added (5 % of a step, and no second array of the size of a large weight); and with all checks, for a Linear that
    has been called alone since the forward.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    forwards: list[Step]
    caches: list[tuple[Linear, Any]]  # what these do not set themselves
    output: tuple[Function, tuple[int, ...], np.dtype[Any]] | None  # what dObj_dOut must look like, if nobody else checks it
    backwards: tuple[list[Step], list[Step], list[Step]]
    accumulates: tuple[list[Step], list[Step], list[Step]]
    bits: list[Any]  # of the gradients of Linears, see `_bits`

    def run_back(self, steps: tuple[list[Step], list[Step], list[Step]], d: Any) -> Any:
        """Run `backwards` or `accumulates` for dObj_dOut."""
        if self.output is not None:
            function, shape, dtype = self.output
            if d.__class__ is not np.ndarray or d.shape != shape or d.dtype is not dtype:
                d = function._upstream(d, shape, dtype)
        which = INTO_ZEROS if self.bits else ADDING
        for bits in self.bits:
            if bits.item(bits.argmax()):
                which = ADDING
                break
        for layer, cache in self.caches:
            if layer._cache is not cache:
                which = CHECKED
        for compute in steps[which]:
            d = compute(d)
        return d


def first_forward(plans: Plans, x: Array) -> tuple[Plan, Any]:
    """Run the stack with all checks; return the plan for the next x like this one, and the output."""
    shape, dtype = x.shape, x.dtype
    calls: list[_Calls] = []
    caches: list[tuple[Linear, Any]] = []
    direct, settled, fresh = False, True, False
    y: Any = x
    for function in plans.stack:
        x, y = y, function.compute_forward(y)
        # `settled`: whether x looks as it does for good; `fresh`: whether nobody outside has it
        direct = settled and x.dtype == y.dtype
        if direct and isinstance(function, Linear) and x.ndim == 2:
            calls.append(_direct_linear(function))
            caches.append((function, function._cache))
        elif direct and isinstance(function, Activation):
            calls.append(_direct_activation(function, fresh))
        else:
            calls.append(_checked(function))
            direct = False
        settled, fresh = settled and isinstance(function, SETTLED), isinstance(function, Linear)
    output = (plans.stack[-1], y.shape, y.dtype) if direct else None
    whole, later, last = calls[::-1], calls[: plans.start : -1], calls[plans.start : plans.start + 1]
    checked: list[Step] = [function.compute_backward for function in reversed(plans.stack)]
    backwards = (
        [call.backward for call in whole],
        [call.backward_into_zeros for call in whole],
        checked,
    )
    accumulates = (
        [call.backward for call in later] + [call.accumulate for call in last],
        [call.backward_into_zeros for call in later] + [call.accumulate_into_zeros for call in last],
        checked[: len(later)] + [function.accumulate_grads for function in plans.stack[plans.start : plans.start + 1]],
    )
    forwards = [call.forward for call in calls]
    return Plan(shape, dtype, forwards, caches, output, backwards, accumulates, plans.bits), y


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

    No vectors where products cannot be written into them: where gradients have gaps, or where two Functions share one, since
    the second must add to what the first has written.
    """
    everything = [function.get_params_and_grads() for function in stack]
    linear = [pair for function, pair in zip(stack, everything, strict=True) if isinstance(function, Linear)]
    vectors = []
    for pairs in (everything, linear):
        params, grads = ([array for pair in pairs for array in pair[i]] for i in (0, 1))
        vectors = [run.grads for run in memory.runs(params, grads)]
        if sum(vector.size for vector in vectors) < sum(grad.size for grad in grads):
            return []
    if not all(grad.T.flags.c_contiguous for grad in grads):
        return []
    return [vector.view(f"u{min(vector.itemsize, 8)}") for vector in vectors]
