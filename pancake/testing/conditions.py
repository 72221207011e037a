"""Conditions that should make no difference: precision, layout, batch size, dtype, other parameters, and being a copy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.testing.gradients import compare
from pancake.testing.promises import overlap
from pancake.testing.subject import GradientError, Subject, Vector
from pancake.testing.trials import Trials, copies


def stays_precise(trials: Trials, in_single: bool, was_narrow: bool) -> Iterator[str]:
    """Complain about results narrower than input and parameters, and about a float32 library Function that widens.

    `in_single` tells whether the output moves as that of a computation in float32, `was_narrow` whether the function had
    parameters in float32 before it was brought to float64.
    """
    function, params = trials.subject.function, trials.subject.params_and_grads()[0]
    narrow_params = was_narrow or any(p.dtype.itemsize < 8 for p in params)
    if not narrow_params and any(x.dtype.kind == "f" for x in trials.subject.inputs):
        trial = trials.run()
        for what, arrays in (("the output", trial.outputs), ("dObj_dIn", trial.gradients)):
            narrow = [a.dtype for a in arrays if a is not None and a.dtype.itemsize < 8]
            if narrow:
                yield f"{trials.name}: {what} is {narrow[0]} for a float64 input; something in it is narrower"
                in_single = False
        if in_single:
            yield f"{trials.name}: the output moves in steps as coarse as float32 for a float64 input"
    if isinstance(function, Function) and all(type(part).__module__.startswith("pancake.") for part in function.walk()):
        yield from _stays_single(trials)


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
        trial = trials.run([change(x) for x in trials.subject.inputs])
        if difference := trials.difference(trial.results, first.results):
            yield f"{trials.name}: with {layout} input {difference}"
        trial = trials.run(u=[change(u) for u in first.upstream])
        if difference := trials.difference(trial.results, first.results):
            yield f"{trials.name}: with {layout} dObj_dOut {difference}"


def takes_any_batch_size(trials: Trials, gradients: dict[str, Any] | None) -> Iterator[str]:
    """Complain where another batch size gives wrong gradients, or the function cannot go from one to the other.

    A function made for one batch size refuses others, or broadcasts: its output then has the shape that it always has.
    `gradients` are the options of the check of gradients, None to leave that out.
    """
    subject, size = trials.subject, trials.subject.batch()
    trials.start.restore()
    shapes = [y.shape for y in subject.forward(copies(subject.inputs))[0]]
    held = any(a.ndim and size in (a.shape[0], a.size) for a in trials.start.arrays())
    for wanted in {(size or 1) + 1, 1} - {size} if size is not None else ():
        inputs = [_with_rows(x, size, wanted) for x in subject.inputs]
        target = None if subject.target is None else _with_rows(np.asarray(subject.target), size, wanted)
        other = subject.with_inputs(inputs, target)
        trials.start.restore()
        try:
            outputs, _ = other.forward(copies(inputs))
        except GradientError:
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
            if not held:  # else it may be made for this size and broadcast
                yield f"{said}: {error}"
            continue
        if difference := trials.difference(again, expected):
            yield f"{trials.name}: after a batch of {size}, a batch of {wanted} gives something else: {difference}"


def follows_its_parameters(trials: Trials, gradients: dict[str, Any] | None) -> Iterator[str]:
    """Complain where the gradients are right only as long as no optimizer has changed the parameters.

    A few entries are enough: what was computed from the parameters once and for all is wrong everywhere. `gradients` are
    the options of the check of gradients, None to leave that out.
    """
    params, _ = trials.subject.params_and_grads()
    if gradients is None or not params:
        return
    trials.start.restore()
    rng = np.random.default_rng(4)
    for p in params:
        if p.dtype.kind == "f" and p.flags.writeable:
            p *= 1 + 1e-3 * rng.normal(size=p.shape)
    try:
        report = compare(trials.subject, {**gradients, "wrt": "all", "max_entries": 64, "directions": 1})
    except GradientError:  # outside of the domain
        return
    if not report.ok:
        yield f"after its parameters have changed: {report.complaints()[0]}; is something computed from them kept?"


def takes_other_dtypes(trials: Trials) -> Iterator[str]:
    """Complain where float32 or integer input gives something quite different from the same numbers in float64."""
    if not any(x.dtype.kind == "f" for x in trials.subject.inputs):
        return
    for dtype in (np.float32, np.int64):
        changed = [
            x if x.dtype.kind != "f" else (np.sign(x) * np.ceil(np.abs(x)) if dtype is np.int64 else x).astype(dtype)
            for x in trials.subject.inputs
        ]
        exact = [c.astype(np.float64) if x.dtype.kind == "f" else c for c, x in zip(changed, trials.subject.inputs, strict=True)]
        try:
            expected = trials.run(exact)
            got = trials.run(changed, expected.upstream).results
        except GradientError:
            continue  # refusing is allowed
        finite = all(np.isfinite(a).all() for a in expected.results.values())
        if finite and (difference := trials.difference(got, expected.results, rtol=0.1, atol=max(1e-5, trials.atol))):
            yield f"{trials.name}: with {np.dtype(dtype)} input {difference}"


def can_be_copied(trials: Trials) -> Iterator[str]:
    """Complain about copies and pickles that are not independent equals."""
    function = trials.subject.function
    trials.start.restore()
    try:
        twin = copy.deepcopy(function)
    except Exception as error:
        yield f"{trials.name}: copy.deepcopy raised {type(error).__name__}: {error}"
    else:
        yield from _is_equal_copy(trials, twin, "deepcopy")
    trials.start.restore()
    try:
        twin = pickle.loads(pickle.dumps(function))
    except Exception as error:
        if not any(said in str(error) for said in ("local", "attribute lookup", "not the same object", "not found as")):
            yield f"{trials.name}: pickle raised {type(error).__name__}: {error}"
    else:
        yield from _is_equal_copy(trials, twin, "pickle")


def _is_equal_copy(trials: Trials, twin: Any, how: str) -> Iterator[str]:
    """Compare a copy with the original, before and after the parameters of both have changed alike."""
    of_twin = Trials(Subject(twin, trials.subject.template, trials.subject.target), like=trials)
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
    for each in (trials, of_twin):
        each.start.restore()
        for p in each.subject.params_and_grads()[0]:
            p[...] = 1.25 * p + 0.125
    wanted = trials.run(fresh=False).results.values()
    got = of_twin.run(fresh=False).results
    if difference := trials.difference(got, dict(zip(got, wanted, strict=True))):
        yield f"{trials.name}: a {how} does not compute with the parameters that it lists: {difference}"


def _with_rows(x: Vector, size: int | None, wanted: int) -> Vector:
    """The array with another number of rows, if it is one of those that have a row for each example."""
    if not x.ndim or len(x) != size:
        return x
    return np.take(x, np.arange(wanted) % len(x), axis=0)
