"""How good a model is: its loss, and whatever metrics are wanted."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from pancake.arguments import aligned, brief, name_of, parts_of, size, takes, tells_how_to_call
from pancake.function import Function
from pancake.losses.loss import Loss
from pancake.memory import Array
from pancake.training.apart import apart
from pancake.training.batches import Batch, examples, lies_apart
from pancake.training.not_finite import is_finite
from pancake.training.predict import in_blocks, predict, rows_at_once
from pancake.training.stored import Stored, whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Metric: TypeAlias = Callable[..., float]

NUMBERS = 1 << 18  # predictions that a loss is called with at once, where the data are not in memory


class Measure(NamedTuple):
    """A metric, and what it takes beside predictions and targets."""

    metric: Metric
    takes_weight: bool
    takes_threshold: bool
    multilabel: bool


@tells_how_to_call
def evaluate(
    model: Function,
    loss: Any,
    x: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int | None = None,
) -> dict[str, float]:
    """The loss and the metrics of a model in evaluation mode; mode, caches and gradients stay as they were.

    Parameters
    ----------
    model : Function
    loss : Loss
        It is called once, with the predictions for all examples.
    x, y : array_like (N, ...)
        As in `fit`; `x` may be a tuple of inputs.
    sample_weight : array_like (N,) or (N, T), optional
        How much each example counts, in the loss and in the metrics.
    lengths : array_like (N,), optional
        The lengths of the sequences.
    metrics : dict of functions, optional
        As {"accuracy": accuracy}: each is called with predictions and targets; with `weight=` too if there are weights (labels
        that the loss ignores have weight 0) and it takes them; with `threshold=0.0` if the loss takes logits of two classes,
        the predictions are one column, and it has an argument of that name that is None.
    batch_size : int, optional
        As in `predict`.

    Returns
    -------
    dict
        "loss" (the sum for a loss with reduction "none"; nan if predictions, targets or weights are not finite and it
        refuses that, and of a mean in which nothing counts), and each metric by its name.

    Raises
    ------
    TypeError, ValueError
        If x, y, weights or lengths are not arrays with as many rows, or do not fit the model, the loss or a metric.
    """
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"evaluate: expected a loss, such as MeanSquaredError(), as second argument, got {brief(loss)}")
    measures = check_metrics(evaluate, metrics)
    if batch_size is not None:
        size(evaluate, batch_size=batch_size)
    data = examples("evaluate", x, y, sample_weight, lengths)
    pred = checked_predictions("evaluate", model, data, batch_size)
    with apart(loss, pred) as twin:
        value = value_for(twin, pred, data)
    return {"loss": value, **measured(measures, loss, pred, data[1], data[2])}


def checked_predictions(owner: str, model: Function, data: Batch, batch_size: int | None) -> Any:
    """What a model predicts for a data set; if it takes the targets and not the inputs, an error that says so."""
    try:
        return predictions(model, data, batch_size)
    except (TypeError, ValueError) as error:
        if isinstance(data[0], tuple):
            raise
        x, y = (str(("N", *part.shape[1:])).replace("'", "") for part in data[:2])
        if x != y and _takes(model, data[1]):
            raise ValueError(
                f"{owner}: x {x} and y {y} look swapped, since the model takes y and not x; pass the inputs first ({error})"
            ) from error
        raise


def _takes(model: Function, x: Array) -> bool:
    try:
        predictions(model, (x, None, None, None))
    except (TypeError, ValueError):
        return False
    return True


def predictions(model: Function, data: Batch, batch_size: int | None = None) -> Any:
    """What a model predicts for a data set, of which the inputs may be `Rows`."""
    x, _, _, lengths = data
    parts = parts_of(x)

    def compute(x: Any, lengths: Any) -> Any:
        return predict(model, x, batch_size, lengths)

    if not any(map(lies_apart, parts)):
        return compute(x, lengths)
    return in_blocks(compute, x, len(parts[0]), batch_size or rows_at_once(parts), lengths)


def value_for(loss: Any, pred: Any, data: Batch) -> float:
    """What a loss says to the predictions for a data set; if that is not in memory, block by block, joined as in an epoch.

    A mean in which nothing counts is nan: 0, as the loss has it for its gradient, would be the best that there is.
    """
    x, y, weight, _ = data
    averaged = getattr(loss, "reduction", "mean") == "mean"
    if averaged and weight is not None and not whole(weight).any():  # which a mean over entries counts all the same
        return math.nan
    if not any(isinstance(getattr(part, "array", part), Stored) for part in parts_of(x)) or np.ndim(pred) == 0:
        value = value_of(loss, pred, y, weight)
        return math.nan if averaged and getattr(loss, "divisor", None) == 0 else value
    size = max(1, NUMBERS // (math.prod(pred.shape[1:]) or 1))
    total = counted = 0.0
    for start in range(0, len(pred), size):
        rows = slice(start, start + size)
        value = value_of(loss, pred[rows], y[rows], None if weight is None else weight[rows])
        count = getattr(loss, "divisor", None) if averaged else 1.0
        count = len(pred[rows]) if count is None else count
        counted += count
        total += value * count if count else 0.0
    if averaged and isinstance(loss, Loss):
        loss.divisor = counted
    if averaged and not counted:
        return math.nan
    return total / counted if averaged else total


def value_of(loss: Any, pred: Any, target: Any, weight: Any) -> float:
    """What a loss says, as a float; nan if it refuses what is not finite."""
    target, weight = whole(target), whole(weight)
    try:
        objective = loss(pred, target) if weight is None else loss(pred, target, weight)
    except ValueError:
        if is_finite((pred, target, weight)):
            raise
        return math.nan  # what a loss says to nan is not what the user needs to know
    value = np.asarray(objective)
    if value.dtype.kind not in "biuf":
        raise TypeError(f"expected the loss {loss!r} to return a number, got {objective!r}"[:200])
    return float(np.sum(value))


# --- metrics, as they are passed to `fit` and `evaluate` ---


def check_metrics(owner: object, metrics: Mapping[str, Metric] | None) -> dict[str, Measure]:
    """The metrics by their names, refused if they are not functions with names of their own."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping) or not all(isinstance(k, str) and callable(f) for k, f in metrics.items()):
        raise TypeError(f"{name_of(owner)}: expected metrics as a dict of functions, {{'accuracy': accuracy}}, got {metrics!r}")
    for name, metric in metrics.items():
        if not takes(metric, 2):
            raise TypeError(f"{name_of(owner)}: expected the metric {name!r} to take predictions and targets, got {metric!r}")
        if name in ("epoch", "loss", "lr", "seconds") or name.startswith("val_"):
            raise ValueError(f"{name_of(owner)}: the name {name!r} is taken; give this metric another")
    return {name: _measure(metric) for name, metric in metrics.items()}


def _measure(metric: Metric) -> Measure:
    try:
        parameters = inspect.signature(metric).parameters
    except (TypeError, ValueError):  # as of functions written in C
        return Measure(metric, False, False, False)
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return Measure(metric, "weight" in defaults, defaults.get("threshold", ...) is None, defaults.get("multilabel") is True)


def measured(measures: Mapping[str, Measure], loss: Any, pred: Any, target: Any, weight: Any) -> dict[str, float]:
    """The value of each metric."""
    if not measures:
        return {}
    target, weight = whole(target), whole(weight)
    ignored = getattr(loss, "ignore_index", None)
    if ignored is not None and target.dtype.kind in "biu":
        counted = target != ignored
        weight = counted.astype(float) if weight is None else aligned(weight, counted.ndim) * counted
    # the loss knows that these are logits of two classes each, which a metric can only guess
    logits = bool(getattr(loss, "from_logits", False))
    column = np.ndim(pred) < 2 or np.shape(pred)[-1] == 1
    values = {}
    for name, (metric, takes_weight, takes_threshold, multilabel) in measures.items():
        options = {"weight": weight} if takes_weight and weight is not None else {}
        if takes_threshold and logits and (column or multilabel):
            options["threshold"] = 0.0
        value = np.asarray(metric(pred, target, **options))
        if value.size != 1 or value.dtype.kind not in "biuf":
            raise TypeError(f"the metric {name!r}: expected it to return a number, got {value!r}"[:200])
        values[name] = float(value.item())
    return values


class Outputs:
    """Predictions, targets and weights of the batches of an epoch, copied, since nobody promises to leave them as they are."""

    def __init__(self) -> None:
        self._batches: list[tuple[Array, Array, Any]] = []

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        """Note a batch."""
        self._batches.append((np.array(pred), np.array(target), None if weight is None else np.array(weight)))

    def joined(self) -> tuple[Any, Any, Any]:
        """Those of the whole epoch."""
        if len(self._batches) == 1:
            return self._batches[0]
        preds, targets, weights = zip(*self._batches, strict=True)
        weight = _joined_weights(weights, targets)
        self._batches = []
        pred = _joined(preds)
        del preds  # of a long epoch all of this is large
        return pred, _joined(targets), weight


def _joined(parts: Sequence[Array]) -> Array:
    try:
        return np.concatenate(parts)
    except ValueError as error:
        raise ValueError(f"fit: metrics need batches that fit together in all axes but the first: {error}") from None


def _joined_weights(weights: Sequence[Any], targets: Sequence[Array]) -> Array | None:
    """The weights of all batches, 1 for those that have none; None if none has any."""
    ndim = max((weight.ndim for weight in weights if weight is not None), default=0)
    if not ndim:
        return None
    shapes = [target.shape[:ndim] for target in targets]
    filled = [
        np.ones(shape) if weight is None else np.broadcast_to(aligned(weight, ndim), shape)
        for weight, shape in zip(weights, shapes, strict=True)
    ]
    return _joined(filled)
