"""`check_function` where parameters start at 0, as biases and gains do: what depends on them is checked beside 0 as well."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pancake as pk
from pancake.testing import GradientError, check_function, check_gradients

X = np.random.default_rng(0).normal(size=(4, 3))
SQUARE = np.random.default_rng(1).normal(size=(3, 3))


class Held(pk.Function):
    """A right layer of parameters by name, for others to say what it computes and to spoil."""

    start: dict[str, np.ndarray] = {}  # noqa: RUF012

    def __init__(self):
        for name, value in self.start.items():
            setattr(self, name, np.array(value, float))
            setattr(self, f"grad_{name}", np.zeros(np.shape(value)))

    def compute_forward(self, x):
        self.x = x
        return self.f(x)

    def compute_backward(self, dObj_dOut):
        for name, grad in self.of_params(self.x, dObj_dOut).items():
            getattr(self, f"grad_{name}")[...] += grad
        return self.of_input(self.x, dObj_dOut)


class TanhOfAffine(Held):
    start = {"w": SQUARE, "b": np.zeros(3)}  # noqa: RUF012

    def z(self, x):
        return x @ self.w + self.b

    def f(self, x):
        return np.tanh(self.z(x))

    def of_params(self, x, d):
        dz = d * (1 - np.tanh(self.z(x)) ** 2)
        return {"w": x.T @ dz, "b": dz.sum(axis=0)}

    def of_input(self, x, d):
        return d * (1 - np.tanh(self.z(x)) ** 2) @ self.w.T


class Shifted(Held):
    start = {"w": np.zeros(3)}  # noqa: RUF012

    def f(self, x):
        return np.sin(x + self.w)

    def of_params(self, x, d):
        return {"w": (d * np.cos(x + self.w)).sum(axis=0)}

    def of_input(self, x, d):
        return d * np.cos(x + self.w)


class ShiftedBySquare(Shifted):
    def f(self, x):
        return np.sin(x + self.w**2)

    def of_params(self, x, d):
        return {"w": (d * 2 * self.w * np.cos(x + self.w**2)).sum(axis=0)}

    def of_input(self, x, d):
        return d * np.cos(x + self.w**2)


class Quadratic(Held):
    start = {"w": np.zeros(3)}  # noqa: RUF012

    def f(self, x):
        return x + self.w * x**2

    def of_params(self, x, d):
        return {"w": (d * x**2).sum(axis=0)}

    def of_input(self, x, d):
        return d * (1 + 2 * self.w * x)


class ReZero(Held):
    """x + a tanh(x + b)."""

    start = {"a": np.zeros(1), "b": np.zeros(3)}  # noqa: RUF012

    def f(self, x):
        return x + self.a * np.tanh(x + self.b)

    def of_params(self, x, d):
        y = np.tanh(x + self.b)
        return {"a": (d * y).sum(), "b": (d * self.a * (1 - y**2)).sum(axis=0)}

    def of_input(self, x, d):
        return d + d * self.a * (1 - np.tanh(x + self.b) ** 2)


class LogScale(Held):
    start = {"ls": np.zeros(3)}  # noqa: RUF012

    def f(self, x):
        return x * np.exp(self.ls)

    def of_params(self, x, d):
        return {"ls": (d * x * np.exp(self.ls)).sum(axis=0)}

    def of_input(self, x, d):
        return d * np.exp(self.ls)


class LoRA(Held):
    start = {"A": SQUARE[:, :2], "B": np.zeros((2, 3))}  # noqa: RUF012

    def f(self, x):
        return x @ self.A @ self.B

    def of_params(self, x, d):
        return {"A": x.T @ d @ self.B.T, "B": (x @ self.A).T @ d}

    def of_input(self, x, d):
        return d @ self.B.T @ self.A.T


class TwiceTheIdentity(Held):
    start = {"w": 2 * np.eye(3)}  # noqa: RUF012

    def f(self, x):
        return x @ self.w

    def of_params(self, x, d):
        return {"w": x.T @ d}

    def of_input(self, x, d):
        return d @ self.w.T


RIGHT = (TanhOfAffine, Shifted, ShiftedBySquare, Quadratic, ReZero, LogScale, LoRA, TwiceTheIdentity)

# What backward says instead: of the input, or of one parameter.
OF_INPUT = {
    "a bias is forgotten": (TanhOfAffine, lambda f, x, d: d * (1 - np.tanh(x @ f.w) ** 2) @ f.w.T),
    "a shift is forgotten": (Shifted, lambda f, x, d: d * np.cos(x)),
    "a shift that is a square is forgotten": (ShiftedBySquare, lambda f, x, d: d * np.cos(x)),
    "a term is forgotten": (Quadratic, lambda f, x, d: 1 * d),
    "a branch is forgotten": (ReZero, lambda f, x, d: 1 * d),
    "in a branch without a gain a bias is forgotten": (ReZero, lambda f, x, d: d + d * f.a * (1 - np.tanh(x) ** 2)),
    "a factor is forgotten": (LogScale, lambda f, x, d: 1 * d),
    "a factor too much": (LoRA, lambda f, x, d: 2 * (d @ f.B.T @ f.A.T)),
    "a transpose is forgotten": (TwiceTheIdentity, lambda f, x, d: d @ f.w),
}
OF_PARAMS = {
    "a bias is forgotten for w": (TanhOfAffine, "w", lambda f, x, d: x.T @ (d * (1 - np.tanh(x @ f.w) ** 2))),
    "a factor is forgotten for ls": (LogScale, "ls", lambda f, x, d: (d * x).sum(axis=0)),
    "a factor too much for A": (LoRA, "A", lambda f, x, d: 2 * (x.T @ d @ f.B.T)),
}


def spoilt(base, of_input=None, **of_params):
    class Spoilt(base):
        def of_input(self, x, d):
            return of_input(self, x, d) if of_input else super().of_input(x, d)

        def of_params(self, x, d):
            return super().of_params(x, d) | {name: of_param(self, x, d) for name, of_param in of_params.items()}

    return Spoilt()


def said(function, x=X, **options):
    with pytest.raises(GradientError) as caught:
        check_function(function, x, **options)
    return str(caught.value).split("\n\nTo reproduce:")[0].split("\n")[1:]


@pytest.mark.parametrize("name", OF_INPUT)
def test_what_of_the_input_counts_for_nothing_at_zero_is_seen(name):
    function = spoilt(*OF_INPUT[name])
    assert check_gradients(function, X).ok  # which looks where the parameters are
    (complaint,) = said(function)
    assert complaint.startswith("1. after its parameters have changed: Spoilt.x[")
    names = " and ".join(name for name, value in function.start.items() if not value.all())
    assert complaint.endswith(f"; it is right only as long as zeros in {names} stay 0: does backward forget them?")


@pytest.mark.parametrize("name", OF_PARAMS)
def test_what_of_a_parameter_counts_for_nothing_at_zero_is_seen(name):
    base, param, of_param = OF_PARAMS[name]
    function = spoilt(base, **{param: of_param})
    assert check_gradients(function, X).ok
    (complaint,) = said(function)
    assert complaint.startswith(f"1. after its parameters have changed: Spoilt.{param}[")


@pytest.mark.parametrize("base", RIGHT)
@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 30.0, 1e3, 1e6])
def test_right_functions_that_start_at_zero_are_not_accused(base, size):
    assert check_function(base(), size * X).ok


def test_the_lines_to_reproduce_show_it_again():
    class ForgetsItsShift(Shifted):
        def of_input(self, x, d):
            return d * np.cos(x)

    with pytest.raises(GradientError) as caught:
        check_function(ForgetsItsShift(), X)
    with pytest.raises(GradientError, match=r"after its parameters have changed: ForgetsItsShift\.x"):
        exec(str(caught.value).split("To reproduce:\n\n")[1], {"ForgetsItsShift": ForgetsItsShift})


class Root(Shifted):
    """Its parameters must not be negative, which it says or shows by nan."""

    def __init__(self, says=True):
        super().__init__()
        self.says = says

    def root(self):
        if self.says and (self.w < 0).any():
            raise ValueError("expected a variance")
        return np.sqrt(self.w + 1e-3)

    def f(self, x):
        return x * self.root()

    def of_params(self, x, d):
        return {"w": (d * x / (2 * self.root())).sum(axis=0)}

    def of_input(self, x, d):
        return d * self.root()


class NearZero(Held):
    """The root of 1 - (w / r)^2, so its first parameters must be smaller than r, of whatever sign."""

    def __init__(self, r=0.02):
        self.r, self.start = r, {"w": np.zeros(3), "k": np.ones(3)}
        super().__init__()

    def root(self):
        return np.sqrt(1 - (self.w / self.r) ** 2)

    def f(self, x):
        return self.k * x * self.root()

    def of_params(self, x, d):
        of_w = -(d * self.k * x).sum(axis=0) * self.w / self.r**2 / self.root()
        return {"w": of_w, "k": (d * x * self.root()).sum(axis=0)}

    def of_input(self, x, d):
        return d * self.k * self.root()


@pytest.mark.parametrize("says", [True, False])
def test_parameters_that_must_not_be_negative_move_upwards(says):
    assert check_function(Root(says), X, kinks="error").ok

    class Forgets(Root):
        def of_input(self, x, d):
            return d * np.sqrt(1e-3)

    assert any("after its parameters have changed: Forgets.x[" in line for line in said(Forgets(says)))


def test_parameters_that_must_stay_small_or_stay_zero_are_moved_no_further():
    for r in (0.02, 1e-5):
        assert check_function(NearZero(r), X).ok

    class ForgetsTheSmall(NearZero):
        def of_input(self, x, d):
            return d * self.k

    class ForgetsTheOther(NearZero):
        def of_input(self, x, d):
            return d * self.root()

    assert any("after its parameters have changed: ForgetsTheSmall.x[" in line for line in said(ForgetsTheSmall()))
    assert any("after its parameters have changed: ForgetsTheOther.x[" in line for line in said(ForgetsTheOther(1e-5)))


class Overflows(Shifted):
    """exp(w x), which is infinite already for a small w where x is large."""

    def f(self, x):
        return np.exp(self.w * x)

    def of_params(self, x, d):
        return {"w": (d * x * np.exp(self.w * x)).sum(axis=0)}

    def of_input(self, x, d):
        return d * self.w * np.exp(self.w * x)


def test_zeros_are_moved_less_where_outputs_would_be_infinite():
    x = 3e4 * np.sign(X)
    assert check_function(Overflows(), x).ok
    assert any(
        "after its parameters have changed: Spoilt.x[" in line
        for line in said(spoilt(Overflows, lambda f, x, d: 2 * d * f.w * np.exp(f.w * x)), x)
    )


class Sparse(Held):
    """The zeros of its weight are gaps; which they are, it finds out at the first call."""

    start = {"w": SQUARE * (SQUARE > 0)}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.mask = None

    def f(self, x):
        self.mask = self.w != 0 if self.mask is None else self.mask
        return x @ (self.w * self.mask)

    def of_params(self, x, d):
        return {"w": x.T @ d * self.mask}

    def of_input(self, x, d):
        return d @ (self.w * self.mask).T


def test_a_sparse_weight_may_remember_its_gaps():
    assert check_function(Sparse(), X).ok


def test_what_is_kept_of_zeros_is_seen():
    class KeepsInBackward(LogScale):
        def compute_forward(self, x):
            self.factor = getattr(self, "factor", np.exp(self.ls))
            return super().compute_forward(x)

        def of_input(self, x, d):
            return d * self.factor

    assert any("computed from them at the first call and kept?" in line for line in said(KeepsInBackward()))


def zero_started():
    """Stacks of the library whose parameters start at 0, and inputs; those of the ReLUs stand on their kinks."""
    stack = pk.Sequential([pk.Linear(3, 4, rng=0), pk.BatchNorm(4), pk.ReLU(), pk.Linear(4, 2, rng=1)])
    for p in stack.get_params_and_grads()[0]:
        if p.ndim == 1:
            p[...] = 0
    dead = pk.mlp([3, 8, 2], rng=0)
    for p in dead.get_params_and_grads()[0]:
        p[...] = 0
    normed = pk.Sequential([pk.Linear(3, 4, rng=0), pk.LayerNorm(4), pk.Tanh()])
    for p in normed.get_params_and_grads()[0]:
        p[...] = 0
    biased = pk.mlp([3, 16, 16, 2], rng=0)
    for p in biased.get_params_and_grads()[0]:
        if p.ndim == 1:
            p[...] = 0
    twice = pk.Linear(3, 3, rng=0)
    twice.bias[...] = 0
    shared = pk.Sequential([twice, pk.ReLU(), twice.shared_copy()])
    frozen = copy.deepcopy(twice).freeze()
    return {
        "gains and biases": (stack, X),
        "all zeros": (dead, X),
        "a norm of zeros": (normed, X),
        "kinks at zero": (biased, np.zeros((4, 3))),
        "kinks on a grid": (biased, np.round(X)),
        "shared": (shared, X),
        "frozen beside": (pk.Sequential([frozen, pk.Tanh(), copy.deepcopy(twice)]), X),
        "a cell": (pk.Unrolled(pk.LSTMCell(3, 2, rng=0)), X[None]),
    }


@pytest.mark.parametrize("name", zero_started())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_functions_of_the_library_that_start_at_zero_are_not_accused_and_put_back(name, dtype):
    function, x = zero_started()[name]
    function.astype(dtype)
    before = copy.deepcopy(function.state_dict())
    assert check_function(function, x).ok
    np.testing.assert_equal(function.state_dict(), before)


OUTSIDE = {"w": np.zeros(3), "grad_w": np.zeros(3)}


class Elsewhere(Shifted):
    """Its parameters stand in the module, where no attribute of it leads to."""

    start = {}  # noqa: RUF012

    @property
    def w(self):
        return OUTSIDE["w"]

    def compute_backward(self, d):
        OUTSIDE["grad_w"] += (d * np.cos(self.x + self.w)).sum(axis=0)
        return self.of_input(self.x, d)

    def get_params_and_grads(self):
        return [OUTSIDE["w"]], [OUTSIDE["grad_w"]]


def test_zeros_are_put_back_wherever_they_stand():
    said(Elsewhere())  # copies share them, and so on
    assert not OUTSIDE["w"].any()
