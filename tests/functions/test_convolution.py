"""Convolutions: windows and their transpose, known results, options, memory, and what is refused."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk
from pancake import Conv1d, Conv2d, ConvTranspose2d
from pancake.functions.windows import Windows
from pancake.testing.strategies import functions


def windows(axes: int) -> st.SearchStrategy[Windows]:
    def numbers(least: int, most: int) -> Any:
        return st.tuples(*[st.integers(least, most)] * axes)

    return st.builds(Windows, numbers(1, 3), numbers(1, 3), numbers(0, 2), numbers(1, 2))


@given(data=st.data(), axes=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_sum_of_windows_is_the_transpose_of_their_copy(data: st.DataObject, axes: int, seed: int) -> None:
    """<P x, w> = <x, P^T w>, for any x and w: all that backward of a convolution needs."""
    w = data.draw(windows(axes))
    counts = data.draw(st.tuples(*[st.integers(1, 3)] * axes))
    more = data.draw(st.tuples(*(st.integers(0, stride - 1) for stride in w.stride)))  # which no window reaches
    lengths = tuple(max(1, n + m) for n, m in zip(w.lengths(counts), more, strict=True))
    counts = w.counts(lengths)
    rng = np.random.default_rng(seed)
    x, columns = rng.normal(size=(2, 3, *lengths)), rng.normal(size=(3, *w.kernel, *counts, 2))
    assert w.of(x).shape == columns.shape
    assert_allclose((w.of(x) * columns).sum(), (x * w.sum(columns, lengths)).sum(), rtol=1e-10, atol=1e-10)


def by_loops(layer: Any, x: Any) -> Any:
    """A convolution as it is defined, number by number."""
    (k, m), (s, t), (p, q), (d, e) = (
        layer._windows().kernel,
        *(v if isinstance(v, tuple) else (v, v) for v in (layer.stride, layer.padding, layer.dilation)),
    )
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (q, q)))
    rows = (padded.shape[2] - d * (k - 1) - 1) // s + 1
    columns = (padded.shape[3] - e * (m - 1) - 1) // t + 1
    y = np.zeros((len(x), layer.n_out, rows, columns))
    per_group, outs = layer.n_in // layer.groups, layer.n_out // layer.groups
    for b, o, r, c in np.ndindex(*y.shape):
        y[b, o, r, c] = layer.bias[o]
        for i, u, v in itertools.product(range(per_group), range(k), range(m)):
            pixel = padded[b, o // outs * per_group + i, r * s + u * d, c * t + v * e]
            y[b, o, r, c] += layer.weight[o, i, u, v] * pixel
    return y


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"dilation": (2, 1), "groups": 2, "padding": (0, 3), "stride": (1, 2)}]
)
def test_is_what_its_definition_says(options: dict[str, Any]) -> None:
    layer = Conv2d(2, 4, (3, 2), rng=0, **options)
    layer.bias = np.arange(4)
    x = np.random.default_rng(1).normal(size=(2, 2, 6, 5))
    assert_allclose(layer.compute_forward(x), by_loops(layer, x), rtol=1e-12, atol=1e-12)


def test_a_difference_and_its_way_back() -> None:
    """By hand: y[l] = x[l + 1] - x[l]."""
    layer = Conv1d(1, 1, 2)
    layer.weight = [[[-1.0, 1.0]]]
    layer.bias = [0.5]
    assert_array_equal(layer.compute_forward([[[1.0, 4.0, 9.0]]]), [[[3.5, 5.5]]])
    assert_array_equal(layer.compute_backward(np.array([[[1.0, 10.0]]])), [[[-1.0, 1.0 - 10.0, 10.0]]])
    assert_array_equal(layer.grad_weight, [[[1.0 + 40.0, 4.0 + 90.0]]])
    assert_array_equal(layer.grad_bias, [11.0])


@given(functions(ConvTranspose2d))
def test_the_transposed_one_is_the_backward_of_the_other(drawn: Any) -> None:
    transposed, x = drawn
    options = {name: getattr(transposed, name) for name in ("kernel_size", "stride", "padding", "dilation", "groups")}
    other = Conv2d(transposed.n_out, transposed.n_in, **options, bias=False)
    other.weight = transposed.weight
    if transposed.bias is not None:
        transposed.bias = 0
    y = transposed.compute_forward(x)
    assert_allclose(other.compute_forward(y).shape, x.shape)
    assert_allclose(other.compute_backward(x), y, rtol=1e-12, atol=1e-12)


def test_a_kernel_of_one_is_a_linear_layer_of_the_channels() -> None:
    layer, x = Conv2d(3, 4, 1, rng=0), np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    expected = np.einsum("oi,bihw->bohw", layer.weight[..., 0, 0], x)
    assert_allclose(layer.compute_forward(x), expected, rtol=1e-12, atol=1e-12)


@given(functions(Conv1d, Conv2d))
def test_gradients_alone_are_those_of_backward(drawn: Any) -> None:
    function, x = copy.deepcopy(drawn)
    d = np.random.default_rng(0).normal(size=function.compute_forward(x).shape)
    grads = function.get_params_and_grads()[1]
    for grad in grads:
        grad.fill(1)
    function.compute_backward(d)
    expected = [grad.copy() for grad in grads]
    for grad in grads:
        grad.fill(1)
    function.accumulate_grads(d)
    for grad, wanted in zip(grads, expected, strict=True):
        assert_array_equal(grad, wanted)


def test_memory_order_changes_nothing_and_results_are_fresh() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 6))
    layer, expected = Conv2d(2, 4, 3, padding=1, rng=0), None
    for order in itertools.permutations(range(4)):
        lying = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        lying.flags.writeable = False
        y = layer.compute_forward(lying)
        d = layer.compute_backward(y)
        assert not np.shares_memory(y, lying)
        expected = (y, d) if expected is None else expected
        assert_allclose(y, expected[0], rtol=1e-13, atol=1e-13)
        assert_allclose(d, expected[1], rtol=1e-13, atol=1e-13)


def test_the_batch_stays_last_in_memory_from_layer_to_layer() -> None:
    """Or else every layer would lay its images anew."""
    layers = [Conv2d(1, 2, 3, rng=0), pk.ReLU(), pk.MaxPool2d(2), pk.BatchNorm2d(2), pk.GroupNorm(1, 2), pk.AvgPool2d(2)]
    x = np.random.default_rng(0).normal(size=(3, 1, 14, 14))
    for layer in layers:
        x = layer.compute_forward(x)
        assert np.moveaxis(x, 0, -1).flags.c_contiguous, layer
    for layer in reversed(layers):
        x = layer.compute_backward(x)
        assert np.moveaxis(x, 0, -1).flags.c_contiguous, layer


def test_the_last_rows_that_no_window_reaches_have_no_gradient() -> None:
    layer = Conv2d(1, 1, 2, stride=2)
    layer.weight = 1
    y = layer.compute_forward(np.ones((1, 1, 5, 4)))
    assert y.shape == (1, 1, 2, 2)
    assert_array_equal(layer.compute_backward(y)[0, 0, 4], 0)


@pytest.mark.parametrize(
    ("layer", "summed"),
    [
        (Conv1d(64, 64, 5), 64 * 5),
        (Conv2d(16, 64, 3), 16 * 9),
        (Conv2d(64, 64, (3, 5), groups=8), 8 * 15),
        (ConvTranspose2d(64, 64, 4, stride=2), 64 * 16 / 4),
    ],
    ids=repr,
)
def test_the_variance_of_the_first_weights(layer: Any, summed: float) -> None:
    layer.reset_parameters(0)
    assert_allclose(layer.weight.var(), 2 / summed, rtol=0.05)
    assert not layer.bias.any()


def test_signals_keep_their_size_through_deep_stacks() -> None:
    down = [part for i in range(4) for part in (Conv2d(16, 16, 3, padding=1, rng=i), pk.ReLU())]
    x = np.random.default_rng(0).normal(size=(4, 16, 12, 12))
    assert 0.3 < pk.Sequential(down).compute_forward(x)[..., 4:8, 4:8].std() < 3
    up = ConvTranspose2d(16, 16, 4, stride=2, padding=1, rng=0)
    assert 1.2 < up.compute_forward(x).std() < 1.7  # sqrt(2), before the ReLU


def test_repr_says_what_was_said() -> None:
    assert repr(Conv2d(1, 6, 5)) == "Conv2d(1, 6, 5)"
    assert repr(Conv2d(2, 6, (3, 1), stride=2, padding=[1, 0], groups=2, bias=False, dtype=np.float32)) == (
        "Conv2d(2, 6, (3, 1), stride=2, padding=(1, 0), groups=2, bias=False, dtype=np.float32)"
    )


def lenet(dtype: Any = np.float64) -> pk.Sequential:
    parts = [pk.Conv2d(1, 6, 5, padding=2, rng=0), pk.ReLU(), pk.MaxPool2d(2), pk.Conv2d(6, 16, 5, rng=1), pk.ReLU()]
    parts += [pk.MaxPool2d(2), pk.Flatten(), pk.Linear(400, 84, rng=2), pk.ReLU(), pk.Linear(84, 10, rng=3)]
    return pk.Sequential(parts).astype(dtype)


def test_summary_shows_the_shapes() -> None:
    lines = lenet().summary((1, 1, 28, 28)).splitlines()
    shapes = [line[line.index("(1, ", 30) :].split(")")[0] for line in lines if "2d(" in line]
    assert shapes == ["(1, 6, 28, 28", "(1, 6, 14, 14", "(1, 16, 10, 10", "(1, 16, 5, 5"]
    assert lines[6].split()[-1] == "2,416"


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_goes_into_a_file_and_comes_back(suffix: str, tmp_path: Path) -> None:
    if suffix == "safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    parts = [Conv2d(1, 4, (3, 1), stride=(2, 1), rng=0), pk.BatchNorm2d(4), pk.AvgPool2d(2), pk.GroupNorm(2, 4)]
    parts += [ConvTranspose2d(4, 2, 2, padding=[1, 0], rng=1), pk.Upsample((2, 1)), pk.GlobalAvgPool2d(), pk.RMSNorm(2)]
    model = pk.Sequential(parts)
    x = np.random.default_rng(0).normal(size=(3, 1, 9, 8))
    model.compute_forward(x)  # which moves the running statistics
    pk.save(tmp_path / f"net.{suffix}", model)
    again = pk.load(tmp_path / f"net.{suffix}")
    assert repr(again) == repr(model)
    assert_array_equal(pk.predict(again, x), pk.predict(model, x))


def test_learns_where_a_stroke_lies() -> None:
    """Whether a stroke is upright or not, wherever it is: `fit` on a net of the new layers, in float32."""
    rng = np.random.default_rng(0)
    upright = rng.integers(0, 2, 300)
    x = np.zeros((300, 1, 8, 8), np.float32)
    for image, up in zip(x, upright, strict=True):
        row, column = rng.integers(0, 5, 2)
        image[0, row : row + (4 if up else 1), column : column + (1 if up else 4)] = 1
    parts = [Conv2d(1, 4, 3, rng=0), pk.ReLU(), pk.MaxPool2d(2), pk.Conv2d(4, 4, 2, rng=1), pk.ReLU(), pk.GlobalAvgPool2d()]
    model = pk.Sequential([*parts, pk.Linear(4, 2, rng=2)]).astype(np.float32)
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model, lr=0.02), x[:200], upright[:200], epochs=15, rng=0, progress=False)
    assert all(p.dtype == np.float32 for p in model.get_params_and_grads()[0])
    assert pk.accuracy(pk.predict(model, x[200:]), upright[200:]) > 0.95


def test_frozen_filters_stay() -> None:
    model = lenet()
    model[0].freeze()
    x = np.random.default_rng(0).normal(size=(2, 1, 28, 28))
    model.accumulate_grads(model.compute_forward(x))
    assert not model[0].grad_weight.any()  # type: ignore[attr-defined]
    assert model[3].grad_weight.any()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Conv2d(0, 1, 3), ValueError, "Conv2d: expected n_in of at least 1, got 0"),
        (lambda: Conv2d(1, 1, 0), ValueError, "Conv2d: expected kernel_size of at least 1, got 0"),
        (
            lambda: Conv2d(1, 1, (3, 3, 3)),
            ValueError,
            r"Conv2d: expected kernel_size to be a whole number or 2 of them, got \(3, 3",
        ),
        (lambda: Conv1d(1, 1, (3, 3)), ValueError, "Conv1d: expected kernel_size to be a whole number or 1 of them"),
        (lambda: Conv2d(1, 1, 2.5), TypeError, "Conv2d: expected kernel_size to be a whole number, got 2.5"),  # type: ignore[arg-type]
        (lambda: Conv2d(1, 1, 3, stride=0), ValueError, "Conv2d: expected stride of at least 1, got 0"),
        (lambda: Conv2d(1, 1, 3, stride=True), TypeError, "Conv2d: expected stride to be a whole number, got True"),
        (lambda: Conv2d(1, 1, 3, padding=-1), ValueError, "Conv2d: expected padding of at least 0, got -1"),
        (
            lambda: Conv2d(1, 1, 3, padding="same"),
            TypeError,
            r"padding to be a whole number, got 'same'; with stride 1 and an odd",
        ),  # type: ignore[arg-type]
        (lambda: Conv2d(1, 1, 3, dilation=(1, 0)), ValueError, "Conv2d: expected dilation of at least 1, got 0"),
        (lambda: Conv2d(1, 1, np.array([3, 3])), TypeError, r"Conv2d: expected kernel_size to be a whole number, got array\("),
        (
            lambda: Conv2d(1, 1, 3, padding=np.array([1, 1])),
            TypeError,
            r"Conv2d: expected padding to be a whole number, got array",
        ),
        (
            lambda: Conv2d(1, 1, 3, stride=10**20),
            ValueError,
            "Conv2d: expected stride of at most 2147483648, got 1000000000000000",
        ),
        (
            lambda: Conv2d(1, 1, 3, padding=10**20),
            ValueError,
            "Conv2d: expected padding of at most 2147483648, got 1000000000000",
        ),
        (lambda: Conv2d(3, 4, 3, groups=2), ValueError, "Conv2d: expected groups that divide 3 and 4 channels, got 2"),
        (lambda: Conv2d(1, 1, 3, dtype=int), TypeError, "Conv2d: expected a floating dtype"),
        (
            lambda: Conv2d(1, 6, 5).compute_forward(np.ones((8, 784))),
            ValueError,
            r"Conv2d\(1, 6, 5\): expected \(B, 1, H, W\), got \(8, 784\); Reshape\(\(-1, 1, H, W\)\)",
        ),
        (
            lambda: Conv2d(1, 6, 5).compute_forward(np.ones((8, 28, 28))),
            ValueError,
            r"expected \(B, 1, H, W\), got \(8, 28, 28\); x\[:, np.newaxis\] gives images without channels one",
        ),
        (
            lambda: Conv2d(3, 6, 5).compute_forward(np.ones((8, 28, 28, 3))),
            ValueError,
            r"expected \(B, 3, H, W\), got \(8, 28, 28, 3\); Transpose\(\(0, 3, 1, 2\)\) moves channels",
        ),
        (
            lambda: Conv1d(3, 6, 5).compute_forward(np.ones((8, 28, 3))),
            ValueError,
            r"expected \(B, 3, L\), got \(8, 28, 3\); Transpose\(\(0, 2, 1\)\) moves channels",
        ),
        (
            lambda: Conv2d(1, 6, 5).compute_forward(np.ones((8, 1, 4, 9))),
            ValueError,
            r"Conv2d\(1, 6, 5\): expected images of at least \(5, 5\), got \(4, 9\), in \(8, 1, 4, 9\)",
        ),
        (
            lambda: Conv1d(1, 6, 3, padding=1, dilation=4).compute_forward(np.ones((8, 1, 6))),
            ValueError,
            r"expected images of at least \(9,\), got \(6,\) with padding \(1,\)",
        ),
        (
            lambda: ConvTranspose2d(1, 1, 2, padding=1).compute_forward(np.ones((1, 1, 1, 3))),
            ValueError,
            r"expected an output of at least one entry, got \(0, 2\) from an input \(1, 1, 1, 3\)",
        ),
        (
            lambda: Conv2d(1, 1, 3).compute_forward(np.ones((1, 2, 3, 3))),
            ValueError,
            r"expected \(B, 1, H, W\), got \(1, 2, 3, 3\)",
        ),
        (lambda: Conv2d(1, 1, 3).compute_forward(np.ones((0, 1, 3, 3))), ValueError, "expected at least one example"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_refuses_gradients_of_another_shape() -> None:
    layer = Conv2d(1, 2, 3)
    layer.compute_forward(np.ones((4, 1, 5, 5)))
    with pytest.raises(ValueError, match=r"expected dObj_dOut of shape \(4, 2, 3, 3\), like the output, got \(4, 2, 5, 5\)"):
        layer.compute_backward(np.ones((4, 2, 5, 5)))
    assert not layer.grad_weight.any()
