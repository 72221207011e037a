"""`Sequential` on the fast path: neighbours of known classes run as one program, all others by their own methods.

A stack is cut into segments: stretches of layers that have a kernel, of exactly the library's classes, with exactly its methods.
For each shape of input a segment makes a program in its first forward. Whenever anything that a program was made from is no
longer the same object (an array, a setting, a method of an object or of a class), or a layer has been called by itself since the
forward, the plain layers take over, which find in their caches what the program has left there.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

import numpy as np

from pancake.fast.chains import Program
from pancake.fast.left import StackKept
from pancake.fast.methods import is_unrolled, untouched
from pancake.fast.program import DTYPES
from pancake.fast.stretches import Mark, Stretch, dtype_of, flat, has_kernel, has_modes, key_of, shaping_kernel, typed
from pancake.functions.containers import Sequential, has_parameters, note_answered, remembering
from pancake.functions.embedding import Embedding
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.tree import noted

PROGRAMS = 32  # so many are kept of a segment, for batches of other sizes
LARGE = 1 << 22  # numbers in the arrays of programs; beyond it older ones go


class Segment(Stretch):
    """A stretch of layers that run as one program, one for each shape of input and for each mode of those that have one.

    With `evaluating` all are in evaluation mode, whatever they say.
    """

    def __init__(self, evaluating: bool) -> None:
        super().__init__()
        self.evaluating = evaluating
        self.programs: dict[tuple[Any, ...], Program] = {}

    def run(self, x: Any, older: bool) -> tuple[Any, Any]:
        """The program for x, if there can be one, and what its forward puts out."""
        known = self._known(x)
        y = None if known is None else known.forward(x, older)
        if y is None:
            known = self.program(x)
            y = None if known is None else known.forward(x, older)
        return (None if y is None else known), y  # none for words that the table does not have, too

    def program(self, x: Any) -> Any:
        """The program for x, if there can be one."""
        program = self._known(x)
        if program is not None and not program.fits(x):
            self.programs.clear()
            program = None
        if program is None and self.unchanged() and output_shape(self.layers, x, self.evaluating) is not None:
            program = Program(self, x, self.evaluating)
            make_room(self.programs, program.numbers)
            self.programs[self._key(x)] = program
        return program

    def _known(self, x: Any) -> Any:
        """The program that was made for such an x."""
        return self.programs.get(self._key(x)) if x.__class__ is np.ndarray else None

    def _key(self, x: Array) -> tuple[Any, ...]:
        return *key_of(x), *(() if self.evaluating else [layer.training for layer in self.modal])

    @functools.cached_property
    def modal(self) -> list[Any]:
        """The layers whose mode makes a difference."""
        return list(filter(has_modes, self.layers))


def make_room(programs: dict[Any, Any], numbers: int) -> None:
    """Drop the oldest programs, or notes that there can be none, until there is room for one of so many numbers."""
    while len(programs) >= PROGRAMS or (
        programs and numbers + sum(getattr(program, "numbers", 0) for program in programs.values()) > LARGE
    ):
        del programs[next(iter(programs))]


def output_shape(layers: list[Any], x: Any, evaluating: bool = False) -> tuple[int, ...] | None:
    """The shape of what comes out of the layers of a segment.

    None if they cannot be one program for x: they must fit it and each other, with nobody else's methods on them.
    """
    if x.__class__ is not np.ndarray or x.ndim not in (2, 3) or not x.size:
        return None
    if len(set(map(id, layers))) < len(layers):  # somebody has put one twice into the list, which remembers only its later input
        return None
    if not all(type(layer) is Mark or untouched(vars(layer), type(layer)) for layer in layers):
        return None
    dtype, shape = dtype_of(layers), x.shape
    if dtype not in DTYPES or (type(layers[0]) is not Embedding and x.dtype not in DTYPES):
        return None
    if x.dtype != dtype and not typed(layers[0]):  # which computes in the dtype of x
        return None
    opened: list[list[tuple[int, ...]]] = []
    for layer in layers:
        if type(layer) is Mark:
            from pancake.fast import branches

            after = branches.shape_after(layer, shape, opened)
            if after is None:
                return None
            shape = after
            continue
        kernel = shaping_kernel(layer)
        if kernel is not None and not kernel.fits(layer, shape, dtype, layer.training and not evaluating):
            return None
        if isinstance(layer, Linear):
            arrays = [layer.weight, layer.grad_weight, *([] if layer.bias is None else [layer.bias, layer.grad_bias])]
            if layer.n_in != shape[-1] or any(array.dtype != dtype for array in arrays):
                return None
            shape = (*shape[:-1], layer.n_out)
        elif layer.frozen and kernel is None:
            return None
        elif is_unrolled(layer):
            from pancake.fast import cells

            cell = layer.cell
            if len(shape) != 3 or not cells.can_run(cell) or cell.n_in != shape[-1] or cell.weight_hh.dtype != dtype:
                return None
            shape = (*(shape[:2] if layer.return_sequences else shape[:1]), cell.n_hidden)
        elif isinstance(layer, Embedding):
            from pancake.fast import embeddings

            if not embeddings.can_run(layer, x, dtype):
                return None
            shape = (*shape, layer.dim)
    return shape


class State:
    """How a stack is cut into segments and other Functions, as long as its list holds the same ones."""

    def __init__(self, functions: list[Any], evaluating: bool = False) -> None:
        self.functions = noted(functions)
        self.items: list[Any] = []
        segment = Segment(evaluating)
        for function in functions:
            inner: list[tuple[Any, list[Any]]] = []
            layers = flat(function, inner)
            if all(map(has_kernel, layers)):
                segment.functions.append(function)
                segment.layers += layers
                segment.inner += inner
            else:
                self._add(segment)
                self.items.append(function)
                segment = Segment(evaluating)
        self._add(segment)
        self.whole = self.items[0].__class__ is Segment and len(self.items) == 1

    def _add(self, segment: Segment) -> None:
        """Append a segment, or where none of its layers says in which dtype it computes, its Functions."""
        if not any(map(typed, segment.layers)):
            self.items += segment.functions
            return
        if is_unrolled(segment.layers[0]) and self.items and type(self.items[-1]) is Embedding:
            words = self.items.pop()
            segment.functions.insert(0, words)
            segment.layers.insert(0, words)
        self.items.append(segment)

    def of(self, functions: list[Any]) -> bool:
        """Whether this is how a stack of these Functions is cut."""
        return self.functions == functions and all(item.unchanged() for item in self.items if item.__class__ is Segment)

    def programs(self) -> list[Program]:
        """The programs of all segments."""
        return [program for item in self.items if isinstance(item, Segment) for program in item.programs.values()]


STATES: dict[int, tuple[weakref.ref[Any], State]] = {}


def state_of(stack: Sequential) -> State:
    """How a stack is cut, noted anew when its list has changed."""
    key = id(stack)
    known = STATES.get(key)
    if known is None or not known[1].of(stack.functions):
        if known is not None:
            for program in known[1].programs():  # which the stack may still remember
                program.let_go()
        known = STATES[key] = weakref.ref(stack, functools.partial(_drop, STATES, key)), State(stack.functions)
    return known[1]


def _drop(states: dict[int, tuple[weakref.ref[Any], State]], key: int, _: object) -> None:
    for program in states.pop(key)[1].programs():
        program.end()


def _left(functions: list[Any]) -> list[tuple[Any, Any]]:
    """What the parts of a stack remember, as the plain stack notes it."""
    left = []
    for function in functions:
        left.append((function, function._cache))
        if function._cache is None:  # as in Functions of users, inside of which there may be some that remember
            left += [(part, part._cache) for part in remembering(function)]
    return left


def _answer(stack: Sequential, kept: StackKept) -> None:
    """Refuse what the plain stack refuses."""
    if stack.functions != kept.functions or (kept.used and kept.older) or any(p._cache is not c for p, c in kept.what[0]):
        stack._remembered()


def forward_in_parts(stack: Sequential, x: Any) -> Any:
    """Run the segments of a stack, and its other Functions by their own methods."""
    state = state_of(stack)
    before, stack._cache = stack._cache, None  # until all are through
    older = before is not None and not before.used
    ran = []
    for item in state.items:
        program, y = item.run(x, older) if isinstance(item, Segment) else (None, None)
        if program is not None:
            x = y
        else:
            for function in item.functions if isinstance(item, Segment) else [item]:
                x = function.compute_forward(x)
        ran.append((item, program))
    if state.whole and program is not None:
        stack._cache = program.latest
    else:
        stack._cache = kept = StackKept((_left(stack.functions),), older)
        kept.ran, kept.functions = ran, state.functions
    return x


def back_through(item: Any, program: Program | None, d: Any, input_too: bool) -> Any:
    """The chain rule through a segment or another Function."""
    if program is not None:
        dObj_dIn = program.backward[input_too](d)
        if dObj_dIn is not NotImplemented:
            return dObj_dIn
    functions = item.functions if isinstance(item, Segment) else [item]
    first = 0 if input_too else next(i for i, function in enumerate(functions) if has_parameters(function))
    for function in reversed(functions[first + 1 :]):
        d = function.compute_backward(d)
    if input_too:
        return functions[0].compute_backward(d)
    functions[first].accumulate_grads(d)
    return note_answered(functions[:first])


def trains(item: Any) -> bool:
    """Whether there is anything to train in a segment or another Function."""
    if not isinstance(item, Segment):
        return has_parameters(item)
    first = item.layers[0]
    # the first look is the cheaper one
    return (type(first) is Linear and not first.frozen) or any(map(has_parameters, item.layers))


def back_in_parts(stack: Sequential, kept: StackKept, d: Any) -> Any:
    """The chain rule through all that has run."""
    _answer(stack, kept)
    for item, program in reversed(kept.ran):
        d = back_through(item, program, d, True)
    kept.used = True
    return d


def accumulate_in_parts(stack: Sequential, kept: StackKept, d: Any) -> None:
    """The chain rule back to the first that has parameters."""
    _answer(stack, kept)
    first = next((i for i, (item, _) in enumerate(kept.ran) if trains(item)), None)
    if first is not None:
        for item, program in kept.ran[:first:-1]:
            d = back_through(item, program, d, True)
        item, program = kept.ran[first]
        back_through(item, program, d, False)
    passed = [item for item, _ in kept.ran[:first]]  # all, if none has parameters
    note_answered(part for item in passed for part in (item.functions if isinstance(item, Segment) else [item]))
    kept.used = True
