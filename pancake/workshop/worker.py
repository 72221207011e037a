"""What runs in the process in which one exercise is judged."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pancake.workshop.exercises import JUDGING
from pancake.workshop.library import judge_of, name_of
from pancake.workshop.program import read
from pancake.workshop.verdicts import outcome


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


def main(path: str, exercise: str, result: str, megabytes: str) -> None:
    """Judge, and leave status and sentence in the file `result`."""
    os.environ[JUDGING] = "1"
    judge = judge_of(exercise)
    program = read(Path(path))
    sys.path.insert(0, str(Path(path).parent))  # where the participant's own modules lie
    sys.argv = [path]
    limit(int(megabytes))
    verdict = outcome(lambda: judge(program.load(name_of(exercise))), program.files)
    limit(None)  # to write down what came out
    Path(result).write_text(json.dumps(verdict), encoding="utf-8")
    os._exit(0)  # whatever threads and handlers the participant's code has left
