"""The house: who imports whom, and that every layer is a page on which backward stands right below forward."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

import pytest

import pancake

ROOT = Path(pancake.__file__).parent
PAGES = ("functions", "recurrent", "losses")
FILES = sorted(ROOT.rglob("*.py"))

# From the ground up. A file imports from its own floor and from those below it; what stands on the roof is imported by nobody.
FLOORS = (
    ("memory", "origin", "foreign_names", "_version"),
    ("arguments",),
    ("attributes",),
    ("tree",),
    ("function", "initializers", "shown"),
    ("functions", "recurrent", "losses"),
    ("optimizers",),
    ("fast",),
    ("training",),
    ("files",),
    ("datasets",),
    ("plotting", "explaining", "testing", "sklearn", "torch", "export", "mpi", "playground", "workshop", "interop"),
)


def module_of(path: Path) -> str:
    """The name of the module that a file is: `pancake.losses.loss`."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(node: ast.AST, module: str) -> set[str]:
    """The modules of pancake that an import statement names, whole packages only where nothing of them is a module."""
    found: set[str] = set()
    if isinstance(node, ast.Import):
        found = {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
            base = importlib.util.resolve_name("." * node.level + base, package)
        found = {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return {name for name in found if name in MODULES and name != module}


def is_for_types_only(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, which never runs."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@functools.cache
def imports(module: str, *, lazy: bool) -> frozenset[str]:
    """What a module imports from pancake when it is loaded; with `lazy` what its functions import when they run."""
    found: set[str] = set()

    def look(node: ast.AST, inside: bool) -> None:
        if is_for_types_only(node):
            return
        if inside == lazy:
            found.update(imported(node, module))
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):  # in which there is no statement
                look(child, inside)

    look(ast.parse(MODULES[module].read_text()), inside=False)
    return frozenset(found)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """A circle through each module that can be reached from itself."""
    found = []
    for start in edges:
        before: dict[str, str] = {}
        queue = [start]
        while queue:
            here = queue.pop()
            for there in edges.get(here, ()):
                if there == start:
                    path = [start, here]
                    while path[-1] != start:
                        path.append(before[path[-1]])
                    found.append(path[::-1])
                    queue.clear()
                    break
                if there not in before:
                    before[there] = here
                    queue.append(there)
    return found


def floor(module: str) -> int | None:
    """The number of the floor; `pancake` itself, which has all names, is on the roof."""
    if module == "pancake":
        return len(FLOORS) - 1
    return next((i for i, names in enumerate(FLOORS) if module.split(".")[1] in names), None)


STATEMENTS = """
import pancake.memory
from pancake import tree
from pancake.function import Function
class A:
    from pancake.losses import loss
    def f(self):
        import pancake.arguments
"""


def test_imports_of_every_kind_are_seen() -> None:
    found = [imported(node, "pancake.training.fit") for node in ast.walk(ast.parse(STATEMENTS))]
    expected = {"pancake.memory", "pancake.tree", "pancake.function", "pancake.losses.loss", "pancake.arguments"}
    assert set().union(*found) == expected
    assert imports("pancake.training.history", lazy=True) >= {"pancake.plotting"}
    assert imports("pancake.losses.loss", lazy=False) >= {"pancake.function", "pancake.memory"}


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[0] == ["a", "b", "c", "a"]
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


@pytest.mark.parametrize("lazy", [False, True], ids=["loaded", "when run"])
def test_no_circle_of_files(lazy: bool) -> None:
    assert not circles({module: set(imports(module, lazy=lazy)) for module in MODULES})


# Methods called `plot`, which load the roof when somebody asks for a picture.
PICTURES = {("pancake.training.history", "pancake.plotting"), ("pancake.training.lr_finder", "pancake.plotting")}

# `fit(checkpoint=path)` saves.
CHECKPOINTS = {("pancake.training.fit", f"pancake.files.{name}") for name in ("replacing", "serialization")}


@pytest.mark.parametrize("lazy", [False, True], ids=["loaded", "when run"])
def test_imports_run_downwards(lazy: bool) -> None:
    upwards = {
        (module, name)
        for module in MODULES
        for name in imports(module, lazy=lazy)
        if module != "pancake" and (floor(name) is None or floor(name) > floor(module))
    }
    assert upwards == (PICTURES | CHECKPOINTS if lazy else set())


def test_every_file_has_a_floor() -> None:
    without = {module for module in MODULES if floor(module) is None}
    assert not without, "give it a place in FLOORS"


def test_no_page_knows_of_the_fast_path() -> None:
    for path in FILES:
        module = module_of(path)
        if module.split(".")[1:2] and module.split(".")[1] in (*PAGES, "function", "tree", "memory", "arguments", "initializers"):
            for name in imports(module, lazy=False) | imports(module, lazy=True):
                assert not name.startswith("pancake.fast"), f"{module} imports {name}"
            if module.split(".")[1] in PAGES:
                assert "pancake.fast" not in path.read_text(), f"{module} speaks of pancake.fast"


# --- pages ---

CLASSES = [
    (path, node)
    for folder in PAGES
    for path in sorted((ROOT / folder).glob("*.py"))
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.ClassDef)
]


def methods(node: ast.ClassDef) -> list[str]:
    return [item.name for item in node.body if isinstance(item, ast.FunctionDef)]


WITH_FORWARD = [(path, node) for path, node in CLASSES if "compute_forward" in methods(node)]


@pytest.mark.parametrize(("path", "node"), WITH_FORWARD, ids=[node.name for _, node in WITH_FORWARD])
def test_backward_stands_right_below_forward(path: Path, node: ast.ClassDef) -> None:
    names = methods(node)
    assert names[names.index("compute_forward") + 1 :][:1] == ["compute_backward"], f"{path.name}: {node.name}"


@pytest.mark.parametrize(("path", "node"), WITH_FORWARD, ids=[node.name for _, node in WITH_FORWARD])
def test_what_is_on_a_page_is_written_there(path: Path, node: ast.ClassDef) -> None:
    """Forward and backward have bodies of their own, not only a call of the base class."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name in ("compute_forward", "compute_backward"):
            raises = any(isinstance(statement, ast.Raise) for statement in item.body)
            assert raises or "super()." not in ast.unparse(item), f"{path.name}: {node.name}.{item.name}"


def test_there_are_pages() -> None:
    names = {node.name for _, node in WITH_FORWARD}
    assert {"Linear", "LSTMCell", "CrossEntropy", "Sequential", "Unrolled"} <= names
    assert len(names) > 50
