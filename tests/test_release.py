"""What is published is true: the archives hold what they should, and all files agree about the version."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pancake as pk

ROOT = Path(__file__).parent.parent


def test_the_citation_has_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, flags=re.MULTILINE)[1] == pk.__version__  # type: ignore[index]
    for key in ("cff-version", "message", "title", "authors", "license"):
        assert re.search(rf"^{key}:", citation, flags=re.MULTILINE), f"CITATION.cff needs {key}"
    assert "license: MIT" in citation
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT")


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+?),", changelog, flags=re.MULTILINE)[1] == pk.__version__  # type: ignore[index]


def test_the_wheel_has_every_file_of_the_packages() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = dict(setup["options.package_data"])
    for path in (ROOT / "pancake").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            package = ".".join(path.parent.relative_to(ROOT).parts)
            listed = [pattern.strip() for pattern in patterns.get(package, "").split(",")]
            assert any(path.match(pattern) for pattern in listed if pattern), f"setup.cfg leaves out {path}"
