"""What is exported, and the example of its input: checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from pancake.arguments import as_array, brief, name_of
from pancake.function import Function

T = TypeVar("T")


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


def one_input(owner: object, x: Any) -> Any:
    """The input as one array with an axis for the examples."""
    if isinstance(x, tuple):
        raise TypeError(f"{name_of(owner)}: expected one input as x, got a tuple; to_onnx exports models of several inputs")
    example = example_of(owner, x)
    if not example.ndim:
        raise ValueError(f"{name_of(owner)}: expected x to have an axis for the examples, (B, ...), got a single number")
    return example


def takes_more_time(double: Function, example: Any) -> bool:
    """Whether the second axis of the input is time, of which the model takes any number of steps."""
    if not double._takes_lengths() or example.ndim < 2:
        return False
    try:
        double.compute_forward(np.concatenate([example, example[:, -1:]], axis=1))
    except ValueError:
        return False
    return True


def converter_of(owner: object, table: Mapping[type[Function], T], function: Function, hint: str = "") -> T:
    """The entry of a table for exactly the class of a Function, or a refusal that names it."""
    if type(function) not in table or "compute_forward" in vars(function):
        name, known = type(function).__name__, ", ".join(sorted(cls.__name__ for cls in table))
        hint = hint or f"; what has one are {known}"
        raise TypeError(f"{name_of(owner)}: {brief(function)} cannot be exported: there is no converter for exactly {name}{hint}")
    return table[type(function)]
