"""scikit-learn's own battery of checks for estimators, whole, with its array API switched on."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pancake

pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")

import sklearn.neural_network as theirs

# SciPy reads the variable when it is imported, so the checks have a process of their own.
PROGRAM = """
import json, sys, warnings
import sklearn.utils._test_common.instance_generator as instances
from sklearn.utils.estimator_checks import check_estimator
warnings.simplefilter("ignore")
# scikit-learn changes the arguments of its own estimators for some checks (another solver for the one of sample weights):
# here both are asked with those that were given
instances.PER_ESTIMATOR_CHECK_PARAMS.clear()
module, kind, arguments = json.loads(sys.argv[1])
estimator = getattr(__import__(module, fromlist=[kind]), kind)(**arguments)
results = check_estimator(estimator, on_skip=None, on_fail=None)
said = lambda error: f"{error} {said(error.__context__)}" if error else ""  # a check may say it in words of its own
print(json.dumps([[r["check_name"], r["status"], said(r["exception"])] for r in results]))
"""
KINDS = ["MLPClassifier", "MLPRegressor"]
OTHERS: list[dict[str, Any]] = [
    {"solver": "sgd"},
    {"solver": "lbfgs"},
    {"batch_size": 4},
    {"early_stopping": True, "batch_size": 8},
    {"activation": "tanh", "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05},
]
NEEDED = ("pandas", "does not have a decision_function")  # why a check may be left out
# scikit-learn's own refuse it since 1.7: an older one trains and validates by a single row, and passes the check
OLD = "loss" not in inspect.signature(theirs.MLPRegressor).parameters
NEWER = ["The validation set is too small"] if OLD else []


def run(module: str, kind: str, arguments: dict[str, Any]) -> list[list[str]]:
    """For each check its name, its outcome and what it said."""
    paths = os.pathsep.join([str(Path(pancake.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    # products this small only get slower with more threads, most of all beside other tests
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **threads, "SCIPY_ARRAY_API": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-c", PROGRAM, json.dumps([module, kind, arguments])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_of_scikit_learn_passes_with_the_defaults(kind: str) -> None:
    results = run("pancake.sklearn", kind, {})
    assert len(results) > 40
    assert not [result for result in results if result[1] not in ("passed", "skipped")]
    assert not [said for _, status, said in results if status == "skipped" and not any(word in said for word in NEEDED)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arguments", OTHERS, ids=str)
def test_with_other_arguments_nothing_fails_that_does_not_fail_there(kind: str, arguments: dict[str, Any]) -> None:
    ours, others = (run(module, kind, arguments) for module in ("pancake.sklearn", "sklearn.neural_network"))
    asked = {name for name, _, _ in others}  # theirs are not asked about class weights, which they have not
    newer = {name for name, _, said in ours if any(words in said for words in NEWER)}
    failed = {name for name, status, _ in ours if status == "failed"} & asked - newer
    failed -= {name for name, status, _ in others if status == "failed"}
    assert not failed
