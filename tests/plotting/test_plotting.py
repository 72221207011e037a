"""What the plotting functions draw, by the artists they leave; pytest turns every warning into an error."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import pancake as pk
from pancake.plotting import COLORS, Drawing, plot_decision_boundary, plot_history, show_pred

RED_GREEN = ([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 2.0]], [0, 0, 1, 1])  # 4 wide, 2 high


@pytest.fixture(autouse=True)
def _new_pyplot() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        plt.close("all")
        yield
        plt.close("all")


def axes() -> Axes:
    return Figure().add_subplot()


def step(x: np.ndarray) -> np.ndarray:
    """The probability of class 1: 1/2 where feature 0 is 2."""
    return 1 / (1 + np.exp(-3 * (x[:, 0] - 2)))


def thirds(x: np.ndarray) -> np.ndarray:
    """Scores of three classes, with borders where feature 0 is 1 and 3."""
    return np.column_stack([-np.abs(x[:, 0] - middle) for middle in (0, 2, 4)])


def png(drawn: Drawing) -> bytes:
    """The picture, drawn to the end: some of matplotlib's warnings come only then."""
    file = io.BytesIO()
    drawn.figure.savefig(file, format="png")
    return file.getvalue()


def border(drawn: Drawing, i: int = 0) -> np.ndarray:
    """The points of a boundary line."""
    return np.concatenate([path.vertices for path in drawn.artists["boundary"][i].get_paths()])


# --- plot_decision_boundary ---


def test_two_classes() -> None:
    X, y = RED_GREEN
    drawn = plot_decision_boundary(step, X, y)
    (ax,) = drawn.axes
    assert ax.figure is drawn.figure
    assert isinstance(drawn.figure.canvas, FigureCanvasAgg)
    assert ax.get_title() == "accuracy 100.0%"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "feature 1")
    np.testing.assert_allclose(ax.get_xlim(), [-0.4, 4.4])
    np.testing.assert_allclose(ax.get_ylim(), [-0.2, 2.2])
    np.testing.assert_allclose(border(drawn)[:, 0], 2, atol=0.02)

    image = drawn.artists["shading"]
    assert image.get_extent() == pytest.approx([-0.4, 4.4, -0.2, 2.2])
    assert image.origin == "lower"
    left, middle, right = np.asarray(image.get_array())[0, [0, 100, -1]]
    assert left.argmax() == 2  # blue
    assert middle == pytest.approx([1, 1, 1], abs=0.03)
    assert right.argmin() == 2  # orange
    assert png(drawn).startswith(b"\x89PNG")


def test_points_lie_where_they_are_in_the_colours_of_their_classes() -> None:
    X, y = RED_GREEN
    drawn = plot_decision_boundary(step, X, y, X_test=[[3.0, 1.0], [1.5, 1.0]], y_test=[1, 1])
    train, test = drawn.artists["train"], drawn.artists["test"]
    np.testing.assert_array_equal(train.get_offsets(), X)
    np.testing.assert_allclose(train.get_facecolors()[:, :3], [to_rgb(COLORS[c]) for c in y])
    np.testing.assert_array_equal(test.get_offsets(), [[3, 1], [1.5, 1]])
    np.testing.assert_allclose(test.get_facecolors()[:, :3], [to_rgb(COLORS[1])] * 2)
    # told apart by shape and by edge
    assert len(train.get_paths()[0].vertices) > len(test.get_paths()[0].vertices)
    assert tuple(train.get_edgecolors()[0]) == (1, 1, 1, 1)
    assert tuple(test.get_edgecolors()[0]) == (0, 0, 0, 1)
    assert drawn.axes[0].get_title() == "accuracy: train 100.0%, test 50.0%"
    assert [text.get_text() for text in drawn.artists["legend"].get_texts()] == ["class 0", "class 1", "train", "test"]


def test_the_limits_hold_the_test_points_as_well() -> None:
    X, y = RED_GREEN
    drawn = plot_decision_boundary(step, X, y, X_test=[[10.0, -3.0]], y_test=[1], margin=0)
    assert drawn.axes[0].get_xlim() == (0, 10)
    assert drawn.axes[0].get_ylim() == (-3, 2)


def test_three_classes() -> None:
    X = [[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [0.0, 1.0]]
    drawn = plot_decision_boundary(thirds, X, [0, 1, 2, 2], class_names=["a", "b", "c"], feature_names=["mm", "g"])
    (ax,) = drawn.axes
    assert ax.get_title() == "accuracy 75.0%"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mm", "g")
    assert [text.get_text() for text in drawn.artists["legend"].get_texts()] == ["a", "b", "c"]
    assert [set(border(drawn, i)[:, 0].round(1)) for i in range(len(drawn.artists["boundary"]))] == [{1}, {3}]  # each once
    colours = np.asarray(drawn.artists["shading"].get_array())[0]
    for pixel, c in ((0, 0), (100, 1), (-1, 2)):
        tint, colour = 1 - colours[pixel], 1 - np.array(to_rgb(COLORS[c]))
        np.testing.assert_allclose(tint / tint.max(), colour / colour.max(), atol=1e-6)
    assert tint.sum() < 0.55 * colour.sum()  # paler than at certainty
    assert png(drawn)


def test_one_class_everywhere_has_no_boundary() -> None:
    drawn = plot_decision_boundary(lambda x: np.full(len(x), 0.2), *RED_GREEN)
    assert drawn.artists["boundary"] == []
    assert drawn.axes[0].get_title() == "accuracy 50.0%"
    assert png(drawn)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (lambda x: step(x), {}),
        (lambda x: step(x)[:, None].astype(np.float32), {}),
        (lambda x: 3 * (x[:, 0] - 2), {"from_logits": True}),
        (lambda x: 3 * (x[:, :1] - 2), {"from_logits": True}),
        (lambda x: np.column_stack([1 - step(x), step(x)]), {}),
        (lambda x: np.column_stack([0 * x[:, 0], 3 * (x[:, 0] - 2)]), {}),
        (lambda x: np.log(np.column_stack([1 - step(x), step(x)])), {}),
        (lambda x: 1000 + np.column_stack([0 * x[:, 0], 3 * (x[:, 0] - 2)]), {"from_logits": True}),
    ],
)
def test_all_forms_of_two_classes_give_one_picture(model: Callable[[Any], Any], options: dict[str, Any]) -> None:
    expected = plot_decision_boundary(step, *RED_GREEN, resolution=40)
    drawn = plot_decision_boundary(model, *RED_GREEN, resolution=np.uint8(40), **options)  # whose square is 64
    np.testing.assert_allclose(drawn.artists["shading"].get_array(), expected.artists["shading"].get_array(), atol=1e-5)
    np.testing.assert_allclose(border(drawn), border(expected), atol=1e-4)
    assert drawn.axes[0].get_title() == "accuracy 100.0%"


@pytest.mark.parametrize("kind", [int, bool, np.uint8])
def test_models_that_return_classes(kind: type) -> None:
    drawn = plot_decision_boundary(lambda x: (x[:, 0] > 2).astype(kind), *RED_GREEN)
    np.testing.assert_allclose(border(drawn)[:, 0], 2, atol=0.02)
    assert drawn.axes[0].get_title() == "accuracy 100.0%"


def test_outputs_that_only_look_like_probabilities() -> None:
    def strongest(share: float, **options: Any) -> float:
        drawn = plot_decision_boundary(lambda x: np.tile([1 - share, share], (len(x), 1)), *RED_GREEN, **options)
        return 1 - float(np.asarray(drawn.artists["shading"].get_array()).min())

    assert strongest(1.0) == pytest.approx(0.55)
    assert strongest(1.0, from_logits=True) == pytest.approx(0.55 * (2 / (1 + np.exp(-1)) - 1))
    assert strongest(2.0) == pytest.approx(0.55 * (2 / (1 + np.exp(-3)) - 1))  # -1 and 2 have the sum 1


def test_labels_that_the_model_never_returns() -> None:
    drawn = plot_decision_boundary(lambda x: (x[:, 0] > 2).astype(int), RED_GREEN[0], [0, 0, 1, 5])
    assert drawn.axes[0].get_title() == "accuracy 75.0%"
    assert len(drawn.artists["legend"].get_texts()) == 6


def test_classes_that_no_point_has_are_drawn() -> None:
    drawn = plot_decision_boundary(lambda x: np.clip(x[:, 0].round(), 0, 4).astype(int), *RED_GREEN)
    assert len(drawn.artists["legend"].get_texts()) == 5
    drawn = plot_decision_boundary(thirds, *RED_GREEN)
    assert len(drawn.artists["legend"].get_texts()) == 3


def test_logits_must_be_announced() -> None:
    with pytest.raises(ValueError, match=r"expected probabilities .* from -7.*pass from_logits=True.*clip"):
        plot_decision_boundary(lambda x: 3 * (x[:, 0] - 2), *RED_GREEN)


def test_probability_one_half_is_class_1() -> None:
    drawn = plot_decision_boundary(lambda x: np.full(len(x), 0.5), [[0, 0], [1, 1], [2, 0]], [1, 1, 1])
    assert drawn.axes[0].get_title() == "accuracy 100.0%"
    assert np.asarray(drawn.artists["shading"].get_array()) == pytest.approx(1)  # undecided: white


@pytest.mark.parametrize("y", [[[0], [0], [1], [1]], [0.0, 0.0, 1.0, 1.0], [False, False, True, True]])
def test_labels_as_the_losses_take_them(y: Any) -> None:
    drawn = plot_decision_boundary(step, RED_GREEN[0], y)
    assert drawn.axes[0].get_title() == "accuracy 100.0%"


def test_further_features_stay_at_their_mean_or_where_they_are_fixed() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal([1.0, -2.0, 30.0, 4.0], 1, (50, 4))
    seen = []

    def model(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return (x[:, 3] > x[:, 1]).astype(int)

    y = (X[:, 3] > X[:, 1]).astype(int)
    drawn = plot_decision_boundary(model, X, y, features=(3, 1), fixed={0: -7.5}, feature_names=list("abcd"), resolution=10)
    grid = np.concatenate(seen)[:100]
    np.testing.assert_array_equal(grid[:, 0], -7.5)
    np.testing.assert_allclose(grid[:, 2], X[:, 2].mean())
    assert len(np.unique(grid[:, 3])) == len(np.unique(grid[:, 1])) == 10
    (ax,) = drawn.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("d", "b")
    assert ax.get_xlim()[0] == pytest.approx(X[:, 3].min() - 0.1 * np.ptp(X[:, 3]))
    np.testing.assert_array_equal(drawn.artists["train"].get_offsets(), X[:, [3, 1]])
    assert ax.get_title() == "accuracy 100.0%"  # on the points as they are, not on the plane


def test_the_mean_is_that_of_the_training_points_alone() -> None:
    X = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 2.0], [2.0, 0.5, 6.0]])
    seen = []

    def model(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return (x[:, 0] > 0.5).astype(int)

    plot_decision_boundary(model, X, [0, 1, 1], resolution=4, X_test=X + 1000.0, y_test=[1, 1, 1])
    grid = next(x for x in seen if len(x) >= 16)[:16]
    np.testing.assert_allclose(grid[:, 2], 3.0)


def test_draws_into_given_axes() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    right.set(xlim=(-100, 100), ylim=(-100, 100))
    drawn = plot_decision_boundary(step, *RED_GREEN, ax=right, legend=False)
    assert right.get_xlim() == pytest.approx((-0.4, 4.4))
    assert right.get_ylim() == pytest.approx((-0.2, 2.2))
    assert drawn.axes == [right]
    assert drawn.figure is figure
    assert drawn.artists["legend"] is None
    assert right.get_legend() is None
    assert not left.has_data()
    below = figure.subfigures(1, 2)[0].add_subplot()
    assert plot_decision_boundary(step, *RED_GREEN, ax=below).figure is figure


def test_the_legend_stands_beside_the_axes_where_there_is_room() -> None:
    for figure, beside in ((None, True), (Figure(layout="constrained"), True), (Figure(), False)):
        drawn = plot_decision_boundary(step, *RED_GREEN, ax=None if figure is None else figure.subplots())
        drawn.figure.draw_without_rendering()
        legend, ax = drawn.artists["legend"].get_window_extent(), drawn.axes[0].get_window_extent()
        assert (legend.x0 > ax.x1) == beside
        assert legend.x1 <= drawn.figure.bbox.x1


@pytest.mark.parametrize("classes", [2, 8, 9, 20])
def test_every_class_has_a_colour_of_its_own(classes: int) -> None:
    X, y = pk.datasets.blobs(classes, noise=0, centers=classes)
    drawn = plot_decision_boundary(lambda x: x @ X.T, X, y)
    assert len(np.unique(drawn.artists["train"].get_facecolors(), axis=0)) == classes
    assert drawn.axes[0].get_title() == "accuracy 100.0%"


@given(
    X=st.lists(st.tuples(*[st.sampled_from([-1e6, -1.0, 0.0, 1e-3, 1.0, 1e6])] * 2), min_size=1, max_size=6),
    margin=st.sampled_from([0, 0.1, 2]),
    resolution=st.integers(2, 9),
)
def test_any_points_have_a_picture(X: list[tuple[float, float]], margin: float, resolution: int) -> None:
    ax = axes()
    plot_decision_boundary(lambda x: x, X, np.zeros(len(X), int), ax=ax, margin=margin, resolution=resolution, legend=False)
    for limits, values in ((ax.get_xlim(), np.array(X)[:, 0]), (ax.get_ylim(), np.array(X)[:, 1])):
        assert limits[0] < limits[1]
        assert limits[0] <= values.min()
        assert values.max() <= limits[1]


def test_mode_caches_and_gradients_of_a_model_stay() -> None:
    X, y = pk.datasets.moons(30, rng=0)
    model, loss = pk.mlp([2, 5, 2], rng=0), pk.CrossEntropy()
    model[1].eval()
    loss(model(X), y)
    params, grads = model.get_params_and_grads()
    before = [array.copy() for array in params + grads]
    plot_decision_boundary(model, X, y)
    show_pred(pk.Sequential([model, pk.Linear(2, 1, rng=0)]), show=False)
    assert [function.training for function in model.walk()] == [True, True, False, True]
    for array, copy in zip(params + grads, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    model.compute_backward(loss.compute_backward())  # still that of the 30 points
    assert any(grad.any() for grad in grads)


def test_x_and_y_are_not_written_to() -> None:
    X, y = (np.array(a) for a in RED_GREEN)
    X.flags.writeable = y.flags.writeable = False
    plot_decision_boundary(step, X, y, X_test=X, y_test=y)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": np.zeros((4, 2, 2))}, ValueError, r"got \(4, 2, 2\); X.reshape\(len\(X\), -1\) makes rows"),
        ({"X": np.zeros((0, 2))}, ValueError, r"expected X .* got \(0, 2\)"),
        ({"X": [["a", "b"]] * 4}, TypeError, "expected X to be real numbers, got an array of dtype <U1"),
        ({"X": np.full((4, 2), np.nan)}, ValueError, "X holds nan or inf"),
        ({"X": np.ma.masked_less(np.eye(4, 2), 1)}, TypeError, "expected X without a mask"),
        ({"y": [0, 1, 1]}, ValueError, r"expected y \(4,\), a class for each point, got \(3,\)"),
        ({"y": np.eye(4)}, ValueError, r"got \(4, 4\); of one-hot rows take argmax\(axis=1\)"),
        ({"y": ["no", "no", "yes", "yes"]}, TypeError, r"np.unique\(y, return_inverse=True\).*class_names"),
        ({"y": [-1, -1, 1, 1]}, ValueError, "for -1 and 1 pass y > 0"),
        ({"y": [0, 0, 0.5, 1]}, ValueError, "expected y to be classes 0, 1"),
        ({"y": [0, 0, np.nan, 1]}, ValueError, "expected y to be classes 0, 1"),
        ({"y": [0, 1, 2, 1]}, ValueError, "one output tells classes 0 and 1 apart, got the label 2"),
        ({"y": [0, 1, 3, 1], "model": thirds}, ValueError, "3 outputs are classes 0 to 2, got the label 3"),
        ({"X_test": [[1, 1]]}, ValueError, "expected X_test and y_test together"),
        ({"y_test": [1]}, ValueError, "expected X_test and y_test together"),
        ({"X_test": [[1, 1, 1]], "y_test": [1]}, ValueError, r"expected X_test \(N, 2\), like X, got \(1, 3\)"),
        ({"X_test": [[1, 1]], "y_test": [1, 0]}, ValueError, r"expected y_test \(1,\)"),
        ({"features": (0, 2)}, ValueError, r"two different features from 0 to 1, got \(0, 2\)"),
        ({"features": (1, 1)}, ValueError, r"two different features from 0 to 1, got \(1, 1\)"),
        ({"features": (0, 1, 2)}, ValueError, "two different features"),
        ({"features": 2}, ValueError, "two different features"),
        ({"fixed": {0: 1.0}}, ValueError, r"other than \(0, 1\), got one of feature 0"),
        ({"fixed": 3}, TypeError, "expected fixed to be a dict, such as .*, got 3"),
        ({"fixed": [1]}, TypeError, r"expected fixed to be a dict, .*, got \[1\]"),
        ({"fixed": {5: 1.0}}, ValueError, "a feature from 0 to 1, or its name, got 5"),
        ({"X": np.zeros((4, 3)), "fixed": {2: np.nan}}, ValueError, r"a finite number as fixed\[2\], got nan"),
        ({"X": np.zeros((4, 3)), "fixed": {2: [1, 2]}}, ValueError, r"a finite number as fixed\[2\], got \[1, 2\]"),
        ({"X": np.zeros((4, 3)), "fixed": {2: "high"}}, ValueError, r"a finite number as fixed\[2\], got 'high'"),
        ({"feature_names": ["a"]}, ValueError, "expected 2 feature_names, one for each feature, got 1"),
        ({"class_names": list("abc")}, ValueError, "expected 2 class_names, one for each class, got 3"),
        ({"margin": -1}, ValueError, "expected margin at least 0"),
        ({"resolution": 1}, ValueError, "expected resolution of at least 2, got 1"),
        ({"resolution": 20.5}, TypeError, "expected resolution to be a whole number"),
        ({"model": 3}, TypeError, "expected a model that can be called"),
        (
            {"model": pk.mlp([2, 2], rng=0), "X": [0, 1, 2, 3]},
            ValueError,
            r"the model Sequential\(\[Linear\(2, 2\)\]\) does not take X \(4, 1\); pass X with the features that it was trained "
            r"on \(Linear\(2, 2\): expected \(..., 2\), got \(4, 1\)\)$",
        ),
        ({"model": pk.mlp([2, 2], rng=0), "X": np.eye(4)[:, :3]}, ValueError, r"does not take X \(4, 3\); pass X"),
        ({"model": lambda x: x @ np.ones((3, 2))}, ValueError, r"the model <function .* does not take X \(4, 2\); pass X"),
        ({"model": lambda x: x[:3]}, ValueError, r"to return \(N,\) or \(N, C\) for N points, got \(3, 2\)"),
        ({"model": lambda x: x[None]}, ValueError, r"to return \(N,\) or \(N, C\)"),
        ({"model": lambda x: 0.5}, ValueError, r"got \(\) for"),
        ({"model": lambda x: x[:, 0] * np.nan}, ValueError, "returned nan or inf"),
        ({"model": lambda x: x.astype(str)}, TypeError, "to return real numbers, got an array of dtype <U"),
        ({"model": lambda x: np.full(len(x), -1)}, ValueError, "expected classes 0, 1, ... from the model, got -1"),
    ],
)
def test_refuses_what_it_cannot_draw(change: dict[str, Any], error: type[Exception], message: str) -> None:
    X, y = RED_GREEN
    with pytest.raises(error, match=f"plot_decision_boundary: .*{message}"):
        plot_decision_boundary(**{"model": step, "X": X, "y": y, **change})


def test_an_estimator_is_not_a_callable() -> None:
    class Forest:
        def predict_proba(self, x: Any) -> Any: ...

    with pytest.raises(TypeError, match=r"pass its method, model=forest.predict_proba"):
        plot_decision_boundary(Forest(), *RED_GREEN)  # type: ignore[arg-type]


# --- show_pred ---


def test_show_pred_shows_the_outputs_where_they_belong() -> None:
    drawn = show_pred(lambda x: 10 * x[:, 0] + x[:, 1], r=2, show=False, resolution=4)
    image = drawn.artists["image"]
    centres = np.array([-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_allclose(image.get_array(), 10 * centres + centres[:, None])
    assert image.get_extent() == [-2, 2, -2, 2]
    assert image.origin == "lower"
    assert image.get_clim() == (-16.5, 16.5)
    assert drawn.axes[0].get_xlim() == drawn.axes[0].get_ylim() == (-2, 2)
    assert image.colorbar is drawn.artists["colorbar"]
    assert png(drawn)


@pytest.mark.parametrize("model", [pk.Sequential([pk.Linear(2, 1, rng=0), pk.Sigmoid()]), lambda x: x[:, 0] > 0])
def test_show_pred_keeps_one_scale_for_probabilities(model: Any) -> None:
    assert show_pred(model, show=False).artists["image"].get_clim() == (0, 1)


def test_show_pred_of_a_constant() -> None:
    assert png(show_pred(lambda x: np.full(len(x), 7.0), show=False))


def test_show_pred_draws_into_given_axes() -> None:
    ax = axes()
    drawn = show_pred(lambda x: x[:, 0], ax=ax)  # `show` is True, but the axes are somebody else's
    assert drawn.axes[0] is ax
    assert drawn.figure is ax.figure


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": lambda x: x}, ValueError, r"one output for each point, got \(40000, 2\).*choose a column"),
        ({"model": lambda x: x[:, 0] / 0 * 0}, ValueError, "returned nan or inf"),
        ({"r": 0}, ValueError, "expected r of more than 0"),
        ({"r": -1}, ValueError, "expected r at least 0"),
        ({"r": "5"}, TypeError, "expected r to be a number"),
        ({"resolution": 0}, ValueError, "expected resolution of at least 1"),
        ({"model": None}, TypeError, "expected a model that can be called"),
        (
            {"model": pk.mlp([3, 1], rng=0)},
            ValueError,
            r"does not take two features; plot_decision_boundary draws .*Linear\(3, 1\)",
        ),
    ],
)
def test_show_pred_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(error, match=f"show_pred: .*{message}"):
        show_pred(**{"model": lambda x: x[:, 0], "show": False, **arguments})


def test_show_pred_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")  # else pyplot does not care that Agg has no windows
    drawn = show_pred(lambda x: x[:, 0])
    assert png(drawn)

    def no_display(*_: object, **__: object) -> None:
        raise ImportError("Cannot load backend 'TkAgg' which requires the 'tk' interactive framework")

    monkeypatch.setattr(plt, "figure", no_display)
    assert png(show_pred(lambda x: x[:, 0]))


class WindowManager(FigureManagerBase):
    """Stands for a window: remembers the figures that it shows."""

    shown: ClassVar[list[Figure]] = []

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        cls.shown += [plt.figure(number) for number in plt.get_fignums()]


class FigureCanvas(FigureCanvasAgg):
    manager_class = WindowManager


def test_show_pred_opens_a_window() -> None:
    matplotlib.use(f"module://{__name__}")
    WindowManager.shown.clear()
    show_pred(lambda x: x[:, 0], show=False)
    figure, ax = plt.subplots()
    show_pred(lambda x: x[:, 0], ax=ax)
    assert not WindowManager.shown
    plt.close(figure)
    drawn = show_pred(lambda x: x[:, 0])
    assert WindowManager.shown == [drawn.figure]
    plt.close(drawn.figure)  # as whoever closes the window does


# --- plot_history ---


def test_history_gives_each_quantity_a_panel() -> None:
    history = {"loss": [1.0, 0.5, 0.4], "accuracy": [0.5, 0.8, 0.9], "val_loss": [1.1, 0.7], "lr": [0.1, 0.1, 0.05], "val_f1": []}
    drawn = plot_history(history)
    assert [panel.get_ylabel() for panel in drawn.axes] == ["loss", "accuracy", "lr"]
    assert set(drawn.artists) == {"loss", "val_loss", "accuracy", "lr"}
    assert drawn.artists["val_loss"].axes is drawn.artists["loss"].axes is drawn.axes[0]
    for name, line in drawn.artists.items():
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(history[name]) + 1))
        np.testing.assert_array_equal(line.get_ydata(), history[name])
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["loss", "val_loss"]
    assert drawn.artists["loss"].get_color() != drawn.artists["val_loss"].get_color()
    assert drawn.artists["loss"].get_linestyle() != drawn.artists["val_loss"].get_linestyle()
    assert drawn.axes[1].get_legend() is None
    assert drawn.axes[2].get_xlabel() == "epoch"
    assert png(drawn)
    tops = [panel.get_position().y0 for panel in drawn.axes]
    assert tops == sorted(tops, reverse=True)  # one below the other


@pytest.mark.parametrize("lr", [[0.1], [0.1, 0.1, 0.1], [1.0, 0.5]])
@pytest.mark.parametrize("seconds", [[0.2], [0.2, 0.1, 0.3]])
def test_seconds_and_a_learning_rate_that_stays_are_drawn_only_when_asked_for(lr: list[float], seconds: list[float]) -> None:
    history = {"loss": [1.0, 0.5], "lr": lr, "seconds": seconds}
    assert list(plot_history(history).artists) == (["loss", "lr"] if len(set(lr)) > 1 else ["loss"])
    assert list(plot_history(history, ["lr", "loss"]).artists) == ["lr", "loss"]
    assert list(plot_history(history, "seconds").artists) == ["seconds"]
    assert list(plot_history({"lr": lr, "seconds": seconds}).artists) == (["lr"] if len(set(lr)) > 1 else ["lr", "seconds"])


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("loss", [3.0, 0.2, 0.1], "linear"),
        ("loss", [3.0, 0.1, 1e-3], "log"),
        ("loss", [0.5, 0.1, 1e-5], "log"),
        ("loss", [0.5, 1e-5, 0.0], "log"),
        ("loss", [0.0, 0.0], "linear"),
        ("loss", [1.0, 0.01], "log"),
        ("loss", [1.0, 0.01001], "linear"),
        ("loss", [5.0, 0.01, -1.0], "linear"),
        ("loss", [np.inf, np.nan], "linear"),
        ("lr", [0.1, 1e-3, 1e-5], "log"),
        ("accuracy", [0.001, 0.5, 0.99], "linear"),
        ("gradient norm", [2000.0, 1.0], "log"),
    ],
)
def test_history_is_logarithmic_over_decades(name: str, values: list[float], scale: str) -> None:
    drawn = plot_history({name: values})
    assert drawn.axes[0].get_yscale() == scale
    assert png(drawn)


def test_history_marks_what_is_not_finite() -> None:
    drawn = plot_history({"loss": [1.0, np.nan, 0.5, np.inf, None]})
    np.testing.assert_array_equal(drawn.artists["loss"].get_ydata(), [1, np.nan, 0.5, np.nan, np.nan])
    (crosses,) = (line for line in drawn.axes[0].lines if line is not drawn.artists["loss"])
    np.testing.assert_array_equal(crosses.get_xdata(), [2, 4, 5])
    assert drawn.axes[0].get_ylim() == pytest.approx((0.475, 1.025))  # the crosses do not stretch the scale
    assert "loss: nan or inf" in [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert png(drawn)


def test_history_marks_single_epochs() -> None:
    (line,) = plot_history({"loss": [0.5]}).artists.values()
    assert line.get_marker() == "o"
    (line,) = plot_history({"loss": np.linspace(1, 2, 100)}).artists.values()
    assert line.get_marker() in ("", "None")


@pytest.mark.parametrize("place", ["subplot", "free", "subfigure"])
def test_history_shares_the_place_of_given_axes(place: str) -> None:
    figure = Figure()
    left, right = figure.subfigures(1, 2)[0].subplots(1, 2) if place == "subfigure" else figure.subplots(1, 2)
    if place == "free":
        right.remove()
        right = figure.add_axes((0.55, 0.1, 0.4, 0.8))
    box = right.get_position()
    drawn = plot_history({"loss": [1, 2], "accuracy": [0, 1], "lr": [1, 2]}, ax=right)
    assert drawn.axes[0] is right
    assert drawn.figure is figure
    assert len(drawn.axes) == 3
    boxes = [panel.get_position() for panel in drawn.axes]
    assert boxes[0].y1 == pytest.approx(box.y1)
    assert boxes[-1].y0 == pytest.approx(box.y0)
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(boxes))
    assert all((panel.x0, panel.x1) == pytest.approx((box.x0, box.x1)) for panel in boxes)
    assert not left.has_data()


def test_a_single_quantity_leaves_given_axes_where_they_are() -> None:
    ax = Figure().add_axes((0.2, 0.3, 0.5, 0.6))
    assert plot_history({"loss": [1, 2], "val_loss": [2, 3]}, ax=ax).axes == [ax]
    assert ax.get_subplotspec() is None
    assert ax.get_position().bounds == pytest.approx((0.2, 0.3, 0.5, 0.6))


@pytest.mark.parametrize(
    ("history", "error", "message"),
    [
        ({}, ValueError, "got an empty history"),
        ({"loss": [], "val_loss": []}, ValueError, "got an empty history"),
        ([1.0, 0.5], TypeError, "expected a dict of lists.*got list"),
        (pk.Tanh(), TypeError, "expected a dict of lists.*got Tanh; fit returns it, and keeps it as optimizer.history"),
        (pk.SGD(pk.mlp([2, 1], rng=0)), TypeError, "got SGD; fit returns it, and keeps it as optimizer.history"),
        ({"loss": 0.5}, ValueError, r"one number an epoch under 'loss', got an array of shape \(\)"),
        ({"loss": [[1.0], [0.5]]}, ValueError, r"under 'loss', got an array of shape \(2, 1\)"),
        ({"loss": ["low"]}, TypeError, "expected numbers under 'loss'"),
        ({"loss": [[1.0], [0.5, 0.2]]}, TypeError, "expected numbers under 'loss'"),
    ],
)
def test_history_refuses(history: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"plot_history: .*{message}"):
        plot_history(history)


# --- matplotlib ---


def test_without_matplotlib() -> None:
    """Plotting imports without matplotlib; using it says how to get matplotlib."""
    code = """
import sys
import pancake as pk
from pancake.training.lr_finder import LearningRates
pk.plotting
assert "matplotlib" not in sys.modules
sys.modules["matplotlib"] = None  # as if it were not installed
model = pk.mlp([2, 1])
for function, *arguments in (
    (pk.show_pred, abs),
    (pk.plot_decision_boundary, abs, [[0, 0]], [0]),
    (pk.animate_training, abs, [[0, 0]], [0]),
    (pk.plot_history, {"loss": [1]}),
    (pk.plot_gradients, [{"0 Linear": 1}]),
    (pk.plot_learning_rates, LearningRates([1], [1], [1], 1)),
    (pk.plot_weights, model),
    (pk.plot_activations, model, [[0, 0], [1, 1]]),
):
    try:
        function(*arguments)
    except ImportError as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == 8 * "pancake.plotting needs matplotlib: pip install matplotlib\n", result.stderr


def test_pyplot_is_not_imported(tmp_path: Path) -> None:
    """With axes or a figure that are given, no function as much as imports it."""
    code = """
import sys
import numpy as np
from matplotlib.figure import Figure
import pancake as pk
X, model = np.array([[0, 0], [1, 1]]), pk.mlp([2, 3, 1])
film = pk.animate_training(lambda x: x[:, 0] > 0, X, [0, 1], resolution=5, figure=Figure())
film(0.5)
film.save(sys.argv[1], fps=1)
def ax():
    return Figure().add_subplot()
for drawn in (
    film,
    pk.show_pred(model, ax=ax()),
    pk.plot_decision_boundary(lambda x: x[:, 0] > 0, X, [0, 1], ax=ax()),
    pk.plot_decision_boundary(lambda x: x[:, 0] > 0, X[:, 0], [0, 1], ax=ax()),
    pk.plot_regression(model, X, [0.0, 1.0], ax=ax()),
    pk.plot_regression(lambda x: x, X[:, 0], [0.0, 1.0], ax=ax()),
    pk.plot_confusion_matrix([0, 1], [1, 1], ax=ax()),
    pk.plot_history({"loss": [1], "accuracy": [1]}, ax=ax()),
    pk.plot_gradients([pk.gradient_norms(model), {"0 Linear": 1, "2 Linear": 1}], ax=ax()),
    pk.plot_weights(model, figure=Figure()),
    pk.plot_activations(model, X, figure=Figure()),
):
    assert drawn._repr_png_().startswith(b"\\x89PNG"), drawn
assert "matplotlib.pyplot" not in sys.modules
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "film.gif")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
