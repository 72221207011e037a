"""All that scikit-learn builds on estimators, built on pancake's."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")

import joblib
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import StackingClassifier, VotingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, learning_curve
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pancake as pk
from pancake.sklearn import MLPClassifier, MLPRegressor

X, y = load_wine(return_X_y=True)
XD, YD = load_diabetes(return_X_y=True)
Z = StandardScaler().fit_transform(X)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 30, "learning_rate_init": 0.03}


@pytest.fixture(autouse=True)
def _convergence_is_not_the_matter() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def test_pipeline_and_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    assert cross_val_score(pipeline, X, y).mean() > 0.93
    assert cross_val_predict(pipeline, X, y, method="predict_proba").shape == (178, 3)
    assert learning_curve(pipeline, X, y, train_sizes=[0.5], shuffle=True, random_state=0)[1].shape == (1, 5)


@pytest.mark.slow
def test_grid_search_in_several_processes() -> None:
    grid = {
        "mlpclassifier__alpha": [1e-4, 1.0],
        "mlpclassifier__activation": ["tanh", pk.GELU],
        "mlpclassifier__class_weight": [None, "balanced"],
    }
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    one, two = (GridSearchCV(pipeline, grid, cv=3, n_jobs=n).fit(X, y) for n in (1, 2))
    assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert two.best_score_ > 0.93
    assert two.predict(X).shape == y.shape


def test_threads() -> None:
    with joblib.parallel_backend("threading", n_jobs=2):
        scores = cross_val_score(MLPClassifier(**SMALL), Z, y, n_jobs=2)
    assert_array_equal(scores, cross_val_score(MLPClassifier(**SMALL), Z, y))


@pytest.mark.parametrize("solver", ["adam", "lbfgs", pk.RMSprop])
def test_pickles_and_copies_predict_and_go_on_alike(solver: Any, tmp_path: Path) -> None:
    clf = MLPClassifier(solver=solver, dropout=0.1, loss=pk.CrossEntropy(label_smoothing=0.1), **SMALL).fit(Z, y)
    joblib.dump(clf, tmp_path / "clf.joblib")
    for twin in (pickle.loads(pickle.dumps(clf)), joblib.load(tmp_path / "clf.joblib")):
        assert_array_equal(twin.predict_proba(Z), clf.predict_proba(Z))
        if solver != "lbfgs":
            a, b = (pickle.loads(pickle.dumps(each)).partial_fit(Z, y) for each in (clf, twin))
            assert_array_equal(a.coefs_[0], b.coefs_[0])
            assert not np.array_equal(a.coefs_[0], clf.coefs_[0])


def test_clones_have_the_arguments_and_nothing_learnt() -> None:
    loss = pk.CrossEntropy(label_smoothing=0.1)
    clf = MLPClassifier(loss=loss, solver=pk.AdamW, activation=pk.Tanh, callbacks=[print], dtype=np.float32, **SMALL)
    twin = clone(clf)
    assert repr(twin) == repr(clf)
    assert twin.get_params()["solver"] is pk.AdamW
    assert twin.loss is not loss
    assert not hasattr(clone(MLPClassifier(**SMALL).fit(Z, y)), "model_")


def test_set_output_and_feature_names() -> None:
    pandas = pytest.importorskip("pandas", reason="data frames need pandas")
    frame = pandas.DataFrame(X, columns=load_wine().feature_names)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).set_output(transform="pandas").fit(frame, y)
    assert list(pipeline[-1].feature_names_in_) == list(frame.columns)
    assert pipeline.score(frame, y) > 0.95
    clf = MLPClassifier(**SMALL).fit(frame, y)
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame[frame.columns[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        clf.predict(X)


def test_metadata_is_routed() -> None:
    weight = np.where(y == 1, 5.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        clf = MLPClassifier(**SMALL).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, clf).fit(X, y, sample_weight=weight)
        search = GridSearchCV(clf, {"alpha": [0.1]}, cv=2).fit(Z, y, sample_weight=weight)
    direct = MLPClassifier(**SMALL).fit(Z, y, weight)
    assert_allclose(pipeline.predict_proba(X), direct.predict_proba(Z), rtol=1e-9)
    assert_allclose(search.predict_proba(Z), MLPClassifier(alpha=0.1, **SMALL).fit(Z, y, weight).predict_proba(Z), rtol=1e-9)


@pytest.mark.parametrize(
    "form", [scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array]
)
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}, {"shuffle": False, "batch_size": 50}])
def test_sparse_is_equal_to_dense(form: Any, options: dict[str, Any]) -> None:
    dense = np.where(np.abs(Z) > 0.7, Z, 0)
    a, b = (MLPClassifier(**SMALL, **options).fit(data, y) for data in (dense, form(dense)))
    assert_array_equal(a.coefs_[0], b.coefs_[0])
    assert a.loss_ == b.loss_
    assert_array_equal(a.predict_proba(dense), b.predict_proba(form(dense)))
    c, d = (MLPRegressor(**SMALL, **options).fit(data, Z[:, 0]) for data in (dense, form(dense)))
    assert_array_equal(c.predict(dense), d.predict(form(dense)))


def test_wide_sparse_rows_are_never_dense_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = scipy.sparse.random(300, 50_000, density=1e-3, format="csr", random_state=0)
    largest = 0
    whole = scipy.sparse.csr_matrix.toarray

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal largest
        largest = max(largest, self.shape[0] if self.shape[1] == 50_000 else 0)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(scipy.sparse.csr_matrix, "toarray", watched)
    clf = MLPClassifier((2,), batch_size=20, max_iter=1, random_state=0, dtype=np.float32)
    clf.fit(wide, np.arange(300) % 2).predict(wide)
    assert 0 < largest < 100


def test_several_labels_and_several_outputs() -> None:
    labels = np.column_stack([y == 0, y == 1, X[:, 0] > 13]).astype(int)
    clf = MLPClassifier(**SMALL).fit(Z, labels)
    assert clf.predict(Z).shape == clf.predict_proba(Z).shape == labels.shape
    assert clf.score(Z, labels) > 0.9
    sparse = MLPClassifier(**SMALL).fit(Z, scipy.sparse.csr_matrix(labels))
    assert_array_equal(sparse.predict(Z).toarray(), clf.predict(Z))
    reg = MLPRegressor(**{**SMALL, "max_iter": 300}).fit(Z, Z[:, :2] * 3)
    assert reg.predict(Z).shape == (178, 2)
    assert reg.score(Z, Z[:, :2] * 3) > 0.9
    assert MultiOutputRegressor(MLPRegressor(**SMALL)).fit(Z, Z[:, :2]).predict(Z).shape == (178, 2)


@pytest.mark.parametrize("names", [["a", "b"], [True, False], [-1, 1], [7, 3]])
def test_classes_of_any_name(names: list[Any]) -> None:
    target = np.array(names)[(y > 0).astype(int)]
    clf = MLPClassifier(**SMALL).fit(Z, target)
    assert_array_equal(clf.classes_, np.unique(target))
    assert set(clf.predict(Z).tolist()) == set(names)
    assert clf.score(Z, target) > 0.95
    assert_array_equal(clf.predict(Z), clf.classes_[clf.predict_proba(Z).argmax(axis=1)])


def test_calibration_and_stacking_and_voting() -> None:
    calibrated = CalibratedClassifierCV(MLPClassifier(**SMALL), cv=3).fit(Z, y)
    assert_allclose(calibrated.predict_proba(Z).sum(axis=1), 1)
    stack = StackingClassifier([("net", MLPClassifier(**SMALL)), ("bayes", GaussianNB())], GaussianNB(), cv=3).fit(Z, y)
    assert stack.score(Z, y) > 0.95
    vote = VotingRegressor([("net", MLPRegressor(**SMALL)), ("ridge", Ridge())]).fit(XD, YD)
    assert vote.predict(XD).shape == YD.shape


def test_inspection() -> None:
    clf = MLPClassifier(**SMALL).fit(Z, y)
    importance = permutation_importance(clf, Z, y, n_repeats=2, random_state=0)
    assert importance.importances_mean.shape == (13,)
    assert importance.importances_mean.max() > 0
    assert partial_dependence(clf, Z, [0])["average"].shape[0] == 3
    with pytest.raises(ValueError, match="importance"):
        SelectFromModel(clf, prefit=True).transform(Z)


def test_scaled_targets() -> None:
    reg = TransformedTargetRegressor(MLPRegressor(**{**SMALL, "max_iter": 200}), transformer=StandardScaler()).fit(XD, YD)
    assert reg.score(XD, YD) > 0.4


def mixed(pandas: Any, n: int = 120) -> Any:
    """A table of numbers and names, some of them missing, and what is to be told from it."""
    rng = np.random.default_rng(0)
    age = np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 10, n))
    town = np.where(rng.random(n) < 0.1, None, rng.choice(["Oslo", "Rome", "Kyiv"], n))
    fare = rng.exponential(3, n)
    frame = pandas.DataFrame({"age": age, "fare": fare, "town": town})
    return frame, np.where((fare > 2) | (town == "Rome"), "yes", "no")


def test_a_table_of_mixed_columns_with_missing_values() -> None:
    pandas = pytest.importorskip("pandas", reason="data frames need pandas")
    frame, target = mixed(pandas)
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "fare"]),
            ("names", OneHotEncoder(handle_unknown="ignore"), ["town"]),
        ],
        sparse_threshold=1.0,
    )
    pipeline = make_pipeline(columns, MLPClassifier(**{**SMALL, "max_iter": 200}))
    assert pipeline.fit(frame, target).score(frame, target) > 0.95
    as_series = pandas.Series(target, dtype="category")
    assert_array_equal(pipeline.fit(frame, as_series).predict(frame), pipeline.fit(frame, target).predict(frame))


def test_columns_of_numbers_and_names_without_pandas() -> None:
    table = np.empty((178, 3), object)
    table[:, 0], table[:, 1], table[:, 2] = Z[:, 0], Z[:, 6], np.array(["low", "high"])[(Z[:, 9] > 0).astype(int)]
    columns = ColumnTransformer([("numbers", StandardScaler(), [0, 1]), ("names", OneHotEncoder(), [2])])
    assert make_pipeline(columns, MLPClassifier(**SMALL)).fit(table, y).score(table, y) > 0.9


@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}, {"batch_size": 20, "shuffle": False}])
def test_read_only_memory_maps(options: dict[str, Any], tmp_path: Path) -> None:
    joblib.dump((Z, y, Z[:, :2], np.ones(len(y))), tmp_path / "data.joblib")
    data, classes, target, weight = joblib.load(tmp_path / "data.joblib", mmap_mode="r")
    assert not data.flags.writeable
    clf = MLPClassifier(**SMALL, **options).fit(data, classes, weight)
    assert_array_equal(clf.predict(data), MLPClassifier(**SMALL, **options).fit(Z, y, np.ones(len(y))).predict(Z))
    MLPRegressor(**SMALL, **options).fit(data, target, weight).predict(data)
