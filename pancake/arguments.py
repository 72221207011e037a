"""What callers pass in: made into what is computed with, or refused by name, with what was expected and what came."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from pancake.memory import Array

if TYPE_CHECKING:  # here and elsewhere, since it would be a twentieth of the import of pancake
    from numpy.typing import DTypeLike, NDArray

# in quotes, as numpy.random takes longer to load than all of pancake
Rng: TypeAlias = "int | np.random.Generator | None"

P = ParamSpec("P")
R = TypeVar("R")


TEXTS = "`.astype(float)` makes numbers of digits, `pandas.get_dummies(x)` columns of 0 and 1 of a column of names"


# --- calls ---


def tells_how_to_call(function: Callable[P, R]) -> Callable[P, R]:
    """A function that shows the whole call where an argument is missing, unknown, or given by position though it goes by name."""
    code: Any = getattr(function, "__code__")  # noqa: B009  # of which a Callable need not have one
    defaults: tuple[object, ...] = getattr(function, "__defaults__", None) or ()
    by_position = code.co_varnames[: code.co_argcount]
    needed = by_position[: code.co_argcount - len(defaults)]
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    any_name = code.co_flags & inspect.CO_VARKEYWORDS
    name = name_of(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for key in () if any_name else kwargs:
            if key not in by_position and key not in by_name:
                raise TypeError(_refusal(name, key, (*by_position, *by_name)))
        _refuse_fewer(name, needed, by_position, args, kwargs)
        _refuse_more(name, len(args), by_position, by_name)
        return function(*args, **kwargs)

    return call


def _refuse_fewer(
    name: str, needed: Sequence[str], shown: Sequence[str], args: Sequence[object], kwargs: Mapping[str, object]
) -> None:
    """Refuse a call that lacks arguments, and show how it goes."""
    missing = [argument for argument in needed[len(args) :] if argument not in kwargs]
    if missing:
        given = [type(value).__name__ for value in args] + [f"{key}={type(value).__name__}" for key, value in kwargs.items()]
        raise TypeError(
            f"{name}: expected {name}({', '.join(shown)}), got {name}({', '.join(given)}), without {', '.join(missing)}"
        )


def _refuse_more(owner: str, count: int, by_position: Sequence[str], by_name: Sequence[str]) -> None:
    """Refuse more arguments by position than go by position."""
    if count > len(by_position):
        named = f"{', '.join(by_position)}, " if by_position else ""
        hint = f"; write the names of the others, as in {by_name[0]}=..." if by_name else ""
        raise TypeError(f"{owner}: expected at most {len(by_position)} arguments by position, {named}got {count}{hint}")


def refuse_foreign_arguments(cls: type, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Refuse arguments that the constructor of a class does not take, with what is meant, if that can be told.

    Refused is also a call that lacks some, since Python would name the class that wrote the constructor: `Kernels` for `Conv2d`.
    One without any is not: copies and pickles begin so.
    """
    init: Any = cls.__init__  # type: ignore[misc]
    code = getattr(init, "__code__", None)  # a signature would take longer than most constructors
    if code is None:
        return
    taken = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    if not code.co_flags & inspect.CO_VARARGS:
        _refuse_more(cls.__name__, len(args), taken[: code.co_argcount - 1], taken[code.co_argcount - 1 :])
    for name in () if code.co_flags & inspect.CO_VARKEYWORDS else kwargs:
        if name not in taken:
            raise TypeError(_refusal(cls.__name__, name, taken))
    if args or kwargs:
        needed = taken[: code.co_argcount - 1 - len(init.__defaults__ or ())]
        _refuse_fewer(cls.__name__, needed, needed, args, kwargs)


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments, as far as it tells."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except ValueError:  # as of functions written in C
        return True
    except TypeError:
        return False
    return True


def refuse_slots(cls: type) -> None:
    """Refuse a class whose attributes are not all in `__dict__`, where copies, files and the search for parameters look."""
    slots = vars(cls).get("__slots__")
    if not slots:
        return
    names = [name for name in ([slots] if isinstance(slots, str) else slots) if name not in ("__dict__", "__weakref__")]
    if names:
        raise TypeError(
            f"{cls.__name__}: expected no __slots__, got {', '.join(names)}, which copies, files and the search for parameters "
            "would not find; leave __slots__ (of a dataclass, slots=True) out"
        )


def refuse_unknown_arguments(function: Callable[..., object], unknown: Mapping[str, object]) -> None:
    """Refuse what a function has caught as `**unknown`, with what is meant, if that can be told."""
    for name in unknown:
        *taken, _ = inspect.signature(function).parameters
        raise TypeError(_refusal(function.__name__, name, taken))


def _refusal(owner: str, name: str, taken: Sequence[str]) -> str:
    from pancake.foreign_names import refusal

    return refusal(owner, name, taken)


# --- numbers ---


def generator(owner: object, rng: Any) -> np.random.Generator:
    """The generator that is given, or a new one from a seed; None makes another one each time."""
    try:
        if not isinstance(rng, bool):  # Dropout(0.5, True) is torch's `inplace`, and not the seed 1
            return np.random.default_rng(rng)
    except (TypeError, ValueError):
        pass
    raise TypeError(
        f"{name_of(owner)}: expected rng to be None, a whole number of at least 0, or a numpy.random.Generator, got {rng!r}"
    )


def size(owner: object, least: int = 1, /, **named: object) -> int:
    """The one keyword argument given, as an int, refused if it is not a whole number of at least `least`."""
    ((name, value),) = named.items()
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name_of(owner)}: expected {name} to be a whole number, got {brief(value)}")
    if value < least:
        raise ValueError(f"{name_of(owner)}: expected {name} of at least {least}, got {value}")
    return int(value)


def length(owner: object, **named: object) -> int:
    """`size` of an axis, which is refused also if no array can have so long a one."""
    value = size(owner, **named)
    if value > sys.maxsize:
        raise ValueError(f"{name_of(owner)}: expected {next(iter(named))} of at most {sys.maxsize}, got {value}")
    return value


def number(owner: object, name: str, value: Any, below: float = math.inf) -> float:
    """`value` as a float, refused if it is not a number from 0 to less than `below`."""
    result = _float(owner, name, value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value)
    if not 0 <= result < below:
        interval = "at least 0 and finite" if below == math.inf else f"from 0 to less than {below}"
        raise ValueError(f"{name_of(owner)}: expected {name} {interval}, got {value}")
    return result


def share(owner: object, name: str, value: Any) -> float:
    """`value` as a float, refused if it is not a number from 0 to 1."""
    result = number(owner, name, value)
    if result > 1:
        raise ValueError(f"{name_of(owner)}: expected {name} from 0 to 1, got {value}")
    return result


def real(owner: object, name: str, value: Any, hint: str = "") -> float:
    """`value` as a float, refused if it is not a finite real number."""
    result = _float(owner, name, value)
    if not math.isfinite(result):
        raise ValueError(f"{name_of(owner)}: expected {name} to be finite, got {value}" + (f"; {hint}" if hint else ""))
    return result


def _float(owner: object, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name_of(owner)}: expected {name} to be a number, got {brief(value)}")
    try:
        return float(value)
    except OverflowError:  # of 10**400, say
        return math.inf


def whole(owner: object, name: str, value: Any) -> int:
    """`value` as an int, refused if it is not a whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name_of(owner)}: expected {name} to be a whole number, got {value!r}") from None


def flag(owner: object, name: str, value: Any) -> bool:
    """`value` as a bool, refused if it is neither that nor 0 or 1: every text would be true, "False" too."""
    if not isinstance(value, (bool, np.bool_, int, np.integer)) or value not in (0, 1):
        raise TypeError(f"{name_of(owner)}: expected {name} to be True or False, got {brief(value)}")
    return bool(value)


def choice(owner: object, name: str, value: Any, words: Iterable[str]) -> str:
    """`value`, refused if it is not one of the words."""
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name_of(owner)}: expected {name} to be one of {', '.join(words)}, got {brief(value)}")
    return value


def several(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value is a sequence or the like: neither a text nor a dict nor a number, be it an array without axes."""
    single = isinstance(value, (str, Mapping)) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return isinstance(value, Iterable) and not single


def axes_argument(owner: object, name: str, value: Any) -> tuple[int, ...]:
    """`value` as a tuple of ints, refused if it is not a sequence of whole numbers."""
    if not several(value):
        raise TypeError(f"{name_of(owner)}: expected {name} to be a sequence of whole numbers, got {value!r}")
    return tuple(whole(owner, name, item) for item in value)


def axes_of(owner: object, axis: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The axes counted from the front, refused if an array of `ndim` axes does not have them."""
    try:
        return tuple(normalize_axis_tuple(axis, ndim))
    except (ValueError, OverflowError):
        raise ValueError(f"{owner!r}: expected different axes of an array of {ndim} axes, got {axis}") from None


def check_axes(owner: object, shape: tuple[int, ...], most: int) -> None:
    """Refuse an input of so many axes that its features may be on another than the last."""
    if len(shape) > most:
        raise ValueError(
            f"{owner!r}: expected at most {most} axes, got {shape}; torch has features on the second axis: put it "
            "between two Transpose that bring them to the last axis and back, and set its max_ndim to None"
        )


def path_of(owner: str, path: Any, such_as: str) -> str:
    """`path` as text, refused if it is neither that nor path-like: a number would be a file that is open somewhere."""
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"{owner}: expected a path such as {such_as}, got {brief(path)}")
    return name


# --- arrays ---


def as_array(owner: object, value: Any, what: str) -> NDArray[Any]:
    """`value` as an array of whatever dtype.

    Raises
    ------
    TypeError, ValueError
        If its rows have different lengths, or if some of it is masked; the message names `owner` and `what` it is.
    """
    if type(value).__name__ == "MaskedArray":
        raise TypeError(
            f"{_called(owner)}: expected {what} without a mask, since what is behind a mask is no data; pass {what}.filled(0), "
            "say, or only the rows that are whole"
        )
    try:
        return plain_array(value)
    except ValueError:
        raise ValueError(f"{_called(owner)}: expected {what} to be an array, got rows of different lengths") from None


def plain_array(value: Any) -> NDArray[Any]:
    """`value` as an array; of a data frame whose columns are all numbers, one of floats, with nan where one is missing.

    pandas makes an array of objects of columns of several kinds, and of those of its nullable dtypes.
    """
    array = np.asarray(value)
    if array.dtype.kind == "O" and hasattr(value, "dtypes"):
        dtypes = value.dtypes if np.ndim(value) > 1 else [value.dtypes]
        if all(getattr(dtype, "kind", "O") in "biuf" for dtype in dtypes):
            return np.asarray(value.to_numpy(dtype=np.float64, na_value=np.nan))
    return array


def aligned(array: Any, ndim: int) -> Any:
    """`array` with axes of length 1 appended, so that it broadcasts to one of `ndim` axes whose leading axes it has."""
    return array.reshape(array.shape + (1,) * (ndim - array.ndim))


def is_sparse(value: Any) -> bool:
    """Whether it is a sparse matrix or array of SciPy, which need not be there."""
    return not isinstance(value, np.ndarray) and hasattr(value, "tocsr") and hasattr(value, "nnz")


def _called(owner: object) -> str:
    """What a message begins with; made when there is one, since a repr takes longer than a loss of a small batch."""
    return owner if isinstance(owner, str) else getattr(owner, "__name__", None) or repr(owner)


def numeric(owner: object, value: Any, what: str) -> Array:
    """`value` as a floating-point array; integers and booleans become float64.

    Raises
    ------
    TypeError, ValueError
        If it is not an array of real numbers; the message names `owner` and `what` it is.
    """
    array = as_array(owner, value, what)
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.kind == "f":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    raise TypeError(f"{_called(owner)}: expected {what} to be real numbers, got {_describe(value, array)}")


def _describe(value: Any, array: Array) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of dtype {array.dtype}"
    texts = text_columns(value)
    if texts:
        return f"a {type(value).__name__} with text in {', '.join(map(repr, texts))}; {TEXTS}"
    hint = "; is a `return` missing where it was computed?" if value is None else ""
    return f"{type(value).__name__} {value!r}"[:80] + hint


def text_columns(value: Any) -> list[Any]:
    """The names of the columns of a data frame that hold text."""
    return [name for name in getattr(value, "columns", ()) if all(isinstance(entry, str) for entry in value[name])]


def floating_dtype(owner: object, dtype: DTypeLike) -> np.dtype[Any]:
    """`dtype` as a numpy.dtype, refused if it is not a floating one."""
    try:
        result = np.dtype(dtype)
    except TypeError:
        result = None
    if result is None or result.kind != "f":
        raise TypeError(f"{name_of(owner)}: expected a floating dtype such as np.float32, got {dtype!r}")
    return np.dtype(result.type)  # in the byte order of this machine


def matching(owner: object, own: Mapping[str, Array], state: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of `state` by the names and in the dtypes of `own`, refused if not all are there, of the same shapes, and real.

    Raises
    ------
    ValueError
        The message names `owner` and lists all that does not fit.
    """
    name = f"{type(owner).__name__}.load_state_dict"
    if not isinstance(state, Mapping):
        raise TypeError(f"{name}: expected a dict of arrays, got {type(state).__name__}")
    faults = [f"missing {key}" for key in own if key not in state]
    faults += [f"unexpected {key}" for key in state if key not in own]
    new = {}
    for key in own:
        if key in state:
            try:
                array = as_array(owner, state[key], key)
            except ValueError:
                faults.append(f"{key} has rows of different lengths")
                continue
            except TypeError:
                faults.append(f"{key} has a mask, and what is behind it is no data")
                continue
            if array.shape != own[key].shape:
                faults.append(f"{key} has shape {array.shape}, expected {own[key].shape}")
            elif array.dtype.kind not in "biuf":
                faults.append(f"{key} has dtype {array.dtype}, expected real numbers")
            else:
                whole = own[key].dtype.kind in "iu"
                with np.errstate(invalid="ignore" if whole else None, over="ignore"):  # of nan, which the comparison finds
                    new[key] = array.astype(own[key].dtype)
                if not whole and np.isinf(new[key]).any() and not np.array_equal(np.isinf(new[key]), np.isinf(array)):
                    faults.append(f"{key} has numbers in it that are too large for {own[key].dtype}")
                if whole and not np.array_equal(new[key], array):
                    faults.append(f"{key} has {array.flat[0]} in it, expected whole numbers")
    if faults:
        raise ValueError(f"{name} changed nothing: " + "; ".join(faults))
    return new


def sequence_lengths(owner: object, lengths: Any, batch: int, time: int) -> NDArray[np.intp]:
    """`lengths` as an array (B,), refused if they are not whole numbers from 1 to T, one for each sequence of a batch."""
    array = as_array(owner, lengths, "lengths")
    if array.dtype.kind not in "iu":
        hint = "; pass lengths.astype(int)" if array.dtype.kind in "fO" else ""
        raise TypeError(f"{owner!r}: expected lengths to be whole numbers, got {array.dtype}{hint}")
    if array.shape != (batch,):
        raise ValueError(f"{owner!r}: expected one length for each of the {batch} sequences, got an array {array.shape}")
    if array.min() < 1 or array.max() > time:
        raise ValueError(f"{owner!r}: expected lengths from 1 to {time}, got values from {array.min()} to {array.max()}")
    return array.astype(np.intp)


def without_padding(x: Any, lengths: Any) -> Any:
    """Sequences x (B, T, ...) with 0 for what is not finite past their ends: it counts for nothing, but 0 times nan is nan.

    x as it is where these are no lengths of it, which is up to whatever takes them.
    """
    try:
        array, lengths = np.asarray(x) if isinstance(x, list) else x, np.asarray(lengths)
    except ValueError:  # of rows of different lengths
        return x
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim < 2 or (finite := np.isfinite(array)).all():
        return x
    if lengths.shape != array.shape[:1] or lengths.dtype.kind not in "iu":
        return x
    inside = np.arange(array.shape[1]) < lengths[:, np.newaxis]
    return np.where(finite | aligned(inside, array.ndim), array, array.dtype.type(0))


# --- inputs of several parts ---


def each_part(change: Callable[[Any], Any], x: Any) -> Any:
    """`change(x)`; for a tuple, which is an input of several parts, the tuple of what becomes of each, and so on inside."""
    return tuple(each_part(change, part) for part in x) if isinstance(x, tuple) else change(x)


def parts_of(x: Any) -> list[Any]:
    """The arrays that an input is made of: the input itself, if it is no tuple."""
    return [array for part in x for array in parts_of(part)] if isinstance(x, tuple) else [x]


# --- in messages and reprs ---


def brief(value: object) -> str:
    """What came, in a message: its repr, or of what is long the kind and the shape."""
    text = " ".join(repr(value).split())
    if len(text) <= 100:
        return text
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} of shape {shape}" if isinstance(shape, tuple) else f"{text[:100]}..."


def name_of(owner: object) -> str:
    """How messages call a function, a class, or an object that is half made and has no repr yet."""
    return getattr(owner, "__name__", None) or type(owner).__name__


def literal(array: Array) -> str:
    """An array in a repr: a list that evaluates back, or only the shape if it is long."""
    return repr(array.tolist()) if array.size <= 20 else f"<array of shape {array.shape}>"
