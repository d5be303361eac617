import numpy as np
import pytest
import torch

from spatial_reduction.networks.inference import compute_logits
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.networks.tiled_inference import compute_logits_tiled, mirror_to_multiple
from spatial_reduction.networks.unet import UNet, receptive_radius
from spatial_reduction.runtime.errors import InputError

CPU = torch.device("cpu")


def network_of(padding, widths=(2, 3, 4)):
    section = {"name": "unet", "widths": list(widths), "padding": padding, "initialisation": "he"}
    return build_model(3, 2, section, seed=1).eval()


def draw(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "tile"), [((96, 64), 16), ((37, 53), 8), ((70, 45), 30), ((9, 100), 1), ((5, 6), 64)])
def test_tiles_give_the_logits_of_the_whole_image(padding, size, tile):
    network, images = network_of(padding), draw(1, *size, 3)
    whole = compute_logits(network, mirror_to_multiple(images, network.stride), CPU)[..., : size[0], : size[1]]
    tiled = compute_logits_tiled(network, images, tile, CPU)
    assert tiled.shape == (1, 2, *size)
    assert torch.allclose(tiled, whole, rtol=0, atol=1e-5)
    assert whole.std() > 0.05  # what 1e-5 is small beside


def test_tiles_give_the_logits_of_the_whole_image_with_a_sliding_window():
    section = {"name": "sliding_window", "widths": [2, 3, 4], "window": 13}
    network, images = build_model(3, 2, section, seed=1).eval(), draw(1, 29, 40, 3)
    whole = compute_logits(network, images, CPU)
    assert torch.allclose(compute_logits_tiled(network, images, 8, CPU), whole, rtol=0, atol=1e-5)


def test_tiles_of_a_periodic_image_show_no_seam():
    """Away from the borders the logits of a periodic image are periodic; a seam would break that."""
    network, images = network_of("valid"), np.tile(draw(1, 4, 4, 3), (1, 32, 32, 1))
    logits = compute_logits_tiled(network, images, 20, CPU)[..., 24:-24, 24:-24]
    assert torch.allclose(logits[..., 4:, :], logits[..., :-4, :], rtol=0, atol=1e-5)
    assert torch.allclose(logits[..., :, 4:], logits[..., :, :-4], rtol=0, atol=1e-5)


def test_less_context_would_leave_seams(monkeypatch):
    """The test above can fail: half of the context is not enough."""
    network, images = network_of("same"), draw(1, 96, 96, 3)
    whole = compute_logits(network, images, CPU)
    monkeypatch.setattr(UNet, "receptive_radius", receptive_radius(2) // 2)
    assert not torch.allclose(compute_logits_tiled(network, images, 16, CPU), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_network_never_sees_more_than_a_tile_and_its_context(padding):
    network, seen = network_of(padding), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    compute_logits_tiled(network, draw(1, 150, 130, 3), 32, CPU)
    context = 24  # the receptive radius of two poolings, 23, up to a multiple of 4
    assert len(seen) == 5 * 5
    assert max(max(sizes) for sizes in seen) == 32 + 2 * context


def test_batches_of_images_are_tiled_together_as_one_by_one():
    network, images = network_of("same"), draw(2, 20, 30, 3)
    each = [compute_logits_tiled(network, image[None], 8, CPU) for image in images]
    assert torch.allclose(compute_logits_tiled(network, images, 8, CPU), torch.cat(each), rtol=0, atol=1e-5)


def test_logits_that_are_not_finite_are_refused():
    network = network_of("valid")
    torch.nn.init.constant_(network.head.bias, float("nan"))
    with pytest.raises(InputError, match="not finite"):
        compute_logits_tiled(network, draw(1, 8, 8, 3), 8, CPU)
