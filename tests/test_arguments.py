"""What is not taken is refused in the words of whoever typed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pancake as pk

X, Y = np.ones((4, 2)), np.zeros(4, int)


def train(**options: Any) -> None:
    model = pk.mlp([2, 2], rng=0)
    pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, progress=False, **options)


@pytest.mark.parametrize("rng", ["x", -1, 1.5])
@pytest.mark.parametrize(
    ("owner", "call"),
    [
        ("moons", lambda rng: pk.datasets.moons(10, rng=rng)),
        ("mlp", lambda rng: pk.mlp([2, 1], rng=rng)),
        ("rnn", lambda rng: pk.rnn([2, 2, 1], rng=rng)),
        ("Linear", lambda rng: pk.Linear(2, 1, rng=rng)),
        ("Dropout", lambda rng: pk.Dropout(0.5, rng=rng)),
        ("GRUCell", lambda rng: pk.GRUCell(2, 1, rng=rng)),
        ("Embedding", lambda rng: pk.Embedding(2, 1, rng=rng)),
        ("Conv1d", lambda rng: pk.Conv1d(2, 1, 3, rng=rng)),
        ("fit", lambda rng: train(rng=rng)),
    ],
)
def test_a_seed_that_is_none(owner: str, call: Any, rng: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{owner}.*: expected rng to be None, a whole number .*, got {rng!r}$"):
        call(rng)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none" / "net.npz"
    with pytest.raises(FileNotFoundError, match=r"^save: there is no folder '.*none' to write 'net.npz' into$"):
        pk.save(path, pk.Linear(2, 1))
    with pytest.raises(FileNotFoundError, match=r"^fit: there is no folder '.*none' to write 'net.npz' into$"):
        train(checkpoint=path)
    assert not list(tmp_path.iterdir())


def test_an_activation_that_needs_arguments() -> None:
    for make in (pk.Linear, lambda slope: pk.LeakyReLU(slope)):
        for name in ("activation", "output"):
            with pytest.raises(
                TypeError, match=rf"^mlp: expected {name} to make a Function without being given anything, got .*missing"
            ):
                pk.mlp([2, 3, 1], **{name: make})
