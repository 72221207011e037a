"""Run under mpiexec with a folder to write to: what ranks do together beside the steps, asserted here."""

from __future__ import annotations

import contextlib
import copy
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import pancake as pk
from pancake.mpi import data_parallel
from pancake.testing import check_gradients

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
FOLDER = Path(sys.argv[1])
rng = np.random.default_rng(RANK)
ROWS = 26 + 2 * RANK  # uneven shards of as many batches
X, Y = rng.normal(size=(ROWS, 3)), rng.integers(0, 2, ROWS)


def same_everywhere(arrays: dict[str, Any]) -> bool:
    everybody = COMM.allgather({name: np.asarray(value).tobytes() for name, value in arrays.items()})
    return all(other == everybody[0] for other in everybody)


def test_a_checkpoint_goes_on_as_if_nothing_had_been() -> None:
    def train(path: Path, *epochs: int, everywhere: bool = True) -> Any:
        model = pk.mlp([3, 4, 2], rng=RANK)
        optimizer = data_parallel(pk.Adam(model))
        for i, count in enumerate(epochs):
            if i:
                COMM.Barrier()  # until rank 0 has written
                if everywhere or RANK == 0:
                    model, optimizer = pk.load(path)
                else:
                    model = pk.mlp([3, 4, 2], rng=RANK)
                    optimizer = pk.Adam(model)
                optimizer = data_parallel(optimizer)
            options = {"epochs": count, "batch_size": 8, "rng": 5 + RANK, "progress": False, "checkpoint": path}
            pk.fit(model, pk.CrossEntropy(), optimizer, X, Y, **options)
        assert type(optimizer) is pk.Adam
        return model, optimizer

    whole, optimizer = train(FOLDER / "whole.npz", 4)
    for everywhere in (True, False):
        parts, other = train(FOLDER / "parts.npz", 2, 2, everywhere=everywhere)
        assert same_everywhere(parts.state_dict())
        for name, array in whole.state_dict().items():
            np.testing.assert_array_equal(parts.state_dict()[name], array)
        assert optimizer.history["loss"] == other.history["loss"]
        assert optimizer.steps == other.steps == 4 * 4


def test_only_rank_0_writes() -> None:
    model = pk.mlp([3, 4, 2], rng=0)
    optimizer = data_parallel(pk.SGD(model))
    for number, arguments in enumerate([(model,), (model, optimizer)]):
        path = FOLDER / f"rank{RANK}-{number}.npz"
        pk.save(path, *arguments)
        assert path.exists() == (RANK == 0)
    other = FOLDER / f"other{RANK}.npz"
    pk.save(other, copy.deepcopy(model))  # which nobody trains
    assert other.exists()


def test_only_rank_0_shows_progress() -> None:
    model = pk.mlp([3, 4, 2], rng=0)
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        pk.fit(model, pk.CrossEntropy(), data_parallel(pk.SGD(model)), X, Y, epochs=2, batch_size=8)
    assert bool(shown.getvalue()) == (RANK == 0)


def test_running_statistics_are_those_of_the_joined_rows() -> None:
    model = pk.Sequential(
        [pk.Standardize(3, mean=[0.1, 0.2, 0.3]), pk.Linear(3, 4, rng=0), pk.BatchNorm(4), pk.Linear(4, 2, rng=0)]
    )
    optimizer, loss = data_parallel(pk.SGD(model, lr=0.0)), pk.CrossEntropy()
    hidden = model[1](model[0](X))
    for _ in range(2):
        optimizer.zero_grad()
        loss(model(X), Y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
    rows = np.array(COMM.allgather(ROWS))
    means, variances = np.array(COMM.allgather(hidden.mean(axis=0))), np.array(COMM.allgather(hidden.var(axis=0, ddof=1)))
    np.testing.assert_allclose(model[2].running_mean, (1 - 0.9**2) * rows @ means / rows.sum(), rtol=1e-12)
    np.testing.assert_allclose(model[2].running_var, 0.9**2 + (1 - 0.9**2) * rows @ variances / rows.sum(), rtol=1e-12)
    assert same_everywhere(model.state_dict())
    assert model[0].mean.tolist() == [0.1, 0.2, 0.3]


def test_early_stopping_and_callbacks_end_all() -> None:
    model = pk.Sequential([pk.Linear(3, 8, rng=0), pk.BatchNorm(8), pk.ReLU(), pk.Linear(8, 2, rng=0)])
    stopping = pk.EarlyStopping("val_accuracy", patience=3)
    options = {"batch_size": 8, "validation": 0.3, "metrics": {"accuracy": pk.accuracy}, "progress": False, "epochs": 200}
    optimizer = data_parallel(pk.Adam(model, lr=0.05))
    history = pk.fit(model, pk.CrossEntropy(), optimizer, X, Y, early_stopping=stopping, **options)
    ends = COMM.allgather((history.epochs, stopping.best_epoch, stopping.best))
    assert set(ends) == {ends[0]}
    assert history.epochs < 200
    arrays = model.state_dict()
    assert same_everywhere(arrays)
    before = history.epochs
    last = RANK == SIZE - 1
    pk.fit(model, pk.CrossEntropy(), optimizer, X, Y, callbacks=[lambda state: last and state.epoch == before + 2], **options)
    assert optimizer.history.epochs == before + 2
    figures = {name: column for name, column in optimizer.history.items() if name != "seconds"}
    assert same_everywhere(figures)


def test_every_rank_has_an_order_of_its_own() -> None:
    seen: list[Any] = []
    model = pk.Sequential([Watching(seen), pk.Linear(1, 1, rng=0)])
    x = np.arange(24.0)[:, np.newaxis]
    options = {"epochs": 2, "batch_size": 6, "rng": 0, "progress": False}
    pk.fit(model, pk.MeanSquaredError(), data_parallel(pk.SGD(model, lr=0.0)), x, x, **options)
    order = np.concatenate(seen[-8:]).ravel()
    assert sorted(order[:24]) == sorted(order[24:]) == x.ravel().tolist()
    assert len({tuple(other[:24]) for other in COMM.allgather(order)} | {tuple(order[24:])}) == SIZE + 1


class Watching(pk.Function):
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def compute_forward(self, x: Any) -> Any:
        if self.training:
            self.seen.append(x.copy())
        return x

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return dObj_dOut.copy()


def test_steps_as_one_call_and_programs_made_before() -> None:
    model, loss = pk.mlp([3, 4, 2], rng=0), pk.CrossEntropy()
    optimizer = pk.SGD(model, lr=0.1)
    step = pk.TrainStep(model, loss, optimizer)
    step(X[:8], Y[:8])
    data_parallel(optimizer)
    for _ in range(3):
        step(X[:8], Y[:8])
    assert same_everywhere(model.state_dict())


def test_two_losses_of_a_step() -> None:
    model = pk.Linear(3, 2, rng=RANK)
    optimizer = data_parallel(pk.SGD(model, lr=0.1))
    losses = pk.CrossEntropy(), pk.MeanSquaredError()
    targets = Y, np.zeros((ROWS, 2))
    optimizer.zero_grad()
    for loss, target in zip(losses, targets, strict=True):
        loss(model(X), target)
        model.accumulate_grads(loss.compute_backward())
    optimizer.step()
    assert same_everywhere(model.state_dict())

    optimizer.zero_grad()
    for loss, count in zip(losses, (ROWS, 4), strict=True):
        loss(model(X[:count]), Y[:count] if loss is losses[0] else np.zeros((count, 2)))
        model.accumulate_grads(loss.compute_backward())
    with pytest.raises(ValueError, match="another share"):
        optimizer.step()


def test_a_loss_without_a_backward_counts_for_nothing() -> None:
    model, loss = pk.Linear(3, 2, rng=RANK), pk.CrossEntropy()
    optimizer = data_parallel(pk.SGD(model, lr=0.1))
    optimizer.zero_grad()
    pk.evaluate(model, loss, X[:4], Y[:4])
    loss(model(X), Y)
    model.accumulate_grads(loss.compute_backward())
    gradients = COMM.allgather(model.grad_weight * ROWS)
    pk.evaluate(model, loss, X[:4], Y[:4])
    optimizer.step()
    np.testing.assert_allclose(model.grad_weight, sum(gradients) / sum(COMM.allgather(ROWS)), rtol=1e-12)


def test_what_changes_later_is_followed() -> None:
    model = pk.Sequential([pk.Linear(3, 4, rng=0), pk.Tanh(), pk.Linear(4, 2, rng=0)])
    optimizer, loss = data_parallel(pk.Adam(model)), pk.CrossEntropy()
    for change in (lambda: model.astype(np.float32), lambda: model[0].freeze(), lambda: model[0].freeze(False)):
        change()
        optimizer.zero_grad()
        loss(model(X), Y)
        model.accumulate_grads(loss.compute_backward())
        gradients = COMM.allgather(model[2].grad_weight.astype(float) * ROWS)
        pk.clip_grad_norm(model, 1e9)
        expected = sum(gradients) / sum(COMM.allgather(ROWS))
        np.testing.assert_allclose(model[2].grad_weight, expected, rtol=1e-5, atol=1e-7)
        optimizer.step()
        assert same_everywhere(model.state_dict())
    model.astype(np.float16)
    optimizer.zero_grad()
    loss(model(X), Y)
    model.accumulate_grads(loss.compute_backward())
    optimizer.step()
    assert same_everywhere(model.state_dict())


def test_copies_are_alone() -> None:
    model = pk.mlp([3, 4, 2], rng=0)
    optimizer = data_parallel(pk.SGD(model))
    alone, other = copy.deepcopy((model, optimizer))
    assert other.ranks is None
    if RANK == 0:  # nobody waits
        pk.fit(alone, pk.CrossEntropy(), other, X, Y, epochs=1, progress=False)
        pk.find_learning_rate(model, pk.CrossEntropy(), optimizer, X, Y)
    check_gradients(model, X)


def test_a_part_of_the_ranks() -> None:
    part = COMM.Split(RANK % 2, RANK)
    model = pk.mlp([3, 4, 2], rng=RANK)
    optimizer = data_parallel(pk.SGD(model), part)
    assert (optimizer.ranks is None) == (SIZE < 4)
    pk.fit(model, pk.CrossEntropy(), optimizer, X, Y, epochs=2, batch_size=8, progress=False)
    alone = pk.SGD(pk.mlp([3, 4, 2], rng=RANK))
    assert data_parallel(alone, MPI.COMM_SELF) is alone
    assert alone.ranks is None


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            COMM.Barrier()
            if RANK == 0:
                print(name, flush=True)
