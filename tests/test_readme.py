"""The README is true: its Python runs, and what it quotes is what comes out."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code, folder):
    script = folder / "block.py"
    script.write_text(code)
    return runpy.run_path(str(script), run_name="__main__")


def test_the_twenty_lines_learn_the_moons_and_draw_them(here, capsys):
    (code,) = (block for block in blocks("python") if "moons" in block)
    run(code, here)
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", capsys.readouterr().out)[1])
    assert accuracy > 97
    assert (here / "moons.png").read_bytes().startswith(b"\x89PNG")


def test_the_function_of_ones_own_is_proved_and_its_fault_is_reported_as_quoted(here, capsys):
    (code,) = (block for block in blocks("python") if "class Scale" in block)
    run(code, here)
    assert "Scale: gradients right" in capsys.readouterr().out
    (quoted,) = (block for block in blocks("text") if "Scale." in block)
    assert code.count("* self.x).sum(axis=0)") == 1
    with pytest.raises(AssertionError) as caught:
        run(code.replace("(dObj_dOut * self.x).sum(axis=0)", "dObj_dOut.sum(axis=0)"), here)
    assert quoted.strip() in str(caught.value)


def test_every_local_link_and_picture_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
