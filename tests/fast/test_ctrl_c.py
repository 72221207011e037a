"""Ctrl-C while a program is written: the next call finds nothing half done."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import pancake as pk
from pancake.fast import program


def interrupted_at(step: int, function: Callable[[], object]) -> bool:
    """Call a function and raise KeyboardInterrupt before its `step`-th line in the fast path; whether it came to that."""
    count = 0

    def lines(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == step:
                raise KeyboardInterrupt
        return lines

    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: lines if os.path.join("pancake", "fast") in frame.f_code.co_filename else None)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_while_a_value_is_named_gives_its_name_to_no_other() -> None:
    step, first, second = 1, object(), object()
    while True:
        notes = program.Notes()
        if not interrupted_at(step, functools.partial(notes.held, first)):
            break
        names = notes.held(second), notes.held(first)
        assert notes.write("", f"({', '.join(names)})")() == (second, first), f"line {step}"
        step += 1
    assert step > 3


def test_an_interrupt_at_any_line_of_the_first_forward_and_backward_leaves_a_stack_right() -> None:
    x, d = np.random.default_rng(0).normal(size=(5, 3)), np.ones((5, 1))
    expected = results(pk.mlp([3, 4, 1], rng=0), x, d)
    step = 1
    while True:
        model = pk.mlp([3, 4, 1], rng=0)
        if not interrupted_at(step, functools.partial(results, model, x, d)):
            break
        pk.SGD(model).zero_grad()
        for _ in range(2):
            for got, wanted in zip(results(model, x, d), expected, strict=True):
                np.testing.assert_array_equal(got, wanted, err_msg=f"line {step}")
            pk.SGD(model).zero_grad()
        step += 3
    assert step > 100


def results(model: pk.Sequential, x: Any, d: Any) -> list[Any]:
    return [model(x), model.compute_backward(d), *model.get_params_and_grads()[1]]
