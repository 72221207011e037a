"""Parts and parameters, found among the attributes of an object; all that can be done with a whole tree of them."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pancake import memory
from pancake.arguments import Rng, flag, floating_dtype, generator, matching, refuse_foreign_arguments, refuse_slots
from pancake.memory import Array, Pair

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Tree:
    """An object with parameters and parts among its attributes: the half of a `Function` that knows nothing of derivatives.

    An array `k` beside an array `grad_k` is a parameter with its gradient. Other trees, also in lists, tuples and dicts, are
    parts. Both come in the order in which they were assigned.
    """

    # `_cache`, what the latest forward left for backward, is no part of what an object is: it has a place of its own, where
    # copies, files and the search for parts, which all look into `__dict__`, do not find it.
    __slots__ = ("__dict__", "__weakref__", "_cache")

    _cache: Any

    training = True
    frozen = False

    # Names of attributes that are arrays of state but not parameters, such as running means.
    buffers: tuple[str, ...] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # which subclasses call, though they may not call `__init__`
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__} takes no arguments, got {', '.join(map(repr, (*args, *kwargs.values())))}")
        if args or kwargs:
            refuse_foreign_arguments(cls, args, kwargs)
        self = super().__new__(cls)
        self._cache = None
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_slots(cls)
        if vars(cls).get("_cache", ...) is None:  # a class attribute would hide the slot
            delattr(cls, "_cache")

    # --- walking ---

    def get_params_and_grads(self) -> tuple[list[Array], list[Array]]:
        """Two parallel lists: the parameters that are trained, and their gradients; the same arrays at every call.

        A parameter that several parts share is listed once. Those of frozen parts are not trained.
        """
        params: dict[int, Array] = {}
        grads: dict[int, Array] = {}
        for _, member in self._members():
            for value, grad in member._trained() if isinstance(member, Tree) else [] if self.frozen else [member]:
                if id(value) not in params:
                    params[id(value)] = value
                    grads[id(value)] = grad
        return list(params.values()), list(grads.values())

    def _trained(self) -> Iterator[Pair]:
        """What `get_params_and_grads` lists, in pairs; nothing of a frozen object with a `get_params_and_grads` of its own."""
        own_list = type(self).get_params_and_grads is not Tree.get_params_and_grads
        return iter(()) if own_list and self.frozen else zip(*self.get_params_and_grads(), strict=True)

    def _listed(self) -> Iterator[Pair]:
        """What `get_params_and_grads` would list if nothing were frozen, in pairs, some of them several times."""
        if type(self).get_params_and_grads is not Tree.get_params_and_grads:
            yield from zip(*self.get_params_and_grads(), strict=True)
        for _, member in self._members():
            yield from member._listed() if isinstance(member, Tree) else [member]

    @property
    def num_parameters(self) -> int:
        """The number of trainable numbers."""
        return sum(p.size for p in self.get_params_and_grads()[0])

    def walk(self) -> Iterator[Any]:
        """Yield the object itself, its parts, and theirs, each once."""
        found: dict[int, Tree] = {}
        _visit(self, found)
        return iter(found.values())

    def _members(self) -> Iterator[tuple[str, Any]]:
        """The parameters (as pairs with their gradients) and the parts of this object, with their names."""
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
                yield from _trees_in(name, value)

    def _parts(self) -> list[Any]:
        """The parts that are directly its own."""
        return [member for _, member in self._members() if isinstance(member, Tree)]

    def _own_parameters(self) -> list[tuple[str, Array, Array]]:
        """The parameters that belong to none of the parts: name, array, gradient."""
        members = list(self._members())
        if type(self).get_params_and_grads is Tree.get_params_and_grads:
            return [(name, *member) for name, member in members if not isinstance(member, Tree)]
        theirs = {id(value) for _, part in members if isinstance(part, Tree) for value, _ in part._pairs()}
        names = {id(value): name for name, value in vars(self).items()}
        pairs = enumerate(zip(*self.get_params_and_grads(), strict=True))
        return [(names.get(id(p), f"params.{i}"), p, g) for i, (p, g) in pairs if id(p) not in theirs]

    def _holdings(self) -> list[Any]:
        """The parameters, gradients and parts that are directly its own at this moment."""
        holdings: list[Any] = []
        for _, member in self._members():
            holdings += [member] if isinstance(member, Tree) else member
        if type(self).get_params_and_grads is not Tree.get_params_and_grads:
            params, grads = self.get_params_and_grads()
            holdings += [*params, *grads]
        return holdings

    def _pairs(self) -> list[Pair]:
        """All parameters of the whole tree with their gradients, each once."""
        own = (entry for tree in self.walk() for entry in tree._own_parameters())
        return list({id(value): (value, grad) for _, value, grad in own}.values())

    def _named_arrays(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        own = {name: value for name, value, _ in self._own_parameters()}
        for name, member in self._members():
            if isinstance(member, Tree):
                yield from member._named_arrays(f"{prefix}{name}.")
            elif name in own:
                yield prefix + name, own.pop(name)
        for name, value in own.items():
            yield prefix + name, value
        for name in self.buffers:
            yield prefix + name, getattr(self, name)

    # --- changing all of it ---

    def train(self, mode: bool = True) -> Self:
        """Switch this Function and all its parts to training mode, or to evaluation mode if `mode` is False."""
        mode = flag(self, "mode", mode)
        for tree in self.walk():
            tree.training = mode
        return self

    def eval(self) -> Self:
        """Switch this Function and all its parts to evaluation mode."""
        return self.train(False)

    def freeze(self, mode: bool = True) -> Self:
        """Keep this Function and all its parts as they are, or let them learn again if `mode` is False; return self.

        What is frozen adds to no gradient and is in no optimizer, also in those made before, in no clipping and no norm;
        `get_params_and_grads` does not list it. It stays in `state_dict`, files and copies. Its mode is another matter: a frozen
        `BatchNorm` in training mode still moves its running statistics; `eval()` keeps them too. A parameter that is shared with
        a Function that is not frozen learns on there.
        """
        mode = flag(self, "mode", mode)
        for tree in self.walk():
            tree.frozen = mode
        memory.arrays_changed()
        return self

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the parameters of all parts anew.

        Parameters
        ----------
        rng : None, int or numpy.random.Generator
            Where the random numbers come from.
        """
        rng = generator(self, rng)
        for part in self._parts():
            part.reset_parameters(rng)

    def make_parameters(self, dtype: DTypeLike, order: str = "F", **shapes: tuple[int, ...] | None) -> None:
        """Create parameters `k` of the given shapes, each with its `grad_k`, all zero, side by side in memory.

        Parameters
        ----------
        dtype : floating dtype
        order : {"F", "C"}
            Their order in memory. With "F" a weight of shape (O, I) lies as (I, O), in which a product is fastest.
        **shapes
            The shape of each parameter, by name. One that this object does without has None, and so has its gradient.
        """
        layouts = [(shape, order) for shape in shapes.values() if shape is not None]
        pairs = iter(memory.allocate(layouts, floating_dtype(self, dtype)))
        for name, shape in shapes.items():
            vars(self)[name], vars(self)["grad_" + name] = (None, None) if shape is None else next(pairs)

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert the parameters, gradients and buffers to another floating dtype, in place, and return self.

        This is the one operation that exchanges the arrays for others; optimizers of the model follow.
        """
        dtype = floating_dtype(self, dtype)
        for tree in self.walk():
            if any(name not in vars(tree) for name, _, _ in tree._own_parameters()):
                raise TypeError(
                    f"{tree!r}: astype needs every parameter to be an attribute `k` beside its gradient `grad_k`; "
                    "give each array an attribute, or make the layer with the wanted dtype"
                )
        pairs = [pair for pair in self._pairs() if pair[0].dtype.kind == "f"]
        moved = {
            id(old): new for p, q in zip(pairs, memory.copies(pairs, dtype), strict=True) for old, new in zip(p, q, strict=True)
        }
        for pair in pairs:
            for old in pair:
                memory.exchanged(old, moved[id(old)])
        arrays = [vars(tree)[name] for tree in self.walk() for name in tree.buffers if name in vars(tree)]
        buffers = {id(array): array for array in arrays if array.dtype.kind == "f"}  # each once, also of a `shared_copy`
        moved.update((key, array.astype(dtype)) for key, array in buffers.items())
        for tree in self.walk():
            for name, value in vars(tree).items():
                if id(value) in moved:
                    vars(tree)[name] = moved[id(value)]
            tree._cache = _emptied(tree._cache)
        memory.arrays_changed()
        return self

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, by name: `"0.weight"`, `"0.bias"`, `"2.cell.weight_ih"`, ..."""
        return {key: array.copy() for key, array in self._named_arrays()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the arrays of a `state_dict` into the parameters and buffers of the same names.

        Raises
        ------
        ValueError
            If a name is missing, unexpected, has another shape, or numbers that the dtype cannot hold: all of them are listed,
            and nothing is changed.
        """
        own = dict(self._named_arrays())
        for key, array in matching(self, own, state).items():
            own[key][...] = array

    # --- copies and pickles: arrays that lie side by side do so again in the copy ---

    def shared_copy(self) -> Self:
        """A copy with a cache of its own that shares all parameters, gradients, buffers and random generators.

        This is how the same layer stands twice in one stack. Its mode, and whether it is frozen, are its own.
        """
        import copy  # which hardly any program needs

        memo: dict[int, Any] = {id(array): array for pair in self._pairs() for array in pair}
        for tree in self.walk():
            for name, value in vars(tree).items():
                if isinstance(value, np.random.Generator) or name in tree.buffers:
                    memo[id(value)] = value
        return copy.deepcopy(self, memo)

    def _double(self) -> Self:
        """A copy of the tree alone, with caches of its own: all other attributes are the very same objects."""
        doubles: dict[int, Any] = {id(tree): tree.__class__.__new__(tree.__class__) for tree in self.walk()}
        for tree in self.walk():
            vars(doubles[id(tree)]).update(
                (name, value if value.__class__ in _PLAIN else _exchanged(value, doubles.__getitem__))
                for name, value in vars(tree).items()
            )
            doubles[id(tree)]._cache = _emptied(tree._cache)
        own: Self = doubles[id(self)]
        return own

    def __deepcopy__(self, memo: dict[Any, Any]) -> Self:
        covered = memo.setdefault(Tree, set())  # whose parameters have been copied, by the Function around them
        if id(self) not in covered:
            covered.update(map(id, self.walk()))
            pairs = [pair for pair in self._pairs() if id(pair[0]) not in memo and id(pair[1]) not in memo]
            for old_pair, new_pair in zip(pairs, memory.copies(pairs), strict=True):
                memo.update((id(old), new) for old, new in zip(old_pair, new_pair, strict=True))
                memo.setdefault(id(memo), []).append(old_pair)  # as deepcopy does: an id is only good while its array lives
        from copy import deepcopy  # whoever calls this has loaded it

        result = type(self).__new__(type(self))
        memo[id(self)] = result
        vars(result).update((name, deepcopy(value, memo)) for name, value in self.__getstate__().items() if name != "_cache")
        result._cache = _emptied(self._cache)
        return result

    def __copy__(self) -> Self:
        result = type(self).__new__(type(self))
        vars(result).update((name, value) for name, value in self.__getstate__().items() if name != "_cache")
        result._cache = _emptied(self._cache)
        return result

    def __getstate__(self) -> dict[str, Any]:
        kept = _emptied(self._cache)
        return vars(self).copy() if kept is None else {**vars(self), "_cache": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = state.copy()
        self._cache = state.pop("_cache", None)
        vars(self).update(state)
        memory.adopt([(value, grad) for _, value, grad in self._own_parameters()])
        vars(self).update((name, _current(value)) for name, value in state.items())


def _emptied(cache: Any) -> Any:
    """What a copy has in the place of a cache: nothing, or an empty dict or list where a user's class has made one."""
    return type(cache)() if isinstance(cache, (dict, list)) else None


def named_parts(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """The object and all its parts, with their places in it, as in the keys of `state_dict`: "", "0", "2.cell"."""
    yield path, tree
    for name, member in tree._members():
        if isinstance(member, Tree):
            yield from named_parts(member, f"{path}.{name}" if path else name)


class _Same(list[Any]):
    """A list that equals another one if the very same objects are in it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and len(self) == len(other) and all(map(operator.is_, self, other))

    def __ne__(self, other: object) -> bool:
        return not self == other


def noted(parts: list[Any]) -> list[Any]:
    """A copy of a list of parts, which is equal to it as long as the same ones are in it.

    Two parts of a user's class may be equal, as dataclasses are if their fields are. Where none are, a plain list is as good, and
    is compared in a third of the time.
    """
    by_identity: Any = object.__eq__
    return parts.copy() if all(type(part).__eq__ is by_identity for part in parts) else _Same(parts)


def _visit(tree: Tree, found: dict[int, Tree]) -> None:
    """Add an object and its parts, depth first, to those found."""
    if id(tree) in found:
        return
    found[id(tree)] = tree
    for name, value in vars(tree).items():
        if value.__class__ not in _PLAIN:
            for _, part in _trees_in(name, value):
                _visit(part, found)


# What holds no parts, which is nearly all that there is.
_PLAIN = frozenset((np.ndarray, bool, int, float, str, type(None), type(np.dtype(float))))


def _trees_in(name: str, value: object) -> Iterator[tuple[str, Tree]]:
    if isinstance(value, Tree):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _trees_in(f"{name}.{index}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _trees_in(f"{name}.{key}", item)


def _exchanged(value: Any, new: Callable[[int], Any]) -> Any:
    """`value` with every tree in it, also in lists, tuples and dicts, exchanged for the `new` one of its id."""
    if isinstance(value, Tree):
        return new(id(value))
    if not any(True for _ in _trees_in("", value)):
        return value
    if isinstance(value, tuple):
        return tuple_like(value, (_exchanged(item, new) for item in value))
    from copy import copy  # which hardly any program needs

    double = copy(value)  # an OrderedDict, say, is one again
    if isinstance(value, dict):
        double.update((key, _exchanged(item, new)) for key, item in value.items())
    else:
        double[:] = [_exchanged(item, new) for item in value]
    return double


def _current(value: Any) -> Any:
    """`value` with every array, also in lists, tuples and dicts, exchanged for the one that has taken its place."""
    if isinstance(value, np.ndarray):
        return memory.current(value)
    if isinstance(value, list):
        value[:] = [_current(item) for item in value]
    elif isinstance(value, tuple):
        return tuple_like(value, map(_current, value))
    elif isinstance(value, dict):
        value.update((key, _current(item)) for key, item in value.items())
    return value


def tuple_like(value: Sequence[Any], items: Iterable[Any]) -> tuple[Any, ...]:
    """The items as a tuple: of the same class as the value if that is one, so that a namedtuple stays one."""
    return tuple.__new__(type(value) if isinstance(value, tuple) else tuple, items)
