"""Pictures that follow each other: a player in notebooks, and a file."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pancake.arguments import number, path_of
from pancake.files.replacing import check_folder
from pancake.plotting.drawing import Drawing

HOLD = 0.5  # seconds that the last picture stays, before the film begins again
PLAYED = 200  # pictures in a player, at most: they all stand in the notebook
DPI = 72  # of a picture in a player
SECONDS = 10.0  # that a player takes, at most


@dataclass(frozen=True, repr=False)
class Film(Drawing):
    """Pictures that follow each other. A notebook plays them, once, and stays at the last one.

    The axes show one of them: the first, until `show_frame` or `save` draws others.
    """

    @property
    def length(self) -> int:
        """The number of pictures."""
        raise NotImplementedError

    def show_frame(self, index: int) -> None:
        """Draw the picture of that number; -1 is the last."""
        raise NotImplementedError

    def finish(self) -> None:
        """Take what is missing to end with: called before the pictures are saved or played."""

    def save(self, path: str | os.PathLike[str], fps: float = 10, dpi: float = 80) -> None:
        """Write all pictures into one file, which stands there whole or not at all.

        Parameters
        ----------
        path : str or path
            A name that ends in .gif; or in .mp4, where the program ffmpeg is installed.
        fps : float
            Pictures in a second. The last one stays for half a second longer.
        dpi : float
            Dots per inch: 80 makes 760 x 336 pixels of the figure that `animate_training` makes.

        Raises
        ------
        ValueError
            If the name ends in something else, or ffmpeg is needed and missing.
        FileNotFoundError
            If there is no such folder.

        References
        ----------
        https://matplotlib.org/stable/api/animation_api.html#writer-classes
        """
        from matplotlib.animation import AbstractMovieWriter, FFMpegWriter
        from PIL import Image

        class GifWriter(AbstractMovieWriter):
            """Of 256 colours some are for what has few pixels; Pillow's usual choice gives points that of the shading."""

            def setup(self, *args: Any, **kwargs: Any) -> None:
                super().setup(*args, **kwargs)
                self.pictures: list[Image.Image] = []

            def grab_frame(self, **_: Any) -> None:
                self.fig.savefig(buffer := BytesIO(), format="rgba", dpi=self.dpi)
                picture = Image.frombuffer("RGBA", self.frame_size, buffer.getvalue(), "raw", "RGBA", 0, 1)
                opaque = picture.getchannel("A").getextrema() == (255, 255)
                self.pictures.append(picture.convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE) if opaque else picture)

            def finish(self) -> None:
                first, *others = self.pictures
                first.save(self.outfile, save_all=True, append_images=others, duration=int(1000 / self.fps), loop=0)

        name = type(self).__name__
        path = Path(path_of(f"{name}.save", path, "'film.gif'"))
        if path.suffix not in (".gif", ".mp4"):
            raise ValueError(f"{name}.save: expected a file that ends in .gif or .mp4, got {path}")
        if path.suffix == ".mp4" and not FFMpegWriter.isAvailable():
            raise ValueError(f"{name}.save: {path.name} needs the program ffmpeg, which is not there; save a .gif")
        check_folder(path, f"{name}.save")
        fps = number(self.save, "fps", fps)
        if not fps:
            raise ValueError(f"{name}.save: expected fps of more than 0, got 0")
        writer = (GifWriter if path.suffix == ".gif" else FFMpegWriter)(fps=fps)  # type: ignore[arg-type]
        self.finish()
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            file = Path(folder, path.name)
            with writer.saving(self.figure, file, dpi):
                for index in range(self.length):
                    self.show_frame(index)
                    writer.grab_frame()
                for _ in range(round(HOLD * fps)):
                    writer.grab_frame()
            os.replace(file, path)

    def _repr_html_(self) -> str:
        """A player: matplotlib's, with its buttons and its slider."""
        from matplotlib import rc_context
        from matplotlib.animation import FuncAnimation

        self.finish()
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            pyplot.close(self.figure)  # which else would be shown once more, as a picture that stands still
        step = -(-self.length // PLAYED)
        shown = [*range(0, self.length - 1, step), self.length - 1]
        interval = min(100.0, 1000 * SECONDS / len(shown))
        player = FuncAnimation(self.figure, self.show_frame, frames=shown, interval=interval, cache_frame_data=False)
        with rc_context({"savefig.dpi": DPI}):
            html: str = player.to_jshtml(default_mode="once")
        return html
