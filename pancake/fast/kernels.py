"""Kernels: what a plain layer computes, as calls of NumPy into arrays made beforehand.

Inside a program numbers lie features first: what a layer sees as x (B, I), or as sequences (B, T, I), is an array (I, N) with
N = B or T B, above a last row of ones. That row makes the bias of a `Linear` a part of its product, and products with such
arrays take the fast forms. A kernel is made with what comes in, notes its forward at once, and notes its backward when asked.

Every kernel here repeats the arithmetic of one page of `pancake/functions` in the order of that page; the tests run both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake import memory
from pancake.fast.program import Notes, Text, scalar
from pancake.function import Function
from pancake.functions.activations import (
    ELU,
    SELU,
    HardTanh,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
    largest_exponent,
)
from pancake.functions.linear import Linear
from pancake.memory import Array

# Up to this many numbers of input a copy of it beside a column of ones is cheaper than to add the bias to the output.
SMALL = 1 << 14


class Shape:
    """How what a layer sees, (B, F) or (B, T, F), lies in a program as (F, N).

    Attributes
    ----------
    leading : tuple
        (B,) or (B, T).
    time_first : bool
        Whether the N columns of sequences are in the order (T, B); that of the memory of the input.
    """

    def __init__(self, x: Array, dtype: np.dtype[Any]) -> None:
        self.leading, self.dtype = x.shape[:-1], dtype
        self.n = int(np.prod(self.leading))
        self.time_first = x.ndim == 3 and x.strides[1] > x.strides[0]

    def rows(self, array: Array) -> Array:
        """A view of an array (N, F) as the layer sees it."""
        if len(self.leading) == 1:
            return array
        batch, time = self.leading
        if self.time_first:
            return array.reshape(time, batch, -1).transpose(1, 0, 2)
        return array.reshape(batch, time, -1)

    def seen(self, array: Array) -> Array:
        """A view of an array (F, N) as the layer sees it."""
        if len(self.leading) == 1:
            return array.T
        batch, time = self.leading
        if self.time_first:
            return array.reshape(-1, time, batch).transpose(2, 1, 0)
        return array.reshape(-1, batch, time).transpose(1, 2, 0)

    def block(self, features: int) -> Array:
        """A new array (F + 1, N) whose last row is ones."""
        return np.ones((features + 1, self.n), self.dtype)


class Kernel:
    """What one layer computes in a program.

    Attributes
    ----------
    guarded : tuple of str
        The attributes of the layer that the calls depend on.
    y : ndarray (F + 1, N)
        The output above a row of ones.
    """

    guarded: tuple[str, ...] = ()
    y: Array

    def kept(self) -> tuple[Any, ...]:
        """What the plain layer would remember."""
        raise NotImplementedError

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        """Note the gradients of the parameters and of the input, and return the latter, (F, N).

        `write` tells that the gradients are known to be 0, so that products may be written into them instead of added.
        """
        raise NotImplementedError


class LinearKernel(Kernel):
    """y = [W b] [x; 1]: one product for both where weight and bias lie one after the other, as `Linear` makes them."""

    guarded = ("weight", "grad_weight", "bias", "grad_bias")

    def __init__(self, layer: Linear, notes: Notes, shape: Shape, x: Array | None) -> None:
        """Note the forward; x (I + 1, N), or None for the first layer, which takes the argument `x` of the program."""
        self.layer, self.shape = layer, shape
        self.first = x is None
        self.joined = memory.joined([layer.weight, layer.bias], [layer.grad_weight, layer.grad_bias])
        if x is None and shape.n * layer.n_in > SMALL:
            self.joined = None
        self.x: Array = np.ones((shape.n, layer.n_in + (self.joined is not None)), shape.dtype).T if x is None else x
        self.y = shape.block(layer.n_out)
        if x is None:  # a copy, so that nobody outside can change what backward refers to
            notes.put(shape.rows(self.x.T)[..., : layer.n_in], Text("x"))

    def forward(self, notes: Notes, out: Array | None) -> Any:
        """Note the product, into an array (O, N), or return it as an expression."""
        layer, x = self.layer, self.x
        if self.joined is not None:
            values, _ = self.joined
            product = values.T.dot, x
        else:
            product = layer.weight.dot, x[: layer.n_in]
        if out is None and (self.joined is not None or layer.bias is None):
            return notes.expression(*product)
        out = self.y[:-1] if out is None else out
        notes.call(*product, out)
        if self.joined is None and layer.bias is not None:
            notes.call(np.add, out, layer.bias[:, np.newaxis], out)
        return out

    def kept(self) -> tuple[Any, ...]:
        x = self.x[: self.layer.n_in]
        return (self.shape.rows(x.T) if self.first else self.shape.seen(x),)

    def accumulate(self, notes: Notes, d: Array, write: bool) -> None:
        """Note the gradients of the parameters alone."""
        layer, x = self.layer, self.x
        if self.joined is not None:
            _add(notes, self.joined[1], (x.dot, d.T), write)
            return
        x = x[: layer.n_in]
        if layer.grad_weight.flags.c_contiguous:
            _add(notes, layer.grad_weight, (d.dot, x.T), write)
        else:
            _add(notes, layer.grad_weight.T, (x.dot, d.T), write)
        if layer.bias is not None:
            _add(notes, layer.grad_bias, (d.dot, np.ones(self.shape.n, d.dtype)), write)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        self.accumulate(notes, d, write)
        dObj_dIn = np.empty((self.layer.n_in, self.shape.n), d.dtype)
        notes.call(self.layer.weight.T.dot, d, dObj_dIn)
        return dObj_dIn


def _add(notes: Notes, grad: Array, product: tuple[Callable[..., Any], Array], write: bool) -> None:
    """Note that a product is added to a gradient, or written into it."""
    into = grad if write and grad.flags.c_contiguous else np.empty(grad.shape, grad.dtype)
    notes.call(*product, into)
    if into is not grad:
        notes.call(np.add, grad, into, grad)


class ActivationKernel(Kernel):
    """Base of the kernels of activations: `rise` notes y from z, and `slope` d times the derivative, from what `rise` has kept.

    Both return arrays (F, N). z is nobody else's, so y may take its place.
    """

    def __init__(self, layer: Any, notes: Notes, shape: Shape, z: Array) -> None:
        self.layer, self.shape, self.y = layer, shape, z
        self.guarded = tuple(name for name in vars(layer) if name != "training")
        self.names: dict[str, Array] = {}
        self.rise(notes, z[:-1])

    def rise(self, notes: Notes, z: Array) -> None:
        raise NotImplementedError

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        raise NotImplementedError

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        s = np.empty(d.shape, d.dtype)
        self.slope(notes, d, s)
        return s

    def new(self, name: str) -> Array:
        """A work array that the plain page has under this name."""
        self.names[name] = np.empty((self.y.shape[0] - 1, self.shape.n), self.shape.dtype)
        return self.names[name]

    def apart(self) -> Array:
        """Let y have a place of its own, since the page remembers z as x."""
        self.names["x"] = self.y[:-1]
        self.y = self.shape.block(len(self.y) - 1)
        return self.y[:-1]

    def scalar(self, value: float) -> Array:
        return scalar(value, self.shape.dtype)

    remembered: tuple[str, ...] = ("y",)

    def kept(self) -> tuple[Any, ...]:
        known = {**self.names, "y": self.y[:-1]}
        return tuple(self.shape.seen(known[name]) for name in self.remembered)


class SigmoidKernel(ActivationKernel):
    remembered = "y", "e"

    def rise(self, notes: Notes, z: Array) -> None:
        e, self.t = self.new("e"), self.new("t")
        notes.call(np.minimum, z, self.scalar(largest_exponent(z.dtype)), e)
        notes.call(np.exp, e, e)
        notes.call(np.add, e, self.scalar(1), self.t)
        notes.call(np.divide, e, self.t, z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.multiply, d, self.y[:-1], s)
        notes.call(np.divide, s, self.t, s)


class TanhKernel(ActivationKernel):
    def rise(self, notes: Notes, z: Array) -> None:
        notes.call(np.tanh, z, z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        y = self.y[:-1]
        notes.call(np.multiply, y, y, s)
        notes.call(np.subtract, self.scalar(1), s, s)
        notes.call(np.multiply, s, d, s)


class ReLUKernel(ActivationKernel):
    def rise(self, notes: Notes, z: Array) -> None:
        notes.call(np.maximum, z, self.scalar(0), out=z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        # The sign of y is the slope. It costs half of a comparison on small arrays, and twice as much on large ones.
        y = self.y[:-1]
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
        notes.call(np.abs, self.y[:-1], s)
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
        notes.call(np.minimum, z, self.scalar(largest_exponent(z.dtype)), s)
        notes.call(np.exp, s, s)
        notes.call(np.add, s, self.scalar(1), t)
        notes.call(np.divide, s, t, s)
        notes.call(np.multiply, z, s, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        share, y = self.names["s"], self.y[:-1]
        notes.call(np.subtract, self.scalar(1), share, s)
        notes.call(np.multiply, y, s, s)
        notes.call(np.add, share, s, s)
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
    SiLU: SiLUKernel,
    Softplus: SoftplusKernel,
    Softsign: SoftsignKernel,
}
