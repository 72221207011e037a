"""Stretches: which layers of a stack may be one program, and which kernel each has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pancake.fast.activations import ACTIVATIONS, ActivationKernel, PageKernel
from pancake.fast.kernels import Kernel, Lies, LinearKernel
from pancake.fast.methods import OF_BRANCHES, is_unrolled, untouched
from pancake.fast.program import Notes
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.embedding import Embedding
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.origin import is_own

NORMALIZING = frozenset({"Standardize", "LayerNorm", "RMSNorm", "BatchNorm", "Softmax", "LogSoftmax", "Dropout"})
TYPED = frozenset({"Standardize", "LayerNorm", "RMSNorm", "BatchNorm", "PReLU"})
NOTED = frozenset({"Square", "Negate", "Exp", "Abs"})  # from their pages
BRANCHING = frozenset({"Add", "Multiply", "Concatenate", "Residual"})


class Mark:
    """Where a container of branches begins, one of its branches ends and the next one begins, or the last one ends.

    Attributes
    ----------
    first, last : bool
    """

    training, frozen = True, False

    def __init__(self, container: Any, place: int, places: int) -> None:
        self.container, self.first, self.last = container, place == 0, place == places - 1

    def get_params_and_grads(self) -> tuple[list[Array], list[Array]]:
        return [], []

    def _upstream(self, *args: Any) -> Any:
        return self.container._upstream(*args)


class Stretch:
    """Neighbours in a stack that may be one program.

    Attributes
    ----------
    functions : list of Function
        As they stand in the stack.
    layers : list of Function or Mark
        The same, with those of containers within the stack in their places.
    inner : list of (Container, list)
        These containers, and what they hold.
    """

    def __init__(self) -> None:
        self.functions: list[Any] = []
        self.layers: list[Any] = []
        self.inner: list[tuple[Any, list[Any]]] = []

    def owners(self) -> list[Any]:
        """All that remembers something, the stack itself apart."""
        return [layer for layer in self.layers if type(layer) is not Mark] + [container for container, _ in self.inner]

    def unchanged(self) -> bool:
        """Whether the containers within the stack hold the same, and nobody has put other methods on them."""
        return all(held_by(container) == held for container, held in self.inner)

    def looks_inside(self, notes: Notes) -> list[str]:
        """The conditions under which the lists of these containers hold the same."""
        listed = [(container, held) for container, held in self.inner if "functions" in vars(container)]
        return [f"{notes.held(container)}.functions == {notes.held(held)}" for container, held in listed]


def has_kernel(layer: Function) -> bool:
    """Whether there is a kernel for a layer, wherever it stands."""
    if not is_unrolled(layer):
        return type(layer) in (Linear, Mark) or shaping_kernel(layer) is not None
    from pancake.fast import cells  # which only nets with cells wait for

    return type(layer.cell) in cells.KERNELS


def held_by(function: Any) -> list[Any] | None:
    """The list of what a container holds whose parts may run in one program with what stands around it."""
    cls = type(function)
    if not (cls is Sequential or (cls.__name__ in BRANCHING and is_own(cls))):
        return None
    if not untouched(vars(function), cls, methods_of(cls)):
        return None
    if cls.__name__ == "Residual":
        return [function.f]
    return function.functions or None if type(function.functions) is list else None


def methods_of(container: type) -> Iterable[str]:
    """The methods of a container that its programs stand for."""
    return [name for name in OF_BRANCHES if hasattr(container, name)]


def flat(function: Any, inner: list[tuple[Any, list[Any]]]) -> list[Any]:
    """The layers of a container within the stack, and of those in it, which are noted in `inner`; or the one Function."""
    held, within = held_by(function), list[tuple[Any, list[Any]]]()
    if held is None:
        return [function]
    layers = [flat(part, within) for part in held]
    if type(function) is not Sequential:
        if any(is_unrolled(layer) for branch in layers for layer in branch):  # which turns sequences round
            return [function]
        first, *marks = (Mark(function, place, len(held) + 1) for place in range(len(held) + 1))
        layers = [[first], *([*branch, mark] for branch, mark in zip(layers, marks, strict=True))]
    inner += [(function, held.copy()), *within]
    return [layer for part in layers for layer in part]


def kernel_of(
    layer: Any, notes: Notes, lies: Lies, argument: Any, kernels: list[Kernel], last: bool, fresh: bool, training: bool
) -> Kernel:
    """The kernel of a layer after those of the layers before; of the first one, for the argument of the program."""
    before = kernels[-1] if kernels else None
    z: Any = argument if before is None else before.y
    if isinstance(layer, Mark):
        from pancake.fast import branches

        return branches.kernel_of(layer, notes, lies, z, kernels)
    if isinstance(layer, Linear):
        return LinearKernel(layer, notes, lies, z, last, last and fresh)
    if isinstance(layer, Embedding):
        from pancake.fast.embeddings import EmbeddingKernel

        return EmbeddingKernel(layer, notes, lies)
    if is_unrolled(layer):
        from pancake.fast.sequences import UnrolledKernel

        return UnrolledKernel(layer, notes, lies, before)
    kernel = shaping_kernel(layer)
    assert kernel is not None
    if before is not None and kernel.overwrites and before.keeps_y:
        z = lies.new(len(before.y))
        notes.call(np.copyto, z, before.y)
    return kernel(layer, notes, lies, z, training)


def shaping_kernel(layer: Any) -> type[ActivationKernel] | None:
    """The class of the kernel of a layer that keeps the shape of its input, if it has one."""
    cls: Any = type(layer)
    if cls in ACTIVATIONS or not is_own(cls):
        return ACTIVATIONS.get(cls)
    if cls.__name__ in NORMALIZING:  # the pages of these are not loaded before somebody makes one
        from pancake.fast.normalization import KERNELS

        return KERNELS[cls.__name__]
    return PageKernel if cls.__name__ in NOTED else None


def has_modes(layer: Any) -> bool:
    """Whether the mode of a layer makes a difference to its kernel, which in training must see a batch as a whole."""
    kernel = shaping_kernel(layer)
    return kernel is not None and kernel.whole


def typed(layer: Any) -> bool:
    """Whether a layer takes its input in the dtype of its own arrays, whatever it is given."""
    return type(layer) in (Linear, Embedding) or is_unrolled(layer) or (type(layer).__name__ in TYPED and is_own(type(layer)))


def bytes_of_row(layers: list[Any], x: Array) -> int:
    """How much a stretch takes in for a row, and its `Linear`s put out."""
    width: int = x.shape[-1] + sum(layer.n_out for layer in layers if isinstance(layer, Linear))
    return width * dtype_of(layers).itemsize


def time_first(x: Array) -> bool:
    """Whether sequences lie in memory one time step after the other."""
    return x.ndim == 3 and x.strides[1] > x.strides[0]


def dtype_of(layers: list[Any]) -> np.dtype[Any]:
    """The dtype of the arrays of the first layer that has any."""
    layer = next(filter(typed, layers))
    array = layer.cell.weight_hh if is_unrolled(layer) else layer.mean if "mean" in vars(layer) else layer.weight
    dtype: np.dtype[Any] = array.dtype
    return dtype


def key_of(x: Array) -> tuple[Any, ...]:
    """What must be the same of two inputs for one program to serve both: of sequences also how they lie in memory."""
    return x.shape, x.dtype, time_first(x)
