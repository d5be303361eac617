import numpy as np
import pytest
import torch
from torch import nn

from spatial_reduction.networks.model_file import build_model
from spatial_reduction.networks.unet import UNet

PUBLISHED = {"in_channels": 1, "classes": 2, "widths": [64, 128, 256, 512, 1024], "padding": "valid"}
SMALL = {"name": "unet", "widths": [2, 4, 8]}


@pytest.fixture(scope="module")
def thin():
    """The published network with 1/32 of its channels."""
    return UNet(**PUBLISHED | {"widths": [2, 4, 8, 16, 32]}).eval().requires_grad_(False)


def trace_shapes(network, images):
    """Return the output shapes of the bare pass: (of each convolution in order, of the whole)."""
    shapes = []
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(lambda *called: shapes.append(tuple(called[2].shape[1:]))) for layer in layers]
    output = network.forward_bare(images)
    for hook in hooks:
        hook.remove()
    return shapes, tuple(output.shape[1:])


def test_the_published_network_has_31_million_parameters_and_23_convolutions():
    with torch.device("meta"):  # no memory, no draws
        published = UNet(**PUBLISHED)
    widths = PUBLISHED["widths"]
    encoders = sum(9 * a * b + b + 9 * b * b + b for a, b in zip([1, *widths[:-1]], widths, strict=True))
    # an up-convolution 2x2 and two convolutions 3x3, the first of twice the channels, per step upwards
    decoders = sum(4 * 2 * b * b + b + 9 * 2 * b * b + b + 9 * b * b + b for b in widths[:-1])
    head = 64 * 2 + 2
    assert encoders + decoders + head == 31_030_658
    assert sum(parameter.numel() for parameter in published.parameters()) == 31_030_658
    assert sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in published.modules()) == 23


def test_the_published_sizes_are_those_of_figure_1(thin):
    shapes, output = trace_shapes(thin, torch.rand(1, 1, 572, 572))
    sides = [570, 568, 282, 280, 138, 136, 66, 64, 30, 28]
    sides += [56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388]
    channels = [2, 2, 4, 4, 8, 8, 16, 16, 32, 32] + [16] * 3 + [8] * 3 + [4] * 3 + [2] * 3 + [2]
    assert shapes == [(count, side, side) for count, side in zip(channels, sides, strict=True)]
    assert output == (2, 388, 388)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (37, 53), (388, 388), (389, 3)])
def test_unpadded_logits_have_the_size_of_any_image(thin, size):
    assert thin(torch.rand(1, 1, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("size", [(388, 388), (389, 388 + 16)])
def test_the_mirrored_image_is_the_smallest_that_covers(thin, size):
    """388 pixels come from 572, 16 more from 16 more; every pooling sees even sizes, or the output were smaller."""
    seen = []
    hook = thin.encoders[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    thin(torch.rand(1, 1, *size))
    hook.remove()
    assert seen == [tuple(572 + 16 * ((side > 388) + 0) for side in size)]


@pytest.mark.parametrize("widths", [[3, 4], [2, 3, 4]])
def test_unpadded_logits_are_those_of_the_mirrored_image(widths):
    torch.manual_seed(0)
    network, image = UNet(1, 2, widths, padding="valid").eval(), np.random.default_rng(0).random((1, 1, 9, 14), "f4")
    p = 2 ** (len(widths) - 1)
    margin = (12 * p - 8) // 2  # 8 for one pooling, 20 for two
    # outputs of the bare pass are p k + 4 pixels
    after = [(-(-(side - 4) // p) * p + 4) - side + margin for side in (9, 14)]
    mirrored = np.pad(image, [(0, 0), (0, 0), (margin, after[0]), (margin, after[1])], mode="reflect")
    with torch.inference_mode():
        expected = network.forward_bare(torch.from_numpy(mirrored))[..., :9, :14]
        assert torch.equal(network(torch.from_numpy(image)), expected)


def test_default_weights_are_those_that_plain_layers_draw():
    torch.manual_seed(5)
    sizes = [(3, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8)]
    layers = [nn.Conv2d(a, b, 3) for a, b in sizes]
    layers += [nn.ConvTranspose2d(8, 4, 2), nn.ConvTranspose2d(4, 2, 2)]
    layers += [nn.Conv2d(a, b, 3) for a, b in [(8, 4), (4, 4), (4, 2), (2, 2)]] + [nn.Conv2d(2, 3, 1)]
    expected, after = [value for layer in layers for value in (layer.weight, layer.bias)], torch.rand(1)
    for extra in ({}, {"padding": "same", "dropout": 0, "initialisation": "default"}, {"padding": "valid"}):
        found = list(build_model(3, 3, SMALL | extra, seed=5).parameters())
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert torch.equal(torch.rand(1), after)


def test_he_weights_have_the_deviation_of_their_incoming_values_and_no_bias():
    model = build_model(16, 2, {"name": "unet", "widths": [32, 64], "initialisation": "he"}, seed=1)
    incoming = {"encoders.0.0": 9 * 16, "encoders.1.2": 9 * 64, "decoders.0.0": 9 * 64, "upsamplers.0": 64}
    for name, count in incoming.items():
        weight = model.get_submodule(name).weight
        # the deviation of n draws is off by 1 / sqrt(2 n) of itself
        assert float(weight.detach().std()) == pytest.approx((2 / count) ** 0.5, rel=4 / (2 * weight.numel()) ** 0.5)
    assert not any(layer.bias.any() for layer in model.modules() if hasattr(layer, "bias"))


def test_dropout_of_zero_draws_nothing_and_dropout_acts_in_training_only():
    images = torch.rand(1, 3, 8, 8)
    model = build_model(3, 3, SMALL, seed=1)
    before = torch.get_rng_state()
    model.train()(images)
    assert torch.equal(torch.get_rng_state(), before)
    plain, dropping = (build_model(3, 3, SMALL | {"dropout": p}, seed=1) for p in (0, 0.5))
    assert torch.equal(plain.eval()(images), dropping.eval()(images))
    assert not torch.equal(plain.train()(images), dropping.train()(images))


def test_dropout_is_at_the_end_of_the_contracting_path():
    model = build_model(3, 3, SMALL | {"dropout": 0.5}, seed=1).train()
    shapes = []
    model.dropout.register_forward_hook(lambda *called: shapes.append(tuple(called[2].shape)))
    model(torch.rand(1, 3, 8, 8))
    assert shapes == [(1, 4, 4, 4), (1, 8, 2, 2)]  # the last-but-one block and the bottleneck, as in the released net
