"""Models as files of ONNX: what onnxruntime makes of them is what they say, in float32."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pancake as pk
from pancake import fast
from pancake.export import register, to_onnx
from pancake.export.onnx_graph import CONVERTERS, TAKE_INTEGERS
from pancake.testing.strategies import examples, functions, library_classes, stacks

onnx = pytest.importorskip("onnx", reason="writes files of ONNX")
runtime = pytest.importorskip("onnxruntime", reason="runs files of ONNX")

CELLS = (pk.RNNCell, pk.LSTMCell, pk.GRUCell)


def run(proto, *xs, lengths=None):
    """What onnxruntime puts out, given the inputs in the order of the graph."""
    onnx.checker.check_model(proto, full_check=True)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = [i for i in session.get_inputs() if i.name != "lengths"]
    feed = {i.name: np.asarray(x, np.int64 if i.type == "tensor(int64)" else np.float32) for i, x in zip(inputs, xs, strict=True)}
    if lengths is not None:
        feed["lengths"] = np.asarray(lengths, np.int64)
    (y,) = session.run(["y"], feed)
    assert y.dtype == np.float32
    return y


def evaluated(model, x, **options):
    model = copy.deepcopy(model).eval()
    with np.errstate(all="ignore"), fast.off():
        return np.asarray(model.compute_forward(x, **options))


def largest(y, least=1):
    """The largest of the numbers that are finite, but not less than `least`."""
    return np.abs(y[np.isfinite(y)]).max(initial=least)


def agrees(proto, model, x, **options):
    """1e-6 of the largest output, and no more than a few times what float32 costs pancake itself where a stack is steep."""
    got, expected = run(proto, x, **options), evaluated(model, x, **options)
    narrow = evaluated(copy.deepcopy(model).astype(np.float32), x if x.dtype.kind in "iu" else x.astype(np.float32), **options)
    assert got.shape == expected.shape
    steep = 4 * largest(narrow[np.isfinite(narrow)] - expected[np.isfinite(narrow)], least=0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * largest(expected) + steep)


@given(stacks())
def test_random_stacks(pair):
    model, x = pair
    if any(type(part) not in (*CONVERTERS, *CELLS) for part in model.walk()):
        with pytest.raises(TypeError, match="no converter for exactly"):
            to_onnx(model, x=x)
        return
    before, mode = model.state_dict(), [part.training for part in model.walk()]
    agrees(to_onnx(model, x=x), model, x)
    assert [part.training for part in model.walk()] == mode
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@given(functions(*(cls for cls in CONVERTERS if cls.__module__.startswith("pancake."))))
def test_every_function_alone(pair):
    function, x = pair
    agrees(to_onnx(function, x=x), function, x)


def test_every_function_is_exported_or_refused_by_name():
    for cls in library_classes(pk.Function):
        if cls not in CONVERTERS:
            ((function, x),) = examples(functions(cls), 1)
            with pytest.raises(TypeError, match=f"to_onnx: {cls.__name__}.* no converter for exactly {cls.__name__}"):
                to_onnx(function, x=x)
    public = [getattr(pk, name) for name in pk.__all__]
    named = {cls for cls in public if isinstance(cls, type) and issubclass(cls, pk.Function) and cls is not pk.Function}
    assert named - CONVERTERS.keys() >= set(CELLS), "cells are exported by Unrolled"


# --- axes that are free ---


def test_any_number_of_examples():
    model = pk.Sequential([pk.Linear(4, 8, rng=0), pk.BatchNorm(8), pk.GELU(), pk.Linear(8, 3, rng=1), pk.Softmax()])
    model(np.random.default_rng(0).normal(size=(20, 4)))
    proto = to_onnx(model, x=np.zeros((2, 4)))
    for rows in (1, 5, 300):
        agrees(proto, model, np.random.default_rng(rows).normal(size=(rows, 4)))


@settings(max_examples=25)
@given(st.data())
def test_recurrent_parts_with_lengths_directions_and_free_axes(data):
    n_in, n_hidden = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))

    def cell(n):
        kind, rng = data.draw(st.sampled_from(CELLS)), data.draw(st.integers(0, 99))
        if kind is pk.RNNCell:
            return kind(n, n_hidden, data.draw(st.sampled_from(["tanh", "relu", "sigmoid"])), rng=rng)
        return kind(n, n_hidden, rng=rng)

    def part(n, return_sequences):
        if data.draw(st.booleans()):
            return pk.Bidirectional(cell(n), cell(n), return_sequences), 2 * n_hidden
        return pk.Unrolled(cell(n), return_sequences, reverse=data.draw(st.booleans())), n_hidden

    first, width = part(n_in, True)
    second, width = part(width, data.draw(st.booleans()))
    model = pk.Sequential([first, second, pk.Linear(width, 2, rng=0)])
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(3, 4, n_in))
    plain, with_lengths = to_onnx(model, x=x), to_onnx(model, x=x, lengths=[4, 1, 2])
    assert [i.name for i in with_lengths.graph.input] == ["x", "lengths"]
    for batch, time in ((3, 4), (1, 1), (5, 7)):
        x = np.random.default_rng(batch).normal(size=(batch, time, n_in))
        agrees(plain, model, x)
        lengths = np.array(data.draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch)))
        agrees(with_lengths, model, x, lengths=lengths)


def test_words_go_in_as_integers():
    model = pk.Sequential([pk.Embedding(9, 3, rng=0), pk.Unrolled(pk.GRUCell(3, 4, rng=1), return_sequences=False)])
    proto = to_onnx(model, x=np.zeros((2, 5), int))
    (x,) = proto.graph.input
    assert x.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert [d.dim_param for d in x.type.tensor_type.shape.dim] == ["batch", "time"]
    agrees(proto, model, np.random.default_rng(0).integers(0, 9, (4, 7)))


def test_integers_that_nothing_takes_as_such_go_in_as_floats():
    model = pk.Sequential([pk.Add([pk.Identity(), pk.Sequential([pk.Tanh()])]), pk.Linear(2, 3, rng=0)])
    proto = to_onnx(model, x=np.array([[1, 2]]))
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    agrees(proto, model, np.array([[0.5, -0.25]]))


def test_a_stack_of_nothing():
    for x, kind in ((np.array([[1, 2]]), onnx.TensorProto.INT64), (np.array([[1.5, 2]]), onnx.TensorProto.FLOAT)):
        proto = to_onnx(pk.Sequential([]), x=x)
        assert [v.type.tensor_type.elem_type for v in (*proto.graph.input, *proto.graph.output)] == [kind, kind]


def test_a_second_axis_is_only_free_where_the_model_lets_it_be():
    fixed = pk.Sequential([pk.Linear(6, 6, rng=0), pk.Reshape((-1, 3, 2)), pk.Unrolled(pk.RNNCell(2, 2, rng=0), False)])
    proto = to_onnx(fixed, x=np.zeros((1, 6)))
    assert [d.dim_value or d.dim_param for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["batch", 6]
    agrees(proto, fixed, np.random.default_rng(0).normal(size=(4, 6)))


@pytest.mark.parametrize("part", [pk.PReLU(3, max_ndim=2), pk.BatchNorm(3, max_ndim=2).eval()], ids=repr)
def test_further_axes_are_refused_by_the_file_too(part):
    proto = to_onnx(part, x=np.zeros((1, 3)))
    with pytest.raises(Exception, match="Invalid rank for input: x"):
        run(proto, np.zeros((4, 3, 3)))


def test_attention_sees_what_it_may():
    model = pk.Sequential(
        [
            pk.Embedding(9, 8, rng=0),
            pk.SinusoidalPositions(8),
            pk.PositionalEmbedding(30, 8, rng=1),
            pk.Residual(pk.MultiHeadAttention(8, 2, causal=True, rng=2)),
            pk.MultiHeadAttention(8, 4, rng=3),
        ]
    )
    words = np.zeros((3, 5), int)
    plain, with_lengths = to_onnx(model, x=words), to_onnx(model, x=words, lengths=[5, 2, 3])
    for batch, time in ((2, 4), (5, 20), (1, 1)):
        words = np.random.default_rng(batch).integers(0, 9, (batch, time))
        agrees(plain, model, words)
        lengths = np.random.default_rng(time).integers(1, time + 1, batch)
        valid = np.arange(time) < lengths[:, np.newaxis]
        got, expected = run(with_lengths, words, lengths=lengths), evaluated(model, words, lengths=lengths)
        np.testing.assert_allclose(got[valid], expected[valid], rtol=0, atol=2e-6)


def test_several_inputs():
    left = pk.Sequential([pk.Embedding(5, 2, rng=0), pk.Unrolled(pk.LSTMCell(2, 3, rng=1), return_sequences=False)])
    model = pk.Sequential([pk.Concatenate([left, pk.Linear(4, 2, rng=2)]), pk.Linear(5, 1, rng=3)])
    words, numbers = np.array([[1, 2, 3], [4, 0, 1]]), np.random.default_rng(0).normal(size=(2, 4))
    proto = to_onnx(model, x=(words, numbers))
    assert [i.name for i in proto.graph.input] == ["x0", "x1"]
    expected = model[1](np.concatenate([model[0][0](words), model[0][1](numbers)], axis=-1))
    np.testing.assert_allclose(run(proto, words, numbers), expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="has 2 branches, got 3 inputs"):
        to_onnx(model, x=(words, numbers, numbers))
    with pytest.raises(ValueError, match="empty tuple"):
        to_onnx(model, x=())


# --- names, and what is in the file ---


def test_names_and_versions(tmp_path):
    model = pk.Sequential([pk.Linear(2, 3, rng=0), pk.Tanh(), pk.Unrolled(pk.GRUCell(3, 2, rng=0))])
    proto = to_onnx(model, tmp_path / "net.onnx", x=np.zeros((1, 4, 2)))
    assert onnx.load(tmp_path / "net.onnx") == proto
    assert proto.producer_name == "pancake"
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 18)]
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    np.testing.assert_array_equal(arrays["0.weight"], model[0].weight.astype(np.float32))
    assert {"0.weight", "0.bias", "2.cell.W", "2.cell.R", "2.cell.B"} <= arrays.keys()
    assert [o.name for o in proto.graph.output] == ["y"]


def test_parts_that_share_parameters_share_them_in_the_file():
    first = pk.Linear(3, 3, rng=0)
    model = pk.Sequential([first, pk.Tanh(), first.shared_copy()])
    proto = to_onnx(model, x=np.ones((1, 3)))
    assert sum(list(i.dims) == [3, 3] for i in proto.graph.initializer) == 1
    agrees(proto, model, np.ones((2, 3)))


# --- Functions of users ---


class Scale(pk.Function):
    def __init__(self, n):
        self.k, self.grad_k = np.linspace(1, 2, n), np.zeros(n)

    def compute_forward(self, x):
        return self.k * x


@pytest.fixture
def registered():
    before, integers = dict(CONVERTERS), set(TAKE_INTEGERS)
    yield register
    CONVERTERS.clear()
    CONVERTERS.update(before)
    TAKE_INTEGERS.clear()
    TAKE_INTEGERS.update(integers)


def test_a_function_of_ones_own_is_exported_once_it_has_a_converter(registered, tmp_path):
    model = pk.Sequential([pk.Linear(2, 3, rng=0), Scale(3), pk.Tanh()])
    path = tmp_path / "net.onnx"
    with pytest.raises(TypeError, match=r"no converter for exactly Scale.*pancake.export.register\(Scale, converter\)"):
        to_onnx(model, path, x=np.zeros((1, 2)))
    assert not path.exists()
    registered(Scale, lambda function, graph, x: graph.add("Mul", x, function.k))
    proto = to_onnx(model, x=np.zeros((1, 2)))
    assert "1.k" in {i.name for i in proto.graph.initializer}
    np.testing.assert_allclose(run(proto, np.ones((2, 2))), model(np.ones((2, 2))), rtol=0, atol=1e-6)  # of numbers up to 1

    class Other(Scale):
        pass

    with pytest.raises(TypeError, match="no converter for exactly Other"):
        to_onnx(Other(3), x=np.zeros((1, 3)))
    registered(Other, lambda function, graph, x: None)
    with pytest.raises(TypeError, match="expected the converter of Other to return a name in the graph, got None"):
        to_onnx(Other(3), x=np.zeros((1, 3)))
    for cls, converter in ((3, print), (int, print), (Scale, 3)):
        with pytest.raises(TypeError, match="register: expected"):
            registered(cls, converter)


class Pair(pk.Function):
    """A container of a user's own."""

    def __init__(self, f, g):
        self.f, self.g = f, g

    def compute_forward(self, x):
        return self.f.compute_forward(x) - self.g.compute_forward(x)


def test_a_container_of_ones_own(registered):
    registered(Pair, lambda pair, graph, x: graph.add("Sub", graph.convert(pair.f, x), graph.convert(pair.g, x)))
    model = Pair(pk.Embedding(4, 2, rng=0), pk.Embedding(4, 2, rng=1))
    proto = to_onnx(model, x=np.array([0]))
    np.testing.assert_allclose(run(proto, [1, 3]), model(np.array([1, 3])), rtol=1e-6)


class Leaky(pk.RNNCell):
    """A cell of a user's own."""


# --- what is refused, before anything is written ---


def test_what_cannot_be_exported(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    large = pk.Linear(2, 1)
    large.weight = [[1e300, 0]]
    replaced = pk.Tanh()
    replaced.compute_forward = lambda x: x
    refused = [
        (pk.Unrolled(Leaky(2, 3)), np.zeros((1, 2, 2)), TypeError, "ONNX has RNN, LSTM and GRU, and no Leaky"),
        (pk.LSTMCell(2, 3), np.zeros((1, 2)), TypeError, "no converter for exactly LSTMCell"),
        (large, np.zeros((1, 2)), ValueError, "weight holds numbers of more than float32 can hold"),
        (replaced, np.zeros((1, 2)), TypeError, "cannot be exported"),
        (pk.Linear(2, 3), np.zeros((1, 4)), ValueError, r"expected \(..., 2\), got \(1, 4\)"),
        (pk.Linear(2, 3), np.zeros((0, 2)), ValueError, "at least one example"),
        (pk.Linear(2, 3), [["a", "b"]], TypeError, "expected x to be real numbers"),
        (pk.Linear, np.zeros((1, 2)), TypeError, "expected a Function, got <class"),
    ]
    for model, x, error, message in refused:
        with pytest.raises(error, match=message):
            to_onnx(model, path, x=x)
    with pytest.raises(TypeError, match="nothing in it takes them"):
        to_onnx(pk.Linear(2, 3), path, x=np.zeros((1, 2)), lengths=[1])
    with pytest.raises(ValueError, match="lengths from 1 to 2"):
        to_onnx(pk.Unrolled(pk.RNNCell(2, 3)), path, x=np.zeros((1, 2, 2)), lengths=[3])
    with pytest.raises(ValueError, match=r"to_onnx: .* is a folder"):
        to_onnx(pk.Linear(2, 3), tmp_path, x=np.zeros((1, 2)))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
