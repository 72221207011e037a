"""Writes docs/mutation_score.md: which of all one-place faults in the library's layers the checks see.

    python docs/make_mutation_score.py            all layers, and the page
    python docs/make_mutation_score.py Linear ... only these, printed

Every fault of `pancake.testing.mutate` is planted in the backward of every class of the one table of layers, and checked with a
few examples drawn from that table. What no check sees must stand in EQUIVALENT, with the reason why it changes nothing that
anybody could see; else the exit status is 1, and the test of the score fails.
"""

import argparse
import inspect
import os
import sys
from pathlib import Path

import numpy as np

os.environ["PANCAKE_FAST"] = "0"  # the faults are planted in the plain pages, which the fast path runs around

from pancake.function import Function
from pancake.losses.loss import Loss
from pancake.testing import check_function
from pancake.testing.faults import Fault, faults
from pancake.testing.mutation import is_seen, own_functions
from pancake.testing.strategies import library_classes
from pancake.workshop.examples import examples_of

PAGE = Path(__file__).parent / "mutation_score.md"

# By the line as it stands, and the change: why no result of any call differs. A line that is gone takes its entry with it.
EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "return np.zeros_like(slopes)",
        "return np.zeros_like(slopes) -> return -np.zeros_like(slopes)",
    ): "-0 is 0",
    (
        "return d * np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0)))",
        "np.minimum(x, 0) -> x",
    ): "where x > 0 the other branch is taken; it only spares a warning about an overflow",
    (
        "return np.where(x > 0, d, s * d).reshape(x.shape)",
        "np.where(x > 0, d, s * d).reshape(x.shape) -> np.where(x > 0, d, s * d)",
    ): "it has that shape; a number of NumPy becomes an array",
    (
        "return (self.k * d).reshape(x.shape)",
        "(self.k * d).reshape(x.shape) -> self.k * d",
    ): "it has that shape, but for an input without axes, whose gradient of shape (1,) is read as one number",
    (
        "return np.broadcast_to(np.expand_dims(d, axes), x.shape).copy()",
        "np.broadcast_to(np.expand_dims(d, axes), x.shape).copy() -> np.broadcast_to(np.expand_dims(d, axes), x.shape)",
    ): "for a mean: a view of an array that nobody else has; for a sum, where it is dObj_dOut's, it is seen",
    (
        "return dObj_dOut if self.functions else np.array(dObj_dOut)",
        "dObj_dOut if self.functions else np.array(dObj_dOut) -> np.array(dObj_dOut)",
    ): "a copy more",
    ("return np.zeros_like(d)", "return np.zeros_like(d) -> return -np.zeros_like(d)"): "0 without a sign",
    (
        "return np.zeros(x.shape, d.dtype)",
        "return np.zeros(x.shape, d.dtype) -> return -np.zeros(x.shape, d.dtype)",
    ): "0 without a sign",
    (
        "return d * (self.scale * np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0))))",
        "np.minimum(x, 0) -> x",
    ): "where x > 0 the other branch is taken; it only spares a warning about an overflow",
    (
        "self._remembered()",
        "self._remembered() -> (left out)",
    ): "without a forward the first of the parts says the same",
    (
        "return slopes / self.divisor if self.divisor else np.zeros_like(slopes)",
        "slopes / self.divisor if self.divisor else np.zeros_like(slopes) -> slopes / self.divisor",
    ): "elementwise losses divide by the number of entries, which is never 0; for class losses, where it can be, it is seen",
}


def outcomes(cls: type) -> tuple[list[Fault], list[Fault]]:
    """The faults that were seen in a class, and those that were not."""
    drawn = examples_of(cls, count=8)
    for function, x, target in drawn:
        check_function(function, x, target=target, max_entries=64)  # which is right without a fault
    seen: list[Fault] = []
    unseen: list[Fault] = []
    for owner, name, function in own_functions(cls):
        for fault in faults(function):
            (seen if is_seen(fault, owner, name, drawn) else unseen).append(fault)
    return seen, unseen


def classes() -> list[type]:
    """All of the table, those once that only inherit a backward."""
    found = [*library_classes(Function), *library_classes(Loss)]
    return sorted(found, key=lambda cls: (inspect.getmodule(cls).__name__, cls.__name__))  # type: ignore[union-attr]


def reason(fault: Fault) -> str | None:
    """Why a fault that survives is equivalent."""
    return EQUIVALENT.get((fault.text, fault.change))


def page(results: dict[type, tuple[list[Fault], list[Fault]]]) -> str:
    """The page."""
    caught = sum(len(seen) for seen, _ in results.values())
    unseen = [fault for _, survivors in results.values() for fault in survivors]
    equivalent = {(f.where, f.text, f.change): reason(f) for f in unseen if reason(f)}
    open_ones = [fault for fault in unseen if not reason(fault)]
    total = caught + len(open_ones)
    lines = [
        "# Who checks the checker: the mutation score",
        "",
        "Made by `python docs/make_mutation_score.py`. In the backward of every layer, cell and loss of the library every fault",
        "is planted that rewriting one place of its source gives (a term, a factor, a transpose, an axis, a sign, a mask or a",
        "statement left out or exchanged, a sum for a mean, another index), one at a time, and `check_function` runs on a few",
        "inputs. `pancake.testing.mutate(layer, x)` does it for a layer of yours.",
        "",
        f"**{caught} of {total} faults are seen**, and {len(unseen) - len(open_ones)} more, at {len(equivalent)} places,",
        "change nothing that anybody could see: see below.",
        "",
        "| class | faults | seen | equivalent |",
        "|---|---|---|---|",
    ]
    for cls, (seen, survivors) in results.items():
        same = sum(reason(fault) is not None for fault in survivors)
        lines.append(f"| `{cls.__name__}` | {len(seen) + len(survivors)} | {len(seen)} | {same or ''} |")
    lines += ["", "## Equivalent", "", "| where | change | why it is none |", "|---|---|---|"]
    lines += [f"| `{where}` | `{change}` | {why} |" for (where, _, change), why in equivalent.items()]
    if open_ones:
        lines += ["", "## Not seen", ""]
        lines += [f"- `{f.where}`, line {f.line}: `{f.change}`" for f in open_ones]
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> int:
    chosen = [cls for cls in classes() if not names or cls.__name__ in names]
    results = {}
    with np.errstate(all="ignore"):
        for cls in chosen:
            results[cls] = seen, unseen = outcomes(cls)
            print(f"{cls.__name__}: {len(seen)} of {len(seen) + len(unseen)} faults seen", flush=True)
            for fault in unseen:
                print(f"  line {fault.line}: {fault.text}\n    {fault.change}")
                print(f"    {reason(fault) or 'NOT SEEN, and not in EQUIVALENT'}")
    if not names:
        PAGE.write_text(page(results), encoding="utf-8")
        print(f"wrote {PAGE}")
    return int(any(not reason(fault) for _, unseen in results.values() for fault in unseen))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="CLASS", help="only these classes, and no page")
    sys.exit(main(parser.parse_args().names))
