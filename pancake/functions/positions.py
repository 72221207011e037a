"""Where a step stands in its sequence, added to what it is: attention by itself does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, generator, size
from pancake.attributes import parameter
from pancake.function import Function, total
from pancake.initializers import Initializer, initializer
from pancake.memory import Array


class PositionalEmbedding(Function):
    """y_t = x_t + W_t: a trainable vector for every place in a sequence.

    dObj_dIn = dObj_dOut, and row t of grad_weight is the sum of dObj_dOut_t over all leading axes. Source: the sum rule.

    Shape
    -----
    x, y : (..., T, F), T up to max_length;  W : (max_length, F)

    Parameters
    ----------
    max_length : int
        How many places there are.
    n : int
        F, the number of features.
    init : str or callable
        The scheme for W, as in `Embedding`: N(0, 1) by default.
    rng : None, int or numpy.random.Generator
    dtype : floating dtype

    Attributes
    ----------
    weight, grad_weight : ndarray (max_length, F)

    Raises
    ------
    ValueError
        If the last axis of the input is not F, or the one before it, T, is missing or longer than max_length.

    References
    ----------
    Gehring et al., "Convolutional Sequence to Sequence Learning" (2017), section 3.1.
    Radford et al., "Improving Language Understanding by Generative Pre-Training" (2018), equation 2: W_p.
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()

    def __init__(
        self,
        max_length: int,
        n: int,
        *,
        init: str | Initializer = "normal",
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.max_length, self.n = size(self, max_length=max_length), size(self, n=n)
        initializer(init, self)  # to refuse an unknown name now
        self.init = init
        self.make_parameters(dtype, order="C", weight=(max_length, n))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weight anew."""
        self.weight = initializer(self.init)(self.n, self.max_length, generator(self, rng))

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.weight.dtype)
        if x.ndim < 2 or x.shape[-2] > self.max_length:
            raise ValueError(f"{self!r}: expected sequences (..., T, {self.n}), T up to {self.max_length}, got {x.shape}")
        self._remember(x.shape, x.dtype)
        return x + self.weight[: x.shape[-2]]

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._upstream(dObj_dOut, *self._remembered())
        T = d.shape[-2]
        self.grad_weight[:T] += total(d.reshape(-1, T * self.n)).reshape(T, self.n)
        return d.copy()


class SinusoidalPositions(Function):
    """y_t = x_t + s_t, with s_t,2i = sin(t / 10000^(2i / F)) and s_t,2i+1 = cos(t / 10000^(2i / F)).

    dObj_dIn = dObj_dOut. The columns are hands of clocks, each slower than the one before: a step further on turns each by
    the same angle wherever it is, so distances can be read off by a product. Nothing is learnt, and there is no longest sequence.

    Shape
    -----
    x, y : (..., T, F)

    Parameters
    ----------
    n : int
        F, the number of features.

    Raises
    ------
    ValueError
        If the last axis of the input is not F, or there is none before it.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), section 3.5.
    """

    def __init__(self, n: int) -> None:
        self.n = size(self, n=n)

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        if x.ndim < 2 or x.shape[-1] != self.n:
            raise ValueError(f"{self!r}: expected sequences (..., T, {self.n}), got {x.shape}")
        t, column = np.arange(x.shape[-2])[:, np.newaxis], np.arange(self.n)
        angle = t / 10000 ** ((column - column % 2) / self.n)
        s = np.where(column % 2, np.cos(angle), np.sin(angle))
        self._remember(x.shape, x.dtype)
        return x + s.astype(x.dtype)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        return self._upstream(dObj_dOut, *self._remembered()).copy()
