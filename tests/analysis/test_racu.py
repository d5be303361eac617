import numpy as np
import pytest

from spatial_reduction.analysis.racu import measure_relative_areas

RANDOM = {("random", "90"): [60.0, 62.0], ("random", "70"): [51.0, 49.0], ("random", "50"): [40.0, 40.0]}


def test_the_relative_area_by_hand():
    arm = {("arm", "50"): [50.0, 50.0], ("arm", "90"): [65.0, 67.0], ("arm", "70"): [50.0, 50.0]}
    row = measure_relative_areas(RANDOM | arm, margin=0.5)[0]
    # Removed 10, 30, 50. Arm minus random: 5, 0, 10; area 20 * 2.5 + 20 * 5. Random minus its last: 21, 10, 0.
    assert (row["arm"], row["n"], row["thresholds"]) == ("arm", 2, "90 70 50")
    assert row["area"] == pytest.approx((50 + 100) / 40)
    assert row["racu"] == pytest.approx((50 + 100) / (20 * 15.5 + 20 * 5))
    assert row["ci_low"] < row["area"] < row["ci_high"]


def test_an_arm_worse_than_random_is_below_zero_and_its_double_at_zero():
    worse = {("arm", at): [value - 1 for value in values] for (_, at), values in RANDOM.items()}
    double = {("double", at): values for (_, at), values in RANDOM.items()}
    rows = {row["arm"]: row for row in measure_relative_areas(RANDOM | worse | double, margin=0.5)}
    assert rows["arm"]["racu"] < 0
    assert rows["double"]["racu"] == rows["double"]["area"] == 0


def test_without_random_or_with_one_threshold_there_is_no_row():
    assert measure_relative_areas({("arm", "90"): [1.0], ("arm", "70"): [2.0]}, margin=0.5) == []
    assert measure_relative_areas({("random", "90"): [1.0], ("arm", "90"): [1.0], ("arm", "70"): [2.0]}, 0.5) == []


def test_where_random_loses_nothing_there_is_no_relative_area():
    flat = {("random", "90"): [50.0], ("random", "70"): [50.0], ("arm", "90"): [60.0], ("arm", "70"): [60.0]}
    row = measure_relative_areas(flat, margin=0.5)[0]
    assert row["area"] == pytest.approx(10)
    assert np.isnan([row["racu"], row["ci_low"]]).all()
