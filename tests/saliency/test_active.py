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
    network, image = Counted(), torch.zeros(1, 1, 128, 256)
    image[..., 20:60, 150:190:2] = 1
    scores = look(network, image, [1])[0]
    assert network.shown == [64 * 128] + 8 * [32 * 32]
    assert sum(network.shown) == BUDGET * 128 * 256
    grey, white, black = (2 * value for value in (0, 1, -1))
    found = scores[22:58, 152:188]
    is_glimpsed = (found == (grey + white) / 2) | (found == (grey + black) / 2)
    assert is_glimpsed.float().mean() > 0.9
    assert torch.equal(scores[:, :100], torch.full((128, 100), -2.0))


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
    network, small = Counted(), torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    scores = look(network, small.repeat_interleave(2, 2).repeat_interleave(2, 3), [1])
    assert network.shown == [16 * 16]
    assert scores.shape == (2, 32, 32)
    first, second = 4 * small[:, 0, 0, 0] - 2, 4 * small[:, 0, 0, 1] - 2
    assert torch.allclose(scores[:, 0, 1], 0.75 * first + 0.25 * second)  # bilinearly


def test_a_glimpse_is_where_most_is_expected_inside_of_its_rim():
    network, images = Counted(), torch.zeros(2, 1, 64, 96)
    network.stride = 4
    images[0, :, 12:36, 64:88] = 1  # as large as the inside of a glimpse
    images[1, :, 32:56, 8:32] = 1
    assert _Evidence(network, images, (32, 48), [1]).most_promising().tolist() == [[8, 60], [28, 4]]


def test_the_rim_of_a_glimpse_is_no_evidence_but_at_the_edge_of_the_image():
    network, images = Counted(), torch.rand(4, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    evidence = _Evidence(network, images, (32, 48), [1])
    coarse, seen = evidence.current(), torch.zeros(4, 64, 96, dtype=torch.bool)
    evidence.add(torch.tensor([[0, 0], [32, 64], [1, 40], [16, 1]]))
    seen[0, :28, :28] = seen[1, 36:, 68:] = seen[2, 5:29, 44:68] = seen[3, 20:44, 5:29] = True
    expected = torch.where(seen, (coarse + 4 * images[:, 0] - 2) / 2, coarse)
    assert torch.allclose(evidence.current(), expected, atol=1e-6)
