"""`to_c`: a model as one header of C99, which a microcontroller compiles."""

from __future__ import annotations

import importlib.resources
import os
import re
from typing import Any

import numpy as np

from pancake import fast
from pancake._version import __version__
from pancake.arguments import path_of
from pancake.export import c_images, c_layers, c_recurrent  # noqa: F401  # which fill the table of converters
from pancake.export.c_source import Constant, Source, Value, indented, literal
from pancake.export.c_text import body_of
from pancake.export.c_training import check_loss, training_of
from pancake.export.inputs import one_input, takes_more_time
from pancake.files.replacing import replacing
from pancake.function import Function, need_function
from pancake.losses.loss import Loss

# ISO/IEC 9899:1999, 6.4.1: what no name may be.
KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"""


def to_c(
    model: Function,
    path: str | os.PathLike[str],
    *,
    x: Any,
    name: str = "net",
    weights: str = "float32",
    training: Loss | None = None,
) -> None:
    """Write a model in evaluation mode as one header of C99: no malloc, no library but math.h, all in float.

    For name="net" it defines `NET_INPUTS`, `NET_OUTPUTS` and `NET_STATE`, and ::

        static inline void net_predict(const float *x, float *y);

    for one example in row order. Of a recurrent model `net_predict(x, y, state)` goes one time step on: `state` are NET_STATE
    numbers, zeros to start; what it puts out is the model's output for the sequence so far. Constants are in flash, on AVR too.

    Parameters
    ----------
    model : Function
        Left as it is.
    path : str or path-like
    x : array_like (B, ...)
        An example of the input, of any number of rows: its shape is what counts. (B, T, I) for a recurrent model.
    name : str
        What all names in the header begin with.
    weights : {"float32", "int8"}
        With "int8" matrices are stored in whole numbers from -127 to 127, with a factor for each row: a quarter of the size.
    training : Loss, optional
        `MeanSquaredError`, or `CrossEntropy`, whose target there is a row of probabilities. It adds ::

            static inline float net_train(const float *x, const float *y, float lr);

        one step of plain SGD on one example, which returns the loss before it. Parameters are then in RAM; frozen ones stay.

    Raises
    ------
    TypeError
        If there is a Function in the model that cannot be exported, or not be trained; the message names it.
    ValueError
        If an argument is none of the above, the input does not fit, a part goes backward in time or combines time steps, or a
        number is more than float can hold. Nothing has been written then.
    """
    need_function("to_c", model)
    path = path_of("to_c", path, "'net.h'")
    _check(name, weights, training)
    example = one_input(to_c, x)
    double = model._double()
    with fast.off(), np.errstate(all="ignore"):
        double.eval()
        double.compute_forward(example)
        recurrent = takes_more_time(double, example)
        source = Source(to_c, double, name, weights, training is not None)
        start = Value(example[:1, :1] if recurrent else example[:1])
        if recurrent:
            start.steps = np.concatenate([example[:1, :1], np.roll(example[:1, :1], 1, axis=-1)], axis=1)
        y = source.convert(double, start)
    text = _header(source, start, y, training)
    with replacing(os.path.realpath(path), "to_c") as file:
        file.write(text.encode())


def _check(name: Any, weights: Any, training: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"to_c: expected name to be a str, got {name!r}")
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name in KEYWORDS.split():
        raise ValueError(f"to_c: expected name to be an identifier of C, got {name!r}")
    if weights not in ("float32", "int8"):
        raise ValueError(f'to_c: expected weights to be "float32" or "int8", got {weights!r}')
    if training is not None:
        check_loss(training)
    if training is not None and weights != "float32":
        raise ValueError("to_c: weights of int8 cannot be trained; leave out weights= or training=")


def _header(source: Source, x: Value, y: Value, loss: Loss | None) -> str:
    """The whole text."""
    name, upper = source.name, source.name.upper()
    if y.root is x:
        same = Value(y.example)
        source.add(same, f"memcpy($y, $x, {x.size} * sizeof(float));", x, backward="$[memcpy($dx, $d, sizeof(float));$]")
        y = same
    state = ", float *state" if source.state else ""
    body = body_of(source, x, y)
    parts = [f"static inline void {name}_predict(const float *x, float *y{state}) {{\n{indented(body)}\n}}"]
    if loss is not None:
        parts.append(training_of(source, x, y, loss))
    functions = "\n\n".join(parts)
    constants = [_constant(constant) for constant in source.constants.values()]
    size = sum(constant.numbers.size * (1 if constant.dtype == "int8_t" else 4) for constant in source.constants.values())
    text = f"""/* Made by pancake {__version__}: {x.size} numbers in, {y.size} out, {size} bytes of constants. */
#ifndef {upper}_H
#define {upper}_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define {upper}_INPUTS {x.size}
#define {upper}_OUTPUTS {y.size}
#define {upper}_STATE {source.state}

#ifdef __AVR__
#include <avr/pgmspace.h>
#define PK_FLASH PROGMEM
#define PK_FLOAT(array, i) pgm_read_float(&(array)[i])
#define PK_INT8(array, i) ((int8_t)pgm_read_byte(&(array)[i]))
#else
#define PK_FLASH
#define PK_FLOAT(array, i) ((array)[i])
#define PK_INT8(array, i) ((array)[i])
#endif

{"".join(constants)}
{_runtime(functions)}{functions}

#endif
"""
    # the user's own names may begin like those that are exchanged here
    others = rf"\b(?!{name}_|{upper}_)"
    return re.sub(others + "PK_", f"{upper}_", re.sub(others + "pk_", f"{name}_pk_", text))


def _constant(constant: Constant) -> str:
    write = literal if constant.dtype == "float" else lambda number: str(int(number))
    numbers = [write(number) for number in constant.numbers.tolist()]
    rows = ",\n".join("  " + ", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8))
    kind = "static const" if constant.in_flash else "static"
    return (
        f"{kind} {constant.dtype} {constant.name}[{len(numbers)}]{' PK_FLASH' if constant.in_flash else ''} = {{\n{rows}\n}};\n\n"
    )


def _runtime(text: str) -> str:
    """Those functions of runtime.h that a text uses, and those that they use."""
    source = importlib.resources.files("pancake.export").joinpath("runtime.h").read_text(encoding="utf-8")
    blocks = {m[1]: m[0] for m in re.finditer(r"(?:/\*(?:[^*]|\*[^/])*\*/\n)?static inline float (\w+)\((?:.*\n)*?\}\n", source)}
    needed: set[str] = set()
    new = blocks.keys() & set(re.findall(r"\w+", text))
    while new:
        needed |= new
        new = {name for used in new for name in re.findall(r"\w+", blocks[used]) if name in blocks} - needed
    return "".join(f"{block}\n" for name, block in blocks.items() if name in needed)
