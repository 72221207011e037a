"""How each Function becomes C: one converter a class, by exact type. Formulas are those of the Functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.arguments import brief
from pancake.export.c_source import CONVERTERS, Constant, Converter, Source, Value, indented, index, literal, loops, row_order
from pancake.export.inputs import converter_of
from pancake.function import Function
from pancake.functions.branches import Add, Branches, Concatenate, Multiply, Residual
from pancake.functions.containers import Identity, Sequential
from pancake.functions.dropout import Dropout
from pancake.functions.elementwise import Mean, Mul, Subtract, Sum
from pancake.functions.embedding import Embedding
from pancake.functions.linear import AddBias, Linear, MatMul
from pancake.functions.normalization import BatchNorm, LayerNorm
from pancake.functions.piecewise_linear import PReLU
from pancake.functions.shapes import Expand, Flatten, Reshape, Transpose
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.memory import Array


def _of(cls: type[Function]) -> Callable[[Converter], Converter]:
    """Put a converter into the table."""

    def put(converter: Converter) -> Converter:
        CONVERTERS[cls] = converter
        return converter

    return put


# --- linear ---


@_of(MatMul)
@_of(Linear)
def _linear(f: Linear | MatMul, source: Source, x: Value) -> Value:
    return _dense(f, source, x, source.output(f, x), f.weight, getattr(f, "bias", None))


def _dense(f: Function, source: Source, x: Value, y: Value, weight: Array, bias: Array | None) -> Value:
    """Each row of y is that of x, times W^T, plus b."""
    (n_out, n_in), rows = weight.shape, x.size // weight.shape[1]
    if source.training and rows > 1:
        raise ValueError(f"to_c: {brief(f)} cannot be trained in C on examples of {rows} rows; it takes one")
    W, scale = source.matrix(weight, "weight")
    b = None if bias is None else source.constant(bias, "bias")
    product = "sum" if scale is None else f"sum * {scale.at('o')}"
    row_in, row_out = (f"n * {n_in} + ", f"n * {n_out} + ") if rows > 1 else ("", "")
    lines = f"""
for (size_t o = 0; o < {n_out}; o++) {{
  float sum = 0.0f;
  for (size_t i = 0; i < {n_in}; i++) {{
    sum += {"" if scale is None else "(float)"}{W.at(f"o * {n_in} + i")} * $x[{row_in}i];
  }}
  $y[{row_out}o] = {product}{"" if b is None else f" + {b.at('o')}"};
}}"""
    if rows > 1:
        lines = f"for (size_t n = 0; n < {rows}; n++) {{\n{indented(lines.strip())}\n}}"
    step = f"\n    {W.at(f'o * {n_in} + i')} -= $lr * $d[o] * $x[i];" if source.trained(weight) else ""
    bias_step = f"\n  {b.at('o')} -= $lr * $d[o];" if b is not None and source.trained(bias) else ""
    backward = f"""
$[for (size_t i = 0; i < {n_in}; i++) {{
  $dx[i] = 0.0f;
}}
$]for (size_t o = 0; o < {n_out}; o++) {{
  for (size_t i = 0; i < {n_in}; i++) {{
    $[$dx[i] += $d[o] * {W.at(f"o * {n_in} + i")};$]{step}
  }}{bias_step}
}}"""
    return source.add(y, lines, x, backward=backward)


@_of(AddBias)
def _add_bias(f: AddBias, source: Source, x: Value) -> Value:
    b = source.constant(f.bias, "bias")
    step = f"\n  {b.at(f'i % {f.n}')} -= $lr * $d[i];" if source.trained(f.bias) else ""
    lines = f"""
for (size_t i = 0; i < {x.size}; i++) {{
  $y[i] = $x[i] + {b.at(f"i % {f.n}")};
}}"""
    backward = f"""
for (size_t i = 0; i < {x.size}; i++) {{
  $[$dx[i] = $d[i];$]{step}
}}"""
    return source.add(source.output(f, x), lines, x, in_place=True, backward=backward)


@_of(Embedding)
def _embedding(f: Embedding, source: Source, x: Value) -> Value:
    W, scale = source.matrix(f.weight, "weight")
    number = W.at(f"row * {f.dim} + i")
    value = number if scale is None else f"(float){number} * {scale.at('row')}"
    lines = f"""
for (size_t n = 0; n < {x.size}; n++) {{
  const int known = $x[n] >= 0.0f && $x[n] < {f.num_embeddings}.0f; /* what is no index gives zeros */
  const size_t row = known ? (size_t)$x[n] : 0;
  for (size_t i = 0; i < {f.dim}; i++) {{
    $y[n * {f.dim} + i] = known ? {value} : 0.0f;
  }}
}}"""
    return source.add(source.output(f, x), lines, x)


# --- normalization: in evaluation ---


def _folded(f: BatchNorm) -> tuple[Array, Array]:
    """The factor and the summand of each feature."""
    factor = f.weight.astype(np.float64) / np.sqrt(f.running_var.astype(np.float64) + f.eps)
    return factor, f.bias - f.running_mean * factor


@_of(BatchNorm)
def _batch_norm(f: BatchNorm, source: Source, x: Value) -> Value:
    factor, summand = (source.constant(a, name) for a, name in zip(_folded(f), ("factor", "summand"), strict=True))
    lines = f"""
for (size_t i = 0; i < {x.size}; i++) {{
  $y[i] = $x[i] * {factor.at(f"i % {f.n}")} + {summand.at(f"i % {f.n}")};
}}"""
    return source.add(source.output(f, x), lines, x, in_place=True)


@_of(LayerNorm)
def _layer_norm(f: LayerNorm, source: Source, x: Value) -> Value:
    w, b = source.constant(f.weight, "weight"), source.constant(f.bias, "bias")
    lines = f"""
for (size_t n = 0; n < {x.size // f.n}; n++) {{
  float sum = 0.0f, rest = 0.0f, squares = 0.0f;
  for (size_t i = 0; i < {f.n}; i++) {{
    sum += $x[n * {f.n} + i];
  }}
  const float mean = sum / {f.n}.0f;
  for (size_t i = 0; i < {f.n}; i++) {{
    rest += $x[n * {f.n} + i] - mean;
  }}
  rest /= {f.n}.0f;
  for (size_t i = 0; i < {f.n}; i++) {{
    const float centred = $x[n * {f.n} + i] - mean - rest;
    squares += centred * centred;
  }}
  const float deviation = sqrtf(squares / {f.n}.0f + {literal(f.eps)});
  for (size_t i = 0; i < {f.n}; i++) {{
    $y[n * {f.n} + i] = {w.at("i")} * ($x[n * {f.n} + i] - mean - rest) / deviation + {b.at("i")};
  }}
}}"""
    return source.add(source.output(f, x), lines, x, in_place=True)


# --- along one axis ---


@_of(LogSoftmax)
@_of(Softmax)
def _softmax(f: Softmax | LogSoftmax, source: Source, x: Value) -> Value:
    axis = f.axis % len(x.shape)
    outer, C, inner = int(np.prod(x.shape[:axis])), x.shape[axis], int(np.prod(x.shape[axis + 1 :]))
    alone = outer == inner == 1
    at = "c" if alone else f"(n * {C} + c) * {inner} + i"
    log = isinstance(f, LogSoftmax)
    last = f"$y[{at}] = $x[{at}] - largest - logarithm;" if log else f"$y[{at}] /= sum;"
    term = f"sum += expf($x[{at}] - largest);" if log else f"$y[{at}] = expf($x[{at}] - largest);\n  sum += $y[{at}];"
    logarithm = "\nconst float logarithm = logf(sum);" if log else ""
    lines = f"""float largest = -INFINITY, sum = 0.0f;
for (size_t c = 0; c < {C}; c++) {{
  largest = $x[{at}] > largest ? $x[{at}] : largest;
}}
for (size_t c = 0; c < {C}; c++) {{
  {term}
}}{logarithm}
for (size_t c = 0; c < {C}; c++) {{
  {last}
}}"""
    inside, gradient = (
        (f"$d[{at}]", f"$d[{at}] - expf($y[{at}]) * sum") if log else (f"$d[{at}] * $y[{at}]", f"$y[{at}] * ($d[{at}] - sum)")
    )
    backward = f"""$[float sum = 0.0f;
for (size_t c = 0; c < {C}; c++) {{
  sum += {inside};
}}
for (size_t c = 0; c < {C}; c++) {{
  $dx[{at}] = {gradient};
}}$]"""
    if not alone:
        lines, backward = (f"{_OUTER % (outer, inner)}\n{indented(indented(text))}\n  }}\n}}" for text in (lines, backward))
    return source.add(source.output(f, x), lines, x, in_place=not log, backward=backward)


_OUTER = "for (size_t n = 0; n < %d; n++) {\n  for (size_t i = 0; i < %d; i++) {"


@_of(Mean)
@_of(Sum)
def _sum(f: Mean | Sum, source: Source, x: Value) -> Value:
    y = source.output(f, x)
    axes = range(len(x.shape)) if f.axis is None else [axis % len(x.shape) for axis in np.atleast_1d(f.axis).astype(int).tolist()]
    kept = iter(row_order(y.shape))
    strides = tuple(0 if axis in axes else next(kept) for axis in range(len(x.shape)))
    add = loops(x.shape, f"$y[{index(x.shape, strides)}] += $x[{index(x.shape)}];")
    # no memset: gcc warns of one whose number of bytes is that of the numbers in the buffer, which may be larger than $y
    lines = f"for (size_t i = 0; i < {y.size}; i++) {{\n  $y[i] = 0.0f;\n}}\n{add}"
    if isinstance(f, Mean):
        lines += f"\nfor (size_t i = 0; i < {y.size}; i++) {{\n  $y[i] /= {x.size // y.size}.0f;\n}}"
    return source.add(y, lines, x)


# --- shapes ---


@_of(Reshape)
@_of(Flatten)
def _same_numbers(f: Function, source: Source, x: Value) -> Value:
    return source.view(x, source.output(f, x))


CONVERTERS[Identity] = _same_numbers


@_of(Dropout)
def _dropout(f: Dropout, source: Source, x: Value) -> Value:
    if source.training and f.p > 0:
        raise TypeError(f"to_c: {brief(f)} cannot be trained in C, where there are no random numbers; leave out training=")
    return source.view(x, source.output(f, x))


@_of(Transpose)
def _transpose(f: Transpose, source: Source, x: Value) -> Value:
    y = source.output(f, x)
    strides = tuple(row_order(x.shape)[axis] for axis in f.axes)
    return source.add(y, loops(y.shape, f"$y[{index(y.shape)}] = $x[{index(y.shape, strides)}];"), x)


@_of(Expand)
def _expand(f: Expand, source: Source, x: Value) -> Value:
    y = source.output(f, x)
    strides = list(row_order(x.shape))
    strides.insert(f.axis % len(y.shape), 0)
    return source.add(y, loops(y.shape, f"$y[{index(y.shape)}] = $x[{index(y.shape, tuple(strides))}];"), x)


@_of(Subtract)
def _subtract(f: Subtract, source: Source, x: Value) -> Value:
    target = source.constant(np.broadcast_to(f.target, x.shape), "target")
    lines = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $y[i] = $x[i] - {target.at('i')};\n}}"
    backward = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $[$dx[i] = $d[i];$]\n}}"
    return source.add(source.output(f, x), lines, x, in_place=True, backward=backward)


# --- a parameter for each entry, or one for all ---


@_of(Mul)
def _mul(f: Mul, source: Source, x: Value) -> Value:
    k = source.constant(f.k, "k")
    lines = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $y[i] = {k.at('0')} * $x[i];\n}}"
    return source.add(
        source.output(f, x), lines, x, in_place=True, backward=_one_parameter(source, f.k, k, x, k.at("0"), "$x[i]")
    )


@_of(PReLU)
def _prelu(f: PReLU, source: Source, x: Value) -> Value:
    s = source.constant(f.weight, "weight")
    slope = s.at("0" if f.weight.size == 1 else f"i % {f.weight.size}")
    lines = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $y[i] = $x[i] > 0.0f ? $x[i] : {slope} * $x[i];\n}}"
    factor, gradient = f"($x[i] > 0.0f ? 1.0f : {slope})", "($x[i] > 0.0f ? 0.0f : $x[i])"
    if f.weight.size == 1:
        backward = _one_parameter(source, f.weight, s, x, factor, gradient)
    else:
        step = f"\n  {slope} -= $lr * $d[i] * {gradient};" if source.trained(f.weight) else ""
        backward = f"for (size_t i = 0; i < {x.size}; i++) {{\n  $[$dx[i] = $d[i] * {factor};$]{step}\n}}"
    return source.add(source.output(f, x), lines, x, in_place=True, backward=backward)


def _one_parameter(source: Source, array: Array, constant: Constant, x: Value, factor: str, gradient: str) -> str:
    """Backward of y = f(x, k) entry by entry with one k: dy/dx is `factor`, dy/dk is `gradient`."""
    step = f"\n{constant.at('0')} -= $lr * sum;" if source.trained(array) else "\n(void)sum;"
    return f"""
float sum = 0.0f;
for (size_t i = 0; i < {x.size}; i++) {{
  sum += $d[i] * {gradient};
  $[$dx[i] = $d[i] * {factor};$]
}}{step}"""


# --- containers ---


@_of(Sequential)
def _sequential(f: Sequential, source: Source, x: Value) -> Value:
    parts = list(f)
    while parts:
        part = parts.pop(0)
        if parts and type(part) in (Linear, MatMul) and type(parts[0]) is BatchNorm and not source.training:
            norm: Any = parts.pop(0)
            x = _with_norm(part, norm, source, x)
        else:
            x = source.convert(part, x)
    return x


def _with_norm(linear: Any, norm: BatchNorm, source: Source, x: Value) -> Value:
    """A linear layer and the normalization of what it puts out, as one linear layer."""
    converter_of(source.owner, CONVERTERS, linear), converter_of(source.owner, CONVERTERS, norm)
    factor, summand = _folded(norm)
    bias = getattr(linear, "bias", None)
    y = source.output(norm, source.output(linear, x))
    with source.inside(linear):
        weight = linear.weight * factor[:, np.newaxis]
        return _dense(linear, source, x, y, weight, summand if bias is None else bias * factor + summand)


@_of(Residual)
def _residual(f: Residual, source: Source, x: Value) -> Value:
    return _combined("+", [source.convert(f.f, x), x], source)


CONVERTERS[Add] = lambda f, source, x: _combined("+", _outputs(f, source, x), source)
CONVERTERS[Multiply] = lambda f, source, x: _combined("*", _outputs(f, source, x), source)


@_of(Concatenate)
def _concatenate(f: Concatenate, source: Source, x: Value) -> Value:
    outputs = _outputs(f, source, x)
    axis = f.axis % len(outputs[0].shape)
    if outputs[0].steps is not None and axis == 1:
        raise ValueError(f"to_c: {brief(f)} cannot be exported: it combines time steps, and the header goes on step by step")
    y = Value(f.combine([output.example for output in outputs]))
    if outputs[0].steps is not None:
        y.steps = f.combine([output.steps for output in outputs if output.steps is not None])
    lines, start = [], 0
    for k, output in enumerate(outputs):
        place = index(output.shape, row_order(y.shape))
        lines.append(loops(output.shape, f"$y[{place} + {start}] = $x{k if len(outputs) > 1 else ''}[{index(output.shape)}];"))
        start += output.shape[axis] * row_order(y.shape)[axis]
    return source.add(y, "\n".join(lines), *outputs)


def _outputs(f: Branches, source: Source, x: Value) -> list[Value]:
    return [source.convert(branch, x) for branch in f]


def _combined(operator: str, values: list[Value], source: Source) -> Value:
    first, *others = values
    for other in others:
        combine: Any = np.add if operator == "+" else np.multiply
        steps = None if first.steps is None or other.steps is None else combine(first.steps, other.steps)
        y = Value(combine(first.example, other.example), steps)
        lines = f"for (size_t i = 0; i < {y.size}; i++) {{\n  $y[i] = $x0[i] {operator} $x1[i];\n}}"
        first = source.add(y, lines, first, other, in_place=True)
    return first
