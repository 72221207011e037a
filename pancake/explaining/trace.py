"""One forward and one backward, watched: what goes into each part of a model and what comes out, both ways."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pancake import fast
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.memory import Array
from pancake.recurrent.unrolled import Unrolled
from pancake.tree import named_parts


class Parameter(NamedTuple):
    """A parameter of a layer, and the gradient that it gets."""

    name: str
    value: Array
    grad: Array


@dataclass
class TimeStep:
    """One step of a recurrent net: what its copy of the cell takes and gives, forward and backward.

    Attributes
    ----------
    time : int
    x, before : array, state
        The input of the step, and the state that the step before it has left.
    out, state : array, state
        Its output, and the state that it hands on.
    dObj_dOut, dObj_dState : array, state
        The gradients that arrive: from the output, and from the step after it.
    dObj_dIn, dObj_dBefore : array, state
        Those that leave: to the input, and to the step before it.
    """

    time: int
    x: Array
    before: Any
    out: Array
    state: Any
    dObj_dOut: Any = None
    dObj_dState: Any = None
    dObj_dIn: Any = None
    dObj_dBefore: Any = None


@dataclass
class Step:
    """One call of a part of the model: a row of the explanation.

    Attributes
    ----------
    path : str
        Its place in the model, as in the keys of `state_dict`.
    function : Function
        A copy, which has run.
    depth : int
        Inside how many containers other than stacks it stands.
    x, y : array, or tuple of arrays
        Input and output.
    dObj_dOut, dObj_dIn : the same
        The gradient that arrives and the one that leaves; None where no backward came by.
    parameters : list of Parameter
        Its own, and those of a cell that it unrolls.
    times : list of TimeStep
        Of a cell that is unrolled, in the order of forward.
    """

    path: str
    function: Function
    depth: int
    x: Any
    y: Any = None
    dObj_dOut: Any = None
    dObj_dIn: Any = None
    parameters: list[Parameter] = field(default_factory=list)
    times: list[TimeStep] = field(default_factory=list)


class Trace(NamedTuple):
    """All that was seen.

    Attributes
    ----------
    model : Function
        The copy that has run.
    loss : Loss
        As well.
    x, y, pred : what went in, the target, and what came out
    objective : float
        The sum, where the loss is not reduced.
    dObj_dPred, dObj_dX : the gradients at both ends
    steps : list of Step
        In the order of forward.
    """

    model: Function
    loss: Any
    x: Any
    y: Any
    pred: Any
    objective: float
    dObj_dPred: Any
    dObj_dX: Any
    steps: list[Step]


def trace(model: Function, loss: Any, x: Any, y: Any, weight: Any, lengths: Any) -> Trace:
    """Run a copy of the model forward and backward; the model itself, and its random generators, stay as they are."""
    model, loss = copy.deepcopy(model), copy.deepcopy(loss)
    for grad in model.get_params_and_grads()[1]:
        grad.fill(0)
    steps: list[Step] = []
    with fast.off(), np.errstate(all="ignore"):
        watch(model, steps)
        pred = model(x) if lengths is None else model(x, lengths=lengths)
        values = loss(pred, y) if weight is None else loss(pred, y, weight)
        dObj_dPred = loss.compute_backward()
        dObj_dX = model.compute_backward(dObj_dPred)
    counted: set[int] = set()
    for step in steps:
        step.parameters = _parameters(step.function, counted)
    return Trace(model, loss, x, y, pred, float(np.sum(values)), dObj_dPred, dObj_dX, steps)


def watch(model: Function, steps: list[Step]) -> None:
    """Put an eye on every part of the model but the cells that are unrolled, whose copies run."""
    running: list[Function] = []
    paths = {id(part): path for path, part in named_parts(model)}
    for part in _seen(model):
        vars(part)["compute_forward"] = _forward(part, part.compute_forward, paths[id(part)], running, steps)
        vars(part)["compute_backward"] = _backward(part, part.compute_backward, steps)
        vars(part)["accumulate_grads"] = functools.partial(_accumulate, part)


def _seen(part: Function) -> Iterator[Function]:
    yield part
    if not isinstance(part, Unrolled):
        for member in part._parts():
            yield from _seen(member)


def _forward(
    part: Function, forward: Callable[..., Any], path: str, running: list[Function], steps: list[Step]
) -> Callable[..., Any]:
    @functools.wraps(forward)  # whose signature tells whether it takes lengths
    def watched(*arguments: Any, **options: Any) -> Any:
        if isinstance(part, Sequential):
            return forward(*arguments, **options)
        step = Step(path, part, len(running), _copied(_given(arguments)))
        steps.append(step)
        if isinstance(part, Unrolled):
            vars(part)["_copies"] = functools.partial(_Copies, type(part)._copies(part), step.times, part)
        running.append(part)
        try:
            output = forward(*arguments, **options)
        finally:
            running.pop()
        step.y = _copied(output)
        return output

    return watched


def _backward(part: Function, backward: Callable[..., Any], steps: list[Step]) -> Callable[..., Any]:
    @functools.wraps(backward)
    def watched(*arguments: Any, **options: Any) -> Any:
        result = backward(*arguments, **options)
        step = next((s for s in reversed(steps) if s.function is part and s.dObj_dOut is None), None)
        if step is not None:
            step.dObj_dOut, step.dObj_dIn = _copied(_given(arguments)), _copied(result)
        return result

    return watched


class _Copies:
    """The steps of an unrolled cell, each with an eye on it."""

    def __init__(self, copies: Any, times: list[TimeStep], unrolled: Unrolled) -> None:
        self.copies, self.times, self.unrolled = copies, times, unrolled
        self.cell = copies.cell

    def of(self, x: Array, state: Any) -> list[_Watched]:
        steps = zip(self.unrolled._times(x), self.copies.of(x, state), strict=True)
        return [_Watched(step, t, self.times) for t, step in steps]


class _Watched:
    """One step, and the note of what it takes and gives."""

    def __init__(self, step: Any, time: int, times: list[TimeStep]) -> None:
        self.step, self.time, self.times, self.refused = step, time, times, step.refused

    def compute_forward(self, x_t: Array, state: Any) -> Any:
        out_t, new = self.step.compute_forward(x_t, state)
        self.note = TimeStep(self.time, _copied(x_t), _copied(state), _copied(out_t), _copied(new))
        self.times.append(self.note)
        return out_t, new

    def compute_backward(self, dObj_dOut_t: Array, dObj_dState: Any) -> Any:
        result = self.step.compute_backward(dObj_dOut_t, dObj_dState)
        self.note.dObj_dOut, self.note.dObj_dState = _copied(dObj_dOut_t), _copied(dObj_dState)
        self.note.dObj_dIn, self.note.dObj_dBefore = map(_copied, result)
        return result


def _parameters(function: Function, counted: set[int]) -> list[Parameter]:
    """Its own parameters, and those of an unrolled cell; one that two parts share stands with the first."""
    found: list[Parameter] = []
    owners: Any = named_parts(function) if isinstance(function, Unrolled) else [("", function)]
    for path, owner in owners:
        for name, value, grad in owner._own_parameters():
            if id(value) not in counted:
                counted.add(id(value))
                found.append(Parameter(f"{path}.{name}" if path else name, value, grad))
    return found


def _accumulate(part: Function, *dObj_dOut: Any) -> None:
    """Backward with the gradient of the input, also where nobody needs it: it is to be shown."""
    part.compute_backward(*dObj_dOut)


def _given(arguments: tuple[Any, ...]) -> Any:
    """The one argument, or a tuple of several; what is None was not given."""
    while len(arguments) > 1 and arguments[-1] is None:
        arguments = arguments[:-1]
    return arguments[0] if len(arguments) == 1 else arguments


def _copied(value: Any) -> Any:
    """Arrays as they are now, in case somebody writes into them."""
    if isinstance(value, tuple):
        return tuple(map(_copied, value))
    return None if value is None else np.asarray(value).copy()
