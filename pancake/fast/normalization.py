"""Kernels of layers that couple the features of an example: sums over features are products of a row of ones with (F, N)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.fast.activations import ActivationKernel
from pancake.fast.kernels import Lies
from pancake.fast.program import Notes
from pancake.memory import Array


class CoupledKernel(ActivationKernel):
    """Base: what `rise` puts out is an array of its own, so that z stays as it is."""

    overwrites = False

    def __init__(self, layer: Any, notes: Notes, lies: Lies, z: Array) -> None:
        self.ones = np.ones(len(z), lies.dtype)
        super().__init__(layer, notes, lies, z)

    def row(self) -> Array:
        """A new array for a number of each example."""
        return np.empty(self.lies.n, self.lies.dtype)


class SoftmaxKernel(CoupledKernel):
    """Over the last axis, which comes first here."""

    @classmethod
    def fits(cls, layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        return super().fits(layer, shape, dtype) and layer.axis in (-1, len(shape) - 1)

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


KERNELS: dict[str, type[ActivationKernel]] = {"Softmax": SoftmaxKernel, "LogSoftmax": LogSoftmaxKernel}
