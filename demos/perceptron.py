"""Watch a perceptron, one linear layer and a sigmoid, learn the logical AND of two inputs from its four cases.

    python demos/perceptron.py

The picture shows the boundary between "no" and "yes" every 100 epochs: a straight line that turns and shifts until (1, 1)
is alone on its side.
"""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import SGD, BinaryCrossEntropy, Linear, Sequential, Sigmoid, plot_decision_boundary

OUTPUT = Path("pictures", "perceptron.png")


def main(epochs=500, every=100, lr=0.1, seed=1, output=OUTPUT, show=False):
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([[0.0], [0.0], [0.0], [1.0]])

    model = Sequential([Linear(2, 1, rng=seed), Sigmoid()])
    loss = BinaryCrossEntropy()
    optimizer = SGD(model, lr=lr)

    pictures = 1 + epochs // every
    columns = min(3, pictures)
    rows = math.ceil(pictures / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 3.5 * rows), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    free = iter(axes.flat)

    for epoch in range(epochs + 1):
        optimizer.zero_grad()
        objective = loss(model(X), y)
        if epoch % every == 0:  # drawn, and measured, before the step of this epoch
            ax = next(free)
            plot_decision_boundary(
                model,
                X,
                y,
                ax=ax,
                margin=0.4,
                legend=ax is axes[0, -1],
                class_names=["no", "yes"],
                feature_names=["first input", "second input"],
            )
            ax.set_title(f"epoch {epoch}: {ax.get_title()}")
            ax.label_outer()
            print(f"epoch {epoch:4}: loss {objective:.4f}, weight {model[0].weight.round(3)}, bias {model[0].bias.round(3)}")
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()

    for ax in free:
        ax.remove()
    finish(figure, output, show)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        epochs="steps, each on all four points",
        every="epochs from picture to picture",
        lr="learning rate",
        seed="of the initial weights",
    )
