"""Run under mpiexec: trainings by all ranks together beside the same by one process, as JSON lines from rank 0."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import numpy as np
from mpi4py import MPI

import pancake as pk
from pancake.mpi import data_parallel

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
CUTS = {2: [0, 13, 40], 4: [0, 3, 13, 20, 40]}[SIZE]  # uneven shards
MINE = slice(CUTS[RANK], CUTS[RANK + 1])

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)
SERIES = rng.normal(size=(40, 5, 6))
T = rng.normal(size=(40, 3))
W = rng.uniform(size=40) * (np.arange(40) != 5)
FIRST = np.arange(40) < CUTS[1]  # the rows of rank 0
LENGTHS = rng.integers(1, 6, 40)


class Counting:
    """A communicator that counts the calls that all ranks make together."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(COMM, name)
        if name in ("Get_rank", "Get_size", "Abort"):
            return method

        def counted(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            return method(*arguments, **options)

        return counted


def mlp(rng: int) -> pk.Function:
    return pk.mlp([6, 8, 3], rng=rng)


def lstm(rng: int) -> pk.Function:
    return pk.Sequential([pk.Unrolled(pk.LSTMCell(6, 5, rng=rng), return_sequences=False), pk.Linear(5, 3, rng=rng)])


def large(rng: int) -> pk.Function:
    """More numbers than one block of memory holds, so that they are several vectors; other models stand between them."""
    layers = [pk.Linear(6, 300, rng=rng), pk.ReLU(), pk.Linear(300, 1000, rng=rng)]
    if rng:
        pk.Linear(50 * rng, 60, rng=0)  # in the memory between, on this rank alone
    return pk.Sequential([*layers, pk.Tanh(), pk.Linear(1000, 3, rng=rng)])


@dataclasses.dataclass
class Twisted(pk.Function):
    """Parameters with gaps in memory between them, and one that is not in the order of rows; a dataclass, which has no hash."""

    rng: int

    def __post_init__(self) -> None:
        self.k, self.grad_k = np.full((6, 6), 1.0 + self.rng)[:, ::2], np.zeros((6, 6))[:, ::2]
        self.m, self.grad_m = np.full((3, 3), 0.5 + self.rng, order="F"), np.zeros((3, 3), order="F")

    def compute_forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.k @ self.m

    def compute_backward(self, dObj_dOut: Any) -> Any:
        self.grad_m += (self.x @ self.k).T @ dObj_dOut
        self.grad_k += self.x.T @ dObj_dOut @ self.m.T
        return dObj_dOut @ self.m.T @ self.k.T


CE, MSE = pk.CrossEntropy, pk.MeanSquaredError
CASES: dict[str, tuple[Any, Any, Any, Any, dict[str, Any]]] = {
    "SGD": (mlp, CE(), lambda m: pk.SGD(m, lr=0.1, momentum=0.9, weight_decay=0.01), (X, Y), {}),
    "Adam": (mlp, CE(), pk.Adam, (X, Y), {}),
    "AdamW": (mlp, MSE(), pk.AdamW, (X, T), {}),
    "weights": (mlp, CE(), pk.Adam, (X, Y), {"sample_weight": W}),
    "class weights": (mlp, CE(class_weight=[1, 2, 0.5]), pk.Adam, (X, Y), {"sample_weight": W}),
    "squares, weighted": (mlp, MSE(), pk.Adam, (X, T), {"sample_weight": W}),
    "a rank without weight": (mlp, CE(), pk.SGD, (X, Y), {"weights": [W * ~FIRST, W]}),
    "a rank without labels": (mlp, CE(ignore_index=0), pk.SGD, (X, np.where(FIRST, 0, Y)), {}),
    "sum": (mlp, CE(reduction="sum"), pk.SGD, (X, Y), {}),
    "sum, a rank without weight": (mlp, CE(reduction="sum"), pk.SGD, (X, Y), {"weights": [W * ~FIRST, W]}),
    "clipping": (mlp, CE(), lambda m: pk.SGD(m, lr=1.0), (X, Y), {"clip_norm": 0.05}),
    "LSTM": (lstm, CE(), pk.Adam, (SERIES, Y), {"lengths": LENGTHS}),
    "large": (large, MSE(), lambda m: pk.SGD(m, lr=0.01), (X, T), {}),
    "gaps in memory": (Twisted, MSE(), pk.Adam, (X, T), {}),
}


def trained(
    make: Any, loss: Any, optimizer: Any, data: Any, options: Any, *, rows: slice, comm: Any = None, seed: int = 0
) -> Any:
    """The weights and the history after a training by `fit`, and the calls of each kind after the first epoch."""
    model = make(seed)
    optimizer = optimizer(model)
    if comm is not None:
        optimizer = data_parallel(optimizer, comm)
    x, y = (part[rows] for part in data)
    options = {name: part[rows] if isinstance(part, np.ndarray) else part for name, part in options.items()}
    validation = (x, y, options.get("sample_weight"), options.get("lengths"))
    weights = options.pop("weights", None)  # of several batches
    history = pk.fit(
        model,
        loss,
        optimizer,
        *([x, y] if weights is None else [[(x, y, weight[rows]) for weight in weights]]),
        epochs=4,
        batch_size=len(x),
        validation=validation,
        progress=False,
        metrics={"accuracy": pk.accuracy} if y.ndim == 1 and getattr(loss, "ignore_index", None) is None else None,
        **options,
    )
    return model.state_dict(), history


def by_hand(
    make: Any, loss: Any, optimizer: Any, data: Any, options: Any, *, rows: slice, comm: Any = None, seed: int = 0
) -> Any:
    """The same by a loop."""
    model = make(seed)
    optimizer = optimizer(model)
    if comm is not None:
        optimizer = data_parallel(optimizer, comm)
    x, y = (part[rows] for part in data)
    weight, lengths = options.get("weights", [options.get("sample_weight")])[0], options.get("lengths")
    before = len(comm.calls) if comm is not None else 0
    for _ in range(4):
        optimizer.zero_grad()
        pred = model(x) if lengths is None else model(x, lengths=lengths[rows])
        loss(pred, y) if weight is None else loss(pred, y, weight[rows])
        model.accumulate_grads(loss.compute_backward())
        if "clip_norm" in options:
            pk.clip_grad_norm(model, options["clip_norm"])
        optimizer.step()
        pk.evaluate(
            model, loss, X[:3] if data[0].ndim == 2 else SERIES[:3], data[1][-3:]
        )  # whose divisor is no business of the step
    return model.state_dict(), comm.calls[before:] if comm is not None else []


def difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(np.asarray(a[k]) - np.asarray(b[k])).max()) for k in a)


def main() -> None:
    for name, case in CASES.items():
        comm = Counting()
        expected, history = trained(*case, rows=slice(None))
        weights, noted = trained(*case, rows=MINE, comm=comm, seed=RANK)
        ours = {k: v for k, v in history.items() if k != "seconds"}
        report = {
            "case": name,
            "weights": difference(expected, weights),
            "figures": difference(ours, {k: noted[k] for k in ours}),
            "allreduce": comm.calls.count("Allreduce"),
        }
        comm = Counting()
        expected, _ = by_hand(*case, rows=slice(None))
        weights, calls = by_hand(*case, rows=MINE, comm=comm, seed=RANK)
        report |= {"by hand": difference(expected, weights), "calls": calls}
        everybody = COMM.gather(report)
        if RANK == 0:
            for report in everybody:
                print(json.dumps(report))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
