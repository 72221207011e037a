"""Losses that compare entry with entry, as programs: the calls of their pages, noted as those of layers are."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Literal

import numpy as np

from pancake.fast.loss_kernels import LossKernel, aligned, as_numbers, fill_absent, need, note_cast, total
from pancake.fast.pages import Value, blank, lay_out, needed, note_all
from pancake.fast.program import Notes, Text, scalar
from pancake.memory import Array


class Entry(Value):
    """What stands for the prediction, the target or the weights in the page of a loss."""

    def all(self) -> bool:
        """Note that the page asks whether a condition holds everywhere: where a program runs to its end, it does."""
        self.note(np.all, self)
        return True

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return super().__array_ufunc__(ufunc, method, *(self._held(value) for value in inputs), **options)

    def _held(self, value: Any) -> Any:
        """What stands for a setting that is an array."""
        if not isinstance(value, (np.ndarray, np.generic)) or isinstance(value, float):
            return value
        held = Entry(self.like, self.calls)
        held.array = np.empty_like(self.like)
        held.array[...] = value
        return held

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.clip and not kwargs:
            x, low, high = args
            return np.minimum(np.maximum(x, low), high)
        if function is np.ones_like:
            return ONE
        if function is np.where and args[0] is False:
            return args[2]
        if function is np.where and args[0].function is np.equal and args[1] == 0:
            return args[2]  # a product that is 0 where a factor is: or it is nan, and the page is asked
        return super().__array_function__(function, types, args, kwargs)


class _One:
    """What stands for weights of 1."""

    def __mul__(self, other: Any) -> Any:
        return other

    __rmul__ = __mul__
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:  # for np.where(w == 0, ...)
        return False


ONE = _One()


class PageKernel(LossKernel):
    """What the page of a loss calls. What depends on the target or on weights alone is computed first."""

    def __init__(self, loss: Any, notes: Notes, pred: Array, target: Array, weight: Array | None, divisor: float) -> None:
        calls: dict[tuple[Any, ...], Value] = {}
        kept: list[Any] = []
        # a prediction of weight 0 may be anything; if it is felt, the value is not finite, and the page is asked
        how: Literal["warn", "ignore"] = "warn" if weight is None else "ignore"
        with np.errstate(under="warn", divide=how, over=how, invalid=how):
            p, t, w = (Entry(pred, calls) for _ in range(3))
            entries = p, t, ONE if weight is None else w
            page = blank(
                loss, kept, _entries=lambda *_: entries, _reduced=lambda values, _: values, _gradient=lambda slopes: slopes
            )
            values = inspect.unwrap(type(loss).compute_forward)(page, *entries)
            slopes = inspect.unwrap(type(loss).compute_backward)(page)
        looks = [limit for value in calls.values() if value.function is np.all for limit in _limits(*value.inputs)]
        asked = [x for x, _, _ in looks]
        used = needed(calls.values(), [values, slopes, *kept, *asked])
        every = [value for value in calls.values() if id(value) in used]
        calls.clear()  # or the values would hold each other
        moving = {id(p)}
        for value in every:
            if not moving.isdisjoint(map(id, value.inputs)):
                moving.add(id(value))
        early, late = ([value for value in every if (id(value) in moving) is is_late] for is_late in (False, True))
        for value in (t, *early):
            value.quiet = {}

        def new() -> Array:
            return np.empty_like(pred)

        def own(entry: Value) -> bool:
            return any(item is entry for item in kept)

        p.array = Text("pred") if notes.name(pred) == "pred" else pred
        if own(p) and p.array is not pred:  # which is somebody else's, to change before backward comes
            p.array = new()
            notes.put(p.array, pred)
        start = len(notes.lines)
        t.array = Text("target")
        if own(t) or target.dtype != pred.dtype or weight is not None:
            t.array = new()
            note_cast(notes, t.array, Text("target"), target.dtype)
        if weight is not None:
            w.array = new()
            note_cast(notes, w.array, aligned(weight, pred.ndim), weight.dtype)
            notes.lines.append(as_numbers(notes, w.array, w.dtype, float(np.finfo(w.dtype).max)))
            notes.call(fill_absent, t.array, scalar(loss.absent[1], t.dtype), aligned(weight, pred.ndim))
        given = [item for value in every for item in value.inputs if isinstance(item, Value) and item.function is None]
        lay_out(early, [*given, *kept, *(item for value in late for item in value.inputs)], [], new)
        looks_of = functools.partial(_looks_of, notes, looks)
        note_all(notes, [t, *early], then=looks_of)
        self.note_target(notes, target, weight, start)
        lay_out(late, [*given, *early, *kept, values, slopes], [], new)
        note_all(notes, [p, *late], then=looks_of)
        self.note_value(notes, total(notes, values.array), divisor, pred.dtype)
        self.g, self.last = new(), (np.divide, slopes.array, scalar(divisor, pred.dtype))
        self.remembered = [np.ones((1,) * pred.ndim, pred.dtype) if item is ONE else item.array for item in kept]

    def kept(self) -> tuple[Any, ...]:
        return tuple(self.remembered)


def _limits(check: Any) -> list[tuple[Value, Any, float]]:
    """The comparisons of values with numbers that a condition is made of."""
    if check.function is np.bitwise_and:
        return [limit for part in check.inputs for limit in _limits(part)]
    x, number = check.inputs
    if not isinstance(x, Value) or not isinstance(number, (int, float)):
        raise TypeError("only comparisons with numbers are noted")
    return [(x, check.function, number)]


def _looks_of(notes: Notes, every: list[tuple[Value, Any, float]], value: Value) -> list[str]:
    """The lines that are a ValueError unless all entries of a value are as a page asks."""
    looks = {(look, number) for x, look, number in every if x is value}
    if looks == {(np.greater_equal, 0), (np.less_equal, 1)}:
        return [as_numbers(notes, value.array, value.dtype, 1)]
    extremes = {np.greater_equal: (">=",), np.less_equal: ("<=",), np.equal: (">=", "<=")}
    return [
        notes.expression(
            need,
            Text(f"{notes.expression((np.minimum if sign == '>=' else np.maximum).reduce, value.array, None)} {sign} {number!r}"),
        )
        for look, number in looks
        for sign in extremes[look]
    ]
