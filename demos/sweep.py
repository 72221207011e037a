"""Try 60 nets on handwritten digits, and see which learning rate, width and penalty they like.

    python demos/sweep.py
    python demos/sweep.py --jobs 2
    python demos/sweep.py --backend dask --jobs 2

The grid search is scikit-learn's, with pancake's estimators: each of the 60 is trained three times on two thirds of the pictures
and tested on the other third. Its fits go to the processes that joblib starts, or to those of a Dask cluster
(pip install "dask[distributed]"); what comes out is the same, bit for bit. docs/sweeps.md says what that costs, and which line
makes it a cluster of many machines.
"""

import contextlib
import importlib.util
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

OUTPUT = Path("pictures", "sweep.png")
GRID = {
    "learning_rate_init": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
    "hidden_layer_sizes": [(8,), (32,), (128,), (64, 64)],
    "alpha": [1e-4, 1e-1, 1.0],
}
NEEDED = {
    "sklearn": "the pictures of digits and the grid search are scikit-learn's: pip install scikit-learn",
    "distributed": '--backend dask needs Dask: pip install "dask[distributed]"',
}


@contextlib.contextmanager
def processes(backend, jobs):
    """Let joblib use so many processes of the backend."""
    import joblib

    if backend == "loky":
        with joblib.parallel_config(backend="loky", n_jobs=jobs):
            yield
        return
    import dask
    from dask.distributed import Client, LocalCluster

    quiet = {"distributed.worker.profile.enabled": False}  # which would take as long as small fits
    with (
        dask.config.set(quiet),
        LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        yield


def draw(results, output, show):
    """For each penalty the scores over learning rate and width."""
    rates, widths, penalties = GRID.values()
    figure, panels = plt.subplots(1, len(penalties), figsize=(13, 5), layout="constrained", sharey=True)
    scores = {key(parameters): score for parameters, score in zip(results["params"], results["mean_test_score"], strict=True)}
    best = max(scores, key=scores.get)
    low = float(np.quantile(list(scores.values()), 0.2))  # so that the good ones are told apart; what is lower is black
    colors = plt.get_cmap("viridis").with_extremes(under="black")
    for ax, alpha in zip(panels, penalties, strict=True):
        table = np.array([[scores[rate, width, alpha] for rate in rates] for width in widths])
        image = ax.imshow(table, cmap=colors, vmin=low, vmax=scores[best], aspect="auto")
        for (row, column), score in np.ndenumerate(table):
            marked = (rates[column], widths[row], alpha) == best
            color = "white" if score < (low + scores[best]) / 2 else "black"
            weight = "bold" if marked else "normal"
            ax.text(column, row, f"{score:.1%}", ha="center", va="center", color=color, fontsize="small", weight=weight)
            if marked:
                ax.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=3))
        ax.set(title=f"alpha {alpha:g}", xlabel="learning rate", xticks=range(len(rates)), yticks=range(len(widths)))
        ax.set_xticklabels([f"{rate:g}" for rate in rates])
    panels[0].set_yticklabels(["-".join(map(str, width)) for width in widths])
    panels[0].set_ylabel("hidden units")
    figure.colorbar(image, ax=panels, label="digits right, of those held out", format="{x:.0%}", extend="min")
    figure.suptitle(f"{len(scores)} nets on 1,797 digits; the best has a frame")
    finish(figure, output, show)


def key(parameters):
    """What is tried, in the order of the grid."""
    return tuple(parameters[name] for name in GRID)


def main(epochs=25, seed=0, jobs=1, backend="loky", output=OUTPUT, show=False):
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    from pancake.sklearn import MLPClassifier

    X, y = load_digits(return_X_y=True)
    net = MLPClassifier(max_iter=epochs, n_iter_no_change=epochs, batch_size=64, random_state=seed)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    search = GridSearchCV(net, GRID, cv=folds, refit=False)
    tried = np.prod([len(values) for values in GRID.values()])
    places = f"{jobs} process{'es' if jobs > 1 else ''} by {backend}"
    print(f"{tried} nets, {folds.get_n_splits()} fits of {epochs} epochs each; {places}")
    with processes(backend, jobs), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # each has its epochs, and no more
        start = time.perf_counter()
        search.fit(X / 16, y)
        print(f"{time.perf_counter() - start:.1f} s")
    results = search.cv_results_
    order = np.argsort(results["rank_test_score"], kind="stable")
    for place in [*order[:3], order[-1]]:
        rate, width, alpha = key(results["params"][place])
        score, spread = results["mean_test_score"][place], results["std_test_score"][place]
        print(f"{score:6.1%} ± {spread:.1%}  learning rate {rate:g}, hidden {'-'.join(map(str, width))}, alpha {alpha:g}")
    draw(results, output, show)


def check(options):
    """What is missing, or None."""
    if options.backend not in ("loky", "dask"):
        return f"expected --backend to be loky or dask, got {options.backend}"
    needed = ["sklearn", *(["distributed"] if options.backend == "dask" else [])]
    return next((NEEDED[name] for name in needed if importlib.util.find_spec(name) is None), None)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=check,
        epochs="of each training",
        seed="of the folds, the initial weights and the order of the pictures",
        jobs="processes",
        backend="whose processes: loky or dask",
    )
