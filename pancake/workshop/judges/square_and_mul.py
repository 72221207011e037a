"""The judges of lesson 2: the first two pieces."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.workshop.judging import (
    apart,
    backward_of,
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


def square(cls: Any) -> None:
    """The square: y = x^2."""
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
    """One knob: y = k x."""
    rng = np.random.default_rng(0)
    inputs = [uniform(rng, 5), uniform(rng, 2, 3), uniform(rng, 1, 4, 2)]
    for k, x in zip((2.5, -0.5, 1.5), inputs, strict=True):
        made = make(cls, k)
        y = forward(made, x)
        causes: dict[str, list[Any]] = {
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
    apart(lambda: make(cls, 2.5), [uniform(rng, 2, 3), uniform(rng, 2, 3)])


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
