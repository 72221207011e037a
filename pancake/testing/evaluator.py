"""A subject at a point, evaluated again and again with one of its arrays moved."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake.testing.numerical import Line
from pancake.testing.snapshot import Snapshot
from pancake.testing.subject import CallError, GradientError, Subject, Vector, split

# Relative moves: the first two show in single precision, the last does not.
WIDE, COARSE, FINE = 2.0**-16, 2.0**-20, 2.0**-36


def stands_still(change: Callable[[float], Vector], rounding: float) -> bool:
    """Whether most of what changes in wide and coarse moves, and must show in a fine one as well, stands still there."""
    wide, coarse, fine = change(WIDE), change(COARSE), change(FINE)
    with np.errstate(all="ignore"):
        power = np.log(wide / coarse) / math.log(WIDE / COARSE)  # 2 where changes are quadratic, 0 behind a kink that was crossed
        expected = (coarse != 0) & (power > 0.5) & (coarse * (FINE / COARSE) ** np.fmax(power, 1.0) > 64 * rounding)
    return bool(expected.any() and np.mean(fine[expected] == 0) > 0.5)


class Evaluator:
    """Evaluates the outputs of a subject while one of its arrays, an input or a parameter, is moved along a line.

    Attributes
    ----------
    inputs, params : list of ndarray
        The arrays that may be moved; the inputs are copies.
    here : ndarray
        The outputs at the point, as one vector.
    in_single : bool
        Whether the outputs move in steps coarser than those of double precision: something inside is narrower.
    eps : float
        The relative precision of the outputs; of several arrays that are moved, the worst.
    rounding : float
        What rounding may leave of a difference of numbers as large as those that come in and out.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.snapshot = Snapshot(subject.function, subject.bulk)
        self.inputs = [np.array(x, order="C") for x in subject.inputs]
        self.params, _ = subject.params_and_grads()
        self.here = self.outputs()
        self.must_rewind = self.snapshot.generators_moved() or bool(self.snapshot.global_generator_moved())
        grown = self.snapshot.grown()
        second = self.outputs()
        if self.must_rewind or self.snapshot.grown() > grown or not np.array_equal(self.here, second, equal_nan=True):
            self.must_rewind = True
            self.here, second = self._evaluate(), self._evaluate()
            if not np.array_equal(self.here, second, equal_nan=True):
                raise GradientError(
                    f"{subject.name}: compute_forward is not deterministic: the same input in the same state gave two outputs; "
                    "draw random numbers from a numpy.random.Generator that is an attribute"
                )
        self._refuse_nan()
        kinds = [y.dtype for y in subject.forward(self._views())[0]] + [p.dtype for p in self.params if p.dtype.kind == "f"]
        self.eps = max(float(np.finfo(kind).eps) for kind in kinds)
        single = float(np.finfo(np.float32).eps)
        self._eps = {id(a): self.eps for a in self.inputs + self.params}
        self.in_single = False
        for array in (a for a in self.inputs + self.params if a.dtype.kind == "f" and self.eps < 1e-12):
            if self._moves_in_steps(array):
                self._eps[id(array)], self.in_single = single, True
        if self.in_single:
            self.eps = single
        largest = (float(np.max(np.abs(a[np.isfinite(a)]), initial=1.0)) for a in [self.here, *self.inputs])
        self.rounding = 64 * self.eps * max(largest)

    def _refuse_nan(self) -> None:
        if np.isnan(self.here).any() and all(np.isfinite(a).all() for a in self.inputs + self.params):
            raise GradientError(
                f"{self.subject.name}: compute_forward returned nan for a finite input ({int(np.isnan(self.here).sum())} of "
                f"{self.here.size} entries); does it overflow, or is x outside of its domain?"
            )

    def _moves_in_steps(self, array: Vector) -> bool:
        """Whether outputs that move when an array moves by 1e-6 stand still when it moves by 1e-11."""
        before, sign = array.copy(), np.random.default_rng(0).choice([-1.0, 1.0], array.shape)

        def change(t: float) -> Vector:
            array[...] = before * (1 + t * sign)
            try:
                return np.abs(self._evaluate() - self.here)
            finally:
                array[...] = before

        # Of numbers that cancel, what is left of the outputs says nothing about rounding.
        largest = max(float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) for a in (self.here, array))
        return stands_still(change, self.eps * largest)

    def eps_of(self, array: Vector) -> float:
        """The relative precision with which the outputs follow an array."""
        return self._eps[id(array)]

    def _views(self) -> list[Vector]:
        """The inputs, read-only and each time other objects: a function may know by identity what it has seen."""
        return [_read_only(x) for x in self.inputs]

    def outputs(self) -> Vector:
        """All outputs as one vector of float64, at the arrays as they are now."""
        outputs, _ = self.subject.forward(self._views())
        flat = [np.asarray(y, np.float64).ravel() for y in outputs]
        return flat[0].copy() if len(flat) == 1 else np.concatenate(flat)

    def _evaluate(self) -> Vector:
        if self.must_rewind:
            moved = [(a, a.copy()) for a in self.params]
            self.snapshot.restore()
            for a, content in moved:
                a[...] = content
        try:
            outputs = self.outputs()
        except CallError:  # next to the point, where it may lie on the border of the domain
            return np.full(self.here.shape, np.nan)
        return outputs if outputs.shape == self.here.shape else np.full(self.here.shape, np.nan)

    def named_arrays(self) -> Iterator[tuple[str, Vector]]:
        """The inputs and parameters, by the names of the report."""
        yield from zip(self.subject.input_names, self.inputs, strict=True)
        yield from zip(self.subject.param_names(self.params), self.params, strict=True)

    def gradients(self, u: Vector) -> dict[str, Vector]:
        """What backward says, by name, after one forward at the input as it was given."""
        subject = self.subject
        self.snapshot.restore()
        subject.zero_grads()
        outputs, out = subject.forward([_read_only(x) for x in subject.inputs])
        flat = np.concatenate([np.ravel(y) for y in outputs])
        if not np.allclose(flat, self.here, rtol=1e-6, atol=1e-9 * np.abs(self.here).max(initial=0), equal_nan=True):
            raise GradientError(f"{subject.name}: compute_forward gives another output for a contiguous copy of the same input")
        of_inputs = subject.backward([_read_only(part) for part in split(u, outputs)], out)
        gradients = [*of_inputs, *subject.params_and_grads()[1]]
        return {
            name: np.array(b, np.float64)
            for (name, array), b in zip(self.named_arrays(), gradients, strict=True)
            if b is not None and array.dtype.kind == "f"
        }

    # --- lines ---

    def entry(self, array: Vector, index: int, u: Vector) -> Line:
        """The line along one entry of an array, which is one of `inputs` or of `params`."""

        def outputs(t: float) -> Vector:
            before = array.flat[index]
            array.flat[index] = before + t
            try:
                return self._evaluate()
            finally:
                array.flat[index] = before

        size = abs(float(array.flat[index])) or 1.0
        return Line(outputs, self.here, u, max(1.0, size), min(1.0, size), self.eps_of(array))

    def direction(self, array: Vector, v: Vector, u: Vector) -> Line:
        """The line along a direction in the space of an array."""

        def outputs(t: float) -> Vector:
            before = array.copy()
            array[...] = before + t * v
            try:
                return self._evaluate()
            finally:
                array[...] = before

        moved = np.abs(array[v != 0])
        largest = float(np.max(moved, initial=0.0)) or 1.0  # whose square may be too large for a number
        size = largest * math.sqrt(np.square(moved / largest).sum() / max(moved.size, 1)) or 1.0
        return Line(outputs, self.here, u, max(1.0, size), min(1.0, size), self.eps_of(array))

    def complex_step(self, array: Vector) -> Callable[[int], Vector] | None:
        """A function that gives Im f(ih) / h along an entry; None where the subject does not compute with complex numbers."""
        twin = array.astype(np.complex128)
        h = 1e-20
        position = next((i for i, x in enumerate(self.inputs) if x is array), None)
        inside = Snapshot(self.subject.function, self.subject.bulk)

        def derivative(index: int) -> Vector:
            twin.flat[index] += 1j * h
            inputs: list[Any] = self._views()
            if position is None:
                inside.exchange(array, twin)
            else:
                inputs[position] = _read_only(twin)
            self.snapshot.rewind()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", np.exceptions.ComplexWarning)
                    outputs, _ = self.subject.forward(inputs, may_be_complex=True)
            finally:
                inside.restore()
                twin.flat[index] = array.flat[index]
            if not any(np.iscomplexobj(y) for y in outputs):
                raise GradientError("the outputs are real")
            return np.concatenate([np.imag(y).ravel() / h for y in outputs])

        try:
            derivative(0)
        except GradientError:
            return None
        return derivative


def _read_only(x: NDArray[Any]) -> NDArray[Any]:
    view = x.view()
    view.flags.writeable = False
    return view
