"""Models of several inputs: a tuple of arrays goes through fit, predict, evaluate, files and checks as one array does."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk
from pancake.testing import GradientError, check_function, check_gradients

RNG = np.random.default_rng(0)
N = 50
WORDS, NUMBERS = RNG.integers(0, 5, (N, 2)), RNG.normal(size=(N, 3))
Y = (WORDS[:, :1] % 2 + NUMBERS[:, :1] > 0.5).astype(float)


def make(dtype: Any = np.float64) -> pk.Sequential:
    """Words and numbers side by side."""
    words = pk.Sequential([pk.Embedding(5, 2, rng=0, dtype=dtype), pk.Flatten()])
    both = pk.Concatenate([words, pk.Identity()])
    return pk.Sequential([both, pk.Linear(7, 8, rng=1, dtype=dtype), pk.Tanh(), pk.Linear(8, 1, rng=2, dtype=dtype)])


class Joined(pk.Function):
    """The same model of one array, of which the first two columns are words."""

    def __init__(self) -> None:
        self.model = make()

    def compute_forward(self, x: Any) -> Any:
        return self.model((x[:, :2].astype(int), x[:, 2:]))

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return np.concatenate([np.asarray(d) for d in self.model.compute_backward(dObj_dOut)], axis=1)


def fitted(model: pk.Function, x: Any, **options: Any) -> pk.History:
    loss = pk.BinaryCrossEntropy(from_logits=True)
    options = {"epochs": 3, "batch_size": 8, "rng": 0, "progress": False, "metrics": {"accuracy": pk.accuracy}, **options}
    return pk.fit(model, loss, pk.Adam(model, lr=0.01), x, Y, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validation": 0.3},
        {"sample_weight": np.arange(N) % 3},
        {"shuffle": False, "batch_size": 100},
        {"early_stopping": "loss", "clip_norm": 0.1},
    ],
    ids=["plain", "validation", "weights", "whole", "stopping"],
)
def test_several_inputs_are_trained_as_their_columns_would_be(options: Any) -> None:
    model, joined = make(), Joined()
    histories = []
    for function, x in ((model, (WORDS, NUMBERS)), (joined, np.hstack([WORDS, NUMBERS]))):
        given = dict(options)
        if "early_stopping" in given:
            given["early_stopping"] = pk.EarlyStopping(given["early_stopping"], patience=2)
        histories.append(fitted(function, x, **given))
    assert {k: v for k, v in histories[0].items() if k != "seconds"} == {k: v for k, v in histories[1].items() if k != "seconds"}
    for name, array in model.state_dict().items():
        assert_array_equal(array, joined.model.state_dict()[name])


def test_predictions_come_block_by_block() -> None:
    model = make()
    whole = pk.predict(model, (WORDS, NUMBERS))
    assert_array_equal(whole, model((WORDS, NUMBERS)))
    assert_allclose(pk.predict(model, (WORDS, NUMBERS), batch_size=7), whole, rtol=1e-14)
    assert pk.predict(model, (WORDS[:0], NUMBERS[:0])).shape == (0, 1)
    many = tuple(np.tile(part, (50, 1)) for part in (WORDS, NUMBERS))
    assert_allclose(pk.predict(model, many), np.tile(whole, (50, 1)), rtol=1e-14)


def test_evaluation_batches_and_validation_sets() -> None:
    model, loss = make(), pk.BinaryCrossEntropy(from_logits=True)
    x = WORDS, NUMBERS
    value = pk.evaluate(model, loss, x, Y, metrics={"accuracy": pk.accuracy})
    history = fitted(model, x, validation=(x, Y), epochs=1, schedule=lambda step: 0.0)
    assert history["val_loss"] == pytest.approx([value["loss"]], rel=1e-12)
    assert history["loss"] == pytest.approx([value["loss"]], rel=1e-12)
    batches = [((WORDS[i : i + 10], NUMBERS[i : i + 10]), Y[i : i + 10]) for i in range(0, N, 10)]
    other = make()
    pk.fit(other, loss, pk.SGD(other), batches, epochs=2, progress=False)
    same = make()
    pk.fit(same, loss, pk.SGD(same), x, Y, batch_size=10, shuffle=False, epochs=2, progress=False)
    assert_array_equal(other[1].weight, same[1].weight)


def test_sequences_beside_numbers() -> None:
    """Lengths go to the branches that take them, and what stands past the end of a sequence does not count."""
    rng = np.random.default_rng(0)
    sequences, lengths = rng.normal(size=(N, 4, 3)), rng.integers(1, 5, N)
    sequences[np.arange(4) >= lengths[:, np.newaxis]] = np.nan
    recurrent = pk.Unrolled(pk.GRUCell(3, 2, rng=0), return_sequences=False)
    model = pk.Sequential([pk.Concatenate([recurrent, pk.Linear(3, 2, rng=1)]), pk.Linear(4, 1, rng=2)])
    history = fitted(model, (sequences, NUMBERS), lengths=lengths, validation=0.2)
    assert np.isfinite(history["val_loss"]).all()
    assert pk.predict(model, (sequences, NUMBERS), lengths=lengths).shape == (N, 1)


def test_files_and_copies(tmp_path: Any) -> None:
    model = make(np.float32)
    fitted(model, (WORDS, NUMBERS), checkpoint=tmp_path / "model.npz")
    for other in (pk.load(tmp_path / "model.npz")[0], pickle.loads(pickle.dumps(model))):
        y = pk.predict(other, (WORDS, NUMBERS))
        assert_array_equal(y, pk.predict(model, (WORDS, NUMBERS)))
        assert y.dtype == np.float32


def test_checks_take_a_tuple_as_one_input() -> None:
    x = (WORDS[:4], NUMBERS[:4])
    report = check_function(make(), x)
    assert report.ok
    assert [array.name for array in report.arrays][:2] == ["x[1]", "0.0.0.weight"]
    nested = pk.Add([pk.Multiply([pk.Tanh(), pk.Linear(3, 3, rng=0)]), pk.Square()])
    a, b, c = np.random.default_rng(1).normal(size=(3, 4, 3))
    assert check_function(nested, ((a, b), c)).ok
    gradient = nested.compute_backward(np.ones_like(nested(((a, b), c))))
    assert [np.shape(part) for part in (*gradient[0], gradient[1])] == [(4, 3)] * 3

    class Wrong(pk.Add):
        def gradients(self, dObj_dOut: Any, outputs: Any) -> Any:
            return (k * dObj_dOut for k in (1, 2))

    with pytest.raises(GradientError, match=r"Wrong.x\[1\]"):
        check_gradients(Wrong([pk.Tanh(), pk.Square()]), (a, b))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make()((WORDS, NUMBERS, NUMBERS)), r"Concatenate\(.*a tuple of 2, one for each branch, got a tuple of 3"),
        (lambda: pk.predict(make(), (WORDS, NUMBERS[:3])), r"predict: expected as many rows .*\(\(50, 2\), \(3, 3\)\)"),
        (lambda: pk.predict(make(), ()), "predict: expected as many rows"),
        (lambda: fitted(make(), (WORDS, NUMBERS[:3])), r"fit: expected as many rows in x\[1\] as in x, got \(3, 3\)"),
        (lambda: fitted(make(), ()), "got an empty tuple"),
        (lambda: fitted(make(), (WORDS, np.where(NUMBERS > 2, np.nan, NUMBERS))), r"fit: expected finite numbers in x\[1\]"),
        (lambda: fitted(make(), (NUMBERS, WORDS)), "whole numbers"),
        (lambda: fitted(make(), (WORDS + 1, NUMBERS)), "expected indices from 0 to 4, got values from 1 to 5"),
    ],
)
def test_what_does_not_fit(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_loss_that_is_not_finite_is_found_behind_several_inputs() -> None:
    model = pk.Sequential([pk.Add([pk.Linear(3, 1, rng=0), pk.Linear(3, 1, rng=1)]), pk.Exp()])
    with pytest.raises(pk.NonFiniteError, match="Exp"):
        pk.fit(model, pk.MeanSquaredError(), pk.SGD(model, lr=1e6), (NUMBERS, NUMBERS), Y, epochs=20, progress=False)
