import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from spatial_reduction.analysis.statistics import (
    FEWEST_SEEDS,
    MINIMUM_SEEDS,
    Contrast,
    ImageNoise,
    PairedSample,
    adjust_holm,
    contrast,
    decide,
    equivalence_test,
    half_width,
    image_weights,
    resampled_variance,
    seeds_needed,
    signed_rank_test,
    spread_of_mean,
    t_test,
)

IMAGES = 200


def shared(variance):
    """Noise of images that move every seed alike."""
    return ImageNoise(variance, variance, IMAGES)


def contrast_of(differences, margin=0.5, image_noise=0.0):
    return contrast(np.asarray(differences, dtype=float), shared(image_noise**2), margin)


def decision_of(result, p_holm):
    return decide(result.p_equivalence, p_holm, result.difference)


def test_image_weights_are_those_of_the_bayesian_bootstrap():
    weights = image_weights(images=7, resamples=4000, seed=0)
    assert (weights.shape, weights.dtype) == ((4000, 7), np.float32)
    assert weights.sum(axis=1) == pytest.approx(7)
    assert (weights > 0).all()
    dirichlet = stats.dirichlet(np.ones(7))
    assert weights.mean(axis=0) / 7 == pytest.approx(dirichlet.mean(), rel=0.05)
    assert weights.var(axis=0) / 49 == pytest.approx(dirichlet.var(), rel=0.15)


def test_resamples_show_the_variance_of_a_mean():
    values = np.random.default_rng(1).standard_normal(12)
    resampled = image_weights(12, 20_000, seed=0) @ values / 12
    assert resampled_variance(resampled, 12) == pytest.approx(values.var(ddof=1) / 12, rel=0.05)
    assert resampled_variance(np.ones(5), 1) == 0


def test_a_class_of_one_image_in_sixty_is_in_every_resample():
    pixels = np.zeros(60)
    pixels[7] = 5
    assert (image_weights(60, 2000, seed=0) @ pixels > 0).all()


def test_the_variances_of_seeds_images_and_their_interplay_are_those_of_a_two_way_layout():
    # Seed k on image i: a_k + b_i + c_ki. Over both, the variance of the mean is A / n + B / N + C / (n N).
    rng, (seeds, images), (a, b, c) = np.random.default_rng(0), (4, 30), (1.0, 9.0, 16.0)
    found, naive, means = [], [], []
    for _ in range(4000):
        layout = np.sqrt(a) * rng.standard_normal((seeds, 1)) + np.sqrt(b) * rng.standard_normal((1, images))
        layout += np.sqrt(c) * rng.standard_normal((seeds, images))
        each = layout.var(axis=1, ddof=1).mean() / images
        of_mean = layout.mean(axis=0).var(ddof=1) / images
        differences = layout.mean(axis=1)
        # Without the bound at 0 the estimate is unbiased; the bound adds a little.
        found.append(differences.var(ddof=1) / seeds + of_mean - (each - of_mean) / (seeds - 1))
        naive.append(differences.var(ddof=1) / seeds + of_mean)
        means.append(layout.mean())
    true = a / seeds + b / images + c / (seeds * images)
    assert np.var(means) == pytest.approx(true, rel=0.1)
    assert np.mean(found) == pytest.approx(true, rel=0.02)
    assert np.mean(naive) == pytest.approx(true + c / (seeds * images), rel=0.02)


def test_a_sample_gathered_seed_by_seed_is_the_contrast_of_all_of_them():
    rng = np.random.default_rng(0)
    differences, resampled = rng.standard_normal(5), rng.standard_normal((5, 300))
    sample = PairedSample(IMAGES)
    for value, some in zip(differences, resampled, strict=True):
        sample.add(value, some)
    variances = [resampled_variance(some, IMAGES) for some in resampled]
    noise = ImageNoise(resampled_variance(resampled.mean(axis=0), IMAGES), np.mean(variances), IMAGES)
    assert sample.contrast(0.5) == contrast(differences, noise, 0.5)
    assert not sample.is_zero
    same = PairedSample(IMAGES)
    same.add(0.0, np.zeros(300))
    assert same.is_zero
    same.add(0.0, resampled[0])  # images that cancel each other out
    assert not same.is_zero


def test_a_difference_that_is_not_defined_makes_nothing_of_it_defined():
    result = contrast_of([1.0, np.nan, 2.0])
    assert result.n == 3
    assert np.isnan([result.difference, result.ci_low, result.p_value, result.p_equivalence]).all()


@pytest.mark.parametrize(("sd", "margin", "level"), [(1.0, 1.0, 0.05), (2.0, 1.0, 0.05), (1.0, 0.5, 0.01)])
def test_the_seeds_that_a_margin_needs_are_those_of_statsmodels(sd, margin, level):
    expected = TTestPower().solve_power(effect_size=margin / sd, power=0.8, alpha=level, alternative="two-sided")
    assert seeds_needed(sd, 0.0, margin, level) == np.ceil(expected)


def test_no_number_of_seeds_makes_up_for_too_few_images():
    assert seeds_needed(1.0, 0.5, 0.5) == np.inf
    assert seeds_needed(np.nan, 0.5, 0.5) == np.inf
    assert np.isfinite(seeds_needed(1.0, 0.1, 0.5))
    assert seeds_needed(0.001, 0.0, 0.5) == MINIMUM_SEEDS
    assert seeds_needed(17.8458, 0.0, 0.5) == np.inf  # 10,001 would do
    assert seeds_needed(17.8449, 0.0, 0.5) == 10_000


def test_without_image_noise_the_error_is_that_of_a_mean():
    differences = np.array([0.1, 0.9, 0.4, 1.3, -0.2])
    spread = spread_of_mean(differences, shared(0.0))
    assert spread.error == pytest.approx(stats.sem(differences))
    assert (spread.seed_share, spread.seed_freedom, spread.image_freedom) == (1, 4, IMAGES - 1)


def test_image_noise_shared_by_all_seeds_does_not_average_out():
    spread = spread_of_mean(np.zeros(10), shared(1.0))
    assert (spread.error, spread.seed_share) == (1, 0)
    assert t_test(2.0, spread) == pytest.approx(2 * stats.t.sf(2.0, IMAGES - 1))


def test_the_variances_of_seeds_and_images_add_and_their_tails_are_averaged():
    spread = spread_of_mean(np.array([0.0, 2.0]), shared(3.0))  # variance of the mean over seeds: 1, with 1 freedom
    assert (spread.error, spread.seed_share) == (2, 1 / 4)
    expected = 2 * (stats.t.sf(1.5, 1) / 4 + 3 * stats.t.sf(1.5, IMAGES - 1) / 4)
    assert t_test(np.array(3.0), spread) == pytest.approx(expected)
    assert t_test(half_width(spread), spread) == pytest.approx(0.05)


def test_many_contrasts_at_once_are_those_one_by_one():
    rng = np.random.default_rng(0)
    differences, variances = rng.standard_normal((4, 3, 5)), rng.random((4, 3))
    means = differences.mean(axis=-1)
    spread = spread_of_mean(differences, shared(variances))
    for place in np.ndindex(4, 3):
        one = contrast(differences[place], shared(variances[place]), 0.5)
        assert t_test(means, spread)[place] == pytest.approx(one.p_value)
        assert equivalence_test(means, spread, 0.5)[place] == pytest.approx(one.p_equivalence)
        assert means[place] + half_width(spread)[place] == pytest.approx(one.ci_high)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12), st.floats(0, 4))
def test_the_p_value_is_below_the_level_where_the_interval_leaves_out_zero(differences, image_noise):
    result = contrast_of(differences, image_noise=image_noise)
    if abs(result.p_value - 0.05) > 1e-6:
        assert (result.p_value < 0.05) == (result.ci_low > 0 or result.ci_high < 0)


def test_an_interval_lies_between_those_of_its_two_sources():
    close = contrast_of([1.0, 1.001, 0.999], image_noise=0.3)  # the images' error, with many degrees of freedom
    assert (close.ci_high - close.ci_low) / 2 == pytest.approx(0.3 * stats.t.ppf(0.975, IMAGES - 1), rel=1e-3)
    apart = contrast_of([1.0, 2.0, 0.0], image_noise=0.3)
    error = np.hypot(stats.sem([0, 1, 2]), 0.3)
    reach = (apart.ci_high - apart.ci_low) / 2
    assert error * stats.t.ppf(0.975, IMAGES - 1) < reach < error * stats.t.ppf(0.975, 2)


def test_the_interval_is_that_of_the_t_distribution():
    differences = [0.1, 0.9, 0.4, 1.3, -0.2]
    result = contrast_of(differences)
    low, high = stats.t.interval(0.95, 4, np.mean(differences), stats.sem(differences))
    assert (result.ci_low, result.ci_high) == pytest.approx((low, high))
    assert result.p_value == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_the_exact_wilcoxon_cannot_fall_below_its_floor():
    for n in range(2, 8):
        assert contrast_of(np.arange(1, n + 1)).p_wilcoxon == pytest.approx(2 / 2**n)
    assert 2 / 2**FEWEST_SEEDS < 0.05 < 2 / 2 ** (FEWEST_SEEDS - 1)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12, unique=True), st.integers(0, 2**12 - 1))
def test_without_ties_the_signed_rank_test_is_scipys(sizes, signs):
    differences = np.array([size if signs >> i & 1 else -size for i, size in enumerate(sizes)], dtype=float)
    assert signed_rank_test(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_ties_and_infinities_share_their_ranks():
    # Sizes 1, 1, inf: ranks 1.5, 1.5, 3. Of 8 signs, sums of 6 or more: one; of 4.5 or more: three.
    assert signed_rank_test(np.array([1.0, 1.0, np.inf])) == 2 / 8
    assert signed_rank_test(np.array([-1.0, 1.0, np.inf, 0.0])) == 6 / 8
    assert signed_rank_test(np.zeros(4)) == 1


def test_equal_arms_have_no_difference_and_are_equivalent():
    result = contrast_of([0.0, 0.0, 0.0])
    assert (result.difference, result.ci_low, result.ci_high) == (0, 0, 0)
    assert (result.p_value, result.p_wilcoxon, result.p_equivalence, result.probability_better) == (1, 1, 0, 0.5)
    assert decision_of(result, 1.0) == "equivalent"


def test_without_any_spread_a_difference_lies_within_the_margin_or_it_does_not():
    assert [contrast_of([size] * 3).p_equivalence for size in (0.25, 0.5, 3.0, -3.0)] == [0, 0.5, 1, 1]


def test_of_few_images_the_freedom_is_one_at_least():
    assert [spread_of_mean(np.ones(3), ImageNoise(1.0, 1.0, images)).image_freedom for images in (1, 2, 3)] == [1, 1, 2]
    alone = contrast(np.array([1.0, 2.0, 3.0]), ImageNoise(0.0, 0.0, 1), 0.5)
    assert alone.p_value == pytest.approx(stats.ttest_1samp([1, 2, 3], 0).pvalue)


def test_one_seed_gives_a_difference_and_no_verdict():
    result = contrast_of([3.0])
    assert result.difference == 3
    assert np.isnan([result.ci_low, result.p_value, result.p_equivalence]).all()
    assert decision_of(result, np.nan) == "undecided"


def test_probability_better_counts_ties_half():
    assert contrast_of([1.0, 0.0, -1.0, 2.0]).probability_better == (1 + 0.5 + 0 + 1) / 4


def test_equivalence_agrees_with_two_one_sided_t_tests():
    differences = np.array([0.05, -0.1, 0.15, 0.0, 0.1, -0.05])
    lower = stats.ttest_1samp(differences, -0.5, alternative="greater").pvalue
    upper = stats.ttest_1samp(differences, 0.5, alternative="less").pvalue
    assert contrast_of(differences).p_equivalence == pytest.approx(max(lower, upper))


@pytest.mark.parametrize(
    ("differences", "decision"),
    [
        ([2.0, 2.1, 1.9, 2.2, 2.0, 1.8], "supported"),
        ([-2.0, -2.1, -1.9, -2.2, -2.0, -1.8], "refuted"),
        ([0.1, -0.1, 0.05, 0.0, -0.05, 0.1], "equivalent"),
        ([3.0, -2.0, 1.0, 0.5, -1.0, 2.0], "undecided"),
    ],
)
def test_every_decision_can_be_reached(differences, decision):
    result = contrast_of(differences)
    assert decision_of(result, result.p_value) == decision


def test_a_claim_needs_the_adjusted_p_value():
    assert decision_of(contrast_of([2.0, 2.1, 1.9, 2.2, 2.0, 1.8]), 0.2) == "undecided"
    noisy = contrast_of([2.0, 2.1, 1.9, 2.2, 2.0, 1.8], image_noise=3.0)
    assert noisy.ci_low < 0
    assert decision_of(noisy, noisy.p_value) == "undecided"


def test_where_less_is_better_the_sign_of_the_gain_is_turned():
    result = contrast(np.array([-2.0, -2.1, -1.9]), shared(0.0), 0.5, higher_is_better=False)
    assert result.probability_better == 1
    assert decide(result.p_equivalence, result.p_value, -result.difference) == "supported"


def test_a_p_value_at_the_level_itself_claims_nothing():
    found = decide(np.array([0.9, 0.9, 0.05, 0.9]), np.array([0.05, 0.05, 0.5, 0.01]), np.array([1.0, -1.0, 0.0, 0.0]))
    assert found.tolist() == ["undecided"] * 4


def test_holm_by_hand_and_with_a_missing_test():
    assert adjust_holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert np.isnan(adjust_holm([np.nan])).all()


def test_holm_of_many_families_at_once_is_that_of_statsmodels():
    families = np.random.default_rng(0).random((3, 7))
    expected = [multipletests(family, method="holm")[1] for family in families]
    assert adjust_holm(families) == pytest.approx(np.array(expected))


def test_a_contrast_is_plain_numbers():
    assert all(type(value) in (int, float) for value in vars(contrast_of([1.0, 2.0])).values())
    assert isinstance(contrast_of([1.0]), Contrast)
