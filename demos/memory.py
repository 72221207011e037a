"""See gradients vanish, and what cells with gates do about it.

    python demos/memory.py

The adding problem: a net reads pairs of numbers, the first random, the second 1 in two places and 0 elsewhere, and is to say the
sum of the two numbers that are marked. Who always says 1 has a mean squared error of 1/6. The error at the end of the sequence
must tell the first steps what to do. Before training, the gradient that arrives there shrinks with every step on the way in
all three cells; the LSTM and the GRU learn to keep it alive, and with it what they have read. (For 80 steps the LSTM needs
longer training than the default to get below 1/6.)
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import Adam, GRUCell, Linear, LSTMCell, MeanSquaredError, RNNCell, Sequential, Unrolled, clip_grad_norm, predict

OUTPUT = Path("pictures", "memory.png")
CELLS = {"RNN": RNNCell, "LSTM": LSTMCell, "GRU": GRUCell}
COLORS = {"RNN": "tab:red", "LSTM": "tab:blue", "GRU": "tab:green"}
BATCHES = 10  # of an epoch


def make_sums(n, length, rng):
    """Sequences (n, length, 2), one mark in each half, and their sums (n, 1)."""
    x = np.zeros((n, length, 2))
    x[:, :, 0] = rng.random((n, length))
    rows = np.arange(n)
    first, second = rng.integers(0, length // 2, n), rng.integers(length // 2, length, n)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return x, (x[rows, first, 0] + x[rows, second, 0])[:, np.newaxis]


def gradient_norms(model, loss, x, y):
    """The norm of the gradient of the input at each step, on average over the sequences."""
    loss(model(x), y)
    return np.sqrt((model.compute_backward(loss.compute_backward()) ** 2).sum(axis=2)).mean(axis=0)


def learn(name, length, epochs, hidden, seed):
    """The error on new sequences after training, and the gradient norms before and after."""
    rng = np.random.default_rng(seed)
    cell = CELLS[name](2, hidden, rng=rng)
    model = Sequential([Unrolled(cell, return_sequences=False), Linear(hidden, 1, init="he_normal", rng=rng)])
    loss, optimizer = MeanSquaredError(), Adam(model, lr=5e-3)
    x_test, y_test = make_sums(500, length, rng)
    before = gradient_norms(model, loss, x_test[:100], y_test[:100])
    for step in range(epochs * BATCHES):
        x, y = make_sums(50, length, rng)
        optimizer.lr = 5e-3 * (1 - 0.9 * step / (epochs * BATCHES))
        optimizer.zero_grad()
        loss(model(x), y)
        model.accumulate_grads(loss.compute_backward())
        clip_grad_norm(model, 1.0)
        optimizer.step()
    error = loss(predict(model, x_test), y_test)
    return error, before, gradient_norms(model, loss, x_test[:100], y_test[:100])


def main(epochs=120, lengths=(10, 20, 40, 80), hidden=32, seed=0, output=OUTPUT, show=False):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    print(f"mean squared error on new sequences; {1 / 6:.4f} for who knows nothing")
    print("  length   " + "".join(f"{name:>9}" for name in CELLS))
    errors, norms = {name: [] for name in CELLS}, {name: [] for name in CELLS}
    lengths = sorted(lengths)
    for length in lengths:
        print(f"  {length:6}   ", end="")
        for name in CELLS:
            error, *norms[name] = learn(name, length, epochs, hidden, seed)  # of the norms the last are kept: the longest
            errors[name].append(error)
            print(f"{error:9.4f}", end="", flush=True)
        print()

    back = np.arange(length)  # steps before the last
    print(f"gradient of the first of {length} steps, as a share of that of the last: before and after training")
    for name in CELLS:
        before, after = norms[name]
        print(f"  {name:4}  {before[0] / before[-1]:8.1e}  {after[0] / after[-1]:8.1e}")
        color = COLORS[name]
        left.semilogy(back, after[::-1] / after[-1], color=color, linewidth=2, label=f"{name}, after training")
        left.semilogy(back, before[::-1] / before[-1], ":", color=color, linewidth=1.2, label=f"{name}, before")
        right.semilogy(lengths, errors[name], "o-", color=color, label=name)
    left.set(xlabel="steps before the end", ylabel="gradient norm, last step = 1", ylim=(1e-6, 5))
    left.set_title(f"the gradient that arrives, {length} steps")
    right.axhline(1 / 6, color="0.5", linestyle=":", label="always saying the mean, 1")
    right.set(xlabel="length of the sequence", ylabel="mean squared error", title="the adding problem", ylim=(None, 2))
    failed = {name: [str(n) for n, error in zip(lengths, errors[name], strict=True) if error > 0.9 / 6] for name in CELLS}
    if any(failed.values()):
        text = [f"{name}, of {', '.join(steps)} steps" for name, steps in failed.items() if steps]
        text = "\n".join([f"nothing is learnt in {epochs} epochs:", *text])
        right.text(0.98, 0.97, text, ha="right", va="top", transform=right.transAxes, fontsize="small")
    left.legend(fontsize="small", loc="center right", bbox_to_anchor=(1, 0.4))
    right.legend(fontsize="small", loc="upper left", ncols=2)

    finish(figure, output, show, dpi=120)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=lambda options: None if min(options.lengths, default=0) > 1 else "expected --lengths of at least 2",
        epochs=f"of {BATCHES} batches each",
        lengths={"metavar": "STEPS", "help": "of the sequences"},
        hidden="units of each cell",
        seed="of the sequences and the initial weights",
    )
