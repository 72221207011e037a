"""What stands before the methods of classes: from the moment these are made, whatever has been loaded by then."""

from __future__ import annotations

import subprocess
import sys

import pytest

FIRST = """
import numpy as np, pancake as pk
x, y, words = np.ones((4, 3)), np.ones((4, 2)), np.array([[0, 1], [2, 0]])
texts = np.ones((2, 5, 3))
mlp = lambda: pk.mlp([3, 5, 2], rng=0)
rnn = lambda: pk.Unrolled(pk.RNNCell(3, 2))
def train_step():
    model = mlp()
    return pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
calls = []
def exchange(cls, name):
    before = getattr(cls, name)
    def mine(self, *args, **kwargs):
        calls.append(name)
        return before(self, *args, **kwargs)
    setattr(cls, name, mine)
"""


def printed(code: str) -> str:
    """What a fresh interpreter prints that runs this code."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", FIRST + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# What somebody exchanges right after the import, when no program has been made and what makes them is not loaded; then two first
# runs, and how often what was put there is called.
EXCHANGED = {
    "exchange(pk.Linear, 'compute_forward'); m = mlp(); m(x); m(x)": 4,
    "exchange(pk.ReLU, 'compute_forward'); m = mlp(); m(x); m(x)": 2,
    "exchange(pk.RNNCell, 'compute_forward'); m = pk.Sequential([rnn()]); m(texts); m(texts)": 10,
    "exchange(pk.RNNCell, 'compute_forward'); m = rnn(); m(texts); m(texts)": 10,
    "exchange(pk.Unrolled, 'compute_forward'); m = pk.Sequential([rnn()]); m(texts); m(texts)": 2,
    "exchange(pk.Embedding, 'compute_forward'); m = pk.Sequential([pk.Embedding(3, 3), rnn()]); m(words); m(words)": 2,
    "exchange(pk.Sequential, 'compute_forward'); step = train_step(); step(x, y); step(x, y)": 2,
    "exchange(pk.MeanSquaredError, 'compute_backward'); step = train_step(); step(x, y); step(x, y)": 2,
    "exchange(pk.SGD, 'step'); step = train_step(); step(x, y); step(x, y)": 2,
    "exchange(pk.Optimizer, 'zero_grad'); step = train_step(); step(x, y); step(x, y)": 2,
}


@pytest.mark.parametrize("code", EXCHANGED)
def test_a_method_that_is_exchanged_before_the_first_program(code: str) -> None:
    assert printed(f"{code}; print(len(calls))") == str(EXCHANGED[code])


@pytest.mark.parametrize("code", EXCHANGED)
def test_what_is_noted_when_a_class_is_made_is_what_tells(code: str) -> None:
    noted = "from pancake.fast.methods import MADE, STEPPING\n"
    later = (
        "; MADE.update({key: getattr(*key) for key in MADE}); STEPPING.update({name: getattr(pk.SGD, name) for name in STEPPING})"
    )
    code = code.replace(")", f"){later}", 1)
    assert int(printed(f"{noted}{code}; print(len(calls))")) < EXCHANGED[code.replace(later, "")]


def test_a_class_that_is_loaded_by_its_module_is_met_too() -> None:
    code = """
from pancake.recurrent.cells import RNNCell
from pancake.recurrent.unrolled import Unrolled
unrolled = Unrolled(RNNCell(3, 2))
unrolled(texts)
from pancake.fast import sequences
print(sequences.latest(unrolled) is not None, unrolled.compute_backward(np.ones((2, 5, 2))).shape)
"""
    assert printed(code) == "True (2, 5, 3)"


def test_a_class_of_the_same_name_is_not_mistaken() -> None:
    code = """
class Unrolled(pk.Function):
    cell = pk.RNNCell(3, 2)
    def compute_forward(self, x): return 2 * x
    def compute_backward(self, d): return 2 * d
class Sequential(pk.Sequential): pass
class Huber(pk.Loss):
    def compute_forward(self, pred, target, weight=None): return 7.0
    def compute_backward(self): return 7.0
print(Sequential([pk.Linear(3, 3), Unrolled()])(x).shape, pk.Sequential([Unrolled()])(x)[0, 0], Huber()(x, x))
"""
    assert printed(code) == "(4, 3) 2.0 7.0"


def test_only_what_is_needed_is_loaded() -> None:
    code = """
import sys
loaded = lambda: {name for name in sys.modules if name.startswith(("pancake.fast.", "pancake.recurrent"))}
print(*sorted(loaded()))
step = train_step()
step(x, y)
rare = ("cells", "sequences", "embeddings", "pages", "normalization", "softmax", "dropout")
print(*sorted(name for name in sys.modules if name.startswith("pancake") and ("recurrent" in name or name.endswith(rare))))
model = pk.mlp([3, 5, 2], output=pk.Softmax, rng=0)
pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))(x, y)
print(*sorted(name for name in sys.modules if name.startswith("pancake") and name.endswith(rare)))
"""
    lines = printed(code).splitlines()
    assert lines[0] == "pancake.fast.left pancake.fast.methods pancake.fast.switch"
    assert lines[1:] == ["", "pancake.fast.normalization pancake.functions.softmax"]
