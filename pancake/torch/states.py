"""State dicts of torch and files of the safetensors format, read into models whose parts have other names."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from pancake.files.archives import printable, read_tensors
from pancake.function import Function, need_function
from pancake.memory import Array
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import Cell
from pancake.recurrent.unrolled import Unrolled
from pancake.tree import named_parts

Rename: TypeAlias = "Mapping[str, str | None] | Callable[[str], str | None] | None"

# Names of the parameters of recurrent modules: weight_hh_l1_reverse is that of layer 1, backward.
_LAYER = re.compile(r"(?:(?P<path>.*)\.)?(?P<name>(?:weight|bias)_[ih]h)_l(?P<layer>\d+)(?P<reverse>_reverse)?")


def load_torch(model: Function, state: Mapping[str, Any] | str | os.PathLike[str], rename: Rename = None) -> None:
    """Copy parameters that torch or another library has saved into a model, whose dtype and arrays stay as they are.

    Names are those of `model.state_dict()`. Those of recurrent modules are understood as torch gives them: the backward cell of
    the second recurrent part from "0" on is meant by `0.weight_ih_l1_reverse`. torch itself is not needed.

    Parameters
    ----------
    model : Function
    state : dict of tensors or arrays, or path
        A state dict, or the path of a .safetensors file. bfloat16 and float16 are read.
    rename : dict or callable, optional
        A dict of whole names or of prefixes, {"fc1": "0", "module": ""}, in which whole names go before prefixes and long ones
        before short ones; "" is before all names. Or a function of the name. What becomes None is left out.

    Raises
    ------
    TypeError
        If `state` holds what is no array.
    ValueError
        If something is missing, left over, of another shape or given twice, or the file cannot be read. All of it is listed,
        with the closest candidates, and nothing is changed.
    """
    need_function("load_torch", model, " as first argument")
    arrays = {name: as_numpy("load_torch", name, value) for name, value in _entries(state).items()}
    own = dict(model._named_arrays())
    new: dict[str, Array] = {}
    origin: dict[str, str] = {}
    faults = []
    for name, array in arrays.items():
        renamed = _renamed(name, rename)
        if renamed is None:
            continue
        target = renamed if renamed in own else _of_layer(model, renamed)
        if target in new:
            faults.append(f"{origin[target]} and {name} would both become {target}")
        new[target], origin[target] = array, name
    left = {target: array for target, array in new.items() if target not in own}
    missing = [name for name in own if name not in new]
    for name, array in left.items():
        faults.append(f"left over {_called(origin[name], name)} {array.shape}{_closest(name, array, own, missing)}")
    faults += [f"missing {name} {own[name].shape}" for name in missing]
    for name, array in new.items():
        if name in own and array.shape != own[name].shape:
            faults.append(f"{_called(origin[name], name)} has shape {array.shape}, expected {own[name].shape}")
    if faults:
        raise ValueError("load_torch changed nothing:\n  " + "\n  ".join(faults) + _suggestion(left, origin, own, missing))
    model.load_state_dict(new)


def _entries(state: Any) -> dict[str, Any]:
    """What there is to load, by name."""
    if isinstance(state, (str, os.PathLike)):
        path = os.fspath(state)
        if not path.endswith(".safetensors"):
            raise ValueError(
                f"load_torch: expected a path that ends in .safetensors, got {path!r}; "
                'what torch.save has written is read by torch.load(path, map_location="cpu", weights_only=True), '
                "and what that returns is passed instead of the path"
            )
        try:
            return dict(read_tensors(path)[1])
        except ValueError as error:
            raise ValueError(f"load_torch: {path!r} cannot be read: {printable(str(error))}") from None
    if not isinstance(state, Mapping):
        hint = "; pass module.state_dict()" if hasattr(state, "state_dict") else ""
        raise TypeError(f"load_torch: expected a dict of tensors or arrays, or a path, got {type(state).__name__}{hint}")
    nested = [name for name, value in state.items() if isinstance(value, Mapping)]
    if nested:
        raise TypeError(
            f"load_torch: expected tensors or arrays, got a dict under {', '.join(map(repr, nested))}; "
            f"if it is a checkpoint, pass state[{nested[0]!r}]"
        )
    return {str(name): value for name, value in state.items()}


def as_numpy(owner: str, name: str, value: Any) -> Array:
    """A tensor or array as an array; bfloat16, which NumPy does not have, as float32, and so float16 of a tensor.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) in ("torch.bfloat16", "torch.float16"):
            value = value.float()
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":  # of the package ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{owner}: expected {name} to be a tensor or an array of real numbers, got {value!r}"[:300])
    return array


def _renamed(name: str, rename: Rename) -> str | None:
    if rename is None:
        return name
    if callable(rename):
        return rename(name)
    if not isinstance(rename, Mapping):
        raise TypeError(f"load_torch: expected rename to be a dict or a function of the name, got {rename!r}"[:300])
    if name in rename:
        return rename[name]
    for prefix in sorted(rename, key=len, reverse=True):
        if not prefix or name.startswith(prefix + "."):
            new, rest = rename[prefix], name.removeprefix(prefix + ".")
            return None if new is None else f"{new}.{rest}" if new else rest
    return name


def _of_layer(model: Function, name: str) -> str:
    """The name here of a parameter of a recurrent module of torch; any other name stays."""
    match = _LAYER.fullmatch(name)
    if match is None:
        return name
    start, layers = match["path"] or "", list[tuple[str, Any]]()
    for path, part in named_parts(model):
        inside = not start or path == start or path.startswith(start + ".")
        of_another = any(not before or path.startswith(before + ".") for before, _ in layers)  # as the halves of a Bidirectional
        if isinstance(part, (Bidirectional, Unrolled)) and (inside or layers) and not of_another:
            layers.append((path, part))
    if int(match["layer"]) >= len(layers):
        return name
    path, part = layers[int(match["layer"])]
    if isinstance(part, Bidirectional):
        place = "backward.cell" if match["reverse"] else "forward.cell"
    elif isinstance(part.cell, Cell) and bool(match["reverse"]) == part.reverse:
        place = "cell"
    else:
        return name
    return ".".join(filter(None, (path, place, match["name"])))


# --- what does not fit ---


def _called(origin: str, name: str) -> str:
    return origin if origin == name else f"{origin} (as {name})"


def _closest(name: str, array: Array, own: Mapping[str, Array], missing: list[str]) -> str:
    """The missing parameters of that shape, those with the most similar names first."""
    fitting = [candidate for candidate in missing if own[candidate].shape == array.shape]
    similar = sorted(fitting, key=lambda other: -difflib.SequenceMatcher(None, name[::-1], other[::-1]).ratio())
    return f", which has the shape of {' or '.join(similar[:3])}" if similar else ""


def _suggestion(left: Mapping[str, Array], origin: Mapping[str, str], own: Mapping[str, Array], missing: list[str]) -> str:
    """The `rename` that would do, if what is left over and what is missing have the same shapes in the same order."""
    if not left or [array.shape for array in left.values()] != [own[name].shape for name in missing]:
        return ""
    pairs: dict[str, str] = {}
    for old, new in zip(left, missing, strict=True):
        before, _, last = origin[old].rpartition(".")
        after, _, name = new.rpartition(".")
        if last == name and pairs.setdefault(before, after) == after and before:
            continue
        pairs.pop(before, None)
        pairs[origin[old]] = new
    return f"\nIn their order they would fit with rename={pairs}"
