import pytest
import torch

from point_network import PointNetwork
from spatial_reduction.saliency.active import BUDGET, _Evidence, glimpse_side, half_size, look


@pytest.mark.parametrize(
    ("size", "stride", "side", "half"),
    [
        ((128, 128), 4, 32, (64, 64)),
        ((256, 256), 4, 64, (128, 128)),
        ((40, 44), 4, 32, (20, 24)),
        ((64, 48), 8, 32, (32, 24)),
        ((8, 16), 8, 8, (8, 8)),
        ((5, 7), 1, 5, (3, 4)),
    ],
)
def test_glimpses_fit_the_image_and_the_stride(size, stride, side, half):
    assert glimpse_side(*size, stride) == side
    assert tuple(half_size(length, stride) for length in size) == half


class Counted(PointNetwork):
    """Logits of interest of 2 where it is white, -2 where it is black; counts the pixels that it is shown."""

    def __init__(self):
        super().__init__(features=[1], logits=[[0], [4]], bias=[0, -2])
        self.shown = []

    def forward(self, images):
        self.shown.append(images.shape[2] * images.shape[3])
        return super().forward(images)


def test_the_model_sees_the_budget_and_looks_where_the_object_is():
    # One white pixel of each pair: at half size all of the object is grey, log-odds 0; a glimpse tells them apart.
    network, image = Counted(), torch.zeros(1, 1, 128, 128)
    image[..., 20:60, 20:60:2] = 1
    scores = look(network, image, [1])[0]
    assert network.shown == [64 * 64] + 4 * [32 * 32]
    assert sum(network.shown) == BUDGET * 128 * 128
    grey, white, black = (2 * value for value in (0, 1, -1))
    found = scores[22:58, 22:58]
    is_glimpsed = (found == (grey + white) / 2) | (found == (grey + black) / 2)
    assert is_glimpsed.float().mean() > 0.9
    assert torch.equal(scores[:, 100:], torch.full((128, 28), -2.0))


def test_glimpses_do_not_return_to_what_they_have_seen():
    network = Counted()
    image = torch.zeros(1, 1, 128, 128)
    image[..., :16, :16] = image[..., -13:, -13:] = 1
    evidence = _Evidence(network, image, (64, 64), [1])
    places = []
    for _ in range(2):
        places.append(evidence.most_promising())
        evidence.add(places[-1])
    assert [place.tolist() for place in places] == [[[0, 0]], [[96, 96]]]


def test_an_image_that_is_no_larger_than_a_glimpse_is_seen_coarsely():
    image = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 2)
    network = Counted()
    scores = look(network, image.repeat_interleave(2, 3), [1])
    assert network.shown == [16 * 16]
    assert scores.shape == (2, 32, 32)
