"""What the judge says, and how it is told that something is wrong or still open."""

from __future__ import annotations

import ast
import builtins
import contextlib
import linecache
import re
import traceback
import types
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OPEN, RIGHT, WRONG = "open", "right", "wrong"
DUNDERS = {"__init__", "__call__"}


class Wrong(Exception):
    """A solution is wrong; the message says what and, where that is known, why."""


class Open(Exception):
    """There is still a blank; the message says which."""


@dataclass(frozen=True)
class Verdict:
    """What became of one exercise.

    Attributes
    ----------
    exercise : str
    lesson : int or None
        None for an exercise that `blank` has made.
    status : {"open", "right", "wrong"}
    sentence : str
        What is open or wrong.
    file : str
        Where the exercise was found.
    """

    exercise: str
    lesson: int | None
    status: str
    sentence: str = ""
    file: str = ""


def outcome(judge: Callable[[], None], files: Collection[str] = ()) -> tuple[str, str]:
    """Run a judge, and tell the status and the sentence, whatever the participant's code does.

    Parameters
    ----------
    judge : callable
        Raises `Wrong` or `Open`, or whatever the participant's code raises.
    files : collection of str
        The names under which that code was compiled, to say in which line something was raised.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judge()
    except Open as error:
        return OPEN, str(error)
    except Wrong as error:
        return WRONG, str(error)
    except NotImplementedError as error:
        return OPEN, f"{_place(error, files)}{_message(error)}".rstrip(": ") or "a blank is left"
    except SystemExit:
        return WRONG, "it ends the program (exit or quit); take that out, and return a result"
    except EOFError:
        return WRONG, "it asks for input, and nobody is there to answer; take the input() out"
    except MemoryError:
        return WRONG, "it asks for more memory than there is; does an array grow in a loop, or get the wrong shape?"
    except RecursionError:
        return WRONG, "it calls itself without end"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of the participant's code, which may raise anything
        message = " ".join(_message(error).split())
        if "ellipsis" in message.lower():
            return OPEN, f"{_place(error, files)}a blank `...` is left"
        notes = "".join(f" (in {note})" for note in getattr(error, "__notes__", []))
        said = _product(error, files) or f"{type(error).__name__}{message and ': '}{message}"
        return WRONG, with_advice(f"{_place(error, files)}{said}{notes}")
    return RIGHT, ""


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # its __str__ is the participant's, too
        return ""


ADVICE = {
    "'list' object has no attribute": "lists have no arithmetic; np.array makes an array of one",
    " does not fit": "the inner lengths of a product must agree: is a .T missing, or one too many?",
    "not aligned": "the inner lengths of a product must agree: is a .T missing, or one too many?",
    "broadcast": "the shapes do not fit: is a sum, an axis= or keepdims=True missing?",
    "is ambiguous": "np.maximum, np.where and masks work entry by entry",
    "0-dimensional arrays can be converted": "math works on single numbers, np.exp and the like on arrays",
    "positional argument but": "is an argument missing in the def?",
    "must be arrays": "NumPy arrays can be changed in place, numbers cannot",
}
# A class in Python: those of NumPy's, which are written in C, have a dot in the name.
MISSING = re.compile(r"'(\w+)' object has no attribute")
NOBODYS = {*vars(builtins), *(value.__name__ for value in vars(types).values() if isinstance(value, type))}
MISMATCH = re.compile(r"matmul: Input operand 1 has a mismatch in its core dimension 0,.*\(size (\d+) is different from (\d+)\)")
BROADCAST = re.compile(r"could not be broadcast together with shapes \(([\d,]+)\) \(([\d,]+)\)")


def with_advice(line: str) -> str:
    """What Python or NumPy says, in words of matrices, and what it most often means in an exercise."""
    line = MISMATCH.sub(r"a product of an array with \2 columns and one with \1 rows does not fit", line)
    if shapes := BROADCAST.search(line):
        first, second = (shape.strip(",").split(",") for shape in shapes.groups())
        if first != second and first == second[::-1]:
            return f"{line}; one of the two is transposed: is a .T missing or one too many, or are two factors swapped?"
    if (found := MISSING.search(line)) and found[1] not in NOBODYS:
        return f"{line}; does forward keep it in self?"
    return next((f"{line}; {advice}" for said, advice in ADVICE.items() if said in line), line)


def _product(error: BaseException, files: Collection[str]) -> str:
    """Of a matrix product that NumPy has refused, the two arrays as they are called, and their shapes; "" if not known."""
    steps = [step for step in traceback.walk_tb(error.__traceback__) if step[0].f_code.co_filename in files]
    if not steps or not MISMATCH.search(_message(error)):
        return ""
    frame, number = steps[-1]
    with contextlib.suppress(Exception):  # the file may not be Python, and a property may raise anything
        for node in ast.walk(ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult) and number in _lines(node):
                pair = node.left, node.right
                left, right = (np.shape(_value(operand, frame.f_locals)) for operand in pair)
                if left and len(right) > 1 and left[-1] != right[-2]:
                    return f"{ast.unparse(pair[0])} {left} @ {ast.unparse(pair[1])} {right} does not fit"
    return ""


def _lines(node: ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What x, self.weight or self.weight.T is; None of what would have to be computed."""
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _place(error: BaseException, files: Collection[str]) -> str:
    """In which line of the participant's code it was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if not frames:
        return ""
    last = frames[-1]
    cell = last.filename.rpartition(", cell ")[2] if ", cell " in last.filename else ""
    where = f"cell {cell}, line {last.lineno}" if cell else f"line {last.lineno}"
    return f"{where}, in {last.name}: "


def _task(statement: ast.Raise, name: str) -> str:
    """What a blank says that is to be done."""
    texts = [node.value for node in ast.walk(statement) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    task = texts[0].removeprefix("your turn: ") if texts else name
    return "" if task == name else f" ({task})"


def blanks(node: ast.AST, first_line: int = 1) -> list[str]:
    """The blanks that are left in a class or function: where they are, and how the lines read.

    A blank is `...` in the place of a statement, of a value that is assigned or returned, of an operand or an argument, or a
    NotImplementedError that is raised whatever the arguments. `x[..., 0]` is none.
    """
    found: list[tuple[int, str, str]] = []

    def look(node: ast.AST, name: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            name = node.name
            for statement in node.body:
                if isinstance(statement, ast.Raise) and "NotImplementedError" in ast.unparse(statement):
                    place = f"{name}, line {statement.lineno + first_line - 1}"
                    found.append((statement.lineno, name, f"{place}{_task(statement, name)}"))
        parts = {
            ast.Expr: ("value",),
            ast.Assign: ("value",),
            ast.AnnAssign: ("value",),
            ast.AugAssign: ("value",),
            ast.Return: ("value",),
            ast.BinOp: ("left", "right"),
            ast.UnaryOp: ("operand",),
        }.get(type(node), ())
        values: list[Any] = [getattr(node, part) for part in parts]
        values += node.args if isinstance(node, ast.Call) else []
        values += node.elts if isinstance(node, ast.Tuple) and not hasattr(node, "is_index") else []
        for value in values:
            if isinstance(value, ast.Constant) and value.value is ...:
                line = value.lineno
                found.append((line, name, f"{name}, line {line + first_line - 1}"))
        for child in ast.iter_child_nodes(node):
            if isinstance(node, ast.Subscript) and child is node.slice:
                vars(child)["is_index"] = True
            look(child, name)

    look(node, getattr(node, "name", ""))
    called = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}  # a helper that nobody calls may stay blank
    return list(dict.fromkeys(text for _, name, text in sorted(found) if not name.startswith("_") or name in called | DUNDERS))
