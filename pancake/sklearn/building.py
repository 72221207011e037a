"""The stack of an estimator: scikit-learn's layers and initial weights, or whatever the user's `model` returns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

import numpy as np

from pancake.arguments import brief
from pancake.function import Function
from pancake.functions.activations import Sigmoid, Tanh, sigmoid
from pancake.functions.containers import Sequential
from pancake.functions.dropout import Dropout
from pancake.functions.linear import Linear
from pancake.functions.piecewise_linear import ReLU
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.losses.classes import NegativeLogLikelihood
from pancake.losses.elementwise import BinaryCrossEntropy
from pancake.losses.likelihoods import KLDivergence
from pancake.memory import Array
from pancake.training.predict import predict

ACTIVATIONS: dict[str, Callable[[], Function] | None] = {"identity": None, "logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}

BLOCK = 1 << 22  # numbers of a sparse matrix that are made dense in one go, for predictions


def hidden_sizes(value: Any) -> list[int]:
    """`hidden_layer_sizes` as a list, refused if they are no whole numbers, or a layer has no unit."""
    sizes = [*value] if isinstance(value, Iterable) else [value]
    if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be whole numbers, got {sizes}.")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def usual_stack(
    sizes: list[int],
    activation: str | Callable[[], Function],
    dropout: float,
    loss: Any,
    random_state: Any,
    dtype: np.dtype[Any],
) -> Sequential:
    """Linear layers with an activation, and a `Dropout` if wanted, after each that is hidden; at the end what the loss needs.

    Weights and biases are drawn as scikit-learn draws them, uniform within the bound of Glorot and Bengio, in the same order
    from the same generator: from one seed both start with the same net.
    """
    make = ACTIVATIONS[activation] if isinstance(activation, str) else maker("activation", activation)
    stack: list[Function] = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        linear = Linear(n_in, n_out, init="glorot_uniform", rng=0, dtype=dtype)
        bound = np.sqrt((2 if activation == "logistic" else 6) / (n_in + n_out))
        linear.weight = random_state.uniform(-bound, bound, (n_in, n_out)).T
        linear.bias = random_state.uniform(-bound, bound, n_out)
        stack.append(linear)
        if i < len(sizes) - 2:
            stack += [] if make is None else [_activation(make)]
            # only then, so that a net without dropout draws what scikit-learn's does
            stack += [Dropout(dropout, rng=generator(random_state))] if dropout else []
    return Sequential([*stack, *_end(loss)])


def _end(loss: Any) -> list[Function]:
    """What stands between the last `Linear` and a loss that takes probabilities or their logarithms."""
    if isinstance(loss, (NegativeLogLikelihood, KLDivergence)):
        return [LogSoftmax()]
    return [Sigmoid()] if isinstance(loss, BinaryCrossEntropy) and not loss.from_logits else []


def own_stack(make: Callable[..., Any], n_in: int, n_out: int, random_state: Any, dtype: np.dtype[Any] | None) -> Function:
    """What the user's `model` returns, tried out on two rows."""
    model = checked_function(maker("model", make)(n_in, n_out, generator(random_state)), "model(n_in, n_out, rng)")
    if dtype is not None:
        model.astype(dtype)
    shape = np.shape(predict(model, np.zeros((2, n_in), dtype or np.float64)))
    if shape != (2, n_out):
        raise ValueError(
            f"expected model(n_in={n_in}, n_out={n_out}, rng) to return a stack that makes ({n_in},) features into ({n_out},) "
            f"outputs, got outputs of shape {shape[1:]}"
        )
    return model


def maker(name: str, make: Any) -> Any:
    """What makes a Function, refused if it is one: each fit makes its own."""
    if isinstance(make, Function):
        made = "lambda n_in, n_out, rng: ..." if name == "model" else type(make).__name__
        raise TypeError(
            f"expected {name} to be a class or a function that makes a Function, got the Function {brief(make)}; each fit makes "
            f"its own: write {name}={made}"
        )
    return make


def _activation(make: Any) -> Function:
    """A Function made anew; refused is what makes none, such as the function of numbers itself."""
    try:
        made = make()
    except TypeError as error:
        of_numbers = error.__traceback__ is not None and error.__traceback__.tb_next is None  # else it was called, and failed
        if not of_numbers or (isinstance(make, type) and issubclass(make, Function)):
            raise
        name, way_out = getattr(make, "__name__", ""), 'activation="tanh" or pk.Tanh, or a Function of your own'
        for known, cls in ACTIVATIONS.items():
            if isinstance(cls, type) and name in (known, cls.__name__.lower()):
                way_out = f'activation="{known}" or pk.{cls.__name__}'
        raise TypeError(
            f"expected activation to be one of scikit-learn's names, or what makes a Function when it is called without "
            f"arguments, got {brief(make)}, which takes arguments; write {way_out}"
        ) from error
    return checked_function(made, f"activation={make!r}")


def checked_function(function: Any, what: str) -> Function:
    if not isinstance(function, Function):
        raise TypeError(f"expected {what} to give a pancake.Function, got {function!r}"[:300])
    return function


def generator(random_state: Any) -> np.random.Generator:
    """A generator of pancake's kind, seeded by one of scikit-learn's."""
    return np.random.default_rng(random_state.randint(np.iinfo(np.int32).max))


# --- what comes out ---


def outputs(model: Function, X: Any) -> Array:
    """What the stack puts out for the rows of X, which may be sparse: that is made dense block by block."""
    if not hasattr(X, "toarray"):
        result: Array = predict(model, X)
        return result
    X = X.tocsr()
    rows = max(1, BLOCK // X.shape[1])
    return np.concatenate([predict(model, X[start : start + rows].toarray()) for start in range(0, X.shape[0], rows)])


def activated(kind: str, z: Array) -> Array:
    """What scikit-learn's net would put out: the output activation of what the stack does."""
    if kind == "softmax":
        return Softmax().compute_forward(z)
    if kind == "logistic":
        return sigmoid(z)
    if kind == "exp":
        with np.errstate(over="ignore"):
            return np.exp(z)
    if kind == "means":  # the first half; the second are log variances
        return z[:, : z.shape[1] // 2]
    return z
