"""What is checked: a function, a loss or a cell with its inputs, its parameters and its whole state."""

from __future__ import annotations

import random
import types
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pancake.function import Function

Vector: TypeAlias = NDArray[np.floating[Any]]


class GradientError(AssertionError):
    """A Function breaks its contract: a derivative is wrong, or something else that a check looks at.

    Attributes
    ----------
    report : GradientReport or None
        The entries that were compared, where it came to that.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class Subject:
    """A function with its inputs, seen as lists of arrays whatever tuples they come in.

    Parameters
    ----------
    function : object
        With `compute_forward`, `compute_backward` and, if it has parameters, `get_params_and_grads`.
    x : array_like, or a tuple of them
        The input; a tuple is passed on as several arguments (a cell's input and state), and may nest (h, c).
    target : array_like, optional
        Makes the function a loss: it is called with (x, target), and its backward without an argument.
    """

    def __init__(self, function: Any, x: Any, target: Any = None) -> None:
        for method in ("compute_forward", "compute_backward"):
            if not callable(getattr(function, method, None)):
                made = f"; pass an instance, {function.__name__}(...)" if isinstance(function, type) else ""
                raise TypeError(f"expected an object with compute_forward and compute_backward, got {function!r}{made}")
        if isinstance(function, type):
            raise TypeError(f"expected an instance, got the class {function.__name__}; pass {function.__name__}(...)")
        self.function, self.target = function, target
        self.name = type(function).__name__
        self.several = isinstance(x, tuple)
        self.template = _map(lambda leaf: _as_array(self.name, leaf), x)
        self.inputs = [leaf for _, leaf in _leaves(self.template)]
        self.input_names = ["x" + path for path, _ in _leaves(self.template)]

    # --- calls ---

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Vector], Any]:
        """The outputs as a list of arrays, and the structure they came in."""
        x = _rebuild(self.template, iter(inputs))
        compute = self.function.compute_forward
        with self._named("compute_forward", inputs):
            out = compute(x, self.target) if self.target is not None else compute(*x) if self.several else compute(x)
        outputs = [np.asarray(leaf) for _, leaf in _leaves(out)]
        for output in outputs:
            if output.dtype.kind not in "fc":
                raise GradientError(f"{self.name}: compute_forward returned {output.dtype} instead of floating-point numbers")
        return outputs, out

    def backward(self, upstream: Sequence[Vector], out: Any) -> list[Vector | None]:
        """The gradient of each input, None for inputs of integers; `out` is the structure of the outputs."""
        with self._named("compute_backward", upstream):
            if self.target is not None:
                gradient = self.function.compute_backward()
            else:
                d = _rebuild(out, iter(upstream))
                gradient = self.function.compute_backward(*d) if isinstance(out, tuple) else self.function.compute_backward(d)
        gradients: list[Vector | None] = []
        for name, x, g in self._beside(self.template, gradient, "x"):
            if x.dtype.kind != "f":
                gradients.append(None)
            elif g is None:
                raise GradientError(
                    f"{self.name}: compute_backward returned None as the gradient of {name}; expected an array of shape {x.shape}"
                )
            elif np.shape(g) != x.shape:
                raise GradientError(
                    f"{self.name}: compute_backward returned a dObj_dIn of shape {np.shape(g)} for {name} of shape {x.shape}"
                )
            else:
                gradients.append(np.asarray(g))
        return gradients

    def params_and_grads(self) -> tuple[list[Vector], list[Vector]]:
        """The parameters and their gradients; two empty lists for a loss or another object without any."""
        if not hasattr(self.function, "get_params_and_grads"):
            return [], []
        with self._named("get_params_and_grads", ()):
            params, grads = self.function.get_params_and_grads()
            params, grads = list(params), list(grads)
        if len(params) != len(grads):
            raise GradientError(f"{self.name}: get_params_and_grads returned {len(params)} parameters and {len(grads)} gradients")
        for name, p, g in zip(self.param_names(params), params, grads, strict=True):
            if not isinstance(p, np.ndarray) or not isinstance(g, np.ndarray):
                raise GradientError(
                    f"{self.name}: {name} and its gradient must be arrays, got {type(p).__name__} and {type(g).__name__}"
                )
            if p.shape != g.shape:
                raise GradientError(f"{self.name}: the gradient of {name} has shape {g.shape}, the parameter {p.shape}")
        return params, grads

    def param_names(self, params: Sequence[Any]) -> list[str]:
        """The names of the parameters: those of `state_dict`, else of the attributes, else their numbers."""
        names: dict[int, str] = {}
        if isinstance(self.function, Function):
            names = {id(array): key for key, array in self.function._named_arrays()}
        for name, value in getattr(self.function, "__dict__", {}).items():
            names.setdefault(id(value), name)
        return [names.get(id(p), f"params[{i}]") for i, p in enumerate(params)]

    def batch(self) -> int | None:
        """The number of examples: the length of the first axis of the first input."""
        return len(self.inputs[0]) if self.inputs and self.inputs[0].ndim else None

    def with_inputs(self, inputs: Sequence[Any], target: Any = None) -> Subject:
        """The same function with other inputs in the same structure."""
        return Subject(self.function, _rebuild(self.template, iter(inputs)), self.target if target is None else target)

    def _beside(self, template: Any, tree: Any, name: str) -> Iterator[tuple[str, Vector, Any]]:
        if isinstance(template, tuple):
            if not isinstance(tree, (tuple, list)) or len(tree) != len(template):
                got = f"{len(tree)} of them" if isinstance(tree, (tuple, list)) else type(tree).__name__
                raise GradientError(
                    f"{self.name}: compute_backward must return {len(template)} gradients, one for each part of {name}, got {got}"
                )
            for i, (part, subtree) in enumerate(zip(template, tree, strict=True)):
                yield from self._beside(part, subtree, f"{name}[{i}]")
        elif template is not None:
            yield name, template, tree

    def _named(self, method: str, arguments: Sequence[Any]) -> _Named:
        return _Named(f"{self.name}.{method}", arguments)


class _Named:
    """Turns what a method raises into a GradientError that names the method, and keeps numerical warnings quiet."""

    def __init__(self, method: str, arguments: Sequence[Any]) -> None:
        self.method, self.arguments = method, arguments

    def __enter__(self) -> None:
        self.errstate = np.errstate(all="ignore")
        self.errstate.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.errstate.__exit__(kind, error, trace)
        if isinstance(error, Exception) and not isinstance(error, GradientError):
            shapes = ", ".join(str(np.shape(a)) for a in self.arguments)
            raise GradientError(
                f"{self.method} raised {type(error).__name__}: {error} (with arrays of shape {shapes})"
            ) from error


class Snapshot:
    """The state of an object and of everything in it, to be put back: attributes, lists, arrays, random generators."""

    def __init__(self, root: Any) -> None:
        self._containers: list[tuple[Any, Any]] = []
        self._slots: list[tuple[Any, str, Any]] = []
        self._arrays: list[tuple[Vector, Vector]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._seen: dict[int, Any] = {}
        self._visit(root)

    def _visit(self, thing: Any) -> None:
        if id(thing) in self._seen or isinstance(thing, (type, types.ModuleType, types.FunctionType, str, bytes, int, float)):
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, np.ndarray):
            if thing.dtype.kind != "O":
                self._arrays.append((thing, thing.copy()))
        elif isinstance(thing, np.random.Generator):
            self._generators.append((thing, thing.bit_generator.state))
        elif isinstance(thing, np.random.RandomState):
            self._generators.append((thing, thing.get_state()))
        elif isinstance(thing, random.Random):
            self._generators.append((thing, thing.getstate()))
        elif isinstance(thing, (dict, list)):
            self._containers.append((thing, thing.copy()))
            for value in list(thing.values()) if isinstance(thing, dict) else list(thing):
                self._visit(value)
        elif isinstance(thing, (tuple, set, frozenset)):
            for value in thing:
                self._visit(value)
        else:
            for cls in type(thing).__mro__:
                slots = vars(cls).get("__slots__", ())
                for name in [slots] if isinstance(slots, str) else slots:
                    if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                        self._slots.append((thing, name, getattr(thing, name)))
                        self._visit(getattr(thing, name))
            if hasattr(thing, "__dict__"):
                self._visit(vars(thing))

    def generators_moved(self) -> bool:
        """Whether a random generator has drawn since."""
        return any(repr(_generator_state(generator)) != repr(state) for generator, state in self._generators)

    def restore(self) -> None:
        """Put everything back."""
        for container, content in self._containers:
            if isinstance(container, dict):
                container.clear()
                container.update(content)
            else:
                container[:] = content
        for thing, name, value in self._slots:
            setattr(thing, name, value)
        for array, content in self._arrays:
            if array.flags.writeable:
                array[...] = content
        for generator, state in self._generators:
            if isinstance(generator, np.random.Generator):
                generator.bit_generator.state = state
            elif isinstance(generator, np.random.RandomState):
                generator.set_state(state)
            else:
                generator.setstate(state)

    def exchange(self, old: Any, new: Any) -> None:
        """Put `new` wherever `old` stands."""
        for container, _ in self._containers:
            for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
                if value is old:
                    container[key] = new
        for thing, name, value in self._slots:
            if value is old:
                setattr(thing, name, new)


def _generator_state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state() if isinstance(generator, np.random.RandomState) else generator.getstate()


def _as_array(name: str, leaf: Any) -> Any:
    if leaf is None:
        return None
    array = leaf if type(leaf) is np.ndarray else np.asarray(leaf)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected inputs of real numbers, got {type(leaf).__name__} of dtype {array.dtype}")
    return array.astype(np.float64) if array.dtype.kind == "f" and array.dtype != np.float64 else array


def _map(change: Any, tree: Any) -> Any:
    return tuple(_map(change, part) for part in tree) if isinstance(tree, tuple) else change(tree)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, tuple):
        for i, part in enumerate(tree):
            yield from _leaves(part, f"{path}[{i}]")
    elif tree is not None:
        yield path, tree


def _rebuild(tree: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(tree, tuple):
        return tuple(_rebuild(part, leaves) for part in tree)
    return None if tree is None else next(leaves)
