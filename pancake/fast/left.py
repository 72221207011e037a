"""What programs leave in layers, stacks and losses: what the plain ones would remember, made when somebody asks for it."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from pancake.function import Kept


class Ran(Kept):
    """What the latest run of a program has left in the stack or the loss that it computes: another object after every run.

    Every run makes one, so it is made without a call of Python: what is false is an attribute of the class.
    """

    program: Any
    value: Any  # that of a loss
    used = False
    older = False
    __init__ = object.__init__

    @property
    def what(self) -> tuple[Any, ...]:  # type: ignore[override]
        what: tuple[Any, ...] = self.program.kept()
        return what


class Left(Kept):
    """What a program's forward has left in one layer: the same object after every run, since the arrays are the same.

    It says of `used` what a layer's own memory would, without being told of every run: the program's `latest` knows.
    """

    __slots__ = ("_make", "_program", "_used_in")

    def __init__(self, program: Any, make: Callable[[], tuple[Any, ...]]) -> None:
        self._program, self._make, self._used_in, self.older = program, make, None, False

    @property
    def what(self) -> tuple[Any, ...]:  # type: ignore[override]
        return self._make()

    @property
    def used(self) -> bool:
        latest = self._program.latest
        used: bool = latest.used or self._used_in is latest
        return used

    @used.setter
    def used(self, value: bool) -> None:
        self._used_in = self._program.latest

    def leave(self) -> None:
        """Answer without the program, which is not to run again, so that the layer does not hold it."""
        latest = Kept((), False)
        latest.used = self.used
        self._program, self._used_in = types.SimpleNamespace(latest=latest), None


class StackKept(Kept):
    """What a forward has left in a stack of several segments and Functions, and what has run: with what program, if with one."""

    __slots__ = ("functions", "ran")

    ran: list[tuple[Any, Any]]
    functions: list[Any]
