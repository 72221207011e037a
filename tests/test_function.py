"""What the base class finds among attributes, and what it makes of it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from participant import Branches, Listed, Scale, Skip

import pancake as pk
from pancake import BatchNorm, Function, Identity, Linear, Mul, ReLU, Sequential, Sigmoid, Square, Tanh, mlp


class Everything(Function):
    """Parts and parameters in every place where the base class looks, and things it must leave alone."""

    def __init__(self):
        self.z, self.grad_z = np.ones(2), np.zeros(2)
        self.list = [Mul(k=1.0), [Mul(k=2.0)]]
        self.name = "everything"
        self.constant = np.arange(3.0)
        self.tuple = (Mul(k=3.0), "a", None)
        self.a, self.grad_a = np.ones(1), np.zeros(1)
        self.dict = {"x": Mul(k=4.0), "y": {"deep": Mul(k=5.0)}, 7: 1}
        self.part = Mul(k=6.0)
        self.grad_lonely = np.ones(3)
        self.absent = self.grad_absent = None


def values(function):
    return [p.copy() for p in function.get_params_and_grads()[0]]


def test_parameters_come_in_order_of_assignment():
    f = Everything()
    params, grads = f.get_params_and_grads()
    assert [p.item(0) for p in params] == [1, 1, 2, 3, 1, 4, 5, 6]
    assert params[0] is f.z
    assert params[4] is f.a
    assert grads[0] is f.grad_z
    assert grads[2] is f.list[1][0].grad_k
    assert f.num_parameters == 9
    names = ["z", "list.0.k", "list.1.0.k", "tuple.0.k", "a", "dict.x.k", "dict.y.deep.k", "part.k"]
    assert list(f.state_dict()) == names


def test_walk_yields_every_part_once():
    f = Everything()
    f.again = f.part
    parts = list(f.walk())
    assert parts[0] is f
    assert len(parts) == 7
    assert len({id(part) for part in parts}) == 7


def test_train_and_eval_reach_every_part():
    f = Everything()
    assert f.training
    assert f.eval() is f
    assert not any(part.training for part in f.walk())
    assert f.train() is f
    assert all(part.training is True for part in f.walk())
    f.train(0)
    assert all(part.training is False for part in f.walk())


def test_call_is_forward():
    f = Scale(3.0)
    assert f(2.0) == f.compute_forward(2.0) == 6.0


def test_the_same_objects_at_every_call():
    f = Sequential([Everything(), Listed(), Linear(2, 2)])
    first, second = f.get_params_and_grads(), f.get_params_and_grads()
    for a, b in zip(first, second, strict=True):
        assert a is not b  # a caller may change its list
        assert all(x is y for x, y in zip(a, b, strict=True))


def test_a_shared_array_is_listed_once():
    a, b = Scale(), Scale()
    b.k, b.grad_k = a.k, a.grad_k
    assert len(Sequential([a, b]).get_params_and_grads()[0]) == 1
    equal = Sequential([Scale(), Scale()])  # equal in value, not shared
    assert len(equal.get_params_and_grads()[0]) == 2


# --- assignment ---


def test_assigning_to_a_parameter_copies_into_it():
    layer = Linear(2, 3, rng=0)
    weight, ours = layer.weight, np.arange(6.0).reshape(3, 2)
    layer.weight = ours
    assert layer.weight is weight
    np.testing.assert_array_equal(weight, ours)
    ours[0] = 9
    assert weight[0, 0] == 0
    layer.weight -= 1
    assert layer.weight is weight
    assert weight[0, 0] == -1
    layer.bias = [1, 2, 3]
    np.testing.assert_array_equal(layer.bias, [1.0, 2.0, 3.0])
    layer.bias = 0.5
    np.testing.assert_array_equal(layer.bias, [0.5, 0.5, 0.5])
    layer.grad_bias = np.ones(3)
    assert layer.get_params_and_grads()[1][1] is layer.grad_bias


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"Linear\(2, 3\): expected weight of shape \(3, 2\), got \(2, 3\)"),
        (np.zeros(2), ValueError, r"expected weight of shape \(3, 2\), got \(2,\)"),
        (np.zeros((1, 3, 2)), ValueError, r"got \(1, 3, 2\)"),
        ("weight", TypeError, "expected weight to be real numbers, got str 'weight'"),
        (None, TypeError, "expected weight to be real numbers, got NoneType"),
        (np.zeros((3, 2), complex), TypeError, "got an array of dtype complex128"),
        ([[1, 2], [3]], ValueError, "rows of different lengths"),
    ],
)
def test_assigning_what_does_not_fit_changes_nothing(value, error, message):
    layer = Linear(2, 3, rng=0)
    before = layer.weight.copy()
    with pytest.raises(error, match=message):
        layer.weight = value
    np.testing.assert_array_equal(layer.weight, before)


def test_assigning_to_a_parameter_that_is_not_there():
    layer = Linear(2, 3, bias=False)
    with pytest.raises(ValueError, match=r"Linear\(2, 3, bias=False\) has no bias to assign to"):
        layer.bias = np.zeros(3)
    assert layer.bias is None


# --- astype ---


class Counting(Function):
    """A Function with a buffer."""

    buffers = ("count", "numbers")

    def __init__(self):
        self.count = np.zeros(2)
        self.numbers = np.arange(2)
        self.k, self.grad_k = np.ones(2), np.zeros(2)


def test_astype_converts_parameters_gradients_and_buffers_and_drops_caches():
    model = Sequential([Linear(2, 2, rng=0), Counting(), ReLU()])
    before = values(model)
    model[0](np.ones((3, 2)))
    model[0].grad_weight.fill(0.5)
    assert model.astype("float32") is model
    for p, q in zip(model.get_params_and_grads()[0], before, strict=True):
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p, q.astype(np.float32))
    assert (model[0].grad_weight == 0.5).all()
    assert model[1].count.dtype == np.float32
    assert model[1].numbers.dtype == np.arange(2).dtype
    with pytest.raises(RuntimeError, match="compute_backward needs a compute_forward before it"):
        model[0].compute_backward(np.ones((3, 2), np.float32))
    assert model[0](np.ones((3, 2))).dtype == np.float32


@pytest.mark.parametrize("dtype", [int, complex, "no such dtype", object, bool, "U3", 3])
def test_astype_of_what_is_no_floating_dtype_changes_nothing(dtype):
    model = mlp([2, 3, 1], rng=0)
    arrays = model.get_params_and_grads()[0]
    with pytest.raises(TypeError, match=r"^Sequential: expected a floating dtype such as np.float32, got "):
        model.astype(dtype)
    assert all(p is q for p, q in zip(model.get_params_and_grads()[0], arrays, strict=True))
    with pytest.raises(TypeError, match=r"^Linear: expected a floating dtype"):
        Linear(2, 2, dtype=dtype)


def test_astype_keeps_what_is_shared():
    layer = Linear(2, 2, rng=0)
    twin = layer.shared_copy()
    Sequential([layer, twin]).astype(np.float32)
    assert layer.weight is twin.weight
    assert layer.grad_bias is twin.grad_bias


def test_astype_keeps_the_running_statistics_that_are_shared():
    norm = BatchNorm(3)
    model = Sequential([norm, Linear(3, 3, rng=0), norm.shared_copy()]).astype(np.float32)
    model(np.random.default_rng(0).normal(size=(8, 3)))
    assert model[2].running_mean is norm.running_mean
    assert model[2].running_var is norm.running_var
    assert norm.num_batches_tracked == 2


# --- state_dict ---


def test_state_dict_holds_copies():
    model = mlp([2, 3, 1], rng=0)
    state = model.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    state["0.weight"].fill(7)
    assert not (model[0].weight == 7).any()


def test_load_state_dict_copies_in_place_and_casts():
    model, other = Sequential([mlp([2, 3, 1], rng=0), Counting()]), Sequential([mlp([2, 3, 1], rng=1), Counting()])
    other[1].count += 5
    model.astype(np.float32)
    arrays = model.get_params_and_grads()[0]
    state = other.state_dict()
    assert {"1.k", "1.count", "1.numbers"} < state.keys()
    model.load_state_dict(state)
    assert all(p is q for p, q in zip(model.get_params_and_grads()[0], arrays, strict=True))
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, other.state_dict()[key].astype(value.dtype))
    state["0.0.weight"].fill(7)
    assert not (model[0][0].weight == 7).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("2.bias"), r"missing 2\.bias"),
        (lambda s: s.update({"2.bias": np.ma.masked_array([1.0], [True])}), r"2\.bias has a mask, and what is behind it is no"),
        (lambda s: s.update(k=1), "unexpected k"),
        (lambda s: s.update({"0.bias": np.zeros(2)}), r"0\.bias has shape \(2,\), expected \(3,\)"),
        (lambda s: s.update({"0.bias": 1.0}), r"0\.bias has shape \(\), expected \(3,\)"),
        (lambda s: s.update({"2.weight": np.zeros((3, 1))}), r"2\.weight has shape \(3, 1\), expected \(1, 3\)"),
        (lambda s: s.update({"2.bias": ["a"]}), r"2\.bias has dtype <U1, expected real numbers"),
        (lambda s: s.update({"2.bias": [1j]}), r"2\.bias has dtype complex128"),
        (lambda s: s.update({"2.bias": [None]}), r"2\.bias has dtype object"),
        (lambda s: s.update({"2.weight": [[1, 2, 3], [1]]}), r"2\.weight has rows of different lengths"),
        (lambda s: (s.pop("0.weight"), s.update(b=1)), r"missing 0\.weight; unexpected b"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    model = mlp([2, 3, 1], rng=0)
    before = values(model)
    state = mlp([2, 3, 1], rng=1).state_dict()
    change(state)
    with pytest.raises(ValueError, match=rf"^Sequential.load_state_dict changed nothing: .*{message}"):
        model.load_state_dict(state)
    for p, q in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("state", [None, [np.zeros(1)], "state", 3])
def test_a_state_that_is_no_mapping(state):
    with pytest.raises(TypeError, match=rf"Mul.load_state_dict: expected a dict of arrays, got {type(state).__name__}"):
        Mul().load_state_dict(state)


# --- reset_parameters ---


def test_reset_parameters_draws_all_parts_anew_from_one_generator():
    model = Sequential([Skip(mlp([2, 2], rng=0)), Branches(Linear(2, 2, rng=1), {"l": Linear(2, 2, rng=2)})])
    first = values(model)
    model.reset_parameters(5)
    second = values(model)
    model.reset_parameters(np.random.default_rng(5))
    for a, b, c in zip(first, second, values(model), strict=True):
        np.testing.assert_array_equal(b, c)
        assert not np.array_equal(a, b) or not a.any() or a.shape == (1,)
    assert not np.array_equal(model[0].f[0].weight, model[1].a[0].weight)


# --- copies ---

WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda f: pickle.loads(pickle.dumps(f)),
    "old pickle": lambda f: pickle.loads(pickle.dumps(f, 2)),
}
each_way = pytest.mark.parametrize("duplicate", WAYS.values(), ids=WAYS)


@each_way
def test_copies_are_equal_and_independent(duplicate):
    f = Everything()
    f.eval()
    twin = duplicate(f)
    assert list(twin.state_dict()) == list(f.state_dict())
    assert not any(part.training for part in twin.walk())
    assert twin.name == "everything"
    np.testing.assert_array_equal(twin.constant, f.constant)
    originals = {id(a) for arrays in f.get_params_and_grads() for a in arrays} | {id(part) for part in f.walk()}
    for arrays in twin.get_params_and_grads():
        assert not originals & {id(a) for a in arrays}
    assert not originals & {id(part) for part in twin.walk()}
    for p in twin.get_params_and_grads()[0]:
        p += 1
    assert [p.item(0) for p in values(f)] == [1, 1, 2, 3, 1, 4, 5, 6]


@each_way
def test_copies_keep_who_shares_what(duplicate):
    layer, first, second = Linear(2, 2, rng=0), Listed(), Scale()
    second.k, second.grad_k = first.params[1], first.grads[1]
    twin = duplicate(Sequential([layer, layer.shared_copy(), first, second]))
    assert twin[0].weight is twin[1].weight
    assert twin[0].grad_bias is twin[1].grad_bias
    assert twin[2].params[1] is twin[3].k
    assert twin[2].grads[1] is twin[3].grad_k
    assert len(twin.get_params_and_grads()[0]) == 4
    assert twin[0].weight is not layer.weight


class Arrays(NamedTuple):
    weight: Any
    grad: Any


class Named(Function):
    """An attribute, and the same arrays in a tuple that has names, from which they are listed."""

    def __init__(self):
        self.k, self.grad_k = np.ones(1), np.zeros(1)
        self.arrays = Arrays(self.k, self.grad_k)

    def get_params_and_grads(self):
        return [self.arrays.weight], [self.arrays.grad]


@each_way
def test_copies_keep_a_tuple_with_names_and_what_is_in_it(duplicate):
    twin = duplicate(Named())
    assert twin.arrays.weight is twin.k
    assert twin.arrays.grad is twin.grad_k


@each_way
def test_copies_remember_no_forward(duplicate):
    layer = Linear(2, 2, rng=0)
    layer(np.ones((3, 2)))
    with pytest.raises(RuntimeError, match="compute_backward needs a compute_forward before it"):
        duplicate(layer).compute_backward(np.ones((3, 2)))
    assert layer.compute_backward(np.ones((3, 2))).shape == (3, 2)


class Views(Scale):
    """Hands out views that it makes anew at each call."""

    def get_params_and_grads(self):
        return [self.k[:]], [self.grad_k[:]]


class Box:
    """Copies itself through arrays that it makes for the purpose, as objects with a `__reduce__` may."""

    def __init__(self, a):
        self.a = a

    def __reduce__(self):
        return Box, (self.a.copy(),)


def test_arrays_that_live_only_for_a_moment_do_not_confuse_a_deepcopy():
    """deepcopy knows objects by their address, which a new object may have taken over."""
    things = [(Views(float(i)), [Box(np.array([100.0 + i + j])) for j in range(5)]) for i in range(200)]
    for i, (function, boxes) in enumerate(copy.deepcopy(things)):
        assert function.k == i
        assert function.grad_k == 0
        assert [box.a.item() for box in boxes] == [100 + i + j for j in range(5)]


def test_a_shallow_copy_shares_parameters_but_not_the_work_of_forward():
    layer = Linear(2, 3, rng=0)
    x, other = np.ones((4, 2)), np.full((4, 2), 5.0)
    layer(x)
    twin = copy.copy(layer)
    assert twin.weight is layer.weight
    twin(other)
    layer.compute_backward(np.ones((4, 3)))
    np.testing.assert_array_equal(layer.grad_weight, np.full((3, 2), 4.0))
    twin.compute_backward(np.ones((4, 3)))
    np.testing.assert_array_equal(layer.grad_weight, np.full((3, 2), 24.0))


def test_shared_copy_shares_arrays_buffers_and_generators_but_no_cache():
    class Noisy(Counting):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(0)
            self.part = Linear(2, 2, rng=0)
            self.other = [1, 2]

    f = Noisy()
    f.part(np.ones((3, 2)))
    twin = f.shared_copy()
    assert twin.k is f.k
    assert twin.grad_k is f.grad_k
    assert twin.count is f.count
    assert twin.rng is f.rng
    assert twin.part is not f.part
    assert twin.part.weight is f.part.weight
    assert twin.other is not f.other
    with pytest.raises(RuntimeError):
        twin.part.compute_backward(np.ones((3, 2)))


# --- repr ---


@pytest.mark.parametrize(
    "text",
    [
        "Linear(2, 3)",
        "Linear(2, 3, bias=False, init='zeros', dtype=np.float32)",
        "Mul(k=0.5)",
        "Sequential([Linear(2, 3), Sequential([ReLU(), Tanh()]), Sigmoid()])",
        "Sequential([])",
    ],
)
def test_repr_reads_like_the_call(text):
    names = {"Linear": Linear, "Mul": Mul, "Sequential": Sequential, "ReLU": ReLU, "Tanh": Tanh, "Sigmoid": Sigmoid, "np": np}
    assert repr(eval(text, names)) == text


def test_repr_of_the_dtype_follows_astype():
    assert repr(Linear(2, 3).astype(np.float32)) == "Linear(2, 3, dtype=np.float32)"
    assert repr(Linear(2, 3, dtype=np.float32).astype(np.float64)) == "Linear(2, 3)"


def test_repr_of_a_users_function_never_fails():
    class Arrays(Function):
        def __init__(self, k=None, dtype=None, *rest, n=0, **options):
            self.k, self.rest = np.ones(3), rest

    class HalfMade(Function):
        def __init__(self, n):
            raise ValueError(repr(self))

    assert repr(Arrays()) == "Arrays(k=array([1., 1., 1.]), ())"
    with pytest.raises(ValueError, match=r"HalfMade\(\)"):
        HalfMade(3)


# --- where attributes are ---


@pytest.mark.parametrize("base", [Function, Linear, pk.MeanSquaredError])
def test_attributes_that_nothing_finds_are_refused(base):
    with pytest.raises(TypeError, match=r"^Fast: expected no __slots__, got k, grad_k, which copies, .* would not find; leave"):
        type("Fast", (base,), {"__slots__": ("k", "grad_k")})
    with pytest.raises(TypeError, match=r"^Fast: expected no __slots__, got k, which"):
        type("Fast", (base,), {"__slots__": "k"})
    with pytest.raises(TypeError, match=r"^Sized: expected no __slots__, got n, which"):
        dataclasses.dataclass(slots=True)(type("Sized", (base,), {"__annotations__": {"n": int}}))
    type("Plain", (base,), {"__slots__": ()})


# --- caches ---


class Remembers(Function):
    """With a default for its cache, as classes often have."""

    _cache = None

    def __init__(self):
        self.k, self.grad_k = np.ones(1), np.zeros(1)

    def compute_forward(self, x):
        self._cache = x
        return self.k * x

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self._cache).sum()
        return dObj_dOut * self.k


def test_a_cache_is_in_no_copy_also_if_its_class_has_a_default_for_it():
    function = Remembers()
    assert function._cache is None
    function(np.ones(1000))
    for other in (copy.deepcopy(function), copy.copy(function), pickle.loads(pickle.dumps(function)), function.shared_copy()):
        assert other._cache is None
    assert list(vars(function)) == ["k", "grad_k"]
    assert function._cache is not None


@pytest.mark.parametrize("make", [ReLU, Square, Identity])
def test_arguments_are_refused_where_there_are_none(make):
    assert repr(make()) == f"{make.__name__}()"
    with pytest.raises(TypeError, match=f"{make.__name__} takes no arguments, got 0.1"):
        make(0.1)
    with pytest.raises(TypeError, match="takes no arguments"):
        make(negative_slope=0.1)


class Fitted:
    """What looks like an estimator of scikit-learn."""

    model_ = pk.Linear(2, 1, rng=0)


class Alike:
    """What has the methods of a Function, and is none."""

    def compute_forward(self, x):
        return x

    compute_backward = compute_forward


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (Fitted(), r"pass its model_$"),
        (pk.Linear, r"make one first: Linear\(\.\.\.\)$"),
        (Alike(), r"derive the class from pancake\.Function: class Alike\(pancake\.Function\)$"),
        (pk.MeanSquaredError(), r"got MeanSquaredError\(\)$"),
        (np.tanh, r"pancake's word for it is Tanh\(\)$"),
        ("relu", r"got 'relu'; pancake's word for it is ReLU\(\)$"),
    ],
    ids=["estimator", "class", "alike", "loss", "numpy", "text"],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda model: pk.predict(model, [[1.0, 2.0]]),
        lambda model: pk.save("unwritten.npz", model),
        lambda model: pk.explain(model, pk.MeanSquaredError(), [[1.0, 2.0]], [[1.0]]),
        lambda model: pk.gradient_norms(model),
        lambda model: pk.export.to_c(model, "unwritten.h", x=[[1.0, 2.0]]),
        lambda model: pk.Sequential([model]),
        lambda model: pk.Residual(model),
        lambda model: pk.Unrolled(model),
        lambda model: pk.Adam(model),
        lambda model: pk.clip_grad_norm(model, 1.0),
    ],
    ids=["predict", "save", "explain", "gradient_norms", "to_c", "Sequential", "Residual", "Unrolled", "Adam", "clip_grad_norm"],
)
def test_what_is_no_function_is_refused_with_the_way_out(call, model, hint):
    with pytest.raises(TypeError, match=f"^[A-Za-z_]+: expected a Function.*{hint}"):
        call(model)
    assert not Path("unwritten.npz").exists()
    assert not Path("unwritten.h").exists()


def test_methods_that_are_missing_or_called_as_in_other_libraries():
    class Nothing(Function):
        pass

    class Foreign(Function):
        def forward(self, x):
            return x

        def backward(self, dObj_dOut):
            return dObj_dOut

    for method in ("compute_forward", "compute_backward"):
        with pytest.raises(NotImplementedError, match=f"^Nothing does not define {method}$"):
            getattr(Nothing(), method)(1.0)
        other = method.removeprefix("compute_")
        with pytest.raises(NotImplementedError, match=f"^Foreign does not define {method}; rename its {other} to {method}$"):
            getattr(Foreign(), method)(1.0)


def test_a_method_that_forgets_its_return_is_hinted_at():
    class Forgetful(Scale):
        def compute_backward(self, dObj_dOut):
            super().compute_backward(dObj_dOut)

    stack = Sequential([Linear(2, 2, rng=0), Forgetful(2)])
    stack(np.ones((3, 2)))
    with pytest.raises(TypeError, match="expected dObj_dOut to be real numbers, got NoneType None; is a `return` missing"):
        stack.compute_backward(np.ones((3, 2)))


ONES = np.ones(2)


def test_an_array_as_default_is_shown():
    class Shifted(Function):
        def __init__(self, by=ONES, parts=()):
            self.by, self.parts = by, parts

        def compute_forward(self, x):
            return x + self.by

    assert repr(Shifted()).endswith("Shifted(by=array([1., 1.]), ())")
    with pytest.raises(ValueError, match=r"Shifted\(by=array"):
        Shifted()._floats([], None)


class Negates:
    """A mixin, which is no Function itself."""

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(-dObj_dOut)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (Linear, (4, 2)),
        (pk.Conv1d, (3, 2, 1)),
        (Sequential, ([Linear(4, 2, rng=0)],)),
        (pk.Add, ([Linear(4, 2, rng=0)],)),
        (pk.Residual, (Linear(4, 4, rng=0),)),
    ],
)
def test_the_backward_of_a_mixin_is_not_bypassed(cls, arguments):
    """The layers have an `accumulate_grads` of their own."""
    x, options = np.random.default_rng(0).normal(size=(2, 3, 4)), {"rng": 0} if cls in (Linear, pk.Conv1d) else {}
    gradients = []
    for made in (cls, type("Own", (Negates, cls), {})):
        function = made(*copy.deepcopy(arguments), **options)
        y = function(x)
        function.accumulate_grads(np.ones_like(y))
        gradients.append(function.get_params_and_grads()[1])
    for plain, negated in zip(*gradients, strict=True):
        np.testing.assert_array_equal(negated, -plain)
