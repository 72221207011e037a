"""pancake: neural networks on NumPy, without a graph.

A model is a stack of Functions. Each computes forward, remembers what its derivative needs, and applies the chain rule
backward::

    import pancake as pk

    X, y = pk.datasets.moons(200, rng=0)
    model = pk.mlp([2, 16, 16, 2], activation=pk.Tanh, rng=0)
    loss, optimizer = pk.CrossEntropy(), pk.Adam(model, lr=0.01)
    for step in range(300):
        optimizer.zero_grad()
        objective = loss(model(X), y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
"""

import importlib
from typing import TYPE_CHECKING, Any

from pancake._version import __version__
from pancake.activations import ReLU, Sigmoid, Tanh
from pancake.containers import Identity, Sequential
from pancake.elementwise import Mul, Square
from pancake.function import Function
from pancake.linear import Linear
from pancake.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from pancake.mlp import mlp
from pancake.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, clip_grad_norm, clip_grad_value
from pancake.training import accuracy, predict

if TYPE_CHECKING:
    from pancake import datasets, initializers, plotting, testing
    from pancake.plotting import plot_decision_boundary, plot_history, show_pred

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Function",
    "Identity",
    "Linear",
    "MeanSquaredError",
    "Mul",
    "Optimizer",
    "RMSprop",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Square",
    "Tanh",
    "__version__",
    "accuracy",
    "clip_grad_norm",
    "clip_grad_value",
    "datasets",
    "initializers",
    "mlp",
    "plot_decision_boundary",
    "plot_history",
    "plotting",
    "predict",
    "show_pred",
    "testing",
]

# Loaded when they are first used, so that `import pancake` takes hardly longer than `import numpy`.
_LATER = {
    "datasets": None,
    "initializers": None,
    "plotting": None,
    "testing": None,
    "plot_decision_boundary": "plotting",
    "plot_history": "plotting",
    "show_pred": "plotting",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'pancake' has no attribute {name!r}")
    module = _LATER[name]
    if module is None:
        return importlib.import_module(f"pancake.{name}")
    return getattr(importlib.import_module(f"pancake.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
