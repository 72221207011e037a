"""Every brick that torch has too is equal to torch's to the last digits.

`reference/reference.npz` holds what torch computed, `reference/generate.py` wrote it. Where torch is installed it is asked
again, with other inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference import generate
from reference.generate import FUNCTIONS, LOSSES, OPTIMIZERS, SCHEDULES, Arrays, Case, LossCase

import pancake as pk

NAMES: dict[str, Any] = {name: getattr(pk, name) for name in pk.__all__}

FILE = np.load(generate.FILE)
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def stored(prefix: str) -> Arrays:
    return {name.removeprefix(prefix): FILE[name] for name in FILE.files if name.startswith(prefix)}


def compare_function(case: Case, wanted: Arrays) -> None:
    """Load the parameters and buffers of a reference, run forward and backward, and compare all that comes out."""
    function = eval(case.pancake, NAMES)
    function.train(case.training)
    state = function.state_dict()
    if "param.0" in wanted:
        assert len(state) == sum(name.startswith(("param.", "buffer.")) for name in wanted)
    params, grads = function.get_params_and_grads()
    buffers = [getattr(part, name) for part in function.walk() for name in part.buffers]
    for what, arrays in (("param", params), ("buffer", buffers)):
        for i, array in enumerate(arrays):
            array[...] = wanted[f"{what}.{i}"]
    y = function.compute_forward(wanted["x"])
    assert_allclose(y, wanted["output"], **TOLERANCE)
    dObj_dIn = function.compute_backward(wanted["upstream"])
    assert np.shape(dObj_dIn) == np.shape(wanted["x"])
    assert_allclose(dObj_dIn, wanted["dObj_dIn"], **TOLERANCE)
    for i, grad in enumerate(grads):
        assert_allclose(grad, wanted[f"grad.{i}"], **TOLERANCE)
    for i, buffer in enumerate(buffers):
        assert_allclose(buffer, wanted[f"moved.{i}"], **TOLERANCE)
    if case.torch.startswith(("nn.", "attention")) and "MatMul" not in case.pancake:
        assert list(function.state_dict()) == [key for key in wanted["keys"].tolist() if key]


def compare_loss(case: LossCase, wanted: Arrays) -> None:
    loss = eval(case.pancake, NAMES)
    assert_allclose(loss(wanted["pred"], wanted["target"], wanted.get("weight")), wanted["value"], **TOLERANCE)
    assert_allclose(loss.compute_backward(), wanted["gradient"], **TOLERANCE)


def train(expression: str, task: Arrays, clip: float = np.inf) -> Any:
    model = pk.Sequential([pk.Linear(3, 5), pk.Tanh(), pk.Linear(5, 2)])
    model.load_state_dict({key: task[f"param.{i}"] for i, key in enumerate(model.state_dict())})
    optimizer = eval(expression, {**NAMES, "model": model})
    loss = pk.MeanSquaredError()
    for _ in range(25):
        optimizer.zero_grad()
        loss(model(task["x"]), task["y"])
        model.accumulate_grads(loss.compute_backward())
        if np.isfinite(clip):
            pk.clip_grad_norm(model, clip)
        optimizer.step()
    return np.concatenate([p.ravel() for p in model.get_params_and_grads()[0]])


def rates(expression: str) -> list[float]:
    schedule = eval(expression, NAMES)
    return [schedule(step) for step in range(generate.STEPS)]


def test_file_belongs_to_these_cases() -> None:
    """After a change of the cases the file must be generated anew."""
    assert FILE["cases"].item() == repr((FUNCTIONS, LOSSES, OPTIMIZERS, SCHEDULES))
    assert FILE["torch"].item().startswith("2.")
    assert generate.FILE.stat().st_size < 300_000


@pytest.mark.parametrize("i", range(len(FUNCTIONS)), ids=[f"{case.pancake}-{case.training}" for case in FUNCTIONS])
def test_function(i: int) -> None:
    compare_function(FUNCTIONS[i], stored(f"function.{i}."))


@pytest.mark.parametrize("i", range(len(LOSSES)), ids=[f"{case.pancake}-{case.target}-{case.weighted}" for case in LOSSES])
def test_loss(i: int) -> None:
    compare_loss(LOSSES[i], stored(f"loss.{i}."))


@pytest.mark.parametrize("i", range(len(OPTIMIZERS)), ids=[ours for ours, _ in OPTIMIZERS])
def test_optimizer(i: int) -> None:
    task = stored("task.")
    assert_allclose(train(OPTIMIZERS[i][0], task), FILE[f"optimizer.{i}"], **TOLERANCE)
    assert_allclose(train(OPTIMIZERS[i][0], task, clip=0.1), FILE[f"clipped.{i}"], **TOLERANCE)


@pytest.mark.parametrize("i", range(len(SCHEDULES)), ids=[ours for ours, _ in SCHEDULES])
def test_schedule(i: int) -> None:
    assert_allclose(rates(SCHEDULES[i][0]), FILE[f"schedule.{i}"], **TOLERANCE)


class TestLive:
    """The same, asking torch itself."""

    @pytest.fixture(autouse=True)
    def _torch(self) -> None:
        pytest.importorskip("torch", reason="torch is not installed; reference.npz holds what it says")

    @pytest.mark.parametrize("case", FUNCTIONS, ids=[f"{case.pancake}-{case.training}" for case in FUNCTIONS])
    @given(data=st.data())
    def test_function(self, case: Case, data: st.DataObject) -> None:
        shape = case.shape
        if case.leading:
            shape = (*data.draw(st.lists(st.integers(1, 3), max_size=2)), *case.shape)
        elif len(shape) == 2:
            shape = (data.draw(st.sampled_from([2, 4, 6])), shape[1])
        elif case.torch.startswith("attention"):
            shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 6)), shape[2])
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        compare_function(case, generate.function_reference(case, generate.draw(case, shape, rng), rng))

    @pytest.mark.parametrize("case", LOSSES, ids=[f"{case.pancake}-{case.target}-{case.weighted}" for case in LOSSES])
    @given(n=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
    def test_loss(self, case: LossCase, n: int, seed: int) -> None:
        drawn = generate.draw_loss(case, n, np.random.default_rng(seed))
        compare_loss(case, {**drawn, **generate.loss_reference(case, drawn)})

    @pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS)
    @pytest.mark.parametrize("clip", [np.inf, 0.1])
    def test_optimizer(self, ours: str, theirs: str, clip: float) -> None:
        task = generate.net_reference(np.random.default_rng(7))
        assert_allclose(train(ours, task, clip), generate.optimizer_reference(theirs, task, clip), **TOLERANCE)

    @pytest.mark.parametrize(("ours", "theirs"), SCHEDULES)
    def test_schedule(self, ours: str, theirs: str) -> None:
        assert_allclose(rates(ours), generate.schedule_reference(theirs), **TOLERANCE)
