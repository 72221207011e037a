"""The docstring of every Function and loss: formula first, then derivative, shapes, and where it comes from."""

from __future__ import annotations

import inspect
import re

import pytest
from test_contract import CLASSES, CONCRETE

from pancake.losses.loss import Loss

ORDER = ["Shape", "Parameters", "Attributes", "Returns", "Raises", "Notes", "References"]


def sections(cls):
    body, *rest = re.split(r"\n(\w+)\n-{3,}\n", inspect.getdoc(cls))
    return {"": body, **dict(zip(rest[::2], rest[1::2], strict=True))}


@pytest.mark.parametrize("name", CONCRETE)
def test_a_page_has_formula_derivative_shape_and_source(name):
    cls = CLASSES[name]
    found = sections(cls)
    formula, _, rest = found[""].partition("\n\n")
    assert formula, "the first line is the formula"
    assert re.search(r"dObj_d|dy/dx|chain rule", rest), "the derivative comes right after it"
    assert "Shape" in found
    assert "References" in found or "Source: " in rest
    assert not re.search(r"same\s+shape, any", inspect.getdoc(cls)), "this belongs into the section Shape"
    names = [section for section in found if section]
    assert names == sorted(names, key=ORDER.index)
    assert cls.__doc__ is not Loss.__doc__


@pytest.mark.parametrize("name", CONCRETE)
def test_arguments_are_described(name):
    cls = CLASSES[name]
    described = sections(cls).get("Parameters", "")
    own = inspect.signature(cls.__init__).parameters if "__init__" in vars(cls) else {}
    for argument in own:
        if argument not in ("self", "reduction"):
            assert re.search(rf"^[\w, ]*\b{argument}\b", described, flags=re.MULTILINE), argument
