"""Pages as programs: what a layer or a loss computes entry by entry, run once with stand-ins for arrays that note the calls.

There is one text of each derivative, that of the page; and what it computes in both directions is computed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from pancake.fast.kernels import Lies
from pancake.fast.program import Notes, StandIn, bound, scalar
from pancake.memory import Array

RESULT: Any = object()  # in place of the array for the result of backward, which is another one each time


class Value(StandIn):
    """What stands for an array in a page: the result of a `function` of some `inputs`, which lies in `array` in the program.

    Attributes
    ----------
    like : ndarray
        An array of the same shape and dtype.
    calls : dict
        All that has been called so far, by function and inputs.
    quiet : dict
        The warnings that the page has turned off for this call.
    """

    array: Any = None

    def __init__(
        self, like: Array, calls: dict[tuple[Any, ...], Value], function: Any = None, inputs: tuple[Any, ...] = ()
    ) -> None:
        self.like, self.calls, self.function, self.inputs = like, calls, function, inputs
        self.shape, self.size, self.dtype = like.shape, like.size, like.dtype
        self.quiet = {kind: how for kind, how in np.geterr().items() if how == "ignore"}

    def note(self, function: Callable[..., Any], *inputs: Any) -> Value:
        if function is np.power and inputs[1] == 2:  # as NumPy does for an array
            function, inputs = np.square, inputs[:1]
        key = (function, *(id(value) if isinstance(value, Value) else (type(value), value) for value in inputs))
        if key not in self.calls:
            self.calls[key] = type(self)(self.like, self.calls, function, inputs)
        return self.calls[key]

    def __array_function__(self, function: Any, _: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and not kwargs and isinstance(args[0], Value) and args[0].function is np.greater:
            return self.note(np.where, *args[0].inputs, *args[1:])
        return NotImplemented


class Page:
    """The calls of a layer that works entry by entry, for an input z, an array (F, N) that is nobody else's.

    Attributes
    ----------
    y : ndarray (F, N)
        The output.
    remembered : list of ndarray (F, N)
        What the layer would remember.
    """

    def __init__(self, layer: Any, lies: Lies, z: Array) -> None:
        calls: dict[tuple[Any, ...], Value] = {}
        x, self.d = Value(z, calls), Value(z, calls)
        kept: list[Value] = []
        page = blank(layer, kept, _floats=lambda x: x, _upstream=lambda d, *_: d)
        with np.errstate(all="warn"):  # to see which warnings the page turns off
            y = page.compute_forward(x)
            forward = len(calls)
            dObj_dIn = page.compute_backward(self.d)
        used = needed(calls.values(), [y, *kept, dObj_dIn])
        self.forward, self.backward = (
            [value for value in part if id(value) in used] for part in ([*calls.values()][:forward], [*calls.values()][forward:])
        )
        calls.clear()  # or the values would hold each other

        x.array = z
        there = [x, *self.forward]
        later = [item for value in self.backward for item in value.inputs]
        free = lay_out(self.forward, [y, *kept, *later], [], lambda: lies.new(len(z)))
        # backward may run twice: it leaves all that forward has made
        lay_out(self.backward, [*there, self.d], [RESULT, *free], lambda: lies.new(len(z)))
        dObj_dIn.array = RESULT  # where nothing else is left by now
        self.y, self.remembered = y.array, [value.array for value in kept]

    def note_forward(self, notes: Notes) -> None:
        """Note how y is computed from z."""
        note_all(notes, self.forward)

    def note_backward(self, notes: Notes, d: Any, s: Array) -> None:
        """Note how dObj_dIn is computed from dObj_dOut d, and written to s."""
        self.d.array = d
        note_all(notes, self.backward, s)


def blank(plain: Any, kept: list[Value], **others: Any) -> Any:
    """A layer or a loss with the same settings, whose methods can be run with stand-ins; what it remembers goes into `kept`."""
    page: Any = object.__new__(type(plain))
    page._cache = None
    vars(page).update(
        vars(plain),
        _remember=lambda *what: kept.extend(what),
        _remembered=lambda: kept[0] if len(kept) == 1 else kept,
        **others,
    )
    return page


def needed(calls: Iterable[Value], results: Iterable[Any]) -> set[int]:
    """The ids of what some results are made of: not that of the condition of an `np.where`, say, which has it in itself."""
    used = set(map(id, results))
    for value in reversed([*calls]):
        if id(value) in used:
            used.update(map(id, value.inputs))
    return used


def lay_out(calls: list[Value], stay: Collection[Any], free: list[Any], new: Callable[[], Array]) -> list[Any]:
    """Give each result an array: that of an operand which is not needed any more, a free one, or a new one. Return the free ones.

    What is to `stay` is not overwritten.
    """
    kept = set(map(id, stay))
    last = {id(item): i for i, value in enumerate(calls) for item in value.inputs}
    for i, value in enumerate(calls):
        inputs = value.inputs
        done = {
            id(item): item.array for item in inputs if isinstance(item, Value) and last[id(item)] == i and id(item) not in kept
        }
        # np.where copies its last argument, and then puts the other one over it
        over = [array for key, array in done.items() if value.function is not np.where or key == id(inputs[-1])]
        if value.size == 1:  # which NumPy copies before it writes over it, in three times the time
            over = []
        value.array = over[0] if over else free.pop(0) if free else new()
        free = [*(array for array in done.values() if array is not value.array), *free]
    return free


def note_all(notes: Notes, values: Iterable[Value], s: Any = None, then: Callable[[Value], list[str]] = lambda _: []) -> None:
    """Note calls, without warnings where the page gives none, and after each some lines. What is given is there already."""
    for quiet, group in itertools.groupby(values, lambda value: tuple(value.quiet)):
        start = len(notes.lines)
        for value in group:
            if value.function is not None:
                write(notes, value, s)
            notes.lines += then(value)
        if quiet:
            notes.hush(start, quiet)


def write(notes: Notes, value: Value, s: Any = None) -> None:
    """Note the call that a value is the result of, with arrays in the place of numbers, and s in that of `RESULT`."""
    function, out = value.function, s if value.array is RESULT else value.array
    arrays = [item.array if isinstance(item, Value) else item for item in value.inputs]
    inputs = [s if array is RESULT else array for array in arrays]
    if function is np.where:
        p, q, a, b = inputs
        if b is not out:
            notes.put(out, b)
        above = notes.expression(np.greater, p, scalar(q, out.dtype))
        notes.call(np.copyto, out, scalar(a, out.dtype) if isinstance(a, (int, float)) else a, "same_kind", above)
    elif function in (np.maximum, np.minimum):
        notes.call(function, *(bound(item, out) if isinstance(item, (int, float)) else item for item in inputs), out=out)
    else:
        notes.call(function, *(scalar(item, out.dtype) if isinstance(item, (int, float)) else item for item in inputs), out)
