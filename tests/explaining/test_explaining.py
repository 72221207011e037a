"""`explain`: what it says is what forward and backward do, for any stack, and the model is left as it was."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import pancake as pk
from pancake.explaining import Explanation, explain
from pancake.testing.strategies import stacks

X, Y = pk.datasets.moons(6, noise=0.1, rng=0)


@pytest.fixture(autouse=True)
def _new_pyplot() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        yield
        plt.close("all")


def stack() -> Any:
    inner = pk.Residual(pk.Sequential([pk.Linear(3, 3, rng=1), pk.Tanh()]))
    return pk.Sequential(
        [pk.Linear(2, 3, rng=0), pk.ReLU(), inner, pk.Dropout(0.5, rng=7), pk.BatchNorm(3), pk.Linear(3, 2, rng=2)]
    )


def section(text: str, head: str) -> str:
    """The lines of one layer: those after its head up to the next empty one."""
    return text[text.index(head) :].partition("\n\n")[0]


def test_the_numbers_are_those_of_a_forward_and_a_backward() -> None:
    model = pk.mlp([2, 4, 2], activation=pk.Tanh, rng=0)
    loss = pk.CrossEntropy()
    explanation = explain(model, loss, X, Y)
    objective = loss(model(X), Y)
    d = loss.compute_backward()
    dObj_dX = model.compute_backward(d)
    assert explanation.objective == objective
    assert [step.path for step in explanation.steps] == ["0", "1", "2"]
    np.testing.assert_allclose(explanation.trace.dObj_dX, dObj_dX, rtol=1e-12)
    np.testing.assert_allclose(explanation.trace.dObj_dPred, d, rtol=1e-12)
    for step, later in zip(explanation.steps, [*explanation.steps[1:], None], strict=True):
        np.testing.assert_allclose(step.dObj_dOut, d if later is None else later.dObj_dIn, rtol=1e-12)
        np.testing.assert_array_equal(step.y, explanation.trace.pred if later is None else later.x)
    for step, layer in ((explanation.steps[0], model[0]), (explanation.steps[2], model[2])):
        (weight, bias) = step.parameters
        assert (weight.name, bias.name) == ("weight", "bias")
        np.testing.assert_allclose(weight.grad, layer.grad_weight, rtol=1e-12)
        np.testing.assert_array_equal(bias.value, layer.bias)


def test_the_text_has_repr_shape_and_the_norm_of_the_gradient() -> None:
    model = pk.mlp([2, 4, 2], activation=pk.Tanh, rng=0)
    loss = pk.CrossEntropy()
    text = str(explain(model, loss, X, Y))
    loss(model(X), Y)
    model.compute_backward(loss.compute_backward())
    for name, norm in pk.gradient_norms(model).items():
        path = name.split()[0]
        layer = section(text, f"{path}  {model[int(path)]!r}")
        assert "(6, " in layer
        (found,) = re.findall(r"gradient of its parameters: norm (\S+)", layer)
        assert float(found) == pytest.approx(norm, rel=1e-3)
    assert "y = tanh(x)." in section(text, "1  Tanh()")
    assert "y = x W^T + b" in section(text, "0  Linear(2, 4)")


@given(drawn=stacks())
@settings(max_examples=25)
def test_any_stack_is_explained(drawn: tuple[Any, Any]) -> None:
    model, x = drawn
    explanation = explain(model, pk.MeanSquaredError(), x, np.zeros_like(model.shared_copy()(x)))
    text, html, page = str(explanation), explanation._repr_html_(), explanation.to_markdown()
    check_html(html)
    for step in explanation.steps:
        assert f"{step.path or 'model'}  {step.function!r}" in text
        assert step.dObj_dOut is not None
        assert np.shape(step.dObj_dOut) == np.shape(step.y)
    assert "## The chain rule" in page


def check_html(html: str) -> None:
    """Every tag that is opened is closed, in order."""
    open_tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("br", "img"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Parser().feed(html)
    assert not open_tags
    assert html.startswith("<table")


def test_the_model_is_left_as_it_was() -> None:
    model, loss = stack(), pk.CrossEntropy()
    other = stack()
    loss(model(X), Y)
    other(X)
    params, grads = model.get_params_and_grads()
    grads[0][...] = 5.0
    before = model.state_dict(), [grad.copy() for grad in grads], [vars(part).keys() for part in model.walk()]
    explain(model, loss, X[:3], Y[:3])
    after = model.state_dict(), [grad.copy() for grad in grads], [vars(part).keys() for part in model.walk()]
    np.testing.assert_equal(after, before)
    model.compute_backward(loss.compute_backward())  # of the forward before
    grads[0][...] -= 5.0
    other.compute_backward(loss.compute_backward())
    for grad, expected in zip(grads, other.get_params_and_grads()[1], strict=True):
        np.testing.assert_allclose(grad, expected)
    np.testing.assert_array_equal(model(X), other(X))  # nor have the masks of Dropout moved on
    assert params[0] is model.get_params_and_grads()[0][0]


def test_the_mode_of_the_model_is_that_of_the_explanation() -> None:
    model = stack().eval()
    explanation = explain(model, pk.CrossEntropy(), X, Y)
    np.testing.assert_array_equal(explanation.trace.pred, pk.predict(model, X))
    assert not model.training


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", [pk.RNNCell, pk.LSTMCell, pk.GRUCell])
def test_recurrent_nets_are_unrolled_in_time(cell: Any, reverse: bool) -> None:
    unrolled = pk.Unrolled(cell(2, 3, rng=0), reverse=reverse)
    model = pk.Sequential([unrolled, pk.Linear(3, 1, rng=0)])
    x = np.random.default_rng(0).normal(size=(4, 5, 2))
    explanation = explain(model, pk.MeanSquaredError(), x, np.zeros((4, 5, 1)))
    step, head = explanation.steps
    times = step.times
    assert [time.time for time in times] == (list(range(5)) if not reverse else list(range(4, -1, -1)))
    np.testing.assert_array_equal(np.stack([time.out for time in sorted(times, key=lambda t: t.time)], axis=1), step.y)
    np.testing.assert_array_equal(
        np.stack([time.dObj_dIn for time in sorted(times, key=lambda t: t.time)], axis=1), step.dObj_dIn
    )
    np.testing.assert_array_equal(
        np.stack([time.dObj_dOut for time in sorted(times, key=lambda t: t.time)], axis=1), head.dObj_dIn
    )
    for earlier, later in itertools.pairwise(times):
        np.testing.assert_equal(later.before, earlier.state)
        np.testing.assert_equal(earlier.dObj_dState, later.dObj_dBefore)
    assert {parameter.name for parameter in step.parameters} == {
        f"cell.{n}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    assert "unrolled in time" in str(explanation)
    assert "h_t" in section(str(explanation), "0  Unrolled")  # the equations of the cell
    assert "dObj_dX_t" in explanation.to_markdown()
    check_html(explanation._repr_html_())


def test_lengths_weights_and_both_directions() -> None:
    model = pk.Sequential([pk.Bidirectional(pk.GRUCell(1, 2, rng=0), pk.GRUCell(1, 2, rng=1), False), pk.Linear(4, 2, rng=0)])
    x = np.random.default_rng(0).normal(size=(3, 20, 1))
    loss = pk.CrossEntropy()
    explanation = explain(model, loss, x, [0, 1, 1], weight=[1.0, 0.0, 2.0], lengths=[20, 3, 7])
    assert explanation.objective == pytest.approx(float(loss(model(x, lengths=[20, 3, 7]), [0, 1, 1], [1.0, 0.0, 2.0])))
    assert [step.path for step in explanation.steps] == ["0", "0.forward", "0.backward", "1"]
    assert [step.depth for step in explanation.steps] == [0, 1, 1, 0]
    assert not explanation.trace.dObj_dX[1].any()
    assert "..." in section(str(explanation), "0.forward  Unrolled")  # of twenty steps the first and the last are shown
    drawn = explanation.plot(figure=Figure())
    assert [image.get_array().shape for image in drawn.artists["outputs"]][2] == (20, 2)


def test_what_is_dead_zero_and_large_is_said() -> None:
    model: Any = pk.Sequential([pk.Linear(2, 3, rng=0), pk.ReLU(), pk.Linear(3, 2, rng=0)])
    model[0].bias = [-1e3, 1.0, 1.0]
    text = str(explain(model, pk.CrossEntropy(), X, Y))
    assert "! dead: 1 of 3 units put out 0 for every example" in section(text, "1  ReLU()")
    model[0].bias = -1e3
    text = str(explain(model, pk.CrossEntropy(), X, Y))
    assert "! dead: puts out 0 for every example" in section(text, "1  ReLU()")
    assert "! the gradient that leaves is 0: nothing before this layer learns" in section(text, "1  ReLU()")
    assert "! the gradient of weight is 0" in section(text, "0  Linear")
    assert "! large: puts out up to " in section(text, "0  Linear")
    model[0].bias = np.nan
    assert "numbers put out are nan or infinite" in str(explain(model, pk.CrossEntropy(), np.abs(X), Y))
    deep = pk.mlp([2] + 3 * [4] + [1], activation=lambda: pk.Mul(1e-4), rng=0)
    assert "shrinks by a factor of" in str(explain(deep, pk.MeanSquaredError(), X, np.ones((6, 1))))
    healthy = str(explain(pk.mlp([2, 8, 2], activation=pk.Tanh, rng=0), pk.CrossEntropy(), X, Y))
    assert "!" not in healthy
    frozen: Any = pk.mlp([2, 2], rng=0).freeze()
    assert "! frozen: its parameters get no gradient" in str(explain(frozen, pk.CrossEntropy(), X, Y))


def test_functions_of_users_and_a_single_layer() -> None:
    class Scale(pk.Function):
        """y = k x for each feature."""

        def __init__(self) -> None:
            self.k, self.grad_k = np.ones(2), np.zeros(2)

        def compute_forward(self, x: Any) -> Any:
            self.x = x
            return self.k * x

        def compute_backward(self, dObj_dOut: Any) -> Any:
            self.grad_k += (dObj_dOut * self.x).sum(axis=0)
            return self.k * dObj_dOut

    class Silent(Scale):
        __doc__ = None

    explanation = explain(pk.Sequential([Scale(), Silent()]), pk.MeanSquaredError(reduction="sum"), X, np.zeros_like(X))
    assert "y = k x for each feature." in section(str(explanation), "0  Scale()")
    (k,) = explanation.steps[0].parameters
    np.testing.assert_allclose(k.grad, 2 * (X**2).sum(axis=0))
    alone = explain(Scale(), pk.MeanSquaredError(reduction="none"), X, np.zeros_like(X))
    assert alone.objective == pytest.approx((X**2).sum())
    assert "model  Scale()" in str(alone)
    assert alone.to_markdown().startswith("# The chain rule through 1 layer and MeanSquaredError")


def test_a_container_of_users_that_needs_no_gradient_of_the_input() -> None:
    class Around(pk.Function):
        def __init__(self) -> None:
            self.inner = pk.Linear(2, 1, rng=0)

        def compute_forward(self, x: Any) -> Any:
            self.x = x
            return self.inner(x)

        def compute_backward(self, dObj_dOut: Any) -> Any:
            self.inner.accumulate_grads(dObj_dOut)
            return np.zeros_like(self.x)

    _, inner = explain(Around(), pk.MeanSquaredError(), X, np.zeros((6, 1))).steps
    np.testing.assert_allclose(inner.dObj_dIn, inner.dObj_dOut * pk.Linear(2, 1, rng=0).weight)
    assert inner.parameters[0].grad.any()


def test_shared_parameters_stand_with_the_first() -> None:
    layer = pk.Linear(2, 2, rng=0)
    explanation = explain(pk.Sequential([layer, pk.Tanh(), layer.shared_copy()]), pk.MeanSquaredError(), X, X)
    assert [len(step.parameters) for step in explanation.steps] == [2, 0, 0]


def test_the_derivation_has_the_shapes_of_the_stack() -> None:
    page = explain(stack(), pk.CrossEntropy(), X, Y).to_markdown()
    assert "dObj_dx_0 = dObj_dx_6 . dx_6/dx_5 . dx_5/dx_4 . dx_4/dx_3 . dx_3/dx_2 . dx_2/dx_1 . dx_1/dx_0" in page
    assert "- arrives: `dObj_dx_1`, (6, 3)" in page
    assert "- leaves: `dObj_dx_0`, (6, 2)" in page
    assert "dObj_dIn = dObj_dOut W,  grad_weight = sum_n dObj_dOut_n^T x_n" in page
    assert page.index("### Layer 6") < page.index("### Layer 1")
    assert "#### In it: `2.f.0`, `Linear(3, 3)`" in page


def test_the_picture() -> None:
    explanation = explain(stack(), pk.CrossEntropy(), X, Y)
    drawn = explanation.plot()
    assert plt.gcf() is drawn.figure
    names = ["input", "0 Linear", "1 ReLU", "2 Residual", "2.f.0 Linear", "2.f.1 Tanh", "3 Dropout", "4 BatchNorm", "5 Linear"]
    assert [ax.get_title().split("\n")[0] for ax in drawn.axes[::2]] == names
    np.testing.assert_array_equal(drawn.artists["outputs"][1].get_array(), explanation.steps[0].y)
    np.testing.assert_array_equal(drawn.artists["gradients"][1].get_array(), explanation.steps[0].dObj_dOut)
    np.testing.assert_array_equal(drawn.artists["gradients"][0].get_array(), explanation.trace.dObj_dX)
    file = io.BytesIO()
    drawn.figure.savefig(file)
    plt.close("all")
    figure = Figure()
    assert explanation.plot(figure=figure).figure is figure
    assert not plt.get_fignums()


def test_what_is_not_finite_is_drawn_as_such_and_not_as_0() -> None:
    linear = pk.Linear(2, 2, rng=0)
    linear.weight[0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        drawn = pk.explain(linear, pk.MeanSquaredError(), np.ones((3, 2)), np.zeros((3, 2))).plot()
    image = drawn.artists["outputs"][1]
    assert image.get_array().mask.tolist() == [[True, False]] * 3
    assert image.get_cmap().get_bad().tolist() == [0, 0, 0, 1]
    (title,) = drawn.figure.texts
    assert title.get_text().endswith("; black is nan or infinite")
    drawn.figure.draw_without_rendering()
    plt.close("all")


def test_the_title_of_a_picture_of_one_layer_is_not_cut_off() -> None:
    drawn = pk.explain(pk.Linear(2, 1, rng=0), pk.MeanSquaredError(), np.ones((3, 2)), np.zeros((3, 1))).plot()
    drawn.figure.draw_without_rendering()
    (title,) = drawn.figure.texts
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.figure.bbox.width
    plt.close("all")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((abs, pk.CrossEntropy(), X, Y), TypeError, "explain: expected a Function, got <built-in"),
        ((pk.Tanh, pk.CrossEntropy(), X, Y), TypeError, r"make one first: Tanh\(...\)"),
        ((pk.Linear(2, 2, rng=0), pk.CrossEntropy, X, Y), TypeError, r"expected a loss.*make one first: CrossEntropy\(\)"),
        ((pk.Linear(2, 2, rng=0), "mse", X, Y), TypeError, "expected a loss, such as"),
        ((pk.Linear(3, 2, rng=0), pk.CrossEntropy(), X, Y), ValueError, r"Linear\(3, 2\): expected \(..., 3\), got \(6, 2\)"),
        ((pk.Linear(2, 2, rng=0), pk.CrossEntropy(), X, Y[:2]), ValueError, "CrossEntropy"),
    ],
)
def test_what_cannot_be_explained(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        explain(*arguments)


def test_it_is_at_top_level_and_shows_itself() -> None:
    assert pk.explain is explain
    explanation = explain(pk.Linear(2, 2, rng=0), pk.CrossEntropy(), X, Y)
    assert isinstance(explanation, Explanation)
    assert repr(explanation).startswith("<Explanation of 1 layers, CrossEntropy ")
    assert "Linear(2, 2)" in explanation._repr_html_()


class Tensor:
    """As one of torch, whose `__array__` does not know of copies."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None):
        return self.array if dtype is None else self.array.astype(dtype)


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_arrays_of_other_libraries_are_taken_without_a_warning():
    model, x, y = pk.mlp([3, 4, 2], rng=0), np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])
    assert str(pk.explain(model, pk.CrossEntropy(), Tensor(x), Tensor(y))) == str(pk.explain(model, pk.CrossEntropy(), x, y))
