"""A check of the finished site: what a page links to within it is there. Links that templates make, Sphinx does not see."""

import functools
import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.util import logging


def check(app: Any, error: Exception | None) -> None:
    """What Sphinx calls at the end: a warning for each kind of broken link, with the first page that has it."""
    if error is not None:
        return
    site = Path(app.outdir)
    broken: dict[str, Path] = {}
    for page in sorted(site.rglob("*.html")):
        if "_static" not in page.parts:
            for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8")):
                if not leads_somewhere(page, html.unescape(link)):
                    broken.setdefault(link, page.relative_to(site))
    for link, page in broken.items():
        logging.getLogger(__name__).warning("%s links to %s, which is not there", page, link)


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link to a file of the site has one, and its place in that; links elsewhere are not followed."""
    address = urlsplit(link)
    if address.scheme or address.netloc:
        return True
    target = (page.parent / unquote(address.path)).resolve() if address.path else page
    return target.is_file() and (not address.fragment or target.suffix != ".html" or unquote(address.fragment) in places(target))


@functools.cache
def places(page: Path) -> frozenset[str]:
    return frozenset(re.findall(r'(?:id|name)="([^"]+)"', page.read_text(encoding="utf-8")))
