"""What `fit` does with two threads beside one.

    python benchmarks/two_threads.py
    python benchmarks/two_threads.py --threads 4 --rounds 15 --page docs/how_it_is_fast.md

Each number of threads has a process of its own. The processes take turns, and ratios are those of runs right after one
another. Quartiles that lie far apart say that the same product takes now this long and now that.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from run import caption_of, environment, positive, write_into
from with_pancake import network
from workloads import WORKLOADS, data

import pancake as pk

NAMES = ("W2", "W3", "W4", "W5", "W6", "W7", "W8")
START = "<!-- benchmarks/two_threads.py writes from here -->"
SECONDS = 0.15  # of a run, at least


def fitting(name):
    """A function that trains by `fit` for one epoch of so many batches."""
    workload = WORKLOADS[name]
    model, (x, y) = network(workload), data(workload)
    loss = pk.BinaryCrossEntropy(from_logits=True) if workload.sizes[-1] == 1 else pk.CrossEntropy()
    optimizer = (pk.Adam if workload.optimizer == "adam" else pk.SGD)(model, lr=workload.lr)
    return lambda batches: pk.fit(model, loss, optimizer, [(x, y)] * batches, epochs=1, progress=False)


def here(name):
    """Answer each line of input, a number of batches, by the seconds that they take."""
    fit = fitting(name)
    fit(3)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        fit(int(line))
        print(time.perf_counter() - start, flush=True)


class Process:
    """A process with so many threads that trains one net when it is asked to."""

    def __init__(self, name, threads):
        command = [sys.executable, __file__, "--here", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads)
        )
        self.process.stdout.readline()

    def __call__(self, batches):
        print(batches, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def measured(name, threads, rounds):
    """The median seconds of a step with one thread, and the ratios of the others' time to it."""
    one, many = Process(name, 1), Process(name, threads)
    try:
        batches = max(2, round(10 * SECONDS / one(10)))
        runs = [(one(batches), many(batches)) for _ in range(rounds)]
    finally:
        one.close()
        many.close()
    return statistics.median(run for run, _ in runs) / batches, [other / run for run, other in runs]


def main(threads=2, rounds=9, page=None, name=None, command=()):
    if name is not None:
        here(name)
        return
    lines = [f"| | net | a step, one thread | {threads} threads |", "| --- | --- | --- | --- |"]
    for workload in NAMES:
        seconds, ratios = measured(workload, threads, rounds)
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        took = f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"
        lines.append(f"| {workload} | {WORKLOADS[workload]} | {took} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
        print(f"{lines[-1]}", file=sys.stderr)
    what = (
        f"Time of `fit` with {threads} threads divided by that with one: median and quartiles of {rounds} pairs, "
        f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores."
    )
    text = "\n".join(lines) + "\n\n" + caption_of(what, ["pancake"], "python benchmarks/two_threads.py", command)
    print(text)
    if page is not None:
        write_into(page, text, START)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--threads", type=positive, default=2, help="beside one")
    parser.add_argument("--rounds", type=positive, default=9, help="runs of each")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table into this page, where its comments say")
    parser.add_argument("--here", dest="name", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.page and not options.page.exists():
        parser.error(f"--page: there is no {options.page}")
    try:
        main(**vars(options), command=sys.argv[1:])
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except (OSError, ValueError) as error:
        parser.exit(1, f"two_threads.py: {error}\n")
