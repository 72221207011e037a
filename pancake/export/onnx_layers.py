"""How each Function becomes nodes of ONNX: one converter a class, by exact type.

A converter takes the Function, the graph and the name of its input, and returns the name of its output. The operators are those
of https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.arguments import brief
from pancake.export.onnx_graph import CONVERTERS, TAKE_INTEGERS, Converter, Graph, Name
from pancake.function import Function
from pancake.functions.activations import ELU, GELU, ROOT_2_PI, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
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


def _of(cls: type[Function]) -> Callable[[Converter], Converter]:
    """Put a converter into the table."""

    def put(converter: Converter) -> Converter:
        CONVERTERS[cls] = converter
        return converter

    return put


# --- linear ---


@_of(Linear)
def _linear(f: Linear, graph: Graph, x: Name) -> Name:
    y = _product(f, graph, x)
    return y if f.bias is None else graph.add("Add", y, f.bias)


@_of(MatMul)
def _product(f: MatMul | Linear, graph: Graph, x: Name) -> Name:
    return graph.add("MatMul", x, graph.add("Transpose", f.weight, perm=[1, 0]))


CONVERTERS[AddBias] = lambda f, graph, x: graph.add("Add", x, f.bias)
CONVERTERS[Embedding] = lambda f, graph, x: graph.add("Gather", f.weight, x)

# --- activations ---

for _cls in (Sigmoid, Tanh, Softsign, Exp, Log, Abs):
    CONVERTERS[_cls] = lambda f, graph, x: graph.add(type(f).__name__, x)
CONVERTERS[ReLU] = lambda f, graph, x: graph.add("Relu", x)
CONVERTERS[HardTanh] = lambda f, graph, x: graph.add("Clip", x, -1.0, 1.0)
CONVERTERS[LeakyReLU] = lambda f, graph, x: graph.add("LeakyRelu", x, alpha=f.negative_slope)
CONVERTERS[ELU] = lambda f, graph, x: graph.add("Elu", x, alpha=f.alpha)
CONVERTERS[SELU] = lambda f, graph, x: graph.add("Selu", x, alpha=f.alpha, gamma=f.scale)
CONVERTERS[SiLU] = lambda f, graph, x: graph.add("Mul", x, graph.add("Sigmoid", x))
CONVERTERS[Mish] = lambda f, graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))
CONVERTERS[Softmax] = lambda f, graph, x: graph.add("Softmax", x, axis=f.axis)
CONVERTERS[LogSoftmax] = lambda f, graph, x: graph.add("LogSoftmax", x, axis=f.axis)


@_of(PReLU)
def _prelu(f: PReLU, graph: Graph, x: Name) -> Name:
    slope = f.weight if graph.example(x).ndim else f.weight.reshape(())
    return graph.add("PRelu", x, slope)


@_of(Softplus)
def _softplus(f: Softplus, graph: Graph, x: Name) -> Name:
    return graph.add("Div", graph.add("Softplus", graph.add("Mul", x, f.beta)), f.beta)


@_of(GELU)
def _gelu(f: GELU, graph: Graph, x: Name) -> Name:
    if f.approximate == "tanh":
        cube = graph.add("Mul", graph.add("Mul", x, x), x)
        u = graph.add("Mul", graph.add("Add", x, graph.add("Mul", cube, 0.044715)), 2 * ROOT_2_PI)
        return graph.add("Mul", x, graph.add("Sigmoid", u))
    erf = graph.add("Erf", graph.add("Mul", x, 1 / math.sqrt(2)))
    return graph.add("Mul", graph.add("Mul", x, 0.5), graph.add("Add", erf, 1.0))


# --- entry by entry, and reductions ---

CONVERTERS[Square] = lambda f, graph, x: graph.add("Mul", x, x)
CONVERTERS[Mul] = lambda f, graph, x: graph.add("Mul", x, f.k)
CONVERTERS[Negate] = lambda f, graph, x: graph.add("Neg", x)
CONVERTERS[Subtract] = lambda f, graph, x: graph.add("Sub", x, np.asarray(f.target, np.float64))
CONVERTERS[Power] = lambda f, graph, x: graph.add("Pow", x, f.p)
CONVERTERS[Clip] = lambda f, graph, x: graph.add("Clip", x, f.low, f.high)


@_of(Mean)
def _mean(f: Mean | Sum, graph: Graph, x: Name) -> Name:
    axes = None if f.axis is None else np.atleast_1d(np.asarray(f.axis, np.int64))
    if axes is not None and not axes.size:
        return graph.add("Identity", x)
    return graph.add(f"Reduce{type(f).__name__}", x, axes, keepdims=0)


CONVERTERS[Sum] = _mean

# --- normalisation and regularisation: in evaluation ---

CONVERTERS[Dropout] = lambda f, graph, x: graph.add("Identity", x)


@_of(BatchNorm)
def _batch_norm(f: BatchNorm, graph: Graph, x: Name) -> Name:
    # ONNX's own BatchNormalization has its features on the second axis
    scale = f.weight / np.sqrt(f.running_var + f.eps)
    return graph.add("Add", graph.add("Mul", graph.add("Sub", x, f.running_mean), scale), f.bias)


@_of(LayerNorm)
def _layer_norm(f: LayerNorm, graph: Graph, x: Name) -> Name:
    # not LayerNormalization, of which runtimes compute the variance as a difference of large numbers
    centred = graph.add("Sub", x, graph.add("ReduceMean", x, [-1]))
    centred = graph.add("Sub", centred, graph.add("ReduceMean", centred, [-1]))
    variance = graph.add("ReduceMean", graph.add("Mul", centred, centred), [-1])
    h = graph.add("Div", centred, graph.add("Sqrt", graph.add("Add", variance, f.eps)))
    return graph.add("Add", graph.add("Mul", h, f.weight), f.bias)


# --- shapes ---


CONVERTERS[Flatten] = lambda f, graph, x: graph.add("Flatten", x, axis=1)
CONVERTERS[Reshape] = lambda f, graph, x: graph.add("Reshape", x, np.asarray(f.shape, np.int64))


@_of(Transpose)
def _transpose(f: Transpose, graph: Graph, x: Name) -> Name:
    return graph.add("Transpose", x, perm=[axis % len(f.axes) for axis in f.axes])


@_of(Expand)
def _expand(f: Expand, graph: Graph, x: Name) -> Name:
    shape = np.ones(graph.example(x).ndim + 1, np.int64)
    shape[f.axis] = f.copies
    return graph.add("Expand", graph.add("Unsqueeze", x, [f.axis]), shape)


# --- recurrence ---

# For each cell, torch's gates in the order of ONNX: of LSTM i, f, g, o there and i, o, f, g here; of GRU r, z, n and z, r, n.
_GATES: dict[type[Function], tuple[str, list[int]]] = {
    RNNCell: ("RNN", [0]),
    LSTMCell: ("LSTM", [0, 3, 1, 2]),
    GRUCell: ("GRU", [1, 0, 2]),
}


@_of(Unrolled)
def _unrolled(f: Unrolled, graph: Graph, x: Name) -> Name:
    cell: Any = f.cell
    if type(cell) not in _GATES:
        raise TypeError(f"to_onnx: {brief(f)} cannot be exported: ONNX has RNN, LSTM and GRU, and no {type(cell).__name__}")
    op_type, order = _GATES[type(cell)]
    W, R, b_ih, b_hh = (_ordered(p, order) for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh))
    options: dict[str, Any] = {"hidden_size": cell.n_hidden, "direction": "reverse" if f.reverse else "forward"}
    if isinstance(cell, RNNCell):
        options["activations"] = [cell.activation.capitalize()]
    elif isinstance(cell, GRUCell):
        options["linear_before_reset"] = 1
    in_time = graph.add("Transpose", x, perm=[1, 0, 2])
    lengths = graph.add("Cast", graph.lengths, to=6) if graph.lengths else None  # to int32
    arrays = {"cell.W": W, "cell.R": R, "cell.B": np.concatenate([b_ih, b_hh])}  # as ONNX calls them
    constants = [graph.constant(name, array[np.newaxis]) for name, array in arrays.items()]
    sequences, last = graph.add(op_type, in_time, *constants, lengths, outputs=2, **options)
    if f.return_sequences:  # (T, 1, B, H)
        return graph.add("Transpose", graph.add("Squeeze", sequences, [1]), perm=[1, 0, 2])
    return graph.add("Squeeze", last, [0])


def _ordered(parameter: Any, order: list[int]) -> Any:
    blocks = np.split(parameter, len(order))
    return np.concatenate([blocks[i] for i in order])


@_of(Bidirectional)
def _bidirectional(f: Bidirectional, graph: Graph, x: Name) -> Name:
    return graph.add("Concat", graph.convert(f.forward, x), graph.convert(f.backward, x), axis=-1)


# --- containers ---

CONVERTERS[Identity] = lambda f, graph, x: graph.add("Identity", x)
CONVERTERS[Residual] = lambda f, graph, x: graph.add("Add", graph.convert(f.f, x), x)


@_of(Sequential)
def _sequential(f: Sequential, graph: Graph, x: Name) -> Name:
    for part in f:
        x = graph.convert(part, x)
    return x if len(f) else graph.add("Identity", x)


def _branches(f: Branches, graph: Graph, x: Name) -> Name:
    """The branches, each with the input or with its own of a tuple of inputs, and what combines them."""
    inputs = x if isinstance(x, tuple) else (x,) * len(f)
    if len(inputs) != len(f):
        raise ValueError(f"to_onnx: {brief(f)} has {len(f)} branches, got {len(inputs)} inputs")
    outputs = [graph.convert(branch, part) for branch, part in zip(f, inputs, strict=True)]
    if isinstance(f, Concatenate):
        y = graph.add("Concat", *outputs, axis=f.axis)
    else:
        y = outputs[0]
        for other in outputs[1:]:
            y = graph.add("Mul" if isinstance(f, Multiply) else "Add", y, other)
    graph.examples[y] = f.combine([graph.example(output) for output in outputs])
    return y


CONVERTERS.update(dict.fromkeys((Add, Multiply, Concatenate), _branches))
TAKE_INTEGERS |= {Embedding, Sequential, Add, Multiply, Concatenate}
