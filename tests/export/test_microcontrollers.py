"""Digits on simulated boards: what the cross compilers take without a warning says there what it says here, in so many bytes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.export import to_c

DEMO = Path(__file__).parents[2] / "demos" / "microcontroller.py"
WEIGHTS = ("float32", "int8")
# Of flash, for the whole program with its start and 5 pictures of 64 bytes: weights are 9,640 bytes in float32 and 2,704 in int8.
LARGEST = {
    ("Cortex-M4F", "float32"): 11_500,
    ("Cortex-M4F", "int8"): 4_600,
    ("ATmega328P", "float32"): 12_700,
    ("ATmega328P", "int8"): 5_900,
}


@pytest.fixture(scope="module")
def demo() -> Any:
    sys.path.insert(0, str(DEMO.parent))  # as `python demos/microcontroller.py` does
    spec = importlib.util.spec_from_file_location("microcontroller", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(DEMO.parent))
    return module


@pytest.fixture(scope="module")
def trained() -> Any:
    """A net, and the pictures and digits that it has not seen."""
    datasets = pytest.importorskip("sklearn.datasets", reason="the pictures of digits come with scikit-learn")
    data = datasets.load_digits()
    X, y = data.data.astype(np.uint8), data.target
    order = np.random.default_rng(0).permutation(len(X))
    learnt, new = order[:1400], order[1400:]
    model = pk.mlp([64, 32, 10], activation=pk.ReLU, rng=0)
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model, lr=0.005), X[learnt] / 16, y[learnt], epochs=20, rng=0, progress=False)
    return model, X[new], y[new]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("board", ["Cortex-M4F", "ATmega328P"])
def test_a_board_reads_digits(demo: Any, trained: Any, board: str, weights: str, tmp_path: Path) -> None:
    if not demo.there(board):
        pytest.skip(f"needs {demo.BOARDS[board][0]} and {demo.BOARDS[board][3][0]}")
    model, X, _ = trained
    demo.write(tmp_path, model, X[:5], weights)
    size = demo.build(tmp_path, board)
    print(f"{board}, {weights}: {size} bytes")
    assert size <= LARGEST[board, weights]
    said, milliseconds = demo.simulate(tmp_path, board)
    np.testing.assert_array_equal(said, pk.predict(model, X[:5] / 16).argmax(axis=1))
    if board == "ATmega328P":
        assert (milliseconds > 10).all()  # of a clock that the simulator counts: its processor is an 8-bit one at 16 MHz
        assert (milliseconds < 60).all()


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_accuracy_in_c(demo: Any, trained: Any, weights: str, tmp_path: Path) -> None:
    if not demo.there("this computer"):
        pytest.skip("needs gcc")
    model, X, y = trained
    demo.write(tmp_path, model, X, weights)
    demo.build(tmp_path, "this computer")
    said, _ = demo.simulate(tmp_path, "this computer")
    here = pk.predict(model, X / 16).argmax(axis=1)
    if weights == "float32":
        np.testing.assert_array_equal(said, here)
    assert abs((said == y).mean() - (here == y).mean()) <= 0.01


# Every function of runtime.h, and all kinds of layers, by each compiler.
MODELS = {
    "activations": pk.Sequential(
        [
            *(
                pk.ELU(),
                pk.GELU(),
                pk.GELU("tanh"),
                pk.SiLU(),
                pk.Mish(),
                pk.Softplus(),
                pk.Softsign(),
                pk.SELU(),
                pk.LeakyReLU(),
            ),
            *(pk.PReLU(4), pk.LayerNorm(4), pk.Linear(4, 3, rng=0), pk.BatchNorm(3).eval(), pk.Exp(), pk.Abs(), pk.Power(0.5)),
            *(pk.LogSoftmax(), pk.Residual(pk.Sequential([pk.Tanh(), pk.Linear(3, 3, rng=1)])), pk.Sigmoid(), pk.Softmax()),
        ]
    ).eval(),
    "recurrent": pk.Sequential(
        [
            pk.Embedding(5, 3, rng=0),
            pk.Unrolled(pk.LSTMCell(3, 4, rng=1)),
            pk.Unrolled(pk.GRUCell(4, 3, rng=2)),
            pk.Unrolled(pk.RNNCell(3, 3, rng=3), return_sequences=False),
        ]
    ),
    "images": pk.Sequential(
        [
            *(pk.Reshape((-1, 1, 2, 2)), pk.Conv2d(1, 2, 2, padding=1, rng=0), pk.BatchNorm2d(2).eval(), pk.ReLU()),
            *(pk.MaxPool2d(2), pk.Upsample(2), pk.GroupNorm(2, 2), pk.AvgPool2d(2), pk.Flatten(), pk.Linear(2, 3, rng=1)),
        ]
    ),
    "learning": pk.Sequential([pk.Linear(4, 5, rng=0), pk.GELU(), pk.PReLU(), pk.Linear(5, 3, rng=1)]),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("board", ["Cortex-M4F", "ATmega328P"])
def test_every_compiler_takes_every_header(demo: Any, board: str, name: str, tmp_path: Path) -> None:
    if not demo.there(board):
        pytest.skip(f"needs {demo.BOARDS[board][0]}")
    model = MODELS[name]
    demo.write(tmp_path, pk.mlp([4, 3, 3], rng=0), np.zeros((1, 4), np.uint8), "float32")
    x = np.zeros((1, 6), int) if name == "recurrent" else np.ones((1, 4))
    to_c(model, tmp_path / "other.h", x=x, name="other", training=pk.CrossEntropy() if name == "learning" else None)
    program = (tmp_path / "main.c").read_text()
    calls = {
        "learning": "other_train(x, y, 0.1f);",
        "recurrent": "float state[OTHER_STATE] = {0.0f};\n    other_predict(x, y, state);",
    }
    call = calls.get(name, "other_predict(x, y);")
    program = program.replace('#include "net.h"', '#include "net.h"\n#include "other.h"').replace("net_predict(x, y);", call)
    (tmp_path / "main.c").write_text(program.replace("y[NET_OUTPUTS];", "y[NET_OUTPUTS] = {0.0f};"))
    assert demo.build(tmp_path, board) > 0
