"""Kernels of the losses: the value and the gradient together, as calls of NumPy into arrays made beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.fast.kernels import WIDE
from pancake.fast.program import Notes, Text, bound, scalar, unsigned
from pancake.function import Kept
from pancake.functions.activations import largest_exponent, sigmoid
from pancake.losses.classes import CrossEntropy
from pancake.losses.elementwise import BinaryCrossEntropy, Huber, MeanAbsoluteError, MeanSquaredError
from pancake.losses.loss import Loss
from pancake.memory import Array

INTP = np.dtype(np.intp)
BLOCK = 1 << 16  # numbers in a block of rows
FEW = 256  # entries, of which one long call is shorter than several short ones
TARGET = Text("target")


class LossKernel:
    """Notes the value and the gradient of a loss, for a prediction that looks like `pred` and has a name in the notes.

    Attributes
    ----------
    result : str
        The expression of the sum of the values.
    last : tuple of (function, arrays)
        The call that makes the gradient, to be written to `g`; empty if `g` is the gradient already.
    latest : Kept
        Whether what a whole step leaves in the loss has been answered.
    """

    result: str
    last: tuple[Any, ...] = ()
    g: Array
    latest: Kept

    def note_target(self, notes: Notes, target: Array, *calls: str) -> None:
        """Note what is made of the target alone.

        Few are first compared with those of the last run: where all examples are one batch, they are the same in each step.
        """
        if target.size >= FEW:
            notes.lines += calls
            return
        last = notes.held([None])
        notes.lines.append("seen = target.tobytes()")
        notes.lines.append(f"if seen != {last}[0]: {'; '.join([f'{last}[0] = None', *calls, f'{last}[0] = seen'])}")

    def value(self, notes: Notes, pred: Array, divisor: float) -> str:
        """The expression of the sum, divided: a float64 whatever the predictions are."""
        value = f"{self.result} / {divisor!r}"
        return value if pred.dtype == np.float64 else f"{notes.name(np.float64)}({value})"

    def gradient(self) -> Array:
        """`g` in the shape of the predictions; the same memory after every run."""
        return self.g

    def kept(self) -> tuple[Any, ...]:
        """What the page would remember."""
        raise NotImplementedError


def _refuse_more(array: Array, most: int) -> None:
    """ValueError if a whole number is more than that. argmax costs a third of max on small arrays."""
    if array.item(array.argmax()) > most:
        raise ValueError


class SquaredErrorKernel(LossKernel):
    """(p - t)^2 and 2 (p - t) / n."""

    def __init__(self, loss: Any, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        dtype = pred.dtype
        self.difference, self.g = np.empty_like(pred), np.empty_like(pred)
        t: Any = TARGET
        if target.dtype != dtype:
            t = np.empty_like(pred)
            notes.put(t, TARGET)
        notes.call(np.subtract, pred, t, self.difference)
        self.last = np.divide, self.g, scalar(divisor, dtype)
        self.note(loss, notes, dtype, divisor)

    def note(self, loss: Any, notes: Notes, dtype: Any, divisor: float) -> None:
        flat = self.difference.ravel("K")
        if flat.size < FEW and np.may_share_memory(flat, self.difference):  # the cheaper sum of few entries
            self.result = notes.expression(flat.dot, flat)
        else:
            values = np.empty_like(self.difference)
            notes.call(np.multiply, self.difference, self.difference, values)
            self.result = notes.expression(np.add.reduce, values, None)
        self.last = np.divide, self.difference, scalar(divisor / 2, dtype)

    def kept(self) -> tuple[Any, ...]:
        return self.difference, np.ones((1,) * self.difference.ndim, self.difference.dtype)


class AbsoluteErrorKernel(SquaredErrorKernel):
    """|p - t| and sign(p - t) / n."""

    def note(self, loss: Any, notes: Notes, dtype: Any, divisor: float) -> None:
        values = np.empty_like(self.difference)
        notes.call(np.abs, self.difference, values)
        notes.call(np.sign, self.difference, self.g)
        self.result = notes.expression(np.add.reduce, values, None)


class HuberKernel(SquaredErrorKernel):
    """near (|p - t| - near / 2), near being |p - t| up to delta, and p - t clipped to delta, / n."""

    def note(self, loss: Any, notes: Notes, dtype: Any, divisor: float) -> None:
        values, near = np.empty_like(self.g), np.empty_like(self.g)
        notes.call(np.abs, self.difference, values)
        notes.call(np.minimum, values, bound(loss.delta, values), out=near)
        notes.call(np.multiply, near, scalar(0.5, dtype), self.g)
        notes.call(np.subtract, values, self.g, values)
        notes.call(np.multiply, near, values, values)
        notes.call(np.minimum, self.difference, bound(loss.delta, self.g), out=self.g)
        notes.call(np.maximum, self.g, bound(-loss.delta, self.g), out=self.g)
        self.result = notes.expression(np.add.reduce, values, None)


class BinaryKernel(LossKernel):
    """log(1 + exp(z)) - t z and (sigmoid(z) - t) / n, from logits z."""

    def __init__(self, loss: Any, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        dtype = pred.dtype
        self.z, self.minus_t, values, rest, work, e, self.g = (np.empty_like(pred) for _ in range(7))
        z, minus_t = pred, self.minus_t
        # As whole numbers, floats from -0 to -1 are those from the least to that of -1; 1, nan, and +0, made of a -0, which the
        # page knows better, are larger.
        bits, largest = (array.view(f"i{dtype.itemsize}") for array in (minus_t, -np.ones((), dtype)))
        look = notes.expression(_refuse_more, bits, int(largest))
        self.note_target(notes, target, notes.expression(np.negative, TARGET, minus_t), look)
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
        flat = values.ravel("K")
        if few and np.may_share_memory(flat, values):  # a product with ones is the cheaper sum of few entries
            self.result = notes.expression(flat.dot, np.ones_like(flat))
        else:
            self.result = notes.expression(np.add.reduce, values, None)
        # What is kept need not be more than this either, since the sigmoid has long been 1.
        notes.call(np.minimum, z, bound(largest_exponent(dtype), self.z), out=self.z)
        notes.call(np.exp, self.z, e)
        notes.call(np.add, e, scalar(1, dtype), self.g)
        notes.call(np.divide, e, self.g, self.g)  # sigmoid(z)
        notes.call(np.add, self.g, minus_t, self.g)
        self.last = np.divide, self.g, scalar(divisor, dtype)

    def kept(self) -> tuple[Any, ...]:
        return self.z, -self.minus_t, np.ones_like(self.z), np.ones((1,) * self.z.ndim, self.z.dtype)


class TwoClassKernel(LossKernel):
    """log(1 + exp(u)), and +- sigmoid(u) / n with + for the wrong class, where u is its logit less that of the right one.

    For predictions (N, 2) and labels (N,).
    """

    def __init__(self, loss: Any, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        dtype, self.shape = pred.dtype, pred.shape
        n = target.size
        both, (sign, q), self.g = (np.empty((2, n), dtype) for _ in range(3))
        u, values = both
        self.u, self.sign = u, sign
        rows = [pred[:, 1], pred[:, 0]] if notes.name(pred) != "pred" else [Text("pred[:, 1]"), Text("pred[:, 0]")]
        notes.call(np.subtract, *rows, u)
        look = notes.expression(_refuse_more, Text(f"target.view({notes.held(unsigned(target.dtype))})"), 1)
        self.note_target(notes, target, look, notes.expression(np.array([1, -1], dtype).take, TARGET, None, sign, "clip"))
        notes.call(np.multiply, u, sign, u)
        # The sum has 0 u in it: nan where u is infinite, which is up to the page; it may be that of a right logit that is.
        if n < FEW:
            notes.call(np.logaddexp, u, scalar(0, dtype), values)
            self.result = notes.expression(both.reshape(-1).dot, np.repeat(np.array([0, 1], dtype), n))
        else:  # max(u, 0) + log(1 + exp(-|u|))
            notes.call(np.abs, u, q)
            notes.call(np.negative, q, q)
            notes.call(np.exp, q, q)
            notes.call(np.log1p, q, q)
            notes.call(np.maximum, u, bound(0, u), out=values)
            notes.call(np.add, values, q, values)
            zero = notes.expression(u.dot, np.zeros(n, dtype))
            self.result = f"({notes.expression(np.add.reduce, values)} + {zero})"
        notes.call(np.subtract, u, values, q)
        notes.call(np.exp, q, q)  # sigmoid(u), however small
        notes.call(np.multiply, q, sign, q)
        notes.call(np.divide, q, scalar(divisor, dtype), self.g[1])
        notes.call(np.negative, self.g[1], self.g[0])

    def gradient(self) -> Array:
        return self.g.T

    def kept(self) -> tuple[Any, ...]:
        z, a = self.u * self.sign, (1 - self.sign) / 2
        return np.stack([sigmoid(-z), sigmoid(z)], axis=1), np.stack([1 - a, a], axis=1), self.shape


class CrossEntropyKernel(LossKernel):
    """log sum exp(z) - z_t and (softmax(z) - onehot(t)) / n, with the classes as first axis, over which NumPy reduces fast."""

    def __init__(self, loss: Any, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        dtype, self.shape = pred.dtype, pred.shape
        C, n = pred.shape[-1], target.size
        self.e, self.g, s = (np.empty((C, n), dtype) for _ in range(3))
        self.total, top, values, work = (np.empty(n, dtype) for _ in range(4))
        self.right, columns = np.empty(n, np.intp), np.arange(n)
        z, t = notes.name(pred) + ".T", "target"
        self.order: tuple[int, ...] = (0,)
        self.lengths: tuple[int, ...] = (n,)
        if pred.ndim == 3:  # in whichever order the examples lie in memory
            self.order = (1, 0) if pred.strides[1] > pred.strides[0] else (0, 1)
            self.lengths = tuple(pred.shape[axis] for axis in self.order)
            z = f"{notes.name(pred)}.transpose(2, {self.order[0]}, {self.order[1]}).reshape({C}, {n})"
            t = f"target.transpose{self.order}.reshape({n})"
        notes.lines.append(f"z = {z}")
        classes_first: Any = Text("z")
        like = np.empty_like(pred).transpose(-1, *self.order).reshape(C, n)
        if not like.flags.c_contiguous:  # in an order in which NumPy would reduce slowly
            notes.put(s, classes_first)
            classes_first = s
        places = Text(f"{notes.name(np.ravel_multi_index)}(({t}, {notes.name(columns)}), {(C, n)})")
        self.note_target(notes, target, f"{notes.name(self.right)}[...] = {places}")  # ValueError if a label is none
        notes.call(np.maximum.reduce, classes_first, 0, None, top)
        notes.call(np.subtract, classes_first, top, s)
        notes.call(np.exp, s, self.e)
        notes.call(np.add.reduce, self.e, 0, None, self.total)
        notes.call(s.take, self.right, None, values, "clip")
        notes.call(np.log, self.total, work)
        notes.call(np.subtract, work, values, values)
        notes.call(np.multiply, self.total, scalar(divisor, dtype), work)
        notes.call(np.divide, self.e, work, self.g)
        flat, ones = self.g.reshape(-1), np.empty(n, dtype)
        notes.call(flat.take, self.right, None, ones, "clip")
        notes.call(np.subtract, ones, scalar(1 / divisor, dtype), ones)
        notes.lines.append(f"{notes.name(flat)}[{notes.name(self.right)}] = {notes.name(ones)}")
        self.result = notes.expression(np.add.reduce, values)

    def seen(self, array: Array) -> Array:
        """A view of an array (C, N) in the shape of the predictions."""
        axes = [1 + self.order.index(axis) for axis in range(len(self.order))]
        return array.reshape(-1, *self.lengths).transpose(*axes, 0)

    def gradient(self) -> Array:
        return self.seen(self.g)

    def kept(self) -> tuple[Any, ...]:
        onehot = np.zeros_like(self.e)
        onehot.reshape(-1)[self.right] = 1
        return *(self.seen(array).reshape(-1, self.shape[-1]) for array in (self.e / self.total, onehot)), self.shape


class WideKernel(LossKernel):
    """The same where there are many classes: row by row, in blocks of rows that stay in cache."""

    def __init__(self, loss: Any, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        self.divisor, self.shape = divisor, pred.shape
        self.g = np.empty((target.size, pred.shape[-1]), pred.dtype)
        self.rows = max(1, BLOCK // pred.shape[-1])
        self.result = notes.expression(self.forward, pred, TARGET)

    def forward(self, pred: Array, target: Array) -> Any:
        C = self.shape[-1]
        z, t = pred.reshape(-1, C), target.reshape(-1).astype(INTP, copy=False)
        if t.view(np.uintp).max() >= C:  # a negative label is a huge unsigned one
            raise ValueError
        values = np.empty(len(z), z.dtype)
        for start in range(0, len(z), self.rows):
            part = slice(start, start + self.rows)
            s, e, labels = z[part], self.g[part], t[part]
            places = np.arange(len(s)), labels
            top = s.max(axis=1)
            right = s[places] - top
            np.subtract(s, top[:, np.newaxis], e)
            np.exp(e, e)
            total = e.sum(axis=1)
            values[part] = np.log(total) - right
            e *= (1 / (total * z.dtype.type(self.divisor)))[:, np.newaxis]
            e[places] -= z.dtype.type(1 / self.divisor)
        self.labels = t.copy()
        return values.sum()

    def gradient(self) -> Array:
        return self.g.reshape(self.shape)

    def kept(self) -> tuple[Any, ...]:
        a = np.zeros_like(self.g)
        a[np.arange(len(a)), self.labels] = 1
        return self.g * self.g.dtype.type(self.divisor) + a, a, self.shape


def _class_kernel(loss: Any, notes: Notes, pred: Array, target: Array, divisor: float) -> LossKernel:
    if pred.shape[1:] == (2,):
        return TwoClassKernel(loss, notes, pred, target, divisor)
    if pred.shape[-1] >= WIDE and pred.flags.c_contiguous:
        return WideKernel(loss, notes, pred, target, divisor)
    return CrossEntropyKernel(loss, notes, pred, target, divisor)


KERNELS: dict[type[Loss], Callable[..., LossKernel]] = {
    MeanSquaredError: SquaredErrorKernel,
    MeanAbsoluteError: AbsoluteErrorKernel,
    Huber: HuberKernel,
    BinaryCrossEntropy: BinaryKernel,
    CrossEntropy: _class_kernel,
}
