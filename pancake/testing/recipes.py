"""The one table of layers: how each Function and each loss of the library is made, with what it takes, one line a class.

The strategies draw from it, and so do the test of the contract and the mutation score. A new class needs a line in it; until it
has one, the tests fail with the line to add.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import SearchStrategy

from pancake.function import Function
from pancake.functions.activations import ELU, GELU, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.functions.attention import MultiHeadAttention
from pancake.functions.branches import Add, Concatenate, Multiply, Residual
from pancake.functions.channel_normalization import BatchNorm2d, GroupNorm
from pancake.functions.containers import Identity, Sequential
from pancake.functions.convolution import Conv1d, Conv2d, ConvTranspose2d
from pancake.functions.dropout import Dropout
from pancake.functions.elementwise import Abs, Clip, Exp, Log, Mean, Mul, Negate, Power, Square, Subtract, Sum
from pancake.functions.embedding import Embedding
from pancake.functions.linear import AddBias, Linear, MatMul
from pancake.functions.normalization import BatchNorm, LayerNorm, RMSNorm
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, PReLU, ReLU
from pancake.functions.pooling import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
from pancake.functions.positions import PositionalEmbedding, SinusoidalPositions
from pancake.functions.shapes import Expand, Flatten, Reshape, Select, Transpose
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.functions.standardize import Standardize
from pancake.losses.classes import CrossEntropy, NegativeLogLikelihood
from pancake.losses.elementwise import BinaryCrossEntropy, Hinge, Huber, MeanAbsoluteError, MeanSquaredError, Quantile
from pancake.losses.likelihoods import GaussianNLL, KLDivergence, PoissonNLL
from pancake.losses.loss import Loss
from pancake.memory import Array
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import GRUCell, LSTMCell, RNNCell
from pancake.recurrent.unrolled import Unrolled
from pancake.testing.inputs import arrays, batches, labels, labels_of, rows_of, sequences, tenths
from pancake.testing.pieces import (
    ANY,
    FEATURES,
    LINES,
    PICTURES,
    POSITIVE,
    SEEDS,
    SHORT,
    WIDTHS,
    axes_of,
    axis_of,
    channels_of,
    divisors,
    even_tenths_beside,
    fits_a_pooling,
    fits_into,
    images,
    index_of,
    leaves_something,
    redraw_parameters,
    shapes_like,
    steps_of,
    windows,
)


@dataclass(frozen=True)
class Recipe:
    """How to draw a Function of one class.

    Attributes
    ----------
    function : callable
        For an input x the strategy of Functions that take it; `st.nothing()` if none does.
    x : strategy
        Inputs. A cell, which takes (x_t, state), has tuples here.
    """

    function: Callable[[Any], SearchStrategy[Function]]
    x: SearchStrategy[Any] = FEATURES


def _if(condition: bool, function: SearchStrategy[Function]) -> SearchStrategy[Function]:
    return function if condition else st.nothing()


def _cells(x: Array) -> SearchStrategy[Function]:
    """Cells for sequences x."""
    n_in, n_hidden = st.just(x.shape[-1]), st.integers(1, 2)
    return (
        st.builds(RNNCell, n_in, n_hidden, _rnn_activation, rng=SEEDS)
        | st.builds(LSTMCell, n_in, n_hidden, rng=SEEDS)
        | st.builds(GRUCell, n_in, n_hidden, rng=SEEDS)
    )


@st.composite
def _convolutions(draw: st.DrawFn, cls: Any, x: Array) -> Function:
    """Convolutions of images x, of one class."""
    kernel_size, *numbers = draw(windows(x, leaves_something if cls is ConvTranspose2d else fits_into))
    options = dict(zip(("stride", "padding", "dilation"), numbers, strict=True))
    groups = draw(divisors(x.shape[1]))
    n_out = groups * draw(st.sampled_from([2, 1, 3]))  # two at first: one filter hides what is transposed
    function: Function = cls(x.shape[1], n_out, kernel_size, **options, groups=groups, bias=draw(st.booleans()), rng=draw(SEEDS))
    return function


def _poolings(cls: Any, x: Array) -> SearchStrategy[Function]:
    """Poolings of images x, of one class."""
    return windows(x, fits_a_pooling).map(
        lambda numbers: cls(numbers[0], None if numbers[1] == numbers[0] else numbers[1], numbers[2])
    )


_rnn_activation = st.sampled_from(["tanh", "relu", "sigmoid"])
_slopes, _inits = st.sampled_from([0.01, 0.3, -0.5]), st.sampled_from(["he_normal", "glorot_uniform"])

# --- stacks ---

# Where the features stand that are divided by their spread over a batch. Where there is none, gradients cancel out but for
# rounding, which is divided by the root of eps: no numbers tell whether they are right.
FEATURES_ON: dict[type[Function], int] = {BatchNorm: -1, BatchNorm2d: 1}


def _constant(x: Array, axis: int) -> bool:
    """Whether some feature on that axis is the same everywhere, or nearly."""
    return bool(np.ptp(np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]), axis=0).min() < 1e-3)


@st.composite
def parts(draw: st.DrawFn, x: Array, depth: int, table: Mapping[type[Function], Recipe]) -> Function:
    """A Function that takes x: one from the table or, where some depth is left, now and then a container."""
    if depth and draw(st.integers(0, 3)) == 3:
        return draw(CONTAINERS[draw(st.sampled_from([*CONTAINERS]))](x, depth - 1))
    cls = draw(st.sampled_from([*table]))
    strategy = table[cls].function(x)
    fits = not strategy.is_empty and not (cls in FEATURES_ON and _constant(x, FEATURES_ON[cls]))
    function: Function = draw(strategy if fits else st.builds(Identity))
    redraw_parameters(function, draw(SEEDS))
    return function


@st.composite
def chains(draw: st.DrawFn, x: Array, depth: int, n_out: int | None = None) -> Function:
    """One or a few Functions one after another that take x, keep its leading axes, and end with `n_out` features."""
    chain, y = Sequential([]), x
    y = append(draw, chain, parts(y, depth, LAYERS), y)
    if draw(st.booleans()):
        y = append(draw, chain, parts(y, depth, LAYERS), y)
    if n_out is not None:
        end_with(draw, chain, y, n_out)
    return chain[0] if len(chain) == 1 else chain


@st.composite
def branches(draw: st.DrawFn, x: Array, depth: int) -> list[Function]:
    """Chains that take x and end with equally many features."""
    n_out = draw(WIDTHS)
    return draw(st.lists(chains(x, depth, n_out), min_size=1, max_size=3))


def append(draw: st.DrawFn, stack: Sequential, parts: SearchStrategy[Function], x: Array) -> Array:
    """Draw a part that takes x, append it, and return what it makes of x; drop it if that is too large to be checked well."""
    part = draw(parts)
    with np.errstate(all="ignore"):
        y: Array = copy.deepcopy(part).compute_forward(x)
    if y.size > 100 or not np.abs(y).max() < 20:
        return x
    stack.add(part)
    return y


def end_with(draw: st.DrawFn, stack: Sequential, y: Array, n_out: int) -> None:
    """Append a `Linear` if the features are not `n_out` already."""
    if y.shape[-1] != n_out:
        linear = draw(st.builds(Linear, st.just(y.shape[-1]), st.just(n_out), rng=SEEDS))
        redraw_parameters(linear, draw(SEEDS))
        stack.add(linear)


# --- Functions ---

# How to draw every Function of the library. Those that keep all axes but the last may stand anywhere in a stack, ...
LAYERS: dict[type[Function], Recipe] = {
    Linear: Recipe(lambda x: st.builds(Linear, st.just(x.shape[-1]), WIDTHS, bias=st.booleans(), init=_inits, rng=SEEDS)),
    MatMul: Recipe(lambda x: st.builds(MatMul, st.just(x.shape[-1]), WIDTHS, rng=SEEDS)),
    AddBias: Recipe(lambda x: st.builds(AddBias, st.just(x.shape[-1]))),
    Identity: Recipe(lambda x: st.builds(Identity), ANY),
    Sigmoid: Recipe(lambda x: st.builds(Sigmoid), ANY),
    Tanh: Recipe(lambda x: st.builds(Tanh), ANY),
    ReLU: Recipe(lambda x: st.builds(ReLU), ANY),
    HardTanh: Recipe(lambda x: st.builds(HardTanh), ANY),
    LeakyReLU: Recipe(lambda x: st.builds(LeakyReLU, _slopes), ANY),
    PReLU: Recipe(lambda x: st.builds(PReLU, st.sampled_from([1, x.shape[-1]]), _slopes)),
    ELU: Recipe(lambda x: st.builds(ELU, st.sampled_from([1.0, 0.3, 2.0])), ANY),
    SELU: Recipe(lambda x: st.builds(SELU), ANY),
    GELU: Recipe(lambda x: st.builds(GELU, st.sampled_from(["none", "tanh"])), ANY),
    SiLU: Recipe(lambda x: st.builds(SiLU), ANY),
    Mish: Recipe(lambda x: st.builds(Mish), ANY),
    Softplus: Recipe(lambda x: st.builds(Softplus, st.sampled_from([1.0, 0.5, 3.0])), ANY),
    Softsign: Recipe(lambda x: st.builds(Softsign), ANY),
    Softmax: Recipe(lambda x: st.builds(Softmax, axis_of(x))),
    LogSoftmax: Recipe(lambda x: st.builds(LogSoftmax, axis_of(x))),
    Square: Recipe(lambda x: st.builds(Square), ANY),
    Mul: Recipe(lambda x: st.builds(Mul, st.sampled_from([1.0, -0.7, 2.0])), ANY),
    Negate: Recipe(lambda x: st.builds(Negate), ANY),
    Subtract: Recipe(lambda x: st.builds(Subtract, even_tenths_beside(x)), ANY),
    Exp: Recipe(lambda x: st.builds(Exp), ANY),
    Abs: Recipe(lambda x: st.builds(Abs), ANY),
    Clip: Recipe(lambda x: st.builds(Clip, st.sampled_from([-1.0, None, 0.4]), st.sampled_from([1.0, None, 0.6])), ANY),
    Dropout: Recipe(lambda x: st.builds(Dropout, st.sampled_from([0.5, 0.2, 0.0, 1.0]), rng=SEEDS), ANY),
    BatchNorm: Recipe(
        lambda x: _if(x.size > x.shape[-1], st.builds(BatchNorm, st.just(x.shape[-1]), eps=st.sampled_from([1e-5, 0.1]))),
        batches(WIDTHS, batch=st.integers(2, 4)) | sequences(WIDTHS, time=st.integers(2, 4)),
    ),
    LayerNorm: Recipe(lambda x: st.builds(LayerNorm, st.just(x.shape[-1]), eps=st.sampled_from([1e-5, 0.1]))),
    # not eps=None, with which a single feature is a step, whose derivative no numbers can tell
    RMSNorm: Recipe(lambda x: st.builds(RMSNorm, st.just(x.shape[-1]), eps=st.sampled_from([1e-5, 0.1]))),
    BatchNorm2d: Recipe(
        lambda x: _if(x.ndim == 4 and x[:, 0].size > 1, st.builds(BatchNorm2d, channels_of(x), eps=st.sampled_from([1e-5, 0.1]))),
        images(st.integers(2, 3), st.integers(1, 3)),
    ),
    GroupNorm: Recipe(
        lambda x: channels_of(x).flatmap(lambda n: st.builds(GroupNorm, divisors(n), st.just(n))), PICTURES | LINES
    ),
    MultiHeadAttention: Recipe(
        lambda x: _if(
            x.ndim == 3,
            st.builds(
                MultiHeadAttention,
                st.just(x.shape[-1]),
                st.sampled_from([h for h in range(1, x.shape[-1] + 1) if x.shape[-1] % h == 0]),
                causal=st.booleans(),
                bias=st.booleans(),
                rng=SEEDS,
            ),
        ),
        sequences(st.integers(1, 4), batch=st.integers(1, 3)),
    ),
    PositionalEmbedding: Recipe(
        lambda x: _if(x.ndim > 1, st.builds(PositionalEmbedding, st.just(12), st.just(x.shape[-1]), rng=SEEDS)),
        sequences(WIDTHS) | batches(WIDTHS),
    ),
    SinusoidalPositions: Recipe(
        lambda x: _if(x.ndim > 1, st.builds(SinusoidalPositions, st.just(x.shape[-1]))), sequences(WIDTHS) | batches(WIDTHS)
    ),
    Standardize: Recipe(
        lambda x: st.builds(
            Standardize,
            st.just(x.shape[-1]),
            tenths((x.shape[-1],), -10, 10, lambda k: np.asarray(2 * k / 10)),
            tenths((x.shape[-1],), 3, 15, lambda k: np.asarray(k / 10)),
        )
    ),
}
# ... so may those that are made of such, nested to some depth, ...
CONTAINERS: dict[type[Function], Callable[[Array, int], SearchStrategy[Function]]] = {
    Residual: lambda x, depth: st.builds(Residual, chains(x, depth, n_out=x.shape[-1])),
    Add: lambda x, depth: st.builds(Add, branches(x, depth)),
    Multiply: lambda x, depth: st.builds(Multiply, branches(x, depth)),
    Concatenate: lambda x, depth: st.builds(Concatenate, st.lists(chains(x, depth), min_size=1, max_size=3)),
    Sequential: lambda x, depth: st.builds(Sequential, st.lists(chains(x, depth, n_out=x.shape[-1]), max_size=2)),
}
# ... others, which need or change other axes, only where nothing has to fit beside them, ...
OTHERS: dict[type[Function], Recipe] = {
    Sum: Recipe(lambda x: st.builds(Sum, axes_of(x)), ANY),
    Mean: Recipe(lambda x: st.builds(Mean, axes_of(x)), ANY),
    Flatten: Recipe(lambda x: st.builds(Flatten)),
    Reshape: Recipe(lambda x: st.builds(Reshape, shapes_like(x)), ANY),
    Transpose: Recipe(lambda x: st.builds(Transpose, st.permutations(range(x.ndim)).map(tuple)), ANY),
    Expand: Recipe(lambda x: st.builds(Expand, st.integers(-x.ndim - 1, x.ndim), WIDTHS), ANY),
    Conv1d: Recipe(lambda x: _if(x.ndim == 3, _convolutions(Conv1d, x)), LINES),
    Conv2d: Recipe(lambda x: _if(x.ndim == 4, _convolutions(Conv2d, x)), PICTURES),
    ConvTranspose2d: Recipe(lambda x: _if(x.ndim == 4, _convolutions(ConvTranspose2d, x)), PICTURES),
    MaxPool1d: Recipe(lambda x: _poolings(MaxPool1d, x) if x.ndim == 3 else st.nothing(), LINES),
    MaxPool2d: Recipe(lambda x: _poolings(MaxPool2d, x) if x.ndim == 4 else st.nothing(), PICTURES),
    AvgPool1d: Recipe(lambda x: _poolings(AvgPool1d, x) if x.ndim == 3 else st.nothing(), LINES),
    AvgPool2d: Recipe(lambda x: _poolings(AvgPool2d, x) if x.ndim == 4 else st.nothing(), PICTURES),
    GlobalAvgPool2d: Recipe(lambda x: _if(x.ndim == 4, st.builds(GlobalAvgPool2d)), PICTURES),
    Upsample: Recipe(
        lambda x: _if(x.ndim in (3, 4), st.builds(Upsample, st.integers(1, 3) | st.tuples(*[st.integers(1, 3)] * (x.ndim - 2)))),
        PICTURES | LINES,
    ),
    Select: Recipe(
        lambda x: st.integers(-x.ndim, x.ndim - 1).flatmap(lambda a: st.builds(Select, index_of(x.shape[a]), st.just(a)))
    ),
    Unrolled: Recipe(lambda x: _if(x.ndim == 3, st.builds(Unrolled, _cells(x), st.booleans(), st.booleans())), SHORT),
    Bidirectional: Recipe(lambda x: _if(x.ndim == 3, st.builds(Bidirectional, _cells(x), _cells(x), st.booleans())), SHORT),
}
# ... those of integers only at the beginning, ...
OF_INTEGERS: dict[type[Function], Recipe] = {
    Embedding: Recipe(
        lambda x: st.builds(
            Embedding, st.integers(int(x.max()) + 1, 6), WIDTHS, init=st.sampled_from(["normal", "zeros"]), rng=SEEDS
        ),
        labels(5) | labels(5, time=st.integers(1, 3)),
    ),
}
# These stand in no stack: they do not take every number, or combine branches along another axis, ...
ALONE: dict[type[Function], Recipe] = {
    Log: Recipe(lambda x: st.builds(Log), POSITIVE),
    Power: Recipe(
        lambda x: st.builds(Power, st.sampled_from([2, 3, 1, 0, -1, -2] if x.min() < 0 else [0.5, 1.5, -0.5, 2, -1])),
        ANY | POSITIVE,
    ),
    Concatenate: Recipe(
        lambda x: CONTAINERS[Concatenate](x, 1) | st.builds(Concatenate, branches(x, 1), st.integers(-x.ndim, x.ndim - 1))
    ),
}
# ... and cells, which take (x_t, state), only as parts of `Unrolled` and `Bidirectional`.
CELLS: dict[type[Function], Recipe] = {
    RNNCell: Recipe(
        lambda x: st.builds(RNNCell, st.just(x[0].shape[-1]), st.just(x[1].shape[-1]), _rnn_activation, rng=SEEDS), steps_of(1)
    ),
    LSTMCell: Recipe(
        lambda x: st.builds(LSTMCell, st.just(x[0].shape[-1]), st.just(x[1][0].shape[-1]), rng=SEEDS),
        steps_of(2),
    ),
    GRUCell: Recipe(lambda x: st.builds(GRUCell, st.just(x[0].shape[-1]), st.just(x[1].shape[-1]), rng=SEEDS), steps_of(1)),
}


# --- losses ---


@dataclass(frozen=True)
class LossRecipe:
    """How to draw a loss of one class.

    Attributes
    ----------
    loss : strategy of losses
    pred : callable
        For a loss the strategy of predictions.
    target : callable
        For a loss and a prediction the strategy of targets.
    """

    loss: SearchStrategy[Loss]
    pred: Callable[[Any], SearchStrategy[Array]]
    target: Callable[[Any, Array], SearchStrategy[Array]]


def _any(loss: Loss) -> SearchStrategy[Array]:
    return ANY


def _like(loss: Loss, pred: Array) -> SearchStrategy[Array]:
    """Even tenths, so that no target equals a prediction."""
    return tenths(pred.shape, -10, 10, lambda k: np.asarray(2 * k / 10))


def _classes(loss: Any) -> SearchStrategy[Array]:
    """Predictions for as many classes as there are class weights."""
    if loss.class_weight is None:
        return FEATURES
    classes = len(loss.class_weight)
    return batches(classes) | sequences(classes) | arrays((classes,))


def _labels_or_probabilities(loss: Loss, pred: Array) -> SearchStrategy[Array]:
    return labels_of(pred.shape[:-1], pred.shape[-1]) | rows_of(pred.shape)


_reduction = st.sampled_from(["mean", "sum", "none"])
_ignore_index = st.sampled_from([None, -100])
_class_weight = st.none() | batches(st.integers(1, 4), batch=1, low=0.1).map(lambda rows: rows[0])

LOSSES: dict[type[Loss], LossRecipe] = {
    MeanSquaredError: LossRecipe(st.builds(MeanSquaredError, reduction=_reduction), _any, _like),
    MeanAbsoluteError: LossRecipe(st.builds(MeanAbsoluteError, reduction=_reduction), _any, _like),
    Huber: LossRecipe(st.builds(Huber, st.sampled_from([1.0, 0.4, 2.0]), reduction=_reduction), _any, _like),
    Hinge: LossRecipe(
        st.builds(Hinge, reduction=_reduction),
        _any,
        lambda loss, pred: tenths(pred.shape, 0, 1, lambda k: np.asarray(2.0 * k - 1)),
    ),
    BinaryCrossEntropy: LossRecipe(
        st.builds(BinaryCrossEntropy, st.booleans(), st.sampled_from([None, 3.0]), reduction=_reduction),
        lambda loss: ANY if loss.from_logits else arrays(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), low=0, high=1),
        lambda loss, pred: tenths(pred.shape, 0, 5, lambda k: np.asarray(2 * k / 10)),
    ),
    CrossEntropy: LossRecipe(
        st.builds(CrossEntropy, st.sampled_from([0.0, 0.1, 1.0]), _class_weight, _ignore_index, reduction=_reduction),
        _classes,
        _labels_or_probabilities,
    ),
    NegativeLogLikelihood: LossRecipe(
        st.builds(NegativeLogLikelihood, _class_weight, reduction=_reduction), _classes, _labels_or_probabilities
    ),
    Quantile: LossRecipe(st.builds(Quantile, st.sampled_from([0.5, 0.1, 0.75]), reduction=_reduction), _any, _like),
    PoissonNLL: LossRecipe(
        st.builds(PoissonNLL, reduction=_reduction),
        _any,
        lambda loss, pred: tenths(pred.shape, 0, 3, lambda k: np.asarray(1.0 * k)),
    ),
    GaussianNLL: LossRecipe(
        st.builds(GaussianNLL, reduction=_reduction),
        lambda loss: (batches(WIDTHS, low=-2) | sequences(WIDTHS, low=-2)).map(
            lambda p: np.concatenate([p, p[..., ::-1] / 2], -1)
        ),
        lambda loss, pred: _like(loss, pred[..., : pred.shape[-1] // 2]),
    ),
    KLDivergence: LossRecipe(
        st.builds(KLDivergence, reduction=_reduction),
        lambda loss: batches(WIDTHS) | sequences(WIDTHS),
        lambda loss, pred: rows_of(pred.shape),
    ),
}
