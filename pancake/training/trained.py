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


def check_made_for(owner: str, optimizer: Any, model: Function) -> None:
    """Refuse an optimizer that was made for another model."""
    functions = functions_of(optimizer)
    if functions is None:
        return
    known = {id(value) for function in functions for value, _ in function._listed()}
    if not any(id(value) in known for value, _ in model._listed()):
        raise ValueError(f"{owner}: {optimizer!r} trains no parameter of {model!r}; make the optimizer from this model")


def check_trains(owner: str, optimizer: Any, model: Function) -> None:
    """Refuse an optimizer that was made for another model, or for parts that all are frozen."""
    check_made_for(owner, optimizer, model)
    functions = functions_of(optimizer)
    if functions is None:
        return
    trained = {id(array) for function in functions for array in function.get_params_and_grads()[0]}
    if not any(id(array) in trained for array in model.get_params_and_grads()[0]):
        raise ValueError(f"{owner}: {optimizer!r} trains no parameter of {model!r}; what is frozen is not trained, see `freeze`")


class Trained:
    """The gradients of a model that its optimizer uses, and those that it leaves out.

    The others stay as they were in `fit`, as those of frozen parts do: whatever a backward adds to them is undone.
    """

    def __init__(self, model: Function, optimizer: Any) -> None:
        self.model = model
        functions = functions_of(optimizer)
        whole = functions is None or any(function is model for function in functions)
        self._functions: Sequence[Function] = [model] if whole or functions is None else functions
        self._settled = False
        self._generation = -1
        self._grads: list[Array] = []
        self._others: list[tuple[Array, Array]] = []
        self.leaves_out = not whole
        if not whole:
            self._find()
            self.leaves_out = bool(self._others) or not self._settled

    def gradients(self) -> list[Array]:
        """What the optimizer uses, each array once."""
        self._find()
        return self._grads

    def keep_others(self) -> None:
        """Note the gradients that are left out as they are now, before a backward."""
        self._find()

    def put_back_others(self) -> None:
        """Undo what the backward has added to them."""
        for grad, kept in self._others:
            grad[...] = kept

    def _find(self) -> None:
        if self._settled and self._generation == memory.generation:
            return
        self._generation = memory.generation
        # Arrays of pancake's own Functions stay where they are; a user's Function may exchange its own at any time.
        self._settled = all(map(is_own, [part for function in {self.model, *self._functions} for part in function.walk()]))
        grads = {_place(grad): grad for function in self._functions for grad in function.get_params_and_grads()[1]}
        others = [grad for grad in self.model.get_params_and_grads()[1] if _place(grad) not in grads]
        self._grads = list(grads.values())
        self._others = [(grad, grad.copy()) for grad in others]


def _place(array: Array) -> tuple[int, int]:
    return array.ctypes.data, array.size  # in memory, since a parameter may be a view of another
