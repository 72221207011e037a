"""A loss to measure with, beside the one that trains."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pancake.origin import is_own


class _Twins(threading.local):
    def __init__(self) -> None:
        self.of: weakref.WeakKeyDictionary[Any, tuple[Any, dict[str, Any]]] = weakref.WeakKeyDictionary()


_twins = _Twins()
MANY = 1 << 18  # predictions, for which to write a program takes little; and whose arrays are too many to be kept


@contextmanager
def apart(loss: Any, pred: Any) -> Iterator[Any]:
    """A copy of a loss, so that what the loss remembers of training is left alone, for some predictions.

    In each thread it is the same copy as long as the settings are the same, so that its programs serve again: one is written in
    ten times the time that it runs. Of many predictions nothing is kept.
    """
    if not is_own(loss) or getattr(pred, "size", 0) > MANY:
        yield copy.copy(loss)
        return
    settings = {name: value for name, value in vars(loss).items() if name != "divisor"}
    twin, known = _twins.of.pop(loss, (None, {}))  # nobody else's until this is over, be it the handler of a signal
    if known.keys() != settings.keys() or any(known[name] is not value for name, value in settings.items()):
        twin = None
    twin = copy.copy(loss) if twin is None else twin
    twin.divisor = None
    yield twin
    _twins.of[loss] = twin, settings
