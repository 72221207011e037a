"""The commands of the page "Ship it": each is run where its program is, on what the page's Python has written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pages
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "ship_it.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [block.strip() for block in re.findall(r"^```bash\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)]
LINES = [line for block in COMMANDS for line in block.splitlines()]
PROGRAMS = ["gcc", "./main", "arm-none-eabi-gcc", "avr-gcc", "node"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all is that the page writes, the program in C too."""
    folder = tmp_path_factory.mktemp("ship")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pages.run([block for block in pages.code(PAGE) if not block.needs])
    (program,) = re.findall(r"^```c\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    (folder / "main.c").write_text(program)
    return folder


def test_no_command_is_left_out() -> None:
    assert [shlex.split(line)[0] for line in LINES] == PROGRAMS


@pytest.mark.parametrize("line", LINES, ids=PROGRAMS)
def test_a_command_of_the_page_runs(line: str, folder: Path) -> None:
    program, *arguments = shlex.split(line)
    needed = "gcc" if program == "./main" else program
    if shutil.which(needed) is None:
        pytest.skip(f"needs {needed}")
    if program == "./main" and not (folder / "main").exists():
        subprocess.run(shlex.split(LINES[0]), cwd=folder, check=True)
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = {"./main": "class 1\n", "node": "2\n"}.get(program)
    assert expected is None or done.stdout == expected
