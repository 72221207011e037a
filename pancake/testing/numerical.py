"""Derivatives from numbers alone: differences of a function along a line, with an estimate of their error.

Three rules are used. With f the outputs along a line, h a step and u the weights of the outputs in the objective:

- five points, u (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h: the error of a smooth function at h = 1e-4 is about 5e-12;
- Richardson extrapolation of central differences over a range of steps, for lines on which one step does not fit;
- the complex step, u Im f(ih) / h, exact to the last digit where a function computes with complex numbers all the way.
  It is silently wrong through abs, norm, var and others, so it is believed only where a real difference agrees.

Sources: Abramowitz, Stegun, "Handbook of Mathematical Functions" (1964), table 25.2; Ridders, "Accurate computation of
F'(x) and F'(x)F''(x)" (1982); Squire, Trapp, "Using complex variables to estimate derivatives of real functions" (1998).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pancake.testing.subject import GradientError, Snapshot, Subject, Vector

Line = Callable[[float], Vector]  # the outputs, as one vector, at a distance from the point of the check

FIVE_POINT, RICHARDSON, COMPLEX, CENTRAL = "five-point", "Richardson", "complex step", "central"


@dataclass
class Estimate:
    """A numerical derivative: its value, how far it may be off, whether there is a kink nearby, and the rule."""

    value: float
    error: float
    kink: bool
    method: str


def five_point(line: Line, here: Vector, u: Vector, scale: float, eps: float) -> Estimate:
    """One five-point difference; `kink` says that it should not be trusted before a closer look."""
    h = _step(eps**0.25 * scale)
    p1, m1, p2, m2 = line(h), line(-h), line(2 * h), line(-2 * h)
    three = _dot(u, p1 - m1) / (2 * h)
    value = _dot(u, 8 * (p1 - m1) - (p2 - m2)) / (12 * h)
    error = abs(value - three) + _noise(u, here, p1 - m1, eps) / h
    bend = _dot(np.abs(u), np.abs(p1 - 2 * here + m1)) / h
    slope = _dot(np.abs(u), np.abs(p1 - m1)) / (2 * h)
    if not np.isfinite(value) or not np.isfinite(bend):
        return Estimate(np.nan, np.inf, True, FIVE_POINT)
    return Estimate(value, error, bool(bend > 1e-2 * slope or abs(value - three) > 1e-4 * slope), FIVE_POINT)


def central(line: Line, here: Vector, u: Vector, scale: float, eps: float) -> Estimate:
    """One central difference with the step that suits it, (eps)^(1/3)."""
    h = _step(eps ** (1 / 3) * scale)
    p, m = line(h), line(-h)
    half_p, half_m = line(h / 2), line(-h / 2)
    value, finer = _dot(u, p - m) / (2 * h), _dot(u, half_p - half_m) / h
    error = abs(value - finer) + _noise(u, here, p - m, eps) / h
    bend = _dot(np.abs(u), np.abs(p - 2 * here + m)) / h
    slope = _dot(np.abs(u), np.abs(p - m)) / (2 * h)
    return Estimate(finer, error if np.isfinite(error) else np.inf, bool(not bend <= 1e-2 * slope), CENTRAL)


def richardson(line: Line, here: Vector, u: Vector, scale: float, eps: float) -> Estimate:
    """The best of extrapolated central differences over many steps; `kink` says that the slopes left and right differ."""
    if has_kink(line, here, u, scale, eps):
        return Estimate(np.nan, np.inf, True, RICHARDSON)
    best = Estimate(np.nan, np.inf, False, RICHARDSON)
    before = np.nan
    for exponent in range(1, 11):
        h = _step(10.0**-exponent * scale)
        difference, half = line(h) - line(-h), line(h / 2) - line(-h / 2)
        coarse, fine = _dot(u, difference) / (2 * h), _dot(u, half) / h
        value = (4 * fine - coarse) / 3
        error = max(abs(value - fine), abs(value - before), _noise(u, here, half, eps) / h)
        if np.isfinite(error) and error < best.error:
            best = Estimate(value, error, False, RICHARDSON)
        before = value
    return best


def has_kink(line: Line, here: Vector, u: Vector, scale: float, eps: float) -> bool:
    """Whether the slopes on both sides still differ when one comes close.

    Where a function is smooth, the difference of the slopes falls with the step; at a kink it stays.
    """
    jumps = []
    for h in (_step(eps**0.375 * scale), _step(eps**0.4375 * scale)):  # 1e-6 and 1e-7 in double precision
        p, m = line(h), line(-h)
        jump = _dot(np.abs(u), np.abs(p - 2 * here + m)) / h
        slope = _dot(np.abs(u), np.abs(p - here) + np.abs(here - m)) / h
        noise = 4 * _noise(u, here, p - m + (p - here), eps) / h
        jumps.append((jump, slope, noise))
    (far, _, _), (near, slope, noise) = jumps
    return bool(0.3 * far < near < 3 * far and near > 1e-6 * slope and near > 10 * noise)


def _step(h: float) -> float:
    """The power of two nearest to h: x + h is then exact nearly everywhere."""
    return float(2.0 ** round(math.log2(h)))


def _noise(u: Vector, here: Vector, difference: Vector, eps: float) -> float:
    """What rounding may do to u f, counting only those outputs that the line changes at all."""
    return 2 * eps * float(np.linalg.norm(u * np.where(difference != 0, here, 0.0)))


def _dot(u: Vector, f: Vector) -> float:
    return float(np.dot(u, f))


class Evaluator:
    """Evaluates the outputs of a subject while one of its arrays, an input or a parameter, is moved along a line.

    Parameters
    ----------
    subject : Subject
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.snapshot = Snapshot(subject.function)
        self.inputs = [np.array(x, order="C") for x in subject.inputs]
        self.params, _ = subject.params_and_grads()
        first = self.outputs()
        self.must_rewind = self.snapshot.generators_moved()
        second = self.outputs()
        if not self.must_rewind and not np.array_equal(first, second, equal_nan=True):
            self.must_rewind = True
        if self.must_rewind:
            self.snapshot.restore()
            first = self.outputs()
            self.snapshot.restore()
            if not np.array_equal(first, self.outputs(), equal_nan=True):
                raise GradientError(
                    f"{subject.name}: compute_forward is not deterministic: the same input in the same state gave two outputs; "
                    "draw random numbers from a numpy.random.Generator that is an attribute"
                )
        self.here = first
        kinds = [y.dtype for y in subject.forward(self._read_only())[0]] + [p.dtype for p in self.params]
        self.eps = max(float(np.finfo(kind).eps) for kind in kinds)

    def outputs(self) -> Vector:
        """All outputs as one vector of float64, at the arrays as they are now."""
        outputs, _ = self.subject.forward(self._read_only())
        return np.concatenate([np.asarray(y, np.float64).ravel() for y in outputs]) if outputs else np.empty(0)

    def _read_only(self) -> list[Vector]:
        views = [x.view() for x in self.inputs]
        for view in views:
            view.flags.writeable = False
        return views

    def entry(self, array: Vector, index: int) -> Line:
        """The line along one entry of an array, which is one of `inputs` or of `params`."""

        def line(t: float) -> Vector:
            before = array.flat[index]
            array.flat[index] = before + t
            try:
                return self._evaluate()
            finally:
                array.flat[index] = before

        return line

    def direction(self, array: Vector, v: Vector) -> Line:
        """The line along a direction in the space of an array."""

        def line(t: float) -> Vector:
            before = array.copy()
            array[...] = before + t * v
            try:
                return self._evaluate()
            finally:
                array[...] = before

        return line

    def _evaluate(self) -> Vector:
        if self.must_rewind:
            moved = [(a, a.copy()) for a in self.params]
            self.snapshot.restore()
            for a, content in moved:
                a[...] = content
        return self.outputs()

    def complex(self, array: Vector) -> Callable[[int], Vector] | None:
        """A function that gives Im f(ih) / h along an entry; None where the subject does not compute with complex numbers."""
        twin = array.astype(np.complex128)
        h = 1e-20
        position = next((i for i, x in enumerate(self.inputs) if x is array), None)
        inside = Snapshot(self.subject.function)

        def derivative(index: int) -> Vector:
            twin.flat[index] += 1j * h
            inputs: list[Any] = self._read_only()
            if position is None:
                inside.exchange(array, twin)
            else:
                inputs[position] = twin
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", np.exceptions.ComplexWarning)
                    outputs, _ = self.subject.forward(inputs)
            finally:
                inside.exchange(twin, array)
                twin.flat[index] = array.flat[index]
            if not any(np.iscomplexobj(y) for y in outputs):
                raise GradientError("the outputs are real")
            return np.concatenate([np.imag(y).ravel() / h for y in outputs])

        try:
            derivative(0)
        except GradientError:
            return None
        return derivative
