"""Functions made of Functions: one after another."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, overload

import numpy as np

from pancake import memory
from pancake.fast.plan import Plan, Plans
from pancake.function import Function
from pancake.functions.embedding import Embedding
from pancake.memory import Array, Pair


class Identity(Function):
    """y = x.

    The derivative is 1: dObj_dIn = dObj_dOut. Input and output have the same shape, any. Source: the definition.
    """

    def compute_forward(self, x: Any) -> Array:
        y = self._floats(x).copy()
        self._cache = y.shape, y.dtype
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        return self._upstream(dObj_dOut, *self._remembered()).copy()


class Sequential(Function):
    """Functions one after another: y = f_n(... f_2(f_1(x))).

    Backward is the chain rule: each Function turns the gradient of its output into the gradient of its input and hands
    that to the one before it.

    Parameters
    ----------
    functions : iterable of Function
        The stack, first to last. Stacks nest.

    Raises
    ------
    TypeError
        If an element is not a Function.
    ValueError
        If one Function stands in the stack twice: it would remember only its later input. `shared_copy` gives a second
        Function with the same parameters.

    References
    ----------
    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986), equations 4 to 7.
    """

    def __init__(self, functions: Iterable[Function]) -> None:
        self.functions: list[Function] = []
        if isinstance(functions, Function) or not isinstance(functions, Iterable):
            raise TypeError(f"Sequential: expected a list of Functions, got {functions!r}; write Sequential([...])")
        add_parts(self, self.functions, functions)

    def add(self, function: Function) -> Sequential:
        """Append a Function to the end of the stack and return the stack. Optimizers of the stack take it up."""
        add_parts(self, self.functions, [function])
        memory.arrays_changed()
        return self

    def compute_forward(self, x: Any, lengths: Any = None) -> Any:
        """Run the stack; the lengths (B,) of sequences, where there are any, go to the Functions that take them."""
        plan: Plan | None = None  # how to run without checks, if x looks like one that has been here before: see plan.py
        if lengths is not None:
            check_lengths(self)
        elif self.training and x.__class__ is np.ndarray:
            plans: Plans | None = self._views
            if plans is None or plans.stack != self.functions or plans.generation != memory.generation:
                plans = self._views = Plans(self.functions)
            plan = plans.latest
            if plans.own and (plan is None or x.shape != plan.shape or x.dtype != plan.dtype):
                self._cache = None
                plan, y = plans.choose(x)
                if y is not None:
                    self._cache = plan
                    return y
        self._cache = plan
        if plan is None:
            for function in self.functions:
                x = forward(function, x, lengths)
            return x if self.functions else np.array(x)
        for compute in plan.forwards:
            x = compute(x)
        for layer, cache in plan.caches:
            layer._cache = cache
        return x

    def _evaluate(self, x: Any, fresh: bool) -> Any:
        if not self.functions:
            return None
        for function in self.functions:
            x = function._evaluate(x, fresh)
            if x is None or "compute_forward" in function.__dict__:
                return None
            fresh = True
        return x

    def _takes_lengths(self) -> bool:
        return any(function._takes_lengths() for function in self.functions)

    def compute_backward(self, dObj_dOut: Any) -> Any:
        plan: Plan | None = self._cache
        if plan is not None:
            return plan.run_back(plan.backwards, dObj_dOut)
        for function in reversed(self.functions):
            dObj_dOut = function.compute_backward(dObj_dOut)
        return dObj_dOut if self.functions else np.array(dObj_dOut)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Backward without dObj_dIn: it ends at the first Function with parameters, whose input gradient nobody needs."""
        plan: Plan | None = self._cache
        if plan is not None:
            plan.run_back(plan.accumulates, dObj_dOut)
            return
        for first, function in enumerate(self.functions):
            if function._has_parameters():
                for later in self.functions[:first:-1]:
                    dObj_dOut = later.compute_backward(dObj_dOut)
                function.accumulate_grads(dObj_dOut)
                return

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of the Functions with the shapes of their outputs and the numbers of their parameters, as text.

        Parameters
        ----------
        input_shape : tuple of int
            Of a batch, its first axis included: (1, 784), say. Zeros of that shape are sent through in evaluation mode; they
            are integers where the stack begins with an Embedding.

        Raises
        ------
        ValueError
            As the forward does, if the shape does not fit.
        """
        rows = [("", "input", str(tuple(input_shape)), "")]
        model = copy.deepcopy(self)
        model.eval()
        first: Function = model
        while isinstance(first, Sequential) and first.functions:
            first = first.functions[0]
        x: Any = np.zeros(input_shape, np.intp if isinstance(first, Embedding) else np.float64)
        for index, function in enumerate(model):
            x = function.compute_forward(x)
            rows.append((str(index), repr(function), str(np.shape(x)), f"{function.num_parameters:,}"))
        rows.append(("", "all", "", f"{self.num_parameters:,}"))
        table = [("", "Function", "output", "parameters"), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        lines = [f"{a:>{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in table]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _members(self) -> Iterator[tuple[str, Function | Pair]]:
        for name, member in super()._members():
            yield name.removeprefix("functions."), member

    def __len__(self) -> int:
        return len(self.functions)

    def __iter__(self) -> Iterator[Function]:
        return iter(self.functions)

    @overload
    def __getitem__(self, index: int) -> Function: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Function:
        """The Function at an index; for a slice a Sequential of the very same Functions."""
        return Sequential(self.functions[index]) if isinstance(index, slice) else self.functions[index]


def forward(function: Function, x: Any, lengths: Any) -> Any:
    """The output of a Function, called with the lengths of sequences if there are any and it takes them."""
    if lengths is None or not function._takes_lengths():
        return function.compute_forward(x)
    return function.compute_forward(x, lengths=lengths)  # type: ignore[call-arg]


def check_lengths(owner: Function) -> None:
    """Refuse lengths for a container in which nothing takes them."""
    if not owner._takes_lengths():
        raise TypeError(f"{owner!r}: got lengths, but nothing in it takes them; Unrolled and Bidirectional do")


def add_parts(owner: Function, parts: list[Function], new: Iterable[object]) -> None:
    """Append Functions to the parts of a container, after making sure that they are Functions and not there already."""
    name = type(owner).__name__
    present = {id(function) for function in owner.walk()}
    for part in new:
        if not isinstance(part, Function):
            hint = f"; make one first: {part.__name__}(...)" if isinstance(part, type) else ""
            raise TypeError(f"{name}: expected a Function at position {len(parts)}, got {part!r}{hint}")
        inside = {id(function): function for function in part.walk()}
        for key in inside.keys() & present:
            raise ValueError(
                f"{name}: {inside[key]!r} stands in it twice, and would remember only the later of its inputs; "
                "use shared_copy() for a second one with the same parameters"
            )
        present |= inside.keys()
        parts.append(part)
