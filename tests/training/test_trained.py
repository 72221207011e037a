"""Whose parameters are trained: the optimizer, clipping, norms and zeroing agree, and parts keep their mode."""

from __future__ import annotations

import numpy as np
import pytest
from participant import Lazy, Rebinding, Scale

import pancake as pk
from pancake.training.trained import check_trains


def data(n=24):
    x = np.random.default_rng(0).normal(size=(n, 4))
    return x, 2 * x[:, :1]


def assert_same(a, b):
    for key, array in a.state_dict().items():
        np.testing.assert_array_equal(array, b.state_dict()[key], err_msg=key)


@pytest.mark.parametrize("make", [lambda m: m[2], lambda m: [m[2]], lambda m: [m[2], pk.Linear(1, 1, rng=0)]])
def test_clipping_counts_what_the_optimizer_trains(make):
    x, y = data()
    model, other = pk.mlp([4, 8, 1], rng=0), pk.mlp([4, 8, 1], rng=0)
    pk.fit(
        model, pk.MeanSquaredError(), pk.SGD(make(model), lr=0.1), x, y, epochs=3, batch_size=24, clip_norm=0.5, progress=False
    )
    loss, optimizer = pk.MeanSquaredError(), pk.SGD([other[2]], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(other(x), y)
        other.accumulate_grads(loss.compute_backward())
        pk.clip_grad_norm([other[2]], 0.5)
        optimizer.step()
    assert_same(model, other)


def test_gradients_of_what_is_not_trained_stay_as_they_were():
    x, y = data()
    model = pk.mlp([4, 8, 1], rng=0)
    model[0].grad_weight = 3.0
    norms = []
    pk.fit(
        model, pk.MeanSquaredError(), pk.SGD(model[2]), x, y, epochs=3, batch_size=5, progress=False,
        callbacks=[lambda state: norms.append(pk.gradient_norms(state.model)["0 Linear"])],
    )  # fmt: skip
    assert norms == [pytest.approx(3 * np.sqrt(32))] * 3
    assert (model[0].grad_weight == 3).all()
    assert (model[0].grad_bias == 0).all()


def test_all_parts_by_name_are_the_whole_model():
    x, y = data()
    model, other = pk.mlp([4, 8, 1], rng=0), pk.mlp([4, 8, 1], rng=0)
    for net, functions in ((model, model), (other, [other[0], other[2]])):
        pk.fit(net, pk.MeanSquaredError(), pk.Adam(functions), x, y, epochs=3, clip_norm=0.5, progress=False, rng=0)
    assert_same(model, other)


@pytest.mark.parametrize("part", [Scale, Rebinding, Lazy])
def test_users_functions_that_are_left_out(part):
    x, y = data()
    model, other = (pk.Sequential([part(), pk.Linear(4, 1, rng=0)]) for _ in range(2))
    pk.fit(model, pk.MeanSquaredError(), pk.SGD(model[1], lr=0.1), x, y, epochs=3, batch_size=24, clip_norm=0.5, progress=False)
    loss, optimizer = pk.MeanSquaredError(), pk.SGD(other[1], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(other(x), y)
        other.accumulate_grads(loss.compute_backward())
        pk.clip_grad_norm(other[1], 0.5)
        optimizer.step()
    assert_same(model, other)


def test_a_shared_parameter_is_trained_in_both_places():
    x, y = data()
    layer = pk.Linear(4, 4, rng=0)
    model = pk.Sequential([layer, pk.Tanh(), layer.shared_copy(), pk.Linear(4, 1, rng=1)])
    before = layer.weight.copy()
    pk.fit(model, pk.MeanSquaredError(), pk.SGD(model[2], lr=0.1), x, y, epochs=1, progress=False)
    assert not np.array_equal(layer.weight, before)
    assert np.abs(layer.grad_weight).max() > 0


def test_an_optimizer_of_another_model_is_refused():
    model = pk.mlp([4, 8, 1], rng=0)
    check_trains("here", pk.SGD(model[0]), model)
    check_trains("here", object(), model)
    with pytest.raises(ValueError, match=r"^here: .* trains no parameter of .*; make the optimizer from this model"):
        check_trains("here", pk.SGD(pk.Linear(1, 1, rng=0)), model)


# --- a part in evaluation mode ---


def normed():
    return pk.Sequential([pk.Linear(4, 4, rng=0), pk.BatchNorm(4), pk.Dropout(0.5, rng=0), pk.Linear(4, 1, rng=1)])


def test_a_part_in_evaluation_mode_stays_there():
    x, y = data()
    model = normed()
    model[1].eval()
    modes = []
    pk.fit(
        model, pk.MeanSquaredError(), pk.SGD(model), x + 5, y, epochs=2, progress=False, validation=(x, y),
        callbacks=[lambda state: modes.append([f.training for f in model]) or (model.eval() and None)],
    )  # fmt: skip
    assert modes == [[True, False, True, True]] * 2
    assert (model[1].running_mean == 0).all()
    assert [f.training for f in model] == [True, False, True, True]
    assert model.training


def test_a_model_in_evaluation_mode_is_trained_and_given_back_in_it():
    x, y = data()
    model, other = normed(), normed()
    model.eval()
    for net in (model, other):
        pk.fit(net, pk.MeanSquaredError(), pk.SGD(net), x, y, epochs=2, progress=False, rng=0)
    assert_same(model, other)
    assert not any(f.training for f in model.walk())


def test_find_learning_rate_keeps_the_modes_too():
    x, y = data(64)
    model = normed()
    model[1].eval()
    seen = []

    class Watch(pk.Function):
        def compute_forward(self, x):
            seen.append((self.training, x.std()))
            return x

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    watched = pk.Sequential([model[0], model[1], Watch(), model[3]])
    pk.find_learning_rate(
        watched, pk.MeanSquaredError(), pk.SGD(watched), 1000 * x, y, batch_size=21, lowest=1e-12, highest=1e-11
    )
    assert all(training and spread > 100 for training, spread in seen)  # normalised with its batch it would be 1


def in_residual(model, part):
    model[1].f = part


def in_branches(model, part):
    model[1].functions[0] = part


@pytest.mark.parametrize(
    ("wrap", "exchange"), [(pk.Residual, in_residual), (lambda f: pk.Add([f, pk.Linear(4, 4, rng=2)]), in_branches)]
)
@pytest.mark.parametrize("ends", ["early", "not finite", "clipped"])
def test_a_part_that_a_callback_exchanges_is_clipped_and_comes_back(wrap, exchange, ends):
    x, _ = data()
    y = np.tanh(x[:, ::-1])
    model = pk.Sequential([wrap(pk.Linear(4, 4, rng=0)), wrap(pk.Linear(4, 4, rng=1))])
    optimizer, was = pk.SGD(model, lr=0.05), {}

    def callback(state):
        if state.epoch == 1:
            exchange(model, pk.Linear(4, 4, rng=9))
        if state.epoch == 6 and ends != "clipped":
            optimizer.lr = 3.0 if ends == "early" else 1e200
        was[state.epoch] = model.state_dict()

    def train(**options):
        return pk.fit(
            model,
            pk.MeanSquaredError(),
            optimizer,
            x,
            y,
            epochs=12,
            batch_size=24,
            callbacks=[callback],
            progress=False,
            **options,
        )

    if ends == "early":
        history = train(validation=(x, y), early_stopping=pk.EarlyStopping("val_loss", patience=5))
        best = 1 + int(np.argmin(history["val_loss"]))
        assert 1 < best < max(was)
        expected = was[best]
    elif ends == "not finite":
        with pytest.raises(pk.NonFiniteError):
            train()
        expected = was[max(was)]
    else:
        train(clip_norm=0.01)
        moved = np.sqrt(sum(np.square(was[12][name] - was[11][name]).sum() for name in was[12]))
        assert moved == pytest.approx(0.05 * 0.01, rel=1e-3)
        expected = was[12]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, expected[name])
