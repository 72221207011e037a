"""The judge of lesson 4: the linear layer, whichever way round its weights are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake.workshop.judging import (
    apart,
    backward_of,
    compare,
    contract,
    forward,
    gradients,
    known_mistakes,
    make,
    parameters,
    uniform,
)
from pancake.workshop.verdicts import Wrong


def linear(cls: Any) -> None:
    """The weighted sums: y = x W^T + b, whichever way round W is kept."""
    rng = np.random.default_rng(0)
    for n_in, n_out, batch in ((3, 2, 4), (2, 3, 1), (4, 1, 3)):
        made = make(cls, n_in, n_out)
        params, _ = parameters(made)
        x = uniform(rng, batch, n_in)
        shapes = {p.shape for p in params}
        if len(params) != 2 or not shapes <= {(n_out, n_in), (n_in, n_out), (n_out,), (1, n_out)}:
            raise Wrong(
                f"Linear({n_in}, {n_out}) has two parameters, weight ({n_out}, {n_in}) and bias ({n_out},); "
                f"get_params_and_grads finds {', '.join(str(p.shape) for p in params) or 'none'}"
            )
        weight = next((p for p in params if p.size == n_in * n_out and p.ndim == 2), params[0])
        bias = next(p for p in params if p is not weight)
        for p in params:  # zeros would hide what is wrong
            p[...] = uniform(rng, *p.shape)
        W, b = (weight if weight.shape == (n_out, n_in) else weight.T), bias.reshape(-1)
        causes = {
            "b is not added": [x @ W.T],
            "b is subtracted": [x @ W.T - b],
            "b is multiplied": [x @ W.T * b],
            "the weighted sums are divided by their number": [x @ W.T / n_in + b],
        }
        compare("compute_forward: y", [forward(made, x)], [x @ W.T + b], causes)
        before = [p.copy() for p in params]
        d = uniform(rng, batch, n_out)
        result, grads = backward_of(made, x, d)
        known_mistakes("compute_backward: dObj_dIn", result, d @ W, {"the sign is flipped": -d @ W, "W is missing": d})
        of_weight = {
            "nothing is added to it": 0 * W,
            "only the first example is counted": d[:1].T @ x[:1],
            "it is divided by the batch size: the examples add up": d.T @ x / batch,
            "dObj_dOut is missing": np.ones_like(d).T @ x,
            "the sign is flipped": -d.T @ x,
            "it is added twice": 2 * d.T @ x,
        }
        of_bias = {
            "nothing is added to it": 0 * b,
            "it is summed over the outputs as well: dObj_dOut.sum(axis=0)": 0 * b + d.sum(),
            "it is divided by the batch size: the examples add up": d.mean(axis=0),
            "only the first example is counted": d[0],
            "the sign is flipped": -d.sum(axis=0),
            "it is added twice": 2 * d.sum(axis=0),
        }
        for p, g in zip(params, grads, strict=True):
            if p is weight:
                g = g if weight.shape == W.shape else g.T
                known_mistakes("compute_backward: grad_weight", g, d.T @ x, of_weight)
            else:
                known_mistakes("compute_backward: grad_bias", g.reshape(-1), d.sum(axis=0), of_bias)
        (contract if batch > 3 else gradients)(made, x)
        for p, held in zip(params, before, strict=True):
            if not np.array_equal(p, held):
                raise Wrong("forward or backward changes a parameter; only optimizers do")
    apart(lambda: make(cls, 3, 2), [uniform(rng, 4, 3), uniform(rng, 4, 3)])
