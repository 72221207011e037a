"""Writes docs/checkers_compared.md: what several checkers find in the gallery of wrong and right Functions.

    python docs/make_checker_table.py

Run from the root of the repository. torch, JAX and autograd are optional: a checker whose package is not installed is left out,
and the page says so. Each gets what it can take: Functions of one input and one output, differentiated by that input and by the
parameters, all wrapped as the checker wants it.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from gallery import awkward, kinds  # noqa: E402, F401
from gallery.right import RIGHT  # noqa: E402
from gallery.wrong import FAULTS  # noqa: E402

from pancake.testing import check_function, check_gradients  # noqa: E402

PAGE = Path(__file__).parent / "checkers_compared.md"
SEEDS = 10


class Failed(Exception):
    """A checker says that a gradient is wrong."""


def call(function: Any, x: Any, values: list[Any]) -> Any:
    """The output at other parameters."""
    for p, value in zip(function.get_params_and_grads()[0] if values else [], values, strict=True):
        p[...] = value
    return np.array(function.compute_forward(np.array(x)), float)


def product(function: Any, x: Any, values: list[Any], d: Any) -> list[Any]:
    """The gradients of the input and of the parameters, by backward."""
    call(function, x, values)
    for g in function.get_params_and_grads()[1] if values else []:
        g[...] = 0
    dx = function.compute_backward(np.array(d, float))
    grads = function.get_params_and_grads()[1] if values else []
    return [np.array(dx, float), *(g.copy() for g in grads)]


def textbook(function: Any, x: Any, values: list[Any]) -> None:
    """Central differences with h = 1e-5, and a largest relative error of 1e-5: what most repositories have."""
    arrays = [np.array(x, float), *map(np.array, values)]
    u = np.random.default_rng(0).normal(size=call(function, x, values).shape)
    for a, found in zip(arrays, product(function, x, values, u), strict=True):
        for i in range(min(a.size, 500)):
            old = a.flat[i]
            sides = []
            for h in (1e-5, -1e-5):
                a.flat[i] = old + h
                sides.append(float((u * call(function, arrays[0], arrays[1:])).sum()))
            a.flat[i] = old
            n, b = (sides[0] - sides[1]) / 2e-5, found.flat[i]
            if not abs(b - n) <= 1e-5 * max(abs(b), abs(n), 1e-3):
                raise Failed


def of_torch(function: Any, x: Any, values: list[Any]) -> None:
    """torch.autograd.gradcheck, with its defaults."""
    import torch

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            ctx.arrays = [a.detach().numpy().copy() for a in inputs]
            return torch.tensor(call(function, ctx.arrays[0], ctx.arrays[1:]))

        @staticmethod
        def backward(ctx: Any, d: Any) -> Any:
            return tuple(map(torch.tensor, product(function, ctx.arrays[0], ctx.arrays[1:], d.numpy())))

    inputs = tuple(torch.tensor(np.array(a, float), requires_grad=True) for a in (x, *values))
    try:
        torch.autograd.gradcheck(Wrapped.apply, inputs)
    except torch.autograd.gradcheck.GradcheckError:
        raise Failed from None


def of_jax(function: Any, x: Any, values: list[Any]) -> None:
    """jax.test_util.check_grads, reverse mode, first order, with its defaults in double precision."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    shape = jax.ShapeDtypeStruct(call(function, x, values).shape, np.float64)

    @jax.custom_vjp
    def wrapped(*inputs: Any) -> Any:
        return jax.pure_callback(lambda *a: call(function, a[0], list(a[1:])), shape, *inputs)

    def backward(inputs: Any, d: Any) -> Any:
        shapes = tuple(jax.ShapeDtypeStruct(a.shape, np.float64) for a in inputs)
        return jax.pure_callback(lambda d, *a: tuple(product(function, a[0], list(a[1:]), d)), shapes, d, *inputs)

    wrapped.defvjp(lambda *inputs: (wrapped(*inputs), inputs), backward)
    try:
        check_grads(wrapped, tuple(np.array(a, float) for a in (x, *values)), order=1, modes=["rev"])
    except AssertionError:
        raise Failed from None


def of_autograd(function: Any, x: Any, values: list[Any]) -> None:
    """autograd.test_util.check_vjp, with its defaults."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_vjp

    arrays = [np.array(a, float) for a in (x, *values)]
    for k in range(len(arrays)):

        def at(a: Any, k: int = k) -> list[Any]:
            return [*arrays[:k], a, *arrays[k + 1 :]]

        wrapped = primitive(lambda a, at=at: call(function, at(a)[0], at(a)[1:]))
        defvjp(wrapped, lambda y, a, at=at, k=k: lambda d: product(function, at(a)[0], at(a)[1:], d)[k])
        try:
            check_vjp(wrapped, arrays[k])
        except AssertionError:
            raise Failed from None


def of_pancake(check: Callable[..., Any]) -> Callable[[Any, Any, list[Any]], None]:
    def run(function: Any, x: Any, values: list[Any]) -> None:
        try:
            check(function, x)
        except AssertionError:
            raise Failed from None

    return run


CHECKERS: dict[str, tuple[str, Callable[[Any, Any, list[Any]], None]]] = {
    "check_function": ("", of_pancake(check_function)),
    "check_gradients": ("", of_pancake(check_gradients)),
    "central differences": ("", textbook),
    "torch gradcheck": ("torch", of_torch),
    "JAX check_grads": ("jax", of_jax),
    "autograd check_vjp": ("autograd", of_autograd),
}


def suits(function: Any, x: Any, target: Any) -> bool:
    """Whether all checkers can take it: one input of real numbers, one output, no target, not too large."""
    if target is not None or isinstance(x, tuple) or np.asarray(x).dtype.kind != "f" or np.size(x) > 300:
        return False
    try:
        params = function.get_params_and_grads()[0] if hasattr(function, "get_params_and_grads") else []
        y = function.compute_forward(np.array(x))
        return isinstance(y, np.ndarray) and y.dtype == np.float64 and sum(p.size for p in params) < 500
    except Exception:
        return False


def outcome(checker: Callable[[Any, Any, list[Any]], None], function: Any, x: Any) -> bool:
    """Whether the checker complains; an exception is a complaint."""
    params = function.get_params_and_grads()[0] if hasattr(function, "get_params_and_grads") else []
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            checker(function, np.array(x, float), [p.copy() for p in params])
    except Exception:
        return True
    return False


def main() -> None:
    have = {name: run for name, (package, run) in CHECKERS.items() if not package or importlib.util.find_spec(package)}
    left_out = [name for name in CHECKERS if name not in have]
    wrong = {n: f for n, f in FAULTS.items() if isinstance(f.make, type) and suits(f.make(), f.x, f.target)}
    maths = {n: f for n, f in wrong.items() if f.named}
    rows = []
    for title, group in (("wrong gradients", maths), ("other faults", {n: f for n, f in wrong.items() if not f.named})):
        found = {name: sum(outcome(run, f.make(), f.x) for f in group.values()) for name, run in have.items()}
        rows.append(f"| {title} found, of {len(group)} | " + " | ".join(str(found[name]) for name in have) + " |")
        print(rows[-1], flush=True)
    drawn = [d for draw in RIGHT.values() for d in (draw(np.random.default_rng(seed)) for seed in range(SEEDS)) if suits(*d)]
    alarms = {name: sum(outcome(run, function, x) for function, x, _ in drawn) for name, run in have.items()}
    rows.append(f"| false alarms, of {len(drawn)} | " + " | ".join(str(alarms[name]) for name in have) + " |")
    lines = [
        "# Checkers compared",
        "",
        "Made by `python docs/make_checker_table.py`, on the gallery of `tests/gallery`: Functions that are wrong on purpose,",
        "each in one way, and right ones that are awkward (kinks, ties, steep slopes, narrow parts, state). Only those count",
        f"that all checkers can take; the right ones are drawn with {SEEDS} seeds each. A checker that stops with an exception",
        "complains.",
        "",
        "| | " + " | ".join(have) + " |",
        "|---|" + "---|" * len(have),
        *rows,
        "",
        "The gallery was made with pancake's checker at hand, so it is no neutral judge. What the others are not made for",
        "(memory, modes, copies) is in the second row.",
    ]
    if left_out:
        lines += ["", f"Not installed where this was made, and left out: {', '.join(left_out)}."]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
