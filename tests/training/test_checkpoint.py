"""`fit(checkpoint=path)`: a file to go on from."""

from __future__ import annotations

import os

import numpy as np
import pytest

import pancake as pk

X = np.random.default_rng(0).normal(size=(20, 3))
Y = X[:, :1] ** 2


def net():
    return pk.Sequential([pk.Linear(3, 4, rng=0), pk.BatchNorm(4), pk.Dropout(0.2, rng=1), pk.Linear(4, 1, rng=2)])


def assert_same(a, b):
    for key, array in a.state_dict().items():
        np.testing.assert_array_equal(array, b.state_dict()[key], err_msg=key)


def without_seconds(history):
    return {name: column for name, column in history.items() if name != "seconds"}


@pytest.mark.parametrize("make", [pk.SGD, pk.Adam])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_an_interrupted_training_goes_on_from_its_checkpoint_bit_for_bit(make, suffix, tmp_path):
    path = tmp_path / f"training{suffix}"
    options = {"batch_size": 6, "validation": 0.2, "metrics": {"r2": pk.r2_score}, "progress": False}
    model = net()
    optimizer = make(model)

    def stop(state):
        if state.epoch == 4:
            raise KeyboardInterrupt

    history = pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=9, rng=5, checkpoint=path, callbacks=[stop], **options)
    assert history.epochs == 4
    loaded, other = pk.load(path)
    assert other.history.epochs == 3  # that of epoch 4 had not been saved
    pk.fit(loaded, pk.MeanSquaredError(), other, X, Y, epochs=6, **options)
    whole = net()
    expected = pk.fit(whole, pk.MeanSquaredError(), make(whole), X, Y, epochs=9, rng=5, **options)
    assert_same(loaded, whole)
    assert without_seconds(other.history) == without_seconds(expected)


def test_what_callbacks_have_changed_is_in_it(tmp_path):
    path = tmp_path / "training.npz"
    model = net()
    optimizer = pk.SGD(model)

    def halve(state):
        state.optimizer.lr /= 2

    pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, epochs=3, checkpoint=str(path), callbacks=[halve], progress=False)
    loaded, other = pk.load(path)
    assert_same(loaded, model)
    assert other.lr == optimizer.lr == 0.01 / 8
    assert other.steps == optimizer.steps


@pytest.mark.parametrize("monitor", ["val_error", "error"])
@pytest.mark.parametrize("batch_size", [20, 6])
def test_with_early_stopping_it_is_the_best_epoch(monitor, batch_size, tmp_path):
    path = tmp_path / "best.npz"
    errors = iter(np.repeat([5.0, 3.0, 4.0, 1.0, 2.0, 6.0], 2))
    model = net()
    stopping = pk.EarlyStopping(monitor)
    saved = []
    pk.fit(
        model, pk.MeanSquaredError(), pk.SGD(model), X, Y, epochs=6, batch_size=batch_size, checkpoint=path, progress=False,
        validation=(X, Y), metrics={"error": lambda pred, y: next(errors)}, early_stopping=stopping,
        callbacks=[lambda state: saved.append(path.stat().st_mtime_ns if path.exists() else None)],
    )  # fmt: skip
    loaded, optimizer = pk.load(path)
    assert stopping.best_epoch == 4
    assert optimizer.history.epochs == 4
    assert_same(loaded, model)  # which has the best weights
    assert saved[0] is None
    assert saved[1] != saved[2] == saved[3] != saved[4] == saved[5]  # as each epoch found it


def test_saving_the_best_does_not_disturb_the_training(tmp_path):
    model, other = net(), net()
    options = {"epochs": 4, "batch_size": 20, "progress": False, "rng": 0}
    kept = []
    for net_, path in ((model, tmp_path / "best.npz"), (other, None)):
        pk.fit(
            net_, pk.MeanSquaredError(), pk.SGD(net_), X, Y, checkpoint=path, early_stopping=pk.EarlyStopping("loss"),
            callbacks=[lambda state: kept.append(state.model.state_dict()) or None], **options,
        )  # fmt: skip
    for ours, theirs in zip(kept[:4], kept[4:], strict=True):
        for key, array in ours.items():
            np.testing.assert_array_equal(array, theirs[key])


def test_nothing_is_left_beside_it(tmp_path):
    model = net()
    pk.fit(model, pk.MeanSquaredError(), pk.SGD(model), X, Y, epochs=2, checkpoint=tmp_path / "a.npz", progress=False)
    assert os.listdir(tmp_path) == ["a.npz"]


def test_that_it_cannot_be_saved_is_found_before_the_first_step(tmp_path):
    class Hooked(pk.Function):
        def __init__(self):
            self.hook = object()

        def compute_forward(self, x):
            return x.copy()

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    model = pk.Sequential([net(), Hooked()])
    optimizer = pk.SGD(model)
    before = model.state_dict()
    with pytest.raises(TypeError):
        pk.fit(model, pk.MeanSquaredError(), optimizer, X, Y, checkpoint=tmp_path / "a.npz", progress=False)
    assert (optimizer.steps, optimizer.history, os.listdir(tmp_path)) == (0, None, [])
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_an_older_file_stays_when_fit_refuses(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"precious")
    model = net()
    with pytest.raises(ValueError, match="nothing is called"):
        pk.fit(
            model, pk.MeanSquaredError(), pk.SGD(model), X, Y, checkpoint=path, early_stopping=pk.EarlyStopping(), progress=False
        )
    assert path.read_bytes() == b"precious"


def test_an_optimizer_of_the_users_own_cannot_be_saved(tmp_path):
    class Own:
        def zero_grad(self):
            pass

        def step(self):
            pass

    with pytest.raises(TypeError, match=r"checkpoint needs one of pancake's optimizers"):
        pk.fit(net(), pk.MeanSquaredError(), Own(), X, Y, checkpoint=tmp_path / "a.npz", progress=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.pt", "got '.*model.pt'$"),
        ("", "got ''; write 'model.npz', say$"),
        (".", "got '.', a folder; write './model.npz', say$"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_named_as_it_was_given(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    model = net()
    with pytest.raises(ValueError, match=f"^fit: expected a path that ends in .npz or .safetensors, {words}"):
        pk.fit(model, pk.MeanSquaredError(), pk.SGD(model), X, Y, checkpoint=name, progress=False)
