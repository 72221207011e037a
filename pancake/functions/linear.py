"""The linear layer, and what builds one."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake import memory
from pancake.arguments import Rng, size
from pancake.fast.layout import merged, time_first, unmerged
from pancake.function import Function, parameter
from pancake.initializers import Initializer, initializer
from pancake.memory import Array

# Up to this many numbers of input, one product with a column of ones is cheaper than a product and a sum:
# a quarter of a step of a 2-10-10-1 net, 8 % of that of a 64-128-64-10 net.
SMALL = 1 << 14


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
        x = self._checked(x)
        swapped, shape = time_first(x), (*x.shape[:-1], self.n_out)
        rows = merged(x, swapped, self.n_in)
        self._cache = self._way(len(rows)), swapped, shape
        y: Array = unmerged(self._cache[0].forward(rows), swapped, shape)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        way, rows = self._at(dObj_dOut)
        return self._unmerged(way.backward(rows))

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Add to grad_weight and grad_bias only."""
        way, rows = self._at(dObj_dOut)
        way.accumulate(rows)

    # The same two where the gradients are known to be zero and nobody else adds to them: the products go into them.

    def _backward_into_zeros(self, dObj_dOut: Any) -> Array:
        way, rows = self._at(dObj_dOut)
        return self._unmerged(way.backward_into_zeros(rows))

    def _accumulate_into_zeros(self, dObj_dOut: Any) -> None:
        way, rows = self._at(dObj_dOut)
        way.accumulate_into_zeros(rows)

    def _at(self, dObj_dOut: Any) -> tuple[Way, Array]:
        """The way that the latest forward took, and dObj_dOut as rows (n, O)."""
        way, swapped, shape = self._remembered()
        return way, merged(self._upstream(dObj_dOut, shape, self.weight.dtype), swapped, self.n_out)

    def _unmerged(self, rows: Array) -> Array:
        _, swapped, shape = self._cache
        dObj_dIn: Array = unmerged(rows, swapped, (*shape[:-1], self.n_in))
        return dObj_dIn

    def _evaluate(self, x: Any, fresh: bool) -> Array:
        weight, bias = self.weight, self.bias
        if x.__class__ is not np.ndarray or x.ndim != 2 or x.shape[1] != weight.shape[1] or x.dtype is not weight.dtype:
            x = self._checked(x)
            if x.ndim != 2:
                swapped = time_first(x)
                rows = self._evaluate(merged(x, swapped, self.n_in), fresh)
                sequences: Array = unmerged(rows, swapped, (*x.shape[:-1], self.n_out))
                return sequences
        y: Array = x.dot(weight.T)
        if bias is not None:
            y += bias
        return y

    def _way(self, n: int) -> Way:
        """How to compute with n rows; in training, where there are many batches of one size, the one of the latest batch."""
        way: Way | None = self._views
        if way is None or way.n != n or not self.training:
            runs: list[memory.Run] = []
            if self.training and self.bias is not None and n * self.n_in <= SMALL:
                # W^T and b lie one after the other; in a copy that shares one of them with another Function they may not
                if isinstance(way, Joined):
                    runs = [way.run]
                else:
                    runs = memory.runs([self.weight, self.bias], [self.grad_weight, self.grad_bias])
            way = Joined(self, n, runs[0]) if len(runs) == 1 else Apart(self, n)
            if self.training:
                self._views = way
        return way

    def _checked(self, x: Any) -> Array:
        """The input as an array of the dtype of the weight."""
        x = self._floats(x).astype(self.weight.dtype, copy=False)
        if x.ndim == 0 or x.shape[-1] != self.n_in:
            hint = "; reshape(1, -1) makes one example of it, reshape(-1, 1) one feature" if x.ndim == 1 else ""
            raise ValueError(f"{self!r}: expected (..., {self.n_in}), got {x.shape}{hint}")
        array: Array = x
        return array


class Way:
    """How `Linear` computes with n rows x (n, I), and what it remembers of them: y = x weight + bias.

    Nothing is checked here. The arrays are those of the layer, or views of them.
    """

    n: int
    weight: Array  # W^T (I, O), which lies row by row in memory
    backward_weight: Array  # W (O, I)
    grad: Array  # of weight
    class_major: bool  # whether y lies in memory as (O, n), in which losses reduce over classes fast

    def forward(self, x: Array) -> Array:
        """Remember x and return y, a fresh array."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let go of x."""

    def accumulate(self, d: Array) -> None:
        """Add to the gradients, for dObj_dOut d (n, O)."""
        raise NotImplementedError

    def backward(self, d: Array) -> Array:
        """Add to the gradients and return dObj_dIn."""
        raise NotImplementedError

    # The same where the gradients are zero and lie row by row: products can go straight into them.

    def accumulate_into_zeros(self, d: Array) -> None:
        raise NotImplementedError

    def backward_into_zeros(self, d: Array) -> Array:
        raise NotImplementedError


class Joined(Way):
    """For small inputs: beside x stands a column of ones, below W^T the bias, so that one product does both."""

    def __init__(self, layer: Linear, n: int, run: memory.Run) -> None:
        self.n, self.run = n, run
        self.weight, self.grad = run.values.reshape(-1, layer.n_out), run.grads.reshape(-1, layer.n_out)
        self.backward_weight = layer.weight
        self.class_major = _class_major(layer)
        self.rows = np.ones((n, layer.n_in + 1), self.weight.dtype)
        self.rows_t, self.of_x, self.weight_t = self.rows.T, self.rows[:, :-1], self.weight.T

    def forward(self, x: Array) -> Array:
        self.of_x[...] = x
        y: Array = self.weight_t.dot(self.rows_t).T if self.class_major else self.rows.dot(self.weight)
        return y

    def accumulate(self, d: Array) -> None:
        grad = self.grad
        grad += self.rows_t.dot(d)

    def backward(self, d: Array) -> Array:
        grad = self.grad
        grad += self.rows_t.dot(d)
        dObj_dIn: Array = d.dot(self.backward_weight)
        return dObj_dIn

    def accumulate_into_zeros(self, d: Array) -> None:
        self.rows_t.dot(d, self.grad)

    def backward_into_zeros(self, d: Array) -> Array:
        self.rows_t.dot(d, self.grad)
        dObj_dIn: Array = d.dot(self.backward_weight)
        return dObj_dIn


class Apart(Way):
    """For large inputs: the bias is added after the product."""

    def __init__(self, layer: Linear, n: int) -> None:
        self.n = n
        self.weight, self.grad = layer.weight.T, layer.grad_weight.T
        self.backward_weight = layer.weight
        self.bias, self.grad_bias = layer.bias, layer.grad_bias
        self.class_major = _class_major(layer)

    def forward(self, x: Array) -> Array:
        self.x = x
        y: Array = self.backward_weight.dot(x.T).T if self.class_major else x.dot(self.weight)
        if self.bias is not None:
            y += self.bias
        return y

    def forget(self) -> None:
        self.x = np.empty((0, 0))

    def accumulate(self, d: Array) -> None:
        grad, grad_bias = self.grad, self.grad_bias
        grad += self.x.T.dot(d)
        if grad_bias is not None:
            grad_bias += self.ones.dot(d)

    def backward(self, d: Array) -> Array:
        self.accumulate(d)
        dObj_dIn: Array = d.dot(self.backward_weight)
        return dObj_dIn

    def accumulate_into_zeros(self, d: Array) -> None:
        self.x.T.dot(d, self.grad)
        if self.grad_bias is not None:
            self.ones.dot(d, self.grad_bias)

    def backward_into_zeros(self, d: Array) -> Array:
        self.accumulate_into_zeros(d)
        dObj_dIn: Array = d.dot(self.backward_weight)
        return dObj_dIn

    @functools.cached_property
    def ones(self) -> Array:
        """(n,): its product with dObj_dOut is the sum over its rows, three times as fast."""
        return np.ones(self.n, self.weight.dtype)


def _class_major(layer: Linear) -> bool:
    return layer.n_out <= 32 and 4 * layer.n_out <= layer.n_in


class MatMul(Function):
    """y = x W^T on the last axis.

    With x (..., I), W (O, I), y (..., O), and n running over all leading axes: dObj_dIn = dObj_dOut W and
    grad_weight = sum_n dObj_dOut_n^T x_n. `AddBias` after it makes a `Linear`.

    Parameters
    ----------
    n_in, n_out : int
        I and O, the numbers of input and output features.
    init, rng, dtype
        As in `Linear`.

    Attributes
    ----------
    weight, grad_weight : ndarray (O, I)

    Raises
    ------
    ValueError
        If the last axis of the input is not I.

    References
    ----------
    Giles, "Collected Matrix Derivative Results for Forward and Reverse Mode Algorithmic Differentiation" (2008), section 2.2.2.
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        init: str | Initializer = "he_normal",
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n_in, self.n_out = size(self, n_in=n_in), size(self, n_out=n_out)
        initializer(init)  # to refuse an unknown name now
        self.init = init
        self.make_parameters(dtype, weight=(n_out, n_in))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weight anew."""
        self.weight = initializer(self.init)(self.n_in, self.n_out, np.random.default_rng(rng))

    def _has_parameters(self) -> bool:
        return True

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x).astype(self.weight.dtype, copy=False)
        if x.ndim == 0 or x.shape[-1] != self.n_in:
            raise ValueError(f"{self!r}: expected (..., {self.n_in}), got {x.shape}")
        self._cache = x
        y: Array = x @ self.weight.T
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x: Array = self._remembered()
        d = self._upstream(dObj_dOut, (*x.shape[:-1], self.n_out), x.dtype)
        self.grad_weight += d.reshape(-1, self.n_out).T @ x.reshape(-1, self.n_in)
        dObj_dIn: Array = d @ self.weight
        return dObj_dIn


class AddBias(Function):
    """y = x + b on the last axis.

    With x and y (..., O) and b (O,): dObj_dIn = dObj_dOut, and grad_bias is the sum of dObj_dOut over all leading axes.
    Source: the sum rule.

    Parameters
    ----------
    n : int
        O, the number of features.
    rng : ignored
        Nothing is random here; b starts at 0.
    dtype : floating dtype

    Attributes
    ----------
    bias, grad_bias : ndarray (O,)

    Raises
    ------
    ValueError
        If the last axis of the input is not O.
    """

    bias: Array = parameter()
    grad_bias: Array = parameter()

    def __init__(self, n: int, *, rng: Rng = None, dtype: DTypeLike = np.float64) -> None:
        self.n = size(self, n=n)
        self.make_parameters(dtype, bias=(n,))

    def reset_parameters(self, rng: Rng = None) -> None:
        """Set b back to 0."""
        self.bias.fill(0)

    def _has_parameters(self) -> bool:
        return True

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x).astype(self.bias.dtype, copy=False)
        if x.ndim == 0 or x.shape[-1] != self.n:
            raise ValueError(f"{self!r}: expected (..., {self.n}), got {x.shape}")
        y: Array = x + self.bias
        self._cache = y.shape, y.dtype
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._upstream(dObj_dOut, *self._remembered())
        self.grad_bias += d.reshape(-1, self.n).sum(axis=0)
        return d.copy()
