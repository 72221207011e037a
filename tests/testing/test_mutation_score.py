"""Who checks the checker: the faults that the checks see in the library's own layers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pancake import Function
from pancake.losses.loss import Loss
from pancake.testing.strategies import library_classes

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "mutation_score.md"
# All of them take a minute or more; a few, of every kind, are looked at in every run.
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
CLASSES = [] if THOROUGH else ["Linear", "LayerNorm", "Softmax", "Embedding", "CrossEntropy", "ReLU"]


def run(*names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "docs" / "make_mutation_score.py"), *names]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.slow
def test_every_fault_is_seen_or_known_to_be_none() -> None:
    names = CLASSES or [cls.__name__ for base in (Function, Loss) for cls in library_classes(base)]
    result = run(*names)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in names:
        assert re.search(rf"^{name}: [1-9]\d* of \d+ faults seen$", result.stdout, flags=re.MULTILINE), result.stdout


@pytest.mark.parametrize("base", [Function, Loss])
def test_the_page_has_every_class_and_nothing_that_is_not_seen(base: type) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for cls in library_classes(base):
        assert f"| `{cls.__name__}` | " in text, "run python docs/make_mutation_score.py"
    assert "## Not seen" not in text
