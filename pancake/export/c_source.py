"""A header of C while it is made: operations on buffers, constants in flash, and which buffer may be used again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from string import Template
from typing import Any, TypeAlias

import numpy as np

from pancake.arguments import brief, name_of
from pancake.export.inputs import converter_of
from pancake.function import Function
from pancake.memory import Array
from pancake.tree import named_parts


@dataclass(eq=False)
class Value:
    """Numbers in row order, of one example: what the model's input, or the output of one of its parts, is in C.

    Attributes
    ----------
    example : ndarray
        What it is for the example that is exported, (1, ...): its shape is the shape in C.
    steps : ndarray or None
        While there is an axis of time, what it is for two steps, (1, 2, ...).
    of : Value or None
        Whose memory it has, if it is that one in another shape.
    """

    example: Array
    steps: Array | None = None
    of: Value | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.example.shape

    @property
    def size(self) -> int:
        return self.example.size

    @property
    def root(self) -> Value:
        return self if self.of is None else self.of.root


@dataclass(eq=False)
class Operation:
    """Lines of C in which $y is the output and $x (or $x0, $x1, ...) the input; backward also $d and $dx, their gradients."""

    function: Function
    output: Value
    inputs: tuple[Value, ...]
    lines: str
    in_place: bool
    backward: str | None


@dataclass(eq=False)
class Constant:
    """An array of the header."""

    name: str
    dtype: str
    numbers: Array
    in_flash: bool

    def at(self, index: str) -> str:
        """The expression for one of its numbers."""
        if not self.in_flash:
            return f"{self.name}[{index}]"
        return f"{'PK_INT8' if self.dtype == 'int8_t' else 'PK_FLOAT'}({self.name}, {index})"


Converter: TypeAlias = Callable[[Any, "Source", Value], Value]

# How each class becomes C, by exact type.
CONVERTERS: dict[type[Function], Converter] = {}


@dataclass
class Source:
    """What converters add to.

    Attributes
    ----------
    weights : {"float32", "int8"}
    training : bool
        Whether parameters are trained there.
    """

    owner: Any
    model: Function
    name: str
    weights: str = "float32"
    training: bool = False
    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    state: int = 0
    recurrent: bool = False

    def __post_init__(self) -> None:
        self._paths = {id(part): path for path, part in named_parts(self.model)}
        self._trained = {id(value) for value in self.model.get_params_and_grads()[0]}
        self._function = self.model
        self._used: set[str] = set()

    # --- operations ---

    def convert(self, function: Function, x: Value) -> Value:
        """Add what a Function computes of x, and return its output."""
        converter = converter_of(self.owner, CONVERTERS, function)
        with self.inside(function):
            return converter(function, self, x)

    def output(self, function: Function, x: Value) -> Value:
        """The output of a Function of one input that has no state, for the example and for two steps of time."""
        y = Value(np.asarray(function.compute_forward(x.example)))
        if x.steps is not None:
            y.steps = self._steps(function, x.steps)
        return y

    def _steps(self, function: Function, steps: Array) -> Array:
        """The output for two steps, which must be those of the steps, or else the part cannot run step by step."""
        try:
            both = np.asarray(function.compute_forward(steps))
            single = [np.asarray(function.compute_forward(steps[:, t : t + 1])) for t in (0, 1)]
            apart = np.concatenate(single, axis=1)
        except ValueError:
            both = apart = np.zeros(0)
        if both.shape != apart.shape or both.shape[1:2] != (2,) or not np.allclose(both, apart, 1e-4, 1e-6, equal_nan=True):
            raise ValueError(
                f"{name_of(self.owner)}: {brief(function)} cannot be exported: it combines time steps, and the header goes on "
                "step by step; take the last output, return_sequences=False, or export to ONNX"
            )
        return both

    def add(
        self, y: Value, lines: str, *inputs: Value, in_place: bool = False, backward: str | None = None, **names: object
    ) -> Value:
        """Add an operation, and return its output.

        Parameters
        ----------
        y : Value
        lines : str
            C, in which $y and $x are the output and the input ($x0, $x1, ... of several), and other names those given.
        *inputs : Value
        in_place : bool
            Whether y may have the memory of the first input.
        backward : str, optional
            C, in which $d and $dx are the gradients of output and input, $lr is the learning rate; what stands between $[ and $]
            is for the gradient of the input alone. Parameters are stepped there.
        """
        if self.training and backward is None:
            raise TypeError(f"{name_of(self.owner)}: {brief(self._function)} cannot be trained in C; leave out training=")
        given = {name: str(value) for name, value in names.items()}
        texts = [None if text is None else Template(text.strip("\n")).safe_substitute(given) for text in (lines, backward)]
        self.operations.append(Operation(self._function, y, inputs, texts[0] or "", in_place, texts[1]))
        return y

    def view(self, x: Value, y: Value) -> Value:
        """y, which has the numbers of x in the same order."""
        y.of = x
        return y

    # --- constants ---

    @contextlib.contextmanager
    def inside(self, function: Function) -> Iterator[None]:
        """While it lasts, constants have names of that Function."""
        outside, self._function = self._function, function
        yield
        self._function = outside

    def constant(self, array: Any, name: str) -> Constant:
        """An array of the header, float32, in flash unless it is trained."""
        return self._constant(name, "float", np.asarray(array, np.float64), id(array) in self._trained)

    def matrix(self, array: Array, name: str) -> tuple[Constant, Constant | None]:
        """A matrix as it is, or in int8 with a factor for each row."""
        if self.weights == "float32":
            return self.constant(array, name), None
        rows = np.asarray(array, np.float64)
        scale = np.abs(rows).max(axis=1) / 127
        whole = np.rint(rows / np.where(scale > 0, scale, 1)[:, np.newaxis])
        return self._constant(name, "int8_t", whole, False), self._constant(f"{name}_scale", "float", scale, False)

    def trained(self, array: Any) -> bool:
        """Whether a parameter is stepped in training."""
        return self.training and id(array) in self._trained

    def _constant(self, name: str, dtype: str, numbers: Array, trained: bool) -> Constant:
        path = self._paths[id(self._function)]
        whole = re.sub(r"\W", "_", ".".join(filter(None, (self.name, path, name))))
        with np.errstate(over="ignore"):
            finite = np.isfinite(numbers.astype(np.float32)).all()
        if not finite:
            raise ValueError(
                f"{name_of(self.owner)}: {'.'.join(filter(None, (path, name)))} of {brief(self._function)} holds numbers that no "
                "float can hold, or that are not finite"
            )
        while whole in self._used:
            whole += "_"
        self._used.add(whole)
        self.constants[whole] = Constant(whole, dtype, numbers.ravel(), not (trained and self.training))
        return self.constants[whole]


# --- text ---


def literal(number: float) -> str:
    """A number as a float of C."""
    text = f"{np.float32(number):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def indented(text: str) -> str:
    """Text two spaces further to the right."""
    return "\n".join(f"  {line}" if line else line for line in text.splitlines())


def loops(shape: tuple[int, ...], body: str) -> str:
    """Nested loops over the indices i0, i1, ... of an array, those of length 1 left out."""
    lines, depth = [], 0
    for axis, length in enumerate(shape):
        if length != 1:
            lines.append(f"{'  ' * depth}for (size_t i{axis} = 0; i{axis} < {length}; i{axis}++) {{")
            depth += 1
    lines += [f"{'  ' * depth}{line}" for line in body.splitlines()]
    lines += [f"{'  ' * k}}}" for k in reversed(range(depth))]
    return "\n".join(lines)


def index(shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> str:
    """The place of the entry i0, i1, ... of an array that is looped over, of its own row order or by other strides."""
    strides = row_order(shape) if strides is None else strides
    terms = []
    for axis, (length, stride) in enumerate(zip(shape, strides, strict=True)):
        if length != 1 and stride:
            terms.append(f"i{axis}" if stride == 1 else f"i{axis} * {stride}")
    return " + ".join(terms) or "0"


def row_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How far apart neighbours along each axis are."""
    return tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
