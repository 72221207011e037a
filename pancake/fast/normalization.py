"""Kernels of softmaxes, of normalisation and of `Dropout`: sums over features or examples are products of (F, N) with ones.

Pages of these layers are not loaded before somebody makes one, nor is this.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pancake.fast.activations import ActivationKernel
from pancake.fast.kernels import Lies
from pancake.fast.program import Notes, scalar
from pancake.memory import Array


class CoupledKernel(ActivationKernel):
    """Base: what `rise` puts out is an array of its own, so that z stays as it is.

    Attributes
    ----------
    ones : ndarray (F,)
    """

    overwrites = False

    def __init__(self, layer: Any, notes: Notes, lies: Lies, z: Array, training: bool) -> None:
        self.ones = np.ones(len(z), lies.dtype)
        super().__init__(layer, notes, lies, z, training)

    def row(self) -> Array:
        """A new array for a number of each example."""
        return np.empty(self.lies.n, self.lies.dtype)


class SoftmaxKernel(CoupledKernel):
    """Over the last axis, which comes first here."""

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool) -> bool:
        return layer.axis in (-1, len(shape) - 1) and super().fits(layer, shape, dtype, training)

    def rise(self, notes: Notes, z: Array) -> None:
        self.y, self.sums = self.new(), self.row()
        self.remembered = [self.y]
        notes.call(np.maximum.reduce, z, 0, None, self.sums)
        notes.call(np.subtract, z, self.sums, self.y)
        self.note_normalized(notes, self.y)

    def note_normalized(self, notes: Notes, y: Array) -> None:
        """Note y from z less the largest of each example, which stands there."""
        notes.call(np.exp, y, y)
        notes.call(self.ones.dot, y, self.sums)
        notes.call(np.divide, y, self.sums, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.multiply, self.y, d, s)
        notes.call(self.ones.dot, s, self.sums)
        notes.call(np.subtract, d, self.sums, s)
        notes.call(np.multiply, s, self.y, s)


class LogSoftmaxKernel(SoftmaxKernel):
    def note_normalized(self, notes: Notes, y: Array) -> None:
        e = self.new()
        notes.call(np.exp, y, e)
        notes.call(self.ones.dot, e, self.sums)
        notes.call(np.log, self.sums, self.sums)
        notes.call(np.subtract, y, self.sums, y)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.exp, self.y, s)
        notes.call(self.ones.dot, d, self.sums)
        notes.call(np.multiply, s, self.sums, s)
        notes.call(np.subtract, d, s, s)


class NormKernel(CoupledKernel):
    """Base of those that put out w h + b for a normalised input h (F, N): an `RMSNorm`, as it stands here."""

    keeps_y = False
    parameters: tuple[str, ...] = ("weight", "grad_weight")

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool) -> bool:
        arrays = [getattr(layer, name) for name in cls.parameters]
        return layer.n == shape[-1] and all(array.dtype == dtype and array.shape == shape[-1:] for array in arrays)

    def rise(self, notes: Notes, z: Array) -> None:
        self.y, self.h, self.work, self.s, self.mean = self.new(), self.new(), self.new(), self.row(), self.row()
        self.remembered = [self.h, self.s[np.newaxis]]
        c = self.note_centred(notes, z)
        notes.call(np.multiply, c, c, self.work)
        self.note_mean(notes, self.ones, self.work, self.s)
        notes.call(np.add, self.s, self.scalar(self.eps()), self.s)
        notes.call(np.sqrt, self.s, self.s)
        notes.call(np.divide, c, self.s, self.h)
        notes.call(np.multiply, self.h, self.layer.weight[:, np.newaxis], self.y)

    def note_centred(self, notes: Notes, z: Array) -> Array:
        return z

    def eps(self) -> float:
        eps = self.layer.eps
        return float(np.finfo(self.lies.dtype).eps if eps is None else eps)

    def note_mean(self, notes: Notes, weight: Array, a: Array, out: Array) -> None:
        """Note the mean over the features of a (F, N) times their weights."""
        notes.call(weight.dot, a, out)
        notes.call(np.divide, out, self.scalar(len(weight)), out)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        notes.call(np.multiply, d, self.h, self.work)
        self.add(notes, self.layer.grad_weight, self.work, np.ones(self.lies.n, self.lies.dtype), write)
        return super().backward(notes, d, write)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        weight = self.layer.weight
        self.note_mean(notes, weight, self.work, self.mean)
        notes.call(np.multiply, self.h, self.mean, self.work)
        notes.call(np.multiply, d, weight[:, np.newaxis], s)
        notes.call(np.subtract, s, self.work, s)
        notes.call(np.divide, s, self.s, s)


class LayerNormKernel(NormKernel):
    parameters = ("weight", "grad_weight", "bias", "grad_bias")

    def rise(self, notes: Notes, z: Array) -> None:
        super().rise(notes, z)
        notes.call(np.add, self.y, self.layer.bias[:, np.newaxis], self.y)

    def note_centred(self, notes: Notes, z: Array) -> Array:
        for source in (z, self.h):  # the second pass takes out what rounding has left of the mean
            self.note_mean(notes, self.ones, source, self.mean)
            notes.call(np.subtract, source, self.mean, self.h)
        return self.h

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        self.add(notes, self.layer.grad_bias, d, np.ones(self.lies.n, self.lies.dtype), write)
        return super().backward(notes, d, write)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        super().slope(notes, d, s)
        self.note_mean(notes, self.ones, s, self.mean)  # what goes through the centring is centred; h is already
        notes.call(np.subtract, s, self.mean, s)


class StandardizeKernel(ActivationKernel):
    """(z - mean) / scale, and d / scale, with the scale that was there in forward."""

    keeps_y = False

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool) -> bool:
        return layer.n == shape[-1] and all(a.dtype == dtype and a.shape == (layer.n,) for a in (layer.mean, layer.scale))

    def rise(self, notes: Notes, z: Array) -> None:
        self.scale = np.empty((len(z), 1), z.dtype)
        notes.put(self.scale, self.layer.scale[:, np.newaxis])
        notes.call(np.subtract, z, self.layer.mean[:, np.newaxis], z)
        notes.call(np.divide, z, self.scale, z)

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.divide, d, self.scale, s)

    def kept(self) -> tuple[Any, ...]:
        return self.lies.seen(self.y).shape, self.scale[:, 0]


class BatchNormKernel(NormKernel):
    """Means over the examples, and in training the running statistics, which are saved where the page may have to run instead."""

    whole = True
    parameters = (*LayerNormKernel.parameters, "running_mean", "running_var")

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool) -> bool:
        few = layer.max_ndim is None or len(shape) <= layer.max_ndim
        counted = isinstance(layer.num_batches_tracked, np.ndarray)  # in place
        return few and counted and not (training and math.prod(shape[:-1]) == 1) and super().fits(layer, shape, dtype, training)

    def rise(self, notes: Notes, z: Array) -> None:
        layer, self.y, self.h, self.work = self.layer, self.new(), self.new(), self.new()
        self.s, self.mean, self.other = (np.empty(len(z), z.dtype) for _ in range(3))
        self.examples, h = np.ones(self.lies.n, z.dtype), self.h
        if self.training:
            self.running = [layer.running_mean, layer.running_var, layer.num_batches_tracked]
            self.before = [array.copy() for array in self.running]
            for source, mean in ((z, self.mean), (h, self.other)):
                self.note_sums(notes, source, mean, True)
                notes.call(np.subtract, source, mean[:, np.newaxis], h)
            notes.call(np.add, self.mean, self.other, self.mean)
            notes.call(np.multiply, h, h, self.work)
            self.note_sums(notes, self.work, self.s, True)
            notes.call(np.multiply, self.s, self.scalar(self.lies.n / (self.lies.n - 1)), self.other)
            for running, batch in ((layer.running_mean, self.mean), (layer.running_var, self.other)):
                notes.call(np.multiply, running, self.scalar(1 - layer.momentum), running)
                notes.call(np.multiply, batch, self.scalar(layer.momentum), batch)
                notes.call(np.add, running, batch, running)
            notes.call(np.add, layer.num_batches_tracked, 1, layer.num_batches_tracked)
        else:
            notes.call(np.subtract, z, layer.running_mean[:, np.newaxis], h)
        notes.call(np.add, self.s if self.training else layer.running_var, self.scalar(layer.eps), self.s)
        notes.call(np.sqrt, self.s, self.s)
        notes.call(np.divide, h, self.s[:, np.newaxis], h)
        notes.call(np.multiply, h, layer.weight[:, np.newaxis], self.y)
        notes.call(np.add, self.y, layer.bias[:, np.newaxis], self.y)

    def note_sums(self, notes: Notes, a: Array, out: Array, mean: bool) -> None:
        """Note the sums, or means, of a (F, N) over the examples."""
        notes.call(a.dot, self.examples, out)
        if mean:
            notes.call(np.divide, out, self.scalar(self.lies.n), out)

    def saves(self, notes: Notes) -> list[str]:
        pairs = zip(self.before, self.running, strict=True) if self.training else ()
        return [f"{notes.name(before)}[...] = {notes.name(running)}" for before, running in pairs]

    def undo(self) -> None:
        for before, running in zip(self.before, self.running, strict=True) if self.training else ():
            running[...] = before

    def kept(self) -> tuple[Any, ...]:
        h = self.lies.seen(self.h)
        return h.reshape(-1, h.shape[-1]), self.s[np.newaxis] if self.training else self.s, h.shape, self.training

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        layer, h, s = self.layer, self.h, self.lies.free(len(self.y), d)
        notes.call(np.multiply, d, h, self.work)
        for a, out, grad in ((self.work, self.mean, layer.grad_weight), (d, self.other, layer.grad_bias)):
            self.note_sums(notes, a, out, False)
            if not layer.frozen:
                notes.call(*((np.copyto, grad, out) if write else (np.add, grad, out, grad)))
            notes.call(np.divide, out, self.scalar(self.lies.n), out)
        if self.training:
            notes.call(np.subtract, d, self.other[:, np.newaxis], s)
            notes.call(np.multiply, h, self.mean[:, np.newaxis], self.work)
            notes.call(np.subtract, s, self.work, s)
            d = s
        notes.call(np.divide, layer.weight, self.s, self.other)
        notes.call(np.multiply, d, self.other[:, np.newaxis], s)
        return s


class DropoutKernel(ActivationKernel):
    """The draws are those of the page, in its order and in the shape that it sees; they are put where numbers lie here."""

    overwrites = False
    whole = True

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], training: bool) -> bool:
        return type(layer.rng) is np.random.Generator and super().fits(layer, shape, dtype, training)

    def rise(self, notes: Notes, z: Array) -> None:
        p, self.before = self.layer.p, None
        self.masks = self.training and p > 0  # else y is z
        if not self.masks:
            return
        mask, self.y, self.keeps_y = self.new(), self.new(), False
        self.remembered = [mask]
        draws = np.empty(self.lies.seen(mask).shape, np.float32)
        notes.call(self.layer.rng.random, None, np.float32, draws)
        notes.call(np.greater_equal, draws, scalar(p, np.float32), out=self.lies.seen(mask))
        notes.call(np.multiply, mask, self.scalar(0 if p == 1 else 1 / (1 - p)), mask)
        notes.call(np.multiply, z, mask, self.y)

    def saves(self, notes: Notes) -> list[str]:
        return [f"{notes.held(self)}.before = {notes.held(self.layer.rng.bit_generator)}.state"] if self.masks else []

    def undo(self) -> None:
        if self.before is not None:
            self.layer.rng.bit_generator.state = self.before

    def kept(self) -> tuple[Any, ...]:
        return super().kept() if self.masks else (np.ones_like(self.lies.seen(self.y)),)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        return super().backward(notes, d, write) if self.masks else d

    def slope(self, notes: Notes, d: Array, s: Array) -> None:
        notes.call(np.multiply, d, self.remembered[0], s)


KERNELS: dict[str, type[ActivationKernel]] = {
    "Softmax": SoftmaxKernel,
    "LogSoftmax": LogSoftmaxKernel,
    "LayerNorm": LayerNormKernel,
    "RMSNorm": NormKernel,
    "BatchNorm": BatchNormKernel,
    "Dropout": DropoutKernel,
    "Standardize": StandardizeKernel,
}
