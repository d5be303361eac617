import pytest
import torch

from spatial_reduction.networks.unet import UNet


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("widths", [[1, 1], [1, 1, 1], [1, 1, 1, 1]])
def test_the_deepest_features_of_a_bright_square_lie_on_it_when_enlarged(padding, widths):
    """All weights are equal and positive, so the features of a square are centred on the square."""
    network = UNet(1, 1, widths, padding)
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0 if parameter.ndim == 1 else 1)
    kept = []
    network.bottleneck.register_forward_hook(lambda module, inputs, output: kept.append(output))
    side, square = 16 * network.period, 2 * network.period
    for top, left in [(4 * network.period, 8 * network.period), (8 * network.period, 6 * network.period)]:
        image = torch.zeros(1, 1, side, side)
        image[..., top : top + square, left : left + square] = 1
        with torch.no_grad():
            network(image)
        large = network.enlarge(kept.pop(), side, side)[0, 0]
        assert large.shape == (side, side)
        places = torch.arange(side) + 0.5
        centre = [float((large.sum(dim=d) * places).sum() / large.sum()) for d in (1, 0)]
        assert centre == pytest.approx([top + square / 2, left + square / 2], abs=0.6 * network.period)
