import errno

import pytest

from spatial_reduction.runtime.errors import REFUSALS, InputError, refusal


def test_a_refusal_names_the_file_the_reason_and_the_way_out():
    said = refusal("results/a/mask.h5", OSError(errno.ENOSPC, "anything"))
    way_out = "remove the cause and run again: the run continues where it stopped"
    assert said == f"results/a/mask.h5: No space left on device; {way_out}"


def test_an_input_error_is_one_of_a_value_and_a_fault_of_the_disk_is_no_refusal():
    with pytest.raises(ValueError, match=r"dataset\.root"):
        raise InputError("dataset.root: no folder")
    assert errno.EIO not in REFUSALS  # damage is not answered with "make room"
