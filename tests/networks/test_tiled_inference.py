import numpy as np
import pytest
import torch

from experiments import WholeImage, compute_logits_tiled
from spatial_reduction.networks.inference import compute_logits
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.networks.tiled_inference import compute_logits_of_part
from spatial_reduction.networks.unet import UNet, receptive_radius
from spatial_reduction.runtime.errors import InputError

CPU = torch.device("cpu")


def network_of(padding, widths=(2, 3, 4)):
    section = {"name": "unet", "widths": list(widths), "padding": padding, "initialisation": "he"}
    return build_model(3, 2, section, seed=1).eval()


def mirror_to_multiple(images, stride):
    missing = [(0, -side % stride) for side in images.shape[1:3]]
    return np.pad(images, [(0, 0), *missing, (0, 0)], mode="reflect")


def draw(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "tile"), [((96, 64), 16), ((37, 53), 8), ((70, 45), 30), ((9, 100), 1), ((5, 6), 64)])
def test_tiles_give_the_logits_of_the_whole_image(padding, size, tile):
    network, images = network_of(padding), draw(1, *size, 3)
    whole = compute_logits(network, mirror_to_multiple(images, network.stride), CPU)[..., : size[0], : size[1]]
    tiled = compute_logits_tiled(network, images[0], tile)
    assert tiled.shape == (1, 2, *size)
    assert torch.allclose(tiled, whole, rtol=0, atol=1e-5)
    assert whole.std() > 0.05  # what 1e-5 is small beside


def test_tiles_give_the_logits_of_the_whole_image_with_a_sliding_window():
    section = {"name": "sliding_window", "widths": [2, 3, 4], "window": 13}
    network, images = build_model(3, 2, section, seed=1).eval(), draw(1, 29, 40, 3)
    whole = compute_logits(network, images, CPU)
    assert torch.allclose(compute_logits_tiled(network, images[0], 8), whole, rtol=0, atol=1e-5)


def test_tiles_of_a_periodic_image_show_no_seam():
    """Away from the borders the logits of a periodic image are periodic; a seam would break that."""
    network, images = network_of("valid"), np.tile(draw(1, 4, 4, 3), (1, 32, 32, 1))
    logits = compute_logits_tiled(network, images[0], 20)[..., 24:-24, 24:-24]
    assert torch.allclose(logits[..., 4:, :], logits[..., :-4, :], rtol=0, atol=1e-5)
    assert torch.allclose(logits[..., :, 4:], logits[..., :, :-4], rtol=0, atol=1e-5)


def test_less_context_would_leave_seams(monkeypatch):
    """The test above can fail: half of the context is not enough."""
    network, images = network_of("same"), draw(1, 96, 96, 3)
    whole = compute_logits(network, images, CPU)
    monkeypatch.setattr(UNet, "receptive_radius", receptive_radius(2) // 2)
    assert not torch.allclose(compute_logits_tiled(network, images[0], 16), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_network_never_sees_more_than_a_tile_and_its_context(padding):
    network, seen = network_of(padding), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    compute_logits_tiled(network, draw(150, 130, 3), 32)
    context = 24  # the receptive radius of two poolings, 23, up to a multiple of 4
    assert len(seen) == 5 * 5
    assert max(max(sizes) for sizes in seen) == 32 + 2 * context


@pytest.mark.parametrize(
    "part", [(slice(0, 5), slice(3, 9)), (slice(7, 30), slice(1, 2)), (slice(20, 31), slice(40, 43))]
)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_any_part_has_the_logits_of_the_whole_image(padding, part):
    network, image = network_of(padding), draw(31, 43, 3)
    whole = compute_logits(network, mirror_to_multiple(image[None], network.stride), CPU)[..., :31, :43]
    logits = compute_logits_of_part(network, WholeImage(image), *part, CPU)
    assert torch.allclose(logits, whole[..., part[0], part[1]], rtol=0, atol=1e-5)


def test_logits_that_are_not_finite_are_refused():
    network = network_of("valid")
    torch.nn.init.constant_(network.head.bias, float("nan"))
    with pytest.raises(InputError, match="not finite"):
        compute_logits_tiled(network, draw(8, 8, 3), 8)
