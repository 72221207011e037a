"""How the layers of images and of attention become calls in JavaScript."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.export.javascript import CONVERTERS, Raw, Script, Value
from pancake.functions.attention import MultiHeadAttention
from pancake.functions.channel_normalization import BatchNorm2d, GroupNorm
from pancake.functions.convolution import Conv1d, Conv2d, ConvTranspose2d
from pancake.functions.normalization import RMSNorm
from pancake.functions.pooling import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
from pancake.functions.positions import PositionalEmbedding, SinusoidalPositions
from pancake.functions.shapes import Select
from pancake.functions.standardize import Standardize


def _convolution(f: Conv1d | Conv2d | ConvTranspose2d, script: Script, x: Value) -> Value:
    windows, name = f._windows(), "transposedConvolution" if isinstance(f, ConvTranspose2d) else "convolution"
    where = map(list, (windows.stride, windows.padding, windows.dilation))
    return script.call(name, x, f.weight, f.bias, *where, f.groups)


def _pooling(f: Any, script: Script, x: Value) -> Value:
    windows, name = f._windows(), "maxPool" if isinstance(f, (MaxPool1d, MaxPool2d)) else "avgPool"
    return script.call(name, x, *map(list, (windows.kernel, windows.stride, windows.padding)))


CONVERTERS.update(dict.fromkeys((Conv1d, Conv2d, ConvTranspose2d), _convolution))
CONVERTERS.update(dict.fromkeys((MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d), _pooling))
CONVERTERS[GlobalAvgPool2d] = lambda f, script, x: script.call("mean", x, [2, 3])


def _upsample(f: Upsample, script: Script, x: Value) -> Value:
    if isinstance(f.scale, tuple):
        return script.call("upsample", x, list(f.scale))
    return script.call("upsample", x, Raw(f"{x}.shape.slice(2).fill({f.scale})"))


CONVERTERS[Upsample] = _upsample


def _batch_norm(f: BatchNorm2d, script: Script, x: Value) -> Value:
    deviation = script.parameter(np.sqrt(f.running_var + f.eps), "deviation")
    return script.call("batchNorm2d", x, f.weight, f.bias, f.running_mean, deviation)


def _standardize(f: Standardize, script: Script, x: Value) -> Value:
    centred = script.call("subtract", x, f.mean)
    return script.call("pairs", centred, f.scale, Raw("(a, s) => a / s"))


def _rms_norm(f: RMSNorm, script: Script, x: Value) -> Value:
    return script.call("rmsNorm", x, f.weight, float(np.finfo(f.weight.dtype).eps) if f.eps is None else f.eps)


CONVERTERS[BatchNorm2d] = _batch_norm
CONVERTERS[Standardize] = _standardize
CONVERTERS[RMSNorm] = _rms_norm
CONVERTERS[GroupNorm] = lambda f, script, x: script.call("groupNorm", x, f.weight, f.bias, f.groups, f.eps)


def _select(f: Select, script: Script, x: Value) -> Value:
    if isinstance(f.index, slice):
        step = 1 if f.index.step is None else f.index.step
        return script.call("slice", x, f.index.start, f.index.stop, step, f.axis)
    return script.call("select", x, np.atleast_1d(np.asarray(f.index, int)).tolist(), f.axis, np.ndim(f.index) == 0)


def _positional(f: PositionalEmbedding, script: Script, x: Value) -> Value:
    return script.call("positions", x, Raw(f"(t, i) => {script.parameter(f.weight)}.data[t * {f.n} + i]"))


def _attention(f: MultiHeadAttention, script: Script, x: Value) -> Value:
    arrays = (f.in_proj_weight, f.in_proj_bias, f.out_proj.weight, f.out_proj.bias)
    return script.call("attention", x, *arrays, f.heads, f.causal)


CONVERTERS[Select] = _select
CONVERTERS[PositionalEmbedding] = _positional
CONVERTERS[SinusoidalPositions] = lambda f, script, x: script.call("positions", x, Raw(f"(t, i) => sinusoid(t, i, {f.n})"))
CONVERTERS[MultiHeadAttention] = _attention
