"""Predictions on the fast path: the forward programs of a stack, without a word to its layers.

A program writes into its own arrays, so each thread has programs of its own.
"""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

from pancake.fast import switch
from pancake.fast.chains import Program, bytes_of_row
from pancake.fast.kernels import METHODS
from pancake.fast.stacks import State, as_installed
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.recurrent.unrolled import Unrolled

# Rows of a block, or some times as many of a narrow net: what they leave in the program stays in cache from layer to layer. (Rows
# by a power of two would get into each other's way there.)
ROWS = 192
BYTES = ROWS << 10


class Known:
    """What is known of a model: how it is cut into segments, and its latest program.

    Attributes
    ----------
    answer : callable
        The output, a function of x; None if x does not look like the last one, or something has changed.
    """

    def __init__(self, model: Sequential) -> None:
        self.attributes, self.state = vars(model), State(model.functions)
        self.size = len(self.attributes)  # which `answer` looks at too
        # an Unrolled leaves its last state to be carried on from
        self.modeless = self.state.whole and not any(type(function) is Unrolled for function in model.functions)
        self.answer: Callable[[Any], Any] = lambda x: None

    def program(self, x: Any) -> Program | None:
        """The program for inputs like x, if there can be one."""
        if not self.modeless or not as_installed(self.attributes):
            return None
        program: Program | None = self.state.items[0].program(x)
        return program

    def note(self, model: Sequential, program: Program) -> None:
        """Let `answer` be the program, behind looks whether it still is that of the model."""
        if program.answer is None:
            notes = program.notes.copy()
            functions = f"{notes.held(model.functions)} == {notes.held(self.state.functions)}"
            same = notes.unchanged([(model, ["functions"])], [(Sequential, name) for name in METHODS])
            program.answer = notes.write("x", program.result, [*program.looks, *same, functions])
        self.answer = program.answer


class _Local(threading.local):
    def __init__(self) -> None:
        self.known: dict[int, tuple[weakref.ref[Any], Known]] = {}


_local = _Local()


def answer(model: Any, x: Any) -> Any:
    """The output for an input like the last one; None if there is none, or if it has to be asked of `program_of`."""
    known = None if switch.reasons else _local.known.get(id(model))
    return None if known is None else known[1].answer(x)


def rows_of_block(model: Function, x: Array) -> int:
    """How many rows of a large input are best computed at once."""
    layers = model.functions if type(model) is Sequential else []
    if not layers or type(layers[0]) is not Linear or any(type(layer) is Unrolled for layer in layers):
        return ROWS
    return ROWS * max(1, BYTES // (ROWS * math.prod(x.shape[1:-1]) * bytes_of_row(layers)))


def program_of(model: Function, x: Any) -> Program | None:
    """The program whose `compute` is the output of the model in evaluation mode for inputs like x, if there is one.

    Only stacks of layers that have no modes become one program.
    """
    if switch.reasons or type(model) is not Sequential or not model.functions:
        return None
    everything, key = _local.known, id(model)
    known = everything.get(key)
    if known is None or known[1].state.functions != model.functions or known[1].size != len(vars(model)):
        known = everything[key] = weakref.ref(model, functools.partial(everything.pop, key)), Known(model)
    program = known[1].program(x)
    if program is not None:
        known[1].note(model, program)
    return program
