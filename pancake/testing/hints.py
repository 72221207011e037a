"""The likely cause of a wrong gradient, said only where the numbers leave little doubt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pancake.testing.comparison import Comparison
from pancake.testing.subject import Vector

CLOSE = 1e-5
Mask = NDArray[np.bool_]


def hint(comparison: Comparison, shapes: Sequence[tuple[int, ...]], others: Mapping[str, Vector], ignores_upstream: bool) -> str:
    """Say what the gradient from backward has to do with the one from numbers.

    Parameters
    ----------
    comparison : Comparison
        Of an array with wrong entries.
    shapes : sequence of tuple
        Those of the inputs.
    others : mapping
        The numerical gradients of the other arrays of the same shape, by name.
    ignores_upstream : bool
        Whether backward gives the same for every upstream gradient.
    """
    b, n = comparison.b, comparison.n
    known = np.isfinite(n)  # of a large array only some entries are
    wrong = np.zeros(b.shape, bool)
    for entry in comparison.report.wrong:
        if len(entry.index) == b.ndim:
            wrong[entry.index] = True
    if not np.isfinite(b[wrong]).all():
        return "backward is not finite; does it divide by 0, or overflow?"
    if not wrong.any():
        return ""
    ideas = (
        _nothing(b, n, known, comparison.name),
        _clipped(b, n, wrong),
        "backward gives the same for every dObj_dOut, as if it were all ones" if ignores_upstream and np.any(b) else "",
        _ratio(b, n, wrong, known, shapes),
        _transposed(b, n, known),
        next((f"it is the gradient of {other}: are the two exchanged?" for other, m in others.items() if _same(b, m)), ""),
        _region(wrong, known, comparison.array, comparison.name),
        _one_place(wrong, known),
    )
    return next(filter(None, ideas), "")


def _same(b: Vector, n: Vector) -> bool:
    """Whether the two agree wherever `n` is known, and that is enough to tell."""
    known = np.isfinite(n)
    if known.sum() < min(n.size, 2) or not np.any(b[known]):
        return False
    return bool(np.allclose(b[known], n[known], rtol=CLOSE, atol=CLOSE * np.abs(b[known]).max()))


def _nothing(b: Vector, n: Vector, known: Mask, name: str) -> str:
    if not np.any(b):
        return "backward left it at exactly 0: is it never computed, or never added?"
    if not np.any(n[known]):
        return f"the output does not depend on {name}: does forward use a copy of it, or something computed from it before?"
    return ""


def _ratio(b: Vector, n: Vector, wrong: Mask, known: Mask, shapes: Sequence[tuple[int, ...]]) -> str:
    """A factor that turns all of n into b."""
    b, n, wrong = b[known], n[known], wrong[known]
    scale = np.abs(n).max(initial=0)
    large = np.abs(n) > 1e-4 * scale
    if not scale or not wrong[large].all() or not np.isfinite(b).all():
        return ""
    ratios = b[large] / n[large]
    ratio = float(np.median(ratios))
    if not np.allclose(ratios, ratio, rtol=CLOSE) or not np.allclose(b, ratio * n, rtol=0, atol=CLOSE * abs(ratio) * scale):
        return ""
    said = f"constant ratio {ratio:.6g}"
    for factor, cause in _factors(shapes):
        if np.isclose(ratio, factor, rtol=CLOSE):
            return f"{said}: {cause}"
    return said if b.size > 1 else ""


def _factors(shapes: Sequence[tuple[int, ...]]) -> list[tuple[float, str]]:
    known = [(-1.0, "is the sign flipped?"), (2.0, "is each entry added twice?"), (0.5, "is a factor 2 missing?")]
    numbers: dict[int, str] = {}
    for shape in shapes:
        for axis, length in enumerate(shape):
            numbers.setdefault(length, "the batch size" if axis == 0 else f"the length of axis {axis}")
        numbers.setdefault(math.prod(shape), "the number of entries of x")
    for number, said in numbers.items():
        if number > 2:
            known.append((float(number), f"{number} is {said}; a sum where the forward has a mean?"))
            known.append((1 / number, f"1/{number}, {number} being {said}; a mean where the forward has a sum?"))
    return known


def _transposed(b: Vector, n: Vector, known: Mask) -> str:
    if b.ndim != 2 or min(b.shape) < 2 or not known.any():
        return ""
    if b.shape[0] == b.shape[1] and _same(b.T, n):
        return "it matches after a transpose"
    return "it matches after a transpose and a reshape" if _same(b.reshape(b.shape[::-1]).T, n) else ""


def _clipped(b: Vector, n: Vector, wrong: Mask) -> str:
    """Whether what is wrong has one absolute value that the numbers exceed and nothing else does."""
    limit = np.abs(b[wrong]).max()
    clipped = np.allclose(np.abs(b[wrong]), limit, rtol=1e-12) and (np.abs(n[wrong]) > limit).all()
    known = np.isfinite(n)
    if wrong.sum() >= 2 and clipped and (np.abs(n[known & ~wrong]) <= limit * (1 + CLOSE)).all():
        return f"backward is clipped to ±{limit:.6g}"
    return ""


def _region(wrong: Mask, known: Mask, x: Vector, name: str) -> str:
    """Whether exactly the entries beyond some value are wrong, or only entries on one side of 0."""
    right = known & ~wrong
    if not right.any() or wrong.sum() + right.sum() < 3:
        return ""
    if not (x[right] < 0).any() and (x[wrong] < 0).all():
        return f"off only where {name} < 0, and there everywhere"
    if not (x[right] > 0).any() and (x[wrong] > 0).all():
        return f"off only where {name} > 0, and there everywhere"
    certain = math.comb(int(wrong.sum() + right.sum()), int(wrong.sum())) >= 1000
    for size, said in ((x, f"{name} >"), (-x, f"{name} <"), (np.abs(x), f"|{name}| >"), (-np.abs(x), f"|{name}| <")):
        low, high = float(size[right].max()), float(size[wrong].min())
        if certain and low < high:
            between = abs(low + high) / 2 if said.startswith("|") else (low + high) / 2 * (1 if said.endswith(">") else -1)
            return f"off only where {said} {between:.3g} or so"
    for region, said in ((x < 0, "< 0"), (x > 0, "> 0")):
        if wrong.sum() >= 3 and region[wrong].all() and not region[right].all():
            return f"off only where {name} {said}"
    return ""


def _one_place(wrong: Mask, known: Mask) -> str:
    """Whether everything wrong is in one row, column, ..., and there is more than one entry of it."""
    if wrong.sum() < 2 or not (known & ~wrong).any():
        return ""
    for axis, positions in enumerate(np.nonzero(wrong)):
        if wrong.shape[axis] > 1 and (positions == positions[0]).all():
            place = int(positions[0])
            ends = {0: "the first", wrong.shape[axis] - 1: "the last"}
            return f"off only in {ends.get(place, f'number {place}')} along axis {axis}"
    return ""
