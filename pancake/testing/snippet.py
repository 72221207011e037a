"""Lines to paste that show a failure again."""

from __future__ import annotations

import base64
import inspect
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.testing.pair import Pair
from pancake.testing.subject import Subject, Vector

# Larger arrays are written as random numbers of the same shape, where these show the failure as well.
WRITTEN_OUT = 200


def snippet(check: str, subject: Subject, options: dict[str, Any], fails: Callable[[Subject], bool]) -> str:
    """Lines that make the function, give it its parameters and state, and call the check again.

    Parameters
    ----------
    check : str
        The name of the check.
    subject : Subject
    options : dict
        The keyword arguments of the call.
    fails : callable
        Whether the check fails on a subject; it may leave the function changed.
    """
    function = subject.function
    try:
        state = dict(function._named_arrays()) if isinstance(function, Function) else {}
        arrays = list(state.values()) or subject.params_and_grads()[0]
    except Exception:  # of a function that does not even have its parameters in order
        state, arrays = {}, []
    if isinstance(function, Pair):
        return _of_functions(function, subject, options)
    write = _random if _fails_at_random(subject, arrays, fails) else _literal
    lines = [
        "import numpy as np",
        f"from pancake.testing import {'adapt, ' if 'adapt(' in repr(function) else ''}{check}",
        *_imports(function),
        "",
        f"function = {_made(function)}",
    ]
    if isinstance(function, Function) and not function.training:
        lines.append("function.eval()")
    if state:
        lines.append("function.load_state_dict({")
        lines += [f'    "{name}": {write(array)},' for name, array in state.items()]
        lines.append("})")
    else:
        lines += [f"function.get_params_and_grads()[0][{i}][...] = {write(array)}" for i, array in enumerate(arrays)]
    lines.append(f"x = {_tree_literal(subject.template, map(write, subject.inputs))}")
    passed = ""
    if subject.target is not None:
        lines.append(f"target = {_literal(np.asarray(subject.target))}")
        passed = ", target=target"
    passed += "".join(f", {name}={value!r}" for name, value in options.items())
    return "\n".join([*lines, f"{check}(function, x{passed})"])


def _of_functions(function: Pair, subject: Subject, options: dict[str, Any]) -> str:
    """The lines for two plain functions."""
    forward, backward = function.calls["compute_forward"], function.calls["compute_backward"]
    names = [re.sub(r"\W+", "", name) for name in subject.input_names]
    passed = {"cache": True, **options} if function.cached else options
    arguments = [forward, backward, *names, *(f"{name}={value!r}" for name, value in passed.items())]
    lines = ["import numpy as np", "from pancake.testing import check_vjp", f"# {forward} and {backward} as in your code", ""]
    lines += [f"{name} = {_literal(array)}" for name, array in zip(names, subject.inputs, strict=True)]
    return "\n".join([*lines, f"check_vjp({', '.join(arguments)})"])


def _fails_at_random(subject: Subject, arrays: list[Vector], fails: Callable[[Subject], bool]) -> bool:
    """Whether the check fails with random numbers in the large arrays too; the arrays are put back."""
    large = [array for array in [*arrays, *subject.inputs] if _is_large(array)]
    if not large:
        return False
    before = [array.copy() for array in arrays]
    inputs = [_draw(x) if _is_large(x) else x for x in subject.inputs]
    try:
        for array in filter(_is_large, arrays):
            array[...] = _draw(array)
        return fails(subject.with_inputs(inputs))
    finally:
        for array, content in zip(arrays, before, strict=True):
            array[...] = content


def _is_large(array: Vector) -> bool:
    return array.size > WRITTEN_OUT and array.dtype.kind == "f"


def _draw(array: Vector) -> Vector:
    return np.random.default_rng(0).normal(size=array.shape)


def _random(array: Vector) -> str:
    return f"np.random.default_rng(0).normal(size={array.shape})" if _is_large(array) else _literal(array)


def _literal(array: Vector) -> str:
    """An expression whose value is the array, bit for bit."""
    if array.size <= WRITTEN_OUT and (array.dtype.kind != "f" or np.isfinite(array).all()):
        dtype = "" if array.dtype in (np.float64, np.int64) else f", dtype=np.{array.dtype.name}"
        return f"np.array({array.tolist()}{dtype})"
    packed = base64.b85encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()
    unpack = f'__import__("zlib").decompress(__import__("base64").b85decode({packed!r}))'
    return f"np.frombuffer({unpack}, np.{array.dtype.name}).reshape({array.shape})"


def _tree_literal(tree: Any, leaves: Iterator[str]) -> str:
    if isinstance(tree, tuple):
        return "(" + "".join(f"{_tree_literal(part, leaves)}, " for part in tree).rstrip() + ")"
    return repr(tree) if tree is None else next(leaves)


def _made(function: Any) -> str:
    """The call that makes the function."""
    made = repr(function)
    if made.startswith("<"):
        return f"{type(function).__name__}()  # made as in your code"
    parts = function.walk() if isinstance(function, Function) else []
    return f"{made}  # made as in your code" if any(map(_lacks_arguments, parts)) else made


def _lacks_arguments(part: Function) -> bool:
    """Whether the constructor needs something that the part has not kept under its name, so that its repr lacks it."""
    _, *parameters = inspect.signature(type(part).__init__).parameters.values()
    variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return any(p.default is p.empty and p.kind not in variadic and p.name not in vars(part) for p in parameters)


def _imports(function: Any) -> list[str]:
    """Where the classes of the function and of its parts come from."""
    lines = []
    for cls in dict.fromkeys(type(part) for part in (function.walk() if isinstance(function, Function) else [function])):
        name = cls.__qualname__.split(".")[0]
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
            lines.append(f"# {cls.__name__} as in your code")
        else:
            lines.append(f"from {'pancake' if cls.__module__.startswith('pancake.') else cls.__module__} import {name}")
    return lines
