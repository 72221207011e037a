"""A whole training step as one program: the forward of a stack, its loss, backward, and the update of the parameters.

It is made of the kernels of the layers and of the loss. What it saves against these by themselves is what stands between them:
copies for the outside, looks whether anything has changed, and zeros that are only written over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake import memory
from pancake.fast import losses, stacks, switch
from pancake.fast.chains import Chain, dtype_of, gradient_bits
from pancake.fast.kernels import METHODS
from pancake.fast.loss_kernels import KERNELS
from pancake.fast.program import Left, Notes
from pancake.fast.stacks import STEPPING
from pancake.function import Kept
from pancake.functions.containers import Sequential
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer


class StepProgram:
    """The step for batches of one shape and dtype.

    Attributes
    ----------
    forward : callable
        The value of the loss, a function of (x, target); None, and nothing has happened, if this is not the step for such a
        batch, or something that it was made from has changed. ValueError if a target is not one that the loss takes.
    fits : callable
        Whether it would run.
    accumulate : callable
        Writes the gradients of all parameters.
    update : callable
        Changes the parameters by them.
    before : list of (object, Kept)
        What the parts remembered when the latest forward began, if that was not what the program's own had left.
    numbers : int
        About how many numbers its arrays hold.
    """

    def __init__(self, model: Sequential, loss: Any, optimizer: Optimizer, x: Array, y: Array) -> None:
        self.model, self.loss, self.optimizer, self.functions = model, loss, optimizer, model.functions.copy()
        loss.divisor = loss.divisor  # an attribute that is there from now on
        notes = Notes()
        self.chain = Chain(self.functions, x, notes, False)
        self.divisor = losses.divisor_of(loss, y)
        kernel = KERNELS[type(loss)](loss, notes, self.chain.output, y, self.divisor)
        kernel.latest = Kept((), False)  # not that of the chain, or a loss that is used again would keep the layers alive
        self.model_left, self.loss_left = Kept(self.chain.kept(), False), Left(kernel, kernel.kept)
        # Each forward is followed by its backward, with nothing in between: what a layer remembers has always been answered.
        self.model_left.used = self.chain.latest.used = kernel.latest.used = True
        self.forward = self._write_forward(notes, kernel.value(notes, self.chain.output, self.divisor), x, y)
        notes = Notes()
        if kernel.last:
            notes.call(*kernel.last, kernel.g)
        for layer in self.functions:  # a Linear writes its gradients, others add to them
            for grad in () if isinstance(layer, Linear) else layer.get_params_and_grads()[1]:
                notes.call(grad.fill, 0)
        self.accumulate = notes.write(
            "", self.chain.note_backward(notes, self.chain.lies.columns(kernel.gradient()), False, True)
        )
        self.update = optimizer._advance
        self.before: list[tuple[Any, Any]] = []
        self.numbers = self.chain.numbers

    def _write_forward(self, notes: Notes, value: str, x: Array, y: Array) -> Callable[[Any, Any], Any]:
        owners = [
            (self.model, ["functions"]),
            (self.loss, [name for name in vars(self.loss) if name != "divisor"]),
            (self.optimizer, ["model"]),
            *self.chain.guarded,
        ]
        methods = [(Sequential, METHODS), (type(self.loss), losses.METHODS), (type(self.optimizer), STEPPING)]
        array, x_shape, x_dtype, y_shape, y_dtype = map(notes.held, (np.ndarray, x.shape, x.dtype, y.shape, y.dtype))
        looks = [
            f"x.__class__ is {array} is target.__class__ and x.shape == {x_shape} and target.shape == {y_shape}",
            f"x.dtype == {x_dtype} and target.dtype == {y_dtype}",
            *self.chain.looks,
            f"{notes.held(memory)}.generation == {notes.held(memory.generation)}",
            f"{notes.held(self.model.functions)} == {notes.held(self.functions)}",
            *notes.unchanged(owners, [*((cls, name) for cls, names in methods for name in names), *self.chain.methods]),
        ]
        places = [(self.model, "_cache", self.model_left), (self.loss, "_cache", self.loss_left)]
        there = " and ".join([f"not {notes.held(self.chain)}.older", *notes.unchanged([], [], [*self.chain.places, *places])])
        take_over = f"if not ({there}): {notes.held(self._take_over)}()"
        self.fits = notes.write("x, target", "True", looks, "False", lines=[])
        return notes.write("x, target", value, looks, lines=[take_over, *notes.lines])

    def objective(self, x: Array, y: Array) -> Any:
        """Run forward and return the value of the loss, nan if it refuses a target; None as `forward` does."""
        self.before = []
        try:
            value = self.forward(x, y)
        except ValueError:
            return math.nan
        except BaseException:
            for owner in (*self.functions, self.model, self.loss):
                owner._cache = None
            raise
        if value is not None:
            self.loss.divisor = self.divisor
        return value

    def give_back(self) -> None:
        """Let layers and loss remember again what they did before the latest forward."""
        for owner, cache in self.before:
            owner._cache = cache
        if not self.before:  # that was the step before it, of which the loss has answered, and which is overwritten
            self.loss._cache = None

    def output(self) -> Array:
        """What the model has put out, as a fresh array."""
        return self.chain.output.copy()

    def _take_over(self) -> None:
        """Leave in the layers, the stack and the loss what they are to remember of the coming run."""
        self.before = [(owner, owner._cache) for owner in (*self.functions, self.model, self.loss)]
        self.chain.take_over()
        for owner, left in ((self.model, self.model_left), (self.loss, self.loss_left)):
            before = owner._cache
            left.older = before is not None and not before.used
            owner._cache = left
            self.chain.older = self.chain.older or left.older


class Steps:
    """The programs for the steps with one model, one loss and one optimizer."""

    def __init__(self, model: Any, loss: Any, optimizer: Any) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.programs: dict[tuple[Any, ...], Any] = {}  # or why there is none: what the parts were when that was found out
        self.latest: StepProgram | None = None

    def objective(self, x: Any, y: Any) -> Any:
        """Run the forward of the program for such a batch, which is then `latest`, and return the value of the loss.

        None if there can be no program, or if the value is up to the page of the loss, which explains what is wrong.
        """
        if switch.reasons:
            return None
        latest = self.latest
        value = None if latest is None else latest.objective(x, y)
        if value is None:
            self.latest = self._program(x, y, latest)
            value = None if self.latest is None else self.latest.objective(x, y)
        if value is not None and self.latest is not None and not math.isfinite(value):
            self.latest.give_back()
            return None
        return value

    def _program(self, x: Any, y: Any, refuses: StepProgram | None) -> StepProgram | None:
        """The program for such a batch, if there can be one, but not one that refuses it."""
        if x.__class__ is not np.ndarray or y.__class__ is not np.ndarray:
            return None
        key = x.shape, x.dtype, y.shape, y.dtype
        known = self.programs.get(key)
        if isinstance(known, StepProgram):
            if known is not refuses and known.fits(x, y):
                return known
        elif known is not None and known == self._parts():  # asking costs more than the look whether it is worth it
            return None
        self.programs.pop(key, None)
        program = StepProgram(self.model, self.loss, self.optimizer, x, y) if self._can_be(x, y) else None
        stacks.make_room(self.programs, 0 if program is None else program.numbers)
        self.programs[key] = self._parts() if program is None else program
        return program

    def _parts(self) -> tuple[int, list[Any]]:
        """What says whether another look may find what the last one did not: arrays and parts."""
        return memory.generation, list(getattr(self.model, "functions", ()))

    def _can_be(self, x: Array, y: Array) -> bool:
        """Whether model, loss, optimizer and batch are such that a program does what the four lines do."""
        model, loss, optimizer = self.model, self.loss, self.optimizer
        if type(model) is not Sequential or not model.functions:
            return False
        if not stacks.as_installed(vars(model)):
            return False
        shape = stacks.output_shape(model.functions, x) if stacks.State(model.functions).whole else None
        if shape is None or gradient_bits(model.functions) is None:
            return False
        if not isinstance(optimizer, Optimizer) or optimizer.model is not model or optimizer.ranks is not None:
            return False
        if not vars(optimizer).keys().isdisjoint(STEPPING):
            return False
        if any(getattr(type(optimizer), name) is not method for name, method in STEPPING.items()):
            return False
        optimizer._follow()
        # of each layer: the model lists a weight that two share once, with one gradient, though they may have two
        grads = [grad for layer in model.functions for grad in layer.get_params_and_grads()[1]]
        if set(map(id, grads)) != set(map(id, optimizer._param_grads)):
            return False
        pred = np.empty(shape, dtype_of(model.functions[0]))
        return type(loss) in KERNELS and losses.can_compute(loss, pred, y)
