import numpy as np
import pytest
from scipy import stats

from spatial_reduction.analysis.looks import look_levels, spent_level


def test_the_whole_level_is_spent_at_the_end_and_little_before():
    assert spent_level(1, 0.05) == pytest.approx(0.05)
    assert spent_level(0.2, 0.05) < 1e-4
    assert spent_level(0.5, 0.05) == pytest.approx(0.00305, abs=5e-6)


def test_levels_of_five_equal_looks_are_the_published_bounds():
    """The bounds for this spending function are tabled: 4.877, 3.357, 2.680, 2.290, 2.031 (two-sided .05)."""
    bounds = stats.norm.isf(np.array(look_levels([1, 2, 3, 4, 5])) / 2)
    assert bounds == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=2e-3)


def test_one_look_is_the_plain_test():
    assert look_levels([7], 0.05) == [pytest.approx(0.05)]
    assert look_levels([7], 0.01) == [pytest.approx(0.01)]


@pytest.mark.parametrize("seeds", [[5, 8, 12, 16, 20], [3, 10], [5, 6, 7]])
def test_all_looks_together_claim_as_often_as_the_level_allows(seeds):
    rng = np.random.default_rng(0)
    runs = 200_000
    sums = rng.standard_normal((runs, seeds[-1]), dtype=np.float32).cumsum(axis=1)
    levels = look_levels(seeds)
    claimed = np.zeros(runs, dtype=bool)
    for count, level in zip(seeds, levels, strict=True):
        claimed |= 2 * stats.norm.sf(np.abs(sums[:, count - 1]) / np.sqrt(count)) < level
    assert claimed.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))
    assert levels == sorted(levels)


def test_looks_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="do not rise"):
        look_levels([5, 5])
