"""Modules of torch as Functions, by their exact type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.piecewise_linear import PReLU
from pancake.functions.shapes import Transpose
from pancake.torch.converters import TABLE, Convert, freeze


def from_torch(module: Any) -> Function:
    """The Function that computes what a module of torch computes, with a copy of its parameters and buffers.

    Parameters keep float32 or float64; those in bfloat16 and float16 become float32. Modes are kept (`training`), and a module
    none of whose parameters requires a gradient is frozen. Modules go by exact type: whatever has a forward, or a hook, of its
    own is refused.

    Recurrent modules give their output sequence, of all layers and directions, without the state; those that are not batch
    first stand between two `Transpose`. `MultiheadAttention` becomes attention of a sequence to itself, as when it is called with
    (x, x, x) and no mask, and gives its outputs alone; set `causal` for a mask of what comes later. `BatchNorm1d` and `PReLU`
    have their features on the last axis here, which for input (B, C) is the same; behind convolutions and pooling in a
    `Sequential` they stand between two `Transpose`.

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
    made: dict[tuple[Any, ...], Function] = {}
    images = 0  # how many axes follow the channels of what the modules so far put out
    owners: dict[int, Any] = {}

    def convert(part: Any) -> Function:
        nonlocal images
        images = IMAGES.get(type(part).__name__, images)
        own = list(part.parameters(recurse=False))
        key = (type(part), *map(id, own)) if own else (id(part),)
        if key in made:
            return placed(part, made[key].shared_copy())
        if any(owners.setdefault(id(p), part) is not part for p in own):
            raise ValueError(
                f"from_torch: {part} shares some of its parameters with {owners[id(own[0])]}, which two Functions of different "
                "kinds cannot do here; give it copies of its own"
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
        if not images or type(part).__name__ not in ON_CHANNELS or (isinstance(function, PReLU) and part.weight.numel() == 1):
            return function
        axes = tuple(range(2, images + 2))
        return Sequential([Transpose((0, *axes, 1)), function, Transpose((0, images + 1, *range(1, images + 1)))])

    return convert(module)


# How many axes follow the channels of what a module puts out; the others leave that as it is.
IMAGES = {
    **dict.fromkeys(["Conv1d", "MaxPool1d", "AvgPool1d"], 1),
    **dict.fromkeys(["Conv2d", "ConvTranspose2d", "MaxPool2d", "AvgPool2d", "BatchNorm2d"], 2),
    **dict.fromkeys(["Flatten", "Linear", "Embedding", "LayerNorm", "AdaptiveAvgPool2d", "RNN", "LSTM", "GRU"], 0),
}
ON_CHANNELS = {"BatchNorm1d", "PReLU"}


def _converter(part: Any) -> Callable[[Any, Convert], Function]:
    """How a module is converted, if its class is exactly one of those that are known."""
    import torch

    from pancake.torch import modules

    cls = type(part)
    known = getattr(modules, cls.__name__, getattr(torch.nn, cls.__name__, None)) if cls.__name__ in TABLE else None
    if cls is not known and getattr(torch.nn, cls.__name__, None) is not cls:
        raise TypeError(
            f"from_torch: {cls.__module__}.{cls.__qualname__} has a forward of its own, which cannot be read off it; "
            "build the same stack of Functions and fill it with pancake.torch.load_torch(model, module.state_dict())"
        )
    if cls.__name__ not in TABLE:
        raise TypeError(
            f"from_torch: pancake has no Function for torch.nn.{cls.__name__}; it converts {', '.join(sorted(TABLE))}. Build a "
            "stack without it, and fill that with pancake.torch.load_torch(model, module.state_dict())"
        )
    if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
        raise ValueError(f"from_torch: {part} has hooks or a forward of its own, which pancake would not run; remove them first")
    return TABLE[cls.__name__]
