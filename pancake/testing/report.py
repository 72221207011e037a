"""What a check found, in words: counts, the worst entry, the likely cause, and lines to paste that show it again."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pancake.testing.subject import Subject, Vector


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

    `checked` counts what was compared (`unit`: entries; for a large array directions and some entries). `right`, `skipped`
    (a kink is nearby), `inconclusive` (the numbers are not sharp enough, or the gradient is next to nothing beside its
    neighbours) and the number of `wrong` add up to it. `largest_error` is the largest relative error among the right ones.
    """

    name: str
    shape: tuple[int, ...]
    unit: str = "entries"
    checked: int = 0
    right: int = 0
    skipped: int = 0
    inconclusive: int = 0
    wrong: list[Entry] = field(default_factory=list)
    largest_error: float = 0.0
    methods: Counter[str] = field(default_factory=Counter)
    hint: str = ""

    def summary(self) -> str:
        """The counts in one line."""
        counts = [f"{self.right} of {self.checked} {self.unit} right"]
        counts += [f"{self.skipped} skipped at kinks"] if self.skipped else []
        counts += [f"{self.inconclusive} inconclusive"] if self.inconclusive else []
        counts += [f"{len(self.wrong)} wrong"] if self.wrong else []
        methods = ", ".join(f"{method} {count}" for method, count in self.methods.most_common())
        return f"{self.name} {self.shape}: {', '.join(counts)}; largest relative error {self.largest_error:.1e} ({methods})"

    def complaint(self, function: str) -> str:
        """The worst entry, how many are wrong, and why that may be."""
        worst = max(self.wrong, key=lambda e: abs(e.backward - e.numeric) if np.isfinite(e.backward) else np.inf)
        index = f"[{', '.join(map(str, worst.index))}]" if worst.index else ""
        count = f"{len(self.wrong)} of {self.checked}" if self.unit == "entries" else f"at least {len(self.wrong)}"
        return (
            f"{function}.{self.name}{index}: backward {worst.backward:.6g}, numeric {worst.numeric:.6g} ({worst.method}); "
            f"{count} entries of {self.name} wrong"
        )


@dataclass
class GradientReport:
    """The result of `check_gradients`.

    Attributes
    ----------
    function : str
        The name of what was checked.
    arrays : list of ArrayReport
        One for each input and parameter.
    """

    function: str
    arrays: list[ArrayReport]
    snippet: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not any(array.wrong for array in self.arrays)

    def summary(self) -> str:
        """How much was checked and by which method, the largest error, and what was left open."""
        verdict = "gradients right" if self.ok else "gradients WRONG"
        return "\n  ".join([f"{self.function}: {verdict}", *(array.summary() for array in self.arrays)])

    def __str__(self) -> str:
        if self.ok:
            return self.summary()
        right = [array.name for array in self.arrays if not array.wrong]
        others = f", {' and '.join(right)} right" if right else ""
        lines = []
        for array in sorted(self.arrays, key=lambda array: not array.hint):
            if array.wrong:
                lines.append(array.complaint(self.function) + others + (f"; {array.hint}" if array.hint else ""))
        return "\n".join([*lines, "", "To reproduce:", "", self.snippet])


def snippet(check: str, subject: Subject, options: dict[str, Any]) -> str:
    """Lines that show a failure again: the function, its parameters, the input, and the call."""
    function = subject.function
    cls = type(function)
    lines = ["import numpy as np", f"from pancake.testing import {check}"]
    made = repr(function)
    if made.startswith("<"):
        made = f"{cls.__name__}()  # made as in your code"
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        lines.append(f"# {cls.__name__} as in your code")
    elif cls.__module__.startswith("pancake"):
        lines.append("from pancake import *")
    else:
        lines.append(f"from {cls.__module__} import {cls.__qualname__.split('.')[0]}")
    lines += ["", f"function = {made}"]
    params, _ = subject.params_and_grads()
    for i, p in enumerate(params):
        lines.append(f"function.get_params_and_grads()[0][{i}][...] = {_literal(p)}")
    for name, value in (("x", subject.template), ("target", subject.target)):
        if value is not None:
            lines.append(f"{name} = {_tree_literal(value)}")
            options = {**options, name: name} if name == "target" else options
    passed = "".join(f", {name}={name if name == 'target' else repr(value)}" for name, value in options.items())
    return "\n".join([*lines, f"{check}(function, x{passed})"])


def _tree_literal(tree: Any) -> str:
    if isinstance(tree, tuple):
        return "(" + ", ".join(_tree_literal(part) for part in tree) + ",)"
    return repr(tree) if tree is None else _literal(np.asarray(tree))


def _literal(array: Vector) -> str:
    """An expression whose value is the array, bit for bit."""
    if array.size <= 200 and np.isfinite(array).all():
        dtype = "" if array.dtype in (np.float64, np.int64) else f", dtype=np.{array.dtype.name}"
        return f"np.array({array.tolist()}{dtype})"
    packed = base64.b85encode(zlib.compress(array.tobytes(), 9)).decode()
    unpack = f'__import__("zlib").decompress(__import__("base64").b85decode({packed!r}))'
    return f"np.frombuffer({unpack}, np.{array.dtype.name}).reshape({array.shape})"
