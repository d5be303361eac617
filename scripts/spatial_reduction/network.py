"""What every network offers to training, saliency and evaluation."""

from typing import Any

from torch import nn


class Network(nn.Module):
    """Maps images float (N, C, H, W) in [0, 1] to logits (N, classes, H, W).

    Attributes:
        architecture: what `model.build_network` needs to build it again, plain JSON.
        stride: by which H and W must be divisible.
    """

    architecture: dict[str, Any]
    stride: int

    @property
    def deepest(self) -> nn.Module:
        """Return the module whose output are the deepest features, (N, channels, h, w), for class activation maps."""
        raise NotImplementedError

    @property
    def receptive_radius(self) -> int:
        """Return how far, in pixels along a side, a pixel is at most that a logit depends on; tiles need it."""
        raise NotImplementedError

    @property
    def period(self) -> int:
        """Return the step in pixels by whose multiples an image may move and its logits move along, borders apart."""
        raise NotImplementedError
