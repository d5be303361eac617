"""A network of hand-made weights, whose saliency is computed by hand."""

import torch
from torch import nn

from spatial_reduction.networks.base import Network


class PointNetwork(Network):
    """Features and logits of each pixel alone: ReLU of one 1x1 convolution, then another; grey images."""

    receptive_radius, period = 0, 1

    def __init__(self, features, logits, bias=(0, 0)):
        super().__init__()
        self.stride = 1
        self.features = nn.Sequential(nn.Conv2d(1, len(features), 1, bias=False), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(len(features), len(logits), 1)
        self.features[0].weight.data = torch.tensor(features, dtype=torch.float32).reshape(-1, 1, 1, 1)
        self.head.weight.data = torch.tensor(logits, dtype=torch.float32)[:, :, None, None]
        self.head.bias.data = torch.tensor(bias, dtype=torch.float32)

    @property
    def bottleneck(self):
        return self.features

    def forward(self, images):
        return self.head(self.features(images))


def picture(rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


# Two classes, the second one of interest where its logit 2 x - 0.5 is above 0: pixels brighter than a quarter.
BRIGHT = PointNetwork(features=[1], logits=[[0], [2]], bias=[0, -0.5])


SPOTS = picture([[0, 0.5, 0], [1, 0.2, 0]])
