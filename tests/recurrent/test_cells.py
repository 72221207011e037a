"""Single cells: one step at a time, by hand."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pancake.functions.containers import Sequential
from pancake.recurrent.cells import Cell, GRUCell, LSTMCell, RNNCell
from pancake.recurrent.unrolled import Unrolled
from pancake.testing import check_function

KINDS = {
    "tanh": RNNCell,
    "relu": lambda n_in, n, **options: RNNCell(n_in, n, "relu", **options),
    "sigmoid": lambda n_in, n, **options: RNNCell(n_in, n, "sigmoid", **options),
    "lstm": LSTMCell,
    "gru": GRUCell,
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
shapes = st.tuples(*[st.integers(1, 5)] * 3)


def randomised(state: Any, rng: Any) -> Any:
    """Random numbers in the shape of a state."""
    if isinstance(state, tuple):
        return tuple(randomised(part, rng) for part in state)
    return rng.normal(size=state.shape).astype(state.dtype)


@every_kind
@settings(max_examples=3)
@given(shapes=st.tuples(*[st.integers(1, 3)] * 3), seed=st.integers(0, 99))
def test_keeps_the_contract_of_a_function(make: Any, shapes: Any, seed: int) -> None:
    batch, n_in, n = shapes
    rng = np.random.default_rng(seed)
    cell = make(n_in, n, rng=rng)
    check_function(cell, (rng.normal(size=(batch, n_in)), randomised(cell.init_state(batch), rng)))


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def textbook(cell: Any, x: Any, state: Any) -> Any:
    """One step as the docstrings write it."""
    n = cell.n_hidden
    with_x = x @ cell.weight_ih.T + cell.bias_ih
    with_h = (state[0] if isinstance(state, tuple) else state) @ cell.weight_hh.T + cell.bias_hh
    if isinstance(cell, RNNCell):
        f = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "sigmoid": sigmoid}[cell.activation]
        h = f(with_x + with_h)
        return h, h
    if isinstance(cell, LSTMCell):
        i, f, g, o = np.split(with_x + with_h, 4, axis=1)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return h, (h, c)
    r, z = (sigmoid(with_x[:, k : k + n] + with_h[:, k : k + n]) for k in (0, n))
    new = np.tanh(with_x[:, 2 * n :] + r * with_h[:, 2 * n :])
    h = (1 - z) * new + z * state
    return h, h


def assert_states_equal(a: Any, b: Any, **tolerance: Any) -> None:
    assert isinstance(a, tuple) == isinstance(b, tuple)
    for part, other in zip(*(s if isinstance(s, tuple) else (s,) for s in (a, b)), strict=True):
        np.testing.assert_allclose(part, other, **tolerance)


@every_kind
@given(shapes=shapes, seed=st.integers(0, 99))
def test_is_the_textbook_equation(make: Any, shapes: Any, seed: int) -> None:
    batch, n_in, n = shapes
    rng = np.random.default_rng(seed)
    cell = make(n_in, n, rng=rng)
    x, state = rng.normal(size=(batch, n_in)), randomised(cell.init_state(batch), rng)
    out, new = cell(x, state)
    wanted, wanted_state = textbook(cell, x, state)
    np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-14)
    assert_states_equal(new, wanted_state, rtol=1e-12, atol=1e-14)


@every_kind
def test_steps_by_hand_are_a_sequence(make: Any) -> None:
    """The chain rule written out over copies of a cell is what `Unrolled` computes."""
    rng = np.random.default_rng(1)
    cell = make(3, 4, rng=0)
    x, d = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 4))
    start = randomised(cell.init_state(2), rng)

    copies = [cell.shared_copy() for _ in range(5)]
    state, outs = start, []
    for t, step in enumerate(copies):
        out, state = step(x[:, t], state)
        outs.append(out)
    last = state
    dObj_dState = dObj_dLast = randomised(last, rng)
    gradients = []
    for t, step in reversed(list(enumerate(copies))):
        dObj_dX, dObj_dState = step.compute_backward(d[:, t], dObj_dState)
        gradients.insert(0, dObj_dX)
    by_hand = [grad.copy() for grad in cell.get_params_and_grads()[1]]
    for grad in cell.get_params_and_grads()[1]:
        grad.fill(0)

    unrolled = Unrolled(cell)
    np.testing.assert_allclose(unrolled(x, start), np.stack(outs, axis=1), rtol=1e-12)
    assert_states_equal(unrolled.state, last, rtol=1e-12)
    np.testing.assert_allclose(unrolled.compute_backward(d, dObj_dLast), np.stack(gradients, axis=1), rtol=1e-10, atol=1e-13)
    assert_states_equal(unrolled.dObj_dState, dObj_dState, rtol=1e-10, atol=1e-13)
    for whole, sum_of_steps in zip(cell.get_params_and_grads()[1], by_hand, strict=True):
        np.testing.assert_allclose(whole, sum_of_steps, rtol=1e-10, atol=1e-13)


@every_kind
def test_out_and_state_are_arrays_of_their_own(make: Any) -> None:
    cell = make(3, 4, rng=0)
    out, state = cell(np.ones((2, 3)), cell.init_state(2))
    kept = copy.deepcopy(state)
    out += 1
    assert_states_equal(state, kept, rtol=0)
    d_x, d_state = cell.compute_backward(np.ones((2, 4)), cell.init_state(2))
    kept = copy.deepcopy((d_x, d_state))
    cell(np.zeros((2, 3)), state)
    cell.compute_backward(np.ones((2, 4)), state)
    np.testing.assert_array_equal(d_x, kept[0])
    assert_states_equal(d_state, kept[1], rtol=0)


@every_kind
@pytest.mark.parametrize("value", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_numbers_do_not_overflow(make: Any, value: Any, dtype: Any) -> None:
    cell = make(3, 4, rng=0, dtype=dtype)
    out, _ = cell(np.full((2, 3), value, dtype), cell.init_state(2))
    assert np.isfinite(out).all()
    gradients, _ = cell.compute_backward(np.ones((2, 4), dtype), cell.init_state(2))
    assert np.isfinite(gradients).all()


@every_kind
def test_float32_stays_float32(make: Any) -> None:
    cell = make(3, 4, rng=0, dtype=np.float32)
    for x in (np.ones((2, 3)), np.ones((2, 3), int), np.ones((2, 3), np.float32)):
        out, state = cell(x, cell.init_state(2))
        d_x, d_state = cell.compute_backward(np.ones((2, 4)), state)
        arrays = [out, d_x, *cell.get_params_and_grads()[1]]
        arrays += [*state, *d_state] if isinstance(state, tuple) else [state, d_state]
        assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


@every_kind
def test_names_layouts_and_order_of_the_parameters_are_those_of_torch(make: Any) -> None:
    cell = make(3, 4, rng=0)
    gates = {RNNCell: 1, LSTMCell: 4, GRUCell: 3}[type(cell)]
    shapes = {"weight_ih": (4 * gates, 3), "weight_hh": (4 * gates, 4), "bias_ih": (4 * gates,), "bias_hh": (4 * gates,)}
    assert {name: array.shape for name, array in cell.state_dict().items()} == shapes
    assert list(cell.state_dict()) == list(shapes)
    assert [p.shape for p in cell.get_params_and_grads()[0]] == list(shapes.values())


@every_kind
def test_initial_parameters(make: Any) -> None:
    params = make(30, 64, rng=5).get_params_and_grads()[0]
    for p in params:
        assert 0.9 / 8 < np.abs(p).max() <= 1 / 8
        assert abs(p.mean()) < 0.03
    again = make(30, 64, rng=np.random.default_rng(5)).get_params_and_grads()[0]
    other = make(30, 64, rng=6).get_params_and_grads()[0]
    for p, q, r in zip(params, again, other, strict=True):
        np.testing.assert_array_equal(p, q)
        assert (p != r).mean() > 0.99


@every_kind
def test_repr_makes_it_again(make: Any) -> None:
    for options in ({}, {"dtype": np.float32}):
        cell = make(3, 4, **options)
        again = eval(repr(cell), {"np": np, "RNNCell": RNNCell, "LSTMCell": LSTMCell, "GRUCell": GRUCell})
        assert repr(again) == repr(cell)
        assert type(again) is type(cell)
        assert again.weight_hh.dtype == cell.weight_hh.dtype
        assert getattr(again, "activation", None) == getattr(cell, "activation", None)


@every_kind
@pytest.mark.parametrize("way", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "pickle"])
def test_copies_are_independent_equals(make: Any, way: Any) -> None:
    cell = make(3, 4, rng=0)
    x = np.random.default_rng(0).normal(size=(2, 3))
    state = randomised(cell.init_state(2), np.random.default_rng(1))
    wanted, _ = cell(x, state)
    twin = way(cell)
    np.testing.assert_array_equal(twin(x, state)[0], wanted)
    twin.weight_hh += 1
    np.testing.assert_array_equal(cell(x, state)[0], wanted)
    assert np.abs(twin(x, state)[0] - wanted).max() > 0.01


@every_kind
def test_astype_after_a_step(make: Any) -> None:
    cell = make(3, 4, rng=0)
    x = np.ones((2, 3))
    wanted, _ = cell(x, cell.init_state(2))
    cell.astype(np.float32)
    out, _ = cell(x, cell.init_state(2))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, wanted, rtol=1e-5)
    cell.astype(np.float64)
    cell.weight_ih *= 2  # the arrays in use must be the present ones
    again, _ = cell(x, cell.init_state(2))
    np.testing.assert_allclose(again, textbook(cell, x, cell.init_state(2))[0], rtol=1e-12)


# --- what is refused ---


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match=r"RNNCell: expected activation to be one of tanh, relu, sigmoid, got 'Tanh'"):
        RNNCell(3, 4, "Tanh")


@pytest.mark.parametrize("cell", [Cell, RNNCell, LSTMCell, GRUCell])
def test_sizes(cell: Any) -> None:
    with pytest.raises(ValueError, match=f"{cell.__name__}: expected n_hidden of at least 1, got 0"):
        cell(3, 0)
    with pytest.raises(TypeError, match=f"{cell.__name__}: expected n_in to be a whole number, got 2.5"):
        cell(2.5, 3)


@every_kind
def test_wrong_shapes(make: Any) -> None:
    cell = make(3, 4, rng=0)
    state = cell.init_state(2)
    name = type(cell).__name__
    for shape in ((2, 4), (3,), (2, 5, 3)):
        with pytest.raises(ValueError, match=rf"{name}\(3, 4.*expected \(B, 3\), got \({shape[0]},"):
            cell(np.ones(shape), state)
    with pytest.raises(ValueError, match=rf"{name}\(3, 4.*expected the state of shape .*\(5, 4\).*got .*\(2, 4\)"):
        cell(np.ones((5, 3)), state)
    with pytest.raises(ValueError, match=rf"{name}.*expected the state of shape .*\(2, 4\).*got \(\)"):
        cell(np.ones((2, 3)), 0.0)
    cell(np.ones((2, 3)), state)
    with pytest.raises(ValueError, match=rf"{name}.*expected dObj_dState of shape .*\(2, 4\)"):
        cell.compute_backward(np.ones((2, 4)), np.ones((2, 5)))
    with pytest.raises(ValueError, match=rf"{name}.*expected dObj_dOut of shape \(2, 4\)"):
        cell.compute_backward(np.ones((2, 5)), state)


def test_a_state_of_one_array_for_a_cell_that_has_two() -> None:
    with pytest.raises(ValueError, match=r"expected the state of shape \(\(2, 4\), \(2, 4\)\), got \(2, 4\)"):
        LSTMCell(3, 4)(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"expected the state of shape \(2, 4\), got \(\(2, 4\), \(2, 4\)\)"):
        GRUCell(3, 4)(np.ones((2, 3)), (np.ones((2, 4)), np.ones((2, 4))))


@every_kind
def test_backward_before_forward(make: Any) -> None:
    cell = make(3, 4)
    with pytest.raises(RuntimeError, match="compute_backward needs a compute_forward before it"):
        cell.compute_backward(np.ones((2, 4)), cell.init_state(2))


@pytest.mark.parametrize("cell", [RNNCell, LSTMCell, GRUCell])
def test_a_cell_without_a_state_says_how_cells_are_called(cell):
    for function in (cell(3, 4), Sequential([cell(3, 4)])):
        with pytest.raises(TypeError, match=rf"{cell.__name__}\(3, 4\): .*cell\.init_state\(batch\); Unrolled\(cell\) takes"):
            function(np.zeros((2, 3)))
