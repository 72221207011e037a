"""The README is true: its Python runs, and what it quotes is what comes out."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str, folder: Path) -> dict[str, Any]:
    script = folder / "block.py"
    script.write_text(code)
    return runpy.run_path(str(script), run_name="__main__")


def test_the_twenty_lines_learn_the_moons_and_draw_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (block for block in blocks("python") if "moons" in block)
    run(code, here)
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", capsys.readouterr().out)[1])
    assert accuracy > 97
    assert (here / "moons.png").read_bytes().startswith(b"\x89PNG")


def test_the_function_of_ones_own_is_checked_and_its_fault_is_reported_as_quoted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (block for block in blocks("python") if "class Scale" in block)
    run(code, here)
    assert "Scale: gradients right" in capsys.readouterr().out
    (quoted,) = (block for block in blocks("text") if "Scale." in block)
    assert code.count("* self.x).sum(axis=0)") == 1
    with pytest.raises(AssertionError) as caught:
        run(code.replace("(dObj_dOut * self.x).sum(axis=0)", "dObj_dOut.sum(axis=0)"), here)
    assert quoted.strip() in str(caught.value)


def test_the_three_lines_check_the_function(here: Path) -> None:
    (scale,) = (block for block in blocks("python") if "class Scale" in block)
    (three_lines,) = (block for block in blocks("python") if "test_scale" in block)
    assert len([line for line in three_lines.splitlines() if line]) == 3
    few = "from hypothesis import settings\nsettings(max_examples=5)(test_scale)()\n"
    run(scale + three_lines + few, here)
    with pytest.raises(AssertionError, match=r"Scale\.k"):
        run(
            scale.replace("(dObj_dOut * self.x).sum(axis=0)", "dObj_dOut.sum(axis=0)", 1).split("print(")[0] + three_lines + few,
            here,
        )


def test_the_recurrent_net_learns_and_comes_back_from_its_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (block for block in blocks("python") if "GRUCell" in block)
    run(code, here)
    printed = capsys.readouterr().out
    assert "epoch" in printed
    assert float(re.search(r"validation accuracy ([\d.]+)%", printed)[1]) > 97
