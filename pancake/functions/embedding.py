"""Rows of a table in place of indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import Rng, as_array, generator, size
from pancake.attributes import parameter
from pancake.function import Function, wide
from pancake.initializers import Initializer, initializer
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class Embedding(Function):
    """y = row x of W: a trainable vector for every index, as of a word.

    The row i of grad_weight is the sum of dObj_dOut over all places where x is i. An index has no derivative, so dObj_dIn is
    zeros shaped like x.

    Shape
    -----
    x : (...), indices in any shape;  W : (V, D);  y : (..., D)

    Parameters
    ----------
    num_embeddings : int
        V, the number of rows; indices go from 0 to V - 1.
    dim : int
        D, the length of a row.
    init : str or callable
        The scheme for W, a name from `pancake.initializers` or a function (n_in, n_out, rng) -> (n_out, n_in), which is called
        with n_in = D and n_out = V. N(0, 1) by default, as in torch.
    rng : None, int or numpy.random.Generator
    dtype : floating dtype

    Attributes
    ----------
    weight, grad_weight : ndarray (V, D)

    Raises
    ------
    TypeError
        If the input is not whole numbers.
    ValueError
        If an index is less than 0 or more than V - 1, or there is none.

    References
    ----------
    Bengio, Ducharme, Vincent, Jauvin, "A Neural Probabilistic Language Model" (2003), section 2: the mapping C.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()

    def __init__(
        self,
        num_embeddings: int,
        dim: int,
        *,
        init: str | Initializer = "normal",
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.num_embeddings, self.dim = size(self, num_embeddings=num_embeddings), size(self, dim=dim)
        initializer(init, self)  # to refuse an unknown name now
        self.init = init
        self.make_parameters(dtype, order="C", weight=(num_embeddings, dim))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weight anew."""
        self.weight = initializer(self.init)(self.dim, self.num_embeddings, generator(self, rng))

    def compute_forward(self, x: Any) -> Array:
        x = self._indices(x)
        self._remember(x)
        return self.weight[x]

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        d = self._upstream(dObj_dOut, (*x.shape, self.dim), self.weight.dtype)
        if d.dtype == wide(d.dtype):
            np.add.at(self.grad_weight, x, d)
        else:
            sums = np.zeros(self.weight.shape, wide(d.dtype))
            np.add.at(sums, x, d)
            self.grad_weight += sums
        return np.zeros(x.shape, d.dtype)

    def _indices(self, x: Any) -> NDArray[np.intp]:
        """The input as an array of indices that the table has, else refused."""
        indices = as_array(self, x, "input")
        if not indices.size:
            raise ValueError(f"{self!r}: expected at least one index, got an empty input of shape {indices.shape}")
        if indices.dtype.kind not in "iu":
            hint = "; use x.astype(int)" if indices.dtype.kind == "f" else ""
            raise TypeError(f"{self!r}: expected whole numbers, got an input of dtype {indices.dtype}{hint}")
        if indices.min() < 0 or indices.max() >= self.num_embeddings:
            beyond = indices.max() == self.num_embeddings
            hint = f"; num_embeddings counts index 0 too: make it {indices.max() + 1}" if beyond else ""
            raise ValueError(
                f"{self!r}: expected indices from 0 to {self.num_embeddings - 1}, "
                f"got values from {indices.min()} to {indices.max()}{hint}"
            )
        return indices.astype(np.intp, copy=False)
