"""The judges of lesson 5: two activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.workshop.judging import (
    array,
    backward_of,
    call,
    compare,
    contracts,
    forward,
    known_mistakes,
    make,
    uniform,
)
from pancake.workshop.verdicts import Wrong


def sigmoid(cls: Any) -> None:
    """The sigmoid, 1 / (1 + exp(-x)), also far from 0."""
    rng = np.random.default_rng(0)
    inputs = [uniform(rng, 5), uniform(rng, 2, 3), 4 * uniform(rng, 1, 4, 2)]
    wanted = [0.5 * np.tanh(x / 2) + 0.5 for x in inputs]
    causes = {
        "this is 1 / (1 + exp(x)): the sign in front of x is missing": [1 - w for w in wanted],
        "this is the hyperbolic tangent": [np.tanh(x) for x in inputs],
        "this is exp(x)": [np.exp(x) for x in inputs],
        "this is exp(-x)": [np.exp(-x) for x in inputs],
        "this is 1 + exp(-x), without 1 / (...)": [1 + np.exp(-x) for x in inputs],
        "this is 1 / 1 + exp(-x): brackets are missing": [1 + np.exp(-x) for x in inputs],
        "this is 1 / exp(-x): the 1 + is missing": [np.exp(x) for x in inputs],
        "x itself came back": inputs,
        "the minus stands outside of exp: this is 1 / (1 - exp(x))": [1 / (1 - np.exp(x)) for x in inputs],
        "this is 1 / (1 - exp(-x))": [1 / (1 - np.exp(-x)) for x in inputs],
        "the slope came back, not the value": [w * (1 - w) for w in wanted],
    }
    compare("compute_forward: y", [forward(make(cls), x) for x in inputs], wanted, causes)
    made, far = make(cls), np.array([[-1000.0, -40.0, 0.0, 40.0, 1000.0]])
    y = array("compute_forward", call("compute_forward", made.compute_forward, far.copy()), far.shape)
    if not np.isfinite(y).all():
        index = int(np.argmin(np.isfinite(y[0])))
        raise Wrong(f"compute_forward: y is {y[0, index]} at x = {far[0, index]:g}; exp overflows, and inf / inf is nan")
    compare("compute_forward far from 0: y", [y], [[[0, 0, 0.5, 1, 1]]])
    x, d = uniform(rng, 2, 4), uniform(rng, 2, 4)
    result, _ = backward_of(make(cls), x, d)
    y = 1 / (1 + np.exp(-x))
    mistakes = {
        "this is y (1 + y), and should be y (1 - y)": d * y * (1 + y),
        "y is missing: dy/dx = y (1 - y)": d * (1 - y),
        "1 - y is missing: dy/dx = y (1 - y)": d * y,
        "dObj_dOut is missing": y * (1 - y),
        "this is x (1 - x), and should be y (1 - y): remember y": d * x * (1 - x),
        "this is 1 - y^2, the derivative of tanh": d * (1 - y * y),
        "the sign is flipped": -d * y * (1 - y),
        "it is twice what it should be": 2 * d * y * (1 - y),
        "the derivative of the derivative came in": d * y * (1 - y) * (1 - y * (1 - y)),
    }
    known_mistakes("compute_backward: dObj_dIn", result, d * y * (1 - y), mistakes)
    contracts(lambda: make(cls), inputs)


def relu(cls: Any) -> None:
    """The ReLU, max(x, 0)."""
    rng = np.random.default_rng(0)
    inputs = [np.abs(uniform(rng, *shape)) for shape in ((6,), (2, 4), (2, 4, 2))]
    for x in inputs:
        x.flat[::2] *= -1  # as many of the one sign as of the other
    found = [forward(make(cls), x) for x in inputs]
    causes = {
        "this is min(x, 0)": [np.minimum(x, 0) for x in inputs],
        "this is the absolute value": [np.abs(x) for x in inputs],
        "this is the mask, where x > 0; multiply it with x": [1.0 * (x > 0) for x in inputs],
        "x itself came back": inputs,
        "this is max(-x, 0): the sign is flipped": [np.maximum(-x, 0) for x in inputs],
        "negative x become 1, and should become 0": [np.where(x > 0, x, 1) for x in inputs],
        "what is positive became 0": [np.where(x > 0, 0, x) for x in inputs],
        "this is max(x, 1): the corner is at 0": [np.maximum(x, 1) for x in inputs],
        "x below 0 comes through, a little: that is a leaky ReLU": [np.where(x > 0, x, 0.01 * x) for x in inputs],
        "it is cut off above 1 as well": [np.clip(x, 0, 1) for x in inputs],
    }
    try:
        compare("compute_forward: y", found, [np.maximum(x, 0) for x in inputs], causes)
    except Wrong as error:
        if "expected shape" in str(error) and "got ()" in str(error):
            raise Wrong(
                f"{error}; a single number came back: np.max is the largest entry, np.maximum works entry by entry"
            ) from None
        raise
    x = inputs[1]
    d = uniform(rng, *x.shape)
    result, _ = backward_of(make(cls), x, d)
    mistakes = {
        "what forward has set to 0 gets a gradient: it does not reach the objective": d,
        "the mask is that of dObj_dOut, and should be that of x": d * (d > 0),
        "the mask is that of both x and dObj_dOut, and should be that of x": d * (d > 0) * (x > 0),
        "dObj_dOut is missing: these are ones": 1.0 * (x > 0),
        "where x < 0 stands 1, and should stand 0": np.where(x > 0, d, 1),
        "the sign is flipped": -d * (x > 0),
        "where x < 0 the gradient is turned round, and should be 0": d * np.sign(x),
        "the mask is the wrong way round": d * (x < 0),
        "x came in: dy/dx is 1 or 0": d * np.maximum(x, 0),
    }
    known_mistakes("compute_backward: dObj_dIn", result, d * (x > 0) + 0.0, mistakes)
    contracts(lambda: make(cls), inputs)
