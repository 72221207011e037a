"""Kernels of what stands side by side: where branches begin, where one ends and the next begins, and where they come together.

A container of branches is laid flat: a mark, the layers of its first branch, a mark, those of the second, and so on. Of the marks
the first has the input, and on the way back the sum of the gradients that the branches return; the last has the output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.fast.kernels import Kernel, Lies
from pancake.fast.program import Notes, Owner
from pancake.fast.stretches import Mark
from pancake.memory import Array

Shape = tuple[int, ...]


class MarkKernel(Kernel):
    """Base of the kernels of marks, which have nothing to train."""

    layer: Mark

    def depends_on(self) -> tuple[list[Owner], list[tuple[type, str]]]:
        return [], []  # the chain looks at the containers

    def accumulate(self, notes: Notes, d: Array, write: bool) -> None:
        pass


class Fork(MarkKernel):
    """Where the branches begin.

    Attributes
    ----------
    outputs : list of ndarray (F, N)
        What the branches have put out so far.
    gradients : list of ndarray (F, N)
        What is to reach each of them.
    sum : ndarray (F, N) or None
        Of the gradients that branches have returned so far.
    """

    def __init__(self, mark: Mark, lies: Lies, x: Array) -> None:
        self.layer, self.lies, self.y = mark, lies, x
        self.sum: Array | None = None
        self.outputs: list[Array] = []
        self.gradients: list[Array] = []

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        if self.sum is None:
            return d
        s = self.lies.free(len(self.y), d)
        notes.call(np.add, self.sum, d, s)
        return s


class Between(MarkKernel):
    """Where one branch has ended and the next begins."""

    def __init__(self, mark: Mark, lies: Lies, output: Array, fork: Fork) -> None:
        self.layer, self.lies, self.y, self.fork = mark, lies, fork.y, fork
        fork.outputs.append(output)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        fork = self.fork
        if fork.sum is None:
            fork.sum = self.lies.new(len(d))
            notes.call(np.copyto, fork.sum, d)
        else:
            notes.call(np.add, fork.sum, d, fork.sum)
        return fork.gradients.pop()


class Join(MarkKernel):
    """Where the branches come together: of an `Add`, as it stands here."""

    keeps_y = False

    def __init__(self, mark: Mark, notes: Notes, lies: Lies, output: Array, fork: Fork) -> None:
        self.layer, self.lies, self.fork = mark, lies, fork
        fork.outputs.append(output)
        self.y = self.combined(notes, fork.outputs)

    def combined(self, notes: Notes, outputs: list[Array]) -> Array:
        """Note the output from those of the branches."""
        return self.folded(notes, np.add, outputs)

    def folded(self, notes: Notes, function: Any, arrays: list[Array]) -> Array:
        """Note f(f(a, b), c) and so on, in new memory; of one array a copy."""
        first, *others = arrays
        into = self.lies.new(len(first))
        if not others:
            notes.call(np.copyto, into, first)
        for array in others:
            notes.call(function, first, array, into)
            first = into
        return into

    def gradients(self, notes: Notes, d: Array) -> list[Array]:
        """Note the gradient of the output of each branch, from d, which is no more than theirs."""
        return [d] * len(self.fork.outputs)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        self.fork.sum = None
        own = self.lies.new(len(self.y))
        notes.call(np.copyto, own, d)  # over which the branches would write on their way
        self.fork.gradients = self.gradients(notes, own)
        return self.fork.gradients.pop()

    def kept(self) -> tuple[Any, ...]:
        y = self.lies.seen(self.y)
        return [self.lies.seen(output) for output in self.fork.outputs], y.shape, y.dtype, False


class MultiplyJoin(Join):
    def combined(self, notes: Notes, outputs: list[Array]) -> Array:
        return self.folded(notes, np.multiply, outputs)

    def gradients(self, notes: Notes, d: Array) -> list[Array]:
        outputs = self.fork.outputs
        return [self.folded(notes, np.multiply, [d, *outputs[:i], *outputs[i + 1 :]]) for i in range(len(outputs))]


class ConcatenateJoin(Join):
    """Along the last axis, which comes first here."""

    def combined(self, notes: Notes, outputs: list[Array]) -> Array:
        y = self.lies.new(sum(map(len, outputs)))
        for piece, output in zip(self.pieces(y), outputs, strict=True):
            notes.call(np.copyto, piece, output)
        return y

    def gradients(self, notes: Notes, d: Array) -> list[Array]:
        return self.pieces(d)

    def pieces(self, array: Array) -> list[Array]:
        """The rows of each branch."""
        return np.split(array, np.cumsum([len(output) for output in self.fork.outputs])[:-1])


class ResidualJoin(Join):
    def combined(self, notes: Notes, outputs: list[Array]) -> Array:
        return self.folded(notes, np.add, [*outputs, self.fork.y])

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        d = super().backward(notes, d, write)
        self.fork.sum = d
        return d

    def kept(self) -> tuple[Any, ...]:
        return super().kept()[1:3]


JOINS = {"Add": Join, "Multiply": MultiplyJoin, "Concatenate": ConcatenateJoin, "Residual": ResidualJoin}


def kernel_of(mark: Mark, notes: Notes, lies: Lies, output: Array, before: list[Kernel]) -> Kernel:
    """The kernel of a mark after those of all layers before it, the last of which has this output."""
    if mark.first:
        return Fork(mark, lies, output)
    fork = next(kernel for kernel in reversed(before) if isinstance(kernel, Fork) and kernel.layer.container is mark.container)
    if mark.last:
        return JOINS[type(mark.container).__name__](mark, notes, lies, output, fork)
    return Between(mark, lies, output, fork)


def shape_after(mark: Mark, shape: Shape, opened: list[list[Shape]]) -> Shape | None:
    """The shape that goes on from a mark; None if the outputs of the branches do not fit together.

    `opened` has a list for each container that is open: the shape of its input, and of what its branches put out.
    """
    if mark.first:
        opened.append([shape])
        return shape
    opened[-1].append(shape)
    if not mark.last:
        return opened[-1][0]
    given, *outputs = opened.pop()
    if type(mark.container).__name__ == "Concatenate":
        along_features = mark.container.axis in (-1, len(shape) - 1)
        return (*shape[:-1], sum(output[-1] for output in outputs)) if along_features else None
    wanted = given if type(mark.container).__name__ == "Residual" else shape
    return shape if all(output == wanted for output in outputs) else None
