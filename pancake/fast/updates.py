"""The step of an optimizer as one program: its rule, with the factors and the vectors of each step in place.

A rule is a handful of calls on vectors. It is written once, as its class has it, and noted here by running it with what stands
for the vectors. What that saves is around the calls: methods, looks at settings, and factors that are compared one by one: in a
net of 151 parameters a twentieth of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.fast.program import Notes, StandIn, Text, scalar
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer
from pancake.origin import is_own

MOVING = frozenset({"_lr", "_model"})  # settings that a rule finds among the factors, or not at all


class Operand(StandIn):
    """What stands for a vector or a factor in a rule."""

    def __init__(self, notes: Notes, name: str, dtype: Any) -> None:
        self.notes, self.name, self.dtype = notes, name, dtype

    def note(self, ufunc: Callable[..., Any], *inputs: Any) -> Operand:
        result = Operand(self.notes, f"fresh{len(self.notes.lines)}", self.dtype)
        self.notes.lines.append(f"{result.name} = {self.call(ufunc, inputs)}")
        return result

    def write(self, ufunc: Callable[..., Any], inputs: tuple[Any, ...], out: Any) -> Any:
        self.notes.lines.append(f"{self.call(ufunc, inputs)[:-1]}, {out.name})")
        return out

    def call(self, ufunc: Callable[..., Any], inputs: tuple[Any, ...]) -> str:
        operands = (Text(item.name) if isinstance(item, Operand) else scalar(item, self.dtype) for item in inputs)
        return self.notes.expression(ufunc, *operands)

    def __setitem__(self, key: Any, value: Operand) -> None:
        if key is not ...:
            raise TypeError("only whole vectors are noted")
        self.notes.lines.append(f"{self.name}[...] = {value.name}")


def update_of(optimizer: Optimizer) -> Callable[[], None]:
    """What does the same as `_advance`: a program, or for a rule that cannot be noted that method itself."""
    cls, plain = type(optimizer), optimizer._advance
    if not (is_own(cls.update) and is_own(cls.factors)) or len(optimizer._cells) != 1:  # parameters of several dtypes
        return plain
    settings = {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(getattr(cls, name[1:], None), property) and name not in MOVING
    }
    cells = [np.empty_like(cell) for cell in optimizer._cells[0]]
    vectors = ["p", "g", "work", *(f"s{i}" for i in range(len(optimizer.slots)))]
    notes = Notes()
    try:
        _note_rule(notes, cls, settings, vectors, cells)
    except (AttributeError, TypeError):
        return plain
    rule = "; ".join(notes.lines)
    held, otherwise = notes.held(optimizer), f"return {notes.expression(plain)}"
    places = [(optimizer, "_pieces", optimizer._pieces), *((optimizer, name, value) for name, value in settings.items())]
    factors = [f"f{i}" for i in range(len(cells))]
    lines = [
        f"if not ({' and '.join(notes.unchanged([], [], places))}): {otherwise}",
        f"{held}.steps += 1",
        f"{', '.join(factors)}, = {held}.factors()",
    ]
    if cells[0].dtype != np.float64:  # a number that the dtype cannot hold is up to the optimizer
        tiny = float(np.finfo(cells[0].dtype).smallest_subnormal)
        lines.append(f"if {' or '.join(f'{factor} < {tiny}' for factor in factors)}: {held}.steps -= 1; {otherwise}")
    lines += [f"{notes.held(cell)}[()] = {factor}" for cell, factor in zip(cells, factors, strict=True)]
    pieces = [piece[: len(vectors)] for piece in optimizer._pieces]
    lines.append(f"for {', '.join(vectors)} in {notes.held(pieces)}: {rule}")
    return notes.write("", lines=lines)


def _note_rule(notes: Notes, cls: type[Optimizer], settings: dict[str, Any], vectors: list[str], cells: list[Array]) -> None:
    """Run a rule to note its calls. Of the optimizer it sees the settings alone: what else it asks for is an AttributeError."""
    rule = object.__new__(cls)
    vars(rule).update(settings)
    arguments: list[Any] = [Operand(notes, name, cells[0].dtype) for name in (*vectors, *map(notes.held, cells))]
    cls.update(rule, *arguments)
