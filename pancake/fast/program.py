"""Programs: calls of NumPy that were noted once with the arrays they work on, written as one Python function each.

A kernel (in kernels.py, losses.py) notes what a plain layer computes for inputs of one shape: which function, from which arrays,
into which array. All arrays are made beforehand, so a run of the program only fills them. What a run has left in them is what
the plain layer would remember; so a layer's own backward can take over at any time.
"""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from pancake.function import Kept
from pancake.memory import Array


class Text(str):
    """A piece of the source of a program that stands for a value known only when it runs, such as its argument `x`."""

    __slots__ = ()


class Notes:
    """Noted calls, to be written as the body of a function: a third cheaper than a loop over them is a call of a name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.arguments: set[int] = set()
        self.values: list[Any] = []  # by number; kept, since an id is only good while its object lives

    def name(self, value: Any) -> str:
        """The name of a value in the program, or its literal."""
        if isinstance(value, Text):
            return value
        if value is None or isinstance(value, (bool, int, str)):
            return repr(value)
        if id(value) not in self.names:
            self.names[id(value)] = f"v{len(self.values)}"
            self.values.append(value)
        return self.names[id(value)]

    def expression(self, function: Callable[..., Any], *args: Any) -> Text:
        """A call as text."""
        return Text(f"{self.name(function)}({', '.join(map(self.name, args))})")

    def call(self, function: Callable[..., Any], *args: Any, out: Any = None) -> None:
        """Note a call. The array it writes to is its last argument, or `out` where a position would not do."""
        text = self.expression(function, *args)
        self.lines.append(text if out is None else f"{text[:-1]}, out={self.name(out)})")

    def put(self, array: Any, value: Any) -> None:
        """Note that an array is filled."""
        self.lines.append(f"{self.name(array)}[...] = {self.name(value)}")

    def write(self, arguments: str, result: str = "None") -> Callable[..., Any]:
        """The function of these arguments that makes all calls and returns the result."""
        values = {f"v{i}": value for i, value in enumerate(self.values)}
        # arguments with defaults are local names, which are found faster than global ones
        head = ", ".join([*arguments.split(", ")] * bool(arguments) + [f"{name}={name}" for name in values])
        source = f"def run({head}):\n    " + "\n    ".join([*self.lines, f"return {result}"])
        return _function("run", source, values)


# No two runs have one number, not even where somebody puts back what a program was like before a run, as a check does.
NUMBERS = itertools.count(1)


class Run:
    """The state of a program: which of its runs is the latest, and whether its backward has been.

    Attributes
    ----------
    number : int
        Of the latest forward.
    answered : int
        The number of the forward for which the program's own backward ran.
    """

    __slots__ = ("answered", "number")

    def __init__(self) -> None:
        self.number = self.answered = 0


class Left(Kept):
    """What a program's forward has left in one layer: the same object after every run, since the arrays are the same.

    It says of `used` what a layer's own memory would, without being told of every run.
    """

    __slots__ = ("_make", "_run", "_used_in")

    def __init__(self, run: Run, make: Callable[[], tuple[Any, ...]]) -> None:
        self._run, self._make, self._used_in, self.older = run, make, 0, False

    @property
    def what(self) -> tuple[Any, ...]:  # type: ignore[override]
        return self._make()

    @property
    def used(self) -> bool:
        return self._run.number in (self._used_in, self._run.answered)

    @used.setter
    def used(self, value: bool) -> None:
        self._used_in = self._run.number


def scalar(value: float, dtype: Any) -> Array:
    """A number as a 0-d array: the cheapest operand there is, and one that never widens a result."""
    return np.array(value, dtype)


def guard(
    owners: Iterable[tuple[Any, Iterable[str]]],
    methods: Iterable[tuple[type, str]],
    arguments: str = "",
    more: Iterable[str] = (),
    values: Mapping[str, Any] = types.MappingProxyType({}),
    places: Iterable[tuple[Any, str, Any]] = (),
) -> Callable[..., bool]:
    """A function that tells whether all that a program was made from is still the very same.

    Parameters
    ----------
    owners : iterable of (object, names)
        No attribute of the object may come or go, and those of these names must be the same objects. A method that somebody
        puts on an object is such an attribute.
    methods : iterable of (class, name)
        The methods of classes that must not have been exchanged.
    arguments : str
        Of the function, for the conditions in `more`, which it looks at first.
    more : iterable of str
        Further conditions.
    values : mapping
        What the names in them stand for.
    places : iterable of (object, name, value)
        Attributes, not in a `__dict__`, that must be the very same values.
    """
    names: dict[str, Any] = dict(values)
    conditions = [*more, *_same(places, names)]
    for i, (owner, attributes) in enumerate(owners):
        names |= {f"d{i}": vars(owner), f"n{i}": len(vars(owner))}
        conditions.append(f"len(d{i}) == n{i}")
        for attribute in attributes:
            names[f"{attribute}_{i}"] = vars(owner)[attribute]
            conditions.append(f"d{i}[{attribute!r}] is {attribute}_{i}")
    for i, (cls, method) in enumerate(dict.fromkeys(methods)):
        names |= {f"c{i}": cls, f"m{i}": getattr(cls, method)}
        conditions.append(f"c{i}.{method} is m{i}")
    return _test(conditions, names, arguments)


def same(places: Iterable[tuple[Any, str, Any]]) -> Callable[[], bool]:
    """A function that tells whether attributes, given as (object, name, value), are still the very same values."""
    names: dict[str, Any] = {}
    return _test(_same(places, names), names)


def _same(places: Iterable[tuple[Any, str, Any]], names: dict[str, Any]) -> list[str]:
    """Conditions that attributes are the very same values, whose names are added."""
    conditions = []
    for i, (owner, attribute, value) in enumerate(places):
        names |= {f"o{i}": owner, f"a{i}": value}
        conditions.append(f"o{i}.{attribute} is a{i}")
    return conditions


def _test(conditions: list[str], names: dict[str, Any], arguments: str = "") -> Callable[..., bool]:
    head = ", ".join([arguments] * bool(arguments) + [f"{name}={name}" for name in names])
    test = " and ".join(conditions)
    return _function(
        "test", f"def test({head}):\n    try:\n        return {test}\n    except KeyError:\n        return False", names
    )


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> types.CodeType:
    """The code of a source, which is often that of a program before."""
    return compile(source, "<a program of pancake.fast>", "exec")


def _function(name: str, source: str, values: dict[str, Any]) -> Callable[..., Any]:
    """The function of that name that the source defines, with these values for its names."""
    exec(_compiled(source), values)
    function: Callable[..., Any] = values[name]
    return function
