"""Names and titles that others chose, shown as text: what shows them obeys nothing in them."""

import re

MARKUP = re.compile(r"([\\`*_\[\]<>|~$]|&(?=#?\w+;))")
FORMULA = ("=", "+", "-", "@")  # at the start of a cell, a spreadsheet computes


def printable(text: str) -> str:
    r"""Return text with control characters, line breaks and what turns its direction as escapes, such as \x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def as_markdown(text: str) -> str:
    """Return Markdown that shows a line of text as it is."""
    return MARKUP.sub(r"\\\1", printable(text))


def as_cell(text: str) -> str:
    """Return a cell of a table that a spreadsheet shows as it is: an apostrophe goes before what it would compute."""
    line = printable(text)
    return f"'{line}" if line.startswith(FORMULA) and not _is_number(line) else line


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 file", "2 files"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
