"""Models and optimizers as a description in JSON beside named arrays; `pancake.reconstruction` is the way back.

A library class is described by its name and the arguments of its constructor, a user's class by its name and its attributes
(what pickle would keep, as data only). A file can name the classes and initializers of this library, and what the reader
passes in as `custom`; it can name nothing else.

Values that JSON lacks are objects with one entry, whose name is the type::

    {"tuple": [...]}  {"dict": [[key, value], ...]}  {"float": "nan"}  {"scalar": ["float32", 0.5]}  {"dtype": "float32"}
    {"array": name}   {"gradient": name}             {"generator": i}  {"callable": name}
    {"function": {...}}, and {"seen": i} where the i-th Function of the file is meant again

The entries of a Function are its class, what makes it, and the names of its arrays::

    {"class": name, "arguments": {...}, "parameters": {attribute: array, ...}, "buffers": {attribute: array, ...}}
    {"custom": name, "state": {attribute: value, ...}, "parameters": {attribute: array, ...}}
"""

from __future__ import annotations

import inspect
import math
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pancake.files.archives import RESERVED, storable
from pancake.function import Function
from pancake.initializers import SCHEMES
from pancake.optimizers.optimizer import Optimizer
from pancake.training.history import History

Json: TypeAlias = Any

GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")

SCALARS = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64))} - {"float8"}


def registry(base: type[Any]) -> dict[str, type[Any]]:
    """The classes of this library that are subclasses of `base`, by name."""
    package = __name__.partition(".")[0]

    def below(cls: type[Any]) -> Iterator[type[Any]]:
        for subclass in cls.__subclasses__():
            yield subclass
            yield from below(subclass)

    return {cls.__name__: cls for cls in below(base) if cls.__module__.partition(".")[0] == package}


class Writer:
    """Turns objects into descriptions and gathers the arrays that these name."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.fortran: list[str] = []  # which of them lie column by column in memory
        self.generators: list[Json] = []
        self._names: dict[int, str] = {}  # of arrays, by id
        self._gradients: dict[int, str] = {}  # the name of the parameter, by the id of its gradient
        self._functions: dict[int, int] = {}
        self._generators: dict[int, int] = {}
        self._alive: list[object] = []  # an id is only good while its object lives
        self._library = registry(Function)

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
        parts = {id(part): f"{path}{name}." for name, part in function._members() if isinstance(part, Function)}
        name = type(function).__name__
        if self._library.get(name) is type(function):
            arguments = self._arguments(function, function._arguments(), path, parts)
            buffers = {name: self._array(getattr(function, name), path + name) for name in function.buffers}
            entry = {"class": name, "arguments": arguments, "parameters": parameters, "buffers": buffers}
            return {"function": entry if function.training else {**entry, "training": False}}
        state = function.__getstate__()
        if not isinstance(state, dict):
            raise TypeError(f"save: expected {name}.__getstate__ to return a dict, got {type(state).__name__}")
        attributes = {key: self.value(value, path + key, parts) for key, value in state.items()}
        return {"function": {"custom": name, "state": attributes, "parameters": parameters}}

    def optimizer(self, optimizer: Optimizer) -> Json:
        """Describe an optimizer with its state and the history of its training."""
        name = type(optimizer).__name__
        kind = "class" if registry(Optimizer).get(name) is type(optimizer) else "custom"
        names = [n for n in inspect.signature(type(optimizer).__init__).parameters if n not in ("self", "model")]
        arguments = {n: getattr(optimizer, n) for n in names if hasattr(optimizer, n)}
        history: History | None = optimizer.history
        return {
            kind: name,
            "model": self.value(optimizer.model, "optimizer.model"),
            "arguments": self._arguments(optimizer, arguments, "optimizer.", {}),
            "state": {key: self.value(value, "optimizer." + key) for key, value in optimizer.state_dict().items()},
            "history": None
            if history is None
            else {
                "columns": [[n, self._array(np.array(column), f"history.{n}")] for n, column in history.items()],
                "rng": self.value(history.rng, "history.rng"),
            },
        }

    def _arguments(self, owner: object, arguments: Mapping[str, Any], path: str, parts: Mapping[int, str]) -> Json:
        name = type(owner).__name__
        for p in inspect.signature(type(owner).__init__).parameters.values():
            required = p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            if required and p.name not in (*arguments, "self", "model"):
                raise TypeError(f"save: {name} needs {p.name}, and has no attribute of that name")
        return {n: self.value(value, path + n, parts) for n, value in arguments.items()}

    def value(self, value: Any, path: str, parts: Mapping[int, str] | None = None) -> Json:
        """Describe a value; `path` tells where it was found, `parts` how the names of arrays in the Functions in it begin."""
        if value is None or isinstance(value, (bool, str)) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, Function):
            return self.function(value, (parts or {}).get(id(value), path + "."))
        if isinstance(value, np.ndarray):
            if id(value) in self._gradients:
                return {"gradient": self._gradients[id(value)]}
            return {"array": self._array(value, path)}
        if isinstance(value, np.generic) and value.dtype.name in SCALARS:
            return {"scalar": [value.dtype.name, self.value(value.item(), path)]}
        if isinstance(value, np.dtype) and value.name in SCALARS:
            return {"dtype": value.name}
        if isinstance(value, np.random.Generator):
            return {"generator": self._generator(value, path)}
        if type(value) in (list, tuple):
            items = [self.value(item, f"{path}.{i}", parts) for i, item in enumerate(value)]
            return items if type(value) is list else {"tuple": items}
        if type(value) is dict:
            return {"dict": [[self.value(k, path), self.value(v, f"{path}.{k}", parts)] for k, v in value.items()]}
        name = getattr(value, "__name__", "")
        bound = not isinstance(getattr(value, "__self__", None), (types.ModuleType, types.NoneType))
        if callable(value) and name.isidentifier() and not bound:
            if SCHEMES.get(name, self._library.get(name, value)) is not value:
                raise TypeError(f"save: {path} is a {name} of your own, and pancake has another {name}; give yours another name")
            return {"callable": name}
        raise TypeError(
            f"save: {path} is {value!r}"[:120] + ", which no file can hold; keep it in `_cache` if it need not be saved, "
            "or leave it out in __getstate__"
        )

    def _array(self, array: NDArray[Any], path: str) -> str:
        if id(array) not in self._names:
            if not storable(array):
                raise TypeError(f"save: {path} has the dtype {array.dtype}, expected numbers of at most 8 bytes")
            stem = re.sub(r"[^A-Za-z0-9_.-]", "_", path)
            name, count = stem, 1
            while name in self.arrays or name in RESERVED:
                name, count = f"{stem}-{count}", count + 1
            self._names[id(array)] = name
            self.arrays[name] = array
            if array.flags.f_contiguous and not array.flags.c_contiguous:
                self.fortran.append(name)
        return self._names[id(array)]

    def _generator(self, generator: np.random.Generator, path: str) -> int:
        if id(generator) not in self._generators:
            name = type(generator.bit_generator).__name__
            if name not in GENERATORS:
                raise TypeError(f"save: {path} draws from {name}, expected one of NumPy's bit generators")
            self._generators[id(generator)] = len(self.generators)
            self._alive.append(generator)
            state = generator.bit_generator.state
            self._alive.append(state)
            self.generators.append(self.value(dict(state), f"generator.{len(self.generators)}"))
        return self._generators[id(generator)]
