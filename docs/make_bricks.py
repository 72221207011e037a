"""Writes docs/bricks.md, the table of all bricks, from the docstrings: python docs/make_bricks.py."""

import inspect
import re
from pathlib import Path

import pancake as pk
from pancake.losses.loss import Loss
from pancake.optimizers.optimizer import Optimizer

PAGE = Path(__file__).parent / "bricks.md"
KINDS = {"Functions": pk.Function, "Losses": Loss, "Optimizers": Optimizer}


def parts(cls: type) -> tuple[str, str, str]:
    """The formula; the derivative, what else is said of it, and the shapes; and the sources."""
    body, *rest = re.split(r"\n(\w+)\n-{3,}\n", inspect.getdoc(cls) or "")
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    formula, _, derivative = body.partition("\n\n")
    derivative, _, source = derivative.partition("Source: ")
    said = [one_line(text) for text in (derivative, sections.get("Shape", "")) if text.strip()]
    return one_line(formula), "<br>".join(said), one_line(sections.get("References", source))


def one_line(text: str) -> str:
    """The text as a cell of a table, with a line of its own for each equation that has one in the docstring."""
    lines = [f"<br>{equations(line)}<br>" if line.startswith("    ") else line for line in text.splitlines()]
    text = " ".join(" ".join(lines).split()).replace("|", "\\|").replace("*", "\\*").replace("<-", "&larr;")
    text = re.sub(r"( ?<br>)+ ?", "<br>", text).removeprefix("<br>").removesuffix("<br>")
    return re.sub(r"(https?://\S+?)([.,;]?)(?=\s|$)", r"[page](\1)\2", text)


def equations(line: str) -> str:
    """A line of equations, with the gap kept where two stand side by side."""
    return re.sub(r"(?<=\S) {4,}(?=\S)", "&emsp;", line.strip())


def page() -> str:
    lines = [
        "# All bricks",
        "",
        "Made from the docstrings by `python docs/make_bricks.py`; what is said here is what `help` says. `d` and `dObj_dOut`",
        "stand for the gradient that arrives from above, `dObj_dIn` for the one that is handed on.",
    ]
    for kind, base in KINDS.items():
        lines += ["", f"## {kind}", "", "| name | formula | derivative, shapes, remarks | source |", "|---|---|---|---|"]
        for name in sorted(pk.__all__, key=str.lower):
            cls = getattr(pk, name)
            if inspect.isclass(cls) and issubclass(cls, base) and cls not in (pk.Function, pk.Loss):
                lines.append(f"| `{name}` | " + " | ".join(parts(cls)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
