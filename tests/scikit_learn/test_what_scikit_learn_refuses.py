"""What pancake's estimators take beyond scikit-learn's: weights of classes, losses, dropout, stacks, optimizers, callbacks."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")

from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score, get_scorer, r2_score
from sklearn.preprocessing import scale

import pancake as pk
from pancake.sklearn import MLPClassifier, MLPRegressor

X, y = (lambda X, y: (scale(X), y))(*load_wine(return_X_y=True))
XB, YB = (lambda X, y: (scale(X), y))(*load_breast_cancer(return_X_y=True))
XD, YD = load_diabetes(return_X_y=True)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 60, "learning_rate_init": 0.02}


@pytest.fixture(autouse=True)
def _convergence_is_not_the_matter() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


# --- class_weight ---


def test_balanced_classes_help_the_rare_one() -> None:
    points, classes = make_blobs([1000, 40], centers=[[0, 0], [1.5, 1.5]], random_state=0)
    names = np.array(["many", "few"])[classes]
    plain, balanced = (
        MLPClassifier(class_weight=class_weight, **SMALL).fit(points, names) for class_weight in (None, "balanced")
    )
    scores = [balanced_accuracy_score(names, clf.predict(points)) for clf in (plain, balanced)]
    assert scores[1] > scores[0] + 0.05
    as_dict = MLPClassifier(class_weight={"few": 13.0, "many": 0.52}, **SMALL).fit(points, names)
    assert_allclose(as_dict.predict_proba(points), balanced.predict_proba(points), atol=1e-8)


def test_class_weights_multiply_those_of_the_rows() -> None:
    weight = 1.0 + np.arange(len(y)) % 2
    a = MLPClassifier(class_weight={1: 3.0}, **SMALL).fit(X, y, weight)
    b = MLPClassifier(**SMALL).fit(X, y, weight * np.where(y == 1, 3, 1))
    assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-9)


def test_class_weights_in_partial_fit() -> None:
    a = MLPClassifier(class_weight={1: 3.0}, **SMALL).partial_fit(X, y, classes=[0, 1, 2])
    b = MLPClassifier(**SMALL).partial_fit(X, y, np.where(y == 1, 3.0, 1.0), classes=[0, 1, 2])
    assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    with pytest.raises(ValueError, match="needs all rows at once, which partial_fit has not"):
        MLPClassifier(class_weight="balanced", **SMALL).partial_fit(X, y, classes=[0, 1, 2])


# --- sample_weight ---


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", pk.RMSprop])
def test_a_weight_of_two_is_the_row_twice_and_of_zero_no_row(solver: Any) -> None:
    count = np.arange(len(y)) % 3
    rows = np.repeat(np.arange(len(y)), count)
    options = {**SMALL, "solver": solver, "batch_size": 178, "max_iter": 15}
    assert len(rows) <= 178
    for kind, target, losses in (
        (MLPClassifier, y, ["log_loss", pk.CrossEntropy(), pk.Hinge()]),
        (MLPRegressor, X[:, 0] * 2, ["squared_error", pk.Huber()]),
    ):
        for loss in losses:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that the batch is clipped
                a = kind(loss=loss, **options).fit(X, target, count)
                b = kind(loss=loss, **options).fit(X[rows], target[rows])
            assert_allclose(a.coefs_[0], b.coefs_[0], atol=1e-6)


def test_weights_that_cannot_be_are_refused() -> None:
    for weight in (-np.ones(len(y)), np.zeros(len(y))):
        with pytest.raises(ValueError, match="weight"):
            MLPClassifier(**SMALL).fit(X, y, weight)
    for class_weight in ({0: 0, 1: 0, 2: 0}, {1: -1}, {1: np.inf}):
        with pytest.raises(ValueError, match="expected weights of at least 0, and one of more"):
            MLPClassifier(class_weight=class_weight, **SMALL).fit(X, y)


def test_a_batch_without_weight_is_passed_over() -> None:
    weight = np.where(np.arange(len(y)) < 100, 0, 1)
    clf = MLPClassifier(batch_size=10, shuffle=False, **SMALL).fit(X, y, weight)
    assert np.isfinite(clf.loss_curve_).all()


# --- loss ---


def test_losses_of_classes() -> None:
    smooth = MLPClassifier(loss=pk.CrossEntropy(label_smoothing=0.2), **SMALL).fit(X, y)
    plain = MLPClassifier(loss=pk.CrossEntropy, **SMALL).fit(X, y)
    same = MLPClassifier(**SMALL).fit(X, y)
    assert_allclose(plain.predict_proba(X), same.predict_proba(X), atol=1e-9)
    assert smooth.predict_proba(X).max() < plain.predict_proba(X).max()
    assert smooth.score(X, y) > 0.95
    two = MLPClassifier(loss=pk.CrossEntropy(), **SMALL).fit(XB, YB)
    assert (two.n_outputs_, two.out_activation_) == (2, "softmax")
    assert two.score(XB, YB) > 0.95
    assert_allclose(two.predict_proba(XB).sum(axis=1), 1)


@pytest.mark.parametrize("loss", [pk.Hinge(), pk.MeanSquaredError(), pk.BinaryCrossEntropy(from_logits=True), pk.Huber(0.5)])
def test_losses_that_compare_entry_with_entry(loss: pk.Loss) -> None:
    for data in ((X, y), (XB, YB), (X, np.column_stack([y == 1, X[:, 0] > 0]).astype(int))):
        clf = MLPClassifier(loss=loss, **SMALL).fit(*data, validation=data)
        assert clf.score(*data) == clf.history_["val_accuracy"][-1] > 0.85


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", [pk.BinaryCrossEntropy(from_logits=True), pk.BinaryCrossEntropy()], ids=repr)
def test_exclusive_classes_that_are_learnt_each_by_itself_have_probabilities_that_sum_to_one(loss: pk.Loss, dtype: Any) -> None:
    clf = MLPClassifier(loss=loss, dtype=dtype, **SMALL).fit(X, y, validation=(X, y))
    p, raw = clf.predict_proba(X), pk.predict(clf.model_, X)
    each = raw if clf.out_activation_ == "identity" else pk.Sigmoid()(raw)
    assert p.dtype == dtype
    assert_allclose(p, each / each.sum(axis=1, keepdims=True), rtol=1e-6)
    assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert_array_equal(clf.predict(X), clf.classes_[p.argmax(axis=1)])
    assert_array_equal(clf.predict_log_proba(X), np.log(p))
    assert clf.score(X, y) == clf.history_["val_accuracy"][-1]
    assert get_scorer("roc_auc_ovr")(clf, X, y) > 0.95
    labels = MLPClassifier(loss=loss, **SMALL).fit(X, np.column_stack([y == 1, X[:, 0] > 0, X[:, 1] > 0]).astype(int))
    assert np.ptp(labels.predict_proba(X).sum(axis=1)) > 0.5


def test_a_row_without_a_probability_stays_one_as_in_one_against_the_rest() -> None:
    clf = MLPClassifier(loss=pk.BinaryCrossEntropy(from_logits=True), **SMALL).fit(X, y)
    clf.intercepts_[-1] = np.full(3, -1e4)
    assert_array_equal(clf.predict_proba(X), 0)
    assert_array_equal(clf.predict(X), 0)


def test_probabilities_that_the_stack_puts_out_itself() -> None:
    def stack(n_in: int, n_out: int, rng: np.random.Generator) -> pk.Function:
        return pk.mlp([n_in, 8, n_out], output=pk.Sigmoid, rng=rng)

    clf = MLPClassifier(model=stack, loss=pk.BinaryCrossEntropy(), **SMALL).fit(XB, YB)
    assert clf.out_activation_ == "identity"
    assert_allclose(clf.predict_proba(XB)[:, 1:], pk.predict(clf.model_, XB))
    assert clf.score(XB, YB) > 0.95
    logs = MLPClassifier(
        model=lambda n_in, n_out, rng: pk.mlp([n_in, 8, n_out], output=pk.LogSoftmax, rng=rng),
        loss=pk.NegativeLogLikelihood(),
        **SMALL,
    ).fit(X, y)
    assert_allclose(logs.predict_proba(X), np.exp(pk.predict(logs.model_, X)), rtol=1e-9)


class Focal(pk.Loss):
    """One's own, of whole numbers: minus the squared probability of the right class."""

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        p = pk.Softmax()(pred)
        self.p, self.target = p, target
        right = p[np.arange(len(p)), target]
        return self._reduced(1 - right**2, len(p))

    def compute_backward(self) -> Any:
        rows = np.arange(len(self.p))
        right = self.p[rows, self.target][:, np.newaxis]
        onehot = np.zeros_like(self.p)
        onehot[rows, self.target] = 1
        return self._gradient(-2 * right * right * (onehot - self.p))


def test_a_loss_of_ones_own() -> None:
    clf = MLPClassifier(loss=Focal(), **SMALL).fit(X, y)
    assert clf.score(X, y) > 0.95
    pinball = MLPRegressor(loss=pk.MeanAbsoluteError(), **SMALL).fit(X, X[:, 1])
    assert pinball.score(X, X[:, 1]) > 0.8


class Rough:
    """One's own without a base class: a value of one entry, and a gradient that is a list."""

    def __call__(self, pred: Any, target: Any) -> Any:
        self.difference = pred - target
        return np.mean(self.difference**2, keepdims=True).reshape(1)

    def compute_backward(self) -> Any:
        return (2 * self.difference / self.difference.size).tolist()


def test_a_loss_of_ones_own_is_taken_as_fit_takes_it() -> None:
    rough = MLPRegressor(loss=Rough(), **SMALL).fit(X, X[:, 1])
    usual = MLPRegressor(loss=pk.MeanSquaredError(), **SMALL).fit(X, X[:, 1])
    assert_allclose(rough.predict(X), usual.predict(X), rtol=1e-9)


@pytest.mark.parametrize("sizes", [True, (5, True), "5", (0,)])
def test_sizes_that_are_none(sizes: Any) -> None:
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        MLPClassifier(hidden_layer_sizes=sizes).fit(X, y)


def test_losses_that_will_not_do() -> None:
    with pytest.raises(TypeError, match="expected loss to be one of scikit-learn's names or a loss"):
        MLPClassifier(loss=len, **SMALL).fit(X, y)
    with pytest.raises(ValueError, match="its reduction must be 'mean' or 'sum'"):
        MLPRegressor(loss=pk.Huber(reduction="none"), **SMALL).fit(XD, YD)
    with pytest.raises(ValueError, match="expected a loss of several labels at once"):
        MLPClassifier(loss=pk.CrossEntropy(), **SMALL).fit(X, np.column_stack([y == 1, y == 2]).astype(int))


def test_the_loss_of_the_user_is_left_as_it_is() -> None:
    loss = pk.CrossEntropy()
    MLPClassifier(loss=loss, **SMALL).fit(X, y)
    with pytest.raises(RuntimeError, match="needs a call"):
        loss.compute_backward()


# --- the net ---


def test_dropout_stands_after_each_hidden_layer() -> None:
    clf = MLPClassifier(dropout=0.3, **{**SMALL, "hidden_layer_sizes": (8, 7)}).fit(X, y)
    assert [type(part) for part in clf.model_] == [pk.Linear, pk.ReLU, pk.Dropout] * 2 + [pk.Linear]
    assert clf.model_[2].p == 0.3
    assert_array_equal(clf.predict_proba(X), clf.predict_proba(X))
    again = MLPClassifier(dropout=0.3, **{**SMALL, "hidden_layer_sizes": (8, 7)}).fit(X, y)
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert [len(coef) for coef in clf.coefs_] == [13, 8, 7]


@pytest.mark.parametrize("activation", [pk.GELU, pk.Mish, lambda: pk.LeakyReLU(0.1), lambda: pk.PReLU()])
def test_any_activation(activation: Any) -> None:
    clf = MLPClassifier(activation=activation, **SMALL).fit(X, y)
    assert type(clf.model_[1]) is type(activation())
    assert clf.score(X, y) > 0.95


def test_a_stack_of_ones_own() -> None:
    def stack(n_in: int, n_out: int, rng: np.random.Generator) -> pk.Function:
        body = pk.Residual(pk.mlp([16, 16, 16], rng=rng))
        return pk.Sequential(
            [pk.Standardize.of(X), pk.Linear(n_in, 16, rng=rng), pk.BatchNorm(16), body, pk.Linear(16, n_out, rng=rng)]
        )

    clf = MLPClassifier(model=stack, **SMALL).fit(X, y)
    assert clf.score(X, y) > 0.95
    assert isinstance(clf.model_[2], pk.BatchNorm)
    assert clf.model_.training
    assert clf.model_[2].num_batches_tracked == clf.n_iter_
    again = MLPClassifier(model=stack, **SMALL).fit(X, y)
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_a_recurrent_stack() -> None:
    bits = np.random.default_rng(0).integers(0, 2, size=(300, 8)).astype(float)
    three = (bits[:, 2:] * bits[:, 1:-1] * bits[:, :-2]).any(axis=1)

    def stack(n_in: int, n_out: int, rng: np.random.Generator) -> pk.Function:
        cell = pk.Unrolled(pk.GRUCell(1, 8, rng=rng), return_sequences=False)
        return pk.Sequential([pk.Reshape((-1, n_in, 1)), cell, pk.Linear(8, n_out, rng=rng)])

    options = {**SMALL, "batch_size": 32, "learning_rate_init": 0.05, "max_iter": 40}
    assert MLPClassifier(model=stack, **options).fit(bits, three).score(bits, three) > 0.95


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"model": lambda n_in, n_out, rng: pk.mlp([n_in, 2], rng=rng)},
            ValueError,
            r"into \(3,\) outputs, got outputs of shape \(2,\)",
        ),
        (
            {"model": lambda n_in, n_out, rng: [pk.Linear(n_in, n_out)]},
            TypeError,
            r"expected model\(n_in, n_out, rng\) to give a",
        ),
        (
            {"model": lambda n_in, n_out, rng: pk.Linear(n_in, n_out), "dropout": 0.5},
            ValueError,
            "put pancake.Dropout into the stack",
        ),
        ({"activation": list}, TypeError, "expected activation=.* to give a pancake.Function"),
        ({"solver": lambda model, lr: None}, TypeError, "to make a pancake optimizer"),
        ({"activation": pk.Tanh()}, TypeError, r"got the Function Tanh\(\); each fit makes its own: write activation=Tanh$"),
        (
            {"activation": np.tanh},
            TypeError,
            r"expected activation to be .*, got <ufunc 'tanh'>, which takes arguments; write activation=\"tanh\" or pk.Tanh$",
        ),
        ({"activation": lambda x: np.maximum(x, 0)}, TypeError, "expected activation to be .* or a Function of your own$"),
        ({"activation": pk.Linear}, TypeError, "Linear.*n_in"),
        ({"activation": lambda: pk.LeakyReLU(slope=0.1)}, TypeError, "LeakyReLU.*slope"),
        (
            {"model": pk.Linear(13, 3)},
            TypeError,
            "expected model to be a class or a function .*: write model=lambda n_in, n_out, rng: ...",
        ),
        ({"callbacks": [print, 3]}, TypeError, "expected callbacks to be functions"),
        ({"hidden_layer_sizes": (5.5,)}, ValueError, "whole numbers"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"dtype": "int8"}, TypeError, "expected a floating dtype"),
        ({"callbacks": 3}, ValueError, "callbacks"),
        ({"class_weight": "equal"}, ValueError, "class_weight"),
    ],
)
def test_arguments_that_will_not_do(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MLPClassifier(**{**SMALL, **arguments}).fit(X, y)


@pytest.mark.parametrize("solver", [pk.RMSprop, pk.Adagrad, functools.partial(pk.AdamW, weight_decay=0.1)])
def test_any_optimizer(solver: Any) -> None:
    clf = MLPClassifier(solver=solver, **SMALL).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert len(clf.loss_curve_) == clf.n_iter_
    slower = MLPClassifier(solver=solver, learning_rate="invscaling", **SMALL).fit(X, y)
    assert slower.history_["lr"][1] == 0.02 / (len(y) + 1) ** 0.5


def test_dtype() -> None:
    clf = MLPClassifier(dtype=np.float32, **SMALL).fit(X, y)
    assert clf.coefs_[0].dtype == clf.predict_proba(X).dtype == np.float32
    wide = MLPClassifier(dtype="float64", **SMALL).fit(X.astype(np.float32), y)
    assert wide.coefs_[0].dtype == np.float64
    own = MLPRegressor(model=lambda n_in, n_out, rng: pk.mlp([n_in, n_out], rng=rng), dtype=np.float32, **SMALL).fit(XD, YD)
    assert own.predict(XD).dtype == np.float32


# --- watching ---


def test_callbacks_see_each_epoch_and_can_end_it() -> None:
    seen: list[tuple[int, float]] = []

    def watch(state: Any) -> None:
        state.model.eval()  # as a picture of the model would
        seen.append((state.epoch, state.history["loss"][-1]))

    clf = MLPClassifier(callbacks=[watch, lambda state: state.epoch == 7], **SMALL).fit(X, y)
    assert seen == list(enumerate(clf.loss_curve_, start=1))
    assert clf.n_iter_ == 7
    assert clf.model_.training
    by_lbfgs = MLPClassifier(solver="lbfgs", callbacks=lambda state: state.epoch == 4, **SMALL).fit(X, y)
    assert by_lbfgs.n_iter_ == len(by_lbfgs.history_["loss"]) == 4


def test_validation() -> None:
    reg = MLPRegressor(**{**SMALL, "max_iter": 5}).fit(XD[:300], YD[:300], validation=(XD[300:], YD[300:]))
    assert reg.history_["val_r2"][-1] == reg.score(XD[300:], YD[300:])
    assert_allclose(reg.history_["val_loss"][-1], ((reg.predict(XD[300:]) - YD[300:]) ** 2).mean() / 2)
    names = np.array(["a", "b", "c"])[y]
    clf = MLPClassifier(early_stopping=True, **SMALL).fit(X[::2], names[::2], validation=(X[1::2], names[1::2]))
    assert clf.best_validation_score_ == max(clf.history_["val_accuracy"]) == clf.score(X[1::2], names[1::2])
    assert clf.validation_scores_ == clf.history_["val_accuracy"]
    weight = np.arange(89) % 2
    clf = MLPClassifier(**{**SMALL, "max_iter": 3}).fit(X[::2], y[::2], validation=(X[1::2], y[1::2], weight))
    assert_allclose(clf.history_["val_accuracy"][-1], clf.score(X[1::2], y[1::2], weight))


def test_validation_beside_lbfgs() -> None:
    clf = MLPClassifier(**{**SMALL, "solver": "lbfgs", "max_iter": 6}).fit(X[::2], y[::2], validation=(X[1::2], y[1::2]))
    assert len(clf.history_["val_loss"]) == len(clf.history_["loss"]) == clf.n_iter_
    assert clf.history_["val_accuracy"][-1] == clf.score(X[1::2], y[1::2])


def test_validation_that_will_not_do() -> None:
    for validation, message in (
        (0.1, r"expected validation to be \(X, y\)"),
        ((X[:, :3], y), "3 features"),
        ((X, y + 1), "classes not in"),
        ((X[:1], y[:1]), "two rows"),
    ):
        with pytest.raises(ValueError, match=message):
            MLPClassifier(**SMALL).fit(X, y, validation=validation)


def test_history_is_drawn() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    clf = MLPClassifier(**{**SMALL, "max_iter": 4}).fit(X, y, validation=(X, y))
    assert set(clf.history_) == {"loss", "val_loss", "val_accuracy", "lr", "seconds"}
    assert clf.history_["loss"] == clf.loss_curve_
    assert len(clf.history_.plot().axes) >= 1


def test_the_stack_is_saved_and_goes_on_by_itself(tmp_path: Any) -> None:
    names = np.array(["red", "white", "rosé"])[y]
    raw = X * 7 + 3
    clf = MLPClassifier(**SMALL).fit((raw - raw.mean(axis=0)) / raw.std(axis=0), names)
    whole = pk.Sequential([pk.Standardize.of(raw), clf.model_, pk.Softmax()])
    pk.save(tmp_path / "wine.npz", whole, meta={"classes": clf.classes_.tolist()})
    again = pk.load(tmp_path / "wine.npz")
    classes = np.array(pk.load_meta(tmp_path / "wine.npz")["classes"])
    predicted = classes[pk.predict(again, raw).argmax(axis=1)]
    assert_array_equal(predicted, clf.predict((raw - raw.mean(axis=0)) / raw.std(axis=0)))
    loss = pk.CrossEntropy()
    before = loss(pk.predict(clf.model_, X), y)
    pk.fit(clf.model_, loss, pk.Adam(clf.model_), X, y, epochs=3, progress=False)
    assert loss(pk.predict(clf.model_, X), y) < before


def test_a_poisson_loss_predicts_counts_and_not_their_logarithms() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = rng.poisson(np.exp(1 + X[:, 0]))
    reg = MLPRegressor(pk.PoissonNLL(), hidden_layer_sizes=(8,), max_iter=300, learning_rate_init=0.01, random_state=0)
    assert reg.fit(X, y).out_activation_ == "exp"
    assert reg.predict(X).min() > 0
    assert reg.predict(X).mean() == pytest.approx(y.mean(), rel=0.1)


def test_a_gaussian_loss_learns_how_sure_a_prediction_is() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 1))
    deviation = np.exp(X[:, 0] - 1)
    y = np.stack([3 * X[:, 0] + deviation * rng.normal(size=600), X[:, 0]], axis=1)
    for targets in (y, y[:, 0]):
        reg = MLPRegressor(pk.GaussianNLL(), hidden_layer_sizes=(16,), max_iter=400, learning_rate_init=0.01, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mean, std = reg.fit(X, targets).predict(X, return_std=True)
        assert mean.shape == std.shape == targets.shape
        assert_array_equal(mean, reg.predict(X))
        first = (mean, std) if targets.ndim == 1 else (mean[:, 0], std[:, 0])
        assert np.abs(first[0] - 3 * X[:, 0]).mean() < 0.1
        assert np.abs(np.log(first[1] / deviation)).mean() < 0.2
        assert reg.score(X, targets) == pytest.approx(r2_score(targets, mean))
    with pytest.raises(ValueError, match="has learnt no standard deviations"):
        MLPRegressor(max_iter=1000, tol=1).fit(X, y).predict(X, return_std=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_of_probabilities_get_the_end_that_they_need(classes: int) -> None:
    """With one-hot rows the divergence and the likelihood are the cross-entropy, so from one seed all give the same net."""
    y = OF_THREE % classes
    settings: Any = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}
    fitted = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for loss in (pk.CrossEntropy(), pk.NegativeLogLikelihood(), pk.KLDivergence()):
            fitted[type(loss)] = MLPClassifier(loss=loss, early_stopping=True, **settings).fit(ROWS, y)
        logits = MLPClassifier(loss=pk.BinaryCrossEntropy(from_logits=True), **settings).fit(ROWS, y)
        ended = MLPClassifier(loss=pk.BinaryCrossEntropy(), **settings).fit(ROWS, y)
    usual = fitted.pop(pk.CrossEntropy)
    for other in fitted.values():
        assert repr(other.model_[-1]) == "LogSoftmax()"
        np.testing.assert_allclose(other.predict_proba(ROWS), usual.predict_proba(ROWS), rtol=1e-9)
        np.testing.assert_allclose(other.validation_scores_, usual.validation_scores_)
        assert_array_equal(other.predict(ROWS), usual.predict(ROWS))
    assert repr(ended.model_[-1]) == "Sigmoid()"
    np.testing.assert_allclose(ended.predict_proba(ROWS), logits.predict_proba(ROWS), rtol=1e-9)


@pytest.mark.parametrize(
    "change",
    [{"activation": "tanh"}, {"dropout": 0.5}, {"dtype": np.float32}, {"model": lambda n_in, n_out, rng: pk.Linear(n_in, n_out)}],
)
@pytest.mark.parametrize("go_on", ["fit", "partial_fit"])
def test_a_net_does_not_go_on_as_another_one(change: Any, go_on: str) -> None:
    reg = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, tol=10, n_iter_no_change=1, random_state=0, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reg.fit(ROWS, ROWS[:, 0])
        before, (name,) = reg.predict(ROWS), change
        getattr(reg, go_on)(ROWS, ROWS[:, 0])
        before = reg.predict(ROWS)
        with pytest.raises(ValueError, match=f"the net was made with {name}="):
            getattr(reg.set_params(**change), go_on)(ROWS, ROWS[:, 0])
    assert_array_equal(reg.predict(ROWS), before)


@pytest.mark.parametrize("loss", [pk.CrossEntropy(), pk.BinaryCrossEntropy(), pk.Hinge(), pk.KLDivergence()], ids=repr)
def test_a_regressor_refuses_losses_of_classes(loss: Any) -> None:
    with pytest.raises(ValueError, match="which is of classes: MLPClassifier"):
        MLPRegressor(loss).fit(ROWS, ROWS[:, 0])


ROWS = np.random.default_rng(0).normal(size=(201, 3))
OF_THREE = np.arange(201) % 3


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({}, {"validation": (ROWS[:, :2], OF_THREE)}),
        ({}, {"validation": (ROWS, OF_THREE + 7)}),
        ({}, {"sample_weight": -np.ones(201)}),
        ({"early_stopping": True, "validation_fraction": 0.001}, {}),
        ({"solver": lambda model, lr: None}, {}),
        ({"loss": pk.PoissonNLL()}, {}),
        ({"loss": pk.GaussianNLL()}, {}),
        ({"loss": pk.NegativeLogLikelihood(), "model": lambda n_in, n_out, rng: pk.Linear(n_in, n_out, rng=rng)}, {}),
    ],
)
def test_what_is_refused_leaves_the_estimator_as_it_was(change: Any, more: Any) -> None:
    new = MLPClassifier(random_state=0).set_params(**change)
    with pytest.raises((TypeError, ValueError)):
        new.fit(ROWS, OF_THREE, **more)
    assert not hasattr(new, "model_")
    assert not hasattr(new, "classes_")
    clf = MLPClassifier(random_state=0, max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf.fit(ROWS, OF_THREE)
    before, predicted = dict(vars(clf)), clf.predict_proba(ROWS)
    clf.set_params(**change)
    with pytest.raises((TypeError, ValueError)):
        clf.fit(ROWS, OF_THREE + 3, **more)
    clf.set_params(**{name: before[name] for name in change})
    assert vars(clf).keys() == before.keys()
    assert_array_equal(clf.classes_, [0, 1, 2])
    assert_array_equal(clf.predict_proba(ROWS), predicted)


def test_a_last_batch_of_one_joins_the_one_before_if_the_stack_needs_two() -> None:
    def normalised(n_in: int, n_out: int, rng: Any) -> pk.Sequential:
        return pk.Sequential([pk.Linear(n_in, 8, rng=rng), pk.BatchNorm(8), pk.ReLU(), pk.Linear(8, n_out, rng=rng)])

    clf = MLPClassifier(model=normalised, random_state=0, max_iter=2, n_iter_no_change=10)
    with pytest.warns(ConvergenceWarning):
        clf.fit(ROWS, OF_THREE)
    assert clf.model_[1].num_batches_tracked == 2


def test_an_end_that_does_not_fit_the_loss_is_told() -> None:
    def ended(n_in: int, n_out: int, rng: Any) -> pk.Sequential:
        return pk.Sequential([pk.Linear(n_in, n_out, rng=rng), pk.Softmax()])

    clf = MLPClassifier(model=ended, max_iter=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf.fit(ROWS, OF_THREE)
    assert any("softmax in it" in str(warning.message) for warning in caught)
