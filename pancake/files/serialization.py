"""Models in files: architecture, weights, and all that a training needs to go on."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from pancake._version import __version__
from pancake.files.archives import MAX_TEXT, parse_json, read_npz, read_safetensors, write_npz, write_safetensors
from pancake.files.description import Writer
from pancake.files.reconstruction import Reader
from pancake.function import Function
from pancake.optimizers.checks import check_trains
from pancake.optimizers.optimizer import Optimizer

FORMAT = "pancake model"
VERSION = 1

READERS = {".npz": read_npz, ".safetensors": read_safetensors}
WRITERS = {".npz": write_npz, ".safetensors": write_safetensors}


def save(path: str | os.PathLike[str], model: Function, optimizer: Optimizer | None = None) -> None:
    """Write a model into one file, with the optimizer also all that its training needs to go on.

    The file holds the architecture, parameters, buffers, the state of generators (as of `Dropout`), and which arrays and
    generators are shared; with an optimizer its settings, steps and vectors, the history that `fit` keeps, and the generator
    that shuffles. So 10 epochs, `save`, `load` in a new process and 10 more are, bit for bit, 20 epochs. Arrays have the
    names of `state_dict`, and can be read without pancake, by `np.load` or the safetensors package. Nothing is pickled.

    It is written beside the old file, flushed to the disk, and renamed: whatever happens, one of the two is there, whole.

    Of a user's Function all attributes are saved, but not `_cache`. They may be numbers, strings, None, arrays, generators,
    Functions, and lists, tuples and dicts of those; functions are saved by name, for `custom` to provide.

    Parameters
    ----------
    path : str or path-like
        Ends in .npz or .safetensors.
    model : Function
    optimizer : Optimizer, optional

    Raises
    ------
    TypeError
        If there is something in the model that a file cannot hold, such as an open file or a lambda.
    ValueError
        If the path ends otherwise, or the optimizer is that of another model.
    """
    write = _by_suffix("save", path, WRITERS)
    if not isinstance(model, Function):
        raise TypeError(f"save: expected a Function as second argument, got {model!r}"[:200])
    if not (optimizer is None or isinstance(optimizer, Optimizer)):
        raise TypeError(f"save: expected an optimizer as third argument, got {optimizer!r}"[:200])
    if optimizer is not None:
        check_trains("save", optimizer, model)
    writer = Writer()
    try:
        description = {
            "format": FORMAT,
            "version": VERSION,
            "pancake": __version__,
            "model": writer.function(model, ""),
            "optimizer": None if optimizer is None else writer.optimizer(optimizer),
            "generators": writer.generators,
            "fortran": writer.fortran,
        }
        text = json.dumps(description, allow_nan=False)
    except RecursionError:
        raise ValueError("save: the model is nested too deeply, or a list or dict in it holds itself") from None
    if len(text) > MAX_TEXT:
        raise ValueError(f"save: the description of the model has {len(text)} characters, more than {MAX_TEXT}")
    with _replacing(os.path.realpath(path)) as file:
        write(file, text, writer.arrays)


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
        If the file is not whole, not from `save`, or inconsistent; the message says what is wrong. The memory used is a small
        multiple of the size of the file, whatever it claims.
    OSError
        If it cannot be opened.
    """
    read = _by_suffix("load", path, READERS)
    if not isinstance(custom, (Mapping, type(None))) or not all(callable(value) for value in (custom or {}).values()):
        raise TypeError(f"load: expected custom to be a dict of classes and functions by name, got {custom!r}")
    try:
        text, arrays = read(path)
        description = parse_json(text)
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise ValueError(f"it is not a {FORMAT}")
        if description.get("version") != VERSION:
            raise ValueError(f"it has format version {description.get('version')!r}, and this library reads {VERSION}")
        reader = Reader(arrays, description.get("fortran"), custom or {})
        reader.generators(description.get("generators"))
        model = reader.function(description.get("model"))
        optimizer = None if description.get("optimizer") is None else reader.optimizer(description["optimizer"])
        if unused := reader.unused():
            raise ValueError(f"it holds arrays that nothing refers to: {', '.join(unused[:5])}")
    except OSError:
        raise
    except Exception as error:
        # Whatever a constructor says to arguments from a damaged file, it is the file that is wrong.
        reason = str(error) or type(error).__name__
        raise ValueError(f"load: {os.fspath(path)!r} cannot be read: {reason}") from error
    return model if optimizer is None else (model, optimizer)


def _by_suffix(owner: str, path: str | os.PathLike[str], choices: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    suffix = os.path.splitext(os.fspath(path))[1]
    if suffix not in choices:
        raise ValueError(f"{owner}: expected a path that ends in .npz or .safetensors, got {os.fspath(path)!r}")
    return choices[suffix]


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """A new file that takes the place of the one at `path` when all has been written, and not before."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    if os.name == "posix":  # so that the new name, too, outlives a power cut
        with contextlib.suppress(OSError):  # not every file system can, and not every folder may be read
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
