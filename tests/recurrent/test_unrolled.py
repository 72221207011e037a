"""Recurrent nets over whole sequences."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import sys
import tracemalloc
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pancake import (
    SGD,
    BatchNorm,
    Dropout,
    Function,
    LayerNorm,
    Linear,
    MeanSquaredError,
    Mul,
    Residual,
    Sequential,
    Sigmoid,
    Softplus,
    Tanh,
    predict,
)
from pancake.functions.embedding import Embedding
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import GRUCell, LSTMCell, RNNCell
from pancake.recurrent.unrolled import Unrolled
from pancake.testing import GradientError, check_function, check_gradients

sys.path.insert(0, str(Path(__file__).parent.parent))
from reference import recurrent as reference


class Leaky(Function):
    """A cell as a participant writes it: h_t = a h_(t-1) + tanh(x_t W), with arrays of its own."""

    def __init__(self, n_in: int, n: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n = n
        self.w, self.a = rng.normal(size=(n_in, n)), rng.uniform(0.2, 0.9, n)
        self.grad_w, self.grad_a = np.zeros((n_in, n)), np.zeros(n)

    def init_state(self, batch: int) -> Any:
        return np.zeros((batch, self.n))

    def compute_forward(self, x: Any, h: Any) -> Any:
        self.x, self.h, self.y = x, h, np.tanh(x @ self.w)
        h = self.a * h + self.y
        return h, h

    def compute_backward(self, dObj_dOut: Any, dObj_dH: Any) -> Any:
        d = dObj_dOut + dObj_dH
        self.grad_a += (d * self.h).sum(axis=0)
        d_z = d * (1 - self.y**2)
        self.grad_w += self.x.T @ d_z
        return d_z @ self.w.T, d * self.a


class Position(NamedTuple):
    """The state of `Moving`."""

    place: np.ndarray
    speed: np.ndarray


class Moving(Function):
    """A cell with a named tuple for a state and an output of another width: x pushes a mass with friction k."""

    def __init__(self, k: Any = 0.8) -> None:
        self.k, self.grad_k = np.array([k]), np.zeros(1)

    def init_state(self, batch: int) -> Any:
        return Position(np.ones((batch, 2)), np.zeros((batch, 2)))

    def compute_forward(self, x: Any, state: Any) -> Any:
        self.speed = state.speed
        speed = self.k * state.speed + x
        place = state.place + speed
        return place.sum(axis=1, keepdims=True), Position(place, speed)

    def compute_backward(self, dObj_dOut: Any, dObj_dState: Any) -> Any:
        d_place = dObj_dState.place + dObj_dOut
        d_speed = dObj_dState.speed + d_place
        self.grad_k += (d_speed * self.speed).sum()
        return d_speed.copy(), Position(d_place, self.k * d_speed)


class Built(Function):
    """A cell of library Functions: h_t = tanh(W x_t + b + V h_(t-1))."""

    def __init__(self, n_in: int, n: int, rng: Any = 0) -> None:
        rng = np.random.default_rng(rng)
        self.of_x, self.of_h = Linear(n_in, n, rng=rng), Linear(n, n, bias=False, rng=rng)
        self.squash = [Tanh(), Mul(0.9)]
        self.n = n

    def init_state(self, batch: int) -> Any:
        return np.zeros((batch, self.n))

    def compute_forward(self, x: Any, h: Any) -> Any:
        h = self.squash[1](self.squash[0](self.of_x(x) + self.of_h(h)))
        return h, h

    def compute_backward(self, dObj_dOut: Any, dObj_dH: Any) -> Any:
        d = self.squash[0].compute_backward(self.squash[1].compute_backward(dObj_dOut + dObj_dH))
        return self.of_x.compute_backward(d), self.of_h.compute_backward(d)


class Around(Function):
    """A cell around any net of the library, (B, I + H) to (B, H), with or without another net for what goes out.

    The state is h, or h and a slow mean of it in a pair, a pair within a pair, or a named tuple.
    """

    def __init__(self, net: Any, n: int, head: Any = None, form: Any = "array") -> None:
        self.net, self.n, self.head, self.form = net, n, head, form

    def put(self, h: Any, mean: Any) -> Any:
        forms = {"array": h, "pair": (h, mean), "nested": (h, (mean,)), "named": Position(h, mean)}
        return forms[self.form]

    def take(self, state: Any) -> Any:
        h, mean = (state, np.zeros_like(state)) if self.form == "array" else state
        return h, (mean[0] if self.form == "nested" else mean)

    def init_state(self, batch: int) -> Any:
        return self.put(np.zeros((batch, self.n)), np.ones((batch, self.n)))

    def compute_forward(self, x: Any, state: Any) -> Any:
        h, mean = self.take(state)
        self.n_in = x.shape[1]
        h = self.net(np.concatenate([x, h + mean], axis=1))
        return (self.head(h) if self.head else h), self.put(h, 0.7 * mean + 0.3 * h)

    def compute_backward(self, dObj_dOut: Any, dObj_dState: Any) -> Any:
        d_h, d_mean = self.take(dObj_dState)
        d_h = d_h + 0.3 * d_mean + (self.head.compute_backward(dObj_dOut) if self.head else dObj_dOut)
        d = self.net.compute_backward(d_h)
        d_h = d[:, self.n_in :]
        return d[:, : self.n_in], self.put(d_h, 0.7 * d_mean + d_h)


class Stacked(Function):
    """A cell of two cells of the library, whose state is a tuple of their states."""

    def __init__(self, n_in: int, n: int) -> None:
        self.lower, self.upper = LSTMCell(n_in, n, rng=1), GRUCell(n, n, rng=2)

    def init_state(self, batch: int) -> Any:
        return self.lower.init_state(batch), self.upper.init_state(batch)

    def compute_forward(self, x: Any, state: Any) -> Any:
        h, lower = self.lower(x, state[0])
        h, upper = self.upper(h, state[1])
        return h, (lower, upper)

    def compute_backward(self, dObj_dOut: Any, dObj_dState: Any) -> Any:
        d, upper = self.upper.compute_backward(dObj_dOut, dObj_dState[1])
        d, lower = self.lower.compute_backward(d, dObj_dState[0])
        return d, (lower, upper)


class Plain(Function):
    """A cell around a cell of the library, so that `Unrolled` knows only its steps."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def init_state(self, batch: int) -> Any:
        return self.cell.init_state(batch)

    def compute_forward(self, x: Any, state: Any) -> Any:
        return self.cell.compute_forward(x, state)

    def compute_backward(self, dObj_dOut: Any, dObj_dState: Any) -> Any:
        return self.cell.compute_backward(dObj_dOut, dObj_dState)


class Whole(Function):
    """An `Unrolled` as a function of x and the initial state, whose outputs are its output and its last state."""

    def __init__(self, unrolled: Any, lengths: Any = None) -> None:
        self.unrolled, self.lengths = unrolled, lengths

    def compute_forward(self, x: Any, state: Any) -> Any:
        lengths = None if self.lengths is None else self.lengths[: len(x)]
        return self.unrolled(x, state, lengths), self.unrolled.state

    def compute_backward(self, dObj_dOut: Any, dObj_dState: Any) -> Any:
        d_x = self.unrolled.compute_backward(dObj_dOut, dObj_dState)
        return d_x, self.unrolled.dObj_dState


LIBRARY = {
    "tanh": lambda n_in, n: RNNCell(n_in, n, rng=0),
    "relu": lambda n_in, n: RNNCell(n_in, n, "relu", rng=0),
    "sigmoid": lambda n_in, n: RNNCell(n_in, n, "sigmoid", rng=0),
    "lstm": lambda n_in, n: LSTMCell(n_in, n, rng=0),
    "gru": lambda n_in, n: GRUCell(n_in, n, rng=0),
}
USERS = {"leaky": Leaky, "moving": lambda n_in, n: Moving(), "built": Built, "stacked": Stacked}
CELLS = LIBRARY | USERS
every_cell = pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
every_library_cell = pytest.mark.parametrize("make", LIBRARY.values(), ids=LIBRARY)
NAMES = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
I, H = 2, 3  # noqa: E741


def sequences(batch: int = 3, length: int = 4, n_in: int = I, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(batch, length, n_in))


def leaves(state: Any) -> Any:
    return [leaf for part in state for leaf in leaves(part)] if isinstance(state, tuple) else [state]


def randomised(state: Any, seed: int = 0) -> Any:
    """Random numbers in the shape of a state."""
    rng = np.random.default_rng(seed)

    def draw(state: Any) -> Any:
        if isinstance(state, tuple):
            parts = [draw(part) for part in state]
            return state._make(parts) if hasattr(state, "_make") else tuple(parts)
        return rng.normal(size=state.shape)

    return draw(state)


def assert_states_equal(a: Any, b: Any, **tolerance: Any) -> None:
    for left, right in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_allclose(left, right, **({"rtol": 1e-12, "atol": 1e-14} | tolerance))


def grads_of(function: Any) -> Any:
    return [grad.copy() for grad in function.get_params_and_grads()[1]]


def zero(function: Any) -> None:
    for grad in function.get_params_and_grads()[1]:
        grad.fill(0)


# --- equal to torch ---


@pytest.fixture(scope="module")
def expected() -> Any:
    with np.load(reference.FILE) as file:
        return dict(file)


@pytest.mark.parametrize("case", reference.CASES, ids=lambda case: "-".join(map(str, case)))
def test_equals_torch(case: Any, expected: Any) -> None:
    kind, layers, directions, lengths = case
    arrays = reference.problem(kind, layers, directions)
    got = {}
    both = directions == "both"
    nets = []
    for layer in range(layers):
        width = reference.I if layer == 0 else reference.H * (2 if both else 1)
        cells = [CELLS[kind](width, reference.H) for _ in range(2 if both else 1)]
        for cell, end in zip(cells, reference.parts(layers, directions)[len(cells) * layer :], strict=False):
            cell.load_state_dict({name: arrays[name + end] for name in NAMES})
        nets.append(Bidirectional(*cells) if both else Unrolled(*cells))

    def state_of(names: Any, layer: int) -> Any:
        """torch's (layers x directions, B, H) arrays as the state of one layer."""
        rows = slice(2 * layer, 2 * layer + 2) if both else slice(layer, layer + 1)
        states = [tuple(s) if kind == "lstm" else s[0] for s in zip(*(arrays[n][rows] for n in names), strict=True)]
        return tuple(states) if both else states[0]

    states = ("h0", "c0") if kind == "lstm" else ("h0",)
    upstreams = ("dObj_dH", "dObj_dC") if kind == "lstm" else ("dObj_dH",)
    y = arrays["x"]
    for layer, net in enumerate(nets):
        y = net(y, state_of(states, layer), reference.LENGTHS if lengths == "packed" else None)
    got["out"] = y
    d = arrays["dObj_dOut"]
    for layer, net in reversed(list(enumerate(nets))):
        d = net.compute_backward(d, state_of(upstreams, layer))
    got["dObj_dX"] = d

    def stacked(attribute: Any) -> Any:
        """The states of all layers as torch's arrays, one for h and one for c."""
        each = [s for net in nets for s in (getattr(net, attribute) if both else [getattr(net, attribute)])]
        return zip(*(s if kind == "lstm" else [s] for s in each), strict=True)

    got |= {name: np.stack(s) for name, s in zip(("h", "c"), stacked("state"), strict=False)}
    got |= {name: np.stack(s) for name, s in zip(("dObj_dH0", "dObj_dC0"), stacked("dObj_dState"), strict=False)}
    cells = [u.cell for net in nets for u in ([net.forward, net.backward] if both else [net])]
    for cell, end in zip(cells, reference.parts(layers, directions), strict=True):
        got |= {f"grad_{name}{end}": getattr(cell, "grad_" + name) for name in NAMES}

    prefix = "-".join(map(str, case)) + "/"
    wanted = {key.removeprefix(prefix): value for key, value in expected.items() if key.startswith(prefix)}
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_the_file_is_what_torch_computes(expected: Any) -> None:
    pytest.importorskip("torch", reason="torch is not installed: recurrent.npz is not compared with torch itself")
    live = reference.solve_all()
    assert live.keys() == expected.keys()
    for name, value in live.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-13, err_msg=name)


# --- derivatives ---


@every_cell
def test_keeps_the_contract_of_a_function(make: Any) -> None:
    check_function(Unrolled(make(I, 2)), sequences(2, 3))


@pytest.mark.parametrize("make", [LIBRARY["lstm"], Leaky], ids=["lstm", "leaky"])
@pytest.mark.parametrize("options", [{"return_sequences": False}, {"reverse": True}], ids=["last", "reverse"])
def test_keeps_the_contract_with_options(make: Any, options: Any) -> None:
    check_function(Unrolled(make(I, H), **options), sequences())


@every_cell
@pytest.mark.parametrize("last", [False, True])
def test_derivatives_with_lengths_and_states(make: Any, last: bool) -> None:
    cell = make(I, 2)
    whole = Whole(Unrolled(cell, return_sequences=not last, reverse=last), [2, 4, 1])
    check_gradients(whole, (sequences(), randomised(cell.init_state(3))))


@pytest.mark.parametrize("make", [LIBRARY["lstm"], Leaky], ids=["lstm", "leaky"])
def test_derivatives_by_a_five_point_difference(make: Any) -> None:
    """The checker is not believed alone: the derivative of a random objective along random directions."""
    cell = make(I, H)
    unrolled, rng = Unrolled(cell), np.random.default_rng(3)
    x, state, lengths = sequences(), randomised(cell.init_state(3)), [3, 4, 1]
    d_y, d_last = rng.normal(size=(3, 4, H)), randomised(cell.init_state(3), seed=4)

    def objective() -> Any:
        y = unrolled(x, state, lengths)
        return (y * d_y).sum() + sum((a * d).sum() for a, d in zip(leaves(unrolled.state), leaves(d_last), strict=True))

    objective()
    d_x = unrolled.compute_backward(d_y, d_last)
    params, grads = unrolled.get_params_and_grads()
    arrays = [(x, d_x), *zip(leaves(state), leaves(unrolled.dObj_dState), strict=True), *zip(params, grads, strict=True)]
    for array, gradient in arrays:
        direction, start, step = rng.normal(size=array.shape), array.copy(), 1e-3
        values = []
        for k in (-2, -1, 1, 2):
            array[...] = start + k * step * direction
            values.append(objective())
        array[...] = start
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-9, atol=1e-10)


LAYERS = {
    "tanh": lambda n, rng: Tanh(),
    "sigmoid": lambda n, rng: Sigmoid(),
    "softplus": lambda n, rng: Softplus(),
    "scale": lambda n, rng: Mul(0.5),
    "linear": lambda n, rng: Linear(n, n, rng=rng),
    "residual": lambda n, rng: Residual(Sequential([Linear(n, n, rng=rng), Tanh()])),
    "normalise": lambda n, rng: LayerNorm(n),
    "drop": lambda n, rng: Dropout(0.3, rng=rng),
}


@st.composite
def drawn_cells(draw: Any, n_in: int) -> Any:
    """Cells of whatever the library has, and a state of whatever form."""
    n, width = draw(st.integers(1, 2)), draw(st.none() | st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    layers = [LAYERS[name](n, rng) for name in draw(st.lists(st.sampled_from(sorted(LAYERS)), max_size=2))]
    if layers and draw(st.booleans()):  # the same parameters once more
        layers.append(layers[-1].shared_copy())
    net = Sequential([Linear(n_in + n, n, rng=rng), *layers, Tanh()])
    head = width and Linear(n, width, rng=rng)
    return Around(net, n, head, draw(st.sampled_from(["array", "pair", "nested", "named"])))


@settings(max_examples=10)
@given(cell=drawn_cells(1), lengths=st.none() | st.lists(st.integers(1, 3), min_size=2, max_size=2), reverse=st.booleans())
def test_derivatives_of_any_cell(cell: Any, lengths: Any, reverse: bool) -> None:
    check_gradients(Whole(Unrolled(cell, reverse=reverse), lengths), (sequences(2, 3, 1), randomised(cell.init_state(2))))


def test_what_is_random_or_normalised_in_a_cell_is_remembered_step_by_step() -> None:
    cell = Around(Sequential([Linear(I + H, H, rng=0), BatchNorm(H), Dropout(0.5, rng=1), Tanh()]), H)
    unrolled, x = Unrolled(cell), sequences(4, 5)
    y = unrolled(x)
    assert cell.net[1].num_batches_tracked == 5
    expected, gradients = unrolled.compute_backward(np.cos(y)), grads_of(cell)
    zero(cell)
    predict(unrolled, sequences(3, 7))
    assert cell.net[1].num_batches_tracked == 5
    np.testing.assert_array_equal(unrolled.compute_backward(np.cos(y)), expected)
    for a, b in zip(grads_of(cell), gradients, strict=True):
        np.testing.assert_array_equal(a, b)
    check_gradients(unrolled, x)


def test_a_wrong_cell_is_found() -> None:
    class Wrong(Leaky):
        def compute_backward(self, dObj_dOut: Any, dObj_dH: Any) -> Any:
            d_x, d_h = super().compute_backward(dObj_dOut, dObj_dH)
            return d_x, d_h * 1.01

    with pytest.raises(GradientError):
        check_gradients(Unrolled(Wrong(I, H)), sequences())


@settings(max_examples=20)
@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 4),
    kind=st.sampled_from(sorted(LIBRARY)),
    reverse=st.booleans(),
    return_sequences=st.booleans(),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_a_whole_sequence_is_its_steps(
    sizes: Any, kind: str, reverse: bool, return_sequences: bool, seed: int, data: Any
) -> None:
    """The fast way over whole sequences against a cell of which only the single step is known."""
    batch, length, n_in, n = sizes
    lengths = data.draw(st.none() | st.lists(st.integers(1, length), min_size=batch, max_size=batch))
    cell = LIBRARY[kind](n_in, n)
    fast, plain = Unrolled(cell, return_sequences, reverse), Unrolled(Plain(cell), return_sequences, reverse)
    x, start = sequences(batch, length, n_in, seed), randomised(cell.init_state(batch), seed)
    results = []
    for unrolled in (fast, plain):
        zero(cell)
        y = unrolled(x, start, lengths)
        d_x = unrolled.compute_backward(np.cos(np.arange(y.size)).reshape(y.shape), randomised(unrolled.state, seed + 1))
        results.append([y, d_x, *leaves(unrolled.state), *leaves(unrolled.dObj_dState), *grads_of(cell)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


# --- the unrolling ---


def test_there_is_a_copy_for_each_step_with_the_very_same_parameters() -> None:
    steps = []

    class Seen(Leaky):
        def compute_forward(self, x_t: Any, state: Any) -> Any:
            steps.append(self)
            return super().compute_forward(x_t, state)

    cell = Seen(I, H)
    Unrolled(cell)(sequences(length=5))
    assert len({id(step) for step in steps}) == 5
    for step in steps:
        for ours, theirs in zip(cell.get_params_and_grads(), step.get_params_and_grads(), strict=True):
            assert all(a is b for a, b in zip(ours, theirs, strict=True))


@every_cell
def test_parts_and_parameters_are_those_of_one_cell(make: Any) -> None:
    cell = make(I, H)
    unrolled = Unrolled(cell)
    before = list(unrolled.walk()), unrolled.state_dict().keys(), unrolled.num_parameters
    unrolled.compute_backward(np.ones_like(unrolled(sequences(length=7))))
    after = list(unrolled.walk()), unrolled.state_dict().keys(), unrolled.num_parameters
    assert before == after
    assert list(unrolled.state_dict()) == ["cell." + key for key in cell.state_dict()]
    assert all(a is b for a, b in zip(unrolled.get_params_and_grads()[0], cell.get_params_and_grads()[0], strict=True))


@every_cell
def test_a_stack_has_the_keys_of_torch(make: Any) -> None:
    model = Sequential([Embedding(5, I, rng=0), Tanh(), Unrolled(make(I, H)), Linear(H, 2)])
    cell = model[2].cell
    expected = ["0.weight", *(f"2.cell.{key}" for key in cell.state_dict()), "3.weight", "3.bias"]
    assert list(model.state_dict()) == expected


@every_cell
def test_the_length_may_change_from_call_to_call(make: Any) -> None:
    unrolled = Unrolled(make(I, H))
    for length in (3, 8, 1, 5, 5, 2):
        x = sequences(2, length, seed=length)
        fresh = Unrolled(make(I, H))
        zero(unrolled)
        for u in (unrolled, fresh):
            u.compute_backward(np.ones_like(u(x)))
        np.testing.assert_array_equal(unrolled(x), fresh(x))
        for a, b in zip(grads_of(unrolled), grads_of(fresh), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@every_cell
def test_memory_is_released_when_sequences_become_shorter(make: Any) -> None:
    unrolled = Unrolled(make(I, H))
    held = []
    tracemalloc.start()
    gc.disable()  # nothing may wait for the garbage collector
    try:
        for length in (2, 100, 2):
            unrolled.compute_backward(np.ones_like(unrolled(sequences(length=length))))
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        gc.enable()
        tracemalloc.stop()
    before, long, after = held
    assert after - before < (long - before) / 5


@every_library_cell
def test_a_cell_releases_its_memory_when_it_is_gone(make: Any) -> None:
    cell = make(I, H)
    cell(np.ones((2, I)), cell.init_state(2))
    held = weakref.ref(cell._cache), weakref.ref(cell)
    gc.disable()
    try:
        del cell
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


@every_cell
def test_prediction_in_between_does_not_break_backward(make: Any) -> None:
    model = Sequential([Unrolled(make(I, H)), Tanh()])
    x, d = sequences(), None
    y = model(x)
    d = np.cos(y)
    expected = model.compute_backward(d)
    gradients = grads_of(model)
    zero(model)
    y = model(x)
    state = copy.deepcopy(model[0].state)
    predict(model, sequences(seed=5))
    predict(model, sequences(6, 9, seed=6), batch_size=2)
    assert_states_equal(model[0].state, state, rtol=0)
    np.testing.assert_array_equal(model.compute_backward(d), expected)
    for a, b in zip(grads_of(model), gradients, strict=True):
        np.testing.assert_array_equal(a, b)


@every_cell
def test_backward_refers_to_the_latest_forward_and_adds(make: Any) -> None:
    unrolled = Unrolled(make(I, H))
    x = sequences()
    d = np.cos(unrolled(x))
    expected = unrolled.compute_backward(d)
    once = grads_of(unrolled)
    np.testing.assert_array_equal(unrolled.compute_backward(d), expected)
    for a, b in zip(grads_of(unrolled), once, strict=True):
        np.testing.assert_allclose(a, 2 * b, rtol=1e-12)
    unrolled(sequences(5, 2))
    with pytest.raises(ValueError, match=r"expected dObj_dOut of shape \(5, 2"):
        unrolled.compute_backward(d)


@every_cell
def test_accumulate_grads_is_backward_without_the_gradient_of_the_input(make: Any) -> None:
    unrolled = Unrolled(make(I, H))
    y = unrolled(sequences(), lengths=[4, 2, 1])
    last = randomised(unrolled.state)
    unrolled.compute_backward(np.cos(y), last)
    expected, d_state = grads_of(unrolled), unrolled.dObj_dState
    zero(unrolled)
    assert unrolled.accumulate_grads(np.cos(y), last) is None
    assert_states_equal(unrolled.dObj_dState, d_state, rtol=0)
    for a, b in zip(grads_of(unrolled), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mode_and_settings_of_the_cell_reach_its_copies() -> None:
    class Scaled(Leaky):
        scale = 1.0

        def compute_forward(self, x: Any, h: Any) -> Any:
            out, h = super().compute_forward(x, h)
            return out * (self.scale if self.training else 0.0), h

    unrolled = Unrolled(Scaled(I, H))
    x = sequences()
    y = unrolled(x)
    assert not unrolled.eval()(x).any()
    np.testing.assert_array_equal(unrolled.train()(x), y)
    unrolled.cell.scale = 3.0
    np.testing.assert_array_equal(unrolled(x), 3 * y)
    unrolled.cell.w = 2 * unrolled.cell.w  # another array
    assert (unrolled(x)[:, -1] != 3 * y[:, -1]).all()


@every_cell
def test_the_direction_may_change_from_call_to_call(make: Any) -> None:
    unrolled, x = Unrolled(make(I, H)), sequences()
    unrolled(x)
    unrolled.reverse = True
    np.testing.assert_array_equal(unrolled(x), Unrolled(make(I, H), reverse=True)(x))


def test_the_activation_may_change_from_call_to_call() -> None:
    unrolled, x = Unrolled(RNNCell(I, H, rng=0)), sequences()
    unrolled(x)
    unrolled.cell.activation = "sigmoid"
    np.testing.assert_array_equal(unrolled(x), Unrolled(RNNCell(I, H, "sigmoid", rng=0))(x))
    check_gradients(unrolled, x)


def test_a_cell_that_makes_its_parameters_in_its_first_forward() -> None:
    class Lazy(Leaky):
        def __init__(self, n: int) -> None:
            self.n = n

        def compute_forward(self, x: Any, h: Any) -> Any:
            if not hasattr(self, "w"):
                super().__init__(x.shape[1], self.n)
            return super().compute_forward(x, h)

    lazy, x = Unrolled(Lazy(H)), sequences()
    eager = Unrolled(Leaky(I, H))
    np.testing.assert_array_equal(lazy(x), eager(x))
    for unrolled in (lazy, eager):
        unrolled.compute_backward(np.ones((3, 4, H)))
    assert [g.shape for g in grads_of(lazy)] == [(I, H), (H,)]
    for a, b in zip(grads_of(lazy), grads_of(eager), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_subclass_that_rewrites_the_step_of_a_library_cell() -> None:
    class Clipped(RNNCell):
        def compute_forward(self, x_t: Any, state: Any) -> Any:
            out, state = super().compute_forward(x_t, state)
            self.inside = np.abs(out) < 0.2
            out = np.clip(out, -0.2, 0.2)
            return out, state

        def compute_backward(self, dObj_dOut_t: Any, dObj_dState: Any) -> Any:
            return super().compute_backward(dObj_dOut_t * self.inside, dObj_dState)

    unrolled = Unrolled(Clipped(I, H, rng=0))
    assert np.abs(unrolled(sequences())).max() == 0.2
    check_gradients(unrolled, sequences())

    class Loud:
        def compute_forward(self, x_t: Any, state: Any) -> Any:
            out, state = super().compute_forward(x_t, state)
            return 2 * out, state

    class Mixed(Loud, LSTMCell):
        pass

    np.testing.assert_allclose(Unrolled(Mixed(I, H, rng=0))(sequences()), 2 * Unrolled(LSTMCell(I, H, rng=0))(sequences()))


def test_a_subclass_that_rewrites_the_first_state_of_a_library_cell() -> None:
    class Full(LSTMCell):
        def init_state(self, batch: int) -> Any:
            h, c = super().init_state(batch)
            return h, c + 1

    given = np.zeros((3, H)), np.ones((3, H))
    expected = Unrolled(LSTMCell(I, H, rng=0))(sequences(), given)
    np.testing.assert_allclose(Unrolled(Full(I, H, rng=0))(sequences()), expected, rtol=1e-12)


@every_cell
@pytest.mark.parametrize("way", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "pickle"])
def test_copies_are_independent_equals(make: Any, way: Any) -> None:
    unrolled = Unrolled(make(I, H))
    x = sequences()
    y = unrolled(x)
    twin = way(unrolled)
    np.testing.assert_array_equal(twin(x), y)
    for p in twin.get_params_and_grads()[0]:
        p += 0.5
    assert (twin(x) != y).any()
    np.testing.assert_array_equal(unrolled(x), y)


@every_cell
def test_training_and_state_dict(make: Any) -> None:
    """A stack learns, and another with its state computes the same."""
    model = Sequential(
        [Unrolled(make(I, H)), Unrolled(make(H, H) if make is not USERS["moving"] else Leaky(1, H)), Linear(H, 1, rng=0)]
    )
    x, loss = sequences(), MeanSquaredError()
    optimizer = SGD(model, lr=0.01)
    target, losses = np.sin(x.sum(axis=2, keepdims=True)), []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(loss(model(x), target))
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
    assert losses[-1] < losses[0]
    assert all(b < a for a, b in itertools.pairwise(losses))
    other = Sequential([Unrolled(make(I, H)), copy.deepcopy(model[1]), copy.deepcopy(model[2])])
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other(x), model(x))


# --- states ---


@every_cell
@pytest.mark.parametrize("half", [1, 3])
def test_two_halves_with_the_state_carried_are_the_whole(make: Any, half: int) -> None:
    unrolled, x = Unrolled(make(I, H)), sequences(length=6)
    whole = unrolled(x)
    last = unrolled.state
    first = unrolled(x[:, :half])
    second = unrolled(x[:, half:], unrolled.state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-12)
    assert_states_equal(unrolled.state, last)


@every_cell
def test_backward_in_two_halves_with_the_gradient_of_the_state_carried(make: Any) -> None:
    """With what flows into the state of the first half, even the gradients are those of the whole."""
    cell, x = make(I, H), sequences(length=6)
    whole, first, second = Unrolled(cell), Unrolled(cell), Unrolled(cell.shared_copy())
    d = np.cos(whole(x))
    expected = whole.compute_backward(d)
    gradients = grads_of(cell)
    zero(cell)
    first(x[:, :2])
    second(x[:, 2:], first.state)
    late = second.compute_backward(d[:, 2:])
    early = first.compute_backward(d[:, :2], second.dObj_dState)
    np.testing.assert_allclose(np.concatenate([early, late], axis=1), expected, rtol=1e-10, atol=1e-13)
    for a, b in zip(grads_of(cell), gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@every_cell
def test_states_are_arrays_of_their_own(make: Any) -> None:
    unrolled = Unrolled(make(I, H))
    y = unrolled(sequences())
    state = unrolled.state
    kept = copy.deepcopy(state)
    unrolled.compute_backward(np.ones_like(y))
    gradient, kept_gradient = unrolled.dObj_dState, copy.deepcopy(unrolled.dObj_dState)
    y += 1
    unrolled.compute_backward(np.ones_like(unrolled(sequences(seed=1), state)))
    assert_states_equal(state, kept, rtol=0, atol=0)
    assert_states_equal(gradient, kept_gradient, rtol=0, atol=0)


@pytest.mark.parametrize("reverse", [False, True])
@every_cell
def test_the_last_output(make: Any, reverse: bool) -> None:
    cell, x = make(I, H), sequences()
    y = Unrolled(cell, reverse=reverse)(x)
    last = Unrolled(cell, return_sequences=False, reverse=reverse)(x)
    np.testing.assert_array_equal(last, y[:, 0 if reverse else -1])


# --- lengths ---


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_each_sequence_is_as_if_it_were_alone(make: Any, reverse: bool) -> None:
    cell, lengths = make(I, H), [2, 5, 1, 3]
    unrolled, x = Unrolled(cell, reverse=reverse), sequences(4, 6)
    padded = x.copy()
    for row, length in zip(padded, lengths, strict=True):
        row[length:] = np.nan  # what stands past the end does not matter
    y = unrolled(padded, lengths=lengths)
    state, d = unrolled.state, np.cos(y)
    past = np.arange(6) >= np.array(lengths)[:, None]
    d[past] = np.nan
    d_x = unrolled.compute_backward(d)
    gradients = grads_of(cell)
    assert not y[past].any()
    assert not d_x[past].any()
    last = Unrolled(cell, return_sequences=False, reverse=reverse)(padded, lengths=lengths)

    zero(cell)
    for b, length in enumerate(lengths):
        alone = x[b : b + 1, :length]
        np.testing.assert_allclose(y[b : b + 1, :length], unrolled(alone), rtol=1e-12)
        for part, whole in zip(leaves(unrolled.state), leaves(state), strict=True):
            np.testing.assert_allclose(part[0], whole[b], rtol=1e-12)
        back = unrolled.compute_backward(d[b : b + 1, :length])
        np.testing.assert_allclose(d_x[b : b + 1, :length], back, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(last[b], y[b, 0 if reverse else length - 1], rtol=1e-12)
    for a, b in zip(gradients, grads_of(cell), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@every_cell
def test_full_lengths_are_no_lengths(make: Any) -> None:
    unrolled, x = Unrolled(make(I, H)), sequences()
    np.testing.assert_array_equal(unrolled(x, lengths=[4, 4, 4]), unrolled(x))
    np.testing.assert_array_equal(unrolled(x, lengths=np.array([4, 4, 4], np.uint8)), unrolled(x))


# --- both directions ---


def test_bidirectional_keeps_the_contract() -> None:
    check_function(Bidirectional(GRUCell(I, H, rng=0), Leaky(I, 2)), sequences())
    check_function(Bidirectional(LSTMCell(I, H, rng=0), RNNCell(I, 2, rng=1), return_sequences=False), sequences())


@pytest.mark.parametrize("return_sequences", [True, False])
def test_bidirectional_is_two_directions_side_by_side(return_sequences: bool) -> None:
    forward, backward = GRUCell(I, H, rng=0), LSTMCell(I, 2, rng=1)
    both, x, lengths = Bidirectional(forward, backward, return_sequences), sequences(), [2, 4, 3]
    one, other = Unrolled(forward, return_sequences), Unrolled(backward, return_sequences, reverse=True)
    expected = np.concatenate([one(x, lengths=lengths), other(x, lengths=lengths)], axis=-1)
    y = both(x, lengths=lengths)
    np.testing.assert_array_equal(y, expected)
    assert_states_equal(both.state, (one.state, other.state))
    d, last = np.cos(y), randomised(both.state)
    expected = one.compute_backward(d[..., :H], last[0]) + other.compute_backward(d[..., H:], last[1])
    gradients = grads_of(both)
    zero(both)
    np.testing.assert_allclose(both.compute_backward(d, last), expected, rtol=1e-12)
    assert_states_equal(both.dObj_dState, (one.dObj_dState, other.dObj_dState))
    for a, b in zip(grads_of(both), gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    zero(both)
    both.accumulate_grads(d, last)
    for a, b in zip(grads_of(both), gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_bidirectional_shares_nothing_unless_told_to() -> None:
    both = Bidirectional(GRUCell(I, H, rng=0), GRUCell(I, H, rng=0))
    assert both.num_parameters == 2 * both.forward.num_parameters
    assert list(both.state_dict()) == [f"{d}.cell.{name}" for d in ("forward", "backward") for name in NAMES]
    cell = GRUCell(I, H, rng=0)
    with pytest.raises(ValueError, match=r"GRUCell\(2, 3\) stands in it twice.*shared_copy"):
        Bidirectional(cell, cell)
    tied = Bidirectional(cell, cell.shared_copy())
    assert tied.num_parameters == cell.num_parameters
    check_gradients(tied, sequences())


# --- kinds of input ---


@every_library_cell
@pytest.mark.parametrize("wrap", [Unrolled, lambda cell: Bidirectional(cell, copy.deepcopy(cell))], ids=["one", "both"])
def test_float32_stays_float32(make: Any, wrap: Any) -> None:
    net = wrap(make(I, H)).astype(np.float32)
    for x in (sequences(), sequences().astype(np.float32), np.ones((3, 4, I), int)):
        for lengths in (None, [2, 4, 1]):
            y = net(x, lengths=lengths)
            d_x = net.compute_backward(np.ones(y.shape))
            assert {a.dtype for a in [y, d_x, *leaves(net.state), *leaves(net.dObj_dState), *grads_of(net)]} == {np.dtype("f4")}


def test_float32_cells_of_users_stay_float32() -> None:
    for cell in (Leaky(I, H), Built(I, H), Stacked(I, H)):
        net = Unrolled(cell).astype(np.float32)
        for x in (sequences(), np.ones((3, 4, I), int)):
            y = net(x)
            d_x = net.compute_backward(np.ones(y.shape))
            assert {a.dtype for a in [y, d_x, *leaves(net.state), *leaves(net.dObj_dState), *grads_of(net)]} == {np.dtype("f4")}


def test_what_is_frozen_stays_float32_and_computes_the_same() -> None:
    for cell in (Leaky(I, H), Built(I, H), Stacked(I, H)):
        net = Unrolled(cell).astype(np.float32)
        for x in (sequences(), np.ones((3, 4, I), int)):
            free = net(x)
            frozen = copy.deepcopy(net).freeze()
            y = frozen(x)
            d_x = frozen.compute_backward(np.ones(y.shape))
            assert {a.dtype for a in [y, d_x, *leaves(frozen.state), *leaves(frozen.dObj_dState)]} == {np.dtype("f4")}
            np.testing.assert_array_equal(y, free)


def test_a_frozen_cell_runs_no_oftener_than_there_are_steps() -> None:
    class Counting(Leaky):
        def compute_forward(self, x: Any, h: Any) -> Any:
            calls.append(len(x))
            return super().compute_forward(x, h)

    calls: list[int] = []
    Unrolled(Counting(I, H)).freeze()(sequences())
    assert calls == [3] * 4


@every_cell
def test_integers_lists_and_layouts(make: Any) -> None:
    unrolled = Unrolled(make(I, H))
    x = np.arange(3 * 4 * I).reshape(3, 4, I) - 10
    y = unrolled(x.astype(float))
    for same in (x, x.tolist(), x.astype(np.int8), np.asfortranarray(x), x.swapaxes(0, 1).copy().swapaxes(0, 1).astype(float)):
        np.testing.assert_allclose(unrolled(same), y, rtol=1e-12)


@every_cell
def test_one_step_and_one_sequence(make: Any) -> None:
    unrolled = Unrolled(make(I, H))
    x = sequences(1, 1)
    y = unrolled(x)
    assert unrolled.compute_backward(np.ones_like(y)).shape == x.shape
    out, _ = unrolled.cell(x[:, 0], unrolled.cell.init_state(1))
    np.testing.assert_allclose(y[:, 0], out, rtol=1e-12)


def test_the_input_is_not_written_to() -> None:
    for make in CELLS.values():
        unrolled, x = Unrolled(make(I, H)), sequences().swapaxes(0, 1).copy().swapaxes(0, 1)
        d = np.cos(unrolled(x))
        before = x.copy(), d.copy()
        for array in (x, d):
            array.setflags(write=False)
        unrolled(x, lengths=[1, 2, 3])
        unrolled(x)
        unrolled.compute_backward(d)
        np.testing.assert_array_equal(x, before[0])
        np.testing.assert_array_equal(d, before[1])


def test_repr_makes_it_again() -> None:
    names = {"np": np, "RNNCell": RNNCell, "LSTMCell": LSTMCell, "GRUCell": GRUCell, "Unrolled": Unrolled}
    for text in (
        "Unrolled(RNNCell(3, 4, activation='relu'))",
        "Unrolled(LSTMCell(3, 4, dtype=np.float32), return_sequences=False, reverse=True)",
        "Bidirectional(GRUCell(3, 4), LSTMCell(3, 2))",
        "Bidirectional(GRUCell(3, 4), LSTMCell(3, 2), return_sequences=False)",
    ):
        assert repr(eval(text, names | {"Bidirectional": Bidirectional})) == text


# --- what is refused ---


def test_inputs_that_do_not_fit() -> None:
    unrolled = Unrolled(LSTMCell(3, 4))
    for shape, hint in (((5, 4, 2), ""), ((5, 3), "makes a batch of one sequence"), ((5, 4, 3, 1), ""), ((3,), "")):
        message = rf"Unrolled\(LSTMCell\(3, 4\)\): expected \(B, T, 3\), got \({shape[0]},.*{hint}"
        with pytest.raises(ValueError, match=message):
            unrolled(np.ones(shape))
    for shape in ((0, 4, 3), (5, 0, 3)):
        with pytest.raises(ValueError, match=r"Unrolled.*expected at least one example, got an empty input of shape"):
            unrolled(np.ones(shape))
    with pytest.raises(ValueError, match=r"Unrolled\(Leaky\(.*expected \(B, T, I\), got \(5, 3\)"):
        Unrolled(Leaky(3, 4))(np.ones((5, 3)))


def test_states_that_do_not_fit() -> None:
    unrolled = Unrolled(LSTMCell(3, 4))
    x = np.ones((2, 5, 3))
    for state in (np.ones((2, 4)), (np.ones((2, 4)),), (np.ones((2, 4)), np.ones((1, 4))), 0):
        with pytest.raises(ValueError, match=r"Unrolled.*expected the state of shape \(\(2, 4\), \(2, 4\)\), got"):
            unrolled(x, state)
    y = unrolled(x)
    with pytest.raises(ValueError, match=r"Unrolled.*expected dObj_dState of shape \(\(2, 4\), \(2, 4\)\), got \(2, 4\)"):
        unrolled.compute_backward(y, np.ones((2, 4)))
    with pytest.raises(TypeError, match=r"Unrolled.*expected the state to be real numbers"):
        unrolled(x, (np.full((2, 4), "a"), np.ones((2, 4))))
    both = Bidirectional(GRUCell(3, 4), GRUCell(3, 4))
    with pytest.raises(ValueError, match=r"Bidirectional.*expected the state to be a pair, one for each direction, got \(2, 4\)"):
        both(x, np.ones((2, 4)))


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1, 6], ValueError, "expected lengths from 1 to 5, got values from 1 to 6"),
        ([0, 5], ValueError, "expected lengths from 1 to 5, got values from 0 to 5"),
        ([-1, 5], ValueError, "expected lengths from 1 to 5, got values from -1 to 5"),
        ([5], ValueError, r"expected one length for each of the 2 sequences, got an array \(1,\)"),
        (5, ValueError, r"expected one length for each of the 2 sequences, got an array \(\)"),
        ([1.5, 2], TypeError, r"expected lengths to be whole numbers, got float64; pass lengths.astype\(int\)"),
        (["a", "b"], TypeError, "expected lengths to be whole numbers"),
        ([1, [2]], ValueError, "expected lengths to be an array, got rows of different lengths"),
    ],
)
@pytest.mark.parametrize("net", [Unrolled(RNNCell(3, 4)), Bidirectional(RNNCell(3, 4), Leaky(3, 2))], ids=["one", "both"])
def test_lengths_that_do_not_fit(net: Any, lengths: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=rf"Unrolled\(RNNCell\(3, 4\)\): {message}"):
        net(np.ones((2, 5, 3)), lengths=lengths)


def test_what_is_no_cell() -> None:
    with pytest.raises(TypeError, match=r"Unrolled: expected a Function as the cell, got <class.*make one first: LSTMCell\("):
        Unrolled(LSTMCell)
    with pytest.raises(TypeError, match=r"Unrolled: expected a Function as the cell, got 3"):
        Unrolled(3)
    with pytest.raises(
        TypeError, match=r"Unrolled: expected one cell, got .* the second layer of a stack is an Unrolled of its own"
    ):
        Unrolled(LSTMCell(2, 3), LSTMCell(3, 3))

    with pytest.raises(TypeError, match=r"init_state.*; Linear is no cell, as GRUCell is, and stands in a stack without"):
        Unrolled(Linear(3, 4))(np.ones((2, 5, 3)))

    class Headless(Leaky):
        init_state = None

    x = sequences()
    with pytest.raises(TypeError, match=r"expected the cell to have init_state\(batch\), or a state to start from"):
        Unrolled(Headless(I, H))(x)
    np.testing.assert_array_equal(Unrolled(Headless(I, H))(x, np.zeros((3, H))), Unrolled(Leaky(I, H))(x))


@pytest.mark.parametrize(
    ("method", "result", "message"),
    [
        ("compute_forward", np.zeros((3, H)), r"to return \(out_t, state\), got ndarray of shape \(3, 3\)"),
        ("compute_forward", None, r"to return \(out_t, state\), got None"),
        (
            "compute_forward",
            (np.zeros((1, H)), np.zeros((3, H))),
            r"to return an array out_t of 3 rows, got ndarray of shape \(1, 3\)",
        ),
        (
            "compute_forward",
            (np.zeros((3, H)), np.zeros((3, 1))),
            r"to return a state of shape \(3, 3\), like the one it was given, got",
        ),
        (
            "compute_forward",
            (np.zeros((3, H)), (np.zeros((3, H)),)),
            r"to return a state of shape \(3, 3\).*got tuple of shape \(\(3, 3\),\)",
        ),
        ("compute_forward", ([1, 2, 3], np.zeros((3, H))), r"to return an array out_t of 3 rows, got list of shape \(3,\)"),
        (
            "compute_forward",
            (np.zeros((3, H)), [[0.0], [0.0, 1.0]]),
            r"to return a state of shape \(3, 3\).*got list of shape of rows of different lengths",
        ),
        ("compute_backward", np.zeros((3, H)), r"to return \(dObj_dX_t, dObj_dState\), got ndarray"),
        ("compute_backward", (None, np.zeros((3, H))), r"to return a dObj_dX_t of shape \(3, 2\), like x_t, got None"),
        ("compute_backward", (np.zeros((3, I)), None), r"to return a dObj_dState of shape \(3, 3\), like the state, got None"),
    ],
)
def test_cells_that_return_something_else(method: str, result: Any, message: str) -> None:
    wrong = type("Wrong", (Leaky,), {method: lambda self, *arguments: result})
    unrolled = Unrolled(wrong(I, H))
    with pytest.raises(ValueError, match=rf"Unrolled\(Wrong.*: expected Wrong.{method} {message}"):
        unrolled.compute_backward(np.ones_like(unrolled(sequences())))


def test_outputs_that_do_not_fit_together() -> None:
    class Growing(Leaky):
        def compute_forward(self, x: Any, h: Any) -> Any:
            out, h = super().compute_forward(x, h)
            return (out if self.h.any() else out[:, :1]), h

    with pytest.raises(
        ValueError, match=r"Growing.compute_forward to return an out_t of one shape, \(3, 1\) in all steps, got .* \(3, 3\)"
    ):
        Unrolled(Growing(I, H))(sequences())


def test_outputs_that_are_whole_numbers_have_real_gradients() -> None:
    class Signs(Leaky):
        def compute_forward(self, x: Any, h: Any) -> Any:
            out, h = super().compute_forward(x, h)
            return np.sign(out).astype(int), h

    class Seen(Signs):
        def compute_backward(self, dObj_dOut: Any, dObj_dH: Any) -> Any:
            assert dObj_dOut.flat[0] == 0.5
            return super().compute_backward(np.zeros_like(dObj_dOut), dObj_dH)

    unrolled = Unrolled(Seen(I, H))
    unrolled.compute_backward(np.full_like(unrolled(sequences()), 0.5))


@pytest.mark.parametrize("net", [Unrolled(GRUCell(I, H)), Bidirectional(GRUCell(I, H), Leaky(I, H))], ids=["one", "both"])
def test_backward_before_forward(net: Any) -> None:
    with pytest.raises(RuntimeError, match=rf"{type(net).__name__}.*compute_backward needs a compute_forward before it"):
        net.compute_backward(np.ones((2, 5, 4)))


# --- cells of users that are changed, or that keep things of their own ---


class Configured(Function):
    """h_t = tanh(gain x_t + shift) + decay h_(t-1) + inner.offset, with everything in attributes of different kinds."""

    def __init__(self) -> None:
        self.k, self.grad_k = np.ones(H), np.zeros(H)
        self.gain = np.full(H, 0.5)
        self.options = {"decay": 0.5, "shifts": [0.1, np.zeros(H)]}
        self.parts = [Offset(0.2)]
        self.seen: dict[str, Any] = {}  # made here, filled by each step

    def init_state(self, batch: int) -> Any:
        return np.zeros((batch, H))

    def compute_forward(self, x_t: Any, state: Any) -> Any:
        shift, more = self.options["shifts"]
        self.seen["x"], self.seen["y"] = x_t, np.tanh(self.gain * self.k * x_t + shift + more)
        h = self.seen["y"] + self.options["decay"] * state + self.parts[0].offset
        return h, h.copy()

    def compute_backward(self, dObj_dOut_t: Any, dObj_dState: Any) -> Any:
        d = dObj_dOut_t + dObj_dState
        z = d * (1 - self.seen["y"] ** 2) * self.gain
        self.grad_k += (z * self.seen["x"]).sum(axis=0)
        return z * self.k, self.options["decay"] * d


class Offset(Function):
    def __init__(self, value: float) -> None:
        self.offset = np.full(H, value)


CHANGES = {
    "array": lambda cell: np.multiply(cell.gain, 3, out=cell.gain),
    "entry of an array": lambda cell: cell.gain.__setitem__(1, -2.0),
    "another array": lambda cell: setattr(cell, "gain", np.full(H, 0.9)),
    "dict": lambda cell: cell.options.__setitem__("decay", 0.25),
    "list in a dict": lambda cell: cell.options["shifts"].__setitem__(0, -0.3),
    "array in a list in a dict": lambda cell: np.add(cell.options["shifts"][1], 0.4, out=cell.options["shifts"][1]),
    "attribute of a Function in a list": lambda cell: setattr(cell.parts[0], "offset", np.full(H, -0.7)),
    "array of a Function in a list": lambda cell: np.add(cell.parts[0].offset, 0.6, out=cell.parts[0].offset),
    "another Function": lambda cell: cell.parts.__setitem__(0, Offset(1.5)),
    "parameter": lambda cell: np.multiply(cell.k, -1, out=cell.k),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("wrap", [Unrolled, lambda cell: Unrolled(cell, reverse=True)], ids=["forward", "reverse"])
def test_a_change_of_a_users_cell_counts_at_all_steps(change: Any, wrap: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, H))
    changed, fresh = wrap(Configured()), wrap(Configured())
    y = changed(x)
    changed.compute_backward(np.ones_like(y))
    zero(changed)
    for net in (changed, fresh):
        change(net.cell)
    got, expected = changed(x), fresh(x)
    assert not np.allclose(got, y)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(changed.compute_backward(np.cos(got)), fresh.compute_backward(np.cos(got)))
    np.testing.assert_array_equal(changed.cell.grad_k, fresh.cell.grad_k)
    np.testing.assert_array_equal(predict(changed, x), expected)


def test_a_users_cell_that_fills_a_dict_made_in_init() -> None:
    check_function(Unrolled(Configured()), np.random.default_rng(0).normal(size=(2, 4, H)))
    net = Unrolled(Configured())
    x = np.random.default_rng(1).normal(size=(2, 4, H))
    net.compute_backward(np.ones_like(net(x)))
    assert net.cell.seen == {}  # each step has one of its own


def test_a_users_cell_may_call_the_dict_cache() -> None:
    class Cached(Leaky):
        def __init__(self, n_in: int, n: int) -> None:
            super().__init__(n_in, n)
            self._cache = {}

        def compute_forward(self, x_t: Any, state: Any) -> Any:
            self._cache["x"] = x_t
            return super().compute_forward(x_t, state)

    net, plain = Unrolled(Cached(I, H)), Unrolled(Leaky(I, H))
    x = sequences()
    np.testing.assert_array_equal(net(x), plain(x))
    np.testing.assert_array_equal(net.compute_backward(np.ones_like(net(x))), plain.compute_backward(np.ones_like(plain(x))))


@every_cell
def test_a_part_of_the_cell_called_alone_changes_nothing(make: Any) -> None:
    nets = [Unrolled(make(I, H)) for _ in range(2)]
    x = sequences()
    ys = [net(x) for net in nets]
    nets[0].cell(np.ones((5, I)), nets[0].cell.init_state(5))
    ds = [net.compute_backward(np.cos(y)) for net, y in zip(nets, ys, strict=True)]
    np.testing.assert_array_equal(*ds)
    for a, b in zip(*(grads_of(net) for net in nets), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_the_same_cell_called_by_hand_several_times_are_refused() -> None:
    """Five of seven gradients were wrong where this went through: each backward referred to the last step."""
    for cell in (RNNCell(3, 2), LSTMCell(3, 2), GRUCell(3, 2)):
        state = cell.init_state(4)
        for t in range(3):
            out, state = cell(np.full((4, 3), float(t)), state)
        _, d = cell.compute_backward(np.ones_like(out), cell.init_state(4))
        with pytest.raises(RuntimeError, match=r"older forward.*shared_copy.*Unrolled does, for the steps of a cell"):
            cell.compute_backward(np.ones_like(out), d)
