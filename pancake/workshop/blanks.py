"""`blank`: a class of the library as an exercise, its backward, forward or step left out by machine."""

from __future__ import annotations

import ast
import builtins
import difflib
import inspect
import sys
import textwrap
import types
from typing import Any

from pancake.optimizers import rules
from pancake.optimizers.optimizer import Optimizer
from pancake.testing import recipes
from pancake.testing.mutation import own_functions


def classes() -> dict[str, type[Any]]:
    """All layers, cells, losses and optimizers, by name: those of the one table of layers, and the rules."""
    tables: list[dict[Any, Any]] = [recipes.LAYERS, recipes.CONTAINERS, recipes.OTHERS, recipes.OF_INTEGERS, recipes.ALONE]
    found = [cls for table in (*tables, recipes.CELLS, recipes.LOSSES) for cls in table]
    found += [
        cls for cls in vars(rules).values() if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
    ]
    return {cls.__name__: cls for cls in found}


def named(name: str) -> type[Any]:
    """The class of a name, with or without "pancake." in front.

    Raises
    ------
    LookupError
        If there is none.
    """
    known = classes()
    short = name.removeprefix("pancake.")
    if short in known:
        return known[short]
    lower = {name.lower(): name for name in known}  # Relu is no typing error for ReLU, but how others write it
    near = [lower[name] for name in difflib.get_close_matches(short.lower(), lower, n=3)]
    near = near[:1] if short.lower() in lower else near
    hint = f"; did you mean {' or '.join(f'pancake.{n}' for n in near)}?" if near else ", such as pancake.LayerNorm"
    raise LookupError(f"blank: expected a layer, cell, loss or optimizer of pancake, got {name!r}{hint}")


def method_of(cls: type[Any], forward: bool) -> str:
    """The name of the method that is left out.

    Raises
    ------
    ValueError
        If the forward of an optimizer is asked for.
    """
    if issubclass(cls, Optimizer):
        if forward:
            raise ValueError(f"blank: {cls.__name__} is an optimizer and has no forward; leave --forward out")
        return "update"
    return "compute_forward" if forward else "compute_backward"


def blank(cls: type[Any], *, forward: bool = False) -> str:
    """The source of a class as a program that runs as it is, with one method left out.

    Left out is also what that method alone needs: other methods of the class, and functions beside it. If the method is
    inherited and calls methods of the class, these are left out in its place.

    Parameters
    ----------
    cls : type
        A layer, cell, loss or optimizer of pancake.
    forward : bool
        Whether to leave out `compute_forward` instead of `compute_backward` (of an optimizer, `update`).
    """
    return _program(cls, forward, left_out=True)


def original(cls: type[Any], *, forward: bool = False) -> str:
    """The same program with nothing left out."""
    return _program(cls, forward, left_out=False)


def _program(cls: type[Any], forward: bool, left_out: bool) -> str:
    method = method_of(cls, forward)
    own = _own(cls, method)
    methods = [name for owner, name, _ in own if owner is cls]
    lines = textwrap.dedent(inspect.getsource(cls)).splitlines()
    if not methods:  # all is inherited: write it into the class
        methods = [method]
        for name in ("compute_forward", "compute_backward") if method != "update" else ("update",):
            if name not in vars(cls):
                lines += ["", *_method(inspect.unwrap(inspect.getattr_static(cls, name)))]
    if left_out:
        lines = _without(lines, methods)
    helpers = {name for owner, name, _ in own if isinstance(owner, types.ModuleType)} if left_out else set()
    source = "\n".join(lines)
    said = f"pancake.{cls.__name__}{' --forward' if forward else ''}"
    head = (
        [f"# pancake.workshop blank {said}", "#", *_instructions(cls, methods)]
        if left_out
        else [f"# pancake.workshop blank {said}"]
    )
    return "\n".join([*head, "", "from __future__ import annotations", "", *_imports(cls, source, helpers), "", "", source, ""])


def _instructions(cls: type[Any], methods: list[str]) -> list[str]:
    what = " and ".join(methods)
    lines = [
        f"# {what} of {cls.__name__} {'are' if len(methods) > 1 else 'is'} left out; formula and shapes are in the docstring.",
        "# Write it, and have it judged:",
        "#",
        "#     python -m pancake.workshop check THIS_FILE",
        "#",
    ]
    if issubclass(cls, Optimizer):
        lines.append("# In args are the arrays of state, in the order of slots, and then what factors() returned.")
    elif methods[0] == "compute_backward":
        lines.append("# self._remembered() returns what compute_forward has given to self._remember(...).")
    else:
        lines.append("# What compute_backward gets from self._remembered(), give to self._remember(...).")
    return lines


def _own(cls: type[Any], method: str) -> list[tuple[Any, str, types.FunctionType]]:
    """The method, and what it needs and its counterpart does not: where each is, its name, and the function."""
    if method == "update":
        owner = next(c for c in cls.__mro__ if "update" in vars(c))
        return [(owner, "update", vars(owner)["update"])]
    if method == "compute_backward":
        return own_functions(cls)
    found = own_functions(cls, forward=True)
    tools = {"__call__"} | {name for owner, name, _ in found if owner is cls and name.startswith("_")}
    return [f for f in found if f[1] not in tools]  # helpers of the forward are tools, not the forward


def _method(function: Any) -> list[str]:
    """The lines of a method, indented as in a class."""
    return textwrap.indent(textwrap.dedent(inspect.getsource(function)), "    ").splitlines()


def _without(lines: list[str], methods: list[str]) -> list[str]:
    """The lines of a class in which the bodies of some methods are left out, but for their docstrings."""
    [tree] = ast.parse("\n".join(lines)).body
    assert isinstance(tree, ast.ClassDef)
    for node in reversed(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name == "accumulate_grads" and "compute_backward" in methods:
            del lines[node.lineno - 2 : node.end_lineno]  # it says the same; by default it calls compute_backward
        elif isinstance(node, ast.FunctionDef) and node.name in methods:
            body = node.body[1:] if ast.get_docstring(node) else node.body
            first = body[0].lineno if body else (node.end_lineno or 0) + 1
            # comments between the signature and the body tell as much as the body does
            begin = (node.body[0].end_lineno or 0) if ast.get_docstring(node) else _end_of_signature(lines, node, first)
            indent = " " * (node.col_offset + 4)
            lines[begin : node.end_lineno] = [f'{indent}raise NotImplementedError("your turn: {node.name}")']
    return lines


def _end_of_signature(lines: list[str], node: ast.FunctionDef, first: int) -> int:
    """The number of lines up to the colon of a signature."""
    number = first - 1
    while number > node.lineno and (not lines[number - 1].strip() or lines[number - 1].lstrip().startswith("#")):
        number -= 1
    return number


def _imports(cls: type[Any], source: str, helpers: set[str]) -> list[str]:
    """The imports that a class needs, those of its module and from its module."""
    module = sys.modules[cls.__module__]
    tree = ast.parse(inspect.getsource(module))
    used = {node.id for node in ast.walk(ast.parse(inspect.getsource(cls))) if isinstance(node, ast.Name)}
    used |= {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    used |= {"np", "Any"}
    plain: list[str] = []
    by_module: dict[str, list[str]] = {}
    known: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = (alias.asname or alias.name).partition(".")[0]
                known.add(name)
                if name in used:
                    plain.append(f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else ""))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
            for alias in node.names:
                name = alias.asname or alias.name
                known.add(name)
                if name in used - helpers:
                    by_module.setdefault(node.module, []).append(alias.name + (f" as {alias.asname}" if alias.asname else ""))
    for name in sorted(used - known - helpers - {cls.__name__}):
        if hasattr(module, name) and not hasattr(builtins, name):
            by_module.setdefault(module.__name__, []).append(name)
    if "np" not in known:
        plain.append("import numpy as np")
    if "Any" not in known:
        by_module.setdefault("typing", []).append("Any")
    missing = _of_bases(cls, used - known - helpers - {cls.__name__, "np", "Any"} - set(dir(module)))
    for where, name in missing:
        by_module.setdefault(where, []).append(name)
    froms = [f"from {where} import {', '.join(sorted(set(names)))}" for where, names in by_module.items()]
    groups = [sorted(group(lines)) for group in (_standard, _others, _own_modules) for lines in [{*plain, *froms}]]
    return "\n\n".join("\n".join(group) for group in groups if group).split("\n")


def _standard(lines: set[str]) -> set[str]:
    return {line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names}


def _own_modules(lines: set[str]) -> set[str]:
    return {line for line in lines if line.split()[1].startswith("pancake.")}


def _others(lines: set[str]) -> set[str]:
    return lines - _standard(lines) - _own_modules(lines)


def _of_bases(cls: type[Any], names: set[str]) -> list[tuple[str, str]]:
    """Where the modules of the bases have names that an inherited method uses."""
    found = []
    for name in sorted(names):
        for base in cls.__mro__[1:]:
            module = sys.modules[base.__module__]
            if base.__module__.startswith("pancake.") and hasattr(module, name):
                found.append((module.__name__, name))
                break
    return found
