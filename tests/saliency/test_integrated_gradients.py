import pytest
import torch

from point_network import BRIGHT, SPOTS, PointNetwork, picture
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.saliency.integrated_gradients import attribute, score_attributions
from spatial_reduction.saliency.interest import LogitsOfInterest


def test_the_attributions_of_a_hand_made_network():
    # Linear from black on: each bright pixel contributes 2 x, whatever the bias; the others are not added up.
    assert torch.allclose(attribute(BRIGHT, SPOTS, [1]), picture([[0, 1, 0], [2, 0, 0]]), atol=1e-5)


def test_the_channels_of_a_pixel_add_up_whatever_their_signs():
    class TwoChannels(PointNetwork):
        def forward(self, images):
            return super().forward(4 * images[:, :1] - images[:, 1:])

    network = TwoChannels(features=[1], logits=[[0], [1]])
    scores = score_attributions(network, torch.cat([picture([[0.5, 0, 0.1]]), picture([[1, 0.5, 0.2]])], dim=1), [1])
    assert scores.flatten().tolist() == pytest.approx([2 + 1, 0, 0.4 + 0.2], abs=1e-5)  # the second is not predicted


def test_the_network_sees_the_images_at_32_points_never_more_pictures_at_a_time():
    sizes = []

    class Counted(PointNetwork):
        def forward(self, images):
            sizes.append(len(images))
            return super().forward(images)

    attribute(Counted(features=[1], logits=[[0], [2]]), SPOTS.repeat(3, 1, 1, 1), [1])
    assert sizes == [3] + 32 * [3]  # once to choose the logits


def test_attributions_sum_to_the_target_minus_that_of_black():
    network = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1).eval().requires_grad_(False)
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    target = LogitsOfInterest(network, [1, 2])
    chosen = target.choose(images)
    assert chosen.flatten(1).any(dim=1).all()
    gain = target(images, chosen) - target(torch.zeros_like(images), chosen)
    found = attribute(network, images, [1, 2]).sum(dim=(1, 2, 3))
    assert torch.allclose(found, gain, rtol=0.01, atol=1e-3)
