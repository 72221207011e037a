"""Models and optimizers as a description in JSON beside named arrays; `pancake.files.reconstruction` is the way back.

A library class is described by its name and the arguments of its constructor, a user's class by its name and its attributes
(what pickle would keep, as data only). A file can name the classes and initializers of this library, and what the reader
passes in as `custom`; it can name nothing else.

Values that JSON lacks are objects with one entry, whose name is the type::

    {"tuple": [...]}  {"dict": [[key, value], ...]}  {"float": "nan"}  {"scalar": ["float32", 0.5]}  {"dtype": "float32"}
    {"array": name}   {"gradient": name}             {"generator": i}  {"callable": name}         {"slice": [1, null, 2]}
    {"function": {...}}, and {"seen": i} where the i-th Function of the file is meant again

The entries of a Function are its class, what makes it, and the names of its arrays::

    {"class": name, "arguments": {...}, "parameters": {attribute: array, ...}, "buffers": {attribute: array, ...}}
    {"custom": name, "state": {attribute: value, ...}, "parameters": {attribute: array, ...}}

A Function of this library may have further entries: "parts", {attribute: Function, ...}, are those that no argument brings and
its constructor makes, and "training" and "frozen" are there if they are not what they are at first.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pancake.files.archives import RESERVED, printable, storable
from pancake.function import Function
from pancake.initializers import SCHEMES
from pancake.optimizers.optimizer import Optimizer
from pancake.training.history import History

Json: TypeAlias = Any

GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")

# What `train` and `freeze` set in a Function and all its parts, and what it is at first.
MODES = {"training": True, "frozen": False}

SCALARS = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64))} - {"float8"}

# Arrays that would come back as others: without what is masked, and with another product.
LOSING = ("MaskedArray", "matrix")

FOLDERS = "functions", "recurrent", "optimizers"


def registry(base: type[Any]) -> dict[str, type[Any]]:
    """The classes of this library that are subclasses of `base`, by name."""
    package = __name__.partition(".")[0]
    for folder in FOLDERS:  # of which a program loads only what it uses
        for module in pkgutil.iter_modules(importlib.import_module(f"{package}.{folder}").__path__):
            importlib.import_module(f"{package}.{folder}.{module.name}")

    def below(cls: type[Any]) -> Iterator[type[Any]]:
        for subclass in cls.__subclasses__():
            yield subclass
            yield from below(subclass)

    return {cls.__name__: cls for cls in below(base) if cls.__module__.partition(".")[0] == package}


def leaves(value: Any) -> Iterator[Any]:
    """All that stands in lists, tuples and dicts, or the value itself if it is none of these."""
    if type(value) in (list, tuple):
        for item in value:
            yield from leaves(item)
    elif type(value) is dict:
        yield from leaves([*value.keys(), *value.values()])
    else:
        yield value


def hides_method(cls: type[Any], name: str) -> bool:
    """Whether an attribute of that name, in an instance, would take the place of a method."""
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    return hasattr(found, "__get__") and callable(getattr(cls, name))


class Writer:
    """Turns objects into descriptions and gathers the arrays that these name."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.fortran: list[str] = []  # which of them lie column by column in memory
        self.generators: list[Json] = []
        self._names: dict[int, str] = {}  # of arrays, by id
        self._doubles: dict[str, int] = {}  # how many arrays would have had that name, too
        self._gradients: dict[int, str] = {}  # the name of the parameter, by the id of its gradient
        self._functions: dict[int, int] = {}
        self._generators: dict[int, int] = {}
        self._alive: list[object] = []  # an id is only good while its object lives
        self._library = registry(Function)
        self._required: dict[type[Any], set[str]] = {}  # arguments without which a class cannot be made

    def function(self, function: Function, path: str) -> Json:
        """Describe a Function; `path` begins the names of its arrays, as in `state_dict`."""
        if id(function) in self._functions:
            return {"seen": self._functions[id(function)]}
        self._functions[id(function)] = len(self._functions)
        self._alive.append(function)
        parameters: dict[str, str] = {}
        for name, value, grad in function._own_parameters():
            parameters[name] = self._gradients[id(grad)] = self._array(value, path + name)
            self._alive.append(grad)
        members = {n: member for n, member in function._members() if isinstance(member, Function)}
        paths = {id(part): f"{path}{n}." for n, part in members.items()}
        name = type(function).__name__
        if self._library.get(name) is not type(function):
            return {"function": {"custom": name, "state": self._state(function, path, paths), "parameters": parameters}}
        arguments = {n: value for n, value in function._arguments().items() if n not in function.buffers}
        given = {id(leaf) for leaf in leaves(list(arguments.values()))}
        parts = {n: self.function(part, f"{path}{n}.") for n, part in members.items() if id(part) not in given}
        if not parts.keys() <= vars(function).keys():
            raise TypeError(f"save: expected {name} to keep the parts that it makes in attributes, got {', '.join(parts)}")
        return {
            "function": {
                "class": name,
                **({"parts": parts} if parts else {}),
                "arguments": self._arguments(function, arguments, path, paths),
                "parameters": parameters,
                "buffers": {n: self._array(getattr(function, n), path + n) for n in function.buffers},
                **{n: not usual for n, usual in MODES.items() if getattr(function, n, usual) != usual},
            }
        }

    def _state(self, function: Function, path: str, paths: Mapping[int, str]) -> Json:
        """Describe the attributes of a user's Function."""
        name, state = type(function).__name__, function.__getstate__()
        if not isinstance(state, dict):
            raise TypeError(f"save: expected {name}.__getstate__ to return a dict, got {type(state).__name__}")
        for key in state:
            if hides_method(type(function), key):
                where = printable(path + key)
                raise TypeError(f"save: {where} hides a method of {name}, which nothing in a file may do; give it another name")
        return {key: self.value(value, path + key, paths) for key, value in state.items()}

    def facts(self, meta: dict[Any, Any]) -> Json:
        """Describe what a user wants to keep beside a model."""
        for key, value in meta.items():
            for leaf in leaves((key, value)):
                number = isinstance(leaf, np.generic) and leaf.dtype.name in SCALARS
                if not (number or isinstance(leaf, (str, np.ndarray)) or type(leaf) in (bool, int, float, types.NoneType)):
                    raise TypeError(
                        f"save: meta[{key!r}] holds {leaf!r}"[:200]
                        + ", expected text, numbers, None, arrays of numbers, and lists, "
                        "tuples and dicts of those; .tolist() makes a list of names from an array or an index"
                    )
        return self.value(dict(meta), "meta")

    def optimizer(self, optimizer: Optimizer) -> Json:
        """Describe an optimizer with its state and the history of its training."""
        name = type(optimizer).__name__
        kind = "class" if registry(Optimizer).get(name) is type(optimizer) else "custom"
        history: History | None = optimizer.history
        return {
            kind: name,
            "model": self.value(optimizer.model, "optimizer.model"),
            "arguments": self._arguments(optimizer, optimizer._arguments(), "optimizer.", {}),
            "state": {key: self.value(value, "optimizer." + key) for key, value in optimizer.state_dict().items()},
            "history": None
            if history is None
            else {
                "columns": [[n, self._array(np.array(column), f"history.{n}")] for n, column in history.items()],
                "rng": self.value(history.rng, "history.rng"),
            },
        }

    def _arguments(self, owner: object, arguments: Mapping[str, Any], path: str, paths: Mapping[int, str]) -> Json:
        name = type(owner).__name__
        if type(owner) not in self._required:
            signature = inspect.signature(type(owner).__init__).parameters.values()
            needed = {p.name for p in signature if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
            self._required[type(owner)] = needed - {"self", "model"}
        for missing in self._required[type(owner)] - arguments.keys():
            raise TypeError(f"save: {name} needs {missing}, and has no attribute of that name")
        return {n: self.value(value, path + n, paths) for n, value in arguments.items()}

    def value(self, value: Any, path: str, paths: Mapping[int, str] | None = None) -> Json:
        """Describe a value; `path` tells where it was found, `paths` how the names of arrays in the Functions in it begin."""
        if value is None or isinstance(value, (bool, str)) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, Function):
            return self.function(value, (paths or {}).get(id(value), path + "."))
        if isinstance(value, np.ndarray) and type(value).__name__ not in LOSING:
            if id(value) in self._gradients:
                return {"gradient": self._gradients[id(value)]}
            return {"array": self._array(value, path)}
        if isinstance(value, np.generic) and value.dtype.name in SCALARS:
            return {"scalar": [value.dtype.name, self.value(value.item(), path)]}
        if isinstance(value, np.dtype) and value.name in SCALARS:
            return {"dtype": value.name}
        if isinstance(value, slice):
            ends = (value.start, value.stop, value.step)
            if all(end is None or isinstance(end, (int, np.integer)) for end in ends):
                return {"slice": [None if end is None else int(end) for end in ends]}
        if isinstance(value, np.random.Generator):
            return {"generator": self._generator(value, path)}
        if type(value) in (list, tuple):
            items = [self.value(item, f"{path}.{i}", paths) for i, item in enumerate(value)]
            return items if type(value) is list else {"tuple": items}
        if type(value) is dict:
            return {"dict": [[self.value(k, path), self.value(v, f"{path}.{k}", paths)] for k, v in value.items()]}
        name = getattr(value, "__name__", "")
        bound = not isinstance(getattr(value, "__self__", None), (types.ModuleType, types.NoneType))
        if callable(value) and name.isidentifier() and not bound:
            if SCHEMES.get(name, self._library.get(name, value)) is not value:
                where = printable(path)
                raise TypeError(f"save: {where} is a {name} of your own, and pancake has another {name}; give yours another name")
            return {"callable": name}
        raise TypeError(
            f"save: {printable(path)} is {value!r}"[:120]
            + ", which no file can hold; keep it in `_cache` if it need not be saved, "
            "or leave it out in __getstate__"
        )

    def _array(self, array: NDArray[Any], path: str) -> str:
        if id(array) not in self._names:
            if not storable(array):
                raise TypeError(f"save: {printable(path)} has the dtype {array.dtype}, expected numbers of at most 8 bytes")
            stem = name = re.sub(r"[^A-Za-z0-9_.-]", "_", path[:1000])
            while name in self.arrays or name in RESERVED:
                self._doubles[stem] = self._doubles.get(stem, 0) + 1
                name = f"{stem}-{self._doubles[stem]}"
            self._names[id(array)] = name
            self.arrays[name] = array
            if array.flags.f_contiguous and not array.flags.c_contiguous:
                self.fortran.append(name)
        return self._names[id(array)]

    def _generator(self, generator: np.random.Generator, path: str) -> int:
        if id(generator) not in self._generators:
            name = type(generator.bit_generator).__name__
            if name not in GENERATORS:
                raise TypeError(f"save: {printable(path)} draws from {name}, expected one of NumPy's bit generators")
            self._generators[id(generator)] = len(self.generators)
            self._alive.append(generator)
            state = generator.bit_generator.state
            self._alive.append(state)
            self.generators.append(self.value(dict(state), f"generator.{len(self.generators)}"))
        return self._generators[id(generator)]
