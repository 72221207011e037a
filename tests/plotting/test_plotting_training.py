"""Pictures of a training from the inside: films, gradients, learning rates, weights and dead units, by the artists they leave."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import pancake as pk
from pancake.plotting import (
    Drawing,
    TrainingAnimation,
    animate_training,
    plot_activations,
    plot_gradients,
    plot_learning_rates,
    plot_weights,
)
from pancake.training.lr_finder import LearningRates


def png(drawn: Drawing) -> bytes:
    """The picture, drawn to the end: some of matplotlib's warnings come only then."""
    file = io.BytesIO()
    drawn.figure.savefig(file, format="png")
    return file.getvalue()


SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.fixture(autouse=True)
def _new_pyplot() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        plt.close("all")
        yield
        plt.close("all")


class Line:
    """A model whose boundary is where feature 0 is `place`."""

    def __init__(self) -> None:
        self.place = 0.25

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-8 * (x[:, 0] - self.place)))


def place_of_boundary(film: TrainingAnimation) -> float:
    """Where the boundary line is, which must be upright."""
    points = np.concatenate([path.vertices for line in film.artists["boundary"] for path in line.get_paths()])
    assert np.ptp(points[:, 0]) < 1e-6
    return float(points[0, 0])


# --- animate_training ---


def test_a_film_of_a_loop() -> None:
    model = Line()
    film = animate_training(model, SQUARE, [0, 0, 1, 1], every=2, resolution=40)
    assert film.axes[0].get_title() == "epoch 0, accuracy 100.0%"
    limits = film.axes[0].get_xlim(), film.axes[0].get_ylim()
    for epoch, loss in enumerate([4.0, 3.0, 2.0, 1.5, 1.0], start=1):
        model.place = 0.25 + 0.2 * epoch
        film(loss)
    assert [epoch for epoch, _ in film.frames] == [0, 2, 4]
    for index, (epoch, place, accuracy) in enumerate([(0, 0.25, 100), (2, 0.65, 100), (4, 1.05, 50)]):
        film.show_frame(index)
        assert place_of_boundary(film) == pytest.approx(place, abs=0.02)
        assert film.axes[0].get_title() == f"epoch {epoch}, accuracy {accuracy:.1f}%"
        assert (film.axes[0].get_xlim(), film.axes[0].get_ylim()) == limits
        line = film.artists["loss"]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, epoch + 1))
        np.testing.assert_array_equal(line.get_ydata(), [4.0, 3.0, 2.0, 1.5][:epoch])
        assert film.axes[1].get_xlim() == (0, 5)
        assert film.axes[1].get_ylim() == pytest.approx((0, 4.2))
        assert len(film.axes[0].collections) == 2, "an old boundary is still there"  # the points and one line


def test_a_film_of_fit_with_validation_and_three_classes(tmp_path: Path) -> None:
    X, y = pk.datasets.blobs(60, rng=0)
    model = pk.mlp([2, 8, 3], rng=0)
    film = animate_training(model, X, y, every=2, resolution=20, class_names=["a", "b", "c"], X_test=X[:9], y_test=y[:9])
    options: dict[str, Any] = {"validation": 0.2, "rng": 0, "progress": False, "callbacks": [film]}
    optimizer = pk.Adam(model, lr=0.05)
    history = pk.fit(model, pk.CrossEntropy(), optimizer, X, y, epochs=4, **options)
    assert film.epochs == [1, 2, 3, 4]
    assert film.losses == {"loss": history["loss"], "val_loss": history["val_loss"]}
    assert len(film.frames) == 3
    film.save(tmp_path / "film.gif", fps=4)
    assert list(tmp_path.iterdir()) == [tmp_path / "film.gif"]
    frames = gif_frames(tmp_path / "film.gif")
    assert len(frames) >= 3
    assert not np.array_equal(frames[0], frames[-1])
    assert frames[0].shape == (336, 760, 3)
    assert [text.get_text() for text in film.artists["legend"].get_texts()] == ["a", "b", "c", "train", "test"]
    legend: Any = film.axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["loss", "val_loss"]

    again = animate_training(model, X, y, resolution=20)  # of the same training, which goes on
    pk.fit(model, pk.CrossEntropy(), optimizer, X, y, epochs=1, **{**options, "callbacks": [again]})
    assert [epoch for epoch, _ in again.frames] == [4, 5]


def test_a_film_of_another_model_than_fit_trains_is_refused() -> None:
    X, y = pk.datasets.moons(20, rng=0)
    model, other = pk.mlp([2, 4, 2], rng=0), pk.mlp([2, 4, 2], rng=0)  # which do not differ in what they look like

    def train(film: TrainingAnimation) -> None:
        pk.fit(model, pk.CrossEntropy(), pk.Adam(model), X, y, epochs=2, callbacks=[film], progress=False)

    with pytest.raises(ValueError, match="animate_training: expected a film of the model that fit trains, got one of another"):
        train(animate_training(other, X, y, resolution=10))


class Tied(pk.Function):
    """A layer on the weight of another one."""

    def __init__(self, layer: pk.Linear) -> None:
        self.weight, self.grad_weight = layer.weight, layer.grad_weight

    def compute_forward(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight.T


def test_a_film_may_be_of_all_that_learns_with_the_model() -> None:
    X, y = pk.datasets.moons(20, rng=0)
    model = pk.mlp([2, 4, 2], rng=0)
    optimizer = pk.Adam(model)
    around, beside = pk.Sequential([model, pk.Softmax()]), pk.Sequential([*model, pk.Softmax()])
    for filmed in (model, around, beside, model[0], Tied(model[0]), lambda x: pk.predict(model, x), lambda x: x):
        film = animate_training(filmed, X, y, resolution=10)
        pk.fit(model, pk.CrossEntropy(), optimizer, X, y, epochs=1, callbacks=[film], progress=False)
        assert len(film.frames) == 2
    film = animate_training(pk.mlp([2, 4, 2], rng=0), X, y, resolution=10)
    film(1.0)  # in a loop nobody says what it trains
    assert film.epochs == [1]


@pytest.mark.parametrize(
    ("arguments", "got"),
    [((), "nothing"), ((None,), "nothing"), (("low",), "'low'"), (([1.0],), r"\[1.0\]"), ((np.ones(2),), r"array\(\[1., 1.\]\)")],
)
def test_a_film_without_a_loss_says_how_it_is_called(arguments: tuple[Any, ...], got: str) -> None:
    film = animate_training(Line(), SQUARE, [0, 0, 1, 1], resolution=10)
    expected = r"^animate_training: expected the loss of the epoch, film\(objective\), or a callback of fit, callbacks=\[film\]"
    with pytest.raises(TypeError, match=rf"{expected}, got {got}$"):
        film(*arguments)
    assert film.epochs == []


def gif_frames(path: Path) -> list[np.ndarray]:
    from PIL import Image, ImageSequence

    with Image.open(path) as film:
        assert film.format == "GIF"
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]


def test_the_file_has_every_picture_in_order_and_the_last_one_stays(tmp_path: Path) -> None:
    from PIL import Image, ImageSequence

    model = Line()
    film = animate_training(model, SQUARE, [0, 0, 1, 1], resolution=20)
    for loss in (4.0, 3.0, 2.0):
        model.place += 0.2
        film(loss)
    film.save(tmp_path / "film.gif", fps=4, dpi=40)
    pictures = []
    for index in range(4):
        film.show_frame(index)
        buffer = io.BytesIO()
        film.figure.savefig(buffer, format="png", dpi=40)
        pictures.append(np.asarray(Image.open(buffer).convert("RGB")).astype(int))
    frames = [frame.astype(int) for frame in gif_frames(tmp_path / "film.gif")]
    nearest = [int(np.argmin([np.abs(frame - picture).mean() for picture in pictures])) for frame in frames]
    assert sorted(set(nearest)) == [0, 1, 2, 3]
    assert nearest == sorted(nearest)
    with Image.open(tmp_path / "film.gif") as file:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(file)]
    shown = [sum(d for d, index in zip(durations, nearest, strict=True) if index == i) for i in range(4)]
    assert shown == [250, 250, 250, 750]


def test_points_have_the_colours_of_their_classes_in_a_file_too(tmp_path: Path) -> None:
    from PIL import Image

    X, y = pk.datasets.blobs(90, centers=3, rng=0)
    model = pk.mlp([2, 8, 2, 3], activation=pk.Tanh, rng=1)
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model, lr=0.03), X, y, epochs=20, rng=0, progress=False)
    film = pk.plot_hidden_plane(model, X, y).animate()
    film.save(tmp_path / "film.gif", fps=4)
    film.show_frame(-1)
    buffer = io.BytesIO()
    film.figure.savefig(buffer, format="png", dpi=80)
    picture = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    assert np.abs(gif_frames(tmp_path / "film.gif")[-1].astype(int) - picture).max() < 30


def test_epochs_beside_a_film_are_whole() -> None:
    film = animate_training(Line(), SQUARE, [0, 0, 1, 1], resolution=4)
    for loss in range(20, 0, -1):
        film(float(loss))
    film.show_frame(-1)
    ticks = film.axes[1].get_xticks()
    assert (ticks == np.rint(ticks)).all()


@pytest.mark.parametrize(("losses", "scale"), [((1.0, 0.01), "log"), ((1.0, 0.01001), "linear"), ((1.0, 0.0), "linear")])
def test_the_loss_of_a_film_is_logarithmic_from_two_decades_on(losses: tuple[float, ...], scale: str) -> None:
    film = animate_training(Line(), SQUARE, [0, 0, 1, 1], resolution=4)
    for loss in losses:
        film(loss)
    film.show_frame(-1)
    assert film.axes[1].get_yscale() == scale


def test_only_what_changes_moves(tmp_path: Path) -> None:
    """Between two pictures the axes, their ticks and the points stay to the pixel."""
    model = Line()
    film = animate_training(model, SQUARE, [0, 0, 1, 1], resolution=20)
    for loss in (2.0, 0.001):
        model.place += 0.3
        film(loss)
    film.save(tmp_path / "film.gif", fps=1)
    first, *_, last = (frame.astype(int) for frame in gif_frames(tmp_path / "film.gif"))
    box = film.axes[0].get_window_extent()
    scale = first.shape[1] / film.figure.bbox.width
    left, bottom = int(box.x0 * scale) - 2, first.shape[0] - int(box.y0 * scale) + 2
    assert np.abs(first[:, :left] - last[:, :left]).max() < 40  # the numbers beside the axes; colours of a GIF are rough
    assert np.abs(first[bottom:, : int(box.x1 * scale)] - last[bottom:, : int(box.x1 * scale)]).max() < 40


def test_what_is_transparent_stays_so_in_a_film(tmp_path: Path) -> None:
    from PIL import Image

    film = animate_training(Line(), SQUARE, [0, 0, 1, 1], resolution=10)
    film.figure.patch.set_alpha(0)
    film.save(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as file:
        *_, alpha = file.convert("RGBA").getpixel((0, 0))
    assert alpha == 0


def test_a_film_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    film = animate_training(Line(), SQUARE, [0, 0, 1, 1], resolution=10)
    path = tmp_path / "film.gif"
    path.write_bytes(b"old")
    film.frames.append((1, None))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        film.save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_film_in_given_axes_of_a_loss_over_decades() -> None:
    figure = Figure()
    axes = figure.subplots(1, 2)
    film = animate_training(Line(), SQUARE, [0, 0, 1, 1], axes=axes, legend=False, resolution=10)
    assert film.axes == list(axes)
    assert film.figure is figure
    assert film.artists["legend"] is None
    for loss in (1.0, 1e-3, np.nan):
        film(loss)
    film.show_frame(-1)
    assert axes[1].get_yscale() == "log"
    assert png(film).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"every": 0}, ValueError, "expected every of at least 1"),
        ({"axes": Figure().subplots(1, 3)}, ValueError, "expected 2 axes, for the boundary and for the loss, got 3"),
        ({"y": [0, 1]}, ValueError, r"expected y \(4,\)"),
        ({"class_names": ["a"]}, ValueError, "expected 2 class_names"),
        ({"model": 3}, TypeError, "expected a model that can be called"),
        ({"margin": -1}, ValueError, "expected margin at least 0"),
    ],
)
def test_a_film_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"animate_training: .*{message}"):
        animate_training(**{"model": Line(), "X": SQUARE, "y": [0, 0, 1, 1], "resolution": 5, **change})


def test_a_film_names_the_files_that_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = animate_training(Line(), SQUARE, [0, 0, 1, 1], resolution=5)
    with pytest.raises(ValueError, match=r"expected a file that ends in .gif or .mp4, got .*film.avi"):
        film.save(tmp_path / "film.avi")
    with pytest.raises(FileNotFoundError, match=r"TrainingAnimation.save: there is no folder '.*nofolder' to write 'x.gif' into"):
        film.save(tmp_path / "nofolder" / "x.gif")
    with pytest.raises(ValueError, match="expected fps of more than 0"):
        film.save(tmp_path / "film.gif", fps=0)
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", "no-such-program")
    with pytest.raises(ValueError, match=r"film\.mp4 needs the program ffmpeg"):
        film.save(tmp_path / "film.mp4")


# --- plot_gradients ---


def test_gradients_have_a_line_for_each_layer() -> None:
    norms = [{"0 Linear": 1e-3, "2 Linear": 1.0}, {"0 Linear": 0.0, "2 Linear": np.nan}, {"0 Linear": 1e-4, "2 Linear": np.inf}]
    drawn = plot_gradients(norms)
    assert list(drawn.artists) == ["0 Linear", "2 Linear"]
    np.testing.assert_array_equal(drawn.artists["0 Linear"].get_ydata(), [1e-3, np.nan, 1e-4])
    np.testing.assert_array_equal(drawn.artists["2 Linear"].get_ydata(), [1, np.nan, np.nan])
    np.testing.assert_array_equal(drawn.artists["0 Linear"].get_xdata(), [1, 2, 3])
    assert drawn.axes[0].get_yscale() == "log"
    first, last = (matplotlib.colors.to_rgb(line.get_color()) for line in drawn.artists.values())
    assert sum(first) < sum(last)  # dark to light
    crosses = [line for line in drawn.axes[0].lines if line.get_marker() == "x"]
    assert [line.get_xdata().tolist() for line in crosses] == [[2], [2, 3]]
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["0 Linear", "2 Linear", "0, nan or inf"]
    assert png(drawn)


def test_gradients_of_a_deep_net_of_sigmoids_vanish() -> None:
    X, y = pk.datasets.moons(50, rng=0)
    model, norms = pk.mlp([2, 8, 8, 8, 8, 2], activation=pk.Sigmoid, init="glorot_normal", rng=0), []
    callbacks = [lambda state: norms.append(pk.gradient_norms(state.model))]
    pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, y, epochs=3, progress=False, callbacks=callbacks)
    ax = Figure().add_subplot()
    drawn = plot_gradients(norms, ax=ax)
    assert drawn.axes == [ax]
    assert len(norms) == 3
    heights = [np.mean(line.get_ydata()) for line in drawn.artists.values()]
    assert heights[0] < 0.05 * heights[-1]


@pytest.mark.parametrize(
    ("norms", "error", "message"),
    [
        ([], ValueError, "got an empty list"),
        ({"0 Linear": 1.0}, TypeError, "expected a list of what gradient_norms"),
        ([1.0], TypeError, "expected a list of what gradient_norms"),
        ([{"a": 1.0}, {"b": 1.0}], ValueError, r"expected the layers \['a'\] in every entry, got \['b'\] in norms\[1\]"),
    ],
)
def test_gradients_refuse(norms: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"plot_gradients: .*{message}"):
        plot_gradients(norms)


# --- plot_learning_rates ---


def test_learning_rates_and_the_suggestion() -> None:
    lr = np.geomspace(1e-5, 1, 11)
    loss = np.array([2, 2, 2, 2, 1.9, 1.5, 1.0, 0.9, 0.9, 5, 1e9])
    drawn = LearningRates(lr, loss, loss, 0.01).plot()
    assert isinstance(drawn, Drawing)
    np.testing.assert_array_equal(drawn.artists["smoothed"].get_ydata(), loss)
    np.testing.assert_array_equal(drawn.artists["loss"].get_xdata(), lr)
    assert drawn.artists["suggestion"].get_xdata()[0] == 0.01
    (ax,) = drawn.axes
    assert ax.get_xscale() == "log"
    assert ax.get_ylim()[1] < 5, "the explosion at the end sets the scale"
    assert ax.get_ylim()[0] < 0.9
    assert png(drawn)


def test_learning_rates_without_a_suggestion() -> None:
    ax = Figure().add_subplot()
    drawn = plot_learning_rates(LearningRates(np.array([0.1, 1.0]), np.zeros(2), np.zeros(2), np.nan), ax=ax)
    assert drawn.artists["suggestion"] is None
    assert drawn.axes == [ax]
    with pytest.raises(TypeError, match="plot_learning_rates: expected what find_learning_rate returned, got list"):
        plot_learning_rates([1.0])  # type: ignore[arg-type]


# --- plot_weights ---


def test_weights_are_tables_of_colours() -> None:
    model: Any = pk.Sequential([pk.Embedding(5, 3, rng=0), pk.Linear(3, 2, rng=0), pk.BatchNorm(2)])
    model[1].weight = [[1.0, 2.0, 0.5], [0.0, 0.25, -1.0]]
    drawn = plot_weights(model)
    names = ["0.weight", "1.weight", "1.bias", "2.weight", "2.bias"]  # no running means
    assert list(drawn.artists) == names
    assert [ax.get_title().split()[0] for ax in drawn.axes] == names
    image = drawn.artists["1.weight"]
    np.testing.assert_array_equal(image.get_array(), [[1.0, 2.0, 0.5], [0.0, 0.25, -1.0]])
    assert image.get_clim() == (-2, 2)
    assert drawn.axes[1].get_title() == "1.weight (2 x 3)\nup to 2"
    blue, white, red = image.cmap(image.norm([-2, 0, 2]))[:, :3]
    assert blue.argmax() == 2
    assert white.min() > 0.9
    assert red.argmax() == 0
    assert drawn.artists["1.bias"].get_array().shape == (2, 1)
    assert png(drawn)


def test_weights_in_given_axes_and_what_they_refuse() -> None:
    model = pk.Linear(2, 3, rng=0)
    axes = Figure().subplots(2)
    assert plot_weights(model, axes=axes).axes == list(axes)
    with pytest.raises(ValueError, match="plot_weights: expected 2 axes, one for each parameter, got 3"):
        plot_weights(model, axes=Figure().subplots(3))
    with pytest.raises(ValueError, match=r"plot_weights: .* has no parameters"):
        plot_weights(pk.ReLU())
    with pytest.raises(TypeError, match="plot_weights: expected a Function"):
        plot_weights(abs)  # type: ignore[arg-type]
    model.bias[0] = np.nan
    with pytest.raises(ValueError, match="plot_weights: bias has nan or inf"):
        plot_weights(model)


# --- plot_activations ---


@settings(max_examples=12)
@example(dead={1, 2}, activation=pk.Softplus, seed=0)
@given(dead=st.sets(st.integers(0, 7)), activation=st.sampled_from([pk.ReLU, pk.Tanh, pk.Sigmoid]), seed=st.integers(0, 9))
def test_dead_units_are_found(dead: set[int], activation: Callable[[], pk.Function], seed: int) -> None:
    rng = np.random.default_rng(seed)
    model: Any = pk.Sequential([pk.Linear(3, 8, rng=rng), activation(), pk.Linear(8, 2, rng=rng)])
    model[0].bias = 3.0  # so that the others live for some examples at least
    model[0].bias[list(dead)] = -50.0
    panels = Figure().subplots(1, 2)
    drawn = plot_activations(model, rng.uniform(-1, 1, (20, 3)), axes=panels)
    assert drawn.artists["dead"][0].tolist() == sorted(dead)
    assert panels[0].get_title() == f"1 {activation.__name__}\n{len(dead)} of 8 dead\n"
    marks = panels[0].lines[0].get_xdata().tolist() if panels[0].lines else []
    assert marks == sorted(dead)


@pytest.mark.parametrize(("spread", "dead"), [(0.0, True), (0.9e-6, True), (1.1e-6, False), (1e-3, False)])
def test_a_unit_is_dead_if_it_varies_by_less_than_a_millionth_of_the_largest_output(spread: float, dead: bool) -> None:
    layer = pk.Linear(1, 2, rng=0)
    layer.weight, layer.bias = [[1.0], [spread]], [0.0, 3.0]
    drawn = plot_activations(pk.Sequential([layer]), np.array([[0.0], [1.0], [10.0]]) / 10 * 4, axes=[Figure().subplots()])
    assert drawn.artists["dead"][0].tolist() == ([1] if dead else [])


def test_layers_end_where_the_next_parameters_begin() -> None:
    stack = pk.Sequential([pk.Linear(4, 6, rng=0), pk.LayerNorm(6), pk.Tanh()])
    model = pk.Sequential([pk.Flatten(), stack, pk.Dropout(0.5, rng=0), pk.Linear(6, 3, rng=0), pk.Softmax()])
    x = np.random.default_rng(0).normal(size=(30, 2, 2))
    model(x)
    before = model.state_dict(), [function.training for function in model.walk()]
    drawn = plot_activations(model, x)
    assert [ax.get_title().split("\n")[0] for ax in drawn.axes] == ["1.0 Linear", "2 Dropout", "4 Softmax"]
    np.testing.assert_allclose(drawn.artists["images"][2].get_array(), pk.predict(model, x), rtol=1e-12)
    assert drawn.artists["images"][1].get_clim()[0] < 0  # both signs: white is 0
    assert drawn.artists["images"][2].get_clim()[0] == 0
    np.testing.assert_equal((model.state_dict(), [function.training for function in model.walk()]), before)
    model.compute_backward(np.ones((30, 3)))  # still that of the forward before
    assert png(drawn)


def test_sequences_and_many_examples() -> None:
    model = pk.Sequential([pk.Unrolled(pk.RNNCell(2, 5, rng=0)), pk.Linear(5, 1, rng=0)])
    drawn = plot_activations(model, np.random.default_rng(0).normal(size=(100, 7, 2)))
    assert drawn.artists["images"][0].get_array().shape == (256, 5)  # of 700, spread over all
    assert drawn.axes[0].get_title().startswith("0 Unrolled\n0 of 5 dead")


def test_a_stack_without_parameters_is_one_layer() -> None:
    assert len(plot_activations(pk.Sequential([pk.Square(), pk.ReLU()]), np.ones((3, 2))).axes) == 1


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (pk.Linear(2, 1, rng=0), np.zeros((3, 2)), TypeError, "expected a Sequential"),
        (pk.mlp([2, 1], rng=0), np.zeros((1, 2)), ValueError, r"at least 2 examples, got shape \(1, 2\)"),
        (pk.mlp([2, 1], rng=0), 3.0, ValueError, r"at least 2 examples, got shape \(\)"),
        (pk.Sequential([]), np.zeros((3, 2)), ValueError, "expected at least one Function in the stack"),
        (pk.mlp([2, 1], rng=0), np.full((3, 2), np.nan), ValueError, r"the output of Linear\(2, 1\) has nan or inf"),
    ],
)
def test_activations_refuse(model: Any, x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"plot_activations: .*{message}"):
        plot_activations(model, x)
