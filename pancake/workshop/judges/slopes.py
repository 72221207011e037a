"""The judges of lesson 1: derivatives by hand, and by numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.workshop.judging import (
    array,
    call,
    compare,
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

    smalls: dict[str, Callable[[float, float, float], float]] = {
        "k": lambda k, b, v: v,
        "b": lambda k, b, v: 1.0,
        "v": lambda k, b, v: k,
    }
    small = smalls[name]
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
    for other, formula in smalls.items():
        if other != name:
            said = f"this is dE/d{other}; du/d{name} is {others[name]}. The order is dE/dk, dE/db, dE/dv"
            mistakes.setdefault(said, [2 * (k * v + b) * formula(k, b, v) for k, b, v in trials])
    mistakes["the factor du/db is 1"] = (
        each(lambda k, b, v: 2 * (k * v + b) * b) if name == "b" else each(lambda k, b, v: math.nan)
    )
    return mistakes


def slope(solution: Any) -> None:
    """Compare with known slopes of curves: six digits are asked for."""
    curves: list[tuple[str, Callable[[float], float], Callable[[float], float]]] = [
        ("x^2", lambda x: x * x, lambda x: 2 * x),
        ("sin x", math.sin, math.cos),
        ("exp x", math.exp, math.exp),
        ("x^3 - 2 x", lambda x: x**3 - 2 * x, lambda x: 3 * x * x - 2),
        ("x^2 + 100", lambda x: x * x + 100, lambda x: 2 * x),  # of large values few digits are left by too small an h
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
