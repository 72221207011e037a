"""What all tests share: hypothesis profiles, a watch over NumPy's global generator and over pyplot's figures, a browser."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from pancake import memory

# HYPOTHESIS_PROFILE chooses: "ci" draws the same examples in every run, "dev" others each time, "thorough" very many.
_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, max_examples=40, **_common)
settings.register_profile("dev", max_examples=40, **_common)
settings.register_profile("thorough", max_examples=3000, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the half a million objects that are the tests, each time that one collects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _global_generator_stays() -> Iterator[None]:
    """Fail a test that moves NumPy's global generator: no function of pancake may."""
    before = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    yield
    after = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    if before["pos"] != after["pos"] or not np.array_equal(before["key"], after["key"]):
        pytest.fail("this test moved NumPy's global random generator")


@pytest.fixture(autouse=True)
def _errors_are_treated_as_before() -> Iterator[None]:
    """Fail a test that leaves another treatment of overflow and the like: the next test would not see its warnings."""
    before = np.geterr()
    yield
    after = np.geterr()
    if after != before:
        np.seterr(**before)
        pytest.fail(f"this test changed np.geterr() from {before} to {after}")


@pytest.fixture(autouse=True)
def _no_figure_is_left() -> Iterator[None]:
    """Let go of pyplot's figures, on which else the next test would draw."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


@pytest.fixture
def generator_put_back() -> Iterator[None]:
    """JAX moves NumPy's global generator, which is no business of pancake's."""
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="opens pages by playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def fresh_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with an empty block, so that no model of the test lies across the end of one."""
    monkeypatch.setattr(memory, "_blocks", {})
