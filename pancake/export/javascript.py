"""`to_js`: a model as an ES module without dependencies, for browsers and Node."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
import os
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from pancake import fast
from pancake._version import __version__
from pancake.arguments import name_of, path_of
from pancake.export.inputs import converter_of, one_input, takes_more_time
from pancake.files.replacing import replacing
from pancake.function import Function, need_function
from pancake.functions.activations import ELU, GELU, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.functions.branches import Add, Branches, Concatenate, Multiply, Residual
from pancake.functions.containers import Identity, Sequential
from pancake.functions.dropout import Dropout
from pancake.functions.elementwise import Abs, Clip, Exp, Log, Mean, Mul, Negate, Power, Square, Subtract, Sum
from pancake.functions.embedding import Embedding
from pancake.functions.linear import AddBias, Linear, MatMul
from pancake.functions.normalization import BatchNorm, LayerNorm
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, PReLU, ReLU
from pancake.functions.shapes import Expand, Flatten, Reshape, Transpose
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import GRUCell, LSTMCell, RNNCell
from pancake.recurrent.unrolled import Unrolled
from pancake.tree import named_parts


def to_js(model: Function, path: str | os.PathLike[str], *, x: Any) -> None:
    """Write a model in evaluation mode as an ES module that exports `predict(x)`: one example in, an array of numbers out.

    The example is an array of numbers, nested or flat in row order; the result is flat. All is computed in float64. Sequences may
    have any number of steps where the model takes them so. What does not fit throws an `Error`.

    Parameters
    ----------
    model : Function
        Left as it is.
    path : str or path-like
        As browsers and Node want it, it ends in .js or .mjs.
    x : array_like (B, ...)
        An example of the input, of any number of rows: its shape and kind are what counts.

    Raises
    ------
    TypeError
        If there is a Function in the model that cannot be exported; the message names it.
    ValueError
        If the input does not fit, a parameter is nan or infinite, or the path is a folder. Nothing has been written then.
    """
    path = path_of("to_js", path, "'net.mjs'")
    text = module_of(to_js, model, x)
    with replacing(os.path.realpath(path), "to_js") as file:
        file.write(text.encode())


def module_of(owner: object, model: Function, x: Any) -> str:
    """The text of the module."""
    need_function(name_of(owner), model)
    example = one_input(owner, x)
    with fast.off(), np.errstate(all="ignore"):
        double = model._double().eval()
        double.compute_forward(example[:1])  # one example is what comes
        time = takes_more_time(double, example)
    script = Script(owner, double)
    y = script.convert(double, Value("x"))
    shape = [1, *example.shape[1:]]
    if time:
        shape[1] = -1
    constants = ",\n".join(f"  {json.dumps(name)}: {text}" for name, text in script.parameters.items())
    lines = "\n".join(f"  {line}" for line in script.lines)
    forward = f"function forward(x) {{\n{lines}\n  return {y};\n}}"
    predict = f"export function predict(x) {{\n  return Array.from(forward(input(x, {json.dumps(shape)})).data);\n}}"
    used = runtime(forward + predict)
    return (
        f"// Made by pancake {__version__}: predict(x) takes one example, {_numbers(shape)}, and returns an array of numbers.\n\n"
        f"const parameters = {{\n{constants}\n}};\n\n{used}\n{forward}\n\n{predict}\n"
    )


def _numbers(shape: list[int]) -> str:
    lengths = " x ".join("any number" if length == -1 else str(length) for length in shape[1:])
    return f"{lengths or 'one'} numbers in row order"


def runtime(text: str) -> str:
    """Those functions of runtime.js that a text uses, and those that they use."""
    source = importlib.resources.files("pancake.export").joinpath("runtime.js").read_text(encoding="utf-8")
    blocks = {match[2]: match[0] for match in re.finditer(r"^((?://.*\n)?)function (\w+)\((?:.*\n)*?\}\n", source, re.MULTILINE)}
    needed: set[str] = set()
    new = {"tensor", "size"} | (blocks.keys() & set(re.findall(r"\w+", text)))
    while new:
        needed |= new
        new = {name for used in new for name in re.findall(r"\w+", blocks[used]) if name in blocks} - needed
    return "\n".join(block for name, block in blocks.items() if name in needed)


class Value(str):
    """The name of a tensor in the script."""


class Raw(str):
    """An expression as it stands."""


Converter: TypeAlias = Callable[[Any, "Script", Value], Value]

# How each class becomes a call, by exact type.
CONVERTERS: dict[type[Function], Converter] = {}


class Script:
    """The lines of `forward`, and the parameters that they name."""

    def __init__(self, owner: object, model: Function) -> None:
        self.owner = owner
        self.lines: list[str] = []
        self.parameters: dict[str, str] = {}
        self._paths = {id(part): path for path, part in named_parts(model)}
        self._names = {id(array): name for name, array in model._named_arrays()}
        self._path = ""

    def convert(self, function: Function, x: Value) -> Value:
        """Add what a Function computes of x, and return the name of its output."""
        converter = converter_of(self.owner, CONVERTERS, function)
        outside, self._path = self._path, self._paths[id(function)]
        y = converter(function, self, x)
        self._path = outside
        return y

    def call(self, function: str, *arguments: Any) -> Value:
        """Add a call of a function of runtime.js, and return the name of what it returns.

        Arguments are names of values, lists of them, arrays, which become parameters, or plain numbers and lists of numbers.
        """
        y = Value(f"x{len(self.lines) + 1}")
        self.lines.append(f"const {y} = {function}({', '.join(map(self._written, arguments))});")
        return y

    def map(self, x: Value, f: str) -> Value:
        """Add a function of JavaScript, for each entry."""
        return self.call("map", x, Raw(f))

    def parameter(self, array: Any, name: str = "") -> Raw:
        """An array as a tensor; one that is no parameter itself has a name given, beside the path of the part.

        Numbers that are not finite are refused: what they spoil would be there without a word.
        """
        name = self._names.get(id(array)) or ".".join(filter(None, (self._path, name)))
        if not np.isfinite(array).all():
            raise ValueError(
                f"{name_of(self.owner)}: expected finite numbers, got nan or infinity in {name} of the model, as a training "
                "that goes astray leaves it; train it again with a lower learning rate, or load it from before"
            )
        numbers = ", ".join(map(_literal, np.asarray(array, np.float64).ravel().tolist()))
        self.parameters[name] = f"tensor({json.dumps(list(np.shape(array)))}, new Float64Array([{numbers}]))"
        return Raw(f"parameters[{json.dumps(name)}]")

    def _written(self, argument: Any) -> str:
        if isinstance(argument, (Value, Raw)):
            return argument
        if isinstance(argument, np.ndarray):
            return self.parameter(argument)
        if isinstance(argument, list) and argument and isinstance(argument[0], Value):
            return f"[{', '.join(argument)}]"
        return json.dumps(argument)


def _literal(number: float) -> str:
    if math.isfinite(number):
        return repr(number).removesuffix(".0")
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


# --- converters ---


def _of(cls: type[Function]) -> Callable[[Converter], Converter]:
    """Put a converter into the table."""

    def put(converter: Converter) -> Converter:
        CONVERTERS[cls] = converter
        return converter

    return put


for _cls, _f in {
    Sigmoid: "sigmoid",
    Tanh: "Math.tanh",
    ReLU: "(a) => Math.max(a, 0)",
    HardTanh: "(a) => Math.max(-1, Math.min(a, 1))",
    SiLU: "(a) => a * sigmoid(a)",
    Mish: "mish",
    Softsign: "(a) => a / (1 + Math.abs(a))",
    SELU: f"(a) => {SELU.scale!r} * elu(a, {SELU.alpha!r})",
    Square: "(a) => a * a",
    Negate: "(a) => -a",
    Exp: "Math.exp",
    Log: "Math.log",
    Abs: "Math.abs",
}.items():
    CONVERTERS[_cls] = functools.partial(lambda formula, f, script, x: script.map(x, formula), _f)

CONVERTERS[LeakyReLU] = lambda f, script, x: script.map(x, f"(a) => (a > 0 ? a : {f.negative_slope!r} * a)")
CONVERTERS[ELU] = lambda f, script, x: script.map(x, f"(a) => elu(a, {f.alpha!r})")
CONVERTERS[GELU] = lambda f, script, x: script.map(x, "gelu" if f.approximate == "none" else "geluTanh")
CONVERTERS[Softplus] = lambda f, script, x: script.map(x, f"(a) => softplus({f.beta!r} * a) / {f.beta!r}")
CONVERTERS[Power] = lambda f, script, x: script.map(x, f"(a) => Math.pow(a, {f.p!r})")
CONVERTERS[Clip] = lambda f, script, x: script.map(x, f"(a) => Math.min(Math.max(a, {_literal(f._low)}), {_literal(f._high)})")
CONVERTERS[PReLU] = lambda f, script, x: script.call("prelu", x, f.weight)
CONVERTERS[Softmax] = lambda f, script, x: script.call("softmax", x, f.axis)
CONVERTERS[LogSoftmax] = lambda f, script, x: script.call("logSoftmax", x, f.axis)

CONVERTERS[Linear] = lambda f, script, x: script.call("linear", x, f.weight, f.bias)
CONVERTERS[MatMul] = lambda f, script, x: script.call("linear", x, f.weight, None)
CONVERTERS[AddBias] = lambda f, script, x: script.call("add", x, f.bias)
CONVERTERS[Mul] = lambda f, script, x: script.call("multiply", x, f.k)
CONVERTERS[Embedding] = lambda f, script, x: script.call("embedding", x, f.weight)
CONVERTERS[Subtract] = lambda f, script, x: script.call("subtract", x, script.parameter(f.target, "target"))
CONVERTERS[LayerNorm] = lambda f, script, x: script.call("layerNorm", x, f.weight, f.bias, f.eps)


@_of(BatchNorm)
def _batch_norm(f: BatchNorm, script: Script, x: Value) -> Value:
    deviation = script.parameter(np.sqrt(f.running_var + f.eps), "deviation")
    return script.call("batchNorm", x, f.weight, f.bias, f.running_mean, deviation)


@_of(Mean)
def _mean(f: Mean | Sum, script: Script, x: Value) -> Value:
    return script.call(type(f).__name__.lower(), x, None if f.axis is None else np.atleast_1d(f.axis).astype(int).tolist())


CONVERTERS[Sum] = _mean
CONVERTERS[Transpose] = lambda f, script, x: script.call("transpose", x, list(f.axes))
CONVERTERS[Reshape] = lambda f, script, x: script.call("reshape", x, list(f.shape))
CONVERTERS[Flatten] = lambda f, script, x: script.call("flatten", x)
CONVERTERS[Expand] = lambda f, script, x: script.call("expand", x, f.axis, f.copies)

for _cls in (Identity, Dropout):  # in evaluation
    CONVERTERS[_cls] = lambda f, script, x: x


@_of(Unrolled)
def _unrolled(f: Unrolled, script: Script, x: Value) -> Value:
    cell: Any = f.cell
    kinds = {RNNCell: "rnnCell", LSTMCell: "lstmCell", GRUCell: "gruCell"}
    make = converter_of(script.owner, kinds, cell)
    arrays = ", ".join(f"{name}: {script.parameter(array)}" for name, array, _ in cell._own_parameters())
    formulas = {"tanh": "Math.tanh", "relu": "(a) => Math.max(a, 0)", "sigmoid": "sigmoid"}
    activation = f", {formulas[cell.activation]}" if isinstance(cell, RNNCell) else ""
    step = Raw(f"{make}({{ {arrays} }}{activation})")
    states = 2 if isinstance(cell, LSTMCell) else 1
    return script.call("unrolled", x, step, cell.n_hidden, states, f.return_sequences, f.reverse)


@_of(Bidirectional)
def _bidirectional(f: Bidirectional, script: Script, x: Value) -> Value:
    return script.call("concatenate", [script.convert(f.forward, x), script.convert(f.backward, x)], -1)


@_of(Sequential)
def _sequential(f: Sequential, script: Script, x: Value) -> Value:
    for part in f:
        x = script.convert(part, x)
    return x


CONVERTERS[Residual] = lambda f, script, x: script.call("add", script.convert(f.f, x), x)
CONVERTERS[Add] = lambda f, script, x: script.call("add", *_outputs(f, script, x))
CONVERTERS[Multiply] = lambda f, script, x: script.call("multiply", *_outputs(f, script, x))
CONVERTERS[Concatenate] = lambda f, script, x: script.call("concatenate", _outputs(f, script, x), f.axis)


def _outputs(f: Branches, script: Script, x: Value) -> list[Value]:
    return [script.convert(branch, x) for branch in f]
