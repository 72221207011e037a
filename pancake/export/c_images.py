"""Layers of images in C, on one image, (1, C, H, W) or (1, C, L), and normalization of other kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.export.c_source import CONVERTERS, Source, Value, indented, index, literal, loops, row_order
from pancake.functions.channel_normalization import BatchNorm2d, GroupNorm
from pancake.functions.convolution import Conv1d, Conv2d, ConvTranspose2d
from pancake.functions.normalization import RMSNorm
from pancake.functions.pooling import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
from pancake.functions.positions import PositionalEmbedding, SinusoidalPositions
from pancake.functions.shapes import Select
from pancake.functions.standardize import Standardize
from pancake.functions.windows import Windows, spread


def _in_windows(windows: Windows, lengths: tuple[int, ...], body: str) -> str:
    """Loops over the entries k0, k1, ... of the window i0, i1, ..., in which `at` is a place in an image of these lengths."""
    place, guards, starts = "", [], []
    for axis, length in enumerate(lengths):
        before = f" - {windows.padding[axis]}" if windows.padding[axis] else ""  # below 0 it is very large, being unsigned
        starts.append(f"const size_t p{axis} = i{axis} * {windows.stride[axis]} + k{axis} * {windows.dilation[axis]}{before};")
        guards += [f"p{axis} < {length}"] if before else []
        place = f"p{axis}" if not place else f"{place} * {length} + p{axis}"
    body = f"const size_t at = {place};\n{body}"
    if guards:
        body = f"if ({' && '.join(guards)}) {{\n{indented(body)}\n}}"
    for axis in reversed(range(len(lengths))):
        inside = indented(f"{starts[axis]}\n{body}")
        body = f"for (size_t k{axis} = 0; k{axis} < {windows.kernel[axis]}; k{axis}++) {{\n{inside}\n}}"
    return body


def _over(counts: tuple[int, ...], body: str) -> str:
    """Loops over the windows i0, i1, ... of an image, all written out."""
    for axis in reversed(range(len(counts))):
        body = f"for (size_t i{axis} = 0; i{axis} < {counts[axis]}; i{axis}++) {{\n{indented(body)}\n}}"
    return body


def _flat(counts: tuple[int, ...]) -> str:
    place = "i0"
    for axis in range(1, len(counts)):
        place = f"({place}) * {counts[axis]} + i{axis}"
    return place


def _per_channel(channels: int, name: str, body: str) -> str:
    return f"for (size_t {name} = 0; {name} < {channels}; {name}++) {{\n{indented(body)}\n}}"


def _convolution(f: Conv1d | Conv2d, source: Source, x: Value) -> Value:
    y, windows = source.output(f, x), f._windows()
    lengths, counts, depth, inside = x.shape[2:], y.shape[2:], f.n_in // f.groups, int(np.prod(windows.kernel))
    W, scale = source.matrix(f.weight.reshape(f.n_out, -1), "weight")
    b = None if f.bias is None else source.constant(f.bias, "bias")
    k = "k0" if len(counts) == 1 else f"k0 * {windows.kernel[1]} + k1"
    weight = W.at(f"(o * {depth} + c) * {inside} + {k}")
    term = f"sum += {'' if scale is None else '(float)'}{weight} * $x[(first + c) * {int(np.prod(lengths))} + at];"
    product = "sum" if scale is None else f"sum * {scale.at('o')}"
    plus = "" if b is None else f" + {b.at('o')}"
    one = "\n".join(
        [
            "float sum = 0.0f;",
            _per_channel(depth, "c", _in_windows(windows, lengths, term)),
            f"$y[o * {int(np.prod(counts))} + {_flat(counts)}] = {product}{plus};",
        ]
    )
    first = f"const size_t first = o / {f.n_out // f.groups} * {depth};"
    return source.add(y, _per_channel(f.n_out, "o", f"{first}\n{_over(counts, one)}"), x)


def _transposed(f: ConvTranspose2d, source: Source, x: Value) -> Value:
    y, windows = source.output(f, x), f._windows()
    lengths, counts, width, inside = y.shape[2:], x.shape[2:], f.n_out // f.groups, int(np.prod(windows.kernel))
    W, scale = source.matrix(f.weight.reshape(f.n_in, -1), "weight")
    b = None if f.bias is None else source.constant(f.bias, "bias")
    image = int(np.prod(lengths))
    start = "0.0f" if b is None else b.at(f"i / {image}")
    fill = f"for (size_t i = 0; i < {y.size}; i++) {{\n  $y[i] = {start};\n}}"
    factor = "" if scale is None else f" * {scale.at('c')}"
    number = f"const float number = $x[c * {int(np.prod(counts))} + {_flat(counts)}]{factor};"
    weight = W.at(f"(c * {width} + o) * {inside} + k0 * {windows.kernel[1]} + k1")
    add = f"$y[(first + o) * {image} + at] += number * {'' if scale is None else '(float)'}{weight};"
    one = f"{number}\n" + _per_channel(width, "o", _in_windows(windows, lengths, add))
    first = f"const size_t first = c / {f.n_in // f.groups} * {width};"
    return source.add(y, fill + "\n" + _per_channel(f.n_in, "c", f"{first}\n{_over(counts, one)}"), x)


def _pooling(f: Any, source: Source, x: Value) -> Value:
    y, windows = source.output(f, x), f._windows()
    lengths, counts, image = x.shape[2:], y.shape[2:], int(np.prod(x.shape[2:]))
    largest = isinstance(f, (MaxPool1d, MaxPool2d))
    number = f"$x[c * {image} + at]"
    take = f"pooled = {number} > pooled ? {number} : pooled;" if largest else f"pooled += {number};"
    share = "" if largest else f" / {int(np.prod(windows.kernel))}.0f"
    one = "\n".join(
        [
            f"float pooled = {'-INFINITY' if largest else '0.0f'};",
            _in_windows(windows, lengths, take),
            f"$y[c * {int(np.prod(counts))} + {_flat(counts)}] = pooled{share};",
        ]
    )
    return source.add(y, _per_channel(x.shape[1], "c", _over(counts, one)), x)


CONVERTERS.update(dict.fromkeys((Conv1d, Conv2d), _convolution))
CONVERTERS[ConvTranspose2d] = _transposed
CONVERTERS.update(dict.fromkeys((MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d), _pooling))


def _global_pool(f: GlobalAvgPool2d, source: Source, x: Value) -> Value:
    image = int(np.prod(x.shape[2:]))
    lines = f"""
for (size_t c = 0; c < {x.shape[1]}; c++) {{
  float sum = 0.0f;
  for (size_t i = 0; i < {image}; i++) {{
    sum += $x[c * {image} + i];
  }}
  $y[c] = sum / {image}.0f;
}}"""
    return source.add(source.output(f, x), lines, x)


def _upsample(f: Upsample, source: Source, x: Value) -> Value:
    y = source.output(f, x)
    parts = []
    for axis, (length, stride) in enumerate(zip(x.shape, row_order(x.shape), strict=True)):
        scale = 1 if axis < 2 else spread(f.scale, x.example.ndim - 2)[axis - 2]
        if length > 1:
            parts.append(f"i{axis} / {scale} * {stride}")
    return source.add(y, loops(y.shape, f"$y[{index(y.shape)}] = $x[{' + '.join(parts) or '0'}];"), x)


CONVERTERS[GlobalAvgPool2d] = _global_pool
CONVERTERS[Upsample] = _upsample


# --- normalization: in evaluation ---


def _affine(source: Source, y: Value, x: Value, factor: Any, summand: Any, place: str) -> Value:
    a, b = source.constant(factor, "factor"), source.constant(summand, "summand")
    lines = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $y[i] = $x[i] * {a.at(place)} + {b.at(place)};\n}}"
    return source.add(y, lines, x, in_place=True)


def _batch_norm(f: BatchNorm2d, source: Source, x: Value) -> Value:
    factor = f.weight / np.sqrt(f.running_var.astype(np.float64) + f.eps)
    place = f"i / {int(np.prod(x.shape[2:]))}"
    return _affine(source, source.output(f, x), x, factor, f.bias - f.running_mean * factor, place)


def _standardize(f: Standardize, source: Source, x: Value) -> Value:
    m, s = source.constant(f.mean, "mean"), source.constant(f.scale, "scale")
    lines = f"""
for (size_t i = 0; i < {x.size}; i++) {{
  $y[i] = ($x[i] - {m.at(f"i % {f.n}")}) / {s.at(f"i % {f.n}")};
}}"""
    backward = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $[$dx[i] = $d[i] / {s.at(f'i % {f.n}')};$]\n}}"
    return source.add(source.output(f, x), lines, x, in_place=True, backward=backward)


def _group_norm(f: GroupNorm, source: Source, x: Value) -> Value:
    w, b = source.constant(f.weight, "weight"), source.constant(f.bias, "bias")
    n, image = x.size // f.groups, int(np.prod(x.shape[2:]))
    lines = f"""
for (size_t g = 0; g < {f.groups}; g++) {{
  float sum = 0.0f, rest = 0.0f, squares = 0.0f;
  for (size_t i = g * {n}; i < (g + 1) * {n}; i++) {{
    sum += $x[i];
  }}
  const float mean = sum / {n}.0f;
  for (size_t i = g * {n}; i < (g + 1) * {n}; i++) {{
    rest += $x[i] - mean;
  }}
  rest /= {n}.0f;
  for (size_t i = g * {n}; i < (g + 1) * {n}; i++) {{
    squares += ($x[i] - mean - rest) * ($x[i] - mean - rest);
  }}
  const float deviation = sqrtf(squares / {n}.0f + {literal(f.eps)});
  for (size_t i = g * {n}; i < (g + 1) * {n}; i++) {{
    $y[i] = {w.at(f"i / {image}")} * (($x[i] - mean - rest) / deviation) + {b.at(f"i / {image}")};
  }}
}}"""
    return source.add(source.output(f, x), lines, x, in_place=True)


def _rms_norm(f: RMSNorm, source: Source, x: Value) -> Value:
    w = source.constant(f.weight, "weight")
    eps = float(np.finfo(f.weight.dtype).eps) if f.eps is None else f.eps
    lines = f"""
for (size_t n = 0; n < {x.size // f.n}; n++) {{
  float squares = 0.0f;
  for (size_t i = 0; i < {f.n}; i++) {{
    squares += $x[n * {f.n} + i] * $x[n * {f.n} + i];
  }}
  const float root = sqrtf(squares / {f.n}.0f + {literal(eps)});
  for (size_t i = 0; i < {f.n}; i++) {{
    $y[n * {f.n} + i] = {w.at("i")} * ($x[n * {f.n} + i] / root);
  }}
}}"""
    return source.add(source.output(f, x), lines, x, in_place=True)


CONVERTERS[BatchNorm2d] = _batch_norm
CONVERTERS[Standardize] = _standardize
CONVERTERS[GroupNorm] = _group_norm
CONVERTERS[RMSNorm] = _rms_norm


# --- positions, and entries ---


def _positions(f: PositionalEmbedding | SinusoidalPositions, source: Source, x: Value) -> Value:
    y = source.output(f, x)
    table = source.constant(f.compute_forward(np.zeros(x.shape[-2:])), "positions")  # of so many steps as the example has
    lines = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $y[i] = $x[i] + {table.at(f'i % {table.numbers.size}')};\n}}"
    return source.add(y, lines, x, in_place=True)


CONVERTERS.update(dict.fromkeys((PositionalEmbedding, SinusoidalPositions), _positions))


def _select(f: Select, source: Source, x: Value) -> Value:
    y = source.output(f, x)
    places = np.asarray(f.compute_forward(np.arange(x.size).reshape(x.shape))).ravel()
    if places.size > 1 and len(set(np.diff(places).tolist())) == 1:  # as of a slice: no table of places is needed
        step = int(places[1] - places[0])
        place = f"{places[0]} + i * {step}" if step >= 0 else f"{places[0]} - i * {-step}"
        return source.add(y, f"for (size_t i = 0; i < {y.size}; i++) {{\n  $y[i] = $x[{place}];\n}}", x)
    return source.add(y, "\n".join(f"$y[{i}] = $x[{place}];" for i, place in enumerate(places.tolist())), x)


CONVERTERS[Select] = _select
