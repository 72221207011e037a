"""`check_gradients`: every derivative of a Function against numbers."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.function import Function
from pancake.testing import constants, kinks, numerical
from pancake.testing.clues import Clues
from pancake.testing.comparison import Comparison, Options
from pancake.testing.evaluator import Evaluator
from pancake.testing.hints import hint
from pancake.testing.report import GradientReport
from pancake.testing.snapshot import Snapshot
from pancake.testing.snippet import snippet
from pancake.testing.subject import GradientError, Subject, Vector, as_forward

METHODS = ("auto", "complex", "five-point", "central")


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
    max_entries: int = 400,
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
        The input. A tuple is passed on as several arguments to what takes several, as (x_t, (h, c)) to a cell, and else as one
        input of several parts, one for each branch of a container. Floating-point input is converted to float64; arrays of
        integers are passed on as they are and not differentiated.
    target : array_like, optional
        For a loss, which is called with (x, target).
    wrt : "all", "input", "params", or a list of names
        What to check. The names are those of the report: "x", "weight", "0.bias".
    method : {"auto", "complex", "five-point", "central"}
        The rule by which every entry is looked at first ("auto": five points). An entry that does not agree is looked at
        again whatever the rule: for a kink, and by extrapolation over many step sizes. "auto" adds a complex step, which it
        believes only where the real differences agree with it.
    rtol : float
        The largest relative error of a right entry. Where the function computes in float32, 3e-4 if that is more.
    atol : float
        An entry that is not right but off by less than `atol` times the largest gradient of its array is inconclusive.
    kinks : {"skip", "error"}
        At a kink, where the slopes to the left and to the right differ, a gradient between the two is skipped and counted,
        and one that is not is wrong. Where several kinks meet, as those of a stack of ReLUs do at 0, the usual gradient need
        not lie between the slopes of the whole: "skip" allows for that, "error" does not. Entries that are tied, as in a
        maximum, are compared together, along the direction of all ones. What is skipped is looked at once more a little
        aside, where everything is moved at random by a thousandth; what is wrong there is wrong.
    max_entries : int
        Of an array with more entries, some are checked, and then random directions; where one is off, bisection finds the
        entries.
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
        If a gradient is wrong or has a wrong shape, if the output is nan for a finite input, or if the function raises an
        exception.
    ValueError, TypeError
        If the arguments make no sense; also if an input or a parameter is infinite.
    """
    given: dict[str, Any] = {"wrt": wrt, "method": method, "rtol": rtol, "atol": atol, "kinks": kinks}
    given |= {"max_entries": max_entries, "directions": directions, "rng": rng}
    subject, _ = in_double(function, x, target)
    return complete(subject, given)


def complete(subject: Subject, given: dict[str, Any]) -> GradientReport:
    """The report of `check_gradients`, or the GradientError."""
    result = compare(subject, given)
    if not result.ok:
        quick = {**given, "wrt": [array.name for array in result.arrays if array.wrong], "max_entries": 8, "directions": 1}
        result.snippet = reproduce("check_gradients", subject, given, lambda other: not compare(other, quick).ok)
        raise GradientError(str(result), result)
    return result


DEFAULTS: dict[str, Any] = {**(check_gradients.__kwdefaults__ or {})}
del DEFAULTS["target"]


@np.errstate(all="ignore")
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
        As in `check_gradients`; no backward is needed. The function may be any callable that returns arrays.
    dObj_dOut : array_like, or a tuple of them
        The upstream gradient, shaped like the output; a number counts for every entry.

    Returns
    -------
    dict of str to ndarray
        By the names "x" ("x[0]", "x[1]", ... for a tuple), "weight", "0.bias", ...: arrays shaped like inputs and
        parameters, nan at kinks, and where nothing moves beside an output that is infinite. The relative error is about 1e-11
        where the function is smooth.

    Raises
    ------
    GradientError
        If the function raises an exception.
    """
    subject, _ = in_double(as_forward(function), x, target)
    refuse_infinity(subject)
    whole = Snapshot(subject.function, subject.bulk)
    try:
        evaluator = Evaluator(subject)
        outputs, _ = subject.forward(evaluator.inputs)
        weights = dObj_dOut if isinstance(dObj_dOut, tuple) else [dObj_dOut] * len(outputs)
        u = np.concatenate(
            [np.broadcast_to(np.asarray(w, float), y.shape).ravel() for w, y in zip(weights, outputs, strict=True)]
        )
        hides = bool(np.isinf(evaluator.here[u != 0]).any())
        result = {}
        for name in _chosen(evaluator, wrt):
            array = dict(evaluator.named_arrays())[name]
            estimates = (numerical.extrapolated(evaluator.entry(array, index, u)) for index in range(array.size))
            values = [np.nan if e.kink or (hides and not e.value) else e.value for e in estimates]
            result[name] = np.array(values).reshape(array.shape)
        return result
    finally:
        whole.restore()


def in_double(function: Any, x: Any, target: Any) -> tuple[Subject, bool]:
    """What is to be checked, and whether it was narrow: then a copy in float64, since rounding would hide errors.

    That is so for a Function with narrower parameters.
    """
    subject = Subject(function, x, target)
    Snapshot(function, subject.bulk)  # which finds what is bulky, so that it can be kept out of the way
    try:
        with subject.without_bulk():
            narrow = isinstance(function, Function) and any(p.dtype.itemsize < 8 for p, _ in function._pairs())
        if narrow:
            return Subject(copy.deepcopy(function).astype(np.float64), x, target), True
    except Exception:  # it cannot be copied or converted, or its parameters are not in order, which the check will tell
        pass
    return subject, False


def _note_infinity(here: Vector, u: Vector) -> list[str]:
    """Leave infinite outputs out of the objective, since nothing is known of how they change, and say so."""
    infinite = np.isinf(here)
    u[infinite] = 0.0
    count = f"the output: infinite in {infinite.sum()} of {infinite.size} entries"
    return [f"{count}; how these change cannot be measured, and is left out"] if infinite.any() else []


def upstream(subject: Subject, size: int, rng: np.random.Generator) -> Vector:
    """A random upstream gradient with no entry near 0, as one vector; ones for a loss, which has none."""
    u = np.ones(size)
    return u if subject.target is not None else u * rng.uniform(0.5, 1.5, size) * rng.choice([-1.0, 1.0], size)


def reproduce(check: str, subject: Subject, given: dict[str, Any], fails: Any) -> str:
    """The lines that reproduce a failure, with those options that are not the defaults."""
    options = {name: value for name, value in given.items() if not _same(value, DEFAULTS.get(name))}
    if isinstance(options.get("rng"), np.random.Generator):
        del options["rng"]

    def still_fails(other: Subject) -> bool:
        try:
            return bool(fails(other))
        except GradientError:
            return True

    return snippet(check, subject, options, still_fails)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


@np.errstate(all="ignore")
def compare(subject: Subject, given: dict[str, Any]) -> GradientReport:
    """The report of `check_gradients`; the function is left as it was found."""
    options = _options(given)
    refuse_infinity(subject)
    whole = Snapshot(subject.function, subject.bulk)
    try:
        candidates = constants.of(subject)
        evaluator = Evaluator(subject)
        u = upstream(subject, evaluator.here.size, options.rng)
        notes = _note_infinity(evaluator.here, u)
        found = evaluator.gradients(u)
        arrays = dict(evaluator.named_arrays())
        chosen = _chosen(evaluator, given["wrt"])
        comparisons = [Comparison(name, arrays[name], found[name], evaluator, u, options) for name in chosen]
        for comparison in comparisons:
            comparison.run()
        kinks.look_closer(comparisons, evaluator, options.rng)
        judged, gradients = evaluator, found
        nothing_wrong = not any(c.report.wrong for c in comparisons)
        if nothing_wrong and any(c.skipped or c.report.skipped_directions for c in comparisons):
            beside = kinks.again_aside(comparisons, evaluator, u, options.rng)
            if beside is not None:
                judged, gradients = beside, beside.gradients(u)
        if any(c.report.wrong for c in comparisons):
            _explain(comparisons, judged, gradients, u)
        notes += [_not_checked(name, a) for name, a in arrays.items() if name not in chosen]
        notes += [
            f"{name}: not checked, no grad_{name.rpartition('.')[2]} stands beside it, so that no optimizer trains it; "
            "if it is state, name it in `buffers`"
            for name in constants.that_stay(subject, candidates)
        ]
    finally:
        whole.restore()
    return GradientReport(subject.name, [c.report for c in comparisons], notes)


def _not_checked(name: str, array: Vector) -> str:
    """A line on an array that was left out."""
    if array.dtype.kind == "f":
        return f"{name}: not checked, wrt leaves it out"
    return f"{name}: not checked, it is {array.dtype}: integers cannot be moved a little, by a check or by an optimizer"


def refuse_infinity(subject: Subject) -> None:
    """Raise an error that names the first infinite entry of the inputs and parameters."""
    try:
        params = subject.params_and_grads()[0]
    except GradientError:  # which the check will tell
        params = []
    for name, a in [
        *zip(subject.input_names, subject.inputs, strict=True),
        *zip(subject.param_names(params), params, strict=True),
    ]:
        if a.dtype.kind == "f" and np.isinf(a).any():
            index = tuple(int(i) for i in np.argwhere(np.isinf(a))[0])
            place = f"{name}{list(index)}" if index else name
            raise ValueError(
                f"{subject.name}: {place} is {a[index]}; expected finite numbers, at which a derivative can be taken"
            )


def _options(given: dict[str, Any]) -> Options:
    """The options, refused if they make no sense."""
    for name, allowed in (("method", METHODS), ("kinks", ("skip", "error"))):
        if given[name] not in allowed:
            raise ValueError(f"check_gradients: expected {name} to be one of {', '.join(allowed)}, got {given[name]!r}")
    for name in ("rtol", "atol"):
        if not isinstance(given[name], (int, float)) or not 0 <= given[name] < np.inf:
            raise ValueError(f"check_gradients: expected {name} of at least 0, got {given[name]!r}")
    for name in ("max_entries", "directions"):
        try:
            number = operator.index(given[name])
        except TypeError:
            raise TypeError(f"check_gradients: expected {name} to be a whole number, got {given[name]!r}") from None
        if number < 1:
            raise ValueError(f"check_gradients: expected {name} of at least 1, got {number}")
    rest = {name: value for name, value in given.items() if name not in ("wrt", "rng")}
    return Options(**rest, rng=np.random.default_rng(given["rng"]))


def _chosen(evaluator: Evaluator, wrt: str | Sequence[str]) -> list[str]:
    """The names of the arrays to check."""
    inputs = evaluator.subject.input_names
    names = [name for name, array in evaluator.named_arrays() if array.dtype.kind == "f"]
    if wrt in ("input", "params"):
        chosen = [name for name in names if (name in inputs) == (wrt == "input")]
    elif isinstance(wrt, str):
        chosen = names if wrt == "all" else [wrt]
    else:
        chosen = list(wrt)
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen:
        what = f"no {unknown[0]!r}" if unknown else "nothing (integers are not differentiated; pass floating-point numbers)"
        raise ValueError(f"{evaluator.subject.name}: wrt={wrt!r} finds {what} to check among {', '.join(names) or 'no arrays'}")
    return chosen


def _explain(comparisons: list[Comparison], evaluator: Evaluator, found: dict[str, Vector], u: Vector) -> None:
    """Put the likely cause into the reports."""
    clues = Clues(evaluator, comparisons, found, u)
    for comparison in comparisons:
        if comparison.report.wrong:
            comparison.report.hint = hint(comparison, clues)
