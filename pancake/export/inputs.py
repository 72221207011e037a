"""What is exported, and the example of its input: checked before anything is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.arguments import as_array, name_of
from pancake.function import Function


def check_function(owner: object, model: Any) -> None:
    """Refuse what is no Function."""
    if not isinstance(model, Function):
        hint = "; pass its model_" if hasattr(model, "model_") else ""
        raise TypeError(f"{name_of(owner)}: expected a Function, got {model!r}"[:300] + hint)


def example_of(owner: object, x: Any) -> Any:
    """The input as an array, or for a tuple as a tuple of arrays, of int64 or float64."""
    if isinstance(x, tuple):
        if not x:
            raise ValueError(f"{name_of(owner)}: expected x to have at least one input, got an empty tuple")
        return tuple(example_of(owner, part) for part in x)
    array = as_array(owner, x, "x")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name_of(owner)}: expected x to be real numbers, got an array of dtype {array.dtype}")
    if not array.size:
        raise ValueError(f"{name_of(owner)}: expected x to have at least one example, got an empty array of shape {array.shape}")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
