"""Functions as participants of a workshop write them: arrays, three methods, no call of a base `__init__`."""

from __future__ import annotations

import numpy as np

from pancake import Function


class Scale(Function):
    """y = k x with k of shape (1,), the arrays assigned in the constructor."""

    def __init__(self, k=0.5):
        self.k = np.array([k])
        self.grad_k = np.zeros(1)

    def compute_forward(self, x):
        self.seen = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.seen).sum()
        return dObj_dOut * self.k


class Dense(Function):
    """y = x w + b with arrays in the order that a participant thinks in, (I, O)."""

    def __init__(self, n_in, n_out, seed=0):
        self.w = np.random.default_rng(seed).normal(size=(n_in, n_out))
        self.b = np.zeros(n_out)
        self.grad_w = np.zeros((n_in, n_out))
        self.grad_b = np.zeros(n_out)

    def compute_forward(self, x):
        self.seen = x
        return x @ self.w + self.b

    def compute_backward(self, dObj_dOut):
        self.grad_w += self.seen.T @ dObj_dOut
        self.grad_b += dObj_dOut.sum(axis=0)
        return dObj_dOut @ self.w.T


class Listed(Function):
    """y = x p0 + p1 with the arrays in lists, which `get_params_and_grads` hands out."""

    def __init__(self, n=2):
        self.params = [np.full(n, 0.7), np.full(1, 0.1)]
        self.grads = [np.zeros(n), np.zeros(1)]

    def compute_forward(self, x):
        self.seen = x
        return x * self.params[0] + self.params[1]

    def compute_backward(self, dObj_dOut):
        self.grads[0] += (dObj_dOut * self.seen).sum(axis=0)
        self.grads[1] += dObj_dOut.sum()
        return dObj_dOut * self.params[0]

    def get_params_and_grads(self):
        return self.params, self.grads


class Rebinding(Scale):
    """Assigns a new gradient array in every backward instead of adding to the one it has."""

    def compute_backward(self, dObj_dOut):
        self.grad_k = np.array([(dObj_dOut * self.seen).sum()])
        return dObj_dOut * self.k


class Lazy(Function):
    """Makes its parameter when it first sees an input."""

    k = None

    def compute_forward(self, x):
        if self.k is None:
            self.k, self.grad_k = np.full(x.shape[-1], 0.5), np.zeros(x.shape[-1])
        self.seen = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.seen).sum(axis=0)
        return dObj_dOut * self.k


class Skip(Function):
    """y = x + f(x): a composite with one part."""

    def __init__(self, f):
        self.f = f

    def compute_forward(self, x):
        return x + self.f(x)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut + self.f.compute_backward(dObj_dOut)


class Branches(Function):
    """y = a(x) + sum of d(x): parts in a tuple and in a dict, and an array between them."""

    def __init__(self, a, d):
        self.a = (a,)
        self.k, self.grad_k = np.ones(1), np.zeros(1)
        self.d = dict(d)

    def compute_forward(self, x):
        self.sum = self.a[0](x) + sum(f(x) for f in self.d.values())
        return self.k * self.sum

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.sum).sum()
        d = dObj_dOut * self.k
        return self.a[0].compute_backward(d) + sum(f.compute_backward(d) for f in self.d.values())
