import numpy as np
import pytest
from scipy import stats

from spatial_reduction.statistics import (
    FEWEST_SEEDS,
    Contrast,
    adjust_holm,
    contrast,
    decide,
    image_weights,
    standard_error,
)

IMAGES = 200


def contrast_of(differences, margin=0.5, image_noise=0.0):
    differences = np.asarray(differences, dtype=float)
    noise = image_noise * np.random.default_rng(0).standard_normal(4000)
    return contrast(differences, differences[:, None] + noise, IMAGES, margin)


def test_image_weights_draw_as_many_images_as_there_are():
    weights = image_weights(images=7, resamples=500, seed=0)
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 7, rel=0.1)  # multinomial


def test_without_image_noise_the_error_is_that_of_a_mean():
    differences = np.array([0.1, 0.9, 0.4, 1.3, -0.2])
    error, freedom = standard_error(differences, np.repeat(differences[:, None], 100, axis=1), IMAGES)
    assert error == pytest.approx(stats.sem(differences))
    assert freedom == pytest.approx(4)


def test_image_noise_shared_by_all_seeds_does_not_average_out():
    noise = np.random.default_rng(1).standard_normal(20_000)
    error, freedom = standard_error(np.zeros(10), np.repeat(noise[None], 10, axis=0), IMAGES)
    assert error == pytest.approx(1, rel=0.03)
    assert freedom == pytest.approx(IMAGES - 1)


def test_the_variances_of_seeds_and_images_add_with_satterthwaite_freedom():
    differences = np.array([0.0, 2.0])  # variance of the mean: 1, with 1 degree of freedom
    noise = np.random.default_rng(1).standard_normal(50_000)
    error, freedom = standard_error(differences, differences[:, None] + noise, IMAGES)
    assert error == pytest.approx(np.sqrt(2), rel=0.02)
    assert freedom == pytest.approx(4 / (1 / 1 + 1 / (IMAGES - 1)), rel=0.05)


def test_the_interval_is_that_of_the_t_distribution():
    differences = [0.1, 0.9, 0.4, 1.3, -0.2]
    result = contrast_of(differences)
    low, high = stats.t.interval(0.95, 4, np.mean(differences), stats.sem(differences))
    assert (result.ci_low, result.ci_high) == pytest.approx((low, high))
    assert result.p_value == stats.ttest_1samp(differences, 0).pvalue


def test_the_exact_wilcoxon_cannot_fall_below_its_floor():
    for n in range(2, 8):
        assert contrast_of(np.arange(1, n + 1)).p_wilcoxon == pytest.approx(2 / 2**n)
    assert 2 / 2**FEWEST_SEEDS < 0.05 < 2 / 2 ** (FEWEST_SEEDS - 1)


def test_equal_arms_have_no_difference_and_are_equivalent():
    result = contrast_of([0.0, 0.0, 0.0])
    assert (result.difference, result.ci_low, result.ci_high) == (0, 0, 0)
    assert (result.p_value, result.p_wilcoxon, result.p_equivalence, result.probability_better) == (1, 1, 0, 0.5)
    assert decide(result, 1.0) == "equivalent"


def test_one_seed_gives_a_difference_and_no_verdict():
    result = contrast_of([3.0])
    assert result.difference == 3
    assert np.isnan([result.ci_low, result.p_value, result.p_equivalence]).all()
    assert decide(result, np.nan) == "undecided"


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
    assert decide(result, result.p_value) == decision


def test_a_claim_needs_the_interval_and_the_adjusted_p_value():
    result = contrast_of([2.0, 2.1, 1.9, 2.2, 2.0, 1.8])
    assert decide(result, 0.2) == "undecided"
    noisy = contrast_of([2.0, 2.1, 1.9, 2.2, 2.0, 1.8], image_noise=3.0)
    assert noisy.ci_low < 0
    assert decide(noisy, 0.001) == "undecided"


def test_holm_by_hand_and_with_a_missing_test():
    assert adjust_holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert np.isnan(adjust_holm([np.nan])).all()


@pytest.mark.parametrize("image_noise", [0.0, 0.3, 1.0])
def test_the_interval_covers_the_truth_as_often_as_it_says(image_noise):
    rng = np.random.default_rng(0)
    simulations, n, hits = 1000, 5, 0
    for _ in range(simulations):  # seeds differ by sd 1; the draw of test images shifts all seeds alike
        differences = 0.7 + rng.standard_normal(n) + image_noise * rng.standard_normal()
        resampled = differences[:, None] + image_noise * rng.standard_normal(300)
        result = contrast(differences, resampled, IMAGES, 0.5)
        hits += result.ci_low <= 0.7 <= result.ci_high
    # Binomial(1000, .95): 99.9 % of its mass lies in 926..971. Satterthwaite's freedom is an approximation.
    assert 926 <= hits <= 978


def test_a_contrast_is_plain_numbers():
    assert all(type(value) in (int, float) for value in vars(contrast_of([1.0, 2.0])).values())
    assert isinstance(contrast_of([1.0]), Contrast)
