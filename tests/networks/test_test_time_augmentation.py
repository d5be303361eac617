from functools import partial

import numpy as np
import pytest
import torch

from experiments import WholeImage
from spatial_reduction.networks.inference import compute_logits, to_input
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.networks.test_time_augmentation import average_symmetries, average_symmetries_of_part
from spatial_reduction.networks.tiled_inference import compute_logits_of_part

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)


def equivariant(images):
    """Logits of a pixel from its own colour and from its four neighbours alike: they turn with the image."""
    pixels = to_input(torch.from_numpy(images))
    around = torch.nn.functional.avg_pool2d(pixels, 3, 1, 1)
    return torch.cat([pixels[:, :1] - around[:, 1:2], around[:, 2:]], dim=1)


def test_one_symmetry_is_the_logits_as_they_are():
    assert torch.equal(average_symmetries(equivariant, IMAGES, 1), equivariant(IMAGES))


@pytest.mark.parametrize("symmetries", [4, 8])
def test_a_network_that_turns_with_the_image_gives_the_same(symmetries):
    expected = equivariant(IMAGES).log_softmax(dim=1)
    assert torch.allclose(average_symmetries(equivariant, IMAGES, symmetries), expected, atol=1e-6)


def slope(images):
    """Logit 1 is the column, logit 0 is 0, whatever the image shows."""
    count, height, width, _ = images.shape
    columns = torch.arange(width, dtype=torch.float32).expand(count, 1, height, width)
    return torch.cat([torch.zeros_like(columns), columns], dim=1)


def test_the_mean_of_quarter_turns_is_that_by_hand():
    """A quarter turn to the left shows pixel (row, column) of 2 x 3 pixels at (2 - column, row), and so on."""
    probabilities = average_symmetries(slope, np.zeros((1, 2, 3, 1), np.uint8), 4).softmax(dim=1)[0, 1]
    for row in range(2):
        for column in range(3):
            shown_in_columns = np.array([column, row, 2 - column, 1 - row])
            expected = (1 / (1 + np.exp(-shown_in_columns))).mean()
            assert float(probabilities[row, column]) == pytest.approx(expected, rel=1e-6)


def test_mirror_images_add_their_columns_to_the_mean():
    probabilities = average_symmetries(slope, np.zeros((1, 2, 3, 1), np.uint8), 8).softmax(dim=1)[0, 1]
    # in each of the two directions every place is taken as often from one end as from the other
    for row in range(2):
        for column in range(3):
            shown_in_columns = np.array([column, 2 - column, row, 1 - row] * 2)
            expected = (1 / (1 + np.exp(-shown_in_columns))).mean()
            assert float(probabilities[row, column]) == pytest.approx(expected, rel=1e-6)


def test_averaging_makes_any_network_turn_with_the_image():
    network = build_model(3, 3, {"name": "unet", "widths": [2, 3], "padding": "valid"}, seed=1).eval()

    def averaged(images):
        return average_symmetries(lambda part: compute_logits(network, part, torch.device("cpu")), images, 8)

    turned = averaged(np.ascontiguousarray(np.rot90(IMAGES[:, ::-1], axes=(1, 2))))
    expected = torch.rot90(averaged(IMAGES).flip(2), dims=(2, 3))
    assert torch.allclose(turned, expected, atol=1e-6)
    assert torch.allclose(turned.exp().sum(dim=1), torch.ones(2, 6, 4), atol=1e-6)


@pytest.mark.parametrize("symmetries", [1, 4, 8])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_part_of_an_image_is_averaged_as_the_whole(symmetries, padding):
    section = {"name": "unet", "widths": [2, 3], "padding": padding, "initialisation": "he"}
    network, cpu = build_model(3, 2, section, seed=1).eval(), torch.device("cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 34, 3), dtype=np.uint8)
    whole = average_symmetries(lambda images: compute_logits(network, images, cpu), pixels[None], symmetries)
    predict = partial(compute_logits_of_part, network, device=cpu)
    for rows, columns in ((slice(0, 8), slice(8, 16)), (slice(3, 20), slice(17, 34)), (slice(19, 20), slice(0, 5))):
        part = average_symmetries_of_part(predict, WholeImage(pixels), rows, columns, symmetries)
        assert torch.allclose(part, whole[..., rows, columns], rtol=0, atol=1e-5)
