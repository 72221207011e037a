"""`check_function`: the whole contract of a Function, of which right gradients are only the first half."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.function import Function
from pancake.testing.gradients import check_gradients, in_double, upstream
from pancake.testing.report import GradientReport, snippet
from pancake.testing.subject import GradientError, Snapshot, Subject, Vector


def check_function(function: Any, x: Any, *, target: ArrayLike | None = None, **options: Any) -> GradientReport:
    """Check everything that containers and optimizers rely on; report all that is wrong together.

    - The gradients are right, as `check_gradients` finds, also for other batch sizes.
    - Forward is deterministic in a fixed state. The shapes of gradients are those of inputs and parameters.
    - Nothing writes to the input, to dObj_dOut, or to what was returned earlier.
    - Backward is linear in dObj_dOut, and refers to the latest forward.
    - Backward adds to the gradients in place, whatever they hold; two backwards add twice.
    - No gradient shares memory with another array.
    - Nothing narrower than float64 comes back from float64; a library Function in float32 stays in float32.
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
    """
    function = in_double(function)
    subject = Subject(function, x, target)
    whole = Snapshot(function)
    problems: list[str] = []
    report: GradientReport | None = None
    contract = _Contract(subject, whole)
    try:
        for check in (contract.writes, contract.shares_memory, contract.rebinds):
            _collect(check, problems)
        try:
            report = check_gradients(function, x, target=target, **options)
        except GradientError as error:
            report = error.report
            problems.append(str(error).split("\n\nTo reproduce:")[0])
        if not any("raised" in problem for problem in problems):
            for check in contract.others():
                _collect(check, problems)
                whole.restore()
    finally:
        whole.restore()
    if problems:
        numbered = "\n".join(f"{i}. {problem}" for i, problem in enumerate(dict.fromkeys(problems), 1))
        lines = snippet("check_function", subject, options)
        raise GradientError(f"{subject.name} breaks its contract:\n{numbered}\n\nTo reproduce:\n\n{lines}", report)
    assert report is not None
    return report


def _collect(check: Callable[[], Iterator[str]], problems: list[str]) -> None:
    try:
        problems.extend(check())
    except GradientError as error:
        problems.append(str(error).split("\n\nTo reproduce:")[0])


@dataclass
class _Trial:
    """One forward and one backward: what went in and what came out."""

    inputs: list[Vector]
    upstream: list[Vector]
    outputs: list[Vector]
    gradients: list[Vector | None]
    params: list[Vector]
    grads: list[Vector]

    def results(self) -> dict[str, Vector]:
        """Copies of all that came out, by name."""
        named = {f"output[{i}]" if len(self.outputs) > 1 else "output": y for i, y in enumerate(self.outputs)}
        named |= {
            f"dObj_dIn[{i}]" if len(self.inputs) > 1 else "dObj_dIn": g for i, g in enumerate(self.gradients) if g is not None
        }
        named |= {f"gradient {i}" if len(self.grads) > 1 else "the gradient": g for i, g in enumerate(self.grads)}
        return {name: np.array(array, np.float64) for name, array in named.items()}


class _Contract:
    """The checks, each a generator of complaints; each begins in the state in which the function was handed over."""

    def __init__(self, subject: Subject, start: Snapshot) -> None:
        self.subject, self.start, self.name = subject, start, subject.name

    def others(self) -> list[Callable[[], Iterator[str]]]:
        """All checks that take right shapes for granted."""
        checks = [self.adds, self.adds_twice, self.latest_forward, self.earlier_results, self.is_linear]
        checks += [self.accumulate_grads, self.precision, self.layouts, self.batches, self.dtypes, self.copies]
        return checks

    # --- one forward and backward ---

    def trial(self, subject: Subject, inputs: list[Vector] | None = None, *, seed: int = 1, fresh: bool = True) -> _Trial:
        """Forward and backward on copies of the inputs (their layout kept), with all gradients 0 before."""
        if fresh:
            self.start.restore()
        inputs = _copies(subject.inputs) if inputs is None else inputs
        params, grads = subject.params_and_grads()
        for grad in grads:
            grad[...] = 0
        outputs, out = subject.forward(inputs)
        u = self.upstream(subject, outputs, seed)
        gradients = subject.backward(u, out)
        params, grads = subject.params_and_grads()
        return _Trial(inputs, u, outputs, gradients, params, grads)

    def upstream(self, subject: Subject, outputs: list[Vector], seed: int) -> list[Vector]:
        flat = upstream(subject, sum(y.size for y in outputs), np.random.default_rng(seed))
        starts = np.cumsum([0, *(y.size for y in outputs)])
        return [flat[a : a + y.size].reshape(y.shape).astype(y.dtype) for a, y in zip(starts, outputs, strict=False)]

    def differences(self, got: dict[str, Vector], expected: dict[str, Vector], rtol: float = 1e-9) -> str:
        """The first of two results that differ, in words."""
        for name, a in got.items():
            b = expected[name]
            if a.shape != b.shape:
                return f"{name} has shape {a.shape} instead of {b.shape}"
            scale = np.max(np.abs(b[np.isfinite(b)]), initial=0.0)
            if not np.allclose(a, b, rtol=rtol, atol=rtol * scale, equal_nan=True):
                index = np.unravel_index(np.nanargmax(np.abs(a - b)), a.shape) if a.ndim else ()
                return f"{name}{[int(i) for i in index] if index else ''} is {a[index]:.6g} instead of {b[index]:.6g}"
        return ""

    # --- memory ---

    def writes(self) -> Iterator[str]:
        """Complain about written inputs and upstream gradients."""
        inputs = _copies(self.subject.inputs)
        before = [x.copy() for x in inputs]
        self.start.restore()
        target = copy.deepcopy(self.subject.target)
        outputs, out = self.subject.forward(inputs)
        if any(not np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(inputs, before, strict=True)):
            yield f"{self.name}.compute_forward writes to its input; compute on a copy, or without out= and += on x"
        u = self.upstream(self.subject, outputs, seed=1)
        u_before, y_before = _copies(u), _copies(outputs)
        inputs = [x.copy() for x in before]
        self.subject.backward(u, out)
        if any(not np.array_equal(a, b) for a, b in zip(u, u_before, strict=True)):
            yield f"{self.name}.compute_backward writes to dObj_dOut; the Function above may still need it"
        if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(outputs, y_before, strict=True)):
            yield f"{self.name}.compute_backward writes to the output that forward returned"
        if target is not None and not np.array_equal(target, self.subject.target):
            yield f"{self.name} writes to its target"
        trial = self.trial(self.subject)
        if any(not np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(trial.inputs, before, strict=True)):
            yield f"{self.name}.compute_backward writes to the input of the forward"

    def shares_memory(self) -> Iterator[str]:
        """Complain about gradients that are views of something else."""
        trial = self.trial(self.subject)
        names = self.subject.param_names(trial.params)
        gradients = [(f"the gradient of {n}", g) for n, g in zip(names, trial.grads, strict=True)]
        gradients += [
            (f"dObj_dIn of {n}", g) for n, g in zip(self.subject.input_names, trial.gradients, strict=True) if g is not None
        ]
        others = [("the input", x) for x in trial.inputs] + [("dObj_dOut", u) for u in trial.upstream]
        others += [("the output", y) for y in trial.outputs] + [
            (f"parameter {n}", p) for n, p in zip(names, trial.params, strict=True)
        ]
        for i, (name, gradient) in enumerate(gradients):
            for other, array in gradients[:i] + others:
                if array is not gradient and _overlap(gradient, array):
                    yield f"{self.name}: {name} shares memory with {other}; return a fresh array (.copy())"
                elif array is gradient:
                    yield f"{self.name}: {name} is the same array as {other}; return a fresh array (.copy())"

    def rebinds(self) -> Iterator[str]:
        """Complain about parameters and gradients that are other objects after backward than before."""
        self.start.restore()
        before = self.subject.params_and_grads()
        again = self.subject.params_and_grads()
        self.trial(self.subject, fresh=False)
        after = self.subject.params_and_grads()
        names = self.subject.param_names(before[0])
        for what, old, second, new in zip(("parameter", "gradient of"), before, again, after, strict=True):
            if len(old) != len(new):
                yield f"{self.name}: get_params_and_grads returned {len(old)} arrays before backward and {len(new)} after it"
                continue
            for name, a, b, c in zip(names, old, second, new, strict=True):
                if a is not b:
                    yield f"{self.name}: get_params_and_grads makes a new array for the {what} {name} at every call"
                elif a is not c:
                    yield (
                        f"{self.name}: backward rebinds the {what} {name} to another array, of which an optimizer knows nothing; "
                        f"write grad_{name} += ..., in place"
                    )

    def earlier_results(self) -> Iterator[str]:
        """Complain about results of one call that a later call changes."""
        first = self.trial(self.subject)
        held = [*first.outputs, *(g for g in first.gradients if g is not None)]
        before = _copies(held)
        self.trial(self.subject, self.other_inputs(), seed=2, fresh=False)
        for i, (a, b) in enumerate(zip(held, before, strict=True)):
            if not np.array_equal(a, b, equal_nan=True):
                what = "output" if i < len(first.outputs) else "dObj_dIn"
                yield f"{self.name}: a later call writes to an {what} that was returned earlier; return a fresh array each time"

    def other_inputs(self) -> list[Vector]:
        """Inputs of the same shapes with the same numbers in another order."""
        return [np.flip(x).copy() for x in self.subject.inputs]

    # --- accumulation and state ---

    def adds(self) -> Iterator[str]:
        """Complain where backward overwrites gradients instead of adding to them."""
        if not self.subject.params_and_grads()[0]:
            return
        expected = [g.copy() for g in self.trial(self.subject).grads]
        self.start.restore()
        _, grads = self.subject.params_and_grads()
        outputs, out = self.subject.forward(_copies(self.subject.inputs))
        rng = np.random.default_rng(3)
        noise = [rng.normal(size=g.shape) * max(1.0, float(np.max(np.abs(g), initial=0.0))) for g in expected]
        for grad, n in zip(grads, noise, strict=True):
            grad[...] = n
        self.subject.backward(self.upstream(self.subject, outputs, seed=1), out)
        names = self.subject.param_names(self.subject.params_and_grads()[0])
        for name, grad, n, g in zip(names, grads, noise, expected, strict=True):
            if not _close(grad, n + g):
                how = "overwrites" if _close(grad, g) and np.any(g) else "does not add to"
                yield f"{self.name}: backward {how} the gradient of {name}; it must add to what is there: grad_{name} += ..."

    def adds_twice(self) -> Iterator[str]:
        """Complain where a second backward after the same forward does not do the same again."""
        expected = self.trial(self.subject)
        wanted = expected.results()
        self.start.restore()
        _, grads = self.subject.params_and_grads()
        for grad in grads:
            grad[...] = 0
        outputs, out = self.subject.forward(_copies(self.subject.inputs))
        self.subject.backward(self.upstream(self.subject, outputs, seed=1), out)
        try:
            second = self.subject.backward(self.upstream(self.subject, outputs, seed=1), out)
        except GradientError as error:
            yield f"a second backward after the same forward fails, does the first use the cache up? {error}"
            return
        trial = _Trial(expected.inputs, expected.upstream, outputs, second, [], [g / 2 for g in grads])
        if difference := self.differences(trial.results(), wanted):
            yield f"{self.name}: a second backward does something else than the first: {difference}; is the cache changed?"

    def latest_forward(self) -> Iterator[str]:
        """Complain where backward does not refer to the latest forward."""
        wanted = self.trial(self.subject).results()
        self.trial(self.subject, self.other_inputs(), seed=2)
        if not self.start.generators_moved():
            again = self.trial(self.subject, fresh=False)
            if difference := self.differences(again.results(), wanted):
                yield f"{self.name}: after another forward and backward the same input gives something else: {difference}"
            self.start.restore()
            self.subject.forward(self.other_inputs())
            again = self.trial(self.subject, fresh=False)
            if difference := self.differences(again.results(), wanted):
                yield f"{self.name}: after two forwards, backward does not refer to the later one: {difference}"

    def is_linear(self) -> Iterator[str]:
        """Complain where backward is not linear in dObj_dOut."""
        if self.subject.target is not None:
            return
        self.start.restore()

        def gradients(u: list[Vector]) -> dict[str, Vector]:
            self.start.restore()
            _, grads = self.subject.params_and_grads()
            for grad in grads:
                grad[...] = 0
            outputs, out = self.subject.forward(_copies(self.subject.inputs))
            found = self.subject.backward([a.astype(y.dtype) for a, y in zip(u, outputs, strict=True)], out)
            results = _Trial(self.subject.inputs, [], [], found, [], grads).results()
            return {name: array.copy() for name, array in results.items()}

        outputs, _ = self.subject.forward(_copies(self.subject.inputs))
        u, v = (self.upstream(self.subject, outputs, seed) for seed in (1, 2))
        for factor in (-3.0, 1000.0):
            of_u, of_v = gradients(u), gradients(v)
            of_both = gradients([a + factor * b for a, b in zip(u, v, strict=True)])
            expected = {name: of_u[name] + factor * of_v[name] for name in of_u}
            if difference := self.differences(of_both, expected, rtol=1e-7):
                yield f"{self.name}: backward is not linear in dObj_dOut: for u + {factor:g} v {difference}"
                return

    def accumulate_grads(self) -> Iterator[str]:
        """Complain where `accumulate_grads` does something else to the gradients than `compute_backward`."""
        if not hasattr(self.subject.function, "accumulate_grads") or self.subject.several or self.subject.target is not None:
            return
        wanted = [g.copy() for g in self.trial(self.subject).grads]
        self.start.restore()
        _, grads = self.subject.params_and_grads()
        for grad in grads:
            grad[...] = 0
        outputs, _ = self.subject.forward(_copies(self.subject.inputs))
        self.subject.function.accumulate_grads(self.upstream(self.subject, outputs, seed=1)[0])
        for name, got, g in zip(self.subject.param_names(self.subject.params_and_grads()[0]), grads, wanted, strict=True):
            if not _close(got, g):
                yield f"{self.name}: accumulate_grads adds something else to the gradient of {name} than compute_backward"

    # --- kinds of input ---

    def precision(self) -> Iterator[str]:
        """Complain about results narrower than the input, and about a float32 library Function that widens."""
        trial = self.trial(self.subject)
        if any(x.dtype.kind == "f" for x in trial.inputs):
            for what, arrays in (("the output", trial.outputs), ("dObj_dIn", trial.gradients)):
                narrow = [a.dtype for a in arrays if a is not None and a.dtype.itemsize < 8]
                if narrow:
                    yield f"{self.name}: {what} is {narrow[0]} for a float64 input; something in it is narrower"
        function = self.subject.function
        if not (isinstance(function, Function) and type(function).__module__.startswith("pancake.")):
            return
        narrow_one = copy.deepcopy(function).astype(np.float32)
        subject = Subject(narrow_one, self.subject.template, self.subject.target)
        single = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in subject.inputs]
        outputs, out = subject.forward(single)
        gradients = subject.backward(
            [u.astype(y.dtype) for u, y in zip(self.upstream(subject, outputs, 1), outputs, strict=True)], out
        )
        for what, arrays in (("the output", outputs), ("dObj_dIn", gradients), ("a gradient", subject.params_and_grads()[1])):
            wide = [a.dtype for a in arrays if a is not None and a.dtype != np.float32]
            if wide:
                yield f"{self.name}: in float32 {what} is {wide[0]}"

    def layouts(self) -> Iterator[str]:
        """Complain where the memory layout of input or upstream gradient changes the result."""
        wanted = self.trial(self.subject).results()
        for layout, change in _LAYOUTS.items():
            trial = self.trial(self.subject, [change(x) for x in self.subject.inputs])
            if difference := self.differences(trial.results(), wanted):
                yield f"{self.name}: with {layout} input {difference}"
            if self.subject.target is None:
                self.start.restore()
                _, grads = self.subject.params_and_grads()
                for grad in grads:
                    grad[...] = 0
                outputs, out = self.subject.forward(_copies(self.subject.inputs))
                u = [change(a) for a in self.upstream(self.subject, outputs, seed=1)]
                found = self.subject.backward(u, out)
                trial = _Trial(self.subject.inputs, u, outputs, found, [], grads)
                if difference := self.differences(trial.results(), wanted):
                    yield f"{self.name}: with {layout} dObj_dOut {difference}"

    def batches(self) -> Iterator[str]:
        """Complain where another batch size gives wrong gradients, or the same function cannot go from one to the other."""
        size = self.subject.batch()
        if size is None:
            return
        for wanted_size in (size + 1, 1):
            inputs = [_with_rows(x, size, wanted_size) for x in self.subject.inputs]
            target = None if self.subject.target is None else _with_rows(np.asarray(self.subject.target), size, wanted_size)
            other = self.subject.with_inputs(inputs, target)
            self.start.restore()
            try:
                other.forward(_copies(inputs))
            except GradientError:
                continue  # this function is made for one batch size, and says so
            self.start.restore()
            try:
                check_gradients(self.subject.function, other.template, target=other.target)
            except GradientError as error:
                yield f"with a batch of {wanted_size} instead of {size}: {str(error).split(chr(10))[0]}"
                continue
            expected = self.trial(other).results()
            if self.start.generators_moved():
                continue
            self.trial(self.subject)
            try:
                again = self.trial(other, fresh=False).results()
            except GradientError as error:
                yield f"{self.name}: after a batch of {size}, a batch of {wanted_size} fails: {error}"
                continue
            if difference := self.differences(again, expected):
                yield f"{self.name}: after a batch of {size}, a batch of {wanted_size} gives something else: {difference}"

    def dtypes(self) -> Iterator[str]:
        """Complain where float32 or integer input gives something quite different from the same numbers in float64."""
        for dtype in (np.float32, np.int64):
            changed = [
                np.rint(x).astype(dtype) if dtype is np.int64 and x.dtype.kind == "f" else _narrow(x, dtype)
                for x in self.subject.inputs
            ]
            exact = [
                x.astype(np.float64) if x0.dtype.kind == "f" else x for x, x0 in zip(changed, self.subject.inputs, strict=True)
            ]
            try:
                expected = self.trial(self.subject, exact).results()
                subject = Subject(self.subject.function, self.subject.template, self.subject.target)
                self.start.restore()
                _, grads = subject.params_and_grads()
                for grad in grads:
                    grad[...] = 0
                outputs, out = subject.forward(changed)
                u = self.upstream(subject, outputs, 1)
                found = subject.backward(u, out)
            except GradientError:
                continue  # refusing is allowed
            got = _Trial(changed, u, outputs, found, [], grads).results()
            if all(np.isfinite(a).all() for a in expected.values()) and (difference := self.differences(got, expected, rtol=0.1)):
                yield f"{self.name}: with {np.dtype(dtype)} input {difference}"

    # --- copies ---

    def copies(self) -> Iterator[str]:
        """Complain about copies and pickles that are not independent equals."""
        self.start.restore()
        function = self.subject.function
        wanted = self.trial(self.subject).results()
        self.start.restore()
        try:
            yield from self.copied("deepcopy", copy.deepcopy(function), wanted)
        except Exception as error:
            if isinstance(error, GradientError):
                raise
            yield f"{self.name}: copy.deepcopy raised {type(error).__name__}: {error}"
        self.start.restore()
        try:
            data = pickle.dumps(function)
        except Exception as error:
            if not any(said in str(error) for said in ("local", "attribute lookup", "not the same object", "not found as")):
                yield f"{self.name}: pickle raised {type(error).__name__}: {error}"
            return
        yield from self.copied("pickle", pickle.loads(data), wanted)

    def copied(self, how: str, twin: Any, wanted: dict[str, Vector]) -> Iterator[str]:
        """Compare a copy with the original, before and after the parameters of both have changed alike."""
        other = Subject(twin, self.subject.template, self.subject.target)
        mine, theirs = self.subject.params_and_grads(), other.params_and_grads()
        for a in (*mine[0], *mine[1]):
            for b in (*theirs[0], *theirs[1]):
                if _overlap(a, b):
                    yield f"{self.name}: a {how} shares memory with the original; training one would change the other"
                    return
        if difference := self.differences(self.trial(other, fresh=False).results(), wanted):
            yield f"{self.name}: a {how} gives something else than the original: {difference}"
            return
        self.start.restore()
        for params in (self.subject.params_and_grads()[0], other.params_and_grads()[0]):
            for p in params:
                p *= 1.25
        if self.start.generators_moved() or Snapshot(twin).generators_moved():
            return
        twin_start = Snapshot(twin)
        expected = self.trial(self.subject, fresh=False).results()
        if twin_start.generators_moved() or self.start.generators_moved():
            return
        if difference := self.differences(self.trial(other, fresh=False).results(), expected):
            yield f"{self.name}: a {how} does not compute with the parameters that it lists: {difference}"


def _copies(arrays: list[Vector]) -> list[Vector]:
    """Copies of the same memory layout."""
    return [a.copy(order="K") for a in arrays]


def _close(a: Vector, b: Vector) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-9 * np.max(np.abs(b), initial=0.0), equal_nan=True))


def _overlap(a: Vector, b: Vector) -> bool:
    if not a.size or not b.size or not np.may_share_memory(a, b):
        return False
    return bool(np.shares_memory(a, b))


def _strided(x: Vector) -> Vector:
    """The same numbers as every other one of a larger array."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype) if x.ndim else x.copy()
    if not x.ndim:
        return wide
    wide[..., ::2] = x
    return wide[..., ::2]


_LAYOUTS: dict[str, Callable[[Vector], Vector]] = {
    "Fortran-ordered": lambda x: np.array(x, order="F"),
    "strided": _strided,
    "reversed": lambda x: x[::-1].copy()[::-1] if x.ndim else x.copy(),
}


def _with_rows(x: Vector, size: int, wanted: int) -> Vector:
    if not x.ndim or len(x) != size:
        return x
    return x[:wanted].copy() if wanted <= size else np.concatenate([x, x[: wanted - size]])


def _narrow(x: Vector, dtype: Any) -> Vector:
    return x.astype(dtype) if x.dtype.kind == "f" else x
