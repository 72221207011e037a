"""What `torch.nn` has no module for: containers of branches, recurrent modules in a stack, features on the last axis, scaling.

This is the one file that imports torch when it is loaded; `to_torch` and `from_torch` load it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """A recurrent module of torch, batch first and of one layer, that returns its outputs and no state.

    As pancake's `Unrolled` and `Bidirectional`: the outputs of all steps, or only the last one (of each direction).
    """

    def __init__(self, module: nn.RNNBase, return_sequences: bool = True, reverse: bool = False) -> None:
        super().__init__()
        self.module, self.return_sequences, self.reverse = module, return_sequences, reverse

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x.flip(1) if self.reverse else x)[0]
        if self.return_sequences:
            return y.flip(1) if self.reverse else y
        if self.module.bidirectional:
            H = self.module.hidden_size
            return torch.cat([y[:, -1, :H], y[:, 0, H:]], dim=-1)
        return y[:, -1]

    def extra_repr(self) -> str:
        return f"return_sequences={self.return_sequences}, reverse={self.reverse}"


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` with the features on the last axis of any number of axes."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x.reshape(-1, x.shape[-1]))
        return y.reshape(x.shape)


class Standardize(nn.Module):
    """(x - mean) / scale on the last axis. Both are buffers: they are saved with the module, and no optimizer moves them."""

    mean: Tensor
    scale: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("scale", torch.ones(n))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale

    def extra_repr(self) -> str:
        return str(len(self.mean))


class PReLU(nn.PReLU):
    """`nn.PReLU` with the features on the last axis of any number of axes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.weight * x)


class Attention(nn.Module):
    """`nn.MultiheadAttention`, batch first, of a sequence to itself, which returns its outputs alone."""

    def __init__(self, module: nn.MultiheadAttention, causal: bool = False) -> None:
        super().__init__()
        self.module, self.causal = module, causal

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        later = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        y: Tensor = self.module(x, x, x, attn_mask=later, need_weights=False)[0]
        return y

    def extra_repr(self) -> str:
        return f"causal={self.causal}"


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.f(x)
        return y


class Branches(nn.ModuleList):
    """Base of what feeds one input to several modules; a tuple of inputs is handed out, one to each."""

    def outputs(self, x: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
        inputs: Iterable[Tensor] = x if isinstance(x, tuple) else [x] * len(self)
        return [module(part) for module, part in zip(self, inputs, strict=True)]


class Add(Branches):
    """The sum of what the modules put out."""

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        first, *others = self.outputs(x)
        for other in others:
            first = first + other
        return first


class Multiply(Branches):
    """The product of what the modules put out, entry by entry."""

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        first, *others = self.outputs(x)
        for other in others:
            first = first * other
        return first


class Concatenate(Branches):
    """What the modules put out, one after another along an axis."""

    def __init__(self, modules: Iterable[nn.Module], axis: int = -1) -> None:
        super().__init__(modules)
        self.axis = axis

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        return torch.cat(self.outputs(x), dim=self.axis)


class Transpose(nn.Module):
    """The axes in another order."""

    def __init__(self, axes: Iterable[int]) -> None:
        super().__init__()
        self.axes = tuple(axes)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.axes)


class Reshape(nn.Module):
    """The same numbers in another shape, the batch's axis included."""

    def __init__(self, shape: Iterable[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.shape)


class Expand(nn.Module):
    """The same again and again along a new axis."""

    def __init__(self, axis: int, copies: int) -> None:
        super().__init__()
        self.axis, self.copies = axis, copies

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(self.axis).repeat_interleave(self.copies, self.axis)


class Mean(nn.Module):
    """The mean over one axis, several, or all (None)."""

    def __init__(self, axis: int | tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return x.clone() if self.axis == () else x.mean(self.axis)  # which for torch stands for all axes


class Sum(nn.Module):
    """The sum over one axis, several, or all (None)."""

    def __init__(self, axis: int | tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return x.clone() if self.axis == () else x.sum(self.axis)  # which for torch stands for all axes
