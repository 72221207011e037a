"""Hypothesis strategies for neural networks: inputs, targets, any Function of the library, and random stacks of them."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import ArrayLike

import pancake
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.losses.elementwise import ElementwiseLoss, MeanSquaredError
from pancake.losses.loss import Loss
from pancake.memory import Array
from pancake.testing.inputs import Size, arrays, batches, labels, probabilities, sequences, size, upstream_for
from pancake.testing.pieces import FEATURES, SEEDS, redraw_parameters
from pancake.testing.recipes import ALONE, CELLS, CONTAINERS, LAYERS, LOSSES, OF_INTEGERS, OTHERS, Recipe, append, end_with, parts

__all__ = [
    "arrays",
    "batches",
    "examples",
    "functions",
    "labels",
    "losses",
    "probabilities",
    "sequences",
    "stacks",
    "targets_for",
    "upstream_for",
]

INPUTS = FEATURES | labels(4)


def functions(*classes: type[Function]) -> SearchStrategy[tuple[Function, Any]]:
    """Any Function of the library with fitting arguments, and an input that fits: pairs (function, x).

    Parameters are odd tenths from -1.5 to 1.5 instead of the ones and zeros that they may start from, which hide faults;
    those that are all positive stay so. Half of the Functions are in evaluation mode, after one forward in training.

    Parameters
    ----------
    *classes : type
        Only these; all if there is none.

    Raises
    ------
    LookupError
        If there is no recipe for a class, with the line to add.
    """
    recipes = {
        **LAYERS,
        **{cls: _nested(make) for cls, make in CONTAINERS.items()},
        **OTHERS,
        **OF_INTEGERS,
        **ALONE,
        **CELLS,
    }
    wanted = classes or tuple(library_classes(Function))
    _refuse_unknown("functions", wanted, recipes, "LAYERS", "Recipe(lambda x: st.builds({}))")
    return st.sampled_from(wanted).flatmap(lambda cls: _pairs(recipes[cls]))


def _nested(make: Callable[[Array, int], SearchStrategy[Function]]) -> Recipe:
    return Recipe(lambda x: make(x, 1))


def library_classes(base: type[Any]) -> list[type[Any]]:
    """All subclasses of `base` in pancake, found by walking, except private ones and those that say "Base of ..."."""
    for module in pkgutil.walk_packages(pancake.__path__, "pancake.", onerror=lambda name: None):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of a module that needs a package, such as matplotlib, which is not there
                importlib.import_module(module.name)

    def below(cls: type[Any]) -> Iterator[type[Any]]:
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    found = {cls: None for cls in below(base) if cls.__module__.startswith("pancake.") and not cls.__name__.startswith("_")}
    return [cls for cls in found if not (cls.__doc__ or "").startswith(("Base of ", "Base class of "))]


def examples(strategy: SearchStrategy[Any], count: int = 5) -> list[Any]:
    """The simplest thing that a strategy draws, and `count` - 1 others, as different as may be: the same every time."""
    found: list[Any] = []

    @settings(
        max_examples=10 * count,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(drawn: Any) -> None:
        found.append(drawn)

    collect()
    kinds: dict[Any, list[Any]] = {}  # by the axes of arrays and by what was made, numbers aside
    for thing in found[1:]:
        made, *rest = thing if isinstance(thing, tuple) else (thing,)
        axes = [np.ndim(array) for array in rest if not isinstance(array, tuple)]
        kinds.setdefault((*axes, re.sub(r"[\d.]+", "", repr(made))[:200]), []).append(thing)
    for alike in kinds.values():
        alike.sort(key=lambda thing: len(repr(thing)))
    # The middle ones of each kind, kind after kind.
    rounds = [alike.pop(len(alike) // 2) for _ in range(count) for alike in kinds.values() if alike]
    return found[:1] + rounds[: count - 1]


def _refuse_unknown(strategy: str, classes: Iterable[type[Any]], known: Iterable[type[Any]], table: str, recipe: str) -> None:
    missing = [cls for cls in classes if cls not in known]
    if missing:
        lines = "".join(f"\n    {cls.__name__}: {recipe.format(cls.__name__)},  # {cls.__module__}" for cls in missing)
        raise LookupError(f"{strategy}: expected a recipe for every class; add to {table} in pancake/testing/recipes.py:{lines}")


@st.composite
def _pairs(draw: st.DrawFn, recipe: Recipe) -> tuple[Function, Any]:
    x = draw(recipe.x)
    function = draw(recipe.function(x))
    redraw_parameters(function, draw(SEEDS))
    _choose_mode(function, x, draw(st.booleans()))
    return function, x


def _choose_mode(function: Function, x: Any, evaluation: bool) -> None:
    if evaluation:
        function.compute_forward(*x if isinstance(x, tuple) else (x,))  # so that running statistics are not those of the start
        function.eval()


@st.composite
def stacks(
    draw: st.DrawFn,
    x: SearchStrategy[Array] = INPUTS,
    *,
    n_out: Size | None = None,
    depth: int = 2,
) -> tuple[Sequential, Array]:
    """Random stacks of layers whose widths fit, nested and branched, each with an input: pairs (stack, x).

    What `functions` draws may stand in them, with parameters and in modes as there, if it takes any number.

    Parameters
    ----------
    x : strategy
        Inputs: arrays of floats with at least one axis, (..., I), or of integers from 0 to 5, for an `Embedding`.
    n_out : int, or a strategy of ints, optional
        The number of output features. The stack then keeps the leading axes, (..., I) to (..., O), and its output may be
        handed to a loss. Without it nothing is said about the shape of the output.
    depth : int
        How deep branches nest.
    """
    x0 = y = draw(x)
    stack = Sequential([])
    if y.dtype.kind in "iu":
        y = append(draw, stack, parts(y, 0, OF_INTEGERS), y)
    table = LAYERS if n_out is not None else {**LAYERS, **OTHERS}
    y = draw(_parts_after(stack, y, depth, table, 6))
    if n_out is not None:
        end_with(draw, stack, y, draw(size(n_out)))
    _choose_mode(stack, x0, draw(st.booleans()))
    return stack, x0


@st.composite
def _parts_after(
    draw: st.DrawFn, stack: Sequential, y: Array, depth: int, table: Mapping[type[Function], Recipe], most: int
) -> Array:
    """Append a part that takes y and, four times in five, others after it; return what comes out in the end.

    The others are drawn inside, where shrinking finds them and tries to do without what stands before them.
    """
    if y.ndim:
        y = append(draw, stack, parts(y, depth, table), y)
    return draw(_parts_after(stack, y, depth, table, most - 1)) if most > 1 and draw(st.integers(0, 4)) else y


def losses(*classes: type[Loss]) -> SearchStrategy[tuple[Loss, Array, Array]]:
    """Any loss of the library with fitting arguments, a prediction and a target: triples (loss, pred, target).

    Parameters
    ----------
    *classes : type
        Only these; all if there is none.

    Raises
    ------
    LookupError
        If there is no recipe for a class, with the line to add.
    """
    wanted = classes or tuple(library_classes(Loss))
    _refuse_unknown("losses", wanted, LOSSES, "LOSSES", "LossRecipe(st.builds({}), _any, _like)")
    drawn = st.sampled_from(wanted).flatmap(lambda cls: LOSSES[cls].loss)
    return drawn.flatmap(lambda loss: targets_for(loss).map(lambda pair: (loss, *pair)))


def targets_for(loss: Loss, pred: ArrayLike | SearchStrategy[Array] | None = None) -> SearchStrategy[tuple[Array, Array]]:
    """Targets that a loss takes, each with the prediction that it belongs to: pairs (pred, target).

    Where predictions are odd tenths, the targets of losses that compare numbers are even tenths: no two are equal.

    Parameters
    ----------
    loss : Loss
        Of the library, or of a subclass.
    pred : array_like, or a strategy of arrays, optional
        The predictions, such as the output of a stack; drawn if not given.

    Raises
    ------
    TypeError
        If nothing is known about targets of such a loss.
    """
    recipe = next((LOSSES[cls] for cls in type(loss).__mro__ if cls in LOSSES), None)
    if recipe is None and isinstance(loss, ElementwiseLoss):
        recipe = LOSSES[MeanSquaredError]
    if recipe is None:
        raise TypeError(f"targets_for: expected a loss of pancake or of a subclass, got {loss!r}; draw targets by hand")
    preds = recipe.pred(loss) if pred is None else pred if isinstance(pred, SearchStrategy) else st.just(np.asarray(pred))
    return preds.flatmap(lambda p: st.tuples(st.just(p), recipe.target(loss, p)))
