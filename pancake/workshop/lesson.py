"""A lesson: one page of Markdown, from which the notebook, the script, the hints and the solution are made.

On the page stand blocks ```python, the cells. A block ```python Name holds the exercise of that name, solved; the blanks are
marked in it, and what stands between the marks is left out of what participants get::

    # blank: remember x, and return its square
    self.x = x
    return x * x
    # end

Blocks ```hint Name are its hints, from a nudge to the line itself.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

LESSONS = range(1, 11)
BLOCK = re.compile(r"^```(python|hint) ?(.*)\n((?:.*\n)*?)```$", flags=re.MULTILINE)
BLANK = re.compile(r"^( *)# blank: (.*)\n((?:.*\n)*?) *# end\n", flags=re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A piece of a page: prose, code, or the hints for an exercise.

    Attributes
    ----------
    kind : {"prose", "code", "hints"}
    text : str
        The prose or the code; of hints nothing.
    exercise : str
        The name of the exercise that the cell is or hints at, or "".
    hints : tuple of str
    """

    kind: str
    text: str = ""
    exercise: str = ""
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """A lesson, read from its page."""

    number: int
    title: str
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"lesson_{self.number:02}"

    @property
    def exercises(self) -> list[str]:
        """The names of its exercises, in order."""
        return [cell.exercise for cell in self.cells if cell.kind == "code" and cell.exercise]

    def hints(self, exercise: str) -> tuple[str, ...]:
        """The hints for an exercise, in order."""
        return next(cell.hints for cell in self.cells if cell.kind == "hints" and cell.exercise == exercise)

    def solution(self, exercise: str) -> str:
        """The solved code of an exercise."""
        return solved(next(cell.text for cell in self.cells if cell.kind == "code" and cell.exercise == exercise))

    def script(self, *, with_solutions: bool = False) -> str:
        """The lesson as a Python program, in cells that editors know by their marks."""
        fill = solved if with_solutions else blanked
        parts = []
        for cell in self.cells:
            if cell.kind == "code":
                parts.append(f"# %%\n{fill(cell.text)}")
            elif cell.kind == "prose":
                lines = [f"# {line}".rstrip() for line in cell.text.splitlines()]
                parts.append("# %% [markdown]\n" + "\n".join(lines) + "\n")
            else:
                lines = [f"#     python -m pancake.workshop hint {cell.exercise} {stage}" for stage in (1, 2, 3)]
                parts.append(
                    "# %% [markdown]\n# Stuck? In a terminal a nudge, the formula, the line:\n#\n" + "\n".join(lines) + "\n"
                )
        return "\n".join(parts)

    def notebook(self, *, with_solutions: bool = False) -> str:
        """The lesson as a notebook, hints folded: https://nbformat.readthedocs.io, version 4.5."""
        fill = solved if with_solutions else blanked
        cells: list[dict[str, Any]] = []
        for number, cell in enumerate(self.cells):
            common = {"id": f"cell-{number}", "metadata": {}}
            if cell.kind == "code":
                source = fill(cell.text).rstrip("\n").splitlines(keepends=True)
                cells.append({"cell_type": "code", "execution_count": None, **common, "outputs": [], "source": source})
            else:
                text = cell.text if cell.kind == "prose" else _folded(cell.hints)
                cells.append({"cell_type": "markdown", **common, "source": text.splitlines(keepends=True)})
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
        contents = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        return json.dumps(contents, indent=1, ensure_ascii=False) + "\n"


def _folded(hints: tuple[str, ...]) -> str:
    titles = ("A nudge", "The formula, with shapes", "The line")
    return "\n".join(
        f"<details><summary>Hint {number}: {title}</summary>\n\n{hint}\n\n</details>\n"
        for number, (title, hint) in enumerate(zip(titles, hints, strict=True), start=1)
    )


def blanked(code: str) -> str:
    """The code with blanks, each of which says what to do."""
    return BLANK.sub(lambda blank: f'{blank[1]}raise NotImplementedError("your turn: {blank[2]}")\n', code)


def solved(code: str) -> str:
    """The code without the marks of the blanks."""
    return BLANK.sub(lambda blank: blank[3], code)


@functools.cache
def lesson(number: int) -> Lesson:
    """The lesson of that number."""
    path = resources.files("pancake.workshop.lessons") / f"lesson_{number:02}.md"
    text = path.read_text(encoding="utf-8")
    cells: list[Cell] = []
    hints: dict[str, tuple[str, ...]] = {}
    end = 0
    for block in BLOCK.finditer(text):
        language, name, body = block.groups()
        if prose := text[end : block.start()].strip("\n"):
            cells.append(Cell("prose", prose))
        if language == "hint":
            hints[name] = (*hints.get(name, ()), body.strip("\n"))
            if len(hints[name]) == 1:
                cells.append(Cell("hints", exercise=name))
        else:
            cells.append(Cell("code", body, name))
        end = block.end()
    if prose := text[end:].strip("\n"):
        cells.append(Cell("prose", prose))
    title = text.partition("\n")[0].removeprefix("# ")
    return Lesson(
        number, title, tuple(Cell("hints", "", c.exercise, hints[c.exercise]) if c.kind == "hints" else c for c in cells)
    )
