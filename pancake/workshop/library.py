"""The judge of the library's classes as exercises: by the checker, and for a forward or a step beside the library's own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.functions.dropout import Dropout
from pancake.losses.loss import Loss
from pancake.optimizers.optimizer import Optimizer
from pancake.workshop.exercises import EXERCISES
from pancake.workshop.judging import compare, contract, gradients, uniform
from pancake.workshop.verdicts import Wrong


def judge_of(exercise: str) -> Callable[[Any], None]:
    """The judge of an exercise: of a lesson, or as `blank` has named it, "pancake.LayerNorm --forward"."""
    if exercise in EXERCISES:
        return EXERCISES[exercise].judge
    from pancake.workshop.blanks import named  # which needs hypothesis, and the lessons do not

    name, _, option = exercise.partition(" ")
    cls = named(name)
    return lambda solution: judge_class(cls, solution, forward=option == "--forward")


def name_of(exercise: str) -> str:
    """The name that a solution has in its file: "LayerNorm" for "pancake.LayerNorm --forward"."""
    return exercise.partition(" ")[0].rpartition(".")[2]


def judge_class(cls: type[Any], solution: Any, *, forward: bool = False) -> None:
    """Judge a class that a participant has completed.

    Parameters
    ----------
    cls : type
        The library's own.
    solution : type
    forward : bool
        Whether the forward was left out, which is then compared with the library's.
    """
    if not isinstance(solution, type):
        raise Wrong(f"expected a class {cls.__name__}, got {type(solution).__name__}")
    if issubclass(cls, Optimizer):
        _optimizer(cls, solution)
        return
    from pancake.workshop.examples import examples_of

    judge_examples(cls, examples_of(cls, solution), forward=forward)


def judge_examples(cls: type[Any], drawn: list[Any], *, forward: bool = False) -> None:
    """Judge instances (function, x, target) of what is to be like a class of the library."""
    if forward:
        for function, x, target in drawn:
            _forward(cls, function, x, target)
    for function, x, target in drawn:
        gradients(function, x, target=target)
    for function, x, target in drawn:
        contract(function, x, target=target, ignore=(), max_entries=64)


def _forward(cls: type[Any], function: Any, x: Any, target: Any) -> None:
    """Compare a forward with that of the library, and what it leaves behind, such as running means."""
    reference, ours = copy.deepcopy(function), copy.deepcopy(function)
    inner = getattr(reference, "part", getattr(reference, "loss", reference))
    inner.__class__ = cls
    given: tuple[Any, ...] = x if isinstance(x, tuple) and hasattr(reference, "init_state") else (x,)
    given = given if target is None else (*given, target)
    wanted = _arrays(reference.compute_forward(*copy.deepcopy(given)))
    got = _arrays(ours.compute_forward(*copy.deepcopy(given)))
    if len(got) != len(wanted):
        raise Wrong(f"compute_forward must return {len(wanted)} arrays, got {len(got)}; is a `return` missing?")
    if cls is Dropout and reference.training and 0 < reference.p < 1:
        _dropped(0.3, solution=type(function))
        return
    for i, (g, w) in enumerate(zip(got, wanted, strict=True)):
        compare(f"compute_forward of {function!r}: y" + (f"[{i}]" if len(got) > 1 else ""), [g], [w])
    if isinstance(function, Function):
        state = ours.state_dict()
        for name, array in reference.state_dict().items():
            compare(f"compute_forward of {function!r}: what it leaves in {name}", [state[name]], [array])
    if isinstance(function, Loss):
        compare(f"compute_forward of {function!r}: divisor", [ours.divisor], [reference.divisor])


def _arrays(result: Any) -> list[Any]:
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in _arrays(part)]
    return [] if result is None else [np.asarray(result, np.float64)]


def _dropped(p: float, solution: Any) -> None:
    """Which entries are dropped is chance; what becomes of an entry, and how often, is not."""
    x = uniform(np.random.default_rng(0), 200, 200)
    y = solution(p, rng=1).compute_forward(x)
    kept = y != 0
    compare("compute_forward: what is kept of x", [np.where(kept, y, 0)], [np.where(kept, x / (1 - p), 0)])
    if abs(kept.mean() - (1 - p)) > 0.02:
        raise Wrong(f"compute_forward: with p={p} it keeps {kept.mean():.1%} of the entries, and should keep {1 - p:.0%}")


# --- optimizers ---

OPTIONS: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "alpha": 0.9}


class _Knobs(Function):
    """Parameters of several shapes, whose gradients are set by hand."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.a, self.grad_a = uniform(rng, 3, 2), np.zeros((3, 2))
        self.b, self.grad_b = uniform(rng, 4), np.zeros(4)


def _optimizer(cls: type[Any], solution: type[Any]) -> None:
    known = inspect.signature(cls).parameters
    options = {name: value for name, value in OPTIONS.items() if name in known}
    several: list[dict[str, Any]] = [{}, *({name: value} for name, value in options.items()), options]
    if "nesterov" in known:
        several += [{**options, "nesterov": True}, {"momentum": 0.5, "nesterov": True}]
    for given in several:
        _steps(cls, solution, given)


def _steps(cls: type[Any], solution: type[Any], given: dict[str, Any]) -> None:
    ours, reference = _Knobs(), _Knobs()
    optimizers = solution(ours, lr=0.1, **given), cls(reference, lr=0.1, **given)
    arrays = ours.get_params_and_grads()
    rng = np.random.default_rng(1)
    call = f"{cls.__name__}({', '.join(['model', 'lr=0.1', *(f'{k}={v}' for k, v in given.items())])})"
    for number in range(1, 6):
        optimizers[0].lr = optimizers[1].lr = 0.1 / number
        for name in ("grad_a", "grad_b"):
            g = uniform(rng, *getattr(ours, name).shape)
            getattr(ours, name)[...] = getattr(reference, name)[...] = g
        for optimizer in optimizers:
            optimizer.step()
        before = [ours.grad_a, ours.grad_b], [reference.grad_a, reference.grad_b]
        for found, wanted in zip(*before, strict=True):
            if not np.array_equal(found, wanted):
                raise Wrong(f"{call}: step changes the gradients; compute in `work` or in new arrays")
        if any(p is not q for p, q in zip(ours.get_params_and_grads()[0], arrays[0], strict=True)):
            raise Wrong(f"{call}: step puts a new array in the place of a parameter; change p in place")
        compare(f"{call}: the parameter after step {number}", [ours.a, ours.b], [reference.a, reference.b], rtol=1e-9)
