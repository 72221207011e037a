"""Stacks within a stack, and frozen layers: one program for all, and what people do with the parts."""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.fast.left import Ran

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))


def layers(dtype: Any = np.float64) -> list[Any]:
    return [
        pk.Linear(3, 5, rng=0, dtype=dtype),
        pk.Tanh(),
        pk.LayerNorm(5, dtype=dtype),
        pk.Linear(5, 4, rng=1, dtype=dtype),
        pk.PReLU(4, dtype=dtype),
        pk.Linear(4, 2, rng=2, dtype=dtype),
    ]


S = pk.Sequential
NESTS: dict[str, Callable[[list[Any]], Any]] = {
    "first": lambda f: S([S(f[:2]), *f[2:]]),
    "last": lambda f: S([*f[:3], S(f[3:])]),
    "two": lambda f: S([S(f[:3]), S(f[3:])]),
    "one": lambda f: S([S(f)]),
    "deep": lambda f: S([S([S([f[0]]), S(f[1:3])]), S([S([S(f[3:5])]), f[5]])]),
    "in the middle": lambda f: S([f[0], S(f[1:3]), *f[3:]]),
}
EACH = pytest.mark.parametrize("nest", NESTS)


def both(run: Callable[[], Any], single: bool = False) -> None:
    """Run something with the fast path and without, and compare what it returns, some of it computed in `single` precision."""
    shown = []
    for on in (True, False):
        with contextlib.nullcontext() if on else pk.fast.off():
            shown.append(run())
    for fast, plain in zip(*shown, strict=True):
        if isinstance(plain, str) or plain is None:
            assert fast == plain
        else:
            assert np.asarray(fast).dtype == np.asarray(plain).dtype
            np.testing.assert_allclose(fast, plain, rtol=1e-4 if single else 1e-11, atol=1e-6 if single else 1e-13)


def said(call: Callable[[], Any]) -> str:
    with pytest.raises((RuntimeError, ValueError)) as refused:
        call()
    return str(refused.value)


@EACH
@pytest.mark.parametrize("rows", [1, 6, 3000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_they_train_as_the_flat_stack_does(nest: str, rows: int, dtype: Any) -> None:
    x, y = RNG.normal(size=(rows, 3)).astype(dtype), RNG.normal(size=(rows, 2)).astype(dtype)
    ends = []
    for make in (S, NESTS[nest]):
        for stepwise in (True, False):
            model: Any = make(layers(dtype))
            loss = pk.MeanSquaredError()
            optimizer = pk.Adam(model)
            step = pk.TrainStep(model, loss, optimizer)
            values = []
            for _ in range(3):
                if stepwise:
                    values.append(step(x, y))
                    continue
                optimizer.zero_grad()
                values.append(loss(model(x), y))
                assert type(model._cache) is Ran
                model.accumulate_grads(loss.compute_backward())
                optimizer.step()
            assert not stepwise or step._steps.latest is not None
            ends.append((values, model.state_dict().values(), pk.predict(model, x)))
    rtol = 1e-11 if dtype == np.float64 else 1e-3
    for values, params, pred in ends[1:]:
        np.testing.assert_allclose(values, ends[0][0], rtol=rtol)
        np.testing.assert_allclose(pred, ends[0][2], rtol=rtol, atol=rtol)
        for a, b in zip(params, ends[0][1], strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 10)


def parts(model: Any) -> list[Any]:
    return [part for part in model.walk() if part is not model]


EDITS: dict[str, Callable[[Any], Any]] = {
    "append": lambda s: s.functions.append(pk.Tanh()),
    "insert": lambda s: s.functions.insert(0, pk.Tanh()),
    "pop": lambda s: s.functions.pop() if len(s) > 1 else None,
    "another list": lambda s: setattr(s, "functions", [*s.functions, pk.Sigmoid()]),
    "a user's": lambda s: s.functions.append(Twice()),
    "a method": lambda s: setattr(s, "compute_forward", lambda x: 2 * pk.Sequential.compute_forward(s, x)),
    "a backward": lambda s: setattr(s, "compute_backward", lambda d: 3 * pk.Sequential.compute_backward(s, d)),
    "freeze": lambda s: s.freeze(),
    "eval": lambda s: s.eval(),
    "parameters": lambda s: [p.__imul__(1.5) for p in s.get_params_and_grads()[0]],
    "arrays": lambda s: s.astype(np.float32),
}


class Twice(pk.Function):
    def compute_forward(self, x: Any) -> Any:
        return 2 * x

    def compute_backward(self, d: Any) -> Any:
        return 2 * d


@EACH
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("when", ["before forward", "before backward"])
def test_what_is_done_with_a_stack_in_the_stack_counts(nest: str, edit: str, when: str) -> None:
    count = len([part for part in parts(NESTS[nest](layers())) if isinstance(part, S)])
    for chosen in range(count):

        def run(chosen: int = chosen) -> Any:
            model = NESTS[nest](layers())
            inner: Any = [part for part in parts(model) if isinstance(part, S)][chosen]
            seen: list[Any] = []
            for edited in (False, True, True):
                if edited and when == "before forward" and len(seen) == 2:
                    EDITS[edit](inner)
                seen.append(model(X))
                if edited and when == "before backward" and len(seen) == 3:
                    EDITS[edit](inner)
                try:
                    seen.append(model.compute_backward(np.ones_like(Y)))
                except (RuntimeError, ValueError) as error:
                    seen.append(str(error))
            seen.append(pk.predict(model, X))
            return [*seen, *model.get_params_and_grads()[1]]

        both(run, single=edit == "arrays")


@EACH
@pytest.mark.parametrize("edit", [name for name in EDITS if name not in ("arrays", "eval")])
def test_it_counts_in_the_next_step(nest: str, edit: str) -> None:
    def run() -> Any:
        model = NESTS[nest](layers())
        inner: Any = [part for part in parts(model) if isinstance(part, S)][-1]
        step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1))
        seen: list[Any] = [step(X, Y)]
        EDITS[edit](inner)
        for _ in range(2):
            try:
                seen.append(step(X, Y))
            except (RuntimeError, ValueError) as error:
                seen.append(str(error))
        return [*seen, *model.state_dict().values()]

    both(run)


@EACH
def test_parts_remember_what_the_whole_has_left_in_them(nest: str) -> None:
    for chosen in range(len(parts(NESTS[nest](layers())))):

        def run(chosen: int = chosen) -> Any:
            model = NESTS[nest](layers())
            model(X)
            model.compute_backward(np.ones_like(Y))
            model(X)
            part = parts(model)[chosen]
            d = np.ones_like(pk.predict(part, np.ones((6, 3))) if part is model[0] else part_output(model, part))
            first = part.compute_backward(d)
            x = np.ones((6, np.shape(first)[1]))
            part(x)
            return first, said(lambda: model.compute_backward(np.ones_like(Y))), part.compute_backward(d)

        both(run)


def part_output(model: Any, wanted: Any) -> Any:
    """What a part puts out in the model's forward."""
    found = []
    twin = copy.deepcopy(model)
    part = parts(twin)[[id(p) for p in parts(model)].index(id(wanted))]
    before = part.compute_forward
    vars(part)["compute_forward"] = lambda x: (found.append(before(x)), found[0])[1]
    twin(X)
    return found[0]


@EACH
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
def test_copies_and_pickles(nest: str, twin: Any) -> None:
    model = NESTS[nest](layers())
    y, other = model(X), twin(model)
    np.testing.assert_array_equal(other(X), y)
    np.testing.assert_array_equal(other.compute_backward(np.ones_like(Y)), model.compute_backward(np.ones_like(Y)))


@EACH
def test_a_stack_in_two_stacks(nest: str) -> None:
    def run() -> Any:
        model = NESTS[nest](layers())
        other = S([*model.functions, pk.Tanh()])
        seen = [model(X), other(X), model(2 * X)]
        seen.append(said(lambda: other.compute_backward(np.ones_like(Y))))
        seen.append(model.compute_backward(np.ones_like(Y)))
        return [*seen, *model.get_params_and_grads()[1]]

    both(run)


# --- frozen layers ---


@pytest.mark.parametrize("frozen", [which for n in range(5) for which in itertools.combinations((0, 2, 3, 4, 5), n)], ids=str)
@pytest.mark.parametrize("rows", [6, 3000])
def test_frozen_layers_are_part_of_the_program(frozen: tuple[int, ...], rows: int) -> None:
    x, y = RNG.normal(size=(rows, 3)), RNG.normal(size=(rows, 2))

    def run() -> Any:
        functions = layers()
        model, loss = S(functions), pk.MeanSquaredError()
        optimizer = pk.Adam(model, lr=0.1)
        for i in frozen:
            functions[i].freeze()
            for grad in (functions[i].grad_weight, getattr(functions[i], "grad_bias", None)):
                if grad is not None:
                    grad.fill(7)
        step = pk.TrainStep(model, loss, optimizer)
        seen: list[Any] = [step(x, y) for _ in range(2)]
        seen.append(model(x))
        assert pk.fast.switch.reasons or (type(model._cache) is Ran and step._steps.latest is not None)
        model.accumulate_grads(np.ones_like(y))
        seen += [array.copy() for f in functions for array in vars(f).values() if isinstance(array, np.ndarray)]
        seen.append(model.compute_backward(np.ones_like(y)))
        for i in frozen:
            functions[i].freeze(False)
        seen += [step(x, y) for _ in range(2)]
        return [*seen, *(array for f in functions for array in vars(f).values() if isinstance(array, np.ndarray))]

    both(run)


def test_a_step_in_which_nothing_is_trained() -> None:
    def run() -> Any:
        model = S(layers())
        step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
        model.freeze()
        return step(X, Y), step(X, Y)

    both(run)


def test_a_stack_in_which_nothing_is_trained() -> None:
    def run() -> Any:
        model = S(layers()).freeze()
        y = model(X)
        model.accumulate_grads("anything")  # type: ignore[arg-type]
        return y, model.compute_backward(np.ones_like(Y)), *(f.grad_weight for f in model if hasattr(f, "grad_weight"))

    both(run)
