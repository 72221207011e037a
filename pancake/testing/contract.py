"""`check_function`: the whole contract of a Function, of which right gradients are only the first half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.testing import conditions, promises
from pancake.testing.evaluator import Evaluator
from pancake.testing.gradients import DEFAULTS, compare, in_double, reproduce
from pancake.testing.report import GradientReport
from pancake.testing.snapshot import Snapshot
from pancake.testing.subject import GradientError, Subject
from pancake.testing.trials import Trials


def check_function(function: Any, x: Any, *, target: ArrayLike | None = None, **options: Any) -> GradientReport:
    """Check everything that containers and optimizers rely on; report all that is wrong together.

    - The gradients are right, as `check_gradients` finds, also for other batch sizes and after a change of the parameters.
    - Forward is deterministic in a fixed state, and no global random generator is drawn from.
    - The shapes of gradients are those of inputs and parameters.
    - Nothing writes to the input, to dObj_dOut, or to what was returned earlier.
    - Backward is linear in dObj_dOut, and refers to the latest forward.
    - Backward adds to the gradients in place, whatever they hold; two backwards add twice; `accumulate_grads` does the same.
    - No gradient shares memory with another array.
    - Nothing narrower than float64 comes back from float64, unless a parameter is; a library Function in float32 stays there.
    - Memory layout, batch size from call to call, and float32 or integer input change nothing.
    - `copy.deepcopy` gives an independent equal, and so does pickle where the class can be pickled.

    Parameters
    ----------
    function, x, target, **options
        As in `check_gradients`. The function is left as it was found.

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
    if unknown := set(options) - set(DEFAULTS):
        raise TypeError(f"check_function: expected the options {', '.join(DEFAULTS)}, got {', '.join(sorted(unknown))}")
    given = {**DEFAULTS, **options}
    # A Function in float32 is checked in float64; whether it was narrow to begin with tells what it may return.
    wide = in_double(function)
    subject = Subject(wide, x, target)
    problems, report = _examine(subject, given, was_narrow=wide is not function)
    if problems:
        numbered = "\n".join(f"{i}. {problem}" for i, problem in enumerate(problems, 1))
        lines = reproduce(
            "check_function", subject, given, lambda other: bool(_examine(other, given, was_narrow=wide is not function)[0])
        )
        raise GradientError(f"{subject.name} breaks its contract:\n{numbered}\n\nTo reproduce:\n\n{lines}", report)
    assert report is not None
    return report


@np.errstate(all="ignore")
def _examine(subject: Subject, given: dict[str, Any], was_narrow: bool) -> tuple[list[str], GradientReport | None]:
    """All that is wrong, and the report of the gradients."""
    problems: list[str] = []
    report: GradientReport | None = None
    whole = Snapshot(subject.function)
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
        collect(promises.shares_no_memory)
        collect(promises.rebinds_nothing)
        collect(promises.draws_from_its_own_generator)
        collect(conditions.stays_precise, evaluator.in_single, was_narrow)
        try:
            report = compare(subject, given)
            problems += report.complaints()
        except GradientError as error:
            problems += [] if problems else [str(error)]
        collect(promises.adds)
        collect(promises.adds_twice)
        collect(promises.refers_to_the_latest_forward)
        collect(promises.keeps_results)
        collect(promises.is_linear)
        collect(conditions.ignores_layout)
        right = given if report is not None and report.ok else None
        collect(conditions.takes_any_batch_size, right)
        collect(conditions.follows_its_parameters, right)
        collect(conditions.takes_other_dtypes)
        collect(conditions.can_be_copied)
    finally:
        whole.restore()
    return problems, report
