"""The reference names everything public, and docstrings become pages that say what they say. None of this needs Sphinx."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import docstrings
import make_reference
import pytest

import pancake as pk
from pancake import initializers

ROOT = Path(pk.__file__).parent


def exported(path: Path) -> list[str]:
    """The names in the `__all__` of a file, without loading it; those of a second statement, which adds to it, too."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            found += ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return found


def also_above(module: str, name: str) -> bool:
    """Whether `pancake` has the same thing under that name."""
    return bool(module) and name in pk.__all__ and getattr(pk, name) is make_reference.found(f"{module}.{name}")


def public_names() -> set[str]:
    """Everything that an `__all__` in pancake names, but for modules, and for what `pancake` itself has under the same name."""
    found: set[str] = set()
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        for name in exported(path):
            full = f"{module}.{name}".lstrip(".")
            may_be_module = (path.parent / f"{name}.py").exists() or (path.parent / name / "__init__.py").exists()
            if not (may_be_module and inspect.ismodule(make_reference.found(full))) and not also_above(module, name):
                found.add(full)
    return found | {f"initializers.{scheme}" for scheme in initializers.SCHEMES}


def test_every_public_name_has_its_place_in_the_reference() -> None:
    listed = [name for names in make_reference.groups().values() for name in names]
    assert len(listed) == len(set(listed))
    assert {"Linear", "testing.adapt", "testing.strategies.stacks", "datasets.moons", "fast.off"} <= public_names()
    assert public_names() == set(listed), "give it its place in GROUPS of docs/make_reference.py"


def test_the_reference_is_that_of_the_code() -> None:
    pytest.importorskip("sklearn", reason="the reference speaks of estimators for scikit-learn")
    assert make_reference.PAGE.read_text(encoding="utf-8") == make_reference.page(), "run python docs/make_reference.py"


def test_no_two_pages_have_one_name_where_files_are_found_without_case() -> None:
    listed = [name for names in make_reference.groups().values() for name in names]
    assert len({name.lower() for name in listed}) == len(listed)


# --- docstrings as pages ---


def page(text: str) -> str:
    return "\n".join(docstrings.prepared(text.split("\n"))).strip()


def test_text_is_shown_as_it_is() -> None:
    assert page("y = |x| * w_ for `x`, ``y`` and h_(t-1), f_n *") == r"y = \|x\| \* w\_ for ``x``, ``y`` and h\_(t-1), f_n \*"


def test_indented_blocks_keep_their_lines() -> None:
    shown = page("With n,\n\n    a = |b|\n    c = d\n\nand so on.")
    assert shown == "With n,\n\n.. code-block:: none\n    :class: formula\n\n    a = |b|\n    c = d\n\nand so on."


def test_many_formulas_side_by_side_stand_one_below_the_other() -> None:
    wide = "a = " + "x" * 40 + ",  b = " + "y" * 40
    assert page(f"So\n\n    {wide}").endswith("    a = " + "x" * 40 + ",\n    b = " + "y" * 40)


def test_literal_blocks_are_left_alone_to_their_end() -> None:
    text = "So::\n\n    class A:\n        x = 2 * 3\n\n        y = |x|\n\nEnd *."
    assert page(text) == text.replace("End *", r"End \*")


def test_sections_are_headings_and_their_entries_definitions() -> None:
    text = "Parameters\n----------\nn, *m : int\n    The `n`.\nrng : None\n\nShape\n-----\nx : (..., I);  y : (O,)"
    assert [line for line in page(text).split("\n") if line] == [
        ".. rubric:: Parameters",
        r"**n, \*m** : int",
        "    The ``n``.",
        "**rng** : None",
        "    ..",
        ".. rubric:: Shape",
        "| x : (..., I)",
        "| y : (O,)",
    ]
