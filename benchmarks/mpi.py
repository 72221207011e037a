"""One model, several processes: a step by one rank and by two, what of it the Allreduce takes, and more machines on paper.

    python benchmarks/mpi.py
    python benchmarks/mpi.py --ranks 1 2 4 --page docs/several_processes.md

Each rank has a core and a batch of its own, so that two ranks do twice the work of one in a step. The machines on paper are as
fast as this core; the model of their network is `allreduce` below.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from run import caption_of, environment, positive, write_into
from with_pancake import build
from workloads import WORKLOADS

NAMES = ("W4", "W5", "W6")
START = "<!-- benchmarks/mpi.py writes from here -->"
MACHINES = (8, 64)

# Seconds until a message arrives, and bytes a second, between two machines.
NETWORKS = {"10 Gbit/s Ethernet": (30e-6, 1.25e9), "100 Gbit/s InfiniBand": (2e-6, 12.5e9)}

# Open MPI refuses to run as root, and more ranks than there are cores, unless it is told.
ALLOWED = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def allreduce(machines, size, latency, bandwidth):
    """Seconds until so many machines have the sum of vectors of so many bytes: the quicker of two ways.

    A ring sends 2 (N - 1) messages of size / N one after the other; recursive doubling log2 N messages of the whole size.
    """
    ring = 2 * (machines - 1) * (latency + size / machines / bandwidth)
    doubling = math.ceil(math.log2(machines)) * (latency + size / bandwidth)
    return min(ring, doubling)


# --- what each rank does ---


class Timed:
    """A communicator that notes how long its ranks were in an Allreduce, waiting for one another included."""

    def __init__(self, comm):
        self.comm, self.seconds = comm, 0.0

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Allreduce(self, *arguments):
        start = time.perf_counter()
        self.comm.Allreduce(*arguments)
        self.seconds += time.perf_counter() - start


def rank(name, seconds):
    """Print the median time of a step, and that of its Allreduce, in seconds, and the bytes that travel."""
    from mpi4py import MPI

    from pancake.mpi import data_parallel

    comm = Timed(MPI.COMM_WORLD)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[comm.Get_rank() % len(cores)]})
    training = build(WORKLOADS[name])
    training.reset()
    data_parallel(training.optimizer, comm)
    training.run(3)
    start = time.perf_counter()
    training.run(3)
    steps = comm.bcast(max(3, round(seconds / 7 / (time.perf_counter() - start) * 3)))
    whole, waited = [], []
    for _ in range(7):
        comm.Barrier()
        comm.seconds, start = 0.0, time.perf_counter()
        training.run(steps)
        whole.append((time.perf_counter() - start) / steps)
        waited.append(comm.seconds / steps)
    if comm.Get_rank() == 0:
        size = sum(array.nbytes for array in training.model.get_params_and_grads()[0])
        print(json.dumps([statistics.median(whole), statistics.median(waited), size]))


# --- what the command does ---


def measured(name, ranks, seconds):
    """What rank 0 of so many prints."""
    beside = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise FileNotFoundError("there is no mpiexec; pip install mpi4py mpich")
    command = [mpiexec, "-n", str(ranks), sys.executable, __file__, "--here", name, "--seconds", str(seconds)]
    done = subprocess.run(command, env={**environment(1), **ALLOWED}, capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def time_of(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def tables(figures, ranks):
    """Two tables: what was measured, {name: {ranks: [seconds, of the Allreduce, bytes]}}, and what follows on paper."""
    head = ["", "net and batch of a rank", "gradient", *(f"step, {n} rank{'s' * (n > 1)}" for n in ranks)]
    head += [f"Allreduce, {n} ranks" for n in ranks if n > 1]
    rows = []
    for name, by_ranks in figures.items():
        size = by_ranks[1][2]
        row = [name, str(WORKLOADS[name]), f"{size / 1e6:.2g} MB", *(time_of(by_ranks[n][0]) for n in ranks)]
        for n in (n for n in ranks if n > 1):
            step, waited, _ = by_ranks[n]
            row.append(f"{time_of(waited)}, {waited / step:.0%}")
        rows.append(row)
    paper = []
    for name, by_ranks in figures.items():
        step, _, size = by_ranks[1]
        row = [name]
        for latency, bandwidth in NETWORKS.values():
            for machines in MACHINES:
                spent = allreduce(machines, size, latency, bandwidth)
                row.append(f"{machines * step / (step + spent):.1f} ({spent / (step + spent):.0%})")
        paper.append(row)
    columns = ["", *(f"{n} machines, {network}" for network in NETWORKS for n in MACHINES)]
    return table(head, rows), table(columns, paper)


def table(head, rows):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def main(ranks=(1, 2), seconds=2.0, page=None, here=None, command=()):
    if here is not None:
        rank(here, seconds)
        return
    ranks = sorted({1, *ranks})
    figures = {name: {n: measured(name, n, seconds) for n in ranks} for name in NAMES}
    first, second = tables(figures, ranks)
    text = "\n\n".join(
        [
            first,
            "On paper, how many times as many rows a second as one machine, and the share of the Allreduce:",
            second,
            caption_of(
                "Medians of 7 runs on one machine; rank 0 waits for the others in its Allreduce.",
                ["pancake-nn", "mpi4py"],
                "python benchmarks/mpi.py",
                command,
            ),
        ]
    )
    print(text)
    if page is not None:
        write_into(page, text, START)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--ranks", type=positive, nargs="*", default=[1, 2], help="how many processes")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the tables into this page, where its comments say")
    parser.add_argument("--here", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not 0 < options.seconds < math.inf:
        parser.error(f"--seconds: expected a number of more than 0, got {options.seconds}")
    if options.page and not options.page.exists():
        parser.error(f"--page: there is no {options.page}")
    try:
        main(**vars(options), command=sys.argv[1:])
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except (OSError, ValueError) as error:
        parser.exit(1, f"mpi.py: {error}\n")
