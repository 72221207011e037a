"""Whose code something is."""

from __future__ import annotations


def is_own(thing: object) -> bool:
    """Whether a class, a function, or the class of an object is pancake's own. A user's may do as it likes."""
    return str(getattr(thing, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]
