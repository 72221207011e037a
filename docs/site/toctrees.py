"""The tables of contents of the site: put below pages that are plain Markdown, while Sphinx reads them."""

import re
from pathlib import Path

import make_reference

DOCS = Path(__file__).parent.parent


def append(app: object, docname: str, source: list[str]) -> None:
    """What Sphinx calls with the text of each page, to change it."""
    if docname == "README":
        source[0] += toctree(
            "",
            "Tutorial </docs/tutorial>",
            "Documentation </docs/README>",
            "Reference </docs/reference>",
            "Gallery </demos/gallery/README>",
            "Changes </CHANGELOG>",
            "Contributing </CONTRIBUTING>",
        )
    elif docname == "docs/README":
        for title, pages in sections(source[0]).items():
            source[0] += toctree(title, *pages)
    elif docname == "docs/reference":
        for title, names in make_reference.groups().items():
            source[0] += toctree(title, *(f"{name} </docs/api/pancake.{name}>" for name in names))
    elif docname == "demos/gallery/README":
        source[0] += toctree("", "/demos/data/README", "/benchmarks/README")


def sections(index: str) -> dict[str, list[str]]:
    """The pages in docs that the index lists under each heading, in its order, those aside that have a place at the top."""
    found: dict[str, list[str]] = {}
    for section in index.split("\n## ")[1:]:
        pages = re.findall(r"\]\((\w+)\.md\)", section)
        found[section.partition("\n")[0]] = [f"/docs/{page}" for page in pages if page not in ("tutorial", "reference")]
    return {title: pages for title, pages in found.items() if pages}


def toctree(caption: str, *entries: str) -> str:
    caption = f":caption: {caption}\n" if caption else ""
    return "\n\n```{toctree}\n:hidden:\n" + caption + "\n".join(entries) + "\n```\n"
