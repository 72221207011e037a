"""The likely cause of a wrong gradient, said only where the numbers leave little doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pancake.testing.subject import Vector

CLOSE = 1e-5


def hint(
    name: str,
    b: Vector,
    n: Vector,
    wrong: Vector,
    x: Vector,
    batch: int | None,
    others: Mapping[str, Vector],
    ignores_upstream: bool,
) -> str:
    """Say what `b`, from backward, has to do with `n`, from numbers.

    Parameters
    ----------
    name : str
        Of the array.
    b, n : ndarray
        The two gradients, of one shape.
    wrong : ndarray of bool
        Where they differ.
    x : ndarray
        The array that the gradients belong to.
    batch : int or None
        The number of examples.
    others : mapping
        The numerical gradients of the other arrays, by name.
    ignores_upstream : bool
        Whether backward gives the same for every upstream gradient.
    """
    ideas = (
        _nothing(b),
        "backward gives the same for every dObj_dOut, as if it were all ones" if ignores_upstream and np.any(b) else "",
        _ratio(b, n, wrong, batch),
        _transposed(b, n),
        next((f"it is the gradient of {other}: are the two exchanged?" for other, m in others.items() if _same(b, m)), ""),
        _sign_of_input(wrong, x, name),
        _one_place(wrong),
    )
    return next(filter(None, ideas), "")


def _same(a: Vector, b: Vector) -> bool:
    return (
        a.shape == b.shape
        and a.size > 0
        and bool(np.allclose(a, b, rtol=CLOSE, atol=CLOSE * np.abs(b).max(initial=0)) and np.any(b))
    )


def _nothing(b: Vector) -> str:
    return "" if np.any(b) else "backward left it at exactly 0: is it never computed, or never added?"


def _ratio(b: Vector, n: Vector, wrong: Vector, batch: int | None) -> str:
    """A factor that turns all of n into b."""
    scale = np.abs(n).max(initial=0)
    large = np.abs(n) > 1e-4 * scale
    if not scale or not wrong[large].all() or not np.isfinite(b).all():
        return ""
    ratios = b[large] / n[large]
    ratio = float(np.median(ratios))
    if not np.allclose(ratios, ratio, rtol=CLOSE) or not np.allclose(b, ratio * n, rtol=0, atol=CLOSE * abs(ratio) * scale):
        return ""
    said = f"constant ratio {ratio:.6g}"
    for factor, cause in _factors(batch):
        if np.isclose(ratio, factor, rtol=CLOSE):
            return f"{said}: {cause}"
    return said if b.size > 1 else ""


def _factors(batch: int | None) -> Sequence[tuple[float, str]]:
    known = [(-1.0, "is the sign flipped?"), (2.0, "is each entry added twice?"), (0.5, "is a factor 2 missing?")]
    if batch is not None and batch > 2:
        known += [(float(batch), f"{batch} is the batch size; a sum where the forward has a mean?")]
        known += [(1 / batch, f"1/{batch}, {batch} being the batch size; a mean where the forward has a sum?")]
    return known


def _transposed(b: Vector, n: Vector) -> str:
    if b.ndim != 2 or min(b.shape) < 2:
        return ""
    if _same(b.T, n):
        return "it matches after a transpose"
    return "it matches after a transpose and a reshape" if _same(b.reshape(b.shape[::-1]).T, n) else ""


def _sign_of_input(wrong: Vector, x: Vector, name: str) -> str:
    """Whether exactly the entries with a negative (or positive) x are wrong."""
    for region, said in ((x < 0, "< 0"), (x > 0, "> 0")):
        if np.any(region) and not region.all() and np.array_equal(wrong, region):
            return f"off only where {name} {said}, and there everywhere"
        if np.any(region) and not region.all() and wrong.sum() >= 3 and region[wrong].all():
            return f"off only where {name} {said}"
    return ""


def _one_place(wrong: Vector) -> str:
    """Whether everything wrong is in one row, column, ..., and there is more than one entry of it."""
    if wrong.sum() < 2:
        return ""
    for axis, positions in enumerate(np.nonzero(wrong)):
        if wrong.shape[axis] > 1 and (positions == positions[0]).all():
            where = (
                "the last"
                if positions[0] == wrong.shape[axis] - 1
                else "the first"
                if positions[0] == 0
                else f"number {positions[0]}"
            )
            return f"off only in {where} along axis {axis}"
    return ""
