"""What users hand in as data: the same answer everywhere, with the line that repairs it."""

from __future__ import annotations

import types

import numpy as np
import pytest

import pancake as pk
from pancake.training.arrays import first_not_finite, real_array

X = np.random.default_rng(0).normal(size=(12, 3))
Y = (X[:, 0] > 0).astype(int)


def model():
    return pk.mlp([3, 4, 2], rng=0)


def by_fit(x, y, net=None):
    net = model() if net is None else net
    return pk.fit(net, pk.CrossEntropy(), pk.SGD(net), x, y, epochs=1, progress=False)


def by_batches(x, y):
    net = model()
    return pk.fit(net, pk.CrossEntropy(), pk.SGD(net), [(x, y)], epochs=1, progress=False)


def by_validation(x, y):
    net = model()
    return pk.fit(net, pk.CrossEntropy(), pk.SGD(net), X, Y, validation=(x, y), epochs=1, progress=False)


def by_evaluate(x, y):
    return pk.evaluate(model(), pk.CrossEntropy(), x, y)


def by_range_test(x, y):
    net = model()
    return pk.find_learning_rate(net, pk.CrossEntropy(), pk.SGD(net), x, y)


ENTRIES = [by_fit, by_batches, by_validation, by_evaluate, by_range_test]
SPARSE = types.SimpleNamespace(toarray=lambda: X)

WRONG = {
    "masked": (np.ma.masked_greater(X, 1), Y, "without a mask, got a masked array; `x.filled"),
    "masked labels": (X, np.ma.masked_equal(Y, 1), "y without a mask, got a masked array"),
    "nothing masked": (np.ma.array(X), Y, "without a mask"),
    "names": (X, np.array(["no", "yes"])[Y], "return_inverse=True"),
    "names in a list": (X, ["no", "yes"] * 6, "return_inverse=True"),
    "names as objects": (X, np.array(["no", "yes"], object)[Y], "return_inverse=True"),
    "objects": (X.astype(object), Y, r"\.to_numpy\(float\)` or `\.astype\(float\)"),
    "objects with holes": (np.where(X > 1, None, X), Y, r"\.astype\(float\)"),
    "labels as objects": (X, Y.astype(object), r"\.astype\(float\)"),
    "complex": (X * 1j, Y, "real numbers, got an array of dtype complex128"),
    "dates": (np.full((12, 3), np.datetime64("2020")), Y, "real numbers, got an array of dtype datetime64"),
    "sparse": (SPARSE, Y, r"\.toarray\(\)"),
    "ragged": ([[1.0, 2.0, 3.0], [1.0]] * 6, Y, "rows of different lengths; pad them to one length, and pass lengths="),
    "a number": (3.0, Y, "a row for each example"),
    "no rows": (X[:0], Y[:0], r"a row for each example, and one at least, got shape \(0, 3\); if a mask has chosen"),
    "none": (X, None, "y"),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", WRONG)
def test_the_same_answer_everywhere(entry, kind):
    x, y, words = WRONG[kind]
    if kind == "none" and entry is by_fit:
        words = "expected x and y"
    with pytest.raises((TypeError, ValueError), match=words):
        entry(x, y)


class Frame:
    """A table, as of pandas: something that NumPy can ask for an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


@pytest.mark.parametrize(
    "make", [list, Frame, np.asfortranarray, lambda a: a.astype(a.dtype.newbyteorder()), lambda a: a.tolist()]
)
def test_what_is_numbers_is_taken(make):
    net, other = model(), model()
    by_fit(make(X), make(Y), net)
    by_fit(X, Y, other)
    np.testing.assert_array_equal(net[0].weight, other[0].weight)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_that_is_not_finite_is_found(dtype, value):
    array = np.full((300, 4, 5), np.finfo(dtype).max, dtype)  # of which the sum is inf
    with np.errstate(all="raise"):
        assert first_not_finite(array) is None
        array[217, 3, 1] = array[250, 0, 0] = value
        assert first_not_finite(array) == (217, 3, 1)
        counted = np.ones((300, 4), bool)
        counted[217, 3] = False
        assert first_not_finite(array, counted) == (250, 0, 0)
        counted[250] = False
        assert first_not_finite(array, counted) is None


def test_numbers_of_any_kind_stay_as_they_are():
    for array in (X, X.astype(np.float16), Y, Y > 0, Y.astype(np.uint8)):
        assert real_array("f", "x", array) is array


# --- a model, a loss or an optimizer that is none ---


class Alike:
    """A class with the right methods that does not derive from Function."""

    def compute_forward(self, x):
        return x

    def compute_backward(self, dObj_dOut):
        return dObj_dOut


class Foreign:
    """An optimizer as of torch."""

    param_groups = ()

    def zero_grad(self):
        pass

    def step(self):
        pass


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model": Alike()},
            r"expected a Function as the model, .*; derive the class from pancake.Function: class Alike\(pancake",
        ),
        ({"model": Alike}, "derive the class from pancake.Function"),
        ({"model": pk.Linear}, "expected a Function as the model"),
        ({"loss": pk.CrossEntropy}, "expected a loss"),
        ({"optimizer": pk.Adam}, "expected an optimizer, such as Adam"),
        ({"optimizer": Foreign()}, "expected an optimizer, such as Adam"),
        ({"optimizer": "adam"}, "expected an optimizer, such as Adam"),
    ],
)
def test_what_is_no_model_loss_or_optimizer(changes, words):
    net = model()
    arguments = {"model": net, "loss": pk.CrossEntropy(), "optimizer": pk.SGD(net), **changes}
    with pytest.raises(TypeError, match=words):
        pk.fit(*arguments.values(), X, Y, progress=False)


# --- an optimizer of the user's own ---


class Signs:
    """p <- p - lr sign(grad), with nothing but the two methods that a loop needs."""

    def __init__(self, model, lr=0.01):
        self.pairs = list(zip(*model.get_params_and_grads(), strict=True))
        self.rate = lr

    def zero_grad(self):
        for _, grad in self.pairs:
            grad[...] = 0

    def step(self):
        for value, grad in self.pairs:
            value -= self.rate * np.sign(grad)


def test_an_optimizer_of_the_users_own():
    net, other = model(), model()
    optimizer, same = Signs(net), Signs(other)
    options = {"batch_size": 12, "clip_norm": 1.0, "progress": False, "early_stopping": pk.EarlyStopping("val_loss", 99)}
    history = pk.fit(net, pk.CrossEntropy(), optimizer, X, Y, epochs=3, validation=(X, Y), **options)
    loss = pk.CrossEntropy()
    for _ in range(3):
        same.zero_grad()
        loss(other(X), Y)
        other.accumulate_grads(loss.compute_backward())
        pk.clip_grad_norm(other, 1.0)
        same.step()
    np.testing.assert_array_equal(net[0].weight, other[0].weight)
    assert np.isnan(history["lr"]).all()
    assert pk.fit(net, pk.CrossEntropy(), optimizer, X, Y, epochs=2, progress=False) is history is optimizer.history
    assert history.epochs == 5


def test_a_schedule_needs_lr_and_steps():
    net = model()
    with pytest.raises(TypeError, match="a schedule needs an optimizer with the attributes lr and steps"):
        pk.fit(net, pk.CrossEntropy(), Signs(net), X, Y, schedule=pk.cosine(0.1, 10), progress=False)

    class Scheduled(Signs):
        lr, steps = 0.1, 0

        def step(self):
            self.rate = self.lr
            super().step()
            self.steps += 1

    net = model()
    history = pk.fit(
        net,
        pk.CrossEntropy(),
        Scheduled(net),
        X,
        Y,
        epochs=2,
        batch_size=6,
        schedule=lambda step: 0.1 / (1 + step),
        progress=False,
    )
    assert history["lr"] == [0.1 / 2, 0.1 / 4]


def test_an_explosion_with_an_optimizer_that_has_no_state():
    net = model()
    before = net.state_dict()
    with pytest.raises(pk.NonFiniteError, match="The model is as before that epoch"):
        pk.fit(net, pk.CrossEntropy(), Signs(net, lr=np.inf), X, Y, progress=False)
    np.testing.assert_array_equal(net[0].weight, before["0.weight"])
