"""Models as headers of C: compiled without a warning, they compute what the models compute, in float."""

from __future__ import annotations

import copy
import ctypes
import itertools
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pancake as pk
from pancake import fast
from pancake.export import to_c
from pancake.export.c_source import CONVERTERS
from pancake.testing.strategies import batches, examples, functions, library_classes, stacks

STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Wshadow", "-Wdouble-promotion"]
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
CELLS = (pk.RNNCell, pk.LSTMCell, pk.GRUCell)
FLOATS = ctypes.POINTER(ctypes.c_float)
numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("c")


class Compiled:
    """A header, compiled and loaded."""

    def __init__(self, folder, model, **options):
        name = f"net{next(numbers)}"
        header = folder / f"{name}.h"
        to_c(model, header, name=name, **options)
        self.text = header.read_text()
        state = ", float *state" if f"#define {name.upper()}_STATE 0\n" not in self.text else ""
        lines = [
            f'#include "{name}.h"',
            f"int sizes[3] = {{{name.upper()}_INPUTS, {name.upper()}_OUTPUTS, {name.upper()}_STATE}};",
            f"void predict(const float *x, float *y{state});",
            f"void predict(const float *x, float *y{state}) {{ {name}_predict(x, y{', state' if state else ''}); }}",
        ]
        if options.get("training"):
            lines.append("float train(const float *x, const float *y, float lr);")
            lines.append(f"float train(const float *x, const float *y, float lr) {{ return {name}_train(x, y, lr); }}")
        (folder / f"{name}.c").write_text("\n".join(lines) + "\n")
        command = ["gcc", *STRICT, "-O1", "-shared", "-fPIC", f"{name}.c", "-o", f"{name}.so", "-lm"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(folder / f"{name}.so"))
        self.inputs, self.outputs, self.states = (ctypes.c_int * 3).in_dll(self.library, "sizes")
        self.state = np.zeros(self.states, np.float32)

    def predict(self, x):
        x, y = np.ascontiguousarray(x, np.float32), np.full(self.outputs, np.nan, np.float32)
        assert x.size == self.inputs
        self.library.predict(*(a.ctypes.data_as(FLOATS) for a in (x, y, *([self.state] if self.states else []))))
        return y

    def train(self, x, y, lr):
        x, y = (np.ascontiguousarray(a, np.float32) for a in (x, y))
        self.library.train.restype = ctypes.c_float
        return self.library.train(x.ctypes.data_as(FLOATS), y.ctypes.data_as(FLOATS), ctypes.c_float(lr))


def evaluated(model, x):
    with np.errstate(all="ignore"), fast.off():
        return np.asarray(copy.deepcopy(model).eval().compute_forward(x))


def largest(y, least=1):
    """The largest of the numbers that are finite, but not less than `least`."""
    return np.abs(y[np.isfinite(y)]).max(initial=least)


def agrees(got, model, x, last=False):
    """1e-6 of the largest output, and no more than a few times what float32 costs pancake itself where a stack is steep."""
    expected = evaluated(model, x)
    narrow = evaluated(copy.deepcopy(model).astype(np.float32), x if x.dtype.kind in "iu" else x.astype(np.float32))
    if last and expected.ndim == 3:
        expected, narrow = expected[:, -1], narrow[:, -1]
    steep = 4 * largest(narrow[np.isfinite(narrow)] - expected[np.isfinite(narrow)], least=0)
    np.testing.assert_allclose(got, expected.ravel(), rtol=0, atol=1e-6 * largest(expected) + steep)


def is_refused(model, x):
    """Whether something in the model has no converter, or goes backward in time; or it takes no single example."""
    known = (*CONVERTERS, *CELLS)
    if any(type(f) not in known or (isinstance(f, pk.Unrolled) and f.reverse) for f in model.walk()):
        return True
    try:
        evaluated(model, x[:1])
    except ValueError:
        return True
    return False


def check_model(folder, model, x):
    if is_refused(model, x):
        with pytest.raises((TypeError, ValueError)):
            Compiled(folder, model, x=x)
        return
    recurrent = any(isinstance(f, pk.Unrolled) for f in model.walk())
    try:
        net = Compiled(folder, model, x=x)
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert recurrent
        assert "time step" in refused or "one step comes at a time" in refused
        return
    if net.states:
        for t in range(x.shape[1]):
            agrees(net.predict(x[:1, t]), model, x[:1, : t + 1], last=True)
    else:
        agrees(net.predict(x[0]), model, x[:1])


@pytest.mark.slow
@needs_gcc
@settings(max_examples=20)
@given(stacks())
def test_random_stacks(folder, pair):
    model, x = pair
    before, mode = model.state_dict(), [part.training for part in model.walk()]
    check_model(folder, model, x)
    assert [part.training for part in model.walk()] == mode
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.slow
@needs_gcc
@pytest.mark.parametrize("cls", [cls for cls in CONVERTERS if cls is not pk.Unrolled], ids=lambda cls: cls.__name__)
def test_every_function_alone(folder, cls):
    done = 0
    for function, x in examples(functions(cls), 6):
        if x.ndim and not is_refused(function, x) and done < 2:
            check_model(folder, function, x)
            done += 1
    assert done


def test_every_function_is_exported_or_refused_by_name(tmp_path):
    for cls in library_classes(pk.Function):
        if cls not in CONVERTERS:
            ((function, x),) = examples(functions(cls), 1)
            x = np.asarray(x[0]) if isinstance(x, tuple) else x
            with pytest.raises((TypeError, ValueError)) as caught:
                to_c(pk.Sequential([function]), tmp_path / "net.h", x=x)
            assert cls.__name__ in str(caught.value)


# --- recurrence, step by step ---


@needs_gcc
@settings(max_examples=8)
@given(st.data())
def test_recurrent_models_go_on_step_by_step(folder, data):
    def cell(n, n_hidden):
        kind, rng = data.draw(st.sampled_from(CELLS)), data.draw(st.integers(0, 99))
        if kind is pk.RNNCell:
            return kind(n, n_hidden, data.draw(st.sampled_from(["tanh", "relu", "sigmoid"])), rng=rng)
        return kind(n, n_hidden, rng=rng)

    model = pk.Sequential(
        [
            pk.Linear(3, 3, rng=0),
            pk.Unrolled(cell(3, 4)),
            pk.Residual(pk.Sequential([pk.LayerNorm(4), pk.Unrolled(cell(4, 4)), pk.Tanh()])),
            pk.Unrolled(cell(4, 2), data.draw(st.booleans())),
            pk.Linear(2, 2, rng=1),
        ]
    )
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(1, 5, 3))
    net = Compiled(folder, model, x=x)
    assert net.states == sum(
        f.cell.n_hidden * (1 + isinstance(f.cell, pk.LSTMCell)) for f in model.walk() if isinstance(f, pk.Unrolled)
    )
    for _ in range(2):  # the second time with a state of zeros again
        net.state.fill(0)
        for t in range(5):
            agrees(net.predict(x[0, t]), model, x[:, : t + 1], last=True)


def test_what_combines_time_steps_or_goes_backward_is_refused(tmp_path):
    x, cell = np.random.default_rng(0).normal(size=(1, 4, 3)), pk.GRUCell(3, 2, rng=0)
    for model, message in (
        (pk.Sequential([pk.Unrolled(cell), pk.Mean(axis=1)]), r"Mean\(axis=1\) cannot be exported: it combines time steps"),
        (pk.Sequential([pk.Unrolled(cell), pk.Softmax(axis=1)]), r"Softmax\(axis=1\) cannot be exported: it combines"),
        (pk.Sequential([pk.Concatenate([pk.Unrolled(cell), pk.Identity()], axis=2), pk.Flatten()]), r"Flatten\(\) cannot be"),
        (pk.Sequential([pk.Reshape((-1, 2, 6)), pk.Unrolled(pk.RNNCell(6, 2))]), "one step comes at a time"),
        (pk.Unrolled(cell, reverse=True), "it goes backwards in time"),
    ):
        with pytest.raises(ValueError, match=message):
            to_c(model, tmp_path / "net.h", x=x)
    with pytest.raises(TypeError, match=r"no converter for exactly Bidirectional; what has one are Abs, .*, Unrolled"):
        to_c(pk.Bidirectional(cell, pk.GRUCell(3, 2)), tmp_path / "net.h", x=x)
    assert not list(tmp_path.iterdir())


@needs_gcc
@pytest.mark.parametrize("rest", [pk.Mean(axis=1), pk.Sum(axis=1)], ids=repr)
def test_sums_in_a_buffer_of_four_times_as_many_numbers_bring_no_warning(folder, rest):
    layers = [pk.Linear(n_in, n_out, rng=0) for n_in, n_out in ((4, 32), (32, 16), (16, 16), (4, 2))]
    model = pk.Sequential([*layers[:3], pk.Reshape((4, 4)), rest, layers[3]])  # what is summed goes where the 16 of before lay
    check_model(folder, model, np.random.default_rng(0).normal(size=(1, 4)))


# --- int8 ---


@needs_gcc
def test_whole_numbers_for_weights(folder):
    rng = np.random.default_rng(0)
    model = pk.Sequential([pk.Linear(20, 30, rng=0), pk.BatchNorm(30), pk.ReLU(), pk.Linear(30, 5, rng=1)])
    for _ in range(20):
        model(rng.normal(size=(50, 20)))
    x = rng.normal(size=(40, 20))
    net = Compiled(folder, model, x=x, weights="int8")
    assert "int8_t" in net.text
    assert net.text.count("static const float") == 4, "a factor for each row and the biases"
    rounded = copy.deepcopy(model).eval()
    factor = model[1].weight / np.sqrt(model[1].running_var + model[1].eps)
    for layer, folded in ((rounded[0], factor), (rounded[3], np.ones(5))):
        rows = layer.weight * folded[:, np.newaxis]
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127
        layer.weight = np.rint(rows / scale) * scale / folded[:, np.newaxis]
    for row in x:
        np.testing.assert_allclose(net.predict(row), rounded(row[np.newaxis])[0], rtol=1e-4, atol=1e-5)


@needs_gcc
def test_whole_numbers_in_embeddings_and_cells(folder):
    model = pk.Sequential([pk.Embedding(6, 8, rng=0), pk.Unrolled(pk.LSTMCell(8, 12, rng=1), False), pk.Linear(12, 3, rng=2)])
    words = np.array([[1, 5, 0, 3, 2]])
    net = Compiled(folder, model, x=words, weights="int8")
    for t, word in enumerate(words[0]):
        expected = model(words[:, : t + 1])[0]
        np.testing.assert_allclose(net.predict([word]), expected, atol=0.03 * np.abs(expected).max() + 0.01)
    net.state.fill(0)
    assert not np.isnan(net.predict([17])).any()


@needs_gcc
def test_a_row_of_zeros(folder):
    model = pk.Linear(3, 2, bias=False, rng=0)
    model.weight[0] = 0
    np.testing.assert_array_equal(Compiled(folder, model, x=np.ones((1, 3)), weights="int8").predict([1, 2, 3])[0], 0)


# --- learning ---

ACTIVATIONS = [cls for cls in CONVERTERS if cls.__module__.endswith("activations")]


@needs_gcc
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda cls: cls.__name__)
def test_losses_are_those_of_python(folder, activation):
    rng = np.random.default_rng(1)
    middle = activation(5) if activation is pk.PReLU else activation()
    model = pk.Sequential([pk.Linear(4, 5, rng=0), middle, pk.Sequential([pk.MatMul(5, 3, rng=1), pk.AddBias(3)]), pk.Mul(0.7)])
    X, Y = rng.normal(size=(30, 4)), rng.dirichlet(np.ones(3), size=30)
    for loss in (pk.MeanSquaredError(), pk.CrossEntropy(label_smoothing=0.1)):
        ours = copy.deepcopy(model)
        net = Compiled(folder, ours, x=X, training=loss)
        optimizer = pk.SGD(ours, lr=0.2)
        for x, y in zip(X, Y, strict=True):
            optimizer.zero_grad()
            objective = loss(ours(x[np.newaxis]), y[np.newaxis])
            ours.accumulate_grads(loss.compute_backward())
            optimizer.step()
            assert net.train(x, y, 0.2) == pytest.approx(float(objective), rel=2e-5, abs=2e-6)
        np.testing.assert_allclose(net.predict(X[0]), ours(X[:1])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@needs_gcc
@settings(max_examples=8)
@given(
    batches(3, batch=1),
    st.lists(st.sampled_from([c for c in CONVERTERS if c.__module__.endswith("elementwise")]), max_size=2),
    st.data(),
)
def test_one_step_of_any_stack_that_can_be_trained(folder, x, classes, data):
    parts = [pk.Linear(3, 4, rng=data.draw(st.integers(0, 99)))]
    for cls in classes:
        if cls not in (pk.Log, pk.Power, pk.Sum, pk.Mean):
            parts.append(data.draw(functions(cls))[0] if cls is not pk.Subtract else pk.Subtract([0.1, 0.2, 0.3, 0.4]))
    parts += [data.draw(st.sampled_from([pk.Softmax(), pk.LogSoftmax(), pk.Flatten(), pk.PReLU(), pk.Identity()]))]
    model, loss = pk.Sequential([*parts, pk.Linear(4, 2, rng=1)]), pk.MeanSquaredError(reduction="sum")
    model[0].freeze(data.draw(st.booleans()))
    net = Compiled(folder, model, x=x, training=loss)
    optimizer, y = pk.SGD(model, lr=0.01), np.array([[0.3, -0.2]])
    for _ in range(2):
        optimizer.zero_grad()
        objective = loss(model(x), y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
        assert net.train(x, y, 0.01) == pytest.approx(float(objective), rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(net.predict(x), model(x)[0], rtol=1e-3, atol=1e-4)


def test_what_cannot_be_trained_is_refused(tmp_path):
    mse, linear = pk.MeanSquaredError(), pk.Linear(2, 2, rng=0)
    for model, loss, error, message in (
        (pk.Sequential([linear, pk.Dropout(0.3)]), mse, TypeError, r"Dropout\(p=0.3\) cannot be trained"),
        (pk.Sequential([linear, pk.BatchNorm(2)]), mse, TypeError, r"BatchNorm\(2\) cannot be trained"),
        (pk.Residual(linear), mse, TypeError, "cannot be trained in C"),
        (pk.Tanh(), mse, ValueError, "nothing to train"),
        (pk.Sequential([linear, pk.Tanh(), linear.shared_copy()]), mse, ValueError, "share their parameters"),
        (linear, pk.Huber(), TypeError, "a MeanSquaredError or a CrossEntropy, got Huber"),
        (linear, pk.MeanSquaredError(reduction="none"), ValueError, "one value for an example"),
        (linear, pk.CrossEntropy(class_weight=[1, 2]), ValueError, "without class_weight"),
    ):
        with pytest.raises(error, match=message):
            to_c(model, tmp_path / "net.h", x=np.zeros((1, 2)), training=loss)
    with pytest.raises(ValueError, match="int8 cannot be trained"):
        to_c(linear, tmp_path / "net.h", x=np.zeros((1, 2)), training=mse, weights="int8")
    with pytest.raises(ValueError, match="examples of 3 rows"):
        to_c(linear, tmp_path / "net.h", x=np.zeros((1, 3, 2)), training=mse)
    assert not list(tmp_path.iterdir())


# --- the header ---


@needs_gcc
def test_two_headers_in_one_program(tmp_path):
    for name, activation in (("first", pk.GELU), ("second", pk.SELU)):
        to_c(pk.Sequential([pk.Linear(2, 2, rng=0), activation()]), tmp_path / f"{name}.h", x=np.zeros((1, 2)), name=name)
    (tmp_path / "main.c").write_text(
        '#include "first.h"\n#include "second.h"\n#include "first.h"\n#include <stdio.h>\n'
        "int main(void) {\n  const float x[FIRST_INPUTS] = {1.0f, -2.0f};\n  float y[FIRST_OUTPUTS + SECOND_OUTPUTS];\n"
        "  first_predict(x, y);\n  second_predict(x, y + FIRST_OUTPUTS);\n"
        '  for (int i = 0; i < 4; i++) printf("%.9g\\n", (double)y[i]);\n  return 0;\n}\n'
    )
    subprocess.run(["gcc", *STRICT, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    printed = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split()
    x = np.array([[1.0, -2.0]])
    models = [pk.Sequential([pk.Linear(2, 2, rng=0), activation()]) for activation in (pk.GELU, pk.SELU)]
    np.testing.assert_allclose([float(p) for p in printed], np.concatenate([m(x)[0] for m in models]), rtol=1e-5)


def test_normalization_is_folded_into_the_layer_before_it(tmp_path):
    model = pk.Sequential([pk.Linear(2, 3, bias=False, rng=0), pk.BatchNorm(3), pk.Tanh(), pk.BatchNorm(3)])
    to_c(model, tmp_path / "net.h", x=np.zeros((1, 2)))
    text = (tmp_path / "net.h").read_text()
    assert text.count("BatchNorm(3)") == 1
    assert "net_1_" not in text
    assert "net_3_factor" in text


def test_bad_arguments_change_no_file(tmp_path):
    path, linear, x = tmp_path / "net.h", pk.Linear(2, 3, rng=0), np.zeros((1, 2))
    path.write_text("old")
    large = pk.Linear(2, 1)
    large.weight = [[np.inf, 0]]
    for model, options, error, message in (
        (linear, {"name": "2net"}, ValueError, "an identifier of C, got '2net'"),
        (linear, {"name": "float"}, ValueError, "an identifier of C, got 'float'"),
        (linear, {"name": "n\u00e9t"}, ValueError, "an identifier of C"),
        (linear, {"name": 3}, TypeError, "expected name to be a str"),
        (linear, {"weights": "int4"}, ValueError, "expected weights to be"),
        (linear, {"x": (x, x)}, TypeError, "got a tuple"),
        (linear, {"x": np.zeros((1, 5))}, ValueError, r"expected \(..., 2\)"),
        (large, {}, ValueError, r"to_c: weight of Linear\(2, 1\) holds numbers that no float can hold, or that are not finite"),
        ("model", {}, TypeError, "to_c: expected a Function, got 'model'"),
    ):
        with pytest.raises(error, match=message):
            to_c(model, path, **{"x": x, **options})
    assert path.read_text() == "old"


@needs_gcc
@pytest.mark.parametrize("name", ["pk_net", "pk", "PK_x"])
def test_names_that_begin_like_those_inside(folder, name):
    model = pk.mlp([2, 3, 1], activation=pk.Sigmoid, rng=0)
    to_c(model, folder / f"{name}.h", x=np.zeros((1, 2)), name=name)
    text = (folder / f"{name}.h").read_text()
    assert f"void {name}_predict(" in text
    assert f"#define {name.upper()}_INPUTS 2" in text
