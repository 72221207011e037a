"""Models and optimizers from what `pancake.files.description` wrote, which may be damaged or hostile.

Whatever a file says, reading it takes time and memory in proportion to its size. An array is made once, however often it is
named; arrays are compared with what a constructor wants before it gets them. What has to be done anew each time that a file
names something is paid for from a budget, which the size of the file sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake import initializers, memory
from pancake.files.description import GENERATORS, MODES, SCALARS, Json, hides_method, leaves, registry
from pancake.files.stored import StoredArrays, typed
from pancake.function import Function
from pancake.optimizers.optimizer import Optimizer
from pancake.training.history import History

# Positions in the state of a bit generator that NumPy does not check, and the largest that they can be.
POSITIONS = {"pos": 624, "buffer_pos": 4}

# The budget, in bytes of memory or what takes as long as writing them: so much for any file, and for each byte of it.
BASE, FACTOR = 1 << 23, 8
LOOK = 32  # at a Function, by a container that looks through its parts
BINDING = 256  # a Function to an optimizer, which looks for its parameters
NUMBER = 32  # of Python
PASSING = 32  # as many bytes of an array can be copied and forgotten in the time of one


class Reader:
    """Makes objects from descriptions and the arrays that they name.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    fortran : list of str
        Which of them lie column by column in memory.
    custom : mapping of str to class or function
        What a file may name besides what is in this library.
    size : int
        Bytes of the file.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], fortran: Json, custom: Mapping[str, Any], size: int) -> None:
        self.arrays, self._custom = StoredArrays(arrays, fortran), custom
        self._budget = BASE + FACTOR * size
        self._functions: list[Function | None] = []  # in the order in which they begin in the file; None until they are done
        self._described: set[int] = set()  # ids of those that are done
        self._counts: list[int] = []  # of Functions in each; one that is named twice counts twice
        self._count = 0  # the same for what is being made
        self._generators: list[np.random.Generator] = []
        self._library = registry(Function)

    def _spend(self, cost: int) -> None:
        self._budget -= cost
        if self._budget < 0:
            raise ValueError("it names the same things again and again, more often than save() would in a file of its size")

    # --- the parts of a file ---

    def generators(self, descriptions: Json) -> None:
        """Make the generators that later descriptions refer to."""
        for description in typed(descriptions, list, "generators"):
            state = typed(self.value(description), dict, "a generator")
            self._spend(sum(leaf.nbytes for leaf in leaves(state) if isinstance(leaf, np.ndarray)))
            name = state.get("bit_generator")
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

    def facts(self, description: Json) -> dict[Any, Any]:
        """Make what a user keeps beside a model."""
        facts: dict[Any, Any] = {} if description is None else typed(self.value(description), dict, "meta")
        return facts

    def optimizer(self, description: Json) -> Optimizer:
        """Make an optimizer with its state and the history of its training."""
        entry = typed(description, dict, "the optimizer")
        cls = self._class(entry, Optimizer, registry(Optimizer))
        self._count = 0
        model = self.value(entry.get("model"))
        self._spend(BINDING * self._count)
        if not all(isinstance(leaf, Function) for leaf in leaves(model)):
            raise ValueError("expected a Function or a list of Functions as the model of the optimizer")
        arguments = self._values(entry, "arguments")
        self._check_arguments(arguments)
        frozen = [part for function in leaves(model) for part in function.walk() if part.frozen]
        for part in frozen:  # an optimizer is made for something that is trained; later all of it may be frozen
            part.frozen = False
        optimizer: Optimizer = cls(model, **arguments)
        for part in frozen:
            part.frozen = True
        if frozen:
            memory.arrays_changed()
        optimizer.load_state_dict(self._values(entry, "state"))
        if entry.get("history") is not None:
            optimizer.history = self._history(typed(entry["history"], dict, "history"))
        return optimizer

    def _history(self, entry: Mapping[str, Json]) -> History:
        history = History()
        for name, key in typed(entry.get("columns"), list, "columns"):
            column = self.arrays.contents(key)
            self._spend(NUMBER * column.size)
            history[typed(name, str, "a column")] = column.astype(float).ravel().tolist()
        history.rng = self.value(entry.get("rng"))
        if not isinstance(history.rng, (np.random.Generator, type(None))):
            raise ValueError("expected a generator in the history")
        return history

    # --- values ---

    def value(self, description: Json) -> Any:
        """Make a value. A list becomes the list of its values, so that there are never two of it."""
        if isinstance(description, list):
            for i, item in enumerate(description):
                description[i] = self.value(item)
            return description
        if not isinstance(description, dict):
            return description
        kind, content = next(iter(description.items())) if len(description) == 1 else (None, None)
        match kind, content:
            case "function", dict():
                return self._function(content)
            case "seen", int() if 0 <= content < len(self._functions):
                return self._seen(content)
            case "tuple", list():
                return tuple(self.value(content))
            case "dict", list():
                return self._dict(self.value(content))
            case "float", "nan" | "inf" | "-inf":
                return float(content)
            case "scalar", [str(name), int() | float() as number] if name in SCALARS:
                return np.dtype(name).type(number)
            case "scalar", [str(name), {"float": "nan" | "inf" | "-inf" as number}] if name in SCALARS:
                return np.dtype(name).type(float(number))
            case "dtype", str() if content in SCALARS:
                return np.dtype(content)
            case "slice", [int() | None, int() | None, int() | None]:
                return slice(*content)
            case "array", str():
                return self.arrays.made(content)
            case "gradient", str():
                return self.arrays.parameters([content])[0][1]
            case "generator", int() if 0 <= content < len(self._generators):
                return self._generators[content]
            case "callable", str():
                return self._callable(content)
        raise ValueError(f"there is no value such as {description!r}"[:200])

    def _values(self, entry: Mapping[Any, Json], key: str) -> dict[str, Any]:
        """The values of an object in an entry."""
        values = {}
        for name, description in typed(entry.get(key), dict, key).items():
            values[name] = self.value(description)
        return values

    def _dict(self, pairs: list[Any]) -> dict[Any, Any]:
        """A dict of pairs, refused if many keys have one hash: to put n of them into a dict takes a time that grows with n^2."""
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise ValueError("expected pairs in a dict")
        if max(Counter(hash(key) for key, _ in pairs).values(), default=0) > 16:
            raise ValueError("the keys of a dict are alike")
        return dict(pairs)

    def _callable(self, name: str) -> Any:
        if name in self._custom:
            return self._custom[name]
        found = initializers.SCHEMES.get(name, self._library.get(name))
        if found is None:
            raise ValueError(f"it names {name!r}, which is not of this library; pass custom={{{name!r}: {name}}}")
        return found

    # --- Functions ---

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
        raise ValueError(f"there is no {base.__name__} {entry.get('class')!r}; is the file from a newer version?"[:200])

    def _function(self, entry: Mapping[Any, Json]) -> Function:
        index, outer, self._count = len(self._functions), self._count, 1
        self._functions.append(None)
        self._counts.append(1)
        cls = self._class(entry, Function, self._library)
        function: Function = cls.__new__(cls)
        parameters = typed(entry.get("parameters"), dict, "parameters")
        if "custom" in entry:
            self._functions[index] = function  # to which a part of it may refer
            self.arrays.parameters(parameters.values())
            state = self._values(entry, "state")
            self._look_through(index)
            self._restore(function, state)
        else:
            parts = self._values(entry, "parts") if "parts" in entry else {}
            arguments = self._values(entry, "arguments")
            self._look_through(index)
            self._check_arguments(arguments)
            self._construct(function, arguments, parts, parameters, typed(entry.get("buffers"), dict, "buffers"))
            for mode, usual in MODES.items():
                if entry.get(mode) is (not usual):
                    for part in function.walk():
                        if id(part) not in self._described:  # itself, and parts that its constructor has made
                            vars(part)[mode] = not usual
            self._functions[index] = function
        self._described.add(id(function))
        self._count += outer
        return function

    def _seen(self, index: int) -> Function:
        function = self._functions[index]
        if function is None:
            raise ValueError("a Function is described as a part of itself")
        self._count += self._counts[index]
        return function

    def _look_through(self, index: int) -> None:
        """Note how many Functions are in one, and pay for a look at all of them."""
        self._counts[index] = self._count
        if self._count > 10_000 + 16 * len(self._functions):  # if each holds the one before twice, it doubles each time
            raise ValueError("its Functions are parts of each other in too many ways")
        self._spend(LOOK * self._count)

    def _restore(self, function: Function, state: Mapping[str, Any]) -> None:
        """Give a user's Function its attributes, as unpickling would."""
        for name in state:
            if hides_method(type(function), name):
                raise ValueError(f"it would hide the method {name} of {type(function).__name__}")
        function.__setstate__(dict(state))

    def _check_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Refuse, or pay for, what would take a constructor long: to show it in an error, or to copy it."""
        for name, argument in arguments.items():
            if isinstance(argument, np.ndarray):  # of integers it may make a tuple
                self._spend(argument.nbytes // PASSING if argument.dtype.kind == "f" else 2 * NUMBER * argument.size)
                continue
            found = [id(leaf) for leaf in leaves(argument) if isinstance(leaf, (Function, np.ndarray))]
            if len(set(found)) < len(found):
                raise ValueError(f"one thing stands twice in the argument {name}")

    def _construct(
        self,
        function: Function,
        arguments: Mapping[str, Any],
        parts: Mapping[str, Any],
        parameters: Mapping[str, str],
        buffers: Mapping[str, str],
    ) -> None:
        """Call the constructor of a library Function, with arrays from the file instead of fresh random ones.

        Shapes are compared before anything is allocated, since a file may ask for anything.
        """
        name_of, attributes = type(function).__name__, vars(function)

        def make_parameters(dtype: Any, order: str = "F", **shapes: tuple[int, ...] | None) -> None:
            wanted = {name: shape for name, shape in shapes.items() if shape is not None}
            for name, shape in wanted.items():
                self._check(function, name, parameters.get(name), shape, np.dtype(dtype))
            pairs = iter(self.arrays.parameters([parameters[name] for name in wanted], order))
            for name in shapes:
                attributes[name], attributes["grad_" + name] = next(pairs) if name in wanted else (None, None)

        stored = [self.arrays.contents(name) for name in buffers.values()]
        self._spend(sum(array.nbytes for array in stored) // PASSING)  # for those of the constructor
        for name, argument in arguments.items():  # which may say how long they are
            if stored and type(argument) is int and argument > max(array.size for array in stored):
                raise ValueError(f"{name_of}: its buffers do not have {name}={argument} numbers")

        shortcuts: dict[str, Any] = {"make_parameters": make_parameters, "reset_parameters": lambda rng=None: None}
        attributes.update(shortcuts)
        type(function).__init__(function, **arguments)
        for name in shortcuts:
            del attributes[name]

        for name, part in parts.items():
            if not isinstance(part, Function) or type(attributes.get(name)) is not type(part):
                raise ValueError(f"{name_of}: it has no such part {name!r}"[:200])
            attributes[name] = part
        for name in arguments.keys() & attributes.keys() - parameters.keys():  # instead of the copy that a constructor makes
            argument, kept = arguments[name], attributes[name]
            if isinstance(argument, np.ndarray) and isinstance(kept, np.ndarray) and argument.shape == kept.shape:
                attributes[name] = argument
        own = [name for name, _, _ in function._own_parameters()]
        if (sorted(own), sorted(function.buffers)) != (sorted(parameters), sorted(buffers)):
            expected, got = [*own, *function.buffers], [*parameters, *buffers]
            raise ValueError(f"{name_of}: expected the arrays {sorted(expected)}, got {sorted(got)}")
        for name in function.buffers:
            self._check(function, name, buffers[name], attributes[name].shape, attributes[name].dtype)
            attributes[name] = self.arrays.made(buffers[name])

    def _check(self, function: Function, name: str, key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        array = self.arrays.contents(typed(key, str, name))
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"{type(function).__name__}: expected {name} of shape {shape} and dtype {dtype}, "
                f"got {array.shape} and {array.dtype}"
            )
