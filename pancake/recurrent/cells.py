"""Recurrent cells: what a recurrent net computes in one time step, with the equations, names and layouts of torch.

A cell is a Function of two inputs, x_t and the state that the step before has left, and of two outputs. Of a whole
sequence, `Unrolled` (in recurrent.py) makes a loop over its time steps. What does not depend on the step before needs no
loop: the products with all inputs are one product, and so is each gradient of a weight, once the backward loop is through.
So a cell here is written in four parts, in the order in which they run: `begin` for the whole sequence, `compute_forward`
and `compute_backward` for a step, with `before_backward` between them, and `after_backward` for the whole sequence. A
cell that is called on its own is a sequence of one step.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, size
from pancake.function import Function, parameter
from pancake.memory import Array
from pancake.recurrent.states import each, like


class Steps:
    """The time steps of a sequence, one function each, and what can be done for all of them together.

    Iteration gives the steps in the order in which they run, each with `compute_forward(x_t, state)` and
    `compute_backward(dObj_dOut_t, dObj_dState)` and with a memory of its own.
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def outputs(self, outs: Sequence[Array]) -> Array:
        """The outputs of all steps, (T, B, ...), from those that the steps have returned."""
        return np.stack(outs)

    def before_backward(self) -> None:
        """Prepare the backward loop."""

    def after_backward(self, dObj_dX: Sequence[Array], input_too: bool) -> Array | None:
        """The gradient of all inputs, (T, B, ...), from those that the steps have returned; None if it is not wanted."""
        return np.stack(dObj_dX) if input_too else None


class Cell(Function):
    """Base class of the cells.

    A subclass says in `gates` how many blocks of H rows its parameters have, and in `steps` how its time steps are made.

    Parameters
    ----------
    n_in, n_hidden : int
        I and H, the numbers of input and hidden features.
    rng : None, int or numpy.random.Generator
        All parameters are drawn from U(-1 / sqrt(H), 1 / sqrt(H)), as torch does.
    dtype : floating dtype
    """

    weight_ih: Array = parameter()
    grad_weight_ih: Array = parameter()
    weight_hh: Array = parameter()
    grad_weight_hh: Array = parameter()
    bias_ih: Array = parameter()
    grad_bias_ih: Array = parameter()
    bias_hh: Array = parameter()
    grad_bias_hh: Array = parameter()

    gates = 1
    steps: ClassVar[type[CellSteps]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The steps of a parent would bypass a forward or backward that a subclass or a mixin has rewritten.
        for base in cls.__mro__:
            if "unroll" in vars(base):
                break
            if not vars(base).keys().isdisjoint(("compute_forward", "compute_backward")):
                setattr(cls, "unroll", None)  # noqa: B010
                break

    def __init__(self, n_in: int, n_hidden: int, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n_in, self.n_hidden = size(self, n_in=n_in), size(self, n_hidden=n_hidden)
        rows = self.gates * self.n_hidden
        self.make_parameters(dtype, weight_ih=(rows, n_in), weight_hh=(rows, n_hidden), bias_ih=(rows,), bias_hh=(rows,))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw all parameters anew from U(-1 / sqrt(H), 1 / sqrt(H))."""
        rng = np.random.default_rng(rng)
        bound = 1 / math.sqrt(self.n_hidden)
        for array in self.get_params_and_grads()[0]:
            array[...] = rng.uniform(-bound, bound, array.shape)

    def _has_parameters(self) -> bool:
        return True

    def init_state(self, batch: int) -> Any:
        """The state before the first step: zeros (B, H)."""
        return np.zeros((size(self, batch=batch), self.n_hidden), self.weight_hh.dtype)

    def compute_forward(self, x_t: Any, state: Any) -> Any:  # type: ignore[override]
        """One time step.

        Parameters
        ----------
        x_t : array_like (B, I)
        state : array_like (B, H), or a tuple of them

        Returns
        -------
        out_t : ndarray (B, H)
        state : ndarray (B, H), or a tuple of them
        """
        x_t = self._floats(x_t).astype(self.weight_ih.dtype, copy=False)
        if x_t.ndim != 2 or x_t.shape[1] != self.n_in:
            raise ValueError(f"{self!r}: expected (B, {self.n_in}), got {x_t.shape}; Unrolled takes whole sequences")
        state = like(self, "the state", state, self.init_state(len(x_t)))
        self._cache = self._views = steps = Cell.unroll(self, x_t[np.newaxis], False, self._views)
        (step,) = steps
        out_t, state = step.compute_forward(x_t, state)
        return steps.outputs([out_t])[0], each(np.copy, state)

    def compute_backward(self, dObj_dOut_t: Any, dObj_dState: Any) -> Any:  # type: ignore[override]
        """The chain rule for the latest `compute_forward`.

        Parameters
        ----------
        dObj_dOut_t : array_like (B, H)
        dObj_dState : array_like (B, H), or a tuple of them
            The gradient of the state that the step has returned.

        Returns
        -------
        dObj_dX_t : ndarray (B, I)
        dObj_dState : ndarray (B, H), or a tuple of them
            The gradient of the state that the step was given.
        """
        steps: CellSteps = self._remembered()
        _, batch, _ = steps.shape
        dObj_dState = like(self, "dObj_dState", dObj_dState, self.init_state(batch))
        dObj_dOut_t = self._upstream(dObj_dOut_t, (batch, self.n_hidden), self.weight_hh.dtype)
        steps.before_backward()
        (step,) = steps
        dObj_dX_t, dObj_dState = step.compute_backward(dObj_dOut_t, dObj_dState)
        dObj_dX: Any = steps.after_backward([dObj_dX_t], True)
        return dObj_dX[0], each(np.copy, dObj_dState)

    def accumulate_grads(self, dObj_dOut_t: Any, dObj_dState: Any) -> None:  # type: ignore[override]
        """Add to the gradients of the parameters only."""
        self.compute_backward(dObj_dOut_t, dObj_dState)

    def unroll(self, x: Array, reverse: bool, kept: Any) -> Steps:
        """The steps for a sequence, ready to run.

        Parameters
        ----------
        x : ndarray (T, B, I)
        reverse : bool
            Whether the steps run from T - 1 down to 0.
        kept : Steps or None
            Those of an earlier sequence, to be used again if they fit.

        Returns
        -------
        Steps
        """
        if not (isinstance(kept, CellSteps) and kept.fit(self, x, reverse)):
            kept = self.steps(self, x, reverse)
        steps: CellSteps = kept
        steps.begin(self, x)
        return steps


class CellSteps(Steps):
    """The steps of a library cell: slices of arrays over all time steps, kept for all sequences of one shape.

    Attributes
    ----------
    cell : Cell
        A copy with the very same parameters and gradients. The cell itself may hold these steps, and a circle of references
        would keep the memory of a sequence until the garbage collector comes by; so no step holds the `CellSteps` either.
    shared : SimpleNamespace
        What the steps use one after the other: weights and work arrays.
    h_before, h_after : ndarray (T, B, H)
        The hidden states: step t reads `h_before[t]` and writes to `h_after[t]`.
    """

    def __init__(self, cell: Any, x: Array, reverse: bool) -> None:
        self.cell, self.reverse = copy.copy(cell), reverse
        self.shape, self.dtype = x.shape, x.dtype
        self.ones = np.ones(x.shape[0] * x.shape[1], x.dtype)  # ones @ d is d.sum(axis=0) in half of the time
        self.shared = SimpleNamespace()
        self.h_before, self.h_after, self.slots = self.states()
        self.steps: list[Any] = []

    def fit(self, cell: Any, x: Array, reverse: bool) -> bool:
        """Whether the work arrays are those for this cell and a sequence like `x`."""
        return self.cell.weight_hh is cell.weight_hh and self.shape == x.shape and self.reverse == reverse

    def begin(self, cell: Any, x: Array) -> None:
        """Take up a new sequence: compute what needs no state."""
        self.rows = np.ascontiguousarray(x).reshape(-1, x.shape[2])

    def states(self) -> tuple[Array, Array, list[tuple[Array, Array]]]:
        """Arrays for the states before and after each time, and both of each step in the order of the steps."""
        length, batch, _ = self.shape
        states = np.empty((length + 1, batch, self.cell.n_hidden), self.dtype)
        before, after = (states[1:], states[:-1]) if self.reverse else (states[:-1], states[1:])
        slots = list(self.in_order(states))
        return before, after, list(itertools.pairwise(slots))

    def in_order(self, array: Array) -> Array:
        """An array of leading axis T in the order of the steps."""
        return array[::-1] if self.reverse else array

    def __iter__(self) -> Iterator[Any]:
        return iter(self.steps)

    def outputs(self, outs: Sequence[Array]) -> Array:
        return self.h_after.copy()

    def add_biases(self, grad: Array) -> None:
        """Add the gradient that both biases have."""
        grad_ih, grad_hh = self.cell.grad_bias_ih, self.cell.grad_bias_hh
        grad_ih += grad
        grad_hh += grad


def by_gate(array: Array, n: int) -> Array:
    """A view (G, I, H) of a weight (G H, I), or of its gradient."""
    return array.reshape(-1, n, array.shape[1]).transpose(0, 2, 1)


def products(dObj_dZ: Array, weight: Array) -> Array:
    """dObj_dZ W of all gates together, (N, I), from dObj_dZ (G, N, H) and a weight (G H, I)."""
    weights = weight.reshape(len(dObj_dZ), -1, weight.shape[1])
    result: Array = dObj_dZ[0].dot(weights[0])
    for d, w in zip(dObj_dZ[1:], weights[1:], strict=True):
        result += d.dot(w)
    return result
