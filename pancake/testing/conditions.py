"""Conditions that should make no difference: layout, batch size, and being a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.testing.bulk import duplicates
from pancake.testing.gradients import compare
from pancake.testing.promises import overlap
from pancake.testing.snapshot import Snapshot
from pancake.testing.subject import GradientError, Subject, Vector
from pancake.testing.trials import Trials, copies


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
    """Complain about batches of these sizes in the place of one of that size."""
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
            trials.notes.append(f"a batch of {wanted} instead of {size}: not checked, it is refused ({cause(error)})")
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
                trials.notes.append(f"a batch of {wanted} instead of {size}: not checked, it is refused ({cause(error)})")
            else:
                yield f"{said}: {error}"
            continue
        if difference := trials.difference(again, expected):
            yield f"{trials.name}: after a batch of {size}, a batch of {wanted} gives something else: {difference}"


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


def cause(error: GradientError) -> str:
    """What a function says when it refuses something, in one line."""
    cause = error.__cause__ or error
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:120]


def _with_rows(x: Vector, size: int | None, wanted: int) -> Vector:
    """The array with another number of rows, if it is one of those that have a row for each example."""
    if not x.ndim or len(x) != size:
        return x
    return np.take(x, np.arange(wanted) % len(x), axis=0)
