"""How much memory something has asked for."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from typing import Any

from pancake import memory


class Traced:
    """Bytes: the most that Python and NumPy had at a time, and all blocks of parameters, which they do not know of."""

    peak = 0


@contextlib.contextmanager
def traced() -> Iterator[Traced]:
    """Tell of what is asked for inside."""
    result, made, new = Traced(), [], memory._Pages.__new__

    def counting(cls: Any, size: int) -> Any:
        made.append(size)
        return new(cls, size)

    memory._Pages.__new__ = counting  # type: ignore[method-assign, assignment]
    tracemalloc.start()
    try:
        yield result
    finally:
        result.peak = tracemalloc.get_traced_memory()[1] + sum(made)
        tracemalloc.stop()
        memory._Pages.__new__ = new  # type: ignore[method-assign]
