"""The judge of lesson 3: pieces one after another."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.functions.elementwise import Exp, Mul, Square
from pancake.functions.linear import Linear
from pancake.workshop.judging import (
    apart,
    call,
    compare,
    contract,
    gradients,
    known_mistakes,
    make,
    parameters,
    uniform,
)
from pancake.workshop.verdicts import Wrong


def stack(cls: Any) -> None:
    """The library's pieces in the participant's stack."""
    rng = np.random.default_rng(0)
    x = uniform(rng, 3, 2) / 2
    _few_pieces(cls)

    def pieces() -> list[Any]:
        return [Linear(2, 3, rng=0), Mul(0.5), Square(), Linear(3, 2, rng=1), Exp()]

    parts = pieces()
    made = make(cls, parts)
    y = x
    for piece in pieces():
        y = piece(y)
    compare("compute_forward: y", [call("compute_forward", made.compute_forward, x)], [y])
    _knobs(made, parts)
    call("compute_backward", made.compute_backward, np.ones((3, 2)))
    _knobs(made, parts)
    contract(made, x)
    for few in ([Square()], [Mul(2.0), Mul(-1.5)]):
        gradients(make(cls, few), x)
    apart(lambda: make(cls, pieces()), [x, x[::-1] * 0.7])
    nested = make(cls, [make(cls, [Mul(2.0), Square()]), Mul(0.5)])
    gradients(nested, x)
    generator = make(cls, [Mul(2.0), Square()])
    call("compute_forward", generator.compute_forward, x)
    again = call("compute_forward", generator.compute_forward, x)
    compare("compute_forward, called a second time: y", [again], [(2 * x) ** 2])


def _few_pieces(cls: Any) -> None:
    """Pieces that all take the same shape, so that a wrong order comes to an end, and shows."""
    rng = np.random.default_rng(1)
    x, d = uniform(rng, 3, 2) / 2, uniform(rng, 3, 2)

    def pieces() -> list[Any]:
        return [Linear(2, 2, rng=0), Exp(), Linear(2, 2, rng=1), Square()]

    made = make(cls, pieces())
    causes = {
        "only the first piece has seen x": [_through(pieces()[:1], x)],
        "the last piece was given x itself: hand on what the one before it has put out": [_through(pieces()[-1:], x)],
        "x itself came back: is what a piece puts out kept?": [x],
        "the pieces are run last to first": [_through(pieces()[::-1], x)],
        "the last piece is left out": [_through(pieces()[:-1], x)],
        "the first piece is left out": [_through(pieces()[1:], x)],
    }
    y = call("compute_forward", made.compute_forward, x.copy())
    compare("compute_forward: y", [y], [_through(pieces(), x)], causes)
    result = call("compute_backward", made.compute_backward, d.copy())
    mistakes = {
        "the pieces are asked first to last; backward goes last to first": _back(pieces(), x, d, [0, 1, 2, 3]),
        "only the last piece was asked: does the loop return too early?": _back(pieces(), x, d, [3]),
        "only the first piece was asked": _back(pieces(), x, d, [0]),
        "dObj_dOut itself came back: is what a piece returns kept?": d,
        "the last piece is left out": _back(pieces(), x, d, [2, 1, 0]),
        "the first piece is left out": _back(pieces(), x, d, [3, 2, 1]),
        "every piece was given dObj_dOut itself, and the results were added: hand on what a piece returns": sum(
            _back(pieces(), x, d, [i]) for i in range(4)
        ),
    }
    known_mistakes("compute_backward: dObj_dIn", result, _back(pieces(), x, d, [3, 2, 1, 0]), mistakes)


def _back(pieces: list[Any], x: Any, d: Any, order: list[int]) -> Any:
    """The gradient, handed through some of the pieces in some order."""
    _through(pieces, x)
    for i in order:
        d = pieces[i].compute_backward(d)
    return d


def _through(pieces: list[Any], x: Any) -> Any:
    for piece in pieces:
        x = piece(x)
    return x


def _knobs(made: Any, parts: list[Any]) -> None:
    """The stack hands out the pieces' own arrays, in order."""
    params, grads = parameters(made)
    wanted = [p for piece in parts for p in piece.get_params_and_grads()[0]]
    wanted_grads = [g for piece in parts for g in piece.get_params_and_grads()[1]]
    if len(params) != len(wanted):
        hint = "are those of all pieces joined?" if len(params) < len(wanted) else "is a piece listed twice?"
        raise Wrong(f"get_params_and_grads: expected {len(wanted)} parameters, those of all pieces, got {len(params)}; {hint}")
    for what, found, expected in (("parameter", params, wanted), ("gradient", grads, wanted_grads)):
        if all(a is b for a, b in zip(found, expected, strict=True)):
            continue
        if what == "parameter" and all(a is b for a, b in zip(found, wanted_grads, strict=True)):
            raise Wrong("get_params_and_grads: the two lists are exchanged; the parameters come first")
        if what == "gradient" and all(a is b for a, b in zip(found, wanted, strict=True)):
            raise Wrong("get_params_and_grads: the second list holds the parameters once more, and should hold their gradients")
        if {id(a) for a in found} == {id(b) for b in expected}:
            raise Wrong(f"get_params_and_grads: the {what}s are not in the order of the pieces, first to last")
        raise Wrong(
            f"get_params_and_grads: the {what}s are copies; an optimizer that changes them changes nothing in the pieces. "
            "Hand out the arrays themselves"
        )
