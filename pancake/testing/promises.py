"""What forward and backward promise about memory, gradients and state: generators of complaints.

Each begins in the state in which the function was handed over.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pancake.arguments import aligned
from pancake.testing.subject import GradientError, Vector
from pancake.testing.trials import Trials, copies, same


def writes_nothing(trials: Trials) -> Iterator[str]:
    """Complain about written inputs, parameters, upstream gradients and outputs."""
    subject = trials.subject
    forward, backward = subject.call("compute_forward"), subject.call("compute_backward")
    inputs = copies(subject.inputs)
    before = copies(inputs)
    trials.start.restore()
    params, grads = subject.params_and_grads()
    names = subject.param_names(params)
    named = [*zip(names, params, strict=True), *((f"grad_{name}", g) for name, g in zip(names, grads, strict=True))]
    held = copies([a for _, a in named])
    outputs, out = subject.forward(inputs)
    forward_writes = not same(inputs, before)
    if forward_writes:
        yield f"{forward} writes to its input; compute on a copy, or without out= and += on x"
    for (name, array), content in zip(named, held, strict=True):
        if not same([array], [content]):
            yield f"{forward} writes to {name}; only optimizers change parameters, and only backward gradients"
    held = copies(params)
    u = trials.upstream(outputs, seed=1)
    u_before, y_before, x_before = copies(u), copies(outputs), copies(inputs)
    subject.backward(u, out)
    if not same(u, u_before):
        yield f"{backward} writes to dObj_dOut; the Function above may still need it"
    if not same(outputs, y_before):
        yield f"{backward} writes to the output that forward returned"
    elif not same(inputs, x_before):
        yield f"{backward} writes to the input of the forward"
    locked = [("its input", inputs), ("dObj_dOut", u), ("its target", [] if subject.target is None else [subject.handed_out])]
    for what, arrays in locked:
        if not all(a.flags.writeable for a in arrays):
            yield f"{trials.name} makes {what} read-only for everybody; set flags.writeable of a copy, or of a view, x.view()"
    for name, array, content in zip(names, params, held, strict=True):
        if not same([array], [content]):
            yield f"{backward} writes to {name}; only optimizers change parameters"
    if subject.target is not None and not same([subject.handed_out], [subject.target]):
        yield f"{trials.name} writes to its target"


def shares_no_memory(trials: Trials) -> Iterator[str]:
    """Complain about outputs and gradients that are, or are views of, something else."""
    trial = trials.run()
    params, _ = trials.subject.params_and_grads()
    names = trials.subject.param_names(params)
    gradients = [(f"grad_{name}", g) for name, g in zip(names, trial.grads, strict=True)]
    gradients += [
        (f"dObj_d{'In' if name == 'x' else name}", g)
        for name, g in zip(trials.subject.input_names, trial.gradients, strict=True)
        if g is not None
    ]
    given = [("the input", x) for x in trial.inputs]
    held = list(zip(names, params, strict=True))
    others = given + [("dObj_dOut", u) for u in trial.upstream] + [("the output", y) for y in trial.outputs] + held
    outputs = [("the output of forward", y) for y in trial.outputs]
    pairs = [(a, b) for a in outputs for b in given + held]
    pairs += [(a, b) for i, a in enumerate(gradients) for b in gradients[:i] + others]
    for (name, array), (other, theirs) in pairs:
        if theirs is array or overlap(array, theirs):
            how = "is the same array as" if theirs is array else "shares memory with"
            cure = "give each parameter an array of its own" if name.startswith("grad_") else "return a fresh array (.copy())"
            yield f"{trials.name}: {name} {how} {other}; {cure}"


def rebinds_nothing(trials: Trials, gradients_too: bool) -> Iterator[str]:
    """Complain about parameters, and gradients if these too, that are other objects after a call than before."""
    subject = trials.subject
    trials.start.restore()
    before, again = subject.params_and_grads(), subject.params_and_grads()
    outputs, out = subject.forward(copies(subject.inputs))
    between = subject.params_and_grads()
    subject.backward(trials.upstream(outputs, seed=1), out)
    after = subject.params_and_grads()
    names = subject.param_names(before[0])
    for what, *arrays in list(zip(("parameter ", "grad_"), before, again, between, after, strict=True))[: 1 + gradients_too]:
        if len(arrays[0]) != len(arrays[-1]):
            first, last = len(arrays[0]), len(arrays[-1])
            yield f"{trials.name}: get_params_and_grads returned {first} arrays before backward and {last} after it"
            continue
        for name, a, second, b, c in zip(names, *arrays, strict=True):
            lost = "to another array, of which an optimizer knows nothing"
            if a is not second:
                yield f"{trials.name}: get_params_and_grads makes a new array for {what}{name} at every call"
            elif a is not b:
                yield f"{trials.name}: forward rebinds {what}{name} {lost}; compute with a local variable, and leave self.{name}"
            elif a is not c:
                yield f"{trials.name}: backward rebinds {what}{name} {lost}; write grad_{name} += ..., in place"


def draws_from_its_own_generator(trials: Trials) -> Iterator[str]:
    """Complain about NumPy's and Python's global generators."""
    trials.run()
    if name := trials.start.global_generator_moved():
        yield f"{trials.name} draws from {name}; draw from a numpy.random.Generator that is an attribute"


def keeps_results(trials: Trials) -> Iterator[str]:
    """Complain about results of one call that a later call changes."""
    first = trials.run()
    held = {"an output": first.outputs, "a dObj_dIn": [g for g in first.gradients if g is not None]}
    before = {what: copies(arrays) for what, arrays in held.items()}
    trials.run(trials.other_inputs(), seed=2, fresh=False)
    for what, arrays in held.items():
        if not same(arrays, before[what]):
            yield f"{trials.name}: a later call writes to {what} that was returned earlier; return a fresh array each time"


def adds(trials: Trials) -> Iterator[str]:
    """Complain where backward overwrites gradients, or `accumulate_grads` adds something else than backward."""
    params, _ = trials.subject.params_and_grads()
    expected = copies(trials.run().grads)
    rng = np.random.default_rng(3)
    noise = [rng.normal(size=g.shape) * max(1.0, float(np.max(np.abs(g), initial=0.0))) for g in expected]
    got = copies(trials.run(noise=noise).grads)
    overwritten = set()
    for name, grad, n, g in zip(trials.subject.param_names(params), got, noise, expected, strict=True):
        if not trials.close(grad, n + g):
            overwritten.add(name)
            how = "overwrites" if trials.close(grad, g) and np.any(g) else "does not add to"
            yield f"{trials.name}: backward {how} grad_{name}; it must add to what is there: grad_{name} += ..."
    if not hasattr(trials.subject.function, "accumulate_grads") or trials.subject.target is not None:
        return
    if len(trials.run().upstream) > 1:  # of a cell, which has no such method
        return
    got = copies(trials.run(noise=noise, method="accumulate_grads").grads)
    for name, grad, n, g in zip(trials.subject.param_names(params), got, noise, expected, strict=True):
        if not trials.close(grad, n + g) and name not in overwritten:
            yield f"{trials.name}: accumulate_grads adds something else to grad_{name} than compute_backward"


def adds_twice(trials: Trials, adds: bool) -> Iterator[str]:
    """Complain where a second backward after the same forward does not do the same again.

    `adds` tells whether it is to add to the gradients; else they may also be those of one backward.
    """
    wanted = trials.run().results
    trials.start.rewind()  # and no more: there may have been forwards without a backward before, to which the second could belong
    trials.subject.zero_grads()
    outputs, out = trials.subject.forward(copies(trials.subject.inputs))
    trials.subject.backward(trials.upstream(outputs, seed=1), out)
    try:
        second = trials.subject.backward(trials.upstream(outputs, seed=1), out)
    except GradientError as error:
        yield f"a second backward after the same forward fails; does the first use the cache up? {error}"
        return
    params, grads = trials.subject.params_and_grads()
    results = trials.results(params, outputs, second, grads)
    for name in (f"grad_{name}" for name in trials.subject.param_names(params)):
        if adds or not trials.close(results[name], wanted[name]):
            results[name] = results[name] / 2
    if difference := trials.difference(results, wanted):
        yield f"{trials.name}: a second backward does something else than the first: {difference}; is the cache changed?"


# So often forward and backward are repeated, to find what goes wrong only after some calls.
OFTEN = 12


def refers_to_the_latest_forward(trials: Trials) -> Iterator[str]:
    """Complain where backward does not refer to the latest forward, and where something changes from call to call."""
    wanted = trials.run().results
    trials.run(trials.other_inputs(), seed=2)
    if difference := trials.difference(trials.run(fresh=False).results, wanted):
        yield f"{trials.name}: after another forward and backward the same input gives something else: {difference}"
    trials.start.restore()
    trials.subject.forward(trials.other_inputs())
    if difference := trials.difference(trials.run(fresh=False).results, wanted):
        yield f"{trials.name}: after two forwards, backward does not refer to the later one: {difference}"
    trials.start.restore()
    for times in range(1, OFTEN + 1):
        if difference := trials.difference(trials.run(fresh=False).results, wanted):
            if times > 3:  # else it has been said
                yield f"{trials.name}: forward and backward number {times} give something else than the first: {difference}"
            return


def is_linear(trials: Trials) -> Iterator[str]:
    """Complain where backward is not linear in dObj_dOut: at 0, for parts of it, and for small and large ones."""
    if trials.subject.target is not None:
        return
    trials.start.restore()
    outputs, _ = trials.subject.forward(copies(trials.subject.inputs))
    u, v = (trials.upstream(outputs, seed) for seed in (1, 2))
    of_u, of_v = trials.run(u=u).results, trials.run(u=v).results
    backward = [name for name in of_u if not name.startswith("the output")]
    combinations = [(1.0, -3.0, "u - 3 v"), (1.0, 1e3, "u + 1000 v"), (1e-6, 0.0, "u / 1000000"), (0.0, 0.0, "0")]
    for k, m, said in combinations:
        both = [(k * a + m * b).astype(a.dtype) for a, b in zip(u, v, strict=True)]
        try:
            got = trials.run(u=both).results
        except GradientError as error:
            yield f"with dObj_dOut = {said}, to see whether backward is linear in it: {error}"
            return
        expected = {name: k * of_u[name] + m * of_v[name] for name in backward}
        if difference := _off(trials, got, expected, (k + abs(m) or 1.0) * trials.atol):
            yield f"{trials.name}: backward is not linear in dObj_dOut: for {said}, {difference}"
            return
    for said, kept in (("every other row", _every_other), ("the first row", _the_first), ("every other entry", _entries)):
        part, rest = [kept(a, True) for a in u], [kept(a, False) for a in u]
        try:
            got, other = trials.run(u=part).results, trials.run(u=rest).results
        except GradientError as error:
            yield f"with dObj_dOut that is 0 but for {said}: {error}"
            return
        if difference := _off(trials, {name: got[name] + other[name] for name in backward}, of_u, trials.atol):
            yield (
                f"{trials.name}: backward is not linear in dObj_dOut: for one that is 0 but for {said} and one that is 0 just "
                f"there, together {difference}"
            )
            return


def _off(trials: Trials, got: dict[str, Vector], expected: dict[str, Vector], atol: float) -> str:
    """The first difference where something finite is expected."""
    named = {name: np.where(np.isfinite(expected[name]), got[name], expected[name]) for name in expected if name in got}
    backward = {name: array for name, array in named.items() if not name.startswith("the output")}
    return trials.difference(backward, expected, atol=atol)


def _every_other(a: Vector, kept: bool) -> Vector:
    rows = (np.arange(len(a)) % 2 == 0) == kept if a.ndim else np.array(kept)
    return a * aligned(rows, a.ndim)


def _the_first(a: Vector, kept: bool) -> Vector:
    rows = (np.arange(len(a)) == 0) == kept if a.ndim else np.array(kept)
    return a * aligned(rows, a.ndim)


def _entries(a: Vector, kept: bool) -> Vector:
    return a * ((np.arange(a.size) % 2 == 0) == kept).reshape(a.shape)


def overlap(a: Vector, b: Vector) -> bool:
    """Whether two arrays share a byte."""
    return bool(a.size and b.size and np.may_share_memory(a, b) and np.shares_memory(a, b))
