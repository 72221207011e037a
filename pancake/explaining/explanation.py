"""`explain`: one forward and one backward of somebody's own net, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pancake.arguments import tells_how_to_call
from pancake.explaining.html import as_html
from pancake.explaining.markdown import as_markdown
from pancake.explaining.text import as_text
from pancake.explaining.trace import Step, Trace, trace
from pancake.function import Function, need_function
from pancake.losses.loss import need_loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from pancake.plotting import Drawing


class Explanation:
    """What `explain` saw. `str` and `print` give it as text, a notebook shows it as a table.

    Attributes
    ----------
    objective : float
        The loss; the sum of its values, where it is not reduced.
    steps : list of Step
        One for each call of a layer, in the order of forward, with `path`, `function`, `x`, `y`, `dObj_dOut`, `dObj_dIn`,
        `parameters` (each with `name`, `value`, `grad`) and `times`, the steps of a cell that is unrolled.
    trace : Trace
        These, and both ends: `x`, `y`, `pred`, `dObj_dPred`, `dObj_dX`, and the copies of model and loss that have run.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.objective = trace.objective
        self.steps: list[Step] = trace.steps

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return f"<Explanation of {len(self.steps)} layers, {type(self.trace.loss).__name__} {self.objective:.4g}; print it>"

    def _repr_html_(self) -> str:
        return as_html(self)

    def to_markdown(self) -> str:
        """The chain rule derived for this very stack: its shapes, and the formulas of the docstrings."""
        return as_markdown(self)

    def plot(self, *, figure: Figure | SubFigure | None = None) -> Drawing:
        """A picture: what each layer puts out, and below it the gradient that arrives there.

        Parameters
        ----------
        figure : matplotlib Figure, optional
            Where to draw; pyplot is then not touched. Without it, on pyplot's current figure if it is
            empty, else on a new one.

        Returns
        -------
        Drawing
            With the artists "outputs" and "gradients", lists of images from the input to the prediction.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from pancake.explaining.picture import draw

        return draw(self, figure)


@tells_how_to_call
def explain(model: Function, loss: Any, x: Any, y: Any, *, weight: Any = None, lengths: Any = None) -> Explanation:
    """Explain one forward and one backward: formulas, shapes, numbers, and which gradient goes where.

    For each layer: its formula, what it puts out, the gradient of the loss that arrives at its output and the one that leaves
    at its input, each parameter beside its gradient, and what is large, dead or zero. Cells that are unrolled are shown step
    by step. A copy of the model runs, in the mode that the model is in; the model itself, its gradients, its caches and its
    random generators stay as they are::

        explanation = explain(model, CrossEntropy(), X[:4], y[:4])
        print(explanation)            # in a notebook explanation alone is a table
        explanation.plot()            # a picture
        explanation.to_markdown()     # the derivation

    Parameters
    ----------
    model : Function
        Any stack, also with Functions of your own.
    loss : Loss
        Called with the prediction and y; `compute_backward()` then gives the gradient with which backward begins.
    x, y : array_like
        A batch: inputs and targets, as model and loss take them.
    weight : array_like, optional
        Of the examples, for the loss.
    lengths : array_like of int, optional
        How long each sequence is, for the parts that take it.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError
        If the model is not a Function, or the loss has no `compute_backward`.
    ValueError
        As the model and the loss do, if they do not fit the batch.
    """
    need_function("explain", model)
    need_loss("explain", loss)
    return Explanation(trace(model, loss, x, y, weight, lengths))
