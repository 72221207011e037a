"""`check`: judges files and folders of one participant or of many, and tells it as lines, as a table, or as JSON."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pancake.workshop.exercises import EXERCISES, all_exercises, line
from pancake.workshop.isolation import judged
from pancake.workshop.lesson import LESSONS, lesson
from pancake.workshop.library import name_of
from pancake.workshop.program import Program, read
from pancake.workshop.verdicts import OPEN, RIGHT, WRONG, Verdict

NAMED = re.compile(r"lesson[ _-]?0*(\d+)", flags=re.IGNORECASE)
COPY = re.compile(r"\(\d+\)|[ _-]+copy\d*$", flags=re.IGNORECASE)  # what browsers and Jupyter add to a name that is taken
BEST = (RIGHT, WRONG, OPEN)


@dataclass
class Submission:
    """What one participant has handed in.

    Attributes
    ----------
    participant : str
        "" if there is only one.
    files : list of Path
    verdicts : list of Verdict
        One for each exercise, in the order of the lessons; none if there is nothing to judge.
    """

    participant: str
    files: list[Path]
    verdicts: list[Verdict] = field(default_factory=list)


def submissions(*paths: Path) -> list[Submission]:
    """Who has handed in what: files, folders of files, or folders of the folders or files of many.

    Raises
    ------
    ValueError
        If there is nothing that could be judged.
    """
    each = [_submissions(path) for path in paths]
    if len(each) == 1:
        return each[0]
    people: dict[str, list[Path]] = {}
    for path, found in zip(paths, each, strict=True):
        for submission in found:
            name = _participant(path) if path.is_file() else submission.participant or path.resolve().name
            people.setdefault(name, []).extend(submission.files)
    if len(people) > 1 and "" in people:
        people["(no name)"] = people.pop("")
    return [Submission(name, list(dict.fromkeys(files))) for name, files in sorted(people.items())]


def _submissions(path: Path) -> list[Submission]:
    if not path.exists():
        raise ValueError(f"check: there is no {path}")
    if path.is_file():
        if path.suffix not in (".py", ".ipynb"):
            raise ValueError(f"check: expected a script (.py), a notebook (.ipynb) or a folder, got {path}")
        return [Submission("", [path])]
    people: dict[str, list[Path]] = {}
    for file in _files(path):
        people.setdefault(_participant(file), []).append(file)
    unnamed = people.pop("", [])
    folders = {child.name: _files(child, deep=True) for child in sorted(path.iterdir()) if child.is_dir() and _counts(child)}
    if unnamed:  # beside the lessons of one participant a folder with nothing to judge holds pictures or data
        folders = {name: files for name, files in folders.items() if files}
    for name, files in folders.items():
        people[name] = people.get(name, []) + files
    if unnamed and not people:
        return [Submission("", unnamed)]
    if not any((unnamed, *people.values())):
        raise ValueError(f"check: there is no script and no notebook with an exercise in {path}")
    if unnamed:
        people["(in the folder itself)" if folders else "(no name)"] = unnamed
    return [Submission(name, files) for name, files in sorted(people.items())]


def _counts(path: Path) -> bool:
    return not path.name.startswith((".", "__"))


def _files(folder: Path, *, deep: bool = False) -> list[Path]:
    """The scripts and notebooks in a folder that belong to a lesson or have an exercise in them."""
    found = list(folder.rglob("*") if deep else folder.iterdir())
    # The latest first, and scripts before notebooks: where two files are equally far, the sentence is about the first.
    found = [f for f in found if f.is_file()]  # a symbolic link may lead nowhere
    by_age = sorted(found, key=lambda f: (-int(f.stat().st_mtime), f.suffix != ".py", f.name))
    files = [f for f in by_age if f.suffix in (".py", ".ipynb") and _counts(f)]
    files = [f for f in files if not any(part.startswith((".", "__")) for part in f.relative_to(folder).parts)]
    return [f for f in files if _exercises(f)]


def _participant(file: Path) -> str:
    """The name in a file name like anna_lesson_04.py."""
    rest = COPY.sub("", NAMED.sub("", file.stem)) if NAMED.search(file.stem) else ""
    return rest.strip(" _-.")


def _exercises(file: Path) -> list[tuple[str, int | None]]:
    """The exercises in a file, each with its lesson: those of the lesson that it is named after, or that it defines."""
    named = NAMED.search(file.stem)
    if named and int(named[1]) in LESSONS:
        return [(name, int(named[1])) for name in lesson(int(named[1])).exercises]
    program = read(file)
    if program.header:
        return [(program.header, None)]
    return [(name, EXERCISES[name].lesson) for name in all_exercises() if name in program.defined()]


def check(*paths: Path, only: int | None = None) -> list[Submission]:
    """Judge all that is there, each exercise in a process of its own.

    Parameters
    ----------
    *paths : Path
        Scripts, notebooks, folders of them, or folders of the folders or files of many participants.
    only : int, optional
        One lesson. A single file of any name is then taken to be that lesson.

    Raises
    ------
    ValueError
        If there is nothing that could be judged, a file cannot be read, or hypothesis is missing where it is needed.
    """
    found = submissions(*paths)
    alone = len(paths) == 1 and paths[0].is_file()
    jobs: list[tuple[Submission, Path, str, int | None]] = []
    for submission in found:
        for file in submission.files:
            exercises = _exercises(file)
            if only is not None:
                wanted: list[tuple[str, int | None]] = [(name, only) for name in lesson(only).exercises]
                exercises = wanted if alone else [pair for pair in exercises if pair in wanted]
            if not exercises and file in paths and (errors := read(file).errors):  # what is in it nobody knows
                raise ValueError(f"check: {'' if errors[0].startswith(file.name) else f'{file.name}, '}{errors[0]}")
            jobs += [(submission, file, name, number) for name, number in exercises]
    if not jobs:
        raise ValueError(f"check: there is no exercise{f' of lesson {only}' if only else ''} in {', '.join(map(str, paths))}")
    _needs_hypothesis([file for _, file, _, number in jobs if number is None])
    # Read before there are threads: ast.parse keeps one depth of nesting for all of them, and fails if two are in it.
    known = [_known(read(file), name) for _, file, name, _ in jobs]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(lambda job, seen: seen or judged(job[1], job[2]), jobs, known))
    for (submission, file, name, number), (status, sentence) in zip(jobs, results, strict=True):
        submission.verdicts.append(Verdict(name, number, status, sentence, file.name))
    for submission in found:
        submission.verdicts = _best(submission.verdicts)
    return found


def _needs_hypothesis(blanks: list[Path]) -> None:
    """Classes of the library are judged on inputs that hypothesis draws; the lessons are not."""
    if blanks:
        try:
            importlib.import_module("hypothesis")
        except ImportError:
            raise ValueError(f"check: to judge {blanks[0]} hypothesis is needed: pip install hypothesis") from None


def _known(program: Program, exercise: str) -> tuple[str, str] | None:
    """Status and sentence of what is open or unreadable; None if it has to be run."""
    name = name_of(exercise)
    if name in program.defined():
        left = program.open_blanks(name)
        return (OPEN, "; ".join(left)) if left else None
    return (WRONG, program.errors[0]) if program.errors else (OPEN, f"there is no {name} in {program.path.name}")


def _best(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Of an exercise that stands in several files, such as the script and the notebook, the one that is furthest."""
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        other = found.get(verdict.exercise)
        if other is None or BEST.index(verdict.status) < BEST.index(other.status):
            found[verdict.exercise] = verdict
    order = {name: number for number, name in enumerate(all_exercises())}
    return sorted(found.values(), key=lambda v: order.get(v.exercise, len(order)))


def as_text(found: list[Submission]) -> str:
    """One line for each exercise; of many participants a table, and then the sentences."""
    if len(found) == 1 and not found[0].participant:
        width = max(len(v.exercise) for v in found[0].verdicts)
        return "\n".join([*(line(v, width) for v in found[0].verdicts), summary(found)])
    exercises = [name for name in all_exercises() if any(v.exercise == name for s in found for v in s.verdicts)]
    exercises += [v.exercise for s in found for v in s.verdicts if v.exercise not in exercises]
    exercises = list(dict.fromkeys(exercises))
    people = max(len(s.participant) for s in found)
    lines = ["  ".join([" " * people, *(f"{name:5}" for name in exercises)]).rstrip()]
    for submission in found:
        status = {v.exercise: v.status for v in submission.verdicts}
        cells = ["nothing to judge"] if not status else []
        cells += [f"{status.get(name, '-'):{max(len(name), 5)}}" for name in exercises if status]
        lines.append("  ".join([f"{submission.participant:{people}}", *cells]).rstrip())
    lines.append("")
    for submission in found:
        for v in submission.verdicts:
            if v.status == WRONG:
                lines.append(f"{submission.participant}: {v.exercise}: {v.sentence}")
    return "\n".join([*lines, summary(found)])


def summary(found: list[Submission]) -> str:
    """How many are right, wrong and open."""
    statuses = [v.status for s in found for v in s.verdicts]
    return ", ".join(f"{statuses.count(status)} {status}" for status in BEST)


def as_json(found: list[Submission]) -> str:
    """All verdicts, for a program to read."""
    contents = [
        {
            "participant": submission.participant,
            "exercises": [
                {"lesson": v.lesson, "exercise": v.exercise, "status": v.status, "sentence": v.sentence, "file": v.file}
                for v in submission.verdicts
            ],
        }
        for submission in found
    ]
    return json.dumps({"submissions": contents}, indent=1, ensure_ascii=False)


def all_right(found: list[Submission]) -> bool:
    """Whether everybody has something to judge, and every exercise is right."""
    return all(s.verdicts and all(v.status == RIGHT for v in s.verdicts) for s in found)
