"""The judges of lessons 4, 5, 9 and 10: layers, a loss, a Function of one's own, a cell."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from pancake.function import Function
from pancake.recurrent.unrolled import Unrolled
from pancake.workshop.judging import Numbers, array, call, compare, contract, contracts, gradients, make, parameters, uniform
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
        compare("compute_forward: y", [call("compute_forward", made.compute_forward, x.copy())], [x @ W.T + b], causes)
        before = [p.copy() for p in params]
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
    compare("compute_forward: y", [call("compute_forward", make(cls).compute_forward, x.copy()) for x in inputs], wanted, causes)
    made, far = make(cls), np.array([[-1000.0, -40.0, 0.0, 40.0, 1000.0]])
    y = array("compute_forward", call("compute_forward", made.compute_forward, far.copy()), far.shape)
    if not np.isfinite(y).all():
        index = int(np.argmin(np.isfinite(y[0])))
        raise Wrong(f"compute_forward: y is {y[0, index]} at x = {far[0, index]:g}; exp overflows, and inf / inf is nan")
    compare("compute_forward far from 0: y", [y], [[[0, 0, 0.5, 1, 1]]])
    contracts(lambda: make(cls), inputs)


def relu(cls: Any) -> None:
    """y = max(x, 0)."""
    rng = np.random.default_rng(0)
    inputs = [uniform(rng, 6), uniform(rng, 2, 4), uniform(rng, 2, 4, 2)]
    found = []
    for x in inputs:
        given = x.copy()
        found.append(call("compute_forward", make(cls).compute_forward, given))
        if not np.array_equal(given, x):
            raise Wrong("compute_forward writes into x, which whoever made it may still need; compute a new array")
    causes = {
        "this is min(x, 0)": [np.minimum(x, 0) for x in inputs],
        "this is the absolute value": [np.abs(x) for x in inputs],
        "this is the mask, where x > 0; multiply it with x": [1.0 * (x > 0) for x in inputs],
        "x itself came back": inputs,
        "this is max(-x, 0): the sign is flipped": [np.maximum(-x, 0) for x in inputs],
        "negative x become 1, and should become 0": [np.where(x > 0, x, 1) for x in inputs],
        "what is positive became 0": [np.where(x > 0, 0, x) for x in inputs],
        "this is max(x, 1): the corner is at 0": [np.maximum(x, 1) for x in inputs],
        "it is cut off above 1 as well": [np.clip(x, 0, 1) for x in inputs],
    }
    try:
        compare("compute_forward: y", found, [np.maximum(x, 0) for x in inputs], causes)
    except Wrong as error:
        if "expected shape" in str(error) and "got ()" in str(error):
            raise Wrong(f"{error}; a single number came back: np.max is the largest entry, np.maximum works entry by entry") from None
        raise
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
    hot = np.eye(z.shape[1])[t]
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
        y = np.asarray(call("compute_forward", made.compute_forward, x.copy()), float)
        if y.ndim == 0 or len(y) != 4:
            raise Wrong(f"compute_forward: an input of 4 examples gives shape {y.shape}; expected a row for each example, (4, ...)")
        if not params:
            raise Wrong("Own has no knob: get_params_and_grads finds nothing; make self.a and self.grad_a in __init__, both arrays")
        for number, p in enumerate(params):
            if p.dtype.kind != "f":
                raise Wrong(f"parameter {number} holds {p.dtype}, which no optimizer can change a little; use np.ones(n), say")
            p[...] = np.where(rng.random(p.shape) < 0.5, 0.5, 0.9) + 0.3 * rng.random(p.shape)
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
        (contract if batch > 2 else gradients)(made, (x, h))
        start = call("init_state", made.init_state, batch)
        if np.shape(start) != (batch, n_hidden):
            raise Wrong(f"init_state({batch}) must be of shape ({batch}, {n_hidden}), got {np.shape(start)}")
    gradients(Unrolled(make(cls, 2, 2)), uniform(rng, 2, 3, 2) / 2)


def _said(result: Any) -> str:
    return f"{len(result)}" if isinstance(result, (tuple, list)) else f"one {type(result).__name__}"


def _step(params: list[Numbers], x: Numbers, h: Numbers, out: Numbers, state: Numbers) -> None:
    """Compare one step with the formula, whichever parameter is which and whichever way round it is kept."""
    n_in, n_hidden = x.shape[1], h.shape[1]
    found = []
    for W, U, b in itertools.permutations(params, 3) if len(params) == 3 else ():
        for w, u in itertools.product((W, W.T), (U, U.T)):
            if w.shape == (n_hidden, n_in) and u.shape == (n_hidden, n_hidden) and b.size == n_hidden:
                found.append((w, u, b.reshape(-1)))
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
