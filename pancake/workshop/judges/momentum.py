"""The judge of lesson 7: an optimizer, by what becomes of parameters whose gradients are set by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.function import Function
from pancake.workshop.judging import Numbers, compare, uniform
from pancake.workshop.verdicts import Wrong


def momentum(cls: Any) -> None:
    """The weights after several steps with random gradients, and what else an optimizer must leave alone."""
    if not isinstance(cls, type):
        raise Wrong(f"expected a class, got {type(cls).__name__}")
    _steps(cls, 0.05, 0.9)
    rng = np.random.default_rng(3)
    first, second = _Knobs(rng), _Knobs(rng)
    optimizers = [cls(first, 0.1, 0.9), cls(second, 0.1, 0.9)]
    before = second.a.copy()
    first.grad_a[...] = second.grad_a[...] = 1.0
    optimizers[0].step()
    if not np.array_equal(second.a, before):
        raise Wrong("a step of one optimizer changes the model of another")
    optimizers[1].step()
    if not np.allclose(second.a, before - 0.1):
        raise Wrong("a second optimizer goes on with the velocities of the first: keep them in self, not in the class")
    for lr, m in ((0.1, 0.0), (0.02, 0.5)):
        _steps(cls, lr, m)


def _steps(cls: Any, lr: float, m: float) -> None:
    rng = np.random.default_rng(0)
    model = _Knobs(rng)
    optimizer = cls(model, lr, m)
    for method in ("zero_grad", "step"):
        if not callable(getattr(optimizer, method, None)):
            raise Wrong(f"Momentum has no method {method}")
    arrays = [model.a, model.b, model.grad_a, model.grad_b]
    _zeroes(optimizer, model, arrays)
    p = [model.a.copy(), model.b.copy()]
    start = [q.copy() for q in p]
    b = [np.zeros_like(q) for q in p]
    history: list[list[Numbers]] = []
    got: list[Numbers] = []
    wanted: list[Numbers] = []
    causes: dict[str, list[Numbers]] = {}
    for _ in range(4):
        g = [uniform(rng, *q.shape) for q in p]
        history.append(g)
        model.grad_a[...], model.grad_b[...] = g
        optimizer.step()
        _kept(model, arrays, "step")
        if not (np.array_equal(model.grad_a, g[0]) and np.array_equal(model.grad_b, g[1])):
            raise Wrong("step changes the gradients; it may read them, and zero_grad alone clears them")
        before, old = [q.copy() for q in p], [v.copy() for v in b]
        for q, v, d in zip(p, b, g, strict=True):
            v *= m
            v += d
            q -= lr * v
        got += [model.a.copy(), model.b.copy()]
        wanted += [q.copy() for q in p]
        for said, arrays_ in _mistakes_of_momentum(before, old, b, [q.copy() for q in p], start, history, lr, m).items():
            causes.setdefault(said, []).extend(arrays_)
        model.a[...], model.b[...] = p  # each step begins at the right place, so that mistakes do not pile up
    compare("the parameter after a step", got, wanted, causes)


def _mistakes_of_momentum(
    before: list[Numbers],
    old: list[Numbers],
    b: list[Numbers],
    p: list[Numbers],
    start: list[Numbers],
    history: list[list[Numbers]],
    lr: float,
    m: float,
) -> dict[str, list[Numbers]]:
    """Where the parameters would be after one step, for each of the usual mistakes."""
    g = history[-1]

    def moved(velocities: list[Numbers]) -> list[Numbers]:
        return [x - lr * v for x, v in zip(before, velocities, strict=True)]

    def summed(weight: Any) -> list[Numbers]:
        n = len(history)
        return [sum(weight(n - 1 - t) * h[i] for t, h in enumerate(history)) for i in range(2)]

    return {
        "nothing has changed: is g added to the velocity, and p changed in place, p -= ...?": before,
        "it goes uphill: b <- m b + g, and p <- p - lr b": moved([-v for v in b]),
        "lr is missing": [x - v for x, v in zip(before, b, strict=True)],
        "this is plain descent, p - lr g: the velocity is not kept from step to step": moved(g),
        "the velocity is the mean m b + (1 - m) g, and should be m b + g": moved(summed(lambda age: (1 - m) * m**age)),
        "the velocity is not damped: b <- m b + g": moved(summed(lambda age: 1.0)),
        "the step is made with the velocity from before: first b, then p": moved(old),
        "the step is taken from where the first step began": [s - lr * v for s, v in zip(start, b, strict=True)],
        "momentum is multiplied with the gradient, and should be with the velocity": moved(summed(lambda age: m)),
        "the first parameter alone is changed": [p[0], before[1]],
        "the last parameter alone is changed": [before[0], p[1]],
        "only the first entry of each array is changed": [np.concatenate([q[:1], x[1:]]) for x, q in zip(before, p, strict=True)],
        "lr comes in twice": moved([lr * v for v in b]),
        "the sign of momentum is flipped: b <- m b + g": moved(summed(lambda age: (-m) ** age)),
        "the velocity is damped by 1 - m, and should be by m": moved(summed(lambda age: (1 - m) ** age)),
        "this is Nesterov's rule, p - lr (g + m b)": moved([d + m * v for d, v in zip(g, b, strict=True)]),
    }


def _zeroes(optimizer: Any, model: _Knobs, arrays: list[Numbers]) -> None:
    rng = np.random.default_rng(1)
    held = model.a.copy(), model.b.copy()
    model.grad_a[...], model.grad_b[...] = uniform(rng, 3, 2), uniform(rng, 4)
    optimizer.zero_grad()
    if not (np.array_equal(model.a, held[0]) and np.array_equal(model.b, held[1])):
        raise Wrong("zero_grad changes the parameters; it should set the gradients to 0")
    _kept(model, arrays, "zero_grad")
    left = [name for name, g in (("first", model.grad_a), ("last", model.grad_b)) if g.any()]
    if len(left) == 2:
        raise Wrong("zero_grad leaves the gradients as they are; set them to 0 in place, g[...] = 0 (g = 0 makes a new name)")
    if left:
        raise Wrong(f"zero_grad leaves the gradient of the {left[0]} parameter as it is")
    model.grad_a[...] = np.nan
    optimizer.zero_grad()
    if model.grad_a.any():
        raise Wrong("zero_grad multiplies by 0, and 0 times nan is nan; assign, g[...] = 0")


def _kept(model: _Knobs, arrays: list[Numbers], method: str) -> None:
    for name, array_ in zip(("a", "b", "grad_a", "grad_b"), arrays, strict=True):
        if getattr(model, name) is not array_:
            raise Wrong(f"{method} puts a new array in the place of {name}; change the one that is there, in place")


# --- the builder ---


class _Knobs(Function):
    """Parameters of several shapes, whose gradients are set by hand."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.a, self.grad_a = uniform(rng, 3, 2), np.zeros((3, 2))
        self.b, self.grad_b = uniform(rng, 4), np.zeros(4)

    def compute_forward(self, x: Any) -> Any:
        return x

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return dObj_dOut
