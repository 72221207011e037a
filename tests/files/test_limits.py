"""Reading a file takes time and memory in proportion to its size, whatever it says."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from participant import Branches, Listed, Scale, Skip
from traced import traced

import pancake as pk
from pancake.files.archives import TEXT, write_npz, write_safetensors

USERS = {cls.__name__: cls for cls in (Branches, Listed, Scale, Skip)}
MANY = 20_000


def library(name, arguments=(), parameters=(), buffers=(), **more):
    entry = {"class": name, "arguments": dict(arguments), "parameters": dict(parameters), "buffers": dict(buffers)}
    return {"function": {**entry, **more}}


def own(name, parameters=(), **state):
    return {"function": {"custom": name, "state": state, "parameters": dict(parameters)}}


def sequential(functions):
    return library("Sequential", {"functions": functions})


def linear(n_in=1, n_out=1, weight="w"):
    return library("Linear", {"n_in": n_in, "n_out": n_out, "bias": False}, {"weight": weight})


def sgd(model, history=None, **arguments):
    state = {"lr": 0.1, "steps": 0}
    return {"class": "SGD", "model": model, "arguments": arguments, "state": state, "history": history}


def load(folder, model, arrays=(), suffix="npz", **more):
    """What load makes of a description."""
    whole = {"format": "pancake model", "version": 1, "model": model, "optimizer": None, "generators": [], "fortran": [], **more}
    path = folder / f"model.{suffix}"
    with open(path, "wb") as file:
        (write_npz if suffix == "npz" else write_safetensors)(file, json.dumps(whole, separators=(",", ":")), dict(arrays))
    return load_file(path)


def load_file(path):
    return pk.load(path, USERS)


@contextlib.contextmanager
def little_memory(folder):
    """Look at the memory that reading the file in the folder takes."""
    with traced() as memory:
        yield
    (path,) = folder.iterdir()
    assert memory.peak < 20 * path.stat().st_size + 50_000_000


AGAIN = "it names the same things again and again"
W = {"w": np.zeros((1, 1))}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_history_of_one_column_many_times(tmp_path, suffix):
    columns = [[str(i), "h"] for i in range(100)]
    with little_memory(tmp_path), pytest.raises(ValueError, match=AGAIN):
        load(
            tmp_path,
            linear(),
            W | {"h": np.zeros(100_000)},
            suffix,
            optimizer=sgd({"seen": 0}, {"columns": columns, "rng": None}),
        )


def test_a_history_of_bytes(tmp_path):
    """Each of which would become a number of Python."""
    with little_memory(tmp_path), pytest.raises(ValueError, match=AGAIN):
        load(
            tmp_path,
            linear(),
            W | {"h": np.zeros(10_000_000, np.int8)},
            optimizer=sgd({"seen": 0}, {"columns": [["loss", "h"]], "rng": None}),
        )


def test_constants_that_are_shared_stay_shared(tmp_path):
    """200 layers with one constant of 4 MB, which each constructor copies."""
    stack, constant = sequential([library("Subtract", {"target": {"array": "a"}})] * 200), np.arange(1_000_000, dtype=np.float32)
    with little_memory(tmp_path):
        model = load(tmp_path, stack, {"a": constant})
    assert all(layer.target is model[0].target for layer in model)
    np.testing.assert_array_equal(model(np.zeros(1_000_000, np.float32))[:2], [0, -200])


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize("layer", [("Subtract", "target"), ("Reshape", "shape"), ("Sum", "axis"), ("Transpose", "axes")])
def test_one_array_as_the_argument_of_many(tmp_path, dtype, layer):
    """Constructors copy it, or make a tuple of it."""
    name, argument = layer
    with little_memory(tmp_path), pytest.raises(ValueError, match=f"{AGAIN}|whole number"):
        load(tmp_path, sequential([library(name, {argument: {"array": "a"}})] * 5000), {"a": np.ones(1_000_000, dtype)})


def test_scalars_are_single_numbers(tmp_path):
    with pytest.raises(ValueError, match="there is no value such as"):
        load(tmp_path, own("Scale", k={"scalar": ["float64", {"array": "a"}]}), {"a": np.zeros(3)})
    with pytest.raises(ValueError, match="there is no value such as"):
        load(tmp_path, own("Scale", k={"scalar": ["float64", [1.0, 2.0]]}))
    model = own("Scale", a={"scalar": ["float32", {"float": "-inf"}]}, b={"scalar": ["bool", True]}, c={"scalar": ["int8", 3]})
    model = load(tmp_path, model)
    assert (model.a, model.b, model.c) == (np.float32("-inf"), np.True_, np.int8(3))


def test_many_statistics_of_one_array(tmp_path):
    """The constructor makes its own first, which take time even if they are forgotten at once."""
    arrays = {name: np.zeros(300_000) for name in "wbmv"} | {"n": np.array(0)}
    buffers = {"running_mean": "m", "running_var": "v", "num_batches_tracked": "n"}
    layer = library("BatchNorm", {"n": 300_000}, {"weight": "w", "bias": "b"}, buffers)
    with pytest.raises(ValueError, match=AGAIN):
        load(tmp_path, sequential([layer] * 2000), arrays)
    with little_memory(tmp_path):
        model = load(tmp_path, sequential([layer] * 100), arrays)
    assert model[99].running_var is model[0].running_var


def test_buffers_are_no_longer_than_those_in_the_file(tmp_path):
    with pytest.raises(ValueError, match="BatchNorm: its buffers do not have n=10000000000 numbers"):
        load(tmp_path, library("BatchNorm", {"n": 10**10}, {}, {"running_mean": "m"}), {"m": np.zeros(2)})


@pytest.mark.slow
def test_many_generators_of_one_state(tmp_path):
    state = {"dict": [["key", {"array": "a"}], ["pos", 1]]}
    generator = {"dict": [["bit_generator", "MT19937"], ["state", state]]}
    with pytest.raises(ValueError, match=AGAIN):
        load(tmp_path, library("Tanh"), {"a": np.zeros(624, np.uint32)}, generators=[generator] * 8000)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_an_optimizer_of_one_model_many_times(tmp_path, suffix):
    layers = [linear() for _ in range(100)]
    with pytest.raises(ValueError, match=AGAIN):
        load(tmp_path, sequential(layers), W, suffix, optimizer=sgd([{"seen": 0}] * 4000))
    _, optimizer = load(tmp_path, sequential(layers), W, suffix, optimizer=sgd([{"seen": 3}, {"seen": 0}, {"seen": 3}]))
    assert [type(part).__name__ for part in optimizer.model] == ["Linear", "Sequential", "Linear"]


def doubled(times):
    """Functions of which each holds the one before twice: as many paths lead to the first as 2 to the power of `times`."""
    functions, last = [library("Tanh")], 1
    for i in range(times):
        functions.append(own("Branches", a={"tuple": [{"seen": last}]}, d={"dict": [["x", {"seen": last}]]}))
        last = i + 2
    return own("Scale", parts=functions)


def test_functions_that_are_parts_in_too_many_ways(tmp_path):
    with pytest.raises(ValueError, match="parts of each other in too many ways"):
        load(tmp_path, doubled(60))
    assert len(load(tmp_path, doubled(10)).parts) == 11


def test_parts_that_a_user_class_looks_through_again_and_again(tmp_path):
    layers = sequential([linear() for _ in range(1000)])
    with pytest.raises(ValueError, match="parts of each other in too many ways"):
        load(tmp_path, own("Listed", params=[], grads=[], f=layers, fs=[{"seen": 1}] * MANY), W)


def test_stacks_in_stacks_of_very_many_parts(tmp_path):
    model = sequential([library("Tanh") for _ in range(4000)])
    for _ in range(120):
        model = sequential([model])
    with pytest.raises(ValueError, match=AGAIN):
        load(tmp_path, model)


@pytest.mark.parametrize("item", [{"array": "a"}, {"seen": 1}])
def test_arguments_that_take_long_to_show(tmp_path, item):
    """A constructor that refuses an argument shows it."""
    layers = [own("Scale"), library("Linear", {"n_in": [item] * 1000, "n_out": 1})]
    with pytest.raises(ValueError, match="one thing stands twice in the argument n_in"):
        load(tmp_path, own("Scale", parts=layers), {"a": np.arange(900.0)})


def test_keys_of_one_hash(tmp_path):
    pairs = [[i * (2**61 - 1), i] for i in range(MANY)]
    with pytest.raises(ValueError, match="the keys of a dict are alike"):
        load(tmp_path, own("Scale", table={"dict": pairs}))
    keys = [-1, -2, 0, 1, 2**61, "a", None, 0.5]
    assert load(tmp_path, own("Scale", table={"dict": [[key, 0] for key in keys]})).table == dict.fromkeys(keys, 0)


@pytest.mark.parametrize(
    "text", ["[" + "[]," * 1_000_000 + "1]", "[" + '{"a":0},' * 500_000 + "1]", "[" + "{}," * 1_000_000 + "1]"]
)
def test_json_of_little_but_brackets(tmp_path, text):
    for write, suffix in ((write_npz, "npz"), (write_safetensors, "safetensors")):
        with open(tmp_path / f"model.{suffix}", "wb") as file:
            write(file, text, {})
        with pytest.raises(ValueError, match="its JSON consists of little but brackets"):
            load_file(tmp_path / f"model.{suffix}")


@pytest.mark.slow
def test_save_refuses_a_table_that_load_would_refuse(tmp_path):
    model = Scale()
    model.table = [[] for _ in range(400_000)]
    with pytest.raises(
        ValueError, match=r"^save: the description of the model is mostly small lists and dicts; keep large tables"
    ):
        pk.save(tmp_path / "model.npz", model)
    model.table = [[i, i] for i in range(50_000)]
    pk.save(tmp_path / "model.npz", model)
    assert load_file(tmp_path / "model.npz").table == model.table


@pytest.mark.parametrize("axes", [65, 400_000])
def test_shapes_of_very_many_axes(tmp_path, axes):
    """The product of so many numbers takes a time that grows with the square of how many there are."""
    header = b'{"__metadata__":{"pancake.json":"{}"},"a":{"dtype":"U8","shape":[' + b",".join([b"9"] * axes)
    header += b'],"data_offsets":[0,0]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match=f"'a' has {axes} axes, and an array has at most 64"):
        load_file(path)
    axes = min(axes, 20_000)
    array = io.BytesIO()
    array.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 3 * axes + 57))
    array.write(b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b", ".join([b"9"] * axes) + b",), }\n")
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        archive.writestr(TEXT, "{}")
        archive.writestr("a.npy", array.getvalue())
    with pytest.raises(ValueError, match=f"'a.npy' has {axes} axes"):
        load_file(tmp_path / "model.npz")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_arrays_of_as_many_axes_as_numpy_has(tmp_path, suffix):
    model = Scale()
    model.table = np.zeros((1,) * 63 + (2,))
    pk.save(tmp_path / f"model.{suffix}", model)
    assert load_file(tmp_path / f"model.{suffix}").table.shape == model.table.shape


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_large_models_come_back(tmp_path, suffix):
    """What save writes is never refused for its size: many layers, many arrays of one name, all of them listed twice."""
    model = Scale()
    model.layers = [pk.Linear(1, 1, init="zeros") for _ in range(2000)]
    model.stack = pk.Sequential([*model.layers, *(pk.Tanh() for _ in range(2000))])
    model.tables = {f"é{i}ü": np.full(1, i) for i in range(300)} | {f"ë{i}ü": np.full(1, i) for i in range(300)}
    pk.save(tmp_path / f"model.{suffix}", model, pk.SGD(model))
    again, optimizer = load_file(tmp_path / f"model.{suffix}")
    assert again.stack[1999] is again.layers[1999]
    assert [table[0] for table in again.tables.values()] == [*range(300), *range(300)]
    assert optimizer.model is again


@pytest.mark.parametrize("wrap", [Skip, pk.Residual, lambda part: pk.Sequential([part]), lambda part: Branches(part, {})])
def test_what_can_be_saved_can_be_loaded_however_deep_it_is(tmp_path, wrap):
    path, depth, model = tmp_path / "model.npz", 0, pk.Linear(1, 1, rng=0)
    with pytest.raises(ValueError, match="save: the model is nested too deeply"):  # noqa: PT012
        while True:
            for _ in range(11):
                model, depth = wrap(model), depth + 1
            pk.save(path, model)
            parts = list(load_file(path).walk())
            assert len(parts) == depth + 1
    assert depth > 60


def test_a_description_that_is_nested_too_deeply(tmp_path):
    value = 1
    for _ in range(300):
        value = {"tuple": [[value]]}
    with pytest.raises(ValueError, match="it is nested too deeply"):
        load(tmp_path, own("Scale", k=value))
