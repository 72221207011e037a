"""The contract of every Function and every loss that pancake has: none can be forgotten, for they are found.

What they are made with comes from the table in pancake/testing/recipes.py; a new class needs a line there.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import itertools
import pickle
import pkgutil

import numpy as np
import pytest

import pancake
from pancake.function import Function
from pancake.losses.loss import Loss
from pancake.testing import check_function
from pancake.testing.recipes import ALONE, CELLS, CONTAINERS, LAYERS, OF_INTEGERS, OTHERS
from pancake.testing.recipes import LOSSES as LOSS_RECIPES
from pancake.testing.strategies import examples, functions, losses

TABLE = {**LAYERS, **CONTAINERS, **OTHERS, **OF_INTEGERS, **ALONE, **CELLS, **LOSS_RECIPES}
NAMES = {"np": np}


def everything():
    """All subclasses of Function and Loss in pancake that a user can make, by name; fills `NAMES` on the way."""
    for module in pkgutil.walk_packages(pancake.__path__, "pancake.", onerror=lambda name: None):
        if not module.name.endswith("__main__"):
            try:
                NAMES.update(vars(importlib.import_module(module.name)))
            except ImportError as error:
                if (error.name or "").startswith("pancake"):  # and not a package that is not installed
                    raise
    found, queue = {}, [Function, Loss]
    while queue:
        cls = queue.pop()
        queue += cls.__subclasses__()
        if cls.__module__.startswith("pancake.") and not cls.__name__.startswith("_"):
            found[cls.__name__] = cls
    return found


CLASSES = everything()


def is_abstract(cls):
    """A base class for others: its docstring begins by saying so."""
    return inspect.getdoc(cls).startswith(("Base of ", "Base class of ")) or cls in (Function, Loss)


CONCRETE = sorted(name for name, cls in CLASSES.items() if not is_abstract(cls))
IN_TABLE = [name for name in CONCRETE if CLASSES[name] in TABLE]


def drawn(base, strategy):
    """Examples of every class below a base, and their names."""
    names = [name for name in IN_TABLE if issubclass(CLASSES[name], base)]
    found = [(name, i, example) for name in names for i, example in enumerate(examples(strategy(CLASSES[name]), 4))]
    return [example for _, _, example in found], [f"{name}-{i}" for name, i, _ in found]


# Drawn once, which takes seconds; as pairs (and triples) for other tests, too.
FUNCTIONS, FUNCTION_IDS = drawn(Function, functions)
LOSSES, LOSS_IDS = drawn(Loss, losses)

each_function = pytest.mark.parametrize(("function", "x"), copy.deepcopy(FUNCTIONS), ids=FUNCTION_IDS)
each_loss = pytest.mark.parametrize(("loss", "pred", "target"), copy.deepcopy(LOSSES), ids=LOSS_IDS)


def each(change, tree):
    """Change every array of a nested tuple: the inputs of a cell, or its output and state."""
    return tuple(each(change, part) for part in tree) if isinstance(tree, tuple) else change(tree)


def leaves(tree):
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, tuple) else [tree]


def arguments(x):
    return x if isinstance(x, tuple) else (x,)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("name", CONCRETE)
def test_every_class_is_in_the_table(name):
    assert CLASSES[name] in TABLE, f"add {name}: Recipe(lambda x: st.builds({name})) to a table in pancake/testing/recipes.py"


def test_everything_in_the_table_is_a_class():
    assert {cls.__name__ for cls in TABLE} <= set(CONCRETE)


@each_function
def test_the_contract_of_functions(function, x):
    check_function(function, x)


@each_loss
def test_the_contract_of_losses(loss, pred, target):
    check_function(loss, pred, target=target)


def make(example):
    """A function or a loss like an example, whatever has been done with that."""
    return copy.deepcopy(example)


def fresh(function):
    """A copy that has seen nothing yet."""
    return copy.deepcopy(function)


def seeded(function):
    """The same Function with all its generators set back, so that random ones repeat what they drew."""
    for part in function.walk():
        for name, value in vars(part).items():
            if isinstance(value, np.random.Generator):
                vars(part)[name] = np.random.default_rng(0)
    return function


def run(function, x):
    """Output and dObj_dIn in training mode from fresh generators, and the gradients, which were noise before."""
    seeded(function)
    for i, g in enumerate(function.get_params_and_grads()[1]):
        g[...] = np.random.default_rng(i).normal(size=g.shape)
    y = function(*arguments(x))
    upstream = each(lambda a: read_only(np.random.default_rng(9).normal(size=a.shape).astype(a.dtype)), y)
    d = function.compute_backward(*arguments(upstream))
    return leaves(y), leaves(d), [g.copy() for g in function.get_params_and_grads()[1]]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "pickle"])
@each_function
def test_copies_give_the_same(function, x, duplicate):
    function = fresh(function)
    twin, x = duplicate(function), each(read_only, x)
    for a, b in zip(itertools.chain(*run(twin, x)), itertools.chain(*run(function, x)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert repr(twin) == repr(function)


@each_function
def test_repr_evaluates_back(function, x):
    if "<array of shape" in repr(function):  # which is too long to be written out
        return
    function = fresh(function)
    again = eval(repr(function), NAMES)
    assert repr(again) == repr(function)
    again.load_state_dict(function.state_dict())
    again.train(function.training)
    for a, b in zip(itertools.chain(*run(again, x)), itertools.chain(*run(function, x)), strict=True):
        np.testing.assert_array_equal(a, b)


@each_loss
def test_repr_of_losses_evaluates_back(loss, pred, target):
    loss = copy.deepcopy(loss)
    again = eval(repr(loss), NAMES)
    assert repr(again) == repr(loss)
    np.testing.assert_array_equal(again(pred, target), loss(pred, target))
    np.testing.assert_array_equal(again.compute_backward(), loss.compute_backward())


@each_function
def test_float32_stays_float32(function, x):
    """A layer with parameters decides the dtype, whatever comes in; one without leaves that of its input."""
    function = fresh(function).astype(np.float32)
    inputs = [each(lambda a: a.astype(np.float32) if a.dtype.kind == "f" else a, x)]
    if function.get_params_and_grads()[0] and all(a.dtype.kind == "f" for a in leaves(x)):
        inputs += [x, each(lambda a: a.astype(int), x)]
    for given in inputs:
        y, d, grads = run(function, given)
        first = next((part for part in function.walk() if type(part) is not pancake.Sequential), function)
        seen = [*y, *grads, *(d if given is inputs[0] or first.get_params_and_grads()[0] else [])]  # dObj_dIn is like the input
        assert {a.dtype for a in seen if a.dtype.kind == "f"} == {np.dtype(np.float32)}


@each_loss
def test_losses_stay_float32(loss, pred, target):
    loss = copy.deepcopy(loss)
    loss(pred.astype(np.float32), target)
    assert loss.compute_backward().dtype == np.float32


@each_function
def test_functions_need_a_forward_before_backward(function, x):
    function = fresh(function)
    names = "|".join(type(part).__name__ for part in function.walk())
    for backward in (function.compute_backward, pickle.loads(pickle.dumps(function)).compute_backward):
        with pytest.raises(RuntimeError, match=rf"^({names})\(.*compute_backward needs .* before it"):
            backward(*arguments(each(lambda a: np.ones(a.shape), x)))


@each_loss
def test_losses_need_a_call_before_backward(loss, pred, target):
    with pytest.raises(RuntimeError, match=r"compute_backward needs .* before it"):
        copy.deepcopy(loss).compute_backward()


@each_function
def test_empty_and_textual_inputs_are_refused(function, x):
    function = fresh(function)
    if any(isinstance(part, pancake.Sequential) and not len(part) for part in function.walk()):  # which expects nothing
        return
    names = "|".join(type(part).__name__ for part in function.walk())
    first, *others = arguments(x)
    for bad in (
        np.zeros((0, *np.shape(first)[1:])),
        np.full(first.shape, "a"),
        np.full(first.shape, None),
        None,
        "text",
        [[1, 2], [3]],
    ):
        with pytest.raises((ValueError, TypeError), match=rf"^({names})\("):
            function(bad, *others)
