"""Numbers dropped at random, so that no unit relies on another."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.arguments import Rng, generator, share
from pancake.attributes import checked
from pancake.function import Function
from pancake.memory import Array


class Dropout(Function):
    """In training y = x m / (1 - p), each entry of the mask m being 0 with probability p, else 1; in evaluation y = x.

    dy/dx = m / (1 - p), with the mask of the latest forward; in evaluation 1. Each forward in training draws a fresh mask.
    The factor makes the mean of y that of x ("inverted dropout"). With p = 1 all is 0.

    Shape
    -----
    x, y : (...), any shape

    Parameters
    ----------
    p : float
        The probability of dropping an entry, from 0 to 1.
    rng : None, int or numpy.random.Generator
        Where the masks come from.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014), section 10.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html
    """

    p: float = checked(share)

    def __init__(self, p: float = 0.5, rng: Rng = None) -> None:
        self.p = p
        self.rng = generator(self, rng)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        if self.training and self.p > 0:
            keep = self.rng.random(x.shape, np.float32) >= self.p  # 24 random bits are enough for a mask
            mask = np.where(keep, 0 if self.p == 1 else 1 / (1 - self.p), 0).astype(x.dtype)
        else:
            mask = np.ones_like(x)
        self._remember(mask)
        return x * mask

    def compute_backward(self, dObj_dOut: Any) -> Array:
        mask = self._remembered()
        return self._upstream(dObj_dOut, mask.shape, mask.dtype) * mask
