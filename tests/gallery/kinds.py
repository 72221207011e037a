"""More Functions that are wrong on purpose: faults of values, modes, state, memory and precision, and what hints must name."""

from __future__ import annotations

import numpy as np

from gallery.wrong import Gain, Map, fault, normal
from pancake import Function

X = normal(5, 3)
_SHARED = {}


# --- upstream gradients ---


@fault(X, None, "backward is not linear in dObj_dOut: for 0")
class DividesByTheNormOfUpstream(Map):
    def compute_backward(self, dObj_dOut):
        size = np.linalg.norm(dObj_dOut)
        return super().compute_backward(dObj_dOut / size) * size


@fault(X, None, "for one that is 0 but for every other row")
class StopsAtARowOfZeros(Map):
    def compute_backward(self, dObj_dOut):
        d = np.zeros_like(dObj_dOut)
        for i, row in enumerate(dObj_dOut):
            if not row.any():
                break
            d[i] = row * self.df(self.x[i])
        return d


# --- state ---


@fault(X, None, "is something computed from them at the first call and kept?")
class KeepsANormOfItsFirstParameters(Gain):
    size = None

    def compute_forward(self, x):
        self.size = np.abs(self.k).sum() if self.size is None else self.size
        return super().compute_forward(x) / self.size

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(dObj_dOut / self.size)


@fault(X, None, "is the cache an attribute of the class, a default argument or a global")
class CacheOnTheClass(Map):
    cache = {}  # noqa: RUF012

    def compute_forward(self, x):
        self.cache["x"] = x
        return np.tanh(x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.df(self.cache["x"])


@fault(X, None, "a copy of it that runs between forward and backward changes the result")
class CacheInAGlobal(Map):
    def compute_forward(self, x):
        _SHARED["x"] = x
        return np.tanh(x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.df(_SHARED["x"])


@fault(X, None, "ClipsItsParameter.compute_forward writes to k; only optimizers change parameters")
class ClipsItsParameter(Gain):
    def compute_forward(self, x):
        np.clip(self.k, -1, 1, out=self.k)
        return super().compute_forward(x)


@fault(X, None, "DecaysItsParameter.compute_backward writes to k")
class DecaysItsParameter(Gain):
    def compute_backward(self, dObj_dOut):
        d = super().compute_backward(dObj_dOut)
        self.k *= 0.99
        return d


@fault(X, None, "forward rebinds parameter k to another array")
class RebindsInForward(Gain):
    def compute_forward(self, x):
        self.k = self.k * 1.0
        return super().compute_forward(x)


@fault(X, None, "forward and backward number 5 give something else than the first")
class WrongFromTheFifthOn(Map):
    calls = 0

    def compute_backward(self, dObj_dOut):
        self.calls += 1
        return super().compute_backward(dObj_dOut) * (1 if self.calls < 5 else 1.5)


# --- memory and precision ---


@fault(X, None, "the output of forward is the same array as the input")
class ReturnsItsInput(Function):
    def compute_forward(self, x):
        return x

    def compute_backward(self, dObj_dOut):
        return dObj_dOut.copy()


@fault(X, None, "the output of forward shares memory with the input")
class ReturnsAViewOfItsInput(ReturnsItsInput):
    def compute_forward(self, x):
        return x[::-1]

    def compute_backward(self, dObj_dOut):
        return dObj_dOut[::-1].copy()


@fault(X, None, "dObj_dIn moves in steps as coarse as float32 when x moves a little")
class CacheInSinglePrecision(Map):
    def compute_forward(self, x):
        self.x = x.astype(np.float32).astype(np.float64)
        return np.tanh(x)


@fault(X, None, "returned complex numbers (complex128) for real input")
class Spectrum(Function):
    def compute_forward(self, x):
        return np.fft.rfft(x, axis=1)

    def compute_backward(self, dObj_dOut):
        return np.fft.irfft(dObj_dOut, 3, axis=1)


# --- modes and conditions ---


@fault(X, None, "in evaluation mode: RightInTrainingOnly.x[")
class RightInTrainingOnly(Map):
    def compute_forward(self, x):
        self.x = x
        return np.tanh(x) * (1.0 if self.training else 0.5)


@fault(X, None, "in evaluation mode: RemembersInTrainingOnly.compute_backward raised AttributeError")
class RemembersInTrainingOnly(Map):
    def compute_forward(self, x):
        if self.training:
            self.x = x
        return np.tanh(x)


@fault(X, None, "with reversed input: NoNegativeStrides.compute_forward raised ValueError: no negative strides")
class NoNegativeStrides(Map):
    def compute_forward(self, x):
        if min(x.strides) < 0:
            raise ValueError("no negative strides")
        return super().compute_forward(x)


@fault(X, None, "with dObj_dOut = u + 1000 v, to see whether backward is linear in it: ")
class RefusesLargeUpstream(Map):
    def compute_backward(self, dObj_dOut):
        if np.abs(dObj_dOut).max() > 100:
            raise FloatingPointError("the gradient explodes")
        return super().compute_backward(dObj_dOut)


# --- causes that are to be named ---


@fault(normal(5, 4), "x", "leaves out the derivative of a mean or a sum over axis 1")
class DetachedMean(Function):
    def compute_forward(self, x):
        return x - x.mean(axis=1, keepdims=True)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut.copy()


@fault(normal(6, 4), "x", "leaves out the derivative of a mean and a variance over axis 0")
class DetachedBatchStatistics(Function):
    def compute_forward(self, x):
        self.s = np.sqrt(x.var(axis=0) + 1e-3)
        return (x - x.mean(axis=0)) / self.s

    def compute_backward(self, dObj_dOut):
        return dObj_dOut / self.s


@fault(normal(5, 4), "x", "leaves out the derivative of a norm or a mean of squares over axis 1")
class DetachedNorm(Function):
    def compute_forward(self, x):
        self.size = np.sqrt((x * x).sum(axis=1, keepdims=True))
        return x / self.size

    def compute_backward(self, dObj_dOut):
        return dObj_dOut / self.size


@fault(X, "x", "a factor k is missing", right=("k",))
class GainForgotten(Gain):
    def compute_backward(self, dObj_dOut):
        super().compute_backward(dObj_dOut)
        return dObj_dOut.copy()


@fault(normal(5, 6), "x", "is a mask forgotten?")
class MaskForgotten(Function):
    def __init__(self):
        self.mask = np.random.default_rng(0).random((5, 6)) < 0.6

    def compute_forward(self, x):
        return x * self.mask[: len(x)] if len(x) <= 5 else x * self.mask[0]

    def compute_backward(self, dObj_dOut):
        return dObj_dOut.copy()


@fault(np.array([[0, 3, 3], [1, 1, 1]]), "table", "repeated ones are lost, use np.add.at")
class RepeatedIndicesLost(Function):
    def __init__(self):
        self.table, self.grad_table = normal(5, 2), np.zeros((5, 2))

    def compute_forward(self, x):
        self.x = x
        return self.table[x]

    def compute_backward(self, dObj_dOut):
        self.grad_table[self.x] += dObj_dOut
        return np.zeros(self.x.shape)


@fault(normal(4, 4), "x", "a wrong axis")
class MeanOverTheWrongAxis(Function):
    def compute_forward(self, x):
        return x - x.mean(axis=1, keepdims=True)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut - dObj_dOut.mean(axis=0, keepdims=True)


@fault(X, "x", "if forward is an approximation, such as an iteration that stops early, pass rtol=")
class StopsEarly(Function):
    """The square root by Newton's method, to five digits."""

    def compute_forward(self, x):
        a = x * x + 1
        y = a
        while np.abs(y * y - a).max() > 1e-3:
            y = (y + a / y) / 2
        self.x = x
        return y

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.x / np.sqrt(self.x * self.x + 1)
