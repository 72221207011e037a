"""`adapt`: other people's layers, with other names of methods, parameters and gradients, as the checks want them."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from pancake.memory import Array
from pancake.testing.subject import GradientError, StandIn

Spec: TypeAlias = str | Sequence[str] | Callable[[Any], Any]


def adapt(
    layer: Any,
    *,
    forward: str = "forward",
    backward: str = "backward",
    params: Spec | None = None,
    grads: Spec | None = None,
    name: str | None = None,
) -> Adapted:
    """Give a layer of other shape the methods of a Function, so that `check_function` and all that trains takes it.

    Gradients that the layer overwrites, or adds to, are added up by the adapter, in arrays of its own.

    Parameters
    ----------
    layer : object
    forward, backward : str
        The names of its methods; "__call__" for a layer that is called.
    params, grads : str, sequence of str, or callable, optional
        Where its parameters and their gradients are: the name of an attribute that is an array, a dict or a list of arrays; the
        names of several attributes that are arrays; or a function of the layer that returns arrays, or a dict of them. Names may
        have dots. Gradients of a dict are found by the keys of the parameters, with or without a "d" or "grad_" in front.
        With `params` and without `grads`, backward returns the gradients after that of the input: (dx, dw, db), (dx, [dw, db])
        or (dx, {"w": dw, "b": db}).
    name : str, optional
        What reports call it; by default the name of its class.

    Returns
    -------
    Adapted
        With `compute_forward`, `compute_backward` and `get_params_and_grads`; copies and pickles are those of the layer.

    Raises
    ------
    TypeError
        If the layer has no such methods or attributes.
    GradientError
        By backward: if a gradient is missing or has another shape than its parameter.
    """
    if isinstance(layer, type):
        raise TypeError(f"adapt: expected a layer, got the class {layer.__name__}; pass {layer.__name__}(...)")
    for role, method in (("forward", forward), ("backward", backward)):
        if not callable(getattr(layer, method, None)):
            has = [m for m in dir(layer) if not m.startswith("_") and callable(getattr(layer, m, None))]
            raise TypeError(
                f"adapt: {type(layer).__name__} has no method {method!r}; pass {role}= with one of {', '.join(has) or 'none'}"
            )
    if grads is not None and params is None:
        raise TypeError("adapt: expected params= beside grads=, which says what they are the gradients of")
    adapted = Adapted(layer, forward, backward, params, grads, name or type(layer).__name__)
    adapted.get_params_and_grads()  # which says what is not there
    return adapted


class Adapted(StandIn):
    """A layer of other shape, with the methods of a Function; made by `adapt`."""

    def __init__(self, layer: Any, forward: str, backward: str, params: Spec | None, grads: Spec | None, name: str) -> None:
        self.layer, self.forward, self.backward, self.params, self.grads, self.name = (
            layer,
            forward,
            backward,
            params,
            grads,
            name,
        )
        self.calls = {"compute_forward": f"{name}.{forward}", "compute_backward": f"{name}.{backward}"}
        self.sums: list[Array] = []

    def __repr__(self) -> str:
        words = {"forward": ("forward", self.forward), "backward": ("backward", self.backward)}
        shown = [f"{key}={value!r}" for key, (default, value) in words.items() if value != default]
        shown += [f"{key}={value!r}" for key, value in (("params", self.params), ("grads", self.grads)) if value is not None]
        return f"adapt({', '.join([f'{type(self.layer).__name__}(...)', *shown])})"

    @property
    def training(self) -> Any:
        """The mode of the layer, if it has one."""
        return self.layer.training

    @training.setter
    def training(self, mode: bool) -> None:
        self.layer.training = mode

    def compute_forward(self, *inputs: Any) -> Any:
        """What the layer's forward returns."""
        return getattr(self.layer, self.forward)(*inputs)

    __call__ = compute_forward

    def compute_backward(self, *upstream: Any) -> Any:
        """Run the layer's backward, add up its gradients, and return that of the input."""
        names = [name for name, _ in self.named_params()]
        if self.params is not None and self.grads is not None:
            with contextlib.suppress(TypeError, AttributeError, KeyError):  # where there are none before the first backward
                for _, grad in _find(self.layer, self.grads):  # what it adds to is 0 before
                    if isinstance(grad, np.ndarray) and grad.flags.writeable and grad.dtype.kind == "f":
                        grad[...] = 0
        result = getattr(self.layer, self.backward)(*upstream)
        if self.params is None:
            return result
        if self.grads is None:
            result, found = self._returned(result, names)
        else:
            found = _by_name(names, _find(self.layer, self.grads))
        for name, total in zip(names, self.get_params_and_grads()[1], strict=True):
            if found.get(name) is None:
                raise GradientError(f"{self.name}: {self.backward} left no gradient of {name}")
            if np.shape(found[name]) != total.shape:
                raise GradientError(
                    f"{self.name}: the gradient of {name} has shape {np.shape(found[name])}, the parameter {total.shape}"
                )
            total += found[name]
        return result

    def get_params_and_grads(self) -> tuple[list[Array], list[Array]]:
        """The layer's parameters, and the sums of their gradients."""
        params = [array for _, array in self.named_params()]
        if [p.shape for p in params] != [g.shape for g in self.sums]:
            self.sums = [np.zeros_like(p) for p in params]
        return params, self.sums

    def named_params(self) -> list[tuple[str, Any]]:
        """The parameters, under the layer's own names."""
        found = [] if self.params is None else _find(self.layer, self.params)
        for name, array in found:
            if not isinstance(array, np.ndarray):
                raise TypeError(f"adapt: expected the parameter {name} of {self.name} to be an array, got {type(array).__name__}")
        return found

    def _returned(self, result: Any, names: list[str]) -> tuple[Any, dict[str, Any]]:
        """The gradient of the input, and those of the parameters, of what backward returned."""
        if not isinstance(result, tuple) or len(result) < 2:
            raise GradientError(
                f"{self.name}: {self.backward} returned {_shape_of(result)}; expected the gradient of the input and, as adapt "
                f"was given params= and no grads=, those of {', '.join(names)}"
            )
        gradient, *rest = result
        if len(rest) == 1 and isinstance(rest[0], Mapping):
            return gradient, _by_name(names, list(rest[0].items()))
        if len(rest) == 1 and isinstance(rest[0], (list, tuple)):
            rest = list(rest[0])
        if len(rest) != len(names):
            raise GradientError(f"{self.name}: {self.backward} returned {len(rest)} gradients for {', '.join(names)}")
        return gradient, dict(zip(names, rest, strict=True))


def _shape_of(result: Any) -> str:
    return f"an array of shape {np.shape(result)}" if isinstance(result, np.ndarray) else type(result).__name__


def _find(layer: Any, spec: Spec) -> list[tuple[str, Any]]:
    """The arrays that are meant, by name."""
    if callable(spec):
        return _spread("params", spec(layer))
    if isinstance(spec, str):
        found = _attribute(layer, spec)
        return [(spec, found)] if isinstance(found, np.ndarray) or found is None else _spread(spec, found)
    return [(name, _attribute(layer, name)) for name in spec]


def _spread(name: str, found: Any) -> list[tuple[str, Any]]:
    if isinstance(found, Mapping):
        return [(str(key), value) for key, value in found.items()]
    if isinstance(found, np.ndarray):
        return [(name, found)]
    return [(f"{name}[{i}]", value) for i, value in enumerate(found)]


def _attribute(layer: Any, name: str) -> Any:
    try:
        return operator.attrgetter(name)(layer)
    except AttributeError:
        has = ", ".join(key for key in getattr(layer, "__dict__", {}) if not key.startswith("_"))
        raise TypeError(f"adapt: {type(layer).__name__} has no attribute {name!r}; it has {has or 'none'}") from None


def _by_name(names: list[str], found: list[tuple[str, Any]]) -> dict[str, Any]:
    """Gradients by the names of their parameters: by equal names, by such with a "d" in front, or by their order."""
    gradients = dict(found)
    for called in ("{}", "d{}", "grad_{}", "d_{}", "{}_grad"):
        if names and all(called.format(name) in gradients for name in names):
            return {name: gradients[called.format(name)] for name in names}
    return dict(zip(names, gradients.values(), strict=False))
