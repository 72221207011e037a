"""The step of an optimizer as a program: it changes parameters and state as the rule itself does, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.fast.updates import update_of
from pancake.memory import Array
from pancake.optimizers import optimizer as optimizers

RULES: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda model: pk.SGD(model, 0.1),
    "SGD, weight decay": lambda model: pk.SGD(model, 0.1, weight_decay=0.3),
    "SGD, momentum": lambda model: pk.SGD(model, 0.1, momentum=0.9),
    "SGD, all": lambda model: pk.SGD(model, 0.1, momentum=0.9, nesterov=True, weight_decay=0.3),
    "Adam": lambda model: pk.Adam(model, 0.1),
    "Adam, all": lambda model: pk.Adam(model, 0.1, betas=(0.1, 0.5), weight_decay=0.3),
    "AdamW": lambda model: pk.AdamW(model, 0.1),
    "AdamW, no weight decay": lambda model: pk.AdamW(model, 0.1, weight_decay=0.0),
    "RMSprop": lambda model: pk.RMSprop(model, 0.1),
    "RMSprop, all": lambda model: pk.RMSprop(model, 0.1, momentum=0.9, weight_decay=0.3),
    "Adagrad": lambda model: pk.Adagrad(model, 0.1),
}


class Twins:
    """Two optimizers of equal nets: one makes its steps by a program where that can be, the other by its rule."""

    def __init__(self, rule: Callable[[Any], Any], dtype: Any = np.float64) -> None:
        self.one, self.other = (rule(pk.mlp([3, 4, 2], rng=0, dtype=dtype)) for _ in range(2))
        self.plain = 0  # steps of `one` by its rule
        advance = self.one._advance

        def counted() -> None:
            self.plain += 1
            advance()

        self.one._advance = counted
        self.update = update_of(self.one)
        self.rng = np.random.default_rng(0)

    def step(self, scale: float = 1.0) -> None:
        """The same step of both, after which all that can be seen of them is the same."""
        for grad, twin in zip(self.one._gradients(), self.other._gradients(), strict=True):
            grad[...] = twin[...] = scale * self.rng.normal(size=grad.shape)
        self.update()
        self.other._advance()
        for (name, value), twin in zip(seen(self.one).items(), seen(self.other).values(), strict=True):
            np.testing.assert_array_equal(value, twin, err_msg=name)


def seen(optimizer: Any) -> dict[str, Array]:
    """Parameters and state."""
    return {**optimizer.model.state_dict(), **{f"state {name}": value for name, value in optimizer.state_dict().items()}}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("chunk", [1 << 15, 7])
def test_every_rule(rule: Any, dtype: Any, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "CHUNK", chunk)
    twins = Twins(rule, dtype)
    for scale in (1, 0, 1e-15, 1e15, 1):
        twins.step(scale)
    assert twins.plain == 0


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_learning_rate_of_each_step_counts(rule: Any) -> None:
    twins = Twins(rule)
    for lr in (0.1, 0.3, 0.0, 1e-300, 2):
        twins.one.lr = twins.other.lr = lr
        twins.step()
    assert twins.plain == 0


@pytest.mark.parametrize(
    ("rule", "name", "value"),
    [
        ("SGD", "weight_decay", 0.5),
        ("SGD", "momentum", 0.5),
        ("SGD, momentum", "momentum", 0.0),
        ("SGD, momentum", "nesterov", True),
        ("Adam", "betas", (0.5, 0.6)),
        ("Adam", "eps", 0.1),
        ("Adam", "weight_decay", 0.5),
        ("AdamW", "weight_decay", 0.5),
        ("RMSprop", "alpha", 0.5),
        ("RMSprop", "momentum", 0.5),
        ("Adagrad", "eps", 0.1),
    ],
)
def test_a_setting_that_changes_counts(rule: str, name: str, value: Any) -> None:
    twins = Twins(RULES[rule])
    twins.step()
    old = getattr(twins.one, name)
    for optimizer in (twins.one, twins.other):
        setattr(optimizer, name, value)
    twins.step()
    assert twins.plain == 1
    for optimizer in (twins.one, twins.other):
        setattr(optimizer, name, old)
    twins.step()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_factors_that_a_dtype_cannot_hold_are_as_small_as_can_be(rule: Any) -> None:
    twins = Twins(rule, np.float32)
    for lr in (1e-50, 1e-45, 0.1, 0.0):
        twins.one.lr = twins.other.lr = lr
        twins.step()
    assert twins.one.steps == 4


@pytest.mark.parametrize("cls", [pk.Adam, pk.RMSprop, pk.Adagrad])
def test_an_eps_that_a_dtype_cannot_hold_still_keeps_from_dividing_by_0(cls: Any) -> None:
    twins = Twins(lambda model: cls(model, eps=1e-50), np.float32)
    for scale in (0, 1, 0):
        twins.step(scale)
    assert all(np.isfinite(value).all() for value in seen(twins.one).values())


def test_what_is_not_all_of_one_dtype_goes_by_its_rule() -> None:
    layers = [pk.Linear(3, 4, rng=0), pk.Linear(4, 2, rng=1, dtype=np.float32)]
    optimizer = pk.Adam(layers)
    assert update_of(optimizer) == optimizer._advance


class Lion(pk.SGD):
    """Somebody's own rule, which may do as it likes."""

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        np.sign(g, work)
        p -= 0.01 * work


class OwnFactors(pk.SGD):
    def factors(self) -> tuple[float, ...]:
        return (0.5,)


@pytest.mark.parametrize("rule", [Lion, OwnFactors])
def test_the_rule_of_a_user_is_called(rule: Any) -> None:
    optimizer = rule(pk.Linear(2, 2, rng=0))
    assert update_of(optimizer) == optimizer._advance


@pytest.mark.parametrize(
    "update",
    [
        lambda self, p, g, work, lr: np.subtract(p, g if g.any() else work, p),
        lambda self, p, g, work, lr: np.subtract(p, g if g[0] else work, p),
        lambda self, p, g, work, lr: np.subtract(p, g if lr else work, p),
        lambda self, p, g, work, lr: np.subtract(p, np.where(g > 0, g, work), p),
        lambda self, p, g, work, lr: np.subtract(p, np.ones(p.shape), p),
        lambda self, p, g, work, lr: np.subtract(p, np.ones(14), p),
        lambda self, p, g, work, lr: np.subtract(p, np.clip(g, -1, 1), p),
        lambda self, p, g, work, lr: np.subtract(p, np.add.reduce(g), p),
        lambda self, p, g, work, lr: np.subtract(p, g, p, where=g > 0),
        lambda self, p, g, work, lr: np.subtract(p, self.steps * g, p),
        lambda self, p, g, work, lr: np.subtract(p, self._lr * g, p),
        lambda self, p, g, work, lr: np.subtract(p, np.asarray(g), p),
        lambda self, p, g, work, lr: np.subtract(p, np.divmod(g, 2.0)[0], p),
        lambda self, p, g, work, lr: p.__setitem__(slice(0, 3), g),
        lambda self, p, g, work, lr: p.__setitem__(..., 0.0),
    ],
)
def test_what_cannot_be_noted_is_not_taken_for_a_constant(update: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    update.__module__ = "pancake.optimizers.rules"
    monkeypatch.setattr(pk.SGD, "update", update)
    optimizer = pk.SGD(pk.mlp([3, 2, 2], rng=0))
    assert update_of(optimizer) == optimizer._advance


def test_a_rule_that_is_exchanged_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pk.mlp([3, 4, 2], rng=0)
    step = pk.TrainStep(model, pk.MeanSquaredError(), pk.SGD(model))
    x, y = np.ones((5, 3)), np.ones((5, 2))
    step(x, y)
    before = model.state_dict()
    monkeypatch.setattr(pk.SGD, "update", lambda *_: None)
    step(x, y)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
