"""Five optimizers race: down a curved valley, and through the training of a net.

    python demos/optimizers.py

The valley is Rosenbrock's function, (1 - a)^2 + 100 (b - a^2)^2: easy to enter, hard to follow to its end at (1, 1). The net
learns two spirals. A race is only fair if everybody runs at a pace of their own: on each course each optimizer gets the
learning rate, of the eleven in RATES, with which it ends lowest.
"""

import argparse
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from pancake import SGD, Adagrad, Adam, BinaryCrossEntropy, Function, RMSprop, Tanh, datasets, mlp

OUTPUT = Path(__file__).parent / "gallery" / "optimizers.png"
RATES = [3, 1, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5]
RACERS = {"SGD": SGD, "SGD, momentum": partial(SGD, momentum=0.9), "Adagrad": Adagrad, "RMSprop": RMSprop, "Adam": Adam}
COLORS = dict(zip(RACERS, ["#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00"], strict=True))


class Valley(Function):
    """Rosenbrock's function at the point p (2,), which is its parameter; the input is not looked at."""

    def __init__(self):
        self.p, self.grad_p = np.array([-1.5, 2.0]), np.zeros(2)

    def compute_forward(self, x):
        a, b = self.p
        return (1 - a) ** 2 + 100 * (b - a * a) ** 2

    def compute_backward(self, dObj_dOut):
        a, b = self.p
        self.grad_p += dObj_dOut * np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
        return np.zeros(())


def run_down(make_optimizer, lr, steps):
    """The height before each step, and after the last; the points (steps + 1, 2)."""
    valley, heights, points = Valley(), [], []
    optimizer = make_optimizer(valley, lr)
    for _ in range(steps + 1):
        heights.append(valley(0.0))
        points.append(valley.p.copy())
        optimizer.zero_grad()
        valley.compute_backward(1.0)
        optimizer.step()
    return np.array(heights), np.array(points)


def learn_spirals(make_optimizer, lr, steps, seed):
    """The loss before each step, and after the last."""
    X, y = datasets.spirals(200, noise=0.03, turns=1, rng=seed)
    model, loss = mlp([2, 32, 32, 1], activation=Tanh, rng=seed), BinaryCrossEntropy(from_logits=True)
    optimizer, losses = make_optimizer(model, lr), []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        losses.append(loss(model(X), y[:, np.newaxis]))
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
    return np.array(losses)


def best(course, make_optimizer, *arguments):
    """The learning rate with which the course ends lowest, and what the course then returns."""
    runs = {lr: course(make_optimizer, lr, *arguments) for lr in RATES}
    ends = {lr: (run[0] if isinstance(run, tuple) else run)[-1] for lr, run in runs.items()}
    lr = min(ends, key=lambda lr: ends[lr] if np.isfinite(ends[lr]) else np.inf)
    return lr, runs[lr]


def main(epochs=500, seed=0, output=OUTPUT, show=False):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    a, b = np.meshgrid(np.linspace(-2, 2, 300), np.linspace(-1, 3, 300))
    heights = (1 - a) ** 2 + 100 * (b - a * a) ** 2
    left.contourf(a, b, np.log10(heights + 1e-3), levels=20, cmap="Greys", alpha=0.6)
    print(f"{'':14}  Rosenbrock's valley          two spirals")
    for name, make_optimizer in RACERS.items():
        color = COLORS[name]
        with np.errstate(all="ignore"):  # some of the learning rates are too large
            lr, (heights, points) = best(run_down, make_optimizer, epochs)
            net_lr, losses = best(learn_spirals, make_optimizer, epochs, seed)
        print(f"{name:14}  lr {lr:<6g} height {heights[-1]:.1e}   lr {net_lr:<6g} loss {losses[-1]:.1e}")
        left.plot(*points.T, color=color, linewidth=1.5, label=name)
        left.plot(*points[-1], "o", color=color, markeredgecolor="black", zorder=3)
        middle.semilogy(heights, color=color, label=f"{name}, lr {lr:g}")
        right.semilogy(losses, color=color, label=f"{name}, lr {net_lr:g}")
    left.plot(1, 1, "*", color="black", ms=14)
    left.set(xlim=(-2, 2), ylim=(-1, 3), xlabel="a", ylabel="b", title=f"{epochs} steps down Rosenbrock's valley to the star")
    middle.set(xlabel="step", ylabel="height above the minimum", title="Rosenbrock's valley")
    right.set(xlabel="step", ylabel="binary cross-entropy", title="a net of 2-32-32-1 learns two spirals")
    middle.legend(fontsize="small")
    right.legend(fontsize="small")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)
    print(f"wrote {output}")
    if show:
        plt.show()
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=500, help="steps, on each course")
    parser.add_argument("--seed", type=int, default=0, help="of the spirals and the initial weights")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file for the picture: .png, .pdf or .svg")
    parser.add_argument("--show", action="store_true", help="open a window as well")
    options = parser.parse_args()
    if options.epochs < 1 or options.seed < 0 or options.output.suffix not in {".png", ".pdf", ".svg"}:
        parser.error("expected --epochs of at least 1, --seed of at least 0 and --output in .png, .pdf or .svg")
    try:
        main(**vars(options))
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except OSError as error:
        parser.error(str(error))
