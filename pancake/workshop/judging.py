"""What all judges use: comparisons that know the usual mistakes, and the checks of `pancake.testing`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pancake.testing.contract import examine
from pancake.testing.gradients import DEFAULTS, in_double
from pancake.testing.gradients import compare as compare_gradients
from pancake.testing.subject import GradientError
from pancake.workshop.verdicts import Open, Wrong, with_advice

Numbers = NDArray[np.floating[Any]]
# What a solution need not promise to be right: it may compute in any precision, return a view, and draw from where it likes.
IGNORED = ("float32", "randomness", "views", "copies")
CLOSE = 1e-7


def call(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a participant's function; what it returns must be something."""
    result = function(*arguments)
    if result is ...:
        raise Open(f"{what} still returns `...`")
    if result is None:
        raise Wrong(f"{what} returned None; is a `return` missing?")
    return result


def forward(made: Any, x: Numbers) -> Any:
    """What forward returns; it must leave the input alone."""
    given = x.copy()
    result = call("compute_forward", made.compute_forward, given)
    if isinstance(result, list):
        raise Wrong("compute_forward returned a list; return an array")
    if not np.array_equal(given, x):
        raise Wrong("compute_forward writes into x, which whoever made it may still need; compute a new array")
    return result


def array(what: str, result: Any, shape: tuple[int, ...]) -> Numbers:
    """The result as an array of that shape, else an error that says what it is."""
    try:
        numbers = np.asarray(result, np.float64)
    except (TypeError, ValueError):
        wanted = f"an array of shape {shape}" if shape else "a number"
        raise Wrong(f"{what}: expected {wanted}, got {type(result).__name__}") from None
    if numbers.shape != shape and not (numbers.size == 1 and np.prod(shape) == 1):
        raise Wrong(f"{what}: expected shape {shape}, got {numbers.shape}")
    return numbers.reshape(shape)


def compare(
    what: str,
    got: Sequence[ArrayLike],
    wanted: Sequence[ArrayLike],
    causes: Mapping[str, Sequence[ArrayLike]] | None = None,
    rtol: float = CLOSE,
    only_known: bool = False,
) -> None:
    """Compare arrays from several trials with what they should be; if they differ, say where and why.

    Parameters
    ----------
    what : str
        The name of the array.
    got, wanted : sequence of array_like
        One from each trial.
    causes : mapping of str to sequence of array_like, optional
        Sentences, each with the arrays that would come out of the mistake that it names.
    rtol : float
        How large a difference may be, relative to the largest entry.
    only_known : bool
        Whether to complain only of what has one of the causes, and to leave all else to the checker.
    """
    if any(getattr(g, "dtype", None) in (np.float32, np.float16) for g in got):
        rtol = max(rtol, 1e-4)  # in such numbers nobody can be more precise
    found = [array(what, g, np.shape(w)) for g, w in zip(got, wanted, strict=True)]
    right = [np.asarray(w, np.float64) for w in wanted]
    for g, w in zip(found, right, strict=True):
        if _close(g, w, rtol):
            continue
        off = np.where(np.isfinite(g), np.abs(g - w), np.inf)
        index = np.unravel_index(int(np.argmax(off)), off.shape)
        place = f"[{', '.join(map(str, index))}]" if g.ndim else ""
        why = _cause(found, right, causes or {}, rtol)
        if only_known and why not in (causes or {}):
            return
        raise Wrong(f"{what}{place} is {g[index]:.6g}, and should be {w[index]:.6g}{f'; {why}' if why else ''}")


def _close(a: Numbers, b: Numbers, rtol: float) -> bool:
    scale = float(np.max(np.abs(b[np.isfinite(b)]), initial=1e-3))
    return bool(np.allclose(a, b, rtol=0, atol=rtol * scale))


def _cause(got: Sequence[Numbers], wanted: Sequence[Numbers], causes: Mapping[str, Sequence[ArrayLike]], rtol: float) -> str:
    for cause, arrays in causes.items():
        mistaken = [np.asarray(a, np.float64) for a in arrays]
        if all(m.shape == g.shape and _close(g, m, max(rtol, 1e-6)) for g, m in zip(got, mistaken, strict=True)):
            return cause
    flat = np.concatenate([g.ravel() for g in got]), np.concatenate([w.ravel() for w in wanted])
    if not np.isfinite(flat[0]).all():
        return "it is not finite: does it overflow, or divide by 0?"
    if not flat[0].any():
        return "it is 0 everywhere"
    known = np.abs(flat[1]) > 1e-9 * np.abs(flat[1]).max()
    ratios = flat[0][known] / flat[1][known]
    if len(ratios) > 1 and np.allclose(ratios, ratios[0], rtol=1e-6) and not np.isclose(ratios[0], 1):
        return f"constant ratio {ratios[0]:.6g}: " + ("is the sign flipped?" if np.isclose(ratios[0], -1) else "a factor is off")
    return ""


# --- classes ---


def make(cls: Any, *arguments: Any) -> Any:
    """An instance of a participant's class."""
    name = getattr(cls, "__name__", "it")
    if not isinstance(cls, type):
        raise Wrong(f"expected a class, got {type(cls).__name__} {name}")
    try:
        inspect.signature(cls).bind(*arguments)
    except TypeError as error:
        raise Wrong(f"{name}{arguments} cannot be made: {error}; leave the arguments of __init__ as they are") from None
    except ValueError:  # a class without a signature
        pass
    made = cls(*arguments)
    for method in ("compute_forward", "compute_backward"):
        if not callable(getattr(made, method, None)):
            raise Wrong(f"{name} has no method {method}")
    return made


def parameters(thing: Any) -> tuple[list[Numbers], list[Numbers]]:
    """Parameters and gradients, two lists of arrays as long as each other."""
    name = type(thing).__name__
    if not hasattr(thing, "get_params_and_grads"):
        raise Wrong(f"{name} has no get_params_and_grads; derive it from pancake.Function, or return two lists")
    found = call(f"{name}.get_params_and_grads", thing.get_params_and_grads)
    try:
        params, grads = map(list, found)
    except (TypeError, ValueError):
        raise Wrong(f"{name}.get_params_and_grads must return two lists, the parameters and their gradients") from None
    if len(params) != len(grads):
        raise Wrong(f"{name}.get_params_and_grads returned {len(params)} parameters and {len(grads)} gradients")
    for p, g in zip(params, grads, strict=True):
        if not (isinstance(p, np.ndarray) and isinstance(g, np.ndarray)):
            got = f"{type(p).__name__} and {type(g).__name__}"
            raise Wrong(f"{name}: a parameter and its gradient must be arrays, which can be changed in place; got {got}")
        if p.shape != g.shape:
            raise Wrong(f"{name}: a gradient has shape {g.shape}, its parameter {p.shape}")
    return params, grads


def gradients(function: Any, x: Any, *, target: Any = None) -> None:
    """Check the gradients; raise `Wrong` with the one of which most is known."""
    subject, _ = in_double(function, x, target)
    try:
        report = compare_gradients(subject, DEFAULTS)
    except GradientError as error:
        raise Wrong(plain(str(error))) from None
    for complaint in report.complaints():
        raise Wrong(plain(complaint))


def contract(function: Any, x: Any, *, target: Any = None, ignore: Sequence[str] = IGNORED, max_entries: int = 400) -> None:
    """Check the gradients, and then the rest of the contract; raise `Wrong` with what is found first."""
    gradients(function, x, target=target)
    subject, narrow = in_double(function, x, target)
    problems, _ = examine(subject, {**DEFAULTS, "max_entries": max_entries}, tuple(ignore), narrow)
    for problem in problems:
        # A gradient that is a new array after each backward, and has been added to, trains as well as any; and whole numbers
        # are not what nets are trained with.
        if not (ignore and re.search(r"backward rebinds grad_|: with int\d+ input ", problem)):
            raise Wrong(plain(problem))


def apart(make_one: Callable[[], Any], inputs: Sequence[Any], backward: Sequence[Any] = ()) -> None:
    """Use two instances in turn, as two layers of a stack are: each must go on with what its own forward has seen.

    Parameters
    ----------
    make_one : callable
    inputs : sequence of two arrays, or of two tuples of them
        What forward is called with.
    backward : sequence of two tuples, optional
        What backward is called with; else one gradient for each output.
    """
    both = [make_one(), make_one()]
    rng = np.random.default_rng(2)
    given = [x if isinstance(x, tuple) else (x,) for x in inputs]

    def knobs(i: int) -> tuple[list[Numbers], list[Numbers]]:  # as they are now: a backward may put in new gradients
        return parameters(both[i]) if hasattr(both[i], "get_params_and_grads") else ([], [])

    for i in range(2):
        for p in knobs(i)[0]:
            p[...] = uniform(rng, *p.shape) * 0.6
    if any(np.shares_memory(a, b) for ours, theirs in zip(knobs(0), knobs(1), strict=True) for a in ours for b in theirs):
        raise Wrong("two instances share a parameter or a gradient: make the arrays in __init__, one for each")
    name = type(both[0]).__name__

    def forwards(i: int) -> list[Numbers]:
        for g in knobs(i)[1]:
            g[...] = 0
        return _copies(both[i].compute_forward(*(np.copy(x) for x in given[i])))

    def backwards(i: int) -> list[Numbers]:
        d = backward[i] if backward else tuple(uniform(np.random.default_rng(i), *y.shape) for y in outputs[i])
        result = _copies(both[i].compute_backward(*d))
        return result + _copies(knobs(i)[1])

    outputs: list[list[Numbers]] = [[], []]
    alone: list[list[Numbers]] = []
    for i in range(2):
        outputs[i] = forwards(i)
        alone.append(backwards(i))
    if not all(_all_close(forwards(i), outputs[i]) for i in range(2)):
        return  # it draws numbers, and nothing can be compared
    for i in range(2):
        try:
            in_turn = backwards(i)
        except Exception:
            in_turn = []
        if not _all_close(in_turn, alone[i]):
            raise Wrong(
                f"of two {name}s used in turn one goes on with what the other has seen: "
                "what the forward remembers is shared by all instances; keep it in self"
            )


def _copies(result: Any) -> list[Numbers]:
    parts = result if isinstance(result, (tuple, list)) else [result]
    return [np.array(part, np.float64) for part in parts]


def _all_close(a: list[Numbers], b: list[Numbers]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and np.allclose(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def plain(problem: str) -> str:
    """A complaint in one line, with what participants most often need to know."""
    line = " ".join(problem.split())
    return with_advice(line) if " raised " in line else line


def backward_of(made: Any, x: Numbers, dObj_dOut: Numbers) -> tuple[Any, list[Numbers]]:
    """What forward and then one backward return, and leave in the gradients, if that can be had at all."""
    made.compute_forward(x.copy())
    has_knobs = hasattr(made, "get_params_and_grads")
    for grad in parameters(made)[1] if has_knobs else ():
        grad[...] = 0
    result = call("compute_backward", made.compute_backward, dObj_dOut.copy())
    return result, [np.array(g, np.float64) for g in (parameters(made)[1] if has_knobs else ())]


def known_mistakes(what: str, got: Any, wanted: Numbers, causes: Mapping[str, Any]) -> None:
    """Complain of a gradient that comes out as one of the usual mistakes lets it; leave all else to the checker."""
    if np.shape(got) == np.shape(wanted):
        fitting = {said: [a] for said, a in causes.items() if np.shape(a) == np.shape(wanted)}
        compare(what, [got], [wanted], fitting, only_known=True)


def contracts(make_one: Callable[[], Any], inputs: Sequence[Any], *, ignore: Sequence[str] = IGNORED) -> None:
    """Check fresh instances, each on its own input: the whole contract on the first, on the others the gradients."""
    for x in inputs[1:]:
        gradients(make_one(), x)
    contract(make_one(), inputs[0], ignore=ignore)
    apart(make_one, [inputs[0], inputs[0][::-1] * 0.7])


def uniform(rng: np.random.Generator, *shape: int) -> Numbers:
    """Numbers from -2 to 2 with none near 0, where many functions have a kink."""
    return rng.uniform(0.2, 2, shape) * rng.choice([-1.0, 1.0], shape)
