"""A U-Net on an encoder that another data set has trained: one of timm's (features_only), with this project's decoder.

timm is imported where such a network is built: it takes seconds, and jobs of other networks need none of it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.mirror_padding import mirror_pad
from spatial_reduction.networks.receptive_field import measure_receptive_radius
from spatial_reduction.networks.unet import double_convolution
from spatial_reduction.runtime.errors import InputError


class EncoderUNet(Network):
    """Features of an encoder at 1/2, 1/4, ... of the size, and a decoder that joins them as a U-Net does.

    An image of any size is continued by mirroring, below and on the right, to multiples of 2^len(widths).

    Args:
        in_channels: channels of the images; timm turns the filters of an encoder for 3 into filters for others.
        classes: number of classes.
        encoder: name of a timm network that gives feature maps, such as `tf_efficientnet_lite0`.
        widths: channels of the decoder at each resolution, from full size down; the encoder is used as far as
            1 / 2^len(widths) of the size.
        freeze_normalisation: batch normalisation of the encoder keeps the means and variances that it came with;
            its scales and shifts are trained.
        encoder_weights: initial weights of the encoder by timm's names, or None to draw them.

    Raises:
        InputError: timm has no such encoder, or it gives no such features.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        encoder: str,
        widths: Sequence[int],
        freeze_normalisation: bool = False,
        encoder_weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.levels, self.freeze_normalisation = 1, len(widths), freeze_normalisation
        self.encoder = _build_encoder(encoder, in_channels, self.levels, encoder_weights)
        info = self.encoder.feature_info
        for name, values in _input_scaling(encoder, in_channels).items():
            self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1))
        self.deepest = nn.Identity()  # what asks for features can get hold of its output
        channels = dict(zip(info.reduction(), info.channels(), strict=True))
        below = [*widths[1:], channels[2**self.levels]]
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in zip(below, widths, strict=True)
        )
        self.decoders = nn.ModuleList(
            double_convolution(width + channels.get(2**level, 0), width) for level, width in enumerate(widths)
        )
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    @property
    def bottleneck(self) -> nn.Module:
        """Return the encoder's deepest features: (N, channels, h, w), h and w the mirrored sides / 2^len(widths)."""
        return self.deepest

    @cached_property
    def receptive_radius(self) -> int:
        """Return how far a logit sees; measured, as encoders differ."""
        return measure_receptive_radius(self)

    @property
    def exported_stride(self) -> int:
        """Return the period: an exported network mirrors nothing."""
        return self.period

    @property
    def period(self) -> int:
        """Return the size of a pixel of the deepest features."""
        return 2**self.levels

    def enlarge(self, features: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Return a map on `bottleneck` on the pixels of its image, (N, 1, h, w) -> (N, 1, height, width)."""
        large = super().enlarge(features, self.period * features.shape[-2], self.period * features.shape[-1])
        return large[..., :height, :width]

    def train(self, mode: bool = True) -> "EncoderUNet":
        """Set the mode; a frozen normalisation is always in evaluation mode."""
        super().train(mode)
        if self.freeze_normalisation:
            for module in self.encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float (N, C, H, W) in [0, 1] to logits (N, classes, H, W)."""
        height, width = images.shape[-2:]
        missing = (-height % self.period, -width % self.period)
        whole = mirror_pad(images, 0, missing) if any(missing) else images
        maps = self.encoder((whole - self.mean) / self.std)
        skips = dict(zip(self.encoder.feature_info.reduction(), maps, strict=True))
        features = self.deepest(skips.pop(self.period))
        for level in reversed(range(self.levels)):
            features = self.upsamplers[level](features)
            if 2**level in skips:
                features = torch.cat([skips[2**level], features], dim=1)
            features = self.decoders[level](features)
        return self.head(features)[..., :height, :width]


def _build_encoder(name: str, in_channels: int, levels: int, weights: Mapping[str, torch.Tensor] | None) -> nn.Module:
    """Return timm's encoder, which maps images to a list of feature maps down to 1 / 2^levels of the size."""
    import timm  # imported here: it takes seconds, which jobs of other networks need not wait

    if not timm.is_model(name):
        raise InputError(f"model.encoder: timm {timm.__version__} has no network {name!r}")
    if timm.get_pretrained_cfg(name).fixed_input_size:
        raise InputError(f"model.encoder: {name} of timm takes images of one size alone")
    options = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(weights)}} if weights else {}
    try:
        with torch.device("meta"):
            offered = timm.create_model(name, features_only=True).feature_info.reduction()
        wanted = [place for place, reduction in enumerate(offered) if reduction <= 2**levels]
        # The getter leaves out the stages that are not wanted, where other ways compute them.
        options |= {"features_only": True, "feature_cls": "getter", "out_indices": wanted}
        encoder = timm.create_model(name, in_chans=in_channels, **options)
    # timm has no error of its own for a network without feature maps; these are what its kinds of networks raise.
    except (RuntimeError, AttributeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"model.encoder: {name} of timm gives no feature maps ({reason})") from error
    reductions = encoder.feature_info.reduction()
    if reductions[-1] != 2**levels or any(low >= high for low, high in pairwise(reductions)):
        raise InputError(
            f"model.widths: {levels} widths need features of {name} at 1/{2**levels} of the size; it has them at "
            f"{', '.join(f'1/{reduction}' for reduction in offered)}"
        )
    return _with_fixed_padding(encoder)


def _with_fixed_padding(encoder: nn.Module) -> nn.Module:
    """Let convolutions pad as TensorFlow's SAME without asking for the size of the image, as an export must know it.

    Before a stride of s, an image whose side s divides gets max(k - s, 0) pixels by a filter of k, the smaller half
    above and on the left. All sides here are such.
    """
    from timm.layers import Conv2dSame

    for parent in list(encoder.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, Conv2dSame):
                setattr(parent, name, _PaddedConvolution(module))
    return encoder


class _PaddedConvolution(nn.Conv2d):
    """A convolution with the filters of another, after zeros around the image: more below and on the right."""

    def __init__(self, given: nn.Conv2d) -> None:
        super().__init__(
            given.in_channels,
            given.out_channels,
            given.kernel_size,
            given.stride,
            dilation=given.dilation,
            groups=given.groups,
            bias=given.bias is not None,
            device="meta",
        )
        self.weight, self.bias = given.weight, given.bias
        reach = [d * (k - 1) + 1 for d, k in zip(given.dilation, given.kernel_size, strict=True)]
        rows, columns = (max(length - step, 0) for length, step in zip(reach, given.stride, strict=True))
        self.zeros = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, H, W) to (N, channels, H / stride, W / stride)."""
        return super().forward(functional.pad(features, self.zeros))


def _input_scaling(name: str, channels: int) -> dict[str, list[float]]:
    """Return the mean and deviation of each channel that an encoder expects.

    Channels that are not red, green and blue have those of the three on average.
    """
    import timm

    known = timm.get_pretrained_cfg(name)
    return {
        key: list(values) if len(values) == channels else [sum(values) / len(values)] * channels
        for key, values in (("mean", known.mean), ("std", known.std))
    }
