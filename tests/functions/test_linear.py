"""The linear layer: right derivatives for every shape and memory layout."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake import SGD, Linear, MatMul, Sequential, initializers

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "last axis first": lambda a: np.moveaxis(np.moveaxis(a, -1, 0).copy(), 0, -1),
}
layouts = st.sampled_from(list(LAYOUTS.values()))
shapes = st.tuples(st.integers(1, 4)) | st.lists(st.integers(1, 4), max_size=3).map(tuple)  # (B,) half of the time


def read_only(a):
    a.flags.writeable = False
    return a


@given(
    leading=shapes,
    n_in=st.integers(1, 5),
    n_out=st.integers(1, 5),
    bias=st.booleans(),
    x_layout=layouts,
    u_layout=layouts,
    seed=st.integers(0, 100),
)
def test_derivatives_against_numbers(leading, n_in, n_out, bias, x_layout, u_layout, seed):
    """The objective is linear in each array, so that differences are derivatives for steps of any length."""
    rng = np.random.default_rng(seed)
    layer = Linear(n_in, n_out, bias=bias, rng=rng)
    if bias:
        layer.bias = rng.normal(size=n_out)
    params, grads = layer.get_params_and_grads()
    x = read_only(x_layout(rng.normal(size=(*leading, n_in))))
    u = read_only(u_layout(rng.normal(size=(*leading, n_out))))
    noise = [rng.normal(size=g.shape) for g in grads]
    for g, n in zip(grads, noise, strict=True):
        g[...] = n

    y = layer(x)
    assert y.shape == (*leading, n_out)
    np.testing.assert_allclose(y, x @ layer.weight.T + (layer.bias if bias else 0), rtol=1e-12, atol=1e-13)
    dObj_dIn = layer.compute_backward(u)
    assert dObj_dIn.shape == x.shape
    for array in (y, dObj_dIn):
        assert not any(np.shares_memory(array, other) for other in (x, u, *params, *grads))
    found = [g - n for g, n in zip(grads, noise, strict=True)]

    def objective():
        return float((layer(x) * u).sum())

    before = objective()
    for p, g in zip(params, found, strict=True):
        v = rng.normal(size=p.shape)
        p += v
        assert objective() - before == pytest.approx((g * v).sum(), rel=1e-9, abs=1e-9)
        p -= v
    v = rng.normal(size=x.shape)
    assert float((layer(x + v) * u).sum()) - before == pytest.approx((dObj_dIn * v).sum(), rel=1e-9, abs=1e-9)


@given(leading=shapes, bias=st.booleans(), dtype=st.sampled_from([np.float32, np.int64, np.int8, bool, np.float16, list]))
def test_other_kinds_of_input_compute_the_same(leading, bias, dtype):
    rng = np.random.default_rng(0)
    x, u = rng.integers(0, 2, size=(*leading, 3)).astype(float), rng.integers(-3, 4, size=(*leading, 2)).astype(float)
    convert = (lambda a: a.tolist()) if dtype is list else (lambda a: a.astype(dtype))
    layer, twin = Linear(3, 2, bias=bias, rng=0), Linear(3, 2, bias=bias, rng=0)
    for _ in range(2):
        np.testing.assert_array_equal(layer(convert(x)), twin(x))
        d = u if dtype is bool else convert(u)
        np.testing.assert_array_equal(layer.compute_backward(d), twin.compute_backward(u))
    for g, h in zip(layer.get_params_and_grads()[1], twin.get_params_and_grads()[1], strict=True):
        np.testing.assert_array_equal(g, h)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 3), (2, 4, 3)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_dtypes_stay(dtype, shape):
    layer = Linear(3, 2, rng=0, dtype=dtype)
    for kind in (np.float32, np.float64, np.int64):
        y = layer(np.ones(shape, kind))
        assert y.dtype == dtype
        assert layer.compute_backward(np.ones(y.shape, np.float64)).dtype == dtype
    assert {a.dtype for arrays in layer.get_params_and_grads() for a in arrays} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("rows", "n_in", "n_out"), [(1, 16383, 2), (1, 16384, 2), (1, 16385, 2), (64, 40, 10), (8, 400, 400), (3, 2, 70000)]
)
def test_large_and_small(rows, n_in, n_out):
    rng = np.random.default_rng(0)
    layer = Linear(n_in, n_out, rng=rng)
    x, u = rng.normal(size=(rows, n_in)), rng.normal(size=(rows, n_out))
    layer.bias = rng.normal(size=n_out)
    layer.grad_weight.fill(1)
    layer.grad_bias.fill(1)
    np.testing.assert_allclose(layer(x), x @ layer.weight.T + layer.bias, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(layer.compute_backward(u), u @ layer.weight, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(layer.grad_weight, 1 + u.T @ x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(layer.grad_bias, 1 + u.sum(axis=0), rtol=1e-10, atol=1e-10)


def test_accumulate_grads_does_the_same_to_the_gradients():
    x, u = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=(5, 2))
    layer, twin = Linear(3, 2, rng=0), Linear(3, 2, rng=0)
    layer(x), twin(x)
    assert layer.accumulate_grads(u) is None
    twin.compute_backward(u)
    np.testing.assert_array_equal(layer.grad_weight, twin.grad_weight)
    np.testing.assert_array_equal(layer.grad_bias, twin.grad_bias)
    layer.accumulate_grads(u)
    np.testing.assert_allclose(layer.grad_weight, 2 * twin.grad_weight, rtol=1e-12)


def test_changing_batch_sizes():
    """Every forward computes as a new layer would, and earlier outputs stay what they were."""
    layer = Linear(3, 2, rng=0)
    outputs, expected = [], []
    for i, shape in enumerate([(4, 3), (4, 3), (1, 3), (7, 3), (3,), (4, 3), (2, 2, 3), (900, 3), (4, 3)]):
        x = np.random.default_rng(i).normal(size=shape)
        u = np.random.default_rng(i).normal(size=(*shape[:-1], 2))
        twin = Linear(3, 2, rng=0)
        outputs.append(layer(x))
        expected.append(twin(x).copy())
        for g in layer.get_params_and_grads()[1]:
            g.fill(0)
        np.testing.assert_array_equal(layer.compute_backward(u), twin.compute_backward(u))
        np.testing.assert_array_equal(layer.grad_weight, twin.grad_weight)
        np.testing.assert_array_equal(layer.grad_bias, twin.grad_bias)
    for y, z in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(y, z)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


def test_backward_refers_to_the_latest_forward():
    layer = Linear(3, 2, rng=0)
    layer(np.full((4, 3), 100.0))
    layer(np.ones((4, 3)))
    layer.compute_backward(np.ones((4, 2)))
    np.testing.assert_array_equal(layer.grad_weight, np.full((2, 3), 4.0))


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: SGD(layer, lr=0.5).step(),
        lambda layer: layer.load_state_dict(Linear(3, 2, rng=9).state_dict()),
        lambda layer: setattr(layer, "weight", np.ones((2, 3))),
        lambda layer: setattr(layer, "bias", 5.0),
        lambda layer: layer.reset_parameters(4),
        lambda layer: layer.astype(np.float32),
        lambda layer: layer.astype(np.float64),
    ],
    ids=["step", "load", "weight", "bias", "reset", "float32", "float64"],
)
def test_forward_sees_every_change_of_the_parameters(change):
    layer, x = Linear(3, 2, rng=0), np.ones((4, 3))
    y = layer(x)
    layer.compute_backward(np.ones((4, 2)))
    change(layer)
    expected = x.astype(layer.weight.dtype) @ layer.weight.T + layer.bias
    np.testing.assert_allclose(layer(x), expected, rtol=1e-6)
    if layer.weight.dtype == np.float64 and change.__code__.co_names != ("astype", "np", "float64"):
        assert not np.array_equal(layer(x), y)
    for g in layer.get_params_and_grads()[1]:
        g.fill(0)
    layer.compute_backward(np.ones((4, 2)))
    np.testing.assert_array_equal(layer.grad_weight, np.full((2, 3), 4.0))
    np.testing.assert_array_equal(layer.grad_bias, np.full(2, 4.0))


def test_a_shared_copy_remembers_what_it_was_given():
    layer = Linear(3, 2, rng=0)
    twin = layer.shared_copy()
    layer(np.ones((4, 3)))
    twin(np.full((4, 3), 10.0))
    layer.compute_backward(np.ones((4, 2)))
    np.testing.assert_array_equal(layer.grad_weight, np.full((2, 3), 4.0))
    twin.compute_backward(np.ones((4, 2)))
    np.testing.assert_array_equal(twin.grad_weight, np.full((2, 3), 44.0))


def test_copies_in_which_weight_and_bias_lie_apart():
    """Another Function that comes first holds the weight, so that a copy lays it out first."""
    layer = Linear(3, 3, rng=0)
    layer.bias = [1, 2, 3]

    class Holder(Linear):
        pass

    holder = Holder(3, 3, bias=False, rng=0)
    vars(holder).update(weight=layer.weight, grad_weight=layer.grad_weight)
    model, x = Sequential([holder, Linear(3, 3, rng=1), layer]), np.random.default_rng(0).normal(size=(4, 3))
    expected, d = model(x), model.compute_backward(np.ones((4, 3)))
    twin = copy.deepcopy(model)
    for g in twin.get_params_and_grads()[1]:
        g.fill(0)
    np.testing.assert_array_equal(twin(x), expected)
    np.testing.assert_array_equal(twin.compute_backward(np.ones((4, 3))), d)
    np.testing.assert_array_equal(twin[2].grad_bias, layer.grad_bias)
    np.testing.assert_allclose(twin[2].grad_weight, layer.grad_weight, rtol=1e-12)


# --- construction ---


def test_torchs_layout():
    layer = Linear(4, 3, rng=0)
    assert layer.weight.shape == layer.grad_weight.shape == (3, 4)
    assert layer.bias.shape == layer.grad_bias.shape == (3,)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert layer.num_parameters == 15
    alone = Linear(4, 3, bias=False)
    assert alone.bias is alone.grad_bias is None
    assert list(alone.state_dict()) == ["weight"]


def test_torchs_start_by_default_from_the_generator():
    draws = np.random.default_rng(3)
    weight, bias = initializers.torch_uniform(40, 30, draws), draws.uniform(-1 / np.sqrt(40), 1 / np.sqrt(40), 30)
    for layer in (
        Linear(40, 30, rng=3),
        Linear(40, 30, rng=np.random.default_rng(3)),
        Linear(40, 30, init="torch_uniform", rng=3),
    ):
        np.testing.assert_array_equal(layer.weight, weight)
        np.testing.assert_array_equal(layer.bias, bias)
    np.testing.assert_array_equal(Linear(40, 30, bias=False, rng=3).weight, weight)
    np.testing.assert_array_equal(MatMul(40, 30, rng=3).weight, weight)
    assert not np.array_equal(Linear(40, 30).weight, Linear(40, 30).weight)


def test_other_schemes_leave_the_bias_at_0():
    layer = Linear(40, 30, init="he_normal", rng=3)
    np.testing.assert_array_equal(layer.weight, initializers.he_normal(40, 30, np.random.default_rng(3)))
    assert not layer.bias.any()


@pytest.mark.parametrize("init", ["glorot_uniform", "torch_uniform"])
def test_reset_parameters(init):
    layer = Linear(4, 3, rng=0, init=init)
    weight, bias = layer.weight.copy(), layer.bias.copy()
    layer.weight, layer.bias = 1.0, 1.0
    layer.reset_parameters(0)
    np.testing.assert_array_equal(layer.weight, weight)
    np.testing.assert_array_equal(layer.bias, bias)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None, "3", [3]])
@pytest.mark.parametrize("name", ["n_in", "n_out"])
def test_sizes_out_of_range(n, name):
    with pytest.raises((TypeError, ValueError), match=f"^Linear: expected {name} "):
        Linear(**{"n_in": 2, "n_out": 2, name: n})


@pytest.mark.parametrize("init", ["he", "", None, 3, ["he_normal"], {}])
def test_an_unknown_initializer(init):
    with pytest.raises(
        ValueError, match=r"^Linear: unknown initializer .*; expected one of he_normal, he_uniform, .*, or a function"
    ):
        Linear(2, 2, init=init)


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda i, o, rng: np.zeros((i, o)), ValueError, r"expected weight of shape \(3, 2\), got \(2, 3\)"),
        (lambda i, o, rng: np.zeros((o, 1)), ValueError, r"expected weight of shape \(3, 2\), got \(3, 1\)"),
        (lambda i, o, rng: "zeros", TypeError, "expected weight to be real numbers"),
        (lambda i, o, rng: np.zeros((o, i), complex), TypeError, "expected weight to be real numbers"),
    ],
)
def test_an_initializer_that_returns_something_else(draw, error, message):
    with pytest.raises(error, match=rf"^Linear\(2, 3, init=<function .*>\): {message}"):
        Linear(2, 3, init=draw)


# --- errors ---

BAD_INPUTS = [
    (np.zeros((2, 4)), ValueError, r"expected \(\.\.\., 3\), got \(2, 4\)"),
    (np.zeros((3, 2)), ValueError, r"expected \(\.\.\., 3\), got \(3, 2\)"),
    (
        np.zeros(4),
        ValueError,
        r"expected \(\.\.\., 3\), got \(4,\); reshape\(1, -1\) makes one example of it, reshape\(-1, 1\) one",
    ),
    (np.zeros((2, 3, 1)), ValueError, r"expected \(\.\.\., 3\), got \(2, 3, 1\)"),
    (1.0, ValueError, r"expected \(\.\.\., 3\), got \(\)"),
    (np.zeros((0, 3)), ValueError, r"expected at least one example, got an empty input of shape \(0, 3\)"),
    ([], ValueError, r"expected at least one example, got an empty input of shape \(0,\)"),
    ("abc", TypeError, "expected input to be real numbers, got str 'abc'"),
    (["a", "b", "c"], TypeError, "expected input to be real numbers, got list"),
    (None, TypeError, "expected input to be real numbers, got NoneType None"),
    (object(), TypeError, "expected input to be real numbers, got object"),
    (np.zeros(3, complex), TypeError, "expected input to be real numbers, got an array of dtype complex128"),
    (np.zeros(3, object), TypeError, "expected input to be real numbers, got an array of dtype object"),
    ([[1, 2, 3], [1]], ValueError, "expected input to be an array, got rows of different lengths"),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD_INPUTS)
def test_bad_input_leaves_the_latest_forward_alone(x, error, message):
    layer = Linear(3, 2, rng=0)
    for good in (None, np.ones((4, 3)), np.ones((900, 3))):
        if good is not None:
            layer(good)
        with pytest.raises(error, match=rf"^Linear\(3, 2\): {message}"):
            layer(x)
        if good is not None:
            layer.grad_weight.fill(0)
            layer.compute_backward(np.ones((len(good), 2)))
            np.testing.assert_array_equal(layer.grad_weight, np.full((2, 3), float(len(good))))


@pytest.mark.parametrize(
    ("d", "error", "message"),
    [
        (np.zeros((4, 3)), ValueError, r"expected dObj_dOut of shape \(4, 2\), like the output, got \(4, 3\)"),
        (np.zeros((2, 4)), ValueError, r"got \(2, 4\)"),
        (np.zeros((4, 1)), ValueError, r"got \(4, 1\)"),
        (np.zeros(2), ValueError, r"got \(2,\)"),
        (np.zeros((1, 4, 2)), ValueError, r"got \(1, 4, 2\)"),
        ("abc", TypeError, "expected dObj_dOut to be real numbers"),
        (None, TypeError, "expected dObj_dOut to be real numbers"),
        (np.zeros((4, 2), complex), TypeError, "expected dObj_dOut to be real numbers"),
        ([[1, 2], [1]], ValueError, "expected dObj_dOut to be an array, got rows of different lengths"),
    ],
)
def test_a_bad_upstream_gradient_changes_nothing(d, error, message):
    layer = Linear(3, 2, rng=0)
    layer(np.ones((4, 3)))
    for backward in (layer.compute_backward, layer.accumulate_grads):
        with pytest.raises(error, match=rf"^Linear\(3, 2\): .*{message}"):
            backward(d)
    assert not layer.grad_weight.any()
    assert not layer.grad_bias.any()


def test_backward_before_forward():
    for backward in (Linear(3, 2).compute_backward, Linear(3, 2).accumulate_grads):
        with pytest.raises(RuntimeError, match=r"^Linear\(3, 2\): compute_backward needs a compute_forward before it"):
            backward(np.ones((4, 2)))


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (700, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_evaluation_computes_what_training_does(shape: tuple[int, ...], bias: bool) -> None:
    rng = np.random.default_rng(0)
    layer = Linear(3, 2, bias=bias, rng=rng)
    if bias:
        layer.bias = rng.normal(size=2)
    x, d = rng.normal(size=shape), rng.normal(size=(*shape[:-1], 2))
    results = []
    for mode in (True, False):
        layer.train(mode)
        for grad in layer.get_params_and_grads()[1]:
            grad.fill(0)
        results.append([layer(x), layer.compute_backward(d), *(grad.copy() for grad in layer.get_params_and_grads()[1])])
    for trained, evaluated in zip(*results, strict=True):
        np.testing.assert_allclose(evaluated, trained, rtol=1e-12, atol=1e-12)
