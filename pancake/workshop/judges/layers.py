"""The judges of lessons 4, 5, 9 and 10: layers, a loss, a Function of one's own, a cell."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.recurrent.unrolled import Unrolled
from pancake.workshop.judging import (
    Numbers,
    array,
    backward_of,
    call,
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
from pancake.workshop.verdicts import Open, Wrong


def linear(cls: Any) -> None:
    """y = x W^T + b, whichever way round W is kept."""
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
        bias[...] = uniform(rng, *bias.shape)
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


def sigmoid(cls: Any) -> None:
    """y = 1 / (1 + exp(-x)), also far from 0."""
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
    """y = max(x, 0)."""
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
            raise Wrong(f"{error}; a single number came back: np.max is the largest entry, np.maximum works entry by entry") from None
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


def cross_entropy(cls: Any) -> None:
    """The mean of -log p of the right classes; backward is its gradient."""
    rng = np.random.default_rng(0)
    trials = [(uniform(rng, b, c), rng.integers(0, c, b)) for b, c in ((4, 3), (1, 2), (5, 4))]

    def log_p(z: Numbers) -> Numbers:
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    def right(z: Numbers, t: Any) -> Numbers:
        return log_p(z)[np.arange(len(t)), t]

    wanted = [-right(z, t).mean() for z, t in trials]
    causes = {
        "this is the sum over the examples, and should be their mean": [-right(z, t).sum() for z, t in trials],
        "the minus is missing": [right(z, t).mean() for z, t in trials],
        "this is the mean over all entries: divide by the number of examples alone": [
            -right(z, t).sum() / z.size for z, t in trials
        ],
        "this is the mean probability of the right class: the logarithm is missing": [np.exp(right(z, t)).mean() for z, t in trials],
        "this is minus the mean probability: the logarithm is missing": [-np.exp(right(z, t)).mean() for z, t in trials],
        "this is minus the logarithm of the mean: take the logarithm first": [-np.log(np.exp(right(z, t)).mean()) for z, t in trials],
        "all classes are counted, not the right one alone": [-log_p(z).sum() / len(z) for z, t in trials],
        "all classes are counted, not the right one alone, as a mean": [-log_p(z).mean() for z, t in trials],
        "this is -score of the right class: the log of the sum of exp is missing": [
            -z[np.arange(len(t)), t].mean() for z, t in trials
        ],
        "the largest score is subtracted in one place and not in the other": [
            -(z - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)))[np.arange(len(t)), t].mean() for z, t in trials
        ],
        "the logarithm is to base 10": [-right(z, t).mean() / np.log(10) for z, t in trials],
        "the logarithm is to base 2": [-right(z, t).mean() / np.log(2) for z, t in trials],
        "exp is summed over the whole batch, and should be over the classes of each example (axis 1)": [
            -(z - np.log(np.exp(z).sum()))[np.arange(len(t)), t].mean() for z, t in trials
        ],
        "exp is summed over axis 0, the examples; the classes are axis 1": [
            -(z - np.log(np.exp(z).sum(axis=0, keepdims=True)))[np.arange(len(t)), t].mean() for z, t in trials
        ],
        "after the largest score is subtracted, exp is summed over axis 0, the examples; the classes are axis 1": [
            -_mixed_up(z)[np.arange(len(t)), t].mean() for z, t in trials
        ],
    }
    found = []
    for z, t in trials:
        given = z.copy()
        value = np.asarray(call("the loss", _compute(_loss(cls)), given, t.copy()), float)
        if value.size != 1:
            raise Wrong(f"the loss is one number, the mean over the examples; got an array of shape {value.shape}")
        if not np.array_equal(given, z):
            raise Wrong("the loss writes into pred, which the model may still need; compute on a copy")
        found.append(value)
    compare("the loss", found, wanted, causes)
    big = np.array([[1000.0, 0.0, -1000.0], [-1000.0, 1000.0, 0.0]])
    value = float(np.asarray(_compute(_loss(cls))(big, np.array([0, 1]))).reshape(()))
    if not np.isfinite(value):
        raise Wrong(f"the loss of scores of 1000 is {value}: exp overflows; subtract the largest score of each example first")
    if abs(value) > 1e-6:
        raise Wrong(f"the loss of scores of 1000 at the right classes is {value:.6g}, and should be 0")
    last = float(np.asarray(_compute(_loss(cls))(big, np.array([2, 0]))).reshape(()))
    if not abs(last - 2000) < 1e-3:
        raise Wrong(f"the loss of scores of -1000 at the right classes is {last:.6g}, and should be 2000: take log p without exp and log")
    for z, t in trials:
        _gradient_of_loss(cls, z, t)
        gradients(_AsLoss(_loss(cls)), z, target=t)
    contract(_AsLoss(_loss(cls)), *trials[0][:1], target=trials[0][1])


def _mixed_up(z: Numbers) -> Numbers:
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=0, keepdims=True))


def _loss(cls: Any) -> Any:
    if not isinstance(cls, type):
        raise Wrong(f"expected a class, got {type(cls).__name__}")
    made = cls()
    if not callable(getattr(made, "compute_backward", None)):
        raise Wrong("CrossEntropy has no method compute_backward")
    return made


def _compute(loss: Any) -> Callable[..., Any]:
    compute: Any = getattr(loss, "compute_forward", None) or (loss if callable(loss) else None)
    if compute is None:
        raise Wrong("CrossEntropy has no method compute_forward")
    return compute


def _gradient_of_loss(cls: Any, z: Numbers, t: Any) -> None:
    made = _loss(cls)
    _compute(made)(z.copy(), t.copy())
    d = call("compute_backward", made.compute_backward)
    p = np.exp(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))
    hot, rows = np.eye(z.shape[1])[t], np.arange(len(z))
    causes = {
        "it is the gradient of the sum: divide by the number of examples": [p - hot],
        "it is divided by the number of entries: divide by the number of examples": [(p - hot) / z.size],
        "1 is not subtracted at the right class: these are the probabilities": [p / len(z)],
        "these are the probabilities": [p],
        "the sign is flipped": [(hot - p) / len(z)],
        "1 is added at the right class, and should be subtracted": [(p + hot) / len(z)],
        "the probabilities are missing: this is -1 at the right class": [-hot / len(z)],
        "it is divided by the number of classes: divide by the number of examples": [(p - hot) / z.shape[1]],
        "this is the gradient by the probabilities; go on through the softmax": [-hot / p / len(z)],
        "1 is subtracted in every class, and should be at the right one alone": [(p - 1) / len(z)],
        "only the right class gets a gradient": [(p - hot) * hot / len(z)],
        "1 is subtracted after the division": [p / len(z) - hot],
        "d[target] picks whole rows: d[rows, target] picks the right class of each": [(p - np.isin(rows, t)[:, None]) / len(z)],
        "d[:, target] picks whole columns: d[rows, target] picks the right class of each": [
            (p - np.isin(np.arange(z.shape[1]), t)) / len(z)
        ],
    }
    if len(z) > 1:
        compare("compute_backward: dObj_dPred", [d], [(p - hot) / len(z)], causes)


class _AsLoss:
    """A loss under the names that the checker calls."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def compute_forward(self, pred: Any, target: Any) -> Any:
        return np.asarray(_compute(self.loss)(pred, target), float)

    def compute_backward(self) -> Any:
        return self.loss.compute_backward()


_AsLoss.__name__ = "CrossEntropy"


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
            raise Wrong(f"compute_forward: an input of 4 examples gives shape {y.shape}; expected a row for each example, (4, ...)")
        if not params:
            raise Wrong("Own has no knob: get_params_and_grads finds nothing; make self.a and self.grad_a in __init__, both arrays")
        for number, p in enumerate(params):
            if p.dtype.kind != "f":
                raise Wrong(f"parameter {number} holds {p.dtype}, which no optimizer can change a little; use np.ones(n), say")
            p[...] = np.where(rng.random(p.shape) < 0.5, 0.5, 0.9) + 0.3 * rng.random(p.shape)
        backward_of(made, x, uniform(rng, *y.shape))
        (contract if n == 3 else gradients)(made, x)
        gradients(made, x[:2])
    if _is_affine(make(cls, 2), rng):
        raise Wrong("it is a straight line in x, so it does not bend: two of them in a row are one")


def _is_affine(made: Any, rng: np.random.Generator) -> bool:
    a, b = uniform(rng, 4, 2), uniform(rng, 4, 2)
    outputs = [np.asarray(made.compute_forward(z.copy()), float) for z in (a, b, (a + b) / 2)]
    return bool(np.allclose((outputs[0] + outputs[1]) / 2, outputs[2], atol=1e-9))


def cell(cls: Any) -> None:
    """h' = tanh(x W^T + h U^T + b), step by step and unrolled."""
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
    gradients(Unrolled(make(cls, 2, 2)), uniform(rng, 2, 3, 2) / 2)


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
        straight = p.shape != p.T.shape or p.ctypes.data == U.ctypes.data and p.strides == U.strides
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
