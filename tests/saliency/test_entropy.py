import math

import pytest

from point_network import PointNetwork, picture
from spatial_reduction.saliency.entropy import score_entropy


def test_the_entropy_of_hand_made_probabilities():
    network = PointNetwork(features=[1], logits=[[math.log(0.25)], [math.log(0.75)]])
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert score_entropy(network, picture([[1, 0]])).flatten().tolist() == pytest.approx([expected, math.log(2)])


def test_the_entropy_ranks_certain_pixels_on():
    network = PointNetwork(features=[1], logits=[[0], [100]])
    scores = score_entropy(network, picture([[0.2, 0.4, 0.8]])).flatten()
    assert (scores.diff() < 0).all()
    assert (scores > 0).all()
