"""Sweeps, cross-validation and ensembles over joblib: in other processes the same numbers come out, bit for bit."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")

import joblib
from sklearn.datasets import load_wine
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pancake.sklearn import MLPClassifier, MLPRegressor

X, y = load_wine(return_X_y=True)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 5}
GRID = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__learning_rate_init": [1e-2, 3e-2]}


@pytest.fixture(autouse=True)
def _convergence_is_not_the_matter() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def grid(n_jobs: int | None) -> Any:
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    search = GridSearchCV(pipeline, GRID, cv=3, n_jobs=n_jobs).fit(X, y)
    scores = [search.cv_results_[f"split{i}_test_score"] for i in range(3)]
    return [*scores, *search.best_estimator_[-1].model_.state_dict().values()]


def scores(n_jobs: int | None) -> Any:
    return [
        cross_val_score(MLPClassifier(**SMALL, early_stopping=True), X, y, cv=3, scoring="neg_log_loss", n_jobs=n_jobs),
        cross_val_score(MLPRegressor(**SMALL), X, X[:, 0], cv=3, scoring="neg_mean_squared_error", n_jobs=n_jobs),
    ]


def ensembles(n_jobs: int | None) -> Any:
    nets = [(f"net{seed}", MLPClassifier(**{**SMALL, "random_state": seed})) for seed in range(3)]
    voting = VotingClassifier(nets, voting="soft", n_jobs=n_jobs).fit(X, y)
    bagging = BaggingClassifier(MLPClassifier(**SMALL), n_estimators=4, random_state=0, n_jobs=n_jobs).fit(X, y)
    # not the mean of the bag, which scikit-learn adds up in another order for each number of processes
    return [voting.predict_proba(X), *(net.predict_proba(X[:, features]) for net, features in bag(bagging))]


def bag(bagging: Any) -> Any:
    return zip(bagging.estimators_, bagging.estimators_features_, strict=True)


@contextlib.contextmanager
def dask_processes() -> Iterator[None]:
    dask = pytest.importorskip("dask", reason='sweeps on a cluster need Dask: pip install "dask[distributed]"')
    distributed = pytest.importorskip("distributed", reason='sweeps on a cluster need Dask: pip install "dask[distributed]"')
    with (
        warnings.catch_warnings(),
        dask.config.set({"distributed.worker.profile.enabled": False}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        warnings.simplefilter("ignore")  # of Dask's own
        yield


@contextlib.contextmanager
def loky_processes() -> Iterator[None]:
    with joblib.parallel_config(backend="loky"):
        yield


@pytest.mark.parametrize("backend", [loky_processes, pytest.param(dask_processes, marks=pytest.mark.slow)])
def test_other_processes_give_the_same_bit_for_bit(backend: Callable[[], Any]) -> None:
    with threadpool_limits(1):  # which is what these processes have
        expected = [task(None) for task in (grid, scores, ensembles)]
    with backend():
        here = set(joblib.Parallel(n_jobs=2)(joblib.delayed(os.getpid)() for _ in range(8)))
        found = [task(2) for task in (grid, scores, ensembles)]
    assert os.getpid() not in here
    for ours, theirs in zip(found, expected, strict=True):
        for array, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(array, other)
