"""Tell three species of penguins apart by their measurements, and draw what two of the measurements tell.

    python demos/penguins.py

One net learns from all four measurements; its accuracy and its confusion table are printed. A second net, for the picture,
learns from bill and flipper length alone: what it knows lies in one plane. A third of the penguins is kept for testing.
Over the seeds 0 to 9 the test accuracy of the first net is 98.9 % on average and 97.4 % at least; of the second, 95.2 %.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import Adam, CrossEntropy, Tanh, accuracy, mlp, plot_decision_boundary, predict

HERE = Path(__file__).parent
OUTPUT = Path("pictures", "penguins.png")
MEASUREMENTS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def load_penguins():
    """The measurements (342, 4), the species as 0, 1, 2 (342,), and their names."""
    with open(HERE / "data" / "penguins.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names, y = np.unique([row["species"] for row in rows], return_inverse=True)
    return np.array([[float(row[name]) for name in MEASUREMENTS] for row in rows]), y, names


def stratified_split(y, share, rng):
    """The indices of the rows to train with and to test with; `share` of each class is for testing."""
    train, test = [], []
    for c in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == c))
        cut = round(share * len(rows))
        test.append(rows[:cut])
        train.append(rows[cut:])
    return np.concatenate(train), np.concatenate(test)


def learn(X, y, train, test, hidden, epochs, lr, rng):
    """A function from measurements, in their own units, to the scores of the species."""
    mean, std = X[train].mean(axis=0), X[train].std(axis=0)
    Z = (X - mean) / std
    model = mlp([X.shape[1], *hidden, y.max() + 1], activation=Tanh, rng=rng)
    loss = CrossEntropy()
    optimizer = Adam(model, lr=lr)
    for epoch in range(1, epochs + 1):
        optimizer.zero_grad()
        objective = loss(model(Z[train]), y[train])
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()

        if epoch % max(epochs // 5, 1) == 0:
            right = [accuracy(predict(model, Z[rows]), y[rows]) for rows in (train, test)]
            print(f"  epoch {epoch:4}: loss {objective:.4f}, accuracy: train {right[0]:.1%}, test {right[1]:.1%}")
    return lambda X: predict(model, (X - mean) / std)


def print_confusion_table(true, predicted, names):
    print("  test penguins, by species (rows) and by what the net takes them for (columns)")
    print(" " * 12 + "".join(f"{name:>11}" for name in names))
    for c, name in enumerate(names):
        counts = np.bincount(predicted[true == c], minlength=len(names))
        print(f"{name:>12}" + "".join(f"{count:11}" for count in counts))


def main(epochs=300, hidden=(16,), lr=0.01, seed=3, output=OUTPUT, show=False):
    rng = np.random.default_rng(seed)
    X, y, names = load_penguins()
    train, test = stratified_split(y, 1 / 3, rng)
    print(f"{len(train)} penguins to train with, {len(test)} to test with")

    print("all four measurements")
    scores = learn(X, y, train, test, hidden, epochs, lr, rng)
    print_confusion_table(y[test], scores(X[test]).argmax(axis=1), names)

    print("bill and flipper length only")
    X = X[:, [0, 2]]
    scores = learn(X, y, train, test, hidden, epochs, lr, rng)

    figure, ax = plt.subplots(figsize=(7.5, 5.5), layout="constrained")
    labels = {"class_names": names, "feature_names": ["bill length (mm)", "flipper length (mm)"]}
    plot_decision_boundary(scores, X[train], y[train], X_test=X[test], y_test=y[test], ax=ax, **labels)
    ax.set_title(f"Penguins by bill and flipper\n{ax.get_title()}")
    finish(figure, output, show)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        epochs="steps, each on all penguins to train with",
        hidden={"metavar": "UNITS", "help": "of each hidden layer"},
        lr="learning rate",
        seed="of the split and the initial weights",
    )
