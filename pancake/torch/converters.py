"""How each module of torch becomes a Function: one converter a class, by its name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from pancake.function import Function
from pancake.functions.activations import ELU, GELU, SELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from pancake.functions.attention import MultiHeadAttention
from pancake.functions.branches import Add, Concatenate, Multiply, Residual
from pancake.functions.channel_normalization import BatchNorm2d, GroupNorm
from pancake.functions.containers import Identity, Sequential
from pancake.functions.convolution import Conv1d, Conv2d, ConvTranspose2d
from pancake.functions.dropout import Dropout
from pancake.functions.elementwise import Mean, Sum
from pancake.functions.embedding import Embedding
from pancake.functions.linear import Linear
from pancake.functions.normalization import BatchNorm, LayerNorm, RMSNorm
from pancake.functions.piecewise_linear import HardTanh, LeakyReLU, PReLU, ReLU
from pancake.functions.pooling import AvgPool1d, AvgPool2d, GlobalAvgPool2d, MaxPool1d, MaxPool2d, Upsample
from pancake.functions.shapes import Expand, Flatten, Reshape, Transpose
from pancake.functions.softmax import LogSoftmax, Softmax
from pancake.functions.standardize import Standardize
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import Cell, GRUCell, LSTMCell, RNNCell
from pancake.recurrent.unrolled import Unrolled
from pancake.torch.states import as_numpy

Convert: TypeAlias = Callable[[Any], Function]

# For the name of a module, in `torch.nn` or in `pancake.torch.modules`, how it is converted: a function of the module and of
# `convert`, which converts the modules inside.
TABLE: dict[str, Callable[[Any, Convert], Function]] = {}


def _of(name: str) -> Callable[[Callable[[Any, Convert], Function]], Callable[[Any, Convert], Function]]:
    """Put a converter into the table."""

    def put(converter: Callable[[Any, Convert], Function]) -> Callable[[Any, Convert], Function]:
        TABLE[name] = converter
        return converter

    return put


class Refused(Exception):
    """A module that cannot be converted, and why: what the message says after its name and its place."""

    def __init__(self, module: Any, why: str, error: type[Exception] = ValueError) -> None:
        super().__init__(module, why, error)
        self.module, self.why, self.error = module, why, error


def _expect(module: Any, **options: Any) -> None:
    """Refuse a module that has another value for one of these options."""
    for name, value in options.items():
        got = getattr(module, name)
        if got != value:
            raise Refused(
                module,
                f"has {name}={got!r}, and pancake's Function has {value!r} alone; build the stack by hand, and fill it with "
                "pancake.torch.load_torch",
            )


def _dtype(module: Any) -> DTypeLike:
    parameter = next(module.parameters(), None)
    return np.float64 if parameter is None else as_numpy("from_torch", "a parameter", parameter).dtype


def _filled(function: Function, module: Any) -> Function:
    """The Function with the parameters and buffers of the module, which has them under the same names."""
    state = {name: as_numpy("from_torch", name, value) for name, value in module.state_dict().items()}
    function.load_state_dict(state)
    return function


def freeze(function: Function, part: Any) -> None:
    """Freeze what was made of a module if nothing in that is trained."""
    trained = {bool(p.requires_grad) for p in part.parameters()}
    if len(trained) == 2:
        raise Refused(part, "trains some of its parameters and not the others; a Function is frozen as a whole")
    if trained == {False}:
        function.freeze()


# --- without parameters ---

for _name, _cls in {
    "Identity": Identity,
    "Sigmoid": Sigmoid,
    "Tanh": Tanh,
    "ReLU": ReLU,
    "SELU": SELU,
    "SiLU": SiLU,
    "Mish": Mish,
    "Softsign": Softsign,
}.items():
    TABLE[_name] = functools.partial(lambda cls, module, convert: cls(), _cls)

TABLE["LeakyReLU"] = lambda module, convert: LeakyReLU(module.negative_slope)
TABLE["ELU"] = lambda module, convert: ELU(module.alpha)
TABLE["GELU"] = lambda module, convert: GELU(module.approximate)
TABLE["Dropout"] = lambda module, convert: Dropout(module.p)


@_of("Hardtanh")
def _hardtanh(module: Any, convert: Convert) -> Function:
    _expect(module, min_val=-1.0, max_val=1.0)
    return HardTanh()


@_of("Softplus")
def _softplus(module: Any, convert: Convert) -> Function:
    _expect(module, threshold=20)
    return Softplus(float(module.beta))


@_of("Softmax")
def _softmax(module: Any, convert: Convert) -> Function:
    return Softmax(_axis(module))


@_of("LogSoftmax")
def _log_softmax(module: Any, convert: Convert) -> Function:
    return LogSoftmax(_axis(module))


def _axis(module: Any) -> int:
    if module.dim is None:
        raise Refused(module, "has dim=None, which depends on the number of axes; set its dim first")
    return int(module.dim)


@_of("Flatten")
def _flatten(module: Any, convert: Convert) -> Function:
    _expect(module, start_dim=1, end_dim=-1)
    return Flatten()


# --- with parameters ---


@_of("Linear")
def _linear(module: Any, convert: Convert) -> Function:
    bias = module.bias is not None
    return _filled(Linear(module.in_features, module.out_features, bias=bias, dtype=_dtype(module)), module)


@_of("PReLU")
def _prelu(module: Any, convert: Convert) -> Function:
    return _filled(PReLU(module.weight.numel(), dtype=_dtype(module)), module)


@_of("Embedding")
def _embedding(module: Any, convert: Convert) -> Function:
    _expect(module, padding_idx=None, max_norm=None, scale_grad_by_freq=False, sparse=False)
    return _filled(Embedding(module.num_embeddings, module.embedding_dim, dtype=_dtype(module)), module)


def _batch_norm(layer: type[BatchNorm] | type[BatchNorm2d], module: Any, convert: Convert) -> Function:
    _expect(module, affine=True, track_running_stats=True)
    if module.momentum is None:
        raise Refused(module, "has momentum=None, a plain average over all batches; set its momentum first")
    return _filled(layer(module.num_features, module.momentum, module.eps, dtype=_dtype(module)), module)


TABLE["BatchNorm"] = TABLE["BatchNorm1d"] = functools.partial(_batch_norm, BatchNorm)
TABLE["BatchNorm2d"] = functools.partial(_batch_norm, BatchNorm2d)


@_of("LayerNorm")
def _layer_norm(module: Any, convert: Convert) -> Function:
    if len(module.normalized_shape) != 1 or module.weight is None or module.bias is None:
        raise Refused(module, "is none of one axis, with weight and bias, as pancake's LayerNorm is")
    return _filled(LayerNorm(module.normalized_shape[0], module.eps, dtype=_dtype(module)), module)


@_of("Standardize")
def _standardize(module: Any, convert: Convert) -> Function:
    dtype = as_numpy("from_torch", "mean", module.mean).dtype  # it has no parameters to tell by
    return _filled(Standardize(len(module.mean), dtype=dtype), module)


# --- images and attention ---


def _convolution(cls: Any, module: Any, convert: Convert) -> Function:
    _expect(module, padding_mode="zeros", **({"output_padding": (0, 0)} if cls is ConvTranspose2d else {}))
    if isinstance(module.padding, str):
        raise Refused(module, f"has padding={module.padding!r}, and pancake's has numbers")
    options = {name: _per_axis(getattr(module, name)) for name in ("stride", "padding", "dilation")}
    bias = module.bias is not None
    made = cls(
        module.in_channels,
        module.out_channels,
        _per_axis(module.kernel_size),
        groups=module.groups,
        bias=bias,
        dtype=_dtype(module),
        **options,
    )
    return _filled(made, module)


def _pooling(cls: Any, module: Any, convert: Convert) -> Function:
    _expect(module, ceil_mode=False)
    if cls in (MaxPool1d, MaxPool2d):
        _expect(module, dilation=1, return_indices=False)
    else:
        _expect(module, count_include_pad=True, **({"divisor_override": None} if cls is AvgPool2d else {}))
    return cls(_per_axis(module.kernel_size), _per_axis(module.stride), _per_axis(module.padding))


def _per_axis(value: Any) -> Any:
    """A number of torch for all axes, or for each, as pancake has it: one number where all are equal."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


for _layer in (Conv1d, Conv2d, ConvTranspose2d):
    TABLE[_layer.__name__] = functools.partial(_convolution, _layer)
for _pool in (MaxPool1d, MaxPool2d, AvgPool1d, AvgPool2d):
    TABLE[_pool.__name__] = functools.partial(_pooling, _pool)


@_of("GroupNorm")
def _group_norm(module: Any, convert: Convert) -> Function:
    _expect(module, affine=True)
    return _filled(GroupNorm(module.num_groups, module.num_channels, module.eps, dtype=_dtype(module)), module)


@_of("RMSNorm")
def _rms_norm(module: Any, convert: Convert) -> Function:
    if len(module.normalized_shape) != 1 or module.weight is None:
        raise Refused(module, "is none of one axis, with a weight, as pancake's RMSNorm is")
    return _filled(RMSNorm(module.normalized_shape[0], module.eps, dtype=_dtype(module)), module)


@_of("AdaptiveAvgPool2d")
def _global_pool(module: Any, convert: Convert) -> Function:
    if module.output_size not in (1, (1, 1)):
        raise Refused(
            module,
            f"has output_size={module.output_size!r}, and pancake's GlobalAvgPool2d averages whole images; take an AvgPool2d of "
            "the size that it comes to for your images",
        )
    return Sequential([GlobalAvgPool2d(), Expand(-1, 1), Expand(-1, 1)])  # torch keeps the axes, with length 1


@_of("Upsample")
def _upsample(module: Any, convert: Convert) -> Function:
    _expect(module, mode="nearest", size=None)
    scale = _per_axis(module.scale_factor)
    whole = tuple(map(int, scale)) if isinstance(scale, tuple) else int(scale)
    if whole != scale:
        raise Refused(module, "has a scale_factor that is not whole")
    return Upsample(whole)


@_of("Attention")
def _attention(module: Any, convert: Convert) -> Function:
    return _self_attention(module.module, module.causal)


@_of("MultiheadAttention")
def _multihead_attention(module: Any, convert: Convert) -> Function:
    attention = _self_attention(module)
    return attention if module.batch_first else Sequential([Transpose((1, 0, 2)), attention, Transpose((1, 0, 2))])


def _self_attention(module: Any, causal: bool = False) -> Function:
    """What torch's module does when it is called with (x, x, x), without the weights that it returns beside the outputs."""
    n = module.embed_dim
    _expect(module, dropout=0.0, kdim=n, vdim=n, add_zero_attn=False)
    if module.bias_k is not None:
        raise Refused(module, "has add_bias_kv=True, and pancake's Function has False alone; make it without")
    bias = module.in_proj_bias is not None
    attention = _filled(MultiHeadAttention(n, module.num_heads, causal=causal, bias=bias, dtype=_dtype(module)), module)
    attention.train(module.training)
    freeze(attention, module)
    return attention


# --- recurrence ---


@_of("RNN")
@_of("LSTM")
@_of("GRU")
def _recurrent(module: Any, convert: Convert) -> Function:
    layers = _layers(module, return_sequences=True)
    if not module.batch_first:
        layers = [Transpose((1, 0, 2)), *layers, Transpose((1, 0, 2))]
    return layers[0] if len(layers) == 1 else Sequential(layers)


@_of("Recurrent")
def _outputs(module: Any, convert: Convert) -> Function:
    (layer,) = _layers(module.module, module.return_sequences)
    return Unrolled(layer.cell, module.return_sequences, reverse=True) if module.reverse else layer


def _layers(module: Any, return_sequences: bool) -> list[Any]:
    """A stack of recurrent layers, and what is dropped between them."""
    _expect(module, bias=True)
    if getattr(module, "proj_size", 0):
        raise Refused(module, f"has proj_size={module.proj_size}, and pancake's LSTMCell has no projection")
    layers: list[Function] = []
    for number in range(module.num_layers):
        if layers and module.dropout:
            layers.append(Dropout(module.dropout))
        cell = _cell(module, number, "")
        if module.bidirectional:
            layers.append(Bidirectional(cell, _cell(module, number, "_reverse"), return_sequences))
        else:
            layers.append(Unrolled(cell, return_sequences))
    return layers


def _cell(module: Any, number: int, suffix: str) -> Cell:
    n_in = module.input_size if number == 0 else module.hidden_size * (2 if module.bidirectional else 1)
    n_hidden, dtype = module.hidden_size, _dtype(module)
    cell: Cell
    match module.mode:
        case "LSTM":
            cell = LSTMCell(n_in, n_hidden, dtype=dtype)
        case "GRU":
            cell = GRUCell(n_in, n_hidden, dtype=dtype)
        case _:
            cell = RNNCell(n_in, n_hidden, module.mode.removeprefix("RNN_").lower(), dtype=dtype)
    for name, value, _ in cell._own_parameters():
        value[...] = as_numpy("from_torch", name, getattr(module, f"{name}_l{number}{suffix}"))
    return cell


# --- containers ---

TABLE["Sequential"] = lambda module, convert: Sequential([convert(part) for part in module])
TABLE["Residual"] = lambda module, convert: Residual(convert(module.f))
TABLE["Add"] = lambda module, convert: Add([convert(part) for part in module])
TABLE["Multiply"] = lambda module, convert: Multiply([convert(part) for part in module])
TABLE["Concatenate"] = lambda module, convert: Concatenate([convert(part) for part in module], module.axis)
TABLE["Transpose"] = lambda module, convert: Transpose(module.axes)
TABLE["Reshape"] = lambda module, convert: Reshape(module.shape)
TABLE["Expand"] = lambda module, convert: Expand(module.axis, module.copies)
TABLE["Mean"] = lambda module, convert: Mean(module.axis)
TABLE["Sum"] = lambda module, convert: Sum(module.axis)
