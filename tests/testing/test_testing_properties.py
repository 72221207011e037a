"""`gradient_property` in the hands of somebody who has never seen pancake: what passes, what fails, and what is printed."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
import traceback
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st

from pancake import CrossEntropy, Linear
from pancake.losses.elementwise import ElementwiseLoss
from pancake.testing import GradientError, check_gradients, gradient_property
from pancake.testing.strategies import batches, labels, sequences

quick = settings(max_examples=10, suppress_health_check=list(HealthCheck), database=None)
sizes = st.integers(1, 5)


class Dense:
    """y = x w + b, by somebody who does not know `Function`."""

    def __init__(self, n_in: int, n_out: int) -> None:
        self.n_in, self.n_out = n_in, n_out
        self.w, self.grad_w = np.zeros((n_in, n_out)), np.zeros((n_in, n_out))
        self.b, self.grad_b = np.zeros(n_out), np.zeros(n_out)

    def compute_forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.w + self.b

    def compute_backward(self, dObj_dOut: Any) -> Any:
        self.grad_w += self.x.reshape(-1, self.n_in).T @ dObj_dOut.reshape(-1, self.n_out)
        self.grad_b += dObj_dOut.reshape(-1, self.n_out).sum(axis=0)
        return dObj_dOut @ self.w.T

    def get_params_and_grads(self) -> Any:
        return [self.w, self.b], [self.grad_w, self.grad_b]


class NegativeSecond(Dense):
    """Wrong where there is a second feature that is negative."""

    def compute_backward(self, dObj_dOut: Any) -> Any:
        dObj_dIn = super().compute_backward(dObj_dOut)
        if self.n_in > 1:
            dObj_dIn[:, 1] *= np.where(self.x[:, 1] < 0, 2, 1)
        return dObj_dIn


class Gain:
    """y = g x, with g forgotten on the way back: right for the ones that g starts from."""

    def __init__(self, n: int) -> None:
        self.g, self.grad_g = np.ones(n), np.zeros(n)

    def compute_forward(self, x: Any) -> Any:
        if (self.g <= 0).any():
            raise ValueError("a gain is positive")
        self.x = x
        return self.g * x

    def compute_backward(self, dObj_dOut: Any) -> Any:
        self.grad_g += (dObj_dOut * self.x).sum(axis=0)
        return 1.0 * dObj_dOut

    def get_params_and_grads(self) -> Any:
        return [self.g], [self.grad_g]


class Squared:
    """A loss, by somebody who does not know `Loss`."""

    def compute_forward(self, pred: Any, target: Any) -> Any:
        self.difference = pred - target
        return (self.difference**2).sum()

    def compute_backward(self) -> Any:
        return 2 * self.difference


def failure(test: Any, *arguments: Any) -> GradientError:
    with pytest.raises(GradientError) as error:
        test(*arguments)
    return error.value


# --- as a test of its own ---

test_a_right_layer = quick(gradient_property(Dense, n_in=sizes, n_out=sizes))
test_a_layer_of_the_library = quick(gradient_property(Linear, sizes, sizes, bias=st.booleans()))
test_values_in_place_of_strategies = quick(gradient_property(Dense, 3, n_out=2))
test_a_loss = quick(gradient_property(Squared, target=lambda pred: batches(pred.shape[1], batch=len(pred))))
test_a_loss_of_the_library = quick(gradient_property(CrossEntropy, label_smoothing=st.sampled_from([0, 0.2])))


class TestAsAttribute:
    test_a_right_layer = quick(gradient_property(Dense, n_in=sizes, n_out=sizes))


class TestInUnittest(unittest.TestCase):
    test_a_right_layer = quick(gradient_property(Dense, n_in=sizes, n_out=sizes))

    @quick
    @gradient_property(Dense, n_in=sizes, n_out=sizes)
    def test_decorated(self, x: Any, function: Any) -> None:
        assert function.compute_forward(x).shape == (len(x), function.n_out)


def test_the_smallest_example_is_reported() -> None:
    error = failure(gradient_property(NegativeSecond, n_in=sizes, n_out=sizes))
    assert "NegativeSecond.x[0, 1]: backward " in str(error)
    assert "\nx = np.array([[0.1, -0.1]])\n" in str(error)
    assert "\nfunction = NegativeSecond(n_in=2, n_out=1)\n" in str(error)
    assert error.report is not None
    assert not hasattr(error, "__notes__")
    assert error.__context__ is None or error.__suppress_context__


@pytest.mark.slow
def test_the_snippet_reproduces_the_failure() -> None:
    error = failure(gradient_property(NegativeSecond, n_in=sizes, n_out=sizes))
    lines = str(error).split("To reproduce:")[1]
    lines = lines.replace(f"from {__name__} import NegativeSecond\n", "")
    with pytest.raises(GradientError) as again:
        exec(lines, {"NegativeSecond": NegativeSecond})
    assert str(again.value).split("\n")[1] == str(error).split("\n")[1]


def test_what_starting_values_hide_is_found() -> None:
    error = failure(gradient_property(Gain, n=sizes))
    assert "Gain.x[0, 0]: backward" in str(error)
    assert "a gain is positive" not in str(error)


def test_no_deadline_applies() -> None:
    settings(deadline=1, max_examples=5)(gradient_property(Dense, n_in=sizes, n_out=sizes))()


def test_settings_and_seed_apply() -> None:
    def run(number: int) -> list[Any]:
        seen: list[Any] = []

        def record(x: Any) -> None:
            seen.append(x.tolist())

        test = gradient_property(Dense, n_in=sizes, n_out=sizes)(record)
        seed(number)(settings(max_examples=7, database=None)(test))()
        return seen

    assert len(run(1)) == 7
    assert run(1) == run(1)
    assert run(1) != run(2)


# --- as a decorator ---


def test_the_decorated_test_gets_what_it_names() -> None:
    seen: list[Any] = []

    @quick
    @gradient_property(Squared, target=lambda pred: batches(pred.shape[1], batch=len(pred)))
    def test(target: Any, fixture: str, x: Any) -> None:
        """Its own words."""
        assert fixture == "from pytest"
        seen.append((x.shape, target.shape))

    test(fixture="from pytest")
    assert len(seen) == 10
    assert all(a == b for a, b in seen)
    assert (test.__name__, test.__doc__) == ("test", "Its own words.")


def test_the_check_comes_before_the_assertions_of_the_user() -> None:
    @gradient_property(NegativeSecond, n_in=2, n_out=1)
    def test(x: Any) -> None:
        assert x[0, 1] >= 0, "not reached"

    assert "NegativeSecond.x[0, 1]" in str(failure(test))


def test_a_failing_assertion_of_the_user_is_shown_with_the_smallest_example() -> None:
    @gradient_property(Dense, sizes, n_out=2)
    def test(function: Any, x: Any) -> None:
        assert x.shape[1] < 3

    with pytest.raises(AssertionError) as error:
        test()
    assert "function=Dense(3, n_out=2), x=array([[0.1, 0.1, 0.1]])" in "\n".join(error.value.__notes__)
    frames = [frame.filename for frame in traceback.extract_tb(error.value.__traceback__)]
    assert not any("hypothesis" in Path(frame).parts for frame in frames)
    assert frames[-1] == __file__


# --- inputs and targets ---


def widths(test_of: Any, **arguments: Any) -> set[int]:
    """The widths of the inputs that are drawn."""
    seen: set[int] = set()

    def record(x: Any) -> None:
        seen.add(x.shape[-1])

    quick(gradient_property(test_of, **arguments)(record))()
    return seen


@pytest.mark.parametrize("name", ["n_in", "in_features", "num_features", "input_size", "features", "n", "dim"])
def test_the_width_follows_the_argument(name: str) -> None:
    scope: dict[str, Any] = {"Dense": Dense}
    exec(f"def make({name}, hidden=7): return Dense({name}, 2)", scope)
    assert widths(scope["make"], **{name: 3}) == {3}


def test_the_width_follows_a_default() -> None:
    class Four(Dense):
        def __init__(self, n_out: int = 1, n_in: int = 4) -> None:
            super().__init__(n_in, n_out)

    assert widths(Four) == {4}


def test_any_width_where_nothing_says_which() -> None:
    assert len(widths(Squared, target=lambda pred: batches(pred.shape[1], batch=len(pred)))) > 1


@pytest.mark.slow
def test_inputs_of_the_user() -> None:
    assert widths(Dense, n_in=2, n_out=1, x=sequences(2)) == {2}
    assert widths(Dense, n_in=2, n_out=1, x=lambda layer: sequences(layer.n_in, time=3)) == {2}
    assert widths(Dense, n_in=2, n_out=1, x=np.array([[0.3, 0.7]])) == {2}
    assert widths(Linear, n_in=2, n_out=1, x=[[0.3, 0.7]] @ np.eye(2)) == {2}


def test_integers_are_inputs_too() -> None:
    class Table:
        def __init__(self, n: int) -> None:
            self.rows, self.grad_rows = np.zeros((n, 2)), np.zeros((n, 2))

        def compute_forward(self, x: Any) -> Any:
            self.x = x
            return self.rows[x]

        def compute_backward(self, dObj_dOut: Any) -> Any:
            np.add.at(self.grad_rows, self.x, dObj_dOut)
            return np.zeros(self.x.shape)

        def get_params_and_grads(self) -> Any:
            return [self.rows], [self.grad_rows]

    quick(gradient_property(Table, n=4, x=labels(4)))()


def test_an_input_that_does_not_fit_says_how_it_was_drawn() -> None:
    def make(k: int) -> Dense:
        return Dense(k, 2)

    error = failure(gradient_property(make, k=st.integers(2, 5)))
    assert "Dense.compute_forward raised ValueError" in str(error)
    assert "The input was drawn as a batch with any number of features, since make takes no n_in; pass x= to" in str(error)
    error = failure(gradient_property(lambda n: Dense(n + 1, 2), n=2))
    assert "drawn as a batch with 2 features, as n says; pass x=" in str(error)


def test_a_subclass_of_a_loss_needs_no_target() -> None:
    class Cubed(ElementwiseLoss):
        def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
            self._remember(pred - target)
            return self._reduced((pred - target) ** 3, pred.size)

        def compute_backward(self) -> Any:
            return self._gradient(2 * self._remembered() ** 2)

    error = failure(gradient_property(Cubed, reduction=st.sampled_from(["mean", "sum"])))
    assert "Cubed.x" in str(error)
    assert "\ntarget = np.array(" in str(error)


@pytest.mark.slow
def test_another_check() -> None:
    class Overwrites(Dense):
        def compute_backward(self, dObj_dOut: Any) -> Any:
            self.grad_w[...] = 0
            return super().compute_backward(dObj_dOut)

    property_of = functools.partial(gradient_property, Overwrites, n_in=sizes, n_out=sizes)
    quick(property_of(check=functools.partial(check_gradients, rtol=1e-4)))()
    assert "must add" in str(failure(property_of()))


# --- mistakes ---


def test_what_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(
        TypeError, match=r"gradient_property: expected a class, got <.*Dense object.*; pass Dense, and strategies"
    ):
        gradient_property(Dense(2, 1))  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"gradient_property: expected a class, got Linear\(2, 1\); pass Linear, and strategies for its arguments"
    ):
        gradient_property(Linear(2, 1, rng=0))  # which can be called, and is no class all the same
    with pytest.raises(
        TypeError, match=r"missing a required argument: 'n_out'; pass a strategy for each argument of Dense\(n_in"
    ):
        gradient_property(Dense, n_in=sizes)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'width'"):
        gradient_property(Dense, sizes, sizes, width=3)


def test_a_loss_without_target_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"Squared.compute_backward takes no dObj_dOut, so it is a loss; pass target="):
        gradient_property(Squared)


def with_heads(n: int, heads: int) -> Dense:
    if n % heads:
        raise ValueError("heads must divide n")
    return Dense(n, 1)


@pytest.mark.slow
def test_arguments_that_a_constructor_refuses_are_not_this_example() -> None:
    seen = set()

    @gradient_property(with_heads, n=st.integers(1, 12), heads=st.integers(1, 12))
    def test(function: Any) -> None:
        seen.add(function.n_in)

    test()
    assert len(seen) > 3


def test_a_constructor_that_refuses_everything_is_shown_with_the_call() -> None:
    with pytest.raises(ValueError, match="heads must divide n") as error:
        gradient_property(with_heads, n=3, heads=2)()
    assert "gradient_property drew the arguments: with_heads(n=3, heads=2)" in error.value.__notes__


def test_arguments_may_depend_on_others() -> None:
    drawn = []

    def make(n: int, heads: int, shape: Any) -> Dense:
        drawn.append((n, heads, shape))
        return with_heads(n, heads)

    def divisors(n: int) -> Any:
        return st.sampled_from([k for k in range(1, n + 1) if n % k == 0])

    quick(gradient_property(make, shape=lambda heads, n: (n // heads, heads), n=st.integers(1, 12), heads=divisors))()
    assert len(set(drawn)) > 5
    assert all(n % heads == 0 and shape == (n // heads, heads) for n, heads, shape in drawn)
    with pytest.raises(TypeError, match=r"the arguments heads, n depend on each other|the arguments n, heads depend"):
        gradient_property(with_heads, n=lambda heads: heads, heads=lambda n: n)()


@pytest.mark.slow
def test_a_decorated_test_may_draw_more() -> None:
    drawn = []

    @gradient_property(Dense, sizes, n_out=2)
    def test(x: Any, data: st.DataObject) -> None:
        drawn.append((len(x), data.draw(st.integers(0, len(x) - 1))))

    test()
    assert all(row < batch for batch, row in drawn)
    assert max(row for _, row in drawn) > 0


@pytest.mark.slow
def test_what_does_not_fail_again_is_said_to_be_random() -> None:
    made = itertools.count()

    class Moody(Dense):
        def __init__(self, n_in: int, n_out: int) -> None:
            super().__init__(n_in, n_out)
            self.factor = 2 if next(made) == 0 else 1

        def compute_backward(self, dObj_dOut: Any) -> Any:
            return super().compute_backward(dObj_dOut) * self.factor

    error = failure(quick(gradient_property(Moody, n_in=sizes, n_out=sizes)))
    assert "Moody" in str(error)
    assert "It passed when run again: are there random numbers that neither rng nor a seed decides?" in str(error)


def test_a_class_with_rng_is_made_the_same_each_time() -> None:
    seen: set[float] = set()

    class Seeded(Dense):
        def __init__(self, n_in: int, rng: Any = None) -> None:
            super().__init__(n_in, 1)
            seen.add(np.random.default_rng(rng).random())

    quick(gradient_property(Seeded, n_in=sizes))()
    assert len(seen) == 1


# --- in somebody's repository ---

LAYER = """
import numpy as np

class Scale:
    def __init__(self, n_in):
        self.k, self.grad_k = np.ones(n_in), np.zeros(n_in)
    def compute_forward(self, x):
        self.x = x
        return self.k * x
    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.x).mean(axis=0)
        return dObj_dOut * self.k
    def get_params_and_grads(self):
        return [self.k], [self.grad_k]
"""

THREE_LINES = """
from hypothesis import strategies as st
from pancake.testing import gradient_property
from layers import Scale
test_scale = gradient_property(Scale, n_in=st.integers(1, 5))
"""

FEW = """
from hypothesis import settings
settings.register_profile("few", max_examples=20)
settings.load_profile("few")
"""


def run_in(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_pytest_shows_the_report_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text(LAYER)
    (tmp_path / "test_layers.py").write_text(THREE_LINES)
    (tmp_path / "conftest.py").write_text(FEW)
    result = run_in(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert result.returncode == 1, result.stdout
    assert "1 failed" in result.stdout
    assert "Scale.k[0]: backward " in result.stdout
    assert "constant ratio" in result.stdout
    assert "from layers import Scale" in result.stdout
    assert "function = Scale(n_in=1)" in result.stdout
    assert "site-packages" not in result.stdout
    assert len(result.stdout.splitlines()) < 40, result.stdout

    (tmp_path / "layers.py").write_text(LAYER.replace("mean(axis=0)", "sum(axis=0)"))
    result = run_in(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout


WITHOUT = """
import sys
sys.modules["hypothesis"] = None
import numpy as np
from pancake.testing import *
import pancake.testing
from pancake import Linear
check_function(Linear(2, 1), np.ones((3, 2)))
assert "gradient_property" in dir(pancake.testing)
for name in ("gradient_property", "strategies"):
    assert name not in globals()
    try:
        getattr(pancake.testing, name)
    except ImportError as error:
        print(error)
"""


def test_without_hypothesis(tmp_path: Path) -> None:
    result = run_in(tmp_path, "-c", WITHOUT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"pancake.testing.{name} needs hypothesis: pip install hypothesis" for name in ("gradient_property", "strategies")
    ]


def test_with_hypothesis_a_star_brings_all(tmp_path: Path) -> None:
    lines = "from pancake.testing import *; gradient_property, strategies.batches, check_gradients, GradientError"
    result = run_in(tmp_path, "-c", lines)
    assert result.returncode == 0, result.stderr
    result = run_in(tmp_path, "-c", "import sys, pancake.testing; assert 'hypothesis' not in sys.modules")
    assert result.returncode == 0, result.stderr


def test_other_names_are_unknown() -> None:
    import pancake.testing

    with pytest.raises(AttributeError, match=r"module 'pancake.testing' has no attribute 'gradients_property'"):
        pancake.testing.gradients_property  # noqa: B018
