"""Ctrl-C, held back for the moments in which a model is half one thing and half another."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """Holds a Ctrl-C back while `busy` is true, in the main thread; `pressed` then tells that there was one.

    Whoever sets `busy` raises KeyboardInterrupt for one that was pressed, once it is false again. At any other moment the
    handler is that of Python, or of whoever has set one.
    """

    def __init__(self) -> None:
        self.busy = self.pressed = False
        self._before: Any = None

    def begin(self) -> None:
        """Take over from the handler that there is."""
        # nobody but the main thread gets signals; None, SIG_DFL and SIG_IGN are not Python's to call
        if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
            self._before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._handle)

    def put_back(self) -> None:
        """Give back to that handler."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.busy:
            self.pressed = True
        else:
            self._before(number, frame)
