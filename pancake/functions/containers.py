"""Functions made of Functions: what all containers share, and one Function after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

import numpy as np

from pancake import memory
from pancake.arguments import brief, each_part, several, without_padding
from pancake.function import Function, Kept, need_function
from pancake.functions.embedding import Embedding
from pancake.memory import Array
from pancake.origin import is_own
from pancake.tree import Tree


class Identity(Function):
    """y = x.

    The derivative is 1: dObj_dIn = dObj_dOut. Source: the definition.

    Shape
    -----
    x, y : (...), any shape
    """

    def compute_forward(self, x: Any) -> Array:
        x = self._floats(x)
        self._remember(x.shape, x.dtype)
        return x.copy()

    def compute_backward(self, dObj_dOut: Any) -> Array:
        return self._upstream(dObj_dOut, *self._remembered()).copy()


class Container(Function):
    """Base of the Functions that are made of others and run them.

    A container's backward runs theirs, so it is right only while each of them remembers what the container's forward has left
    in it: a part that was called by itself since then, or exchanged, is found out.
    """

    def _remember(self, *what: Any) -> None:
        """Keep what backward needs, and what each part remembers now."""
        super()._remember(*what, [(part, part._cache) for part in remembering(self)])

    def _answer(self) -> tuple[Any, ...]:
        """What the latest forward has kept, if all parts are as it has left them."""
        *what, left = super()._answer()
        if list(map(id, remembering(self))) != [id(part) for part, _ in left]:
            raise RuntimeError(f"{self!r}: its parts have been exchanged since its forward; call it again before backward")
        for part, cache in left:
            if part._cache is not cache:
                raise RuntimeError(
                    f"{self!r}: {part!r} in it was called by itself since its forward, and remembers that call; "
                    "call the whole again before backward, or use a shared_copy() of the part"
                )
        return tuple(what)

    def _takes_lengths(self) -> bool:
        return any(part._takes_lengths() for part in self._parts())

    def _within(self, x: Any, lengths: Any) -> Any:
        """The input, as if there were nothing past the end of each sequence."""
        self._check_lengths(lengths)
        if lengths is None or not _keeps_steps(self):
            return x
        return without_padding(x, lengths)


# Modules whose Functions may turn the axes round, or put out something else than one step for each step.
MOVING = frozenset({"shapes", "convolution", "pooling"})


def _keeps_steps(function: Function) -> bool:
    """Whether axis 1 of its input is time, as far as lengths matter: what is not pancake's own may see it otherwise."""
    module = type(function).__module__.rpartition(".")[2]
    if not is_own(function) or module in MOVING:
        return False
    for part in function._parts() if module in ("containers", "branches") else ():
        if not _keeps_steps(part):
            return False
        if isinstance(function, Sequential) and part._takes_lengths():
            return True  # whatever comes after it
    return True


def note_answered(functions: Iterable[Function]) -> None:
    """Note of Functions that a backward had no need to reach that their latest forward has had its backward."""
    for function in functions:
        for part in function.walk():
            if isinstance(part._cache, Kept):
                part._cache.used = True


def remembering(tree: Tree) -> Iterator[Function]:
    """The parts of a tree, and those inside of parts that remember nothing themselves, as Functions of users do."""
    for part in tree._parts():
        yield part
        if part._cache is None:
            yield from remembering(part)


class Listed(Container):
    """Base of the containers that hold a list of Functions.

    Raises
    ------
    TypeError
        If an element is not a Function.
    ValueError
        If one Function stands in it twice: it would remember only the later of its inputs.
    """

    def __init__(self, functions: Iterable[Function] = (), *more: object) -> None:
        name = type(self).__name__
        if more or isinstance(functions, Function) or not several(functions):
            got = ", ".join(map(repr, (functions, *more)))
            raise TypeError(f"{name}: expected a list of Functions, got {got}; write {name}([...])")
        self.functions: list[Function] = []
        extend(self, self.functions, functions)

    def _members(self) -> Iterator[tuple[str, Any]]:
        for name, member in super()._members():
            yield name.removeprefix("functions."), member

    def __len__(self) -> int:
        return len(self.functions)

    def __iter__(self) -> Iterator[Function]:
        return iter(self.functions)


class Sequential(Listed):
    """Functions one after another: y = f_n(... f_2(f_1(x))).

    Backward is the chain rule: each Function turns the gradient of its output into the gradient of its input and hands that
    to the one before it.

    Shape
    -----
    x : what the first Function takes;  y : what the last one puts out

    Parameters
    ----------
    functions : iterable of Function
        The stack, first to last. Stacks nest; `Sequential()` is empty, to be filled by `add`.

    Raises
    ------
    TypeError
        If an element is not a Function.
    ValueError
        If one Function stands in the stack twice: it would remember only its later input. `shared_copy` gives a second
        Function with the same parameters.

    References
    ----------
    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986), equations 4 to 7.
    """

    def compute_forward(self, x: Any, lengths: Any = None) -> Any:
        """Run the stack; the lengths (B,) of sequences, where there are any, go to the Functions that take them."""
        x = self._within(x, lengths)
        try:
            for function in self.functions:
                x = forward(function, x, lengths)
        except BaseException:
            self._cache = None  # some have remembered this call and some the one before it
            raise
        self._remember()
        return x if self.functions else each_part(np.array, x)

    def compute_backward(self, dObj_dOut: Any) -> Any:
        self._remembered()
        for function in reversed(self.functions):
            dObj_dOut = function.compute_backward(dObj_dOut)
        return dObj_dOut if self.functions else each_part(np.array, dObj_dOut)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Backward without dObj_dIn: it ends at the first Function with parameters, whose input gradient nobody needs."""
        self._remembered()
        trained = [i for i, function in enumerate(self.functions) if has_parameters(function)]
        if trained:
            for later in self.functions[: trained[0] : -1]:
                dObj_dOut = later.compute_backward(dObj_dOut)
            self.functions[trained[0]].accumulate_grads(dObj_dOut)
        note_answered(self.functions[: trained[0] if trained else None])

    def add(self, function: Function) -> Sequential:
        """Append a Function to the end of the stack and return the stack. Optimizers of the stack take it up."""
        extend(self, self.functions, [function])
        memory.arrays_changed()
        return self

    def summary(self, input_shape: tuple[Any, ...]) -> str:
        """A table of the Functions with the shapes of their outputs and the numbers of their parameters, as text.

        Parameters
        ----------
        input_shape : tuple of int, or a tuple of such for an input of several parts
            Of a batch, its first axis included: (1, 784), say. Zeros of that shape are sent through in evaluation mode; they
            are integers where the stack begins with an Embedding.

        Raises
        ------
        ValueError
            As the forward does, if the shape does not fit.
        """
        import copy  # which hardly any program needs

        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"Sequential.summary: expected input_shape to be a tuple, such as (1, 784), got {brief(input_shape)}")
        rows = [("", "input", str(tuple(input_shape)), "")]
        model = copy.deepcopy(self)
        model.eval()
        try:
            x = _zeros(model, input_shape)
        except (TypeError, ValueError):
            raise ValueError(
                f"Sequential.summary: expected whole numbers in input_shape, such as (1, 784), got {brief(input_shape)}"
            ) from None
        for index, function in enumerate(model):
            x = function.compute_forward(x)
            rows.append((str(index), repr(function), str(each_part(np.shape, x)), _counted(function)))
        rows.append(("", "all", "", _counted(self)))
        table = [("", "Function", "output", "parameters"), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        lines = [f"{a:>{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in table]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __setitem__(self, index: int | slice, function: Any) -> None:
        """Put another Function in a place, or others in the places of a slice, as in a list. Optimizers take it up."""
        functions = self.functions.copy()
        functions[index] = function
        self.functions[:] = _checked(self, functions)
        memory.arrays_changed()

    @overload
    def __getitem__(self, index: int) -> Function: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Function:
        """The Function at an index; for a slice a Sequential of the very same Functions."""
        return Sequential(self.functions[index]) if isinstance(index, slice) else self.functions[index]


def _checked(stack: Sequential, functions: list[Any]) -> list[Function]:
    """A new list of parts for a stack, refused if there is something in it that no stack may have, such as the stack itself."""
    parts = Sequential(functions).functions
    if any(function is stack for part in parts for function in part.walk()):
        raise ValueError(f"{type(stack).__name__}: a stack cannot be a part of itself")
    return parts


def _counted(function: Function) -> str:
    """The number of trained parameters, and of frozen ones if there are any."""
    trained = function.num_parameters
    frozen = sum(value.size for value, _ in function._pairs()) - trained
    return f"{trained:,}" + (f" ({frozen:,} frozen)" if frozen else "")


def _zeros(function: Any, shape: tuple[Any, ...]) -> Any:
    """An input of that shape for a Function: of whole numbers where an Embedding takes it."""
    if isinstance(function, Listed) and function.functions:
        several = not isinstance(function, Sequential) and any(isinstance(part, tuple) for part in shape)
        if several and len(shape) == len(function):
            return tuple(_zeros(branch, part) for branch, part in zip(function, shape, strict=True))
        return _zeros(function.functions[0], shape)
    return np.zeros(shape, np.intp if isinstance(function, Embedding) else np.float64)


def forward(function: Function, x: Any, lengths: Any) -> Any:
    """The output of a Function, called with the lengths of sequences if there are any and it takes them."""
    if lengths is None or not function._takes_lengths():
        return function.compute_forward(x)
    return function.compute_forward(x, lengths=lengths)  # type: ignore[call-arg]


def has_parameters(function: Function) -> bool:
    """Whether there is anything to train in a Function."""
    return bool(function.get_params_and_grads()[0])


def extend(owner: Function, parts: list[Function], new: Iterable[Any]) -> None:
    """Append Functions to the parts of a container, after making sure that they are Functions and not there already."""
    name = type(owner).__name__
    present = {id(function) for function in owner.walk()}
    for part in new:
        need_function(name, part, f" at position {len(parts)}")
        inside = {id(function): function for function in part.walk()}
        for key, function in inside.items():
            if key in present:
                raise ValueError(
                    f"{name}: {function!r} stands in it twice, and would remember only the later of its inputs; "
                    "use shared_copy() for a second one with the same parameters"
                )
        present.update(inside)
        parts.append(part)
