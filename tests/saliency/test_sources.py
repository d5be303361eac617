"""The sources that ask a model, on networks small enough to know the answer."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.segmentation import slic
from torch import nn

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import to_input
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.saliency.active import BUDGET, _Evidence, glimpse_side, half_size, look
from spatial_reduction.saliency.base import Context, stream_scores
from spatial_reduction.saliency.batched import score_batches
from spatial_reduction.saliency.entropy import score_entropy
from spatial_reduction.saliency.grad_cam import map_activation
from spatial_reduction.saliency.integrated_gradients import attribute, score_attributions
from spatial_reduction.saliency.interest import LogitsOfInterest
from spatial_reduction.saliency.iterative_grad_cam import LEFT, iterate_activation, squash
from spatial_reduction.saliency.superpixel import compare_colours, divide, refine, region_means, vote

SOURCES = ["entropy", "grad_cam", "integrated_gradients", "iterative_grad_cam", "iterative_grad_cam_as_published"]
SOURCES += ["superpixel", "active"]


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


def test_the_target_is_the_sum_of_the_winning_logits_of_interest():
    assert LogitsOfInterest(BRIGHT, [1])(SPOTS).item() == pytest.approx(0.5 + 1.5)
    assert LogitsOfInterest(BRIGHT, [0])(SPOTS).item() == 0
    assert LogitsOfInterest(BRIGHT, [1]).choose(SPOTS).sum() == 2


def test_the_entropy_of_hand_made_probabilities():
    network = PointNetwork(features=[1], logits=[[math.log(0.25)], [math.log(0.75)]])
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert score_entropy(network, picture([[1, 0]])).flatten().tolist() == pytest.approx([expected, math.log(2)])


def test_the_entropy_ranks_certain_pixels_on():
    network = PointNetwork(features=[1], logits=[[0], [100]])
    scores = score_entropy(network, picture([[0.2, 0.4, 0.8]])).flatten()
    assert (scores.diff() < 0).all()
    assert (scores > 0).all()


def test_the_class_activation_of_a_hand_made_network():
    # Two bright pixels of six, so alpha = mean of d(sum)/dA = 2 * 2 / 6; the map is alpha A.
    assert torch.allclose(map_activation(BRIGHT, SPOTS, [1]), SPOTS[:, 0] * 2 * 2 / 6)


def test_features_that_speak_against_the_classes_of_interest_activate_nothing():
    network = PointNetwork(features=[1], logits=[[0], [-2]], bias=[-9, 0])
    assert (map_activation(network, SPOTS, [1]) == 0).all()


def test_a_coarse_class_activation_is_enlarged_bilinearly():
    class Pooled(PointNetwork):
        def forward(self, images):
            return super().forward(nn.functional.avg_pool2d(images, 2)).repeat_interleave(2, 2).repeat_interleave(2, 3)

    network = Pooled(features=[1], logits=[[0], [2]], bias=[0, -0.5])
    scores = map_activation(network, picture([[1, 1, 0, 0], [1, 1, 0, 0]]), [1])
    alpha = 4 * 2 / 2
    assert torch.allclose(scores, alpha * torch.tensor([1, 0.75, 0.25, 0]).expand(1, 2, 4))


def test_the_class_activation_of_a_u_net_is_what_its_gradients_say():
    network = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1).eval()
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    kept = []
    with network.bottleneck.register_forward_hook(lambda module, arguments, output: kept.append(output)):
        logits = network(images)
    winners = logits.argmax(dim=1, keepdim=True)
    total = logits.gather(1, winners)[winners > 0].sum()
    (gradient,) = torch.autograd.grad(total, kept[0])
    coarse = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1, keepdim=True).relu()
    expected = nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")[:, 0].detach()
    assert expected.amax() > 0
    assert torch.allclose(map_activation(network, images, [1, 2]), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("function", [map_activation, score_attributions, partial(iterate_activation, left=LEFT)])
def test_an_image_without_a_pixel_of_interest_has_equal_scores(function):
    scores = function(BRIGHT, SPOTS / 10, [1])
    assert (scores == scores[0, 0, 0]).all()


def test_the_attributions_of_a_hand_made_network():
    # Linear from black on: each bright pixel contributes 2 x, whatever the bias; the others are not added up.
    assert torch.allclose(attribute(BRIGHT, SPOTS, [1]), picture([[0, 1, 0], [2, 0, 0]]), atol=1e-5)


def test_attributions_sum_to_the_target_minus_that_of_black():
    network = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1).eval().requires_grad_(False)
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    target = LogitsOfInterest(network, [1, 2])
    chosen = target.choose(images)
    assert chosen.flatten(1).any(dim=1).all()
    gain = target(images, chosen) - target(torch.zeros_like(images), chosen)
    found = attribute(network, images, [1, 2]).sum(dim=(1, 2, 3))
    assert torch.allclose(found, gain, rtol=0.01, atol=1e-3)


def test_squashing_keeps_the_order_and_takes_flat_maps():
    maps = torch.tensor([[[0.0, 2.0, 4.0]], [[3.0, 3.0, 3.0]]])
    low, high = 1 / (1 + math.exp(10)), 1 / (1 + math.exp(-10))
    assert squash(maps).flatten().tolist() == pytest.approx([low, 0.5, high, low, low, low])


def test_a_second_pass_finds_what_the_first_one_left():
    # The map is proportional to x. Pass 1 finds 1 and leaves 0.4 (squashed: 0.12), which without 1 is the strongest.
    rows = picture([[1, 0.4, 0, 0]])
    first = [1 / (1 + math.exp(-20 * (x - 0.5))) for x in (1, 0.4, 0, 0)]
    later = [1 / (1 + math.exp(-20 * (x - 0.5))) for x in (0, 1, 0, 0)]
    last = [1 / (1 + math.exp(10))] * 4
    expected = [0.8 * (0.8 * a + 0.2 * b) + 0.2 * c for a, b, c in zip(first, later, last, strict=True)]
    assert iterate_activation(BRIGHT, rows, [1], LEFT).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_the_passes_end_when_what_is_left_was_relevant_beside_what_was_found_only():
    class Neighbourly(PointNetwork):
        """Where the brightest pixel of an image is white, all others are taken for the class of interest, too."""

        def forward(self, images):
            is_there = (images.amax(dim=(2, 3), keepdim=True) > 0.9).float()
            return super().forward(images) + (10 * is_there - 5) * torch.tensor([0, 1])[:, None, None]

    network = Neighbourly(features=[1], logits=[[0], [2]], bias=[0, -0.5])
    rows = picture([[1, 0.4, 0, 0]])
    assert torch.allclose(iterate_activation(network, rows, [1], LEFT), squash(map_activation(network, rows, [1])))


def test_as_published_any_fall_ends_the_passes():
    class Leaning(PointNetwork):
        """All pixels are a little likelier of interest where one of their image is white."""

        def forward(self, images):
            is_there = (images.amax(dim=(2, 3), keepdim=True) > 0.9).float()
            return super().forward(images) + 0.1 * is_there * torch.tensor([0, 1])[:, None, None]

    network, rows = Leaning(features=[1], logits=[[0], [2]], bias=[0, -0.5]), picture([[1, 0.4, 0, 0]])
    first = squash(map_activation(network, rows, [1]))
    assert torch.equal(iterate_activation(network, rows, [1], left=1.0), first)
    assert not torch.allclose(iterate_activation(network, rows, [1], LEFT), first)


QUARTERS = np.repeat(np.repeat([[0, 1], [2, 3]], 8, axis=0), 8, axis=1)


def test_a_superpixel_that_looks_like_the_foreground_scores_as_it_does():
    # Red top left is found; bottom right has the same colour, the others are blue.
    red, blue = [50, 60, 40], [30, 20, -60]
    lab = np.array([red, blue, blue, red], float)[QUARTERS]
    relevance = np.array([0.9, 0.1, 0.1, 0.1])[QUARTERS]
    scores = compare_colours(relevance, lab, QUARTERS)
    assert scores[0, 0] == scores[-1, -1] == pytest.approx(1)
    assert scores[0, -1] == scores[-1, 0] == pytest.approx(0)


def test_region_means_are_means():
    assert region_means(np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[0, 0], [0, 1]])).tolist() == [2, 6]


def test_superpixels_are_numbered_without_gaps_and_shrink_in_number():
    lab = np.linspace(0, 100, 32 * 32 * 3).reshape(32, 32, 3)
    numbers = []
    for count in (32, 16, 8):
        segments = divide(lab, np.zeros((32, 32)), count)
        assert set(segments.flat) == set(range(segments.max() + 1))
        numbers.append(segments.max() + 1)
    assert numbers == sorted(set(numbers), reverse=True)


def test_superpixels_end_where_the_map_does_in_a_picture_of_one_colour():
    lab, relevance = np.full((32, 32, 3), 40.0), np.zeros((32, 32))
    relevance[:, 13:] = 1

    def mixed(values):
        shares = region_means(relevance, divide(lab, values, 16))
        return ((shares > 0) & (shares < 1)).sum()

    assert mixed(np.zeros((32, 32))) > 0
    assert mixed(relevance) == 0


def test_the_compactness_is_in_units_of_colour():
    # SLIC by its own standard, on the colours alone, is what a map without contrast leaves.
    image = np.random.default_rng(0).random((32, 32, 3)).repeat(4, 0).repeat(4, 1)[:64, :64]
    image[0, 0], image[0, 1] = 0, 1  # so that stretching the picture changes nothing
    expected = slic(image, n_segments=64, compactness=10, start_label=0, channel_axis=-1)
    found = divide(rgb2lab(image), np.zeros((64, 64)), 64)
    same = [found[expected == index] for index in range(expected.max() + 1)]
    assert np.mean([np.bincount(part).max() / len(part) for part in same]) > 0.99


def share(log_odds):
    return 1 / (1 + math.exp(-log_odds))


def test_the_maps_vote_by_hand():
    # The threshold of a map of two values lies between them. All find pixel 0, none finds pixel 2, two find pixel 1.
    maps = np.array([[[0.8, 0.8, 0.2]], [[0.8, 0.8, 0.2]], [[0.8, 0.2, 0.2]]])
    odds, steps = math.log(0.8 / 0.2), 0.15 * 5
    # Pixel 1 of the last map rises by two votes a step and is above its threshold from the first step on. In the others
    # its vote against and the one for it cancel out in that step; then both are for it.
    others, last = odds + 2 * 0.15 * 4, -odds + 2 * steps
    expected = [share(odds + 2 * steps), (2 * share(others) + share(last)) / 3, share(-odds - 2 * steps)]
    assert vote(maps)[0] == pytest.approx(expected)


def test_a_flat_map_follows_the_others():
    maps = np.stack([np.full((1, 2), 0.5), np.array([[0.2, 0.8]])])
    odds = math.log(0.8 / 0.2)
    found = (share(odds + 4 * 0.15) + share(5 * 0.15)) / 2  # it has no vote in the first step
    assert vote(maps)[0] == pytest.approx([1 - found, found])


def test_refining_fills_an_object_that_the_prediction_found_half_of():
    image, relevance = np.full((32, 32, 3), 0.2), np.full((32, 32), 0.05)
    image[8:24, 8:24] = [0.9, 0.5, 0.1]
    relevance[8:24, 8:16] = 0.9
    scores = refine(relevance, image)
    inside = np.zeros((32, 32), bool)
    inside[9:23, 9:23] = True
    outside = np.ones((32, 32), bool)
    outside[7:25, 7:25] = False
    assert scores[inside].min() > 0.8
    assert scores[outside].max() < 0.2


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_refining_a_flat_image_keeps_the_means_of_the_map(level):
    assert np.allclose(refine(np.full((16, 16), level), np.full((16, 16, 3), 0.5)), level, atol=1 / 255)


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


@pytest.fixture(autouse=True)
def small_sizes(request, monkeypatch):
    """Integrate in few steps, and glimpse at small images too, where only shapes and repetitions count."""
    if "case" in request.fixturenames:
        monkeypatch.setattr("spatial_reduction.saliency.integrated_gradients.STEPS", 4)
        monkeypatch.setattr("spatial_reduction.saliency.active.SMALLEST", 16)


@pytest.fixture(scope="module", params=[(3, 40, 40), (1, 64, 48)], ids=["colour", "grey"])
def case(request, tmp_path_factory):
    """Four images, half of one blacked out and one black, and the context of a random U-Net."""
    channels, height, width = request.param
    path = tmp_path_factory.mktemp("sources") / "model.safetensors"
    save_model(path, build_model(channels, 3, {"name": "unet", "widths": [2, 4]}, seed=3))
    images = np.random.default_rng(0).integers(0, 256, (4, height, width, channels), dtype=np.uint8)
    images[1, : height // 2], images[2] = 0, 0
    return images, Context(path, Machine("cpu", 1), 3, [1, 2], seed=1, iteration=2)


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_scores_every_pixel_whatever_the_blocks(source, case):
    images, context = case
    labels = np.zeros(images.shape[:3], np.uint8)
    whole, again = (list(stream_scores(source, [(images, labels)], context)) for _ in range(2))
    parts = list(stream_scores(source, [(images[:1], labels[:1]), (images[1:], labels[1:])], context))
    assert [part.shape for part in parts] == [(1, *labels.shape[1:]), (3, *labels.shape[1:])]
    assert whole[0].dtype == np.float32
    assert np.isfinite(whole[0]).all()
    assert np.array_equal(whole[0], again[0])
    assert np.allclose(whole[0], np.concatenate(parts), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("source", ["entropy", "grad_cam", "integrated_gradients"])
def test_a_source_can_be_asked_in_any_mode(source, case):
    images, context = case
    with torch.inference_mode():
        inside = next(stream_scores(source, [(images[:1], None)], context))
    assert np.array_equal(inside, next(stream_scores(source, [(images[:1], None)], context)))


def test_batches_are_small_whatever_the_blocks(case):
    images, context = case
    sizes = []

    def score(network, batch):
        sizes.append(len(batch))
        return batch[:, 0]

    pixels = images[0, ..., 0].size
    (scores,) = score_batches([(images, None)], context, score, 2 * pixels + 1)
    assert sizes == [2, 2]
    assert np.array_equal(scores, to_input(torch.from_numpy(images))[:, 0].numpy())
