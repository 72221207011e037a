"""One changed import: the same arguments, attributes, warnings and numbers as scikit-learn's own estimators."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
import re
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")

import sklearn.neural_network as theirs
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import scale

import pancake
import pancake.sklearn as ours

NEW = {"class_weight", "loss", "dropout", "model", "dtype", "callbacks"}
WINE = (lambda X, y: (scale(X), y))(*load_wine(return_X_y=True))
CANCER = (lambda X, y: (scale(X), y))(*load_breast_cancer(return_X_y=True))
DIABETES = load_diabetes(return_X_y=True)
LABELS = WINE[0], np.column_stack([WINE[0][:, 0] > 0, WINE[0][:, 1] > 0.5, WINE[1] == 1]).astype(int)
TWO = DIABETES[0], np.column_stack([DIABETES[1] / 50, DIABETES[0][:, 3] * 20])
newest = pytest.mark.skipif(
    "loss" not in inspect.signature(theirs.MLPRegressor).parameters,
    reason="weights and the Poisson loss came with scikit-learn 1.7",
)


def both(kind: str, data: Any, *, weight: Any = None, **arguments: Any) -> tuple[Any, Any]:
    """scikit-learn's estimator and pancake's, fitted with the same arguments."""
    arguments = {"random_state": 3, "hidden_layer_sizes": (20,), **arguments}
    pair = tuple(getattr(module, kind)(**arguments) for module in (theirs, ours))
    for estimator in pair:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", DeprecationWarning)  # of options that older versions of scikit-learn hand to SciPy
            estimator.fit(*data, **({} if weight is None else {"sample_weight": weight}))
    return pair


def check_same(a: Any, b: Any, X: Any, rtol: float = 1e-7) -> None:
    """Everything that can be asked of scikit-learn's estimator a is the same in b."""
    for name in (name for name in vars(a) if name.endswith("_") and not name.startswith("_")):
        expected, got = getattr(a, name), getattr(b, name)
        if name in ("coefs_", "intercepts_"):
            for one, other in zip(expected, got, strict=True):
                assert one.dtype == other.dtype
                assert_allclose(other, one, rtol=rtol, atol=rtol * np.abs(one).max(), err_msg=name)
        elif isinstance(expected, str) or expected is None:
            assert got == expected, name
        else:
            assert_allclose(got, expected, rtol=rtol, err_msg=name) if name != "classes_" else assert_array_equal(got, expected)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(a, method):
            with np.errstate(divide="ignore"):
                expected = getattr(a, method)(X)
            got = getattr(b, method)(X)
            assert got.dtype == expected.dtype
            if method == "predict_log_proba":  # of 1 - p next to 0 it has few digits
                expected, got = np.exp(expected), np.exp(got)
            if expected.dtype.kind == "f":
                assert_allclose(got, expected, rtol=1e-6, atol=1e-9)
            else:
                assert_array_equal(got, expected)


CLASSIFIERS: list[tuple[Any, dict[str, Any]]] = [
    (WINE, {"max_iter": 40}),
    (WINE, {"batch_size": 32, "max_iter": 60, "n_iter_no_change": 3, "learning_rate_init": 0.01}),
    (WINE, {"solver": "sgd", "batch_size": 32, "learning_rate_init": 0.05, "max_iter": 30}),
    (WINE, {"solver": "sgd", "batch_size": 32, "learning_rate_init": 0.3, "learning_rate": "adaptive", "max_iter": 150}),
    (
        WINE,
        {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False, "learning_rate_init": 0.9, "power_t": 0.3},
    ),
    (WINE, {"solver": "sgd", "momentum": 1.0, "learning_rate_init": 0.01, "max_iter": 20}),
    (WINE, {"solver": "lbfgs", "max_iter": 12}),
    (WINE, {"early_stopping": True, "batch_size": 16, "learning_rate_init": 0.01}),
    (WINE, {"activation": "tanh", "alpha": 3.0, "hidden_layer_sizes": (9, 7), "max_iter": 30}),
    (WINE, {"activation": "logistic", "hidden_layer_sizes": 11, "max_iter": 30}),
    (WINE, {"activation": "identity", "hidden_layer_sizes": (), "max_iter": 30, "shuffle": False, "batch_size": 50}),
    (
        WINE,
        {"activation": "identity", "hidden_layer_sizes": [5, 5], "max_iter": 10, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    (CANCER, {"max_iter": 20}),
    (CANCER, {"early_stopping": True, "validation_fraction": 0.2, "max_iter": 40, "learning_rate_init": 0.01}),
    (CANCER, {"solver": "lbfgs", "max_iter": 10}),
    (LABELS, {"max_iter": 20}),
    (LABELS, {"early_stopping": True, "max_iter": 20}),
    ((WINE[0], np.zeros(len(WINE[0]), int)), {"early_stopping": True, "max_iter": 3}),  # a single class is always right
]
REGRESSORS: list[tuple[Any, dict[str, Any]]] = [
    (DIABETES, {"max_iter": 20}),
    (DIABETES, {"solver": "lbfgs", "max_iter": 8}),
    (DIABETES, {"solver": "sgd", "learning_rate_init": 1e-4, "max_iter": 20}),
    (TWO, {"max_iter": 20}),
    (TWO, {"early_stopping": True, "learning_rate_init": 0.01, "max_iter": 40}),
]


@pytest.mark.parametrize(("data", "arguments"), CLASSIFIERS, ids=lambda part: str(part) if isinstance(part, dict) else "")
def test_a_classifier_has_the_numbers_of_scikit_learn(data: Any, arguments: dict[str, Any]) -> None:
    a, b = both("MLPClassifier", data, **arguments)
    check_same(a, b, data[0])
    assert b.score(*data) == a.score(*data)


@pytest.mark.parametrize(("data", "arguments"), REGRESSORS, ids=lambda part: str(part) if isinstance(part, dict) else "")
def test_a_regressor_has_the_numbers_of_scikit_learn(data: Any, arguments: dict[str, Any]) -> None:
    a, b = both("MLPRegressor", data, **arguments)
    check_same(a, b, data[0])
    assert_allclose(b.score(*data), a.score(*data), rtol=1e-7)


@newest
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_weights_count_as_in_scikit_learn(kind: str, solver: str) -> None:
    for data in [WINE, CANCER, LABELS] if kind == "MLPClassifier" else [DIABETES, TWO]:
        weight = 1.0 + np.arange(len(data[1])) % 3
        options = {"learning_rate_init": 1e-4, "batch_size": 60}
        check_same(*both(kind, data, weight=weight, solver=solver, max_iter=8, **options), data[0])


@newest
@pytest.mark.parametrize(
    "arguments", [{"max_iter": 20}, {"solver": "lbfgs", "max_iter": 8}, {"early_stopping": True, "max_iter": 9}]
)
def test_poisson(arguments: dict[str, Any]) -> None:
    data = DIABETES[0], np.round(DIABETES[1] / 60)
    a, b = both("MLPRegressor", data, loss="poisson", **arguments)
    check_same(a, b, data[0])
    assert b.out_activation_ == "exp"
    with pytest.raises(ValueError, match="expected y of at least 0 for loss='poisson', got -1"):
        ours.MLPRegressor("poisson").fit(data[0], data[1] - 1 - data[1].min())


def test_float32_stays_float32_with_numbers_alike() -> None:
    a, b = both("MLPClassifier", (WINE[0].astype(np.float32), WINE[1]), max_iter=10)
    check_same(a, b, WINE[0].astype(np.float32), rtol=1e-4)
    assert b.predict_proba(WINE[0].astype(np.float32)).dtype == np.float32


def test_partial_fit_and_warm_start_go_on_as_in_scikit_learn() -> None:
    X, y = WINE
    pair = [module.MLPClassifier((9,), random_state=0, batch_size=30) for module in (theirs, ours)]
    for estimator in pair:
        estimator.partial_fit(X[::2], y[::2], classes=[0, 1, 2])
        for _ in range(4):
            estimator.partial_fit(X[1::2], y[1::2])
    check_same(*pair, X)
    assert len(pair[1].loss_curve_) == 5
    pair = [module.MLPClassifier((9,), random_state=0, batch_size=30, warm_start=True, max_iter=4) for module in (theirs, ours)]
    for estimator in pair:
        for _ in range(3):
            with pytest.warns(ConvergenceWarning):
                estimator.fit(X, y)
    check_same(*pair, X)
    assert len(pair[1].loss_curve_) == 12
    assert pair[1].n_iter_ == 4
    before = pair[1].coefs_[0].copy()
    with pytest.warns(ConvergenceWarning):
        pair[1].set_params(warm_start=False).fit(X, y)
    assert len(pair[1].loss_curve_) == 4
    assert not np.allclose(pair[1].coefs_[0], before)


def test_partial_fit_of_a_regressor_and_of_labels() -> None:
    for kind, data, options in (("MLPRegressor", TWO, {}), ("MLPClassifier", LABELS, {"classes": [0, 1, 2]})):
        pair = [getattr(module, kind)(hidden_layer_sizes=(9,), random_state=0) for module in (theirs, ours)]
        for estimator in pair:
            estimator.partial_fit(*data, **options)
            estimator.partial_fit(*data)
        check_same(*pair, data[0])


@pytest.mark.parametrize("names", [["b", "a"], ["low", "middle", "high"], [True, False], [3.0, 1.0, 2.0]])
def test_partial_fit_with_some_of_the_classes(names: list[Any]) -> None:
    X, y = WINE[0], np.array(names)[WINE[1] % len(names)]
    pair = [module.MLPClassifier((5,), random_state=0) for module in (theirs, ours)]
    for estimator in pair:
        for rows in (y == names[0], y != names[0], slice(None)):
            estimator.partial_fit(X[rows], y[rows], classes=np.unique(names))
    check_same(*pair, X)
    with pytest.raises(ValueError, match="classes not in"):
        pair[1].partial_fit(X[:2], np.array(["?", "!"]) if isinstance(names[0], str) else np.array([7, 8]))


def test_a_loss_that_changes_between_two_calls_of_partial_fit() -> None:
    X, y = DIABETES[0], np.round(DIABETES[1] / 60)
    reg = ours.MLPRegressor(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, y)
    reg.set_params(loss="poisson").partial_fit(X, y)
    same = ours.MLPRegressor(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, y)
    same.partial_fit(X, y)
    assert reg.loss_curve_[0] == same.loss_curve_[0]
    assert reg.loss_curve_[1] != same.loss_curve_[1]
    assert (reg.predict(X) > 0).all()


# --- what it looks like ---


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_the_arguments_are_those_of_scikit_learn_in_its_order(kind: str) -> None:
    a, b = (inspect.signature(getattr(module, kind)).parameters for module in (theirs, ours))
    if "loss" not in a and kind == "MLPRegressor":  # before scikit-learn 1.7
        b = {name: parameter for name, parameter in b.items() if name != "loss"}
    shared = {name: parameter for name, parameter in b.items() if name in a}
    assert list(shared) == list(a)
    assert [(p.default, p.kind) for p in shared.values()] == [(p.default, p.kind) for p in a.values()]
    assert set(b) - set(a) <= NEW
    assert list(b)[: len(a)] == list(a), "what is new comes last"
    assert repr(getattr(ours, kind)(alpha=1, max_iter=5)) == f"{kind}(alpha=1, max_iter=5)"


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_every_argument_and_attribute_is_documented(kind: str) -> None:
    cls = getattr(ours, kind)
    text = inspect.getdoc(cls)
    documented = {name.strip() for line in re.findall(r"^(\w[\w, ]*) : ", text, flags=re.MULTILINE) for name in line.split(",")}
    assert set(inspect.signature(cls).parameters) <= documented
    theirs_too = set(re.findall(r"^(\w+_) : ", inspect.getdoc(getattr(theirs, kind)), flags=re.MULTILINE))
    assert theirs_too <= documented


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_the_examples_in_the_docstrings_print_what_they_show(kind: str) -> None:
    examples = doctest.DocTestFinder().find(getattr(ours, kind), kind, globs={})
    results = [doctest.DocTestRunner().run(example, clear_globs=False) for example in examples]
    assert sum(result.attempted for result in results) > 5
    assert not sum(result.failed for result in results)


def test_what_kind_of_estimators_they_are() -> None:
    assert is_classifier(ours.MLPClassifier())
    assert is_regressor(ours.MLPRegressor())
    tags = ours.MLPClassifier().__sklearn_tags__()
    assert tags.input_tags.sparse
    assert tags.classifier_tags.multi_label
    for kind in ("MLPClassifier", "MLPRegressor"):
        estimator = getattr(ours, kind)()
        for name in ("coefs_", "intercepts_", "loss_", "model_"):
            assert not hasattr(estimator, name)
        for name in ("coefs_", "intercepts_"):
            with pytest.raises(NotFittedError, match=f"'{kind}' object has no attribute '{name}' yet; call fit first"):
                getattr(estimator, name)
        with pytest.raises(NotFittedError):
            estimator.predict([["not even numbers"]])
        assert not hasattr(getattr(ours, kind)(solver="lbfgs"), "partial_fit")
        with pytest.raises(AttributeError, match="has no attribute 'partial_fit'"):
            getattr(ours, kind)(solver="lbfgs").partial_fit  # noqa: B018


def test_it_is_there_without_an_import_of_its_own() -> None:
    assert pancake.sklearn.MLPClassifier is ours.MLPClassifier
    assert "sklearn" not in dir(pancake)  # which `from pancake import *` loads


def test_without_scikit_learn_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['sklearn'] = None; import pancake.sklearn"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ImportError: pancake.sklearn needs scikit-learn: pip install scikit-learn"


# --- what it says ---


def test_it_says_what_scikit_learn_says(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = WINE
    runs: list[dict[str, Any]] = [
        {"max_iter": 3},
        {"tol": 1.0, "n_iter_no_change": 2},
        {"early_stopping": True, "n_iter_no_change": 1},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "learning_rate_init": 1e-5},
    ]
    for arguments in runs:
        printed = []
        for module in (theirs, ours):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                module.MLPClassifier((5,), random_state=0, verbose=True, **arguments).fit(X, y)
            printed.append((capsys.readouterr().out, [(w.category, str(w.message)) for w in caught]))
        assert printed[0] == printed[1]
        assert printed[1][0]


@pytest.mark.parametrize(
    ("arguments", "fit", "error"),
    [
        ({"hidden_layer_sizes": (5, 0)}, {}, ValueError),
        ({"hidden_layer_sizes": -1}, {}, ValueError),
        ({"activation": "softplus"}, {}, ValueError),
        ({"solver": "newton"}, {}, ValueError),
        ({"alpha": -1}, {}, ValueError),
        ({"learning_rate": "fast"}, {}, ValueError),
        ({"momentum": 2}, {}, ValueError),
        pytest.param({"early_stopping": True, "validation_fraction": 0.001}, {}, ValueError, marks=newest),
        pytest.param({}, {"sample_weight": [1.0]}, ValueError, marks=newest),
    ],
)
def test_bad_arguments_are_refused_as_there(arguments: dict[str, Any], fit: dict[str, Any], error: type[Exception]) -> None:
    for module in (theirs, ours):
        with pytest.raises(error):
            module.MLPClassifier(random_state=0, **arguments).fit(*WINE, **fit)


def test_batches_larger_than_the_data_are_clipped_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"):
        ours.MLPClassifier((3,), batch_size=1000, max_iter=50, tol=1, random_state=0).fit(*WINE)


def test_early_stopping_in_partial_fit_and_other_classes_are_refused() -> None:
    X, y = WINE
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        ours.MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        ours.MLPClassifier().partial_fit(X, y)
    clf = ours.MLPClassifier((3,), max_iter=9, tol=1, n_iter_no_change=1, warm_start=True, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        clf.fit(X[y < 2], y[y < 2])
    with pytest.raises(ValueError, match=r"layers of \[13, 3, 3\] units, and cannot go on as \[13, 4, 3\]"):
        clf.set_params(hidden_layer_sizes=(4,)).fit(X, y)
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        ours.MLPClassifier((3,), random_state=0).partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y + 1)


def test_a_training_that_goes_astray_ends_with_an_error() -> None:
    X, y = DIABETES
    with pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights.*epoch 1"):
        ours.MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0, batch_size=20).fit(X * 1e4, y * 1e4)
    with pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights.*The loss is (nan|inf)"):
        ours.MLPRegressor(solver="lbfgs", random_state=0).fit(X * 1e200, y)


def test_ctrl_c_ends_a_training_with_what_it_has_learnt() -> None:
    def press(state: Any) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    clf = ours.MLPClassifier((4,), random_state=0, callbacks=press)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf.fit(*WINE)
    assert clf.n_iter_ == 3
    assert clf.predict(WINE[0]).shape == (178,)


def test_numpys_global_generator_is_left_alone_also_without_a_random_state() -> None:
    """Which the fixture of all tests watches: here scikit-learn's None differs."""
    a, b = (ours.MLPClassifier((3,), max_iter=30, tol=1, n_iter_no_change=1).fit(*WINE) for _ in range(2))
    assert not np.array_equal(a.coefs_[0], b.coefs_[0])
    state = np.random.RandomState(0)
    a, b = (ours.MLPClassifier((3,), max_iter=30, tol=1, n_iter_no_change=1, random_state=state).fit(*WINE) for _ in range(2))
    assert not np.array_equal(a.coefs_[0], b.coefs_[0])


def test_weights_can_be_put_in_as_into_scikit_learns() -> None:
    a, b = both("MLPClassifier", WINE, max_iter=2)
    _, other = both("MLPClassifier", WINE, max_iter=2, random_state=5)
    other.coefs_, other.intercepts_ = a.coefs_, a.intercepts_
    assert_allclose(other.predict_proba(WINE[0]), a.predict_proba(WINE[0]), rtol=1e-10)
    b.coefs_[0][...] = 0
    assert np.ptp(b.predict_proba(WINE[0]), axis=0).max() == 0
    with pytest.raises(ValueError, match="shape"):
        b.coefs_ = [np.zeros((2, 2)), np.zeros((2, 2))]


def test_an_array_put_into_the_list_of_weights_takes_effect_as_in_scikit_learn() -> None:
    pair = both("MLPClassifier", WINE, hidden_layer_sizes=(6, 6), max_iter=2)
    for estimator in pair:
        estimator.coefs_[0] = np.linspace(-1, 1, 13 * 6).reshape(13, 6)
        estimator.coefs_[1] *= 0.5
        estimator.coefs_[-1] = estimator.coefs_[-1] + 0.5
        estimator.coefs_[1:2] = [np.eye(6) - estimator.coefs_[1]]
        estimator.intercepts_[0] = np.arange(6.0)
        estimator.intercepts_[:2] = estimator.intercepts_[1::-1]
    a, b = pair
    assert_allclose(b.predict_proba(WINE[0]), a.predict_proba(WINE[0]), rtol=1e-9)
    weight = b.model_[0].weight
    assert np.shares_memory(weight, b.coefs_[0])
    assert_array_equal(b.intercepts_[1], np.arange(6.0))
    assert isinstance(b.coefs_, list)
    assert repr(b.intercepts_) == repr([layer.bias for layer in b.model_[::2]])
    assert b.intercepts_[:0] == []
    for copied in (copy.copy, copy.deepcopy, lambda arrays: pickle.loads(pickle.dumps(arrays)), lambda arrays: arrays[:]):
        assert type(copied(b.coefs_)) is list
    saved = copy.deepcopy(b.coefs_)
    b.coefs_[:] = [0, 0, 0]
    b.coefs_ = saved
    assert_allclose(b.predict_proba(WINE[0]), a.predict_proba(WINE[0]), rtol=1e-9)
    assert not hasattr(clone(b), "coefs_")
    again = pickle.loads(pickle.dumps(b))
    again.coefs_[0] = np.zeros((13, 6))
    assert_array_equal(b.model_[0].weight, weight)
    assert weight.any()


@pytest.mark.parametrize(
    ("name", "index", "new", "error", "message"),
    [
        (
            "coefs_",
            0,
            np.zeros((13, 5)),
            ValueError,
            r"Linear\(13, 6.*\): expected coefs_\[0\] of shape \(13, 6\), got \(13, 5\)$",
        ),
        (
            "coefs_",
            0,
            np.zeros((6, 13)),
            ValueError,
            r"of shape \(13, 6\), got \(6, 13\); a layer's weight is \(n_out, n_in\), pass",
        ),
        ("coefs_", slice(None), [np.zeros((13, 6)), np.zeros((6, 3)), 0], ValueError, "coefs_: expected 2 arrays, .*, got 3"),
        ("coefs_", slice(None), [np.ones((13, 6)), np.zeros((6, 4))], ValueError, r"expected coefs_\[1\] of shape \(6, 3\), got"),
        ("intercepts_", 1, np.zeros(6), ValueError, r"expected intercepts_\[1\] of shape \(3,\), got \(6,\)"),
        ("intercepts_", 1, ["a", "b", "c"], TypeError, r"expected intercepts_\[1\] to be real numbers"),
        ("intercepts_", 2, np.zeros(3), IndexError, "out of range"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_and_none_is_set(
    name: str, index: Any, new: Any, error: type[Exception], message: str
) -> None:
    _, clf = both("MLPClassifier", WINE, hidden_layer_sizes=(6,), max_iter=2)
    before = copy.deepcopy(clf.coefs_ + clf.intercepts_)
    with pytest.raises(error, match=message):
        getattr(clf, name)[index] = new
    for now, then in zip(clf.coefs_ + clf.intercepts_, before, strict=True):
        assert_array_equal(now, then)


def test_layers_without_a_bias_have_none_in_the_list() -> None:
    def stack(n_in: int, n_out: int, rng: np.random.Generator) -> pancake.Function:
        return pancake.Sequential([pancake.Linear(n_in, 4, bias=False, rng=rng), pancake.Linear(4, n_out, rng=rng)])

    clf = ours.MLPClassifier(model=stack, max_iter=30, tol=10, n_iter_no_change=1).fit(*WINE)
    clf.intercepts_ = [None, np.ones(3)]
    assert clf.intercepts_[0] is None
    assert_array_equal(clf.model_[1].bias, 1)
    with pytest.raises(ValueError, match="has no bias to assign to"):
        clf.intercepts_[0] = np.ones(4)
