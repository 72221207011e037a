"""The linear layer, and its two halves, one idea each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import Rng, flag, generator, is_sparse, size
from pancake.attributes import parameter
from pancake.function import Function, rows, total
from pancake.initializers import Initializer, initial_bias, initializer
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def features(layer: Any, x: Any) -> Any:
    """`x` as a float array with the features of the layer on its last axis, else refused; a sparse matrix (B, I) stays sparse."""
    if not is_sparse(x):
        return layer._features(x, layer.n_in, layer.weight.dtype)
    if x.ndim != 2 or not x.shape[0] or x.shape[1] != layer.n_in or np.dtype(x.dtype).kind not in "biuf":
        raise ValueError(f"{layer!r}: expected (B, {layer.n_in}), got a sparse matrix {x.shape} of {x.dtype}")
    return x.tocsr(copy=True).astype(layer.weight.dtype, copy=False)


class Linear(Function):
    """y = x W^T + b on the last axis: a weighted sum of the inputs for every output.

    With n running over all leading axes,

        dObj_dIn = dObj_dOut W,  grad_weight = sum_n dObj_dOut_n^T x_n,  grad_bias = sum_n dObj_dOut_n.

    Shape
    -----
    x : (..., I), or a sparse matrix (B, I) of SciPy;  W : (O, I);  b : (O,);  y : (..., O)

    Parameters
    ----------
    n_in, n_out : int
        I and O, the numbers of input and output features.
    bias : bool
        Whether to add b.
    init : str or callable
        The scheme for W, a name from `pancake.initializers` or a function (n_in, n_out, rng) -> (O, I). With
        "torch_uniform", W and b start at U(+-1 / sqrt(I)), as in torch; with all others b starts at 0.
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
        init: str | Initializer = "torch_uniform",
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n_in, self.n_out = size(self, n_in=n_in), size(self, n_out=n_out)
        initializer(init, self)  # to refuse an unknown name now
        self.init = init
        self.make_parameters(dtype, weight=(n_out, n_in), bias=(n_out,) if flag(self, "bias", bias) else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        rng = generator(self, rng)
        self.weight = initializer(self.init)(self.n_in, self.n_out, rng)
        if self.bias is not None:
            self.bias = initial_bias(self.init, self.n_in, self.n_out, rng)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "bias": self.bias is not None}

    def compute_forward(self, x: Any) -> Array:
        x = features(self, x)
        self._remember(x)
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, (*x.shape[:-1], self.n_out), x.dtype)
        self.grad_weight += rows(d).T @ rows(x)
        if self.bias is not None:
            self.grad_bias += total(d)
        return d @ self.weight

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Do what `compute_backward` does, without dObj_dIn, which would be as large as a sparse input is not."""
        x = self._remembered()
        d = self._upstream(dObj_dOut, (*x.shape[:-1], self.n_out), x.dtype)
        self.grad_weight += (x.T @ d).T if is_sparse(x) else rows(d).T @ rows(x)
        if self.bias is not None:
            self.grad_bias += total(d)


class MatMul(Function):
    """y = x W^T on the last axis.

    With n running over all leading axes, dObj_dIn = dObj_dOut W and grad_weight = sum_n dObj_dOut_n^T x_n. `AddBias` after it
    makes a `Linear`.

    Shape
    -----
    x : (..., I);  W : (O, I);  y : (..., O)

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
        init: str | Initializer = "torch_uniform",
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n_in, self.n_out = size(self, n_in=n_in), size(self, n_out=n_out)
        initializer(init, self)  # to refuse an unknown name now
        self.init = init
        self.make_parameters(dtype, weight=(n_out, n_in))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weight anew."""
        self.weight = initializer(self.init)(self.n_in, self.n_out, generator(self, rng))

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n_in, self.weight.dtype)
        self._remember(x)
        return x @ self.weight.T

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, (*x.shape[:-1], self.n_out), x.dtype)
        self.grad_weight += rows(d).T @ rows(x)
        return d @ self.weight


class AddBias(Function):
    """y = x + b on the last axis.

    dObj_dIn = dObj_dOut, and grad_bias is the sum of dObj_dOut over all leading axes. Source: the sum rule.

    Shape
    -----
    x, y : (..., O);  b : (O,)

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

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.bias.dtype)
        self._remember(x.shape, x.dtype)
        return x + self.bias

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._upstream(dObj_dOut, *self._remembered())
        self.grad_bias += total(d)
        return d.copy()
