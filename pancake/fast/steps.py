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
from pancake.fast.program import NUMBERS, Left, Notes, guard, same
from pancake.fast.stacks import DTYPES, METHODS, PROGRAMS, Chain
from pancake.function import Kept
from pancake.functions.containers import Sequential
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer

STEPPING = "step", "zero_grad"
INSTALLED = {name: getattr(Sequential, name) for name in METHODS}


class LossLeft(Left):
    """What a step leaves in a loss."""

    __slots__ = ()


class StepProgram:
    """The step for batches of one shape and dtype.

    Attributes
    ----------
    fits : callable
        Whether this is the step for a batch (x, y), and all that it was made from is still the same.
    remembered : callable
        Whether layers, stack and loss remember what this program has left, and nothing else.
    forward : callable
        The value of the loss, a function of (x, target).
    backward : callable
        Writes the gradients of all parameters.
    update : callable
        Changes the parameters by them.
    """

    def __init__(self, model: Sequential, loss: Any, optimizer: Optimizer, x: Array, y: Array) -> None:
        self.model, self.loss, self.optimizer, self.functions = model, loss, optimizer, model.functions.copy()
        loss.divisor = math.nan  # an attribute that is there from now on
        notes = Notes()
        self.chain = Chain(self.functions, x, notes, False)
        self.divisor = losses.divisor_of(loss, y)
        kernel = losses.KERNELS[type(loss)](loss, notes, self.chain.output, y, self.divisor)
        self.forward = notes.write("x, target", kernel.value(notes, self.chain.output, self.divisor))
        notes, g = Notes(), kernel.gradient()
        if kernel.last:
            notes.call(*kernel.last, kernel.g)
        d = g.T if g.ndim == 2 else self.chain.lies.new(self.chain.features)
        if g.ndim != 2:
            notes.put(self.chain.lies.seen(d), g)
        self.backward = notes.write("", self.chain.note_backward(notes, d, False, True))
        self.kept = Kept(([*zip(self.functions, self.chain.left, strict=True)],), False)
        self.kept.used = True
        self.loss_left = LossLeft(self.chain.run, kernel.kept)
        self.older = False
        places = [(layer, "_cache", left) for layer, left in zip(self.functions, self.chain.left, strict=True)]
        self.update = optimizer._advance
        self.remembered = same([*places, (model, "_cache", self.kept), (loss, "_cache", self.loss_left)])
        self.fits = self._guard(x, y)

    def _guard(self, x: Array, y: Array) -> Callable[[Any, Any], bool]:
        owners = [
            (self.model, ["functions"]),
            (self.loss, [name for name in vars(self.loss) if name != "divisor"]),
            (self.optimizer, ["model"]),
            *self.chain.guarded,
        ]
        methods = [(Sequential, METHODS), (type(self.loss), losses.METHODS), (type(self.optimizer), STEPPING)]
        more = [
            "x.__class__ is array is y.__class__ and x.shape == x_shape and y.shape == y_shape",
            "x.dtype == x_dtype and y.dtype == y_dtype",
            "memory.generation == generation and functions == copied",
        ]
        values: dict[str, Any] = {"array": np.ndarray, "memory": memory, "generation": memory.generation}
        values |= {"x_shape": x.shape, "x_dtype": x.dtype, "y_shape": y.shape, "y_dtype": y.dtype}
        values |= {"functions": self.model.functions, "copied": self.functions}
        return guard(
            owners, [*((cls, name) for cls, names in methods for name in names), *self.chain.methods], "x, y", more, values
        )

    def objective(self, x: Array, y: Array) -> Any:
        """Run forward; return the value of the loss, or None if that is up to its page, which explains what is wrong."""
        run = self.chain.run
        if self.older or run.answered != run.number or not self.remembered():
            self._take_over()
        run.number = next(NUMBERS)
        try:
            value = self.forward(x, y)
        except ValueError:
            value = math.nan
        except BaseException:
            for owner in (*self.functions, self.model, self.loss):
                owner._cache = None
            raise
        if not math.isfinite(value):
            run.answered = run.number
            return None
        self.loss.divisor = self.divisor
        return value

    def output(self) -> Array:
        """What the model has put out, as a fresh array."""
        return self.chain.output.copy()

    def _take_over(self) -> None:
        """Leave in the layers, the stack and the loss what they are to remember of the coming run."""
        self.chain.take_over()
        for owner, left in ((self.model, self.kept), (self.loss, self.loss_left)):
            before = owner._cache
            left.older = before is not None and not before.used
            owner._cache = left
        self.older = self.chain.older or self.kept.older or self.loss_left.older

    def accumulate(self) -> None:
        """Write the gradients of all parameters."""
        self.backward()
        self.chain.run.answered = self.chain.run.number


class Steps:
    """The programs for the steps with one model, one loss and one optimizer."""

    def __init__(self, model: Any, loss: Any, optimizer: Any) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.programs: dict[tuple[Any, ...], Any] = {}  # or why there is none: what the parts were when that was found out
        self.latest: StepProgram | None = None

    def program(self, x: Any, y: Any) -> StepProgram | None:
        """The program for such a batch, if there can be one."""
        latest = self.latest
        if latest is not None and not switch.reasons and latest.fits(x, y):
            return latest
        if switch.reasons or x.__class__ is not np.ndarray or y.__class__ is not np.ndarray:
            return None
        key = x.shape, x.dtype, y.shape, y.dtype
        known = self.programs.get(key)
        if isinstance(known, StepProgram):
            if known.fits(x, y):
                self.latest = known
                return known
        elif known is not None and known == self._parts():  # asking costs more than the look whether it is worth it
            return None
        can_be = self._can_be(x, y)
        known = StepProgram(self.model, self.loss, self.optimizer, x, y) if can_be else self._parts()
        if key not in self.programs and len(self.programs) >= PROGRAMS:
            del self.programs[next(iter(self.programs))]
        self.programs[key] = known
        self.latest = known if isinstance(known, StepProgram) else None
        return self.latest

    def _parts(self) -> tuple[int, list[Any]]:
        """What says whether another look may find what the last one did not: arrays and parts."""
        return memory.generation, list(getattr(self.model, "functions", ()))

    def _can_be(self, x: Array, y: Array) -> bool:
        """Whether model, loss, optimizer and batch are such that a program does what the four lines do."""
        model, loss, optimizer = self.model, self.loss, self.optimizer
        if type(model) is not Sequential or x.dtype not in DTYPES or x.ndim not in (2, 3) or not x.size or not model.functions:
            return False
        if not vars(model).keys().isdisjoint(METHODS) or any(getattr(Sequential, n) is not m for n, m in INSTALLED.items()):
            return False
        if (
            not stacks.State(model.functions).whole
            or not stacks._fits(model.functions, x)
            or stacks.gradient_bits(model.functions) is None
        ):
            return False
        if not isinstance(optimizer, Optimizer) or optimizer.ranks is not None:
            return False
        if not vars(optimizer).keys().isdisjoint(STEPPING):
            return False
        if any(getattr(type(optimizer), name) is not getattr(Optimizer, name) for name in STEPPING):
            return False
        optimizer._follow()
        grads = model.get_params_and_grads()[1]
        if set(map(id, grads)) != set(map(id, optimizer._param_grads)):
            return False
        layers: list[Any] = model.functions
        features = next(layer.n_out for layer in reversed(layers) if isinstance(layer, Linear))
        pred = np.empty((*x.shape[:-1], features), layers[0].weight.dtype)
        return type(loss) in losses.KERNELS and losses._fits(loss, pred, y)
