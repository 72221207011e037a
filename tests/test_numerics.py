"""How many digits are right: activations, losses, normalisation and the gates of cells, near 0 and far from it.

Values and derivatives in float16, float32 and float64 are compared with the same formulas in long double, at the very numbers
that the narrow dtype holds. Errors count in ulps, the distance between neighbouring numbers of the dtype: half an ulp is the best
there is, a digit is lost where it is 10. Where a bound is more than a few, the reason stands beside it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import pancake as pk
from pancake.functions import activations, piecewise_linear
from pancake.functions.activations import largest_exponent

LONG = np.longdouble
DTYPES = (np.float16, np.float32, np.float64)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

pytestmark = pytest.mark.skipif(
    np.finfo(LONG).eps > np.finfo(np.float64).eps / 100, reason="long double has no more digits than float64 on this machine"
)


def ulps(got, exact, dtype, scale=None):
    """The errors in ulps of the exact results, or of `scale` where that is larger; what overflows must be inf."""
    scale = np.abs(exact) if scale is None else np.maximum(np.abs(exact), scale)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(dtype)
        gap = np.spacing(np.minimum(scale, np.finfo(dtype).max).astype(dtype)).astype(LONG)
        errors = np.abs(got.astype(LONG) - exact) / gap
    return np.where(np.isfinite(rounded), errors, np.where(got == rounded, 0, np.inf))


def points(dtype):
    """From -100 to 100, more of them near 0, and powers of 2 down to 2^-14 (of which float16 has the last)."""
    near = 2.0 ** -np.arange(15)
    return np.unique(np.concatenate([np.linspace(-100, 100, 2001), np.linspace(-5, 5, 1001), near, -near]).astype(dtype))


# --- the formulas, in long double ---


def logistic(x):
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


def logistic_slope(x):
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


def tanh_slope(x):
    e = np.exp(-2 * np.abs(x))
    return 4 * e / (1 + e) ** 2


def log1p_exp(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


PI = 4 * np.arctan(LONG(1))


def below(x):
    """The share of a normal distribution below x; `math.erfc` has all digits of a float64, also of small numbers."""
    return np.array([LONG(math.erfc(float(-v / np.sqrt(LONG(2))))) / 2 for v in x])


def density(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * PI)


def bend(x):
    return 2 * np.sqrt(2 / PI) * (x + LONG("0.044715") * x**3)


def bend_slope(x):
    return 2 * np.sqrt(2 / PI) * (1 + 3 * LONG("0.044715") * x * x)


SCALE, ALPHA = LONG("1.0507009873554804934193349852946"), LONG("1.6732632423543772848170429916717")


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def elu_slope(x):
    return np.where(x > 0, 1, np.exp(np.minimum(x, 0)))


# For each activation its value, its derivative, and for both: how many ulps, and of what if not of the exact result.
#
# A derivative that has a zero of its own is the sum of two terms that cancel there, and counts in ulps of the larger one. tanh'
# and the derivatives of the gates are 1 - y^2 and y (1 - y): they are had from the output, and count in ulps of 1. The exponent
# of an exp that is t is rounded to 1/2 ulp, which is t / 2 ulps of the exp.
ACTIVATIONS = {
    "Sigmoid()": (logistic, logistic_slope, 4, 6, None),
    "Tanh()": (np.tanh, tanh_slope, 2, 2, lambda x: 1 + 0 * x),
    "HardTanh()": (lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) < 1, 0, 0, None),
    "ReLU()": (lambda x: np.maximum(x, 0), lambda x: x > 0, 0, 0, None),
    "LeakyReLU(0.25)": (lambda x: np.where(x > 0, x, x / 4), lambda x: np.where(x > 0, 1, 0.25), 0, 0, None),
    "PReLU()": (lambda x: np.where(x > 0, x, x / 4), lambda x: np.where(x > 0, 1, 0.25), 0, 0, None),
    "ELU()": (elu, elu_slope, 3, 3, None),
    "SELU()": (
        lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0))),
        lambda x: SCALE * np.where(x > 0, 1, ALPHA * np.exp(np.minimum(x, 0))),
        4,
        4,
        None,
    ),
    "GELU()": (
        lambda x: x * below(x),
        lambda x: below(x) + x * density(x),
        lambda x: 6 + x * x / 2,
        lambda x: 6 + x * x / 2,
        lambda x: np.abs(x * density(x)),
    ),
    "GELU(approximate='tanh')": (
        lambda x: x * logistic(bend(x)),
        lambda x: logistic(bend(x)) + x * logistic_slope(bend(x)) * bend_slope(x),
        lambda x: 6 + 2.5 * np.abs(bend(x)),
        lambda x: 8 + 2.5 * np.abs(bend(x)),
        lambda x: np.abs(x * logistic_slope(bend(x)) * bend_slope(x)),
    ),
    "SiLU()": (
        lambda x: x * logistic(x),
        lambda x: logistic(x) + x * logistic_slope(x),
        5,
        lambda x: 8 + np.abs(x),  # times 1 - s, which is to an ulp of 1
        logistic,
    ),
    "Mish()": (
        lambda x: x * np.tanh(log1p_exp(x)),
        lambda x: np.tanh(log1p_exp(x)) + x * tanh_slope(log1p_exp(x)) * logistic(x),
        6,
        lambda x: 12 + np.abs(x),  # times 1 - t^2, which is to an ulp of 1
        lambda x: np.tanh(log1p_exp(x)),
    ),
    "Softplus()": (log1p_exp, logistic, 4, 4, None),
    "Softplus(beta=2.0)": (lambda x: log1p_exp(2 * x) / 2, lambda x: logistic(2 * x), 4, 4, None),
    "Softsign()": (lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2, 2, 4, None),
}

# The rational function in GELU's P is right to so much, which for x < -2 is more than an ulp of P.
ABSOLUTE = {"GELU()": 2e-16}


@each_dtype
@pytest.mark.parametrize("expression", ACTIVATIONS)
def test_activations(expression, dtype):
    value, slope, value_bound, slope_bound, slope_scale = ACTIVATIONS[expression]
    function = eval(f"pk.{expression}").astype(dtype)
    x = points(dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = function(x)
        d = function.compute_backward(np.ones_like(x))
    assert y.dtype == d.dtype == dtype
    wide = x.astype(LONG)
    # What is subnormal on the way has lost digits; multiplied by x it is so many of the smallest numbers off.
    # The derivative of Sigmoid stops falling where exp would overflow: at 1.7e-5 in float16, at 6e-39 in float32.
    end = 2 / np.exp(LONG(largest_exponent(np.dtype(dtype)))) if expression == "Sigmoid()" else 0
    slack = end + np.abs(wide) * (np.finfo(dtype).smallest_subnormal + ABSOLUTE.get(expression, 0))
    for got, exact, bound, scale in (
        (y, value(wide), value_bound, 0),
        (d, slope(wide), slope_bound, slope_scale(wide) if slope_scale else 0),
    ):
        exact, limit = exact.astype(LONG), bound(wide) if callable(bound) else bound
        errors = ulps(got, exact, dtype, np.maximum(scale, np.finfo(dtype).tiny if bound else 0))
        wrong = (errors > limit) & ~(np.abs(got - exact) <= slack)
        worst = np.argmax(np.where(wrong, errors, 0))
        assert not wrong.any(), f"{errors[worst]:.3g} ulps at {x[worst]}: {got[worst]}, exact {exact[worst]}"


def test_every_activation_has_a_formula():
    names = {
        name for module in (activations, piecewise_linear) for name, cls in vars(module).items() if is_function_of(cls, module)
    }
    assert names == {expression.split("(")[0] for expression in ACTIVATIONS}


def is_function_of(cls, module):
    return isinstance(cls, type) and issubclass(cls, pk.Function) and cls.__module__ == module.__name__


# --- softmax ---

LOGITS = np.random.default_rng(0).normal(size=(200, 5)) * np.linspace(0, 60, 200)[:, np.newaxis]


def log_softmax(z):
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@each_dtype
@pytest.mark.parametrize("far", [0.0, 100.0, -1000.0])
def test_softmax_and_its_logarithm(dtype, far):
    """The exponents, up to 200, are rounded to half an ulp, which is so many ulps of a probability."""
    z = (LOGITS + far).astype(dtype)
    exact = log_softmax(z.astype(LONG))
    distance = np.abs(z.astype(LONG) - z.astype(LONG).max(axis=-1, keepdims=True))
    tiny = np.finfo(dtype).tiny
    assert (ulps(pk.Softmax()(z), np.exp(exact), dtype, tiny) <= 6 + distance).all()
    assert (ulps(pk.LogSoftmax()(z), exact, dtype, 1) <= 4).all()
    for function, slope in ((pk.Softmax(), "softmax"), (pk.LogSoftmax(), "log")):
        function(z)
        d = np.random.default_rng(1).normal(size=z.shape).astype(dtype)
        got, u, p = function.compute_backward(d), d.astype(LONG), np.exp(exact)
        wanted = p * (u - (p * u).sum(-1, keepdims=True)) if slope == "softmax" else u - p * u.sum(-1, keepdims=True)
        assert (ulps(got, wanted, dtype, np.abs(u).sum(-1, keepdims=True)) <= 6).all()


# --- the gates of cells ---

GATED = np.linspace(-100, 100, 401)


@each_dtype
@pytest.mark.parametrize("gate", ["RNNCell sigmoid", "LSTMCell", "GRUCell"])
def test_gates_keep_the_digits_of_small_numbers(gate, dtype):
    """With weights 1 and everything else 0, the output is that of one gate alone."""
    x = GATED.astype(dtype)[:, np.newaxis]
    wide = x.astype(LONG)
    if gate == "RNNCell sigmoid":
        cell = pk.RNNCell(1, 1, "sigmoid", dtype=dtype)
        for p in cell.get_params_and_grads()[0]:
            p[...] = 0
        cell.weight_ih[...] = 1
        y, _ = cell(x, np.zeros_like(x))
        exact = logistic(wide)
    elif gate == "LSTMCell":  # the input gate, with g = tanh(100) = 1 and o = sigmoid(100) = 1: c = i
        cell = pk.LSTMCell(1, 1, dtype=dtype)
        for p in cell.get_params_and_grads()[0]:
            p[...] = 0
        cell.weight_ih[0] = 1
        cell.bias_ih[2:] = 100
        _, (_, y) = cell(x, cell.init_state(len(x)))
        exact = logistic(wide)
    else:  # h = (1 - z) n + z h, with n = tanh(0) = 0 and h = 1: z
        cell = pk.GRUCell(1, 1, dtype=dtype)
        for p in cell.get_params_and_grads()[0]:
            p[...] = 0
        cell.weight_ih[1] = 1
        y, _ = cell(x, np.ones_like(x))
        exact = logistic(wide)
    assert (ulps(y, exact, dtype, np.finfo(dtype).tiny) <= 4).all()


@each_dtype
@pytest.mark.parametrize("make", [pk.RNNCell, pk.LSTMCell, pk.GRUCell])
def test_derivatives_of_cells(make, dtype):
    """The step of a whole cell, against the same cell in long double: gradients in ulps of 1, the largest that a gate has."""
    rng = np.random.default_rng(0)
    narrow, wide = make(1, 1, dtype=dtype), make(1, 1, dtype=LONG)
    for p, q in zip(narrow.get_params_and_grads()[0], wide.get_params_and_grads()[0], strict=True):
        p[...] = np.round(rng.normal(size=p.shape), 1)
        q[...] = p
    x = GATED.astype(dtype)[:, np.newaxis]
    _, state = narrow(x, narrow.init_state(len(x)))
    _, wide_state = wide(x.astype(LONG), wide.init_state(len(x)))
    ones = np.ones_like(x)
    zero = narrow.init_state(len(x))
    got = narrow.compute_backward(ones, zero)
    exact = wide.compute_backward(ones.astype(LONG), wide.init_state(len(x)))
    flat = lambda pair: [pair[0], *(pair[1] if isinstance(pair[1], tuple) else pair[1:])]  # noqa: E731
    states = zip(*(s if isinstance(s, tuple) else (s,) for s in (state, wide_state)), strict=True)
    # the arguments of gates go up to 300, and are rounded to so many ulps of 1, which their slopes of at most 1/4 and 1 pass on
    for a, b in (*zip(flat(got), flat(exact), strict=True), *states):
        assert (ulps(a, b, dtype, 1) <= 300).all()


# --- normalisation ---

FAR_FROM_ZERO = {np.float16: (0.0, 10.0, -1000.0), np.float32: (0.0, 100.0, -1e4, 1e6), np.float64: (0.0, 100.0, -1e6, 1e12)}


@pytest.mark.parametrize(("dtype", "far"), [(dtype, far) for dtype in DTYPES for far in FAR_FROM_ZERO[dtype]])
@pytest.mark.parametrize("make", [pk.LayerNorm, pk.BatchNorm])
def test_normalisation_far_from_zero(make, dtype, far):
    """In ulps of the largest number: the input itself has lost what rounding takes from x - m, and is taken as it is."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(6, 6)) * 3 + far).astype(dtype)
    d = rng.normal(size=x.shape).astype(dtype)
    axis = -1 if make is pk.LayerNorm else 0
    layer = make(6, dtype=dtype)
    y, got = layer(x), layer.compute_backward(d)
    wide, u = x.astype(LONG), d.astype(LONG)
    centred = wide - LONG(far)  # without rounding, so that the mean is one of small numbers
    centred = centred - centred.mean(axis, keepdims=True)
    s = np.sqrt((centred**2).mean(axis, keepdims=True) + LONG(layer.eps))
    h = centred / s
    exact = (u - u.mean(axis, keepdims=True) - h * (u * h).mean(axis, keepdims=True)) / s
    assert (ulps(y, h, dtype, np.abs(h).max()) <= 6).all()
    assert (ulps(got, exact, dtype, np.abs(u / s).max()) <= 8).all()


@pytest.mark.parametrize(("dtype", "far"), [(dtype, far) for dtype in DTYPES for far in FAR_FROM_ZERO[dtype]])
@pytest.mark.parametrize("make", [pk.LayerNorm, pk.BatchNorm])
@pytest.mark.parametrize("n", [3, 5, 7, 10])
def test_equal_numbers_are_normalised_to_zero(make, dtype, far, n):
    """Also where their mean is not the number itself, by rounding."""
    for value in (far, far + 0.1, far * 1.1):
        layer = make(n, dtype=dtype)
        layer.bias = np.arange(n)
        y = layer(np.full((n, n), value, dtype))
        assert_array_equal(y, np.broadcast_to(np.arange(n), (n, n)))


@each_dtype
def test_running_statistics_far_from_zero(dtype):
    far = FAR_FROM_ZERO[dtype][-1]
    x = (np.random.default_rng(0).normal(size=(50, 3)) + far).astype(dtype)
    layer = pk.BatchNorm(3, momentum=1.0, dtype=dtype)
    layer(x)
    wide = x.astype(LONG)
    assert (ulps(layer.running_mean, wide.mean(0), dtype) <= 1).all()
    assert (ulps(layer.running_var, (wide - LONG(far)).var(0, ddof=1), dtype) <= 8).all()


# --- losses ---


def entries(dtype, n=4001):
    """Predictions far apart and close to their targets."""
    rng = np.random.default_rng(0)
    pred = np.linspace(-100, 100, n).astype(dtype)
    target = np.where(np.arange(n) % 2, rng.normal(size=n) * 50, pred * 1.01).astype(dtype)
    return pred, target


LOSSES = {
    "MeanSquaredError": (lambda p, t: (p - t) ** 2, lambda p, t: 2 * (p - t)),
    "MeanAbsoluteError": (lambda p, t: np.abs(p - t), lambda p, t: np.sign(p - t)),
    "Huber": (
        lambda p, t: np.where(np.abs(p - t) <= 1, (p - t) ** 2 / 2, np.abs(p - t) - LONG(0.5)),
        lambda p, t: np.clip(p - t, -1, 1),
    ),
    "Hinge": (lambda p, t: np.maximum(0, 1 - t * p), lambda p, t: -t * (t * p < 1)),
}


@each_dtype
@pytest.mark.parametrize("name", LOSSES)
def test_elementwise_losses(name, dtype):
    value, slope = LOSSES[name]
    p, t = entries(dtype)
    if name == "Hinge":
        t = np.sign(t + dtype(0.5)).astype(dtype)
    loss = getattr(pk, name)(reduction="none")
    P, T = p.astype(LONG), t.astype(LONG)
    assert (ulps(loss(p, t), value(P, T), dtype, np.finfo(dtype).tiny) <= 4).all()
    assert (ulps(loss.compute_backward(), slope(P, T), dtype) <= 1).all()


@each_dtype
@pytest.mark.parametrize("target", [0.0, 1.0, 0.25])
def test_binary_cross_entropy_of_logits(dtype, target):
    z = points(dtype)
    t = np.full_like(z, target)
    loss = pk.BinaryCrossEntropy(from_logits=True, reduction="none")
    wide = z.astype(LONG)
    exact = log1p_exp(wide) - target * wide if target not in (0, 1) else log1p_exp(wide if target == 0 else -wide)
    assert (ulps(loss(z, t), exact, dtype, np.finfo(dtype).tiny) <= 4).all()
    # p - t cancels where it has a zero, and where t = 1, whose 1 - p is the logistic of -z
    slope = logistic(wide) - target
    assert (ulps(loss.compute_backward(), slope, dtype, 1 if target else 0) <= 4).all()


@each_dtype
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_cross_entropy_of_probabilities(dtype, target):
    p = np.linspace(0.001, 0.999, 999).astype(dtype)
    loss = pk.BinaryCrossEntropy(reduction="none")
    wide = p.astype(LONG)
    assert (ulps(loss(p, np.full_like(p, target)), -np.log(wide) if target else -np.log1p(-wide), dtype) <= 4).all()
    slope = -1 / wide if target else 1 / (1 - wide)
    assert (ulps(loss.compute_backward(), slope, dtype) <= 5).all()


def test_binary_cross_entropy_at_infinite_logits():
    loss = pk.BinaryCrossEntropy(from_logits=True, reduction="none")
    inf = np.inf
    with np.errstate(all="raise", under="ignore"):
        assert_array_equal(loss([inf, inf, -inf, -inf], [1.0, 0.0, 0.0, 1.0]), [0, inf, 0, inf])
        assert_array_equal(loss.compute_backward(), [0, 1, 0, -1])
        assert_array_equal(loss([inf, -inf], [0.5, 0.5]), [inf, inf])
        assert_array_equal(loss.compute_backward(), [0.5, -0.5])
    mean = pk.BinaryCrossEntropy(from_logits=True)
    assert mean([inf, -inf, 0.0], [1.0, 0.0, 0.5]) == pytest.approx(math.log(2) / 3)


@each_dtype
@pytest.mark.parametrize("far", [0.0, 100.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.125])
def test_class_losses(dtype, far, smoothing):
    """Values in ulps of 1 or of the loss, gradients in ulps of 1: a probability minus another."""
    z = (LOGITS + far).astype(dtype)
    labels = np.arange(len(z)) % 5
    q = (1 - smoothing) * np.eye(5, dtype=LONG)[labels] + LONG(smoothing) / 5
    logs = log_softmax(z.astype(LONG))
    exact = -(q * logs).sum(1)
    loss = pk.CrossEntropy(smoothing, reduction="none")
    assert (ulps(loss(z, labels), exact, dtype, 1) <= 6).all()
    # exp of a logarithm up to 200: so many ulps of the probability, which is small then
    assert (ulps(loss.compute_backward(), np.exp(logs) - q, dtype, 1) <= 6).all()
    likelihood = pk.NegativeLogLikelihood(reduction="none")
    narrow = logs.astype(dtype)
    assert_array_equal(likelihood(narrow, labels), -narrow[np.arange(len(z)), labels])


@pytest.mark.parametrize("name", ["MeanSquaredError", "MeanAbsoluteError", "Huber", "BinaryCrossEntropy", "CrossEntropy"])
def test_means_of_many_numbers_in_float16(name):
    """Their sum is more than float16 holds, and their mean is not."""
    n = 200_000
    pred = np.linspace(-4, 4, n).astype(np.float16)
    if name == "CrossEntropy":
        pred, target, loss = np.stack([pred, np.zeros_like(pred)], axis=1), np.zeros(n, int), pk.CrossEntropy()
        exact = log1p_exp(-pred[:, 0].astype(LONG)).mean()
    elif name == "BinaryCrossEntropy":
        target, loss = np.zeros(n, np.float16), pk.BinaryCrossEntropy(from_logits=True)
        exact = log1p_exp(pred.astype(LONG)).mean()
    else:
        target, loss = np.full(n, 5, np.float16), getattr(pk, name)()
        exact = LOSSES[name][0](pred.astype(LONG), LONG(5)).mean()
    value = loss(pred, target)
    assert loss.divisor == n
    assert value == pytest.approx(float(exact), rel=1e-3)


@pytest.mark.parametrize("name", ["MeanSquaredError", "MeanAbsoluteError", "Huber", "BinaryCrossEntropy", "CrossEntropy"])
def test_gradients_of_means_of_many_numbers_in_float16(name):
    """The divisor is more than float16 holds; the gradient is 1e-5, which it holds to a hundredth."""
    n = 100_000
    pred, wide = np.zeros((n, 2), np.float16), np.zeros((n, 2))
    target = np.ones(n, int) if name == "CrossEntropy" else np.full((n, 2), 1.0)
    loss = getattr(pk, name)(**({"from_logits": True} if name == "BinaryCrossEntropy" else {}))
    loss(wide, target)
    exact = loss.compute_backward()
    loss(pred, target)
    got = loss.compute_backward()
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, exact, rtol=0.02)


@each_dtype
def test_means_along_axes_of_many_numbers(dtype):
    """`Mean` and `Sum` of what float16 holds but whose sum it does not."""
    x = np.full((100_000, 2), 3, dtype)
    for axis in (None, 0):
        assert (ulps(np.asarray(pk.Mean(axis)(x)), np.asarray(LONG(3)), dtype) <= 2).all()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (pk.Mean(), (35_000, 2)),
        (pk.Mean(0), (70_000, 2)),
        (pk.AvgPool1d(70_000), (1, 1, 70_000)),
        (pk.AvgPool2d(300), (1, 1, 300, 300)),
        (pk.GlobalAvgPool2d(), (1, 1, 300, 300)),
    ],
    ids=repr,
)
def test_gradients_of_means_along_axes_of_many_numbers_in_float16(layer, shape):
    """What a mean divides by is more than float16 holds, but not what comes of it."""
    d = layer(np.ones(shape, np.float16)) * np.float16(0.5)
    got = layer.compute_backward(d)
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, 0.5 * np.size(d) / np.prod(shape), rtol=0.01)


def test_cross_entropy_of_more_classes_than_float16_counts():
    loss, z = pk.CrossEntropy(), np.zeros((2, 70_000), np.float16)
    assert loss(z, np.array([0, 1])) == pytest.approx(np.log(70_000), rel=1e-3)
    gradient = loss.compute_backward()
    assert gradient[0, 0] == -0.5
    np.testing.assert_allclose(gradient[0, 1:], 0.5 / 70_000, rtol=0.02)


# --- sums over many rows ---

MANY = 10_000


def many(make_layer, x, d):
    """The gradients of the parameters, or else of the input, from so many rows."""
    layer = make_layer()
    layer(*x) if isinstance(x, tuple) else layer(x)
    result = layer.compute_backward(*d) if isinstance(d, tuple) else layer.compute_backward(d)
    grads = layer.get_params_and_grads()[1]
    return grads or [result]


HALF = np.float16
ROWS = np.full((MANY, 2), 0.5, HALF)
SUMS = {
    "Linear": (lambda: pk.Linear(2, 2, dtype=HALF, rng=0), ROWS, ROWS, 1),
    "AddBias": (lambda: pk.AddBias(2, dtype=HALF), ROWS, ROWS, 0),
    "PReLU": (lambda: pk.PReLU(2, dtype=HALF), -2 * ROWS, ROWS, 0),
    "Embedding": (lambda: pk.Embedding(1, 2, dtype=HALF), np.zeros(MANY, int), ROWS, 0),
    "Mul": (lambda: pk.Mul(dtype=HALF), 2 * ROWS[:, :1], ROWS[:, :1], 0),
    "BatchNorm": (lambda: pk.BatchNorm(2, dtype=HALF), np.resize(np.arange(7, dtype=HALF), (MANY, 2)), ROWS, 1),
    "LayerNorm": (lambda: pk.LayerNorm(2, dtype=HALF), np.resize(np.arange(7, dtype=HALF), (MANY, 2)), ROWS, 1),
    "Expand": (lambda: pk.Expand(0, MANY), np.ones(2, HALF), ROWS, 0),
    "RNNCell": (lambda: pk.RNNCell(2, 2, "relu", dtype=HALF, rng=0), (ROWS, ROWS), (ROWS, 0 * ROWS), 2),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_over_many_rows_in_float16(name):
    """Adding 1/2 to 1024 is 1024 in float16: a sum has to be made in a wider dtype. The exact ones are all 5000."""
    make_layer, x, d, which = SUMS[name]
    if name == "RNNCell":
        inner = make_layer

        def make_layer():
            cell = inner()
            for p in cell.get_params_and_grads()[0]:
                p[...] = 1
            return cell

    grad = many(make_layer, x, d)[which]
    assert grad.dtype == HALF
    np.testing.assert_allclose(grad.astype(float), np.full(grad.shape, -5000.0 if name == "PReLU" else 5000.0), rtol=2e-3)


def test_sums_of_functions_in_float16():
    """Also along the first axis."""
    np.testing.assert_allclose(pk.Sum(0)(ROWS), [5000, 5000], rtol=2e-3)
    np.testing.assert_allclose(pk.Sum()(ROWS[:, 0]), 5000, rtol=2e-3)
    np.testing.assert_allclose(pk.Softmax(axis=0)(0 * ROWS).astype(float).sum(axis=0), [1, 1], rtol=2e-2)
    np.testing.assert_allclose(pk.LogSoftmax(axis=0)(0 * ROWS)[0], -math.log(MANY), rtol=2e-3)
    softmax = pk.Softmax(axis=0)
    softmax(0 * ROWS)
    np.testing.assert_allclose(softmax.compute_backward(ROWS), 0 * ROWS, atol=1e-6)


def test_bias_gradients_of_many_rows_in_float32():
    """Rounding must not add up over the rows: 0.1 added 200,000 times, one after the other, is 0.2 % off."""
    n = 200_000
    d = np.full((n, 3), 0.1, np.float32)
    for layer in (pk.Linear(1, 3, dtype=np.float32, rng=0), pk.AddBias(3, dtype=np.float32)):
        layer(np.zeros((n, layer.weight.shape[1] if isinstance(layer, pk.Linear) else 3), np.float32))
        layer.accumulate_grads(d)
        np.testing.assert_allclose(layer.grad_bias, n * float(np.float32(0.1)), rtol=1e-3)


def test_binary_cross_entropy_in_float16_at_the_ends():
    """1e-12, the least denominator, is 0 in float16, and 0 / 0 must not come of it."""
    loss = pk.BinaryCrossEntropy(reduction="sum")
    assert loss(np.array([0, 1], np.float16), [0, 1]) == 0
    assert_array_equal(loss.compute_backward(), [0, 0])
    assert loss(np.array([0, 1], np.float16), [1, 0]) == 200
