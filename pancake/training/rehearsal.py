"""What is found out before the first step: nothing has changed then."""

from __future__ import annotations

import contextlib
import copy
import itertools
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pancake.arguments import parts_of
from pancake.fast.switch import off
from pancake.function import Function
from pancake.functions.containers import Identity, Sequential
from pancake.functions.shapes import Flatten, Reshape
from pancake.memory import Array
from pancake.origin import is_own
from pancake.training.arrays import counting, first_not_finite, place
from pancake.training.batches import Batch, taken
from pancake.training.evaluate import Measure, checked_predictions, measured, value_of
from pancake.training.not_finite import is_finite
from pancake.training.stored import Sparse, Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

RAW = ("Linear", "MatMul", "AddBias")  # whose outputs are any numbers

MANY = 1 << 20  # numbers of which it takes too long to look for all values
FEW = 64  # values, each of which is tried


def check_numbers(owner: str, model: Function, data: Batch, whole: bool = True) -> None:
    """Refuse inputs, targets and weights that are not finite, and of the `whole` data weights that are all 0; name the place.

    What has no weight, and inputs past the end of their sequence, may be anything. So may the inputs of a model with a
    Function of the user's in it, which may know what to do with nan.
    """
    for name, index, array in not_finite(data):
        if name.startswith("x") and not all(map(is_own, model.walk())):
            continue
        finite = f"np.isfinite({name})" if array.ndim == 1 else f"np.isfinite({name}).reshape(len({name}), -1).all(axis=1)"
        raise ValueError(
            f"{owner}: expected finite numbers in {name}, got {place(array, index)}; keep = {finite} tells which rows to keep"
        )
    weight = data[2]
    if weight is None:
        return
    if weight.dtype.kind in "if" and (weight < 0).any():
        row, *rest = (int(i) for i in np.argwhere(weight < 0)[0])
        raise ValueError(f"{owner}: expected weights of at least 0 in sample_weight, got {place(weight, (row, *rest))}")
    if whole and not weight.any():
        raise ValueError(f"{owner}: every weight in sample_weight is 0, so nothing counts")


def not_finite(data: Batch) -> list[tuple[str, tuple[int, ...], Array]]:
    """Which of x, y and the weights have a nan or an infinite number that counts, and where the first one is."""
    x, y, weight, lengths = data
    examples = None if weight is None else weight.reshape(len(weight), -1).any(axis=1)
    several = isinstance(x, tuple)
    inputs = []
    for i, part in enumerate(parts_of(x)):
        has_time = part.ndim > (2 if several else 1)  # of several parts only some may be sequences
        counted = counting(examples, lengths if has_time else None, part.ndim, part.shape[1] if has_time else 0)
        inputs.append((f"x[{i}]" if several else "x", part, counted))
    found = []
    for name, array, counted in (
        ("sample_weight", weight, None),
        *inputs,
        ("y", y, counting(weight, None, y.ndim, 0)),
    ):
        array = array.source if isinstance(array, Sparse) else array
        # what is not in memory is not read for this: a batch of it is looked at when its loss is not finite
        index = None if array is None or isinstance(array, Stored) else first_not_finite(array, counted)
        if index is not None:
            found.append((name, index, array))
    return found


def rehearse(
    owner: str,
    model: Function,
    loss: Any,
    data: Batch,
    size: int,
    measures: dict[str, Measure],
    like: tuple[Batch, Any] | None = None,
) -> Any:
    """Run some telling rows through model, loss and pancake's own metrics, in evaluation mode; return the predictions.

    Parameters
    ----------
    owner : str
        Begins the messages.
    size : int
        Rows of a batch; some models only take batches of one size.
    like : (data, predictions), optional
        What has been rehearsed before. If the inputs are of the same kind, these predictions do for the loss too.

    Raises
    ------
    TypeError, ValueError
        What model, loss or metric say to data that they cannot take.
    """
    some = taken(data, telling_rows(data, size))
    loss = copy.copy(loss)  # whose compute_backward still refers to the latest call
    with np.errstate(all="ignore"):
        if like is not None and np.ndim(like[1]) and _alike(like[0], data):
            pred = np.repeat(like[1][:1], len(some[1]), axis=0)
        else:
            pred = checked_predictions(owner, model, some, size)
        with off():  # by its page: a program would be written for these rows alone
            value_of(loss, pred, some[1], some[2])
        if is_finite(pred) and len(some[1]) > 1:
            own = {name: m for name, m in measures.items() if is_own(getattr(m.metric, "func", m.metric))}
            measured(own, loss, pred, some[1], some[2])
    return pred


@contextlib.contextmanager
def said_of(owner: str) -> Iterator[None]:
    """Let what is refused inside begin with this: which data a layer or a loss speaks of."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if type(error) in (TypeError, ValueError) and not str(error).startswith(owner):
            error.args = (f"{owner}: {error}",)
        raise


def _alike(a: Batch, b: Batch) -> bool:
    """Whether a model that takes the inputs of the one data set takes those of the other."""
    kinds = [[(part.shape[1:], part.dtype.kind) for part in parts_of(data[0])] for data in (a, b)]
    return kinds[0] == kinds[1] and all(kind == "f" for _, kind in kinds[0]) and a[3] is b[3] is None


def refusal(model: Function, batch: Batch) -> ValueError | None:
    """The error with which a model refuses to be trained with a batch of one, if it does; tried with a copy.

    Of the library's layers none but `BatchNorm` may, so others are not asked: a method put on a part is in the copy, too.
    """
    parts = list(model.walk())
    if all(map(is_own, parts)) and not any(cls.__name__ == "BatchNorm" for part in parts for cls in type(part).__mro__):
        return None
    alone = copy.deepcopy(model)
    if not alone.training:
        alone.train()
    try:
        with np.errstate(all="ignore"):
            alone(batch[0]) if batch[3] is None else alone(batch[0], lengths=batch[3])
    except ValueError as error:
        return error
    return None


def telling_rows(data: Batch, size: int) -> NDArray[np.intp]:
    """The numbers of rows that show what there is: extremes, and each value where there are few. Whole batches, if there are."""
    x, *others = data
    telling = {0}
    for array in [*others, *(part for part in parts_of(x) if part.dtype.kind != "f")]:  # whole numbers may be indices
        if not isinstance(array, np.ndarray) or not array.size:
            continue
        width = array[0].size
        places = [array.argmin(), array.argmax()]
        if array.ndim > 1:  # rows of probabilities, and weights of steps
            sums = array.reshape(len(array), -1).sum(axis=1, dtype=float)
            places += [sums.argmin() * width, sums.argmax() * width]
        places += _first_of_each(array.reshape(-1)) if array.size <= MANY else []
        telling.update(int(place) // width for place in places)
    rest = (row for row in range(len(data[1])) if row not in telling)
    telling.update(itertools.islice(rest, min(-len(telling) % size, len(data[1]))))
    return np.array(sorted(telling), np.intp)


def _first_of_each(numbers: Array) -> list[Any]:
    """Where each value is for the first time; nothing if there are more than a few, as is found out from some of the numbers."""
    for some in (numbers[: 16 * FEW], numbers):
        ordered = np.sort(some)
        new = ordered[1:] != ordered[:-1]  # np.unique would load numpy.ma, which takes longer than a short training
        if np.count_nonzero(new) >= FEW:
            return []
    return [(numbers == value).argmax() for value in [ordered[0], *ordered[1:][new]]]


# --- the end of a stack and its loss ---


def check_end(owner: str, model: Function, loss: Any, predictions: Any) -> None:
    """Refuse a stack whose end makes no sense with the loss, and warn of one that trains, but badly.

    The predictions are of some rows; None if there are none.
    """
    pred = None if predictions is None or not is_finite(predictions) else np.asarray(predictions)
    kinds = {cls.__name__ for cls in type(loss).__mro__ if is_own(cls)}
    last = _last(model)
    end = type(last).__name__ if is_own(last) else ""
    classes = 0 if pred is None else pred.shape[-1] if pred.ndim else 1
    if end in ("Softmax", "LogSoftmax") and pred is not None and pred.shape[last.axis] == 1:
        raise ValueError(
            f"{owner}: the model ends with {last!r} over one output, which is always {'1' if end == 'Softmax' else '0'}; "
            "end with Sigmoid(), or with two outputs"
        )
    if "CrossEntropy" in kinds and classes == 1:
        raise ValueError(
            f"{owner}: {loss!r} of one output is always 0; for two classes take "
            "BinaryCrossEntropy(from_logits=True), or a model with two outputs"
        )
    if kinds & {"NegativeLogLikelihood", "KLDivergence"} and (
        end in (*RAW, "Softmax") or not (pred is None or _log_probabilities(pred))
    ):
        raise ValueError(
            f"{owner}: {loss!r} takes logarithms of probabilities, and got other numbers from {last!r}, of which it can be as "
            "low as it likes; end the model with LogSoftmax(), or take CrossEntropy() for logits"
        )
    advice = ""
    if "CrossEntropy" in kinds and end in ("Softmax", "Sigmoid"):
        advice = "takes logits and has the softmax in it; leave it out, or take LogSoftmax() and NegativeLogLikelihood()"
    elif "BinaryCrossEntropy" in kinds and loss.from_logits and end in ("Sigmoid", "Softmax"):
        advice = "takes logits and has the sigmoid in it; leave it out, or take BinaryCrossEntropy()"
    elif "BinaryCrossEntropy" in kinds and not loss.from_logits and end in (*RAW, "Tanh", "HardTanh", "Softsign", "LogSoftmax"):
        advice = "takes probabilities, from 0 to 1; end with Sigmoid(), or take BinaryCrossEntropy(from_logits=True)"
    elif "PoissonNLL" in kinds and end in ("Exp", "Softplus", "ReLU", "Sigmoid"):
        advice = "takes the logarithm of the rate and has the exponential in it; leave it out"
    if advice:
        warnings.warn(f"{owner}: the model ends with {last!r}, and {loss!r} {advice}", UserWarning, stacklevel=4)


def _last(model: Function) -> Function:
    """The last part of a stack that changes numbers."""
    if isinstance(model, Sequential) and is_own(model):
        for part in reversed(model.functions):
            if not isinstance(part, (Identity, Flatten, Reshape)):
                return _last(part)
    return model


def _log_probabilities(pred: Array) -> bool:
    """Whether exp(p) sums to 1 at most over the last axis."""
    return bool((np.exp(pred.astype(np.float64)).sum(axis=-1) < 1.01).all())
