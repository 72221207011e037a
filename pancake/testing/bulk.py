"""Large containers of plain data, such as a vocabulary of 100,000 words, which a check must not walk through again and again.

To look whether one has changed takes milliseconds, and a check restores the state of a layer hundreds of times; so as long as it
has not changed, that is looked at ever more seldom: in the 1st, 2nd, 4th, 8th, ... call of `restore`. And where only parameters
are looked for, or the layer is copied, something small stands in its place.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import pickle
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# A container of so many plain items, and no others, is bulky.
MANY = 1000


class Bulk:
    """A large container of plain data, with all containers in it.

    Attributes
    ----------
    container : dict, list, set or deque
    has_changed : bool
        Whether it was ever found changed.
    """

    def __init__(self, container: Any, levels: list[list[Any]]) -> None:
        self.container = container
        self._levels = [(level, [thing.copy() for thing in level]) for level in levels]
        self._calls, self.has_changed = 0, False
        self._holders: list[tuple[Any, Any]] = []

    def is_unchanged(self) -> bool:
        """Whether all containers hold what they held."""
        return all(originals == copies for originals, copies in self._levels)

    def restore(self, thoroughly: bool) -> None:
        """Put the contents back."""
        self._calls += 1
        seldom = self._calls & (self._calls - 1) != 0
        if (seldom and not self.has_changed and not thoroughly) or self.is_unchanged():
            return
        self.has_changed = True
        for originals, copies in self._levels:
            put_back(originals, copies)

    def find_holders(self, containers: dict[type, tuple[list[Any], list[Any]]]) -> None:
        """Remember in which of the containers it stands."""
        for kind, (group, _) in containers.items():
            for holder in group if issubclass(kind, (dict, list)) else ():
                items = holder.items() if isinstance(holder, dict) else enumerate(holder)
                self._holders += [(holder, key) for key, value in items if value is self.container]

    @contextlib.contextmanager
    def hidden(self) -> Iterator[Hidden]:
        """Let something else stand in its place for a moment, in which no code of the layer looks at it."""
        stand_in = Hidden(self)
        exchanged = []
        for holder, key in self._holders:
            held = holder.get(key) if isinstance(holder, dict) else holder[key] if key < len(holder) else None
            if held is self.container:
                holder[key] = stand_in
                exchanged.append((holder, key))
        try:
            yield stand_in
        finally:
            for holder, key in exchanged:
                holder[key] = self.container

    def copy(self) -> Any:
        """What a copy of the layer has in its place: the same container, if the layer never changes it."""
        return copy.deepcopy(self.container) if self.has_changed else self.container


class Hidden:
    """What stands in the place of something bulky."""

    def __init__(self, bulk: Bulk) -> None:
        self.bulk = bulk


def duplicates(thing: Any, bulk: Iterable[Bulk]) -> tuple[Any, Callable[[], Any]]:
    """A deepcopy, and a function that returns a copy by pickle; neither looks into what is bulky."""
    with contextlib.ExitStack() as stack:
        hidden = [stack.enter_context(b.hidden()) for b in bulk]
        twin = copy.deepcopy(thing, {id(h): h.bulk.copy() for h in hidden})
    return twin, lambda: _through_pickle(thing, list(bulk))


def _through_pickle(thing: Any, bulk: list[Bulk]) -> Any:
    file = io.BytesIO()
    with contextlib.ExitStack() as stack:
        hidden = [stack.enter_context(b.hidden()) for b in bulk]
        pickler = pickle.Pickler(file)
        pickler.persistent_id = lambda a: hidden.index(a) if isinstance(a, Hidden) else None  # type: ignore[method-assign]
        pickler.dump(thing)
    file.seek(0)
    unpickler = pickle.Unpickler(file)
    unpickler.persistent_load = hidden.__getitem__  # type: ignore[method-assign]
    twin = unpickler.load()
    _reveal(twin, set())
    return twin


def _reveal(thing: Any, seen: set[int]) -> None:
    """Put what is bulky in the place of what stands for it, wherever that is in a thing."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, (type, types.ModuleType)):
        return  # of the program, not of the copy
    if hasattr(thing, "__dict__"):
        _reveal(vars(thing), seen)
    for key, value in list(thing.items() if isinstance(thing, dict) else enumerate(thing if isinstance(thing, list) else ())):
        if isinstance(value, Hidden):
            thing[key] = value.bulk.copy()
        elif isinstance(value, (dict, list, tuple)) or hasattr(value, "__dict__"):
            _reveal(value, seen)


def bulk_of(container: Any) -> Bulk | None:
    """The container as something bulky, if it is large and holds nothing but plain data."""
    levels = _plain_levels(container) if len(container) >= MANY else None
    return None if levels is None else Bulk(container, levels)


def _plain_levels(container: Any) -> list[list[Any]] | None:
    """The container, all containers in it, all in those, ...; None if there is something else in it than plain data."""
    levels: list[list[Any]] = []
    level = [container]
    while level:
        levels.append(level)
        content = list(itertools.chain.from_iterable(c.values() if isinstance(c, dict) else c for c in level))
        kinds = set(map(type, content))
        if not kinds <= {type(None), bool, int, float, complex, str, bytes, list, dict, set} or len(levels) > 5:
            return None
        level = [thing for thing in content if isinstance(thing, (list, dict, set))] if kinds & {list, dict, set} else []
    return levels


def put_back(originals: list[Any], copies: list[Any]) -> None:
    """Give containers, which stay the same objects, the contents that they had."""
    for container, content in zip(originals, copies, strict=True):
        if not _is_same(container, content):
            container.clear()
            if isinstance(container, (dict, set)):
                container.update(content)
            else:
                container.extend(content)


def _is_same(container: Any, content: Any) -> bool:
    """Whether a container holds the very objects that it held, in the same order."""
    if len(container) != len(content):
        return False
    pairs: Iterable[tuple[Any, Any]] = zip(container, content, strict=True)
    if isinstance(container, dict):
        pairs = itertools.chain(pairs, zip(container.values(), content.values(), strict=True))
    return all(a is b for a, b in pairs)
