"""Learn XOR, "one or the other but not both": a linear model cannot, and a net with one hidden layer can.

    python demos/xor.py

However a straight line is laid, it leaves a corner of the square on the wrong side, so the best that a linear model can say
is "1/2" everywhere: its loss stays at log 2 = 0.693. Hidden units bend the plane first.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

from pancake import Adam, BinaryCrossEntropy, Sigmoid, Tanh, accuracy, datasets, mlp, plot_decision_boundary, predict

OUTPUT = Path(__file__).parent / "gallery" / "xor.png"


def train(model, X, y, epochs, lr):
    """The loss before each step."""
    loss = BinaryCrossEntropy()
    optimizer = Adam(model, lr=lr)
    target = y[:, None].astype(float)  # (N, 1), like the output
    losses = []
    for epoch in range(1, epochs + 1):
        optimizer.zero_grad()
        objective = loss(model(X), target)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()

        losses.append(objective)
        if epoch % max(epochs // 5, 1) == 0:
            print(f"  epoch {epoch:4}: loss {objective:.4f}, accuracy {accuracy(predict(model, X), y):.1%}")
    return losses


def main(epochs=500, hidden=4, lr=0.03, seed=0, output=OUTPUT, show=False):
    X, y = datasets.xor(200, noise=0.12, rng=seed)
    models = {
        "linear model": mlp([2, 1], output=Sigmoid, rng=seed),
        f"{hidden} hidden units": mlp([2, hidden, 1], activation=Tanh, output=Sigmoid, rng=seed),
    }
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for ax, color, (name, model) in zip(axes, ("0.6", "black"), models.items(), strict=False):
        print(f"{name}, {model.num_parameters} parameters")
        losses = train(model, X, y, epochs, lr)
        plot_decision_boundary(model, X, y, ax=ax, legend=False)
        ax.set(title=f"{name}: {ax.get_title()}", xlabel="first input", ylabel="second input")
        axes[2].plot(range(1, epochs + 1), losses, label=name, color=color, linewidth=2)
    axes[2].set(xlabel="epoch", ylabel="loss", title="binary cross-entropy", ylim=(0, None))
    axes[2].legend()

    Path(output).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)
    print(f"wrote {output}")
    if show:
        plt.show()
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=500, help="steps, each on all 200 points")
    parser.add_argument("--hidden", type=int, default=4, help="units in the hidden layer")
    parser.add_argument("--lr", type=float, default=0.03, help="learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of the points and the initial weights")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file for the picture: .png, .pdf or .svg")
    parser.add_argument("--show", action="store_true", help="open a window as well")
    options = parser.parse_args()
    if min(options.epochs, options.hidden) < 1 or options.seed < 0 or not 0 < options.lr < float("inf"):
        parser.error("expected --epochs and --hidden of at least 1, --seed of at least 0 and --lr of more than 0")
    if options.output.suffix not in {".png", ".pdf", ".svg"}:
        parser.error(f"expected --output to end in .png, .pdf or .svg, got {options.output}")
    try:
        main(**vars(options))
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except OSError as error:
        parser.error(str(error))
