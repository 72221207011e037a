"""`check_function`: everything beside the gradients, reported together, without a trace."""

from __future__ import annotations

import contextlib
import copy
import threading

import numpy as np
import pytest
from gallery import right, wrong
from gallery.right import RIGHT

import pancake as pk
from pancake import tree
from pancake.testing import GradientError, check_function
from pancake.testing.bulk import duplicates
from pancake.testing.snapshot import Snapshot

X = np.random.default_rng(0).normal(size=(4, 3))


def problems(function, x=X, **options):
    """What is said, one line a problem, without the lines to reproduce it."""
    with pytest.raises(GradientError) as caught:
        check_function(function, x, **options)
    lines = str(caught.value).split("\n\nTo reproduce:")[0].split("\n")
    assert lines[0].endswith("breaks its contract:")
    assert [line.split(". ")[0] for line in lines[1:]] == [str(i) for i in range(1, len(lines))]
    return [line.split(". ", 1)[1] for line in lines[1:]]


def test_it_returns_the_report_of_the_gradients():
    report = check_function(pk.Linear(3, 2, rng=0), X)
    assert [array.name for array in report.arrays] == ["x", "weight", "bias"]
    assert report.ok


def test_options_are_those_of_check_gradients():
    assert [array.name for array in check_function(wrong.Dense(), X, wrt="bias", rng=3, method="central").arrays] == ["bias"]
    with pytest.raises(TypeError, match=r"check_function: expected the options wrt, method, .*, got step"):
        check_function(wrong.Dense(), X, step=1e-3)
    with pytest.raises(ValueError, match="expected kinks to be one of"):
        check_function(wrong.Dense(), X, kinks="maybe")


class StopsWhereFrozen(wrong.Dense):
    nothing = staticmethod(np.zeros_like)

    def compute_backward(self, dObj_dOut):
        dObj_dIn = super().compute_backward(dObj_dOut)
        return self.nothing(dObj_dIn) if self.frozen else dObj_dIn


class NothingWhereFrozen(StopsWhereFrozen):
    nothing = staticmethod(lambda dObj_dIn: dObj_dIn[:, :1])


class OtherWhereFrozen(wrong.Dense):
    """As a BatchNorm that takes its running statistics when it is frozen."""

    def compute_forward(self, x):
        return super().compute_forward(x * (2 if self.frozen else 1))

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(dObj_dOut) * (2 if self.frozen else 1)


def test_frozen_it_passes_gradients_on():
    assert problems(StopsWhereFrozen())[0].startswith("while it is frozen: StopsWhereFrozen.x[")
    assert problems(NothingWhereFrozen()) == [
        "while it is frozen: NothingWhereFrozen: compute_backward returned a dObj_dIn of shape (4, 1) for x of shape (4, 3)"
    ]
    function = OtherWhereFrozen()
    check_function(function, X)
    assert not function.frozen


class ManyFaults(wrong.Dense):
    def compute_forward(self, x):
        y = super().compute_forward(x)
        x += 1e-3
        return y

    def compute_backward(self, dObj_dOut):
        self.grad_bias = 3 * dObj_dOut.sum(axis=0)
        self.grad_weight[...] = self.of_weight(self.slope(dObj_dOut))
        return self.of_input(self.slope(dObj_dOut))


class FewerFaults(wrong.Dense):
    def compute_backward(self, dObj_dOut):
        dz = self.slope(dObj_dOut)
        self.grad_weight[...] = -self.of_weight(dz)
        self.grad_bias += 2 * self.of_bias(dz)
        return self.of_input(dz)

    def __deepcopy__(self, memo):
        return self


def test_all_that_is_wrong_is_reported_together_the_likeliest_cause_first():
    said = problems(ManyFaults())
    assert said[0].startswith("ManyFaults.compute_forward writes to its input")
    said = problems(FewerFaults())
    assert "FewerFaults.weight[" in said[0]
    assert "FewerFaults.bias[" in said[1]
    assert "backward overwrites grad_weight" in said[2]
    assert any("a deepcopy shares memory" in problem for problem in said)
    assert len(said) == len(set(said))


def test_random_functions_are_held_to_the_same_contract():
    x = np.random.default_rng(0).normal(size=(30, 4))
    check_function(right.Dropout(np.random.default_rng(0)), x)
    assert any("does not refer to" in said or "something else" in said for said in problems(KeepsItsFirstInput(), x))


class KeepsItsFirstInput(right.Dropout):
    def __init__(self):
        super().__init__(np.random.default_rng(0))
        self.first = None

    def compute_forward(self, x):
        self.first = x if self.first is None or self.first.shape != x.shape else self.first
        return super().compute_forward(x) * x

    def compute_backward(self, dObj_dOut):
        return 2 * super().compute_backward(dObj_dOut) * self.first


def test_a_function_in_a_test_cannot_be_pickled_and_that_is_no_fault():
    class Local(wrong.Dense):
        pass

    assert check_function(Local(), X).ok


@pytest.mark.parametrize("seed", range(4))
def test_a_gradient_that_cancels_is_nothing_but_rounding(seed):
    """A bias before a BatchNorm moves nothing."""
    stack = pk.Sequential([pk.Linear(3, 4, rng=seed), pk.BatchNorm(4), pk.ReLU()])
    assert check_function(stack, np.random.default_rng(seed).normal(size=(4, 3))).ok


@pytest.mark.parametrize(
    "function",
    [pk.Linear(3, 2, rng=0).freeze(), pk.Standardize(3), pk.mlp([3, 4, 2], rng=0).freeze()],
    ids=lambda function: type(function).__name__,
)
def test_what_is_frozen_or_a_buffer_has_a_dtype_too(function):
    assert check_function(copy.deepcopy(function).astype(np.float32), X).ok


@pytest.mark.parametrize("forwards", [1, 2])
@pytest.mark.parametrize("path", [contextlib.nullcontext, pk.fast.off])
def test_what_has_been_called_before_is_no_worse(forwards, path):
    """A forward without a backward, as of somebody who looks at the outputs first."""
    x, y = np.random.default_rng(0).normal(size=(4, 3)), np.full((4, 2), 0.3)
    stack = pk.Sequential([pk.Linear(3, 2, rng=0), pk.Tanh()])
    nested = pk.Sequential([pk.Residual(pk.Sequential([pk.Linear(3, 3, rng=0), pk.ReLU()])), stack.shared_copy()])
    loss = pk.BinaryCrossEntropy(from_logits=True)
    with path():
        for _ in range(forwards):
            loss(stack(x), y)
            nested(x)
        assert check_function(stack, x).ok
        assert check_function(nested, x).ok
        assert check_function(loss, x[:, :2], target=y).ok
        step = pk.TrainStep(stack, loss, pk.SGD(stack))
        step(x, y)
        assert check_function(stack, x).ok


def test_what_cannot_be_copied_is_said():
    class Locked(wrong.Dense):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    assert problems(Locked()) == ["Locked: copy.deepcopy raised TypeError: cannot pickle '_thread.lock' object"]


def test_batches_are_left_out_where_a_function_refuses_them():
    class Four(wrong.Map):
        def compute_forward(self, x):
            if len(x) != 4:
                raise ValueError("expected four")
            return super().compute_forward(x)

    assert check_function(Four(), X).ok


def test_losses_are_checked_with_batches_of_the_target():
    assert check_function(pk.CrossEntropy(), X, target=[0, 2, 1, 1]).ok
    assert check_function(pk.MeanSquaredError(), X, target=np.flip(X)).ok
    with pytest.raises(TypeError, match=r"^check_function: expected a target for the loss CrossEntropy\(\), got none; write "):
        check_function(pk.CrossEntropy(), X)
    with pytest.raises(TypeError, match=r"^check_function: expected a target for a loss alone, got one for Linear\(3, 2\)"):
        check_function(pk.Linear(3, 2, rng=0), X, target=X)


def test_a_library_function_that_widens_is_reported(monkeypatch):
    class Widens(pk.Tanh):
        def compute_forward(self, x):
            return super().compute_forward(x) * np.ones(np.shape(x))

        def compute_backward(self, dObj_dOut):
            return super().compute_backward(dObj_dOut).astype(np.float64)

    assert check_function(Widens(), X).ok  # a user's may
    monkeypatch.setattr(Widens, "__module__", "pancake.functions.activations")  # until the end: others walk the library
    said = problems(Widens())
    assert said == ["Widens: in float32 the output is float64", "Widens: in float32 dObj_dIn is float64"]


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (pk.Exp(), [100.0, 1.0]),
        (pk.Exp(), [88.722, 1.0]),  # within the range, with a gradient that is not
        (pk.Exp(), [500.0, -500.0]),
        (pk.Square(), [1e20, 1.0]),
        (pk.Square(), [1e-25, 1.0]),
        (pk.Square(), [1e-22, 1e22]),  # denormal in float32, and infinite
        (pk.Power(3), [1e13, 1.0]),
        (pk.Power(-1), [1e-40, 1.0]),
        (pk.Power(-2), [1e-30, 3.0]),
        (pk.Sequential([pk.Square(), pk.Sum()]), [1e20, 1.0]),
        (pk.Sequential([pk.Exp(), pk.Linear(2, 2, rng=0)]), [100.0, 1.0]),
    ],
    ids=repr,
)
def test_what_float32_cannot_hold_is_no_fault(function, values):
    assert check_function(function, np.array([values])).ok


def pointwise(f, df):
    """A Function of the name Pointwise."""

    class Pointwise(pk.Function):
        def compute_forward(self, x):
            self.x = x
            return f(x)

        def compute_backward(self, d):
            return d * df(self.x)

    return Pointwise()


def narrow(x, in_single, else_):
    return np.where(x.dtype == np.float32, in_single, else_).astype(x.dtype)


@pytest.mark.parametrize(
    ("function", "values", "complaint"),
    [
        # A step in between overflows or becomes 0, and the result is an ordinary number.
        (pointwise(lambda x: np.sqrt(np.square(1.0 * x)), np.sign), [1e20, 1.0], "the output[0, 0] is inf instead of 1e+20"),
        (
            pointwise(lambda x: np.log(1 + np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
            [100.0, 1.0],
            "the output[0, 0] is inf instead of 100",
        ),
        (pointwise(lambda x: x * x / (x * x), lambda x: 0 * x), [1e-25, 1.0], "the output[0, 0] is nan instead of 1"),
        (pointwise(np.exp, lambda x: np.exp(2 * x) / np.exp(x)), [80.0, 1.0], "dObj_dIn[0, 0] is -inf instead of"),
        # Beside what does not count, all else does, however small.
        (pointwise(lambda x: narrow(x, 2.0, 1.0) * np.exp(x), np.exp), [100.0, -1.0], "the output[0, 1] is 0.735759 "),
        (pointwise(np.exp, lambda x: narrow(x, 2.0, 1.0) * np.exp(x)), [100.0, -1.0], "dObj_dIn[0, 1] is "),
        # What is next to nothing in float64 is no more than that in float32.
        (pointwise(lambda x: narrow(x, np.nan, x * x), lambda x: 2 * x), [1e-25, 1e-25], "the output[0, 0] is nan instead of"),
    ],
)
def test_what_float32_can_hold_counts(function, values, complaint):
    (said,) = problems(function, np.array([values]))
    assert said.startswith(f"Pointwise: with float32 input {complaint}")


@pytest.mark.parametrize("cls", [wrong.Overwrites, wrong.BackwardRaises, wrong.ListPilesUp, wrong.FreshMaskInBackward])
def test_the_function_is_left_as_it_was_found_after_a_failure(cls):
    function = cls()
    for grad in function.get_params_and_grads()[1]:
        grad += 0.25
    before = copy.deepcopy(vars(function))
    generator = before.pop("rng", None)
    problems(function)
    after = dict(vars(function))
    if generator is not None:
        assert after.pop("rng").bit_generator.state == generator.bit_generator.state
    np.testing.assert_equal(after, before)


@pytest.mark.parametrize("name", ["dropout_with_a_generator", "batch_norm_in_training", "state_in_slots_without_parameters"])
def test_the_function_is_left_as_it_was_found_when_all_is_well(name):
    function, x, _ = RIGHT[name](np.random.default_rng(0))
    snapshot = Snapshot(function)
    function.compute_forward(x)
    expected = function.compute_backward(np.ones(np.shape(x))[..., :1] * np.ones(function.compute_forward(x).shape[-1]))
    snapshot.restore()
    check_function(function, x)
    function.compute_forward(x)
    got = function.compute_backward(np.ones(np.shape(x))[..., :1] * np.ones(function.compute_forward(x).shape[-1]))
    np.testing.assert_array_equal(got, expected)


def test_a_snapshot_restores_slots_closures_containers_and_shared_state():
    class Shared:
        cache = []  # noqa: RUF012
        __slots__ = ("__hidden", "values")

        def __init__(self):
            self.__hidden, self.values = 1, {"a": [np.zeros(2), {1, 2}]}

        def change(self):
            self.__hidden = 2
            self.cache.append(1)
            self.values["a"][0] += 1
            self.values["a"][1].add(3)
            self.values["b"] = 0

        def hidden(self):
            return self.__hidden

    calls = 0

    def count():
        nonlocal calls
        calls += 1

    thing = Shared()
    snapshot = Snapshot((thing, count))
    thing.change()
    count()
    assert (calls, thing.hidden()) == (1, 2)
    snapshot.restore()
    assert (calls, thing.hidden(), Shared.cache) == (0, 1, [])
    np.testing.assert_equal(thing.values, {"a": [np.zeros(2), {1, 2}]})


def test_a_copy_is_not_looked_for_in_the_modules_that_it_refers_to(monkeypatch):
    class Shy:
        @property
        def __class__(self):
            raise FutureWarning("some modules warn when their parts are looked at")

    monkeypatch.setattr(np, "shy", Shy(), raising=False)
    function = right.Odd()
    assert function.module is np
    _, through_pickle = duplicates(function, [])
    assert through_pickle().module is np


def test_a_vocabulary_is_not_walked_through(monkeypatch):
    """For a layer with 10,000 words a check looks at no more values than for one without any."""
    looked = 0

    def counted(name, value, look=tree._trees_in):
        nonlocal looked
        looked += 1
        return look(name, value)

    class Worded(pk.Square):
        def __init__(self, n):
            self.vocabulary = {str(i): [i] for i in range(n)}

    monkeypatch.setattr(tree, "_trees_in", counted)
    counts = []
    for n in (0, 10_000):
        looked = 0
        check_function(Worded(n), X)
        counts.append(looked)
    assert counts[0] == counts[1] > 0
