"""Functions that are wrong on purpose, each in one way, and what a check must say about it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import pancake as pk
from pancake import Function


@dataclass
class Fault:
    """A wrong Function, an input that shows the fault, and what must be said.

    `named` is the array that `check_gradients` must report as wrong, None where only the contract is broken; `index` one of
    the wrong entries, where there are right ones too; `says` must occur in the message of `check_function`; `right` are
    arrays that must not be called wrong.
    """

    make: Callable[[], Any]
    x: Any
    named: str | None = None
    says: str = ""
    index: tuple[int, ...] | None = None
    right: tuple[str, ...] = ()
    target: Any = None


FAULTS: dict[str, Fault] = {}


def fault(x: Any, named: str | None = None, says: str = "", *, index: Any = None, right: Any = (), target: Any = None) -> Any:
    """Enter a class, made without arguments, into the gallery."""

    def enter(cls: type) -> type:
        FAULTS[cls.__name__] = Fault(cls, x, named, says, index, right, target)
        return cls

    return enter


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


X = normal(5, 3)
SQUARE = normal(4, 4)


class Dense(Function):
    """y = tanh(x W^T + b), right, for the wrong ones to spoil."""

    def __init__(self, n_in: int = 3, n_out: int = 4) -> None:
        self.n_in, self.n_out = n_in, n_out
        rng = np.random.default_rng(1)
        self.weight, self.grad_weight = rng.normal(size=(n_out, n_in)), np.zeros((n_out, n_in))
        self.bias, self.grad_bias = rng.normal(size=n_out), np.zeros(n_out)

    def compute_forward(self, x):
        self.x = x
        self.y = np.tanh(x @ self.weight.T + self.bias)
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        dz = self.slope(dObj_dOut)
        self.grad_weight += self.of_weight(dz)
        self.grad_bias += self.of_bias(dz)
        return self.of_input(dz)

    def slope(self, d):
        return d * (1 - self.y**2)

    def of_weight(self, dz):
        return dz.T @ self.x

    def of_bias(self, dz):
        return dz.sum(axis=0)

    def of_input(self, dz):
        return dz @ self.weight


class Map(Function):
    """y = f(x) entry by entry, with the derivative df(x); both right, for the wrong ones to spoil."""

    f = staticmethod(np.tanh)

    def compute_forward(self, x):
        self.x = x
        return self.f(x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.df(self.x)

    def df(self, x):
        return 1 - np.tanh(x) ** 2


class Gain(Function):
    """y = k x with a gain for each feature, right, for the wrong ones to spoil."""

    def __init__(self):
        self.k, self.grad_k = np.array([0.5, -1.5, 2.0]), np.zeros(3)

    def compute_forward(self, x):
        self.x = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.x).sum(axis=0)
        return dObj_dOut * self.k


# --- wrong maths ---


@fault(X, "weight", "constant ratio -1: is the sign flipped?", right=("x", "bias"))
class SignOfWeight(Dense):
    def of_weight(self, dz):
        return -super().of_weight(dz)


@fault(X, "bias", "constant ratio 2: is each entry added twice, or a factor 1/2", right=("x", "weight"))
class BiasAddedTwice(Dense):
    def of_bias(self, dz):
        return 2 * super().of_bias(dz)


@fault(X, "bias", "constant ratio 0.2: 1/5, 5 being the batch size; a mean where the forward has a sum?", right=("x", "weight"))
class BiasMeanForSum(Dense):
    def of_bias(self, dz):
        return dz.mean(axis=0)


@fault(X, "weight", "constant ratio 0.2: 1/5, 5 being the batch size", right=("x", "bias"))
class WeightMeanForSum(Dense):
    def of_weight(self, dz):
        return super().of_weight(dz) / len(dz)


@fault(X, "x", "constant ratio 15: 15 is the number of entries of x; a sum where the forward has a mean?")
class MeanWithoutN(Function):
    def compute_forward(self, x):
        self.shape = x.shape
        return np.array(np.mean(x))

    def compute_backward(self, dObj_dOut):
        return np.full(self.shape, dObj_dOut)


@fault(X, "x", "constant ratio 0.5: is a factor 2 missing?")
class SquareWithoutTwo(Map):
    f = staticmethod(np.square)

    def df(self, x):
        return x


@fault(SQUARE, "weight", "it matches after a transpose", right=("x", "bias"))
class WeightTransposed(Dense):
    def __init__(self):
        super().__init__(4, 4)

    def of_weight(self, dz):
        return self.x.T @ dz


@fault(X, "weight", "it matches after a transpose and a reshape", right=("x", "bias"))
class WeightTransposedAndReshaped(Dense):
    def of_weight(self, dz):
        return (self.x.T @ dz).reshape(self.weight.shape)


@fault(SQUARE, "x", right=("weight", "bias"))
class ProductTransposed(Dense):
    def __init__(self):
        super().__init__(4, 4)

    def of_input(self, dz):
        return dz @ self.weight.T


@fault(X, "x")
class WrongVariableCached(Map):
    f = staticmethod(np.square)

    def compute_forward(self, x):
        y = super().compute_forward(x)
        self.x = y
        return y

    def df(self, x):
        return 2 * x


@fault(X, "x")
class TanhSlopeOfInput(Dense):
    def compute_forward(self, x):
        y = super().compute_forward(x)
        self.y = x @ self.weight.T + self.bias
        return y


@fault(X, "x")
class ProductRuleTermMissing(Map):
    def f(self, x):
        return x * np.tanh(x)

    def df(self, x):
        return np.tanh(x)


@fault(X, "x")
class SoftmaxWithoutCrossTerms(Map):
    def compute_forward(self, x):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        self.y = e / e.sum(axis=-1, keepdims=True)
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.y * (1 - self.y)


@fault(normal(2, 4, 3), "x")
class AxisForgotten(Function):
    def compute_forward(self, x):
        e = np.exp(x)
        self.y = e / e.sum(axis=-1, keepdims=True)
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return self.y * (dObj_dOut - (dObj_dOut * self.y).sum(axis=1, keepdims=True))


@fault(normal(4, 6), "x", "off only in the last along axis 1", index=(0, 5))
class DifferencesOffByOne(Function):
    def compute_forward(self, x):
        return np.diff(x, axis=1)

    def compute_backward(self, dObj_dOut):
        d = np.zeros((len(dObj_dOut), dObj_dOut.shape[1] + 1))
        d[:, :-1] -= dObj_dOut
        d[:, 1:-1] += dObj_dOut[:, :-1]
        return d


@fault(normal(4, 6), "x")
class GatesSwapped(Function):
    def compute_forward(self, x):
        self.a, self.b = np.split(x, 2, axis=1)
        return np.tanh(self.a) / (1 + np.exp(-self.b))

    def compute_backward(self, dObj_dOut):
        s, t = 1 / (1 + np.exp(-self.b)), np.tanh(self.a)
        return np.concatenate([dObj_dOut * t * s * (1 - s), dObj_dOut * s * (1 - t**2)], axis=1)


@fault(X, "a", "it is the gradient of b: are the two exchanged?", right=("x",))
class GradientsExchanged(Function):
    def __init__(self):
        self.a, self.grad_a = np.array([1.0, 2.0, -1.0]), np.zeros(3)
        self.b, self.grad_b = np.array([0.5, -0.5, 3.0]), np.zeros(3)

    def compute_forward(self, x):
        self.x = x
        return self.a * x**2 + self.b * x

    def compute_backward(self, dObj_dOut):
        self.grad_b += (dObj_dOut * self.x**2).sum(axis=0)
        self.grad_a += (dObj_dOut * self.x).sum(axis=0)
        return dObj_dOut * (2 * self.a * self.x + self.b)


@fault(X, "bias", "backward left it at exactly 0", right=("x", "weight"))
class BiasNeverAdded(Dense):
    def of_bias(self, dz):
        return 0.0


@fault(normal(6, 4), "x")
class VarianceConstantInBackward(Function):
    def compute_forward(self, x):
        self.std = x.std(axis=1, keepdims=True)
        self.y = (x - x.mean(axis=1, keepdims=True)) / self.std
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return (dObj_dOut - dObj_dOut.mean(axis=1, keepdims=True)) / self.std


@fault(X, "x", "constant ratio 1.1")
class TenPercentTooMuch(Map):
    def df(self, x):
        return 1.1 * super().df(x)


@fault(X, "weight", "the output does not depend on weight", right=("x", "bias"))
class ForwardUsesACopy(Dense):
    def __init__(self):
        super().__init__()
        self.used = self.weight.copy()

    def compute_forward(self, x):
        self.x = x
        self.y = np.tanh(x @ self.used.T + self.bias)
        return self.y.copy()


@fault(np.array([[1000.0, -1000.0, 0.0]]), None, "returned nan for a finite input (1 of 3 entries)")
class SoftmaxOverflows(Map):
    def compute_forward(self, x):
        self.y = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return self.y * (dObj_dOut - (dObj_dOut * self.y).sum(axis=-1, keepdims=True))


@fault(np.array([[-800.0, 0.5, 800.0]]), "x", "backward is not finite", index=(0, 0))
class SigmoidSlopeOverflows(Map):
    def f(self, x):
        return 0.5 * np.tanh(x / 2) + 0.5

    def df(self, x):
        return np.exp(-x) / (1 + np.exp(-x)) ** 2


# --- wrong shapes ---


@fault(X, None, "compute_backward returned a dObj_dIn of shape (5, 1) for x of shape (5, 3)")
class KeepdimsForgottenToSpread(Function):
    def compute_forward(self, x):
        return x.sum(axis=1, keepdims=True)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut.copy()


@fault(SQUARE, "x")
class RowsSpreadAlongColumns(Function):
    def compute_forward(self, x):
        return x.sum(axis=1)

    def compute_backward(self, dObj_dOut):
        return np.broadcast_to(dObj_dOut, (dObj_dOut.size,) * 2).copy()


@fault(SQUARE, "target", "", target=None)
class ColumnAgainstRow(Function):
    """(N, 1) - (N,) broadcasts to (N, N) in backward."""

    def __init__(self):
        self.target, self.grad_target = np.arange(4.0), np.zeros(4)

    def compute_forward(self, x):
        self.x = x
        return x[:, 0] * self.target

    def compute_backward(self, dObj_dOut):
        self.grad_target += (dObj_dOut[:, None] * self.x[:, 0]).sum(axis=0)
        d = np.zeros_like(self.x)
        d[:, 0] = dObj_dOut * self.target
        return d


@fault(X, None, "with a batch of 1 instead of 5 the output has shape (3,) instead of (1, 3); does it squeeze?")
class SqueezesABatchOfOne(Map):
    def compute_forward(self, x):
        self.x = x
        return np.tanh(x).squeeze()

    def compute_backward(self, dObj_dOut):
        return np.reshape(dObj_dOut, self.x.shape) * (1 - np.tanh(self.x) ** 2)


@fault(normal(2, 3, 4), "x")
class ReshapesInTheWrongOrder(Function):
    def compute_forward(self, x):
        self.shape = x.shape
        return x.transpose(0, 2, 1).reshape(len(x), -1)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut.reshape(self.shape).copy()


@fault(SQUARE, "bias", right=("x", "weight"))
class BiasSummedOverTheWrongAxis(Dense):
    def __init__(self):
        super().__init__(4, 4)

    def of_bias(self, dz):
        return dz.sum(axis=1)


@fault(normal(2, 5, 3), "k", right=("x",))
class BiasSummedOverOneLeadingAxis(Function):
    def __init__(self):
        self.k, self.grad_k = np.ones(3), np.zeros(3)

    def compute_forward(self, x):
        self.x = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.x)[0].sum(axis=0)
        return dObj_dOut * self.k


@fault(X, None, "compute_backward returned None as the gradient of x")
class ReturnsNothing(Dense):
    def compute_backward(self, dObj_dOut):
        super().compute_backward(dObj_dOut)


@fault(X, None, "the gradient of weight has shape (3, 4), the parameter (4, 3)")
class GradientOfAnotherShape(Dense):
    def __init__(self):
        super().__init__()
        self.grad_weight = np.zeros((3, 4))

    def of_weight(self, dz):
        return self.x.T @ dz


# --- wrong state ---


@fault(X, None, "after two forwards, backward does not refer to the later one")
class FirstForwardStays(Map):
    x = None

    def compute_forward(self, x):
        if self.x is None:
            self.x = x
        return np.tanh(x)


@fault(X, None, "a second backward after the same forward fails; does the first use the cache up?")
class PopsItsCache(Map):
    def __init__(self):
        self.xs = []

    def compute_forward(self, x):
        self.xs.append(x)
        return np.tanh(x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.df(self.xs.pop())


@fault(X, None, "after another forward and backward the same input gives something else")
class ListPilesUp(Map):
    def __init__(self):
        self.xs = []

    def compute_forward(self, x):
        self.xs.append(x)
        return np.tanh(x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * sum(self.df(x) for x in self.xs)


@fault(X, None, "a second backward does something else than the first")
class BackwardChangesTheCache(Dense):
    def of_input(self, dz):
        self.x = self.x * 0.5
        return super().of_input(dz)


@fault(X, None, "after another forward and backward the same input gives something else")
class CountsItsCalls(Map):
    calls = 1

    def compute_forward(self, x):
        self.calls += 1
        self.x = x
        return np.tanh(x) * self.calls

    def df(self, x):
        return super().df(x) * self.calls


class Mask(Map):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def draw(self, shape):
        return self.rng.random(shape) < 0.5

    def compute_forward(self, x):
        self.mask = self.draw(x.shape)
        return x * self.mask

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.mask


@fault(X, None, "draws from NumPy's global generator")
class DrawsFromTheGlobalGenerator(Mask):
    def draw(self, shape):
        return np.random.random(shape) < 0.5  # noqa: NPY002


@fault(X, None, "compute_forward is not deterministic")
class DrawsFromANewGenerator(Mask):
    def draw(self, shape):
        return np.random.default_rng().random(shape) < 0.5


@fault(X, "x", index=None)
class FreshMaskInBackward(Mask):
    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.draw(dObj_dOut.shape)


@fault(X, "w", "the output does not depend on w", right=("x",))
class StaleProduct(Function):
    def __init__(self):
        self.w, self.grad_w = np.array([0.5, -1.5, 2.0]), np.zeros(3)
        self.squared = self.w**2

    def compute_forward(self, x):
        self.x = x
        return self.squared * x

    def compute_backward(self, dObj_dOut):
        self.grad_w += (dObj_dOut * self.x * 2 * self.w).sum(axis=0)
        return dObj_dOut * self.squared


@fault(X, None, "after its parameters have changed: BackwardKeepsItsWeight.x[")
class BackwardKeepsItsWeight(Dense):
    def __init__(self, n_in=3, n_out=4):
        super().__init__(n_in, n_out)
        self._kept = self.weight.copy()

    def of_input(self, dz):
        return dz @ self._kept


@fault(X, None, "lists 2 parameters at first, 3 after forward and backward, when parameter_x is there too")
class MakesItsInputAParameter(Dense):
    def of_input(self, dz):
        self.grad_x = super().of_input(dz)
        return self.grad_x.copy()


@fault(X, None, "backward overwrites grad_weight")
class Overwrites(Dense):
    def compute_backward(self, dObj_dOut):
        dz = self.slope(dObj_dOut)
        self.grad_weight[...] = self.of_weight(dz)
        self.grad_bias += self.of_bias(dz)
        return self.of_input(dz)


@fault(X, None, "does not add to grad_bias")
class DecaysItsGradient(Dense):
    def compute_backward(self, dObj_dOut):
        self.grad_bias *= 0.5
        return super().compute_backward(dObj_dOut)


@fault(X, None, "accumulate_grads adds something else to grad_bias than compute_backward")
class AccumulatesSomethingElse(Dense):
    def accumulate_grads(self, dObj_dOut):
        self.grad_weight += self.of_weight(self.slope(dObj_dOut))


@fault(X, None, "backward overwrites grad_part.weight")
class NestedPartOverwrites(Function):
    def __init__(self):
        self.part = Dense(3, 3)

    def compute_forward(self, x):
        return x + self.part(x)

    def compute_backward(self, dObj_dOut):
        for grad in self.part.get_params_and_grads()[1]:
            grad[...] = 0
        return dObj_dOut + self.part.compute_backward(dObj_dOut)


@fault(X, "part.weight", "backward left it at exactly 0", right=("x",))
class NestedPartForgotten(Function):
    def __init__(self):
        self.part = Dense(3, 3)

    def compute_forward(self, x):
        return self.part(x)

    def compute_backward(self, dObj_dOut):
        return self.part.of_input(self.part.slope(dObj_dOut))


@fault(X, "w", right=("x",))
class SharedParameterCountedOnce(Function):
    def __init__(self):
        self.w, self.grad_w = normal(3, 3, seed=4), np.zeros((3, 3))

    def compute_forward(self, x):
        self.x = x
        self.h = np.tanh(x @ self.w)
        return self.h @ self.w

    def compute_backward(self, dObj_dOut):
        self.grad_w += self.h.T @ dObj_dOut
        return (dObj_dOut @ self.w.T * (1 - self.h**2)) @ self.w.T


# --- wrong aliasing ---


@fault(X, None, "compute_forward writes to its input")
class WritesToItsInput(Map):
    def compute_forward(self, x):
        np.tanh(x, out=x)
        self.y = x.copy()
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * (1 - self.y**2)


@fault(X, None, "compute_backward writes to dObj_dOut")
class WritesToUpstream(Map):
    def compute_backward(self, dObj_dOut):
        dObj_dOut *= self.df(self.x)
        return dObj_dOut.copy()


@fault(X, None, "compute_backward writes to the output that forward returned")
class WritesToItsOutput(Map):
    def compute_forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def compute_backward(self, dObj_dOut):
        self.y **= 2
        return dObj_dOut * (1 - self.y)


@fault(X, None, "compute_backward writes to the input of the forward")
class WritesToItsInputInBackward(Map):
    f = staticmethod(np.square)

    def compute_backward(self, dObj_dOut):
        self.x *= 2
        return dObj_dOut * self.x


@fault(X, None, "a later call writes to an output that was returned earlier")
class ReusesItsOutput(Map):
    buffer = None

    def compute_forward(self, x):
        self.x = x
        if self.buffer is None or self.buffer.shape != x.shape:
            self.buffer = np.empty(x.shape)
        return np.tanh(x, out=self.buffer)


@fault(X, None, "a later call writes to a dObj_dIn that was returned earlier")
class ReusesItsGradient(Map):
    buffer = None

    def compute_backward(self, dObj_dOut):
        if self.buffer is None or self.buffer.shape != dObj_dOut.shape:
            self.buffer = np.empty(dObj_dOut.shape)
        return np.multiply(dObj_dOut, self.df(self.x), out=self.buffer)


@fault(X, None, "dObj_dIn is the same array as dObj_dOut")
class ReturnsUpstream(Map):
    f = staticmethod(np.copy)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut


@fault(normal(2, 3, 4), None, "dObj_dIn shares memory with dObj_dOut")
class ReturnsAViewOfUpstream(Function):
    def compute_forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1).copy()

    def compute_backward(self, dObj_dOut):
        return dObj_dOut.reshape(self.shape)


@fault(np.ones(3), None, "dObj_dIn is the same array as w")
class ReturnsItsParameter(Function):
    def __init__(self):
        self.w, self.grad_w = np.array([1.0, 2.0, 3.0]), np.zeros(3)

    def compute_forward(self, x):
        self.x = x
        return np.array(self.w @ x)

    def compute_backward(self, dObj_dOut):
        self.grad_w += dObj_dOut * self.x
        return self.w


@fault(X, "bias", "grad_bias shares memory with grad_weight")
class GradientsShareMemory(Dense):
    def __init__(self):
        super().__init__()
        self.grad_bias = self.grad_weight.reshape(-1)[:4]


@fault(X, None, "backward rebinds grad_weight to another array")
class Rebinds(Dense):
    def compute_backward(self, dObj_dOut):
        dz = self.slope(dObj_dOut)
        self.grad_weight = self.grad_weight + self.of_weight(dz)
        self.grad_bias += self.of_bias(dz)
        return self.of_input(dz)


@fault(X, None, "get_params_and_grads makes a new array for grad_params[0] at every call")
class HandsOutCopies(Dense):
    def get_params_and_grads(self):
        params, grads = super().get_params_and_grads()
        return [p.copy() for p in params], [g.copy() for g in grads]


@fault(X, None, "a deepcopy shares memory with the original")
class DeepcopyShares(Dense):
    def __deepcopy__(self, memo):
        return copy.copy(self)


class Viewed:
    """No pancake.Function: its parameters are views of one vector, which a plain deepcopy takes apart."""

    def __init__(self):
        self.flat, self.grad_flat = np.random.default_rng(0).normal(size=12), np.zeros(12)
        self.weight, self.grad_weight = self.flat.reshape(4, 3), self.grad_flat.reshape(4, 3)

    def compute_forward(self, x):
        self.x = x
        return x @ self.weight.T

    def compute_backward(self, dObj_dOut):
        self.grad_weight += dObj_dOut.T @ self.x
        return dObj_dOut @ self.weight

    def get_params_and_grads(self):
        return [self.flat], [self.grad_flat]


FAULTS["DeepcopyLosesViews"] = Fault(Viewed, X, None, "a deepcopy ")


@fault(X, None, "a pickle gives something else than the original")
class PickleLosesState(Dense):
    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        Dense.__init__(self)
        self.weight[...] = 0.5


PickleLosesState.__init__ = lambda self: Dense.__init__(self)


# --- wrong only for some inputs ---


@fault(normal(4, 5), "x", "off only where x < 0, and there everywhere")
class WrongBelowZero(Map):
    def f(self, x):
        return np.where(x > 0, x, np.expm1(x))

    def df(self, x):
        return np.where(x > 0, 1, np.expm1(x))


@fault(np.linspace(-5, 5, 24).reshape(4, 6) + 0.01, "x", "off only where |x| > 3")
class WrongFarOut(Map):
    def df(self, x):
        return np.where(np.abs(x) > 3, 0, 1 - np.tanh(x) ** 2)


@fault(normal(6, 7), "x", index=(2, 4))
class WrongAtOneIndex(Map):
    def df(self, x):
        slope = super().df(x)
        if slope.shape[0] > 2:
            slope[2, 4] *= 1.01
        return slope


@fault(normal(6, 7), "x", "off only in the last along axis 0", index=(5, 3))
class LastRowForgotten(Map):
    def df(self, x):
        slope = super().df(x)
        slope[-1] = 0
        return slope


@fault(normal(6, 7), "x", "off only in the first along axis 0", index=(0, 3))
class FirstExampleTwice(Map):
    def df(self, x):
        slope = super().df(x)
        slope[0] *= 2
        return slope


@fault(np.array([[1.0, 2.0, 2.5], [3.0, 0.0, 1.0]]), "x")
class MaximumPassesToAllInTheRow(Function):
    def compute_forward(self, x):
        self.x = x
        return x.max(axis=1)

    def compute_backward(self, dObj_dOut):
        return (self.x > 0) * dObj_dOut[:, None]


@fault(np.zeros((4, 3)), "x")
class HiddenByAKink(Map):
    """At 0 a check of the entries says nothing; next to 0 it does."""

    def f(self, x):
        return np.maximum(x, 0)

    def df(self, x):
        return 3.0 * (x > 0)


@fault(np.linspace(-1, 1, 1000)[:, None] * np.ones(4), "bias", right=("x",))
class SignOfBiasBeforeManyKinks(Function):
    def __init__(self):
        self.bias, self.grad_bias = np.zeros(4), np.zeros(4)

    def compute_forward(self, x):
        self.z = np.round(x, 2) + (x - np.round(x, 2)) + self.bias
        return np.maximum(self.z, 0)

    def compute_backward(self, dObj_dOut):
        dz = dObj_dOut * (self.z > 0)
        self.grad_bias -= dz.sum(axis=0)
        return dz


# --- wrong for some batch sizes, layouts, dtypes ---


@fault(X, None, "with a batch of 1 instead of 5")
class WrongForABatchOfOne(Map):
    def df(self, x):
        return np.ones_like(x) if len(x) == 1 else super().df(x)


@fault(normal(4, 3), None, "with a batch of 5 instead of 4")
class WrongForOddBatches(Map):
    def df(self, x):
        slope = super().df(x)
        if len(x) % 2:
            slope[-1] = 0
        return slope


@fault(normal(4, 3), None, "with a batch of 3 instead of 4")
class WrongForAsManyRowsAsFeatures(Map):
    def df(self, x):
        return super().df(x).T if x.shape[0] == x.shape[1] else super().df(x)


@fault(X, None, "with float32 input dObj_dIn")
class WrongForUpstreamInSingle(Map):
    def compute_backward(self, dObj_dOut):
        return super().compute_backward(dObj_dOut * 2 if dObj_dOut.dtype == np.float32 else dObj_dOut)


@fault(np.full((2, 3), 100.0), None, "with float32 input and parameters the output[0, 2] is inf instead of 200")
class OverflowsInSingle(Gain):
    def compute_forward(self, x):
        self.e = np.exp(super().compute_forward(x))
        return np.log1p(self.e)

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(dObj_dOut * self.e / (1 + self.e))


@fault(X, None, "after a batch of 5, a batch of")
class SizedByItsFirstBatch(Map):
    mask = None

    def compute_forward(self, x):
        self.x = x
        if self.mask is None:
            self.mask = np.linspace(0.5, 1.5, len(x))[:, None]
        return np.tanh(x) * np.resize(self.mask, (len(x), 1))

    def df(self, x):
        return super().df(x) * np.resize(self.mask, (len(x), 1))


@fault(X, None, "with Fortran-ordered input")
class ReadsMemoryOrder(Map):
    def compute_forward(self, x):
        self.x = x
        return np.tanh(x.ravel(order="K")).reshape(x.shape)


@fault(X, None, "with Fortran-ordered dObj_dOut")
class ReadsMemoryOrderOfUpstream(Map):
    def compute_backward(self, dObj_dOut):
        return dObj_dOut.ravel(order="K").reshape(dObj_dOut.shape) * self.df(self.x)


@fault(X, None, "with strided input")
class ReadsTheBuffer(Map):
    def compute_forward(self, x):
        self.x = x
        return np.tanh(np.ndarray(x.shape, x.dtype, x.base if x.base is not None else x))


@fault(X, None, "the output moves in steps as coarse as float32")
class SingleInside(Dense):
    def compute_forward(self, x):
        self.x = x
        z = np.empty((len(x), 4), np.float32)
        z[...] = x @ self.weight.T + self.bias
        self.y = np.tanh(z.astype(np.float64))
        return self.y.copy()


@fault(X, None, "the output is float32 for a float64 input")
class SingleOutput(Map):
    def compute_forward(self, x):
        self.x = x
        return np.tanh(x.astype(np.float32))


@fault(X, None, "grad_bias is float32 for a float64 input")
class SingleGradient(Dense):
    def __init__(self):
        super().__init__()
        self.grad_bias = np.zeros(4, np.float32)


@fault(X, None, "backward is not linear in dObj_dOut")
class SingleInsideBackward(Dense):
    def slope(self, d):
        return (d * (1 - self.y**2)).astype(np.float32).astype(np.float64)


@fault(X * 3, None, "with int64 input the output")
class TruncatesIntegers(Map):
    def compute_forward(self, x):
        self.x = x
        y = np.zeros_like(x)
        y[...] = np.tanh(x)
        return y * 1.0


@fault(X * 3, None, "with int64 input dObj_dIn")
class TruncatesGradientsOfIntegers(Map):
    def compute_backward(self, dObj_dOut):
        d = np.zeros_like(self.x)
        d[...] = dObj_dOut * self.df(self.x)
        return d


# --- a backward that is not linear ---


@fault(X * 0.1, None, "backward is not linear in dObj_dOut")
class ClipsItsGradient(Map):
    def compute_backward(self, dObj_dOut):
        return np.clip(super().compute_backward(dObj_dOut), -10, 10)


@fault(X * 3, "k", "backward is clipped to ±0.75", right=("x",))
class ClipsItsParameters(Gain):
    def compute_backward(self, dObj_dOut):
        self.grad_k += np.clip((dObj_dOut * self.x).sum(axis=0), -0.75, 0.75)
        return dObj_dOut * self.k


@fault(X, "x", "constant ratio")
class NormalisesItsGradient(Map):
    def compute_backward(self, dObj_dOut):
        d = super().compute_backward(dObj_dOut)
        return d / np.linalg.norm(d)


@fault(X, "x", "backward is not linear in dObj_dOut")
class TakesTheSignOfUpstream(Map):
    def compute_backward(self, dObj_dOut):
        return np.sign(dObj_dOut) * self.df(self.x)


@fault(X, "x", "backward gives the same for every dObj_dOut, as if it were all ones")
class IgnoresUpstream(Map):
    def compute_backward(self, dObj_dOut):
        return self.df(self.x)


@fault(X, None, "backward is not linear in dObj_dOut: for u / 1000000")
class DropsSmallGradients(Map):
    def compute_backward(self, dObj_dOut):
        return np.where(np.abs(dObj_dOut) < 1e-4, 0, dObj_dOut) * self.df(self.x)


# --- a small fault among many entries ---


@fault(normal(100, 100), "x", index=(41, 87))
class OneOfTenThousand(Map):
    def df(self, x):
        slope = super().df(x)
        if slope.size == 10_000:
            slope[41, 87] *= 1.01
        return slope


@fault(normal(6, 100), "weight", index=(13, 57), right=("x", "bias"))
class OneWeightOfTenThousand(Dense):
    def __init__(self):
        super().__init__(100, 100)
        self.weight *= 0.1

    def of_weight(self, dz):
        g = super().of_weight(dz)
        g[13, 57] *= 1.01
        return g


@fault(normal(6, 100), "weight", "constant ratio -1: is the sign flipped?", right=("x", "bias"))
class AllWeightsOfTenThousand(Dense):
    def __init__(self):
        super().__init__(100, 100)
        self.weight *= 0.1

    def of_weight(self, dz):
        return -super().of_weight(dz)


@fault(normal(6, 100), "weight", "it matches after a transpose", right=("x", "bias"))
class TransposedTenThousand(Dense):
    def __init__(self):
        super().__init__(100, 100)
        self.weight *= 0.1

    def of_weight(self, dz):
        return super().of_weight(dz).T.copy()


@fault(np.array([[1.0, 2.0, 1e-3]]), "k", index=(2,), right=("x",))
class TinyGradientBesideLargeOnes(Gain):
    def compute_backward(self, dObj_dOut):
        g = (dObj_dOut * self.x).sum(axis=0) * np.array([1, 1, 1e-3])
        g[2] *= 2
        self.grad_k += g
        return dObj_dOut * self.k * np.array([1, 1, 1e-3])

    def compute_forward(self, x):
        self.x = x
        return self.k * x * np.array([1, 1, 1e-3])


# --- several inputs and outputs ---


class Cell(Function):
    """h' = tanh(x + W h), y = 2 h', right, for the wrong ones to spoil."""

    def __init__(self):
        self.w, self.grad_w = normal(3, 3, seed=2), np.zeros((3, 3))

    def compute_forward(self, x, state):
        h, c = state
        self.h, self.c = h, c
        self.n = np.tanh(x + h @ self.w.T)
        return 2 * self.n, (self.n.copy(), c * self.n)

    def compute_backward(self, dObj_dOut, dObj_dState):
        dh, dc = dObj_dState
        dz = self.total(dObj_dOut, dh, dc) * (1 - self.n**2)
        self.grad_w += dz.T @ self.h
        return dz, (dz @ self.w, self.of_c(dc))

    def total(self, d, dh, dc):
        return 2 * d + dh + dc * self.c

    def of_c(self, dc):
        return dc * self.n


CELL = (normal(2, 3), (normal(2, 3, seed=5), normal(2, 3, seed=6)))


@fault(CELL, "x[1][1]", right=("x[0]", "x[1][0]", "w"))
class WrongInOneInput(Cell):
    def of_c(self, dc):
        return dc * self.h


@fault(CELL, "w")
class OneOutputForgotten(Cell):
    def total(self, d, dh, dc):
        return 2 * d + dc * self.c


@fault(CELL, None, "dObj_dx[1][0] is the same array as dObj_dx[0]")
class OneArrayForTwoGradients(Cell):
    def __init__(self):
        self.w, self.grad_w = np.eye(3), np.zeros((3, 3))

    def compute_forward(self, x, state):
        h, c = state
        self.n = np.tanh(x + h)
        return 2 * self.n, (self.n.copy(), c * self.n + 0 * self.w.sum())

    def compute_backward(self, dObj_dOut, dObj_dState):
        self.c = 0
        dh, dc = dObj_dState
        dz = (2 * dObj_dOut + dh) * (1 - self.n**2)
        return dz, (dz, dc * self.n)


@fault(CELL, None, "compute_backward must return 2 gradients, one for each part of x[1], got 1 of them")
class OneGradientOfTwo(Cell):
    def compute_backward(self, dObj_dOut, dObj_dState):
        dx, (dh, _) = super().compute_backward(dObj_dOut, dObj_dState)
        return dx, (dh,)


# --- losses ---


class SquaredError:
    """Half the squared error with a reduction; `spoil` is the factor by which the gradient is wrong."""

    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def compute_forward(self, pred, target):
        self.difference = pred - target
        values = self.difference**2
        return values if self.reduction == "none" else getattr(np, self.reduction)(values)

    def compute_backward(self):
        return self.spoil(2 * self.difference)


class OfTheMean(SquaredError):
    def spoil(self, d):
        return d / len(d)


class OfTheSum(SquaredError):
    def spoil(self, d):
        return d / d.size


class WithoutTwo(SquaredError):
    def spoil(self, d):
        return d / 2


Y = normal(5, 3, seed=9)
FAULTS["LossMeanOverRowsOnly"] = Fault(lambda: OfTheMean("mean"), X, "x", "constant ratio 3: 3 is the length of axis 1", target=Y)
FAULTS["LossSumAsMean"] = Fault(lambda: OfTheSum("sum"), X, "x", "constant ratio 0.0666667: 1/15", target=Y)
FAULTS["LossNoneWithoutTwo"] = Fault(lambda: WithoutTwo("none"), X, "x", "constant ratio 0.5: is a factor 2 missing?", target=Y)


class WritesToItsTarget(SquaredError):
    def compute_forward(self, pred, target):
        target -= pred
        self.difference = -target
        return (target**2).sum()

    def spoil(self, d):
        return d


FAULTS["LossWritesToItsTarget"] = Fault(lambda: WritesToItsTarget("sum"), X, None, "writes to", target=Y)


# --- methods that fail ---


@fault(X, None, "compute_backward raised IndexError")
class BackwardRaises(Map):
    def compute_backward(self, dObj_dOut):
        return dObj_dOut[:, 7]


@fault(X, None, "compute_forward returned None; is a `return` missing?")
class ForwardReturnsNothing(Map):
    def compute_forward(self, x):
        self.x = x


@fault(X, None, "returned 2 parameters and 1 gradients")
class ListsOfDifferentLengths(Dense):
    def get_params_and_grads(self):
        return [self.weight, self.bias], [self.grad_weight]


FAULTS["StackWithAWrongPart"] = Fault(
    lambda: pk.Sequential([pk.Linear(3, 3, rng=0), pk.Tanh(), SignOfWeight(3, 2), pk.Sigmoid()]),
    X,
    "2.weight",
    "constant ratio -1: is the sign flipped?",
    right=("x", "0.weight", "2.bias"),
)
