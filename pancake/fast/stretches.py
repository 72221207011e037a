"""Stretches: which layers of a stack may be one program, and which kernel each has."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.fast.activations import ACTIVATIONS, ActivationKernel
from pancake.fast.kernels import Kernel, Lies, LinearKernel
from pancake.fast.methods import is_unrolled, untouched
from pancake.fast.program import Notes, Text
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.embedding import Embedding
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.origin import is_own

FIRST = frozenset({"Standardize", "LayerNorm", "RMSNorm", "BatchNorm"})  # with which a stretch may begin, too
NORMALIZING = FIRST | {"Softmax", "LogSoftmax", "Dropout"}


class Stretch:
    """Neighbours in a stack that may be one program.

    Attributes
    ----------
    functions : list of Function
        As they stand in the stack.
    layers : list of Function
        The same, with those of stacks within the stack in their places.
    inner : list of (Sequential, list)
        These stacks, and what they hold.
    """

    def __init__(self) -> None:
        self.functions: list[Any] = []
        self.layers: list[Any] = []
        self.inner: list[tuple[Sequential, list[Any]]] = []

    def unchanged(self) -> bool:
        """Whether the stacks within the stack hold the same, and nobody has put other methods on them."""
        return all(stack.functions == held and untouched(vars(stack), Sequential) for stack, held in self.inner)


def has_kernel(layer: Function) -> bool:
    """Whether there is a kernel for a layer, wherever it stands."""
    if not is_unrolled(layer):
        return type(layer) is Linear or shaping_kernel(layer) is not None
    from pancake.fast import cells  # which only nets with cells wait for

    return type(layer.cell) in cells.KERNELS


def flat(function: Any, inner: list[tuple[Sequential, list[Any]]]) -> list[Any]:
    """The layers of a stack within the stack, and of those in it, which are noted in `inner`; or the one Function."""
    if type(function) is not Sequential or not function.functions or not untouched(vars(function), Sequential):
        return [function]
    inner.append((function, function.functions.copy()))
    return [layer for part in function.functions for layer in flat(part, inner)]


def kernel_of(
    layer: Any, notes: Notes, lies: Lies, argument: Any, before: Any, last: bool, fresh: bool, training: bool
) -> Kernel:
    """The kernel of a layer after that of the layer `before`; of the first one, for the argument of the program."""
    if isinstance(layer, Linear):
        return LinearKernel(layer, notes, lies, argument if before is None else before.y, last, last and fresh)
    if isinstance(layer, Embedding):
        from pancake.fast.embeddings import EmbeddingKernel

        return EmbeddingKernel(layer, notes, lies)
    if is_unrolled(layer):
        from pancake.fast.sequences import UnrolledKernel

        return UnrolledKernel(layer, notes, lies, before)
    kernel = shaping_kernel(layer)
    assert kernel is not None
    z: Array = lies.new(layer.n) if before is None else before.y
    if before is None:
        notes.put(lies.seen(z), Text("x"))
    elif kernel.overwrites and before.keeps_y:
        z = lies.new(len(before.y))
        notes.call(np.copyto, z, before.y)
    return kernel(layer, notes, lies, z, training)


def shaping_kernel(layer: Any) -> type[ActivationKernel] | None:
    """The class of the kernel of a layer that keeps the shape of its input, if it has one."""
    cls: Any = type(layer)
    if cls.__name__ in NORMALIZING and is_own(cls):  # their pages are not loaded before somebody makes one
        from pancake.fast.normalization import KERNELS

        return KERNELS[cls.__name__]
    return ACTIVATIONS.get(cls)


def has_modes(layer: Any) -> bool:
    """Whether the mode of a layer makes a difference to its kernel, which in training must see a batch as a whole."""
    kernel = shaping_kernel(layer)
    return kernel is not None and kernel.whole


def begins(layer: Any) -> bool:
    """Whether a stretch may begin with this layer, if there is a kernel for it."""
    return type(layer) is Linear or is_unrolled(layer) or (type(layer).__name__ in FIRST and is_own(type(layer)))


def bytes_of_row(layers: list[Any], x: Array) -> int:
    """How much a stretch takes in for a row, and its `Linear`s put out."""
    width: int = x.shape[-1] + sum(layer.n_out for layer in layers if isinstance(layer, Linear))
    return width * dtype_of(layers[0]).itemsize


def time_first(x: Array) -> bool:
    """Whether sequences lie in memory one time step after the other."""
    return x.ndim == 3 and x.strides[1] > x.strides[0]


def dtype_of(layer: Any) -> np.dtype[Any]:
    """The dtype of the parameters of a layer that a stretch may begin with."""
    array = layer.cell.weight_hh if is_unrolled(layer) else layer.mean if "mean" in vars(layer) else layer.weight
    dtype: np.dtype[Any] = array.dtype
    return dtype


def key_of(x: Array) -> tuple[Any, ...]:
    """What must be the same of two inputs for one program to serve both: of sequences also how they lie in memory."""
    return x.shape, x.dtype, time_first(x)
