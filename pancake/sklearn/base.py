"""What the classifier and the regressor share: scikit-learn's `fit`, on a stack of pancake."""

from __future__ import annotations

import copy
import time
import warnings
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pancake.arguments import floating_dtype, numeric
from pancake.function import Function
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.sklearn.building import activated, hidden_sizes, outputs, own_stack, usual_stack
from pancake.sklearn.objectives import Objective, OwnObjective, Penalised
from pancake.sklearn.solvers import lbfgs, new_optimizer
from pancake.sklearn.training import SPOILT, Batches, Examples, Step, Training, call_back, measure
from pancake.training.errors import NonFiniteError
from pancake.training.history import History
from pancake.training.modes import Modes
from pancake.training.rehearsal import check_end, refusal

SPARSE = ("csr", "csc")
FLOATS = (np.float64, np.float32)


class BaseMLP(BaseEstimator, ABC):
    """The base of `MLPClassifier` and `MLPRegressor`."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"}), callable],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"}), callable],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "model": [callable, None],
        "dtype": "no_validation",  # what NumPy takes for one is NumPy's to say
        "callbacks": [callable, list, tuple, None],
    }
    _score_name: str

    # what the annotations name is set by the constructors and by `fit`
    loss: Any
    model_: Function
    history_: History

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    @property
    def coefs_(self) -> list[Array]:
        """The weight of each linear layer, (n_in, n_out): views of the arrays of `model_`, which change with it.

        An array that is put into the list is copied into the layer.
        """
        return LayerArrays("coefs_", "weight", self._linear_layers("coefs_"))

    @coefs_.setter
    def coefs_(self, new: list[Array]) -> None:
        self.coefs_[:] = new

    @property
    def intercepts_(self) -> list[Array]:
        """The bias of each linear layer, (n_out,): the arrays of `model_`, into which one put into the list is copied."""
        return LayerArrays("intercepts_", "bias", self._linear_layers("intercepts_"))

    @intercepts_.setter
    def intercepts_(self, new: list[Array]) -> None:
        self.intercepts_[:] = new

    def _linear_layers(self, name: str) -> list[Linear]:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"{type(self).__name__!r} object has no attribute {name!r} yet; call fit first")
        return [part for part in self.model_.walk() if isinstance(part, Linear)]

    # --- what the two tell apart ---

    @abstractmethod
    def _validated(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any, Any]:
        """The features, the targets, and the targets as columns, after all checks; classes are noted."""

    @abstractmethod
    def _objective(self, columns: int) -> tuple[Objective, str, int]:
        """What is minimised; the output activation; and how many outputs the net has."""

    @abstractmethod
    def _target(self, y: Any, loss: Any, dtype: np.dtype[Any]) -> Array:
        """The columns in the form that the loss takes."""

    @abstractmethod
    def _score_of(self, z: Array, target: Array, weight: Array | None) -> float:
        """The score of what the stack puts out."""

    def _weights(self, y: Any, sample_weight: Array | None, incremental: bool) -> Array | None:
        """The weight of each example, those of its class included."""
        return sample_weight

    # --- fit ---

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Any, *, incremental: bool) -> Any:
        before, made = self.__dict__.copy(), self._made()
        try:
            return self._train(X, y, sample_weight, validation, incremental=incremental)
        except (TypeError, ValueError) as error:
            if not isinstance(error, NonFiniteError) and self._made() in (made, (0, 0)):  # what was refused has changed nothing
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _made(self) -> tuple[int, int]:
        """How many steps and iterations have been made with the present net."""
        step, history = vars(self).get("_step"), vars(self).get("history_")
        return (0 if step is None else step.optimizer.optimizer.steps), 0 if history is None else history.epochs

    def _train(self, X: Any, y: Any, sample_weight: Any, validation: Any, *, incremental: bool) -> Any:
        hidden = hidden_sizes(self.hidden_layer_sizes)
        if isinstance(self.callbacks, (list, tuple)) and not all(map(callable, self.callbacks)):
            raise TypeError(f"expected callbacks to be functions, got {self.callbacks!r}")
        first = not hasattr(self, "model_") or (not self.warm_start and not incremental)
        X, targets, y = self._validated(X, y, incremental=incremental, reset=first)
        weight = self._weights(targets, checked_weight(sample_weight, X), incremental)
        refuse_weights(weight)
        # scikit-learn's None is NumPy's global generator, which pancake leaves alone
        own = np.random.RandomState() if self.random_state is None else self.random_state
        self._random_state = check_random_state(own)
        objective, out_activation, n_outputs = self._objective(y.shape[1])
        if first:
            self._begin([X.shape[1], *hidden, n_outputs], objective.loss, X.dtype)
        elif self.model is None and [X.shape[1], *hidden, n_outputs] != self._sizes:
            raise ValueError(
                f"the net has layers of {self._sizes} units, and cannot go on as {[X.shape[1], *hidden, n_outputs]}: "
                "warm_start and partial_fit need the same hidden_layer_sizes, features and outputs as before"
            )
        if not first:
            self._check_same_net()
        self.out_activation_, self.n_outputs_ = out_activation, n_outputs
        data = self._examples(X, y, weight, objective.loss)
        held = None if validation is None else self._held(validation, objective.loss)
        if self.model is not None or not isinstance(self.loss, str):
            rows = data.rows(slice(0, 64)).dense()
            check_end(type(self).__name__, self.model_, objective.loss, outputs(self.model_, rows.x))
        if self.solver == "lbfgs":
            self._fit_lbfgs(objective, data.dense(), held)
        else:
            self._fit_by_batches(objective, data, held, incremental)
        if not all(np.isfinite(p).all() for p in self.model_.get_params_and_grads()[0]):
            raise NonFiniteError(SPOILT)
        return self

    def _begin(self, sizes: list[int], loss: Any, dtype: np.dtype[Any]) -> None:
        """Make the net, and forget earlier trainings."""
        own = None if self.dtype is None else floating_dtype(self, self.dtype)
        if self.model is None:
            self.model_ = usual_stack(sizes, self.activation, self.dropout, loss, self._random_state, own or dtype)
        elif self.dropout:
            raise ValueError("dropout goes between the layers of the usual net; with model= put pancake.Dropout into the stack")
        else:
            self.model_ = own_stack(self.model, sizes[0], sizes[-1], self._random_state, own)
        self._sizes, self._net_settings = (
            sizes,
            {name: getattr(self, name) for name in ("activation", "dropout", "model", "dtype")},
        )
        self.n_layers_ = len(sizes) if self.model is None else len(self._linear_layers("n_layers_")) + 1
        self.n_iter_ = self.t_ = 0
        self.history_ = History()
        for name in ("_step", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
            if name in vars(self):
                delattr(self, name)

    def _check_same_net(self) -> None:
        """Refuse to go on with other settings than those that the net was made with."""
        for name, before in self._net_settings.items():
            now = getattr(self, name)
            if now is not before and now != before:
                raise ValueError(
                    f"the net was made with {name}={before!r}, and cannot go on with {name}={now!r}: set it back, or make a new "
                    "net with warm_start=False"
                )

    def _begin_to_count(self) -> None:
        """Get ready for what a training by batches notes."""
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self._best_state = None
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _examples(self, X: Any, y: Any, weight: Array | None, loss: Any) -> Examples:
        params = self.model_.get_params_and_grads()[0]
        dtype = params[0].dtype if params else X.dtype
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        weight = None if weight is None else weight.astype(dtype, copy=False)
        return Examples(X.astype(dtype, copy=False), self._target(y, loss, dtype), weight)

    def _held(self, validation: Any, loss: Any) -> Examples:
        """What was given as `validation`, checked like what is learnt from."""
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise ValueError(f"expected validation to be (X, y) or (X, y, sample_weight), got {type(validation).__name__}")
        X, y, *weight = validation
        X, _, y = self._validated(X, y, incremental=True, reset=False)
        if X.shape[0] < 2:
            raise ValueError(f"expected validation to have two rows or more, got {X.shape[0]}")
        checked = checked_weight(weight[0], X) if weight else None
        refuse_weights(checked)
        return self._examples(X, y, checked, loss)

    def _fit_by_batches(self, objective: Objective, data: Examples, held: Examples | None, incremental: bool) -> None:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not incremental or not hasattr(self, "_step"):  # `partial_fit` goes on with what it has computed with before
            self._step = Step(self.model_, objective, Penalised(new_optimizer(self), self.model_, self.alpha, objective))
        elif not isinstance(self.loss, str) or type(objective.loss) is not type(self._step.objective.loss):
            self._step.objective = self._step.optimizer.objective = objective
        self._step.optimizer.alpha = self.alpha
        counted_by_score = getattr(self, "validation_scores_", None) is not None
        if not hasattr(self, "loss_curve_") or counted_by_score != self.early_stopping:
            self._begin_to_count()
        if self.early_stopping and held is None:
            data, held = self._split(data)
        total = len(data.y)
        if self.batch_size == "auto":
            size = min(200, total)
        else:
            if self.batch_size > total:
                warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4)
            size = min(int(self.batch_size), total)
        # a BatchNorm can make nothing of a last batch of one
        one = data.rows(slice(0, 1)).dense()
        joined = size > 1 and total % size == 1 and refusal(self.model_, (one.x, one.y, None, None)) is not None
        batches = Batches(data, size, self._random_state if self.shuffle else None, joined)
        Training(self, self._step, batches, held).run(self.max_iter, once=incremental)

    def _split(self, data: Examples) -> tuple[Examples, Examples]:
        """A part to learn from, and one to stop by, as scikit-learn draws them."""
        stratify = data.y if self._score_name == "accuracy" and data.y.shape[1:] == (1,) else None
        train, held = train_test_split(
            np.arange(len(data.y)), random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if len(held) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        return data.rows(train), data.rows(held)

    def _fit_lbfgs(self, objective: Objective, data: Examples, held: Examples | None) -> None:
        modes, measuring, start = Modes(self.model_), copy.deepcopy(objective), time.perf_counter()
        stopped = False

        def after(iteration: int, loss: float) -> bool:
            nonlocal stopped, start
            measured = {} if held is None else measure(self, measuring, held)
            now = time.perf_counter()
            self.history_.append({"loss": loss, **measured, "seconds": now - start})
            start = now
            if self.verbose:
                print(f"Iteration {iteration}, loss = {loss:.8f}")
            stopped = call_back(self, objective.loss, None, modes)
            return stopped

        modes.begin()
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
                result = lbfgs(self.model_, objective, self.alpha, data, after, options)
        finally:
            modes.put_back()
        self.loss_ = float(result.fun)
        if not np.isfinite(self.loss_):
            raise NonFiniteError(f"{SPOILT} The loss is {self.loss_}")
        self.n_iter_ = result.nit if stopped else _check_optimize_result("lbfgs", result, self.max_iter)

    # --- what comes of it ---

    def _own_objective(self) -> OwnObjective | None:
        """The user's loss as an objective, a copy of it; None for one of scikit-learn's names."""
        if isinstance(self.loss, str):
            return None
        loss = self.loss() if isinstance(self.loss, type) else copy.deepcopy(self.loss)
        if not (callable(loss) and callable(getattr(loss, "compute_backward", None))):
            raise TypeError(f"expected loss to be one of scikit-learn's names or a loss of pancake's kind, got {self.loss!r}")
        if getattr(loss, "reduction", "mean") == "none":
            raise ValueError(f"expected a loss that is one number, got {loss!r}; its reduction must be 'mean' or 'sum'")
        return OwnObjective(loss)

    def _outputs(self, X: Any) -> Array:
        """What the output activation makes of what the stack puts out."""
        return activated(self.out_activation_, self._raw(X))

    def _raw(self, X: Any) -> Array:
        check_is_fitted(self)
        return outputs(self.model_, validate_data(self, X, accept_sparse=SPARSE, reset=False))


class LayerArrays(list[Any]):
    """The weights, transposed, or the biases of linear layers: a list that copies what is put into it into the layer.

    Copies of it, such as slices and what is unpickled, are plain lists.

    Parameters
    ----------
    name : str
        What messages call it.
    attribute : {"weight", "bias"}
    layers : list of Linear
    """

    def __init__(self, name: str, attribute: str, layers: list[Linear]) -> None:
        arrays = [getattr(layer, attribute) for layer in layers]
        super().__init__(None if array is None else array.T for array in arrays)
        self.name, self.attribute, self.layers = name, attribute, layers

    def __setitem__(self, index: Any, new: Any) -> None:
        places, arrays = ([index], [new]) if not isinstance(index, slice) else (range(len(self))[index], list(new))
        if len(arrays) != len(places):
            raise ValueError(
                f"{self.name}: expected {len(places)} arrays, one for each linear layer that is set, got {len(arrays)}"
            )
        # copies, since a view of one layer may be meant for another; and all are checked before the first is set
        copies = [self._checked(place, array) for place, array in zip(places, arrays, strict=True)]
        for place, copy_ in zip(places, copies, strict=True):
            setattr(self.layers[place], self.attribute, copy_)

    def _checked(self, place: int, new: Any) -> Array | None:
        """A copy of an array in the layer's orientation, refused if it is not of the layer's shape."""
        layer, old = self.layers[place], self[place]
        if old is None:
            setattr(layer, self.attribute, new)  # which refuses all but None
            return None
        array = np.array(numeric(layer, new, f"{self.name}[{place}]"))
        if array.ndim and array.shape != old.shape:  # a single number goes into every entry, as in the layer
            hint = "; a layer's weight is (n_out, n_in), pass its transpose" if array.T.shape == old.shape else ""
            raise ValueError(f"{layer!r}: expected {self.name}[{place}] of shape {old.shape}, got {array.shape}{hint}")
        return array.T

    def __reduce__(self) -> Any:  # without the layers
        return list, (list(self),)


def checked_weight(weight: Any, X: Any) -> Array | None:
    """Weights as a vector with an entry for each row, or None."""
    checked: Array | None = None if weight is None else _check_sample_weight(weight, X)
    return checked


def refuse_weights(weight: Array | None) -> None:
    """Refuse weights that are negative, infinite, or all 0."""
    if weight is not None and (not ((weight >= 0) & (weight < np.inf)).all() or not weight.any()):
        values = f"values from {weight.min()} to {weight.max()}"
        raise ValueError(f"expected weights of at least 0, and one of more, all finite, got {values}")


def flat_if_column(y: Any) -> Any:
    """A target of one column as a vector, with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def stochastic_only(estimator: Any) -> bool:
    """Whether there is `partial_fit`, which L-BFGS has not."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
    return True
