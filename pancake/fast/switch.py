"""Whether the fast path is on."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Why the fast path is off: a weak reference for each running `off()`, or a word. It is on while there is none.
reasons: set[Any] = {"PANCAKE_FAST=0"} if os.environ.get("PANCAKE_FAST") == "0" else set()


class _Block:
    """Lives as long as a block of `off()` runs, however it ends, be it by a Ctrl-C in the middle of entering it."""


@contextmanager
def off() -> Iterator[None]:
    """Run everything by the plain layers until the block ends: `with pancake.fast.off(): ...`. Blocks nest.

    What is computed is the same, to 1e-12 in float64; so this is to learn, to debug, and to check the fast path itself. The
    environment variable PANCAKE_FAST=0 does it for a whole process.
    """
    block = _Block()
    reasons.add(weakref.ref(block, reasons.discard))
    try:
        yield
    finally:
        del block
