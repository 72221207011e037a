"""What a step of pancake costs as nets get deeper, sequences longer and training goes on, beside what is expected.

    python benchmarks/scaling.py                  # all checks, each in a process of its own on one thread
    python benchmarks/scaling.py depth memory     # two of them

Every figure is a ratio or a count, and is expected to be at most what stands beside it.
"""

import argparse
import functools
import gc
import math
import mmap
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from loop import build
from run import environment, positive
from workloads import WORKLOADS, Workload, data

import pancake as pk
from pancake.optimizers.optimizer import CHUNK


def train(model, loss, optimizer, x, y, steps=1):
    """The bare loop that everything here is about."""
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(x), y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()


def seconds(rounds, *functions, least=0.03):
    """The shortest time of a call of each function, the functions taking turns."""
    counts = []
    for function in functions:
        function()
        start = time.perf_counter()
        function()
        counts.append(math.ceil(least / (time.perf_counter() - start)))
    best = [math.inf] * len(functions)
    for _ in range(rounds):
        for i, (function, count) in enumerate(zip(functions, counts, strict=True)):
            start = time.perf_counter()
            for _ in range(count):
                function()
            best[i] = min(best[i], (time.perf_counter() - start) / count)
    return best


# --- the checks: each yields what was measured, the figure, and the most that it should be ---


def depth(rounds):
    """Stacks of 2 to 200 linear layers of 16 units, tanh between them, batch 16, Adam."""
    depths = (2, 10, 50, 100, 200)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 16)), rng.integers(0, 16, 16)
    steps, calls = [], []
    for layers in depths:
        model = pk.mlp([16] * (layers + 1), activation=pk.Tanh, rng=0)
        steps.append(functools.partial(train, model, pk.CrossEntropy(), pk.Adam(model), x, y))
        counted = CountedAdam(model)
        counted.step()
        calls.append((counted.calls, math.ceil(model.num_parameters / CHUNK)))
    a_layer = [t / layers for t, layers in zip(seconds(rounds, *steps), depths, strict=True)]
    for layers, t in zip(depths[2:], a_layer[2:], strict=True):
        yield f"time for a layer, in a stack of {layers}, relative to one of {depths[1]}", t / a_layer[1], 1.15
    for layers, (count, expected) in zip(depths, calls, strict=True):
        yield f"vectors that Adam steps through, {layers} layers (one for {CHUNK:,} parameters)", count, expected


class CountedAdam(pk.Adam):
    """Adam that counts the vectors it works on."""

    calls = 0

    def update(self, *args):
        self.calls += 1
        super().update(*args)


class OwnCell(pk.RNNCell):
    """As a cell of a user's own: unrolled as copies, without what library cells do for all time steps at once."""

    def compute_forward(self, x_t, state):
        return super().compute_forward(x_t, state)


def length(rounds):
    """Sequences of 8 to 2,048 time steps of 16 features, 32 hidden units, batch 8, Adam."""
    lengths = (8, 32, 128, 512, 2048)
    rng = np.random.default_rng(0)
    for cell in (pk.RNNCell, pk.LSTMCell, pk.GRUCell, OwnCell):
        steps = []
        for n in lengths:
            model = pk.Sequential([pk.Unrolled(cell(16, 32, rng=0)), pk.Linear(32, 4, rng=0)])
            x, y = rng.normal(size=(8, n, 16)), rng.integers(0, 4, (8, n))
            steps.append(functools.partial(train, model, pk.CrossEntropy(), pk.Adam(model), x, y))
        a_step = [t / n for t, n in zip(seconds(rounds, *steps), lengths, strict=True)]
        for n, t in zip(lengths[2:], a_step[2:], strict=True):
            yield f"{cell.__name__}: time for a time step, of {n}, relative to one of {lengths[1]}", t / a_step[1], 1.25


def building(rounds):
    """`mlp` of 10 to 1,000 layers of 16 units."""
    depths = (10, 100, 1000)
    made = [functools.partial(pk.mlp, [16] * (layers + 1), rng=0) for layers in depths]
    a_layer = [t / layers for t, layers in zip(seconds(rounds, *made), depths, strict=True)]
    for layers, t in zip(depths[1:], a_layer[1:], strict=True):
        yield f"time to make a layer, in a stack of {layers}, relative to one of {depths[0]}", t / a_layer[0], 1.15


def rows(rounds):
    """A step of 2-64-64-2, tanh, Adam, float32, with 1,024 to 65,536 rows."""
    sizes = (1024, 8192, 65_536)
    rng = np.random.default_rng(0)
    steps = []
    for n in sizes:
        model = pk.mlp([2, 64, 64, 2], activation=pk.Tanh, rng=0, dtype=np.float32)
        x, y = rng.normal(size=(n, 2)).astype(np.float32), rng.integers(0, 2, n)
        steps.append(functools.partial(pk.TrainStep(model, pk.CrossEntropy(), pk.Adam(model)), x, y))
    a_row = [t / n for t, n in zip(seconds(rounds, *steps), sizes, strict=True)]
    for n, t in zip(sizes[1:], a_row[1:], strict=True):
        yield f"time for a row, of {n}, relative to one of {sizes[0]}", t / a_row[0], 1.15


def classes(rounds):
    """Cross-entropy of 1,024 rows of 100 to 10,000 classes, value and gradient."""
    counts = (100, 1000, 10_000)
    rng = np.random.default_rng(0)

    def value_and_gradient(loss, z, t):
        loss(z, t)
        loss.compute_backward()

    passes = [
        functools.partial(value_and_gradient, pk.CrossEntropy(), rng.normal(size=(1024, n)), rng.integers(0, n, 1024))
        for n in counts
    ]
    a_class = [t / n for t, n in zip(seconds(rounds, *passes), counts, strict=True)]
    for n, t in zip(counts[1:], a_class[1:], strict=True):
        yield f"time for a class, of {n}, relative to one of {counts[0]}", t / a_class[0], 1.15


def step_memory(rounds):
    """A training step of W6: what it has allocated at most, over what it cannot do without."""
    workload = WORKLOADS["W6"]
    x, y = data(workload)
    small = pk.mlp([2, 3, 2], rng=0)
    train(small, pk.CrossEntropy(), pk.SGD(small), x[:4, :2], y[:4] % 2, steps=2)  # which loads what it needs
    tracemalloc.start()
    model, loss = pk.mlp(workload.sizes, rng=0, dtype=workload.dtype), pk.CrossEntropy()
    optimizer = pk.SGD(model, lr=workload.lr)
    tracemalloc.reset_peak()
    train(model, loss, optimizer, x, y, steps=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    trained = 2 * model.num_parameters  # in pages that pancake has asked the system for, which nobody traces
    needed = trained + workload.batch * sum(workload.sizes[1:])  # SGD without momentum has no state
    ratio = (peak + 4 * trained) / (4 * needed)
    yield "largest memory, relative to parameters, gradients and the output of each layer", ratio, 1.2


def memory(rounds):
    """Memory after 1,000 and after 101,000 steps of W1, and after 200 and 2,200 on sequences of changing lengths."""
    rng = np.random.default_rng(0)
    workload = WORKLOADS["W1"]
    model, loss = pk.mlp(workload.sizes, rng=0), pk.BinaryCrossEntropy(from_logits=True)
    step = functools.partial(train, model, loss, pk.SGD(model, lr=workload.lr), *data(workload))
    yield "KiB more after 100,000 steps of W1", grown(step, 1000, 100_000), 1
    for cell in (pk.LSTMCell, OwnCell):
        model, loss = pk.Sequential([pk.Unrolled(cell(4, 8, rng=0)), pk.Linear(8, 2, rng=0)]), pk.CrossEntropy()
        optimizer = pk.Adam(model)
        batches = [(rng.normal(size=(4, n, 4)), rng.integers(0, 2, (4, n))) for n in (9, 5, 12, 7)]

        def lap(model=model, loss=loss, optimizer=optimizer, batches=batches):
            for x, y in batches:
                train(model, loss, optimizer, x, y)

        yield f"KiB more after 2,000 steps of {cell.__name__}", grown(lap, 50, 500), 1


def grown(step, first, more):
    """KiB that are allocated after `more` calls beyond what was after the first ones."""
    tracemalloc.start()
    for _ in range(first):
        step()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(more):
        step()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / 1024


def kept(rounds):
    """On Linux, the last layers, of 80 KB with their gradients, of 20 dropped models of 48 MB that have been trained."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 1000)), rng.integers(0, 10, 4)

    def last():
        model = pk.mlp([1000, 2000, 500, 10], rng=0)
        train(model, pk.CrossEntropy(), pk.SGD(model), x, y)
        return model[-1], 16 * model.num_parameters

    def resident():
        gc.collect()
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE

    if sys.platform == "linux":
        layers = [last() for _ in range(5)]
        before = resident()
        layers += [last() for _ in range(20)]
        yield "memory, relative to that of the dropped models", (resident() - before) / (20 * layers[0][1]), 0.01


def embedding(rounds):
    """1,024 of 100,000 words of 64 features, forward and backward, beside 1,024 of 1,000."""
    rng = np.random.default_rng(0)
    d = rng.normal(size=(32, 32, 64))

    def forward_backward(layer, words):
        layer(words)
        layer.accumulate_grads(d)

    few, many = pk.Embedding(1000, 64, rng=0), pk.Embedding(100_000, 64, rng=0)
    passes = [
        functools.partial(forward_backward, layer, rng.integers(0, layer.num_embeddings, (32, 32))) for layer in (few, many)
    ]
    of_few, of_many = seconds(rounds, *passes)
    yield "time, relative to a table of 1,000 words (rows of the larger one are not in cache)", of_many / of_few, 2
    many.grad_weight.fill(0)
    tracemalloc.start()
    passes[1]()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield "memory for a forward and a backward, relative to that of the table", peak / many.weight.nbytes, 0.05


# Nets of the check `fit`: how many examples and epochs, and the most that the time should be.
FITTED = {
    Workload("fit", "mlp", (20, 64, 2), 50): (1000, 50, 1.0),
    Workload("fit", "mlp", (784, 256, 128, 10), 120): (60_000, 1, 1.0),
}


def fit(rounds):
    """`fit` beside the hand-written loop with its batches taken in random order."""
    rng = np.random.default_rng(0)
    for workload, (examples, epochs, most) in FITTED.items():
        x = rng.normal(size=(examples, workload.sizes[0])).astype(workload.dtype)
        y = rng.integers(0, workload.sizes[-1], examples)
        model, loop = pk.mlp(workload.sizes, rng=0, dtype=workload.dtype), build(workload)
        fitted = functools.partial(
            pk.fit,
            model,
            pk.CrossEntropy(),
            pk.Adam(model),
            x,
            y,
            epochs=epochs,
            batch_size=workload.batch,
            rng=0,
            progress=False,
        )
        of_loop, of_fit = seconds(rounds, functools.partial(run_epochs, epochs, loop, x, y, rng), fitted)
        yield f"time of fit, {examples} x {workload.sizes[0]}, {workload}, relative to the loop", of_fit / of_loop, most


def run_epochs(epochs, loop, x, y, rng):
    """The hand-written loop over all examples in random order; the means of the objectives."""
    (batch_x, batch_y), step, size = loop.batch, loop.step, loop.workload.batch
    means = []
    for _ in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            x.take(rows, 0, batch_x, "clip")
            y.take(rows, 0, batch_y, "clip")
            total += step()
        means.append(total * size / len(x))
    return means


def imports(rounds):
    """The import of pancake and that of NumPy, each in a fresh process."""

    def seconds_of(module):
        code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    seconds_of("pancake")  # from now on it is compiled, and in the cache of the file system
    ratios = [seconds_of("pancake") / seconds_of("numpy") for _ in range(3 * rounds)]
    yield "time of `import pancake`, relative to `import numpy`", statistics.median(ratios), 1.15


CHECKS = {
    function.__name__: function
    for function in (depth, building, rows, classes, length, step_memory, memory, kept, embedding, fit, imports)
}


def check(name):
    if name not in CHECKS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(CHECKS)}, got {name!r}")
    return name


def main(checks, rounds, here=False):
    """Run the checks, each in a process of its own, or all in this one, and print their figures."""
    for name in checks:
        if not here:
            command = [sys.executable, __file__, name, "--rounds", str(rounds), "--here"]
            subprocess.run(command, env=environment(threads=1), check=True)
            continue
        print(f"\n{name}: {CHECKS[name].__doc__}")
        for what, figure, most in CHECKS[name](rounds):
            shown = str(figure) if isinstance(figure, int) else f"{figure:.3f}"
            print(f"  {shown:>8} (at most {most}){'' if figure <= most else ' OVER'}  {what}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("checks", nargs="*", type=check, default=list(CHECKS), metavar="check", help=f"of {', '.join(CHECKS)}")
    parser.add_argument("--rounds", type=positive, default=5, help="of which the shortest time is taken")
    parser.add_argument("--here", action="store_true", help="in this process, with its threads as they are set")
    try:
        main(**vars(parser.parse_args()))
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except subprocess.CalledProcessError as error:
        parser.exit(1, f"scaling.py: {error}\n")
