"""The script that repeats a training, with all that was changed while it ran."""

from __future__ import annotations

import os

from pancake.playground.settings import FILE, OPTIMIZERS, POINTS, VIEW, Settings
from pancake.playground.table import Table
from pancake.playground.trainer import Trainer

TRAIN = '''

def train(steps, batch_size):
    """So many steps, each with the next points in an order that is drawn anew for each epoch."""
    global rows
    for _ in range(steps):
        batch, rows = rows[:batch_size], rows[batch_size:]
        optimizer.zero_grad()
        loss(model(X[batch]), targets[batch])
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
        if not len(rows):
            rows = rng.permutation(len(X))


'''

DROPOUT = '''

def with_dropout(model, p):
    """The same layers, with a Dropout after each activation, or with none if p is 0."""
    layers = []
    for layer in model:
        if not isinstance(layer, pk.Dropout):
            layers.append(layer)
            if p and not isinstance(layer, (pk.Linear, pk.Standardize)):
                layers.append(pk.Dropout(p, rng=rng))
    return pk.Sequential(layers)
'''


def script(trainer: Trainer) -> str:
    """Python that ends with the weights that the training has now."""
    return _Writer(trainer).text()


class _Writer:
    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.record, self.points = trainer, trainer.record, trainer.points
        settings = self.record[0]
        assert isinstance(settings, Settings)
        self.first: Settings = settings
        self.is_file = self.first.data == FILE

    def text(self) -> str:
        lines = ['"""What was trained in pancake\'s playground, step by step."""', ""]
        if self.is_file:
            lines += ["import csv", ""]
        lines += ["import numpy as np", ""]
        if self.trainer.make:
            module, _, function = self.trainer.name.partition(":")
            lines += [f"from {module} import {function}  # run this where {module} is found", ""]
        lines += ["import pancake as pk", ""]
        if self.is_file:
            assert self.trainer.table is not None
            lines += _reading(self.trainer.table)
        lines += [*self._points(self.first), "", f"rng = np.random.default_rng({self.first.seed})", ""]
        text = "\n".join(lines)
        if any(isinstance(entry, Settings) and entry.dropout for entry in self.record):
            text += DROPOUT + "\n\n"
        rest = [*self._model(), *self._loss(self.first), *self._optimizer(self.first), "rows = rng.permutation(len(X))"]
        text += "\n".join(rest) + "\n" + TRAIN + "\n".join([*self._training(), "", *self._end()])
        return text + "\n"

    # --- in the order in which the training does it ---

    def _points(self, settings: Settings) -> list[str]:
        if self.is_file:
            lines = [
                f"order = np.random.default_rng({settings.seed}).permutation(len(data))",
                "X, y = data[order], labels[order]",
            ]
        else:
            make = f"pk.datasets.{settings.data}({settings.points}, noise={settings.noise!r}, rng={settings.seed})"
            lines = [f"X, y = {make}"]
        split = [f"count = len(X) - len(X) * {settings.test} // 100  # the others are for testing"]
        return [*lines, *split, "X, X_test, y, y_test = X[:count], X[count:], y[:count], y[count:]"]

    def _model(self) -> list[str]:
        n_in, n_out, first = self.points.X.shape[1], self.points.outputs, self.first
        if self.trainer.make:
            made = f"{self.trainer.name.partition(':')[2]}({n_in}, {n_out}, rng)"
        else:
            made = f"pk.mlp({[n_in, *first.layers, n_out]}, activation=pk.{first.activation}, rng=rng)"
        lines = [f"model = {made}"]
        if self.is_file:
            lines.append(
                "model = pk.Sequential([pk.Standardize.of(X), *(model if isinstance(model, pk.Sequential) else [model])])"
            )
        if first.dropout:
            lines.append(f"model = with_dropout(model, {first.dropout!r})")
        return lines

    def _loss(self, settings: Settings) -> list[str]:
        name, classes = settings.loss, self.points.classes
        lines = [f"loss = pk.{name}({'from_logits=True' if name == 'BinaryCrossEntropy' else ''})"]
        if classes is None:
            lines += ["of = pk.Standardize.of(y[:, np.newaxis])", "mean, scale = float(of.mean[0]), float(of.scale[0])"]
            return [*lines, "targets = ((y - mean) / scale)[:, np.newaxis]"]
        one_hot = f"np.eye({len(classes)})[y]"
        targets = {"CrossEntropy": "y", "Hinge": f"2 * {one_hot} - 1"}.get(name, one_hot)
        return [*lines, f"targets = {targets}"]

    def _optimizer(self, settings: Settings) -> list[str]:
        name, options = OPTIMIZERS[settings.optimizer]
        arguments = ", ".join(["model", f"lr={settings.lr!r}", *(f"{key}={value!r}" for key, value in options.items())])
        return [f"optimizer = pk.{name}({arguments})"]

    def _training(self) -> list[str]:
        lines, settings, steps = [], self.first, 0
        for entry in self.record[1:]:
            if isinstance(entry, int):
                lines.append(f"train({entry}, batch_size={settings.batch})")
                steps += entry
            else:
                lines += self._change(settings, entry, steps)
                settings = entry
        return lines or ["# no step was made"]

    def _change(self, old: Settings, new: Settings, steps: int) -> list[str]:
        """The lines for what was changed, in the order of `Trainer.change`."""
        names = [name for name in vars(old) if name not in VIEW and getattr(old, name) != getattr(new, name)]
        lines = ["", f"# changed after step {steps}: " + ", ".join(f"{name} {getattr(new, name)}" for name in names)]
        if POINTS.intersection(names):
            lines += self._points(new)
        if {"loss", *POINTS}.intersection(names):
            lines += self._loss(new)
        if "dropout" in names:
            lines.append(f"model = with_dropout(model, {new.dropout!r})")
        if "optimizer" in names:
            lines += self._optimizer(new)
        elif "lr" in names:
            lines.append(f"optimizer.lr = {new.lr!r}")
        if POINTS.intersection(names):
            lines.append("rows = rng.permutation(len(X))")
        return lines

    def _end(self) -> list[str]:
        lines = ['print(f"loss {loss(pk.predict(model, X), targets):.4f}")']
        meta = [f"meta = {self.trainer.meta!r}"]
        if self.points.classes is not None:
            score = "accuracy {pk.accuracy(pk.predict(model, X_test), y_test):.1%}"
            return [*lines, "if len(X_test):", f'    print(f"test {score}")', *meta, 'pk.save("net.npz", model, meta=meta)']
        return [
            *lines,
            "back = pk.Standardize(1, mean=[-mean / scale], scale=[1 / scale])  # to the label in its own units",
            *meta,
            'pk.save("net.npz", pk.Sequential([*model, back]), meta=meta)',
        ]


def _reading(table: Table) -> list[str]:
    """The lines that read the user's file."""
    if table.classes is None:
        labels = "labels = np.array([float(row[-1]) for row in table])"
    elif table.words:
        labels = "classes, labels = np.unique([row[-1].strip() for row in table], return_inverse=True)"
    else:
        labels = "classes, labels = np.unique([float(row[-1]) for row in table], return_inverse=True)"
    return [
        f'with open({os.path.abspath(table.path)!r}, newline="", encoding="utf-8-sig") as file:',
        "    header, *table = [row for row in csv.reader(file) if any(map(str.strip, row))]",
        "data = np.array([[float(cell) for cell in row[:-1]] for row in table])",
        labels,
        "",
    ]
