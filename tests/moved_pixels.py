"""What tests of a change of place share: where its pixels come from, and a batch whose parts all show the same."""

import torch

from spatial_reduction.training.elastic_deformation import sources_of


def sources(shape, shift=(0.0, 0.0), angle=0.0, nodes=None):
    """Return where the pixels of one image come from."""
    nodes = torch.zeros(1, 2, 3, 3) if nodes is None else nodes
    return sources_of(shape, torch.tensor([shift]), torch.tensor([angle]), nodes)


def batch(count=3, height=16, width=16, channels=1):
    """Return images, labels and weights that all show the same random values."""
    values = torch.randint(0, 200, (count, height, width), dtype=torch.uint8)
    return values[..., None].expand(-1, -1, -1, channels).contiguous(), values, values.float()
