"""The usual stack: linear layers with activations between them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pancake import memory
from pancake.arguments import Rng, floating_dtype, generator, tells_how_to_call
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.linear import Linear
from pancake.functions.piecewise_linear import ReLU
from pancake.initializers import Initializer

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@tells_how_to_call
def mlp(
    sizes: Sequence[int],
    activation: Callable[[], Function] = ReLU,
    output: Callable[[], Function] | None = None,
    *,
    init: str | Initializer = "torch_uniform",
    rng: Rng = None,
    dtype: DTypeLike = np.float64,
) -> Sequential:
    """A multilayer perceptron: Linear, activation, Linear, activation, ..., Linear, output.

    Parameters
    ----------
    sizes : sequence of int
        The number of inputs, of units in each hidden layer, and of outputs: `[2, 10, 10, 1]`.
    activation : callable
        Makes the Function between two linear layers; a class does.
    output : callable, optional
        Makes the Function after the last linear layer; none by default, as losses from logits want it.
    init, rng, dtype
        As in `Linear`; one generator serves all layers.

    Raises
    ------
    ValueError
        If there are fewer than two sizes.
    """
    if not isinstance(sizes, (Sequence, np.ndarray)) or (isinstance(sizes, np.ndarray) and sizes.ndim != 1) or len(sizes) < 2:
        hint = "; all sizes go into one list" if isinstance(sizes, int) else ""
        raise ValueError(f"mlp: expected at least the number of inputs and of outputs, such as [2, 10, 1], got {sizes!r}{hint}")
    check_maker("mlp", "activation", activation, "Tanh")
    if output is not None:
        check_maker("mlp", "output", output, "Tanh")
    rng, dtype = generator(mlp, rng), floating_dtype(mlp, dtype)
    if all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):  # or else the layers complain
        memory.make_room(sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(map(int, sizes))), dtype)
    stack: list[Function] = []
    for n_in, n_out in itertools.pairwise(sizes):
        if stack:
            stack.append(made("mlp", "activation", activation))
        stack.append(Linear(n_in, n_out, init=init, rng=rng, dtype=dtype))
    if output is not None:
        stack.append(made("mlp", "output", output))
    return Sequential(stack)


def check_maker(owner: str, name: str, make: object, example: str) -> None:
    """Refuse what is neither a class nor a function that makes a Function."""
    if callable(make) and not isinstance(make, Function):
        return
    hint = f"; write {name}={type(make).__name__}, without brackets" if isinstance(make, Function) else ""
    if isinstance(make, str):
        own = {word.lower(): word for word in sys.modules["pancake"].__all__}
        word = make.lower().replace("_", "")
        hint = f"; write {name}=pancake.{own.get(word + 'cell') or own.get(word, example)}, without quotes"
    raise TypeError(
        f"{owner}: expected {name} to be a class such as {example}, or a function that makes a Function, got {make!r}{hint}"
    )


def made(owner: str, name: str, make: Callable[[], Function]) -> Function:
    """What such a class or function makes."""
    try:
        return make()
    except TypeError as error:
        hint = "a class with arguments goes into a function, as in lambda: LeakyReLU(0.2)"
        raise TypeError(
            f"{owner}: expected {name} to make a Function without being given anything, got {make!r}: {error}; {hint}"
        ) from None
