"""To and from torch: its modules become Functions, Functions its modules, and its state dicts are read, also without torch."""

from pancake.torch.from_modules import from_torch
from pancake.torch.states import load_torch
from pancake.torch.to_modules import to_torch

__all__ = ["from_torch", "load_torch", "to_torch"]
