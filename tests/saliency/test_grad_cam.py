from functools import partial

import pytest
import torch
from torch import nn

from point_network import BRIGHT, SPOTS, PointNetwork, picture
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.saliency.grad_cam import map_activation
from spatial_reduction.saliency.integrated_gradients import score_attributions
from spatial_reduction.saliency.iterative_grad_cam import LEFT, iterate_activation


def test_the_class_activation_of_a_hand_made_network():
    # Two bright pixels of six, so alpha = mean of d(sum)/dA = 2 * 2 / 6; the map is alpha A.
    assert torch.allclose(map_activation(BRIGHT, SPOTS, [1]), SPOTS[:, 0] * 2 * 2 / 6)


def test_features_that_speak_against_the_classes_of_interest_activate_nothing():
    network = PointNetwork(features=[1], logits=[[0], [-2]], bias=[-9, 0])
    assert (map_activation(network, SPOTS, [1]) == 0).all()


def test_a_coarse_class_activation_is_enlarged_bilinearly():
    class Pooled(PointNetwork):
        def forward(self, images):
            return super().forward(nn.functional.avg_pool2d(images, 2)).repeat_interleave(2, 2).repeat_interleave(2, 3)

    network = Pooled(features=[1], logits=[[0], [2]], bias=[0, -0.5])
    scores = map_activation(network, picture([[1, 1, 0, 0], [1, 1, 0, 0]]), [1])
    alpha = 4 * 2 / 2
    assert torch.allclose(scores, alpha * torch.tensor([1, 0.75, 0.25, 0]).expand(1, 2, 4))


def test_the_class_activation_of_a_u_net_is_what_its_gradients_say():
    network = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1).eval()
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    kept = []
    with network.bottleneck.register_forward_hook(lambda module, arguments, output: kept.append(output)):
        logits = network(images)
    winners = logits.argmax(dim=1, keepdim=True)
    total = logits.gather(1, winners)[winners > 0].sum()
    (gradient,) = torch.autograd.grad(total, kept[0])
    coarse = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1, keepdim=True).relu()
    expected = nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")[:, 0].detach()
    assert expected.amax() > 0
    assert torch.allclose(map_activation(network, images, [1, 2]), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("function", [map_activation, score_attributions, partial(iterate_activation, left=LEFT)])
def test_an_image_without_a_pixel_of_interest_has_equal_scores(function):
    scores = function(BRIGHT, SPOTS / 10, [1])
    assert (scores == scores[0, 0, 0]).all()
