"""Containers of branches within a stack: one program for all, and what people do with the parts."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.fast.left import Ran

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
S = pk.Sequential


def linear(n_in: int, n_out: int, dtype: Any, seed: int = 0) -> Any:
    return pk.Linear(n_in, n_out, rng=seed, dtype=dtype)


# what stands in the middle, takes 4 features and puts out 4
MIDDLES: dict[str, Callable[[Any], Any]] = {
    "residual": lambda t: pk.Residual(S([linear(4, 5, t), pk.ReLU(), linear(5, 4, t, 1)])),
    "residual of one": lambda t: pk.Residual(pk.Tanh()),
    "residuals": lambda t: S([pk.Residual(S([linear(4, 4, t, i), pk.Tanh()])) for i in range(3)]),
    "residual of a residual": lambda t: pk.Residual(S([linear(4, 4, t), pk.Residual(S([pk.ReLU(), linear(4, 4, t, 1)]))])),
    "add": lambda t: pk.Add([linear(4, 4, t), S([linear(4, 4, t, 1), pk.Sigmoid()]), pk.Tanh()]),
    "add of one": lambda t: pk.Add([linear(4, 4, t)]),
    "add of itself": lambda t: pk.Add([pk.Identity(), pk.Identity(), S([pk.Identity(), pk.ReLU()])]),
    "gate": lambda t: pk.Multiply([linear(4, 4, t), S([linear(4, 4, t, 1), pk.Sigmoid()])]),
    "product of three": lambda t: pk.Multiply([linear(4, 4, t), linear(4, 4, t, 1), pk.Tanh()]),
    "concatenate": lambda t: S([pk.Concatenate([linear(4, 3, t), pk.ReLU(), linear(4, 1, t, 1)]), linear(8, 4, t, 2)]),
    "branches in branches": lambda t: S(
        [pk.Concatenate([pk.Add([linear(4, 2, t), linear(4, 2, t, 1)]), pk.Multiply([pk.Tanh(), pk.Sigmoid()])]), linear(6, 4, t)]
    ),
    "normalised": lambda t: S(
        [
            pk.Residual(S([pk.BatchNorm(4, dtype=t), linear(4, 4, t)])),
            pk.Residual(S([pk.LayerNorm(4, dtype=t), linear(4, 4, t, 1)])),
        ]
    ),
    "dropped": lambda t: pk.Add([S([linear(4, 4, t), pk.Dropout(0.5, rng=0)]), pk.Dropout(0.5, rng=1)]),
    "bricks": lambda t: S([pk.Add([pk.Square(), pk.Abs()]), pk.Negate(), pk.Exp()]),
}
EACH = pytest.mark.parametrize("middle", MIDDLES)


def net(middle: str, dtype: Any = np.float64, last: bool = False) -> Any:
    functions = [linear(3, 4, dtype, 7), MIDDLES[middle](dtype), pk.Tanh(), linear(4, 2, dtype, 8)]
    return S([functions[0], linear(4, 4, dtype, 9), functions[1]] if last else functions)


def both(run: Callable[[], Any], dtype: Any = np.float64) -> None:
    """Run something with the fast path and without, and compare what it returns."""
    shown = []
    for on in (True, False):
        with contextlib.nullcontext() if on else pk.fast.off():
            shown.append(run())
    rounding = 1e-11 if dtype == np.float64 else 1e-4
    for fast, plain in zip(*shown, strict=True):
        if isinstance(plain, str) or plain is None:
            assert fast == plain
        else:
            assert np.asarray(fast).dtype == np.asarray(plain).dtype
            np.testing.assert_allclose(fast, plain, rtol=rounding, atol=rounding * max(1e-3, np.abs(plain).max(initial=0)))


def everything(model: Any) -> list[Any]:
    return [array.copy() for array in (*model.state_dict().values(), *model.get_params_and_grads()[1])]


@EACH
@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "last"])
@pytest.mark.parametrize("shape", [(2,), (6,), (3000,), (4, 5)], ids=str)
@pytest.mark.parametrize(
    "dtype", [pytest.param(np.float64, id="float64"), pytest.param(np.float32, id="float32", marks=pytest.mark.slow)]
)
def test_they_are_part_of_the_program(middle: str, last: bool, shape: tuple[int, ...], dtype: Any) -> None:
    x = RNG.normal(size=(*shape, 3)).astype(dtype)
    y = RNG.normal(size=(*shape, 4 if last else 2)).astype(dtype)

    def run() -> Any:
        model, loss = net(middle, dtype, last), pk.MeanSquaredError()
        optimizer = pk.SGD(model, lr=0.01)
        step = pk.TrainStep(model, loss, optimizer)
        seen = [step(x, y) for _ in range(2)]
        for _ in range(2):
            optimizer.zero_grad()
            seen.append(loss(model(x), y))
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()
        seen += [model(x), pk.predict(model, x), pk.predict(model, x[:1])]
        seen += [model.compute_backward(np.ones_like(y)), *everything(model)]
        assert pk.fast.switch.reasons or (type(model._cache) is Ran and step._steps.latest is not None)
        return seen

    both(run, dtype)


class Twice(pk.Function):
    def compute_forward(self, x: Any) -> Any:
        return 2 * x

    def compute_backward(self, d: Any) -> Any:
        return 2 * d


def exchanged(model: Any, new: Any) -> None:
    """Put another part in the place of the last one of the last container of branches."""
    container = [part for part in model.walk() if isinstance(part, (pk.Residual, pk.Add, pk.Multiply, pk.Concatenate))][-1]
    if isinstance(container, pk.Residual):
        container.f = new
    else:
        container.functions[-1] = new


def method(model: Any) -> None:
    container: Any = next(part for part in model.walk() if isinstance(part, (pk.Residual, pk.Add, pk.Multiply, pk.Concatenate)))
    before = container.compute_forward
    container.compute_forward = lambda x, lengths=None: 2 * before(x)


EDITS: dict[str, Callable[[Any], Any]] = {
    "a part": lambda model: exchanged(model, pk.Sigmoid()),
    "a user's part": lambda model: exchanged(model, Twice()),
    "a part that does not fit": lambda model: exchanged(model, pk.Linear(9, 9, rng=0)),
    "a method": method,
    "frozen": lambda model: model[1].freeze(),
    "all frozen": lambda model: model.freeze(),
    "evaluating": lambda model: model[1].eval(),
    "parameters": lambda model: [p.__imul__(1.5) for p in model.get_params_and_grads()[0]],
}


@EACH
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    "when", ["before forward", *(pytest.param(w, marks=pytest.mark.slow) for w in ("before backward", "between steps"))]
)
def test_what_is_done_with_a_part_counts(middle: str, edit: str, when: str) -> None:
    def run() -> Any:
        model = net(middle)
        step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.01))
        seen: list[Any] = []
        for time in range(3):
            try:
                if time == 1 and when != "before backward":
                    EDITS[edit](model)
                if when == "between steps":
                    seen.append(step(X, Y))
                    continue
                seen.append(model(X))
                if time == 1 and when == "before backward":
                    EDITS[edit](model)
                seen.append(model.compute_backward(np.ones_like(Y)))
                model(X)
                model.accumulate_grads(np.ones_like(Y))
            except (RuntimeError, ValueError) as error:
                seen.append(str(error))
        return [*seen, *everything(model)]

    both(run)


@EACH
@pytest.mark.parametrize("last", [False, True])
def test_parts_remember_what_the_whole_has_left_in_them(middle: str, last: bool) -> None:
    count = len(list(net(middle, last=last).walk()))
    for chosen in range(1, count):

        def run(chosen: int = chosen) -> Any:
            model = net(middle, last=last)
            part: Any = list(model.walk())[chosen]
            inputs, before = [], part.compute_forward
            part.compute_forward = lambda x, *more: (inputs.append((np.array(x), before(x, *more))), inputs[-1][1])[1]
            pk.predict(model, X)  # tells what the part takes and puts out
            del part.compute_forward
            x, y = inputs[-1]
            for _ in range(2):
                model(X)
                model.compute_backward(np.ones((6, 4 if last else 2)))
            model(X)
            with pk.fast.off():
                first = part.compute_backward(np.ones_like(y))
            part(x)
            with pytest.raises(RuntimeError) as refused:
                model.compute_backward(np.ones((6, 4 if last else 2)))
            return [first, str(refused.value), part.compute_backward(np.ones_like(y)), *everything(model)]

        both(run)


@EACH
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
def test_copies_and_pickles(middle: str, twin: Any) -> None:
    model = net(middle)
    model(X)
    other, d = twin(model), np.ones_like(Y)
    for _ in range(2):  # the same draws too
        np.testing.assert_array_equal(other(X), model(X))
        np.testing.assert_array_equal(other.compute_backward(d), model.compute_backward(d))


@pytest.mark.parametrize(
    ("middle", "told"),
    [
        (lambda: pk.Residual(pk.Linear(4, 3, rng=0)), "Residual"),
        (lambda: pk.Add([pk.Linear(4, 3, rng=0), pk.Tanh()]), "Add"),
        (lambda: pk.Concatenate([pk.Linear(3, 4, rng=0)]), "expected"),
        (lambda: pk.Concatenate([pk.Tanh()], axis=5), "Concatenate"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_words_of_the_layers(middle: Any, told: str) -> None:
    seen = []
    for on in (True, False):
        with contextlib.nullcontext() if on else pk.fast.off(), pytest.raises(ValueError, match=told) as refused:
            S([pk.Linear(3, 4, rng=0), middle()])(X)
        seen.append(str(refused.value))
    assert seen[0] == seen[1]


def test_a_gradient_that_does_not_fit_is_refused_in_the_words_of_the_container() -> None:
    model = net("residual", last=True)
    for _ in range(2):
        model(X)
        with pytest.raises(ValueError, match="Residual"):
            model.compute_backward(np.ones((6, 5)))
        model.compute_backward(np.ones((6, 4)))


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_along_another_axis_than_the_last_one(axis: int) -> None:
    x = RNG.normal(size=(4, 5, 3))

    def run() -> Any:
        model = S([pk.Linear(3, 4, rng=0), pk.Concatenate([pk.Tanh(), pk.ReLU()], axis=axis)])
        y = model(x)
        return y, model.compute_backward(np.ones_like(y)), *everything(model)

    both(run)


def test_sequences_and_branches() -> None:
    """Cells in a branch, and branches between cells."""
    x = RNG.normal(size=(4, 5, 3))

    def run() -> Any:
        cells = [pk.Unrolled(pk.GRUCell(n, 4, rng=0)) for n in (3, 4, 4)]
        model = S(
            [
                cells[0],
                pk.Residual(S([pk.Linear(4, 4, rng=1), pk.Tanh()])),
                cells[1],
                pk.Add([cells[2], pk.Identity()]),
                pk.ReLU(),
            ]
        )
        step = pk.TrainStep(model, pk.MeanSquaredError(), pk.Adam(model))
        y = np.ones((4, 5, 4))
        seen = [step(x, y) for _ in range(3)]
        seen.append(model(x))
        return [*seen, model.compute_backward(y), *everything(model)]

    both(run)


def test_the_last_steps_of_sequences_in_branches() -> None:
    x, y = RNG.normal(size=(4, 5, 3)), np.ones((4, 2))

    def run() -> Any:
        cells = [pk.Unrolled(pk.RNNCell(4, 4, rng=i), return_sequences=False) for i in range(2)]
        model = S([pk.Linear(3, 4, rng=0), pk.Add(cells), pk.Linear(4, 2, rng=1)])
        step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
        return step(x, y), step(x, y), model(x), model.compute_backward(y), *everything(model)

    both(run)


@pytest.mark.parametrize("method", ["compute_forward", "compute_backward", "accumulate_grads"])
@pytest.mark.parametrize("middle", ["residual", "add"])
def test_a_method_of_a_class_that_somebody_has_exchanged_is_called(
    method: str, middle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls: Any = {"residual": pk.Residual, "add": pk.Add}[middle]
    before, calls = getattr(cls, method), []
    model = net(middle)
    step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
    for _ in range(2):
        step(X, Y)
        model(X)
        model.accumulate_grads(np.ones_like(Y))
    monkeypatch.setattr(cls, method, lambda self, *args: (calls.append(1), before(self, *args))[1])
    step(X, Y)
    stepwise = len(calls)
    model(X)
    model.accumulate_grads(np.ones_like(Y))
    model(X)
    model.compute_backward(np.ones_like(Y))
    used = method != "accumulate_grads"  # below there is a Linear that learns, so it is not the last on the way back
    assert (stepwise > 0, len(calls) > stepwise) == (used, used)


@pytest.mark.parametrize("kind", ["object", "class"])
@pytest.mark.parametrize("middle", ["add", "gate", "concatenate"])
@pytest.mark.parametrize("name", ["combine", "gradients"])
@pytest.mark.parametrize("early", [False, True])
def test_what_a_container_is_made_of_may_be_exchanged(
    name: str, middle: str, kind: str, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        model = net(middle)
        container: Any = next(part for part in model.walk() if isinstance(part, (pk.Add, pk.Multiply, pk.Concatenate)))
        owner: Any = container if kind == "object" else type(container)
        before, seen = getattr(owner, name), []
        for time in range(3):
            if time == (0 if early else 1):
                more = (lambda *args: 3 * before(*args)) if name == "combine" else lambda *args: (3 * d for d in before(*args))
                monkeypatch.setattr(owner, name, more, raising=False)
            seen += [model(X), model.compute_backward(np.ones_like(Y)), pk.predict(model, X)]
        monkeypatch.undo()
        return [*seen, *everything(model)]

    both(run)


def test_parts_in_a_tuple() -> None:
    def run() -> Any:
        model = net("add")
        seen = [model(X)]
        model[1].functions = tuple(model[1].functions)
        for _ in range(2):
            seen += [model(X), model.compute_backward(np.ones_like(Y))]
        return [*seen, *everything(model)]

    both(run)


def test_a_residual_that_overflows_gives_the_warnings_of_the_page() -> None:
    def run() -> Any:
        model = S([pk.Linear(1, 1, rng=0), pk.Exp(), pk.Linear(1, 1, rng=1)])
        model[0].weight = [[800.0]]
        y = model([[1.0], [0.5]])
        return y, model.compute_backward(np.ones((2, 1)))

    with np.errstate(all="raise", invalid="ignore"):  # of inf in the products
        both(run)
