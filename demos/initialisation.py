"""What a deep net puts out before it has learnt anything: the activations by depth, for five ways to draw the weights.

    python demos/initialisation.py

Ten layers of 100 units see 200 random inputs. Weights that are too small let the signal fade from layer to layer, weights that
are too large drive it into saturation (tanh) or let it explode (ReLU); the schemes of Glorot and He keep it alive, each for the
activation it was derived for. The gradients on their way back have the same fate, and so has the training: the last column
shows five such nets learning the sign of the product of two inputs, each with the same steps of SGD.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from pancake import SGD, CrossEntropy, ReLU, Tanh, gradient_norms, mlp, predict

OUTPUT = Path(__file__).parent / "gallery" / "initialisation.png"
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
    figure, axes = plt.subplots(2, len(SCHEMES) + 2, figsize=(19, 6.4), layout="constrained")
    for row, activation in zip(axes, (Tanh, ReLU), strict=True):
        name = activation.__name__
        print(f"{name}: standard deviation after layers 1, 5 and 10; gradient norm of layers 1 and 10; loss after {epochs} steps")
        *panels, gradients, losses = row
        for ax, (scheme, init), color in zip(panels, SCHEMES.items(), COLORS, strict=True):
            with np.errstate(all="ignore"):  # that nets explode is the point
                model = mlp([WIDTH] * (DEPTH + 1) + [2], activation=activation, init=init, rng=seed)
                outputs = activations(model, x)
                norms = first_gradients(model, x, y)
                curve = learn(model, x, y, epochs)
            widths = [output.std() for output in outputs]
            print(
                f"  {scheme:14}"
                + "".join(f"{widths[i]:10.2g}" for i in (0, 4, 9))
                + f"{norms[0]:12.2g}{norms[-2]:10.2g}{curve[-1]:10.3f}"
            )
            low, high = (-1, 1) if activation is Tanh else (0, 3)
            counts = [np.histogram(output[output != 0].clip(low, high), 40, (low, high))[0] for output in outputs]
            counts = [count / max(count.max(), 1) for count in counts]  # of a ReLU, what is not 0
            ax.imshow(np.sqrt(counts).T, origin="lower", aspect="auto", extent=(0.5, DEPTH + 0.5, low, high), cmap="magma")
            ax.set(title=f"{name}, {scheme}", xticks=range(1, DEPTH + 1, 3))
            gradients.semilogy(range(1, DEPTH + 2), norms, "o-", ms=3, color=color, label=scheme)
            losses.plot(curve, color=color, label=scheme)
        panels[0].set_ylabel("activation")
        gradients.set(title="first gradient norm", xticks=range(1, DEPTH + 2, 3))
        losses.set(title="loss in training", ylim=(0, 1.2))
        losses.legend(fontsize="x-small")
    for ax in axes[1, :-1]:
        ax.set_xlabel("layer")
    axes[1, -1].set_xlabel("step")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=90)
    print(f"wrote {output}")
    if show:
        plt.show()
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=150, help="steps of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs and the initial weights")
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
