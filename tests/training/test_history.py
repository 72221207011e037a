from __future__ import annotations

import copy
import csv
import math
import pickle

import numpy as np
import pytest

from pancake.training.history import History


def noted():
    history = History()
    history.append({"loss": 0.1 + 0.2, "lr": 0.01})
    history.append({"loss": 1 / 3, "lr": 0.005})
    return history


def test_epochs_are_counted():
    assert History().epochs == 0
    assert noted().epochs == 2
    assert noted() == {"loss": [0.1 + 0.2, 1 / 3], "lr": [0.01, 0.005]}


def test_what_is_not_measured_in_an_epoch_is_nan_there():
    history = noted()
    history.append({"loss": 0.25, "val_loss": 0.5})
    assert history["val_loss"][2] == 0.5
    assert all(map(math.isnan, history["val_loss"][:2]))
    assert math.isnan(history["lr"][2])
    assert {len(column) for column in history.values()} == {3}


def test_values_become_floats():
    history = History()
    history.append({"loss": np.float32(0.5), "right": 3})
    assert [type(column[0]) for column in history.values()] == [float, float]


def test_csv_keeps_every_digit(tmp_path):
    history = noted()
    history.append({"loss": math.inf})
    history.to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", "loss", "lr"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    for name, column in zip(rows[0][1:], list(zip(*rows[1:], strict=True))[1:], strict=True):
        np.testing.assert_array_equal([float(text) for text in column], history[name])


def test_an_empty_history_is_a_table_without_rows(tmp_path):
    History().to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == "epoch\n"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda history: pickle.loads(pickle.dumps(history))])
def test_copies_have_figures_and_a_generator_of_their_own(duplicate):
    history = noted()
    history.rng = np.random.default_rng(3)
    other = duplicate(history)
    assert other == history
    assert isinstance(other, History)
    assert other.rng.random() == np.random.default_rng(3).random()
    assert history.rng.random() == np.random.default_rng(3).random()


def test_plot_draws_one_line_for_each_quantity():
    pytest.importorskip("matplotlib")
    drawing = noted().plot()
    assert set(drawing.artists) == {"loss", "lr"}


def test_columns_that_are_half_written_are_made_equal():
    history = History(loss=[3.0, 2.0, 1.0], lr=[0.1, 0.1], new=[])
    history.cut(2)
    assert history["loss"] == [3.0, 2.0]
    assert history["lr"] == [0.1, 0.1]
    assert np.isnan(history["new"]).tolist() == [True, True]
    history.cut(0)
    assert history == {"loss": [], "lr": [], "new": []}
