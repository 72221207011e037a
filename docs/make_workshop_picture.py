"""Writes docs/pictures/workshop.png: python docs/make_workshop_picture.py.

It is what lesson 8 of the workshop draws when its blank is filled. It needs Pillow, which comes with matplotlib.
"""

import os
import runpy
import sys
import tempfile
from pathlib import Path

from PIL import Image

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
        few_colors = Image.open("lesson_08.png").convert("RGB").quantize(96)
        few_colors.save(PICTURE, optimize=True)
        os.chdir(PICTURE.parent)
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
