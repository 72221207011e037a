"""`gradient_property`: a property test of a layer class in one call."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure, Unsatisfiable
from hypothesis.strategies import SearchStrategy

from pancake.arguments import name_of
from pancake.function import Function
from pancake.losses.elementwise import ElementwiseLoss
from pancake.losses.loss import Loss
from pancake.testing.cases import Case, cases
from pancake.testing.contract import check_function
from pancake.testing.recipes import LOSSES
from pancake.testing.subject import GradientError

# Of so many entries a hint may be told.
ENOUGH = 3
# With so many there is no need to look for more.
LARGE = 16


def gradient_property(
    cls: Callable[..., Any],
    *arguments: Any,
    x: Any = None,
    target: Any = None,
    check: Callable[..., Any] = check_function,
    **named: Any,
) -> Callable[..., Any]:
    """Make a property test of a class: whatever its arguments, its derivatives are right and its contract is kept.

    The result is a test as it is::

        test_my_layer = gradient_property(MyLayer, n_in=st.integers(1, 5), n_out=st.integers(1, 5))

    and it decorates a test that asserts more, after the check, of the arguments `function`, `x` and `target` that it names::

        @gradient_property(MyLayer, n_in=st.integers(1, 5), n_out=st.integers(1, 5))
        def test_my_layer(function, x):
            assert function(x).shape == (len(x), function.n_out)

    pytest and unittest find it, also as a method; `hypothesis.settings` and `seed` apply to it. No deadline does, and
    failing examples are not explained line by line. In every example the class is called with arguments drawn, then its
    parameters are filled with odd tenths from -1.5 to 1.5 (in half of the examples 0.1 to 1.5 where all were positive), since
    the ones and zeros that parameters start from hide faults. A second instance of the class must not disturb the first.

    A decorated test may also name `data`, and draw more with it, as with hypothesis' `st.data()`.

    Parameters
    ----------
    cls : callable
        The class, or a function that makes a layer, a loss, a cell or a stack. It needs no base of pancake.
    *arguments, **named
        What to call it with: strategies, or values. A function whose parameters are names of other arguments gets what was drawn
        for these, and returns a strategy or a value: `heads=lambda n: st.sampled_from(divisors(n))`. Where the class raises a
        ValueError for its arguments, others are drawn. A class that takes `rng` and is given none gets rng=0. An argument that is
        itself called x, target or check goes by position.
    x : strategy or array_like or callable, optional
        The input, or a function of the layer that returns it or a strategy of it: `x=lambda layer: sequences(layer.n_in)`.
        Without it, `batches` as wide as the argument n_in (in_features, n_features, num_features, input_size, input_dim,
        in_dim, features, n, dim, width, size) says, or of any width if there is none of these; and `sequences` where the layer
        takes them, which the decorated test gets as one batch.
    target : strategy or array_like or callable, optional
        For a loss: the target, or a function of the prediction that returns it or a strategy of it:
        `target=lambda pred: labels(pred.shape[-1], batch=len(pred))`. A subclass of a loss of pancake needs none.
    check : callable
        Called as check(function, x, target=target); `functools.partial(check_gradients, rtol=1e-4)` for other options.

    Raises
    ------
    TypeError
        If `cls` cannot be called with these arguments, or if it is a loss and there is no target.
    ValueError
        By the test: what the class raised, if it took no arguments that were drawn.
    GradientError
        By the test: the report of the check for the smallest failing example.
    """
    _refuse(cls, arguments, named, target)
    refusals: list[ValueError] = []
    drawn = cases(cls, arguments, named, x, target, refusals)
    return _property(drawn, check, refusals, re.sub(r"\W", "_", f"gradients_of_{name_of(cls)}"))


def _refuse(cls: Any, arguments: tuple[Any, ...], named: dict[str, Any], target: Any) -> None:
    """Raise now what would be raised in every example."""
    if not callable(cls) or isinstance(cls, (Function, Loss)):
        hint = f"; pass {type(cls).__name__}, and strategies for its arguments" if hasattr(cls, "compute_forward") else ""
        raise TypeError(f"gradient_property: expected a class, got {cls!r}{hint}")
    try:
        inspect.signature(cls).bind(*arguments, **named)
    except TypeError as error:
        call = f"{name_of(cls)}{inspect.signature(cls)}"
        raise TypeError(f"gradient_property: {error}; pass a strategy for each argument of {call}") from None
    backward = getattr(cls, "compute_backward", None)
    if target is None and backward and len(inspect.signature(backward).parameters) == 1 and not _draws_targets(cls):
        raise TypeError(
            f"gradient_property: {name_of(cls)}.compute_backward takes no dObj_dOut, so it is a loss; "
            "pass target=, such as target=lambda pred: batches(pred.shape[1], batch=len(pred))"
        )


def _draws_targets(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, (*LOSSES, ElementwiseLoss))


class _Largest:
    """The hint of the largest example that failed: the smallest often has one entry, of which too much is true."""

    def __init__(self) -> None:
        self.size = 0
        self.hints: dict[str, str] = {}
        self.shape: tuple[int, ...] = ()

    def see(self, case: Case, error: GradientError) -> None:
        """Take note of a failing example."""
        wrong = [a for a in (error.report.arrays if error.report else []) if a.wrong and a.hint]
        size = max((a.size for a in wrong), default=0)
        if size > self.size:
            self.size, self.shape = size, np.shape(case.x) if not isinstance(case.x, tuple) else ()
            self.hints = {a.name: a.hint for a in wrong if a.size >= ENOUGH}

    def explain(self, error: GradientError) -> GradientError:
        """The error of the smallest example, with the hints of the largest."""
        message, reproduce, lines = str(error).partition("\n\nTo reproduce:")
        wrong = [a for a in (error.report.arrays if error.report else []) if a.wrong]
        for array in wrong:
            if array.hint and array.size < ENOUGH:
                message = message.replace(f"; {array.hint}", "", 1)
        # What is wrong only in another batch is not in the report of the smallest example.
        names = [a.name for a in wrong] or [n for n in self.hints if re.search(rf"\.{re.escape(n)}(\[[\d, ]*\])?: ", message)]
        known = {name: self.hints[name] for name in names if name in self.hints and self.hints[name] not in message}
        where = f" with x of shape {self.shape}" if self.shape else ""
        message += "".join(f"\nA larger example{where} fails too, and tells of {name}: {said}" for name, said in known.items())
        return GradientError(message + reproduce + lines, error.report)


def _property(
    drawn: SearchStrategy[Case],
    check: Callable[..., Any],
    refusals: list[ValueError],
    name: str,
    test: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """The test of all cases, and after the check the test of the user, if there is one."""
    parameters = list(inspect.signature(test).parameters.values()) if test else []
    offered = [p.name for p in parameters if p.name in ("function", "x", "target")]
    with_data = {"data": st.data()} if any(p.name == "data" for p in parameters) else {}
    others = [p.name for p in parameters if p.name not in (*offered, *with_data)]
    largest = _Largest()

    def one_example(*args: Any, function: Case, **kwargs: Any) -> None:
        __tracebackhide__ = True
        complaint = function.run(check)
        if complaint is not None:
            largest.see(function, complaint)
            raise complaint
        if test is not None:
            fixtures = dict(zip(others, args, strict=False)) | kwargs  # `self` may be among them
            if function.is_extra:
                function.x = function.x.reshape(-1, function.x.shape[-1])
            test(**fixtures, **{name: getattr(function, name) for name in offered})

    if test is not None:
        functools.update_wrapper(one_example, test)
    else:
        one_example.__name__ = one_example.__qualname__ = name
    case = inspect.Parameter("function", inspect.Parameter.KEYWORD_ONLY, annotation=name)  # which tells examples on disk apart
    data = [inspect.Parameter("data", inspect.Parameter.KEYWORD_ONLY)] if with_data else []
    vars(one_example)["__signature__"] = inspect.Signature([*(p for p in parameters if p.name in others), case, *data])
    all_examples = given(function=drawn, **with_data)(one_example)

    @functools.wraps(all_examples)
    def whole_property(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if test is None and len(args) == 1 and inspect.isfunction(args[0]):
            return _property(drawn, check, refusals, name, args[0])
        # `settings`, `seed` and pytest leave marks on the outside, for the inside to read
        vars(all_examples).update((k, v) for k, v in vars(whole_property).items() if k != "__wrapped__")
        chosen = vars(all_examples)["_hypothesis_internal_use_settings"]
        phases = [phase for phase in chosen.phases if phase != Phase.explain]
        # Examples that a constructor refuses, and checks that take their time, are no reason to stop.
        healthy = {*chosen.suppress_health_check, HealthCheck.filter_too_much, HealthCheck.too_slow}
        vars(all_examples)["_hypothesis_internal_use_settings"] = settings(
            chosen, deadline=None, phases=phases, suppress_health_check=list(healthy)
        )
        try:
            all_examples(*args if test is not None else (), **kwargs)
            return None
        except GradientError as error:
            found = error
        except FlakyFailure as error:
            if not isinstance(error.exceptions[0], GradientError):
                raise
            found = error.exceptions[0]
            found.args = (f"{found}\n\nIt passed when run again: are there random numbers that neither rng nor a seed decides?",)
        except Unsatisfiable:
            if not refusals:
                raise
            raise refusals[-1] from None
        except Exception as error:
            error.with_traceback(_theirs(error.__traceback__))
            raise
        _look_for_larger(drawn, check, largest)
        raise largest.explain(found)  # without its frames and its notes

    return whole_property


def _look_for_larger(drawn: SearchStrategy[Case], check: Callable[..., Any], largest: _Largest) -> None:
    """Look through some examples for a larger one that fails."""

    @settings(
        max_examples=40,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=drawn)
    def look(case: Case) -> None:
        complaint = case.run(check) if largest.size < LARGE else None
        if complaint is not None:
            largest.see(case, complaint)

    with contextlib.suppress(Exception):  # what else goes wrong in other examples is not what this is about
        look()


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """The frames from the first one on that is not of hypothesis, of this module or of the one that draws."""
    own = (__file__, inspect.getfile(Case), os.path.dirname(hypothesis.__file__))
    rest = trace
    while rest is not None and rest.tb_frame.f_code.co_filename.startswith(own):
        rest = rest.tb_next
    return rest or trace
