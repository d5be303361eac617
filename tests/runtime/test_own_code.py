import re

import pytest

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.own_code import load_file, load_object


def test_a_file_is_run_once_and_gives_what_it_names(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("calls = []\ncalls.append(1)\ndef score():\n    return 7\n")
    assert load_object(str(path), "score")() == 7
    assert load_file(str(path)).calls == [1]
    assert load_object(None, "math:sqrt")(9) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1 / 0\n", "mine.py: ZeroDivisionError: division by zero (PATH, line 1)"),
        ("import torchh\n", "mine.py: ModuleNotFoundError: No module named 'torchh' (PATH, line 1)"),
        ("score = 1\n", "mine.py: holds nothing named 'scores'"),
    ],
)
def test_a_mistake_in_it_is_one_line_with_the_place(tmp_path, text, said):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(said.replace("PATH", str(path)))):
        load_object(str(path), "scores")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}/absent.py: there is no such file of Python")):
        load_file(str(tmp_path / "absent.py"))
