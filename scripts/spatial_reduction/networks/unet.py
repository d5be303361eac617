"""The U-Net (Ronneberger, Fischer, Brox 2015, arXiv 1505.04597): as published, padded, and of any width list."""

from collections.abc import Sequence

import torch
from torch import nn

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.mirror_padding import mirror_pad


class UNet(Network):
    """A U-Net that maps images to logits of the same size, with padded 3x3 convolutions or unpadded ones.

    Args:
        in_channels: channels of the images.
        classes: number of classes, hence of logits.
        widths: channels at each resolution, from full size down; len(widths) - 1 poolings.
        padding: `same` pads every 3x3 convolution with zeros; H and W must be divisible by 2 per pooling. `valid`
            pads none, as published: the borders of the image are mirrored instead, and it may have any size.
        dropout: probability with which a feature is dropped in training, after the two blocks of lowest resolution:
            "at the end of the contracting path" (section 3.1); in the released network 0.5 after both (memory).
        initialisation: `default` (PyTorch's) or `he`, normal with standard deviation sqrt(2 / N), N the incoming
            values of one neuron (section 3), and biases of 0.

    Widths 32-64-128 with 3 channels and 3 classes are the reference run's network: 466,595 parameters. The published
    one is 64-128-256-512-1024 with 1 channel, 2 classes and padding `valid`: 31,030,658 parameters,
    23 convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: Sequence[int],
        padding: str = "same",
        dropout: float = 0,
        initialisation: str = "default",
    ) -> None:
        super().__init__()
        self.padding, self.poolings = padding, len(widths) - 1
        self.stride = 2**self.poolings if padding == "same" else 1
        self.encoders = nn.ModuleList(
            double_convolution(a, b, padding) for a, b in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # (128, 64), (64, 32)
        self.upsamplers = nn.ModuleList(nn.ConvTranspose2d(a, b, kernel_size=2, stride=2) for a, b in rising)
        self.decoders = nn.ModuleList(double_convolution(2 * b, b, padding) for _, b in rising)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)
        if initialisation == "he":
            self.apply(_draw_he)

    @property
    def bottleneck(self) -> nn.Module:
        """Return the block of lowest resolution; padded, its output is (N, widths[-1], H / stride, W / stride)."""
        return self.encoders[-1]

    def enlarge(self, features: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Return what lies on `bottleneck` on the pixels of its image, (N, 1, h, w) -> (N, 1, height, width).

        Unpadded, the deepest features are of the mirrored image: 2 * 2^poolings - 2 of its pixels stand out of the
        image on the left and above.
        """
        if self.padding == "same":
            return super().enlarge(features, height, width)
        period, out = self.period, 2 * self.period - 2
        large = super().enlarge(features, period * features.shape[-2], period * features.shape[-1])
        return large[..., out : out + height, out : out + width]

    @property
    def receptive_radius(self) -> int:
        """Return the reach of a logit, see `receptive_radius`; the same with and without padding."""
        return receptive_radius(self.poolings)

    @property
    def period(self) -> int:
        """Return 2 per pooling."""
        return 2**self.poolings

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float (N, C, H, W) in [0, 1] to logits (N, classes, H, W).

        Padded, H and W must be divisible by `stride`. Unpadded, they may be any: the borders are mirrored, just far
        enough that every pooling sees even sizes and the logits cover the image.
        """
        if self.padding == "same":
            return self.forward_bare(images)
        height, width = images.shape[-2:]
        after = (self._margin_after(height), self._margin_after(width))
        return self.forward_bare(mirror_pad(images, self._margin, after))[..., :height, :width]

    def forward_bare(self, images: torch.Tensor) -> torch.Tensor:
        """Map images to the logits that the convolutions leave, without mirroring.

        Unpadded, these are smaller than the image: (N, 1, 572, 572) -> (N, classes, 388, 388) for four poolings. The
        skipped features are cropped to their centre.
        """
        skips = []
        features = images
        for depth, encoder in enumerate(self.encoders):
            features = encoder(features)
            if depth >= self.poolings - 1:  # the last two blocks
                features = self.dropout(features)
            if depth < self.poolings:
                skips.append(features)
                features = self.pool(features)
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            features = upsampler(features)
            features = decoder(torch.cat([self._cropped(skips.pop(), features), features], dim=1))
        return self.head(features)

    def _cropped(self, skip: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        if self.padding == "same":
            return skip
        (height, width), (top, left) = features.shape[-2:], _half_difference(skip, features)
        return skip[..., top : top + height, left : left + width]

    @property
    def _margin(self) -> int:
        """Half of what the convolutions take from a side: 92 pixels for four poolings.

        With p poolings, an input of 2^p m + 4 (2^p - 1) pixels brings m to the bottom block, and
        2^p (m - 4) - 4 (2^p - 1) come out: for any m, 12 2^p - 8 fewer.
        """
        return 6 * 2**self.poolings - 4

    def _margin_after(self, length: int) -> int:
        """Return the margin below or on the right of an image: of the smallest output that covers it."""
        output = (length - 4 + 2**self.poolings - 1) // 2**self.poolings * 2**self.poolings + 4
        return self._margin + output - length


def receptive_radius(poolings: int) -> int:
    """Return how far a logit of a U-Net sees at most, in pixels along a side: 7 2^poolings - 5.

    With p poolings it lies in a block of 2^p pixels, one at the lowest resolution. At every resolution the
    convolutions reach 2 pixels further, on the way down and up: 6 2^p - 4 pixels beyond the block (92, half of
    572 - 388, for p = 4), which are up to 2^p - 1 more from the block's other end.
    """
    return 7 * 2**poolings - 5


def double_convolution(in_channels: int, out_channels: int, padding: str = "same") -> nn.Sequential:
    """Return two 3x3 convolutions, each followed by a ReLU; `padding` is `same` or `valid`."""
    added = 1 if padding == "same" else 0
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=added),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=added),
        nn.ReLU(inplace=True),
    )


def _half_difference(outer: torch.Tensor, inner: torch.Tensor) -> tuple[int, int]:
    return (outer.shape[-2] - inner.shape[-2]) // 2, (outer.shape[-1] - inner.shape[-1]) // 2


def _draw_he(module: nn.Module) -> None:
    """Draw weights from N(0, 2 / N). A pixel that a 2x2 up-convolution makes sees one pixel: N is its channels."""
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return
    area = module.kernel_size[0] * module.kernel_size[1] if isinstance(module, nn.Conv2d) else 1
    nn.init.normal_(module.weight, std=(2 / (module.in_channels * area)) ** 0.5)
    nn.init.zeros_(module.bias)
