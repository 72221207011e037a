"""What is timed: nets, their data and their first parameters, the same for every library.

Only NumPy is imported here, since the time that a process takes to start is measured as well.
"""

import math
from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """One net with one size of batch, to be trained or, as "predict", to be asked."""

    name: str
    kind: str  # "mlp", "rnn", "lstm", "lenet", "gpt" or "predict"
    # units of each layer, the input first; of a recurrent net: words, features of a word, hidden units, outputs; of a LeNet: rows
    # of an image, channels of two convolutions, units of each layer after them; of a GPT: words, features, heads, layers, outputs
    sizes: tuple
    batch: int
    dtype: str = "float32"
    activation: str = "relu"  # between the layers of a stack
    optimizer: str = "adam"
    lr: float = 1e-3
    length: int = 0  # time steps of a sequence

    def __str__(self):
        net = "-".join(map(str, self.sizes))
        if self.kind == "predict":
            return f"predict {net}, {self.batch} row{'s' if self.batch > 1 else ''}, {self.dtype}"
        steps = f" x {self.length} steps" if self.length else ""
        kinds = {"mlp": self.activation, "rnn": "RNN", "lstm": "LSTM", "lenet": "LeNet", "gpt": "GPT"}
        kind = f"{kinds[self.kind]} {net}"
        return f"{kind}, batch {self.batch}{steps}, {'SGD' if self.optimizer == 'sgd' else 'Adam'}, {self.dtype}"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", "mlp", (2, 10, 10, 1), 4, dtype="float64", optimizer="sgd", lr=0.1),
        Workload("W2", "mlp", (2, 10, 10, 1), 4, dtype="float64", lr=1e-2),
        Workload("W3", "mlp", (2, 64, 64, 2), 32, activation="tanh"),
        Workload("W4", "mlp", (64, 128, 64, 10), 64),
        Workload("W5", "mlp", (784, 256, 128, 10), 128),
        Workload("W6", "mlp", (1024, 2048, 2048, 10), 512, optimizer="sgd", lr=1e-2),
        Workload("W7", "rnn", (64, 64, 64, 64), 32, length=32),
        Workload("W8", "lstm", (64, 64, 128, 64), 32, length=32),
        Workload("W9 grid", "predict", (2, 64, 64, 1), 51 * 51, dtype="float64", activation="tanh"),
        Workload("W9 point", "predict", (2, 64, 64, 1), 1, dtype="float64", activation="tanh"),
    )
}

# No loop is written by hand for these; beside_torch.py times them.
BESIDE_TORCH = {
    workload.name: workload
    for workload in (
        Workload("LeNet", "lenet", (28, 6, 16, 120, 84, 10), 64),
        Workload("GPT", "gpt", (96, 64, 4, 3, 96), 16, length=64),
    )
}

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam


def binary(workload):
    """Whether the loss is the binary cross-entropy of one logit, or else the cross-entropy of several."""
    return workload.sizes[-1] == 1


def initial(workload):
    """The first parameters, by the names and in the shapes that a stack of pancake gives them: weights are (O, I)."""
    rng = np.random.default_rng(0)

    def uniform(fan, *shape):
        return rng.uniform(-1 / math.sqrt(fan), 1 / math.sqrt(fan), shape).astype(workload.dtype)

    if workload.kind in ("mlp", "predict"):
        state = {}
        for i, (n_in, n_out) in enumerate(zip(workload.sizes, workload.sizes[1:], strict=False)):
            state[f"{2 * i}.weight"] = uniform(n_in, n_out, n_in)  # 2 i: between two layers stands the activation
            state[f"{2 * i}.bias"] = uniform(n_in, n_out)
        return state
    if workload.kind == "lenet":
        _, first, second, *units = workload.sizes
        units = [flat(workload), *units]
        layers = list(zip(units[1:], units, strict=False))
        places = [0, 3, *range(7, 7 + 2 * len(layers), 2)]  # in the stack, of what has parameters
        state = {}
        for i, shape in zip(places, [(first, 1, 5, 5), (second, first, 5, 5), *layers], strict=True):
            state[f"{i}.weight"] = uniform(math.prod(shape[1:]), *shape)
            state[f"{i}.bias"] = uniform(math.prod(shape[1:]), shape[0])
        return state
    if workload.kind == "gpt":
        words, n, _, layers, outputs = workload.sizes
        state = {"0.weight": uniform(1, words, n), "1.weight": uniform(1, workload.length, n)}

        def norm(place):
            state[f"{place}.weight"], state[f"{place}.bias"] = 1 + uniform(n, n), uniform(n, n)

        def linear(place, n_in, n_out, name=".weight"):
            state[place + name] = uniform(n_in, n_out, n_in)
            state[place + name.replace("weight", "bias")] = uniform(n_in, n_out)

        for i in range(2, 2 + 2 * layers, 2):
            norm(f"{i}.f.0")
            linear(f"{i}.f.1", n, 3 * n, ".in_proj_weight")
            linear(f"{i}.f.1.out_proj", n, n)
            norm(f"{i + 1}.f.0")
            linear(f"{i + 1}.f.1", n, 4 * n)
            linear(f"{i + 1}.f.3", 4 * n, n)
        norm(2 + 2 * layers)
        linear(f"{3 + 2 * layers}", n, outputs)
        return state
    words, features, hidden, outputs = workload.sizes
    gates = 4 if workload.kind == "lstm" else 1
    return {
        "0.weight": uniform(1, words, features),
        "1.cell.weight_ih": uniform(hidden, gates * hidden, features),
        "1.cell.weight_hh": uniform(hidden, gates * hidden, hidden),
        "1.cell.bias_ih": uniform(hidden, gates * hidden),
        "1.cell.bias_hh": uniform(hidden, gates * hidden),
        "2.weight": uniform(hidden, outputs, hidden),
        "2.bias": uniform(hidden, outputs),
    }


def flat(workload):
    """The numbers of an image after both convolutions of a LeNet, each followed by a pooling of 2 x 2."""
    rows, _, channels, *_ = workload.sizes
    return channels * ((rows // 2 - 4) // 2) ** 2


def data(workload):
    """One batch of inputs and targets, random: (B, I) or images (B, 1, H, H) and labels, or words (B, T) and labels (B, T)."""
    rng = np.random.default_rng(1)
    shape = (workload.batch, workload.length) if workload.length else (workload.batch,)
    labels = rng.permutation(np.arange(math.prod(shape)) % max(workload.sizes[-1], 2)).reshape(shape)  # every class occurs
    if workload.length:
        return rng.integers(0, workload.sizes[0], shape), labels
    of_example = (1, workload.sizes[0], workload.sizes[0]) if workload.kind == "lenet" else workload.sizes[:1]
    x = rng.normal(size=(workload.batch, *of_example)).astype(workload.dtype)
    return x, labels[:, np.newaxis].astype(workload.dtype) if binary(workload) else labels


class Training:
    """A workload in one library: what `worker.py` drives. A subclass defines `reset` and `step`.

    For a "predict" workload a step is a prediction.
    """

    def reset(self):
        """Go back to the first parameters, and to an optimizer that has made no step."""
        raise NotImplementedError

    def step(self):
        """Make one step and return the objective from before it, or the predictions."""
        raise NotImplementedError

    def run(self, steps):
        """Make so many steps; return when all is computed."""
        step = self.step
        for _ in range(steps):
            step()

    def results(self, steps):
        """What the first steps return, as floats, by which libraries are compared: objectives, or the predictions of one step."""
        self.reset()
        if self.workload.kind == "predict":
            return np.asarray(self.step(), np.float64).ravel().tolist()
        return [float(self.step()) for _ in range(steps)]
