"""The training loop's four lines as one call."""

from __future__ import annotations

from typing import Any, Self

from pancake.arguments import brief, refuse_foreign_arguments
from pancake.fast.steps import Steps
from pancake.function import Function, need_function
from pancake.losses.loss import Loss, need_loss
from pancake.optimizers.optimizer import Optimizer
from pancake.training.trained import check_trains


class TrainStep:
    """One step of training: clear the gradients, run forward, take the loss, run backward, change the parameters.

    ::

        optimizer.zero_grad()
        objective = loss(model(x), y)
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()

    is what a call computes, to the last bit where sums have the same order. A stack of `Linear` layers, activations,
    normalisation, `Dropout`, `Unrolled` cells and an `Embedding` before them, or of stacks and branches of these, with a loss
    and an optimizer of the library, does it as fast as a loop written by hand: for each shape of batch the first call writes
    the step down as a list of NumPy calls on arrays made beforehand, which later calls only repeat. Everything else (other
    Functions, lengths, a part that was changed, `pancake.fast.off()`) goes through the four lines, without a word.

    What the layers and the loss remember after it is what the four lines would leave; but of a large batch, with more than 16,384
    numbers in x or thousands of rows, they remember nothing: its x is not copied, and many rows go through the layers and back in
    blocks that stay in cache.

    Parameters
    ----------
    model : Function
    loss : Loss
        Or anything else with which `fit` trains.
    optimizer : Optimizer
        Made for this model, or some parts of it. Anything with `zero_grad()` and `step()` will do.

    Raises
    ------
    TypeError, ValueError
        If they are something else, or the optimizer was made for another model.

    Examples
    --------
    >>> import pancake as pk
    >>> x, y = pk.datasets.moons(200, rng=0)
    >>> model = pk.mlp([2, 10, 2], rng=0)
    >>> step = pk.TrainStep(model, pk.CrossEntropy(), pk.Adam(model, lr=0.01))
    >>> first = step(x, y)
    >>> for _ in range(100):
    ...     last = step(x, y)
    >>> bool(last < first / 2)
    True
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        refuse_foreign_arguments(cls, args, kwargs)
        return super().__new__(cls)

    def __init__(self, model: Function, loss: Any, optimizer: Any) -> None:
        check_parts("TrainStep", model, loss, optimizer)
        self._steps = Steps(model, loss, optimizer)

    @property
    def model(self) -> Function:
        """What is trained. For another model, loss or optimizer make another TrainStep."""
        model: Function = self._steps.model
        return model

    @property
    def loss(self) -> Any:
        """The loss."""
        return self._steps.loss

    @property
    def optimizer(self) -> Any:
        """The optimizer."""
        return self._steps.optimizer

    def __call__(self, x: Any, y: Any, weight: Any = None, *, lengths: Any = None) -> Any:
        """Make a step with one batch.

        Parameters
        ----------
        x, y : array_like (B, ...)
            What the model takes, and the targets of the loss.
        weight : array_like, optional
            How much each example counts, see the loss.
        lengths : array_like of int (B,), optional
            How many steps of each sequence are valid, for a model that takes them.

        Returns
        -------
        numpy.floating
            The objective, from before the parameters were changed.

        Raises
        ------
        ValueError, TypeError
            What the model or the loss refuses; no parameter has changed then.
        """
        steps = self._steps
        objective = steps.objective(x, y, weight) if lengths is None else None
        program = steps.latest
        if objective is not None and program is not None:
            program.update()
            return objective
        self.optimizer.zero_grad()
        # no name for what the model puts out: its memory serves what comes next
        given = (y,) if weight is None else (y, weight)
        objective = self.loss(self.model(x) if lengths is None else self.model(x, lengths=lengths), *given)
        self.model.accumulate_grads(self.loss.compute_backward())
        self.optimizer.step()
        return objective

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.model, self.loss, self.optimizer)

    def __repr__(self) -> str:
        return f"TrainStep({self.model!r}, {self.loss!r}, {self.optimizer!r})"


def _restored(model: Function, loss: Any, optimizer: Any) -> TrainStep:
    """A copy of a step, in which all may be frozen by now."""
    step = object.__new__(TrainStep)
    step._steps = Steps(model, loss, optimizer)
    return step


def check_parts(owner: str, model: Any, loss: object, optimizer: object) -> None:
    """Refuse what cannot be trained, what is no loss, and what is no optimizer of the model."""
    order = "; the model comes first, then the loss, then the optimizer" if isinstance(model, (Loss, Optimizer)) else ""
    need_function(owner, model, " as the model", order)
    need_loss(owner, loss)
    methods = [getattr(optimizer, name, None) for name in ("zero_grad", "step")]
    if isinstance(optimizer, type) or not all(map(callable, methods)) or hasattr(optimizer, "param_groups"):
        raise TypeError(f"{owner}: expected an optimizer, such as Adam(model), as third argument, got {brief(optimizer)}")
    check_trains(owner, optimizer, model)
