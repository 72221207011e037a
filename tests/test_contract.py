"""The contract of every Function and every loss that pancake has: none can be forgotten, for they are found.

A new class needs an entry in `CASES`: calls that make it, each with an input that shows all of its derivative.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest

import pancake
from pancake.function import Function
from pancake.losses.loss import Loss
from pancake.testing import check_function

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3))
POSITIVE = rng.uniform(0.2, 2.0, size=(4, 3))
LABELS = np.array([2, 0, 1, 1])
ROWS = rng.dirichlet(np.ones(3), size=4)
SEQUENCES = rng.normal(size=(2, 4, 3))
STATE = rng.normal(size=(4, 2))
INDICES = np.array([[1, 0, 1], [4, 4, 2]])

# For each class (text of a call, input), or for a loss (text of a call, prediction, target). The text is evaluated with
# all of pancake's names; the repr of what comes out must be the same call again.
CASES = {
    # stacks and branches
    "Identity": [("Identity()", X)],
    "Sequential": [("Sequential([Linear(3, 4), Tanh(), Sequential([Mul(), Linear(4, 2)])])", X)],
    "Add": [("Add([Linear(3, 2), Sequential([Tanh(), Linear(3, 2)])])", X), ("Add([ReLU(), Identity()])", X)],
    "Multiply": [("Multiply([Linear(3, 2), Sequential([Linear(3, 2), Sigmoid()]), Linear(3, 2)])", X)],
    "Concatenate": [("Concatenate([Linear(3, 2), Tanh()])", X), ("Concatenate([Linear(3, 2), Linear(3, 2)], axis=1)", SEQUENCES)],
    "Residual": [("Residual(Sequential([Linear(3, 3), Tanh()]))", X)],
    # products and shapes
    "Linear": [
        ("Linear(3, 2)", X),
        ("Linear(3, 2, bias=False)", X),
        ("Linear(3, 2, init='zeros')", SEQUENCES),
        ("Linear(3, 2)", X[0]),
    ],
    "MatMul": [("MatMul(3, 2)", X), ("MatMul(3, 2)", SEQUENCES)],
    "AddBias": [("AddBias(3)", X), ("AddBias(3)", SEQUENCES)],
    "Embedding": [("Embedding(5, 2)", INDICES)],
    "Transpose": [("Transpose((0, 2, 1))", SEQUENCES)],
    "Reshape": [("Reshape((2, 6))", X), ("Reshape((-1, 2))", SEQUENCES)],
    "Flatten": [("Flatten()", SEQUENCES)],
    "Expand": [("Expand(1, 2)", X), ("Expand(-1, 3)", X)],
    # elementwise and reductions
    "Square": [("Square()", X)],
    "Mul": [("Mul(k=0.7)", X), ("Mul(k=0.7)", X[0, :1])],
    "Negate": [("Negate()", X)],
    "Subtract": [("Subtract(np.array([0.5, 1.0, -2.0]))", X)],
    "Sum": [("Sum()", X), ("Sum(axis=1)", SEQUENCES), ("Sum(axis=(0, -1))", SEQUENCES)],
    "Mean": [("Mean()", X), ("Mean(axis=-1)", X), ("Mean(axis=(0, 2))", SEQUENCES)],
    "Exp": [("Exp()", X)],
    "Log": [("Log()", POSITIVE)],
    "Abs": [("Abs()", X)],
    "Power": [("Power(3)", X), ("Power(-1.5)", POSITIVE)],
    "Clip": [("Clip(-0.3, 0.4)", X), ("Clip(None, 0.4)", X)],
    # activations
    "Sigmoid": [("Sigmoid()", X)],
    "Tanh": [("Tanh()", SEQUENCES)],
    "HardTanh": [("HardTanh()", 1.5 * X)],
    "ReLU": [("ReLU()", X)],
    "LeakyReLU": [("LeakyReLU()", X), ("LeakyReLU(negative_slope=0.3)", X)],
    "PReLU": [("PReLU()", X), ("PReLU(num_parameters=3, init=0.1)", X)],
    "ELU": [("ELU()", X), ("ELU(alpha=0.5)", X)],
    "SELU": [("SELU()", X)],
    "GELU": [("GELU()", X), ("GELU(approximate='tanh')", X)],
    "SiLU": [("SiLU()", X)],
    "Mish": [("Mish()", X)],
    "Softplus": [("Softplus()", X), ("Softplus(beta=2.0)", X)],
    "Softsign": [("Softsign()", X)],
    "Softmax": [("Softmax()", X), ("Softmax(axis=1)", SEQUENCES)],
    "LogSoftmax": [("LogSoftmax()", X), ("LogSoftmax(axis=0)", X)],
    # regularisation
    "Dropout": [("Dropout()", X), ("Dropout(p=0.2)", SEQUENCES)],
    "BatchNorm": [("BatchNorm(3)", X), ("BatchNorm(3, momentum=0.5, eps=0.1)", SEQUENCES)],
    "LayerNorm": [("LayerNorm(3)", X), ("LayerNorm(3, eps=0.1)", SEQUENCES)],
    # recurrence; a cell has two inputs
    "RNNCell": [("RNNCell(3, 2)", (X, STATE)), ("RNNCell(3, 2, activation='relu')", (X, STATE))],
    "LSTMCell": [("LSTMCell(3, 2)", (X, (STATE, STATE[::-1].copy())))],
    "GRUCell": [("GRUCell(3, 2)", (X, STATE))],
    "Unrolled": [
        ("Unrolled(RNNCell(3, 2))", SEQUENCES),
        ("Unrolled(LSTMCell(3, 2), return_sequences=False)", SEQUENCES),
        ("Unrolled(GRUCell(3, 2), reverse=True)", SEQUENCES),
    ],
    "Bidirectional": [("Bidirectional(GRUCell(3, 2), LSTMCell(3, 2))", SEQUENCES)],
    # losses
    "MeanSquaredError": [("MeanSquaredError()", X, POSITIVE), ("MeanSquaredError(reduction='sum')", X, POSITIVE)],
    "MeanAbsoluteError": [("MeanAbsoluteError()", X, POSITIVE), ("MeanAbsoluteError(reduction='none')", X, POSITIVE)],
    "Huber": [("Huber()", 2 * X, POSITIVE), ("Huber(delta=0.3)", X, POSITIVE)],
    "Hinge": [("Hinge()", X, np.sign(SEQUENCES[0]))],
    "BinaryCrossEntropy": [
        ("BinaryCrossEntropy()", POSITIVE / 3, ROWS),
        ("BinaryCrossEntropy(from_logits=True)", X, (X > 0).astype(float)),
        ("BinaryCrossEntropy(from_logits=True, reduction='sum')", X, ROWS),
    ],
    "CrossEntropy": [
        ("CrossEntropy()", X, LABELS),
        ("CrossEntropy(label_smoothing=0.1)", X, ROWS),
        ("CrossEntropy(class_weight=np.array([1.0, 0.5, 2.0]))", X, LABELS),
        ("CrossEntropy(reduction='none')", SEQUENCES, INDICES[:, [0, 1, 1, 2]] % 3),
    ],
    "NegativeLogLikelihood": [("NegativeLogLikelihood()", np.log(ROWS), LABELS)],
}

NAMES = {"np": np}


def everything():
    """All subclasses of Function and Loss in pancake that a user can make, by name; fills `NAMES` on the way."""
    for module in pkgutil.walk_packages(pancake.__path__, "pancake."):
        if not module.name.startswith("pancake.interop."):
            NAMES.update(vars(importlib.import_module(module.name)))
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
FUNCTIONS = [case for name in CONCRETE if issubclass(CLASSES[name], Function) for case in CASES.get(name, [])]
LOSSES = [case for name in CONCRETE if issubclass(CLASSES[name], Loss) for case in CASES.get(name, [])]
each_function = pytest.mark.parametrize(("text", "x"), FUNCTIONS, ids=[f"{i}-{case[0]}" for i, case in enumerate(FUNCTIONS)])
each_loss = pytest.mark.parametrize(("text", "pred", "target"), LOSSES, ids=[f"{i}-{case[0]}" for i, case in enumerate(LOSSES)])


def make(text):
    made = eval(text, NAMES)
    if isinstance(made, Function):
        made.reset_parameters(0)
        for i, p in enumerate(made.get_params_and_grads()[0]):
            p += np.random.default_rng(i).normal(size=p.shape, scale=0.3)  # away from zero biases and unit gains
    return made


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
def test_every_class_has_an_entry(name):
    assert name in CASES, f'add "{name}": [("{name}(...)", input)] to CASES in tests/test_contract.py; a loss needs a target too'


def test_every_entry_has_a_class():
    assert not CASES.keys() - set(CONCRETE)


@each_function
def test_the_contract_of_functions(text, x):
    check_function(make(text), x)


@each_loss
def test_the_contract_of_losses(text, pred, target):
    check_function(make(text), pred, target=target)


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
    return [*leaves(y), *leaves(d), *(g.copy() for g in function.get_params_and_grads()[1])]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "pickle"])
@each_function
def test_copies_give_the_same(text, x, duplicate):
    function = make(text)
    twin, x = duplicate(function), each(read_only, x)
    for a, b in zip(run(twin, x), run(function, x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert repr(twin) == repr(function)


@each_function
def test_repr_evaluates_back(text, x):
    function = make(text)
    again = eval(repr(function), NAMES)
    assert repr(again) == repr(function)
    again.load_state_dict(function.state_dict())
    for a, b in zip(run(again, x), run(function, x), strict=True):
        np.testing.assert_array_equal(a, b)


@each_loss
def test_repr_of_losses_evaluates_back(text, pred, target):
    loss = make(text)
    again = eval(repr(loss), NAMES)
    assert repr(again) == repr(loss)
    np.testing.assert_array_equal(again(pred, target), loss(pred, target))
    np.testing.assert_array_equal(again.compute_backward(), loss.compute_backward())


@each_function
def test_float32_stays_float32(text, x):
    """A layer with parameters decides the dtype, whatever comes in; one without leaves that of its input."""
    function = make(text).astype(np.float32)
    inputs = [each(lambda a: a.astype(np.float32) if a.dtype.kind == "f" else a, x)]
    if function.get_params_and_grads()[0] and all(a.dtype.kind == "f" for a in leaves(x)):
        inputs += [x, each(lambda a: a.astype(int), x)]
    for given in inputs:
        results = run(function, given)
        assert {a.dtype for a in results if a.dtype.kind == "f"} == {np.dtype(np.float32)}


@each_loss
def test_losses_stay_float32(text, pred, target):
    loss = make(text)
    loss(pred.astype(np.float32), target)
    assert loss.compute_backward().dtype == np.float32


@each_function
def test_functions_need_a_forward_before_backward(text, x):
    function = make(text)
    names = "|".join(type(part).__name__ for part in function.walk())
    for backward in (function.compute_backward, pickle.loads(pickle.dumps(function)).compute_backward):
        with pytest.raises(RuntimeError, match=rf"^({names})\(.*compute_backward needs .* before it"):
            backward(*arguments(each(lambda a: np.ones(a.shape), x)))


@each_loss
def test_losses_need_a_call_before_backward(text, pred, target):
    with pytest.raises(RuntimeError, match=r"compute_backward needs .* before it"):
        make(text).compute_backward()


@each_function
def test_empty_and_textual_inputs_are_refused(text, x):
    function = make(text)
    names = "|".join(type(part).__name__ for part in function.walk())
    first, *others = arguments(x)
    for bad in (first[:0], np.full(first.shape, "a"), np.full(first.shape, None), None, "text", [[1, 2], [3]]):
        with pytest.raises((ValueError, TypeError), match=rf"^({names})\("):
            function(bad, *others)
