"""What notebooks show of models, histories and reports: well-formed HTML with the numbers, escaped, without matplotlib."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.shown import history_table
from pancake.testing import GradientError, check_function, check_gradients, mutate


def texts(html: str) -> list[str]:
    """The texts of a page whose tags must all be closed in order."""
    opened: list[str] = []
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

        def handle_data(self, data: str) -> None:
            found.append(data)

    parser = Parser()
    parser.feed(html)
    parser.close()
    assert not opened
    return found


def points(html: str) -> list[np.ndarray]:
    """The places of each line of a picture."""
    return [
        np.array([pair.split(",") for pair in line.split()], float) for line in re.findall(r'polyline points="([^"]*)"', html)
    ]


def test_a_model_is_a_table_of_its_parts() -> None:
    model: Any = pk.Sequential([pk.Linear(2, 3, rng=0), pk.ReLU(), pk.Residual(pk.Linear(3, 3, rng=0)), pk.Linear(3, 1, rng=0)])
    model[3].freeze()
    shown = texts(model._repr_html_())
    assert f"Sequential, {model.num_parameters:,} parameters, in training mode" in shown
    for text in ("Linear(2, 3)", "weight 3x2, bias 3", "9", "ReLU()", "2.f", "Linear(3, 1) (frozen)", "Residual"):
        assert text in shown
    assert "in evaluation mode" in model.eval()._repr_html_()
    assert "Linear(2, 3)" in texts(pk.Linear(2, 3, rng=0)._repr_html_())


def test_models_with_many_parts_and_odd_names() -> None:
    model = pk.Sequential([pk.Mul(float(i)) for i in range(100)])
    assert "40 more parts" in texts(model._repr_html_())

    class Odd(pk.Function):
        def __repr__(self) -> str:
            return "<b>&"

    assert "<b>&" in texts(pk.Sequential([Odd()])._repr_html_())


def test_a_history_is_a_table_and_curves() -> None:
    X, y = pk.datasets.moons(60, rng=0)
    model = pk.mlp([2, 4, 2], rng=0)
    metrics = {"accuracy": pk.accuracy}
    history = pk.fit(
        model, pk.CrossEntropy(), pk.Adam(model), X, y, epochs=5, rng=0, validation=0.2, metrics=metrics, progress=False
    )
    html = history._repr_html_()
    shown = texts(html)
    assert "History of 5 epochs" in shown
    for name, values in history.items():
        assert name in shown
        assert f"{values[0]:.4g}" in shown
        assert f"{values[-1]:.4g}" in shown
        assert f"{min(values):.4g} (epoch {values.index(min(values)) + 1})" in shown
    assert html.count("<svg") == len({name.removeprefix("val_") for name in history})
    loss = points(html)[0]
    assert len(loss) == 5
    # downwards on the screen is less: the order of the heights is that of the values, turned round
    np.testing.assert_array_equal(np.argsort(-loss[:, 1]), np.argsort(history["loss"]))
    assert loss[0, 0] < loss[-1, 0]


def test_curves_have_gaps_logarithms_and_single_epochs() -> None:
    html = history_table({"loss": [100.0, 10.0, 1.0, 0.1]}, 4)
    (loss,) = points(html)
    np.testing.assert_allclose(np.diff(loss[:, 1]), np.diff(loss[:, 1])[0], atol=0.11)  # even steps on a logarithmic scale
    assert "(log)" in texts(html)
    gap = history_table({"loss": [3.0, 2.0, math.nan, 1.0, 0.5, math.inf]}, 6)
    assert [len(line) for line in points(gap)] == [2, 2]
    assert "nan" in "".join(texts(history_table({"loss": [math.nan]}, 1)))
    assert history_table({"loss": [math.nan]}, 1).count("<svg") == 0
    assert history_table({"loss": [2.0]}, 1).count("<circle") == 1
    constant = points(history_table({"loss": [0.0, 0.0, 0.0]}, 3))[0]
    assert np.isfinite(constant).all()
    long = points(history_table({"loss": list(np.linspace(2, 1, 10_001))}, 10_001))[0]
    assert len(long) <= 301
    assert long[-1, 0] == pytest.approx(256)  # the last epoch is there
    assert texts(history_table({}, 0)) == ["History of 0 epochs", "quantity"]
    assert texts(pk.History()._repr_html_()) == ["History of 0 epochs", "quantity"]
    assert "<script>" in texts(history_table({"<script>": [1.0]}, 1))


class Wrong(pk.Function):
    """y = x^2."""

    def compute_forward(self, x: Any) -> Any:
        self.x = x
        return x * x

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return dObj_dOut * self.x


def test_reports_of_checks() -> None:
    report = check_function(pk.Linear(2, 3, rng=0), np.ones((4, 2)))
    shown = texts(report._repr_html_())
    assert report.summary().splitlines()[0] in shown
    assert {"x", "weight", "bias", "(4, 2)"} <= set(shown)
    with pytest.raises(GradientError) as error:
        check_gradients(Wrong(), np.array([[1.0, 2.0]]))
    assert "To reproduce:" in "".join(texts(error.value.report._repr_html_()))
    mutants = mutate(pk.Tanh(), np.array([[0.3, -0.2], [0.1, 0.5]]))
    assert mutants.summary().splitlines()[0] in texts(mutants._repr_html_())


def test_no_matplotlib_is_needed() -> None:
    code = """
import sys
import pancake as pk
assert "pancake.shown" not in sys.modules
sys.modules["matplotlib"] = None
model = pk.mlp([2, 1], rng=0)
assert model._repr_html_() and pk.History(loss=[1.0, 2.0])._repr_html_()
print(pk.explain(model, pk.MeanSquaredError(), [[1.0, 2.0]], [[0.0]])._repr_html_()[:6])
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "<table\n", result.stderr
