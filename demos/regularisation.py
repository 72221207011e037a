"""Overfitting, and three things to do about it, side by side: dropout, weight decay, early stopping.

    python demos/regularisation.py

A net of 17,000 weights learns two noisy moons from 60 points. Left alone it learns the noise: the loss on points to train with
goes to 0, and that on new points rises. Dropout and decay hold it back; early stopping gives back the weights with which the
loss on the validation points was lowest. All four see the same points, and are measured with 4,000 that none has seen.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from command_line import finish, run

from pancake import (
    AdamW,
    CrossEntropy,
    Dropout,
    EarlyStopping,
    Linear,
    Sequential,
    Tanh,
    accuracy,
    datasets,
    evaluate,
    fit,
    plot_decision_boundary,
)

OUTPUT = Path("pictures", "regularisation.png")
NOISE = 0.35
CASES = {
    "left alone": {},
    "dropout of 50 %": {"dropout": 0.5},
    "weight decay of 3": {"weight_decay": 3.0},
    "early stopping": {"patience": 40},
}


def learn(data, validation, epochs, seed, dropout=0.0, weight_decay=0.0, patience=None):
    """The model, its history, and the epoch whose weights it has."""
    layers = [Linear(2, 128, rng=seed), Tanh(), Linear(128, 128, rng=seed + 1), Tanh(), Linear(128, 2, rng=seed + 2)]
    if dropout:
        layers[4:4] = [Dropout(dropout, rng=seed)]
        layers[2:2] = [Dropout(dropout, rng=seed + 1)]
    model = Sequential(layers)

    def tell(state):
        if state.epoch % max(epochs // 4, 1) == 0:
            losses = state.history["loss"][-1], state.history["val_loss"][-1]
            print(f"  epoch {state.epoch:4}: loss {losses[0]:.4f}, on validation points {losses[1]:.4f}")

    stopping = None if patience is None else EarlyStopping("val_loss", patience)
    options = {"validation": validation, "early_stopping": stopping, "callbacks": [tell], "rng": seed, "progress": False}
    optimizer = AdamW(model, lr=3e-3, weight_decay=weight_decay)
    history = fit(model, CrossEntropy(), optimizer, *data, epochs=epochs, **options)
    if history.interrupted:
        raise KeyboardInterrupt
    kept = history.epochs if stopping is None else stopping.best_epoch
    print(f"  {history.epochs} epochs; the weights are those of epoch {kept}")
    return model, history, kept


def main(epochs=600, seed=0, output=OUTPUT, show=False):
    data, validation, test = (datasets.moons(n, noise=NOISE, rng=seed + i) for i, n in enumerate((60, 60, 4000)))
    figure, axes = plt.subplots(2, 4, figsize=(16, 7.6), layout="constrained", sharey="row")
    for (above, below), (name, options) in zip(axes.T, CASES.items(), strict=True):
        print(name)
        model, history, kept = learn(data, validation, epochs, seed, **options)
        measured = evaluate(model, CrossEntropy(), *test, metrics={"accuracy": accuracy})
        print(f"  on 4,000 new points: loss {measured['loss']:.3f}, accuracy {measured['accuracy']:.1%}")
        plot_decision_boundary(model, *data, ax=above, class_names=["upper moon", "lower moon"], legend=above is axes[0, 0])
        above.set_title(f"{name}\n{above.get_title()}, on new points {measured['accuracy']:.1%}")
        numbers = range(1, history.epochs + 1)
        below.semilogy(numbers, history["loss"], color="#0072B2", label="points to train with")
        below.semilogy(numbers, history["val_loss"], color="#D55E00", label="validation points")
        below.axvline(kept, color="0.5", linestyle=":", label=f"weights kept: epoch {kept}")
        below.axhline(measured["loss"], color="black", linewidth=0.8, label=f"new points: {measured['loss']:.3f}")
        below.set(xlabel="epoch", xlim=(0, 1.04 * epochs))  # the line of the last epoch is seen beside the frame
        below.legend(fontsize="small", loc="lower left")
    axes[0, 0].legend(loc="lower left", fontsize="small")  # in place of the one beside it
    for ax in axes[0, 1:]:
        ax.set_ylabel("")
    axes[1, 0].set_ylabel("cross-entropy")
    finish(figure, output, show, dpi=90)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        epochs="passes through the 60 points, at most",
        seed="of the points, the weights, dropout and the order",
    )
