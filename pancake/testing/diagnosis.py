"""Hints about formulas: which term, factor, mask or axis would turn the gradient of backward into that of the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pancake.testing.clues import CHANCE, CLOSE, Clues, Mask, close
from pancake.testing.comparison import Comparison
from pancake.testing.subject import Vector

# So many entries must agree beyond the free numbers of a formula.
SPARE = 4


def formula(b: Vector, n: Vector, known: Mask, comparison: Comparison, clues: Clues) -> str:
    """What is missing from b, or in it once too often: a factor, a term from a statistic, a sum over another axis."""
    if not known.all() or not np.isfinite(b).all() or not np.abs(n).max(initial=0) > 0:
        return ""
    return _factor(b, n, clues) or _statistic(b, n, comparison, clues) or _axis(b, n) or _sum_over(b, n, clues)


def _factor(b: Vector, n: Vector, clues: Clues) -> str:
    """Whether an array that is at hand, or a simple function of it, is a factor of one of the two and not of the other."""
    if np.count_nonzero(n) < SPARE:
        return ""
    for said, factor in _factors(b.shape, clues):
        spread = np.ptp(factor) > 1e-3 * np.abs(factor).max(initial=0.0)
        if not spread or not np.isfinite(factor).all():  # a constant one is a constant ratio
            continue
        if np.count_nonzero(factor * b) >= SPARE and close(factor * b, n):
            return f"a factor {said} is missing"
        if np.count_nonzero(factor * n) >= SPARE and close(b, factor * n):
            return f"there is a factor {said} too many"
    return ""


def _factors(shape: tuple[int, ...], clues: Clues) -> Iterator[tuple[str, Vector]]:
    for name, a in clues.values.items():
        if a.ndim > len(shape) or a.shape != shape[len(shape) - a.ndim :] or not a.ndim:
            continue
        a = np.broadcast_to(a, shape)
        yield name, a
        yield f"2 {name}", 2 * a
        if name.startswith("the output"):
            yield f"(1 - y^2), y being {name},", 1 - a * a
            yield f"y (1 - y), y being {name},", a * (1 - a)
        elif name.startswith("x"):
            yield f"sign({name})", np.sign(a)
            yield f"cos({name})", np.cos(a)
    for u in clues.upstream:
        if u.shape == shape:
            yield "dObj_dOut", u


def _statistic(b: Vector, n: Vector, comparison: Comparison, clues: Clues) -> str:
    """Whether the two differ, along one axis, by what the derivative of a mean, a norm or a variance contributes."""
    off = b - n
    if not np.abs(off).max(initial=0) > 0:
        return ""
    y = next((y for name, y in clues.values.items() if name.startswith("the output") and y.shape == b.shape), None)
    x = comparison.array
    candidates = [
        ("a mean or a sum", [np.ones_like(x)]),
        ("a norm or a mean of squares", [x]),
        *([("a sum that is weighted with the output, as in softmax,", [y])] if y is not None else []),
        ("a mean and a variance", [np.ones_like(x), x]),
    ]
    for said, basis in candidates:
        for axis in reversed(range(b.ndim)):
            length = b.shape[axis]
            if b.size // length * (length - len(basis)) >= SPARE and length > len(basis) and _spans(basis, off, axis):
                return (
                    f"backward leaves out the derivative of {said} over axis {axis}: it treats a statistic of x as a constant, "
                    "or forgets its term"
                )
    return ""


def _spans(basis: list[Vector], off: Vector, axis: int) -> bool:
    """Whether every slice along an axis is a combination of the slices of the basis."""
    slices = [np.moveaxis(a, axis, -1).reshape(-1, off.shape[axis]) for a in (off, *basis)]
    worst = 0.0
    for target, *vectors in zip(*slices, strict=True):
        matrix = np.array(vectors).T
        solution = np.linalg.lstsq(matrix, target, rcond=None)[0]
        worst = max(worst, float(np.abs(matrix @ solution - target).max()))
    return worst <= CLOSE * float(np.abs(off).max())


def _axis(b: Vector, n: Vector) -> str:
    """Whether the two differ by something constant along one axis, less something constant along another."""
    off = b - n
    for i in range(b.ndim):
        for j in range(i):
            if (b.shape[i] - 1) * (b.shape[j] - 1) < SPARE:
                continue
            mixed = off - off.mean(axis=i, keepdims=True) - off.mean(axis=j, keepdims=True) + off.mean(axis=(i, j), keepdims=True)
            if np.abs(mixed).max() <= CLOSE * np.abs(off).max():
                return f"a mean or sum over axis {j} stands where one over axis {i} should, or the other way round: a wrong axis"
    return ""


def _sum_over(b: Vector, n: Vector, clues: Clues) -> str:
    """Whether b is the sum of dObj_dOut over other axes than n is."""
    if b.ndim != 1 or b.size < SPARE:
        return ""
    for u in clues.upstream:
        sums = [u.sum(axis=tuple(a for a in range(u.ndim) if a != kept)) for kept in range(u.ndim)]
        of_b = next((kept for kept, s in enumerate(sums) if s.shape == b.shape and close(b, s)), None)
        of_n = next((kept for kept, s in enumerate(sums) if s.shape == b.shape and close(n, s)), None)
        if of_b is not None and of_n is not None and of_b != of_n:
            return f"it is summed over the wrong axis: what is left is axis {of_b} of dObj_dOut, and should be axis {of_n}"
    return ""


def mask(b: Vector, n: Vector, wrong: Mask, known: Mask) -> str:
    """Whether backward lets through what forward has set to 0, and is right, or right up to a factor, elsewhere."""
    zero, rest = known & (n == 0), known & (n != 0)
    by_chance = 1 / math.comb(int(known.sum()), int(zero.sum()))
    if not zero.any() or not rest.any() or by_chance > CHANCE or not (b[zero] != 0).all():
        return ""
    ratios = b[rest] / n[rest]
    if not np.allclose(ratios, ratios.flat[0], rtol=CLOSE):
        return ""
    scaled = "" if not wrong[rest].any() else f", and elsewhere it is {ratios.flat[0]:.6g} times what it should be"
    return f"what does not reach the output gets a gradient{scaled}: is a mask forgotten?"


def repeated(wrong: Mask, known: Mask, clues: Clues) -> str:
    """Whether exactly those rows are wrong whose index occurs more than once."""
    for name, indices in clues.indices:
        values, counts = np.unique(indices, return_counts=True)
        for axis in range(wrong.ndim):
            if values[0] < 0 or values[-1] >= wrong.shape[axis]:
                continue
            others = tuple(a for a in range(wrong.ndim) if a != axis)
            off, seen = wrong.any(axis=others), known.any(axis=others)
            twice = np.zeros(wrong.shape[axis], bool)
            twice[values[counts > 1]] = True
            if off.any() and (off == (twice & seen)).all() and (~off & seen).any():
                return f"off exactly where an index occurs more than once in {name}: repeated ones are lost, use np.add.at"
    return ""
