"""Functions as modules of torch, by their exact type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.arguments import brief
from pancake.function import Function, need_function
from pancake.functions.activations import ELU, GELU, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.functions.attention import MultiHeadAttention
from pancake.functions.branches import Add, Concatenate, Multiply, Residual
from pancake.functions.channel_normalization import BatchNorm2d, GroupNorm
from pancake.functions.containers import Identity, Sequential
from pancake.functions.convolution import Conv1d, Conv2d, ConvTranspose2d
from pancake.functions.dropout import Dropout
from pancake.functions.elementwise import Mean, Sum
from pancake.functions.embedding import Embedding
from pancake.functions.linear import Linear, MatMul
from pancake.functions.normalization import BatchNorm, LayerNorm, RMSNorm
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, PReLU, ReLU
from pancake.functions.pooling import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
from pancake.functions.shapes import Expand, Flatten, Reshape, Transpose
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.functions.standardize import Standardize
from pancake.memory import Array
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import GRUCell, LSTMCell, RNNCell
from pancake.recurrent.unrolled import Unrolled

# For each class how it is converted: a function of the Function and of the converter, which converts the Functions inside.
TABLE: dict[type[Function], Callable[[Any, Converter], Any]] = {}


def to_torch(model: Function) -> Any:
    """The module of torch that computes what a Function computes, with a copy of its parameters and buffers.

    What torch has becomes torch's own; for branches, recurrent parts, `Standardize` and the like, which `torch.nn` has no module
    for, there are small modules in `pancake.torch.modules`. Dtypes, modes, and what is frozen are kept; the parameters of a
    `shared_copy` are shared there too. `from_torch` is the way back.

    Parameters
    ----------
    model : Function

    Returns
    -------
    torch.nn.Module
        It takes what the model takes, as a tensor: (B, ...), or (B, T, I) where it is recurrent.

    Raises
    ------
    TypeError
        If there is a Function in it that has no counterpart there; the message names it.
    ValueError
        If a recurrent part is of a kind, or its parameters of a dtype, that torch has not.
    """
    need_function("to_torch", model)
    return Converter()(model)


class Converter:
    """Makes the modules of one model; parameters that are one array here are one tensor there."""

    def __init__(self) -> None:
        import torch

        from pancake.torch import modules

        self.torch, self.nn, self.modules = torch, torch.nn, modules
        self._made: dict[int, Any] = {}

    def __call__(self, function: Function) -> Any:
        """The module of a Function."""
        if type(function) not in TABLE or "compute_forward" in vars(function):
            known = ", ".join(sorted(cls.__name__ for cls in TABLE))
            raise TypeError(
                f"to_torch: {brief(function)} has no counterpart in torch; what has one are {known}. A module of your own can "
                "stand in its place, and the rest be converted part by part"
            )
        module = TABLE[type(function)](function, self)
        if function._parts() and not isinstance(function, (Unrolled, Bidirectional, MultiHeadAttention)):
            module.training = function.training
        else:
            module.train(function.training)
        return module

    def filled(self, module: Any, function: Function, suffix: str = "") -> Any:
        """The module with the parameters and buffers of the Function, whose names there may have a suffix."""
        for name, value, _ in function._own_parameters():
            if id(value) not in self._made:
                self._made[id(value)] = self.nn.Parameter(self._tensor(function, value), requires_grad=not function.frozen)
            setattr(module, name + suffix, self._made[id(value)])
        for name in function.buffers:
            setattr(module, name, self._tensor(function, getattr(function, name)))
        return module

    def _tensor(self, function: Function, array: Array) -> Any:
        if array.dtype == np.longdouble:
            raise ValueError(
                f"to_torch: {brief(function)} has the dtype {array.dtype}, which torch has not; astype(np.float64) first"
            )
        return self.torch.from_numpy(np.array(array, order="C"))


def _of(*classes: type[Function]) -> Callable[[Callable[[Any, Converter], Any]], Callable[[Any, Converter], Any]]:
    """Put a converter into the table."""

    def put(convert: Callable[[Any, Converter], Any]) -> Callable[[Any, Converter], Any]:
        TABLE.update(dict.fromkeys(classes, convert))
        return convert

    return put


# --- without parameters ---


@_of(Identity, Sigmoid, Tanh, ReLU, SELU, SiLU, Mish, Softsign, Flatten)
def _same_name(f: Function, to: Converter) -> Any:
    return getattr(to.nn, type(f).__name__)()


TABLE[HardTanh] = lambda f, to: to.nn.Hardtanh()
TABLE[LeakyReLU] = lambda f, to: to.nn.LeakyReLU(f.negative_slope)
TABLE[ELU] = lambda f, to: to.nn.ELU(f.alpha)
TABLE[GELU] = lambda f, to: to.nn.GELU(f.approximate)
TABLE[Softplus] = lambda f, to: to.nn.Softplus(f.beta)
TABLE[Softmax] = lambda f, to: to.nn.Softmax(f.axis)
TABLE[LogSoftmax] = lambda f, to: to.nn.LogSoftmax(f.axis)
TABLE[Dropout] = lambda f, to: to.nn.Dropout(f.p)
TABLE[Transpose] = lambda f, to: to.modules.Transpose(f.axes)
TABLE[Reshape] = lambda f, to: to.modules.Reshape(f.shape)
TABLE[Expand] = lambda f, to: to.modules.Expand(f.axis, f.copies)
TABLE[Mean] = lambda f, to: to.modules.Mean(f.axis)
TABLE[Sum] = lambda f, to: to.modules.Sum(f.axis)

# --- with parameters ---


def _of_axes(f: PReLU | BatchNorm, on_the_second: Any, on_the_last: Any) -> Any:
    """The class of module with the features on that axis; torch's own one of what came from there and takes (B, C) alone here."""
    return on_the_second if f.max_ndim == 2 else on_the_last


TABLE[Linear] = lambda f, to: to.filled(to.nn.Linear(f.n_in, f.n_out, bias=f.bias is not None), f)
TABLE[MatMul] = lambda f, to: to.filled(to.nn.Linear(f.n_in, f.n_out, bias=False), f)
TABLE[PReLU] = lambda f, to: to.filled(_of_axes(f, to.nn.PReLU, to.modules.PReLU)(f.weight.size), f)
TABLE[Embedding] = lambda f, to: to.filled(to.nn.Embedding(f.num_embeddings, f.dim), f)
TABLE[BatchNorm] = lambda f, to: to.filled(_of_axes(f, to.nn.BatchNorm1d, to.modules.BatchNorm)(f.n, f.eps, f.momentum), f)
TABLE[LayerNorm] = lambda f, to: to.filled(to.nn.LayerNorm(f.n, f.eps), f)
TABLE[Standardize] = lambda f, to: to.filled(to.modules.Standardize(f.n), f)

# --- images and attention ---


@_of(Conv1d, Conv2d, ConvTranspose2d)
def _convolution(f: Any, to: Converter) -> Any:
    options = {"stride": f.stride, "padding": f.padding, "dilation": f.dilation, "groups": f.groups, "bias": f.bias is not None}
    return to.filled(getattr(to.nn, type(f).__name__)(f.n_in, f.n_out, f.kernel_size, **options), f)


@_of(MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d)
def _pooling(f: Any, to: Converter) -> Any:
    return getattr(to.nn, type(f).__name__)(f.kernel_size, f.stride, f.padding)


TABLE[BatchNorm2d] = lambda f, to: to.filled(to.nn.BatchNorm2d(f.n, f.eps, f.momentum), f)
TABLE[GroupNorm] = lambda f, to: to.filled(to.nn.GroupNorm(f.groups, f.n, f.eps), f)
TABLE[RMSNorm] = lambda f, to: to.filled(to.nn.RMSNorm(f.n, f.eps), f)
TABLE[Upsample] = lambda f, to: to.nn.Upsample(scale_factor=f.scale)
TABLE[GlobalAvgPool2d] = lambda f, to: to.modules.Mean((2, 3))


@_of(MultiHeadAttention)
def _attention(f: MultiHeadAttention, to: Converter) -> Any:
    module = to.nn.MultiheadAttention(f.n, f.heads, bias=f.bias, batch_first=True)
    to.filled(module, f)
    to.filled(module.out_proj, f.out_proj)
    return to.modules.Attention(module, f.causal)


# --- recurrence ---


@_of(Unrolled)
def _unrolled(f: Unrolled, to: Converter) -> Any:
    module = to.filled(_recurrent(f, f.cell, to, bidirectional=False), f.cell, "_l0")
    return to.modules.Recurrent(module, f.return_sequences, f.reverse)


@_of(Bidirectional)
def _bidirectional(f: Bidirectional, to: Converter) -> Any:
    cells: list[Any] = [f.forward.cell, f.backward.cell]
    module = _recurrent(f, cells[0], to, bidirectional=True)
    if repr(cells[0]) != repr(cells[1]):
        raise ValueError(f"to_torch: {brief(f)} has two kinds of cells, and torch's recurrent modules have one")
    for cell, suffix in zip(cells, ("_l0", "_l0_reverse"), strict=True):
        to.filled(module, cell, suffix)
    return to.modules.Recurrent(module, f.return_sequences)


def _recurrent(f: Function, cell: Any, to: Converter, bidirectional: bool) -> Any:
    options = {"batch_first": True, "bidirectional": bidirectional}
    if type(cell) is LSTMCell:
        return to.nn.LSTM(cell.n_in, cell.n_hidden, **options)
    if type(cell) is GRUCell:
        return to.nn.GRU(cell.n_in, cell.n_hidden, **options)
    if type(cell) is RNNCell and cell.activation in ("tanh", "relu"):
        return to.nn.RNN(cell.n_in, cell.n_hidden, nonlinearity=cell.activation, **options)
    raise ValueError(
        f"to_torch: {brief(f)} has a cell that torch has not; it has LSTMCell, GRUCell, and RNNCell with tanh or relu"
    )


# --- containers ---

TABLE[Sequential] = lambda f, to: to.nn.Sequential(*map(to, f))
TABLE[Residual] = lambda f, to: to.modules.Residual(to(f.f))
TABLE[Add] = lambda f, to: to.modules.Add(map(to, f))
TABLE[Multiply] = lambda f, to: to.modules.Multiply(map(to, f))
TABLE[Concatenate] = lambda f, to: to.modules.Concatenate(map(to, f), f.axis)
