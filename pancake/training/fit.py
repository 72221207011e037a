"""`fit`: the training loop of four lines, and what people put around it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite, nan
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from pancake.arguments import Rng, number, size
from pancake.function import Function
from pancake.optimizers.checks import check_trains
from pancake.optimizers.clipping import clip_grad_norm
from pancake.optimizers.optimizer import Optimizer
from pancake.recurrent.unrolled import Unrolled
from pancake.training.batches import Batch, Cut, Given, examples, held_out
from pancake.training.early_stopping import EarlyStopping, Weights
from pancake.training.history import History
from pancake.training.metrics import Metric, check_metrics, evaluate, measured
from pancake.training.progress import Progress
from pancake.tree import named_parts


class NonFiniteError(FloatingPointError, ValueError):
    """The loss, or a weight, has become nan or infinite in `fit`."""


class State(NamedTuple):
    """What a callback is called with, after each epoch.

    Attributes
    ----------
    model, loss, optimizer
        As they were given to `fit`.
    history : History
        With the figures of this epoch at the end of each list.
    epoch : int
        How many epochs this training has had, those of earlier calls included.
    """

    model: Function
    loss: Any
    optimizer: Optimizer
    history: History
    epoch: int


def fit(
    model: Function,
    loss: Any,
    optimizer: Optimizer,
    x: Any,
    y: Any = None,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    shuffle: bool = True,
    rng: Rng = None,
    sample_weight: Any = None,
    lengths: Any = None,
    validation: Any = None,
    metrics: Mapping[str, Metric] | None = None,
    schedule: Callable[[int], float] | None = None,
    early_stopping: EarlyStopping | None = None,
    callbacks: Iterable[Callable[[State], object]] = (),
    clip_norm: float | None = None,
    progress: bool | None = None,
) -> History:
    """Train a model: the usual loop, and what people put around it.

    ::

        for x, y in batches:
            optimizer.zero_grad()
            objective = loss(model(x), y)
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()

    Once for each epoch, with the model in training mode. Where this function does not do what you need, write that loop.

    A training is what one optimizer does: its steps and its history are counted on by a second call with it, also after
    `save` and `load`. Two calls of 10 epochs give the same weights and figures, bit for bit, as one of 20.

    Parameters
    ----------
    model : Function
    loss : Loss
        Anything that is called with predictions and targets (and with weights, if there are any), returns a number, and then
        has the gradient in `compute_backward()`.
    optimizer : Optimizer
        Made for this model.
    x, y : array_like (N, ...)
        Inputs and targets, a row for each example. Or, without `y`, batches: any iterable of tuples (x, y), (x, y, weight) or
        (x, y, weight, lengths), where None stands for no weight. A generator lasts one epoch; for more pass a list, or a
        function that makes a new iterable for each epoch. `batch_size` and `shuffle` are then up to you.
    epochs : int
        How often to go through all examples, at least 1.
    batch_size : int
        Examples of a step; the last batch of an epoch may have fewer.
    shuffle : bool
        Whether to go through the examples in random order, anew in each epoch.
    rng : None, int or numpy.random.Generator
        Where the order comes from. Only the first call of a training looks at it; later ones go on with the same generator.
    sample_weight : array_like (N,) or (N, T), optional
        How much each example counts in the loss.
    lengths : array_like (N,), optional
        The lengths of the sequences, passed on as `model(x, lengths=...)`.
    validation : (x, y), (x, y, weight), (x, y, weight, lengths) or float, optional
        What to measure the model with, in evaluation mode, after each epoch. A fraction between 0 and 1 holds out that part
        of the examples: always the same ones for the same N, scattered at random (for a series in time, pass the end of
        it yourself).
    metrics : dict of functions, optional
        As {"accuracy": accuracy}: each is called with predictions and targets once for each epoch, "accuracy" with the
        predictions that were made in training, and "val_accuracy" with those for the validation examples.
    schedule : callable, optional
        The learning rate for each step, as a function of `optimizer.steps`, which counts from 0.
    early_stopping : EarlyStopping, optional
    callbacks : iterable of functions
        Each is called with a `State` after each epoch. If one returns True, the training ends.
    clip_norm : float, optional
        The longest that the gradient of a step may be, see `clip_grad_norm`.
    progress : bool, optional
        False shows nothing. Otherwise a bar (if tqdm is installed) on a terminal or in a notebook, and elsewhere about ten
        lines of text.

    Returns
    -------
    History
        Also in `optimizer.history`. For each epoch: "loss", the mean over the examples as they were seen (the sum, for a
        loss with another reduction than "mean"); the metrics; "val_loss" and the metrics with "val_"; "lr" of the last step;
        "seconds". After Ctrl-C the training ends as if its epochs were over, and `interrupted` is True; the epoch that was
        cut short is not noted.

    Raises
    ------
    NonFiniteError
        A ValueError and FloatingPointError: the loss of a batch is nan or infinite, or a weight after an epoch. The message
        names epoch, batch, and the first Function whose output is not finite. The model has the weights from the start of
        that epoch, or the best ones with early stopping.
    TypeError, ValueError
        If arguments do not fit together. Nothing has changed then.
    """
    epochs, batch_size = size(fit, epochs=epochs), size(fit, batch_size=batch_size)
    clip_norm = None if clip_norm is None else number(fit, "clip_norm", clip_norm)
    metrics = check_metrics(fit, metrics)
    callbacks = [callbacks] if callable(callbacks) else list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    _check(model, loss, optimizer, schedule, early_stopping, callbacks)
    data, held = _split(x, y, sample_weight, lengths, validation)
    batches = Given(x, epochs) if data is None else Cut(data, batch_size)
    names = ["loss", *metrics]
    if held is not None:
        names += ["val_" + name for name in names]
    history: History = History() if optimizer.history is None else optimizer.history
    if shuffle and isinstance(batches, Cut):
        if history.rng is None:
            history.rng = np.random.default_rng(rng)
        batches.rng = history.rng
    if early_stopping is not None:
        early_stopping.begin(model, names)

    optimizer.history = history
    history.interrupted = False
    first, last = history.epochs + 1, history.epochs + epochs
    bar = Progress(progress, first, last, batches.count)
    tick = bar.batch
    averaged = getattr(loss, "reduction", "mean") == "mean"
    weights = Weights(model)
    epoch = first
    try:
        with _training(model), _quiet():
            for epoch in range(first, last + 1):
                start = time.perf_counter()
                weights.keep()
                total, seen = 0.0, 0
                outputs: list[tuple[Any, Any]] = []
                for batch, (x, y, weight, lengths) in enumerate(batches, start=1):
                    if schedule is not None:
                        optimizer.lr = schedule(optimizer.steps)
                    optimizer.zero_grad()
                    pred = model.compute_forward(x) if lengths is None else model(x, lengths=lengths)
                    try:
                        objective = loss(pred, y) if weight is None else loss(pred, y, weight)
                    except ValueError:
                        if _is_finite((pred, y, weight)):
                            raise
                        objective = nan  # what a loss says to nan is not what the user needs to know
                    if objective.__class__ is not float:
                        objective = float(np.sum(objective))
                    if not isfinite(objective):
                        reason = _reason(model, x, y, weight, lengths)
                        raise NonFiniteError(f"the loss is {objective} in epoch {epoch}, batch {batch}: {reason}")
                    model.accumulate_grads(loss.compute_backward())
                    if clip_norm is not None:
                        clip_grad_norm(model, clip_norm)
                    optimizer.step()

                    seen += (n := len(x))
                    total += objective * n if averaged else objective
                    if metrics:
                        outputs.append((pred, y))
                    if tick is not None:
                        tick()
                spoilt = weights.not_finite()
                if spoilt is not None:
                    raise NonFiniteError(f"the parameter {spoilt} has nan or inf in it after epoch {epoch}")

                figures = {"loss": total / seen if averaged else total, **measured(metrics, *_joined(outputs))}
                if held is not None:
                    x, y, weight, lengths = held
                    measures = evaluate(model, loss, x, y, sample_weight=weight, lengths=lengths, metrics=metrics)
                    figures.update(("val_" + name, value) for name, value in measures.items())
                figures.update(lr=optimizer.lr, seconds=time.perf_counter() - start)
                history.append(figures)
                bar.epoch(epoch, figures)
                over = early_stopping is not None and early_stopping.is_over(epoch, history)
                if callbacks:
                    state = State(model, loss, optimizer, history, epoch)
                    answers = [callback(state) for callback in callbacks]
                    # only True ends it, not just anything that a lambda happens to return
                    over = over or any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers)
                    _train(model)  # a callback that draws the model, say, may have called eval()
                if over:
                    bar.say(f"fit: stopped after epoch {epoch}")
                    break
    except KeyboardInterrupt:
        history.interrupted = True
        bar.say(f"fit: interrupted in epoch {epoch}")
    except NonFiniteError as error:
        weights.give_back()
        kept = "from before that epoch" if early_stopping is None or not early_stopping.best_epoch else "of the best epoch"
        raise NonFiniteError(
            f"fit: {error}. The model has the weights {kept}. A smaller lr or clip_norm= may help; "
            "make a new optimizer to go on, since the state of this one may be spoilt"
        ) from None
    finally:
        if early_stopping is not None:
            early_stopping.give_back()
        bar.close()
    return history


def _check(
    model: object,
    loss: object,
    optimizer: object,
    schedule: object,
    early_stopping: object,
    callbacks: Sequence[object],
) -> None:
    if not isinstance(model, Function):
        raise TypeError(f"fit: expected a Function as the model, got {model!r}")
    if isinstance(loss, type) or not callable(loss) or not callable(getattr(loss, "compute_backward", None)):
        raise TypeError(f"fit: expected a loss, such as MeanSquaredError(), as second argument, got {loss!r}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit: expected an optimizer, such as Adam(model), as third argument, got {optimizer!r}")
    check_trains("fit", optimizer, model)
    if not (early_stopping is None or isinstance(early_stopping, EarlyStopping)):
        raise TypeError(f"fit: expected an EarlyStopping or None as early_stopping, got {early_stopping!r}")
    for name, function in [("schedule", schedule), *(("callbacks", callback) for callback in callbacks)]:
        if not (callable(function) or (name == "schedule" and function is None)):
            raise TypeError(f"fit: expected functions as {name}, got {function!r}")


def _split(x: Any, y: Any, sample_weight: Any, lengths: Any, validation: Any) -> tuple[Batch | None, Batch | None]:
    """The arrays to train with, if they are arrays, and to validate with, if there are any."""
    is_pair = isinstance(validation, (tuple, list))
    held = None
    if is_pair:
        if not 2 <= len(validation) <= 4:
            raise ValueError(f"fit: expected validation to be (x, y[, weight[, lengths]]), got {len(validation)} parts")
        held = examples("fit: validation", *validation)
    if y is None:
        for name, value in (("sample_weight", sample_weight), ("lengths", lengths), ("validation", validation)):
            if value is not None and not (name == "validation" and is_pair):
                hint = "(x, y)" if name == "validation" else "in each batch, (x, y, weight, lengths)"
                raise ValueError(f"fit: {name} needs arrays x and y; with batches, give it as {hint}")
        return None, held
    data = examples("fit", x, y, sample_weight, lengths)
    if validation is None or is_pair:
        return data, held
    return held_out(data, validation)


def _joined(outputs: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """The predictions of all batches, and the targets."""
    if not outputs:
        return None, None
    try:
        pred, target = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    except ValueError as error:
        raise ValueError(f"fit: metrics need batches that fit together in all axes but the first: {error}") from None
    return pred, target


@contextmanager
def _training(model: Function) -> Iterator[None]:
    """The model in training mode, and afterwards as it was."""
    before = [(vars(function), vars(function).get("training")) for function in model.walk()]
    _train(model)
    try:
        yield
    finally:
        for attributes, mode in before:
            if mode is None:
                attributes.pop("training", None)
            else:
                attributes["training"] = mode


def _train(model: Function) -> None:
    """Switch to training mode, if need be: a new attribute makes all others of a Function slower, by 3 % of a small step."""
    if not all(function.training for function in model.walk()):
        model.train()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of NumPy about overflow and the like, since `fit` looks at the loss; what is set to raise still does."""
    with np.errstate(**{kind: "ignore" for kind, how in np.geterr().items() if how == "warn"}):  # type: ignore[arg-type]
        yield


def _reason(model: Function, x: Any, y: Any, weight: Any, lengths: Any) -> str:
    """Where the loss of this batch stopped being finite."""
    for name, array in (("inputs", x), ("targets", y), ("weights", weight)):
        if not _is_finite(array):
            return f"the {name} of that batch have nan or inf in them"
    found: list[tuple[Any, Any, int | None]] = []

    def watch(frame: FrameType, event: str, output: Any) -> None:
        if event == "return" and frame.f_code.co_name == "compute_forward" and not found and not _is_finite(output):
            owner = frame.f_locals.get(frame.f_code.co_varnames[0])
            unrolled, time = _time_step(frame)
            if isinstance(owner, Function) or unrolled is not None:  # a step of a library cell is no Function
                found.append((owner if isinstance(owner, Function) else unrolled, output, time))

    # Every Function, also one that a composite or a user's class calls in its own way, returns from a compute_forward, if it
    # is not part of a stack that goes by a plan.
    profiler = sys.getprofile()
    sys.setprofile(watch)
    try:
        model(x) if lengths is None else model(x, lengths=lengths)
    finally:
        sys.setprofile(profiler)
    if not found:
        return "all outputs are finite, so it is the loss itself that overflows"
    function, output, time = found[0]
    path = {id(part): name for name, part in named_parts(model)}.get(id(function))
    where = f"{function!r}, part {path} of the model" if path else repr(function)
    if time is None and isinstance(output, np.ndarray) and output.ndim > 2:  # (B, T, ...)
        time = int(np.argwhere(~np.isfinite(output))[:, 1].min())
    if time is not None:
        where += f", at time step {time}"
    return f"the first Function whose output is not finite is {where}"


def _time_step(frame: FrameType | None) -> tuple[Unrolled | None, int | None]:
    """The innermost `Unrolled` that is being run below a frame, and its time step."""
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Unrolled) and "t" in frame.f_locals:
            return owner, frame.f_locals["t"]
        frame = frame.f_back
    return None, None


def _is_finite(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_finite, value))
    return not isinstance(value, np.ndarray) or value.dtype.kind != "f" or bool(np.isfinite(value).all())
