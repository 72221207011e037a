"""Settings of layers and losses are what their constructors take, also when they are set later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pancake as pk

WRONG: list[tuple[Any, str, Any, type[Exception], str]] = [
    (pk.Dropout(), "p", 3, ValueError, "Dropout: expected p from 0 to 1, got 3"),
    (pk.Dropout(), "p", "a", TypeError, "Dropout: expected p to be a number, got 'a'"),
    (pk.BatchNorm(2), "eps", -5, ValueError, "BatchNorm: expected eps at least 0"),
    (pk.BatchNorm(2), "momentum", 1.5, ValueError, "BatchNorm: expected momentum from 0 to 1, got 1.5"),
    (pk.BatchNorm2d(2), "momentum", None, TypeError, "BatchNorm2d: expected momentum to be a number, got None"),
    (pk.LayerNorm(2), "eps", np.nan, ValueError, "LayerNorm: expected eps at least 0"),
    (pk.RMSNorm(2), "eps", -1, ValueError, "RMSNorm: expected eps at least 0"),
    (pk.GroupNorm(1, 2), "eps", "small", TypeError, "GroupNorm: expected eps to be a number"),
    (pk.LeakyReLU(), "negative_slope", "a", TypeError, "LeakyReLU: expected negative_slope to be a number, got 'a'"),
    (pk.ELU(), "alpha", np.inf, ValueError, "ELU: expected alpha to be finite"),
    (pk.ELU(), "alpha", np.array([1.0, 2.0]), TypeError, "ELU: expected alpha to be a number, got array"),
    (pk.Huber(), "delta", np.array(1.0), TypeError, "Huber: expected delta to be a number, got array"),
    (pk.Softplus(), "beta", 0, ValueError, "Softplus: expected beta of more than 0, got 0"),
    (pk.GELU(), "approximate", "erf", ValueError, "GELU: expected approximate to be one of none, tanh, got 'erf'"),
    (pk.Power(2), "p", "2", TypeError, "Power: expected p to be a number"),
    (pk.Clip(0, 1), "low", 5, ValueError, "Clip: expected low of at most high, got 5 and 1"),
    (pk.Clip(0, 1), "high", -2, ValueError, "Clip: expected low of at most high, got 0 and -2"),
    (pk.Clip(0, 1), "high", "1", TypeError, "Clip: expected high to be a number"),
    (pk.MultiHeadAttention(4, 2), "causal", "no", TypeError, "MultiHeadAttention: expected causal to be True or False"),
    (
        pk.RNNCell(2, 2),
        "activation",
        "foo",
        ValueError,
        "RNNCell: expected activation to be one of tanh, relu, sigmoid, got 'foo'",
    ),
    (pk.Unrolled(pk.GRUCell(2, 2)), "reverse", "False", TypeError, "Unrolled: expected reverse to be True or False"),
    (pk.Unrolled(pk.GRUCell(2, 2)), "return_sequences", 2, TypeError, "Unrolled: expected return_sequences to be True"),
    (pk.Huber(), "delta", -1, ValueError, "Huber: expected delta of more than 0, got -1"),
    (pk.Quantile(0.5), "q", 1, ValueError, "Quantile: expected q between 0 and 1, got 1"),
    (pk.CrossEntropy(), "label_smoothing", 2, ValueError, "CrossEntropy: expected label_smoothing from 0 to 1, got 2"),
    (pk.BinaryCrossEntropy(), "from_logits", "False", TypeError, "BinaryCrossEntropy: expected from_logits to be True"),
]


@pytest.mark.parametrize(("owner", "name", "value", "error", "words"), WRONG)
def test_a_setting_that_makes_no_sense_is_refused_and_nothing_changes(owner, name, value, error, words):
    before = vars(owner).copy()
    with pytest.raises(error, match=words):
        setattr(owner, name, value)
    assert vars(owner) == before


def test_what_is_set_later_is_what_the_constructor_would_have_made():
    x = np.linspace(-2, 2, 12).reshape(4, 3)
    for now, name, value, then in (
        (pk.LeakyReLU(), "negative_slope", 1, pk.LeakyReLU(1)),
        (pk.Clip(-1, 1), "high", None, pk.Clip(-1, None)),
        (pk.GELU(), "approximate", "tanh", pk.GELU("tanh")),
        (pk.RMSNorm(3, eps=1.0), "eps", None, pk.RMSNorm(3)),
        (pk.Dropout(0.2, rng=0), "p", np.float32(0.5), pk.Dropout(0.5, rng=0)),
    ):
        setattr(now, name, value)
        assert repr(now) == repr(then)
        np.testing.assert_array_equal(now(x), then(x))
