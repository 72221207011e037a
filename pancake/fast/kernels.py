"""Kernels: what a plain layer computes, as calls of NumPy into arrays made beforehand.

Inside a program numbers stand features first: what a layer sees as x (B, I), or as sequences (B, T, I), is an array (I, N) with
N = B or T B. It also lies so in memory, above a last row of ones: that row makes the bias of a `Linear` a part of its product,
and narrow layers are computed along their long axis. But where the first product is a large one, and of sequences, numbers lie
row after row, (N, I), but for what a last `Linear` puts out.

A kernel is made with what comes in, notes its forward at once, and notes its backward when asked. It repeats the arithmetic of
one page of `pancake/functions` in the order of that page; the tests run both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pancake import memory
from pancake.fast.methods import METHODS
from pancake.fast.program import Notes, Owner, Text
from pancake.functions.linear import Linear
from pancake.memory import Array

SMALL = 1 << 14  # numbers of input up to which a copy beside a column of ones is cheaper than to add the bias to the output
LONG = 8  # times as many rows as features, from where on a copy of the input lies along the rows as all else does
WIDE = 512  # classes; where there are more, a loss works them off row by row, in blocks of rows that stay in cache


class Lies:
    """How what layers see, (B, F) or (B, T, F), lies in a program.

    Attributes
    ----------
    leading : tuple
        (B,) or (B, T).
    n : int
        N, their product.
    by_row : bool
        Whether they lie row after row in memory.
    time_first : bool
        Whether the N columns of sequences are in the order (T, B), that of the memory of the input.
    pairs : dict
        The arrays of `free` for so many features. Two do for all layers: what a gradient was computed from is not needed any more
        when the next one has been, and the fewer arrays there are the more of them stay in cache.
    """

    def __init__(self, leading: tuple[int, ...], dtype: np.dtype[Any], time_first: bool = False, by_row: bool = False) -> None:
        self.leading, self.dtype, self.time_first, self.by_row = leading, dtype, time_first, by_row
        self.n = math.prod(leading)
        self.pairs: dict[int, tuple[Array, Array]] = {}

    def new(self, features: int) -> Array:
        """A new array (F, N), followed in memory by a row of ones, see `with_ones`, unless it lies row after row."""
        if self.by_row:
            return np.empty((self.n, features), self.dtype).T
        return np.ones((features + 1, self.n), self.dtype)[:-1]

    def free(self, features: int, taken: Array) -> Array:
        """One of two arrays (F, N) for gradients on their way back, which is not the one that is taken."""
        if features not in self.pairs:
            self.pairs[features] = self.new(features), self.new(features)
        first, second = self.pairs[features]
        return second if taken is first else first

    def with_ones(self, array: Array) -> Array | None:
        """An array that `new` has made, with the row of ones that follows it."""
        base: Any = array.base
        return None if self.by_row else base

    def seen(self, array: Array) -> Array:
        """A view of an array (F, N) as a layer sees it."""
        if len(self.leading) == 1:
            return array.T
        batch, time = self.leading
        if not array.flags.c_contiguous:
            rows = array.T
            return rows.reshape(time, batch, -1).swapaxes(0, 1) if self.time_first else rows.reshape(batch, time, -1)
        if self.time_first:
            return array.reshape(-1, time, batch).transpose(2, 1, 0)
        return array.reshape(-1, batch, time).transpose(1, 2, 0)

    def columns(self, seen: Any) -> Any:
        """A view (F, N) of an array, or of a `Text`, as a layer sees it; a copy if it does not lie in this order."""
        if len(self.leading) == 1:
            return seen.T
        return seen.transpose((2, 1, 0) if self.time_first else (2, 0, 1)).reshape(-1, self.n)


def note_product(notes: Notes, a: Array, b: Array, out: Array) -> None:
    """Note a b, written into an array that lies row by row, or column by column."""
    if out.flags.c_contiguous:
        notes.call(a.dot, b, out)
    else:
        notes.call(b.T.dot, a.T, out.T)


class Kernel:
    """What one layer computes in a program.

    Attributes
    ----------
    guarded : tuple of str
        The attributes of the layer that the calls depend on.
    lies : Lies
        How the output lies.
    y : ndarray (F, N)
        The output.
    keeps_y : bool
        Whether backward, or the layer's memory, needs the output, so that the next layer must not write over it.
    writes : bool
        Whether gradients of parameters that are 0 may be written into instead of added to.
    whole : bool
        Whether the forward of the layer in training needs all rows of a batch at once, and changes something that is not its
        output.
    """

    guarded: tuple[str, ...] = ()
    keeps_y = True
    writes = True
    whole = False
    layer: Any
    lies: Lies
    y: Array

    def looks(self, notes: Notes, x: Array) -> list[str]:
        """What must hold of the argument `x` of the program, beside its shape and dtype, if the layer is the first."""
        return []

    def depends_on(self) -> tuple[list[Owner], list[tuple[type, str]]]:
        """What must stay the same for the calls to be those of the layer, as `Notes.unchanged` takes it."""
        layer = self.layer
        return [(layer, [*self.guarded, *vars(layer).keys() & {"frozen"}])], [(type(layer), name) for name in METHODS]

    def saves(self, notes: Notes) -> list[str]:
        """Lines that save what the forward changes beside its output, for `undo`."""
        return []

    def undo(self) -> None:
        """Put back what `saves` has saved: the page is to run instead."""

    def numbers(self) -> int:
        """About how many numbers its arrays hold."""
        return self.y.size

    def kept(self) -> tuple[Any, ...]:
        """What the plain layer would remember."""
        raise NotImplementedError

    def accumulate(self, notes: Notes, d: Array, write: bool) -> None:
        """Note the gradients of the parameters alone."""
        raise NotImplementedError

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        """Note the gradients of the parameters and of the input, and return the latter, (F, N).

        `write` tells that the gradients of all kernels with `writes` are 0 and lie in one piece: products may be written into
        them instead of added.
        """
        raise NotImplementedError

    def add(self, notes: Notes, grad: Array, a: Array, b: Array, write: bool) -> None:
        """Note that a b is added to a gradient, or written into it; nothing if the layer is frozen."""
        if self.layer.frozen:
            return
        into = grad if write else np.empty(grad.shape, grad.dtype, order="C" if grad.flags.c_contiguous else "F")
        note_product(notes, a, b, into)
        if into is not grad:
            notes.call(np.add, grad, into, grad)

    def seen(self, dObj_dIn: Array) -> Array:
        """A view of the gradient of the input, (F, N), in the shape of the input."""
        return self.lies.seen(dObj_dIn)


class LinearKernel(Kernel):
    """y = [W b] [x; 1]: one product for both where weight and bias lie one after the other, as `Linear` makes them."""

    guarded = ("weight", "grad_weight", "bias", "grad_bias")
    keeps_y = False

    def __init__(self, layer: Linear, notes: Notes, lies: Lies, x: Any, last: bool, fresh: bool) -> None:
        """Note the forward, for x (I, N): an array, or the argument of the program as a text. None stands for a copy of the
        argument, which nobody outside can change before backward refers to it.

        With `fresh` it puts out new memory, the expression `result`, instead of filling `y`.
        """
        self.layer, self.lies, n_in = layer, lies, layer.n_in
        joined = x1 = None
        if not lies.by_row:
            joined = memory.joined([layer.weight, layer.bias], [layer.grad_weight, layer.grad_bias])
        if isinstance(x, np.ndarray):
            x1 = lies.with_ones(x)
        elif joined is not None and lies.n * n_in <= SMALL:
            x1 = np.ones((n_in + 1, lies.n), lies.dtype, order="C" if lies.n >= LONG * n_in else "F")
            x = x1[:-1]
            notes.put(lies.seen(x), Text("x"))
        else:
            joined = None
            if x is None:
                x = np.empty((lies.n, n_in), lies.dtype).T
                notes.put(lies.seen(x), Text("x"))
        self.x, self.x1, self.joined = x, x1, joined
        # Classes come first where a loss is to reduce over them; more outputs than inputs are hardly classes.
        classes = last and layer.n_out <= n_in and layer.n_out < WIDE
        self.y = np.empty((layer.n_out, lies.n), lies.dtype) if classes else lies.new(layer.n_out)
        weight, x = (layer.weight, x) if joined is None or x1 is None else (joined[0].T, x1)
        y: Any = self.y
        if fresh:
            by_row = not y.flags.c_contiguous
            y = Text("y")
            notes.lines.append(f"y = {notes.expression(x.T.dot, weight.T) + '.T' if by_row else notes.expression(weight.dot, x)}")
        else:
            note_product(notes, weight, x, y)
        if x is self.x and layer.bias is not None:
            notes.call(np.add, y, layer.bias[:, np.newaxis], y)
        self.result = Text("y.T") if len(lies.leading) == 1 else notes.expression(lies.seen, y)

    def kept(self) -> tuple[Any, ...]:
        return (self.lies.seen(self.x),)

    def accumulate(self, notes: Notes, d: Array, write: bool) -> None:
        layer = self.layer
        if self.joined is not None and self.x1 is not None:
            self.add(notes, self.joined[1], self.x1, d.T, write)
            return
        self.add(notes, layer.grad_weight, d, self.x.T, write)
        if layer.bias is not None:
            self.add(notes, layer.grad_bias, d, np.ones(self.lies.n, self.lies.dtype), write)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        self.accumulate(notes, d, write)
        dObj_dIn = self.lies.free(self.layer.n_in, d)
        note_product(notes, self.layer.weight.T, d, dObj_dIn)
        return dObj_dIn
