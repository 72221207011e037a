"""States: what a recurrent cell hands from step to step, an array or a tuple of states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.arguments import numeric
from pancake.tree import tuple_like


def each(change: Callable[..., Any], state: Any, *others: Any) -> Any:
    """The state made of `change(array)`, or of `change(array, array)` of two states, for each of its arrays."""
    if not isinstance(state, (tuple, list)):
        return change(state, *others)
    return tuple_like(state, [each(change, *parts) for parts in zip(state, *others, strict=True)])


def like(owner: object, what: str, state: Any, model: Any) -> Any:
    """`state` as arrays of the shapes and dtypes of `model`, refused if it has others.

    Raises
    ------
    TypeError, ValueError
        The message names `owner`, and `what` it is.
    """
    fitted = _fitted(owner, what, state, model)
    if fitted is None:
        raise ValueError(f"{owner!r}: expected {what} of shape {shapes(model)}, got {shapes(state)}")
    return fitted


def _fitted(owner: object, what: str, state: Any, model: Any) -> Any:
    """What `like` returns, or None if shapes differ."""
    if isinstance(model, tuple):
        if not isinstance(state, (tuple, list)) or len(state) != len(model):
            return None
        parts = [_fitted(owner, what, *pair) for pair in zip(state, model, strict=True)]
        return None if any(part is None for part in parts) else tuple_like(model, parts)
    if isinstance(state, tuple):
        return None
    array = numeric(owner, state, what)
    return array.astype(model.dtype, copy=False) if array.shape == model.shape else None


def alike(state: Any, model: Any) -> bool:
    """Whether a state is made of arrays as `model` is."""
    if isinstance(model, tuple):
        return isinstance(state, tuple) and len(state) == len(model) and all(map(alike, state, model))
    return isinstance(state, np.ndarray) and state.shape == model.shape


def shapes(state: Any) -> str:
    """The shapes of a state, as messages show them."""
    if isinstance(state, tuple):
        return "(" + ", ".join(shapes(part) for part in state) + ("," if len(state) == 1 else "") + ")"
    try:
        return str(np.shape(state))
    except ValueError:
        return "of rows of different lengths"
