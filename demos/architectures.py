"""Compare six nets on two spirals, from too few units to far too many: what does depth do, and what does width.

    python demos/architectures.py

All see the same 200 points for the same number of steps. Each title tells the accuracy on them and on 2000 fresh points, the
number of parameters, and how long the training took.
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt

from pancake import Adam, CrossEntropy, Tanh, accuracy, datasets, mlp, plot_decision_boundary, predict

OUTPUT = Path(__file__).parent / "gallery" / "architectures.png"
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
        plot_decision_boundary(model, X, y, ax=ax, legend=False)
        ax.set_title(
            f"{name}: {sizes}\naccuracy: train {right[0]:.1%}, test {right[1]:.1%}\n"
            f"{model.num_parameters:,} parameters, {seconds:.1f} s"
        )
        ax.label_outer()
        print(f"  accuracy: train {right[0]:.1%}, test {right[1]:.1%}; {seconds:.1f} s")

    Path(output).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)
    print(f"wrote {output}")
    if show:
        plt.show()
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1500, help="steps for each net, each on all 200 points")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate")
    parser.add_argument("--noise", type=float, default=0.05, help="standard deviation of the points' error")
    parser.add_argument("--seed", type=int, default=0, help="of the points and the initial weights")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file for the picture: .png, .pdf or .svg")
    parser.add_argument("--show", action="store_true", help="open a window as well")
    options = parser.parse_args()
    if options.epochs < 1 or min(options.noise, options.seed) < 0 or not 0 < options.lr < float("inf"):
        parser.error("expected --epochs of at least 1, --noise and --seed of at least 0 and --lr of more than 0")
    if options.output.suffix not in {".png", ".pdf", ".svg"}:
        parser.error(f"expected --output to end in .png, .pdf or .svg, got {options.output}")
    try:
        main(**vars(options))
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except OSError as error:
        parser.error(str(error))
