"""What an optimizer trains: the one set of parameters for which gradients are cleared, clipped and used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pancake import memory
from pancake.function import Function
from pancake.memory import Array
from pancake.origin import is_own


def functions_of(optimizer: Any) -> Sequence[Function] | None:
    """The Functions that an optimizer was made for; None for a user's own optimizer that does not tell."""
    model = getattr(optimizer, "model", None)
    if isinstance(model, Function):
        return [model]
    if isinstance(model, (list, tuple)) and all(isinstance(function, Function) for function in model):
        return model
    return None


def check_trains(owner: str, optimizer: Any, model: Function) -> None:
    """Refuse an optimizer that was made for another model."""
    functions = functions_of(optimizer)
    if functions is None:
        return
    trained = {id(array) for function in functions for array in function.get_params_and_grads()[0]}
    if not any(id(array) in trained for array in model.get_params_and_grads()[0]):
        frozen = any(getattr(function, "frozen", False) for function in model.walk())
        hint = "what is frozen is not trained, see `freeze`" if frozen else "make the optimizer from this model"
        raise ValueError(f"{owner}: {optimizer!r} trains no parameter of {model!r}; {hint}")


class Others:
    """The gradients of a model that its optimizer leaves out: in `fit` they stay as they were, as those of frozen parts do."""

    def __init__(self, model: Function, optimizer: Any) -> None:
        self.model = model
        functions = functions_of(optimizer)
        whole = functions is None or any(function is model for function in functions)
        self.functions: Sequence[Function] = [model] if whole or functions is None else functions
        self.any = not whole and (bool(self._gradients()) or not all(map(is_own, model.walk())))
        self._generation = -1
        self._kept: list[tuple[Array, Array]] = []

    def keep(self) -> None:
        """Note the gradients as they are now, before a backward."""
        # Arrays of pancake's own Functions stay where they are; a user's Function may exchange its own at any time.
        if self._generation != memory.generation or not all(map(is_own, self.model.walk())):
            self._generation = memory.generation
            self._kept = [(grad, grad.copy()) for grad in self._gradients()]

    def put_back(self) -> None:
        """Undo what the backward has added to them."""
        for grad, kept in self._kept:
            grad[...] = kept

    def _gradients(self) -> list[Array]:
        # by memory, since a parameter may be a view of another
        trained = {_memory(grad) for function in self.functions for grad in function.get_params_and_grads()[1]}
        return [grad for grad in self.model.get_params_and_grads()[1] if _memory(grad) not in trained]


def _memory(array: Array) -> tuple[int, int]:
    return array.ctypes.data, array.size
