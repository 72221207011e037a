"""A stack runs forward, then in reverse, and refuses what could not work."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from participant import Dense, Lazy, Listed, Scale, Skip

import pancake as pk
from pancake import (
    SGD,
    BatchNorm,
    Concatenate,
    Embedding,
    Flatten,
    Function,
    GRUCell,
    Identity,
    Linear,
    LSTMCell,
    Mul,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Square,
    Tanh,
    Unrolled,
    mlp,
    predict,
)

X = np.random.default_rng(0).normal(size=(5, 3))
U = np.random.default_rng(1).normal(size=(5, 2))


class Spy(Linear):
    """Counts how often each of the two backward passes runs."""

    full = short = 0

    def compute_backward(self, dObj_dOut):
        self.full += 1
        return super().compute_backward(dObj_dOut)

    def accumulate_grads(self, dObj_dOut):
        self.short += 1
        super().accumulate_grads(dObj_dOut)


class Plain(Function):
    """A participant's Function without parameters, which counts its backward passes."""

    calls = 0

    def compute_forward(self, x):
        return 3 * x

    def compute_backward(self, dObj_dOut):
        self.calls += 1
        return 3 * dObj_dOut


def test_forward_and_backward_are_those_of_the_parts():
    f, g, h = Linear(3, 4, rng=0), Tanh(), Linear(4, 2, rng=1)
    expected = h(g(f(X)))
    d = f.compute_backward(g.compute_backward(h.compute_backward(U)))
    grads = [a.copy() for part in (f, h) for a in part.get_params_and_grads()[1]]
    for a in (f, h):
        for grad in a.get_params_and_grads()[1]:
            grad.fill(0)
    stack = Sequential([f, g, h])
    np.testing.assert_allclose(stack(X), expected, rtol=1e-12)
    np.testing.assert_allclose(stack.compute_backward(U), d, rtol=1e-12)
    for a, b in zip(stack.get_params_and_grads()[1], grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_list_of_functions():
    parts = [Linear(3, 4), ReLU(), Linear(4, 2)]
    stack = Sequential(iter(parts))
    assert len(stack) == 3
    assert list(stack) == parts
    assert stack[0] is parts[0]
    assert stack[-1] is parts[2]
    assert isinstance(stack[1:], Sequential)
    assert list(stack[1:]) == parts[1:]
    assert stack[::-1][0] is parts[2]
    with pytest.raises(IndexError):
        stack[3]
    added = Sigmoid()
    assert stack.add(added) is stack
    assert list(stack) == [*parts, added]
    assert len(parts) == 3
    assert bool(Sequential([Identity()]))


def test_an_empty_stack_is_the_identity():
    stack = Sequential([])
    np.testing.assert_array_equal(stack(X), X)
    np.testing.assert_array_equal(stack.compute_backward(U), U)
    stack.accumulate_grads(U)
    assert stack.get_params_and_grads() == ([], [])


def test_identity_copies():
    f = Identity()
    y = f(X)
    np.testing.assert_array_equal(y, X)
    assert not np.shares_memory(y, X)
    d = f.compute_backward(X)
    np.testing.assert_array_equal(d, X)
    assert not np.shares_memory(d, X)


# --- accumulate_grads ---

BEFORE = {
    "nothing": list,
    "library": lambda: [ReLU()],
    "user": lambda: [Plain()],
    "nested": lambda: [Sequential([Plain(), Sequential([Tanh(), Plain()])]), Plain()],
    "composite": lambda: [Skip(Plain())],
    "empty": lambda: [Sequential([])],
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("inside", [False, True], ids=["flat", "first of a nested stack"])
def test_accumulate_grads_skips_the_input_of_the_first_layer_with_parameters(before, inside):
    first, second = Spy(3, 4, rng=0), Spy(4, 2, rng=1)
    head = [Sequential([Sequential([*before(), first])])] if inside else [*before(), first]
    stack = Sequential([*head, ReLU(), second])
    stack(X)
    stack.compute_backward(U)
    assert (first.full, second.full) == (1, 1)
    grads = [g.copy() for g in stack.get_params_and_grads()[1]]
    plain = [f for f in stack.walk() if isinstance(f, Plain)]
    calls = [f.calls for f in plain]
    for g in stack.get_params_and_grads()[1]:
        g.fill(0)
    stack(X)
    assert stack.accumulate_grads(U) is None
    assert (first.short, second.full, second.short) == (1, 2, 0)
    assert [f.calls for f in plain] == calls
    for a, b in zip(stack.get_params_and_grads()[1], grads, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.any()


FIRST = {
    "user": Scale,
    "listed": lambda: Listed(3),
    "lazy": Lazy,
    "composite": lambda: Skip(Scale()),
    "composite of a layer": lambda: Skip(Linear(3, 3, rng=2)),
    "dense": lambda: Dense(3, 3),
    "mul": Mul,
}


@pytest.mark.parametrize("make", FIRST.values(), ids=FIRST)
def test_accumulate_grads_reaches_parameters_of_every_kind(make):
    stack = Sequential([Plain(), make(), Tanh(), Linear(3, 2, rng=0)])
    stack(X)
    stack.compute_backward(U)
    grads = [g.copy() for g in stack.get_params_and_grads()[1]]
    for g in stack.get_params_and_grads()[1]:
        g.fill(0)
    stack(X)
    stack.accumulate_grads(U)
    for a, b in zip(stack.get_params_and_grads()[1], grads, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.any()


class ScaledIdentity(Identity):
    """A participant's subclass of a Function without parameters, which has one."""

    def __init__(self):
        self.k, self.grad_k = np.ones(1), np.zeros(1)

    def compute_forward(self, x):
        self.seen = x
        return self.k * super().compute_forward(x)

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.seen).sum()
        return self.k * super().compute_backward(dObj_dOut)


class ScaledTanh(Tanh):
    def __init__(self):
        self.k, self.grad_k = np.ones(1), np.zeros(1)

    def compute_forward(self, x):
        return super().compute_forward(self.k * x)

    def compute_backward(self, dObj_dOut):
        d = super().compute_backward(dObj_dOut)
        self.grad_k += d.sum()
        return self.k * d


@pytest.mark.parametrize("first", [ScaledIdentity, ScaledTanh])
def test_accumulate_grads_sees_parameters_that_a_subclass_adds(first):
    stack = Sequential([first(), Linear(3, 2, rng=0)])
    stack(X)
    stack.accumulate_grads(U)
    assert stack[0].grad_k.any()
    assert stack[1].grad_weight.any()


def test_the_summary_is_a_table_of_shapes_and_numbers_of_parameters():
    model = mlp([3, 10, 2], output=Sigmoid, rng=0)
    model.add(BatchNorm(2))
    assert model.summary((5, 3)).splitlines() == [
        "   Function       output   parameters",
        "-------------------------------------",
        "   input          (5, 3)",
        "0  Linear(3, 10)  (5, 10)          40",
        "1  ReLU()         (5, 10)           0",
        "2  Linear(10, 2)  (5, 2)           22",
        "3  Sigmoid()      (5, 2)            0",
        "4  BatchNorm(2)   (5, 2)            4",
        "-------------------------------------",
        "   all                             66",
    ]
    assert model.training
    assert model[4].num_batches_tracked == 0
    with pytest.raises(ValueError, match=r"Linear\(3, 10\): expected \(..., 3\), got \(5, 4\)"):
        model.summary((5, 4))
    for shape in (5, "5", None):
        with pytest.raises(TypeError, match=r"^Sequential.summary: expected input_shape to be a tuple, such as \(1, 784\), got "):
            model.summary(shape)
    for shape in ((None, 3), (-1, 3), ("5", 3), (1.5, 3), (10**20, 3)):
        with pytest.raises(
            ValueError, match=r"^Sequential.summary: expected whole numbers in input_shape, such as \(1, 784\), got "
        ):
            model.summary(shape)


def test_the_summary_of_a_stack_that_begins_with_an_embedding():
    stack = Sequential([Sequential([Embedding(7, 2), Flatten()]), Linear(6, 1, rng=0)])
    assert "0  Sequential([Embedding(7, 2), Flatten()])  (4, 6)          14" in stack.summary((4, 3)).splitlines()


def test_the_summary_tells_what_is_frozen():
    stack = Sequential([Linear(2, 4, rng=0).freeze(), Linear(4, 1, rng=0)])
    rows = [line.split()[-3:] for line in stack.summary((1, 2)).splitlines()]
    assert ["0", "(12", "frozen)"] in rows
    assert ["5", "(12", "frozen)"] in rows


# --- errors ---


@pytest.mark.parametrize("argument", [None, 3, Linear, Linear(2, 2), Sequential([]), {}, {"0": Linear(2, 2)}])
def test_a_stack_of_what_is_no_list(argument):
    with pytest.raises(TypeError, match=r"^Sequential: expected a list of Functions, got .*; write Sequential\(\[\.\.\.\]\)"):
        Sequential(argument)


@pytest.mark.parametrize("part", [None, "ReLU", np.tanh, 3.0, [ReLU()]])
def test_a_part_that_is_no_function(part):
    with pytest.raises(TypeError, match=r"^Sequential: expected a Function at position 1, got "):
        Sequential([ReLU(), part])


def test_a_class_instead_of_an_instance():
    with pytest.raises(
        TypeError, match=r"expected a Function at position 1, got <class .*Linear'>; make one first: Linear\(\.\.\.\)"
    ):
        Sequential([ReLU(), Linear])


A = Linear(2, 2, rng=0)


@pytest.mark.parametrize(
    "parts",
    [
        lambda: [A, A],
        lambda: [A, ReLU(), A],
        lambda: [Sequential([A]), A],
        lambda: [A, Sequential([ReLU(), Sequential([A])])],
        lambda: [Sequential([A]), Sequential([A])],
        lambda: [Skip(A), A],
        lambda: [Skip(A), Skip(A)],
    ],
)
def test_the_same_function_twice_is_refused_with_the_way_out(parts):
    with pytest.raises(ValueError, match=r"^Sequential: Linear\(2, 2\) stands in it twice.*use shared_copy\(\)"):
        Sequential(parts())
    assert len(Sequential([A, A.shared_copy()])) == 2


def test_a_failed_add_leaves_everything_as_it_was():
    stack = Sequential([A, Sequential([ReLU()])])
    optimizer = SGD(stack, lr=0.1, momentum=0.9)
    before, state = list(stack), optimizer.state_dict()
    for part, error in [
        (A, ValueError),
        (Sequential([Tanh(), A]), ValueError),
        (stack, ValueError),
        (None, TypeError),
        (ReLU, TypeError),
    ]:
        with pytest.raises(error, match=r"^Sequential: "):
            stack.add(part)
        with pytest.raises(error, match=r"^Sequential: "):
            Sequential([stack]).add(part)
    assert list(stack) == before
    assert optimizer.state_dict().keys() == state.keys()
    inner = stack[1]
    with pytest.raises(ValueError, match="stands in it twice"):
        inner.add(inner)


def test_backward_before_forward():
    for stack in (mlp([3, 4, 2]), Sequential([Sequential([Square()])]), Sequential([Identity()])):
        with pytest.raises(RuntimeError, match=r"\): compute_backward needs a compute_forward before it"):
            stack.compute_backward(U)
    with pytest.raises(RuntimeError, match="Linear"):
        mlp([3, 4, 2]).accumulate_grads(U)


def test_wrong_widths_name_the_layer():
    with pytest.raises(ValueError, match=r"^Linear\(4, 2\): expected \(\.\.\., 4\), got \(5, 3\)"):
        Sequential([Linear(3, 3), Linear(4, 2)])(X)


# --- dtypes ---


@given(st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.int8, bool]), st.booleans())
def test_a_float32_model_stays_float32_whatever_goes_in(dtype, nested):
    model = mlp([3, 4, 2], activation=Tanh, output=Sigmoid, rng=0, dtype=np.float32)
    if nested:
        model = Sequential([Identity(), ReLU(), model])
    y = model(X.astype(dtype))
    assert y.dtype == np.float32
    model.compute_backward(U)
    assert {g.dtype for g in model.get_params_and_grads()[1]} == {np.dtype(np.float32)}


# --- lengths of sequences ---


def test_lengths_reach_all_that_take_them():
    rng = np.random.default_rng(0)
    x, lengths = rng.integers(0, 6, size=(7, 5)), rng.integers(1, 6, size=7)
    first, last = Unrolled(LSTMCell(4, 3, rng=0)), Unrolled(GRUCell(3, 3, rng=0), return_sequences=False)
    embedding, linear = Embedding(6, 4, rng=0), Linear(3, 2, rng=0)
    model = Sequential([embedding, Sequential([first, Residual(Tanh())]), last, linear])
    y = model(x, lengths=lengths)
    h = first(embedding(x), lengths=lengths)
    np.testing.assert_allclose(y, linear(last(h + np.tanh(h), lengths=lengths)), rtol=1e-12)
    np.testing.assert_allclose(predict(model, x, lengths=lengths), y, rtol=1e-12)
    np.testing.assert_allclose(predict(model, x, batch_size=3, lengths=lengths), y, rtol=1e-12)
    branches = Concatenate([first, Linear(4, 2, rng=1)])
    np.testing.assert_array_equal(branches(embedding(x), lengths=lengths)[..., :3], first(embedding(x), lengths=lengths))


def test_lengths_that_nobody_takes_or_that_do_not_fit():
    model, x = Sequential([Linear(2, 2, rng=0)]), np.ones((2, 2))
    for run in (model, lambda x, lengths: predict(model, x, lengths=lengths)):
        with pytest.raises(TypeError, match="got lengths, but nothing in it takes them"):
            run(x, lengths=[1, 1])
    recurrent = Sequential([Unrolled(GRUCell(2, 2, rng=0))])
    with pytest.raises(ValueError, match=r"predict: expected lengths of shape \(7,\), one for each row of x, got \(2,\)"):
        predict(recurrent, np.ones((7, 5, 2)), lengths=[1, 1])
    with pytest.raises(ValueError, match="expected lengths from 1 to 5"):
        recurrent(np.ones((7, 5, 2)), lengths=[9] * 7)


def test_only_what_the_library_hands_on_goes_unchecked():
    class Counts(Function):
        """Hands on whole numbers, and lists as gradients."""

        def compute_forward(self, x):
            return np.rint(x).astype(int)

        def compute_backward(self, dObj_dOut):
            return np.asarray(dObj_dOut).tolist()

    for activation in (ReLU(), Tanh(), Sigmoid()):
        stack = Sequential([activation, Counts(), activation.shared_copy(), Linear(3, 2, rng=0)])
        y = stack(X)
        assert y.shape == (len(X), 2)
        assert stack.compute_backward(U).shape == X.shape
        with pytest.raises(ValueError, match=rf"{activation!r}".replace("(", r"\(").replace(")", r"\)") + ": expected dObj_dOut"):
            stack[0].compute_backward(np.ones((1, 1)))


def test_an_activation_that_is_exchanged_or_rewritten_is_called():
    class Doubled(Tanh):
        def compute_forward(self, x):
            return 2 * super().compute_forward(x)

    stack = Sequential([Linear(3, 3, rng=0), Tanh(), Linear(3, 2, rng=1)])
    before = stack(X)
    stack.functions[1] = Doubled()
    np.testing.assert_allclose(stack(X), stack[2](2 * np.tanh(stack[0](X))))
    assert not np.allclose(stack(X), before)


def test_an_empty_stack_is_filled_part_by_part():
    model = pk.Sequential()
    assert (len(model), repr(model)) == (0, "Sequential([])")
    model.add(pk.Linear(2, 3, rng=0)).add(pk.Tanh())
    assert repr(model) == "Sequential([Linear(2, 3), Tanh()])"
    assert model(np.ones((1, 2))).shape == (1, 3)
    for empty in (pk.Add, pk.Concatenate):
        with pytest.raises((TypeError, ValueError)):
            empty()


def test_an_empty_stack_hands_on_a_tuple():
    a, b = np.ones(2), np.zeros((3, 1))
    y = pk.Sequential()((a, b))
    assert all(np.array_equal(p, q) and p is not q for p, q in zip(y, (a, b), strict=True))


def test_a_part_is_exchanged_by_assignment():
    x, y = np.random.default_rng(0).normal(size=(2, 6, 2))
    model, loss = pk.mlp([2, 3, 2], rng=0), pk.MeanSquaredError()
    optimizer = pk.Adam(model, lr=0.1)

    def step():
        optimizer.zero_grad()
        value = loss(model(x), y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
        return value

    step()
    model[1] = pk.Tanh()
    model[-1] = new = pk.Linear(3, 2, rng=5)
    before = new.weight.copy()
    assert repr(model) == "Sequential([Linear(2, 3), Tanh(), Linear(3, 2)])"
    values = [step() for _ in range(30)]
    assert values[-1] < values[0]
    assert not np.array_equal(new.weight, before)
    model(x)
    model[0] = pk.Linear(2, 3, rng=7)
    with pytest.raises(RuntimeError, match="exchanged since its forward"):
        model.compute_backward(np.ones((6, 2)))
    model[1:] = [pk.ReLU(), pk.Linear(3, 1, rng=1), pk.Sigmoid()]
    assert model(x).shape == (6, 1)


def test_what_cannot_be_assigned_changes_nothing():
    model = pk.mlp([2, 3, 2], rng=0)
    before = list(model)
    for index, part, error, message in [
        (0, pk.Tanh, TypeError, "expected a Function at position 0, got .*make one first"),
        (0, model[2], ValueError, "stands in it twice"),
        (1, model, ValueError, "(cannot be a part of itself|stands in it twice)"),
        (1, pk.Residual(model), ValueError, "(cannot be a part of itself|stands in it twice)"),
        (3, pk.Tanh(), IndexError, "range"),
        (slice(0, 1), [3], TypeError, "expected a Function at position 0, got 3"),
    ]:
        with pytest.raises(error, match=message):
            model[index] = part
        assert list(model) == before
    alone = pk.Sequential([pk.Tanh()])
    with pytest.raises(ValueError, match="cannot be a part of itself"):
        alone[0] = alone


@pytest.mark.parametrize("path", [contextlib.nullcontext, pk.fast.off])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Sequential([pk.Standardize(3), Linear(3, 3, rng=0)]),
        lambda: Sequential([Linear(3, 3, rng=0).freeze(), Tanh(), Linear(3, 3, rng=0)]),
        lambda: Sequential([Residual(Tanh()), Linear(3, 3, rng=0)]),
        lambda: Sequential([Linear(3, 3, rng=0), pk.Add([Tanh(), Linear(3, 3, rng=0)])]),
        lambda: Sequential([Tanh(), Residual(Tanh())]),
    ],
)
def test_a_backward_that_ends_early_has_been_for_the_layers_before_it_too(make, path):
    x = np.ones((2, 3))
    with path():
        stack = make()
        stack(x)
        stack.accumulate_grads(x)
        stack(x)
        first = stack.compute_backward(x)
        np.testing.assert_array_equal(stack.compute_backward(x), first)
