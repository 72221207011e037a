"""Steps with large batches: many rows in blocks, wide ones as they lie in memory."""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import Any

import numpy as np
import pytest
from twins import RNG, programs, same_training

import pancake as pk
from pancake import TrainStep
from pancake.fast import chains
from pancake.fast.steps import BlockStep


def test_blocks_of_many_rows() -> None:
    model = pk.mlp([2, 64, 64, 3], activation=pk.Tanh, rng=0)
    data = [(RNG.normal(size=(n, 2)), RNG.integers(0, 3, n)) for n in (5000, 5001, 5000, 4)]
    step = same_training(model, pk.CrossEntropy(), pk.Adam(model), data, 1e-9)
    large = [program for program in programs(step) if isinstance(program, BlockStep)]
    assert len(large) == 2
    for program in large:
        sizes = [rows.stop - rows.start for rows, _ in program.blocks]
        assert sum(sizes) in (5000, 5001)
        assert max(sizes) - min(sizes) <= 1 < len(sizes)
        assert program.numbers < 1_000_000  # instead of ten million


@pytest.mark.parametrize(("rows", "n_in"), [(5000, 2), (50, 400)])
def test_nothing_is_remembered_of_a_large_batch(rows: int, n_in: int) -> None:
    """Of blocks, the last one is no answer for the batch; wide rows would have to be copied for it."""
    model, loss = pk.mlp([n_in, 64, 64, 2], rng=0), pk.MeanSquaredError()
    x, y = RNG.normal(size=(rows, n_in)), RNG.normal(size=(rows, 2))
    step = TrainStep(model, loss, pk.SGD(model))
    y_hat = model(x)
    loss(y_hat, y)
    step(x, y)
    for backward in (loss.compute_backward, lambda: model.compute_backward(y_hat), lambda: model[0].compute_backward(y_hat)):
        with pytest.raises(RuntimeError, match="needs"):
            backward()


def test_a_large_batch_that_is_refused_is_forgotten() -> None:
    model, loss = pk.mlp([3, 6, 2], rng=0), pk.CrossEntropy()
    step = TrainStep(model, loss, pk.SGD(model))
    x, y = RNG.normal(size=(9000, 3)), np.zeros(9000, int)
    y[8000] = 9
    loss(model(x[:7]), y[:7])
    with pytest.raises(ValueError, match="label"):
        step(x, y)
    assert loss.compute_backward().shape == (7, 2)


def test_infinite_numbers_in_one_block_are_seen() -> None:
    x, y = np.ones((5000, 2)), np.zeros(5000, int)
    x[3000] = np.inf
    model = pk.mlp([2, 64, 64, 2], activation=pk.ReLU, rng=0)
    with np.errstate(all="ignore"):
        assert np.isnan(TrainStep(model, pk.CrossEntropy(), pk.SGD(model))(x, y))


@pytest.mark.parametrize("n_in", [2, 400])
def test_fit_ends_where_the_loss_of_a_large_batch_is_not_finite(n_in: int) -> None:
    model = pk.mlp([n_in, 64, 64, 2], rng=0)
    model[-1].weight[...] = 1e200  # of which the square is infinite
    before = model.state_dict()
    x, y = RNG.normal(size=(5000, n_in)), RNG.normal(size=(5000, 2))
    with pytest.raises(pk.NonFiniteError, match="the loss is inf in epoch 1, batch 1"):
        pk.fit(model, pk.MeanSquaredError(), pk.SGD(model), x, y, batch_size=5000, progress=False)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_arrays_of_blocks_go_with_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    begin = chains.Chain.__init__

    def noted(self: chains.Chain, *args: Any, **options: Any) -> None:
        made.append(weakref.ref(self))
        begin(self, *args, **options)

    monkeypatch.setattr(chains.Chain, "__init__", noted)
    model = pk.mlp([2, 64, 64, 2], rng=0)
    step = TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
    step(RNG.normal(size=(5000, 2)), RNG.normal(size=(5000, 2)))
    gc.disable()
    try:
        del step
        assert made
        assert all(chain() is None for chain in made)
    finally:
        gc.enable()


def test_fit_measures_what_blocks_put_out() -> None:
    x, y = RNG.normal(size=(6000, 2)), RNG.integers(0, 2, 6000)
    accuracies = []
    for on in (True, False):
        model = pk.mlp([2, 64, 64, 2], rng=0)
        with contextlib.nullcontext() if on else pk.fast.off():
            options: Any = {"epochs": 2, "batch_size": 6000, "metrics": {"accuracy": pk.accuracy}, "rng": 0, "progress": False}
            accuracies.append(pk.fit(model, pk.CrossEntropy(), pk.Adam(model), x, y, **options)["accuracy"])
    assert accuracies[0] == accuracies[1]


ROWS = RNG.normal(size=(600, 1000))
LAYOUTS = {
    "rows": lambda dtype: ROWS[100:150, :500].astype(dtype),
    "some rows": lambda dtype: ROWS.astype(dtype)[100:200:2, :500],
    "columns": lambda dtype: np.asfortranarray(ROWS[100:150, :500], dtype),
    "some columns": lambda dtype: ROWS.astype(dtype)[100:150, ::2],
    "backward": lambda dtype: ROWS.astype(dtype)[150:100:-1, 500:0:-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtypes", [(np.float64, np.float64), (np.float32, np.float32), (np.float32, np.float64)], ids=repr)
@pytest.mark.parametrize("hidden", [[], [8], [100]], ids=repr)
def test_wide_rows(layout: str, dtypes: Any, hidden: list[int]) -> None:
    of_model, of_x = dtypes
    model = pk.mlp([500, *hidden, 3], rng=0, dtype=of_model)
    x = LAYOUTS[layout](of_x)
    x.flags.writeable = False
    data = [(x, RNG.integers(0, 3, len(x))) for _ in range(3)]
    step = same_training(model, pk.CrossEntropy(), pk.Adam(model), data, 1e-9 if of_model is np.float64 else 1e-3)
    assert [type(program) for program in programs(step)] == [BlockStep]
    assert step._steps.objective(*data[0], None) is not None  # it has not left them to the four lines


@pytest.mark.parametrize(("n", "n_in"), [(50, 500), (5000, 2)])
def test_a_large_batch_is_not_kept(n: int, n_in: int) -> None:
    model = pk.mlp([n_in, 64, 64, 3], rng=0)
    step = TrainStep(model, pk.CrossEntropy(), pk.Adam(model))
    x = RNG.normal(size=(n, n_in))
    step(x, RNG.integers(0, 3, n))
    alive = weakref.ref(x)
    del x
    assert alive() is None
