"""The judges: usual mistakes are refused with the right sentence, right solutions accepted however they are written."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workshop_tables import mistakes, right, solution

from pancake import Function
from pancake.workshop import judge, yours
from pancake.workshop.exercises import EXERCISES, all_exercises
from pancake.workshop.program import read
from pancake.workshop.verdicts import outcome, with_advice

each_exercise = pytest.mark.parametrize("exercise", EXERCISES)


def judged(exercise: str, program: str, folder: Path) -> tuple[str, str]:
    path = folder / "solution.py"
    path.write_text(program, encoding="utf-8")
    found = read(path)
    with contextlib.redirect_stdout(io.StringIO()):
        return outcome(lambda: EXERCISES[exercise].judge(found.load(exercise)), found.files)


def test_every_exercise_of_the_lessons_has_a_judge() -> None:
    assert all_exercises() == [*EXERCISES]


@each_exercise
def test_twenty_usual_mistakes_are_refused_with_the_right_sentence(exercise: str, tmp_path: Path) -> None:
    table = mistakes(exercise)
    assert len({mistake.program for mistake in table}) == len(table) >= 20
    for mistake in table:
        status, sentence = judged(exercise, mistake.program, tmp_path)
        assert (status, mistake.sentence in sentence) == ("wrong", True), f"{sentence!r}\n\n{mistake.program}"


SOLUTIONS = [
    pytest.param(name, number, marks=[] if number < 1 else pytest.mark.slow) for name in EXERCISES for number in range(10)
]


@pytest.mark.parametrize(("exercise", "number"), SOLUTIONS)
def test_different_right_solutions_are_accepted(exercise: str, number: int, tmp_path: Path) -> None:
    programs = right(exercise)
    assert len(set(programs)) == len(programs) == 10
    assert judged(exercise, programs[number], tmp_path) == ("right", "")


BY_FIT = """import pancake as pk
def train(model, loss, optimizer, X, y, steps):
    return pk.fit(model, loss, optimizer, X, y, epochs=steps, batch_size=len(X), shuffle=False, progress=False)["loss"]
"""


@pytest.mark.parametrize(
    "program", [BY_FIT, solution("train").replace("optimizer.step()", "optimizer.step(); loss(model(X), y)")]
)
def test_a_loss_that_is_called_once_more_between_the_steps_is_no_objective(program: str, tmp_path: Path) -> None:
    assert judged("train", program, tmp_path) == ("right", "")


def test_of_the_objectives_the_first_that_differs_is_told(tmp_path: Path) -> None:
    late = solution("train").replace("return objectives", "return objectives[:2] + [0.5 * o for o in objectives[2:]]")
    status, sentence = judged("train", late, tmp_path)
    assert status == "wrong"
    assert re.match(r"objective 2 that it returned is 0\.36\d*, and the loss said 0\.73\d* before step 3", sentence)


@each_exercise
def test_the_solution_of_the_lesson_is_right(exercise: str, tmp_path: Path) -> None:
    assert judged(exercise, solution(exercise), tmp_path) == ("right", "")


# --- what a participant may do at the top of a file, and what counts as a blank ---

BLANKS = [
    ("        self.x = x\n        return x**2", "        ...", "compute_forward"),
    ("        self.x = x\n        return x**2", "        self.x = x\n        return ...", "compute_forward"),
    ("return dObj_dOut * 2 * self.x", "return dObj_dOut * ...", "compute_backward"),
    ("return dObj_dOut * 2 * self.x", "d = ...\n        return d", "compute_backward"),
    ("return dObj_dOut * 2 * self.x", "raise NotImplementedError", "compute_backward"),
    ("return dObj_dOut * 2 * self.x", "return np.multiply(..., self.x)", "compute_backward"),
    ("return dObj_dOut * 2 * self.x", "if len(self.x):\n            raise NotImplementedError('later')", "later"),
    ("return dObj_dOut * 2 * self.x", "return half(dObj_dOut)", "half"),
]


@pytest.mark.parametrize(("old", "new", "part"), BLANKS)
def test_a_blank_is_open_and_the_part_is_named(old: str, new: str, part: str, tmp_path: Path) -> None:
    helper = "def half(d):\n    raise NotImplementedError('half is still open')\n"
    status, sentence = judged("Square", helper + solution("Square").replace(old, new), tmp_path)
    assert status == "open"
    assert part in sentence
    assert "compute_forward" not in sentence or part == "compute_forward"


def test_an_ellipsis_that_is_an_index_is_no_blank(tmp_path: Path) -> None:
    program = solution("Square").replace("return x**2", "return x[...] * x[..., :]")
    assert judged("Square", program, tmp_path) == ("right", "")


def test_an_exercise_that_is_not_there_is_open(tmp_path: Path) -> None:
    assert judged("Square", "x = 1\n", tmp_path) == ("open", "there is no Square in solution.py")


AROUND = """
from __future__ import annotations
import os, sys
from math import *
import matplotlib.pyplot as plt
raise SystemExit("never run")
sys.path.append(".")
TWO = 2
registry = {}
for word in ("one", "two"):
    registry[word] = TWO
def helper(x: SomeTypeThatIsNowhere):
    return registry["two"] * x
answer = input("your name? ")
x = np.zeros(10**12)
plt.show()
while True:
    pass
"""


def test_only_what_an_exercise_needs_is_run(tmp_path: Path) -> None:
    program = AROUND + solution("Square").replace("dObj_dOut * 2 * self.x", "dObj_dOut * helper(self.x)") + "\nSquare()(...)\n"
    assert judged("Square", program, tmp_path) == ("right", "")


def test_what_an_exercise_needs_and_has_not_is_named(tmp_path: Path) -> None:
    program = "import a_package_that_is_nowhere as a\n" + solution("Square").replace("x**2", "a.square(x)")
    status, sentence = judged("Square", program, tmp_path)
    assert status == "wrong"
    assert "line 1: ModuleNotFoundError" in sentence


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("exit()", "ends the program"),
        ("input('?')", "asks for input"),
        ("np.zeros((10**7, 10**7))", "more memory"),
        ("self.compute_forward(x)", "calls itself without end"),
        ("1 / 0", "in compute_forward: ZeroDivisionError"),
        ("raise KeyError('k')", "in compute_forward: KeyError"),
        ("raise type('Silent', (Exception,), {'__str__': lambda self: 1 / 0})", "in compute_forward: Silent"),
    ],
)
def test_whatever_a_solution_does_is_told_in_a_sentence(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    program = solution("Square").replace("return x**2", f"{line}\n        return x**2")
    status, sentence = judged("Square", program, tmp_path)
    assert status == "wrong"
    assert said in sentence


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("'Square' object has no attribute 'x'", "; does forward keep it in self?"),
        ("'list' object has no attribute 'T'", "; lists have no arithmetic; np.array makes an array of one"),
        ("'NoneType' object has no attribute 'T'", ""),
        ("'numpy.ndarray' object has no attribute 'exp'", ""),
        ("'float' object has no attribute 'shape'", ""),
    ],
)
def test_only_an_object_of_the_participant_s_is_asked_whether_it_keeps_something(error: str, advice: str) -> None:
    assert with_advice(f"line 3: AttributeError: {error}") == f"line 3: AttributeError: {error}{advice}"


# --- in a notebook ---


class Square(Function):
    def compute_forward(self, x: Any) -> Any:
        self.x = x
        return x**2

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return dObj_dOut * self.x


def test_judge_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    judge(Square)
    assert "lesson  2  Square        wrong  compute_backward: dObj_dIn" in capsys.readouterr().out
    with pytest.raises(LookupError, match="judge: expected one of derivatives, slope"):
        judge(Function)
    for given, said in ((3, "got 3"), (Function, "got Function")):
        with pytest.raises(LookupError, match=f"{said}$"):
            judge(given)


def test_yours_takes_what_is_right_and_else_the_library_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pancake as pk

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [""])
    monkeypatch.delattr("__main__.__file__", raising=False)
    assert yours("Square") is pk.Square
    assert capsys.readouterr().out == "Square: pancake's\n"
    (tmp_path / "lesson_02.py").write_text(solution("Square").replace("* 2 *", "*"))
    assert yours("Square") is pk.Square
    assert capsys.readouterr().out == "Square: pancake's (lesson_02.py is wrong)\n"
    (tmp_path / "lesson_02.py").write_text(solution("Square"))
    mine = yours("Square")
    assert mine is not pk.Square
    np.testing.assert_array_equal(mine()(np.array([3.0])), [9.0])
    assert capsys.readouterr().out == "Square: yours, from lesson_02.py\n"
    assert yours("train").__module__ == "pancake.workshop.solution"
    monkeypatch.setenv("PANCAKE_WORKSHOP_JUDGES", "1")
    assert yours("Square") is pk.Square
    with pytest.raises(LookupError, match="yours: expected one of"):
        yours("Sqare")


def test_single_precision_is_right(tmp_path: Path) -> None:
    linear = solution("Linear").replace("self.x = x", "self.x = x = x.astype(np.float32)")
    for name in ("weight", "bias", "grad_weight", "grad_bias"):
        linear = linear.replace(f"self.{name} = ", f"self.{name} = np.float32(1) * ")
    linear = linear.replace(
        "np.float32(1) * rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)", "np.ones((n_out, n_in), np.float32)"
    )
    linear = linear.replace("np.float32(1) * np.zeros(n_out)", "np.zeros(n_out, np.float32)")
    linear = linear.replace("np.float32(1) * np.zeros((n_out, n_in))", "np.zeros((n_out, n_in), np.float32)")
    assert "np.float32(1)" not in linear
    assert judged("Linear", linear, tmp_path) == ("right", "")


@pytest.mark.parametrize("wrong", ["np.zeros((len(dObj_dOut), self.weight.shape[1]))", "2 * dObj_dOut @ self.weight"])
def test_weights_that_begin_as_zeros_hide_no_wrong_gradient(wrong: str, tmp_path: Path) -> None:
    zeros = solution("Linear").replace("rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)", "np.zeros((n_out, n_in))")
    assert zeros != solution("Linear")
    assert judged("Linear", zeros, tmp_path) == ("right", "")
    status, sentence = judged("Linear", zeros.replace("dObj_dOut @ self.weight", wrong), tmp_path)
    assert status == "wrong"
    assert "of x wrong" in sentence


@pytest.mark.parametrize("exercise", ["Square", "Mul", "Stack", "Linear", "Sigmoid", "ReLU", "CrossEntropy", "Own", "Cell"])
@pytest.mark.parametrize("place", ["the class", "a dict"])
def test_what_forward_remembers_belongs_to_the_instance(exercise: str, place: str, tmp_path: Path) -> None:
    lines, name = [], ""
    for text in solution(exercise).splitlines():
        if (found := re.match(r"    def (\w+)", text)) is not None:
            name = found[1]
        shared = f"{exercise}." if place == "the class" else "memory."
        remembers = r"self\.(?!(?:grad_)?(?:weight|bias|k|a|W|U|b)\b)(?=\w)"
        lines.append(re.sub(remembers, shared, text) if name.startswith("compute_") else text)
    program = "import types\nmemory = types.SimpleNamespace()\n" + "\n".join(lines)
    if exercise == "Stack":
        program = solution("Stack").replace("self.pieces = ", "Stack.pieces = ").replace("in self.pieces", "in Stack.pieces")
    assert program != solution(exercise)
    status, sentence = judged(exercise, program, tmp_path)
    assert status == "wrong", program
    assert ("two instances share" if exercise == "Stack" else "shared by all instances; keep it in self") in sentence
