"""Judging in a process of its own, which keeps accidents away from the judge: loops, exits, a shortage of memory.

It is no wall against an attacker. The participant's code runs in the process that judges it, and with enough work can say what
it likes; what is cheap to try, to patch the judge or to write the verdict itself, is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pancake.workshop.verdicts import WRONG

PROGRAM = """
import sys
root, *arguments = sys.argv[1:]
if root not in sys.path:
    sys.path.insert(0, root)
from pancake.workshop.worker import main
main(*arguments)
"""
SECONDS = 60
MEGABYTES = 1024


def judged(path: Path, exercise: str, *, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> tuple[str, str]:
    """The status of an exercise in a file, and the sentence.

    Parameters
    ----------
    path : Path
        A script or a notebook.
    exercise : str
        The name of an exercise, or what the header of a blank says: "pancake.LayerNorm", "pancake.LayerNorm --forward".
    seconds : float
        After so many the process is ended.
    megabytes : int
        So much more memory than pancake itself takes it may have, where the system can be told.
    """
    token = secrets.token_hex()
    # The verdict goes to a file without a name, and counts only with the token, which is handed over where it is read but once.
    with tempfile.TemporaryFile() as result:
        root = str(Path(__file__).parent.parent.parent)
        # -P: what lies in the participant's folder, a random.py for example, stands in for nothing that the judge imports
        command = [sys.executable, "-P", "-c", PROGRAM, root, str(path.resolve()), exercise, str(megabytes)]
        environment = {**os.environ, "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1", "PANCAKE_FAST": "0"}
        process = subprocess.Popen(
            command,
            cwd=path.resolve().parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=result,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.communicate(token.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            return WRONG, f"it was still running after {seconds:g} seconds; is there a loop that never ends?"
        finally:
            _end(process)
        result.seek(0)
        try:
            said, status, sentence = json.loads(result.read())
        except (ValueError, TypeError, RecursionError):
            said = ""
        if said != token:
            return WRONG, _how_it_ended(process.returncode)
    return status, sentence


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, and those that it has started."""
    with contextlib.suppress(OSError, AttributeError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return (
            f"its process was ended by the signal {signal.Signals(-code).name}; did it run out of memory, or recurse without end?"
        )
    return f"its process ended with exit status {code} before it could be judged; is there an os._exit()?"
