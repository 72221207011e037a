"""NumPy docstrings, written to be read as plain text, as reStructuredText: what stands there is what the page shows.

Formulas have no markup in the docstrings. Here asterisks, bars and underscores are escaped, code between backticks becomes a
literal, and an indented block keeps its lines. Sections become headings, their entries definitions: `x : array_like (N,)` is as
good a line of reStructuredText as it is of a docstring.
"""

import re

ENTRIES = {"Parameters", "Attributes", "Raises", "Returns", "Warns", "See Also", "Yields"}  # each with an indented description
UNDERLINE = re.compile(r"-{4,}$")
ITEM = re.compile(r"(\s*)(- |\d+\. )")
WIDE = 76  # characters of a line of formulas that fits on a page


def process(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """What Sphinx calls with the lines of each docstring, to change them."""
    lines[:] = prepared(lines)


def prepared(lines: list[str]) -> list[str]:
    result: list[str] = []
    section = ""
    literal: int | None = None  # where the line began that ended in "::", while what it announces goes on
    while lines:
        if literal is not None and (not lines[0].strip() or indent(lines[0]) > literal):
            result.append(lines[0])
            lines = lines[1:]
        elif len(lines) > 1 and UNDERLINE.match(lines[1]):
            section = lines[0]
            result += ["", f".. rubric:: {section}", ""]
            lines = lines[2:]
        elif not lines[0].strip():
            result.append("")
            lines = lines[1:]
        else:
            end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
            result += block(lines[:end], section, result)
            literal = indent(lines[end - 1]) if lines[end - 1].endswith("::") else None
            lines = lines[end:]
    return result


def block(lines: list[str], section: str, before: list[str]) -> list[str]:
    """What stands between two empty lines."""
    depth = indent(lines[0])
    if lines[0].lstrip().startswith(">>>"):
        return lines
    if depth > (4 if section in ENTRIES else 0) and not ITEM.match(lines[0]) and not belongs_to_item(before, depth):
        return formulas(lines, depth)
    if section == "Shape":
        entries = re.split(r";\s+", " ".join(line.strip() for line in lines))
        return [f"| {escaped(entry)}" for entry in entries]
    if section in ENTRIES:
        return definitions(lines)
    return escaped("\n".join(lines)).split("\n")


def belongs_to_item(before: list[str], depth: int) -> bool:
    """Whether what begins at this depth goes on with an item of a list."""
    above = next((line for line in reversed(before) if line.strip() and indent(line) < depth), "")
    item = ITEM.match(above)
    return item is not None and len(item[0]) == depth


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def formulas(lines: list[str], depth: int) -> list[str]:
    """A block that keeps its lines, but for those with too many formulas side by side."""
    if max(map(len, lines)) > WIDE + depth:
        lines = [" " * indent(line) + part for line in lines for part in re.split(r"(?<=,)  +(?=\S)", line.strip())]
    outside = " " * (depth - 4)
    return [f"{outside}.. code-block:: none", f"{outside}    :class: formula", "", *lines]


def definitions(lines: list[str]) -> list[str]:
    """Names and types, each with what is said of it below."""
    result: list[str] = []
    text: list[str] = []
    for line in [*lines, ""]:
        if line.startswith(" "):
            text.append(line)
            continue
        result += escaped("\n".join(text)).split("\n") if text or not result else ["    .."]  # a definition must not be empty
        text = []
        name, colon, kind = line.partition(" : ")
        result.append(f"**{plain(name)}**{colon}{escaped(kind)}" if line else "")
    return result[1:]


def escaped(text: str) -> str:
    """The text with its markup made harmless, and its code as literals."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    return "".join(f"``{part.strip('`')}``" if part.startswith("`") else plain(part) for part in parts)


def plain(text: str) -> str:
    text = text.replace("\\", "\\\\")
    return re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", text)
