"""Five optimizers race: down a curved valley, and through the training of a net.

    python demos/optimizers.py

The valley is Rosenbrock's function, (1 - a)^2 + 100 (b - a^2)^2: easy to enter, hard to follow to its end at (1, 1). The net
learns two spirals. A race is only fair if everybody runs at a pace of their own: on each course each optimizer gets the
learning rate, of the eleven in RATES, with which it ends lowest without leaving the picture of the valley.
"""

from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import SGD, Adagrad, Adam, BinaryCrossEntropy, Function, RMSprop, Tanh, datasets, mlp

OUTPUT = Path("pictures", "optimizers.png")
RATES = [3, 1, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5]
RACERS = {"SGD": SGD, "SGD, momentum": partial(SGD, momentum=0.9), "Adagrad": Adagrad, "RMSprop": RMSprop, "Adam": Adam}
MIDDLE = np.array([0.0, 1.0])  # of the picture of the valley, which is 4 wide and 4 high, and its margin
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
    model, loss = mlp([2, 32, 32, 1], activation=Tanh, init="he_normal", rng=seed), BinaryCrossEntropy(from_logits=True)
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

    def end(lr):
        heights, points = runs[lr] if isinstance(runs[lr], tuple) else (runs[lr], np.zeros((1, 2)))
        inside = (np.abs(points - MIDDLE) <= 2).all()  # nan is not
        return heights[-1] if inside and np.isfinite(heights[-1]) else np.inf

    lr = min(RATES, key=end)
    return lr, runs[lr]


def main(epochs=500, seed=0, output=OUTPUT, show=False):
    figure = plt.figure(figsize=(15, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.15])
    panels, (middle, right) = above.subplots(1, len(RACERS), sharex=True, sharey=True), below.subplots(1, 2)
    a, b = np.meshgrid(np.linspace(-2.2, 2.2, 300), np.linspace(-1.2, 3.2, 300))
    heights = (1 - a) ** 2 + 100 * (b - a * a) ** 2
    print(f"{'':14}  Rosenbrock's valley          two spirals")
    for ax, (name, make_optimizer) in zip(panels, RACERS.items(), strict=True):
        color = COLORS[name]
        with np.errstate(all="ignore"):  # some of the learning rates are too large
            lr, (curve, points) = best(run_down, make_optimizer, epochs)
            net_lr, losses = best(learn_spirals, make_optimizer, epochs, seed)
        print(f"{name:14}  lr {lr:<6g} height {curve[-1]:.1e}   lr {net_lr:<6g} loss {losses[-1]:.1e}")
        ax.contourf(a, b, np.log10(heights + 1e-3), levels=20, cmap="Greys", alpha=0.5)
        ax.plot(*points.T, ".-", color=color, linewidth=1.2, ms=3)
        ax.plot(*points[0], "s", color="white", markeredgecolor="black", ms=7, zorder=3, label="start")
        ax.plot(*points[-1], "o", color=color, markeredgecolor="black", ms=8, zorder=4, label=f"after {epochs} steps")
        ax.plot(1, 1, "*", color="black", ms=12, zorder=3, label="the minimum")
        ax.set(xlim=(-2.2, 2.2), ylim=(-1.2, 3.2), title=f"{name}, lr {lr:g}", xlabel="a", aspect="equal")
        middle.semilogy(curve, color=color, label=f"{name}, lr {lr:g}")
        right.semilogy(losses, color=color, label=f"{name}, lr {net_lr:g}")
    panels[0].set_ylabel("b")
    panels[0].legend(fontsize="small", loc="lower left")
    middle.set(xlabel="step", ylabel="height above the minimum", title="Rosenbrock's valley")
    right.set(xlabel="step", ylabel="binary cross-entropy", title="a net of 2-32-32-1 learns two spirals")
    middle.legend(fontsize="small")
    right.legend(fontsize="small")
    finish(figure, output, show)


if __name__ == "__main__":
    run(main, __doc__, epochs="steps, on each course", seed="of the spirals and the initial weights")
