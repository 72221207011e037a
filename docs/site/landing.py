"""What the landing page shows beside its own words: code as it stands in the library and in the README, and pictures."""

import textwrap
from pathlib import Path
from typing import Any

import pages
import reference_pages

import pancake

README = Path(__file__).parent.parent.parent / "README.md"


def context(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """What Sphinx calls before it writes a page, to add to what its template may name."""
    if pagename != "index":
        return
    shown = {"layer": "\n\n".join(reference_pages.methods(pancake.Linear)), "loop": loop()}
    for name, source in shown.items():
        context[name] = app.builder.highlighter.highlight_block(source, "python")
    context["picture"] = lambda path: f"_images/{app.env.images[path][1]}"


def loop() -> str:
    """The first program of the README, up to where its loop ends."""
    source = pages.code(README)[0].source
    return textwrap.dedent(source.partition("    if epoch")[0])
