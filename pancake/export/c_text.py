"""The text of operations in C: names of memory in the place of values, on as few buffers as they need."""

from __future__ import annotations

import re
from string import Template
from typing import Any

from pancake.export.c_source import Operation, Source, Value, indented


def body_of(source: Source, x: Value, y: Value) -> str:
    """The operations on as few buffers as they need: one is used again when what is in it has been read for the last time."""
    last = {id(value.root): k for k, op in enumerate(source.operations) for value in op.inputs}
    last[id(y.root)] = len(source.operations)
    memory: dict[int, str] = {id(x): "x"}  # of a value, by its root
    follows: dict[int, Value] = {}  # the value that gets the memory of another one
    for k, op in enumerate(source.operations):
        first = op.inputs[0].root
        alone = all(value.root is not first for value in op.inputs[1:])
        if op.in_place and alone and first is not x and last[id(first)] == k and op.output.size == first.size:
            follows[id(first)] = op.output
    sizes: list[int] = []
    free: list[int] = []

    def place(value: Value) -> str:
        end = value
        while id(end) in follows:
            end = follows[id(end)]
        if end is y.root:
            return "y"
        fitting = sorted((n for n in free), key=lambda n: (sizes[n] < value.size, abs(sizes[n] - value.size)))
        if fitting:
            free.remove(fitting[0])
            sizes[fitting[0]] = max(sizes[fitting[0]], value.size)
            return f"b{fitting[0]}"
        sizes.append(value.size)
        return f"b{len(sizes) - 1}"

    lines = []
    for k, op in enumerate(source.operations):
        first = op.inputs[0].root
        inherits = follows.get(id(first)) is op.output
        memory[id(op.output)] = memory[id(first)] if inherits else place(op.output)
        lines.append(block(op, with_names(op.lines, op, lambda value: memory[id(value.root)])))
        for value in {id(v.root): v.root for v in op.inputs}.values():
            ends = last[id(value)] == k and value is not x and not (inherits and value is first)
            if ends and memory[id(value)] != "y":
                free.append(int(memory[id(value)][1:]))
    buffers = "".join(f"float b{n}[{size}];\n" for n, size in enumerate(sizes))
    return buffers + "\n".join(lines)


def block(op: Operation, lines: str) -> str:
    """The lines of an operation, under the name of its Function."""
    title = re.sub(r"\*/|/\*", "", repr(op.function))
    return f"{{ /* {title if len(title) <= 100 else title[:97] + '...'} */\n{indented(lines)}\n}}"


def with_names(lines: str, op: Operation, name_of_value: Any, **more: str) -> str:
    """The lines with the names of memory in the place of $x and $y."""
    names = {"y": name_of_value(op.output), **more}
    if len(op.inputs) == 1:
        names["x"] = name_of_value(op.inputs[0])
    names |= {f"x{k}": name_of_value(value) for k, value in enumerate(op.inputs)}
    return Template(lines).safe_substitute(names)
