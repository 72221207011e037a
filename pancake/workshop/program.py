"""What a participant hands in: a script or a notebook, of which only what an exercise needs is run.

Of the statements at the top of the file those are run that give a name a meaning which the exercise uses, directly or through
others: imports, helpers, base classes. What trains, draws or asks for something in between is not.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import json
import linecache
import re
import symtable
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pancake.workshop.verdicts import Open, Wrong, blanks

MAGIC = re.compile(r"^(\s*)(?:[!%?].*|\w+\s*=\s*[!%].*|.*\S\?{1,2})$")
HEADER = re.compile(r"^# pancake\.workshop blank (pancake\.\w+(?: --forward)?)\s*$", flags=re.MULTILINE)
# What has names of its own.
INSIDE: tuple[type[ast.AST], ...] = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
INSIDE += (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DEEPEST = 200  # levels of a syntax tree; what walks through trees calls itself for each
FILLING = ("append", "extend", "insert", "update", "setdefault", "add", "register")  # methods that give a name more meaning


@dataclass
class Piece:
    """A script, or a cell of a notebook: the name under which it is compiled, and its statements."""

    name: str
    statements: list[ast.stmt]
    error: str = ""


@dataclass
class Program:
    """The statements of a file.

    Attributes
    ----------
    path : Path
    text : str
        All of its code.
    pieces : list of Piece
    """

    path: Path
    text: str
    pieces: list[Piece] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """The names under which the pieces are compiled."""
        return [piece.name for piece in self.pieces]

    @property
    def errors(self) -> list[str]:
        """What cannot be read as Python, and where."""
        return [piece.error for piece in self.pieces if piece.error]

    @property
    def header(self) -> str:
        """What `blank` has written into the file that it made: "pancake.LayerNorm", or ""."""
        found = HEADER.search(self.text)
        return found[1] if found else ""

    def statements(self) -> Iterator[tuple[Piece, ast.stmt]]:
        """All statements, in order."""
        for piece in self.pieces:
            for statement in piece.statements:
                yield piece, statement

    def defined(self) -> set[str]:
        """The names that get a meaning at the top of the file."""
        return {name for _, statement in self.statements() for name in _bound(statement)}

    def open_blanks(self, name: str) -> list[str]:
        """The blanks left in the last definition of a name."""
        found: list[str] = []
        for piece, statement in self.statements():
            if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == name:
                cell = f"cell {piece.name.rpartition(', cell ')[2]}, " if ", cell " in piece.name else ""
                found = [f"{cell}{blank}" for blank in blanks(statement)]
        return found

    def load(self, name: str) -> Any:
        """What the name means, after running what it needs.

        Raises
        ------
        Open
            If it is not there, or has a blank.
        Wrong
            If the file cannot be read as Python, or what the name needs fails.
        """
        if name not in self.defined():
            if self.errors:
                raise Wrong(self.errors[0])
            raise Open(f"there is no {name} in {self.path.name}")
        if left := self.open_blanks(name):
            raise Open("; ".join(left))
        module = types.ModuleType("submission")
        module.__file__ = str(self.path)
        sys.modules[module.__name__] = module  # so that classes can be copied, and found by `inspect`
        for piece, statement in self._needed(name):
            code = compile(ast.Module([statement], []), piece.name, "exec", self._flags(), dont_inherit=True)
            try:
                exec(code, vars(module))
            except Exception as error:
                if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
                    continue  # if it is missed, its names will be
                if isinstance(error, (ImportError, NameError)):
                    raise Wrong(f"line {statement.lineno}: {type(error).__name__}: {error}") from error
                raise
        return vars(module)[name]

    def _flags(self) -> int:
        """Those of `from __future__ import annotations`, if the file has it."""
        future = any(isinstance(s, ast.ImportFrom) and s.module == "__future__" for _, s in self.statements())
        return __future__.annotations.compiler_flag if future else 0

    def _needed(self, name: str) -> list[tuple[Piece, ast.stmt]]:
        statements = list(self.statements())
        wanted, chosen = {name}, set[int]()
        while True:
            more = {i for i, (_, s) in enumerate(statements) if i not in chosen and (_bound(s) | _filled(s)) & wanted}
            more |= {i for i, (_, s) in enumerate(statements) if i not in chosen and _is_for_all(s)}
            if not more:
                return [statements[i] for i in sorted(chosen)]
            chosen |= more
            wanted |= {used for i in more for used in _used(statements[i][1])} - set(dir(builtins))


def read(path: Path) -> Program:
    """Read a script or a notebook."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix != ".ipynb":
        program = Program(path, text, [_piece(str(path), text, notebook=False)])
    else:
        try:
            cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
            sources = ["".join(cell["source"]) for cell in cells]
        except (ValueError, KeyError, TypeError, RecursionError):
            return Program(path, "", [Piece(str(path), [], f"{path.name} cannot be read as a notebook")])
        pieces = [_piece(f"{path}, cell {number}", source, notebook=True) for number, source in enumerate(sources, start=1)]
        program = Program(path, "\n".join(sources), pieces)
    return program


def _piece(name: str, source: str, *, notebook: bool) -> Piece:
    if notebook and source.lstrip().startswith("%%"):
        first, _, rest = source.lstrip().partition("\n")
        source = "\n" + rest if first.split()[0] in ("%%time", "%%timeit", "%%capture", "%%prun") else ""
    if "\0" in source:
        return Piece(name, [], f"{Path(name).name} is no Python: it has null bytes; save it as UTF-8, not as UTF-16")
    try:
        tree = ast.parse(source, name)
        if _is_deeper(tree, DEEPEST):
            raise RecursionError
    except SyntaxError as error:
        if notebook and any(MAGIC.match(line) for line in source.splitlines()):
            plain = [MAGIC.sub(r"\1pass", line) for line in source.splitlines()]
            if plain != source.splitlines():
                return _piece(name, "\n".join(plain), notebook=True)
        where = f"cell {name.rpartition(', cell ')[2]}, line" if notebook else "line"
        return Piece(name, [], f"{where} {error.lineno} is no Python: {error.msg}")
    except (RecursionError, MemoryError):
        return Piece(name, [], f"{Path(name).name} is no Python that can be read: something in it is nested too deeply")
    except ValueError as error:  # characters that no file can hold
        return Piece(name, [], f"{Path(name).name} is no Python: {error}")
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return Piece(name, tree.body)


def _is_deeper(tree: ast.AST, levels: int) -> bool:
    nodes = [tree]
    for _ in range(levels):
        nodes = [child for node in nodes for child in ast.iter_child_nodes(node)]
    return bool(nodes)


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement at the top of a file gives a meaning."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, ast.If) and ast.unparse(statement.test).startswith("__name__"):
        return set()
    found: set[str] = set()
    for node in _walk_here(statement):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
    return found


def _walk_here(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the statement does: not what stands inside of functions and comprehensions."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, INSIDE):
            yield child
        else:
            yield from _walk_here(child)


def _filled(statement: ast.stmt) -> set[str]:
    """The names to whose meaning a statement adds: by setting an attribute or an entry, or by a method that fills."""
    if isinstance(statement, INSIDE):
        return set()
    targets: list[ast.AST] = []
    for node in _walk_here(statement):
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            if isinstance(function, ast.Name) and function.id == "setattr" and node.value.args:
                targets.append(ast.Attribute(node.value.args[0], "", ast.Store()))
            elif isinstance(function, ast.Attribute) and function.attr in FILLING:
                targets.append(function)
    found = set()
    for target in targets:
        root = target
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        if root is not target and isinstance(root, ast.Name):
            found.add(root.id)
    return found


def _used(statement: ast.stmt) -> set[str]:
    """The names that a statement takes from the top of the file, also inside of functions."""

    def of(table: symtable.SymbolTable, top: bool) -> set[str]:
        found = {s.get_name() for s in table.get_symbols() if s.is_global() or (top and s.is_referenced())}
        return found.union(*(of(child, False) for child in table.get_children()))

    return of(symtable.symtable(ast.unparse(statement), "statement", "exec"), True)


def _is_for_all(statement: ast.stmt) -> bool:
    """Whether every name may need it: a star import, `from __future__`, a change of the path."""
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "__future__" or any(alias.name == "*" for alias in statement.names)
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("sys.path.")
