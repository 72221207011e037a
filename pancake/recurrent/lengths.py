"""Sequences of different lengths in one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import aligned
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Lengths:
    """How long each of the sequences of a batch is.

    Attributes
    ----------
    time : int
        T. No sequence may be that long; what is computed ends with the longest.
    lengths : ndarray (B,)
    mask : ndarray (T, B) or None
        Which steps of those that are computed belong to which sequences; None if all do.
    valid : list of (ndarray (B,) or None)
        For each step that is computed, which sequences it belongs to; None if to all.
    """

    def __init__(self, lengths: NDArray[np.intp] | None, time: int, batch: int) -> None:
        self.time = time
        self.lengths = np.full(batch, time) if lengths is None else lengths
        self.valid: list[Any] = [None] * time
        self.mask = None
        if lengths is not None:
            self.mask = np.arange(lengths.max())[:, np.newaxis] < lengths
            self.valid = [None if row.all() else row for row in self.mask]

    def masked(self, sequences: Array) -> Array:
        """The steps that are computed of sequences (T, B, ...), with zeros past the end of each sequence."""
        return sequences if self.mask is None else only(self.mask)(sequences[: len(self.mask)])

    def padded(self, sequences: Array) -> Array:
        """Sequences of the steps that are computed, zeros appended up to the whole length T."""
        if self.mask is None:
            return sequences
        result = np.zeros((self.time, *sequences.shape[1:]), sequences.dtype)
        result[: len(self.mask)] = only(self.mask)(sequences)
        return result


def where(valid: NDArray[np.bool]) -> Any:
    """A function of two arrays: the rows of the first where `valid`, else those of the second."""
    return lambda a, b: np.where(aligned(valid, a.ndim), a, b)


def only(valid: NDArray[np.bool]) -> Any:
    """A function of an array: its rows where `valid`, else zeros."""
    return lambda a: where(valid)(a, 0)
