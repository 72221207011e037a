"""The arrays of a file: each is made into one object, however often it is named."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake.function import Function
from pancake.memory import Pair


class StoredArrays:
    """Arrays by their names in a file, and what has been made of them.

    Parameters
    ----------
    stored : mapping of str to ndarray
    fortran : list of str
        Which of them lay column by column in memory.
    """

    def __init__(self, stored: Mapping[str, NDArray[Any]], fortran: Any) -> None:
        self._stored, self._fortran = stored, set(map(str, typed(fortran, list, "fortran")))
        self._used: set[str] = set()
        self._made: dict[str, NDArray[Any]] = {}
        self._gradients: dict[str, NDArray[Any]] = {}

    def contents(self, name: Any) -> NDArray[Any]:
        """What is stored under a name, to look at."""
        if not isinstance(name, str) or name not in self._stored:
            raise ValueError(f"there is no array {name!r} in it"[:200])
        self._used.add(name)
        return self._stored[name]

    def unused(self) -> list[str]:
        """The arrays that nobody has asked for."""
        return sorted(self._stored.keys() - self._used)

    def made(self, name: str) -> NDArray[Any]:
        """The array of that name, the same one each time."""
        if name not in self._made:
            self._made[name] = np.array(self.contents(name), order=self._order(name))
        return self._made[name]

    def parameters(self, names: Collection[Any], order: str | None = None) -> list[Pair]:
        """Parameters and gradients, the same ones each time; those that are new lie side by side in memory.

        They lie in the given order, column by column ("F") or row by row ("C"); without it as the file says.
        """
        contents = {name: self.contents(name) for name in names}
        fresh = [name for name in contents if name not in self._gradients]
        for (dtype, layout), group in itertools.groupby(fresh, lambda name: (contents[name].dtype, order or self._order(name))):
            members = list(group)
            if dtype.kind == "f" and self._made.keys().isdisjoint(members):
                home = Function()
                home.make_parameters(dtype, layout, **{f"p{i}": contents[name].shape for i, name in enumerate(members)})
                for i, name in enumerate(members):
                    self._made[name], self._gradients[name] = vars(home)[f"p{i}"], vars(home)[f"grad_p{i}"]
                    self._made[name][...] = contents[name]
            else:  # integers, which only a user's Function can have, and arrays that are somebody's attribute already
                for name in members:
                    self._gradients[name] = np.zeros_like(self.made(name))
        return [(self._made[name], self._gradients[name]) for name in names]

    def _order(self, name: str) -> Any:
        return "F" if name in self._fortran else "C"


def typed(value: Any, kind: type[Any], what: str) -> Any:
    """A value of the file, refused if it is not of that kind."""
    if not isinstance(value, kind):
        raise ValueError(f"expected {what} to be a {kind.__name__} in it, got {value!r}"[:200])
    return value
