"""Weights of losses: what has weight 0 is absent, and `divisor` is what "mean" divided by."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk
from pancake.losses.classes import ClassLoss
from pancake.losses.loss import REDUCTIONS, Loss

RNG = np.random.default_rng(0)
X, POSITIVE = RNG.normal(size=(4, 3)), RNG.uniform(0.2, 2.0, size=(4, 3))
ROWS, SEQUENCES = RNG.dirichlet(np.ones(3), size=4), RNG.normal(size=(2, 4, 3))
LABELS, LABELS_IN_TIME = np.array([2, 0, 1, 1]), np.array([[1, 0, 0, 1], [1, 1, 1, 2]])
# Of each loss what it is given: predictions and targets of a few examples.
LOSSES = [
    (pk.MeanSquaredError(), X, POSITIVE),
    (pk.MeanAbsoluteError(), X, POSITIVE),
    (pk.Huber(delta=0.3), X, POSITIVE),
    (pk.Hinge(), X, np.sign(SEQUENCES[0])),
    (pk.BinaryCrossEntropy(), POSITIVE / 3, ROWS),
    (pk.BinaryCrossEntropy(from_logits=True), X, (X > 0).astype(float)),
    (pk.CrossEntropy(), X, LABELS),
    (pk.CrossEntropy(label_smoothing=0.1), X, ROWS),
    (pk.CrossEntropy(class_weight=np.array([1.0, 0.5, 2.0])), X, LABELS),
    (pk.CrossEntropy(), SEQUENCES, LABELS_IN_TIME),
    (pk.NegativeLogLikelihood(), np.log(ROWS), LABELS),
    (pk.CrossEntropy(ignore_index=7), SEQUENCES, LABELS_IN_TIME),
    (pk.BinaryCrossEntropy(from_logits=True, pos_weight=[1.0, 0.5, 3.0]), X, ROWS),
    (pk.Quantile(0.8), X, POSITIVE),
    (pk.PoissonNLL(), X, POSITIVE),
    (pk.GaussianNLL(), np.hstack([X, ROWS]), POSITIVE),
    (pk.KLDivergence(), np.log(ROWS[::-1]), ROWS),
]


def make(example: Loss) -> Loss:
    return copy.deepcopy(example)


each_loss = pytest.mark.parametrize(
    ("example", "pred", "target"), LOSSES, ids=[f"{i}-{loss!r}" for i, (loss, _, _) in enumerate(LOSSES)]
)
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
OF_ROWS = (ClassLoss, pk.GaussianNLL, pk.KLDivergence)  # whose weights are those of rows of predictions
POISON = (np.nan, np.inf, -np.inf, 1e30, -7.0)


def make_loss(example: Any, reduction: str) -> Loss:
    loss: Loss = make(example)
    loss.reduction = reduction
    return loss


def poisoned(array: Any, absent: Any, rng: Any) -> Any:
    """The array with numbers that no loss takes where something is absent: bad labels, or nan and the like."""
    array = array.copy()
    bad = [-5, 99, 10**9] if array.dtype.kind in "iu" else POISON
    array[absent] = rng.choice(bad, size=array[absent].shape)
    return array


def weights_of(loss: Loss, target: Any, pred: Any, axes: int, rng: Any) -> Any:
    examples = pred.shape[:-1] if isinstance(loss, OF_ROWS) else pred.shape
    weight = rng.uniform(0.5, 2, examples[:axes])
    weight.flat[1 :: 2 if weight.size > 2 else 1] = 0
    return weight


@each_reduction
@pytest.mark.parametrize("axes", [1, 2])
@each_loss
def test_what_has_weight_0_is_absent(example: Any, pred: Any, target: Any, axes: int, reduction: str) -> None:
    loss, rng = make_loss(example, reduction), np.random.default_rng(0)
    axes = min(axes, pred.ndim - isinstance(loss, OF_ROWS))
    weight = weights_of(loss, target, pred, axes, rng)
    value = loss(pred, target, weight)
    gradient, divisor = loss.compute_backward(), loss.divisor
    absent = weight == 0
    assert absent.any()
    assert not absent.all()
    for dtype in (np.float64, np.float32):
        with np.errstate(all="raise", under="ignore"):
            got = loss(poisoned(pred.astype(dtype), absent, rng), poisoned(np.asarray(target), absent, rng), weight)
            found = loss.compute_backward()
        assert loss.divisor == pytest.approx(divisor)
        assert_allclose(got, value, rtol=1e-12 if dtype == np.float64 else 2e-5, atol=1e-6 if dtype == np.float32 else 0)
        assert_allclose(found, gradient, rtol=1e-12 if dtype == np.float64 else 2e-5, atol=1e-6 if dtype == np.float32 else 0)
        assert not found[absent].any()
        assert found[~absent].any()


@each_loss
def test_a_target_of_weight_0_may_be_beyond_the_dtype(example: Any, pred: Any, target: Any) -> None:
    if target.dtype.kind == "f":
        loss, weight = make(example), np.arange(len(pred)).astype(float)
        target = target.copy()
        target[0] = 1e300
        with np.errstate(all="raise", under="ignore"):
            loss(pred.astype(np.float32), target, weight)
            assert np.isfinite(loss.compute_backward()).all()


@each_reduction
@each_loss
def test_a_batch_of_which_nothing_counts(example: Any, pred: Any, target: Any, reduction: str) -> None:
    loss = make_loss(example, reduction)
    weight = np.zeros(len(pred))
    value = loss(np.full_like(pred, np.nan), target, weight)
    assert not np.any(value)
    assert_array_equal(loss.compute_backward(), np.zeros_like(pred))
    if reduction == "mean" and isinstance(loss, ClassLoss):
        assert loss.divisor == 0


@pytest.mark.parametrize("cls", [pk.CrossEntropy, pk.NegativeLogLikelihood])
def test_a_class_of_weight_0_is_absent_where_it_is_the_right_one(cls: type[ClassLoss]) -> None:
    pred, labels = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 6)), np.array([0, 1, 2, 0, 1, 0])
    loss = cls(class_weight=[0.0, 1.0, 2.0])
    pred[labels == 0] = np.nan
    value = loss(pred, labels)
    gradient = loss.compute_backward()
    some = labels != 0
    assert value == pytest.approx(loss(pred[some], labels[some]))
    assert loss.divisor == 4
    assert_allclose(gradient[some], loss.compute_backward(), rtol=1e-12)
    assert not gradient[~some].any()
    assert cls(class_weight=[0.0, 1.0, 1.0])(pred[~some], labels[~some]) == 0


# --- divisor ---


@each_loss
def test_the_divisor_is_what_mean_divides_by(example: Any, pred: Any, target: Any) -> None:
    weight = np.random.default_rng(0).uniform(0.5, 2, len(pred))
    for given in (None, weight):
        loss, total = make_loss(example, "mean"), make_loss(example, "sum")
        value, whole = loss(pred, target, given), total(pred, target, given)
        assert isinstance(value, np.floating)
        assert isinstance(loss.divisor, (float, int, np.number))
        assert value * loss.divisor == pytest.approx(whole)
        assert total.divisor == 1
        assert_allclose(loss.compute_backward() * loss.divisor, total.compute_backward(), rtol=1e-12, atol=1e-15)
        none = make_loss(example, "none")
        none(pred, target, given)
        assert none.divisor == 1


@each_loss
def test_means_of_batches_joined_by_their_divisors_are_the_mean_of_all(example: Any, pred: Any, target: Any) -> None:
    weight = np.random.default_rng(0).uniform(0, 2, len(pred))
    loss = make_loss(example, "mean")
    whole = loss(pred, target, weight)
    gradient, divisor = loss.compute_backward(), loss.divisor
    parts = []
    for rows in (slice(0, 1), slice(1, len(pred))):
        value = loss(pred[rows], target[rows], weight[rows])
        parts.append((value, loss.divisor, loss.compute_backward()))
    assert sum(d for _, d, _ in parts) == pytest.approx(divisor)
    assert sum(v * d for v, d, _ in parts) / divisor == pytest.approx(whole)
    assert_allclose(np.concatenate([g * d for _, d, g in parts]) / divisor, gradient, rtol=1e-12, atol=1e-15)


V = np.array([1.0, 0.5, 2.0])
LABELS = np.array([0, 2, 2, 1])
WEIGHT = np.array([1.0, 0.0, 3.0, 0.25])
Q = np.eye(3)[LABELS]


@pytest.mark.parametrize(
    ("loss", "target", "weight", "divisor"),
    [
        (pk.CrossEntropy(), LABELS, None, 4),
        (pk.CrossEntropy(), LABELS, WEIGHT, 4.25),
        (pk.CrossEntropy(class_weight=V), LABELS, None, V[LABELS].sum()),
        (pk.CrossEntropy(class_weight=V), LABELS, WEIGHT, (WEIGHT * V[LABELS]).sum()),
        (pk.CrossEntropy(class_weight=V), Q, WEIGHT, 4.25),
        (pk.CrossEntropy(0.3, class_weight=V), LABELS, WEIGHT, (WEIGHT * V[LABELS]).sum()),
        (pk.NegativeLogLikelihood(V), LABELS, WEIGHT, (WEIGHT * V[LABELS]).sum()),
        (pk.NegativeLogLikelihood(V), Q, WEIGHT, 4.25),
        (pk.MeanSquaredError(), Q, WEIGHT, 12),
        (pk.BinaryCrossEntropy(True), Q, WEIGHT, 12),
        (pk.BinaryCrossEntropy(True, 5.0), Q, WEIGHT, 12),
        (pk.CrossEntropy(class_weight=V, ignore_index=2), LABELS, WEIGHT, 1.125),
        (pk.Quantile(0.5), Q, WEIGHT, 12),
        (pk.PoissonNLL(), Q, WEIGHT, 12),
        (pk.KLDivergence(), Q, WEIGHT, 4),
    ],
)
def test_divisors_by_hand(loss: Loss, target: Any, weight: Any, divisor: float) -> None:
    """Class losses divide by what the examples weigh, as torch does; the others by the number of entries."""
    loss(np.random.default_rng(0).normal(size=(4, 3)), target, weight)
    assert loss.divisor == pytest.approx(divisor)


def test_smoothing_with_class_weights_and_weights_by_hand() -> None:
    e, pred = 0.3, np.random.default_rng(0).normal(size=(4, 3))
    loss = pk.CrossEntropy(e, class_weight=V)
    value = loss(pred, LABELS, WEIGHT)
    log_softmax = pred - np.log(np.exp(pred).sum(axis=1, keepdims=True))
    a = WEIGHT[:, np.newaxis] * V * ((1 - e) * Q + e / 3)
    divisor = (WEIGHT * V[LABELS]).sum()
    assert value == pytest.approx(-(a * log_softmax).sum() / divisor)
    expected = (a.sum(axis=1, keepdims=True) * np.exp(log_softmax) - a) / divisor
    assert_allclose(loss.compute_backward(), expected, rtol=1e-12, atol=1e-15)


# --- targets that are not probabilities ---


@pytest.mark.parametrize("loss", [pk.CrossEntropy(), pk.CrossEntropy(0.1), pk.NegativeLogLikelihood()])
@pytest.mark.parametrize("row", [[0.5, 0.5, 0.3], [0.3, 0.3, 0.3], [1.2, -0.2, 0.0], [np.nan, 0.5, 0.5], [0.0, 0.0, 0.0]])
def test_rows_that_are_not_probabilities_are_refused(loss: Loss, row: list[float]) -> None:
    pred, target = np.log(np.full((2, 3), 1 / 3)), np.array([[0.25, 0.25, 0.5], row])
    with pytest.raises(ValueError, match="expected rows of probabilities, each from 0 to 1 and together 1"):
        loss(pred, target)
    assert loss(pred, target, [1.0, 0.0]) == pytest.approx(np.log(3))


@pytest.mark.parametrize("weight", [np.ones(3), np.ones((4, 1)), np.ones((4, 3, 1)), 1.0, -np.ones(4), np.full(4, np.nan)])
@pytest.mark.parametrize("loss", [pk.MeanSquaredError(), pk.CrossEntropy()])
def test_weights_that_do_not_fit(loss: Loss, weight: Any) -> None:
    with pytest.raises(ValueError, match=r"expected (a weight of the leading axes|weights of at least 0)"):
        loss(np.zeros((4, 3)), Q, weight)


@each_loss
def test_infinite_weights_are_refused_also_where_only_the_dtype_makes_them_so(example: Any, pred: Any, target: Any) -> None:
    loss, weight = make(example), np.ones(len(pred))
    weight[1] = np.inf
    with pytest.raises(ValueError, match=r"expected weights that are finite in float64, .*, got inf"):
        loss(pred, target, weight)
    weight[1] = 1e300
    with pytest.raises(ValueError, match=r"expected weights that are finite in float32, .*, got inf"):
        loss(pred.astype(np.float32), target, weight)


@pytest.mark.parametrize("cls", [pk.CrossEntropy, pk.NegativeLogLikelihood])
def test_a_class_weight_that_the_predictions_cannot_hold(cls: type[ClassLoss]) -> None:
    loss = cls(class_weight=[1e300, 1.0, 1.0])
    with pytest.raises(ValueError, match="expected class_weight that float32, the dtype of the predictions, can hold"):
        loss(np.zeros((4, 3), np.float32), LABELS)


def test_a_loss_that_is_called_without_its_init_and_one_of_a_user() -> None:
    class Own(Loss):
        def __init__(self) -> None:
            pass

        def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
            self._remember(pred - target)
            return np.float64(((pred - target) ** 2).sum())

        def compute_backward(self) -> Any:
            return 2 * self._remembered()

    loss = Own()
    with pytest.raises(RuntimeError, match="needs a call with prediction and target before it"):
        loss.compute_backward()
    assert loss(np.ones(3), np.zeros(3)) == 3
    assert_array_equal(loss.compute_backward(), [2, 2, 2])


class Unweighted(Loss):
    """Of two arguments, which is what a loss has at least."""

    def compute_forward(self, pred: Any, target: Any) -> Any:
        self.difference = pred - target
        return np.float64((self.difference**2).mean())

    def compute_backward(self) -> Any:
        return 2 * self.difference / self.difference.size


class Demanding(Loss):
    """With a weight that has no default."""

    def compute_forward(self, pred: Any, target: Any, weight: Any) -> Any:
        self.difference = pred - target
        return np.float64((self.difference**2).mean())

    def compute_backward(self) -> Any:
        return 2 * self.difference / self.difference.size


@pytest.mark.parametrize("make", [Unweighted, Demanding])
def test_a_loss_of_a_user_may_do_without_weights(make: type[Loss]) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 20, 2))
    shown = []
    for loss in (make(), pk.MeanSquaredError()):
        model = pk.Linear(2, 2, rng=0)
        history = pk.fit(model, loss, pk.SGD(model), x, y, epochs=2, batch_size=5, rng=0, progress=False, validation=(x, y))
        shown.append((history["loss"], history["val_loss"], loss(x, y), loss.compute_backward()))
    for own, ours in zip(*shown, strict=True):
        assert_allclose(own, ours, rtol=1e-12)


def test_a_weight_for_a_loss_that_takes_none_is_refused_with_the_remedy() -> None:
    message = r"^Unweighted\(\): got a weight, which it does not take; give its compute_forward a third argument weight=None"
    model, x = pk.Linear(2, 2, rng=0), np.ones((4, 2))
    before = model.state_dict()
    with pytest.raises(TypeError, match=message):
        Unweighted()(x, x, np.ones(4))
    with pytest.raises(TypeError, match=message):
        pk.fit(model, Unweighted(), pk.SGD(model), x, x, sample_weight=np.ones(4), progress=False)
    assert_array_equal(model.weight, before["weight"])
