"""The U-Net (Ronneberger, Fischer, Brox 2015, arXiv 1505.04597), padded, of any width list."""

from collections.abc import Sequence

import torch
from torch import nn

from spatial_reduction.network import Network


class UNet(Network):
    """A U-Net whose 3x3 convolutions are padded, so that the logits have the size of the image.

    Args:
        in_channels: channels of the images.
        classes: number of classes, hence of logits.
        widths: channels at each resolution, from full size down; len(widths) - 1 poolings.

    Widths 32-64-128 with 3 channels and 3 classes are the reference run's network: 466,595 parameters.
    """

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        self.encoders = nn.ModuleList(
            double_convolution(a, b) for a, b in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # (128, 64), (64, 32)
        self.upsamplers = nn.ModuleList(nn.ConvTranspose2d(a, b, kernel_size=2, stride=2) for a, b in rising)
        self.decoders = nn.ModuleList(double_convolution(2 * b, b) for _, b in rising)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    @property
    def deepest(self) -> nn.Module:
        """Return the block of lowest resolution, (N, widths[-1], H / stride, W / stride)."""
        return self.encoders[-1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float (N, C, H, W) in [0, 1] to logits (N, classes, H, W); H, W divisible by 2^poolings."""
        skips = []
        features = images
        for encoder in self.encoders[:-1]:
            features = encoder(features)
            skips.append(features)
            features = self.pool(features)
        features = self.encoders[-1](features)
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            features = decoder(torch.cat([skips.pop(), upsampler(features)], dim=1))
        return self.head(features)


def double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return two padded 3x3 convolutions, each followed by a ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
    )
