import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from moved_pixels import batch, sources
from spatial_reduction.training.elastic_deformation import (
    draw_sources,
    interpolate_displacements,
    resample,
)


@pytest.mark.parametrize("shape", [(16, 16), (5, 12), (33, 8)])
def test_no_displacement_is_the_identity(shape):
    torch.manual_seed(0)
    given = batch(1, *shape, channels=3)
    for before, after in zip(given, resample(*given, sources=sources(shape)), strict=True):
        assert after.dtype == before.dtype
        assert torch.equal(after, before)


def test_a_shift_by_whole_pixels_mirrors_what_comes_from_outside():
    image = torch.tensor([[[10, 20, 30, 40]] * 2], dtype=torch.uint8)
    moved, labels, weights = resample(image[..., None], image, image.float(), sources=sources((2, 4), shift=(0.0, 2.0)))
    assert labels[0, 0].tolist() == [30, 40, 30, 20]  # columns 2, 3, 4 -> 2, 5 -> 1
    assert torch.equal(moved[..., 0], labels)
    assert torch.equal(weights, labels.float())


def test_half_a_pixel_is_between_two_grey_values_and_at_one_label():
    image = torch.tensor([[[10, 20, 40]] * 2], dtype=torch.uint8)
    moved, labels = resample(image[..., None], image, sources=sources((2, 3), shift=(0.0, 0.5)))
    assert moved[0, 0, :, 0].tolist() == [15, 30, 30]
    assert set(labels.flatten().tolist()) <= {10, 20, 40}
    moved, _ = resample(image[..., None], image, sources=sources((2, 3), shift=(0.0, 0.18)))
    assert moved[0, 0, :, 0].tolist() == [12, 24, 36]  # 11.8, 23.6, 36.4


def test_a_quarter_turn_is_that_of_numpy():
    image = torch.arange(25, dtype=torch.uint8).reshape(1, 5, 5)
    moved, labels = resample(image[..., None], image, sources=sources((5, 5), angle=math.pi / 2))
    assert np.array_equal(labels[0], np.rot90(image[0], -1))
    assert torch.equal(moved[..., 0], labels)


def test_a_displaced_node_moves_its_corner_by_just_so_much():
    nodes = torch.zeros(1, 2, 3, 3)
    nodes[0, :, 0, 0] = torch.tensor([2.0, -3.0])
    field = interpolate_displacements(nodes, (9, 9))
    assert field[0, :, 0, 0].tolist() == [2, -3]
    assert field[0, :, [4, 8], :].abs().max() < 1e-6  # the rows and columns of the other nodes
    assert field[0, :, :, [4, 8]].abs().max() < 1e-6
    # Half-way to the next node, cubic convolution (a = -0.75) with the outer node repeated: 2 (-0.09375 + 0.59375).
    assert field[0, 0, 0, 2].item() == pytest.approx(1)


def test_displacements_between_the_nodes_are_close_to_a_bicubic_spline_through_them():
    torch.manual_seed(0)
    nodes = 10 * torch.randn(50, 2, 3, 3)
    field = interpolate_displacements(nodes, (33, 65)).numpy()
    places = np.mgrid[0:2:33j, 0:2:65j]
    spline = [[ndimage.map_coordinates(n, places, order=3, mode="nearest") for n in pair] for pair in nodes.numpy()]
    assert np.sqrt(np.mean((field - spline) ** 2)) < 0.3  # of a standard deviation of 10
    assert np.abs(field[:, :, ::16, ::32] - nodes.numpy()).max() < 1e-4


def test_drawn_displacements_have_the_paper_s_size_and_shifts_and_angles_their_range():
    torch.manual_seed(0)
    still = sources((9, 9))
    elastic = draw_sources(["grid_elastic"], 2000, (9, 9), side=512) - still
    assert elastic[:, :, ::4, ::4].std().item() == pytest.approx(10, rel=0.02)
    torch.manual_seed(0)
    assert torch.allclose(elastic[:, :, ::4, ::4], 10 * torch.randn(2000, 2, 3, 3), atol=1e-4)  # the nodes themselves
    torch.manual_seed(0)
    shift = draw_sources(["shift"], 2000, (9, 9), side=512) - still
    torch.manual_seed(0)
    assert torch.allclose(shift[:, :, 0, 0], 32 * (2 * torch.rand(2000, 2) - 1), atol=1e-4)
    assert (shift.amax(dim=(2, 3)) - shift.amin(dim=(2, 3))).max() < 1e-4  # one for all pixels
    assert 31 < shift.abs().max() <= 32
    torch.manual_seed(0)
    corner = draw_sources(["rotate"], 2000, (9, 9), side=512)[:, :, 0, 0]
    torch.manual_seed(0)
    turn = 2 * math.pi * torch.rand(2000)  # of the place (-4, -4)
    assert torch.allclose(corner, 4 * torch.stack([turn.sin() - turn.cos(), -turn.sin() - turn.cos()], 1), atol=1e-4)
    assert torch.allclose(corner.norm(dim=1), torch.tensor(math.sqrt(32)))
    angles = torch.atan2(corner[:, 1], corner[:, 0])
    assert torch.histc(angles, 4, -math.pi, math.pi).min() > 400
