"""The weights of a model as they once were."""

from __future__ import annotations

import math

import numpy as np

from pancake import memory
from pancake.function import Function
from pancake.memory import Array
from pancake.origin import is_own


class Weights:
    """The parameters and buffers of a model, to be copied after each epoch: as `state_dict`, but found only once."""

    def __init__(self, model: Function) -> None:
        self.model = model
        self._generation, self._settled = -1, False
        self.frozen: list[tuple[Function, bool]] = []  # whether each part is, at the latest copy
        self._arrays: dict[str, Array] = {}
        self._parameters: list[tuple[str, Array]] = []  # each as a vector

    def copy(self) -> dict[str, Array]:
        """Copies of the arrays, for `load_state_dict`."""
        self._find()
        return {name: array.copy() for name, array in self._arrays.items()}

    def not_finite(self) -> str | None:
        """The name of the first parameter with nan or an infinite number in it, if there is one."""
        self._find()
        if math.isfinite(sum(vector.dot(vector) for _, vector in self._parameters)):
            return None  # which takes a fifth of the time to look at each number
        return next((name for name, vector in self._parameters if not np.isfinite(vector).all()), None)

    def _find(self) -> None:
        """Look for the arrays where they may have been exchanged; that takes as long as a step of a small net."""
        if self._generation == memory.generation and self._settled:
            return
        self._generation = memory.generation
        self.frozen = [(part, part.frozen) for part in self.model.walk()]
        self._arrays = dict(self.model._named_arrays())
        parameters = {id(array) for array in self.model.get_params_and_grads()[0]}
        self._parameters = [(name, array.ravel(order="K")) for name, array in self._arrays.items() if id(array) in parameters]
        # Arrays of pancake's own Functions stay where they are; a user's Function may exchange its own at any time. Of an
        # array with gaps in it the vector is a copy.
        self._settled = all(map(is_own, self.model.walk())) and all(
            np.may_share_memory(self._arrays[name], vector) for name, vector in self._parameters
        )
