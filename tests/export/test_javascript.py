"""Models as modules of JavaScript: Node computes what they compute, to 1e-12."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given

import pancake as pk
from pancake import fast
from pancake.export import to_c, to_js, to_onnx
from pancake.export.javascript import CONVERTERS, module_of
from pancake.testing.strategies import examples, functions, library_classes, stacks

DRIVER = """
const readline = require("node:readline");
readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { text, xs } = JSON.parse(line);
  try {
    const module = await import("data:text/javascript;base64," + Buffer.from(text).toString("base64"));
    if (String(Object.keys(module)) !== "predict") throw new Error("exports " + Object.keys(module));
    const written = (y) => y.map(String);
    console.log(JSON.stringify({ ys: xs.map((x) => written(module.predict(x))) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
});
"""


@pytest.fixture(scope="module")
def node():
    """A function of the text of a module and a list of inputs: what `predict` returns for each."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    process = subprocess.Popen(["node", "-e", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(text, xs):
        process.stdin.write(json.dumps({"text": text, "xs": xs}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return [np.array([float(number.replace("Infinity", "inf")) for number in y]) for y in answer["ys"]]

    yield run
    process.stdin.close()
    process.wait()
    process.stdout.close()


def evaluated(model, x):
    with np.errstate(all="ignore"), fast.off():
        return np.asarray(copy.deepcopy(model).eval().compute_forward(x))


def largest(y):
    """The largest of the numbers that are finite, but at least 1."""
    return np.abs(y[np.isfinite(y)]).max(initial=1)


def agrees(node, model, x):
    """Each example by itself, as that is what `predict` takes; nested, and in row order."""
    text = module_of(to_js, model, x)
    examples = [x[i] for i in range(len(x))]
    nested, flat = ([array.tolist() for array in examples], [array.ravel().tolist() for array in examples])
    for inputs in (nested, flat):
        for y, example in zip(node(text, inputs), examples, strict=True):
            expected = evaluated(model, example[np.newaxis])
            np.testing.assert_allclose(y, expected.ravel(), rtol=1e-12, atol=1e-12 * largest(expected))


def takes_one(model, x):
    """Whether the model takes one example; some reshape a whole batch."""
    try:
        evaluated(model, x[:1])
    except ValueError:
        return False
    return True


@pytest.mark.slow
@given(stacks())
def test_random_stacks(node, pair):
    model, x = pair
    x = x[:1] if takes_one(model, x) else x
    if not takes_one(model, x):
        return
    if any(type(part) not in (*CONVERTERS, pk.RNNCell, pk.LSTMCell, pk.GRUCell) for part in model.walk()):
        with pytest.raises(TypeError, match="no converter for exactly"):
            module_of(to_js, model, x)
        return
    before, mode = model.state_dict(), [part.training for part in model.walk()]
    agrees(node, model, x)
    assert [part.training for part in model.walk()] == mode
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.slow
@given(functions(*CONVERTERS))
def test_every_function_alone(node, pair):
    function, x = pair
    if x.ndim and takes_one(function, x):
        agrees(node, function, x[:1])


def test_every_function_is_exported_or_refused_by_name():
    for cls in library_classes(pk.Function):
        if cls not in CONVERTERS:
            ((function, x),) = examples(functions(cls), 1)
            x = np.asarray(x[0]) if isinstance(x, tuple) else x
            with pytest.raises((TypeError, ValueError)) as caught:
                to_js(pk.Sequential([function]), "unwritten.js", x=x)
            assert cls.__name__ in str(caught.value)


def test_sequences_of_any_length(node):
    model = pk.Sequential(
        [
            pk.Embedding(7, 3, rng=0),
            pk.Bidirectional(pk.LSTMCell(3, 4, rng=1), pk.GRUCell(3, 2, rng=2)),
            pk.Unrolled(pk.RNNCell(6, 5, "relu", rng=3), return_sequences=False, reverse=True),
            pk.Linear(5, 2, rng=4),
        ]
    )
    text = module_of(to_js, model, np.zeros((1, 4), int))
    for words in ([1, 2, 3, 4], [6], [0, 1, 2, 3, 4, 5, 6, 0, 1]):
        np.testing.assert_allclose(node(text, [words])[0], model(np.array([words]))[0], rtol=1e-12, atol=1e-14)


def test_a_large_net(node):
    model = pk.Sequential(
        [pk.Linear(784, 300, rng=0, init="lecun_normal"), pk.Tanh(), pk.Linear(300, 10, rng=1), pk.LogSoftmax()]
    )
    agrees(node, model, np.random.default_rng(0).normal(size=(2, 784)))


def test_the_edges_of_activations(node):
    edges = np.array([[0.0, 1e-30, -1e-30, 1.0, -1.0, 20.0, -20.0, 88.0, -88.0, 710.0, -710.0, 1e4, -1e4]])
    activations = [pk.Sigmoid, pk.Tanh, pk.ReLU, pk.ELU, pk.SELU, pk.GELU, pk.SiLU, pk.Mish, pk.Softplus, pk.Softsign]
    for activation in (*(cls() for cls in activations), pk.GELU("tanh"), pk.Softmax(), pk.LogSoftmax(), pk.HardTanh()):
        (y,) = node(module_of(to_js, activation, edges), edges.tolist())
        np.testing.assert_allclose(y, activation(edges)[0], rtol=1e-12, atol=1e-300, err_msg=repr(activation))


def test_what_does_not_fit_throws(node):
    text = module_of(to_js, pk.Sequential([pk.Embedding(5, 2, rng=0), pk.Flatten()]), np.zeros((1, 3), int))
    for x, message in (
        ([1, 2], r"predict: expected 3 numbers, one example of shape \[3\], got 2 entries"),
        ([1, 2, "a"], "expected 3 numbers"),
        ([1, 2, 5], "expected indices from 0 to 4, got 5"),
        ([1, 2, 0.5], r"expected indices from 0 to 4, got 0\.5"),
    ):
        with pytest.raises(RuntimeError, match=message):
            node(text, [x])
    text = module_of(to_js, pk.PReLU(3, max_ndim=2), np.zeros((4, 3)))
    with pytest.raises(RuntimeError, match=r"expected 3 numbers, one example of shape \[3\], got"):
        node(text, [np.zeros((3, 3)).tolist()])


def test_the_file_is_a_module_that_needs_nothing(tmp_path):
    path = tmp_path / "net.mjs"
    model = pk.mlp([2, 3, 1], activation=pk.Tanh, rng=0)
    to_js(model, path, x=np.zeros((1, 2)))
    text = path.read_text()
    assert "import" not in text
    assert "function lstmCell" not in text, "what is not used is not in it"
    if shutil.which("node"):
        program = f"import {{ predict }} from {json.dumps(str(path))}; console.log(predict([0.5, -1])[0]);"
        done = subprocess.run(["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=True)
        assert float(done.stdout) == pytest.approx(model(np.array([[0.5, -1]])).item(), rel=1e-12)


def test_what_cannot_be_exported_is_refused_before_anything_is_written(tmp_path):
    class Mine(pk.Tanh):
        pass

    def spoilt(cls, name, number, *arguments, **options):
        function = cls(*arguments, **options)
        getattr(function, name).flat[-1] = number
        return pk.Sequential([pk.Linear(2, 3, rng=0), pk.Residual(function)])

    cell = pk.Unrolled(pk.GRUCell(2, 3, rng=0))
    cell.cell.bias_hh[0] = np.nan
    rows, of_three = np.zeros((1, 2)), r"to_js: expected finite numbers, got nan or infinity in 1.f.{} of the model, .* again"
    path = tmp_path / "net.js"
    path.write_text("old")
    for model, x, error, message in (
        (spoilt(pk.Linear, "weight", np.nan, 3, 3), rows, ValueError, of_three.format("weight")),
        (spoilt(pk.Linear, "bias", -np.inf, 3, 3, dtype=np.float32), rows, ValueError, of_three.format("bias")),
        (spoilt(pk.BatchNorm, "running_mean", np.inf, 3), rows, ValueError, of_three.format("running_mean")),
        (spoilt(pk.BatchNorm, "running_var", np.nan, 3), rows, ValueError, of_three.format("deviation")),
        (spoilt(pk.Standardize, "scale", np.inf, 3), rows, ValueError, of_three.format("scale")),
        (cell, np.zeros((1, 4, 2)), ValueError, "nan or infinity in cell.bias_hh of the model"),
        (pk.Sequential([pk.Linear(2, 3), Mine()]), np.zeros((1, 2)), TypeError, r"to_js: Mine\(\) cannot be exported"),
        (pk.Unrolled(pk.LSTMCell(2, 3)), (np.zeros((1, 2, 2)),), TypeError, "expected one input as x, got a tuple"),
        (pk.Linear(2, 3), np.zeros(2), ValueError, r"expected \(..., 2\), got \(1,\)"),
        (pk.Tanh(), 3.0, ValueError, "an axis for the examples"),
        (pk.Linear(2, 3), np.zeros((1, 4)), ValueError, r"expected \(..., 2\)"),
        (3, np.zeros((1, 4)), TypeError, "to_js: expected a Function, got 3"),
    ):
        with pytest.raises(error, match=message):
            to_js(model, path, x=x)
    assert path.read_text() == "old"


@pytest.mark.parametrize("part", [pk.PReLU(3, max_ndim=2), pk.BatchNorm(3, max_ndim=2).eval()], ids=repr)
@pytest.mark.parametrize("write", [to_js, to_c, to_onnx])
def test_an_input_of_more_axes_than_the_model_takes_is_no_example(write, part, tmp_path):
    """What is exported takes as many axes as its example has, so that it need not look again."""
    if write is to_onnx:
        pytest.importorskip("onnx", reason="writes files of ONNX")
    model = pk.Sequential([pk.Residual(part), pk.Flatten(), pk.Linear(9, 2, rng=0)])
    with pytest.raises(ValueError, match=r"max_ndim=2.*: expected at most 2 axes, got \([14], 3, 3\)"):
        write(model, tmp_path / "net", x=np.zeros((4, 3, 3)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [to_js, to_c, to_onnx])
def test_a_refusal_does_not_print_all_numbers_of_what_it_refuses(write, tmp_path):
    class Mine(pk.Standardize):
        pass

    if write is to_onnx:
        pytest.importorskip("onnx", reason="writes files of ONNX")
    data = np.random.default_rng(0).normal(size=(9, 20))
    advice = "write one and call pancake.export.register" if write is to_onnx else "what has one are Abs, "
    with pytest.raises(
        TypeError, match=rf"Mine.* cannot be exported: there is no converter for exactly Mine; {advice}"
    ) as refused:
        write(pk.Sequential([Mine.of(data)]), tmp_path / "net", x=data)
    assert str(refused.value).count("0.") < 10
