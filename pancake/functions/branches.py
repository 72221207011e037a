"""Functions made of Functions: side by side.

What a graph does when a value is used twice, branches do without one: the value is fed to each of them, and its gradient is
the sum of what comes back. And what a graph does with several inputs: a tuple has one for each branch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pancake.arguments import each_part, numeric, whole
from pancake.function import Function, need_function
from pancake.functions.containers import Container, Listed, forward, has_parameters, note_answered
from pancake.memory import Array


class Branches(Listed):
    """Base of the containers that feed one input to several Functions, or each its own, and combine what they put out.

    Given a tuple, they hand one part of it to each branch, and backward returns the tuple of the gradients.

    A subclass defines `combine`, and `gradients`: what reaches each branch of the gradient of the combination.
    """

    def __init__(self, functions: Iterable[Function]) -> None:
        super().__init__(functions)
        if not self.functions:
            raise ValueError(f"{type(self).__name__}: expected at least one Function, got none")

    def compute_forward(self, x: Any, lengths: Any = None) -> Array:
        """Run the branches; the lengths (B,) of sequences, where there are any, go to the branches that take them."""
        x = self._within(x, lengths)
        n, several = len(self.functions), isinstance(x, tuple)
        if several and len(x) != n:
            raise ValueError(f"{self!r}: expected one input, or a tuple of {n}, one for each branch, got a tuple of {len(x)}")
        inputs = x if several else (x,) * n
        try:
            outputs = [
                numeric(function, forward(function, part, lengths), "its output")
                for function, part in zip(self.functions, inputs, strict=True)
            ]
        except BaseException:
            self._cache = None  # some have remembered this call and some the one before it
            raise
        if not self._fit([output.shape for output in outputs]):
            shapes = ", ".join(f"{f!r} put out {y.shape}" for f, y in zip(self.functions, outputs, strict=True))
            raise ValueError(f"{type(self).__name__}: expected branches whose outputs fit together, but {shapes}")
        # branches without parameters follow the dtype of the input; that of the model is known from the others
        typical = [y for f, y in zip(self.functions, outputs, strict=True) if f._pairs()] or outputs
        outputs = [output.astype(np.result_type(*typical), copy=False) for output in outputs]
        y = self.combine(outputs)
        self._remember([output.copy() for output in outputs], y.shape, y.dtype, several)  # a user's branch may hand on x itself
        return y

    def compute_backward(self, dObj_dOut: Any) -> Any:
        outputs, shape, dtype, several = self._remembered()
        gradients = self.gradients(self._upstream(dObj_dOut, shape, dtype), outputs)
        parts = tuple(each_part(np.array, f.compute_backward(d)) for f, d in zip(self.functions, gradients, strict=True))
        return parts if several else self._sum(parts).astype(dtype, copy=False)

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Backward without dObj_dIn, through the branches that have parameters."""
        outputs, shape, dtype, _ = self._remembered()
        gradients = self.gradients(self._upstream(dObj_dOut, shape, dtype), outputs)
        for function, d in zip(self.functions, gradients, strict=True):
            if has_parameters(function):
                function.accumulate_grads(d)
            else:
                note_answered([function])

    def _sum(self, parts: tuple[Array, ...]) -> Array:
        """The sum of what the branches return for the one input that they share."""
        if any(part.shape != parts[0].shape for part in parts):
            raise ValueError(f"{self!r}: the branches returned gradients of different shapes, {[p.shape for p in parts]}")
        return functools.reduce(np.add, parts)

    def combine(self, outputs: list[Array]) -> Array:
        """The output, a fresh array, made of those of the branches."""
        raise NotImplementedError

    def gradients(self, dObj_dOut: Array, outputs: list[Array]) -> Iterator[Array]:
        """The gradient of the output of each branch in turn."""
        raise NotImplementedError

    def _fit(self, shapes: list[tuple[int, ...]]) -> bool:
        """Whether outputs of these shapes can be combined."""
        return all(shape == shapes[0] for shape in shapes)

    def __getitem__(self, index: int) -> Function:
        return self.functions[index]


class Add(Branches):
    """y = f_1(x) + f_2(x) + ...

    Each branch receives dObj_dOut, and dObj_dIn is the sum of what they return. Source: the sum rule.

    Shape
    -----
    x : what the branches take, or a tuple of what each takes;  y : (...), the shape of the output of every branch

    Parameters
    ----------
    functions : iterable of Function
        The branches, at least one.

    Raises
    ------
    TypeError
        If an element is not a Function.
    ValueError
        If a Function stands in it twice (`shared_copy` gives a second one with the same parameters), or if the outputs
        differ in shape.
    """

    def combine(self, outputs: list[Array]) -> Array:
        y = outputs[0].copy()
        for output in outputs[1:]:
            y += output
        return y

    def gradients(self, dObj_dOut: Array, outputs: list[Array]) -> Iterator[Array]:
        return (dObj_dOut for _ in outputs)


class Multiply(Branches):
    """y = f_1(x) f_2(x) ..., entry by entry. One branch that ends with a `Sigmoid` is a gate for the other.

    Each branch receives dObj_dOut times the outputs of all others, and dObj_dIn is the sum of what they return. Source: the
    product rule.

    Shape
    -----
    x : what the branches take, or a tuple of what each takes;  y : (...), the shape of the output of every branch

    Parameters
    ----------
    functions : iterable of Function
        The branches, at least one.

    Raises
    ------
    TypeError, ValueError
        As in `Add`.
    """

    def combine(self, outputs: list[Array]) -> Array:
        y = outputs[0].copy()
        for output in outputs[1:]:
            y *= output
        return y

    def gradients(self, dObj_dOut: Array, outputs: list[Array]) -> Iterator[Array]:
        for i in range(len(outputs)):
            yield functools.reduce(np.multiply, outputs[:i] + outputs[i + 1 :], dObj_dOut)


class Concatenate(Branches):
    """y = [f_1(x), f_2(x), ...], one after another along an axis.

    Each branch receives its piece of dObj_dOut, and dObj_dIn is the sum of what they return. Source: the definition.

    Shape
    -----
    x : what the branches take, or a tuple of what each takes;  outputs : (..., O_1), (..., O_2), ...;
    y : (..., O_1 + O_2 + ...), or on another axis

    Parameters
    ----------
    functions : iterable of Function
        The branches, at least one.
    axis : int
        Along which the outputs are joined, counted from the end where negative.

    Raises
    ------
    TypeError, ValueError
        As in `Add`, or if the outputs do not have the axis; in its length alone they may differ.
    """

    def __init__(self, functions: Iterable[Function], axis: int = -1) -> None:
        super().__init__(functions)
        self.axis = whole(self, "axis", axis)

    def combine(self, outputs: list[Array]) -> Array:
        return np.concatenate(outputs, axis=self.axis)

    def gradients(self, dObj_dOut: Array, outputs: list[Array]) -> Iterator[Array]:
        ends = np.cumsum([output.shape[self.axis] for output in outputs])
        return iter(np.split(dObj_dOut, ends[:-1], axis=self.axis))

    def _fit(self, shapes: list[tuple[int, ...]]) -> bool:
        if any(not -len(shape) <= self.axis < len(shape) for shape in shapes):
            return False
        lengths = [list(shape) for shape in shapes]
        for shape in lengths:
            del shape[self.axis]
        return all(shape == lengths[0] for shape in lengths)


class Residual(Container):
    """y = x + f(x): what f does is a change to x.

    dObj_dIn = dObj_dOut + the dObj_dIn of f.

    Shape
    -----
    x, f(x), y : (...), any shape that f takes and keeps

    Parameters
    ----------
    f : Function

    Raises
    ------
    TypeError
        If f is not a Function.
    ValueError
        If f puts out another shape than it is given.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2016), equation 1.
    """

    def __init__(self, f: Function) -> None:
        need_function(type(self).__name__, f)
        self.f = f

    def compute_forward(self, x: Any, lengths: Any = None) -> Array:
        """Run f, with the lengths (B,) of sequences if there are any."""
        x = self._floats(self._within(x, lengths))
        fx = numeric(self.f, forward(self.f, x, lengths), "its output")
        if fx.shape != x.shape:
            raise ValueError(f"{self!r}: expected an f that keeps the shape of its input, {x.shape}, but it put out {fx.shape}")
        y = fx + x.astype(fx.dtype, copy=False)
        self._remember(y.shape, y.dtype)
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        d = self._upstream(dObj_dOut, *self._remembered())
        return np.asarray(d + self.f.compute_backward(d))

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Backward without dObj_dIn, through f if it has parameters."""
        d = self._upstream(dObj_dOut, *self._remembered())
        if has_parameters(self.f):
            self.f.accumulate_grads(d)
        else:
            note_answered([self.f])
