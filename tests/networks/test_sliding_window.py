import numpy as np
import pytest
import torch

from spatial_reduction.networks import sliding_window
from spatial_reduction.networks.model_file import build_model, load_model, save_model
from spatial_reduction.networks.sliding_window import SlidingWindow
from spatial_reduction.networks.window_sampling import draw_balanced
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.epoch import segmentation_loss
from spatial_reduction.training.optimizer import Optimizer


def by_brute_force(network, images):
    """Classify the window around every pixel of images mirrored by NumPy."""
    margin, (height, width) = network.window // 2, images.shape[2:]
    padded = torch.from_numpy(np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect"))
    windows = padded.unfold(2, network.window, 1).unfold(3, network.window, 1)  # (N, C, H, W, window, window)
    logits = network.classify(windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2))
    return logits.reshape(len(images), height, width, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("window", [5, 9, 11])
@pytest.mark.parametrize("shape", [(2, 1, 7, 13), (1, 3, 1, 5)])
def test_the_dense_pass_with_one_pooling_is_brute_force(window, shape):
    torch.manual_seed(0)
    network, images = SlidingWindow(shape[1], 3, [4, 6], window), torch.rand(shape)
    with torch.inference_mode():
        assert torch.allclose(network(images), by_brute_force(network, images), atol=1e-5)


@pytest.mark.parametrize(("widths", "window"), [([3, 4, 5], 13), ([3, 4, 5], 21), ([3, 3, 4, 5], 31), ([2] * 5, 65)])
@pytest.mark.parametrize("shape", [(1, 2, 11, 17), (1, 2, 24, 10)])
def test_the_dense_pass_with_more_poolings_is_brute_force(widths, window, shape):
    torch.manual_seed(0)
    network, images = SlidingWindow(2, 3, widths, window), torch.rand(shape)
    with torch.inference_mode():
        dense = network(images)
        assert dense.std(dim=(2, 3)).min() > 1e-4
        assert torch.allclose(dense, by_brute_force(network, images), atol=1e-5)


@pytest.mark.parametrize("elements", [1, 6 * 13 * 60, 6 * 13 * 20 * 2])
def test_bands_of_rows_and_parts_of_a_batch_change_nothing(monkeypatch, elements):
    torch.manual_seed(0)
    network, images = SlidingWindow(1, 2, [4, 5, 6], 13), torch.rand(3, 1, 21, 8)
    whole = network(images)  # gradients are recorded, so in one piece
    monkeypatch.setattr(sliding_window, "ELEMENTS", elements)
    with torch.inference_mode():
        assert torch.allclose(network(images), whole, atol=1e-6)


def test_no_feature_map_of_a_large_image_is_larger_than_the_bound(monkeypatch):
    network, sizes = SlidingWindow(1, 2, [4, 5, 6], 13), []
    for module in (*network.convolutions, network.hidden):
        module.register_forward_hook(lambda module, inputs, output: sizes.append(output.numel()))
    monkeypatch.setattr(sliding_window, "ELEMENTS", 6 * 30 * 100)
    with torch.inference_mode():
        network(torch.rand(2, 1, 64, 64))
    assert 0.3 * 6 * 30 * 100 < max(sizes) <= 6 * 30 * 100


def test_gradients_of_the_dense_pass_are_those_of_brute_force():
    torch.manual_seed(0)
    network, images = SlidingWindow(1, 2, [3, 4, 5], 13), torch.rand(1, 1, 6, 5)
    weights = list(network.parameters())
    dense, brute = (
        torch.autograd.grad(logits.square().sum(), weights)
        for logits in (network(images), by_brute_force(network, images))
    )
    assert all(torch.allclose(*pair, rtol=1e-3, atol=1e-4) for pair in zip(dense, brute, strict=True))


def test_parameters_of_a_small_network_counted_by_hand():
    # 13 odd: 4x4 filters leave 10, pooled 5; 5 odd: 4x4 leave 2, pooled 1; fully connected 1x1; classes
    convolutions, rest = (1 * 16 * 2 + 2) + (2 * 16 * 3 + 3), (3 * 1 * 4 + 4) + (4 * 2 + 2)
    network = SlidingWindow(in_channels=1, classes=2, widths=[2, 3, 4], window=13)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + rest


def test_the_published_network_has_the_filters_of_its_table():
    network = SlidingWindow(in_channels=1, classes=2, widths=[48, 48, 48, 48, 200], window=95)
    layers = [*network.convolutions, network.hidden, network.head]
    assert [layer.kernel_size[0] for layer in layers] == [4, 5, 4, 4, 3, 1]
    assert [layer.out_channels for layer in layers] == [48, 48, 48, 48, 200, 2]


@pytest.mark.parametrize(("widths", "window"), [([2, 2], 3), ([2, 2, 2], 11), ([2, 2, 2], 14), ([2] * 5, 59)])
def test_a_window_that_is_even_or_too_small_is_refused(widths, window):
    with pytest.raises(InputError, match=rf"model\.window: {window} is not an odd number >= \d+"):
        SlidingWindow(1, 2, widths, window)


def test_the_smallest_windows_work():
    for widths, window in (([2, 2], 5), ([2, 2, 2], 13), ([2] * 4, 29), ([2] * 5, 61)):
        assert SlidingWindow(1, 3, widths, window).classify(torch.rand(2, 1, window, window)).shape == (2, 3)


def test_the_deepest_features_have_the_size_of_the_image():
    network, shapes = SlidingWindow(1, 2, [3, 4, 5], 15), []
    network.bottleneck.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    network(torch.rand(2, 1, 9, 12))
    assert shapes == [(2, 5, 9, 12)]


def test_a_model_is_the_same_after_a_round_trip(tmp_path):
    model = build_model(3, 3, {"name": "sliding_window", "widths": [3, 4, 5], "window": 13}, seed=1).eval()
    save_model(tmp_path / "model.safetensors", model)
    loaded, images = load_model(tmp_path / "model.safetensors").eval(), torch.rand(1, 3, 8, 8)
    assert torch.equal(model(images), loaded(images))
    assert loaded.architecture["window"] == 13


def test_a_batch_without_a_labelled_pixel_has_loss_and_gradient_zero():
    network = SlidingWindow(1, 2, [3, 4], 5)
    labels = torch.full((2, 6, 6), 255, dtype=torch.uint8)
    loss = segmentation_loss(*network.training_pass(torch.rand(2, 1, 6, 6), labels, windows=4))
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad.abs().max() == 0 for parameter in network.parameters())


def test_a_training_pass_scores_the_drawn_pixels_as_the_dense_pass_does():
    torch.manual_seed(0)
    network, images = SlidingWindow(2, 3, [3, 4, 5], 13), torch.rand(2, 2, 7, 9)
    labels = torch.randint(0, 3, (2, 7, 9), dtype=torch.uint8)
    torch.manual_seed(1)
    logits, targets = network.training_pass(images, labels, windows=10)
    torch.manual_seed(1)
    image, row, column = draw_balanced(labels, 20)
    assert torch.equal(targets, labels[image, row, column])
    assert torch.allclose(logits, network(images)[image, :, row, column], atol=1e-5)


def test_training_on_windows_teaches_the_dense_pass_to_find_a_square():
    torch.manual_seed(0)
    network, images = SlidingWindow(1, 2, [6, 8], 5), 0.3 * torch.rand(2, 1, 16, 16)
    labels = torch.zeros(2, 16, 16, dtype=torch.uint8)
    labels[:, 4:7, 9:12] = 1  # 4 % of the pixels: without balance, "nothing there" is right in 96 %
    images[labels[:, None] == 1] += 0.6
    optimizer = Optimizer(
        network.parameters(), {"optimizer": "adam", "momentum": 0.9, "learning_rate": 0.03, "weight_decay": 0.0}
    )
    for _ in range(80):
        optimizer.zero_grad()
        segmentation_loss(*network.training_pass(images, labels, windows=32)).backward()
        optimizer.step()
    assert (network(images).argmax(dim=1) == labels).float().mean() > 0.98
