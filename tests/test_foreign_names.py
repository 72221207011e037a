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
