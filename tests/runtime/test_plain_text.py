import pytest

from spatial_reduction.runtime.plain_text import as_cell, as_markdown, printable


def test_control_characters_and_turned_directions_are_shown_as_escapes():
    assert printable("cat\x1b[2J\n\u202egpj.exe") == r"cat\x1b[2J\n\u202egpj.exe"
    assert printable("Maine Coon, größer") == "Maine Coon, größer"


def test_markdown_of_a_title_shows_it_as_it_is():
    assert as_markdown("<b>*a* & b [c](d) &amp;") == r"\<b\>\*a\* & b \[c\](d) \&amp;"


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "@SUM(A1)", "-x"])
def test_a_cell_that_a_spreadsheet_would_compute_is_text(text):
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.5", "+3", "pet", "1e-5"])
def test_numbers_and_names_stay(text):
    assert as_cell(text) == text
