"""The judges of lessons 1 to 3: derivatives by hand and by numbers, single pieces, and stacks of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.functions.elementwise import Exp, Mul, Square
from pancake.functions.linear import Linear
from pancake.workshop.judging import (
    array,
    backward_of,
    call,
    compare,
    contract,
    contracts,
    forward,
    gradients,
    known_mistakes,
    make,
    parameters,
    uniform,
)
from pancake.workshop.verdicts import Wrong


def derivatives(solution: Any) -> None:
    """Compare with the slopes of E, taken by complex steps."""
    trials = [(3.0, -1.0, 2.0), (0.5, 0.25, -1.5), (-2.0, 1.0, 0.75), (0.0, 2.0, 3.0), (1.5, 0.0, 1.25)]
    found = []
    for k, b, v in trials:
        result = call("derivatives", solution, k, b, v)
        if not isinstance(result, (tuple, list, np.ndarray)) or len(result) != 3:
            got = f"{len(result)} of them" if isinstance(result, (tuple, list)) else type(result).__name__
            raise Wrong(f"derivatives must return three numbers, dE/dk, dE/db and dE/dv, got {got}")
        found.append([array(f"dE/d{name}", number, ()) for name, number in zip("kbv", result, strict=True)])

    def E(k: Any, b: Any, v: Any) -> Any:
        return (k * v + b) ** 2

    h = 1e-20
    for place, name in enumerate("kbv"):
        wanted = [E(*(t + (1j * h if i == place else 0) for i, t in enumerate(trial))).imag / h for trial in trials]
        compare(f"dE/d{name}", [f[place] for f in found], wanted, _mistakes_of_derivatives(name, trials))


def _mistakes_of_derivatives(name: str, trials: list[tuple[float, float, float]]) -> dict[str, list[float]]:
    def each(formula: Callable[[float, float, float], float]) -> list[float]:
        return [formula(*trial) for trial in trials]

    small = {"k": (lambda k, b, v: v), "b": (lambda k, b, v: 1.0), "v": (lambda k, b, v: k)}[name]
    others = {"k": "v", "b": "1", "v": "k"}
    mistakes = {
        "the 2 is missing: the derivative of u^2 is 2 u": each(lambda k, b, v: (k * v + b) * small(k, b, v)),
        "b is missing in u = k v + b": each(lambda k, b, v: 2 * k * v * small(k, b, v)),
        "b has the wrong sign in u = k v + b": each(lambda k, b, v: 2 * (k * v - b) * small(k, b, v)),
        "E stands where dE/du should: dE/du = 2 u": each(lambda k, b, v: (k * v + b) ** 2 * small(k, b, v)),
        "dE/du is missing: this is the derivative of u alone": each(small),
        "the sign is flipped": each(lambda k, b, v: -2 * (k * v + b) * small(k, b, v)),
        "the 2 comes in twice": each(lambda k, b, v: 4 * (k * v + b) * small(k, b, v)),
    }
    if name != "b":
        mistakes[f"du/d{name} = {others[name]} is missing: this is dE/du"] = each(lambda k, b, v: 2 * (k * v + b))
    of_others = {"k": lambda k, b, v: v, "b": lambda k, b, v: 1.0, "v": lambda k, b, v: k}
    for other, formula in of_others.items():
        if other != name:
            said = f"this is dE/d{other}; du/d{name} is {others[name]}. The order is dE/dk, dE/db, dE/dv"
            mistakes.setdefault(said, [2 * (k * v + b) * formula(k, b, v) for k, b, v in trials])
    mistakes["the factor du/db is 1"] = each(lambda k, b, v: 2 * (k * v + b) * b) if name == "b" else each(lambda k, b, v: math.nan)
    return mistakes


def slope(solution: Any) -> None:
    """Compare with known slopes of curves: six digits are asked for."""
    curves: list[tuple[str, Callable[[float], float], Callable[[float], float]]] = [
        ("x^2", lambda x: x * x, lambda x: 2 * x),
        ("sin x", math.sin, math.cos),
        ("exp x", math.exp, math.exp),
        ("x^3 - 2 x", lambda x: x**3 - 2 * x, lambda x: 3 * x * x - 2),
    ]
    points = (0.5, -1.0, 2.0)
    for said, f, exact in curves:
        asked: list[float] = []

        def watched(x: float, f: Callable[[float], float] = f, asked: list[float] = asked) -> float:
            asked.append(float(x))
            return f(x)

        for x in points:
            asked.clear()
            got = float(array("slope", call("slope", solution, watched, x), ()))
            wanted = exact(x)
            if abs(got - wanted) <= 2e-6 * max(1.0, abs(wanted)):
                continue
            raise Wrong(f"the slope of {said} at {x} is {wanted:.7f}, got {got:.7g}; {_why(got, wanted, f, x, asked)}")


def _why(got: float, wanted: float, f: Callable[[float], float], x: float, asked: list[float]) -> str:
    steps = [abs(a - x) for a in asked if a != x]
    h = max(steps, default=0.0)
    if not asked:
        return "the function f is never called"
    if not h:
        return "f is never called at any place but x, or h is too small for the computer to see"
    if not math.isfinite(got):
        return "it is not finite: is h 0?"
    exact = {"is the sign flipped?": -wanted, "divide by 2 h, the distance of the two points, not by h": 2 * wanted}
    exact["one step up alone is divided by h, not by 2 h"] = wanted / 2
    for said, value in exact.items():
        if abs(got - value) < 1e-4 * max(1.0, abs(value)):
            return said
    ways = {np.sign(a - x) for a in asked if a != x}
    difference = f(x + h) - f(x - h)
    for said, value in (
        ("the difference is not divided by 2 h", difference),
        ("multiply by nothing, divide by 2 h: is it (f(x + h) - f(x - h)) / 2 * h?", difference / 2 * h),
        ("a sum stands where the difference should: f(x + h) - f(x - h)", (f(x + h) + f(x - h)) / (2 * h)),
        ("the difference of one step is not divided by h", f(x + h) - f(x)),
        ("this is the value of f", f(x)),
    ):
        if abs(got - value) <= 1e-6 * max(1.0, abs(value)):
            return said
    if h < 1e-8:
        return f"h = {h:.0e} is too small: of two nearly equal numbers few digits are left after the subtraction"
    if len(ways) == 1:
        return "one step alone is off in proportion to h; take one up and one down"
    if h > 1e-3:
        return f"h = {h:.0e} is too large"
    return "it should be (f(x + h) - f(x - h)) / (2 h)"


def square(cls: Any) -> None:
    """y = x^2."""
    rng = np.random.default_rng(0)
    inputs = [uniform(rng, 5), uniform(rng, 2, 3), uniform(rng, 1, 4, 2)]
    found = [forward(make(cls), x) for x in inputs]
    causes = {"it is doubled, not squared": [2 * x for x in inputs], "x itself came back": inputs}
    causes["it is the absolute value"] = [np.abs(x) for x in inputs]
    compare("compute_forward: y", found, [x**2 for x in inputs], causes)
    x, d = uniform(rng, 3, 2), uniform(rng, 3, 2)
    result, _ = backward_of(make(cls), x, d)
    mistakes = {
        "the 2 is missing: dy/dx = 2 x": d * x,
        "dObj_dOut is missing: the gradient is dObj_dOut times 2 x": 2 * x,
        "x is missing: dy/dx = 2 x, not 2": 2 * d,
        "the square stands where its derivative should: dy/dx = 2 x": d * x * x,
        "backward needs x, and forward has remembered x^2": 2 * d * x * x,
        "the sign of x is lost": 2 * d * np.abs(x),
        "dObj_dOut is added, and should be multiplied": d + 2 * x,
        "dObj_dOut is averaged, and each entry has one of its own": d.mean() * 2 * x,
        "it is divided by the batch size, and nothing was averaged": 2 * d * x / len(x),
    }
    known_mistakes("compute_backward: dObj_dIn", result, 2 * d * x, mistakes)
    contracts(lambda: make(cls), inputs)


def mul(cls: Any) -> None:
    """y = k x with one knob."""
    rng = np.random.default_rng(0)
    inputs = [uniform(rng, 5), uniform(rng, 2, 3), uniform(rng, 1, 4, 2)]
    for k, x in zip((2.5, -0.5, 1.5), inputs, strict=True):
        made = make(cls, k)
        y = forward(made, x)
        causes = {
            "k is added, not multiplied": [x + k],
            "x is squared": [k * x * x],
            "x itself came back: is k used?": [x],
            "x is divided by k": [x / k],
        }
        compare("compute_forward: y", [y], [k * x], causes)
        params, _ = parameters(made)
        if len(params) != 1 or params[0].size != 1:
            shapes = ", ".join(str(p.shape) for p in params) or "none"
            raise Wrong(f"Mul has one knob, an array k of shape (1,) beside grad_k; get_params_and_grads finds {shapes}")
        d = uniform(rng, *x.shape)
        result, grads = backward_of(made, x, d)
        _mistakes_of_mul(k, x, d, result, grads)
        (contract if k == 2.5 else gradients)(made, x)


def _mistakes_of_mul(k: float, x: Any, d: Any, result: Any, grads: list[Any]) -> None:
    of_input = {
        "k is missing: dy/dx = k": d,
        "x stands where k should: dy/dx = k": d * x,
        "x comes in as well: dy/dx = k alone": d * k * x,
        "the sign is flipped": -d * k,
    }
    known_mistakes("compute_backward: dObj_dIn", result, d * k, of_input)
    of_knob = {
        "the sign is flipped": -np.sum(d * x),
        "a mean stands where a sum should: the changes of all entries add up": np.mean(d * x),
        "x is missing: dy/dk = x": np.sum(d),
        "dObj_dOut is missing": np.sum(x),
        "nothing is added to it": 0.0,
        "k x was remembered, and dy/dk = x": np.sum(d * k * x),
        "multiply entry by entry first, then sum": np.sum(d) * np.sum(x),
        "it is added twice": 2 * np.sum(d * x),
    }
    causes = {said: np.reshape(a, grads[0].shape) for said, a in of_knob.items()}
    known_mistakes("compute_backward: grad_k", grads[0], np.reshape(np.sum(d * x), grads[0].shape), causes)


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
    nested = make(cls, [make(cls, [Mul(2.0), Square()]), Mul(0.5)])
    gradients(nested, x)
    generator = make(cls, [Mul(2.0), Square()])
    call("compute_forward", generator.compute_forward, x)
    again = call("compute_forward", generator.compute_forward, x)
    compare("compute_forward, called a second time: y", [again], [(2 * x) ** 2])


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
