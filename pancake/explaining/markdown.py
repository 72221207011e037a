"""The chain rule, derived for somebody's own stack: with its shapes, and the formulas of the docstrings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pancake.explaining.formulas import Said, said, said_of
from pancake.explaining.numbers import shape_of, short
from pancake.explaining.remarks import gradient_of, norm, remarks
from pancake.explaining.text import shown_times
from pancake.explaining.trace import Step

if TYPE_CHECKING:
    from pancake.explaining.explanation import Explanation


def as_markdown(explanation: Explanation) -> str:
    """Forward from the input to the loss, the product of derivatives, and backward from the loss to the input."""
    seen = explanation.trace
    inner = _inner(explanation.steps)
    chain = [step for step in explanation.steps if step.depth == 0]
    last = len(chain)
    lines = [
        f"# The chain rule through {last} {'layer' if last == 1 else 'layers'} and {type(seen.loss).__name__}",
        "",
        f"`x_0` is the input, {shape_of(seen.x)}; `x_k` is what layer k puts out; `Obj` is the loss. `dObj_dx_k` is the gradient",
        "of the loss with respect to `x_k`, an array of its shape. For layer k, `dObj_dOut` stands for `dObj_dx_k`, which",
        "arrives from above, and `dObj_dIn` for `dObj_dx_(k-1)`, which it hands on.",
        "",
        "## Forward",
        "",
        "| k | layer | computes | from | to |",
        "|---|---|---|---|---|",
    ]
    for k, step in enumerate(chain, start=1):
        formula = _cell(said(type(step.function)).line)
        lines.append(f"| {k} | `{_cell(repr(step.function))}` | {formula} | {shape_of(step.x)} | {shape_of(step.y)} |")
    loss = said(type(seen.loss))
    lines += [
        "",
        f"`Obj = {type(seen.loss).__name__}(x_{last}, target)` = {short(explanation.objective)}, where",
        "",
        *_block(loss.formula),
        "",
        "## The chain rule",
        "",
        f"`Obj` depends on `x_{max(last - 1, 0)}` only through `x_{last}`, and so on down to the input. So",
        "",
        "    " + f"dObj_dx_0 = dObj_dx_{last}" + "".join(f" . dx_{k}/dx_{k - 1}" for k in range(last, 0, -1)),
        "",
        "is worked out from the left, one layer at a time, without ever writing down one of the matrices of derivatives: each",
        "layer turns the gradient that arrives into the one that leaves. On the way, a layer with parameters w adds",
        "`dObj_dx_k . dx_k/dw` to their gradients.",
        "",
        "## Backward",
        "",
        f"### The loss: `dObj_dx_{last}`, {shape_of(seen.dObj_dPred)}",
        "",
        *_derivative(loss),
        f"Its norm here is {short(norm(seen.dObj_dPred))}.",
    ]
    for k in range(last, 0, -1):
        step = chain[k - 1]
        lines += ["", f"### Layer {k}: `{step.function!r}`", "", *_layer(step, f"dObj_dx_{k}", f"dObj_dx_{k - 1}")]
        for part in inner.get(id(step), []):
            lines += ["", f"#### In it: `{part.path}`, `{part.function!r}`", "", *_layer(part, "dObj_dOut", "dObj_dIn")]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _inner(steps: list[Step]) -> dict[int, list[Step]]:
    """For each layer of the chain, by its id, the calls that were made inside of it."""
    found: dict[int, list[Step]] = {}
    outer = None
    for step in steps:
        if step.depth == 0:
            outer = step
        elif outer is not None:
            found.setdefault(id(outer), []).append(step)
    return found


def _layer(step: Step, arrives: str, leaves: str) -> list[str]:
    if step.dObj_dOut is None:
        return ["No gradient arrives: no backward came by."]
    lines = [line for text in said_of(step.function) for line in _derivative(text)]
    lines += [
        f"- arrives: `{arrives}`, {shape_of(step.dObj_dOut)}, norm {short(norm(step.dObj_dOut))}",
        f"- leaves: `{leaves}`, {shape_of(step.dObj_dIn)}, norm {short(norm(step.dObj_dIn))}",
    ]
    if step.parameters:
        lines += [
            f"- adds to the gradients of its parameters, whose norm is {short(gradient_of(step))}:",
            "",
            "| parameter | shape | norm | norm of its gradient |",
            "|---|---|---|---|",
        ]
        for name, value, grad in step.parameters:
            lines.append(f"| `{name}` | {value.shape} | {short(norm(value))} | {short(norm(grad))} |")
    if step.times:
        lines += [
            "",
            "Unrolled in time it is a stack of copies of one cell with the same parameters. Backward runs through them in the",
            "reverse order; what a step hands back as the gradient of its state goes on to the step before it:",
            "",
            "| step | norm of `dObj_dOut_t` | of `dObj_dState` that arrives | of `dObj_dX_t` | of `dObj_dState` that leaves |",
            "|---|---|---|---|---|",
        ]
        for time in reversed(shown_times(step.times)):
            if time is None:
                lines.append("| ... | | | | |")
            else:
                norms = (time.dObj_dOut, time.dObj_dState, time.dObj_dIn, time.dObj_dBefore)
                lines.append(f"| {time.time} | " + " | ".join(short(norm(value)) for value in norms) + " |")
    notes = remarks(step)
    return lines + (["", *(f"- **{note}**" for note in notes)] if notes else [])


def _derivative(text: Said) -> list[str]:
    """What the docstring says: the derivative and the shapes with their letters."""
    lines: list[str] = []
    if text.derivative:
        lines += [*_block(text.derivative), ""]
    elif text.formula:
        lines += [*_block(text.formula), ""]
    if text.shapes:
        lines += [f"Shapes: {' '.join(text.shapes.split())}", ""]
    return lines


def _block(text: str) -> list[str]:
    """The text as it stands, set in as code, in which nothing is taken for Markdown."""
    return [f"    {line}" if line else "" for line in text.splitlines()] if text else ["    (its class has no docstring)"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
