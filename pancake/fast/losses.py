"""Losses on the fast path: the value and the gradient in one program.

Whatever there is no kernel for, a number that is not finite, and an error to explain are up to the page in `pancake/losses`.
"""

from __future__ import annotations

import functools
import weakref
from types import NoneType
from typing import Any, NoReturn

import numpy as np

from pancake.fast.kernels import WIDE
from pancake.fast.loss_kernels import BinaryKernel, LossKernel, SquaredErrorKernel
from pancake.fast.methods import OF_LOSSES, as_made
from pancake.fast.program import DTYPES, Notes, Owner
from pancake.memory import Array


class LossProgram:
    """What a loss computes for predictions and targets of one shape and dtype.

    Attributes
    ----------
    forward : callable
        The value, a function of (pred, target, weight); None, and nothing has happened, if they do not look like those that the
        program was made for, or something that it depends on has changed. ValueError if the loss does not take them.
    intact : callable
        Whether all that the program was made from is still the same.
    backward : callable
        dObj_dPred as a fresh array; None if something that the program was made from has changed.
    divisor : float
        What the sum is divided by, which the gradient is already.
    latest : float
        The value of the latest run, by which what the loss remembers is known. That itself holds the program: a circle would keep
        all arrays until Python looks for some.
    """

    latest: Any = None

    def __init__(self, loss: Any, pred: Array, target: Array, weight: Array | None) -> None:
        notes = Notes()
        notes.names[id(pred)] = "pred"
        self.kernel = kernel_of(loss, notes, pred, target, weight, divisor_of(loss, target))
        array, shape, dtype = map(notes.held, (np.ndarray, pred.shape, pred.dtype))
        target_shape, target_dtype = map(notes.held, (target.shape, target.dtype))
        owners = settings_of(loss)
        looks = [
            f"pred.__class__ is {array} is target.__class__ and pred.shape == {shape} and target.shape == {target_shape}",
            f"pred.dtype == {dtype} and target.dtype == {target_dtype}",
            like_weight(notes, weight),
            *notes.unchanged(owners),
            *contents_of(loss, notes),
        ]
        if self.kernel.divisor.endswith(")"):
            notes.lines.append(f"{notes.held(weakref.proxy(self))}.divisor = {self.kernel.divisor}")
        else:
            self.divisor = float(self.kernel.divisor)
        self.forward = notes.write("pred, target, weight", self.kernel.value, looks)
        last = self.kernel.last
        result = notes.expression(*last) if last else notes.expression(self.kernel.gradient().copy, "K")
        unchanged = [*notes.unchanged(owners), *contents_of(loss, notes)]
        self.backward = notes.write("", result, unchanged, lines=[])
        self.intact = notes.write("", "True", unchanged, "False", lines=[])
        self.kept = self.kernel.kept

    def forget(self, loss: Any, whole: bool) -> None:
        """Never run again: a run that came to nothing has overwritten what the loss was given before.

        Its gradient may be `whole`, since targets and weights are looked at first.
        """
        PROGRAMS[loss] = {key: known for key, known in PROGRAMS[loss].items() if known is not self}
        self.forward, self.kept = _nothing, functools.partial(lost, repr(loss))
        if not whole:
            self.backward = self.kept


def divisor_of(loss: Any, target: Array) -> float:
    """What the sum of the values is divided by, if all entries or examples count the same."""
    if loss.reduction != "mean":
        return 1.0
    rows = type(loss).__name__ in CLASSES and target.dtype.kind == "f"
    return float(target.size // target.shape[-1] if rows else target.size)


def counts_rows(loss: Any, target: Array, weight: Array | None) -> bool:
    """Whether what the sum is divided by follows from the number of rows."""
    return (
        loss.reduction != "mean"
        or type(loss).__name__ in ENTRIES
        or (weight is None and (target.dtype.kind == "f" or is_plain(loss)))
    )


def like_weight(notes: Notes, weight: Array | None) -> str:
    """The condition under which weights look like these."""
    if weight is None:
        return "weight is None"
    array, shape, dtype = map(notes.held, (np.ndarray, weight.shape, weight.dtype))
    return f"weight.__class__ is {array} and weight.shape == {shape} and weight.dtype == {dtype}"


# Losses that compare entry with entry, and those that compare rows with classes.
ENTRIES = {"MeanSquaredError", "MeanAbsoluteError", "Huber", "Quantile", "Hinge", "BinaryCrossEntropy", "PoissonNLL"}
CLASSES = {"CrossEntropy", "NegativeLogLikelihood"}


def can_compute(loss: Any, pred: Any, target: Any, weight: Any) -> bool:
    """Whether there is a kernel for this loss and what it is given."""
    cls = type(loss)
    if pred.__class__ is not np.ndarray or target.__class__ is not np.ndarray or pred.dtype not in DTYPES or not pred.size:
        return False
    if cls.__name__ not in ENTRIES | CLASSES or not as_made(cls, OF_LOSSES) or not vars(loss).keys().isdisjoint(OF_LOSSES):
        return False
    if loss.reduction not in ("mean", "sum"):
        return False
    if weight is not None:
        if weight.__class__ is not np.ndarray or (weight.dtype not in DTYPES and weight.dtype.kind not in "iub"):
            return False
        if not 0 < weight.ndim <= target.ndim or weight.shape != target.shape[: weight.ndim]:
            return False
    if cls.__name__ in ENTRIES:
        return (
            target.shape == pred.shape
            and (target.dtype in DTYPES or target.dtype.kind in "iub")
            and _fits(loss, "pos_weight", pred)
        )
    if pred.ndim not in (2, 3) or (pred.shape[-1] >= WIDE and not (weight is None and is_plain(loss))):
        return False
    if target.dtype.kind == "f":
        rows = target.shape == pred.shape and target.dtype in DTYPES and (weight is None or weight.ndim < pred.ndim)
        return rows and getattr(loss, "ignore_index", None) is None and _fits(loss, "class_weight", pred)
    labels = target.dtype.kind in "biu" and np.can_cast(target.dtype, np.intp) and target.shape == pred.shape[:-1]
    known = isinstance(getattr(loss, "ignore_index", None), (int, np.integer, NoneType))  # it may have been set to anything
    return labels and known and _fits(loss, "class_weight", pred)


def _fits(loss: Any, name: str, pred: Array) -> bool:
    """Whether a setting that may be an array is none, or one that broadcasts to the predictions."""
    setting = getattr(loss, name, None)
    if setting is None:
        return True
    if setting.__class__ is not np.ndarray or setting.dtype not in DTYPES:
        return False
    if not ((setting >= 0) & (setting <= np.finfo(pred.dtype).max)).all():
        return False
    if name == "class_weight":
        return setting.shape == pred.shape[-1:]
    return setting.ndim <= pred.ndim and all(n in (1, m) for n, m in zip(setting.shape[::-1], pred.shape[::-1], strict=False))


def is_plain(loss: Any) -> bool:
    """Whether a loss has no settings by which examples or classes count more or less."""
    return loss.class_weight is None and not getattr(loss, "label_smoothing", 0) and getattr(loss, "ignore_index", None) is None


def kernel_of(loss: Any, notes: Notes, pred: Array, target: Array, weight: Array | None, divisor: float) -> LossKernel:
    """The kernel of a loss."""
    name = type(loss).__name__
    if weight is None and name == "MeanSquaredError":
        return SquaredErrorKernel(notes, pred, target, divisor)
    if weight is None and name == "BinaryCrossEntropy" and loss.from_logits and loss.pos_weight is None:
        return BinaryKernel(notes, pred, target, divisor)
    if name in ENTRIES:
        from pancake.fast.loss_pages import PageKernel

        return PageKernel(loss, notes, pred, target, weight, divisor)
    from pancake.fast import class_kernels

    if name == "NegativeLogLikelihood":
        return class_kernels.LikelihoodKernel(loss, notes, pred, target, weight, divisor)
    if weight is None and is_plain(loss) and target.dtype.kind != "f":
        return class_kernels.of_labels(notes, pred, target, divisor)
    return class_kernels.WeightedCrossEntropyKernel(loss, notes, pred, target, weight, divisor)


def settings_of(loss: Any) -> list[Owner]:
    """What must stay the same of a loss, as `Notes.unchanged` takes it."""
    return [(loss, [name for name in vars(loss) if name != "divisor"])]  # an exchanged method would not have come here


def contents_of(loss: Any, notes: Notes) -> list[str]:
    """The conditions under which the settings that are arrays have the same numbers."""
    arrays = [value for value in vars(loss).values() if isinstance(value, np.ndarray)]
    return [f"{notes.name(array.tobytes)}() == {notes.held(array.tobytes())}" for array in arrays]


KEPT = 8  # so many programs are kept of a loss
OFTEN = 100  # calls of the page, beside which it costs little to write a program
NOTED = 64  # programs and shapes
# Of each loss; or where there were enough, how often the page has been called.
PROGRAMS: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], LossProgram | int]] = weakref.WeakKeyDictionary()


def program_of(loss: Any, pred: Any, target: Any, weight: Any) -> LossProgram | None:
    """The program of a loss for such a prediction, target and weights, if there can be one.

    To write it takes as long as ten calls of the page. So that is called where many shapes come in turn, until one has come
    often: not by the settings, since the same call is to say the same to the last digit.
    """
    if not all(array.__class__ is np.ndarray for array in (pred, target, *(() if weight is None else (weight,)))):
        return None
    programs = PROGRAMS.setdefault(loss, {})
    key = (
        pred.shape,
        pred.dtype,
        pred.strides,
        target.shape,
        target.dtype,
        *(() if weight is None else (weight.shape, weight.dtype)),
    )
    known = programs.get(key, 0)
    if isinstance(known, LossProgram):
        if known.intact():
            return known
    elif len(programs) >= KEPT and known < OFTEN:
        if not known and len(programs) >= NOTED:
            del programs[next(other for other, known in programs.items() if isinstance(known, int))]
        programs[key] = known + 1
        return None
    if not can_compute(loss, pred, target, weight):
        return None
    loss.divisor = loss.divisor  # an attribute that is there from now on
    program = LossProgram(loss, pred, target, weight)
    written = [other for other, known in programs.items() if isinstance(known, LossProgram)]
    if len(written) >= KEPT and key not in written:
        del programs[written[0]]
    programs.pop(key, None)  # the latest comes last
    programs[key] = program
    return program


def _nothing(pred: Any, target: Any, weight: Any) -> None:
    """The forward of a program that is not to run again."""


def lost(loss: str) -> NoReturn:
    raise RuntimeError(
        f"{loss}: a target that was refused has overwritten what the call before it left; call it again before backward"
    )
