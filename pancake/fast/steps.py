"""A whole training step as one program: the forward of a stack, its loss, backward, and the update of the parameters.

It is made of the kernels of the layers and of the loss. What it saves against these by themselves is what stands between them:
copies for the outside, looks whether anything has changed, and zeros that are only written over.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pancake import memory
from pancake.fast import losses, stacks, switch
from pancake.fast.chains import Chain, gradients_apart
from pancake.fast.kernels import SMALL
from pancake.fast.left import Left
from pancake.fast.loss_kernels import LossKernel
from pancake.fast.methods import METHODS, OF_LOSSES, STEPPING, untouched
from pancake.fast.program import Notes, Text
from pancake.fast.stretches import Stretch, bytes_of_row, dtype_of, has_modes
from pancake.fast.updates import update_of
from pancake.function import Kept
from pancake.functions.containers import Sequential
from pancake.functions.embedding import Embedding
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer
from pancake.tree import noted

REFUSED = object()  # in place of the value of a loss: it is not finite, or a target is none that the loss takes
BLOCK = 1 << 19  # bytes of what the layers put out for a block of rows; about as much stays in cache on the way back
ROWS = 256  # a block has at least so many, or products would be slower


class Step:
    """The step for batches of one shape and dtype.

    Attributes
    ----------
    fits : callable
        Whether this is the step for a batch (x, target, weight), and all that it was made from is the same.
    rows : int
        By which to tell a batch that fits from another one of the same data set; 0 if that is not enough, as of words.
    update : callable
        Changes the parameters by their gradients.
    stretch : Stretch
        The layers.
    remembering : tuple
        These, the stack, those within it, and the loss.
    numbers : int
        About how many numbers its arrays hold.
    """

    numbers: int

    def __init__(self, model: Sequential, stretch: Stretch, loss: Any, optimizer: Optimizer) -> None:
        self.model, self.stretch, self.loss, self.optimizer = model, stretch, loss, optimizer
        self.remembering = (*stretch.owners(), model, loss)
        loss.divisor = loss.divisor  # an attribute that is there from now on
        self.update = update_of(optimizer)

    def objective(self, x: Array, y: Array, weight: Array | None) -> Any:
        """Write the gradients of all parameters for a batch that fits, and return the value of the loss, or `REFUSED`."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let them remember nothing."""
        for owner in self.remembering:
            owner._cache = None

    def output(self) -> Array:
        """What the model has put out, as a fresh array."""
        raise NotImplementedError

    def _look_at(self, notes: Notes, chain: Chain, x: Array, y: Array, weight: Array | None) -> None:
        """Write `fits`, and note `rows`."""
        owners = [
            (self.model, ["functions"]),
            *losses.settings_of(self.loss),
            (self.optimizer, ["_model"]),
            *chain.guarded,
        ]
        methods = [
            (Sequential, METHODS),
            (type(self.loss), OF_LOSSES),
            (type(self.optimizer), (*STEPPING, "update", "_advance")),
        ]
        array, x_shape, x_dtype, y_shape, y_dtype = map(notes.held, (np.ndarray, x.shape, x.dtype, y.shape, y.dtype))
        looks = [
            f"x.__class__ is {array} is target.__class__ and x.shape == {x_shape} and target.shape == {y_shape}",
            f"x.dtype == {x_dtype} and target.dtype == {y_dtype}",
            losses.like_weight(notes, weight),
            *losses.contents_of(self.loss, notes),
            *chain.looks,
            *chain.inside,
            f"{notes.held(memory)}.generation == {notes.held(memory.generation)}",
            f"{notes.held(self.model.functions)} == {notes.held(self.stretch.functions)}",
            *notes.unchanged(owners, [*((cls, name) for cls, names in methods for name in names), *chain.methods]),
        ]
        self.fits = notes.write("x, target, weight", "True", looks, "False", lines=[])
        self.rows = 0 if chain.looks else len(y)


class StepProgram(Step):
    """All rows of a batch at once.

    Attributes
    ----------
    run : callable
        Writes the gradients, and returns the value of the loss: a function of (x, target, weight). ValueError if the value is not
        finite, or the loss does not take target or weights.
    before : list of (object, Kept)
        What the parts remembered when the latest forward began, if that was not what the program's own had left.
    """

    def __init__(
        self, model: Sequential, stretch: Stretch, loss: Any, optimizer: Optimizer, x: Array, y: Array, weight: Array | None
    ) -> None:
        super().__init__(model, stretch, loss, optimizer)
        notes = Notes()
        self.chain = Chain(stretch, x, notes, False)
        self.chain.remember()
        self.chain.dropped = weakref.ref(model, self.chain.end)  # the chain is there as long as a layer needs it
        pred = self.chain.output
        self.kernel = kernel = losses.kernel_of(loss, notes, pred, y, weight, losses.divisor_of(loss, y))
        kernel.latest = Kept((), False)  # not that of the chain, or a loss that is used again would keep the layers alive
        left: list[tuple[Any, Any]] = [(model, Kept(self.chain.kept(), False)), (loss, Left(kernel, kernel.kept))]
        # Each forward is followed by its backward, with nothing in between: what a layer remembers has always been answered.
        left[0][1].used = self.chain.latest.used = kernel.latest.used = True
        self._look_at(notes, self.chain, x, y, weight)
        places = [*self.chain.places, *((owner, "_cache", kept) for owner, kept in left)]
        there = " and ".join([f"not {notes.held(self.chain)}.older", *notes.unchanged([], [], places)])
        self.before: list[tuple[Any, Any]] = []
        # no method of this object, which would then hold itself
        take_over = notes.expression(_take_over, self.chain, self.remembering, left, self.before)
        notes.lines.append(f"value = {kernel.value}")
        notes.lines.append(f"if not {notes.held(math.isfinite)}(value): raise ValueError")
        notes.lines.append(f"{notes.held(loss)}.divisor = {kernel.divisor}")
        for layer_kernel in self.chain.kernels:  # most write their gradients, others add to them
            for grad in () if layer_kernel.writes else layer_kernel.layer.get_params_and_grads()[1]:
                notes.call(grad.fill, 0)
        _note_backward(notes, self.chain, kernel, True)
        lines = [f"if not ({there}): {take_over}", *self.chain.saves(notes), *notes.lines]
        self.run = notes.write("x, target, weight", "value", lines=lines)
        self.numbers = self.chain.numbers

    def objective(self, x: Array, y: Array, weight: Array | None) -> Any:
        self.before.clear()
        try:
            return self.run(x, y, weight)
        except (ValueError, FloatingPointError, RuntimeWarning):
            self.chain.undo()
            give_back(self.before)
            if not self.before:  # that was the step before it, of which the loss has answered, and which is overwritten
                self.loss._cache = Left(self.kernel, functools.partial(losses.lost, repr(self.loss)))
            return REFUSED
        except BaseException:
            self.forget()
            raise

    def output(self) -> Array:
        return self.chain.output.copy()


class BlockStep(Step):
    """Large batches: rows in blocks, each through all layers and back while what it leaves is in cache.

    The layers remember nothing of it, so that x need not be copied.

    Attributes
    ----------
    blocks : list of (slice, callable)
        The rows of each block, and the function of their x, target and weights and the array for their output which returns their
        part of the value of the loss and adds to the gradients; the first one writes them.
    """

    def __init__(
        self,
        model: Sequential,
        stretch: Stretch,
        loss: Any,
        optimizer: Optimizer,
        x: Array,
        y: Array,
        weight: Array | None,
        count: int,
    ) -> None:
        super().__init__(model, stretch, loss, optimizer)
        self.divisor = losses.divisor_of(loss, y)
        rows, more = divmod(len(x), count)
        programs: dict[int, list[Callable[..., Any]]] = {}
        for n in {rows, rows + (more > 0)}:
            notes = Notes()
            chain = Chain(stretch, x[:n], notes, False, lent=True)
            kernel = losses.kernel_of(loss, notes, chain.output, y[:n], None if weight is None else weight[:n], self.divisor)
            notes.lines.append(f"value = {kernel.value}")
            notes.put(Text("out"), chain.output)
            notes.lines[:0] = chain.saves(notes)
            programs[n] = []
            for write in (True, False)[:count]:
                program = notes.copy()
                _note_backward(program, chain, kernel, write)
                programs[n].append(program.write("x, target, weight, out", "value"))
        self.blocks: list[tuple[slice, Callable[..., Any]]] = []
        stop = 0
        for i in range(count):
            start, stop = stop, stop + rows + (i < more)
            self.blocks.append((slice(start, stop), programs[stop - start][i > 0]))
        self.outputs = np.empty((len(x), *chain.output.shape[1:]), chain.lies.dtype)
        self.undo = chain.undo  # where there is anything to, there is one block
        self._look_at(notes, chain, x, y, weight)
        self.numbers = len(programs) * chain.numbers + self.outputs.size

    def objective(self, x: Array, y: Array, weight: Array | None) -> Any:
        before = _remembered(self.remembering)
        self.forget()
        value: Any = 0.0
        try:
            for rows, block in self.blocks:
                value += block(x[rows], y[rows], None if weight is None else weight[rows], self.outputs[rows])
        except (ValueError, FloatingPointError, RuntimeWarning):
            value = math.nan
        if not math.isfinite(value):
            self.undo()
            give_back(before)
            return REFUSED
        self.loss.divisor = self.divisor
        return value

    def output(self) -> Array:
        return self.outputs.copy()


def _take_over(chain: Chain, remembering: Iterable[Any], left: list[tuple[Any, Any]], before: list[tuple[Any, Any]]) -> None:
    """Leave in the layers, the stack and the loss what they are to remember of the coming run; `before` is what they did."""
    before += _remembered(remembering)
    chain.take_over()
    for owner, kept in left:
        cache = owner._cache
        kept.older = cache is not None and not cache.used
        owner._cache = kept
        chain.older = chain.older or kept.older


def _remembered(owners: Iterable[Any]) -> list[tuple[Any, Any]]:
    """The layers, the stack and the loss, and what each of them remembers."""
    return [(owner, owner._cache) for owner in owners]


def give_back(before: list[tuple[Any, Any]]) -> None:
    """Let layers, stack and loss remember again what they did."""
    for owner, cache in before:
        owner._cache = cache


def _note_backward(notes: Notes, chain: Chain, kernel: LossKernel, write: bool) -> None:
    """Note the gradient of the loss, and the chain rule from there."""
    if kernel.last:
        notes.call(*kernel.last, kernel.g)
    chain.note_backward(notes, chain.lies.columns(kernel.gradient()), False, write)


def blocks_of(layers: list[Any], x: Array) -> int:
    """Into how many blocks the rows of a batch are best cut; 0 if it is so small that the layers may remember a copy of it."""
    if x.ndim != 2 or type(layers[0]) is Embedding:
        return 0
    rows = BLOCK // bytes_of_row(layers, x)
    cut = rows >= ROWS and not any(layer.training and has_modes(layer) for layer in layers)
    blocks = len(x) // rows if cut else 1
    return 0 if blocks <= 1 and x.size <= SMALL else max(1, blocks)


class Steps:
    """The programs for the steps with one model, one loss and one optimizer.

    Attributes
    ----------
    stack : Sequential
        The model, or one in which it is alone.
    programs : dict
        By what a batch looks like; or why there can be none: the arrays and the parts that there were when that was found out.
    none : tuple or None
        The same, if there can be none whatever a batch looks like.
    latest : Step or None
        The one that has run last.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.stack = model if type(model) is Sequential else Sequential([model])
        self.programs: dict[tuple[Any, ...], Any] = {}
        self.none: tuple[int, list[Any]] | None = None
        self.latest: Step | None = None

    def objective(self, x: Any, y: Any, weight: Any, same: bool = False) -> Any:
        """Write the gradients for such a batch by its program, which is then `latest`, and return the value of the loss.

        None if there can be no program, or if the value is up to the page of the loss, which explains what is wrong. `same` says
        that nothing but steps has happened since the latest call, with a batch of the same data set.
        """
        if switch.reasons or (self.none is not None and self.none == (memory.generation, self.stack.functions)):
            return None
        latest = self.latest
        if latest is None or not ((same and len(y) == latest.rows) or latest.fits(x, y, weight)):
            latest = self.latest = self._another(x, y, weight)
            if latest is None:
                return None
        value = latest.objective(x, y, weight)
        return None if value is REFUSED else value

    def _another(self, x: Any, y: Any, weight: Any) -> Step | None:
        """The program that fits such a batch, if there can be one; it is not `latest`, which does not fit."""
        if x.__class__ is not np.ndarray or y.__class__ is not np.ndarray:
            return None
        key = x.shape, x.dtype, y.shape, y.dtype, getattr(weight, "shape", None), getattr(weight, "dtype", type(weight))
        known = self.programs.get(key)
        if isinstance(known, Step):
            if known is not self.latest and known.fits(x, y, weight):
                return known
        elif known is not None and known == (memory.generation, self.stack.functions):  # asking costs more than this look
            return None
        self.programs.pop(key, None)
        program: Step | None = None
        stretch = self._stretch(x, y, weight)
        if stretch is not None:
            parts, batch = (self.stack, stretch, self.loss, self.optimizer), (x, y, weight)
            count = blocks_of(stretch.layers, x) if losses.counts_rows(self.loss, y, weight) else 0
            program = BlockStep(*parts, *batch, count) if count else StepProgram(*parts, *batch)
        stacks.make_room(self.programs, 0 if program is None else program.numbers)
        self.programs[key] = (memory.generation, noted(self.stack.functions)) if program is None else program
        return program if program is not None and program.fits(x, y, weight) else None

    def _stretch(self, x: Array, y: Array, weight: Any) -> Stretch | None:
        """The layers, if model, loss, optimizer and batch are such that a program does what the four lines do."""
        stack, loss, optimizer = self.stack, self.loss, self.optimizer
        if not stack.functions or not untouched(vars(stack), Sequential):
            return None
        state = stacks.State(stack.functions)
        if not state.whole:
            self.none = memory.generation, state.functions
            return None
        stretch: Stretch = state.items[0]
        shape = stacks.output_shape(stretch.layers, x)
        if shape is None:
            return None
        # of each layer: the model lists a weight that two share once, with one gradient, though they may have two
        pairs = [pair for layer in stretch.layers for pair in zip(*layer.get_params_and_grads(), strict=True)]
        if not pairs or not gradients_apart(pairs):
            return None
        if not all(grad.flags.forc for _, grad in pairs):  # others cannot be written by a product
            return None
        if not isinstance(optimizer, Optimizer) or optimizer.model is not self.model or optimizer.ranks is not None:
            return None
        if not vars(optimizer).keys().isdisjoint(STEPPING):
            return None
        if any(getattr(type(optimizer), name) is not method for name, method in STEPPING.items()):
            return None
        optimizer._follow()
        if {id(grad) for _, grad in pairs} != set(map(id, optimizer._param_grads)):
            return None
        pred = np.empty(shape, dtype_of(stretch.layers))
        return stretch if losses.can_compute(loss, pred, y, weight) else None
