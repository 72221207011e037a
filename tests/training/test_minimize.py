"""Full-batch methods: they find the minimum, leave the weights that they say, and refuse what they cannot take."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk
from pancake.testing import numerical_gradients
from pancake.training.full_batch import FullBatch
from pancake.training.levenberg_marquardt import normal_equations

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (40, 2))
Y = np.sin(2 * X[:, :1]) + X[:, 1:] ** 2
MARQUARDT = {"method": "Levenberg-Marquardt"}


@pytest.fixture(params=["L-BFGS", "Levenberg-Marquardt"])
def method(request: pytest.FixtureRequest) -> Any:
    if request.param == "L-BFGS":
        pytest.importorskip("scipy", reason="SciPy, which L-BFGS is from, is not installed")
    return request.param


def net(dtype: Any = np.float64) -> pk.Sequential:
    return pk.mlp([2, 8, 1], pk.Tanh, rng=0, dtype=dtype)


def test_far_below_what_adam_reaches(method: Any) -> None:
    model, other = net(), net()
    history = pk.minimize(model, pk.MeanSquaredError(), X, Y, method=method)
    pk.fit(other, pk.MeanSquaredError(), pk.Adam(other, lr=0.01), X, Y, batch_size=40, epochs=200, progress=False)
    assert history["loss"][-1] < 0.1 * other_loss(other)
    assert history["loss"][0] == pytest.approx(other_loss(net()), rel=1e-12)
    assert 1 < history.epochs <= 201
    assert history["loss"] == sorted(history["loss"], reverse=True)


def other_loss(model: pk.Function, loss: Any = None) -> float:
    return pk.evaluate(model, loss or pk.MeanSquaredError(), X, Y)["loss"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_iter", [1, 7])
def test_the_last_loss_is_that_of_the_weights(method: Any, max_iter: int, dtype: Any) -> None:
    model = net(dtype)
    history = pk.minimize(model, pk.MeanSquaredError(), X, Y, method=method, max_iter=max_iter)
    assert history["loss"][-1] == pytest.approx(other_loss(model), rel=1e-12 if dtype == np.float64 else 1e-6)
    assert history["loss"][-1] < history["loss"][0]
    assert {p.dtype for p in model.get_params_and_grads()[0]} == {np.dtype(dtype)}


def test_linear_least_squares(method: Any) -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 30, 3))
    weight = np.arange(30.0) % 3
    model = pk.Linear(3, 3, rng=0)
    history = pk.minimize(model, pk.MeanSquaredError(), x, y, method=method, weight=weight, tol=1e-10)
    roots = np.sqrt(weight)[:, np.newaxis]
    solution, *_ = np.linalg.lstsq(np.hstack([x, np.ones((30, 1))]) * roots, y * roots, rcond=None)
    assert_allclose(np.hstack([model.weight, model.bias[:, np.newaxis]]), solution.T, rtol=1e-6, atol=1e-7)
    assert history.epochs < 100  # the gradient is small enough then


def test_the_jacobian_is_that_of_the_residuals() -> None:
    model, loss = pk.Sequential([pk.Linear(2, 3, rng=0), pk.Tanh(), pk.Linear(3, 2, rng=1)]), pk.MeanSquaredError()
    x, y, weight = X[:5], np.hstack([Y, Y])[:5], np.array([1.0, 2.0, 0.0, 0.5, 1.0])
    curvature, slope = normal_equations(FullBatch(model, loss, (x, y, weight, None)))
    roots = np.sqrt(weight / 10)[:, np.newaxis]
    residuals = (model(x) - y) * roots
    rows = []
    for place in np.ndindex(5, 2):
        d = np.zeros((5, 2))
        d[place] = roots[place[0], 0]
        gradients = numerical_gradients(model, x, dObj_dOut=d, wrt="params")
        rows.append(np.concatenate([gradients[name].ravel() for name in model.state_dict()]))
    J = np.array(rows)
    of_differences = 1e-8 * np.abs(J).max() ** 2  # what the numbers in J are good to
    assert_allclose(curvature, J.T @ J, rtol=0, atol=of_differences)
    assert_allclose(slope, J.T @ residuals.ravel(), rtol=0, atol=of_differences)
    assert (residuals**2).sum() == pytest.approx(loss(model(x), y, weight))


def test_sums_sequences_and_several_inputs(method: Any) -> None:
    sequences = np.random.default_rng(0).normal(size=(6, 4, 2))
    model = pk.rnn([2, 3, 1], pk.RNNCell, rng=0)
    weight = (np.arange(4) < np.array([4, 2, 1, 3, 4, 4])[:, np.newaxis]).astype(float)
    history = pk.minimize(
        model, pk.MeanSquaredError(reduction="sum"), sequences, sequences[..., :1] ** 2, method=method, weight=weight, max_iter=20
    )
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    several = pk.Add([pk.Linear(2, 1, rng=0), pk.Linear(2, 1, rng=1)])
    history = pk.minimize(several, pk.MeanSquaredError(), (X, X**2), Y, method=method, max_iter=30)
    table = np.hstack([X, X**2, np.ones((40, 1))])
    least = np.square(table @ np.linalg.lstsq(table, Y, rcond=None)[0] - Y).mean()
    assert history["loss"][-1] == pytest.approx(least, rel=1e-9)


def test_any_loss_for_lbfgs() -> None:
    pytest.importorskip("scipy", reason="SciPy, which L-BFGS is from, is not installed")
    x, y = pk.datasets.moons(100, noise=0.1, rng=0)
    model = pk.mlp([2, 8, 2], pk.Tanh, rng=0)
    history = pk.minimize(model, pk.CrossEntropy(), x, y)
    assert pk.accuracy(pk.predict(model, x), y) == 1
    assert history["loss"][-1] < 1e-3


def test_what_is_frozen_or_absent_stays(method: Any) -> None:
    model = net()
    model[0].freeze()
    before = model[0].weight.copy()
    weight = np.ones(40)
    x, y = X.copy(), Y.copy()
    weight[3], x[3], y[3] = 0, np.nan, np.nan
    history = pk.minimize(model, pk.MeanSquaredError(), x, y, method=method, weight=weight, max_iter=10)
    assert_array_equal(model[0].weight, before)
    assert history["loss"][-1] < history["loss"][0]


def test_modes_and_gradients(method: Any) -> None:
    model = pk.Sequential([pk.Linear(2, 4, rng=0), pk.BatchNorm(4).eval(), pk.Dropout(0.5, rng=0).eval(), pk.Linear(4, 1, rng=0)])
    pk.minimize(model, pk.MeanSquaredError(), X, Y, method=method, max_iter=3)
    assert [part.training for part in model] == [True, False, False, True]
    assert not any(grad.any() for grad in model.get_params_and_grads()[1])


def test_a_batchnorm_in_training_is_for_lbfgs() -> None:
    model = pk.Sequential([pk.Linear(2, 4, rng=0), pk.BatchNorm(4), pk.Tanh(), pk.Linear(4, 1, rng=0)])
    with pytest.raises(ValueError, match="BatchNorm"):
        pk.minimize(model, pk.MeanSquaredError(), X, Y, **MARQUARDT)

    class Centred(pk.Function):
        """Each example less the mean of all: no example is by itself."""

        def compute_forward(self, x: Any) -> Any:
            return x - x.mean(axis=0) / 2

        def compute_backward(self, dObj_dOut: Any) -> Any:
            return dObj_dOut - dObj_dOut.mean(axis=0) / 2

    with pytest.raises(ValueError, match=r"treats each example by itself.* put a BatchNorm into eval\(\)"):
        pk.minimize(pk.Sequential([pk.Linear(2, 1, rng=0), Centred()]), pk.MeanSquaredError(), X, Y, **MARQUARDT)


def test_ctrl_c_leaves_the_best_weights(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    plain = FullBatch.value_at

    def value_at(self: FullBatch, vector: Any) -> float:
        nonlocal calls
        calls += 1
        value = plain(self, vector)
        if calls == 8:
            self.put(np.zeros(self.size))
            raise KeyboardInterrupt
        return value

    monkeypatch.setattr(FullBatch, "value_at", value_at)
    model = net()
    history = pk.minimize(model, pk.MeanSquaredError(), X, Y, method=method)
    assert history.interrupted
    assert history["loss"][-1] == pytest.approx(other_loss(model), rel=1e-12)
    assert history["loss"][-1] < history["loss"][0]


def test_a_minimum_is_left_at_once(method: Any) -> None:
    model = pk.Linear(2, 1, rng=0)
    history = pk.minimize(model, pk.MeanSquaredError(), X, model(X), method=method)
    assert history["loss"] == [0.0]


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scipy"):
        pk.minimize(net(), pk.MeanSquaredError(), X, Y)
    assert pk.minimize(net(), pk.MeanSquaredError(), X, Y, **MARQUARDT, max_iter=2).epochs == 3


MSE = pk.MeanSquaredError()


class Squares(pk.MeanSquaredError):
    """A loss of a user's own, of which nothing is known."""


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: pk.minimize(net(), pk.Huber(), X, Y, **MARQUARDT),
            ValueError,
            r"takes a MeanSquaredError, got Huber",
        ),
        (lambda: pk.minimize(net(), Squares(), X, Y, **MARQUARDT), ValueError, r"got Squares\(\)"),
        (
            lambda: pk.minimize(net(), MSE, X, Y, method="adam"),
            ValueError,
            "Levenberg-Marquardt, got 'adam'",
        ),
        (lambda: pk.minimize(net(), pk.MeanSquaredError, X, Y), TypeError, "expected a loss"),
        (lambda: pk.minimize("net", MSE, X, Y), TypeError, "expected a Function"),  # type: ignore[arg-type]
        (lambda: pk.minimize(net(), MSE, X, Y, **MARQUARDT, max_iter=0), ValueError, "max_iter of at least 1"),
        (lambda: pk.minimize(net(), MSE, X, Y, **MARQUARDT, tol=-1), ValueError, "tol"),
        (lambda: pk.minimize(net(), MSE, X, Y[:3], **MARQUARDT), ValueError, "as many rows in y as in x"),
        (lambda: pk.minimize(net(), MSE, X, Y[:, 0], **MARQUARDT), ValueError, "shape of the prediction"),
        (lambda: pk.minimize(net(), MSE, X * np.nan, Y, **MARQUARDT), ValueError, "finite numbers in x"),
        (lambda: pk.minimize(net().freeze(), MSE, X, Y, **MARQUARDT), ValueError, "no parameters to train"),
        (
            lambda: pk.minimize(pk.Sequential([*net(), pk.Dropout(rng=0)]), MSE, X, Y, **MARQUARDT),
            ValueError,
            r"the same loss twice .* Dropout .* eval\(\)",
        ),
        (
            lambda: pk.minimize(pk.Linear(2, 30_000, init="zeros"), MSE, X, np.zeros((40, 30_000)), **MARQUARDT),
            ValueError,
            "needs 90,000 x 90,000 numbers",
        ),
        (
            lambda: pk.minimize(pk.Sequential([pk.Linear(2, 1, rng=0), pk.Exp()]), MSE, X * 1e6, Y, **MARQUARDT),
            pk.NonFiniteError,
            "the loss is inf before the first iteration: .*Exp",
        ),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
