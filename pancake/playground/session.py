"""A tab of the browser: a thread in which its training runs, and the latest picture of it."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from pancake.playground.picture import frame, scene
from pancake.playground.trainer import Trainer
from pancake.training.errors import NonFiniteError

PICTURES = 12  # a second, at most
PATIENCE = 5.0  # seconds that a tab may be away, as while it connects anew


class Session:
    """The training of one tab. All of it happens in one thread; others ask that thread.

    Parameters
    ----------
    trainer : Trainer
    patience : float
        For how many seconds nobody may listen before the session ends. While nobody listens, it does not train.
    """

    def __init__(self, trainer: Trainer, patience: float = PATIENCE) -> None:
        self._trainer = trainer
        self._patience = patience
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._listeners = 0
        self._left = time.monotonic()
        self._news: dict[str, tuple[int, str]] = {}  # of each kind its number and its text
        self._drawn: dict[str, Any] = {}
        self.running = False
        self.message = ""
        self.ended = False
        self.publish(new_scene=True)
        self._thread = threading.Thread(target=self._work, name="playground session", daemon=True)
        self._thread.start()

    # --- what other threads do ---

    def ask(self, task: Callable[[Trainer], Any]) -> Any:
        """Have the thread of the session run a task between two pictures; return what it returns, raise what it raises."""
        if self.ended:
            raise ValueError("the training of this tab has ended; load the page anew")
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(task(self._trainer))
            except Exception as error:
                done.set_exception(error)

        self._tasks.put(run)
        return done.result(timeout=30)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Somebody listens for as long as the block runs."""
        with self._changed:
            self._listeners += 1
        try:
            yield
        finally:
            with self._changed:
                self._listeners -= 1
                self._left = time.monotonic()

    @property
    def is_listened_to(self) -> bool:
        """Whether anybody listens now."""
        return self._listeners > 0

    def news(self, seen: dict[str, int], timeout: float) -> dict[str, str]:
        """What is new of each kind since the numbers in `seen`, which are brought up to date; at most the latest of each."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended or self._newer(seen), timeout)
            kinds = self._newer(seen)
            found = {kind: self._news[kind][1] for kind in kinds}
            seen.update({kind: self._news[kind][0] for kind in kinds})
            return found

    def _newer(self, seen: dict[str, int]) -> list[str]:
        return [kind for kind, (number, _) in self._news.items() if number != seen.get(kind)]

    def end(self) -> None:
        """End the thread after what it is doing."""
        self._tasks.put(None)
        self._thread.join(timeout=2)

    # --- what the thread does ---

    def publish(self, *, new_scene: bool = False, note: bool = True) -> None:
        """Show how things are. In the thread of the session only, that is, in tasks."""
        made = {"scene": scene(self._trainer)} if new_scene else {}
        try:
            self._drawn = frame(self._trainer, note=note)
        except Exception as error:
            if not self._drawn:
                raise
            self.fail(error)  # the picture before is still there
        made["frame"] = {**self._drawn, "running": self.running, "message": self.message}
        texts = {kind: json.dumps(value, allow_nan=False) for kind, value in made.items()}
        with self._changed:
            for kind, text in texts.items():
                self._news[kind] = self._news.get(kind, (0, ""))[0] + 1, text
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Pause with a message: of a loss that is not finite, or of the user's own Function."""
        self.running = False
        self.message = str(error) if isinstance(error, NonFiniteError) else f"{type(error).__name__}: {error}"

    def _work(self) -> None:
        pause = 0.0
        while True:
            try:
                task = self._tasks.get(timeout=pause if self.running else 1.0)
                if task is None:
                    break
                task()
                continue
            except queue.Empty:
                pass
            if not self._listeners:
                if time.monotonic() - self._left > self._patience:
                    break
                pause = 0.2
            elif self.running:
                pause = self._train()
        with self._changed:
            self.ended = True
            self._changed.notify_all()
        # Whoever has asked too late.
        while not self._tasks.empty():
            task = self._tasks.get()
            if task is not None:
                task()

    def _train(self) -> float:
        """Train until the next picture, draw it, and return how many seconds are left."""
        begun = time.monotonic()
        try:
            self._trainer.advance(0.6 / PICTURES)
        except Exception as error:
            self.fail(error)
        self.publish()
        return max(0.0, 1 / PICTURES - (time.monotonic() - begun))
