"""The judge of lesson 9: a Function of which nothing is known but that it bends and has a knob."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.function import Function
from pancake.workshop.judging import (
    apart,
    backward_of,
    contract,
    forward,
    gradients,
    make,
    parameters,
    uniform,
)
from pancake.workshop.verdicts import Wrong


def own(cls: Any) -> None:
    """Any Function of (B, n) with a knob that bends."""
    rng = np.random.default_rng(0)
    for n in (3, 1, 2):
        made = make(cls, n)
        if not isinstance(made, Function):
            raise Wrong("Own does not derive from pancake.Function, and so no Sequential takes it")
        params, _ = parameters(made)
        x = uniform(rng, 4, n)
        y = np.asarray(forward(made, x), float)
        if y.ndim == 0 or len(y) != 4:
            raise Wrong(
                f"compute_forward: an input of 4 examples gives shape {y.shape}; expected a row for each example, (4, ...)"
            )
        if not params:
            raise Wrong(
                "Own has no knob: get_params_and_grads finds nothing; make self.a and self.grad_a in __init__, both arrays"
            )
        for number, p in enumerate(params):
            if p.dtype.kind != "f":
                raise Wrong(f"parameter {number} holds {p.dtype}, which no optimizer can change a little; use np.ones(n), say")
            p[...] = np.where(rng.random(p.shape) < 0.5, 0.5, 0.9) + 0.3 * rng.random(p.shape)
        backward_of(made, x, uniform(rng, *y.shape))
        (contract if n == 3 else gradients)(made, x)
        gradients(made, x[:2])
    apart(lambda: make(cls, 3), [uniform(rng, 4, 3), uniform(rng, 4, 3)])
    if _is_affine(make(cls, 2), rng):
        raise Wrong("it is a straight line in x, so it does not bend: two of them in a row are one")


def _is_affine(made: Any, rng: np.random.Generator) -> bool:
    a, b = uniform(rng, 4, 2), uniform(rng, 4, 2)
    outputs = [np.asarray(made.compute_forward(z.copy()), float) for z in (a, b, (a + b) / 2)]
    return bool(np.allclose((outputs[0] + outputs[1]) / 2, outputs[2], atol=1e-9))
