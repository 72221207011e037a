"""Every Function, every loss and any stack that can be built of them backpropagates right."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pancake.function import Function
from pancake.losses.classes import CrossEntropy, NegativeLogLikelihood
from pancake.losses.elementwise import BinaryCrossEntropy, Hinge, Huber, MeanAbsoluteError, MeanSquaredError
from pancake.losses.loss import Loss
from pancake.testing import check_function, check_gradients
from pancake.testing.strategies import functions, library_classes, losses, stacks, targets_for, upstream_for

each_function = pytest.mark.parametrize("cls", library_classes(Function), ids=lambda cls: cls.__name__)
each_loss = pytest.mark.parametrize("cls", library_classes(Loss), ids=lambda cls: cls.__name__)


def share(parts: int) -> settings:
    """A share of the examples of the profile, for a test that runs many times or for long."""
    return settings(max_examples=max(1, settings.default.max_examples // parts))


@pytest.mark.slow  # four examples of each, drawn once, are those of test_contract.py; here are others, and more in other profiles
@each_function
@share(10)
@given(st.data())
def test_a_function_keeps_the_contract(cls: type[Function], data: st.DataObject) -> None:
    function, x = data.draw(functions(cls))
    check_function(function, x)


class Weighted:
    """A loss with weights for its examples."""

    def __init__(self, loss: Loss, weight: Any) -> None:
        self.loss, self.weight = loss, weight

    def compute_forward(self, pred: Any, target: Any) -> Any:
        return self.loss.compute_forward(pred, target, self.weight)

    def compute_backward(self) -> Any:
        return self.loss.compute_backward()


@each_loss
@share(6)
@given(st.data())
def test_a_loss_keeps_the_contract(cls: type[Loss], data: st.DataObject) -> None:
    loss, pred, target = data.draw(losses(cls))
    check_function(loss, pred, target=target)
    if pred.ndim > 1:
        axes = data.draw(st.integers(1, pred.ndim - 1))
        weight = np.abs(data.draw(upstream_for(np.empty(pred.shape[:axes]))))
        check_function(Weighted(loss, weight), pred, target=target)


@share(2)
@given(stacks())
def test_any_stack_backpropagates(drawn: Any) -> None:
    stack, x = drawn
    check_function(stack, x)


class Objective:
    """A stack and the loss that it ends in, as one loss."""

    def __init__(self, stack: Function, loss: Loss) -> None:
        self.stack, self.loss = stack, loss

    def compute_forward(self, x: Any, target: Any) -> Any:
        return self.loss(self.stack(x), target)

    def compute_backward(self) -> Any:
        return self.stack.compute_backward(self.loss.compute_backward())

    def get_params_and_grads(self) -> Any:
        return self.stack.get_params_and_grads()


LOSSES = (
    MeanSquaredError(),
    MeanAbsoluteError(reduction="sum"),
    Huber(0.4, reduction="none"),
    Hinge(),
    BinaryCrossEntropy(from_logits=True),
    CrossEntropy(label_smoothing=0.1),
    NegativeLogLikelihood(),
)


@share(2)
@given(stacks(n_out=st.integers(1, 4)), st.sampled_from(LOSSES), st.data())
def test_any_stack_backpropagates_from_a_loss(drawn: Any, loss: Loss, data: st.DataObject) -> None:
    stack, x = drawn
    _, target = data.draw(targets_for(loss, copy.deepcopy(stack)(x)))
    check_gradients(Objective(stack, loss), x, target=target)


def backward(function: Function, x: Any, dObj_dOut: Any) -> list[Any]:
    """The output, the gradient of the input, and those of the parameters."""
    _, grads = function.get_params_and_grads()
    for grad in grads:
        grad[...] = 0
    return [function(x), function.compute_backward(dObj_dOut), *(grad.copy() for grad in grads)]


def same(got: list[Any], expected: list[Any]) -> None:
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@share(2)
@given(stacks(), st.data())
def test_accumulate_grads_is_backward_without_the_input(drawn: Any, data: st.DataObject) -> None:
    stack, x = drawn
    twin = copy.deepcopy(stack)  # with generators in the same state
    dObj_dOut = data.draw(upstream_for(copy.deepcopy(stack)(x)))
    expected = backward(stack, x, dObj_dOut)[2:]
    twin(x)
    twin_grads = twin.get_params_and_grads()[1]
    for grad in twin_grads:
        grad[...] = 0
    twin.accumulate_grads(dObj_dOut)
    for got, wanted in zip(twin_grads, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max(initial=0))


@share(2)
@given(stacks(), st.data())
def test_copies_and_pickles_do_the_same(drawn: Any, data: st.DataObject) -> None:
    stack, x = drawn
    twins = [copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))]
    dObj_dOut = data.draw(upstream_for(copy.deepcopy(stack)(x)))
    expected = backward(stack, x, dObj_dOut)
    for twin in twins:
        assert repr(twin) == repr(stack)
        assert all(f.training == g.training for f, g in zip(twin.walk(), stack.walk(), strict=True))
        same(backward(twin, x, dObj_dOut), expected)


@share(2)
@given(stacks(), st.data())
def test_a_stack_in_float32_stays_there(drawn: Any, data: st.DataObject) -> None:
    stack, x = drawn
    narrow = copy.deepcopy(stack).astype(np.float32)
    x32 = x.astype(np.float32) if x.dtype.kind == "f" else x
    expected = stack(x)
    dObj_dOut = data.draw(upstream_for(expected))
    y, dObj_dIn, *grads = backward(narrow, x32, dObj_dOut.astype(np.float32))
    assert y.dtype == np.float32
    assert dObj_dIn.dtype == (np.float32 if stack.get_params_and_grads()[0] or x.dtype.kind == "f" else np.float64)
    assert all(grad.dtype == np.float32 for grad in grads)
    # Values are below 20 all the way, where float32 has 1e-6; normalisation of equal numbers multiplies it by 316.
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)
