"""More Functions that are right and awkward: at kinks and ties, of narrow parts, without variance, with state that is none."""

from __future__ import annotations

import dataclasses

import numpy as np

import pancake as pk
from gallery.right import Map, grid, right, shape
from pancake import Function


class RowMaximum(Function):
    """The maximum of each row; a tie is shared."""

    def compute_forward(self, x):
        self.tied = x == x.max(axis=1, keepdims=True)
        return x.max(axis=1)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut[:, None] * self.tied / self.tied.sum(axis=1, keepdims=True)


@right
def shared_ties(rng):
    return RowMaximum(), grid(rng, *shape(rng))


@right
def a_leaky_slope_at_zero(rng):
    at_zero = rng.uniform(0.1, 1)
    slope = lambda x: np.where(x > 0, 1.0, np.where(x < 0, 0.1, at_zero))  # noqa: E731
    return Map(lambda x: np.where(x > 0, x, 0.1 * x), slope), grid(rng, *shape(rng))


@right
def a_stack_without_biases_on_zeros(rng):
    batch, n = shape(rng)
    return pk.Sequential([pk.MatMul(n, 4, rng=rng), pk.ReLU(), pk.MatMul(4, 2, rng=rng), pk.ReLU()]), grid(rng, batch, n)


@right
def a_cube_root_at_zero(rng):
    return Map(np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2)), grid(rng, *shape(rng))


class Patches(Function):
    """A product with parameters in double precision, of an input that went through a buffer in single precision."""

    def __init__(self, rng):
        self.w, self.grad_w = rng.normal(size=(3, 2)), np.zeros((3, 2))

    def compute_forward(self, x):
        self.buffer = x.astype(np.float32)
        return self.buffer @ self.w

    def compute_backward(self, dObj_dOut):
        self.grad_w += self.buffer.T @ dObj_dOut
        return dObj_dOut @ self.w.T


class RowNorm(Function):
    def compute_forward(self, x):
        self.r = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        self.h = self.r * (x - x.mean(axis=-1, keepdims=True))
        return self.h.copy()

    def compute_backward(self, dObj_dOut):
        along = (dObj_dOut * self.h).mean(axis=-1, keepdims=True)
        return self.r * (dObj_dOut - dObj_dOut.mean(axis=-1, keepdims=True) - self.h * along)


@right
def rows_without_variance(rng):
    return RowNorm(), np.repeat(rng.normal(size=(4, 1)), 5, axis=1)


class Standardised(Function):
    """By the batch in training, by running statistics in evaluation."""

    buffers = ("mean", "var")

    def __init__(self, n):
        self.mean, self.var = np.zeros(n), np.full(n, 2.0)

    def compute_forward(self, x):
        m, v = (x.mean(0), x.var(0)) if self.training else (self.mean, self.var)
        if self.training:
            self.mean, self.var = 0.9 * self.mean + 0.1 * m, 0.9 * self.var + 0.1 * v
        self.r = 1 / np.sqrt(v + 1e-2)
        self.h = (x - m) * self.r
        return self.h.copy()

    def compute_backward(self, d):
        return self.r * (d - d.mean(0) - self.h * (d * self.h).mean(0)) if self.training else self.r * d


@right
def two_modes(rng):
    f = Standardised(3)
    return (f if rng.integers(2) else f.eval()), rng.normal(size=(4, 3))


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    k: float = 2.0


class Configured(Map):
    """Has state that cannot be assigned to, and a large vocabulary that is of no concern."""

    def __init__(self):
        super().__init__(np.sin, np.cos)
        self.config = Config()
        self.words = {str(i): [i] for i in range(1500)}


@right
def frozen_and_bulky_state(rng):
    return Configured(), rng.normal(size=shape(rng))


@right
def a_stack_on_the_grid(rng):
    batch, n = shape(rng)
    stack = [pk.Linear(n, 5, rng=rng), pk.ReLU(), pk.LayerNorm(5), pk.Abs(), pk.Linear(5, 3, rng=rng), pk.HardTanh()]
    return pk.Sequential(stack), grid(rng, batch, n)


@right
def a_layer_norm_whose_outputs_cancel(rng):
    f = pk.LayerNorm(2, eps=1e-5)
    f.weight[...], f.bias[...] = [-0.1, 0.1], [0.1, -0.5]
    x = np.array([[[1.1, 1.0], [-0.1, 0.9], [0.1, 0.7]], [[-31.0, -1.3], [31.0, 0.1], [-0.1, -31.0]]])
    return f, x * rng.uniform(0.9, 1.1)
