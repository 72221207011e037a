"""Validation by a fraction: classes have their share, and nothing large is copied."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pancake as pk
from pancake.training.batches import Cut, Rows, rows_of
from pancake.training.holdout import held_out


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) >= 2 * len(sizes)),
    fraction=st.floats(0.02, 0.98),
    form=st.sampled_from(["labels", "column", "floats", "bytes", "one-hot", "names from 5"]),
    seed=st.integers(0, 5),
)
def test_each_class_has_its_share(sizes, fraction, form, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    total, count = len(y), round(fraction * len(y))
    if not 0 < count < total:
        return
    target = {
        "labels": y, "column": y[:, None], "floats": y * 1.0, "bytes": y.astype(np.uint8), "names from 5": 3 * y + 5,
        "one-hot": np.eye(len(sizes))[y] if len(sizes) > 1 else y,
    }[form]  # fmt: skip
    train, held = held_out(total, fraction, target)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(total))
    assert len(held) == count
    np.testing.assert_array_equal(held, np.sort(held))
    np.testing.assert_array_equal(train, np.sort(train))
    shares = np.bincount(y[held], minlength=len(sizes))
    places = count >= sum(size > 1 for size in sizes)
    for size, share in zip(sizes, shares, strict=True):
        assert size == 1 or share < size or not places or total - count < len(sizes)  # something is left to train with
        if size > 1 and places:
            assert share >= 1
        if size * count / total >= 1 and places:
            assert abs(share - size * count / total) < 1 + len(sizes)
    again = held_out(total, fraction, target)[1]
    np.testing.assert_array_equal(held, again)


def test_more_to_hold_out_than_all_but_one_of_each_class():
    y = np.repeat([0, 1, 2], [1, 1, 4])
    train, held = held_out(6, 0.875, y)
    assert (len(train), len(held)) == (1, 5)


def test_a_rare_class_is_in_both_parts():
    y = np.repeat([0, 1], [100, 5])
    for fraction in (0.05, 0.1, 0.2, 0.5, 0.9):
        train, held = held_out(105, fraction, y)
        assert 1 in y[train]
        assert 1 in y[held]
    assert (y[held_out(105, 0.2, y)[1]] == 1).sum() == 1


@pytest.mark.parametrize(
    "y",
    [
        np.arange(40.0)[:, None],
        np.random.default_rng(0).normal(size=(40, 2)),
        np.arange(40),
        np.zeros((40, 5), int),
        np.full(40, np.nan),
    ],
    ids=["numbers", "two outputs", "years", "labels of steps", "nan"],
)
def test_what_is_no_class_is_drawn_at_random(y):
    assert held_out(40, 0.25, y)[1].tolist() == sorted(np.random.default_rng(0).permutation(40)[:10])


def test_fit_holds_out_some_of_each_class():
    y = np.repeat([0, 1], [100, 5])
    x = np.random.default_rng(0).normal(size=(105, 2)) + y[:, None]
    model = pk.mlp([2, 4, 2], rng=0)
    rare = {"rare": lambda pred, target: (target == 1).sum()}
    history = pk.fit(model, pk.CrossEntropy(), pk.SGD(model), x, y, validation=0.2, metrics=rare, epochs=2, progress=False)
    assert history["rare"] == [4, 4]
    assert history["val_rare"] == [1, 1]


# --- arrays on a disk ---


@pytest.fixture
def on_disk(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(4000, 2000))  # 32 MB
    for start in range(0, 4000, 500):
        x[start : start + 500] = np.random.default_rng(start).normal(size=(500, 2000))
    x.flush()
    y = (np.asarray(x[:, 0]) > 0).astype(int)
    return np.load(tmp_path / "x.npy", mmap_mode="r"), y


@pytest.mark.parametrize("shuffle", [True, False])
def test_nothing_is_copied_of_an_array_on_a_disk(on_disk, shuffle):
    x, y = on_disk
    model = pk.Sequential([pk.Linear(2000, 2, rng=0, dtype=np.float32)])
    arguments = (model, pk.CrossEntropy(), pk.SGD(model, lr=1e-3), x, y)
    tracemalloc.start()
    history = pk.fit(*arguments, validation=0.25, epochs=1, batch_size=64, shuffle=shuffle, progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(history["val_loss"]).all()
    remembered = x[:1000].nbytes if pk.fast.switch.reasons else 0  # a layer by itself keeps a copy of what it is given
    # Of 32 MB, and less than the 8 MB to validate with and another work array.
    assert peak < 0.6 * x[:1000].nbytes + 8e6 + remembered


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [7, 64, 10_000])
def test_rows_that_are_taken_when_needed_are_the_same(shuffle, batch_size):
    """Training with a large array by a fraction is training with the two parts."""
    x = np.random.default_rng(0).normal(size=(300, 1000))
    y = (x[:, 0] > 0).astype(int)
    train, held = held_out(300, 0.2, y)
    assert isinstance(rows_of((x, y, None, None), train)[0], Rows)
    model, other = (pk.Sequential([pk.Linear(1000, 2, rng=0)]) for _ in range(2))
    options = {"epochs": 2, "batch_size": batch_size, "shuffle": shuffle, "rng": 0, "progress": False}
    history = pk.fit(model, pk.CrossEntropy(), pk.SGD(model), x, y, validation=0.2, **options)
    expected = pk.fit(other, pk.CrossEntropy(), pk.SGD(other), x[train], y[train], validation=(x[held], y[held]), **options)
    np.testing.assert_array_equal(model[0].weight, other[0].weight)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-14)


def test_batches_of_rows():
    x = np.arange(20.0)[:, None] * np.ones(70_000)
    rows = np.array([3, 5, 7, 11, 13, 17, 19])
    cut = Cut(rows_of((x, x[:, :1], np.arange(20.0), None), rows), 3)
    assert cut.count == 3
    assert [batch[0][:, 0].tolist() for batch in cut] == [[3, 5, 7], [11, 13, 17], [19]]
    cut.joined = True
    assert cut.count == 2
    assert [batch[2].tolist() for batch in cut] == [[3, 5, 7], [11, 13, 17, 19]]
    cut.rng = np.random.default_rng(0)
    shuffled = [*cut]
    assert sorted(np.concatenate([batch[2] for batch in shuffled])) == rows.tolist()
    for bx, by, w, lengths in shuffled:
        np.testing.assert_array_equal(bx[:, 0], w)
        np.testing.assert_array_equal(by[:, 0], w)
        assert lengths is None
