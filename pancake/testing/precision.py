"""Precision: whether results are as wide as what they come from, and about the same in float32 and of whole numbers."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake.function import Function
from pancake.testing.bulk import duplicates
from pancake.testing.conditions import cause
from pancake.testing.evaluator import COARSE, FINE, WIDE, stands_still
from pancake.testing.subject import GradientError, Subject, Vector
from pancake.testing.trials import Trial, Trials, copies

# What is larger is infinite in float32, or may be by rounding. What is so small as to be 0 there needs no bound: it is near 0.
HELD_BY_FLOAT32 = 0.9 * float(np.finfo(np.float32).max)
# Many float32 roundings of what is computed: a wrong factor of 1 % is more. What cancels is allowed for by `_what_rounding_does`.
RTOL = 1e-3


def stays_precise(trials: Trials, in_single: bool, was_narrow: bool) -> Iterator[str]:
    """Complain about results narrower than input and parameters, and about a float32 library Function that widens.

    `in_single` tells whether the output moves as that of a computation in float32, `was_narrow` whether the function had
    parameters in float32 before it was brought to float64.
    """
    function, params = trials.subject.function, trials.subject.params_and_grads()[0]
    narrow_params = was_narrow or any(p.dtype.itemsize < 8 for p in params)
    if not narrow_params and any(x.dtype.kind == "f" for x in trials.subject.inputs):
        trial = trials.run()
        if not (_has_narrow(trial) and _keeps_narrow(function)):
            yield from _stays_wide(trials, trial, in_single)
    of_library = isinstance(function, Function) and type(function).__module__.startswith("pancake.")
    if of_library and all(type(part).__module__.startswith("pancake.") for part in function.walk()):
        yield from _stays_single(trials)


def _stays_wide(trials: Trials, trial: Trial, in_single: bool) -> Iterator[str]:
    names = trials.subject.param_names(trials.subject.params_and_grads()[0])
    results: dict[str, Sequence[Vector | None]] = {"the output": trial.outputs, "dObj_dIn": trial.gradients}
    results |= {f"grad_{name}": [grad] for name, grad in zip(names, trial.grads, strict=True)}
    for what, arrays in results.items():
        narrow = [a.dtype for a in arrays if a is not None and a.dtype.itemsize < 8]
        if narrow:
            yield f"{trials.name}: {what} is {narrow[0]} for a float64 input; something in it is narrower"
            in_single = False
    if in_single:
        yield f"{trials.name}: the output moves in steps as coarse as float32 for a float64 input"
    elif not _has_narrow(trial):
        yield from _moves_smoothly(trials)


def _has_narrow(trial: Trial) -> bool:
    return any(a.dtype.itemsize < 8 for a in [*trial.outputs, *trial.gradients, *trial.grads] if a is not None)


def _keeps_narrow(function: Any) -> bool:
    """Whether there are narrow arrays among what is frozen or a buffer, looked for only where it matters: it is a long search."""
    arrays = function.state_dict().values() if isinstance(function, Function) else ()
    return any(a.dtype.kind == "f" and a.dtype.itemsize < 8 for a in arrays)


def _moves_smoothly(trials: Trials) -> Iterator[str]:
    """Complain about gradients that stand still where they must move a little: something backward uses is in float32."""
    subject = trials.subject
    first = trials.run()
    rng = np.random.default_rng(5)
    signs = {what: [rng.choice([-1.0, 1.0], a.shape) for a in arrays] for what, arrays in _movable(trials, first.upstream)}

    def moved(what: str, arrays: list[Vector], t: float) -> dict[str, Vector]:
        new = [a * (1 + t * s) if a.dtype.kind == "f" else a for a, s in zip(arrays, signs[what], strict=True)]
        if what == "dObj_dOut":
            return trials.run(u=new).results
        if what == "x":
            return trials.run(new, first.upstream).results
        trials.start.restore()
        for array, content in zip(subject.params_and_grads()[0], new, strict=True):
            array[...] = content
        return trials.run(u=first.upstream, fresh=False).results

    for what, arrays in _movable(trials, first.upstream):
        held = copies(arrays)
        try:
            results = {t: moved(what, held, t) for t in (WIDE, COARSE, FINE)}
        except GradientError:  # outside of the domain
            continue
        # A gradient may be nothing but what is left of numbers that cancel, as that of a bias before a BatchNorm.
        sizes = [np.abs(a[np.isfinite(a)]).max(initial=0.0) for a in (*first.results.values(), *first.upstream)]
        rounding = float(np.finfo(float).eps * max(sizes, default=0.0))
        for name, was in first.results.items():
            changes = {t: np.abs(of_t[name] - was) for t, of_t in results.items()}
            if not name.startswith("the output") and stands_still(changes.__getitem__, rounding):
                yield (
                    f"{trials.name}: {name} moves in steps as coarse as float32 when {what} moves a little; is something that "
                    "backward uses, such as the cache, kept in float32?"
                )
                return


def _movable(trials: Trials, upstream: list[Vector]) -> list[tuple[str, list[Vector]]]:
    params = trials.subject.params_and_grads()[0]
    return [
        ("x", trials.subject.inputs),
        *([("dObj_dOut", upstream)] if trials.subject.target is None else []),
        *([("its parameters", params)] if params and all(p.flags.writeable for p in params) else []),
    ]


def _stays_single(trials: Trials) -> Iterator[str]:
    subject = Subject(copy.deepcopy(trials.subject.function).astype(np.float32), trials.subject.template, trials.subject.target)
    outputs, out = subject.forward([x.astype(np.float32) if x.dtype.kind == "f" else x for x in subject.inputs])
    gradients = subject.backward(trials.upstream(outputs, seed=1), out)
    for what, arrays in (("the output", outputs), ("dObj_dIn", gradients), ("a gradient", subject.params_and_grads()[1])):
        wide = [a.dtype for a in arrays if a is not None and a.dtype != np.float32]
        if wide:
            yield f"{trials.name}: in float32 {what} is {wide[0]}"


def takes_other_dtypes(trials: Trials, ignored: Collection[str] = ()) -> Iterator[str]:
    """Complain where float32 or integer input gives something quite different from the same numbers in float64.

    What float32 cannot hold does not count; where something within its range is infinite, a step in between has overflown.
    """
    if not any(x.dtype.kind == "f" for x in trials.subject.inputs):
        return
    for dtype in [np.int64] if "float32" in ignored else [np.float32, np.int64]:
        changed = [
            x if x.dtype.kind != "f" else (np.sign(x) * np.ceil(np.abs(x)) if dtype is np.int64 else x).astype(dtype)
            for x in trials.subject.inputs
        ]
        exact = [c.astype(np.float64) if x.dtype.kind == "f" else c for c, x in zip(changed, trials.subject.inputs, strict=True)]
        wide, narrow = _in_single(trials) if dtype is np.float32 else (trials, trials)
        said = f"{np.dtype(dtype)} input" if narrow is trials else f"{np.dtype(dtype)} input and parameters"
        try:
            expected = wide.run(exact)
        except GradientError:  # outside of the domain
            continue
        try:
            got = narrow.run(changed)  # with an upstream gradient of the same numbers, in the dtype of the output
        except GradientError as error:  # refusing is allowed
            trials.notes.append(f"{said}: not checked, it is refused ({cause(error)})")
            continue
        if not all(np.isfinite(a).all() for a in expected.results.values()):
            continue
        most = HELD_BY_FLOAT32 if dtype is np.float32 else np.inf
        counts = {name: np.abs(a) <= most for name, a in expected.results.items()}
        allowed = _what_rounding_does([(wide, expected), (narrow, got)], counts)
        for name, array in got.results.items():
            wanted = expected.results[name]
            if array.shape == wanted.shape:  # what does not count is 0 in both, so that its size makes no allowance for others
                array, wanted = (np.where(counts[name], a, 0.0) for a in (array, wanted))
            if difference := trials.difference({name: array}, {name: wanted}, rtol=RTOL, atol=allowed[name]):
                yield f"{trials.name}: with {said} {difference}"
                break


def _in_single(trials: Trials) -> tuple[Trials, Trials]:
    """The function with the same parameters in float64 and in float32; twice itself, if it has none or cannot be converted."""
    subject = trials.subject
    if not isinstance(subject.function, Function) or not subject.params_and_grads()[0]:
        return trials, trials
    try:
        twins = [duplicates(subject.function, subject.bulk.values())[0].astype(np.float32) for _ in range(2)]
        twins[0].astype(np.float64)
    except Exception:  # which `can_be_copied` tells
        return trials, trials
    subjects = [Subject(twin, subject.template, subject.target) for twin in twins]
    for each in subjects:
        each.bulk = subject.bulk
    wide, narrow = (Trials(each, like=trials) for each in subjects)
    return wide, narrow


def _what_rounding_does(pairs: list[tuple[Trials, Trial]], counts: dict[str, NDArray[np.bool_]]) -> dict[str, float]:
    """By how much those results that count change where what goes in is rounded to float32, in float64 and in float32.

    The latter rounds what is computed as well, by which the gradient that a normalisation leaves of large numbers changes most.
    """
    (trials, expected), _ = pairs
    sizes = [*map(np.abs, expected.inputs), *(np.abs(a[counts[name]]) for name, a in expected.results.items())]
    # The rounding of the function is that of its largest number, which may be one that does not count.
    rounding = 64 * float(np.finfo(np.float32).eps) * max(float(np.max(size, initial=1.0)) for size in sizes)
    worst = dict.fromkeys(expected.results, max(1e-5, min(trials.atol, rounding)))
    for of, first in pairs:
        rng, given = np.random.default_rng(6), [*first.inputs, *first.upstream]
        # By one unit in the last place or two: where all move by one, a mean may be rounded as before.
        patterns = [[2.0**-24 * rng.choice([-2, -1, 1, 2], a.shape) for a in given] for _ in range(2)]
        for pattern, sign in itertools.product(patterns, (1, -1)):  # each entry up and down: on one side there may be a step
            moved = [
                (a * (1 + sign * e)).astype(a.dtype) if a.dtype.kind == "f" else a for a, e in zip(given, pattern, strict=True)
            ]
            try:
                results = of.run(moved[: len(first.inputs)], moved[len(first.inputs) :]).results
            except GradientError:
                continue
            for name, array in results.items():
                if array.shape == first.results[name].shape == counts[name].shape:
                    off = np.abs(array - first.results[name])[counts[name]]
                    worst[name] = max(worst[name], 30 * float(off[np.isfinite(off)].max(initial=0.0)))
    return worst
