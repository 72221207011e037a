"""Forward and backward, run under one condition or another, and what came out compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pancake.testing.evaluator import Evaluator
from pancake.testing.gradients import upstream
from pancake.testing.report import distinct
from pancake.testing.snapshot import Snapshot
from pancake.testing.subject import Subject, Vector, split


@dataclass
class Trial:
    """One forward and one backward: what went in and what came out."""

    inputs: list[Vector]
    upstream: list[Vector]
    outputs: list[Vector]
    gradients: list[Vector | None]
    grads: list[Vector]
    results: dict[str, Vector]


class Trials:
    """Runs a function under conditions that should make no difference.

    Parameters
    ----------
    subject : Subject
    like : Trials, optional
        Whose tolerances to take over.

    Attributes
    ----------
    rtol, atol : float
        The largest differences that rounding may make: relative to the largest entry of an array, and at all.
    """

    def __init__(self, subject: Subject, like: Trials | None = None) -> None:
        self.subject, self.name = subject, subject.name
        self.start = Snapshot(subject.function, subject.bulk)
        self.notes: list[str] = []  # what could not be checked
        self.rtol: float = like.rtol if like else 1e-9
        self.atol: float = like.atol if like else 1e-12

    def tolerate(self, evaluator: Evaluator) -> None:
        """Allow for the rounding of the precision in which the function computes."""
        self.rtol = 1e-4 if evaluator.eps > 1e-12 else 1e-9
        self.atol = evaluator.rounding

    def run(
        self,
        inputs: list[Vector] | None = None,
        u: list[Vector] | None = None,
        *,
        seed: int = 1,
        fresh: bool = True,
        noise: Sequence[Vector] | None = None,
        method: str = "compute_backward",
    ) -> Trial:
        """Forward and backward.

        Parameters
        ----------
        inputs, u : list of ndarray, optional
            Input and upstream gradient; by default copies of the subject's inputs in their layout, and random numbers.
        seed : int
            Of the random upstream gradient.
        fresh : bool
            Whether the function begins in its first state; else only its random generators do.
        noise : list of ndarray, optional
            What the gradients of the parameters hold before, by default 0.
        method : str
            "compute_backward" or "accumulate_grads".
        """
        subject = self.subject
        if fresh:
            self.start.restore()
        else:
            self.start.rewind()
        inputs = copies(subject.inputs) if inputs is None else inputs
        _, grads = subject.params_and_grads()
        for grad, content in zip(grads, noise or [np.zeros(())] * len(grads), strict=True):
            grad[...] = content
        outputs, out = subject.forward(inputs)
        u = self.upstream(outputs, seed) if u is None else u
        gradients = subject.backward(u, out, method)
        params, grads = subject.params_and_grads()
        return Trial(inputs, u, outputs, gradients, grads, self.results(params, outputs, gradients, grads))

    def results(
        self, params: list[Vector], outputs: list[Vector], gradients: list[Vector | None], grads: list[Vector]
    ) -> dict[str, Vector]:
        """Copies of all that came out, by name."""
        named: dict[str, Vector | None] = {
            f"the output[{i}]" if len(outputs) > 1 else "the output": y for i, y in enumerate(outputs)
        }
        named |= {
            f"dObj_d{'In' if name == 'x' else name}": g for name, g in zip(self.subject.input_names, gradients, strict=False)
        }
        named |= {f"grad_{name}": g for name, g in zip(self.subject.param_names(params), grads, strict=True)}
        return {name: np.array(array, np.float64) for name, array in named.items() if array is not None}

    def upstream(self, outputs: list[Vector], seed: int) -> list[Vector]:
        """A random upstream gradient, of numbers that float32 holds too."""
        u = upstream(self.subject, sum(y.size for y in outputs), np.random.default_rng(seed))
        return split(u.astype(np.float32).astype(u.dtype), outputs)

    def other_inputs(self) -> list[Vector]:
        """Inputs of the same shapes with other numbers, in about the same range."""
        return [np.flip(x) * 0.9 if x.dtype.kind == "f" else np.flip(x).copy() for x in self.subject.inputs]

    def difference(
        self, got: dict[str, Vector], expected: dict[str, Vector], rtol: float | None = None, atol: float | None = None
    ) -> str:
        """The first of two results that differ, in words, or "" if none does."""
        for name, a in got.items():
            b = expected[name]
            if a.shape != b.shape:
                return f"{name} has shape {a.shape} instead of {b.shape}"
            if not self.close(a, b, rtol, atol):
                off = np.where(a == b, 0.0, np.abs(a - b))
                index = np.unravel_index(int(np.argmax(np.where(np.isnan(off), np.inf, off))), a.shape)
                is_, was = distinct(float(a[index]), float(b[index]))
                return f"{name}{[int(i) for i in index] if index else ''} is {is_} instead of {was}"
        return ""

    def close(self, a: Vector, b: Vector, rtol: float | None = None, atol: float | None = None) -> bool:
        """Whether no entry differs by more than rounding, or what is given, allows."""
        rtol, atol = self.rtol if rtol is None else rtol, self.atol if atol is None else atol
        scale = float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
        return bool(np.allclose(a, b, rtol=rtol, atol=max(atol, rtol * scale), equal_nan=True))


def copies(arrays: list[Vector]) -> list[Vector]:
    """Copies of the same memory layout."""
    return [a.copy(order="K") for a in arrays]


def same(a: list[Vector], b: list[Vector]) -> bool:
    """Whether two lists of arrays are equal to the last bit."""
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))
