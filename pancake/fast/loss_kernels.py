"""Kernels of losses: the value and the gradient together, as calls of NumPy into arrays made beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.fast.program import Notes, Text, bound, scalar
from pancake.function import Kept
from pancake.functions.activations import largest_exponent
from pancake.memory import Array

ONE_THREAD = 10_000  # numbers; of more OpenBLAS has several threads make a dot product, which may wait for each other for long
FEW = 256  # entries, of which one long call is shorter than several short ones
TARGET = Text("target")


class LossKernel:
    """Notes the value and the gradient of a loss, for a prediction that looks like `pred` and has a name in the notes.

    Attributes
    ----------
    value : str
        The expression of the value, a float64 whatever the predictions are.
    divisor : str
        That of what the sum of the values has been divided by.
    last : tuple of (function, arrays)
        The call that makes the gradient, to be written to `g`; empty if `g` is the gradient already.
    latest : Kept
        Whether what a whole step leaves in the loss has been answered.
    """

    value: str
    divisor: str
    last: tuple[Any, ...] = ()
    g: Array
    latest: Kept

    def note_target(self, notes: Notes, target: Array, weight: Array | None, start: int) -> None:
        """Let what has been noted from there on, which depends on target and weights alone, be run where these are others.

        Few are first compared with those of the last run: where all examples are one batch, they are the same in each step.
        """
        if target.size >= FEW:
            return
        calls = notes.lines[start:]
        last, seen = notes.held([None]), "target.tobytes()" if weight is None else "target.tobytes(), weight.tobytes()"
        notes.lines[start:] = [
            f"seen = {seen}",
            f"if seen != {last}[0]: {'; '.join([f'{last}[0] = None', *calls, f'{last}[0] = seen'])}",
        ]

    def note_value(self, notes: Notes, result: str, divisor: float, dtype: Any) -> None:
        """Note the value from the expression of the sum."""
        self.divisor = repr(divisor)
        value = f"{result} / {divisor!r}"
        self.value = value if dtype == np.float64 else f"{notes.name(np.float64)}({value})"

    def floats(self, notes: Notes, pred: Array, target: Array) -> Any:
        """The target in the dtype of the prediction."""
        if target.dtype == pred.dtype:
            return TARGET
        t = np.empty_like(pred)
        notes.put(t, TARGET)
        return t

    def gradient(self) -> Array:
        """`g` in the shape of the predictions; the same memory after every run."""
        return self.g

    def kept(self) -> tuple[Any, ...]:
        """What the page would remember."""
        raise NotImplementedError


def refuse_more(array: Array, most: int) -> None:
    """ValueError if a whole number is more than that. argmax costs a third of max on small arrays."""
    if array.item(array.argmax()) > most:
        raise ValueError


def need(holds: bool) -> None:
    """ValueError unless something holds."""
    if not holds:
        raise ValueError


def note_cast(notes: Notes, array: Array, value: Any, dtype: np.dtype[Any]) -> None:
    """Note that an array is filled with a value of that dtype, without a warning of what its own cannot hold, as on the page."""
    if np.can_cast(dtype, array.dtype) or dtype.kind != "f":
        notes.put(array, value)
    else:
        notes.call(_cast, array, value)


def _cast(array: Array, value: Array) -> None:
    with np.errstate(over="ignore"):
        array[...] = value


def fill_absent(array: Array, value: float, weight: Array) -> None:
    """Put what any loss takes in the place of what does not count, and of which nobody knows what it is."""
    if np.count_nonzero(weight) < weight.size:
        np.copyto(array, value, where=weight == 0)


def aligned(weight: Array, ndim: int) -> Text:
    """The expression of the weights with as many axes as what they weigh."""
    return Text("weight" if weight.ndim == ndim else f"weight.reshape({weight.shape + (1,) * (ndim - weight.ndim)})")


def as_numbers(notes: Notes, array: Any, dtype: np.dtype[Any], most: float) -> Text:
    """The expression that is a ValueError unless all floats are from 0 to that. As bits, -0, negative ones and nan are larger."""
    bits = f"{notes.name(array)}.view({notes.held(np.dtype(f'u{dtype.itemsize}'))})"
    return notes.expression(refuse_more, Text(bits), int(np.array(most, dtype).view(f"u{dtype.itemsize}")))


def sum_of_products(notes: Notes, a: Array, b: Array | Text, work: Array) -> Text:
    """The expression of the sum of all a b, for which of many the array `work` is overwritten."""
    if work.size <= ONE_THREAD:
        return notes.expression(a.reshape(-1).dot, b.reshape(-1))
    notes.call(np.multiply, a, b, work)
    return notes.expression(np.add.reduce, work, None)


def total(notes: Notes, values: Array) -> str:
    """The expression of the sum of an array: of few numbers a product with ones is the cheaper one."""
    flat = values.ravel("K")
    if flat.size < FEW and np.may_share_memory(flat, values):
        return notes.expression(flat.dot, np.ones_like(flat))
    return notes.expression(np.add.reduce, values, None)


class SquaredErrorKernel(LossKernel):
    """(p - t)^2 and 2 (p - t) / n."""

    def __init__(self, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        self.difference, self.g = np.empty_like(pred), np.empty_like(pred)
        notes.call(np.subtract, pred, self.floats(notes, pred, target), self.difference)
        flat = self.difference.ravel("K")
        if flat.size < FEW and np.may_share_memory(flat, self.difference):  # the cheaper sum of few entries
            result = notes.expression(flat.dot, flat)
        else:
            values = np.empty_like(self.difference)
            notes.call(np.multiply, self.difference, self.difference, values)
            result = notes.expression(np.add.reduce, values, None)
        self.note_value(notes, result, divisor, pred.dtype)
        self.last = np.divide, self.difference, scalar(divisor / 2, pred.dtype)

    def kept(self) -> tuple[Any, ...]:
        return self.difference, np.ones((1,) * self.difference.ndim, self.difference.dtype)


class BinaryKernel(LossKernel):
    """log(1 + exp(z)) - t z and (sigmoid(z) - t) / n, from logits z."""

    def __init__(self, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        dtype = pred.dtype
        self.z, self.minus_t, values, rest, work, e, self.g = (np.empty_like(pred) for _ in range(7))
        z, minus_t = pred, self.minus_t
        # As whole numbers, floats from -0 to -1 are those from the least to that of -1; 1, nan, and +0, made of a -0, which the
        # page knows better, are larger.
        bits, largest = (array.view(f"i{dtype.itemsize}") for array in (minus_t, -np.ones((), dtype)))
        start = len(notes.lines)
        notes.call(np.negative, self.floats(notes, pred, target), minus_t)
        notes.call(refuse_more, bits, int(largest))
        self.note_target(notes, target, None, start)
        few = pred.size < FEW
        # In this order a sure and right logit, of which almost nothing is left, loses none of its digits.
        notes.call(np.multiply, minus_t, z, work)
        if few:  # log(exp(z - t z) + exp(-t z)): one call against five; but each entry takes ten times as long
            notes.call(np.add, z, work, rest)
            notes.call(np.logaddexp, rest, work, values)
        else:  # max(z, 0) - t z + log(1 + exp(-|z|))
            notes.call(np.maximum, z, bound(0, values), out=values)
            notes.call(np.add, values, work, values)
            notes.call(np.abs, z, work)
            notes.call(np.negative, work, work)
            notes.call(np.exp, work, work)
            notes.call(np.log1p, work, work)
            notes.call(np.add, values, work, values)
        self.note_value(notes, total(notes, values), divisor, dtype)
        # What is kept need not be more than this either, since the sigmoid has long been 1.
        notes.call(np.minimum, z, bound(largest_exponent(dtype), self.z), out=self.z)
        notes.call(np.exp, self.z, e)
        notes.call(np.add, e, scalar(1, dtype), self.g)
        notes.call(np.divide, e, self.g, self.g)  # sigmoid(z)
        notes.call(np.add, self.g, minus_t, self.g)
        self.last = np.divide, self.g, scalar(divisor, dtype)

    def kept(self) -> tuple[Any, ...]:
        return self.z, -self.minus_t, np.ones_like(self.z), np.ones((1,) * self.z.ndim, self.z.dtype)
