"""Attention, and what tells it where a step stands: edges, lengths, errors, and that the future is not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bricks import check_casts, check_derivatives, check_manners, make
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import pancake as pk
from pancake.testing import check_function

ALL = [
    "MultiHeadAttention(4, 1, rng=0)",
    "MultiHeadAttention(4, 2, rng=0)",
    "MultiHeadAttention(4, 4, causal=True, rng=0)",
    "MultiHeadAttention(4, 2, causal=True, bias=False, rng=0)",
    "PositionalEmbedding(9, 4, rng=0)",
    "SinusoidalPositions(4)",
]


@pytest.mark.parametrize("expression", ALL)
@settings(max_examples=8)
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 4)), seed=st.integers(0, 2**32 - 1))
def test_derivatives(expression: str, shape: tuple[int, int], seed: int) -> None:
    check_derivatives(make(expression), np.random.default_rng(seed).normal(size=(*shape, 4)))


@pytest.mark.parametrize("expression", ALL)
def test_manners(expression: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    check_manners(expression, x)
    check_casts(expression, x)


class WithLengths(pk.Function):
    """Attention over sequences of these lengths, as the checker calls Functions."""

    def __init__(self, attention: pk.MultiHeadAttention, lengths: Any) -> None:
        self.attention, self.lengths = attention, lengths

    def compute_forward(self, x: Any) -> Any:
        return self.attention(x, lengths=self.lengths)

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return self.attention.compute_backward(dObj_dOut)


@pytest.mark.parametrize("causal", [False, True])
class TestLengths:
    LENGTHS = np.array([4, 1, 3])

    def test_a_batch_is_what_its_sequences_are_alone(self, causal: bool) -> None:
        rng = np.random.default_rng(0)
        attention = pk.MultiHeadAttention(6, 2, causal=causal, rng=0)
        x, d = rng.normal(size=(2, 3, 5, 6))
        y = attention(x, lengths=self.LENGTHS)
        dObj_dIn = attention.compute_backward(d)
        grads = [grad.copy() for grad in attention.get_params_and_grads()[1]]
        pk.SGD(attention).zero_grad()
        for i, n in enumerate(self.LENGTHS):
            assert_allclose(y[i : i + 1, :n], attention(x[i : i + 1, :n]), rtol=1e-12, atol=1e-14)
            assert_allclose(dObj_dIn[i : i + 1, :n], attention.compute_backward(d[i : i + 1, :n]), rtol=1e-12, atol=1e-14)
            assert not y[i, n:].any()
            assert not dObj_dIn[i, n:].any()
        for grad, alone in zip(grads, attention.get_params_and_grads()[1], strict=True):
            assert_allclose(grad, alone, rtol=1e-10, atol=1e-14)

    def test_what_stands_past_the_end_does_not_matter(self, causal: bool) -> None:
        rng = np.random.default_rng(0)
        attention = pk.MultiHeadAttention(4, 2, causal=causal, rng=0)
        x, d = rng.normal(size=(2, 3, 4, 4))
        past = np.arange(4) >= self.LENGTHS[:, np.newaxis]
        results = []
        for junk in (0.0, np.nan, np.inf):
            pk.SGD(attention).zero_grad()
            y = attention(np.where(past[..., np.newaxis], junk, x), lengths=self.LENGTHS)
            dObj_dIn = attention.compute_backward(np.where(past[..., np.newaxis], junk, d))
            results.append([y, dObj_dIn, *(grad.copy() for grad in attention.get_params_and_grads()[1])])
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                assert_array_equal(a, b)

    def test_derivatives(self, causal: bool) -> None:
        x = np.random.default_rng(0).normal(size=(3, 4, 4))
        attention = pk.MultiHeadAttention(4, 2, causal=causal, rng=0)
        assert check_function(WithLengths(attention, self.LENGTHS), x).ok

    def test_as_torch_masks_keys(self, causal: bool) -> None:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        theirs = torch.nn.MultiheadAttention(6, 3, batch_first=True, dtype=torch.float64)
        ours = pk.MultiHeadAttention(6, 3, causal=causal)
        ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
        x = np.random.default_rng(0).normal(size=(3, 4, 6))
        valid = np.arange(4) < self.LENGTHS[:, np.newaxis]
        tensor = torch.tensor(x, requires_grad=True)
        mask = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1) if causal else None
        y = theirs(tensor, tensor, tensor, key_padding_mask=torch.tensor(~valid), attn_mask=mask)[0]
        d = np.random.default_rng(1).normal(size=y.shape) * valid[..., np.newaxis]
        y.backward(torch.tensor(d))
        assert_allclose(ours(x, lengths=self.LENGTHS)[valid], y.detach().numpy()[valid], rtol=1e-10)
        assert_allclose(ours.compute_backward(d), tensor.grad.numpy(), rtol=1e-10, atol=1e-12)

    def test_they_reach_it_through_stacks_and_fit(self, causal: bool) -> None:
        rng = np.random.default_rng(0)
        words, lengths = rng.integers(0, 5, (20, 4)), rng.integers(1, 5, 20)
        attention = pk.MultiHeadAttention(8, 2, causal=causal, rng=1)
        model = pk.Sequential(
            [pk.Embedding(5, 8, rng=0), pk.Residual(pk.Sequential([pk.LayerNorm(8), attention])), pk.Linear(8, 2)]
        )
        weight = (np.arange(4) < lengths[:, np.newaxis]).astype(float)
        history = pk.fit(
            model,
            pk.CrossEntropy(),
            pk.Adam(model, lr=0.01),
            words,
            words % 2,
            lengths=lengths,
            sample_weight=weight,
            epochs=30,
            progress=False,
            rng=0,
        )
        assert history["loss"][-1] < 0.2 * history["loss"][0]
        y = pk.predict(model, words, lengths=lengths)
        junk = np.where(weight == 0, 4, words)
        assert_array_equal(pk.predict(model, junk, lengths=lengths)[weight > 0], y[weight > 0])


def test_the_future_is_not_seen() -> None:
    attention = pk.MultiHeadAttention(4, 2, causal=True, rng=0)
    x = np.random.default_rng(0).normal(size=(1, 6, 4))
    y = attention(x)
    for t in range(6):
        changed = x.copy()
        changed[:, t + 1 :] = 100
        assert_allclose(attention(changed)[:, : t + 1], y[:, : t + 1], rtol=1e-12)
        assert_allclose(attention(x[:, : t + 1]), y[:, : t + 1], rtol=1e-12)
    attention(x)
    d = np.zeros_like(x)
    d[:, 2] = 1
    assert not attention.compute_backward(d)[:, 3:].any()


def test_order_does_not_matter_without_positions() -> None:
    attention = pk.MultiHeadAttention(4, 2, rng=0)
    x = np.random.default_rng(0).normal(size=(1, 5, 4))
    order = [3, 1, 4, 0, 2]
    assert_allclose(attention(x[:, order]), attention(x)[:, order], rtol=1e-12)
    placed = pk.Sequential([pk.SinusoidalPositions(4), attention])
    assert not np.allclose(placed(x[:, order]), placed(x)[:, order])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes(dtype: Any) -> None:
    attention = pk.MultiHeadAttention(4, 2, causal=True, rng=0, dtype=dtype)
    x = np.random.default_rng(0).choice([1e4, -1e4, 0.0], (2, 5, 4)).astype(dtype)
    with np.errstate(all="raise", under="ignore"):
        y = attention(x, lengths=[5, 2])
        d = attention.compute_backward(np.ones_like(y))
    assert np.isfinite(y).all()
    assert np.isfinite(d).all()
    assert y.dtype == d.dtype == dtype


def test_files_copies_and_names(tmp_path: Any) -> None:
    model = pk.Sequential([pk.PositionalEmbedding(6, 4, init="zeros"), pk.MultiHeadAttention(4, 2, causal=True, rng=0)])
    assert repr(model) == "Sequential([PositionalEmbedding(6, 4, init='zeros'), MultiHeadAttention(4, 2, causal=True)])"
    names = ["0.weight", "1.in_proj_weight", "1.in_proj_bias", "1.out_proj.weight", "1.out_proj.bias"]
    assert list(model.state_dict()) == names
    x = np.random.default_rng(0).normal(size=(2, 5, 4))
    pk.save(tmp_path / "m.npz", model.astype(np.float32))
    loaded = pk.load(tmp_path / "m.npz")
    assert_array_equal(loaded(x), model(x))
    assert loaded(x).dtype == np.float32
    again = pk.MultiHeadAttention(4, 2, rng=0)
    before = again.in_proj_weight.copy()
    again.reset_parameters(0)
    assert_array_equal(again.in_proj_weight, before)
    assert pk.MultiHeadAttention(4, 2, bias=False).num_parameters == 4 * 16


def test_sines_and_cosines() -> None:
    s = pk.SinusoidalPositions(5)(np.zeros((3, 5)))
    for t in range(3):
        rates = [1, 1, 10000 ** (-2 / 5), 10000 ** (-2 / 5), 10000 ** (-4 / 5)]
        expected = [wave(t * rate) for wave, rate in zip((np.sin, np.cos) * 3, rates, strict=False)]
        assert_allclose(s[t], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pk.MultiHeadAttention(6, 4), ValueError, "MultiHeadAttention: expected heads that divide .*, got 4 heads for 6"),
        (lambda: pk.MultiHeadAttention(0, 1), ValueError, "n of at least 1"),
        (
            lambda: pk.MultiHeadAttention(4, 2)(np.ones((2, 4))),
            ValueError,
            r"\(B, T, 4\), got \(2, 4\); x\[np.newaxis\]",
        ),
        (lambda: pk.MultiHeadAttention(4, 2)(np.ones((1, 2, 3))), ValueError, r"expected \(B, T, 4\), got \(1, 2, 3\)"),
        (
            lambda: pk.MultiHeadAttention(4, 2)(np.ones((2, 3, 4)), lengths=[1, 4]),
            ValueError,
            "from 1 to 3, got .* 1 to 4",
        ),
        (lambda: pk.MultiHeadAttention(4, 2)(np.ones((2, 3, 4)), lengths=[1]), ValueError, "one length for each of the 2"),
        (lambda: pk.MultiHeadAttention(4, 2)(np.ones((2, 3, 4)), lengths=[1.0, 2.0]), TypeError, "whole numbers"),
        (lambda: pk.PositionalEmbedding(3, 4)(np.ones((2, 5, 4))), ValueError, r"T up to 3, got \(2, 5, 4\)"),
        (lambda: pk.PositionalEmbedding(3, 4)(np.ones(4)), ValueError, "expected sequences"),
        (lambda: pk.PositionalEmbedding(3, 4, init="none"), ValueError, "^PositionalEmbedding: unknown initializer"),
        (lambda: pk.SinusoidalPositions(4)(np.ones((2, 3))), ValueError, r"SinusoidalPositions\(4\): expected sequences"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
