"""`check_gradients`: every derivative of a Function against numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.function import Function
from pancake.testing import numerical
from pancake.testing.hints import hint
from pancake.testing.numerical import Estimate, Evaluator
from pancake.testing.report import ArrayReport, Entry, GradientReport, snippet
from pancake.testing.subject import GradientError, Snapshot, Subject, Vector

METHODS = ("auto", "complex", "five-point", "central")
# Of so many doubtful entries of one array a closer look is taken; the others are judged by their first difference.
CLOSER = 64
# Of an array too large for all entries, so many are drawn and checked beside the directions.
SAMPLE = 64
# Bisection stops when it has found so many wrong entries.
ENOUGH = 16


def check_gradients(
    function: Any,
    x: Any,
    *,
    target: ArrayLike | None = None,
    wrt: str | Sequence[str] = "all",
    method: str = "auto",
    rtol: float = 1e-6,
    atol: float = 1e-8,
    kinks: str = "skip",
    max_entries: int = 2000,
    directions: int = 3,
    rng: int | np.random.Generator | None = 0,
) -> GradientReport:
    """Compare every gradient that backward computes with the derivative of the forward, taken numerically.

    The objective is sum(u * output) with a random upstream gradient u; for a loss, the sum of what the loss returns.
    An entry is right only if its relative error is at most `rtol`. The function is left as it was found.

    Parameters
    ----------
    function : object
        Anything with `compute_forward`, `compute_backward` and, if it has parameters, `get_params_and_grads`: a
        Function, a stack, a loss (then pass `target`), a cell (then `x` is a tuple).
    x : array_like, or a tuple of array_like
        The input. A tuple is passed on as several arguments and may nest, as (x_t, (h, c)) does. Floating-point input is
        converted to float64; arrays of integers are passed on as they are and not differentiated.
    target : array_like, optional
        For a loss, which is called with (x, target).
    wrt : "all", "input", "params", or a list of names
        What to check. The names are those of the report: "x", "weight", "0.bias".
    method : {"auto", "complex", "five-point", "central"}
        How to differentiate. "auto" begins with a five-point difference; where that does not settle an entry, it looks
        for a kink, extrapolates over many step sizes, and takes a complex step, which it believes only if a real
        difference agrees.
    rtol : float
        The largest relative error of a right entry.
    atol : float
        An entry that is not right but off by less than `atol` times the largest gradient of its array is inconclusive.
    kinks : {"skip", "error"}
        What to do with an entry at which the slopes to the left and to the right differ.
    max_entries : int
        An array with more entries is checked along random directions; where one is off, bisection finds the entries.
    directions : int
        How many directions for each such array.
    rng : None, int or numpy.random.Generator
        For the upstream gradient and the directions.

    Returns
    -------
    GradientReport
        `report.summary()` tells how many entries were checked, by which method, the largest error, and what was skipped or
        inconclusive.

    Raises
    ------
    GradientError
        If a gradient is wrong or has a wrong shape, or if the function raises an exception.
    ValueError, TypeError
        If the arguments make no sense.
    """
    if method not in METHODS:
        raise ValueError(f"check_gradients: expected method to be one of {', '.join(METHODS)}, got {method!r}")
    if kinks not in ("skip", "error"):
        raise ValueError(f"check_gradients: expected kinks to be 'skip' or 'error', got {kinks!r}")
    generator = np.random.default_rng(rng)
    options = _Options(method, rtol, atol, kinks, max_entries, directions, generator)
    subject = Subject(in_double(function), x, target)
    whole = Snapshot(subject.function)
    try:
        evaluator = Evaluator(subject)
        u = upstream(subject, evaluator.here.size, generator)
        found = backward(evaluator, u)
        chosen = _chosen(evaluator, found, wrt)
        checks = [_Check(name, array, b, evaluator, u, options) for name, (array, b) in chosen.items()]
        reports = [check.run() for check in checks]
        if any(report.wrong for report in reports):
            again = backward(evaluator, upstream(subject, evaluator.here.size, generator))
            for check in checks:
                others = {other.name: other.n for other in checks if other is not check and other.n.shape == check.n.shape}
                same = subject.target is None and np.array_equal(check.b, again[check.name][1])
                check.report.hint = check.hint(others, ignores_upstream=same)
    finally:
        whole.restore()
    result = GradientReport(subject.name, reports)
    if not result.ok:
        changed: dict[str, float] = {"rng": rng if isinstance(rng, int) else 0}
        changed |= {"rtol": rtol} if rtol != 1e-6 else {}
        result.snippet = snippet("check_gradients", subject, changed)
        raise GradientError(str(result), result)
    return result


def numerical_gradients(
    function: Any,
    x: Any,
    *,
    target: ArrayLike | None = None,
    dObj_dOut: Any = 1.0,
    wrt: str | Sequence[str] = "all",
) -> dict[str, Vector]:
    """The derivatives of sum(dObj_dOut * output) by every input and parameter, from the forward alone.

    Parameters
    ----------
    function, x, target, wrt
        As in `check_gradients`; the function may do without a right backward.
    dObj_dOut : array_like
        The upstream gradient, shaped like the output; a number counts for every entry. Of no use for a loss.

    Returns
    -------
    dict of str to ndarray
        By the names "x" ("x[0]", "x[1]", ... for a tuple), "weight", "0.bias", ...: arrays shaped like inputs and
        parameters, nan at kinks. The relative error is about 1e-10 where the function is smooth.

    Raises
    ------
    GradientError
        If the function raises an exception.
    """
    subject = Subject(in_double(function), x, target)
    whole = Snapshot(subject.function)
    try:
        evaluator = Evaluator(subject)
        outputs, _ = subject.forward(evaluator.inputs)
        u = np.concatenate([np.broadcast_to(np.asarray(dObj_dOut, np.float64), y.shape).ravel() for y in outputs])
        arrays = {name: (array, np.empty(array.shape)) for name, array in _named_arrays(evaluator)}
        result = {}
        for name, (array, n) in _chosen(evaluator, arrays, wrt).items():
            for index in range(array.size):
                line, scale = evaluator.entry(array, index), max(1.0, abs(float(array.flat[index])))
                estimate = numerical.five_point(line, evaluator.here, u, scale, evaluator.eps)
                n.flat[index] = (
                    numerical.richardson(line, evaluator.here, u, scale, evaluator.eps) if estimate.kink else estimate
                ).value
            result[name] = n
        return result
    finally:
        whole.restore()


def in_double(function: Any) -> Any:
    """The function itself, or a copy in float64 of a Function with narrower parameters, whose rounding would hide errors."""
    if isinstance(function, Function) and any(p.dtype.itemsize < 8 for p in function.get_params_and_grads()[0]):
        return copy.deepcopy(function).astype(np.float64)
    return function


def upstream(subject: Subject, size: int, rng: np.random.Generator) -> Vector:
    """A random upstream gradient with no entry near 0, as one vector; ones for a loss, which has none."""
    u = np.ones(size)
    return u if subject.target is not None else u * rng.uniform(0.5, 1.5, size) * rng.choice([-1.0, 1.0], size)


def backward(evaluator: Evaluator, u: Vector) -> dict[str, tuple[Vector, Vector]]:
    """One forward at the input as it was given and one backward: (array, gradient) by name."""
    subject = evaluator.subject
    evaluator.snapshot.restore()
    _, grads = subject.params_and_grads()
    for grad in grads:
        grad[...] = 0
    inputs = [x.view() for x in subject.inputs]
    for view in inputs:
        view.flags.writeable = False
    outputs, out = subject.forward(inputs)
    if not np.allclose(np.concatenate([np.ravel(y) for y in outputs]), evaluator.here, rtol=1e-6, atol=1e-9, equal_nan=True):
        raise GradientError(f"{subject.name}: compute_forward gives another output for a contiguous copy of the same input")
    starts = np.cumsum([0, *(y.size for y in outputs)])
    parts = [u[a : a + y.size].reshape(y.shape).astype(y.dtype) for a, y in zip(starts, outputs, strict=False)]
    for part in parts:
        part.flags.writeable = False
    of_inputs = subject.backward(parts, out)
    _, grads = subject.params_and_grads()
    gradients = [*of_inputs, *grads]
    return {
        name: (array, np.array(b, np.float64))
        for (name, array), b in zip(_named_arrays(evaluator), gradients, strict=True)
        if b is not None and array.dtype.kind == "f"
    }


def _named_arrays(evaluator: Evaluator) -> Iterator[tuple[str, Vector]]:
    subject = evaluator.subject
    yield from zip(subject.input_names, evaluator.inputs, strict=True)
    for name, p in zip(subject.param_names(evaluator.params), evaluator.params, strict=True):
        yield (f"parameter {name}" if name in subject.input_names else name), p


def _chosen(evaluator: Evaluator, arrays: dict[str, Any], wrt: str | Sequence[str]) -> dict[str, Any]:
    inputs = evaluator.subject.input_names
    if wrt == "all":
        names = list(arrays)
    elif wrt in ("input", "params"):
        names = [name for name in arrays if (name in inputs) == (wrt == "input")]
    else:
        names = [wrt] if isinstance(wrt, str) else list(wrt)
    unknown = [name for name in names if name not in arrays]
    if unknown or not names:
        what = f"no {unknown[0]!r}" if unknown else "nothing (integers are not differentiated; pass floating-point numbers)"
        raise ValueError(f"{evaluator.subject.name}: wrt={wrt!r} finds {what} to check among {', '.join(arrays) or 'no arrays'}")
    return {name: arrays[name] for name in names}


@dataclass
class _Options:
    method: str
    rtol: float
    atol: float
    kinks: str
    max_entries: int
    directions: int
    rng: np.random.Generator


class _Check:
    """One array: the gradient `b` from backward against numbers, which are left in `n`."""

    def __init__(self, name: str, array: Vector, b: Vector, evaluator: Evaluator, u: Vector, options: _Options) -> None:
        self.name, self.array, self.b, self.evaluator, self.u, self.options = name, array, b, evaluator, u, options
        self.n = np.full(b.shape, np.nan)
        self.report = ArrayReport(name, b.shape)

    def run(self) -> ArrayReport:
        if self.array.size <= self.options.max_entries:
            self.entries(range(self.array.size))
        else:
            self.report.unit = "directions and entries"
            self.along_directions()
            self.entries(sorted(self.options.rng.choice(self.array.size, SAMPLE, replace=False)))
        return self.report

    def hint(self, others: dict[str, Vector], ignores_upstream: bool) -> str:
        if not self.report.wrong or self.report.unit != "entries":
            return ""
        wrong = np.zeros(self.b.shape, bool)
        for entry in self.report.wrong:
            wrong[entry.index] = True
        return hint(self.name, self.b, self.n, wrong, self.array, self.evaluator.subject.batch(), others, ignores_upstream)

    # --- entry by entry ---

    def entries(self, indices: Sequence[int]) -> None:
        """Check some entries."""
        lines = [self.evaluator.entry(self.array, i) for i in indices]
        scales = [max(1.0, abs(float(self.array.flat[i]))) for i in indices]
        complex_step = self.evaluator.complex(self.array) if self.options.method in ("auto", "complex") else None
        if self.options.method == "complex" and complex_step is None:
            name = self.evaluator.subject.name
            raise ValueError(f"{name}: it does not compute with complex numbers in {self.name}; use method='auto'")
        estimates = [self.first(line, scale, complex_step, i) for line, scale, i in zip(lines, scales, indices, strict=True)]
        b = self.b.ravel()[list(indices)]
        sizes = np.abs(np.concatenate([b, [estimate.value for estimate in estimates]]))
        floor = self.options.atol * float(np.max(sizes[np.isfinite(sizes)], initial=0.0))
        doubtful = {k for k, estimate in enumerate(estimates) if not self.is_right(b[k], estimate)}
        closer = set(self.options.rng.permutation(sorted(doubtful))[:CLOSER].tolist())
        for k, (line, scale, index) in enumerate(zip(lines, scales, indices, strict=True)):
            estimate = estimates[k]
            if k in closer or (k in doubtful and estimate.kink):
                estimate = self.second(line, scale, complex_step, index, estimate)
            self.judge(index, estimate, floor)

    def first(self, line: numerical.Line, scale: float, complex_step: Callable[[int], Vector] | None, index: int) -> Estimate:
        """The estimate that most entries need only."""
        here, u, eps = self.evaluator.here, self.u, self.evaluator.eps
        if self.options.method == "complex" and complex_step is not None:
            return Estimate(float(u @ complex_step(index)), 0.0, False, numerical.COMPLEX)
        rule = numerical.central if self.options.method == "central" else numerical.five_point
        return rule(line, here, u, scale, eps)

    def second(
        self, line: numerical.Line, scale: float, complex_step: Callable[[int], Vector] | None, index: int, first: Estimate
    ) -> Estimate:
        """A closer look at an entry that does not agree."""
        here, u, eps, b = self.evaluator.here, self.u, self.evaluator.eps, float(self.b.flat[index])
        if self.options.method == "complex":
            return first
        if numerical.has_kink(line, here, u, scale, eps):
            return Estimate(first.value, np.inf, True, first.method)
        best = Estimate(first.value, first.error, False, first.method)
        if self.options.method == "auto":
            better = numerical.richardson(line, here, u, scale, eps)
            best = better if better.error < best.error or self.is_right(b, better) else best
            if complex_step is not None:
                exact = float(u @ complex_step(index))
                if abs(exact - best.value) <= max(1e-5 * abs(exact), 10 * best.error):
                    best = Estimate(exact, best.error, False, numerical.COMPLEX)
        return best

    def is_right(self, b: float, estimate: Estimate) -> bool:
        return bool(abs(b - estimate.value) <= self.options.rtol * max(abs(b), abs(estimate.value)))

    def judge(self, index: int, estimate: Estimate, floor: float) -> None:
        """Count one entry as right, skipped, inconclusive or wrong."""
        report, b = self.report, float(self.b.flat[index])
        self.n.flat[index] = estimate.value
        report.checked += 1
        off = abs(b - estimate.value)
        if self.is_right(b, estimate):
            report.right += 1
            report.methods[estimate.method] += 1
            report.largest_error = max(report.largest_error, off / max(abs(b), abs(estimate.value), 1e-300))
        elif estimate.kink and self.options.kinks == "skip":
            report.skipped += 1
        elif not estimate.kink and (not np.isfinite(estimate.value) or off <= max(floor, 10 * estimate.error)):
            report.inconclusive += 1
        else:
            place = tuple(int(i) for i in np.unravel_index(index, self.b.shape))
            method = f"{estimate.method}, at a kink" if estimate.kink else estimate.method
            report.wrong.append(Entry(place, b, estimate.value, method))

    # --- along directions ---

    def along_directions(self) -> None:
        """Check random directions through all entries; where one is off, look for the entries."""
        everything = np.arange(self.array.size)
        for _ in range(self.options.directions):
            verdict, error, method = self.direction(everything)
            self.report.checked += 1
            if verdict == "right":
                self.report.right += 1
                self.report.methods[method] += 1
                self.report.largest_error = max(self.report.largest_error, error)
            elif verdict == "kink":
                self.report.skipped += 1
            elif verdict == "inconclusive":
                self.report.inconclusive += 1
            else:
                self.report.checked -= 1
                self.bisect(everything)
                return

    def direction(self, indices: NDArray[np.intp]) -> tuple[str, float, str]:
        """Compare along a random direction through some entries: the verdict, the relative error, the rule."""
        v = np.zeros(self.array.shape)
        v.flat[indices] = self.options.rng.choice([-1.0, 1.0], indices.size) / np.sqrt(indices.size)
        line, here, u, eps = self.evaluator.direction(self.array, v), self.evaluator.here, self.u, self.evaluator.eps
        expected, size = float(np.sum(self.b * v)), float(np.sum(np.abs(self.b * v)))
        if not np.isfinite(expected):
            return "wrong", np.inf, numerical.FIVE_POINT
        scale = max(1.0, float(np.sqrt(np.mean(np.square(self.array)))))
        estimate = numerical.five_point(line, here, u, scale, eps)
        for closer in (1e-2, 1e-3):
            if not estimate.kink:
                break
            estimate = numerical.five_point(line, here, u, closer * scale, eps)
        if estimate.kink:
            estimate = numerical.richardson(line, here, u, scale, eps)
        if not np.isfinite(estimate.value):
            return "kink" if estimate.kink else "inconclusive", np.inf, estimate.method
        off, size = abs(expected - estimate.value), max(size, abs(estimate.value))
        # Entries that are all right by rtol may add up to rtol; a single wrong one among thousands shows only below that.
        if off <= 1e-2 * self.options.rtol * size:
            return "right", off / max(size, 1e-300), estimate.method
        if off <= 10 * estimate.error:
            return "inconclusive", off / max(size, 1e-300), estimate.method
        return "wrong", off / max(size, 1e-300), estimate.method

    def bisect(self, indices: NDArray[np.intp]) -> None:
        """Narrow down where a direction is off, until few entries are left to be checked one by one."""
        if len(self.report.wrong) >= ENOUGH:
            return
        if indices.size <= ENOUGH:
            self.entries(indices.tolist())
            return
        half = indices.size // 2
        for part in (indices[:half], indices[half:]):
            if self.direction(part)[0] == "wrong":
                self.bisect(part)
