"""Writes docs/pictures/, the pictures that the tutorial draws, by running it: python docs/make_pictures.py."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pages

PICTURES = pages.DOCS / "pictures"


def main() -> None:
    demos = pages.DOCS.parent / "demos"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(demos / "data", Path(folder) / "demos" / "data")
        with contextlib.chdir(folder):
            pages.run(pages.code(pages.DOCS / "tutorial.md"))
        PICTURES.mkdir(exist_ok=True)
        for picture in sorted(Path(folder).glob("*.png")):
            shutil.copy(picture, PICTURES)
            print(f"wrote {PICTURES / picture.name}")


if __name__ == "__main__":
    main()
