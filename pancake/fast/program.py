"""Programs: calls of NumPy that were noted once with the arrays they work on, written as one Python function each.

A kernel (in kernels.py, losses.py) notes what a plain layer computes for inputs of one shape: which function, from which arrays,
into which array. All arrays are made beforehand, so a run of the program only fills them. What a run has left in them is what
the plain layer would remember; so a layer's own backward can take over at any time.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from pancake.memory import Array

DTYPES = frozenset(map(np.dtype, (np.float32, np.float64)))  # of programs
MANY = 1 << 18  # numbers of an array beside which a second one of the same size still costs little

Owner = tuple[Any, Iterable[str]]
Place = tuple[Any, str, Any]


class Text(str):
    """A piece of the source of a program that stands for a value known only when it runs, such as its argument `x`.

    Where the value is an array, what a kernel does with the views of an array makes another text.
    """

    __slots__ = ()

    @property
    def T(self) -> Text:
        return Text(self[:-2] if self.endswith(".T") else f"{self}.T")

    @property
    def dot(self) -> Text:
        return Text(f"{self}.dot")

    def transpose(self, axes: tuple[int, ...]) -> Text:
        return Text(f"{self}.transpose({axes})")

    def reshape(self, *shape: int) -> Text:
        return Text(f"{self}.reshape({shape})")

    def view(self, dtype: str) -> Text:
        return Text(f"{self}.view({dtype!r})")


class StandIn(NDArrayOperatorsMixin):
    """What stands for an array while code is run once to note the calls of NumPy in it.

    It is no array and has no numbers: code that does anything but calculate with it entry by entry fails, and is not noted.
    """

    def note(self, ufunc: Callable[..., Any], *inputs: Any) -> Any:
        """What stands for the result of a call."""
        raise NotImplementedError

    def write(self, ufunc: Callable[..., Any], inputs: tuple[Any, ...], out: Any) -> Any:
        """Note a call that writes to what `out` stands for."""
        raise TypeError(f"{type(self).__name__}: this is not written to")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (None,), **options: Any) -> Any:
        if method != "__call__" or ufunc.nout > 1 or options:
            return NotImplemented
        if not all(isinstance(value, (type(self), int, float)) for value in inputs):
            return NotImplemented
        return self.note(ufunc, *inputs) if out[0] is None else self.write(ufunc, inputs, out[0])

    def __bool__(self) -> bool:
        raise TypeError("what is noted must not depend on numbers")

    def __array__(self, *_: Any) -> Any:
        raise TypeError("only calls of ufuncs are noted")


class Notes:
    """Noted calls, to be written as the body of a function: a third cheaper than a loop over them is a call of a name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.values: list[Any] = []  # by number; kept, since an id is only good while its object lives

    def copy(self) -> Notes:
        """The same notes, to be gone on with."""
        new = Notes()
        new.lines, new.names, new.values = self.lines.copy(), self.names.copy(), self.values.copy()
        return new

    def name(self, value: Any) -> str:
        """The name of a value in the program, or its literal."""
        if isinstance(value, Text):
            return value
        if value is None or isinstance(value, (bool, int, str)):
            return repr(value)
        return self.held(value)

    def held(self, value: Any) -> str:
        """The name of a value, whatever it is: to ask whether something is that very object."""
        if id(value) not in self.names:
            self.values.append(value)  # first: a Ctrl-C between the two must not give its name to the next one
            self.names[id(value)] = f"v{len(self.values) - 1}"
        return self.names[id(value)]

    def expression(self, function: Callable[..., Any], *args: Any) -> Text:
        """A call as text."""
        return Text(f"{self.name(function)}({', '.join(map(self.name, args))})")

    def call(self, function: Callable[..., Any], *args: Any, out: Any = None) -> None:
        """Note a call. The array it writes to is its last argument, or `out` where a position would not do."""
        text = self.expression(function, *args)
        self.lines.append(text if out is None else f"{text[:-1]}, out={self.name(out)})")

    def hush(self, start: int, kinds: Iterable[str]) -> None:
        """Let what has been noted from line `start` on give no warning of these kinds."""
        options = ", ".join(f"{kind}='ignore'" for kind in kinds)
        self.lines[start:] = [f"with {self.held(np.errstate)}({options}): {'; '.join(self.lines[start:])}"]

    def put(self, array: Any, value: Any) -> None:
        """Note that an array is filled."""
        self.lines.append(f"{self.name(array)}[...] = {self.name(value)}")

    def unchanged(
        self, owners: Iterable[Owner], methods: Iterable[tuple[type, str]] = (), places: Iterable[Place] = ()
    ) -> list[str]:
        """The conditions under which all that a program was made from is still the very same.

        Parameters
        ----------
        owners : iterable of (object, names)
            No attribute of the object may come or go, and those of these names must be the same objects. A method that
            somebody puts on an object is such an attribute.
        methods : iterable of (class, name)
            The methods of classes that must not have been exchanged.
        places : iterable of (object, name, value)
            Attributes, not in a `__dict__`, that must be the very same values.
        """
        conditions = [f"{self.held(owner)}.{name} is {self.held(value)}" for owner, name, value in places]
        for owner, names in owners:
            attributes, names = vars(owner), list(names)
            held = self.held(attributes)
            conditions.append(f"len({held}) == {len(attributes)}")
            conditions += [f"{held}[{name!r}] is {self.held(attributes[name])}" for name in names]
            # If one of them went while a method came, there would be as many; what an object cannot do without does not go.
            needed = {*names, *_arguments(type(owner))}
            conditions += [f"{name!r} in {held}" for name in attributes if name not in needed and not name.startswith("_")]
        for cls, name in dict.fromkeys(methods):
            conditions.append(f"{self.held(cls)}.{name} is {self.held(getattr(cls, name))}")
        return conditions

    def write(
        self,
        arguments: str,
        result: str = "None",
        looks: Iterable[str] = (),
        otherwise: str = "None",
        lines: Iterable[str] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> Callable[..., Any]:
        """The function of these arguments that makes all calls, or runs other lines, and returns the result.

        It returns `otherwise`, and does nothing, unless the conditions `looks` hold.
        """
        test = " and ".join(looks)
        refuse = f"return {otherwise}"
        first = ["try:", f"    if not ({test}): {refuse}", f"except KeyError: {refuse}"] if test else []
        rest = [*(self.lines if lines is None else lines), f"return {result}"]
        if undo is not None:
            rest = ["try:", *(f"    {line}" for line in rest), f"except BaseException: {self.held(undo)}(); raise"]
        body = "\n    ".join([*first, *rest])
        values = {f"v{i}": value for i, value in enumerate(self.values)}
        exec(_compiled(f"def run({arguments}):\n    {body}"), values)
        function: Callable[..., Any] = values.pop("run")  # which would keep itself, and all that it works on
        return function


def guard(owners: Iterable[Owner], methods: Iterable[tuple[type, str]] = ()) -> Callable[[], bool]:
    """A function that tells whether all is unchanged, see `Notes.unchanged`."""
    notes = Notes()
    return notes.write("", "True", notes.unchanged(owners, methods), "False")


def _arguments(cls: type) -> tuple[str, ...]:
    """The names of the arguments of a constructor, which are those of attributes."""
    code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> types.CodeType:
    """The code of a source, which is often that of a program before."""
    return compile(source, "<a program of pancake.fast>", "exec")


def unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which a negative whole number, looked at bit for bit, is a huge one."""
    return np.dtype(dtype.str.replace("i", "u"))


def scalar(value: float, dtype: Any) -> Array:
    """A number as a 0-d array: the cheapest operand there is, and one that never widens a result."""
    return np.array(value, dtype)


def bound(value: float, like: Array) -> Array:
    """A number for `maximum` and `minimum` of an array like this one: repeated in one of the same shape, if that is not large.

    Two arrays are compared several numbers at a time, an array and a single number one by one, which takes three times as long.
    """
    if like.size > MANY:
        return scalar(value, like.dtype)
    key = value, like.dtype, (like.size - 1).bit_length()
    flat = _repeated.get(key)
    if flat is None:
        flat = _repeated[key] = np.full(1 << key[2], value, like.dtype)
        flat.flags.writeable = False
    return flat[: like.size].reshape(like.shape, order="C" if like.flags.c_contiguous else "F")


# The arrays of `bound`, 2^bits numbers each, for all programs that are there.
_repeated: weakref.WeakValueDictionary[tuple[float, np.dtype[Any], int], Array] = weakref.WeakValueDictionary()
