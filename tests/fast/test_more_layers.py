"""Layers with parameters, sums over features, modes or masks of their own in programs, held against their pages."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twins import programs, same_training

import pancake as pk
from pancake.fast import chains, stacks, steps
from pancake.fast.steps import BlockStep, StepProgram

RNG = np.random.default_rng(0)
Make = Callable[[int, Any], pk.Function]
LAYERS: dict[str, Make] = {
    "PReLU": lambda n, dtype: pk.PReLU(dtype=dtype),
    "PReLU of features": lambda n, dtype: pk.PReLU(n, init=-0.3, dtype=dtype),
    "PReLU of two axes": lambda n, dtype: pk.PReLU(n, dtype=dtype, max_ndim=3),
    "Softmax": lambda n, dtype: pk.Softmax(),
    "LogSoftmax": lambda n, dtype: pk.LogSoftmax(),
    "LayerNorm": lambda n, dtype: pk.LayerNorm(n, dtype=dtype),
    "RMSNorm": lambda n, dtype: pk.RMSNorm(n, dtype=dtype),
    "Dropout": lambda n, dtype: pk.Dropout(0.3, rng=n),
    "Dropout of one generator": lambda n, dtype: pk.Dropout(0.5, rng=n),
    "Dropout of nothing": lambda n, dtype: pk.Dropout(0.0, rng=n),
    "Dropout of all": lambda n, dtype: pk.Dropout(1.0, rng=n),
    "BatchNorm": lambda n, dtype: pk.BatchNorm(n, momentum=0.3, dtype=dtype),
    "BatchNorm of two axes": lambda n, dtype: pk.BatchNorm(n, dtype=dtype, max_ndim=3),
    "RMSNorm with eps": lambda n, dtype: pk.RMSNorm(n, eps=0.01, dtype=dtype),
}
EXACT = {"Dropout", "Dropout of one generator"}  # where no sum has another order
SHAPES = [(2, 3), (5, 3), (300, 3), (4, 6, 3), (40, 26, 3), (1, 3)]


def net(name: str, dtype: Any = np.float64, n_in: int = 3) -> Any:
    """Layers after a Linear, after an activation and after each other, in the middle and at the end."""
    make = LAYERS[name]
    layers = [pk.Linear(n_in, 6, rng=0, dtype=dtype), make(6, dtype), pk.ReLU(), pk.Linear(6, 5, rng=1, dtype=dtype)]
    layers += [pk.Tanh(), make(5, dtype), make(5, dtype), pk.ReLU(), pk.Linear(5, 4, rng=2, dtype=dtype), make(4, dtype)]
    model = pk.Sequential(layers)
    if name == "Dropout of one generator":
        one_generator_for_all(model, layers[1])
    for i, p in enumerate(model.get_params_and_grads()[0]):  # so that no weight is 1 and no bias 0
        p += np.random.default_rng(i).normal(scale=0.1, size=p.shape)
    return model


def seen_of(model: Any) -> list[Any]:
    """All that a model holds: parameters, running statistics, gradients, and what its generators draw next."""
    drawn = [copy.deepcopy(layer.rng).random(3) for layer in model.functions if "rng" in vars(layer)]
    return [array.copy() for array in (*model.state_dict().values(), *model.get_params_and_grads()[1], *drawn)]


def both(run: Callable[[], Any], dtype: Any = np.float64, exact: bool = False) -> None:
    """Compare what a function returns, a list of arrays and texts, with the fast path and without."""
    shown = []
    for on in (True, False):
        with contextlib.nullcontext() if on else pk.fast.off():
            shown.append(run())
    tolerance = 0 if exact else 1e-11 if dtype == np.float64 else 2e-4
    # what cancels out, as before a BatchNorm, is the rounding of large numbers
    numbers = [np.abs(item[np.isfinite(item)]) for item in map(np.asarray, shown[1]) if item.dtype.kind == "f"]
    largest = max([1.0, *(float(item.max(initial=0)) for item in numbers)])
    for fast, plain in zip(*shown, strict=True):
        if isinstance(plain, str):
            assert fast == plain
            continue
        assert np.asarray(fast).dtype == np.asarray(plain).dtype
        np.testing.assert_allclose(fast, plain, rtol=tolerance, atol=tolerance / 10 * min(largest, 100))


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises((RuntimeError, ValueError, TypeError)) as refused:
        call()
    return str(refused.value)


def too_few(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a layer refuses to be trained with so many examples."""
    return name.startswith("BatchNorm") and shape[:-1] == (1,)


def is_whole(model: Any) -> bool:
    """Whether the latest forward was that of one program."""
    return hasattr(model._cache, "program")


@pytest.fixture(params=LAYERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(name: str, dtype: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x, d = rng.normal(size=shape).astype(dtype), rng.normal(size=(*shape[:-1], 4)).astype(dtype)
    x.flags.writeable = d.flags.writeable = False

    def run() -> list[Any]:
        model, shown = net(name, dtype), []
        if too_few(name, shape):
            shown.append(refusal(lambda: model(x)))
            model.eval()
        for i in range(3):
            shown.append(model(x))
            if not pk.fast.switch.reasons:
                assert is_whole(model)
            shown.append(model.compute_backward(d))
            shown += seen_of(model)  # gradients that are added to
            shown.append(pk.predict(model, x))
            if i == 1:
                for grad in model.get_params_and_grads()[1]:
                    grad.fill(0)
            for p in model.get_params_and_grads()[0]:
                p *= 0.9
        model(x)
        model.accumulate_grads(d)
        return [*shown, *seen_of(model)]

    both(run, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_steps(name: str, dtype: Any, cut: bool, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    if cut:
        monkeypatch.setattr(steps, "ROWS", 1)
        monkeypatch.setattr(steps, "BLOCK", 180)
    model = net(name, dtype)
    other = (shape[0] // 2 or 1, *shape[1:])
    if too_few(name, shape):
        model.eval()
    elif too_few(name, other):
        other = (3, *shape[1:])
    data = [
        (RNG.normal(size=s).astype(dtype), RNG.uniform(size=(*s[:-1], 4)).astype(dtype))
        for s in (shape, shape, other, shape, other)
    ]
    exact = dtype == np.float64 and name in EXACT and not cut
    tolerance = 0 if exact else 1e-9 if dtype == np.float64 else 5e-3
    step = same_training(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1, momentum=0.5), data, tolerance)
    assert len(programs(step)) == len({shape, other})


@pytest.mark.parametrize("name_of_rule", ["Adam", "SGD"])
def test_fit_with_a_smaller_last_batch(name: str, name_of_rule: str) -> None:
    x, y = RNG.normal(size=(53, 3)), RNG.integers(0, 4, 53)

    def run() -> list[Any]:
        model = net(name).add(pk.Linear(4, 4, rng=3))
        # Adam makes much of what rounding leaves of a gradient that is 0, as that of a bias before a BatchNorm
        optimizer = pk.SGD(model, lr=0.01) if name_of_rule == "SGD" else pk.Adam(model, lr=0.01, eps=1e-3)
        options: Any = {"epochs": 3, "batch_size": 10, "rng": 0, "progress": False, "metrics": {"accuracy": pk.accuracy}}
        history = pk.fit(model, pk.CrossEntropy(), optimizer, x, y, validation=(x[:10], y[:10]), clip_norm=0.5, **options)
        columns = [history[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")]
        return [*map(np.array, columns), *seen_of(model), pk.predict(model, x)]

    both(run)


def test_predict_in_blocks(name: str) -> None:
    x = RNG.normal(size=(9001, 3))

    def run() -> list[Any]:
        model, shown = net(name), []
        for mode in (True, False):
            model.train(mode)
            shown += [pk.predict(model, x), pk.predict(model, x[:7]), pk.predict(model, x, batch_size=50)]
            shown += seen_of(model)
        model.train()
        model(x[:50])
        pk.predict(model, x[:50])
        return [*shown, model.compute_backward(np.ones((50, 4))), *seen_of(model), pk.predict(model, x)]

    both(run)


def test_large_batches_are_as_small_ones(name: str) -> None:
    model = net(name, n_in=40)
    data = [(RNG.normal(size=(n, 40)), RNG.integers(0, 4, n)) for n in (3000, 30, 3000, 20_000)]
    step = same_training(model, pk.CrossEntropy(), pk.SGD(model, lr=0.1), data, 1e-8)
    assert [type(program) for program in programs(step)] == [BlockStep, StepProgram, BlockStep]


def pick(model: Any, name: str) -> Any:
    return [layer for layer in model.functions if type(layer).__name__ == name.split()[0]][1]


def freeze(model: Any, layer: Any) -> None:
    layer.freeze()


def thaw(model: Any, layer: Any) -> None:
    layer.freeze().freeze(False)


def astype(model: Any, layer: Any) -> None:
    model.astype(np.float32)


def astype_of_one(model: Any, layer: Any) -> None:
    layer.astype(np.float32)


def wrap(model: Any, layer: Any) -> None:
    method = layer.compute_forward
    layer.compute_forward = lambda x: 0.5 * method(x)


def wrap_backward(model: Any, layer: Any) -> None:
    method = layer.compute_backward
    layer.compute_backward = lambda d: 0.5 * method(d)


def another_array(model: Any, layer: Any) -> None:
    for key in ("weight", "bias", "running_mean", "running_var"):
        if key in vars(layer):
            vars(layer)[key] = vars(layer)[key] + 0.5


def another_gradient(model: Any, layer: Any) -> None:
    if "grad_weight" in vars(layer):
        vars(layer)["grad_weight"] = np.zeros_like(layer.grad_weight)


def gradient_with_gaps(model: Any, layer: Any) -> None:
    if "grad_weight" in vars(layer):
        vars(layer)["grad_weight"] = np.zeros((len(layer.grad_weight), 2))[:, 0]


def another_shape(model: Any, layer: Any) -> None:
    for key in ("weight", "grad_weight"):
        if key in vars(layer):
            vars(layer)[key] = np.ones(3)


def another_bias(model: Any, layer: Any) -> None:
    for key in ("bias", "grad_bias"):
        if key in vars(layer):
            vars(layer)[key] = np.ones(3)


def another_dtype_of_the_bias(model: Any, layer: Any) -> None:
    for key in ("bias", "grad_bias"):
        if key in vars(layer):
            vars(layer)[key] = np.ones(5, np.float32) / 3


def another_kind_of_statistics(model: Any, layer: Any) -> None:
    if "running_mean" in vars(layer):
        layer.running_mean = layer.running_mean.astype(np.float32)
        layer.running_var = np.ones(1)


def a_number_of_batches(model: Any, layer: Any) -> None:
    if "num_batches_tracked" in vars(layer):
        layer.num_batches_tracked = np.int64(5)


def another_n(model: Any, layer: Any) -> None:
    if "n" in vars(layer):
        layer.n = 1


def another_shape_of_the_gradient(model: Any, layer: Any) -> None:
    if "grad_weight" in vars(layer):
        vars(layer)["grad_weight"] = np.zeros(1)


def gradients_added(model: Any, layer: Any) -> None:
    for grad in model.get_params_and_grads()[1]:
        grad += 0.3


def parameters_changed(model: Any, layer: Any) -> None:
    for p in layer.get_params_and_grads()[0]:
        p -= 0.4


def settings_changed(model: Any, layer: Any) -> None:
    for key, value in {"eps": 0.1, "p": 0.7, "momentum": 0.6, "axis": 0, "max_ndim": 7, "init": -1.0}.items():
        if key in vars(layer):
            setattr(layer, key, value)


def max_ndim_changed(model: Any, layer: Any) -> None:
    if "max_ndim" in vars(layer):
        layer.max_ndim = 1


def evaluation(model: Any, layer: Any) -> None:
    layer.eval()


def evaluation_of_all(model: Any, layer: Any) -> None:
    model.eval()


def evaluation_and_back(model: Any, layer: Any) -> None:
    model.eval()
    model(np.ones((5, 3)))
    model.train()


def shared(model: Any, layer: Any) -> None:
    model.functions.insert(model.functions.index(layer), layer.shared_copy())


def shared_gradient(model: Any, layer: Any) -> None:
    twin = copy.deepcopy(layer)
    if "grad_weight" in vars(layer):
        vars(twin)["grad_weight"] = layer.grad_weight
    model.functions.insert(model.functions.index(layer), twin)


def twice(model: Any, layer: Any) -> None:
    model.functions.append(layer)


def another_layer(model: Any, layer: Any) -> None:
    model.functions[model.functions.index(layer)] = pk.Sigmoid()


def called_alone(model: Any, layer: Any) -> None:
    layer(np.ones((7, 5)))


def called_alone_and_back(model: Any, layer: Any) -> None:
    layer.compute_backward(np.ones_like(layer(np.full((7, 5), -0.5))))


def not_a_number(model: Any, layer: Any) -> None:
    for p in layer.get_params_and_grads()[0]:
        p[-1] = np.nan


def infinite(model: Any, layer: Any) -> None:
    for p in layer.get_params_and_grads()[0]:
        p[0] = np.inf


def loaded(model: Any, layer: Any) -> None:
    model.load_state_dict({key: array if array.dtype.kind != "f" else 0.5 * array for key, array in model.state_dict().items()})


def reset(model: Any, layer: Any) -> None:
    layer.reset_parameters()


def another_generator(model: Any, layer: Any) -> None:
    if "rng" in vars(layer):
        layer.rng = np.random.default_rng(77)


def generator_of_somebody(model: Any, layer: Any) -> None:
    class Halves:
        def random(self, shape: Any, dtype: Any = float) -> Any:
            return np.full(shape, 0.45, dtype)

    if "rng" in vars(layer):
        layer.rng = Halves()


def generator_of_another_kind(model: Any, layer: Any) -> None:
    for function in model.functions:
        if "rng" in vars(function):
            function.rng = np.random.Generator(np.random.MT19937(5))


def one_generator_for_all(model: Any, layer: Any) -> None:
    for function in model.functions:
        if "rng" in vars(function):
            function.rng = layer.rng


EDITS = [
    freeze, thaw, astype, astype_of_one, wrap, wrap_backward, another_array, another_gradient, gradient_with_gaps,
    another_shape, another_bias, another_dtype_of_the_bias, another_n, another_kind_of_statistics, a_number_of_batches,
    another_shape_of_the_gradient, gradients_added, parameters_changed, settings_changed, max_ndim_changed, evaluation,
    evaluation_of_all, evaluation_and_back, shared, shared_gradient, twice, another_layer, called_alone,
    called_alone_and_back, not_a_number, infinite, loaded, reset, another_generator, generator_of_somebody,
    generator_of_another_kind, one_generator_for_all,
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    "way", ["TrainStep", pytest.param("four lines", marks=pytest.mark.slow), pytest.param("between", marks=pytest.mark.slow)]
)
def test_what_changes_between_two_calls_counts(name: str, edit: Any, way: str) -> None:
    """In the middle of a training; `between` forward and backward of a step."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 4))

    def run() -> list[Any]:
        model, loss = net(name), pk.MeanSquaredError()
        optimizer = pk.SGD(model, lr=0.05, momentum=0.5)
        step, shown = pk.TrainStep(model, loss, optimizer), []
        layer = pick(model, name)
        with np.errstate(all="ignore"):
            for i in range(5):
                try:
                    if i == 2 and way != "between":
                        edit(model, layer)
                    if way == "TrainStep":
                        shown.append(step(x, y))
                    else:
                        optimizer.zero_grad()
                        shown.append(loss(model(x), y))
                        if i == 2 and way == "between":
                            edit(model, layer)
                        shown.append(model.compute_backward(loss.compute_backward()))
                        optimizer.step()
                    shown += seen_of(model)
                    shown.append(pk.predict(model, x))
                except (RuntimeError, ValueError, TypeError) as error:
                    shown.append(f"{type(error).__name__}: {error}")
        return shown

    both(run, np.float32 if edit in (astype, astype_of_one, another_kind_of_statistics) else np.float64)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite(name: str, value: float) -> None:
    x, y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 4))
    x[1, 1] = value

    def run() -> list[Any]:
        with np.errstate(all="ignore"):
            model = net(name)
            shown = [pk.predict(model, x), model(x), model.compute_backward(y), *seen_of(model)]
            optimizer = pk.SGD(model, lr=0.01)
            return [*shown, pk.TrainStep(model, pk.MeanSquaredError(), optimizer)(x, y), *seen_of(model)]

    both(run)


def test_what_is_refused_changes_what_the_page_changes(name: str) -> None:
    """A label that there is not, and a value that is not finite: the page's forward has been, once."""
    x, labels = RNG.normal(size=(6, 3)), np.array([0, 1, 2, 3, 0, 1])
    bad = np.where(labels == 3, 9, labels)

    def run() -> list[Any]:
        model = net(name)
        step, shown = pk.TrainStep(model, pk.CrossEntropy(), pk.SGD(model, lr=0.1)), []
        for _ in range(3):
            shown += [step(x, labels), refusal(lambda: step(x, bad)), refusal(lambda: step(x[:, :2], labels)), *seen_of(model)]
        with np.errstate(all="ignore"):
            shown += [step(np.full_like(x, np.inf), labels), *seen_of(model)]
        return shown

    both(run)


@pytest.mark.parametrize("rows", [6, 9000])
def test_floating_point_errors_change_what_the_page_changes(name: str, rows: int) -> None:
    x, y = RNG.normal(size=(rows, 3)), RNG.normal(size=(rows, 4))

    def run() -> list[Any]:
        model = net(name)
        step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1))
        shown = [step(x, y)]
        with np.errstate(over="raise", invalid="raise"), contextlib.suppress(FloatingPointError):
            step(x, np.full_like(y, 1e200))
        return [*shown, *seen_of(model), step(x, y), *seen_of(model)]

    both(run)


def test_what_is_left_is_what_the_page_remembers(name: str) -> None:
    for shape in ((5, 3), (4, 6, 3)):
        x = RNG.normal(size=shape)
        for time_first in (False, True) if x.ndim == 3 else (False,):
            given = np.swapaxes(np.swapaxes(x, 0, 1).copy(), 0, 1) if time_first else x
            remembered = []
            for on in (True, False):
                model = net(name)
                with contextlib.nullcontext() if on else pk.fast.off():
                    model(given)
                remembered.append([item for layer in model.functions for item in layer._cache.what])
            for fast, plain in zip(*remembered, strict=True):
                assert np.shape(fast) == np.shape(plain)
                assert type(fast) is type(plain)
                np.testing.assert_allclose(fast, plain, rtol=1e-11, atol=1e-13)


def test_backward_layer_by_layer(name: str) -> None:
    x, d = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))

    def run() -> list[Any]:
        model, g = net(name), d
        model(x)
        for function in reversed(model.functions):
            g = function.compute_backward(g)
        first, model = [g, *seen_of(model)], net(name)
        model(x)
        twice = [model.compute_backward(d), model.compute_backward(d)]
        model(x)
        model(x)
        model.compute_backward(d)
        return [*first, *twice, refusal(lambda: model.compute_backward(d)), *seen_of(model)]

    both(run)


def test_copies_and_pickles(name: str) -> None:
    x, y = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))

    def run() -> list[Any]:
        model = net(name)
        optimizer = pk.Adam(model, lr=0.01, eps=0.1)
        pk.TrainStep(model, pk.MeanSquaredError(), optimizer)(x, y)
        model(x)
        shown = []
        for duplicate in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
            twin, its_optimizer = duplicate((model, optimizer))
            step = pk.TrainStep(twin, pk.MeanSquaredError(), its_optimizer)
            shown += [step(x, y), step(x, y), *seen_of(twin), pk.predict(twin, x)]
        return [*shown, *seen_of(model)]

    both(run)


def test_a_penalty_added_before_backward_counts(name: str) -> None:
    x, d = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))

    def run() -> list[Any]:
        model, shown = net(name), []
        for i, _ in enumerate(model.get_params_and_grads()[1]):
            for grad in model.get_params_and_grads()[1]:
                grad.fill(0)
            model(x)
            model.get_params_and_grads()[1][i].reshape(-1)[-1] = 0.25
            model.accumulate_grads(d)
            shown += seen_of(model)
        return shown

    both(run)


@pytest.mark.parametrize("axis", [-1, -2, 0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("shape", [(5, 3), (4, 6, 3)], ids=str)
def test_every_axis(axis: int, kind: str, shape: tuple[int, ...]) -> None:
    x, d = RNG.normal(size=shape), RNG.normal(size=(*shape[:-1], 4))

    def run() -> list[Any]:
        model = pk.Sequential([pk.Linear(3, 4, rng=0), getattr(pk, kind)(axis)])
        if axis >= len(shape):
            return [refusal(lambda: model(x))]
        return [model(x), model.compute_backward(d), *seen_of(model), pk.predict(model, x)]

    both(run)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("scale", [1e-8, 1e-4, 50, 1e3, 1e30, 1e200])
def test_numbers_of_all_sizes(name: str, scale: float, dtype: Any) -> None:
    if dtype is np.float32 and scale == 1e200:
        return
    rng = np.random.default_rng(5)
    x, d = rng.normal(size=(9, 3)).astype(dtype), rng.normal(size=(9, 6)).astype(dtype)

    def run() -> list[Any]:
        model: Any = pk.Sequential([pk.Linear(3, 6, bias=False, rng=0), LAYERS[name](6, float)]).astype(dtype)
        model[0].weight *= scale
        model[0].weight[0] = 0
        with np.errstate(all="ignore"):
            return [model(x), *(g / scale for g in (model.compute_backward(d), model[0].grad_weight)), *seen_of(model)[1:-1]]

    both(run, dtype)


def test_numbers_far_from_zero_keep_their_digits(name: str) -> None:
    """In float32: what a program gives is as near to what float64 gives as what the page gives."""
    x = RNG.integers(-3, 4, (50, 3))
    shown = []
    for dtype, on in ((np.float64, False), (np.float32, False), (np.float32, True)):
        model: Any = pk.Sequential([pk.Linear(3, 60, rng=0), LAYERS[name](60, np.float64)]).astype(dtype)
        model[0].weight[...] = np.random.default_rng(0).integers(-2, 3, (60, 3))
        model[0].bias[...] = 10_000  # all of these are whole numbers, so that the product is exact
        with contextlib.nullcontext() if on else pk.fast.off():
            y = model(x.astype(dtype))
            model.compute_backward(np.ones_like(y) + np.sin(np.arange(60)).astype(y.dtype))
        shown.append([y, *model.get_params_and_grads()[1]])
    for exact, plain, fast in zip(*shown, strict=True):
        error, most = np.abs(fast - exact).max(), 3 * np.abs(plain - exact).max()
        assert error <= most + 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize("way", ["TrainStep", "four lines"])
def test_modes_that_change_at_each_step(name: str, way: str) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 4))

    def run() -> list[Any]:
        model, loss = net(name), pk.MeanSquaredError()
        optimizer = pk.SGD(model, lr=0.05)
        step, shown = pk.TrainStep(model, loss, optimizer), []
        layer = pick(model, name)
        for i, mode in enumerate((True, False, True, True, False, False, True, False)):
            (layer if i > 3 else model).train(mode)
            if way == "TrainStep":
                shown.append(step(x, y))
            else:
                optimizer.zero_grad()
                shown.append(loss(model(x), y))
                model.accumulate_grads(loss.compute_backward())
                optimizer.step()
            shown += [*seen_of(model), pk.predict(model, x)]
        return shown

    both(run)


def test_each_mode_has_a_program_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    begin = chains.Program.__init__
    monkeypatch.setattr(chains.Program, "__init__", lambda self, *args: (made.append(args), begin(self, *args))[1])
    model, x = net("Dropout").train(), np.ones((5, 3))
    for _ in range(4):
        model.train()
        model(x)
        model.eval()
        model(x)
        pk.predict(model, x)
    assert len(made) == 3


def test_a_draw_that_is_the_probability_is_kept() -> None:
    draws = np.random.default_rng(3).random((5, 4), np.float32)

    def run() -> list[Any]:
        return [pk.Sequential([pk.Linear(3, 4, rng=0), pk.Dropout(float(p), rng=3)])(np.ones((5, 3))) for p in draws.ravel()]

    both(run)


def test_after_a_cell() -> None:
    for name in LAYERS:
        x, y = RNG.normal(size=(4, 5, 3)), RNG.normal(size=(4, 5, 2))
        layers = [pk.Unrolled(pk.GRUCell(3, 6, rng=0)), LAYERS[name](6, float), pk.Linear(6, 2, rng=1), LAYERS[name](2, float)]
        model = pk.Sequential(layers)
        step = same_training(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1), [(x, y)] * 3, 1e-10)
        assert len(programs(step)) == 1


def test_large_layers(name: str) -> None:
    """Where numbers lie row by row."""
    rng = np.random.default_rng(3)
    make = LAYERS[name]
    layers = [pk.Linear(120, 90, rng=0), make(90, float), pk.Linear(90, 4, rng=1), make(4, float)]
    model = pk.Sequential(layers)
    data = [(rng.normal(size=(130, 120)), rng.uniform(size=(130, 4))) for _ in range(3)]
    step = same_training(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1), data, 1e-10)
    assert len(programs(step)) == 1
    both(lambda: [pk.predict(model, data[0][0]), *seen_of(model)])


def test_gradients_are_written_where_they_are_zero(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []
    write = chains.Program._write_backward

    def noting(self: Any, input_too: bool, writes: bool, otherwise: str) -> Any:
        made.append(writes)
        return write(self, input_too, writes, otherwise)

    monkeypatch.setattr(chains.Program, "_write_backward", noting)
    model, loss = net(name), pk.MeanSquaredError()
    optimizer = pk.SGD(model)
    for _ in range(3):
        optimizer.zero_grad()
        loss(model(np.ones((5, 3))), np.zeros((5, 4)))
        model.accumulate_grads(loss.compute_backward())
    assert made == [True]
    assert stacks.state_of(model).whole
