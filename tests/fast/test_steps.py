"""A training step as one program, and `TrainStep`: whatever it computes is held against the four lines that it stands for."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
from typing import Any

import numpy as np
import pytest
from test_contract import FUNCTION_IDS, FUNCTIONS, LOSS_IDS, LOSSES, make
from twins import RNG, batches, four_lines, labels, net, numbers, programs, same_training

import pancake as pk
from pancake import TrainStep
from pancake.fast import chains, stacks, steps, switch
from pancake.fast.steps import BlockStep, StepProgram, Steps
from pancake.functions.containers import Identity

ACTIVATIONS = [
    pk.Sigmoid(),
    pk.Tanh(),
    pk.ReLU(),
    pk.HardTanh(),
    pk.LeakyReLU(0.2),
    pk.ELU(0.7),
    pk.SELU(),
    pk.GELU(),
    pk.GELU("tanh"),
    pk.SiLU(),
    pk.Mish(),
    pk.Softplus(0.5),
    pk.Softsign(),
]
RULES: list[tuple[Any, dict[str, Any]]] = [
    (pk.SGD, {}),
    (pk.SGD, {"momentum": 0.9}),
    (pk.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (pk.Adam, {}),
    (pk.Adam, {"weight_decay": 0.1}),
    (pk.AdamW, {}),
    (pk.RMSprop, {}),
    (pk.RMSprop, {"momentum": 0.5}),
    (pk.Adagrad, {}),
]


@pytest.fixture(params=["whole", "blocks"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether batches go in blocks of two rows or so."""
    if request.param == "blocks":
        monkeypatch.setattr(steps, "ROWS", 1)
        monkeypatch.setattr(steps, "BLOCK", 180)
    return bool(request.param == "blocks")


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_activation(activation: Any, dtype: Any, cut: bool) -> None:
    model = net(activation, dtype=dtype)
    rtol = (1e-9 if dtype is np.float64 else 1e-4) if cut else 0  # Adam makes much of the last digit of a small gradient
    step = same_training(model, pk.MeanSquaredError(), pk.Adam(model, lr=0.1), batches(numbers), rtol)
    assert len(programs(step)) == 3  # one for each size of batch
    assert cut == any(isinstance(program, BlockStep) for program in programs(step))


@pytest.mark.parametrize(("rule", "options"), RULES)
@pytest.mark.parametrize("loss", [pk.CrossEntropy(), pk.CrossEntropy(reduction="sum")], ids=repr)
def test_every_optimizer(rule: Any, options: Any, loss: Any, cut: bool) -> None:
    model = net(n_out=3)
    step = same_training(model, copy.copy(loss), rule(model, lr=0.01, **options), batches(labels), 1e-9 if cut else 1e-11)
    assert len(programs(step)) == 3


@pytest.mark.parametrize(("loss", "pred", "target"), LOSSES, ids=LOSS_IDS)
def test_every_loss(loss: Any, pred: Any, target: Any, cut: bool) -> None:
    if np.ndim(pred) == 0 or pred.dtype.kind != "f":
        pred, target = np.ones((1, 1)), np.reshape(target, (1, 1)) if np.ndim(target) == 0 else target
    if loss.reduction == "none":
        loss.reduction = "sum"
    model = pk.Sequential([pk.Linear(3, np.shape(pred)[-1], rng=0)])
    sigmoid = isinstance(loss, pk.BinaryCrossEntropy) and not loss.from_logits
    if sigmoid:
        model.add(pk.Sigmoid())
    if isinstance(loss, pk.NegativeLogLikelihood):
        model.add(pk.LogSoftmax())
    data = [(RNG.normal(size=(*np.shape(pred)[:-1], 3)), target) for _ in range(3)]
    same_training(model, loss, pk.SGD(model, lr=0.01), data, 1e-11 if cut else 0)


@pytest.mark.parametrize("cell", [pk.RNNCell, pk.LSTMCell, pk.GRUCell])
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"return_sequences": False}], ids=str)
@pytest.mark.parametrize("words", [0, 5, 300])
def test_recurrent_stacks(cell: Any, options: Any, words: int) -> None:
    lower = [pk.Embedding(words, 3, rng=0)] if words else [pk.Linear(3, 3, rng=0), pk.Tanh()]
    model = pk.Sequential(
        [*lower, pk.Unrolled(cell(3, 4, rng=1)), pk.Tanh(), pk.Unrolled(cell(4, 4, rng=2), **options), pk.Linear(4, 3, rng=3)]
    )
    data = []
    for batch in (4, 4, 2, 60, 4):
        x = RNG.integers(0, words, (batch, 5)) if words else RNG.normal(size=(batch, 5, 3))
        data.append((x, RNG.integers(0, 3, (batch, 5) if options.get("return_sequences", True) else batch)))
    step = same_training(model, pk.CrossEntropy(), pk.Adam(model, lr=0.01), data, 1e-9)
    assert len(programs(step)) == 3
    x, y = data[0]
    with pytest.raises((ValueError, TypeError), match="expected"):
        step(x + words if words else x[..., :2], y)  # which changes nothing
    same_training(model, pk.CrossEntropy(), pk.Adam(model, lr=0.01), data, 1e-9)


def test_lengths_go_to_the_model() -> None:
    model = pk.rnn([3, 5, 2], return_sequences=False, rng=0)
    twin, loss = copy.deepcopy(model), pk.CrossEntropy()
    x, y, lengths = RNG.normal(size=(4, 6, 3)), np.array([0, 1, 0, 1]), np.array([1, 2, 3, 6])
    step, optimizer = TrainStep(model, loss, pk.SGD(model, lr=0.1)), pk.SGD(twin, lr=0.1)
    for weight in (None, np.array([1.0, 2.0, 0.0, 1.0])):
        optimizer.zero_grad()
        wanted = loss(twin(x, lengths=lengths), y, weight)
        twin.accumulate_grads(loss.compute_backward())
        optimizer.step()
        assert step(x, y, weight, lengths=lengths) == wanted
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


# All but cells, which take two inputs, and single numbers.
IN_STACKS = [
    pytest.param(*case, id=name)
    for case, name in zip(FUNCTIONS, FUNCTION_IDS, strict=True)
    if isinstance(case[1], np.ndarray) and case[1].ndim and (case[1].dtype.kind == "f" or make(case[0]).num_parameters)
]


@pytest.mark.parametrize(("function", "x"), IN_STACKS)
def test_every_function(function: Any, x: Any) -> None:
    model = pk.Sequential([make(function), Identity()])
    if x.dtype.kind == "f":
        model.functions.insert(0, pk.Mul(0.9))  # so that there is something to train
    y = np.zeros_like(np.asarray(copy.deepcopy(model)(x)))
    same_training(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.01), [(x, y)] * 3)


@pytest.mark.parametrize("model", [pk.Linear(3, 2, rng=0), pk.LayerNorm(2), pk.Unrolled(pk.GRUCell(3, 2, rng=0))], ids=repr)
def test_a_layer_by_itself(model: Any) -> None:
    lead = (4, 5) if isinstance(model, pk.Unrolled) else (4,)
    width = 2 if isinstance(model, pk.LayerNorm) else 3
    data = [(RNG.normal(size=(*lead, width)), RNG.normal(size=(*lead, 2))) for _ in range(3)]
    model, twin = copy.deepcopy((model, model))
    loss, optimizer = pk.MeanSquaredError(), pk.Adam(twin)
    step = same_training(model, loss, pk.Adam(model), data, 1e-11)
    assert len(programs(step)) == 1
    for x, y in data:
        four_lines(twin, pk.MeanSquaredError(), optimizer, x, y)
    d = loss.compute_backward()
    with pk.fast.off():  # the layer remembers the latest step
        np.testing.assert_allclose(model.compute_backward(d), twin.compute_backward(d), rtol=1e-11)
    with pytest.raises(ValueError, match=type(model).__name__):
        step(data[0][0][..., :1], data[0][1])


@pytest.mark.parametrize(
    "kind", ["float32 model", "float64 x", "float64 y", "uint8 labels", "sequences", "one row", "time first"]
)
def test_every_kind_of_batch(kind: str) -> None:
    dtype = np.float64 if kind in ("sequences", "one row", "uint8 labels", "time first") else np.float32
    model, classes = net(dtype=dtype), kind == "uint8 labels"
    data = batches(labels if classes else numbers, (1, 1) if kind == "one row" else (4, 4, 3))
    if kind in ("sequences", "time first"):
        data = [(RNG.normal(size=(4, 5, 3)), RNG.normal(size=(4, 5, 2))) for _ in range(3)]
    if kind == "time first":
        data = [(np.swapaxes(np.swapaxes(x, 0, 1).copy(), 0, 1), y) for x, y in data]
    data = [
        (x if kind == "float64 x" or dtype == np.float64 else x.astype(dtype), y if kind != "float32 model" else y.astype(dtype))
        for x, y in data
    ]
    if classes:
        data = [(x, y.astype(np.uint8)) for x, y in data]
    loss = pk.CrossEntropy() if classes else pk.MeanSquaredError()
    assert programs(same_training(model, loss, pk.SGD(model, lr=0.1), data))


def test_large_layers() -> None:
    model = pk.mlp([40, 300, 5], rng=0, dtype=np.float32)
    data = [(RNG.normal(size=(600, 40)).astype(np.float32), RNG.integers(0, 5, 600)) for _ in range(3)]
    assert programs(same_training(model, pk.CrossEntropy(), pk.Adam(model), data, 1e-4))


def test_what_is_refused_is_explained_and_changes_nothing(cut: bool) -> None:
    model = net()
    loss, optimizer = pk.CrossEntropy(), pk.Adam(model)
    step = TrainStep(model, loss, optimizer)
    (x, y), *_ = batches(labels)
    step(x, y)
    before = {name: array.copy() for name, array in {**model.state_dict(), **optimizer.state_dict()}.items() if np.ndim(array)}
    for bad_x, bad_y, message in (
        (x, np.array([0, 1, 2, 0]), "label"),
        (x, np.array([0, -1, 1, 0]), "label"),
        (x[:, :2], y, r"Linear\(3, 5\): expected"),
        (x, y[:3], "CrossEntropy"),
    ):
        with pytest.raises(ValueError, match=message):
            step(bad_x, bad_y)
        after = {**model.state_dict(), **optimizer.state_dict()}
        assert all(np.array_equal(after[name], array) for name, array in before.items())
        assert optimizer.steps == 1
    optimizer.steps = 0
    same_training(model, loss, optimizer, batches(labels), 1e-9 if cut else 1e-11)


def test_numbers_that_are_not_finite_are_those_of_the_four_lines(cut: bool) -> None:
    model = net()
    twin = copy.deepcopy(model)
    loss, step = pk.MeanSquaredError(), TrainStep(model, pk.MeanSquaredError(), optimizer := pk.SGD(model))
    twin_optimizer = pk.SGD(twin)
    (x, y), *_ = batches(numbers)
    with np.errstate(all="ignore"):
        for factor in (1.0, 1e200, 1.0):
            got, wanted = step(x * factor, y), four_lines(twin, loss, twin_optimizer, x * factor, y)
            np.testing.assert_allclose(got, wanted, rtol=1e-12 if cut else 0)
    assert optimizer.steps == 3
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12 if cut else 0)


def changed_lr(model: Any, optimizer: Any) -> None:
    optimizer.lr = 0.5


def changed_momentum(model: Any, optimizer: Any) -> None:
    optimizer.momentum = 0.1


def changed_setting(model: Any, optimizer: Any) -> None:
    model[1].negative_slope = 0.7


def exchanged_layer(model: Any, optimizer: Any) -> None:
    model.functions[1] = pk.Sigmoid()


def exchanged_linear(model: Any, optimizer: Any) -> None:
    model.functions[0] = pk.Linear(3, 5, rng=7)


def one_more(model: Any, optimizer: Any) -> None:
    model.add(pk.Tanh())


def frozen(model: Any, optimizer: Any) -> None:
    model[0].freeze()


def frozen_and_not(model: Any, optimizer: Any) -> None:
    model[0].freeze().freeze(False)


def another_dtype(model: Any, optimizer: Any) -> None:
    model.astype(np.float32)


def shared(model: Any, optimizer: Any) -> None:
    model.functions.insert(0, pk.Linear(3, 3, rng=5))
    model.functions.insert(0, model.functions[0].shared_copy())


def loaded(model: Any, optimizer: Any) -> None:
    model.load_state_dict({name: 0.5 * array for name, array in model.state_dict().items()})


def wrapped(model: Any, optimizer: Any) -> None:
    method = model[1].compute_forward
    model[1].compute_forward = lambda x: 0.5 * method(x)


def wrapped_stack(model: Any, optimizer: Any) -> None:
    method = model.compute_forward
    model.compute_forward = lambda x: 0.5 * method(x)


def wrapped_step(model: Any, optimizer: Any) -> None:
    method = optimizer.step
    optimizer.step = lambda: (method(), method())[0]


def gradients_of_others(model: Any, optimizer: Any) -> None:
    for grad in model.get_params_and_grads()[1]:
        grad += 7


def another_array(model: Any, optimizer: Any) -> None:
    vars(model[2])["weight"] = model[2].weight + 1


CHANGES = [
    changed_lr,
    changed_momentum,
    changed_setting,
    exchanged_layer,
    exchanged_linear,
    one_more,
    frozen,
    frozen_and_not,
    another_dtype,
    shared,
    loaded,
    wrapped,
    wrapped_stack,
    wrapped_step,
    gradients_of_others,
    another_array,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("cut")
def test_what_changes_between_steps_counts(change: Any) -> None:
    (x, y), *_ = batches(numbers)
    trained = []
    for by_program in (True, False):
        model = net(pk.LeakyReLU())
        loss, optimizer = pk.MeanSquaredError(), pk.SGD(model, lr=0.1, momentum=0.9)
        step = TrainStep(model, loss, optimizer)
        objectives = []
        for i in range(4):
            if i == 2:
                change(model, optimizer)
            objectives.append(step(x, y) if by_program else four_lines(model, loss, optimizer, x, y))
            assert not by_program or i or programs(step)
        trained.append([*objectives, *model.state_dict().values()])
    for a, b in zip(*trained, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6 if change is another_dtype else 1e-12)


def test_what_the_optimizer_does_not_train_goes_the_way_of_the_four_lines() -> None:
    model = net()
    for optimizer in (pk.SGD(model[0]), pk.SGD([model, pk.Linear(2, 2, rng=3)])):
        step = same_training(model, pk.MeanSquaredError(), optimizer, batches(numbers)[:3]) if optimizer.model is model else None
        step = step or TrainStep(model, pk.MeanSquaredError(), optimizer)
        step(*batches(numbers)[0])
        assert not programs(step)


def test_weights_of_examples() -> None:
    model = net()
    twin = copy.deepcopy(model)
    loss, step = pk.MeanSquaredError(), TrainStep(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1))
    optimizer, weight = pk.SGD(twin, lr=0.1), np.array([0, 1, 2, 0.5])
    for x, y in batches(numbers, (4, 4, 4)):
        assert step(x, y, weight) == four_lines(twin, loss, optimizer, x, y, weight)
        assert step(x, y) == four_lines(twin, loss, optimizer, x, y)
    np.testing.assert_array_equal(model[0].weight, twin[0].weight)


def test_with_the_fast_path_off() -> None:
    data = batches(numbers)
    trained = []
    for _ in range(2):
        model = net()
        step = TrainStep(model, pk.MeanSquaredError(), pk.Adam(model))
        if trained:
            objectives = [step(x, y) for x, y in data]
        else:
            with pk.fast.off():
                objectives = [step(x, y) for x, y in data]
            assert not programs(step)
        trained.append([*objectives, *model.state_dict().values()])
    for a, b in zip(*trained, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["step", "zero_grad"])
def test_a_method_of_all_optimizers_that_somebody_has_exchanged_is_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (x, y), *_ = batches(numbers)
    method, calls = getattr(pk.Optimizer, name), []
    monkeypatch.setattr(pk.Optimizer, name, lambda self: (calls.append(self), method(self))[1])
    model = net()
    optimizer = pk.SGD(model)
    TrainStep(model, pk.MeanSquaredError(), optimizer)(x, y)
    pk.fit(model, pk.MeanSquaredError(), optimizer, x, y, epochs=1, progress=False)
    assert calls == [optimizer] * 2


def test_a_gradient_that_no_optimizer_clears_is_added_to() -> None:
    """That of a layer which shares the weight of another alone: a model lists a weight once, with the gradient of the first."""
    (x, y), *_ = batches(numbers)
    seen = []
    for by_program in (True, False):
        model = pk.Sequential([pk.Linear(3, 3, rng=0), pk.Tanh(), pk.Linear(3, 3, rng=1), pk.Linear(3, 2, rng=2)])
        vars(model[2])["weight"] = model[0].weight
        loss, optimizer = pk.MeanSquaredError(), pk.SGD(model, lr=0.1)
        step = TrainStep(model, loss, optimizer)
        for _ in range(3):
            step(x, y) if by_program else four_lines(model, loss, optimizer, x, y)
        seen.append([model[0].weight, model[0].grad_weight, model[2].grad_weight])
    for a, b in zip(*seen, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_refused_target_leaves_the_divisor_of_a_loss() -> None:
    (x, y), *_ = batches(labels)
    model, loss = net(), pk.CrossEntropy()
    step = TrainStep(model, loss, pk.SGD(model))
    step(x, y)
    for bad in (lambda: step(x[:3], y[:3] + 5), lambda: loss(model(x[:2]), y[:2] + 5)):
        with pytest.raises(ValueError, match="label"):
            bad()
        assert loss.divisor == 4


def test_a_second_backward_after_a_step_is_that_of_the_step() -> None:
    (x, y), *_ = batches(numbers)
    model, loss = net(), pk.MeanSquaredError()
    step = TrainStep(model, loss, pk.SGD(model, lr=0.0))
    for _ in range(2):
        step(x, y)
    x_before = x.copy()
    x *= 3
    d = loss.compute_backward()
    once = [grad.copy() for grad in model.get_params_and_grads()[1]]
    dObj_dIn = model.compute_backward(d)
    for grad, g in zip(model.get_params_and_grads()[1], once, strict=True):
        np.testing.assert_allclose(grad, 2 * g, rtol=1e-12)
    model(x_before)
    np.testing.assert_allclose(model.compute_backward(d), dObj_dIn, rtol=1e-12)


@pytest.mark.parametrize("loss", [pk.BinaryCrossEntropy(True), pk.CrossEntropy()], ids=repr)
@pytest.mark.parametrize("n_out", [2, 3])
def test_a_refused_target_is_not_taken_for_the_one_before(loss: Any, n_out: int) -> None:
    model, x = net(n_out=n_out), RNG.normal(size=(4, 3))
    y: Any = np.zeros(4, int) if isinstance(loss, pk.CrossEntropy) else np.zeros((4, n_out))
    bad = y.copy()
    bad[1] = 7
    trained = []
    for steps_between in (True, False):
        twin = copy.deepcopy(model)
        step = TrainStep(twin, copy.copy(loss), pk.SGD(twin, lr=0.1))
        for _ in range(3):
            step(x, y)
            if steps_between:
                with pytest.raises(ValueError, match="expected"):
                    step(x, bad)
        trained.append(list(twin.state_dict().values()))
    for a, b in zip(*trained, strict=True):
        np.testing.assert_array_equal(a, b)


def test_copies_and_pickles_carry_no_program() -> None:
    model = net()
    step = TrainStep(model, pk.MeanSquaredError(), pk.Adam(model))
    data = batches(numbers)
    for x, y in data[:2]:
        step(x, y)
    size = len(pickle.dumps((model, step.optimizer)))
    for twin in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        assert not twin._steps.programs
        assert twin.optimizer.model is twin.model is not model
        kept = copy.deepcopy(step)
        for x, y in data[2:]:
            assert twin(x, y) == kept(x, y)
    assert len(pickle.dumps((model, step.optimizer))) == size
    assert copy.copy(step).model is model


def test_two_programs_of_a_model_do_not_disturb_each_other() -> None:
    model = net()
    first, second = (TrainStep(model, loss, pk.SGD(model, lr=0.1)) for loss in (pk.MeanSquaredError(), pk.Huber(0.5)))
    twin = copy.deepcopy(model)
    optimizers = pk.SGD(twin, lr=0.1), pk.SGD(twin, lr=0.1)
    for x, y in batches(numbers):
        assert first(x, y) == four_lines(twin, pk.MeanSquaredError(), optimizers[0], x, y)
        assert second(x, y) == four_lines(twin, pk.Huber(0.5), optimizers[1], x, y)
        np.testing.assert_array_equal(model(x), twin(x))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (lambda m: (m[0].weight, pk.MeanSquaredError(), pk.SGD(m)), TypeError, "TrainStep: expected a Function as the model"),
        (lambda m: (pk.MeanSquaredError(), m, pk.SGD(m)), TypeError, "the model comes first, then the loss, then the optimizer"),
        (lambda m: (m, pk.MeanSquaredError, pk.SGD(m)), TypeError, "TrainStep: expected a loss"),
        (lambda m: (m, pk.MeanSquaredError(), pk.SGD), TypeError, "TrainStep: expected an optimizer"),
        (lambda m: (m, pk.MeanSquaredError(), pk.SGD(net())), ValueError, "trains no parameter"),
    ],
)
def test_what_is_no_training_is_refused(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        TrainStep(*arguments(net()))


def test_fit_trains_by_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    objective = StepProgram.objective

    def counting(self: StepProgram, *batch: Any) -> Any:
        value = objective(self, *batch)
        calls.extend([1] * (value is not None))
        return value

    monkeypatch.setattr(StepProgram, "objective", counting)
    x, y = RNG.normal(size=(50, 3)), RNG.integers(0, 2, 50)
    models = []
    for by_program in (True, False):
        model = net()
        if not by_program:
            model = pk.Sequential([model, pk.Clip(None, None)])
        history = pk.fit(
            model,
            pk.CrossEntropy(),
            pk.Adam(model, lr=0.01),
            x,
            y,
            epochs=3,
            batch_size=16,
            rng=0,
            metrics={"accuracy": pk.accuracy},
            clip_norm=0.5,
            progress=False,
        )
        models.append([*history["loss"], *history["accuracy"], *model.state_dict().values()])
        assert len(calls) == 12
    for a, b in zip(*models, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


class Disturbed(pk.SGD):
    """An optimizer of somebody's own, which does something after its fifth step."""

    disturb: Any

    def update(self, *args: Any) -> None:
        super().update(*args)
        if self.steps == 5:
            self.steps += 100  # once
            self.disturb()


class Read:
    """Rows in chunks of four, which somebody's own code reads."""

    def __init__(self, rows: Any, reading: Any) -> None:
        self.rows, self.reading = rows, reading
        self.shape, self.dtype, self.chunks = rows.shape, rows.dtype, (4, rows.shape[1])

    def __getitem__(self, which: slice) -> Any:
        self.reading()
        return self.rows[which]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", ["callback", "schedule", "batches", "reading", "optimizer"])
def test_what_changes_in_the_middle_of_fit_counts(place: str, change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for numbers_at_once in ("BLOCK", "WINDOW"):  # else all is read before the first step
        monkeypatch.setattr(f"pancake.training.batches.{numbers_at_once}", 1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 2))
    trained = []
    for by_program in (True, False):
        model = net(pk.LeakyReLU())
        optimizer = (Disturbed if place == "optimizer" else pk.SGD)(model, lr=0.1, momentum=0.9)
        changes = iter([functools.partial(change, model, optimizer)])

        def disturb(changes: Any = changes) -> None:
            for apply in changes:
                apply()

        def schedule(step: int, optimizer: Any = optimizer, disturb: Any = disturb) -> Any:
            if step == 5:
                disturb()
            return optimizer.lr

        def given(disturb: Any = disturb) -> Any:
            for start in range(0, 16, 4):
                if start == 8:
                    disturb()
                yield x[start : start + 4], y[start : start + 4]

        def reading(optimizer: Any = optimizer, disturb: Any = disturb) -> None:
            if optimizer.steps == 5:
                disturb()

        data = {"batches": (given,), "reading": (Read(x, reading), y)}.get(place, (x, y))
        options: dict[str, Any] = {"epochs": 3, "batch_size": 4, "shuffle": False, "progress": False}
        if place == "callback":
            options["callbacks"] = lambda state, disturb=disturb: disturb()
        elif place == "schedule":
            options["schedule"] = schedule
        elif place == "optimizer":
            optimizer.disturb = disturb
        with contextlib.nullcontext() if by_program else switch.off():
            history = pk.fit(model, pk.MeanSquaredError(), optimizer, *data, **options)
        assert next(changes, None) is None
        trained.append([*history["loss"], *model.state_dict().values()])
    digits = {"rtol": 1e-5, "atol": 1e-6} if change is another_dtype else {"rtol": 1e-10}
    for a, b in zip(*trained, strict=True):
        np.testing.assert_allclose(a, b, **digits)


def test_words_are_looked_at_in_any_case() -> None:
    model = pk.Sequential([pk.Embedding(5, 4, rng=0), pk.Unrolled(pk.RNNCell(4, 4, rng=1)), pk.Linear(4, 3, rng=2)])
    x, y = RNG.integers(0, 5, (4, 6)), RNG.integers(0, 3, (4, 6))
    steps = Steps(model, pk.CrossEntropy(), pk.Adam(model))
    assert steps.objective(x, y, None) == steps.objective(x, y, None, same=True)
    assert steps.objective(x + 5, y, None, same=True) is None


def test_fit_looks_once_an_epoch_whether_all_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    begin = StepProgram.__init__

    def watched(self: StepProgram, *args: Any) -> None:
        begin(self, *args)
        fits = self.fits
        self.fits = lambda x, y, weight: (looks.append(len(y)), fits(x, y, weight))[1]

    monkeypatch.setattr(StepProgram, "__init__", watched)
    model = net()
    x, y = RNG.normal(size=(50, 3)), RNG.integers(0, 2, 50)
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model), x, y, epochs=3, batch_size=4, progress=False)
    first, later = [4, 2, 2], [4, 4, 2, 2]  # the program of the other size is asked too, unless there is none yet
    assert looks == first + 2 * later


def test_a_program_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    begin = StepProgram.__init__
    monkeypatch.setattr(StepProgram, "__init__", lambda self, *args: (made.append(1), begin(self, *args))[1])
    model = net()
    pk.fit(model, pk.CrossEntropy(), pk.Adam(model), RNG.normal(size=(60, 3)), RNG.integers(0, 2, 60), epochs=5, progress=False)
    assert len(made) == 2  # for whole batches and for the last one


def test_what_a_step_trains_is_not_exchanged() -> None:
    step = TrainStep(model := net(), loss := pk.MeanSquaredError(), optimizer := pk.SGD(model))
    assert (step.model, step.loss, step.optimizer) == (model, loss, optimizer)
    for name in ("model", "loss", "optimizer"):
        with pytest.raises(AttributeError, match=name):
            setattr(step, name, None)


def test_a_stack_without_a_program_keeps_those_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = [], []
    begin, stretch = chains.Program.__init__, Steps._stretch
    monkeypatch.setattr(chains.Program, "__init__", lambda self, *args: (made.append(1), begin(self, *args))[1])
    monkeypatch.setattr(Steps, "_stretch", lambda self, *args: (asked.append(1), stretch(self, *args))[1])
    model = pk.Sequential([pk.Linear(3, 5, rng=0), pk.Clip(-9, 9), pk.Linear(5, 2, rng=1)])
    step = TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
    for x, y in batches(numbers, (4, 3, 4, 3, 4)):
        step(x, y)
    assert not programs(step)
    assert len(made) == 4  # two segments, two sizes of batch
    assert len(asked) == 1  # whatever the size, there can be none
    model.functions[1] = pk.Tanh()  # now there can be one
    step(*batches(numbers)[0])
    assert programs(step)
    model.functions[1] = pk.Clip(-9, 9)
    for n in range(2, 20 + stacks.PROGRAMS):
        step(*batches(numbers, (n,))[0])
    assert len(step._steps.programs) <= stacks.PROGRAMS


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("words", [0, 300])
def test_sequences_are_not_cut(words: int) -> None:
    lower: list[Any] = [pk.Embedding(words, 3, rng=0)] if words else [pk.Linear(3, 3, rng=0)]
    model = pk.Sequential([*lower, pk.Unrolled(pk.LSTMCell(3, 4, rng=1)), pk.Linear(4, 2, rng=2)])
    x = RNG.integers(0, words, (8, 5)) if words else RNG.normal(size=(8, 5, 3))
    step = same_training(model, pk.MeanSquaredError(), pk.SGD(model), [(x, RNG.normal(size=(8, 5, 2)))] * 3, 1e-11)
    assert [type(program) for program in programs(step)] == [StepProgram]


@pytest.mark.usefixtures("cut")
def test_a_gradient_in_which_no_product_can_be_written_is_cleared() -> None:
    model = net()
    vars(model[0])["grad_weight"] = np.zeros((5, 6))[:, ::2]
    same_training(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1), batches(numbers), 1e-9)
