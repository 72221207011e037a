"""`predict` leaves no trace."""

from __future__ import annotations

import contextlib
import copy
import sys
import tracemalloc
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from participant import Scale, Skip
from test_contract import FUNCTIONS, make
from threads import in_threads

import pancake
import pancake as pk
from pancake import (
    Add,
    BatchNorm,
    Bidirectional,
    Dropout,
    Embedding,
    Flatten,
    Function,
    GRUCell,
    Linear,
    LSTMCell,
    ReLU,
    Residual,
    RNNCell,
    Sequential,
    Tanh,
    Unrolled,
    memory,
    mlp,
    predict,
)
from pancake.fast import chains, prediction, stacks

X = np.random.default_rng(0).normal(size=(7, 3))
U = np.random.default_rng(1).normal(size=(7, 2))


class Mode(Function):
    """Adds 100 in training, and counts its calls in an attribute."""

    calls = 0

    def compute_forward(self, x):
        self.calls += 1
        self.last = x
        return x + 100 * self.training

    def compute_backward(self, dObj_dOut):
        return dObj_dOut


def model_of(*more):
    return Sequential([Linear(3, 4, rng=0), Skip(Scale()), *more, Tanh(), Sequential([Linear(4, 2, rng=1)])])


@given(st.integers(1, 40), st.none() | st.integers(1, 50))
def test_equals_the_model_in_evaluation_mode(rows, batch_size):
    model = model_of(Mode())
    x = np.random.default_rng(rows).normal(size=(rows, 3))
    expected = model.eval()(x)
    model.train()
    np.testing.assert_allclose(predict(model, x, batch_size), expected, rtol=1e-12, atol=1e-15)


def test_the_default_blocks_give_the_same_as_one():
    model = model_of()
    x = np.random.default_rng(0).normal(size=(1300, 3))
    np.testing.assert_allclose(predict(model, x), model(x), rtol=1e-12, atol=1e-15)
    assert predict(model, x).flags.owndata
    sizes = []

    class Size(Mode):
        def compute_forward(self, x):
            sizes.append(len(x))
            return x

    predict(Size(), x, batch_size=600)
    assert sizes == [600, 600, 100]


def test_sequences_are_cut_into_the_smallest_blocks():
    model = Sequential([Linear(2, 3, rng=0), Unrolled(RNNCell(3, 4, rng=1))])
    assert prediction.rows_of_block(stacks.State(model.functions), np.ones((5, 1, 2))) == 192


@pytest.mark.parametrize("sizes", [[2, 8, 1], [2, 64, 64, 3], [3, 300, 2], [900, 4]], ids=str)
@pytest.mark.parametrize("rows", [193, 2000, 5001])
def test_blocks_of_nets_of_any_width(sizes, rows):
    model = mlp(sizes, activation=Tanh, rng=0)
    x = np.random.default_rng(0).normal(size=(rows, sizes[0]))
    y = predict(model, x)
    at_once = prediction.rows_of_block(stacks.State(model.functions), x)
    assert at_once % 192 == 0
    assert (at_once > 192) == (sum(sizes) < 65)
    assert prediction.rows_of_block(stacks.State(model.functions), x[:, np.newaxis].repeat(100, axis=1)) == 192
    with pancake.fast.off():
        np.testing.assert_allclose(y, predict(model, x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (5, 3), (5, 6, 3), (1, 1, 1, 3)])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_shapes(shape, batch_size):
    model, x = Linear(3, 2, rng=0), np.random.default_rng(0).normal(size=shape)
    y = predict(model, x, batch_size)
    assert y.shape == (*shape[:-1], 2)
    np.testing.assert_allclose(y, model(x), rtol=1e-12)


def test_lists_integers_and_dtypes():
    model = mlp([3, 2], rng=0, dtype=np.float32)
    y = predict(model, [[1, 2, 3]] * 5, batch_size=2)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, model(np.array([[1, 2, 3]] * 5)), rtol=1e-6)


def attributes_of(model):
    """All attributes of all parts: the very same objects must be there afterwards."""
    return [(part, dict(vars(part))) for part in model.walk()]


def assert_same_attributes(before):
    for part, attributes in before:
        assert list(vars(part)) == list(attributes)
        for name, value in attributes.items():
            assert vars(part)[name] is value


@pytest.mark.parametrize("rows", [7, 3, 100])
@pytest.mark.parametrize("batch_size", [None, 2, 7])
@pytest.mark.parametrize("training", [True, False])
def test_leaves_modes_attributes_caches_and_gradients(rows, batch_size, training):
    """Also where the shapes of both inputs are equal, so that a work array could be used again."""
    model, twin = model_of(Mode()), model_of(Mode())
    for m in (model, twin):
        m[0].train(not training)
        m[2].train(training)
        m(X)
        m.compute_backward(U)
    before = attributes_of(model)
    grads = [g.copy() for g in model.get_params_and_grads()[1]]
    predict(model, np.full((rows, 3), 9.0), batch_size)
    assert_same_attributes(before)
    assert (model[0].training, model[2].training) == (not training, training)
    for g, h in zip(model.get_params_and_grads()[1], grads, strict=True):
        np.testing.assert_array_equal(g, h)
    d = U[::-1].copy()
    np.testing.assert_array_equal(model.compute_backward(d), twin.compute_backward(d))
    for g, h in zip(model.get_params_and_grads()[1], twin.get_params_and_grads()[1], strict=True):
        np.testing.assert_array_equal(g, h)


def test_leaves_nothing_in_a_model_that_has_never_run():
    model = model_of(Mode())
    before = attributes_of(model)
    predict(model, X)
    assert_same_attributes(before)
    with pytest.raises(RuntimeError, match="compute_backward needs a compute_forward before it"):
        model[0].compute_backward(np.ones((7, 4)))


def test_the_bias_counts_in_predictions():
    for model in (Linear(3, 2, rng=0), mlp([3, 4, 2], rng=0)):
        for p in model.get_params_and_grads()[0]:
            p += 1
        np.testing.assert_allclose(predict(model, X), model(X), rtol=1e-12)


def test_recurrent_layers_go_on_from_where_they_were():
    model, x = Sequential([Unrolled(GRUCell(3, 2, rng=0)), Linear(2, 2, rng=1)]), np.random.default_rng(0).normal(size=(7, 4, 3))
    model(x)
    expected = copy.deepcopy(model)
    expected(x)
    predict(model, -x)
    u = np.ones((7, 4, 2))
    np.testing.assert_array_equal(model.compute_backward(u), expected.compute_backward(u))


class Negated:
    """A mixin in front of a layer."""

    def compute_forward(self, x):
        return -super().compute_forward(x)

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(-dObj_dOut)


class NegatedLinear(Negated, Linear):
    pass


class Doubled(Tanh):
    def compute_forward(self, x):
        return 2 * super().compute_forward(x)


class Halved(Sequential):
    def compute_forward(self, x, lengths=None):
        return super().compute_forward(x, lengths) / 2


@pytest.mark.parametrize("own", [NegatedLinear(3, 2, rng=0), Doubled(), Halved([Linear(3, 2, rng=0), Tanh()])])
def test_what_a_subclass_has_rewritten_counts(own):
    for model in (own, Sequential([own]), Sequential([Linear(3, 3, rng=1), own])):
        np.testing.assert_array_equal(predict(model, X), model(X))


class Pair(NamedTuple):
    linear: Function
    bend: Function


class InOrder(list):
    def run(self, x):
        for part in self:
            x = part(x)
        return x


class Holds(Function):
    """Parts in a container of a class of its own, and how it is asked for its output."""

    def __init__(self, parts, run):
        self.parts, self.run = parts, run

    def compute_forward(self, x):
        return self.run(self.parts, x)


@pytest.mark.parametrize(
    "own",
    [
        Holds(Pair(Linear(3, 2, rng=0), Tanh()), lambda parts, x: parts.bend(parts.linear(x))),
        Holds(InOrder([Linear(3, 2, rng=0), Tanh()]), lambda parts, x: parts.run(x)),
        Holds(defaultdict(Tanh, a=Linear(3, 2, rng=0)), lambda parts, x: parts["new"](parts["a"](x))),
    ],
    ids=lambda own: type(own.parts).__name__,
)
def test_parts_may_be_in_containers_of_any_class(own):
    np.testing.assert_array_equal(predict(own, X), own(X))


def test_a_rewritten_backward_counts_where_the_gradient_of_the_input_is_not_needed():
    own, plain = NegatedLinear(3, 2, rng=0), Linear(3, 2, rng=0)
    own(X), plain(X)
    own.accumulate_grads(U[:, :2]), plain.accumulate_grads(U[:, :2])
    np.testing.assert_array_equal(own.grad_weight, -plain.grad_weight)


class OwnCache(Scale):
    """Keeps a dict in an attribute that the base class has too."""

    def __init__(self):
        super().__init__()
        self._cache = {}

    def compute_forward(self, x):
        self._cache["x"] = x
        return self.k * x


def test_an_attribute_called_cache_is_the_participants_own():
    np.testing.assert_array_equal(predict(OwnCache(), X), 0.5 * X)


class Fails(Mode):
    """Fails in the block that holds a 99."""

    def compute_forward(self, x):
        self.new_attribute = x
        if (x == 99).any():
            raise FloatingPointError("99")
        return super().compute_forward(x)


@pytest.mark.parametrize("error", [FloatingPointError, KeyboardInterrupt])
def test_an_exception_leaves_everything_too(error):
    class Interrupted(Fails):
        def compute_forward(self, x):
            try:
                return super().compute_forward(x)
            except FloatingPointError:
                raise error from None

    model = Sequential([Interrupted(), Linear(3, 2, rng=0)])
    model(X)
    before = attributes_of(model)
    x = np.ones((6, 3))
    x[4] = 99
    with pytest.raises(error):
        predict(model, x, batch_size=2)
    assert_same_attributes(before)
    with pytest.raises(ValueError, match="Linear"):
        predict(model, np.ones((6, 2)))
    assert_same_attributes(before)
    assert model.training


def test_many_rows_need_no_more_than_their_output():
    model, x = mlp([2, 64, 64, 1], activation=Tanh, rng=0), np.ones((200_000, 2))
    predict(model, x[:600])
    tracemalloc.start()
    try:
        y = predict(model, x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert y.shape == (200_000, 1)
    activations = 200_000 * 64 * 8
    assert peak < y.nbytes + activations / 10  # those of all rows are several times as many numbers


def test_a_model_without_a_row_for_each_row():
    class Total(Mode):
        def compute_forward(self, x):
            return x.sum(axis=0)

    with pytest.raises(ValueError, match=r"predict: expected the model to return a row for each of the 2 rows.*batch_size=7"):
        predict(Total(), X, batch_size=2)
    np.testing.assert_allclose(predict(Total(), X), X.sum(axis=0))


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "2"])
def test_bad_batch_sizes(batch_size):
    with pytest.raises((TypeError, ValueError), match=r"^predict: expected batch_size "):
        predict(model_of(), X, batch_size)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (None, TypeError, "Linear.*real numbers"),
        ([["a", "b", "c"]], TypeError, "Linear.*real numbers"),
        ([[1, 2, 3], [1]], ValueError, "^predict: expected x to be an array, got rows of different lengths"),
        (np.zeros((4, 2)), ValueError, r"^Linear\(3, 4\): expected \(\.\.\., 3\), got \(4, 2\)"),
        (3.0, ValueError, "Linear"),
    ],
)
def test_bad_inputs(x, error, message):
    with pytest.raises(error, match=message):
        predict(model_of(), x)


@pytest.mark.parametrize("model", [None, np.tanh, Linear, [ReLU()]])
def test_what_is_no_model(model):
    with pytest.raises(TypeError, match=r"^predict: expected a Function, got "):
        predict(model, X)


# --- no rows ---

ROWWISE = [(example, x) for example, x in FUNCTIONS if not isinstance(x, tuple) and x.ndim > 1]


@pytest.mark.parametrize(("example", "x"), ROWWISE, ids=[f"{i}-{type(case[0]).__name__}" for i, case in enumerate(ROWWISE)])
def test_no_rows_have_no_outputs(example, x):
    """Of every Function whose output has a row for each row of its input."""
    function = make(example)
    y = copy.deepcopy(function).eval()(x)
    if isinstance(example, (pk.Reshape, pk.Sum, pk.Mean, pk.Expand, pk.Transpose, pk.Subtract)) or y.shape[:1] != x.shape[:1]:
        return
    for empty in (x[:0], np.zeros((0, *x.shape[1:]), x.dtype)):
        got = predict(function, empty)
        assert got.shape == (0, *y.shape[1:])
        assert got.dtype == y.dtype


def test_no_sequences_with_no_lengths():
    model = Sequential([Unrolled(GRUCell(3, 2, rng=0)), Linear(2, 1, rng=0)])
    assert predict(model, np.zeros((0, 5, 3)), lengths=np.zeros(0, int)).shape == (0, 5, 1)
    assert predict(Sequential([Embedding(5, 2), Flatten(), BatchNorm(6)]), np.zeros((0, 3), int)).shape == (0, 6)


# --- threads and interrupts ---


def deep_model():
    """Parts of all kinds that keep something or behave differently in training."""
    parts = [Linear(3, 4, rng=0), BatchNorm(4), Dropout(0.5, rng=1), Residual(Sequential([Linear(4, 4, rng=2), ReLU()]))]
    recurrent = [Unrolled(LSTMCell(4, 4, rng=3)), Bidirectional(GRUCell(4, 2, rng=4), RNNCell(4, 2, rng=5)), Skip(Scale())]
    return Sequential([*parts, *recurrent, Add([Linear(4, 2, rng=6), Linear(4, 2, rng=7)])])


SEQUENCES = np.random.default_rng(5).normal(size=(3, 4, 3))


def state_of(model):
    """Every attribute of every part with its array's numbers, the generators' states, and what forward has left."""
    found = []
    for part in model.walk():
        for name, value in vars(part).items():
            numbers = value.copy() if isinstance(value, np.ndarray) else None
            if isinstance(value, np.random.Generator):
                numbers = repr(value.bit_generator.state)
            found.append((id(part), name, id(value), numbers))
        found.append((id(part), "_cache", id(part._cache), None))
    return found


def assert_same_state(model, before):
    after = state_of(model)
    assert [entry[:3] for entry in after] == [entry[:3] for entry in before]
    for (_, name, _, value), (_, _, _, wanted) in zip(after, before, strict=True):
        if isinstance(value, (np.ndarray, str)):
            np.testing.assert_array_equal(value, wanted, err_msg=name)


@pytest.mark.parametrize("training", [True, False])
def test_eight_threads_predict_with_one_model(training):
    model = deep_model().train(training)
    y = model(SEQUENCES)
    expected = copy.deepcopy(model).eval()(SEQUENCES)
    before = state_of(model)

    def work(seed):
        return [predict(model, SEQUENCES, batch_size=None if seed % 2 else 2) for _ in range(4)]

    for results in in_threads(work).values():
        for got in results:
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
    assert_same_state(model, before)
    model.compute_backward(np.ones_like(y))


# What Python calls when an object goes. It prints and forgets whatever is raised there, a Ctrl-C too, as in its own weakref.py.
WHEN_OBJECTS_GO = {function.__code__ for function in (memory._given_back, stacks._drop, chains.Chain.let_go)}


def interrupted_at(step, function):
    """Call a function and raise KeyboardInterrupt before the `step`-th line of pancake that it runs; whether it came to that."""
    folder, count, fired = str(Path(pancake.__file__).parent), 0, False

    def calls(frame, event, argument):
        callers = frame
        while callers is not None and callers.f_code not in WHEN_OBJECTS_GO:
            callers = callers.f_back
        return lines if callers is None and frame.f_code.co_filename.startswith(folder) else None

    def lines(frame, event, argument):
        nonlocal count, fired
        if event == "line":
            count += 1
            if count == step:
                fired = True
                raise KeyboardInterrupt
        return lines

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            function()
    finally:
        sys.settrace(before)
    return fired


def plain_model():
    return Sequential([Linear(3, 3, rng=0), BatchNorm(3), Dropout(0.5, rng=1), Unrolled(RNNCell(3, 2, rng=3)), Tanh()])


def wrapped_model():
    """People do this to look at activations."""
    model = plain_model()
    method = model[0].compute_forward
    model[0].compute_forward = lambda x: method(x)
    model[1].eval()
    return model


@pytest.mark.parametrize("make_model", [pytest.param(plain_model, marks=pytest.mark.slow), wrapped_model])
def test_an_interrupt_at_any_line_leaves_the_model_whole(make_model):
    x, model = SEQUENCES[:2, :1], make_model()
    y = model(x)
    before, modes = state_of(model), [part.training for part in model.walk()]
    expected = predict(model, x)
    step = 1
    while interrupted_at(step, lambda: predict(model, x)):
        assert [part.training for part in model.walk()] == modes, f"line {step}"
        assert_same_state(model, before)
        step += 1
    assert step > 100
    np.testing.assert_array_equal(predict(model, x), expected)
    twin = make_model()
    twin(x)
    np.testing.assert_array_equal(model.compute_backward(np.ones_like(y)), twin.compute_backward(np.ones_like(y)))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_method_wrapped_on_an_instance_is_called_in_training_and_in_prediction(place):
    model, x = plain_model().eval(), SEQUENCES[:2]
    model(x)
    calls = []
    method = model[place].compute_forward

    def wrapped(x):
        calls.append(np.shape(x))
        return method(x) + 1

    model[place].compute_forward = wrapped
    y = model(x)
    np.testing.assert_allclose(predict(model, x), y, rtol=1e-12)  # one of them by the plain layers
    assert len(calls) == 2
    del model[place].compute_forward
    assert not np.allclose(predict(model, x), y)
    np.testing.assert_allclose(predict(model, x), model(x), rtol=1e-12)
    assert len(calls) == 2


def test_a_prediction_leaves_what_the_steps_of_a_cell_remember():
    model = pk.Sequential([pk.Unrolled(pk.GRUCell(2, 3, rng=0)), pk.Linear(3, 1, rng=1)])
    method, x, d = model[1].compute_forward, SEQUENCES[:2, :, :2], np.ones((2, SEQUENCES.shape[1], 1))
    model[1].compute_forward = lambda x: method(x)  # so that no copy of the model can stand in for it
    model.eval()  # or else a change of mode makes new steps
    with pk.fast.off():
        model(x)
        expected = model.compute_backward(d)
        model(x)
        predict(model, 3 * x)
        np.testing.assert_array_equal(model.compute_backward(d), expected)
