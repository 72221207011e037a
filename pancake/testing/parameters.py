"""Whether forward and backward follow their parameters: right where they start, they must be so where an optimizer takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.testing.gradients import compare
from pancake.testing.report import GradientReport
from pancake.testing.subject import GradientError, Vector
from pancake.testing.trials import Trial, Trials, copies

# About how far a parameter that is 0 is moved: what shows only as a product of two of them is then a hundredth, far above rtol.
FROM_ZERO = 0.1


def follows_its_parameters(trials: Trials, gradients: dict[str, Any] | None) -> Iterator[str]:
    """Complain where the results are right only as long as no optimizer has changed the parameters.

    `gradients` are the options of the check of gradients, None to leave that out. A few entries are enough: what was computed
    from the parameters once and for all is wrong everywhere, and so is what backward forgets while a bias or a gain is 0.
    """
    trials.start.restore()
    params, _ = trials.subject.params_and_grads()
    if gradients is None or not params:
        return
    before = copies(params)
    try:
        yield from _follows(trials, {**gradients, "wrt": "all", "max_entries": 64, "directions": 1}, params)
    finally:  # also where no attribute leads to them, so that no snapshot has them
        _fill(params, before)


def _follows(trials: Trials, few: dict[str, Any], params: list[Vector]) -> Iterator[str]:
    start = copies(params)
    first = trials.run()
    unused = [(p == 0) & (grad == 0) for p, grad in zip(start, first.grads, strict=True)]
    was_finite = _is_finite(first)

    def at(content: list[Vector]) -> GradientReport | None:
        """The check of gradients at other parameters, None where they are outside of the domain."""
        try:
            trials.start.restore()
            _fill(params, content)
            if was_finite and not _is_finite(trials.run(fresh=False)):
                return None
            trials.start.restore()
            _fill(params, content)
            return compare(trials.subject, few)
        except GradientError:
            return None

    *bold, timid = _changed(start)
    for changed in (*bold, timid):
        report = at(changed)
        if report is not None:
            break
    else:
        return
    if not report.ok:
        said = f"after its parameters have changed: {report.complaints()[0]}"
        without = None if changed is timid else at(timid)
        if without is not None and without.ok:
            names = [name for name, p in zip(trials.subject.param_names(params), start, strict=True) if (p == 0).any()]
            yield f"{said}; it is right only as long as zeros in {' and '.join(names)} stay 0: does backward forget them?"
        else:
            yield f"{said}; is something computed from them kept?"
        return
    # A zero without a gradient is one that no optimizer moves: a layer may remember that it is a gap in a sparse weight.
    changed = [np.where(gap, 0, p) for gap, p in zip(unused, changed, strict=True)]
    trials.start.restore()
    _fill(params, changed)
    wanted = trials.run(fresh=False).results
    if trials.difference(trials.run(fresh=False).results, wanted):
        return  # it changes from call to call, which is said elsewhere
    trials.start.restore()
    _fill(params, start)
    trials.run(fresh=False)
    _fill(params, changed)
    if difference := trials.difference(trials.run(fresh=False).results, wanted):
        yield (
            f"{trials.name}: when its parameters change after a first forward and backward, {difference}; is something computed "
            "from them at the first call and kept?"
        )


def is_right_frozen(trials: Trials, gradients: dict[str, Any] | None) -> Iterator[str]:
    """Complain where the gradient of the input is wrong while the parameters are frozen, which may change the output."""
    subject = trials.subject
    if gradients is None or not isinstance(subject.function, Function) or not subject.params_and_grads()[0]:
        return
    free = trials.run().results
    trials.start.restore()
    subject.function.freeze()
    frozen = Trials(subject.with_inputs(subject.inputs), like=trials)
    try:
        if frozen.difference(frozen.run().results, free):
            frozen.start.restore()
            complaints = compare(frozen.subject, {**gradients, "wrt": "input"}).complaints()
            yield from (f"while it is frozen: {complaint}" for complaint in complaints[:1])
    except GradientError as error:
        yield f"while it is frozen: {error}"


def _changed(params: list[Vector]) -> Iterator[list[Vector]]:
    """What the parameters may become, the boldest first: one that was 0 may have to stay positive, or small, or 0.

    All others move by a thousandth, which suffices to see what depends on them; two that were 0 may show only as a product.
    """
    rng = np.random.default_rng(4)
    others = [p * (1 + 1e-3 * rng.normal(size=p.shape)) for p in params]
    zeros: list[list[Vector]] = [[np.zeros(p.shape) for p in params]]
    if any((p == 0).any() for p in params):
        from_zero = [FROM_ZERO * rng.uniform(0.5, 1.0, p.shape) * rng.choice([-1.0, 1.0], p.shape) for p in params]
        zeros = [from_zero, [np.abs(a) for a in from_zero], [a / 100 for a in from_zero], *zeros]
    for of_zeros in zeros:
        moved = zip(params, of_zeros, others, strict=True)
        yield [np.where(p == 0, zero, other) if p.dtype.kind == "f" else p for p, zero, other in moved]


def _fill(arrays: list[Vector], contents: list[Vector]) -> None:
    for array, content in zip(arrays, contents, strict=True):
        if array.flags.writeable:
            array[...] = content


def _is_finite(trial: Trial) -> bool:
    return all(np.isfinite(a).all() for a in trial.results.values())
