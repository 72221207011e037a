"""`fit`: the training loop of four lines, and what people put around it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Never

import numpy as np

from pancake.arguments import Rng, brief, flag, generator, number, refuse_unknown_arguments, size, takes, tells_how_to_call
from pancake.function import Function
from pancake.optimizers.optimizer import Optimizer
from pancake.optimizers.ranks import Ranks
from pancake.origin import is_own
from pancake.training.arrays import place
from pancake.training.batches import Batch, Cut, Given, examples, rows_of, taken, without_absent
from pancake.training.early_stopping import EarlyStopping
from pancake.training.evaluate import Metric, check_metrics
from pancake.training.history import History
from pancake.training.holdout import held_out
from pancake.training.loop import Options, State, Training
from pancake.training.progress import Progress
from pancake.training.rehearsal import check_end, check_numbers, not_finite, refusal, rehearse, said_of
from pancake.training.stored import whole as read_whole
from pancake.training.together import agreed, settings
from pancake.training.train_step import check_parts


@tells_how_to_call
def fit(
    model: Function,
    loss: Any,
    optimizer: Any,
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
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    **unknown: Never,
) -> History:
    """Train a model: the usual loop, and what people put around it.

    ::

        for x, y in batches:
            optimizer.zero_grad()
            objective = loss(model(x), y)
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()

    Once for each epoch, with the model in training mode; but a part that you have put into evaluation mode by itself stays
    there, and what the optimizer was not made for is not trained. Where this function does not do what you need, write that
    loop.

    A training is what one optimizer does: its steps and its history are counted on by a second call with it, also after
    `save` and `load`. Two calls of 10 epochs give the same weights and figures, bit for bit, as one of 20.

    Parameters
    ----------
    model : Function
    loss : Loss
        Anything that is called with predictions and targets (and with weights, if there are any), returns a number, and then
        has the gradient in `compute_backward()`. If that number is a mean, and not over the rows of the batch, an attribute
        `divisor` tells after each call by what it was divided, 0 if nothing counts; the mean over an epoch needs that.
    optimizer : Optimizer
        Made for this model or some parts of it; the others are as if frozen: their gradients stay as they are, and are no part
        of the norm that is clipped. Anything with `zero_grad()` and `step()` will do.
    x, y : array_like (N, ...)
        Inputs and targets, a row for each example; data frames and series of numbers too. Of what lies on a disk or is not
        yet computed (`np.memmap`, zarr, Dask, h5py) batches are read when they are needed; inputs may be sparse matrices. A
        tuple of inputs, (x1, x2), goes as one to a model that begins with a container of as many branches. Or, without `y`,
        batches: any iterable of tuples (x, y), (x, y, weight) or (x, y, weight, lengths), where None stands for no weight. A
        generator lasts one epoch; for more pass a list, or a function that makes a new iterable for each epoch. `batch_size`
        and `shuffle` are then up to you. What a batch was may be overwritten once the next one is asked for.
    epochs : int
        How often to go through all examples, at least 1.
    batch_size : int
        Examples of a step; the last batch of an epoch may have fewer. Where a single one is left, of which a `BatchNorm` can
        make nothing, it joins the batch before.
    shuffle : bool
        Whether to go through the examples in random order, anew in each epoch. Of large arrays in chunks, as zarr has them, the
        chunks are taken in random order, and the rows of some of them shuffled together.
    rng : None, int or numpy.random.Generator
        Where the order comes from. Only the first call of a training looks at it; later ones go on with the same generator.
    sample_weight : array_like (N,) or (N, T), optional
        How much each example counts, in the loss and in the metrics. An example without weight is as if absent, whatever
        stands in it; a batch of them is no step.
    lengths : array_like (N,), optional
        The lengths of the sequences, passed on as `model(x, lengths=...)`.
    validation : (x, y), (x, y, weight), (x, y, weight, lengths) or float, optional
        What to measure the model with, in evaluation mode, after each epoch. A fraction between 0 and 1 holds out that part
        of the examples: always the same ones for the same data, scattered at random (for a series in time, pass the end of
        it yourself), and of classes their share each. Nothing is copied of large arrays.
    metrics : dict of functions, optional
        As {"accuracy": accuracy}: each is called with predictions and targets once for each epoch, "accuracy" with the
        predictions that were made in training, and "val_accuracy" with those for the validation examples. What else they are
        given is described in `evaluate`.
    schedule : callable, optional
        The learning rate for each step, as a function of `optimizer.steps`, which counts from 0.
    early_stopping : EarlyStopping, optional
    callbacks : iterable of functions
        Each is called with a `State` after each epoch. If one returns True, the training ends. It may exchange
        parts of the model.
    clip_norm : float, optional
        The longest that the gradient of a step may be, see `clip_grad_norm`.
    checkpoint : str or path-like, optional
        A file to which `save` writes model, optimizer and history after each epoch, or with early stopping after each that is
        the best so far. It is always whole. `load` it to go on.
    progress : bool, optional
        False shows nothing. Otherwise a bar (if tqdm is installed) on a terminal or in a notebook, and elsewhere about ten
        lines of text.

    Returns
    -------
    History
        Also in `optimizer.history`. For each epoch: "loss", the mean over what was seen (the sum, for a loss with another
        reduction than "mean"); the metrics; "val_loss" and the metrics with "val_"; "lr" of the last step; "seconds". After
        Ctrl-C the training ends as if its epochs were over, and `interrupted` is True; the steps of the epoch that was cut
        short have been made, but it is not noted. A step is made whole or not at all. Where nothing counts in an epoch, or in
        validation, as where all labels are ignored, the loss and the metrics are nan.

    Raises
    ------
    NonFiniteError
        A ValueError and FloatingPointError: the loss of a batch is nan or infinite, or a weight after an epoch. The message
        names epoch, batch, and the first Function whose output is not finite. Model and optimizer are as they were at the
        start of that epoch; with early stopping the model has the best weights.
    TypeError, ValueError
        If arguments do not fit together. Nothing has changed then: a few rows have been through model, loss and metrics
        before the first step. (Batches that come from a function or a generator are checked as they come.)

    Warns
    -----
    UserWarning
        If the end of the model does not fit the loss, such as `Softmax` before `CrossEntropy`; or there is nan or inf in the
        validation data, of which "val_loss" is nan then; or the best weights that early stopping has kept are those of parts that
        have been exchanged since for others of other shapes: it goes on from there as if anew.
    """
    ranks: Ranks | None = getattr(optimizer, "ranks", None)
    # an interrupt may leave an errstate of a layer as it was inside; those here put back what there was
    with np.errstate(), agreed("fit", ranks) as facts:
        refuse_unknown_arguments(fit, unknown)
        epochs, batch_size = size(fit, epochs=epochs), size(fit, batch_size=batch_size)
        clip_norm = None if clip_norm is None else number(fit, "clip_norm", clip_norm)
        shuffle, progress = flag(fit, "shuffle", shuffle), None if progress is None else flag(fit, "progress", progress)
        measures = check_metrics(fit, metrics)
        callbacks = [callbacks] if callable(callbacks) else list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
        _check(model, loss, optimizer, schedule, early_stopping, callbacks)
        data = _data(x, y, sample_weight, lengths, validation)
        batches = Given(x, epochs) if data.train is None else Cut(data.train, batch_size)
        first, pred = data.whole, None
        if isinstance(batches, Cut) and data.whole is not None:
            check_numbers("fit", model, data.whole)
            _check_both_count(data, validation)
            pred = rehearse("fit", model, loss, data.whole, batch_size, measures)
            batches.joined = _needs_two(model, batches)
        elif isinstance(batches, Given):
            first, pred = _rehearse_batches(model, loss, batches.known(), measures)
        finite = True
        if data.given is not None:
            if data.given[2] is not None and not data.given[2].any():
                raise ValueError("fit: every weight in validation is 0, so nothing counts")
            like = None if first is None else (first, pred)
            with said_of("fit: validation"):
                held = rehearse("fit: validation", model, loss, data.given, batch_size, measures, like)
            finite = _is_finite(model, data.given)
            pred = held if pred is None else pred
        check_end("fit", model, loss, pred)
        save = None if checkpoint is None or (ranks is not None and ranks.rank) else _saving(checkpoint, model, optimizer)
        noted = getattr(optimizer, "history", None)
        history: History = History() if noted is None else noted
        order = generator(fit, rng) if history.rng is None else history.rng
        names = ["loss", *measures]
        if data.held is not None:
            names += ["val_" + name for name in names]
        if early_stopping is not None:
            early_stopping.begin(model, names)
        facts |= {"numbers of batches": batches.count, "numbers of epochs": epochs, "figures": names}
        if ranks is not None:
            facts |= settings(loss, optimizer, schedule, early_stopping, clip_norm) | ranks.facts()

    # from here on something changes
    if ranks is not None:
        order, progress = ranks.first(order), progress if ranks.rank == 0 else False
    if shuffle and isinstance(batches, Cut):
        batches.rank = None if ranks is None else ranks.rank
        batches.rng = history.rng = order
    optimizer.history = history
    history.interrupted = False
    numbers = range(history.epochs + 1, history.epochs + epochs + 1)
    bar = Progress(progress, numbers[0], numbers[-1], batches.count)
    options = Options(measures, schedule, early_stopping, callbacks, clip_norm, save, finite)
    training = Training(model, loss, optimizer, batches, data.held, options, bar)
    with np.errstate():
        try:
            try:
                training.run(numbers)
            finally:
                training.close()
        finally:
            training.close()  # again, for what an interrupt may have left of the first time
    return history


# --- what is checked before anything changes ---


def _check(
    model: object,
    loss: object,
    optimizer: object,
    schedule: object,
    early_stopping: object,
    callbacks: Iterable[object],
) -> None:
    check_parts("fit", model, loss, optimizer)
    if not (early_stopping is None or isinstance(early_stopping, EarlyStopping)):
        raise TypeError(
            f"fit: expected an EarlyStopping or None as early_stopping, got {brief(early_stopping)}; write "
            "early_stopping=EarlyStopping('val_loss', patience=5), which needs validation="
        )
    for name, function in [("schedule", schedule), *(("callbacks", callback) for callback in callbacks)]:
        if name == "schedule" and function is None:
            continue
        if not callable(function):
            raise TypeError(f"fit: expected functions as {name}, got {function!r}")
        if not takes(function, 1):
            given = "the number of steps so far" if name == "schedule" else "the state of the training"
            raise TypeError(f"fit: expected functions of one argument, {given}, as {name}, got {function!r}")
    if schedule is not None and not (hasattr(optimizer, "lr") and hasattr(optimizer, "steps")):
        raise TypeError(f"fit: a schedule needs an optimizer with the attributes lr and steps, got {optimizer!r}")


class _Data(NamedTuple):
    """All examples and those to train with, if they are arrays; those to validate with, and those of them that were given."""

    whole: Batch | None
    train: Batch | None
    held: Batch | None
    given: Batch | None


def _data(x: Any, y: Any, sample_weight: Any, lengths: Any, validation: Any) -> _Data:
    is_pair = isinstance(validation, (tuple, list))
    given = None
    if is_pair:
        if not 2 <= len(validation) <= 4:
            raise ValueError(f"fit: expected validation to be (x, y[, weight[, lengths]]), got {len(validation)} parts")
        if len(validation) == 3 and lengths is not None:
            raise ValueError(
                "fit: the examples to train with have lengths, and those in validation weights alone; expected "
                "(x, y, None, lengths), or (x, y, weight, None) if all these sequences are whole"
            )
        given = examples("fit: validation", *validation)
    if y is None:
        for name, value in (("sample_weight", sample_weight), ("lengths", lengths), ("validation", validation)):
            if value is not None and not (name == "validation" and is_pair):
                hint = "(x, y)" if name == "validation" else "in each batch, (x, y, weight, lengths)"
                raise ValueError(f"fit: {name} needs arrays x and y; with batches, give it as {hint}")
        return _Data(None, None, given, given)
    whole = without_absent(examples("fit", x, y, sample_weight, lengths))
    if validation is None or is_pair:
        return _Data(whole, whole, given, given)
    train, held = held_out(len(whole[1]), validation, whole[1])
    return _Data(whole, rows_of(whole, train), rows_of(whole, held), None)


def _check_both_count(data: _Data, validation: Any) -> None:
    """Refuse a share to hold out by which every weight is 0 in one of the two parts: of nothing there is no loss."""
    if data.given is not None or data.held is None or data.train is None:
        return
    for part, where in ((data.held, "validation"), (data.train, "sample_weight outside of validation")):
        if part[2] is not None and not read_whole(part[2]).any():
            raise ValueError(
                f"fit: every weight in {where} is 0, so nothing counts: validation={validation} holds out {len(data.held[1])} of "
                f"the {len(data.held[1]) + len(data.train[1])} examples; pass validation=(x, y, weight) to say which"
            )


def _rehearse_batches(model: Function, loss: Any, batches: list[Batch], measures: Any) -> tuple[Batch | None, Any]:
    """Refuse a list of batches that do not fit; return the first, and what is predicted for it."""
    pred = None
    for i, batch in enumerate(batches, start=1):
        check_numbers(f"fit: batch {i}", model, batch, whole=False)
        if i == 1:
            pred = rehearse("fit: batch 1", model, loss, batch, len(batch[1]), measures)
        if len(batch[1]) == 1 and (error := refusal(model, batch)) is not None:
            raise ValueError(f"fit: batch {i} is a single example, with which the model cannot be trained: {error}")
    return (batches[0] if batches else None), pred


def _is_finite(model: Function, held: Batch) -> bool:
    """Whether the validation data are finite; a warning if they are not."""
    for name, index, array in not_finite(held):
        if not name.startswith("x") or all(map(is_own, model.walk())):
            warnings.warn(f"fit: validation has {place(array, index)} of {name}, so val_loss is nan", UserWarning, stacklevel=4)
            return False
    return True


def _needs_two(model: Function, batches: Cut) -> bool:
    """Whether a last batch of a single example must join the one before, since the model cannot be trained with it."""
    if batches.rest != 1:
        return False
    error = refusal(model, taken(batches.data, [0]))
    if error is not None and (batches.batch_size == 1 or len(batches.data[1]) == 1):
        raise ValueError(f"fit: the model cannot be trained with batches of one example: {error}")
    return error is not None


def _saving(path: str | os.PathLike[str], model: Function, optimizer: Any) -> Callable[[], None]:
    """What saves the training; that it can be saved there is tried out beside the file."""
    import tempfile  # these bring two dozen modules, which take as long as a short training
    from pathlib import Path

    from pancake.files.replacing import check_folder
    from pancake.files.serialization import WRITERS, by_suffix, save

    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"fit: expected checkpoint to be the path of a file, such as 'model.npz', got {brief(path)}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit: checkpoint needs one of pancake's optimizers or one derived from Optimizer, got {optimizer!r}")
    by_suffix("fit", path, WRITERS)
    file = Path(path)
    check_folder(file, "fit")
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        save(Path(folder, file.name), model, optimizer)
    return lambda: save(path, model, optimizer)
