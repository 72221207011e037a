"""The whole state of an object, taken and put back, so that a check leaves no trace."""

from __future__ import annotations

import collections
import random
import types
from typing import Any

import numpy as np

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, type, types.ModuleType)


class Snapshot:
    """The state of an object and of everything in it: attributes, containers, arrays, closures and random generators.

    NumPy's and Python's global generators belong to it as well: an object that draws from them has moved them.

    Parameters
    ----------
    root : object
    """

    def __init__(self, root: Any) -> None:
        self._containers: list[tuple[Any, Any]] = []
        self._attributes: list[tuple[Any, str, Any]] = []
        self._arrays: list[tuple[Any, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._seen: dict[int, Any] = {}
        self._waiting = [root]
        while self._waiting:
            self._look_at(self._waiting.pop())
        self._globals = _global_states()

    def _look_at(self, thing: Any) -> None:
        if isinstance(thing, _PLAIN) or id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, np.ndarray):
            if thing.dtype.kind != "O":
                self._arrays.append((thing, thing.copy(order="K")))
        elif isinstance(thing, (np.random.Generator, np.random.RandomState, random.Random)):
            self._generators.append((thing, _state(thing)))
        elif isinstance(thing, (dict, list, set, collections.deque)):
            self._containers.append((thing, thing.copy()))
            self._waiting += thing.values() if isinstance(thing, dict) else thing
        elif isinstance(thing, (tuple, frozenset)):
            self._waiting += thing
        elif isinstance(thing, types.FunctionType):
            for cell in thing.__closure__ or ():
                self._attribute(cell, "cell_contents")
        elif isinstance(thing, types.MethodType):
            self._waiting.append(thing.__self__)
        else:
            self._look_at_object(thing)

    def _look_at_object(self, thing: Any) -> None:
        for cls in type(thing).__mro__:
            slots = vars(cls).get("__slots__", ())
            for name in [slots] if isinstance(slots, str) else slots:
                private = name.startswith("__") and not name.endswith("__")
                self._attribute(thing, f"_{cls.__name__.lstrip('_')}{name}" if private else name)
            for value in list(vars(cls).values()):
                if isinstance(value, (list, dict, set, np.ndarray)):  # state that all instances share
                    self._waiting.append(value)
        if hasattr(thing, "__dict__"):
            self._waiting.append(vars(thing))

    def _attribute(self, thing: Any, name: str) -> None:
        if name in ("__dict__", "__weakref__"):
            return
        try:
            value = getattr(thing, name)
        except (AttributeError, ValueError):  # never assigned
            return
        self._attributes.append((thing, name, value))
        self._waiting.append(value)

    def generators_moved(self) -> bool:
        """Whether a random generator of the object has drawn since."""
        return any(_differ(_state(generator), state) for generator, state in self._generators)

    def global_generator_moved(self) -> str:
        """The name of the global generator that has been drawn from since, or ""."""
        (of_numpy, of_python), (numpy_now, python_now) = self._globals, _global_states()
        if _differ(of_numpy, numpy_now):
            return "NumPy's global generator"
        return "Python's global generator" if of_python != python_now else ""

    def grown(self) -> int:
        """By how many items the lists of the object have become longer since."""
        return sum(max(0, len(container) - len(content)) for container, content in self._containers if isinstance(content, list))

    def rewind(self) -> None:
        """Put back the random generators, and nothing else."""
        for generator, state in self._generators:
            _set_state(generator, state)
        if self.global_generator_moved():
            of_numpy, of_python = self._globals
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)

    def restore(self) -> None:
        """Put everything back."""
        for container, content in self._containers:
            container.clear()
            if isinstance(container, (dict, set)):
                container.update(content)
            else:
                container.extend(content)
        for thing, name, value in self._attributes:
            setattr(thing, name, value)
        for array, content in self._arrays:
            if array.flags.writeable:
                array[...] = content
        self.rewind()

    def arrays(self) -> list[Any]:
        """The arrays as they were."""
        return [content for _, content in self._arrays]

    def exchange(self, old: Any, new: Any) -> None:
        """Put `new` wherever `old` stands."""
        for container, _ in self._containers:
            if isinstance(container, (dict, list)):
                for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
                    if value is old:
                        container[key] = new
        for thing, name, value in self._attributes:
            if value is old:
                setattr(thing, name, new)


def _global_states() -> tuple[Any, Any]:
    return np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002


def _differ(a: Any, b: Any) -> bool:
    """Whether two states of a generator differ; those of NumPy are dicts that hold arrays."""
    if isinstance(a, dict):
        return any(_differ(a[key], b[key]) for key in a)
    return not np.array_equal(a, b) if isinstance(a, np.ndarray) else bool(a != b)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.getstate()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)
