"""How large the gradient of each layer is."""

from __future__ import annotations

from pancake.function import Function, need_function
from pancake.optimizers.clipping import length
from pancake.tree import named_parts


def gradient_norms(model: Function) -> dict[str, float]:
    """The Euclidean norm of the gradient of each layer: sqrt(sum of squares) over all its parameters.

    Noted now and then, the norms show whether gradients vanish or explode on their way back to the first layers, and
    `plot_gradients` draws them::

        norms = []
        fit(..., callbacks=[lambda state: norms.append(gradient_norms(state.model))])   # of the last batch of each epoch
        plot_gradients(norms)

    In a loop of your own, take them after `accumulate_grads` and before the next `zero_grad`.

    Parameters
    ----------
    model : Function

    Returns
    -------
    dict of float
        By place and class of the layer, in the order of the model: {"0 Linear": 0.31, "2 Linear": 0.54}. Each Function with
        parameters of its own is a layer, if it is not frozen; a parameter that two of them share counts in the first.

    Raises
    ------
    TypeError
        If the model is not a Function.
    ValueError
        If it has no parameters to train.

    References
    ----------
    Bengio, Simard, Frasconi, "Learning Long-Term Dependencies with Gradient Descent is Difficult" (1994); Glorot, Bengio,
    "Understanding the difficulty of training deep feedforward neural networks" (2010), section 4.2.
    """
    need_function("gradient_norms", model)
    norms: dict[str, float] = {}
    counted: set[int] = set()
    for path, function in named_parts(model):
        if function.frozen:
            continue
        inside = {id(grad) for part in function.walk() if part is not function for grad in part.get_params_and_grads()[1]}
        own = [grad for grad in function.get_params_and_grads()[1] if id(grad) not in inside | counted]
        counted.update(map(id, own))
        if own:
            norms[f"{path} {type(function).__name__}".strip()] = length(own)
    if not norms:
        raise ValueError(f"gradient_norms: {model!r} has no parameters to train")
    return norms
