"""Sequences that lie in memory with time first, as `Unrolled` computes with them, taken apart without a copy."""

from __future__ import annotations

from typing import Any

from pancake.memory import Array


def time_first(x: Array) -> bool:
    """Whether sequences (B, T, F) lie in memory as (T, B, F), or, class-major, as (F, T, B)."""
    return x.ndim == 3 and not x.flags.c_contiguous and x.strides[1] == x.shape[0] * x.strides[0] > 0


def merged(x: Any, swapped: bool, *last: int) -> Any:
    """`x` with its leading axes merged into one, in the order of memory; `last` are the axes after them."""
    if x.ndim == 1 + len(last):
        return x
    return (x.swapaxes(0, 1) if swapped else x).reshape(-1, *last)


def unmerged(rows: Any, swapped: bool, shape: tuple[int, ...]) -> Any:
    """What `merged` has made rows of: an array of this shape."""
    if rows.shape == shape:
        return rows
    if not swapped:
        return rows.reshape(shape)
    batch, length, *last = shape
    return rows.reshape(length, batch, *last).swapaxes(0, 1)
