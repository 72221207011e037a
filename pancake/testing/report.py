"""What a check found, in words: counts, the worst entry, the likely cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html import escape

import numpy as np

from pancake.shown import table


@dataclass
class Entry:
    """One entry of a gradient: its index, what backward says, what the numbers say, and by which rule."""

    index: tuple[int, ...]
    backward: float
    numeric: float
    method: str


@dataclass
class ArrayReport:
    """What came out for one array, an input or a parameter.

    `checked` counts the entries that were compared. `right`, `skipped` (there is a kink), `inconclusive` (the numbers are
    not sharp enough, or the entry is next to nothing beside the largest) and the number of `wrong` add up to it. Of an array
    too large for all entries, random directions are checked as well: `directions`, of them `right_directions` and
    `skipped_directions`. `largest_error` is the largest relative error among the right entries.
    """

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    right: int = 0
    skipped: int = 0
    inconclusive: int = 0
    wrong: list[Entry] = field(default_factory=list)
    directions: int = 0
    right_directions: int = 0
    skipped_directions: int = 0
    largest_error: float = 0.0
    methods: Counter[str] = field(default_factory=Counter)
    hint: str = ""

    @property
    def size(self) -> int:
        """The number of entries of the array."""
        return int(np.prod(self.shape))

    def summary(self) -> str:
        """The counts in one line."""
        counts = [f"{self.right} of {self.checked} entries right"]
        counts += [f"{self.skipped} skipped at kinks"] if self.skipped else []
        counts += [f"{self.inconclusive} inconclusive"] if self.inconclusive else []
        counts += [f"{len(self.wrong)} wrong"] if self.wrong else []
        if self.directions:
            counts.append(f"{self.right_directions} of {self.directions} random directions right")
            left = self.directions - self.right_directions - self.skipped_directions
            counts += [f"{self.skipped_directions} directions skipped at kinks"] if self.skipped_directions else []
            counts += [f"{left} directions inconclusive"] if left and not self.wrong else []
        methods = ", ".join(f"{method} {count}" for method, count in self.methods.most_common())
        error = f"; largest relative error {self.largest_error:.1e} ({methods})" if self.methods else ""
        return f"{self.name} {self.shape}: {', '.join(counts)}{error}"

    def complaint(self) -> str:
        """The worst entry, how many are wrong, and why that may be."""
        worst = max(self.wrong, key=lambda e: abs(e.backward - e.numeric) if np.isfinite(e.backward) else np.inf)
        index = f"[{', '.join(map(str, worst.index))}]" if worst.index else ""
        if self.checked == self.size:
            count = f"{len(self.wrong)} of {self.size} entries of {self.name} wrong"
        elif not worst.index and self.size > 1:
            count = f"{self.name} has {self.size} entries, and bisection did not find which"
        elif self.directions:
            count = f"{len(self.wrong)} of the {self.size} entries of {self.name} found wrong by bisection"
        else:
            count = f"{len(self.wrong)} of {self.checked} entries of {self.name} wrong, drawn from {self.size}"
        b, n = distinct(worst.backward, worst.numeric)
        return f"{self.name}{index}: backward {b}, numeric {n} ({worst.method}); {count}"


@dataclass
class GradientReport:
    """The result of `check_gradients`.

    Attributes
    ----------
    function : str
        The name of what was checked.
    arrays : list of ArrayReport
        One for each input and parameter.
    notes : list of str
        What was not checked, and why.
    snippet : str
        Lines that reproduce a failure.
    """

    function: str
    arrays: list[ArrayReport]
    notes: list[str] = field(default_factory=list)
    snippet: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not any(array.wrong for array in self.arrays)

    def summary(self) -> str:
        """How much was checked and by which method, the largest error, and what was left open."""
        verdict = "gradients right" if self.ok else "gradients WRONG"
        if self.ok and not any(array.right for array in self.arrays):
            verdict = "nothing found wrong, nothing verified"
        return "\n  ".join([f"{self.function}: {verdict}", *(array.summary() for array in self.arrays), *self.notes])

    def complaints(self) -> list[str]:
        """One line for each array that has wrong entries, those first of which the cause is known."""
        right = [array.name for array in self.arrays if not array.wrong and array.right]
        lines = []
        for array in sorted(self.arrays, key=lambda array: not array.hint):
            if array.wrong:
                others = f", {' and '.join(right)} right" if right else ""
                hint = f"; {array.hint}" if array.hint else ""
                lines.append(f"{self.function}.{array.complaint()}{others}{hint}")
        return lines

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of the arrays, and of failures what `str` says."""
        head = ("array", "shape", "right", "of", "skipped at kinks", "inconclusive", "wrong", "largest relative error")
        rows = [
            (
                a.name,
                a.shape,
                a.right,
                a.checked,
                a.skipped,
                a.inconclusive,
                len(a.wrong),
                f"{a.largest_error:.1e}" if a.right else "",
            )
            for a in self.arrays
        ]
        verdict, *_ = self.summary().splitlines()
        more = "\n".join(self.notes) if self.ok else str(self)
        return table(head, rows, verdict) + (f"<pre>{escape(more)}</pre>" if more else "")

    def __str__(self) -> str:
        if self.ok:
            return self.summary()
        return "\n".join([*self.complaints(), "", "To reproduce:", "", self.snippet])


def distinct(a: float, b: float) -> tuple[str, str]:
    """Two numbers in so many digits that one sees the difference."""
    for digits in (6, 9, 12):
        if f"{a:.{digits}g}" != f"{b:.{digits}g}":
            return f"{a:.{digits}g}", f"{b:.{digits}g}"
    return repr(float(a)), repr(float(b))
