"""What `fit` finds out before the first step, with nothing changed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pancake as pk
from pancake.training.holdout import held_out


def data(n=33):
    x = np.random.default_rng(0).normal(size=(n, 3))
    return x, (x[:, 0] > 0).astype(int)


def net(end=None):
    layers = [pk.Linear(3, 8, rng=0), pk.Tanh(), pk.BatchNorm(8), pk.Dropout(0.1, rng=0), pk.Linear(8, 2, rng=1)]
    return pk.Sequential(layers + ([] if end is None else [end]))


def spoilt(array, *index, value=np.nan):
    array = np.array(array, float)
    array[index] = value
    return array


X, Y = data()
ONES = np.ones(33)
SEQUENCES = np.ones((33, 4, 3))
HELD = np.isin(np.arange(33), held_out(33, 0.2, Y)[1])

REFUSED = {
    "narrow inputs": ({"x": X[:, :2]}, "expected"),
    "labels from 1": ({"y": Y + 1}, "labels from 0 to 1"),
    "one label of many": ({"y": np.where(np.arange(33) == 20, 5, Y)}, "labels from 0 to 1"),
    "labels as floats": ({"y": Y * 1.0}, "labels"),
    "targets of another shape": ({"y": np.ones((33, 5))}, "expected"),
    "x and y swapped": ({"x": Y, "y": X}, r"x \(N,\) and y \(N, 3\) look swapped"),
    "nan in x": ({"x": spoilt(X, 7, 2)}, "nan in row 7, column 2"),
    "inf in x": ({"x": spoilt(X, 7, 2, value=-np.inf)}, "finite numbers in x, got -inf in row 7, column 2; keep = np.isfinite"),
    "nan in y": ({"y": spoilt(np.eye(2)[Y], 9, 1)}, "finite numbers in y, got nan in row 9, column 1"),
    "nan in the weights": ({"sample_weight": spoilt(ONES, 4)}, r"finite numbers in sample_weight, got nan in row 4; keep"),
    "negative weights": ({"sample_weight": spoilt(ONES, 4, value=-1)}, "at least 0 in sample_weight, got -1.0 in row 4"),
    "no weight": ({"sample_weight": 0 * ONES}, "every weight in sample_weight is 0"),
    "weights of another shape": ({"sample_weight": np.ones((33, 7))}, "weight"),
    "lengths for nobody": ({"lengths": np.ones(33, int)}, "nothing in it takes them"),
    "validation of other widths": ({"validation": (X[:, :2], Y)}, "fit: validation: Linear"),
    "validation labels": ({"validation": (X, Y + 1)}, "fit: validation: CrossEntropy.*labels from 0 to 1"),
    "one validation label": ({"validation": (X, np.where(np.arange(33) == 20, 5, Y))}, "labels from 0 to 1"),
    "a callback of no argument": ({"callbacks": lambda: None}, "functions of one argument, the state of the training, as callb"),
    "a schedule of two": ({"schedule": lambda step, epoch: 0.1}, "functions of one argument, the number of steps so far, as sch"),
    "a metric of one argument": (
        {"metrics": {"mean": lambda pred: 0.0}},
        "the metric 'mean' to take predictions and targets, got",
    ),
    "validation swapped": ({"validation": (Y, X)}, "validation: x .* look swapped"),
    "no weight in validation": ({"validation": (X, Y, 0 * ONES)}, "every weight in validation is 0"),
    "no weight in what is held out": (
        {"validation": 0.2, "sample_weight": ~HELD * 1.0},
        "fit: every weight in validation is 0, so nothing counts: validation=0.2 holds out 7 of the 33 examples; pass valid",
    ),
    "no weight but in what is held out": (
        {"validation": 0.2, "sample_weight": HELD * 1.0, "metrics": {"accuracy": pk.accuracy}},
        "fit: every weight in sample_weight outside of validation is 0, so nothing counts: validation=0.2 holds out 7 of",
    ),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "a row for each example, and one at least"),
    "no rows in validation": ({"validation": (X[:0], Y[:0])}, "a row for each example, and one at least"),
    "a metric for other things": ({"metrics": {"r2": pk.r2_score}}, "r2_score: expected predictions and targets of one shape"),
    "batches of one": ({"batch_size": 1}, "batches of one example: BatchNorm"),
    "a single example": ({"x": X[:1], "y": Y[:1]}, "batches of one example: BatchNorm"),
    "a folder that is not there": ({"checkpoint": "not/there.npz"}, "there is no folder .not. to write .there.npz. into"),
    "a checkpoint of no kind": ({"checkpoint": "model.txt"}, "model.txt"),
    "a nan in a list of batches": ({"x": [(X, Y), (spoilt(X, 3, 1), Y)], "y": None}, "batch 2: .* nan in row 3, column 1"),
    "a list of batches for another model": ({"x": [(X[:, :2], Y)], "y": None}, "expected"),
    "a batch of one in a list": (
        {"x": [(X, Y), (X[:1], Y[:1])], "y": None},
        "batch 2 is a single example, with which .* BatchNorm",
    ),
    "a last batch that is none": ({"x": [(X, Y), 3], "y": None}, "expected batch 2 to be"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_nothing_has_changed_when_fit_refuses(kind):
    changes, words = REFUSED[kind]
    model, loss = net(), pk.CrossEntropy()
    optimizer, stopping = pk.Adam(model), pk.EarlyStopping("loss")
    model[3].eval()
    dice = model[3].rng.bit_generator.state
    before, attributes = model.state_dict(), [list(vars(f)) for f in model.walk()]
    gradient = [g.copy() for g in model.get_params_and_grads()[1]]
    arguments = {"x": X, "y": Y, "early_stopping": stopping, "clip_norm": 1.0, "progress": False, **changes}
    with pytest.raises((TypeError, ValueError, OSError), match=words):
        pk.fit(model, loss, optimizer, **arguments)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    for g, old in zip(model.get_params_and_grads()[1], gradient, strict=True):
        np.testing.assert_array_equal(g, old)
    assert [list(vars(f)) for f in model.walk()] == attributes
    assert [f.training for f in model] == [True, True, True, False, True]
    assert model[3].rng.bit_generator.state == dice
    assert (optimizer.steps, optimizer.history, stopping.best_epoch) == (0, None, 0)
    with pytest.raises(RuntimeError):  # the loss has not been called
        loss.compute_backward()


@pytest.mark.parametrize("row", [0, 17, 899])
@pytest.mark.parametrize("kind", ["label", "index", "length", "side", "row of probabilities", "negative weight"])
def test_one_bad_row_of_many_is_found(kind, row):
    """What stands between the extremes too."""
    rng = np.random.default_rng(0)
    x, y, options, loss = rng.normal(size=(900, 3)), rng.integers(0, 2, 900), {}, pk.CrossEntropy()
    model = pk.Sequential([pk.Linear(3, 2, rng=0)])
    if kind == "label":
        y[row] = 2
    elif kind == "index":
        model = pk.Sequential([pk.Embedding(5, 3, rng=0), pk.Flatten(), pk.Linear(6, 2, rng=0)])
        x = rng.integers(0, 5, (900, 2))
        x[row, 1] = 5
    elif kind == "length":
        model = pk.Unrolled(pk.RNNCell(3, 2, rng=0), return_sequences=False)
        x, options = rng.normal(size=(900, 4, 3)), {"lengths": rng.integers(1, 5, 900)}
        options["lengths"][row] = 0
    elif kind == "side":
        loss, y = pk.Hinge(), 2 * np.eye(2)[y] - 1
        y[row, 0] = 0  # between -1 and 1
    elif kind == "row of probabilities":
        y = rng.dirichlet([1, 1], 900)
        y[row] *= 1.1
    else:
        options = {"sample_weight": rng.random(900)}
        options["sample_weight"][row] = -0.1
    optimizer = pk.SGD(model)
    with pytest.raises((ValueError, IndexError)):
        pk.fit(model, loss, optimizer, x, y, progress=False, **options)
    assert optimizer.steps == 0


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float64])
@pytest.mark.parametrize("row", [5, 3000])
def test_of_few_values_each_is_tried_wherever_it_stands(dtype, row):
    class NoThree(pk.MeanSquaredError):
        def compute_forward(self, pred, target, weight=None):
            if (target == 3).any():
                raise ValueError("no 3")
            return super().compute_forward(pred, target, weight)

    y = np.where(np.arange(4000) % 2, 0, 9).astype(dtype)
    y[row] = 3
    model = pk.Linear(2, 1, rng=0)
    optimizer = pk.SGD(model)
    with pytest.raises(ValueError, match="no 3"):
        pk.fit(model, NoThree(), optimizer, np.ones((4000, 2)), y[:, None], shuffle=False, progress=False)
    assert optimizer.steps == 0


def test_the_rehearsal_leaves_no_trace_in_a_training():
    model, other = net(), net()
    optimizer, same = pk.SGD(model), pk.SGD(other)
    pk.fit(model, pk.CrossEntropy(), optimizer, X, Y, epochs=1, batch_size=33, shuffle=False, progress=False)
    loss = pk.CrossEntropy()
    same.zero_grad()
    loss(other(X), Y)
    other.accumulate_grads(loss.compute_backward())
    same.step()
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[key])


@pytest.mark.parametrize(
    "weight", [np.where(np.arange(33) == 5, 0.0, 1.0), np.where(np.arange(33) == 5, 0.0, 1.0)[:, None]], ids=["row", "entry"]
)
def test_a_target_without_weight_may_be_anything(weight):
    class Squares(pk.MeanSquaredError):  # to which weight 0 means absent
        def compute_forward(self, pred, target, weight=None):
            w = np.ones(len(pred)) if weight is None else np.reshape(weight, len(pred))
            return super().compute_forward(pred, np.where(w[:, None] > 0, target, 0), w)

    model = pk.Linear(3, 1, rng=0)
    y = spoilt(X[:, :1], 5, 0)
    history = pk.fit(
        model, Squares(), pk.SGD(model), X, y, epochs=2, sample_weight=weight, validation=(X, y, weight), progress=False
    )
    assert np.isfinite(history["loss"] + history["val_loss"]).all()


def test_what_is_past_the_end_of_a_sequence_may_be_anything():
    x = SEQUENCES.copy()
    lengths = np.full(33, 3)
    x[:, 3] = np.nan
    model = pk.Unrolled(pk.GRUCell(3, 2, rng=0), return_sequences=False)
    arguments = (model, pk.MeanSquaredError(), pk.SGD(model), x, np.ones((33, 2)))
    assert pk.fit(*arguments, epochs=1, lengths=lengths, progress=False).epochs == 1
    x[8, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"finite numbers in x, got nan in row 8, at \[1, 2\]"):
        pk.fit(*arguments, epochs=1, lengths=lengths, progress=False)


def test_a_users_function_may_know_what_to_do_with_nan():
    class Impute(pk.Function):
        def compute_forward(self, x):
            return np.nan_to_num(x)

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    model = pk.Sequential([Impute(), pk.Linear(3, 2, rng=0)])
    x = spoilt(X, 5, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = pk.fit(model, pk.CrossEntropy(), pk.SGD(model), x, Y, epochs=2, validation=(x, Y), progress=False)
    assert np.isfinite(history["val_loss"]).all()


# --- a last batch of one ---


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("columns", [3, 40_000])  # of the second, a block holds one batch
def test_a_last_batch_of_one_joins_the_one_before(shuffle, columns):
    sizes = []

    class Watch(pk.Function):
        def compute_forward(self, x):
            if self.training:
                sizes.append(len(x))
            return x[:, :3].copy()

        def compute_backward(self, dObj_dOut):
            return np.zeros((len(dObj_dOut), columns))

    x = np.random.default_rng(0).normal(size=(33, columns))
    model = pk.Sequential([Watch(), *net()])
    pk.fit(model, pk.CrossEntropy(), pk.SGD(model), x, Y, epochs=2, batch_size=16, shuffle=shuffle, rng=0, progress=False)
    assert sizes[-4:] == [16, 17, 16, 17]


@pytest.mark.parametrize("freeze", [True, False])
def test_it_stays_alone_where_nothing_stands_against_it(freeze):
    model = net()
    if freeze:
        model[2].eval()
    else:
        model = pk.mlp([3, 4, 2], rng=0)
    optimizer = pk.SGD(model)
    pk.fit(model, pk.CrossEntropy(), optimizer, X, Y, epochs=1, batch_size=16, progress=False)
    assert optimizer.steps == 3


def test_a_method_put_on_a_layer_is_called_for_the_batches_alone():
    model = pk.mlp([3, 4, 2], rng=0)
    sizes, forward = [], model[0].compute_forward

    def spy(x):
        if model.training:
            sizes.append(len(x))
        return forward(x)

    model[0].compute_forward = spy
    pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, epochs=1, batch_size=16, progress=False)
    assert sizes == [16, 16, 1]


# --- nan in validation data ---


@pytest.mark.parametrize(
    ("end", "loss", "y"),
    [
        (pk.Identity(), pk.CrossEntropy(), Y),
        (pk.LogSoftmax(), pk.NegativeLogLikelihood(), Y),
        (pk.Sigmoid(), pk.BinaryCrossEntropy(), np.eye(2)[Y]),
        (pk.Identity(), pk.BinaryCrossEntropy(from_logits=True), np.eye(2)[Y]),
        (pk.Identity(), pk.MeanSquaredError(), np.eye(2)[Y]),
        (pk.Identity(), pk.MeanAbsoluteError(), np.eye(2)[Y]),
        (pk.Identity(), pk.Huber(), np.eye(2)[Y]),
        (pk.Identity(), pk.Hinge(), 2 * np.eye(2)[Y] - 1),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_validation_warns_and_goes_on(end, loss, y, value):
    model = net(end)
    with pytest.warns(UserWarning, match=f"fit: validation has {value} in row 6, column 2 of x, so val_loss is nan"):
        history = pk.fit(
            model, loss, pk.SGD(model), X, y, epochs=2, progress=False, validation=(spoilt(X, 6, 2, value=value), y),
            metrics={"mae": pk.mean_absolute_error} if y.ndim == 2 else {"accuracy": pk.accuracy},
        )  # fmt: skip
    assert np.isfinite(history["loss"]).all()
    assert history.epochs == 2
    assert np.isnan(history["val_loss"]).all()


def test_a_metric_that_refuses_nan_is_nan_too():
    def strict(pred, target):
        if not np.isfinite(pred).all():
            raise ValueError("nan")
        return 1.0

    model = net()
    with pytest.warns(UserWarning, match="row 6"):
        history = pk.fit(
            model, pk.CrossEntropy(), pk.SGD(model), X, Y, epochs=1, progress=False, validation=(spoilt(X, 6, 2), Y),
            metrics={"strict": strict},
        )  # fmt: skip
    assert history["strict"] == [1.0]
    assert np.isnan(history["val_strict"]).all()


def test_evaluate_of_nan_is_nan_for_a_loss_that_refuses_it():
    model = pk.Sequential([pk.Linear(3, 1, rng=0), pk.Sigmoid()])
    loss = pk.BinaryCrossEntropy()
    assert np.isnan(pk.evaluate(model, loss, spoilt(X, 6, 2), Y[:, None] * 1.0)["loss"])
    with pytest.raises(ValueError, match="expected every target"):
        pk.evaluate(model, loss, X, Y[:, None] + 1.0)


# --- the end of a stack and its loss ---


def said(model, loss, y):
    """What fit says by errors or warnings, and whether it has trained."""
    optimizer = pk.SGD(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pk.fit(model, loss, optimizer, X, y, epochs=1, progress=False)
        except ValueError as error:
            assert optimizer.steps == 0
            return str(error)
    assert optimizer.steps > 0
    return " ".join(str(w.message) for w in caught)


COLUMN, BOTH = Y[:, None] * 1.0, np.eye(2)[Y]
MISFITS = [
    (pk.Softmax(), 2, pk.CrossEntropy(), Y, ["Softmax", "CrossEntropy", "leave it out"]),
    (pk.Sigmoid(), 2, pk.CrossEntropy(), Y, ["Sigmoid", "CrossEntropy"]),
    (pk.Sequential([pk.Tanh(), pk.Softmax(), pk.Identity()]), 2, pk.CrossEntropy(), Y, ["Softmax", "CrossEntropy"]),
    (pk.Sigmoid(), 1, pk.BinaryCrossEntropy(from_logits=True), COLUMN, ["Sigmoid", "BinaryCrossEntropy(from_logits=True)"]),
    (pk.Softmax(), 2, pk.BinaryCrossEntropy(from_logits=True), BOTH, ["Softmax", "BinaryCrossEntropy"]),
    (pk.Identity(), 2, pk.NegativeLogLikelihood(), Y, ["NegativeLogLikelihood", "Linear", "LogSoftmax", "CrossEntropy"]),
    (pk.Softmax(), 2, pk.NegativeLogLikelihood(), Y, ["NegativeLogLikelihood", "Softmax", "LogSoftmax"]),
    (pk.Tanh(), 2, pk.NegativeLogLikelihood(), Y, ["NegativeLogLikelihood", "Tanh", "LogSoftmax"]),
    (pk.Identity(), 1, pk.CrossEntropy(), 0 * Y, ["CrossEntropy", "BinaryCrossEntropy(from_logits=True)", "two outputs"]),
    (pk.Softmax(), 1, pk.MeanSquaredError(), COLUMN, ["Softmax", "one output", "always 1"]),
    (pk.LogSoftmax(), 1, pk.MeanSquaredError(), COLUMN, ["LogSoftmax", "one output", "always 0"]),
]


@pytest.mark.parametrize(("end", "outputs", "loss", "y", "words"), MISFITS)
def test_an_end_that_does_not_fit_is_reported(end, outputs, loss, y, words):
    text = said(pk.Sequential([pk.Linear(3, outputs, rng=0), end]), loss, y)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("scale", [0.001, 1.0])
def test_probabilities_are_wanted_and_numbers_come(scale):
    model = pk.Sequential([pk.Linear(3, 1, rng=0)])
    model[0].weight = scale * model[0].weight
    model[0].bias = 0.5
    text = said(model, pk.BinaryCrossEntropy(), COLUMN)
    assert "from_logits=True" in text
    assert "BinaryCrossEntropy" in text


class OwnLogs(pk.Function):
    """A user's log of probabilities."""

    def compute_forward(self, x):
        self.p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
        return np.log(self.p)

    def compute_backward(self, dObj_dOut):
        return dObj_dOut - self.p * dObj_dOut.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("end", "outputs", "loss", "y"),
    [
        (pk.Identity(), 2, pk.CrossEntropy(), Y),
        (pk.LogSoftmax(), 2, pk.CrossEntropy(), Y),
        (pk.LogSoftmax(), 2, pk.NegativeLogLikelihood(), Y),
        (OwnLogs(), 2, pk.NegativeLogLikelihood(), Y),
        (pk.Sequential([pk.Softmax(), pk.Log()]), 2, pk.NegativeLogLikelihood(), Y),
        (pk.Sigmoid(), 1, pk.BinaryCrossEntropy(), COLUMN),
        (pk.Softmax(), 2, pk.BinaryCrossEntropy(), BOTH),
        (pk.Identity(), 1, pk.BinaryCrossEntropy(from_logits=True), COLUMN),
        (pk.Softmax(), 2, pk.MeanSquaredError(), BOTH),
        (pk.Sigmoid(), 1, pk.MeanSquaredError(), COLUMN),
    ],
)
def test_ends_that_fit_are_no_news(end, outputs, loss, y):
    assert said(pk.Sequential([pk.Linear(3, outputs, rng=0), end]), loss, y) == ""


@pytest.mark.parametrize("source", ["list", "function", "function and validation"])
@pytest.mark.parametrize("end", [pk.Softmax(), pk.Identity()])
def test_it_is_reported_of_batches_too(source, end):
    model, loss = pk.Sequential([pk.Linear(3, 2, rng=0), end]), pk.NegativeLogLikelihood()
    batches = [(X, Y)] if source == "list" else lambda: [(X, Y)]
    validation = (X, Y) if "validation" in source else None
    with pytest.raises(ValueError, match=r"NegativeLogLikelihood.*LogSoftmax"):
        pk.fit(model, loss, pk.SGD(model), batches, validation=validation, progress=False)


def test_it_is_said_once():
    model = pk.mlp([3, 2], output=pk.Softmax, rng=0)
    with pytest.warns(UserWarning, match="has the softmax in it") as caught:
        pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, validation=(X, Y), progress=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_model_that_takes_batches_of_one_size():
    class Fixed(pk.Function):
        def compute_forward(self, x):
            if len(x) != 11:
                raise ValueError("eleven, please")
            return x.copy()

        def compute_backward(self, dObj_dOut):
            return dObj_dOut

    model = pk.Sequential([Fixed(), pk.Linear(3, 2, rng=0)])
    history = pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, epochs=2, batch_size=11, progress=False)
    assert history.epochs == 2
    with pytest.raises(ValueError, match="eleven"):
        pk.fit(model, pk.CrossEntropy(), pk.SGD(model), X, Y, epochs=2, batch_size=10, progress=False)


def test_evaluate_says_that_x_and_y_are_swapped():
    with pytest.raises(ValueError, match=r"evaluate: x \(N,\) and y \(N, 3\) look swapped"):
        pk.evaluate(net(), pk.CrossEntropy(), Y, X)


@pytest.mark.parametrize("where", ["x", "y", "sample_weight"])
def test_the_range_test_names_the_place_too(where):
    data = {"x": X, "y": np.eye(2)[Y], "sample_weight": ONES}
    data[where] = spoilt(data[where], 7)
    model = net()
    with pytest.raises(ValueError, match=f"find_learning_rate: expected finite numbers in {where}, got nan in row 7"):
        pk.find_learning_rate(model, pk.CrossEntropy(), pk.SGD(model), **data)


# --- metrics know what the loss knows ---


def test_logits_of_one_column_are_cut_at_0():
    x = np.random.default_rng(0).normal(size=(200, 2))
    y = (x.sum(axis=1, keepdims=True) > 0) * 1.0
    model = pk.mlp([2, 8, 1], rng=0)
    own = []
    metrics = {"accuracy": pk.accuracy, "f1": pk.f1_score, "own": lambda p, t, threshold=None: own.append(threshold) or 0.0}
    history = pk.fit(
        model, pk.BinaryCrossEntropy(from_logits=True), pk.Adam(model), x, y, epochs=2, rng=0, progress=False, validation=(x, y),
        metrics=metrics,
    )  # fmt: skip
    assert history["val_accuracy"][-1] == ((pk.predict(model, x) > 0) == y).mean()
    assert history["val_f1"][-1] == pk.f1_score(pk.predict(model, x) > 0, y)
    assert set(own) == {0.0}


def test_a_threshold_that_the_user_has_set_stays():
    from functools import partial

    model = pk.Sequential([pk.Linear(3, 1, rng=0)])
    loss, metrics = pk.BinaryCrossEntropy(from_logits=True), {"accuracy": partial(pk.accuracy, threshold=0.7)}
    got = pk.evaluate(model, loss, X, COLUMN, metrics=metrics)["accuracy"]
    assert got == ((pk.predict(model, X) >= 0.7) == COLUMN).mean()


def test_logits_of_several_labels():
    from functools import partial

    model = pk.Sequential([pk.Linear(3, 3, rng=0)])
    y = np.random.default_rng(1).integers(0, 2, (33, 3)) * 1.0
    loss = pk.BinaryCrossEntropy(from_logits=True)
    with pytest.raises(ValueError, match="multilabel=True"):
        pk.fit(model, loss, pk.SGD(model), X, y, epochs=1, progress=False, metrics={"accuracy": pk.accuracy})
    got = pk.evaluate(model, loss, X, y, metrics={"accuracy": partial(pk.accuracy, multilabel=True)})["accuracy"]
    assert got == ((pk.predict(model, X) > 0) == y).mean()
