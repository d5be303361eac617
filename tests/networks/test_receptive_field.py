import pytest
import torch

from spatial_reduction.networks.unet import UNet, receptive_radius


@pytest.mark.parametrize("widths", [[1], [1, 1], [1, 1, 1], [1, 1, 1, 1]])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_receptive_radius_is_how_far_gradients_reach(padding, widths):
    """With positive weights, inputs and biases no path from a pixel to a logit is cut or cancelled."""
    network = UNet(1, 1, widths, padding).double()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    period, side = network.period, 24 * network.period
    image = torch.rand(1, 1, side, side, dtype=torch.float64) + 1
    reached = []
    for x in range(side // 2, side // 2 + period):  # every place in a block
        image.grad, image.requires_grad = None, True
        # Pooling passes the largest on: over many images every pixel of a 2x2 square is. Replace it by the mean.
        network.pool = torch.nn.AvgPool2d(2)
        network(image)[0, 0, x, x].backward()
        seen = image.grad[0, 0].sum(dim=0).nonzero()
        reached += [x - int(seen.min()), int(seen.max()) - x]
    assert max(reached) == network.receptive_radius == receptive_radius(len(widths) - 1)
