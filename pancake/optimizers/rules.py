"""The rules: what becomes of parameters and their gradients in a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pancake.arguments import flag, number
from pancake.function import Function
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer
from pancake.optimizers.settings import setting


def _momentum_of(optimizer: Any, name: str, value: Any) -> float:
    """A momentum, which has a vector of state unless it is 0."""
    momentum = number(optimizer, name, value, below=1)
    if not momentum and getattr(optimizer, "nesterov", False):
        raise ValueError("SGD: nesterov needs momentum; set nesterov to False first")
    optimizer._keep("momentum_buffer", momentum > 0)
    return momentum


def _nesterov_of(optimizer: Any, name: str, value: Any) -> bool:
    """Whether the momentum is Nesterov's."""
    nesterov = flag(optimizer, name, value)
    if nesterov and not optimizer.momentum:
        raise ValueError("SGD: nesterov needs momentum; pass momentum=0.9, say")
    return nesterov


def _betas_of(optimizer: Any, name: str, value: Any) -> tuple[float, float]:
    """Two numbers, each from 0 to less than 1."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{type(optimizer).__name__}: expected {name} to be two numbers, such as (0.9, 0.999), got {value!r}")
    beta1, beta2 = value
    return number(optimizer, "beta1", beta1, below=1), number(optimizer, "beta2", beta2, below=1)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    g = grad_p + weight_decay p;  b <- momentum b + g;  p <- p - lr b.
    With `nesterov` the step is lr (g + momentum b) instead of lr b.

    Parameters
    ----------
    model : Function or list of Function
    lr : float
    momentum : float
        From 0 to less than 1.
    nesterov : bool
        Needs momentum.
    weight_decay : float
        At least 0; it applies to all parameters, biases included.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning" (2013).
    """

    _momentum: float
    _nesterov: bool
    _weight_decay: float
    momentum = setting("momentum", _momentum_of)
    nesterov = setting("nesterov", _nesterov_of)
    weight_decay = setting("weight_decay", number)

    def __init__(
        self,
        model: Function | Sequence[Function],
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        super().__init__(model, lr)

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        *buffers, lr = args
        if self._weight_decay:
            g = g + self._weight_decay * p
        for b in buffers:
            b *= self._momentum
            b += g
            g = g + self._momentum * b if self._nesterov else b
        np.multiply(g, lr, work)
        p -= work


class Adam(Optimizer):
    """Steps of about lr in every parameter, whatever the scale of its gradients.

    g = grad_p + weight_decay p;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)  in step t.

    The vectors kept are m / (1 - beta1) and v / (1 - beta2): their factors are the same for all parameters and go into
    lr and eps, which saves three passes of thirteen.

    Parameters
    ----------
    model : Function or list of Function
    lr : float
    betas : (float, float)
        beta1 and beta2, each from 0 to less than 1.
    eps : float
        At least 0.
    weight_decay : float
        At least 0; here added to the gradient. `AdamW` subtracts it from the parameters instead.

    References
    ----------
    Kingma, Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1 and section 2.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html
    """

    _betas: tuple[float, float]
    _eps: float
    _weight_decay: float
    betas = setting("betas", _betas_of)
    eps = setting("eps", number)
    weight_decay = setting("weight_decay", number)

    slots = ("scaled_exp_avg", "scaled_exp_avg_sq")
    decoupled = False  # whether weight decay passes the gradient by

    def __init__(
        self,
        model: Function | Sequence[Function],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        super().__init__(model, lr)

    def factors(self) -> tuple[float, ...]:
        beta1, beta2 = self._betas
        t = self.steps or 1
        root = math.sqrt((1 - beta2) / (1 - beta2**t))
        return beta1, beta2, self._eps / root, self._lr * (1 - beta1) / ((1 - beta1**t) * root)

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        m, v, beta1, beta2, eps, rate = args
        if self._weight_decay and not self.decoupled:
            g = g + self._weight_decay * p
        m *= beta1
        m += g
        v *= beta2
        np.multiply(g, g, work)
        v += work
        np.sqrt(v, work)
        work += eps
        np.divide(m, work, work)
        work *= rate
        p -= work


class AdamW(Adam):
    """Adam whose weight decay does not pass through the gradient: p <- p - lr weight_decay p, and then Adam's step.

    Parameters
    ----------
    model, lr, betas, eps
        As in `Adam`.
    weight_decay : float
        At least 0.

    References
    ----------
    Loshchilov, Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html
    """

    decoupled = True

    def __init__(
        self,
        model: Function | Sequence[Function],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(model, lr, betas, eps, weight_decay)

    def factors(self) -> tuple[float, ...]:
        return *super().factors(), 1 - self._lr * self._weight_decay

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        *others, kept = args
        p *= kept
        super().update(p, g, work, *others)


class RMSprop(Optimizer):
    """Gradients divided by a running root of their mean square.

    g = grad_p + weight_decay p;  v <- alpha v + (1 - alpha) g^2;  b <- momentum b + g / (sqrt(v) + eps);  p <- p - lr b.

    Parameters
    ----------
    model : Function or list of Function
    lr : float
    alpha : float
        From 0 to less than 1.
    eps : float
        At least 0.
    momentum : float
        From 0 to less than 1.
    weight_decay : float
        At least 0.

    References
    ----------
    Tieleman, Hinton, "Lecture 6.5: rmsprop", Coursera (2012).
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    _alpha: float
    _eps: float
    _momentum: float
    _weight_decay: float
    alpha = setting("alpha", number, below=1)  # here it is no other name of the learning rate
    eps = setting("eps", number)
    momentum = setting("momentum", _momentum_of)
    weight_decay = setting("weight_decay", number)

    slots = ("square_avg",)

    def __init__(
        self,
        model: Function | Sequence[Function],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self.alpha = alpha
        self.eps = eps
        self.momentum = momentum
        self.weight_decay = weight_decay
        super().__init__(model, lr)

    def factors(self) -> tuple[float, ...]:
        return self._alpha, 1 - self._alpha, self._eps, self._lr

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        v, *buffers, alpha, rest, eps, lr = args
        if self._weight_decay:
            g = g + self._weight_decay * p
        v *= alpha
        np.multiply(g, g, work)
        work *= rest
        v += work
        np.sqrt(v, work)
        work += eps
        np.divide(g, work, work)
        for b in buffers:
            b *= self._momentum
            b += work
            work[...] = b
        work *= lr
        p -= work


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

    v <- v + grad_p^2;  p <- p - lr grad_p / (sqrt(v) + eps).

    Parameters
    ----------
    model : Function or list of Function
    lr : float
    eps : float
        At least 0.

    References
    ----------
    Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization" (2011), figure 1.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html
    """

    _eps: float
    eps = setting("eps", number)

    slots = ("sum",)

    def __init__(self, model: Function | Sequence[Function], lr: float = 1e-2, eps: float = 1e-10) -> None:
        self.eps = eps
        super().__init__(model, lr)

    def factors(self) -> tuple[float, ...]:
        return self._eps, self._lr

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        v, eps, lr = args
        np.multiply(g, g, work)
        v += work
        np.sqrt(v, work)
        work += eps
        np.divide(g, work, work)
        work *= lr
        p -= work
