"""What it costs to send the fits of a sweep to other processes: the 180 of demos/sweep.py, by each of joblib's backends.

python benchmarks/sweeps.py
python benchmarks/sweeps.py --jobs 4 --epochs 100 --page docs/sweeps.md
"""

import argparse
import contextlib
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from run import caption_of, positive, write_into

START = "<!-- benchmarks/sweeps.py writes from here -->"
GRID = {
    "learning_rate_init": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
    "hidden_layer_sizes": [(8,), (32,), (128,), (64, 64)],
    "alpha": [1e-4, 1e-1, 1.0],
}


@contextlib.contextmanager
def dask_processes(jobs, profile):
    """Let joblib send its calls to a Dask cluster of so many processes."""
    import dask
    import joblib
    from dask.distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.worker.profile.enabled": profile}),
        LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        yield


@contextlib.contextmanager
def loky_processes(jobs):
    import joblib

    with joblib.parallel_config(backend="loky", n_jobs=jobs):
        yield


def worked():
    """The processor seconds of this process and of those that it has started."""
    import psutil  # which Dask brings along

    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (me, *me.children(recursive=True)))


def search(epochs):
    """The scores of a sweep, the seconds that it takes, and those of all processors together."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV

    from pancake.sklearn import MLPClassifier

    X, y = load_digits(return_X_y=True)
    net = MLPClassifier(max_iter=epochs, n_iter_no_change=epochs, batch_size=64, random_state=0)
    start, before = time.perf_counter(), worked()
    scores = GridSearchCV(net, GRID, cv=3, refit=False).fit(X / 16, y).cv_results_["mean_test_score"]
    return scores, time.perf_counter() - start, worked() - before


def main(jobs=2, epochs=25, page=None, command=()):
    ways = {
        "one process": contextlib.nullcontext(),
        f"loky, {jobs} processes": loky_processes(jobs),
        f"Dask, {jobs} processes, as it comes": dask_processes(jobs, profile=True),
        f"Dask, {jobs} processes, without profiling": dask_processes(jobs, profile=False),
    }
    lines, expected = ["| 180 fits | seconds | of processors, together |", "| --- | --- | --- |"], None
    for name, way in ways.items():
        with way:
            search(1)  # the processes start, and import what they need
            scores, seconds, together = search(epochs)
        expected = scores if expected is None else expected
        if not np.array_equal(scores, expected):
            raise ValueError(f"{name}: other scores than in one process")
        lines.append(f"| {name} | {seconds:.1f} | {together:.1f} |")
        print(lines[-1], file=sys.stderr)
    what = f"{epochs} epochs of 19 steps each; the processes had started. All have the same scores, bit for bit."
    text = (
        "\n".join(lines) + "\n\n" + caption_of(what, ["pancake", "scikit-learn", "dask"], "python benchmarks/sweeps.py", command)
    )
    print(text)
    if page is not None:
        write_into(page, text, START)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    parser.add_argument("--epochs", type=positive, default=25, help="of each fit")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table into this page, where its comments say")
    options = parser.parse_args()
    if options.page and not options.page.exists():
        parser.error(f"--page: there is no {options.page}")
    warnings.simplefilter("ignore")
    try:
        main(**vars(options), command=sys.argv[1:])
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except (ImportError, ValueError) as error:
        parser.exit(1, f"sweeps.py: {error}\n")
