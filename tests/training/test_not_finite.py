"""The search for the first output that is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from participant import Branches, Skip

import pancake as pk
from pancake.training.not_finite import is_finite, reason

X, Y = np.ones((4, 3)), np.ones((4, 1))


def why(model, x=X):
    with np.errstate(all="ignore"):
        return reason(model, x, Y, None, None)


def infinite(n_in, n_out):
    layer = pk.Linear(n_in, n_out, rng=0)
    layer.weight[-1, 0] = np.inf
    return layer


def stacks():
    return {
        "the model": (infinite(3, 2), "Linear(3, 2)"),
        "0": (pk.Sequential([infinite(3, 2), pk.Tanh()]), "Linear(3, 2), part 0 of the model"),
        "1.1": (
            pk.Sequential([pk.Linear(3, 3, rng=0), pk.Sequential([pk.Tanh(), infinite(3, 3)]), pk.Linear(3, 1, rng=0)]),
            "Linear(3, 3), part 1.1 of the model",
        ),
        "a composite of the user's": (
            pk.Sequential([pk.Linear(3, 3, rng=0), Skip(pk.Sequential([pk.Tanh(), infinite(3, 3)]))]),
            "Linear(3, 3), part 1.f.1 of the model",
        ),
        "branches": (Branches(pk.Tanh(), {"a": pk.Identity(), "b": infinite(3, 3)}), "Linear(3, 3), part d.b of the model"),
        "a residual": (pk.Residual(infinite(3, 3)), "Linear(3, 3), part"),
        "one that divides": (pk.Sequential([pk.Linear(3, 3, rng=0), pk.Mul(0.0), pk.Log()]), "Log(), part 2 of the model"),
    }


@pytest.mark.parametrize("kind", stacks())
def test_the_part_is_named(kind):
    model, words = stacks()[kind]
    assert f"the first Function whose output is not finite is {words}" in why(model)
    assert all("compute_forward" not in vars(part) for part in model.walk())


def test_nothing_stays_wrapped_after_an_error():
    class Broken(pk.Function):
        def compute_forward(self, x):
            raise KeyError("nothing to do with numbers")

    model = pk.Sequential([pk.Linear(3, 3, rng=0), Broken()])
    with pytest.raises(KeyError, match="nothing to do"):
        why(model)
    assert all("compute_forward" not in vars(part) for part in model.walk())


def test_what_the_user_has_wrapped_is_called_and_stays():
    calls = []
    model = pk.Sequential([pk.Linear(3, 3, rng=0), pk.Tanh()])
    own = lambda x: calls.append(1) or np.full((4, 3), np.nan)  # noqa: E731
    model[1].compute_forward = own
    assert "is Tanh(), part 1 of the model" in why(model)
    assert calls == [1]
    assert vars(model[1])["compute_forward"] is own


def test_arrays_come_first():
    x = X.copy()
    x[2, 1] = np.inf
    assert reason(pk.Linear(3, 1, rng=0), x, Y, None, None) == (
        "the inputs of that batch have nan or inf in them: inf in row 2, column 1"
    )
    y = Y * np.nan
    assert "the targets of that batch have nan or inf in them: nan in row 0, column 0" in reason(pk.Identity(), X, y, None, None)
    assert "the weights of that batch" in reason(pk.Identity(), X, Y, np.array([1.0, np.nan, 1, 1]), None)
    assert why(pk.Linear(3, 1, rng=0)) == "all outputs are finite, so it is the loss itself that overflows"


class Doubling(pk.Function):
    """A user's cell with a part: h <- exp(f(h + x))."""

    def __init__(self):
        self.f = pk.Identity()

    def init_state(self, batch):
        return np.zeros((batch, 2))

    def compute_forward(self, x_t, state):
        out = np.exp(self.f(state + x_t))
        return out, out

    def compute_backward(self, dObj_dOut_t, dObj_dState):
        return dObj_dOut_t, dObj_dState


class Part(pk.Identity):
    def compute_forward(self, x):
        return np.where(x > 6, np.inf, x)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("lengths", [None, np.array([3, 5, 6])])
@pytest.mark.parametrize("inside", [False, True])
def test_the_step_of_a_users_cell(reverse, return_sequences, lengths, inside):
    cell = Doubling()
    if inside:
        cell.f = Part()
    model = pk.Sequential([pk.Identity(), pk.Unrolled(cell, return_sequences, reverse)])
    x = np.full((3, 7, 2), -50.0)
    x[2, 4] = 2000.0
    with np.errstate(all="ignore"):
        text = reason(model, x, np.zeros(1), None, lengths)
    assert text.endswith("at time step 4")
    assert ("Part()" if inside else "Doubling()") in text
    assert ("part 1.cell.f" if inside else "part 1.cell of") in text


@pytest.mark.parametrize("make", [pk.RNNCell, pk.GRUCell, pk.LSTMCell])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("lengths", [None, np.array([3, 5, 6])])
def test_the_step_of_a_cell_of_the_library(make, reverse, return_sequences, lengths):
    model = pk.Sequential([pk.Unrolled(make(2, 3, rng=0), return_sequences, reverse), pk.Linear(3, 1, rng=0)])
    x = np.zeros((3, 7, 2))
    x[2, 4] = np.inf  # times weights of both signs
    x[2, 4, 1] = -np.inf
    with np.errstate(all="ignore"):
        # the inputs are named first, so they come from a layer here
        text = reason(pk.Sequential([Late(x), model]), np.zeros((3, 7, 2)), np.zeros(1), None, lengths)
    assert text.endswith("at time step 4")


class Late(pk.Function):
    """Puts out what nobody has seen as an output, since it calls it finite."""

    def __init__(self, x):
        self.x = x

    def compute_forward(self, x):
        return Quiet(self.x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut


class Quiet:
    """An array that the search does not look into."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


def test_both_directions():
    model = pk.Bidirectional(Doubling(), Doubling())
    x = np.full((3, 7, 2), -50.0)
    x[2, 4] = 2000.0
    assert why(model, x).endswith("part forward.cell of the model, at time step 4")


def test_finite():
    assert is_finite((np.ones(2), [np.zeros(1), "text", None, 3], np.arange(3)))
    assert not is_finite((np.ones(2), [np.array([np.nan])]))
    assert not is_finite(np.float32(np.inf))
