"""Two cells over the same sequences, in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.arguments import flag
from pancake.function import Function
from pancake.functions.containers import Container, extend
from pancake.memory import Array
from pancake.recurrent.states import shapes
from pancake.recurrent.unrolled import Unrolled


class Bidirectional(Container):
    """Two cells over the same sequences, one from start to end and one from end to start; y is their outputs side by side.

    dObj_dIn is the sum of the gradients that come back from the two.

    Shape
    -----
    x : (B, T, I);  y : (B, T, H1 + H2), or (B, H1 + H2), the last output of each direction

    Parameters
    ----------
    forward, backward : Function
        A cell for each direction, as in `Unrolled`; not the same one.
    return_sequences : bool
        Whether to return the outputs of all steps, or only the last of each direction: of the last valid step, and of step 0.

    Attributes
    ----------
    forward, backward : Unrolled
        The cells, unrolled.
    state, dObj_dState : tuple
        Those of the two.

    Raises
    ------
    ValueError
        If both cells are the same.

    References
    ----------
    Schuster, Paliwal, "Bidirectional Recurrent Neural Networks" (1997). As `bidirectional=True` in
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    def __init__(self, forward: Function, backward: Function, return_sequences: bool = True) -> None:
        extend(self, [], [forward, backward])  # only to refuse what no container may have
        self.return_sequences = flag(self, "return_sequences", return_sequences)
        self.forward = Unrolled(forward, return_sequences)
        self.backward = Unrolled(backward, return_sequences, reverse=True)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "forward": self.forward.cell, "backward": self.backward.cell}

    @property
    def state(self) -> tuple[Any, Any]:
        """The last state of each direction."""
        return self.forward.state, self.backward.state

    @property
    def dObj_dState(self) -> tuple[Any, Any]:
        """After backward, the gradient of the initial state of each direction."""
        return self.forward.dObj_dState, self.backward.dObj_dState

    def compute_forward(self, x: Any, state: Any = None, lengths: ArrayLike | None = None) -> Array:
        """Run both cells over a batch of sequences; arguments as in `Unrolled`, `state` a pair of states."""
        states = self._pair("the state", state)
        ys = [f.compute_forward(x, s, lengths) for f, s in zip((self.forward, self.backward), states, strict=True)]
        self._remember([y.shape for y in ys], ys[0].dtype)
        return np.concatenate(ys, axis=-1)

    def compute_backward(self, dObj_dOut: Any, dObj_dState: Any = None) -> Array:
        """Run the chain rule back through both; arguments as in `Unrolled`, `dObj_dState` a pair of gradients."""
        gradients = [f.compute_backward(*d) for f, d in self._halves(dObj_dOut, dObj_dState)]
        dObj_dIn: Array = gradients[0] + gradients[1]
        return dObj_dIn

    def accumulate_grads(self, dObj_dOut: Any, dObj_dState: Any = None) -> None:
        """Do what `compute_backward` does, without the gradient of the input."""
        for f, d in self._halves(dObj_dOut, dObj_dState):
            f.accumulate_grads(*d)

    def _halves(self, dObj_dOut: Any, dObj_dState: Any) -> list[tuple[Unrolled, tuple[Array, Any]]]:
        """Each direction with what flows back into it."""
        (first, second), dtype = self._remembered()
        width = first[-1]
        d = self._upstream(dObj_dOut, (*first[:-1], width + second[-1]), dtype)
        states = self._pair("dObj_dState", dObj_dState)
        return [(self.forward, (d[..., :width], states[0])), (self.backward, (d[..., width:], states[1]))]

    def _pair(self, what: str, state: Any) -> tuple[Any, Any]:
        if state is None:
            return None, None
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise ValueError(f"{self!r}: expected {what} to be a pair, one for each direction, got {shapes(state)}")
        return state[0], state[1]
