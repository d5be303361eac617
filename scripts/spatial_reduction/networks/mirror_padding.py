"""Images continued beyond their borders by mirroring (Ronneberger, Fischer, Brox 2015, section 2)."""

import torch


def mirror_pad(images: torch.Tensor, before: int, after: tuple[int, int]) -> torch.Tensor:
    """Continue images by reflection about their border pixels, again and again where the margin exceeds the image.

    Args:
        images: (..., H, W), any type.
        before: pixels added above and on the left.
        after: pixels added below and on the right.

    Returns:
        (..., before + H + after[0], before + W + after[1]): the pixels of `numpy.pad(..., mode="reflect")`. An image
        of one row or column repeats it.
    """
    for dimension, added in ((-2, after[0]), (-1, after[1])):
        images = images.index_select(
            images.ndim + dimension, reflected(images.shape[dimension], before, added, images.device)
        )
    return images


def reflected(length: int, before: int, after: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the pixel shown at each place from -before to length + after - 1, int64; the edge is not repeated.

    Length 3, 4 before and after: 0 1 2 1 | 0 1 2 | 1 0 1 2.
    """
    turn = length - 1
    # A tensor, so that an exported network keeps it open; made where it is, as a recorded step allows no copy.
    period = torch.full((), 2 * turn, device=device).clamp(min=1)
    places = torch.arange(-before, length + after, device=device) % period
    return torch.minimum(places, 2 * turn - places).clamp(min=0)
