"""Pictures as matplotlib's users type them: current axes, scales that are there, styles, data frames; by artists and pixels."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

import pancake as pk
from pancake.plotting.colors import class_colors, lab
from pancake.training.lr_finder import LearningRates

X, Y = pk.datasets.moons(40, noise=0.1, rng=0)
MODEL = pk.mlp([2, 6, 2], activation=pk.Tanh, rng=0)
NORMS = [{f"{i} Linear": 10.0 ** -(i + time) for i in range(4)} for time in range(5)]
RATES = LearningRates(np.geomspace(1e-5, 1, 9), np.linspace(2, 1, 9), np.linspace(2, 1, 9), 0.01)

# Those with one panel, and what they draw of.
ON_CURRENT_AXES: dict[str, Callable[..., Any]] = {
    "show_pred": lambda **o: pk.show_pred(lambda x: x[:, 0], **({"show": False} | o)),
    "plot_decision_boundary": lambda **o: pk.plot_decision_boundary(MODEL, X, Y, resolution=30, **o),
    "plot_decision_boundary of one feature": lambda **o: pk.plot_decision_boundary(lambda x: x > 0, X[:, 0], Y, **o),
    "plot_regression": lambda **o: pk.plot_regression(lambda x: x, X[:, 0], X[:, 1], **o),
    "plot_regression of two features": lambda **o: pk.plot_regression(lambda x: x[:, 0], X, X[:, 1], **o),
    "plot_confusion_matrix": lambda **o: pk.plot_confusion_matrix(Y, Y, **o),
    "plot_history": lambda **o: pk.plot_history({"loss": [3.0, 1.0, 0.01], "val_loss": [3.0, 2.0, 1.0]}, **o),
    "plot_gradients": lambda **o: pk.plot_gradients(NORMS, **o),
    "plot_learning_rates": lambda **o: pk.plot_learning_rates(RATES, **o),
}
WITH_PANELS: dict[str, Callable[..., Any]] = {
    "plot_weights": lambda **o: pk.plot_weights(MODEL, **o),
    "plot_activations": lambda **o: pk.plot_activations(MODEL, X, **o),
    "animate_training": lambda **o: pk.animate_training(MODEL, X, Y, resolution=20, **o),
    "plot_hidden_plane": lambda **o: pk.plot_hidden_plane(MODEL, X, Y, **o),
    "explain": lambda **o: pk.explain(MODEL, pk.CrossEntropy(), X, Y).plot(**o),
    "plot_history of two quantities": lambda **o: pk.plot_history({"loss": [1.0, 0.5], "accuracy": [0.5, 1.0]}, **o),
}
EVERY = ON_CURRENT_AXES | WITH_PANELS
one_panel = pytest.mark.parametrize("draw", ON_CURRENT_AXES.values(), ids=ON_CURRENT_AXES)
every = pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)


@pytest.fixture(autouse=True)
def _new_pyplot() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        plt.close("all")
        yield
        plt.close("all")


def pixels(figure: Figure | None = None) -> np.ndarray:
    file = io.BytesIO()
    (plt if figure is None else figure).savefig(file, format="png", dpi=50)
    file.seek(0)
    return np.asarray(plt.imread(file))[..., :3]


# --- pyplot's current axes ---


@one_panel
def test_what_pyplot_does_next_is_on_the_same_axes(draw: Callable[..., Any]) -> None:
    drawn = draw()
    assert plt.gca() is drawn.axes[0]
    assert plt.gcf() is drawn.figure
    before = pixels()
    plt.title("a title")
    points = plt.scatter([0.5], [0.5], s=400, color="magenta", zorder=9, transform=plt.gca().transAxes)
    assert points.axes is drawn.axes[0]
    assert drawn.axes[0].get_title() == "a title"
    after = pixels()
    assert np.abs(after - (1.0, 0.0, 1.0)).sum(axis=-1).min() < 0.02 < np.abs(before - (1.0, 0.0, 1.0)).sum(axis=-1).min()


@one_panel
def test_the_next_call_goes_on_with_axes_that_are_there(draw: Callable[..., Any]) -> None:
    _, (left, right) = plt.subplots(1, 2)
    plt.sca(left)
    assert draw().axes[0] is left
    assert len(plt.get_fignums()) == 1
    assert not right.has_data()


@every
def test_savefig_writes_the_picture(draw: Callable[..., Any]) -> None:
    draw()
    assert pixels().std() > 0.02
    assert plt.get_fignums() == [1]


@every
def test_layouts_that_are_typed_after_it_do_not_warn(draw: Callable[..., Any]) -> None:
    draw()
    plt.tight_layout()
    plt.subplots_adjust(left=0.2)
    assert pixels().std() > 0.02


@pytest.mark.parametrize("draw", WITH_PANELS.values(), ids=WITH_PANELS)
def test_several_panels_stand_on_a_new_figure(draw: Callable[..., Any]) -> None:
    plt.plot([0, 1])
    before = plt.gcf()
    drawn = draw()
    assert drawn.figure is plt.gcf() is not before
    assert len(before.axes) == 1


@pytest.mark.parametrize("draw", WITH_PANELS.values(), ids=WITH_PANELS)
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_several_panels_stand_on_an_empty_figure_that_is_there(draw: Callable[..., Any], layout: Any) -> None:
    figure = plt.figure(figsize=(12, 4), layout=layout)
    drawn = draw()
    assert drawn.figure is figure
    assert len(plt.get_fignums()) == 1
    assert tuple(figure.get_size_inches()) == (12, 4)
    figure.draw_without_rendering()
    boxes = [box for ax in drawn.axes if (box := ax.get_tightbbox())]
    if len(drawn.axes) <= 4:
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert draw().figure is not figure  # which is empty no longer


@pytest.mark.parametrize("draw", WITH_PANELS.values(), ids=WITH_PANELS)
def test_a_figure_whose_size_nobody_chose_gets_the_size_that_its_panels_need(draw: Callable[..., Any]) -> None:
    size = tuple(draw().figure.get_size_inches())
    figure = plt.figure()
    assert draw().figure is figure
    assert tuple(figure.get_size_inches()) == size


@pytest.mark.parametrize("draw", WITH_PANELS.values(), ids=WITH_PANELS)
def test_a_figure_with_a_title_or_parts_is_not_empty(draw: Callable[..., Any]) -> None:
    for write in (lambda: plt.suptitle("mine"), lambda: plt.gcf().subfigures(1, 2)):
        figure = plt.figure()
        write()
        assert draw().figure is not figure
        assert not figure.axes


@every
def test_given_places_leave_pyplot_alone(draw: Callable[..., Any]) -> None:
    figure = Figure()
    drawn = draw(**({"ax": figure.add_subplot()} if "ax" in _arguments(draw) else {"figure": figure}))
    assert drawn.figure is figure
    assert not plt.get_fignums()
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert pixels(figure).std() > 0.02


def _arguments(draw: Callable[..., Any]) -> set[str]:
    return {"figure"} if draw in list(WITH_PANELS.values())[:5] else {"ax"}


@every
def test_a_drawing_on_pyplots_figure_has_no_picture_of_its_own(draw: Callable[..., Any]) -> None:
    """A notebook shows that of pyplot; it would show two."""
    drawn = draw()
    assert drawn._repr_png_() is None
    plt.close("all")
    assert drawn._repr_png_() is None
    assert repr(drawn).startswith(f"<{type(drawn).__name__} on ")
    assert len(repr(drawn)) < 200


def test_mistakes_leave_no_figure_behind() -> None:
    with pytest.raises(ValueError, match="expected y"):
        pk.plot_decision_boundary(MODEL, X, Y[:3])
    with pytest.raises(ValueError, match="class_names"):
        pk.plot_decision_boundary(MODEL, X, Y, class_names=["a"])
    with pytest.raises(ValueError, match="one output for each point"):
        pk.show_pred(MODEL)
    layer = pk.Linear(2, 1, rng=0)
    layer.weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="nan or inf"):
        pk.plot_weights(layer)
    assert not plt.get_fignums()


def test_show_pred_in_a_loop_has_one_colour_bar() -> None:
    for r in (1, 2, 3):
        drawn = pk.show_pred(lambda x: x[:, 0], r, show=False)
    assert len(plt.gcf().axes) == 2
    assert plt.gca() is drawn.axes[0]
    assert drawn.axes[0].get_xlim() == (-3, 3)
    assert pixels().std() > 0.02


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_legend_of_what_is_drawn_on_top(scale: str) -> None:
    plt.xscale(scale)
    pk.show_pred(lambda x: x[:, 0], show=False)
    plt.plot([1, 2], [1, 2], label="mine")
    assert [text.get_text() for text in plt.legend().get_texts()] == ["mine"]


def test_axes_and_figure_are_not_given_together() -> None:
    with pytest.raises(ValueError, match="plot_weights: expected axes or figure, got both"):
        pk.plot_weights(MODEL, axes=Figure().subplots(4), figure=Figure())


WITH_AX = {name: draw for name, draw in EVERY.items() if "figure" not in _arguments(draw)}
with_ax = pytest.mark.parametrize("draw", WITH_AX.values(), ids=WITH_AX)


@with_ax
def test_an_array_of_axes_is_no_axes(draw: Callable[..., Any]) -> None:
    with pytest.raises(
        TypeError, match=r"(plot|show)_\w+: expected ax to be one matplotlib Axes, got an array of 2; pass ax\[0\]"
    ):
        draw(ax=Figure().subplots(1, 2))


@with_ax
def test_axes_in_space_are_refused(draw: Callable[..., Any]) -> None:
    message = r"(plot|show)_\w+: expected axes with an x and a y, got 3d ones, .*; make axes without projection='3d'"
    with pytest.raises(ValueError, match=message):
        draw(ax=Figure().add_subplot(projection="3d"))
    plt.axes(projection="3d")
    if draw in ON_CURRENT_AXES.values():
        with pytest.raises(ValueError, match=message):
            draw()


@pytest.mark.parametrize(
    ("ax", "message"),
    [
        (Figure().subplots(2, 3), r"got an array of shape \(2, 3\); pass ax\[0, 0\]"),
        (list(Figure().subplots(3)), r"got a list of 3; pass ax\[0\]"),
        ((Figure(), Figure().subplots()), r"got a tuple of 2; pass ax\[1\]"),  # of ax = plt.subplots()
        ((Figure(), 1), r"got a tuple of 2$"),
        (Figure(), r"got a Figure; pass one of its axes, such as figure.add_subplot\(\)"),
        (0, r"got 0; plt.subplots\(\) and figure.add_subplot\(\) make axes"),
    ],
)
def test_what_is_no_axes_is_refused_with_the_way_out(ax: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"plot_decision_boundary: expected ax to be one matplotlib Axes, {message}"):
        pk.plot_decision_boundary(MODEL, X, Y, ax=ax)


@pytest.mark.parametrize("name", ["plot_weights", "plot_activations", "animate_training", "plot_hidden_plane"])
def test_each_of_several_axes_is_looked_at(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}: expected axes\[1\] to be one matplotlib Axes, got None"):
        WITH_PANELS[name](axes=[Figure().subplots(), None])
    with pytest.raises(ValueError, match=rf"{name}: expected axes with an x and a y, got 3d ones"):
        WITH_PANELS[name](axes=[Figure().add_subplot(projection="3d")])


# --- scales ---


LOGARITHMIC = [(name, "log") for name in ON_CURRENT_AXES if name != "plot_confusion_matrix"]  # whose axes are its classes


@pytest.mark.parametrize(("name", "scale"), [*LOGARITHMIC, ("plot_decision_boundary", "symlog"), ("plot_history", "symlog")])
def test_an_axis_that_is_logarithmic_stays_so(name: str, scale: str) -> None:
    draw = ON_CURRENT_AXES[name]
    plt.xscale(scale)
    plt.yscale(scale)
    drawn = draw()
    assert drawn.axes[0].get_xscale() == scale
    assert drawn.axes[0].get_yscale() == scale
    assert pixels().std() > 0.02


def test_the_boundary_lies_where_it_belongs_on_logarithmic_axes() -> None:
    points = np.array([[1e-3, 1e-3], [1e3, 1e3], [1e-3, 1e3], [1e3, 1e-2]])
    plt.xscale("log")
    plt.yscale("log")
    drawn = pk.plot_decision_boundary(lambda x: 1 / (1 + 1 / (x[:, 0] * x[:, 1])), points, [0, 1, 1, 1], resolution=60)
    (line,) = drawn.artists["boundary"]
    border = np.concatenate([path.vertices for path in line.get_paths()])
    np.testing.assert_allclose(np.log10(border).sum(axis=1), 0, atol=0.02)
    assert drawn.axes[0].get_xlim()[0] > 0
    np.testing.assert_allclose(np.log10(drawn.axes[0].get_xlim()), [-3.6, 3.6])
    # to the pixel: blue below the line from the upper left to the lower right, orange above it
    canvas, box = pixels(), drawn.axes[0].get_position()
    height, width = canvas.shape[:2]

    def colour(x: float, y: float) -> np.ndarray:
        column = int((box.x0 + x * box.width) * width)
        return canvas[int((1 - box.y0 - y * box.height) * height), column]

    assert colour(0.3, 0.3).argmax() == 2
    assert colour(0.7, 0.7).argmin() == 2


def test_points_that_a_logarithmic_axis_cannot_show() -> None:
    plt.xscale("log")
    drawn = pk.plot_decision_boundary(lambda x: x[:, 0] > 3, [[-1.0, 0], [1, 1], [10, 2]], [0, 0, 1], resolution=20)
    np.testing.assert_allclose(drawn.axes[0].get_xlim(), 10 ** np.array([-0.1, 1.1]))
    plt.close("all")
    plt.xscale("log")
    with pytest.raises(ValueError, match="no point has a feature 0 that its log axis can show"):
        pk.plot_decision_boundary(lambda x: x[:, 0] > 3, [[-1.0, 0], [0.0, 1]], [0, 0])


# --- colours, styles, legends ---


@pytest.mark.parametrize("count", [2, 8, 9, 12, 13, 20, 30])
def test_colours_of_classes_are_told_apart(count: int) -> None:
    colors = lab(class_colors(count))
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e3 * np.eye(count)
    assert apart.min() > 20
    assert np.linalg.norm(colors - lab([1.0, 1.0, 1.0]), axis=1).min() > 20  # white is where no class wins
    np.testing.assert_array_equal(class_colors(30)[:count], class_colors(30)[:count])


def test_lab_is_that_of_the_standard() -> None:
    """White, black, and the primaries of sRGB, as tables give them."""
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), expected, atol=0.05)


def hidden(figure: Figure) -> list[str]:
    """The texts that have nearly the colour of what is behind them."""
    found = []
    for ax in figure.axes:
        for text in ax.findobj(Text):
            behind = ax.get_facecolor() if text in ax.texts else figure.get_facecolor()
            apart = np.linalg.norm(lab(to_rgba(text.get_color())[:3]) - lab(to_rgba(behind)[:3]))
            if text.get_text().strip() and text.get_visible() and apart < 30:
                found.append(text.get_text())
    return found


@every
@pytest.mark.parametrize("style", ["dark_background", "ggplot"])
def test_every_text_is_seen_in_every_style(draw: Callable[..., Any], style: str) -> None:
    with plt.style.context(style):
        drawn = draw()
        assert not hidden(drawn.figure)


@every
def test_lines_are_seen_on_a_dark_background(draw: Callable[..., Any]) -> None:
    with plt.style.context("dark_background"):
        for ax in draw().axes:
            shaded = bool(ax.images or ax.collections)  # which the lines then stand on
            for line in ax.lines:
                assert shaded or np.linalg.norm(lab(to_rgba(line.get_color())[:3]) - lab([0.0, 0.0, 0.0])) > 30


@pytest.mark.parametrize(
    ("count", "layout", "name"),
    [
        (12, "pyplot", "class {}"),
        (30, "pyplot", "class {}"),
        (30, "none", "the {}th of many classes"),
        (30, "tight", "the {}th of many classes"),
        (30, "constrained", "class {}"),
        (90, "none", "the {}th of many classes with long names"),
    ],
)
def test_long_legends_fit(count: int, layout: str, name: str) -> None:
    points, y = pk.datasets.blobs(count, noise=0, centers=count)
    names = {c: name.format(c) for c in range(count)}
    ax = None if layout == "pyplot" else Figure(layout=None if layout == "none" else layout).add_subplot()  # type: ignore[arg-type]
    drawn = pk.plot_decision_boundary(lambda x: x @ points.T, points, y, resolution=10, class_names=names, ax=ax)
    drawn.figure.draw_without_rendering()
    legend, axes = drawn.artists["legend"].get_window_extent(), drawn.axes[0].get_window_extent()
    assert legend.x0 >= axes.x1
    assert legend.x1 <= drawn.figure.bbox.x1 + 1
    assert legend.y0 >= -1
    assert axes.width > 0.25 * drawn.figure.bbox.width
    texts = [text.get_text() for text in drawn.artists["legend"].get_texts()]
    if len(texts) < count:
        assert texts[-1] == f"... {count - len(texts) + 1} more"
        assert count == 90
    assert texts[:9] == [names[c] for c in range(9)]


def test_calls_on_the_same_axes_make_room_once() -> None:
    points, y = pk.datasets.blobs(20, noise=0, centers=20)
    plt.figure()
    widths = []
    for _ in range(3):
        drawn = pk.plot_decision_boundary(lambda x: x @ points.T, points, y, resolution=10)
        widths.append(drawn.axes[0].get_window_extent().width)
    assert widths[0] == pytest.approx(widths[-1])


# --- names ---


class Frame:
    """As much of a data frame as is looked at."""

    def __init__(self, columns: list[Any], values: Any) -> None:
        self.columns, self.values = columns, np.asarray(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values.astype(dtype or self.values.dtype)

    def __len__(self) -> int:
        return len(self.values)


FRAME = Frame(["bill", "flipper", "mass"], np.column_stack([X, X[:, 0]]))


def test_columns_of_data_frames_name_the_axes_and_the_features() -> None:
    drawn = pk.plot_decision_boundary(lambda x: x[:, 0] > 0, FRAME, Y, resolution=5)
    assert (drawn.axes[0].get_xlabel(), drawn.axes[0].get_ylabel()) == ("bill", "flipper")
    seen = []

    def model(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return x[:, 2] > 0

    drawn = pk.plot_decision_boundary(model, FRAME, Y, features=("mass", "bill"), fixed={"flipper": 7.0}, resolution=5)
    assert (drawn.axes[0].get_xlabel(), drawn.axes[0].get_ylabel()) == ("mass", "bill")
    np.testing.assert_array_equal(drawn.artists["train"].get_offsets(), FRAME.values[:, [2, 0]])
    np.testing.assert_array_equal(np.concatenate(seen)[:25, 1], 7.0)
    drawn = pk.plot_decision_boundary(model, FRAME, Y, features="mass")
    assert drawn.axes[0].get_xlabel() == "mass"
    drawn = pk.plot_decision_boundary(model, FRAME, Y, feature_names=["a", "b", "c"], features=("c", 1), resolution=5)
    assert (drawn.axes[0].get_xlabel(), drawn.axes[0].get_ylabel()) == ("c", "b")
    drawn = pk.plot_decision_boundary(model, Frame([0, 1, 2], FRAME.values), Y, resolution=5)
    assert drawn.axes[0].get_xlabel() == "feature 0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"features": ("bill", "wing")},
            "expected a feature by index or by name, got 'wing'; there are one of 'bill', 'flipper'",
        ),
        ({"features": ("bill", "bill")}, "two different features"),
        ({"fixed": {"bill": 1.0}}, "features other than .* got one of feature 'bill'"),
        ({"X_test": Frame(["flipper", "bill", "mass"], FRAME.values), "y_test": Y}, "expected X_test with the columns of X"),
    ],
)
def test_names_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"plot_decision_boundary: .*{message}"):
        pk.plot_decision_boundary(lambda x: x[:, 0] > 0, FRAME, Y, resolution=5, **options)


def test_class_names_by_class() -> None:
    drawn = pk.plot_decision_boundary(MODEL, X, Y, resolution=5, class_names={1: "up"})
    assert [text.get_text() for text in drawn.artists["legend"].get_texts()] == ["class 0", "up"]
    drawn = pk.plot_confusion_matrix(Y, Y, class_names={np.int64(0): "down", 1: "up"})
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["down", "up"]
    with pytest.raises(ValueError, match=r"keys from 0 to 1, got 'up'; \{c: name for name, c in class_names.items\(\)\}"):
        pk.plot_decision_boundary(MODEL, X, Y, class_names={"up": 1})
    with pytest.raises(ValueError, match="keys from 0 to 1, got 2"):
        pk.plot_decision_boundary(MODEL, X, Y, class_names={2: "up"})
    with pytest.raises(TypeError, match="expected class_names, one for each class, got 'ab'"):
        pk.plot_decision_boundary(MODEL, X, Y, class_names="ab")


# --- one feature ---


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_feature(shape: tuple[int, ...]) -> None:
    x = np.array([0.0, 1.0, 3.0, 4.0]).reshape(shape)
    drawn = pk.plot_decision_boundary(lambda x: 1 / (1 + np.exp(4 - 2 * x)), x, [0, 0, 1, 1], class_names=["low", "high"])
    (border,) = drawn.artists["boundary"]
    assert border.get_xdata()[0] == pytest.approx(2, abs=1e-3)
    low, high = drawn.artists["curves"]
    np.testing.assert_allclose(low.get_ydata() + high.get_ydata(), 1)
    np.testing.assert_allclose(high.get_ydata(), 1 / (1 + np.exp(4 - 2 * high.get_xdata())))
    np.testing.assert_array_equal(drawn.artists["train"].get_offsets(), [[0, 0], [1, 0], [3, 1], [4, 1]])
    assert (drawn.axes[0].get_xlabel(), drawn.axes[0].get_ylabel()) == ("feature 0", "probability")
    assert drawn.axes[0].get_title() == "accuracy 100.0%"
    left, right = pixels()[100, [60, 230]]
    assert left.argmax() == 2
    assert right.argmin() == 2


def test_one_feature_of_several_and_three_classes() -> None:
    points = np.array([[5.0, 0.0], [6.0, 1.0], [9.0, 2.0]])
    drawn = pk.plot_decision_boundary(
        lambda x: -np.abs(x[:, 1:] - [0, 1, 2]), points, [0, 1, 2], features=1, X_test=points, y_test=[0, 1, 1]
    )
    assert [round(float(line.get_xdata()[0]), 2) for line in drawn.artists["boundary"]] == [0.5, 1.5]
    np.testing.assert_array_equal(drawn.artists["train"].get_offsets(), [[0, 0], [1, 0.5], [2, 1]])
    np.testing.assert_array_equal(drawn.artists["test"].get_offsets(), [[0, 0], [1, 0.5], [2, 0.5]])
    assert drawn.axes[0].get_title() == "accuracy: train 100.0%, test 66.7%"


def test_a_film_of_one_feature() -> None:
    places = iter([1.0, 2.0])
    place = [0.0]
    film = pk.animate_training(lambda x: x[:, 0] > place[0], X[:, 0], Y, resolution=20)
    for loss, place[0] in zip((0.5, 0.2), places, strict=True):
        film(loss)
    film.show_frame(-1)
    assert film.artists["curves"][1].get_ydata().mean() < 0.5
    assert pixels(film.figure).std() > 0.02


# --- history ---


HISTORY = {"loss": [1.0, 0.5], "accuracy": [0.5, 0.9], "val_loss": [1.0, 0.6], "val_accuracy": [0.4, 0.8], "lr": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ("loss", [["loss", "val_loss"]]),
        (["accuracy", "loss"], [["accuracy", "val_accuracy"], ["loss", "val_loss"]]),
        (["val_loss"], [["val_loss"]]),
        (None, [["loss", "val_loss"], ["accuracy", "val_accuracy"], ["lr"]]),
    ],
)
def test_metrics_choose_what_is_drawn(metrics: Any, names: list[list[str]]) -> None:
    history = pk.History(HISTORY)
    for draw in (lambda: history.plot(metrics=metrics), lambda: history.plot(metrics), lambda: pk.plot_history(HISTORY, metrics)):
        drawn = draw()
        assert [[line.get_label() for line in ax.lines] for ax in drawn.axes] == names
        plt.close("all")


def test_metrics_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"plot_history: expected metrics out of 'loss', 'accuracy', .*, got 'f1'"):
        pk.History(HISTORY).plot(metrics=["loss", "f1"])


# --- weights of any size ---


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 1), np.float16), ((1, 5000), np.float32), ((5000, 1), np.longdouble), ((700, 900), np.float64)]
)
def test_layers_of_any_size(shape: tuple[int, int], dtype: Any) -> None:
    n_out, n_in = shape
    drawn = pk.plot_weights(pk.Linear(n_in, n_out, rng=0).astype(dtype))
    shown = drawn.artists["weight"].get_array().shape
    assert shown == shape if max(shape) <= 2048 else max(shown) > 1024
    assert drawn.axes[0].get_xlim() == (-0.5, n_in - 0.5)
    assert drawn.axes[0].get_ylim() == (n_out - 0.5, -0.5)
    assert drawn.axes[0].get_xlabel() == "axis 1"
    assert drawn.axes[0].get_ylabel() == "axis 0"
    assert pixels().std() > 0.02


def test_arrays_of_many_axes_and_many_layers() -> None:
    class Kernel(pk.Function):
        def __init__(self) -> None:
            self.k, self.grad_k = np.ones((3, 2, 5, 5)), np.zeros((3, 2, 5, 5))
            self.s, self.grad_s = np.ones(()), np.zeros(())

    drawn = pk.plot_weights(Kernel())
    assert drawn.artists["k"].get_array().shape == (3, 50)
    assert drawn.axes[0].get_xlabel() == "axes 1 to 3, one after the other"
    plt.close("all")
    drawn = pk.plot_weights(pk.mlp([3] * 13, rng=0))
    assert len(drawn.axes) == 24
    plt.close("all")
    drawn = pk.plot_weights(pk.Sequential([pk.Mul(1.0) for _ in range(40)]))
    boxes = [ax.get_tightbbox() for ax in drawn.axes]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    assert not any(a.overlaps(b) for a, b in zip(boxes, boxes[4:], strict=False))
    plt.close("all")
    drawn = pk.plot_weights(pk.mlp([3] * 13, rng=0))
    boxes = [ax.get_window_extent() for ax in drawn.axes]
    drawn.figure.draw_without_rendering()
    assert min(box.width for box in boxes) > 20


# --- a legend of the user's ---


def legend_texts() -> list[str]:
    legend = plt.gca().get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_a_legend_that_is_asked_for_again_has_our_entries_and_the_users() -> None:
    pk.plot_decision_boundary(MODEL, X, Y, X_test=X, y_test=Y, class_names=["up", "down"], resolution=30)
    limits = plt.gca().get_xlim(), plt.gca().get_ylim()
    ours = legend_texts()
    assert ours == ["up", "down", "train", "test"]
    plt.legend()
    assert legend_texts() == ours
    plt.scatter([0], [0], marker="*", label="mine")
    plt.plot([0, 1], [0, 0.5], label="a line")
    plt.legend(loc="upper left")
    assert sorted(legend_texts()) == sorted([*ours, "mine", "a line"])
    assert (plt.gca().get_xlim(), plt.gca().get_ylim()) == limits
    (first, *_) = plt.gca().get_legend().legend_handles
    assert to_rgba(first.get_color()) == pytest.approx((*class_colors(2)[0], 1.0))


def test_a_second_picture_on_the_same_axes_has_its_own_entries_alone() -> None:
    pk.plot_decision_boundary(MODEL, X, Y, class_names=["up", "down"], resolution=30)
    pk.plot_decision_boundary(MODEL, X, Y, class_names=["left", "right"], resolution=30)
    plt.legend()
    assert legend_texts() == ["left", "right"]


def test_without_a_legend_of_ours_the_users_has_the_users_entries() -> None:
    pk.plot_decision_boundary(MODEL, X, Y, resolution=30, legend=False)
    plt.plot([0, 1], [0, 0.5], label="mine")
    plt.legend()
    assert legend_texts() == ["mine"]
