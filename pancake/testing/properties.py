"""`gradient_property`: a property test of a layer class in one call."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure, Unsatisfiable
from hypothesis.strategies import SearchStrategy

from pancake.function import Function
from pancake.losses.elementwise import ElementwiseLoss
from pancake.losses.loss import Loss
from pancake.testing.contract import check_function, check_instances, set_mode
from pancake.testing.inputs import batches, sequences
from pancake.testing.recipes import LOSSES, SEEDS, WIDTHS, redraw_parameters
from pancake.testing.snapshot import Snapshot
from pancake.testing.strategies import targets_for
from pancake.testing.subject import GradientError, Subject

# What layers call the number of their input features; the first that the class takes gives the width of the input.
WIDTH_NAMES = ["n_in", "in_features", "n_features", "num_features", "input_size", "input_dim", "in_dim", "features"]
WIDTH_NAMES += ["n", "dim", "width", "size"]
# Of arrays with more entries some and directions: there are many examples.
FEW: dict[str, Any] = {"max_entries": 128, "directions": 2}
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
    cases = _cases(cls, arguments, named, x, target, refusals)
    return _property(cases, check, refusals, re.sub(r"\W", "_", f"gradients_of_{_name(cls)}"))


def _refuse(cls: Any, arguments: tuple[Any, ...], named: dict[str, Any], target: Any) -> None:
    """Raise now what would be raised in every example."""
    if not callable(cls) or isinstance(cls, (Function, Loss)):
        hint = f"; pass {type(cls).__name__}, and strategies for its arguments" if hasattr(cls, "compute_forward") else ""
        raise TypeError(f"gradient_property: expected a class, got {cls!r}{hint}")
    try:
        inspect.signature(cls).bind(*arguments, **named)
    except TypeError as error:
        call = f"{_name(cls)}{inspect.signature(cls)}"
        raise TypeError(f"gradient_property: {error}; pass a strategy for each argument of {call}") from None
    backward = getattr(cls, "compute_backward", None)
    if target is None and backward and len(inspect.signature(backward).parameters) == 1 and not _draws_targets(cls):
        raise TypeError(
            f"gradient_property: {_name(cls)}.compute_backward takes no dObj_dOut, so it is a loss; "
            "pass target=, such as target=lambda pred: batches(pred.shape[1], batch=len(pred))"
        )


def _draws_targets(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, (*LOSSES, ElementwiseLoss))


def _name(cls: Any) -> str:
    return getattr(cls, "__name__", type(cls).__name__)


@dataclass
class _Case:
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
def _cases(
    draw: st.DrawFn,
    cls: Callable[..., Any],
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    x: Any,
    target: Any,
    refusals: list[ValueError],
) -> _Case:
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
    call = f"{_name(cls)}({', '.join([*map(repr, arguments), *(f'{k}={v!r}' for k, v in named.items())])})"

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
        return _Case(function, call, pred, target, width, make)
    if x is None:
        name = next((n for n in WIDTH_NAMES if isinstance(bound.arguments.get(n), (int, np.integer))), None)
        features = WIDTHS if name is None else bound.arguments[name]
        width = f"{features} features, as {name} says" if name else f"any number of features, since {_name(cls)} takes no n_in"
        x = draw(batches(features) | sequences(features))
        if x.ndim == 3 and not _takes(function, x):
            x = x.reshape(-1, x.shape[-1])
    extra = bool(width) and x.ndim == 3
    x = drawn(x, function)
    if not seed % 2 and not _is_finite(function, x):
        _redraw(function, seed, positive=True)
    return _Case(function, call, x, drawn(target, x), width, make, extra)


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


class _Largest:
    """The hint of the largest example that failed: the smallest often has one entry, of which too much is true."""

    def __init__(self) -> None:
        self.size = 0
        self.hints: dict[str, str] = {}
        self.shape: tuple[int, ...] = ()

    def see(self, case: _Case, error: GradientError) -> None:
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
    cases: SearchStrategy[_Case],
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

    def one_example(*args: Any, function: _Case, **kwargs: Any) -> None:
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
    all_examples = given(function=cases, **with_data)(one_example)

    @functools.wraps(all_examples)
    def whole_property(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if test is None and len(args) == 1 and inspect.isfunction(args[0]):
            return _property(cases, check, refusals, name, args[0])
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
        _look_for_larger(cases, check, largest)
        raise largest.explain(found)  # without its frames and its notes

    return whole_property


def _look_for_larger(cases: SearchStrategy[_Case], check: Callable[..., Any], largest: _Largest) -> None:
    """Look through some examples for a larger one that fails."""

    @settings(
        max_examples=40,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def look(case: _Case) -> None:
        complaint = case.run(check) if largest.size < LARGE else None
        if complaint is not None:
            largest.see(case, complaint)

    with contextlib.suppress(Exception):  # what else goes wrong in other examples is not what this is about
        look()


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """The frames from the first one on that is not of hypothesis or of this module."""
    own = (__file__, os.path.dirname(hypothesis.__file__))
    rest = trace
    while rest is not None and rest.tb_frame.f_code.co_filename.startswith(own):
        rest = rest.tb_next
    return rest or trace
