"""The workshop in a terminal.

python -m pancake.workshop new FOLDER                 ten lessons, each a notebook and a script
python -m pancake.workshop check FILE_OR_FOLDER ...   what is open, right and wrong
python -m pancake.workshop hint NAME [1|2|3]          a nudge, the formula, the line
python -m pancake.workshop solution LESSON            the script with its blanks filled
python -m pancake.workshop blank pancake.LayerNorm    a class of the library as an exercise
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import sys
from pathlib import Path
from typing import NoReturn

from pancake.workshop.exercises import EXERCISES
from pancake.workshop.lesson import LESSONS, lesson


class _Parser(argparse.ArgumentParser):
    """One line for bad arguments, and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m pancake.workshop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="new|check|hint|solution|blank", parser_class=_Parser)
    new = commands.add_parser("new", help="write the lessons into a folder; nothing is overwritten")
    new.add_argument("folder", type=Path)
    check = commands.add_parser("check", help="judge scripts, notebooks, folders of them, or the folders of many participants")
    check.add_argument("paths", type=Path, nargs="+", metavar="FILE_OR_FOLDER")
    check.add_argument("--lesson", type=int, choices=LESSONS, metavar="N", help="only this lesson, 1 to 10")
    check.add_argument("--json", action="store_true", help="write JSON")
    hint = commands.add_parser("hint", help="a hint for an exercise")
    hint.add_argument("name", metavar="NAME")
    hint.add_argument("stage", nargs="?", default="1", choices=("1", "2", "3"), metavar="1|2|3")
    solution = commands.add_parser("solution", help="the script of a lesson with its blanks filled, to stdout")
    solution.add_argument("lesson", type=int, choices=LESSONS, metavar="LESSON")
    blank = commands.add_parser("blank", help="a layer, loss, cell or optimizer with its backward left out, to stdout")
    blank.add_argument("name")
    blank.add_argument("--forward", action="store_true", help="leave out the forward instead")
    return parser


def new(folder: Path) -> list[Path]:
    """Write the lessons into a folder, all of them or none.

    Raises
    ------
    OSError
        If one of the files is there already, or cannot be written.
    """
    texts = {f"{lesson(n).name}.py": lesson(n).script() for n in LESSONS}
    texts |= {f"{lesson(n).name}.ipynb": lesson(n).notebook() for n in LESSONS}
    for name in texts:
        if (folder / name).exists():
            raise FileExistsError(f"new: {folder / name} is there already, and nothing is overwritten; give another folder")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"new: {folder} is a file; give a folder")
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with open(folder / name, "x", encoding="utf-8") as file:
                written.append(folder / name)
                file.write(text)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            raise OSError(f"new: cannot write into {folder} ({error.strerror}); give another folder") from error
        raise
    return written


def hint(name: str, stage: int) -> str:
    """A hint for an exercise.

    Raises
    ------
    LookupError
        If no lesson has an exercise of that name.
    """
    if name in EXERCISES:
        return lesson(EXERCISES[name].lesson).hints(name)[stage - 1]
    if name.isdecimal() and int(name) in LESSONS:
        raise LookupError(f"hint: give the name of an exercise; lesson {name} has {', '.join(lesson(int(name)).exercises)}")
    lower = {known.lower(): known for known in EXERCISES}
    near = [lower[known] for known in difflib.get_close_matches(name.lower(), lower, n=2)]
    said = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(EXERCISES)}"
    raise LookupError(f"hint: there is no exercise {name!r}; {said}")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status."""
    given = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a participant's message may hold what cannot be encoded
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(given)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` has seen enough; the interpreter shall not complain of it at its end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, LookupError) as error:
        return _refused(str(error))


def _run(given: argparse.Namespace) -> int:
    if given.command == "new":
        written = new(given.folder)
        print(f"{len(written)} files in {given.folder}; begin with {written[0].name} or {written[0].stem}.ipynb")
    elif given.command == "hint":
        print(hint(given.name, int(given.stage)))
    elif given.command == "solution":
        print(lesson(given.lesson).script(with_solutions=True), end="")
    elif given.command == "blank":
        return _blank(given.name, given.forward)
    else:
        from pancake.workshop.check import all_right, as_json, as_text, check

        found = check(*given.paths, only=given.lesson)
        print(as_json(found) if given.json else as_text(found))
        return 0 if all_right(found) else 1
    return 0


def _blank(name: str, forward: bool) -> int:
    try:
        from pancake.workshop.blanks import blank, named
    except ImportError:
        return _refused("blank needs hypothesis: pip install hypothesis")
    print(blank(named(name), forward=forward), end="")
    return 0


def _refused(message: str) -> int:
    print(f"python -m pancake.workshop: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
