"""Every scheme draws what its docstring says, from the generator that it is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake import initializers
from pancake.initializers import SCHEMES

VARIANCES = {
    "he_normal": lambda i, o: 2 / i,
    "he_uniform": lambda i, o: 2 / i,
    "glorot_normal": lambda i, o: 2 / (i + o),
    "glorot_uniform": lambda i, o: 2 / (i + o),
    "lecun_normal": lambda i, o: 1 / i,
    "lecun_uniform": lambda i, o: 1 / i,
    "torch_uniform": lambda i, o: 1 / (3 * i),
    "normal": lambda i, o: 1.0,
}


def test_every_scheme_is_tested():
    assert SCHEMES.keys() == VARIANCES.keys() | {"orthogonal", "zeros"}
    assert all(getattr(initializers, name) is scheme for name, scheme in SCHEMES.items())


@given(st.sampled_from(sorted(SCHEMES)), st.integers(1, 8), st.integers(1, 8), st.integers(0, 100))
def test_shape_and_determinism(name, n_in, n_out, seed):
    first = SCHEMES[name](n_in, n_out, np.random.default_rng(seed))
    assert first.shape == (n_out, n_in)
    assert first.dtype == np.float64
    np.testing.assert_array_equal(SCHEMES[name](n_in, n_out, np.random.default_rng(seed)), first)


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize(("n_in", "n_out"), [(400, 100), (100, 400)])
def test_mean_and_variance(name, n_in, n_out):
    w = SCHEMES[name](n_in, n_out, np.random.default_rng(0))
    variance = VARIANCES[name](n_in, n_out)
    assert abs(w.mean()) < 5 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=0.05)
    kurtosis = (w**4).mean() / w.var() ** 2
    if name.endswith("uniform"):
        assert kurtosis == pytest.approx(1.8, abs=0.05)
        assert abs(w).max() <= np.sqrt(3 * variance)
        assert abs(w).max() > 0.99 * np.sqrt(3 * variance)
    else:
        assert kurtosis == pytest.approx(3, abs=0.2)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 50))
def test_orthogonal(n_in, n_out, seed):
    w = initializers.orthogonal(n_in, n_out, np.random.default_rng(seed))
    gram = w @ w.T if n_out <= n_in else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(n_in, n_out)), atol=1e-12)


def test_orthogonal_prefers_no_sign():
    """QR alone returns a diagonal of R of one sign, and with it matrices that are not uniform."""
    corners = [initializers.orthogonal(3, 3, np.random.default_rng(seed))[0, 0] for seed in range(400)]
    assert 150 < sum(c > 0 for c in corners) < 250


def test_zeros():
    assert not initializers.zeros(3, 2, np.random.default_rng(0)).any()


def test_the_bias_is_drawn_like_the_weights_of_torch_and_0_with_all_others():
    bias = initializers.initial_bias("torch_uniform", 4, 2000, np.random.default_rng(0))
    assert bias.shape == (2000,)
    assert 0.49 < abs(bias).max() <= 0.5
    assert bias.var() == pytest.approx(1 / 12, rel=0.1)
    for name in SCHEMES.keys() - {"torch_uniform"}:
        np.testing.assert_array_equal(initializers.initial_bias(name, 4, 3, np.random.default_rng(0)), np.zeros(3))

    def torch_uniform(n_in, n_out, rng):
        return initializers.torch_uniform(n_in, n_out, rng)

    assert not initializers.initial_bias(torch_uniform, 4, 3, np.random.default_rng(0)).any()  # it says nothing of the bias


def test_lookup():
    assert initializers.initializer("he_normal") is initializers.he_normal

    def ours(n_in, n_out, rng):
        return np.ones((n_out, n_in))

    assert initializers.initializer(ours) is ours


@pytest.mark.parametrize("scheme", ["he", "", None, 3, ["zeros"]])
def test_unknown_names(scheme):
    with pytest.raises(ValueError, match=f"unknown initializer .*; expected one of {', '.join(SCHEMES)}, or a function"):
        initializers.initializer(scheme)
