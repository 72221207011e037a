"""The boundary while it is learnt, as a film."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.arguments import brief, size
from pancake.function import Function
from pancake.plotting.boundary import boundary_lines, draw, shades
from pancake.plotting.colors import COLORS
from pancake.plotting.drawing import given_axes, is_linear, need_matplotlib, panels_of, whole_ticks
from pancake.plotting.film import Film
from pancake.plotting.names import ClassNames, Feature, names_of_classes
from pancake.plotting.plane import Plane, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

LOSSES = {"loss": (COLORS[0], "-"), "val_loss": (COLORS[5], "--")}


@dataclass(frozen=True, repr=False)
class TrainingAnimation(Film):
    """Pictures of a training, taken by `animate_training`: call it after each epoch, and save it in the end.

    The axes are those of the boundary and of the loss. Until `show_frame` or `save` draws others, they show the first picture.
    The film ends with the model as it is when it is played or saved, also where the last epoch was not one to be pictured.
    """

    plane: Plane
    model: Callable[[Any], Any]
    every: int
    from_logits: bool
    epochs: list[int] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=lambda: {"loss": []})
    frames: list[tuple[int, View]] = field(default_factory=list)

    def __call__(self, state: Any = None) -> None:
        """Note the loss of an epoch that has ended, and take a picture if it is time for one.

        Parameters
        ----------
        state : State or float
            What `fit` gives to its callbacks, with an epoch and a history; or, in a loop, the loss.

        Raises
        ------
        TypeError
            If it is neither.
        ValueError
            If `fit` trains a model that has nothing in common with the one that is filmed.
        """
        if hasattr(state, "history"):
            if _are_strangers(self.model, getattr(state, "model", None)):
                raise ValueError(
                    "animate_training: expected a film of the model that fit trains, got one of another model, which stays as "
                    "it is; make the film of the model that you train"
                )
            epoch = state.epoch
            new = {name: state.history[name][-1] for name in LOSSES if name in state.history}
        else:
            epoch = self.epochs[-1] + 1 if self.epochs else 1
            new = {"loss": _loss(state)}
        if not self.epochs:  # of a training that goes on, the first picture is not of epoch 0
            self.frames[0] = epoch - 1, self.frames[0][1]
        self.epochs.append(epoch)
        for name, value in new.items():
            self.losses.setdefault(name, [float("nan")] * (len(self.epochs) - 1)).append(value)
        if epoch % self.every == 0:
            self.frames.append((epoch, self._look()))

    @property
    def length(self) -> int:
        """The number of pictures."""
        return len(self.frames)

    def finish(self) -> None:
        """Take a picture of the last epoch, if there is none."""
        if self.epochs and self.frames[-1][0] != self.epochs[-1]:
            self.frames.append((self.epochs[-1], self._look()))

    def show_frame(self, index: int) -> None:
        """Draw the picture of that number; -1 is the last."""
        epoch, view = self.frames[index]
        ax, curve = self.axes
        shading, colors = self.artists["shading"], shades(view.p)
        (shading.set_data if hasattr(shading, "set_data") else shading.set_array)(colors)
        for line in self.artists["boundary"]:
            line.remove()
        self.artists["boundary"] = boundary_lines(ax, self.plane.centres, view.p)
        for line, p in zip(self.artists.get("curves", ()), view.p, strict=False):
            line.set_ydata(p[0])
        ax.set_title(f"epoch {epoch}, {view.title}")
        if self.epochs:
            self._fix_limits()
        seen = sum(e <= epoch for e in self.epochs)
        for name, values in self.losses.items():
            if name not in self.artists:
                color, style = LOSSES[name]
                (self.artists[name],) = curve.plot([], [], style, color=color, label=name)
                if len(self.losses) > 1:
                    curve.legend(loc="upper right")
            self.artists[name].set_data(self.epochs[:seen], values[:seen])

    def _look(self) -> View:
        view = self.plane.look(self.model, self.from_logits)
        return View(view.p.astype(np.float32), view.train, view.test)  # half the memory: there may be hundreds of them

    def _fix_limits(self) -> None:
        """The limits of the loss, once all of it is known: the same in every picture."""
        curve = self.axes[1]
        values = np.concatenate([np.asarray(losses) for losses in self.losses.values()])
        values = values[np.isfinite(values)]
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        if low > 0 and (high / low >= 100 or not is_linear(curve.yaxis)):
            curve.set(yscale="log" if is_linear(curve.yaxis) else curve.get_yscale(), ylim=(low / 1.3, high * 1.3))
        elif is_linear(curve.yaxis):
            curve.set_ylim(min(low, 0.0), (high + 0.05 * abs(high)) or 1.0)
        if is_linear(curve.xaxis):
            curve.set_xlim(self.epochs[0] - 1, self.epochs[-1])
        else:
            curve.set_xlim(self.epochs[0], self.epochs[-1] + 1)


def _loss(value: Any) -> float:
    """The loss of an epoch, which may be nan or infinite."""
    try:
        return float(value)
    except (TypeError, ValueError):
        got = "nothing" if value is None else brief(value)
        ways = "the loss of the epoch, film(objective), or a callback of fit, callbacks=[film]"
        raise TypeError(f"animate_training: expected {ways}, got {got}") from None


def _are_strangers(filmed: Any, trained: Any) -> bool:
    """Whether two models have no part and no parameter in common, so that a training of one never shows in the other.

    Of a callable that is no Function nobody knows what it calls.
    """
    if filmed is trained or not (isinstance(filmed, Function) and isinstance(trained, Function)):
        return False
    # Parts, not only the whole: Sequential([*model, Softmax()]) does not contain the model, and learns what it learns.
    ours, theirs = ({id(thing) for thing in (*model.walk(), *model.get_params_and_grads()[0])} for model in (filmed, trained))
    return ours.isdisjoint(theirs)


def animate_training(
    model: Callable[[Any], Any],
    X: ArrayLike,
    y: ArrayLike,
    *,
    every: int = 1,
    axes: Sequence[Axes] | None = None,
    figure: Figure | SubFigure | None = None,
    resolution: int = 120,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    from_logits: bool = False,
    features: Feature | Sequence[Feature] | None = None,
    fixed: Mapping[Feature, float] | None = None,
    feature_names: Sequence[Any] | None = None,
    class_names: ClassNames = None,
    margin: float = 0.1,
    legend: bool = True,
) -> TrainingAnimation:
    """Film the decision boundary while a model learns it, with the loss beside it; limits and colours stay fixed.

    What it returns is a callback of `fit`, and just as well something to call in a loop with the loss of the epoch::

        film = animate_training(model, X, y, every=5)  # the first picture: before any training
        fit(model, loss, optimizer, X, y, epochs=200, callbacks=[film])
        film.save("training.gif")  # in a notebook the word film, as the last line of a cell, plays it

        for epoch in range(200):
            ...
            film(objective)

    Parameters
    ----------
    model, X, y
        As for `plot_decision_boundary`: any callable, two classes or more.
    every : int
        Epochs from picture to picture.
    axes : two matplotlib Axes, optional
        Where to draw the boundary and the loss; pyplot is then not touched.
    figure : matplotlib Figure, optional
        Where to make these axes; without both, on pyplot's current figure if it is empty, else on a new one.
    resolution : int
        The shading has resolution x resolution points, at least 2 x 2.
    X_test, y_test, from_logits, features, fixed, feature_names, class_names, margin, legend
        As for `plot_decision_boundary`.

    Returns
    -------
    TrainingAnimation
        With the methods `save(path, fps=10, dpi=80)` and `show_frame(index)`; the artists are those of
        `plot_decision_boundary`, "loss", and "val_loss" if `fit` has validation examples.

    Raises
    ------
    ValueError, TypeError
        As `plot_decision_boundary` does.
    ImportError
        If matplotlib is missing.
    """
    need_matplotlib()
    every = size(animate_training, every=every)
    given = None if axes is None else given_axes(animate_training, axes)
    plane = Plane(
        animate_training,
        X,
        y,
        X_test,
        y_test,
        features,
        fixed,
        margin,
        resolution,
        feature_names,
        given[0] if given else None,
    )
    view = plane.look(model, from_logits)
    names_of_classes(animate_training, class_names, len(view.p))
    panels = panels_of(animate_training, given, figure, 2, "for the boundary and for the loss", size=(4.75, 4.2))
    drawn = draw(plane, view, lambda: panels[0], class_names, legend)
    panels[1].set(xlabel="epoch", ylabel="loss", title="loss")
    panels[1].grid(alpha=0.3)
    whole_ticks(panels[1].xaxis)
    film = TrainingAnimation(drawn.figure, panels, drawn.artists, plane, model, every, from_logits)
    film.frames.append((0, film._look()))
    film.show_frame(0)
    return film
