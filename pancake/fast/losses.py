"""Losses on the fast path: the value and the gradient in one program, for plain targets without weights.

Whatever else a loss is asked (weights, smoothing, other targets, a number that is not finite, an error to explain) is answered by
its page in `pancake/losses`.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, NoReturn

import numpy as np

from pancake.fast.loss_kernels import INTP, KERNELS
from pancake.fast.methods import OF_LOSSES, as_made
from pancake.fast.program import DTYPES, Notes, guard
from pancake.losses.classes import CrossEntropy
from pancake.losses.elementwise import BinaryCrossEntropy
from pancake.memory import Array


class LossProgram:
    """What a loss computes for predictions and targets of one shape and dtype.

    Attributes
    ----------
    forward : callable
        The value, a function of (pred, target); None, and nothing has happened, if they do not look like those that the program
        was made for, or something that it depends on has changed. ValueError if a target is not one that the loss takes.
    intact : callable
        Whether all that the program was made from is still the same.
    backward : callable
        dObj_dPred as a fresh array; None if something that the program was made from has changed.
    divisor : float
        What the sum is divided by, which the gradient is already.
    latest : Ran
        What the latest run has left in the loss.
    """

    latest: Any = None

    def __init__(self, loss: Any, pred: Array, target: Array) -> None:
        self.divisor = divisor_of(loss, target)
        notes = Notes()
        notes.names[id(pred)] = "pred"
        self.kernel = KERNELS[type(loss)](loss, notes, pred, target, self.divisor)
        array, shape, dtype = map(notes.held, (np.ndarray, pred.shape, pred.dtype))
        target_shape, target_dtype = map(notes.held, (target.shape, target.dtype))
        owners = [(loss, [name for name in vars(loss) if name != "divisor"])]  # an exchanged method would not have come here
        looks = [
            f"pred.__class__ is {array} is target.__class__ and pred.shape == {shape} and target.shape == {target_shape}",
            f"pred.dtype == {dtype} and target.dtype == {target_dtype}",
            *notes.unchanged(owners),
        ]
        self.forward = notes.write("pred, target", self.kernel.value(notes, pred, self.divisor), looks)
        self.intact = guard(owners)
        last = self.kernel.last
        result = notes.expression(*last) if last else notes.expression(self.kernel.gradient().copy, "K")
        self.backward = notes.write("", result, notes.unchanged(owners), lines=[])
        self.kept = self.kernel.kept

    def forget(self, loss: Any) -> None:
        """Never run again: a run has stopped half way, and overwritten what the loss was given before; its gradient is whole."""
        PROGRAMS[loss] = {key: known for key, known in PROGRAMS[loss].items() if known is not self}
        self.forward, self.kept = _nothing, functools.partial(lost, repr(loss))


def divisor_of(loss: Any, target: Array) -> float:
    """What the sum of the values is divided by."""
    return float(target.size) if loss.reduction == "mean" else 1.0


def can_compute(loss: Any, pred: Any, target: Any) -> bool:
    """Whether there is a kernel for this loss and what it is given."""
    cls = type(loss)
    if pred.__class__ is not np.ndarray or target.__class__ is not np.ndarray or pred.dtype not in DTYPES or not pred.size:
        return False
    if not vars(loss).keys().isdisjoint(OF_LOSSES) or loss.reduction not in ("mean", "sum") or not as_made(cls, OF_LOSSES):
        return False
    if cls is CrossEntropy:
        plain = loss.class_weight is None and not loss.label_smoothing and loss.ignore_index is None
        labels = target.dtype.kind in "iu" and np.can_cast(target.dtype, INTP)
        return plain and pred.ndim in (2, 3) and labels and target.shape == pred.shape[:-1]
    if cls is BinaryCrossEntropy and (not loss.from_logits or loss.pos_weight is not None):
        return False
    return target.shape == pred.shape and target.dtype in DTYPES


KEPT = 8  # so many programs are kept of a loss
PROGRAMS: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], LossProgram]] = weakref.WeakKeyDictionary()  # of each loss


def program_of(loss: Any, pred: Any, target: Any) -> LossProgram | None:
    """The program of a loss for such a prediction and target, if there can be one."""
    if not can_compute(loss, pred, target):
        return None
    programs = PROGRAMS.setdefault(loss, {})
    key = pred.shape, pred.dtype, pred.strides, target.shape, target.dtype
    program = programs.get(key)
    if program is None or not program.intact():
        loss.divisor = loss.divisor  # an attribute that is there from now on
        program = LossProgram(loss, pred, target)
        if len(programs) == KEPT:
            del programs[next(iter(programs))]
        programs[key] = program
    return program


def _nothing(pred: Any, target: Any) -> None:
    """The forward of a program that is not to run again."""


def lost(loss: str) -> NoReturn:
    raise RuntimeError(
        f"{loss}: a target that was refused has overwritten what the call before it left; call it again before backward"
    )
