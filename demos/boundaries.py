"""Train a net on a toy set of your choice and draw the boundaries between its classes.

    python demos/boundaries.py
    python demos/boundaries.py circles --hidden 8 --activation ReLU
    python demos/boundaries.py checkerboard --hidden 64 64 64 --epochs 2000

Seven of ten points train the net, the others test it.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from command_line import finish, run

import pancake
from pancake import CrossEntropy, accuracy, datasets, mlp, plot_decision_boundary, plot_history, predict
from pancake.functions import activations, piecewise_linear
from pancake.optimizers import rules

OUTPUT = Path("pictures", "boundaries.png")


def exported(module, base):
    """The classes that a module of pancake defines and the package exports, by name."""
    classes = {name: thing for name, thing in vars(module).items() if name in pancake.__all__ and isinstance(thing, type)}
    return {name: c for name, c in classes.items() if c.__module__ == module.__name__ and issubclass(c, base) and c is not base}


DATASETS = {name: getattr(datasets, name) for name in datasets.__all__}
ACTIVATIONS = exported(activations, pancake.Function) | exported(piecewise_linear, pancake.Function)
OPTIMIZERS = exported(rules, pancake.Optimizer)


def main(
    dataset="spirals",
    n=400,
    noise=None,
    hidden=(64, 64),
    activation="Tanh",
    optimizer="Adam",
    lr=0.01,
    epochs=600,
    seed=0,
    output=OUTPUT,
    show=False,
):
    X, y = DATASETS[dataset](n, rng=seed, **({} if noise is None else {"noise": noise}))
    cut = round(0.7 * n)
    X_train, y_train, X_test, y_test = X[:cut], y[:cut], X[cut:], y[cut:]

    sizes = [2, *hidden, int(y.max()) + 1]
    model = mlp(sizes, activation=ACTIVATIONS[activation], rng=seed)
    loss = CrossEntropy()
    optimizer = OPTIMIZERS[optimizer](model, lr=lr)
    name = f"{dataset}: {'-'.join(map(str, sizes))}, {activation}, {type(optimizer).__name__}"
    print(f"{name}, {model.num_parameters} parameters")

    history = {key: [] for key in ("loss", "val_loss", "accuracy", "val_accuracy")}
    for epoch in range(1, epochs + 1):
        optimizer.zero_grad()
        loss(model(X_train), y_train)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()

        for prefix, X, y in (("", X_train, y_train), ("val_", X_test, y_test)):
            scores = predict(model, X)
            history[f"{prefix}loss"].append(loss(scores, y))
            history[f"{prefix}accuracy"].append(accuracy(scores, y))
        if epoch % max(epochs // 10, 1) == 0:
            print(f"epoch {epoch:5}: " + ", ".join(f"{key} {values[-1]:.4f}" for key, values in history.items()))

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    plot_decision_boundary(model, X_train, y_train, X_test=X_test, y_test=y_test, ax=left)
    plot_history(history, ax=right)
    figure.suptitle(name)
    finish(figure, output, show)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=lambda options: f"expected --n of at least 10, got {options.n}" if options.n < 10 else None,
        dataset={"positional": {"nargs": "?", "choices": DATASETS}, "help": "the toy set"},
        n="number of points; 30%% of them test the net",
        noise={"type": float, "help": "standard deviation of the points' error; without it the set's own"},
        hidden={"metavar": "UNITS", "help": "of each hidden layer"},
        activation={"choices": ACTIVATIONS, "help": "after each hidden layer"},
        optimizer={"choices": OPTIMIZERS, "help": "SGD wants a larger --lr, such as 0.3"},
        lr="learning rate",
        epochs="steps, each on all points",
        seed="of the points and the initial weights",
    )
