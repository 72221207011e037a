"""A stack that goes by a plan computes what its Functions do one by one, whatever happens in between."""

from __future__ import annotations

import copy
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake import (
    GELU,
    SGD,
    BatchNorm,
    CrossEntropy,
    Dropout,
    Flatten,
    Function,
    GRUCell,
    HardTanh,
    LayerNorm,
    LeakyReLU,
    Linear,
    PReLU,
    ReLU,
    Reshape,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
    Unrolled,
    mlp,
    predict,
)
from pancake.fast.plan import PLANS
from pancake.functions import linear

RNG = np.random.default_rng(0)
X, U = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))

ACTIVATIONS = [ReLU, Tanh, Sigmoid, GELU, PReLU, lambda: LayerNorm(4), lambda: BatchNorm(4), lambda: Dropout(0.5, rng=1)]


def stack_of(middle, seed=0, bias=True):
    return Sequential([Linear(3, 4, rng=seed, bias=bias), middle(), Linear(4, 4, rng=1), middle(), Linear(4, 2, rng=2), Tanh()])


def one_by_one(functions, x, d):
    """Forward and backward through the checks of each Function."""
    for function in functions:
        x = function.compute_forward(x)
    for function in reversed(functions):
        d = function.compute_backward(d)
    return x, d


def grads_of(model):
    return model.get_params_and_grads()[1]


def assert_same_grads(model, twin, **tolerance):
    for g, h in zip(grads_of(model), grads_of(twin), strict=True):
        np.testing.assert_allclose(g, h, **(tolerance or {"rtol": 1e-12, "atol": 1e-14}))


@pytest.mark.parametrize("small", [0, linear.SMALL], ids=["apart", "joined"])
@given(
    middle=st.sampled_from(ACTIVATIONS),
    bias=st.booleans(),
    rows=st.lists(st.sampled_from([2, 3, 5]), min_size=1, max_size=6),
    zero=st.lists(st.booleans(), min_size=6, max_size=6),
    full=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_computes_what_the_functions_do(small, middle, bias, rows, zero, full):
    """Batches of changing sizes, gradients zeroed in between or not, with the gradient of the input or without."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(linear, "SMALL", small)
        model, twin = stack_of(middle, bias=bias), stack_of(middle, bias=bias)
        for n, clear, whole in zip(rows, zero, full, strict=False):
            x, u = RNG.normal(size=(n, 3)), RNG.normal(size=(n, 2))
            x_before, u_before = x.copy(), u.copy()
            if clear:
                for g in grads_of(model) + grads_of(twin):
                    g.fill(0)
            expected, d = one_by_one(twin.functions, x, u)
            np.testing.assert_allclose(model(x), expected, rtol=1e-12)
            if whole:
                np.testing.assert_allclose(model.compute_backward(u), d, rtol=1e-11, atol=1e-13)
            else:
                assert model.accumulate_grads(u) is None
            assert_same_grads(model, twin)
            np.testing.assert_array_equal(x, x_before)
            np.testing.assert_array_equal(u, u_before)


@pytest.mark.parametrize("small", [0, linear.SMALL], ids=["apart", "joined"])
def test_no_array_is_overwritten_that_somebody_needs(small, monkeypatch):
    """The caller's input, or what a layer keeps for its derivative."""
    monkeypatch.setattr(linear, "SMALL", small)

    def make():
        pairs = [
            Tanh(),
            ReLU(),
            Linear(3, 4, rng=0),
            Tanh(),
            Sigmoid(),
            LayerNorm(4),
            Tanh(),
            Linear(4, 2, rng=1),
            GELU(),
            ReLU(),
        ]
        return Sequential(pairs)

    model, twin, x = make(), make(), X.copy()
    for _ in range(3):
        expected, d = one_by_one(twin.functions, X, U)
        np.testing.assert_allclose(model(x), expected, rtol=1e-12)
        np.testing.assert_allclose(model.compute_backward(U), d, rtol=1e-11)
        assert_same_grads(model, twin)
        np.testing.assert_array_equal(x, X)


def test_the_gradient_of_the_input_is_not_computed_where_nobody_needs_it(monkeypatch):
    def refuse(self, d):
        raise AssertionError("computed")

    for name in ("backward", "backward_into_zeros"):
        for way in (linear.Joined, linear.Apart):
            monkeypatch.setattr(way, name, refuse)
    for small in (0, linear.SMALL):
        monkeypatch.setattr(linear, "SMALL", small)
        model = Sequential([Tanh(), Linear(3, 2, rng=0), Tanh()])
        for times in (1, 2):
            model(X)
            model.accumulate_grads(U)
            np.testing.assert_allclose(model[1].grad_bias, times * (U * (1 - model(X) ** 2)).sum(axis=0))


def test_a_layer_behind_one_that_may_change_is_checked():
    model, x = Sequential([Reshape((6, 2)), Linear(2, 2, rng=0), Tanh()]), RNG.normal(size=(4, 3))
    model(x), model(x)
    model[0].shape = (2, 3, 2)
    assert model(x).shape == (2, 3, 2)
    model[0].shape = (3, 4)
    with pytest.raises(ValueError, match=r"Linear\(2, 2\): expected \(..., 2\), got \(3, 4\)"):
        model(x)


def test_parameters_in_another_order_of_memory_are_added_to():
    model, twin = (Sequential([Linear(3, 4, rng=0), Linear(4, 2, rng=1)]) for _ in range(2))
    vars(model[0]).update(weight=model[0].weight.copy("C"), grad_weight=np.zeros((4, 3)))
    for _ in range(2):
        np.testing.assert_allclose(model(X), one_by_one(twin.functions, X, U)[0])
        model.accumulate_grads(U)
        assert_same_grads(model, twin)


def test_methods_exchanged_on_a_layer_are_called():
    model = Sequential([Linear(3, 4, rng=0), Tanh(), Linear(4, 2, rng=1)])
    expected = model[2](np.zeros((5, 4)))
    model[1].compute_forward = np.zeros_like
    for _ in range(2):
        np.testing.assert_array_equal(model(X), expected)
        np.testing.assert_array_equal(predict(model, X), expected)
    np.testing.assert_array_equal(predict(model[1], X), np.zeros((5, 3)))


def test_is_made_for_the_librarys_own_functions_alone():
    class Own(Tanh):
        pass

    for middle, planned in ((Tanh(), True), (Own(), False), (Residual(Own()), False)):
        model = Sequential([Linear(3, 3, rng=0), middle, Linear(3, 2, rng=1)])
        model(X)
        assert model._views.own == planned
        assert (model._views.latest is not None) == planned
    model = mlp([3, 2], rng=0).eval()
    model(X)
    assert model._views is None
    assert Sequential([])(X) is not X


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("what", [1e-300, -0.0, 5e-324, np.nan, np.inf])
def test_what_was_added_between_zero_grad_and_backward_counts(what, planned):
    """A penalty on the weights, say, even if it is too small to see or lies in the last entry alone."""
    model, twin = mlp([3, 4, 2], rng=0), mlp([3, 4, 2], rng=0)
    if planned:
        model(X)
    SGD(model).zero_grad()
    for m in (model, twin):
        for g in grads_of(m):
            g[-1] += what
    model(X)
    model.accumulate_grads(U)
    one_by_one(twin.functions, X, U)
    for g, h in zip(grads_of(model), grads_of(twin), strict=True):
        np.testing.assert_array_equal(g, h)
    assert np.isnan(grads_of(model)[0]).any() == np.isnan(what)


def test_a_sum_goes_on_from_any_gradient():
    model, twin = mlp([3, 4, 2], rng=0), mlp([3, 4, 2], rng=0)
    for p, q in ((model, X), (model, 2 * X), (model, X[:2])):
        p(q)
        p.accumulate_grads(U[: len(q)])
        one_by_one(twin.functions, q, U[: len(q)])
    assert_same_grads(model, twin)
    model(X)
    model.accumulate_grads(U)
    model.accumulate_grads(U)
    one_by_one(twin.functions, X, U)
    one_by_one(twin.functions, X, U)
    assert_same_grads(model, twin)


@pytest.mark.parametrize("wrap", [lambda f: f, Residual, lambda f: Sequential([f])], ids=["alone", "residual", "stack"])
@pytest.mark.parametrize("first", [True, False])
def test_parameters_that_stand_twice_in_a_stack_get_both_gradients(wrap, first):
    def make():
        layer = Linear(3, 3, rng=0)
        pair = [layer, wrap(layer.shared_copy())] if first else [wrap(layer), layer.shared_copy()]
        return Sequential([pair[0], Tanh(), pair[1], Linear(3, 2, rng=1)])

    model, twin = make(), make()
    for _ in range(2):
        for m in (model, twin):
            SGD(m).zero_grad()
        model(X)
        d = model.compute_backward(U)
        _, expected = one_by_one(twin.functions, X, U)
        np.testing.assert_allclose(d, expected, rtol=1e-12)
        assert_same_grads(model, twin)


def test_two_stacks_with_one_layer():
    shared = Linear(3, 4, rng=0)
    a, b = Sequential([shared, ReLU(), Linear(4, 2, rng=1)]), Sequential([shared.shared_copy(), Linear(4, 2, rng=2)])
    for model in (a, b):
        model(X)
    optimizer = SGD([a, b])
    optimizer.zero_grad()
    for model in (a, b):
        model(X)
        model.accumulate_grads(U)
    together = shared.grad_weight.copy()
    total = 0
    for model in (a, b):
        optimizer.zero_grad()
        model(X)
        model.accumulate_grads(U)
        total = total + shared.grad_weight
    np.testing.assert_allclose(together, total, rtol=1e-12)


def test_parts_that_are_exchanged_added_converted_or_called_alone():
    model = mlp([3, 4, 2], activation=Tanh, rng=0)
    model(X), model(X)
    model.functions[1] = ReLU()
    np.testing.assert_allclose(model(X), one_by_one(model.functions, X, U)[0], rtol=1e-12)
    model.add(Sigmoid())
    np.testing.assert_allclose(model(X), one_by_one(model.functions, X, U)[0], rtol=1e-12)
    model(X), model[0].astype(np.float32), model[2].astype(np.float32)
    assert model(X).dtype == np.float32
    assert model.compute_backward(U).dtype == np.float32
    model.astype(np.float64)
    twin = copy.deepcopy(model)
    y = model(X)
    d = model.compute_backward(U)
    np.testing.assert_array_equal(twin(X), y)
    model(X)
    predict(model, 9 * X)
    model.functions[2]._evaluate(np.ones((5, 4)), False)
    np.testing.assert_array_equal(model.compute_backward(U), d)
    model(X)
    model[0](np.ones((2, 3)))  # the layer alone remembers this
    assert model[0].compute_backward(np.ones((2, 4))).shape == (2, 3)
    model(X)
    assert model[0].compute_backward(np.ones((5, 4))).shape == (5, 3)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("middle", [ReLU, LeakyReLU, HardTanh])
def test_layers_that_were_called_alone_since_then_count_as_such(rows, middle):
    """Also through another stack of the same layers; a batch of one would fit any gradient."""
    model, other = stack_of(middle), RNG.normal(size=(rows, 3))
    model(X), model(X)
    model[:-1](other)
    if rows == 1:
        with pytest.raises(
            ValueError, match=r"Linear\(4, 2\): expected dObj_dOut of shape \(1, 2\), like the output, got \(5, 2\)"
        ):
            model.compute_backward(U)
        return
    twin = stack_of(middle)
    for function in twin.functions[:-1]:
        other = function.compute_forward(other)
    twin[-1]._cache = model[-1]._cache  # which has not been called since
    d = U
    for function in reversed(twin.functions):
        d = function.compute_backward(d)
    np.testing.assert_allclose(model.compute_backward(U), d, rtol=1e-12)
    assert_same_grads(model, twin)


def test_the_latest_forward_counts_also_where_it_does_not_go_by_a_plan():
    model = Sequential([Linear(3, 4, rng=0), Tanh(), Linear(4, 2, rng=1)])
    model(X)
    for x in (X[:2].tolist(), X.astype(int), X.tolist()):
        expected = one_by_one(copy.deepcopy(model).functions, np.asarray(x, float), U[: len(x)])
        np.testing.assert_allclose(model(x), expected[0])
        np.testing.assert_allclose(model.compute_backward(U[: len(x)]), expected[1])
    model.eval()
    model(2 * X)
    expected = one_by_one(copy.deepcopy(model).functions, 2 * X, U)
    np.testing.assert_allclose(model.compute_backward(U), expected[1])


def test_wrong_gradients_are_refused_by_name():
    for last, name in ((Linear(4, 2, rng=1), r"Linear\(4, 2\)"), (Sequential([Linear(4, 2, rng=1)]), r"Linear\(4, 2\)")):
        model = Sequential([Linear(3, 4, rng=0), last])
        for _ in range(2):
            model(X)
            with pytest.raises(ValueError, match=name + r": expected dObj_dOut of shape \(5, 2\), like the output, got \(2, 5\)"):
                model.accumulate_grads(U.T)
            expected = model.compute_backward(np.ones((5, 2)))
            np.testing.assert_array_equal(model.compute_backward(1), expected)
            np.testing.assert_array_equal(model.compute_backward([[1, 1]] * 5), expected)
    model = Sequential([Linear(3, 4, rng=0), Linear(5, 2, rng=1)])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"Linear\(5, 2\): expected \(..., 5\), got \(5, 4\)"):
            model(X)
    with pytest.raises(RuntimeError, match="needs a compute_forward before it"):
        mlp([3, 2], rng=0).compute_backward(U)


def test_other_shapes_of_input_go_through_the_checks():
    """Linears on sequences, and behind Functions whose output may come to look otherwise, find their way themselves."""
    sequences = RNG.normal(size=(2, 5, 3))
    model = Sequential([Unrolled(GRUCell(3, 4, rng=0)), Linear(4, 4, rng=0), ReLU(), Linear(4, 2, rng=1)])
    twin = copy.deepcopy(model)
    for _ in range(2):
        for m in (model, twin):
            SGD(m).zero_grad()
        y = model(sequences)
        loss = CrossEntropy()
        loss(y, np.ones((2, 5), int))
        u = loss.compute_backward()
        d = model.compute_backward(u)
        expected = one_by_one(twin.functions, sequences, u)
        np.testing.assert_allclose(y, expected[0], rtol=1e-12)
        np.testing.assert_allclose(d, expected[1], rtol=1e-12)
        assert_same_grads(model, twin)
    flat = Sequential([Flatten(), Linear(15, 2, rng=0), Tanh()])
    for _ in range(2):
        np.testing.assert_allclose(flat(sequences), np.tanh(sequences.reshape(2, 15) @ flat[1].weight.T), rtol=1e-12)


def test_outputs_are_fresh():
    model = mlp([3, 4, 2], rng=0)
    first = model(X)
    before = first.copy()
    second = model(2 * X)
    np.testing.assert_array_equal(first, before)
    assert not np.shares_memory(first, second)


def test_plans_are_kept_for_a_few_shapes_and_hold_one_set_of_inputs():
    model = Sequential([Linear(200, 200, rng=0), ReLU(), Linear(200, 2, rng=1)])
    for n in range(1, PLANS + 3):
        model(np.ones((n, 200)))
    plans = model._views
    assert len(plans.known) == PLANS
    model(np.ones((PLANS + 1, 200)))
    assert len(plans.known) == PLANS
    assert model._views is plans
    for n in (100, 99, 100):
        x = np.ones((n, 200))
        held = weakref.ref(x)
        model(x)
        del x
        assert held() is not None  # for backward
    model(np.ones((99, 200)))
    assert held() is None


def test_a_first_forward_that_fails_leaves_a_stack_that_works():
    model = Sequential([Linear(3, 4, rng=0), Linear(4, 2, rng=1)])
    y = model(X)
    with pytest.raises(ValueError, match="expected"):
        model(np.ones((5, 4)))
    np.testing.assert_array_equal(model(X), y)
    np.testing.assert_allclose(model.compute_backward(U), U @ model[1].weight @ model[0].weight)


class Counts(Function):
    """A participant's Function that keeps the gradient it receives."""

    def compute_forward(self, x):
        return x + 0

    def compute_backward(self, dObj_dOut):
        self.d = dObj_dOut
        return dObj_dOut


def test_a_participants_function_sees_what_it_always_saw():
    model = Sequential([Linear(3, 4, rng=0), Counts(), Linear(4, 2, rng=1)])
    for _ in range(2):
        model(X)
        model.compute_backward(U)
        np.testing.assert_allclose(model[1].d, U @ model[2].weight)
