"""What is checked: a function, a loss or a cell, with its inputs and its parameters."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pancake.arguments import as_array, brief
from pancake.function import Function
from pancake.testing.bulk import Bulk

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


class CallError(GradientError):
    """A method of the function has raised an exception."""


class StandIn:
    """What stands in a check for something of another shape, and lends it the three methods.

    Attributes
    ----------
    name : str
        What reports call it.
    calls : mapping
        What messages say for "compute_forward" and "compute_backward".
    input_names : sequence of str
        Those of the inputs; empty for x, or x[0], x[1], ...
    """

    name: str = ""
    calls: Mapping[str, str] = {}
    input_names: Sequence[str] = ()

    def named_params(self) -> list[tuple[str, Any]]:
        """The parameters by name."""
        return []


class Forward(StandIn):
    """A forward alone, for numerical derivatives."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.calls = {"compute_forward": self.name}

    def compute_forward(self, *inputs: Any) -> Any:
        """Call it."""
        return self.function(*inputs)

    def compute_backward(self, *upstream: Any) -> Any:
        """There is none."""
        raise NotImplementedError(f"{self.name} has no backward")


def as_forward(function: Any) -> Any:
    """The function, if it has the methods, else what calls it or its `compute_forward` or `forward`."""
    if isinstance(function, type) or hasattr(function, "compute_backward"):
        return function
    for method in ("compute_forward", "forward", "__call__"):
        if callable(getattr(function, method, None)):
            return Forward(function if method == "__call__" else getattr(function, method))
    return function


def refuse_strangers(function: Any) -> None:
    """Raise a TypeError that says what to use instead, unless the object has the methods of a Function."""
    if isinstance(function, type):
        name = function.__name__
        raise TypeError(
            f"expected an instance, got the class {name}; pass {name}(...), "
            f"or let pancake.testing.gradient_property({name}, ...) "
            "draw its arguments"
        )
    if all(callable(getattr(function, method, None)) for method in ("compute_forward", "compute_backward")):
        return
    wanted = "expected an object with compute_forward and compute_backward"
    if any(callable(getattr(function, method, None)) for method in ("forward", "backward", "fprop", "bprop")):
        name = type(function).__name__
        raise TypeError(
            f"{wanted}, got a {name}; for layers with other names of methods or parameters there is pancake.testing.adapt: "
            f"check_function(adapt({name}(...), forward='forward', backward='backward', params=[...], grads=[...]), x)"
        )
    if callable(function):
        name = getattr(function, "__name__", type(function).__name__)
        name = "forward" if name == "<lambda>" else name
        raise TypeError(
            f"{wanted}, got {function!r}; for plain functions there is pancake.testing.check_vjp({name}, backward, *inputs), "
            "where backward(dObj_dOut, *inputs) returns the gradients of the inputs"
        )
    raise TypeError(
        f"{wanted}, got {brief(function)}; for layers of other shapes there is pancake.testing.adapt, for plain functions "
        "check_vjp"
    )


def takes_several(function: Any) -> bool:
    """Whether a function is to be called with several arguments: a cell, or whatever needs more than one."""
    if hasattr(function, "init_state"):
        return True
    try:
        parameters = inspect.signature(function.compute_forward).parameters.values()
    except (TypeError, ValueError):  # as of functions written in C
        return True
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(needed) != 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


class Subject:
    """A function with its inputs, seen as lists of arrays whatever tuples they come in.

    Parameters
    ----------
    function : object
        With `compute_forward`, `compute_backward` and, if it has parameters, `get_params_and_grads`.
    x : array_like, or a tuple of them
        The input. A tuple is passed on as several arguments to what takes several, as a cell its input and state, and else as
        one input of several parts, as a container its branches; it may nest, (x, (h, c)).
    target : array_like, optional
        Makes the function a loss: it is called with (x, target), and its backward without an argument.
    """

    def __init__(self, function: Any, x: Any, target: Any = None) -> None:
        refuse_strangers(function)
        self.function = function
        self.target = None if target is None else np.array(target)
        self._names: list[str] = []
        self._params: list[Any] | None = None  # those of the first call of `params_and_grads`
        self.bulk: dict[int, Bulk] = {}  # what snapshots of the function share
        self.handed_out: Any = None  # the copy of the target that the latest forward was given
        # What stands in for a foreign layer or a pair of functions says how these are called.
        self.stands_in = isinstance(function, StandIn)
        self.name = function.name if self.stands_in else type(function).__name__
        self.several = isinstance(x, tuple) and (len(x) < 2 or self.stands_in or takes_several(function))
        self.template = _map(lambda leaf: _as_array(self.name, leaf), x)
        self.inputs = [leaf for _, leaf in _leaves(self.template)]
        self.input_names = ["x" + path for path, _ in _leaves(self.template)]
        if self.stands_in and len(function.input_names) == len(self.inputs):
            self.input_names = list(function.input_names)
        if not all(leaf.size for leaf in self.inputs):
            raise ValueError(f"{self.name}: expected at least one example, got an empty input")

    def call(self, method: str) -> str:
        """How a method is to be called in messages."""
        if self.stands_in:
            return str(self.function.calls.get(method, f"{self.name}.{method}"))
        return f"{self.name}.{method}"

    # --- calls ---

    def forward(self, inputs: Sequence[Any], may_be_complex: bool = False) -> tuple[list[Vector], Any]:
        """The outputs as a list of arrays, and the structure they came in."""
        x = _rebuild(self.template, iter(inputs))
        compute = self.function.compute_forward
        forward = self.call("compute_forward")
        with _Named(forward, inputs):
            if self.target is not None:
                self.handed_out = self.target.copy(order="K")
                out = compute(x, self.handed_out)
            else:
                out = compute(*x) if self.several else compute(x)
        # Of several outputs a list is as good as a tuple; of numbers it is an array that has been taken apart.
        if isinstance(out, list) and any(type(leaf) in (bool, int, float, complex) for _, leaf in _leaves(out)):
            raise GradientError(f"{self.name}: {_short(forward)} returned a list of numbers; return an array")
        outputs = [np.asarray(leaf) for _, leaf in _leaves(out)]
        if not outputs:
            raise GradientError(f"{self.name}: {_short(forward)} returned {out!r}; is a `return` missing?")
        for output in outputs:
            if output.dtype.kind == "c" and not may_be_complex:
                raise GradientError(
                    f"{self.name}: {_short(forward)} returned complex numbers ({output.dtype}) for real input, and an objective "
                    "is real; return the real and the imaginary part as two arrays, or as a last axis of length 2"
                )
            if output.dtype.kind not in "fc":
                raise GradientError(f"{self.name}: {_short(forward)} returned {output.dtype} instead of floating-point numbers")
        return outputs, out

    def backward(self, upstream: Sequence[Vector], out: Any, method: str = "compute_backward") -> list[Vector | None]:
        """The gradient of each input, None for inputs of integers; `out` is the structure of the outputs."""
        compute = getattr(self.function, method)
        with _Named(self.call(method), upstream):
            if self.target is not None:
                gradient = compute()
            else:
                d = _rebuild(out, iter(upstream))
                gradient = compute(*d) if isinstance(out, tuple) else compute(d)
        if method != "compute_backward":
            return []
        leaves = [leaf for _, *leaf in self._beside(self.template, gradient, "x")]
        return [self._gradient(name, *leaf) for name, leaf in zip(self.input_names, leaves, strict=True)]

    @property
    def _backward(self) -> str:
        return _short(self.call("compute_backward"))

    def _gradient(self, name: str, x: Vector, gradient: Any) -> Vector | None:
        if x.dtype.kind != "f":
            return None
        if gradient is None:
            raise GradientError(
                f"{self.name}: {self._backward} returned None as the gradient of {name}; expected an array of shape {x.shape}"
            )
        if isinstance(gradient, (list, tuple)):
            raise GradientError(
                f"{self.name}: {self._backward} returned a {type(gradient).__name__} as the gradient of {name}; return an array"
            )
        if np.shape(gradient) != x.shape:
            raise GradientError(
                f"{self.name}: {self._backward} returned a dObj_dIn of shape {np.shape(gradient)} for {name} of shape {x.shape}"
            )
        array = np.asarray(gradient)
        if array.dtype.kind not in "biuf":
            raise GradientError(f"{self.name}: {self._backward} returned {array.dtype} as the gradient of {name}")
        return array

    def _beside(self, template: Any, tree: Any, name: str) -> Iterator[tuple[str, Vector, Any]]:
        """The leaves of the input, each with its name and the gradient that stands at the same place."""
        if isinstance(template, tuple):
            if len(template) == 1 and not isinstance(tree, (tuple, list)):
                tree = (tree,)
            if not isinstance(tree, (tuple, list)) or len(tree) != len(template):
                got = f"{len(tree)} of them" if isinstance(tree, (tuple, list)) else type(tree).__name__
                raise GradientError(
                    f"{self.name}: {self._backward} must return {len(template)} gradients, one for each part of {name}, got {got}"
                )
            for i, (part, subtree) in enumerate(zip(template, tree, strict=True)):
                yield from self._beside(part, subtree, f"{name}[{i}]")
        elif template is not None:
            yield name, template, tree

    # --- parameters ---

    def params_and_grads(self) -> tuple[list[Vector], list[Vector]]:
        """The parameters and their gradients; two empty lists for a loss or another object without any."""
        if not hasattr(self.function, "get_params_and_grads"):
            return [], []
        with _Named(f"{self.name}.get_params_and_grads", ()), self.without_bulk():
            params, grads = self.function.get_params_and_grads()
            params, grads = list(params), list(grads)
        if self._params is None:
            self._params = params
        if len(params) != len(self._params):
            names = [n for p, n in zip(params, self.param_names(params), strict=True) if all(p is not q for q in self._params)]
            raise GradientError(
                f"{self.name}: get_params_and_grads lists {len(self._params)} parameters at first, {len(params)} after forward "
                f"and backward, when {', '.join(names)} is there too. Make all parameters in __init__, and none by accident: "
                "an attribute k beside grad_k is one"
            )
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

    @contextlib.contextmanager
    def without_bulk(self) -> Iterator[None]:
        """Hide what is large and plain while something walks through all that the function has."""
        with contextlib.ExitStack() as stack:
            for bulk in self.bulk.values():
                stack.enter_context(bulk.hidden())
            yield

    def param_names(self, params: Sequence[Any]) -> list[str]:
        """The names of the parameters: those of `state_dict`, else of the attributes, else their numbers."""
        if len(self._names) == len(params):  # also where there are none
            return self._names
        names: dict[int, str] = {}
        if self.stands_in:
            names = {id(array): name for name, array in self.function.named_params()}
        if isinstance(self.function, Function):
            with self.without_bulk():
                names = {id(array): key for key, array in self.function._named_arrays()}
        for name, value in getattr(self.function, "__dict__", {}).items():
            names.setdefault(id(value), name)
        found = [names.get(id(p), f"params[{i}]") for i, p in enumerate(params)]
        self._names = [f"parameter_{name}" if name in self.input_names else name for name in found]
        return self._names

    def zero_grads(self) -> None:
        """Set all gradients to 0."""
        for grad in self.params_and_grads()[1]:
            grad[...] = 0

    # --- inputs ---

    def batch(self) -> int | None:
        """The number of examples: the length of the first axis of the first input."""
        return len(self.inputs[0]) if self.inputs and self.inputs[0].ndim else None

    def with_inputs(self, inputs: Sequence[Any], target: Any = None) -> Subject:
        """The same function with other inputs in the same structure."""
        other = Subject(self.function, _rebuild(self.template, iter(inputs)), self.target if target is None else target)
        other.bulk = self.bulk
        return other


class _Named:
    """Turns what a method raises into a CallError that names the method."""

    def __init__(self, method: str, arguments: Sequence[Any]) -> None:
        self.method, self.arguments = method, arguments

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError) and "read-only" in str(error):
            raise CallError(f"{self.method} writes to an array that it was given ({error}); compute on a copy") from error
        if isinstance(error, Exception) and not isinstance(error, GradientError):
            shapes = ", ".join(str(np.shape(a)) for a in self.arguments)
            given = f" (with arrays of shape {shapes})" if shapes else ""
            raise CallError(f"{self.method} raised {type(error).__name__}: {error}{given}") from error


def _short(call: str) -> str:
    """The name of a method without that of its class."""
    return call.rpartition(".")[2]


def split(vector: Vector, outputs: Sequence[Vector]) -> list[Vector]:
    """A vector cut into arrays of the shapes and dtypes of the outputs."""
    starts = np.cumsum([0, *(y.size for y in outputs)])
    return [vector[a : a + y.size].reshape(y.shape).astype(y.dtype) for a, y in zip(starts, outputs, strict=False)]


def _as_array(name: str, leaf: Any) -> Any:
    if leaf is None:
        return None
    array = as_array(name, leaf, "an input")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected inputs of real numbers, got {type(leaf).__name__} of dtype {array.dtype}")
    return array.astype(np.float64) if array.dtype.kind == "f" and array.dtype != np.float64 else array


def _map(change: Callable[[Any], Any], tree: Any) -> Any:
    return _like(tree, [_map(change, part) for part in tree]) if isinstance(tree, tuple) else change(tree)


def _like(tree: Any, parts: list[Any]) -> Any:
    """A tuple, named tuple or list as `tree` is, of other parts."""
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, (tuple, list)):
        for i, part in enumerate(tree):
            yield from _leaves(part, f"{path}[{i}]")
    elif tree is not None:
        yield path, tree


def _rebuild(tree: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(tree, (tuple, list)):
        return _like(tree, [_rebuild(part, leaves) for part in tree])
    return None if tree is None else next(leaves)
