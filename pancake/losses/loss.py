"""What all losses share: the call, the weights of entries and examples, and what is made of the values."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from pancake.arguments import aligned, brief, choice, literal, numeric, refuse_foreign_arguments, refuse_slots
from pancake.function import Remembers, divided, tell, wide
from pancake.memory import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

REDUCTIONS = ("mean", "sum", "none")

# Called with each loss that has been called. Who trains together with others must know by what each of them has divided.
listeners: list[Callable[[Loss], object]] = []


class Loss(Remembers):
    """Base class of the losses: one number that says how wrong a prediction is, and its gradient, with which backward begins.

    A loss is called with a prediction and a target; `compute_backward` then returns dObj_dPred. The number is the integral of
    the gradient: what `reduction`, weights and options do to the one, they do to the other. (Not so where a loss says that it
    is clamped: `BinaryCrossEntropy` at probabilities next to 0 and 1, as in torch.)

    A loss of your own derives from this class and defines `compute_forward` and `compute_backward`, as those in
    `pancake/losses` do.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What becomes of the values of the entries (of the examples, in a class loss). With "none" they are returned as
        they are, and the gradient is that of their sum.

    Attributes
    ----------
    divisor : float or None
        After a call, what the sum of the values was divided by: means over batches are joined with it. 1 if nothing was. None
        before the first call, and as long as a loss of your own does not set it, by `_reduced` say: `fit` then takes the number
        of rows.
    """

    __slots__ = ("__dict__", "__weakref__", "_cache")

    divisor: float | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        refuse_foreign_arguments(cls, args, kwargs)
        self = super().__new__(cls)
        self._cache = None  # for those that call no base `__init__`
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_slots(cls)
        forward = vars(cls).get("compute_forward")
        if isinstance(forward, types.FunctionType) and not _takes_weight(forward):
            setattr(cls, "compute_forward", _without_weight(forward))  # noqa: B010
        tell(cls)

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = choice(self, "reduction", reduction, REDUCTIONS)

    def __call__(self, pred: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None) -> Any:
        objective = self.compute_forward(pred, target, weight)
        if listeners:
            for listener in listeners.copy():  # a listener may go
                listener(self)
        return objective

    def compute_forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        """Return the objective, a NumPy number, or an array for reduction "none".

        Parameters
        ----------
        pred, target : array_like
        weight : array_like, optional
            How much each example counts: of the shape of the leading axes of the target, (B,) or (B, T). What has weight 0 is
            absent: whatever stands there, nan included, changes neither the objective nor the gradient.
        """
        raise self._undefined("compute_forward")

    def compute_backward(self) -> Array:
        """Return dObj_dPred for the latest call, shaped like the prediction."""
        raise self._undefined("compute_backward")

    def _reduced(self, values: Array, divisor: float) -> Any:
        """The objective, from what each entry or example adds to it; `divisor` is what "mean" divides by."""
        choice(self, "reduction", self.reduction, REDUCTIONS)  # anybody may have set another since
        self.divisor = float(divisor) if self.reduction == "mean" else 1.0
        if self.reduction == "none":
            return values
        total = values.sum(dtype=wide(values.dtype))  # float16 ends at 65,504
        return np.float64(total / self.divisor if self.divisor else 0.0)

    def _gradient(self, slopes: Array) -> Array:
        """dObj_dPred, from the derivative of what each entry adds to the sum."""
        if not self.divisor:
            return np.zeros_like(slopes)
        return divided(slopes, self.divisor)

    # --- what comes in ---

    def _pred(self, pred: Any) -> Array:
        """The prediction as a float array that is not empty, else refused."""
        p = numeric(self, pred, "pred")
        if not p.size:
            raise ValueError(f"{self!r}: expected at least one prediction, got an empty array of shape {p.shape}")
        return p

    def _in_dtype(self, value: Any, what: str, dtype: np.dtype[Any]) -> Array:
        """`value` in the dtype of the prediction; what that cannot hold is infinite, has weight 0 or is refused afterwards."""
        with np.errstate(over="ignore"):
            return numeric(self, value, what).astype(dtype, copy=False)

    def _weight(self, weight: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The weight with axes of length 1 appended, so that it broadcasts against `shape`, whose leading axes it has."""
        if weight is None:
            return np.ones((1,) * len(shape), dtype)
        w = self._in_dtype(weight, "weight", dtype)
        if w.ndim > len(shape) or w.shape != shape[: w.ndim] or (w.ndim == 0 and shape):
            raise ValueError(f"{self!r}: expected a weight of the leading axes of the target {shape}, got {w.shape}")
        if not (w >= 0).all():
            raise ValueError(f"{self!r}: expected weights of at least 0, got {w.min()}")
        if not (w < np.inf).all():
            raise ValueError(
                f"{self!r}: expected weights that are finite in {dtype}, the dtype of the predictions, got {w.max()}"
            )
        return aligned(w, len(shape))

    def _answer(self) -> tuple[Any, ...]:
        what = super()._answer()
        self._cache.used = True  # a backward without arguments is not refused any more
        return what

    def _no_forward(self) -> NoReturn:
        raise RuntimeError(f"{self!r}: compute_backward needs a call with prediction and target before it")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "divisor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def __repr__(self) -> str:
        shown = []
        for name, p in inspect.signature(type(self).__init__).parameters.items():
            value = vars(self).get(name, p.default)
            if isinstance(value, np.ndarray):
                shown.append(f"{name}={literal(value)}")
            elif value is not p.empty and value != p.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _takes_weight(forward: types.FunctionType) -> bool:
    """Whether a `compute_forward` has an argument after self, prediction and target."""
    code = getattr(inspect.unwrap(forward), "__code__", forward.__code__)  # a signature takes longer than to make the class
    return code.co_argcount > 3 or bool(code.co_flags & inspect.CO_VARARGS)


def _without_weight(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The `compute_forward` of a loss of which all examples count the same."""

    @functools.wraps(forward)
    def compute_forward(self: Loss, pred: Any, target: Any, weight: Any = None) -> Any:
        if weight is not None:
            raise TypeError(
                f"{self!r}: got a weight, which it does not take; give its compute_forward a third argument weight=None"
            )
        return forward(self, pred, target)

    return compute_forward


def need_loss(owner: str, loss: object) -> None:
    """TypeError if that is no loss: nothing that is called and has a gradient then."""
    if isinstance(loss, type) or not callable(loss) or not callable(getattr(loss, "compute_backward", None)):
        hint = f"; make one first: {loss.__name__}()" if isinstance(loss, type) and issubclass(loss, Loss) else ""
        raise TypeError(f"{owner}: expected a loss, such as MeanSquaredError(), as second argument, got {brief(loss)}{hint}")
