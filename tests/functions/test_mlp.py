"""The usual stack: what `mlp` makes, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake import Linear, ReLU, Sequential, Sigmoid, Tanh, mlp


@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_layers(sizes, with_output, dtype):
    model = mlp(sizes, activation=Tanh, output=Sigmoid if with_output else None, rng=0, dtype=dtype)
    n = len(sizes) - 1
    expected = ([Linear, Tanh] * n)[:-1] + [Sigmoid] * with_output
    assert [type(f) for f in model] == expected
    layers = [f for f in model if isinstance(f, Linear)]
    assert [(f.n_in, f.n_out) for f in layers] == list(itertools.pairwise(sizes))
    assert model.num_parameters == sum((i + 1) * o for i, o in itertools.pairwise(sizes))
    assert model(np.ones((3, sizes[0]))).shape == (3, sizes[-1])
    assert {p.dtype for p in model.get_params_and_grads()[0]} == {np.dtype(dtype)}


def test_defaults():
    model = mlp([2, 10, 10, 1])
    assert repr(model) == "Sequential([Linear(2, 10), ReLU(), Linear(10, 10), ReLU(), Linear(10, 1)])"
    assert isinstance(model, Sequential)


def test_one_generator_serves_all_layers():
    model, again = mlp([4, 4, 4], rng=0), mlp((4, 4, 4), rng=np.random.default_rng(0))
    for p, q in zip(model.get_params_and_grads()[0], again.get_params_and_grads()[0], strict=True):
        np.testing.assert_array_equal(p, q)
    assert not np.array_equal(model[0].weight, model[2].weight)


def test_init_goes_to_every_layer():
    model = mlp([2, 3, 1], init="zeros")
    assert not any(p.any() for p in model.get_params_and_grads()[0])
    assert mlp([2, 3, 1], init=lambda i, o, rng: np.full((o, i), 7.0))[2].weight[0, 0] == 7


def test_activations_are_made_by_any_callable():
    made = []

    def make():
        made.append(ReLU())
        return made[-1]

    model = mlp([2, 3, 3, 1], activation=make)
    assert list(model)[1::2] == made
    assert len(made) == 2


@pytest.mark.parametrize("sizes", [[], [3], 5, None, "2", np.array(2), np.ones((2, 2), int)])
def test_too_few_sizes(sizes):
    with pytest.raises(
        ValueError, match=r"^mlp: expected at least the number of inputs and of outputs, such as \[2, 10, 1\], got "
    ):
        mlp(sizes)


@pytest.mark.parametrize(
    ("sizes", "name"), [([2, 0], "n_out"), ([2, 3, -1], "n_out"), ([2.0, 3], "n_in"), ([2, None, 1], "n_out")]
)
def test_bad_sizes(sizes, name):
    with pytest.raises((TypeError, ValueError), match=f"^Linear: expected {name} "):
        mlp(sizes)


@pytest.mark.parametrize("what", ["relu", ReLU(), 3, None])
def test_bad_activations(what):
    with pytest.raises(
        TypeError, match=r"^mlp: expected activation to be a class such as Tanh, or a function that makes a Function"
    ):
        mlp([2, 3, 1], activation=what)


@pytest.mark.parametrize("what", ["sigmoid", Sigmoid(), 3])
def test_bad_outputs(what):
    with pytest.raises(TypeError, match=r"^mlp: expected output to be a class"):
        mlp([2, 3, 1], output=what)


def test_an_activation_that_makes_no_function_or_always_the_same():
    with pytest.raises(TypeError, match="Sequential: expected a Function at position 1, got 3"):
        mlp([2, 3, 1], activation=lambda: 3)
    same = ReLU()
    with pytest.raises(ValueError, match=r"ReLU\(\) stands in it twice"):
        mlp([2, 3, 3, 1], activation=lambda: same)


def test_a_bad_initializer_or_dtype():
    with pytest.raises(ValueError, match="unknown initializer 'he'"):
        mlp([2, 3, 1], init="he")
    with pytest.raises(TypeError, match=r"^mlp: expected a floating dtype"):
        mlp([2, 3, 1], dtype=int)
    for dtype in (str, "floaty"):
        with pytest.raises(TypeError, match=r"^mlp: expected a floating dtype"):
            mlp([2, 3, 1], dtype=dtype)
