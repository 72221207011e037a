"""The judge of lesson 6: a training loop, by what it calls, and when."""

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
from pancake.workshop.judging import Numbers, call, compare, uniform
from pancake.workshop.verdicts import Wrong


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
    _objectives(result, optimizer.objectives)
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


def _objectives(result: Any, before: list[float]) -> None:
    if result is None:
        raise Wrong("train returned None; return the list of the objectives")
    try:
        found = [float(np.asarray(value).reshape(())) for value in result]
    except (TypeError, ValueError):
        raise Wrong(f"train must return a list of numbers, the objectives, got {type(result).__name__}") from None
    steps = len(before)
    if len(found) != steps:
        raise Wrong(f"with steps={steps} it returned {len(found)} objectives; append one in every step")
    if not np.allclose(found, before, rtol=1e-9):
        if len(set(found)) == 1 and steps > 1:
            raise Wrong("all objectives that it returned are the same; append the one of each step")
        if np.allclose(found, before[::-1]):
            raise Wrong("the objectives are returned last to first")
        i = int(np.argmin(np.isclose(found, before, rtol=1e-9)))
        raise Wrong(f"objective {i} that it returned is {found[i]:.9g}, and the loss said {before[i]:.9g} before step {i + 1}")


# --- the optimizer ---


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
    """A loss that notes its calls, and refuses to be called with anything but the prediction and the target."""

    def __init__(self, loss: Any, log: list[str], model: _Watched, y: Any) -> None:
        self.loss, self.log, self.model, self.y = loss, log, model, y

    def compute_forward(self, pred: Any, target: Any) -> Any:
        self.log.append("loss")
        if np.array_equal(pred, self.y) and np.array_equal(target, self.model.latest):
            raise Wrong("the loss was called with (target, prediction): the prediction comes first, loss(model(X), y)")
        if not np.array_equal(target, self.y):
            raise Wrong(f"the loss was called with a target of shape {np.shape(target)} that is not y, all of it, as it is")
        return self.loss.compute_forward(pred, target)

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
        self.objectives: list[float] = []  # before each step, also of whoever calls the loss once more in between

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
        self.objectives.append(float(loss(twin(self.X), self.y)))
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
            said = f"in step {number} the gradients are {factor:.6g} times those of the loss"
            return f"{said}; hand over loss.compute_backward() as it is"
        return f"in step {number} the gradients are not those of the loss on all examples, at the parameters as they are"
