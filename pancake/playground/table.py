"""The user's own data: a CSV file with one header line, features first, the label last."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pancake.memory import Array

MOST_CLASSES = 30  # more colours than that nobody tells apart
LARGEST = 1e150  # in size: larger ones have no finite square, and so no standard deviation
MOST_NUMBERS = 20  # so many different whole numbers are classes; more are a quantity

MISSING = "leave rows with missing values out, or fill them beforehand"


@dataclass(frozen=True)
class Table:
    """Rows of features, and what is to be learnt of each.

    Attributes
    ----------
    path : str
        The file.
    X : ndarray (N, F)
    y : ndarray (N,)
        Classes 0, 1, ... as int64, or the numbers of a regression as float64.
    features : list of str
        The names of the F columns.
    label : str
        The name of the last column.
    classes : list of str, or None
        What the classes are called; None for a regression.
    words : bool
        Whether the classes are words in the file, or else numbers.
    """

    path: str
    X: Array
    y: NDArray[Any]
    features: list[str]
    label: str
    classes: list[str] | None
    words: bool


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file: a header line, then rows of numbers with the label last.

    Labels that are words are classes; so are whole numbers, if there are at most 20 different ones and each stands for two rows
    or more on average. Other numbers are a quantity, to be learnt by regression.

    Raises
    ------
    ValueError
        If it cannot be read; the message begins with the file and the line.
    OSError
        If it cannot be opened.
    """
    name = os.fspath(path)
    lines = _lines(name)
    first, header = next(lines, (1, []))
    columns = _columns(f"{name}, line {first}", header)
    numbers, rows, labels = [], [], []
    for line, row in lines:
        if len(row) != len(columns):
            raise ValueError(f"{name}, line {line}: expected {len(columns)} cells, as in the header, got {len(row)}")
        rows.append([_feature(f"{name}, line {line}", *cell) for cell in zip(columns, row[:-1], strict=False)])
        if not row[-1]:
            raise ValueError(f"{name}, line {line}: the label, {columns[-1]!r}, is empty; {MISSING}")
        labels.append(row[-1])
        numbers.append(line)
    if len(rows) < 2:
        raise ValueError(f"{name}, line {first + len(rows)}: expected at least two rows below the header, got {len(rows)}")
    y, classes, words = _targets(name, numbers, labels, columns[-1])
    return Table(name, np.array(rows), y, columns[:-1], columns[-1], classes, words)


def _lines(name: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, without spaces around cells, and the lines on which they end."""
    line = 0
    with open(name, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                line = reader.line_num
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield line, cells
        except UnicodeDecodeError:
            raise ValueError(f"{name}, line {line + 1} or below: expected text in UTF-8") from None
        except csv.Error as error:
            if "expected after" in str(error):  # the opening quote of a later cell has closed this one
                raise ValueError(
                    f"{name}, line {reader.line_num}: expected a comma after the closing quote of a cell; is a quote not closed?"
                ) from None
            raise ValueError(
                f"{name}, line {line + 1}: a quote that is opened in this row is not closed; expected '\"' at the end of its cell"
            ) from None


def _columns(where: str, header: Sequence[str]) -> list[str]:
    """The names of the columns; those that have none are called by their places."""
    if len(header) < 2:
        other = next((mark for mark in (";", "\t") if header and mark in header[0]), None)
        hint = f"; the cells seem to be parted by {other!r}" if other else ""
        raise ValueError(
            f"{where}: expected a header of at least two names parted by commas, got {', '.join(header)!r:.60}{hint}"
        )
    if all(_number(cell) is not None for cell in header[:-1]):
        names = ", ".join(header[:-1])
        raise ValueError(
            f"{where}: expected the names of the columns, got only numbers as names of the features, {names!r:.60}; "
            "the file needs a header line above its first row"
        )
    columns = [cell or f"column {place}" for place, cell in enumerate(header, start=1)]
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise ValueError(f"{where}: expected a name of its own for each column, got {twice!r:.40} more than once")
    return columns


def _feature(where: str, column: str, cell: str) -> float:
    if not cell:
        raise ValueError(f"{where}: expected a finite number in the column {column!r}, got an empty cell; {MISSING}")
    value = _number(cell)
    if value is None or not math.isfinite(value):
        hint = "" if value is not None else "; only the label, in the last column, may be a word"
        raise ValueError(f"{where}: expected a finite number in the column {column!r}, got {cell!r:.40}{hint}")
    if abs(value) > LARGEST:
        raise ValueError(
            f"{where}: expected a number between -{LARGEST:g} and {LARGEST:g} in the column {column!r}, got {cell!r:.40}"
        )
    return value


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _targets(name: str, lines: list[int], labels: list[str], column: str) -> tuple[NDArray[Any], list[str] | None, bool]:
    """What is to be learnt, the names of the classes, and whether they are words."""
    values = [_number(label) for label in labels]
    words = any(value is None for value in values)
    if not words:
        numbers = np.array(values, dtype=np.float64)
        if not np.isfinite(numbers).all():
            at = int(np.argmin(np.isfinite(numbers)))
            raise ValueError(f"{name}, line {lines[at]}: expected a finite number as label, got {labels[at]!r}")
        if (np.abs(numbers) > LARGEST).any():
            at = int(np.argmax(np.abs(numbers)))
            raise ValueError(
                f"{name}, line {lines[at]}: expected a number between -{LARGEST:g} and {LARGEST:g} as label, {column!r}, "
                f"got {labels[at]!r:.40}"
            )
        different = len(np.unique(numbers))
        is_quantity = bool((numbers % 1).any()) or different > min(MOST_NUMBERS, len(numbers) / 2)
        if is_quantity and different > 1:
            return numbers, None, False
    names, first, y = np.unique(labels if words else numbers, return_index=True, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{name}, line {lines[-1]}: every label, {column!r}, is {labels[0]!r}; there is nothing to learn")
    if len(names) > MOST_CLASSES:
        odd = values.index(None)
        if 2 * values.count(None) < len(values):
            raise ValueError(f"{name}, line {lines[odd]}: expected a number as label, as in most lines, got {labels[odd]!r:.40}")
        line = lines[np.sort(first)[MOST_CLASSES]]
        raise ValueError(f"{name}, line {line}: expected at most {MOST_CLASSES} different words as labels, got one more")
    return y.astype(np.int64), [str(value) if words else f"{value:.0f}" for value in names], words
