import pytest

from spatial_reduction.networks.stride import round_up


@pytest.mark.parametrize(("side", "unit", "expected"), [(1, 4, 4), (4, 4, 4), (5, 4, 8), (7, 1, 7), (0, 8, 0)])
def test_a_side_is_rounded_up_to_a_multiple(side, unit, expected):
    assert round_up(side, unit) == expected
