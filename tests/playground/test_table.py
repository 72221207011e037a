"""The user's own CSV file: what is read of it, and what is refused, with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pancake.playground.table import read_table


@pytest.fixture
def table(tmp_path: Path):
    def read(text: str | bytes):
        path = tmp_path / "my data.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(path)

    return read


def test_words_are_classes(table):
    read = table("length,mass,animal\n1,2.5,dog\n-3e1, 4 ,cat\n\n5,6,dog\n")
    assert (read.features, read.label, read.classes, read.words) == (["length", "mass"], "animal", ["cat", "dog"], True)
    np.testing.assert_array_equal(read.X, [[1, 2.5], [-30, 4], [5, 6]])
    np.testing.assert_array_equal(read.y, [1, 0, 1])


def test_few_whole_numbers_are_classes(table):
    read = table("a,b,c\n1,1,10\n1,1,-1\n1,1,10.0\n1,1,2\n1,2,2\n1,2,-1\n")
    assert (read.classes, read.words) == (["-1", "2", "10"], False)
    np.testing.assert_array_equal(read.y, [2, 0, 2, 1, 1, 0])


@pytest.mark.parametrize("labels", [[0.5, 1.5, 0.5, 1.5], list(range(21)) * 3, [1, 2, 3, 4, 5]])
def test_other_numbers_are_a_quantity(table, labels):
    read = table("a,b\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    assert read.classes is None
    assert read.y.dtype == np.float64
    np.testing.assert_array_equal(read.y, labels)


def test_a_byte_order_mark_quotes_and_columns_without_a_name(table):
    read = table(b'\xef\xbb\xbf"first, of all",,kind\r\n1,2,"a ""b"""\r\n1,2,c\r\n')
    assert (read.features, read.classes) == (["first, of all", "column 2"], ['a "b"', "c"])


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "header"),
        ("a;b;c\n1;2;3\n", 1, "parted by ';'"),
        ("a\n1\n2\n", 1, "at least two names"),
        ("1,2,3\n4,5,6\n", 1, "only numbers as names of the features, '1, 2'; the file needs a header line"),
        ("1,2.5,x\n2,3,y\n3,4,x\n4,5,y\n", 1, "the file needs a header line above its first row"),
        ("a,a,y\n1,2,x\n1,2,y\n", 1, "expected a name of its own for each column, got 'a' more than once"),
        ("y,a,y\n1,2,x\n1,2,y\n", 1, "got 'y' more than once"),
        ("a,b,c\n1,2,x\n1,2\n", 3, "expected 3 cells, as in the header, got 2"),
        ("a,b,c\n1,2,x\n1,2,y,4\n", 3, "got 4"),
        ("a,b,c\n1,2,x\n\n1,two,y\n", 4, "expected a finite number in the column 'b', got 'two'; only the label"),
        ("a,b,c\n1,,x\n1,2,y\n", 2, "'b', got an empty cell; leave rows with missing values out, or fill them beforehand"),
        ("a,b,c\n1,nan,x\n1,2,y\n", 2, "got 'nan'"),
        ("a,b,c\n1,1e999,x\n1,2,y\n", 2, "got '1e999'"),
        ("a,b,c\n1,2,x\n1e308,2,y\n", 3, "between -1e+150 and 1e+150 in the column 'a', got '1e308'"),
        ("a,b,c\n-8e307,2,x\n1,2,y\n", 2, "in the column 'a', got '-8e307'"),
        ("a,b,c\n1,2,0.5\n1,2,-1e200\n", 3, "between -1e+150 and 1e+150 as label, 'c', got '-1e200'"),
        ("a,b,c\n1,2,x\n1,2,\n", 3, "the label, 'c', is empty; leave rows with missing values out"),
        ("a,b,c\n1,2,0.5\n1,2,inf\n", 3, "expected a finite number as label, got 'inf'"),
        ("a,b,c\n1,2,x\n", 2, "at least two rows"),
        ("a,b,c\n1,2,x\n3,4,x\n", 3, "nothing to learn"),
        ("a,b,c\n1,2,0.5\n3,4,0.5\n", 3, "nothing to learn"),
        ("a,b\n" + "".join(f"{i},word{i}\n" for i in range(40)), 32, "at most 30 different words"),
        ("a,b\n" + "".join(f"{i},{'?' if i == 7 else i / 3}\n" for i in range(40)), 9, "expected a number as label"),
        (b"a,b\n1,x\n\xff,y\n", 1, "or below: expected text in UTF-8"),
        ('a,b\n1,x\n2,"y\n', 3, "a quote that is opened in this row is not closed"),
        ('a,b\n1,x\n2,"y\n3,x\n', 3, "a quote that is opened in this row is not closed"),
        ('a,b\n1,x\n2,"y\n' + "3,x\n" * 50_000, 3, "a quote that is opened in this row is not closed"),
        ('a,b\n1,"x\n2,"y"\n', 3, "expected a comma after the closing quote of a cell; is a quote not closed?"),
    ],
)
def test_what_cannot_be_read_is_refused_with_file_and_line(table, tmp_path, text, line, says):
    with pytest.raises(ValueError, match=r"expected|nothing|empty") as error:
        table(text)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'my data.csv'}, line {line}")
    assert says in message
    assert "\n" not in message
