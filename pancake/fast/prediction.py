"""Predictions on the fast path: the forward programs of a stack, without a word to its layers.

A program writes into its own arrays, so each thread has programs of its own.
"""

from __future__ import annotations

import functools
import threading
import weakref
from typing import Any

from pancake.fast import switch
from pancake.fast.stacks import METHODS, Program, State
from pancake.function import Function
from pancake.functions.containers import Sequential

# Rows of a block: of a small net, what so many rows leave in the program stays in cache from layer to layer.
ROWS = 192


class _Local(threading.local):
    def __init__(self) -> None:
        self.states: dict[int, tuple[weakref.ref[Any], State]] = {}


_local = _Local()


def program_of(model: Function, x: Any) -> Program | None:
    """The program whose forward is the output of the model in evaluation mode for inputs like x, if there is one.

    Only stacks of layers that have no modes become one program.
    """
    if switch.reasons or type(model) is not Sequential or not model.functions:
        return None
    states = _local.states
    known = states.get(id(model))
    if known is None or known[1].functions != model.functions:
        key = id(model)
        known = states[key] = weakref.ref(model, functools.partial(states.pop, key)), State(model.functions)
    if not known[1].whole or not vars(model).keys().isdisjoint(METHODS):
        return None
    if any(getattr(Sequential, name) is not method for name, method in INSTALLED.items()):
        return None
    return known[1].items[0].program(x)


INSTALLED = {name: getattr(Sequential, name) for name in METHODS}
