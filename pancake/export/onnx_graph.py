"""A graph of ONNX while it is made: nodes, constants, and which name is whose output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from pancake.export.inputs import converter_of
from pancake.function import Function
from pancake.memory import Array
from pancake.tree import named_parts

# The version of ONNX's operators. Of 18 are the reductions that take their axes as an input; runtimes since 2023 read it.
OPSET = 18

Name: TypeAlias = Any  # a str; for several inputs a tuple of names
Converter: TypeAlias = Callable[[Any, "Graph", Name], Name]

# How each class is converted. Users add theirs by `register`.
CONVERTERS: dict[type[Function], Converter] = {}
# Those that get integers as integers; all others get them as floats, as the Functions themselves make of them.
TAKE_INTEGERS: set[type[Function]] = set()


class Graph:
    """What converters add to.

    Parameters
    ----------
    owner : function
        Whom messages name.
    model : Function
        Not run in training mode, nor by anybody else: it computes what the values of the graph look like.
    lengths : str, optional
        The name of the input with the lengths of sequences, (B,) of int64.

    Attributes
    ----------
    nodes, initializers : list
        As `onnx` has them.
    examples : dict
        For names of values, what they are for the example that is exported.
    """

    def __init__(self, owner: object, model: Function, lengths: str | None = None) -> None:
        import onnx

        self._owner, self._onnx = owner, onnx
        self.lengths = lengths
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.examples: dict[str, Any] = {}
        self._paths = {id(part): path for path, part in named_parts(model)}
        self._names = {id(array): name for name, array in model._named_arrays()}
        self._constants: dict[str, Array] = {}
        self._taken: set[str] = set()
        self._path = ""

    def convert(self, function: Function, x: Name) -> Name:
        """Add what a Function computes of x, and return the name of its output.

        Raises
        ------
        TypeError
            If there is no converter for exactly its class.
        """
        name = type(function).__name__
        hint = f"; write one and call pancake.export.register({name}, converter)"
        converter = converter_of(self._owner, CONVERTERS, function, hint)
        outside, self._path = self._path, self._paths.get(id(function), self._path)
        if type(function) not in TAKE_INTEGERS and isinstance(x, str) and self.example(x).dtype.kind in "biu":
            cast = self.add("Cast", x, to=self._onnx.TensorProto.FLOAT)
            self.examples[cast] = self.example(x).astype(np.float64)
            x = cast
        y = converter(function, self, x)
        if not isinstance(y, str) or y not in self._taken:
            raise TypeError(f"to_onnx: expected the converter of {name} to return a name in the graph, got {y!r}")
        if y not in self.examples:
            self.examples[y] = np.asarray(function.compute_forward(self.example(x)))
        self._path = outside
        return y

    def add(self, op_type: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node, and return the name of its output.

        Parameters
        ----------
        op_type : str
            An operator of ONNX: "MatMul".
        *inputs : str, array_like or None
            Names of values; arrays and numbers, which become constants of the file, of float32, int64 or bool; None for an input
            that is left out.
        outputs : int
            If more than 1, a tuple of so many names is returned.
        **attributes
            Those of the operator.
        """
        names = [self._input(value) for value in inputs]
        while names and not names[-1]:  # the same as left out, but to programs that look for a value without a name
            names.pop()
        made = [self.name(op_type if outputs == 1 else f"{op_type}.{i}") for i in range(outputs)]
        node = self._onnx.helper.make_node(op_type, names, made, name=made[0], **attributes)
        self.nodes.append(node)
        return made[0] if outputs == 1 else tuple(made)

    def constant(self, name: str, array: Any) -> str:
        """A constant of the file with a name of its own, for arrays that are computed from parameters."""
        return self._stored(self.name(name), np.asarray(array))

    def example(self, name: Name) -> Any:
        """What the value of that name is for the example that is exported; a converter may rely on its number of axes."""
        return tuple(map(self.example, name)) if isinstance(name, tuple) else self.examples[name]

    def name(self, wanted: str) -> str:
        """A name that is not taken, for something in the Function that is being converted."""
        wanted = f"{self._path}.{wanted}" if self._path else wanted
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}.{number}"
        self._taken.add(name)
        return name

    def _input(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        named = self._names.get(id(value))
        if named in self._constants and np.array_equal(self._constants[named], value):
            return named
        if named is None or named in self._taken:
            return self._stored(self.name("constant"), np.asarray(value))
        self._taken.add(named)
        return self._stored(named, np.asarray(value))

    def _stored(self, name: str, array: Array) -> str:
        narrow: Array
        with np.errstate(over="ignore"):
            narrow = array.astype({"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}[array.dtype.kind])
        if array.dtype.kind == "f" and not np.array_equal(np.isfinite(array), np.isfinite(narrow)):
            raise ValueError(f"to_onnx: {name} holds numbers of more than float32 can hold")
        self._constants[name] = array
        self.initializers.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(narrow).reshape(narrow.shape), name))
        return name
