"""`MLPClassifier`: scikit-learn's arguments in their order, and what those refuse."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from pancake.losses.elementwise import BinaryCrossEntropy
from pancake.losses.likelihoods import GaussianNLL, KLDivergence, PoissonNLL
from pancake.memory import Array
from pancake.sklearn.base import FLOATS, SPARSE, BaseMLP, flat_if_column, stochastic_only
from pancake.sklearn.building import activated
from pancake.sklearn.objectives import Objective, columns, log_loss, takes_labels


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A classifier that is a multilayer perceptron, or any other stack of pancake's Functions.

    It takes the place of `sklearn.neural_network.MLPClassifier`: the same arguments, defaults, attributes, warnings and, up to
    rounding, numbers. `class_weight`, `loss`, `dropout`, `model`, `dtype`, `callbacks`, `fit(validation=...)`, `model_` and
    `history_` are pancake's.

    Parameters
    ----------
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

    class_weight : dict, "balanced" or None, default=None
        A weight for each class, by which those of its rows are multiplied; of a class that is not named, 1. "balanced" gives
        all classes the same weight in sum: `n_samples / (n_classes * np.bincount(y))`. For several outputs a list of dicts.

    loss : "log_loss", or a loss of pancake or your own, default="log_loss"
        "log_loss" is the cross-entropy. Another loss is given what the stack puts out, from before `out_activation_`. Losses of
        classes (`CrossEntropy(label_smoothing=0.1)`, `NegativeLogLikelihood`) are given whole numbers, `KLDivergence` rows of
        probabilities, and for two classes the net has two outputs; `BinaryCrossEntropy` is given columns of 0 and 1, and others
        that compare entry with entry (`Hinge`) columns of -1 and 1. One that is derived from `pancake.Loss` alone is given whole
        numbers for three classes or more, else a column of 0 and 1. Before a loss of probabilities, or of their logarithms, the
        usual net ends with `Sigmoid` or `LogSoftmax`; what `model` returns ends as the loss needs it.

    dropout : float, default=0.0
        The probability with which units of the hidden layers are dropped in training: a `Dropout` after each activation.

    model : callable, default=None
        `model(n_in, n_out, rng)` returns any stack of Functions in place of the usual net.
        n_out is the number of classes, 1 for two classes, or that of labels.
        `hidden_layer_sizes` and `activation` are not used then.

    dtype : dtype, default=None
        Of the net. None is that of X if that is float32, else float64.

    callbacks : callable or list of callables, default=None
        Each is called with a `State` (model, loss, optimizer, history, epoch) after each epoch, or iteration of "lbfgs", which
        has None for the optimizer. If one returns True, the training ends.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray of shape (n_classes,)
        The classes.

    loss_ : float
        The loss of the last epoch, the penalty included.

    best_loss_ : float or None
        The smallest of them; None with `early_stopping`. Not for "lbfgs".

    loss_curve_ : list of float
        The loss of each epoch. With `warm_start` and `partial_fit` it goes on. Not for "lbfgs".

    validation_scores_ : list of float or None
        The accuracy of each epoch on the rows kept apart, with `early_stopping`. Not for "lbfgs".

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
        What makes of them what is predicted: "softmax" or "logistic", or "identity" after `BinaryCrossEntropy()` of
        probabilities.

    model_ : pancake.Function
        The stack, whose outputs are from before `out_activation_`: for `pancake.save`, pictures, or a training of your own.

    history_ : pancake.History
        "loss", "lr" and "seconds" of each epoch, and with validation "val_loss" (without the penalty) and "val_accuracy";
        `history_.plot()` draws it.

    See Also
    --------
    MLPRegressor : The regressor.

    Examples
    --------
    >>> from pancake.sklearn import MLPClassifier
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_classification(n_samples=100, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=1)
    >>> clf = MLPClassifier(random_state=1, max_iter=300).fit(X_train, y_train)
    >>> clf.predict_proba(X_test[:1]).round(3)
    array([[0.038, 0.962]])
    >>> clf.predict(X_test[:5, :])
    array([1, 0, 1, 0, 1])
    >>> clf.score(X_test, y_test)
    0.88
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "loss": [StrOptions({"log_loss"}), callable],
    }
    _score_name = "accuracy"

    def __init__(
        self,
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
        class_weight: Any = None,
        loss: Any = "log_loss",
        dropout: float = 0.0,
        model: Any = None,
        dtype: Any = None,
        callbacks: Any = None,
    ) -> None:
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
        self.class_weight = class_weight
        self.loss = loss
        self.dropout = dropout
        self.model = model
        self.dtype = dtype
        self.callbacks = callbacks

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None) -> MLPClassifier:
        """Learn from X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data frames of numbers too. Sparse rows are made dense batch by batch; for "lbfgs", all at once.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The classes: numbers or text. For several labels, columns of 0 and 1.

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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Make one epoch with the given rows, from the weights and the state of the optimizer that there are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. Some classes may be missing in y.

        classes : array-like of shape (n_classes,), default=None
            All classes that will ever come, for the first call.

        Returns
        -------
        self : object
        """
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, None, incremental=True)

    def predict(self, X: Any) -> Any:
        """The class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        check_is_fitted(self)
        p = self._outputs(X)
        if self._label_binarizer.y_type_ == "binary":
            p = p[:, -1]
        return self._label_binarizer.inverse_transform(p)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, or of each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. They are what the outputs mean to "log_loss"; after a loss that is no likelihood, such
            as `Hinge`, only their order means something. `BinaryCrossEntropy` learns each of three or more classes by itself:
            their probabilities are divided by their sum, as in scikit-learn's `OneVsRestClassifier`, where a row of zeros
            stays one. Those of labels, of which several may be right, are left as they are.
        """
        check_is_fitted(self)
        p = self._outputs(X)
        one_for_two = p.shape[1] == 1 and self._label_binarizer.y_type_ == "binary"
        return np.concatenate([1 - p, p], axis=1) if one_for_two else p

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _outputs(self, X: Any) -> Array:
        return self._exclusive(super()._outputs(X))

    def _exclusive(self, p: Array) -> Array:
        """Of classes of which one is right, each learnt by itself, the probabilities such that a row sums to 1."""
        if self._label_binarizer.y_type_ != "multiclass" or self.out_activation_ == "softmax":
            return p
        sums = p.sum(axis=1, keepdims=True)
        return np.divide(p, sums, out=np.zeros_like(p), where=sums != 0)

    def _validated(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any, Any]:
        X, y = validate_data(self, X, y, accept_sparse=SPARSE, multi_output=True, dtype=FLOATS, reset=reset)
        y = flat_if_column(y)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start and not incremental:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                        f"Previously got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        return X, y, self._columns(y)

    def _columns(self, y: Any) -> Any:
        """What `LabelBinarizer.transform` returns, as booleans; it takes longer than an epoch of a small batch."""
        if y.ndim != 1 or self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.transform(y).astype(bool)
        codes = np.searchsorted(self.classes_, y)[:, np.newaxis]
        return codes == (1 if len(self.classes_) < 3 else np.arange(len(self.classes_)))

    def _weights(self, y: Any, sample_weight: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all rows at once, which partial_fit has not; compute the weights with "
                "sklearn.utils.class_weight.compute_class_weight, and pass them as a dict"
            )
        weight: Array = compute_sample_weight(self.class_weight, y)
        return weight if sample_weight is None else weight * sample_weight

    def _objective(self, n_columns: int) -> tuple[Objective, str, int]:
        own = self._own_objective()
        kind = "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"
        if own is None:
            return log_loss(multiclass=kind == "softmax"), kind, n_columns
        if isinstance(own.loss, (PoissonNLL, GaussianNLL)):
            raise ValueError(f"MLPClassifier: expected a loss of classes, got {own.loss!r}, which is of numbers: MLPRegressor")
        if takes_labels(own.loss, n_columns) or isinstance(own.loss, KLDivergence):
            if self._label_binarizer.y_type_.startswith("multilabel"):
                raise ValueError(f"expected a loss of several labels at once, such as BinaryCrossEntropy, got {own.loss!r}")
            return own, "softmax", max(n_columns, 2)
        if isinstance(own.loss, BinaryCrossEntropy):
            kind = "logistic" if own.loss.from_logits else "identity"
        return own, kind, n_columns

    def _target(self, y: Any, loss: Any, dtype: np.dtype[Any]) -> Array:
        if takes_labels(loss, y.shape[1]) and not self._label_binarizer.y_type_.startswith("multilabel"):
            labels: Array = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(np.intp)
            return labels
        return columns(loss, y, dtype)

    def _score_of(self, z: Array, target: Array, weight: Array | None) -> float:
        p = self._exclusive(activated(self.out_activation_, z))
        if target.ndim == 1:
            right = p.argmax(axis=1) == target
        elif self._label_binarizer.y_type_ == "multiclass":
            right = p.argmax(axis=1) == target.argmax(axis=1)
        else:
            right = ((p > 0.5) == (target > 0.5)).all(axis=1) | (len(self.classes_) == 1)  # of which one alone is predicted
        return float(np.average(right, weights=weight))
