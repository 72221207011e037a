"""Every class of the library as an exercise: with its blank it is open, as it was it is right, and with a fault it is wrong."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake import Function
from pancake.losses.loss import Loss
from pancake.optimizers.optimizer import Optimizer
from pancake.testing.faults import Fault, faults
from pancake.testing.mutation import own_functions, planted
from pancake.testing.strategies import library_classes
from pancake.workshop.blanks import blank, classes, original
from pancake.workshop.examples import examples_of
from pancake.workshop.isolation import judged
from pancake.workshop.library import judge_class, judge_examples
from pancake.workshop.program import read
from pancake.workshop.verdicts import Open, Wrong, outcome

CLASSES = classes()
EXERCISES = [(name, False) for name in CLASSES]
EXERCISES += [(name, True) for name, cls in CLASSES.items() if not issubclass(cls, Optimizer)]
# Of every kind a few are looked at in every run, and of these all faults are planted when it may take long.
FEW = [("Tanh", False), ("MeanSquaredError", True), ("SGD", False), ("MaxPool1d", False)]
FAULTS_OF = ["Linear", "LayerNorm", "Softmax", "CrossEntropy", "GRUCell"]


def marked(exercises: list[tuple[str, bool]]) -> list[Any]:
    marks = {pair: [] if pair in FEW else [pytest.mark.slow] for pair in exercises}
    return [pytest.param(*pair, marks=marks[pair], id=f"{pair[0]}{'-forward' if pair[1] else ''}") for pair in exercises]


@pytest.fixture(autouse=True)
def plain_pages() -> Iterator[None]:
    with pk.fast.off():
        yield


def loaded(text: str, folder: Path) -> Any:
    path = folder / "solution.py"
    path.write_text(text, encoding="utf-8")
    return read(path)


@pytest.mark.slow
def test_every_class_of_the_library_is_an_exercise() -> None:
    everything = [cls for base in (Function, Loss, Optimizer) for cls in library_classes(base)]
    everything = [cls for cls in everything if not cls.__module__.startswith(("pancake.workshop", "pancake.sklearn"))]
    assert {cls.__name__ for cls in everything} == set(CLASSES)
    assert all(hasattr(pk, name) for name in CLASSES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if i % 8 == 0 else pytest.mark.slow) for i, name in enumerate(CLASSES)]
)
def test_a_blank_is_open_and_says_nothing_of_what_was_left_out(name: str, tmp_path: Path) -> None:
    for forward in (False, True)[: 1 if issubclass(CLASSES[name], Optimizer) else 2]:
        check_blank(name, forward, tmp_path)


def check_blank(name: str, forward: bool, tmp_path: Path) -> None:
    cls, text = CLASSES[name], blank(CLASSES[name], forward=forward)
    assert "python -m pancake.workshop check" in text
    assert ast.get_docstring(ast.parse(text).body[-1]) == ast.get_docstring(ast.parse(original(cls, forward=forward)).body[-1])
    program = loaded(text, tmp_path)
    assert program.header == f"pancake.{name}{' --forward' if forward else ''}"
    with pytest.raises(Open, match=r"line \d+"):
        program.load(name)
    exec(compile(text, "the blank", "exec"), {"__name__": "blank"})  # it runs as it is
    [tree] = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    left_out = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and "your turn" in ast.unparse(node)]
    assert left_out
    assert all(len(node.body) - bool(ast.get_docstring(node)) == 1 for node in left_out)
    assert "accumulate_grads" not in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] or forward


@pytest.mark.parametrize(("name", "forward"), marked(EXERCISES))
def test_the_original_is_right(name: str, forward: bool, tmp_path: Path) -> None:
    program = loaded(original(CLASSES[name], forward=forward), tmp_path)
    assert outcome(lambda: judge_class(CLASSES[name], program.load(name), forward=forward)) == ("right", "")


def module_of(text: str, folder: Path) -> Any:
    """The text as a module that `inspect` can read, which planting faults needs."""
    name = f"workshop_solution_{len(sys.modules)}"
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_faults_are_wrong(tmp_path: Path) -> None:
    """One fault in the backward of Tanh; those of all classes are planted below."""
    assert survivors("Tanh", tmp_path, most=1) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if not issubclass(cls, Optimizer)])
def test_the_faults_of_every_class_are_wrong(name: str, tmp_path: Path) -> None:
    assert survivors(name, tmp_path, most=1000 if name in FAULTS_OF else 2) == []


def survivors(name: str, folder: Path, most: int) -> list[str]:
    """The faults that are judged to be right: of each function of the backward as many as `most`, if they are no equivalents."""
    from make_mutation_score import EQUIVALENT

    solution = getattr(module_of(original(CLASSES[name]), folder), name)
    drawn = examples_of(CLASSES[name], solution)
    left = []
    for owner, method, function in own_functions(solution):
        # In which precision sums are made is asked of the library's own classes alone.
        planted_here = (fault for fault in faults(function) if "wide(" not in fault.change)
        real = (fault for fault in planted_here if (fault.text, fault.change) not in EQUIVALENT)
        for fault in itertools.islice(real, most):
            with planted(owner, method, fault), np.errstate(all="ignore"):
                try:
                    judge_examples(CLASSES[name], drawn)
                except (Wrong, Exception):  # whatever the fault has done
                    continue
            left.append(f"{fault.where}, line {fault.line}: {fault.change}")
    return left


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if not issubclass(cls, Optimizer)])
def test_faults_in_the_forward_of_every_class_are_wrong(name: str, tmp_path: Path) -> None:
    """Some that can be planted change nothing, a check of what comes in that is left out for example; not all."""
    solution = getattr(module_of(original(CLASSES[name], forward=True), tmp_path), name)
    drawn = examples_of(CLASSES[name], solution)
    own = [(method, function) for owner, method, function in own_functions(solution, forward=True) if owner is solution]
    assert any(is_refused(CLASSES[name], solution, method, fault, drawn) for method, f in own for fault in faults(f))


def is_refused(cls: type[Any], solution: type[Any], method: str, fault: Fault, drawn: list[Any]) -> bool:
    with planted(solution, method, fault), np.errstate(all="ignore"):
        try:
            judge_examples(cls, drawn, forward=True)
        except Exception:  # of the judge, or whatever the fault has done
            return True
    return False


OPTIMIZER_FAULTS = {
    "SGD": ("p -= work", "p += work"),
    "Adam": ("p -= work", "p -= 2 * work"),
    "AdamW": ("1 - self._lr", "1 + self._lr"),
    "RMSprop": ("self._weight_decay * p", "self._weight_decay"),
    "Adagrad": ("p -= work", "p = p - work"),
}


@pytest.mark.parametrize("name", OPTIMIZER_FAULTS)
def test_faults_of_optimizers_are_wrong(name: str, tmp_path: Path) -> None:
    text = original(CLASSES[name])
    old, new = OPTIMIZER_FAULTS[name]
    assert old in text
    program = loaded(text.replace(old, new), tmp_path)
    status, sentence = outcome(lambda: judge_class(CLASSES[name], program.load(name)))
    assert status == "wrong"
    assert f"{name}(model, lr=0.1" in sentence


def test_faults_of_a_forward_are_wrong(tmp_path: Path) -> None:
    for name, old, new in (
        ("Tanh", "np.tanh(", "np.sinh("),
        ("BatchNorm", "running += self.momentum", "running += 2 * self.momentum"),
    ):
        text = original(CLASSES[name], forward=True)
        assert old in text
        program = loaded(text.replace(old, new), tmp_path)
        status, sentence = outcome(lambda: judge_class(CLASSES[name], program.load(name), forward=True))  # noqa: B023
        assert status == "wrong", name
        assert "compute_forward" in sentence


@pytest.mark.slow
def test_a_dropout_that_draws_otherwise_is_right(tmp_path: Path) -> None:
    text = original(CLASSES["Dropout"], forward=True)
    assert "self.rng.random(" in text
    other = text.replace("self.rng.random(", "1 - self.rng.random(")
    for program, status in ((other, "right"), (other.replace("1 / (1 - self.p)", "1 / self.p"), "wrong")):
        found = loaded(program, tmp_path)
        assert outcome(lambda: judge_class(CLASSES["Dropout"], found.load("Dropout"), forward=True))[0] == status  # noqa: B023


@pytest.mark.slow
def test_a_blank_is_judged_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(original(CLASSES["Square"]).replace("2 * x", "3 * x"))
    status, sentence = judged(path, "pancake.Square")
    assert status == "wrong"
    assert "constant ratio 1.5" in sentence
    with contextlib.suppress(OSError):
        path.unlink()
