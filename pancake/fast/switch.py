"""Whether the fast path is on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_reasons = int(os.environ.get("PANCAKE_FAST", "1") == "0")  # to be off: so many `off()` are running

on = not _reasons


@contextmanager
def off() -> Iterator[None]:
    """Run everything by the plain layers until the block ends: `with pancake.fast.off(): ...`. Blocks nest.

    What is computed is the same, to 1e-12 in float64; so this is to learn, to debug, and to check the fast path itself. The
    environment variable PANCAKE_FAST=0 does it for a whole process.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _reasons, on
    with _lock:
        _reasons += change
        on = not _reasons
