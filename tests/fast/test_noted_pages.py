"""Pages of activations, run with stand-ins: the calls that they note compute what the page computes, bit for bit."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.fast.kernels import Lies
from pancake.fast.pages import Page, Value
from pancake.fast.program import Notes


class Bent(pk.Function):
    """y = x above 0, else tanh(x), written so that what np.where puts down stays, and the last operand comes after the result."""

    def compute_forward(self, x: Any) -> Any:
        x = self._floats(x)
        t = np.tanh(x)
        self._remember(x, t)
        return np.where(x > 0, x, t)

    def compute_backward(self, dObj_dOut: Any) -> Any:
        x, t = self._remembered()
        d = 1 * self._upstream(dObj_dOut, x.shape, x.dtype)
        lost = np.where(x > 0, 0 * t, t * t)
        return -lost * d + d


ACTIVATIONS = [
    Bent(),
    pk.Sigmoid(),
    pk.Tanh(),
    pk.SiLU(),
    pk.GELU(),
    pk.GELU("tanh"),
    pk.Mish(),
    pk.Softplus(0.5),
    pk.Softsign(),
    pk.ELU(0.7),
    pk.SELU(),
    pk.LeakyReLU(0.2),
    pk.Exp(),
]


def z_of(lies: Lies, dtype: Any) -> Any:
    z = lies.new(4)
    z[...] = np.random.default_rng(0).normal(scale=3, size=(4, 6)).astype(dtype)
    z[0] = 0, -0.0, 90, -90, 800, -800
    return z


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("by_row", [False, True])
def test_a_page_computes_what_its_layer_does(layer: Any, dtype: Any, by_row: bool) -> None:
    lies = Lies((6,), np.dtype(dtype), by_row=by_row)
    z = z_of(lies, dtype) if type(layer) is not pk.Exp else z_of(lies, dtype) / 100
    x, d, s = z.copy(), np.random.default_rng(1).normal(size=(4, 6)).astype(dtype), lies.new(4)
    y = layer.compute_forward(x)
    kept = [array.copy() for array in layer._cache.what]
    dObj_dIn = layer.compute_backward(d)

    page = Page(layer, lies, z)
    forward, backward = Notes(), Notes()
    page.note_forward(forward)
    page.note_backward(backward, d, s)
    run, back = forward.write(""), backward.write("")
    for _ in range(2):  # a second run is as good as the first
        z[...] = x
        run()
        np.testing.assert_array_equal(page.y, y)
        for _ in range(2):  # and so is a second backward after it
            s.fill(7)
            back()
            np.testing.assert_array_equal(s, dObj_dIn)
        np.testing.assert_array_equal(page.y, y)
        assert len(page.remembered) == len(kept)
        for array, wanted in zip(page.remembered, kept, strict=True):
            np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize(("layer", "most"), [(pk.Tanh(), 1), (pk.Sigmoid(), 3), (pk.SiLU(), 3), (pk.GELU(), 7), (pk.Mish(), 5)])
def test_few_arrays_serve_many_calls(layer: Any, most: int) -> None:
    lies = Lies((6,), np.dtype(float))
    made: list[Any] = []
    new = lies.new
    lies.new = lambda features: made.append(1) or new(features)  # type: ignore[func-returns-value, method-assign]
    Page(layer, lies, np.zeros((4, 6)))
    assert len(made) <= most - 1  # with that of z


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_the_arrays_of_a_page_go_with_it(layer: Any) -> None:
    z = np.zeros((4, 6))
    page = Page(layer, Lies((6,), z.dtype), z)
    dropped = [weakref.ref(array) for array in (z, page.y, *page.remembered)]
    gc.disable()
    try:
        del page, z
        assert not any(array() is not None for array in dropped)
    finally:
        gc.enable()


def test_a_single_number_is_not_written_over() -> None:
    page = Page(pk.Sigmoid(), Lies((1,), np.dtype(float)), np.zeros((1, 1)))
    assert all(item.array is not value.array for value in page.forward for item in value.inputs if isinstance(item, Value))


def test_what_is_computed_in_both_directions_is_computed_once() -> None:
    page = Page(pk.Sigmoid(), Lies((6,), np.dtype(float)), np.zeros((4, 6)))
    assert [value.function for value in page.backward] == [np.multiply, np.divide]


@pytest.mark.parametrize(
    "calculation",
    [
        lambda x: x if x else -x,
        lambda x: float(x),
        lambda x: np.asarray(x),
        lambda x: np.sum(x),
        lambda x: np.add.reduce(x),
        lambda x: x * np.ones((4, 6)),
        lambda x: np.where(x > 0, x, -x).sum(),
        lambda x: np.multiply(x, x, where=x > 0),
        lambda x: np.multiply(x, x, x),
        lambda x: np.divmod(x, 2.0),
        lambda x: np.clip(x, 0, 1),
        lambda x: x[0],
    ],
)
def test_what_is_no_calculation_entry_by_entry_fails(calculation: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        calculation(Value(np.zeros((4, 6)), {}))
