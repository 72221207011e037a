"""Layers that somebody keeps of a stack that is dropped, or changed, after it has run as a program."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
import types
import weakref
from typing import Any

import numpy as np
import pytest
from twins import RNG, batches, net, numbers

import pancake as pk
from pancake import TrainStep
from pancake.fast.sequences import UnrolledKernel


def test_a_loss_does_not_keep_what_it_has_trained() -> None:
    (x, y), *_ = batches(numbers)
    model, loss = net(), pk.MeanSquaredError()
    step = TrainStep(model, loss, pk.SGD(model))
    step(x, y)
    layer, d = weakref.ref(model[0]), loss.compute_backward()
    del model, step
    gc.collect()
    assert layer() is None
    np.testing.assert_array_equal(loss.compute_backward(), d)


@pytest.mark.parametrize("kind", ["one segment", "two segments", "step"])
@pytest.mark.parametrize("answered", [True, False])
def test_layers_that_are_kept_of_a_dropped_stack_answer_as_ever(kind: str, answered: bool) -> None:
    (x, y), *_ = batches(numbers)

    def used() -> tuple[list[Any], Any, Any]:
        model, loss = net(), pk.MeanSquaredError()
        if kind == "two segments":
            model.functions.insert(2, pk.Clip(None, None))
        others = weakref.ref(model[1])
        optimizer = pk.SGD(model)
        if kind == "step":
            TrainStep(model, loss, optimizer)(x, y)
        else:
            loss(model(x), y)
            if answered:
                model.accumulate_grads(loss.compute_backward())
        return [model[0], model[-1]], loss, others

    with pk.fast.off():
        wanted = used()[0]
    layers, loss, others = used()
    for _ in range(2):  # the model, and what its layers have held of it
        gc.collect()
    assert others() is None
    d = RNG.normal(size=(4, 2))
    for layer, twin in zip(reversed(layers), reversed(wanted), strict=True):
        assert layer._cache.used == twin._cache.used == (answered or kind == "step")
        d, twin_d = layer.compute_backward(d), twin.compute_backward(d)
        np.testing.assert_array_equal(d, twin_d)
        for ours, theirs in zip(layer.get_params_and_grads()[1], twin.get_params_and_grads()[1], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        layer(RNG.normal(size=(2, layer.n_in)))
    loss.compute_backward()


@pytest.mark.parametrize("forwards", [1, 2])
def test_a_layer_of_a_dropped_stack_knows_of_an_older_forward(forwards: int) -> None:
    def used() -> Any:
        model = net()
        for _ in range(forwards):
            model(np.ones((4, 3)))
        return model[-1]

    with pk.fast.off():
        plain = used()
    for layer in (plain, used()):
        layer.compute_backward(np.ones((4, 2)))
        with contextlib.nullcontext() if forwards == 1 else pytest.raises(RuntimeError, match="forward"):
            layer.compute_backward(np.ones((4, 2)))


@pytest.mark.parametrize("kind", ["four lines", "step"])
@pytest.mark.parametrize("moved", [False, True])
def test_a_stack_goes_on_with_layers_of_one_that_is_dropped(kind: str, moved: bool) -> None:
    (x, y), *_ = batches(numbers)

    def run() -> Any:
        old = net()
        step = TrainStep(old, pk.MeanSquaredError(), pk.SGD(old))
        if kind == "step":
            step(x, y)
        else:
            old.accumulate_grads(old(x))
        layers = [old.functions.pop(0)] if moved else old.functions[:2]
        new = pk.Sequential([*layers, pk.Linear(5, 4, rng=2)])
        for grad in new.get_params_and_grads()[1]:
            grad.fill(0)
        out = new(x)
        del old, step
        gc.collect()
        dObj_dIn, grads = new.compute_backward(out), [grad.copy() for grad in new.get_params_and_grads()[1]]
        for _ in range(2):
            new(x)
        new.compute_backward(out)
        with pytest.raises(RuntimeError, match="forward"):  # there has been none for the first of the two
            new[0].compute_backward(np.ones((4, 5)))
        return dObj_dIn, grads

    with pk.fast.off():
        wanted, grads = run()
    got, ours = run()
    np.testing.assert_allclose(got, wanted, rtol=1e-12)
    for a, b in zip(ours, grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_layer_that_is_taken_out_of_a_stack_holds_no_neighbour() -> None:
    (x, _), *_ = batches(numbers)
    model = net()
    model(x)
    kept = model.functions.pop()
    neighbour = weakref.ref(model.functions.pop())
    model(x)
    gc.collect()
    assert neighbour() is None
    assert kept.compute_backward(np.ones((4, 2))).shape == (4, 5)


def test_a_layer_that_is_kept_holds_no_work_arrays() -> None:
    def last() -> Any:
        model = pk.Sequential([pk.Linear(3, 500), pk.Tanh(), pk.Linear(500, 500), pk.Tanh(), pk.Linear(500, 2)])
        y = model(np.ones((2000, 3)))
        model.accumulate_grads(y)
        return model[-1]

    tracemalloc.start()
    try:
        layer = last()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 1 < held / (2000 * layer.n_in * 8) < 1.2  # its input


class Inside(pk.Function):
    """Runs its layers in a stack that lies in a circle, and goes back through them one by one."""

    def __init__(self) -> None:
        self.first, self.second = pk.Linear(3, 3, rng=0), pk.Linear(3, 3, rng=1)

    def compute_forward(self, x: Any) -> Any:
        stack: Any = pk.Sequential([self.first, pk.Tanh(), self.second])
        stack.note = types.SimpleNamespace(stack=stack)
        self.between = stack.functions[1]
        return stack(x)

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return self.first.compute_backward(self.between.compute_backward(self.second.compute_backward(dObj_dOut)))


def test_a_stack_that_is_collected_between_forward_and_backward_is_not_missed() -> None:
    model = pk.Sequential([pk.Linear(3, 3, rng=2), Inside(), pk.Linear(3, 2, rng=3)])
    y = model(np.ones((4, 3)))
    gc.collect()
    d = model.compute_backward(y)
    with pk.fast.off():
        model(np.ones((4, 3)))
        np.testing.assert_allclose(d, model.compute_backward(y), rtol=1e-12)


def test_nothing_is_computed_when_a_recurrent_stack_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UnrolledKernel, "kept", lambda kernel: pytest.fail("asked for what nobody needs"))
    model = pk.Sequential([pk.Unrolled(pk.LSTMCell(3, 4, rng=0)), pk.Linear(4, 2, rng=1)])
    model(np.ones((2, 5, 3)))
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
