"""The judge of lesson 5: the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.workshop.judging import (
    Numbers,
    apart,
    call,
    compare,
    contract,
    gradients,
    uniform,
)
from pancake.workshop.verdicts import Wrong


def cross_entropy(cls: Any) -> None:
    """The mean of -log p of the right classes; backward is its gradient."""
    rng = np.random.default_rng(0)
    trials = [(uniform(rng, b, c), rng.integers(0, c, b)) for b, c in ((4, 3), (1, 2), (5, 4))]

    def log_p(z: Numbers) -> Numbers:
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    def right(z: Numbers, t: Any) -> Numbers:
        return log_p(z)[np.arange(len(t)), t]

    wanted = [-right(z, t).mean() for z, t in trials]
    causes = {
        "this is the sum over the examples, and should be their mean": [-right(z, t).sum() for z, t in trials],
        "the minus is missing": [right(z, t).mean() for z, t in trials],
        "this is the mean over all entries: divide by the number of examples alone": [
            -right(z, t).sum() / z.size for z, t in trials
        ],
        "this is the mean probability of the right class: the logarithm is missing": [
            np.exp(right(z, t)).mean() for z, t in trials
        ],
        "this is minus the mean probability: the logarithm is missing": [-np.exp(right(z, t)).mean() for z, t in trials],
        "this is minus the logarithm of the mean: take the logarithm first": [
            -np.log(np.exp(right(z, t)).mean()) for z, t in trials
        ],
        "all classes are counted, not the right one alone": [-log_p(z).sum() / len(z) for z, t in trials],
        "all classes are counted, not the right one alone, as a mean": [-log_p(z).mean() for z, t in trials],
        "this is -score of the right class: the log of the sum of exp is missing": [
            -z[np.arange(len(t)), t].mean() for z, t in trials
        ],
        "the largest score is subtracted in one place and not in the other": [
            -(z - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)))[np.arange(len(t)), t].mean()
            for z, t in trials
        ],
        "the logarithm is to base 10": [-right(z, t).mean() / np.log(10) for z, t in trials],
        "the logarithm is to base 2": [-right(z, t).mean() / np.log(2) for z, t in trials],
        "exp is summed over the whole batch, and should be over the classes of each example (axis 1)": [
            -(z - np.log(np.exp(z).sum()))[np.arange(len(t)), t].mean() for z, t in trials
        ],
        "exp is summed over axis 0, the examples; the classes are axis 1": [
            -(z - np.log(np.exp(z).sum(axis=0, keepdims=True)))[np.arange(len(t)), t].mean() for z, t in trials
        ],
        "after the largest score is subtracted, exp is summed over axis 0, the examples; the classes are axis 1": [
            -_mixed_up(z)[np.arange(len(t)), t].mean() for z, t in trials
        ],
    }
    found = []
    for z, t in trials:
        given = z.copy()
        value = np.asarray(call("the loss", _compute(_loss(cls)), given, t.copy()), float)
        if value.size != 1:
            raise Wrong(f"the loss is one number, the mean over the examples; got an array of shape {value.shape}")
        if not np.array_equal(given, z):
            raise Wrong("the loss writes into pred, which the model may still need; compute on a copy")
        found.append(value)
    compare("the loss", found, wanted, causes)
    big = np.array([[1000.0, 0.0, -1000.0], [-1000.0, 1000.0, 0.0]])
    first = float(np.asarray(_compute(_loss(cls))(big, np.array([0, 1]))).reshape(()))
    if not np.isfinite(first):
        raise Wrong(f"the loss of scores of 1000 is {first}: exp overflows; subtract the largest score of each example first")
    if abs(first) > 1e-6:
        raise Wrong(f"the loss of scores of 1000 at the right classes is {first:.6g}, and should be 0")
    last = float(np.asarray(_compute(_loss(cls))(big, np.array([2, 0]))).reshape(()))
    if not abs(last - 2000) < 1e-3:
        raise Wrong(
            f"the loss of scores of -1000 at the right classes is {last:.6g}, and should be 2000: take log p without exp and log"
        )
    for z, t in trials:
        _gradient_of_loss(cls, z, t)
        gradients(_AsLoss(_loss(cls)), z, target=t)
    contract(_AsLoss(_loss(cls)), *trials[0][:1], target=trials[0][1])
    z, t = trials[0]
    apart(lambda: _AsLoss(_loss(cls)), [(z, t), (z[::-1] * 0.7, t)], backward=[(), ()])


def _mixed_up(z: Numbers) -> Numbers:
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=0, keepdims=True))


def _loss(cls: Any) -> Any:
    if not isinstance(cls, type):
        raise Wrong(f"expected a class, got {type(cls).__name__}")
    made = cls()
    if not callable(getattr(made, "compute_backward", None)):
        raise Wrong("CrossEntropy has no method compute_backward")
    return made


def _compute(loss: Any) -> Callable[..., Any]:
    compute: Any = getattr(loss, "compute_forward", None) or (loss if callable(loss) else None)
    if compute is None:
        raise Wrong("CrossEntropy has no method compute_forward")
    return compute


def _gradient_of_loss(cls: Any, z: Numbers, t: Any) -> None:
    made = _loss(cls)
    _compute(made)(z.copy(), t.copy())
    d = call("compute_backward", made.compute_backward)
    p = np.exp(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))
    hot, rows = np.eye(z.shape[1])[t], np.arange(len(z))
    causes = {
        "it is the gradient of the sum: divide by the number of examples": [p - hot],
        "it is divided by the number of entries: divide by the number of examples": [(p - hot) / z.size],
        "1 is not subtracted at the right class: these are the probabilities": [p / len(z)],
        "these are the probabilities": [p],
        "the sign is flipped": [(hot - p) / len(z)],
        "1 is added at the right class, and should be subtracted": [(p + hot) / len(z)],
        "the probabilities are missing: this is -1 at the right class": [-hot / len(z)],
        "it is divided by the number of classes: divide by the number of examples": [(p - hot) / z.shape[1]],
        "this is the gradient by the probabilities; go on through the softmax": [-hot / p / len(z)],
        "1 is subtracted in every class, and should be at the right one alone": [(p - 1) / len(z)],
        "only the right class gets a gradient": [(p - hot) * hot / len(z)],
        "1 is subtracted after the division": [p / len(z) - hot],
        "d[target] picks whole rows: d[rows, target] picks the right class of each": [(p - np.isin(rows, t)[:, None]) / len(z)],
        "d[:, target] picks whole columns: d[rows, target] picks the right class of each": [
            (p - np.isin(np.arange(z.shape[1]), t)) / len(z)
        ],
    }
    if len(z) > 1:
        compare("compute_backward: dObj_dPred", [d], [(p - hot) / len(z)], causes)


class _AsLoss:
    """A loss under the names that the checker calls."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def compute_forward(self, pred: Any, target: Any) -> Any:
        return np.asarray(_compute(self.loss)(pred, target), float)

    def compute_backward(self) -> Any:
        return self.loss.compute_backward()


_AsLoss.__name__ = "CrossEntropy"
