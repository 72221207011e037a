"""How well nets learn from different starts: test scores on real and made sets, and how many ReLU nets die.

    python benchmarks/initialisation.py              # about 10 minutes of one core
    python benchmarks/initialisation.py --quick      # some seconds, to see that it runs; its figures say nothing

Prints Markdown tables. Needs scikit-learn for its data sets. What they decided: docs/initialisation.md.
"""

import argparse
import functools
import itertools
import platform
import shlex
import sys
import time

import numpy as np
from scipy.stats import rankdata
from sklearn import datasets as sets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import pancake as pk
from pancake.initializers import initializer


def uniform(variance):
    """The scheme U(-a, a) whose variance is this function of the numbers of inputs and outputs."""
    return lambda i, o, rng: rng.uniform(-(a := np.sqrt(3 * variance(i, o))), a, (o, i))


torch_weight = uniform(lambda i, o: 1 / (3 * i))  # U(-1/sqrt(I), 1/sqrt(I))
glorot_relu = uniform(lambda i, o: 4 / (i + o))  # Glorot with a gain of sqrt(2)

# Each start: the scheme of the hidden layers, that of the last layer, and a from which biases are U(-a, a).
STARTS = {
    "he_normal": ("he_normal", "he_normal", lambda i, o: 0),
    "torch": (torch_weight, torch_weight, lambda i, o: 1 / np.sqrt(i)),
    "torch, b = 0": (torch_weight, torch_weight, lambda i, o: 0),
    "glorot_uniform": ("glorot_uniform", "glorot_uniform", lambda i, o: 0),
    "scikit-learn": ("glorot_uniform", "glorot_uniform", lambda i, o: np.sqrt(6 / (i + o))),
    "Glorot √2, then 1": (glorot_relu, "glorot_uniform", lambda i, o: 0),
    "He, glorot_uniform": ("he_normal", "glorot_uniform", lambda i, o: 0),
    "He, torch": ("he_normal", torch_weight, lambda i, o: 0),
}


def fixed(load, *args, **kwargs):
    """The same examples for every seed, read or made once."""
    kept = functools.cache(lambda: load(*args, **kwargs))
    return lambda seed: kept()


hard = {"n_informative": 15, "n_redundant": 5, "n_clusters_per_class": 4, "random_state": 0}
DATA = {  # each with the steps of a training, and the units of a hidden layer
    "breast cancer": (fixed(sets.load_breast_cancer, return_X_y=True), 300, 32),
    "wine": (fixed(sets.load_wine, return_X_y=True), 200, 32),
    "digits": (fixed(sets.load_digits, return_X_y=True), 300, 32),
    "diabetes (R²)": (fixed(sets.load_diabetes, return_X_y=True), 300, 32),
    "moons": (lambda seed: pk.datasets.moons(400, noise=0.2, rng=seed), 300, 32),
    "spirals": (lambda seed: pk.datasets.spirals(600, rng=seed), 600, 32),
    "20,000 x 30": (fixed(sets.make_classification, 20_000, 30, **hard), 800, 100),
}


def begin(model, start, rng):
    """Draw the parameters of a stack anew."""
    hidden, last, bound = STARTS[start]
    layers = [layer for layer in model if isinstance(layer, pk.Linear)]
    for layer in layers:
        layer.weight = initializer(last if layer is layers[-1] else hidden)(layer.n_in, layer.n_out, rng)
        a = bound(layer.n_in, layer.n_out)
        layer.bias = rng.uniform(-a, a, layer.n_out)


def learn(model, loss, optimizer, x, y, batch, steps, rng):
    """The bare loop, in full batches, each epoch in another order."""
    for step in range(steps):
        at = step * batch % (len(x) // batch * batch)
        if at == 0:
            order = rng.permutation(len(x))
        rows = order[at : at + batch]
        optimizer.zero_grad()
        loss(model(x[rows]), y[rows])
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()


def score(data, start, depth, activation, seed, steps=None):
    """Accuracy, or R², on the quarter of the examples that was not learnt from; Adam as in scikit-learn's nets."""
    load, usual, width = DATA[data]
    X, y = load(seed)
    regression = "R²" in data
    x, x_test, y, y_test = train_test_split(X, y, random_state=seed, test_size=0.25, stratify=None if regression else y)
    scaler = StandardScaler().fit(x)
    x, x_test = (scaler.transform(part).astype(np.float32) for part in (x, x_test))
    if regression:
        mean, std = y.mean(), y.std()
        y, y_test = (((part - mean) / std)[:, np.newaxis] for part in (y, y_test))
    n_out = 1 if regression else int(y.max()) + 1
    model = pk.mlp([x.shape[1], *[width] * depth, n_out], activation=activation, dtype=np.float32)
    rng = np.random.default_rng(seed)
    begin(model, start, rng)
    loss, batch = pk.MeanSquaredError() if regression else pk.CrossEntropy(), min(200, len(x))
    learn(model, loss, pk.Adam(model, lr=1e-3, weight_decay=1e-4 / batch), x, y, batch, steps or usual, rng)
    return (pk.r2_score if regression else pk.accuracy)(pk.predict(model, x_test), y_test)


def dies(data, start, seed, steps=200):
    """Whether a net 2-10-10-1, ReLU, summed loss, SGD in batches of 4, ends with the same output for all inputs."""
    X, y = pk.datasets.xor(4, noise=0) if data == "XOR" else pk.datasets.moons(100, rng=seed)
    model = pk.mlp([2, 10, 10, 1])
    rng = np.random.default_rng(seed)
    begin(model, start, rng)
    with np.errstate(all="ignore"):  # some explode
        learn(model, pk.MeanSquaredError(reduction="sum"), pk.SGD(model, lr=0.1), X, y[:, np.newaxis], 4, steps, rng)
        return not np.ptp(pk.predict(model, X)) > 1e-9  # nan is dead as well


def measure(seeds, nets, depths, steps=None):
    """{(data, activation, depth): scores (starts, seeds)}, {data: dead (starts, nets)}."""
    scores = {}
    for data, activation, depth in itertools.product(DATA, (pk.ReLU, pk.Tanh), depths):
        if data == "20,000 x 30" and depth > 1:
            continue  # takes too long
        print(data, activation.__name__, depth, file=sys.stderr)
        table = [[score(data, start, depth, activation, seed, steps) for seed in range(seeds)] for start in STARTS]
        scores[data, activation.__name__, depth] = np.array(table)
    return scores, {
        data: np.array([[dies(data, start, seed) for seed in range(nets)] for start in STARTS]) for data in ("XOR", "moons")
    }


def over(tables, *values):
    """The mean (starts, seeds) of the tables whose key has these values, each data set counting the same."""
    chosen = {key: table for key, table in tables.items() if set(values) <= set(key)}
    names = dict.fromkeys(data for data, *_ in chosen)
    return np.mean([np.mean([t for key, t in chosen.items() if key[0] == data], axis=0) for data in names], axis=0)


def figures(table, digits=3):
    """Mean and standard error for each start."""
    errors = table.std(axis=1, ddof=1) / np.sqrt(table.shape[1])
    return [f"{mean:.{digits}f} ± {error:.{digits}f}" for mean, error in zip(table.mean(axis=1), errors, strict=True)]


def markdown(columns):
    rows = [["start", *columns], ["---"] * (len(columns) + 1), *zip(STARTS, *columns.values(), strict=True)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def main(quick=False):
    began = time.perf_counter()
    seeds, nets, depths, steps = (2, 2, (1, 3), 3) if quick else (20, 200, (1, 3, 8), None)
    scores, dead = measure(seeds, nets, depths, steps)
    ranks = {key: rankdata(-table, axis=0) for key, table in scores.items()}  # 1 is the best of the starts
    rank = over(ranks)
    best = rank[rank.mean(axis=1).argmin()]
    print(markdown({data: figures(over(scores, data)) for data in DATA}))
    by_depth = {f"{name}, {d} hidden": figures(over(ranks, name, d), 1) for name in ("ReLU", "Tanh") for d in depths}
    print(markdown({**by_depth, "mean rank": figures(rank, 2), "behind the best": figures(rank - best, 2)}))
    print(markdown({f"dead, {data}": figures(share.astype(float), 2) for data, share in dead.items()}))
    print(
        f"Mean ± standard error of {seeds} seeds, each a split and a start; of {nets} nets in the last table. "
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, numpy "
        f"{np.__version__}, {(time.perf_counter() - began) / 60:.0f} minutes: `{shlex.join(['python', *sys.argv])}`."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and short trainings, to see that it runs")
    main(**vars(parser.parse_args()))
