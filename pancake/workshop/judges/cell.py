"""The judge of lesson 10: one step, whichever parameter is which, and the same unrolled."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.recurrent.unrolled import Unrolled
from pancake.workshop.judging import (
    Numbers,
    apart,
    array,
    call,
    compare,
    contract,
    gradients,
    known_mistakes,
    make,
    parameters,
    uniform,
)
from pancake.workshop.verdicts import Open, Wrong


def cell(cls: Any) -> None:
    """A plain cell, tanh(x W^T + h U^T + b), step by step and unrolled."""
    rng = np.random.default_rng(0)
    for n_in, n_hidden, batch in ((3, 2, 4), (1, 3, 2), (2, 1, 1)):
        made = make(cls, n_in, n_hidden)
        if not isinstance(made, Function):
            raise Wrong("Cell does not derive from pancake.Function, and so Unrolled does not take it")
        params, _ = parameters(made)
        for p in params:
            p[...] = uniform(rng, *p.shape) * 0.6
        x, h = uniform(rng, batch, n_in), uniform(rng, batch, n_hidden) * 0.5
        result = call("compute_forward", made.compute_forward, x.copy(), h.copy())
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise Wrong(f"compute_forward must return two arrays, the output and the new state, got {_said(result)}")
        out, state = (array(w, r, (batch, n_hidden)) for w, r in zip(("the output", "the new state"), result, strict=True))
        _step(params, x, h, out, state)
        zeros = np.zeros((batch, n_hidden))
        returned = call("compute_backward", made.compute_backward, zeros + 1, zeros)
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise Wrong(f"compute_backward must return two gradients, of x and of the state h, got {_said(returned)}")
        if any(g is ... for g in returned):
            raise Open("compute_backward still returns `...`")
        _mistakes_of_cell(made, x, h, rng)
        (contract if batch > 2 else gradients)(made, (x, h))
        start = call("init_state", made.init_state, batch)
        if np.shape(start) != (batch, n_hidden):
            raise Wrong(f"init_state({batch}) must be of shape ({batch}, {n_hidden}), got {np.shape(start)}")
    steps = [(uniform(rng, 4, 3), uniform(rng, 4, 2) * 0.5) for _ in range(2)]
    apart(lambda: make(cls, 3, 2), steps)
    made = make(cls, 2, 2)
    for p in parameters(made)[0]:
        p[...] = uniform(rng, *p.shape) * 0.6
    gradients(Unrolled(made), uniform(rng, 2, 3, 2) / 2)


def _mistakes_of_cell(made: Any, x: Numbers, h: Numbers, rng: np.random.Generator) -> None:
    """Compare with what the usual mistakes give, by the parameters as the formula has them."""
    params, grads = parameters(made)
    found = _as_in_formula(params, x, h)
    new = np.array(made.compute_forward(x.copy(), h.copy())[0], float)
    fitting = [(W, U, b) for W, U, b in found if np.allclose(new, np.tanh(x @ W.T + h @ U.T + b))]
    if not fitting:
        return
    W, U, _ = fitting[0]
    for g in grads:
        g[...] = 0
    d_out, d_state = uniform(rng, *new.shape), uniform(rng, *new.shape)
    result = made.compute_backward(d_out.copy(), d_state.copy())
    if any(g is not after for g, after in zip(grads, parameters(made)[1], strict=True)):
        raise Wrong(
            "compute_backward puts a new array in the place of a gradient, and all steps of an unrolled cell share the old one; "
            "add in place, self.grad_W += ..."
        )
    slope, both = 1 - new**2, d_out + d_state
    mistakes = {
        "dObj_dState is missing: the gradients of the output and of the state add up": d_out * slope,
        "dObj_dOut is missing: the gradients of the output and of the state add up": d_state * slope,
        "the derivative of tanh is missing: 1 - h'^2": both,
        "the derivative of tanh is 1 - h'^2, not 1 - h'": both * (1 - new),
        "the derivative of tanh was taken at the old state": both * (1 - h**2),
        "the two gradients are multiplied, and should be added": d_out * d_state * slope,
        "the sign is flipped": -both * slope,
    }
    wanted = both * slope
    known_mistakes("compute_backward: dObj_dX", result[0], wanted @ W, {said: d @ W for said, d in mistakes.items()})
    of_state = {said: d @ U for said, d in mistakes.items()} | {"U is the wrong way round: d U, not d U^T": wanted @ U.T}
    of_state["U is missing"] = wanted
    of_state["dObj_dOut is missing: h' is the output and the state"] = d_state @ U
    known_mistakes("compute_backward: the gradient of the state", result[1], wanted @ U, of_state)
    by_shape = [(p, g) for p, g in zip(params, grads, strict=True) if np.shares_memory(p, U)]
    of_U = {
        "h' stands where the old state h should: U was multiplied with h": wanted.T @ new,
        "it is transposed: d^T h, not h^T d": h.T @ wanted,
        "nothing is added to it": 0 * U,
        "it is divided by the batch size: the examples add up": wanted.T @ h / len(h),
    }
    for p, g in by_shape:
        straight = p.shape != p.T.shape or (p.ctypes.data == U.ctypes.data and p.strides == U.strides)
        known_mistakes("compute_backward: grad_U", g if straight else g.T, wanted.T @ h, of_U)
    for p, g in zip(params, grads, strict=True):
        if p.size == new.shape[1] and p.ndim == 1:
            of_b = {"nothing is added to it": 0 * g, "it is summed over the units as well: d.sum(axis=0)": 0 * g + wanted.sum()}
            of_b["it is divided by the batch size: the examples add up"] = wanted.mean(axis=0)
            known_mistakes("compute_backward: grad_b", g, wanted.sum(axis=0), of_b)


def _said(result: Any) -> str:
    return f"{len(result)}" if isinstance(result, (tuple, list)) else f"one {type(result).__name__}"


def _step(params: list[Numbers], x: Numbers, h: Numbers, out: Numbers, state: Numbers) -> None:
    """Compare one step with the formula, whichever parameter is which and whichever way round it is kept."""
    found = _as_in_formula(params, x, h)
    n_in, n_hidden = x.shape[1], h.shape[1]
    if not found:
        shapes = ", ".join(str(p.shape) for p in params) or "none"
        wanted = f"W ({n_hidden}, {n_in}), U ({n_hidden}, {n_hidden}) and b ({n_hidden},)"
        raise Wrong(f"Cell({n_in}, {n_hidden}) has three parameters, {wanted}; get_params_and_grads finds {shapes}")
    for w, u, b in found:
        if np.allclose(out, np.tanh(x @ w.T + h @ u.T + b)):
            compare("the new state", [state], [out], {"it is the state that came in": [h]})
            return
    w, u, b = found[0]
    whole = x @ w.T + h @ u.T + b
    causes = {
        "tanh is missing": [whole],
        "b is missing": [np.tanh(whole - b)],
        "the state does not come in: h U^T is missing": [np.tanh(x @ w.T + b)],
        "x does not come in: x W^T is missing": [np.tanh(h @ u.T + b)],
        "the state comes in without U": [np.tanh(x @ w.T + h + b)],
        "this is the state that came in": [h],
        "this is a sigmoid, and should be tanh": [0.5 * np.tanh(whole / 2) + 0.5],
        "h U^T is outside of tanh": [np.tanh(x @ w.T + b) + h @ u.T],
        "b is outside of tanh": [np.tanh(whole - b) + b],
        "the old state is added": [np.tanh(whole) + h],
        "x W^T and h U^T are multiplied, and should be added": [np.tanh((x @ w.T) * (h @ u.T) + b)],
        "h U^T is subtracted": [np.tanh(x @ w.T - h @ u.T + b)],
        "b is subtracted": [np.tanh(whole - 2 * b)],
        "it is twice the formula": [2 * np.tanh(whole)],
        "this is a ReLU, and should be tanh": [np.maximum(whole, 0)],
    }
    compare("the output", [out], [np.tanh(whole)], causes)


def _as_in_formula(params: list[Numbers], x: Numbers, h: Numbers) -> list[tuple[Numbers, Numbers, Numbers]]:
    """All ways in which three parameters may be W, U and b, by their shapes."""
    n_in, n_hidden = x.shape[1], h.shape[1]
    found = []
    for W, U, b in itertools.permutations(params, 3) if len(params) == 3 else ():
        for w, u in itertools.product((W, W.T), (U, U.T)):
            if w.shape == (n_hidden, n_in) and u.shape == (n_hidden, n_hidden) and b.size == n_hidden:
                found.append((w, u, b.reshape(-1)))
    return found
