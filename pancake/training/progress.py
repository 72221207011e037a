"""How far a training has come: a bar where somebody watches, plain lines in a log."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Mapping
from typing import Any

LINES = 10  # in a log, for a whole call of `fit`
PATIENCE = 10.0  # seconds: an epoch that ends later than this after the last line has a line of its own
REFRESH = 0.1  # seconds between two changes of what stands beside the bar


class Progress:
    """A bar on a terminal or in a notebook if tqdm is installed, else lines of text.

    Parameters
    ----------
    wanted : bool or None
        Nothing is shown if False.
    first, last : int
        The numbers of the epochs.
    batches : int or None
        How many make an epoch, if known.
    """

    def __init__(self, wanted: bool | None, first: int, last: int, batches: int | None) -> None:
        self.wanted, self.last = wanted is not False, last
        self.every = -(-(last - first + 1) // LINES)
        self.first = first
        self.time = time.monotonic()
        self.bar = _bar(None if batches is None else batches * (last - first + 1)) if self.wanted else None
        # called after every batch, so None is kept where there is nothing to do
        self.batch = None if self.bar is None else self.bar.update

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Tell the figures of an epoch that has ended."""
        if not self.wanted:
            return
        now = time.monotonic()
        if self.bar is not None:
            if now - self.time >= REFRESH or epoch == self.last:
                self.bar.set_description_str(f"epoch {epoch}/{self.last}", refresh=False)
                self.bar.set_postfix_str(_line(figures), refresh=epoch == self.last)
                self.time = now
        elif (epoch - self.first + 1) % self.every == 0 or epoch == self.last or now - self.time >= PATIENCE:
            print(f"epoch {epoch}/{self.last}: {_line(figures)}", flush=True)
            self.time = now

    def say(self, text: str) -> None:
        """Put a line of text beside the bar, or among the lines."""
        if self.bar is not None:
            self.bar.write(text)
        elif self.wanted:
            print(text, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()


def _line(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _bar(total: int | None) -> Any:
    """A tqdm bar if somebody is there to see it, else None."""
    if not (_in_notebook() or (sys.stderr is not None and sys.stderr.isatty())):
        return None
    if importlib.util.find_spec("tqdm") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a notebook lacks ipywidgets, and shows the bar as text
        tqdm = importlib.import_module("tqdm.auto").tqdm
    return tqdm(total=total, unit="batch", dynamic_ncols=True)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"
