"""Stacked recurrent layers in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import pancake as pk
from pancake.testing import check_gradients


@pytest.mark.parametrize("cell", [pk.GRUCell, pk.LSTMCell, pk.RNNCell])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_layers(cell: Any, bidirectional: bool, return_sequences: bool) -> None:
    model = pk.rnn([3, 4, 2, 1], cell, return_sequences=return_sequences, bidirectional=bidirectional, rng=0, dtype=np.float32)
    x, lengths = np.random.default_rng(0).normal(size=(2, 5, 3)), np.array([5, 2])
    y = model(x, lengths=lengths)
    assert y.shape == ((2, 5, 1) if return_sequences else (2, 1))
    assert y.dtype == np.float32
    assert {p.dtype for p in model.get_params_and_grads()[0]} == {np.dtype(np.float32)}
    assert check_gradients(model.astype(np.float64), x, max_entries=20).ok


def test_defaults_and_options() -> None:
    assert repr(pk.rnn([2, 3, 1])) == "Sequential([Unrolled(GRUCell(2, 3)), Linear(3, 1)])"
    model = pk.rnn([2, 3, 4, 5, 1], pk.LSTMCell, pk.Sigmoid, return_sequences=False, dropout=0.2)
    assert [type(part) for part in model] == [
        pk.Unrolled,
        pk.Dropout,
        pk.Unrolled,
        pk.Dropout,
        pk.Unrolled,
        pk.Linear,
        pk.Sigmoid,
    ]
    assert [part.return_sequences for part in model if isinstance(part, pk.Unrolled)] == [True, True, False]
    one, other = pk.rnn([2, 3, 3, 1], rng=4), pk.rnn([2, 3, 3, 1], rng=np.random.default_rng(4))
    for a, b in zip(one.get_params_and_grads()[0], other.get_params_and_grads()[0], strict=True):
        assert_allclose(a, b, rtol=0)


def test_as_torch_stacks_them() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True, dtype=torch.float64)
    model = pk.rnn([3, 4, 4, 1], pk.LSTMCell, bidirectional=True)
    for layer, part in enumerate(list(model)[:2]):
        for end, unrolled in (("", part.forward), ("_reverse", part.backward)):  # type: ignore[union-attr]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                setattr(unrolled.cell, name, getattr(theirs, f"{name}_l{layer}{end}").detach().numpy())
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    assert_allclose(model[:2](x), theirs(torch.from_numpy(x))[0].detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: pk.rnn([2, 1]),
            ValueError,
            r"rnn: expected the numbers of inputs, of hidden .* got \[2, 1\]",
        ),
        (lambda: pk.rnn(3), ValueError, "got 3; all sizes go into one list"),  # type: ignore[arg-type]
        (lambda: pk.rnn([2, 3, 1], "GRU"), TypeError, "write cell=pancake.GRUCell, without quotes"),  # type: ignore[arg-type]
        (lambda: pk.rnn([2, 3, 1], "LSTM"), TypeError, "write cell=pancake.LSTMCell, without quotes"),  # type: ignore[arg-type]
        (lambda: pk.rnn([2, 3, 1], "RNNCell"), TypeError, "write cell=pancake.RNNCell, without quotes"),  # type: ignore[arg-type]
        (lambda: pk.rnn([2, 3, 1], output=pk.Tanh()), TypeError, "rnn: expected output to be a class"),
        (lambda: pk.rnn([2, 3, 1], output=pk.Power), TypeError, "rnn: expected output to make a Function without being given"),
        (lambda: pk.rnn([2, 3, 1], dropout=2.0), ValueError, "p"),
        (lambda: pk.rnn([2, 0, 1]), ValueError, "n_hidden of at least 1"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
