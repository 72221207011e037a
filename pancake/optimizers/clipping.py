"""Gradients that are too long, cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pancake.arguments import number
from pancake.function import Function, need_functions
from pancake.memory import Array
from pancake.optimizers.ranks import ranks_that_train

# Squares of such numbers neither overflow nor vanish, in float32 as in float64.
LEAST, MOST = 1e-12, 1e15


def clip_grad_norm(model: Function | Sequence[Function], max_norm: float) -> float:
    """Scale all gradients by one factor if their common length is more than `max_norm`; return the length before.

    length = sqrt(sum of the squares of all entries of all gradients). Gradients with nan or inf in them stay as they are.

    Parameters
    ----------
    model : Function or list of Function
        What the optimizer was made for; what is frozen does not count.
    max_norm : float
        At least 0. With inf nothing is scaled, and the length is all there is to it.

    Raises
    ------
    TypeError
        If the model is not a Function or a list of Functions.

    References
    ----------
    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html, where the factor is
    max_norm / (length + 1e-6), as here.
    """
    if not (isinstance(max_norm, float) and max_norm == math.inf):
        number(clip_grad_norm, "max_norm", max_norm)
    return scale_down(_gradients(clip_grad_norm, model), max_norm)


def clip_grad_value(model: Function | Sequence[Function], max_value: float) -> None:
    """Clip every entry of every gradient to [-max_value, max_value].

    Parameters
    ----------
    model : Function or list of Function
    max_value : float
        At least 0.

    Raises
    ------
    TypeError
        If the model is not a Function or a list of Functions.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html
    """
    number(clip_grad_value, "max_value", max_value)
    for g in _gradients(clip_grad_value, model):
        np.clip(g, -max_value, max_value, out=g)


def scale_down(grads: Sequence[Array], max_norm: float) -> float:
    """What `clip_grad_norm` does, for gradients that have been found already."""
    norm = length(grads)
    if max_norm < norm < math.inf:
        for g in grads:
            g *= max_norm / (norm + 1e-6)
    return norm


def _gradients(function: Callable[..., Any], model: Function | Sequence[Function]) -> list[Array]:
    """All gradients, each once; of a model that several processes train, those of the joined batch."""
    # by memory, since a parameter may be a view of another
    grads = [g for f in need_functions(function.__name__, model) for g in f.get_params_and_grads()[1]]
    for ranks in ranks_that_train(grads):
        ranks.join()
    return list({(g.ctypes.data, g.size): g for g in grads}.values())


def length(grads: Sequence[Array]) -> float:
    """The square root of the sum of the squares of all entries, also where one of the squares is more than the dtype holds."""
    # one sum for each parameter: sums over neighbours in memory would be others in a copy or after load
    vectors = [g.ravel(order="K") for g in grads if g.size]
    norm = math.sqrt(sum(float(np.vdot(v, v)) for v in vectors))
    if LEAST < norm < MOST and all(v.itemsize > 2 for v in vectors):
        return norm
    # Squares of what is far from 1 may overflow or vanish; shares of the largest do not.
    largest = max((float(np.abs(v).max()) for v in vectors), default=0.0)
    if not largest or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(sum(float(np.square(v.astype(np.float64) / largest).sum()) for v in vectors))
