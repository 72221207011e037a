"""Losses: the value is the integral of the gradient, whatever the options."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from bricks import NAMES, judged, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pancake import fast
from pancake.functions.containers import Sequential
from pancake.functions.elementwise import Mean, Square, Subtract
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.losses.classes import ClassLoss, CrossEntropy, NegativeLogLikelihood
from pancake.losses.elementwise import (
    BinaryCrossEntropy,
    ElementwiseLoss,
    Hinge,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Quantile,
)
from pancake.losses.likelihoods import GaussianNLL, KLDivergence, PoissonNLL
from pancake.losses.loss import REDUCTIONS, Loss
from pancake.testing import check_gradients

# The options that each loss takes beside `reduction`, as hypothesis draws them.
OPTIONS: dict[type[Loss], dict[str, st.SearchStrategy[Any]]] = {
    MeanSquaredError: {},
    MeanAbsoluteError: {},
    Huber: {"delta": st.sampled_from([0.3, 1.0, 5.0])},
    Hinge: {},
    Quantile: {"q": st.sampled_from([0.1, 0.5, 0.75])},
    BinaryCrossEntropy: {
        "from_logits": st.booleans(),
        "pos_weight": st.sampled_from([None, 3.0, [1.0, 0.5, 2.0, 0.0]]),
    },
    CrossEntropy: {
        "label_smoothing": st.sampled_from([0.0, 0.1, 1.0]),
        "class_weight": st.sampled_from([None, [1.0, 0.5, 2.0, 0.25]]),
        "ignore_index": st.sampled_from([None, -100, 1]),
    },
    NegativeLogLikelihood: {"class_weight": st.sampled_from([None, [1.0, 0.5, 2.0, 0.0]])},
    PoissonNLL: {},
    GaussianNLL: {},
    KLDivergence: {},
}


def all_losses(base: type[Loss] = Loss) -> set[type[Loss]]:
    """Every loss of the library that can be used, found among the subclasses."""
    found = {loss for cls in base.__subclasses__() for loss in all_losses(cls)} | {base}
    return {loss for loss in found if loss.__module__.startswith("pancake.losses.")} - {Loss, ElementwiseLoss, ClassLoss}


def test_every_loss_is_tested() -> None:
    assert all_losses() == set(OPTIONS)


@st.composite
def tasks(draw: st.DrawFn, kind: type[Loss]) -> tuple[Loss, Any, Any, Any]:
    """A loss with options, a prediction, a target, and perhaps weights."""
    options = {name: draw(strategy) for name, strategy in OPTIONS[kind].items()}
    loss = kind(**options, reduction=draw(st.sampled_from(REDUCTIONS)))
    leading = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=2)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (*leading, 4)
    pred, target = rng.normal(scale=2, size=shape), rng.normal(scale=2, size=shape)
    if isinstance(loss, ClassLoss):
        if draw(st.booleans()) or getattr(loss, "ignore_index", None) is not None:
            # class 3 may weigh nothing, and is not the right one of all examples
            target = rng.integers(0, 3, leading)
        else:
            target = rng.dirichlet(np.ones(4), leading)
    elif isinstance(loss, Hinge):
        target = np.sign(target)
    elif isinstance(loss, PoissonNLL):
        target = rng.poisson(2.0, shape).astype(float)
    elif isinstance(loss, GaussianNLL):
        target = target[..., :2]
    elif isinstance(loss, KLDivergence):
        target = rng.dirichlet(np.ones(4), leading)
    elif isinstance(loss, BinaryCrossEntropy):
        target = rng.choice([0.0, 1.0, 0.3], shape)
        if not loss.from_logits:
            pred = rng.uniform(0.05, 0.95, shape)
    weight = draw(st.sampled_from([None, leading, leading[:1]]))
    return loss, pred, target, None if weight is None else rng.uniform(0.1, 2, weight)


def assert_same(loss: Loss, gradient: Any, other: Any) -> None:
    """Bit for bit, but where a sum over classes may have been taken in another order."""
    if isinstance(loss, ClassLoss):
        assert_allclose(gradient, other, rtol=1e-12, atol=1e-15)
    else:
        assert_array_equal(gradient, other)


class Weighted:
    """A loss with weights, as the checker calls losses: with prediction and target only."""

    def __init__(self, loss: Loss, weight: Any) -> None:
        self.loss, self.weight = loss, weight

    def compute_forward(self, pred: Any, target: Any) -> Any:
        return self.loss(pred, target, self.weight)

    def compute_backward(self) -> Any:
        return self.loss.compute_backward()


@pytest.mark.parametrize("kind", sorted(OPTIONS, key=lambda kind: kind.__name__))
class TestEveryLoss:
    @given(data=st.data())
    def test_gradient_is_the_derivative_of_the_value(self, kind: type[Loss], data: st.DataObject) -> None:
        loss, pred, target, weight = data.draw(tasks(kind))
        report = check_gradients(Weighted(loss, weight), pred, target=target)
        assert judged(report)

    @given(data=st.data())
    def test_reductions_agree(self, kind: type[Loss], data: st.DataObject) -> None:
        loss, pred, target, weight = data.draw(tasks(kind))
        results, gradients = {}, {}
        for reduction in REDUCTIONS:
            other = copy.copy(loss)
            other.reduction = reduction
            results[reduction] = other(pred, target, weight)
            gradients[reduction] = other.compute_backward()
            assert gradients[reduction].shape == pred.shape
        assert np.shape(results["none"]) == (pred.shape[:-1] if isinstance(loss, ClassLoss) else target.shape)
        assert isinstance(results["sum"], float)
        assert isinstance(results["mean"], float)
        assert_allclose(results["sum"], results["none"].sum(), rtol=1e-12)
        assert_same(loss, gradients["sum"], gradients["none"])
        if np.any(gradients["sum"]):
            count = results["sum"] / results["mean"]
            assert_allclose(gradients["mean"] * count, gradients["sum"], rtol=1e-9, atol=1e-12)
            if not isinstance(loss, ClassLoss):
                assert count == pytest.approx(target.size / (4 if isinstance(loss, KLDivergence) else 1))

    @given(data=st.data())
    def test_weights_repeat_examples(self, kind: type[Loss], data: st.DataObject) -> None:
        """A weight of 2 is the same as the example twice, and of 0 as without it."""
        loss, pred, target, _ = data.draw(tasks(kind))
        loss.reduction = "sum"
        weight = np.resize([2.0, 0.0, 1.0], len(pred))
        often = np.repeat(np.arange(len(pred)), weight.astype(int))
        assert_allclose(loss(pred, target, weight), loss(pred[often], target[often]), rtol=1e-12)

    @given(data=st.data())
    def test_float32_and_nothing_written(self, kind: type[Loss], data: st.DataObject) -> None:
        loss, pred, target, weight = data.draw(tasks(kind))
        narrow = pred.astype(np.float32)
        before = narrow.copy(), np.copy(target)
        for array in (narrow, target):
            array.flags.writeable = False
        value = loss(narrow, target, weight)
        gradient = loss.compute_backward()
        assert gradient.dtype == np.float32
        kept = gradient.copy()
        assert_array_equal(loss.compute_backward(), kept)
        assert_array_equal(narrow, before[0])
        assert_array_equal(target, before[1])
        assert_allclose(value, loss(pred, target, weight), rtol=1e-4, atol=1e-5)
        assert_array_equal(gradient, kept)

    @given(data=st.data())
    def test_layout_does_not_count(self, kind: type[Loss], data: st.DataObject) -> None:
        loss, pred, target, weight = data.draw(tasks(kind))
        value = loss(pred, target, weight)
        gradient = loss.compute_backward()
        assert_allclose(loss(np.asfortranarray(pred), np.asfortranarray(target), weight), value, rtol=1e-12)
        assert_allclose(loss.compute_backward(), gradient, rtol=1e-12, atol=1e-15)
        assert_allclose(loss(pred.tolist(), target.tolist(), weight), value, rtol=1e-12)  # a sum in another order
        assert_same(loss, loss.compute_backward(), gradient)

    @settings(max_examples=20)
    @given(data=st.data())
    def test_copies_and_repr(self, kind: type[Loss], data: st.DataObject) -> None:
        loss, pred, target, weight = data.draw(tasks(kind))
        value = loss(pred, target, weight)
        for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), eval(repr(loss), NAMES)):
            with pytest.raises(RuntimeError, match=f"{kind.__name__}.*compute_backward needs a call"):
                twin.compute_backward()
            assert repr(twin) == repr(loss)
            assert_array_equal(twin(pred, target, weight), value)

    def test_refuses(self, kind: type[Loss]) -> None:
        name = kind.__name__
        needed = {"q": 0.5} if kind is Quantile else {}
        loss: Loss = kind(**needed)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="needs a call with prediction and target before it"):
            loss.compute_backward()
        with pytest.raises(ValueError, match=f"{name}: expected reduction to be one of mean, sum, none, got 'max'"):
            kind(**needed, reduction="max")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="arguments by position"):
            kind(*[1.0] * 4)
        with pytest.raises(ValueError, match="at least one prediction"):
            loss(np.ones((0, 4)), np.ones((0, 4)))
        with pytest.raises(ValueError, match="expected"):
            loss(np.full((2, 4), 0.5), np.ones((4, 3)))
        with pytest.raises(TypeError, match="pred to be real numbers"):
            loss(["a"], [1])
        target = np.array([0, 1]) if isinstance(loss, ClassLoss) else np.ones((2, 4))
        target = np.eye(2, 4) if kind is KLDivergence else target[:, :2] if kind is GaussianNLL else target
        pred = np.full((2, 4), 0.5)
        with pytest.raises(ValueError, match=r"expected a weight of the leading axes of the target .*, got \(3,\)"):
            loss(pred, target, np.ones(3))
        with pytest.raises(ValueError, match="expected weights of at least 0, got -1"):
            loss(pred, target, [1.0, -1.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("expression", "pred", "target"),
    [
        ("MeanSquaredError()", [1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]),
        ("MeanAbsoluteError()", [1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]),
        ("Huber()", [1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]),
        ("Hinge()", [1e4, -1e4, 0.0], [-1.0, 1.0, 1.0]),
        ("BinaryCrossEntropy(from_logits=True)", [1e4, -1e4, 1e4, -1e4], [0.0, 1.0, 1.0, 0.0]),
        ("BinaryCrossEntropy()", [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]),
        ("CrossEntropy()", [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], [1, 1]),
        ("CrossEntropy(label_smoothing=0.5)", [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], [1, 1]),
        ("CrossEntropy(class_weight=[1.0, 2.0, 0.0])", [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], [1, 1]),
        ("CrossEntropy()", [[1e4, -1e4, 0.0]], [[0.0, 1.0, 0.0]]),
        ("NegativeLogLikelihood()", [[0.0, -1e4, -np.inf], [-1e4, 0.0, -np.inf]], [1, 1]),
        ("NegativeLogLikelihood()", [[0.0, -1e4, -np.inf]], [[0.5, 0.5, 0.0]]),
        ("CrossEntropy(ignore_index=-100)", [[1e4, -1e4, 0.0], [np.inf, np.nan, 0.0]], [1, -100]),
        ("BinaryCrossEntropy(from_logits=True, pos_weight=7.0)", [1e4, -1e4, 1e4, -1e4], [0.0, 1.0, 1.0, 0.0]),
        ("BinaryCrossEntropy(from_logits=True, pos_weight=0.0)", [np.inf, -np.inf], [1.0, 1.0]),
        ("BinaryCrossEntropy(pos_weight=7.0)", [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]),
        ("Quantile(0.9)", [1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]),
        ("PoissonNLL()", [-1e4, -1e4, 80.0, -np.inf], [0.0, 1e4, 1e4, 0.0]),
        ("GaussianNLL()", [[1e4, 1e4], [-1e4, 1e4], [1e4, -1e4]], [[-1e4], [1e4], [1e4]]),
        ("KLDivergence()", [[0.0, -1e4, -np.inf], [-1e4, 0.0, -1e4]], [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]),
    ],
)
@pytest.mark.parametrize("repeat", [1, 300])
def test_extremes(expression: str, pred: Any, target: Any, repeat: int, dtype: Any) -> None:
    loss = make(expression)
    p, t = np.array(pred * repeat, dtype), np.array(target * repeat)
    with np.errstate(all="raise", under="ignore"):
        value = loss(p, t)
        gradient = loss.compute_backward()
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert gradient.dtype == dtype
    assert_allclose(value, loss(np.array(pred, np.float64), np.array(target)), rtol=1e-5)


class TestByHand:
    def test_mean_squared_error_is_made_of_bricks(self) -> None:
        rng = np.random.default_rng(0)
        pred, target = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
        loss, bricks = MeanSquaredError(), Sequential([Subtract(target), Square(), Mean()])
        assert_allclose(bricks.compute_forward(pred), loss(pred, target), rtol=1e-14)
        assert_allclose(bricks.compute_backward(1.0), loss.compute_backward(), rtol=1e-14)

    def test_huber(self) -> None:
        loss = Huber(2.0, reduction="none")
        assert_array_equal(loss([0.0, 1.0, -2.0, 3.0, -10.0], np.zeros(5)), [0, 0.5, 2, 4, 18])
        assert_array_equal(loss.compute_backward(), [0, 1, -2, 2, -2])

    def test_quantile(self) -> None:
        loss = Quantile(0.75, reduction="none")
        assert_array_equal(loss([0.0, 2.0, 1.0], [2.0, 0.0, 1.0]), [1.5, 0.5, 0])
        assert_array_equal(loss.compute_backward(), [-0.75, 0.25, -0.25])

    def test_the_least_quantile_loss_is_at_the_quantile(self) -> None:
        values = np.random.default_rng(0).normal(size=999)
        guesses = np.linspace(-2, 2, 801)
        for q in (0.1, 0.5, 0.9):
            losses = [Quantile(q)(np.full(999, guess), values) for guess in guesses]
            assert guesses[int(np.argmin(losses))] == pytest.approx(np.quantile(values, q), abs=0.01)

    @given(seed=st.integers(0, 2**32 - 1), q=st.floats(0.01, 0.99))
    def test_quantile_is_that_of_scikit_learn(self, seed: int, q: float) -> None:
        metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
        rng = np.random.default_rng(seed)
        pred, target = rng.normal(size=(2, 20))
        assert Quantile(q)(pred, target) == pytest.approx(metrics.mean_pinball_loss(target, pred, alpha=q), rel=1e-12)

    def test_positive_weight_repeats_what_is_positive(self) -> None:
        z, t = np.array([0.3, -2.0, 1.5]), np.array([1.0, 1.0, 0.0])
        for from_logits, pred in ((True, z), (False, 1 / (1 + np.exp(-z)))):
            plain, heavy = (BinaryCrossEntropy(from_logits, v, reduction="none") for v in (None, 3.0))
            assert_allclose(heavy(pred, t), plain(pred, t) * [3, 3, 1], rtol=1e-12)
            assert_allclose(heavy.compute_backward(), plain.compute_backward() * [3, 3, 1], rtol=1e-12)

    def test_a_positive_weight_of_one_changes_no_bit(self) -> None:
        rng = np.random.default_rng(0)
        z, t = rng.normal(scale=5, size=(50, 3)), rng.uniform(size=(50, 3))
        plain, one = BinaryCrossEntropy(True), BinaryCrossEntropy(True, 1.0)
        with fast.off():
            assert plain(z, t) == one(z, t)
            assert_array_equal(plain.compute_backward(), one.compute_backward())

    def test_positive_weight_is_not_lost_on_the_fast_path(self) -> None:
        z, t = np.array([[0.3], [-2.0]]), np.array([[1.0], [0.0]])
        for loss in (BinaryCrossEntropy(True, 3.0), CrossEntropy(ignore_index=1)):
            target: Any = t if isinstance(loss, BinaryCrossEntropy) else np.array([0, 1])
            pred = z if isinstance(loss, BinaryCrossEntropy) else np.hstack([z, -z])
            value = loss(pred, target)
            gradient = loss.compute_backward()
            with fast.off():
                assert loss(pred, target) == pytest.approx(value, rel=1e-15)
                assert_allclose(loss.compute_backward(), gradient, rtol=1e-15)

    def test_positive_weight_is_a_copy(self) -> None:
        v = np.array([2.0])
        loss = BinaryCrossEntropy(True, v)
        v[:] = 0
        assert loss([0.0], [1.0]) == pytest.approx(2 * np.log(2))

    def test_ignored_labels_are_absent(self) -> None:
        rng = np.random.default_rng(0)
        pred, labels = rng.normal(size=(4, 3)), np.array([2, -100, 1, -100])
        loss, some = CrossEntropy(ignore_index=-100, class_weight=[1.0, 2.0, 0.5], label_smoothing=0.1), labels != -100
        value, gradient = loss(pred, labels), loss.compute_backward()
        assert loss.divisor == 2.5
        assert value == pytest.approx(loss(pred[some], labels[some]), rel=1e-14)
        assert_allclose(gradient[some], loss.compute_backward(), rtol=1e-14)
        assert not gradient[~some].any()
        pred[~some] = np.nan
        assert loss(pred, labels) == value
        assert CrossEntropy(ignore_index=255)(pred[some], labels[some].astype(np.uint8)) > 0
        assert loss(pred, np.full(4, -100)) == 0
        assert not loss.compute_backward().any()
        assert loss.divisor == 0

    def test_poisson_is_the_likelihood_of_counts(self) -> None:
        z, t = np.array([0.5, -1.0, 2.0]), np.array([3.0, 0.0, 5.0])
        rate, factorials = np.exp(z), np.array([6.0, 1.0, 120.0])
        likelihood = np.exp(-rate) * rate**t / factorials
        assert_allclose(PoissonNLL(reduction="none")(z, t), -np.log(likelihood * factorials), rtol=1e-12)

    def test_gaussian_is_the_likelihood_of_numbers(self) -> None:
        m, s, t = np.random.default_rng(0).normal(size=(3, 5, 2))
        density = np.exp(-((t - m) ** 2) / (2 * np.exp(s))) / np.sqrt(2 * np.pi * np.exp(s))
        values = GaussianNLL(reduction="none")(np.concatenate([m, s], axis=-1), t)
        assert_allclose(values, -np.log(density) - np.log(2 * np.pi) / 2, rtol=1e-12)

    def test_divergence_is_cross_entropy_less_the_entropy(self) -> None:
        rng = np.random.default_rng(0)
        logits, t = rng.normal(size=(6, 4)), rng.dirichlet(np.ones(4), 6)
        entropy = -(t * np.log(t)).sum() / 6
        assert KLDivergence()(LogSoftmax()(logits), t) == pytest.approx(CrossEntropy()(logits, t) - entropy, rel=1e-12)
        assert KLDivergence()(np.log(t), t) == 0

    def test_hinge(self) -> None:
        loss = Hinge(reduction="none")
        assert_array_equal(loss([2.0, 0.5, -1.0, 1.0], [1, 1, 1, -1]), [0, 0.5, 2, 2])
        assert_array_equal(loss.compute_backward(), [0, -1, -1, 1])
        loss([1.0, -1.0], [1, -1])
        assert_array_equal(loss.compute_backward(), [0, 0])

    def test_hinge_is_that_of_scikit_learn(self) -> None:
        metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
        rng = np.random.default_rng(0)
        pred, target, weight = rng.normal(size=20), rng.choice([-1, 1], 20), rng.uniform(size=20)
        assert Hinge()(pred, target) == pytest.approx(metrics.hinge_loss(target, pred), rel=1e-14)
        ours = Hinge(reduction="sum")(pred, target, weight) / weight.sum()
        assert ours == pytest.approx(metrics.hinge_loss(target, pred, sample_weight=weight), rel=1e-14)

    def test_a_single_number(self) -> None:
        loss = MeanSquaredError()
        assert loss(3, 1) == 4.0
        assert loss.compute_backward() == 4.0
        cross = CrossEntropy()
        assert cross([0.0, 0.0], 1) == pytest.approx(np.log(2))
        assert_allclose(cross.compute_backward(), [0.5, -0.5])

    def test_logs_of_zero(self) -> None:
        assert BinaryCrossEntropy(reduction="none")([0.0, 1.0], [1.0, 0.0]).tolist() == [100.0, 100.0]
        likelihood = NegativeLogLikelihood()
        assert likelihood([[-np.inf, 0.0]], [0]) == np.inf
        assert likelihood([[-np.inf, 0.0]], [1]) == 0
        cross = CrossEntropy(class_weight=[1.0, 2.0, 3.0])
        assert cross([[-np.inf, 0.0, 0.0]], [1]) == pytest.approx(np.log(2))
        assert_allclose(cross.compute_backward(), [[0, -0.5, 0.5]])

    @given(seed=st.integers(0, 2**32 - 1), smoothing=st.sampled_from([0.0, 0.2]), weighted=st.booleans())
    def test_labels_are_rows_with_a_single_one(self, seed: int, smoothing: float, weighted: bool) -> None:
        rng = np.random.default_rng(seed)
        pred, labels = rng.normal(size=(2, 3, 4)), rng.integers(0, 4, (2, 3))
        weight = rng.uniform(size=(2, 3)) if weighted else None
        for loss in (CrossEntropy(smoothing, reduction="sum"), NegativeLogLikelihood(reduction="sum")):
            value = loss(pred, labels, weight)
            gradient = loss.compute_backward()
            assert_allclose(loss(pred, np.eye(4)[labels], weight), value, rtol=1e-12)
            assert_allclose(loss.compute_backward(), gradient, rtol=1e-12, atol=1e-15)

    @given(seed=st.integers(0, 2**32 - 1), labelled=st.booleans(), reduction=st.sampled_from(REDUCTIONS))
    def test_likelihood_after_log_softmax_is_cross_entropy(self, seed: int, labelled: bool, reduction: str) -> None:
        rng = np.random.default_rng(seed)
        logits, c = rng.normal(scale=3, size=(5, 4)), [1.0, 0.5, 2.0, 0.25]
        target = rng.integers(0, 4, 5) if labelled else rng.dirichlet(np.ones(4), 5)
        whole, half, log_softmax = (
            CrossEntropy(0.0, c, reduction=reduction),
            NegativeLogLikelihood(c, reduction=reduction),
            LogSoftmax(),
        )
        assert_allclose(half(log_softmax(logits), target), whole(logits, target), rtol=1e-12)
        gradient = log_softmax.compute_backward(half.compute_backward())
        assert_allclose(gradient, whole.compute_backward(), rtol=1e-10, atol=1e-14)

    def test_gradient_of_cross_entropy(self) -> None:
        logits = np.random.default_rng(0).normal(size=(3, 4))
        loss = CrossEntropy(reduction="sum")
        loss(logits, [0, 3, 3])
        assert_allclose(loss.compute_backward(), Softmax()(logits) - np.eye(4)[[0, 3, 3]], rtol=1e-12, atol=1e-15)

    def test_smoothing_and_class_weights(self) -> None:
        logits, c = np.random.default_rng(0).normal(size=(2, 3)), np.array([1.0, 2.0, 0.5])
        loss = CrossEntropy(0.3, c)
        value = loss(logits, [0, 2])
        a = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]) * c
        assert value == pytest.approx(-(a * LogSoftmax()(logits)).sum() / 1.5, rel=1e-12)
        assert_allclose(loss.compute_backward(), (a.sum(axis=1, keepdims=True) * Softmax()(logits) - a) / 1.5, rtol=1e-12)

    def test_class_weights_are_a_copy(self) -> None:
        c = np.array([1.0, 2.0])
        loss = CrossEntropy(class_weight=c, reduction="sum")
        c[:] = 0
        assert loss([[0.0, 0.0]], [1]) == pytest.approx(2 * np.log(2))


@pytest.mark.parametrize(
    ("loss", "name", "value"),
    [(CrossEntropy(), "class_weight", [1.0, 2.0, 0.5]), (BinaryCrossEntropy(True), "pos_weight", 3.0), (Huber(), "delta", 0.5)],
)
def test_settings_may_be_set_later(loss: Any, name: str, value: Any) -> None:
    z, y = np.array([[2.0, 1.0, -1.0]]), np.array([1]) if isinstance(loss, CrossEntropy) else np.ones((1, 3))
    loss(z, y)
    setattr(loss, name, value)
    options = {"from_logits": True} if isinstance(loss, BinaryCrossEntropy) else {}
    assert loss(z, y) == type(loss)(**options, **{name: value})(z, y)


@pytest.mark.parametrize(
    ("loss", "name", "value", "message"),
    [
        (CrossEntropy(), "class_weight", [1.0, -2.0, 0.5], "CrossEntropy: expected class_weight to be one number of at least 0"),
        (
            CrossEntropy(),
            "class_weight",
            [1.0, "a", 0.5],
            r"CrossEntropy\(.*\): expected class_weight to be real numbers, got list",
        ),
        (
            NegativeLogLikelihood(),
            "class_weight",
            2.0,
            "NegativeLogLikelihood: expected class_weight to be one number of at least 0",
        ),
        (
            BinaryCrossEntropy(True),
            "pos_weight",
            -3.0,
            "BinaryCrossEntropy: expected pos_weight of at least 0 and finite, got -3.0",
        ),
        (BinaryCrossEntropy(True), "pos_weight", "balanced", r"BinaryCrossEntropy\(.*\): expected pos_weight to be real numbers"),
    ],
)
def test_weights_of_classes_that_are_set_later_are_checked_as_at_first(loss: Any, name: str, value: Any, message: str) -> None:
    z, y = np.array([[-2.0, -1.0, -1.5]]), np.ones((1, 3)) if isinstance(loss, BinaryCrossEntropy) else np.array([1])
    loss(z, y)
    setattr(loss, name, value)
    with pytest.raises((ValueError, TypeError), match=message):
        loss(z, y)


def test_a_reduction_that_there_is_not_is_refused_also_when_it_is_set_later() -> None:
    loss = MeanSquaredError()
    loss([1.0, 2.0], [0.0, 0.0])
    loss.reduction = "average"
    with pytest.raises(ValueError, match="MeanSquaredError: expected reduction to be one of mean, sum, none, got 'average'"):
        loss([1.0, 2.0], [0.0, 0.0])


@pytest.mark.parametrize(
    ("loss", "pred", "target", "message"),
    [
        (
            MeanSquaredError(),
            np.ones((3, 1)),
            np.ones(3),
            r"target of the shape of the prediction, \(3, 1\), got \(3,\); reshape the target: y.reshape\(-1, 1\)$",
        ),
        (MeanSquaredError(), np.ones((3, 2)), [0, 1, 1], r"\(3, 2\), got \(3,\); .* labels of classes go with CrossEntropy\(\)$"),
        (Hinge(), [0.5, 1.0], [0, 1], r"Hinge\(\): expected every target to be -1 or 1, .* 0.0 to 1.0; .* pass 2 \* y - 1"),
        (Hinge(), [0.5, 1.0], [3, 1], "got values from 1.0 to 3.0$"),
        (BinaryCrossEntropy(), [1.5], [1.0], r"every prediction in \[0, 1\], got values from 1.5 to 1.5; .*from_logits=True"),
        (BinaryCrossEntropy(), [np.nan], [1.0], "every prediction"),
        (BinaryCrossEntropy(from_logits=True), [1.5], [2.0], "got values from 2.0 to 2.0$"),
        (
            BinaryCrossEntropy(from_logits=True),
            [1.5, 2],
            [-1, 1],
            r"every target in .*; \(y \+ 1\) / 2 makes 0 and 1 of -1 and 1$",
        ),
        (CrossEntropy(), 1.0, 0, r"expected predictions \(..., C\), got a single number"),
        (CrossEntropy(), np.ones((2, 3)), [0, 3], "expected labels from 0 to 2, got values from 0 to 3"),
        (CrossEntropy(), np.ones((2, 1)), [0, 1], r"got values from 0 to 1; a model of one output goes with BinaryCrossEntropy"),
        (CrossEntropy(), np.ones((2, 3)), ["a", "b"], r"got <U1 \(2,\); labels must be integers, as of names, y = np.unique"),
        (CrossEntropy(), np.ones((2, 3)), [1, 3], "got values from 1 to 3; labels count from 0: pass y - 1$"),
        (CrossEntropy(), np.ones((2, 3)), [0, -1], "got values from -1 to 0$"),
        (CrossEntropy(), np.ones((2, 2)), [1, -1], r"labels count from 0: pass \(y \+ 1\) // 2$"),
        (CrossEntropy(), np.ones((2, 4, 3)), [0, 1], r"got int64 \(2,\); one label for each sequence .* return_sequences=False$"),
        (CrossEntropy(), [0, 1], np.ones((2, 3)), "the prediction comes first, then the target$"),
        (CrossEntropy(), np.ones((2, 3)), [0.0, 1.0], "labels must be integers"),
        (CrossEntropy(), np.ones((2, 3)), [[0], [1]], r"pass y.ravel\(\)"),
        (CrossEntropy(), np.ones((2, 3)), np.eye(3, dtype=int)[:2], r"probabilities must be floats, as of y.astype\(float\)"),
        (CrossEntropy(), np.ones((2, 3)), np.ones((2, 3)), "rows of probabilities"),
        (NegativeLogLikelihood(), np.ones((2, 3)), [[0.5, 0.5, 0.5], [1, 0, 0]], "rows of probabilities"),
        (CrossEntropy(class_weight=[1.0, 2.0]), np.ones((2, 3)), [0, 1], r"class_weight of shape \(3,\), got \(2,\)"),
        (CrossEntropy(ignore_index=-1), np.ones((2, 3)), [5, -1], "expected labels from 0 to 2, got values from 5 to 5"),
        (CrossEntropy(ignore_index=1), np.ones((2, 2)), np.eye(2), r"integer labels \(2,\), got probabilities .* weight 0"),
        (BinaryCrossEntropy(True, [1.0, 2.0]), np.ones(3), np.ones(3), r"pos_weight to broadcast to targets \(3,\), got \(2,\)"),
        (PoissonNLL(), np.ones(2), [1.0, -1.0], "expected counts of at least 0 as the target, got -1"),
        (GaussianNLL(), np.ones((2, 3)), np.ones((2, 1)), r"predictions \(..., 2 K\), K means .*, got \(2, 3\)"),
        (GaussianNLL(), np.ones((3, 2)), np.ones(3), r"a target \(3, 1\) for predictions \(3, 2\), got \(3,\); reshape"),
        (KLDivergence(), np.zeros((2, 3)), np.ones((2, 3)), "rows of probabilities"),
        (KLDivergence(), np.zeros((2, 3)), [0, 1], r"the shape of predictions \(..., C\), got \(2,\) for \(2, 3\)"),
        (KLDivergence(), 1.0, 1.0, "predictions"),
    ],
)
def test_refuses_data(loss: Loss, pred: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(pred, target)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Huber(0), ValueError, "Huber: expected delta of more than 0, got 0"),
        (lambda: Huber("a"), TypeError, "Huber: expected delta to be a number"),  # type: ignore[arg-type]
        (lambda: CrossEntropy(1.5), ValueError, "CrossEntropy: expected label_smoothing from 0 to 1, got 1.5"),
        (lambda: CrossEntropy("a"), TypeError, "CrossEntropy: expected label_smoothing to be a number"),  # type: ignore[arg-type]
        (lambda: CrossEntropy(ignore_index=0.5), TypeError, "expected ignore_index to be a whole number"),  # type: ignore[arg-type]
        (lambda: BinaryCrossEntropy(pos_weight=-1.0), ValueError, "expected pos_weight of at least 0 and finite, got -1"),
        (lambda: BinaryCrossEntropy(pos_weight="a"), TypeError, "expected pos_weight to be real numbers"),  # type: ignore[arg-type]
        (lambda: Quantile(1.0), ValueError, "Quantile: expected q between 0 and 1, got 1.0"),
        (lambda: Quantile(None), TypeError, "Quantile: expected q to be a number"),  # type: ignore[arg-type]
        (lambda: CrossEntropy(class_weight=[-1.0, 1.0]), ValueError, "one number of at least 0 for each class"),
        (lambda: NegativeLogLikelihood(np.ones((2, 2))), ValueError, "one number of at least 0 for each class"),
        (
            lambda: CrossEntropy(class_weight=[np.inf, 1.0]),
            ValueError,
            r"CrossEntropy: expected class_weight to be .* for each class, all finite, got \[inf, 1.0\]; a class of which .* 0",
        ),
        (lambda: NegativeLogLikelihood([np.nan, 1.0]), ValueError, "for each class, all finite"),
        (lambda: NegativeLogLikelihood([]), ValueError, r"for each class, all finite, got \[\]"),
    ],
)
def test_refuses_options(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_infinite_logits_do_not_warn_where_they_are_finite_losses() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({}, {"class_weight": [1.0, 1.0]}):
            assert CrossEntropy(**options)([[-np.inf, 0.0]], [1]) == 0  # type: ignore[arg-type]
