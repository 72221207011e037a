"""The contract: a Function computes forward, remembers what its derivative needs, and applies the chain rule backward."""

from __future__ import annotations

import copy
import inspect
import numbers
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import DTypeLike

from pancake import memory
from pancake.arguments import Rng, floating_dtype, matching, numeric
from pancake.memory import Array, Pair


class _Parameter:
    """Marks an attribute as an array that never moves: assigning to it copies into it, a single number into every entry.

    There is no `__get__` on purpose: reading finds the array in the instance's `__dict__`, at the usual speed.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Function, value: object) -> None:
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
    """Declare, in the body of a class, an attribute that `Function.make_parameters` fills."""
    return _Parameter()


class Function:
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
    """

    # Two things are no part of what a Function is. Copies, files and the search for parts look into `__dict__`, where these
    # are not. (They are also found faster there: 6 % of the step of a small net.)
    # _cache: what the latest forward left for backward. Library Functions keep it here and nowhere else.
    # _views: views of other attributes, and the like, kept because making them takes time.
    __slots__ = ("__dict__", "__weakref__", "_cache", "_views")

    _cache: Any
    _views: Any

    training = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # which subclasses call, though they may not call `__init__`
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__} takes no arguments, got {', '.join(map(repr, (*args, *kwargs.values())))}")
        self = super().__new__(cls)
        self._cache = self._views = None
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("_cache", "_views"):
            if vars(cls).get(name, ...) is None:  # a default that there is already, and that would hide the place for it
                delattr(cls, name)
        # The shortcut of a parent would bypass what the subclass has rewritten.
        for name, shortcut in (("compute_forward", "_evaluate"), ("compute_backward", "accumulate_grads")):
            latest = next(base for base in cls.__mro__ if name in vars(base) or shortcut in vars(base))
            if shortcut not in vars(latest):
                setattr(cls, shortcut, vars(Function)[shortcut])

    def compute_forward(self, x: Any) -> Any:
        """Return f(x) as a fresh array and remember what the derivative needs.

        What is remembered may be `x` itself: write into it only after backward.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define compute_forward")

    def compute_backward(self, dObj_dOut: Any) -> Any:
        """Add to the gradients of the parameters and return the gradient of the input, dObj_dIn.

        It refers to the latest forward: dObj_dOut is shaped like that forward's output, dObj_dIn like its input.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define compute_backward")

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Do what `compute_backward` does, without the gradient of the input where that saves work."""
        self.compute_backward(dObj_dOut)

    def _evaluate(self, x: Any, fresh: bool) -> Any:
        """The output in evaluation mode, where it can be had without touching mode and cache; else None.

        `fresh` tells that x is an array that nobody else needs, which the output may overwrite.
        """
        return None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:  # the same, without putting the arguments together again
            return self.compute_forward(args[0])
        return self.compute_forward(*args, **kwargs)

    def get_params_and_grads(self) -> tuple[list[Array], list[Array]]:
        """Two parallel lists: the parameters, and their gradients. The arrays are the same objects at every call.

        A parameter that several parts share is listed once.
        """
        params: dict[int, Array] = {}
        grads: dict[int, Array] = {}
        for _, member in self._members():
            pairs = zip(*member.get_params_and_grads(), strict=True) if isinstance(member, Function) else (member,)
            for value, grad in pairs:
                if id(value) not in params:
                    params[id(value)] = value
                    grads[id(value)] = grad
        return list(params.values()), list(grads.values())

    @property
    def num_parameters(self) -> int:
        """The number of trainable numbers."""
        return sum(p.size for p in self.get_params_and_grads()[0])

    def train(self, mode: bool = True) -> Function:
        """Switch this Function and all its parts to training mode, or to evaluation mode if `mode` is False."""
        for function in self.walk():
            function.training = bool(mode)
            if function._views is not None:  # which may be others in the other mode
                function._views = None
        return self

    def eval(self) -> Function:
        """Switch this Function and all its parts to evaluation mode."""
        return self.train(False)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the parameters of all parts anew.

        Parameters
        ----------
        rng : None, int or numpy.random.Generator
            Where the random numbers come from.
        """
        rng = np.random.default_rng(rng)
        for _, member in self._members():
            if isinstance(member, Function):
                member.reset_parameters(rng)

    def astype(self, dtype: DTypeLike) -> Function:
        """Convert the parameters, gradients and buffers to another floating dtype, in place, and return self.

        This is the one operation that exchanges the arrays for others; optimizers of the model follow.
        """
        dtype = floating_dtype(self, dtype)
        for function in self.walk():
            if any(name not in vars(function) for name, _, _ in function._own_parameters()):
                raise TypeError(
                    f"{function!r}: astype needs every parameter to be an attribute `k` beside its gradient `grad_k`; "
                    "give each array an attribute, or make the layer with the wanted dtype"
                )
        pairs = [pair for pair in self._pairs() if pair[0].dtype.kind == "f"]
        moved = {
            id(old): new for p, q in zip(pairs, memory.copies(pairs, dtype), strict=True) for old, new in zip(p, q, strict=True)
        }
        for pair in pairs:
            for old in pair:
                memory.exchanged(old, moved[id(old)])
        for function in self.walk():
            for name, value in vars(function).items():
                if id(value) in moved:
                    vars(function)[name] = moved[id(value)]
                elif name in function.buffers and value.dtype.kind == "f":
                    vars(function)[name] = value.astype(dtype)
            function._cache = function._views = None
        memory.arrays_changed()
        return self

    # Names of attributes that are arrays of state but not parameters, such as running means.
    buffers: tuple[str, ...] = ()

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, by name: `"0.weight"`, `"0.bias"`, `"2.cell.weight_ih"`, ..."""
        return {key: array.copy() for key, array in self._named_arrays()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the arrays of a `state_dict` into the parameters and buffers of the same names.

        Raises
        ------
        ValueError
            If a name is missing, unexpected or has another shape: all of them are listed, and nothing is changed.
        """
        own = dict(self._named_arrays())
        for key, array in matching(self, own, state).items():
            own[key][...] = array

    def shared_copy(self) -> Function:
        """A copy with a cache of its own that shares all parameters, gradients, buffers and random generators.

        This is how the same layer stands twice in one stack.
        """
        memo: dict[int, Any] = {id(array): array for pair in self._pairs() for array in pair}
        for function in self.walk():
            for name, value in vars(function).items():
                if isinstance(value, np.random.Generator) or name in function.buffers:
                    memo[id(value)] = value
        return copy.deepcopy(self, memo)

    # --- parts and parameters, found among the attributes ---

    def _members(self) -> Iterator[tuple[str, Function | Pair]]:
        """The parameters (as pairs with their gradients) and the parts of this Function, with their names."""
        attributes = vars(self)
        for name, value in attributes.items():
            if isinstance(value, (np.ndarray, numbers.Real)):
                grad = attributes.get("grad_" + name)
                if isinstance(value, np.ndarray) and isinstance(grad, np.ndarray):
                    yield name, (value, grad)
                elif isinstance(grad, (np.ndarray, numbers.Real)):
                    raise TypeError(
                        f"{type(self).__name__}: expected {name} and grad_{name} to be arrays, such as np.zeros(1), got "
                        f"{type(value).__name__} and {type(grad).__name__}; write self.grad_{name} += ... to keep the array"
                    )
            else:
                yield from _functions_in(name, value)

    def walk(self) -> Iterator[Function]:
        """Yield the Function itself, its parts, and theirs, each once."""
        found: dict[int, Function] = {}
        _visit(self, found)
        return iter(found.values())

    def _own_parameters(self) -> list[tuple[str, Array, Array]]:
        """The parameters that belong to none of the parts: name, array, gradient."""
        members = list(self._members())
        if type(self).get_params_and_grads is Function.get_params_and_grads:
            return [(name, *member) for name, member in members if not isinstance(member, Function)]
        theirs = {id(p) for _, f in members if isinstance(f, Function) for p in f.get_params_and_grads()[0]}
        names = {id(value): name for name, value in vars(self).items()}
        pairs = enumerate(zip(*self.get_params_and_grads(), strict=True))
        return [(names.get(id(p), f"params.{i}"), p, g) for i, (p, g) in pairs if id(p) not in theirs]

    def _holdings(self) -> list[Array | Function]:
        """The parameters, gradients and parts that are directly its own at this moment."""
        holdings: list[Array | Function] = []
        for _, member in self._members():
            holdings += [member] if isinstance(member, Function) else member
        if type(self).get_params_and_grads is not Function.get_params_and_grads:
            params, grads = self.get_params_and_grads()
            holdings += [*params, *grads]
        return holdings

    def _pairs(self) -> list[Pair]:
        """All parameters of the whole tree with their gradients, each once."""
        own = (entry for function in self.walk() for entry in function._own_parameters())
        return list({id(value): (value, grad) for _, value, grad in own}.values())

    def _named_arrays(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        own = {name: value for name, value, _ in self._own_parameters()}
        for name, member in self._members():
            if isinstance(member, Function):
                yield from member._named_arrays(f"{prefix}{name}.")
            elif name in own:
                yield prefix + name, own.pop(name)
        for name, value in own.items():
            yield prefix + name, value
        for name in self.buffers:
            yield prefix + name, getattr(self, name)

    def _takes_lengths(self) -> bool:
        """Whether forward has an argument `lengths`, how long each sequence of the batch is."""
        return "lengths" in inspect.signature(self.compute_forward).parameters

    def _has_parameters(self) -> bool:
        if type(self).get_params_and_grads is not Function.get_params_and_grads:
            return bool(self.get_params_and_grads()[0])
        return any(not isinstance(member, Function) or member._has_parameters() for _, member in self._members())

    def make_parameters(self, dtype: DTypeLike, order: str = "F", **shapes: tuple[int, ...]) -> None:
        """Create parameters `k` of the given shapes, each with its `grad_k`, all zero, side by side in memory.

        Parameters
        ----------
        dtype : floating dtype
        order : {"F", "C"}
            Their order in memory. With "F" a weight of shape (O, I) lies as (I, O), in which a product is fastest.
        **shapes
            The shape of each parameter, by name.
        """
        layouts = [(shape, order) for shape in shapes.values()]
        for name, (value, grad) in zip(shapes, memory.allocate(layouts, floating_dtype(self, dtype)), strict=True):
            vars(self)[name] = value
            vars(self)["grad_" + name] = grad

    # --- copies and pickles: arrays that lie side by side do so again in the copy ---

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        pairs = [pair for pair in self._pairs() if id(pair[0]) not in memo and id(pair[1]) not in memo]
        for old_pair, new_pair in zip(pairs, memory.copies(pairs), strict=True):
            memo.update((id(old), new) for old, new in zip(old_pair, new_pair, strict=True))
            memo.setdefault(id(memo), []).append(old_pair)  # as deepcopy does: an id is only good while its array lives
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        vars(result).update((name, copy.deepcopy(value, memo)) for name, value in self.__getstate__().items())
        return result

    def __copy__(self) -> Function:
        result = type(self).__new__(type(self))
        vars(result).update(self.__getstate__())
        return result

    def __getstate__(self) -> dict[str, Any]:
        return vars(self).copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        memory.adopt([(value, grad) for _, value, grad in self._own_parameters()])
        vars(self).update((name, _current(value)) for name, value in state.items())

    # --- what a repr shows ---

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the call that made this Function, by name."""
        attributes = {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name in vars(self)
        }
        if "dtype" in inspect.signature(type(self).__init__).parameters:
            attributes.update(("dtype", value.dtype) for _, value, _ in self._own_parameters()[:1])
        return attributes

    def __repr__(self) -> str:
        shown = []
        arguments = self._arguments()
        for name, p in inspect.signature(type(self).__init__).parameters.items():
            if name not in arguments or name == "rng":
                continue
            value = arguments[name]
            if p.default is p.empty and p.kind is not p.KEYWORD_ONLY:
                shown.append(repr(value))
            elif isinstance(value, np.dtype):
                shown += [] if value == p.default else [f"{name}=np.{value}"]
            elif isinstance(value, np.ndarray) or value != p.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    # --- checks of what comes in ---

    def _floats(self, x: Any) -> Array:
        """`x` as it is if it is a float array that is not empty, else converted to float64, else refused."""
        floats: Array = x
        if type(x) is not np.ndarray or x.dtype not in _ONES or not x.size:
            floats = numeric(self, x, "input")
            if not floats.size:
                raise ValueError(f"{self!r}: expected at least one example, got an empty input of shape {floats.shape}")
        return floats

    def _upstream(self, dObj_dOut: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """`dObj_dOut` as an array of the shape and dtype of the output; a single number counts for every entry."""
        d: Array = dObj_dOut
        if type(d) is np.ndarray and d.shape == shape and d.dtype is dtype:
            return d
        d = numeric(self, d, "dObj_dOut").astype(dtype, copy=False)
        if d.shape == shape:
            return d
        if d.ndim == 0:
            return np.full(shape, d)
        raise ValueError(f"{self!r}: expected dObj_dOut of shape {shape}, like the output, got {d.shape}")

    def _remembered(self) -> Any:
        """What the latest forward left in the cache."""
        if self._cache is None:
            self._no_forward()
        return self._cache

    def _no_forward(self) -> NoReturn:
        raise RuntimeError(f"{self!r}: compute_backward needs a compute_forward before it")


def constant(value: float) -> dict[np.dtype[Any], Array]:
    """A number as a 0-d array of each floating dtype, the cheapest operand there is and one that never widens a result."""
    return {np.dtype(t): np.array(value, t) for t in (np.float16, np.float32, np.float64, np.longdouble)}


_ONES = constant(1)


def _current(value: Any) -> Any:
    """`value` with every array, also in lists, tuples and dicts, exchanged for the one that has taken its place."""
    if isinstance(value, np.ndarray):
        return memory.current(value)
    if isinstance(value, list):
        value[:] = [_current(item) for item in value]
    elif type(value) is tuple:
        return tuple(_current(item) for item in value)
    elif isinstance(value, dict):
        value.update((key, _current(item)) for key, item in value.items())
    return value


def named_parts(function: Function, path: str = "") -> Iterator[tuple[str, Function]]:
    """The Function and all its parts, with their places in it, as in the keys of `state_dict`: "", "0", "2.cell"."""
    yield path, function
    for name, member in function._members():
        if isinstance(member, Function):
            yield from named_parts(member, f"{path}.{name}" if path else name)


def _visit(function: Function, found: dict[int, Function]) -> None:
    """Add a Function and its parts, depth first, to those found."""
    if id(function) in found:
        return
    found[id(function)] = function
    for name, value in vars(function).items():
        if value.__class__ not in _PLAIN:
            for _, part in _functions_in(name, value):
                _visit(part, found)


# What holds no Functions, which is nearly all that there is.
_PLAIN = frozenset((np.ndarray, bool, int, float, str, type(None), type(np.dtype(float))))


def _functions_in(name: str, value: object) -> Iterator[tuple[str, Function]]:
    if isinstance(value, Function):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _functions_in(f"{name}.{index}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _functions_in(f"{name}.{key}", item)
