"""Two plain functions, forward and backward, as the checks want them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pancake.testing.subject import GradientError, StandIn


class Pair(StandIn):
    """A forward and a backward that are plain functions, with the methods of a Function."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any], count: int, cache: bool) -> None:
        self.forward, self.backward, self.cached = forward, backward, cache
        self.name = _name(forward, "forward")
        self.calls = {"compute_forward": self.name, "compute_backward": _name(backward, "backward")}
        self.input_names = _input_names(forward, count)
        self.kept: Any = ()

    def __repr__(self) -> str:
        return f"<{self.name} and {self.calls['compute_backward']}>"

    def compute_forward(self, *inputs: Any) -> Any:
        """Call forward, and keep what backward gets."""
        result = self.forward(*inputs)
        if not self.cached:
            self.kept = inputs
            return result
        if not isinstance(result, tuple) or len(result) != 2:
            raise GradientError(f"{self.name}: expected it to return (out, cache) with cache=True, got {type(result).__name__}")
        out, cache = result
        self.kept = (cache,)
        return out

    def compute_backward(self, *upstream: Any) -> Any:
        """Call backward."""
        return self.backward(upstream[0] if len(upstream) == 1 else upstream, *self.kept)


def _name(function: Callable[..., Any], otherwise: str) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return otherwise if name == "<lambda>" else str(name)


def _input_names(forward: Callable[..., Any], count: int) -> list[str]:
    """Those of the parameters of forward, if it has as many."""
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    except (ValueError, TypeError):  # of a function that is not written in Python
        names = []
    if len(names) >= count:
        return names[:count]
    return ["x"] if count == 1 else [f"x[{i}]" for i in range(count)]
