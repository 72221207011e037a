"""A net on microcontrollers, by pancake and by emlearn: bytes of flash, milliseconds, and how many digits are read.

    pip install emlearn scikit-learn
    python benchmarks/in_c.py

The net is the same one, 64-32-10 as scikit-learn has trained it on digits, and so are program, compiler and options:
demos/boards/main.c, on the simulated boards of demos/microcontroller.py. On an AVR, emlearn's weights are in memory and not in
flash, and 2 KB do not hold them.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import pancake as pk

sys.path.insert(0, str(Path(__file__).parent.parent / "demos"))
import microcontroller

STRICT = microcontroller.STRICT

ADAPTER = """
#include "emlearn_net.h"
#define NET_INPUTS 64
#define NET_OUTPUTS 10
static void net_predict(const float *x, float *y) {
  for (int k = 0; k < NET_OUTPUTS; k++) {
    y[k] = 0.0f;
  }
  y[emlearn_net_predict(x, NET_INPUTS)] = 1.0f;
}
"""


def with_pancake(estimator, folder, pictures, weights):
    """The estimator's net, by pancake."""
    layers = []
    for weight, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        layers += [pk.Linear(*weight.shape), pk.ReLU()]
        layers[-2].weight, layers[-2].bias = weight.T, bias
    microcontroller.write(folder, pk.Sequential(layers[:-1]), pictures, weights)


def with_emlearn(estimator, folder, pictures):
    """The estimator, by emlearn, under the names that main.c calls."""
    import emlearn

    with_pancake(estimator, folder, pictures, "float32")  # for the pictures and the program
    emlearn.convert(estimator, method="inline", dtype="float").save(file=str(Path(folder) / "emlearn_net.h"), name="emlearn_net")
    (Path(folder) / "net.h").write_text(ADAPTER)
    # its headers are no C99 by the letter
    microcontroller.STRICT = ["-std=gnu99", "-I", emlearn.includedir]


def measured(write, board, pictures, digits):
    """Bytes, milliseconds and the share of digits that are read, as words."""
    with tempfile.TemporaryDirectory() as folder:
        microcontroller.STRICT = STRICT
        write(folder, pictures)
        try:
            size = microcontroller.build(folder, board)
        except subprocess.CalledProcessError:  # the linker has said why
            return ["does not fit", "-", "-"]
        said, times = microcontroller.simulate(folder, board)
    return [f"{size:,}", f"{times.mean():.0f}" if times.any() else "-", f"{(said == digits).mean():.1%}"]


def main(pictures=20, seed=0):
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    data = load_digits()
    learnt, new = np.split(np.random.default_rng(seed).permutation(len(data.data)), [1400])
    estimator = MLPClassifier((32,), learning_rate_init=0.005, max_iter=300, random_state=seed)
    estimator.fit(data.data[learnt] / 16, data.target[learnt])
    ways = {
        "pancake, float32": lambda folder, some: with_pancake(estimator, folder, some, "float32"),
        "pancake, int8": lambda folder, some: with_pancake(estimator, folder, some, "int8"),
        "emlearn, float32": lambda folder, some: with_emlearn(estimator, folder, some),
    }
    print("| board | | flash, bytes | a picture, ms | right |", "| --- | --- | --- | --- | --- |", sep="\n")
    for board in microcontroller.BOARDS:
        if not microcontroller.there(board):
            print(f"{board} is left out: its compiler or simulator is not installed", file=sys.stderr)
            continue
        some = new if board == "this computer" else new[:pictures]
        for name, write in ways.items():
            cells = measured(write, board, data.data[some].astype(np.uint8), data.target[some])
            print(f"| {' | '.join([board, name, *cells])} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20, help="how many the boards read")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the net")
    for package in ("sklearn", "emlearn"):
        if importlib.util.find_spec(package) is None:
            parser.error(f"needs {package}: pip install emlearn scikit-learn")
    main(**vars(parser.parse_args()))
