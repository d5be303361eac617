import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from spatial_reduction.analysis.contrasts import decide_look
from spatial_reduction.analysis.looks import (
    claims_where_nothing_is,
    level_of,
    look_levels,
    read_earlier_looks,
    remember_comparison,
    spent_level,
)
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5


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


@pytest.mark.parametrize(
    ("looks", "published"), [(1, 0.05), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193)]
)
def test_tests_at_the_plain_level_claim_as_often_as_is_published(looks, published):
    """Armitage, McPherson and Rowe 1969, table 2: looks at equal steps, .05 two-sided each time."""
    assert claims_where_nothing_is(range(1, looks + 1)) == pytest.approx(published, abs=6e-4)
    assert claims_where_nothing_is([4 * look for look in range(1, looks + 1)]) == pytest.approx(published, abs=6e-4)


def scores(seeds, **changes):
    return {str(seed): {"saliency 90": seed / 7, "restarts 100": seed / 9} | changes for seed in seeds}


def test_a_list_of_seeds_that_grew_is_seen(tmp_path):
    seen = tmp_path / "seen.json"
    for last, found in ((3, []), (5, [3]), (5, [3]), (8, [3, 5])):
        remember_comparison(seen, scores(range(1, last + 1)))
        assert read_earlier_looks(seen) == found
    assert len(json.loads(seen.read_text())) == 3
    remember_comparison(seen, scores(range(1, 4)))
    assert read_earlier_looks(seen) == []  # fewer seeds than before: nothing was added


def test_results_that_are_others_now_are_no_look(tmp_path):
    seen = tmp_path / "seen.json"
    remember_comparison(seen, scores([1, 2, 3], **{"saliency 90": 0.5}))
    remember_comparison(seen, scores([4, 5]))
    remember_comparison(seen, scores([1, 2, 3, 6]))  # trained otherwise
    assert read_earlier_looks(seen) == []
    remember_comparison(seen, scores([1, 2, 3, 4, 5, 6], **{"saliency 70": 0.1}))  # and one threshold more
    assert read_earlier_looks(seen) == [2, 4]


def test_a_look_is_at_the_same_arms_with_every_seed_and_with_fewer_seeds(tmp_path):
    seen = tmp_path / "seen.json"
    remember_comparison(seen, {"1": {"another 90": 0.5}})
    remember_comparison(seen, scores([1]) | scores([2], **{"saliency 90": 0.5}))  # one of two seeds trained otherwise
    remember_comparison(seen, scores([1, 2, 3]))
    remember_comparison(seen, scores([1, 2, 3], **{"saliency 70": 0.1}))  # no seed was added
    assert read_earlier_looks(seen) == []


def test_a_damaged_list_of_comparisons_is_refused_by_name(tmp_path):
    (tmp_path / "seen.json").write_text('[{"1": {"sal')
    with pytest.raises(InputError, match=r"seen\.json: is damaged; delete it"):
        remember_comparison(tmp_path / "seen.json", scores([1]))


@pytest.mark.parametrize("seeds", [[5, 5], [3, 8, 5], [0, 5]])
def test_looks_that_do_not_rise_are_refused(seeds):
    with pytest.raises(ValueError, match=f"{re.escape(str(seeds))} do not rise"):
        look_levels(seeds)


def test_without_a_look_the_level_is_the_plain_one():
    assert level_of([]) == 0.05


@pytest.fixture
def look(tmp_path):
    """Decide a look of the method and restarts, whose pixel accuracy differs by `gain` plus what each seed draws.

    `more` are the gains at further thresholds.
    """

    def run(gain, seeds, looks=(3, 5), more=(), margin=0.5, method="saliency"):
        rng = np.random.default_rng(1)
        paths, chains = [], []
        gains = dict(zip(("90", "70", "50"), (gain, *more), strict=False))
        for arm, threshold, wrong in (
            ("restarts", "100", 40),
            *(("saliency", threshold, round(40 - 100 * each)) for threshold, each in gains.items()),
        ):
            for seed in range(1, seeds + 1):
                counts = np.zeros((20, 2, 2))
                counts[:, 0, 0] = counts[:, 1, 1] = 100 - wrong + rng.integers(-2, 3) + rng.integers(0, 3, 20)
                counts[:, 0, 1] = counts[:, 1, 0] = 100 - counts[:, 0, 0]
                paths.append(tmp_path / f"{arm}_{threshold}_{seed}_{seeds}_{wrong}.h5")
                with create_hdf5(paths[-1], "counts") as file:
                    file.attrs["classes"] = ["background", "pet"]
                    file["intact/test/confusion"] = counts[None]
                chains.append([arm, threshold, str(seed)])
        reference = {"predictor": "background", "split": "test", "measure": "mean_iou", "class": "all", "value": 0.1}
        pd.DataFrame([reference]).to_csv(tmp_path / "references.csv", index=False)
        evaluation = {"comparators": ["restarts"], "controls": [], "measures": ["mean_iou"], "resamples": 200}
        evaluation |= {"class_groups": {}, "foreground": ["pet"], "margins": {"default": margin}}
        report = {"method": method, "measure": "mean_iou", "class_group": "all"}
        output = tmp_path / "look.json"
        decide_look(paths, chains, tmp_path / "references.csv", evaluation, report, looks, seeds, output)
        assert level_of([output]) == look_levels(looks)[looks.index(seeds)]
        return json.loads(output.read_text())

    return run


def test_a_clear_effect_stops_at_the_first_look(look):
    assert look(0.1, 3) | {"level": 0} == {"seeds": 3, "level": 0, "decisions": {"90": "supported"}, "stops": True}


def test_an_effect_within_the_noise_goes_on_and_stops_at_the_last_look(look):
    first, last = look(0.0, 3), look(0.0, 5)
    assert (first["decisions"], first["stops"]) == ({"90": "undecided"}, False)
    assert last["stops"]


def test_a_look_stops_where_every_threshold_is_decided(look):
    found = look(0.35, 4, looks=(4, 5), more=(-0.2, 0.0), margin=12)
    assert found["decisions"] == {"90": "supported", "70": "refuted", "50": "equivalent"}
    assert found["stops"]
    found = look(0.1, 3, more=(0.0,))
    assert (found["decisions"], found["stops"]) == ({"90": "supported", "70": "undecided"}, False)
    found = look(0.1, 3, method="restarts")  # that is compared with nothing
    assert (found["decisions"], found["stops"]) == ({}, False)


def test_an_early_look_claims_at_its_own_level(look):
    assert look(0.05, 3, looks=(3,))["decisions"] == {"90": "supported"}
    assert look(0.05, 3)["decisions"] == {"90": "undecided"}


@pytest.mark.parametrize("seeds", [[3, 80], [5, 120], [1, 30], [2, 40, 90]])
def test_a_look_at_few_of_many_seeds_spends_next_to_nothing(seeds):
    first, *_, last = look_levels(seeds)
    assert first == pytest.approx(spent_level(seeds[0] / seeds[-1], 0.05), rel=1e-6)
    assert last == pytest.approx(0.05, abs=0.002)


def test_a_look_at_one_of_thousands_of_seeds_claims_nothing_and_leaves_all_to_the_last():
    assert spent_level(1 / 3000, 0.05) == 0
    assert look_levels([1, 3000]) == pytest.approx([0, 0.05])
