"""Settings of layers and losses: attributes that are checked whenever they are set, in the constructor as later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pancake.arguments import choice, name_of, real


class _Checked:
    """There is no `__get__` on purpose: reading finds the value in the instance's `__dict__`, at the usual speed."""

    def __init__(self, check: Callable[[Any, str, Any], Any]) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: object, value: object) -> None:
        vars(instance)[self.name] = self.check(instance, self.name, value)


def checked(check: Callable[[Any, str, Any], Any]) -> Any:
    """Declare, in the body of a class, an attribute that is always what `check(instance, name, value)` has made of a value."""
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
