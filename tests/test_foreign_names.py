"""What somebody meets who types the words of another library."""

from __future__ import annotations

import inspect
import re

import pytest

import pancake as pk
from pancake.foreign_names import ARGUMENTS, ATTRIBUTES, TOP_LEVEL, advice


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("MSELoss", "MeanSquaredError()"),
        ("BCEWithLogitsLoss", "BinaryCrossEntropy(from_logits=True)"),
        ("CrossEntropyLoss", "CrossEntropy()"),
        ("Dense", "Linear(n_in, n_out)"),
        ("LSTM", "Unrolled(LSTMCell(n_in, n_hidden))"),
        ("DataLoader", "fit(..., batch_size=32)"),
        ("Module", "Function"),
    ],
)
def test_the_error_names_pancakes_word(name, word):
    with pytest.raises(
        AttributeError, match=re.escape(f"module 'pancake' has no attribute {name!r}; pancake's word for it is {word}")
    ):
        getattr(pk, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from pancake import {name}")


def test_other_names_are_just_not_there():
    with pytest.raises(AttributeError, match=r"has no attribute 'Liner'$"):
        pk.Liner  # noqa: B018
    assert not hasattr(pk, "MSELoss")
    assert advice("Liner") == ""
    assert advice("learning_rate", ARGUMENTS) == "; pancake's word for it is lr"


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_no_name_of_pancake_is_foreign(name):
    assert name not in pk.__all__


@pytest.mark.parametrize("text", sorted({*TOP_LEVEL.values(), *ATTRIBUTES.values()}))
def test_every_word_is_there(text):
    """The first name in each entry is one of pancake, or of its Functions and optimizers, or a plain word."""
    called = re.findall(r"\b([A-Za-z_]\w*)\(", text)
    known = {*pk.__all__, *dir(pk.Function), *dir(pk.Sequential), *dir(pk.Optimizer), "float", "freeze", "of"}
    assert set(called) <= known, text


def test_arguments_are_those_of_pancake():
    found = {
        name
        for thing in (
            *(pk.Linear, pk.RNNCell, pk.BatchNorm, pk.Embedding, pk.MultiHeadAttention, pk.Dropout),
            *(pk.Adam, pk.SGD, pk.fit, pk.CrossEntropy),
        )
        for name in inspect.signature(thing).parameters
    }
    for name in set(ARGUMENTS.values()):
        assert name in found, name


X, Y = pk.datasets.moons(8, rng=0)


def fit(**options):
    model = pk.mlp([2, 3, 2], rng=0)
    return pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, **options)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fit(verbose=True), "fit: got an unexpected argument 'verbose'; pancake's word for it is progress"),
        (lambda: fit(epoch=3), "fit: got an unexpected argument 'epoch'; did you mean epochs?"),
        (lambda: fit(lr=0.1), "fit: got an unexpected argument 'lr'; the optimizer takes it, as in Adam(model, lr=0.01)"),
        (
            lambda: pk.EarlyStopping("loss", restore_best_weights=True),
            "EarlyStopping: got an unexpected argument 'restore_best_weights'; EarlyStopping always gives back the best weights",
        ),
        (
            lambda: pk.TrainStep(pk.Linear(2, 1), pk.MeanSquaredError(), optim=None),
            "TrainStep: got an unexpected argument 'optim'; did you mean optimizer?",
        ),
        (lambda: pk.mlp([2, 3, 1], seed=0), "mlp: got an unexpected argument 'seed'; pancake's word for it is rng"),
        (lambda: pk.rnn([2, 3, 1], seed=0), "rnn: got an unexpected argument 'seed'; pancake's word for it is rng"),
        (
            lambda: pk.Conv2d(1, 2, 3, init="zeros"),
            "Conv2d: got an unexpected argument 'init'; it takes n_in, n_out, kernel_size, stride, padding, dilation, groups, "
            "bias, rng, dtype",
        ),
        (
            lambda: pk.Adam(pk.Linear(1, 1), learning_rate=1),
            "Adam: got an unexpected argument 'learning_rate'; pancake's word for it is lr",
        ),
        (lambda: pk.SGD(pk.Linear(1, 1), nestrov=True), "SGD: got an unexpected argument 'nestrov'; did you mean nesterov?"),
        (lambda: pk.CrossEntropy(weight=[1]), "CrossEntropy: got an unexpected argument 'weight'; did you mean class_weight?"),
        (lambda: pk.GRUCell(1, 2, units=3), "GRUCell: got an unexpected argument 'units'; it takes n_in, n_hidden, rng, dtype"),
        (lambda: pk.Tanh(x=1), "Tanh takes no arguments, got 1"),
    ],
)
def test_an_argument_that_is_not_taken_is_refused_with_what_is_meant(call, said):
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        call()


def test_a_function_of_ones_own_may_take_any_arguments():
    class Own(pk.Function):
        def __init__(self, n, **options):
            self.n, self.options = n, options

    assert Own(1, seed=2, lr=3).options == {"seed": 2, "lr": 3}


def test_fit_catches_what_it_refuses_last():
    """Or else the list of what is taken would name what catches the rest, and not the last argument."""
    *_, last = inspect.signature(pk.fit).parameters.values()
    assert last.kind is inspect.Parameter.VAR_KEYWORD
