"""Ctrl-C, and errors, at any line of a training: the model stays whole, and the training can go on."""

from __future__ import annotations

import os
import signal
import sys
import threading

import numpy as np
import pytest

import pancake as pk
from pancake.training.interrupts import Interrupts

FOLDER = os.path.dirname(pk.__file__) + os.sep
LINES = ("training", "optimizers")  # the folders whose lines are interrupted here
PREDICT = os.path.join("training", "predict.py")


def interrupted_at(step, function, error=KeyboardInterrupt):
    """Call a function, and raise an error in front of the `step`-th line that it runs; whether it came to that."""
    count, fired = 0, False

    def lines(frame, event, argument):
        nonlocal count, fired
        if event == "line":
            count += 1
            if count == step:
                fired = True
                raise error
        return lines

    def calls(frame, event, argument):
        name = frame.f_code.co_filename
        if name.startswith(FOLDER) and name[len(FOLDER) :].startswith(LINES) and not name.endswith(PREDICT):
            return lines
        return None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        function()
    except error:
        pass
    finally:
        sys.settrace(before)
    return fired


X = np.random.default_rng(0).normal(size=(8, 3))
Y = X[:, :1] ** 2


def net():
    return pk.Sequential([pk.Linear(3, 3, rng=0), pk.Tanh(), pk.Linear(3, 1, rng=1)])


def after(steps, make):
    """The weights after so many steps of a bare loop over four batches of two."""
    model, loss = net(), pk.MeanSquaredError()
    optimizer = make(model)
    for i in range(steps):
        rows = slice(2 * (i % 4), 2 * (i % 4) + 2)
        optimizer.zero_grad()
        loss(model(X[rows]), Y[rows])
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("make", [pk.SGD, pk.Adam])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_at_any_line_the_steps_are_those_of_the_weights(make, error):
    """Steps, weights, modes and the columns of the history, whichever line was the last; and training goes on."""
    weights = {steps: after(steps, make) for steps in range(9)}
    step, seen = 0, set()
    while True:
        step += 7 if make is pk.SGD else 11
        model = net()
        model[1].eval()
        optimizer = make(model)
        options = {"batch_size": 2, "shuffle": False, "progress": False, "metrics": {"n": lambda pred, y: len(pred)}}

        def train(model=model, optimizer=optimizer, options=options):
            pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=2, validation=(X, Y), **options)

        if not interrupted_at(step, train, error):
            break
        for key, array in model.state_dict().items():
            np.testing.assert_array_equal(array, weights[optimizer.steps][key], err_msg=f"line {step}, {optimizer.steps} steps")
        assert [f.training for f in model.walk()] == [True, True, False, True], step
        history = optimizer.history or pk.History()
        assert len({len(column) for column in history.values()}) <= 1, step
        assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN), step
        epochs = history.epochs
        assert pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=1, **options).epochs == epochs + 1
        seen.add(optimizer.steps - 4)
    assert seen >= set(range(8)) if make is pk.SGD else len(seen) > 4


def test_the_best_weights_come_back_from_any_line():
    step = 0
    while True:
        step += 13
        model, stopping, kept = net(), pk.EarlyStopping("val_loss", mode="max"), []
        optimizer = pk.SGD(model, lr=0.1)

        def train(model=model, stopping=stopping, optimizer=optimizer, kept=kept):
            pk.fit(
                model, pk.MeanSquaredError(), optimizer, X, Y, epochs=2, batch_size=4, validation=(X, Y), progress=False,
                early_stopping=stopping, callbacks=[lambda state: kept.append(model.state_dict()) or None],
            )  # fmt: skip

        if not interrupted_at(step, train):
            break
        if stopping.best_epoch == 1 and kept:
            for key, array in model.state_dict().items():
                np.testing.assert_array_equal(array, kept[0][key], err_msg=f"line {step}")
    assert step > 1000


# --- a real Ctrl-C ---


@pytest.fixture
def ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


class Pressed(pk.SGD):
    """Somebody presses Ctrl-C in the middle of a step."""

    def update(self, p, g, work, *args):
        if self.steps == 3:
            self.press()
        super().update(p, g, work, *args)


def test_a_step_is_made_whole_before_ctrl_c_ends_the_training(ctrl_c):
    model = net()
    optimizer = Pressed(model)
    optimizer.press = ctrl_c
    history = pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=2, batch_size=2, shuffle=False, progress=False)
    assert history.interrupted
    assert optimizer.steps == 3
    for key, array in after(3, pk.SGD).items():
        np.testing.assert_array_equal(model.state_dict()[key], array)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_elsewhere_is_heard_at_once(ctrl_c):
    heard = []

    class Slow(pk.MeanSquaredError):
        def compute_backward(self):
            heard.append("pressed")
            if len(heard) == 3:
                ctrl_c()
            heard.append("not yet")
            return super().compute_backward()

    model = net()
    optimizer = pk.SGD(model)
    assert pk.fit(model, Slow(), optimizer, X, Y, batch_size=2, progress=False).interrupted
    assert heard == ["pressed", "not yet", "pressed"]
    assert optimizer.steps == 1


def test_the_users_handler_is_called_and_comes_back(ctrl_c):
    calls = []
    handler = lambda number, frame: calls.append(number)  # noqa: E731
    signal.signal(signal.SIGINT, handler)
    model = net()
    pk.fit(
        model, pk.MeanSquaredError(), pk.SGD(model), X, Y, epochs=1, progress=False, callbacks=[lambda state: ctrl_c() or None]
    )
    assert calls == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_not_pythons_stays(ctrl_c, handler):
    signal.signal(signal.SIGINT, handler)
    interrupts = Interrupts()
    interrupts.begin()
    assert signal.getsignal(signal.SIGINT) is handler
    interrupts.put_back()
    assert signal.getsignal(signal.SIGINT) is handler


def test_fit_works_in_any_thread(ctrl_c):
    histories = []

    def train():
        model = net()
        histories.append(pk.fit(model, pk.MeanSquaredError(), pk.SGD(model), X, Y, epochs=2, progress=False))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert histories[0].epochs == 2


# --- errors in the middle of a step ---


@pytest.mark.parametrize("make", [pk.SGD, pk.Adam])
def test_an_error_in_a_step_takes_model_and_optimizer_back_to_the_start_of_the_epoch(make):
    class Failing(make):
        left = 7  # of pieces

        def update(self, p, g, work, *args):
            self.left -= 1
            if self.left < 0:
                raise FloatingPointError("overflow")
            super().update(p, g, work, *args)

    model, other = net(), net()
    optimizer, same = Failing(model), make(other)
    optimizer.left = 6 * len(optimizer._pieces)  # so it is in the second epoch of four steps
    with pytest.raises(FloatingPointError, match="overflow"):
        pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=3, batch_size=2, shuffle=False, progress=False)
    pk.fit(other, pk.MeanSquaredError(), same, X, Y, epochs=1, batch_size=2, shuffle=False, progress=False)
    for key, array in other.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[key], array)
    ours, theirs = optimizer.state_dict(), same.state_dict()
    assert ours.keys() == theirs.keys()
    for key in theirs:
        np.testing.assert_array_equal(ours[key], theirs[key])


def test_after_an_explosion_the_same_optimizer_can_go_on():
    model, other = net(), net()
    optimizer, same = pk.Adam(model), pk.Adam(other)
    options = {"batch_size": 2, "shuffle": False, "progress": False}
    pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=2, **options)
    with pytest.raises(pk.NonFiniteError, match="Model and optimizer are as before that epoch"):
        pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=2, schedule=lambda step: 1e300, **options)
    optimizer.lr = same.lr
    pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=2, **options)
    pk.fit(other, pk.MeanSquaredError(), same, X, Y, epochs=4, **options)
    for key, array in other.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[key], array)
    assert optimizer.history["loss"] == same.history["loss"]
