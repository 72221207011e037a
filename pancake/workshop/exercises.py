"""The exercises, each with its lesson and its judge; and the two helpers that lessons call."""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pancake
from pancake.workshop.judges.activations import relu, sigmoid
from pancake.workshop.judges.build import build
from pancake.workshop.judges.cell import cell
from pancake.workshop.judges.cross_entropy import cross_entropy
from pancake.workshop.judges.linear import linear
from pancake.workshop.judges.momentum import momentum
from pancake.workshop.judges.own import own
from pancake.workshop.judges.slopes import derivatives, slope
from pancake.workshop.judges.square_and_mul import mul, square
from pancake.workshop.judges.stack import stack
from pancake.workshop.judges.train import train
from pancake.workshop.lesson import LESSONS, lesson
from pancake.workshop.program import read
from pancake.workshop.verdicts import RIGHT, Open, Verdict, blanks, outcome

# Set while `check` judges, so that a lesson is not judged by what was left open in an earlier one.
JUDGING = "PANCAKE_WORKSHOP_JUDGES"


@dataclass(frozen=True)
class Exercise:
    """An exercise of a lesson.

    Attributes
    ----------
    name : str
        Of the class or function that participants write.
    lesson : int
    judge : callable
        Takes it, and raises `Wrong` or `Open` unless it is right.
    """

    name: str
    lesson: int
    judge: Callable[[Any], None]


EXERCISES = {
    exercise.name: exercise
    for exercise in (
        Exercise("derivatives", 1, derivatives),
        Exercise("slope", 1, slope),
        Exercise("Square", 2, square),
        Exercise("Mul", 2, mul),
        Exercise("Stack", 3, stack),
        Exercise("Linear", 4, linear),
        Exercise("Sigmoid", 5, sigmoid),
        Exercise("ReLU", 5, relu),
        Exercise("CrossEntropy", 5, cross_entropy),
        Exercise("train", 6, train),
        Exercise("Momentum", 7, momentum),
        Exercise("build", 8, build),
        Exercise("Own", 9, own),
        Exercise("Cell", 10, cell),
    )
}


def judge(solution: Any) -> None:
    """Judge a class or function of a lesson where it stands, and print one line: open, right, or what is wrong.

    A script ends there unless it is right, with that line as its last and exit status 1. A notebook goes on.

    Parameters
    ----------
    solution : type or function
        Under the name that the lesson gave it.

    Raises
    ------
    LookupError
        If no lesson has an exercise of that name.
    """
    name = getattr(solution, "__name__", type(solution).__name__)
    if name not in EXERCISES:
        got = name if hasattr(solution, "__name__") else repr(solution)
        raise LookupError(f"judge: expected one of {', '.join(EXERCISES)}, got {got}")
    exercise = EXERCISES[name]

    def run() -> None:
        with contextlib.suppress(OSError, TypeError, SyntaxError):  # where the source cannot be had, the blank tells itself
            lines, first = inspect.getsourcelines(solution)
            left = blanks(ast.parse(textwrap.dedent("".join(lines))).body[0], max(first, 1))
            if left:
                raise Open("; ".join(left))
        with contextlib.redirect_stdout(io.StringIO()):
            exercise.judge(solution)

    file = ""
    with contextlib.suppress(OSError, TypeError):
        file = inspect.getfile(solution)
    verdict = Verdict(name, exercise.lesson, *outcome(run, {file}))
    print(line(verdict))
    if verdict.status != RIGHT and _stands_in_a_script(solution):
        sys.exit(1)  # what comes below needs it, and would bury the line


def _stands_in_a_script(solution: Any) -> bool:
    main = sys.modules["__main__"]
    in_a_prompt = hasattr(builtins, "__IPYTHON__") or sys.flags.interactive  # also what editors send to one
    return getattr(solution, "__module__", "") == "__main__" and hasattr(main, "__file__") and not in_a_prompt


def line(verdict: Verdict, width: int = 12) -> str:
    """A verdict in one line."""
    where = f"lesson {verdict.lesson:2}  " if verdict.lesson else ""
    return f"{where}{verdict.exercise:{width}}  {verdict.status:5}  {verdict.sentence}".rstrip()


def yours(name: str) -> Any:
    """Your own solution of an exercise of another lesson, if it stands in this folder and is right; else pancake's own.

    It prints which of the two it is. `check` always takes pancake's, so that each lesson is judged by itself.

    Parameters
    ----------
    name : str
        Of an exercise: "Linear".

    Raises
    ------
    LookupError
        If no lesson has an exercise of that name.
    """
    if name not in EXERCISES:
        raise LookupError(f"yours: expected one of {', '.join(EXERCISES)}, got {name!r}")
    theirs = _ours(name)
    if os.environ.get(JUDGING):
        return theirs
    main = getattr(sys.modules["__main__"], "__file__", None)
    folder = Path(main).parent if main and Path(main).suffix == ".py" else Path.cwd()
    found = [folder / f"{lesson(EXERCISES[name].lesson).name}{suffix}" for suffix in (".py", ".ipynb")]
    reasons = []
    for path in found:
        if not path.exists():
            continue
        solution, status = _loaded(path, name)
        if status == RIGHT:
            print(f"{name}: yours, from {path.name}")
            return solution
        reasons.append(f"{path.name} is {status}")
    print(f"{name}: pancake's" + (f" ({' and '.join(reasons)})" if reasons else ""))
    return theirs


def _loaded(path: Path, name: str) -> tuple[Any, str]:
    """What a file has under a name, and whether that is right."""
    loaded: list[Any] = []
    program = read(path)

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            loaded.append(program.load(name))
            EXERCISES[name].judge(loaded[0])

    status, _ = outcome(run, program.files)
    return (loaded[0] if loaded else None), status


def _ours(name: str) -> Any:
    """The library's own where it has one, else the solution of the lesson."""
    if hasattr(pancake, name):
        return getattr(pancake, name)
    namespace: dict[str, Any] = {"__name__": "pancake.workshop.solution"}
    exec("import numpy as np\nimport pancake as pk\nfrom pancake import Function\n" + _solution(name), namespace)
    return namespace[name]


def _solution(name: str) -> str:
    return lesson(EXERCISES[name].lesson).solution(name)


def all_exercises() -> list[str]:
    """The names of the exercises in the order of the lessons."""
    return [name for number in LESSONS for name in lesson(number).exercises]
