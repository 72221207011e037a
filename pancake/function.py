"""The contract: a Function computes forward, remembers what its derivative needs, and applies the chain rule backward."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from pancake.arguments import brief, numeric
from pancake.memory import Array
from pancake.tree import Tree

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

BACKWARDS = ("compute_backward", "accumulate_grads")
DTYPES = frozenset(map(np.dtype, (np.float16, np.float32, np.float64, np.longdouble)))

# Called with each class of Functions or losses that is made, once it has its methods.
watchers: list[Callable[[type], object]] = []


def tell(cls: type) -> None:
    """Tell the watchers of a class that has just been made."""
    for watcher in watchers:
        watcher(cls)


class Kept:
    """What one forward has left for backward.

    Attributes
    ----------
    what : tuple
    used : bool
        Whether a backward has come.
    older : bool
        Whether the forward before it had no backward, so that what it left is lost.
    """

    __slots__ = ("__weakref__", "older", "used", "what")

    def __init__(self, what: tuple[Any, ...], older: bool) -> None:
        self.what, self.used, self.older = what, False, older


class Remembers:
    """What Functions and losses have in common: forward leaves something that backward finds."""

    __slots__ = ()

    _cache: Any

    def __getattr__(self, name: str) -> Any:  # of attributes that are not there
        from pancake.foreign_names import ATTRIBUTES, advice

        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}{advice(name, ATTRIBUTES)}", name=name, obj=self
        )

    def _remember(self, *what: Any) -> None:
        """Keep what backward needs. Arrays are copied as they lie, so that nobody outside can change what backward refers to."""
        before = self._cache
        kept = tuple(item.copy("K") if item.__class__ is np.ndarray else item for item in what)
        self._cache = Kept(kept, before is not None and not before.used)

    def _remembered(self) -> Any:
        """What the latest forward has kept: one thing, or a tuple of several."""
        what = self._answer()
        return what[0] if len(what) == 1 else what

    def _answer(self) -> tuple[Any, ...]:
        """All that the latest forward has kept, for a backward.

        Raises
        ------
        RuntimeError
            If there was no forward, or if this backward can only refer to an older one.
        """
        kept = self._cache
        if kept is None:
            self._no_forward()
        if kept.used and kept.older:
            raise RuntimeError(
                f"{self!r}: backward refers to the latest forward, and its backward has been: this would be the one of an older "
                "forward, which is forgotten; call forward and backward in turn, or use a shared_copy() for each forward "
                "(Unrolled does, for the steps of a cell)"
            )
        what: tuple[Any, ...] = kept.what
        return what

    def _undefined(self, method: str) -> NotImplementedError:
        """The error of a method that a subclass has left out, or has called as other libraries do."""
        other = method.removeprefix("compute_")
        hint = f"; rename its {other} to {method}" if hasattr(type(self), other) else ""
        return NotImplementedError(f"{type(self).__name__} does not define {method}{hint}")

    def _no_forward(self) -> NoReturn:
        raise RuntimeError(f"{self!r}: compute_backward needs a compute_forward before it")


class Function(Remembers, Tree):
    """A differentiable function with parameters of its own: the base class of every layer and of every stack of layers.

    A subclass defines `compute_forward` and `compute_backward`. If it has parameters, it keeps each of them as an array
    `self.k` beside an array `self.grad_k` of the same shape; Functions among its attributes, also in lists, tuples and
    dicts, are its parts. Everything else (`get_params_and_grads`, `train`, `astype`, `state_dict`, copies, pickles)
    follows from the attributes, in the order in which they were assigned. No call of a base `__init__` is needed::

        class Scale(Function):
            def __init__(self):
                self.k, self.grad_k = np.ones(1), np.zeros(1)

            def compute_forward(self, x):
                self.x = x
                return self.k * x

            def compute_backward(self, dObj_dOut):
                self.grad_k += (dObj_dOut * self.x).sum()
                return dObj_dOut * self.k

    Attributes
    ----------
    training : bool
        Whether the Function behaves as in training (True at first) or as in evaluation. Set by `train` and `eval`.
    frozen : bool
        Whether its parameters are left as they are. Set by `freeze`.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        first = next(base for base in cls.__mro__ if not vars(base).keys().isdisjoint(BACKWARDS))
        if "accumulate_grads" not in vars(first):  # the inherited one would bypass the new backward, be it that of a mixin
            setattr(cls, "accumulate_grads", Function.accumulate_grads)  # noqa: B010
        for name in BACKWARDS:
            if isinstance(vars(cls).get(name), types.FunctionType):
                setattr(cls, name, _with_bookkeeping(vars(cls)[name]))
        tell(cls)

    def compute_forward(self, x: Any) -> Any:
        """Return f(x) as a fresh array and remember what the derivative needs."""
        raise self._undefined("compute_forward")

    def compute_backward(self, dObj_dOut: Any) -> Any:
        """Add to the gradients of the parameters and return the gradient of the input, dObj_dIn.

        It refers to the latest forward: dObj_dOut is shaped like that forward's output, dObj_dIn like its input. It may be
        called again after one forward, and adds again. After two forwards only the latter is remembered: a first backward is
        that of the latter, and a second one is refused.
        """
        raise self._undefined("compute_backward")

    def accumulate_grads(self, *dObj_dOut: Any, **more: Any) -> None:
        """Do what `compute_backward` does, without the gradient of the input where that saves work."""
        self.compute_backward(*dObj_dOut, **more)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:  # the same, without putting the arguments together again
            return self.compute_forward(args[0])
        return self.compute_forward(*args, **kwargs)

    def _takes_lengths(self) -> bool:
        """Whether forward has an argument `lengths`, how long each sequence of the batch is."""
        return "lengths" in inspect.signature(self.compute_forward).parameters

    def _check_lengths(self, lengths: Any) -> None:
        """Refuse lengths if nothing takes them."""
        if lengths is not None and not self._takes_lengths():
            raise TypeError(
                f"{self!r}: got lengths, but nothing in it takes them; Unrolled, Bidirectional and MultiHeadAttention do"
            )

    # --- what a repr shows ---

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the call that made this Function, by name."""
        cls: Any = type(self)
        attributes = {name: getattr(self, name) for name in _parameters_of(cls) if name in vars(self)}
        if "dtype" in _parameters_of(cls):
            attributes.update(("dtype", value.dtype) for _, value, _ in self._own_parameters()[:1])
        return attributes

    def __repr__(self) -> str:
        shown, cls = [], cast(Any, type(self))
        arguments = self._arguments()
        for name, p in _parameters_of(cls).items():
            if name not in arguments or name == "rng":
                continue
            value = arguments[name]
            # the parts of a container, () by default, are shown without their name
            needed = p.default is p.empty or (isinstance(p.default, tuple) and not p.default)
            if needed and p.kind is not p.KEYWORD_ONLY:
                shown.append(repr(value))
            elif isinstance(value, np.dtype):
                shown += [] if value == p.default else [f"{name}=np.{value}"]
            elif isinstance(value, np.ndarray) or value != p.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of the parts."""
        from pancake.shown import model_table  # which hardly any program needs

        return model_table(self)

    # --- checks of what comes in ---

    def _floats(self, x: Any, dtype: DTypeLike | None = None) -> Array:
        """`x` as a float array that is not empty, of the given dtype if there is one, else refused."""
        floats: Array = x
        if type(x) is not np.ndarray or x.dtype not in DTYPES or not x.size:
            floats = numeric(self, x, "input")
            if not floats.size:
                raise ValueError(f"{self!r}: expected at least one example, got an empty input of shape {floats.shape}")
        return floats if dtype is None else floats.astype(dtype, copy=False)

    def _features(self, x: Any, n: int, dtype: DTypeLike) -> Array:
        """`x` as a float array of that dtype with n features on its last axis, else refused."""
        floats = self._floats(x, dtype)
        if floats.ndim == 0 or floats.shape[-1] != n:
            hint = "; reshape(1, -1) makes one example of it, reshape(-1, 1) one feature" if floats.ndim == 1 else ""
            raise ValueError(f"{self!r}: expected (..., {n}), got {floats.shape}{hint}")
        return floats

    def _upstream(self, dObj_dOut: Any, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """`dObj_dOut` as an array of the shape and dtype of the output, else refused."""
        d: Array = dObj_dOut
        if type(d) is np.ndarray and d.shape == shape and d.dtype == dtype:
            return d
        d = numeric(self, d, "dObj_dOut").astype(dtype, copy=False)
        if d.shape == shape:
            return d
        if d.ndim == 0 and all(length == 1 for length in shape):
            return d.reshape(shape)
        hint = "; the gradient that backward begins with is what loss.compute_backward() returns" if d.ndim == 0 else ""
        raise ValueError(f"{self!r}: expected dObj_dOut of shape {shape}, like the output, got {d.shape}{hint}")


@functools.cache
def _parameters_of(cls: Any) -> Mapping[str, inspect.Parameter]:
    """The arguments of the constructor of a class, by name."""
    return inspect.signature(cls.__init__).parameters


def _with_bookkeeping(backward: Any) -> Any:
    """A backward that also marks as used what forward has kept, and leaves the gradients of a frozen Function as they were."""
    accumulates = backward.__name__ == "accumulate_grads"

    @functools.wraps(backward)
    def compute(self: Function, *args: Any, **kwargs: Any) -> Any:
        # a compute_backward that was assigned to this object alone is not bypassed either
        method = Function.accumulate_grads if accumulates and "compute_backward" in vars(self) else backward
        grads = [(grad, grad.copy()) for _, _, grad in self._own_parameters()] if self.frozen else ()
        try:
            result = method(self, *args, **kwargs)
        finally:
            for grad, before in grads:
                grad[...] = before
        if isinstance(self._cache, Kept):
            self._cache.used = True  # only now: one that was refused may be called again
        return result

    return compute


def need_function(owner: str, model: object, role: str = "", hint: str = "") -> None:
    """TypeError if a model is no Function, with a hint, or with what may be meant."""
    if not isinstance(model, Function):
        raise TypeError(f"{owner}: expected a Function{role}, got {brief(model)}{hint or _meant(model)}")


def need_functions(owner: str, model: Any) -> list[Function]:
    """The Functions of a list, or the one that stands alone; TypeError if something else is among them."""
    functions = list(model) if isinstance(model, (list, tuple)) else [model]
    others = [function for function in functions if not isinstance(function, Function)]
    if not others:
        return functions
    hint = "; pass the model itself, whose parameters it finds" if _holds_arrays(others) else _meant(others[0])
    raise TypeError(f"{owner}: expected a Function or a list of Functions, got {brief(model)}{hint}")


def _meant(thing: Any) -> str:
    """The end of a message about what is no Function: how to get one from it, if that can be told."""
    kind = thing if isinstance(thing, type) else type(thing)
    if hasattr(thing, "model_"):
        return "; pass its model_"
    if issubclass(kind, Function):
        return f"; make one first: {kind.__name__}(...)"
    methods = [getattr(thing, name, None) for name in ("compute_forward", "compute_backward")]
    if all(map(callable, methods)) and not kind.__module__.startswith("pancake."):
        return f"; derive the class from pancake.Function: class {kind.__name__}(pancake.Function)"
    name = getattr(thing, "__name__", thing)
    if not isinstance(name, str):
        return ""
    from pancake.foreign_names import advice

    return advice(name.lower())  # of np.tanh and "relu"


def _holds_arrays(items: Iterable[object]) -> bool:
    return any(isinstance(item, np.ndarray) or (isinstance(item, (list, tuple)) and _holds_arrays(item)) for item in items)


def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which numbers are added up: in float16, 1024 + 1/2 is 1024."""
    return np.promote_types(dtype, np.float32)


def divided(a: Array, n: float) -> Array:
    """An array divided by the number of what a mean is of, which may be more than float16 holds; in the dtype of the array."""
    return np.divide(a, n, dtype=wide(a.dtype)).astype(a.dtype, copy=False)


def total(a: Array) -> Array:
    """The sum over all leading axes, as a product with ones: it adds up in a wider dtype than float16, and is the quickest."""
    flat = rows(a)
    sums: Array = np.ones(len(flat), flat.dtype) @ flat
    return sums


def rows(a: Array) -> Array:
    """All leading axes as one."""
    return a if a.ndim == 2 else a.reshape(-1, a.shape[-1])
