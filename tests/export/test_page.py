"""A net and its data as one page: what a browser shows is what the model computes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import pancake as pk
from pancake.export import to_page


@pytest.fixture
def opened(browser, tmp_path):
    """A function that writes a page, opens it, and at the end holds it to having complained of nothing and loaded nothing."""
    troubles, requests = [], []
    context = browser.new_context(viewport={"width": 1180, "height": 900}, offline=True)

    def show(model, X, y):
        path = tmp_path / "page.html"
        to_page(model, X, y, path)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield show
    context.close()
    assert not troubles
    assert len(set(requests)) == 1, requests


def hover(page, n):
    """Move the mouse to a point, and return what stands beside the plane."""
    x, y = page.evaluate(
        "n => { const box = canvas.getBoundingClientRect();"
        "return [box.left + toX(page.X[n][axes[0]], 0), box.top + toX(page.X[n][axes[1]], 1)]; }",
        n,
    )
    page.mouse.move(x, y)
    return page.inner_text("#side")


def loner(X, axes=(0, 1)):
    """The point that is farthest from all others."""
    Z = (X[:, axes] - X[:, axes].min(0)) / np.ptp(X[:, axes], axis=0)
    distance = np.linalg.norm(Z[:, None] - Z, axis=-1) + 9 * np.eye(len(Z))
    return int(distance.min(1).argmax())


def test_the_way_of_a_point_through_the_net(opened):
    X, y = pk.datasets.moons(80, noise=0.1, rng=0)
    model = pk.mlp([2, 6, 2], activation=pk.Tanh, rng=0)
    page, n = opened(model, X, y), loner(X)
    text = hover(page, n)
    assert f"Point {n + 1}, in truth {y[n]}" in text
    for layer in ("Linear(2, 6)", "Tanh()", "Linear(6, 2)"):
        assert layer in text
    bars = page.eval_on_selector_all(".bars span", "spans => spans.map(span => Number(span.title))")
    x = X[n : n + 1]
    expected = np.concatenate([X[n], model[0](x)[0], model[:2](x)[0], model(x)[0]])
    np.testing.assert_allclose(bars, expected, rtol=1e-12)
    assert f"The net says {model(x).argmax()}" in text
    assert page.locator("#features select").count() == 0


def pixel(page, x, y):
    """The colour of the plane at two values of the features on the axes."""
    return page.evaluate(
        "([x, y]) => { const copy = new OffscreenCanvas(canvas.width, canvas.height), d = window.devicePixelRatio || 1;"
        "const pen = copy.getContext('2d', { willReadFrequently: true }); pen.drawImage(canvas, 0, 0);"
        "return Array.from(pen.getImageData(toX(x, 0) * d, toX(y, 1) * d, 1, 1).data.slice(0, 3)); }",
        [x, y],
    )


def test_the_plane_is_coloured_by_what_the_net_says(opened):
    X = np.array([[-1.0, -1], [1, 1], [-1, 1], [1, -1]])
    model = pk.Linear(2, 2)
    model.weight = [[-8, 0], [8, 0]]  # class 1 on the right
    page = opened(model, X, np.array([0, 1, 0, 1]))
    left, right = pixel(page, -0.5, 0.3), pixel(page, 0.5, 0.3)
    assert left[2] > left[0] + 20, "blue"
    assert right[0] > right[2] + 20, "orange"


def test_sliders_for_other_features_and_any_two_on_the_axes(opened):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(30, 4))

    class Frame:
        columns = ("length", "depth", "</script><b>mass</b>", "age")

        def __array__(self, dtype=None, copy=None):
            return X

    model = pk.Linear(4, 2)
    model.weight = [[0, 0, -9, 0], [0, 0, 9, 0]]  # the third feature alone decides
    page = opened(model, Frame(), np.array(["cat", "dog"])[(X[:, 2] > 0).astype(int)])
    assert page.inner_text("#legend").split() == ["cat", "dog"]
    assert page.locator("#features input").count() == 2
    slider = page.get_by_label("</script><b>mass</b>")
    for value, bluer in (("-0.9", True), ("0.9", False)):
        slider.fill(value)
        colour = pixel(page, 0, 0.05)
        assert (colour[2] > colour[0]) == bluer
    page.select_option("#axis-up", label="</script><b>mass</b>")
    assert page.evaluate("page.names[axes[1]]") == "</script><b>mass</b>"
    assert page.locator("#features input").count() == 2
    low, high = pixel(page, 0, -0.7), pixel(page, 0, 0.7)
    assert low[2] > low[0]
    assert high[0] > high[2]
    n = loner(X, (0, 2))
    assert f"The net says {['cat', 'dog'][int(X[n, 2] > 0)]}" in hover(page, n)


def test_numbers_and_one_output(opened):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(20, 2))
    model = pk.mlp([2, 4, 1], activation=pk.Tanh, rng=0)
    page, n = opened(model, X, X[:, 0] * 3), loner(X)
    value = model(X[n : n + 1]).item()
    said = re.search(r"The net says (\S+)", hover(page, n))[1]
    assert float(said) == pytest.approx(value, rel=0.01)
    for last in ([pk.Sigmoid()], []):  # a probability, and a logit
        two = pk.Sequential([pk.Linear(2, 1, rng=0), *last])
        page = opened(two, X, (X[:, 0] > 0).astype(int))
        k = int((two(X[n : n + 1]) > (0.5 if last else 0)).item())
        assert f"The net says {k}" in hover(page, n)


def test_many_classes_have_a_colour_each_and_names_inside_the_page(opened):
    X, y = pk.datasets.blobs(120, centers=30, rng=0)
    page = opened(pk.mlp([2, 8, 30], rng=0), X, y)
    dots = page.eval_on_selector_all("#legend i", "dots => dots.map(dot => dot.style.background)")
    assert len(set(dots)) == 30
    page.set_viewport_size({"width": 700, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 700


# --- the file ---


def test_the_file_refers_to_nothing_outside_and_the_model_stays_as_it_is(tmp_path):
    X, y = pk.datasets.blobs(3000, rng=0)
    model = pk.Sequential(
        [pk.Linear(2, 8, rng=0), pk.BatchNorm(8), pk.ReLU(), pk.Dropout(0.5), pk.Linear(8, int(y.max()) + 1, rng=1)]
    )
    before = model.state_dict()
    to_page(model, X, y, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"https?:|src=|href=|@import|url\(", text)
    assert text.count("</script>") == 1
    data = json.loads(re.search(r"^const page = (.*);$", text, flags=re.MULTILINE)[1])
    assert len(data["X"]) == len(data["y"]) == 2000
    assert "3,000 points, of which 2,000 are drawn" in data["about"]
    assert model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    X, path = np.zeros((4, 2)), tmp_path / "page.html"
    path.write_text("old")
    two, one, y = pk.Linear(2, 2, rng=0), pk.Linear(2, 1, rng=0), np.array([0, 1, 0, 1])
    spoilt = pk.mlp([2, 3, 1], rng=0)
    spoilt[2].bias[0] = np.nan
    for model, x, labels, error, message in (
        (two, np.zeros((4, 1)), y, ValueError, "at least two features"),
        (two, X.astype(str), y, TypeError, "to_page: expected X to be real numbers, got an array of dtype"),
        (two, X, y[:3], ValueError, "one label for each of the 4 rows"),
        (two, X, [0, 1, 2, 1], ValueError, "expected labels from 0 to 1, got 0 to 2"),
        (two, X, [0.5, 1, 2, 1], ValueError, r"labels are whole numbers, as of y.astype\(int\)"),
        (two, X, ["a", "b", "c", "a"], ValueError, "expected 2 different words in y, one for each class of the model, got 3"),
        (one, np.full((4, 2), np.nan), y, ValueError, "finite numbers"),
        (spoilt, X, y, ValueError, "to_page: expected finite numbers, got nan or infinity in 2.bias of the model"),
        (pk.Sum(), X, y, ValueError, "a row for each row of X"),
        (pk.Linear(3, 2), X, y, ValueError, r"expected \(..., 3\)"),
        ("net", X, y, TypeError, "to_page: expected a Function"),
    ):
        with pytest.raises(error, match=message):
            to_page(model, x, labels, path)
    assert path.read_text() == "old"
