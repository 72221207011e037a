"""Train a net in a process that is killed twice, and end with exactly the weights of a process that was not.

    python demos/resume.py
    python demos/resume.py --checkpoint run.npz     press Ctrl-C or kill it, and start it again: it goes on

After each epoch a callback saves model and optimizer into one file, which is replaced in one step. A new process goes on with
the same weights, moments in Adam and place in the schedule, and generators that draw the next masks of dropout and orders.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import Adam, CrossEntropy, Dropout, Linear, Sequential, Tanh, cosine, datasets, fit, load, save

OUTPUT = Path("pictures", "resume.png")
BATCH = 32


def begin(seed):
    rng = np.random.default_rng(seed)
    hidden = [Linear(2, 32, rng=rng), Tanh(), Dropout(0.1, rng=rng), Linear(32, 32, rng=rng), Tanh()]
    model = Sequential([*hidden, Linear(32, 2, rng=rng)])
    return model, Adam(model)


def train(checkpoint, epochs, seed):
    """Begin, or go on where the checkpoint is; the model and the history of the whole training."""
    X, y = datasets.moons(400, noise=0.2, rng=seed)
    steps = -(-len(X) // BATCH)
    try:
        model, optimizer = load(checkpoint) if Path(checkpoint).exists() else begin(seed)
    except ValueError as error:  # it is no such file, or one that something else has spoilt
        sys.exit(f"resume.py: error: {error}")
    done = optimizer.steps // steps
    print(f"  {done} epochs are in {Path(checkpoint).name}")

    def keep(state):
        save(checkpoint, state.model, state.optimizer)
        print(f"  epoch {state.epoch}: loss {state.history['loss'][-1]:.4f}, saved", flush=True)

    if done < epochs:
        options = {"schedule": cosine(0.01, epochs * steps), "callbacks": [keep], "rng": seed, "progress": False}
        fit(model, CrossEntropy(), optimizer, X, y, epochs=epochs - done, batch_size=BATCH, **options)
        if optimizer.history.interrupted:
            raise KeyboardInterrupt
    return model, optimizer.history


def train_and_die(checkpoint, epochs, seed, after):
    """Train in a process of its own, and kill it as soon as it has saved the epoch `after`."""
    command = [sys.executable, __file__, "--checkpoint", str(checkpoint), "--epochs", str(epochs), "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="")
            if line.startswith(f"  epoch {after}:"):
                process.kill()  # the signal of kill -9: no chance to tidy up
                print("  killed")
                break


def draw(losses, resumed, kills, output, show):
    figure, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    epochs = range(1, len(losses) + 1)
    ax.plot(epochs, losses, color="0.75", linewidth=6, label="left alone")
    ax.plot(epochs, resumed, color="black", linewidth=1.5, label="killed and resumed")
    down = {"transform": ax.get_xaxis_transform(), "color": "tab:red", "linestyle": "--", "linewidth": 1}
    ax.vlines(kills, 0, 1, label="killed", **down)
    ax.set(xlabel="epoch", ylabel="loss", title="One training, killed twice", ylim=(0, None))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    finish(figure, output, show, dpi=120)


def main(epochs=20, seed=0, checkpoint=None, output=OUTPUT, show=False):
    if checkpoint is not None:
        train(checkpoint, epochs, seed)
        return
    kills = sorted({max(epochs // 3, 1), max(2 * epochs // 3, 1)})
    with tempfile.TemporaryDirectory() as folder:
        print("a process that is left alone")
        model, history = train(Path(folder, "alone.npz"), epochs, seed)
        print("processes that are killed, and one that finishes")
        for after in kills:
            train_and_die(Path(folder, "killed.npz"), epochs, seed, after)
        resumed, resumed_history = train(Path(folder, "killed.npz"), epochs, seed)

    np.testing.assert_equal((resumed.state_dict(), resumed_history["loss"]), (model.state_dict(), history["loss"]))
    print("weights and losses of both are the same, bit for bit")
    draw(history["loss"], resumed_history["loss"], kills, output, show)


def check(options):
    """What is wrong with the options, or None."""
    if options.checkpoint is not None and options.checkpoint.suffix not in {".npz", ".safetensors"}:
        return f"expected --checkpoint to end in .npz or .safetensors, got {options.checkpoint}"
    return None


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=check,
        epochs="of the whole training",
        seed="of the points, the initial weights, dropout and the order",
        checkpoint={"type": Path, "help": "only train, or go on, with this file (.npz or .safetensors)"},
    )
