"""Modules of torch as Functions, by their exact type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.normalization import BatchNorm
from pancake.functions.piecewise_linear import PReLU
from pancake.functions.shapes import Transpose
from pancake.torch.converters import TABLE, Convert, Refused, freeze


def from_torch(module: Any) -> Function:
    """The Function that computes what a module of torch computes, with a copy of its parameters and buffers.

    Parameters keep float32 or float64; those in bfloat16 and float16 become float32. Modes are kept (`training`), and a module
    none of whose parameters requires a gradient is frozen. Modules go by exact type: whatever has a forward, or a hook, of its
    own is refused.

    Recurrent modules give their output sequence, of all layers and directions, without the state; those that are not batch
    first stand between two `Transpose`. `MultiheadAttention` becomes attention of a sequence to itself, as when it is called with
    (x, x, x) and no mask, and gives its outputs alone; set `causal` for a mask of what comes later. `BatchNorm1d` and `PReLU`
    have their features on the last axis here, which for input (B, C) is the same; before and behind convolutions and pooling they
    stand between two `Transpose`. Where nothing before a `Flatten` tells how many axes there are, they take (B, C) alone (their
    `max_ndim` is 2), and refuse inputs of more axes rather than take the last one for the second.

    Parameters
    ----------
    module : torch.nn.Module
        A module of `torch.nn` that pancake has, a `torch.nn.Sequential` of such, nested to any depth, or what `to_torch` gives.

    Returns
    -------
    Function

    Raises
    ------
    TypeError
        If it is no module, or pancake has no Function for it or for one inside; the message names it, and the way out.
    ValueError
        If it has an option that pancake has not, or shares some of its parameters with another module.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: expected a torch.nn.Module, got {module!r}; load_torch reads a state dict"[:300])
    try:
        return _converted(module)
    except Refused as refused:
        raise refused.error(f"from_torch: {_called(refused.module, module)} {refused.why}") from None


def _called(part: Any, module: Any) -> str:
    """A module by its class, its place in the whole, and the shape of its first parameter."""
    cls = type(part)
    name = cls.__name__ if cls.__module__.startswith("torch.") else f"{cls.__module__}.{cls.__qualname__}"
    place = next((f" at {path}" for path, inner in module.named_modules() if inner is part and path), "")
    shape = next((f" with {k} {tuple(p.shape)}" for k, p in part.named_parameters(recurse=False)), "")
    return name + place + shape


def _converted(module: Any) -> Function:
    """The Function that computes what a module computes."""
    import torch

    made: dict[tuple[Any, ...], Function] = {}
    owners: dict[int, Any] = {}
    axes = iter(_axes_of_inputs(module))

    def convert(part: Any) -> Function:
        if type(part).__name__ in CONTAINERS:
            function = _converter(part)(part, convert)
            function.training = bool(part.training)
            return function
        own = list(part.parameters(recurse=False))
        key = (type(part), *map(id, own)) if own else (id(part),)
        if key in made:
            return placed(part, made[key].shared_copy())
        owner = next((owners[id(p)] for p in own if owners.setdefault(id(p), part) is not part), None)
        if owner is not None:
            raise Refused(
                part,
                f"shares some of its parameters with {_called(owner, module)}; two Functions of different kinds cannot do "
                "that here: give it copies of its own",
            )
        function = _converter(part)(part, convert)
        if not list(part.children()):
            function.train(part.training)
            freeze(function, part)
        else:
            function.training = bool(part.training)
        made[key] = function
        return placed(part, function)

    def placed(part: Any, function: Function) -> Function:
        """A Function of the last axis, between two transpositions where a module of torch has the channels before others."""
        count = next(axes).count
        # by their exact types: what `to_torch` makes has its features on the last axis, as here
        on_channels = type(part) is torch.nn.BatchNorm1d or (type(part) is torch.nn.PReLU and part.weight.numel() > 1)
        if not on_channels or not isinstance(function, (BatchNorm, PReLU)):
            return function
        function.max_ndim = 2 if count is None or count < 2 else None
        if count is None or count <= 2:
            return function
        last = count - 1
        return Sequential([Transpose((0, *range(2, count), 1)), function, Transpose((0, last, *range(1, last)))])

    return convert(module)


CONTAINERS = {"Sequential", "Residual", "Add", "Multiply", "Concatenate"}

# How many axes a module takes, and how many it puts out; None for as many as there are. The others leave their number as it is.
AXES: dict[str, tuple[int | None, int | None]] = {
    **dict.fromkeys(["Conv1d", "MaxPool1d", "AvgPool1d", "Attention"], (3, 3)),
    **dict.fromkeys(["Conv2d", "ConvTranspose2d", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "BatchNorm2d"], (4, 4)),
    **dict.fromkeys(["RNN", "LSTM", "GRU", "MultiheadAttention"], (3, None)),  # a tuple, of which torch's modules make nothing
    **dict.fromkeys(["Embedding", "Expand", "Mean", "Sum"], (None, None)),
    "Flatten": (None, 2),
}


class _Axes:
    """How many axes there are at some place of a net, which what stands before it or after it may tell."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count


def _axes_of_inputs(module: Any) -> list[_Axes]:
    """How many axes the input of each module has that is no container, in the order in which they are converted.

    What keeps their number has one `_Axes` before and behind it, so that a convolution tells it in both directions.
    """
    found: list[_Axes] = []
    start = _Axes()

    def follow(part: Any, before: _Axes) -> _Axes:
        _converter(part)  # which refuses what is only called as a module that is known
        match type(part).__name__:
            case "Sequential":
                for inner in part:
                    before = follow(inner, before)
                return before
            case "Residual":
                return follow(part.f, before)
            case "Add" | "Multiply" | "Concatenate":
                # of the very input each branch may get another part
                ends = [follow(branch, _Axes() if before is start and start.count is None else before) for branch in part]
                return next((end for end in ends if end.count is not None), ends[0] if len(ends) == 1 else _Axes())
        found.append(before)
        taken: int | None
        put_out: int | None
        match name := type(part).__name__:
            case "Reshape":
                taken, put_out = None, len(part.shape)
            case "Transpose":
                taken = put_out = len(part.axes)
            case "Recurrent":
                taken, put_out = 3, 3 if part.return_sequences else 2
            case _ if name in AXES:
                taken, put_out = AXES[name]
            case _:
                return before
        if before.count is None:
            before.count = taken
        return before if taken is not None and taken == put_out == before.count else _Axes(put_out)

    follow(module, start)
    return found


def _converter(part: Any) -> Callable[[Any, Convert], Function]:
    """How a module is converted, if its class is exactly one of those that are known."""
    import torch

    from pancake.torch import modules

    cls = type(part)
    known = getattr(modules, cls.__name__, getattr(torch.nn, cls.__name__, None)) if cls.__name__ in TABLE else None
    if cls is not known and getattr(torch.nn, cls.__name__, None) is not cls:
        raise Refused(
            part,
            "has a forward of its own, which cannot be read off it; build the same stack of Functions and fill it with "
            "pancake.torch.load_torch(model, module.state_dict())",
            TypeError,
        )
    if cls.__name__ not in TABLE:
        raise Refused(
            part,
            f"has no counterpart in pancake; what has one are {', '.join(sorted(TABLE))}. Build a stack without it, and fill "
            "that with pancake.torch.load_torch(model, module.state_dict())",
            TypeError,
        )
    if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
        raise Refused(part, "has hooks or a forward of its own, which pancake would not run; remove them first")
    return TABLE[cls.__name__]
