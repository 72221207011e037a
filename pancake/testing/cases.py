"""One example of a property: a function made with arguments that are drawn, an input that fits it, and its check."""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pancake.arguments import name_of
from pancake.losses.loss import Loss
from pancake.testing.contract import check_function, check_instances, set_mode
from pancake.testing.inputs import batches, sequences
from pancake.testing.pieces import SEEDS, WIDTHS, redraw_parameters
from pancake.testing.snapshot import Snapshot
from pancake.testing.strategies import targets_for
from pancake.testing.subject import GradientError, Subject

# What layers call the number of their input features; the first that the class takes gives the width of the input.
WIDTH_NAMES = ["n_in", "in_features", "n_features", "num_features", "input_size", "input_dim", "in_dim", "features"]
WIDTH_NAMES += ["n", "dim", "width", "size"]
# Of arrays with more entries some and directions: there are many examples.
FEW: dict[str, Any] = {"max_entries": 128, "directions": 2}


@dataclass
class Case:
    """What one example is about. It looks like the first arguments of the test."""

    function: Any
    call: str
    x: Any
    target: Any
    width: str  # what gave the width of x, empty if the user did
    make: Callable[[], Any]  # another instance
    is_extra: bool = False  # a sequence, which the test of the user does not expect

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        target = "" if self.target is None else f", target={self.target!r}"
        printer.text(f"{self.call}, x={self.x!r}{target}")

    def run(self, check: Callable[..., Any]) -> GradientError | None:
        """What the check complains about."""
        options: dict[str, Any] = {} if self.target is None else {"target": self.target}
        try:
            if check is check_function:
                check_function(self.function, self.x, **options, **FEW)
                check_instances(self.function, self.make(), self.x, self.target)
            else:
                check(self.function, self.x, **options)
                self._run_in_the_other_mode(check, options)
        except GradientError as error:
            message, _, lines = str(error).partition("\n\nTo reproduce:")
            if self.width and "compute_forward raised" in message:
                message += f"\nThe input was drawn as a batch with {self.width}; pass x= to gradient_property for another input."
            # the snippet knows only the repr of an object, and here the call is known
            lines = re.sub(r"^function = .*$", lambda _: f"function = {self.call}", lines, count=1, flags=re.MULTILINE)
            return GradientError(f"{message}\n\nTo reproduce:{lines}" if lines else message, error.report)
        return None

    def _run_in_the_other_mode(self, check: Callable[..., Any], options: dict[str, Any]) -> None:
        training = getattr(self.function, "training", None)
        if not isinstance(training, bool) or not set_mode(self.function, not training):
            return
        try:
            check(self.function, self.x, **options)
        except GradientError as error:
            raise GradientError(f"in {'evaluation' if training else 'training'} mode: {error}", error.report) from None
        finally:
            set_mode(self.function, training)


@st.composite
def cases(
    draw: st.DrawFn,
    cls: Callable[..., Any],
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    x: Any,
    target: Any,
    refusals: list[ValueError],
) -> Case:
    """One example; a ValueError of the class is noted among `refusals`, and other arguments are drawn."""

    def drawn(value: Any, *given: Any) -> Any:
        value = value(*given) if given and callable(value) else value
        return draw(value) if isinstance(value, SearchStrategy) else value

    signature = inspect.signature(cls)
    by_name = dict(signature.bind_partial(*arguments, **named).arguments)
    waiting = {name: _names(value, by_name) for name, value in by_name.items()}
    values = {name: drawn(by_name[name]) for name, needs in waiting.items() if not needs}
    while len(values) < len(waiting):
        ready = [name for name, needs in waiting.items() if name not in values and all(need in values for need in needs)]
        if not ready:
            raise TypeError(f"gradient_property: the arguments {', '.join(set(waiting) - set(values))} depend on each other")
        values |= {name: drawn(by_name[name], *(values[need] for need in waiting[name])) for name in ready}
    arguments = tuple(drawn(value) if name is None else values[name] for name, value in _positions(signature, arguments))
    named = {name: values.get(name, drawn(value)) for name, value in named.items()}
    if "rng" in signature.parameters and "rng" not in signature.bind(*arguments, **named).arguments:
        named["rng"] = 0  # an example that fails must fail again
    bound = signature.bind(*arguments, **named)
    call = f"{name_of(cls)}({', '.join([*map(repr, arguments), *(f'{k}={v!r}' for k, v in named.items())])})"

    def make() -> Any:
        return cls(*copy.deepcopy(arguments), **copy.deepcopy(named))

    try:
        function = make()
    except ValueError as error:
        error.add_note(f"gradient_property drew the arguments: {call}")
        refusals.append(error)
        reject()
    except Exception as error:
        error.add_note(f"gradient_property drew the arguments: {call}")
        raise
    seed = draw(SEEDS)
    _redraw(function, seed)
    bound.apply_defaults()
    width = ""
    if x is None and target is None and isinstance(function, Loss):
        pred, target = draw(targets_for(function))
        return Case(function, call, pred, target, width, make)
    if x is None:
        name = next((n for n in WIDTH_NAMES if isinstance(bound.arguments.get(n), (int, np.integer))), None)
        features = WIDTHS if name is None else bound.arguments[name]
        width = f"{features} features, as {name} says" if name else f"any number of features, since {name_of(cls)} takes no n_in"
        x = draw(batches(features) | sequences(features))
        if x.ndim == 3 and not _takes(function, x):
            x = x.reshape(-1, x.shape[-1])
    extra = bool(width) and x.ndim == 3
    x = drawn(x, function)
    if not seed % 2 and not _is_finite(function, x):
        _redraw(function, seed, positive=True)
    return Case(function, call, x, drawn(target, x), width, make, extra)


def _names(value: Any, arguments: dict[str, Any]) -> list[str]:
    """The arguments that a function asks for by name; none if it is another value."""
    if not inspect.isfunction(value):
        return []
    needs = list(inspect.signature(value).parameters)
    return needs if needs and all(need in arguments for need in needs) else []


def _positions(signature: inspect.Signature, arguments: tuple[Any, ...]) -> list[tuple[str | None, Any]]:
    """The arguments that are given by position, with their names; None for those of *args."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, p in signature.parameters.items() if p.kind in kinds]
    return [(names[i] if i < len(names) else None, value) for i, value in enumerate(arguments)]


def _takes(function: Any, x: Any) -> bool:
    """Whether a forward and a backward get through, and leave gradients of the right shapes; the function stays as it was."""
    before = Snapshot(function)
    try:
        subject = Subject(function, x)
        outputs, out = subject.forward([x])
        subject.backward([np.ones_like(y) for y in outputs], out)
        subject.params_and_grads()
        return True
    except Exception:
        return False
    finally:
        before.restore()


def _is_finite(function: Any, x: Any) -> bool:
    """Whether a forward gets through and gives finite numbers; the function stays as it was."""
    before = Snapshot(function)
    try:
        with np.errstate(all="ignore"):
            subject = Subject(function, x)
            return all(np.isfinite(y).all() for y in subject.forward(subject.inputs)[0])
    except Exception:
        return False
    finally:
        before.restore()


def _redraw(function: Any, seed: int, positive: bool = False) -> None:
    """Exchange the values that parameters start from, where there are parameters."""
    if hasattr(function, "get_params_and_grads"):
        with contextlib.suppress(Exception):  # the check says what is wrong with them
            redraw_parameters(function, seed, positive)
