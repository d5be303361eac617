import importlib

import numpy as np
import pytest
import torch

from spatial_reduction.networks.inference import to_input
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.saliency.base import Context, stream_scores
from spatial_reduction.saliency.batched import score_batches

SOURCES = ["entropy", "grad_cam", "integrated_gradients", "iterative_grad_cam", "iterative_grad_cam_as_published"]

SOURCES += ["superpixel", "active"]


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
        assert not network.training
        assert not any(weights.requires_grad for weights in network.parameters())
        sizes.append(len(batch))
        return batch[:, 0]

    pixels = images[0, ..., 0].size
    for limit in (3 * pixels, 3 * pixels - 1, 1):
        (scores,) = score_batches([(images, None)], context, score, limit)
        assert np.array_equal(scores, to_input(torch.from_numpy(images))[:, 0].numpy())
    assert sizes == [3, 1, 2, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("source", "function", "expected"),
    [
        ("entropy", "score_entropy", [5]),
        ("grad_cam", "map_activation", [2, 2, 1]),
        ("integrated_gradients", "score_attributions", [2, 2, 1]),
        ("iterative_grad_cam", "iterate_activation", [2, 2, 1]),
        ("iterative_grad_cam_as_published", "iterate_activation", [2, 2, 1]),
    ],
)
def test_a_source_that_takes_gradients_is_shown_a_quarter_as_many_images(source, function, expected, case, monkeypatch):
    images, context = case
    sizes = []

    def score(network, batch, **_):
        sizes.append(len(batch))
        return batch[:, 0]

    monkeypatch.setattr(importlib.import_module(f"spatial_reduction.saliency.{source}"), function, score)
    next(stream_scores(source, [(np.zeros((5, 256, 256, images.shape[3]), np.uint8), None)], context))
    assert sizes == expected
