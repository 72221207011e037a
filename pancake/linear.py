"""The linear layer, and what builds one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from pancake import flat
from pancake.flat import Array
from pancake.function import Function, Rng, parameter, size
from pancake.initializers import Initializer, initializer

# Up to this many numbers of input, one product with a column of ones is cheaper than a product and a sum:
# a quarter of a step of a 2-10-10-1 net.
SMALL = 2048

# The gradient of a large weight is added up in pieces of about this many numbers: each piece of the product is still in
# cache when it is added, and a step of a 1024-2048-2048-10 net needs 16 MB less.
BLOCK = 1 << 17


class Linear(Function):
    """y = x W^T + b on the last axis: a weighted sum of the inputs for every output.

    With x of shape (..., I), W (O, I), b (O,), y (..., O), and n running over all leading axes:
    dObj_dIn = dObj_dOut W, grad_weight = sum_n dObj_dOut_n^T x_n, grad_bias = sum_n dObj_dOut_n.

    Parameters
    ----------
    n_in, n_out : int
        I and O, the numbers of input and output features.
    bias : bool
        Whether to add b.
    init : str or callable
        The scheme for W, a name from `pancake.initializers` or a function (n_in, n_out, rng) -> (O, I). b starts at 0;
        torch starts both at U(+-1 / sqrt(I)).
    rng : None, int or numpy.random.Generator
    dtype : floating dtype
        Of the parameters and of all that comes out.

    Attributes
    ----------
    weight, grad_weight : ndarray (O, I)
    bias, grad_bias : ndarray (O,), or None without bias

    Raises
    ------
    ValueError
        If the last axis of the input is not I, or the input is 0-d or empty.

    References
    ----------
    The equation is that of https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()
    bias: Array = parameter()
    grad_bias: Array = parameter()

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        init: str | Initializer = "he_normal",
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n_in, self.n_out = size(self, n_in=n_in), size(self, n_out=n_out)
        initializer(init)  # to refuse an unknown name now
        self.init = init
        if bias:
            self.make_parameters(dtype, weight=(n_out, n_in), bias=(n_out,))
        else:
            self.make_parameters(dtype, weight=(n_out, n_in))
            vars(self).update(bias=None, grad_bias=None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        self.weight = initializer(self.init)(self.n_in, self.n_out, np.random.default_rng(rng))
        if self.bias is not None:
            self.bias.fill(0)

    def _has_parameters(self) -> bool:
        return True

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "bias": self.bias is not None}

    def compute_forward(self, x: Any) -> Array:
        work: _Work | None = self._views
        if work is None or x.__class__ is not np.ndarray or x.shape != work.x.shape or x.dtype is not work.x.dtype:
            work = self._prepare(x)
        else:
            work.x[...] = x
        self._cache = work
        y: Array = work.rows.dot(work.weight)
        if work.bias is not None:
            y += work.bias
        return y if len(work.shape) == 2 else y.reshape(work.shape)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        dObj_dIn: Array = self._accumulate(dObj_dOut).dot(self.weight)
        shape = self._cache.shape
        return dObj_dIn if len(shape) == 2 else dObj_dIn.reshape(*shape[:-1], self.n_in)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Add to grad_weight and grad_bias only."""
        self._accumulate(dObj_dOut)

    def _accumulate(self, dObj_dOut: Any) -> Array:
        """Add to the gradients and return dObj_dOut as rows (N, O)."""
        work: _Work | None = self._cache
        if work is None:
            self._no_forward()
        d: Array = dObj_dOut
        if d.__class__ is not np.ndarray or d.shape != work.shape or d.dtype is not work.x.dtype:
            d = self._upstream(d, work.shape, work.x.dtype)
        if len(work.shape) != 2:
            d = d.reshape(-1, self.n_out)
        grad = work.grad
        if grad.size <= BLOCK:
            grad += work.rows.T.dot(d)
        else:
            step = max(1, BLOCK // self.n_out)
            for i in range(0, len(grad), step):
                grad[i : i + step] += work.rows[:, i : i + step].T.dot(d)
        if work.grad_bias is not None:
            grad_bias = work.grad_bias
            grad_bias += d.sum(axis=0)
        return d

    def _prepare(self, x: Any) -> _Work:
        """Check a new kind of input and find the way to compute with it."""
        x = self._floats(x).astype(self.weight.dtype, copy=False)
        if x.ndim == 0 or x.shape[-1] != self.n_in:
            hint = "; reshape(1, -1) makes one example of it, reshape(-1, 1) one feature" if x.ndim == 1 else ""
            raise ValueError(f"{self!r}: expected (..., {self.n_in}), got {x.shape}{hint}")
        work: _Work | None = self._views
        if work is not None and x.shape == work.x.shape:
            work.x[...] = x
            return work
        self._views = None
        shape = (*x.shape[:-1], self.n_out)
        if x.size <= SMALL and x.ndim == 2 and self.bias is not None:
            runs = flat.runs([self.weight, self.bias], [self.grad_weight, self.grad_bias])
            # W^T and b lie one after the other, so they are one matrix (I + 1, O) with b as its last row; in a copy of a
            # model that shares one of them with another Function they may lie apart
            if len(runs) == 1:
                weight, grad = runs[0].values.reshape(-1, self.n_out), runs[0].grads.reshape(-1, self.n_out)
                rows = np.ones((len(x), self.n_in + 1), x.dtype)
                rows[:, :-1] = x
                self._views = work = _Work(rows[:, :-1], rows, weight, grad, None, None, shape)
                return work
        return _Work(x, x.reshape(-1, self.n_in), self.weight.T, self.grad_weight.T, self.bias, self.grad_bias, shape)


class _Work(NamedTuple):
    """What `Linear` computes with: y = rows weight + bias."""

    x: Array  # the input; where it is small a view of `rows`, to be written to
    rows: Array  # (N, I), or (N, I + 1) with a column of ones in place of the bias
    weight: Array  # W^T (I, O), or (I + 1, O) with b as the last row
    grad: Array  # the gradient of that
    bias: Array | None
    grad_bias: Array | None
    shape: tuple[int, ...]  # of the output
