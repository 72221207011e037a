"""What forward and backward promise about memory, gradients and state: generators of complaints.

Each begins in the state in which the function was handed over.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pancake.testing.subject import GradientError, Vector
from pancake.testing.trials import Trials, copies, same


def writes_nothing(trials: Trials) -> Iterator[str]:
    """Complain about written inputs, upstream gradients and outputs."""
    subject = trials.subject
    inputs = copies(subject.inputs)
    before = copies(inputs)
    trials.start.restore()
    outputs, out = subject.forward(inputs)
    forward_writes = not same(inputs, before)
    if forward_writes:
        yield f"{trials.name}.compute_forward writes to its input; compute on a copy, or without out= and += on x"
    u = trials.upstream(outputs, seed=1)
    u_before, y_before, x_before = copies(u), copies(outputs), copies(inputs)
    subject.backward(u, out)
    if not same(u, u_before):
        yield f"{trials.name}.compute_backward writes to dObj_dOut; the Function above may still need it"
    if not same(outputs, y_before):
        yield f"{trials.name}.compute_backward writes to the output that forward returned"
    elif not same(inputs, x_before):
        yield f"{trials.name}.compute_backward writes to the input of the forward"
    if subject.target is not None and not same([subject.handed_out], [subject.target]):
        yield f"{trials.name} writes to its target"


def shares_no_memory(trials: Trials) -> Iterator[str]:
    """Complain about gradients that are, or are views of, something else."""
    trial = trials.run()
    params, _ = trials.subject.params_and_grads()
    names = trials.subject.param_names(params)
    gradients = [(f"grad_{name}", g) for name, g in zip(names, trial.grads, strict=True)]
    gradients += [
        (f"dObj_d{'In' if name == 'x' else name}", g)
        for name, g in zip(trials.subject.input_names, trial.gradients, strict=True)
        if g is not None
    ]
    others = [("the input", x) for x in trial.inputs] + [("dObj_dOut", u) for u in trial.upstream]
    others += [("the output", y) for y in trial.outputs] + list(zip(names, params, strict=True))
    for i, (name, gradient) in enumerate(gradients):
        for other, array in gradients[:i] + others:
            if array is gradient or overlap(gradient, array):
                how = "is the same array as" if array is gradient else "shares memory with"
                cure = "give each parameter an array of its own" if name.startswith("grad_") else "return a fresh array (.copy())"
                yield f"{trials.name}: {name} {how} {other}; {cure}"


def rebinds_nothing(trials: Trials) -> Iterator[str]:
    """Complain about parameters and gradients that are other objects after backward than before."""
    trials.start.restore()
    before, again = trials.subject.params_and_grads(), trials.subject.params_and_grads()
    trials.run(fresh=False)
    after = trials.subject.params_and_grads()
    names = trials.subject.param_names(before[0])
    for what, old, second, new in zip(("parameter ", "grad_"), before, again, after, strict=True):
        if len(old) != len(new):
            yield f"{trials.name}: get_params_and_grads returned {len(old)} arrays before backward and {len(new)} after it"
            continue
        for name, a, b, c in zip(names, old, second, new, strict=True):
            if a is not b:
                yield f"{trials.name}: get_params_and_grads makes a new array for {what}{name} at every call"
            elif a is not c:
                yield (
                    f"{trials.name}: backward rebinds {what}{name} to another array, of which an optimizer knows nothing; "
                    f"write grad_{name} += ..., in place"
                )


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


def adds_twice(trials: Trials) -> Iterator[str]:
    """Complain where a second backward after the same forward does not do the same again."""
    wanted = trials.run().results
    trials.start.restore()
    trials.subject.zero_grads()
    outputs, out = trials.subject.forward(copies(trials.subject.inputs))
    trials.subject.backward(trials.upstream(outputs, seed=1), out)
    try:
        second = trials.subject.backward(trials.upstream(outputs, seed=1), out)
    except GradientError as error:
        yield f"a second backward after the same forward fails; does the first use the cache up? {error}"
        return
    params, grads = trials.subject.params_and_grads()
    results = trials.results(params, outputs, second, [g / 2 for g in grads])
    if difference := trials.difference(results, wanted):
        yield f"{trials.name}: a second backward does something else than the first: {difference}; is the cache changed?"


def refers_to_the_latest_forward(trials: Trials) -> Iterator[str]:
    """Complain where backward does not refer to the latest forward."""
    wanted = trials.run().results
    trials.run(trials.other_inputs(), seed=2)
    if difference := trials.difference(trials.run(fresh=False).results, wanted):
        yield f"{trials.name}: after another forward and backward the same input gives something else: {difference}"
    trials.start.restore()
    trials.subject.forward(trials.other_inputs())
    if difference := trials.difference(trials.run(fresh=False).results, wanted):
        yield f"{trials.name}: after two forwards, backward does not refer to the later one: {difference}"


def is_linear(trials: Trials) -> Iterator[str]:
    """Complain where backward is not linear in dObj_dOut."""
    if trials.subject.target is not None:
        return
    trials.start.restore()
    outputs, _ = trials.subject.forward(copies(trials.subject.inputs))
    u, v = (trials.upstream(outputs, seed) for seed in (1, 2))
    of_u, of_v = trials.run(u=u).results, trials.run(u=v).results
    backward = [name for name in of_u if not name.startswith("the output")]
    for k, m, said in ((1.0, -3.0, "u - 3 v"), (1.0, 1e3, "u + 1000 v"), (1e-6, 0.0, "u / 1000000")):
        both = trials.run(u=[(k * a + m * b).astype(a.dtype) for a, b in zip(u, v, strict=True)]).results
        expected = {name: k * of_u[name] + m * of_v[name] for name in backward}
        if difference := trials.difference(
            {name: np.where(np.isfinite(expected[name]), both[name], expected[name]) for name in backward},
            expected,
            atol=(k + abs(m)) * trials.atol,
        ):
            yield f"{trials.name}: backward is not linear in dObj_dOut: for {said}, {difference}"
            return


def overlap(a: Vector, b: Vector) -> bool:
    """Whether two arrays share a byte."""
    return bool(a.size and b.size and np.may_share_memory(a, b) and np.shares_memory(a, b))
