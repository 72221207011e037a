"""An explanation as a table, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.explaining.formulas import Said, said, said_of
from pancake.explaining.numbers import few, range_of, shape_of, short
from pancake.explaining.remarks import gradient_of, norm, remarks
from pancake.explaining.text import shown_times
from pancake.explaining.trace import Parameter, Step, TimeStep

if TYPE_CHECKING:
    from pancake.explaining.explanation import Explanation

# No colour of its own but those of marks, so that it is read on a light page and on a dark one.
STYLE = "border-collapse:collapse;font-size:small"
CELL = "text-align:left;vertical-align:top;padding:3px 8px;border-top:1px solid rgba(128,128,128,.4)"
MARK = "border-left:3px solid #D55E00;padding-left:6px;margin:2px 0"


def as_html(explanation: Explanation) -> str:
    """A row for each layer: forward on the left, read downwards, backward on the right, read upwards."""
    seen = explanation.trace
    head = "".join(f'<th style="{CELL}">{name}</th>' for name in ("", "layer", "forward &darr;", "backward &uarr;", "parameters"))
    loss = said(type(seen.loss))
    rows = [
        _row("", "<b>input</b>", _numbers(seen.x), f"dObj_dIn<br>{_numbers(seen.dObj_dX)}", ""),
        *(_layer(step) for step in explanation.steps),
        _row(
            "",
            f"<b>{escape(repr(seen.loss))}</b><br>{escape(loss.line)}",
            f"loss <b>{short(explanation.objective)}</b>",
            f"dObj_dPred<br>{_numbers(seen.dObj_dPred)}",
            "",
        ),
    ]
    return f'<table style="{STYLE}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells) + "</tr>"


def _layer(step: Step) -> str:
    texts = said_of(step.function)
    more = "\n\n".join(part for text in texts for part in (text.derivative, text.shapes) if part)
    name = f"<b>{escape(repr(step.function))}</b><br>" + "".join(map(_formula, texts))
    if more:
        name += f"<details><summary>derivative and shapes</summary><pre>{escape(more)}</pre></details>"
    name += "".join(f'<div style="{MARK}">{escape(note)}</div>' for note in remarks(step))
    if step.times:
        name += _times(step.times)
    backward = "none"
    if step.dObj_dOut is not None:
        backward = f"leaves {_numbers(step.dObj_dIn)}<br>arrives {_numbers(step.dObj_dOut)}"
    parameters = "".join(map(_parameter, step.parameters))
    if step.parameters:
        parameters += f"gradient of all: norm {short(gradient_of(step))}"
    return _row("&nbsp;&nbsp;" * step.depth + escape(step.path), name, _numbers(step.y), backward, parameters)


def _formula(text: Said) -> str:
    """In one line, or with its equations as they stand."""
    if "\n    " in text.formula:
        return f'<pre style="margin:2px 0">{escape(text.formula)}</pre>'
    return f"<div>{escape(text.line)}</div>"


def _numbers(value: Any) -> str:
    text = f"{escape(shape_of(value))}<br>{escape(range_of(value))}"
    if value is None or isinstance(value, tuple) or not np.size(value):
        return text
    return f"{text}<details><summary>numbers</summary><pre>{escape(few(np.asarray(value)))}</pre></details>"


def _parameter(parameter: Parameter) -> str:
    name, value, grad = parameter
    summary = f"{escape(name)} {value.shape}: norm {short(norm(value))}, gradient {short(norm(grad))}"
    both = f"value\n{few(value)}\ngradient\n{few(grad)}"
    return f"<details><summary>{summary}</summary><pre>{escape(both)}</pre></details>"


def _times(times: list[TimeStep]) -> str:
    names = ("step", "x_t", "out_t", "state", "dObj_dOut_t", "dObj_dState", "dObj_dX_t", "to the step before")
    rows = [_row(*names)]
    for time in shown_times(times):
        if time is None:
            rows.append(_row("...", *[""] * 7))
        else:
            values = (time.x, time.out, time.state, time.dObj_dOut, time.dObj_dState, time.dObj_dIn, time.dObj_dBefore)
            rows.append(_row(str(time.time), *(short(norm(value)) for value in values)))
    table = f'<table style="{STYLE}">{"".join(rows)}</table>'
    return f"<details open><summary>unrolled in time: norms</summary>{table}</details>"
