"""Arrays that are not in memory, or not as NumPy has them: read by rows, as many as are needed.

Maps of files (`np.memmap`), whatever has a shape, a dtype and rows that can be sliced (arrays of zarr, Dask, h5py), and sparse
matrices of SciPy. Nothing here imports any of these.
"""

from __future__ import annotations

import math
import mmap
import warnings
from typing import Any

import numpy as np

from pancake.arguments import is_sparse
from pancake.memory import Array

# Bytes that are read at once: enough for a disk, and little beside the memory of any machine.
PIECE = 1 << 22

# Bytes round a row of a mapped file that a system may put into memory with it.
AROUND = 1 << 16

# Bytes from which on it is told that something is read as a whole.
LARGE = 1 << 26

PAGE = "see docs/larger_than_memory.md"


class Stored:
    """An array (N, ...) of which rows are read when they are needed; here the slices of whatever can be sliced.

    Attributes
    ----------
    shape, dtype, ndim, size
        As of an array.
    chunk : int
        Rows that the source keeps together, and reads in one go; 1 where any row is as quickly read as its neighbour.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.shape, self.dtype = tuple(map(int, source.shape)), np.dtype(source.dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.width = math.prod(self.shape[1:])  # numbers of a row
        self.piece = max(1, PIECE // max(1, self.width * self.dtype.itemsize))  # rows
        self.chunk = self._chunk()

    def _chunk(self) -> int:
        chunks = getattr(self.source, "chunks", None)
        rows = chunks[0] if isinstance(chunks, tuple) and chunks else self.piece
        return min(max(rows) if isinstance(rows, tuple) else int(rows), self.shape[0])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice) -> Any:
        start, stop, _ = which.indices(len(self))
        return self.take(np.arange(start, stop))

    def take(self, rows: Any, axis: int = 0) -> Any:
        """Those rows, as an array in memory."""
        rows = np.asarray(rows, dtype=np.intp)
        result = np.empty((len(rows), *self.shape[1:]), self.dtype.newbyteorder("="))
        step = self.chunk if 1 < self.chunk <= 4 * self.piece else self.piece
        order = np.argsort(rows, kind="stable")
        in_order = rows[order]
        begin = 0
        while begin < len(rows):  # one read for each chunk that has some of them
            chunk_ends = (in_order[begin] // step + 1) * step
            end = int(np.searchsorted(in_order, chunk_ends))
            first, last = int(in_order[begin]), int(in_order[end - 1])
            result[order[begin:end]] = np.asarray(self.source[first : last + 1])[in_order[begin:end] - first]
            begin = end
        return result


class Mapped(Stored):
    """A map of a file, or a view of one. What has been read of it is let go of, so that it does not gather in memory."""

    source: Array

    def __init__(self, source: Any, maps: Any) -> None:
        super().__init__(np.asarray(source))
        # a private map may have changes in it that are nowhere else
        self.maps = maps._mmap if hasattr(mmap, "MADV_DONTNEED") and maps.mode != "c" else None

    def _chunk(self) -> int:
        return 1

    def take(self, rows: Any, axis: int = 0) -> Any:
        rows = np.asarray(rows, dtype=np.intp)
        result = np.empty((len(rows), *self.shape[1:]), self.dtype.newbyteorder("="))
        scattered = len(rows) > 1 and rows[-1] - rows[0] != len(rows) - 1  # if not, they are neighbours in the file
        step = max(1, PIECE // max(AROUND, PIECE // self.piece)) if scattered else self.piece
        for start in range(0, len(rows), step):
            self.source.take(rows[start : start + step], axis=0, out=result[start : start + step], mode="clip")
            if self.maps is not None:
                self.maps.madvise(mmap.MADV_DONTNEED)
        return result


class Sparse(Stored):
    """A sparse matrix of SciPy, in memory: its rows are sparse too."""

    def __init__(self, source: Any) -> None:
        super().__init__(source.tocsr())

    def _chunk(self) -> int:
        return 1

    def __getitem__(self, which: slice) -> Any:
        return self.source[which]

    def take(self, rows: Any, axis: int = 0) -> Any:
        return self.source[rows]


def whole(part: Any) -> Any:
    """All rows of a part of a data set, as they are in memory."""
    return part[:] if hasattr(part, "take") and not isinstance(part, np.ndarray) else part


def stored(owner: str, name: str, value: Any) -> Stored | None:
    """`value` as `Stored`, or None if it is an array in memory, or becomes one.

    Raises
    ------
    TypeError
        If it is not in memory and cannot be read by rows, or has no real numbers in it; `owner` begins the message.

    Warns
    -----
    UserWarning
        If it is large, and can only be read as a whole.
    """
    if value.__class__ is np.ndarray and value.base is None:  # nearly always
        return None
    maps = _map_of(value)
    if maps is not None:
        found: Stored = Mapped(value, maps)
    elif isinstance(value, (np.ndarray, np.generic, list, tuple)):
        return None
    elif is_sparse(value):
        found = Sparse(value)
    elif _has_rows(value) and not hasattr(value, "iloc"):  # a data frame's rows have names
        found = Stored(value)
    else:
        _refuse_or_warn(owner, name, value)
        return None
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{owner}: expected {name} to be an array of real numbers, got one of dtype {found.dtype}")
    return found


def _map_of(value: Any) -> Any:
    """The map of a file that an array is a view of, if there is one."""
    while isinstance(value, np.ndarray):
        if isinstance(value, np.memmap) and getattr(value, "_mmap", None) is not None and value.ndim:
            return value
        value = value.base
    return None


def _has_rows(value: Any) -> bool:
    """Whether it has a shape, a dtype of NumPy's and rows, as arrays have."""
    shape, slices = getattr(value, "shape", None), hasattr(value, "__getitem__")
    if not (isinstance(shape, tuple) and shape and slices and all(isinstance(n, (int, np.integer)) for n in shape)):
        return False
    try:
        np.dtype(getattr(value, "dtype", ""))
    except TypeError:
        return False
    return True


def _refuse_or_warn(owner: str, name: str, value: Any) -> None:
    """Say it of what is not in memory, before it is read as a whole."""
    kind = f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"
    if hasattr(value, "__dask_graph__"):
        raise TypeError(
            f"{owner}: {name} is a {kind} of which nobody knows how many rows it has; `.to_dask_array(lengths=True)` makes an "
            f"array of a data frame, and `.compute_chunk_sizes()` finds them out of an array; {PAGE}"
        )
    size = getattr(value, "nbytes", 0)
    in_memory = any(hasattr(value, name) for name in ("__array_interface__", "__dlpack__", "iloc"))
    if isinstance(size, (int, np.integer)) and size > LARGE and not in_memory:
        warnings.warn(
            f"{owner}: {name} is a {kind} of {size >> 20:,} MB, which is copied into memory as a whole; pass batches instead, "
            f"{PAGE}",
            UserWarning,
            stacklevel=4,
        )
