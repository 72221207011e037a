"""The names of features and of classes, as they stand on axes and in legends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Feature: TypeAlias = "int | str"
ClassNames: TypeAlias = "Sequence[Any] | Mapping[int, Any] | None"


def names_of_features(owner: Any, X: Any, feature_names: Sequence[Any] | None, count: int) -> list[str]:
    """The names given, or those of the columns of a data frame, or "feature 0" and so on."""
    if feature_names is not None:
        return _listed(owner, feature_names, count, "feature_names, one for each feature")
    columns = list(getattr(X, "columns", ()))
    if len(columns) != count or columns == list(range(count)):  # those that pandas makes where nobody named them
        return [f"feature {i}" for i in range(count)]
    return list(map(str, columns))


def names_of_classes(owner: Any, class_names: ClassNames, count: int) -> list[str]:
    """The names given, in the order of the classes or by class; "class 0" and so on where there are none."""
    if class_names is None:
        return [f"class {c}" for c in range(count)]
    if not isinstance(class_names, Mapping):
        return _listed(owner, class_names, count, "class_names, one for each class")
    if class_names and not set(class_names) <= set(range(count)):
        odd = next(key for key in class_names if key not in range(count))
        hint = "; {c: name for name, c in class_names.items()} turns it round" if isinstance(odd, str) else ""
        raise ValueError(f"{owner.__name__}: expected class_names with keys from 0 to {count - 1}, got {odd!r}{hint}")
    return [str(class_names.get(c, f"class {c}")) for c in range(count)]


def _listed(owner: Any, names: Any, count: int, what: str) -> list[str]:
    if isinstance(names, (str, bytes)) or not hasattr(names, "__len__") or not hasattr(names, "__iter__"):
        raise TypeError(f"{owner.__name__}: expected {what}, got {names!r}")
    if len(names) != count:
        raise ValueError(f"{owner.__name__}: expected {count} {what}, got {len(names)}: {list(names)!r}")
    return list(map(str, names))


def position(owner: Any, feature: Any, names: Sequence[str]) -> int:
    """The index of a feature that is given by index or by name."""
    if isinstance(feature, str):
        if names.count(feature) != 1:
            known = "several of that name" if feature in names else f"one of {', '.join(map(repr, names))}"
            raise ValueError(f"{owner.__name__}: expected a feature by index or by name, got {feature!r}; there are {known}")
        return names.index(feature)
    if isinstance(feature, bool) or feature not in range(len(names)):
        raise ValueError(f"{owner.__name__}: expected a feature from 0 to {len(names) - 1}, or its name, got {feature!r}")
    return int(feature)
