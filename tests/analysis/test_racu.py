import numpy as np
import pytest

from spatial_reduction.analysis.racu import area_weights, find_areas, relative_area

REMOVED = [10.0, 30.0, 50.0]
INTACT = [70.0, 72.0]
RANDOM = [[60.0, 62.0], [51.0, 49.0], [40.0, 40.0]]


def racu(scores, random=RANDOM, intact=INTACT, margin=0.5):
    return relative_area(scores, random, intact, REMOVED, margin)


def test_the_relative_area_by_hand():
    # Removed 0, 10, 30, 50. First seed, arm minus random: 0, 5, -1, 10: 10 * 2.5 + 20 * 2 + 20 * 4.5 = 155.
    # Random minus its last: 30, 20, 11, 0: 10 * 25 + 20 * 15.5 + 20 * 5.5 = 670. Second seed: 0, 5, 1, 10 and
    # 32, 22, 9, 0.
    arm = [[65.0, 67.0], [50.0, 50.0], [50.0, 50.0]]
    assert racu(arm) == pytest.approx(((25 + 40 + 90) / 670 + (25 + 60 + 110) / (270 + 310 + 90)) / 2)


def test_a_ratio_is_clipped_seed_by_seed_before_the_mean():
    above = [[200.0, 62.0], [200.0, 49.0], [200.0, 40.0]]  # the first seed's ratio is far above 1, the second's is 0
    assert racu(above) == pytest.approx(0.5)
    assert racu((np.array(above) * 0).tolist()) == pytest.approx(-1)


def test_the_double_of_random_is_at_zero():
    assert racu(RANDOM) == 0


def test_where_random_hardly_falls_or_nothing_intact_was_measured_there_is_no_relative_area():
    flat = [[70.0, 72.0]] * 3
    assert np.isnan(racu(RANDOM, random=flat))
    assert np.isnan(racu(RANDOM, margin=20.0))  # random's mean above its last: 13.4 and 13.4 points
    assert np.isnan(racu(RANDOM, intact=None))
    one = [[60.0, 70.0], [51.0, 70.0], [40.0, 70.0]]  # with the second seed random hardly falls
    assert np.isnan(racu(RANDOM, random=one))


def test_weights_make_the_mean_height_of_straight_lines():
    heights = np.array([3.0, 1.0, 5.0])
    assert area_weights(REMOVED) @ heights == pytest.approx(np.trapezoid(heights, REMOVED) / 40)


def test_an_arm_shares_the_thresholds_at_which_random_lacks_as_much():
    settings = [(arm, at) for arm in ("random", "arm", "other", "short") for at in ("90", "70", "50")]
    removed = {setting: 100 - float(setting[1]) for setting in settings}
    removed |= {("other", "70"): 40.0}  # another schedule
    del removed["short", "70"], removed["short", "50"]
    areas = find_areas([*settings, ("base", "100")], removed)
    assert areas == {"arm": ["90", "70", "50"], "other": ["90", "50"]}
