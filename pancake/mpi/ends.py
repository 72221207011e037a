"""How all ranks end together: by an error that all have, or since one has failed, is interrupted or has no more to do.

MPI waits for a rank that does not come, for ever. So a rank that leaves says so in the exchange of the next step, and an
exception that nobody catches ends all.
"""

from __future__ import annotations

import atexit
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.memory import Array
from pancake.training.errors import NonFiniteError

# What stands behind the gradients and buffers in the vector that travels: the divisor of the first loss, the sum of those of all
# losses, and 1 of a rank that makes no more steps.
TAIL = 3
FIRST, TOTAL, ENDED = -3, -2, -1

# Seconds that mpiexec gets to pass on what a rank has written: it drops what it has not read yet when it hears of an abort.
ON_ITS_WAY = 0.5


class Disagreement(ValueError):
    """The ranks do not do the same; it is raised on all of them."""


# --- the exchange of a step ---


def exchange(comm: Any, sent: Array, received: Array) -> None:
    """The Allreduce of a step; an error if a rank has no step to make, or nothing finite to tell."""
    try:
        comm.Allreduce(sent, received)
    except Exception as error:  # MPI.Exception
        raise RuntimeError(f"step: the ranks cannot join their gradients; do all train the same parts? {error}") from error
    ended, size = round(float(received[ENDED])), comm.Get_size()
    if 0 < ended < size:
        raise Disagreement(
            f"the ranks have different numbers of batches: {ended} of {size} have no more, and the others go on; give all as many"
        )
    if math.isnan(received[FIRST]):
        raise NonFiniteError("the loss is not finite on at least one rank")


class Leave:
    """Tells the others, who may wait for this rank in a step, that it makes no more: an epoch ends, or the program."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.length, self.dtype = comm, TAIL, np.dtype(np.float64)
        if not _leaving:
            atexit.register(_leave_all)
        _leaving.append(self)

    def __call__(self) -> None:
        sent = np.zeros(self.length, self.dtype)
        sent[ENDED] = 1
        exchange(self.comm, sent, np.empty_like(sent))


# --- an exception, and the end of the program ---

_leaving: list[Leave] = []  # of all communicators, in the order in which ranks came together
agreed_error: list[BaseException] = []  # the latest error that all ranks have, so that none waits for another


def is_agreed(error: BaseException) -> bool:
    return isinstance(error, (Disagreement, NonFiniteError)) or any(error is known for known in agreed_error)


def _excepthook(before: Callable[..., Any]) -> Callable[..., Any]:
    """An exception that nobody catches ends all ranks, also one from before they came together: the others wait for it then."""

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        before(kind, error, trace)
        comm = _leaving[-1].comm if _leaving else _world()
        if comm is not None and not is_agreed(error):
            abort(comm, error)

    return hook


def _world() -> Any:
    """The communicator of all processes, if the program has loaded MPI and there are several."""
    MPI = sys.modules.get("mpi4py.MPI")
    if MPI is None or not MPI.Is_initialized() or MPI.Is_finalized() or MPI.COMM_WORLD.Get_size() == 1:
        return None
    return MPI.COMM_WORLD


def _leave_all() -> None:
    """At the end of the program: a rank that ends while others make steps ends them too."""
    for leave in _leaving:
        try:
            leave()
        except (Disagreement, NonFiniteError) as error:
            abort(leave.comm, error)


def abort(comm: Any, error: BaseException) -> None:
    """End all ranks, with a message."""
    what = {KeyboardInterrupt: "was interrupted", SystemExit: "has ended before the others"}.get(
        type(error), f"has failed: {type(error).__name__}: {error}"
    )
    sys.stdout.flush()
    sys.stderr.write(f"pancake.mpi: rank {comm.Get_rank()} of {comm.Get_size()} {what}; all ranks end\n")
    sys.stderr.flush()
    agreed_error[:] = [error]  # which is said
    _leaving.clear()  # Abort may return, and the program then goes on until it is ended
    time.sleep(ON_ITS_WAY)
    comm.Abort(1)


sys.excepthook = _excepthook(sys.excepthook)
