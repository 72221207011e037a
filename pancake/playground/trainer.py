"""One training that can be steered while it runs: points, net, loss, optimizer, and a record of all that was done."""

from __future__ import annotations

import copy
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

import pancake as pk
from pancake.files.serialization import save
from pancake.function import Function
from pancake.playground.points import Points, points_of
from pancake.playground.settings import (
    ANEW,
    DATA,
    FILE,
    LABELS,
    LOSSES,
    OPTIMIZERS,
    POINTS,
    REGRESSION_LOSSES,
    VIEW,
    Settings,
    changed,
)
from pancake.playground.table import Table
from pancake.training.not_finite import is_finite, reason

Make: TypeAlias = Callable[[int, int, np.random.Generator], Function]

NOTES = 300  # moments that the curve of the loss keeps


class Trainer:
    """A training, step by step. The loop is the one of four lines.

    Parameters
    ----------
    table : Table, optional
        The user's own data, the first choice then.
    make : callable, optional
        The user's own `function(n_in, n_out, rng)`, which returns the stack.
    name : str
        What messages and scripts call it, as `module:function`.

    Attributes
    ----------
    settings : Settings
    points : Points
    model, loss, optimizer
        What is trained, with what.
    history : History
        "epoch", "loss", and with test points "test_loss", at the moments that were noted.
    record : list of Settings and int
        The settings in the beginning, then numbers of steps, and settings from then on.
    """

    def __init__(self, table: Table | None = None, make: Make | None = None, name: str = "") -> None:
        self.table, self.make, self.name = table, make, name
        self.rows = np.arange(0)  # of the points, in the order in which this epoch has still to take them
        self.settings = Settings(data=FILE if table else Settings.data)
        self.change({"loss": self.losses(self.settings.data)[0]})

    # --- what can be chosen ---

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the data sets."""
        return (FILE, *DATA) if self.table else DATA

    def losses(self, data: str) -> tuple[str, ...]:
        """The losses that suit a data set."""
        return REGRESSION_LOSSES if data == FILE and self.table and self.table.classes is None else LOSSES

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings: those of the net and the data set begin anew, all others leave the weights as they are.

        Raises
        ------
        ValueError
            If there is no such setting, or no such value; nothing is changed then.
        """
        if self.make and (fixed := changes.keys() & {"layers", "activation", "dropout"}):
            raise ValueError(f"{LABELS[min(fixed)]}: the layers are those of {self.name}")
        old, changes = self.settings, dict(changes)
        data = changes.get("data", old.data)
        losses = self.losses(data)
        if data != old.data:
            changes = {"across": 0, "up": 1, **changes}
            if old.loss not in losses:
                changes = {"loss": losses[0], **changes}
        new = changed(old, changes, data=self.data, losses=losses)
        features = len(self.table.features) if data == FILE and self.table else 2
        if max(new.across, new.up) >= max(features, 2) or new.across == new.up:
            raise ValueError(f"Across and Up: expected two different ones of {features} features")
        differing = {name for name in vars(old) if getattr(old, name) != getattr(new, name)}
        self.settings = new
        try:
            self._renew(differing)
        except Exception:
            self.settings = old
            raise

    def reset(self) -> None:
        """Begin anew with the present settings."""
        settings, points = self.settings, points_of(self.settings, self.table)
        rng = np.random.default_rng(settings.seed)
        model = self._stack(settings, points, rng)
        optimizer = _optimizer(settings, model)  # which refuses a model without parameters
        self.points, self.rng, self.model, self.optimizer = points, rng, model, optimizer
        self.record: list[Settings | int] = [settings]
        self.history = pk.History()
        self.steps = self.epoch = self.batch = 0
        self._take_loss()
        self._shuffle()

    def _renew(self, differing: set[str]) -> None:
        """Make those things anew whose settings differ."""
        if not hasattr(self, "record") or differing & ANEW or (not self.steps and differing - VIEW):
            return self.reset()
        if not differing - VIEW:
            return None
        settings = self.settings
        if differing & POINTS:
            self.points = points_of(settings, self.table)
        if differing & {"loss", *POINTS}:
            self._take_loss()
        if "dropout" in differing:
            self.model = with_dropout(self.model, settings.dropout, self.rng)
        if "optimizer" in differing:
            self.optimizer = _optimizer(settings, self.model)
        self.optimizer.lr = settings.lr
        if differing & POINTS:
            self._shuffle()
        self.record.append(settings)
        return None

    def _stack(self, settings: Settings, points: Points, rng: np.random.Generator) -> Function:
        n_in, n_out = points.X.shape[1], points.outputs
        if self.make:
            model = self._made(n_in, n_out, rng)
        else:
            model = pk.mlp([n_in, *settings.layers, n_out], activation=getattr(pk, settings.activation), rng=rng)
        if settings.data == FILE:
            model = pk.Sequential([pk.Standardize.of(points.X), *(model if isinstance(model, pk.Sequential) else [model])])
        return with_dropout(model, settings.dropout, rng) if settings.dropout else model

    def _made(self, n_in: int, n_out: int, rng: np.random.Generator) -> Function:
        """The user's own stack."""
        assert self.make is not None
        call = f"{self.name}({n_in}, {n_out}, rng)"
        try:
            model = self.make(n_in, n_out, rng)
            shape = np.shape(pk.predict(model, np.zeros((3, n_in)))) if isinstance(model, Function) else None
        except Exception as error:
            raise ValueError(f"{call} or its forward raised {type(error).__name__}: {error}") from error
        if shape is None:
            raise ValueError(f"{call} returned no Function, but {model!r:.80}")
        if shape != (3, n_out):
            raise ValueError(
                f"{call}: expected a stack that takes (N, {n_in}) and returns (N, {n_out}); for N = 3 it returns {shape}"
            )
        if not model.get_params_and_grads()[0]:
            raise ValueError(f"{call} returned {model!r:.80}, which has no parameters to train")
        return model

    def _take_loss(self) -> None:
        self.loss = loss_named(self.settings.loss)
        self.targets = self.points.targets(self.points.y, self.settings.loss)

    # --- training ---

    def step(self) -> None:
        """Train with the next batch.

        Raises
        ------
        NonFiniteError
            If its loss is nan or infinite; the weights are still those that have led there.
        """
        batch, x, y = self.next_batch()
        self.optimizer.zero_grad()
        with np.errstate(all="ignore"):  # what becomes too large is told below
            try:
                objective = self.loss(self.model(x), y)
            except ValueError:
                if is_finite(pk.predict(self.model, x)):
                    raise
                objective = math.nan  # what a loss says to nan is not what the user needs to know
            if not math.isfinite(objective):
                why = reason(copy.deepcopy(self.model), x, y, None, None)
                raise pk.NonFiniteError(f"the loss is {objective} in epoch {self.epoch + 1}, batch {self.batch + 1}: {why}")
            self.model.accumulate_grads(self.loss.compute_backward())
            self.optimizer.step()
        self.steps += 1
        self.batch += 1
        if isinstance(self.record[-1], int):
            self.record[-1] += 1
        else:
            self.record.append(1)
        self.rows = self.rows[len(batch) :]
        if not len(self.rows):
            self.epoch += 1
            self._shuffle()

    def next_batch(self) -> tuple[Any, Any, Any]:
        """The rows of the next step, their features and their targets."""
        batch = self.rows[: self.settings.batch]
        return batch, self.points.X[batch], self.targets[batch]

    def advance(self, seconds: float) -> None:
        """Train for about so long, at most to the end of the epoch, or for a step, as the speed says."""
        end, epoch, speed = time.monotonic() + seconds, self.epoch, self.settings.speed
        while True:
            self.step()
            if speed == "step by step" or (speed == "epoch by epoch" and self.epoch > epoch) or time.monotonic() >= end:
                break

    def _shuffle(self) -> None:
        self.rows = self.rng.permutation(len(self.points.X))
        self.batch = 0

    @property
    def epochs(self) -> float:
        """How often all points have been trained with."""
        return self.epoch + 1 - len(self.rows) / len(self.points.X)

    def note(self, values: Mapping[str, float]) -> None:
        """Note a moment in the history; when there are many, every other one is forgotten."""
        if self.history.epochs >= NOTES:
            for column in self.history.values():
                del column[1::2]
        self.history.append({"epoch": self.epochs, **values})

    # --- what is taken away ---

    def explanation(self) -> str:
        """The next step, explained: the loss of the next batch and one backward, as a table in HTML."""
        _, x, y = self.next_batch()
        with np.errstate(all="ignore"):
            return pk.explain(self.model, self.loss, x, y)._repr_html_()

    @property
    def meta(self) -> dict[str, Any]:
        """What is saved beside the net: the names of features, label and classes."""
        return {"features": self.points.features, "label": self.points.label, "classes": self.points.classes}

    def exported(self) -> bytes:
        """The net as `pancake.save` writes it; that of a regression puts out the label in its own units."""
        model, points = self.model, self.points
        if points.classes is None:
            back = pk.Standardize(1, mean=[-points.mean / points.scale], scale=[1 / points.scale])
            model = pk.Sequential([*(model if isinstance(model, pk.Sequential) else [model]), back])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.npz")
            save(path, model, meta=self.meta)
            with open(path, "rb") as file:
                return file.read()


def loss_named(name: str) -> pk.Loss:
    """A loss from logits."""
    loss: pk.Loss = pk.BinaryCrossEntropy(from_logits=True) if name == "BinaryCrossEntropy" else getattr(pk, name)()
    return loss


def with_dropout(model: Any, p: float, rng: np.random.Generator) -> pk.Sequential:
    """The same layers, with a Dropout after each activation, or with none if p is 0."""
    layers: list[Function] = []
    for layer in model:
        if not isinstance(layer, pk.Dropout):
            layers.append(layer)
            if p and not isinstance(layer, (pk.Linear, pk.Standardize)):
                layers.append(pk.Dropout(p, rng=rng))
    return pk.Sequential(layers)


def _optimizer(settings: Settings, model: Function) -> pk.Optimizer:
    name, options = OPTIMIZERS[settings.optimizer]
    optimizer: pk.Optimizer = getattr(pk, name)(model, lr=settings.lr, **options)
    return optimizer
