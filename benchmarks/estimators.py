"""Estimators side by side: the scores of pancake's, scikit-learn's and torch's nets on real data, and the time of their `fit`.

    python benchmarks/estimators.py                        a table, and benchmarks/estimators.png
    python benchmarks/estimators.py --data wine --splits 20

All have scikit-learn's defaults: one hidden layer of 100 units, ReLU, Adam, batches of 200, and the rule that ends a training
before 200 epochs. torch is a loop written as in its tutorials; skorch, if it is installed, is its estimator around the same net.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from run import caption_of, environment, positive, write_into

HERE = Path(__file__).parent
OUTPUT = HERE / "estimators.png"
START = "<!-- benchmarks/estimators.py writes from here -->"
PEERS = {"scikit-learn": "sklearn", "torch": "torch", "skorch": "skorch"}
COLOURS = {"pancake": "tab:orange", "scikit-learn": "tab:green", "torch": "tab:red", "skorch": "tab:purple"}


def load(name):
    """Scaled features, targets (scaled too if they are numbers), and whether they are classes."""
    from sklearn import datasets
    from sklearn.preprocessing import scale

    if name == "made":
        X, y = datasets.make_classification(20_000, 30, n_informative=15, random_state=0)
    else:
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    classes = name != "diabetes"
    return scale(X).astype(np.float64), y if classes else scale(y), classes


DATA = {"breast_cancer": "breast cancer", "wine": "wine", "digits": "digits", "diabetes": "diabetes", "made": "made"}


class WithTorch:
    """The same net, penalty and stopping rule, as a loop."""

    def __init__(self, classes, seed):
        self.classes, self.seed = classes, seed

    def net(self, n_in, n_out):
        import torch

        torch.manual_seed(self.seed)
        return torch.nn.Sequential(torch.nn.Linear(n_in, 100), torch.nn.ReLU(), torch.nn.Linear(100, n_out)).double()

    def fit(self, X, y):
        import torch

        X, y = torch.tensor(X), torch.tensor(y)
        outputs = int(y.max()) + 1 if self.classes else 1
        y = y if self.classes else y[:, None]
        self.model = self.net(X.shape[1], outputs)
        loss_of = torch.nn.CrossEntropyLoss() if self.classes else lambda pred, y: ((pred - y) ** 2).mean() / 2
        optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        weights = [p for p in self.model.parameters() if p.ndim == 2]
        best, waited, size = np.inf, 0, min(200, len(X))
        for _ in range(200):
            total, order = 0.0, torch.randperm(len(X))
            for start in range(0, len(X), size):
                rows = order[start : start + size]
                optimizer.zero_grad()
                loss = loss_of(self.model(X[rows]), y[rows])
                loss = loss + 0.5e-4 * sum((w * w).sum() for w in weights) / len(rows)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            waited = waited + 1 if total / len(X) > best - 1e-4 else 0
            best = min(best, total / len(X))
            if waited > 10:
                break
        return self

    def predict(self, X):
        import torch

        with torch.no_grad():
            z = self.model(torch.tensor(X)).numpy()
        return z.argmax(axis=1) if self.classes else z[:, 0]


def estimator(library, classes, seed):
    if library == "torch":
        return WithTorch(classes, seed)
    if library == "skorch":
        return with_skorch(classes, seed)
    module = importlib.import_module("pancake.sklearn" if library == "pancake" else "sklearn.neural_network")
    return (module.MLPClassifier if classes else module.MLPRegressor)(random_state=seed)


def with_skorch(classes, seed):
    import skorch
    import torch

    class Fitted:
        def fit(self, X, y):
            outputs = int(y.max()) + 1 if classes else 1
            net = WithTorch(classes, seed).net(X.shape[1], outputs)
            kind = skorch.NeuralNetClassifier if classes else skorch.NeuralNetRegressor
            loss = {"criterion": torch.nn.CrossEntropyLoss} if classes else {}
            stop = skorch.callbacks.EarlyStopping("train_loss", patience=10, threshold=1e-4, threshold_mode="abs")
            options = {"optimizer": torch.optim.Adam, "lr": 1e-3, "batch_size": 200, "max_epochs": 200, "train_split": None}
            self.model = kind(net, **loss, **options, callbacks=[stop], verbose=0, iterator_train__shuffle=True)
            self.model.fit(X, y if classes else y[:, None])
            return self

        def predict(self, X):
            predicted = self.model.predict(X)
            return predicted if classes else predicted[:, 0]

    return Fitted()


def measure(name, libraries, splits):
    """Scores and seconds of each library, a row for each split. The libraries take turns, and so does who is first."""
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

    X, y, classes = load(name)
    cut = (StratifiedShuffleSplit if classes else ShuffleSplit)(splits, test_size=0.25, random_state=0)
    score_of = accuracy_score if classes else r2_score
    scores, seconds = (np.empty((splits, len(libraries))) for _ in range(2))
    for library in libraries:  # what is loaded or compiled when it is first used is not what is measured
        estimator(library, classes, 0).fit(X[:50], y[:50])
    for i, (train, test) in enumerate(cut.split(X, y)):
        for j in np.roll(np.arange(len(libraries)), i):
            model = estimator(libraries[j], classes, i)
            start = time.perf_counter()
            model.fit(X[train], y[train])
            seconds[i, j] = time.perf_counter() - start
            scores[i, j] = score_of(y[test], model.predict(X[test]))
        print(f"  {name}: split {i + 1} of {splits}", file=sys.stderr)
    return X.shape, classes, scores, seconds


def standard_error(values):
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))


def table(results, libraries):
    """The results as Markdown."""
    heads = ["data", "", *libraries, *(f"{name}, time" for name in libraries)]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    reference = libraries.index("scikit-learn")
    for name, ((n, width), classes, scores, seconds) in results.items():
        cells = [f"{DATA[name]}, {n:,} x {width}", "accuracy" if classes else "R2"]
        for mean, error in zip(scores.mean(axis=0), standard_error(scores), strict=True):
            cells.append(f"{mean:.4f} ± {error:.4f}")
        for j in range(len(libraries)):
            low, middle, high = np.quantile(seconds[:, j] / seconds[:, reference], [0.25, 0.5, 0.75])
            own = f"{np.median(seconds[:, j]):.2f} s"
            cells.append(own if j == reference else f"{middle:.2f} ({low:.2f} to {high:.2f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(results, libraries, output):
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 1.2 + 0.7 * len(results)), sharey=True, layout="constrained")
    places = np.arange(len(results))
    reference = libraries.index("scikit-learn")
    for j, library in enumerate(libraries):
        style = {"linestyle": "none", "marker": "o", "color": COLOURS[library], "label": library}
        shifted = places + 0.16 * (j - (len(libraries) - 1) / 2)
        better = [scores[:, j] - scores[:, reference] for _, _, scores, _ in results.values()]
        left.errorbar([row.mean() for row in better], shifted, xerr=[standard_error(row) for row in better], **style)
        ratios = [seconds[:, j] / seconds[:, reference] for *_, seconds in results.values()]
        low, middle, high = np.array([np.quantile(ratio, [0.25, 0.5, 0.75]) for ratio in ratios]).T
        right.errorbar(middle, shifted, xerr=[middle - low, high - middle], **style)
    labels = [
        f"{DATA[name]}\n{'accuracy' if classes else 'R2'} {scores[:, reference].mean():.3f}"
        for name, (_, classes, scores, _) in results.items()
    ]
    left.set_yticks(places, labels)
    left.axvline(0, color="0.6")
    left.set(xlabel="score, less scikit-learn's on the same split (right is better)", ylim=(len(results) - 0.5, -0.5))
    right.set(xlabel="time of fit, relative to scikit-learn's (left is faster)", xscale="log")
    right.axvline(0.5, color="0.6", linestyle="dotted")
    right.axvline(1, color="0.6")
    ticks = [0.2, 0.5, 1, 2, 5]
    right.set_xticks(ticks, map(str, ticks))
    right.minorticks_off()
    for ax in (left, right):
        ax.grid(axis="x", color="0.92")
        ax.set_axisbelow(True)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(libraries), frameon=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    plt.close(figure)


def parse(command):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="what to learn")
    parser.add_argument("--splits", type=positive, default=5, help="into rows to learn from and rows to test with, 3 to 1")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file for the picture: .png, .pdf or .svg")
    parser.add_argument("--page", type=Path, help="Markdown page to put the table into")
    options = parser.parse_args(command)
    if options.splits < 2:
        parser.error("expected --splits of at least 2, to tell how far scores scatter")
    if options.output.suffix not in {".png", ".pdf", ".svg"}:
        parser.error(f"expected --output to end in .png, .pdf or .svg, got {options.output}")
    if importlib.util.find_spec("sklearn") is None:
        parser.error('the estimators need scikit-learn: pip install "pancake-nn[sklearn]"')
    return options


def main(command):
    options = parse(command)
    warnings.simplefilter("ignore")  # that 200 epochs were not enough is the same for all
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    libraries = ["pancake", *(name for name, module in PEERS.items() if importlib.util.find_spec(module) is not None)]
    results = {name: measure(name, libraries, options.splits) for name in options.data}
    text = (
        table(results, libraries)
        + "\n\n"
        + caption_of(
            f"Mean and standard error of the scores of {options.splits} splits; median and quartiles of the time of `fit`, "
            "divided by scikit-learn's on the same split, one thread.",
            ["scikit-learn", *libraries],
            "python benchmarks/estimators.py",
            command,
        )
    )
    draw(results, libraries, options.output)
    if options.page:
        write_into(options.page, text, START)
    print(text)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # which has to be said before NumPy is loaded
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment(1)).returncode)
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (OSError, ValueError) as error:
        sys.exit(f"estimators.py: {error}")
