"""What every Function and every loss promises of its memory.

Whoever writes to an array between forward and backward changes nothing, and a backward that cannot be that of the latest
forward is refused.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle

import numpy as np
import pytest
from participant import Scale, Skip
from test_contract import FUNCTION_IDS, FUNCTIONS, LOSS_IDS, LOSSES, arguments, each, leaves, make, seeded

import pancake as pk
from pancake import (
    SGD,
    Add,
    BatchNorm,
    Bidirectional,
    Concatenate,
    Conv1d,
    CrossEntropy,
    Function,
    GRUCell,
    Linear,
    LSTMCell,
    MeanSquaredError,
    Multiply,
    Residual,
    RNNCell,
    Sequential,
    Tanh,
    Unrolled,
    predict,
)

each_function = pytest.mark.parametrize(("example", "x"), FUNCTIONS, ids=FUNCTION_IDS)
OF_EXAMPLES = [(case, name) for case, name in zip(LOSSES, LOSS_IDS, strict=True) if np.ndim(case[1])]  # not of single numbers
each_loss = pytest.mark.parametrize(
    ("example", "pred", "target"), [case for case, _ in OF_EXAMPLES], ids=[name for _, name in OF_EXAMPLES]
)


def other(x):
    """Another input of the same kind."""
    return each(lambda a: a[::-1].copy() if a.ndim else a, x)


def forward(function, x):
    return seeded(function)(*arguments(x))


def upstream(y, seed=9):
    return each(lambda a: np.random.default_rng(seed).normal(size=np.shape(a)), y)


def backward(function, y):
    """dObj_dIn and the gradients, which were 0 before."""
    _, grads = function.get_params_and_grads()
    for g in grads:
        g.fill(0)
    return [*leaves(function.compute_backward(*arguments(upstream(y)))), *(g.copy() for g in grads)]


def expected(example, x):
    function = make(example)
    return backward(function, forward(function, copy.deepcopy(x)))


def overwrite(array):
    if isinstance(array, np.ndarray):
        array[...] = 0 if array.dtype.kind in "iu" else 1e6
    return array


def same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


# --- whoever writes to an array changes nothing ---


@each_function
def test_an_output_written_to_before_backward_changes_nothing(example, x):
    function = make(example)
    y = forward(function, x)
    kept = each(np.copy, y)
    each(overwrite, y)
    same(backward(function, kept), expected(example, x))


@each_function
def test_an_input_written_to_before_backward_changes_nothing(example, x):
    function, given = make(example), copy.deepcopy(x)
    y = forward(function, given)
    each(overwrite, given)
    same(backward(function, y), expected(example, x))


@each_function
def test_upstream_gradients_are_not_written_to_and_results_are_fresh(example, x):
    function, wanted = make(example), expected(example, x)
    y = forward(function, x)
    d = upstream(y)
    before = each(np.copy, d)
    results = leaves(function.compute_backward(*arguments(d)))
    for a, b in zip(leaves(d), leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)
    arrays = [*leaves(y), *results]
    for i, a in enumerate(arrays):
        others = [*arrays[:i], *leaves(x), *leaves(d), *(a for pair in function.get_params_and_grads() for a in pair)]
        assert not any(np.shares_memory(a, b) for b in others)
    for array in (*results, *leaves(d)):
        overwrite(array)
    same(backward(function, y), wanted)


@each_loss
def test_what_a_loss_was_given_may_be_written_to(example, pred, target):
    weight = np.linspace(0.5, 1.5, len(pred))
    loss, twin = make(example), make(example)
    value = twin(pred, target, weight)
    wanted = twin.compute_backward()
    given = [copy.deepcopy(a) for a in (pred, target, weight)]
    got = loss(*given)
    for array in given:
        overwrite(array)
    np.testing.assert_array_equal(got, value)
    overwrite(got)
    first = loss.compute_backward()
    np.testing.assert_array_equal(first, wanted)
    overwrite(first)
    np.testing.assert_array_equal(loss.compute_backward(), wanted)


# --- one backward, or several, for one forward ---


@each_function
def test_a_second_backward_after_one_forward_adds_the_same_again(example, x):
    function = make(example)
    y = forward(function, x)
    first = backward(function, y)
    inputs = first[: len(leaves(x))]
    again = leaves(function.compute_backward(*arguments(upstream(y))))
    same(again, inputs)
    for g, once in zip(function.get_params_and_grads()[1], first[len(inputs) :], strict=True):
        np.testing.assert_allclose(g, 2 * once, rtol=1e-12, atol=1e-14)


@each_function
def test_several_backwards_after_several_forwards_are_refused(example, x):
    function = make(example)
    forward(function, other(x))
    y = forward(function, x)
    same(backward(function, y), expected(example, x))
    grads = [g.copy() for g in function.get_params_and_grads()[1]]
    for method in (function.compute_backward, function.accumulate_grads):
        with pytest.raises(RuntimeError, match=r"older forward.*call forward and backward in turn, or use a shared_copy"):
            method(*arguments(upstream(y)))
    same(function.get_params_and_grads()[1], grads)
    y = forward(function, x)  # and after another forward all is well
    same(backward(function, y), expected(example, x))


@each_loss
def test_several_backwards_of_a_loss_after_several_calls_are_refused(example, pred, target):
    loss, twin = make(example), make(example)
    twin(pred, target)
    loss(pred[::-1].copy(), target)
    loss(pred, target)
    np.testing.assert_array_equal(loss.compute_backward(), twin.compute_backward())
    np.testing.assert_array_equal(twin.compute_backward(), twin.compute_backward())
    with pytest.raises(RuntimeError, match="older"):
        loss.compute_backward()


@each_function
def test_a_forward_nobody_asked_the_gradient_of_harms_nothing(example, x):
    """A look at other data between two steps: forward, backward, forward, forward, backward, forward, backward."""
    function = make(example)
    backward(function, forward(function, x))
    forward(function, other(x))
    same(backward(function, forward(function, x)), expected(example, x))
    same(backward(function, forward(function, x)), expected(example, x))


# --- a number as dObj_dOut ---


def ends_with_a_layer(function):
    while type(function) is Sequential:
        if not function.functions:
            return False
        function = function[-1]
    return True


@each_function
def test_a_number_upstream_counts_only_where_the_output_is_one_number(example, x):
    function = make(example)
    y = forward(function, x)
    first, *state = arguments(y)
    others = [upstream(part) for part in state]
    if not ends_with_a_layer(function):
        return  # an empty stack hands on whatever comes
    if np.size(first) == 1:
        d = function.compute_backward(2.0, *others)
        if others:
            return
        np.testing.assert_array_equal(d, function.compute_backward(np.full(np.shape(first), 2.0)))
        return
    with pytest.raises(ValueError, match=r"expected dObj_dOut of shape .*loss.compute_backward\(\) returns"):
        function.compute_backward(0.37, *others)
    assert not any(g.any() for g in function.get_params_and_grads()[1])


# --- containers: parts called alone, exchanged, or failing ---


class Composite(Function):
    """A user's container, which refers its backward to that of its parts."""

    def __init__(self, f):
        self.parts = {"f": f}

    def compute_forward(self, x):
        return self.parts["f"](x)

    def compute_backward(self, dObj_dOut):
        return self.parts["f"].compute_backward(dObj_dOut)


PARTED = [(example, x) for example, x in FUNCTIONS if len(list(make(example).walk())) > 1]
PARTED_IDS = [f"{i}-{type(example).__name__}" for i, (example, _) in enumerate(PARTED)]
CONTAINERS = [(example, x) for example, x in PARTED if not isinstance(example, pk.Unrolled)]
each_container = pytest.mark.parametrize(
    ("example", "x"), CONTAINERS, ids=[f"{i}-{type(example).__name__}" for i, (example, _) in enumerate(CONTAINERS)]
)


def arguments_of_parts(example, x):
    """What each part of a Function is called with, by its place in `walk`."""
    function = make(example)
    given = {}

    def watched(place, method):
        def compute_forward(*args, **kwargs):
            given[place] = copy.deepcopy(args)
            return method(*args, **kwargs)

        return compute_forward

    for place, part in enumerate(function.walk()):
        part.compute_forward = watched(place, part.compute_forward)
    forward(function, x)
    return given


@each_container
def test_a_part_called_alone_before_backward_is_refused(example, x):
    given = arguments_of_parts(example, x)
    count = len(list(make(example).walk()))
    places = [place for place in range(1, count) if place in given]
    assert len(places) >= 2 or count == 2
    for place in places:
        function = make(example)
        y = forward(function, x)
        part = list(function.walk())[place]
        if isinstance(part, Function) and type(part).__name__.endswith("Cell"):
            continue  # the steps of Unrolled are copies, which nobody can call
        part(*given[place])
        with pytest.raises(RuntimeError, match=r"was called by itself since its forward.*call the whole again.*shared_copy"):
            function.compute_backward(*arguments(upstream(y)))
        y = forward(function, x)
        same(backward(function, y), expected(example, x))


@pytest.mark.parametrize("make_cell", [RNNCell, LSTMCell, GRUCell])
def test_a_cell_called_alone_before_backward_changes_nothing(make_cell):
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    results = []
    for alone in (False, True):
        unrolled = Unrolled(make_cell(3, 2, rng=0))
        y = unrolled(x)
        if alone:
            unrolled.cell(np.ones((5, 3)), unrolled.cell.init_state(5))
        results.append(backward(unrolled, y))
    same(*results)


@each_container
def test_a_part_backpropagated_alone_changes_nothing(example, x):
    """It refers to the same forward; only its gradients are there twice."""
    function = make(example)
    y = forward(function, x)
    wanted = backward(function, y)[: len(leaves(x))]
    same(backward(function, y)[: len(leaves(x))], wanted)


def exchange(function, old, new):
    """Put `new` in the place of a part, wherever that stands."""
    for part in function.walk():
        for name, value in vars(part).items():
            if value is old:
                vars(part)[name] = new
            elif isinstance(value, list) and any(item is old for item in value):
                value[[item is old for item in value].index(True)] = new


@pytest.mark.parametrize(("example", "x"), PARTED, ids=PARTED_IDS)
def test_a_part_exchanged_before_backward_is_refused(example, x):
    for place in range(1, len(list(make(example).walk()))):
        function = make(example)
        y = forward(function, x)
        old = list(function.walk())[place]
        new = copy.deepcopy(old)
        exchange(function, old, new)
        with pytest.raises(RuntimeError, match=r"exchanged since its forward; call it again before backward"):
            function.compute_backward(*arguments(upstream(y)))
        y = forward(function, x)
        same(backward(function, y), expected(example, x))


@each_container
def test_backward_after_a_forward_that_failed_in_the_middle_is_refused(example, x):
    """Some parts remember the call that failed, and some the one before it."""

    def failing(*args, **kwargs):
        raise FloatingPointError

    for place in arguments_of_parts(example, x):
        function = make(example)
        part = list(function.walk())[place]
        if place == 0 or type(part).__name__.endswith("Cell"):
            continue
        y = forward(function, other(x))
        part.compute_forward = failing
        with pytest.raises(FloatingPointError):
            forward(function, x)
        del part.compute_forward
        with contextlib.suppress(RuntimeError):  # else no part has remembered the call that failed
            same(backward(function, y), expected(example, other(x)))
        same(backward(function, forward(function, x)), expected(example, x))


class FailsAbove(Scale):
    """A user's Function that refuses some inputs, after the one before it has remembered them."""

    def compute_forward(self, x):
        if (x > 100).any():
            raise FloatingPointError
        return super().compute_forward(x)


def test_backward_after_a_stack_of_users_functions_failed_in_the_middle_is_refused():
    model, x = Sequential([Scale(), FailsAbove()]), np.ones((2, 3))
    y = model(x)
    with pytest.raises(FloatingPointError):
        model(1000 * x)
    with pytest.raises(RuntimeError, match="needs a compute_forward before it"):
        model.compute_backward(y)
    with pytest.raises(RuntimeError, match="needs a compute_forward before it"):
        model.accumulate_grads(y)


@pytest.mark.parametrize("container", [Add, Multiply, Concatenate])
def test_backward_after_a_branch_of_a_user_failed_is_refused(container):
    model, x = container([Scale(), FailsAbove()]), np.ones((2, 3))
    y = model(x)
    with pytest.raises(FloatingPointError):
        model(1000 * x)
    with pytest.raises(RuntimeError, match="before"):
        model.compute_backward(np.ones_like(y))


class FailsAtStep(RNNCell):
    """Fails at the step whose input is more than 100."""

    def compute_forward(self, x_t, state):
        if (x_t > 100).any():
            raise FloatingPointError
        return super().compute_forward(x_t, state)


@pytest.mark.parametrize("wrap", [Unrolled, lambda cell: Bidirectional(cell, GRUCell(3, 2, rng=1))])
def test_backward_after_a_sequence_that_failed_in_the_middle_is_refused(wrap):
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    model = wrap(FailsAtStep(3, 2, rng=0))
    y = model(x)
    bad = x + 1
    bad[:, 3] = 1000
    with pytest.raises(FloatingPointError):
        model(bad)
    with pytest.raises(RuntimeError, match="before"):
        model.compute_backward(np.ones_like(y))
    fresh = wrap(FailsAtStep(3, 2, rng=0))
    same(backward(model, model(x)), backward(fresh, fresh(x)))


# --- parts exchanged between steps ---

EXCHANGES = {
    "part of a Residual": lambda model: setattr(model[1], "f", Linear(3, 3, rng=7)),
    "item of an inner list": lambda model: model[2].functions.__setitem__(0, Linear(3, 3, rng=7)),
    "appended to an inner list": lambda model: model[2].functions.append(Linear(3, 3, rng=7)),
    "branch": lambda model: model[3].functions.__setitem__(1, Linear(3, 3, rng=7)),
    "in a user's dict": lambda model: model[4].parts.__setitem__("f", Linear(3, 3, rng=7)),
    "part of a part of a part": lambda model: setattr(model[5][0][0], "f", Linear(3, 3, rng=7)),
    "cell": lambda model: setattr(model[6].cell, "inner", Linear(3, 3, rng=7)),
}


class Inner(Function):
    """A user's cell around a layer: h_t = inner(x_t) + h_(t-1)."""

    def __init__(self):
        self.inner = Linear(3, 3, rng=5)

    def init_state(self, batch):
        return np.zeros((batch, 3))

    def compute_forward(self, x_t, state):
        h = self.inner(x_t) + state
        return h, h.copy()

    def compute_backward(self, dObj_dOut_t, dObj_dState):
        d = dObj_dOut_t + dObj_dState
        return self.inner.compute_backward(d), d


@pytest.mark.parametrize("exchange_part", EXCHANGES.values(), ids=EXCHANGES)
def test_a_part_of_a_part_exchanged_between_steps_is_trained(exchange_part):
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 3))
    parts = [
        Linear(3, 3, rng=0),
        Residual(Linear(3, 3, rng=1)),
        Sequential([Linear(3, 3, rng=2), Tanh()]),
        Add([Linear(3, 3, rng=3), Linear(3, 3, rng=4)]),
        Composite(Linear(3, 3, rng=6)),
        Sequential([Sequential([Residual(Linear(3, 3, rng=8))])]),
        Unrolled(Inner()),
    ]
    model, loss = Sequential(parts), MeanSquaredError()
    optimizer = SGD(model, lr=1e-3)

    def step(optimizer, model):
        optimizer.zero_grad()
        loss(model(x), target)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()

    step(optimizer, model)
    exchange_part(model)
    twin = copy.deepcopy(model)
    twin_optimizer = SGD(twin, lr=1e-3)
    for _ in range(2):
        step(optimizer, model)
        step(twin_optimizer, twin)
    for (key, got), wanted in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14, err_msg=key)


@dataclasses.dataclass
class Gain(Function):
    """A dataclass: two of them are equal as soon as their fields are."""

    n: int = 3

    def __post_init__(self):
        self.k, self.grad_k = np.ones(self.n), np.zeros(self.n)

    def compute_forward(self, x):
        self.x = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.x).sum(axis=0)
        return self.k * dObj_dOut


class Untold(Gain):
    """Of which nobody can tell whether two are equal."""

    def __eq__(self, other):
        return np.array([True, False])

    __hash__ = None


def in_a_list(model, new):
    model.functions[1] = new


def in_a_branch(model, new):
    model[2].functions[0] = new


def by_item(model, new):
    model[1] = new


@pytest.mark.parametrize("make_part", [Gain, Untold])
@pytest.mark.parametrize("put", [in_a_list, in_a_branch, by_item])
@pytest.mark.parametrize("how", ["four lines", "TrainStep"])
def test_a_part_exchanged_for_an_equal_one_is_trained(make_part, put, how):
    x, y = np.random.default_rng(0).normal(size=(2, 5, 3))
    model, loss = Sequential([Linear(3, 3, rng=0), make_part(), Add([make_part(), Tanh()])]), MeanSquaredError()
    optimizer = SGD(model, lr=0.1)
    train = pk.TrainStep(model, loss, optimizer)

    def step():
        if how == "TrainStep":
            return train(x, y)
        optimizer.zero_grad()
        objective = loss(model(x), y)
        model.accumulate_grads(loss.compute_backward())
        return optimizer.step() or objective

    step()
    predict(model, x)
    new = make_part()
    put(model, new)
    for _ in range(2):
        step()
    assert (new.k != 1).all()
    np.testing.assert_array_equal(model(x), predict(model, x))


# --- copies in the middle of a step ---


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "pickle"])
@each_function
def test_a_copy_between_forward_and_backward(example, x, duplicate):
    """The original goes on; the copy remembers no forward."""
    function = make(example)
    y = forward(function, x)
    twin = duplicate(function)
    with pytest.raises(RuntimeError, match="needs a compute_forward before it"):
        twin.compute_backward(*arguments(upstream(y)))
    twin_y = forward(twin, other(x))
    twin.compute_backward(*arguments(upstream(twin_y)))
    same(backward(function, y), expected(example, x))
    same(backward(twin, forward(twin, x)), expected(example, x))


# --- state that does not fit ---


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 2.5, "3", 1j, [1, 2]])
def test_a_state_that_does_not_fit_changes_nothing(value):
    model = Sequential([Linear(3, 2, rng=0), BatchNorm(2), Linear(2, 2, rng=1)])
    model(np.random.default_rng(0).normal(size=(4, 3)))
    before = model.state_dict()
    state = {key: array + 1 for key, array in before.items()} | {"1.num_batches_tracked": value}
    with pytest.raises(ValueError, match=r"changed nothing: 1\.num_batches_tracked has "):
        model.load_state_dict(state)
    assert list(before) == list(model.state_dict())
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


# --- other layouts in memory ---


def test_layers_in_c_order_compute_and_train_the_same():
    """As a user's code or a file may leave them."""
    x, target = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])
    models = [Sequential([Linear(3, 4, rng=0), Tanh(), Linear(4, 2, rng=1)]) for _ in range(2)]
    for layer in (models[1][0], models[1][2]):
        for name in ("weight", "grad_weight"):
            vars(layer)[name] = np.ascontiguousarray(vars(layer)[name])
    assert models[1][0].weight.flags.c_contiguous
    loss = CrossEntropy()
    for model in models:
        optimizer = SGD(model, lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(x), target)
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()
    for duplicate in (copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))):
        models.append(duplicate(models[1]))
    for model in models[1:]:
        np.testing.assert_allclose(model(x), models[0](x), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(predict(model, x), models[0](x), rtol=1e-12, atol=1e-14)


# --- a user's Function with a `_cache` of its own ---


class OwnCache(Scale):
    """Keeps what backward needs in a dict that is made once, under the name that the library uses too."""

    def __init__(self):
        super().__init__()
        self._cache = {}

    def compute_forward(self, x):
        self._cache["x"] = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self._cache["x"]).sum()
        return self.k * dObj_dOut


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, copy.copy, lambda f: pickle.loads(pickle.dumps(f)), lambda f: f.shared_copy()],
    ids=["deepcopy", "copy", "pickle", "shared_copy"],
)
def test_a_users_own_cache_is_in_copies(duplicate):
    x = np.random.default_rng(0).normal(size=(4, 3))
    model = duplicate(Sequential([Skip(OwnCache()), OwnCache()]))
    y = model(x)
    assert y.shape == x.shape
    model.compute_backward(np.ones_like(y))
    assert model[1].grad_k.any()


@pytest.mark.parametrize("container", [Add, Multiply, Concatenate])
def test_the_same_branch_twice_is_refused_with_the_remedy(container):
    layer = Linear(2, 2)
    with pytest.raises(ValueError, match=r"use shared_copy\(\)"):
        container([layer, layer])


# --- whose backward: a subclass, or an object, that has one of its own ---


class HalvedStack(Sequential):
    def compute_backward(self, dObj_dOut):
        return super().compute_backward(0.5 * dObj_dOut)


class HalvedSum(Add):
    def compute_backward(self, dObj_dOut):
        return super().compute_backward(0.5 * dObj_dOut)


class HalvedResidual(Residual):
    def compute_backward(self, dObj_dOut):
        return super().compute_backward(0.5 * dObj_dOut)


class HalvedDirections(Bidirectional):
    def compute_backward(self, dObj_dOut, dObj_dState=None):
        return super().compute_backward(0.5 * dObj_dOut, dObj_dState)


class HalvedLinear(Linear):
    def compute_backward(self, dObj_dOut):
        return super().compute_backward(0.5 * dObj_dOut)


class HalvedConv(Conv1d):
    def compute_backward(self, dObj_dOut):
        return super().compute_backward(0.5 * dObj_dOut)


HALVED = {
    "Sequential": lambda: HalvedStack([Linear(3, 3, rng=0), Tanh(), Linear(3, 2, rng=1)]),
    "Add": lambda: HalvedSum([Linear(3, 2, rng=0), Linear(3, 2, rng=1)]),
    "Residual": lambda: HalvedResidual(Linear(3, 3, rng=0)),
    "Bidirectional": lambda: HalvedDirections(RNNCell(3, 2, rng=0), GRUCell(3, 2, rng=1)),
    "Linear": lambda: HalvedLinear(3, 2, rng=0),
    "Conv1d": lambda: HalvedConv(4, 4, 1, rng=0),
}


def wrapped_backward(function):
    """The same with the wrapper on the object, as people do to look at gradients."""
    method = function.compute_backward
    function.compute_backward = lambda d, *state: method(0.5 * d, *state)
    return function


PLAIN = {
    "Sequential": lambda: Sequential([Linear(3, 3, rng=0), Tanh(), Linear(3, 2, rng=1)]),
    "Add": lambda: Add([Linear(3, 2, rng=0), Linear(3, 2, rng=1)]),
    "Residual": lambda: Residual(Linear(3, 3, rng=0)),
    "Bidirectional": lambda: Bidirectional(RNNCell(3, 2, rng=0), GRUCell(3, 2, rng=1)),
    "Linear": lambda: Linear(3, 2, rng=0),
    "Conv1d": lambda: Conv1d(4, 4, 1, rng=0),
}


@pytest.mark.parametrize("name", HALVED)
@pytest.mark.parametrize("how", ["subclass", "object"])
def test_a_backward_of_ones_own_counts_in_accumulate_grads(name, how):
    """Where the gradient of the input is not needed, it is called all the same, inside and outside of a stack."""
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    for wrap in (lambda f: f, lambda f: Sequential([f]), lambda f: Sequential([Tanh(), Residual(Sequential([f, Last()]))])):
        grads = []
        for method in ("compute_backward", "accumulate_grads"):
            function = HALVED[name]() if how == "subclass" else wrapped_backward(PLAIN[name]())
            model = wrap(function)
            y = model(x)
            getattr(model, method)(np.cos(y))
            grads.append([g.copy() for g in function.get_params_and_grads()[1]])
        for a, b in zip(*grads, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-14)


class Last(Function):
    """From any number of features to three."""

    def compute_forward(self, x):
        self.shape = x.shape
        return np.repeat(x.sum(-1, keepdims=True), 3, -1)

    def compute_backward(self, dObj_dOut):
        return np.broadcast_to(dObj_dOut.sum(-1, keepdims=True), self.shape).copy()


# --- Functions of users between the containers ---


class HandsOn(Function):
    """Returns the very array that it was given, as a layer that does nothing in evaluation does."""

    def compute_forward(self, x):
        return x

    def compute_backward(self, dObj_dOut):
        return dObj_dOut


@pytest.mark.parametrize("container", [Multiply, Add, Concatenate, Sequential])
def test_a_branch_that_hands_its_input_on_may_have_it_overwritten(container):
    results = []
    for write in (False, True):
        model = container([HandsOn(), Linear(3, 3, rng=0)])
        x = np.random.default_rng(0).normal(size=(4, 3))
        y = model(x)
        d = np.cos(y)
        if write:
            x[...] = 1e6
            y[...] = 1e6
        results.append([model.compute_backward(d), *(g.copy() for g in model.get_params_and_grads()[1])])
    same(*results)


@pytest.mark.parametrize("wrap", [lambda f: Sequential([f]), lambda f: Residual(f), lambda f: Add([f, HandsOn()])])
def test_a_layer_inside_a_users_function_called_alone_is_refused(wrap):
    layer = Linear(3, 3, rng=0)
    model = wrap(Composite(layer))
    y = model(np.ones((4, 3)))
    layer(np.full((4, 3), 7.0))
    with pytest.raises(RuntimeError, match="was called by itself since its forward"):
        model.compute_backward(np.ones_like(y))
