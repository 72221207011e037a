"""The plane carried through the hidden layers, as panels and as a film, by the artists that they leave."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import pancake as pk
from pancake.plotting import Film, plot_hidden_plane

X, Y = pk.datasets.moons(40, noise=0.1, rng=0)


@pytest.fixture(autouse=True)
def _new_pyplot() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        yield
        plt.close("all")


def vertices(artist: Any) -> np.ndarray:
    return np.concatenate([path.vertices for path in artist.get_paths()])


def test_two_units_are_shown_as_they_are() -> None:
    model: Any = pk.mlp([2, 2, 2], activation=pk.Tanh, rng=3)
    drawn = plot_hidden_plane(model, X, Y, lines=5)
    assert plt.gcf() is drawn.figure
    assert [ax.get_title().split("\n")[0] for ax in drawn.axes] == ["input", "hidden layer 1, units: 2"]
    before, after = (np.array(grid.get_segments()) for grid in drawn.artists["grids"])
    assert before.shape == after.shape == (10, 60, 2)
    np.testing.assert_allclose(after.reshape(-1, 2), pk.predict(model[:2], before.reshape(-1, 2)))
    assert np.ptp(before[0], axis=0)[0] == 0 < np.ptp(before[0], axis=0)[1]  # an upright line
    assert np.ptp(before[-1], axis=0)[1] == 0
    np.testing.assert_allclose(drawn.artists["points"][0].get_offsets(), X)
    np.testing.assert_allclose(drawn.artists["points"][1].get_offsets(), pk.predict(model[:2], X))
    # the border is the straight line on which the logits are equal
    (border,) = drawn.artists["boundary"]
    w, b = model[2].weight, model[2].bias
    np.testing.assert_allclose(vertices(border) @ (w[1] - w[0]) + b[1] - b[0], 0, atol=0.02)
    accuracy = pk.accuracy(pk.predict(model, X), Y)
    assert drawn.axes[1].get_title().endswith(f"accuracy {accuracy:.1%}")
    assert drawn.axes[1].get_xlabel() == "unit 0"


@pytest.mark.parametrize("classes", [2, 3])
def test_many_units_are_shown_where_the_last_layer_decides(classes: int) -> None:
    """Up to three classes: on the plane that is drawn, every point lies in the region of the class that the model gives it."""
    points, y = pk.datasets.blobs(60, noise=0.6, rng=1, centers=classes)
    model: Any = pk.mlp([2, 9, 9, classes], activation=pk.ReLU, rng=2)
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model, lr=0.02), points, y, epochs=20, rng=0, progress=False)
    drawn = plot_hidden_plane(model, points, y)
    assert len(drawn.axes) == 3
    regions, flat = drawn.regions, drawn.artists["points"][2].get_offsets()
    column, row = (np.abs(centres[None] - flat[:, [i]]).argmin(axis=1) for i, centres in enumerate(regions.centres))
    found = regions.p[:, row, column].argmax(axis=0)
    assert (found == pk.predict(model, points).argmax(axis=1)).mean() > 0.97  # but for those within a pixel of a border
    for border in drawn.artists["boundary"]:
        assert np.isfinite(vertices(border)).all()


def test_one_output_one_unit_no_hidden_layer_and_more_features() -> None:
    model = pk.mlp([2, 1, 1], activation=pk.Tanh, output=pk.Sigmoid, rng=0)
    drawn = plot_hidden_plane(model, X, Y)
    np.testing.assert_array_equal(np.asarray(drawn.artists["points"][1].get_offsets())[:, 1], 0)
    linear: Any = pk.Sequential([pk.Linear(2, 1, rng=0)])
    drawn = plot_hidden_plane(linear, X, Y, from_logits=True)
    assert len(drawn.axes) == 1
    (border,) = drawn.artists["boundary"]
    np.testing.assert_allclose(pk.predict(linear, vertices(border)), 0, atol=1e-6)
    wide = np.column_stack([X, X[:, 0] + 5])
    seen = plot_hidden_plane(pk.mlp([3, 2, 2], rng=0), wide, Y, features=(2, 0), fixed={1: 0.5}, feature_names=list("abc"))
    assert (seen.axes[0].get_xlabel(), seen.axes[0].get_ylabel()) == ("c", "a")
    np.testing.assert_array_equal(seen.artists["points"][0].get_offsets(), wide[:, [2, 0]])


def test_a_linear_model_on_two_of_three_features_keeps_the_third_fixed() -> None:
    model: Any = pk.Sequential([pk.Linear(3, 1, rng=0)])
    model[0].weight, model[0].bias = [[1.0, -2.0, 3.0]], [3.0]
    wide = np.column_stack([X, X[:, 0] + 5])
    drawn = plot_hidden_plane(model, wide, Y, features=(0, 1), fixed={2: -1.0}, from_logits=True)
    edge = vertices(drawn.artists["boundary"][0])
    np.testing.assert_allclose(pk.predict(model, np.column_stack([edge, np.full(len(edge), -1.0)])), 0, atol=1e-6)


def test_pyplot_is_left_alone_and_so_is_the_model() -> None:
    model, loss = pk.mlp([2, 4, 2], rng=0), pk.CrossEntropy()
    loss(model(X), Y)
    before = model.state_dict()
    figure = Figure()
    drawn = plot_hidden_plane(model, X, Y, figure=figure)
    assert drawn.figure is figure
    axes = Figure().subplots(1, 2)
    assert plot_hidden_plane(model, X, Y, axes=axes).axes == list(axes)
    assert not plt.get_fignums()
    np.testing.assert_equal(model.state_dict(), before)
    model.compute_backward(loss.compute_backward())  # still that of the forward before


@pytest.mark.slow
def test_the_film_goes_from_the_input_to_the_last_layer(tmp_path: Path) -> None:
    model = pk.mlp([2, 5, 2, 2], activation=pk.Tanh, init="he_normal", rng=1)  # whose boundary crosses the picture
    drawn = plot_hidden_plane(model, X, Y, lines=4, class_names={0: "a", 1: "b"})
    plt.close("all")
    film = drawn.animate()
    assert isinstance(film, Film)
    assert not plt.get_fignums()
    titles, places = [], []
    for index in range(film.length):
        film.show_frame(index)
        titles.append(film.axes[0].get_title())
        places.append(np.asarray(film.artists["train"].get_offsets()).copy())
        assert bool(film.artists["boundary"]) == (titles[-1] == "hidden layer 2, units: 2")
    names = [stage.name for stage in drawn.stages]
    assert titles[0] == names[0]
    assert titles[-1] == names[-1]
    assert list(dict.fromkeys(titles)) == [names[0], f"{names[0]} → {names[1]}", names[1], f"{names[1]} → {names[2]}", names[2]]
    steps = [float(np.abs(a - b).max()) for a, b in itertools.pairwise(places)]
    assert max(steps) < 0.35  # no jumps
    assert np.abs(np.concatenate(places)).max() <= 1 + 1e-9
    file = tmp_path / "plane.gif"
    film.save(file, dpi=30)
    from PIL import Image

    with Image.open(file) as pictures:
        assert pictures.n_frames > 20
    assert [text.get_text() for text in film.artists["legend"].get_texts()] == ["a", "b"]
    html = film._repr_html_()
    assert "<script" in html
    assert html.count("data:image/png;base64") == film.length


def test_of_many_classes_the_picture_is_drawn() -> None:
    points, y = pk.datasets.blobs(60, rng=0, centers=6)
    drawn = plot_hidden_plane(pk.mlp([2, 8, 6], rng=0), points, y)
    drawn.figure.savefig(io.BytesIO())
    assert len(drawn.artists["legend"].get_texts()) == 6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": abs}, TypeError, "expected a Sequential"),
        ({"model": pk.Sequential([])}, ValueError, "at least one Function"),
        ({"X": X[:, 0]}, ValueError, "X with at least 2 features"),
        ({"y": Y[:3]}, ValueError, r"expected y \(40,\)"),
        ({"lines": 0}, ValueError, "expected lines of at least 1"),
        ({"axes": Figure().subplots(1, 3)}, ValueError, "expected 2 axes, one for the input and each hidden layer, got 3"),
        ({"class_names": ["a"]}, ValueError, "expected 2 class_names"),
    ],
)
def test_what_cannot_be_carried(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"plot_hidden_plane: .*{message}"):
        plot_hidden_plane(**{"model": pk.mlp([2, 3, 2], rng=0), "X": X, "y": Y, **change})
    assert not plt.get_fignums()
