"""Kernels of the activations: each repeats the arithmetic of one class, in the order of its page, without new memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.fast.kernels import Kernel, Lies
from pancake.fast.program import Notes, Owner, bound, scalar
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
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, ReLU
from pancake.memory import Array


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
        s = self.lies.free(len(self.y), d)
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
        notes.call(np.minimum, z, bound(largest_exponent(z.dtype), z), out=e)
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
        notes.call(np.maximum, z, bound(0, z), out=z)

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
        notes.call(np.minimum, z, bound(1, z), out=z)
        notes.call(np.maximum, z, bound(-1, z), out=z)

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

    def depends_on(self) -> tuple[list[Owner], list[tuple[type, str]]]:
        owners, methods = super().depends_on()
        cls = type(self.layer)
        return owners, [*methods, *((cls, name) for name in ("alpha", "scale") if hasattr(cls, name))]

    def rise(self, notes: Notes, z: Array) -> None:
        y, self.below, self.e = self.apart(), self.new("below"), self.new("e")
        above = self.new("above")
        scale = getattr(self.layer, "scale", 1.0)
        notes.call(np.minimum, z, bound(0, z), out=self.below)
        notes.call(np.expm1, self.below, self.e)
        notes.call(np.multiply, self.e, self.scalar(self.layer.alpha), self.e)
        notes.call(np.maximum, z, bound(0, z), out=above)
        notes.call(np.add, above, self.e, y)
        if scale != 1:
            notes.call(np.multiply, y, self.scalar(scale), y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        above, scale = self.names["above"], getattr(self.layer, "scale", 1.0)
        notes.call(np.exp, self.below, s)
        notes.call(np.multiply, s, self.scalar(self.layer.alpha), s)
        notes.call(np.copyto, s, self.scalar(1), "same_kind", notes.expression(np.greater, above, self.scalar(0)))
        if scale != 1:
            notes.call(np.multiply, s, self.scalar(scale), s)
        notes.call(np.multiply, s, d, s)


class SiLUKernel(ActivationKernel):
    remembered = "x", "s"

    def rise(self, notes: Notes, z: Array) -> None:
        y, s, t = self.apart(), self.new("s"), self.new("t")
        notes.call(np.minimum, z, bound(largest_exponent(z.dtype), z), out=s)
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
    remembered = "near", "P"

    def rise(self, notes: Notes, z: Array) -> None:
        y, P, near = self.apart(), self.new("P"), self.new("near")
        notes.call(np.minimum, z, bound(40, z), out=near)
        notes.call(np.maximum, near, bound(-40, z), out=near)
        if self.layer.approximate == "none":
            notes.put(P, notes.expression(normal_cdf, near))
        else:
            self.work = self.new("work")
            notes.call(np.multiply, near, self.scalar(0.044715), P)
            notes.call(np.multiply, P, near, P)
            notes.call(np.multiply, P, near, P)
            notes.call(np.add, near, P, P)
            notes.call(np.multiply, P, self.scalar(2 * ROOT_2_PI), P)
            notes.call(np.minimum, P, bound(largest_exponent(z.dtype), P), out=P)
            notes.call(np.exp, P, P)
            notes.call(np.add, P, self.scalar(1), self.work)
            notes.call(np.divide, P, self.work, P)
        notes.call(np.multiply, z, P, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        x, P = self.names["near"], self.names["P"]
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
        notes.call(np.maximum, z, bound(0, z), out=rise)
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
