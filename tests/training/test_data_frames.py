"""Data frames of pandas, its nullable dtypes included: numbers work, what is missing is named, and names are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk

pd = pytest.importorskip("pandas", reason="data frames need pandas")

RNG = np.random.default_rng(0)
PLAIN = pd.DataFrame({"a": RNG.normal(size=40), "b": RNG.integers(0, 5, 40), "c": RNG.random(40) > 0.5})
NULLABLE = PLAIN.astype({"a": "Float64", "b": "Int64", "c": "boolean"})
X = PLAIN.to_numpy(float)
Y = (X[:, 0] > 0).astype(int)


def trained(x: Any, y: Any = Y, **options: Any) -> pk.Sequential:
    model = pk.mlp([x.shape[1], 4, 2], rng=0)
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model), x, y, epochs=2, rng=0, progress=False, **options)
    return model


@pytest.mark.parametrize("frame", [PLAIN, NULLABLE, NULLABLE.astype("Float64"), PLAIN.astype(np.float32)], ids=range(4))
def test_columns_of_numbers_are_the_array_of_them(frame: Any) -> None:
    model, expected = trained(frame), trained(X)
    assert_allclose(pk.predict(model, frame), pk.predict(expected, X), rtol=1e-5)
    assert_allclose(pk.predict(expected, frame), pk.predict(expected, X), rtol=1e-5)
    loss = pk.CrossEntropy()
    assert_allclose(pk.evaluate(expected, loss, frame, Y)["loss"], pk.evaluate(expected, loss, X, Y)["loss"], rtol=1e-5)
    assert_allclose(pk.Standardize.of(frame).mean, X.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "int8"])
def test_targets_and_weights_as_columns(dtype: str) -> None:
    labels = pd.Series(Y).astype(dtype)
    model = trained(X, labels, sample_weight=pd.Series(np.ones(40)).astype("Float64"))
    assert_array_equal(pk.predict(model, X), pk.predict(trained(X, Y, sample_weight=np.ones(40)), X))
    assert pk.accuracy(pk.predict(model, X), labels) == pk.accuracy(pk.predict(model, X), Y)


@pytest.mark.parametrize("column", ["a", "b", "c"])
def test_what_is_missing_is_named(column: str) -> None:
    frame = NULLABLE.copy()
    frame.loc[3, column] = pd.NA
    place = list(frame).index(column)
    with pytest.raises(ValueError, match=f"expected finite numbers in x, got nan in row 3, column {place}"):
        trained(frame)
    assert np.isnan(pk.predict(trained(X), frame)[3]).all()
    assert np.isfinite(np.delete(pk.predict(trained(X), frame), 3, axis=0)).all()
    with pytest.raises(ValueError, match=f"nan or infinity in column {place}"):
        pk.Standardize.of(frame)
    with pytest.raises(ValueError, match="expected finite numbers in y, got nan in row 3"):
        trained(X, pd.Series(Y).astype("Int64").mask(np.arange(40) == 3))
    with pytest.raises(ValueError, match="expected finite numbers in y, got nan in row 3"):
        trained(X, pd.Series(Y > 0).astype("boolean").mask(np.arange(40) == 3))


@pytest.mark.parametrize("names", [["x", "y"], pd.Categorical(["x", "y"])], ids=["text", "category"])
def test_names_are_refused_with_the_way_out(names: Any) -> None:
    frame = PLAIN.assign(d=pd.Series(names).repeat(20).to_numpy())
    with pytest.raises(TypeError, match=r"expected x to be an array of real numbers, got .* there is text in 'd': .*get_dummies"):
        trained(frame)
    with pytest.raises(TypeError, match=r"^predict: .* real numbers, got .* there is text in 'd'"):
        pk.predict(pk.mlp([4, 2], rng=0), frame)
    with pytest.raises(TypeError, match="names become numbers by"):
        trained(X, frame["d"])


def test_text_that_looks_like_numbers_stays_text() -> None:
    with pytest.raises(TypeError, match="expected x to be an array of real numbers"):
        trained(pd.DataFrame({"a": ["1", "2"] * 20, "b": ["3", "4"] * 20}))


def test_the_estimators_take_them_too() -> None:
    pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")
    from pancake.sklearn import MLPClassifier, MLPRegressor

    options = {"hidden_layer_sizes": (4,), "random_state": 0, "max_iter": 60, "tol": 1, "n_iter_no_change": 1}
    for kind, target in ((MLPClassifier, Y), (MLPRegressor, X[:, 0])):
        expected = kind(**options).fit(X, target)
        for frame in (PLAIN, NULLABLE):
            model = kind(**options).fit(frame, pd.Series(target).convert_dtypes())
            assert_array_equal(model.predict(frame), expected.predict(X))
            assert list(model.feature_names_in_) == ["a", "b", "c"]
        missing = NULLABLE.copy()
        missing.loc[3, "b"] = pd.NA
        with pytest.raises(ValueError, match="Input X contains NaN"):
            model.predict(missing)


@pytest.mark.parametrize(
    "use",
    [
        lambda frame: pk.predict(pk.Linear(2, 1, rng=0), frame),
        lambda frame: pk.Linear(2, 1, rng=0)(frame),
        lambda frame: pk.Standardize.of(frame),
        lambda frame: trained(frame, Y[:3]),
    ],
)
def test_text_in_a_column_is_refused_by_the_name_of_the_column(use: Any) -> None:
    with pytest.raises(TypeError, match=r"text in 'city'.*get_dummies") as refused:
        use(pd.DataFrame({"age": [1.0, 2.0, 3.0], "city": ["Basel", "Rome", "Oslo"]}))
    assert "Basel" not in str(refused.value)


def test_a_function_of_the_users_may_be_given_text() -> None:
    class Lengths(pk.Function):
        def compute_forward(self, x: Any) -> Any:
            return np.array([[float(len(word))] for word in x.ravel()])

    np.testing.assert_array_equal(pk.predict(Lengths(), np.array(["a", "abc"])), [[1], [3]])
