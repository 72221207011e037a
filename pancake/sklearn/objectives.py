"""What is minimised, in scikit-learn's terms: a loss of pancake, averaged over the weight of the batch, and a penalty."""

from __future__ import annotations

from typing import Any

import numpy as np

from pancake import memory
from pancake.function import Function
from pancake.functions.activations import sigmoid
from pancake.losses.classes import ClassLoss, CrossEntropy
from pancake.losses.elementwise import BinaryCrossEntropy, ElementwiseLoss, MeanSquaredError
from pancake.losses.likelihoods import KLDivergence
from pancake.memory import Array


class PoissonDeviance:
    """t log(t / exp(z)) - t + exp(z) for each entry, summed: half of the deviance of counts t from rates exp(z).

    dObj_dPred = exp(z) - t.

    Shape
    -----
    z, t : (B, K), t >= 0;  weight : (B,)

    References
    ----------
    https://scikit-learn.org/stable/modules/model_evaluation.html#mean-tweedie-deviance
    """

    def __call__(self, z: Array, t: Array, weight: Array | None = None) -> float:
        with np.errstate(over="ignore"):
            rate = np.exp(z)
        values = t * (np.log(np.where(t > 0, t, 1)) - z) - t + rate
        w = np.ones((len(z), 1), z.dtype) if weight is None else weight[:, np.newaxis]
        self._slopes = w * (rate - t)
        return float((w * values).sum())

    def compute_backward(self) -> Array:
        return self._slopes


class WeightedLogLoss:
    """sum_n w_n (log sum_j exp(z_nj) - z_nt): what `CrossEntropy` computes, of labels and weights that have been checked.

    Its own checks of weights take as long as a step of a small net. dObj_dPred = w (softmax(z) - onehot(t)).

    Shape
    -----
    z : (B, C);  t : (B,), whole numbers from 0 to C - 1;  w : (B,)
    """

    def __call__(self, z: Array, t: Any, w: Array) -> float:
        shifted, rows = z - z.max(axis=1, keepdims=True), np.arange(len(z))
        e = np.exp(shifted)
        total = e.sum(axis=1)
        self._slopes = e * (w / total)[:, np.newaxis]
        self._slopes[rows, t] -= w
        return float(w @ (np.log(total) - shifted[rows, t]))

    def compute_backward(self) -> Array:
        return self._slopes


class WeightedBinaryLogLoss:
    """sum_n w_n sum_k (log(1 + exp(z_nk)) - t_nk z_nk): what `BinaryCrossEntropy` computes, likewise.

    dObj_dPred = w (sigmoid(z) - t).

    Shape
    -----
    z, t : (B, K), 0 <= t <= 1;  w : (B,)
    """

    def __call__(self, z: Array, t: Array, w: Array) -> float:
        self._slopes = w[:, np.newaxis] * (sigmoid(z) - t)
        return float(w @ (np.logaddexp(0, z) - t * z).sum(axis=1))

    def compute_backward(self) -> Array:
        return self._slopes


class Objective:
    """A loss as the estimators count it: the average over the examples of a batch, each with its weight.

    Twice the weight is the same as the example twice.

    Parameters
    ----------
    loss : Loss
        With the reduction "sum", or "mean" if it is one of the user's.
    weighted : loss, optional
        What takes its place where there are weights.
    value, slope : float
        Factors of the loss and of its gradient, for the sums. scikit-learn reports half of the squared error averaged over the
        outputs, and follows the gradient of its sum over them.
    """

    def __init__(self, loss: Any, weighted: Any = None, *, value: float = 1.0, slope: float = 1.0) -> None:
        self.loss, self.weighted, self.value, self.slope = loss, weighted or loss, value, slope
        self._used = loss
        self.weight = 1.0  # of the latest batch
        self._factor = 1.0

    def __call__(self, pred: Array, y: Array, weight: Array | None = None) -> float:
        self.weight = float(len(pred) if weight is None else weight.sum())
        self._used = self.loss if weight is None else self.weighted
        total = float(np.sum(self._used(pred, y) if weight is None else self._used(pred, y, weight)))
        factor = self._share(len(pred), weight)
        self._factor = self.slope * factor
        return total * self.value * factor

    def _share(self, rows: int, weight: Array | None) -> float:
        return 1 / self.weight

    def compute_backward(self) -> Array:
        gradient: Array = np.multiply(self._used.compute_backward(), self._factor)
        return gradient


class OwnObjective(Objective):
    """A loss that the user has chosen, taken as it is.

    Those of pancake that average over entries divide by their number, whatever the weights; here by the weights.
    """

    def _share(self, rows: int, weight: Array | None) -> float:
        averages = isinstance(self.loss, ElementwiseLoss) and self.loss.reduction == "mean"
        return rows / self.weight if averages and weight is not None else 1.0


def log_loss(multiclass: bool) -> Objective:
    """The cross-entropy: of classes of which one is right, or else of each output by itself, summed over them."""
    if multiclass:
        return Objective(CrossEntropy(reduction="sum"), WeightedLogLoss())
    return Objective(BinaryCrossEntropy(from_logits=True, reduction="sum"), WeightedBinaryLogLoss())


def squared_error(outputs: int) -> Objective:
    """Half of the squared error."""
    return Objective(MeanSquaredError(reduction="sum"), value=0.5 / outputs, slope=0.5)


def poisson() -> Objective:
    """Half of the deviance of counts from the exponential of what the net puts out."""
    return Objective(PoissonDeviance())


def takes_labels(loss: Any, outputs: int) -> bool:
    """Whether a loss wants classes as whole numbers, rather than a column for each output."""
    own = isinstance(loss, (ElementwiseLoss, KLDivergence))
    return isinstance(loss, ClassLoss) or (outputs > 1 and not own)


def columns(loss: Any, y: Any, dtype: np.dtype[Any]) -> Array:
    """Columns of 0 and 1, as -1 and 1 for losses that compare numbers with numbers: their sign is then the class.

    For `KLDivergence` they are probabilities, with a column for each of two classes too.
    """
    signed = isinstance(loss, ElementwiseLoss) and not isinstance(loss, BinaryCrossEntropy)
    numbers: Array = y.astype(dtype)
    if isinstance(loss, KLDivergence) and y.shape[1] == 1:
        return np.concatenate([1 - numbers, numbers], axis=1)
    return 2 * numbers - 1 if signed else numbers


class Penalised:
    """An optimizer, and scikit-learn's penalty: alpha / 2 sum w^2 over all matrices w, divided by the weight of the batch.

    In a step it adds alpha w, divided by that weight, to the gradients of the matrices; biases and other vectors have none.

    Attributes
    ----------
    value : float
        The penalty at the parameters from before the latest step.
    """

    def __init__(self, optimizer: Any, model: Function, alpha: float, objective: Objective) -> None:
        self.optimizer, self.model, self.alpha, self.objective = optimizer, model, alpha, objective
        self.value = 0.0
        self._vectors: list[tuple[Array, Array, Array, Array]] = []
        self._generation = -1

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def step(self) -> None:
        self.add()
        self.optimizer.step()

    def add(self) -> None:
        """Add to the gradients, and note the value."""
        if not self.alpha:
            return
        if self._generation != memory.generation:
            self._find()
        factor, value = self.alpha / self.objective.weight, 0.0
        for values, grads, matrices, slopes in self._vectors:
            np.multiply(values, factor, slopes)
            slopes *= matrices
            value += float(np.vdot(slopes, values))
            grads += slopes
        self.value = 0.5 * value

    def _find(self) -> None:
        """Look where the parameters are, side by side, so that there are few long vectors; and which of them are matrices."""
        params, grads = self.model.get_params_and_grads()
        self._vectors = []
        for run in memory.runs(params, grads):
            matrices = np.zeros_like(run.values)  # 1 where there is one
            for index, part in run.split(matrices, params):
                part.fill(params[index].ndim >= 2)
            self._vectors.append((run.values, run.grads, matrices, np.empty_like(matrices)))
        self._generation = memory.generation

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_vectors": [], "_generation": -1}
