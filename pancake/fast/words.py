"""An `Embedding` before an `Unrolled`, on the fast path: products of the table of words, instead of with each word of the text.

W_ih x of every word that there is, once, and then rows of that gathered, costs less than W_ih x at each place of the text if
there are fewer words than places. On the way back gradients are summed by word first, and both the gradient of W_ih and that of
the table follow from the sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake.fast import sequences
from pancake.fast.program import guard
from pancake.fast.sequences import Rows
from pancake.functions.embedding import Embedding
from pancake.memory import Array
from pancake.recurrent.lengths import Lengths
from pancake.recurrent.unrolled import Unrolled

WORDS = 256  # in larger tables the sum over the places of each word costs more than it saves
METHODS = ("compute_forward", "compute_backward", "accumulate_grads")
CHANGING = {"state", "dObj_dState", "training"}  # attributes of an Unrolled that its kernel does not depend on


class Words:
    """The inputs of all steps as indices into a table, with the methods of `Rows`.

    Attributes
    ----------
    table : ndarray (V, I)
        A copy, since an optimizer may change the words before backward.
    words : ndarray of int (N,)
    """

    def __init__(self, table: Array, words: NDArray[np.intp], places: Array) -> None:
        self.table, self.words, self.places = table.copy(), words, places

    def as_rows(self) -> Rows:
        """The inputs as rows of a table of their own."""
        return Rows(self.table.take(self.words, axis=0))

    def product(self, weight: Array, out: Array) -> None:
        """Write the product of each input with a weight (..., I, H) into `out` (..., N, H)."""
        np.matmul(self.table, weight).take(self.words, -2, out, "clip")

    def by_row(self, dObj_dZ: Array) -> Array:
        """The sums of a gradient (..., N, H) over the places of each word, (..., V, H)."""
        self.places.fill(0)
        self.places.reshape(-1)[np.arange(len(self.words)) * len(self.table) + self.words] = 1
        return np.matmul(self.places.T, dObj_dZ)


class WordsProgram:
    """The two layers for texts (B, T) of one shape."""

    def __init__(self, embedding: Embedding, unrolled: Unrolled, x: Array, kernel: sequences.SequenceKernel) -> None:
        self.embedding, self.unrolled, self.kernel, self.shape = embedding, unrolled, kernel, x.shape
        batch, time = x.shape
        self.ends = Lengths(None, time, batch)
        self.like = np.empty((time, batch, 0), kernel.dtype)
        self.places = np.empty((x.size, embedding.num_embeddings), kernel.dtype)  # 1 where a place has a word, else 0
        owners = [(part, [name for name in vars(part) if name not in CHANGING]) for part in (embedding, unrolled)]
        self.intact = guard(owners, [(type(part), name) for part in (embedding, unrolled) for name in METHODS])
        self.left: tuple[Any, Any] = (None, None)

    def is_whole(self) -> bool:
        """Whether all that the program was made from is still the same."""
        unrolled = self.unrolled
        return self.intact() and self.kernel.fits(unrolled.cell, self.kernel.shape, unrolled.reverse)

    def __call__(self, x: Any) -> Array:
        """Run forward."""
        embedding, unrolled = self.embedding, self.unrolled
        indices = embedding._indices(x)
        embedding._remember(indices)
        inputs = Words(embedding.weight, indices.T.reshape(-1), self.places)
        y = sequences.run_forward(unrolled, self.kernel, inputs, self.ends, unrolled._initial(None, self.like))
        self.left = embedding._cache, unrolled._cache
        return y

    def back(self, d: Any, input_too: bool) -> Any:
        """Run backward; NotImplemented if that is up to the layers."""
        embedding, unrolled = self.embedding, self.unrolled
        if self.left != (embedding._cache, unrolled._cache) or not self.is_whole():
            return NotImplemented
        if sequences.latest(unrolled) is not self.kernel or any(kept.used and kept.older for kept in self.left):
            return NotImplemented
        if not isinstance(self.kernel.inputs, Words):
            return NotImplemented
        embedding.grad_weight += sequences.run_backward(unrolled, self.kernel, d, None, True)
        self.left[0].used = True
        return np.zeros(self.shape, self.kernel.dtype) if input_too else None


def program_of(embedding: Any, unrolled: Any, x: Any) -> WordsProgram | None:
    """The program of the two layers for a text x, if there can be one."""
    if (
        x.__class__ is not np.ndarray
        or x.ndim != 2
        or x.dtype.kind not in "iu"
        or not embedding.num_embeddings < min(x.size, WORDS)
    ):
        return None
    if embedding.frozen or not vars(embedding).keys().isdisjoint(METHODS) or not vars(unrolled).keys().isdisjoint(METHODS):
        return None
    if any(
        getattr(type(part), name) is not method
        for part in (embedding, unrolled)
        for name, method in INSTALLED[type(part)].items()
    ):
        return None
    kernel = sequences.kernel_of(unrolled, (x.shape[1], x.shape[0], embedding.dim))
    arrays = (embedding.weight, embedding.grad_weight)
    if kernel is None or any(array.dtype != kernel.dtype for array in arrays) or unrolled.cell.n_in != embedding.dim:
        return None
    return WordsProgram(embedding, unrolled, x, kernel)


INSTALLED: dict[type, dict[str, Any]] = {}


def install() -> None:
    """Note the methods that the two layers have on the fast path."""
    for cls in (Embedding, Unrolled):
        INSTALLED[cls] = {name: getattr(cls, name) for name in METHODS}
