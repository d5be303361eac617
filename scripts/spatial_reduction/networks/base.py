"""What every network offers to training, saliency and evaluation."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate


class Network(nn.Module, ABC):
    """Maps images float (N, C, H, W) in [0, 1] to logits (N, classes, H, W).

    Attributes:
        architecture: what `model.build_network` needs to build it again, plain JSON.
        stride: by which H and W must be divisible.
    """

    architecture: dict[str, Any]
    stride: int

    @property
    @abstractmethod
    def bottleneck(self) -> nn.Module:
        """Return the module whose output are the features (N, channels, h, w) that class activation maps weigh."""

    @property
    @abstractmethod
    def receptive_radius(self) -> int:
        """Return how far, in pixels along a side, a pixel is at most that a logit depends on; tiles need it."""

    @property
    @abstractmethod
    def period(self) -> int:
        """Return the step in pixels by whose multiples an image may move and its logits move along, borders apart."""

    @property
    def exported_stride(self) -> int:
        """Return by what H and W must be divisible once the network is exported."""
        return self.stride

    def enlarge(self, features: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Return a map on the bottleneck enlarged to its image, bilinearly; (N, 1, h, w) -> (N, 1, height, width)."""
        return interpolate(features, size=(height, width), mode="bilinear")

    def training_pass(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        windows: int,  # noqa: ARG002  (of networks that do not train on whole images)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits (N, classes, ...) and the labels (N, ...) that a training step compares.

        Args:
            images: float (N, C, H, W) in [0, 1].
            labels: uint8 (N, H, W), 255 is ignored.
            windows: that a network which trains on windows draws per image.
        """
        return self(images), labels
