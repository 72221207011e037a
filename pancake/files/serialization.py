"""Models in files: architecture, weights, and all that a training needs to go on."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pancake._version import __version__
from pancake.arguments import brief, path_of, tells_how_to_call
from pancake.files.archives import (
    ADVICE,
    format_json,
    parse_json,
    printable,
    read_npz,
    read_safetensors,
    write_npz,
    write_safetensors,
)
from pancake.files.description import Writer
from pancake.files.reconstruction import Reader
from pancake.files.replacing import replacing
from pancake.function import Function, need_function
from pancake.optimizers.optimizer import Optimizer
from pancake.optimizers.ranks import ranks_that_train
from pancake.training.trained import check_made_for

FORMAT = "pancake model"
VERSION = 1

READERS = {".npz": read_npz, ".safetensors": read_safetensors}
WRITERS = {".npz": write_npz, ".safetensors": write_safetensors}


@tells_how_to_call
def save(
    path: str | os.PathLike[str], model: Function, optimizer: Optimizer | None = None, *, meta: dict[Any, Any] | None = None
) -> None:
    """Write a model into one file, with the optimizer also all that its training needs to go on.

    The file holds the architecture, parameters, buffers, the state of generators (as of `Dropout`), what is frozen or in
    evaluation mode, and which arrays and generators are shared; with an optimizer its settings, steps and vectors, the history
    that `fit` keeps, and the generator that shuffles. So 10 epochs, `save`, `load` in a new process and 10 more are, bit for
    bit, 20 epochs. Arrays have the names of `state_dict`, and can be read without pancake, by `np.load` or the safetensors
    package. Nothing is pickled. Of processes that train one model together (see `pancake.mpi`) only rank 0 writes.

    It is written beside the old file, flushed to the disk, and renamed: whatever happens, one of the two is there, whole. The
    new file has the permissions of the old one. What a save that was killed has left there is removed by the next one.

    Of a user's Function all attributes are saved, but not `_cache`. They may be numbers, strings, None, arrays, generators,
    Functions, and lists, tuples and dicts of those; functions are saved by name, for `custom` to provide.

    Parameters
    ----------
    path : str or path-like
        Ends in .npz or .safetensors.
    model : Function
    optimizer : Optimizer, optional
    meta : dict, optional
        Facts to keep beside the model, for `load_meta`, such as {"classes": ["cat", "dog"], "features": ["age", "weight"]}: text,
        numbers, None, arrays of numbers, and lists, tuples and dicts of those.

    Raises
    ------
    TypeError
        If there is something in the model, or in `meta`, that a file cannot hold, such as an open file or a lambda.
    ValueError
        If the path ends otherwise or is that of a folder, pipe or device; or the optimizer is that of another model.
    """
    write = by_suffix("save", path, WRITERS)
    order = "; the optimizer comes third: save(path, model, optimizer)" if isinstance(model, Optimizer) else ""
    need_function("save", model, " as second argument", order)
    if not (optimizer is None or isinstance(optimizer, Optimizer)):
        raise TypeError(f"save: expected an optimizer as third argument, got {brief(optimizer)}")
    if not isinstance(meta, (dict, type(None))):
        raise TypeError(f"save: expected meta to be a dict, got {meta!r}"[:200])
    if optimizer is not None:
        check_made_for("save", optimizer, model)
    writer = Writer()
    try:
        description = {
            "format": FORMAT,
            "version": VERSION,
            "pancake": __version__,
            "meta": None if meta is None else writer.facts(meta),
            "model": writer.function(model, ""),
            "optimizer": None if optimizer is None else writer.optimizer(optimizer),
            "generators": writer.generators,
            "fortran": writer.fortran,
        }
        text = format_json(description)
    except RecursionError:
        raise ValueError("save: the model is nested too deeply, or a list or dict in it holds itself") from None
    except ValueError as error:
        raise ValueError(f"save: {error}") from None
    if any(ranks.rank for ranks in ranks_that_train(model.get_params_and_grads()[1])):
        return
    with replacing(os.path.realpath(path)) as file:
        write(file, text, writer.arrays)


@tells_how_to_call
def load(path: str | os.PathLike[str], custom: Mapping[str, Any] | None = None) -> Any:
    """The model that `save` wrote, or (model, optimizer) if it was saved with an optimizer.

    A file is data: it names classes of this library and those in `custom`, and no other. Classes in `custom` get their
    attributes from the file, without a call of `__init__`.

    Parameters
    ----------
    path : str or path-like
        Ends in .npz or .safetensors.
    custom : dict, optional
        Your own classes and functions in the model by their names: {"MyLayer": MyLayer}.

    Returns
    -------
    Function, or tuple of Function and Optimizer

    Raises
    ------
    ValueError
        If the file is not whole, not from `save`, or inconsistent; the message says what is wrong. Time and memory are a small
        multiple of the size of the file, whatever it claims.
    OSError
        If it cannot be opened.
    """
    by_suffix("load", path, READERS)  # first of all: who passes a model passes it before the path
    if not isinstance(custom, (Mapping, type(None))) or not all(callable(value) for value in (custom or {}).values()):
        hint = "; load makes the model itself: model = load(path)" if isinstance(custom, Function) else ""
        raise TypeError(f"load: expected custom to be a dict of classes and functions by name, got {brief(custom)}{hint}")
    with _reading("load", path, custom or {}) as (reader, description):
        reader.generators(description.get("generators"))
        reader.facts(description.get("meta"))
        model = reader.function(description.get("model"))
        optimizer = None if description.get("optimizer") is None else reader.optimizer(description["optimizer"])
        if unused := reader.arrays.unused():
            raise ValueError(f"it holds arrays that nothing refers to: {', '.join(unused[:5])}")
    return model if optimizer is None else (model, optimizer)


def load_meta(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """The facts that `save` was given as `meta`, without the model; an empty dict if it was given none.

    Parameters
    ----------
    path : str or path-like
        Ends in .npz or .safetensors.

    Raises
    ------
    ValueError
        If the file is not whole, or not from `save`.
    OSError
        If it cannot be opened.
    """
    with _reading("load_meta", path, {}) as (reader, description):
        return reader.facts(description.get("meta"))


@contextlib.contextmanager
def _reading(owner: str, path: str | os.PathLike[str], custom: Mapping[str, Any]) -> Iterator[tuple[Reader, dict[str, Any]]]:
    """A reader of the file and what there is to read; whatever goes wrong with it is a ValueError that names the file."""
    read = by_suffix(owner, path, READERS)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        folder, name = os.path.split(os.path.abspath(path))
        missing = (
            f"file {os.fspath(name)!r} in {folder!r}" if os.path.isdir(folder) else f"folder {folder!r} to read {name!r} from"
        )
        raise FileNotFoundError(f"{owner}: there is no {missing}; pass the path that the model was saved to") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{owner}: {os.fspath(path)!r} cannot be read: it is a folder, pipe or device, expected a file")
    try:
        text, arrays = read(path)
        description = parse_json(text)
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise ValueError(f"it is not a {FORMAT}")
        if description.get("version") != VERSION:
            raise ValueError(f"it has format version {description.get('version')!r}, and this library reads {VERSION}")
        yield Reader(arrays, description.get("fortran"), custom, status.st_size), description
    except OSError:
        raise
    except Exception as error:
        # Whatever a constructor says to arguments from a damaged file, it is the file that is wrong.
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error) or type(error).__name__
        raise ValueError(f"{owner}: {os.fspath(path)!r} cannot be read: {printable(reason)}") from error


def by_suffix(owner: str, path: str | os.PathLike[str], choices: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """What reads or writes a file of that name, refused if nothing does."""
    name = path_of(owner, path, "'model.npz' as first argument")
    suffix = os.path.splitext(name)[1]
    if suffix not in choices:
        advice = "" if suffix else f"; write {name + '.npz'!r}"
        if not name or os.path.isdir(name):
            advice = f"{', a folder' if name else ''}; write {os.path.join(name, 'model.npz')!r}, say"
        elif choices is READERS:
            advice += (
                f"; read a file of another library with that library {ADVICE}; what torch.save has written also with "
                "pancake.torch.load_torch(model, torch.load(path, weights_only=True))"
            )
        raise ValueError(f"{owner}: expected a path that ends in .npz or .safetensors, got {name!r}{advice}")
    return choices[suffix]
