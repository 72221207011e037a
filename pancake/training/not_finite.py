"""Where numbers stop being finite: the search that `fit` makes once a loss is nan or infinite."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from pancake.arguments import parts_of
from pancake.function import Function
from pancake.origin import is_own
from pancake.training.arrays import first_not_finite, place
from pancake.tree import named_parts


class Call(NamedTuple):
    """A forward that is running."""

    function: Function
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class Found(NamedTuple):
    """The first output that is not finite, and the calls that were running then, outermost first.

    `before` and `calls` tell how often each Function was called before that, and in the end; a cell, since its Unrolled began.
    """

    output: Any
    running: list[Call]
    before: dict[int, int]
    calls: dict[int, int]


def is_finite(value: Any) -> bool:
    """Whether there is no nan and no infinite number in an array, also in tuples and lists of arrays."""
    if isinstance(value, (tuple, list)):
        return all(map(is_finite, value))
    return not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind != "f" or bool(np.isfinite(value).all())


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of NumPy about overflow and the like, for whoever looks at the loss; what is set to raise still does."""
    with np.errstate(**{kind: "ignore" for kind, how in np.geterr().items() if how == "warn"}):  # type: ignore[arg-type]
        yield


def reason(model: Function, x: Any, y: Any, weight: Any, lengths: Any) -> str:
    """Why the loss of this batch is not finite."""
    for name, array in (*(("inputs", part) for part in parts_of(x)), ("targets", y), ("weights", weight)):
        index = None if array is None else first_not_finite(array)
        if index is not None:
            return f"the {name} of that batch have nan or inf in them: {place(array, index)}"
    with _watched(model) as found:
        model(x) if lengths is None else model(x, lengths=lengths)
    if not found:
        return "all outputs are finite, so it is the loss itself that overflows"
    function = found[0].running[-1].function
    path = {id(part): name for name, part in named_parts(model)}[id(function)]
    where = f"{function!r}, part {path} of the model" if path else repr(function)
    time = _time_step(found[0])
    return f"the first Function whose output is not finite is {where}" + ("" if time is None else f", at time step {time}")


@contextmanager
def _watched(model: Function) -> Iterator[list[Found]]:
    """Wrap the forward of every part for one run; the list then has the first output that is not finite, or nothing."""
    found: list[Found] = []
    running: list[Call] = []
    calls: dict[int, int] = {}

    def watch(part: Function, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)  # whose signature tells whether it takes lengths
        def watched(*arguments: Any, **options: Any) -> Any:
            running.append(Call(part, arguments, options))
            if _is_unrolled(part):
                calls[id(part.cell)] = 0
            output = forward(*arguments, **options)
            if not found and not is_finite(output):
                found.append(Found(output, running.copy(), calls.copy(), calls))
            running.pop()
            calls[id(part)] = calls.get(id(part), 0) + 1
            return output

        return watched

    before = [(part, vars(part).get("compute_forward")) for part in model.walk()]
    try:
        for part, _ in before:
            vars(part)["compute_forward"] = watch(part, part.compute_forward)
        yield found
    finally:
        for part, forward in before:
            vars(part).pop("compute_forward", None)
            if forward is not None:
                vars(part)["compute_forward"] = forward


def _is_unrolled(function: Any) -> bool:
    """Whether that is an `Unrolled`, which is not loaded before somebody makes one, or derived from it."""
    return any(cls.__name__ == "Unrolled" and is_own(cls) for cls in type(function).__mro__)


def _time_step(found: Found) -> int | None:
    """The time step of the output, where there is time."""
    output, (*outer, last) = found.output, found.running
    for call in reversed(outer):
        if _is_unrolled(call.function):  # the cell is called once for each step; some first make their parameters
            cell, length = id(call.function.cell), _length(call)
            step = max(0, found.before[cell] - (found.calls[cell] - length))
            return length - 1 - step if call.function.reverse else step
    if _is_unrolled(last.function):  # the cells of the library need no call for each step
        reverse, every = last.function.reverse, copy.copy(last.function)
        vars(every).update(return_sequences=True)
        output = type(every).compute_forward(every, *last.arguments, **last.options)
        times = np.argwhere(~np.isfinite(output))[:, 1]
        return int(times.max() if reverse else times.min())
    if isinstance(output, np.ndarray) and output.ndim == 3:  # (B, T, ...)
        return int(np.argwhere(~np.isfinite(output))[:, 1].min())
    return None


def _length(call: Call) -> int:
    """How many steps an Unrolled runs."""
    lengths = call.options.get("lengths")
    return int(np.shape(call.arguments[0])[1] if lengths is None else np.max(lengths))
