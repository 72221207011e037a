"""The tables of the workshop's tests: for each exercise usual mistakes, with what is said of them, and right solutions.

`mistakes/NAME.txt` has blocks with a piece of the sentence that a participant gets, and the lines by which the mistake differs
from the solution; `right/NAME.txt` has whole programs, with a line ===== between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pancake.workshop.exercises import EXERCISES
from pancake.workshop.lesson import lesson

HERE = Path(__file__).parent
BEFORE = {
    "Square": "class Piece(Function):\n    formula = ''\n",
    "Mul": "class Piece(Function):\n    formula = ''\n",
    "build": "from pancake import Linear, ReLU\n",
}


@dataclass(frozen=True)
class Mistake:
    """A program with a mistake, and what is to be said of it."""

    sentence: str
    program: str


def solution(exercise: str) -> str:
    """The solution of the lesson, with what stands before it there."""
    head = "import numpy as np\nimport pancake as pk\nfrom pancake import Function\n"
    return head + BEFORE.get(exercise, "") + lesson(EXERCISES[exercise].lesson).solution(exercise)


def mistakes(exercise: str) -> list[Mistake]:
    """Those of an exercise."""
    text = (HERE / "mistakes" / f"{exercise}.txt").read_text(encoding="utf-8")
    return [_mistake(exercise, block.splitlines()) for block in text.strip("\n").split("\n\n")]


def _mistake(exercise: str, lines: list[str]) -> Mistake:
    program = solution(exercise)
    sentence, *rest = lines
    while rest:
        old, new = [], []
        while rest and rest[0].startswith("-"):
            old.append(rest.pop(0)[2:])
        while rest and rest[0].startswith("+"):
            new.append(rest.pop(0)[2:])
        before = "\n".join(old)
        assert before
        assert before in program, f"{exercise}: {before!r} is not in the solution"
        program = program.replace(before, "\n".join(new))
    return Mistake(sentence, program)


def right(exercise: str) -> list[str]:
    """The right solutions of an exercise."""
    text = (HERE / "right" / f"{exercise}.txt").read_text(encoding="utf-8")
    return text.split("\n=====\n")
