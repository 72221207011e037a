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

import numpy as np

from pancake.fast import switch
from pancake.fast.chains import Program
from pancake.fast.methods import METHODS, is_unrolled, untouched
from pancake.fast.stacks import PROGRAMS, State
from pancake.fast.stretches import bytes_of_row
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.memory import Array

# Rows of a block, or some times as many of a narrow net: what they leave in the program stays in cache from layer to layer. (Rows
# by a power of two would get into each other's way there.)
ROWS = 192
BYTES = ROWS << 10


class Known:
    """What is known of a model: how it is cut into segments, and the latest answer.

    Attributes
    ----------
    answer : callable
        The output, a function of x; None if x does not look like the last one, or something has changed.
    running : list
        Not empty while an answer is on its way: what interrupts it (the handler of a signal, say) must not use the same arrays.
    """

    def __init__(self, model: Sequential) -> None:
        self.attributes, self.state = vars(model), State(model.functions, evaluating=True)
        self.size = len(self.attributes)  # which answers look at too
        # an Unrolled leaves its last state to be carried on from
        self.traceless = self.state.whole and not any(map(is_unrolled, self.state.items[0].layers))
        self.answer: Callable[[Any], Any] = lambda x: None
        self.running: list[bool] = []

    def program(self, x: Any) -> Program | None:
        """The program for inputs like x, if there can be one."""
        if not self.traceless or not untouched(self.attributes, Sequential):
            return None
        program: Program | None = self.state.items[0].program(x)
        return program

    def answer_to(self, model: Sequential, x: Array, rows: int) -> tuple[Callable[[Any], Any] | None, Any]:
        """The answer to inputs like x, so many rows at once, if there can be one, and what it says; the programs keep it."""
        program = None if self.running else self.program(x[:rows])
        if program is None:
            return None, None
        answers, key = program.answers, (len(x), rows)
        answer = answers.pop(key, None)
        y = None if answer is None else answer(x)
        if answer is None or y is None:
            answer = self._written(model, x, rows, program)
            if answer is None:
                return None, None
            y = answer(x)
        if len(answers) == PROGRAMS:
            del answers[next(iter(answers))]
        answers[key] = answer
        return answer, y

    def _written(self, model: Sequential, x: Array, rows: int, program: Program) -> Callable[[Any], Any] | None:
        """The answer, from the program for the first rows."""
        notes = program.notes.copy()
        looks = [*program.looks_at(notes, x), f"{notes.held(model.functions)} == {notes.held(self.state.functions)}"]
        looks += notes.unchanged([(model, ["functions"])], [(Sequential, name) for name in METHODS])
        lines = [*notes.lines, f"y = {program.result}"]
        if len(x) > rows:
            before_last = (len(x) - 1) // rows * rows
            last = self.program(x[before_last:])
            if last is None:
                return None
            empty = notes.expression(np.empty, (len(x), *program.output.shape[1:]), program.output.dtype)
            fill, fill_last, stop, step = map(notes.held, (program.fill, last.fill, before_last, rows))
            block = f"[start : start + {step}]"
            lines = [
                f"y = {empty}",
                f"for start in range(0, {stop}, {step}): {fill}(x{block}, y{block})",
                f"{fill_last}(x[{stop}:], y[{stop}:])",
            ]
        running = notes.held(self.running)
        lines = ["try:", *(f"    {line}" for line in [f"{running}.append(True)", *lines]), f"finally: {running}.clear()"]
        return notes.write("x", "y", [f"not {running}", *looks], lines=lines)


class _Local(threading.local):
    def __init__(self) -> None:
        self.known: dict[int, tuple[weakref.ref[Any], Known]] = {}


_local = _Local()


def answer(model: Any, x: Any) -> Any:
    """The output for an input like the last one; None if there is none, or if it has to be asked of `predicted`."""
    known = None if switch.reasons else _local.known.get(id(model))
    return None if known is None else known[1].answer(x)


def predicted(model: Function, x: Array, rows: int | None) -> Any:
    """The output of a model in evaluation mode, so many rows at once, or as many as are best; None if that is up to the model.

    Only a stack that is one segment becomes one program.
    """
    if switch.reasons or type(model) is not Sequential or not model.functions:
        return None
    everything, key = _local.known, id(model)
    known = everything.get(key)
    if known is None or not known[1].state.of(model.functions) or known[1].size != len(vars(model)):
        known = everything[key] = weakref.ref(model, functools.partial(_drop, everything, key)), Known(model)
    answer, y = known[1].answer_to(model, x, rows or rows_of_block(known[1].state, x))
    if answer is not None and rows is None:
        known[1].answer = answer
    return y


def _drop(everything: dict[int, tuple[weakref.ref[Any], Known]], key: int, _: object) -> None:
    for program in everything.pop(key)[1].state.programs():
        program.end()


def rows_of_block(state: State, x: Array) -> int:
    """How many rows of a large input are best computed at once."""
    if not state.whole or any(map(is_unrolled, state.items[0].layers)):
        return ROWS
    layers = state.items[0].layers
    return ROWS * max(1, BYTES // (ROWS * math.prod(x.shape[1:-1]) * bytes_of_row(layers, x)))
