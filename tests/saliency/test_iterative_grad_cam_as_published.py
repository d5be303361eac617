from types import SimpleNamespace

import torch

from point_network import BRIGHT, PointNetwork, picture
from spatial_reduction.saliency import iterative_grad_cam, iterative_grad_cam_as_published
from spatial_reduction.saliency.grad_cam import map_activation
from spatial_reduction.saliency.iterative_grad_cam import LEFT, iterate_activation, squash


def test_as_published_any_fall_ends_the_passes():
    class Leaning(PointNetwork):
        """All pixels are a little likelier of interest where one of their image is white."""

        def forward(self, images):
            is_there = (images.amax(dim=(2, 3), keepdim=True) > 0.9).float()
            return super().forward(images) + 0.1 * is_there * torch.tensor([0, 1])[:, None, None]

    network, rows = Leaning(features=[1], logits=[[0], [2]], bias=[0, -0.5]), picture([[1, 0.4, 0, 0]])
    first = squash(map_activation(network, rows, [1]))
    assert torch.equal(iterate_activation(network, rows, [1], left=1.0), first)
    assert not torch.allclose(iterate_activation(network, rows, [1], LEFT), first)


def test_as_published_what_stays_as_relevant_goes_on(monkeypatch):
    def shown(blocks, context, score, pixels):
        return score(BRIGHT, blocks)

    for module in (iterative_grad_cam, iterative_grad_cam_as_published):
        monkeypatch.setattr(module, "score_batches", shown)
    rows, context = picture([[1, 0.4, 0, 0]]), SimpleNamespace(classes_of_interest=[1])
    published, own = (
        module.stream_scores(rows, context) for module in (iterative_grad_cam_as_published, iterative_grad_cam)
    )
    assert torch.equal(published, own)
    assert not torch.allclose(published, squash(map_activation(BRIGHT, rows, [1])))
