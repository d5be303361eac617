import errno
import os
import signal
import sys

import pytest

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import STOPPING, logged, progress, say
from spatial_reduction.runtime.plain_text import printable


def run_job(log, error, cause=None):
    with logged(log):
        say("reading")
        raise error from cause


def write_and_be_stopped(folder, number):
    with logged(folder / "job.log"), written_whole(folder / "a.csv") as partial:
        partial.write_text("half")
        try:
            os.kill(os.getpid(), number)
        except Exception:  # as in a job that skips broken pictures
            pytest.fail("swallowed")


def test_what_a_job_says_stands_in_the_terminal_and_in_the_log(tmp_path, capsys):
    with logged(tmp_path / "job.log"):
        say("12 images")
        say("done")
    assert (tmp_path / "job.log").read_text() == "12 images\ndone\n"
    assert capsys.readouterr().err == "12 images\ndone\n"


def test_an_input_error_is_exactly_one_line_and_exit_status_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as end, logged(tmp_path / "job.log"):
        raise InputError("a.png: cannot be decoded")
    assert end.value.code == 1
    assert (tmp_path / "job.log").read_text() == "error: a.png: cannot be decoded\n"
    assert capsys.readouterr().err == "error: a.png: cannot be decoded\n"


def test_an_input_error_with_a_cause_shows_no_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_job(tmp_path / "job.log", InputError("a.png: missing"), cause=OSError("the cause"))
    assert (tmp_path / "job.log").read_text() == "reading\nerror: a.png: missing\n"
    assert capsys.readouterr().err == "reading\nerror: a.png: missing\n"


def test_a_full_disk_is_one_line_also_where_the_log_has_no_room(tmp_path, capsys):
    with pytest.raises(SystemExit) as end, logged("/dev/full"):
        raise OSError(errno.ENOSPC, "No space", "a.png")
    assert end.value.code == 1
    line = "error: a.png: No space left on device; remove the cause and run again: the run continues where it stopped\n"
    assert capsys.readouterr().err == line


def test_any_other_exception_leaves_its_traceback_and_exit_status_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as end, logged(tmp_path / "job.log"):
        raise ZeroDivisionError("of the job")
    assert end.value.code == 1
    log = (tmp_path / "job.log").read_text()
    assert log.startswith("Traceback (most recent call last):\n")
    assert log.endswith("ZeroDivisionError: of the job\n")
    assert "test_log.py" in log
    assert capsys.readouterr().err == log


@pytest.mark.parametrize("error", [None, InputError("wrong"), ZeroDivisionError("wrong"), KeyboardInterrupt()])
def test_standard_error_is_restored(tmp_path, capsys, error):
    before = sys.stderr
    try:
        with logged(tmp_path / "job.log"):
            assert sys.stderr is not before
            if error:
                raise error
    except (SystemExit, KeyboardInterrupt):
        pass
    assert sys.stderr is before
    say("after the job")
    assert "after the job" not in (tmp_path / "job.log").read_text()


def test_an_interrupt_ends_the_job_as_an_interrupt(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), logged(tmp_path / "job.log"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)])
def test_a_job_that_is_asked_to_stop_leaves_nothing_half_written_and_fails(tmp_path, capsys, number, status):
    handlers = [signal.getsignal(each) for each in STOPPING]
    with pytest.raises(SystemExit) as end:
        write_and_be_stopped(tmp_path, number)
    assert end.value.code == status
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]
    assert (tmp_path / "job.log").read_text().startswith(f"stopped by {signal.Signals(number).name} (")
    assert [signal.getsignal(each) for each in STOPPING] == handlers


def test_a_log_begins_anew_with_every_job(tmp_path, capsys):
    for message in ("first", "second"):
        with logged(tmp_path / "job.log"):
            say(message)
    assert (tmp_path / "job.log").read_text() == "second\n"


def test_every_line_is_in_the_log_at_once(tmp_path, capsys):
    with logged(tmp_path / "job.log"):
        say("so far")
        assert (tmp_path / "job.log").read_text() == "so far\n"


def test_short_work_says_nothing_of_its_progress(tmp_path, capsys):
    with logged(tmp_path / "job.log"):
        assert list(progress(range(3), 3, "preparing", "images")) == [0, 1, 2]
    assert (tmp_path / "job.log").read_text().strip() == ""


def test_a_terminal_obeys_nothing_of_what_is_said(tmp_path, capsys):
    with logged(tmp_path / "job.log"):
        say("left out: \x1b[2Ja\x07.png\n  \u202egnp.b \udce9 päw猫")
    expected = "left out: \\x1b[2Ja\\x07.png\n  \\u202egnp.b \\udce9 päw猫\n"
    assert (tmp_path / "job.log").read_text() == capsys.readouterr().err == expected
    assert printable("a\nb\tc") == "a\\nb\\tc"


def test_progress_counts_on_from_what_an_earlier_run_did():
    bar = progress(range(3, 6), 5, "model", "epochs", done=2)
    assert bar.n == 2
    assert list(bar) == [3, 4, 5]
    assert (bar.n, bar.total) == (5, 5)
