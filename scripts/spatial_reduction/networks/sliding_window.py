"""The sliding-window network (Ciresan, Giusti, Gambardella, Schmidhuber 2012, NIPS): a classifier of the centre pixel.

It is trained on square windows and, applied around every pixel, segments. Applied literally it computes the same
features up to window^2 times; the dense pass computes each of them once: a pooling moves by one pixel instead of
two, and all that follows it reads every second pixel (Giusti et al. 2013, arXiv 1302.1700; dilated filters).
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.mirror_padding import reflected
from spatial_reduction.networks.window_sampling import cut_windows, draw_balanced
from spatial_reduction.runtime.errors import InputError

ELEMENTS = 1 << 26  # of one feature map that the dense pass may hold at once; 256 MiB in float32


class Convolution(nn.Conv2d):
    """An unpadded convolution and a ReLU, whose filter can be spread at each call."""

    def forward(self, features: torch.Tensor, dilation: int = 1) -> torch.Tensor:
        """Map (N, channels, H, W) to the same, narrower by dilation * (kernel - 1)."""
        return functional.relu(functional.conv2d(features, self.weight, self.bias, dilation=dilation))


class SlidingWindow(Network):
    """Convolutions, each with a 2x2 max-pooling, then a fully connected layer and the classes.

    A convolution's filter is 4x4 on windows of odd side and 5x5 on even ones, so that the side before a pooling is
    always even; 95 pixels and widths 48, 48, 48, 48, 200 are the published network N4.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        widths: channels of each convolution and, last, the units of the fully connected layer.
        window: side of a window in pixels, odd.

    Raises:
        InputError: the window is even or too small for that many poolings.
    """

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int], window: int) -> None:
        super().__init__()
        smallest = 2 ** (len(widths) + 1) - 3  # 5, 13, 29, 61: a side of 1 is left after the last pooling
        if window % 2 == 0 or window < smallest:
            raise InputError(f"model.window: {window} is not an odd number >= {smallest}, as {len(widths)} widths need")
        self.stride, self.window, self.widest = 1, window, max(widths)
        self.convolutions = nn.ModuleList()
        side = window
        for before, after in zip([in_channels, *widths[:-2]], widths[:-1], strict=True):
            kernel = 4 if side % 2 else 5
            self.convolutions.append(Convolution(before, after, kernel))
            side = (side - kernel + 1) // 2
        self.hidden = Convolution(widths[-2], widths[-1], side)
        self.head = nn.Conv2d(widths[-1], classes, kernel_size=1)

    @property
    def bottleneck(self) -> nn.Module:
        """Return the fully connected layer: in `forward` its output is (N, widths[-1], H, W)."""
        return self.hidden

    @property
    def receptive_radius(self) -> int:
        """Return how far a logit sees: half a window."""
        return self.window // 2

    @property
    def period(self) -> int:
        """Return 1: every pixel has a window of its own."""
        return 1

    def classify(self, windows: torch.Tensor) -> torch.Tensor:
        """Map windows float (N, C, window, window) in [0, 1] to the logits (N, classes) of their centre pixels."""
        return self._evaluate(windows, is_dense=False).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float (N, C, H, W) in [0, 1] of any size to logits (N, classes, H, W).

        Equals `classify` of the window around every pixel of the image, mirrored at its borders (the edge pixel is
        not repeated). Large images pass in bands of rows, unless gradients are wanted, which need all of them.
        """
        height, width = images.shape[2:]
        margin = self.window // 2
        rows, columns = (reflected(side, margin, margin, images.device) for side in (height, width))
        images = images[..., columns]
        if torch.is_grad_enabled():
            return self._evaluate(images[:, :, rows], is_dense=True)
        lines = ELEMENTS // (self.widest * len(columns))
        band = max(1, lines - self.window + 1)
        bands = [rows[first : first + band + self.window - 1] for first in range(0, height, band)]
        parts = images.split(max(1, lines // len(rows)))
        return torch.cat([torch.cat([self._evaluate(some[:, :, at], True) for at in bands], 2) for some in parts])

    def training_pass(
        self, images: torch.Tensor, labels: torch.Tensor, windows: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (n, classes) and labels (n,) of windows around sampled pixels, equally many of each class.

        Args:
            images: float (N, C, H, W) in [0, 1].
            labels: uint8 (N, H, W); pixels without label are not sampled.
            windows: per image on average; the draws are from all images together, with replacement.
        """
        image, row, column = draw_balanced(labels, windows * len(labels))
        return self.classify(cut_windows(images, image, row, column, self.window)), labels[image, row, column]

    def _evaluate(self, features: torch.Tensor, is_dense: bool) -> torch.Tensor:
        dilation = 1
        for convolution in self.convolutions:
            features = convolution(features, dilation)
            features = functional.max_pool2d(features, 2, stride=1 if is_dense else 2, dilation=dilation)
            dilation *= 2 if is_dense else 1
        return self.head(self.hidden(features, dilation))
