"""The whole state of an object, taken and put back, so that a check leaves no trace."""

from __future__ import annotations

import collections
import contextlib
import itertools
import random
import types
from typing import Any

import numpy as np

from pancake.testing.bulk import Bulk, bulk_of, put_back

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, np.generic, np.dtype, type, types.ModuleType)
_CONTAINERS = (dict, list, set, collections.deque)
_MISSING = object()


class Snapshot:
    """The state of an object and of everything in it: attributes, containers, arrays, closures and random generators.

    What all instances of its classes share belongs to it, and so do NumPy's and Python's global generators: an object that
    draws from them has moved them. What has not changed since is not touched by `restore`.

    Parameters
    ----------
    root : object
    bulk : dict, optional
        The large containers of plain data that other snapshots of the same object have found, to be shared with these.
    """

    def __init__(self, root: Any, bulk: dict[int, Bulk] | None = None) -> None:
        self._known = {} if bulk is None else bulk
        self._bulk: list[Bulk] = []
        # By kind of container, so that thousands of them are copied and compared without a loop in Python.
        self._containers: dict[type, tuple[list[Any], list[Any]]] = {}
        self._attributes: list[tuple[Any, str, Any]] = []
        self._classes: dict[type, dict[str, Any]] = {}
        self._arrays: list[tuple[Any, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._seen: dict[int, Any] = {}
        self.closures: list[types.FunctionType] = []  # that hold more than plain values
        waiting = [root]
        while waiting:
            self._found: list[Any] = []
            self._look_at_all(waiting)
            waiting = self._found
        for known in self._bulk:
            known.find_holders(self._containers)
        self._globals = _global_states()

    def _look_at_all(self, things: list[Any]) -> None:
        kinds = set(map(type, things))
        for kind in [kind for kind in kinds if not issubclass(kind, _PLAIN)]:
            new: dict[int, Any] = {
                id(thing): thing for thing in (things if len(kinds) == 1 else [t for t in things if type(t) is kind])
            }
            for known in new.keys() & self._seen.keys():
                del new[known]
            self._seen.update(new)
            group = list(new.values())
            if issubclass(kind, _CONTAINERS):
                group = [container for container in group if not self._is_bulk(container)]
                originals, copies = self._containers.setdefault(kind, ([], []))
                originals += group
                copies += [container.copy() for container in group]
                self._found += itertools.chain.from_iterable(c.values() if issubclass(kind, dict) else c for c in group)
                if kind in _CONTAINERS:
                    continue
            for thing in group:
                self._look_at(thing)

    def _is_bulk(self, container: Any) -> bool:
        """Whether it is a large container of plain data, which is then looked after as a whole."""
        known = self._known.get(id(container)) or bulk_of(container)
        if known is None:
            return False
        self._known[id(container)] = known
        self._bulk.append(known)
        return True

    def _look_at(self, thing: Any) -> None:
        if isinstance(thing, np.ndarray):
            if thing.dtype.kind != "O":
                self._arrays.append((thing, thing.copy(order="K")))
        elif isinstance(thing, (np.random.Generator, np.random.RandomState, random.Random)):
            self._generators.append((thing, _state(thing)))
        elif isinstance(thing, (tuple, frozenset)):
            self._found += thing
        elif isinstance(thing, types.FunctionType):
            for cell in thing.__closure__ or ():
                self._attribute(cell, "cell_contents")
            if any(not isinstance(self._content(cell), (*_PLAIN, types.FunctionType)) for cell in thing.__closure__ or ()):
                self.closures.append(thing)
        elif isinstance(thing, types.MethodType):
            self._found.append(thing.__self__)
        else:
            self._look_at_object(thing)

    @staticmethod
    def _content(cell: Any) -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # never assigned
            return None

    def _look_at_object(self, thing: Any) -> None:
        for cls in type(thing).__mro__:
            slots = vars(cls).get("__slots__", ())
            for name in [slots] if isinstance(slots, str) else slots:
                private = name.startswith("__") and not name.endswith("__")
                self._attribute(thing, f"_{cls.__name__.lstrip('_')}{name}" if private else name)
            if cls not in self._classes and cls.__flags__ & 1 << 9:  # one that was made by a class statement
                self._classes[cls] = dict(vars(cls))
                # state that all instances share
                self._found += [v for v in vars(cls).values() if isinstance(v, (list, dict, set, np.ndarray))]
        if hasattr(thing, "__dict__"):
            self._found.append(vars(thing))

    def _attribute(self, thing: Any, name: str) -> None:
        if name in ("__dict__", "__weakref__"):
            return
        try:
            value = getattr(thing, name)
        except (AttributeError, ValueError):  # never assigned
            return
        self._attributes.append((thing, name, value))
        self._found.append(value)

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
        lists = (pair for kind, pair in self._containers.items() if issubclass(kind, list))
        return sum(max(0, sum(map(len, now)) - sum(map(len, before))) for now, before in lists)

    def rewind(self) -> None:
        """Put back the random generators, and nothing else."""
        for generator, state in self._generators:
            _set_state(generator, state)
        if self.global_generator_moved():
            of_numpy, of_python = self._globals
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)

    def restore(self, thoroughly: bool = False) -> None:
        """Put everything back; thoroughly also what is large, plain, and has not changed in all the times before."""
        for bulk in self._bulk:
            bulk.restore(thoroughly)
        for originals, copies in self._containers.values():
            put_back(originals, copies)
        for thing, name, value in self._attributes:
            if getattr(thing, name, _MISSING) is not value:
                with contextlib.suppress(AttributeError):  # which only what sets itself behind its own back can do
                    object.__setattr__(thing, name, value)
        for cls, before in self._classes.items():
            _restore_class(cls, before)
        for array, content in self._arrays:
            if array.flags.writeable:
                array[...] = content
        self.rewind()

    def arrays(self) -> list[Any]:
        """The arrays as they were."""
        return [content for _, content in self._arrays]

    def exchange(self, old: Any, new: Any) -> None:
        """Put `new` wherever `old` stands."""
        for kind, (originals, _) in self._containers.items():
            if issubclass(kind, (dict, list)):
                for container in originals:
                    for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
                        if value is old:
                            container[key] = new
        for thing, name, value in self._attributes:
            if value is old:
                setattr(thing, name, new)


def _restore_class(cls: type, before: dict[str, Any]) -> None:
    now = vars(cls)
    if len(now) == len(before) and all(now.get(name, _MISSING) is value for name, value in before.items()):
        return
    for name in [name for name in now if name not in before]:
        delattr(cls, name)
    for name, value in before.items():
        if now.get(name, _MISSING) is not value:
            setattr(cls, name, value)


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
