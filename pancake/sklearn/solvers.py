"""scikit-learn's rules of a step where they are not pancake's, its learning rates, and L-BFGS through SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize

from pancake import memory
from pancake.function import Function
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer
from pancake.optimizers.rules import Adam
from pancake.sklearn.objectives import Objective, Penalised


class _Adam(Adam):
    """Adam with eps added before the bias is corrected, as at the end of section 2 of the paper.

    p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps), in which eps weighs more in the first steps.

    References
    ----------
    Kingma, Ba, "Adam: A Method for Stochastic Optimization" (2015), section 2.
    """

    def factors(self) -> tuple[float, ...]:
        beta1, beta2 = self._betas
        t, root = max(self.steps, 1), math.sqrt(1 - beta2)
        rate = self._lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        return beta1, beta2, self.eps / root, rate * (1 - beta1) / root


class _Momentum(Optimizer):
    """Gradient descent with a velocity in which the learning rate of each step stays: v <- momentum v - lr g;  p <- p + v.

    With `nesterov` p <- p + momentum v - lr g. At a constant lr it is `SGD`.

    References
    ----------
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning" (2013),
    equations 1 to 4.
    """

    slots = ("velocity",)

    def __init__(self, model: Function, lr: float, momentum: float, nesterov: bool) -> None:
        self.momentum, self.nesterov = float(momentum), bool(nesterov)
        super().__init__(model, lr)

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        v, lr = args
        np.multiply(g, lr, work)
        v *= self.momentum
        v -= work
        if self.nesterov:
            p += self.momentum * v
            p -= work
        else:
            p += v


def new_optimizer(estimator: Any) -> Optimizer:
    """The optimizer of an estimator's `solver`, for its net."""
    model, lr, solver = estimator.model_, estimator.learning_rate_init, estimator.solver
    if solver == "adam":
        return _Adam(model, lr, (estimator.beta_1, estimator.beta_2), estimator.epsilon)
    if solver == "sgd":
        return _Momentum(model, lr, estimator.momentum, estimator.nesterovs_momentum)
    optimizer = solver(model, lr=lr)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"expected solver={solver!r} to make a pancake optimizer of (model, lr=...), got {optimizer!r}")
    return optimizer


class Rate:
    """The learning rate after each epoch: scikit-learn's "constant", "invscaling" or "adaptive"."""

    def __init__(self, policy: str, initial: float, power: float) -> None:
        self.policy, self.initial, self.power = policy, float(initial), power

    def after_epoch(self, optimizer: Any, examples: int) -> None:
        """Set it for the next epoch, after so many examples in all."""
        if self.policy == "invscaling":
            optimizer.lr = self.initial / (examples + 1) ** self.power

    def ends(self, optimizer: Any) -> tuple[bool, str]:
        """Whether a training that no longer gets better is over, or goes on with a smaller rate; and what is said of it."""
        if self.policy != "adaptive":
            return True, "Stopping."
        if optimizer.lr <= 1e-6:
            return True, "Learning rate too small. Stopping."
        optimizer.lr /= 5
        return False, f"Setting learning rate to {optimizer.lr:f}"


def lbfgs(
    model: Function,
    objective: Objective,
    alpha: float,
    data: tuple[Any, Array, Array | None],
    after: Callable[[int, float], bool],
    options: dict[str, Any],
) -> Any:
    """Minimise over all examples at once by SciPy's L-BFGS-B, and leave the best parameters in the model.

    Parameters
    ----------
    after : callable
        Called with the number of the iteration and the objective after each; True ends it.
    options : dict
        Of `scipy.optimize.minimize`.

    Returns
    -------
    scipy.optimize.OptimizeResult
    """
    x, y, weight = data
    runs = memory.runs(*model.get_params_and_grads())
    penalty = Penalised(None, model, alpha, objective)

    def put(w: Array) -> None:
        start = 0
        for run in runs:
            run.values[...] = w[start : start + run.values.size].reshape(run.values.shape)
            start += run.values.size

    def compute(w: Array) -> tuple[float, Array]:
        put(w)
        for run in runs:
            run.grads.fill(0)
        value = objective(model(x), y, weight)
        model.accumulate_grads(objective.compute_backward())
        penalty.add()
        return value + penalty.value, np.concatenate([run.grads.ravel() for run in runs]).astype(np.float64)

    iterations = 0

    def callback(intermediate_result: Any) -> None:  # a name that SciPy looks for
        nonlocal iterations
        iterations += 1
        put(intermediate_result.x)
        if after(iterations, float(intermediate_result.fun)):
            raise StopIteration

    start = np.concatenate([run.values.ravel() for run in runs]).astype(np.float64)
    result = scipy.optimize.minimize(compute, start, method="L-BFGS-B", jac=True, callback=callback, options=options)
    put(result.x)
    return result
