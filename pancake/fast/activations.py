"""Kernels of the activations, without new memory: the calls of the page, and what is quicker for those with a kink.

Their pages say `np.where`, which takes up to twice the time of a whole step: here a product with the slopes does the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.fast.kernels import Kernel, Lies
from pancake.fast.program import Notes, Owner, bound, scalar
from pancake.function import Function
from pancake.functions.activations import ELU, GELU, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.functions.containers import Identity
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, PReLU, ReLU
from pancake.memory import Array


class ActivationKernel(Kernel):
    """Base of the kernels of activations: `rise` notes y from z, and `slope` d times the derivative, from what `rise` has kept.

    All are arrays (F, N). If it `overwrites`, z is nobody else's, so y may take its place.
    """

    overwrites = True
    remembered: list[Array]

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool) -> bool:
        """Whether it computes what a layer does with inputs of such a shape, in a program of this dtype and for this mode."""
        # of a SELU, say, an array may change in place, or be one number for each feature
        return not any(isinstance(setting, np.ndarray) for setting in vars(layer).values())

    def __init__(self, layer: Any, notes: Notes, lies: Lies, z: Array, training: bool) -> None:
        """Note the forward; a layer that has modes is in that of `training`."""
        self.layer, self.lies, self.y, self.remembered, self.training = layer, lies, z, [z], training
        self.guarded = tuple(name for name in vars(layer) if name not in ("training", "frozen"))
        self.rise(notes, z)

    def rise(self, notes: Notes, z: Array) -> None:
        raise NotImplementedError

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        raise NotImplementedError

    def accumulate(self, notes: Notes, d: Array, write: bool) -> None:
        self.backward(notes, d, write)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        s = self.lies.free(len(self.y), d)
        self.slope(notes, d, s)
        return s

    def new(self) -> Array:
        return self.lies.new(len(self.y))

    def scalar(self, value: float) -> Array:
        return scalar(value, self.lies.dtype)

    def kept(self) -> tuple[Any, ...]:
        return tuple(map(self.lies.seen, self.remembered))


class PageKernel(ActivationKernel):
    """What the page calls, as it stands there."""

    def rise(self, notes: Notes, z: Array) -> None:
        from pancake.fast.pages import Page  # not for `import pancake`, and not for nets of ReLUs

        self.page = Page(self.layer, self.lies, z)
        self.y, self.remembered = self.page.y, self.page.remembered
        self.page.note_forward(notes)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        self.page.note_backward(notes, d, s)


class IdentityKernel(ActivationKernel):
    overwrites = False

    def rise(self, notes: Notes, z: Array) -> None:
        pass

    def kept(self) -> tuple[Any, ...]:
        y = self.lies.seen(self.y)
        return y.shape, y.dtype

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        return d


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
    keeps_y = overwrites = False

    def rise(self, notes: Notes, z: Array) -> None:
        self.y, self.slopes, above = self.new(), self.new(), self.new()
        notes.call(np.greater, z, self.scalar(0), out=above)
        notes.call(np.subtract, self.scalar(1), above, self.slopes)
        notes.call(np.multiply, self.slopes, self.scalar(self.layer.negative_slope), self.slopes)
        notes.call(np.add, self.slopes, above, self.slopes)
        notes.call(np.multiply, z, self.slopes, self.y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.multiply, d, self.slopes, s)


class PReLUKernel(ActivationKernel):
    """The slope is a parameter. What is above 0 or not is picked bit by bit, in half the time of `np.where`, and as exactly."""

    keeps_y = overwrites = False

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool) -> bool:
        weight, grad = layer.weight, layer.grad_weight
        alike = weight.dtype == grad.dtype == dtype and weight.shape == grad.shape in ((1,), shape[-1:])
        return alike and (layer.max_ndim is None or len(shape) <= layer.max_ndim)

    def rise(self, notes: Notes, z: Array) -> None:
        self.bits, above, self.y = f"i{z.itemsize}", np.empty_like(z, np.bool), self.new()
        self.below = np.empty_like(z, self.bits)  # all bits, or none
        notes.call(np.greater, z, self.scalar(0), above)
        notes.call(np.subtract, above.view(np.int8), np.ones((), np.int8), self.below)
        self.note_pieces(notes, z, self.y)

    def note_pieces(self, notes: Notes, a: Any, out: Array) -> None:
        """Note a, times the slope where z is not above 0."""
        weight, a_bits, bits = self.layer.weight, a.view(self.bits), out.view(self.bits)
        notes.call(np.multiply, a, weight.reshape(()) if weight.size == 1 else weight[:, np.newaxis], out)
        notes.call(np.bitwise_xor, bits, a_bits, bits)
        notes.call(np.bitwise_and, bits, self.below, bits)
        notes.call(np.bitwise_xor, bits, a_bits, bits)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        self.note_pieces(notes, d, s)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        grad, products = self.layer.grad_weight, self.new()
        notes.call(np.multiply, self.remembered[0], d, products)
        notes.call(np.bitwise_and, products.view(self.bits), self.below, products.view(self.bits))
        rows = products.ravel("K")[np.newaxis] if grad.size == 1 else products
        self.add(notes, grad, rows, np.ones(rows.shape[1], rows.dtype), write)
        return super().backward(notes, d, write)


class ELUKernel(ActivationKernel):
    """Also of SELU, which has a factor for all."""

    def depends_on(self) -> tuple[list[Owner], list[tuple[type, str]]]:
        owners, methods = super().depends_on()
        cls = type(self.layer)
        return owners, [*methods, *((cls, name) for name in ("alpha", "scale") if hasattr(cls, name))]

    def rise(self, notes: Notes, z: Array) -> None:
        y, self.below, self.above, e = (self.new() for _ in range(4))
        self.y, self.scale = y, getattr(self.layer, "scale", 1.0)
        notes.call(np.minimum, z, bound(0, z), out=self.below)
        notes.call(np.expm1, self.below, e)
        notes.call(np.multiply, e, self.scalar(self.layer.alpha), e)
        notes.call(np.maximum, z, bound(0, z), out=self.above)
        notes.call(np.add, self.above, e, y)
        if self.scale != 1:
            notes.call(np.multiply, y, self.scalar(self.scale), y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.exp, self.below, s)
        notes.call(np.multiply, s, self.scalar(self.layer.alpha), s)
        notes.call(np.copyto, s, self.scalar(1), "same_kind", notes.expression(np.greater, self.above, self.scalar(0)))
        if self.scale != 1:
            notes.call(np.multiply, s, self.scalar(self.scale), s)
        notes.call(np.multiply, s, d, s)


ACTIVATIONS: dict[type[Function], type[ActivationKernel]] = {
    **dict.fromkeys((Sigmoid, Tanh, SiLU, GELU, Mish, Softplus, Softsign), PageKernel),
    Identity: IdentityKernel,
    ReLU: ReLUKernel,
    HardTanh: HardTanhKernel,
    LeakyReLU: LeakyReLUKernel,
    PReLU: PReLUKernel,
    ELU: ELUKernel,
    SELU: ELUKernel,
}
