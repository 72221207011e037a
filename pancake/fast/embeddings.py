"""`Embedding` on the fast path: rows gathered with time first, as sequences run, and gradients added on a vector."""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np

from pancake.fast import switch
from pancake.functions.embedding import Embedding
from pancake.memory import Array

PAIRS = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}


def add_rows(grad: Array, indices: Any, d: Array) -> None:
    """grad[i] += d[n] for each n and i = indices[n]; grad (V, D), indices (N,), d (N, D).

    On a vector `add.at` is as fast as sorting or faster, and touches no other row; on rows it is many times slower. Where it
    can, it adds numbers two at a time, as the parts of a complex number.
    """
    pairs = grad.shape[1] % 2 == 0 and PAIRS.get(grad.dtype)
    grad, d = (array.view(pairs or array.dtype) for array in (grad, np.ascontiguousarray(d)))
    rows, n = grad.shape
    if rows <= len(indices):
        places = np.arange(rows * n).reshape(rows, n).take(indices, axis=0)
    else:  # the same, without a table of all rows
        places = (indices * n)[:, np.newaxis] + np.arange(n)
    np.add.at(grad.reshape(-1), places.reshape(-1), d.reshape(-1))


def install() -> None:
    """Put the fast path before the methods of `Embedding`."""
    plain_forward, plain_backward = Embedding.compute_forward, Embedding.compute_backward

    @wraps(plain_forward)
    def compute_forward(self: Embedding, x: Any) -> Array:
        if switch.reasons or type(self) is not Embedding:
            return plain_forward(self, x)
        indices = self._indices(x)
        self._remember(indices)
        return self.weight.take(indices.T, axis=0).swapaxes(0, 1) if indices.ndim == 2 else self.weight.take(indices, axis=0)

    @wraps(plain_backward)
    def compute_backward(self: Embedding, dObj_dOut: Any) -> Array:
        grad = self.grad_weight
        if switch.reasons or type(self) is not Embedding or self.frozen or grad.dtype not in PAIRS or not grad.flags.c_contiguous:
            return plain_backward(self, dObj_dOut)
        x = self._remembered()
        d = self._upstream(dObj_dOut, (*x.shape, self.dim), self.weight.dtype)
        if x.ndim == 2:  # the order in which sequences lie in memory
            add_rows(self.grad_weight, x.T.reshape(-1), d.swapaxes(0, 1).reshape(-1, self.dim))
        else:
            add_rows(self.grad_weight, x.reshape(-1), d.reshape(-1, self.dim))
        self._cache.used = True
        return np.zeros(x.shape, d.dtype)

    for method in (compute_forward, compute_backward):
        setattr(Embedding, method.__name__, method)
