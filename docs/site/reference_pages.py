"""A page for each public name, written into docs/api, which git ignores: its docstring, and a layer's forward and backward."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import make_reference

from pancake.function import Function

# What a page shows beside the docstring of a class: its methods, but of layers, losses and optimizers only where they say
# something of their own; the contract is on the page of `Function`.
BASES = ("Function", "Loss", "Optimizer")


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    wanted = {}
    for title, names in make_reference.groups().items():
        for name in names:
            wanted[f"pancake.{name}.rst"] = page(name, title)
    for old in folder.glob("*.rst"):
        if old.name not in wanted:
            old.unlink()
    for file, text in wanted.items():
        path = folder / file
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # what has not changed is not built again
            path.write_text(text, encoding="utf-8")


def page(name: str, title: str) -> str:
    thing = make_reference.found(name)
    heading = name.rpartition(".")[2].replace("_", "\\_")
    lines = [":html_theme.sidebar_secondary.remove: true", "", heading, "=" * len(heading), ""]
    if name in make_reference.CONSTANTS:
        return "\n".join(
            [*lines, f".. py:data:: pancake.{name}", f"   :value: {thing!r}", "", f"   {make_reference.CONSTANTS[name]}", ""]
        )
    if not inspect.isclass(thing):
        return "\n".join([*lines, f".. autofunction:: pancake.{name}", ""])
    lines.append(f".. autoclass:: pancake.{name}{signature(thing)}")
    if name in BASES or not issubclass(thing, Function):
        lines += ["   :members:", "   :inherited-members: BaseException,dict,object"]
    lines += ["", *code(thing)]
    return "\n".join(lines)


def signature(cls: type) -> str:
    """The arguments of a class as they are written, without types; none where nobody calls it."""
    try:
        source = textwrap.dedent(inspect.getsource(cls.__init__))  # type: ignore[misc]
    except (TypeError, OSError):
        return "()"
    arguments = ast.parse(source).body[0].args  # type: ignore[attr-defined]
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
        if argument is not None:
            argument.annotation = None
    del (arguments.posonlyargs or arguments.args)[0]
    return f"({ast.unparse(arguments)})"


def code(cls: type) -> list[str]:
    """Forward and backward, as they are written on the page of a layer or a loss."""
    if cls.__name__ in BASES or not methods(cls):
        return []
    lines = ["", ".. rubric:: Forward and backward", "", ".. code-block:: python", ""]
    return lines + [f"   {line}".rstrip() for source in methods(cls) for line in [*source.split("\n"), ""]]


def methods(cls: type) -> list[str]:
    """The sources of forward and backward, if the class has its own."""
    own = [vars(cls)[name] for name in ("compute_forward", "compute_backward") if name in vars(cls)]
    sources = (textwrap.dedent(inspect.getsource(inspect.unwrap(method))).strip() for method in own)
    return [re.sub(r"  # type: ignore\S*", "", source) for source in sources]
