"""Gradients that are too long, cut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pancake.arguments import number
from pancake.function import Function
from pancake.optimizers.optimizer import Optimizer


def clip_grad_norm(model: Function | Sequence[Function], max_norm: float) -> float:
    """Scale all gradients by one factor if their common length is more than `max_norm`; return the length before.

    length = sqrt(sum of the squares of all entries of all gradients).

    Parameters
    ----------
    model : Function or list of Function
    max_norm : float
        At least 0.

    References
    ----------
    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html, where the factor is
    max_norm / (length + 1e-6), as here.
    """
    functions = [model] if isinstance(model, Function) else model
    # by memory, since a parameter may be a view of another
    grads = {(g.ctypes.data, g.size): g for function in functions for g in function.get_params_and_grads()[1]}.values()
    # one sum for each parameter: sums over neighbours in memory would be others in a copy or after load
    norm = math.sqrt(sum(float(np.vdot(v, v)) for v in (g.ravel(order="K") for g in grads)))
    if norm > number(clip_grad_norm, "max_norm", max_norm):
        for g in grads:
            g *= max_norm / (norm + 1e-6)
    return norm


def clip_grad_value(model: Function | Sequence[Function], max_value: float) -> None:
    """Clip every entry of every gradient to [-max_value, max_value].

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html
    """
    number(clip_grad_value, "max_value", max_value)
    for g in Optimizer(model)._grads:
        np.clip(g, -max_value, max_value, out=g)
