"""Learn XOR, "one or the other but not both": a linear model cannot, and a net with one hidden layer can.

    python demos/xor.py

However a straight line is laid, it leaves a corner of the square on the wrong side, so the best that a linear model can say
is "1/2" everywhere: its loss stays at log 2 = 0.693. Hidden units bend the plane first.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from command_line import finish, run

from pancake import Adam, BinaryCrossEntropy, Sigmoid, Tanh, accuracy, datasets, mlp, plot_decision_boundary, predict

OUTPUT = Path("pictures", "xor.png")


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
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1)
    for ax, color, (name, model) in zip(axes, ("0.6", "black"), models.items(), strict=False):
        print(f"{name}, {model.num_parameters} parameters")
        losses = train(model, X, y, epochs, lr)
        names = ["0: both or none", "1: one or the other"]
        drawn = plot_decision_boundary(model, X, y, ax=ax, class_names=names)
        entries = drawn.artists["legend"].legend_handles
        drawn.artists["legend"].remove()
        ax.set(title=f"{name}: {ax.get_title()}", xlabel="first input", ylabel="second input")
        axes[2].plot(range(1, epochs + 1), losses, label=name, color=color, linewidth=2)
    axes[2].set(xlabel="epoch", ylabel="binary cross-entropy", title="the training", ylim=(0, None))
    axes[2].legend()
    figure.legend(handles=entries, loc="outside lower center", ncols=2)

    finish(figure, output, show)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        epochs="steps, each on all 200 points",
        hidden="units in the hidden layer",
        lr="learning rate",
        seed="of the points and the initial weights",
    )
