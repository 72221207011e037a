"""The gradient of one array, as backward has it, against numbers: entry by entry, or along random directions."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pancake.testing import numerical
from pancake.testing.evaluator import Evaluator
from pancake.testing.numerical import Estimate, Line
from pancake.testing.report import ArrayReport, Entry
from pancake.testing.subject import Vector

# Of so many doubtful entries of one array a closer look is taken. If these looks bear out what the first look said, it is
# believed of the others; else of so many more a closer look is taken, and the rest is left to directions.
CLOSER = 16
MORE = 48
# Of an array too large for all entries, at least so many are drawn and checked before the directions.
SAMPLE = 64
# Bisection stops when it has found so many wrong entries, or tried so many directions.
ENOUGH = 16
BISECTIONS = 300


@dataclass
class Options:
    """How to compare: the options of `check_gradients`."""

    method: str
    rtol: float
    atol: float
    kinks: str
    max_entries: int
    directions: int
    rng: np.random.Generator


class Comparison:
    """One array: the gradient `b` from backward against numbers.

    Attributes
    ----------
    n : ndarray
        The numbers, nan where none were taken or none could be had.
    report : ArrayReport
    """

    def __init__(self, name: str, array: Vector, b: Vector, evaluator: Evaluator, u: Vector, options: Options) -> None:
        self.name, self.array, self.b, self.evaluator, self.u, self.options = name, array, b, evaluator, u, options
        self.rtol = max(options.rtol, math.sqrt(evaluator.eps_of(array)))  # more cannot be asked of float32
        self.n = np.full(b.shape, np.nan)
        self.report = ArrayReport(name, b.shape)
        self.skipped: list[int] = []
        self.beyond: dict[int, Estimate] = {}  # those of the skipped that are not between the one-sided slopes
        self.seen = np.zeros(b.size, bool)
        # What rounding in backward alone may leave of a gradient that is exactly 0.
        self.rounding = evaluator.rounding * float(np.max(np.abs(u), initial=0.0))
        # Whether an infinite output, which stays so, may hide that an entry counts.
        self.hides = bool(np.isinf(evaluator.here).any())
        if options.method == "complex" and self.complex_step is None:
            function = evaluator.subject.name
            raise ValueError(f"{function}: it does not compute with complex numbers in {name}; use method='auto'")

    def run(self) -> None:
        """Check all entries, or of a large array some entries and some directions.

        If all of a sample are wrong, no more of them are looked at. Of an infinite loss nothing can be said: its backward takes
        no upstream gradient, which would leave out what is infinite.
        """
        if self.hides and self.evaluator.subject.target is not None:
            self.report.checked = self.report.inconclusive = self.array.size
            return
        size, most = self.array.size, self.options.max_entries
        not_finite = np.flatnonzero(~np.isfinite(self.b))[:SAMPLE].tolist()
        sample = self.options.rng.permutation(size)
        self.entries(sorted({*not_finite, *sample[:SAMPLE].tolist()}))
        if len(self.report.wrong) >= 0.75 * SAMPLE:
            return
        if size <= most:
            self.entries(np.flatnonzero(~self.seen).tolist())
            return
        more = sample[SAMPLE : most * most // size]
        self.entries(sorted(more[~self.seen[more]].tolist()))
        if not self.report.wrong:
            self.along_directions()

    def again_at(self, evaluator: Evaluator, u: Vector, b: Vector) -> None:
        """Check what was skipped once more at another point, off the kinks, and take over what is wrong there."""
        array = next(array for name, array in evaluator.named_arrays() if name == self.name)
        other = Comparison(self.name, array, b, evaluator, u, self.options)
        if self.report.skipped_directions:
            other.run()
        else:
            other.entries(self.skipped)
        for entry in other.report.wrong:
            self.report.wrong.append(Entry(entry.index, entry.backward, entry.numeric, entry.method + ", a little off a kink"))
            self.b[entry.index], self.n[entry.index] = entry.backward, entry.numeric
        if other.report.wrong and not self.report.skipped_directions:
            self.report.skipped -= len(other.report.wrong)

    @functools.cached_property
    def complex_step(self) -> Callable[[int], Vector] | None:
        """The complex step along an entry, where the method has it and the function takes complex numbers."""
        return self.evaluator.complex_step(self.array) if self.options.method in ("auto", "complex") else None

    # --- entry by entry ---

    def entries(self, indices: Sequence[int]) -> None:
        """Check some entries."""
        estimates = {index: self.first(self.line(index), index) for index in indices}
        doubtful = [i for i in indices if not self.is_right(float(self.b.flat[i]), estimates[i].value)]
        order = self.options.rng.permutation(np.array(doubtful, int)).tolist()
        first = {i: estimates[i] for i in order}
        several = CLOSER if len(order) > SAMPLE else len(order)
        for i in order[:several]:
            estimates[i] = self.closer(self.line(i), i, first[i])
        sizes = np.abs([*(estimate.value for estimate in estimates.values()), *self.n[np.isfinite(self.n)]])
        floor = self.options.atol * float(np.max(sizes[np.isfinite(sizes)], initial=0.0))
        unsettled = self._settle(order[several:], first, {i: estimates[i] for i in order[:several]}, estimates, floor)
        for i in sorted(set(indices) - set(unsettled)):
            self.count(i, estimates[i], self.verdict(i, estimates[i], floor))
        if unsettled:
            self.budget = BISECTIONS
            if self.direction(np.array(unsettled))[0] == "wrong":
                self.bisect(np.array(unsettled))
            for i in (i for i in unsettled if not self.seen[i]):
                self.count(i, first[i], "inconclusive")

    def _settle(
        self,
        rest: list[int],
        first: dict[int, Estimate],
        looked: dict[int, Estimate],
        estimates: dict[int, Estimate],
        floor: float,
    ) -> list[int]:
        """Decide on doubtful entries by their first look where closer looks at others bear it out; return what is left."""
        if not rest:
            return []
        all_wrong = all(self.verdict(i, e, floor) == "wrong" for i, e in looked.items())
        off = max((abs(first[i].value - e.value) for i, e in looked.items() if not e.kink), default=math.inf)
        seem = [e for i, e in looked.items() if self._seems_kinked(i, first[i])]
        kinks = bool(seem) and all(e.kink for e in seem)
        budget, unsettled = MORE, []
        for i in rest:
            if all_wrong and abs(self.b.flat[i] - first[i].value) > max(10 * off, floor, self.rounding):
                continue
            if kinks and self._seems_kinked(i, first[i]):
                estimates[i] = dataclasses.replace(first[i], kink=True)
            elif budget:
                budget -= 1
                estimates[i] = self.closer(self.line(i), i, first[i])
            else:
                unsettled.append(i)
        return unsettled

    def _seems_kinked(self, index: int, first: Estimate) -> bool:
        """Whether the first look saw two slopes, and the gradient is between them."""
        size = max(abs(first.low), abs(first.high))
        b = float(self.b.flat[index])
        return first.high - first.low > 1e-3 * size and first.low - 1e-6 * size <= b <= first.high + 1e-6 * size

    def line(self, index: int) -> Line:
        """The line along one entry."""
        return self.evaluator.entry(self.array, index, self.u)

    def first(self, line: Line, index: int) -> Estimate:
        """The estimate that most entries need only."""
        if self.options.method == "complex" and self.complex_step is not None:
            return Estimate(float(self.u @ self.complex_step(index)), 0.0, False, numerical.COMPLEX)
        if self.options.method == "central":
            return numerical.central(line)
        return numerical.five_point(line)

    def closer(self, line: Line, index: int, first: Estimate) -> Estimate:
        """A closer look at an entry that does not agree."""
        best = numerical.extrapolated(line)
        if best.kink or self.complex_step is None:
            return best
        exact = float(self.u @ self.complex_step(index))
        agrees = abs(exact - best.value) <= 10 * best.error <= 1e-2 * abs(exact)
        if self.options.method == "complex" and not agrees and abs(exact - best.value) > 100 * best.error:
            raise ValueError(
                f"{self.evaluator.subject.name}: the complex step is silently wrong in {self.name} ({exact:.6g}, a real "
                f"difference gives {best.value:.6g}), as it is through abs, var or norm; use method='auto'"
            )
        return Estimate(exact, best.error, False, numerical.COMPLEX) if agrees else best

    def is_right(self, b: float, value: float) -> bool:
        """Whether both are finite, and the relative error is small enough."""
        return bool(math.isfinite(value) and math.isfinite(b) and abs(b - value) <= self.rtol * max(abs(b), abs(value)))

    def verdict(self, index: int, estimate: Estimate, floor: float) -> str:
        """Call one entry right, skipped, beyond (at a kink and not between its slopes), inconclusive or wrong."""
        b, value = float(self.b.flat[index]), estimate.value
        if self.hides and b == value == 0:
            return "inconclusive"
        if self.is_right(b, value):
            return "right"
        if not math.isfinite(self.array.flat[index]):
            return "inconclusive"
        if not math.isfinite(b):
            # Infinite is right where the slope is; and next to an infinite output, or too close to 0, no number tells.
            too_close = 0 < abs(self.array.flat[index]) < numerical.CLOSEST
            diverges = math.isinf(b) and (too_close or estimate.steep or not (estimate.kink or math.isfinite(value)))
            return "inconclusive" if diverges or not np.isfinite(self.evaluator.here).all() else "wrong"
        if estimate.kink:
            between = self.is_between(b, estimate)
            return "skipped" if between else "beyond" if self.options.kinks == "skip" else "wrong"
        if not math.isfinite(value):
            return "inconclusive"
        return "inconclusive" if abs(b - value) <= max(floor, self.rounding, 10 * estimate.error) else "wrong"

    def is_between(self, b: float, estimate: Estimate) -> bool:
        """Whether a gradient at a kink is between the one-sided slopes, the ends included."""
        ends = max((abs(end) for end in (estimate.low, estimate.high) if math.isfinite(end)), default=0.0)
        slack = max(self.rtol * ends, self.rounding, 10 * estimate.bounds_error)
        return estimate.low - slack <= b <= estimate.high + slack

    def count(self, index: int, estimate: Estimate, verdict: str) -> None:
        """Take a verdict into the report."""
        report, b = self.report, float(self.b.flat[index])
        self.n.flat[index] = estimate.value
        self.seen[index] = True
        report.checked += 1
        if verdict == "right":
            report.right += 1
            report.methods[estimate.method] += 1
            error = abs(b - estimate.value) / max(abs(b), abs(estimate.value), 1e-300)
            report.largest_error = max(report.largest_error, error)
        elif verdict in ("skipped", "beyond"):
            report.skipped += 1
            self.skipped.append(index)
            if verdict == "beyond":
                self.beyond[index] = estimate
        elif verdict == "inconclusive":
            report.inconclusive += 1
        else:
            place = tuple(int(i) for i in np.unravel_index(index, self.b.shape))
            method = f"{estimate.method}, at a kink" if estimate.kink else estimate.method
            report.wrong.append(Entry(place, b, estimate.value, method))

    # --- along directions ---

    def along_directions(self) -> None:
        """Check random directions through all entries; where one is off, look for the entries."""
        everything = np.arange(self.array.size)
        report = self.report
        for _ in range(self.options.directions):
            report.directions += 1
            verdict, *astray = self.direction(everything)
            if verdict == "right":
                report.right_directions += 1
            elif verdict == "skipped":
                report.skipped_directions += 1
            elif verdict == "wrong":
                self.budget = BISECTIONS
                self.bisect(everything)
                found = report.wrong or self.beyond
                if not found and abs(astray[0] - astray[1]) > self.rtol * astray[2]:
                    report.wrong.append(Entry((), astray[0], astray[1], "along a random direction"))
                if report.wrong:
                    return

    def direction(self, indices: NDArray[np.intp]) -> tuple[str, float, float, float]:
        """Compare along a random direction through some entries: the verdict, what was expected, found, and could be at most."""
        v = np.zeros(self.array.shape)
        indices = indices[np.isfinite(self.b.flat[indices])]  # what is not finite has been looked at
        # Lengths that differ: two entries that are wrong by opposite amounts do not cancel.
        lengths = self.options.rng.uniform(0.5, 1.5, indices.size) * self.options.rng.choice([-1.0, 1.0], indices.size)
        v.flat[indices] = lengths / math.sqrt(indices.size or 1)
        line = self.evaluator.direction(self.array, v, self.u)
        b = np.where(v == 0, 0.0, self.b)
        expected, size = float(np.sum(b * v)), float(np.sum(np.abs(b * v)))
        # Entries right by rtol may add up to rtol; a single wrong one among thousands shows only far below that.
        enough = 1e-4 * self.rtol * size
        found = numerical.five_point(line).value
        if abs(expected - found) <= enough:
            return "right", expected, found, size
        estimate = numerical.extrapolated(line)
        off, doubt = abs(expected - estimate.value), 10 * estimate.error
        if estimate.kink:
            verdict = "skipped" if self.is_between(expected, estimate) else "wrong"
        elif off <= enough or off <= doubt <= 1e-2 * self.rtol * size:
            verdict = "right"
        else:
            verdict = "wrong" if off > doubt else "inconclusive"
        return verdict, expected, math.nan if estimate.kink else estimate.value, size

    def bisect(self, indices: NDArray[np.intp]) -> None:
        """Narrow down where a direction is off, until few entries are left to be checked one by one."""
        if indices.size <= ENOUGH:
            self.entries(indices[~self.seen[indices]].tolist())
            return
        half = indices.size // 2
        for part in (indices[:half], indices[half:]):
            if len(self.report.wrong) >= ENOUGH or self.budget <= 0:
                return
            self.budget -= 1
            if self.direction(part)[0] == "wrong":
                self.bisect(part)
