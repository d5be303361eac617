"""Random changes of a training batch; image, labels and weights move together."""

from collections.abc import Callable, Sequence

import torch

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.training.elastic_deformation import draw_smooth_sources, draw_sources, resample

Augment = Callable[..., tuple[torch.Tensor, ...]]
OF_PLACE = ("shift", "rotate", "grid_elastic")
COLOUR = 0.3  # brightness, contrast and saturation change by up to 30 %
GREY_SCALE, GREY_OFFSET = 0.2, 0.1  # +-20 % of the contrast, +-10 % of the range; the U-Net's paper gives no numbers


def build_augmentation(names: Sequence[str], side: int) -> Augment | None:
    """Return a function (images uint8 (N, H, W, C), labels uint8 (N, H, W), weights...) -> the same; None for no names.

    Names, in the order in which they are applied:
        `flip` (left-right, p = 0.5), `colour` (brightness, contrast, saturation +-30 %) and `elastic` (smooth
        displacements with a standard deviation of about 1.5 % of the image's `side`; pixels from outside are black
        and ignored), in the given order.
        `shift`, `rotate` and `grid_elastic`, see `elastic_deformation.draw_sources`; in one resampling, mirrored
        outside.
        `grey`: grey values times 0.8 to 1.2 plus -10 to 10 % of the range, all channels alike.
    Every image draws its own parameters from PyTorch's global generator of the images' device, where all is computed,
    for all images at once and without asking the device for a value, so that a training step can be recorded with it.
    """
    parts = []
    simple = {"flip": _flip, "colour": _change_colour, "elastic": _elastic_augmentation(side)}
    parts += [simple[name] for name in names if name in simple]
    if moves := [name for name in names if name in OF_PLACE]:
        parts.append(_place_augmentation(moves, side))
    if "grey" in names:
        parts.append(_change_grey)

    def augment(*batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for part in parts:
            batch = part(*batch)
        return batch

    return augment if parts else None


def _flip(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
    is_flipped = torch.rand(len(images), device=images.device) < 0.5
    return tuple(
        torch.where(is_flipped.reshape(-1, *[1] * (tensor.dim() - 1)), tensor.flip(2), tensor)
        for tensor in (images, *planes)
    )


def _change_colour(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
    factors = 1 + COLOUR * (2 * torch.rand(3, len(images), 1, 1, 1, device=images.device) - 1)
    return change_colour(images, *factors), *planes


def change_colour(
    images: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Multiply brightness, contrast (the distance to the image's mean grey) and saturation (that to each pixel's grey).

    Args:
        images: uint8 (N, H, W, C); grey ones have no saturation.
        brightness, contrast, saturation: factors, float (N, 1, 1, 1).
    """
    values = (images * brightness).clamp(0, 255)
    mean = _grey(values).mean(dim=(1, 2, 3), keepdim=True)
    values = (mean + contrast * (values - mean)).clamp(0, 255)
    if images.shape[3] == 3:
        grey = _grey(values)
        values = (grey + saturation * (values - grey)).clamp(0, 255)
    return values.round().to(images.dtype)


def _grey(values: torch.Tensor) -> torch.Tensor:
    """Return the brightness that an eye sees (ITU-R BT.601), (N, H, W, 1)."""
    if values.shape[3] == 1:
        return values
    return 0.299 * values[..., :1] + 0.587 * values[..., 1:2] + 0.114 * values[..., 2:]


def _elastic_augmentation(side: int) -> Augment:
    def augment(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sources = draw_smooth_sources(len(images), images.shape[1:3], side, images.device)
        return resample(images, *planes, sources=sources, outside=IGNORED)

    return augment


def _place_augmentation(names: Sequence[str], side: int) -> Augment:
    def augment(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sources = draw_sources(names, len(images), images.shape[1:3], side, images.device)
        return resample(images, *planes, sources=sources)

    return augment


def _change_grey(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
    scale, offset = 2 * torch.rand(2, len(images), 1, 1, 1, device=images.device) - 1
    changed = images * (1 + GREY_SCALE * scale) + 255 * GREY_OFFSET * offset
    return changed.round().clamp(0, 255).to(images.dtype), *planes
