"""What several processes that train one model, see `pancake.optimizers.ranks`, settle before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pancake.arguments import number
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


def settings(
    loss: Any, optimizer: Any, schedule: Callable[[int], float] | None, early_stopping: object, clip_norm: float | None
) -> dict[str, Any]:
    """The facts about these arguments of `fit` without which ranks would make other steps, or stop in another epoch."""
    return {
        "reductions of the loss": getattr(loss, "reduction", "mean"),
        "clip_norm": clip_norm,
        "first rates of the schedule": None
        if schedule is None
        else number("fit", "the rate of schedule", schedule(optimizer.steps)),
        "early_stopping": repr(early_stopping),
    }
