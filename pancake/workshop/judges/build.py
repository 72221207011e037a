"""The judge of lesson 8: the layers of a net, and what stands between them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.workshop.judging import Numbers, array, call, parameters, uniform
from pancake.workshop.verdicts import Wrong


def build(solution: Any) -> None:
    """The number and widths of the layers, and that something bends between each two."""
    rng = np.random.default_rng(0)
    for n_in, hidden, n_out in ((2, [5, 4], 3), (3, [], 2), (2, [6], 1), (4, [3, 3, 3], 2)):
        said = f"build({n_in}, {hidden}, {n_out})"
        given = list(hidden)
        try:
            model = call(said, solution, n_in, hidden, n_out)
        except Exception as error:
            error.add_note(said)
            raise
        if hidden != given:
            raise Wrong(f"{said} changes the list that it was given; copy it first")
        if isinstance(model, (list, tuple)):
            raise Wrong(f"{said} returned a {type(model).__name__} of layers; make a pk.Sequential of it")
        if not callable(getattr(model, "compute_forward", None)):
            raise Wrong(f"{said} returned {type(model).__name__}, which is no Function")
        _layers(said, model, n_in, hidden, n_out)
        x = uniform(rng, 5, n_in)
        try:
            out = model.compute_forward(x)
        except ValueError as error:
            raise Wrong(f"{said}: the layers do not fit: {error}") from None
        y = array(said + ": the output", out, (5, n_out))
        _ends_open(said, model, y, x)
    again = [call("build", solution, 2, [3], 1) for _ in range(2)]
    shared = {id(p) for p in parameters(again[0])[0]} & {id(p) for p in parameters(again[1])[0]}
    if shared:
        raise Wrong("two nets share their weights: make new layers in every call")


def _layers(said: str, model: Any, n_in: int, hidden: list[int], n_out: int) -> None:
    widths = [n_in, *hidden, n_out]
    wanted = list(itertools.pairwise(widths))
    params, _ = parameters(model)
    shapes = [tuple(sorted(p.shape)) for p in params if p.ndim == 2]
    expected = [tuple(sorted(shape)) for shape in wanted]
    layers = ", ".join(f"Linear{pair}" for pair in wanted)
    if len(shapes) != len(expected):
        raise Wrong(f"{said} has {len(shapes)} linear layers, and should have {len(expected)}: {layers}")
    if shapes != expected:
        index = next(i for i, (a, b) in enumerate(zip(shapes, expected, strict=True)) if a != b)
        raise Wrong(f"{said}: linear layer {index} has weights of shape {shapes[index]}; the layers should be {layers}")
    if not isinstance(model, Function):
        return
    leaves = [part for part in model.walk() if not any(part._parts())]
    number, bends = 0, True
    for part in leaves:
        if any(p.ndim == 2 for p in part.get_params_and_grads()[0]):
            if not bends:
                raise Wrong(
                    f"{said}: nothing bends between linear layers {number - 1} and {number}, so they are one; put a ReLU there"
                )
            number, bends = number + 1, False
        elif number == 0:
            raise Wrong(f"{said}: {type(part).__name__} stands before the first linear layer, where it spoils the input")
        else:
            bends = bends or _bends(part)
    if bends and leaves and not any(p.ndim == 2 for p in leaves[-1].get_params_and_grads()[0]) and _bends(leaves[-1]):
        raise Wrong(
            f"{said}: an activation, {type(leaves[-1]).__name__}, stands at the end; scores may be any number, also negative"
        )


def _bends(part: Function) -> bool:
    """Whether something is not a straight line."""
    rng = np.random.default_rng(0)
    width = max((p.size for p in part.get_params_and_grads()[0]), default=3)
    a, b = uniform(rng, 4, width), uniform(rng, 4, width)
    ya, yb, middle = (np.array(part.compute_forward(z)) for z in (a, b, (a + b) / 2))
    return not np.allclose((ya + yb) / 2, middle, atol=1e-9)


def _ends_open(said: str, model: Any, y: Numbers, x: Numbers) -> None:
    """The output follows the last bias, up and down."""
    bias = parameters(model)[0][-1]
    if bias.ndim != 1:
        return
    held = bias.copy()
    for shift in (-50.0, 50.0):
        bias[...] = held + shift
        moved = np.asarray(model.compute_forward(x), float)
        bias[...] = held
        if not np.allclose(moved, y + shift, atol=1e-6):
            raise Wrong(f"{said}: the output is squeezed by something after the last linear layer; scores may be any number")
