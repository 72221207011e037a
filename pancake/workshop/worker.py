"""What runs in the process in which one exercise is judged."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pancake.workshop.exercises import JUDGING
from pancake.workshop.library import judge_of, name_of
from pancake.workshop.program import read
from pancake.workshop.verdicts import Wrong, outcome


def limit(megabytes: int | None) -> None:
    """Let this process have so much more memory than it has now, where the system can be told; None for as much as it likes."""
    try:
        import resource
    except ImportError:  # Windows: there the time alone is limited
        return
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        pages = 0
    now = pages * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + megabytes * 2**20 if now and megabytes is not None else hard
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):  # macOS takes no limit of the address space
        pass


def watch() -> Callable[[], None]:
    """Remember the functions and classes of pancake and of numpy; what is returned raises `Wrong` if one is another by then."""

    def now(owner: Any) -> dict[str, tuple[Any, Any]]:
        return {
            name: (value, getattr(getattr(value, "__func__", value), "__code__", None))
            for name, value in list(vars(owner).items())
            if callable(value) or isinstance(value, (classmethod, property, types.ModuleType))
        }

    owners: list[Any] = [module for name, module in sys.modules.items() if name.partition(".")[0] == "pancake"]
    owners += {
        id(c): c for m in owners for c in vars(m).values() if isinstance(c, type) and c.__module__[:7] == "pancake"
    }.values()
    before = [(owner, now(owner)) for owner in (*owners, np)]

    def unchanged() -> None:
        for owner, held in before:
            found = now(owner)
            for name, (value, code) in held.items():
                if name not in found or found[name][0] is not value or found[name][1] is not code:
                    raise Wrong(f"this file changes {owner.__name__.partition('.')[0]} itself ({name}); leave it as it is")

    return unchanged


def main(path: str, exercise: str, megabytes: str) -> None:
    """Judge, and write the token that stands at standard input, status and sentence to standard output."""
    token = sys.stdin.read()
    answer = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    os.environ[JUDGING] = "1"
    judge = judge_of(exercise)
    program = read(Path(path))
    sys.path.insert(0, str(Path(path).parent))  # where the participant's own modules lie
    sys.argv = [path]
    unchanged, dumps, write, leave = watch(), json.dumps, os.write, os._exit

    def run() -> None:
        try:
            judge(program.load(name_of(exercise)))
        finally:
            unchanged()

    limit(int(megabytes))
    status, sentence = outcome(run, program.files)
    limit(None)  # to write down what came out
    write(answer, dumps([token, status, sentence]).encode())
    leave(0)  # whatever threads and handlers the participant's code has left
