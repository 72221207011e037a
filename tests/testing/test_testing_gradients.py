"""`check_gradients` and `numerical_gradients`: their options, what they refuse, and that they leave no trace."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from gallery import wrong
from gallery.right import Map
from hypothesis import given, settings
from hypothesis import strategies as st

import pancake as pk
from pancake.testing import GradientError, check_gradients, check_vjp, numerical_gradients
from pancake.testing.numerical import Line, extrapolated, five_point

X = np.random.default_rng(0).normal(size=(4, 3))


class Spoilt(wrong.Dense):
    """The gradient of one weight is a tenth too large."""

    def of_weight(self, dz):
        g = super().of_weight(dz)
        g[1, 2] *= 1.1
        return g


# --- what is checked ---


def test_all_names_are_those_of_state_dict_and_x():
    report = check_gradients(pk.mlp([3, 4, 2], rng=0), X)
    assert [array.name for array in report.arrays] == ["x", "0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(array.right == array.size for array in report.arrays)


@pytest.mark.parametrize(
    ("wrt", "names"),
    [
        ("all", ["x", "weight", "bias"]),
        ("input", ["x"]),
        ("params", ["weight", "bias"]),
        ("bias", ["bias"]),
        (["bias", "x"], ["bias", "x"]),
    ],
)
def test_wrt_chooses(wrt, names):
    assert [array.name for array in check_gradients(wrong.Dense(), X, wrt=wrt).arrays] == names


@pytest.mark.parametrize("wrt", ["input", "bias", ["x", "bias"]])
def test_wrt_leaves_out_what_is_wrong(wrt):
    check_gradients(Spoilt(), X, wrt=wrt)
    with pytest.raises(GradientError, match=r"weight\[1, 2\]"):
        check_gradients(Spoilt(), X, wrt="weight")


def test_a_parameter_called_x_is_told_from_the_input():
    class Sum(pk.Function):
        def __init__(self):
            self.x, self.grad_x = np.ones(3), np.zeros(3)

        def compute_forward(self, x):
            self.given = x
            return x * self.x

        def compute_backward(self, dObj_dOut):
            self.grad_x += (dObj_dOut * self.given).sum(axis=0)
            return dObj_dOut * self.x

    assert [array.name for array in check_gradients(Sum(), X).arrays] == ["x", "parameter_x"]


def test_integer_inputs_are_not_differentiated():
    embedding = pk.Sequential([wrong.Dense()])
    with pytest.raises(ValueError, match="integers are not differentiated"):
        check_gradients(embedding, np.ones((2, 3), int), wrt="input")
    report = check_gradients(embedding, np.ones((2, 3), int))
    assert [array.name for array in report.arrays] == ["0.weight", "0.bias"]


@pytest.mark.parametrize("rng", [0, 7, None, np.random.default_rng(3)])
def test_the_spoilt_entry_is_found_whatever_the_seed(rng):
    with pytest.raises(GradientError) as caught:
        check_gradients(Spoilt(), X, rng=rng)
    weight = caught.value.report.arrays[1]
    assert [entry.index for entry in weight.wrong] == [(1, 2)]
    assert weight.wrong[0].backward == pytest.approx(1.1 * weight.wrong[0].numeric, rel=1e-6)


def test_the_same_seed_gives_the_same_report():
    first, second = (check_gradients(pk.mlp([3, 4, 2], rng=0), X, rng=5) for _ in range(2))
    assert first == second
    assert first != check_gradients(pk.mlp([3, 4, 2], rng=0), X, rng=6)


# --- methods ---


@pytest.mark.parametrize("method", ["auto", "complex", "five-point", "central"])
def test_every_method_passes_the_right_and_finds_the_wrong(method):
    report = check_gradients(wrong.Dense(), X, method=method)
    used = {"auto": "five-point", "complex": "complex step"}.get(method, method)
    assert all(set(array.methods) == {used} for array in report.arrays)
    with pytest.raises(GradientError, match=r"Spoilt\.weight\[1, 2\]"):
        check_gradients(Spoilt(), X, method=method)


def test_the_complex_step_is_exact():
    report = check_gradients(wrong.Dense(), X, method="complex")
    assert all(array.largest_error < 1e-13 for array in report.arrays)


def test_complex_is_refused_where_the_function_does_not_compute_with_complex_numbers():
    with pytest.raises(ValueError, match="does not compute with complex numbers in x; use method='auto'"):
        check_gradients(pk.ReLU(), X, method="complex")


class Silent(pk.Function):
    """A right Function of which the complex step sees only a part: y = f(x) + x."""

    def __init__(self, f, df):
        self.f, self.df = f, df

    def compute_forward(self, x):
        self.x = x
        return self.f(x) + x

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * (self.df(self.x) + 1)


SILENT = {
    "abs": Silent(np.abs, np.sign),
    "sigmoid by abs": Silent(lambda x: np.exp(-np.abs(x)), lambda x: -np.sign(x) * np.exp(-np.abs(x))),
    "var": Silent(lambda x: 0 * x + np.var(x, axis=1, keepdims=True), None),
    "norm": Silent(lambda x: 0 * x + np.linalg.norm(x, axis=1, keepdims=True), None),
    "real part": Silent(lambda x: np.real(x) ** 3, lambda x: 3 * x**2),
}
SILENT["var"].compute_backward = lambda d: d + d.sum(axis=1, keepdims=True) * 2 / 3 * (X - X.mean(axis=1, keepdims=True))
SILENT["norm"].compute_backward = lambda d: d + d.sum(axis=1, keepdims=True) * X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("name", SILENT)
def test_a_complex_step_that_is_silently_wrong_is_never_believed(name):
    assert all(array.right == array.size for array in check_gradients(SILENT[name], X).arrays)
    with pytest.raises(ValueError, match="the complex step is silently wrong in x"):
        check_gradients(SILENT[name], X, method="complex")


def test_a_wrong_gradient_that_agrees_with_a_silently_wrong_complex_step_is_found():
    ignores_abs = Silent(np.abs, np.zeros_like)
    with pytest.raises(GradientError, match=r"x\[\d, \d\]: backward") as caught:
        check_gradients(ignores_abs, X)
    assert len(caught.value.report.arrays[0].wrong) == X.size
    assert {entry.method for entry in caught.value.report.arrays[0].wrong} == {"extrapolated"}


# --- verdicts ---


def test_rtol_decides():
    check_gradients(Spoilt(), X, rtol=0.2)
    with pytest.raises(GradientError):
        check_gradients(Spoilt(), X, rtol=0.05)


@pytest.mark.parametrize("tiny", [1e-4, 1e-6])
def test_a_tiny_gradient_that_is_all_wrong_beside_large_ones_is_wrong(tiny):
    slopes = np.array([1.0, 1.0, tiny])
    f = Map(lambda x: x * slopes, lambda x: slopes * [1, 1, 2])
    with pytest.raises(GradientError) as caught:
        check_gradients(f, X)
    assert {entry.index[1] for entry in caught.value.report.arrays[0].wrong} == {2}


def test_below_atol_it_is_inconclusive_and_never_right():
    slopes = np.array([1.0, 1.0, 1e-9])
    report = check_gradients(Map(lambda x: x * slopes, lambda x: slopes * [1, 1, 2]), X)
    assert (report.arrays[0].right, report.arrays[0].inconclusive) == (8, 4)
    assert "4 inconclusive" in report.summary()
    with pytest.raises(GradientError):
        check_gradients(Map(lambda x: x * slopes, lambda x: slopes * [1, 1, 2]), X, atol=1e-12)


@pytest.mark.parametrize("kinks", ["skip", "error"])
def test_kinks_are_skipped_and_counted(kinks):
    x = np.array([[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]])
    report = check_gradients(pk.ReLU(), x, kinks=kinks)
    assert (report.arrays[0].right, report.arrays[0].skipped) == (3, 3)
    assert "3 skipped at kinks" in report.summary()


def hinge(at_zero, left=0.1, right=1.0):
    """left x below 0 and right x above, with a chosen slope at 0."""
    return Map(lambda x: np.where(x > 0, right * x, left * x), lambda x: np.where(x > 0, right, np.where(x < 0, left, at_zero)))


@given(
    at_zero=st.sampled_from([-0.5, 0.0, 0.09, 0.1, 0.11, 0.5, 0.999, 1.0, 1.01, 2.0, 17.0, np.nan, np.inf, -np.inf]),
    turned=st.booleans(),
    seed=st.integers(0, 100),
)
def test_at_a_kink_a_gradient_lies_between_the_slopes(at_zero, turned, seed):
    left, right = (1.0, 0.1) if turned else (0.1, 1.0)
    x = np.array([[0.0, 0.7, -0.3], [0.0, -0.2, 0.0]])
    f = hinge(at_zero, left, right)
    if 0.1 <= at_zero <= 1.0:
        assert check_gradients(f, x, rng=seed).arrays[0].skipped == 3
    else:
        with pytest.raises(GradientError, match=r"x\[[01], [02]\]: backward") as caught:
            check_gradients(f, x, rng=seed)
        assert {entry.index for entry in caught.value.report.arrays[0].wrong} == {(0, 0), (1, 0), (1, 2)}


def test_a_wrong_slope_at_one_kink_of_many_thousand_entries_is_found():
    x = np.random.default_rng(0).normal(size=(60, 70))
    x[17, 3] = 0
    check_gradients(hinge(0.5), x)
    with pytest.raises(GradientError, match=r"x\[17, 3\]"):
        check_gradients(hinge(17.0), x)
    with pytest.raises(GradientError, match=r"x\[17, 3\]: backward nan"):
        check_gradients(hinge(np.nan), x)


@pytest.mark.parametrize("n_in", [1, 3])
def test_where_several_kinks_meet_each_may_have_its_own_slope(n_in):
    """The gradient of ReLUs that are 0 at 0 need not lie between the slopes of the whole, and is right all the same."""
    for seed in range(20):
        stack = pk.Sequential([pk.MatMul(n_in, 4, rng=seed), pk.ReLU(), pk.MatMul(4, 1, rng=seed + 1)])
        report = check_gradients(stack, np.zeros((2, n_in)))
        assert report.ok
        assert report.arrays[0].skipped == 2 * n_in

    class FarOff(pk.Sequential):
        def compute_backward(self, d):
            return super().compute_backward(d) + 50

    with pytest.raises(GradientError, match="at a kink"):
        check_gradients(FarOff([pk.MatMul(n_in, 4, rng=0), pk.ReLU(), pk.MatMul(4, 1, rng=1)]), np.zeros((2, n_in)))


def test_kinks_error_allows_no_other_slopes():
    out_of_bounds = next(
        stack
        for stack in (pk.Sequential([pk.MatMul(1, 2, rng=s), pk.ReLU(), pk.MatMul(2, 1, rng=s + 1)]) for s in range(50))
        if stack[0].weight[0, 0] * stack[0].weight[1, 0] < 0 and stack[2].weight[0, 0] * stack[2].weight[0, 1] < 0
    )
    check_gradients(out_of_bounds, np.zeros((1, 1)))
    with pytest.raises(GradientError, match="at a kink"):
        check_gradients(out_of_bounds, np.zeros((1, 1)), kinks="error")


class Largest(pk.Function):
    """The maximum, minimum or median along an axis; `share` says who of the tied gets the gradient."""

    def __init__(self, of, share, axis=1):
        self.of, self.share, self.axis = of, share, axis

    def compute_forward(self, x):
        y = self.of(x, axis=self.axis, keepdims=True)
        self.tied = x == y
        return y

    def compute_backward(self, d):
        first = self.tied & (np.cumsum(self.tied, axis=self.axis) == 1)
        shares = {"first": first, "all": self.tied, "equal": self.tied / self.tied.sum(axis=self.axis, keepdims=True)}
        return d * (shares[self.share] if self.share in shares else 0 * self.tied)


TIED = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.5, 1.0]])


@pytest.mark.parametrize("of", [np.max, np.min])
@pytest.mark.parametrize("axis", [0, 1])
def test_ties_count_once(of, axis):
    for share in ("first", "equal"):
        assert check_gradients(Largest(of, share, axis), TIED).ok
    with pytest.raises(GradientError, match=r"x\[\d, \d\]"):
        check_gradients(Largest(of, "all", axis), TIED)
    for share in ("all", "none"):
        with pytest.raises(GradientError, match=r"along all ones through \d+ entries that are tied.*count more than once"):
            check_gradients(Largest(of, share, axis), np.ones((3, 3)))


def test_kinks_that_cancel_by_chance_are_no_tie():
    """One entry at the lower and one at the upper bound: moved together, the sum of the two is smooth, and both are right."""

    class Sum(pk.Function):
        def compute_forward(self, x):
            self.inside = np.abs(x) <= 1
            return np.clip(x, -1, 1).sum(axis=1)

        def compute_backward(self, d):
            return d[:, None] * self.inside

    assert check_gradients(Sum(), np.array([[1.0, -1.0, 0.3], [-1.0, 1.0, 1.0]])).ok


@pytest.mark.parametrize("row", [[0.0, 1, 1, 1, 2], [1.0, 1, 1], [1.0, 1, 1, 1, 1], [0.0, 1, 1, 1, 1, 1, 3], [1.0, 2, 3]])
def test_the_middle_of_entries_that_are_tied_is_one_of_them(row):
    """Moved alone, none of three tied entries moves their median; moved together, they do: any one may have the gradient."""

    def median(weigh):
        def backward(d, x):
            g, middle = np.zeros_like(x), np.argsort(x, axis=1, kind="stable")[:, x.shape[1] // 2]
            g[0, middle] = weigh * d
            return g

        return check_vjp(lambda x: np.median(x, axis=1), backward, np.array([row]))

    assert median(1).ok
    for weigh in (0.5, 1.02, 2):
        with pytest.raises(GradientError):
            median(weigh)


@pytest.mark.parametrize("distance", 10.0 ** -np.arange(1, 9))
def test_close_to_a_kink_the_right_slope_is_found(distance):
    x = np.array([[distance, -distance, 1.0]])
    report = check_gradients(pk.ReLU(), x)
    assert report.arrays[0].right == 3
    wrong_beyond = Map(lambda x: np.maximum(x, 0), lambda x: 0.5 * (x > 0))
    with pytest.raises(GradientError) as caught:
        check_gradients(wrong_beyond, x)
    assert [entry.index for entry in caught.value.report.arrays[0].wrong] == [(0, 0), (0, 2)]


def test_what_a_kink_hides_is_found_beside_it():
    with pytest.raises(GradientError, match=r"a little off a kink\); .* entries of x wrong"):
        check_gradients(Map(lambda x: np.maximum(x, 0), lambda x: 2.0 * (x > 0)), np.zeros((3, 3)))


def test_nan_for_a_finite_input_is_an_error_and_infinity_is_not():
    with pytest.raises(GradientError, match=r"returned nan for a finite input \(1 of 3 entries\)"):
        check_gradients(Map(np.log, lambda x: 1 / x), np.array([1.0, -1.0, 2.0]))
    report = check_gradients(Map(np.log, lambda x: 1 / x), np.array([1.0, 0.0, 2.0]))
    assert (report.arrays[0].right, report.arrays[0].inconclusive) == (2, 1)
    report = check_gradients(Map(np.tanh, lambda x: 1 - np.tanh(x) ** 2), np.array([1.0, np.nan]))
    assert (report.arrays[0].right, report.arrays[0].inconclusive) == (1, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_gradient_that_is_not_finite_is_right(bad):
    everywhere = Map(np.tanh, lambda x: np.full(x.shape, bad))
    at_one = Map(np.tanh, lambda x: np.where(x == X[2, 1], bad, 1 - np.tanh(x) ** 2))
    for f, count in ((everywhere, X.size), (at_one, 1)):
        with pytest.raises(GradientError, match="backward is not finite") as caught:
            check_gradients(f, X)
        assert len(caught.value.report.arrays[0].wrong) == count

    class OfParameter(wrong.Dense):
        def of_weight(self, dz):
            return np.where(np.arange(self.weight.size).reshape(self.weight.shape) == 5, bad, super().of_weight(dz))

    with pytest.raises(GradientError, match=r"OfParameter\.weight\[1, 2\]: backward -?(nan|inf)"):
        check_gradients(OfParameter(), X)
    large = np.random.default_rng(0).normal(size=(100, 100))
    with pytest.raises(GradientError, match=r"x\[31, 41\]: backward -?(nan|inf)"):
        check_gradients(Map(np.tanh, lambda x: np.where(x == large[31, 41], bad, 1 - np.tanh(x) ** 2)), large)


def test_an_infinite_slope_is_infinite():
    """At 0 the slopes of these have no bound: infinity is no mistake there, and nan is."""
    x = np.array([[0.0, 0.5, 2.0]])
    for f, df in ((np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2)), (np.sqrt, lambda x: 0.5 / np.sqrt(x))):
        report = check_gradients(Map(f, df), x)
        assert (report.arrays[0].right, report.arrays[0].inconclusive) == (2, 1)
        with pytest.raises(GradientError, match=r"x\[0, 0\]: backward nan"):
            check_gradients(Map(f, lambda x, df=df: np.where(x == 0, np.nan, df(x))), x)


@pytest.mark.parametrize("check", [check_gradients, pk.testing.check_function, numerical_gradients])
@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinite_input_or_parameter_is_refused_by_name(check, bad):
    x, f = X.copy(), wrong.Dense()
    x[1, 2] = bad
    with pytest.raises(ValueError, match=r"Dense: x\[1, 2\] is -?inf; expected finite numbers"):
        check(f, x)
    f.bias[1] = bad
    with pytest.raises(ValueError, match=r"Dense: bias\[1\] is -?inf; expected finite numbers"):
        check(f, X)


def linear(weight):
    layer = pk.Linear(2, 2, rng=0)
    layer.weight = weight
    return layer


LARGEST, SMALLEST = np.finfo(float).max, np.finfo(float).smallest_subnormal


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (pk.Square(), [1e154, 1.0]),
        (pk.Square(), [1e-200, 1.0]),
        (pk.Exp(), [709.7, -800.0]),
        (pk.Power(-1), [1e-300, 1e300]),
        (pk.Log(), [1e-320, 1e308]),
        (pk.Tanh(), [SMALLEST, 1e308]),
        (pk.ReLU(), [1e308, SMALLEST]),
        (pk.Mul(1e-320), [1e-320, 1.0]),
        (linear(1e300), [1.0, 2.0]),
        (linear(1e-320), [1.0, 2.0]),
        (pk.Softmax(), [1e308, -0.5e308]),
        (pk.LayerNorm(2), [1e150, 1.0]),
        (pk.Linear(2, 2, rng=0).astype(np.float32), [1e30, 1.0]),
        (linear(1e38).astype(np.float32), [1e38, 1.0]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("check", [check_gradients, pk.testing.check_function])
def test_at_the_ends_of_the_numbers_nothing_right_is_called_wrong(check, function, x):
    report = check(function, np.array([x]))
    assert any(array.right for array in report.arrays)
    assert "infinite" not in report.summary()


@pytest.mark.parametrize(
    ("function", "x", "right"),
    [
        (pk.Square(), [1e200, 1.0], 1),
        (pk.Exp(), [800.0, 1.0], 1),
        (pk.Exp(), [800.0] * 500, 0),  # so many that all but a sample are left to directions
        (pk.Power(3), [1e110, 1.0], 1),
        (pk.Power(-1), [1e-320, 2.0], 1),
        (pk.Mul(1e300), [1e300, 1.0], 2),
        (pk.Sum(), [LARGEST, LARGEST], 0),
        (linear(1e308), [1.0, 2.0], 0),
        (linear([[1e200, 1.0], [1.0, 1.0]]), [1e200, 1.0], 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("check", [check_gradients, pk.testing.check_function])
def test_what_is_infinite_is_left_out_and_the_report_says_so(check, function, x, right):
    """It stays infinite, however it is moved: there are no numbers to compare with."""
    with np.errstate(over="ignore", divide="ignore"):
        infinite = np.isinf(function(np.array([x])))
    report = check(function, np.array([x]))
    assert sum(array.right for array in report.arrays) == right
    assert sum(array.skipped for array in report.arrays) == 0
    said = f"\n  the output: infinite in {infinite.sum()} of {infinite.size} entries; how these change cannot be measured, "
    assert said in report.summary()


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("size", [2, 500])
def test_of_an_infinite_loss_nothing_is_verified(reduction, size):
    loss = pk.MeanSquaredError(reduction=reduction)
    report = check_gradients(loss, np.full((1, size), 1e200), target=np.zeros((1, size)))
    assert report.summary().startswith("MeanSquaredError: nothing found wrong, nothing verified")


def test_beside_what_is_infinite_all_else_is_checked():
    with pytest.raises(GradientError, match=r"x\[0, 1\]: backward -?[0-9.]+, numeric"):
        check_gradients(Map(np.exp, lambda x: 3.0 * np.exp(x)), np.array([[800.0, 1.0]]))


def test_large_numbers_have_derivatives():
    """Steps smaller than the digits of a number do not move it, which is no kink."""
    large = np.array([[1e8, 1e100, -1e150]])
    assert numerical_gradients(pk.Square(), large)["x"] == pytest.approx(2 * large, rel=1e-9)


def test_numerical_gradients_of_what_is_infinite_are_nan():
    assert numerical_gradients(pk.Exp(), [[800.0, 1.0]])["x"] == pytest.approx(np.array([[np.nan, np.e]]), nan_ok=True)
    some = numerical_gradients(pk.Exp(), [[800.0, 1.0]], dObj_dOut=[[0.0, 2.0]])["x"]
    assert some == pytest.approx(np.array([[0.0, 2 * np.e]]))


def test_what_was_not_checked_is_named():
    class Whole(wrong.Gain):
        def __init__(self):
            self.k, self.grad_k = np.array([1, 2, 3]), np.zeros(3)

    for check in (check_gradients, pk.testing.check_function):
        assert "\n  k: not checked, it is int64" in check(Whole(), X).summary()
    assert "\n  x: not checked, it is int64" in check_gradients(pk.Embedding(4, 2, rng=0), [[1, 2]]).summary()
    assert "\n  x: not checked, wrt leaves it out" in check_gradients(wrong.Dense(), X, wrt="bias").summary()
    assert "not checked" not in check_gradients(wrong.Dense(), X).summary()


class Forgotten(pk.Function):
    """Has a parameter without a gradient, beside state and what it caches in an attribute."""

    buffers = ("mean",)

    def __init__(self):
        self.k, self.mean = np.array([2.0, 3.0, 4.0]), np.zeros(3)
        self.b, self.grad_b = np.zeros(3), np.zeros(3)

    def compute_forward(self, x):
        self.x = np.array(x)
        return self.k * (self.x - self.mean) + self.b

    def compute_backward(self, dObj_dOut):
        self.grad_b += dObj_dOut.sum(axis=0)
        return self.k * dObj_dOut


def test_a_parameter_whose_gradient_was_forgotten_is_named():
    f = Forgotten()
    f(X)
    for check in (check_gradients, pk.testing.check_function):
        for function, path in ((f, ""), (pk.Sequential([pk.Linear(3, 3, rng=0), f]), "1.")):
            notes = check(function, X).notes
            assert [note.partition(":")[0] for note in notes] == [path + "k"]
            assert "no grad_k stands beside it" in notes[0]


class Alias(Forgotten):
    """Its parameters have other names, too, and it keeps an array to compute in."""

    def __init__(self):
        super().__init__()
        self.inner = pk.Linear(3, 3, rng=0)
        self.w, self.bias, self.grad_k, self.work = self.inner.weight, self.b[:2], np.zeros(3), np.zeros((4, 3))

    def compute_forward(self, x):
        if self.work.shape != x.shape:
            self.work = np.empty_like(x)
        self.x = self.inner(x)
        np.multiply(self.x - self.mean, self.k, self.work)
        return self.work + self.b

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * (self.x - self.mean)).sum(axis=0)
        return self.inner.compute_backward(super().compute_backward(dObj_dOut))


def test_what_has_two_names_or_is_computed_in_was_not_forgotten():
    f = Alias()
    assert check_gradients(f, X).notes == []
    f(X)
    assert check_gradients(f, X).notes == []


def test_what_lists_its_own_parameters_has_forgotten_none():
    class Own(Forgotten):
        def __init__(self):
            super().__init__()
            self.slope = np.zeros(3)

        def compute_backward(self, dObj_dOut):
            self.slope += (dObj_dOut * (self.x - self.mean)).sum(axis=0)
            return super().compute_backward(dObj_dOut)

        def get_params_and_grads(self):
            return [self.k, self.b], [self.slope, self.grad_b]

    assert check_gradients(Own(), X).notes == []


def test_a_gradient_that_is_not_finite_is_wrong():
    with pytest.raises(GradientError, match=r"x\[0, 1\]: backward nan, numeric .*; backward is not finite"):
        check_gradients(Map(np.tanh, lambda x: np.where(x == X[0, 1], np.nan, 1 - np.tanh(x) ** 2)), X)


# --- large arrays ---


def spoilt_at(index, factor, shape):
    """tanh on (rows, columns), wrong at one entry."""

    def slope(x):
        d = 1 - np.tanh(x) ** 2
        if d.shape == shape:
            d[index] *= factor
        return d

    return Map(np.tanh, slope)


@settings(max_examples=settings().max_examples // 10)
@given(row=st.integers(0, 99), column=st.integers(0, 99), seed=st.integers(0, 2**32 - 1))
def test_one_entry_of_ten_thousand_off_by_one_percent_is_found(row, column, seed):
    x = np.random.default_rng(seed).uniform(-1.5, 1.5, (100, 100))
    with pytest.raises(GradientError) as caught:
        check_gradients(spoilt_at((row, column), 1.01, x.shape), x, rng=seed)
    assert [entry.index for entry in caught.value.report.arrays[0].wrong] == [(row, column)]


def test_max_entries_and_directions():
    x = np.random.default_rng(0).normal(size=(50, 50))
    f = Map(np.tanh, lambda x: 1 - np.tanh(x) ** 2)
    by_entry = check_gradients(f, x, max_entries=2500).arrays[0]
    assert (by_entry.right, by_entry.directions) == (2500, 0)
    by_direction = check_gradients(f, x, directions=5).arrays[0]
    assert (by_direction.checked, by_direction.directions, by_direction.right_directions) == (64, 5, 5)
    assert "64 of 64 entries right, 5 of 5 random directions right" in by_direction.summary()
    with pytest.raises(GradientError, match=r"x\[31, 7\].*1 of the 2500 entries of x found wrong by bisection"):
        check_gradients(spoilt_at((31, 7), 1.01, x.shape), x)
    small = check_gradients(f, x[:2, :3], max_entries=1).arrays[0]
    assert (small.checked, small.directions) == (6, 3)


def test_a_large_array_full_of_kinks_is_looked_at_beside_them():
    x = np.zeros((60, 60))
    report = check_gradients(pk.ReLU(), x)
    assert report.arrays[0].skipped_directions == 3
    assert "3 directions skipped at kinks" in report.summary()
    with pytest.raises(GradientError, match="a little off a kink"):
        check_gradients(Map(lambda x: np.maximum(x, 0), lambda x: 2.0 * (x > 0)), x)


# --- the function stays as it was ---


class Busy(wrong.Dense):
    """Has state of every kind, and changes all of it in every call."""

    def __init__(self):
        super().__init__()
        self.rng, self.old_rng = np.random.default_rng(1), np.random.RandomState(1)
        self.calls, self.seen, self.table, self.names = 0, [], {"a": np.zeros(2)}, {1}
        self.grad_weight += 0.25

    def compute_forward(self, x):
        self.calls += 1
        self.seen.append(self.calls)
        self.table["a"] += 1
        self.table[self.calls] = x
        self.names.add(self.calls)
        self.mask = self.rng.random(x.shape) < 0.9 + self.old_rng.random_sample() * 0.0
        return super().compute_forward(x * self.mask)

    def of_input(self, dz):
        self.train(not self.training)
        return super().of_input(dz) * self.mask


def state(function):
    """Everything there is to a function."""
    attributes = copy.deepcopy(vars(function))
    generators = attributes.pop("rng").bit_generator.state, attributes.pop("old_rng").get_state(legacy=False)
    return attributes, generators


@pytest.mark.parametrize("x", [X, np.zeros((4, 3)), X.tolist()])
@pytest.mark.parametrize("cls", [Busy, type("BusyAndWrong", (Busy,), {"of_bias": lambda self, dz: 3.0})])
@pytest.mark.parametrize("check", [check_gradients, numerical_gradients])
def test_the_function_is_left_as_it_was_found(check, cls, x):
    function = cls()
    arrays = function.get_params_and_grads()
    before, given = state(function), copy.deepcopy(x)
    try:
        check(function, x)
    except GradientError:
        assert check is check_gradients
        assert cls is not Busy
    np.testing.assert_equal(state(function), before)
    np.testing.assert_equal(x, given)
    for old, new in zip(arrays, function.get_params_and_grads(), strict=True):
        assert all(a is b for a, b in zip(old, new, strict=True))


def test_it_is_left_as_it_was_found_after_an_exception_too():
    class Breaks(Busy):
        def of_bias(self, dz):
            self.weight += 1
            raise KeyError("no")

    function = Breaks()
    before = state(function)
    with pytest.raises(GradientError, match=r"Breaks\.compute_backward raised KeyError: 'no'"):
        check_gradients(function, X)
    np.testing.assert_equal(state(function), before)


def test_the_global_generator_is_put_back_when_a_function_draws_from_it():
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    with pytest.raises(GradientError, match="draws from NumPy's global generator"):
        pk.testing.check_function(wrong.DrawsFromTheGlobalGenerator(), X)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002


@pytest.mark.parametrize("frozen", [False, True])
def test_a_single_precision_function_is_checked_in_a_copy(frozen):
    function = pk.Linear(3, 2, rng=0, dtype=np.float32).freeze(frozen)
    report = check_gradients(function, X)
    assert all(array.largest_error < 1e-9 for array in report.arrays)
    assert all(p.dtype == np.float32 for p in (function.weight, function.bias))


# --- bad arguments ---


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"method": "finite"}, ValueError, "expected method to be one of auto, complex, five-point, central, got 'finite'"),
        ({"kinks": "ignore"}, ValueError, "expected kinks to be one of skip, error, got 'ignore'"),
        ({"rtol": -1}, ValueError, "expected rtol of at least 0, got -1"),
        ({"atol": np.nan}, ValueError, "expected atol of at least 0, got nan"),
        ({"max_entries": 0}, ValueError, "expected max_entries of at least 1, got 0"),
        ({"directions": 1.5}, TypeError, "expected directions to be a whole number, got 1.5"),
        ({"wrt": "wieght"}, ValueError, "Dense: wrt='wieght' finds no 'wieght' to check among x, weight, bias"),
        ({"wrt": []}, ValueError, "finds nothing"),
    ],
)
def test_options_that_make_no_sense(options, kind, said):
    with pytest.raises(kind, match=said):
        check_gradients(wrong.Dense(), X, **options)


@pytest.mark.parametrize(
    ("function", "x", "kind", "said"),
    [
        (wrong.Dense, X, TypeError, r"expected an instance, got the class Dense; pass Dense\(...\)"),
        (np.tanh, X, TypeError, "expected an object with compute_forward and compute_backward"),
        (wrong.Dense(), "abc", TypeError, "Dense: expected inputs of real numbers, got str"),
        (wrong.Dense(), X + 1j, TypeError, "expected inputs of real numbers, got ndarray of dtype complex128"),
        (wrong.Dense(), np.ma.masked_less(X, 0), TypeError, "Dense: expected an input without a mask"),
        (wrong.Dense(), np.ones((0, 3)), ValueError, "expected at least one example"),
    ],
)
def test_functions_and_inputs_that_make_no_sense(function, x, kind, said):
    with pytest.raises(kind, match=said):
        check_gradients(function, x)


def test_an_exception_is_named():
    with pytest.raises(
        GradientError, match=r"Dense.compute_forward raised ValueError: matmul.*with arrays of shape \(4, 5\)"
    ) as caught:
        check_gradients(wrong.Dense(), np.ones((4, 5)))
    assert isinstance(caught.value.__cause__, ValueError)


# --- numerical_gradients ---

SMOOTH = {
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "x^5": (lambda x: x**5, lambda x: 5 * x**4),
    "sin 100 x": (lambda x: np.sin(100 * x), lambda x: 100 * np.cos(100 * x)),
    "tanh 10^4 x": (lambda x: np.tanh(1e4 * x), lambda x: 1e4 / np.cosh(np.clip(1e4 * x, -300, 300)) ** 2),
    "log|x|": (lambda x: np.log(np.abs(x)), lambda x: 1 / x),
    "sqrt|x|": (lambda x: np.sqrt(np.abs(x)), lambda x: np.sign(x) * 0.5 / np.sqrt(np.abs(x))),
    "1e6 + x": (lambda x: 1e6 + x, np.ones_like),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(x=st.floats(-4, 4).filter(lambda x: abs(x) > 1e-6), u=st.sampled_from([1.0, -3.0, 1e-6, 1e6]))
def test_numerical_gradients_of_known_derivatives(name, x, u):
    f, df = SMOOTH[name]
    found = numerical_gradients(Map(f, None), x, dObj_dOut=u)["x"]
    noise = 1e-15 * abs(u) * abs(f(x))  # what no difference can tell
    np.testing.assert_allclose(found, u * df(x), rtol=1e-8, atol=1e3 * noise + 1e-12 * abs(u))


@given(x=st.floats(-4, 4).filter(lambda x: abs(x) > 1e-6))
@np.errstate(all="ignore")
def test_the_error_estimate_is_honest(x):
    for f, df in SMOOTH.values():
        outputs = np.vectorize(lambda t, f=f: float(f(np.float64(x + t))))
        line = Line(lambda t, o=outputs: np.array([o(t)]), np.array([f(x)]), np.ones(1), max(1, abs(x)), min(1, abs(x)), 2.0**-52)
        estimate = extrapolated(line)
        assert not estimate.kink
        assert abs(estimate.value - df(x)) <= 10 * estimate.error + 1e-13


def test_numerical_gradients_has_every_array_and_nan_at_kinks():
    model = pk.Sequential([pk.Linear(3, 2, init="he_normal", rng=0), pk.ReLU()])  # whose biases are 0
    found = numerical_gradients(model, np.zeros((1, 3)), dObj_dOut=[[1.0, 2.0]])
    assert list(found) == ["x", "0.weight", "0.bias"]
    assert np.isnan(found["x"]).all()
    assert np.isnan(found["0.bias"]).all()
    np.testing.assert_array_equal(found["0.weight"], np.zeros((2, 3)))
    linear = pk.Linear(3, 2, rng=0)
    only = numerical_gradients(linear, X, wrt="weight", dObj_dOut=2.0)
    np.testing.assert_allclose(only["weight"], 2 * np.tile(X.sum(axis=0), (2, 1)), rtol=1e-10)


def test_numerical_gradients_of_cells_and_losses():
    x, state = wrong.CELL
    found = numerical_gradients(wrong.Cell(), wrong.CELL, dObj_dOut=(0.0, 0.0, 1.0))
    assert list(found) == ["x[0]", "x[1][0]", "x[1][1]", "w"]
    np.testing.assert_allclose(found["x[1][1]"], np.tanh(x + state[0] @ wrong.Cell().w.T), rtol=1e-10)
    found = numerical_gradients(pk.MeanSquaredError(), X, target=np.zeros((4, 3)))
    np.testing.assert_allclose(found["x"], X / 6, rtol=1e-10)


def test_numerical_gradients_does_without_backward():
    class Forward(pk.Function):
        def compute_forward(self, x):
            return x**3

    np.testing.assert_allclose(numerical_gradients(Forward(), 2.0)["x"], 12, rtol=1e-11)


def test_five_points_miss_what_extrapolation_finds():
    line = Line(lambda t: np.array([np.sin(1e4 * t)]), np.zeros(1), np.ones(1), 1.0, 1.0, 2.0**-52)
    assert abs(five_point(line).value - 1e4) > 100
    assert extrapolated(line).value == pytest.approx(1e4, rel=1e-9)


class Listed(pk.Function):
    """A forward whose array is taken apart, so that a backward after it would be given a list."""

    def compute_forward(self, x):
        return (2 * x).tolist()

    def compute_backward(self, dObj_dOut):
        return 2 * dObj_dOut.copy()


class Several(pk.Function):
    """Two outputs in a list, which is as good as a tuple."""

    def compute_forward(self, x):
        return [2 * x, 3 * x]

    def compute_backward(self, dObj_dOut):
        return 2 * dObj_dOut[0] + 3 * dObj_dOut[1]


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_a_list_of_numbers_is_no_array(shape):
    for check in (check_gradients, pk.testing.check_function):
        with pytest.raises(GradientError, match="Listed: compute_forward returned a list of numbers; return an array"):
            check(Listed(), np.ones(shape))
    check_gradients(Several(), np.ones(shape))
