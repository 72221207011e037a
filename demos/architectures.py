"""Compare six nets on two spirals, from too few units to far too many: what does depth do, and what does width.

    python demos/architectures.py

All see the same 200 points for the same number of steps. Each title tells the accuracy on them and on 2000 new points, and
the number of parameters; how long the training took is printed.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
from command_line import finish, run

from pancake import Adam, CrossEntropy, Tanh, accuracy, datasets, mlp, plot_decision_boundary, predict

OUTPUT = Path("pictures", "architectures.png")
ARCHITECTURES = {
    "no hidden layer": [],
    "minimal": [10],
    "shallow and wide": [500],
    "deep and narrow": [8, 8, 8, 8],
    "two layers": [32, 32],
    "over-parameterised": [128, 128, 128],
}


def train(model, X, y, epochs, lr):
    """Train with all points in each step; return the seconds that it took."""
    loss = CrossEntropy()
    optimizer = Adam(model, lr=lr)
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        optimizer.zero_grad()
        objective = loss(model(X), y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()

        if epoch % max(epochs // 3, 1) == 0:
            print(f"  epoch {epoch:5}: loss {objective:.4f}")
    return time.perf_counter() - start


def main(epochs=1500, lr=0.01, noise=0.05, seed=0, output=OUTPUT, show=False):
    X, y = datasets.spirals(200, noise=noise, rng=seed, turns=1.5)
    X_test, y_test = datasets.spirals(2000, noise=noise, rng=seed + 1, turns=1.5)

    figure, axes = plt.subplots(2, 3, figsize=(12, 8.6), sharex=True, sharey=True, layout="constrained")
    for ax, (name, hidden) in zip(axes.flat, ARCHITECTURES.items(), strict=True):
        model = mlp([2, *hidden, 2], activation=Tanh, rng=seed)
        sizes = "-".join(map(str, [2, *hidden, 2]))
        print(f"{name}, {sizes}, {model.num_parameters:,} parameters")
        seconds = train(model, X, y, epochs, lr)
        right = [accuracy(predict(model, A), b) for A, b in ((X, y), (X_test, y_test))]
        drawn = plot_decision_boundary(model, X, y, ax=ax)
        entries = drawn.artists["legend"].legend_handles
        drawn.artists["legend"].remove()
        shares = f"accuracy {right[0]:.1%}, on new points {right[1]:.1%}"
        ax.set_title(f"{name}: {sizes}\n{shares}\n{model.num_parameters:,} parameters")
        ax.label_outer()
        print(f"  accuracy: train {right[0]:.1%}, test {right[1]:.1%}; {seconds:.1f} s")

    figure.legend(handles=entries, loc="outside lower center", ncols=2)
    finish(figure, output, show)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        epochs="steps for each net, each on all 200 points",
        lr="learning rate",
        noise="standard deviation of the points' error",
        seed="of the points and the initial weights",
    )
