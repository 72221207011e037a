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
from pancake.activations import ELU, GELU, SELU, HardTanh, LeakyReLU, Mish, PReLU, ReLU, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.branches import Add, Concatenate, Multiply, Residual
from pancake.containers import Identity, Sequential
from pancake.early_stopping import EarlyStopping
from pancake.elementwise import Abs, Clip, Exp, Log, Mean, Mul, Negate, Power, Square, Subtract, Sum
from pancake.embedding import Embedding
from pancake.fit import fit
from pancake.function import Function
from pancake.gradients import gradient_norms
from pancake.gru import GRUCell
from pancake.history import History
from pancake.learning_rates import find_learning_rate
from pancake.linear import Linear
from pancake.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    NegativeLogLikelihood,
)
from pancake.lstm import LSTMCell
from pancake.metrics import accuracy, confusion_matrix, evaluate, r2_score
from pancake.mlp import mlp
from pancake.normalization import BatchNorm, Dropout, LayerNorm
from pancake.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, clip_grad_norm, clip_grad_value
from pancake.products import AddBias, MatMul
from pancake.recurrent import Bidirectional, Unrolled
from pancake.rnn import RNNCell
from pancake.schedules import cosine, exponential_decay, one_cycle, step_decay, warmup
from pancake.shapes import Expand, Flatten, Reshape, Transpose
from pancake.softmax import LogSoftmax, Softmax
from pancake.training import predict

if TYPE_CHECKING:
    from pancake import datasets, initializers, plotting, testing
    from pancake.plotting import (
        animate_training,
        plot_activations,
        plot_decision_boundary,
        plot_gradients,
        plot_history,
        plot_learning_rates,
        plot_weights,
        show_pred,
    )
    from pancake.serialization import load, save

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "SGD",
    "Abs",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "AddBias",
    "BatchNorm",
    "Bidirectional",
    "BinaryCrossEntropy",
    "Clip",
    "Concatenate",
    "CrossEntropy",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "Exp",
    "Expand",
    "Flatten",
    "Function",
    "GRUCell",
    "HardTanh",
    "Hinge",
    "History",
    "Huber",
    "Identity",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Log",
    "LogSoftmax",
    "MatMul",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Mish",
    "Mul",
    "Multiply",
    "Negate",
    "NegativeLogLikelihood",
    "Optimizer",
    "PReLU",
    "Power",
    "RMSprop",
    "RNNCell",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Square",
    "Subtract",
    "Sum",
    "Tanh",
    "Transpose",
    "Unrolled",
    "__version__",
    "accuracy",
    "animate_training",
    "clip_grad_norm",
    "clip_grad_value",
    "confusion_matrix",
    "cosine",
    "datasets",
    "evaluate",
    "exponential_decay",
    "find_learning_rate",
    "fit",
    "gradient_norms",
    "initializers",
    "load",
    "mlp",
    "one_cycle",
    "plot_activations",
    "plot_decision_boundary",
    "plot_gradients",
    "plot_history",
    "plot_learning_rates",
    "plot_weights",
    "plotting",
    "predict",
    "r2_score",
    "save",
    "show_pred",
    "step_decay",
    "testing",
    "warmup",
]

# Loaded when they are first used, so that `import pancake` takes hardly longer than `import numpy`.
_LATER = {
    "load": "serialization",
    "save": "serialization",
    "datasets": None,
    "initializers": None,
    "plotting": None,
    "testing": None,
    "animate_training": "plotting",
    "plot_activations": "plotting",
    "plot_decision_boundary": "plotting",
    "plot_gradients": "plotting",
    "plot_history": "plotting",
    "plot_learning_rates": "plotting",
    "plot_weights": "plotting",
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
