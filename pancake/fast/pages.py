"""Pages of elementwise layers as programs: their forward and backward, run once with stand-ins for arrays that note the calls.

There is one text of each derivative, that of the page; and what it computes in both directions is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from pancake.fast.kernels import Lies
from pancake.fast.program import Notes, StandIn, bound, scalar
from pancake.memory import Array

Call = tuple[Callable[..., Any], tuple[Any, ...], "Value"]

RESULT: Any = object()  # in place of the array for the result of backward, which is another one each time


class Value(StandIn):
    """What stands for an array (F, N) in a page; `array` is where it lies in the program."""

    array: Any = None

    def __init__(self, calls: dict[tuple[Any, ...], Call], z: Array) -> None:
        self.calls, self.z, self.shape, self.dtype = calls, z, z.shape, z.dtype

    def note(self, function: Callable[..., Any], *inputs: Any) -> Value:
        key = (function, *(id(value) if isinstance(value, Value) else (type(value), value) for value in inputs))
        if key not in self.calls:
            self.calls[key] = function, inputs, Value(self.calls, self.z)
        return self.calls[key][2]

    def __gt__(self, other: Any) -> Any:  # a condition of np.where, and of nothing else
        return np.greater, self, other

    def __array_function__(self, function: Any, _: Any, args: Any, kwargs: Any) -> Any:
        if function is not np.where or kwargs or args[0][0] is not np.greater:
            return NotImplemented
        return self.note(np.where, *args[0][1:], *args[1:])


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
        calls: dict[tuple[Any, ...], Call] = {}
        x, self.d = Value(calls, z), Value(calls, z)
        kept: list[Value] = []
        page: Any = object.__new__(type(layer))
        page._cache = None
        vars(page).update(
            vars(layer),
            _floats=lambda x: x,
            _upstream=lambda d, *_: d,
            _remember=lambda *what: kept.extend(what),
            _remembered=lambda: kept[0] if len(kept) == 1 else kept,
        )
        y = page.compute_forward(x)
        self.forward = [*calls.values()]
        dObj_dIn = page.compute_backward(self.d)
        self.backward = [*calls.values()][len(self.forward) :]
        calls.clear()  # or the values would hold each other

        x.array = z
        there = [x, *(value for *_, value in self.forward)]
        used = [item for _, inputs, _ in self.backward for item in inputs]
        free = _lay_out(self.forward, [y, *kept, *used], [], lambda: lies.new(len(z)))
        # backward may run twice: it leaves all that forward has made
        _lay_out(self.backward, [*there, self.d], [RESULT, *free], lambda: lies.new(len(z)))
        dObj_dIn.array = RESULT  # where nothing else is left by now
        self.y, self.remembered = y.array, [value.array for value in kept]

    def note_forward(self, notes: Notes) -> None:
        """Note how y is computed from z."""
        for function, inputs, value in self.forward:
            _note(notes, function, [_array(item) for item in inputs], value.array)

    def note_backward(self, notes: Notes, d: Any, s: Array) -> None:
        """Note how dObj_dIn is computed from dObj_dOut d, and written to s."""
        self.d.array = d
        for function, inputs, value in self.backward:
            arrays = [_array(item) for item in (*inputs, value)]
            *arrays, out = (s if array is RESULT else array for array in arrays)
            _note(notes, function, arrays, out)


def _array(item: Any) -> Any:
    return item.array if isinstance(item, Value) else item


def _lay_out(calls: list[Call], stay: Collection[Any], free: list[Any], new: Callable[[], Array]) -> list[Any]:
    """Give each result an array: that of an operand which is not needed any more, a free one, or a new one. Return the free ones.

    What is to `stay` is not overwritten.
    """
    kept = set(map(id, stay))
    last = {id(item): i for i, (_, inputs, _) in enumerate(calls) for item in inputs}
    for i, (function, inputs, value) in enumerate(calls):
        done = {
            id(item): item.array for item in inputs if isinstance(item, Value) and last[id(item)] == i and id(item) not in kept
        }
        # np.where copies its last argument, and then puts the other one over it
        over = [array for key, array in done.items() if function is not np.where or key == id(inputs[-1])]
        value.array = over[0] if over else free.pop(0) if free else new()
        free = [*(array for array in done.values() if array is not value.array), *free]
    return free


def _note(notes: Notes, function: Any, inputs: list[Any], out: Array) -> None:
    """Note one call, with arrays in the place of numbers."""
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
