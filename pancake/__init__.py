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

import numpy  # noqa: F401  # here, where few calls are open: from deep within them Python 3.11 loads it a sixth more slowly

from pancake import fast  # first: it stands before the classes below, and none of them knows of it
from pancake._version import __version__
from pancake.function import Function
from pancake.functions.activations import ELU, GELU, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.functions.containers import Identity, Sequential
from pancake.functions.embedding import Embedding
from pancake.functions.linear import AddBias, Linear, MatMul
from pancake.functions.mlp import mlp
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, PReLU, ReLU
from pancake.losses.elementwise import BinaryCrossEntropy, Hinge, Huber, MeanAbsoluteError, MeanSquaredError, Quantile
from pancake.losses.loss import Loss
from pancake.optimizers.optimizer import Optimizer
from pancake.optimizers.rules import SGD, Adagrad, Adam, AdamW, RMSprop

if TYPE_CHECKING:
    from pancake import datasets, initializers, plotting, testing
    from pancake import export as export
    from pancake import torch as torch
    from pancake.explaining import explain
    from pancake.files.serialization import load, load_meta, save
    from pancake.functions.attention import MultiHeadAttention
    from pancake.functions.branches import Add, Concatenate, Multiply, Residual
    from pancake.functions.channel_normalization import BatchNorm2d, GroupNorm
    from pancake.functions.convolution import Conv1d, Conv2d, ConvTranspose2d
    from pancake.functions.dropout import Dropout
    from pancake.functions.elementwise import Abs, Clip, Exp, Log, Mean, Mul, Negate, Power, Square, Subtract, Sum
    from pancake.functions.normalization import BatchNorm, LayerNorm, RMSNorm
    from pancake.functions.pooling import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
    from pancake.functions.positions import PositionalEmbedding, SinusoidalPositions
    from pancake.functions.shapes import Expand, Flatten, Reshape, Select, Transpose
    from pancake.functions.softmax import LogSoftmax, Softmax
    from pancake.functions.standardize import Standardize
    from pancake.losses.classes import CrossEntropy, NegativeLogLikelihood
    from pancake.losses.likelihoods import GaussianNLL, KLDivergence, PoissonNLL
    from pancake.optimizers.clipping import clip_grad_norm, clip_grad_value
    from pancake.optimizers.schedules import cosine, exponential_decay, one_cycle, step_decay, warmup
    from pancake.plotting import (
        animate_training,
        plot_activations,
        plot_confusion_matrix,
        plot_decision_boundary,
        plot_gradients,
        plot_hidden_plane,
        plot_history,
        plot_learning_rates,
        plot_regression,
        plot_weights,
        show_pred,
    )
    from pancake.recurrent.bidirectional import Bidirectional
    from pancake.recurrent.cells import GRUCell, LSTMCell, RNNCell
    from pancake.recurrent.rnn import rnn
    from pancake.recurrent.unrolled import Unrolled
    from pancake.training.early_stopping import EarlyStopping
    from pancake.training.errors import NonFiniteError
    from pancake.training.evaluate import evaluate
    from pancake.training.fit import fit
    from pancake.training.gradient_norms import gradient_norms
    from pancake.training.history import History
    from pancake.training.lr_finder import find_learning_rate
    from pancake.training.metrics import accuracy, confusion_matrix, f1_score, mean_absolute_error, r2_score, top_k_accuracy
    from pancake.training.minimize import minimize
    from pancake.training.predict import predict
    from pancake.training.train_step import TrainStep

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
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "BatchNorm2d",
    "Bidirectional",
    "BinaryCrossEntropy",
    "Clip",
    "Concatenate",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropy",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "Exp",
    "Expand",
    "Flatten",
    "Function",
    "GRUCell",
    "GaussianNLL",
    "GlobalAvgPool2d",
    "GroupNorm",
    "HardTanh",
    "Hinge",
    "History",
    "Huber",
    "Identity",
    "KLDivergence",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Log",
    "LogSoftmax",
    "Loss",
    "MatMul",
    "MaxPool1d",
    "MaxPool2d",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Mish",
    "Mul",
    "MultiHeadAttention",
    "Multiply",
    "Negate",
    "NegativeLogLikelihood",
    "NonFiniteError",
    "Optimizer",
    "PReLU",
    "PoissonNLL",
    "PositionalEmbedding",
    "Power",
    "Quantile",
    "RMSNorm",
    "RMSprop",
    "RNNCell",
    "ReLU",
    "Reshape",
    "Residual",
    "Select",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Softsign",
    "Square",
    "Standardize",
    "Subtract",
    "Sum",
    "Tanh",
    "TrainStep",
    "Transpose",
    "Unrolled",
    "Upsample",
    "__version__",
    "accuracy",
    "animate_training",
    "clip_grad_norm",
    "clip_grad_value",
    "confusion_matrix",
    "cosine",
    "datasets",
    "evaluate",
    "explain",
    "exponential_decay",
    "f1_score",
    "fast",
    "find_learning_rate",
    "fit",
    "gradient_norms",
    "initializers",
    "load",
    "load_meta",
    "mean_absolute_error",
    "minimize",
    "mlp",
    "one_cycle",
    "plot_activations",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_gradients",
    "plot_hidden_plane",
    "plot_history",
    "plot_learning_rates",
    "plot_regression",
    "plot_weights",
    "plotting",
    "predict",
    "r2_score",
    "rnn",
    "save",
    "show_pred",
    "step_decay",
    "testing",
    "top_k_accuracy",
    "warmup",
]

# Where names stand that are loaded when they are first used, so that `import pancake` takes hardly longer than `import numpy`.
_LATER = {
    "explaining": "explain",
    "files.serialization": "load load_meta save",
    "functions.attention": "MultiHeadAttention",
    "functions.branches": "Add Concatenate Multiply Residual",
    "functions.channel_normalization": "BatchNorm2d GroupNorm",
    "functions.convolution": "Conv1d Conv2d ConvTranspose2d",
    "functions.dropout": "Dropout",
    "functions.elementwise": "Abs Clip Exp Log Mean Mul Negate Power Square Subtract Sum",
    "functions.normalization": "BatchNorm LayerNorm RMSNorm",
    "functions.pooling": "AvgPool1d AvgPool2d GlobalAvgPool2d MaxPool1d MaxPool2d Upsample",
    "functions.positions": "PositionalEmbedding SinusoidalPositions",
    "functions.shapes": "Expand Flatten Reshape Select Transpose",
    "functions.softmax": "LogSoftmax Softmax",
    "functions.standardize": "Standardize",
    "losses.classes": "CrossEntropy NegativeLogLikelihood",
    "losses.likelihoods": "GaussianNLL KLDivergence PoissonNLL",
    "optimizers.clipping": "clip_grad_norm clip_grad_value",
    "optimizers.schedules": "cosine exponential_decay one_cycle step_decay warmup",
    "plotting": "animate_training plot_activations plot_confusion_matrix plot_decision_boundary plot_gradients "
    "plot_hidden_plane plot_history plot_learning_rates plot_regression plot_weights show_pred",
    "recurrent.bidirectional": "Bidirectional",
    "recurrent.cells": "GRUCell LSTMCell RNNCell",
    "recurrent.rnn": "rnn",
    "recurrent.unrolled": "Unrolled",
    "training.early_stopping": "EarlyStopping",
    "training.errors": "NonFiniteError",
    "training.evaluate": "evaluate",
    "training.fit": "fit",
    "training.gradient_norms": "gradient_norms",
    "training.history": "History",
    "training.lr_finder": "find_learning_rate",
    "training.metrics": "accuracy confusion_matrix f1_score mean_absolute_error r2_score top_k_accuracy",
    "training.minimize": "minimize",
    "training.predict": "predict",
    "training.train_step": "TrainStep",
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names.split()}
# Of these, `mpi` is not in __all__, since loading it means that an exception ends all processes, nor is `torch`:
# `from pancake import *` must not hide torch itself.
_MODULES = {"datasets", "export", "initializers", "mpi", "plotting", "sklearn", "testing", "torch", "training"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"pancake.{name}")
    if name in _MODULE_OF:
        globals()[name] = value = getattr(importlib.import_module(f"pancake.{_MODULE_OF[name]}"), name)
        return value
    from pancake.foreign_names import advice  # which hardly any program needs

    raise AttributeError(f"module 'pancake' has no attribute {name!r}{advice(name)}")


def __dir__() -> list[str]:
    return sorted(__all__)
