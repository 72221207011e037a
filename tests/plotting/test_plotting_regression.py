"""Curves of regressions, predictions beside the truth, and confusion matrices, by the artists they leave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import pancake as pk
from pancake.plotting import COLORS, plot_confusion_matrix, plot_regression

X = np.random.default_rng(0).normal(size=(30, 3))
Y = X @ [1.0, 2.0, 3.0]


@pytest.fixture(autouse=True)
def _new_pyplot() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        plt.close("all")
        yield
        plt.close("all")


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- plot_regression ---


def test_one_feature_has_a_curve() -> None:
    x, y = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 1.0, 2.5, 4.0])
    drawn = plot_regression(lambda x: x[:, 0], x, y, X_test=[[3.0]], y_test=[3.5], resolution=50)
    (curve,), (train,), (test,) = (drawn.artists[name] for name in ("curve", "train", "test"))
    np.testing.assert_allclose(curve.get_xdata(), curve.get_ydata())
    assert len(curve.get_xdata()) == 50
    assert drawn.axes[0].get_xlim() == pytest.approx((-0.2, 4.2))
    np.testing.assert_array_equal(train.get_offsets(), np.column_stack([x, y]))
    np.testing.assert_array_equal(test.get_offsets(), [[3, 3.5]])
    assert legend(drawn.axes[0]) == ["train", "test", "model"]
    assert drawn.axes[0].get_title() == f"R²: train {pk.r2_score(x, y):.3f}, test undefined"
    assert (drawn.axes[0].get_xlabel(), drawn.axes[0].get_ylabel()) == ("feature 0", "y")


def test_several_features_have_predicted_against_true() -> None:
    drawn = plot_regression(lambda x: x @ np.array([[1.0], [2.0], [3.5]]), X, Y)
    (train,) = drawn.artists["train"]
    np.testing.assert_allclose(train.get_offsets(), np.column_stack([Y, X @ [1.0, 2.0, 3.5]]))
    np.testing.assert_array_equal(drawn.artists["diagonal"].get_xdata(), drawn.artists["diagonal"].get_ydata())
    assert (drawn.axes[0].get_xlabel(), drawn.axes[0].get_ylabel()) == ("true", "predicted")
    assert drawn.axes[0].get_title() == f"R² {pk.r2_score(X @ [1.0, 2.0, 3.5], Y):.3f}"
    assert "curve" not in drawn.artists


def test_a_curve_over_one_of_several_features() -> None:
    drawn = plot_regression(lambda x: x @ [1.0, 2.0, 3.0], X, Y, features=1, fixed={0: 5.0}, feature_names=["a", "b", "c"])
    (curve,) = drawn.artists["curve"]
    np.testing.assert_allclose(curve.get_ydata(), 5 + 2 * curve.get_xdata() + 3 * X[:, 2].mean())
    assert drawn.axes[0].get_xlabel() == "b"


def test_a_model_of_pancake_with_two_outputs_and_names() -> None:
    class Frame:
        columns = ("u", "v")
        shape = (30, 2)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return X[:, :2]

    model = pk.mlp([3, 4, 2], rng=0)
    drawn = plot_regression(model, X, Frame())  # type: ignore[arg-type]
    assert legend(drawn.axes[0]) == ["u, train", "v, train", "predicted = true"]
    np.testing.assert_allclose(drawn.artists["train"][1].get_offsets()[:, 1], pk.predict(model, X)[:, 1])
    assert drawn.artists["train"][1].get_facecolors()[0][:3] == pytest.approx(to_rgb(COLORS[1]))
    drawn = plot_regression(lambda x: x[:, 0], X, Y, target_names="mass", ax=Figure().add_subplot(), legend=False)
    assert drawn.axes[0].get_ylabel() == "predicted: mass"
    assert drawn.axes[0].get_legend() is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": Y[:5]}, ValueError, r"expected y \(30,\) or \(30, K\), got \(5,\)"),
        ({"y": np.full(30, np.nan)}, ValueError, "y holds nan or inf"),
        ({"y": ["a"] * 30}, TypeError, "expected y to be real numbers"),
        ({"model": lambda x: x}, ValueError, "expected 1 outputs, one for each column of y, got 3"),
        ({"X_test": X}, ValueError, "expected X_test and y_test together"),
        ({"X_test": X, "y_test": np.ones((30, 2))}, ValueError, r"expected y_test \(N, 1\)"),
        ({"features": (0, 1)}, ValueError, "expected one feature"),
        ({"fixed": {0: 1.0}}, ValueError, "expected fixed together with features"),
        ({"target_names": ["a", "b"]}, ValueError, "expected 1 target_names"),
        ({"model": None}, TypeError, "expected a model that can be called"),
    ],
)
def test_regressions_that_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"plot_regression: .*{message}"):
        plot_regression(**{"model": lambda x: x[:, 0], "X": X, "y": Y, **change})
    assert not plt.get_fignums()


# --- plot_confusion_matrix ---


def test_counts_stand_in_the_cells() -> None:
    pred, target = [0, 1, 1, 2, 2, 2], [0, 1, 0, 2, 2, 2]
    drawn = plot_confusion_matrix(pred, target, class_names=["a", "b", "c"])
    table = pk.confusion_matrix(pred, target)
    assert [text.get_text() for text in drawn.artists["numbers"]] == [str(n) for n in table.ravel()]
    places = [text.get_position() for text in drawn.artists["numbers"]]
    assert places[1] == (1, 0)  # x is the prediction, y the truth
    np.testing.assert_allclose(drawn.artists["image"].get_array(), table / table.sum(axis=1, keepdims=True))
    (ax,) = drawn.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("predicted", "true", "accuracy 83.3%")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_ylim() == (2.5, -0.5)  # the first class is at the top


def test_scores_weights_and_classes_that_do_not_occur() -> None:
    scores = np.eye(3)[[0, 1, 1]]
    drawn = plot_confusion_matrix(scores, [0, 1, 0], weight=[0.5, 1.0, 1.0])
    assert [text.get_text() for text in drawn.artists["numbers"]] == ["0.5", "1", "0", "0", "1", "0", "0", "0", "0"]
    np.testing.assert_array_equal(drawn.artists["image"].get_array()[2], 0)  # no example, and no division by zero
    assert len(plot_confusion_matrix([0, 1], [1, 1], class_names=["a", "b", "c"]).artists["numbers"]) == 9
    assert len(plot_confusion_matrix([0.2, 0.9], [0, 1], threshold=0.5).artists["numbers"]) == 4


@pytest.mark.parametrize("count", [10, 30, 40, 41, 200])
def test_tables_of_many_classes(count: int) -> None:
    y = np.arange(count)
    drawn = plot_confusion_matrix(y, y, class_names=[f"class number {c}" for c in range(count)])
    drawn.figure.draw_without_rendering()
    numbers, (ax,) = drawn.artists["numbers"], drawn.axes
    assert len(numbers) == (count * count if count <= 40 else 0)
    width = ax.get_window_extent().width / count
    assert all(text.get_window_extent().width <= width + 1 for text in numbers[:40])
    labels = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(upper.y0 >= lower.y0 for upper, lower in itertools.pairwise(labels))
    assert sum(upper.overlaps(lower) for upper, lower in itertools.pairwise(labels)) <= len(labels) // 2
    assert min(label.x0 for label in labels) >= 0
    assert drawn.axes[0].get_title() == "accuracy 100.0%"


@pytest.mark.parametrize(
    ("names", "rotation"),
    [
        (["aeroplane", "automobile", "bird", "cat"], 0),
        (["illicit lilt", "filial fill", "little lily", "illiteral"], 0),
        (["WWWWWWW", "MMMMMMM", "WMWMWMW", "WWWMMM", "MMMM", "WWWWW"], 90),
        (["Adelie penguin (Pygoscelis adeliae)", "Chinstrap penguin (Pygoscelis antarcticus)", "Gentoo penguin"], 90),
        (["of the north and of the east", "of the south and of the west"], 0),
    ],
)
def test_names_that_do_not_fit_beside_each_other_are_turned(names: list[str], rotation: float) -> None:
    drawn = plot_confusion_matrix(np.arange(len(names)), np.arange(len(names)), class_names=names)
    drawn.figure.draw_without_rendering()
    labels = drawn.axes[0].get_xticklabels()
    assert {label.get_rotation() for label in labels} == {rotation}
    boxes = [label.get_window_extent() for label in labels]
    assert not any(left.overlaps(right) for left, right in itertools.pairwise(boxes))


def test_long_names_leave_room_for_the_numbers() -> None:
    target = np.repeat(np.arange(4), 30_000)
    names = [
        "a very very long name of a class indeed",
        "b\nb",
        "Chinstrap penguin of the north",
        "a long name with $x_1 + x_2$ in it",
    ]
    drawn = plot_confusion_matrix(target[::-1], target, class_names=names)
    drawn.figure.draw_without_rendering()
    boxes = [number.get_window_extent() for number in drawn.artists["numbers"]]
    assert not any(left.overlaps(right) for left, right in itertools.pairwise(boxes))
    assert drawn.axes[0].get_window_extent().width > 0.3 * drawn.figure.bbox.width
    shown = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert shown == ["a very very long name of\na class indeed", names[1], "Chinstrap penguin of\nthe north", names[3]]
    target = np.repeat(np.arange(6), 30_000)
    plt.close("all")  # the next one has a figure of its own, which is laid out
    more = plot_confusion_matrix(target[::-1], target, class_names=[f"class {i} {'long words ' * 3}" for i in range(6)])
    more.figure.draw_without_rendering()
    boxes = [number.get_window_extent() for number in more.artists["numbers"]]
    assert not any(left.overlaps(right) for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("kind", [list, np.array, lambda names: np.array(names, dtype=object)])
def test_labels_may_be_names(kind: Any) -> None:
    pred, target = kind(["ham", "spam", "spam", "ham"]), kind(["ham", "spam", "ham", "ham"])

    def seen(**options: Any) -> tuple[list[str], list[str]]:
        drawn = plot_confusion_matrix(pred, target, **options)
        labels = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
        plt.close("all")
        return labels, [text.get_text() for text in drawn.artists["numbers"]]

    assert seen() == (["ham", "spam"], ["2", "1", "0", "1"])
    assert seen(class_names=["spam", "ham"]) == (["spam", "ham"], ["1", "0", "1", "2"])
    assert seen(class_names={0: "spam", 1: "ham"}) == seen(class_names=["spam", "ham"])
    assert seen(class_names=["ham", "spam", "eggs"])[0] == ["ham", "spam", "eggs"]
    with pytest.raises(ValueError, match="expected class_names with all names in pred and target, got none for 'spam'"):
        seen(class_names=["ham", "eggs"])
    with pytest.raises(TypeError, match=r"got names in pred and none in target; np.array\(class_names\)\[target\] makes names"):
        plot_confusion_matrix(pred, [0, 1, 0, 0])


def test_confusion_matrices_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^plot_confusion_matrix: .*") as error:
        plot_confusion_matrix([0, 1, 2], [0, 1])
    assert "confusion_matrix: confusion" not in str(error.value)
    with pytest.raises(ValueError, match="expected 3 class_names, one for each class, got 2"):
        plot_confusion_matrix([0, 1, 2], [0, 1, 2], class_names=["a", "b"])
    assert not plt.get_fignums()
