"""Arrays of floats in a user's Functions beside which no gradient stands: parameters, perhaps, whose gradient was forgotten."""

from __future__ import annotations

import contextlib

import numpy as np

from pancake.function import Function
from pancake.origin import is_own
from pancake.testing.subject import Subject, Vector
from pancake.tree import named_parts


def of(subject: Subject) -> dict[str, tuple[Vector, Vector]]:
    """Each with a copy, by name. Gradients and buffers are none of them, nor what a Function holds that tells its parameters."""
    found: dict[str, tuple[Vector, Vector]] = {}
    with subject.without_bulk():
        parts = list(named_parts(subject.function)) if isinstance(subject.function, Function) else []
    for path, part in parts:
        if is_own(part) or type(part).get_params_and_grads is not Function.get_params_and_grads:
            continue
        attributes = vars(part)
        for name, value in attributes.items():
            is_one = isinstance(value, np.ndarray) and value.dtype.kind == "f" and not name.startswith("grad_")
            if is_one and "grad_" + name not in attributes and name not in part.buffers:
                found[f"{path}.{name}" if path else name] = value, value.copy()
    return found


def that_stay(subject: Subject, before: dict[str, tuple[Vector, Vector]]) -> list[str]:
    """The names of those that a forward of another input leaves as they are, and that are no parameter under another name."""
    if not before:
        return []
    with contextlib.suppress(Exception):  # an input that the function refuses, say
        subject.forward([0.75 * x if x.dtype.kind == "f" else x for x in subject.inputs])
    with subject.without_bulk():
        known = [array for pair in subject.function._pairs() for array in pair]
    after = of(subject)
    return [
        name
        for name, (array, copy) in before.items()
        if name in after and after[name][0] is array and np.array_equal(array, copy, equal_nan=True)
        if not any(np.may_share_memory(array, other) for other in known)
    ]
