"""Learning-rate schedules. That they are equal to torch's is shown in test_reference.py."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancake.functions.elementwise import Mul
from pancake.optimizers.rules import SGD
from pancake.optimizers.schedules import cosine, exponential_decay, one_cycle, step_decay, warmup

lrs = st.sampled_from([0.0, 1e-3, 0.1, 2.0])
steps = st.integers(1, 50)


def test_step_decay() -> None:
    schedule = step_decay(1.0, 2, gamma=0.5)
    assert [schedule(step) for step in range(6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_exponential_decay() -> None:
    schedule = exponential_decay(8.0, 0.5)
    assert [schedule(step) for step in range(4)] == [8, 4, 2, 1]


@given(lr=lrs, n=steps, low=lrs)
def test_cosine(lr: float, n: int, low: float) -> None:
    schedule = cosine(lr, n, low)
    assert schedule(0) == pytest.approx(lr)
    assert cosine(lr, 2 * n, low)(n) == pytest.approx((lr + low) / 2)
    assert schedule(n) == schedule(10 * n) == pytest.approx(low)
    for step in range(n):
        assert schedule(step) + schedule(n - step) == pytest.approx(lr + low)


@given(n=st.integers(2, 60), share=st.floats(0.05, 0.95), div=st.sampled_from([2.0, 25.0]))
def test_one_cycle(n: int, share: float, div: float) -> None:
    if not 1 <= share * n < n:
        with pytest.raises(ValueError, match="pct_start"):
            one_cycle(0.5, n, share)
        return
    schedule = one_cycle(0.5, n, share, div, 100.0)
    rates = [schedule(step) for step in range(n)]
    top = share * n - 1
    assert rates[-1] == schedule(n + 5) == pytest.approx(0.5 / div / 100)
    if top >= 1e-6:
        assert rates[0] == pytest.approx(0.5 / div)
    assert rates[: math.floor(top) + 1] == sorted(rates[: math.floor(top) + 1])
    assert rates[math.ceil(top) :] == sorted(rates[math.ceil(top) :], reverse=True)
    assert max(rates) <= 0.5


@given(lr=lrs, n=steps, start=st.sampled_from([0.0, 0.2, 1.0]))
def test_warmup(lr: float, n: int, start: float) -> None:
    after = cosine(lr, 20)
    schedule = warmup(after, n, start)
    assert schedule(0) == pytest.approx(start * lr)
    for step in range(30):
        assert schedule(n + step) == after(step)
    rises = [schedule(step + 1) - schedule(step) for step in range(n)]
    assert rises == pytest.approx([(1 - start) * lr / n] * n)
    assert warmup(lr, n)(n + 7) == lr


def test_drives_an_optimizer() -> None:
    model = Mul(1.0)
    optimizer = SGD(model)
    schedule = step_decay(0.5, 1, gamma=0.1)
    for step in range(2):
        optimizer.lr = schedule(step)
        model.grad_k = 1.0
        optimizer.step()
    assert model.k == pytest.approx(1 - 0.5 - 0.05)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: step_decay(-1, 2), ValueError, "step_decay: expected lr at least 0"),
        (lambda: step_decay(1, 0), ValueError, "step_decay: expected step_size of at least 1"),
        (lambda: exponential_decay(1, -2), ValueError, "exponential_decay: expected gamma"),
        (lambda: cosine(1, 2.5), TypeError, "cosine: expected steps to be a whole number"),  # type: ignore[arg-type]
        (lambda: cosine("a", 2), TypeError, "cosine: expected lr to be a number"),  # type: ignore[arg-type]
        (lambda: one_cycle(1, 10, 0.05), ValueError, "one_cycle: expected pct_start of at least 1 / 10"),
        (lambda: one_cycle(1, 10, 1), ValueError, "one_cycle: expected pct_start"),
        (lambda: one_cycle(1, 10, div_factor=0), ValueError, "one_cycle: expected div_factor of more than 0"),
        (lambda: warmup("cosine", 3), TypeError, "warmup: expected schedule to be a number"),  # type: ignore[arg-type]
        (lambda: warmup(0.1, 3, 1.5), ValueError, "warmup: expected start_factor from 0 to 1, got 1.5"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
