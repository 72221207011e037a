"""What a metric cannot tell apart it refuses, with the way out; what it is told it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pancake as pk

LOGITS, LABELS = np.array([[-3.0], [0.2], [0.4], [3.0]]), np.array([[0.0], [1.0], [1.0], [1.0]])
ROWS, SEVERAL = np.array([[0.9, 0.95, 0.1], [0.2, 0.8, 0.9]]), np.array([[1, 1, 0], [0, 1, 1]])
METRICS = [pk.accuracy, pk.confusion_matrix, pk.f1_score]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "pred", [LOGITS, LOGITS[:, 0], LOGITS / 100, np.array([0.2, 0.4, 0.4, 1.01]), np.array([0.2, -0.1, 0, np.inf])]
)
def test_one_column_outside_0_to_1_needs_a_threshold(metric, pred):
    with pytest.raises(ValueError, match=f"^{metric.__name__}: .*for logits pass threshold=0.0, for classes integers"):
        metric(pred, LABELS)


def test_with_a_threshold_it_is_plain():
    for target in (LABELS, LABELS[:, 0], LABELS.astype(int), LABELS == 1):
        assert pk.accuracy(LOGITS, target, threshold=0.0) == 1.0
        assert pk.accuracy(LOGITS, target, threshold=0.3) == 0.75
        assert pk.accuracy(LOGITS, target, threshold=-5) == 0.75
        assert pk.confusion_matrix(LOGITS, target, threshold=0.0).tolist() == [[1, 0], [0, 3]]
        assert pk.confusion_matrix(LOGITS, target, threshold=0.3).tolist() == [[1, 0], [1, 2]]
    assert pk.accuracy(np.array([-3, 0, 0, 3]), LABELS, threshold=0.0) == 1.0  # logits that are whole numbers
    with pytest.raises(ValueError, match="threshold to be finite"):
        pk.accuracy(LOGITS, LABELS, threshold=np.nan)
    with pytest.raises(ValueError, match="a threshold is for one column"):
        pk.accuracy(ROWS, [0, 1], threshold=0.5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("pred", [ROWS, ROWS > 0.5, (ROWS > 0.5).astype(int)], ids=["floats", "booleans", "integers"])
@pytest.mark.parametrize("dtype", [int, bool, float])
def test_rows_of_several_labels_are_refused_unless_they_are_meant(metric, pred, dtype):
    target = SEVERAL.astype(dtype)
    if pred.dtype.kind == "f":
        with pytest.raises(ValueError, match=f"^{metric.__name__}: .*pass multilabel=True if each entry is a label"):
            metric(pred, target)
    else:  # rows of 0 and 1 that are no one-hot rows: each entry is a class
        metric(pred, target)
    assert pk.accuracy(pred, target, multilabel=True) == 1.0
    assert pk.confusion_matrix(pred, target, multilabel=True).tolist() == [[2, 0], [0, 4]]
    assert pk.f1_score(pred, target, multilabel=True) == 1.0


def test_logits_of_several_labels_need_both():
    logits = np.log(ROWS / (1 - ROWS))
    with pytest.raises(ValueError, match=r"pass threshold=0\.0"):
        pk.accuracy(logits, SEVERAL, multilabel=True)
    assert pk.accuracy(logits, SEVERAL, multilabel=True, threshold=0.0) == 1.0
    assert pk.accuracy(logits, 1 - SEVERAL, multilabel=True, threshold=0.0) == 0.0


@pytest.mark.parametrize("dtype", [int, bool, float])
def test_one_hot_rows_are_classes(dtype):
    scores = np.array([[2.0, 1.0, -1.0], [0.0, 0.5, 0.2], [1.0, 2.0, 3.0]])
    target = np.eye(3)[[0, 1, 1]].astype(dtype)
    assert pk.accuracy(scores, target) == pytest.approx(2 / 3)
    assert pk.confusion_matrix(scores, target).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    if dtype is not float:  # by rows 2 of 3 are right, by entries 7 of 9
        with pytest.raises(ValueError, match=r"multilabel=True .*, else targets.argmax\(-1\) and pred.argmax\(-1\)"):
            pk.accuracy(np.eye(3)[[0, 1, 2]].astype(dtype), target)


def test_classes_of_sequences_are_compared_entry_by_entry():
    pred, target = np.array([[0, 1, 2], [2, 1, 0]]), np.array([[0, 1, 1], [2, 0, 0]])
    assert pk.accuracy(pred, target) == pytest.approx(4 / 6)
    weight = np.array([[1.0, 1, 0], [1, 0, 1]])
    assert pk.accuracy(pred, target, weight=weight) == 1.0


@pytest.mark.parametrize(
    ("pred", "target", "words"),
    [
        (np.zeros((3, 3)), [1, 2, 3], r"target to be classes from 0 to 2, got \[1 2 3\]; pass y - 1"),
        (np.zeros((3, 3)), [0, 2, 7], "return_inverse=True"),
        (np.zeros((3, 3)), [-1, 0, 1], "classes from 0 to 2"),
        ([0.2, 0.7, 0.1], [1, 2, 2], r"target to be classes from 0 to 1, got \[1 2\]; pass y - 1"),
        ([0.2, 0.7, 0.1], [-1, 1, 1], "classes from 0 to 1"),
        ([0, 1, 1], [0.3, 0.9, 0.8], "predictions come first, then targets"),
        ([0, 1, 1], [[0.3, 0.7], [0.9, 0.1], [0.2, 0.8]], "predictions come first"),
        ([1.5, 2.0, 0.0], [1, 2, 0], r"for classes integers, as of pred.astype\(int\)"),
    ],
)
@pytest.mark.parametrize("metric", METRICS)
def test_labels_that_are_none(metric, pred, target, words):
    with pytest.raises(ValueError, match=words):
        metric(pred, target)


@pytest.mark.parametrize("pred", [[0, 1, 1], [0.2, 0.7, 0.1]])
@pytest.mark.parametrize("metric", METRICS)
def test_predictions_for_a_single_target_are_no_scores(metric, pred):
    with pytest.raises(ValueError, match=r"for targets \(...\), got \(3,\) and \(1,\)"):
        metric(pred, [0])
    metric(np.asarray(pred, float), 0)  # scores of one example


# --- weights ---


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12).filter(lambda counts: sum(counts) > 1), st.integers(0, 99))
def test_a_weight_is_a_number_of_repetitions(counts, seed):
    rng = np.random.default_rng(seed)
    n, rows = len(counts), np.repeat(np.arange(len(counts)), counts)
    scores, labels, numbers, targets = rng.normal(size=(n, 3)), rng.integers(0, 3, n), *rng.normal(size=(2, n, 2))
    rows_of_labels = rng.integers(0, 2, (n, 3))
    for metric, pred, target, options in [
        (pk.accuracy, scores, labels, {}),
        (pk.accuracy, scores, rows_of_labels, {"multilabel": True, "threshold": 0.0}),
        (pk.f1_score, scores, labels, {}),
        (pk.f1_score, scores, rows_of_labels, {"multilabel": True, "threshold": 0.0}),
        (pk.f1_score, scores[:, 0], labels > 1, {"threshold": 0.0}),
        (pk.top_k_accuracy, scores, labels, {"k": 2}),
        (pk.confusion_matrix, scores, labels, {}),
        (pk.mean_absolute_error, numbers, targets, {}),
        (pk.mean_absolute_error, numbers[:, 0], targets[:, 0], {}),
    ]:
        want = metric(pred[rows], target[rows], **options)
        np.testing.assert_allclose(metric(pred, target, weight=counts, **options), want, rtol=1e-12)
        spoilt = np.array(pred, float)
        spoilt[np.array(counts) == 0] = np.nan  # what has weight 0 may be anything
        np.testing.assert_allclose(metric(spoilt, target, weight=counts, **options), want, rtol=1e-12)
    if sum(np.array(counts) > 0) > 1:
        want = pk.r2_score(numbers[rows], targets[rows])
        assert pk.r2_score(numbers, targets, weight=counts) == pytest.approx(want, rel=1e-9, abs=1e-9)
        spoilt = targets.copy()
        spoilt[np.array(counts) == 0] = np.nan
        assert pk.r2_score(numbers, spoilt, weight=counts) == pytest.approx(want, rel=1e-9, abs=1e-9)


def test_weights_of_sequences():
    scores = np.random.default_rng(0).normal(size=(4, 5, 3))
    labels = np.random.default_rng(1).integers(0, 3, (4, 5))
    right = scores.argmax(axis=-1) == labels
    weight = np.arange(4.0)
    assert pk.accuracy(scores, labels, weight=weight) == pytest.approx((right.mean(axis=1) * weight).sum() / weight.sum())
    valid = np.arange(5) < np.array([1, 2, 5, 3])[:, None]
    padded = np.where(valid, labels, -100)
    assert pk.accuracy(scores, padded, weight=valid) == pytest.approx(right[valid].mean())
    np.testing.assert_array_equal(
        pk.confusion_matrix(scores, padded, weight=valid), pk.confusion_matrix(scores[valid], labels[valid])
    )
    assert pk.top_k_accuracy(scores, padded, 1, weight=valid) == pytest.approx(right[valid].mean())


def test_of_nothing_there_is_no_mean():
    assert np.isnan(pk.accuracy([0, 1], [0, 1], weight=[0, 0]))
    assert np.isnan(pk.mean_absolute_error([0, 1], [0, 1], weight=[0, 0]))
    assert np.isnan(pk.top_k_accuracy(np.eye(2), [0, 1], 1, weight=[0, 0]))
    assert np.isnan(pk.r2_score([0, 1], [0, 1], weight=[0, 0]))
    assert pk.confusion_matrix(np.eye(2), [0, 1], weight=[0, 0]).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("metric", [*METRICS, pk.r2_score, pk.mean_absolute_error])
@pytest.mark.parametrize("weight", [[1.0], [1.0, 2.0, 3.0], [[1.0, 1.0], [1.0, 1.0]], [1.0, -1.0], ["a", "b"]])
def test_weights_that_are_none(metric, weight):
    with pytest.raises((TypeError, ValueError), match=f"^{metric.__name__}: expected"):
        metric([0, 1], [0, 1], weight=weight)


# --- f1, top k, mean absolute error, r2 ---


@given(st.integers(1, 30), st.integers(2, 5), st.booleans(), st.integers(0, 999))
def test_f1_is_that_of_scikit_learn(n, classes, weighted, seed):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    p, t = rng.integers(0, classes, (2, n))
    w = rng.integers(1, 4, n) if weighted else None
    kind = "binary" if max(p.max(), t.max()) <= 1 else "macro"
    assert pk.f1_score(p, t, weight=w) == pytest.approx(metrics.f1_score(t, p, average=kind, sample_weight=w, zero_division=0))
    p, t = rng.integers(0, 2, (2, n, 3))
    want = metrics.f1_score(t, p, average="macro", sample_weight=w, zero_division=0)
    assert pk.f1_score(p, t, multilabel=True, weight=w) == pytest.approx(want)


def test_f1_by_hand():
    assert pk.f1_score([0.9, 0.8, 0.2, 0.6], [1, 0, 1, 1]) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert pk.f1_score([0, 0], [0, 0]) == 0.0
    assert pk.f1_score([[0.1, 0.9], [0.8, 0.2]], [1, 0]) == 1.0


@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 999))
def test_top_k_against_a_loop(n, classes, seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 4, (n, classes)) / 2, rng.integers(0, classes, n)  # with ties
    for k in range(1, classes + 1):
        order = [sorted(range(classes), key=lambda c, row=row: (-row[c], c))[:k] for row in scores]
        want = np.mean([label in best for label, best in zip(labels, order, strict=True)])
        assert pk.top_k_accuracy(scores, labels, k) == pytest.approx(want)
    assert pk.top_k_accuracy(scores, labels, 1) == pk.accuracy(scores, labels)
    assert pk.top_k_accuracy(scores, np.eye(classes)[labels], 1) == pk.accuracy(scores, labels)


def test_top_k_refuses_what_makes_no_sense():
    assert pk.top_k_accuracy([[np.nan, 1.0], [0.0, 1.0]], [1, 1], 1) == 0.5
    for pred, k, words in [
        (np.zeros((2, 3)), 4, "at least 4 classes"),
        ([0.2, 0.7], 1, "at least 2"),
        (np.zeros((2, 3)), 0, "k of at"),
    ]:
        with pytest.raises(ValueError, match=words):
            pk.top_k_accuracy(pred, [0, 1], k)


@given(st.integers(1, 20), st.integers(0, 99))
def test_the_mean_absolute_error_is_that_of_scikit_learn(n, seed):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    p, t = rng.normal(size=(2, n, 3))
    w = rng.random(n) + 0.1
    assert pk.mean_absolute_error(p, t, weight=w) == pytest.approx(metrics.mean_absolute_error(t, p, sample_weight=w))
    assert pk.mean_absolute_error(p[:, :1], t[:, 0]) == pytest.approx(metrics.mean_absolute_error(t[:, 0], p[:, 0]))


@pytest.mark.parametrize("value", [0.1, 1e300, -1e-300, 123456.789, 0.0])
@pytest.mark.parametrize("n", [2, 3, 7, 10])
def test_r2_of_targets_that_are_all_the_same(value, n):
    assert pk.r2_score(np.full(n, value), np.full(n, value)) == 1.0
    assert pk.r2_score(np.full(n, value) * 1.5 + 1e-3, np.full(n, value)) == 0.0
    both = np.column_stack([np.full(n, value), np.arange(n)])
    assert pk.r2_score(both, both) == 1.0
    missed = both.copy()
    missed[:, 0] += max(abs(value) * 1e-3, 1e-3)
    assert pk.r2_score(missed, both) == 0.5
    weight = np.r_[np.ones(n - 1), 0]
    if n > 2:
        assert pk.r2_score(np.full(n, value) + 1, np.r_[np.full(n - 1, value), 5.0], weight=weight) in (0.0, 1.0)
    assert np.isnan(pk.r2_score(np.r_[np.full(n - 1, value), np.nan], np.full(n, value)))


@pytest.mark.parametrize(
    ("pred", "target", "options"),
    [
        ([0, 1], [0, 1], {}),
        ([0, 1, 2], [0, 1, 2], {}),
        (np.eye(3), [0, 1, 2], {}),
        ([[1, 0], [0, 1]], [[1, 0], [0, 1]], {"multilabel": True}),
    ],
)
def test_f1_of_nothing_that_counts_is_nan_as_the_accuracy_is(pred, target, options):
    weight = np.zeros(len(target))
    assert np.isnan(pk.f1_score(pred, target, weight=weight, **options))
    assert np.isnan(pk.accuracy(pred, target, weight=weight, **options))
