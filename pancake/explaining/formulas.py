"""What the docstring of a class says of its formula, its derivative and its shapes."""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

from pancake.function import Function
from pancake.functions.containers import Container, Listed
from pancake.losses.loss import Loss
from pancake.recurrent.unrolled import Unrolled

BASES = (Function, Container, Listed, Loss, object)  # whose docstrings say nothing of a formula


class Said(NamedTuple):
    """What a docstring says; empty where it is silent.

    Attributes
    ----------
    formula, derivative : str
        The first paragraph, with the equations that belong to it; and what follows up to the first section.
    shapes : str
        The section "Shape".
    source : str
        The section "References".
    """

    formula: str
    derivative: str
    shapes: str
    source: str

    @property
    def line(self) -> str:
        """The formula in one line."""
        return " ".join(self.formula.split())


def said_of(function: Any) -> list[Said]:
    """What is said of a Function; and, if it unrolls a cell, of that."""
    return [said(type(part)) for part in ([function, function.cell] if isinstance(function, Unrolled) else [function])]


def said(cls: Any) -> Said:
    """What is said of a class, by its own docstring or that of the class from which it takes its forward."""
    doc = next((vars(base)["__doc__"] for base in cls.__mro__ if base not in BASES and vars(base).get("__doc__")), "")
    body, *rest = re.split(r"\n(\w+)\n-{3,}\n", inspect.cleandoc(doc))
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    paragraphs = body.strip().split("\n\n")
    # A paragraph of equations, which is set in, belongs to the one before it.
    first = next((i for i, text in enumerate(paragraphs) if i and not text.startswith("    ")), len(paragraphs))
    formula, derivative = "\n\n".join(paragraphs[:first]), "\n\n".join(paragraphs[first:])
    derivative, _, source = derivative.partition("Source: ")
    return Said(formula, derivative.strip(), sections.get("Shape", "").strip(), sections.get("References", source).strip())
