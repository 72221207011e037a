"""`MLPRegressor`: scikit-learn's arguments in their order, and what those refuse."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from pancake.losses.classes import ClassLoss
from pancake.losses.elementwise import BinaryCrossEntropy, Hinge
from pancake.losses.likelihoods import GaussianNLL, KLDivergence, PoissonNLL
from pancake.memory import Array
from pancake.sklearn.base import FLOATS, SPARSE, BaseMLP, flat_if_column, stochastic_only
from pancake.sklearn.building import activated
from pancake.sklearn.objectives import Objective, poisson, squared_error
from pancake.training.metrics import r2_score


class MLPRegressor(RegressorMixin, BaseMLP):
    """A regressor that is a multilayer perceptron, or any other stack of pancake's Functions.

    It takes the place of `sklearn.neural_network.MLPRegressor`: the same arguments, defaults, attributes, warnings and, up to
    rounding, numbers. Losses besides scikit-learn's, `dropout`, `model`, `dtype`, `callbacks`, `fit(validation=...)`, `model_`
    and `history_` are pancake's.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, or a loss of pancake or your own, default="squared_error"
        "squared_error" is half of the squared error. "poisson" is half of the deviance of counts, for y of at least 0; the net
        then puts out the logarithm of what is predicted. Another loss, such as `pancake.Huber()`, is given what the stack puts
        out and y as columns, and what the stack puts out is what is predicted.

    hidden_layer_sizes : int or array-like of int, default=(100,)
        The number of units in each hidden layer.

    activation : {"identity", "logistic", "tanh", "relu"} or callable, default="relu"
        What stands after each hidden layer: one of scikit-learn's names, or what makes a Function, such as `pancake.GELU`.

    solver : {"lbfgs", "sgd", "adam"} or callable, default="adam"
        One of scikit-learn's names, or an optimizer class of pancake, such as `pancake.AdamW`; with more arguments
        `functools.partial(pancake.AdamW, weight_decay=0.1)`. It is called with the net and `lr=learning_rate_init`.

    alpha : float, default=0.0001
        Strength of the penalty, alpha / 2 times the sum of the squares of all weights, biases excepted, divided by the weight
        of the batch. (It is not the `weight_decay` of pancake's optimizers.)

    batch_size : int or "auto", default="auto"
        Rows of a batch; "auto" is `min(200, n_samples)`. "lbfgs" sees all rows at once.

    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        How the learning rate changes, for "sgd" and optimizer classes. "invscaling" divides it after each epoch by the number of
        rows seen so far to the power of `power_t`; "adaptive" by 5 whenever nothing has got better for `n_iter_no_change`
        epochs.

    learning_rate_init : float, default=0.001
        The learning rate at first.

    power_t : float, default=0.5
        The exponent of "invscaling".

    max_iter : int, default=200
        The largest number of epochs; for "lbfgs", of iterations.

    shuffle : bool, default=True
        Whether rows come in random order, anew in each epoch.

    random_state : int, RandomState instance or None, default=None
        What draws the initial weights, the order of the rows and the rows of `early_stopping`, and seeds what `model` and
        `dropout` draw. From one seed the net starts as scikit-learn's does and sees the same batches. With None it is
        different each time; `np.random.seed` has no say in it, since pancake leaves NumPy's global generator alone.

    tol : float, default=1e-4
        By how much the loss (or the score, with `early_stopping`) has to get better within `n_iter_no_change` epochs for the
        training to go on; for "lbfgs", the largest entry of the gradient at which it ends.

    verbose : bool, default=False
        Whether to print the loss after each epoch.

    warm_start : bool, default=False
        Whether `fit` goes on with the weights that there are.

    momentum : float, default=0.9
        From 0 to 1, for "sgd".

    nesterovs_momentum : bool, default=True
        Whether momentum is Nesterov's, for "sgd".

    early_stopping : bool, default=False
        Whether to keep `validation_fraction` of the rows apart (or take those of `fit(validation=...)`), end when the score
        there no longer gets better, and keep the best weights.

    validation_fraction : float, default=0.1
        Part of the rows that `early_stopping` keeps apart.

    beta_1, beta_2 : float, default=0.9 and 0.999
        How slowly the averages of "adam" forget, from 0 to less than 1.

    epsilon : float, default=1e-8
        What "adam" adds to roots.

    n_iter_no_change : int, default=10
        Epochs without anything better, by `tol`, after which the training ends.

    max_fun : int, default=15000
        The largest number of evaluations of the loss, for "lbfgs".

    dropout : float, default=0.0
        The probability with which units of the hidden layers are dropped in training: a `Dropout` after each activation.

    model : callable, default=None
        `model(n_in, n_out, rng)` returns any stack of Functions in place of the usual net.
        n_out is the number of columns of y.
        `hidden_layer_sizes` and `activation` are not used then.

    dtype : dtype, default=None
        Of the net. None is that of X if that is float32, else float64.

    callbacks : callable or list of callables, default=None
        Each is called with a `State` (model, loss, optimizer, history, epoch) after each epoch, or iteration of "lbfgs", which
        has None for the optimizer. If one returns True, the training ends.

    Attributes
    ----------
    loss_ : float
        The loss of the last epoch, the penalty included.

    best_loss_ : float or None
        The smallest of them; None with `early_stopping`. Not for "lbfgs".

    loss_curve_ : list of float
        The loss of each epoch. With `warm_start` and `partial_fit` it goes on. Not for "lbfgs".

    validation_scores_ : list of float or None
        The R2 of each epoch on the rows kept apart, with `early_stopping`. Not for "lbfgs".

    best_validation_score_ : float or None
        The best of them.

    t_ : int
        How many rows have been learnt from, each counted every time.

    coefs_, intercepts_ : list of ndarray
        The weights (n_in, n_out) and the biases (n_out,) of the linear layers: views of `model_`'s, which change with it.
        `coefs_[0] = W` copies W into the layer.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X is a data frame whose columns are all named by strings.

    n_iter_ : int
        How many epochs, or iterations of "lbfgs", the latest `fit` has made.

    n_layers_ : int
        Number of layers, that of the inputs included.

    n_outputs_ : int
        Number of outputs of the net.

    out_activation_ : str
        What makes of them what is predicted: "identity"; "exp" for "poisson" and `PoissonNLL`; "means" for `GaussianNLL`, for
        which a net has two outputs for each column of y, first the means and then the logarithms of the variances.

    model_ : pancake.Function
        The stack, whose outputs are from before `out_activation_`: for `pancake.save`, pictures, or a training of your own.

    history_ : pancake.History
        "loss", "lr" and "seconds" of each epoch, and with validation "val_loss" (without the penalty) and "val_r2";
        `history_.plot()` draws it.

    See Also
    --------
    MLPClassifier : The classifier.

    Examples
    --------
    >>> from pancake.sklearn import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    >>> regr = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X_train, y_train)
    >>> regr.predict(X_test[:2]).round()
    array([  29., -291.])
    >>> round(regr.score(X_test, y_test), 2)
    0.98
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"}), callable],
    }
    _score_name = "r2"

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        model: Any = None,
        dtype: Any = None,
        callbacks: Any = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.model = model
        self.dtype = dtype
        self.callbacks = callbacks

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> MLPRegressor:
        """Learn from X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data frames of numbers too. Sparse rows are made dense batch by batch; for "lbfgs", all at once.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The numbers to predict.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts, at least 0: twice the weight is the row twice.

        validation : tuple (X, y) or (X, y, sample_weight), default=None
            What to measure with after each epoch, see `history_`; with `early_stopping`, what to stop by.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If the loss, or a weight, is no longer finite.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` was reached while the loss was still getting better.
        """
        return self._fit(X, y, sample_weight, validation, incremental=False)

    @available_if(stochastic_only)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Make one epoch with the given rows, from the weights and the state of the optimizer that there are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, None, incremental=True)

    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """What is predicted for each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        return_std : bool, default=False
            Whether to return the standard deviations too, which the net has learnt with the loss `GaussianNLL` alone.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)

        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        ValueError
            If `return_std` is asked of a net that has learnt none.
        """
        check_is_fitted(self)
        if return_std and self.out_activation_ != "means":
            raise ValueError(
                f"MLPRegressor with loss={self.loss!r} has learnt no standard deviations: fit with loss=GaussianNLL()"
            )
        z = self._raw(X)
        mean = activated(self.out_activation_, z)
        predicted = [mean, np.exp(z[:, mean.shape[1] :] / 2)] if return_std else [mean]
        flat = [p.ravel() if p.shape[1] == 1 else p for p in predicted]
        return (flat[0], flat[1]) if return_std else flat[0]

    def _validated(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any, Any]:
        X, y = validate_data(self, X, y, accept_sparse=SPARSE, multi_output=True, y_numeric=True, dtype=FLOATS, reset=reset)
        y = flat_if_column(y)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"expected y of at least 0 for loss='poisson', got {y.min()}")
        return X, y, y.reshape(len(y), -1)

    def _objective(self, n_columns: int) -> tuple[Objective, str, int]:
        own = self._own_objective()
        if own is not None:
            if isinstance(own.loss, (ClassLoss, KLDivergence, BinaryCrossEntropy, Hinge)):
                raise ValueError(
                    f"MLPRegressor: expected a loss of numbers, got {own.loss!r}, which is of classes: MLPClassifier"
                )
            if isinstance(own.loss, GaussianNLL):
                return own, "means", 2 * n_columns
            # PoissonNLL is of the logarithm of what is to be predicted
            return own, "exp" if isinstance(own.loss, PoissonNLL) else "identity", n_columns
        if self.loss == "poisson":
            return poisson(), "exp", n_columns
        return squared_error(n_columns), "identity", n_columns

    def _target(self, y: Any, loss: Any, dtype: np.dtype[Any]) -> Array:
        target: Array = y.astype(dtype, copy=False)
        return target

    def _score_of(self, z: Array, target: Array, weight: Array | None) -> float:
        return r2_score(activated(self.out_activation_, z), target, weight)
