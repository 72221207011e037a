"""What hints are made from: everything that is known beside the gradient in question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pancake.testing.comparison import Comparison
from pancake.testing.evaluator import Evaluator
from pancake.testing.subject import Vector, split

# How closely a formula must hold, and how probable a pattern of wrong entries may be by chance, for a hint to be given.
CLOSE = 1e-5
CHANCE = 0.01
Mask = NDArray[np.bool_]


class Clues:
    """What is known beside the gradient in question.

    Attributes
    ----------
    shapes : list of tuple
        Those of the inputs.
    ignores_upstream : dict
        By the name of an array, whether backward gives the same for every upstream gradient.
    others : dict
        The numerical gradients, by name.
    values : dict
        Inputs, parameters, outputs and upstream gradients, by name.
    indices : dict
        Arrays of integers among the inputs and in the function.
    """

    def __init__(self, evaluator: Evaluator, comparisons: Sequence[Comparison], found: dict[str, Vector], u: Vector) -> None:
        subject = evaluator.subject
        self.shapes = [x.shape for x in subject.inputs]
        turned = np.where(np.arange(u.size) % 3 == 0, -1.25, 0.75) * u
        again = evaluator.gradients(turned) if subject.target is None else {}
        self.ignores_upstream = {name: np.array_equal(found[name], b) for name, b in again.items()}
        self.others = {c.name: c.n for c in comparisons}
        evaluator.snapshot.restore()
        outputs, _ = subject.forward(evaluator.inputs)
        arrays = dict(evaluator.named_arrays())
        several = len(outputs) > 1
        self.values = {name: np.array(a) for name, a in arrays.items() if a.dtype.kind == "f"}
        self.values |= {f"the output[{i}]" if several else "the output": np.array(y, float) for i, y in enumerate(outputs)}
        self.upstream = [np.asarray(part) for part in split(u, outputs)]
        integers = list(arrays.items()) + [("its indices", a) for a in evaluator.snapshot.arrays()]
        self.indices = [(name, a) for name, a in integers if a.dtype.kind in "iu" and a.size > 1]


def close(a: Vector, b: Vector) -> bool:
    """Whether two arrays agree to five digits of their largest entry."""
    return bool(np.allclose(a, b, rtol=CLOSE, atol=CLOSE * np.abs(b).max(initial=0.0)))


def same(b: Vector, n: Vector) -> bool:
    """Whether the two agree wherever `n` is known, and that is enough to tell."""
    known = np.isfinite(n)
    if known.sum() < min(n.size, 2) or n.size < 2 or not np.any(b[known]):
        return False
    return bool(np.allclose(b[known], n[known], rtol=CLOSE, atol=CLOSE * np.abs(b[known]).max()))
