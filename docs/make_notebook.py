"""Writes docs/tutorial.ipynb from docs/tutorial.md: python docs/make_notebook.py.

Prose becomes Markdown cells, and Python becomes code cells with the output that the page shows; a test runs both.
Format: https://nbformat.readthedocs.io/en/latest/format_description.html, version 4.5.
"""

import json
from typing import Any

import pages

PAGE = pages.DOCS / "tutorial.md"
NOTEBOOK = pages.DOCS / "tutorial.ipynb"


def cell(number: int, part: str | pages.Code) -> dict[str, Any]:
    """A cell; its id is its place, so that a change of one cell leaves the ids of those before it alone."""
    common = {"id": f"cell-{number}", "metadata": {}}
    if isinstance(part, str):
        return {"cell_type": "markdown", **common, "source": lines(part)}
    output = {"name": "stdout", "output_type": "stream", "text": lines(part.output)}
    return {
        "cell_type": "code",
        "execution_count": None,
        **common,
        "outputs": [output] if part.output else [],
        "source": lines(part.source.rstrip("\n")),
    }


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def notebook() -> str:
    contents = {
        "cells": [cell(number, part) for number, part in enumerate(pages.read(PAGE))],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(contents, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(), encoding="utf-8")
    print(f"wrote {NOTEBOOK}")
