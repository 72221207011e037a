"""The likely cause of a wrong gradient, said only where the numbers leave little doubt.

How much doubt there is, is counted: a hint about a place or a region is given only if so many wrong entries, spread at random,
would look like that in less than one of a hundred cases; one about a formula only if it holds to five digits in more entries
than it has free numbers. `diagnosis.py` has those about formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pancake.testing import diagnosis
from pancake.testing.clues import CHANCE, CLOSE, Clues, Mask, same
from pancake.testing.comparison import Comparison
from pancake.testing.subject import Vector


def hint(comparison: Comparison, clues: Clues) -> str:
    """Say what the gradient from backward has to do with the one from numbers, or nothing."""
    b, n, name = comparison.b, comparison.n, comparison.name
    known = np.isfinite(n)  # of a large array only some entries are
    wrong = np.zeros(b.shape, bool)
    for entry in comparison.report.wrong:
        if len(entry.index) == b.ndim:
            wrong[entry.index] = True
    if not np.isfinite(b[wrong]).all():
        return "backward is not finite; does it divide by 0, or overflow?"
    if any("tied" in entry.method for entry in comparison.report.wrong):
        return "entries that are tied count more than once, or not at all; give the gradient to one of them, or share it"
    if not wrong.any() or known.sum() < 2:
        return _nearly(b, n, wrong)
    others = {other: m for other, m in clues.others.items() if other != name and m.shape == n.shape}
    ignores = clues.ignores_upstream.get(name, False)
    ideas = (
        _nearly(b, n, wrong),
        _nothing(b, n, known, name, clues),
        _clipped(b, n, wrong),
        "backward gives the same for every dObj_dOut, as if it were all ones" if ignores and np.any(b) else "",
        _ratio(b, n, wrong, known, clues.shapes),
        _transposed(b, n, known),
        next((f"it is the gradient of {other}: are the two exchanged?" for other, m in others.items() if same(b, m)), ""),
        diagnosis.formula(b, n, known, comparison, clues),
        diagnosis.mask(b, n, wrong, known),
        diagnosis.repeated(wrong, known, clues),
        _region(wrong, known, comparison.array, name),
        _one_place(wrong, known),
    )
    return next(filter(None, ideas), "")


def _nearly(b: Vector, n: Vector, wrong: Mask) -> str:
    """A gradient that is right to some digits: of a forward that is an approximation, or of formulas that differ a little."""
    if not wrong.any() or not np.isfinite(n[wrong]).all():
        return ""
    size = float(np.abs(n[np.isfinite(n)]).max(initial=0.0))
    off = float(np.abs(b - n)[wrong].max()) / (size or 1.0)
    relative = float((np.abs(b - n)[wrong] / np.maximum(np.abs(n[wrong]), 1e-300)).max())
    if off > 1e-3 or relative > 1e-2:
        return ""
    needed = 10.0 ** math.ceil(math.log10(2 * relative))
    return (
        f"backward and numbers agree to {relative:.0e}; if forward is an approximation, such as an iteration that stops early, "
        f"pass rtol={needed:.0e}"
    )


def _nothing(b: Vector, n: Vector, known: Mask, name: str, clues: Clues) -> str:
    if not np.any(b):
        return "backward left it at exactly 0: is it never computed, or never added?" if n.size >= 4 else ""
    size = float(np.abs(n[known]).max(initial=0.0))
    if np.abs(b).max() < 1e-9 * size and n.size > 1:
        return "backward leaves nothing but rounding: is it computed from something that was overwritten, or summed to 0, before?"
    is_input = name not in clues.values or name.startswith("x")
    if not np.any(n[known]) and not is_input and n.size > 1:
        return f"the output does not depend on {name}: does forward use a copy of it, or something computed from it before?"
    return ""


def _ratio(b: Vector, n: Vector, wrong: Mask, known: Mask, shapes: Sequence[tuple[int, ...]]) -> str:
    """A factor that turns all of n into b."""
    b, n, wrong = b[known], n[known], wrong[known]
    scale = np.abs(n).max(initial=0)
    large = np.abs(n) > 1e-4 * scale
    if not scale or not wrong[large].all() or not np.isfinite(b).all() or large.sum() < 2:
        return ""
    ratios = b[large] / n[large]
    ratio = float(np.median(ratios))
    if not np.allclose(ratios, ratio, rtol=CLOSE) or not np.allclose(b, ratio * n, rtol=0, atol=CLOSE * abs(ratio) * scale):
        return ""
    causes = [cause for factor, cause in _factors(shapes) if np.isclose(ratio, factor, rtol=CLOSE)]
    return f"constant ratio {ratio:.6g}" + (f": {', or '.join(causes)}" if causes else ": is a factor missing, or one too many?")


def _factors(shapes: Sequence[tuple[int, ...]]) -> list[tuple[float, str]]:
    known = [
        (-1.0, "is the sign flipped?"),
        (2.0, "is each entry added twice, or a factor 1/2 (of a temperature, a mean of two) missing?"),
        (0.5, "is a factor 2 missing?"),
    ]
    numbers: dict[int, str] = {}
    for shape in shapes:
        for axis, length in enumerate(shape):
            numbers.setdefault(length, "the batch size" if axis == 0 else f"the length of axis {axis}")
        numbers.setdefault(math.prod(shape), "the number of entries of x")
    for number, said in numbers.items():
        if number > 1:
            known.append((float(number), f"{number} is {said}; a sum where the forward has a mean?"))
            known.append((1 / number, f"1/{number}, {number} being {said}; a mean where the forward has a sum?"))
    return known


def _transposed(b: Vector, n: Vector, known: Mask) -> str:
    if b.ndim != 2 or min(b.shape) < 2 or not known.any():
        return ""
    if b.shape[0] == b.shape[1] and same(b.T, n):
        return "it matches after a transpose"
    return "it matches after a transpose and a reshape" if same(b.reshape(b.shape[::-1]).T, n) else ""


def _clipped(b: Vector, n: Vector, wrong: Mask) -> str:
    """Whether what is wrong has one absolute value that the numbers exceed and nothing else does."""
    limit = np.abs(b[wrong]).max()
    known = np.isfinite(n)
    if wrong.sum() < 2 or limit < 1e-6 * np.abs(n[known]).max(initial=0.0):
        return ""
    clipped = np.allclose(np.abs(b[wrong]), limit, rtol=1e-12) and (np.abs(n[wrong]) > limit).all()
    signs = (np.sign(b[wrong]) == np.sign(n[wrong])).all()
    if clipped and signs and (np.abs(n[known & ~wrong]) <= limit * (1 + CLOSE)).all():
        return f"backward is clipped to ±{limit:.6g}"
    return ""


def _region(wrong: Mask, known: Mask, x: Vector, name: str) -> str:
    """Whether exactly the entries beyond some value are wrong, or only entries on one side of 0."""
    right = known & ~wrong
    k, total = int(wrong.sum()), int(wrong.sum() + right.sum())
    if not right.any():
        return ""
    subsets = math.comb(total, k)
    for region, said in ((x < 0, "< 0"), (x > 0, "> 0")):
        if 6 / subsets < CHANCE and region[wrong].all() and not region[right].any():
            return f"off only where {name} {said}, and there everywhere"
    for size, said in ((x, f"{name} >"), (-x, f"{name} <"), (np.abs(x), f"|{name}| >"), (-np.abs(x), f"|{name}| <")):
        low, high = float(size[right].max()), float(size[wrong].min())
        if 6 / subsets < CHANCE and low < high:
            between = abs(low + high) / 2 if said.startswith("|") else (low + high) / 2 * (1 if said.endswith(">") else -1)
            return f"off only where {said} {between:.3g} or so"
    for region, said in ((x < 0, "< 0"), (x > 0, "> 0")):
        if 2 * math.comb(int(region[known].sum()), k) / subsets < CHANCE and region[wrong].all():
            return f"off only where {name} {said}"
    return ""


def _one_place(wrong: Mask, known: Mask) -> str:
    """Whether everything wrong is in one row, column, ..., more than chance would put there."""
    k, total = int(wrong.sum()), int(known.sum())
    if k < 2 or k == total:
        return ""
    lengths = [length for length in wrong.shape if length > 1]
    by_chance = sum(length * math.comb(total // length, k) for length in lengths) / math.comb(total, k)
    for axis, positions in enumerate(np.nonzero(wrong)):
        if wrong.shape[axis] > 1 and (positions == positions[0]).all() and by_chance < CHANCE:
            place = int(positions[0])
            ends = {0: "the first", wrong.shape[axis] - 1: "the last"}
            return f"off only in {ends.get(place, f'number {place}')} along axis {axis}"
    return ""
