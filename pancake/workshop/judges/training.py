"""The judges of lessons 6 to 8: the training loop, an optimizer, a builder of nets. They watch what is called, and when."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.functions.activations import Tanh
from pancake.functions.containers import Sequential
from pancake.functions.linear import Linear
from pancake.losses.classes import CrossEntropy
from pancake.losses.elementwise import MeanSquaredError
from pancake.optimizers.rules import SGD, Adam
from pancake.workshop.judging import Numbers, array, call, compare, parameters, uniform
from pancake.workshop.verdicts import Wrong


class _Watched(Function):
    """A model that notes the calls of its forward and backward."""

    def __init__(self, model: Function, log: list[str], X: Numbers) -> None:
        self.model, self.log, self.X, self.latest = model, log, X, np.zeros(0)

    def compute_forward(self, x: Any) -> Any:
        self.log.append("forward")
        if not np.array_equal(x, self.X):
            raise Wrong(f"the model was called with an input of shape {np.shape(x)} that is not X, all of it, as it is")
        y = self.model.compute_forward(x)
        self.latest = y.copy()
        return y

    def compute_backward(self, dObj_dOut: Any) -> Any:
        self.log.append("backward")
        if np.shape(dObj_dOut) == ():
            raise Wrong(
                "the model's compute_backward was given a single number; hand it what loss.compute_backward() returns, "
                "which is shaped like the prediction"
            )
        return self.model.compute_backward(dObj_dOut)


class _WatchedLoss:
    """A loss that notes its calls, and what it was called with."""

    def __init__(self, loss: Any, log: list[str], model: _Watched, y: Any) -> None:
        self.loss, self.log, self.model, self.y = loss, log, model, y
        self.values: list[float] = []

    def compute_forward(self, pred: Any, target: Any) -> Any:
        self.log.append("loss")
        if np.array_equal(pred, self.y) and np.array_equal(target, self.model.latest):
            raise Wrong("the loss was called with (target, prediction): the prediction comes first, loss(model(X), y)")
        if not np.array_equal(target, self.y):
            raise Wrong(f"the loss was called with a target of shape {np.shape(target)} that is not y, all of it, as it is")
        value = self.loss.compute_forward(pred, target)
        self.values.append(float(value))
        return value

    __call__ = compute_forward

    def compute_backward(self) -> Any:
        self.log.append("loss backward")
        return self.loss.compute_backward()


class _WatchedOptimizer:
    """An optimizer that looks, in each step, whether the gradients are those of the loss as it is now."""

    def __init__(self, optimizer: Any, log: list[str], model: Function, loss: Any, X: Numbers, y: Any) -> None:
        self.optimizer, self.log, self.model = optimizer, log, model
        self.loss, self.X, self.y = loss, X, y
        self.problem = ""

    @property
    def lr(self) -> Any:
        return self.optimizer.lr

    def zero_grad(self) -> None:
        self.log.append("zero_grad")
        self.optimizer.zero_grad()

    def step(self) -> None:
        self.log.append("step")
        if not self.problem:
            self.problem = self._problem()
        self.optimizer.step()

    def _problem(self) -> str:
        """What is wrong with the gradients that this step gets."""
        number = self.log.count("step")
        grads = self.model.get_params_and_grads()[1]
        twin = copy.deepcopy(self.model)
        for g in twin.get_params_and_grads()[1]:
            g[...] = 0
        loss = copy.deepcopy(self.loss)
        loss(twin(self.X), self.y)
        twin.compute_backward(loss.compute_backward())
        wanted = twin.get_params_and_grads()[1]
        if all(np.allclose(g, w, rtol=1e-6, atol=1e-10) for g, w in zip(grads, wanted, strict=True)):
            return ""
        if not any(g.any() for g in grads):
            cleared = self.log[-2:-1] == ["zero_grad"]
            why = "zero_grad() stands between backward and step" if cleared else "backward was not called before it"
            return f"step {number} is made with gradients that are all 0: {why}"
        last = self.log[:-1]
        begin = len(last) - last[::-1].index("step") if "step" in last else 0
        since = last[begin:]
        if "backward" not in since:
            return f"step {number} is made without a backward since the step before it"
        if "zero_grad" not in self.log:
            return f"in step {number} the gradients of earlier steps are still in the sum: zero_grad() is never called"
        if since.count("backward") > 1:
            return f"in step {number} backward was called {since.count('backward')} times, and the gradients are added up"
        if "zero_grad" not in since:
            return f"in step {number} the gradients of earlier steps are still in the sum: zero_grad() is not called in each step"
        ratios = [g / w for g, w in zip(grads, wanted, strict=True) if np.all(np.abs(w) > 1e-12)]
        if ratios and all(np.allclose(r, ratios[0].flat[0], rtol=1e-6) for r in ratios):
            factor = ratios[0].flat[0]
            return f"in step {number} the gradients are {factor:.6g} times those of the loss; hand over loss.compute_backward() as it is"
        return f"in step {number} the gradients are not those of the loss on all examples, at the parameters as they are"


def train(solution: Any) -> None:
    """Watch the order of calls, and look at the gradients of each step."""
    rng = np.random.default_rng(0)
    X, y = uniform(rng, 12, 2), np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0])
    for steps, make_loss, target in ((4, CrossEntropy, y), (1, CrossEntropy, y), (3, MeanSquaredError, np.eye(2)[y])):
        _watch(solution, steps, make_loss(), X, target)
    model = Sequential([Linear(2, 8, rng=0), Tanh(), Linear(8, 2, rng=1)])
    loss, before = CrossEntropy(), float(CrossEntropy()(model(X), y))
    call("train", solution, model, loss, Adam(model, lr=0.05), X, y, 200)
    after = float(loss(model(X), y))
    if not after < 0.1 * before:
        raise Wrong(f"after 200 steps the loss is {after:.3f}, from {before:.3f} at first; it should be below a tenth of that")


def _watch(solution: Any, steps: int, loss: Any, X: Numbers, y: Any) -> None:
    log: list[str] = []
    model = Sequential([Linear(2, 3, rng=0), Tanh(), Linear(3, 2, rng=1)])
    watched = _Watched(model, log, X)
    watched_loss = _WatchedLoss(loss, log, watched, y)
    optimizer = _WatchedOptimizer(SGD(model, lr=0.3), log, model, loss, X, y)
    start = copy.deepcopy(model)
    try:
        result = solution(watched, watched_loss, optimizer, X.copy(), np.array(y), steps)
    except RuntimeError as error:
        if "needs a" in str(error):
            raise Wrong(f"backward comes before forward: {error}") from None
        raise
    _order(log, steps)
    if optimizer.problem:
        raise Wrong(optimizer.problem)
    if log.count("step") != steps:
        raise Wrong(f"with steps={steps} it made {log.count('step')} steps")
    _objectives(result, steps, watched_loss.values)
    for _ in range(steps):
        for g in start.get_params_and_grads()[1]:
            g[...] = 0
        loss(start(X), y)
        start.compute_backward(loss.compute_backward())
        for p, g in zip(*start.get_params_and_grads(), strict=True):
            p -= 0.3 * g
    pairs = list(zip(model.get_params_and_grads()[0], start.get_params_and_grads()[0], strict=True))
    compare("the weight after training", [p for p, _ in pairs], [q for _, q in pairs], rtol=1e-6)


def _order(log: list[str], steps: int) -> None:
    hints = {
        "forward": "the model is never called: model(X)",
        "loss": "the loss is never called: loss(pred, y)",
        "loss backward": "loss.compute_backward() is never called; the model's backward begins with what it returns",
        "backward": "the model's compute_backward is never called",
        "step": "optimizer.step() is never called, so nothing is learnt",
    }
    for event, said in hints.items():
        if event not in log:
            raise Wrong(said)
    if log.index("step") < log.index("backward"):
        raise Wrong("optimizer.step() comes before the first backward: there are no gradients yet")


def _objectives(result: Any, steps: int, values: list[float]) -> None:
    if result is None:
        raise Wrong("train returned None; return the list of the objectives")
    try:
        found = [float(np.asarray(value).reshape(())) for value in result]
    except (TypeError, ValueError):
        raise Wrong(f"train must return a list of numbers, the objectives, got {type(result).__name__}") from None
    if len(found) != steps:
        raise Wrong(f"with steps={steps} it returned {len(found)} objectives; append one in every step")
    before = values[:: max(1, len(values) // steps)][:steps] if len(values) >= steps else values
    if not np.allclose(found, before, rtol=1e-9):
        if len(set(found)) == 1 and steps > 1:
            raise Wrong("all objectives that it returned are the same; append the one of each step")
        if np.allclose(found, before[::-1]):
            raise Wrong("the objectives are returned last to first")
        raise Wrong(f"objective 0 that it returned is {found[0]:.6g}, and the loss said {before[0]:.6g} before the first step")


# --- the optimizer ---


class _Knobs(Function):
    """Parameters of several shapes, whose gradients are set by hand."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.a, self.grad_a = uniform(rng, 3, 2), np.zeros((3, 2))
        self.b, self.grad_b = uniform(rng, 4), np.zeros(4)

    def compute_forward(self, x: Any) -> Any:
        return x

    def compute_backward(self, dObj_dOut: Any) -> Any:
        return dObj_dOut


def momentum(cls: Any) -> None:
    """The weights after several steps with random gradients, and what else an optimizer must leave alone."""
    if not isinstance(cls, type):
        raise Wrong(f"expected a class, got {type(cls).__name__}")
    _steps(cls, 0.05, 0.9)
    rng = np.random.default_rng(3)
    first, second = _Knobs(rng), _Knobs(rng)
    optimizers = [cls(first, 0.1, 0.9), cls(second, 0.1, 0.9)]
    before = second.a.copy()
    first.grad_a[...] = second.grad_a[...] = 1.0
    optimizers[0].step()
    if not np.array_equal(second.a, before):
        raise Wrong("a step of one optimizer changes the model of another")
    optimizers[1].step()
    if not np.allclose(second.a, before - 0.1):
        raise Wrong("a second optimizer goes on with the velocities of the first: keep them in self, not in the class")
    for lr, m in ((0.1, 0.0), (0.02, 0.5)):
        _steps(cls, lr, m)


def _steps(cls: Any, lr: float, m: float) -> None:
    rng = np.random.default_rng(0)
    model = _Knobs(rng)
    optimizer = cls(model, lr, m)
    for method in ("zero_grad", "step"):
        if not callable(getattr(optimizer, method, None)):
            raise Wrong(f"Momentum has no method {method}")
    arrays = [model.a, model.b, model.grad_a, model.grad_b]
    _zeroes(optimizer, model, arrays)
    p = [model.a.copy(), model.b.copy()]
    start = [q.copy() for q in p]
    b = [np.zeros_like(q) for q in p]
    history: list[list[Numbers]] = []
    got: list[Numbers] = []
    wanted: list[Numbers] = []
    causes: dict[str, list[Numbers]] = {}
    for _ in range(4):
        g = [uniform(rng, *q.shape) for q in p]
        history.append(g)
        model.grad_a[...], model.grad_b[...] = g
        optimizer.step()
        _kept(model, arrays, "step")
        if not (np.array_equal(model.grad_a, g[0]) and np.array_equal(model.grad_b, g[1])):
            raise Wrong("step changes the gradients; it may read them, and zero_grad alone clears them")
        before, old = [q.copy() for q in p], [v.copy() for v in b]
        for q, v, d in zip(p, b, g, strict=True):
            v *= m
            v += d
            q -= lr * v
        got += [model.a.copy(), model.b.copy()]
        wanted += [q.copy() for q in p]
        for said, arrays_ in _mistakes_of_momentum(before, old, b, [q.copy() for q in p], start, history, lr, m).items():
            causes.setdefault(said, []).extend(arrays_)
        model.a[...], model.b[...] = p  # each step begins at the right place, so that mistakes do not pile up
    compare("the parameter after a step", got, wanted, causes)


def _mistakes_of_momentum(
    before: list[Numbers],
    old: list[Numbers],
    b: list[Numbers],
    p: list[Numbers],
    start: list[Numbers],
    history: list[list[Numbers]],
    lr: float,
    m: float,
) -> dict[str, list[Numbers]]:
    """Where the parameters would be after one step, for each of the usual mistakes."""
    g = history[-1]

    def moved(velocities: list[Numbers]) -> list[Numbers]:
        return [x - lr * v for x, v in zip(before, velocities, strict=True)]

    def summed(weight: Any) -> list[Numbers]:
        n = len(history)
        return [sum(weight(n - 1 - t) * h[i] for t, h in enumerate(history)) for i in range(2)]  # type: ignore[misc]

    return {
        "nothing has changed: is g added to the velocity, and p changed in place, p -= ...?": before,
        "it goes uphill: b <- m b + g, and p <- p - lr b": moved([-v for v in b]),
        "lr is missing": [x - v for x, v in zip(before, b, strict=True)],
        "this is plain descent, p - lr g: the velocity is not kept from step to step": moved(g),
        "the velocity is the mean m b + (1 - m) g, and should be m b + g": moved(summed(lambda age: (1 - m) * m**age)),
        "the velocity is not damped: b <- m b + g": moved(summed(lambda age: 1.0)),
        "the step is made with the velocity from before: first b, then p": moved(old),
        "the step is taken from where the first step began": [s - lr * v for s, v in zip(start, b, strict=True)],
        "momentum is multiplied with the gradient, and should be with the velocity": moved(summed(lambda age: m)),
        "the first parameter alone is changed": [p[0], before[1]],
        "the last parameter alone is changed": [before[0], p[1]],
        "only the first entry of each array is changed": [
            np.concatenate([q[:1], x[1:]]) for x, q in zip(before, p, strict=True)
        ],
        "lr comes in twice": moved([lr * v for v in b]),
        "the sign of momentum is flipped: b <- m b + g": moved(summed(lambda age: (-m) ** age)),
        "the velocity is damped by 1 - m, and should be by m": moved(summed(lambda age: (1 - m) ** age)),
        "this is Nesterov's rule, p - lr (g + m b)": moved([d + m * v for d, v in zip(g, b, strict=True)]),
    }


def _zeroes(optimizer: Any, model: _Knobs, arrays: list[Numbers]) -> None:
    rng = np.random.default_rng(1)
    held = model.a.copy(), model.b.copy()
    model.grad_a[...], model.grad_b[...] = uniform(rng, 3, 2), uniform(rng, 4)
    optimizer.zero_grad()
    if not (np.array_equal(model.a, held[0]) and np.array_equal(model.b, held[1])):
        raise Wrong("zero_grad changes the parameters; it should set the gradients to 0")
    _kept(model, arrays, "zero_grad")
    left = [name for name, g in (("first", model.grad_a), ("last", model.grad_b)) if g.any()]
    if len(left) == 2:
        raise Wrong("zero_grad leaves the gradients as they are; set them to 0 in place, g[...] = 0 (g = 0 makes a new name)")
    if left:
        raise Wrong(f"zero_grad leaves the gradient of the {left[0]} parameter as it is")
    model.grad_a[...] = np.nan
    optimizer.zero_grad()
    if model.grad_a.any():
        raise Wrong("zero_grad multiplies by 0, and 0 times nan is nan; assign, g[...] = 0")


def _kept(model: _Knobs, arrays: list[Numbers], method: str) -> None:
    for name, array_ in zip(("a", "b", "grad_a", "grad_b"), arrays, strict=True):
        if getattr(model, name) is not array_:
            raise Wrong(f"{method} puts a new array in the place of {name}; change the one that is there, in place")


# --- the builder ---


def build(solution: Any) -> None:
    """The number and widths of the layers, and that something bends between each two."""
    rng = np.random.default_rng(0)
    for n_in, hidden, n_out in ((2, [5, 4], 3), (3, [], 2), (2, [6], 1), (4, [3, 3, 3], 2)):
        said = f"build({n_in}, {hidden}, {n_out})"
        given = list(hidden)
        try:
            model = call(said, solution, n_in, hidden, n_out)
        except Exception as error:
            error.add_note(said)
            raise
        if hidden != given:
            raise Wrong(f"{said} changes the list that it was given; copy it first")
        if isinstance(model, (list, tuple)):
            raise Wrong(f"{said} returned a {type(model).__name__} of layers; make a pk.Sequential of it")
        if not callable(getattr(model, "compute_forward", None)):
            raise Wrong(f"{said} returned {type(model).__name__}, which is no Function")
        _layers(said, model, n_in, hidden, n_out)
        x = uniform(rng, 5, n_in)
        try:
            out = model.compute_forward(x)
        except ValueError as error:
            raise Wrong(f"{said}: the layers do not fit: {error}") from None
        y = array(said + ": the output", out, (5, n_out))
        _ends_open(said, model, y, x)
    again = [call("build", solution, 2, [3], 1) for _ in range(2)]
    shared = {id(p) for p in parameters(again[0])[0]} & {id(p) for p in parameters(again[1])[0]}
    if shared:
        raise Wrong("two nets share their weights: make new layers in every call")


def _layers(said: str, model: Any, n_in: int, hidden: list[int], n_out: int) -> None:
    widths = [n_in, *hidden, n_out]
    wanted = list(zip(widths[:-1], widths[1:], strict=True))
    params, _ = parameters(model)
    shapes = [tuple(sorted(p.shape)) for p in params if p.ndim == 2]
    expected = [tuple(sorted(shape)) for shape in wanted]
    layers = ", ".join(f"Linear{pair}" for pair in wanted)
    if len(shapes) != len(expected):
        raise Wrong(f"{said} has {len(shapes)} linear layers, and should have {len(expected)}: {layers}")
    if shapes != expected:
        index = next(i for i, (a, b) in enumerate(zip(shapes, expected, strict=True)) if a != b)
        raise Wrong(f"{said}: linear layer {index} has weights of shape {shapes[index]}; the layers should be {layers}")
    if not isinstance(model, Function):
        return
    leaves = [part for part in model.walk() if not any(part._parts())]
    number, bends = 0, True
    for part in leaves:
        if any(p.ndim == 2 for p in part.get_params_and_grads()[0]):
            if not bends:
                raise Wrong(f"{said}: nothing bends between linear layers {number - 1} and {number}, so they are one; put a ReLU there")
            number, bends = number + 1, False
        elif number == 0:
            raise Wrong(f"{said}: {type(part).__name__} stands before the first linear layer, where it spoils the input")
        else:
            bends = bends or _bends(part)
    if bends and leaves and not any(p.ndim == 2 for p in leaves[-1].get_params_and_grads()[0]) and _bends(leaves[-1]):
        raise Wrong(f"{said}: an activation, {type(leaves[-1]).__name__}, stands at the end; scores may be any number, also negative")


def _bends(part: Function) -> bool:
    """Whether something is not a straight line."""
    rng = np.random.default_rng(0)
    width = max((p.size for p in part.get_params_and_grads()[0]), default=3)
    a, b = uniform(rng, 4, width), uniform(rng, 4, width)
    ya, yb, middle = (np.array(part.compute_forward(z)) for z in (a, b, (a + b) / 2))
    return not np.allclose((ya + yb) / 2, middle, atol=1e-9)


def _ends_open(said: str, model: Any, y: Numbers, x: Numbers) -> None:
    """The output follows the last bias, up and down."""
    bias = parameters(model)[0][-1]
    if bias.ndim != 1:
        return
    held = bias.copy()
    for shift in (-50.0, 50.0):
        bias[...] = held + shift
        moved = np.asarray(model.compute_forward(x), float)
        bias[...] = held
        if not np.allclose(moved, y + shift, atol=1e-6):
            raise Wrong(f"{said}: the output is squeezed by something after the last linear layer; scores may be any number")
