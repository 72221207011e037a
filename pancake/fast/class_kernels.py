"""Kernels of the class losses, with the classes as first axis, over which NumPy reduces fast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pancake.fast.kernels import WIDE
from pancake.fast.loss_kernels import (
    FEW,
    TARGET,
    LossKernel,
    aligned,
    as_numbers,
    fill_absent,
    need,
    note_cast,
    refuse_more,
    sum_of_products,
)
from pancake.fast.program import Notes, Text, bound, scalar, unsigned
from pancake.functions.activations import sigmoid
from pancake.memory import Array

INTP = np.dtype(np.intp)
BLOCK = 1 << 16  # numbers in a block of rows


def labels_of(notes: Notes, target: Array) -> Text:
    """The expression of labels as whole numbers, which truths are not."""
    return Text(f"target.view({notes.held(np.dtype(np.int8))})") if target.dtype == np.bool else TARGET


class TwoClassKernel(LossKernel):
    """log(1 + exp(u)), and +- sigmoid(u) / n with + for the wrong class, where u is its logit less that of the right one.

    For predictions (N, 2) and labels (N,).
    """

    def __init__(self, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        dtype, self.shape = pred.dtype, pred.shape
        n = target.size
        both, (sign, q), self.g = (np.empty((2, n), dtype) for _ in range(3))
        u, values = both
        self.u, self.sign = u, sign
        rows = [pred[:, 1], pred[:, 0]] if notes.name(pred) != "pred" else [Text("pred[:, 1]"), Text("pred[:, 0]")]
        notes.call(np.subtract, *rows, u)
        start = len(notes.lines)
        labels = labels_of(notes, target)
        notes.call(refuse_more, Text(f"{labels}.view({notes.held(unsigned(target.dtype))})"), 1)
        notes.call(np.array([1, -1], dtype).take, labels, None, sign, "clip")
        self.note_target(notes, target, None, start)
        notes.call(np.multiply, u, sign, u)
        # The sum has 0 u in it: nan where u is infinite, which is up to the page; it may be that of a right logit that is.
        if n < FEW:
            notes.call(np.logaddexp, u, scalar(0, dtype), values)
            # vdot, since dot would warn of 0 times inf
            result = notes.expression(np.vdot, both.reshape(-1), np.repeat(np.array([0, 1], dtype), n))
        else:  # max(u, 0) + log(1 + exp(-|u|))
            notes.call(np.abs, u, q)
            notes.call(np.negative, q, q)
            notes.call(np.exp, q, q)
            notes.call(np.log1p, q, q)
            notes.call(np.maximum, u, bound(0, u), out=values)
            notes.call(np.add, values, q, values)
            start = len(notes.lines)
            notes.lines.append(f"zero = {sum_of_products(notes, u, np.zeros(n, dtype), np.empty(n, dtype))}")
            notes.hush(start, ["invalid"])
            result = Text(f"({notes.expression(np.add.reduce, values)} + zero)")
        self.note_value(notes, result, divisor, dtype)
        # of what is infinite the page knows more, and the rest would warn
        notes.lines.append(f"value = {self.value}")
        notes.lines.append(f"if not {notes.held(math.isfinite)}(value): raise ValueError")
        self.value = "value"
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


class ClassesFirst(LossKernel):
    """Base of the kernels that see predictions as z (C, N).

    Attributes
    ----------
    order : tuple of int
        The leading axes of the predictions in the order in which the examples lie in memory.
    z : ndarray or Text
    """

    def __init__(self, notes: Notes, pred: Array) -> None:
        self.dtype, self.shape = pred.dtype, pred.shape
        self.C, self.n = pred.shape[-1], pred.size // pred.shape[-1]
        self.order: tuple[int, ...] = (0,)
        if pred.ndim == 3:
            self.order = (1, 0) if pred.strides[1] > pred.strides[0] else (0, 1)
        self.z: Any = Text("z")
        notes.lines.append(f"z = {self.first(notes.name(pred))}")
        like = np.empty_like(pred).transpose(-1, *self.order).reshape(self.C, self.n)
        if not like.flags.c_contiguous:  # in an order in which NumPy would reduce slowly
            self.z = np.empty((self.C, self.n), self.dtype)
            notes.put(self.z, Text("z"))

    def first(self, array: str) -> Text:
        """The expression of (C, N), from that of an array like the predictions."""
        if len(self.order) == 1:
            return Text(f"{array}.T")
        return Text(f"{array}.transpose(2, {self.order[0]}, {self.order[1]}).reshape({self.C}, {self.n})")

    def flat(self, array: str) -> Text:
        """The expression of (N,), from that of an array of the leading axes."""
        return Text(array if len(self.order) == 1 else f"{array}.transpose({self.order}).reshape({self.n})")

    def note_places(self, notes: Notes, labels: Any) -> Array:
        """Note where the right classes are in an array (C, N). ValueError if a label is none."""
        right = np.empty(self.n, np.intp)
        places = f"({notes.name(labels)}, {notes.name(np.arange(self.n))}), {(self.C, self.n)}"
        notes.put(right, Text(f"{notes.name(np.ravel_multi_index)}({places})"))
        return right

    def note_softmax(self, notes: Notes) -> tuple[Array, Array]:
        """Note z less the largest of each example, s; exp(s), `e`; its sum, `total`; return s and log total."""
        s, self.e = (np.empty((self.C, self.n), self.dtype) for _ in range(2))
        top, self.total, log = (np.empty(self.n, self.dtype) for _ in range(3))
        notes.call(np.maximum.reduce, self.z, 0, None, top)
        notes.call(np.subtract, self.z, top, s)
        notes.call(np.exp, s, self.e)
        notes.call(np.add.reduce, self.e, 0, None, self.total)
        notes.call(np.log, self.total, log)
        return s, log

    def seen(self, array: Array) -> Array:
        """A view of an array (C, N) in the shape of the predictions."""
        lengths = [self.shape[axis] for axis in self.order]
        axes = [1 + self.order.index(axis) for axis in range(len(self.order))]
        return array.reshape(-1, *lengths).transpose(*axes, 0)

    def rows(self, array: Array) -> Array:
        """The same as the page has it, (N, C)."""
        return self.seen(array).reshape(-1, self.C)

    def gradient(self) -> Array:
        return self.seen(self.g)


class CrossEntropyKernel(ClassesFirst):
    """log sum exp(z) - z_t and (softmax(z) - onehot(t)) / n."""

    def __init__(self, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        super().__init__(notes, pred)
        start = len(notes.lines)
        self.right = self.note_places(notes, self.flat(labels_of(notes, target)))
        self.note_target(notes, target, None, start)
        s, values = self.note_softmax(notes)
        self.g, work, right = np.empty_like(s), np.empty_like(values), np.empty_like(values)
        notes.call(s.take, self.right, None, right, "clip")
        notes.call(np.subtract, values, right, values)
        notes.call(np.multiply, self.total, scalar(divisor, self.dtype), work)
        notes.call(np.divide, self.e, work, self.g)
        flat = self.g.reshape(-1)
        notes.call(flat.take, self.right, None, right, "clip")
        notes.call(np.subtract, right, scalar(1 / divisor, self.dtype), right)
        notes.lines.append(f"{notes.name(flat)}[{notes.name(self.right)}] = {notes.name(right)}")
        self.note_value(notes, notes.expression(np.add.reduce, values), divisor, self.dtype)

    def kept(self) -> tuple[Any, ...]:
        onehot = np.zeros_like(self.e)
        onehot.reshape(-1)[self.right] = 1
        return self.rows(self.e / self.total), self.rows(onehot), self.shape


class CountsKernel(ClassesFirst):
    """Base of the kernels for whatever targets and weights: numbers a (C, N) say how much each of z counts, as on the page.

    Attributes
    ----------
    a : ndarray (C, N)
        Divided by what the sum is divided by, `cell`.
    sums : ndarray (N,)
        Those of a over the classes.
    """

    def __init__(self, loss: Any, notes: Notes, pred: Array, target: Array, weight: Array | None, divisor: float) -> None:
        super().__init__(notes, pred)
        self.a, self.cell, self.divisor = np.empty((self.C, self.n), self.dtype), scalar(divisor, self.dtype), repr(divisor)
        start = len(notes.lines)
        w = None
        if weight is not None:
            w = np.empty(self.n, self.dtype)
            every = self.flat(notes.expression(np.broadcast_to, aligned(weight, pred.ndim - 1), self.shape[:-1]))
            note_cast(notes, w, every, weight.dtype)
            notes.lines.append(as_numbers(notes, w, self.dtype, float(np.finfo(self.dtype).max)))
        v = getattr(loss, "class_weight", None)
        v = None if v is None else v.astype(self.dtype)
        smoothing = getattr(loss, "label_smoothing", 0.0)
        if target.ndim == pred.ndim:
            self._note_rows(notes, target, w, smoothing)
            counts = w
        else:
            labels: Any = self.flat(labels_of(notes, target))
            if w is not None:
                notes.put(given := np.empty(self.n, np.intp), labels)
                notes.call(fill_absent, given, 0, w)
                labels = given
            if getattr(loss, "ignore_index", None) is not None:
                labels, w = self._note_without_ignored(notes, labels, loss.ignore_index, w)
            right = self.note_places(notes, labels)
            notes.call(self.a.fill, smoothing / self.C)
            notes.lines.append(f"{notes.name(self.a.reshape(-1))}[{notes.name(right)}] = {1 - smoothing + smoothing / self.C!r}")
            counts = w
            if v is not None:
                counts = np.empty(self.n, self.dtype)
                notes.call(v.take, labels, None, counts, "clip")
                if w is not None:
                    notes.call(np.multiply, counts, w, counts)
        for factor in (None if v is None else v[:, np.newaxis], w):
            if factor is not None:
                notes.call(np.multiply, self.a, factor, self.a)
        if counts is not None and loss.reduction == "mean":
            self._note_divisor(notes, counts)
        notes.call(np.divide, self.a, self.cell, self.a)
        self.sums = np.empty(self.n, self.dtype)
        notes.call(np.add.reduce, self.a, 0, None, self.sums)
        self.note_target(notes, target, weight, start)

    def _note_rows(self, notes: Notes, target: Array, w: Array | None, smoothing: float) -> None:
        """Note a from rows of probabilities."""
        sums = np.empty(self.n, self.dtype)
        note_cast(notes, self.a, self.first("target"), target.dtype)
        if w is not None:
            notes.call(fill_absent, self.a, scalar(1 / self.C, self.dtype), w)
        notes.call(need, Text(f"{notes.expression(np.minimum.reduce, self.a, None)} >= 0"))
        notes.call(np.add.reduce, self.a, 0, None, sums)
        notes.call(need, Text(f"{notes.expression(np.minimum.reduce, sums)} >= {1 - 1e-3}"))
        notes.call(need, Text(f"{notes.expression(np.maximum.reduce, sums)} <= {1 + 1e-3}"))
        if smoothing:
            notes.call(np.multiply, self.a, scalar(1 - smoothing, self.dtype), self.a)
            notes.call(np.add, self.a, scalar(smoothing / self.C, self.dtype), self.a)

    def _note_without_ignored(self, notes: Notes, labels: Any, ignored: int, w: Array | None) -> tuple[Array, Array]:
        """Note labels that all are classes, and weights of 0 for those that are ignored."""
        counted, others = np.empty(self.n, np.bool), np.empty(self.n, np.intp)
        notes.lines.append(f"{notes.name(np.not_equal)}({notes.name(labels)}, {notes.held(ignored)}, {notes.name(counted)})")
        notes.call(np.multiply, labels, counted, others)
        if w is None:
            w = np.empty(self.n, self.dtype)
            notes.put(w, counted)
        else:
            notes.call(np.multiply, w, counted, w)
        return others, w

    def _note_divisor(self, notes: Notes, counts: Array) -> None:
        """Note the sum of all that counts."""
        self.cell, cell = np.empty((), self.dtype), np.empty(())
        notes.call(np.add.reduce, counts, None, np.float64, cell)
        self.divisor = notes.expression(cell.item)
        notes.call(need, Text(f"0 < {self.divisor} <= {float(np.finfo(self.dtype).max)!r}"))  # of nothing the page makes 0
        notes.put(self.cell, cell)

    def note_sum(self, notes: Notes, start: int, result: str) -> None:
        """Note the value from the expression of the sum, in which the divisor is already.

        A prediction of weight 0 may be anything: if it is felt, the value is not finite, and the page is asked. So nothing warns.
        """
        notes.lines.append(f"value = {notes.name(np.float64)}({result})")
        notes.hush(start, ("divide", "over", "invalid"))
        self.value = "value"


class WeightedCrossEntropyKernel(CountsKernel):
    """sum_c a_c (log sum_j exp(z_j) - z_c) and (sum_c a_c) softmax(z) - a."""

    def __init__(self, loss: Any, notes: Notes, *args: Any) -> None:
        super().__init__(loss, notes, *args)
        start = len(notes.lines)
        s, log = self.note_softmax(notes)
        self.g, share = np.empty_like(s), np.empty_like(log)
        notes.call(np.divide, self.sums, self.total, share)
        notes.call(np.multiply, self.e, share, self.g)
        notes.call(np.subtract, self.g, self.a, self.g)
        # s is at most 0, so nothing is lost in the difference
        sums = [sum_of_products(notes, self.sums, log, log), sum_of_products(notes, self.a, s, s)]
        self.note_sum(notes, start, " - ".join(sums))

    def kept(self) -> tuple[Any, ...]:
        return self.rows(self.e / self.total), self.rows(self.a * self.cell), self.shape


class LikelihoodKernel(CountsKernel):
    """-sum_c a_c z_c and -a."""

    def __init__(self, loss: Any, notes: Notes, *args: Any) -> None:
        super().__init__(loss, notes, *args)
        self.g, start = np.empty_like(self.a), len(notes.lines)
        notes.lines.append(f"total = {sum_of_products(notes, self.a, self.z, self.g)}")
        notes.call(np.negative, self.a, self.g)
        self.note_sum(notes, start, "-total")

    def kept(self) -> tuple[Any, ...]:
        return self.rows(self.a * self.cell), self.shape


class WideKernel(LossKernel):
    """The same as `CrossEntropyKernel` where there are many classes: row by row, in blocks of rows that stay in cache."""

    def __init__(self, notes: Notes, pred: Array, target: Array, divisor: float) -> None:
        self.by, self.shape = divisor, pred.shape
        self.g = np.empty((target.size, pred.shape[-1]), pred.dtype)
        self.block = max(1, BLOCK // pred.shape[-1])
        self.note_value(notes, notes.expression(self.forward, pred, TARGET), divisor, pred.dtype)

    def forward(self, pred: Array, target: Array) -> Any:
        C = self.shape[-1]
        z, t = pred.reshape(-1, C), target.reshape(-1).astype(np.intp, copy=False)
        if t.view(np.uintp).max() >= C:  # a negative label is a huge unsigned one
            raise ValueError
        values = np.empty(len(z), z.dtype)
        for start in range(0, len(z), self.block):
            part = slice(start, start + self.block)
            s, e, labels = z[part], self.g[part], t[part]
            places = np.arange(len(s)), labels
            top = s.max(axis=1)
            right = s[places] - top
            np.subtract(s, top[:, np.newaxis], e)
            np.exp(e, e)
            total = e.sum(axis=1)
            values[part] = np.log(total) - right
            e *= (1 / (total * z.dtype.type(self.by)))[:, np.newaxis]
            e[places] -= z.dtype.type(1 / self.by)
        self.labels = t.copy()
        return values.sum()

    def gradient(self) -> Array:
        return self.g.reshape(self.shape)

    def kept(self) -> tuple[Any, ...]:
        a = np.zeros_like(self.g)
        a[np.arange(len(a)), self.labels] = 1
        return self.g * self.g.dtype.type(self.by) + a, a, self.shape


def of_labels(notes: Notes, pred: Array, target: Array, divisor: float) -> LossKernel:
    """The kernel of a `CrossEntropy` with labels of which all count the same."""
    if pred.shape[1:] == (2,):
        return TwoClassKernel(notes, pred, target, divisor)
    if pred.shape[-1] >= WIDE and pred.flags.c_contiguous:
        return WideKernel(notes, pred, target, divisor)
    return CrossEntropyKernel(notes, pred, target, divisor)
