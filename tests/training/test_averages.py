"""Averages over batches that are the average over all, and examples of weight 0, which are as if absent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pancake as pk
from pancake.training.evaluate import evaluate


class WeightedSquares:
    """A user's loss: sum w (p - t)^2 / sum w over examples, which tells by what it divides."""

    def __call__(self, pred, target, weight=None):
        w = np.ones(len(pred)) if weight is None else np.asarray(weight, float)
        self.divisor = float(w.sum())
        self.slope = 2 * (pred - target) * w[:, None] / (self.divisor or 1)
        return float((w * np.square(pred - target)[:, 0]).sum()) / (self.divisor or 1)

    def compute_backward(self):
        return self.slope


class Entropy(pk.CrossEntropy):
    """CrossEntropy, with its divisor worked out by hand."""

    def compute_forward(self, pred, target, weight=None):
        w = np.ones(len(target)) if weight is None else np.asarray(weight, float)
        c = np.ones(pred.shape[-1]) if self.class_weight is None else self.class_weight
        self.divisor = float((w * c[target]).sum())
        if not self.divisor:
            self.slope = np.zeros_like(pred)
            return 0.0
        value = super().compute_forward(pred, target, weight)
        self.slope = super().compute_backward()
        return value

    def compute_backward(self):
        return self.slope


def train(model, loss, x, y, **options):
    options = {"lr": 0.0, "epochs": 1, **options}
    optimizer = pk.SGD(model, lr=options.pop("lr"))
    return pk.fit(model, loss, optimizer, x, y, progress=False, rng=0, **options)


def points(n, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 2))
    return x, (x[:, 0] > 0.3).astype(int)


@given(
    weights=st.lists(st.sampled_from([0.0, 0.5, 1.0, 97.0]), min_size=2, max_size=30).filter(any),
    batch_size=st.integers(1, 31),
    rare=st.sampled_from([0.0, 1.0, 50.0]),
    smoothing=st.sampled_from([0.0, 0.3]),
)
def test_the_loss_of_an_epoch_is_that_of_evaluate(weights, batch_size, rare, smoothing):
    x, y = points(len(weights))
    model = pk.mlp([2, 3, 2], rng=0)
    loss = Entropy(label_smoothing=smoothing, class_weight=[1.0, rare])
    # something counts; and smoothing gives the class of weight 0 a share that the divisor of a batch of it does not have
    assume(any(w for w, label in zip(weights, y, strict=True) if not label or rare) and not (smoothing and not rare))
    history = train(model, loss, x, y, batch_size=batch_size, sample_weight=weights, validation=(x, y, weights))
    assert history["loss"] == pytest.approx(history["val_loss"], rel=1e-10)
    assert history["loss"] == pytest.approx([evaluate(model, loss, x, y, sample_weight=weights)["loss"]], rel=1e-10)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_a_loss_of_the_users_own_says_its_divisor(batch_size):
    x, y = points(13)
    weight = np.arange(13.0)
    model = pk.Linear(2, 1, rng=0)
    history = train(
        model, WeightedSquares(), x, y[:, None], batch_size=batch_size, sample_weight=weight, validation=(x, y[:, None], weight)
    )
    assert history["loss"] == pytest.approx(history["val_loss"], rel=1e-12)


def test_a_loss_without_a_divisor_counts_rows():
    class Mean:
        def __call__(self, pred, target):
            self.slope = np.ones_like(pred) / len(pred)
            return float(pred.mean())

        def compute_backward(self):
            return self.slope

    x, y = points(13)
    model = pk.Linear(2, 1, rng=0)
    assert train(model, Mean(), x, y, batch_size=5)["loss"] == pytest.approx([pk.predict(model, x).mean()])


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_sums_are_added_up_whatever_the_divisor(reduction):
    class Divided(pk.MeanSquaredError):
        divisor = 1.0

    x, y = points(13)
    model = pk.Linear(2, 1, rng=0)
    loss = Divided(reduction=reduction)
    total = np.square(pk.predict(model, x) - y[:, None]).sum()
    assert train(model, loss, x, y[:, None], batch_size=5)["loss"] == pytest.approx([total])


def test_values_may_be_numbers_of_numpy():
    class Float32(WeightedSquares):
        def __call__(self, pred, target, weight=None):
            return np.float32(super().__call__(pred, target, weight))

    x, y = points(13)
    model, other = pk.Linear(2, 1, rng=0), pk.Linear(2, 1, rng=0)
    ours = train(model, Float32(), x, y[:, None], lr=0.1)["loss"]
    assert type(ours[0]) is float
    assert ours == pytest.approx(train(other, WeightedSquares(), x, y[:, None], lr=0.1)["loss"], rel=1e-6)


# --- weight 0 ---


@pytest.mark.parametrize("make", [pk.SGD, pk.Adam])
def test_a_batch_of_weight_zero_is_as_if_it_were_not_there(make):
    x, y = points(20)
    weight = np.ones(20)
    weight[8:12] = 0
    model, other = pk.mlp([2, 3, 2], rng=0), pk.mlp([2, 3, 2], rng=0)
    optimizer, same = make(model), make(other)
    kept = weight > 0
    options = {"epochs": 3, "batch_size": 4, "shuffle": False, "progress": False, "metrics": {"accuracy": pk.accuracy}}
    history = pk.fit(model, Entropy(), optimizer, x, y, sample_weight=weight, **options)
    expected = pk.fit(other, Entropy(), same, x[kept], y[kept], **options)
    assert optimizer.steps == same.steps == 12
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert history["accuracy"] == expected["accuracy"]
    for key, array in model.state_dict().items():
        np.testing.assert_allclose(array, other.state_dict()[key], rtol=1e-12)


def test_a_batch_of_weight_zero_counts_in_a_mean_over_entries():
    x, y = points(12)
    weight = np.repeat([1.0, 0.0, 2.0], 4)

    class Entries(pk.MeanSquaredError):
        def compute_forward(self, pred, target, weight=None):
            self.divisor = float(pred.size)
            return super().compute_forward(pred, target, weight)

    model = pk.Linear(2, 1, rng=0)
    history = train(
        model, Entries(), x, y[:, None].astype(float), batch_size=4, shuffle=False, sample_weight=weight,
        validation=(x, y[:, None].astype(float), weight),
    )  # fmt: skip
    assert history["loss"] == pytest.approx(history["val_loss"], rel=1e-12)


@pytest.mark.parametrize("error", [ZeroDivisionError, ValueError, None])
def test_a_loss_that_cannot_divide_by_zero_does_not_end_the_training(error):
    class Careless(WeightedSquares):
        def __call__(self, pred, target, weight=None):
            if not np.any(weight):
                if error is None:
                    return math.nan
                raise error("no weights")
            return super().__call__(pred, target, weight)

    x, y = points(12)
    model = pk.Linear(2, 1, rng=0)
    history = train(model, Careless(), x, y[:, None], batch_size=4, shuffle=False, sample_weight=np.repeat([1.0, 0.0, 2.0], 4))
    assert history["loss"] == pytest.approx(
        [evaluate(model, WeightedSquares(), x, y[:, None], sample_weight=np.repeat([1.0, 0, 2], 4))["loss"]]
    )


def test_a_batch_of_ignored_labels_is_no_step():
    x, y = points(12)
    y = np.repeat([0, 1, 0], 4)
    model = pk.mlp([2, 3, 2], rng=0)
    optimizer = pk.SGD(model, lr=0.1)
    options = {"epochs": 2, "batch_size": 4, "shuffle": False, "progress": False, "metrics": {"accuracy": pk.accuracy}}
    history = pk.fit(model, pk.CrossEntropy(ignore_index=1), optimizer, x, y, **options)
    assert optimizer.steps == 4
    # labels that the loss ignores have weight 0 in the metrics
    assert history["accuracy"][-1] in {k / 8 for k in range(9)}
    scores = pk.predict(model, x)
    got = evaluate(model, pk.CrossEntropy(ignore_index=1), x, y, metrics={"accuracy": pk.accuracy})["accuracy"]
    assert got == pk.accuracy(scores, y, weight=(y != 1) * 1.0)


@pytest.mark.parametrize("loss", [Entropy(), pk.CrossEntropy(), pk.KLDivergence(), pk.CrossEntropy(reduction="sum")], ids=repr)
@pytest.mark.parametrize("batches", [1, 2])
def test_a_generator_of_nothing_that_counts(loss, batches):
    x, y = points(4)
    y = np.eye(2)[y] if isinstance(loss, pk.KLDivergence) else y
    model = pk.Sequential([pk.mlp([2, 3, 2], rng=0), pk.LogSoftmax()] if isinstance(loss, pk.KLDivergence) else [pk.Linear(2, 2)])
    optimizer = pk.SGD(model)
    nothing, metrics = iter([(x, y, np.zeros(4))] * batches), {"shape": lambda pred, y: len(pred), "accuracy": pk.accuracy}
    history = pk.fit(model, loss, optimizer, nothing, epochs=1, progress=False, metrics=metrics)
    assert optimizer.steps == 0
    for name in ("loss", "shape", "accuracy"):
        assert np.isnan(history[name]).all()


@pytest.mark.parametrize("loss", [pk.MeanSquaredError(), pk.Huber()], ids=repr)
def test_a_mean_over_entries_of_batches_of_which_none_counts(loss):
    x, y = points(4)
    model = pk.Linear(2, 1, rng=0)
    batches, optimizer = [(x, 1.0 * y[:, None], np.zeros(4))] * 2, pk.SGD(model)
    history = pk.fit(model, loss, optimizer, batches, epochs=2, progress=False, metrics={"r2": pk.r2_score})
    assert optimizer.steps == 0
    assert np.isnan([history["loss"], history["r2"]]).all()
    assert np.isnan(evaluate(model, loss, x, 1.0 * y[:, None], sample_weight=np.zeros(4))["loss"])


@pytest.mark.parametrize("loss", [pk.CrossEntropy(ignore_index=1), pk.CrossEntropy(class_weight=[1.0, 0.0])], ids=repr)
def test_validation_in_which_no_label_counts_is_no_perfect_score(loss):
    x, y = points(12)
    model = pk.mlp([2, 3, 2], rng=0)
    stopping = pk.EarlyStopping("val_loss", patience=3)
    history = train(model, loss, x, y, validation=(x, np.ones(12, int)), epochs=9, lr=0.1, early_stopping=stopping)
    assert np.isnan(history["val_loss"]).all()
    assert np.isfinite(history["loss"]).all()
    assert (history.epochs, stopping.best_epoch) == (3, 0)
    assert np.isnan(evaluate(model, loss, x, np.ones(12, int))["loss"])
    assert np.isnan(train(model, loss, x, np.ones(12, int))["loss"][-1])


@pytest.mark.parametrize("form", ["arrays", "batches"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_example_without_weight_may_hold_anything(form, value):
    x, y = points(12)
    weight = np.where(np.arange(12) % 5 == 1, 0.0, 1.0)
    spoilt = x.copy()
    spoilt[weight == 0, 1] = value
    zeros = np.where(np.isfinite(spoilt), spoilt, 0)
    models = [pk.mlp([2, 3, 2], rng=0) for _ in range(2)]
    for model, inputs in zip(models, (spoilt, zeros), strict=True):
        optimizer = pk.SGD(model, lr=0.1)
        if form == "arrays":
            arguments = {"x": inputs, "y": y, "sample_weight": weight, "batch_size": 4, "shuffle": False}
        else:
            arguments = {"x": [(inputs[i : i + 4], y[i : i + 4], weight[i : i + 4]) for i in range(0, 12, 4)]}
        pk.fit(model, Entropy(), optimizer, epochs=2, progress=False, **arguments)
    assert not np.array_equal(models[0][0].weight, pk.mlp([2, 3, 2], rng=0)[0].weight)
    np.testing.assert_array_equal(models[0][0].weight, models[1][0].weight)
    assert np.isnan(spoilt).any() or np.isinf(spoilt).any()  # which is nobody else's to change


def test_validation_without_weight_may_hold_anything():
    x, y = points(12)
    weight = np.where(np.arange(12) == 3, 0.0, 1.0)
    spoilt = x.copy()
    spoilt[3, 0] = np.nan

    class Absent(Entropy):  # a loss to which weight 0 means absent
        def compute_forward(self, pred, target, weight=None):
            return super().compute_forward(
                np.where((np.ones(len(pred)) if weight is None else weight)[:, None] > 0, pred, 0), target, weight
            )

    model = pk.mlp([2, 3, 2], rng=0)
    history = train(model, Absent(), x, y, validation=(spoilt, y, weight), metrics={"accuracy": pk.accuracy})
    kept = weight > 0
    assert history["val_loss"] == pytest.approx([evaluate(model, Entropy(), x[kept], y[kept])["loss"]])
    assert history["val_accuracy"] == [pk.accuracy(pk.predict(model, x[kept]), y[kept])]


# --- metrics are handed the weights ---


def test_metrics_get_the_weights_if_they_take_them():
    x, y = points(13)
    weight = np.arange(13.0)
    seen = []

    def own(pred, target, *, weight=None):
        seen.append(weight.copy())
        return 0.0

    def plain(pred, target):
        return 1.0

    model = pk.mlp([2, 3, 2], rng=0)
    metrics = {"accuracy": pk.accuracy, "own": own, "plain": plain}
    history = train(
        model, Entropy(), x, y, batch_size=5, shuffle=False, sample_weight=weight, validation=(x, y, weight), metrics=metrics
    )
    right = pk.predict(model, x).argmax(axis=1) == y
    share = (right * weight).sum() / weight.sum()
    assert history["accuracy"] == history["val_accuracy"] == pytest.approx([share])
    assert history["plain"] == [1.0]
    for got in seen:
        np.testing.assert_array_equal(got, weight)


def test_batches_with_and_without_weights_have_weight_1_where_there_is_none():
    x, y = points(8)
    seen = []

    def own(pred, target, weight=None):
        seen.append(weight)
        return 0.0

    model = pk.mlp([2, 3, 2], rng=0)
    batches = [(x[:4], y[:4], np.full(4, 3.0)), (x[4:], y[4:])]
    pk.fit(model, Entropy(), pk.SGD(model), batches, epochs=1, progress=False, metrics={"own": own})
    np.testing.assert_array_equal(seen, [[3.0] * 4 + [1.0] * 4])


def test_what_was_handed_over_may_be_refilled():
    x, y = points(12)
    model = pk.mlp([2, 3, 2], rng=0)

    bx, by, bw = np.empty((4, 2)), np.empty(4, int), np.empty(4)

    def refilled():
        for i in range(0, 12, 4):
            bx[...], by[...], bw[...] = x[i : i + 4], y[i : i + 4], i + 1.0
            yield bx, by, bw

    history = pk.fit(model, Entropy(), pk.SGD(model, lr=0), refilled, epochs=1, progress=False, metrics={"accuracy": pk.accuracy})
    assert history["accuracy"] == [pk.accuracy(pk.predict(model, x), y, weight=np.repeat([1.0, 5.0, 9.0], 4))]


def test_a_model_may_return_the_same_array_each_time():
    class Reusing(pk.Function):
        def __init__(self):
            self.out = np.zeros((4, 2))

        def compute_forward(self, x):
            out = self.out[: len(x)]
            out[...] = x
            return out

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    x, y = points(12)
    model = pk.Sequential([pk.Linear(2, 2, rng=0), Reusing()])
    history = train(model, Entropy(), x, y, batch_size=4, shuffle=False, metrics={"accuracy": pk.accuracy})
    assert history["accuracy"] == [pk.accuracy(pk.predict(model[0], x), y)]


OF_BATCHES = [
    (pk.CrossEntropy(ignore_index=1, class_weight=[1.0, 2.0, 0.5]), 3, lambda y, x: y),
    (pk.BinaryCrossEntropy(from_logits=True, pos_weight=3.0), 1, lambda y, x: (y[:, None] > 0).astype(float)),
    (pk.Quantile(0.9), 1, lambda y, x: x[:, :1]),
    (pk.PoissonNLL(), 1, lambda y, x: y[:, None].astype(float)),
    (pk.GaussianNLL(), 2, lambda y, x: x[:, :1]),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(("loss", "n_out", "target"), OF_BATCHES, ids=[repr(loss) for loss, _, _ in OF_BATCHES])
def test_every_loss_has_the_same_average_whatever_the_batches(loss, n_out, target, batch_size, weighted):
    x, y = points(13)
    y = target(np.arange(13) % 3, x)
    weight = np.arange(13.0) % 4 if weighted else None
    model = pk.Linear(2, n_out, rng=0)
    history = train(model, loss, x, y, batch_size=batch_size, sample_weight=weight)
    assert history["loss"] == pytest.approx([evaluate(model, loss, x, y, sample_weight=weight)["loss"]], rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_divergence_has_the_same_average_whatever_the_batches(batch_size):
    x, _ = points(13)
    y = np.random.default_rng(1).dirichlet(np.ones(3), 13)
    model = pk.Sequential([pk.Linear(2, 3, rng=0), pk.LogSoftmax()])
    history = train(model, pk.KLDivergence(), x, y, batch_size=batch_size)
    assert history["loss"] == pytest.approx([evaluate(model, pk.KLDivergence(), x, y)["loss"]], rel=1e-12)
