"""The fast path gives the numbers of the plain layers, whatever happens between two calls, and nobody's method is passed by."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from programs import Scale, World, difference

import pancake as pk
from pancake.fast import cells, chains, embeddings, losses, prediction, program, sequences, stacks
from pancake.fast.activations import ACTIVATIONS
from pancake.fast.program import Notes

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
PROGRAMS, CHUNK = (10_000, 100) if THOROUGH else (300, 20)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "start", [pytest.param(start, marks=pytest.mark.slow if start >= 160 else []) for start in range(0, PROGRAMS, CHUNK)]
)
def test_random_programs_see_the_same_on_either_path(start: int) -> None:
    for seed in range(start, start + CHUNK):
        found = difference(seed)
        assert found is None, found


def test_the_programs_do_go_by_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else the comparison would be one of the plain layers with themselves."""
    runs = {"forward": 0, "backward": 0}
    make, write = chains.Program.__init__, chains.Program._write_backward

    def counting(name: str, run: Callable[..., Any], refused: Any) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            result = run(*args)
            runs[name] += result is not refused
            return result

        return counted

    def make_counting(self: Any, *args: Any) -> None:
        make(self, *args)
        self.forward = counting("forward", self.forward, None)

    def write_counting(self: Any, *args: Any) -> Any:
        return counting("backward", write(self, *args), NotImplemented)

    monkeypatch.setattr(chains.Program, "__init__", make_counting)
    monkeypatch.setattr(chains.Program, "_write_backward", write_counting)
    for seed in range(30):
        with np.errstate(all="ignore"):
            list(World(seed, True).run(25))
    assert runs["forward"] > 200
    assert runs["backward"] > 100


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: a program that forgets a thousandth of the gradient is seen."""
    backward = chains.Program._write_backward

    def forgetful(self: Any, *args: Any) -> Any:
        run = backward(self, *args)
        return lambda d: run(0.999 * d if isinstance(d, np.ndarray) else d)

    monkeypatch.setattr(chains.Program, "_write_backward", forgetful)
    assert any(difference(seed) for seed in range(10))


@pytest.mark.parametrize("as_one", [False, True])
def test_layers_that_share_a_gradient_alone_add_to_it(as_one: bool) -> None:
    def run() -> list[Any]:
        a, b = pk.Linear(2, 2, rng=0), pk.Linear(2, 2, rng=1)
        vars(b)["grad_weight"] = a.grad_weight
        model, loss = pk.Sequential([a, pk.Tanh(), b]), pk.MeanSquaredError()
        optimizer, x, y = pk.SGD(model), np.ones((3, 2)), np.zeros((3, 2))
        if as_one:
            pk.TrainStep(model, loss, optimizer)(x, y)
        else:
            optimizer.zero_grad()
            loss(model(x), y)
            model.accumulate_grads(loss.compute_backward())
        return [a.grad_weight]

    both(run)


def both(run: Any, dtype: Any = np.float64) -> None:
    """Compare what a function returns, a list of arrays, with the fast path and without."""
    fast = [np.array(a) for a in run()]
    with pk.fast.off():
        plain = [np.array(a) for a in run()]
    for a, b in zip(fast, plain, strict=True):
        assert a.dtype == b.dtype
        tolerance = 1e-12 if dtype == np.float64 else 1e-4  # of sums over a thousand rows
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def trained(model: pk.Function, loss: pk.Loss, x: Any, y: Any, steps: int = 5) -> Any:
    """A function that trains copies of the model for some steps, and returns all that comes of it."""
    start = model.state_dict()

    def run() -> list[Any]:
        model.load_state_dict(start)
        optimizer, seen = pk.SGD(model, lr=0.1, momentum=0.5), []
        for _ in range(steps):
            optimizer.zero_grad()
            seen.append(loss(model(x), y))
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()
        return [*seen, *model.state_dict().values(), pk.predict(model, x)]

    return run


def made_for(activation: Any, dtype: Any) -> Any:
    """What makes an activation for layers of a dtype."""
    return functools.partial(activation, dtype=dtype) if activation is pk.PReLU else activation


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3), (5, 3), (700, 3), (4, 6, 3), (40, 26, 3)], ids=str)
def test_every_kernel_trains_as_its_page(activation: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    make = made_for(activation, dtype)
    model = pk.mlp([3, 6, 5, 2], activation=make, output=make, rng=0, dtype=dtype)
    x, y = RNG.normal(size=shape).astype(dtype), RNG.uniform(size=(*shape[:-1], 2)).astype(dtype)
    loss = pk.MeanSquaredError()
    both(trained(model, loss, x, y), dtype)
    assert stacks.state_of(model).items[0].programs


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("most", [1, program.MANY])
@pytest.mark.parametrize("rows", [1, 40, 300])
def test_every_kernel_takes_numbers_of_all_sizes(
    activation: Any, dtype: Any, most: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "MANY", most)
    model = pk.Sequential([pk.Linear(1, 8, bias=False, rng=0, dtype=dtype), made_for(activation, dtype)()])
    model[0].weight[...] = np.array([0, 1e-30, 0.5, 1, 100, 1e4, np.inf, np.nan], dtype)[:, np.newaxis]
    x = np.linspace(-3, 3, rows, dtype=dtype)[:, np.newaxis] if rows > 1 else np.full((1, 1), -1, dtype)

    def run() -> list[Any]:
        with np.errstate(all="ignore"):
            y = model(x)
            return [y, model.compute_backward(np.ones_like(y))]

    fast = run()
    with pk.fast.off():
        plain = run()
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5 if dtype is np.float32 else 1e-12)


def test_bounds_go_with_the_programs_that_need_them() -> None:
    tracemalloc.start()
    try:
        for i in range(20):
            loss, pred = pk.Huber(delta=1 + i / 10), np.zeros((100_000, 1))
            loss(pred, pred)
        del loss, pred
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1e6  # 20 MB, if they stayed


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("rows", [4, 600])
def test_what_is_left_of_sure_and_right_logits_keeps_its_digits(dtype: Any, rows: int) -> None:
    z = np.resize(np.array([36, -36, 20, -20, 12, 8, -8], dtype), (rows, 1))
    loss = pk.BinaryCrossEntropy(from_logits=True)
    values = [loss(z, (z > 0).astype(dtype)) for _ in range(2)]
    with pk.fast.off():
        plain = loss(z, (z > 0).astype(dtype))
    assert 0 < plain < 1e-3
    np.testing.assert_allclose(values, plain, rtol=1e-13 if dtype == np.float64 else 1e-6)
    single = [loss(z[:1], np.ones((1, 1), dtype)) for _ in range(2)]
    np.testing.assert_allclose(single, np.exp(-36.0), rtol=1e-6)


@pytest.mark.parametrize("layout", ["C", "F", "time first"])
@pytest.mark.parametrize("classes", [3, 600])
def test_cross_entropy_in_every_layout(layout: str, classes: int) -> None:
    pred, target = RNG.normal(size=(4, 5, classes)), RNG.integers(0, classes, (4, 5))
    if layout == "time first":
        pred = pred.swapaxes(0, 1).copy().swapaxes(0, 1)
    pred = np.asarray(pred, order="F") if layout == "F" else pred
    loss = pk.CrossEntropy()
    both(lambda: [loss(pred, target), loss.compute_backward(), loss(pred[0], target[0]), loss.compute_backward()])


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint16, bool])
@pytest.mark.parametrize("rows", [1, 50, 600])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_of_two_classes(dtype: Any, kind: Any, rows: int, reduction: str) -> None:
    loss = pk.CrossEntropy(reduction=reduction)
    for scale in (0.1, 3, 30, 800):
        pred, target = (scale * RNG.normal(size=(rows, 2))).astype(dtype), RNG.integers(0, 2, rows).astype(kind)

        def run(pred: Any = pred, target: Any = target) -> Any:
            seen = [loss(pred, target), loss.divisor, loss.compute_backward(), loss(np.asfortranarray(pred), target)]
            with pk.fast.off():  # the page goes on from there
                return [*seen, loss.compute_backward()]

        both(run, dtype)
    for label in (2, -1, 2**40):
        for _ in range(2):
            with pytest.raises(ValueError, match="labels from 0 to 1"):
                loss(pred, np.array([label] * rows))


def test_two_sure_and_right_classes_keep_their_digits() -> None:
    loss = pk.CrossEntropy(reduction="sum")
    for _ in range(2):
        assert loss(np.array([[0.0, 40.0], [300.0, 0.0]]), np.array([1, 0])) == pytest.approx(np.exp(-40.0), rel=1e-14)
        wrong = np.exp([-40.0, -300.0])
        np.testing.assert_allclose(loss.compute_backward(), [[wrong[0], -wrong[0]], [-wrong[1], wrong[1]]], rtol=1e-14)


@pytest.mark.parametrize("rows", [3, 300])
def test_two_classes_with_infinite_logits(rows: int) -> None:
    loss, y = pk.CrossEntropy(), np.zeros(rows, int)

    def run() -> list[Any]:
        seen = []
        for value, place in ((np.inf, 0), (np.inf, 1), (-np.inf, 0), (-np.inf, 1), (np.nan, 0)):
            pred = np.ones((rows, 2))
            pred[1, place] = value
            seen += [loss(pred, y), loss.compute_backward()]
        return seen

    with np.errstate(all="ignore"):
        both(run)
        assert np.isnan(run()[0])


@pytest.mark.parametrize("loss", [pk.BinaryCrossEntropy(True), pk.CrossEntropy()], ids=repr)
@pytest.mark.parametrize("classes", [2, 3])
def test_targets_that_are_changed_in_place_are_seen(loss: pk.Loss, classes: int) -> None:
    pred = RNG.normal(size=(6, classes))
    labels = isinstance(loss, pk.CrossEntropy)

    def run() -> list[Any]:
        target: Any = np.zeros(6, int) if labels else np.zeros((6, classes))
        seen = []
        for value in (0, 0, 1, 1, 0):
            target[2] = value
            seen += [loss(pred, target), loss.compute_backward()]
        target[2] = 7
        for _ in range(2):
            with pytest.raises(ValueError, match=r"expected (labels|every target)"):
                loss(pred, target)
        target[2] = 1
        return [*seen, loss(pred, target), loss.compute_backward()]

    both(run)


@pytest.mark.parametrize(
    "loss", [pk.MeanSquaredError, pk.MeanAbsoluteError, pk.Huber, lambda **k: pk.BinaryCrossEntropy(True, **k)]
)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4, 1), (300, 2), (2, 3, 4)], ids=str)
def test_elementwise_losses(loss: Any, reduction: str, shape: tuple[int, ...]) -> None:
    made, pred, target = loss(reduction=reduction), 3 * RNG.normal(size=shape), RNG.uniform(size=shape)
    both(lambda: [made(pred, target), made.divisor, made.compute_backward(), made.compute_backward()])


@pytest.mark.parametrize("cell", [pk.RNNCell, pk.LSTMCell, pk.GRUCell], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("lengths", [None, [3, 1, 4, 2]], ids=["whole", "lengths"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("at_once", [2, 100])
def test_every_sequence_kernel_computes_as_its_cell(
    cell: Any, lengths: Any, reverse: bool, whole: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "STRETCH", at_once * cell.gates * 4 * 5 * 8)
    unrolled = pk.Unrolled(cell(3, 5, rng=0), whole, reverse)
    x, d = RNG.normal(size=(4, 6, 3)), RNG.normal(size=(4, 6, 5) if whole else (4, 5))

    def run() -> list[Any]:
        for g in unrolled.get_params_and_grads()[1]:
            g.fill(0)
        seen = [unrolled(x, lengths=lengths), unrolled.compute_backward(d)]
        states = (unrolled.state, unrolled.dObj_dState)
        return [*seen, *np.ravel(states), *unrolled.get_params_and_grads()[1]]

    both(run)
    assert (len(sequences.KERNELS_OF[unrolled].stretches) > 1) == (at_once == 2)


# --- the switch ---


def test_off_nests_and_ends_with_its_block_also_after_an_error() -> None:
    from pancake.fast import switch

    before = set(switch.reasons)
    with pk.fast.off():
        with pytest.raises(ZeroDivisionError), pk.fast.off():
            raise ZeroDivisionError
        assert len(switch.reasons) == len(before) + 1
    assert switch.reasons == before


def test_off_ends_also_where_it_is_interrupted_while_it_begins() -> None:
    from pancake.fast import switch

    before = set(switch.reasons)
    block = pk.fast.off()
    block.__enter__()
    assert switch.reasons != before
    del block  # as an exception does before `with` has taken it over
    gc.collect()
    assert switch.reasons == before


@pytest.mark.parametrize(("value", "expected"), [("0", "True"), ("1", "False")])
def test_the_environment_switches_a_whole_process(value: str, expected: str) -> None:
    code = "import pancake as pk; from pancake.fast import switch; print(bool(switch.reasons))"
    environment = {**os.environ, "PANCAKE_FAST": value}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == expected


# --- what people put in the way is not passed by ---

X, U = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))


def net() -> pk.Sequential:
    return pk.Sequential([pk.Linear(3, 4, rng=0), pk.Tanh(), pk.Linear(4, 2, rng=1)])


@pytest.mark.parametrize("name", ["compute_forward", "compute_backward", "accumulate_grads"])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_method_put_on_a_layer_is_called(name: str, index: int) -> None:
    model, called = net(), []
    model(X)
    model.accumulate_grads(U)
    inner = getattr(model[index], name)
    vars(model[index])[name] = lambda *args: called.append(name) or inner(*args)
    model(X)
    model.accumulate_grads(U)
    first = index == 0  # the backward of a stack ends with its first layer's accumulate_grads, which calls compute_backward
    assert len(called) == (1 if first or name != "accumulate_grads" else 0)
    del vars(model[index])[name]
    model(X)
    model.accumulate_grads(U)
    assert len(called) == (1 if first or name != "accumulate_grads" else 0)


def test_a_method_put_on_a_loss_is_called() -> None:
    loss, called = pk.MeanSquaredError(), []
    loss(X, X)
    inner = loss.compute_backward
    loss.compute_backward = lambda: called.append(1) or inner()  # type: ignore[method-assign]
    loss(X, 2 * X)
    np.testing.assert_allclose(loss.compute_backward(), 2 * (X - 2 * X) / X.size)
    assert called == [1]


@pytest.mark.parametrize("name", ["compute_backward", "accumulate_grads"])
@pytest.mark.parametrize(("index", "attribute"), [(1, "alpha"), (0, "weight"), (2, "weight")])
def test_what_is_put_back_is_what_counts(index: int, attribute: str, name: str) -> None:
    """Though a backward was called for the first time while something else was there."""

    def run() -> Any:
        model = pk.Sequential([pk.Linear(3, 4, rng=0), pk.ELU(0.5), pk.Linear(4, 2, rng=1)])
        x, d = np.random.default_rng(2).normal(size=(5, 3)), np.ones((5, 2))
        layer = model[index]
        before = vars(layer)[attribute]
        model(x)
        vars(layer)[attribute] = before * 3
        getattr(model, name)(d)
        vars(layer)[attribute] = before
        model(x)
        getattr(model, name)(d)
        return model.get_params_and_grads()[1]

    both(run)


def test_one_function_twice_in_a_list_is_refused_as_the_layers_refuse_it() -> None:
    model = net()
    model.functions += [model[1], pk.Linear(model(X).shape[1], 2, rng=5)]
    step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
    with pytest.raises(RuntimeError, match="shared_copy"):
        step(X, np.zeros((len(X), 2)))


def test_a_penalty_between_zero_grad_and_backward_counts() -> None:
    for number in (0.5, -0.0, np.nan, 5e-324):
        model = net()
        for _ in range(2):
            for g in model.get_params_and_grads()[1]:
                g.fill(0)
            model(X)
            model.accumulate_grads(U)
        want = [g.copy() for g in model.get_params_and_grads()[1]]
        for g in model.get_params_and_grads()[1]:
            g.fill(0)
        model.get_params_and_grads()[1][-1][-1] = number
        want[-1][-1] += number
        model(X)
        model.accumulate_grads(U)
        for g, w in zip(model.get_params_and_grads()[1], want, strict=True):
            np.testing.assert_array_equal(g, w)


def test_a_shared_gradient_is_added_to_by_both() -> None:
    layer = pk.Linear(3, 3, rng=0)
    both_layers = pk.Sequential([layer, pk.Tanh(), layer.shared_copy()])

    def run() -> list[Any]:
        for g in both_layers.get_params_and_grads()[1]:
            g.fill(0)
        return [both_layers(X), both_layers.compute_backward(X), *both_layers.get_params_and_grads()[1]]

    both(run)


def test_a_parameter_that_a_users_function_holds_may_lie_anywhere() -> None:
    linear = pk.Linear(4, 4, rng=0)
    linear.bias = [1, 2, 3, 4]
    model = pk.Sequential([Scale(linear.bias, linear.grad_bias), linear])
    x = RNG.normal(size=(5, 4))
    import copy
    import pickle

    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(model).astype(np.float64)):
        np.testing.assert_allclose(twin(x), (x * linear.bias) @ linear.weight.T + linear.bias)


# --- what is kept, and for how long ---


def test_programs_vanish_with_their_stack_and_loss() -> None:
    model, loss = net(), pk.MeanSquaredError()
    loss(model(X), U)
    layer, key, program = weakref.ref(model[0]), id(model), weakref.ref(loss._cache.program)
    assert key in stacks.STATES
    assert program() in losses.PROGRAMS[loss].values()
    del model, loss
    gc.collect()
    assert layer() is None
    assert key not in stacks.STATES
    assert program() is None


def test_few_programs_are_kept() -> None:
    model = net()
    for n in range(1, 30):
        model(RNG.normal(size=(n, 3)))
    (segment,) = stacks.STATES[id(model)][1].items
    assert len(segment.programs) <= stacks.PROGRAMS
    for n in (200_000, 300_000):
        model(RNG.normal(size=(n, 3)))
    assert len(segment.programs) == 1


def test_a_gradient_of_another_dtype_writes_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model, d = net().astype(np.float32), np.ones_like(U)
    x = X.astype(np.float32)
    for _ in range(2):
        model(x)
        model.compute_backward(d)
    monkeypatch.setattr(Notes, "write", lambda *args: pytest.fail("a program was written"))
    model(x)
    model.compute_backward(d)


def test_an_attribute_put_on_a_stack_does_not_end_quick_predictions() -> None:
    model = net()
    pk.predict(model, X)
    model.name = "a net"
    y = pk.predict(model, X)
    np.testing.assert_array_equal(prediction.answer(model, X), y)


def test_predictions_of_ever_other_numbers_of_rows_keep_a_few_answers() -> None:
    model, x = pk.mlp([40, 30, 2], activation=pk.Tanh, rng=0), RNG.normal(size=(8000, 40))
    with pk.fast.off():
        want = model(x)
    for rows in (*range(193, 8000, 192), 192, 384, 200, 8000, 193, 8000, 1):
        np.testing.assert_allclose(pk.predict(model, x[:rows]), want[:rows], rtol=1e-12, atol=1e-15)
    known = prediction._local.known[id(model)][1]
    assert len(known.program(x[:192]).answers) == stacks.PROGRAMS
    known.answer(x[:1])[...] = 0  # and what they have put out is nobody else's
    np.testing.assert_allclose(known.answer(x[:1]), want[:1], rtol=1e-12)
    pk.predict(model, x[:384])
    assert prediction.answer(model, x[:384]) is not None  # whole blocks alone


def test_threads_may_predict_while_another_trains_its_own_model() -> None:
    model, wrong = pk.mlp([3, 16, 2], activation=pk.Tanh, rng=0), []
    x = RNG.normal(size=(500, 3))
    want = pk.predict(model, x)

    def ask() -> None:
        for _ in range(50):
            if not np.array_equal(pk.predict(model, x), want):
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("cell", [pk.RNNCell, pk.LSTMCell, pk.GRUCell])
def test_a_plain_forward_after_one_that_was_answered_may_be_answered_twice(cell: Any) -> None:
    unrolled, x, d = pk.Unrolled(cell(2, 3, rng=0)), RNG.normal(size=(2, 4, 2)), RNG.normal(size=(2, 4, 3))
    unrolled(x)
    dObj_dX = unrolled.compute_backward(d)
    with pk.fast.off():
        unrolled(x)
    for _ in range(2):
        np.testing.assert_allclose(unrolled.compute_backward(d), dObj_dX, rtol=1e-12)
    unrolled(x)
    with pk.fast.off():
        unrolled(x)
    unrolled.compute_backward(d)
    with pytest.raises(RuntimeError, match="older"):
        unrolled.compute_backward(d)


def unpickled(thing: Any) -> Any:
    """As read from a file: NumPy then makes arrays whose dtype equals the usual one, and is another object."""
    return pickle.loads(pickle.dumps(thing))


def test_what_was_unpickled_takes_the_fast_path() -> None:
    x, t, labels = unpickled(RNG.normal(size=(4, 2))), unpickled(np.ones((4, 3))), unpickled(np.array([0, 1, 2, 0]))
    assert x.dtype is not np.dtype(float)
    for loss, target in ((pk.MeanSquaredError(), t), (pk.CrossEntropy(), labels)):
        model = unpickled(pk.Sequential([pk.Linear(2, 3, rng=0), pk.Tanh()]))
        for _ in range(2):
            loss(model(x), target)
            model.compute_backward(loss.compute_backward())
        assert stacks.state_of(model).items[0].programs
        assert losses.PROGRAMS[loss]
    unrolled = unpickled(pk.Unrolled(pk.GRUCell(2, 3, rng=0)))
    unrolled(x.reshape(1, 4, 2))
    assert sequences.latest(unrolled) is not None


def test_layers_made_after_a_net_was_unpickled_have_the_usual_dtype() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        model = unpickled(pk.Sequential([pk.Linear(2, 3, rng=0, dtype=dtype)]))
        later = pk.Linear(2, 3, rng=0, dtype=dtype)
        assert model(np.ones((1, 2), dtype)).dtype == np.dtype(dtype)
        assert all(array.dtype is np.dtype(dtype) for array in (later.weight, later.grad_weight, later.bias))


def test_a_part_called_by_itself_is_noticed_whatever_has_run() -> None:
    inner = pk.Sequential([pk.Linear(2, 2, rng=0), pk.Tanh()])
    for outer in (pk.Residual(inner), pk.Sequential([inner, pk.Softmax()]), pk.Add([inner, pk.Identity()])):
        x, d = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2))
        for _ in range(2):
            outer(x)
            outer.compute_backward(d)
        outer(x)
        inner(x + 1)
        inner.compute_backward(d)
        with pytest.raises(RuntimeError, match="by itself"):
            outer.compute_backward(d)


@pytest.mark.parametrize("on", [True, False])
def test_a_backward_that_was_refused_may_be_called_again(on: bool) -> None:
    functions = [pk.Linear(2, 3, rng=0), pk.Tanh(), pk.Embedding(3, 3, rng=0), pk.Unrolled(pk.GRUCell(2, 3, rng=0))]
    inputs = [np.ones((4, 2)), np.ones((4, 3)), np.array([0, 1, 2, 0]), np.ones((4, 5, 2))]
    stacks = [pk.Sequential([pk.Linear(2, 3, rng=0), pk.Tanh()]), pk.Sequential([pk.Linear(2, 3, rng=0), pk.Softmax()])]
    for function, x in zip([*functions, *stacks], [*inputs, inputs[0], inputs[0]], strict=True):
        with contextlib.nullcontext() if on else pk.fast.off():
            function(x)
            y = function(x)  # after two forwards, one backward is answered
            with pytest.raises(ValueError, match="dObj_dOut"):
                function.compute_backward(np.ones((7, 7)))
            function.compute_backward(np.ones_like(y))
            with pytest.raises(RuntimeError, match="older"):
                function.compute_backward(np.ones_like(y))


def taken(model: Any) -> bool:
    """Whether the latest forward of a stack has multiplied the table of words."""
    program = getattr(model._cache, "program", None)
    return program is not None and type(program.kernels[0].inputs) is embeddings.Words


def speaker(cell: Any, vocabulary: int = 5, hidden: int = 3, **options: Any) -> pk.Sequential:
    words, steps = pk.Embedding(vocabulary, 4, rng=0), pk.Unrolled(cell(4, hidden, rng=1), **options)
    return pk.Sequential([words, steps, pk.Linear(hidden, 2, rng=2)])


@pytest.mark.parametrize("cell", [pk.RNNCell, pk.LSTMCell, pk.GRUCell])
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"return_sequences": False}], ids=str)
@pytest.mark.parametrize(("vocabulary", "hidden", "time"), [(5, 3, 6), (5, 4, 6), (300, 4, 151)])
def test_words_before_a_cell_give_what_the_layers_give(cell: Any, options: Any, vocabulary: int, hidden: int, time: int) -> None:
    trained = []
    for on in (True, False):
        rng, model = np.random.default_rng(3), speaker(cell, vocabulary, hidden, **options)
        optimizer, shown = pk.Adam(model, lr=0.1), []
        with contextlib.nullcontext() if on else pk.fast.off():
            for batch in (4, 4, 2, 4):
                x = rng.integers(0, vocabulary, (batch, time), dtype=np.int32)
                optimizer.zero_grad()
                y = model(x)
                assert taken(model) == on
                d = rng.normal(size=y.shape)
                model.accumulate_grads(d)
                optimizer.step()  # and once more, after the words have changed
                shown += [y, model.compute_backward(d), model[1].state, model[1].dObj_dState, *map(np.copy, grads_of(model))]
        trained.append([*shown, *model.state_dict().values()])
    for a, b in zip(*trained, strict=True):
        for left, right in zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]:
            np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-13)


def grads_of(model: Any) -> Any:
    return model.get_params_and_grads()[1]


def test_words_that_are_not_multiplied_beforehand() -> None:
    x = RNG.integers(0, 5, (4, 6))
    for model, text in (
        (speaker(pk.GRUCell, 24), x),  # no more places than words
        (speaker(pk.GRUCell), x.tolist()),
    ):
        model(text)
        assert not taken(model)
    model = speaker(pk.GRUCell)
    model[0].freeze()
    model(x)
    assert not taken(model)
    model = speaker(pk.GRUCell)
    model(x)
    assert taken(model)
    with pytest.raises(ValueError, match="expected indices from 0 to 4, got values from 0 to 5"):
        model(np.where(x == x[0, 0], 5, 0))
    method = model[0].compute_forward
    model[0].compute_forward = lambda x: 2 * method(x)
    np.testing.assert_allclose(model(x), model[2](model[1](2 * model[0].weight[x])), rtol=1e-12)


@pytest.mark.parametrize("time", [6, 100], ids=["few", "many"])
@pytest.mark.parametrize("dtype", [np.int8, ">i2"])
def test_negative_words_are_refused_by_the_largest_vocabulary(dtype: Any, time: int) -> None:
    words = 2 * np.iinfo(dtype).max  # where a negative word is, bit for bit, one of the vocabulary
    x, model = np.full((4, time), 3, dtype), speaker(pk.RNNCell, words)
    model(x)
    x[1, 2] = -100
    with pytest.raises(ValueError, match=f"expected indices from 0 to {words - 1}, got values from -100 to 3"):
        model(x)


def test_words_go_back_by_hand_and_are_refused_as_the_layers_refuse() -> None:
    x, model = RNG.integers(0, 5, (4, 6)), speaker(pk.LSTMCell)
    y = model(x)
    d = model[2].compute_backward(np.ones_like(y))
    d = model[1].compute_backward(d)  # for each place, not for each word
    assert d.shape == (4, 6, 4)
    model[0].compute_backward(d)
    by_hand = [grad.copy() for grad in grads_of(model)]
    for grad in grads_of(model):
        grad.fill(0)
    model(x)
    assert taken(model)
    model.compute_backward(np.ones_like(y))
    for a, b in zip(grads_of(model), by_hand, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    model(x)
    model[0](x[::-1])
    with pytest.raises(RuntimeError, match=r"Embedding\(5, 4\) in it was called by itself"):
        model.compute_backward(np.ones_like(y))
