"""Checks that training and files share."""

from __future__ import annotations

from pancake.function import Function
from pancake.optimizers.optimizer import Optimizer


def check_trains(owner: str, optimizer: Optimizer, model: Function) -> None:
    """Refuse an optimizer that was made for another model."""
    functions = [optimizer.model] if isinstance(optimizer.model, Function) else optimizer.model
    trained = {id(array) for function in functions for array in function.get_params_and_grads()[0]}
    if not any(id(array) in trained for array in model.get_params_and_grads()[0]):
        raise ValueError(f"{owner}: {optimizer!r} trains no parameter of {model!r}; make the optimizer from this model")
