"""Random changes of a training batch, from torchvision's transforms; image and labels move together."""

from collections.abc import Callable, Sequence

import torch

from spatial_reduction.decoding import IGNORED

Augment = Callable[..., tuple[torch.Tensor, ...]]


def build_augmentation(names: Sequence[str], side: int) -> Augment | None:
    """Return a function (images uint8 (N, H, W, C), labels uint8 (N, H, W)) -> the same, or None for no names.

    Names: `flip` (left-right, p = 0.5), `colour` (brightness, contrast, saturation +-30 %), `elastic` (smooth
    displacements with a standard deviation of about 1.5 % of the image's `side`; pixels from outside are black
    and ignored). Every image draws its own parameters from PyTorch's global generator.
    """
    if not names:
        return None
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

    def augment(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = [
            chain(tv_tensors.Image(image.permute(2, 0, 1)), tv_tensors.Mask(label))
            for image, label in zip(images, labels, strict=True)
        ]
        changed = torch.stack([image.as_subclass(torch.Tensor) for image, _ in pairs])
        return changed.permute(0, 2, 3, 1), torch.stack([label.as_subclass(torch.Tensor) for _, label in pairs])

    return augment
