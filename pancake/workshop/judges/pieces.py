"""The judges of lessons 1 to 3: derivatives by hand and by numbers, single pieces, and stacks of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.functions.elementwise import Exp, Mul, Square
from pancake.functions.linear import Linear
from pancake.workshop.judging import array, call, compare, contract, contracts, gradients, make, parameters, uniform
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
    found = [call("compute_forward", make(cls).compute_forward, x.copy()) for x in inputs]
    causes = {"it is doubled, not squared": [2 * x for x in inputs], "x itself came back": inputs}
    causes["it is the absolute value"] = [np.abs(x) for x in inputs]
    compare("compute_forward: y", found, [x**2 for x in inputs], causes)
    contracts(lambda: make(cls), inputs)


def mul(cls: Any) -> None:
    """y = k x with one knob."""
    rng = np.random.default_rng(0)
    inputs = [uniform(rng, 5), uniform(rng, 2, 3), uniform(rng, 1, 4, 2)]
    for k, x in zip((2.0, -0.5, 1.5), inputs, strict=True):
        made = make(cls, k)
        y = call("compute_forward", made.compute_forward, x.copy())
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
        (contract if k == 2 else gradients)(made, x)


def stack(cls: Any) -> None:
    """The library's pieces in the participant's stack."""
    rng = np.random.default_rng(0)
    x = uniform(rng, 3, 2) / 2

    def pieces() -> list[Any]:
        return [Linear(2, 3, rng=0), Mul(0.5), Square(), Linear(3, 2, rng=1), Exp()]

    parts = pieces()
    made = make(cls, parts)
    y = x
    for piece in pieces():
        y = piece(y)
    backwards = x
    try:
        for piece in reversed(pieces()):
            backwards = piece(backwards)
    except ValueError:
        backwards = np.full((1, 1), np.nan)
    causes = {
        "only the first piece has seen x": [parts[0](x)],
        "only the last piece's output of x came back": [Exp()(x)],
        "x itself came back": [x],
        "the pieces are run last to first": [backwards],
        "the last piece is left out": [_through(pieces()[:-1], x)],
        "the first piece is left out": [_through(pieces()[1:], x)],
    }
    compare("compute_forward: y", [call("compute_forward", made.compute_forward, x)], [y], causes)
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
    try:
        for piece in pieces:
            x = piece(x)
    except ValueError:
        return np.full((1, 1), np.nan)
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
        if {id(a) for a in found} == {id(b) for b in expected}:
            raise Wrong(f"get_params_and_grads: the {what}s are not in the order of the pieces, first to last")
        if any(np.shares_memory(a, b) for a in found for b in expected):
            raise Wrong(f"get_params_and_grads: the {what}s are views, or stand in the wrong list; hand out the arrays themselves")
        raise Wrong(
            f"get_params_and_grads: the {what}s are copies; an optimizer that changes them changes nothing in the pieces. "
            "Hand out the arrays themselves"
        )
