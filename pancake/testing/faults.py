"""The one-place faults that can be planted in a function by rewriting its source."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

OPPOSITE: dict[type[Any], type[Any]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Gt: ast.Lt,
    ast.Lt: ast.Gt,
    ast.GtE: ast.LtE,
    ast.LtE: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
EXCHANGED = {"sum": "mean", "mean": "sum"}
# Calls that are left out as f(x, ...) -> x: functions of single entries, and those that move entries about.
LEFT_OUT = {
    "exp",
    "log",
    "tanh",
    "sqrt",
    "square",
    "abs",
    "sign",
    "cos",
    "sin",
    "reciprocal",
    "where",
    "clip",
    "maximum",
    "minimum",
}
LEFT_OUT |= {"transpose", "swapaxes", "moveaxis", "flip", "roll", "cumsum", "expand_dims", "squeeze"}


@dataclass
class Fault:
    """A function with one place rewritten.

    Attributes
    ----------
    where : str
        The function: "Linear.compute_backward".
    line : int
        In its file.
    text : str
        The line as it is.
    change : str
        What stands there, and what is put in its place.
    function : callable
        The function with the fault.
    """

    where: str
    line: int
    text: str
    change: str
    function: Callable[..., Any] = field(repr=False)


def faults(function: types.FunctionType) -> Iterator[Fault]:
    """All the functions that differ from this one in one place."""
    lines, start = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    if not isinstance(tree, ast.FunctionDef):  # a lambda
        return
    tree.decorator_list = []
    seen = {ast.unparse(tree)}
    for number, node in enumerate(ast.walk(tree)):
        if isinstance(node, (ast.Raise, ast.Assert)):
            for inside in ast.walk(node):
                vars(inside)["is_error"] = True
        for replacement in _replacements(node, tree):
            if hasattr(node, "is_error"):
                continue
            if replacement is not None:
                ast.fix_missing_locations(ast.copy_location(replacement, node))
            mutant = _replaced(tree, number, replacement)
            text = ast.unparse(mutant)
            if text in seen:
                continue
            seen.add(text)
            line: int = getattr(node, "lineno", 1)
            change = f"{_text(node)} -> {_text(replacement) if replacement is not None else '(left out)'}"
            yield Fault(function.__qualname__, start + line - 1, lines[line - 1].strip(), change, _compiled(function, text))


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _replacements(node: ast.AST, tree: ast.FunctionDef) -> Iterator[ast.AST | None]:
    """What may stand in the place of a node; None to leave out a statement."""
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert, ast.Not)):
        yield node.operand
    elif isinstance(node, ast.AugAssign):
        yield None
        if type(node.op) in OPPOSITE:
            yield ast.AugAssign(node.target, OPPOSITE[type(node.op)](), node.value)
        if isinstance(node.op, ast.Add) and isinstance(node.target, ast.Attribute):
            target = ast.Subscript(node.target, ast.Constant(...), ast.Store())
            yield ast.Assign([target], node.value)
    elif isinstance(node, ast.Assign):
        names = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        if any(isinstance(t, ast.Name) and t.id in names for t in node.targets) or isinstance(node.targets[0], ast.Subscript):
            yield None
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, (ast.Tuple, ast.Constant)):
        yield ast.Return(ast.UnaryOp(ast.USub(), node.value))
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPPOSITE:
        yield ast.Compare(node.left, [OPPOSITE[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, (ast.If, ast.While)):
        yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value
    elif isinstance(node, ast.Subscript):
        yield from _of_index(node)
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not isinstance(node.value.func, ast.Name):
        yield None
        if _text(node.value.func).endswith("add.at") and len(node.value.args) == 3:
            array, index, value = node.value.args
            yield ast.AugAssign(ast.Subscript(array, index, ast.Store()), ast.Add(), value)


def _of_operation(node: ast.BinOp) -> Iterator[ast.AST]:
    op, left, right = node.op, node.left, node.right
    if isinstance(op, ast.Add):
        yield from (left, right, ast.BinOp(left, ast.Sub(), right))
    elif isinstance(op, ast.Sub):
        yield from (left, ast.UnaryOp(ast.USub(), right), ast.BinOp(left, ast.Add(), right))
    elif isinstance(op, (ast.Mult, ast.BitAnd, ast.BitOr)):
        yield from (left, right)
    elif isinstance(op, (ast.Div, ast.Pow)):
        yield left
    if isinstance(_number(left), (int, float)):
        yield ast.BinOp(ast.Constant(_number(left) + 1), op, right)
    if isinstance(_number(right), (int, float)):
        yield ast.BinOp(left, op, ast.Constant(_number(right) + 1))


def _of_index(node: ast.Subscript) -> Iterator[ast.AST]:
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for i, part in enumerate(parts):
        for changed in _other_indices(part):
            index = (
                ast.Tuple([*parts[:i], changed, *parts[i + 1 :]], ast.Load()) if isinstance(node.slice, ast.Tuple) else changed
            )
            yield ast.Subscript(node.value, index, node.ctx)


def _other_indices(part: ast.expr) -> Iterator[ast.expr]:
    number = _number(part)
    if isinstance(number, int):
        yield ast.Constant(number + 1)
    if isinstance(part, ast.Slice):
        if part.lower is not None:
            yield ast.Slice(None, part.upper, part.step)
        if part.upper is not None:
            yield ast.Slice(part.lower, None, part.step)
        if part.step is not None:
            yield ast.Slice(part.lower, part.upper, None)


def _number(node: ast.expr | None) -> Any:
    """The value of a number, also of a negative one."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _number(node.operand)
        return None if number is None else -number
    return node.value if isinstance(node, ast.Constant) and type(node.value) in (int, float) else None


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
    of_numpy = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "np"
    if name in EXCHANGED and isinstance(node.func, ast.Attribute):
        yield ast.Call(ast.Attribute(node.func.value, EXCHANGED[name], ast.Load()), node.args, node.keywords)
    if name in LEFT_OUT and of_numpy:
        yield from (a for a in (node.args[1:] if name == "where" else node.args[:1]))
    elif name in LEFT_OUT | {"copy", "reshape"} and isinstance(node.func, ast.Attribute) and not of_numpy:
        yield node.func.value
    for i, keyword in enumerate(node.keywords):
        for value in _other_arguments(keyword):
            keywords = [*node.keywords[:i], *([ast.keyword(keyword.arg, value)] if value else []), *node.keywords[i + 1 :]]
            yield ast.Call(node.func, node.args, keywords)


def _other_arguments(keyword: ast.keyword) -> Iterator[ast.expr | None]:
    number = _number(keyword.value)
    if keyword.arg == "axis" and isinstance(number, int):
        yield ast.Constant(0 if number else -1)
        yield None
    elif keyword.arg == "axis" or keyword.arg == "keepdims":
        yield None


def _replaced(tree: ast.FunctionDef, number: int, replacement: ast.AST | None) -> ast.FunctionDef:
    """A copy of the tree with another node in the place of that with this number in `ast.walk`."""
    old = next(node for i, node in enumerate(ast.walk(tree)) if i == number)

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            if node is old:
                return ast.Pass() if replacement is None else replacement
            return self.generic_visit(_shallow(node))

    new = Replace().visit(tree)
    return ast.fix_missing_locations(copy.deepcopy(new))


def _shallow(node: ast.AST) -> ast.AST:
    """A copy of a node with lists of its own, so that the tree of the original stays."""
    twin = copy.copy(node)
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            setattr(twin, name, list(value))
    return twin


def _compiled(function: types.FunctionType, text: str) -> Callable[..., Any]:
    """The function of a text, with the globals, the closure and the defaults of the original."""
    free = function.__code__.co_freevars
    body = textwrap.indent(f"{text}\nreturn {function.__name__}", "    ")
    source = (
        f"from __future__ import annotations\ndef factory({', '.join(free)}):\n{body}"  # `__class__` is among those, for super()
    )
    names: dict[str, Any] = {}
    exec(compile(source, f"<{function.__qualname__} with a fault>", "exec"), function.__globals__, names)
    result: types.FunctionType = names["factory"](*(cell.cell_contents for cell in function.__closure__ or ()))
    result.__defaults__, result.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return result
