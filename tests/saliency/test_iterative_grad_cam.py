import math

import pytest
import torch

from point_network import BRIGHT, PointNetwork, picture
from spatial_reduction.saliency.grad_cam import map_activation
from spatial_reduction.saliency.iterative_grad_cam import LEFT, iterate_activation, squash


def test_squashing_keeps_the_order_and_takes_flat_maps():
    maps = torch.tensor([[[0.0, 2.0, 4.0]], [[3.0, 3.0, 3.0]]])
    low, high = 1 / (1 + math.exp(10)), 1 / (1 + math.exp(-10))
    assert squash(maps).flatten().tolist() == pytest.approx([low, 0.5, high, low, low, low])


def test_a_second_pass_finds_what_the_first_one_left():
    # The map is proportional to x. Pass 1 finds 1 and leaves 0.4 (squashed: 0.12), which without 1 is the strongest.
    rows = picture([[1, 0.4, 0, 0]])
    first = [1 / (1 + math.exp(-20 * (x - 0.5))) for x in (1, 0.4, 0, 0)]
    later = [1 / (1 + math.exp(-20 * (x - 0.5))) for x in (0, 1, 0, 0)]
    last = [1 / (1 + math.exp(10))] * 4
    expected = [0.8 * (0.8 * a + 0.2 * b) + 0.2 * c for a, b, c in zip(first, later, last, strict=True)]
    assert iterate_activation(BRIGHT, rows, [1], LEFT).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_a_pixel_that_is_squashed_to_one_half_is_found():
    network = PointNetwork(features=[1], logits=[[0], [2]], bias=[0, -0.1])
    rows = picture([[1, 0.5, 0.4, 0.2, 0]])  # the second is half of the first, then the last half of what is left
    first, later = (
        [1 / (1 + math.exp(-20 * (x - 0.5))) for x in each] for each in ((1, 0.5, 0.4, 0.2, 0), (0, 0, 1, 0.5, 0))
    )
    last = [1 / (1 + math.exp(10))] * 5  # nothing is left
    expected = [0.8 * (0.8 * a + 0.2 * b) + 0.2 * c for a, b, c in zip(first, later, last, strict=True)]
    assert iterate_activation(network, rows, [1], LEFT).flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_the_passes_end_when_what_is_left_was_relevant_beside_what_was_found_only():
    class Neighbourly(PointNetwork):
        """Where the brightest pixel of an image is white, all others are taken for the class of interest, too."""

        def forward(self, images):
            is_there = (images.amax(dim=(2, 3), keepdim=True) > 0.9).float()
            return super().forward(images) + (10 * is_there - 5) * torch.tensor([0, 1])[:, None, None]

    network = Neighbourly(features=[1], logits=[[0], [2]], bias=[0, -0.5])
    rows = picture([[1, 0.4, 0, 0]])
    assert torch.allclose(iterate_activation(network, rows, [1], LEFT), squash(map_activation(network, rows, [1])))
