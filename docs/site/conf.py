"""The documentation as a site, by Sphinx: CONTRIBUTING has the command.

The pages are the Markdown files of the repository where they lie, so that a link between two of them holds here and on a forge
alike; the root of the sources is the root of the repository. What a site has beyond them is made while it is built: tables of
contents (toctrees.py), a page for each public name (reference_pages.py), pages of the source (sources.py), and what stands before
all that (landing.py).
"""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT)]

import docstrings  # noqa: E402
import landing  # noqa: E402
import links  # noqa: E402
import reference_pages  # noqa: E402
import sources  # noqa: E402
import toctrees  # noqa: E402

import pancake  # noqa: E402

project = "pancake"
author = "the authors of pancake"
copyright = f"{author}, MIT"
version = release = pancake.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.linkcode"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/tutorial.ipynb", "docs/api/*.rst", "demos/**/*.md", "benchmarks/*.md"]
exclude_patterns = [".*", "build", "dist", "tmp", "docs/tutorial.md"]  # the tutorial is shown as the notebook that it also is

# Markdown and the notebook, whose outputs are stored in it.
nb_execution_mode = "off"
myst_heading_anchors = 3

# Docstrings.
autodoc_typehints = "none"  # the docstrings say what arguments are
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
linkcode_resolve = sources.address

# Looks. Nothing is loaded from elsewhere.
html_theme = "pydata_sphinx_theme"
html_title = "pancake"
html_static_path = ["static"]
html_css_files = ["pancake.css"]
html_favicon = "static/pancake.svg"
templates_path = ["templates"]
html_additional_pages = {"index": "landing.html"}
html_show_sourcelink = False
smartquotes = False  # quotes and dots in formulas are what they are
html_sidebars = {page: [] for page in ("index", "README", "CHANGELOG", "CONTRIBUTING", "docs/tutorial", "source/**", "search")}
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "show_nav_level": 1,
    "navigation_depth": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def setup(app: Any) -> None:
    app.connect("builder-inited", lambda app: reference_pages.write(ROOT / "docs" / "api"))
    app.connect("source-read", toctrees.append)
    app.connect("autodoc-process-docstring", docstrings.process)
    app.connect("html-page-context", landing.context)
    app.connect("html-collect-pages", sources.pages)
    app.connect("build-finished", links.check)
    app.add_transform(sources.Links)
