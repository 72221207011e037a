"""Functions that are right and awkward: no check may call any of them wrong.

Each entry draws a Function, its input and, for a loss, its target from a random generator.
"""

from __future__ import annotations

import copy
import functools
import types
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

import pancake as pk
from pancake import Function
from pancake.functions.activations import LeakyReLU, Softplus
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.losses.classes import CrossEntropy
from pancake.losses.elementwise import Hinge, MeanAbsoluteError

Drawn = tuple[Any, Any, Any]  # function, x, target
RIGHT: dict[str, Callable[[np.random.Generator], Drawn]] = {}


def right(draw: Callable[[np.random.Generator], tuple[Any, ...]]) -> Callable[[np.random.Generator], tuple[Any, ...]]:
    """Enter a function that draws (function, x) or (function, x, target)."""

    def drawn(rng: np.random.Generator) -> Drawn:
        function, x, *target = draw(rng)
        return function, x, (target[0] if target else None)

    RIGHT[draw.__name__] = drawn
    return draw


def grid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Halves from -1 to 1: one in five is exactly 0, many are exactly at a bound, and many are ties."""
    return rng.integers(-2, 3, shape) / 2


def shape(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(1, 6)), int(rng.integers(1, 6))


class Map(Function):
    """y = f(x), entry by entry."""

    def __init__(self, f: Callable[[np.ndarray], np.ndarray], df: Callable[[np.ndarray], np.ndarray]) -> None:
        self.f, self.df = f, df

    def compute_forward(self, x):
        self.x = np.asarray(x)
        return self.f(x * 1.0)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.df(self.x)


# --- kinks, ties and bounds ---


@right
def relu_on_zeros(rng):
    return pk.ReLU(), grid(rng, *shape(rng))


@right
def relu_with_half_a_slope_at_zero(rng):
    return Map(lambda x: np.maximum(x, 0), lambda x: np.heaviside(x, 0.5)), grid(rng, *shape(rng))


@right
def abs_on_zeros(rng):
    return Map(np.abs, np.sign), grid(rng, *shape(rng))


@right
def clip_at_its_bounds(rng):
    return Map(lambda x: np.clip(x, -0.5, 0.5), lambda x: np.abs(x) <= 0.5), grid(rng, *shape(rng))


@right
def a_step_where_float32_rounds_up(rng):
    return Map(lambda x: (x > 0.3).astype(x.dtype), np.zeros_like), np.where(np.arange(8).reshape(2, 4) == 6, 0.3, 0.1)


class MaxPool(Function):
    """The maximum of each pair of neighbours; a tie goes to the first."""

    def compute_forward(self, x):
        self.pairs = x.reshape(len(x), -1, 2)
        return self.pairs.max(axis=2)

    def compute_backward(self, dObj_dOut):
        first = self.pairs[..., 0] >= self.pairs[..., 1]
        return np.stack([dObj_dOut * first, dObj_dOut * ~first], axis=2).reshape(len(dObj_dOut), -1)


@right
def max_pooling_with_ties(rng):
    batch, pairs = shape(rng)
    return MaxPool(), grid(rng, batch, 2 * pairs)


class SortedRows(Function):
    """The entries of each row in order."""

    def compute_forward(self, x):
        self.order = np.argsort(x, axis=1)
        return np.take_along_axis(x, self.order, axis=1)

    def compute_backward(self, dObj_dOut):
        d = np.empty_like(dObj_dOut)
        np.put_along_axis(d, self.order, dObj_dOut, axis=1)
        return d


@right
def sorting_with_ties(rng):
    return SortedRows(), grid(rng, *shape(rng))


@right
def a_stack_of_kinks_on_zeros(rng):
    batch, n = shape(rng)
    m = pk.Sequential([pk.Linear(n, 6, rng=rng), pk.ReLU(), pk.Linear(6, 3, rng=rng), LeakyReLU(), pk.Linear(3, 2, rng=rng)])
    return m, grid(rng, batch, n)


class Shift(Function):
    """y = max(x + b, 0): one parameter that moves a thousand kinks."""

    def __init__(self, n):
        self.b, self.grad_b = np.zeros(n), np.zeros(n)

    def compute_forward(self, x):
        self.on = x + self.b > 0
        return (x + self.b) * self.on

    def compute_backward(self, dObj_dOut):
        self.grad_b += (dObj_dOut * self.on).sum(axis=0)
        return dObj_dOut * self.on


@right
def a_bias_before_a_thousand_kinks(rng):
    x = rng.normal(size=(1000, 1))
    x[rng.integers(0, 1000, 3)] = 0
    x[rng.integers(0, 1000, 20)] *= 1e-7
    return Shift(1), x


@right
def hinge_with_entries_at_the_margin(rng):
    batch = int(rng.integers(1, 8))
    return Hinge(), grid(rng, batch), rng.choice([-1.0, 1.0], batch)


@right
def absolute_error_on_a_grid(rng):
    size = shape(rng)
    return MeanAbsoluteError(reduction=str(rng.choice(["mean", "sum", "none"]))), grid(rng, *size), grid(rng, *size)


# --- numbers that complex steps and small differences do not like ---


class Normed(Function):
    """x divided by the norm of its row, through `reduce`."""

    def __init__(self, reduce):
        self.reduce = reduce

    def compute_forward(self, x):
        self.norm = self.reduce(x)
        self.y = x / self.norm
        return self.y.copy()


class ByNorm(Normed):
    def compute_backward(self, dObj_dOut):
        return (dObj_dOut - self.y * (dObj_dOut * self.y).sum(axis=1, keepdims=True)) / self.norm


@right
def norm_through_linalg(rng):
    batch, n = shape(rng)
    return ByNorm(functools.partial(np.linalg.norm, axis=1, keepdims=True)), rng.normal(size=(batch, n))


class Centred(Function):
    """Layer normalisation through np.var or np.std."""

    def __init__(self, how, eps=1e-5):
        self.how, self.eps = how, eps

    def compute_forward(self, x):
        if self.how == "var":
            self.std = np.sqrt(np.var(x, axis=1, keepdims=True) + self.eps)
        else:
            self.std = np.std(x, axis=1, keepdims=True) + self.eps
        self.y = (x - x.mean(axis=1, keepdims=True)) / self.std
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        d = dObj_dOut - dObj_dOut.mean(axis=1, keepdims=True)
        if self.how == "var":
            return (d - self.y * (dObj_dOut * self.y).mean(axis=1, keepdims=True)) / self.std
        raw = self.std - self.eps
        return (d - self.y * (self.std / raw) * (dObj_dOut * self.y).mean(axis=1, keepdims=True)) / self.std


@right
def layer_norm_through_var(rng):
    return Centred("var"), rng.normal(size=shape(rng))


@right
def layer_norm_through_std(rng):
    batch, n = shape(rng)
    return Centred("std"), rng.normal(size=(batch, n + 1))


@right
def layer_norm_of_a_thousand(rng):
    batch, n = shape(rng)
    return Centred("var"), 1000 + rng.normal(size=(batch, n + 1))


@right
def layer_norm_of_almost_nothing(rng):
    batch, n = shape(rng)
    return Centred("var"), 1e-4 * rng.normal(size=(batch, n + 1))


@right
def square_root_near_zero(rng):
    return Map(np.sqrt, lambda x: 0.5 / np.sqrt(x)), 10.0 ** rng.uniform(-12, 0, shape(rng))


@right
def square_root_at_zero(rng):
    return Map(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.abs(grid(rng, *shape(rng)))


@right
def logarithm_near_zero(rng):
    return Map(np.log, lambda x: 1 / x), 10.0 ** rng.uniform(-8, 1, shape(rng))


@right
def reciprocals(rng):
    return Map(lambda x: 1 / x, lambda x: -1 / x**2), rng.choice([-1, 1], (3, 3)) * 10.0 ** rng.uniform(-4, 3, (3, 3))


class Probability(Map):
    """log x - log(1 - x), which refuses everything outside of (0, 1)."""

    def __init__(self):
        super().__init__(lambda x: np.log(x) - np.log1p(-x), lambda x: 1 / (x * (1 - x)))

    def compute_forward(self, x):
        if not ((x > 0) & (x < 1)).all():
            raise ValueError("expected probabilities")
        return super().compute_forward(x)


@right
def a_domain_that_is_guarded(rng):
    x = 10.0 ** rng.uniform(-6, -0.5, shape(rng))
    return Probability(), np.where(rng.random(x.shape) < 0.5, x, 1 - x)


@right
def large_values(rng):
    n_in, n_out = shape(rng)
    return pk.Sequential([pk.Linear(n_in, n_out, rng=rng), Softplus()]), 1e3 * rng.normal(size=(4, n_in))


@right
def small_values(rng):
    n_in, n_out = shape(rng)
    return pk.Sequential([pk.Linear(n_in, n_out, rng=rng), pk.Tanh()]), 1e-4 * rng.normal(size=(4, n_in))


@right
def saturated_sigmoid(rng):
    return pk.Sigmoid(), rng.choice([-40.0, -36.5, 0.0, 3.0, 38.0, 40.0, 700.0, -1e4], shape(rng))


@right
def saturated_softmax(rng):
    return Softmax(), rng.choice([-1e3, -20.0, 0.0, 0.5, 1e3], shape(rng))


@right
def saturated_log_softmax(rng):
    return LogSoftmax(), rng.choice([-1e3, -20.0, 0.0, 0.5, 1e3], shape(rng))


@right
def saturated_cross_entropy(rng):
    batch, n = shape(rng)
    return CrossEntropy(), rng.choice([-1e3, -30.0, 0.0, 2.0, 1e3], (batch, n + 1)), rng.integers(0, n + 1, batch)


@right
def steep_tanh(rng):
    return Map(lambda x: np.tanh(1e4 * x), lambda x: 1e4 / np.cosh(np.clip(1e4 * x, -300, 300)) ** 2), rng.choice(
        [0.0, 1e-5, -3e-5, 1e-4, 0.3], shape(rng)
    )


@right
def quickly_swinging(rng):
    return Map(lambda x: np.sin(100 * x), lambda x: 100 * np.cos(100 * x)), rng.normal(size=shape(rng))


@right
def narrow_bumps(rng):
    return Map(lambda x: np.exp(-((1e3 * x) ** 2)), lambda x: -2e6 * x * np.exp(-((1e3 * x) ** 2))), 1e-3 * rng.normal(
        size=(3, 3)
    )


@right
def high_powers(rng):
    return Map(lambda x: x**9, lambda x: 9 * x**8), 10.0 ** rng.uniform(-2, 2, shape(rng))


# --- state, randomness, buffers ---


class Dropout(Function):
    """Inverted dropout with a generator of its own, in the old or the new style."""

    def __init__(self, rng):
        self.rng = rng

    def compute_forward(self, x):
        draw = self.rng.random if isinstance(self.rng, np.random.Generator) else self.rng.random_sample
        self.mask = (draw(x.shape) < 0.7) / 0.7 if self.training else np.ones(x.shape)
        return x * self.mask

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.mask


@right
def dropout_with_a_generator(rng):
    return pk.Sequential([pk.Linear(4, 3, rng=rng), Dropout(np.random.default_rng(rng.integers(99))), pk.Tanh()]), rng.normal(
        size=(3, 4)
    )


@right
def dropout_with_a_random_state(rng):
    return Dropout(np.random.RandomState(rng.integers(99))), rng.normal(size=shape(rng))


class BatchNorm(Function):
    """Batch normalisation with running statistics."""

    buffers = ("mean", "var")

    def __init__(self, n):
        self.gamma, self.grad_gamma = np.ones(n), np.zeros(n)
        self.beta, self.grad_beta = np.zeros(n), np.zeros(n)
        self.mean, self.var = np.zeros(n), np.ones(n)

    def compute_forward(self, x):
        mean, var = (x.mean(axis=0), x.var(axis=0)) if self.training else (self.mean, self.var)
        if self.training:
            self.mean += 0.1 * (mean - self.mean)
            self.var += 0.1 * (var - self.var)
        self.std = np.sqrt(var + 1e-5)
        self.normed = (x - mean) / self.std
        return self.gamma * self.normed + self.beta

    def compute_backward(self, dObj_dOut):
        self.grad_gamma += (dObj_dOut * self.normed).sum(axis=0)
        self.grad_beta += dObj_dOut.sum(axis=0)
        d = dObj_dOut * self.gamma
        if self.training:
            d = d - d.mean(axis=0) - self.normed * (d * self.normed).mean(axis=0)
        return d / self.std


@right
def batch_norm_in_training(rng):
    batch, n = shape(rng)
    return BatchNorm(n), rng.normal(size=(batch, n))


@right
def batch_norm_in_evaluation(rng):
    batch, n = shape(rng)
    return BatchNorm(n).eval(), rng.normal(size=(batch, n))


class BigBuffer(Function):
    """Keeps a work array between calls of one shape, and returns none of it."""

    buffer = None

    def compute_forward(self, x):
        if self.buffer is None or self.buffer.shape != (50, *x.shape):
            self.buffer = np.zeros((50, *x.shape))
        np.multiply(x, np.linspace(0, 1, 50).reshape(-1, *[1] * x.ndim), out=self.buffer)
        np.tanh(self.buffer, out=self.buffer)
        self.slopes = np.linspace(0, 1, 50) @ (1 - self.buffer.reshape(50, -1) ** 2)
        return self.buffer.sum(axis=0)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * self.slopes.reshape(dObj_dOut.shape)


@right
def big_buffers(rng):
    return BigBuffer(), rng.normal(size=shape(rng))


class Odd(Function):
    """Has attributes that copies must cope with: a module, a partial, a set in a tuple in a dict."""

    def __init__(self):
        self.module, self.tanh = np, functools.partial(np.tanh)
        self.log, self.table = [], {"a": (np.ones(2), {3})}

    def compute_forward(self, x):
        self.y = self.tanh(x)
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * (1 - self.y**2)

    def __deepcopy__(self, memo):
        return Odd()

    def __reduce__(self):
        return Odd, ()


@right
def odd_attributes(rng):
    return Odd(), rng.normal(size=shape(rng))


class Remembers(Function):
    """Does not compute again for the very array that it has seen last."""

    x = None

    def compute_forward(self, x):
        if x is not self.x:
            self.x, self.y = x, np.tanh(x)
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * (1 - self.y**2)


@right
def an_input_known_by_identity(rng):
    return Remembers(), rng.normal(size=shape(rng))


# --- parameters of all kinds ---


class NoDimensions(Function):
    def __init__(self):
        self.k, self.grad_k = np.array(1.5), np.array(0.0)

    def compute_forward(self, x):
        self.x = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += np.sum(dObj_dOut * self.x)
        return dObj_dOut * self.k


@right
def a_parameter_without_dimensions(rng):
    return NoDimensions(), rng.normal(size=shape(rng))


@right
def an_input_without_dimensions(rng):
    return NoDimensions(), rng.normal()


class ManyParts(Function):
    """Parts and parameters in lists and dicts."""

    def __init__(self, rng):
        self.layers = [pk.Linear(3, 3, rng=rng), {"deep": (pk.Tanh(), pk.Linear(3, 3, rng=rng))}]
        self.k, self.grad_k = np.ones(3), np.zeros(3)

    def compute_forward(self, x):
        a, (tanh, b) = self.layers[0], self.layers[1]["deep"]
        self.h = b(tanh(a(x)))
        return self.h * self.k

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.h).sum(axis=tuple(range(dObj_dOut.ndim - 1)))
        a, (tanh, b) = self.layers[0], self.layers[1]["deep"]
        return a.compute_backward(tanh.compute_backward(b.compute_backward(dObj_dOut * self.k)))


@right
def parts_in_lists_and_dicts(rng):
    return pk.Sequential([ManyParts(rng), pk.ReLU()]), rng.normal(size=(2, 2, 3))


class Polynomial:
    """No pancake.Function: many parameters in a dict of lists."""

    def __init__(self, rng):
        self.all = {"terms": [np.array([c]) for c in rng.normal(size=4)]}
        self.grads = [np.zeros(1) for _ in range(4)]

    def get_params_and_grads(self):
        return self.all["terms"], self.grads

    def compute_forward(self, x):
        self.x = x
        return sum(c * x**i for i, c in enumerate(self.all["terms"]))

    def compute_backward(self, dObj_dOut):
        for i, g in enumerate(self.grads):
            g += np.sum(dObj_dOut * self.x**i)
        return dObj_dOut * sum(i * c * self.x ** max(i - 1, 0) for i, c in enumerate(self.all["terms"]))


@right
def no_function_at_all(rng):
    return Polynomial(rng), rng.normal(size=shape(rng))


class Slots:
    """Its state is in slots, and it lists no parameters."""

    __slots__ = ("__private", "y")

    def compute_forward(self, x):
        self.__private = x
        self.y = np.sin(x)
        return self.y.copy()

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * np.cos(self.__private)


@right
def state_in_slots_without_parameters(rng):
    return Slots(), rng.normal(size=shape(rng))


def closures():
    cache = []
    k, grad_k = np.array([0.5]), np.zeros(1)

    def forward(x):
        cache[:] = [x]
        return k * x * x

    def backward(d):
        grad_k.__iadd__(np.sum(d * cache[0] ** 2))
        return 2 * k * d * cache[0]

    return types.SimpleNamespace(compute_forward=forward, compute_backward=backward, get_params_and_grads=lambda: ([k], [grad_k]))


class Independent(types.SimpleNamespace):
    def __deepcopy__(self, memo):
        return closures()


@right
def a_namespace_of_closures(rng):
    made = closures()
    return Independent(**vars(made)), rng.normal(size=shape(rng))


class Single(Function):
    """In float32 from end to end, whatever the input."""

    def __init__(self, rng):
        self.w, self.grad_w = rng.normal(size=(3, 3)).astype(np.float32), np.zeros((3, 3), np.float32)

    def compute_forward(self, x):
        self.x = np.asarray(x, np.float32)
        return self.x @ np.asarray(self.w, np.float32)

    def compute_backward(self, dObj_dOut):
        d = np.asarray(dObj_dOut, np.float32)
        self.grad_w += self.x.T @ d
        return d @ np.asarray(self.w, np.float32).T


@right
def only_in_single_precision(rng):
    return Single(rng), rng.normal(size=(4, 3))


class SingleDuck:
    def __init__(self, rng):
        self.inner = Single(rng)

    def compute_forward(self, x):
        return self.inner.compute_forward(x)

    def compute_backward(self, dObj_dOut):
        return self.inner.compute_backward(dObj_dOut)

    def get_params_and_grads(self):
        return self.inner.get_params_and_grads()


@right
def no_function_and_only_in_single_precision(rng):
    return SingleDuck(rng), rng.normal(size=(4, 3))


@right
def a_library_stack_in_single_precision(rng):
    return pk.mlp([3, 5, 2], rng=rng, dtype=np.float32), rng.normal(size=(4, 3)).astype(np.float32)


@right
def a_parameter_shared_by_two_parts(rng):
    first = pk.Linear(3, 3, rng=rng)
    return pk.Sequential([first, pk.Tanh(), first.shared_copy(), pk.Sigmoid()]), rng.normal(size=(4, 3))


# --- inputs of all kinds ---


@right
def a_batch_of_one(rng):
    return pk.mlp([3, 4, 2], rng=rng), rng.normal(size=(1, 3))


@right
def a_vector_without_a_batch(rng):
    return pk.Linear(3, 3, rng=rng), rng.normal(size=3)


@right
def a_read_only_input(rng):
    x = rng.normal(size=(4, 3))
    x.flags.writeable = False
    return pk.mlp([3, 4, 2], rng=rng), x


@right
def strided_and_reversed_input(rng):
    return pk.mlp([3, 4, 2], rng=rng), rng.normal(size=(3, 8)).T[::-2, ::-1]


@right
def a_list_of_integers(rng):
    return pk.Linear(2, 3, rng=rng), rng.normal(size=(3, 2)).tolist()


class Lookup(Function):
    def __init__(self, rng):
        self.table, self.grad_table = rng.normal(size=(6, 2)), np.zeros((6, 2))

    def compute_forward(self, index):
        self.index = index
        return self.table[index]

    def compute_backward(self, dObj_dOut):
        np.add.at(self.grad_table, self.index, dObj_dOut)
        return np.zeros(np.shape(self.index))


@right
def integer_input(rng):
    return pk.Sequential([Lookup(rng), pk.Tanh()]), rng.integers(0, 6, shape(rng))


class MadeForOneBatch(Function):
    """The mean squared distance from fixed numbers; a batch of one would broadcast."""

    def __init__(self, target):
        self.target = target

    def compute_forward(self, x):
        self.difference = x - self.target
        return np.mean(self.difference**2)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut * 2 * self.difference / self.difference.size


@right
def made_for_one_batch_size(rng):
    size = shape(rng)
    return MadeForOneBatch(rng.normal(size=size)), rng.normal(size=size)


class GainOfAVector(Function):
    def __init__(self, n):
        self.k, self.grad_k = np.ones(n), np.zeros(n)

    def compute_forward(self, x):
        self.x = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += dObj_dOut * self.x
        return dObj_dOut * self.k


@right
def a_vector_of_features(rng):
    n = int(rng.integers(1, 6))
    return GainOfAVector(n), rng.normal(size=n)


class Gram(Function):
    """x x^T: the batch is on both axes of the output."""

    def compute_forward(self, x):
        self.x = x
        return x @ x.T

    def compute_backward(self, dObj_dOut):
        return (dObj_dOut + dObj_dOut.T) @ self.x


@right
def products_between_examples(rng):
    return Gram(), rng.normal(size=shape(rng))


State = namedtuple("State", "h c")


class Cell(Function):
    """Two inputs and two outputs; the state is a named tuple."""

    def __init__(self, rng):
        self.w, self.grad_w = rng.normal(size=(3, 3)), np.zeros((3, 3))

    def compute_forward(self, x, state):
        self.state = state
        self.n = np.tanh(x + state.h @ self.w.T)
        return self.n.copy(), State(self.n * 0.5, state.c * self.n)

    def compute_backward(self, dObj_dOut, dObj_dState):
        dz = (dObj_dOut + 0.5 * dObj_dState.h + dObj_dState.c * self.state.c) * (1 - self.n**2)
        self.grad_w += dz.T @ self.state.h
        return dz, State(dz @ self.w, dObj_dState.c * self.n)


@right
def a_cell_with_a_named_state(rng):
    batch = int(rng.integers(1, 4))
    return Cell(rng), (rng.normal(size=(batch, 3)), State(rng.normal(size=(batch, 3)), rng.normal(size=(batch, 3))))


class Several(Function):
    """Three outputs in a list, of different shapes."""

    def compute_forward(self, x):
        self.x = x
        return [x**2, x.sum(axis=1), np.array(x.mean())]

    def compute_backward(self, dObj_dOut):
        a, b, c = dObj_dOut
        return 2 * a * self.x + b[:, None] + c / self.x.size


@right
def a_list_of_outputs(rng):
    return Several(), rng.normal(size=shape(rng))


# --- large arrays ---


@right
def a_large_net_of_kinks(rng):
    m = pk.Sequential([pk.Linear(16, 256, rng=rng), pk.ReLU(), pk.Linear(256, 16, rng=rng), pk.ReLU()])
    return m, rng.normal(size=(16, 16))


@right
def a_large_input_on_a_grid(rng):
    return pk.Sequential([pk.Linear(60, 2, rng=rng), pk.ReLU()]), grid(rng, 40, 60)


@right
def large_logarithms(rng):
    return Map(np.log, lambda x: 1 / x), 10.0 ** rng.uniform(-4, 3, (50, 50))


@right
def a_stack_with_own_functions(rng):
    own = [pk.Linear(3, 4, rng=rng), Shift(4), Centred("var"), NoDimensions(), Odd(), Softmax()]
    return pk.Sequential([copy.deepcopy(f) for f in own]), grid(rng, 4, 3)
