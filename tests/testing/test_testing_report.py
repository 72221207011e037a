"""The report: what it says of the right and the wrong, and lines that reproduce a failure when they are pasted."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gallery import wrong

import pancake as pk
from pancake.testing import GradientError, check_function, check_gradients
from pancake.testing.report import ArrayReport, Entry, GradientReport

X = np.random.default_rng(0).normal(size=(4, 3))


def failure(check, function, x, **options):
    with pytest.raises(GradientError) as caught:
        check(function, x, **options)
    return caught.value


def test_the_summary_of_a_good_case():
    lines = check_gradients(pk.Linear(3, 2, rng=0), X).summary().split("\n")
    assert lines[0] == "Linear: gradients right"
    expected = [r"x \(4, 3\): 12 of 12", r"weight \(2, 3\): 6 of 6", r"bias \(2,\): 2 of 2"]
    for line, start in zip(lines[1:], expected, strict=True):
        assert re.fullmatch(rf"  {start} entries right; largest relative error \d\.\de[+-]\d\d \(five-point \d+\)", line)


def test_the_report_of_a_wrong_weight():
    error = failure(check_gradients, wrong.SignOfWeight(3, 4), X)
    first = str(error).split("\n")[0]
    assert re.fullmatch(
        r"SignOfWeight\.weight\[\d, \d\]: backward (-?\d\.\d+), numeric (-?\d\.\d+) \(complex step\); "
        r"12 of 12 entries of weight wrong, x and bias right; constant ratio -1: is the sign flipped\?",
        first,
    )
    assert error.report.summary().startswith("SignOfWeight: gradients WRONG\n")
    assert not error.report.ok
    assert isinstance(error, AssertionError)


def test_the_worst_entry_is_shown_in_as_many_digits_as_it_takes():
    array = ArrayReport("w", (3,), checked=3, right=1)
    array.wrong = [Entry((0,), 1.0, 1.00001, "central"), Entry((2,), 2.00000001, 2.0, "central")]
    assert array.complaint().startswith("w[0]: backward 1, numeric 1.00001 (central); 2 of 3 entries of w wrong")
    array.wrong = array.wrong[1:]
    assert "backward 2.00000001, numeric 2 (central)" in array.complaint()
    array.wrong.append(Entry((1,), np.nan, 2.0, "central"))
    assert "w[1]: backward nan" in array.complaint()


def test_an_array_whose_cause_is_known_comes_first():
    guessed = ArrayReport("a", (2,), checked=2, wrong=[Entry((0,), 1.0, 2.0, "central")])
    known = ArrayReport("b", (2,), checked=2, wrong=[Entry((0,), 1.0, 2.0, "central")], hint="is the sign flipped?")
    lines = GradientReport("F", [guessed, known, ArrayReport("c", (1,), checked=1, right=1)]).complaints()
    assert lines[0].startswith("F.b[0]")
    assert lines[0].endswith("wrong, c right; is the sign flipped?")
    assert lines[1].startswith("F.a[0]")


def test_nothing_verified_is_not_called_right():
    report = check_gradients(pk.ReLU(), np.zeros(3))
    assert report.ok
    assert report.summary() == "ReLU: nothing found wrong, nothing verified\n  x (3,): 0 of 3 entries right, 3 skipped at kinks"


# --- hints that are certain, and none where nothing is ---


def test_no_hint_for_random_faults():
    class Random(wrong.Dense):
        def of_weight(self, dz):
            return np.random.default_rng(5).normal(size=self.weight.shape) * dz.sum()

    error = failure(check_gradients, Random(), X)
    assert error.report.arrays[1].hint == ""


@pytest.mark.parametrize(
    ("batch", "said"), [(4, "4 is the batch size; a sum where the forward has a mean?"), (2, "added twice, or")]
)
def test_a_ratio_of_the_batch_size_or_of_two(batch, said):
    class Mean(wrong.Gain):
        def compute_forward(self, x):
            return super().compute_forward(x) / len(x)

        def compute_backward(self, dObj_dOut):
            return super().compute_backward(dObj_dOut) / np.array(len(dObj_dOut))

    assert said in failure(check_gradients, Mean(), X[:batch]).report.arrays[1].hint


# --- lines to paste ---


def run(snippet, **names):
    """Execute the lines, and return the error that they raise."""
    with pytest.raises(GradientError) as caught:
        exec(snippet, dict(names))
    return caught.value


def lines_of(error):
    return str(error).split("To reproduce:\n\n")[1]


MADE_BY_THEIR_CLASS = [
    (check, name)
    for name, fault in wrong.FAULTS.items()
    for check in (check_gradients, check_function)
    if isinstance(fault.make, type) and name not in ("DrawsFromANewGenerator", "PickleLosesState")
    if (fault.named and check is check_gradients) or (check is check_function and not name.endswith("OfTenThousand"))
]
QUICK = MADE_BY_THEIR_CLASS[::4]


@pytest.mark.parametrize(
    ("check", "name"), [pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow) for pair in MADE_BY_THEIR_CLASS]
)
def test_the_lines_reproduce_the_failure(check, name):
    fault = wrong.FAULTS[name]
    error = failure(check, fault.make(), fault.x, target=fault.target)
    again = run(lines_of(error))
    first, second = (re.sub(r"(?s)\n\nTo reproduce:.*", "", str(e)) for e in (error, again))
    if "np.random.default_rng(0).normal" not in lines_of(error):
        assert first == second
    assert (
        [a.name for a in error.report.arrays if a.wrong] == [a.name for a in again.report.arrays if a.wrong]
        if error.report
        else True
    )
    assert len(lines_of(error)) < 10_000


@pytest.mark.slow
def test_the_lines_of_a_large_array_are_short():
    snippet = lines_of(failure(check_gradients, wrong.AllWeightsOfTenThousand(), np.random.default_rng(7).normal(size=(4, 100))))
    assert '"weight": np.random.default_rng(0).normal(size=(100, 100)),' in snippet
    assert "x = np.random.default_rng(0).normal(size=(4, 100))" in snippet
    assert "frombuffer" not in snippet
    run(snippet)


def test_where_random_numbers_do_not_show_it_the_array_is_packed():
    class Far(wrong.Map):
        def df(self, x):
            return np.where(np.abs(x) > 30, 5, super().df(x))

    x = np.random.default_rng(0).normal(size=(30, 10))
    x[17, 3] = 31
    snippet = lines_of(failure(check_gradients, Far(), x))
    assert "frombuffer" in snippet
    assert r"x[17, 3]" in str(run(snippet, Far=Far))


def test_the_lines_for_a_stack_import_every_class_and_carry_its_state():
    stack = pk.Sequential([pk.Linear(3, 3, rng=1), wrong.SignOfWeight(3, 2), pk.Sequential([pk.Sigmoid()])]).eval()
    stack[0].weight[...] = 1 / 3
    snippet = lines_of(failure(check_gradients, stack, X, rng=3, rtol=1e-5))
    for line in ("from pancake import Sequential", "from pancake import Linear", "from gallery.wrong import SignOfWeight"):
        assert line in snippet.split("\n")
    assert "function.eval()" in snippet
    assert "0.3333333333333333" in snippet
    assert snippet.endswith("check_gradients(function, x, rtol=1e-05, rng=3)")
    assert "Sequential.1.weight[" in str(run(snippet))


def test_the_lines_for_a_class_of_your_own_leave_a_place_for_it():
    class Mine(wrong.SignOfWeight):
        pass

    snippet = lines_of(failure(check_function, Mine(), X))
    assert "# Mine as in your code" in snippet
    assert "constant ratio -1" in str(run(snippet, Mine=Mine))


def test_the_lines_for_what_is_no_function():
    snippet = lines_of(failure(check_function, wrong.Viewed(), X))
    assert "function = Viewed()  # made as in your code" in snippet
    assert "function.get_params_and_grads()[0][0][...] = np.array([" in snippet
    run(snippet)


def test_the_lines_say_so_where_the_repr_lacks_an_argument():
    class Forgetful(pk.Function):
        def __init__(self, n):
            self.k, self.grad_k = np.ones(n), np.zeros(n)

        def compute_forward(self, x):
            return self.k * x

        def compute_backward(self, dObj_dOut):
            return 2 * self.k * dObj_dOut

    for function, made in ((Forgetful(2), "Forgetful()"), (pk.Sequential([Forgetful(2)]), "Sequential([Forgetful()])")):
        assert f"function = {made}  # made as in your code\n" in lines_of(failure(check_function, function, X[:, :2]))


def test_the_lines_for_a_loss_and_for_a_cell():
    snippet = lines_of(failure(check_gradients, wrong.OfTheMean("mean"), X, target=np.flip(X)))
    assert "check_gradients(function, x, target=target)" in snippet
    run(snippet.replace("OfTheMean()", "OfTheMean('mean')"))
    snippet = lines_of(failure(check_gradients, wrong.WrongInOneInput(), wrong.CELL))
    assert "x = (np.array(" in snippet
    assert "WrongInOneInput.x[1][1][" in str(run(snippet))
