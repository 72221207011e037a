"""Recurrent cells in C: one step of time, which reads the state and leaves the next one there."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.arguments import brief
from pancake.export.c_elementwise import FORMULAS
from pancake.export.c_source import CONVERTERS, Constant, Source, Value
from pancake.functions.activations import Sigmoid, Tanh
from pancake.functions.piecewise_linear import ReLU
from pancake.memory import Array
from pancake.recurrent.cells import GRUCell, LSTMCell, RNNCell
from pancake.recurrent.unrolled import Unrolled

_LSTM = """
for (size_t k = 0; k < $H; k++) {
  c[k] = pk_sigmoid(z[$H + k]) * c[k] + pk_sigmoid(z[k]) * tanhf(z[2 * $H + k]);
  h[k] = pk_sigmoid(z[3 * $H + k]) * tanhf(c[k]);
  $y[k] = h[k];
}"""

_GRU = """
for (size_t k = 0; k < $H; k++) {
  const float r = pk_sigmoid(z[k] + u[k]), keep = pk_sigmoid(z[$H + k] + u[$H + k]);
  h[k] = (1.0f - keep) * tanhf(z[2 * $H + k] + r * u[2 * $H + k]) + keep * h[k];
  $y[k] = h[k];
}"""

_RNN = """
for (size_t k = 0; k < $H; k++) {
  const float a = z[k];
  h[k] = $formula;
  $y[k] = h[k];
}"""


def _unrolled(f: Unrolled, source: Source, x: Value) -> Value:
    cell: Any = f.cell
    if f.reverse:
        raise ValueError(f"to_c: {brief(f)} cannot be exported: it goes backwards in time, and the header goes on step by step")
    if type(cell) not in (RNNCell, LSTMCell, GRUCell):
        raise TypeError(f"to_c: {brief(f)} cannot be exported: there is no converter for exactly {type(cell).__name__}")
    if x.steps is None:
        raise ValueError(
            f"to_c: {brief(f)} cannot be exported: its sequence is not that of the input, of which one step comes at a time"
        )
    H = cell.n_hidden
    y = Value(np.asarray(f.compute_forward(x.example)))
    if f.return_sequences:
        y.steps = np.asarray(f.compute_forward(x.steps))
    with source.inside(cell):
        b_ih, b_hh = (np.asarray(b, np.float64) for b in (cell.bias_ih, cell.bias_hh))
        apart = isinstance(cell, GRUCell)  # of which one gate needs the two sums apart
        lines = _sum(source, "z", cell.weight_ih, "weight_ih", b_ih if apart else b_ih + b_hh, "bias_ih", "$x", "=", cell.n_in)
        into = ("u", b_hh, "=") if apart else ("z", None, "+=")
        lines += _sum(source, into[0], cell.weight_hh, "weight_hh", into[1], "bias_hh", "h", into[2], H)
    start = source.state
    lines = f"float *h = state + {start};\n{lines}"
    source.state += H
    names: dict[str, Any] = {"H": H}
    if isinstance(cell, LSTMCell):
        lines = f"float *c = state + {start + H};\n{lines}{_LSTM}"
        source.state += H
    elif isinstance(cell, GRUCell):
        lines += _GRU
    else:
        activation: Any = {"tanh": Tanh, "relu": ReLU, "sigmoid": Sigmoid}[cell.activation]
        lines += _RNN
        names["formula"] = FORMULAS[activation](cell)[0]
    return source.add(y, lines, x, **names)


def _sum(
    source: Source, target: str, weight: Array, name: str, bias: Array | None, bias_name: str, x: str, assign: str, width: int
) -> str:
    """Lines that assign weight x + bias to the array `target`, which they declare if they do not add to it."""
    W, scale = source.matrix(weight, name)
    b: Constant | None = None if bias is None else source.constant(bias, bias_name)
    product = "sum" if scale is None else f"sum * {scale.at('k')}"
    cast = "" if scale is None else "(float)"
    declared = f"float {target}[{len(weight)}];\n" if assign == "=" else ""
    return f"""{declared}for (size_t k = 0; k < {len(weight)}; k++) {{
  float sum = 0.0f;
  for (size_t i = 0; i < {width}; i++) {{
    sum += {cast}{W.at(f"k * {width} + i")} * {x}[i];
  }}
  {target}[k] {assign} {product}{"" if b is None else f" + {b.at('k')}"};
}}
"""


CONVERTERS[Unrolled] = _unrolled
