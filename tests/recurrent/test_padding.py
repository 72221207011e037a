"""What stands past the end of a sequence counts for nothing, whatever it is."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pancake as pk

RNG = np.random.default_rng(0)
X, Y, LENGTHS = RNG.normal(size=(6, 5, 3)), RNG.integers(0, 2, 6), np.array([5, 2, 3, 1, 4, 4])
PAST = np.arange(5) >= LENGTHS[:, np.newaxis]


def lstm():
    return pk.Unrolled(pk.LSTMCell(3, 2, rng=0), return_sequences=False)


class Own(pk.RNNCell):
    """A user's cell."""


NETS = {
    "user's cell": lambda: [pk.Linear(3, 3, rng=0), pk.Unrolled(Own(3, 2, rng=0), return_sequences=False)],
    "shapes later": lambda: [pk.Linear(3, 3, rng=0), lstm(), pk.Reshape((-1, 2))],
    "cell": lambda: [lstm()],
    "linear": lambda: [pk.Linear(3, 3, rng=0), lstm()],
    "norm": lambda: [pk.LayerNorm(3), pk.Linear(3, 3, rng=0), pk.Tanh(), lstm()],
    "nested": lambda: [pk.Sequential([pk.Linear(3, 3, rng=0), pk.ReLU()]), lstm()],
    "residual": lambda: [pk.Residual(pk.Sequential([pk.Linear(3, 3, rng=0), pk.Unrolled(pk.GRUCell(3, 3, rng=1))])), lstm()],
    "branches": lambda: [pk.Add([pk.Linear(3, 3, rng=0), pk.Unrolled(pk.GRUCell(3, 3, rng=1))]), lstm()],
    "attention": lambda: [pk.MultiHeadAttention(3, 1, rng=0), lstm()],
}


def four_lines(model, loss, optimizer, x):
    optimizer.zero_grad()
    loss(model(x, lengths=LENGTHS), Y)
    model.accumulate_grads(loss.compute_backward())
    optimizer.step()
    assert np.isfinite(model.compute_backward(loss.compute_backward())).all()


WAYS = {
    "four lines": four_lines,
    "step": lambda model, loss, optimizer, x: pk.TrainStep(model, loss, optimizer)(x, Y, lengths=LENGTHS),
    "fit": lambda model, loss, optimizer, x: pk.fit(
        model, loss, optimizer, x, Y, lengths=LENGTHS, epochs=2, batch_size=4, rng=0, progress=False
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("past", [np.nan, np.inf, 7.0])
def test_what_is_past_the_end_changes_nothing(net, way, past):
    model = pk.Sequential(NETS[net]())
    twin = copy.deepcopy(model)
    for each, value in ((model, past), (twin, 0.0)):
        x = np.where(PAST[..., np.newaxis], value, X)
        before = x.copy()
        WAYS[way](each, pk.CrossEntropy(), pk.SGD(each, lr=0.1), x)
        np.testing.assert_array_equal(x, before)
    for key, value in model.state_dict().items():
        np.testing.assert_allclose(value, twin.state_dict()[key], rtol=1e-12, atol=1e-14, err_msg=key)


@pytest.mark.parametrize("lengths", [[9, 1, 1, 1, 1, 1], [1, 2], [0, 1, 1, 1, 1, 1], [1.5] * 6, [[1], [2, 3]], "abc"])
def test_lengths_that_are_none_are_refused_all_the_same(lengths):
    model = pk.Sequential([pk.Linear(3, 3, rng=0), lstm()])
    with pytest.raises((ValueError, TypeError), match="length"):
        model(np.full((6, 5, 3), np.nan), lengths=lengths)


def test_what_is_not_finite_within_a_sequence_stays():
    x = X.copy()
    x[1, 1, 0] = np.nan
    x[1, 3, 0] = np.nan
    y = pk.Sequential([pk.Linear(3, 3, rng=0), lstm()])(x, lengths=LENGTHS)
    assert np.isnan(y).any(axis=1).tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize("kind", [np.array, lambda x: x.tolist()], ids=["array", "list"])
def test_rows_may_be_lists(kind):
    model = pk.Sequential([pk.Linear(3, 3, rng=0), lstm()])
    x = kind(np.where(PAST[..., np.newaxis], np.nan, X))
    pk.TrainStep(model, pk.CrossEntropy(), pk.SGD(model))(x, Y, lengths=kind(LENGTHS))
    assert all(np.isfinite(value).all() for value in model.state_dict().values())


def test_where_axis_1_may_not_be_time_nothing_is_taken_for_padding():
    turned = pk.Sequential([pk.Transpose((0, 2, 1)), lstm()])
    x = np.swapaxes(X, 1, 2).copy()  # (B, F, T)
    x[3, 2, 0] = np.nan  # the first step of a sequence of length 1
    assert np.isnan(turned(x, lengths=LENGTHS)[3]).any()
    both = pk.Concatenate([lstm(), pk.Linear(6, 2, rng=0)])
    static = RNG.normal(size=(6, 6))
    static[1, 4] = np.nan
    assert np.isnan(both((X, static), lengths=LENGTHS)[1]).any()


def test_a_part_of_several_may_be_padded():
    both = pk.Concatenate([pk.Sequential([pk.Linear(3, 3, rng=0), lstm()]), pk.Linear(6, 2, rng=0)])
    y = both((np.where(PAST[..., np.newaxis], np.nan, X), np.ones((6, 6))), lengths=LENGTHS)
    both.compute_backward(np.ones_like(y))
    assert all(np.isfinite(grad).all() for grad in both.get_params_and_grads()[1])
