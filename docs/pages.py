"""A page of the documentation as a program: its Python, and what the page says that it prints.

On a page stand blocks ```python, which run one after the other in one namespace. What a block prints stands in the block
```text right after it. A block that needs a package which pancake does without says so: ```python torch.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
FENCED = re.compile(r"^```(\w*) ?(.*)\n((?:.*\n)*?)```$", flags=re.MULTILINE)


@dataclass
class Code:
    """A block of Python, the package that it needs ("" for none), and what it prints."""

    source: str
    needs: str = ""
    output: str = ""


def read(path: Path) -> list[str | Code]:
    """The page from top to bottom: prose as text, Python as `Code`."""
    text = path.read_text(encoding="utf-8")
    parts: list[str | Code] = []
    end = 0
    for block in FENCED.finditer(text):
        language, needs, body = block.groups()
        between = text[end : block.start()]
        if language == "python":
            parts += [between.strip("\n"), Code(body, needs)]
        elif language == "text" and parts and not between.strip() and isinstance(parts[-1], Code):
            parts[-1].output = body
        else:
            continue  # another language is prose
        end = block.end()
    parts.append(text[end:].strip("\n"))
    return [part for part in parts if part]


def code(path: Path) -> list[Code]:
    """The Python of a page."""
    return [part for part in read(path) if isinstance(part, Code)]


def run(blocks: Iterable[Code]) -> list[str]:
    """Run the blocks one after the other in one namespace; return what each has printed."""
    main, module = sys.modules["__main__"], types.ModuleType("__main__")
    sys.modules["__main__"] = module  # as in a script or a notebook, so that classes of the page can be pickled
    printed = []
    try:
        for number, block in enumerate(blocks, start=1):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.source, f"block {number} of the page", "exec"), vars(module))
            printed.append(out.getvalue())
    finally:
        sys.modules["__main__"] = main
    return printed
