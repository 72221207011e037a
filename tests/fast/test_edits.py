"""Single edits of recurrent stacks and of whole steps, each of which has once given another number than the plain layers."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.recurrent.cells import Cell

X = np.random.default_rng(0).normal(size=(4, 5, 2))


def both(run: Callable[[], Any]) -> None:
    """Run something with the fast path and without, and compare what it returns."""
    shown = []
    for on in (True, False):
        with contextlib.nullcontext() if on else pk.fast.off():
            shown.append(run())
    for fast, plain in zip(*shown, strict=True):
        if fast is None or isinstance(fast, str):
            assert fast == plain
        else:
            np.testing.assert_allclose(fast, plain, rtol=1e-10, atol=1e-13)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises((RuntimeError, ValueError, IndexError)) as refused:
        call()
    return str(refused.value)


def exchanged_gradient() -> Any:
    model = pk.Sequential([pk.Unrolled(pk.RNNCell(2, 3, rng=0))])
    y = model(X)
    model.compute_backward(y)
    cell: Any = model[0].cell  # type: ignore[union-attr]
    vars(cell)["grad_bias_hh"] = np.zeros(3)
    for _ in range(3):
        model(X)
        model.compute_backward(y)
    return (cell.grad_bias_hh,)


def word_that_is_not_finite() -> Any:
    """It stands in the table, but not in the text."""
    model: Any = pk.Sequential([pk.Embedding(4, 2, rng=0), pk.Unrolled(pk.RNNCell(2, 3, rng=0))])
    model[0].weight[3] = np.nan
    y = model(np.array([[0, 1, 2, 1, 0]]))
    model.compute_backward(np.ones_like(y))
    return y, *model.get_params_and_grads()[1]


def gradient_that_is_not_finite() -> Any:
    """It reaches the words of its own text alone."""
    model: Any = pk.Sequential([pk.Embedding(4, 2, rng=0), pk.Unrolled(pk.GRUCell(2, 3, rng=0))])
    d = np.ones_like(model(np.array([[0, 1, 0, 1, 0], [2, 2, 2, 2, 2]])))
    d[1, 0] = np.nan
    model.compute_backward(d)
    return (model[0].grad_weight,)


def table_of_fewer_words() -> Any:
    model: Any = pk.Sequential([pk.Embedding(6, 2, rng=0), pk.Unrolled(pk.RNNCell(2, 3, rng=0))])
    vars(model[0]).update(weight=model[0].weight[:3].copy(), grad_weight=np.zeros((3, 2)))
    return (refusal(lambda: model(np.array([[0, 5, 4, 1]]))),)


def word_below_zero() -> Any:
    model: Any = pk.Sequential([pk.Embedding(6, 2, rng=0), pk.Unrolled(pk.RNNCell(2, 3, rng=0))])
    y = model(np.array([[0, 5, 4, 1]]))
    return y, refusal(lambda: model(np.array([[0, 5, -1, 1]])))


@pytest.mark.parametrize("part", ["unrolled", "cell"])
@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("norm", [True, False])
def test_frozen(part: str, when: str, norm: bool) -> None:
    def program() -> Any:
        layers: list[Any] = [pk.Unrolled(pk.RNNCell(2, 3, rng=0)), pk.LayerNorm(3), pk.Linear(3, 2, rng=1)]
        model: Any = pk.Sequential(layers if norm else [layers[0], layers[2]])
        frozen = model[0] if part == "unrolled" else model[0].cell
        if when == "before":
            frozen.freeze()
        y = model(X)
        frozen.freeze()
        model.accumulate_grads(X[:, :, :1] * np.ones_like(y))
        return model[0].cell.grad_bias_hh, model[0].dObj_dState, model[-1].grad_weight

    both(program)


def init_state_of_the_base() -> Any:
    """Which that of an LSTM calls."""
    before = Cell.init_state
    model = pk.Sequential([pk.Unrolled(pk.LSTMCell(2, 3, rng=0))])
    model(X)
    Cell.init_state = lambda self, batch: before(self, batch) + 1  # type: ignore[method-assign]
    try:
        return (model(X),)
    finally:
        Cell.init_state = before  # type: ignore[method-assign]


def weights_that_are_views_of_one_array() -> Any:
    first, second = pk.RNNCell(2, 3, rng=0), pk.RNNCell(3, 3, rng=1)
    weight = np.asfortranarray(first.weight_hh)
    for cell, view in ((first, weight), (second, weight.view())):
        vars(cell).update(weight_hh=view, grad_weight_hh=np.zeros((3, 3), order="F"))
    model = pk.Sequential([pk.Unrolled(first), pk.Unrolled(second)])
    step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.01))
    for _ in range(2):
        step(X, np.ones((4, 5, 3)))
    return tuple(model.get_params_and_grads()[1])


def optimizer_of_an_outer_stack() -> Any:
    model, x = pk.Sequential([pk.Linear(2, 2, rng=0)]), np.ones((4, 2))
    outer = pk.Sequential([model])
    optimizer = pk.SGD(outer, lr=0.1)
    step = pk.TrainStep(model, pk.MeanSquaredError(), optimizer)
    step(x, x)
    new = pk.Linear(2, 2, rng=3)
    outer.functions.append(new)
    new.grad_weight[...] = 1
    step(x, x)
    optimizer.step()
    return (new.weight,)


def step_that_is_not_finite_after_a_forward() -> Any:
    """The forward has not been answered, and is then not the latest any more."""
    model = pk.Sequential([pk.Linear(2, 2, rng=0)])
    step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
    x, y = np.ones((4, 2)), np.zeros((4, 2))
    step(x, y)
    step(x, y)
    model(x)
    y[0] = np.inf
    with np.errstate(invalid="ignore"):  # of the weights, which are not finite any more
        return step(x, y), refusal(lambda: model.compute_backward(x))


def slice_that_has_run_and_is_gone() -> Any:
    """Its forward was never answered, so the one after it may be answered once."""
    model, x = pk.Sequential([pk.Linear(2, 3, rng=0), pk.Tanh(), pk.Linear(3, 2, rng=1)]), np.ones((4, 2))
    model[:2](x)
    gc.collect()
    y = model(x)
    return model.compute_backward(y), refusal(lambda: model.compute_backward(y))


def second_backward_of_an_older_forward_and_of_another_shape() -> Any:
    """The layer that was called alone refuses before it looks at the gradient."""
    model, x = pk.Sequential([pk.Linear(2, 3, rng=0), pk.Linear(3, 2, rng=1)]), np.ones((4, 2))
    model[1](np.ones((4, 3)))
    y = model(x)
    return model.compute_backward(y), refusal(lambda: model.compute_backward(np.ones((5, 7))))


def first_target_refused() -> Any:
    model, loss = pk.Sequential([pk.Linear(2, 1, rng=0)]), pk.BinaryCrossEntropy(from_logits=True)
    step = pk.TrainStep(model, loss, pk.SGD(model))
    refused = refusal(lambda: step(np.ones((2, 2)), np.array([[1.0], [2.0]])))
    return refused, refusal(loss.compute_backward)


def loss_that_is_called_twice() -> Any:
    """Of its two backwards the second would be that of the first call."""
    loss, z = pk.BinaryCrossEntropy(from_logits=True), np.array([[0.5], [-1.0]])
    loss(z, 0 * z)
    loss.compute_backward()
    loss(z, 0 * z)
    loss(z, 0 * z + 1)
    return loss.compute_backward(), refusal(loss.compute_backward)


def weight_exchanged_before_backward() -> Any:
    """Which is that of the steps that have run."""
    model: Any = pk.Sequential([pk.Unrolled(pk.RNNCell(2, 3, rng=0))])
    y = model(X)
    vars(model[0].cell)["weight_hh"] = np.ones((3, 3))
    return model.compute_backward(y), *model.get_params_and_grads()[1]


@pytest.mark.parametrize(
    "program",
    [
        exchanged_gradient,
        loss_that_is_called_twice,
        weight_exchanged_before_backward,
        word_that_is_not_finite,
        gradient_that_is_not_finite,
        table_of_fewer_words,
        word_below_zero,
        init_state_of_the_base,
        weights_that_are_views_of_one_array,
        optimizer_of_an_outer_stack,
        step_that_is_not_finite_after_a_forward,
        slice_that_has_run_and_is_gone,
        second_backward_of_an_older_forward_and_of_another_shape,
        first_target_refused,
    ],
    ids=lambda program: program.__name__,
)
def test_edits(program: Callable[[], Any]) -> None:
    both(program)


def test_layers_remember_nothing_of_a_forward_that_failed() -> None:
    """Of which some arrays are already those of the new input."""
    model, x = pk.Sequential([pk.Linear(1, 1, bias=False, rng=0), pk.LeakyReLU(0.5), pk.Linear(1, 1, rng=1)]), np.ones((2, 1))
    for _ in range(2):
        y = model(x)
        model.compute_backward(y)
    model[0].weight[...] = -1
    with pytest.raises(FloatingPointError), np.errstate(under="raise"):
        model(np.full((2, 1), np.finfo(float).smallest_subnormal))
    for part in (model, *model):
        with pytest.raises(RuntimeError, match="compute_forward"):
            part.compute_backward(y)


def test_a_step_whose_target_is_refused_leaves_no_gradient_of_two_batches() -> None:
    model, loss, rng = pk.Sequential([pk.Linear(2, 1, rng=0)]), pk.BinaryCrossEntropy(from_logits=True), np.random.default_rng(0)
    step = pk.TrainStep(model, loss, pk.SGD(model))
    for _ in range(2):
        step(rng.normal(size=(3, 2)), np.array([[1.0], [0.0], [1.0]]))
    loss.compute_backward()
    refusal(lambda: step(rng.normal(size=(3, 2)), np.array([[1.0], [0.0], [2.0]])))
    with pytest.raises(RuntimeError, match="a target that was refused has overwritten"):
        loss.compute_backward()
    step(rng.normal(size=(3, 2)), np.array([[1.0], [0.0], [1.0]]))
    assert loss.compute_backward().shape == (3, 1)


def test_a_refused_target_leaves_a_gradient_or_none() -> None:
    loss, z = pk.BinaryCrossEntropy(from_logits=True), np.array([[0.5], [-1.0]])
    y = np.array([[0.0], [1.0]])
    loss(z, y)
    expected = loss.compute_backward()
    refusal(lambda: loss(5 * z, y + 1))
    np.testing.assert_array_equal(loss.compute_backward(), expected)
    with pk.fast.off(), pytest.raises(RuntimeError, match="call it again before backward"):
        loss.compute_backward()
    loss(z, y)
    with pk.fast.off():
        np.testing.assert_allclose(loss.compute_backward(), expected, rtol=1e-12)


@pytest.mark.parametrize("cell", [pk.RNNCell, pk.LSTMCell, pk.GRUCell])
@pytest.mark.parametrize("bias", [-700.0, -10, 10, 30])
def test_gates_that_are_nearly_open_or_shut_keep_their_digits(cell: Any, bias: float) -> None:
    def program() -> Any:
        options = {"activation": "sigmoid"} if cell is pk.RNNCell else {}
        unrolled = pk.Unrolled(cell(2, 3, rng=0, **options))
        unrolled.cell.bias_hh += bias
        unrolled.compute_backward(np.ones_like(unrolled(X)))
        return unrolled.cell.grad_bias_hh, unrolled.cell.grad_weight_ih

    shown = []
    for on in (True, False):
        with contextlib.nullcontext() if on else pk.fast.off():
            shown.append(program())
    for fast, plain in zip(*shown, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-9, atol=0)


def test_programs_of_whole_steps_do_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pk.Sequential([pk.Unrolled(pk.LSTMCell(2, 4, rng=0)), pk.Linear(4, 2, rng=1)])
    step = pk.TrainStep(model, pk.CrossEntropy(), pk.SGD(model))
    rng = np.random.default_rng(0)
    monkeypatch.setattr("pancake.fast.stacks.PROGRAMS", 8)
    for large in (1 << 22, 3000):
        monkeypatch.setattr("pancake.fast.stacks.LARGE", large)
        for length in range(1, 13):
            step(rng.normal(size=(3, length, 2)), rng.integers(0, 2, (3, length)))
        kept = list(step._steps.programs.values())
        assert len(kept) <= 8
        assert len(kept) == 1 or sum(program.numbers for program in kept) <= large


@pytest.mark.parametrize("swap", ["a spy", "freeze", "a spy on the stack", "a spy on the loss", "a spy on the optimizer"])
def test_an_attribute_that_goes_while_another_comes_is_noticed(swap: str) -> None:
    calls: list[int] = []

    def spy(owner: Any, name: str) -> None:
        method = getattr(owner, name)
        setattr(owner, name, lambda *args: (calls.append(1), method(*args))[1])

    model, loss, y = pk.mlp([2, 3, 1], activation=pk.Tanh, rng=0), pk.MeanSquaredError(), np.ones((len(X), 1))
    optimizer = pk.SGD(model, lr=0.1)
    step, x = pk.TrainStep(model, loss, optimizer), X[:, 0]
    y = np.ones((len(x), 1))
    parts = {"a spy on the stack": model, "a spy on the loss": loss, "a spy on the optimizer": optimizer}
    part = parts.get(swap, model[0])
    part.note = "which layer this is"
    for _ in range(2):
        step(x, y)
        model(x)
        pk.predict(model, x)
        model.compute_backward(y)
    del part.note
    optimizer.zero_grad()
    if swap == "freeze":
        model[0].freeze()
        before = model[0].weight.copy()
        model(x)
        model.accumulate_grads(y)
        assert not model[0].grad_weight.any()
        step(x, y)
        np.testing.assert_array_equal(model[0].weight, before)
        return
    spy(part, "step" if part is optimizer else "compute_forward")
    step(x, y)
    assert len(calls) == 1
    if part in (model, model[0]):
        model(x)
        pk.predict(model, x)
        assert len(calls) == 3


def test_what_a_callback_has_run_in_evaluation_mode_is_no_excuse_after_fit() -> None:
    model, x, calls = pk.mlp([2, 3, 1], activation=pk.Tanh, rng=0), X[:, 0], []

    def draw(state: Any) -> None:
        state.model.eval()
        pk.predict(state.model, x)
        state.model(x)

    pk.fit(model, pk.MeanSquaredError(), pk.SGD(model), x, np.ones((len(x), 1)), epochs=1, progress=False, callbacks=[draw])
    for part in model:
        forward = part.compute_forward
        part.compute_forward = lambda x, forward=forward: (calls.append(1), forward(x))[1]
    model(x)
    pk.predict(model, x)
    assert len(calls) == 2 * len(model)


@pytest.mark.parametrize(
    ("make", "name"),
    [(pk.ELU, "alpha"), (pk.LeakyReLU, "negative_slope"), (pk.Softplus, "beta"), (pk.SELU, "scale"), (pk.SELU, "alpha")],
)
def test_settings_that_change_or_belong_to_a_class(make: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    function = make()
    model = pk.Sequential([pk.Linear(3, 5, rng=0), function])

    def same() -> None:
        shown = []
        for on in (True, False):
            with contextlib.nullcontext() if on else pk.fast.off():
                shown.append([pk.predict(model, x), model(x), model.compute_backward(np.ones((5, 5)))])
        for fast, plain in zip(*shown, strict=True):
            np.testing.assert_allclose(fast, plain, rtol=1e-12)

    same()
    monkeypatch.setattr(make if make is pk.SELU else function, name, 0.5)
    same()
    if make is pk.SELU:  # which checks none
        setattr(function, name, np.arange(1.0, 6) / 4)  # a number for each feature, of which there are as many as rows
        same()


def test_a_setting_of_a_loss_that_changes() -> None:
    loss, z = pk.Huber(0.5), np.linspace(-2, 2, 5)[:, np.newaxis]
    for delta in (0.5, 1.5):
        loss.delta = delta
        value = loss(z, 0 * z)
        with pk.fast.off():
            assert loss(z, 0 * z) == pytest.approx(value, rel=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_program_that_cannot_be_made_where_numpy_is_to_raise_is_up_to_the_page() -> None:
    for on in (True, False):
        loss = pk.Huber(1e39)  # more than float32 holds
        with contextlib.nullcontext() if on else pk.fast.off():
            loss(np.ones(3), np.zeros(3))
            with pytest.raises(RuntimeWarning, match="overflow"):
                loss(np.ones(3, np.float32), np.zeros(3))
            np.testing.assert_array_equal(loss.compute_backward(), np.full(3, 1 / 3))
        with pk.fast.off():
            np.testing.assert_array_equal(loss.compute_backward(), np.full(3, 1 / 3))


@pytest.mark.parametrize("rows", [100, 500])
def test_what_interrupts_a_prediction_may_predict(rows: int) -> None:
    model = pk.mlp([3, 8, 8, 1], activation=pk.Sigmoid, rng=0)
    model[0].bias[0] = -800  # whose exponential underflows
    x, other = np.random.default_rng(0).normal(size=(2, rows, 3))
    want = [pk.predict(model, part) for part in (x, other)]
    seen: list[Any] = []

    def handler(*_: Any) -> None:
        with np.errstate(all="ignore"):
            seen.append(pk.predict(model, other))

    # NumPy calls a handler of errors in the middle of a program, as Python may that of a signal.
    before = np.seterrcall(handler)
    try:
        with np.errstate(under="call"):
            np.testing.assert_array_equal(pk.predict(model, x), want[0])
    finally:
        np.seterrcall(before)
    assert seen
    for y in seen:
        np.testing.assert_allclose(y, want[1], rtol=1e-12)
    np.testing.assert_array_equal(pk.predict(model, x), want[0])


@pytest.mark.parametrize("classes", [2, 3, 600])
@pytest.mark.parametrize("shape", [(4,), (4, 5)], ids=str)
def test_the_page_answers_for_classes_what_the_fast_path_was_asked(classes: int, shape: tuple[int, ...]) -> None:
    rng, loss = np.random.default_rng(0), pk.CrossEntropy()
    z, y = rng.normal(size=(*shape, classes)), rng.integers(0, classes, shape)
    loss(z, y)
    fast = loss.compute_backward()
    loss(z, y)
    with pk.fast.off():
        np.testing.assert_allclose(loss.compute_backward(), fast, rtol=1e-10, atol=1e-17)


@pytest.mark.parametrize("loss", [pk.CrossEntropy(), pk.BinaryCrossEntropy(from_logits=True)], ids=repr)
def test_infinite_logits_are_up_to_the_page_where_numpy_is_to_raise(loss: Any) -> None:
    z, y = np.array([[0.0, -np.inf], [-np.inf, 1.0]]), np.array([0, 1])
    if isinstance(loss, pk.BinaryCrossEntropy):
        z, y = np.array([[-np.inf], [np.inf]]), np.array([[0.0], [1.0]])
    with np.errstate(all="raise"):
        assert loss(z, y) == 0
        np.testing.assert_array_equal(loss.compute_backward(), np.zeros_like(z))


@pytest.mark.parametrize("rows", [4, 9000])
def test_a_step_in_which_numpy_raises_goes_by_the_pages(rows: int) -> None:
    model, loss = pk.Sequential([pk.Linear(2, 2, rng=0)]), pk.CrossEntropy()
    step, x, y = pk.TrainStep(model, loss, pk.SGD(model, lr=0.1)), np.ones((rows, 2)), np.zeros(rows, int)
    step(x, y)
    model[0].bias[:] = 0, -np.inf  # a class that cannot be
    with np.errstate(all="raise"):
        assert step(x, y) == 0
