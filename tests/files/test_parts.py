"""What a model is made of comes back as it was: modes, parts, shared arrays, layouts; and nothing else can be put into it."""

from __future__ import annotations

import functools
import json
import re

import numpy as np
import pytest
from participant import Scale
from test_serialization import assert_same, changed, every_suffix, first, refused, round_trip, set_in

import pancake as pk
from pancake.files import description, reconstruction


def blocks():
    return pk.Sequential(
        [
            pk.Embedding(5, 4, rng=0),
            pk.Residual(pk.Sequential([pk.Linear(4, 4, rng=0), pk.BatchNorm(4)])),
            pk.Bidirectional(pk.LSTMCell(4, 3, rng=0), pk.GRUCell(4, 3, rng=1)),
            Scale(),
            pk.Dropout(0.5, rng=0),
        ]
    )


def modes(model):
    return [(type(part).__name__, part.training, getattr(part, "frozen", False)) for part in model.walk()]


# --- frozen and in evaluation ---


@every_suffix
@pytest.mark.parametrize("seed", range(5))
def test_what_is_frozen_or_in_evaluation_mode_stays_so(tmp_path, suffix, seed):
    """Also parts of parts, one by one, and those that a constructor makes, such as the two halves of Bidirectional."""
    rng, model = np.random.default_rng(seed), blocks()
    for part in model.walk():
        if rng.random() < 0.4:
            part.training = False
        if rng.random() < 0.4:
            part.frozen = True
    again = round_trip(tmp_path, model, suffix=suffix, Scale=Scale)
    assert modes(again) == modes(model)
    assert_same(again, model)


@every_suffix
def test_the_mode_of_parts_that_older_files_do_not_describe(tmp_path, suffix):
    """Files of version 1 had nothing of the parts that a constructor makes; they are as what they are parts of."""
    model = pk.Bidirectional(pk.RNNCell(2, 2, rng=0), pk.RNNCell(2, 2, rng=1)).eval()
    path = tmp_path / f"model.{suffix}"
    pk.save(path, model)

    def older(whole):
        entry = whole["model"]["function"]
        halves = [half["function"]["arguments"]["cell"] for half in entry.pop("parts").values()]
        entry["arguments"].update(zip(("forward", "backward"), halves, strict=True))

    changed(path, older)
    again = pk.load(path)
    assert modes(again) == modes(model)
    assert_same(again, model)


# --- parts that a constructor makes ---


class Projected(pk.Function):
    """A layer that makes a part with parameters of its own."""

    def __init__(self, n, *, rng=None, dtype=np.float64):
        self.n = n
        self.make_parameters(dtype, weight=(n, n))
        self.reset_parameters(rng)
        self.out = pk.Linear(n, n, rng=rng, dtype=dtype)

    def reset_parameters(self, rng=None):
        vars(self)["weight"][...] = np.random.default_rng(rng).normal(size=(self.n, self.n))

    def compute_forward(self, x):
        return self.out(x @ self.weight)


class Listing(Projected):
    """The same, in a list."""

    def __init__(self, n, *, rng=None, dtype=np.float64):
        super().__init__(n, rng=rng, dtype=dtype)
        self.outs = [vars(self).pop("out")]


@pytest.fixture
def of_the_library(monkeypatch):
    """Let these classes be library classes."""

    def registry(base):
        return {**description.registry(base), "Projected": Projected, "Listing": Listing}

    monkeypatch.setattr(reconstruction, "registry", registry)
    monkeypatch.setattr(description, "registry", functools.partial(_with, description.registry))


def _with(registry, base):
    return {**registry(base), "Projected": Projected, "Listing": Listing}


@every_suffix
@pytest.mark.usefixtures("of_the_library")
def test_parts_that_a_constructor_makes_come_back(tmp_path, suffix):
    model = Projected(3, rng=0)
    model.out.bias = [1, 2, 3]
    again = round_trip(tmp_path, pk.Sequential([model]), suffix=suffix)
    assert_same(again, pk.Sequential([model]))
    x = np.eye(3)
    np.testing.assert_array_equal(again(x), model(x))
    with pytest.raises(TypeError, match="expected Listing to keep the parts that it makes in attributes, got outs"):
        pk.save(tmp_path / "model.npz", Listing(3, rng=0))


@pytest.mark.usefixtures("of_the_library")
@pytest.mark.parametrize("change", [{"out": 3}, {"out": {"function": {"class": "Tanh"}}}, {"weight": None}, {"more": None}])
def test_parts_that_do_not_fit(tmp_path, change):
    pk.save(tmp_path / "model.npz", Projected(3, rng=0))

    def exchange(whole):
        for name, part in change.items():
            if isinstance(part, dict):
                part = {"function": {**part["function"], "arguments": {}, "parameters": {}, "buffers": {}}}
            whole["model"]["function"]["parts"][name] = part

    refused(changed(tmp_path / "model.npz", exchange), "has no such part|it has no such part")


def test_the_arrays_of_both_directions_have_the_names_of_state_dict(tmp_path):
    model = blocks()
    pk.save(tmp_path / "model.npz", model)
    with np.load(tmp_path / "model.npz") as file:
        for key, array in model.state_dict().items():
            np.testing.assert_array_equal(file[key], array)


# --- shared arrays ---


class Alias(pk.Function):
    """Has the weight of a layer as a plain attribute, before the layer."""

    def __init__(self, layer):
        self.alias = layer.weight
        self.layer = layer
        self.gradient = layer.grad_weight

    def compute_forward(self, x):
        return self.layer(x)


@every_suffix
def test_a_weight_that_is_a_plain_attribute_of_another_function(tmp_path, suffix):
    again = round_trip(tmp_path, Alias(pk.Linear(3, 2, rng=0)), suffix=suffix, Alias=Alias)
    assert again.alias is again.layer.weight
    assert again.gradient is again.layer.grad_weight


def test_constants_that_are_shared(tmp_path):
    one, two, target = pk.Subtract(0.0), pk.Subtract(0.0), np.arange(3)
    one.target = two.target = target
    again = round_trip(tmp_path, pk.Sequential([one, two]))
    assert again[0].target is again[1].target
    assert again[0].target.dtype == target.dtype


# --- layouts in memory ---

LAYERS = [
    lambda: pk.Linear(4, 3, rng=0),
    lambda: pk.MatMul(4, 3, rng=0),
    lambda: pk.Embedding(4, 3, rng=0),
    lambda: pk.Unrolled(pk.LSTMCell(4, 3, rng=0)),
    lambda: pk.Unrolled(pk.GRUCell(4, 3, rng=0)),
    lambda: pk.Unrolled(pk.RNNCell(4, 3, rng=0)),
]


@every_suffix
@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("listed", ["none", "all"])
def test_weights_lie_in_memory_as_the_layer_wants_them(tmp_path, suffix, make, listed):
    """Whatever a file says about it."""
    model = make()
    path = tmp_path / f"model.{suffix}"
    pk.save(path, model)
    names = list(model.state_dict())
    again = pk.load(changed(path, lambda whole: set_in(whole, "fortran", names if listed == "all" else [])))
    for old, new in zip(model.get_params_and_grads(), again.get_params_and_grads(), strict=True):
        assert [array.strides for array in new] == [array.strides for array in old]
    x = np.random.default_rng(0).normal(size=(2, 5, 4)) if not isinstance(model, pk.Embedding) else np.array([[3, 0]])
    np.testing.assert_array_equal(again(x), model(x))
    np.testing.assert_allclose(again(x), pk.predict(again, x), rtol=1e-12)


def test_what_is_loaded_is_one_long_vector(tmp_path):
    model = pk.mlp([4, 3, 3, 2], rng=0)
    _, optimizer = round_trip(tmp_path, model, pk.SGD(model))
    assert len(optimizer._grads) == 1


def test_no_random_number_is_drawn(tmp_path, monkeypatch):
    pk.save(tmp_path / "model.npz", blocks())

    def refuse(rng=None):
        assert isinstance(rng, np.random.Generator), "a generator has been made"
        return rng

    monkeypatch.setattr(np.random, "default_rng", refuse)
    pk.load(tmp_path / "model.npz", {"Scale": Scale})


# --- methods ---


class WithMethods(pk.Function):
    data = None
    activation = np.tanh  # a function, but no method

    def compute_forward(self, x):
        return x

    def method(self):
        return "mine"

    @classmethod
    def of_class(cls):
        return "mine"

    @staticmethod
    def static():
        return "mine"

    partial = functools.partialmethod(method)

    @functools.cached_property
    def kept(self):
        return 3

    @property
    def read(self):
        return 4


METHODS = ["method", "of_class", "static", "partial", "compute_forward", "walk", "__call__", "__setstate__", "__repr__", "__eq__"]
VALUES = [
    3,
    None,
    {"callable": "zeros"},
    {"callable": "Tanh"},
    {"function": {"custom": "WithMethods", "state": {}, "parameters": {}}},
]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", VALUES)
def test_nothing_in_a_file_takes_the_place_of_a_method(tmp_path, name, value):
    path = tmp_path / "model.npz"
    pk.save(path, WithMethods())
    change = lambda whole: set_in(whole["model"]["function"]["state"], name, value)  # noqa: E731
    refused(changed(path, change), f"it would hide the method {name} of WithMethods", WithMethods=WithMethods)


def test_save_refuses_what_load_would_refuse(tmp_path):
    model = pk.Sequential([WithMethods()])
    model[0].method = pk.Tanh
    with pytest.raises(TypeError, match=r"save: 0\.method hides a method of WithMethods, .* give it another name"):
        pk.save(tmp_path / "model.npz", model)


def test_attributes_that_take_the_place_of_other_things(tmp_path):
    model = WithMethods()
    assert model.kept == 3
    model.data, model.activation = [1], np.sin
    again = round_trip(tmp_path, model, WithMethods=WithMethods, sin=np.sin)
    assert (again.data, again.activation, vars(again)["kept"]) == ([1], np.sin, 3)


# --- other things ---


@pytest.mark.parametrize("value", [slice(None), slice(1, 5), slice(-1, None, -2), slice(0, np.int64(3)), (slice(1, 2), 0)])
def test_slices_come_back(tmp_path, value):
    model = Scale()
    model.index = value
    assert round_trip(tmp_path, model, Scale=Scale).index == value
    model.index = slice("a", "b")
    with pytest.raises(TypeError, match=r"index is slice.*which no file can hold"):
        pk.save(tmp_path / "model.npz", model)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("make_array", [lambda: np.ma.masked_greater([1.0, 2.0], 1.5), lambda: np.matrix([[1.0, 2.0]])])
def test_arrays_that_would_come_back_as_others_are_refused(tmp_path, make_array):
    model = Scale()
    model.table = make_array()
    with pytest.raises(TypeError, match=r"(?s)^save: table is .*which no file can hold"):
        pk.save(tmp_path / "model.npz", model)
    assert not list(tmp_path.iterdir())


@every_suffix
@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc80" * 1000])
def test_messages_can_be_printed(tmp_path, suffix, text):
    path = tmp_path / f"model.{suffix}"
    model = pk.mlp([2, 2], rng=0)
    pk.save(path, model, pk.SGD(model))
    before = path.read_bytes()
    changes = [
        lambda whole: set_in(whole["optimizer"]["arguments"], text, 1),
        lambda whole: set_in(first(whole)["arguments"], text, 1),
        lambda whole: set_in(first(whole)["arguments"], "n_in", text),
        lambda whole: set_in(first(whole), "class", text),
        lambda whole: set_in(first(whole)["arguments"], "init", text),
        lambda whole: set_in(first(whole)["parameters"], "weight", text),
        lambda whole: set_in(first(whole)["parameters"], text, "0.weight"),
        lambda whole: set_in(whole["model"], "function", {"custom": text}),
        lambda whole: set_in(whole, "format", text),
        lambda whole: set_in(whole, "version", text),
        lambda whole: set_in(whole["optimizer"]["state"], text, 1),
        lambda whole: set_in(whole["model"], "function", {"custom": "Scale", "state": {text: [1, {}]}, "parameters": {}}),
    ]
    for change in changes:
        path.write_bytes(before)
        with pytest.raises(ValueError, match="cannot be read") as caught:
            pk.load(changed(path, change), {"Scale": Scale})
        assert len(str(caught.value).encode()) < 1000 + len(str(path))
    owner = Scale()
    setattr(owner, text, object())
    with pytest.raises(TypeError, match="which no file can hold") as caught:
        pk.save(path, owner)
    str(caught.value).encode()
    setattr(owner, text, 5)  # which a file can hold
    assert getattr(round_trip(tmp_path, owner, suffix=suffix, Scale=Scale), text) == 5


def test_files_of_other_libraries(tmp_path):
    """The message says how to get at the weights."""
    weights = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}
    advice = "and pass the arrays to load_state_dict of a model that you have made"
    for name, write in (("plain", np.savez), ("small", np.savez_compressed)):
        write(tmp_path / f"{name}.npz", **weights)
        refused(tmp_path / f"{name}.npz", f"read it with np.load {advice}")
    np.savez(tmp_path / "objects.npz", a=np.array([None]))
    refused(tmp_path / "objects.npz", "np.load")
    codes = {"BF16": 2, "F32": 4, "F8_E4M3": 1}
    for code, size in codes.items():
        tensors = {"fc.weight": {"dtype": code, "shape": [2, 3], "data_offsets": [0, 6 * size]}}
        for metadata in ({}, {"__metadata__": {"format": "pt"}}):
            header = json.dumps({**metadata, **tensors}).encode()
            (tmp_path / "torch.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(6 * size))
            refused(tmp_path / "torch.safetensors", re.escape(f"read it with safetensors.numpy.load_file {advice}"))
    for name in ("model.pt", "model.h5", "model"):
        with pytest.raises(ValueError, match=f"read a file of another library with that library {advice}"):
            pk.load(tmp_path / name)


def test_state_dicts_of_other_dtypes_change_nothing_if_they_do_not_fit():
    """A number too large for the model is found before the first array is changed, whatever becomes of warnings."""
    model = pk.mlp([2, 3, 1], rng=0, dtype=np.float32)
    before = model.state_dict()
    state = {key: np.full(array.shape, 7.0) for key, array in before.items()}
    state["2.bias"] = np.full(1, 1e300)
    with pytest.raises(ValueError, match=r"changed nothing: 2\.bias has numbers in it that are too large for float32"):
        model.load_state_dict(state)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
