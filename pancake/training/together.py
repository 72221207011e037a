"""What several processes that train one model, see `pancake.optimizers.ranks`, settle before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pancake.optimizers.ranks import Ranks


@contextmanager
def agreed(owner: str, ranks: Ranks | None) -> Iterator[dict[str, Any]]:
    """Checks that all ranks pass, or none: an error on one is one on all. So are facts, put into the dict, that differ.

    Without ranks the block is as if alone.
    """
    facts: dict[str, Any] = {}
    try:
        yield facts
    except Exception as error:
        if ranks is not None:
            ranks.compare(owner, error)
        raise
    if ranks is not None:
        ranks.compare(owner, facts)
