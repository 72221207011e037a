"""The documentation is true: its Python runs, and the table of bricks is that of the code."""

import importlib.util
import re
from pathlib import Path

import pytest

import pancake as pk

DOCS = Path(__file__).parent.parent / "docs"
pages = pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)


@pages
def test_the_python_of_a_page_runs_from_top_to_bottom(page):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert blocks or page.stem == "bricks"
    exec(compile("\n".join(blocks), page.name, "exec"), {"__name__": "page"})


@pytest.fixture(scope="module")
def make_bricks():
    spec = importlib.util.spec_from_file_location("make_bricks", DOCS / "make_bricks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_bricks_is_that_of_the_code(make_bricks):
    assert make_bricks.PAGE.read_text(encoding="utf-8") == make_bricks.page(), "run python docs/make_bricks.py"


def test_every_brick_has_a_formula_a_derivative_and_a_source(make_bricks):
    names = re.findall(r"^\| `(\w+)` \|", make_bricks.page(), flags=re.MULTILINE)
    assert {"Linear", "CrossEntropy", "Adam", "GELU"} <= set(names)
    for name in names:
        cls = getattr(pk, name)
        for what, text in zip(("formula", "derivative", "source"), make_bricks.parts(cls), strict=True):
            if what != "derivative" or not issubclass(cls, pk.Optimizer):
                assert text, f"{name} has no {what} in its docstring"
