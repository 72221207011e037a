from __future__ import annotations

import copy
import io
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fixtures.make import Scale as FixtureScale
from fixtures.make import train
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from participant import Branches, Dense, Lazy, Listed, Rebinding, Scale, Skip
from traced import traced

from pancake import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Bidirectional,
    Conv2d,
    Embedding,
    Flatten,
    Function,
    GRUCell,
    Linear,
    LSTMCell,
    MaxPool2d,
    MeanSquaredError,
    Optimizer,
    Residual,
    RMSprop,
    RNNCell,
    Sequential,
    Tanh,
    Unrolled,
    mlp,
    predict,
)
from pancake.files.archives import MAX_TEXT, TEXT, read_npz, read_safetensors, write_npz, write_safetensors
from pancake.files.serialization import load, load_meta, save
from pancake.functions.dropout import Dropout
from pancake.functions.elementwise import Subtract
from pancake.functions.normalization import BatchNorm
from pancake.initializers import he_uniform
from pancake.optimizers.schedules import cosine
from pancake.recurrent.states import each
from pancake.testing.strategies import functions, library_classes, stacks
from pancake.training.fit import fit

FIXTURES = Path(__file__).parent.parent / "fixtures"
SUFFIXES = ["npz", "safetensors"]
OPTIMIZERS = [SGD, Adam, AdamW, RMSprop, Adagrad]
USERS = {cls.__name__: cls for cls in (Scale, Dense, Listed, Rebinding, Lazy, Skip, Branches)}
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)


def round_trip(folder, model, optimizer=None, suffix="npz", **custom):
    path = folder / f"model.{suffix}"
    save(path, model, optimizer)
    return load(path, custom=custom or None)


def assert_same(a, b):
    """The same arrays by name, bit for bit, in the same repr."""
    x, y = a.state_dict(), b.state_dict()
    assert x.keys() == y.keys()
    for key in x:
        assert x[key].dtype == y[key].dtype
        np.testing.assert_array_equal(x[key], y[key], err_msg=key)
    assert repr(a) == repr(b)


def trainable():
    """Batch statistics, two Dropouts with one generator, a shared layer, user classes."""
    rng = np.random.default_rng(5)
    layer = Linear(4, 4, rng=rng)
    return Sequential(
        [
            Linear(2, 4, rng=rng),
            BatchNorm(4),
            Tanh(),
            layer,
            Dropout(0.3, rng=rng),
            Sequential([Scale(), Dense(4, 4)]),
            layer.shared_copy(),
            Dropout(0.2, rng=rng),
            Linear(4, 1, rng=rng),
        ]
    )


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    return X, X[:, :1] * X[:, 1:]


def train_on(model, optimizer, epochs, **options):
    options = {"batch_size": 8, "rng": 1, "progress": False, **options}
    return fit(model, MeanSquaredError(), optimizer, *data(), epochs=epochs, **options)


# --- round trips ---


def assert_computes_the_same(a, b, x):
    """The same outputs and gradients, bit for bit. Generators have the same state, so even a mask of Dropout is the same."""
    results = []
    for function in (a, b):
        y = function(*arguments(x))
        dObj_dIn = function.compute_backward(*arguments(noise_like(y)))
        results.append([*leaves(y), *leaves(dObj_dIn), *function.get_params_and_grads()[1]])
    for u, v in zip(*results, strict=True):
        assert np.asarray(u).dtype == np.asarray(v).dtype
        np.testing.assert_array_equal(u, v)


def arguments(value):
    """Cells take and return several values, of which a state may be several arrays."""
    return value if isinstance(value, tuple) else (value,)


def noise_like(value):
    rng = np.random.default_rng(0)
    return each(lambda array: rng.normal(size=np.shape(array)), value)


def leaves(value):
    return [array for part in value for array in leaves(part)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("cls", library_classes(Function))
@settings(
    max_examples=settings.default.max_examples // 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_every_library_function_comes_back(tmp_path, cls, data):
    function, x = data.draw(functions(cls))
    for suffix in SUFFIXES:
        again = round_trip(tmp_path, function, suffix=suffix)
        assert type(again) is type(function)
        assert_same(again, function)
        assert [f.training for f in again.walk()] == [f.training for f in function.walk()]
        assert_computes_the_same(again, copy.deepcopy(function), x)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(stacks(), st.sampled_from(SUFFIXES))
def test_every_stack_comes_back(tmp_path, drawn, suffix):
    model, x = drawn
    again = round_trip(tmp_path, model, suffix=suffix)
    assert_same(again, model)
    assert_computes_the_same(again, copy.deepcopy(model), x)


@every_suffix
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_and_memory_stay(tmp_path, suffix, dtype):
    model = Sequential([Linear(3, 4, rng=0), BatchNorm(4), Linear(4, 2, bias=False, rng=0)]).astype(dtype)
    again = round_trip(tmp_path, model, suffix=suffix)
    assert_same(again, model)
    assert again[0].weight.flags.f_contiguous
    assert len(Optimizer(again)._grads) == 1  # side by side in memory, so one long vector


@every_suffix
def test_users_functions_come_back(tmp_path, suffix):
    model = Sequential(
        [Dense(2, 3), Skip(Scale(0.3)), Listed(3), Branches(Rebinding(), {"b": Scale(2.0), "c": Linear(3, 3, rng=0)})]
    )
    again = round_trip(tmp_path, model, suffix=suffix, **USERS)
    assert [type(f) for f in again.walk()] == [type(f) for f in model.walk()]
    assert_same(again, model)
    x = data()[0]
    np.testing.assert_array_equal(again(x), model(x))
    for one in (model, again):
        optimizer = Adam(one)
        fit(one, MeanSquaredError(), optimizer, x, np.ones((30, 3)), epochs=2, rng=0, progress=False)
    assert_same(again, model)


def test_a_lazy_function_comes_back_before_and_after_its_first_input(tmp_path):
    fresh = round_trip(tmp_path, Lazy(), Lazy=Lazy)
    assert fresh.get_params_and_grads() == ([], [])
    model = Lazy()
    model(np.ones((2, 3)))
    assert_same(round_trip(tmp_path, model, Lazy=Lazy), model)


class Anything(Function):
    """Attributes of every kind that a file can hold."""

    def __init__(self):
        self.k, self.grad_k = np.ones((2, 3), order="F"), np.zeros((2, 3), order="F")
        self.table = np.arange(6, dtype=np.uint8).reshape(2, 3)
        self.none, self.flag, self.whole, self.text = None, True, -(2**80), "ü\x00\\"
        self.numbers = [0.1, math.inf, -math.inf, -0.0, 5e-324]
        self.nested = {"a": (1, [2, {3: (None,)}]), None: "none", (1, 2): 0.5}
        self.half, self.long, self.yes = np.float16(0.1), np.int64(-5), np.bool_(True)
        self.dtype = np.dtype(np.float32)
        self.parts = [Tanh(), {"x": (Linear(3, 3, rng=0),)}]
        self.same = self.parts[0]
        self.same_array = self.table
        self.function = np.tanh
        self.activation = Tanh
        self.scheme = he_uniform
        self._cache = open  # which no file can hold, and none has to

    def compute_forward(self, x):
        return x @ self.k


@every_suffix
def test_attributes_of_every_kind_come_back(tmp_path, suffix):
    model = Anything()
    again = round_trip(tmp_path, model, suffix=suffix, Anything=Anything, tanh=np.tanh)
    for name in (
        "none",
        "flag",
        "whole",
        "text",
        "numbers",
        "nested",
        "half",
        "long",
        "yes",
        "dtype",
        "function",
        "activation",
        "scheme",
    ):
        before, after = getattr(model, name), getattr(again, name)
        assert after == before
        assert type(after) is type(before)
    assert math.copysign(1, again.numbers[3]) == -1
    np.testing.assert_array_equal(again.table, model.table)
    assert again.table.dtype == np.uint8
    assert again.same is again.parts[0]
    assert again.same_array is again.table
    assert again._cache is None
    assert again.grad_k.flags.f_contiguous
    assert_same(again.parts[1]["x"][0], model.parts[1]["x"][0])


@every_suffix
def test_no_name_of_an_attribute_is_in_the_way_of_the_format(tmp_path, suffix):
    model = Scale()
    model.pancake, model.__metadata__ = {"json": np.ones(2)}, np.zeros(3)
    again = round_trip(tmp_path, model, suffix=suffix, Scale=Scale)
    np.testing.assert_array_equal(again.pancake["json"], np.ones(2))
    np.testing.assert_array_equal(again.__metadata__, np.zeros(3))


@every_suffix
def test_what_is_shared_stays_shared(tmp_path, suffix):
    model = trainable()
    again, optimizer = round_trip(tmp_path, model, SGD(model), suffix=suffix, **USERS)
    assert again[6].weight is again[3].weight
    assert again[6].grad_bias is again[3].grad_bias
    assert again[4].rng is again[7].rng
    assert again[4].rng.bit_generator.state == model[4].rng.bit_generator.state
    assert optimizer.model is again
    assert len(again.get_params_and_grads()[0]) == len(model.get_params_and_grads()[0])


class Tied(Function):
    """y = x W^T W: a weight of a library layer once more in an attribute."""

    def __init__(self, layer, first):
        if first:
            self.w, self.grad_w = layer.weight, layer.grad_weight
        self.layer = layer
        if not first:
            self.w, self.grad_w = layer.weight, layer.grad_weight

    def compute_forward(self, x):
        return self.layer(x) @ self.w


@pytest.mark.parametrize("first", [False, True])
def test_a_weight_that_a_user_class_shares_with_a_library_layer(tmp_path, first):
    again = round_trip(tmp_path, Tied(Linear(3, 2, bias=False, rng=0), first), Tied=Tied)
    assert again.w is again.layer.weight
    assert again.grad_w is again.layer.grad_weight
    again.layer.weight += 1
    np.testing.assert_array_equal(again(np.eye(3)), again.layer.weight.T @ again.layer.weight)


def test_shared_running_statistics_stay_shared(tmp_path):
    norm = BatchNorm(2)
    again = round_trip(tmp_path, Sequential([norm, norm.shared_copy()]))
    assert again[0].running_mean is again[1].running_mean
    again(data()[0])
    assert again[1].num_batches_tracked == 2


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
@every_suffix
def test_generators_of_every_kind_go_on_where_they_were(tmp_path, suffix, name):
    rng = np.random.Generator(getattr(np.random, name)(3))
    rng.random(5, np.float32)  # which leaves half of a draw behind
    again = round_trip(tmp_path, Dropout(0.5, rng=rng), suffix=suffix)
    np.testing.assert_array_equal(again.rng.random(700, np.float32), rng.random(700, np.float32))
    assert again.rng.normal() == rng.normal()


def own_scheme(n_in, n_out, rng):
    return np.full((n_out, n_in), 0.5)


def test_initializers_come_back_by_name(tmp_path):
    assert round_trip(tmp_path, Linear(2, 3, init="orthogonal", rng=0)).init == "orthogonal"
    assert round_trip(tmp_path, Linear(2, 3, init=he_uniform, rng=0)).init is he_uniform
    assert round_trip(tmp_path, Linear(2, 3, init=own_scheme), own_scheme=own_scheme).init is own_scheme
    with pytest.raises(ValueError, match=r"'own_scheme', which is not of this library; pass custom=\{'own_scheme': own_scheme\}"):
        round_trip(tmp_path, Linear(2, 3, init=own_scheme))


def test_files_do_not_depend_on_the_moment(tmp_path):
    for suffix in SUFFIXES:
        for name in "ab":
            model = mlp([2, 3, 1], rng=0)
            save(tmp_path / f"{name}.{suffix}", model, Adam(model))
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


# --- optimizers and trainings ---


@every_suffix
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_optimizers_come_back_bit_for_bit(tmp_path, suffix, make):
    model = trainable()
    special = {SGD: {"momentum": 0.9, "nesterov": True}, Adam: {"betas": (0.8, 0.99)}, RMSprop: {"momentum": 0.5}}
    optimizer = make(model, lr=0.012, **special.get(make, {}), **({} if make is Adagrad else {"weight_decay": 0.1}))
    train_on(model, optimizer, 2)
    _, same = round_trip(tmp_path, model, optimizer, suffix, **USERS)
    assert type(same) is make
    assert same.steps == optimizer.steps == 8
    for name, value in vars(optimizer).items():
        if isinstance(value, (float, bool, tuple)) and name != "_factors":  # those of the latest step
            assert getattr(same, name) == value
            assert type(getattr(same, name)) is type(value)
    before, after = optimizer.state_dict(), same.state_dict()
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])
    assert same.history == optimizer.history
    assert same.history.rng.bit_generator.state == optimizer.history.rng.bit_generator.state


@every_suffix
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_ten_epochs_and_ten_after_loading_are_twenty(tmp_path, suffix, make):
    options = {"schedule": cosine(0.02, 80), "validation": 0.2, "clip_norm": 1.0}
    model = trainable()
    whole = train_on(model, make(model), 20, **options)
    other = trainable()
    optimizer = make(other)
    train_on(other, optimizer, 10, **options)
    again, same = round_trip(tmp_path, other, optimizer, suffix, **USERS)
    halves = train_on(again, same, 10, **options)
    assert_same(again, model)
    for name in whole.keys() - {"seconds"}:
        assert halves[name] == whole[name]
    assert len(whole["seconds"]) == len(halves["seconds"]) == 20


class Elman(Function):
    """A user's cell."""

    def __init__(self, n_in, n_hidden):
        rng = np.random.default_rng(0)
        self.u, self.grad_u = rng.normal(size=(n_in, n_hidden)), np.zeros((n_in, n_hidden))
        self.w, self.grad_w = rng.normal(size=(n_hidden, n_hidden)), np.zeros((n_hidden, n_hidden))

    def init_state(self, batch):
        return np.zeros((batch, len(self.w)))

    def compute_forward(self, x_t, state):
        h = np.tanh(x_t @ self.u + state @ self.w)
        self._cache = x_t, state, h
        return h, h

    def compute_backward(self, dObj_dOut_t, dObj_dState):
        x_t, state, h = self._cache
        d = (dObj_dOut_t + dObj_dState) * (1 - h**2)
        self.grad_u += x_t.T @ d
        self.grad_w += state.T @ d
        return d @ self.u.T, d @ self.w.T


def words(dtype=np.float64):
    """Every kind of recurrence, an Embedding, Dropout between them, buffers."""
    options = {"rng": np.random.default_rng(3), "dtype": dtype}
    parts = [
        Embedding(6, 4, **options),
        Unrolled(LSTMCell(4, 5, **options)),
        Dropout(0.3, rng=options["rng"]),
        Residual(Unrolled(RNNCell(5, 5, **options))),
        Bidirectional(GRUCell(5, 3, **options), LSTMCell(5, 3, **options), return_sequences=False),
        BatchNorm(6, dtype=dtype),
    ]
    return Sequential([*parts, Linear(6, 1, **options)])


def tied():
    cell = GRUCell(4, 4, rng=0)
    twice = [Unrolled(cell), Unrolled(cell.shared_copy(), return_sequences=False, reverse=True)]
    return Sequential([Embedding(6, 4, rng=0), *twice, Linear(4, 1, rng=0)])


def own_cell():
    return Sequential([Embedding(6, 4, rng=0), Unrolled(Elman(4, 3), return_sequences=False), Linear(3, 1, rng=0)])


@pytest.mark.parametrize("make", [words, lambda: words(np.float32), tied, own_cell], ids=["all", "float32", "tied", "own cell"])
@every_suffix
def test_recurrent_nets_go_on_as_if_they_had_not_been_saved(tmp_path, suffix, make):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, size=(17, 5)), rng.normal(size=(17, 1))
    options = {"batch_size": 6, "schedule": cosine(0.05, 20), "progress": False, "lengths": rng.integers(1, 6, size=17)}
    model, other = make(), make()
    optimizer, same = Adam(model), Adam(other)
    whole = fit(model, MeanSquaredError(), optimizer, x, y, epochs=4, rng=1, **options)
    fit(other, MeanSquaredError(), same, x, y, epochs=2, rng=1, **options)
    again, same = round_trip(tmp_path, other, same, suffix, Elman=Elman)
    halves = fit(again, MeanSquaredError(), same, x, y, epochs=2, rng=2, **options)
    assert_same(again, model)
    assert halves["loss"] == whole["loss"]


def test_a_model_alone_has_no_optimizer(tmp_path):
    model = mlp([2, 3, 1], rng=0)
    assert isinstance(round_trip(tmp_path, model), Sequential)
    again, optimizer = round_trip(tmp_path, model, SGD(model))
    assert isinstance(again, Sequential)
    assert optimizer.history is None


def test_an_optimizer_of_a_list_of_parts(tmp_path):
    model = mlp([2, 3, 3, 1], rng=0)
    extra = Linear(1, 1, rng=0)
    again, optimizer = round_trip(tmp_path, model, Adam([model[2], model[0], extra]))
    assert optimizer.model[0] is again[2]
    assert optimizer.model[1] is again[0]
    assert_same(optimizer.model[2], extra)


class Signs(Optimizer):
    """A user's optimizer, with a setting and a vector of state."""

    slots = ("before",)

    def __init__(self, model, lr=0.01, pull=0.5):
        self.pull = pull
        super().__init__(model, lr)

    def update(self, p, g, work, *args):
        before, lr = args
        p -= lr * np.sign(g + self.pull * before)
        before[...] = g


def test_users_optimizers_come_back(tmp_path):
    model = mlp([2, 3, 1], rng=0)
    optimizer = Signs(model, pull=0.25)
    train_on(model, optimizer, 1)
    again, same = round_trip(tmp_path, model, optimizer, Signs=Signs)
    assert same.pull == 0.25
    train_on(model, optimizer, 1)
    train_on(again, same, 1)
    assert_same(again, model)
    with pytest.raises(ValueError, match="it holds a Signs, which is not of this library; pass custom="):
        load(tmp_path / "model.npz")


def test_nan_in_the_history_comes_back(tmp_path):
    model = mlp([2, 1], rng=0)
    optimizer = SGD(model)
    train_on(model, optimizer, 1)
    train_on(model, optimizer, 1, validation=0.2)
    _, same = round_trip(tmp_path, model, optimizer)
    np.testing.assert_array_equal(same.history["val_loss"], optimizer.history["val_loss"])
    assert math.isnan(same.history["val_loss"][0])
    assert list(same.history) == list(optimizer.history)


# --- files for others, and from others ---


def test_numpy_reads_the_arrays(tmp_path):
    model = trainable()
    save(tmp_path / "model.npz", model)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        for key, array in model.state_dict().items():
            if not key.startswith("6."):  # shared with 3.
                np.testing.assert_array_equal(file[key], array)


def test_an_archive_that_numpy_has_rewritten(tmp_path):
    model = mlp([2, 3, 1], rng=0)
    save(tmp_path / "model.npz", model)
    text, arrays = read_npz(tmp_path / "model.npz")
    np.savez(tmp_path / "again.npz", **{name: array.astype(">f8") for name, array in arrays.items()})
    with zipfile.ZipFile(tmp_path / "again.npz", "a") as archive:
        archive.writestr(TEXT, text)
    assert_same(load(tmp_path / "again.npz"), model)


def test_the_safetensors_package_reads_and_writes_what_load_reads(tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="needs the safetensors package")
    from safetensors.numpy import load_file, save_file

    model = trainable()
    path = tmp_path / "model.safetensors"
    save(path, model, SGD(model))
    tensors = load_file(path)
    for key, array in model.state_dict().items():
        if not key.startswith("6."):
            np.testing.assert_array_equal(tensors[key], array)
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    assert json.loads(metadata[TEXT])["version"] == 1
    save_file(dict(reversed(tensors.items())), tmp_path / "again.safetensors", metadata)
    again, _ = load(tmp_path / "again.safetensors", custom=USERS)
    assert_same(again, model)


def test_an_array_of_each_dtype_in_both_formats(tmp_path):
    arrays = {
        np.dtype(code).name: np.arange(6).reshape(2, 3).astype(code)
        for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f8", ">i2")
    }
    arrays |= {"empty": np.zeros((0, 3)), "single": np.array(2.5), "column": np.ones((3, 1), order="F")}
    for write, read in ((write_npz, read_npz), (write_safetensors, read_safetensors)):
        with open(tmp_path / "file", "wb") as file:
            write(file, "text ü", arrays)
        text, again = read(tmp_path / "file")
        assert text == "text ü"
        assert again.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(again[name], array)
            assert again[name].dtype == array.dtype.newbyteorder("=")


@every_suffix
def test_files_of_version_1_stay_readable(suffix):
    model, optimizer = load(FIXTURES / f"version1.{suffix}", custom={"Scale": FixtureScale})
    with np.load(FIXTURES / "expected.npz") as expected:
        # other processors round other last digits
        np.testing.assert_allclose(predict(model, expected["x"]), expected["before"], rtol=1e-12)
        history = train(model, optimizer, 2)
        # and 16 steps of training make a difference of 1e-16 one of 1e-9
        np.testing.assert_allclose(predict(model, expected["x"]), expected["after"], rtol=1e-7)
        np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-9)
    user = model[5]
    assert user.notes == {"names": ("a", "b"), 3: [None, True, 0.5, math.inf, np.float32(0.1), np.dtype(np.float32)]}
    np.testing.assert_array_equal(user.constant, np.arange(6, dtype=np.int16).reshape(2, 3))
    assert model[3].weight is model[6].weight


# --- what cannot be saved or loaded ---


def with_attribute(value):
    model = Scale()
    model.extra = value
    return model


@pytest.mark.parametrize(
    "value", [lambda x: x, sys.stdout, "abc".upper, {1, 2}, 1j, object(), np.array([None]), np.array(["a"]), np.longdouble(1)]
)
def test_what_no_file_can_hold_is_named(tmp_path, value):
    with pytest.raises(TypeError, match=r"save: 0\.extra"):
        save(tmp_path / "model.npz", Sequential([with_attribute(value)]))
    assert list(tmp_path.iterdir()) == []


def nested(depth):
    model = Tanh()
    for _ in range(depth):
        model = Skip(model)
    return model


def endless():
    value = []
    value.append(value)
    return value


def he_normal(n_in, n_out, rng):
    return np.ones((n_out, n_in))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("model.pkl", Tanh()), ValueError, "ends in .npz or .safetensors, got .*model.pkl"),
        (("model", Tanh()), ValueError, r"ends in .npz or .safetensors, got '.*model'; write '.*model.npz'$"),
        (("model.npz", "Tanh"), TypeError, "expected a Function as second argument"),
        (("model.npz", SGD(mlp([2, 1]))), TypeError, r"the optimizer comes third: save\(path, model, optimizer\)"),
        (("model.npz", Tanh(), 0.1), TypeError, "expected an optimizer as third argument"),
        (("model.npz", mlp([2, 1]), SGD(mlp([2, 1]))), ValueError, "save: SGD.* trains no parameter of Sequential"),
        (("model.npz", nested(1000)), ValueError, "nested too deeply"),
        (("model.npz", with_attribute(endless())), ValueError, "a list or dict in it holds itself"),
        (("model.npz", Linear(2, 3, init=he_normal)), TypeError, "a he_normal of your own, and pancake has another he_normal"),
    ],
)
def test_save_refuses(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        save(tmp_path / arguments[0], *arguments[1:])
    assert list(tmp_path.iterdir()) == []


def test_the_path_comes_first():
    with pytest.raises(TypeError, match=r"^save: expected a path such as 'model.npz' as first argument, got Tanh\(\)$"):
        save(Tanh(), "model.npz")


@pytest.mark.parametrize("call", [load, load_meta, lambda path: save(path, Tanh())])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        (".", "got '.', a folder; write './model.npz', say"),
        ("..", "got '..', a folder; write '../model.npz', say"),
        ("models/", "got 'models/', a folder; write 'models/model.npz', say"),
        ("", "got ''; write 'model.npz', say"),
    ],
)
def test_a_folder_is_no_file_and_nothing_no_name(tmp_path, monkeypatch, call, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(ValueError, match=f"ends in .npz or .safetensors, {re.escape(words)}$"):
        call(path)


def test_load_refuses(tmp_path):
    save(tmp_path / "model.npz", Scale())
    with pytest.raises(ValueError, match=r"it holds a Scale, which is not of this library; pass custom=\{'Scale': Scale\}"):
        load(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"expected custom\['Scale'\] to be a subclass of Function"):
        load(tmp_path / "model.npz", custom={"Scale": dict})
    with pytest.raises(TypeError, match="expected custom to be a dict"):
        load(tmp_path / "model.npz", custom=[Scale])
    with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors"):
        load(tmp_path / "model.pt")
    with pytest.raises(
        FileNotFoundError, match=r"^load: there is no file 'other.npz' in '/.*'; pass the path that the model was saved"
    ):
        load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match=r"^load: there is no folder '/.*none' to read 'other.npz' from; pass the path"):
        load(tmp_path / "none" / "other.npz")
    message = r"^load: expected a path that ends in .npz or .safetensors, got 'other'; write 'other.npz'; read a file of another"
    with pytest.raises(ValueError, match=message):
        load("other")
    with pytest.raises(TypeError, match=r"by name, got Tanh\(\); load makes the model itself: model = load\(path\)$"):
        load(tmp_path / "model.npz", Tanh())
    for path in (Tanh(), None, 3):
        with pytest.raises(TypeError, match=r"^load: expected a path such as 'model.npz' as first argument, got "):
            load(path, "model.npz")
    np.savez(tmp_path / "plain.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"there is no pancake\.json in it"):
        load(tmp_path / "plain.npz")
    np.savez_compressed(tmp_path / "small.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"no pancake\.json in it"):
        load(tmp_path / "small.npz")


# --- whole files only ---


class Bad(OSError):
    pass


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch, moment):
    path = tmp_path / "model.npz"
    model = mlp([2, 3, 1], rng=0)
    save(path, model)
    before = path.read_bytes()

    def fail(*args, **options):
        raise Bad

    if moment == "write":
        monkeypatch.setattr(np.lib.format, "write_array", fail)
    else:
        monkeypatch.setattr(os, moment, fail)
    with pytest.raises(Bad):
        save(path, mlp([2, 4, 1], rng=0))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_save_into_one_file(tmp_path):
    path = tmp_path / "model.npz"
    models = [Subtract(np.full(2000, i)) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: save(path, models[i % 4]), range(40)))
    assert len(set(load(path).target)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_keeps_the_file_that_it_has_opened(tmp_path):
    path = tmp_path / "model.npz"
    save(path, mlp([2, 3, 1], rng=0))
    before = path.read_bytes()
    with open(path, "rb") as file:
        save(path, Tanh())
        assert file.read() == before
    assert isinstance(load(path), Tanh)


def test_a_link_keeps_pointing(tmp_path):
    (tmp_path / "link.npz").symlink_to("model.npz")
    save(tmp_path / "link.npz", Tanh())
    assert (tmp_path / "link.npz").is_symlink()
    assert isinstance(load(tmp_path / "model.npz"), Tanh)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_read_what_the_mask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        save(tmp_path / "model.npz", Tanh())
    finally:
        os.umask(before)
    assert (tmp_path / "model.npz").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_that_is_killed_leaves_a_whole_file(tmp_path):
    """A child saves one model after the other as fast as it can; whenever it is killed, one of them is there."""
    path = tmp_path / "model.npz"
    code = (
        "import sys, itertools, pancake as pk\nmodel = pk.mlp([20, 200, 1], rng=0)\n"
        "for i in itertools.count():\n    for p in model.get_params_and_grads()[0]: p.fill(i)\n"
        "    pk.save(sys.argv[1], model)\n    print(i, flush=True)\n"
    )
    for wait in range(1, 5):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        with child:
            for _ in range(wait):
                child.stdout.readline()
            child.send_signal(signal.SIGKILL)
        arrays = load(path).state_dict().values()
        assert len({number for array in arrays for number in array.ravel()}) == 1


# --- hostile files ---


def parts_of(path):
    return (read_npz if path.suffix == ".npz" else read_safetensors)(path)


def write(path, description, arrays):
    with open(path, "wb") as file:
        (write_npz if path.suffix == ".npz" else write_safetensors)(file, json.dumps(description), arrays)
    return path


def refused(path, words="cannot be read", **custom):
    with pytest.raises(ValueError, match=words) as caught:
        load(path, custom=custom or None)
    assert path.name in str(caught.value)


def changed(path, change, array_change=lambda arrays: None):
    text, arrays = parts_of(path)
    description = json.loads(text)
    description = change(description) or description
    array_change(arrays)
    return write(path, description, arrays)


@pytest.fixture(params=SUFFIXES)
def saved(tmp_path, request):
    """A file of a net that has been trained a little."""
    model = Sequential([Linear(2, 3, rng=0), BatchNorm(3), Dropout(0.5, rng=1), Linear(3, 1, rng=0)])
    optimizer = Adam(model)
    train_on(model, optimizer, 1)
    path = tmp_path / f"saved.{request.param}"
    save(path, model, optimizer)
    return path


def first(description):
    return description["model"]["function"]["arguments"]["functions"][0]["function"]


def set_in(where, key, value):
    where[key] = value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: [d], "it is not a pancake model"),
        (lambda d: set_in(d, "format", "other"), "it is not a pancake model"),
        (lambda d: set_in(d, "version", 2), "format version 2, and this library reads 1"),
        (lambda d: set_in(d, "version", "1"), "format version '1'"),
        (lambda d: d.pop("model"), "expected the description of a Function, got None"),
        (lambda d: set_in(d, "model", 3), "expected the description of a Function, got 3"),
        (lambda d: set_in(d, "model", {"seen": 0}), "there is no value such as"),
        (lambda d: set_in(d, "model", {"import": "os"}), "there is no value such as"),
        (lambda d: set_in(first(d), "class", "os.system"), "there is no Function 'os.system'"),
        (lambda d: set_in(first(d), "class", "Function"), "there is no Function 'Function'"),
        (lambda d: set_in(first(d), "class", "Adam"), "there is no Function 'Adam'"),
        (lambda d: set_in(first(d), "class", ["Linear"]), "there is no Function"),
        (lambda d: set_in(first(d), "custom", first(d).pop("class")), "it holds a Linear, which is not of this library"),
        (lambda d: set_in(first(d)["arguments"], "n_in", 10**9), "expected weight of shape .3, 1000000000."),
        (lambda d: set_in(first(d)["arguments"], "n_in", 10**30), "expected weight of shape"),
        (lambda d: set_in(first(d)["arguments"], "n_in", 1e9), "expected n_in to be a whole number"),
        (lambda d: set_in(first(d)["arguments"], "n_in", "2"), "expected n_in to be a whole number"),
        (lambda d: set_in(first(d)["arguments"], "n_in", -2), "n_in of at least 1"),
        (lambda d: set_in(first(d)["arguments"], "bias", False), "expected the arrays .'weight'., got .'bias', 'weight'."),
        (lambda d: set_in(first(d)["arguments"], "init", "os.system"), "unknown initializer"),
        (lambda d: set_in(first(d)["arguments"], "init", {"callable": "system"}), "names 'system', which is not of this library"),
        (lambda d: set_in(first(d)["arguments"], "dtype", {"dtype": "float32"}), "dtype float32, got .3, 2. and float64"),
        (lambda d: set_in(first(d)["arguments"], "dtype", {"dtype": "object"}), "there is no value such as"),
        (lambda d: set_in(first(d)["arguments"], "evil", 1), "unexpected keyword argument 'evil'"),
        (lambda d: set_in(first(d)["arguments"], "self", 1), "self"),
        (lambda d: set_in(first(d)["parameters"], "weight", "3.weight"), "expected weight of shape .3, 2."),
        (lambda d: set_in(first(d)["parameters"], "weight", "nothing"), "there is no array 'nothing'"),
        (lambda d: set_in(first(d)["parameters"], "weight", 3), "expected weight to be a str"),
        (lambda d: set_in(first(d)["parameters"], "more", "0.weight"), "expected the arrays"),
        (lambda d: set_in(first(d), "parameters", None), "expected parameters to be a dict"),
        (lambda d: set_in(d, "generators", None), "expected generators to be a list"),
        (lambda d: set_in(d, "generators", []), "there is no value such as"),
        (lambda d: set_in(d, "generators", [{"dict": [["bit_generator", "Evil"]]}] * 2), "there is no bit generator 'Evil'"),
        (lambda d: set_in(d["optimizer"], "class", "Linear"), "there is no Optimizer 'Linear'"),
        (lambda d: set_in(d["optimizer"], "arguments", {"lr": "fast"}), "expected lr to be a number"),
        (lambda d: set_in(d["optimizer"]["state"], "lr", -1.0), "expected lr at least 0"),
        (lambda d: d["optimizer"]["state"].pop("steps"), "missing steps"),
        (lambda d: set_in(d["optimizer"], "model", 3), "expected a Function or a list of Functions"),
        (lambda d: set_in(d["optimizer"], "history", 3), "history"),
        (lambda d: set_in(d["optimizer"]["history"], "rng", 3), "expected a generator in the history"),
        (lambda d: set_in(d, "optimizer", None), "arrays that nothing refers to"),
    ],
)
def test_descriptions_that_do_not_fit(saved, change, words):
    refused(changed(saved, lambda d: change(d) if isinstance(change(copy.deepcopy(d)), list) else (change(d), None)[1]), words)


def test_arrays_that_do_not_fit(saved):
    refused(changed(saved, lambda d: None, lambda arrays: set_in(arrays, "more", np.ones(2))), "nothing refers to: more")
    refused(
        changed(saved, lambda d: None, lambda arrays: [arrays.pop("more"), arrays.pop("1.running_var")]),
        "no array '1.running_var'",
    )


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("MT19937", "pos", 625), ("MT19937", "pos", -1), ("Philox", "buffer_pos", -5), ("Philox", "buffer_pos", 9)],
)
def test_generators_cannot_be_sent_out_of_bounds(tmp_path, name, key, value):
    path = tmp_path / "model.npz"
    save(path, Dropout(0.5, rng=np.random.Generator(getattr(np.random, name)(0))))

    def move(entry):
        for pair in entry["dict"]:
            if pair[0] == key:
                pair[1] = value
            if isinstance(pair[1], dict) and "dict" in pair[1]:
                move(pair[1])

    refused(changed(path, lambda d: move(d["generators"][0])), f"a {name} cannot have the position {value}")


def test_data_cannot_hide_a_method(tmp_path):
    path = tmp_path / "model.npz"
    save(path, Scale())
    change = lambda d: set_in(d["model"]["function"]["state"], "compute_forward", 3)  # noqa: E731
    refused(changed(path, change), "it would hide the method compute_forward of Scale", Scale=Scale)


def test_a_function_cannot_hold_itself(tmp_path):
    path = tmp_path / "model.npz"
    save(path, Sequential([]))
    refused(changed(path, lambda d: set_in(d["model"]["function"]["arguments"], "functions", [{"seen": 0}])), "a part of itself")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": ' * 100_000, "1" * 10_000, '{"a": 1, "a": 2}', "NaN", "", "nonsense", '"\\ud800"']
)
def test_json_that_is_none(tmp_path, text):
    for write_file, suffix in ((write_npz, "npz"), (write_safetensors, "safetensors")):
        with open(tmp_path / f"model.{suffix}", "wb") as file:
            write_file(file, text, {})
        refused(tmp_path / f"model.{suffix}")


def npy(descr="<f8", fortran="False", shape="(2,)", data=b"\0" * 16, version=b"\x01\x00", end=", }", magic=b"\x93NUMPY"):
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}{end}\n".encode()
    return magic + version + struct.pack("<H", len(header)) + header + data


def npz_with(path, name, contents):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(TEXT, "{}")
        archive.writestr(name, contents)
    return path


@pytest.mark.parametrize(
    "contents",
    [
        npy(shape="(3,)"),
        npy(shape="(1,)"),
        npy(shape="(9223372036854775807, 9223372036854775807)"),
        npy(shape="(4294967296, 4294967296, 4294967296)", data=b""),
        npy(shape="(0, 18446744073709551616)", data=b""),
        npy(shape="(-2,)"),
        npy(shape="(2)"),
        npy(shape="(" + "1, " * 100 + ")", data=b"\0" * 8),
        npy(shape="__import__('os').abort()"),
        npy(shape="(" * 4000 + ")" * 4000),
        npy(descr="|O8"),
        npy(descr="<U4"),
        npy(descr="<c16", shape="(1,)"),
        npy(descr="<f16", shape="(1,)"),
        npy(descr="<V16", shape="(1,)"),
        npy(fortran="1"),
        npy(version=b"\x02\x00"),
        npy(version=b"\xff\xff"),
        npy(magic=b"\x93NUMPX"),
        npy(end=", 'more': 1}"),
        npy(data=b""),
        npy()[:9],
        npy()[:30],
        b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 100,
        b"",
    ],
)
def test_npy_members_that_do_not_fit(tmp_path, contents):
    refused(npz_with(tmp_path / "model.npz", "a.npy", contents), "'a.npy'")


def test_a_good_npy_member_is_read(tmp_path):
    _, arrays = read_npz(npz_with(tmp_path / "model.npz", "a.npy", npy()))
    np.testing.assert_array_equal(arrays["a"], np.zeros(2))


def test_members_that_save_does_not_write(tmp_path):
    path = tmp_path / "model.npz"
    refused(npz_with(path, "a.txt", b"x"), "'a.txt' is not a name that save")
    with pytest.warns(UserWarning, match="Duplicate name"):
        npz_with(path, TEXT, b"{}")
    refused(path, "'pancake.json' is there twice")


def test_bombs(tmp_path):
    """Small files that claim to be large."""
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(TEXT, b"\0" * 50_000_000)
    tracemalloc.start()
    refused(path, "is compressed or encrypted")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(TEXT, "{}")
        archive.writestr("a.npy", b"0" * 100_000)
    # a hundred entries of the directory for the same bytes
    contents = bytearray(path.read_bytes())
    start = contents.rindex(b"PK\x01\x02")
    stop = contents.rindex(b"PK\x05\x06")
    entry = contents[start:stop]
    copies = b"".join(entry.replace(b"a.npy", b"%05d" % i) for i in range(100))
    end = bytearray(contents[stop:])
    end[8:12] = struct.pack("<HH", 101, 101)
    end[12:16] = struct.pack("<I", struct.unpack("<I", end[12:16])[0] + len(copies) - len(entry))
    path.write_bytes(bytes(contents[:start]) + copies + bytes(end))
    refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_description_of_absurd_length(tmp_path):
    with open(tmp_path / "model.npz", "wb") as file:
        write_npz(file, " " * (MAX_TEXT + 1), {})
    refused(tmp_path / "model.npz", f"more than the {MAX_TEXT} that are sensible")
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", MAX_TEXT + 8))
        file.write(b" " * (MAX_TEXT + 8))
    refused(tmp_path / "model.safetensors", f"more than the {MAX_TEXT} that are sensible")
    with open(tmp_path / "model.safetensors", "wb") as file, pytest.raises(ValueError, match="too many arrays"):
        write_safetensors(file, " " * MAX_TEXT, {})


def tensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def one(dtype="F64", shape=(2,), offsets=(0, 16), **more):
    return {"__metadata__": {TEXT: "{}"}, "a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (one(dtype="F65"), "the header describes 'a'"),
        (one(dtype="BF16"), "the header describes 'a'"),
        (one(dtype=3), "the header describes 'a'"),
        (one(shape=(3,)), "do not fit"),
        (one(shape=(-2,)), "the header describes 'a'"),
        (one(shape=(2.0,)), "the header describes 'a'"),
        (one(shape=(True, 2)), "the header describes 'a'"),
        (one(shape=(1 << 62, 4, 1 << 62)), "do not fit"),
        (one() | {"b": one(shape=(0, 1 << 63), offsets=(0, 0))["a"]}, "'b' has the shape .*do not fit"),
        (one(shape=(1,) * 60 + (3,)), "do not fit"),
        (one(offsets=(0, 17)), "its arrays have 17 bytes, and 16 are there"),
        (one(offsets=(8, 24)), "a gap or an overlap"),
        (one(offsets=(-16, 0)), "which is no array"),
        (one(offsets=(16, 0)), "which is no array"),
        (one(offsets=(0, 16, 32)), "which is no array"),
        (one(shape=(1,), offsets=(0, 8)), "arrays have 8 bytes, and 16 are there"),
        (one(shape=(1,), offsets=(8, 16)), "a gap or an overlap"),
        (one() | {"b": one()["a"]}, "arrays"),
        ({"a": one()["a"]}, "there is no pancake.json in its metadata"),
        (one() | {"__metadata__": 3}, "there is no pancake.json in its metadata"),
        (one() | {"__metadata__": {TEXT: 3}}, "there is no pancake.json in its metadata"),
        (one() | {"__metadata__": {TEXT: "{}", "crc32": json.dumps({"a": 5})}}, "'a' is damaged"),
        (one() | {"__metadata__": {TEXT: "{}", "crc32": json.dumps({TEXT: 5})}}, "'pancake.json' is damaged"),
        (one() | {"__metadata__": {TEXT: "{}", "crc32": "5"}}, "cannot be read"),
        ([1], "the header is not a JSON object"),
        (b'{"a": 1, "a": 2}', "stands in its JSON twice"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_safetensors_headers_that_do_not_fit(tmp_path, header, words):
    refused(tensors(tmp_path / "model.safetensors", header, b"\0" * 16), words)


def test_a_good_safetensors_header_is_read(tmp_path):
    _, arrays = read_safetensors(tensors(tmp_path / "model.safetensors", one(), b"\0" * 16))
    np.testing.assert_array_equal(arrays["a"], np.zeros(2))


def test_a_long_file_with_short_arrays_is_not_read(tmp_path):
    path = tensors(tmp_path / "model.safetensors", one(), b"\0" * 16)
    os.truncate(path, 1 << 30)  # without taking up space on the disk
    tracemalloc.start()
    refused(path, "its arrays have 16 bytes, and 10737[0-9]+ are there")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("length", [0, 7, 8, 17, 1 << 31, (1 << 63) + 1, (1 << 64) - 1])
def test_header_lengths_beyond_the_file(tmp_path, length):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    refused(path)


# --- fuzzing ---


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The bytes of good files, and the model that they hold."""
    folder = tmp_path_factory.mktemp("originals")
    rng = np.random.default_rng(0)
    model = Sequential(
        [Linear(2, 3, rng=rng), BatchNorm(3), Dropout(0.5, rng=rng), Scale(), Linear(3, 1, rng=rng), Subtract([1.0])]
    )
    optimizer = Adam(model)
    train_on(model, optimizer, 2, batch_size=15)
    for suffix in SUFFIXES:
        save(folder / f"model.{suffix}", model, optimizer)
    return {suffix: (folder / f"model.{suffix}").read_bytes() for suffix in SUFFIXES}, model, optimizer


@st.composite
def mutations(draw, size):
    """A function that damages bytes, of which there are `size`."""
    where = draw(st.integers(0, size - 1))
    match draw(st.sampled_from(["flip", "set", "cut", "insert", "delete", "copy", "zero", "append"])):
        case "flip":
            bits = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, 7)), min_size=1, max_size=3))

            def flip(data):
                for i, bit in bits:
                    data[i] ^= 1 << bit
                return data

            return flip
        case "set":
            value = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, b"\xff" * 4, b"\x7f\xff\xff\xff"]))
            return lambda data: data[:where] + value + data[where + len(value) :]
        case "cut":
            return lambda data: data[:where]
        case "insert":
            value = draw(st.binary(min_size=1, max_size=8))
            return lambda data: data[:where] + value + data[where:]
        case "delete":
            length = draw(st.integers(1, 64))
            return lambda data: data[:where] + data[where + length :]
        case "copy":
            source, length = draw(st.integers(0, size - 1)), draw(st.integers(1, 256))
            return lambda data: data[:where] + data[source : source + length] + data[where + length :]
        case "zero":
            length = draw(st.integers(1, 256))
            return lambda data: data[:where] + bytes(min(length, size - where)) + data[where + length :]
        case _:
            value = draw(st.binary(min_size=1, max_size=300))
            return lambda data: data + value


def attempt(path):
    """What load returns, or None for a ValueError that names the file; it never takes much memory."""
    with traced() as memory:
        try:
            result = load(path, custom=USERS)
        except ValueError as error:
            result = error
    assert memory.peak < LIMIT
    if isinstance(result, ValueError):
        assert path.name in str(result)
        return None
    return result


def is_the_original(result, model, optimizer):
    again, same = result
    assert_same(again, model)
    assert same.history == optimizer.history
    assert same.history.rng.bit_generator.state == optimizer.history.rng.bit_generator.state
    assert again[2].rng.bit_generator.state == model[2].rng.bit_generator.state
    for key, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(same.state_dict()[key], value)


LIMIT = 5_000_000  # bytes, while reading files of 25,000


@every_suffix
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_damaged_bytes(tmp_path, originals, suffix, data):
    files, model, optimizer = originals
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(data.draw(mutations(len(files[suffix])))(bytearray(files[suffix])))
    result = attempt(path)
    if result is not None:  # the damage is where nothing depends on it, such as a date in the archive
        is_the_original(result, model, optimizer)


def test_the_originals_load(tmp_path, originals):
    files, model, optimizer = originals
    for suffix, contents in files.items():
        (tmp_path / f"whole.{suffix}").write_bytes(contents)
        is_the_original(attempt(tmp_path / f"whole.{suffix}"), model, optimizer)


@every_suffix
def test_every_bit_of_the_numbers_is_watched(tmp_path, originals, suffix):
    files, model, _ = originals
    contents = files[suffix]
    start = contents.index(model[0].weight.astype("<f8").tobytes(order="F" if suffix == "npz" else "C"))
    for i in range(start, start + 48):
        path = tmp_path / f"damaged.{suffix}"
        path.write_bytes(contents[:i] + bytes([contents[i] ^ 1]) + contents[i + 1 :])
        refused(path)


def places(value):
    """Where in a JSON value there is something to exchange: containers with the key or index."""
    found = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(item, (dict, list)):
            found += places(item)
    return found


NONSENSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        [2**31, 2**63, 2**64, 10**18, 10**40, -(2**63), 0.0, -1.5, 1e308, "", "0.weight", "Linear", "os", "\x00", "../x"]
    ),
    st.text(max_size=3),
    st.sampled_from([[], {}, [[]], {"seen": 0}, {"seen": 1}, {"array": "0.weight"}, {"gradient": "0.weight"}, {"generator": 0}]),
    st.sampled_from(
        [{"callable": "zeros"}, {"callable": "Sequential"}, {"dtype": "float16"}, {"float": "nan"}, {"scalar": ["int8", 300]}]
    ),
    st.sampled_from([{"tuple": [1, 2]}, {"dict": [[[], 1]]}, {"dict": [[1]]}, {"function": {}}, {"function": {"class": "Tanh"}}]),
)


@every_suffix
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_hostile_descriptions(tmp_path, originals, suffix, data):
    """Whole files whose checksums are right, and whose description is not."""
    files, _, _ = originals
    path = tmp_path / f"hostile.{suffix}"
    path.write_bytes(files[suffix])
    text, arrays = parts_of(path)
    description = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        options = places(description)
        where, key = options[data.draw(st.integers(0, len(options) - 1))]
        if data.draw(st.booleans()):
            where[key] = copy.deepcopy(data.draw(NONSENSE))
        elif isinstance(where, dict):
            where[data.draw(st.sampled_from(["class", "custom", "arrays", "state", "training", "seen", "x"]))] = where.pop(key)
        else:
            other, name = options[data.draw(st.integers(0, len(options) - 1))]
            where[key] = copy.deepcopy(other[name]) if name in other or isinstance(other, list) else None
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(arrays)))
        arrays[name] = data.draw(
            st.sampled_from([np.zeros(0), np.array(1), np.zeros((3, 3, 3)), np.full(arrays[name].shape, np.nan)])
        )
    write(path, description, arrays)
    result = attempt(path)
    assert result is None or isinstance(result, (Function, tuple))


def test_zip_checksums_are_looked_at(tmp_path):
    path = tmp_path / "model.npz"
    model = mlp([2, 1], rng=0)
    save(path, model)
    contents = path.read_bytes()
    crc = struct.pack("<I", zlib.crc32(zipfile.ZipFile(io.BytesIO(contents)).read("0.weight.npy")))
    assert contents.count(crc) == 2  # in front of the member and in the directory
    path.write_bytes(contents.replace(crc, b"\0\0\0\0"))
    refused(path, "Bad CRC-32")


@every_suffix
def test_a_program_that_has_loaded_nothing_else_reads_every_class(tmp_path, suffix):
    """`import pancake` loads a class when it is first used, and a file may name one that was not."""
    path = tmp_path / f"model.{suffix}"
    save(path, Sequential([Conv2d(1, 2, 3, rng=0), MaxPool2d(2), Flatten()]))
    code = f"import pancake; print(pancake.load({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Sequential([Conv2d(1, 2, 3), MaxPool2d(2), Flatten()])")
