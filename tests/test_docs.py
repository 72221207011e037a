"""The documentation is true: its Python runs and prints what the pages show, and what they name is there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_bricks
import make_notebook
import pages
import pytest
import test_house
from hypothesis import settings

import pancake as pk
from pancake.losses.loss import Loss
from pancake.optimizers.optimizer import Optimizer
from pancake.playground.table import read_table
from pancake.testing.strategies import library_classes

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
DOCUMENTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MODULES = {"scikit-learn": "sklearn"}  # of packages that have another name


# The properties of the pages hold in the first examples as in the hundredth.
settings.register_profile("pages", settings.default, max_examples=4)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder to run in, with the data of the repository where the pages look for them."""
    shutil.copytree(ROOT / "demos" / "data", tmp_path / "demos" / "data")
    monkeypatch.chdir(tmp_path)
    profile = settings.get_current_profile_name()
    settings.load_profile("pages")
    yield tmp_path
    settings.load_profile(profile)


def settled(text: str) -> str:
    """The text without what differs from processor to processor: rounding errors of gradients that are right."""
    return re.sub(r"(?<=largest relative error )(\d\.\d)e([+-]\d\d)", _error, text)


def _error(match: re.Match[str]) -> str:
    return "of rounding" if float(match[0]) < 1e-9 else match[0]


def check(blocks: list[pages.Code]) -> None:
    for block, printed in zip(blocks, pages.run(blocks), strict=True):
        assert settled(printed) == settled(block.output), f"the page shows something else below\n\n{block.source}"


def cases() -> list[Any]:
    """Each page with what needs nothing but pancake, and once more with all that needs another package.

    The tutorial is not among them, since its notebook is run below.
    """
    found = []
    for page in (page for page in PAGES if page != make_notebook.PAGE):
        for package in sorted({"", *(block.needs for block in pages.code(page))}):
            found.append(pytest.param(page, package, id=f"{page.stem}-{package}" if package else page.stem))
    return found


@pytest.mark.parametrize(("page", "package"), cases())
def test_the_python_of_a_page_runs_and_prints_what_the_page_shows(
    page: Path, package: str, repository: Path, request: pytest.FixtureRequest
) -> None:
    if package == "jax":
        request.getfixturevalue("generator_put_back")
    if package:
        pytest.importorskip(MODULES.get(package, package), reason=f"{page.name} has snippets that need {package}")
    check([block for block in pages.code(page) if block.needs in ("", package)])


def test_the_file_that_the_page_of_the_playground_makes_can_be_trained_with(repository: Path) -> None:
    pages.run(pages.code(DOCS / "playground.md"))
    read_table(str(repository / "penguins.csv"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_shows_output_without_the_code_that_prints_it(page: Path) -> None:
    prose = "\n".join(part for part in pages.read(page) if isinstance(part, str))
    assert not re.search(r"^```(text|python)", prose, flags=re.MULTILINE)


def test_a_page_is_read_as_it_looks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Prose.\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n```bash\nls\n```\n\n```python torch\nprint(2)\n```\nEnd.\n"
    )
    assert pages.read(page) == [
        "Prose.",
        pages.Code("print(1)\n", "", "1\n"),
        "```bash\nls\n```",
        pages.Code("print(2)\n", "torch"),
        "End.",
    ]
    assert pages.run(pages.code(page)) == ["1\n", "2\n"]


def test_output_that_is_not_what_the_page_shows_fails() -> None:
    check([pages.Code("print('largest relative error 3.0e-12')", output="largest relative error 0.0e+00\n")])
    for source, output in (("print(0.12)", "0.13\n"), ("print(1)", ""), ("print('largest relative error 3.0e-8')", "x\n")):
        with pytest.raises(AssertionError, match="shows something else"):
            check([pages.Code(source, output=output)])


# --- the tutorial as a notebook, and its pictures ---


def test_the_notebook_is_that_of_the_tutorial() -> None:
    assert make_notebook.NOTEBOOK.read_text(encoding="utf-8") == make_notebook.notebook(), "run python docs/make_notebook.py"


def test_the_notebook_runs_cell_by_cell(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads(make_notebook.NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)
    blocks = []
    for cell in notebook["cells"]:
        common = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "markdown":
            assert cell.keys() == common
            continue
        assert cell["cell_type"] == "code"
        assert cell.keys() == common | {"execution_count", "outputs"}
        shown = "".join(line for output in cell["outputs"] for line in output["text"])
        blocks.append(pages.Code("".join(cell["source"]), output=shown))
    (repository / "docs").mkdir()
    monkeypatch.chdir(repository / "docs")  # where a notebook runs that lies there
    check(blocks)
    tutorial = make_notebook.PAGE.read_text(encoding="utf-8")
    drawn = {picture.name for picture in Path().glob("*.png")}
    shown = set(re.findall(r"\]\(pictures/([^)]*)\)", tutorial))
    assert drawn == shown, "run python docs/make_pictures.py"
    elsewhere = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"\]\(pictures/([^)]*)\)", elsewhere)) == {picture.name for picture in (DOCS / "pictures").iterdir()}


# --- what the documents name is there ---


def anchors(document: Path) -> set[str]:
    """The names that links give to the headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.relative_to(ROOT).as_posix())
def test_every_local_link_and_picture_is_there(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_links_to_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert page.stem == "README" or f"]({page.name})" in index, f"docs/README.md does not link to {page.name}"


@pytest.mark.parametrize(
    "document",
    [DOCS / "reading_order.md", DOCS / "how_it_is_fast.md", ROOT / "CONTRIBUTING.md"],
    ids=lambda document: document.stem,
)
def test_every_file_named_is_there(document: Path) -> None:
    named = re.findall(r"`((?:pancake|tests|docs|demos|\.ci)/[\w./]*)`", document.read_text(encoding="utf-8"))
    assert named
    for name in named:
        assert (ROOT / name).exists(), f"{document.name} names {name}, which is not there"


def test_every_module_has_its_place_in_the_reading_order() -> None:
    text = (DOCS / "reading_order.md").read_text(encoding="utf-8")
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pancake").rglob("*.py")}
    for module in sorted(modules - {"pancake/_version.py"}):
        assert f"`{module}`" in text, f"docs/reading_order.md does not name {module}"


def test_every_file_stands_after_those_that_it_imports_in_the_reading_order() -> None:
    text = (DOCS / "reading_order.md").read_text(encoding="utf-8")
    place = {name: text.find(f"`{path.relative_to(ROOT).as_posix()}`") for name, path in test_house.MODULES.items()}
    for name in test_house.MODULES:
        for needed in test_house.imports(name, lazy=False):
            assert place[needed] <= place[name], f"{name} is to be read before {needed}, which it imports"


# --- the table of bricks ---


def test_the_table_of_bricks_is_that_of_the_code() -> None:
    assert make_bricks.PAGE.read_text(encoding="utf-8") == make_bricks.page(), "run python docs/make_bricks.py"


def test_every_brick_is_in_the_table_with_a_formula_a_derivative_and_a_source() -> None:
    names = re.findall(r"^\| `(\w+)` \|", make_bricks.page(), flags=re.MULTILINE)
    for base in (pk.Function, Loss, Optimizer):
        for cls in library_classes(base):
            assert cls.__name__ in names, f"{cls.__name__} is not among the public names of pancake, so it is not in the table"
    for name in names:
        cls = getattr(pk, name)
        for what, text in zip(("formula", "derivative", "source"), make_bricks.parts(cls), strict=True):
            if what != "derivative" or not issubclass(cls, pk.Optimizer):
                assert text, f"{name} has no {what} in its docstring"
