"""`minimize`: full-batch methods, which look at all examples in each step, for tiny nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pancake.arguments import number, size, tells_how_to_call
from pancake.function import Function, need_function
from pancake.losses.elementwise import MeanSquaredError
from pancake.losses.loss import need_loss
from pancake.training.batches import examples, in_memory, without_absent
from pancake.training.full_batch import FullBatch
from pancake.training.history import History
from pancake.training.levenberg_marquardt import levenberg_marquardt
from pancake.training.modes import Modes
from pancake.training.not_finite import quiet
from pancake.training.rehearsal import check_end, check_numbers, rehearse


@tells_how_to_call
def minimize(
    model: Function,
    loss: Any,
    x: Any,
    y: Any,
    *,
    method: str = "L-BFGS",
    max_iter: int = 200,
    tol: float = 1e-9,
    weight: Any = None,
) -> History:
    """Train a small model on all examples at once, to a precision that steps on batches do not reach.

    ::

        history = minimize(model, MeanSquaredError(), x, y, method="Levenberg-Marquardt")

    For some hundreds of parameters and examples. With more, `fit` gets further in the same time; and whether so precise a
    minimum is wanted is another question where examples are noisy: hold some out and look.

    Parameters
    ----------
    model : Function
        It is in training mode meanwhile, but for parts that you have put into evaluation mode; nothing in it may be random.
        What is frozen stays as it is.
    loss : Loss
        For Levenberg-Marquardt a `MeanSquaredError`.
    x, y : array_like (N, ...)
        Inputs and targets, a row for each example; `x` may be a tuple of inputs.
    method : {"L-BFGS", "Levenberg-Marquardt"}
        L-BFGS, from SciPy (`pip install scipy`), guesses the curvature from the latest gradients. It takes any
        loss and thousands of parameters. Levenberg-Marquardt solves the linear least squares that each step looks like: P^3
        multiplications for P parameters, and a backward for each entry of the predictions, but few steps.
    max_iter : int
        The largest number of iterations.
    tol : float
        When no entry of the gradient is larger, it is over; also when rounding lets no step lead down.
    weight : array_like (N,) or (N, T), optional
        How much each example counts. An example of weight 0 is absent.

    Returns
    -------
    History
        "loss": before the first iteration, and after each. The last is that of the weights that the model is left with, which
        are the best that were seen, also after an error or Ctrl-C; after Ctrl-C `interrupted` is True.

    Raises
    ------
    ModuleNotFoundError
        For L-BFGS without SciPy.
    NonFiniteError
        If the loss is nan or infinite to begin with.
    TypeError, ValueError
        If arguments do not fit together, the model is random, or the method does not take the loss or the model.

    References
    ----------
    Liu, Nocedal, "On the limited memory BFGS method for large scale optimization" (1989).
    Hagan, Menhaj, "Training Feedforward Networks with the Marquardt Algorithm" (1994).
    """
    run = _method(method, loss)
    need_function("minimize", model, " as the model")
    need_loss("minimize", loss)
    max_iter, tol = size(minimize, max_iter=max_iter), number(minimize, "tol", tol)
    data = without_absent(in_memory(examples("minimize", x, y, weight)))
    check_numbers("minimize", model, data)
    check_end("minimize", model, loss, rehearse("minimize", model, loss, data, 32, {}))
    history, modes = History(), Modes(model)
    modes.begin()
    try:
        with quiet():
            task = FullBatch(model, loss, data)
            history.append({"loss": task.best[0]})
            try:
                run(task, max_iter, tol, lambda value: history.append({"loss": value}))
            except KeyboardInterrupt:
                history.interrupted = True
            finally:
                task.put(task.best[1])
                task.clear()
            if history["loss"][-1] != (last := task.value()):
                history.append({"loss": last})
    finally:
        modes.put_back()
    return history


def _method(name: str, loss: Any) -> Callable[[FullBatch, int, float, Callable[[float], None]], None]:
    """The method of that name, refused if it does not take the loss."""
    if name == "L-BFGS":
        return _lbfgs
    if name != "Levenberg-Marquardt":
        raise ValueError(f"minimize: expected method to be L-BFGS or Levenberg-Marquardt, got {name!r}")
    if type(loss) is not MeanSquaredError:
        raise ValueError(f'minimize: Levenberg-Marquardt takes a MeanSquaredError, got {loss!r}; take method="L-BFGS" for others')
    return levenberg_marquardt


def _lbfgs(task: FullBatch, max_iter: int, tol: float, note: Callable[[float], None]) -> None:
    try:
        from scipy import optimize
    except ImportError:
        raise ModuleNotFoundError(
            'minimize: L-BFGS is SciPy\'s: pip install scipy, or take method="Levenberg-Marquardt"',
            name="scipy",
        ) from None

    def iterated(intermediate_result: Any) -> None:
        note(float(intermediate_result.fun))

    options = {"maxiter": max_iter, "maxfun": 100 * max_iter, "gtol": tol, "ftol": 0.0}
    optimize.minimize(task.value_and_gradient, task.parameters(), method="L-BFGS-B", jac=True, callback=iterated, options=options)
