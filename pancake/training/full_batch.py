"""A model, a loss and all examples at once as one function of one vector: what methods of numerical optimisation minimise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake.function import Function
from pancake.training.arrays import first_not_finite
from pancake.training.batches import Batch
from pancake.training.errors import NonFiniteError
from pancake.training.not_finite import reason

Vector = NDArray[np.float64]


class FullBatch:
    """The loss over all examples, as a function of all parameters one after another.

    Attributes
    ----------
    best : tuple of float and ndarray
        The lowest loss so far, and the parameters that it belongs to.
    """

    def __init__(self, model: Function, loss: Any, data: Batch) -> None:
        self.model, self.loss = model, loss
        self.x, self.y, self.weight, _ = data
        self.params, self.grads = model.get_params_and_grads()
        if not self.params:
            raise ValueError(f"minimize: {model!r} has no parameters to train")
        self.ends = np.cumsum([0, *(p.size for p in self.params)])
        value = self.value()
        if not np.isfinite(value):
            why = reason(model, self.x, self.y, self.weight, None)
            raise NonFiniteError(f"minimize: the loss is {value} before the first iteration: {why}")
        if value != self.value():
            raise ValueError(
                "minimize: expected a model that gives the same loss twice with the same weights; is there a Dropout in it? "
                "put that into eval(), or train with fit"
            )
        self.best = value, self.parameters()

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return int(self.ends[-1])

    def parameters(self) -> Vector:
        """All parameters as one vector."""
        return np.concatenate([p.ravel() for p in self.params]).astype(np.float64)

    def put(self, vector: Vector) -> None:
        """Give the model the parameters of a vector."""
        for p, begin, end in zip(self.params, self.ends, self.ends[1:], strict=False):
            p[...] = vector[begin:end].reshape(p.shape)

    def clear(self) -> None:
        """Set all gradients to 0."""
        for grad in self.grads:
            grad.fill(0)

    def gradient(self) -> Vector:
        """All gradients as one vector."""
        return np.concatenate([grad.ravel() for grad in self.grads]).astype(np.float64)

    def value(self) -> float:
        """The loss at the parameters that the model has."""
        pred = self.model(self.x)
        if first_not_finite(np.asarray(pred)) is not None:
            return np.inf  # so the losses that refuse nan need not be asked
        objective = self.loss(pred, self.y) if self.weight is None else self.loss(pred, self.y, self.weight)
        value = float(np.sum(objective))
        return value if np.isfinite(value) else np.inf

    def value_at(self, vector: Vector) -> float:
        """The loss at the parameters of a vector, which the model then has."""
        self.put(vector)
        value = self.value()
        if value < self.best[0]:
            self.best = value, np.array(vector)
        return value

    def value_and_gradient(self, vector: Vector) -> tuple[float, Vector]:
        """The loss and its gradient at the parameters of a vector, which the model then has."""
        value = self.value_at(vector)
        if not np.isfinite(value):
            return value, np.zeros(self.size)
        self.clear()
        self.model.accumulate_grads(self.loss.compute_backward())
        return value, self.gradient()
