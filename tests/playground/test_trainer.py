"""One training of the playground: what a change of a setting changes, what is drawn, and what is taken away."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pancake as pk
from pancake.playground import picture
from pancake.playground.script import script
from pancake.playground.table import read_table
from pancake.playground.trainer import Trainer


class Sine(pk.Function):
    """A user's own Function without parameters."""

    def compute_forward(self, x):
        self.x = x
        return np.sin(x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * np.cos(self.x)


def wavy(n_in, n_out, rng):
    return pk.Sequential([pk.Linear(n_in, 5, rng=rng), Sine(), pk.Linear(5, n_out, rng=rng)])


def weights(model):
    return [array.copy() for array in model.get_params_and_grads()[0]]


def trained(trainer, steps):
    for _ in range(steps):
        trainer.step()
    return trainer


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def heights(tmp_path):
    """A file with four features, whose label is a quantity."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) * [1, 10, 100, 1000]
    y = 1000 + 50 * X[:, 0]
    path = tmp_path / "heights.csv"
    np.savetxt(path, np.column_stack([X, y]), delimiter=",", header="a,b,c,d,height", comments="")
    return read_table(path)


@pytest.fixture
def animals(tmp_path):
    """A file with one feature, whose label is a word."""
    path = tmp_path / "animals.csv"
    path.write_text("mass,animal\n" + "".join(f"{1 + i % 7},{'cat' if i % 7 < 3 else 'dog'}\n" for i in range(40)))
    return read_table(path)


# --- training ---


def test_it_trains_as_the_loop_of_four_lines_does():
    trainer = trained(Trainer(), 100)
    X, y = pk.datasets.moons(300, noise=0.1, rng=0)
    X, y = X[:210], y[:210]
    rng = np.random.default_rng(0)
    model = pk.mlp([2, 8, 8, 2], activation=pk.Tanh, rng=rng)
    loss, optimizer = pk.CrossEntropy(), pk.Adam(model, lr=0.01)
    steps = 0
    while steps < 100:
        rows = rng.permutation(210)
        for start in range(0, 210, 16):
            if steps < 100:
                steps += 1
                optimizer.zero_grad()
                loss(model(X[rows[start : start + 16]]), y[rows[start : start + 16]])
                model.accumulate_grads(loss.compute_backward())
                optimizer.step()
    assert same(weights(trainer.model), weights(model))


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": "0.5"},
        {"batch": 7},
        {"optimizer": "RMSprop"},
        {"loss": "Hinge"},
        {"noise": "0.3"},
        {"test": 50},
        {"points": 40},
        {"dropout": 0.5},
        {"speed": "full speed"},
    ],
    ids=str,
)
def test_what_leaves_the_weights_as_they_are(changes):
    trainer = trained(Trainer(), 20)
    before = weights(trainer.model)
    trainer.change(changes)
    assert trainer.steps == 20
    assert same(weights(trainer.model), before)
    trained(trainer, 3)
    assert not same(weights(trainer.model), before)


@pytest.mark.parametrize(
    "changes", [{"layers": "4"}, {"layers": ""}, {"activation": "ReLU"}, {"seed": 1}, {"data": "blobs"}], ids=str
)
def test_what_begins_anew(changes):
    trainer = trained(Trainer(), 20)
    trainer.change(changes)
    assert trainer.steps == 0
    other = Trainer()
    other.change(changes)
    assert same(weights(trainer.model), weights(other.model))


def test_the_learning_rate_and_the_optimizer_are_those_that_were_chosen():
    trainer = trained(Trainer(), 5)
    optimizer = trainer.optimizer
    trainer.change({"lr": 0.25})
    assert trainer.optimizer is optimizer
    assert optimizer.lr == 0.25
    trainer.change({"optimizer": "SGD with momentum"})
    assert (type(trainer.optimizer), trainer.optimizer.lr, trainer.optimizer.momentum) == (pk.SGD, 0.25, 0.9)


def test_dropout_comes_and_goes():
    trainer = trained(Trainer(), 5)
    trainer.change({"dropout": 0.25})
    assert [layer.p for layer in trainer.model if isinstance(layer, pk.Dropout)] == [0.25, 0.25]
    trainer.change({"dropout": 0})
    assert not any(isinstance(layer, pk.Dropout) for layer in trainer.model)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": "nan"}, "Learning rate: expected a number from"),
        ({"lr": float("inf")}, "Learning rate: "),
        ({"lr": -1}, "Learning rate: "),
        ({"lr": [1]}, "Learning rate: "),
        ({"lr": True}, "Learning rate: "),
        ({"lr": "9" * 400}, "Learning rate: "),
        ({"lr": "0,01"}, "Learning rate: .* got '0,01'; write a point in the place of the comma, as in 0.01$"),
        ({"points": "1,000"}, "Points: .* got '1,000'; leave the comma out, as in 1000$"),
        ({"points": "1,5"}, "got '1,5'$"),
        ({"batch": 2.5}, "Batch size: expected a whole number"),
        ({"points": 10**9}, "Points: .* from 10 to 5000"),
        ({"seed": -1}, "Seed: "),
        ({"layers": "100000"}, "Layers: expected from 1 to 128"),
        ({"layers": "8, 0"}, "Layers: "),
        ({"layers": "8 " * 20}, "Layers: expected at most 6"),
        ({"layers": "8; import os"}, "Layers: expected whole numbers"),
        ({"layers": [8]}, "Layers: expected the widths"),
        ({"activation": "Function"}, "Activation: expected one of"),
        ({"activation": ["Tanh"]}, "Activation: expected one of"),
        ({"loss": "Huber"}, "Loss: expected one of"),
        ({"optimizer": "__class__"}, "Optimizer: expected one of"),
        ({"data": "your file"}, "Data set: expected one of"),
        ({"across": 1}, "Across and Up"),
        ({"up": 5}, "Across and Up"),
        ({"path": "/etc/passwd"}, "there is no setting 'path'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_chosen_is_refused_and_changes_nothing(changes, says):
    trainer = trained(Trainer(), 3)
    settings, before = trainer.settings, weights(trainer.model)
    with pytest.raises(ValueError, match=says):
        trainer.change({"batch": 5, **changes})
    assert trainer.settings == settings
    assert same(weights(trainer.model), before)


@pytest.mark.parametrize("loss", ["CrossEntropy", "BinaryCrossEntropy", "MeanSquaredError", "Hinge"])
@pytest.mark.parametrize("data", ["moons", "blobs"])
def test_every_loss_learns(loss, data):
    trainer = Trainer()
    trainer.change({"data": data, "loss": loss, "lr": 0.03})
    first = picture.frame(trainer)["values"]
    last = picture.frame(trained(trainer, 600))["values"]
    assert last["loss"] < first["loss"] / 2
    assert last["test_score"] > 0.9


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    trainer = Trainer()
    trainer.change({"loss": "MeanSquaredError", "optimizer": "SGD", "lr": 1000, "activation": "ReLU"})
    with pytest.raises(pk.NonFiniteError, match=r"the loss is (inf|nan) in epoch \d+, batch \d+: ."):
        trained(trainer, 1000)
    before, steps = weights(trainer.model), trainer.steps
    with pytest.raises(pk.NonFiniteError):
        trainer.step()
    assert same(weights(trainer.model), before)
    assert trainer.steps == steps
    json.dumps(picture.frame(trainer), allow_nan=False)


def test_a_step_at_a_time_and_an_epoch_at_a_time():
    trainer = Trainer()
    trainer.change({"speed": "step by step"})
    trainer.advance(10)
    assert trainer.steps == 1
    trainer.change({"speed": "epoch by epoch"})
    trainer.advance(60)
    assert (trainer.steps, trainer.epochs) == (14, 1)


# --- the user's own net and data ---


def test_a_stack_of_ones_own(heights):
    trainer = trained(Trainer(heights, wavy, "nets:wavy"), 5)
    assert repr(trainer.model[2]) == "Sine()"
    assert picture.scene(trainer)["model"] == "Sequential([Linear(4, 5), Sine(), Linear(5, 1)])"
    with pytest.raises(ValueError, match="Layers: the layers are those of nets:wavy"):
        trainer.change({"layers": "8"})
    trainer.change({"data": "blobs"})
    assert repr(trainer.model) == "Sequential([Linear(2, 5), Sine(), Linear(5, 3)])"
    trained(trainer, 5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda n_in, n_out, rng: pk.Linear(n_in, 7), r"returns \(3, 7\)"),
        (lambda n_in, n_out, rng: "net", "returned no Function, but 'net'"),
        (lambda n_in, n_out, rng: pk.Identity(), "no parameters to train"),
        (lambda n_in, n_out, rng: pk.Linear(9, 9), "raised ValueError"),
        (lambda n_in: None, "raised TypeError"),
    ],
)
def test_a_stack_that_does_not_fit_is_refused(make, says):
    with pytest.raises(ValueError, match=rf"nets:f\(2, 2, rng\).*{says}"):
        Trainer(None, make, "nets:f")


def test_a_quantity_is_learnt_in_units_of_its_standard_deviation_and_exported_in_its_own(heights, tmp_path):
    trainer = trained(Trainer(heights), 400)
    assert picture.frame(trainer)["values"]["test_score"] > 0.9
    path = tmp_path / "net.npz"
    path.write_bytes(trainer.exported())
    assert pk.r2_score(pk.predict(pk.load(path), heights.X), heights.y) > 0.9
    assert pk.load_meta(path) == {"features": ["a", "b", "c", "d"], "label": "height", "classes": None}


def test_what_is_drawn_of_four_features(heights):
    trainer = Trainer(heights)
    trainer.change({"across": 3, "up": 1})
    grid, X = picture._grid(trainer), trainer.points.X
    assert grid.shape == (3600, 4)
    np.testing.assert_array_equal(grid[:, [0, 2]], np.tile(X.mean(axis=0)[[0, 2]], (3600, 1)))
    assert grid[0, 3] < grid[59, 3]
    assert grid[0, 1] > grid[-1, 1], "row by row from above"
    scene = picture.scene(trainer)
    assert scene["axes"] == (3, 1)
    assert scene["means"][2] == pytest.approx(X.mean(axis=0)[2], rel=1e-3)


def test_what_is_drawn_of_one_feature(animals):
    trainer = trained(Trainer(animals), 200)
    plane = picture.frame(trainer)["plane"]
    winner = np.frombuffer(base64.b64decode(plane["winner"]), np.uint8)
    assert winner.tolist() == sorted(winner)
    assert {*winner.tolist()} == {0, 1}
    assert picture.scene(trainer)["classes"] == ["cat", "dog"]


def test_the_largest_numbers_that_are_read_can_be_drawn(tmp_path):
    path = tmp_path / "large.csv"
    path.write_text("a,b,y\n" + "".join(f"{sign}1e150,{i},{sign}{i}.5e149\n" for i in range(9) for sign in ("", "-")))
    trainer = trained(Trainer(read_table(path)), 5)
    json.dumps([picture.scene(trainer), picture.frame(trainer)], allow_nan=False)


def test_a_line_that_has_left_all_bounds_can_be_drawn(tmp_path):
    path = tmp_path / "line.csv"
    path.write_text("a,y\n" + "".join(f"{i},{100 * i + 0.5}\n" for i in range(9)))
    trainer = Trainer(read_table(path))
    trainer.model.get_params_and_grads()[0][-1][...] = 1e308
    json.dumps(picture.frame(trainer), allow_nan=False)


# --- pictures ---


def test_the_plane_is_what_the_net_says():
    trainer = trained(Trainer(), 200)
    plane = picture.frame(trainer)["plane"]
    winner, sure = (np.frombuffer(base64.b64decode(plane[name]), np.uint8) for name in ("winner", "sure"))
    p = pk.Softmax()(pk.predict(trainer.model, picture._grid(trainer)))
    np.testing.assert_array_equal(winner, p.argmax(axis=1))
    np.testing.assert_allclose(sure / 255, np.abs(p[:, 0] - p[:, 1]), atol=1 / 255)


def test_units_weights_dead_units_and_gradients():
    trainer = Trainer()
    trainer.change({"layers": "3, 20", "activation": "ReLU"})
    trained(trainer, 1)
    trainer.model[0].bias[1] = -100  # never reached
    frame = picture.frame(trainer)
    assert [unit["count"] for unit in frame["units"]] == [2, 3, 20, 2]
    assert [len(unit["pictures"]) for unit in frame["units"]] == [2, 3, 16, 2]
    assert 1 in frame["dead"][0]
    np.testing.assert_allclose(frame["weights"][0], trainer.model[0].weight, rtol=1e-3)
    assert np.shape(frame["weights"][1]) == (16, 3)
    assert [name for name, _ in frame["gradients"]] == ["layer 1: Linear", "layer 2: Linear", "output: Linear"]
    assert frame["titles"] == ["input", "layer 1", "layer 2", "output"]
    unit = np.frombuffer(base64.b64decode(frame["units"][1]["pictures"][0]), np.int8)
    h = pk.predict(trainer.model[:2], picture._grid(trainer))[:, 0].reshape(60, 60)[1::3, 1::3].ravel()
    np.testing.assert_allclose(unit / 127, h / h.max(), atol=0.5 / 127 + 1e-9)


def test_gradients_are_called_by_the_columns_also_in_a_stack_of_ones_own():
    def nested(n_in, n_out, rng):
        inner = pk.Sequential([pk.Linear(n_in, 3, rng=rng), pk.PReLU()])
        return pk.Sequential([inner, pk.LayerNorm(3), pk.Linear(3, n_out, rng=rng)])

    for make, names in (
        (nested, ["layer 1: 0 Linear", "layer 1: 1 PReLU", "layer 1: LayerNorm", "output: Linear"]),
        (lambda n_in, n_out, rng: pk.Linear(n_in, n_out, rng=rng), ["output: Linear"]),
    ):
        trainer = trained(Trainer(make=make, name="nets:net"), 1)
        assert [name for name, _ in picture.frame(trainer)["gradients"]] == names


def test_the_two_features_of_the_plane_are_among_the_inputs_that_are_drawn(tmp_path):
    path = tmp_path / "many.csv"
    X = np.random.default_rng(0).normal(size=(20, 30))
    rows = [",".join([*map(str, x), "cat" if x[0] > 0 else "dog"]) for x in X]
    path.write_text("\n".join([",".join([*(f"f{i}" for i in range(30)), "animal"]), *rows]))
    trainer = Trainer(read_table(path))
    for across, inputs in ((25, [*range(15), 25]), (3, [*range(16)])):
        trainer.change({"across": across})
        frame = picture.frame(trainer)
        assert frame["inputs"] == inputs
        assert (frame["units"][0]["count"], len(frame["units"][0]["pictures"])) == (30, 16)
        pictures = [np.frombuffer(base64.b64decode(text), np.int8) for text in frame["units"][0]["pictures"]]
        assert [feature for feature, drawn in zip(inputs, pictures, strict=True) if drawn.any()] == sorted([across, 1])
        np.testing.assert_allclose(frame["weights"][0], trainer.model[1].weight[:, inputs], rtol=1e-3)


def test_looking_changes_nothing():
    looked, other = Trainer(), Trainer()
    for trainer in (looked, other):
        trainer.change({"dropout": 0.3})
    for _ in range(20):
        looked.step()
        picture.frame(looked)
        looked.explanation()
        looked.exported()
        other.step()
    assert same(weights(looked.model), weights(other.model))


def test_the_explanation_is_that_of_the_next_step():
    trainer = trained(Trainer(), 5)
    trainer.change({"dropout": 0.5})
    _, x, y = trainer.next_batch()
    loss = float(pk.explain(trainer.model, trainer.loss, x, y).objective)
    assert f"{loss:.4g}" in trainer.explanation()
    trainer.step()
    assert float(trainer.loss(trainer.model(x), y)) != loss


def test_a_long_history_is_thinned():
    trainer = Trainer()
    for i in range(1000):
        trainer.note({"loss": i})
    assert trainer.history.epochs <= 300
    assert trainer.history["loss"][0] == 0
    assert trainer.history["loss"][-1] == 999


# --- the script ---


def reached(trainer, folder: Path):
    """The weights that the exported script saves."""
    (folder / "train.py").write_text(script(trainer))
    done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert "loss " in done.stdout
    return weights(pk.load(folder / "net.npz"))


def test_the_script_reaches_the_same_weights(tmp_path):
    trainer = trained(Trainer(), 50)
    assert same(reached(trainer, tmp_path), weights(trainer.model))
    (tmp_path / "exported.npz").write_bytes(trainer.exported())
    assert same(weights(pk.load(tmp_path / "exported.npz")), weights(trainer.model))
    for name in ("net.npz", "exported.npz"):
        assert pk.load_meta(tmp_path / name) == {"features": ["x", "y"], "label": "class", "classes": ["0", "1"]}


def test_the_script_repeats_all_changes(tmp_path):
    trainer = trained(Trainer(), 30)
    trainer.change({"data": "circles", "layers": "5", "dropout": 0.2, "loss": "BinaryCrossEntropy"})
    trained(trainer, 30)
    trainer.change({"lr": 0.1, "noise": 0.2, "dropout": 0.4})
    trained(trainer, 30)
    trainer.change({"optimizer": "SGD with momentum", "loss": "Hinge", "batch": 3})
    trained(trainer, 30)
    trainer.change({"dropout": 0, "points": 100})
    trainer.change({"test": 0, "optimizer": "Adagrad", "lr": 0.02, "speed": "full speed"})
    trained(trainer, 30)
    assert same(reached(trainer, tmp_path), weights(trainer.model))
    assert "# changed after step 60: loss Hinge, optimizer SGD with momentum, batch 3\n" in script(trainer)


def test_the_script_reads_the_file(heights, animals, tmp_path):
    for table in (heights, animals):
        trainer = trained(Trainer(table), 30)
        trainer.change({"test": 10})
        trained(trainer, 10)
        assert same(reached(trainer, tmp_path), weights(trainer.model))
        assert pk.load_meta(tmp_path / "net.npz") == trainer.meta
