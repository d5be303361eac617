import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms.v2 import functional

from moved_pixels import batch, sources
from spatial_reduction.training.augmentation import build_augmentation, change_colour
from spatial_reduction.training.elastic_deformation import (
    draw_smooth_sources,
    resample,
)

OF_PLACE = ["shift", "rotate", "grid_elastic"]
COLOURS = ["brightness", "contrast", "saturation"]
ALL = ["flip", "colour", "elastic", *OF_PLACE, "grey"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ALL)
def test_every_change_keeps_shapes_and_types_and_moves_labels_and_weights_alike(name, channels):
    torch.manual_seed(0)
    given = batch(4, 16, 12, channels)
    images, labels, weights = build_augmentation([name], 16)(*given)
    assert [tensor.shape for tensor in (images, labels, weights)] == [tensor.shape for tensor in given]
    assert [tensor.dtype for tensor in (images, labels, weights)] == [tensor.dtype for tensor in given]
    assert torch.equal(labels.float(), weights)
    assert not torch.equal(images, given[0])
    assert torch.equal(labels, given[1]) == (name in {"colour", "grey"})


def test_labels_that_were_moved_by_place_are_never_ignored():
    torch.manual_seed(0)
    images, labels, _ = batch(8)
    assert set(build_augmentation(OF_PLACE, 16)(images, labels)[1].flatten().tolist()) <= set(labels.flatten().tolist())


def test_a_smooth_image_and_its_labels_stay_together():
    torch.manual_seed(0)
    ramp = torch.arange(64, dtype=torch.uint8)
    values = (ramp[:, None] + ramp[None, :]).expand(4, -1, -1).contiguous()
    images, labels = build_augmentation(OF_PLACE, 64)(values[..., None], values)
    assert (images[..., 0].int() - labels.int()).abs().max() <= 2  # at most half a pixel along each axis, and rounding


def test_grey_values_are_scaled_and_offset_by_image_within_their_range():
    torch.manual_seed(0)
    images = torch.tensor([50, 150], dtype=torch.uint8).reshape(1, 1, 2, 1).expand(500, 1, 2, 3)
    changed, _ = build_augmentation(["grey"], 2)(images, torch.zeros(500, 1, 2, dtype=torch.uint8))
    assert torch.equal(changed[..., 0], changed[..., 2])
    contrast = (changed[:, 0, 1, 0].int() - changed[:, 0, 0, 0].int()) / 100
    assert 0.79 <= contrast.min() < 0.85
    assert 1.15 < contrast.max() <= 1.21
    assert 40 - 25.5 - 1 <= changed[:, 0, 0].min() < 25
    assert len(changed[:, 0, 0, 0].unique()) > 40
    offset = changed[:, 0, 0, 0] - 50 * contrast
    assert abs(torch.corrcoef(torch.stack([contrast, offset]))[0, 1]) < 0.2  # each has a number of its own


def test_grey_values_are_rounded_and_stay_within_a_byte():
    images = torch.tensor([0, 101, 255], dtype=torch.uint8).reshape(1, 1, 3, 1).expand(200, -1, -1, -1)
    torch.manual_seed(0)
    changed, _ = build_augmentation(["grey"], 3)(images, images[..., 0])
    torch.manual_seed(0)
    scale, offset = 2 * torch.rand(2, 200, 1).double().numpy() - 1
    exact = np.array([0, 101, 255]) * (1 + 0.2 * scale) + 25.5 * offset
    assert exact.min() < -20
    assert exact.max() > 320
    assert np.abs(changed[:, 0, :, 0].numpy() - exact.clip(0, 255)).max() < 0.501


def test_half_of_the_images_are_flipped_as_a_whole():
    torch.manual_seed(0)
    given = batch(200, 4, 6, channels=3)
    flipped = build_augmentation(["flip"], 16)(*given)
    is_flipped = (flipped[1] != given[1]).any(dim=(1, 2))
    assert 70 < is_flipped.sum() < 130
    for before, after in zip(given, flipped, strict=True):
        assert torch.equal(after[is_flipped], before[is_flipped].flip(2))
        assert torch.equal(after[~is_flipped], before[~is_flipped])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_a_change_of_colour_is_that_of_torchvision(name, factor):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (1, 16, 12, 3), dtype=torch.uint8)
    factors = {each: torch.full((1, 1, 1, 1), factor if each == name else 1.0) for each in COLOURS}
    change = getattr(functional, f"adjust_{name}")
    expected = change(images.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
    assert (change_colour(images, **factors).int() - expected.int()).abs().max() <= 2  # it rounds greys, twice


def test_brightness_contrast_and_saturation_follow_each_other_within_a_byte():
    factors = [torch.tensor(each).reshape(-1, 1, 1, 1) for each in ([1.3, 1.0, 1.3], [1.2, 1.0, 0.0], [0.5, 1.3, 1.0])]
    greys = torch.tensor([[200, 100, 0], [1, 2, 3], [200, 100, 0]], dtype=torch.uint8).reshape(3, 1, 3, 1)
    # 260 -> 255, 130 and 0 with the mean 128.3: 280.3 -> 255, 130.3 and -25.7 -> 0; without contrast the mean.
    assert change_colour(greys, *factors)[..., 0].tolist() == [[[255, 130, 0]], [[1, 2, 3]], [[128, 128, 128]]]
    factors = [each[:2] for each in factors]
    colours = torch.tensor([[250, 50, 0], [255, 0, 0]], dtype=torch.uint8).reshape(2, 1, 1, 3)
    # 255, 65 and 0 with the grey 114.4: 283.1 -> 255, 55.1 and -22.9 -> 0 with the grey 108.6; half-way to that.
    # 76.2 is the grey of the other: 308.6 -> 255 and -22.9 -> 0.
    assert change_colour(colours, *factors).tolist() == [[[[182, 82, 54]]], [[[255, 0, 0]]]]


def test_colours_change_by_up_to_three_tenths_image_by_image():
    torch.manual_seed(0)
    images = torch.full((400, 1, 1, 1), 100, dtype=torch.uint8)  # of one pixel: the brightness alone
    changed, _ = build_augmentation(["colour"], 2)(images, images[..., 0])
    assert (changed.min(), changed.max()) == (70, 130)
    assert len(changed.unique()) > 40
    torch.manual_seed(0)
    factors = 1 + 0.3 * (2 * torch.rand(3, 400)[0] - 1)
    assert (changed[:, 0, 0, 0] - 100 * factors).abs().max() < 0.501


def test_smooth_displacements_have_the_stated_size_and_are_smooth():
    torch.manual_seed(0)
    field = draw_smooth_sources(40, (100, 100), side=100) - sources((100, 100))
    assert field[:, :, 20:80, 20:80].std().item() == pytest.approx(1.5, rel=0.05)
    neighbours = field.diff(dim=2).abs().mean() / field.abs().mean()
    assert neighbours < 0.3


@pytest.mark.parametrize("shape", [(40, 30), (6, 40)])  # the second has fewer rows than the kernel reaches
def test_smooth_displacements_are_noise_under_a_gaussian_that_ends_after_three_sigmas(shape):
    torch.manual_seed(0)
    found = draw_smooth_sources(2, shape, side=60) - sources(shape)
    torch.manual_seed(0)
    smooth = 2 * torch.rand(4, *shape).double().numpy() - 1
    for axis, size in enumerate(shape, 1):  # 60 / 25 is 2.4
        smooth = ndimage.gaussian_filter1d(smooth, 2.4, axis, mode="mirror", radius=min(8, size - 1))
    expected = 0.015 * 60 * 2 * 2.4 * math.sqrt(3 * math.pi) * smooth.reshape(2, 2, *shape)
    assert found.numpy() == pytest.approx(expected, abs=1e-4)


def test_what_comes_from_outside_is_black_and_ignored_where_asked():
    image = torch.tensor([[[10, 20, 30, 40]] * 2], dtype=torch.uint8)
    moved, labels = resample(image[..., None], image, sources=sources((2, 4), shift=(0.0, 2.0)), outside=255)
    assert labels[0, 0].tolist() == [30, 40, 255, 255]
    assert moved[0, 0, :, 0].tolist() == [30, 40, 0, 0]
    _, edge = resample(image[..., None], image, sources=sources((2, 4), shift=(0.0, 0.5)), outside=255)
    assert 255 not in edge  # the edge of an image is half a pixel beyond the middle of its last


def test_the_same_seed_draws_the_same_changes_and_another_does_not():
    given = batch(2)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(build_augmentation(ALL, 16)(*given))
    assert all(torch.equal(*pair) for pair in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0][0], drawn[2][0])


def test_no_names_are_no_augmentation():
    assert build_augmentation([], 16) is None
