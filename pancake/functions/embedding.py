"""Rows of a table in place of indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pancake.arguments import Rng, size
from pancake.fast.layout import merged, unmerged
from pancake.function import Function, parameter
from pancake.memory import Array

PAIRS = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}


class Embedding(Function):
    """y = row x of W: a trainable vector for every index, as of a word.

    With indices x of any shape (...), W (V, D) and y (..., D): the row i of grad_weight is the sum of dObj_dOut over all
    places where x is i. An index has no derivative, so dObj_dIn is zeros shaped like x.

    Parameters
    ----------
    num_embeddings : int
        V, the number of rows; indices go from 0 to V - 1.
    dim : int
        D, the length of a row.
    rng : None, int or numpy.random.Generator
        The weight is drawn from N(0, 1), as torch does.
    dtype : floating dtype

    Attributes
    ----------
    weight, grad_weight : ndarray (V, D)

    Raises
    ------
    TypeError
        If the input is not whole numbers.
    ValueError
        If an index is less than 0 or more than V - 1, or there is none.

    References
    ----------
    Bengio, Ducharme, Vincent, Jauvin, "A Neural Probabilistic Language Model" (2003), section 2: the mapping C.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()

    def __init__(self, num_embeddings: int, dim: int, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.num_embeddings, self.dim = size(self, num_embeddings=num_embeddings), size(self, dim=dim)
        self.make_parameters(dtype, order="C", weight=(num_embeddings, dim))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weight anew from N(0, 1)."""
        self.weight = np.random.default_rng(rng).standard_normal(self.weight.shape)

    def _has_parameters(self) -> bool:
        return True

    def compute_forward(self, x: Any) -> Array:
        try:
            indices = np.asarray(x)
        except ValueError:
            raise ValueError(f"{self!r}: expected an array of indices, got rows of different lengths") from None
        if not indices.size:
            raise ValueError(f"{self!r}: expected at least one index, got an empty input of shape {indices.shape}")
        if indices.dtype.kind not in "iu":
            hint = "; use x.astype(int)" if indices.dtype.kind == "f" else ""
            raise TypeError(f"{self!r}: expected whole numbers, got an input of dtype {indices.dtype}{hint}")
        places: NDArray[np.intp] = indices.astype(np.intp, copy=False)
        if places.view(np.uintp).max() >= self.num_embeddings:  # a negative index is a huge unsigned one
            raise ValueError(
                f"{self!r}: expected indices from 0 to {self.num_embeddings - 1}, "
                f"got values from {indices.min()} to {indices.max()}"
            )
        swapped = places.ndim == 2  # sequences of indices become sequences with time first in memory, for `Unrolled`
        self._cache = merged(places, swapped), places.shape, swapped
        rows = self.weight.take(self._cache[0], axis=0, mode="clip")  # as quick as can be: the range has been checked
        y: Array = unmerged(rows, swapped, (*places.shape, self.dim))
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        self.accumulate_grads(dObj_dOut)
        return np.zeros(self._cache[1], self.weight.dtype)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Add to grad_weight only."""
        indices, shape, swapped = self._remembered()
        d = merged(self._upstream(dObj_dOut, (*shape, self.dim), self.weight.dtype), swapped, self.dim)
        # On a vector `add.at` is as fast as sorting or faster, and touches no other row; on rows it is many times slower. Where
        # it can, it adds numbers two at a time, as the parts of a complex number.
        pairs = self.dim % 2 == 0 and PAIRS.get(self.weight.dtype)
        grad, d = (array.view(pairs or array.dtype) for array in (self.grad_weight, np.ascontiguousarray(d)))
        rows, n = grad.shape  # and where each number goes in the memory of grad
        if rows <= len(indices):
            places = np.arange(rows * n).reshape(rows, n).take(indices, axis=0)
        else:  # the same, without a table of all rows
            places = (indices * n)[:, np.newaxis] + np.arange(n)
        np.add.at(grad.reshape(-1), places.reshape(-1), d.reshape(-1))
