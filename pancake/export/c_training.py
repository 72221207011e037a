"""Learning in C: forward with all that backward needs, the loss, and backward with one step of SGD."""

from __future__ import annotations

import re
from typing import Any

from pancake.export.c_source import Operation, Source, Value, indented, literal
from pancake.export.c_text import block, with_names
from pancake.losses.classes import CrossEntropy
from pancake.losses.elementwise import MeanSquaredError
from pancake.losses.loss import Loss

_MEAN_SQUARED_ERROR = """
for (size_t i = 0; i < {n}; i++) {{
  const float difference = {p}[i] - y[i];
  loss += difference * difference;
  {d}[i] = 2.0f * difference{share};
}}"""

_CROSS_ENTROPY = """
float largest = -INFINITY, sum = 0.0f, all = 0.0f;
for (size_t i = 0; i < {n}; i++) {{
  largest = {p}[i] > largest ? {p}[i] : largest;
}}
for (size_t i = 0; i < {n}; i++) {{
  sum += expf({p}[i] - largest);
  all += {a};
}}
for (size_t i = 0; i < {n}; i++) {{
  loss += {a} * (logf(sum) - ({p}[i] - largest));
  {d}[i] = all * expf({p}[i] - largest) / sum - {a};
}}"""


def check_loss(loss: Any) -> None:
    """Refuse what no header can hold."""
    if type(loss) not in (MeanSquaredError, CrossEntropy):
        raise TypeError(f"to_c: expected training to be a MeanSquaredError or a CrossEntropy, got {loss!r}"[:300])
    if loss.reduction == "none":
        raise ValueError(f'to_c: expected training to have one value for an example, "mean" or "sum", got {loss!r}')
    if getattr(loss, "class_weight", None) is not None or getattr(loss, "ignore_index", None) is not None:
        raise ValueError(f"to_c: expected training to be a CrossEntropy without class_weight and ignore_index, got {loss!r}")


def training_of(source: Source, x: Value, y: Value, loss: Loss) -> str:
    """The function that takes one step."""
    operations = source.operations
    trained = [k for k, op in enumerate(operations) if any(source.trained(p) for _, p, _ in op.function._own_parameters())]
    arrays = [id(p) for k in trained for _, p, _ in operations[k].function._own_parameters()]
    if not trained:
        raise ValueError(f"to_c: there is nothing to train in {source.model!r}; leave out training=")
    if len(set(arrays)) != len(arrays):
        raise ValueError("to_c: parts that share their parameters cannot be trained in C; leave out training=")
    memory = {id(x): "x"} | {id(op.output): f"v{k}" for k, op in enumerate(operations)}

    def name(value: Value) -> str:
        return memory[id(value.root)]

    lines = [f"float {name(op.output)}[{op.output.size}];" for op in operations]
    width = max(max(op.output.size, op.inputs[0].size) for op in operations[trained[0] :])
    lines += [f"float {d}[{width}];" for d in ("d0", "d1")[: len(operations) - trained[0]]]
    lines += [block(op, with_names(op.lines, op, name)) for op in operations]
    lines.append(f"float loss = 0.0f;\n{{ /* {loss!r} */\n{indented(_loss(loss, y, name(y)))}\n}}")
    for k in range(len(operations) - 1, trained[0] - 1, -1):
        d, dx = ("d0", "d1") if (len(operations) - 1 - k) % 2 == 0 else ("d1", "d0")
        lines.append(block(operations[k], _backward(operations[k], name, d, dx, needs_dx=k > trained[0])))
    lines.append(f"return loss{f' / {y.size}.0f' if _divides(loss) else ''};")
    body = indented("\n".join(lines))
    return f"static inline float {source.name}_train(const float *x, const float *y, float lr) {{\n{body}\n}}"


def _backward(op: Operation, name: Any, d: str, dx: str, needs_dx: bool) -> str:
    kept = re.sub(r"\$\[(.*?)\$\]", r"\1" if needs_dx else "", op.backward or "", flags=re.DOTALL)
    kept = "\n".join(line for line in kept.splitlines() if line.strip())
    return with_names(kept, op, name, d=d, dx=dx, lr="lr")


def _divides(loss: Loss) -> bool:
    return isinstance(loss, MeanSquaredError) and loss.reduction == "mean"


def _loss(loss: Any, y: Value, p: str) -> str:
    """The loss, and its gradient in d0."""
    if isinstance(loss, MeanSquaredError):
        share = f" / {y.size}.0f" if _divides(loss) else ""
        return _MEAN_SQUARED_ERROR.format(n=y.size, p=p, d="d0", share=share).strip()
    if y.size != y.shape[-1]:
        raise ValueError(f"to_c: expected a model that puts out one row of logits for CrossEntropy, got shape {y.shape}")
    e = loss.label_smoothing
    a = "y[i]" if e == 0 else f"({literal(1 - e)} * y[i] + {literal(e / y.size)})"
    return _CROSS_ENTROPY.format(n=y.size, p=p, d="d0", a=a).strip()
