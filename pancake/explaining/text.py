"""An explanation as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pancake.explaining.formulas import said, said_of
from pancake.explaining.numbers import few, range_of, shape_of, short
from pancake.explaining.remarks import gradient_of, norm, remarks
from pancake.explaining.trace import Parameter, Step, TimeStep

if TYPE_CHECKING:
    from pancake.explaining.explanation import Explanation

TIMES = 12  # steps of a sequence that are listed
ENTRIES = 8  # entries of a parameter that stand beside their gradients


def as_text(explanation: Explanation) -> str:
    """Layer by layer, in the order of forward."""
    seen = explanation.trace
    lines = [
        f"One forward and one backward. Forward is read downwards, backward upwards. {type(seen.loss).__name__}: "
        f"{short(explanation.objective)}",
        "",
        f"input  {shape_of(seen.x)}  {range_of(seen.x)}",
        f"       gradient dObj_dIn  {range_of(seen.dObj_dX)}",
    ]
    for step in explanation.steps:
        lines += ["", *_layer(step)]
    lines += [
        "",
        f"loss   {seen.loss!r}: {short(explanation.objective)}",
        f"       {said(type(seen.loss)).line}",
        f"       target {shape_of(_target(seen.y))}, prediction {shape_of(seen.pred)}",
        f"       gradient dObj_dPred {shape_of(seen.dObj_dPred)}  {range_of(seen.dObj_dPred)}",
    ]
    return "\n".join(line.rstrip() for line in lines)


def _target(y: object) -> object:
    return y if isinstance(y, tuple) else np.asarray(y)


def _layer(step: Step) -> list[str]:
    indent = "    " * step.depth
    head = f"{step.path or 'model'}  {step.function!r}"
    lines = [head] + [f"    {line}" for text in said_of(step.function) for line in text.formula.splitlines()]
    lines += [f"    out       {shape_of(step.y)}  {range_of(step.y)}"]
    if step.dObj_dOut is not None:
        lines += [f"    arrives   {shape_of(step.dObj_dOut)}  {range_of(step.dObj_dOut)}"]
        lines += [f"    leaves    {shape_of(step.dObj_dIn)}  {range_of(step.dObj_dIn)}"]
    if step.parameters:
        lines += [f"    gradient of its parameters: norm {short(gradient_of(step))}"]
        for parameter in step.parameters:
            lines += [f"        {line}" for line in parameter_lines(parameter)]
    if step.times:
        lines += [f"    {line}" for line in time_lines(step.times)]
    lines += [f"    ! {remark}" for remark in remarks(step)]
    return [indent + line for line in lines if line.strip()]


def parameter_lines(parameter: Parameter) -> list[str]:
    """Its shape and norms; and the numbers, each beside its gradient, if they are few, or those with the largest gradients."""
    name, value, grad = parameter
    lines = [f"{name} {value.shape}: norm {short(norm(value))}, gradient {short(norm(grad))}"]
    if 1 < value.size <= ENTRIES:
        return [*lines, f"    value     {_flat(value)}", f"    gradient  {_flat(grad)}"]
    if value.size > ENTRIES:
        index = np.unravel_index(int(np.abs(grad).argmax()), grad.shape)
        place = ", ".join(map(str, index))
        lines.append(f"    largest gradient: {short(grad[index])}, of {name}[{place}] = {short(value[index])}")
    return lines


def _flat(array: np.ndarray) -> str:
    return " ".join(few(array).split())


def time_lines(times: list[TimeStep]) -> list[str]:
    """The steps in the order of forward: the norms of what passes between them."""
    forward_names = " ".join(f"{name:>10}" for name in ("x_t", "out_t", "state"))
    backward_names = f"{'dObj_dOut_t':>12} {'dObj_dState':>12} {'dObj_dX_t':>12} {'to step before':>15}"
    lines = ["unrolled in time; norms of", f"{'step':>6} {forward_names}   {backward_names}"]
    for step in shown_times(times):
        if step is None:
            lines.append(f"{'...':>6}")
            continue
        forward = [norm(value) for value in (step.x, step.out, step.state)]
        backward = [norm(value) for value in (step.dObj_dOut, step.dObj_dState, step.dObj_dIn, step.dObj_dBefore)]
        lines.append(
            f"{step.time:>6} "
            + " ".join(f"{short(value):>10}" for value in forward)
            + "   "
            + " ".join(f"{short(value):>{width}}" for value, width in zip(backward, (12, 12, 12, 15), strict=True))
        )
    return lines


def shown_times(times: list[TimeStep]) -> list[TimeStep | None]:
    """All steps, or of many the first and the last; None stands for those left out."""
    if len(times) <= TIMES:
        return list(times)
    return [*times[: TIMES // 2], None, *times[-(TIMES // 2) :]]
