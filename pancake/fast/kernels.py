"""Kernels: what a plain layer computes, as calls of NumPy into arrays made beforehand.

Inside a program numbers stand features first: what a layer sees as x (B, I), or as sequences (B, T, I), is an array (I, N) with
N = B or T B. Up to `TALL` columns it also lies so in memory, above a last row of ones: that row makes the bias of a `Linear` a
part of its product, and products with such arrays take the fast forms. Larger ones lie in memory row after row, (N, I).

A kernel is made with what comes in, notes its forward at once, and notes its backward when asked. It repeats the arithmetic of
one page of `pancake/functions` in the order of that page; the tests run both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pancake import memory
from pancake.fast.program import Notes, Owner, Text, scalar
from pancake.function import Function
from pancake.functions.activations import (
    ELU,
    GELU,
    ROOT_2_PI,
    SELU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
    largest_exponent,
    normal_cdf,
)
from pancake.functions.linear import Linear
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, ReLU
from pancake.memory import Array

SMALL = 1 << 14  # numbers of input up to which a copy beside a column of ones is cheaper than to add the bias to the output
TALL = 256
WIDE = 512  # classes; where there are more, a loss works them off row by row, in blocks of rows that stay in cache
METHODS = ("compute_forward", "compute_backward", "accumulate_grads")


class Lies:
    """How what layers see, (B, F) or (B, T, F), lies in a program.

    Attributes
    ----------
    leading : tuple
        (B,) or (B, T).
    n : int
        N, their product.
    time_first : bool
        Whether the N columns of sequences are in the order (T, B), that of the memory of the input.
    """

    def __init__(self, leading: tuple[int, ...], dtype: np.dtype[Any], time_first: bool = False, by_row: bool = False) -> None:
        self.leading, self.dtype, self.time_first = leading, dtype, time_first
        self.n = math.prod(leading)
        self.tall = self.n <= TALL and not by_row

    def new(self, features: int) -> Array:
        """A new array (F, N); a tall one is followed in memory by a row of ones, see `with_ones`."""
        if self.tall:
            return np.ones((features + 1, self.n), self.dtype)[:-1]
        return np.empty((self.n, features), self.dtype).T

    def with_ones(self, array: Array) -> Array | None:
        """An array that `new` has made, with the row of ones that follows it."""
        base: Any = array.base
        return base if self.tall else None

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

    def columns(self, seen: Array) -> Array:
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
    """

    guarded: tuple[str, ...] = ()
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

        `write` tells that the gradients of each `Linear` are known to be 0, so that products may be written into them instead of
        added.
        """
        raise NotImplementedError

    def seen(self, dObj_dIn: Array) -> Array:
        """A view of the gradient of the input, (F, N), in the shape of the input."""
        return self.lies.seen(dObj_dIn)


class LinearKernel(Kernel):
    """y = [W b] [x; 1]: one product for both where weight and bias lie one after the other, as `Linear` makes them."""

    guarded = ("weight", "grad_weight", "bias", "grad_bias")

    def __init__(self, layer: Linear, notes: Notes, lies: Lies, x: Array | None, last: bool, fresh: bool) -> None:
        """Note the forward, for x (I, N), or for the argument `x` of the program if the layer is the first.

        With `fresh` it puts out new memory, the expression `result`, instead of filling `y`.
        """
        self.layer, self.lies, n_in = layer, lies, layer.n_in
        joined = memory.joined([layer.weight, layer.bias], [layer.grad_weight, layer.grad_bias]) if lies.tall else None
        x1 = None if x is None else lies.with_ones(x)
        if x is None:  # a copy, so that nobody outside can change what backward refers to
            joined = joined if lies.n * n_in <= SMALL else None
            x1 = np.ones((lies.n, n_in + 1), lies.dtype).T if joined else None
            x = np.empty((lies.n, n_in), lies.dtype).T if x1 is None else x1[:-1]
            notes.put(lies.seen(x), Text("x"))
        self.x, self.x1, self.joined = x, x1, joined
        # Classes come first where a loss is to reduce over them; more outputs than inputs are hardly classes.
        self.y = (
            np.empty((layer.n_out, lies.n), lies.dtype)
            if last and layer.n_out <= n_in and layer.n_out < WIDE
            else lies.new(layer.n_out)
        )
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
            _add_product(notes, self.joined[1], self.x1, d.T, write)
            return
        _add_product(notes, layer.grad_weight, d, self.x.T, write)
        if layer.bias is not None:
            _add_product(notes, layer.grad_bias, d, np.ones(self.lies.n, self.lies.dtype), write)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        self.accumulate(notes, d, write)
        dObj_dIn = self.lies.new(self.layer.n_in)
        note_product(notes, self.layer.weight.T, d, dObj_dIn)
        return dObj_dIn


def _add_product(notes: Notes, grad: Array, a: Array, b: Array, write: bool) -> None:
    """Note that a b is added to a gradient, or written into it."""
    written = write and (grad.flags.c_contiguous or grad.flags.f_contiguous)
    into = grad if written else np.empty(grad.shape, grad.dtype, order="C" if grad.flags.c_contiguous else "F")
    note_product(notes, a, b, into)
    if into is not grad:
        notes.call(np.add, grad, into, grad)


class ActivationKernel(Kernel):
    """Base of the kernels of activations: `rise` notes y from z, and `slope` d times the derivative, from what `rise` has kept.

    Both return arrays (F, N). z is nobody else's, so y may take its place.
    """

    remembered: tuple[str, ...] = ("y",)

    def __init__(self, layer: Any, notes: Notes, lies: Lies, z: Array) -> None:
        self.layer, self.lies, self.y = layer, lies, z
        self.guarded = tuple(name for name in vars(layer) if name not in ("training", "frozen"))
        self.names: dict[str, Array] = {}
        self.rise(notes, z)

    def rise(self, notes: Notes, z: Array) -> None:
        raise NotImplementedError

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        raise NotImplementedError

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        s = self.lies.new(len(self.y))
        self.slope(notes, d, s)
        return s

    def new(self, name: str) -> Array:
        """A work array that the plain page has under this name."""
        self.names[name] = self.lies.new(len(self.y))
        return self.names[name]

    def apart(self) -> Array:
        """Let y have a place of its own, since the page remembers z as x."""
        self.names["x"] = self.y
        self.y = self.lies.new(len(self.y))
        return self.y

    def scalar(self, value: float) -> Array:
        return scalar(value, self.lies.dtype)

    def kept(self) -> tuple[Any, ...]:
        known = {**self.names, "y": self.y}
        return tuple(self.lies.seen(known[name]) for name in self.remembered)


class SigmoidKernel(ActivationKernel):
    remembered = "y", "e"

    def rise(self, notes: Notes, z: Array) -> None:
        e, self.t = self.new("e"), self.new("t")
        notes.call(np.minimum, z, self.scalar(largest_exponent(z.dtype)), out=e)
        notes.call(np.exp, e, e)
        notes.call(np.add, e, self.scalar(1), self.t)
        notes.call(np.divide, e, self.t, z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.multiply, d, self.y, s)
        notes.call(np.divide, s, self.t, s)


class TanhKernel(ActivationKernel):
    def rise(self, notes: Notes, z: Array) -> None:
        notes.call(np.tanh, z, z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        y = self.y
        notes.call(np.multiply, y, y, s)
        notes.call(np.subtract, self.scalar(1), s, s)
        notes.call(np.multiply, s, d, s)


class ReLUKernel(ActivationKernel):
    def rise(self, notes: Notes, z: Array) -> None:
        notes.call(np.maximum, z, self.scalar(0), out=z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        # The sign of y is the slope. It costs half of a comparison on small arrays, and twice as much on large ones.
        y = self.y
        if y.size < 3000:
            notes.call(np.sign, y, s)
        else:
            notes.call(np.greater, y, self.scalar(0), out=s)
        notes.call(np.multiply, s, d, s)


class HardTanhKernel(ActivationKernel):
    def rise(self, notes: Notes, z: Array) -> None:
        notes.call(np.minimum, z, self.scalar(1), out=z)
        notes.call(np.maximum, z, self.scalar(-1), out=z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.abs, self.y, s)
        notes.call(np.less, s, self.scalar(1), out=s)
        notes.call(np.multiply, s, d, s)


class LeakyReLUKernel(ActivationKernel):
    remembered = ("x",)

    def rise(self, notes: Notes, z: Array) -> None:
        y, self.slopes, above = self.apart(), self.new("slopes"), self.new("above")
        notes.call(np.greater, z, self.scalar(0), out=above)
        notes.call(np.subtract, self.scalar(1), above, self.slopes)
        notes.call(np.multiply, self.slopes, self.scalar(self.layer.negative_slope), self.slopes)
        notes.call(np.add, self.slopes, above, self.slopes)
        notes.call(np.multiply, z, self.slopes, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.multiply, d, self.slopes, s)


class ELUKernel(ActivationKernel):
    """Also of SELU, which has a factor for all."""

    remembered = ("x",)

    def rise(self, notes: Notes, z: Array) -> None:
        y, self.below, self.e = self.apart(), self.new("below"), self.new("e")
        above = self.new("above")
        scale = getattr(self.layer, "scale", 1.0)
        notes.call(np.minimum, z, self.scalar(0), out=self.below)
        notes.call(np.expm1, self.below, self.e)
        notes.call(np.multiply, self.e, self.scalar(self.layer.alpha), self.e)
        notes.call(np.maximum, z, self.scalar(0), out=above)
        notes.call(np.add, above, self.e, y)
        if scale != 1:
            notes.call(np.multiply, y, self.scalar(scale), y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        above, scale = self.names["above"], getattr(self.layer, "scale", 1.0)
        notes.call(np.exp, self.below, s)
        notes.call(np.multiply, s, self.scalar(self.layer.alpha), s)
        notes.call(np.copyto, s, self.scalar(1), "same_kind", _where(notes, above))
        if scale != 1:
            notes.call(np.multiply, s, self.scalar(scale), s)
        notes.call(np.multiply, s, d, s)


def _where(notes: Notes, above: Array) -> Any:
    return notes.expression(np.greater, above, scalar(0, above.dtype))


class SiLUKernel(ActivationKernel):
    remembered = "x", "s"

    def rise(self, notes: Notes, z: Array) -> None:
        y, s, t = self.apart(), self.new("s"), self.new("t")
        notes.call(np.minimum, z, self.scalar(largest_exponent(z.dtype)), out=s)
        notes.call(np.exp, s, s)
        notes.call(np.add, s, self.scalar(1), t)
        notes.call(np.divide, s, t, s)
        notes.call(np.multiply, z, s, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        share, y = self.names["s"], self.y
        notes.call(np.subtract, self.scalar(1), share, s)
        notes.call(np.multiply, y, s, s)
        notes.call(np.add, share, s, s)
        notes.call(np.multiply, d, s, s)


class GELUKernel(ActivationKernel):
    remembered = "x", "P"

    def rise(self, notes: Notes, z: Array) -> None:
        y, P = self.apart(), self.new("P")
        if self.layer.approximate == "none":
            notes.put(P, notes.expression(normal_cdf, z))
        else:
            self.work = self.new("work")
            notes.call(np.multiply, z, self.scalar(0.044715), P)
            notes.call(np.multiply, P, z, P)
            notes.call(np.multiply, P, z, P)
            notes.call(np.add, z, P, P)
            notes.call(np.multiply, P, self.scalar(2 * ROOT_2_PI), P)
            notes.call(np.minimum, P, self.scalar(largest_exponent(z.dtype)), out=P)
            notes.call(np.exp, P, P)
            notes.call(np.add, P, self.scalar(1), self.work)
            notes.call(np.divide, P, self.work, P)
        notes.call(np.multiply, z, P, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        x, P = self.names["x"], self.names["P"]
        if self.layer.approximate == "none":
            notes.call(np.multiply, x, x, s)
            notes.call(np.multiply, s, self.scalar(-0.5), s)
            notes.call(np.exp, s, s)
            notes.call(np.multiply, s, self.scalar(ROOT_2_PI / 2), s)
        else:
            notes.call(np.multiply, x, self.scalar(3 * 0.044715), self.work)
            notes.call(np.multiply, self.work, x, self.work)
            notes.call(np.add, self.work, self.scalar(1), self.work)
            notes.call(np.subtract, self.scalar(1), P, s)
            notes.call(np.multiply, P, s, s)
            notes.call(np.multiply, s, self.scalar(2 * ROOT_2_PI), s)
            notes.call(np.multiply, s, self.work, s)
        notes.call(np.multiply, x, s, s)
        notes.call(np.add, P, s, s)
        notes.call(np.multiply, d, s, s)


class SoftplusKernel(ActivationKernel):
    remembered = ("rise",)

    def rise(self, notes: Notes, z: Array) -> None:
        rise, e, beta = self.new("rise"), self.new("e"), self.scalar(self.layer.beta)
        notes.call(np.multiply, z, beta, z)
        notes.call(np.abs, z, e)
        notes.call(np.negative, e, e)
        notes.call(np.exp, e, e)
        notes.call(np.log1p, e, e)
        notes.call(np.maximum, z, self.scalar(0), out=rise)
        notes.call(np.add, rise, e, rise)
        notes.call(np.divide, rise, beta, z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.negative, self.names["rise"], s)
        notes.call(np.expm1, s, s)
        notes.call(np.negative, s, s)
        notes.call(np.multiply, d, s, s)


class SoftsignKernel(ActivationKernel):
    remembered = ("x",)

    def rise(self, notes: Notes, z: Array) -> None:
        y, self.t = self.apart(), self.new("t")
        notes.call(np.abs, z, self.t)
        notes.call(np.add, self.t, self.scalar(1), self.t)
        notes.call(np.divide, z, self.t, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.divide, d, self.t, s)
        notes.call(np.divide, s, self.t, s)


ACTIVATIONS: dict[type[Function], type[ActivationKernel]] = {
    Sigmoid: SigmoidKernel,
    Tanh: TanhKernel,
    ReLU: ReLUKernel,
    HardTanh: HardTanhKernel,
    LeakyReLU: LeakyReLUKernel,
    ELU: ELUKernel,
    SELU: ELUKernel,
    GELU: GELUKernel,
    SiLU: SiLUKernel,
    Softplus: SoftplusKernel,
    Softsign: SoftsignKernel,
}
