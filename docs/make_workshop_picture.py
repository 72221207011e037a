"""Writes docs/pictures/workshop.png: what lesson 8 of the workshop draws, with its blanks filled."""

import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

from pancake.workshop.lesson import lesson

PICTURE = Path(__file__).parent / "pictures" / "workshop.png"


def main() -> None:
    os.environ["MPLBACKEND"] = "Agg"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        script = Path(folder) / "lesson_08.py"
        script.write_text(lesson(8).script(with_solutions=True), encoding="utf-8")
        sys.argv = [str(script)]
        runpy.run_path(str(script), run_name="__main__")
        shutil.copy("lesson_08.png", PICTURE)
        os.chdir(PICTURE.parent)
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
