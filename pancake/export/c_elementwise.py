"""Functions that work entry by entry in C: for each class the output v as an expression of the input a, and dv/da of both."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pancake.export.c_source import CONVERTERS, Source, Value, literal
from pancake.function import Function
from pancake.functions.activations import ELU, GELU, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.functions.elementwise import Abs, Clip, Exp, Log, Negate, Power, Square
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, ReLU

_STEP = "(a > 0.0f ? 1.0f : 0.0f)"
_TANH_GELU = "pk_sigmoid(1.5957691f * (a + 0.044715f * a * a * a))"

# Functions of the Function, since some have numbers of their own.
FORMULAS: dict[type[Function], Callable[[Any], tuple[str, str]]] = {
    Sigmoid: lambda f: ("pk_sigmoid(a)", "v * pk_sigmoid(-a)"),
    Tanh: lambda f: ("tanhf(a)", "1.0f - v * v"),
    ReLU: lambda f: ("a > 0.0f ? a : 0.0f", _STEP),
    HardTanh: lambda f: ("a < -1.0f ? -1.0f : a > 1.0f ? 1.0f : a", "a > -1.0f && a < 1.0f ? 1.0f : 0.0f"),
    LeakyReLU: lambda f: _by_sign("a", f"{literal(f.negative_slope)} * a", "1.0f", literal(f.negative_slope)),
    ELU: lambda f: (f"pk_elu(a, {literal(f.alpha)})", f"a > 0.0f ? 1.0f : {literal(f.alpha)} * expf(a)"),
    SELU: lambda f: (
        f"{literal(f.scale)} * pk_elu(a, {literal(f.alpha)})",
        f"{literal(f.scale)} * (a > 0.0f ? 1.0f : {literal(f.alpha)} * expf(a))",
    ),
    SiLU: lambda f: ("a * pk_sigmoid(a)", "pk_sigmoid(a) * (1.0f + a * pk_sigmoid(-a))"),
    Mish: lambda f: ("a * pk_gate(a)", "pk_gate(a) + a * (1.0f - pk_gate(a) * pk_gate(a)) * pk_sigmoid(a)"),
    Softplus: lambda f: (f"pk_softplus({literal(f.beta)} * a) / {literal(f.beta)}", f"pk_sigmoid({literal(f.beta)} * a)"),
    Softsign: lambda f: ("a / (1.0f + fabsf(a))", "1.0f / ((1.0f + fabsf(a)) * (1.0f + fabsf(a)))"),
    GELU: lambda f: (
        ("a * pk_cdf(a)", "pk_cdf(a) + a * pk_density(a)")
        if f.approximate == "none"
        else (
            f"a * {_TANH_GELU}",
            f"{_TANH_GELU} * (1.0f + a * (1.0f - {_TANH_GELU}) * 1.5957691f * (1.0f + 0.134145f * a * a))",
        )
    ),
    Square: lambda f: ("a * a", "2.0f * a"),
    Negate: lambda f: ("-a", "-1.0f"),
    Exp: lambda f: ("expf(a)", "v"),
    Log: lambda f: ("logf(a)", "1.0f / a"),
    Abs: lambda f: ("fabsf(a)", "a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : 0.0f"),
    Power: lambda f: (f"powf(a, {literal(f.p)})", f"{literal(f.p)} * powf(a, {literal(f.p - 1)})" if f.p else "0.0f"),
    Clip: lambda f: _clip(f),
}


def _by_sign(above: str, below: str, slope_above: str, slope_below: str) -> tuple[str, str]:
    return f"a > 0.0f ? {above} : {below}", f"a > 0.0f ? {slope_above} : {slope_below}"


def _clip(f: Clip) -> tuple[str, str]:
    low = "" if f.low is None else f"a < {literal(f.low)} ? {literal(f.low)} : "
    high = "" if f.high is None else f"a > {literal(f.high)} ? {literal(f.high)} : "
    outside = [f"a < {literal(f.low)}"] if f.low is not None else []
    outside += [f"a > {literal(f.high)}"] if f.high is not None else []
    return f"{low}{high}a", f"{' || '.join(outside)} ? 0.0f : 1.0f" if outside else "1.0f"


def _entry_by_entry(formulas: Callable[[Any], tuple[str, str]], f: Function, source: Source, x: Value) -> Value:
    forward, slope = formulas(f)
    lines = f"""
for (size_t i = 0; i < {x.size}; i++) {{
  const float a = $x[i];
  $y[i] = {forward};
}}"""
    unused = "".join(f"\n  (void){name};" for name in ("a", "v") if not _names(slope, name))
    backward = f"""
$[for (size_t i = 0; i < {x.size}; i++) {{
  const float a = $x[i], v = $y[i];{unused}
  $dx[i] = $d[i] * ({slope});
}}$]"""
    return source.add(source.output(f, x), lines, x, in_place=True, backward=backward)


def _names(text: str, name: str) -> bool:
    return name in text.replace("(", " ").replace(")", " ").replace("-", " ").replace(",", " ").split()


for _cls, _formulas in FORMULAS.items():
    CONVERTERS[_cls] = functools.partial(_entry_by_entry, _formulas)
