"""Examples of every class of the library, drawn from the one table of layers, and what that table does not draw."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.functions.branches import Concatenate
from pancake.functions.elementwise import Mean, Sum
from pancake.functions.linear import Linear
from pancake.functions.shapes import Transpose
from pancake.losses.classes import CrossEntropy, NegativeLogLikelihood
from pancake.losses.elementwise import BinaryCrossEntropy, ElementwiseLoss
from pancake.losses.loss import Loss
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import GRUCell
from pancake.recurrent.unrolled import Unrolled
from pancake.testing import recipes
from pancake.testing.strategies import examples, functions, losses

Example = tuple[Any, Any, Any]


class _WithArguments(Function):
    """A recurrent Function that is called with lengths, or whose last state goes out beside its output."""

    def __init__(self, part: Any, state: bool = False, **arguments: Any) -> None:
        self.part, self.state, self.arguments = part, state, arguments

    def compute_forward(self, x: Any) -> Any:
        """Call the part with the arguments."""
        y = self.part.compute_forward(x, **self.arguments)
        return (y, self.part.state) if self.state else y

    def compute_backward(self, *upstream: Any) -> Any:
        """That of the part."""
        return self.part.compute_backward(*upstream)


class _Weighted:
    """A loss that is called with weights."""

    def __init__(self, loss: Loss, weight: Any) -> None:
        self.loss, self.weight = loss, weight

    def compute_forward(self, pred: Any, target: Any) -> Any:
        """The weighted objective."""
        return self.loss(pred, target, self.weight)

    def compute_backward(self) -> Any:
        """Its gradient."""
        return self.loss.compute_backward()


def examples_of(cls: type[Any], solution: type[Any] | None = None, count: int = 8) -> list[Example]:
    """Examples (function, x, target) of a class, the simplest last, since it shows the least.

    Parameters
    ----------
    cls : type
        A layer, cell or loss of the library.
    solution : type, optional
        A class to be made in its place, with the same arguments.
    count : int
        How many are drawn.
    """
    made = solution or cls
    if issubclass(cls, Loss):
        return _of_loss(cls, made)
    with _in_its_place(cls, made):
        first, *others = examples(functions(cls), count)
    return [*((*example, None) for example in (*others, first)), *_more(cls, made)]


@contextlib.contextmanager
def _in_its_place(cls: type[Any], made: type[Any]) -> Iterator[None]:
    """Let the table make another class in the place of one."""
    table: Any = recipes.CONTAINERS
    setattr(recipes, cls.__name__, made)
    if cls in table:
        table[made] = table[cls]
    try:
        yield
    finally:
        setattr(recipes, cls.__name__, cls)
        if made is not cls:
            table.pop(made, None)


def _more(cls: type[Any], made: Any) -> list[Example]:
    """Examples of what the table does not draw: other axes, lengths, states."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    if cls in (Sum, Mean):
        return [(made(axis=axis), x, None) for axis in (0, 1, -1, (0, 2))]
    if cls is Concatenate:
        return [(made([Linear(4, n, rng=n) for n in (2, 1, 3)]), x, None)]
    if cls is Transpose:
        return [(made((2, 0, 1)), x, None)]
    if cls is Unrolled:
        found = [made(GRUCell(4, 2, rng=0), reverse=reverse) for reverse in (False, True)]
    elif cls is Bidirectional:
        found = [made(GRUCell(4, 2, rng=0), GRUCell(4, 2, rng=1))]
    else:
        return []
    several: tuple[dict[str, Any], ...] = ({"lengths": [3, 1]}, {"state": True}, {"lengths": [1, 3], "state": True})
    return [(_WithArguments(f, **given), x, None) for f in found for given in several]


def _of_loss(cls: type[Any], made: Any) -> list[Example]:
    """Examples of a loss with all reductions, with weights, and with predictions at the ends of the interval."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    found: list[Example] = []
    if cls is BinaryCrossEntropy:
        found = [(made(), np.array([[0.0, 1.0, 0.3]]), np.array([[0.0, 1.0, 1.0]]))]
    if cls in (CrossEntropy, NegativeLogLikelihood):
        found = [(made(), x, np.array([[0, 1, 3], [2, 2, 1]]))]
    for loss, pred, target in examples(losses(cls), 4)[1:]:
        for reduction in ("mean", "sum"):
            arguments = {name: vars(loss)[name] for name in inspect.signature(cls).parameters if name in vars(loss)}
            example = made(**{**arguments, "reduction": reduction})
            found.append((example, pred, target))
            if np.ndim(target) > (target.dtype.kind == "f" and not isinstance(loss, ElementwiseLoss)):  # probabilities need rows
                weight = np.arange(1, len(target) + 1) / 4
                found += [(_Weighted(copy.deepcopy(example), w), pred, target) for w in (weight, 0 * weight)]
    return found
