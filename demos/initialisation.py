"""What a deep net puts out before it has learnt anything, layer by layer, for five ways to draw the weights.

    python demos/initialisation.py

Ten layers of 100 units see 200 random inputs. Weights that are too small let the signal fade from layer to layer, weights that
are too large drive it into saturation (tanh) or let it explode (ReLU); the schemes of Glorot and He keep it alive, each for the
activation it was derived for. The gradients on their way back have the same fate, and so has the training: the last column
shows five such nets learning the sign of the product of two inputs, each with the same steps of SGD.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import SGD, CrossEntropy, ReLU, Tanh, gradient_norms, mlp, predict

OUTPUT = Path("pictures", "initialisation.png")
DEPTH, WIDTH, EXAMPLES = 10, 100, 200
SCHEMES = {
    "N(0, 0.01²)": lambda n_in, n_out, rng: rng.normal(0, 0.01, (n_out, n_in)),
    "N(0, 1)": lambda n_in, n_out, rng: rng.normal(0, 1, (n_out, n_in)),
    "glorot_normal": "glorot_normal",
    "he_normal": "he_normal",
    "orthogonal": "orthogonal",
}
COLORS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"]


def activations(model, x):
    """What each hidden layer puts out, first to last."""
    outputs = [x]
    for function in model:
        outputs.append(predict(function, outputs[-1]))
    return outputs[2:-1:2]  # those of the activations


def first_gradients(model, x, y):
    """The gradient norm of each layer for the first batch."""
    loss = CrossEntropy()
    loss(model(x), y)
    model.accumulate_grads(loss.compute_backward())
    return np.array(list(gradient_norms(model).values()))


def learn(model, x, y, epochs):
    """The loss before each step; nan from where it is no longer finite."""
    loss, optimizer = CrossEntropy(), SGD(model, lr=0.02, momentum=0.9)
    losses = np.full(epochs, np.nan)
    for epoch in range(epochs):
        optimizer.zero_grad()
        scores = model(x)
        if not np.isfinite(scores).all():
            break
        losses[epoch] = loss(scores, y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
    return losses


def main(epochs=150, seed=0, output=OUTPUT, show=False):
    x = np.random.default_rng(seed).normal(size=(EXAMPLES, WIDTH))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12)
    for row, activation in zip(axes, (Tanh, ReLU), strict=True):
        name = activation.__name__
        print(f"{name}: standard deviation after layers 1, 5 and 10; gradient norm of layers 1 and 10; loss after {epochs} steps")
        signals, gradients, losses = row
        for (scheme, init), color in zip(SCHEMES.items(), COLORS, strict=True):
            with np.errstate(all="ignore"):  # that nets explode is the point
                model = mlp([WIDTH] * (DEPTH + 1) + [2], activation=activation, init=init, rng=seed)
                widths = [output.std() for output in activations(model, x)]
                norms = first_gradients(model, x, y)
                curve = learn(model, x, y, epochs)
            print(
                f"  {scheme:14}"
                + "".join(f"{widths[i]:10.2g}" for i in (0, 4, 9))
                + f"{norms[0]:12.2g}{norms[-2]:10.2g}{curve[-1]:10.3f}"
            )
            signals.semilogy(range(1, DEPTH + 1), widths, "o-", ms=4, color=color, label=scheme)
            gradients.semilogy(range(1, DEPTH + 2), norms, "o-", ms=4, color=color, label=scheme)
            lost = f"{scheme}: not finite from step {np.isfinite(curve).sum()} on" if np.isnan(curve[-1]) else None
            losses.plot(curve, color=color, label=lost)
        signals.set(title=f"{name}: what the layers put out", ylabel="standard deviation", ylim=(1e-13, 1e11))
        gradients.set(title=f"{name}: the first gradient", ylabel="norm", ylim=(1e-13, 1e11))
        losses.set(title=f"{name}: the training", ylabel="loss", xlabel="step", ylim=(0, 1.2))
        for ax in (signals, gradients):
            ax.set(xlabel="layer", xticks=range(1, DEPTH + 2, 3))
            ax.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
        if losses.get_legend_handles_labels()[1]:
            losses.legend(fontsize="small", loc="upper right")
    axes[0, 0].legend(fontsize="small", loc="upper left", ncols=2)
    finish(figure, output, show, dpi=90)


if __name__ == "__main__":
    run(main, __doc__, epochs="steps of each training", seed="of the inputs and the initial weights")
