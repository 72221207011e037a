"""Every loss with a program, beside its page: values, gradients, what is remembered, what is refused, and what is changed."""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.fast import losses, methods
from pancake.fast.left import Ran

V = np.array([0.5, 1.0, 2.0])


def numbers(rng: Any, n: int) -> Any:
    return rng.normal(scale=3, size=(n, 3)), rng.normal(size=(n, 3))


def probabilities(rng: Any, n: int) -> Any:
    return rng.uniform(0.01, 0.99, (n, 3)), rng.integers(0, 2, (n, 3)).astype(float)


def logits(rng: Any, n: int) -> Any:
    return rng.normal(scale=3, size=(n, 3)), rng.uniform(0.0, 1.0, (n, 3))


def signs(rng: Any, n: int) -> Any:
    return rng.normal(size=(n, 3)), np.sign(rng.normal(size=(n, 3)))


def counts(rng: Any, n: int) -> Any:
    return rng.normal(size=(n, 3)), rng.poisson(2.0, (n, 3)).astype(float)


def labels(rng: Any, n: int) -> Any:
    return rng.normal(scale=3, size=(n, 3)), rng.integers(0, 3, n)


def rows(rng: Any, n: int) -> Any:
    return rng.normal(scale=3, size=(n, 3)), rng.dirichlet(np.ones(3), n)


def some_ignored(rng: Any, n: int) -> Any:
    z, t = labels(rng, n)
    return z, np.where(rng.random(n) < 0.3, -100, t)


def log_probabilities(rng: Any, n: int) -> Any:
    z, t = labels(rng, n)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True)), t


CASES: dict[str, tuple[Any, Any]] = {
    "MeanSquaredError": (pk.MeanSquaredError, numbers),
    "MeanAbsoluteError": (pk.MeanAbsoluteError, numbers),
    "Huber": (lambda **r: pk.Huber(0.7, **r), numbers),
    "Quantile": (lambda **r: pk.Quantile(0.3, **r), numbers),
    "Hinge": (pk.Hinge, signs),
    "PoissonNLL": (pk.PoissonNLL, counts),
    "BinaryCrossEntropy": (pk.BinaryCrossEntropy, probabilities),
    "BinaryCrossEntropy, pos_weight": (lambda **r: pk.BinaryCrossEntropy(pos_weight=V, **r), probabilities),
    "BinaryCrossEntropy of logits": (lambda **r: pk.BinaryCrossEntropy(True, **r), logits),
    "BinaryCrossEntropy of logits, pos_weight": (lambda **r: pk.BinaryCrossEntropy(True, 3.0, **r), logits),
    "CrossEntropy": (pk.CrossEntropy, labels),
    "CrossEntropy of rows": (pk.CrossEntropy, rows),
    "CrossEntropy, class_weight": (lambda **r: pk.CrossEntropy(class_weight=V, **r), labels),
    "CrossEntropy of rows, class_weight": (lambda **r: pk.CrossEntropy(class_weight=V, **r), rows),
    "CrossEntropy, smooth": (lambda **r: pk.CrossEntropy(0.1, **r), labels),
    "CrossEntropy of rows, smooth": (lambda **r: pk.CrossEntropy(0.1, **r), rows),
    "CrossEntropy, ignore_index": (lambda **r: pk.CrossEntropy(ignore_index=-100, **r), some_ignored),
    "CrossEntropy, all": (lambda **r: pk.CrossEntropy(0.2, V, -100, **r), some_ignored),
    "NegativeLogLikelihood": (pk.NegativeLogLikelihood, log_probabilities),
    "NegativeLogLikelihood, class_weight": (lambda **r: pk.NegativeLogLikelihood(V, **r), log_probabilities),
    "NegativeLogLikelihood of rows": (pk.NegativeLogLikelihood, lambda rng, n: (log_probabilities(rng, n)[0], rows(rng, n)[1])),
}
EACH = pytest.mark.parametrize("name", CASES)
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def close(a: Any, b: Any, dtype: Any) -> None:
    rtol, atol = (1e-12, 1e-14) if dtype == np.float64 else (2e-5, 5e-7)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def plain(loss: Any, *given: Any) -> tuple[Any, Any, Any]:
    """What the page of a loss says: the value, the gradient and the divisor."""
    with pk.fast.off():
        return loss(*given), loss.compute_backward(), loss.divisor


def has_run(loss: Any) -> bool:
    return loss._cache.__class__ is Ran


def test_every_loss_with_a_program_is_here() -> None:
    assert {name.partition(",")[0].partition(" ")[0] for name in CASES} == losses.ENTRIES | losses.CLASSES
    assert set(methods._BEFORE) == {"Sequential", "Unrolled", "Embedding"} | losses.ENTRIES | losses.CLASSES


@EACH
@DTYPES
@pytest.mark.parametrize("n", [1, 7, 300])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_program_says_what_the_page_says(name: str, dtype: Any, n: int, reduction: str, weighted: bool) -> None:
    make, draw = CASES[name]
    rng, fast, page = np.random.default_rng(0), make(reduction=reduction), make(reduction=reduction)
    for again in range(3):
        pred, target = draw(rng, n)
        pred = pred.astype(dtype, order="F" if again == 2 else "C")
        weight = (rng.uniform(0.5, 2, n),) if weighted else ()
        if name.startswith("CrossEntropy, all") or "ignore" in name:
            target[0] = 1  # something counts
        for moved in (pred, pred[::-1].copy(order="K")):  # the same target with another prediction
            before = [array.copy() for array in (moved, target, *weight)]
            value, d, divisor = plain(page, moved, target, *weight)
            shown = fast(moved, target, *weight)
            assert has_run(fast)
            assert type(shown) is np.float64
            close(shown, value, dtype)
            assert fast.divisor == pytest.approx(divisor, rel=1e-6)
            first, second = fast.compute_backward(), fast.compute_backward()
            assert has_run(fast)
            assert first.dtype == dtype
            close(first, d, dtype)
            np.testing.assert_array_equal(first, second)
            assert not np.shares_memory(first, second)
            with pk.fast.off():
                close(fast.compute_backward(), d, dtype)  # by the page, from what the program has left
            for array, was in zip((moved, target, *weight), before, strict=True):
                np.testing.assert_array_equal(array, was)


@EACH
@pytest.mark.parametrize("weighted", [False, True])
def test_backward_refers_to_what_was_given_whatever_becomes_of_it(name: str, weighted: bool) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    weight = (np.linspace(1, 2, 7),) if weighted else ()
    _, d, _ = plain(make(), pred, target, *weight)
    for off in (False, True):
        loss: Any = make()
        given = [array.copy() for array in (pred, target, *weight)]
        loss(*given)
        for array in given:
            array[...] = array[::-1].copy()
            array[0] = 0
        with pk.fast.off() if off else contextlib.nullcontext():
            close(loss.compute_backward(), d, np.float64)


@EACH
@DTYPES
def test_sequences(name: str, dtype: Any) -> None:
    make, draw = CASES[name]
    rng = np.random.default_rng(0)
    for transposed, lead in itertools.product((False, True), (None, (5,), (5, 4))):
        loss, page = make(), make()
        pred, target = draw(rng, 20)
        pred, target = pred.astype(dtype).reshape(5, 4, 3), target.reshape(5, 4, *target.shape[1:])
        if transposed:
            pred = pred.swapaxes(0, 1).copy().swapaxes(0, 1)
        weight = () if lead is None else (rng.uniform(0.5, 2, lead),)
        value, d, _ = plain(page, pred, target, *weight)
        close(loss(pred, target, *weight), value, dtype)
        assert has_run(loss)
        close(loss.compute_backward(), d, dtype)


@EACH
def test_what_has_no_weight_is_absent(name: str) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    weight = np.array([1.0, 0, 2, 0, 0, 3, 1])
    others = [0.0, np.nan, np.inf, -np.inf, 1e200] if target.dtype.kind == "f" else [1, 99, -5]
    for p, t in [*((p, target[3]) for p in (0.0, np.nan, np.inf, -np.inf, 1e200)), *((pred[3], t) for t in others)]:
        pred, target = pred.copy(), target.copy()
        pred[1], target[3] = p, t
        fast, page = make(), make()
        value, d, _ = plain(page, pred, target, weight)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            close(fast(pred, target, weight), value, np.float64)
        assert not said
        close(fast.compute_backward(), d, np.float64)


@EACH
def test_nothing_counts(name: str) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    fast, page = make(), make()
    value, d, divisor = plain(page, pred, target, np.zeros(7))
    assert fast(pred, target, np.zeros(7)) == value == 0
    np.testing.assert_array_equal(fast.compute_backward(), d)
    assert fast.divisor == divisor


@EACH
@pytest.mark.parametrize(
    "weight",
    [
        np.array([1, 0, 2, 3, 1, 1, 1]),
        np.array([True, False, True, True, True, False, True]),
        np.linspace(1, 2, 7, dtype=np.float32),
        np.linspace(1, 2, 7).tolist(),
        np.linspace(1, 2, 14)[::2],
        -np.zeros(7) + np.arange(7),
    ],
    ids=["int", "bool", "float32", "list", "strided", "zeros"],
)
@DTYPES
def test_weights_of_other_kinds(name: str, weight: Any, dtype: Any) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    pred = pred.astype(dtype)
    value, d, _ = plain(make(), pred, target, weight)
    loss = make()
    close(loss(pred, target, weight), value, dtype)
    close(loss.compute_backward(), d, dtype)


@EACH
def test_targets_of_other_kinds(name: str) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    kinds = (
        (np.int8, np.uint8, np.int64, np.bool, np.float32)
        if target.dtype.kind == "f"
        else (np.int8, np.int32, np.uint8, np.uint64, np.bool)
    )
    for kind in kinds:
        with np.errstate(invalid="ignore"):
            other = target.astype(kind)
        shown = []
        for run in (contextlib.nullcontext, pk.fast.off):
            loss = make()
            with run():
                try:
                    shown.append((loss(pred, other), loss.compute_backward()))
                except (ValueError, TypeError) as error:
                    shown.append(str(error))
        if isinstance(shown[0], str) or isinstance(shown[1], str):
            assert shown[0] == shown[1]
        else:
            close(shown[0][0], shown[1][0], np.float64)
            close(shown[0][1], shown[1][1], np.float64)


WRONG_WEIGHTS = [
    np.full(7, -1.0),
    np.r_[np.nan, np.ones(6)],
    np.r_[np.inf, np.ones(6)],
    np.ones(6),
    np.ones((7, 1, 1, 1)),
    np.ones(()),
]


@EACH
@pytest.mark.parametrize("weight", WRONG_WEIGHTS, ids=["negative", "nan", "inf", "few", "axes", "none"])
def test_what_the_page_refuses_is_refused_in_its_words(name: str, weight: Any) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    loss = make()
    loss(pred, target)
    d = loss.compute_backward()
    said = []
    for run in (contextlib.nullcontext, pk.fast.off):
        with run(), pytest.raises(ValueError, match="expected") as refused:
            loss(pred, target, weight)
        said.append(str(refused.value))
    assert said[0] == said[1]
    close(loss.compute_backward(), d, np.float64)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Hinge", 0.5),
        ("PoissonNLL", -1.0),
        ("BinaryCrossEntropy", 2.0),
        ("BinaryCrossEntropy", -1e-3),
        ("BinaryCrossEntropy of logits, pos_weight", 1.5),
        ("CrossEntropy, class_weight", 3),
        ("CrossEntropy, class_weight", -1),
        ("CrossEntropy, ignore_index", -1),
        ("CrossEntropy of rows", -0.5),
        ("CrossEntropy of rows", 2.0),
        ("CrossEntropy, smooth", 7),
        ("NegativeLogLikelihood", 3),
    ],
)
@pytest.mark.parametrize("n", [7, 300])
def test_targets_that_are_none(name: str, value: float, n: int) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), n)
    wrong = target.copy()
    wrong.reshape(-1)[5] = value
    loss = make()
    first = loss(pred, target)
    for _ in range(2):
        said = []
        for run in (contextlib.nullcontext, pk.fast.off):
            with run(), pytest.raises(ValueError, match="expected") as refused:
                loss(pred, wrong)
            said.append(str(refused.value))
        assert said[0] == said[1]
        assert loss(pred, target) == first


@pytest.mark.parametrize("value", [2.0, -0.5, np.nan])
def test_predictions_that_are_no_probabilities(value: float) -> None:
    pred, target = probabilities(np.random.default_rng(0), 7)
    pred[2, 1] = value
    said = []
    for run in (contextlib.nullcontext, pk.fast.off):
        with run(), np.errstate(all="raise"), pytest.raises(ValueError, match="expected") as refused:
            pk.BinaryCrossEntropy()(pred, target)
        said.append(str(refused.value))
    assert said[0] == said[1]


@DTYPES
def test_probabilities_of_0_and_1_without_a_warning(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    pred = np.array([[0, 1, tiny], [1, 0, 1 - np.finfo(dtype).epsneg], [0.5, -0.0, 1]], dtype)
    for target in (np.zeros((3, 3)), np.ones((3, 3)), (pred > 0.5).astype(dtype), np.full((3, 3), 0.5)):
        value, d, _ = plain(pk.BinaryCrossEntropy(), pred, target)
        loss = pk.BinaryCrossEntropy()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            close(loss(pred, target), value, dtype)
            close(loss.compute_backward(), d, dtype)


CHANGES: list[tuple[str, Any]] = [
    ("Huber", lambda loss: setattr(loss, "delta", 2.0)),
    ("Quantile", lambda loss: setattr(loss, "q", 0.8)),
    ("BinaryCrossEntropy, pos_weight", lambda loss: loss.pos_weight.__setitem__(0, 9.0)),
    ("BinaryCrossEntropy of logits, pos_weight", lambda loss: setattr(loss, "pos_weight", 7.0)),
    ("BinaryCrossEntropy of logits", lambda loss: setattr(loss, "pos_weight", np.array([2.0]))),
    ("BinaryCrossEntropy", lambda loss: setattr(loss, "pos_weight", [1.0, 2.0, 3.0])),
    ("CrossEntropy, class_weight", lambda loss: loss.class_weight.__setitem__(1, 0.0)),
    ("CrossEntropy, class_weight", lambda loss: setattr(loss, "class_weight", None)),
    ("CrossEntropy", lambda loss: setattr(loss, "class_weight", [1, 2, 3])),
    ("CrossEntropy", lambda loss: setattr(loss, "label_smoothing", 0.3)),
    ("CrossEntropy", lambda loss: setattr(loss, "ignore_index", 1)),
    ("CrossEntropy, smooth", lambda loss: setattr(loss, "reduction", "sum")),
    ("MeanAbsoluteError", lambda loss: setattr(loss, "reduction", "none")),
    ("NegativeLogLikelihood", lambda loss: setattr(loss, "class_weight", np.array([3.0, 1.0, 1.0]))),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[f"{i} {name}" for i, (name, _) in enumerate(CHANGES)])
@pytest.mark.parametrize("between", [False, True], ids=["before forward", "before backward"])
def test_settings_count_whenever_they_are_set(name: str, change: Any, between: bool) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    weight = np.linspace(1, 2, 7)
    shown = []
    for run in (contextlib.nullcontext, pk.fast.off):
        loss = make()
        with run():
            loss(pred, target, weight)
            loss.compute_backward()
            if between:
                loss(pred, target, weight)
            change(loss)
            shown.append((None if between else loss(pred, target, weight), loss.compute_backward()))
    for fast, page in zip(*shown, strict=True):
        assert (fast is None) == (page is None)
        if fast is not None:
            close(fast, page, np.float64)


# --- whole steps ---


def net(last: Any = None, dtype: Any = np.float64) -> Any:
    return pk.mlp([4, 6, 3], activation=pk.Tanh, rng=0, dtype=dtype, **({} if last is None else {"output": last}))


def end_of(name: str) -> Any:
    if name in ("BinaryCrossEntropy", "BinaryCrossEntropy, pos_weight"):
        return pk.Sigmoid
    return pk.LogSoftmax if name.startswith("Negative") else None


@EACH
@DTYPES
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [7, 3000])
def test_a_step_does_what_the_four_lines_do(name: str, dtype: Any, weighted: bool, n: int) -> None:
    make, draw = CASES[name]
    rng = np.random.default_rng(1)
    batches = []
    for _ in range(3):
        target = draw(rng, n)[1]
        if "all" in name or "ignore" in name:
            target[0] = 1
        batches.append((rng.normal(size=(n, 4)), target, *((rng.uniform(0, 2, n),) if weighted else ())))
    batches = [*batches, *batches]
    shown = []
    for on in (True, False):
        model, loss = net(end_of(name), dtype), make()
        step = pk.TrainStep(model, loss, pk.SGD(model, lr=0.1))
        with contextlib.nullcontext() if on else pk.fast.off():
            values = [(step(*batch), loss.divisor) for batch in batches]
        assert not on or end_of(name) is pk.LogSoftmax or step._steps.latest is not None
        shown.append((values, model.get_params_and_grads()[0]))
    close(np.array(shown[0][0]), np.array(shown[1][0]), dtype)
    for fast, page in zip(shown[0][1], shown[1][1], strict=True):
        close(fast, page, dtype)


@EACH
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_gives_the_same_weights_and_figures(name: str, weighted: bool) -> None:
    make, draw = CASES[name]
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(50, 4)), draw(rng, 50)[1]
    weight = np.where(np.arange(50) < 16, 0, rng.uniform(0.5, 2, 50)) if weighted else None
    shown = []
    for on in (True, False):
        model = net(end_of(name))
        with contextlib.nullcontext() if on else pk.fast.off():
            history = pk.fit(
                model, make(), pk.Adam(model), x, target, sample_weight=weight, epochs=3, batch_size=8, rng=0, progress=False,
                shuffle=False, validation=(x, target) if weight is None else (x, target, weight),
            )  # fmt: skip
        shown.append((history["loss"], history["val_loss"], *model.get_params_and_grads()[0]))
    for fast, page in zip(*shown, strict=True):
        np.testing.assert_allclose(fast, page, rtol=1e-10, atol=1e-12)


def test_a_step_with_weights_that_come_and_go() -> None:
    model, rng = net(), np.random.default_rng(0)
    twin = net()
    loss = pk.CrossEntropy()
    step, optimizer = pk.TrainStep(model, loss, pk.SGD(model, lr=0.1)), pk.SGD(twin, lr=0.1)
    x, y = rng.normal(size=(7, 4)), rng.integers(0, 3, 7)
    for weight in (
        None,
        np.ones(7),
        None,
        np.arange(7.0),
        np.arange(7),
        np.ones((7,), np.float32),
        np.arange(7.0).tolist(),
        None,
    ):
        shown = step(x, y, weight)
        with pk.fast.off():
            optimizer.zero_grad()
            value = pk.CrossEntropy()
            assert shown == pytest.approx(value(twin(x), y, weight), rel=1e-12)
            twin.accumulate_grads(value.compute_backward())
            optimizer.step()
    for a, b in zip(model.get_params_and_grads()[0], twin.get_params_and_grads()[0], strict=True):
        close(a, b, np.float64)


def test_a_step_with_wrong_weights_changes_nothing() -> None:
    model, rng = net(), np.random.default_rng(0)
    step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.1))
    x, y = rng.normal(size=(7, 4)), rng.normal(size=(7, 3))
    step(x, y, np.ones(7))
    before = [array.copy() for array in model.get_params_and_grads()[0]]
    for weight in WRONG_WEIGHTS:
        with pytest.raises(ValueError, match="MeanSquaredError"):
            step(x, y, weight)
    for array, was in zip(model.get_params_and_grads()[0], before, strict=True):
        np.testing.assert_array_equal(array, was)


def test_few_targets_are_looked_at_again_when_they_change_in_place() -> None:
    loss, page = pk.CrossEntropy(class_weight=V), pk.CrossEntropy(class_weight=V)
    pred, target = labels(np.random.default_rng(0), 7)
    weight = np.ones(7)
    for change in (lambda: None, lambda: target.__setitem__(0, 2), lambda: weight.__setitem__(1, 5.0), lambda: None):
        change()
        close(loss(pred, target, weight), plain(page, pred, target, weight)[0], np.float64)
        assert has_run(loss)


# --- what does not count, and what only the page takes ---


def absent(name: str, n: int) -> tuple[Any, ...]:
    """A batch of which some weights are 0, with targets there that no loss takes."""
    pred, target = CASES[name][1](np.random.default_rng(0), n)
    weight = np.where(np.arange(n) % 3 == 1, 0.0, 1.5)
    target = target.copy()
    target[weight == 0] = np.nan if target.dtype.kind == "f" else -7
    return pred, target, weight


@EACH
@DTYPES
@pytest.mark.parametrize("n", [7, 300])
def test_targets_that_do_not_count_are_no_matter_for_the_page(name: str, dtype: Any, n: int) -> None:
    pred, target, weight = absent(name, n)
    pred, loss = pred.astype(dtype), CASES[name][0]()
    value, d, divisor = plain(CASES[name][0](), pred, target, weight)
    close(loss(pred, target, weight), value, dtype)
    assert has_run(loss)
    close(loss.compute_backward(), d, dtype)
    assert loss.divisor == pytest.approx(divisor, rel=1e-6)
    model = net(end_of(name), dtype)
    step = pk.TrainStep(model, CASES[name][0](), pk.SGD(model))
    step(np.ones((n, 4)), target, weight)
    assert end_of(name) is pk.LogSoftmax or has_stepped(step)


def has_stepped(step: Any) -> bool:
    return step._steps.latest is not None and step.loss._cache.__class__ is not Ran


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each program of a loss that is written."""
    made: list[int] = []
    begin = losses.LossProgram.__init__
    monkeypatch.setattr(losses.LossProgram, "__init__", lambda self, *args: (made.append(1), begin(self, *args))[1])
    return made


def test_what_the_page_takes_alone_does_not_have_programs_written_again(written: list[int]) -> None:
    loss, pred, target = pk.BinaryCrossEntropy(), *probabilities(np.random.default_rng(0), 7)
    pred[0, 0] = -0.0
    weighted = pk.CrossEntropy()
    for _ in range(5):
        loss(pred, target)
        weighted(*labels(np.random.default_rng(0), 7), np.zeros(7))
    assert len(written) == 2


def test_of_many_shapes_the_page_takes_care(written: list[int]) -> None:
    loss, rng = pk.MeanAbsoluteError(), np.random.default_rng(0)
    batches = [numbers(rng, n) for n in range(1, 2 * losses.NOTED)]
    for _ in range(3):
        for pred, target in batches:
            close(loss(pred, target), np.abs(pred - target).mean(), np.float64)
    assert len(written) == losses.KEPT
    assert len(losses.PROGRAMS[loss]) <= losses.NOTED
    for _ in range(losses.OFTEN + 1):
        loss(*batches[-1])
    assert len(written) == losses.KEPT + 1
    assert has_run(loss)


def test_the_same_call_says_the_same_whatever_was_set_in_between() -> None:
    loss, given = pk.CrossEntropy(0.2), rows(np.random.default_rng(0), 7)
    first = loss(*given)
    for share in (0.1, 0.2, 0.2):
        loss.label_smoothing = share
        again = loss(*given)
    assert again == first


@pytest.mark.parametrize("value", [np.int64(1), np.uint8(2), True, 1.0, np.array(1), np.nan, "a", 10**30, -(10**30)], ids=repr)
def test_any_label_that_is_set_to_be_ignored(value: Any) -> None:
    loss, page = pk.CrossEntropy(), pk.CrossEntropy()
    loss.ignore_index = page.ignore_index = value
    pred, target = labels(np.random.default_rng(0), 7)
    expected, d, _ = plain(page, pred, target)
    close(loss(pred, target), expected, np.float64)
    close(loss.compute_backward(), d, np.float64)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_whose_sum_the_predictions_cannot_hold_are_up_to_the_page() -> None:
    pred, target = labels(np.random.default_rng(0), 7)
    given, loss = (pred.astype(np.float32), target, np.full(7, 3e38)), pk.CrossEntropy()
    value, d, divisor = plain(pk.CrossEntropy(), *given)
    assert not value < 1
    np.testing.assert_array_equal(loss(*given), value)
    np.testing.assert_array_equal(loss.compute_backward(), d)
    assert loss.divisor == divisor


@EACH
@pytest.mark.parametrize("n", [7, 300])
def test_no_warning_of_what_only_a_wider_dtype_holds(name: str, n: int) -> None:
    pred, target = CASES[name][1](np.random.default_rng(0), n)
    pred, weight, loss = pred.astype(np.float32), np.ones(n), CASES[name][0]()
    weight[0] = 0
    if target.dtype.kind == "f":
        target = target.copy()
        target[0] = 1e300
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        loss(pred, target, weight)
        for other in (np.full(n, 1e300), np.where(np.arange(n) == 1, 1e300, 1)):
            with pytest.raises(ValueError, match="finite in float32"):
                loss(pred, target, other)
    assert [str(warning.message) for warning in warned] == []


def test_no_warning_of_class_weights_that_the_predictions_cannot_hold() -> None:
    pred, target = labels(np.random.default_rng(0), 7)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="can hold"):
            pk.CrossEntropy(class_weight=[1e300, 1, 1])(pred.astype(np.float32), target)
    assert [str(warning.message) for warning in warned] == []


@pytest.mark.parametrize("kind", ["over", "under"])
@pytest.mark.parametrize("name", ["MeanSquaredError", "CrossEntropy"])
def test_errors_of_numpy_are_raised_with_weights_too(name: str, kind: str) -> None:
    make, draw = CASES[name]
    pred, target = draw(np.random.default_rng(0), 7)
    weight = np.ones(7)
    if name == "MeanSquaredError":
        other = np.full_like(pred, 1e200 if kind == "over" else 1e-200), np.zeros_like(target), weight
    else:
        other = np.where(pred > 0, 1.5e308, -1.5e308 if kind == "over" else 0), target, weight
    said = []
    for run in (contextlib.nullcontext, pk.fast.off):
        loss = make()
        loss(pred, target, weight)
        with run(), np.errstate(**{kind: "raise"}), pytest.raises(FloatingPointError) as raised:  # type: ignore[call-overload]
            loss(*other)
        said.append(str(raised.value))
    assert said[0] == said[1]


def test_the_gradient_of_what_was_not_finite_is_nobodys() -> None:
    loss, (pred, target) = pk.CrossEntropy(), labels(np.random.default_rng(0), 7)
    weight = np.ones(7)
    loss(pred, target, weight)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):  # from the page, before it remembers anything
        loss(np.where(pred > 0, 1.5e308, -1.5e308), target, weight)
    with pytest.raises(RuntimeError, match="call it again before backward"):
        loss.compute_backward()
    close(loss(pred, target, weight), plain(pk.CrossEntropy(), pred, target, weight)[0], np.float64)
    assert has_run(loss)


@EACH
@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_loss_holds_goes_with_it(name: str, weighted: bool) -> None:
    loss: Any = CASES[name][0]()
    given = (*CASES[name][1](np.random.default_rng(0), 7), *((np.ones(7),) if weighted else ()))
    for _ in range(2):
        loss(*given)
        loss.compute_backward()
    kernel = weakref.ref(loss._cache.program.kernel)
    collecting = gc.isenabled()
    gc.disable()
    try:
        del loss
        assert kernel() is None
    finally:
        if collecting:
            gc.enable()


@pytest.mark.parametrize("name", ["MeanSquaredError", "CrossEntropy, all"])
def test_ctrl_c_at_any_line_of_a_call(name: str) -> None:
    make, draw = CASES[name]
    first, second = ((*draw(np.random.default_rng(i), 7), np.linspace(1, 2, 7)) for i in range(2))
    for batch in (first, second):
        batch[1][0] = 1  # something counts
    known = [plain(make(), *batch) for batch in (first, second)]
    for line in itertools.count(1):
        loss, lines = make(), itertools.count(1)
        loss(*first)

        def interrupt(frame: Any, event: str, _: Any) -> Any:
            if "pancake" not in frame.f_code.co_filename:
                return None
            if event == "line" and next(lines) == line:  # noqa: B023
                raise KeyboardInterrupt
            return interrupt

        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            loss(*second)
        except KeyboardInterrupt:
            over = False
        else:
            over = True
        finally:
            sys.settrace(before)
        try:
            d = loss.compute_backward()
        except RuntimeError:  # it remembers nothing
            assert not over
        else:
            assert any(np.allclose(d, right, rtol=1e-12, atol=1e-14) for _, right, _ in known)
        for batch, (value, d, _) in zip((first, second), known, strict=True):
            close(loss(*batch), value, np.float64)
            close(loss.compute_backward(), d, np.float64)
        if over:
            break
    assert line > 10


@EACH
@pytest.mark.parametrize("weighted", [False, True])
def test_many_numbers_are_not_summed_by_several_threads(name: str, weighted: bool) -> None:
    make, draw = CASES[name]
    for classes in (3, 2):
        loss, n = make(), 12_000
        pred, target = draw(np.random.default_rng(0), n)
        if classes == 2:
            if name != "CrossEntropy":
                continue
            pred, target = pred[:, :2].copy(), target % 2
        given = pred, target, *((np.linspace(1, 2, n),) if weighted else ())
        value, d, _ = plain(make(), *given)
        close(loss(*given), value, np.float64)
        close(loss.compute_backward(), d, np.float64)
        called = [getattr(held, "__name__", "") for held in loss._cache.program.forward.__globals__.values()]
        assert "multiply" in called or "subtract" in called
        assert "dot" not in called  # which wakes the threads of OpenBLAS


def test_programs_of_what_measures_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    begin = losses.LossProgram.__init__
    monkeypatch.setattr(losses.LossProgram, "__init__", lambda self, *args: (made.append(1), begin(self, *args))[1])
    model, loss = pk.mlp([4, 3, 1], output=pk.Sigmoid, rng=0), pk.BinaryCrossEntropy()
    x, y = np.random.default_rng(0).normal(size=(30, 4)), np.random.default_rng(1).uniform(size=(30, 1))
    values = [pk.evaluate(model, loss, x, y)["loss"] for _ in range(4)]
    assert len(made) == 1
    assert len(set(values)) == 1
    pk.fit(model, loss, pk.SGD(model), x, y, validation=(x, y), epochs=5, progress=False)
    assert len(made) == 1


@pytest.mark.parametrize("n", [2, 6, 300, 30000])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_class_that_is_ruled_out_gives_no_warning(n: int, classes: int, right: bool, dtype: Any) -> None:
    """By a logit of -inf, as actions that cannot be taken are. Where it was the right one, the loss is infinite."""
    rng = np.random.default_rng(0)
    pred = rng.normal(size=(n, classes)).astype(dtype)
    target = rng.integers(1, classes, n)
    pred[::2, 0] = -np.inf
    target[0] = 1 - right
    seen = []
    for on in (True, False):
        loss = pk.CrossEntropy()
        with contextlib.nullcontext() if on else pk.fast.off(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            seen.append((loss(pred, target), loss.compute_backward(), loss(pred, target)))
        assert not said
    for fast, plain in zip(*seen, strict=True):
        rounding = 1e-12 if dtype == np.float64 else 1e-5
        np.testing.assert_allclose(fast, plain, rtol=rounding, atol=rounding * np.abs(plain).max())
