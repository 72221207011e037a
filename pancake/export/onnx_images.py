"""How the layers of images and of attention become nodes of ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pancake.export.onnx_graph import CONVERTERS, TAKE_INTEGERS, Graph, Name
from pancake.functions.attention import MultiHeadAttention
from pancake.functions.channel_normalization import BatchNorm2d, GroupNorm
from pancake.functions.convolution import Conv1d, Conv2d, ConvTranspose2d
from pancake.functions.normalization import RMSNorm
from pancake.functions.pooling import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
from pancake.functions.positions import PositionalEmbedding, SinusoidalPositions
from pancake.functions.shapes import Select
from pancake.functions.standardize import Standardize
from pancake.functions.windows import spread

_FIRST, _LAST = -(2**62), 2**62  # ends of a slice that goes on to the end
_DOUBLE = 11  # of TensorProto


def _windows(f: Any) -> dict[str, Any]:
    """Where windows lie, as ONNX has it."""
    windows = f._windows()
    return {"kernel_shape": list(windows.kernel), "strides": list(windows.stride), "pads": [*windows.padding, *windows.padding]}


def _convolution(f: Conv1d | Conv2d | ConvTranspose2d, graph: Graph, x: Name) -> Name:
    op_type = "ConvTranspose" if isinstance(f, ConvTranspose2d) else "Conv"
    options = {**_windows(f), "dilations": list(spread(f.dilation, f.axes)), "group": f.groups}
    return graph.add(op_type, x, f.weight, *([] if f.bias is None else [f.bias]), **options)


CONVERTERS.update(dict.fromkeys((Conv1d, Conv2d, ConvTranspose2d), _convolution))


def _max_pool(f: MaxPool1d | MaxPool2d, graph: Graph, x: Name) -> Name:
    return graph.add("MaxPool", x, **_windows(f))


def _avg_pool(f: AvgPool1d | AvgPool2d, graph: Graph, x: Name) -> Name:
    return graph.add("AveragePool", x, count_include_pad=1, **_windows(f))


CONVERTERS.update(dict.fromkeys((MaxPool1d, MaxPool2d), _max_pool))
CONVERTERS.update(dict.fromkeys((AvgPool1d, AvgPool2d), _avg_pool))
CONVERTERS[GlobalAvgPool2d] = lambda f, graph, x: graph.add("ReduceMean", x, np.array([2, 3]), keepdims=0)


def _upsample(f: Upsample, graph: Graph, x: Name) -> Name:
    scales = np.array([1, 1, *spread(f.scale, graph.example(x).ndim - 2)], np.float64)
    return graph.add("Resize", x, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")


CONVERTERS[Upsample] = _upsample


# --- normalization ---


def _batch_norm(f: BatchNorm2d, graph: Graph, x: Name) -> Name:
    return graph.add("BatchNormalization", x, f.weight, f.bias, f.running_mean, f.running_var, epsilon=f.eps)


def _group_norm(f: GroupNorm, graph: Graph, x: Name) -> Name:
    groups = graph.add("Reshape", x, np.array([0, f.groups, -1]))
    centred = graph.add("Sub", groups, graph.add("ReduceMean", groups, np.array([-1])))
    centred = graph.add("Sub", centred, graph.add("ReduceMean", centred, np.array([-1])))
    variance = graph.add("ReduceMean", graph.add("Mul", centred, centred), np.array([-1]))
    h = graph.add("Div", centred, graph.add("Sqrt", graph.add("Add", variance, f.eps)))
    h = graph.add("Reshape", h, graph.add("Shape", x))
    shape = np.array([-1, *[1] * (graph.example(x).ndim - 2)])
    weight, bias = (graph.add("Reshape", array, shape) for array in (f.weight, f.bias))
    return graph.add("Add", graph.add("Mul", h, weight), bias)


def _rms_norm(f: RMSNorm, graph: Graph, x: Name) -> Name:
    eps = float(np.finfo(f.weight.dtype).eps) if f.eps is None else f.eps
    square = graph.add("ReduceMean", graph.add("Mul", x, x), np.array([-1]))
    return graph.add("Mul", graph.add("Div", x, graph.add("Sqrt", graph.add("Add", square, eps))), f.weight)


CONVERTERS[BatchNorm2d] = _batch_norm
CONVERTERS[GroupNorm] = _group_norm
CONVERTERS[RMSNorm] = _rms_norm
CONVERTERS[Standardize] = lambda f, graph, x: graph.add("Div", graph.add("Sub", x, f.mean), f.scale)


# --- entries ---


def _select(f: Select, graph: Graph, x: Name) -> Name:
    if not isinstance(f.index, slice):
        return graph.add("Gather", x, np.asarray(f.index, np.int64), axis=f.axis)
    step = 1 if f.index.step is None else f.index.step
    start, stop = (f.index.start, f.index.stop)
    first, last = (0, _LAST) if step > 0 else (_LAST, _FIRST)
    ends = [first if start is None else start, last if stop is None else stop]
    return graph.add("Slice", x, *(np.array([n]) for n in (*ends, f.axis % graph.example(x).ndim, step)))


CONVERTERS[Select] = _select
TAKE_INTEGERS.add(Select)


# --- attention ---


def _steps(graph: Graph, x: Name) -> Name:
    """The number of time steps of (..., T, F), as (1,)."""
    return graph.add("Gather", graph.add("Shape", x), np.array([graph.example(x).ndim - 2]))


def _times(graph: Graph, x: Name) -> Name:
    """The numbers of the time steps, as (T,)."""
    zero, one = np.asarray(0), np.asarray(1)
    return graph.add("Range", zero, graph.add("Squeeze", _steps(graph, x), np.array([0])), one)


def _positional(f: PositionalEmbedding, graph: Graph, x: Name) -> Name:
    return graph.add("Add", x, graph.add("Slice", f.weight, np.array([0]), _steps(graph, x), np.array([0])))


def _sinusoidal(f: SinusoidalPositions, graph: Graph, x: Name) -> Name:
    column = np.arange(f.n)
    speed = 1 / 10000 ** ((column - column % 2) / f.n)
    halves = [speed.astype(np.float32).astype(np.float64)]
    halves.append(speed - halves[0])  # a float64 in two of float32, since far on each digit counts
    narrow = [graph.add("Cast", half, to=_DOUBLE) for half in halves]
    t = graph.add("Unsqueeze", graph.add("Cast", _times(graph, x), to=_DOUBLE), np.array([1]))
    angle = graph.add("Mul", t, graph.add("Add", *narrow))
    quarter = np.where(column % 2, math.pi / 2, 0)
    parts = [quarter.astype(np.float32).astype(np.float64)]
    parts.append(quarter - parts[0])
    for part in parts:  # the cosine is a sine a quarter further on
        angle = graph.add("Add", angle, graph.add("Cast", part, to=_DOUBLE))
    return graph.add("Add", x, graph.add("Cast", graph.add("Sin", angle), to=1))


def _attention(f: MultiHeadAttention, graph: Graph, x: Name) -> Name:
    valid, t = _valid(graph, x), _times(graph, x) if f.causal else None
    nothing = np.asarray(0.0)
    if valid is not None:
        x = graph.add("Where", graph.add("Unsqueeze", valid, np.array([-1])), x, nothing)
    qkv = graph.add("MatMul", x, graph.add("Transpose", f.in_proj_weight, perm=[1, 0]))
    if f.in_proj_bias is not None:
        qkv = graph.add("Add", qkv, f.in_proj_bias)
    depth = f.n // f.heads
    heads = graph.add("Transpose", graph.add("Reshape", qkv, np.array([0, 0, 3, f.heads, depth])), perm=[2, 0, 3, 1, 4])
    q, k, v = (graph.add("Gather", heads, np.asarray(i), axis=0) for i in range(3))
    scores = graph.add("Div", graph.add("MatMul", q, graph.add("Transpose", k, perm=[0, 1, 3, 2])), math.sqrt(depth))
    unseen = np.asarray(-math.inf)
    if t is not None:
        later = graph.add("Greater", graph.add("Unsqueeze", t, np.array([0])), graph.add("Unsqueeze", t, np.array([1])))
        scores = graph.add("Where", later, unseen, scores)
    if valid is not None:
        scores = graph.add("Where", graph.add("Unsqueeze", valid, np.array([1, 2])), scores, unseen)
    o = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), v)
    o = graph.add("Reshape", graph.add("Transpose", o, perm=[0, 2, 1, 3]), np.array([0, 0, f.n]))
    y = graph.add("MatMul", o, graph.add("Transpose", f.out_proj.weight, perm=[1, 0]))
    if f.out_proj.bias is not None:
        y = graph.add("Add", y, f.out_proj.bias)
    return y if valid is None else graph.add("Where", graph.add("Unsqueeze", valid, np.array([-1])), y, nothing)


def _valid(graph: Graph, x: Name) -> Name | None:
    """Which steps belong to their sequence, (B, T); None without lengths."""
    if graph.lengths is None:
        return None
    return graph.add("Less", _times(graph, x), graph.add("Unsqueeze", graph.lengths, np.array([1])))


CONVERTERS[PositionalEmbedding] = _positional
CONVERTERS[SinusoidalPositions] = _sinusoidal
CONVERTERS[MultiHeadAttention] = _attention
