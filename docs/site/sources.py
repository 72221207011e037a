"""The source in the site: a page for each file, links from names and paths to where they stand.

Where a page speaks of `Linear`, of `testing.adapt` or of `pancake/functions/linear.py`, its code becomes a link; links to
files that are no pages lead to their source.
"""

import importlib
import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_reference
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("pancake", "demos", "benchmarks")
FILES = {path.relative_to(ROOT).as_posix(): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}

# What code on a page may call a name, and the page of the name.
NAMES = {name: f"docs/api/pancake.{name}" for names in make_reference.groups().values() for name in names}
NAMES |= {
    last: page
    for name, page in NAMES.items()
    if (last := name.rpartition(".")[2]) not in NAMES
    and not name.startswith(("testing.strategies", "datasets", "initializers", "fast"))
}
CODE = re.compile(r"(?:pk\.|pancake\.)?([A-Za-z_][\w.]*)(\(.*\))?$", flags=re.DOTALL)

# Pages that speak of methods of the same names.
OTHERS = ("docs/coming_from_scikit_learn", "docs/api/pancake.sklearn.MLPClassifier", "docs/api/pancake.sklearn.MLPRegressor")


class Links(SphinxTransform):
    """Makes links of code that names something public or a file, and of links to files that are no pages."""

    default_priority = 870  # before Sphinx collects titles and downloads

    def apply(self, **kwargs: Any) -> None:
        here = self.env.docname
        for node in list(self.document.findall(nodes.literal)):
            page = target(node.astext(), here)
            if (
                page
                and page != here
                and not inside(node, nodes.reference, addnodes.pending_xref, addnodes.download_reference, nodes.title)
            ):
                link = nodes.reference("", "", internal=True, refuri=relative(here, page))
                node.replace_self(link)
                link += node
        for node in list(self.document.findall(addnodes.download_reference)):
            file = posixpath.normpath(posixpath.join("/", posixpath.dirname(here), node["reftarget"])).lstrip("/")
            if file in FILES:
                node.replace_self(source_link(here, f"source/{file}", node))
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node["reftarget"] in FOLDERS:
                node.replace_self(source_link(here, "source/index", node))
            elif node.astext().endswith(".ipynb"):  # the notebook itself, not the page made of it
                node.replace_self(addnodes.download_reference("", "", *node.children, reftarget=f"/docs/{node.astext()}"))


def source_link(here: str, page: str, node: nodes.Element) -> nodes.reference:
    return nodes.reference("", "", *node.children, internal=True, refuri=relative(here, page))


def target(code: str, here: str) -> str | None:
    """The page of what a piece of code names, if it has one."""
    if code in FILES:
        return f"source/{code}"
    match = CODE.match(code)
    if match is None or (here in OTHERS and match[1].islower()):
        return None
    return NAMES.get(match[1])


def inside(node: nodes.Node, *kinds: type) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def relative(here: str, page: str) -> str:
    return posixpath.relpath(f"{page}.html", posixpath.dirname(here) or ".")


def address(domain: str, info: dict[str, str]) -> str | None:
    """Where a name is defined, for the link [source] beside it; seen from docs/api, where these links are."""
    thing: Any = importlib.import_module(info["module"]) if info["module"] else None
    for part in info["fullname"].split("."):
        thing = getattr(thing, part, None)
    try:
        thing = inspect.unwrap(thing.fget if isinstance(thing, property) else thing)
        file = Path(inspect.getsourcefile(thing) or "").resolve()
        line = inspect.getsourcelines(thing)[1]
    except (TypeError, OSError, ValueError):
        return None
    name = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
    return f"../../source/{name}.html#L-{line}" if name in FILES else None


def pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file, and one that lists them."""
    for name, path in FILES.items():
        text = path.read_text(encoding="utf-8")
        body = app.builder.highlighter.highlight_block(text, "python", lineanchors="L")
        yield f"source/{name}", {"title": name, "body": f"<h1><code>{name}</code></h1>{body}", "parents": []}, "page.html"
    items = "".join(f'<li><a href="{name}.html"><code>{name}</code></a></li>' for name in FILES)
    yield "source/index", {"title": "Source", "body": f"<h1>Source</h1><ul>{items}</ul>", "parents": []}, "page.html"
