"""What the body of a class says of its attributes: parameters never move, and settings are checked whenever they are set.

None of them has a `__get__`, on purpose: reading finds the value in the `__dict__` of the instance, at the usual speed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pancake.arguments import choice, name_of, numeric, real


class _Parameter:
    """Marks an attribute as an array that never moves: assigning to it copies into it, a single number into every entry."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: object, value: object) -> None:
        array = vars(instance).get(self.name)
        if value is array:  # the second half of `layer.weight -= step`
            return
        if array is None:
            raise ValueError(f"{instance!r} has no {self.name} to assign to")
        new = numeric(instance, value, self.name)
        if new.ndim and new.shape != array.shape:
            raise ValueError(f"{instance!r}: expected {self.name} of shape {array.shape}, got {new.shape}")
        array[...] = new


def parameter() -> Any:
    """Declare an attribute that `Tree.make_parameters` fills."""
    return _Parameter()


class _Checked:
    """Marks an attribute as a setting."""

    def __init__(self, check: Callable[[Any, str, Any], Any]) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: object, value: object) -> None:
        vars(instance)[self.name] = self.check(instance, self.name, value)


def checked(check: Callable[[Any, str, Any], Any]) -> Any:
    """Declare an attribute that is always what `check(instance, name, value)` has made of a value, also when it is set later."""
    return _Checked(check)


def positive(owner: object, name: str, value: Any) -> float:
    """`value` as a float, refused if it is not a finite number of more than 0."""
    result = real(owner, name, value)
    if result <= 0:
        raise ValueError(f"{name_of(owner)}: expected {name} of more than 0, got {value}")
    return result


def one_of(*words: str) -> Callable[[object, str, Any], str]:
    """A check that refuses all but these words."""
    return lambda owner, name, value: choice(owner, name, value, words)
