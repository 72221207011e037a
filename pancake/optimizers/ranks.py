"""Several processes that train one model, each with a part of the data: what optimizers and `fit` ask of them.

`pancake.mpi` has such processes. Nothing here knows how they talk to one another.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pancake.memory import Array

if TYPE_CHECKING:
    from pancake.optimizers.optimizer import Optimizer


class Ranks(Protocol):
    """The processes that train one model together, as one of them, whose number is `rank`, sees them.

    What is said of all ranks is a collective call: each of them makes it, and waits for the others.
    """

    rank: int

    def begin(self) -> None:
        """The gradients are cleared: from now on note which losses are called."""

    def join(self, divisor: float | None = None, averaged: bool = True) -> bool:
        """Make the gradients those of the joined batch of all ranks, unless they are already; whether anything counts in it.

        `divisor` is what the loss of this rank's batch was divided by, if that is known; `averaged` whether it was at all.
        """

    def end(self) -> None:
        """The step has been made."""

    def facts(self) -> dict[str, Any]:
        """What `compare` needs to know of optimizer and model before a training."""

    def compare(self, owner: str, facts: Mapping[str, Any] | Exception) -> None:
        """Raise on all ranks if one of them has met an error, or if these facts are not the same on all."""

    def first(self, value: Any) -> Any:
        """The value of rank 0, on all ranks."""

    def end_epoch(self, figures: Mapping[str, tuple[float, float | None]], counted: bool) -> dict[str, float]:
        """The figures of an epoch over all ranks: means of (value, weight), sums where there is no weight.

        Raises on all ranks if their learning rates differ, or, unless the batches have been `counted` before, if one of them goes
        on with the epoch.
        """

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any rank."""

    def end_all(self, error: BaseException) -> None:
        """End all ranks with a message because of an error on this one, unless it is one that all of them raise."""


# Optimizers that have `ranks`.
together: weakref.WeakSet[Optimizer] = weakref.WeakSet()


def ranks_that_train(grads: Sequence[Array]) -> list[Ranks]:
    """Those who train what these gradients belong to."""
    known = {id(grad) for grad in grads} if together else set()
    found = [optimizer.ranks for optimizer in together if not known.isdisjoint(map(id, optimizer._gradients()))]
    return [ranks for ranks in found if ranks is not None]
