"""Models and optimizers from what `pancake.description` wrote, which may be damaged or hostile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake import initializers, memory
from pancake.files.description import GENERATORS, SCALARS, Json, registry
from pancake.function import Function
from pancake.memory import Pair
from pancake.optimizers.optimizer import Optimizer
from pancake.training.history import History

# Positions in the state of a bit generator that NumPy does not check, and the largest that they can be.
POSITIONS = {"pos": 624, "buffer_pos": 4}


class Reader:
    """Makes objects from descriptions, and arrays that they name."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], fortran: Json, custom: Mapping[str, Any]) -> None:
        self._stored, self._custom = arrays, custom
        self._fortran = set(map(str, _typed(fortran, list, "fortran")))
        self._used: set[str] = set()
        self._made: dict[str, NDArray[Any]] = {}
        self._gradients: dict[str, NDArray[Any]] = {}
        self._functions: list[Function | None] = []
        self._described: set[int] = set()  # ids of those that are done
        self._generators: list[np.random.Generator] = []
        self._library = registry(Function)

    def unused(self) -> list[str]:
        """The arrays that no description has named."""
        return sorted(self._stored.keys() - self._used)

    def generators(self, descriptions: Json) -> None:
        """Make the generators that later descriptions refer to."""
        for description in _typed(descriptions, list, "generators"):
            state = self.value(description)
            name = _typed(state, dict, "a generator").get("bit_generator")
            if name not in GENERATORS:
                raise ValueError(f"there is no bit generator {name!r}")
            for key, largest in POSITIONS.items():
                for level in (state, state.get("state")):
                    if isinstance(level, dict) and not 0 <= level.get(key, 0) <= largest:
                        raise ValueError(f"a {name} cannot have the position {level[key]}")
            bits = getattr(np.random, name)(0)
            bits.state = state
            self._generators.append(np.random.Generator(bits))

    def function(self, description: Json) -> Function:
        """Make a Function."""
        function = self.value(description)
        if not isinstance(function, Function):
            raise ValueError(f"expected the description of a Function, got {description!r}"[:200])
        return function

    def optimizer(self, description: Json) -> Optimizer:
        """Make an optimizer with its state and the history of its training."""
        entry = _typed(description, dict, "the optimizer")
        cls = self._class(entry, Optimizer, registry(Optimizer))
        arguments = {k: self.value(v) for k, v in _typed(entry.get("arguments"), dict, "arguments").items()}
        optimizer: Optimizer = cls(self.value(entry.get("model")), **arguments)
        optimizer.load_state_dict({k: self.value(v) for k, v in _typed(entry.get("state"), dict, "state").items()})
        noted = entry.get("history")
        if noted is not None:
            history = History()
            for name, key in _typed(_typed(noted, dict, "history").get("columns"), list, "columns"):
                history[_typed(name, str, "a column")] = [float(v) for v in self._array(key).ravel()]
            history.rng = self.value(noted.get("rng"))
            if not isinstance(history.rng, (np.random.Generator, type(None))):
                raise ValueError("expected a generator in the history")
            optimizer.history = history
        return optimizer

    def value(self, description: Json) -> Any:
        """Make a value."""
        if isinstance(description, list):
            return [self.value(item) for item in description]
        if not isinstance(description, dict):
            return description
        match description:
            case {"tuple": [*items], **rest} if not rest:
                return tuple(self.value(item) for item in items)
            case {"dict": [*items], **rest} if not rest:
                return {self.value(key): self.value(value) for key, value in items}
            case {"float": "nan" | "inf" | "-inf" as text, **rest} if not rest:
                return float(text)
            case {"scalar": [str(name), value], **rest} if not rest and name in SCALARS:
                return np.dtype(name).type(self.value(value))
            case {"dtype": str(name), **rest} if not rest and name in SCALARS:
                return np.dtype(name)
            case {"array": str(name), **rest} if not rest:
                return self._array(name)
            case {"gradient": str(name), **rest} if not rest:
                return self._gradient(name)
            case {"generator": int(index), **rest} if not rest and 0 <= index < len(self._generators):
                return self._generators[index]
            case {"callable": str(name), **rest} if not rest:
                return self._callable(name)
            case {"function": {**entry}, **rest} if not rest:
                return self._function(entry)
            case {"seen": int(index), **rest} if not rest and 0 <= index < len(self._functions):
                return self._seen(index)
        raise ValueError(f"there is no value such as {description!r}"[:200])

    def _seen(self, index: int) -> Function:
        function = self._functions[index]
        if function is None:
            raise ValueError("a Function is described as a part of itself")
        return function

    def _array(self, name: str) -> NDArray[Any]:
        """The array of that name, the same one each time."""
        if name not in self._made:
            self._made[name] = np.array(self._contents(name), order=self._order(name))
        return self._made[name]

    def _order(self, name: str) -> Any:
        return "F" if name in self._fortran else "C"

    def _parameters(self, names: Iterable[Any]) -> list[Pair]:
        """Parameters and gradients: those that are not there yet side by side in memory, as the original ones."""
        names = [_typed(name, str, "the name of a parameter") for name in names]
        fresh = [name for name in dict.fromkeys(names) if name not in self._gradients]
        values = [np.asarray(self._contents(name), order=self._order(name)) for name in fresh]
        pairs = memory.copies([(value, np.zeros_like(value)) for value in values])
        for name, (value, grad) in zip(fresh, pairs, strict=True):
            self._made[name], self._gradients[name] = value, grad
        return [(self._made[name], self._gradients[name]) for name in names]

    def _contents(self, name: str) -> NDArray[Any]:
        if name not in self._stored:
            raise ValueError(f"there is no array {name!r} in it")
        self._used.add(name)
        return self._stored[name]

    def _gradient(self, name: str) -> NDArray[Any]:
        return self._parameters([name])[0][1]

    def _callable(self, name: str) -> Any:
        if name in self._custom:
            return self._custom[name]
        found = initializers.SCHEMES.get(name, self._library.get(name))
        if found is None:
            raise ValueError(f"it names {name!r}, which is not of this library; pass custom={{{name!r}: {name}}}")
        return found

    def _class(self, entry: Mapping[Any, Json], base: type[Any], library: Mapping[str, type[Any]]) -> Any:
        match entry:
            case {"class": str(name)} if name in library:
                return library[name]
            case {"custom": str(name)} if name in self._custom:
                cls = self._custom[name]
                if isinstance(cls, type) and issubclass(cls, base):
                    return cls
                raise ValueError(f"expected custom[{name!r}] to be a subclass of {base.__name__}, got {cls!r}")
            case {"custom": str(name)}:
                raise ValueError(f"it holds a {name}, which is not of this library; pass custom={{{name!r}: {name}}}")
        raise ValueError(f"there is no {base.__name__} {entry.get('class')!r}; is the file from a newer version?")

    def _function(self, entry: Mapping[Any, Json]) -> Function:
        index = len(self._functions)
        self._functions.append(None)
        cls = self._class(entry, Function, self._library)
        function: Function = cls.__new__(cls)
        parameters = _typed(entry.get("parameters"), dict, "parameters")
        if "custom" in entry:
            self._functions[index] = function
            self._parameters(parameters.values())
            self._restore(function, _typed(entry.get("state"), dict, "state"))
        else:
            arguments = {k: self.value(v) for k, v in _typed(entry.get("arguments"), dict, "arguments").items()}
            self._construct(function, arguments, parameters, _typed(entry.get("buffers"), dict, "buffers"))
            if entry.get("training") is False:
                for part in function.walk():
                    if id(part) not in self._described:  # itself, and parts that its constructor has made
                        part.training = False
            self._functions[index] = function
        self._described.add(id(function))
        return function

    def _restore(self, function: Function, state: Mapping[str, Json]) -> None:
        """Give a user's Function its attributes, as unpickling would."""
        attributes = {name: self.value(value) for name, value in state.items()}
        for name, value in attributes.items():
            if callable(getattr(type(function), name, None)) and not callable(value):
                raise ValueError(f"it would hide the method {name} of {type(function).__name__}")
        function.__setstate__(attributes)

    def _construct(
        self, function: Function, arguments: Mapping[str, Any], parameters: Mapping[str, str], buffers: Mapping[str, str]
    ) -> None:
        """Call the constructor of a library Function, with arrays from the file instead of fresh random ones.

        Shapes are compared before anything is allocated, since a file may ask for anything.
        """

        def make_parameters(dtype: Any, order: str = "F", **shapes: tuple[int, ...]) -> None:
            for name, shape in shapes.items():
                self._check(function, name, self._contents(_typed(parameters.get(name), str, name)), shape, np.dtype(dtype))
            for name, (value, grad) in zip(shapes, self._parameters([parameters[name] for name in shapes]), strict=True):
                vars(function)[name], vars(function)["grad_" + name] = value, grad

        shortcuts: dict[str, Any] = {"make_parameters": make_parameters, "reset_parameters": lambda rng=None: None}
        vars(function).update(shortcuts)
        type(function).__init__(function, **arguments)
        for name in shortcuts:
            del vars(function)[name]

        own = [name for name, _, _ in function._own_parameters()]
        if (sorted(own), sorted(function.buffers)) != (sorted(parameters), sorted(buffers)):
            expected, got = [*own, *function.buffers], [*parameters, *buffers]
            raise ValueError(f"{function!r}: expected the arrays {sorted(expected)}, got {sorted(got)}")
        for name in function.buffers:
            buffer = vars(function)[name]
            self._check(function, name, self._contents(_typed(buffers[name], str, name)), buffer.shape, buffer.dtype)
            vars(function)[name] = self._array(buffers[name])

    def _check(self, function: Function, name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"{type(function).__name__}: expected {name} of shape {shape} and dtype {dtype}, "
                f"got {array.shape} and {array.dtype}"
            )


def _typed(value: Any, kind: type[Any], what: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expected {what} to be a {kind.__name__} in it, got {value!r}"[:200])
    return value
