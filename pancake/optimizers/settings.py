"""Settings of optimizers: checked whenever they are set, and what other libraries call them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from pancake.origin import is_own

FOREIGN_RATES = ("learning_rate", "learning_rate_init", "learningrate", "lr_", "alpha", "eta", "eta0", "param_groups")


class ForeignRate:
    """What other libraries call the learning rate: an attribute that pancake's own optimizers have not, not even to set.

    Set by mistake, it would change nothing. An optimizer of a user's own may have it. A `__setattr__` of `Optimizer` would do
    the same, and slow every step.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        # not of pancake's own: once `vars` has been asked for, all attributes of an object are read more slowly
        if instance is not None and not is_own(instance) and self.name in vars(instance):
            return vars(instance)[self.name]
        raise self._refusal(owner)

    def __set__(self, instance: Any, value: object) -> None:
        if is_own(instance):
            raise self._refusal(type(instance))
        vars(instance)[self.name] = value

    def _refusal(self, owner: type) -> AttributeError:
        return AttributeError(
            f"{owner.__name__!r} object has no attribute {self.name!r}; the learning rate is lr, one for each optimizer"
        )


def setting(name: str, check: Callable[..., Any], **limits: float) -> Any:
    """An attribute that is checked whenever it is set, in the constructor as later.

    Rules read `_name`: of a property it would take each step longer.
    """
    hidden = f"_{name}"

    def change(optimizer: Any, value: Any) -> None:
        setattr(optimizer, hidden, check(optimizer, name, value, **limits))

    return property(operator.attrgetter(hidden), change, doc=f"`{name}` of the constructor, which may be set anew at any time.")
