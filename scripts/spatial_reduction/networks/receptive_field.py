"""How far the logits of a network see that comes without a formula for it."""

from copy import deepcopy

import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.runtime.errors import InputError

WIDEST = 4096  # pixels; a network whose logits see farther is taken to see all of the image


def measure_receptive_radius(network: Network) -> int:
    """Return how far, in pixels along a side, a pixel is at most that a logit depends on.

    What is not a number makes every number that is computed from it one that is none, even times 0. So the columns
    of logits that an image with NaN in one block of `network.period` columns makes NaN are those that depend on the
    block; what is returned holds for all of its columns, and is less than a period too large. The image is one
    period high, the network works on the CPU in evaluation mode.

    Raises:
        InputError: a logit depends on the whole image, as after a global pooling.
    """
    probed, period = deepcopy(network).cpu().eval(), network.period
    width = 16 * period
    while width <= max(WIDEST, 16 * period):
        first = width // 2 // period * period
        images = torch.full((1, network.architecture["in_channels"], period, width), 0.5)
        images[..., first : first + period] = torch.nan
        with torch.inference_mode():
            reached = probed(images).isnan().any(dim=1)[0].any(dim=0).nonzero().flatten().tolist()
        if reached[0] > 0 and reached[-1] < width - 1:
            return max(first + period - 1 - reached[0], reached[-1] - first)
        width *= 2
    raise InputError(
        f"model.name: {network.architecture['name']}: a pixel's logits depend on the whole image, so tiles would "
        "change them; prediction.resize: true shows the network whole images"
    )
