"""Random changes of a training batch; image, labels and weights move together."""

from collections.abc import Callable, Sequence

import torch

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.training.elastic_deformation import draw_sources, resample

Augment = Callable[..., tuple[torch.Tensor, ...]]
OF_TORCHVISION = ("flip", "colour", "elastic")
OF_PLACE = ("shift", "rotate", "grid_elastic")
GREY_SCALE, GREY_OFFSET = 0.2, 0.1  # +-20 % of the contrast, +-10 % of the range; the U-Net's paper gives no numbers


def build_augmentation(names: Sequence[str], side: int) -> Augment | None:
    """Return a function (images uint8 (N, H, W, C), labels uint8 (N, H, W), weights...) -> the same; None for no names.

    Names, in the order in which they come:
        `flip` (left-right, p = 0.5), `colour` (brightness, contrast, saturation +-30 %) and `elastic` (smooth
        displacements with a standard deviation of about 1.5 % of the image's `side`; pixels from outside are black
        and ignored), in the given order.
        `shift`, `rotate` and `grid_elastic`, see `deformation.draw_sources`; in one resampling, mirrored outside.
        `grey`: grey values times 0.8 to 1.2 plus -10 to 10 % of the range, all channels alike.
    Every image draws its own parameters from PyTorch's global generator.
    """
    parts = []
    if chosen := [name for name in names if name in OF_TORCHVISION]:
        parts.append(_torchvision_augmentation(chosen, side))
    if moves := [name for name in names if name in OF_PLACE]:
        parts.append(_place_augmentation(moves, side))
    if "grey" in names:
        parts.append(_change_grey)

    def augment(*batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for part in parts:
            batch = part(*batch)
        return batch

    return augment if parts else None


def _torchvision_augmentation(names: Sequence[str], side: int) -> Augment:
    # Imported here: torchvision takes as long to import as torch, and most trainings do not augment.
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    # Uniform noise under a Gaussian of sigma has a standard deviation of 0.577 / (2 sqrt(pi) sigma); torchvision
    # multiplies it by alpha / 2 pixels. alpha = side^2 / 136 makes that about 1.5 % of the side.
    transforms = {
        "flip": v2.RandomHorizontalFlip(),
        "colour": v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        "elastic": v2.ElasticTransform(
            alpha=side**2 / 136, sigma=side / 25, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}
        ),
    }
    chain = v2.Compose([transforms[name] for name in names])

    def augment(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        changed = [
            chain(tv_tensors.Image(image.permute(2, 0, 1)), *map(tv_tensors.Mask, others))
            for image, *others in zip(images, *planes, strict=True)
        ]
        pixels, *moved = (
            torch.stack([tensor.as_subclass(torch.Tensor) for tensor in tensors])
            for tensors in zip(*changed, strict=True)
        )
        return pixels.permute(0, 2, 3, 1), *moved

    return augment


def _place_augmentation(names: Sequence[str], side: int) -> Augment:
    def augment(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sources = draw_sources(names, len(images), images.shape[1:3], side)
        return resample(images, *planes, sources=sources)

    return augment


def _change_grey(images: torch.Tensor, *planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
    scale, offset = (2 * torch.rand(2, len(images), 1, 1, 1) - 1).to(images.device)
    changed = images * (1 + GREY_SCALE * scale) + 255 * GREY_OFFSET * offset
    return changed.round().clamp(0, 255).to(images.dtype), *planes
