"""Derivatives from numbers alone: differences of a function along a line, with an estimate of their error.

With d(t) the change of the outputs along a line, h a step, u the weights of the outputs in the objective:

- a central difference, u (d(h) - d(-h)) / 2h: its error is about 4e-9 for a smooth function at the best step;
- five points, u (8 (d(h) - d(-h)) - (d(2h) - d(-2h))) / 12 h: about 5e-12 at h = 1e-4;
- extrapolation of central differences over steps from 0.1 down to 1e-10, for lines on which one step does not fit: those
  that come close to a kink or to the border of a domain, that are steep, or that swing quickly;
- the complex step, u Im f(ih) / h, exact to the last digit where a function computes with complex numbers all the way.
  It is silently wrong through abs, norm, var and others, so it is believed only where a real difference agrees.

Sources: Abramowitz, Stegun, "Handbook of Mathematical Functions" (1964), table 25.2 (five points); Ridders, "Accurate
computation of F'(x) and F'(x)F''(x)" (1982) (extrapolation); Moré, Wild, "Estimating computational noise" (2011) (noise from
a table of differences); Lepski, "On a problem of adaptive estimation in Gaussian white noise" (1990) (which step to take);
Squire, Trapp, "Using complex variables to estimate derivatives of real functions" (1998).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pancake.testing.subject import Vector

CENTRAL, FIVE_POINT, EXTRAPOLATED, COMPLEX = "central", "five-point", "extrapolated", "complex step"

# Numbers closer to 0 than this are moved in steps for numbers of this size, or there would be too many steps.
CLOSEST = 1e-60


@dataclass
class Line:
    """The objective along a line through the point of a check.

    Attributes
    ----------
    outputs : callable
        The outputs as one vector, at a distance from the point; nan where the function does not compute.
    here : ndarray
        The outputs at the point.
    u : ndarray
        Their weights in the objective.
    scale : float
        The distance over which a function is expected to change: 1, or the size of the number that is moved.
    nearest : float
        The smallest distance that matters: the size of the number that is moved, where that is below 1.
    eps : float
        The relative precision in which the function computes.
    """

    outputs: Callable[[float], Vector]
    here: Vector
    u: Vector
    scale: float
    nearest: float
    eps: float

    def change(self, t: float) -> Vector:
        """How the outputs at a distance differ from those at the point; one that stays inf or nan does not."""
        there = self.outputs(t)
        with np.errstate(invalid="ignore"):
            stays = (there == self.here) | (np.isnan(there) & np.isnan(self.here))
            return np.where(stays, 0.0, there - self.here)

    def objective(self, change: Vector) -> float:
        """The change of the objective."""
        return float(np.dot(self.u, change))


@dataclass
class Estimate:
    """A numerical derivative.

    Attributes
    ----------
    value, error : float
        The derivative, and how far it may be off.
    kink : bool
        Whether the slopes to the left and to the right of the point differ.
    method : str
    low, high : float
        At a kink, the bounds of what a gradient may be: each output may count with any slope between its two.
    bounds_error : float
        How far the bounds may be off.
    steep : bool
        Whether the slope grows without bound towards the point, as that of a cube root at 0 does.
    """

    value: float
    error: float
    kink: bool
    method: str
    low: float = -math.inf
    high: float = math.inf
    bounds_error: float = 0.0
    steep: bool = False


def central(line: Line) -> Estimate:
    """One central difference with the step that suits it, eps^(1/3); larger for large numbers, of which less is left."""
    h = _power_of_two(line.eps ** (1 / 3) * math.sqrt(line.scale))
    right, left = line.objective(line.change(h)), -line.objective(line.change(-h))
    return _first_look((right + left) / (2 * h), right / h, left / h, CENTRAL)


def five_point(line: Line) -> Estimate:
    """One difference of five points with the step that suits it, about eps^(1/4)."""
    h = _power_of_two(line.eps**0.25 * math.sqrt(line.scale))
    near, far = (line.objective(line.change(t)) for t in (h, 2 * h))
    near_left, far_left = (-line.objective(line.change(-t)) for t in (h, 2 * h))
    value = (8 * (near + near_left) - (far + far_left)) / (12 * h)
    return _first_look(value, (4 * near - far) / (2 * h), (4 * near_left - far_left) / (2 * h), FIVE_POINT)


def _first_look(value: float, right: float, left: float, method: str) -> Estimate:
    """An estimate without its error, with the one-sided slopes as bounds: what it looks like, no more."""
    return Estimate(value, 0.0, False, method, min(left, right), max(left, right))


def extrapolated(line: Line) -> Estimate:
    """The best of extrapolated central differences over many steps, with its error, or the news that there is a kink.

    From the smallest step upwards, an estimate is accepted while it agrees with all those of smaller steps within
    their noise; so a large step that leaves the neighbourhood of the point is not believed, however steady it looks.
    """
    steps = _steps(line)
    forward = [line.change(h) for h in steps]
    back = [line.change(-h) for h in steps]
    pairs = list(zip(steps, forward, back, strict=True))
    slopes = [np.nan_to_num(np.abs(p - m) / (2 * h), posinf=0.0) for h, p, m in pairs]
    noise = np.maximum(_noise(line, forward + back, np.median(slopes, axis=0)), _grain(line, pairs))
    weight = np.abs(line.u)
    unrest = 3 * float(np.dot(weight, noise))
    jumps = bool(np.any(_jumps(forward, noise)[line.u != 0])) or bool(np.any(_jumps(back, noise)[line.u != 0]))
    kink = jumps or _is_kink([(float(np.dot(weight, np.abs(p + m))) / h, unrest / h) for h, p, m in pairs])
    first = [line.objective(p - m) / (2 * h) for h, p, m in pairs]
    second = [(16 * fine - coarse) / 15 for coarse, fine in itertools.pairwise(first)]
    third = [(256 * fine - coarse) / 255 for coarse, fine in itertools.pairwise(second)]
    rounding_of_all = 4 * math.hypot(*(line.u * noise))  # which, other than the norm of NumPy, does not overflow
    roundings = [rounding_of_all / h for h in steps[2:]]
    best = Estimate(math.nan, math.inf, kink, EXTRAPOLATED, steep=_is_steep(first))
    accepted: list[tuple[float, float]] = []
    for value, lower, rounding in reversed(list(zip(third, second[1:], roundings, strict=True))):
        rounding += 64 * line.eps * abs(value)
        if not math.isfinite(value) or any(abs(value - v) > 2 * (rounding + r) for v, r in accepted):
            break
        accepted.append((value, rounding))
        error = rounding + abs(value - lower)
        if error < best.error:
            best.value, best.error = value, error
    if line.nearest < steps[-1] and len(accepted) < len(steps) / 2:
        best.error = math.inf  # all steps reach far beyond the number, and do not agree: x log|x| is steeper the closer to 0
    if kink and not jumps:
        best.low, best.high, best.bounds_error = _bounds(line.u, pairs, unrest)
    return best


def _bounds(u: Vector, pairs: list[tuple[float, Vector, Vector]], unrest: float) -> tuple[float, float, float]:
    """The least and the largest that a gradient may be at a kink, and how far these may be off.

    The slopes to the left and to the right of each output are extrapolated over two steps; those steps are taken that agree
    best with the next.
    """
    sides_of_steps = [p / h for h, p, _ in pairs], [-m / h for h, _, m in pairs]
    right, left = ([(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(side)] for side in sides_of_steps)
    best = (-math.inf, math.inf, math.inf)
    for k in range(1, len(right)):
        off = np.dot(np.abs(u), np.abs(right[k] - right[k - 1]) + np.abs(left[k] - left[k - 1]))
        error = float(off) + 2 * unrest / pairs[k + 1][0]
        if error < best[2]:
            sides = u * right[k], u * left[k]
            best = float(np.minimum(*sides).sum()), float(np.maximum(*sides).sum()), error
    return best


def _jumps(changes: list[Vector], noise: Vector) -> NDArray[np.bool_]:
    """Which outputs change by as much for the smallest step as for one 256 times as large."""
    small, large = np.abs(changes[-1]), np.abs(changes[-5] if len(changes) > 4 else changes[0])
    with np.errstate(invalid="ignore"):
        return (small > 0.5 * large) & (small > 1e3 * noise) & np.isfinite(small)


def _is_steep(slopes: list[float]) -> bool:
    """Whether central differences grow with each of the last steps, and less than those of mere noise do, 4 times."""
    last = slopes[-6:]
    return all(
        1.3 * abs(coarse) < abs(fine) < 3.9 * abs(coarse) and fine * coarse > 0 for coarse, fine in itertools.pairwise(last)
    )


def _grain(line: Line, pairs: list[tuple[float, Vector, Vector]]) -> Vector:
    """The grain of outputs that stand still for small steps in both directions and move for all larger ones.

    Something on the way to them is narrower than double precision: what they do in the smallest step that moves them is
    rounding, and that they do not move in smaller ones means nothing.
    """
    sides = np.array([[p for _, p, _ in pairs], [m for _, _, m in pairs]])
    moves = sides != 0
    moving = moves.sum(axis=1)  # by side and output, over all steps
    begins = np.cumprod(moves, axis=1).sum(axis=1)  # from the largest step down, before the first that does not move it
    fine = sum(h > 1e-5 * line.scale for h, _, _ in pairs)
    grainy = np.all((moving == begins) & (begins > fine) & (begins < len(pairs)), axis=0)
    if not grainy.any():
        return np.zeros_like(line.here)
    smallest = np.take_along_axis(np.abs(sides), np.maximum(begins - 1, 0)[:, None], axis=1)[:, 0].max(axis=0)
    return np.where(grainy & np.isfinite(smallest), smallest, 0.0)


def _steps(line: Line) -> list[float]:
    """Steps by powers of 4, from a tenth of the scale down to where rounding takes over."""
    largest = _power_of_two(line.scale / 8)
    return [largest * 4.0**-k for k in range(max(4, math.ceil(math.log(largest / _smallest(line), 4)) + 1))]


def _smallest(line: Line) -> float:
    """Where rounding takes over; smaller steps than the last digits of a large number do not even move it."""
    digit = float(np.finfo(float).eps) * line.scale * line.nearest
    return max(max(line.nearest, CLOSEST) * line.eps**0.65, 4 * digit)


def _noise(line: Line, changes: list[Vector], slope: Vector) -> Vector:
    """What rounding may do to each output: seen in the fourth differences of close values, and at least one digit.

    The digit is one of the output, and one of the number that is moved, which `slope` carries over to the output.
    An output that does not move along the line has none. The values lie on one side of the point, which may be a kink.
    """
    tiny = _power_of_two(_smallest(line))
    values = np.array([np.zeros_like(line.here), *(line.change(k * tiny) for k in range(1, 7))])
    with np.errstate(invalid="ignore"):
        seen = np.max(np.abs(np.diff(values, 4, axis=0)), axis=0) / math.sqrt(70)
        least = line.eps * (np.abs(line.here) + line.scale * line.nearest * slope)
        moved = np.any(np.array(changes) != 0, axis=0)
    return np.where(moved, np.fmax(np.where(np.isfinite(least), least, 0.0), np.where(np.isfinite(seen), seen, 0.0)), 0.0)


def _is_kink(jumps: list[tuple[float, float]]) -> bool:
    """Whether the slopes left and right of the point differ, from (difference of the slopes, its noise) by step.

    Where a function is smooth the difference falls with the step, until noise takes over; at a kink it stays.
    """
    finite = [(jump, noise) for jump, noise in jumps if math.isfinite(jump)]
    if not finite:
        return False
    least = min(range(len(finite)), key=lambda k: sum(finite[k]))
    jump, noise = finite[least]
    coarse = min(least, len(finite) - 2)
    falls = coarse >= 0 and finite[coarse + 1][0] < 0.5 * finite[coarse][0]
    return jump > 8 * noise and jump > 0 and not falls


def _power_of_two(h: float) -> float:
    """The power of two nearest to h: x + h is then exact nearly everywhere."""
    return float(2.0 ** round(math.log2(h)))
