"""`Embedding` on the fast path: before a cell in a program, or when it is called by itself.

Rows are gathered with time first, as sequences run, and gradients are added on a vector. Before a cell, products of the table of
words are often cheaper than products with each word of the text: see `Words`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.fast.cells import Rows
from pancake.fast.kernels import Kernel, Lies
from pancake.fast.program import Notes, Text, unsigned
from pancake.functions.embedding import Embedding
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIRS = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}


class Words(Rows):
    """The inputs of all steps as indices into a table.

    W_ih x of every word that there is, once, and then rows of that gathered, costs less than W_ih x at each place of the text if
    there are fewer words than places. On the way back gradients are summed by word first, and both the gradient of W_ih and that
    of the table follow from the sums.

    Attributes
    ----------
    table : ndarray (V, I)
    words : ndarray of int (N,)
    """

    def __init__(self, table: Array, words: NDArray[np.intp]) -> None:
        super().__init__(table)
        self.words = words

    def rows(self) -> Array:
        return self.table.take(self.words, axis=0)

    def write_linear(self, weight: Array, bias: Array, out: Array) -> None:
        linear = np.matmul(self.table, weight)
        linear += bias
        linear.take(self.words, -2, out, "clip")

    def by_row(self, dObj_dZ: Array) -> Array:
        sums = np.zeros((*dObj_dZ.shape[:-2], len(self.table), dObj_dZ.shape[-1]), dObj_dZ.dtype)
        add_rows(sums, self.words, dObj_dZ)
        return sums


class EmbeddingKernel(Kernel):
    """The words (B, T) of a text, as what an `Unrolled` takes.

    Attributes
    ----------
    inputs : Rows or Words
    """

    guarded = ("weight", "grad_weight", "num_embeddings", "dim")
    writes = False

    def __init__(self, layer: Embedding, notes: Notes, lies: Lies) -> None:
        self.layer, self.lies = layer, lies
        batch, time = lies.leading
        self.words = np.empty((time, batch), np.intp)
        words, V = self.words.reshape(-1), layer.num_embeddings
        notes.put(self.words.T, Text("x"))
        if lies.n > V:
            self.inputs: Rows = Words(np.empty_like(layer.weight), words)
            notes.put(self.inputs.table, layer.weight)  # a copy, since an optimizer may change the words before backward
        else:
            self.inputs = Rows(np.empty((lies.n, layer.dim), lies.dtype))
            notes.call(layer.weight.take, words, 0, self.inputs.table, "clip")
        self.y = self.inputs.table.T

    def looks(self, notes: Notes, x: Array) -> list[str]:
        largest = notes.expression(np.maximum.reduce, Text(f"x.view({notes.held(unsigned(x.dtype))})"), None)
        # a negative index is there no more than the largest of its dtype, of which there may be fewer than words
        looks = [f"{largest} < {min(self.layer.num_embeddings, np.iinfo(x.dtype.name).max + 1)}"]
        if type(self.inputs) is Words:  # a word that is not finite must not reach those that stand in the text
            looks.append(notes.expression(_is_finite, self.layer.weight))
        return looks

    def accumulate(self, notes: Notes, d: Array, write: bool) -> None:
        grad = self.layer.grad_weight
        if type(self.inputs) is Words:
            notes.call(np.add, grad, d.T, grad)
        else:
            notes.call(add_rows, grad, self.words.reshape(-1), d.T)

    def backward(self, notes: Notes, d: Array, write: bool) -> Array:
        self.accumulate(notes, d, write)
        return np.zeros((1, self.lies.n), self.lies.dtype)

    def seen(self, dObj_dIn: Array) -> Array:
        return self.lies.seen(dObj_dIn)[..., 0]

    def kept(self) -> tuple[Any, ...]:
        return (self.words.T,)


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def can_run(embedding: Embedding, x: Any, dtype: np.dtype[Any]) -> bool:
    """Whether there is a kernel for an `Embedding` of such a text before a layer of this dtype."""
    if x.dtype.kind not in "iu" or x.ndim != 2 or embedding.grad_weight.dtype not in PAIRS:
        return False
    if embedding.weight.shape != (embedding.num_embeddings, embedding.dim):
        return False
    return all(a.dtype == dtype and a.flags.c_contiguous for a in (embedding.weight, embedding.grad_weight))


def add_rows(grad: Array, indices: Any, d: Array) -> None:
    """grad[..., i, :] += d[..., n, :] for each n and i = indices[n]; grad (..., V, D), indices (N,), d (..., N, D).

    On a vector `add.at` is as fast as sorting or faster, and touches no other row; on rows it is many times slower. Where it
    can, it adds numbers two at a time, as the parts of a complex number.
    """
    pairs = grad.shape[-1] % 2 == 0 and PAIRS.get(grad.dtype)
    grad, d = (array.view(pairs or array.dtype) for array in (grad, np.ascontiguousarray(d)))
    rows, n = grad.shape[-2:]
    if rows <= len(indices):
        places = np.arange(rows * n).reshape(rows, n).take(indices, axis=0)
    else:  # the same, without a table of all rows
        places = (indices * n)[:, np.newaxis] + np.arange(n)
    for vector, part in zip(grad.reshape(-1, rows * n), d.reshape(-1, places.size), strict=True):
        np.add.at(vector, places.reshape(-1), part)


def can_add(embedding: Embedding) -> bool:
    """Whether rows can be added to the gradient."""
    grad = embedding.grad_weight
    return grad.dtype in PAIRS and grad.flags.c_contiguous


def backward(embedding: Embedding, dObj_dOut: Any) -> Array:
    """The backward of an `Embedding` that is called by itself."""
    x = embedding._remembered()
    d = embedding._upstream(dObj_dOut, (*x.shape, embedding.dim), embedding.weight.dtype)
    if x.ndim == 2:  # the order in which sequences lie in memory
        add_rows(embedding.grad_weight, x.T.reshape(-1), d.swapaxes(0, 1).reshape(-1, embedding.dim))
    else:
        add_rows(embedding.grad_weight, x.reshape(-1), d.reshape(-1, embedding.dim))
    embedding._cache.used = True
    return np.zeros(x.shape, d.dtype)
