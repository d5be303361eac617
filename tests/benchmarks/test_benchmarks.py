"""The plain loop computes what the workflow does where it must, or a ratio of their speeds would mean nothing."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_loop import Pictures, UNet, shrink_masks
from benchmarks.roofline import Convolutions, Peaks
from spatial_reduction.masks.ranking import kept_count, shrink_mask
from spatial_reduction.networks.inference import to_input
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.training.epoch import segmentation_loss

WIDTHS = [4, 8]


@pytest.fixture
def pairs(pets, dataset):
    return [(pets / f"images/{n}.jpg", pets / f"annotations/trimaps/{n}.png") for n in dataset.names("train")]


def test_both_read_the_same_pixels_and_have_the_same_loss_at_equal_weights(pairs, dataset):
    ours, plain = build_model(3, 3, {"name": "unet", "widths": WIDTHS}, seed=1), UNet(WIDTHS)
    plain.load_state_dict(ours.state_dict())
    _, images, labels = next(dataset.blocks("train"))
    pixels, masks = (torch.stack(tensors) for tensors in zip(*Pictures(pairs, side=16), strict=True))
    assert torch.equal(pixels, to_input(torch.from_numpy(images)))
    assert np.array_equal(masks.argmax(dim=1), labels)
    loss = torch.nn.functional.cross_entropy(plain(pixels), masks)
    found = segmentation_loss(ours(to_input(torch.from_numpy(images))), torch.from_numpy(labels))
    assert found.item() == pytest.approx(loss.item(), rel=1e-5)


def test_both_keep_the_same_pixels_where_no_scores_are_equal():
    scores = np.random.default_rng(0).standard_normal((5, 32, 32)).astype(np.float32)
    kept = np.ones(scores.shape, dtype=bool)
    plain, count = torch.ones(scores.shape), 32 * 32
    for _ in range(2):  # in the third, 10 % of 830 pixels are 82 in floating point
        count = kept_count(count, 90)
        kept = shrink_mask(kept, scores, count)
        plain = shrink_masks(plain, torch.from_numpy(scores), 0.9)
        assert np.array_equal(kept, plain.numpy() > 0)


def test_the_work_of_the_convolutions_is_counted():
    network, images = UNet(WIDTHS), torch.rand(2, 3, 16, 16)
    with FlopCounterMode(display=False) as counter, Convolutions() as convolutions:
        network(images).sum().backward()
    assert convolutions.flops == counter.get_total_flops() > 0


def test_a_convolution_takes_as_long_as_the_limit_that_binds_it():
    convolution, images = torch.nn.Conv2d(1, 1, 1, bias=False), torch.rand(1, 1, 4, 4)
    with torch.no_grad(), Convolutions() as convolutions:
        convolution(images)
    assert convolutions.work == [(32, 4 * (16 + 1 + 16))]  # a multiply-add per pixel; image, weight and result
    assert convolutions.least_seconds(Peaks(flops=32, bandwidth=1e9)) == 1
    assert convolutions.least_seconds(Peaks(flops=1e9, bandwidth=66)) == 2
