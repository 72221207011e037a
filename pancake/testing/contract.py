"""`check_function`: the whole contract of a Function, of which right gradients are only the first half."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.arguments import tells_how_to_call
from pancake.function import Function
from pancake.losses.loss import Loss
from pancake.origin import is_own
from pancake.testing import conditions, parameters, precision, promises
from pancake.testing.evaluator import Evaluator
from pancake.testing.gradients import DEFAULTS, compare, in_double, refuse_infinity, reproduce
from pancake.testing.report import GradientReport
from pancake.testing.snapshot import Snapshot
from pancake.testing.subject import GradientError, Subject
from pancake.testing.trials import Trials

IGNORABLE = ("copies", "float32", "randomness", "accumulates", "views")


@tells_how_to_call
def check_function(
    function: Any, x: Any, *, target: ArrayLike | None = None, ignore: Collection[str] = (), **options: Any
) -> GradientReport:
    """Check everything that containers and optimizers rely on; report all that is wrong together.

    - The gradients are right, as `check_gradients` finds, also for other batch sizes and after a change of the parameters, in
      which those that are 0 move too: a bias, a gain or a log-scale counts for nothing where it starts.
    - Forward is deterministic in a fixed state, and no global random generator is drawn from.
    - The shapes of gradients are those of inputs and parameters.
    - Nothing writes to the input, to a parameter, to dObj_dOut, or to what was returned earlier.
    - Backward is linear in dObj_dOut, also where that is 0, and refers to the latest forward, in the first call as in the
      twelfth.
    - Freezing the parameters leaves the gradient of the input right.
    - Backward adds to the gradients in place, whatever they hold; two backwards add twice; `accumulate_grads` does the same.
    - No output and no gradient shares memory with another array.
    - Nothing narrower than float64 comes back from float64, unless a parameter is; a library Function in float32 stays there.
    - Memory layout, batch size from call to call, and float32 or integer input change nothing, but what float32 cannot hold.
    - `copy.deepcopy` gives an independent equal, and so does pickle where the class can be pickled.
    - All of that in training and in evaluation mode, where there is an attribute `training` and the mode makes a difference.

    What could not be checked is named in the summary of the report.

    Parameters
    ----------
    function, x, target, **options
        As in `check_gradients`. The function is left as it was found.
    ignore : collection of str
        What the function does not promise: "copies" (it cannot be copied), "float32" (it computes in float32), "randomness" (it
        draws from a global generator), "accumulates" (its gradients are overwritten and not added to), "views" (it returns
        views of its input or of dObj_dOut).

    Returns
    -------
    GradientReport
        Of the gradients at `x`.

    Raises
    ------
    GradientError
        With all that was found, the likeliest cause first, and lines that reproduce it.
    ValueError, TypeError
        If the arguments make no sense.
    """
    if target is None and isinstance(function, Loss):
        raise TypeError(
            f"check_function: expected a target for the loss {function!r}, got none; write check_function(loss, pred, target=y)"
        )
    if target is not None and isinstance(function, Function) and is_own(function):
        raise TypeError(
            f"check_function: expected a target for a loss alone, got one for {function!r}; write check_function(function, x)"
        )
    if unknown := set(options) - set(DEFAULTS):
        raise TypeError(f"check_function: expected the options {', '.join(DEFAULTS)}, got {', '.join(sorted(unknown))}")
    ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    if unknown := set(ignored) - set(IGNORABLE):
        raise ValueError(f"check_function: expected ignore to be of {', '.join(IGNORABLE)}, got {', '.join(sorted(unknown))}")
    given = {**DEFAULTS, **options}
    # A Function in float32 is checked in float64; whether it was narrow to begin with tells what it may return.
    subject, was_narrow = in_double(function, x, target)
    refuse_infinity(subject)
    problems, report = examine(subject, given, ignored, was_narrow)
    if problems:
        numbered = "\n".join(f"{i}. {problem}" for i, problem in enumerate(problems, 1))
        shown = {**given, "ignore": ignored} if ignored else given
        lines = reproduce("check_function", subject, shown, lambda other: bool(examine(other, given, ignored, was_narrow)[0]))
        raise GradientError(f"{subject.name} breaks its contract:\n{numbered}\n\nTo reproduce:\n\n{lines}", report)
    assert report is not None
    return report


def check_instances(function: Any, twin: Any, x: Any, target: ArrayLike | None = None) -> None:
    """Raise a GradientError if another instance, made by the same call, changes what a function does."""
    trials = Trials(Subject(function, x, target))
    trials.rtol = 1e-4  # whatever the precision: what is looked for is no rounding
    try:
        with np.errstate(all="ignore"):
            found = list(conditions.is_independent(trials, twin, "a second instance"))
    finally:
        trials.start.restore(thoroughly=True)
    if found:
        raise GradientError(f"{trials.name} breaks its contract:\n1. {found[0]}")


def examine(
    subject: Subject, given: dict[str, Any], ignored: tuple[str, ...], was_narrow: bool
) -> tuple[list[str], GradientReport | None]:
    """All that is wrong, in the mode in which the function is and in the other one, and the report of the gradients."""
    whole = Snapshot(subject.function, subject.bulk)
    try:
        problems, report = _examine_mode(subject, given, ignored, was_narrow)
        training = getattr(subject.function, "training", None)
        if isinstance(training, (bool, np.bool_)) and report is not None:
            whole.restore()
            mode = "evaluation" if training else "training"
            if not _set_mode(subject, not training):
                report.notes.append(f"{mode} mode: not checked, the attribute training cannot be set")
            elif _makes_a_difference(subject, not training):
                more, other = _examine_mode(subject, given, ignored, was_narrow)
                problems += [f"in {mode} mode: {problem}" for problem in more if problem not in problems]
                report.notes += [f"in {mode} mode: {n}" for n in (other.notes if other else []) if n not in report.notes]
                report = other if report.ok and other is not None and not other.ok else report
        if report is not None:
            report.notes += [f"{word}: not checked, as asked for by ignore" for word in ignored]
    finally:
        whole.restore(thoroughly=True)
    return problems, report


def _set_mode(subject: Subject, training: bool) -> bool:
    with subject.without_bulk():
        return set_mode(subject.function, training)


def set_mode(function: Any, training: bool) -> bool:
    """Switch to training or to evaluation mode; return whether that was possible."""
    if isinstance(function, Function):
        function.train(training)
    else:
        try:
            function.training = training
        except AttributeError:
            return False
    return True


@np.errstate(all="ignore")
def _makes_a_difference(subject: Subject, training: bool) -> bool:
    """Whether the function, which is in one mode, gives something else there than in the other, or raises an exception."""
    trials = Trials(subject)
    outcomes = []
    for mode in (not training, training):  # the second is the one to stay in
        _set_mode(subject, mode)
        here = Trials(subject, like=trials)
        try:
            outcomes.append([here.run().results, here.run(here.other_inputs()).results])
        except GradientError:
            return True
        finally:
            here.start.restore()
    return any(not np.array_equal(a[name], b[name], equal_nan=True) for a, b in zip(*outcomes, strict=True) for name in a | b)


@np.errstate(all="ignore")
def _examine_mode(
    subject: Subject, given: dict[str, Any], ignored: tuple[str, ...], was_narrow: bool
) -> tuple[list[str], GradientReport | None]:
    """All that is wrong in the mode in which the function is."""
    problems: list[str] = []
    report: GradientReport | None = None
    whole = Snapshot(subject.function, subject.bulk)
    trials = Trials(subject)

    def collect(check: Callable[..., Iterator[str]], *arguments: Any) -> None:
        try:
            problems.extend(problem for problem in check(trials, *arguments) if problem not in problems)
        except GradientError as error:
            if str(error) not in problems:
                problems.append(str(error))
        finally:
            whole.restore()

    try:
        collect(promises.writes_nothing)
        try:
            trials.run()
            whole.restore()
            evaluator = Evaluator(subject)
        except GradientError as error:
            return problems or [str(error)], None
        trials.tolerate(evaluator)
        whole.restore()
        if "views" not in ignored:
            collect(promises.shares_no_memory)
        collect(promises.rebinds_nothing, "accumulates" not in ignored)
        if "randomness" not in ignored:
            collect(promises.draws_from_its_own_generator)
        if "float32" not in ignored:
            collect(precision.stays_precise, evaluator.in_single, was_narrow)
        try:
            report = compare(subject, given)
            problems += report.complaints()
        except GradientError as error:
            problems += [] if problems else [str(error)]
        if "accumulates" not in ignored:
            collect(promises.adds)
        collect(promises.adds_twice, "accumulates" not in ignored)
        collect(promises.refers_to_the_latest_forward)
        collect(promises.keeps_results)
        collect(promises.is_linear)
        collect(conditions.ignores_layout)
        right = given if report is not None and report.ok else None
        collect(conditions.takes_any_batch_size, right)
        if not problems:  # or they would be said again
            collect(conditions.takes_as_many_rows_as_features, right)
        collect(parameters.follows_its_parameters, right)
        collect(parameters.is_right_frozen, right)
        collect(precision.takes_other_dtypes, ignored)
        if "copies" not in ignored:
            collect(conditions.can_be_copied)
    finally:
        whole.restore()
    if report is not None:
        report.notes += trials.notes
    return problems, report
