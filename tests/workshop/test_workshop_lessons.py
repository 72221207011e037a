"""The lessons: what participants get stops at the first blank with a word, and with the solutions it runs through."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pancake
from pancake.workshop.lesson import LESSONS, Cell, blanked, lesson, solved

ROOT = Path(pancake.__file__).parent.parent
each_lesson = pytest.mark.parametrize("number", LESSONS)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "lesson.py"
    path.write_text(script, encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(path)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [n if n == 4 else pytest.param(n, marks=pytest.mark.slow) for n in LESSONS])
def test_the_script_with_its_solutions_runs_and_draws(number: int, tmp_path: Path) -> None:
    ended = run(lesson(number).script(with_solutions=True), tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name in lesson(number).exercises:
        assert re.search(rf"^lesson +{number}  {name} +right$", ended.stdout, flags=re.MULTILINE), ended.stdout
    assert (tmp_path / f"lesson_{number:02}.png").read_bytes().startswith(b"\x89PNG")


@each_lesson
def test_the_axes_of_a_picture_say_what_they_are(number: int) -> None:
    script = lesson(number).script(with_solutions=True)
    assert re.search(r"\bxlabel\b", script)
    assert re.search(r"\bylabel\b", script)


def test_points_do_not_have_the_colours_of_what_is_behind_them() -> None:
    """A point on the right side would vanish: `show_pred` shades in viridis."""
    assert 'cmap="viridis"' not in lesson(6).script()


ONE_QUICK = [n if n == 1 else pytest.param(n, marks=pytest.mark.slow) for n in LESSONS]


@pytest.mark.parametrize("number", ONE_QUICK)
def test_the_script_with_its_blanks_ends_with_what_is_open(number: int, tmp_path: Path) -> None:
    ended = run(lesson(number).script(), tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert re.match(rf"lesson +{number}  {lesson(number).exercises[0]} +open ", ended.stdout.splitlines()[-1])


def test_a_script_ends_with_what_is_wrong_and_a_prompt_goes_on(tmp_path: Path) -> None:
    script = lesson(4).script(with_solutions=True).replace(".sum(axis=0)", ".mean(axis=0)")
    ended = run(script, tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.splitlines()[-1].startswith("lesson  4  Linear        wrong  ")
    ended = run(
        "import builtins\nbuiltins.__IPYTHON__ = True\n" + script.split("judge(Linear)")[0] + "judge(Linear)\nprint('on')",
        tmp_path,
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "on")


@each_lesson
def test_a_lesson_is_an_idea_a_picture_a_question_and_exercises_with_three_hints(number: int) -> None:
    page = lesson(number)
    prose = "\n".join(cell.text for cell in page.cells if cell.kind == "prose")
    assert page.title.startswith(f"Lesson {number}: ")
    for part in ("**The idea.**", "**Your turn.**", "**A picture.**", "**To think about.**"):
        assert part in prose
    assert "hand" in prose
    assert page.exercises
    for name in page.exercises:
        assert len(set(page.hints(name))) == 3
        code = next(cell.text for cell in page.cells if cell.kind == "code" and cell.exercise == name)
        assert "raise NotImplementedError" in blanked(code)
        assert "# blank" not in blanked(code) + solved(code)
        assert "# end" not in blanked(code) + solved(code)
    assert any(f"judge({name})" in cell.text for cell in page.cells for name in page.exercises)


@each_lesson
@pytest.mark.parametrize("with_solutions", [False, True])
def test_notebook_and_script_have_the_same_code(number: int, with_solutions: bool) -> None:
    notebook = json.loads(lesson(number).notebook(with_solutions=with_solutions))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    script = lesson(number).script(with_solutions=with_solutions)
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(script))
    prose = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert prose.count("<details>") == 3 * len(lesson(number).exercises)


@each_lesson
def test_solutions_are_apart(number: int) -> None:
    """No line that a participant is to find stands in what they get, but in the last hint."""
    page = lesson(number)
    for text in (page.script(), page.notebook()):
        for cell in page.cells:
            if cell.kind == "code" and cell.exercise:
                filled = set(solved(cell.text).splitlines()) - set(blanked(cell.text).splitlines())
                own = [line.strip() for line in filled if len(line.strip()) > 25]
                code = re.sub(r'"<details>.*', "", text)
                assert not [line for line in own if f"\n{line}" in code]


def test_a_piece_counts_its_knobs() -> None:
    found: dict[str, Any] = {"__name__": "lesson"}
    exec(lesson(2).script(with_solutions=True).split("judge(Square)")[0], found)
    assert found["Square"]().describe().endswith("; knobs: 0")


def test_a_page_is_read_as_it_looks() -> None:
    code = "def f(x):\n    # blank: twice x\n    return 2 * x\n    # end\n"
    assert blanked(code) == 'def f(x):\n    raise NotImplementedError("your turn: twice x")\n'
    assert solved(code) == "def f(x):\n    return 2 * x\n"
    first = lesson(1).cells[:3]
    assert [cell.kind for cell in first] == ["prose", "code", "prose"]
    assert isinstance(first[0], Cell)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 6])
def test_the_notebook_runs_in_a_kernel(number: int, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="notebooks are run by nbclient: pip install nbclient ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient: pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="notebooks are run by nbclient: pip install nbclient ipykernel")
    notebook = nbformat.reads(lesson(number).notebook(with_solutions=True), as_version=4)
    nbformat.validate(notebook)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    printed = "".join(output.get("text", "") for output in shown)
    for name in lesson(number).exercises:
        assert re.search(rf"{name} +right", printed)
