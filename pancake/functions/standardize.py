"""Features brought to mean 0 and scale 1 by numbers that are given: scaling as a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pancake.arguments import Rng, floating_dtype, length, numeric
from pancake.function import Function
from pancake.functions.normalization import centred, mean_square
from pancake.memory import Array


class Standardize(Function):
    """y = (x - m) / s for each feature, with a mean m and a scale s that are given: nothing here is trained.

    dObj_dIn = dObj_dOut / s. As the first layer it makes scaling a part of the model, and of its file: `Standardize.of(X)`
    takes m and s from data, those of a column of X and its standard deviation, with 1 for the scale of a constant column.

    Shape
    -----
    x, y : (..., C);  m, s : (C,)

    Parameters
    ----------
    n : int
        C, the number of features.
    mean : array_like (C,), optional
        m, 0 if not given.
    scale : array_like (C,), optional
        s, each more than 0; 1 if not given.
    rng : ignored
        Nothing is random here.
    dtype : floating dtype
        Of m and s, and of all that comes out.

    Attributes
    ----------
    mean, scale : ndarray (C,)
        m and s, which are saved with the model.

    Raises
    ------
    ValueError
        If the last axis of the input is not C.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.StandardScaler.html
    """

    buffers = ("mean", "scale")

    def __init__(
        self,
        n: int,
        mean: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        *,
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n = length(self, n=n)
        self.mean: Array = np.zeros(n, floating_dtype(self, dtype))
        self.scale: Array = np.ones_like(self.mean)
        for name, value in (("mean", mean), ("scale", scale)):
            if value is not None:
                vars(self)[name][...] = self._given(name, value)
        if not (self.scale > 0).all():
            raise ValueError(
                f"Standardize({n}): expected every scale to be more than 0, got {self.scale.min()} in {self.scale.dtype}; "
                "1 leaves a constant column as it is, which is what Standardize.of(X) does"
            )

    @classmethod
    def of(cls, X: ArrayLike, *, dtype: DTypeLike = np.float64) -> Standardize:
        """The layer with the mean and the standard deviation of each column of X, all leading axes being the examples.

        Parameters
        ----------
        X : array_like (..., C)
        dtype : floating dtype
            Of the layer; the statistics are computed in float64.

        Raises
        ------
        TypeError, ValueError
            If X is no array of finite real numbers with at least one example.
        """
        data = numeric(cls, X, "X").astype(np.float64)
        if data.ndim < 2 or not data.size:
            hint = "; reshape(-1, 1) makes one feature of it" if data.ndim == 1 and data.size else ""
            raise ValueError(f"Standardize.of: expected X of shape (..., C) with at least one example, got {data.shape}{hint}")
        data = data.reshape(-1, data.shape[-1])
        finite = np.isfinite(data).all(axis=0)
        if not finite.all():
            raise ValueError(
                f"Standardize.of: expected finite numbers, got nan or infinity in column {int(np.argmin(finite))} of X; fill in "
                "what is missing first, or leave those rows out"
            )
        constant = data.min(axis=0) == data.max(axis=0)
        largest = np.where(constant, 1, np.abs(data).max(axis=0))  # so that no square is too large or too small
        means, c = centred(data / largest, axis=0)
        scale = np.where(constant, 1, largest * np.sqrt(mean_square(c, axis=0))[0])
        return cls(data.shape[1], np.where(constant, data[0], largest * means[0]), scale, dtype=dtype)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Leave mean and scale as they are: they come from the data."""

    def _given(self, name: str, value: ArrayLike) -> Array:
        with np.errstate(over="ignore"):
            array = numeric(self, value, name).astype(self.mean.dtype)
        if array.shape != (self.n,) or not np.isfinite(array).all():
            got = f"an array of shape {array.shape}" if array.shape != (self.n,) else f"nan or infinity in {self.mean.dtype}"
            raise ValueError(f"Standardize({self.n}): expected {name} to be {self.n} finite numbers, got {got}")
        return array

    def _arguments(self) -> dict[str, Any]:
        short = self.n <= 20  # what a repr has room for; files keep both as buffers
        given = {"mean": self.mean.tolist(), "scale": self.scale.tolist()} if short else {}
        return {"n": self.n, **given, "dtype": self.mean.dtype}

    def compute_forward(self, x: Any) -> Array:
        x = self._features(x, self.n, self.mean.dtype)
        self._remember(x.shape, self.scale)
        return (x - self.mean) / self.scale

    def compute_backward(self, dObj_dOut: Any) -> Array:
        shape, s = self._remembered()
        return self._upstream(dObj_dOut, shape, s.dtype) / s
