"""Functions side by side, and what they do that others need a graph for."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from bricks import check_derivatives, check_manners, inputs, make
from hypothesis import given, settings
from numpy.testing import assert_allclose, assert_array_equal

from pancake.function import Function
from pancake.functions.activations import Sigmoid, Tanh
from pancake.functions.branches import Add, Branches, Concatenate, Multiply, Residual
from pancake.functions.containers import Identity, Sequential
from pancake.functions.dropout import Dropout
from pancake.functions.elementwise import Mean, Mul, Negate, Square, Subtract, Sum
from pancake.functions.embedding import Embedding
from pancake.functions.linear import AddBias, Linear, MatMul
from pancake.functions.normalization import BatchNorm
from pancake.functions.shapes import Expand, Reshape, Transpose
from pancake.losses.elementwise import MeanSquaredError
from pancake.optimizers.rules import SGD

ALL = [
    "Add([Linear(4, 2), MatMul(4, 2)])",
    "Add([Tanh()])",
    "Add([Identity(), Square(), Mul(k=0.5)])",
    "Multiply([Tanh(), Sequential([Linear(4, 4), Sigmoid()])])",
    "Multiply([Tanh(), Linear(4, 4), Identity(), Square()])",
    "Multiply([Mul()])",
    "Concatenate([Tanh(), Linear(4, 3)])",
    "Concatenate([Square(), Linear(4, 4)], axis=0)",
    "Concatenate([Mean(axis=-1), Sum(axis=-1)], axis=0)",
    "Concatenate([Linear(4, 2)])",
    "Residual(Linear(4, 4))",
    "Residual(Sequential([Linear(4, 8), ReLU(), Linear(8, 4)]))",
    "Residual(Square())",
    "Residual(Residual(Mul(k=0.5)))",
    "Add([Multiply([Tanh(), Linear(4, 4)]), Residual(Linear(4, 4))])",
]
CONTAINERS = [Add, Multiply, Concatenate]


@pytest.mark.parametrize("expression", ALL)
@settings(max_examples=12)
@given(x=inputs(3, 4))
def test_derivatives(expression: str, x: Any) -> None:
    check_derivatives(make(expression), x)


@pytest.mark.parametrize("expression", ALL)
def test_manners(expression: str) -> None:
    check_manners(expression, np.random.default_rng(0).normal(size=(3, 4)))


@pytest.mark.parametrize("expression", ALL)
def test_gradients_without_that_of_the_input(expression: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    function = make(expression)
    d = np.random.default_rng(1).normal(size=function.compute_forward(x).shape)
    function.compute_backward(d)
    expected = [grad.copy() for grad in function.get_params_and_grads()[1]]
    function.accumulate_grads(d)
    for grad, once in zip(function.get_params_and_grads()[1], expected, strict=True):
        assert_allclose(grad, 2 * once, rtol=1e-13)


class Recorder(Function):
    """Hands everything on, itself, and notes who was called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def compute_forward(self, x: Any) -> Any:
        self.calls.append("forward")
        return x

    def compute_backward(self, dObj_dOut: Any) -> Any:
        self.calls.append("backward")
        return dObj_dOut


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_branch_without_parameters_is_skipped(container: Any) -> None:
    recorder = Recorder()
    model = container([recorder, Linear(3, 3)])
    model.accumulate_grads(np.ones_like(model.compute_forward(np.ones((2, 3)))))
    assert recorder.calls == ["forward"]
    other = Residual(Recorder())
    other.accumulate_grads(other.compute_forward(np.ones((2, 3))))
    assert other.f.calls == ["forward"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", [*(lambda f, c=c: c([f]) for c in CONTAINERS), Residual])
def test_results_are_fresh_whatever_a_branch_returns(make: Any) -> None:
    model, x = make(Recorder()), np.ones((2, 3))
    y = model.compute_forward(x)
    d = np.ones((2, 3))
    dObj_dIn = model.compute_backward(d)
    assert not np.shares_memory(x, y)
    for array in (x, y, d):
        assert not np.shares_memory(array, dObj_dIn)


def test_float32_models_stay_float32() -> None:
    def net() -> Function:
        gate = Multiply([Identity(), Sequential([Linear(4, 4), Sigmoid()])])
        return Sequential([Add([Square(), Linear(4, 4)]), gate, Residual(Linear(4, 4)), Concatenate([Tanh(), Linear(4, 2)])])

    model = net().astype(np.float32)
    for x in (np.ones((2, 4)), np.ones((2, 4), int), np.ones((2, 4), np.float32)):
        y = model.compute_forward(x)
        assert y.dtype == model.compute_backward(np.ones(y.shape)).dtype == np.float32
    residual = Residual(Linear(4, 4, dtype=np.float32))
    assert residual.compute_forward(np.ones((2, 4))).dtype == residual.compute_backward(np.ones((2, 4))).dtype == np.float32
    free = Add([Square(), Tanh()])
    assert free.compute_forward(np.ones(3, np.float32)).dtype == np.float32
    assert free.compute_forward([1, 2]).dtype == np.float64


def test_a_single_number() -> None:
    model = Residual(Add([Square(), Negate()]))
    assert model.compute_forward(3.0) == 9
    assert model.compute_backward(1.0) == 6


class TestParts:
    def test_names_and_order(self) -> None:
        model = Sequential([Add([Linear(2, 2), Tanh(), Residual(Linear(2, 2))])])
        keys = ["0.0.weight", "0.0.bias", "0.2.f.weight", "0.2.f.bias"]
        assert list(model.state_dict()) == keys
        params = model.get_params_and_grads()[0]
        assert params[0] is model[0][0].weight  # type: ignore[index, attr-defined]

    def test_behave_like_lists(self) -> None:
        parts = [Tanh(), Square()]
        model = Add(parts)
        assert len(model) == 2
        assert list(model) == parts
        assert model[1] is parts[1]

    def test_modes_reach_them(self) -> None:
        model = Add([Residual(Dropout(1.0)), Concatenate([BatchNorm(2)])])
        model.eval()
        assert not any(function.training for function in model.walk())
        assert_allclose(model.compute_forward(np.ones((1, 2))), 3, rtol=1e-5)

    def test_trained_by_an_optimizer(self) -> None:
        rng = np.random.default_rng(0)
        x, loss = rng.normal(size=(64, 2)), MeanSquaredError()
        y = x[:, :1] * x[:, 1:]
        model = Multiply([Linear(2, 1, rng=0), Linear(2, 1, rng=1)])
        optimizer = SGD(model, lr=0.05)
        values = []
        for _ in range(300):
            optimizer.zero_grad()
            values.append(loss(model(x), y))
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()
        assert values[-1] < 0.05 * values[0]

    def test_copies_are_independent(self) -> None:
        x = np.ones((2, 2))
        model = Residual(Add([Linear(2, 2, rng=0), Linear(2, 2, rng=1)]))
        y = model.compute_forward(x)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert_array_equal(twin.compute_forward(x), y)
            twin.get_params_and_grads()[0][0][...] = 7
        assert_array_equal(model.compute_forward(x), y)


class TestRefusals:
    @pytest.mark.parametrize("container", CONTAINERS)
    def test_parts(self, container: Any) -> None:
        name = container.__name__
        part = Tanh()
        with pytest.raises(ValueError, match=f"{name}: Tanh.. stands in it twice.*shared_copy"):
            container([part, part])
        with pytest.raises(ValueError, match="stands in it twice"):
            container([part, Sequential([Square(), part])])
        with pytest.raises(TypeError, match=rf"{name}: expected a list of Functions, got Tanh\(\); write {name}\(\[...\]\)"):
            container(part)
        with pytest.raises(TypeError, match=f"{name}: expected a Function at position 1"):
            container([part, np.tanh])
        with pytest.raises(ValueError, match=f"{name}: expected at least one Function"):
            container([])
        with pytest.raises(TypeError, match="Residual: expected a Function"):
            Residual(np.tanh)  # type: ignore[arg-type]

    @pytest.mark.parametrize("container", CONTAINERS)
    def test_shapes(self, container: Any) -> None:
        model = container([Linear(4, 2), Sum(axis=0)])
        with pytest.raises(ValueError, match=r"fit together, but Linear\(4, 2\) put out \(3, 2\), Sum\(axis=0\) put out \(4,\)"):
            model.compute_forward(np.ones((3, 4)))

    def test_shapes_of_concatenate(self) -> None:
        with pytest.raises(ValueError, match="fit together"):
            Concatenate([Tanh(), Sum(axis=0)], axis=0).compute_forward(np.ones((3, 4)))
        with pytest.raises(ValueError, match="fit together"):
            Concatenate([Tanh(), Square()], axis=2).compute_forward(np.ones((3, 4)))
        with pytest.raises(TypeError, match="Concatenate: expected axis to be a whole number"):
            Concatenate([Tanh()], axis=None)  # type: ignore[arg-type]

    def test_shape_of_residual(self) -> None:
        with pytest.raises(ValueError, match=r"keeps the shape of its input, \(3, 4\), but it put out \(3, 1\)"):
            Residual(Linear(4, 1)).compute_forward(np.ones((3, 4)))

    def test_branches_that_return_nonsense(self) -> None:
        class Broken(Recorder):
            def compute_backward(self, dObj_dOut: Any) -> Any:
                return dObj_dOut[:1]

        model = Add([Tanh(), Broken()])
        model.compute_forward(np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"gradients of different shapes, \[\(2, 3\), \(1, 3\)\]"):
            model.compute_backward(np.ones((2, 3)))

    def test_base_class_computes_nothing(self) -> None:
        with pytest.raises(NotImplementedError):
            Branches([Tanh()]).compute_forward(1.0)


class TestGraphWithoutAGraph:
    """What others do with a graph of tensors is done by composition."""

    def test_a_value_used_twice_receives_the_sum(self) -> None:
        """(a + b) + (b + c): the gradient of b is 2."""
        a, b, c = Mul(), Mul(), Mul()
        model = Add([Add([a, b]), Add([b.shared_copy(), c])])
        assert_array_equal(model.compute_forward([1.0]), [4])
        assert_array_equal(model.compute_backward([1.0]), [4])
        assert [a.grad_k.item(), b.grad_k.item(), c.grad_k.item()] == [1, 2, 1]
        assert model.num_parameters == 3

    @given(x=inputs(3))
    def test_x_plus_x(self, x: Any) -> None:
        for model in (Add([Identity(), Identity()]), Residual(Identity())):
            assert_array_equal(model.compute_forward(x), 2 * x)
            assert_array_equal(model.compute_backward(x), 2 * x)

    @given(x=inputs(3))
    def test_x_times_x_is_its_square(self, x: Any) -> None:
        product, square = Multiply([Identity(), Identity()]), Square()
        assert_array_equal(product.compute_forward(x), square.compute_forward(x))
        assert_allclose(product.compute_backward(x), square.compute_backward(x), rtol=1e-14)

    @given(x=inputs(3))
    def test_a_gate(self, x: Any) -> None:
        """y = x s(g x): the gate scales what passes, and both ways bring gradients back."""
        gate = Mul(2.0)
        model = Multiply([Identity(), Sequential([gate, Sigmoid()])])
        s = 1 / (1 + np.exp(-2 * x))
        assert_allclose(model.compute_forward(x), x * s, rtol=1e-12, atol=1e-15)
        assert_allclose(model.compute_backward(np.ones_like(x)), s + 2 * x * s * (1 - s), rtol=1e-9, atol=1e-12)
        assert_allclose(gate.grad_k, (x * x * s * (1 - s)).sum(), rtol=1e-9, atol=1e-12)

    @given(x=inputs(3, 4))
    def test_mean_squared_error(self, x: Any) -> None:
        target = np.flip(x)
        model, loss = Sequential([Subtract(target), Square(), Mean()]), MeanSquaredError()
        assert_allclose(model.compute_forward(x), loss(x, target), rtol=1e-12)
        assert_allclose(model.compute_backward(1.0), loss.compute_backward(), rtol=1e-12)

    @given(x=inputs(4))
    def test_linear(self, x: Any) -> None:
        layer, model = Linear(4, 3, rng=0), Sequential([MatMul(4, 3, rng=0), AddBias(3)])
        model[0].weight, model[1].bias = layer.weight, layer.bias
        y = layer.compute_forward(x)
        assert_allclose(model.compute_forward(x), y, rtol=1e-12, atol=1e-12)
        assert_allclose(model.compute_backward(y), layer.compute_backward(y), rtol=1e-12, atol=1e-12)
        for ours, theirs in zip(model.get_params_and_grads()[1], layer.get_params_and_grads()[1], strict=True):
            assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)

    @given(x=inputs(2, 3, leading=1))
    def test_what_undoes_each_other(self, x: Any) -> None:
        back_and_forth = [
            Sequential([Transpose(range(x.ndim)[::-1]), Transpose(range(x.ndim)[::-1])]),
            Sequential([Reshape(-1), Reshape(x.shape)]),
            Sequential([Expand(1, 1), Sum(1)]),
            Sequential([Expand(0, 5), Mean(0)]),
        ]
        for model in back_and_forth:
            assert_allclose(model.compute_forward(x), x, rtol=1e-14)
            assert_allclose(model.compute_backward(x), x, rtol=1e-14)
        assert_array_equal(Sequential([Expand(0, 4), Sum(0)]).compute_forward(x), 4 * x)

    def test_embedding(self) -> None:
        layer = Embedding(5, 5)
        layer.weight = np.eye(5)
        model = Sequential([layer, Sum()])
        assert model.compute_forward([[1, 2, 3], [2, 3, 4]]) == 6
        model.compute_backward(1.0)
        assert_array_equal(layer.grad_weight, np.repeat([[0], [1], [2], [2], [1]], 5, axis=1))
