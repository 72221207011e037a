"""Layers other than a Linear with which a stack may begin, on the fast path and without it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.fast.left import Ran

RNG = np.random.default_rng(0)
FIRST: dict[str, Callable[[Any], Any]] = {
    "Standardize": lambda dtype: pk.Standardize(3, [1.0, -2.0, 0.5], [0.5, 2.0, 3.0], dtype=dtype),
    "LayerNorm": lambda dtype: pk.LayerNorm(3, dtype=dtype),
    "RMSNorm": lambda dtype: pk.RMSNorm(3, dtype=dtype),
    "BatchNorm": lambda dtype: pk.BatchNorm(3, dtype=dtype),
    "PReLU": lambda dtype: pk.PReLU(3, dtype=dtype),
    # these compute in the dtype of what they are given
    "Dropout": lambda _: pk.Dropout(0.3, rng=0),
    "Tanh": lambda _: pk.Tanh(),
    "ReLU": lambda _: pk.ReLU(),
    "Residual": lambda dtype: pk.Residual(pk.Sequential([pk.ReLU(), pk.Linear(3, 3, rng=1, dtype=dtype)])),
    "Add": lambda dtype: pk.Add([pk.Linear(3, 3, rng=1, dtype=dtype), pk.Tanh()]),
    "Concatenate": lambda dtype: pk.Sequential(
        [pk.Concatenate([pk.Square(), pk.Linear(3, 1, rng=1, dtype=dtype)]), pk.Linear(4, 3, rng=2, dtype=dtype)]
    ),
}
TYPED = ("Standardize", "LayerNorm", "RMSNorm", "BatchNorm", "PReLU")
EACH = pytest.mark.parametrize("name", FIRST)
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def net(name: str, dtype: Any = np.float64, nested: bool = False) -> Any:
    rest = pk.mlp([3, 8, 2], rng=0, dtype=dtype)
    return pk.Sequential([FIRST[name](dtype), rest] if nested else [FIRST[name](dtype), *rest.functions])


def both(run: Callable[[], Any], dtype: Any = np.float64) -> None:
    shown = []
    for on in (True, False):
        with contextlib.nullcontext() if on else pk.fast.off():
            shown.append(run())
    rounding = 1e-11 if dtype == np.float64 else 1e-4  # of sums over thousands of rows
    for fast, plain in zip(*shown, strict=True):
        if isinstance(plain, str):
            assert fast == plain
        else:
            assert np.asarray(fast).dtype == np.asarray(plain).dtype
            np.testing.assert_allclose(fast, plain, rtol=rounding, atol=rounding * np.abs(plain).max())


def arrays(model: Any) -> list[Any]:
    return [*model.state_dict().values(), *model.get_params_and_grads()[1]]


@EACH
@DTYPES
@pytest.mark.parametrize("nested", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", [(2, 3), (7, 3), (5000, 3), (4, 6, 3)], ids=str)
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, pytest.param(">f8", marks=pytest.mark.slow)])
def test_it_begins_the_program(name: str, dtype: Any, nested: bool, shape: tuple[int, ...], kind: Any) -> None:
    x = RNG.normal(scale=3, size=shape).astype(kind)
    y = RNG.normal(size=(*shape[:-1], 2))

    def run() -> Any:
        model = net(name, dtype, nested)
        loss = pk.MeanSquaredError()
        optimizer = pk.SGD(model, lr=0.1)
        step = pk.TrainStep(model, loss, optimizer)
        seen = [step(x, y), step(x, y)]
        out = model(x)
        taken = x.dtype in (np.float64, np.float32) and x.dtype.isnative and (name in TYPED or x.dtype == dtype)
        assert pk.fast.switch.reasons or (type(model._cache) is Ran) == taken
        seen += [out, model.compute_backward(np.ones_like(out))]
        out = model(x)
        model.accumulate_grads(np.ones_like(out))
        return [*seen, pk.predict(model, x), *arrays(model)]

    both(run, dtype)


@EACH
def test_what_was_given_may_change(name: str) -> None:
    def run() -> Any:
        model = net(name)
        x = np.arange(12.0).reshape(4, 3) ** 1.5
        y = model(x)
        x[:] = 0
        for array in vars(model[0]).values():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                array += 1
        return [y, model.compute_backward(np.ones_like(y)), model(x + 1), *arrays(model)]

    both(run)


@EACH
@pytest.mark.parametrize("frozen", [(0,), (0, 1), (1,), (0, 3), (3,)], ids=str)
def test_frozen(name: str, frozen: tuple[int, ...]) -> None:
    x, y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))

    def run() -> Any:
        model = net(name)
        optimizer = pk.SGD(model, lr=0.1)
        for i in frozen:
            model[i].freeze()
        step = pk.TrainStep(model, pk.MeanSquaredError(), optimizer)
        seen = [step(x, y), step(x, y), model(x), model.compute_backward(y)]
        model(x)
        model.accumulate_grads(y)
        return [*seen, *model.state_dict().values(), *(a for f in model for k, a in vars(f).items() if k.startswith("grad_"))]

    both(run)


@EACH
def test_what_does_not_fit_is_refused_in_the_words_of_the_layer(name: str) -> None:
    def run() -> Any:
        model = net(name)
        model(np.ones((4, 3)))
        said = []
        for x in (np.ones((4, 2)), np.ones((0, 3)), np.ones(3), np.array([["a", "b", "c"]])):
            try:
                said.append(model(x))
            except (ValueError, TypeError) as error:
                said.append(str(error))
        return [*said, model(np.ones((4, 3)))]

    both(run)
