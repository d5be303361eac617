import pytest

from point_network import BRIGHT, SPOTS
from spatial_reduction.saliency.interest import LogitsOfInterest


def test_the_target_is_the_sum_of_the_winning_logits_of_interest():
    assert LogitsOfInterest(BRIGHT, [1])(SPOTS).item() == pytest.approx(0.5 + 1.5)
    assert LogitsOfInterest(BRIGHT, [0])(SPOTS).item() == 0
    assert LogitsOfInterest(BRIGHT, [1]).choose(SPOTS).sum() == 2
