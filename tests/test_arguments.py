"""What is not taken is refused in the words of whoever typed it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.arguments import brief

X, Y = np.ones((4, 2)), np.zeros(4, int)


def train(**options: Any) -> None:
    model = pk.mlp([2, 2], rng=0)
    pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, **{"progress": False, **options})


@pytest.mark.parametrize("rng", ["x", -1, 1.5, True])
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


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda model: pk.explain(model, X),
            "explain: expected explain(model, loss, x, y), got explain(Sequential, ndarray), without x, y",
        ),
        (
            lambda model: pk.explain(model, x=X, y=Y),
            "explain: expected explain(model, loss, x, y), got explain(Sequential, x=ndarray, y=ndarray), without loss",
        ),
        (
            lambda model: pk.fit(model, X, Y),
            "fit: expected fit(model, loss, optimizer, x, y), got fit(Sequential, ndarray, ndarray), without x",
        ),
        (
            lambda model: pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, 5),
            "fit: expected at most 5 arguments by position, model, loss, optimizer, x, y, got 6; write the names of the others, "
            "as in epochs=...",
        ),
        (
            lambda model: pk.evaluate(model, X, Y),
            "evaluate: expected evaluate(model, loss, x, y), got evaluate(Sequential, ndarray, ndarray), without y",
        ),
        (lambda model: pk.save("net.npz"), "save: expected save(path, model, optimizer), got save(str), without model"),
        (lambda model: pk.load(), "load: expected load(path, custom), got load(), without path"),
        (lambda model: pk.load("net.npz", {}, 1), "load: expected at most 2 arguments by position, path, custom, got 3"),
        (
            lambda model: pk.Conv2d(1, 32, 3, 1),
            "Conv2d: expected at most 3 arguments by position, n_in, n_out, kernel_size, got 4; write the names of the others, "
            "as in stride=...",
        ),
        (
            lambda model: pk.Conv2d(3, 8),
            "Conv2d: expected Conv2d(n_in, n_out, kernel_size), got Conv2d(int, int), without kernel_size",
        ),
        (lambda model: pk.GRUCell(n_in=3), "GRUCell: expected GRUCell(n_in, n_hidden), got GRUCell(n_in=int), without n_hidden"),
        (lambda model: pk.SGD(lr=0.1), "SGD: expected SGD(model), got SGD(lr=float), without model"),
        (lambda model: pk.Quantile(reduction="sum"), "Quantile: expected Quantile(q), got Quantile(reduction=str), without q"),
        (
            lambda model: pk.LSTMCell(2, 3, True),
            "LSTMCell: expected at most 2 arguments by position, n_in, n_hidden, got 3; write the names of the others, "
            "as in rng=...",
        ),
        (
            lambda model: pk.Hinge("sum"),
            "Hinge: expected at most 0 arguments by position, got 1; write the names of the others, as in reduction=...",
        ),
        (
            lambda model: pk.SGD(model, 0.1, 0.9, False, 0.0, 0.0),
            "SGD: expected at most 5 arguments by position, model, lr, momentum, nesterov, weight_decay, got 6",
        ),
        (lambda model: pk.mlp(), "mlp: expected mlp(sizes, activation, output), got mlp(), without sizes"),
        (lambda model: pk.rnn(), "rnn: expected rnn(sizes, cell, output), got rnn(), without sizes"),
        (
            lambda model: pk.rnn([2, 3, 1], pk.GRUCell, None, False),
            "rnn: expected at most 3 arguments by position, sizes, cell, output, got 4; write the names of the others, as in "
            "return_sequences=...",
        ),
        (
            lambda model: pk.plot_decision_boundary(model, X),
            "plot_decision_boundary: expected plot_decision_boundary(model, X, y), got "
            "plot_decision_boundary(Sequential, ndarray), without y",
        ),
        (lambda model: pk.load("net.npz", costum={}), "load: got an unexpected argument 'costum'; did you mean custom?"),
        (
            lambda model: pk.datasets.moons(200, random_state=0),
            "moons: got an unexpected argument 'random_state'; pancake's word for it is rng",
        ),
        (
            lambda model: pk.datasets.moons(200, 0.1),
            "moons: expected at most 1 arguments by position, n, got 2; write the names of the others, as in noise=...",
        ),
        (lambda model: pk.cosine(0.1), "cosine: expected cosine(lr, steps, lr_min), got cosine(float), without steps"),
        (lambda model: pk.cosine(0.1, T_max=10), "cosine: got an unexpected argument 'T_max'; it takes lr, steps, lr_min"),
        (
            lambda model: pk.find_learning_rate(model, X, Y),
            "find_learning_rate: expected find_learning_rate(model, loss, optimizer, x, y), got "
            "find_learning_rate(Sequential, ndarray, ndarray), without x, y",
        ),
        (lambda model: pk.show_pred(), "show_pred: expected show_pred(model, r, show), got show_pred(), without model"),
        (
            lambda model: pk.plot_history(),
            "plot_history: expected plot_history(history, metrics), got plot_history(), without history",
        ),
        (
            lambda model: pk.minimize(model, X, Y),
            "minimize: expected minimize(model, loss, x, y), got minimize(Sequential, ndarray, ndarray), without y",
        ),
        (
            lambda model: pk.testing.check_function(model),
            "check_function: expected check_function(function, x), got check_function(Sequential), without x",
        ),
    ],
)
def test_a_call_that_lacks_something_or_has_too_much(call: Any, said: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        call(pk.mlp([2, 2], rng=0))


MANY = np.zeros((40, 2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda model: pk.explain(model, MANY, Y, pk.CrossEntropy()),
            "explain: expected a loss, .* as second argument, got ndarray of",
        ),
        (lambda model: pk.evaluate(model, MANY, Y, pk.CrossEntropy()), "evaluate: expected a loss, .*, got ndarray of"),
        (
            lambda model: train(validation=MANY),
            "fit: expected validation to be a fraction between 0 and 1, or .*, got ndarray of",
        ),
        (lambda model: pk.show_pred(model, MANY), "show_pred: expected r to be a number, got ndarray of"),
        (lambda model: pk.show_pred(MANY), "show_pred: expected a model that can be called .* as first argument, got ndarray of"),
        (lambda model: pk.plot_decision_boundary(MANY, Y, model), "plot_decision_boundary: expected a model .*, got ndarray of"),
        (lambda model: pk.save("net.npz", MANY), "save: expected a Function as second argument, got ndarray of"),
        (lambda model: pk.testing.check_function(MANY, model), "expected an object with compute_forward .*, got ndarray of"),
    ],
)
def test_an_array_in_the_place_of_something_else_is_told_by_its_shape(call: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"^{said} shape \(40, 2\)"):
        call(pk.mlp([2, 2], rng=0))


def test_a_batch_size_that_no_index_holds_is_all_rows() -> None:
    train(batch_size=10**20)


def test_what_came_in_few_words() -> None:
    assert brief(np.ones(2)) == "array([1., 1.])"
    assert brief(np.ones((3, 50))) == "ndarray of shape (3, 50)"
    assert brief({"a": np.eye(2)}) == "{'a': array([[1., 0.], [0., 1.]])}"
    assert brief("x" * 200) == "'" + "x" * 99 + "..."


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none" / "net.npz"
    with pytest.raises(FileNotFoundError, match=r"^save: there is no folder '.*none' to write 'net.npz' into$"):
        pk.save(path, pk.Linear(2, 1))
    with pytest.raises(FileNotFoundError, match=r"^fit: there is no folder '.*none' to write 'net.npz' into$"):
        train(checkpoint=path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [3, b"net.npz", ["net.npz"]])
def test_a_checkpoint_that_is_no_path(path: Any) -> None:
    with pytest.raises(TypeError, match=r"^fit: expected checkpoint to be the path of a file, such as 'model.npz', got "):
        train(checkpoint=path)


WRITERS: dict[str, Callable[[Any], object]] = {
    "save": lambda path: pk.save(path, pk.Tanh()),
    "load": lambda path: pk.load(path),
    "load_meta": lambda path: pk.load_meta(path),
    "to_onnx": lambda path: pk.export.to_onnx(pk.Tanh(), path, x=np.ones((1, 2))),
    "to_js": lambda path: pk.export.to_js(pk.Tanh(), path, x=np.ones((1, 2))),
    "to_c": lambda path: pk.export.to_c(pk.Tanh(), path, x=np.ones((1, 2))),
    "to_page": lambda path: pk.export.to_page(pk.Linear(2, 2), np.ones((2, 2)), [0, 1], path),
    "History.to_csv": lambda path: pk.History(loss=[1.0]).to_csv(path),
}


@pytest.mark.parametrize("path", [7, True, b"net.npz", 2.5, ["net.npz"], np.ones(2)], ids=repr)
@pytest.mark.parametrize("owner", WRITERS)
def test_what_is_no_path(owner: str, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number would be a file that is open already: 1 is where the program prints, and closed then."""
    if owner == "to_onnx":
        pytest.importorskip("onnx", reason="to_onnx needs onnx")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=rf"^{owner}: expected a path such as '\w+\.\w+'.*, got "):
        WRITERS[owner](path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        ("fit", "shuffle", lambda value: train(shuffle=value)),
        ("fit", "progress", lambda value: train(progress=value)),
        ("Linear", "bias", lambda value: pk.Linear(2, 1, bias=value)),
        ("Conv1d", "bias", lambda value: pk.Conv1d(2, 1, 3, bias=value)),
        ("MultiHeadAttention", "bias", lambda value: pk.MultiHeadAttention(4, 2, bias=value)),
        ("MultiHeadAttention", "causal", lambda value: pk.MultiHeadAttention(4, 2, causal=value)),
        ("Unrolled", "return_sequences", lambda value: pk.Unrolled(pk.GRUCell(2, 1), return_sequences=value)),
        ("Unrolled", "reverse", lambda value: pk.Unrolled(pk.GRUCell(2, 1), reverse=value)),
        ("rnn", "return_sequences", lambda value: pk.rnn([2, 3, 1], return_sequences=value)),
        ("rnn", "bidirectional", lambda value: pk.rnn([2, 3, 1], bidirectional=value)),
        ("SGD", "nesterov", lambda value: pk.SGD(pk.Linear(2, 1), momentum=0.9, nesterov=value)),
        ("accuracy", "multilabel", lambda value: pk.accuracy(np.eye(2), np.eye(2), multilabel=value)),
        ("Linear", "mode", lambda value: pk.Linear(2, 1).train(value)),
        ("Linear", "mode", lambda value: pk.Linear(2, 1).freeze(value)),
        ("BinaryCrossEntropy", "from_logits", lambda value: pk.BinaryCrossEntropy(from_logits=value)),
    ],
)
def test_what_is_neither_true_nor_false(owner: str, name: str, call: Any) -> None:
    for value in ("False", "no", 2, 2.0, np.ones(2), *([None] if name != "progress" else [])):
        with pytest.raises(TypeError, match=f"^{owner}: expected {name} to be True or False, got {re.escape(repr(value))}$"):
            call(value)
    for value in (True, False, np.True_, np.False_, 0, 1):
        call(value)


def test_no_progress_may_be_a_bool_of_numpy(capsys: Any) -> None:
    train(progress=np.False_)
    assert not capsys.readouterr().out


def test_an_activation_that_needs_arguments() -> None:
    for make in (pk.Linear, lambda slope: pk.LeakyReLU(slope)):
        for name in ("activation", "output"):
            with pytest.raises(
                TypeError, match=rf"^mlp: expected {name} to make a Function without being given anything, got .*missing"
            ):
                pk.mlp([2, 3, 1], **{name: make})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: pk.mlp(2, 10, 1), "got 2; all sizes go into one list"),
        (lambda: pk.mlp([2, 3, 1], activation="tanh"), "got 'tanh'; write activation=pancake.Tanh, without quotes"),
        (
            lambda: pk.mlp([2, 3, 1], activation="leaky_relu"),
            "got 'leaky_relu'; write activation=pancake.LeakyReLU, without quotes",
        ),
        (lambda: pk.mlp([2, 3, 1], activation="relu"), "got 'relu'; write activation=pancake.ReLU, without quotes"),
        (lambda: pk.mlp([2, 3, 1], activation=pk.ReLU()), "got ReLU(); write activation=ReLU, without brackets"),
        (lambda: pk.mlp([2, 3, 1], output=pk.Sigmoid()), "got Sigmoid(); write output=Sigmoid, without brackets"),
    ],
)
def test_what_an_mlp_is_made_of(call: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^mlp: expected .*{re.escape(said)}$"):
        call()


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda n: pk.Linear(n, n), [(100, 100), (100,)]),
        (lambda n: pk.MatMul(n, n), [(100, 100)]),
        (lambda n: pk.Embedding(n, n), [(100, 100)]),
        (lambda n: pk.PositionalEmbedding(n, n), [(100, 100)]),
        (lambda n: pk.Conv1d(n, n, np.uint8(3)), [(100, 100, 3), (100,)]),
        (lambda n: pk.GRUCell(n, n), [(300, 100), (300, 100), (300,), (300,)]),
        (lambda n: pk.MultiHeadAttention(n, np.uint8(2)), [(300, 100), (300,), (100, 100), (100,)]),
        (lambda n: pk.mlp([20, 300, n]), [(300, 20), (300,), (100, 300), (100,)]),
        (lambda n: pk.mlp(np.array([20, n, n], np.uint8)), [(100, 20), (100,), (100, 100), (100,)]),
        (lambda n: pk.rnn([2, n + np.uint8(50), 3], cell=pk.RNNCell, bidirectional=True)[-1], [(3, 300), (3,)]),
    ],
)
def test_sizes_that_come_from_small_integers_do_not_wrap_around(make, shapes):
    """The number of classes is `labels.max() + 1`, which of labels in uint8 is a uint8: 100 times 100 of them is 16."""
    before, after = make(np.uint8(100)), pk.Linear(100, 100)
    params = [*before.get_params_and_grads()[0], *after.get_params_and_grads()[0]]
    assert [p.shape for p in params] == [*shapes, (100, 100), (100,)]
    assert not any(np.shares_memory(p, q) for p, q in itertools.combinations(params, 2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: pk.Huber(10**400), "Huber: expected delta to be finite, got 1000"),
        (lambda: pk.ELU(-(10**400)), "ELU: expected alpha to be finite, got -1000"),
        (lambda: pk.Dropout(10**400), "Dropout: expected p at least 0 and finite, got 1000"),
        (lambda: pk.LayerNorm(2, eps=10**400), "LayerNorm: expected eps at least 0 and finite, got 1000"),
        (lambda: pk.RNNCell(2, 3, ["tanh"]), "RNNCell: expected activation to be one of tanh, relu, sigmoid, got ['tanh']"),
        (lambda: pk.RNNCell(2, 3, {"f": 1}), "RNNCell: expected activation to be one of tanh, relu, sigmoid, got {'f': 1}"),
        (
            lambda: pk.MeanSquaredError(reduction=np.array(["sum", "mean"])),
            "MeanSquaredError: expected reduction to be one of mean, sum, none, got array(['sum', 'mean']",
        ),
        (
            lambda: pk.Sequential(np.array(1.0)),
            "Sequential: expected a list of Functions, got array(1.); write Sequential([...])",
        ),
        (
            lambda: pk.Bidirectional(pk.GRUCell(2, 3), pk.GRUCell(2, 3), "no"),
            "Bidirectional: expected return_sequences to be True or False, got 'no'",
        ),
    ],
)
def test_odd_arguments_are_refused_by_name(call: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(said)}"):
        call()
