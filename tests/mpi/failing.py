"""Run under mpiexec with the name of a fault: rank 1 does something else than the others, and all must end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

import pancake as pk
from pancake.mpi import data_parallel

RANK = MPI.COMM_WORLD.Get_rank()
ODD = RANK == 1
rng = np.random.default_rng(RANK)
X, Y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)


def make(**options: Any) -> Any:
    model = pk.mlp([3, 4, 2], rng=0)
    return model, pk.CrossEntropy(), data_parallel(pk.SGD(model, **options))


def fit(x: Any = X, y: Any = Y, **options: Any) -> None:
    pk.fit(*make(), x, y, epochs=2000, batch_size=8, progress=False, **options)


class Silent(pk.Loss):
    """A mean over rows that does not set its divisor."""

    def compute_forward(self, pred: Any, target: Any) -> Any:
        self._remember(pred)
        return np.square(pred).sum(axis=1).mean()

    def compute_backward(self) -> Any:
        pred = self._remembered()
        return 2 * pred / len(pred)


def steps(
    count: int,
    before: Callable[[int], None] = lambda step: None,
    prepare: Callable[[Any], object] = repr,
    own: pk.Loss | None = None,
) -> None:
    """So many steps by hand."""
    model, usual, optimizer = make()
    loss = own or usual
    prepare(model)
    for step in range(count):
        before(step)
        optimizer.zero_grad()
        loss(model(X), Y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()


def refused_fit(prepare: Callable[[Any, Any], object] = lambda model, optimizer: None, loss: Any = None, **options: Any) -> None:
    """`fit`, after something has been done to model and optimizer, on both ranks or on one."""
    model, usual, optimizer = make()
    prepare(model, optimizer)
    try:
        pk.fit(model, loss or usual, optimizer, X, Y, epochs=3, progress=False, **options)
    except ValueError as error:
        print(f"rank {RANK}: {type(error).__name__}: {error}", flush=True)
        raise


def stopping(**options: Any) -> Any:
    return pk.EarlyStopping(**{"monitor": "loss", **(options if ODD else {})})


def fail(step: Any) -> None:
    if ODD and step != 0:
        raise OSError("the disk of rank 1 is gone")


def interrupt(step: Any) -> None:
    if ODD:
        os.kill(os.getpid(), signal.SIGINT)


def leave(step: Any) -> None:
    if ODD:
        sys.exit(0)


def batches() -> Any:
    """A function that `fit` asks for batches, of which it cannot know how many there are."""
    return lambda: ((X[:8], Y[:8]) for _ in range(4 + ODD))


def not_finite() -> None:
    try:
        fit(lambda: [(X[:8] * (np.inf if ODD and i else 1), Y[:8]) for i in range(3)], None)
    except pk.NonFiniteError as error:
        print(f"rank {RANK}: {error}", flush=True)
        raise


class Own(pk.SGD):
    def step(self) -> None:
        pass


def refused(optimizer: Any, comm: Any = None) -> None:
    try:
        data_parallel(optimizer, comm)
    except (TypeError, ValueError) as error:
        print(f"rank {RANK}: {type(error).__name__}: {error}", flush=True)
        raise


FAULTS: dict[str, Callable[[], object]] = {
    "numbers of batches": lambda: fit(X[: 40 - 8 * ODD], Y[: 40 - 8 * ODD]),
    "unknown numbers of batches": lambda: fit(batches(), None),
    "arguments": lambda: fit(X[:, : 3 - ODD]),
    "figures": lambda: fit(validation=(X, Y) if ODD else None),
    "an exception beforehand": lambda: (fail(1), fit()),
    "an exception": lambda: fit(callbacks=fail),
    "an exception in a batch": lambda: fit(lambda: (fail(i) or (X[:8], Y[:8]) for i in range(4)), None),
    "Ctrl-C": lambda: fit(callbacks=interrupt),
    "the end": lambda: fit(callbacks=leave),
    "not finite": not_finite,
    "by hand, numbers of batches": lambda: steps(5 + ODD),
    "by hand, an exception": lambda: steps(5, fail),
    "by hand, Ctrl-C": lambda: steps(5, interrupt),
    "by hand, the end": lambda: steps(5, leave),
    "an optimizer of a user's own": lambda: refused(Own(pk.Linear(2, 2)) if ODD else pk.SGD(pk.Linear(2, 2))),
    "no optimizer": lambda: refused(pk.Linear(2, 2)),
    "no communicator": lambda: refused(pk.SGD(pk.Linear(2, 2)), MPI.COMM_NULL if ODD else None),
    "other models": lambda: refused(pk.SGD(pk.Linear(2 + ODD, 2))),
    "other weight decay": lambda: refused(pk.SGD(pk.Linear(2, 2), weight_decay=0.1 * ODD)),
    "other momentum": lambda: refused(pk.SGD(pk.Linear(2, 2), momentum=0.9 * ODD)),
    "other nesterov": lambda: refused(pk.SGD(pk.Linear(2, 2), momentum=0.9, nesterov=ODD)),
    "other betas": lambda: refused(pk.Adam(pk.Linear(2, 2), betas=(0.8 if ODD else 0.9, 0.999))),
    "other eps": lambda: refused(pk.AdamW(pk.Linear(2, 2), eps=1e-3 if ODD else 1e-8)),
    "other alpha": lambda: refused(pk.RMSprop(pk.Linear(2, 2), alpha=0.9 if ODD else 0.99)),
    "other clip_norm": lambda: refused_fit(clip_norm=None if ODD else 0.1),
    "other values of clip_norm": lambda: refused_fit(clip_norm=0.2 if ODD else 0.1),
    "other reduction": lambda: refused_fit(loss=pk.CrossEntropy(reduction="sum" if ODD else "mean")),
    "other schedule": lambda: refused_fit(schedule=None if ODD else lambda step: 0.1),
    "other first rate": lambda: refused_fit(schedule=lambda step: 0.1 + ODD),
    "other later rate": lambda: refused_fit(schedule=lambda step: 0.5 if ODD and step > 2 else 0.25),
    "other lr": lambda: refused_fit(lambda model, optimizer: setattr(optimizer, "lr", 0.5 if ODD else 0.25)),
    "other weight decay in fit": lambda: refused_fit(lambda model, optimizer: setattr(optimizer, "weight_decay", 0.5 * ODD)),
    "other patience": lambda: refused_fit(early_stopping=stopping(patience=3)),
    "other min_delta": lambda: refused_fit(early_stopping=stopping(min_delta=0.5)),
    "other monitor": lambda: refused_fit(early_stopping=stopping(monitor="accuracy"), metrics={"accuracy": pk.accuracy}),
    "other weights": lambda: refused_fit(lambda model, optimizer: model.reset_parameters(rng=RANK)),
    "other parts frozen": lambda: refused_fit(lambda model, optimizer: model[0].freeze() if ODD else None),
    "other state": lambda: refused_fit(lambda model, optimizer: setattr(optimizer, "steps", 7 * ODD)),
    "by hand, a part is frozen": lambda: steps(5, lambda step: None, lambda model: model[0].freeze() if ODD else None),
    "twice": lambda: refused(data_parallel(pk.SGD(pk.Linear(2, 2)))),
    "no loss": lambda: make()[2].step(),
    "by hand, no divisor": lambda: steps(5, own=Silent()),
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    print(f"rank {RANK} is through", flush=True)
