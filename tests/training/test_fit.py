from __future__ import annotations

import builtins
import copy
import io
import math
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from participant import Lazy, Listed, Rebinding, Scale, Skip

from pancake import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    BinaryCrossEntropy,
    CrossEntropy,
    Function,
    Linear,
    MeanSquaredError,
    RMSprop,
    RNNCell,
    Sequential,
    Sigmoid,
    Tanh,
    Unrolled,
    accuracy,
    clip_grad_norm,
    mlp,
    predict,
)
from pancake.functions.dropout import Dropout
from pancake.functions.normalization import BatchNorm
from pancake.training.early_stopping import EarlyStopping
from pancake.training.errors import NonFiniteError
from pancake.training.evaluate import evaluate
from pancake.training.fit import fit as loud_fit
from pancake.training.history import History
from pancake.training.loop import State

OPTIMIZERS = [SGD, Adam, AdamW, RMSprop, Adagrad]


def fit(*args, **options):
    return loud_fit(*args, **{"progress": False, **options})


def data(n=37):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    return X, (X[:, :1] * X[:, 1:] > 0).astype(float)


def net(seed=0):
    rng = np.random.default_rng(seed)
    return Sequential(
        [
            Linear(2, 6, rng=rng),
            BatchNorm(6),
            Tanh(),
            Dropout(0.3, rng=rng),
            Scale(),
            Linear(6, 1, rng=rng),
            Dropout(0.1, rng=rng),
        ]
    )


def plain():
    return mlp([2, 5, 1], activation=Tanh, rng=0)


LOSS = BinaryCrossEntropy(from_logits=True)


def assert_same(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def without_seconds(history):
    return {name: column for name, column in history.items() if name != "seconds"}


# --- fit is the bare loop ---


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [5, 37, 100])
def test_fit_is_the_bare_loop(make, batch_size):
    X, y = data()
    model, other = net(), net()
    history = fit(model, LOSS, make(model), X, y, epochs=3, batch_size=batch_size, shuffle=False)
    loss, optimizer = copy.copy(LOSS), make(other)
    means = []
    for _ in range(3):
        total = 0.0
        for i in range(0, len(X), batch_size):
            optimizer.zero_grad()
            objective = loss(other(X[i : i + batch_size]), y[i : i + batch_size])
            other.accumulate_grads(loss.compute_backward())
            optimizer.step()
            total += objective * len(X[i : i + batch_size])
        means.append(total / len(X))
    assert_same(model, other)
    assert history["loss"] == means


@pytest.mark.parametrize("columns", [2, 100_000])  # the second is shuffled in several blocks
def test_every_example_is_seen_once_in_each_epoch_in_another_order(columns):
    n = 11
    X = np.arange(n, dtype=float)[:, None] * np.ones(columns)
    y, weight = -X[:, :1], np.arange(n) + 0.5

    class Noted(MeanSquaredError):
        def compute_forward(self, pred, target, weight=None):
            seen.append((target[:, 0].copy(), weight.copy()))
            return super().compute_forward(pred, target, weight)

    seen = []
    model = Sequential([Linear(columns, 1, init="zeros", rng=0)])
    fit(model, Noted(), SGD(model, lr=0), X, y, epochs=3, batch_size=3, sample_weight=weight, rng=0)
    del seen[0]  # the rehearsal
    assert [len(target) for target, _ in seen] == [3, 3, 3, 2] * 3
    orders = [tuple(-np.concatenate([t for t, _ in seen[i : i + 4]])) for i in (0, 4, 8)]
    for order in orders:
        assert sorted(order) == list(range(n))
    assert len({tuple(range(n)), *orders}) == 4
    for target, w in seen:
        np.testing.assert_array_equal(w, -target + 0.5)


def test_shuffling_is_a_permutation_of_the_given_generator():
    X, y = data()
    model, other = plain(), plain()
    fit(model, LOSS, SGD(model), X, y, epochs=2, batch_size=5, rng=np.random.default_rng(4))
    rng = np.random.default_rng(4)
    optimizer = SGD(other)
    for _ in range(2):
        order = rng.permutation(len(X))
        fit(other, LOSS, optimizer, X[order], y[order], epochs=1, batch_size=5, shuffle=False)
    assert_same(model, other)


def test_inputs_are_not_changed_or_copied_into_the_model():
    X, y = data()
    X.flags.writeable = y.flags.writeable = False
    fit(plain_model := plain(), LOSS, Adam(plain_model), X, y, epochs=2, rng=0)
    assert plain_model.training


def test_lists_and_integers_are_examples():
    model = plain()
    history = fit(model, MeanSquaredError(), SGD(model), [[0, 1], [1, 0], [1, 1]], [[1], [0], [1]], epochs=2)
    assert history.epochs == 2


def test_a_float32_model_stays_float32():
    model = mlp([2, 5, 1], rng=0, dtype=np.float32)
    fit(model, LOSS, Adam(model), *data(), epochs=2, rng=0)
    assert {p.dtype for p in model.get_params_and_grads()[0]} == {np.dtype(np.float32)}


def test_modes_are_as_before():
    X, y = data()
    model = net()
    model[1].eval()
    modes = []

    class Watch(Function):
        def compute_forward(self, x):
            modes.append((self.training, model[1].training))
            return x

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    model.add(Watch())
    before = [vars(f).get("training") for f in model.walk()]
    fit(model, LOSS, SGD(model), X, y, epochs=1, batch_size=37, validation=(X, y))
    assert modes == [(False, False), (True, False), (False, False)]  # the first is the rehearsal
    assert [vars(f).get("training") for f in model.walk()] == before


# --- batches ---


def batches_of(X, y, size=5):
    return [(X[i : i + size], y[i : i + size]) for i in range(0, len(X), size)]


@pytest.mark.parametrize("form", ["list", "function", "generator function", "own class"])
def test_batches_from_anywhere(form):
    X, y = data()
    batches = batches_of(X, y)

    class Own:
        def __iter__(self):
            return iter(batches)

    source = {
        "list": batches,
        "function": lambda: batches,
        "generator function": lambda: (b for b in batches),
        "own class": Own(),
    }
    model, other = net(), net()
    history = fit(model, LOSS, Adam(model), source[form], epochs=3)
    expected = fit(other, LOSS, Adam(other), X, y, epochs=3, batch_size=5, shuffle=False)
    assert_same(model, other)
    assert without_seconds(history) == without_seconds(expected)


def test_a_generator_lasts_one_epoch():
    X, y = data()
    model = plain()
    assert fit(model, LOSS, SGD(model), iter(batches_of(X, y)), epochs=1).epochs == 1
    before = model.state_dict()
    with pytest.raises(ValueError, match="gives its batches once, which is not enough for 2 epochs; pass a list of batches, or"):
        fit(model, LOSS, SGD(model), iter(batches_of(X, y)), epochs=2)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_batches_with_weights():
    X, y = data()
    weight = np.arange(37.0)
    model, other = plain(), plain()
    fit(model, LOSS, SGD(model), [(X, y, weight), (X, y), (X, y, None)], epochs=1)
    optimizer = SGD(other)
    for w in (weight, None, None):
        fit(other, LOSS, optimizer, X, y, epochs=1, sample_weight=w, batch_size=37)
    assert_same(model, other)


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ([], ValueError, "there are no batches"),
        ([(np.ones((2, 2)),)], TypeError, "expected batch 1 to be .x, y.*got 1 parts"),
        ([np.ones((2, 2))], TypeError, "expected batch 1 to be .*got ndarray"),
        ([(np.ones((2, 2)), np.ones((3, 1)))], ValueError, "batch 1: expected as many rows in y"),
        (lambda: 3, TypeError, "expected the function to return an iterable"),
        (np.ones((2, 2)), TypeError, "expected x and y, or an iterable of batches .x, y., got ndarray without y"),
        (3, TypeError, "got int without y"),
    ],
)
def test_batches_that_are_none(source, error, words):
    model = plain()
    with pytest.raises(error, match=words):
        fit(model, LOSS, SGD(model), source)


class Masked(Linear):
    """Notes the lengths that it is given."""

    def compute_forward(self, x, lengths=None):
        self.lengths = lengths
        y = super().compute_forward(x)
        return y if lengths is None else y * (np.arange(x.shape[1]) < lengths[:, None])[..., None]


def test_lengths_are_passed_on():
    X, y = np.ones((5, 3, 2)), np.zeros((5, 3, 1))
    lengths = np.array([1, 2, 3, 2, 1])
    model = Masked(2, 1, init="zeros", rng=0)
    fit(model, MeanSquaredError(), SGD(model), X, y, lengths=lengths, batch_size=3, shuffle=False, epochs=1)
    assert model.lengths.tolist() == [2, 1]
    fit(model, MeanSquaredError(), SGD(model), [(X, y, None, lengths)], epochs=1)
    assert model.lengths.tolist() == lengths.tolist()
    fit(model, MeanSquaredError(), SGD(model), X, y, epochs=1)
    assert model.lengths is None


# --- weights of examples, reductions ---


@given(st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(sum))
def test_a_weight_is_a_number_of_repetitions(counts):
    X, y = data(5)
    labels = y[:, 0].astype(int)
    model, other = mlp([2, 3, 2], rng=0), mlp([2, 3, 2], rng=0)
    fit(model, CrossEntropy(), SGD(model, lr=0.1), X, labels, sample_weight=counts, epochs=2)
    repeated = np.repeat(np.arange(5), counts)
    fit(other, CrossEntropy(), SGD(other, lr=0.1), X[repeated], labels[repeated], epochs=2)
    for key, array in model.state_dict().items():
        np.testing.assert_allclose(array, other.state_dict()[key], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_a_sum_is_noted_as_a_sum(reduction):
    X, y = data()
    model = plain()
    loss = BinaryCrossEntropy(from_logits=True, reduction=reduction)
    history = fit(model, loss, SGD(model, lr=0), X, y, epochs=1, batch_size=5, validation=(X, y))
    total = BinaryCrossEntropy(from_logits=True, reduction="sum")(model(X), y)
    assert history["loss"] == pytest.approx([total])
    assert history["val_loss"] == pytest.approx([total])


def test_any_loss_will_do():
    class Half:
        def __call__(self, pred, target):
            self.d = pred - target
            return np.mean(self.d**2) / 2

        def compute_backward(self):
            return self.d / self.d.size

    X, y = data()
    model, other = plain(), plain()
    history = fit(model, Half(), SGD(model, lr=0.2), X, y, epochs=2, rng=0, validation=(X, y))
    expected = fit(other, MeanSquaredError(), SGD(other, lr=0.1), X, y, epochs=2, rng=0, validation=(X, y))
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history[name], np.divide(expected[name], 2), rtol=1e-12)


# --- validation and metrics ---


def test_validation_is_evaluate():
    X, y = data()
    V, w = data(20)[0] + 1, data(20)[1]
    model = net()
    history = fit(model, LOSS, Adam(model), X, y, validation=(V, w), metrics={"accuracy": accuracy}, epochs=2, rng=0)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    result = evaluate(model, LOSS, V, w, metrics={"accuracy": accuracy})
    assert {name: history["val_" + name][-1] for name in result} == result


def test_validation_with_weights():
    X, y = data()
    model = plain()
    history = fit(model, LOSS, Adam(model), X, y, validation=(X, y, np.arange(37)), epochs=1)
    assert history["val_loss"] == [evaluate(model, LOSS, X, y, sample_weight=np.arange(37))["loss"]]


def test_validation_changes_nothing_in_training():
    X, y = data()
    model, other = net(), net()
    fit(model, LOSS, Adam(model), X, y, validation=(X, y), metrics={"accuracy": accuracy}, epochs=3, rng=0)
    fit(other, LOSS, Adam(other), X, y, epochs=3, rng=0)
    assert_same(model, other)


def test_metrics_of_training_are_of_the_predictions_made_there():
    X, y = data()
    model = plain()
    history = fit(
        model, LOSS, SGD(model, lr=0), X, y, batch_size=5, metrics={"n": lambda pred, y: len(pred) + len(y), "a": accuracy}
    )
    assert set(history["n"]) == {74.0}
    assert set(history["a"]) == {accuracy(model(X), y, threshold=0.0)}


def test_a_fraction_is_held_out():
    X, _ = data(40)
    seen = []
    model = Sequential([Linear(2, 1, rng=0)])
    options = {"validation": 0.25, "sample_weight": np.ones(40), "epochs": 1, "batch_size": 7}

    class Noted(MeanSquaredError):
        def compute_forward(self, pred, target, weight=None):
            seen.append(target)
            assert len(weight) == len(target)
            return super().compute_forward(pred, target, weight)

    target = np.arange(40.0)[:, None]
    fit(model, Noted(), SGD(model, lr=0), X, target, shuffle=False, **options)
    del seen[0]  # the rehearsal
    trained, held = np.concatenate(seen[:-1])[:, 0], seen[-1][:, 0]
    assert (len(trained), len(held)) == (30, 10)
    assert trained.tolist() == sorted(set(range(40)) - set(held))
    assert held.tolist() != list(range(30, 40))
    assert sorted(np.random.default_rng(0).permutation(40)[:10]) == held.tolist()  # as documented, the same each time
    seen.clear()
    fit(model, Noted(), SGD(model, lr=0), X, target, rng=5, **options)
    np.testing.assert_array_equal(seen[-1][:, 0], held)


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1, 0.001, 0.999, True, math.nan])
def test_fractions_that_leave_nothing(fraction):
    model = plain()
    with pytest.raises(ValueError, match="validation"):
        fit(model, LOSS, SGD(model), *data(), validation=fraction)


def test_metrics_of_batches_that_do_not_fit_together():
    model = Sequential([Linear(2, 1, rng=0)])
    batches = [(np.ones((2, t, 2)), np.ones((2, t, 1))) for t in (3, 4)]
    with pytest.raises(ValueError, match="metrics need batches that fit together"):
        fit(model, MeanSquaredError(), SGD(model), batches, epochs=1, metrics={"n": lambda pred, y: 1})


# --- schedule, clipping, callbacks ---


def test_schedule_is_a_function_of_the_step():
    X, y = data(10)
    model = plain()
    optimizer = SGD(model)
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1 / (1 + step)

    history = fit(model, LOSS, optimizer, X, y, epochs=2, batch_size=4, schedule=schedule)
    fit(model, LOSS, optimizer, X, y, epochs=1, batch_size=4, schedule=schedule)
    assert asked == list(range(9))
    assert history["lr"] == [0.1 / 3, 0.1 / 6, 0.1 / 9]


def test_clip_norm_clips_the_gradient_of_each_step():
    X, y = data()
    model, other = plain(), plain()
    fit(model, LOSS, SGD(model, lr=1.0), X, y, epochs=2, batch_size=37, clip_norm=0.01)
    loss, optimizer = copy.copy(LOSS), SGD(other, lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        loss(other(X), y)
        other.accumulate_grads(loss.compute_backward())
        clip_grad_norm(other, 0.01)
        optimizer.step()
    assert_same(model, other)


def test_callbacks_see_the_state_after_each_epoch():
    X, y = data()
    model = plain()
    optimizer = SGD(model)
    seen = []

    def note(state):
        assert isinstance(state, State)
        assert (state.model, state.optimizer, state.loss) == (model, optimizer, LOSS)
        seen.append((state.epoch, len(state.history["loss"])))

    fit(model, LOSS, optimizer, X, y, epochs=2, callbacks=[note])
    fit(model, LOSS, optimizer, X, y, epochs=1, callbacks=note)
    assert seen == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("answer", [True, np.True_])
def test_true_stops(answer):
    model = plain()
    others = []
    history = fit(
        model, LOSS, SGD(model), *data(), epochs=9, callbacks=[lambda state: answer if state.epoch == 3 else None, others.append]
    )
    assert history.epochs == len(others) == 3
    assert not history.interrupted


def test_a_callback_may_predict_and_leave_evaluation_mode_behind():
    model, other = net(), net()
    X, y = data()

    def watch(state):
        assert state.model.training
        state.model.eval()

    fit(model, LOSS, SGD(model), X, y, epochs=3, rng=0, callbacks=watch)
    fit(other, LOSS, SGD(other), X, y, epochs=3, rng=0)
    assert_same(model, other)
    assert model.training


def test_a_callback_may_fit_too():
    X, y = data()
    model, other = plain(), plain()
    optimizer, same = SGD(model), SGD(other)

    def more(state):
        if state.epoch == 1:
            fit(state.model, state.loss, state.optimizer, X, y, epochs=2)

    history = fit(model, LOSS, optimizer, X, y, epochs=2, rng=0, callbacks=more)
    assert history["loss"] == fit(other, LOSS, same, X, y, epochs=4, rng=0)["loss"]
    assert_same(model, other)


def exchange(model, what):
    if what == "insert":
        model.functions.insert(1, Linear(model[0].n_out, model[0].n_out, rng=5))
    elif what == "exchange":
        model.functions[0] = Linear(2, model[0].n_out, bias=False, rng=5)


@pytest.mark.parametrize("what", ["insert", "exchange"])
def test_a_callback_may_exchange_parts_in_the_list(what):
    X, y = data()
    model, other = plain(), plain()
    optimizer, same = SGD(model, lr=0.1), SGD(other, lr=0.1)
    options = {"shuffle": False, "clip_norm": 0.01}  # which the gradients of new parts count in
    kept = []

    def change(state):
        kept.append(model.state_dict())
        exchange(model, what if state.epoch == 1 else None)

    stopping = EarlyStopping("error")
    options_here = {"metrics": scripted([3, 1, 2]), "early_stopping": stopping, "callbacks": change}
    with pytest.warns(UserWarning, match="fit: .* other parts after epoch 1 than .* in epoch 1, which do not fit") as told:
        fit(model, LOSS, optimizer, X, y, epochs=3, **options, **options_here)
    assert [Path(warning.filename) for warning in told] == [Path(__file__)]  # the call of fit
    fit(other, LOSS, same, X, y, epochs=1, **options)
    exchange(other, what)
    fit(other, LOSS, same, X, y, epochs=1, **options)
    assert_same(model, other)
    assert_state(model.state_dict(), kept[1])


def test_early_stopping_begins_anew_with_other_parts():
    X, y = data()
    model, kept = plain(), []
    stopping = EarlyStopping("error", patience=2)

    def change(state):
        kept.append(model.state_dict())
        exchange(model, "insert" if state.epoch == 2 else None)

    options = {"metrics": scripted([2, 1, 4, 3, 5, 6, 7]), "early_stopping": stopping}
    with pytest.warns(UserWarning, match="the model has other parts after epoch 2"):
        history = fit(model, LOSS, SGD(model, lr=0.1), X, y, epochs=7, callbacks=change, **options)
    assert (stopping.best, stopping.best_epoch, history.epochs) == (3, 4, 6)
    assert_state(model.state_dict(), kept[3])


@pytest.mark.parametrize("who", ["callbacks", "schedule"])
def test_best_weights_that_do_not_fit_the_model_any_more_do_not_end_a_training_that_is_over(who):
    X, y = data()
    model = net()
    optimizer = SGD(model, lr=0.1)
    handler = signal.getsignal(signal.SIGINT)

    def callback(state):
        exchange(model, "insert" if state.epoch == 3 else None)

    def schedule(step):
        exchange(model, "insert" if step == 2 else None)
        return 0.1

    options = {"metrics": scripted([1, 2, 3]), "early_stopping": EarlyStopping("error"), "batch_size": 37}
    options[who] = callback if who == "callbacks" else schedule
    with pytest.warns(UserWarning, match="fit: .* other parts after epoch 3 than .* in epoch 1, which do not fit") as told:
        history = fit(model.eval(), LOSS, optimizer, X, y, epochs=3, **options)
    assert [Path(warning.filename) for warning in told] == [Path(__file__)]
    assert history.epochs == 3
    assert signal.getsignal(signal.SIGINT) is handler
    assert not model.training


def test_a_callback_may_change_the_reduction():
    X, y = data()
    model, loss = plain(), MeanSquaredError()
    history = fit(
        model, loss, SGD(model, lr=0.0), X, y, epochs=2, batch_size=8, callbacks=lambda state: setattr(loss, "reduction", "sum")
    )
    assert history["loss"][1] == pytest.approx(history["loss"][0] * y.size)


@pytest.mark.parametrize("answer", [None, False, 1, "yes", [0], np.ones(3)])
def test_nothing_else_stops(answer):
    model = plain()
    assert fit(model, LOSS, SGD(model), *data(), epochs=3, callbacks=[lambda state: answer]).epochs == 3


# --- a training that goes on ---


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("rng", [None, 3, "generator"])
def test_two_calls_are_one_training(make, rng):
    X, y = data()
    model = net()
    optimizer = make(model)
    other, same = copy.deepcopy((model, optimizer))
    make_rng = {"generator": lambda: np.random.default_rng(3)}.get(rng, lambda: rng)
    options = {"metrics": {"accuracy": accuracy}, "batch_size": 6, "validation": 0.2}
    whole = fit(model, LOSS, optimizer, X, y, epochs=5, rng=np.random.default_rng(3), **options)
    if rng is None:
        same.history = History()
        same.history.rng = np.random.default_rng(3)  # which then decides
    half = fit(other, LOSS, same, X, y, epochs=2, rng=make_rng(), **options)
    assert half.epochs == 2
    assert fit(other, LOSS, same, X, y, epochs=3, rng=make_rng(), **options) is half
    assert without_seconds(half) == without_seconds(whole)
    assert same.history is half
    assert_same(model, other)


def test_another_optimizer_is_another_training():
    model = plain()
    first = fit(model, LOSS, SGD(model), *data(), epochs=2)
    assert fit(model, LOSS, SGD(model), *data(), epochs=3).epochs == 3
    assert first.epochs == 2


def test_a_copied_training_goes_on_by_itself():
    X, y = data()
    model = net()
    optimizer = Adam(model)
    fit(model, LOSS, optimizer, X, y, epochs=2, rng=0)
    other, same = copy.deepcopy((model, optimizer))
    fit(model, LOSS, optimizer, X, y, epochs=2)
    assert same.history.epochs == 2
    fit(other, LOSS, same, X, y, epochs=2)
    assert_same(model, other)
    assert without_seconds(same.history) == without_seconds(optimizer.history)


def test_the_same_seeds_give_the_same_weights():
    X, y = data()
    results = []
    for rng in (1, 1, 2):
        model = net()
        fit(model, LOSS, Adam(model), X, y, epochs=3, rng=rng, batch_size=8)
        results.append(model.state_dict()["0.weight"])
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


# --- early stopping ---


def scripted(values):
    """A metric that returns the given values, one for each epoch, whatever it sees."""
    values = iter(values)
    return {"error": lambda pred, y: next(values)}


def weights_after(values, stopping, ends=None):
    """Fit with scripted errors; the history, and the weights after each epoch and at the end."""
    X, y = data()
    model = net()
    kept = []
    callbacks = [lambda state: kept.append(model.state_dict()) or None]
    if ends is not None:
        callbacks.append(ends)
    history = None
    try:
        history = fit(
            model, LOSS, SGD(model, lr=0.1), X, y, epochs=len(values), rng=0, metrics=scripted(values), early_stopping=stopping,
            callbacks=callbacks,
        )  # fmt: skip
    finally:
        kept.append(model.state_dict())
    return history, kept


def assert_state(a, b):
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_stops_when_patience_is_spent_and_gives_back_the_best():
    stopping = EarlyStopping("error", patience=3)
    history, kept = weights_after([5, 4, 3, 4, 3, 3.5, 1, 1], stopping)
    assert history.epochs == 6
    assert (stopping.best, stopping.best_epoch) == (3, 3)
    assert_state(kept[-1], kept[2])
    assert not np.array_equal(kept[5]["1.running_mean"], kept[2]["1.running_mean"])  # so buffers are given back as well


def test_epochs_are_over_and_the_best_comes_back():
    stopping = EarlyStopping("error", patience=10)
    history, kept = weights_after([5, 1, 3, 4], stopping)
    assert history.epochs == 4
    assert_state(kept[-1], kept[1])


def test_more_is_better_for_scores():
    stopping = EarlyStopping("error", patience=1, mode="max")
    history, kept = weights_after([1, 2, 3, 2.5, 7], stopping)
    assert history.epochs == 4
    assert (stopping.best, stopping.best_epoch) == (3, 3)
    assert_state(kept[-1], kept[2])


def test_small_steps_are_no_progress_but_the_best_is_the_best():
    stopping = EarlyStopping("error", patience=3, min_delta=0.5)
    history, kept = weights_after([5, 4.8, 4.6, 4.55, 1], stopping)
    assert history.epochs == 4
    assert stopping.best_epoch == 4
    assert_state(kept[-1], kept[3])


def test_small_steps_add_up():
    history, _ = weights_after([5, 4.8, 4.6, 4.4, 4.2, 4.1], EarlyStopping("error", patience=3, min_delta=0.5))
    assert history.epochs == 6


def test_nan_is_never_best():
    stopping = EarlyStopping("error", patience=3)
    history, kept = weights_after([math.nan, 5, math.nan, 6, math.nan, 1], stopping)
    assert history.epochs == 5
    assert stopping.best_epoch == 2
    assert_state(kept[-1], kept[1])


def test_nothing_but_nan_keeps_the_weights():
    stopping = EarlyStopping("error", patience=2)
    history, kept = weights_after([math.nan] * 4, stopping)
    assert (history.epochs, stopping.best_epoch) == (2, 0)
    assert_state(kept[-1], kept[-2])


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_the_best_comes_back_after_an_error_in_a_callback(error):
    def ends(state):
        if state.epoch == 3:
            raise error

    kept = []
    X, y = data()
    model = net()
    optimizer = SGD(model, lr=0.1)
    options = {"rng": 0, "metrics": scripted([5, 1, 2, 0]), "early_stopping": EarlyStopping("error")}
    arguments = (model, LOSS, optimizer, X, y)
    callbacks = [lambda state: kept.append(model.state_dict()) or None, ends]
    if error is KeyboardInterrupt:
        assert fit(*arguments, callbacks=callbacks, epochs=4, **options).interrupted
    else:
        with pytest.raises(Stop):
            fit(*arguments, callbacks=callbacks, epochs=4, **options)
    assert optimizer.history.epochs == 3
    assert_state(model.state_dict(), kept[1])


def test_the_best_comes_back_after_a_loss_that_is_not_finite():
    X, y = data()
    model = net()
    kept = []

    def spoil(state):
        kept.append(model.state_dict())
        if state.epoch == 3:
            model[0].weight[...] = np.nan

    with pytest.raises(NonFiniteError, match="The model has the weights of the best epoch"):
        fit(
            model, LOSS, SGD(model, lr=0.1), X, y, epochs=9, metrics=scripted([5, 1, 2, 0]),
            early_stopping=EarlyStopping("error"), callbacks=[spoil],
        )  # fmt: skip
    assert_state(model.state_dict(), kept[1])


class Sensitive(np.ndarray):
    """An array in whose n-th copy somebody presses Ctrl-C."""

    left = 0

    def copy(self, order="C"):
        Sensitive.left -= 1
        if Sensitive.left == 0:
            raise KeyboardInterrupt
        return super().copy(order)


class Shift(Scale):
    """y = k x + b with b in a buffer."""

    buffers = ("b",)

    def __init__(self):
        super().__init__()
        self.b = np.zeros(1).view(Sensitive)

    def compute_forward(self, x):
        self.b += 1
        return super().compute_forward(x)


def test_ctrl_c_while_weights_are_kept_leaves_no_mixture(monkeypatch):
    X, y = data()
    model = Sequential([Linear(2, 1, rng=0), Shift()])
    monkeypatch.setattr(Sensitive, "left", 4)  # at the start and the end of epoch 1, and those of epoch 2
    stopping = EarlyStopping("error")
    kept = []

    def note(state):
        kept.append({name: np.array(array) for name, array in model._named_arrays()})

    options = {"metrics": scripted([2, 1, 0]), "early_stopping": stopping, "callbacks": note, "batch_size": 20}
    assert fit(model, LOSS, SGD(model, lr=0.1), X, y, epochs=3, **options).interrupted
    assert stopping.best_epoch == 1
    assert_state(dict(model._named_arrays()), kept[0])


def test_ctrl_c_in_validation_gives_back_the_best():
    X, y = data()
    epochs = []

    class Pressed(Function):
        def compute_forward(self, x):
            if not self.training:
                epochs.append(1)
                if len(epochs) == 4:  # after the rehearsal
                    raise KeyboardInterrupt
            return x

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    model = Sequential([*net(), Pressed()])
    kept = []
    history = fit(
        model, LOSS, SGD(model, lr=0.1), X, y, epochs=9, rng=0, validation=(X, y), metrics=scripted([1, 1, 2, 2, 3]),
        early_stopping=EarlyStopping("error"), callbacks=lambda state: kept.append(model.state_dict()),
    )  # fmt: skip
    assert history.interrupted
    assert history.epochs == 2
    assert_state(model.state_dict(), kept[0])
    assert all(function.training for function in model.walk())


def test_each_fit_begins_to_compare_anew():
    stopping = EarlyStopping("error", patience=5)
    weights_after([1, 2], stopping)
    _, kept = weights_after([5, 4, 6], stopping)
    assert (stopping.best, stopping.best_epoch) == (4, 2)
    assert_state(kept[-1], kept[1])


@pytest.mark.parametrize("part", [Scale, Rebinding, Lazy, Listed])
def test_the_best_of_users_functions_comes_back(part):
    X, y = data()
    model = Sequential([Linear(2, 2, rng=0), part(), Linear(2, 1, rng=0)])
    kept = []
    fit(
        model, LOSS, SGD(model, lr=0.1), X, y, epochs=4, metrics=scripted([3, 1, 2, 2]), early_stopping=EarlyStopping("error"),
        callbacks=[lambda state: kept.append(model.state_dict()) or None],
    )  # fmt: skip
    assert_state(model.state_dict(), kept[1])
    assert not np.array_equal(kept[1]["0.weight"], kept[3]["0.weight"])


def test_the_best_loss_of_a_single_batch_is_that_of_the_weights_that_come_back():
    """The loss of an epoch is taken before its step, so the weights after it may be the worst of all."""
    X, y = data()
    model, stopping = plain(), EarlyStopping("loss", patience=2)
    rates = iter([0.1, 0.1, 1e3, 0.1, 0.1, 0.1])
    history = fit(
        model, LOSS, SGD(model), X, y, epochs=6, batch_size=37, early_stopping=stopping, schedule=lambda step: next(rates)
    )
    assert stopping.best_epoch == 3
    assert history.epochs == 5
    assert evaluate(model, LOSS, X, y)["loss"] == stopping.best == min(history["loss"])


def test_the_best_metric_of_a_single_batch_too():
    X, y = data()
    model, stopping = plain(), EarlyStopping("accuracy", patience=2)
    rates = iter([0.1, 0.1, 1e3, 0.1, 0.1, 0.1])
    fit(
        model, LOSS, SGD(model), X, y, epochs=6, batch_size=37, early_stopping=stopping, schedule=lambda step: next(rates),
        metrics={"accuracy": accuracy},
    )  # fmt: skip
    assert evaluate(model, LOSS, X, y, metrics={"accuracy": accuracy})["accuracy"] == stopping.best


def test_what_is_validated_is_that_of_the_weights_at_the_end():
    X, y = data()
    model, stopping = plain(), EarlyStopping("val_loss", patience=2)
    rates = iter([0.1, 0.1, 1e3, 0.1, 0.1, 0.1])
    fit(
        model, LOSS, SGD(model), X, y, epochs=6, batch_size=37, early_stopping=stopping, schedule=lambda step: next(rates),
        validation=(X, y),
    )  # fmt: skip
    assert stopping.best_epoch == 2
    assert evaluate(model, LOSS, X, y)["loss"] == stopping.best


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("val_mood",), ValueError, "expected mode to be 'min' or 'max', got None; it says whether 'val_mood'"),
        (("val_loss", 0), ValueError, "patience of at least 1"),
        (("val_loss", 1.5), TypeError, "patience to be a whole number"),
        (("val_loss", 1, -1.0), ValueError, "min_delta"),
        ((3,), TypeError, "name of a quantity"),
    ],
)
def test_early_stopping_refuses(arguments, error, words):
    with pytest.raises(error, match=words):
        EarlyStopping(*arguments)


@pytest.mark.parametrize(
    ("monitor", "mode"), [("loss", "min"), ("val_rmse", "min"), ("val_accuracy", "max"), ("r2_score", "max")]
)
def test_which_way_is_better_is_known_by_name(monitor, mode):
    assert EarlyStopping(monitor).mode == mode


def test_what_is_not_measured_cannot_be_monitored():
    model = plain()
    before = model.state_dict()
    with pytest.raises(ValueError, match="nothing is called 'val_loss' in this training, only loss; pass validation="):
        fit(model, LOSS, SGD(model), *data(), early_stopping=EarlyStopping("val_loss"))
    assert_state(model.state_dict(), before)


# --- Ctrl-C ---


def test_ctrl_c_in_the_middle_of_an_epoch_keeps_the_history():
    X, y = data()
    calls = []

    class Pressed(MeanSquaredError):
        def compute_forward(self, pred, target, weight=None):
            calls.append(1)
            if len(calls) == 12:  # in the third epoch of five batches
                signal.raise_signal(signal.SIGINT)
            return super().compute_forward(pred, target, weight)

    model = plain()
    optimizer = SGD(model)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        history = fit(model, Pressed(), optimizer, X, y, epochs=9, batch_size=8)
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.interrupted
    assert history.epochs == 2
    assert fit(model, MeanSquaredError(), optimizer, X, y, epochs=2) is history
    assert not history.interrupted
    assert history.epochs == 4


# --- losses that are not finite ---


def failing(model, X, y, loss=LOSS, **options):
    with pytest.raises(NonFiniteError) as caught:
        fit(model, loss, SGD(model, lr=0.1), X, y, **options)
    assert isinstance(caught.value, (ValueError, FloatingPointError))
    return str(caught.value)


def test_the_error_names_epoch_batch_and_function():
    X, y = data()
    model = Sequential([Linear(2, 3, rng=0), Sequential([Tanh(), Scale(), Linear(3, 3, rng=0)]), Linear(3, 1, rng=0)])
    calls = []

    class Late(Linear):
        def compute_forward(self, x):
            calls.append(1)
            y = super().compute_forward(x)
            return y * np.inf if len(calls) >= 9 else y  # after the rehearsal, the third batch of the second epoch of five

    model[1].functions[2] = Late(3, 3, rng=0)
    after = []
    message = failing(model, X, y, batch_size=8, rng=0, callbacks=[lambda state: after.append(model.state_dict())])
    assert "in epoch 2, batch 3: the first Function whose output is not finite is Late(3, 3), part 1.2 of the model" in message
    assert len(after) == 1
    assert_state(model.state_dict(), after[0])


def test_a_function_inside_a_users_composite_is_named():
    X, y = data()
    inner = Linear(1, 1, rng=0)
    model = Sequential([Linear(2, 1, rng=0), Skip(inner)])
    inner.weight[...] = np.inf
    assert "is Linear(1, 1), part 1.f of the model" in failing(model, X, y, epochs=1)


def test_the_time_step_is_named():
    X, y = np.zeros((4, 6, 2)), np.zeros((4, 6, 1))
    model = Sequential([Linear(2, 1, rng=0), Spike()])
    assert "Spike(), part 1 of the model, at time step 3" in failing(model, X, y, MeanSquaredError(), epochs=1)


class Memory(Function):
    """A user's cell: h <- h x."""

    def init_state(self, batch):
        return np.ones((batch, 2))

    def compute_forward(self, x_t, state):
        return state * x_t, state * x_t

    def compute_backward(self, dObj_dOut_t, dObj_dState):
        return dObj_dOut_t + dObj_dState, dObj_dOut_t + dObj_dState


def doubling():
    """A cell of the library that computes h <- relu(2 x)."""
    cell = RNNCell(2, 2, "relu")
    cell.weight_ih, cell.weight_hh = 2 * np.eye(2), np.zeros((2, 2))
    return cell


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("make", [doubling, Memory])
def test_the_time_step_of_a_recurrent_net_is_named(make, return_sequences, reverse):
    model = Sequential([Unrolled(make(), return_sequences, reverse), Linear(2, 1, rng=0)])
    X = np.ones((3, 6, 2))
    X[1, 4] = 1e308
    X[1, 5 if reverse else 3] = 10.0 if make is Memory else 1.0
    y = np.zeros((3, 6, 1) if return_sequences else (3, 1))
    message = failing(model, X, y, MeanSquaredError(), epochs=1, batch_size=3)
    assert "at time step 4" in message
    assert ("Memory()" if make is Memory else "part 0") in message


class Spike(Function):
    def compute_forward(self, x):
        y = x.copy()
        y[2, 3:] = np.inf
        return y

    def compute_backward(self, dObj_dOut):
        return dObj_dOut


def test_a_loss_that_refuses_nan_does_not_hide_where_it_comes_from():
    model = mlp([2, 3, 1], activation=Tanh, output=Sigmoid, rng=0)
    model[2].weight[...] = np.inf
    message = failing(model, *data(), loss=BinaryCrossEntropy(), epochs=1)
    assert "the loss is nan in epoch 1, batch 1: the first Function whose output is not finite is Linear(3, 1)" in message
    model = plain()
    with pytest.raises(ValueError, match="expected every target in"):
        fit(model, LOSS, SGD(model), data()[0], data()[1] + 1)


def test_buffers_may_be_infinite():
    class Masked(Function):
        buffers = ("mask",)

        def __init__(self):
            self.mask = np.array([0.0, -np.inf])

        def compute_forward(self, x):
            return x + 0 * np.exp(self.mask)

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    model = Sequential([Linear(2, 2, rng=0), Masked(), Linear(2, 1, rng=0)])
    assert fit(model, LOSS, SGD(model), *data(), epochs=2).epochs == 2


@pytest.mark.parametrize("loss", [MeanSquaredError(), LOSS])
@pytest.mark.parametrize("name", ["inputs", "targets", "weights"])
def test_bad_data_is_named(name, loss):
    X, y = data()
    weight = np.ones(37)
    {"inputs": X, "targets": y, "weights": weight}[name][20] = np.nan
    batches = [(X[i : i + 8], y[i : i + 8], weight[i : i + 8]) for i in range(0, 37, 8)]
    message = failing(plain(), lambda: batches, None, loss)
    assert f"the loss is nan in epoch 1, batch 3: the {name} of that batch have nan or inf in them: nan in row 4" in message


def test_an_overflowing_loss_is_named():
    model = plain()
    message = failing(model, *data(), loss=Overflowing())
    assert "the loss is inf" in message
    assert "it is the loss itself" in message


class Overflowing(MeanSquaredError):
    def compute_forward(self, pred, target, weight=None):
        return super().compute_forward(pred, target, weight) * math.inf


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_training_that_explodes_gives_back_finite_weights(make):
    X, y = data()
    model = Sequential([Linear(2, 6, rng=0), BatchNorm(6), Linear(6, 1, rng=0)])
    optimizer = make(model, lr=1e4 if make is SGD else 1e150)
    after = [model.state_dict()]
    with pytest.raises(NonFiniteError, match="Model and optimizer are as before that epoch"):
        fit(
            model, MeanSquaredError(), optimizer, X, y, epochs=500, batch_size=8, rng=0,
            callbacks=[lambda state: after.append(model.state_dict()) or None],
        )  # fmt: skip
    assert_state(model.state_dict(), after[-1])
    assert all(np.isfinite(array).all() for array in model.state_dict().values())
    assert np.isfinite(optimizer.history.get("loss", [])).all()
    assert optimizer.history.epochs == len(after) - 1


def test_weights_that_are_spoilt_by_the_last_step_are_found():
    X, y = data()
    model = Sequential([Linear(2, 1, rng=0)])

    class Blunt(MeanSquaredError):
        def compute_backward(self):
            return super().compute_backward() * np.nan

    before = model.state_dict()
    saved = []
    with pytest.raises(NonFiniteError, match=r"the parameter 0\.weight has nan or inf in it after epoch 1"):
        fit(model, Blunt(), SGD(model), X, y, epochs=1, batch_size=37, callbacks=[saved.append])
    assert_state(model.state_dict(), before)
    assert saved == []


def test_what_is_set_to_raise_still_raises():
    model = plain()
    model[0].weight[...] = 1e308
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow encountered"):
        fit(model, LOSS, SGD(model), *data(), epochs=1)


def test_a_profiler_survives_the_search():
    calls = []
    model = plain()
    model[0].weight[...] = np.inf
    watcher = lambda *event: calls.append(1)  # noqa: E731
    sys.setprofile(watcher)
    try:
        failing(model, *data(), epochs=1)
        assert sys.getprofile() is watcher
    finally:
        sys.setprofile(None)


# --- arguments ---


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs of at least 1"),
        ({"epochs": 2.0}, TypeError, "epochs to be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size of at least 1"),
        ({"clip_norm": -1}, ValueError, "clip_norm at least 0"),
        ({"callbacks": [3]}, TypeError, "expected functions as callbacks, got 3"),
        ({"callbacks": 3}, TypeError, "expected functions as callbacks, got 3"),
        ({"callbacks": None}, TypeError, "expected functions as callbacks, got None"),
        ({"loss": MeanSquaredError}, TypeError, "expected a loss, such as MeanSquaredError.., as second argument, got <class"),
        ({"loss": lambda pred, y: 0.0}, TypeError, "expected a loss, such as MeanSquaredError.., as second argument"),
        ({"rng": "a"}, TypeError, "expected rng to be None"),
        ({"schedule": 0.1}, TypeError, "expected functions as schedule, got 0.1"),
        ({"early_stopping": 3}, TypeError, "got 3; write early_stopping=EarlyStopping.'val_loss'"),
        ({"metrics": [accuracy]}, TypeError, "a dict of functions"),
        ({"sample_weight": np.ones(3)}, ValueError, "as many rows in sample_weight"),
        ({"lengths": np.ones(3, int)}, ValueError, "as many rows in lengths"),
        (
            {"lengths": np.ones(37, int), "validation": (np.ones((2, 2)), np.ones((2, 1)), np.ones(2, int))},
            ValueError,
            r"expected \(x, y, None, lengths\)",
        ),
        ({"validation": (np.ones((2, 2)),)}, ValueError, "got 1 parts"),
        ({"validation": (np.ones((2, 2)), np.ones((3, 1)))}, ValueError, "validation: expected as many rows in y"),
        ({"validation": "some"}, ValueError, "a fraction between 0 and 1"),
        ({"y": np.ones((3, 1))}, ValueError, "as many rows in y as in x, got .3, 1. for x of shape .37, 2."),
        ({"y": None, "sample_weight": np.ones(3)}, ValueError, "sample_weight needs arrays x and y; with batches"),
        ({"y": None, "validation": 0.2}, ValueError, "validation needs arrays x and y; with batches, give it as .x, y."),
        ({"model": 3}, TypeError, "expected a Function as the model"),
        ({"optimizer": 0.1}, TypeError, "expected an optimizer"),
        ({"optimizer": SGD(mlp([2, 1], rng=0))}, ValueError, "trains no parameter of Sequential"),
    ],
)
def test_fit_refuses(options, error, words):
    X, y = data()
    model = plain()
    arguments = {"model": model, "loss": LOSS, "optimizer": SGD(model), "x": X, "y": y, **options}
    before = model.state_dict()
    with pytest.raises(error, match=words):
        fit(**arguments)
    assert_state(model.state_dict(), before)
    assert getattr(arguments["optimizer"], "history", None) is None


# --- progress ---


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_in_a_log(capsys):
    model = plain()
    loud_fit(model, LOSS, SGD(model), *data(), epochs=40, metrics={"accuracy": accuracy})
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"epoch {e}/40" for e in range(4, 41, 4)]
    assert "loss 0." in lines[0]
    assert "accuracy 0." in lines[0]
    assert "\r" not in out
    assert err == ""


def test_every_line_of_a_short_training_and_why_it_ended(capsys):
    model = plain()
    optimizer = SGD(model)
    loud_fit(model, LOSS, optimizer, *data(), epochs=2)
    loud_fit(model, LOSS, optimizer, *data(), epochs=3, callbacks=[lambda state: state.epoch == 4])
    heads = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert heads == ["epoch 1/2", "epoch 2/2", "epoch 3/5", "epoch 4/5", "fit"]


def test_a_long_epoch_has_a_line_of_its_own(capsys, monkeypatch):
    clock = iter(range(0, 1000, 11))
    monkeypatch.setattr("pancake.training.progress.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    model = plain()
    loud_fit(model, LOSS, SGD(model), *data(), epochs=40)
    assert len(capsys.readouterr().out.splitlines()) == 40


def test_silence(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    model = plain()
    fit(model, LOSS, SGD(model), *data(), epochs=3, callbacks=[lambda state: True])
    assert capsys.readouterr().out == ""
    assert sys.stderr.getvalue() == ""


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    model = plain()
    loud_fit(model, LOSS, SGD(model), *data(), epochs=3, batch_size=8, callbacks=[lambda state: state.epoch == 2])
    assert "/15 [" in terminal.getvalue()  # three epochs of five batches
    out = capsys.readouterr().out
    assert "fit: stopped after epoch 2" in out + terminal.getvalue()


def test_lines_on_a_terminal_without_tqdm(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    model = plain()
    loud_fit(model, LOSS, SGD(model), *data(), epochs=3)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert sys.stderr.getvalue() == ""


def test_a_bar_in_a_notebook(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, version_info=(9, 0)))
    model = plain()
    loud_fit(model, LOSS, SGD(model), *data(), epochs=2, batch_size=8)
    out, err = capsys.readouterr()
    assert "/10 [" in out + err
    assert "epoch 1" not in out


def test_a_script_without_a_terminal_prints_lines_and_loads_no_tqdm():
    code = (
        "import sys, numpy as np, pancake as pk\nfrom pancake import fit\nm = pk.mlp([2, 3, 1], rng=0)\n"
        "fit(m, pk.MeanSquaredError(), pk.SGD(m), np.ones((9, 2)), np.ones((9, 1)), epochs=2)\n"
        "assert not {'tqdm', 'matplotlib', 'hypothesis'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line[:9] for line in done.stdout.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert done.stderr == ""


def test_predict_after_fit_is_as_good_as_the_history_says():
    X, y = data(200)
    model = mlp([2, 16, 1], activation=Tanh, rng=0)
    metrics = {"accuracy": lambda logits, y: accuracy(logits > 0, y)}
    history = fit(model, LOSS, Adam(model, lr=0.05), X, y, epochs=60, rng=0, validation=(X, y), metrics=metrics)
    assert history["val_accuracy"][-1] == accuracy(predict(model, X) > 0, y)
    assert history["val_accuracy"][-1] > 0.95


def test_print_is_not_needed_for_silence(monkeypatch):
    monkeypatch.setattr(builtins, "print", None)
    model = plain()
    assert fit(model, LOSS, SGD(model), *data(), epochs=1).epochs == 1
