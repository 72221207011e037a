"""The strategies draw what they promise, and shrink to what a person would have chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from pancake import (
    BinaryCrossEntropy,
    CrossEntropy,
    Function,
    Linear,
    MeanSquaredError,
    ReLU,
    Sequential,
    Tanh,
)
from pancake.functions.branches import Branches, Residual
from pancake.functions.embedding import Embedding
from pancake.functions.normalization import BatchNorm, LayerNorm
from pancake.losses.elementwise import ElementwiseLoss, Hinge
from pancake.losses.loss import Loss
from pancake.testing.inputs import arrays
from pancake.testing.strategies import (
    batches,
    functions,
    labels,
    library_classes,
    losses,
    probabilities,
    sequences,
    stacks,
    targets_for,
    upstream_for,
)

few = settings(max_examples=20)
# Without what is of no use here and slow: examples on disk, and the explanation of a failure.
plain: Any = {
    "database": None,
    "derandomize": True,
    "phases": [Phase.generate, Phase.shrink],
    "suppress_health_check": list(HealthCheck),
}


def simplest(strategy: Any, condition: Any = lambda value: True) -> Any:
    """What the strategy shrinks to under a condition."""
    return find(strategy, condition, settings=settings(max_examples=2000, **plain))


def some(strategy: Any, condition: Any) -> Any:
    """The first that is drawn under a condition."""
    return find(strategy, condition, settings=settings(max_examples=2000, **{**plain, "phases": [Phase.generate]}))


def tenths(x: Any) -> Any:
    """The numbers of an array of tenths as whole numbers, after making sure that each is the nearest to its tenth."""
    k = np.rint(np.asarray(x, np.float64) * 10).astype(int)
    np.testing.assert_array_equal(np.asarray(x), (k / 10).astype(np.asarray(x).dtype))
    return k


# --- arrays ---


@given(st.data(), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_batches_and_sequences_have_the_shape_asked_for(data: st.DataObject, batch: int, time: int, features: int) -> None:
    assert data.draw(batches(features, batch=batch)).shape == (batch, features)
    assert data.draw(batches(st.just(features), batch=st.just(batch))).shape == (batch, features)
    assert data.draw(sequences(features, batch=batch, time=time)).shape == (batch, time, features)


@given(batches(3, low=-2) | sequences(2, high=2) | arrays((), low=-2, high=2))
def test_numbers_of_a_range_are_odd_tenths(x: Any) -> None:
    assert x.dtype == np.float64
    assert (tenths(x) % 2 == 1).all()
    assert (np.abs(x) < 2).all()


def test_numbers_without_a_range_are_small_large_zero_and_of_both_signs() -> None:
    """The spread of what is drawn: a strategy that became tame would find less, and nothing else would tell."""
    values: list[float] = []
    sizes, axes = set(), set()

    @settings(max_examples=200, **plain)
    @given(batches(3) | sequences(2))
    def collect(x: Any) -> None:
        values.extend(x.ravel().tolist())
        sizes.add(len(x))
        axes.add(x.ndim)

    collect()
    assert {0.0, 1.0, -1.0, 5.3, -5.3, 31.0, -31.0, 1e-3, -1e-3, 0.3, -1.9} <= set(values)
    assert np.mean(np.abs(values) < 2) > 0.7  # most of them leave the rest to be seen
    assert {1, 2, 7, 12} <= sizes
    assert max(sizes) == 12
    assert axes == {2, 3}


def test_what_functions_draws_is_spread_as_well() -> None:
    x_seen: list[float] = []
    gains: list[float] = []
    sizes, axes = set(), set()

    @settings(max_examples=300, **plain)
    @given(functions(LayerNorm, Linear, Tanh))
    def collect(drawn: Any) -> None:
        function, x = drawn
        x_seen.extend(np.ravel(x).tolist())
        sizes.add(np.size(x) and np.shape(x)[:1])
        axes.add(x.ndim)
        if isinstance(function, LayerNorm):
            gains.extend(function.weight.tolist())

    collect()
    assert {0.0, 31.0, -31.0, 5.3, 1e-3, 0.1, -0.1} <= set(x_seen)
    assert (12,) in sizes
    assert {1, 2, 3} <= axes
    assert min(gains) < 0 < max(gains)


@given(batches(3, low=-0.9, high=0.3, dtype=np.float32))
def test_ranges_and_dtype(x: Any) -> None:
    assert x.dtype == np.float32
    assert (tenths(x) % 2 == 1).all()
    assert (x >= np.float32(-0.9)).all()
    assert (x <= np.float32(0.3)).all()


def test_the_ends_of_a_range_are_drawn() -> None:
    assert simplest(batches(1, batch=1, low=-0.9, high=0.3), lambda x: x < -0.8) == -0.9
    assert simplest(batches(1, batch=1, low=-0.9, high=0.3), lambda x: x > 0.2) == 0.3
    assert simplest(batches(1, batch=1, low=0.4)) == 0.5


def test_a_range_without_an_odd_tenth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an odd tenth, such as 0.1, from low=0.15 to high=0.25"):
        batches(2, low=0.15, high=0.25)


def test_arrays_are_not_filled_with_one_number() -> None:
    shares = []

    @settings(max_examples=100, **plain)
    @given(arrays((4, 8)))
    def collect(x: Any) -> None:
        shares.append(np.unique(x, return_counts=True)[1].max() / x.size)

    collect()
    assert np.median(shares) < 0.5


def test_arrays_shrink_to_what_is_easy_to_read() -> None:
    np.testing.assert_array_equal(simplest(batches(st.integers(1, 5))), [[0.1]])
    np.testing.assert_array_equal(simplest(sequences(st.integers(1, 5))), [[[0.1]]])
    fault = simplest(batches(st.integers(1, 5)), lambda x: x.shape[1] > 1 and x.min() < 0)
    np.testing.assert_array_equal(fault, [[0.1, -0.1]])


@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_labels(data: st.DataObject, classes: int, batch: int, time: int) -> None:
    y = data.draw(labels(classes, batch=batch))
    assert (y.shape, y.dtype) == ((batch,), np.int64)
    assert set(y.tolist()) <= set(range(classes))
    assert data.draw(labels(classes, batch=batch, time=time)).shape == (batch, time)


def test_all_labels_are_drawn() -> None:
    for label in range(4):
        assert some(labels(4), lambda y, label=label: label in y).max() < 4


@given(st.data(), st.integers(1, 5), st.integers(1, 4))
def test_probabilities(data: st.DataObject, classes: int, batch: int) -> None:
    q = data.draw(probabilities(classes, batch=batch))
    assert q.shape == (batch, classes)
    assert (tenths(q) >= 0).all()
    assert (tenths(q).sum(axis=1) == 10).all()
    assert data.draw(probabilities(classes, batch=batch, time=2)).shape == (batch, 2, classes)


@given(st.data(), batches(3, dtype=np.float32), sequences(2))
def test_upstream_gradients_are_like_the_output(data: st.DataObject, a: Any, b: Any) -> None:
    u, (v, w) = data.draw(upstream_for((a, (b, np.array(3)))))
    assert (u.shape, u.dtype) == (a.shape, np.float32)
    assert (v.shape, v.dtype) == (b.shape, np.float64)
    assert (w.shape, w.dtype) == ((), np.float64)
    for array in (u, v, w):
        assert set(np.abs(tenths(array)).ravel().tolist()) <= {5, 7, 9, 11, 13, 15}
    assert data.draw(upstream_for(2.5)).shape == ()


def test_upstream_gradients_of_either_sign_are_drawn() -> None:
    np.testing.assert_array_equal(simplest(upstream_for(np.empty(2))), [0.5, 0.5])
    np.testing.assert_array_equal(simplest(upstream_for(np.empty(2)), lambda u: u[1] < 0), [0.5, -0.5])
    assert simplest(upstream_for(1.0), lambda u: u < -1.4) == -1.5
    assert simplest(upstream_for(1.0), lambda u: u > 1.4) == 1.5


# --- Functions ---


def test_functions_draws_all_classes_in_both_modes() -> None:
    seen, modes = set(), set()

    @settings(max_examples=300, **plain)
    @given(functions())
    def collect(drawn: Any) -> None:
        seen.add(type(drawn[0]))
        modes.add(drawn[0].training)

    collect()
    assert seen <= set(library_classes(Function))
    assert len(seen) > len(library_classes(Function)) / 2  # which ones is a matter of chance
    assert modes == {True, False}


@given(functions(Linear, Tanh))
def test_only_some_classes(drawn: Any) -> None:
    assert type(drawn[0]) in (Linear, Tanh)


def test_bases_private_classes_and_those_of_users_are_no_library_classes() -> None:
    class Mine(Linear):
        pass

    classes = library_classes(Function)
    assert Linear in classes
    assert Branches not in classes
    assert Mine not in classes
    assert ElementwiseLoss not in library_classes(Loss)
    assert len(set(classes)) == len(classes)


@pytest.mark.parametrize(("base", "strategy"), [(Function, functions), (Loss, losses)])
def test_a_class_without_a_recipe_fails_with_the_line_to_add(base: Any, strategy: Any) -> None:
    forgotten = type("Forgotten", (base,), {"__module__": "pancake.forgotten"})
    try:
        with pytest.raises(LookupError) as error:
            strategy()
    finally:
        forgotten.__module__ = "elsewhere"
    recipe = "Recipe(lambda x: st.builds(Forgotten))" if base is Function else "LossRecipe(st.builds(Forgotten), _any, _like)"
    assert f"\n    Forgotten: {recipe},  # pancake.forgotten" in str(error.value)
    assert "pancake/testing/recipes.py" in str(error.value)
    assert "Linear" not in str(error.value)
    strategy()


def test_parameters_leave_the_values_that_they_start_from() -> None:
    function, _ = some(functions(LayerNorm), lambda drawn: drawn[0].n > 1)
    assert not np.array_equal(function.weight, np.ones(function.n))
    assert not np.array_equal(function.bias, np.zeros(function.n))
    some(functions(LayerNorm), lambda drawn: drawn[0].n > 2 and (drawn[0].weight > 0).all())
    some(functions(LayerNorm), lambda drawn: (drawn[0].weight < 0).any())
    tenths(function.weight)
    linear, _ = some(functions(Linear), lambda drawn: drawn[0].weight.size > 3 and drawn[0].weight.min() < 0)
    assert (np.abs(tenths(linear.weight)) <= 15).all()


def test_running_statistics_leave_the_values_that_they_start_from() -> None:
    function, _ = some(functions(BatchNorm), lambda drawn: not drawn[0].training)
    assert function.running_mean.all()


# --- stacks ---


@few
@given(stacks(batches(3) | sequences(2), n_out=st.integers(1, 5)), st.data())
def test_a_stack_ends_with_the_features_asked_for(drawn: Any, data: st.DataObject) -> None:
    stack, x = drawn
    y = stack(x)
    assert y.shape[:-1] == x.shape[:-1]
    assert y.shape[-1] <= 5
    wide, x = data.draw(stacks(batches(3), n_out=7))
    assert wide(x).shape == (len(x), 7)


def test_stacks_are_long_nested_and_branched() -> None:
    def depth(function: Function) -> int:
        parts = [part for _, part in function._members() if isinstance(part, Function)]
        return 1 + max((depth(part) for part in parts), default=0)

    assert some(stacks(), lambda drawn: len(drawn[0]) == 5)
    assert some(stacks(), lambda drawn: depth(drawn[0]) >= 4)
    for kind in (Branches, Residual):
        assert some(stacks(), lambda drawn, kind=kind: any(isinstance(f, kind) for f in drawn[0].walk()))


@given(stacks(depth=0))
def test_depth_0_has_no_branches(drawn: Any) -> None:
    assert not any(isinstance(f, (Branches, Residual, Sequential)) for f in list(drawn[0].walk())[1:])


@few
@given(stacks(labels(5, time=2)))
def test_integers_go_into_an_embedding_first(drawn: Any) -> None:
    stack, x = drawn
    assert x.dtype == np.int64
    assert isinstance(stack[0], Embedding)


@pytest.mark.slow
def test_stacks_shrink_to_a_few_small_layers() -> None:
    def holds(function: Function, cls: type[Function]) -> bool:
        return any(isinstance(part, cls) for part in function.walk())

    for cls in (ReLU, Tanh):
        stack, x = simplest(stacks(batches(st.integers(1, 4))), lambda drawn, cls=cls: holds(drawn[0], cls))
        assert any(isinstance(f, cls) for f in stack)  # in no container
        assert len(stack) <= 2
        assert all(size == 1 for f in stack for p in f.get_params_and_grads()[0] for size in p.shape)
        np.testing.assert_array_equal(x, [[0.1]])


# --- losses ---


def test_losses_draws_every_class() -> None:
    seen = set()

    @settings(max_examples=300, **plain)
    @given(losses())
    def collect(drawn: Any) -> None:
        seen.add(type(drawn[0]))

    collect()
    assert seen == set(library_classes(Loss))


@given(losses())
def test_losses_take_what_is_drawn_for_them(drawn: Any) -> None:
    loss, pred, target = drawn
    assert np.isfinite(loss(pred, target)).all()
    assert loss.compute_backward().shape == pred.shape


@given(st.data())
def test_targets_stay_away_from_predictions(data: st.DataObject) -> None:
    pred, target = data.draw(targets_for(MeanSquaredError()))
    assert pred.shape == target.shape
    assert (tenths(target) % 2 == 0).all()


@given(st.data(), batches(3))
def test_targets_for_given_predictions(data: st.DataObject, pred: Any) -> None:
    for loss in (MeanSquaredError(), CrossEntropy(), BinaryCrossEntropy(from_logits=True), Hinge()):
        same, target = data.draw(targets_for(loss, pred))
        assert same is pred
        loss(pred, target)
    drawn, _ = data.draw(targets_for(MeanSquaredError(), batches(2, batch=3)))
    assert drawn.shape == (3, 2)


def test_class_losses_get_labels_and_probabilities() -> None:
    for kind in "if":
        assert some(targets_for(CrossEntropy()), lambda pair, kind=kind: pair[1].dtype.kind == kind)


def test_targets_for_the_losses_of_users() -> None:
    class Cubed(ElementwiseLoss):
        pass

    class Sharper(CrossEntropy):
        pass

    pred, target = simplest(targets_for(Cubed()))
    assert pred.shape == target.shape
    assert simplest(targets_for(Sharper()))[1].shape == (1,)
    with pytest.raises(TypeError, match=r"targets_for: expected a loss of pancake or of a subclass, got 'mse'"):
        targets_for("mse")  # type: ignore[arg-type]
