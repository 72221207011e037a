"""Facts beside a model: what save takes as meta, and what load_meta gives back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from participant import Scale

import pancake as pk

FACTS = {
    "classes": ["cat", "dög", "\x00"],
    "features": ("age", "weight"),
    "threshold": 0.5,
    "unknown": math.inf,
    "counts": {1: 20, 2: 30, "none": None, (1, 2): True},
    "labels": [np.int64(3), np.float32(0.25), np.str_("x")],
    "mean": np.array([0.5, 1.5], np.float32),
}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("own", [False, True])
def test_facts_come_back(tmp_path, suffix, own):
    """Also those of a model of a user's own classes, which load_meta does not need."""
    path = tmp_path / f"model.{suffix}"
    model = Scale() if own else pk.Linear(2, 3, rng=0)
    pk.save(path, model, pk.SGD(model), meta=FACTS)
    facts = pk.load_meta(path)
    np.testing.assert_array_equal(facts.pop("mean"), FACTS["mean"])
    assert facts == {name: value for name, value in FACTS.items() if name != "mean"}
    assert isinstance(facts["features"], tuple)
    again, _ = pk.load(path, {"Scale": Scale})
    assert type(again) is type(model)


def test_a_model_without_facts_has_none(tmp_path):
    pk.save(tmp_path / "model.npz", pk.Tanh())
    assert pk.load_meta(tmp_path / "model.npz") == {}
    pk.save(tmp_path / "model.npz", pk.Tanh(), meta={})
    assert pk.load_meta(tmp_path / "model.npz") == {}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_files_of_version_1_have_no_facts(suffix):
    from test_serialization import FIXTURES

    assert pk.load_meta(FIXTURES / f"version1.{suffix}") == {}


@pytest.mark.parametrize(
    "value",
    [
        pk.Tanh(),
        np.tanh,
        pk.Tanh,
        open,
        {1, 2},
        1j,
        b"bytes",
        np.random.default_rng(0),
        [1, {"a": (object(),)}],
        np.array(["a", "b"]),
        np.datetime64("2020-01-01"),
        {pk.Tanh(): 1},
    ],
)
def test_what_is_no_fact_is_named(tmp_path, value):
    with pytest.raises(TypeError, match=r"save: meta(\[|\.)'?thing"):
        pk.save(tmp_path / "model.npz", pk.Tanh(), meta={"thing": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("meta", [["cat"], "cat", 3])
def test_facts_are_a_dict(tmp_path, meta):
    with pytest.raises(TypeError, match="save: expected meta to be a dict, got"):
        pk.save(tmp_path / "model.npz", pk.Tanh(), meta=meta)


def test_facts_that_hold_themselves(tmp_path):
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="a list or dict in it holds itself"):
        pk.save(tmp_path / "model.npz", pk.Tanh(), meta={"endless": endless})


def test_load_meta_refuses_what_load_refuses(tmp_path):
    np.savez(tmp_path / "plain.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"load_meta: .*plain\.npz' cannot be read: there is no pancake\.json"):
        pk.load_meta(tmp_path / "plain.npz")
    with pytest.raises(ValueError, match="load_meta: expected a path that ends in"):
        pk.load_meta(tmp_path / "model.pt")
    with pytest.raises(FileNotFoundError, match=r"load_meta: there is no file 'none\.npz' in"):
        pk.load_meta(tmp_path / "none.npz")
