"""Pipelines of scikit-learn with pancake's estimators, as one file of ONNX."""

from __future__ import annotations

import numpy as np
import pytest

import pancake as pk
import pancake.sklearn

skl2onnx = pytest.importorskip("skl2onnx", reason="converts pipelines")
runtime = pytest.importorskip("onnxruntime", reason="runs files of ONNX")
preprocessing = pytest.importorskip("sklearn.preprocessing", reason="makes pipelines")
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # which need not converge here


def converted(pipeline, X, **options):
    return run(onnx_of(pipeline, X, **options), X)


def onnx_of(pipeline, X, **options):
    import pancake.export.sklearn  # noqa: F401  # which tells skl2onnx

    return skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32), target_opset=18, **options)


def run(proto, X):
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X.astype(np.float32)})


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("words", [False, True])
def test_a_classifier_in_a_pipeline(classes, words):
    from sklearn.pipeline import make_pipeline

    X, y = pk.datasets.blobs(150, rng=0)
    X, y = X * [100, 0.1] + [7, 3], np.asarray(y) % classes
    y = np.array(["ant", "bee", "cat"])[y] if words else y * 10
    estimator = pk.sklearn.MLPClassifier((8,), max_iter=60, random_state=0, learning_rate_init=0.02)
    pipeline = make_pipeline(preprocessing.StandardScaler(), estimator)
    pipeline.fit(X, y)
    label, probabilities = converted(pipeline, X, options={id(pipeline): {"zipmap": False}})
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-5)
    assert (label == pipeline.predict(X)).mean() > 0.99


def recurrent(n_in, n_out, rng):
    cell = pk.GRUCell(1, 4, rng=rng)
    return pk.Sequential([pk.Reshape((-1, n_in, 1)), pk.Unrolled(cell, return_sequences=False), pk.Linear(4, n_out, rng=rng)])


@pytest.mark.parametrize(
    "arguments",
    [{"loss": pk.BinaryCrossEntropy()}, {"loss": pk.BinaryCrossEntropy(from_logits=True)}, {"model": recurrent}],
    ids=["probabilities", "logits", "recurrent"],
)
def test_other_losses_and_nets_of_three_classes(arguments):
    X, y = pk.datasets.blobs(150, rng=0)
    estimator = pk.sklearn.MLPClassifier((8,), max_iter=20, random_state=0, **arguments).fit(X, y)
    label, probabilities = converted(estimator, X, options={id(estimator): {"zipmap": False}})
    np.testing.assert_allclose(probabilities, estimator.predict_proba(X), atol=1e-5)
    assert (label == estimator.predict(X)).mean() > 0.99


@pytest.mark.parametrize("loss", ["squared_error", pk.GaussianNLL()], ids=str)
def test_a_regressor_in_a_pipeline(loss):
    from sklearn.pipeline import make_pipeline

    X = np.random.default_rng(0).normal(size=(100, 3))
    pipeline = make_pipeline(
        preprocessing.StandardScaler(), pk.sklearn.MLPRegressor(loss, hidden_layer_sizes=(8,), max_iter=300, random_state=0)
    )
    pipeline.fit(X, X[:, 0] * X[:, 1])
    (y,) = converted(pipeline, X)
    np.testing.assert_allclose(y.ravel(), pipeline.predict(X), atol=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", pk.GaussianNLL()], ids=str)
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_shape_of_what_a_regressor_predicts_is_declared(loss, outputs):
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = X[:, :outputs] ** 2
    estimator = pk.sklearn.MLPRegressor(loss, hidden_layer_sizes=(8,), max_iter=20, random_state=0)
    estimator.fit(X, y if outputs > 1 else y.ravel())
    proto = onnx_of(estimator, X)
    (output,) = proto.graph.output
    batch, columns = output.type.tensor_type.shape.dim
    assert (batch.dim_value, columns.dim_value) == (0, outputs)  # any number of rows
    (predicted,) = run(proto, X)
    np.testing.assert_allclose(predicted, estimator.predict(X).reshape(60, outputs), atol=1e-5)
