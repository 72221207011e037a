"""Time pancake and its peers side by side with a hand-written NumPy loop, and print the ratios as a table.

    python benchmarks/run.py                                     # all workloads, all libraries that are installed
    python benchmarks/run.py --workloads W1 W9 --peers           # two workloads, pancake alone
    python benchmarks/run.py --mlp 20-50-3 --batch 16 --dtype float32

How it is measured, and how to read it: benchmarks/README.md.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
LIBRARIES = {  # name in the table: module here, distribution
    "pancake": ("with_pancake", "pancake-nn"),
    "pancake, TrainStep": ("with_train_step", "pancake-nn"),
    "JAX": ("with_jax", "jax"),
    "torch": ("with_torch", "torch"),
    "torch, fused": ("with_torch_fused", "torch"),
    "scikit-learn": ("with_sklearn", "scikit-learn"),
}
OWN = "pancake", "pancake, TrainStep"
PROCESS = {
    "W10 time": "whole process, 1,000 steps of W1: its time",
    "W10 memory": "whole process, 1,000 steps of W1: its largest memory",
}
THREADS = ("OPENBLAS", "OMP", "MKL", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM")  # each with _NUM_THREADS or _THREADS after it
BATCH_SECONDS = 0.15  # what a timed run of steps takes
WIDEST = {"float32": 1e-4, "float64": 1e-9}  # how far objectives may lie apart before it is worth a word
START, END = "<!-- benchmarks/run.py writes from here -->", "<!-- to here -->"


def environment(threads):
    """The variables of a timed process: so many threads for every library, and its own choice of kernels."""
    variables = dict(os.environ)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # kernels of another processor are slower
        variables.pop(name, None)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process would compile pancake anew
    for name in THREADS:
        variables[name + ("_THREADS" if name.endswith("MAXIMUM") else "_NUM_THREADS")] = str(threads)
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    variables["JAX_PLATFORMS"] = "cpu"
    return variables


class Worker:
    """One library with one workload in a process of its own, which waits while another is timed."""

    def __init__(self, module, workload, threads):
        command = [sys.executable, str(HERE / "worker.py"), module, json.dumps(workload._asdict())]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads)
        )
        first = self.process.stdout.readline()
        if not first:
            raise RuntimeError(f"{module} failed at {workload.name}, as said above")
        answer = json.loads(first)
        self.missing, self.results = answer.get("missing"), answer.get("results")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def seconds(self, steps):
        """How long so many steps take."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def calibrate(self):
        """Choose how many steps are timed at once."""
        steps, seconds = 1, self.seconds(1)
        while seconds < BATCH_SECONDS / 4:
            steps *= 4
            seconds = self.seconds(steps)
        self.steps = max(1, round(steps * BATCH_SECONDS / seconds))

    def seconds_a_step(self):
        return self.seconds(self.steps) / self.steps


def alternate(time_loop, time_library, rounds):
    """Ratios of a library's time to the loop's, each to the mean of the runs of the loop right before and right after."""
    ratios, before = [], time_loop()
    for _ in range(rounds):
        seconds, after = time_library(), time_loop()
        ratios.append(2 * seconds / (before + after))
        before = after
    return ratios


def quartiles(ratios):
    lower, median, upper = statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"ratio": median, "lower": lower, "upper": upper}


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def time_workload(workload, libraries, threads, rounds):
    """The entries of one row of the table, by library."""
    row = {}
    with Worker("loop", workload, threads) as loop:
        loop.calibrate()
        for name in libraries:
            with Worker(LIBRARIES[name][0], workload, threads) as library:
                if library.missing:
                    say(f"{workload.name}: {name} skipped: {library.missing}")
                    continue
                library.calibrate()
                row[name] = quartiles(alternate(loop.seconds_a_step, library.seconds_a_step, rounds))
                pairs = zip(library.results, loop.results, strict=True)
                apart = max(abs(a - b) / max(abs(b), 1) for a, b in pairs)
                row[name]["apart"] = apart
            say(f"{workload.name}: {name} {cell(row[name])}")
            if apart > WIDEST[workload.dtype]:
                say(f"{workload.name}: {name} computes something else: its results lie {apart:.1e} from the loop's")
    return row


def time_processes(libraries, threads, rounds):
    """The two rows of the table about whole processes: the time and the largest memory."""

    def run(module):
        command = [sys.executable, str(HERE / "whole_process.py"), module]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=environment(threads), check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
        return seconds, float(done.stdout.split()[1])

    def timed(module):
        seconds, kibibytes = run(module)
        memory[module] = kibibytes
        return seconds

    rows, memory = {name: {} for name in PROCESS}, {}
    run("loop")  # from now on its files are in the cache of the file system
    for name in libraries:
        module = LIBRARIES[name][0]
        try:
            run(module)
        except RuntimeError as error:
            say(f"W10: {name} skipped: {error}")
            continue
        rows["W10 time"][name] = quartiles(alternate(lambda: timed("loop"), lambda module=module: timed(module), rounds))
        rows["W10 memory"][name] = quartiles([memory[module] / memory["loop"]])
        say(f"W10: {name}", *(f"{row.split()[1]} {cell(rows[row][name])}" for row in PROCESS))
    return rows


# --- the table ---


def cell(entry):
    if entry is None:
        return "-"
    if entry["lower"] == entry["upper"]:
        return f"{entry['ratio']:.2f}"
    return f"{entry['ratio']:.2f} ({entry['lower']:.2f} to {entry['upper']:.2f})"


def table(results):
    """The results as lines of Markdown."""
    libraries = [name for name in LIBRARIES if any(name in row["libraries"] for row in results["rows"])]
    head = ["", "workload", *libraries]
    rows = [[row["name"], row["title"], *(cell(row["libraries"].get(name)) for name in libraries)] for row in results["rows"]]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join([*lines, "", results["caption"]])


def caption(arguments, libraries):
    """Machine, versions and command, as they stand below the table."""
    threads = "one thread" if arguments.threads == 1 else f"{arguments.threads} threads"
    measured = (
        f"Time divided by that of the hand-written NumPy loop, {threads}: median of {arguments.rounds} alternating pairs, "
        "and quartiles."
    )
    return caption_of(measured, libraries, "python benchmarks/run.py", arguments.command)


def caption_of(measured, libraries, program, arguments):
    """What was measured, on which machine, with which versions, by which command."""
    versions = [f"Python {platform.python_version()}"]
    for distribution in dict.fromkeys(["numpy", *(LIBRARIES.get(name, (None, name))[1] for name in libraries)]):
        try:
            versions.append(f"{distribution} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    command = f"{program} {shlex.join(arguments)}".strip()
    return f"{measured}\n{processor()}, {platform.system()}; {', '.join(versions)}.\nMade by `{command}`."


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(": ")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write_into(page, text, where=None):
    """Put the text between the two comments in a page that say where it belongs."""
    where = where or START
    before, start, rest = page.read_text(encoding="utf-8").partition(where)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{page}: expected the lines {where} and {END}")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


# --- the command ---


def sizes(text):
    try:
        numbers = tuple(int(part) for part in text.split("-"))
    except ValueError:
        numbers = ()
    if len(numbers) < 2 or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of units such as 2-10-10-1, got {text!r}")
    return numbers


def positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def parse(command):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    names = [*WORKLOADS, *PROCESS]
    shorter = list(dict.fromkeys(name.split()[0] for name in names))
    parser.add_argument("--workloads", nargs="*", choices=shorter, default=shorter, metavar="W", help=f"of {' '.join(shorter)}")
    peers = [name for name in LIBRARIES if name not in OWN]
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers, metavar="NAME", help=f"of {peers}")
    parser.add_argument("--threads", type=positive, default=1, help="for every library")
    parser.add_argument("--rounds", type=positive, default=11, help="pairs of which the median is taken")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results, for draw.py")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table into this Markdown page, where its comments say")
    own = parser.add_argument_group("another net in place of the workloads")
    kinds = own.add_mutually_exclusive_group()
    kinds.add_argument("--mlp", type=sizes, metavar="I-H-...-O", help="linear layers with activations between them")
    kinds.add_argument("--predict", type=sizes, metavar="I-H-...-O", help="predictions of such a net that ends in a sigmoid")
    kinds.add_argument("--rnn", type=sizes, metavar="V-E-H-O", help="words, features of a word, hidden units, outputs")
    kinds.add_argument("--lstm", type=sizes, metavar="V-E-H-O", help="the same")
    own.add_argument("--batch", type=positive, default=32)
    own.add_argument("--length", type=positive, default=32, help="time steps, of a recurrent net")
    own.add_argument("--activation", choices=["relu", "tanh"], default="relu")
    own.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    own.add_argument("--lr", type=float, default=1e-3)
    own.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    arguments = parser.parse_args(command)
    arguments.command = command
    for kind in ("rnn", "lstm"):
        units = getattr(arguments, kind)
        if units and (len(units) != 4 or units[-1] == 1):
            parser.error(f"--{kind}: expected words, features, hidden units and at least 2 outputs, such as 64-64-128-64")
    if arguments.page and not arguments.page.exists():
        parser.error(f"--page: there is no {arguments.page}")
    return arguments


def chosen(arguments):
    """The workloads to time."""
    for kind in ("mlp", "predict", "rnn", "lstm"):
        units = getattr(arguments, kind)
        if units:
            length = arguments.length if kind in ("rnn", "lstm") else 0
            a = arguments
            return [Workload("own", kind, units, a.batch, a.dtype, a.activation, a.optimizer, a.lr, length)]
    return [workload for name, workload in WORKLOADS.items() if name.split()[0] in arguments.workloads]


def main(command):
    arguments = parse(command)
    libraries = [*OWN, *arguments.peers]
    workloads = chosen(arguments)
    rows = []
    for workload in workloads:
        entries = time_workload(workload, libraries, arguments.threads, arguments.rounds)
        rows.append({"name": workload.name, "title": str(workload), "libraries": entries})
    if "W10" in arguments.workloads and not any(workload.name == "own" for workload in workloads):
        for name, entries in time_processes(libraries, arguments.threads, arguments.rounds).items():
            rows.append({"name": name, "title": PROCESS[name], "libraries": entries})
    measured = [name for name in libraries if any(name in row["libraries"] for row in rows)]
    results = {"caption": caption(arguments, measured), "rows": rows}
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    text = table(results)
    if arguments.page:
        write_into(arguments.page, text)
    print(text)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"run.py: {error}")
