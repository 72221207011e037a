"""Conditions that should make no difference: precision, layout, batch size, dtype, and being a copy."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake.function import Function
from pancake.testing.bulk import duplicates
from pancake.testing.evaluator import COARSE, FINE, WIDE, stands_still
from pancake.testing.gradients import compare
from pancake.testing.promises import overlap
from pancake.testing.snapshot import Snapshot
from pancake.testing.subject import GradientError, Subject, Vector
from pancake.testing.trials import Trial, Trials, copies

# What is larger is infinite in float32, or may be by rounding. What is so small as to be 0 there needs no bound: it is near 0.
HELD_BY_FLOAT32 = 0.9 * float(np.finfo(np.float32).max)


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
    for what, arrays in (("the output", trial.outputs), ("dObj_dIn", trial.gradients)):
        narrow = [a.dtype for a in arrays if a is not None and a.dtype.itemsize < 8]
        if narrow:
            yield f"{trials.name}: {what} is {narrow[0]} for a float64 input; something in it is narrower"
            in_single = False
    if in_single:
        yield f"{trials.name}: the output moves in steps as coarse as float32 for a float64 input"
    elif not _has_narrow(trial):
        yield from _moves_smoothly(trials)


def _has_narrow(trial: Trial) -> bool:
    return any(a.dtype.itemsize < 8 for a in [*trial.outputs, *trial.gradients] if a is not None)


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


def _strided(x: Vector) -> Vector:
    """The same numbers as every other one of a larger array."""
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


_LAYOUTS: dict[str, Callable[[Vector], Vector]] = {
    "Fortran-ordered": lambda x: np.array(x, order="F"),
    "strided": _strided,
    "reversed": lambda x: np.flip(np.flip(x).copy()),
}


def ignores_layout(trials: Trials) -> Iterator[str]:
    """Complain where the memory layout of input or upstream gradient changes the result."""
    first = trials.run()
    for layout, change in _LAYOUTS.items():
        for what in ("input", "dObj_dOut"):
            try:
                if what == "input":
                    trial = trials.run([change(x) for x in trials.subject.inputs])
                else:
                    trial = trials.run(u=[change(u) for u in first.upstream])
            except GradientError as error:
                yield f"with {layout} {what}: {error}"
                continue
            if difference := trials.difference(trial.results, first.results):
                yield f"{trials.name}: with {layout} {what} {difference}"


def takes_any_batch_size(trials: Trials, gradients: dict[str, Any] | None) -> Iterator[str]:
    """Complain where another batch size gives wrong gradients, or the function cannot go from one to the other.

    A function made for one batch size refuses others, or broadcasts: its output then has the shape that it always has.
    `gradients` are the options of the check of gradients, None to leave that out.
    """
    size = trials.subject.batch()
    if size is not None:
        yield from _takes_batches(trials, size, {size + 1, 1}, gradients)


def takes_as_many_rows_as_features(trials: Trials, gradients: dict[str, Any] | None) -> Iterator[str]:
    """Complain as `takes_any_batch_size` does of a batch that may be taken for the features, of which there are few."""
    size = trials.subject.batch()
    if size is not None:
        trials.start.restore()
        arrays = [*trials.subject.inputs, *trials.subject.forward(copies(trials.subject.inputs))[0]]
        widths = {a.shape[-1] for a in arrays if a.ndim > 1}
        yield from _takes_batches(trials, size, {n for n in widths if 1 < n <= 2 * size}, gradients)


def _takes_batches(trials: Trials, size: int, sizes: set[int], gradients: dict[str, Any] | None) -> Iterator[str]:
    subject = trials.subject
    trials.start.restore()
    shapes = [y.shape for y in subject.forward(copies(subject.inputs))[0]]
    held = any(a.ndim and size in (a.shape[0], a.size) for a in trials.start.arrays())
    for wanted in sizes - {size}:
        inputs = [_with_rows(x, size, wanted) for x in subject.inputs]
        target = None if subject.target is None else _with_rows(np.asarray(subject.target), size, wanted)
        other = subject.with_inputs(inputs, target)
        trials.start.restore()
        try:
            outputs, _ = other.forward(copies(inputs))
        except GradientError as error:
            trials.notes.append(f"a batch of {wanted} instead of {size}: not checked, it is refused ({_cause(error)})")
            continue
        by_batch = [(wanted, *shape[1:]) if shape[:1] == (size,) else shape for shape in shapes]
        got = [y.shape for y in outputs]
        if got == shapes != by_batch:
            continue
        said = f"with a batch of {wanted} instead of {size}"
        for is_, should in zip(got, by_batch, strict=False):
            if is_ != should and is_ == np.empty(should).squeeze().shape:
                yield f"{trials.name}: {said} the output has shape {is_} instead of {should}; does it squeeze?"
        of_other = Trials(other, like=trials)
        of_other.start = trials.start
        try:
            expected = of_other.run().results
            if gradients is not None:
                trials.start.restore()
                report = compare(other, {**gradients, "wrt": "all"})
                if not report.ok:
                    yield f"{said}: {report.complaints()[0]}"
                    continue
            trials.run()
            again = of_other.run(fresh=False).results
        except GradientError as error:
            if held:  # it may be made for this size and broadcast
                trials.notes.append(f"a batch of {wanted} instead of {size}: not checked, it is refused ({_cause(error)})")
            else:
                yield f"{said}: {error}"
            continue
        if difference := trials.difference(again, expected):
            yield f"{trials.name}: after a batch of {size}, a batch of {wanted} gives something else: {difference}"


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
            trials.notes.append(f"{said}: not checked, it is refused ({_cause(error)})")
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
            if difference := trials.difference({name: array}, {name: wanted}, rtol=0.1, atol=allowed[name]):
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


def can_be_copied(trials: Trials) -> Iterator[str]:
    """Complain about copies and pickles that are not independent equals, and about instances that disturb each other.

    What stands for a foreign object need not be one that can be copied; nor can closures. That is noted.
    """
    subject = trials.subject
    function = subject.function
    trials.start.restore()
    closures = [f.__qualname__ for f in trials.start.closures]
    try:
        twin, through_pickle = duplicates(function, subject.bulk.values())
    except Exception as error:
        said = f"copy.deepcopy raised {type(error).__name__}: {error}"
        if isinstance(function, Function):
            yield f"{trials.name}: {said}"
        else:
            trials.notes.append(f"copies: not checked, {said}")
        return
    found = [*_is_equal_copy(trials, twin, "deepcopy")]
    trials.start.restore()
    found += is_independent(trials, duplicates(function, subject.bulk.values())[0], "a copy")
    trials.start.restore()
    try:
        twin = through_pickle()
    except Exception as error:
        if any(said in str(error) for said in ("local", "attribute lookup", "not the same object", "not found as")):
            trials.notes.append(f"pickle: not checked, the class can only be pickled from a module ({error})")
        elif isinstance(function, Function) and not closures:
            found.append(f"{trials.name}: pickle raised {type(error).__name__}: {error}")
        else:
            trials.notes.append(f"pickle: not checked, it raised {type(error).__name__}: {error}")
    else:
        found += _is_equal_copy(trials, twin, "pickle")
    if found and closures:
        trials.notes.append(f"copies: not checked, there is a closure ({', '.join(closures)}), which copy.deepcopy does not copy")
    else:
        yield from found


def is_independent(trials: Trials, twin: Any, what: str) -> Iterator[str]:
    """Complain where a forward and backward of another instance, between forward and backward, changes the results."""
    subject = trials.subject
    other = Subject(twin, subject.template, subject.target)
    other.bulk = subject.bulk
    Snapshot(twin, other.bulk)  # which finds where in the twin that stands
    theirs, mine = other.params_and_grads(), subject.params_and_grads()
    if any(overlap(a, b) for a in (*mine[0], *mine[1]) for b in (*theirs[0], *theirs[1])):
        yield f"{trials.name}: {what} shares its parameters with this one; is there a default argument that all of them change?"
        return
    first = trials.run()
    trials.start.restore()
    subject.zero_grads()
    outputs, out = subject.forward(copies(subject.inputs))
    try:
        theirs_outputs, theirs_out = other.forward(trials.other_inputs())
        other.backward(trials.upstream(theirs_outputs, seed=2), theirs_out)
    except GradientError as error:
        yield f"{what}: {error}"
        return
    gradients = subject.backward(first.upstream, out)
    params, grads = subject.params_and_grads()
    if difference := trials.difference(trials.results(params, outputs, gradients, grads), first.results):
        yield (
            f"{trials.name}: {what} of it that runs between forward and backward changes the result: {difference}; is the cache "
            "an attribute of the class, a default argument or a global, which all instances share?"
        )


def _is_equal_copy(trials: Trials, twin: Any, how: str) -> Iterator[str]:
    """Compare a copy with the original, before and after the parameters of both have changed alike."""
    of_twin = Subject(twin, trials.subject.template, trials.subject.target)
    of_twin.bulk = trials.subject.bulk
    try:
        yield from _differs(trials, Trials(of_twin, like=trials), how)
    except GradientError as error:
        yield f"a {how}: {error}"


def _differs(trials: Trials, of_twin: Trials, how: str) -> Iterator[str]:
    mine, theirs = trials.subject.params_and_grads(), of_twin.subject.params_and_grads()
    if any(overlap(a, b) for a in (*mine[0], *mine[1]) for b in (*theirs[0], *theirs[1])):
        yield f"{trials.name}: a {how} shares memory with the original; training one would change the other"
        return
    if len(mine[0]) != len(theirs[0]):
        yield f"{trials.name}: a {how} has {len(theirs[0])} parameters, the original {len(mine[0])}"
        return
    wanted = trials.run().results.values()
    got = of_twin.run().results
    if difference := trials.difference(got, dict(zip(got, wanted, strict=True))):
        yield f"{trials.name}: a {how} gives something else than the original: {difference}"
        return
    results = []
    for each in (trials, of_twin):  # one after the other: the copy must not compute with the parameters of the original
        each.start.restore()
        for p in each.subject.params_and_grads()[0]:
            p[...] = 1.25 * p + 0.125
        results.append(each.run(fresh=False).results)
        each.start.restore()
    wanted, got = results[0].values(), results[1]
    if difference := trials.difference(got, dict(zip(got, wanted, strict=True))):
        yield f"{trials.name}: a {how} does not compute with the parameters that it lists: {difference}"


def _cause(error: GradientError) -> str:
    """What a function says when it refuses something, in one line."""
    cause = error.__cause__ or error
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:120]


def _with_rows(x: Vector, size: int | None, wanted: int) -> Vector:
    """The array with another number of rows, if it is one of those that have a row for each example."""
    if not x.ndim or len(x) != size:
        return x
    return np.take(x, np.arange(wanted) % len(x), axis=0)
