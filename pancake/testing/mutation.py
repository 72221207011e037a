"""`mutate`: who checks the checker? Faults planted in a right backward, one by one, and which of them a check sees."""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pancake.shown import table
from pancake.testing.contract import check_function
from pancake.testing.faults import Fault, faults
from pancake.testing.gradients import DEFAULTS, compare, in_double
from pancake.testing.subject import refuse_strangers


@dataclass
class MutationReport:
    """What came of the faults that were planted in a function.

    Attributes
    ----------
    function : str
        The name of the class.
    caught, survivors : list of Fault
        Those that a check saw, and those that none did.
    """

    function: str
    caught: list[Fault] = field(default_factory=list)
    survivors: list[Fault] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The share of the faults that were caught."""
        count = len(self.caught) + len(self.survivors)
        return len(self.caught) / count if count else 1.0

    def summary(self) -> str:
        """The score, and the survivors with their lines."""
        count = len(self.caught) + len(self.survivors)
        lines = [f"{self.function}: {len(self.caught)} of {count} faults caught"]
        lines += [f"  {fault.where}, line {fault.line}: {fault.change}" for fault in self.survivors]
        return "\n".join(lines)

    __str__ = summary

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of the survivors."""
        rows = [(fault.where, fault.line, fault.change) for fault in self.survivors]
        return table(("survivor in", "line", "fault"), rows, self.summary().splitlines()[0])


def mutate(function: Any, x: Any, *, target: Any = None) -> MutationReport:
    """Plant every one-place fault in a backward, by rewriting its source, and look which of them `check_function` sees.

    A fault is a term, a factor, a transpose, an axis, a sign, a mask or a statement that is left out or exchanged, a sum for a
    mean, another index. They are planted in `compute_backward` and in what it alone calls: methods of the class, and functions
    of its module. What survives is either equivalent (a factor of 1, a mask that masks nothing), or this input does not show it:
    look at the line.

    Parameters
    ----------
    function, x, target
        As in `check_function`; the function is right. Its class is patched while the check runs, so run one at a time.

    Returns
    -------
    MutationReport
        `print(report)` shows the score and the survivors.

    Raises
    ------
    GradientError
        If the function is wrong without any fault.
    TypeError
        If its source cannot be had.
    """
    refuse_strangers(function)
    check_function(function, x, target=target)
    report = MutationReport(type(function).__name__)
    try:
        planted = [(owner, name, fault) for owner, name, original in own_functions(type(function)) for fault in faults(original)]
    except OSError:
        raise TypeError(f"mutate: {type(function).__name__} has no source that could be rewritten") from None
    for owner, name, fault in planted:
        seen = is_seen(fault, owner, name, [(function, x, target)])
        (report.caught if seen else report.survivors).append(fault)
    return report


@np.errstate(all="ignore")
def is_seen(fault: Fault, owner: Any, name: str, examples: Sequence[tuple[Any, Any, Any]]) -> bool:
    """Whether a check of one of the examples (function, x, target) fails while the fault is in its class."""
    with planted(owner, name, fault):
        try:
            for function, x, target in examples:  # which is quick, and mostly enough
                if not compare(in_double(function, x, target)[0], {**DEFAULTS, "max_entries": 12, "directions": 1}).ok:
                    return True
            for function, x, target in examples:
                check_function(function, x, target=target, max_entries=64)
        except Exception:  # of the check, or of what the fault has done
            return True
    return False


@contextlib.contextmanager
def planted(owner: Any, name: str, fault: Fault) -> Iterator[None]:
    """Put the fault in the place of the original."""
    original = inspect.getattr_static(owner, name)
    setattr(owner, name, staticmethod(fault.function) if isinstance(original, staticmethod) else fault.function)
    try:
        yield
    finally:
        setattr(owner, name, original)


def own_functions(cls: type, *, forward: bool = False) -> list[tuple[Any, str, types.FunctionType]]:
    """compute_backward, and what it calls and compute_forward does not: where each is, its name, and the function.

    With `forward` the other way round.
    """
    sides = _reached(cls, ("compute_backward",)), _reached(cls, ("compute_forward", "__call__"))
    wanted, others = sides[::-1] if forward else sides
    known = {function for _, _, function in others}
    return [found for found in wanted if found[2] not in known]


def _reached(cls: type, begin: tuple[str, ...]) -> list[tuple[Any, str, types.FunctionType]]:
    module = inspect.getmodule(cls)
    found: dict[types.FunctionType, tuple[Any, str, types.FunctionType]] = {}
    waiting = [(True, name) for name in begin]
    while waiting:
        is_method, name = waiting.pop(0)
        owner: Any = next((c for c in cls.__mro__ if name in vars(c)), None) if is_method else module
        thing = inspect.getattr_static(owner, name, None)
        function = thing.__func__ if isinstance(thing, staticmethod) else thing
        if not isinstance(function, types.FunctionType) or function in found or function.__module__ == "pancake.function":
            continue
        if not is_method and function.__module__ != cls.__module__:
            continue
        found[function] = owner, name, function
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                waiting.append((True, node.attr))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                waiting.append((False, node.func.id))
    return list(found.values())
