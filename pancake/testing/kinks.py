"""What is skipped at kinks, looked at from beside them.

At a kink a gradient is right if it is between the one-sided slopes. Two things need a closer look. Where several kinks meet in
one place, as those of a stack of ReLUs do at an input of zeros, the usual gradient (each ReLU for itself) need not lie between
the slopes of the whole; so what is out of bounds is called wrong only in a Function without parts, and if no slope occurs nearby
that is out of them too, or if it is far out. And where a kink is a tie, as in a maximum, each entry may be in bounds while
together they count twice; but moved together they move the output smoothly, so there the sum of their gradients has to be right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pancake.function import Function
from pancake.testing import numerical
from pancake.testing.comparison import Comparison
from pancake.testing.evaluator import Evaluator
from pancake.testing.numerical import Estimate
from pancake.testing.report import Entry
from pancake.testing.subject import GradientError, Vector

# How far, relative to its size, everything is moved to look from beside a kink, and from how many places.
ASIDE = 1e-3
PLACES = 6
# And up to how many more before a gradient is called wrong: of three entries that a sorting finds tied, the one in the middle
# has a slope of its own in only a third of the places.
MORE = 60
# And from how many places to look for a slope that is not that of the place itself, though there is no kink along any entry.
CHOICES = 30
SMOOTH = (numerical.CENTRAL, numerical.FIVE_POINT, numerical.EXTRAPOLATED, numerical.COMPLEX)
# Of so many entries out of bounds, and of so many groups that may be ties, a closer look is taken.
MOST = 16


def look_closer(comparisons: list[Comparison], evaluator: Evaluator, rng: np.random.Generator) -> None:
    """Move what is wrong from the skipped to the wrong entries."""
    for comparison in comparisons:
        for entry in comparison.report.wrong[:MOST]:
            if entry.method in SMOOTH and _is_a_choice(comparison, entry, evaluator, rng):
                comparison.report.wrong.remove(entry)
                comparison.report.skipped += 1
                comparison.skipped.append(int(np.ravel_multi_index(entry.index, comparison.b.shape)))
    concerned = [c for c in comparisons if c.beyond or (len(c.skipped) > 1 and not c.report.wrong)]
    if not concerned:
        return
    places = [aside(evaluator, rng) for _ in range(PLACES)]
    for comparison in concerned:
        for index, estimate in list(comparison.beyond.items())[:MOST]:
            if _is_out_of_bounds(comparison, index, estimate, places, rng):
                _wrong(comparison, [index], float(comparison.b.flat[index]), _nearest(comparison, index, estimate), "at a kink")
        if not comparison.report.wrong:
            _look_at_ties(comparison, places)
    evaluator.snapshot.restore()


def _is_a_choice(comparison: Comparison, entry: Entry, evaluator: Evaluator, rng: np.random.Generator) -> bool:
    """Whether there are few slopes nearby, of which the gradient is one and the numeric one another.

    So it is of a median of three entries that are tied: no move of one alone moves it, and a move of all does.
    """
    b, v = entry.backward, np.zeros(comparison.array.shape)
    v[entry.index] = 1.0
    if not math.isfinite(b) or abs(b - entry.numeric) < 0.1 * max(abs(b), abs(entry.numeric)):
        return False
    near = 0.01 * abs(b - entry.numeric)
    estimates = [aside(evaluator, rng).estimate(comparison, v) for _ in range(CHOICES)]
    slopes = [e.value for e in estimates if math.isfinite(e.value) and e.high - e.low < near]  # there may be a kink in between
    return len({round(slope / near) for slope in slopes}) <= CHOICES // 4 and any(abs(slope - b) < near for slope in slopes)


class Place:
    """A point beside the kinks, taken by every array of the evaluator while it is used."""

    def __init__(self, evaluator: Evaluator, moved: list[Vector]) -> None:
        self.evaluator, self.moved = evaluator, moved

    def slope(self, comparison: Comparison, v: Vector) -> float:
        """The slope of the objective along a direction in the array of a comparison."""
        return self.estimate(comparison, v).value

    def estimate(self, comparison: Comparison, v: Vector) -> Estimate:
        """The same, and what it is on either side."""
        arrays = self.evaluator.inputs + self.evaluator.params
        before = [a.copy() for a in arrays]
        try:
            for array, content in zip(arrays, self.moved, strict=True):
                array[...] = content
            line = self.evaluator.direction(comparison.array, v, comparison.u)
            line.here = line.outputs(0.0)  # which it takes to be what it was before everything was moved
            return numerical.central(line)
        finally:
            for array, content in zip(arrays, before, strict=True):
                array[...] = content


def aside(evaluator: Evaluator, rng: np.random.Generator) -> Place:
    """A place close by."""

    def moved(a: Vector) -> Vector:
        return a + ASIDE * rng.normal(size=a.shape) * np.where(a == 0, 1.0, a) if a.dtype.kind == "f" else a.copy()

    return Place(evaluator, [moved(a) for a in evaluator.inputs + evaluator.params])


def _is_out_of_bounds(
    comparison: Comparison, index: int, estimate: Estimate, places: list[Place], rng: np.random.Generator
) -> bool:
    """Whether a gradient is beyond the slopes of a kink that stands alone, or far beyond those of several."""
    v = np.zeros(comparison.array.shape)
    v.flat[index] = 1.0
    slopes = [s for s in (place.slope(comparison, v) for place in places) if math.isfinite(s)]
    near = 0.02 * max(abs(estimate.low), abs(estimate.high))
    function = comparison.evaluator.subject.function
    alone = not isinstance(function, Function) or len(list(function.walk())) == 1

    b, bound = float(comparison.b.flat[index]), _nearest(comparison, index, estimate)

    def says_nothing(slope: float) -> bool:
        """Whether it is no other one: between those of the kink, and not rather that of the gradient."""
        between = estimate.low - near <= slope <= estimate.high + near
        return not math.isfinite(slope) or (between and abs(slope - bound) <= abs(slope - b))

    if alone and all(map(says_nothing, slopes)):
        more = (aside(comparison.evaluator, rng).slope(comparison, v) for _ in range(MORE))
        other = next((slope for slope in more if not says_nothing(slope)), None)
        if other is None:
            return True
        slopes.append(other)
    # With all of the kinks on one side the slope is 0, or the sum of the two, more than what is smooth adds.
    low, high = min(0.0, estimate.low, *slopes), max(0.0, estimate.high, estimate.low + estimate.high, *slopes)
    return not low - (high - low) <= b <= high + (high - low)


def _nearest(comparison: Comparison, index: int, estimate: Estimate) -> float:
    """The bound that is nearer to the gradient."""
    return estimate.low if comparison.b.flat[index] < estimate.low else estimate.high


def _look_at_ties(comparison: Comparison, places: list[Place]) -> None:
    """Compare along the direction of all ones through entries that may be tied to each other."""
    for group in _groups(comparison):
        v = np.zeros(comparison.array.shape)
        v.flat[group] = 1.0
        estimate = numerical.extrapolated(comparison.evaluator.direction(comparison.array, v, comparison.u))
        expected = float(comparison.b.flat[group].sum())
        size = float(np.abs(comparison.b.flat[group]).sum())
        allowed = max(10 * estimate.error, comparison.rtol * size, comparison.rounding * len(group))
        if estimate.kink or not math.isfinite(estimate.value) or abs(expected - estimate.value) <= allowed:
            continue
        # Kinks in opposite directions may cancel by chance; of a tie, the slope is the same in every place nearby.
        near = 0.02 * max(abs(estimate.value), size)
        if all(abs(place.slope(comparison, v) - estimate.value) <= near for place in places):
            what = f"along all ones through {len(group)} entries that are tied"
            _wrong(comparison, group.tolist(), expected, estimate.value, what)
            return


def _groups(comparison: Comparison) -> Iterator[NDArray[np.intp]]:
    """All skipped entries, then those that share their place along all axes but one."""
    skipped = np.array(sorted(comparison.skipped))
    if len(skipped) < 2:
        return
    yield skipped
    places = np.array(np.unravel_index(skipped, comparison.b.shape))
    found = 0
    for axis in range(len(places)):
        others = np.delete(places, axis, axis=0)
        for line in np.unique(others, axis=1).T:
            group = skipped[(others == line[:, None]).all(axis=0)]
            if len(group) > 1 and found < MOST:
                found += 1
                yield group


def _wrong(comparison: Comparison, indices: list[int], backward: float, numeric: float, how: str) -> None:
    """Enter a wrong gradient at the first of the entries, and count all of them as no longer skipped."""
    place = tuple(int(i) for i in np.unravel_index(indices[0], comparison.b.shape))
    comparison.report.wrong.append(Entry(place, backward, numeric, f"{numerical.EXTRAPOLATED}, {how}"))
    comparison.report.skipped -= 1
    comparison.skipped.remove(indices[0])


def again_aside(comparisons: list[Comparison], evaluator: Evaluator, u: Vector, rng: np.random.Generator) -> Evaluator | None:
    """Check what was skipped once more at a place close by that is on no kink; return what was evaluated there."""
    place = aside(evaluator, rng)
    evaluator.snapshot.restore()
    count = len(evaluator.inputs)
    for p, content in zip(evaluator.params, place.moved[count:], strict=True):
        p[...] = content
    try:
        moved = Evaluator(evaluator.subject.with_inputs(place.moved[:count]))
        found = moved.gradients(u)
    except GradientError:  # outside of the domain
        return None
    for comparison in comparisons:
        if comparison.skipped or comparison.report.skipped_directions:
            comparison.again_at(moved, u, found[comparison.name])
    return moved
