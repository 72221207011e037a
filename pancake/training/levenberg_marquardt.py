"""Levenberg-Marquardt: steps that take each residual for a straight line, and squared errors for the bowl that follows.

With residuals r (N,) and their derivatives J (N, P) by the P parameters, the loss is |r|^2, and of r + J step the least squares
are where J^T J step = -J^T r. Far from the minimum the lines are not to be believed so far away: mu holds the step short,

    (J^T J + mu I) step = -J^T r,

from a short step downhill, for large mu, to the whole way, for small. A step that leads down is made, and mu becomes a tenth; one
that does not is taken back, and mu becomes ten times as much.

References
----------
Hagan, Menhaj, "Training Feedforward Networks with the Marquardt Algorithm", IEEE Transactions on Neural Networks 5 (1994).
Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters" (1963).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pancake.arguments import aligned, each_part
from pancake.memory import Array
from pancake.training.full_batch import FullBatch, Vector

FIRST, LARGEST, LOWER, HIGHER = 1e-3, 1e10, 0.1, 10.0  # of mu, and what becomes of it
BLOCK = 1 << 20  # numbers of the Jacobian that are there at once
MOST = 1 << 29  # numbers of J^T J


def levenberg_marquardt(task: FullBatch, max_iter: int, tol: float, note: Callable[[float], None]) -> None:
    """Minimise squared errors; `note` is called with the loss after each iteration."""
    if task.size**2 > MOST:
        raise ValueError(
            f"minimize: Levenberg-Marquardt needs {task.size:,} x {task.size:,} numbers, one for each pair of parameters; "
            'take method="L-BFGS" for a model of that size'
        )
    vector, mu = task.parameters(), FIRST
    value = task.value_at(vector)
    for _ in range(max_iter):
        curvature, slope = normal_equations(task)
        if np.abs(2 * slope).max() <= tol:  # the gradient of |r|^2
            return
        while True:
            step = _step(curvature, slope, mu)
            lower = np.inf if step is None else task.value_at(vector + step)
            if lower < value:
                break
            mu *= HIGHER
            if mu > LARGEST:  # not even a very short step downhill leads down: rounding is all that is left
                task.put(vector)
                return
        vector, value, mu = task.parameters(), lower, max(mu * LOWER, 1e-20)
        note(value)


def _step(curvature: Array, slope: Vector, mu: float) -> Any:
    """The solution of (curvature + mu I) step = -slope, if there is one."""
    damped = curvature.copy()
    damped.reshape(-1)[:: len(damped) + 1] += mu
    try:
        step: Any = np.linalg.solve(damped, -slope)
    except np.linalg.LinAlgError:
        return None
    return step if np.isfinite(step).all() else None


def normal_equations(task: FullBatch) -> tuple[Array, Vector]:
    """J^T J and J^T r at the parameters that the model has."""
    curvature: Array = np.zeros((task.size, task.size))
    slope: Any = np.zeros(task.size)
    rows = max(1, BLOCK // task.size)
    J, r, n = np.empty((rows, task.size)), np.empty(rows), 0
    for residual, derivative in _residuals(task):
        r[n], J[n] = residual, derivative
        n += 1
        if n == rows:
            curvature += J.T @ J
            slope += J.T @ r
            n = 0
    curvature += J[:n].T @ J[:n]
    slope += J[:n].T @ r[:n]
    _, whole = task.value_and_gradient(task.parameters())
    eps = max(float(np.finfo(p.dtype).eps) for p in task.params)
    largest = np.abs(np.asarray(task.y, np.float64)[np.isfinite(task.y)]).max(initial=1.0)
    rounding = np.sqrt(curvature.trace()) * (np.sqrt(task.best[0]) + largest) * eps
    if np.abs(whole - 2 * slope).max() > 1e3 * rounding + 1e-3 * np.abs(whole).max():  # examples that know of each other
        raise ValueError(
            f"minimize: Levenberg-Marquardt needs a model that treats each example by itself, and {task.model!r} gives other "
            'numbers for one than for all; put a BatchNorm into eval(), or take method="L-BFGS"'
        )
    return curvature, slope


def _residuals(task: FullBatch) -> Iterator[tuple[float, Vector]]:
    """For each entry of each prediction sqrt(w / n) (p - t), and its derivatives: what backward makes of that entry alone."""
    model, y = task.model, np.asarray(task.y, np.float64)
    shares = np.full(y.shape, 1.0 / (y.size if task.loss.reduction == "mean" else 1))
    if task.weight is not None:
        shares *= aligned(task.weight, y.ndim)
    roots = np.sqrt(shares)
    for i in range(len(y)):
        if not roots[i].any():
            continue
        x = each_part(lambda part, i=i: part[i : i + 1], task.x)  # type: ignore[misc]
        for place in np.ndindex(y[i].shape):
            if not (root := roots[i][place]):
                continue
            task.clear()
            pred: Any = model(x)  # once more for each entry: a backward belongs to the latest forward
            d = np.zeros_like(pred)
            d[0][place] = root
            model.accumulate_grads(d)
            yield root * (pred[0][place] - y[i][place]), task.gradient()
