"""The linear layer, and what builds one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from pancake import flat
from pancake.arguments import Rng, size
from pancake.flat import Array
from pancake.function import Function, parameter
from pancake.initializers import Initializer, initializer
from pancake.layout import merged, time_first, unmerged

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
        way: _Way | None = self._views
        if way is None or x.__class__ is not np.ndarray or x.shape != way.x_shape or x.dtype is not way.dtype:
            x = self._checked(x)
            if not self.training:
                return self._evaluate(x)
            way = self._views = self._way(x)
        if way.joined is not None:
            way.of_x[...] = x
            self._cache = way.joined, way, False
            joined: Array = way.weight.T.dot(way.joined_t).T if way.class_major else way.joined.dot(way.weight)
            return joined
        swapped = time_first(x)
        rows = merged(x, swapped, self.n_in)
        self._cache = rows, way, swapped
        y: Array = way.weight.T.dot(rows.T).T if way.class_major else rows.dot(way.weight)
        if way.bias is not None:
            y += way.bias
        return y if x.ndim == 2 else unmerged(y, swapped, way.shape)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        dObj_dIn: Array = self._accumulate(dObj_dOut).dot(self.weight)
        _, way, swapped = self._cache
        return dObj_dIn if len(way.x_shape) == 2 else unmerged(dObj_dIn, swapped, way.x_shape)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Add to grad_weight and grad_bias only."""
        self._accumulate(dObj_dOut)

    def _accumulate(self, dObj_dOut: Any) -> Array:
        """Add to the gradients and return dObj_dOut as rows (N, O)."""
        if self._cache is None:
            self._no_forward()
        rows: Array
        way: Any
        rows, way, swapped = self._cache
        if way.__class__ is not _Way:  # but the input, as `_evaluate` has left it
            way = self._way(way)
            self._cache = rows, way, swapped
        d: Array = dObj_dOut
        if d.__class__ is not np.ndarray or d.shape != way.shape or d.dtype is not way.dtype:
            d = self._upstream(d, way.shape, way.dtype)
        grad = way.grad
        if way.joined is not None:
            grad += way.joined_t.dot(d)
            return d
        d = merged(d, swapped, self.n_out)
        if grad.size <= BLOCK:
            grad += rows.T.dot(d)
        else:
            step = max(1, BLOCK // self.n_out)
            for i in range(0, len(grad), step):
                grad[i : i + step] += rows[:, i : i + step].T.dot(d)
        if way.grad_bias is not None:
            grad_bias = way.grad_bias
            grad_bias += way.ones.dot(d)
        return d

    def _evaluate(self, x: Array) -> Array:
        """Forward without preparations, which pay only if there are many inputs of one shape."""
        swapped = time_first(x)
        rows = merged(x, swapped, self.n_in)
        self._cache = rows, x, swapped
        y: Array = rows.dot(self.weight.T)
        if self.bias is not None:
            y += self.bias
        return y if x.ndim == 2 else unmerged(y, swapped, (*x.shape[:-1], self.n_out))

    def _checked(self, x: Any) -> Array:
        """The input as an array of the dtype of the weight."""
        x = self._floats(x).astype(self.weight.dtype, copy=False)
        if x.ndim == 0 or x.shape[-1] != self.n_in:
            hint = "; reshape(1, -1) makes one example of it, reshape(-1, 1) one feature" if x.ndim == 1 else ""
            raise ValueError(f"{self!r}: expected (..., {self.n_in}), got {x.shape}{hint}")
        array: Array = x
        return array

    def _way(self, x: Array) -> _Way:
        shape, n = (*x.shape[:-1], self.n_out), x.size // self.n_in
        class_major = x.ndim == 2 and self.n_out <= 32 and 4 * self.n_out <= self.n_in
        if x.size <= SMALL and x.ndim == 2 and self.bias is not None and self.training:
            runs = flat.runs([self.weight, self.bias], [self.grad_weight, self.grad_bias])
            # W^T and b lie one after the other, so they are one matrix (I + 1, O) with b as its last row; in a copy of a
            # model that shares one of them with another Function they may lie apart
            if len(runs) == 1:
                weight, grad = runs[0].values.reshape(-1, self.n_out), runs[0].grads.reshape(-1, self.n_out)
                rows = np.ones((n, self.n_in + 1), x.dtype)
                return _Way(x.shape, x.dtype, shape, weight, grad, None, None, None, class_major, rows, rows.T, rows[:, :-1])
        weight, grad = self.weight.T, self.grad_weight.T
        ones = None if self.bias is None else np.ones(n, x.dtype)
        return _Way(x.shape, x.dtype, shape, weight, grad, self.bias, self.grad_bias, ones, class_major, None, None, None)


class _Way(NamedTuple):
    """How `Linear` computes with inputs of one shape: y = rows weight + bias."""

    x_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of the output
    weight: Array  # W^T (I, O), or (I + 1, O) with b as the last row
    grad: Array  # its gradient
    bias: Array | None
    grad_bias: Array | None
    ones: Any  # (N,), beside a bias: their product with dObj_dOut is its sum, three times as fast
    class_major: bool  # whether the output lies in memory as (O, N), in which losses reduce over classes fast
    joined: Array | None  # (N, I + 1), where the input is small: beside it a column of ones, which the bias is multiplied by
    joined_t: Any  # its transpose
    of_x: Any  # the view of it that takes the input
