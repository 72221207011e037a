from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, Sequential, Tanh, accuracy, mlp, predict
from pancake.functions.dropout import Dropout
from pancake.functions.normalization import BatchNorm
from pancake.training.evaluate import evaluate
from pancake.training.metrics import confusion_matrix, mean_absolute_error, r2_score


def data(n=50):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


# --- evaluate ---


def test_evaluate_is_loss_and_metrics_of_predictions():
    X, y = data(1200)
    model = mlp([2, 5, 2], activation=Tanh, rng=0)
    result = evaluate(model, CrossEntropy(), X, y, metrics={"accuracy": accuracy, "lowest": lambda pred, y: pred.min()})
    pred = predict(model, X)
    assert result == {"loss": CrossEntropy()(pred, y), "accuracy": accuracy(pred, y), "lowest": pred.min()}


def test_evaluate_weights_the_examples():
    X, y = data()
    model = mlp([2, 5, 2], rng=0)
    weight = np.arange(len(y))
    assert evaluate(model, CrossEntropy(), X, y, sample_weight=weight) == {"loss": CrossEntropy()(model(X), y, weight)}


def test_evaluate_sums_a_loss_that_is_not_reduced():
    X, y = data()
    model = mlp([2, 2], rng=0)
    total = evaluate(model, CrossEntropy(reduction="sum"), X, y)["loss"]
    assert evaluate(model, CrossEntropy(reduction="none"), X, y)["loss"] == pytest.approx(total, rel=1e-14)


def test_evaluate_leaves_model_and_loss_as_they_were():
    X, y = data()
    model = Sequential([BatchNorm(2), Dropout(0.5, rng=1), *mlp([2, 3, 2], rng=0)])
    loss = CrossEntropy()
    loss(model(X[:5]), y[:5])
    before, slope = model.state_dict(), loss.compute_backward()
    dice = model[1].rng.bit_generator.state
    evaluate(model, loss, X, y)
    assert model.training
    assert model[1].training
    assert model[1].rng.bit_generator.state == dice
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    np.testing.assert_array_equal(loss.compute_backward(), slope)
    model.compute_backward(slope)  # of the five, not of the fifty


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"y": np.zeros(49, int)}, ValueError, "as many rows in y as in x, got .49,. for x of shape .50, 2."),
        ({"x": np.zeros((0, 2))}, ValueError, "a row for each example"),
        ({"x": [[1.0, 2.0], [3.0]]}, ValueError, "rows of different lengths"),
        ({"y": None}, TypeError, "expected y to be an array of real numbers, got None"),
        ({"y": np.array(["a"] * 50)}, TypeError, "expected y to be an array of real numbers, got an array of dtype <U1"),
        ({"sample_weight": np.ones(3)}, ValueError, "as many rows in sample_weight"),
        ({"metrics": [accuracy]}, TypeError, "a dict of functions"),
        ({"loss": CrossEntropy}, TypeError, "evaluate: expected a loss, such as MeanSquaredError.., as second argument"),
        ({"metrics": {"val_accuracy": accuracy}}, ValueError, "'val_accuracy' is taken"),
        ({"metrics": {"loss": accuracy}}, ValueError, "'loss' is taken"),
        ({"metrics": {"both": lambda pred, y: pred[:2]}}, TypeError, "the metric 'both': expected it to return a number"),
    ],
)
def test_evaluate_refuses(changes, error, words):
    X, y = data()
    arguments = {"loss": CrossEntropy(), "x": X, "y": y, **changes}
    with pytest.raises(error, match=words):
        evaluate(mlp([2, 2], rng=0), **arguments)


# --- accuracy ---


@pytest.mark.parametrize(
    ("pred", "target", "expected"),
    [
        ([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], [1, 0, 0, 0], 0.75),  # scores and classes
        ([[0.1, 0.9], [0.8, 0.2]], [[1], [1]], 0.5),  # classes as a column
        ([[0.1, 0.9], [0.8, 0.2]], [[0.0, 1.0], [0.9, 0.1]], 1.0),  # rows of probabilities
        ([0.2, 0.5, 0.9, 0.4], [0, 1, 1, 1], 0.75),  # probabilities of class 1; one half is class 1
        ([[0.2], [0.5], [0.9], [0.4]], [0, 1, 1, 1], 0.75),
        ([0.2, 0.5, 0.9, 0.4], [[0], [1], [1], [1]], 0.75),
        ([[0.2], [0.5]], [[0.0], [0.0]], 0.5),
        ([2, 0, 1], [2, 1, 1], 2 / 3),  # classes themselves
        ([True, False], [1, 1], 0.5),
        ([[[0.1, 0.9], [0.8, 0.2]]], [[1, 1]], 0.5),  # (B, T, C) and (B, T)
        ([[[-5.0, -9.0, -7.0]]], [[0]], 1.0),  # logits
    ],
)
def test_accuracy(pred, target, expected):
    result = accuracy(pred, target)
    assert result == expected
    assert type(result) is float
    assert accuracy(np.array(pred), np.array(target)) == expected


@pytest.mark.parametrize("function", [accuracy, confusion_matrix, r2_score])
@pytest.mark.parametrize(
    ("pred", "error", "words"),
    [
        (["a", "b"], TypeError, "expected pred to be an array of real numbers, got an array of dtype <U1"),
        ([None, None], TypeError, "expected pred to be an array of real numbers, got an array of dtype object"),
        ([1j, 2], TypeError, "expected pred to be an array of real numbers, got an array of dtype complex128"),
        ([[1, 2], [3]], ValueError, "expected pred to be an array, got rows of different lengths"),
    ],
)
def test_metrics_refuse_what_is_no_number(function, pred, error, words):
    with pytest.raises(error, match=f"^{function.__name__}: {words}"):
        function(pred, [0, 1])
    with pytest.raises(error, match=words.replace("pred", "target")):
        function([0, 1], pred)


@pytest.mark.parametrize("pred", [[np.nan, 0.1], [[np.nan, -1.0], [2.0, 1.0]], [[-1.0, np.nan], [2.0, 1.0]]])
def test_nan_is_no_class(pred):
    assert accuracy(pred, [0, 0]) == 0.5
    with pytest.raises(ValueError, match="confusion_matrix: expected pred to be finite, got nan, which is no class"):
        confusion_matrix(pred, [0, 0])


@given(st.integers(1, 20), st.integers(2, 5), st.integers(0, 100))
def test_accuracy_against_a_loop(n, classes, seed):
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(n, classes)), rng.integers(0, classes, size=n)
    right = sum(max(range(classes), key=lambda c: row[c]) == t for row, t in zip(scores, target, strict=True))
    assert accuracy(scores, target) == pytest.approx(right / n)


@pytest.mark.parametrize(
    ("pred", "target"),
    [
        (np.zeros((4, 3)), np.zeros(3, int)),
        (np.zeros((4, 3)), np.zeros((4, 2), int)),
        (np.zeros(4), np.zeros(3, int)),
        (np.zeros((4, 1)), np.zeros((3, 1), int)),
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.zeros(0), np.zeros(0)),
        (np.zeros((2, 4, 3)), np.zeros(8, int)),
    ],
)
def test_accuracy_of_what_does_not_fit(pred, target):
    with pytest.raises(ValueError, match=r"^accuracy: expected scores .* for targets .*, got \("):
        accuracy(pred, target)


# --- confusion_matrix ---


def test_rows_of_the_confusion_matrix_are_the_targets():
    target = [0, 0, 0, 1, 1, 2]
    pred = [0, 2, 2, 1, 1, 0]
    assert confusion_matrix(pred, target).tolist() == [[1, 0, 2], [0, 2, 0], [1, 0, 0]]


@given(
    st.sampled_from([2, 3, 5, 20, 100]),
    st.lists(st.integers(0, 99), min_size=1, max_size=20),
    st.sampled_from([np.int64, np.uint8, np.int8]),  # in which 20 times 20 is another number
    st.integers(0, 2**32),
)
def test_the_diagonal_of_the_confusion_matrix_is_the_accuracy(classes, labels, dtype, seed):
    target = (np.array(labels) % classes).astype(dtype)
    scores = np.random.default_rng(seed).normal(size=(len(target), classes))
    matrix = confusion_matrix(scores, target)
    assert matrix.shape == (classes, classes)
    assert matrix.dtype == np.int64
    assert matrix.sum() == len(target)
    assert np.trace(matrix) / len(target) == pytest.approx(accuracy(scores, target))
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(target, minlength=classes))
    np.testing.assert_array_equal(matrix.sum(axis=0), np.bincount(scores.argmax(axis=1), minlength=classes))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_probabilities_of_class_1(shape):
    pred = np.array([0.2, 0.5, 0.9, 0.1]).reshape(shape)
    for target in ([0, 1, 0, 1], [[0], [1], [0], [1]], [0.0, 1.0, 0.0, 1.0]):
        assert confusion_matrix(pred, target).tolist() == [[1, 1], [1, 1]]


def test_more_classes_than_occur():
    assert confusion_matrix([0, 1], [0, 0], num_classes=4).tolist() == [[1, 1, 0, 0], [0] * 4, [0] * 4, [0] * 4]
    assert confusion_matrix(np.zeros((2, 3)), [0, 1]).shape == (3, 3)


@pytest.mark.parametrize(
    ("pred", "target", "options", "words"),
    [
        ([0, 1], [0, 1, 1], {}, "got .2,. and .3,."),
        ([], [], {}, "got .0,. and .0,."),
        ([0, -1], [0, 1], {}, "expected pred to be classes 0, 1, 2"),
        ([0, 1], [0, 0.5], {}, "expected target to be classes 0, 1, 2"),
        ([0, 1], [0, 3], {"num_classes": 3}, "classes from 0 to 2, got 3"),
        (np.zeros((2, 3)), [0, 3], {"num_classes": 3}, r"target to be classes from 0 to 2, got \[0 3\]"),
        ([0, 10**6], [0, 1], {}, "^confusion_matrix: expected at most 65536 classes, got 1000001; names become numbers by"),
        ([0, 1], [0, 10**10], {}, "^confusion_matrix: expected at most 65536 classes, got 10000000001; names"),
        ([0, 1], [0, 1], {"num_classes": 10**20}, "^confusion_matrix: expected at most 65536 classes, got 1000000000000"),
    ],
)
def test_confusion_matrix_refuses(pred, target, options, words):
    with pytest.raises(ValueError, match=words):
        confusion_matrix(pred, target, **options)


# --- r2_score ---


def test_r2_by_hand():
    assert r2_score([2.5, 0.0, 2, 8], [3, -0.5, 2, 7]) == pytest.approx(1 - 1.5 / 29.1875)
    both = (1 - 1.25 / (217 / 6)) / 2 + (1 - 3 / (98 / 3)) / 2
    assert r2_score([[0, 2], [-1, 2], [8, -5]], [[0.5, 1], [-1, 1], [7, -6]]) == pytest.approx(both)
    assert r2_score([1, 2, 3], [1, 2, 3]) == 1.0
    assert r2_score([2, 2, 2], [1, 2, 3]) == 0.0
    assert r2_score([3, 2, 1], [1, 2, 3]) == -3.0


def test_r2_of_constant_targets():
    assert r2_score([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert r2_score([2.0, 2.5], [2.0, 2.0]) == 0.0


def test_r2_takes_a_column_for_a_vector():
    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, 7))
    assert r2_score(p[:, None], t) == r2_score(p, t[:, None]) == r2_score(p, t)


@given(st.integers(2, 30), st.integers(1, 3), st.integers(0, 2**32))
def test_r2_is_that_of_scikit_learn(n, outputs, seed):
    metrics = pytest.importorskip("sklearn.metrics")
    p, t = np.random.default_rng(seed).normal(size=(2, n, outputs))
    assert r2_score(p, t) == pytest.approx(metrics.r2_score(t, p), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("p", "t"), [([1.0], [1.0]), ([1.0, 2.0], [1.0, 2.0, 3.0]), (1.0, 1.0), (np.zeros((2, 2)), np.zeros(2))])
def test_r2_refuses(p, t):
    with pytest.raises(ValueError, match=r"r2_score: expected (predictions and targets of one shape|two or more)"):
        r2_score(p, t)


def test_evaluate_binary():
    X, y = data()
    model = mlp([2, 3, 1], rng=0)
    loss = BinaryCrossEntropy(from_logits=True)
    assert evaluate(model, loss, X, y[:, None])["loss"] == loss(model(X), y[:, None])
    assert evaluate(model, MeanSquaredError(), X, model(X), metrics={"r2": r2_score})["r2"] == 1.0


@pytest.mark.parametrize("metric", [accuracy, mean_absolute_error, r2_score])
def test_infinite_weights_are_refused(metric):
    with pytest.raises(ValueError, match=f"{metric.__name__}: expected finite weights, got inf"):
        metric(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0]), weight=[1.0, np.inf, 1.0])
