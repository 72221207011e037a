"""Which classes are taken for which."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pancake.plotting.colors import COLORS
from pancake.plotting.drawing import Drawing, current_axes, figure_of, need_matplotlib
from pancake.plotting.names import ClassNames, names_of_classes
from pancake.training.metrics import confusion_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERED = 40  # classes: in the cells of a larger table no number can be read
NAMED = 60  # classes: beyond them, not every one has its name


def plot_confusion_matrix(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    class_names: ClassNames = None,
    ax: Axes | None = None,
    threshold: float | None = None,
    multilabel: bool = False,
    weight: ArrayLike | None = None,
) -> Drawing:
    """Draw how often each class is taken for each: a row for each true class, a column for each predicted one.

    A cell has the more colour the larger its share of its row, so that rare classes are seen as well, by the root, so that rare
    mistakes are; the number in it is the count.
    The title tells the share on the diagonal, which is the accuracy. It draws on pyplot's current axes, or on those given.

    Parameters
    ----------
    pred, target, threshold, multilabel, weight
        As for `confusion_matrix`: class scores, probabilities of one class, or labels. Labels may be names as well.
    class_names : sequence of str, or mapping of int to str, optional
        C names, in order or by class. Of labels that are names, the order; without it that of the alphabet.
    ax : matplotlib Axes, optional
        Where to draw, instead of on pyplot's current axes. Beside other axes long names need a figure with layout="constrained",
        which makes room for them.

    Returns
    -------
    Drawing
        With the artists "image" (the shares), "numbers" (a list of texts, row by row; empty for more than 40 classes).

    Raises
    ------
    ValueError, TypeError
        As `confusion_matrix` does, or if there is another number of names than of classes.
    ImportError
        If matplotlib is missing.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.ConfusionMatrixDisplay.html
    """
    need_matplotlib()
    from matplotlib import rcParams
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgb

    pred, target, class_names = _by_name(pred, target, class_names)
    named = len(class_names) if class_names is not None and hasattr(class_names, "__len__") else 0
    try:
        table = confusion_matrix(pred, target, threshold=threshold, multilabel=multilabel, weight=weight)
    except (TypeError, ValueError) as error:
        raise type(error)(f"plot_confusion_matrix: {str(error).removeprefix('confusion_matrix: ')}") from None
    if named > len(table) and not isinstance(class_names, Mapping):  # labels in which the last classes do not occur
        table = np.pad(table, (0, named - len(table)))
    names = names_of_classes(plot_confusion_matrix, class_names, len(table))
    sums = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, sums, out=np.zeros(table.shape), where=sums > 0)

    ax = current_axes(plot_confusion_matrix, ax)
    # From the background half way to blue, so that letters in their usual colour are read on all of it, in dark styles too.
    behind, blue = np.array(to_rgb(ax.get_facecolor())), np.array(to_rgb(COLORS[0]))
    cmap = LinearSegmentedColormap.from_list("shares", [tuple(behind), tuple(behind + 0.6 * (blue - behind))])
    image = ax.imshow(shares, cmap=cmap, norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="equal")
    count = len(table)
    ticks = np.arange(0, count, -(-count // NAMED))
    room = _cell_width(ax, count) * (ticks[1] if len(ticks) > 1 else 1)  # for a name
    size = float(np.clip(0.75 * room, 3, 10))
    lines = max(int(room / (2.6 * size)), 1)  # on two a long name leaves more of the figure to the table
    shown = [_in_lines(names[i], lines) for i in ticks]
    ax.set_xticks(ticks, shown, fontsize=size)
    ax.set_yticks(ticks, shown, fontsize=size)
    widest = max(label.get_window_extent().width for label in ax.get_xticklabels()) * 72 / ax.figure.get_dpi()
    if widest + 0.3 * size > room:
        ax.tick_params(axis="x", labelrotation=90)
    right = float(np.trace(table) / table.sum()) if table.sum() else float("nan")
    ax.set(xlabel="predicted", ylabel="true", title=f"accuracy {right:.1%}")
    numbers = []
    if count <= NUMBERED:
        engine = figure_of(ax).get_layout_engine()
        if engine is not None:  # which leaves less to the table, the longer the names are
            engine.execute(figure_of(ax))
        whole = table.dtype.kind in "iu"
        texts = [[f"{n}" if whole else f"{n:.3g}" for n in row] for row in table.tolist()]
        cell = _cell_width(ax, count)
        size = min(cell / (0.68 * max(len(text) for row in texts for text in row)), 0.55 * cell, 12.0)
        numbers = [
            ax.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                fontsize=max(size, 1.0),
                color=rcParams["text.color"],
                alpha=None if table[i, j] else 0.3,
            )
            for i, row in enumerate(texts)
            for j, text in enumerate(row)
        ]
    return Drawing(figure_of(ax), [ax], {"image": image, "numbers": numbers})


def _cell_width(ax: Axes, count: int) -> float:
    """How many points each of so many cells is wide, as the axes stand now."""
    box = ax.get_window_extent()
    return float(72 * min(box.width, box.height) / ax.figure.get_dpi() / count)


def _in_lines(name: str, lines: int) -> str:
    """A long name in about so many lines; one with lines or formulas of its own stays as it is."""
    if "\n" in name or "$" in name:
        return name
    return "\n".join(textwrap.wrap(name, max(len(name) // lines + 5, 16)))


def _by_name(pred: Any, target: Any, class_names: ClassNames) -> tuple[Any, Any, ClassNames]:
    """Labels that are names as classes 0, 1, ..., with the names in their order; all else as it came."""
    words = [_are_names(labels) for labels in (pred, target)]
    if not any(words):
        return pred, target, class_names
    if not all(words):
        names, classes = ("pred", "target") if words[0] else ("target", "pred")
        raise TypeError(
            f"plot_confusion_matrix: expected names in both or classes 0, 1, ... in both, got names in {names} and none in "
            f"{classes}; np.array(class_names)[{classes}] makes names of classes"
        )
    pred, target = (np.asarray(labels).astype(str) for labels in (pred, target))
    found = np.unique(np.concatenate([pred.ravel(), target.ravel()])).tolist()
    if isinstance(class_names, Mapping):
        class_names = [class_names[key] for key in sorted(class_names)]
    order = found if class_names is None else list(map(str, class_names))
    if missing := [name for name in found if name not in order]:
        raise ValueError(
            f"plot_confusion_matrix: expected class_names with all names in pred and target, got none for {missing[0]!r}"
        )
    numbers = {name: i for i, name in enumerate(order)}
    as_classes = np.vectorize(numbers.__getitem__, otypes=[np.intp])
    return as_classes(pred), as_classes(target), order


def _are_names(labels: Any) -> bool:
    array = np.asarray(labels)
    return array.dtype.kind in "UST" or (
        array.dtype.kind == "O" and array.size > 0 and all(isinstance(v, str) for v in array.flat)
    )
