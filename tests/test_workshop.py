"""What a participant of a workshop types works as it stands, and so does every Function that they write."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from participant import Branches, Dense, Lazy, Listed, Rebinding, Scale, Skip

import pancake as pk

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [0.0], [0.0], [1.0]])

OPTIMIZERS = {
    "Optimizer": lambda model: pk.Optimizer(model, lr=0.1),
    "SGD": lambda model: pk.SGD(model, lr=0.1),
    "momentum": lambda model: pk.SGD(model, lr=0.02, momentum=0.9),
    "nesterov": lambda model: pk.SGD(model, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "Adam": lambda model: pk.Adam(model, lr=0.02),
    "AdamW": lambda model: pk.AdamW(model, lr=0.02),
    "RMSprop": lambda model: pk.RMSprop(model, lr=0.01),
    "RMSprop momentum": lambda model: pk.RMSprop(model, lr=0.002, momentum=0.9),
    "Adagrad": lambda model: pk.Adagrad(model, lr=0.1),
}
each_optimizer = pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def train(model, optimizer, steps, y=Y):
    """The bare loop; returns the losses before each step and after the last."""
    loss, losses = pk.MeanSquaredError(), []
    for _ in range(steps):
        optimizer.zero_grad()
        losses.append(loss(model(X), y))
        model.compute_backward(loss.compute_backward())
        optimizer.step()
    return [*losses, loss(model(X), y)]


def square_and_mul():
    g, f = pk.Mul(), pk.Square()
    g.k[...] = 0.5
    return g, f


def test_functions_composed_by_hand():
    g, f = square_and_mul()
    M = g(42.0)
    E = f(M)
    dE_dM = f.compute_backward(1)
    dE_dv = g.compute_backward(dE_dM)
    assert E == 441
    assert dE_dv == 21
    assert g.grad_k == 1764


def test_the_same_in_a_sequential():
    m = pk.Sequential([pk.Mul(), pk.Square()])
    m[0].k = 0.5
    assert m(42.0) == 441
    assert m.compute_backward(1) == 21
    assert m.get_params_and_grads() == ([0.5], [1764])


def test_a_bare_loop_over_params_and_grads():
    m, loss = pk.Sequential([pk.Linear(2, 1, rng=0), pk.Sigmoid()]), pk.MeanSquaredError()
    losses = []
    for _ in range(2000):
        for g in m.get_params_and_grads()[1]:
            g.fill(0)
        pred = m(X)
        losses.append(loss(pred, Y))
        m.compute_backward(loss.compute_backward())
        for p, gp in zip(*m.get_params_and_grads(), strict=True):
            p -= 0.1 * gp
    assert losses[-1] < 0.07 < 0.2 < losses[0]
    assert ((m(X) > 0.5) == (Y > 0.5)).all()


def test_the_optimizer_does_what_the_bare_loop_does():
    m = pk.Sequential([pk.Linear(2, 1, rng=0), pk.Sigmoid()])
    by_hand, loss = copy.deepcopy(m), pk.MeanSquaredError()
    for _ in range(50):
        for g in by_hand.get_params_and_grads()[1]:
            g.fill(0)
        loss(by_hand(X), Y)
        by_hand.compute_backward(loss.compute_backward())
        for p, gp in zip(*by_hand.get_params_and_grads(), strict=True):
            p -= 0.1 * gp
    train(m, pk.Optimizer(m, lr=0.1), 50)
    for p, q in zip(m.get_params_and_grads()[0], by_hand.get_params_and_grads()[0], strict=True):
        np.testing.assert_array_equal(p, q)


@each_optimizer
def test_every_optimizer_trains_the_net(make_optimizer):
    m = pk.Sequential([pk.Linear(2, 1, rng=0), pk.Sigmoid()])
    losses = train(m, make_optimizer(m), 300)
    assert losses[-1] < 0.7 * losses[0]


# Own Functions, alone and among library Functions, each a call that makes a model of 2 inputs and 1 output.
OWN = {
    "Scale": lambda: pk.Sequential([pk.Linear(2, 1, rng=0), Scale(), pk.Sigmoid()]),
    "Dense": lambda: pk.Sequential([Dense(2, 3), pk.Tanh(), Dense(3, 1, seed=1)]),
    "Listed": lambda: pk.Sequential([Listed(2), pk.Linear(2, 1, rng=0), pk.Sigmoid()]),
    "Rebinding": lambda: pk.Sequential([pk.Linear(2, 1, rng=0), Rebinding(), pk.Sigmoid()]),
    "Lazy": lambda: pk.Sequential([pk.Linear(2, 1, rng=0), Lazy(), pk.Sigmoid()]),
    "nested": lambda: pk.Sequential([Skip(pk.Sequential([Skip(Listed(2)), Scale()])), pk.Linear(2, 1, rng=0), pk.Sigmoid()]),
    "branches": lambda: pk.Sequential(
        [Branches(Scale(), {"b": pk.Linear(2, 2, rng=1), "c": Dense(2, 2)}), pk.Linear(2, 1, rng=0)]
    ),
}
each_own = pytest.mark.parametrize("make_model", OWN.values(), ids=OWN)


@each_own
@each_optimizer
def test_own_functions_are_trained_by_every_optimizer(make_model, make_optimizer):
    """All of their parameters move, and by what the gradient says."""
    model = make_model()
    optimizer = make_optimizer(model)
    model(X)  # Lazy makes its parameter now
    before = [p.copy() for p in model.get_params_and_grads()[0]]
    losses = train(model, optimizer, 200)
    assert losses[-1] < 0.8 * losses[0]
    for p, q in zip(model.get_params_and_grads()[0], before, strict=True):
        assert (p != q).all()


@each_own
def test_own_functions_step_by_plain_gradient_descent(make_model):
    model = make_model()
    optimizer, loss = pk.SGD(model, lr=0.1), pk.MeanSquaredError()
    for _ in range(3):
        optimizer.zero_grad()
        loss(model(X), Y)
        model.compute_backward(loss.compute_backward())
        expected = [p - 0.1 * g for p, g in zip(*model.get_params_and_grads(), strict=True)]
        optimizer.step()
        for p, q in zip(model.get_params_and_grads()[0], expected, strict=True):
            np.testing.assert_allclose(p, q, rtol=1e-15, atol=0)


@each_own
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_own_functions_are_copied(make_model, duplicate):
    model = make_model()
    train(model, pk.SGD(model, lr=0.1), 2)
    twin = duplicate(model)
    kept = [p.copy() for p in model.get_params_and_grads()[0]]
    ours = train(twin, pk.SGD(twin, lr=0.1), 5)
    for p, q in zip(model.get_params_and_grads()[0], kept, strict=True):
        np.testing.assert_array_equal(p, q)
    assert ours == train(model, pk.SGD(model, lr=0.1), 5)
    assert ours[-1] < ours[0]


@each_own
def test_own_functions_go_through_a_state_dict(make_model):
    model, other = make_model(), make_model()
    model(X), other(X)
    train(model, pk.SGD(model, lr=0.1), 5)
    state = model.state_dict()
    assert len(state) == len(model.get_params_and_grads()[0])
    other.load_state_dict(state)
    np.testing.assert_array_equal(other(X), model(X))
    train(model, pk.SGD(model, lr=0.1), 1)
    other.load_state_dict(state)  # a state_dict holds copies: the step has not moved it
    assert not np.array_equal(other(X), model(X))


@pytest.mark.parametrize("name", ["Scale", "Dense", "Lazy", "branches"])
def test_own_functions_follow_astype(name):
    model = OWN[name]()
    optimizer = pk.SGD(model, lr=0.1, momentum=0.9)
    train(model, optimizer, 2)
    assert model.astype(np.float32) is model
    assert {a.dtype for arrays in model.get_params_and_grads() for a in arrays} == {np.dtype(np.float32)}
    before = [p.copy() for p in model.get_params_and_grads()[0]]
    losses = train(model, optimizer, 50)
    assert losses[-1] < losses[0]
    assert all((p != q).all() for p, q in zip(model.get_params_and_grads()[0], before, strict=True))


def test_astype_refuses_arrays_it_cannot_exchange():
    model = pk.Sequential([pk.Linear(2, 2, rng=0), Listed()])
    before = model.get_params_and_grads()[0]
    with pytest.raises(TypeError, match=r"Listed\(\): astype needs every parameter to be an attribute"):
        model.astype(np.float32)
    assert all(p is q for p, q in zip(model.get_params_and_grads()[0], before, strict=True))
    assert model[0].weight.dtype == np.float64


def test_a_part_exchanged_in_an_own_composite_is_trained():
    block = Skip(Dense(2, 2))
    model = pk.Sequential([block, pk.Linear(2, 1, rng=0)])
    optimizer = pk.SGD(model, lr=0.1, momentum=0.9)
    train(model, optimizer, 3)
    momentum = optimizer.state_dict()["momentum_buffer.2"]
    block.f = Dense(2, 2, seed=5)
    w, before = block.f.w, block.f.w.copy()
    optimizer.zero_grad()
    np.testing.assert_array_equal(optimizer.state_dict()["momentum_buffer.2"], momentum)  # of the Linear: it stayed
    train(model, optimizer, 1)
    assert block.f.w is w
    assert (w != before).all()


class Gain(pk.Sequential):
    """A stack that multiplies what comes out of it: a subclass that rewrites backward, with a parameter of its own."""

    def __init__(self):
        super().__init__([pk.Linear(2, 1, rng=0)])
        self.gain, self.grad_gain = np.array([2.0]), np.zeros(1)

    def compute_forward(self, x):
        self.inner = super().compute_forward(x)
        return self.gain * self.inner

    def compute_backward(self, dObj_dOut):
        self.grad_gain += (dObj_dOut * self.inner).sum()
        return super().compute_backward(self.gain * dObj_dOut)


class Halved(pk.Linear):
    """A layer that rewrites forward and backward of its parent."""

    def compute_forward(self, x):
        return 0.5 * super().compute_forward(x)

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(0.5 * dObj_dOut)


@pytest.mark.parametrize("make", [Gain, lambda: Halved(2, 1, rng=0)], ids=["Sequential", "Linear"])
def test_a_subclass_that_rewrites_backward_keeps_the_shortcut_in_step(make):
    function = make()
    d = np.array([[1.0], [2.0], [-1.0], [0.5]])
    function(X)
    function.compute_backward(d)
    grads = [g.copy() for g in function.get_params_and_grads()[1]]
    for g in function.get_params_and_grads()[1]:
        g.fill(0)
    stack = pk.Sequential([function])
    stack(X)
    stack.accumulate_grads(d)
    for g, h in zip(function.get_params_and_grads()[1], grads, strict=True):
        np.testing.assert_array_equal(g, h)
        assert g.any()


def test_a_subclass_of_a_container_trains_what_it_adds():
    model = Gain()
    assert list(model.state_dict()) == ["0.weight", "0.bias", "gain"]
    before = model.gain.copy()
    losses = train(model, pk.SGD(model, lr=0.01), 10)
    assert model.gain != before
    assert losses[-1] < losses[0]


class Numbers(Scale):
    def __init__(self):
        self.k, self.grad_k = 0.5, 0.0


class Whole(Scale):
    def __init__(self):
        self.k, self.grad_k = np.array([2]), np.array([0])


class Unlike(Scale):
    def __init__(self):
        self.k, self.grad_k = np.ones(3), np.zeros(1)


class Rebound(Scale):
    """Replaces the gradient by a number, which no optimizer can hold on to."""

    def compute_backward(self, dObj_dOut):
        self.grad_k = (dObj_dOut * self.seen).sum()
        return dObj_dOut * self.k


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Numbers, r"Numbers: expected k and grad_k to be arrays, such as np.zeros\(1\), got float and float"),
        (Whole, r"SGD: expected every parameter and its gradient to be float arrays of one shape, got int64 \(1,\) .* Whole\(\)"),
        (Unlike, r"SGD: expected .* of one shape, got float64 \(3,\) with the gradient float64 \(1,\) in Unlike\(\)"),
    ],
)
def test_parameters_that_could_not_be_trained_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        pk.SGD(make())


def test_a_gradient_that_becomes_a_number_is_refused():
    model = pk.Sequential([pk.Linear(2, 1, rng=0), Rebound()])
    optimizer = pk.SGD(model, lr=0.1)
    model(X)
    model.compute_backward(np.ones((4, 1)))
    before = model[0].weight.copy()
    with pytest.raises(TypeError, match=r"Rebound: expected k and grad_k to be arrays.*write self.grad_k \+= "):
        optimizer.step()
    np.testing.assert_array_equal(model[0].weight, before)
    assert optimizer.steps == 0


def test_zero_dimensional_arrays_are_parameters_too():
    f = Scale()
    f.k, f.grad_k = np.array(0.5), np.array(0.0)
    optimizer = pk.SGD(f, lr=0.1)
    f(np.array([1.0, 2.0]))
    f.compute_backward(np.ones(2))
    optimizer.step()
    assert f.k == 0.5 - 0.1 * 3
    optimizer.zero_grad()
    assert f.grad_k == 0


def test_a_function_without_its_methods_says_so():
    with pytest.raises(NotImplementedError, match="Nothing does not define compute_forward"):
        type("Nothing", (pk.Function,), {})()(1.0)
    with pytest.raises(NotImplementedError, match="Nothing does not define compute_backward"):
        type("Nothing", (pk.Function,), {})().compute_backward(1.0)
