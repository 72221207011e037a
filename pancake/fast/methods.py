"""What stands before the methods of plain classes: it runs the programs that are there, and asks for those that are not.

The fast path meets each class when it is made. What makes the programs is loaded when the first one is needed, which most of
`import pancake` would else be waiting for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

from pancake.fast import switch
from pancake.fast.left import Ran, StackKept
from pancake.optimizers.optimizer import Optimizer
from pancake.origin import is_own

METHODS = ("compute_forward", "compute_backward", "accumulate_grads")
OF_CELLS = (*METHODS, "init_state")
OF_BRANCHES = (*METHODS, "combine", "gradients")
OF_LOSSES = ("compute_forward", "compute_backward")
STEPPING = {name: getattr(Optimizer, name) for name in ("step", "zero_grad")}

MADE: dict[tuple[type, str], Any] = {}  # the methods of pancake's classes when these were made


def meet(cls: type) -> None:
    """Put the fast path before the methods of a class that has just been made, if it has one, and note its methods."""
    if is_own(cls):
        before = _BEFORE.get(cls.__name__)
        for method in before(cls) if before else ():
            setattr(cls, method.__name__, method)
        MADE.update({(cls, name): getattr(cls, name) for name in {*OF_CELLS, *OF_BRANCHES} if hasattr(cls, name)})


def as_made(cls: type, names: Iterable[str] = METHODS) -> bool:
    """Whether nobody has exchanged these methods of one of pancake's classes."""
    return all(getattr(cls, name) is MADE.get((cls, name)) for name in names)


def untouched(attributes: dict[str, Any], cls: type, names: Iterable[str] = METHODS) -> bool:
    """Whether nobody has put other methods on an object with these attributes, or on its class, one of pancake's."""
    return attributes.keys().isdisjoint(names) and as_made(cls, names)


def is_unrolled(layer: object) -> bool:
    """Whether that is an `Unrolled`, and nothing derived from it. It is not loaded before somebody makes one."""
    cls = type(layer)
    return cls.__name__ == "Unrolled" and is_own(cls)


def _stack(cls: Any) -> Iterable[Callable[..., Any]]:
    plain_forward, plain_backward, plain_accumulate = (getattr(cls, name) for name in METHODS)

    @functools.wraps(plain_forward)
    def compute_forward(self: Any, x: Any, lengths: Any = None) -> Any:
        kept = self._cache
        if kept.__class__ is Ran and kept.program.functions == self.functions and lengths is None and not switch.reasons:
            self._cache = None  # until the run is through
            y = kept.program.forward(x, not kept.used)
            if y is not None:
                self._cache = kept.program.latest
                return y
            self._cache = kept
        if switch.reasons or lengths is not None or self.__class__ is not cls or not self.functions:
            return plain_forward(self, x, lengths)
        from pancake.fast import stacks

        return stacks.forward_in_parts(self, x)

    @functools.wraps(plain_backward)
    def compute_backward(self: Any, dObj_dOut: Any) -> Any:
        kept = self._cache
        if kept.__class__ is Ran and kept.program.functions == self.functions and not switch.reasons:
            if not (kept.used and kept.older):
                dObj_dIn = kept.program.backward[True](dObj_dOut)
                if dObj_dIn is not NotImplemented:
                    return dObj_dIn
        elif kept.__class__ is StackKept and not switch.reasons:
            from pancake.fast import stacks

            return stacks.back_in_parts(self, kept, dObj_dOut)
        return plain_backward(self, dObj_dOut)

    @functools.wraps(plain_accumulate)
    def accumulate_grads(self: Any, dObj_dOut: Any) -> None:
        kept: Any = None if "compute_backward" in vars(self) else self._cache
        if kept.__class__ is Ran and kept.program.functions == self.functions and not switch.reasons:
            if not (kept.used and kept.older) and kept.program.backward[False](dObj_dOut) is None:
                return
        elif kept.__class__ is StackKept and not switch.reasons:
            from pancake.fast import stacks

            return stacks.accumulate_in_parts(self, kept, dObj_dOut)
        plain_accumulate(self, dObj_dOut)

    return compute_forward, compute_backward, accumulate_grads


def _loss(cls: Any) -> Iterable[Callable[..., Any]]:
    plain_forward, plain_backward = (getattr(cls, name) for name in OF_LOSSES)

    @functools.wraps(plain_forward)
    def compute_forward(self: Any, pred: Any, target: Any, weight: Any = None) -> Any:
        kept = self._cache
        if switch.reasons or self.__class__ is not cls:
            return plain_forward(self, pred, target, weight)
        program: Any = kept.program if kept.__class__ is Ran else None
        self._cache = None  # until the run is through
        whole = False
        try:
            value = None if program is None else program.forward(pred, target, weight)
            if value is None:
                from pancake.fast import losses

                program = None  # nothing has run, should there be none
                program = losses.program_of(self, pred, target, weight)
                value = math.nan if program is None else program.forward(pred, target, weight)
        except ValueError:  # which the page explains, or knows how to avoid
            value, whole = math.nan, True
        except (FloatingPointError, RuntimeWarning):
            value = math.nan
        if not math.isfinite(value):  # also limits, which the page takes one by one
            self._cache = kept
            try:
                return plain_forward(self, pred, target, weight)
            except BaseException:
                if self._cache is kept and kept.__class__ is Ran and kept.program is program:
                    program.forget(self, whole)
                raise
        ran = Ran()
        ran.program = program
        ran.value = program.latest = value
        if kept is not None and not kept.used:
            ran.older = True
        self.divisor = program.divisor
        self._cache = ran  # whole, or a Ctrl-C would leave one without a program
        return value

    @functools.wraps(plain_backward)
    def compute_backward(self: Any) -> Any:
        kept = self._cache
        if kept.__class__ is Ran and not switch.reasons:
            program = kept.program
            if program.latest is kept.value and not (kept.used and kept.older):
                dObj_dPred = program.backward()
                if dObj_dPred is not None:
                    kept.used = True
                    return dObj_dPred
        return plain_backward(self)

    return compute_forward, compute_backward


def _unrolled(cls: Any) -> Iterable[Callable[..., Any]]:
    plain_forward, plain_backward, plain_accumulate = (getattr(cls, name) for name in METHODS)

    @functools.wraps(plain_forward)
    def compute_forward(self: Any, x: Any, state: Any = None, lengths: Any = None) -> Any:
        if switch.reasons or type(self) is not cls or not is_own(self.cell):
            return plain_forward(self, x, state, lengths)
        from pancake.fast import sequences

        y = sequences.forward(self, x, state, lengths)
        return plain_forward(self, x, state, lengths) if y is None else y

    @functools.wraps(plain_backward)
    def compute_backward(self: Any, dObj_dOut: Any, dObj_dState: Any = None) -> Any:
        from pancake.fast import sequences

        kernel = sequences.latest(self)
        if kernel is None:
            return plain_backward(self, dObj_dOut, dObj_dState)
        return sequences.backward(self, kernel, dObj_dOut, dObj_dState)

    @functools.wraps(plain_accumulate)
    def accumulate_grads(self: Any, dObj_dOut: Any, dObj_dState: Any = None) -> None:
        from pancake.fast import sequences

        kernel = None if "compute_backward" in vars(self) else sequences.latest(self)
        if kernel is None:
            return plain_accumulate(self, dObj_dOut, dObj_dState)
        sequences.run_backward(self, kernel, dObj_dOut, dObj_dState, None)

    return compute_forward, compute_backward, accumulate_grads


def _embedding(cls: Any) -> Iterable[Callable[..., Any]]:
    plain_forward, plain_backward = cls.compute_forward, cls.compute_backward

    @functools.wraps(plain_forward)
    def compute_forward(self: Any, x: Any) -> Any:
        if switch.reasons or type(self) is not cls:
            return plain_forward(self, x)
        indices = self._indices(x)
        self._remember(indices)
        return self.weight.take(indices.T, axis=0).swapaxes(0, 1) if indices.ndim == 2 else self.weight.take(indices, axis=0)

    @functools.wraps(plain_backward)
    def compute_backward(self: Any, dObj_dOut: Any) -> Any:
        if switch.reasons or type(self) is not cls or self.frozen:
            return plain_backward(self, dObj_dOut)
        from pancake.fast import embeddings

        return embeddings.backward(self, dObj_dOut) if embeddings.can_add(self) else plain_backward(self, dObj_dOut)

    return compute_forward, compute_backward


_BEFORE: dict[str, Callable[[Any], Iterable[Callable[..., Any]]]] = {
    "Sequential": _stack,
    "Unrolled": _unrolled,
    "Embedding": _embedding,
    **dict.fromkeys(("MeanSquaredError", "MeanAbsoluteError", "Huber", "Quantile", "Hinge", "BinaryCrossEntropy"), _loss),
    **dict.fromkeys(("PoissonNLL", "CrossEntropy", "NegativeLogLikelihood"), _loss),
}
